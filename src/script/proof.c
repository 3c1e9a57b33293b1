// SPDX-License-Identifier: BSD-3-Clause
//
// proof: an abstract run over a script's source. It parses Lua 5.1 (an expression's value is all
// that the parser keeps of it; there is no tree) and knows of each value which of these it is:
//
//   KEYS, redis, redis.call    these must not get out of sight: indexed, called, measured, or made
//   ipairs(KEYS)               the value of a local that is never assigned again. Any other use
//                              ends the proof
//   a key                      KEYS[...], unpack(KEYS), the second variable of a loop over KEYS,
//                              nil, false (redis.call refuses them); a variable to which nothing
//                              else is ever assigned
//   a literal                  "get", 2
//   a function                 written here; while it is only ever called by its name, its
//                              parameters are variables like others, assigned by each call
//   anything else
//
// Whether a variable holds but keys depends on assignments that may come later in the text than its
// uses (loops, closures). So the run starts out with the best assumption for every variable, notes
// what contradicts it, and repeats until nothing does: what then holds at every assignment, given
// that it holds at every use, always holds. A use that fails under better assumptions fails under
// worse ones too, so a failure is final in any round.
//
// Globals other than a list of well-known ones end the proof, and so does an assignment to a
// global: there is then no way to KEYS or redis but by their names (no _G, getfenv, loadstring,
// debug ...). Constructs that Lua would not compile may pass; those it compiles are read as it
// reads them.
#include "script/proof.h"

#include "base/assert.h"
#include "base/mem.h"
#include "script/proof_keys.h"
#include "script/token.h"

// What a script may have before it is not worth, or not safe, to look further.
#define SOURCE_MAX_BYTES (256u << 10) // work per script
#define DEPTH_MAX        180          // nested blocks and expressions: the C stack. Lua: 200
#define VARIABLES_MAX    2000         // in all
#define VISIBLE_MAX      250          // at one place, as names are searched one by one
#define VALUES_MAX       1000         // in all lists of expressions that are open at one place
#define LIST_MAX         64           // names or targets of one statement
#define ARGUMENTS_MAX    256          // of one redis.call
#define ROUNDS_MAX       10           // contradictions that lead to further ones

enum value_kind {
    VALUE_OTHER,
    VALUE_KEY,
    VALUE_LITERAL,
    VALUE_FUNCTION, // written in this script
    VALUE_BUILTIN,  // a global function that means something here
    VALUE_KEYS,     // from here on: must not get out of sight
    VALUE_REDIS,
    VALUE_CALL,
    VALUE_ITERATOR, // ipairs(KEYS)
};

struct value {
    enum value_kind kind;
    bool is_multi;                             // at the end of a list: any number of such values
    struct slice text;                         // literal, builtin
    uint16_t first_parameter, parameter_count; // function
};

struct variable {
    struct slice name;
    struct value value; // OTHER: look at holds_keys; others: constant
    bool holds_keys;    // nothing but keys was assigned in any round so far
};

struct proof {
    const struct command_table *table;
    struct token_reader reader;
    struct token now;
    bool has_failed, has_changed;
    bool keeps_scope; // the next block's locals outlive it
    uint32_t depth;
    uint32_t variable_count; // declared so far in this round
    uint32_t known_count;    // declared in earlier rounds: holds_keys means something
    uint32_t visible_count, value_count;
    uint16_t visible[VISIBLE_MAX]; // variables in scope, the innermost last
    struct variable variables[VARIABLES_MAX];
    struct value values[VALUES_MAX];          // a stack of expression lists
    struct argument arguments[ARGUMENTS_MAX]; // of the call at hand
};

static const struct value other = {.kind = VALUE_OTHER}, key_or_nil = {.kind = VALUE_KEY};

static struct value read_expression(struct proof *p);
static void read_block(struct proof *p);

// --- tokens --------------------------------------------------------------------------------------

// Ends the proof; every loop ends with it, for there are no more tokens.
static void fail(struct proof *p)
{
    p->has_failed = true;
    p->now = (struct token){TOKEN_END, {p->reader.end, 0}};
}

static void advance(struct proof *p)
{
    if (p->has_failed) return;
    p->now = token_next(&p->reader);
    if (p->now.kind == TOKEN_BAD) fail(p);
}

static bool is_at(const struct proof *p, const char *text)
{
    return token_is(&p->now, text);
}

static bool take(struct proof *p, const char *text)
{
    if (!is_at(p, text)) return false;
    advance(p);
    return true;
}

static void expect(struct proof *p, const char *text)
{
    if (!take(p, text)) fail(p);
}

static struct slice take_name(struct proof *p)
{
    struct slice name = p->now.text;
    if (p->now.kind != TOKEN_NAME) fail(p);
    advance(p);
    return name;
}

static bool enter(struct proof *p)
{
    if (p->depth++ >= DEPTH_MAX) fail(p);
    return !p->has_failed;
}

static void leave(struct proof *p)
{
    p->depth--;
}

// --- variables -----------------------------------------------------------------------------------

// A new variable, visible from here on. Without room the proof ends, and the answer means nothing.
static uint16_t declare(struct proof *p, struct slice name, struct value value)
{
    if (p->variable_count == VARIABLES_MAX || p->visible_count == VISIBLE_MAX) {
        fail(p);
        return 0;
    }
    uint16_t index = (uint16_t)p->variable_count++;
    struct variable *v = &p->variables[index];
    if (index >= p->known_count) v->holds_keys = true;
    v->name = name;
    v->value = value;
    p->visible[p->visible_count++] = index;
    return index;
}

static bool find_variable(const struct proof *p, struct slice name, uint16_t *index)
{
    for (uint32_t i = p->visible_count; i-- > 0;) {
        *index = p->visible[i];
        if (slice_eq(p->variables[*index].name, name)) return true;
    }
    return false;
}

static void contradict(struct proof *p, uint16_t index)
{
    if (!p->variables[index].holds_keys) return;
    p->variables[index].holds_keys = false;
    p->has_changed = true;
}

// The value goes somewhere where nobody follows it.
static void use(struct proof *p, struct value v)
{
    if (v.kind >= VALUE_KEYS) fail(p);
    if (v.kind != VALUE_FUNCTION) return;
    for (uint32_t i = 0; i < v.parameter_count; i++)
        contradict(p, (uint16_t)(v.first_parameter + i));
}

// Assigns to a variable that exists already. (A function's variable may get another function: that
// one's parameters are given up here, those of the first are still assigned by every call.)
static void assign(struct proof *p, uint16_t index, struct value v)
{
    use(p, v);
    if (p->variables[index].value.kind >= VALUE_KEYS) fail(p);
    if (v.kind != VALUE_KEY) contradict(p, index);
}

// A local with its first value.
static void declare_with(struct proof *p, struct slice name, struct value v)
{
    bool is_followed = v.kind == VALUE_FUNCTION || v.kind == VALUE_KEYS || v.kind == VALUE_REDIS ||
                       v.kind == VALUE_CALL;
    uint16_t index = declare(p, name, is_followed ? v : other);
    if (!is_followed) assign(p, index, v);
}

static struct value variable_value(const struct proof *p, uint16_t index)
{
    const struct variable *v = &p->variables[index];
    return v->value.kind == VALUE_OTHER && v->holds_keys ? key_or_nil : v->value;
}

static bool is_one_of(struct slice name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (slice_eq(name, slice_of(names[i]))) return true;
    return false;
}

static struct value global_value(struct proof *p, struct slice name)
{
    static const char *const builtins[] = {"ipairs",   "pairs",    "unpack",
                                           "tostring", "tonumber", "type"};
    static const char *const harmless[] = {"ARGV",   "string", "table", "math",   "cjson",
                                           "struct", "bit",    "os",    "next",   "cmsgpack",
                                           "select", "error",  "pcall", "xpcall", "assert"};
    if (slice_eq(name, SLICE("KEYS"))) return (struct value){.kind = VALUE_KEYS};
    if (slice_eq(name, SLICE("redis"))) return (struct value){.kind = VALUE_REDIS};
    if (is_one_of(name, builtins, ARRAY_LEN(builtins)))
        return (struct value){.kind = VALUE_BUILTIN, .text = name};
    if (!is_one_of(name, harmless, ARRAY_LEN(harmless))) fail(p);
    return other;
}

// --- lists of expressions ------------------------------------------------------------------------

// Lists lie on the stack p->values, from the index that reading them returns; whoever reads one
// drops it by setting value_count back to that.
static void push(struct proof *p, struct value v)
{
    if (p->value_count == VALUES_MAX)
        fail(p);
    else
        p->values[p->value_count++] = v;
}

static uint32_t read_list(struct proof *p)
{
    uint32_t list = p->value_count;
    for (;;) {
        struct value v = read_expression(p);
        bool is_last = !is_at(p, ",");
        if (!is_last) v.is_multi = false;
        push(p, v);
        if (is_last) return list;
        advance(p);
    }
}

// The i-th value of the list, as an assignment would get it.
static struct value list_value(const struct proof *p, uint32_t list, uint32_t i)
{
    uint32_t count = p->value_count - list;
    if (!count) return key_or_nil;
    struct value v = p->values[list + MIN(i, count - 1)];
    if (i >= count && !v.is_multi) return key_or_nil;
    v.is_multi = false;
    return v;
}

// Drops the list, whose values from the i-th on go somewhere.
static void use_list(struct proof *p, uint32_t list, uint32_t i)
{
    for (i += list; i < p->value_count; i++) use(p, p->values[i]);
    p->value_count = list;
}

// --- calls ---------------------------------------------------------------------------------------

static void check_command(struct proof *p, uint32_t list)
{
    struct arguments a = {p->arguments, p->value_count - list, TAIL_NONE};
    if (a.count > ARGUMENTS_MAX) fail(p);
    for (uint32_t i = 0; i < a.count && !p->has_failed; i++) {
        struct value v = p->values[list + i];
        if (v.is_multi) { // the last
            a.tail = v.kind == VALUE_KEY ? TAIL_KEYS : TAIL_OTHER;
            a.count--;
            break;
        }
        enum argument_kind kind = v.kind == VALUE_KEY       ? ARGUMENT_KEY
                                  : v.kind == VALUE_LITERAL ? ARGUMENT_LITERAL
                                                            : ARGUMENT_OTHER;
        p->arguments[i] = (struct argument){kind, v.text};
    }
    if (!p->has_failed && !proof_keys_are_declared(p->table, &a)) fail(p);
}

static struct value call_builtin(struct proof *p, struct slice name, uint32_t list)
{
    bool is_over_keys = p->value_count > list && p->values[list].kind == VALUE_KEYS;
    uint32_t count = p->value_count - list;
    struct value result = {.kind = VALUE_OTHER};
    if (slice_eq(name, SLICE("unpack"))) {
        result.is_multi = true;
        if (is_over_keys) result.kind = VALUE_KEY;
    } else if (slice_eq(name, SLICE("ipairs")) || slice_eq(name, SLICE("pairs"))) {
        result.is_multi = true;
        if (is_over_keys && count == 1) result = (struct value){.kind = VALUE_ITERATOR};
        is_over_keys &= count == 1;
    } else {
        is_over_keys = false; // tostring, tonumber, type: one result
    }
    use_list(p, list, is_over_keys);
    return result;
}

// Calls f with the list, which is dropped.
static struct value call(struct proof *p, struct value f, uint32_t list)
{
    struct value result = {.kind = VALUE_OTHER, .is_multi = true};
    if (f.kind == VALUE_CALL) {
        check_command(p, list);
        result.is_multi = false;
    } else if (f.kind == VALUE_BUILTIN) {
        result = call_builtin(p, f.text, list);
    } else if (f.kind == VALUE_FUNCTION) {
        for (uint32_t i = 0; i < f.parameter_count; i++)
            assign(p, (uint16_t)(f.first_parameter + i), list_value(p, list, i));
    } else {
        use(p, f);
    }
    use_list(p, list, 0);
    return result;
}

// --- expressions ---------------------------------------------------------------------------------

static void read_parameters(struct proof *p)
{
    expect(p, "(");
    while (!is_at(p, ")") && !p->has_failed) {
        if (!take(p, "...")) declare(p, take_name(p), other);
        if (!take(p, ",")) break;
    }
    expect(p, ")");
}

#define NO_VARIABLE UINT16_MAX

// From the parameters to the end. In its own body the function is known as the variable `named`.
static struct value read_function(struct proof *p, bool has_self, uint16_t named)
{
    uint32_t visible_count = p->visible_count;
    struct value f = {.kind = VALUE_FUNCTION, .first_parameter = (uint16_t)p->variable_count};
    if (has_self) declare(p, SLICE("self"), other);
    read_parameters(p);
    f.parameter_count = (uint16_t)(p->variable_count - f.first_parameter);
    if (named != NO_VARIABLE) p->variables[named].value = f;
    read_block(p);
    expect(p, "end");
    p->visible_count = visible_count;
    return f;
}

static void read_table(struct proof *p)
{
    expect(p, "{");
    while (!is_at(p, "}") && !p->has_failed) {
        struct token next = token_peek(&p->reader);
        if (take(p, "[")) {
            use(p, read_expression(p));
            expect(p, "]");
            expect(p, "=");
        } else if (p->now.kind == TOKEN_NAME && token_is(&next, "=")) {
            advance(p);
            advance(p);
        }
        use(p, read_expression(p));
        if (!take(p, ",") && !take(p, ";")) break;
    }
    expect(p, "}");
}

// f(list), f"text" or f{table}
static uint32_t read_arguments(struct proof *p)
{
    uint32_t list = p->value_count;
    if (p->now.kind == TOKEN_STRING || p->now.kind == TOKEN_OPAQUE) {
        bool is_known = p->now.kind == TOKEN_STRING;
        push(p, (struct value){is_known ? VALUE_LITERAL : VALUE_OTHER, .text = p->now.text});
        advance(p);
    } else if (is_at(p, "{")) {
        read_table(p);
        push(p, other);
    } else {
        expect(p, "(");
        if (!is_at(p, ")")) read_list(p);
        expect(p, ")");
    }
    return list;
}

static bool is_at_arguments(const struct proof *p)
{
    return p->now.kind == TOKEN_STRING || p->now.kind == TOKEN_OPAQUE || is_at(p, "(") ||
           is_at(p, "{");
}

// redis.`name`
static struct value library_value(struct proof *p, struct value name)
{
    static const char *const calls[] = {"call", "pcall"};
    static const char *const harmless[] = {
        "error_reply",  "status_reply", "sha1hex",       "log",        "LOG_DEBUG",
        "LOG_VERBOSE",  "LOG_NOTICE",   "LOG_WARNING",   "setresp",    "replicate_commands",
        "set_repl",     "REPL_ALL",     "REPL_AOF",      "REPL_SLAVE", "REPL_REPLICA",
        "REPL_NONE",    "breakpoint",   "REDIS_VERSION", "debug",      "REDIS_VERSION_NUM",
        "acl_check_cmd"};
    bool is_known = name.kind == VALUE_LITERAL;
    if (is_known && is_one_of(name.text, calls, ARRAY_LEN(calls)))
        return (struct value){.kind = VALUE_CALL};
    if (!is_known || !is_one_of(name.text, harmless, ARRAY_LEN(harmless))) fail(p);
    return other;
}

static struct value index_value(struct proof *p, struct value base, struct value name)
{
    use(p, name);
    if (base.kind == VALUE_KEYS) return key_or_nil;
    if (base.kind == VALUE_REDIS) return library_value(p, name);
    use(p, base);
    return other;
}

// What an expression is if it stands left of '='.
struct target {
    enum { TARGET_NONE, TARGET_LOCAL, TARGET_FIELD, TARGET_CALL } kind;
    uint16_t variable;
};

static struct value read_primary(struct proof *p, struct target *t)
{
    *t = (struct target){TARGET_NONE, 0};
    if (take(p, "(")) {
        struct value v = read_expression(p);
        expect(p, ")");
        v.is_multi = false;
        return v;
    }
    struct slice name = take_name(p);
    if (p->has_failed) return other;
    if (!find_variable(p, name, &t->variable)) return global_value(p, name);
    t->kind = TARGET_LOCAL;
    return variable_value(p, t->variable);
}

static struct value read_index(struct proof *p, struct value base, struct target *t)
{
    struct value name;
    if (take(p, ".")) {
        name = (struct value){VALUE_LITERAL, .text = take_name(p)};
    } else {
        expect(p, "[");
        name = read_expression(p);
        expect(p, "]");
    }
    // Neither KEYS nor redis may be written to.
    bool is_writable = base.kind < VALUE_KEYS;
    t->kind = is_writable ? TARGET_FIELD : TARGET_NONE;
    return index_value(p, base, name);
}

static struct value read_suffixed(struct proof *p, struct target *t)
{
    struct value v = read_primary(p, t);
    while (!p->has_failed) {
        if (is_at(p, ".") || is_at(p, "[")) {
            v = read_index(p, v, t);
            continue;
        }
        if (take(p, ":")) { // the object goes along as an argument
            take_name(p);
            if (!is_at_arguments(p)) fail(p);
            use(p, v);
            v = other;
        } else if (!is_at_arguments(p)) {
            break;
        }
        v = call(p, v, read_arguments(p));
        t->kind = TARGET_CALL;
    }
    return v;
}

static struct value read_simple(struct proof *p)
{
    struct token t = p->now;
    struct target target;
    switch (t.kind) {
    case TOKEN_STRING:
    case TOKEN_NUMBER: advance(p); return (struct value){VALUE_LITERAL, .text = t.text};
    case TOKEN_OPAQUE: advance(p); return other;
    default: break;
    }
    if (take(p, "nil") || take(p, "false")) return key_or_nil;
    if (take(p, "true")) return other;
    if (take(p, "...")) return (struct value){.kind = VALUE_OTHER, .is_multi = true};
    if (take(p, "function")) return read_function(p, false, NO_VARIABLE);
    if (!is_at(p, "{")) return read_suffixed(p, &target);
    read_table(p);
    return other;
}

struct binary {
    const char *text;
    uint8_t left, right; // how strongly it binds; right < left: to the right
};

#define UNARY_BINDS 8

static const struct binary *binary_operator(const struct token *t)
{
    static const struct binary operators[] = {
        {"or", 1, 1}, {"and", 2, 2}, {"<", 3, 3},  {">", 3, 3},  {"<=", 3, 3},
        {">=", 3, 3}, {"~=", 3, 3},  {"==", 3, 3}, {"..", 5, 4}, {"+", 6, 6},
        {"-", 6, 6},  {"*", 7, 7},   {"/", 7, 7},  {"%", 7, 7},  {"^", 10, 9},
    };
    if (t->kind != TOKEN_SYMBOL && t->kind != TOKEN_WORD) return NULL;
    for (size_t i = 0; i < ARRAY_LEN(operators); i++)
        if (token_is(t, operators[i].text)) return &operators[i];
    return NULL;
}

static struct value combine(struct proof *p, const struct binary *o, struct value left,
                            struct value right)
{
    use(p, left);
    use(p, right);
    if (right.kind != VALUE_KEY) return other;
    // `x and key` is nil, false or the key.
    if (strcmp(o->text, "and") == 0) return key_or_nil;
    return strcmp(o->text, "or") == 0 && left.kind == VALUE_KEY ? key_or_nil : other;
}

static struct value read_operand(struct proof *p, uint32_t binds);

static struct value read_unary(struct proof *p)
{
    bool is_len = is_at(p, "#");
    advance(p);
    struct value v = read_operand(p, UNARY_BINDS);
    if (!is_len || v.kind != VALUE_KEYS) use(p, v);
    return other;
}

// An expression of operators that bind more strongly than that.
static struct value read_operand(struct proof *p, uint32_t binds)
{
    const struct binary *o;
    if (!enter(p)) return other;
    bool is_unary = is_at(p, "not") || is_at(p, "-") || is_at(p, "#");
    struct value v = is_unary ? read_unary(p) : read_simple(p);
    while ((o = binary_operator(&p->now)) && o->left > binds) {
        advance(p);
        v = combine(p, o, v, read_operand(p, o->right));
    }
    leave(p);
    return v;
}

static struct value read_expression(struct proof *p)
{
    return read_operand(p, 0);
}

// --- statements ----------------------------------------------------------------------------------

static void read_body(struct proof *p, const char *word)
{
    expect(p, word);
    read_block(p);
    expect(p, "end");
}

static void read_if(struct proof *p)
{
    do {
        advance(p); // if, elseif
        use(p, read_expression(p));
        expect(p, "then");
        read_block(p);
    } while (is_at(p, "elseif"));
    if (take(p, "else")) read_block(p);
    expect(p, "end");
}

static void read_numeric_for(struct proof *p, struct slice name)
{
    expect(p, "=");
    use_list(p, read_list(p), 0);
    declare_with(p, name, other);
    read_body(p, "do");
}

static uint32_t read_names(struct proof *p, struct slice *names, uint32_t count)
{
    while (take(p, ",")) {
        if (count == LIST_MAX) {
            fail(p);
            break;
        }
        names[count++] = take_name(p);
    }
    return count;
}

static void read_for(struct proof *p)
{
    struct slice names[LIST_MAX];
    uint32_t visible_count = p->visible_count;
    advance(p);
    names[0] = take_name(p);
    if (is_at(p, "=")) {
        read_numeric_for(p, names[0]);
    } else {
        uint32_t count = read_names(p, names, 1);
        expect(p, "in");
        uint32_t list = read_list(p);
        bool is_over_keys = p->value_count == list + 1 && p->values[list].kind == VALUE_ITERATOR;
        if (is_over_keys) p->value_count = list;
        use_list(p, list, 0);
        for (uint32_t i = 0; i < count; i++)
            declare_with(p, names[i], is_over_keys && i > 0 ? key_or_nil : other);
        read_body(p, "do");
    }
    p->visible_count = visible_count;
}

static void read_repeat(struct proof *p)
{
    uint32_t visible_count = p->visible_count;
    advance(p);
    p->keeps_scope = true; // the condition sees the body's locals
    read_block(p);
    expect(p, "until");
    use(p, read_expression(p));
    p->visible_count = visible_count;
}

static void read_local(struct proof *p)
{
    struct slice names[LIST_MAX];
    advance(p);
    if (take(p, "function")) {
        uint16_t index = declare(p, take_name(p), other);
        read_function(p, false, index);
        return;
    }
    names[0] = take_name(p);
    uint32_t count = read_names(p, names, 1), list = p->value_count;
    if (take(p, "=")) read_list(p);
    uint32_t given = p->value_count - list;
    for (uint32_t i = 0; i < count && !p->has_failed; i++)
        declare_with(p, names[i], list_value(p, list, i));
    use_list(p, list, MIN(count, given));
}

// function name.name:name(...)
static void read_function_statement(struct proof *p)
{
    struct target t;
    advance(p);
    struct value v = read_primary(p, &t);
    bool has_self = false;
    while (!has_self && (is_at(p, ".") || is_at(p, ":"))) {
        if (v.kind >= VALUE_KEYS) fail(p);
        has_self = is_at(p, ":");
        advance(p);
        take_name(p);
        v = other;
        t.kind = TARGET_FIELD;
    }
    if (t.kind == TARGET_NONE) fail(p);
    v = read_function(p, has_self, NO_VARIABLE);
    if (t.kind == TARGET_LOCAL)
        assign(p, t.variable, v);
    else
        use(p, v);
}

static void read_expression_statement(struct proof *p)
{
    struct target targets[LIST_MAX];
    uint32_t count = 1;
    read_suffixed(p, &targets[0]);
    if (targets[0].kind == TARGET_CALL && !is_at(p, ",") && !is_at(p, "=")) return;
    while (take(p, ",")) {
        if (count == LIST_MAX) {
            fail(p);
            break;
        }
        read_suffixed(p, &targets[count++]);
    }
    expect(p, "=");
    if (p->has_failed) return;
    uint32_t list = read_list(p);
    for (uint32_t i = 0; i < count && !p->has_failed; i++) {
        if (targets[i].kind == TARGET_NONE || targets[i].kind == TARGET_CALL) fail(p);
        if (targets[i].kind == TARGET_LOCAL) assign(p, targets[i].variable, list_value(p, list, i));
    }
    use_list(p, list, 0);
}

static void read_statement(struct proof *p)
{
    if (is_at(p, "if")) {
        read_if(p);
    } else if (take(p, "while")) {
        use(p, read_expression(p));
        read_body(p, "do");
    } else if (is_at(p, "do")) {
        read_body(p, "do");
    } else if (is_at(p, "for")) {
        read_for(p);
    } else if (is_at(p, "repeat")) {
        read_repeat(p);
    } else if (is_at(p, "function")) {
        read_function_statement(p);
    } else if (is_at(p, "local")) {
        read_local(p);
    } else if (!take(p, "break")) {
        read_expression_statement(p);
    }
    take(p, ";");
}

static bool is_at_block_end(const struct proof *p)
{
    return p->now.kind == TOKEN_END || is_at(p, "end") || is_at(p, "else") || is_at(p, "elseif") ||
           is_at(p, "until");
}

static void read_block(struct proof *p)
{
    uint32_t visible_count = p->visible_count;
    bool keeps_scope = p->keeps_scope;
    p->keeps_scope = false;
    if (!enter(p)) return;
    while (!is_at_block_end(p)) {
        if (take(p, "return")) {
            if (!is_at_block_end(p) && !is_at(p, ";")) use_list(p, read_list(p), 0);
            take(p, ";");
            break;
        }
        read_statement(p);
    }
    if (!keeps_scope) p->visible_count = visible_count;
    leave(p);
}

// --- rounds --------------------------------------------------------------------------------------

static void run_once(struct proof *p, struct slice source)
{
    p->reader = (struct token_reader){source.ptr, source.ptr + source.len};
    p->has_changed = false;
    p->variable_count = p->visible_count = p->value_count = p->depth = 0;
    advance(p);
    read_block(p);
    if (p->now.kind != TOKEN_END) fail(p);
    p->known_count = p->variable_count;
}

static struct slice without_shebang(struct slice source)
{
    if (source.len < 2 || memcmp(source.ptr, "#!", 2) != 0) return source;
    const char *line_end = memchr(source.ptr, '\n', source.len);
    if (!line_end) return (struct slice){source.ptr, 0};
    return (struct slice){line_end, source.len - (size_t)(line_end - source.ptr)};
}

bool proof_stays_on_keys(const struct command_table *table, struct slice source)
{
    // A NUL may end the text for one reader and not for the other.
    if (!source.len || source.len > SOURCE_MAX_BYTES || memchr(source.ptr, 0, source.len))
        return false;
    struct proof *p = mem_alloc(sizeof *p);
    p->table = table;
    p->has_failed = p->keeps_scope = false;
    p->known_count = 0;
    p->has_changed = true;
    for (int round = 0; round < ROUNDS_MAX && p->has_changed && !p->has_failed; round++)
        run_once(p, without_shebang(source));
    bool is_proven = !p->has_failed && !p->has_changed;
    mem_free(p);
    return is_proven;
}
