// SPDX-License-Identifier: BSD-3-Clause
//
// script: EVAL and its kin, and SCRIPT.
//
// A script that is proven to touch no keys but those it declares runs like any command with keys:
// on their shard, or where their shards meet. Any other runs where all shards meet, so that it
// finds every key and nobody sees it half done. The Lua in which it runs, and what it may do there,
// is the business of script/.
#include "commands/script.h"

#include "base/assert.h"
#include "commands/families.h"
#include "engine/engine.h"
#include "script/scripting.h"

#define ERR_RO_SCRIPT "ERR Can not execute a script with write flag using *_ro command."

// --- what EVAL and FCALL share -------------------------------------------------------------------

bool script_parse_keys(struct ctx *ctx, struct run_request *r, const char *not_integer)
{
    int64_t count;
    if (!ctx_arg_i64(ctx, 2, &count, not_integer)) return false;
    const char *error = NULL;
    if (count > ctx->argc - 3)
        error = "ERR Number of keys can't be greater than number of args";
    else if (count < 0)
        error = "ERR Number of keys can't be negative";
    if (error) {
        reply_error(ctx->reply, error);
        return false;
    }
    r->keys = ctx->argv + 3;
    r->key_count = (int)count;
    r->args = r->keys + count;
    r->arg_count = ctx->argc - 3 - (int)count;
    return true;
}

bool script_admit(struct ctx *ctx, struct run_request *r, uint32_t flags)
{
    bool is_ro = ctx->cmd->flags & CMD_READONLY;
    char text[ENGINE_REFUSAL_BYTES];
    const char *error = NULL;
    if (!(flags & SCRIPT_COMPAT)) {
        if (is_ro && !(flags & SCRIPT_NO_WRITES))
            error = ERR_RO_SCRIPT;
        else if (!(flags & SCRIPT_NO_WRITES))
            error = engine_refuses_writes(ctx->engine, ctx->settings, text);
        if (!error && !(flags & (SCRIPT_NO_WRITES | SCRIPT_ALLOW_OOM)) &&
            call_is_out_of_memory(ctx->settings))
            error = ERR_OOM;
    }
    if (error) {
        reply_error(ctx->reply, error);
        return false;
    }
    r->flags = 0;
    if (is_ro || (flags & SCRIPT_NO_WRITES)) r->flags |= CALL_READ_ONLY;
    if (flags & SCRIPT_ALLOW_OOM) r->flags |= CALL_ALLOW_OOM;
    return true;
}

void script_reply_kill(struct ctx *ctx, bool is_function)
{
    switch (running_kill(&scripting_of(ctx->engine)->slow, is_function)) {
    case KILL_DONE: reply_ok(ctx->reply); break;
    case KILL_NONE: reply_error(ctx->reply, ERR_NOT_BUSY); break;
    case KILL_DIRTY: reply_error(ctx->reply, ERR_UNKILLABLE); break;
    case KILL_IS_SCRIPT: reply_error(ctx->reply, ERR_BUSY_SCRIPT); break;
    case KILL_IS_FUNCTION: reply_error(ctx->reply, ERR_BUSY_FUNCTION); break;
    }
}

// --- EVAL ----------------------------------------------------------------------------------------

static struct lua_state *lua_of(struct ctx *ctx)
{
    return scripting_state(ctx->engine, ctx->space->shard);
}

static void run(struct ctx *ctx, struct run_request *r, const struct compiled *c)
{
    struct script *script = c->script;
    if (!script_admit(ctx, r, script->flags)) return;
    r->name = script->sha;
    script_ref(script); // should it leave the cache while it runs
    lua_state_run(lua_of(ctx), ctx, r, c->ref);
    script_unref(script);
}

static void eval(struct ctx *ctx)
{
    struct run_request r = {0};
    if (!script_parse_keys(ctx, &r, NULL)) return;
    const struct compiled *c = lua_state_of_text(lua_of(ctx), ctx->argv[1], false, ctx->reply);
    if (c) run(ctx, &r, c);
}

static void evalsha(struct ctx *ctx)
{
    char sha[SCRIPT_SHA_BYTES + 1];
    struct run_request r = {0};
    bool is_sha = script_sha_parse(ctx->argv[1], sha); // Redis, too, looks at that first
    if (is_sha && !script_parse_keys(ctx, &r, NULL)) return;
    const struct compiled *c = is_sha ? lua_state_of_sha(lua_of(ctx), sha) : NULL;
    if (c)
        run(ctx, &r, c);
    else
        reply_error(ctx->reply, "NOSCRIPT No matching script. Please use EVAL.");
}

static enum command_span eval_span(const struct engine *e, int argc, const struct slice *argv)
{
    (void)argc;
    bool stays = e->shard_count == 1 || scripting_stays_on_keys(e, argv[1]);
    return stays ? SPAN_KEYS : SPAN_MEET_ALL;
}

static enum command_span evalsha_span(const struct engine *e, int argc, const struct slice *argv)
{
    (void)argc;
    bool stays = e->shard_count == 1 || scripting_sha_stays_on_keys(e, argv[1]);
    return stays ? SPAN_KEYS : SPAN_MEET_ALL;
}

uint32_t script_command_flags(uint32_t flags)
{
    if (flags & SCRIPT_COMPAT) return CMD_MAY_REPLICATE;
    if (flags & SCRIPT_NO_WRITES) return 0;
    return CMD_WRITE | (flags & SCRIPT_ALLOW_OOM ? 0 : CMD_DENYOOM);
}

static uint32_t eval_flags(const struct engine *e, int argc, const struct slice *argv)
{
    (void)e, (void)argc;
    struct shebang line = {0};
    struct buf error = {0};
    bool is_sound = !shebang_read_script(argv[1], &line, &error);
    buf_free(&line.name);
    buf_free(&error);
    return script_command_flags(is_sound ? line.flags : SCRIPT_COMPAT);
}

static uint32_t evalsha_flags(const struct engine *e, int argc, const struct slice *argv)
{
    (void)argc;
    char sha[SCRIPT_SHA_BYTES + 1];
    struct script *script =
        script_sha_parse(argv[1], sha) ? script_cache_find(&scripting_of(e)->cache, sha) : NULL;
    uint32_t flags = script_command_flags(script ? script->flags : SCRIPT_COMPAT);
    if (script) script_unref(script);
    return flags;
}

// --- SCRIPT --------------------------------------------------------------------------------------

static void load(struct ctx *ctx)
{
    const struct compiled *c = lua_state_of_text(lua_of(ctx), ctx->argv[2], true, ctx->reply);
    if (c) reply_bulk(ctx->reply, (struct slice){c->script->sha, SCRIPT_SHA_BYTES});
}

static void exists(struct ctx *ctx)
{
    struct script_cache *cache = &scripting_of(ctx->engine)->cache;
    reply_array(ctx->reply, (size_t)ctx->argc - 2);
    for (int i = 2; i < ctx->argc; i++) {
        char sha[SCRIPT_SHA_BYTES + 1];
        struct script *script = NULL;
        if (script_sha_parse(ctx->argv[i], sha)) script = script_cache_find(cache, sha);
        reply_int(ctx->reply, script != NULL);
        if (script) script_unref(script);
    }
}

static void flush(struct ctx *ctx)
{
    bool is_good = ctx->argc == 2 ||
                   (ctx->argc == 3 && (ctx_arg_is(ctx, 2, "SYNC") || ctx_arg_is(ctx, 2, "ASYNC")));
    if (!is_good) {
        reply_error(ctx->reply, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
        return;
    }
    script_cache_flush(&scripting_of(ctx->engine)->cache);
    reply_ok(ctx->reply);
}

static void kill_script(struct ctx *ctx)
{
    script_reply_kill(ctx, false);
}

static void debug(struct ctx *ctx)
{
    if (ctx_arg_is(ctx, 2, "NO"))
        reply_ok(ctx->reply);
    else if (ctx_arg_is(ctx, 2, "YES") || ctx_arg_is(ctx, 2, "SYNC"))
        reply_error(ctx->reply, "ERR there is no Lua debugger here");
    else
        reply_error(ctx->reply, "ERR Use SCRIPT DEBUG YES/SYNC/NO");
}

static void help(struct ctx *ctx)
{
    static const char *const lines[] = {
        "DEBUG (YES|SYNC|NO)",
        "    Choose how scripts are debugged; there is no debugger, so only NO is taken.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Tell of each script whether it can be called by its SHA1.",
        "FLUSH [ASYNC|SYNC]",
        "    Forget all scripts.",
        "KILL",
        "    End the script that keeps the server busy, if it has not written anything yet.",
        "LOAD <script>",
        "    Remember a script, without running it, and return its SHA1.",
        NULL,
    };
    ctx_reply_help(ctx, lines);
}

// --- declarations --------------------------------------------------------------------------------

#define EVAL_FLAGS                                                                                 \
    (CMD_NOSCRIPT | CMD_STALE | CMD_SKIP_MONITOR | CMD_NO_MANDATORY_KEYS | CMD_MOVABLE_KEYS)

// clang-format off
static const struct command subcommands[] = {
    {.name = "debug", .handler = debug, .arity = 3, .flags = CMD_NOSCRIPT, .acl = ACL_SCRIPTING,
     .group = "scripting", .since = "3.2.0", .complexity = "O(1)",
     .summary = "Chooses how scripts are debugged.", .args = "<YES | SYNC | NO>:mode"},

    {.name = "exists", .handler = exists, .arity = -3, .flags = CMD_NOSCRIPT,
     .acl = ACL_SCRIPTING, .group = "scripting", .since = "2.6.0",
     .complexity = "O(N) with N the number of scripts asked for",
     .summary = "Tells which of these scripts are in the cache.", .args = "sha1:string ...",
     .tips = "request_policy:all_shards response_policy:agg_logical_and"},

    {.name = "flush", .handler = flush, .arity = -2, .flags = CMD_NOSCRIPT, .acl = ACL_SCRIPTING,
     .span = SPAN_MEET_ALL, // the cache is everybody's: not amid other shards' transactions
     .group = "scripting", .since = "2.6.0",
     .complexity = "O(N) with N the number of scripts in the cache",
     .summary = "Removes all scripts from the cache.", .args = "[ASYNC | SYNC]:async",
     .history = "6.2.0: Added the modes `ASYNC` and `SYNC`.",
     .tips = "request_policy:all_nodes response_policy:all_succeeded"},

    {.name = "help", .handler = help, .arity = 2, .flags = CMD_LOADING | CMD_STALE,
     .acl = ACL_SCRIPTING, .group = "scripting", .since = "5.0.0", .complexity = "O(1)",
     .summary = "Describes the subcommands."},

    {.name = "kill", .handler = kill_script, .arity = 2, .flags = CMD_NOSCRIPT | CMD_ALLOW_BUSY,
     .acl = ACL_SCRIPTING, .group = "scripting", .since = "2.6.0", .complexity = "O(1)",
     .summary = "Ends the script that is running.",
     .tips = "request_policy:all_shards response_policy:one_succeeded"},

    {.name = "load", .handler = load, .arity = 3, .flags = CMD_NOSCRIPT | CMD_STALE,
     .acl = ACL_SCRIPTING, .group = "scripting", .since = "2.6.0",
     .complexity = "O(N) with N the length of the script",
     .summary = "Puts a script into the cache.", .args = "script:string",
     .tips = "request_policy:all_nodes response_policy:all_succeeded"},

    {0},
};

const struct command commands_script[] = {
    {.name = "eval", .handler = eval, .arity = -3, .flags = EVAL_FLAGS | CMD_MAY_REPLICATE,
     .acl = ACL_SCRIPTING, .keys = {SCRIPT_KEYS(KEY_RW | KEY_ACCESS | KEY_UPDATE)},
     .span_of = eval_span, .flags_of = eval_flags,
     .group = "scripting", .since = "2.6.0", .complexity = "That of what the script does.",
     .summary = "Runs a Lua script.", .args = "script:string numkeys [key ...] [arg:string ...]"},

    {.name = "eval_ro", .handler = eval, .arity = -3, .flags = EVAL_FLAGS | CMD_READONLY,
     .acl = ACL_SCRIPTING, .keys = {SCRIPT_KEYS(KEY_RO | KEY_ACCESS)}, .span_of = eval_span,
     .group = "scripting", .since = "7.0.0", .complexity = "That of what the script does.",
     .summary = "Runs a Lua script that must not write.",
     .args = "script:string numkeys [key ...] [arg:string ...]"},

    {.name = "evalsha", .handler = evalsha, .arity = -3, .flags = EVAL_FLAGS | CMD_MAY_REPLICATE,
     .acl = ACL_SCRIPTING, .keys = {SCRIPT_KEYS(KEY_RW | KEY_ACCESS | KEY_UPDATE)},
     .span_of = evalsha_span, .flags_of = evalsha_flags,
     .group = "scripting", .since = "2.6.0", .complexity = "That of what the script does.",
     .summary = "Runs a script of the cache, named by its SHA1.",
     .args = "sha1:string numkeys [key ...] [arg:string ...]"},

    {.name = "evalsha_ro", .handler = evalsha, .arity = -3, .flags = EVAL_FLAGS | CMD_READONLY,
     .acl = ACL_SCRIPTING, .keys = {SCRIPT_KEYS(KEY_RO | KEY_ACCESS)}, .span_of = evalsha_span,
     .group = "scripting", .since = "7.0.0", .complexity = "That of what the script does.",
     .summary = "Runs a script of the cache that must not write.",
     .args = "sha1:string numkeys [key ...] [arg:string ...]"},

    {.name = "script", .arity = -2, .subcommands = subcommands, .group = "scripting",
     .since = "2.6.0", .complexity = "Depends on the subcommand.",
     .summary = "Commands on the cache of scripts."},

    {0},
};
// clang-format on
