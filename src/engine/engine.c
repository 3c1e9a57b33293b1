// SPDX-License-Identifier: BSD-3-Clause
#include "engine/engine.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/effect.h"
#include "engine/interest.h"
#include "engine/protect.h"
#include "engine/pubsub.h"
#include "engine/settings.h"
#include "engine/snapshot.h"
#include "engine/tracking.h"
#include "types/hash.h"

struct engine *engine_new(const struct command *const *families, const struct settings *settings,
                          uint32_t shard_count, const struct host *host)
{
    unsigned char secret[20];
    int64_t now_ms = clock_unix_ms();
    struct engine *e = mem_calloc(sizeof *e);
    e->table = command_table_new(families);
    e->shard_count = shard_count;
    e->host = host;
    e->started_ms = now_ms;
    e->slowlog = slowlog_new();
    e->latency = latency_new();
    atomic_init(&e->settings, settings);
    atomic_init(&e->next_session_id, 1);
    random_secret(secret, sizeof secret);
    for (size_t i = 0; i < sizeof secret; i++) snprintf(e->run_id + 2 * i, 3, "%02x", secret[i]);
    e->spaces = mem_calloc(shard_count * sizeof e->spaces[0]);
    e->stats = mem_calloc(shard_count * sizeof e->stats[0]);
    e->pubsub = mem_calloc(shard_count * sizeof e->pubsub[0]);
    e->tracking = mem_calloc(shard_count * sizeof e->tracking[0]);
    for (uint32_t i = 0; i < shard_count; i++) {
        uint64_t seed;
        random_secret(&seed, sizeof seed);
        e->spaces[i] = mem_alloc_aligned(sizeof *e->spaces[i], 64);
        keyspace_init(e->spaces[i], i, (uint32_t)settings->databases, seed, now_ms);
        e->stats[i] = stats_new(command_count(e->table));
        e->pubsub[i] = pubsub_new(shard_count);
        e->tracking[i] = tracking_new();
    }
    return e;
}

void engine_free(struct engine *e)
{
    struct scripting *scripting = atomic_load(&e->scripting);
    if (scripting) atomic_load (&e->scripting_free)(scripting);
    for (uint32_t i = 0; i < e->shard_count; i++) {
        interests_free(e->spaces[i]);
        keyspace_free(e->spaces[i]);
        mem_free(e->spaces[i]);
        stats_free(e->stats[i]);
        pubsub_free(e->pubsub[i]);
        tracking_free(e->tracking[i]);
    }
    mem_free(e->spaces);
    mem_free(e->stats);
    mem_free(e->pubsub);
    mem_free(e->tracking);
    slowlog_free(e->slowlog);
    latency_free(e->latency);
    command_table_free(e->table);
    mem_free(e);
}

uint32_t engine_shard_of(const struct engine *e, struct slice key)
{
    // Slots are spread evenly and in order: shard i has the slots from i * 16384 / n on.
    return e->shard_count == 1 ? 0 : hash_slot(key) * e->shard_count / HASH_SLOTS;
}

// --- admission -----------------------------------------------------------------------------------

static void unknown_command(struct reply *reply, int argc, const struct slice *argv)
{
    enum { SHOWN = 128 }; // bytes of the name, and of all arguments together
    struct buf args = {0};
    for (int i = 1; i < argc && args.len < SHOWN; i++)
        buf_printf(&args, "'%.*s' ", (int)MIN(argv[i].len, SHOWN - args.len), argv[i].ptr);
    reply_errorf(reply, "ERR unknown command '%.*s', with args beginning with: %.*s",
                 (int)MIN(argv[0].len, SHOWN), argv[0].ptr, SLICE_ARG(buf_slice(&args)));
    buf_free(&args);
}

static void unknown_subcommand(struct reply *reply, const struct command *c, struct slice name)
{
    char upper[64];
    size_t n = 0;
    for (; c->name[n] && n + 1 < sizeof upper; n++)
        upper[n] = (char)toupper((unsigned char)c->name[n]);
    upper[n] = '\0';
    reply_errorf(reply, "ERR unknown subcommand '%.*s'. Try %s HELP.", (int)MIN(name.len, 128),
                 name.ptr, upper);
}

// So may whatever is queued. What ends the transaction does not.
static bool may_use_memory(const struct session *s, const struct command *c)
{
    static const char *const ends[] = {"exec", "discard", "quit", "reset"};
    for (size_t i = 0; s->is_in_multi && i < ARRAY_LEN(ends); i++)
        if (slice_is(slice_of(c->full_name), ends[i])) return false;
    return s->is_in_multi || (c->flags & CMD_DENYOOM);
}

// maxmemory, where nothing can be evicted: commands that may use memory are refused.
static bool is_out_of_memory(const struct session *s, const struct settings *settings,
                             const struct command *c)
{
    return UNLIKELY(settings->maxmemory) && may_use_memory(s, c) &&
           mem_used_bytes() > settings->maxmemory;
}

static const struct command *find_command(struct engine *e, int argc, const struct slice *argv,
                                          struct reply *reply)
{
    const struct command *c = command_find(e->table, argv[0]);
    if (UNLIKELY(!c)) {
        if (reply) unknown_command(reply, argc, argv);
        return NULL;
    }
    if (LIKELY(!c->subcommands) || argc < 2) return c;
    const struct command *sub = command_find_sub(c, argv[1]);
    if (!sub && reply) unknown_subcommand(reply, c, argv[1]);
    return sub;
}

// Why a known command may not run, or NULL.
static const char *refusal(const struct session *s, const struct settings *settings,
                           const struct command *c)
{
    const char *error = UNLIKELY(c->flags & CMD_PROTECTED) ? protect_refusal(settings, s) : NULL;
    if (error) return error; // Redis asks for this before it asks for a password
    if (UNLIKELY(!s->is_authenticated) && !(c->flags & CMD_NO_AUTH)) return ERR_NOAUTH;
    if (is_out_of_memory(s, settings, c)) return ERR_OOM;
    if (UNLIKELY(s->subscriptions != NULL) && s->resp == 2 && !(c->flags & CMD_SUBSCRIBER))
        return ERR_SUBSCRIBER;
    if (UNLIKELY(s->is_monitor) && (c->flags & (CMD_READONLY | CMD_WRITE | CMD_MAY_REPLICATE)))
        return ERR_MONITOR;
    return NULL;
}

static const char *log_refusal(int reason, char text[ENGINE_REFUSAL_BYTES])
{
    snprintf(text, ENGINE_REFUSAL_BYTES, "%s%s", ERR_MISCONF_LOG, strerror(reason));
    return text;
}

const char *engine_refuses_writes(const struct engine *e, const struct settings *settings,
                                  char text[ENGINE_REFUSAL_BYTES])
{
    // Relaxed: found out by this command or the next.
    uint32_t troubles = atomic_load_explicit(&e->troubles, memory_order_relaxed);
    if (LIKELY(!troubles)) return NULL;
    if ((troubles & ENGINE_SNAPSHOTS_FAIL) && settings->stop_writes_on_bgsave_error &&
        settings->save_count)
        return ERR_MISCONF_SNAPSHOT;
    if (!(troubles & ENGINE_LOG_FAILS)) return NULL;
    return log_refusal(atomic_load_explicit(&e->log_errno, memory_order_relaxed), text);
}

// What the engine as a whole keeps from running, or NULL. As in Redis, PING counts as a write where
// writes are refused: whoever checks on the server by it finds out.
static const char *trouble_refusal(const struct engine *e, const struct settings *settings,
                                   const struct command *c, char text[ENGINE_REFUSAL_BYTES])
{
    // Relaxed: found out by this command or the next.
    uint32_t troubles = atomic_load_explicit(&e->troubles, memory_order_relaxed);
    if (LIKELY(!troubles)) return NULL;
    // (WATCH, which Redis allows then, would look at keys that are being loaded.)
    bool may_load = (c->flags & CMD_LOADING) && c->transaction != TRANSACTION_WATCH;
    if ((troubles & ENGINE_IS_LOADING) && !may_load) return ERR_LOADING;
    if (!(c->flags & CMD_WRITE) && strcmp(c->full_name, "ping")) return NULL;
    return engine_refuses_writes(e, settings, text);
}

const struct command *engine_admit(struct engine *e, const struct session *s,
                                   const struct settings *settings, int argc,
                                   const struct slice *argv)
{
    char text[ENGINE_REFUSAL_BYTES];
    const struct command *c = find_command(e, argc, argv, NULL);
    if (UNLIKELY(!c) || !command_arity_fits(c, argc) || refusal(s, settings, c)) return NULL;
    return UNLIKELY(trouble_refusal(e, settings, c, text) != NULL) ? NULL : c;
}

// A browser, or something that abuses one, speaks HTTP to the port: it is cut off before what it
// sends (a body full of commands) can do harm.
static bool is_http(const struct ctx *ctx)
{
    return slice_is(ctx->argv[0], "post") || slice_is(ctx->argv[0], "host:");
}

// A command was refused when it came, and what was the reason is over by now.
static const char *past_refusal(const struct ctx *ctx, const struct command *c,
                                char text[ENGINE_REFUSAL_BYTES])
{
    enum { LATELY_MS = 100 }; // that is long for a request that is refused to be on its way
    // Relaxed: they were stored before the trouble was, or was over.
    int reason = atomic_load_explicit(&ctx->engine->log_errno, memory_order_relaxed);
    int64_t loaded_ms = atomic_load_explicit(&ctx->engine->loaded_ms, memory_order_relaxed);
    if (ctx->now_ms - loaded_ms < LATELY_MS && !(c->flags & CMD_LOADING)) return ERR_LOADING;
    bool may_fill = may_use_memory(ctx->session, c);
    if (may_fill && ctx->settings->maxmemory) return ERR_OOM;
    if (reason && (c->flags & CMD_WRITE)) return log_refusal(reason, text);
    if (may_fill) return ERR_OOM;
    return c->flags & CMD_WRITE ? ERR_MISCONF_SNAPSHOT : ERR_LOADING;
}

// The error may name the command. What keeps EXEC from running ends the transaction.
static void refuse_known(struct reply *reply, const struct command *c, const char *error)
{
    char text[ENGINE_REFUSAL_BYTES + 64];
    if (c->transaction == TRANSACTION_EXEC) {
        const char *reason = strncmp(error, "ERR ", 4) ? error : error + 4;
        snprintf(text, sizeof text, ERR_EXEC_ABORTED "%s", reason);
        error = text;
    }
    reply_errorf(reply, error, c->full_name);
}

void engine_count_refused(struct engine *e, uint32_t shard, const struct command *c,
                          const char *error)
{
    char code[sizeof e->stats[shard]->errors[0].code];
    if (c->transaction == TRANSACTION_EXEC) error = ERR_EXEC_ABORTED;
    snprintf(code, sizeof code, "%.*s", (int)strcspn(error, " "), error);
    stat_add(&e->stats[shard]->commands[c->id].rejected, 1);
    stats_count_error(e->stats[shard], code);
}

void engine_count_served(struct engine *e, uint32_t shard, const struct command *c,
                         const struct reply *reply)
{
    if (LIKELY(!reply->error_count)) return;
    stat_add(&e->stats[shard]->commands[c->id].failed, 1);
    stats_count_error(e->stats[shard], reply->error_code);
}

void engine_refuse(struct ctx *ctx, uint32_t shard)
{
    if (is_http(ctx)) {
        log_write(LOG_WARNING,
                  "Possible SECURITY ATTACK detected: %s sends POST or Host: commands. "
                  "Connection closed.",
                  ctx->session->peer);
        ctx->session->is_closing = ctx->session->is_cut_off = true;
        return;
    }
    struct shard_stats *stats = ctx->engine->stats[shard];
    const struct command *c = find_command(ctx->engine, ctx->argc, ctx->argv, ctx->reply);
    if (c) {
        char text[ENGINE_REFUSAL_BYTES];
        const char *error = refusal(ctx->session, ctx->settings, c);
        if (!error) error = trouble_refusal(ctx->engine, ctx->settings, c, text);
        if (!command_arity_fits(c, ctx->argc))
            refuse_known(ctx->reply, c, "ERR wrong number of arguments for '%s' command");
        else
            refuse_known(ctx->reply, c, error ? error : past_refusal(ctx, c, text));
        stat_add(&stats->commands[c->id].rejected, 1);
    }
    stats_count_error(stats, ctx->reply->error_code);
}

// --- execution -----------------------------------------------------------------------------------

// The settings changed: what is compared with after every command is computed anew.
static void refresh_thresholds(struct shard_stats *stats, const struct settings *settings)
{
    double per_us = clock_ticks_per_us();
    double slow_us =
        settings->slowlog_log_slower_than < 0 ? 1e15 : (double)settings->slowlog_log_slower_than;
    double latency_us = settings->latency_monitor_threshold > 0
                            ? (double)settings->latency_monitor_threshold * 1000
                            : 1e15;
    stats->attention_ticks = (uint64_t)(MIN(slow_us, latency_us) * per_us);
    stats->settings_version = settings->version;
}

static void note_attention(struct ctx *ctx, uint64_t ticks)
{
    const struct settings *s = ctx->settings;
    uint64_t us = (uint64_t)((double)ticks / clock_ticks_per_us());
    int64_t now_s = ctx->now_ms / 1000;
    if (s->slowlog_log_slower_than >= 0 && us >= (uint64_t)s->slowlog_log_slower_than &&
        !(ctx->cmd->flags & CMD_SKIP_SLOWLOG) && s->slowlog_max_len > 0)
        slowlog_add(ctx->engine->slowlog, ctx->session, ctx->argc, ctx->argv, us, now_s,
                    (uint64_t)s->slowlog_max_len);
    latency_add(ctx->engine->latency, ctx->cmd->flags & CMD_FAST ? "fast-command" : "command",
                now_s, (uint32_t)(us / 1000), (uint64_t)s->latency_monitor_threshold);
}

void engine_note_slow(struct ctx *ctx, uint32_t shard, uint64_t ticks)
{
    struct shard_stats *stats = ctx->engine->stats[shard];
    if (UNLIKELY(stats->settings_version != ctx->settings->version))
        refresh_thresholds(stats, ctx->settings);
    if (UNLIKELY(ticks >= stats->attention_ticks)) note_attention(ctx, ticks);
}

void engine_count(struct ctx *ctx, uint32_t shard, uint64_t ticks)
{
    struct shard_stats *stats = ctx->engine->stats[shard];
    struct command_stats *cs = &stats->commands[ctx->cmd->id];
    stat_add(&cs->calls, 1);
    stat_add(&cs->ticks, ticks);
    stat_add(&stats->total_commands, 1);
    if (ctx->settings->latency_tracking) stats_count_latency(cs, clock_ticks_to_ns(ticks));
    if (UNLIKELY(ctx->reply->error_count)) {
        stat_add(&cs->failed, 1);
        stats_count_error(stats, ctx->reply->error_code);
    }
    if (!(ctx->flags & CTX_NOTE_LATER)) engine_note_slow(ctx, shard, ticks);
}

// Commands that touch no key run while the shard is parked, too; then its tracking and its effects
// are in the hands of the meeting's runner.
static bool may_change_keys(const struct ctx *ctx)
{
    const struct command *c = ctx->cmd;
    if (ctx->flags & CTX_IS_APART) return false;
    return command_has_keys(c) || c->span != SPAN_KEYS || c->span_of;
}

static bool is_unit_end(const struct ctx *ctx)
{
    return !(ctx->flags & (CTX_UNIT_GOES_ON | CTX_IN_EXEC | CTX_IN_SCRIPT)) && may_change_keys(ctx);
}

uint64_t engine_execute(struct ctx *ctx, uint32_t shard)
{
    ctx->reply->error_count = 0;
    uint64_t begin = ctx->begin_ticks ? ctx->begin_ticks : clock_ticks();
    // Commands that write nothing run while the shard is parked, too (MULTI, PING): they do not
    // look at what belongs to the meeting's runner then.
    if ((ctx->cmd->flags & CMD_WRITE) && UNLIKELY(ctx->space->snapshot || ctx->space_count > 1))
        snapshot_touch_keys(ctx);
    uint64_t dirty = stat_get(&ctx->space->stats.dirty);
    ctx->cmd->handler(ctx);
    if (effect_is_wanted(ctx) && may_change_keys(ctx)) effect_end_command(ctx, dirty);
    ctx->has_said_effect = false;
    if (UNLIKELY(ctx->cmd->conclude != NULL) && !(ctx->flags & CTX_IS_PART))
        ctx->cmd->conclude(ctx); // one shard is all
    if (UNLIKELY(ctx->session->tracking)) tracking_remember(ctx);
    if (is_unit_end(ctx)) tracking_unit_end(ctx);
    ctx->begin_ticks = clock_ticks(); // of the next one
    uint64_t ticks = ctx->begin_ticks - begin;
    if (LIKELY(!(ctx->flags & CTX_IS_PART))) engine_count(ctx, shard, ticks);
    return ticks;
}

bool engine_serve(struct ctx *ctx, struct slice key)
{
    uint64_t dirty = stat_get(&ctx->space->stats.dirty);
    bool is_served = ctx->cmd->serve(ctx, key);
    if (effect_is_wanted(ctx)) effect_end_command(ctx, dirty);
    return is_served;
}

// --- housekeeping --------------------------------------------------------------------------------

static void expire_due(void *arg, uint32_t db_index, struct entry *e)
{
    struct ctx *ctx = arg;
    struct slice key = entry_key(e);
    char *copy = mem_strndup(key.ptr, key.len); // outlives the entry: the write tail comes last
    db_delete(&ctx->space->dbs[db_index], e, hash_bytes(key));
    stat_add(&ctx->space->stats.expired, 1);
    ctx_commit_db(ctx, db_index, (struct slice){copy, key.len}, EVENT_EXPIRED, "expired");
    mem_free(copy);
}

static uint32_t expire_fields_due(void *arg, uint32_t db_index, struct entry *e, uint32_t budget)
{
    struct ctx *ctx = arg;
    struct slice key = entry_key(e);
    ctx->db = db_index;
    snapshot_touch(&ctx->space->dbs[db_index], e);
    struct effect_draft hdel;
    effect_begin_besides(&hdel, ctx, "HDEL", key);
    uint32_t done = hash_expire_due(&e->value, ctx->now_ms, budget, effect_visit_field, &hdel);
    effect_end(&hdel);
    if (!done) return 0;
    char *copy = mem_strndup(key.ptr, key.len); // outlives the entry
    ctx_commit_fields_expired(ctx, (struct slice){copy, key.len}, e, done);
    mem_free(copy);
    return done;
}

bool engine_cron(struct engine *e, uint32_t shard, const struct settings *settings, int64_t now_ms,
                 uint32_t budget)
{
    // Relaxed: whether it is seen this time or the next does not matter.
    if (UNLIKELY(atomic_load_explicit(&e->is_cron_paused, memory_order_relaxed))) return false;
    struct keyspace *ks = e->spaces[shard];
    struct ctx ctx = {.engine = e,
                      .settings = settings,
                      .now_ms = now_ms,
                      .space = ks,
                      .space_count = 1,
                      .spaces = &e->spaces[shard]};
    struct keyspace_due due = {.entry = expire_due, .fields = expire_fields_due, .arg = &ctx};
    bool has_more = keyspace_cron(ks, now_ms, budget, &due);
    tracking_unit_end(&ctx);
    return tracking_cron(e, shard) || has_more;
}
