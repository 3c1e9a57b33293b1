// SPDX-License-Identifier: BSD-3-Clause
//
// function: FCALL, and FUNCTION, which loads and lists libraries of functions.
//
// FUNCTION DUMP returns all of them as one string that FUNCTION RESTORE takes, of any Redis
// from 7.0 on:
//
//   +---------+---------------+-- for each library    +------------------+------------+
//   | 245 (8) | code (string) | ...                   | RDB version (16) | CRC64 (64) |
//   +---------+---------------+                       +------------------+------------+
#include "base/assert.h"
#include "base/glob.h"
#include "base/mem.h"
#include "commands/families.h"
#include "commands/script.h"
#include "engine/dump.h"
#include "engine/engine.h"
#include "engine/settings.h"
#include "script/scripting.h"
#include "types/rdb_io.h"

#define ERR_NO_FUNCTION "ERR Function not found"
#define ERR_KEY_COUNT   "ERR Bad number of keys provided"

#define RDB_FUNCTION     245
#define RDB_FUNCTION_OLD 246 // of release candidates
#define RDB_VERSION      10

static struct lua_state *lua_of(struct ctx *ctx)
{
    return scripting_state(ctx->engine, ctx->space->shard);
}

static struct library_registry *registry_of(struct ctx *ctx)
{
    return &scripting_of(ctx->engine)->libraries;
}

// --- FCALL ---------------------------------------------------------------------------------------

// A call whose keys cannot be counted is not taken to where all shards meet: it fails here.
static void fcall_wrongly(struct ctx *ctx)
{
    struct run_request r;
    struct library_set *set = library_registry_get(registry_of(ctx));
    if (!library_set_find_function(set, ctx->argv[1]))
        reply_error(ctx->reply, ERR_NO_FUNCTION);
    else if (script_parse_keys(ctx, &r, ERR_KEY_COUNT))
        reply_error(ctx->reply, ERR_KEY_COUNT);
    library_set_unref(set);
}

static void fcall(struct ctx *ctx)
{
    struct run_request r = {.is_function = true};
    if (UNLIKELY(ctx->space_count < ctx->engine->shard_count)) {
        fcall_wrongly(ctx);
        return;
    }
    struct lua_state *st = scripting_function_state(ctx->engine); // nobody else's while all meet
    const struct loaded_function *f = library_call_find(st, ctx->argv[1]);
    if (!f) {
        reply_error(ctx->reply, ERR_NO_FUNCTION);
        return;
    }
    if (!script_parse_keys(ctx, &r, ERR_KEY_COUNT)) return;
    if (!script_admit(ctx, &r, f->function->flags)) return;
    struct library *library = library_ref(f->library); // should it be deleted while it runs
    r.name = f->function->name;
    lua_state_run(st, ctx, &r, f->ref);
    library_unref(library);
}

static uint32_t fcall_flags(const struct engine *e, int argc, const struct slice *argv)
{
    (void)argc;
    struct library_set *set = library_registry_get(&scripting_of(e)->libraries);
    const struct library_function *f = library_set_find_function(set, argv[1]);
    uint32_t flags = script_command_flags(f ? f->flags : SCRIPT_COMPAT);
    library_set_unref(set);
    return flags;
}

// --- LOAD, DELETE, FLUSH, KILL -------------------------------------------------------------------

static void load(struct ctx *ctx)
{
    int code = 2;
    enum library_policy policy = LIBRARY_APPEND;
    for (; code < ctx->argc - 1; code++) {
        if (!ctx_arg_is(ctx, code, "REPLACE")) {
            reply_errorf(ctx->reply, "ERR Unknown option given: %.*s", SLICE_ARG(ctx->argv[code]));
            return;
        }
        policy = LIBRARY_REPLACE;
    }
    struct buf error = {0};
    const char *bad;
    struct library_set *set = library_registry_get(registry_of(ctx));
    struct library *lib = library_load(lua_of(ctx), ctx->argv[code],
                                       policy == LIBRARY_APPEND ? set : NULL, &error, &bad);
    if (lib) bad = library_registry_add(registry_of(ctx), &lib, 1, policy, &error);
    if (bad)
        reply_error(ctx->reply, bad);
    else
        reply_bulk_text(ctx->reply, lib->name);
    if (!bad) ctx_commit_libraries(ctx);
    if (lib) library_unref(lib);
    library_set_unref(set);
    buf_free(&error);
}

static void delete_library(struct ctx *ctx)
{
    if (!library_registry_delete(registry_of(ctx), ctx->argv[2])) {
        reply_error(ctx->reply, "ERR Library not found");
        return;
    }
    ctx_commit_libraries(ctx);
    reply_ok(ctx->reply);
}

static void flush(struct ctx *ctx)
{
    if (ctx->argc > 3) {
        ctx_unknown_subcommand(ctx);
        return;
    }
    if (ctx->argc == 3 && !ctx_arg_is(ctx, 2, "SYNC") && !ctx_arg_is(ctx, 2, "ASYNC")) {
        reply_error(ctx->reply, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
        return;
    }
    library_registry_flush(registry_of(ctx));
    ctx_commit_libraries(ctx);
    reply_ok(ctx->reply);
}

static void kill_function(struct ctx *ctx)
{
    script_reply_kill(ctx, true);
}

// --- LIST and STATS ------------------------------------------------------------------------------

struct list_options {
    struct slice pattern; // ptr NULL: none
    bool with_code;
};

static bool parse_list(struct ctx *ctx, struct list_options *o)
{
    *o = (struct list_options){0};
    for (int i = 2; i < ctx->argc; i++) {
        if (!o->with_code && ctx_arg_is(ctx, i, "WITHCODE")) {
            o->with_code = true;
        } else if (!o->pattern.ptr && ctx_arg_is(ctx, i, "LIBRARYNAME")) {
            if (i + 1 == ctx->argc) {
                reply_error(ctx->reply, "ERR library name argument was not given");
                return false;
            }
            o->pattern = ctx->argv[++i];
        } else {
            reply_errorf(ctx->reply, "ERR Unknown argument %.*s", SLICE_ARG(ctx->argv[i]));
            return false;
        }
    }
    return true;
}

static void reply_function(struct reply *r, const struct library_function *f)
{
    reply_map(r, 3);
    reply_bulk_text(r, "name");
    reply_bulk_text(r, f->name);
    reply_bulk_text(r, "description");
    if (f->description)
        reply_bulk_text(r, f->description);
    else
        reply_null(r);
    reply_bulk_text(r, "flags");
    reply_set(r, (size_t)__builtin_popcount(f->flags));
    for (unsigned i = 0; i < SCRIPT_NAMED_FLAGS; i++)
        if (f->flags & 1u << i) reply_simple(r, script_flag_name(i));
}

static void reply_library(struct reply *r, const struct library *lib, bool with_code)
{
    reply_map(r, with_code ? 4 : 3);
    reply_bulk_text(r, "library_name");
    reply_bulk_text(r, lib->name);
    reply_bulk_text(r, "engine");
    reply_bulk_text(r, "LUA");
    reply_bulk_text(r, "functions");
    reply_array(r, lib->function_count);
    for (uint32_t i = 0; i < lib->function_count; i++) reply_function(r, &lib->functions[i]);
    if (!with_code) return;
    reply_bulk_text(r, "library_code");
    reply_bulk(r, lib->code);
}

static void list(struct ctx *ctx)
{
    struct list_options o;
    size_t n = 0;
    if (!parse_list(ctx, &o)) return;
    struct library_set *set = library_registry_get(registry_of(ctx));
    struct reply_mark mark = reply_open(ctx->reply);
    for (uint32_t i = 0; i < set->count; i++) {
        const struct library *lib = set->libraries[i];
        if (o.pattern.ptr && !glob_match_nocase(o.pattern, slice_of(lib->name))) continue;
        reply_library(ctx->reply, lib, o.with_code);
        n++;
    }
    reply_close_array(ctx->reply, mark, n);
    library_set_unref(set);
}

static void reply_slow(const struct slow_view *view, void *arg)
{
    struct reply *r = arg;
    if (!view->is_function) {
        reply_error(r, ERR_BUSY_SCRIPT);
        return;
    }
    reply_map(r, 2);
    reply_bulk_text(r, "running_script");
    reply_map(r, 3);
    reply_bulk_text(r, "name");
    reply_bulk_text(r, view->name);
    reply_bulk_text(r, "command");
    reply_array(r, (size_t)view->argc);
    for (int i = 0; i < view->argc; i++) reply_bulk(r, view->argv[i]);
    reply_bulk_text(r, "duration_ms");
    reply_int(r, view->ms);
}

static void stats(struct ctx *ctx)
{
    struct reply *r = ctx->reply;
    if (!running_show(&scripting_of(ctx->engine)->slow, reply_slow, r)) {
        reply_map(r, 2);
        reply_bulk_text(r, "running_script");
        reply_null(r);
    } else if (r->error_count) {
        return;
    }
    struct library_set *set = library_registry_get(registry_of(ctx));
    reply_bulk_text(r, "engines");
    reply_map(r, 1);
    reply_bulk_text(r, "LUA");
    reply_map(r, 2);
    reply_bulk_text(r, "libraries_count");
    reply_int(r, set->count);
    reply_bulk_text(r, "functions_count");
    reply_int(r, set->function_count);
    library_set_unref(set);
}

// --- DUMP and RESTORE ----------------------------------------------------------------------------

static void dump(struct ctx *ctx)
{
    struct buf out = {0};
    struct library_set *set = library_registry_get(registry_of(ctx));
    for (uint32_t i = 0; i < set->count; i++) {
        buf_append_char(&out, (char)RDB_FUNCTION);
        rdb_put_string(&out, set->libraries[i]->code, ctx->settings->rdbcompression);
    }
    dump_put_footer(&out, RDB_VERSION);
    reply_bulk(ctx->reply, buf_slice(&out));
    buf_free(&out);
    library_set_unref(set);
}

// Libraries on their way into the registry.
struct batch {
    struct library **items; // owned; one reference each
    uint32_t count;
};

static void batch_free(struct batch *b)
{
    for (uint32_t i = 0; i < b->count; i++) library_unref(b->items[i]);
    mem_free(b->items);
}

static bool batch_has(const struct batch *b, const struct library *lib)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (strcmp(b->items[i]->name, lib->name) == 0) return true;
    return false;
}

// The next library of the payload; NULL, or the text of the error reply.
static const char *read_library(struct ctx *ctx, struct rdb_reader *in, struct batch *b,
                                struct buf *scratch, struct buf *error)
{
    const char *bad;
    uint8_t type = rdb_get_byte(in);
    if (type == RDB_FUNCTION_OLD) return "ERR Pre-GA function format not supported";
    if (type != RDB_FUNCTION) return "ERR given type is not a function";
    struct slice code = rdb_get_string(in, scratch);
    if (in->is_bad) return "ERR Failed loading library payload";
    struct library *lib = library_load(lua_of(ctx), code, NULL, error, &bad);
    if (!lib) return bad;
    if (batch_has(b, lib)) {
        error->len = 0;
        buf_printf(error, "ERR Library '%s' already exists", lib->name);
        library_unref(lib);
        return error->ptr;
    }
    b->items = mem_realloc(b->items, (b->count + 1) * sizeof b->items[0]);
    b->items[b->count++] = lib;
    return NULL;
}

static bool parse_policy(struct ctx *ctx, enum library_policy *policy)
{
    *policy = LIBRARY_APPEND;
    if (ctx->argc == 3 || ctx_arg_is(ctx, 3, "APPEND")) return true;
    *policy = LIBRARY_REPLACE;
    if (ctx_arg_is(ctx, 3, "REPLACE")) return true;
    *policy = LIBRARY_FLUSH;
    if (ctx_arg_is(ctx, 3, "FLUSH")) return true;
    reply_error(ctx->reply, "ERR Wrong restore policy given, value should be either FLUSH, APPEND "
                            "or REPLACE.");
    return false;
}

static void restore(struct ctx *ctx)
{
    enum library_policy policy;
    struct slice payload = ctx->argv[2];
    if (ctx->argc > 4) {
        ctx_unknown_subcommand(ctx);
        return;
    }
    if (!parse_policy(ctx, &policy)) return;
    if (!dump_has_good_footer(payload)) {
        reply_error(ctx->reply, "ERR DUMP payload version or checksum are wrong");
        return;
    }
    struct rdb_reader in = {.at = payload.ptr,
                            .end = payload.ptr + payload.len - DUMP_FOOTER_BYTES};
    struct batch b = {0};
    struct buf scratch = {0}, error = {0};
    const char *bad = NULL;
    while (!bad && rdb_left(&in)) bad = read_library(ctx, &in, &b, &scratch, &error);
    if (!bad) bad = library_registry_add(registry_of(ctx), b.items, b.count, policy, &error);
    if (bad)
        reply_error(ctx->reply, bad);
    else
        reply_ok(ctx->reply);
    if (!bad) ctx_commit_libraries(ctx);
    batch_free(&b);
    buf_free(&scratch);
    buf_free(&error);
}

static void help(struct ctx *ctx)
{
    static const char *const lines[] = {
        "DELETE <library name>",
        "    Remove a library with its functions.",
        "DUMP",
        "    Return all libraries as one string, for RESTORE.",
        "FLUSH [ASYNC|SYNC]",
        "    Remove all libraries.",
        "KILL",
        "    End the function that keeps the server busy, if it has not written anything yet.",
        "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
        "    List libraries and their functions; with WITHCODE their code, too.",
        "LOAD [REPLACE] <function code>",
        "    Create a library; with REPLACE in place of the one of its name.",
        "RESTORE <serialized value> [FLUSH|APPEND|REPLACE]",
        "    Create the libraries that DUMP has returned. What is there already is removed "
        "(FLUSH),",
        "    stays, and then no name may be taken (APPEND, the default), or makes room (REPLACE).",
        "STATS",
        "    Tell which function keeps the server busy, and how many there are.",
        NULL,
    };
    ctx_reply_help(ctx, lines);
}

// --- declarations --------------------------------------------------------------------------------

#define FCALL_FLAGS                                                                                \
    (CMD_NOSCRIPT | CMD_STALE | CMD_SKIP_MONITOR | CMD_NO_MANDATORY_KEYS | CMD_MOVABLE_KEYS)
// Where all shards meet, so that whatever stands in one log stands in the order of all.
#define CHANGE     .flags = CMD_WRITE | CMD_NOSCRIPT, .span = SPAN_MEET_ALL
#define CHANGE_OOM .flags = CMD_WRITE | CMD_NOSCRIPT | CMD_DENYOOM, .span = SPAN_MEET_ALL
#define ALL_SHARDS "request_policy:all_shards response_policy:all_succeeded"

// clang-format off
static const struct command subcommands[] = {
    {.name = "delete", .handler = delete_library, .arity = 3, CHANGE,
     .acl = ACL_SCRIPTING, .group = "scripting", .since = "7.0.0", .complexity = "O(1)",
     .summary = "Removes a library.", .args = "library-name:string", .tips = ALL_SHARDS},

    {.name = "dump", .handler = dump, .arity = 2, .flags = CMD_NOSCRIPT, .acl = ACL_SCRIPTING,
     .group = "scripting", .since = "7.0.0",
     .complexity = "O(N) with N the number of functions",
     .summary = "Returns all libraries as one string."},

    {.name = "flush", .handler = flush, .arity = -2, CHANGE, .acl = ACL_SCRIPTING,
     .group = "scripting", .since = "7.0.0",
     .complexity = "O(N) with N the number of functions", .summary = "Removes all libraries.",
     .args = "[ASYNC | SYNC]:async", .tips = ALL_SHARDS},

    {.name = "help", .handler = help, .arity = 2, .flags = CMD_LOADING | CMD_STALE,
     .acl = ACL_SCRIPTING, .group = "scripting", .since = "7.0.0", .complexity = "O(1)",
     .summary = "Describes the subcommands."},

    {.name = "kill", .handler = kill_function, .arity = 2, .flags = CMD_NOSCRIPT | CMD_ALLOW_BUSY,
     .acl = ACL_SCRIPTING, .group = "scripting", .since = "7.0.0", .complexity = "O(1)",
     .summary = "Ends the function that is running.",
     .tips = "request_policy:all_shards response_policy:one_succeeded"},

    {.name = "list", .handler = list, .arity = -2, .flags = CMD_NOSCRIPT, .acl = ACL_SCRIPTING,
     .group = "scripting", .since = "7.0.0",
     .complexity = "O(N) with N the number of functions",
     .summary = "Lists libraries and their functions.",
     .args = "[LIBRARYNAME library-name-pattern:string] [WITHCODE]",
     .tips = "nondeterministic_output_order"},

    {.name = "load", .handler = load, .arity = -3, CHANGE_OOM,
     .acl = ACL_SCRIPTING, .group = "scripting", .since = "7.0.0",
     .complexity = "O(1), compiling aside", .summary = "Creates a library.",
     .args = "[REPLACE] function-code:string", .tips = ALL_SHARDS},

    {.name = "restore", .handler = restore, .arity = -3, CHANGE_OOM,
     .acl = ACL_SCRIPTING, .group = "scripting", .since = "7.0.0",
     .complexity = "O(N) with N the number of functions in the string",
     .summary = "Creates the libraries that FUNCTION DUMP has returned.",
     .args = "serialized-value:string [FLUSH | APPEND | REPLACE]:policy", .tips = ALL_SHARDS},

    {.name = "stats", .handler = stats, .arity = 2, .flags = CMD_NOSCRIPT | CMD_ALLOW_BUSY,
     .acl = ACL_SCRIPTING, .group = "scripting", .since = "7.0.0", .complexity = "O(1)",
     .summary = "Tells which function is running, and how many there are.",
     .tips = "nondeterministic_output request_policy:all_shards response_policy:special"},

    {0},
};

const struct command commands_function[] = {
    {.name = "fcall", .handler = fcall, .arity = -3, .flags = FCALL_FLAGS | CMD_MAY_REPLICATE,
     .acl = ACL_SCRIPTING, .span = SPAN_MEET_ALL, .flags_of = fcall_flags,
     .keys = {SCRIPT_KEYS(KEY_RW | KEY_ACCESS | KEY_UPDATE)},
     .group = "scripting", .since = "7.0.0", .complexity = "That of what the function does.",
     .summary = "Calls a function.",
     .args = "function:string numkeys [key ...] [arg:string ...]"},

    {.name = "fcall_ro", .handler = fcall, .arity = -3, .flags = FCALL_FLAGS | CMD_READONLY,
     .acl = ACL_SCRIPTING, .span = SPAN_MEET_ALL, .keys = {SCRIPT_KEYS(KEY_RO | KEY_ACCESS)},
     .group = "scripting", .since = "7.0.0", .complexity = "That of what the function does.",
     .summary = "Calls a function that must not write.",
     .args = "function:string numkeys [key ...] [arg:string ...]"},

    {.name = "function", .arity = -2, .subcommands = subcommands, .group = "scripting",
     .since = "7.0.0", .complexity = "Depends on the subcommand.",
     .summary = "Commands on libraries of functions."},

    {0},
};
// clang-format on
