// SPDX-License-Identifier: BSD-3-Clause
#include "server/stop.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/settings.h"
#include "server/crash.h"
#include "server/loading.h"
#include "server/persistence.h"
#include "server/router.h"
#include "server/server.h"

// --- asking --------------------------------------------------------------------------------------

uint64_t stop_request(struct server *server, uint32_t flags)
{
    struct stop *s = &server->stop;
    pthread_mutex_lock(&s->mutex);
    s->is_asked = true;
    s->asked_flags |= flags;
    uint64_t number = s->number;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    persistence_look_again(server->persistence);
    return number;
}

// By now. The mutex is held.
static bool says(const struct stop *s, uint32_t flags)
{
    return ((s->flags | s->asked_flags) & flags) != 0;
}

// Nothing is waited for any more. The mutex is held.
static bool is_over(const struct stop *s)
{
    return s->is_called_off || says(s, STOP_NOSAVE);
}

bool stop_call_off(struct server *server)
{
    struct stop *s = &server->stop;
    pthread_mutex_lock(&s->mutex);
    bool is_under_way = s->is_asked || (s->is_deciding && !s->is_called_off);
    bool is_loaded = atomic_load(&server->persistence->is_open); // else it waits for nothing
    bool is_in_time = is_under_way && is_loaded && !stop_is_decided(s);
    if (is_in_time) {
        s->is_called_off = true;
        s->is_asked = false;
        s->asked_flags = 0;
        s->taken_number = s->number++;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->mutex);
    persistence_look_again(server->persistence);
    return is_in_time;
}

bool stop_is_over(struct stop *s)
{
    pthread_mutex_lock(&s->mutex);
    bool has_ended = s->is_deciding && is_over(s);
    pthread_mutex_unlock(&s->mutex);
    return has_ended;
}

enum host_patience stop_patience(struct stop *s)
{
    pthread_mutex_lock(&s->mutex);
    bool is_stopping = s->is_deciding && !s->is_called_off;
    enum host_patience patience = !is_stopping           ? HOST_IS_PATIENT
                                  : says(s, STOP_NOSAVE) ? HOST_STOPS_AT_ONCE
                                                         : HOST_STOPS;
    pthread_mutex_unlock(&s->mutex);
    return patience;
}

bool stop_must_save(struct stop *s)
{
    pthread_mutex_lock(&s->mutex);
    bool must_save = (s->must_save || says(s, STOP_SAVE)) && !says(s, STOP_NOSAVE);
    pthread_mutex_unlock(&s->mutex);
    return must_save;
}

bool stop_is_by_signal(struct stop *s)
{
    pthread_mutex_lock(&s->mutex);
    bool is_by_signal = says(s, STOP_BY_SIGNAL);
    pthread_mutex_unlock(&s->mutex);
    return is_by_signal;
}

bool stop_is_forced(struct stop *s)
{
    pthread_mutex_lock(&s->mutex);
    bool is_forced = says(s, STOP_FORCE);
    pthread_mutex_unlock(&s->mutex);
    return is_forced;
}

// --- deciding ------------------------------------------------------------------------------------

// Sends all shards the same thing to do, in one step (shard_enter_all).
struct errand {
    struct mail mail;
    struct stop *stop;
    void (*run)(struct shard *s); // may be NULL
    uint32_t left;                // shards that have not done it; guarded by the stop's mutex,
    bool is_abandoned;            // and so is this: nobody waits for it, the last one frees it
};

static void do_errand(struct shard *shard, void *arg)
{
    struct errand *e = arg;
    struct stop *s = e->stop;
    if (e->run) e->run(shard);
    pthread_mutex_lock(&s->mutex);
    bool is_mine = --e->left == 0 && e->is_abandoned;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    if (is_mine) mem_free(e);
}

static void deliver_errand(struct shard *shard, struct mail *mail)
{
    shard_enter_all(shard, do_errand, CONTAINER_OF(mail, struct errand, mail));
}

static struct errand *send_errand(struct server *server, void (*run)(struct shard *s),
                                  bool is_abandoned)
{
    struct errand *e = mem_alloc(sizeof *e);
    *e = (struct errand){.mail.deliver = deliver_errand,
                         .stop = &server->stop,
                         .run = run,
                         .left = server->worker_count,
                         .is_abandoned = is_abandoned};
    shard_post(NULL, &server->workers[0]->shard, &e->mail);
    return e;
}

// Waits until every shard has done it, which is when it has done all that had entered before; or
// until nothing is waited for any more.
static void await_errand(struct stop *s, struct errand *e)
{
    pthread_mutex_lock(&s->mutex);
    while (e->left && !is_over(s)) pthread_cond_wait(&s->changed, &s->mutex);
    bool is_done = e->left == 0;
    e->is_abandoned = !is_done;
    pthread_mutex_unlock(&s->mutex);
    if (is_done) mem_free(e);
}

// What was begun before ends first: a script that has written is not cut off, and until then
// somebody may come and say SHUTDOWN NOSAVE.
static void await_commands(struct server *server)
{
    await_errand(&server->stop, send_errand(server, NULL, false));
}

static void begin_saving(struct server *server)
{
    server->stop.is_saving = true;
    await_errand(&server->stop, send_errand(server, worker_hold_writes, false));
}

static void end_saving(struct server *server)
{
    if (!server->stop.is_saving) return;
    server->stop.is_saving = false;
    send_errand(server, worker_release_writes, true);
}

// While it saves, writes are held: what came behind the cut of the snapshot could be saved only
// when it is too late to go on if that fails. What had entered elsewhere before its home heard of
// that may still come behind it, and so may who is served because of it (BLMOVE from shard to
// shard); all of that is done soon, so another snapshot has it.
static bool save(struct server *server)
{
    enum { TIMES = 4 };
    struct persistence *p = server->persistence;
    begin_saving(server);
    for (int i = 0; i < TIMES; i++) {
        if (stop_is_over(&server->stop) || !persistence_snapshot(p)) return false;
        if (persistence_is_all_saved(p)) break;
    }
    return true;
}

static bool must_save(struct server *server)
{
    struct stop *s = &server->stop;
    pthread_mutex_lock(&server->mutex);
    bool has_points = server->config->settings->save_count > 0;
    pthread_mutex_unlock(&server->mutex);
    pthread_mutex_lock(&s->mutex);
    s->must_save = has_points || says(s, STOP_SAVE);
    bool must_save = s->must_save && !says(s, STOP_NOSAVE);
    pthread_mutex_unlock(&s->mutex);
    return must_save;
}

static bool may_stop(struct server *server)
{
    server->stop.is_amid_loading = loading_give_up(server->persistence);
    if (server->stop.is_amid_loading) return true;
    await_commands(server);
    persistence_set_haste(server->persistence, true);
    return persistence_await_log(server->persistence) && (!must_save(server) || save(server));
}

// What has been asked until now is taken together; it may have been called off already.
static void take_requests(struct stop *s)
{
    pthread_mutex_lock(&s->mutex);
    while (!s->is_asked && !s->is_called_off) pthread_cond_wait(&s->changed, &s->mutex);
    s->is_deciding = true;
    if (!s->is_called_off) {
        s->flags = s->asked_flags;
        s->is_asked = false;
        s->asked_flags = 0;
        s->taken_number = s->number++;
    }
    pthread_mutex_unlock(&s->mutex);
}

// True: the server stops, and what is held remains so.
static bool end_decision(struct stop *s, bool may_stop)
{
    pthread_mutex_lock(&s->mutex);
    bool stops = s->is_amid_loading ||
                 (!s->is_called_off && (may_stop || says(s, STOP_FORCE | STOP_NOSAVE)));
    if (stops) atomic_store(&s->is_decided, true);
    pthread_mutex_unlock(&s->mutex);
    return stops;
}

// It does not stop. Those whose requests were taken are told.
static void go_on(struct server *server)
{
    struct stop *s = &server->stop;
    persistence_set_haste(server->persistence, false);
    end_saving(server);
    pthread_mutex_lock(&s->mutex);
    bool was_called_off = s->is_called_off;
    uint64_t number = s->taken_number;
    s->is_deciding = s->is_called_off = false;
    s->flags = 0;
    pthread_mutex_unlock(&s->mutex);
    if (was_called_off)
        log_write(LOG_WARNING, "SHUTDOWN ABORT: the server goes on.");
    else
        log_write(LOG_WARNING, "Errors trying to SHUTDOWN: the data could not be saved, so the "
                               "server goes on. SHUTDOWN NOSAVE or FORCE stops it.");
    for (uint32_t i = 0; i < server->worker_count; i++)
        worker_tell_goes_on(server->workers[i], number);
}

static bool decide(struct server *server)
{
    struct stop *s = &server->stop;
    take_requests(s);
    if (end_decision(s, may_stop(server))) return true;
    go_on(server);
    return false;
}

static void *decider_main(void *arg)
{
    struct server *server = arg;
    pthread_setname_np(pthread_self(), "gyre-stop");
    crash_thread_begin();
    while (!decide(server))
        ;
    router_wake(server->router);
    crash_thread_end();
    return NULL;
}

// --- life ----------------------------------------------------------------------------------------

void stop_init(struct stop *s)
{
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->number = 1;
}

void stop_destroy(struct stop *s)
{
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->changed);
}

bool stop_start(struct server *server)
{
    int failed = pthread_create(&server->stop.thread, NULL, decider_main, server);
    if (failed) log_write(LOG_WARNING, "Cannot start the stop thread: %s", strerror(failed));
    return !failed;
}

void stop_join(struct stop *s)
{
    pthread_join(s->thread, NULL);
}
