// SPDX-License-Identifier: BSD-3-Clause
//
// host: what the admin families ask of the server (engine/host.h). A function runs on the thread
// that executes the command, and speaks for the shard whose keyspace the ctx has.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/address.h"
#include "server/busy.h"
#include "server/client.h"
#include "server/invalidate.h"
#include "server/persistence.h"
#include "server/server.h"
#include "shard/perform.h"

static struct server *server_of(const struct ctx *ctx)
{
    return ctx->engine->host->owner;
}

static struct worker *worker_here(const struct ctx *ctx)
{
    return server_of(ctx)->workers[ctx->space->shard];
}

static struct client *client_of(struct session *s)
{
    return CONTAINER_OF(s, struct client, session);
}

// --- sessions ------------------------------------------------------------------------------------

static void each_session(struct ctx *ctx, void (*visit)(struct session *s, void *arg), void *arg)
{
    for (struct client *c = worker_here(ctx)->clients, *next; c; c = next) {
        next = c->next;
        visit(&c->session, arg);
    }
}

static struct session *find_session(struct ctx *ctx, uint64_t id)
{
    struct client *c = client_ids_find(&worker_here(ctx)->ids, id);
    return c ? &c->session : NULL;
}

static void session_io(struct session *s, struct session_io *out)
{
    struct client *c = client_of(s);
    size_t query = c->query ? c->query->len - c->query_at : 0;
    uint64_t chunks = 0;
    for (struct reply_chunk *p = c->reply.head; p; p = p->next) chunks++;
    for (struct reply_chunk *p = c->sending; p; p = p->next) chunks++;
    *out = (struct session_io){
        .query_bytes = query,
        .query_free_bytes = c->query ? c->query->cap - query : 0,
        .argv_bytes = request_parser_bytes(&c->parser),
        .reply_chunks = chunks > 1 ? chunks - 1 : 0,
        .reply_bytes = chunks > 1 ? output_bytes(c) : 0,
        .in_bytes = c->in_bytes,
        .out_bytes = c->out_bytes,
        .shard = c->worker->shard.id,
    };
    out->total_bytes =
        sizeof *c + (c->query ? c->query->cap : 0) + out->argv_bytes + output_bytes(c);
}

static void kill_session(struct ctx *ctx, struct session *s)
{
    if (s == ctx->session)
        s->is_closing = true; // its reply still goes out
    else
        client_kill(client_of(s));
}

static void pause_clients(struct ctx *ctx, enum host_pause mode, int64_t until_ms)
{
    struct worker *w = worker_here(ctx);
    if (until_ms == 0) { // not in the midst of a command: when this shard sees to its timers
        if (w->pause_until_ms) w->pause_until_ms = 1;
        w->shard.space->pause_until_ms = 0;
        worker_set_timer(w);
        return;
    }
    // A second pause only ever makes the first longer and stronger.
    bool is_paused = w->pause_until_ms > ctx->now_ms;
    w->pause_mode = is_paused && w->pause_mode == PAUSE_ALL ? PAUSE_ALL : mode;
    w->pause_until_ms = is_paused ? MAX(w->pause_until_ms, until_ms) : until_ms;
    w->shard.space->pause_until_ms = w->pause_until_ms;
    worker_set_timer(w);
}

static void monitor(struct ctx *ctx, bool on)
{
    struct session *s = ctx->session;
    if (s->is_monitor == on) return;
    s->is_monitor = on;
    // Relaxed: a count that is looked at before every command; a line more or less at the change is
    // fine.
    atomic_fetch_add_explicit(&ctx->engine->monitors, on ? 1u : -1u, memory_order_relaxed);
    client_of(s)->worker->monitor_count += on ? 1u : -1u;
}

static void monitor_lua(struct ctx *ctx, int argc, const struct slice *argv)
{
    struct server *server = server_of(ctx);
    server_feed_monitors_lua(server->workers[ctx->space->shard], ctx, argc, argv);
}

struct part_errand {
    struct ctx *ctx;
    uint32_t shard;
    uint64_t ticks;
};

static void run_part(struct shard *s, void *arg)
{
    struct part_errand *e = arg;
    (void)s;
    e->ticks = engine_execute(e->ctx, e->shard);
}

static uint64_t execute_part(struct ctx *ctx, uint32_t shard)
{
    struct part_errand e = {.ctx = ctx, .shard = shard};
    perform_at(&worker_here(ctx)->shard, run_part, &e);
    return e.ticks;
}

// CLIENT UNBLOCK.
static bool unblock_session(struct ctx *ctx, struct session *s, bool is_error)
{
    (void)ctx;
    return blocked_cancel(client_of(s), is_error ? WAITER_UNBLOCKED : WAITER_TIMED_OUT);
}

// --- publishing ----------------------------------------------------------------------------------

static void subscribe(struct ctx *ctx, enum pubsub_kind kind, struct slice name, bool on)
{
    subscribers_change(client_of(ctx->session), kind, name, on);
}

static void unsubscribe_all(struct ctx *ctx)
{
    subscribers_leave(client_of(ctx->session));
}

static void publish(struct ctx *ctx, const struct publication *publication, const uint32_t *shards,
                    uint32_t count)
{
    subscribers_publish(worker_here(ctx), publication, shards, count);
}

// --- client-side caching -------------------------------------------------------------------------

static void invalidate(struct ctx *ctx, struct invalidation *inv)
{
    invalidate_send(worker_here(ctx), inv);
}

static void sync_prefixes(struct ctx *ctx)
{
    invalidate_sync_prefixes(client_of(ctx->session)->worker, ctx->session);
}

// --- figures -------------------------------------------------------------------------------------

static void copy_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from);
}

static void add_worker(struct host_info *out, struct worker *w)
{
    out->query_memory_bytes += stat_get(&w->query_bytes);
    out->reply_memory_bytes += stat_get(&w->output_bytes);
    out->net_input_bytes += stat_get(&w->net_in);
    out->net_output_bytes += stat_get(&w->net_out);
    out->reads_processed += stat_get(&w->reads);
    out->writes_processed += stat_get(&w->writes);
    out->handovers += stat_get(&w->handovers);
    out->over_output_limit += stat_get(&w->over_limit);
    out->blocked_clients += stat_get(&w->blocked.clients);
    out->recent_max_query = MAX(out->recent_max_query, stat_get(&w->max_query));
    out->recent_max_reply = MAX(out->recent_max_reply, stat_get(&w->max_output));
}

static void info(struct ctx *ctx, struct host_info *out)
{
    struct server *server = server_of(ctx);
    struct ring *ring = server->workers[0]->shard.ring;
    memset(out, 0, sizeof *out);
    out->io_backend = ring_backend_name(ring);
    out->io_level = (int)ring_level(ring);
    out->threads = server->worker_count;
    out->tcp_port = (int)ctx->settings->port;
    out->max_clients = (uint64_t)ctx->settings->maxclients;
    out->connected_clients = atomic_load_explicit(&server->client_count, memory_order_relaxed);
    out->total_connections = stat_get(&server->total_connections);
    out->rejected_connections =
        atomic_load_explicit(&server->rejected_connections, memory_order_relaxed);
    out->monitors = atomic_load_explicit(&ctx->engine->monitors, memory_order_relaxed);
    out->ops_per_second = sampled_rate(&server->ops);
    out->input_kbps = (double)sampled_rate(&server->input) / 1024;
    out->output_kbps = (double)sampled_rate(&server->output) / 1024;
    out->memory_startup_bytes = server->startup_bytes;
    out->memory_peak_bytes = MAX(stat_get(&server->peak_bytes), mem_used_bytes());
    if (server->config->path) // which never changes
        copy_text(out->config_file, sizeof out->config_file, server->config->path);
    ssize_t n = readlink("/proc/self/exe", out->executable, sizeof out->executable - 1);
    out->executable[n > 0 ? n : 0] = '\0';
    for (uint32_t i = 0; i < server->worker_count; i++) add_worker(out, server->workers[i]);
}

static bool shard_info(struct ctx *ctx, uint32_t shard, struct shard_info *out)
{
    struct server *server = server_of(ctx);
    if (shard >= server->worker_count) return false;
    struct shard *s = &server->workers[shard]->shard;
    const struct keyspace *ks = ctx->engine->spaces[shard];
    *out = (struct shard_info){
        .connections = stat_get(&s->connections),
        .commands = stat_get(&ctx->engine->stats[shard]->total_commands),
        .forwarded = stat_get(&ctx->engine->stats[shard]->forwarded),
        .meetings = stat_get(&ctx->engine->stats[shard]->meetings),
        .stand_ins = stat_get(&ctx->engine->stats[shard]->stand_ins),
        .inbox_depth = atomic_load(&s->inbox.has_parts),
        .busy_permille = stat_get(&server->workers[shard]->busy_permille),
    };
    for (uint32_t i = 0; i < ks->db_count; i++) out->keys += stat_get(&ks->dbs[i].key_count);
    return true;
}

// What the server counts on this shard; the first also resets what is common.
static void reset_stats(struct ctx *ctx)
{
    struct server *server = server_of(ctx);
    struct worker *w = worker_here(ctx);
    stat_u64 *const counters[] = {&w->net_in, &w->net_out,   &w->reads,
                                  &w->writes, &w->handovers, &w->over_limit};
    for (size_t i = 0; i < ARRAY_LEN(counters); i++) stat_set(counters[i], 0);
    if (w->id != 0) return;
    stat_set(&server->total_connections, 0);
    atomic_store_explicit(&server->rejected_connections, 0, memory_order_relaxed); // a count
    stat_set(&server->peak_bytes, mem_used_bytes());
}

// --- configuration -------------------------------------------------------------------------------

static void get_config(struct ctx *ctx, const struct slice *patterns, int count,
                       void (*emit)(void *arg, struct slice name, struct slice value), void *arg)
{
    struct server *server = server_of(ctx);
    pthread_mutex_lock(&server->mutex);
    config_get(server->config, patterns, count, emit, arg);
    pthread_mutex_unlock(&server->mutex);
}

static bool set_config(struct ctx *ctx, const struct slice *pairs, int count, char *error,
                       size_t error_size)
{
    struct server *server = server_of(ctx);
    bool is_local = address_is_local(ctx->session->fd);
    pthread_mutex_lock(&server->mutex);
    struct settings *next = config_set(server->config, pairs, count, is_local, error, error_size);
    bool is_applied = next && server_apply_settings(server, next, error, error_size);
    if (is_applied && next->appendonly != server->config->settings->appendonly)
        persistence_switch_log(server->persistence, &worker_here(ctx)->shard, next->appendonly);
    if (is_applied)
        server_publish_settings(server, next);
    else
        settings_free(next);
    pthread_mutex_unlock(&server->mutex);
    return is_applied;
}

static bool rewrite_config(struct ctx *ctx, char *error, size_t error_size)
{
    struct server *server = server_of(ctx);
    pthread_mutex_lock(&server->mutex);
    bool is_written = config_rewrite(server->config, error, error_size);
    pthread_mutex_unlock(&server->mutex);
    return is_written;
}

// --- snapshots and the log -----------------------------------------------------------------------

static bool save(struct ctx *ctx, char *error, size_t error_size)
{
    return persistence_save(server_of(ctx)->persistence, error, error_size);
}

static enum host_save begin_snapshot(struct ctx *ctx, bool may_schedule)
{
    return persistence_begin(server_of(ctx)->persistence, JOB_SNAPSHOT, may_schedule);
}

static enum host_save begin_rewrite(struct ctx *ctx)
{
    return persistence_begin(server_of(ctx)->persistence, JOB_REWRITE, true);
}

static void tell_persistence(struct ctx *ctx, struct persistence_info *out)
{
    persistence_tell(server_of(ctx)->persistence, out);
}

// --- stop ----------------------------------------------------------------------------------------

static bool shutdown_server(struct ctx *ctx, int flags, char *error, size_t error_size)
{
    // Nothing to save yet, nobody to wait for; but a script that has written ends half done.
    const char *busy = flags & STOP_NOSAVE ? NULL : busy_text(ctx->engine);
    if (busy) {
        copy_text(error, error_size, busy);
        return false;
    }
    log_write(LOG_WARNING, "SHUTDOWN was said by id=%llu addr=%s",
              (unsigned long long)ctx->session->id, ctx->session->peer);
    ctx->session->is_stop_unanswered = ctx->session->reply_mode != REPLY_ON;
    ctx->session->awaits_stop = stop_request(server_of(ctx), (uint32_t)flags);
    return true;
}

static bool abort_shutdown(struct ctx *ctx)
{
    return stop_call_off(server_of(ctx));
}

void host_init(struct server *server)
{
    server->host = (struct host){
        .owner = server,
        .each_session = each_session,
        .find_session = find_session,
        .session_io = session_io,
        .execute_part = execute_part,
        .kill_session = kill_session,
        .pause = pause_clients,
        .monitor = monitor,
        .monitor_lua = monitor_lua,
        .busy = busy_turn,
        .unblock_session = unblock_session,
        .subscribe = subscribe,
        .unsubscribe_all = unsubscribe_all,
        .publish = publish,
        .invalidate = invalidate,
        .sync_prefixes = sync_prefixes,
        .info = info,
        .shard_info = shard_info,
        .reset_stats = reset_stats,
        .config_get = get_config,
        .config_set = set_config,
        .config_rewrite = rewrite_config,
        .save = save,
        .begin_snapshot = begin_snapshot,
        .begin_rewrite = begin_rewrite,
        .persistence = tell_persistence,
        .shutdown = shutdown_server,
        .abort_shutdown = abort_shutdown,
    };
}
