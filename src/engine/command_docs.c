// SPDX-License-Identifier: BSD-3-Clause
//
// command_docs: a recursive-descent reader of the notation in command_docs.h.
//
//     choice   := sequence { "|" sequence }
//     sequence := { item }
//     item     := ( WORD | "[" choice "]" | "<" choice ">" | "(" choice ")" ) [ "..." ]
//
// A sequence is put in order once it is read: a token joins the argument behind it, what repeats
// what stands before it becomes "multiple", and a group of one is that one.
#include "engine/command_docs.h"

#include <ctype.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"

#define DEPTH_MAX      8  // of nested groups
#define NAME_MAX_BYTES 64 // of a group's name, which is made of its members' names

struct reader {
    const char *pos;
    int depth;
    bool is_wrong;
};

// A growing list of arguments.
struct list {
    struct command_arg *args;
    int count, cap;
};

// --- types ---------------------------------------------------------------------------------------

static const char *const type_names[] = {
    [ARG_STRING] = "string",         [ARG_INTEGER] = "integer",
    [ARG_DOUBLE] = "double",         [ARG_KEY] = "key",
    [ARG_PATTERN] = "pattern",       [ARG_UNIX_TIME] = "unix-time",
    [ARG_PURE_TOKEN] = "pure-token", [ARG_ONEOF] = "oneof",
    [ARG_BLOCK] = "block",
};

const char *command_docs_type_name(enum arg_type type)
{
    return type_names[type];
}

// Names whose type is not "string".
static const struct {
    enum arg_type type;
    const char *names; // each between spaces
} types_of_names[] = {
    {ARG_KEY, " key newkey source destination destkey sourcekey src dst key1 key2 "},
    {ARG_PATTERN, " pattern "},
    {ARG_UNIX_TIME, " unix-time-seconds unix-time-milliseconds "},
    {ARG_DOUBLE, " longitude latitude radius width height score "},
    {ARG_INTEGER, " seconds milliseconds count cursor index offset numkeys client-id "
                  "destination-db db decrement increment index1 index2 rank weight slot "
                  "start-slot end-slot port numreplicas numlocal ttl bit protover len frequency "
                  "min-match-len maxage "
                  "config-epoch num-matches entries-added entries-read limit "},
};

static enum arg_type type_of_name(const char *name)
{
    char padded[NAME_MAX_BYTES + 3];
    snprintf(padded, sizeof padded, " %s ", name);
    for (size_t i = 0; i < ARRAY_LEN(types_of_names); i++)
        if (strstr(types_of_names[i].names, padded)) return types_of_names[i].type;
    return ARG_STRING;
}

// Splits "name:type" where the type is one; else the colon is part of the name.
static enum arg_type split_type(char *name)
{
    char *colon = strrchr(name, ':');
    for (size_t i = 0; colon && i < ARRAY_LEN(type_names); i++) {
        if (strcmp(colon + 1, type_names[i]) != 0) continue;
        *colon = '\0';
        return (enum arg_type)i;
    }
    return type_of_name(name);
}

// --- the tree ------------------------------------------------------------------------------------

static void clear(struct command_arg *a)
{
    for (int i = 0; i < a->arg_count; i++) clear(&a->args[i]);
    mem_free(a->args);
    mem_free(a->name);
    mem_free(a->token);
}

void command_docs_free(struct command_arg *root)
{
    if (!root) return;
    clear(root);
    mem_free(root);
}

static void push(struct list *l, struct command_arg a)
{
    if (l->count == l->cap) {
        l->cap = MAX(4, l->cap * 2);
        l->args = mem_realloc(l->args, (size_t)l->cap * sizeof l->args[0]);
    }
    l->args[l->count++] = a;
}

static void clear_list(struct list *l)
{
    for (int i = 0; i < l->count; i++) clear(&l->args[i]);
    mem_free(l->args);
    *l = (struct list){0};
}

// A group that takes over the list; a group of one is that one.
static struct command_arg group(struct list *l, enum arg_type type)
{
    if (l->count == 1) {
        struct command_arg only = l->args[0];
        mem_free(l->args);
        return only;
    }
    struct buf name = {0};
    for (int i = 0; i < l->count && name.len < NAME_MAX_BYTES / 2; i++)
        buf_printf(&name, "%s%s", i ? "_" : "", l->args[i].name);
    struct command_arg a = {.type = type,
                            .key_spec = -1,
                            .args = l->args,
                            .arg_count = l->count,
                            .name = mem_strndup(buf_slice(&name).ptr, name.len)};
    buf_free(&name);
    // "LIMIT offset count": the token is the whole block's.
    struct command_arg *first = l->args;
    if (type == ARG_BLOCK && l->count && first->token && first->type != ARG_PURE_TOKEN &&
        !first->is_optional && !first->is_multiple) {
        a.token = first->token;
        first->token = NULL;
    }
    return a;
}

static bool is_same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

// "key value [key value ...]": does the group at the end say again what stands before it?
static bool repeats_what_precedes(const struct list *l, const struct command_arg *again)
{
    int n = again->type == ARG_BLOCK ? again->arg_count : 1;
    const struct command_arg *members = again->type == ARG_BLOCK ? again->args : again;
    if (!n || !again->is_optional || !members[n - 1].is_multiple || l->count < n) return false;
    for (int i = 0; i < n; i++)
        if (!is_same(members[i].name, l->args[l->count - n + i].name)) return false;
    return true;
}

// Adds an item to a sequence, or makes what it repeats multiple.
static void push_item(struct list *l, struct command_arg a)
{
    if (!repeats_what_precedes(l, &a)) {
        push(l, a);
        return;
    }
    int n = a.type == ARG_BLOCK ? a.arg_count : 1;
    bool has_token = a.token;
    if (n > 1) {
        struct list repeated = {0};
        for (int i = l->count - n; i < l->count; i++) push(&repeated, l->args[i]);
        l->count -= n;
        push(l, group(&repeated, ARG_BLOCK));
    }
    l->args[l->count - 1].is_multiple = true;
    l->args[l->count - 1].is_multiple_token = has_token;
    clear(&a);
}

// --- reading -------------------------------------------------------------------------------------

static void skip_spaces(struct reader *r)
{
    while (*r->pos == ' ') r->pos++;
}

static bool accept(struct reader *r, const char *text)
{
    skip_spaces(r);
    size_t len = strlen(text);
    if (strncmp(r->pos, text, len) != 0) return false;
    r->pos += len;
    return true;
}

static bool is_word_end(const char *p)
{
    return !*p || strchr(" []<>()|", *p) || strncmp(p, "...", 3) == 0;
}

static bool is_token(const char *word)
{
    for (; *word; word++)
        if (islower((unsigned char)*word)) return false;
    return true;
}

// What a token is called as an argument: itself in lower case; signs have names.
static char *token_name(const char *token)
{
    static const struct {
        const char *sign, *name;
    } signs[] = {{"*", "auto-id"}, {"=", "equal"}, {"~", "approximately"}, {"$", "new-id"}};
    for (size_t i = 0; i < ARRAY_LEN(signs); i++)
        if (strcmp(token, signs[i].sign) == 0) return mem_strdup(signs[i].name);
    char *name = mem_strdup(token);
    for (char *p = name; *p; p++) *p = (char)tolower((unsigned char)*p);
    return name;
}

static struct command_arg read_word(struct reader *r)
{
    const char *begin = r->pos;
    while (!is_word_end(r->pos)) r->pos++;
    struct command_arg a = {.key_spec = -1, .name = mem_strndup(begin, (size_t)(r->pos - begin))};
    if (!*a.name || r->pos - begin > NAME_MAX_BYTES) {
        r->is_wrong = true;
    } else if (is_token(a.name)) {
        a.type = ARG_PURE_TOKEN;
        a.token = a.name;
        a.name = token_name(a.token);
    } else {
        a.type = split_type(a.name);
    }
    return a;
}

static struct command_arg read_choice(struct reader *r, const char *close);

static struct command_arg read_item(struct reader *r)
{
    struct command_arg a;
    bool is_optional = accept(r, "[");
    if (is_optional)
        a = read_choice(r, "]");
    else if (accept(r, "<"))
        a = read_choice(r, ">");
    else if (accept(r, "("))
        a = read_choice(r, ")");
    else
        a = read_word(r);
    if (is_optional) a.is_optional = true;
    if (accept(r, "...")) a.is_multiple = true;
    return a;
}

static bool is_sequence_end(struct reader *r)
{
    skip_spaces(r);
    return r->is_wrong || !*r->pos || strchr("|]>)", *r->pos);
}

// May the token before it belong to this item?
static bool takes_token(const struct command_arg *a)
{
    return !a->token && !a->is_optional && a->type != ARG_PURE_TOKEN;
}

static void read_sequence(struct reader *r, struct list *l)
{
    char *token = NULL; // waits for its argument
    while (!is_sequence_end(r)) {
        struct command_arg a = read_item(r);
        if (token && takes_token(&a)) {
            clear(&l->args[--l->count]);
            a.token = token;
            token = NULL;
        }
        mem_free(token);
        token = a.type == ARG_PURE_TOKEN && !a.is_optional && !a.is_multiple ? mem_strdup(a.token)
                                                                             : NULL;
        push_item(l, a);
    }
    mem_free(token);
}

// Everything up to the closing bracket.
static struct command_arg read_choice(struct reader *r, const char *close)
{
    struct list alternatives = {0};
    if (++r->depth > DEPTH_MAX) r->is_wrong = true;
    do {
        struct list sequence = {0};
        read_sequence(r, &sequence);
        if (!sequence.count) r->is_wrong = true;
        push(&alternatives, group(&sequence, ARG_BLOCK));
    } while (!r->is_wrong && accept(r, "|"));
    if (!accept(r, close)) r->is_wrong = true;
    r->depth--;
    return group(&alternatives, ARG_ONEOF);
}

// --- keys ----------------------------------------------------------------------------------------

// The arguments that are keys belong to the specifications in their order; the last takes the rest.
static void number_keys(struct command_arg *a, int specs, int *next)
{
    if (a->type == ARG_KEY) {
        a->key_spec = specs ? MIN(*next, specs - 1) : -1;
        ++*next;
    }
    for (int i = 0; i < a->arg_count; i++) number_keys(&a->args[i], specs, next);
}

struct command_arg *command_docs_parse(const struct command *c)
{
    struct reader r = {.pos = c->args ? c->args : ""};
    struct list l = {0};
    read_sequence(&r, &l);
    if (r.is_wrong || *r.pos) {
        clear_list(&l);
        return NULL;
    }
    struct command_arg *root = mem_calloc(sizeof *root);
    *root = (struct command_arg){
        .type = ARG_BLOCK, .key_spec = -1, .args = l.args, .arg_count = l.count};
    int specs = 0, next = 0;
    while (specs < KEY_SPECS_MAX && c->keys[specs].flags) specs++;
    number_keys(root, specs, &next);
    return root;
}
