// SPDX-License-Identifier: BSD-3-Clause
#include "server/loading.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/settings.h"
#include "server/server.h"
#include "store/recover.h"

static _Noreturn void refuse_to_start(const char *why)
{
    log_write(LOG_WARNING, "Fatal error loading the data, the server does not start: %s", why);
    _exit(1); // nothing was served, and nothing was written
}

bool loading_open(struct persistence *p)
{
    struct dir_error e;
    struct engine *engine = p->server->engine;
    struct recovery_options o = {
        .engine = engine, .settings = p->server->config->settings, .now_ms = clock_unix_ms()};
    if (!o.settings->appendonly || persistence_hold_dir(p, &e)) p->recovery = recovery_open(&o, &e);
    if (!p->recovery) {
        log_write(LOG_WARNING, "Fatal error loading the data, the server does not start: %s",
                  e.text);
        return false;
    }
    // Relaxed: the workers begin later.
    atomic_fetch_or_explicit(&engine->troubles, ENGINE_IS_LOADING, memory_order_relaxed);
    return true;
}

static void pause_loading(void *arg)
{
    worker_turn_inside(arg);
}

// --- the files to go on with ---------------------------------------------------------------------

// What was loaded lies in files that are not ours, or in none: the log begins with a base.
static bool write_base(struct persistence *p, struct dir_error *e)
{
    struct manifest *m = &p->manifest;
    uint64_t bytes;
    char base[MANIFEST_NAME_CHARS];
    manifest_base_name(base, p->epoch);
    if (!persistence_write_image(p, p->dir, base, true, &bytes, e)) return false;
    memcpy(m->base, base, sizeof m->base);
    m->base_bytes = bytes;
    return true;
}

static bool begin_logs(struct persistence *p, enum recovery_base base, struct dir_error *e)
{
    struct manifest *m = &p->manifest;
    uint32_t count = p->server->worker_count;
    if (!persistence_open_epoch(p, e)) return false;
    if (base == RECOVERY_BASE_NEEDED && !write_base(p, e)) return false;
    struct manifest_epoch *epoch = manifest_add_epoch(m, p->epoch, count, p->run);
    for (uint32_t i = 0; i < count; i++) {
        char header[LOG_HEADER_BYTES];
        epoch->logs[i].first_seq = p->files[i].header.first_seq = p->first_seq;
        log_header_encode(&p->files[i].header, header);
        if (!dir_write_all(p->files[i].fd, p->dir, header, sizeof header, e)) return false;
    }
    if (!persistence_sync_epoch(p, e) || !manifest_write(m, p->dir, e)) return false;
    p->info.log_base_bytes = m->base_bytes;
    p->is_rewrite_scheduled = base == RECOVERY_BASE_WANTED;
    atomic_store(&p->is_log_on, true);
    return true;
}

// By the worker that was last to load; the others wait, and touch no key.
static void finish_loading(struct persistence *p)
{
    struct recovery_result result;
    struct dir_error e;
    if (!recovery_result(p->recovery, &result)) refuse_to_start(result.error.text);
    p->manifest = *result.manifest;
    *result.manifest = (struct manifest){0};
    p->next_epoch = result.next_epoch;
    p->first_seq = result.next_seq;
    atomic_store(&p->server->group.next_txid, result.next_txid);
    pthread_mutex_lock(&p->server->mutex);
    bool is_logged = p->server->config->settings->appendonly;
    pthread_mutex_unlock(&p->server->mutex);
    if (is_logged && !begin_logs(p, result.base, &e)) refuse_to_start(e.text);
    pthread_mutex_lock(&p->mutex);
    p->info.keys_loaded = result.keys;
    p->info.keys_expired = result.expired;
    recovery_free(p->recovery);
    p->recovery = NULL;
    pthread_mutex_unlock(&p->mutex);
    atomic_store(&p->is_loaded, true);
}

// By the worker that was last to get its log, unless that was given up: from here on everything can
// be asked for.
static void open_server(struct server *server)
{
    atomic_store(&server->engine->loaded_ms, clock_unix_ms());
    atomic_fetch_and(&server->engine->troubles, ~(uint32_t)ENGINE_IS_LOADING);
    server_log_ready(server);
    atomic_store(&server->persistence->is_open, true);
}

bool loading_give_up(struct persistence *p)
{
    pthread_mutex_lock(&p->mutex);
    bool is_loading = !p->is_ready;
    if (is_loading) p->is_stopping = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
    return is_loading;
}

void loading_await(struct persistence *p)
{
    enum { WAIT_US = 50000, STEP_US = 200 };
    for (int i = 0; i < WAIT_US / STEP_US && !atomic_load(&p->is_open); i++) usleep(STEP_US);
}

static void wait_until(struct worker *w, _Atomic bool *condition)
{
    enum { PAUSE_US = 500 };
    while (!atomic_load(condition)) {
        pause_loading(w);
        usleep(PAUSE_US);
    }
}

void loading_run(struct worker *w)
{
    struct persistence *p = w->server->persistence;
    recovery_run(p->recovery, w->id, pause_loading, w);
    if (atomic_fetch_add(&p->loaded, 1) + 1 == w->server->worker_count) finish_loading(p);
    wait_until(w, &p->is_loaded);
    if (persistence_attach(w)) open_server(w->server);
    wait_until(w, &p->is_open);
}
