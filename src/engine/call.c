// SPDX-License-Identifier: BSD-3-Clause
#include "engine/call.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/host.h"
#include "engine/portion.h"
#include "engine/settings.h"

#define ERR_CALL_UNKNOWN    "ERR Unknown Redis command called from script"
#define ERR_CALL_ARITY      "ERR Wrong number of args calling Redis command from script"
#define ERR_CALL_NOSCRIPT   "ERR This Redis command is not allowed from script"
#define ERR_CALL_UNDECLARED "ERR Script attempted to access a key that it did not declare"

bool call_is_out_of_memory(const struct settings *settings)
{
    return UNLIKELY(settings->maxmemory) && mem_used_bytes() > settings->maxmemory;
}

void call_begin(struct call_scope *s, const struct ctx *outer, struct reply *reply, uint32_t flags)
{
    s->ctx = *outer;
    s->ctx.reply = reply;
    s->ctx.first_key = NULL;
    s->ctx.blobs = NULL;
    s->ctx.flags &= CTX_NO_TOUCH | CTX_IN_EXEC | CTX_CACHING;
    s->ctx.flags |= CTX_IN_SCRIPT;
    s->flags = flags;
    s->has_written = false;
    s->was_out_of_memory = call_is_out_of_memory(outer->settings);
    s->before_write = NULL;
    s->arg = NULL;
}

// --- admission -----------------------------------------------------------------------------------

static const struct command *find_command(const struct engine *e, int argc,
                                          const struct slice *argv)
{
    const struct command *c = command_find(e->table, argv[0]);
    if (UNLIKELY(!c) || LIKELY(!c->subcommands) || argc < 2) return c;
    return command_find_sub(c, argv[1]);
}

// Why a known command may not run, or NULL.
static const char *refusal(const struct call_scope *s, const struct command *c, int argc,
                           char text[ENGINE_REFUSAL_BYTES])
{
    if (!command_arity_fits(c, argc)) return ERR_CALL_ARITY;
    if (c->flags & CMD_NOSCRIPT) return ERR_CALL_NOSCRIPT;
    if ((s->flags & CALL_READ_ONLY) && (c->flags & (CMD_WRITE | CMD_MAY_REPLICATE)))
        return ERR_READ_ONLY_SCRIPT;
    // What has written already goes on, so that it is not left half done.
    if ((c->flags & CMD_WRITE) && !s->has_written) {
        const char *error = engine_refuses_writes(s->ctx.engine, s->ctx.settings, text);
        if (UNLIKELY(error != NULL)) return error;
    }
    bool is_full = UNLIKELY(s->was_out_of_memory) && !(s->flags & CALL_ALLOW_OOM) &&
                   !s->has_written && (c->flags & CMD_DENYOOM);
    return is_full ? ERR_OOM : NULL;
}

// Are all its keys in the keyspaces at hand?
static bool is_at_hand(const struct ctx *ctx, int count)
{
    enum { FEW = 64 };
    int few[FEW], *positions = few;
    if (count > FEW) positions = mem_alloc((size_t)count * sizeof positions[0]);
    command_keys(ctx->cmd, ctx->argc, ctx->argv, positions, NULL, count);
    bool is_here = true;
    for (int i = 0; i < count && is_here; i++)
        is_here = ctx_has_shard(ctx, engine_shard_of(ctx->engine, ctx->argv[positions[i]]));
    if (positions != few) mem_free(positions);
    return is_here;
}

// With some of several keyspaces: what lies on another, or on all, is out of reach.
static bool is_within_reach(const struct ctx *ctx)
{
    const struct command *c = ctx->cmd;
    enum command_span span = command_span_of(ctx->engine, c, ctx->argc, ctx->argv);
    if (span == SPAN_MEET_ALL) return false;
    if (!command_has_keys(c)) return span == SPAN_KEYS || span == SPAN_HOME;
    int count = command_keys(c, ctx->argc, ctx->argv, NULL, NULL, 0);
    return count <= 0 || is_at_hand(ctx, count);
}

// --- execution -----------------------------------------------------------------------------------

// Connections are not parked with the keyspace: their thread goes on reading and writing.
static uint64_t execute_part(struct ctx *part, uint32_t here)
{
    const struct host *host = part->engine->host;
    bool is_elsewhere = (part->cmd->acl & ACL_CONNECTION) && part->space->shard != here;
    return is_elsewhere && host->execute_part ? host->execute_part(part, here)
                                              : engine_execute(part, here);
}

// Runs the command on one keyspace after the other and makes one reply of the answers.
static void run_in_parts(struct ctx *ctx)
{
    struct reply *out = ctx->reply, answer;
    struct portion_list list = {.count = ctx->space_count};
    uint64_t ticks = 0;
    list.items = mem_alloc(list.count * sizeof list.items[0]);
    reply_init(&answer, out->resp);
    struct ctx part = *ctx;
    part.reply = &answer;
    part.flags |= CTX_IS_PART | CTX_UNIT_GOES_ON; // the meeting's runner tells what changed
    part.space_count = 1;
    for (uint32_t i = 0; i < list.count; i++) {
        size_t len;
        part.space = ctx->spaces[i];
        part.spaces = &ctx->spaces[i];
        ticks += execute_part(&part, ctx->space->shard);
        reply_raw(&answer, "", 1); // a portion ends with a NUL
        char *text = reply_flatten(&answer, &len);
        list.items[i] = portion_of(text, len - 1);
        reply_clear(&answer);
    }
    out->error_count = 0;
    portion_merge(ctx, &list);
    engine_count(ctx, ctx->space->shard, ticks);
    for (uint32_t i = 0; i < list.count; i++) mem_free(list.items[i].text);
    mem_free(list.items);
    reply_free(&answer);
}

static bool is_in_parts(enum command_span span)
{
    return span == SPAN_SUM || span == SPAN_ALL_OK || span == SPAN_CONCAT || span == SPAN_TEXT ||
           span == SPAN_SESSION;
}

void call_run_keyless(struct ctx *ctx)
{
    if (is_in_parts(command_span_of(ctx->engine, ctx->cmd, ctx->argc, ctx->argv)))
        run_in_parts(ctx);
    else
        engine_execute(ctx, ctx->space->shard);
}

// SELECT changes the session it runs for: here that is a stand-in, and no copy: what the connection
// sends meanwhile changes the session at its home.
static void run_select(struct call_scope *s)
{
    struct ctx *ctx = &s->ctx;
    struct session *session = ctx->session;
    struct session stand_in = {.id = session->id, .home = session->home, .db = ctx->db};
    // For the slow log; it never changes.
    memcpy(stand_in.peer, session->peer, sizeof stand_in.peer);
    ctx->session = &stand_in;
    engine_execute(ctx, ctx->space->shard);
    ctx->session = session;
    ctx->db = stand_in.db;
}

static void execute(struct call_scope *s)
{
    struct ctx *ctx = &s->ctx;
    const struct command *c = ctx->cmd;
    if (UNLIKELY((c->flags & CMD_SESSION) && (c->acl & ACL_CONNECTION)))
        run_select(s);
    else if (UNLIKELY(ctx->space_count > 1) && !command_has_keys(c))
        call_run_keyless(ctx);
    else
        engine_execute(ctx, ctx->space->shard);
}

static enum call_result refuse(struct call_scope *s, const struct command *c, const char *error)
{
    struct shard_stats *stats = s->ctx.engine->stats[s->ctx.space->shard];
    reply_error(s->ctx.reply, error);
    if (c) stat_add(&stats->commands[c->id].rejected, 1);
    stats_count_error(stats, s->ctx.reply->error_code);
    return CALL_REFUSED;
}

static void show_to_monitors(struct ctx *ctx)
{
    const struct host *host = ctx->engine->host;
    // Relaxed, as in the server: a monitor sees what comes after its own command has answered.
    if (LIKELY(!atomic_load_explicit(&ctx->engine->monitors, memory_order_relaxed))) return;
    if (host && host->monitor_lua && !(ctx->cmd->flags & (CMD_SKIP_MONITOR | CMD_ADMIN)))
        host->monitor_lua(ctx, ctx->argc, ctx->argv);
}

enum call_result call_run(struct call_scope *s, int argc, struct slice *argv)
{
    struct ctx *ctx = &s->ctx;
    char text[ENGINE_REFUSAL_BYTES];
    reply_clear(ctx->reply);
    const struct command *c = find_command(ctx->engine, argc, argv);
    const char *error = LIKELY(c != NULL) ? refusal(s, c, argc, text) : ERR_CALL_UNKNOWN;
    if (UNLIKELY(error != NULL)) return refuse(s, c, error);
    ctx->cmd = c;
    ctx->argv = argv;
    ctx->argc = argc;
    if (UNLIKELY(!ctx_has_all(ctx)) && !is_within_reach(ctx))
        return refuse(s, c, ERR_CALL_UNDECLARED);
    if ((c->flags & CMD_WRITE) && !s->has_written) {
        if (s->before_write && !s->before_write(s->arg)) return CALL_STOPPED;
        s->has_written = true;
    }
    show_to_monitors(ctx);
    ctx->begin_ticks = 0;
    execute(s);
    return CALL_DONE;
}
