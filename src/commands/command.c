// SPDX-License-Identifier: BSD-3-Clause
//
// command: the COMMAND family: what the table knows of every command, told to clients. INFO is read
// by cluster clients and proxies (keys, flags), DOCS by redis-cli for its hints. All of it is
// derived from the declarations; nothing here knows a command by name.
#include "base/glob.h"
#include "base/mem.h"
#include "commands/families.h"
#include "engine/command_docs.h"
#include "engine/ctx.h"
#include "engine/engine.h"

struct bit_name {
    uint32_t bit;
    const char *name;
};

static const struct bit_name flag_names[] = {
    {CMD_WRITE, "write"},
    {CMD_READONLY, "readonly"},
    {CMD_DENYOOM, "denyoom"},
    {CMD_ADMIN, "admin"},
    {CMD_PUBSUB, "pubsub"},
    {CMD_NOSCRIPT, "noscript"},
    {CMD_BLOCKING, "blocking"},
    {CMD_LOADING, "loading"},
    {CMD_STALE, "stale"},
    {CMD_SKIP_MONITOR, "skip_monitor"},
    {CMD_SKIP_SLOWLOG, "skip_slowlog"},
    {CMD_ASKING, "asking"},
    {CMD_FAST, "fast"},
    {CMD_NO_AUTH, "no_auth"},
    {CMD_NO_MANDATORY_KEYS, "no_mandatory_keys"},
    {CMD_NO_ASYNC_LOADING, "no_async_loading"},
    {CMD_NO_MULTI, "no_multi"},
    {CMD_MOVABLE_KEYS, "movablekeys"},
    {CMD_ALLOW_BUSY, "allow_busy"},
};

static const struct bit_name acl_names[] = {
    {ACL_KEYSPACE, "@keyspace"},
    {ACL_READ, "@read"},
    {ACL_WRITE, "@write"},
    {ACL_SET, "@set"},
    {ACL_SORTEDSET, "@sortedset"},
    {ACL_LIST, "@list"},
    {ACL_HASH, "@hash"},
    {ACL_STRING, "@string"},
    {ACL_BITMAP, "@bitmap"},
    {ACL_HYPERLOGLOG, "@hyperloglog"},
    {ACL_GEO, "@geo"},
    {ACL_STREAM, "@stream"},
    {ACL_PUBSUB, "@pubsub"},
    {ACL_ADMIN, "@admin"},
    {ACL_FAST, "@fast"},
    {ACL_SLOW, "@slow"},
    {ACL_BLOCKING, "@blocking"},
    {ACL_DANGEROUS, "@dangerous"},
    {ACL_CONNECTION, "@connection"},
    {ACL_TRANSACTION, "@transaction"},
    {ACL_SCRIPTING, "@scripting"},
};

static const struct bit_name key_flag_names[] = {
    {KEY_RO, "RO"},
    {KEY_RW, "RW"},
    {KEY_OW, "OW"},
    {KEY_RM, "RM"},
    {KEY_ACCESS, "access"},
    {KEY_UPDATE, "update"},
    {KEY_INSERT, "insert"},
    {KEY_DELETE, "delete"},
    {KEY_NOT_KEY, "not_key"},
    {KEY_INCOMPLETE, "incomplete"},
    {KEY_VARIABLE_FLAGS, "variable_flags"},
};

static void reply_bits(struct reply *r, uint32_t bits, const struct bit_name *names, size_t count)
{
    struct reply_mark mark = reply_open(r);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (!(bits & names[i].bit)) continue;
        reply_simple(r, names[i].name);
        n++;
    }
    reply_close_set(r, mark, n);
}

// Cuts the text in front of `separator` off *rest; false at the end.
static bool next_piece(const char **rest, char separator, struct slice *piece)
{
    if (!*rest || !**rest) return false;
    const char *end = strchrnul(*rest, separator);
    *piece = (struct slice){*rest, (size_t)(end - *rest)};
    *rest = *end ? end + 1 : end;
    return true;
}

// "7.0.0: text": the version, and what stands behind it.
static void split_version(struct slice line, struct slice *version, struct slice *text)
{
    const char *colon = memchr(line.ptr, ':', line.len);
    *version = (struct slice){line.ptr, colon ? (size_t)(colon - line.ptr) : line.len};
    *text = (struct slice){line.ptr + line.len, 0};
    if (colon && line.len > version->len + 2)
        *text = (struct slice){colon + 2, line.len - version->len - 2};
}

static void reply_field_int(struct reply *r, const char *name, int64_t value)
{
    reply_bulk_text(r, name);
    reply_int(r, value);
}

static void reply_field(struct reply *r, const char *name, const char *text)
{
    reply_bulk_text(r, name);
    reply_bulk_text(r, text);
}

// --- INFO ----------------------------------------------------------------------------------------

// {type, spec}: the spec's own map follows.
static void open_spec(struct reply *r, const char *type)
{
    reply_map(r, 2);
    reply_field(r, "type", type);
    reply_bulk_text(r, "spec");
}

static void reply_begin_search(struct reply *r, const struct key_spec *s, bool is_unknown)
{
    open_spec(r, is_unknown ? "unknown" : s->keyword ? "keyword" : "index");
    if (is_unknown) {
        reply_map(r, 0);
    } else if (s->keyword) {
        reply_map(r, 2);
        reply_field(r, "keyword", s->keyword);
        reply_field_int(r, "startfrom", s->begin);
    } else {
        reply_map(r, 1);
        reply_field_int(r, "index", s->begin);
    }
}

static void reply_find_keys(struct reply *r, const struct key_spec *s, bool is_unknown)
{
    open_spec(r, is_unknown ? "unknown" : s->is_keynum ? "keynum" : "range");
    if (is_unknown) {
        reply_map(r, 0);
    } else if (s->is_keynum) {
        reply_map(r, 3);
        reply_field_int(r, "keynumidx", s->keynum);
        reply_field_int(r, "firstkey", s->first);
        reply_field_int(r, "keystep", s->step);
    } else {
        reply_map(r, 3);
        reply_field_int(r, "lastkey", s->last);
        reply_field_int(r, "keystep", s->step);
        reply_field_int(r, "limit", s->limit);
    }
}

static void reply_key_specs(struct reply *r, const struct command *c)
{
    size_t n = 0;
    while (n < KEY_SPECS_MAX && c->keys[n].flags) n++;
    reply_set(r, n);
    for (size_t i = 0; i < n; i++) {
        const struct key_spec *s = &c->keys[i];
        bool is_unknown = !s->keyword && !s->begin;
        reply_map(r, 3);
        reply_bulk_text(r, "flags");
        reply_bits(r, s->flags, key_flag_names, ARRAY_LEN(key_flag_names));
        reply_bulk_text(r, "begin_search");
        reply_begin_search(r, s, is_unknown);
        reply_bulk_text(r, "find_keys");
        reply_find_keys(r, s, is_unknown);
    }
}

static void reply_tips(struct reply *r, const char *tips)
{
    struct reply_mark mark = reply_open(r);
    struct slice tip;
    size_t n = 0;
    for (; next_piece(&tips, ' ', &tip); n++) reply_bulk(r, tip);
    reply_close_set(r, mark, n);
}

static size_t sub_count(const struct command *c)
{
    size_t n = 0;
    while (c->subcommands && c->subcommands[n].name) n++;
    return n;
}

static void reply_info(struct reply *r, const struct command *c)
{
    struct command_range range = command_range(c);
    size_t subs = sub_count(c);
    reply_array(r, 10);
    reply_bulk_text(r, c->full_name);
    reply_int(r, c->arity);
    reply_bits(r, c->flags, flag_names, ARRAY_LEN(flag_names));
    reply_int(r, range.first);
    reply_int(r, range.last);
    reply_int(r, range.step);
    reply_bits(r, c->acl, acl_names, ARRAY_LEN(acl_names));
    reply_tips(r, c->tips);
    reply_key_specs(r, c);
    if (!subs) {
        reply_set(r, 0); // a set when it is empty, an array when it is not, in Redis too
        return;
    }
    reply_array(r, subs);
    for (size_t i = 0; i < subs; i++) reply_info(r, &c->subcommands[i]);
}

static void info_of_all(struct ctx *ctx)
{
    const struct command_table *t = ctx->engine->table;
    uint32_t n = command_top_count(t);
    reply_array(ctx->reply, n);
    for (uint32_t i = 0; i < n; i++) reply_info(ctx->reply, command_top(t, i));
}

static void info(struct ctx *ctx)
{
    if (ctx->argc == 2) {
        info_of_all(ctx);
        return;
    }
    reply_array(ctx->reply, (size_t)ctx->argc - 2);
    for (int i = 2; i < ctx->argc; i++) {
        const struct command *c = command_find_full(ctx->engine->table, ctx->argv[i]);
        if (c)
            reply_info(ctx->reply, c);
        else
            reply_null(ctx->reply);
    }
}

// --- DOCS ----------------------------------------------------------------------------------------

static void reply_arg_flags(struct reply *r, const struct command_arg *a)
{
    reply_set(r, (size_t)a->is_optional + a->is_multiple + a->is_multiple_token);
    if (a->is_optional) reply_simple(r, "optional");
    if (a->is_multiple) reply_simple(r, "multiple");
    if (a->is_multiple_token) reply_simple(r, "multiple_token");
}

static void reply_args(struct reply *r, const struct command_arg *parent)
{
    reply_array(r, (size_t)parent->arg_count);
    for (int i = 0; i < parent->arg_count; i++) {
        const struct command_arg *a = &parent->args[i];
        bool has_flags = a->is_optional || a->is_multiple;
        reply_map(r, 2 + (size_t)(a->key_spec >= 0) + (a->token != NULL) + has_flags +
                         (a->arg_count > 0));
        reply_field(r, "name", a->name);
        reply_field(r, "type", command_docs_type_name(a->type));
        if (a->key_spec >= 0) reply_field_int(r, "key_spec_index", a->key_spec);
        if (a->token) reply_field(r, "token", a->token);
        if (has_flags) {
            reply_bulk_text(r, "flags");
            reply_arg_flags(r, a);
        }
        if (a->arg_count) {
            reply_bulk_text(r, "arguments");
            reply_args(r, a);
        }
    }
}

static void reply_history(struct reply *r, const char *history)
{
    struct reply_mark mark = reply_open(r);
    struct slice line, version, text;
    size_t n = 0;
    for (; next_piece(&history, '\n', &line); n++) {
        split_version(line, &version, &text);
        reply_array(r, 2);
        reply_bulk(r, version);
        reply_bulk(r, text);
    }
    reply_close_set(r, mark, n);
}

static void reply_deprecation(struct reply *r, const char *deprecated)
{
    struct slice since, replacement;
    split_version(slice_of(deprecated), &since, &replacement);
    reply_bulk_text(r, "doc_flags");
    reply_set(r, 1);
    reply_simple(r, "deprecated");
    reply_bulk_text(r, "deprecated_since");
    reply_bulk(r, since);
    reply_bulk_text(r, "replaced_by");
    reply_bulk(r, replacement);
}

static void reply_docs(struct reply *r, const struct command *c);

static void reply_sub_docs(struct reply *r, const struct command *c)
{
    reply_bulk_text(r, "subcommands");
    reply_map(r, sub_count(c));
    for (const struct command *s = c->subcommands; s->name; s++) reply_docs(r, s);
}

// The command's name, and the map of what there is to say about it.
static void reply_docs(struct reply *r, const struct command *c)
{
    struct command_arg *args = command_docs_parse(c);
    bool has_args = args && args->arg_count;
    reply_bulk_text(r, c->full_name);
    reply_map(r, (size_t)(c->summary != NULL) + (c->since != NULL) + (c->group != NULL) +
                     (c->complexity != NULL) + (c->deprecated ? 3 : 0) + (c->history != NULL) +
                     has_args + (c->subcommands != NULL));
    if (c->summary) reply_field(r, "summary", c->summary);
    if (c->since) reply_field(r, "since", c->since);
    if (c->group) reply_field(r, "group", c->group);
    if (c->complexity) reply_field(r, "complexity", c->complexity);
    if (c->deprecated) reply_deprecation(r, c->deprecated);
    if (c->history) {
        reply_bulk_text(r, "history");
        reply_history(r, c->history);
    }
    if (has_args) {
        reply_bulk_text(r, "arguments");
        reply_args(r, args);
    }
    if (c->subcommands) reply_sub_docs(r, c);
    command_docs_free(args);
}

static void docs(struct ctx *ctx)
{
    const struct command_table *t = ctx->engine->table;
    if (ctx->argc == 2) {
        uint32_t n = command_top_count(t);
        reply_map(ctx->reply, n);
        for (uint32_t i = 0; i < n; i++) reply_docs(ctx->reply, command_top(t, i));
        return;
    }
    struct reply_mark mark = reply_open(ctx->reply);
    size_t n = 0;
    for (int i = 2; i < ctx->argc; i++) {
        const struct command *c = command_find_full(t, ctx->argv[i]);
        if (!c) continue;
        reply_docs(ctx->reply, c);
        n++;
    }
    reply_close_map(ctx->reply, mark, n);
}

// --- COUNT, LIST ---------------------------------------------------------------------------------

static void count(struct ctx *ctx)
{
    reply_int(ctx->reply, command_top_count(ctx->engine->table));
}

struct name_filter {
    bool is_empty;        // nothing passes: there are no modules, no such category
    uint32_t acl;         // one of these; 0: any
    struct slice pattern; // ptr NULL: any
};

static bool passes(const struct name_filter *f, const struct command *c)
{
    return !f->is_empty && (!f->acl || (c->acl & f->acl)) &&
           (!f->pattern.ptr || glob_match_nocase(f->pattern, slice_of(c->full_name)));
}

static uint32_t acl_by_name(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(acl_names); i++)
        if (slice_is(name, acl_names[i].name + 1)) return acl_names[i].bit;
    return 0;
}

static bool parse_filter(struct ctx *ctx, struct name_filter *f)
{
    if (ctx->argc == 2) return true;
    if (ctx->argc != 5 || !ctx_arg_is(ctx, 2, "FILTERBY")) return false;
    if (ctx_arg_is(ctx, 3, "MODULE")) {
        f->is_empty = true;
    } else if (ctx_arg_is(ctx, 3, "ACLCAT")) {
        f->acl = acl_by_name(ctx->argv[4]);
        f->is_empty = !f->acl;
    } else if (ctx_arg_is(ctx, 3, "PATTERN")) {
        f->pattern = ctx->argv[4];
    } else {
        return false;
    }
    return true;
}

static size_t list_one(struct reply *r, const struct name_filter *f, const struct command *c)
{
    size_t n = 0;
    if (passes(f, c)) {
        reply_bulk_text(r, c->full_name);
        n++;
    }
    for (const struct command *s = c->subcommands; s && s->name; s++) n += list_one(r, f, s);
    return n;
}

static void list(struct ctx *ctx)
{
    const struct command_table *t = ctx->engine->table;
    struct name_filter f = {0};
    if (!parse_filter(ctx, &f)) {
        reply_error(ctx->reply, ERR_SYNTAX);
        return;
    }
    struct reply_mark mark = reply_open(ctx->reply);
    size_t n = 0;
    for (uint32_t i = 0; i < command_top_count(t); i++)
        n += list_one(ctx->reply, &f, command_top(t, i));
    reply_close_array(ctx->reply, mark, n);
}

// --- GETKEYS -------------------------------------------------------------------------------------

// The command that argv[2] and what follows call, if its keys can be told; else the error is
// replied.
static const struct command *inner_command(struct ctx *ctx)
{
    const struct command *c = command_find(ctx->engine->table, ctx->argv[2]);
    if (c && c->subcommands && ctx->argc > 3) c = command_find_sub(c, ctx->argv[3]);
    const char *error = NULL;
    if (!c)
        error = "ERR Invalid command specified";
    else if (!command_has_keys(c))
        error = "ERR The command has no key arguments";
    else if (!command_arity_fits(c, ctx->argc - 2))
        error = "ERR Invalid number of arguments specified for command";
    if (!error) return c;
    reply_error(ctx->reply, error);
    return NULL;
}

static void reply_keys(struct ctx *ctx, bool has_flags)
{
    const struct command *c = inner_command(ctx);
    if (!c) return;
    int argc = ctx->argc - 2;
    const struct slice *argv = ctx->argv + 2;
    int n = command_keys(c, argc, argv, NULL, NULL, 0);
    if (n <= 0) {
        if (c->flags & CMD_NO_MANDATORY_KEYS)
            reply_array(ctx->reply, 0);
        else
            reply_error(ctx->reply, "ERR Invalid arguments specified for command");
        return;
    }
    int *at = mem_alloc((size_t)n * sizeof at[0]);
    uint16_t *flags = mem_alloc((size_t)n * sizeof flags[0]);
    command_keys(c, argc, argv, at, flags, n);
    reply_array(ctx->reply, (size_t)n);
    for (int i = 0; i < n; i++) {
        if (has_flags) reply_array(ctx->reply, 2);
        reply_bulk(ctx->reply, argv[at[i]]);
        if (has_flags) reply_bits(ctx->reply, flags[i], key_flag_names, ARRAY_LEN(key_flag_names));
    }
    mem_free(at);
    mem_free(flags);
}

static void getkeys(struct ctx *ctx)
{
    reply_keys(ctx, false);
}

static void getkeysandflags(struct ctx *ctx)
{
    reply_keys(ctx, true);
}

static const char *const help_lines[] = {
    "(no subcommand)",
    "    All commands, as INFO shows them.",
    "COUNT",
    "    How many commands there are.",
    "LIST [FILTERBY (MODULE <module-name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    The names of the commands and subcommands.",
    "INFO [<command-name> ...]",
    "    Arity, flags, keys and categories of these commands, or of all.",
    "DOCS [<command-name> ...]",
    "    What these commands do and what arguments they take, or all.",
    "GETKEYS <full-command>",
    "    The keys among the arguments of a command.",
    "GETKEYSANDFLAGS <full-command>",
    "    The same, with what is done to each key.",
    NULL,
};

static void help(struct ctx *ctx)
{
    ctx_reply_help(ctx, help_lines);
}

// --- declarations --------------------------------------------------------------------------------

#define ALWAYS       (CMD_LOADING | CMD_STALE)
#define ALL_COMMANDS "O(N) with N the number of commands"
#define NAMED        "O(N) with N the number of commands asked for"
#define ARGUMENTS    "O(N) with N the number of the command's arguments"

static const struct command subcommands[] = {
    {.name = "count",
     .handler = count,
     .arity = 2,
     .flags = ALWAYS,
     .acl = ACL_CONNECTION,
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(1)",
     .summary = "Returns how many commands there are."},
    {.name = "docs",
     .handler = docs,
     .arity = -2,
     .flags = ALWAYS,
     .acl = ACL_CONNECTION,
     .group = "server",
     .since = "7.0.0",
     .complexity = NAMED,
     .tips = "nondeterministic_output_order",
     .summary = "Returns what commands do and which arguments they take.",
     .args = "[command-name...]"},
    {.name = "getkeys",
     .handler = getkeys,
     .arity = -4,
     .flags = ALWAYS,
     .acl = ACL_CONNECTION,
     .group = "server",
     .since = "2.8.13",
     .complexity = ARGUMENTS,
     .summary = "Returns the keys among the arguments of a command.",
     .args = "command [arg ...]"},
    {.name = "getkeysandflags",
     .handler = getkeysandflags,
     .arity = -4,
     .flags = ALWAYS,
     .acl = ACL_CONNECTION,
     .group = "server",
     .since = "7.0.0",
     .complexity = ARGUMENTS,
     .summary = "Returns the keys among the arguments of a command, and what is done to them.",
     .args = "command [arg ...]"},
    {.name = "help",
     .handler = help,
     .arity = 2,
     .flags = ALWAYS,
     .acl = ACL_CONNECTION,
     .group = "server",
     .since = "5.0.0",
     .complexity = "O(1)",
     .summary = "Says what the subcommands are."},
    {.name = "info",
     .handler = info,
     .arity = -2,
     .flags = ALWAYS,
     .acl = ACL_CONNECTION,
     .group = "server",
     .since = "2.8.13",
     .complexity = NAMED,
     .tips = "nondeterministic_output_order",
     .summary = "Returns arity, flags, keys and categories of commands.",
     .args = "[command-name...]",
     .history = "7.0.0: Without a name it returns all commands."},
    {.name = "list",
     .handler = list,
     .arity = -2,
     .flags = ALWAYS,
     .acl = ACL_CONNECTION,
     .group = "server",
     .since = "7.0.0",
     .complexity = ALL_COMMANDS,
     .tips = "nondeterministic_output_order",
     .summary = "Returns the names of commands.",
     .args = "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]"},
    {0},
};

const struct command commands_command[] = {
    {.name = "command",
     .handler = info_of_all,
     .arity = -1,
     .flags = ALWAYS,
     .acl = ACL_CONNECTION,
     .subcommands = subcommands,
     .group = "server",
     .since = "2.8.13",
     .complexity = ALL_COMMANDS,
     .tips = "nondeterministic_output_order",
     .summary = "Returns what there is to know about all commands."},
    {0},
};
