// SPDX-License-Identifier: BSD-3-Clause
#include "server/worker.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/errors.h"
#include "engine/settings.h"
#include "server/busy.h"
#include "server/client.h"
#include "server/loading.h"
#include "server/persistence.h"
#include "server/server.h"
#include "shard/logging.h"

#define RING_ENTRIES 1024
#define RECV_BUFFERS                                                                               \
    64 // 1 MiB a worker, so that they stay in its cache: what may be held by commands under way
#define RECV_BUFFER_BYTES 16384

// Replies of this turn leave together. A dead client is settled here, when nothing up the stack
// looks at it: those that are held are left for the outer turn.
static void flush(struct shard *s)
{
    struct worker *w = worker_of(s);
    struct client *held = NULL;
    for (struct client *c; (c = output_next_dirty(w));) {
        if (UNLIKELY(c->recv.is_held)) {
            c->next_dirty = held;
            held = c;
            continue;
        }
        c->is_dirty = false;
        if (!c->is_dead) output_check_limits(c, shard_now_ms(s));
        if (!c->is_dead) output_flush(c);
        if (!c->is_dirty) client_settle(c);
    }
    while (held) {
        struct client *c = held;
        held = c->next_dirty;
        c->is_dirty = false;
        output_mark_dirty(c);
    }
}

struct held_up {
    uint64_t number, id; // of the client
};

static int by_number(const void *a, const void *b)
{
    const struct held_up *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

// All that `release` says were held up go on, in the order in which they were. Any may be gone when
// its turn comes: what those before it sent is executed here.
static void resume_all(struct worker *w, bool (*release)(struct client *c))
{
    uint32_t count = 0;
    struct held_up *all = mem_alloc((w->client_count + 1) * sizeof all[0]);
    for (struct client *c = w->clients; c; c = c->next)
        if (c->is_paused || c->session.awaits_stop)
            all[count++] = (struct held_up){c->paused_number, c->session.id};
    qsort(all, count, sizeof all[0], by_number);
    for (uint32_t i = 0; i < count; i++) {
        struct client *c = client_ids_find(&w->ids, all[i].id);
        if (!c || !release(c)) continue;
        client_resume(c);
        client_settle(c);
    }
    mem_free(all);
}

static bool release_paused(struct client *c)
{
    bool was_paused = c->is_paused;
    c->is_paused = false;
    return was_paused;
}

static void end_pause(struct worker *w, int64_t now_ms)
{
    if (!w->pause_until_ms || now_ms < w->pause_until_ms) return;
    w->pause_until_ms = 0;
    worker_set_timer(w);
    resume_all(w, release_paused);
}

void worker_set_timer(struct worker *w)
{
    int64_t due_ms = blocked_next_ms(&w->blocked);
    w->shard.next_timer_ms = w->pause_until_ms ? MIN(due_ms, w->pause_until_ms) : due_ms;
}

static void resume_writers(struct shard *s)
{
    struct worker *w = worker_of(s);
    if (!w->has_waiting_writers) return;
    w->has_waiting_writers = false;
    resume_all(w, release_paused); // those that wait for something else will be paused again
}

static bool release_from_stop(struct client *c)
{
    if (!c->session.awaits_stop || c->session.awaits_stop > c->worker->refused_number) return false;
    c->session.awaits_stop = 0;
    const struct shard *s = &c->worker->shard;
    stats_count_error(s->engine->stats[s->id], "ERR");
    if (c->session.is_stop_unanswered) return true;
    reply_error(&c->reply, ERR_SHUTDOWN);
    output_mark_dirty(c);
    return true;
}

struct refusal {
    struct mail mail;
    uint64_t number;
};

static void deliver_goes_on(struct shard *s, struct mail *mail)
{
    struct refusal *refusal = CONTAINER_OF(mail, struct refusal, mail);
    struct worker *w = worker_of(s);
    w->refused_number = refusal->number;
    mem_free(refusal);
    resume_all(w, release_from_stop);
}

void worker_tell_goes_on(struct worker *w, uint64_t number)
{
    struct refusal *refusal = mem_alloc(sizeof *refusal);
    *refusal = (struct refusal){.mail.deliver = deliver_goes_on, .number = number};
    shard_post(NULL, &w->shard, &refusal->mail);
}

void worker_hold_writes(struct shard *s)
{
    worker_of(s)->holds_writes = true;
    s->space->is_held = true;
}

static void deliver_release(struct shard *s, struct mail *mail)
{
    mem_free(mail);
    resume_all(worker_of(s), release_paused); // those that CLIENT PAUSE put off will be so again
}

// Who is resumed is read, which the middle of an item is no time for.
void worker_release_writes(struct shard *s)
{
    struct mail *mail = mem_alloc(sizeof *mail);
    worker_of(s)->holds_writes = false;
    s->space->is_held = false;
    *mail = (struct mail){.deliver = deliver_release};
    shard_post(s, s, mail);
}

// Once a second: clients that idle too long, or stay above a soft limit.
static void check_clients(struct worker *w, int64_t now_ms)
{
    const struct settings *settings = shard_settings(&w->shard);
    bool has_soft = settings->client_output_buffer_limit[OUTPUT_NORMAL].soft ||
                    settings->client_output_buffer_limit[OUTPUT_PUBSUB].soft;
    if (!settings->timeout_s && !has_soft) return;
    for (struct client *c = w->clients, *next; c; c = next) {
        next = c->next;
        if (has_soft) output_check_limits(c, now_ms);
        bool waits = c->ops || c->is_paused || c->session.awaits_stop;
        bool is_idle = settings->timeout_s && !waits && !c->session.is_monitor &&
                       !c->session.subscriptions &&
                       now_ms - c->session.active_ms > settings->timeout_s * 1000;
        if (is_idle && !c->is_dead) {
            log_write(LOG_VERBOSE, "Closing idle client");
            client_kill(c);
        }
    }
}

// The allocator gives pages back when it is used; a server that has just been emptied is idle. So
// whoever sees that much less is in use than lately makes it.
static void return_memory(struct worker *w)
{
    enum { WORTH_BYTES = 16 << 20 };
    size_t used = mem_used_bytes();
    w->most_used_bytes = MAX(w->most_used_bytes, used);
    if (w->most_used_bytes - used < WORTH_BYTES + used / 8) return;
    mem_purge();
    w->most_used_bytes = used;
}

static void measure_load(struct worker *w)
{
    int64_t mono_us = clock_mono_us(), cpu_us = clock_thread_us();
    if (w->last_mono_us && mono_us > w->last_mono_us)
        stat_set(&w->busy_permille,
                 (uint64_t)((cpu_us - w->last_cpu_us) * 1000 / (mono_us - w->last_mono_us)));
    w->last_mono_us = mono_us;
    w->last_cpu_us = cpu_us;
}

static void publish(struct worker *w)
{
    uint64_t query = 0, output = 0;
    enum { SAMPLED = 64 }; // connections looked at: a figure of the moment, not an account
    int n = 0;
    for (struct client *c = w->clients; c && n < SAMPLED; c = c->next, n++) {
        query += c->query ? c->query->cap : 0;
        output += output_bytes(c);
        if (c->query && c->query->cap > stat_get(&w->max_query))
            stat_set(&w->max_query, c->query->cap);
        if (output_bytes(c) > stat_get(&w->max_output)) stat_set(&w->max_output, output_bytes(c));
    }
    stat_set(&w->query_bytes, query);
    stat_set(&w->output_bytes, output);
}

static void sample(struct server *server, int64_t now_ms)
{
    uint64_t ops = 0, in = 0, out = 0;
    for (uint32_t i = 0; i < server->worker_count; i++) {
        ops += stat_get(&server->engine->stats[i]->total_commands);
        in += stat_get(&server->workers[i]->net_in);
        out += stat_get(&server->workers[i]->net_out);
    }
    sampled_add(&server->ops, ops, now_ms);
    sampled_add(&server->input, in, now_ms);
    sampled_add(&server->output, out, now_ms);
    stat_set(&server->peak_bytes, MAX(stat_get(&server->peak_bytes), mem_used_bytes()));
}

static void cron(struct shard *s)
{
    struct worker *w = worker_of(s);
    int64_t now_ms = shard_now_ms(s);
    if (s->id == 0) {
        sample(w->server, now_ms);
        persistence_cron(w->server->persistence, now_ms);
    }
    if (s->is_parked && busy_is_on(s->engine)) busy_refuse_waiting(w);
    output_trim(w);
    if (now_ms - w->last_cron_ms < 1000 && now_ms >= w->last_cron_ms) return;
    w->last_cron_ms = now_ms;
    measure_load(w);
    return_memory(w);
    publish(w);
    check_clients(w, now_ms);
}

static void run_timers(struct shard *s)
{
    struct worker *w = worker_of(s);
    blocked_run_timers(w);
    end_pause(w, shard_now_ms(s));
}

static const struct shard_hooks hooks = {.flush = flush,
                                         .cron = cron,
                                         .timers = run_timers,
                                         .saved = resume_writers,
                                         .is_light = dispatch_is_light,
                                         .has_hung_up = blocked_has_hung_up};

// The ring is opened by its own thread: io_uring wants a single issuer.
static int open_ring(struct worker *w, uint32_t id)
{
    char why[256];
    const struct settings *settings = w->server->config->settings;
    struct ring_options options = {
        .kind = settings->io == IO_URING  ? RING_URING
                : settings->io == IO_POLL ? RING_POLL
                                          : RING_AUTO,
        .level = (enum ring_level)settings->uring_level,
        .entries = RING_ENTRIES,
        .recv_buffers = RECV_BUFFERS,
        .recv_buffer_bytes = RECV_BUFFER_BYTES,
    };
    struct ring *ring = ring_open(&options, why, sizeof why);
    if (!ring) {
        log_write(LOG_WARNING, "Worker %u cannot open its ring: %s", id, why);
        return -1;
    }
    if (id == 0 && why[0]) log_write(LOG_NOTICE, "I/O through epoll: %s", why);
    shard_init(&w->shard, &w->server->group, id, ring, &hooks, w);
    return 0;
}

int worker_init(struct worker *w, struct server *server, uint32_t id)
{
    w->server = server;
    w->space = &w->outer_space;
    reply_init(&w->space->unread, 2);
    client_ids_init(&w->ids);
    subscribers_init(&w->subscribers);
    if (open_ring(w, id) != 0) return -1;
    fence_init(w);
    return 0;
}

void worker_destroy(struct worker *w)
{
    while (w->chunks) {
        struct reply_chunk *next = w->chunks->next;
        mem_free(w->chunks);
        w->chunks = next;
    }
    reply_chunks_free(w->small_chunks);
    reply_free(&w->outer_space.unread);
    if (w->inner_space) reply_free(&w->inner_space->unread);
    mem_free(w->inner_space);
    client_ids_free(&w->ids);
    shard_discard_inbox(&w->shard);
    subscribers_free(&w->subscribers);
    fence_destroy(w);
    blocked_free(&w->blocked);
    ring_close(w->shard.ring);
    shard_destroy(&w->shard);
}

static struct run_space *inner_space(struct worker *w)
{
    if (!w->inner_space) {
        w->inner_space = mem_calloc(sizeof *w->inner_space);
        reply_init(&w->inner_space->unread, 2);
    }
    return w->inner_space;
}

void worker_turn_inside(struct worker *w)
{
    struct run_space *outer = w->space;
    w->space = inner_space(w);
    shard_turn_inside(&w->shard);
    w->space = outer;
}

static void kill_clients(struct worker *w)
{
    while (w->clients) client_kill(w->clients);
}

static void close_clients(struct worker *w, int64_t wait_us)
{
    do {
        kill_clients(w);
        logging_give_up(&w->shard);
        shard_tick(&w->shard, wait_us);
    } while (w->adopted_count || w->shard.in_flight);
}

enum { TURN_US = 2000 };

// Goes on turning until every worker has got as far as this one, for the `time`-th time: another
// one's commands may still need this shard, and a connection may be on its way here.
static void wait_for_others(struct worker *w, uint32_t time)
{
    struct server *server = w->server;
    // Release, acquire: what a worker sent before is there when all have got here.
    atomic_fetch_add_explicit(&server->drained, 1, memory_order_release);
    while (atomic_load_explicit(&server->drained, memory_order_acquire) <
           time * server->worker_count) {
        kill_clients(w);
        if (time > 1) logging_give_up(&w->shard);
        shard_tick(&w->shard, TURN_US);
    }
}

// Answers what is under way and closes the connections. What still waits for a log is given up when
// nobody is left, at any shard, who could be told that it was done.
static void drain(struct worker *w)
{
    enum { TURNS_TO_SEND = 50 }; // a client that does not read is not waited for
    shard_tick(&w->shard, 0);
    for (int i = 0; i < TURNS_TO_SEND && (w->dirty || w->shard.in_flight); i++)
        shard_tick(&w->shard, TURN_US);
    kill_clients(w);
    wait_for_others(w, 1);
    close_clients(w, TURN_US);
    wait_for_others(w, 2);
    close_clients(w, 0);
}

void worker_run(struct worker *w)
{
    loading_run(w);
    // Acquire: pairs with the router's release.
    while (!atomic_load_explicit(&w->server->is_stopping, memory_order_acquire))
        shard_tick(&w->shard, -1);
    drain(w);
    persistence_detach(w);
}
