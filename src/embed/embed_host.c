// SPDX-License-Identifier: BSD-3-Clause
//
// The directives that CONFIG GET and SET know here are those that change how commands behave, all
// of them plain numbers; the server's whole table (server/config_table.c) is above this layer. As
// there, a change makes a new snapshot of the settings and publishes it; the one before it lives on
// until the command that made the change is over, since that command still reads it.
#include "embed/embed_host.h"

#include <stddef.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/glob.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/pubsub.h"

struct row {
    const char *name;
    size_t offset; // of an int64_t or uint64_t in struct settings
    int64_t min, max;
    bool is_fixed;            // CONFIG SET refuses
    const char *const *words; // names of the values from min to max; NULL: digits
};

static const char *const policies[] = {
    [POLICY_NOEVICTION] = "noeviction",     [POLICY_VOLATILE_LRU] = "volatile-lru",
    [POLICY_VOLATILE_LFU] = "volatile-lfu", [POLICY_VOLATILE_RANDOM] = "volatile-random",
    [POLICY_VOLATILE_TTL] = "volatile-ttl", [POLICY_ALLKEYS_LRU] = "allkeys-lru",
    [POLICY_ALLKEYS_LFU] = "allkeys-lfu",   [POLICY_ALLKEYS_RANDOM] = "allkeys-random",
};

#define FIELD(f) offsetof(struct settings, f)

static const struct row rows[] = {
    {"databases", FIELD(databases), 1, INT32_MAX, true, NULL},
    {"proto-max-bulk-len", FIELD(proto_max_bulk_len), 1 << 20, INT64_MAX, true, NULL},
    {"maxmemory", FIELD(maxmemory), 0, INT64_MAX, false, NULL},
    {"maxmemory-policy", FIELD(maxmemory_policy), 0, ARRAY_LEN(policies) - 1, false, policies},
    {"lfu-log-factor", FIELD(lfu_log_factor), 0, INT32_MAX, false, NULL},
    {"lfu-decay-time", FIELD(lfu_decay_time), 0, INT32_MAX, false, NULL},
    {"slowlog-log-slower-than", FIELD(slowlog_log_slower_than), -1, INT64_MAX, false, NULL},
    {"slowlog-max-len", FIELD(slowlog_max_len), 0, INT64_MAX, false, NULL},
    {"latency-monitor-threshold", FIELD(latency_monitor_threshold), 0, INT64_MAX, false, NULL},
};

static int64_t *field_of(struct settings *s, const struct row *row)
{
    return (int64_t *)((char *)s + row->offset);
}

static const struct row *find_row(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (slice_is(name, rows[i].name)) return &rows[i];
    return NULL;
}

static void config_get(struct ctx *ctx, const struct slice *patterns, int count,
                       void (*emit)(void *arg, struct slice name, struct slice value), void *arg)
{
    struct embed *e = ctx->engine->host->owner;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool is_wanted = false;
        for (int p = 0; p < count && !is_wanted; p++)
            is_wanted = glob_match_nocase(patterns[p], slice_of(rows[i].name));
        if (!is_wanted) continue;
        char digits[NUM_I64_TEXT];
        int64_t value = *field_of(e->settings, &rows[i]);
        struct slice text = {digits, num_format_i64(digits, value)};
        if (rows[i].words) text = slice_of(rows[i].words[value]);
        emit(arg, slice_of(rows[i].name), text);
    }
}

static bool parse_value(const struct row *row, struct slice text, int64_t *value)
{
    if (!row->words) return num_parse_i64(text, value) && *value >= row->min && *value <= row->max;
    for (*value = row->min; *value <= row->max; ++*value)
        if (slice_is(text, row->words[*value])) return true;
    return false;
}

// NULL, or why the pair cannot be applied to `settings`.
static const char *apply_pair(struct settings *settings, const struct slice *pair)
{
    const struct row *row = find_row(pair[0]);
    int64_t value;
    if (!row) return "unknown option";
    if (row->is_fixed) return "can't set immutable config";
    if (!parse_value(row, pair[1], &value)) return "argument is not one of its values";
    *field_of(settings, row) = value;
    return NULL;
}

static bool config_set(struct ctx *ctx, const struct slice *pairs, int count, char *error,
                       size_t error_size)
{
    struct embed *e = ctx->engine->host->owner;
    struct settings *settings = settings_copy(e->settings);
    for (int i = 0; i < count; i += 2) {
        const char *why = apply_pair(settings, pairs + i);
        if (!why) continue;
        snprintf(error, error_size,
                 "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
                 (int)MIN(pairs[i].len, 128), pairs[i].ptr, why);
        settings_free(settings);
        return false;
    }
    embed_host_settle(e);
    e->retired = e->settings;
    e->settings = settings;
    atomic_store_explicit(&e->engine->settings, settings, memory_order_relaxed); // one thread
    return true;
}

void embed_host_settle(struct embed *e)
{
    settings_free(e->retired);
    e->retired = NULL;
}

// --- what is only there to be harmless -----------------------------------------------------------

static bool refuse(char *error, size_t error_size)
{
    snprintf(error, error_size, "ERR not possible in an embedded engine");
    return false;
}

static bool config_rewrite(struct ctx *ctx, char *error, size_t error_size)
{
    (void)ctx;
    return refuse(error, error_size);
}

static bool shutdown_(struct ctx *ctx, int flags, char *error, size_t error_size)
{
    (void)ctx, (void)flags;
    return refuse(error, error_size);
}

static bool abort_shutdown(struct ctx *ctx)
{
    (void)ctx;
    return false;
}

static void each_session(struct ctx *ctx, void (*visit)(struct session *s, void *arg), void *arg)
{
    struct embed *e = ctx->engine->host->owner;
    visit(&e->session, arg);
}

static void session_io(struct session *s, struct session_io *out)
{
    (void)s;
    *out = (struct session_io){.total_bytes = sizeof(struct embed)};
}

static void kill_session(struct ctx *ctx, struct session *s)
{
    (void)ctx;
    s->is_closing = true;
}

static void pause_(struct ctx *ctx, enum host_pause mode, int64_t until_ms)
{
    (void)ctx, (void)mode, (void)until_ms;
}

static void monitor(struct ctx *ctx, bool on)
{
    (void)ctx, (void)on;
}

static void unsubscribe_all(struct ctx *ctx)
{
    struct session *s = ctx->session;
    pubsub_forget(ctx->engine->pubsub[0], s->subscriptions, s->home);
    subscriptions_free(s->subscriptions);
    s->subscriptions = NULL;
    atomic_fetch_sub_explicit(&ctx->engine->subscribers, 1, memory_order_relaxed); // one thread
}

static void info(struct ctx *ctx, struct host_info *out)
{
    (void)ctx;
    *out = (struct host_info){.io_backend = "none",
                              .threads = 1,
                              .connected_clients = 1,
                              .max_clients = 1,
                              .total_connections = 1};
}

static bool shard_info(struct ctx *ctx, uint32_t shard, struct shard_info *out)
{
    if (shard) return false;
    *out = (struct shard_info){.connections = 1,
                               .commands = stat_get(&ctx->engine->stats[0]->total_commands)};
    for (uint32_t i = 0; i < ctx->space->db_count; i++)
        out->keys += stat_get(&ctx->space->dbs[i].key_count);
    return true;
}

static void reset_stats(struct ctx *ctx)
{
    (void)ctx;
}

void embed_host_init(struct embed *e)
{
    e->host = (struct host){
        .owner = e,
        .each_session = each_session,
        .session_io = session_io,
        .kill_session = kill_session,
        .pause = pause_,
        .monitor = monitor,
        .unsubscribe_all = unsubscribe_all,
        .info = info,
        .shard_info = shard_info,
        .reset_stats = reset_stats,
        .config_get = config_get,
        .config_set = config_set,
        .config_rewrite = config_rewrite,
        .shutdown = shutdown_,
        .abort_shutdown = abort_shutdown,
    };
}
