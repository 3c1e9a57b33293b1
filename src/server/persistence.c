// SPDX-License-Identifier: BSD-3-Clause
#include "server/persistence.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "engine/settings.h"
#include "script/library_set.h"
#include "script/scripting.h"
#include "server/server.h"
#include "shard/logging.h"
#include "store/recover.h"

#define RETRY_MS 5000 // between automatic tries after a failure

// --- images --------------------------------------------------------------------------------------

// At the cut; written by whoever writes the image, and dropped there.
static void take_functions(struct persistence *p)
{
    if (atomic_load(&p->server->engine->scripting))
        p->functions = library_registry_get(&scripting_of(p->server->engine)->libraries);
}

static void put_functions(void *arg, struct buf *out)
{
    struct persistence *p = arg;
    struct library_set *set = p->functions;
    if (!set) return;
    for (uint32_t i = 0; i < set->count; i++)
        rdb_file_put_function(out, set->libraries[i]->code, true);
}

static void drop_functions(struct persistence *p)
{
    if (p->functions) library_set_unref(p->functions);
    p->functions = NULL;
}

// The settings, for a thread that runs no shard: they stay while they are locked.
static const struct settings *lock_settings(struct persistence *p)
{
    pthread_mutex_lock(&p->server->mutex);
    return p->server->config->settings;
}

static void unlock_settings(struct persistence *p)
{
    pthread_mutex_unlock(&p->server->mutex);
}

// dir: NULL: the working directory, that of now, which CONFIG SET dir may change. name: NULL:
// dbfilename. is_limited: it is made while the server works.
static struct image *new_image(struct persistence *p, const char *dir, const char *name,
                               bool is_base, bool is_limited)
{
    char here[PATH_MAX];
    const struct settings *s = lock_settings(p);
    if (!dir) dir = getcwd(here, sizeof here) ? here : ".";
    struct image_options o = {.dir = dir,
                              .name = name ? name : s->dbfilename,
                              .is_base = is_base,
                              .has_checksum = s->rdbchecksum,
                              .entries = rdb_file_options_of(s, clock_unix_ms()),
                              .shard_count = p->server->worker_count,
                              .rate_bytes = is_limited ? s->snapshot_rate_limit : 0,
                              .preamble = put_functions,
                              .arg = p};
    struct image *image = image_new(&o);
    unlock_settings(p);
    return image;
}

struct writing {
    struct image *image;
    uint64_t bytes;
    struct dir_error error;
    bool is_good;
};

static void *write_image_main(void *arg)
{
    struct writing *w = arg;
    w->is_good = image_write(w->image, &w->bytes, &w->error);
    return NULL;
}

bool persistence_write_image(struct persistence *p, const char *dir, const char *name, bool is_base,
                             uint64_t *bytes, struct dir_error *e)
{
    enum { BUCKETS = 1024 };
    struct engine *engine = p->server->engine;
    struct writing w = {.image = new_image(p, dir, name, is_base, false)};
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, write_image_main, &w);
    if (failed) {
        image_free(w.image);
        return dir_fail_errno(e, failed, "start a thread to write", name ? name : "the snapshot");
    }
    take_functions(p);
    for (uint32_t i = 0; i < engine->shard_count; i++) image_cut(w.image, engine->spaces[i]);
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        enum image_state state;
        while ((state = image_work(w.image, engine->spaces[i], BUCKETS)) != IMAGE_DONE)
            if (state == IMAGE_FULL) usleep(500);
    }
    pthread_join(thread, NULL);
    image_free(w.image);
    drop_functions(p);
    *bytes = w.bytes;
    if (!w.is_good) *e = w.error;
    return w.is_good;
}

// --- the logs ------------------------------------------------------------------------------------

static void on_advanced(void *owner)
{
    logging_release(owner);
}

static void set_trouble(struct engine *e, enum engine_trouble trouble, bool is_on)
{
    // Relaxed: seen by the next command or the one after it.
    if (is_on)
        atomic_fetch_or_explicit(&e->troubles, trouble, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&e->troubles, ~(uint32_t)trouble, memory_order_relaxed);
}

// A log that is off may fail as it likes.
static void update_log_trouble(struct persistence *p)
{
    bool is_failing = atomic_load(&p->is_log_on) && atomic_load(&p->failing_logs);
    set_trouble(p->server->engine, ENGINE_LOG_FAILS, is_failing);
}

static void on_trouble(void *owner, int error, const char *doing, const char *path)
{
    struct worker *w = worker_of(owner);
    struct persistence *p = w->server->persistence;
    bool was_failing = w->is_log_failing;
    if (error) {
        log_write(LOG_WARNING, "Cannot %s the append-only log '%s': %s.%s", doing, path,
                  strerror(error), atomic_load(&p->is_log_on) ? " Writes are refused." : "");
        atomic_store_explicit(&w->server->engine->log_errno, error, memory_order_relaxed);
    } else {
        log_write(LOG_WARNING, "The append-only log '%s' can be written again.", path);
    }
    w->is_log_failing = error != 0;
    if (w->is_log_failing == was_failing) return;
    atomic_fetch_add(&p->failing_logs, error ? 1 : (uint32_t)-1);
    update_log_trouble(p);
}

static void on_rotated(void *owner, bool was_broken, uint64_t old_bytes, uint64_t old_end_seq,
                       uint64_t first_seq)
{
    struct worker *w = worker_of(owner);
    struct persistence *p = w->server->persistence;
    pthread_mutex_lock(&p->mutex);
    p->rotations[w->id] = (struct log_rotation){.is_done = true,
                                                .was_broken = was_broken,
                                                .old_bytes = old_bytes,
                                                .old_end_seq = old_end_seq,
                                                .first_seq = first_seq};
    p->rotation_count++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
}

static void on_took(void *owner, const char *what, uint64_t us)
{
    struct shard *s = owner;
    int64_t threshold_ms = shard_settings(s)->latency_monitor_threshold;
    if (LIKELY(threshold_ms <= 0 || us < (uint64_t)threshold_ms * 1000)) return;
    latency_add(s->engine->latency, what, clock_unix_ms() / 1000, (uint32_t)(us / 1000),
                (uint64_t)threshold_ms);
}

static void on_decided(void *owner, struct log_record *record)
{
    logging_tell_decided(owner, record);
}

static const struct log_hooks log_hooks = {.advanced = on_advanced,
                                           .decided = on_decided,
                                           .trouble = on_trouble,
                                           .rotated = on_rotated,
                                           .took = on_took};

// This shard's writes go to its file of the new epoch from here on.
static void turn_on(struct worker *w)
{
    struct persistence *p = w->server->persistence;
    char name[MANIFEST_NAME_CHARS];
    manifest_log_name(name, p->epoch, w->id);
    char *path = dir_join(p->dir, name);
    log_rotate(w->shard.log, p->files[w->id].fd, &p->files[w->id].header, path);
    mem_free(path);
    w->shard.space->effects = &w->effects;
}

bool persistence_attach(struct worker *w)
{
    struct persistence *p = w->server->persistence;
    struct log *log = log_new(w->shard.ring, &log_hooks, &w->shard, &w->log_totals, p->first_seq);
    w->shard.log = log;
    if (atomic_load(&p->is_log_on)) {
        turn_on(w);
        log_is_named(log);
    } else {
        log_set_optional(log, true);
    }
    pthread_mutex_lock(&p->mutex);
    bool is_last = ++p->attached == p->server->worker_count;
    bool is_ready = p->is_ready = is_last && !p->is_stopping;
    pthread_mutex_unlock(&p->mutex);
    return is_ready;
}

void persistence_detach(struct worker *w)
{
    struct shard *s = &w->shard;
    while (s->image) // it is given up: only the marks remain to be set
        if (image_work(s->image, s->space, UINT32_MAX) == IMAGE_DONE) s->image = NULL;
    s->space->effects = NULL;
    effect_free(&w->effects);
    while (!log_is_idle(s->log)) ring_run(s->ring, 1000);
    if (!log_flush_now(s->log))
        log_write(LOG_WARNING, "The append-only log of shard %u could not be written to its end",
                  w->id);
    log_free(s->log);
    s->log = NULL;
}

bool persistence_hold_dir(struct persistence *p, struct dir_error *e)
{
    if (p->held_dir >= 0) return true;
    if (!dir_make(p->dir, e)) return false;
    p->held_dir = dir_hold(p->dir, e);
    return p->held_dir >= 0;
}

bool persistence_open_epoch(struct persistence *p, struct dir_error *e)
{
    uint32_t count = p->server->worker_count;
    char name[MANIFEST_NAME_CHARS];
    if (!persistence_hold_dir(p, e)) return false;
    p->epoch = p->next_epoch++;
    for (uint32_t i = 0; i < count; i++) {
        manifest_log_name(name, p->epoch, i);
        char *path = dir_join(p->dir, name);
        struct log_opening *o = &p->files[i];
        o->header = (struct log_header){
            .shard = i, .shard_count = count, .epoch = p->epoch, .salt = manifest_salt(p->run)};
        o->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        bool is_open = o->fd >= 0 || dir_fail_errno(e, errno, "create", path);
        mem_free(path);
        if (is_open) continue;
        while (i--) close(p->files[i].fd);
        return false;
    }
    return dir_sync(p->dir, e);
}

bool persistence_sync_epoch(struct persistence *p, struct dir_error *e)
{
    for (uint32_t i = 0; i < p->server->worker_count; i++)
        if (fdatasync(p->files[i].fd))
            return dir_fail_errno(e, errno, "sync the new log in", p->dir);
    return true;
}

// --- the cut -------------------------------------------------------------------------------------

static uint64_t all_changes(struct persistence *p)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->server->worker_count; i++)
        sum += stat_get(&p->server->engine->spaces[i]->stats.dirty);
    return sum;
}

static void cut(struct shard *s, void *arg)
{
    struct persistence *p = arg;
    // FUNCTION LOAD and its kin meet: what there is now is the same at every shard's cut.
    if (s->id == 0) take_functions(p);
    // p->image and p->files were set before the cut was asked for, and stay until all have been
    // here.
    image_cut(p->image, s->space);
    s->image = p->image;
    s->is_image_full = false;
    if (!p->is_rewrite) return;
    if (p->is_first) log_set_optional(s->log, true);
    turn_on(worker_of(s));
}

static void deliver_cut(struct shard *s, struct mail *mail)
{
    struct persistence *p = CONTAINER_OF(mail, struct persistence, cut_mail);
    atomic_store(&p->dirty_at_cut, all_changes(p));
    shard_enter_all(s, cut, p);
}

static void ask_for_cut(struct persistence *p)
{
    p->cut_mail = (struct mail){.deliver = deliver_cut};
    shard_post(NULL, &p->server->workers[0]->shard, &p->cut_mail);
}

static void be_named(struct shard *s, void *arg)
{
    struct persistence *p = arg;
    if (p->is_base_durable) log_base_is_durable(s->log);
    log_is_named(s->log);
    log_set_optional(s->log, false);
    pthread_mutex_lock(&p->mutex);
    p->named_count++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
}

static void deliver_named(struct shard *s, struct mail *mail)
{
    shard_enter_all(s, be_named, CONTAINER_OF(mail, struct persistence, named_mail));
}

// The manifest names the new logs: what they hold counts.
static void tell_named(struct persistence *p, bool is_base_durable)
{
    pthread_mutex_lock(&p->mutex);
    p->is_base_durable = is_base_durable;
    p->named_count = 0;
    p->named_mail = (struct mail){.deliver = deliver_named};
    shard_post(NULL, &p->server->workers[0]->shard, &p->named_mail);
    while (p->named_count < p->server->worker_count) pthread_cond_wait(&p->changed, &p->mutex);
    pthread_mutex_unlock(&p->mutex);
}

// --- jobs, on the background thread --------------------------------------------------------------

static void set_image(struct persistence *p, struct image *image)
{
    pthread_mutex_lock(&p->mutex);
    p->image = image;
    p->rotation_count = 0;
    memset(p->rotations, 0, p->server->worker_count * sizeof p->rotations[0]);
    if (image && (p->is_stopping || p->is_given_up)) image_cancel(image);
    if (image && p->is_in_haste) image_lift_limit(image);
    pthread_mutex_unlock(&p->mutex);
}

static void end_image(struct persistence *p)
{
    struct image *image = p->image;
    image_wait(image); // every shard has taken its hands off it
    set_image(p, NULL);
    image_free(image);
    drop_functions(p);
}

static bool snapshot(struct persistence *p, struct dir_error *e)
{
    uint64_t bytes;
    set_image(p, new_image(p, NULL, NULL, false, true));
    ask_for_cut(p);
    bool is_good = image_write(p->image, &bytes, e);
    end_image(p);
    return is_good;
}

static bool has_rotated(const struct persistence *p)
{
    return p->rotation_count == p->server->worker_count;
}

// A rewrite that gets no further: the old logs cannot be written to their end, or no manifest.
static bool is_stuck(const struct persistence *p)
{
    if (p->running != JOB_REWRITE) return false;
    return p->cannot_name || (!has_rotated(p) && atomic_load(&p->failing_logs));
}

// For a change, or a second. False: the rewrite has been stuck, since *since_us (0 at first), for
// longer than a stop waits for the disk.
static bool wait_for_change(struct persistence *p, int64_t *since_us)
{
    enum { STUCK_US = 3000000 };
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_sec++;
    pthread_cond_timedwait(&p->changed, &p->mutex, &soon);
    int64_t now_us = clock_mono_us();
    if (!is_stuck(p))
        *since_us = 0;
    else if (!*since_us)
        *since_us = now_us;
    return !*since_us || now_us - *since_us < STUCK_US;
}

// True if all old logs are closed as they should be; false if one of them had been broken, or
// cannot be written to its end and the server stops.
static bool wait_for_rotations(struct persistence *p)
{
    int64_t stuck_since_us = 0;
    bool goes_on = true;
    pthread_mutex_lock(&p->mutex);
    while (!has_rotated(p) && (goes_on || !p->is_stopping))
        goes_on = wait_for_change(p, &stuck_since_us);
    bool is_whole = has_rotated(p);
    for (uint32_t i = 0; i < p->server->worker_count; i++)
        is_whole = is_whole && !p->rotations[i].was_broken;
    pthread_mutex_unlock(&p->mutex);
    return is_whole;
}

static void add_epoch(struct persistence *p)
{
    struct manifest *m = &p->manifest;
    uint32_t count = p->server->worker_count;
    struct manifest_epoch *old = m->epoch_count ? &m->epochs[m->epoch_count - 1] : NULL;
    for (uint32_t i = 0; old && i < count; i++) {
        old->logs[i].is_closed = true;
        old->logs[i].end_seq = p->rotations[i].old_end_seq;
        old->logs[i].bytes = p->rotations[i].old_bytes;
    }
    struct manifest_epoch *new = manifest_add_epoch(m, p->epoch, count, p->run);
    for (uint32_t i = 0; i < count; i++) new->logs[i].first_seq = p->rotations[i].first_seq;
}

// True: nobody wants the manifest any more.
static bool note_naming(struct persistence *p, bool is_possible)
{
    pthread_mutex_lock(&p->mutex);
    p->cannot_name = !is_possible;
    bool is_over = p->is_stopping || p->is_given_up;
    pthread_mutex_unlock(&p->mutex);
    return is_over;
}

// Until it can be written nothing that the logs hold is safe: writes are refused meanwhile. False
// if the server stops or the log is turned off first.
static bool write_manifest(struct persistence *p)
{
    struct dir_error e;
    struct engine *engine = p->server->engine;
    bool is_over = false, has_failed = false;
    while (!persistence_sync_epoch(p, &e) || !manifest_write(&p->manifest, p->dir, &e)) {
        log_write(LOG_WARNING, "The append-only log cannot go on: %s. Writes are refused.", e.text);
        atomic_store_explicit(&engine->log_errno, e.code, memory_order_relaxed);
        set_trouble(engine, ENGINE_LOG_FAILS, atomic_load(&p->is_log_on));
        has_failed = true;
        is_over = note_naming(p, false);
        if (is_over) break;
        sleep(1);
    }
    if (has_failed) {
        note_naming(p, true);
        update_log_trouble(p);
    }
    return !is_over;
}

static void remove_rubbish(struct persistence *p)
{
    struct dir_error e;
    if (!manifest_remove_rubbish(&p->manifest, p->dir, NULL, &e))
        log_write(LOG_WARNING, "Old append-only files are still there: %s", e.text);
}

static void turn_off(struct shard *s, void *arg)
{
    (void)arg;
    s->space->effects = NULL;
    log_set_optional(s->log, true);
}

static void turn_all_off(struct persistence *p, struct shard *here)
{
    p->must_turn_off = false;
    atomic_store(&p->is_log_on, false);
    update_log_trouble(p);
    shard_enter_all(here, turn_off, NULL);
}

static void note_redis(struct persistence *p)
{
    recovery_note_redis(&p->manifest, lock_settings(p));
    unlock_settings(p);
}

// The manifest that the base alone makes: all before the cut is in it.
static void replace_by_base(struct persistence *p, const char *base, uint64_t bytes)
{
    struct manifest *m = &p->manifest;
    manifest_drop_epochs(m, p->epoch);
    snprintf(m->base, sizeof m->base, "%s", base);
    m->base_bytes = bytes;
}

// Unless it was turned off meanwhile.
static void note_log_on(struct persistence *p)
{
    pthread_mutex_lock(&p->mutex);
    if (!p->is_given_up) atomic_store(&p->is_log_on, true);
    pthread_mutex_unlock(&p->mutex);
    update_log_trouble(p);
}

static bool rewrite(struct persistence *p, struct dir_error *e)
{
    char base[MANIFEST_NAME_CHARS];
    uint64_t bytes;
    bool is_named = false;
    if (!persistence_open_epoch(p, e)) return false;
    manifest_base_name(base, p->epoch);
    p->is_first = !atomic_load(&p->is_log_on);
    set_image(p, new_image(p, p->dir, base, true, true));
    ask_for_cut(p);
    bool is_whole = wait_for_rotations(p);
    if (p->is_first) {
        manifest_clear(&p->manifest); // of a log that was turned off
        note_redis(p);
    } else if (is_whole) {
        add_epoch(p);
        is_named = write_manifest(p);
        if (is_named) tell_named(p, false);
    }
    bool is_good = image_write(p->image, &bytes, e);
    if (is_good) {
        if (!is_named) add_epoch(p);
        replace_by_base(p, base, bytes);
        is_good = write_manifest(p);
        if (!is_good) dir_fail(e, "the server stops");
    }
    if (is_good) {
        tell_named(p, true);
        note_log_on(p);
        remove_rubbish(p);
    }
    end_image(p);
    return is_good;
}

// BGREWRITEAOF while the log is off: the directory becomes what a start with it would load.
static bool write_base_only(struct persistence *p, struct dir_error *e)
{
    char base[MANIFEST_NAME_CHARS];
    uint64_t bytes;
    if (!persistence_hold_dir(p, e)) return false;
    p->epoch = p->next_epoch++;
    manifest_base_name(base, p->epoch);
    set_image(p, new_image(p, p->dir, base, true, true));
    ask_for_cut(p);
    bool is_good = image_write(p->image, &bytes, e);
    end_image(p);
    if (!is_good) return false;
    manifest_clear(&p->manifest);
    note_redis(p);
    replace_by_base(p, base, bytes);
    if (!manifest_write(&p->manifest, p->dir, e)) return false;
    remove_rubbish(p);
    return true;
}

static void note_snapshot(struct persistence *p, bool is_good, int64_t began_s)
{
    int64_t now_s = clock_unix_ms() / 1000;
    pthread_mutex_lock(&p->mutex);
    p->info.is_snapshot_ok = is_good;
    p->info.last_snapshot_s = now_s - began_s;
    if (is_good) {
        p->info.last_save_s = now_s;
        p->info.snapshots++;
        atomic_store(&p->dirty_at_save, atomic_load(&p->dirty_at_cut));
    }
    pthread_mutex_unlock(&p->mutex);
    set_trouble(p->server->engine, ENGINE_SNAPSHOTS_FAIL, !is_good);
}

static void note_rewrite(struct persistence *p, bool is_good, int64_t began_s)
{
    pthread_mutex_lock(&p->mutex);
    p->info.is_rewrite_ok = is_good;
    p->info.last_rewrite_s = clock_unix_ms() / 1000 - began_s;
    p->info.rewrites += is_good;
    p->info.rewrite_failures = is_good ? 0 : p->info.rewrite_failures + 1;
    if (is_good) p->info.log_base_bytes = p->manifest.base_bytes;
    pthread_mutex_unlock(&p->mutex);
}

static void run_job(struct persistence *p, enum job_kind kind)
{
    struct dir_error e = {0};
    int64_t began_s = clock_unix_ms() / 1000;
    const char *what = kind == JOB_SNAPSHOT ? "Background saving" : "Background AOF rewrite";
    bool is_logged = lock_settings(p)->appendonly;
    unlock_settings(p);
    p->is_rewrite = kind == JOB_REWRITE && is_logged;
    bool is_good = kind == JOB_SNAPSHOT ? snapshot(p, &e)
                   : is_logged          ? rewrite(p, &e)
                                        : write_base_only(p, &e);
    if (is_good)
        log_write(LOG_NOTICE, "%s terminated with success", what);
    else
        log_write(LOG_WARNING, "%s failed: %s", what, e.text);
    if (!is_good && kind == JOB_REWRITE && p->is_given_up) return; // as it was wished
    if (!is_good && p->is_for_stop) return;
    if (kind == JOB_SNAPSHOT)
        note_snapshot(p, is_good, began_s);
    else
        note_rewrite(p, is_good, began_s);
}

static void *background(void *arg)
{
    struct persistence *p = arg;
    pthread_setname_np(pthread_self(), "gyre-snapshot");
    pthread_mutex_lock(&p->mutex);
    while (!p->is_stopping) {
        enum job_kind kind = p->wanted;
        p->wanted = JOB_NONE;
        if (kind == JOB_NONE) {
            pthread_cond_wait(&p->changed, &p->mutex);
            continue;
        }
        pthread_mutex_unlock(&p->mutex);
        run_job(p, kind);
        pthread_mutex_lock(&p->mutex);
        p->running = JOB_NONE;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

// --- beginning them ------------------------------------------------------------------------------

static void begin(struct persistence *p, enum job_kind kind)
{
    p->wanted = p->running = kind;
    p->is_for_stop = false;
    atomic_store(&p->is_given_up, false);
    if (kind == JOB_SNAPSHOT) {
        p->last_try_ms = clock_unix_ms();
        p->info.saving_since_s = p->last_try_ms / 1000;
        p->is_snapshot_scheduled = false;
    } else {
        p->info.rewriting_since_s = clock_unix_ms() / 1000;
        p->is_rewrite_scheduled = false;
    }
    pthread_cond_broadcast(&p->changed);
}

static enum host_save begin_if_free(struct persistence *p, enum job_kind kind, bool may_schedule)
{
    bool *is_scheduled =
        kind == JOB_SNAPSHOT ? &p->is_snapshot_scheduled : &p->is_rewrite_scheduled;
    if (p->running == kind) return kind == JOB_SNAPSHOT ? SAVE_IS_SAVING : SAVE_IS_REWRITING;
    if (p->running == JOB_NONE && p->is_ready) {
        begin(p, kind);
        return SAVE_STARTED;
    }
    // A rewrite waits for a snapshot of its own accord; a snapshot only if it is told to.
    if (kind == JOB_SNAPSHOT && !may_schedule) return SAVE_IS_REWRITING;
    *is_scheduled = true;
    return SAVE_SCHEDULED;
}

enum host_save persistence_begin(struct persistence *p, enum job_kind kind, bool may_schedule)
{
    pthread_mutex_lock(&p->mutex);
    enum host_save result = begin_if_free(p, kind, may_schedule);
    pthread_mutex_unlock(&p->mutex);
    return result;
}

static uint64_t log_bytes(struct persistence *p)
{
    uint64_t sum = p->info.log_base_bytes;
    for (uint32_t i = 0; i < p->server->worker_count; i++)
        sum += stat_get(&p->server->workers[i]->log_totals.file_bytes);
    return sum;
}

static bool is_log_grown(struct persistence *p, const struct settings *s)
{
    uint64_t bytes = log_bytes(p), base = MAX(p->info.log_base_bytes, 1);
    if (!s->auto_aof_rewrite_percentage || bytes < s->auto_aof_rewrite_min_size) return false;
    return (bytes - MIN(bytes, base)) * 100 / base >= (uint64_t)s->auto_aof_rewrite_percentage;
}

static bool is_snapshot_due(struct persistence *p, const struct settings *s, int64_t now_ms)
{
    uint64_t changes = all_changes(p) - atomic_load(&p->dirty_at_save);
    if (!p->info.is_snapshot_ok && now_ms - p->last_try_ms < RETRY_MS) return false;
    for (uint32_t i = 0; i < s->save_count; i++) {
        if (changes < (uint64_t)s->save[i].changes ||
            now_ms / 1000 - p->info.last_save_s <= s->save[i].seconds)
            continue;
        log_write(LOG_NOTICE, "%" PRId64 " changes in %" PRId64 " seconds. Saving...",
                  s->save[i].changes, s->save[i].seconds);
        return true;
    }
    return false;
}

static bool is_rewrite_due(struct persistence *p, const struct settings *s, int64_t now_ms)
{
    bool is_on = atomic_load(&p->is_log_on);
    bool may_retry =
        p->info.is_rewrite_ok || now_ms / 1000 - p->info.rewriting_since_s >= RETRY_MS / 1000;
    if (p->is_rewrite_scheduled) return true;
    if (!s->appendonly) return false;
    if (!is_on) return may_retry || p->info.is_rewrite_ok; // it was turned on
    if (!may_retry) return false;
    if (atomic_load(&p->failing_logs)) return true; // a new base mends what is broken
    return is_log_grown(p, s);
}

void persistence_cron(struct persistence *p, int64_t now_ms)
{
    struct shard *here = &p->server->workers[0]->shard;
    const struct settings *s = shard_settings(here);
    pthread_mutex_lock(&p->mutex);
    if (p->running == JOB_NONE && p->must_turn_off) {
        turn_all_off(p, here);
    } else if (p->running == JOB_NONE && p->is_ready) {
        if (is_rewrite_due(p, s, now_ms))
            begin(p, JOB_REWRITE);
        else if (p->is_snapshot_scheduled || is_snapshot_due(p, s, now_ms))
            begin(p, JOB_SNAPSHOT);
    }
    pthread_mutex_unlock(&p->mutex);
}

// --- for commands --------------------------------------------------------------------------------

static bool save_now(struct persistence *p, struct dir_error *e)
{
    int64_t began_s = clock_unix_ms() / 1000;
    uint64_t bytes;
    atomic_store(&p->dirty_at_cut, all_changes(p));
    bool is_good = persistence_write_image(p, ".", NULL, false, &bytes, e);
    if (is_good)
        log_write(LOG_NOTICE, "DB saved on disk");
    else
        log_write(LOG_WARNING, "The data could not be saved: %s", e->text);
    if (is_good) note_snapshot(p, true, began_s);
    return is_good;
}

bool persistence_save(struct persistence *p, char *error, size_t error_size)
{
    struct dir_error e;
    pthread_mutex_lock(&p->mutex);
    bool is_free = p->running == JOB_NONE;
    bool is_snapshot = p->running == JOB_SNAPSHOT;
    if (is_free) p->running = JOB_SNAPSHOT;
    pthread_mutex_unlock(&p->mutex);
    if (!is_free) {
        snprintf(error, error_size, "ERR %s",
                 is_snapshot
                     ? "Background save already in progress"
                     : "Background append only file rewriting in progress: try again later");
        return false;
    }
    bool is_good = save_now(p, &e);
    pthread_mutex_lock(&p->mutex);
    p->running = JOB_NONE;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
    if (!is_good) snprintf(error, error_size, "ERR %s", e.text);
    return is_good;
}

// Waits for the job that runs. False: it is a rewrite that does not end, or nothing is to be saved
// any more.
static bool wait_for_job(struct persistence *p)
{
    int64_t stuck_since_us = 0;
    bool goes_on = true;
    while (p->running != JOB_NONE && goes_on && !stop_is_over(&p->server->stop))
        goes_on = wait_for_change(p, &stuck_since_us);
    return p->running == JOB_NONE;
}

bool persistence_snapshot(struct persistence *p)
{
    pthread_mutex_lock(&p->mutex);
    bool is_good = wait_for_job(p);
    if (is_good) {
        uint64_t before = p->info.snapshots;
        begin(p, JOB_SNAPSHOT);
        p->is_for_stop = true;
        is_good = wait_for_job(p) && p->info.snapshots != before;
    }
    pthread_mutex_unlock(&p->mutex);
    return is_good;
}

static bool is_log_missing(struct persistence *p)
{
    bool is_wanted = lock_settings(p)->appendonly;
    unlock_settings(p);
    return is_wanted && !atomic_load(&p->is_log_on);
}

bool persistence_await_log(struct persistence *p)
{
    for (int i = 0; i < 2 && is_log_missing(p); i++) {
        pthread_mutex_lock(&p->mutex);
        bool is_free = wait_for_job(p); // which may have been the one that turns it on
        if (is_free && i > 0) {
            begin(p, JOB_REWRITE);
            wait_for_job(p);
        }
        pthread_mutex_unlock(&p->mutex);
    }
    return !is_log_missing(p);
}

void persistence_set_haste(struct persistence *p, bool is_in_haste)
{
    pthread_mutex_lock(&p->mutex);
    p->is_in_haste = is_in_haste;
    if (is_in_haste && p->image) image_lift_limit(p->image);
    pthread_mutex_unlock(&p->mutex);
}

void persistence_look_again(struct persistence *p)
{
    pthread_mutex_lock(&p->mutex);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
}

bool persistence_is_all_saved(struct persistence *p)
{
    pthread_mutex_lock(&p->mutex);
    bool is_saved = p->info.snapshots && all_changes(p) == atomic_load(&p->dirty_at_save);
    pthread_mutex_unlock(&p->mutex);
    return is_saved;
}

bool persistence_save_at_end(struct persistence *p)
{
    struct dir_error e;
    return persistence_is_all_saved(p) || save_now(p, &e);
}

void persistence_switch_log(struct persistence *p, struct shard *here, bool is_on)
{
    pthread_mutex_lock(&p->mutex);
    if (is_on) { // persistence_cron begins the rewrite that turns it on
        p->must_turn_off = false;
    } else {
        turn_all_off(p, here);
        // A rewrite would turn it on again.
        bool is_busy = p->running == JOB_REWRITE;
        p->must_turn_off = is_busy;
        atomic_store(&p->is_given_up, is_busy);
        if (is_busy && p->image) image_cancel(p->image);
    }
    pthread_mutex_unlock(&p->mutex);
}

static void loading_info(struct persistence *p, struct persistence_info *out)
{
    struct recovery_progress progress;
    uint32_t troubles = atomic_load(&p->server->engine->troubles);
    out->is_loading = (troubles & ENGINE_IS_LOADING) && p->recovery;
    if (!out->is_loading) return;
    recovery_progress(p->recovery, &progress);
    out->loading_began_s = progress.began_ms / 1000;
    out->loading_total_bytes = progress.bytes_total;
    out->loading_done_bytes = progress.bytes_done;
}

void persistence_tell(struct persistence *p, struct persistence_info *out)
{
    pthread_mutex_lock(&p->mutex);
    *out = p->info;
    out->is_saving = p->running == JOB_SNAPSHOT;
    out->is_rewriting = p->running == JOB_REWRITE;
    out->is_rewrite_scheduled = p->is_rewrite_scheduled;
    out->is_snapshot_scheduled = p->is_snapshot_scheduled;
    out->log_bytes = log_bytes(p);
    if (p->image) {
        struct image_progress progress = image_progress(p->image);
        out->keys_done = progress.keys_done;
        out->keys_total = progress.keys_total;
    }
    loading_info(p, out);
    pthread_mutex_unlock(&p->mutex);
    out->changes = all_changes(p) - atomic_load(&p->dirty_at_save);
    out->is_log_on = lock_settings(p)->appendonly;
    unlock_settings(p);
    // Turned on, but nothing is logged before the rewrite that persistence_cron will begin.
    if (out->is_log_on && !atomic_load(&p->is_log_on) && !out->is_rewriting)
        out->is_rewrite_scheduled = true;
    out->is_log_ok = !(atomic_load(&p->server->engine->troubles) & ENGINE_LOG_FAILS);
    for (uint32_t i = 0; i < p->server->worker_count; i++) {
        const struct log_totals *t = &p->server->workers[i]->log_totals;
        out->log_pending_bytes += stat_get(&t->pending_bytes);
        out->delayed_syncs += stat_get(&t->delayed_syncs);
    }
}

// --- life ----------------------------------------------------------------------------------------

struct persistence *persistence_new(struct server *server)
{
    const struct settings *s = server->config->settings;
    struct persistence *p = mem_calloc(sizeof *p);
    uint8_t id[MANIFEST_RUN_CHARS / 2];
    p->server = server;
    p->dir = mem_strndup(s->appenddirname, strlen(s->appenddirname));
    p->held_dir = -1;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->rotations = mem_calloc(server->worker_count * sizeof p->rotations[0]);
    p->files = mem_calloc(server->worker_count * sizeof p->files[0]);
    random_secret(id, sizeof id);
    for (size_t i = 0; i < sizeof id; i++) snprintf(p->run + 2 * i, 3, "%02x", id[i]);
    p->next_epoch = 1;
    p->info = (struct persistence_info){.is_snapshot_ok = true,
                                        .is_rewrite_ok = true,
                                        .last_save_s = clock_unix_ms() / 1000,
                                        .last_snapshot_s = -1,
                                        .last_rewrite_s = -1};
    return p;
}

void persistence_start(struct persistence *p)
{
    int failed = pthread_create(&p->thread, NULL, background, p);
    if (failed) log_write(LOG_WARNING, "Cannot start the snapshot thread: %s", strerror(failed));
    p->has_thread = !failed;
}

void persistence_stop(struct persistence *p)
{
    pthread_mutex_lock(&p->mutex);
    p->is_stopping = true;
    p->is_ready = false;
    if (p->image) image_cancel(p->image);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
    if (p->has_thread) pthread_join(p->thread, NULL);
}

void persistence_free(struct persistence *p)
{
    recovery_free(p->recovery);
    manifest_clear(&p->manifest);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->mutex);
    mem_free(p->rotations);
    mem_free(p->files);
    mem_free(p->dir);
    if (p->held_dir >= 0) close(p->held_dir);
    mem_free(p);
}
