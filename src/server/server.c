// SPDX-License-Identifier: BSD-3-Clause
#include "server/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "commands/families.h"
#include "engine/monitor.h"
#include "engine/version.h"
#include "server/client.h"
#include "server/crash.h"
#include "server/loading.h"
#include "server/persistence.h"
#include "server/pidfile.h"
#include "server/router.h"

// --- rates ---------------------------------------------------------------------------------------

void sampled_add(struct sampled *s, uint64_t value, int64_t now_ms)
{
    int64_t passed_ms = now_ms - s->last_ms;
    if (s->last_ms && passed_ms > 0 && value >= s->last_value)
        stat_set(&s->samples[s->next++ % SERVER_SAMPLES],
                 (value - s->last_value) * 1000 / (uint64_t)passed_ms);
    s->last_value = value;
    s->last_ms = now_ms;
}

uint64_t sampled_rate(const struct sampled *s)
{
    uint64_t sum = 0;
    for (int i = 0; i < SERVER_SAMPLES; i++) sum += stat_get(&s->samples[i]);
    return sum / SERVER_SAMPLES;
}

// --- settings ------------------------------------------------------------------------------------

// A snapshot that was replaced and may still be held by a shard.
struct retired {
    struct retired *next;
    struct settings *settings;
};

static bool is_held(struct server *server, const struct settings *settings)
{
    for (uint32_t i = 0; i < server->worker_count; i++) {
        struct shard *s = &server->workers[i]->shard;
        if (atomic_load(&s->settings) == settings || atomic_load(&s->settings_inside) == settings)
            return true;
    }
    return router_held_settings(server->router) == settings;
}

static void free_retired(struct server *server, bool is_all)
{
    for (struct retired **at = &server->retired; *at;) {
        struct retired *r = *at;
        if (!is_all && is_held(server, r->settings)) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        settings_free(r->settings);
        mem_free(r);
    }
}

static bool has_other_addresses(const struct settings *a, const struct settings *b)
{
    if (a->port != b->port || a->bind_count != b->bind_count) return true;
    for (uint32_t i = 0; i < a->bind_count; i++)
        if (strcmp(a->bind[i], b->bind[i])) return true;
    return false;
}

int64_t server_provide_descriptors(int64_t maxclients)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)maxclients + SERVER_OWN_FDS;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted) return maxclients;
    struct rlimit more = {.rlim_cur = wanted, .rlim_max = MAX(limit.rlim_max, wanted)};
    if (setrlimit(RLIMIT_NOFILE, &more) == 0) return maxclients;
    limit.rlim_cur = MIN(limit.rlim_max, wanted); // as far as this process may go by itself
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    int64_t possible = (int64_t)MIN(limit.rlim_cur, wanted) - SERVER_OWN_FDS;
    return MAX(possible, 1);
}

bool server_apply_settings(struct server *server, const struct settings *next, char *error,
                           size_t error_size)
{
    const struct settings *now = server->config->settings;
    char why[160];
    int64_t possible = server_provide_descriptors(next->maxclients);
    if (possible < next->maxclients) {
        snprintf(why, sizeof why,
                 "The operating system is not able to handle the specified number of clients, try "
                 "with %lld",
                 (long long)possible);
        config_format_error("maxclients", why, error, error_size);
        return false;
    }
    if (strcmp(next->dir, now->dir) && chdir(next->dir)) {
        config_format_error("dir", strerror(errno), error, error_size);
        return false;
    }
    if (!has_other_addresses(now, next) || router_listen(server->router, next)) return true;
    bool is_port = now->port != next->port;
    config_format_error(is_port ? "port" : "bind",
                        is_port ? "Unable to listen on this port. Check server logs."
                                : "Failed to bind to specified addresses.",
                        error, error_size);
    if (chdir(now->dir)) log_write(LOG_WARNING, "Cannot go back to %s", now->dir);
    return false;
}

void server_publish_settings(struct server *server, struct settings *settings)
{
    struct retired *r = mem_alloc(sizeof *r);
    log_set_level((enum log_level)settings->loglevel);
    slowlog_trim(server->engine->slowlog, (uint64_t)settings->slowlog_max_len);
    r->settings = config_publish(server->config, settings);
    r->next = server->retired;
    server->retired = r;
    // Sequentially consistent: see engine_settings.
    atomic_store(&server->engine->settings, settings);
    free_retired(server, false);
}

// --- workers -------------------------------------------------------------------------------------

struct worker *server_least_loaded(struct server *server)
{
    struct worker *best = server->workers[0];
    for (uint32_t i = 1; i < server->worker_count; i++)
        if (stat_get(&server->workers[i]->shard.connections) < stat_get(&best->shard.connections))
            best = server->workers[i];
    return best;
}

void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct server *server = w->server;
    char name[16];
    snprintf(name, sizeof name, "gyre-worker-%u", w->id % 1000);
    pthread_setname_np(pthread_self(), name);
    crash_thread_begin();
    w->is_started = worker_init(w, server, w->id) == 0;
    pthread_barrier_wait(&server->barrier); // all rings are open, or not
    pthread_barrier_wait(&server->barrier); // the server has decided
    if (w->is_started) {
        if (server->is_started) worker_run(w);
        pthread_barrier_wait(&server->barrier); // nobody posts to anybody any more
        worker_destroy(w);
    } else {
        pthread_barrier_wait(&server->barrier);
    }
    crash_thread_end();
    return NULL;
}

static bool start_workers(struct server *server)
{
    bool is_started = true;
    pthread_barrier_init(&server->barrier, NULL, server->worker_count + 1);
    for (uint32_t i = 0; i < server->worker_count; i++) {
        struct worker *w = server->workers[i];
        w->server = server;
        w->id = i;
        if (pthread_create(&w->thread, NULL, worker_main, w)) {
            log_write(LOG_WARNING, "Cannot start worker %u", i);
            exit(1);
        }
    }
    pthread_barrier_wait(&server->barrier);
    for (uint32_t i = 0; i < server->worker_count; i++)
        is_started = is_started && server->workers[i]->is_started;
    return is_started;
}

static void join_workers(struct server *server)
{
    for (uint32_t i = 0; i < server->worker_count; i++)
        pthread_join(server->workers[i]->thread, NULL);
    pthread_barrier_destroy(&server->barrier);
}

// --- MONITOR -------------------------------------------------------------------------------------

// One line on its way to the monitors of one shard.
struct feed {
    struct mail mail;
    struct blob *line; // one reference
};

static void feed_clients(struct worker *w, struct blob *line)
{
    for (struct client *c = w->clients; c && w->monitor_count; c = c->next) {
        bool wants = c->session.is_monitor && c->session.reply_mode != REPLY_OFF;
        if (!wants || c->is_dead) continue;
        reply_raw(&c->reply, line->data, line->len);
        output_mark_dirty(c);
    }
}

static void deliver_feed(struct shard *s, struct mail *mail)
{
    struct feed *feed = CONTAINER_OF(mail, struct feed, mail);
    feed_clients(worker_of(s), feed->line);
    blob_unref(feed->line);
    mem_free(feed);
}

static void feed_line(struct worker *w, uint32_t db, const char *peer, int argc,
                      const struct slice *argv)
{
    struct buf text = {0};
    buf_append_char(&text, '+');
    monitor_format(&text, clock_unix_us(), db, peer, argc, argv);
    buf_append(&text, "\r\n", 2);
    struct blob *line = blob_new(text.len);
    line->len = text.len;
    memcpy(line->data, text.ptr, text.len);
    buf_free(&text);
    for (uint32_t i = 0; i < w->server->worker_count; i++) {
        struct feed *feed = mem_alloc(sizeof *feed);
        *feed = (struct feed){.mail.deliver = deliver_feed, .line = blob_ref(line)};
        shard_post(&w->shard, &w->server->workers[i]->shard, &feed->mail);
    }
    blob_unref(line);
}

// EVAL and its kin say that they show themselves, so as to stand before what they call: that is so
// here.
static bool is_monitored(const struct command *c)
{
    return !(c->flags & (CMD_SKIP_MONITOR | CMD_ADMIN)) ||
           ((c->flags & CMD_SKIP_MONITOR) && (c->acl & ACL_SCRIPTING));
}

void server_feed_monitors(struct worker *w, struct client *c, const struct call *calls,
                          uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct piece *p = &calls[i].piece;
        if (p->cmd && !p->say && is_monitored(p->cmd))
            feed_line(w, c->session.db, c->session.peer, p->argc, p->argv);
    }
}

void server_feed_monitors_lua(struct worker *w, const struct ctx *ctx, int argc,
                              const struct slice *argv)
{
    feed_line(w, ctx->db, "lua", argc, argv);
}

// --- start and stop ------------------------------------------------------------------------------

static struct server *server_new(struct config *config)
{
    struct server *server = mem_calloc(sizeof *server);
    server->config = config;
    server->worker_count = (uint32_t)config->settings->threads;
    pthread_mutex_init(&server->mutex, NULL);
    stop_init(&server->stop);
    host_init(server);
    server->engine =
        engine_new(commands_all, config->settings, server->worker_count, &server->host);
    server->workers = mem_calloc(server->worker_count * sizeof server->workers[0]);
    server->group = (struct shard_group){
        .engine = server->engine, .count = server->worker_count, .next_txid = 1};
    server->persistence = persistence_new(server);
    server->group.shards = mem_calloc(server->worker_count * sizeof server->group.shards[0]);
    for (uint32_t i = 0; i < server->worker_count; i++) {
        server->workers[i] = mem_alloc_aligned(sizeof *server->workers[i], 64);
        server->group.shards[i] = &server->workers[i]->shard;
    }
    return server;
}

static void server_free(struct server *server)
{
    crash_set_engine(NULL);
    persistence_free(server->persistence);
    engine_free(server->engine);
    free_retired(server, true);
    for (uint32_t i = 0; i < server->worker_count; i++) mem_free(server->workers[i]);
    mem_free(server->workers);
    mem_free(server->group.shards);
    pthread_mutex_destroy(&server->mutex);
    stop_destroy(&server->stop);
    mem_free(server);
}

static void log_start(struct server *server)
{
    struct shard *first = &server->workers[0]->shard;
    log_write(LOG_NOTICE, "Gyre %s (as Redis %s), %u thread%s, I/O through %s (level %d)",
              GYRE_VERSION, REDIS_VERSION, server->worker_count,
              server->worker_count == 1 ? "" : "s", ring_backend_name(first->ring),
              (int)ring_level(first->ring));
    for (uint32_t i = 0; i < server->config->note_count; i++)
        log_write(LOG_NOTICE, "%s", server->config->notes[i]);
}

void server_log_ready(struct server *server)
{
    pthread_mutex_lock(&server->mutex);
    const struct settings *s = server->config->settings;
    if (s->port)
        log_write(LOG_NOTICE, "Ready to accept connections tcp port %lld", (long long)s->port);
    if (s->unixsocket[0])
        log_write(LOG_NOTICE, "Ready to accept connections unix socket %s", s->unixsocket);
    pthread_mutex_unlock(&server->mutex);
}

// What was loaded is left as it stands, and so are the workers, which wait: nothing was served, and
// nothing that was there was changed.
static _Noreturn void end_amid_loading(struct server *server)
{
    log_write(LOG_WARNING, "Told to stop while loading, bye bye...");
    pthread_mutex_lock(&server->mutex);
    router_remove_socket(server->router);
    pidfile_remove(server->config->settings);
    _exit(0);
}

int server_run(struct config *config)
{
    int status = 1;
    clock_calibrate();
    struct server *server = server_new(config);
    crash_set_engine(server->engine);
    server->router = loading_open(server->persistence) ? router_new(server) : NULL;
    if (!server->router) {
        server_free(server);
        return status;
    }
    pidfile_write(config->settings);
    server->is_started = start_workers(server) && stop_start(server);
    pthread_barrier_wait(&server->barrier);
    if (server->is_started) {
        server->startup_bytes = mem_used_bytes();
        log_start(server);
        persistence_start(server->persistence);
        loading_await(server->persistence);
        router_run(server->router);
        stop_join(&server->stop);
        persistence_stop(server->persistence);
        if (server->stop.is_amid_loading) end_amid_loading(server);
        // Release: what the router did before is seen by the workers.
        atomic_store_explicit(&server->is_stopping, true, memory_order_release);
        for (uint32_t i = 0; i < server->worker_count; i++)
            ring_wake(NULL, server->workers[i]->shard.ring);
        status = 0;
    }
    pthread_barrier_wait(&server->barrier);
    join_workers(server);
    if (server->is_started && stop_must_save(&server->stop) &&
        !persistence_save_at_end(server->persistence) && !stop_is_forced(&server->stop))
        status = 1;
    pidfile_remove(config->settings);
    router_free(server->router);
    server_free(server);
    if (status == 0) log_write(LOG_WARNING, "Gyre is now ready to exit, bye bye...");
    return status;
}
