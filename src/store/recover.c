// SPDX-License-Identifier: BSD-3-Clause
//
// What there is becomes a plan: RDB files, files of redis-server's commands, or the logs of our own
// epochs. All threads go through it together, one stage after the other:
//
//   our own logs     verify all logs | base, each its keys | epochs (epochs.h)
//   redis-server's   for each file: its RDB part, each its keys | its commands, the first thread
//   dbfilename       each its keys
//
// and at last each puts its keyspace's statistics back and frees what the replay left to be freed.
#include "store/recover.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/engine.h"
#include "engine/settings.h"
#include "script/scripting.h"
#include "store/epochs.h"
#include "store/rdb_load.h"
#include "store/redis_aof.h"
#include "store/replay.h"

#define HERE           "."     // everything is relative to it
#define TELL_US        5000000 // between two lines on how far it is
#define GARBAGE_BUDGET 1000    // steps between two pauses

// A new base is worth its while if one thread had to replay so much, or so many epochs have come
// together.
#define FOREIGN_BYTES_MAX (UINT64_C(32) << 20)
#define EPOCHS_MAX        64

struct rdb_part { // an RDB file to be loaded by all threads
    char *path;   // owned
    struct rdb_file file;
    bool must_end; // nothing may follow it
    struct rdb_load_options options;
    struct rdb_progress *progress; // by thread; owned
    struct rdb_progress sum;       // when it is done
};

struct aof_part { // commands that redis-server logged, behind an RDB part or not
    const struct redis_aof_file *file;
    struct redis_aof_reader reader;
    struct rdb_part *rdb; // or NULL
    stat_u64 bytes;       // read so far
};

struct hand { // one thread's
    struct recovery *recovery;
    struct crew_member member;
    void (*pause)(void *arg);
    void *arg;
};

struct recovery {
    struct engine *engine;
    struct settings *settings; // owned
    enum recovery_source source;
    char *path; // owned; of what is loaded
    int64_t now_ms, began_ms;
    int64_t told_us; // the first thread's

    struct manifest manifest;
    uint64_t last_epoch;   // of which there are files, if there is no manifest that counts
    struct epochs *epochs; // or NULL
    struct redis_aof aof;
    struct aof_part *aof_parts; // owned; one for each of its files
    uint32_t aof_count;
    struct rdb_part *rdb_parts; // owned
    uint32_t rdb_count;

    struct crew crew;
    struct hand *hands; // by shard; owned
    uint64_t commands;  // of redis-server's
};

// --- the plan ------------------------------------------------------------------------------------

static bool load_library(void *arg, struct slice code, char *error);
static bool pause_loader(void *arg, uint32_t shard);

// A part that is to be loaded; its file is open. path is copied.
static struct rdb_part *add_rdb(struct recovery *r, const char *path, struct rdb_file file)
{
    struct rdb_part *part = &r->rdb_parts[r->rdb_count++];
    *part = (struct rdb_part){.path = mem_strdup(path), .file = file};
    part->options = (struct rdb_load_options){.settings = r->settings,
                                              .now_ms = r->now_ms,
                                              .function = load_library,
                                              .pause = pause_loader,
                                              .arg = r};
    part->progress = mem_calloc(r->engine->shard_count * sizeof part->progress[0]);
    return part;
}

static bool fail_on_file(struct dir_error *e, const char *path, const char *why)
{
    dir_fail(e, "'%s': %s", path, why);
    return false;
}

// Both claim to have the newest data.
static bool fail_as_rivals(const struct recovery *r, struct dir_error *e, const char *other,
                           const char *why)
{
    dir_fail(e,
             "Gyre's log ('%s') and that of redis-server ('%s') both claim to hold the newest "
             "data (%.300s). Move the one that is not wanted out of the data directory",
             r->path, other, why);
    return false;
}

// Has redis-server written to its own log since ours began?
static bool check_rival(const struct recovery *r, struct dir_error *e)
{
    const struct settings *s = r->settings;
    const struct manifest *m = &r->manifest;
    struct redis_aof aof;
    struct dir_error why;
    if (m->imported) {
        struct redis_aof_identity then = {m->imported, m->imported_bytes, m->imported_mtime_ns};
        return redis_aof_changed(HERE, s->appenddirname, s->appendfilename, &then, &why) !=
                   REDIS_AOF_CHANGED ||
               fail_as_rivals(r, e, m->imported, why.text);
    }
    switch (redis_aof_open(HERE, s->appenddirname, s->appendfilename, &aof, &why)) {
    case REDIS_AOF_NONE: return true;
    case REDIS_AOF_ERROR: return fail_as_rivals(r, e, s->appendfilename, why.text);
    case REDIS_AOF_FOUND: break;
    }
    fail_as_rivals(r, e, aof.identity.path, "it was never taken over");
    redis_aof_free(&aof);
    return false;
}

static bool open_base(struct recovery *r, struct dir_error *e)
{
    struct rdb_file file;
    char error[RDB_FILE_ERROR_MAX], *path;
    if (!r->manifest.base[0]) return true;
    path = dir_join(r->settings->appenddirname, r->manifest.base);
    bool is_good = rdb_file_map(&file, path, NULL, error) || fail_on_file(e, path, error);
    if (is_good) {
        r->rdb_parts = mem_calloc(sizeof r->rdb_parts[0]);
        add_rdb(r, path, file)->must_end = true;
    }
    if (is_good && file.len != r->manifest.base_bytes) {
        dir_fail(e, "'%s' has %zu bytes, but should have %" PRIu64 ": bring it back from a copy",
                 path, file.len, r->manifest.base_bytes);
        is_good = false;
    }
    mem_free(path);
    return is_good;
}

static bool plan_own(struct recovery *r, struct dir_error *e)
{
    r->source = RECOVERY_LOGS;
    if (!check_rival(r, e) || !open_base(r, e)) return false;
    r->epochs = epochs_open(r->engine, r->settings, &r->manifest, r->settings->appenddirname, e);
    return r->epochs != NULL;
}

// Number of the epoch that a file of ours is of.
static uint64_t epoch_of(const char *name)
{
    return manifest_is_our_name(name) ? strtoull(name + strcspn(name, "0123456789"), NULL, 10) : 0;
}

// The highest epoch of which there are files of ours; 0: there are none. *name: such a file.
static bool find_epoch(const char *directory, uint64_t *number, char name[MANIFEST_NAME_CHARS],
                       struct dir_error *e)
{
    *number = 0;
    DIR *d = opendir(directory);
    if (!d) return errno == ENOENT || dir_fail_errno(e, errno, "open the directory", directory);
    for (struct dirent *file; (file = readdir(d));) {
        uint64_t n = epoch_of(file->d_name);
        if (n <= *number) continue;
        *number = n;
        snprintf(name, MANIFEST_NAME_CHARS, "%.*s", MANIFEST_NAME_CHARS - 1, file->d_name);
    }
    closedir(d);
    return true;
}

// There is no manifest. That is as it should be if nothing was ever logged, or if the first log
// had not got as far as that; but not if there are logs of later epochs.
static bool check_orphans(const struct recovery *r, struct dir_error *e)
{
    uint64_t number;
    char last[MANIFEST_NAME_CHARS];
    const char *directory = r->settings->appenddirname;
    if (!find_epoch(directory, &number, last, e)) return false;
    if (number < 2) return true;
    dir_fail(e,
             "'%s/%s' is there, but not '%s' that must name it: bring that back, or move Gyre's "
             "files out of the way to begin without them",
             directory, last, r->path);
    return false;
}

static bool open_aof_part(struct recovery *r, const struct redis_aof_file *file,
                          struct dir_error *e)
{
    struct aof_part *part = &r->aof_parts[r->aof_count];
    struct rdb_file rdb;
    char error[RDB_FILE_ERROR_MAX];
    if (!redis_aof_reader_open(&part->reader, file, e)) return false;
    part->file = file;
    r->aof_count++;
    if (!file->has_rdb) return true;
    if (!rdb_file_open(&rdb, part->reader.bytes, error)) return fail_on_file(e, file->path, error);
    part->rdb = add_rdb(r, file->path, rdb);
    return true;
}

static bool plan_redis(struct recovery *r, struct dir_error *e)
{
    r->source = RECOVERY_REDIS_AOF;
    mem_free(r->path);
    r->path = mem_strdup(r->aof.identity.path);
    r->aof_parts = mem_calloc(r->aof.file_count * sizeof r->aof_parts[0]);
    r->rdb_parts = mem_calloc(r->aof.file_count * sizeof r->rdb_parts[0]);
    for (uint32_t i = 0; i < r->aof.file_count; i++)
        if (!open_aof_part(r, &r->aof.files[i], e)) return false;
    r->manifest.imported = mem_strdup(r->aof.identity.path);
    r->manifest.imported_bytes = r->aof.identity.bytes;
    r->manifest.imported_mtime_ns = r->aof.identity.mtime_ns;
    return true;
}

static bool plan_rdb(struct recovery *r, struct dir_error *e)
{
    struct rdb_file file;
    char error[RDB_FILE_ERROR_MAX];
    bool is_missing;
    mem_free(r->path);
    r->path = mem_strdup("");
    if (!rdb_file_map(&file, r->settings->dbfilename, &is_missing, error))
        return is_missing || fail_on_file(e, r->settings->dbfilename, error);
    r->source = RECOVERY_RDB;
    mem_free(r->path);
    r->path = mem_strdup(r->settings->dbfilename);
    r->rdb_parts = mem_calloc(sizeof r->rdb_parts[0]);
    add_rdb(r, r->path, file)->options.drops_expired = true;
    return true;
}

static bool plan(struct recovery *r, struct dir_error *e)
{
    const struct settings *s = r->settings;
    r->path = dir_join(s->appenddirname, MANIFEST_NAME);
    if (!s->appendonly) {
        // Should the log be turned on, it is not to overwrite what lies there.
        char last[MANIFEST_NAME_CHARS];
        find_epoch(s->appenddirname, &r->last_epoch, last, e); // if it cannot be read, so be it
        return plan_rdb(r, e);
    }
    e->code = 0;
    if (manifest_read(&r->manifest, s->appenddirname, e)) return plan_own(r, e);
    if (e->code != ENOENT || !check_orphans(r, e)) return false;
    switch (redis_aof_open(HERE, s->appenddirname, s->appendfilename, &r->aof, e)) {
    case REDIS_AOF_FOUND: return plan_redis(r, e);
    case REDIS_AOF_ERROR: return false;
    case REDIS_AOF_NONE: break;
    }
    return plan_rdb(r, e);
}

static void tell_plan(const struct recovery *r)
{
    const struct settings *s = r->settings;
    char *manifest = dir_join(s->appenddirname, MANIFEST_NAME);
    struct manifest unused;
    struct dir_error e = {0};
    if (!s->appendonly && (manifest_read(&unused, s->appenddirname, &e) || e.code != ENOENT)) {
        log_write(LOG_NOTICE, "'%s' is there, but not looked at: appendonly is off", manifest);
        manifest_clear(&unused);
    }
    mem_free(manifest);
    if (r->source == RECOVERY_NOTHING)
        log_write(LOG_NOTICE, "There are no data to load: a fresh start");
    else if (r->source == RECOVERY_RDB && s->appendonly)
        log_write(LOG_NOTICE, "There is no log yet: it begins with what is in '%s'", r->path);
    else if (r->source == RECOVERY_REDIS_AOF)
        log_write(LOG_NOTICE,
                  "The log that redis-server left ('%s') is taken over; it stays as it is",
                  r->path);
}

struct recovery *recovery_open(const struct recovery_options *o, struct dir_error *e)
{
    struct recovery *r = mem_calloc(sizeof *r);
    r->engine = o->engine;
    r->settings = settings_copy(o->settings);
    r->now_ms = o->now_ms;
    r->began_ms = clock_unix_ms();
    crew_init(&r->crew, o->engine->shard_count);
    r->hands = mem_calloc(o->engine->shard_count * sizeof r->hands[0]);
    if (!plan(r, e)) {
        recovery_free(r);
        return NULL;
    }
    tell_plan(r);
    return r;
}

void recovery_free(struct recovery *r)
{
    if (!r) return;
    for (uint32_t i = 0; i < r->rdb_count; i++) {
        rdb_file_close(&r->rdb_parts[i].file);
        mem_free(r->rdb_parts[i].path);
        mem_free(r->rdb_parts[i].progress);
    }
    for (uint32_t i = 0; i < r->aof_count; i++) redis_aof_reader_close(&r->aof_parts[i].reader);
    redis_aof_free(&r->aof);
    epochs_free(r->epochs);
    manifest_clear(&r->manifest);
    crew_free(&r->crew);
    settings_free(r->settings);
    mem_free(r->rdb_parts);
    mem_free(r->aof_parts);
    mem_free(r->hands);
    mem_free(r->path);
    mem_free(r);
}

void recovery_note_redis(struct manifest *m, const struct settings *settings)
{
    struct redis_aof aof;
    struct dir_error e;
    if (redis_aof_open(HERE, settings->appenddirname, settings->appendfilename, &aof, &e) !=
        REDIS_AOF_FOUND)
        return;
    mem_free(m->imported);
    m->imported = mem_strdup(aof.identity.path);
    m->imported_bytes = aof.identity.bytes;
    m->imported_mtime_ns = aof.identity.mtime_ns;
    redis_aof_free(&aof);
}

// --- progress ------------------------------------------------------------------------------------

// Commands behind an RDB part are counted with it.
static bool counts(const struct aof_part *part)
{
    return !part->rdb;
}

void recovery_progress(const struct recovery *r, struct recovery_progress *out)
{
    uint32_t shards = r->engine->shard_count;
    *out = (struct recovery_progress){.began_ms = r->began_ms};
    for (uint32_t i = 0; i < r->rdb_count; i++) {
        const struct rdb_part *part = &r->rdb_parts[i];
        uint64_t sum = 0;
        for (uint32_t k = 0; k < shards; k++) sum += stat_get(&part->progress[k].bytes);
        out->bytes_done += sum / shards;
        out->bytes_total += part->file.len;
    }
    for (uint32_t i = 0; i < r->aof_count; i++) {
        const struct aof_part *part = &r->aof_parts[i];
        if (!counts(part)) continue;
        out->bytes_done += stat_get(&part->bytes);
        out->bytes_total += part->file->bytes;
    }
    if (!r->epochs) return;
    out->bytes_done += epochs_bytes_done(r->epochs);
    out->bytes_total += epochs_bytes_total(r->epochs);
}

static void tell_progress(struct recovery *r)
{
    struct recovery_progress p;
    int64_t now_us = clock_mono_us();
    if (now_us - r->told_us < TELL_US) return;
    if (r->told_us) {
        recovery_progress(r, &p);
        log_write(LOG_NOTICE, "Loading the data: %.1f of %.1f MB", (double)p.bytes_done / 1e6,
                  (double)p.bytes_total / 1e6);
    }
    r->told_us = now_us;
}

static void pause_hand(void *arg)
{
    struct hand *h = arg;
    if (h->member.index == 0) tell_progress(h->recovery);
    if (h->pause) h->pause(h->arg);
}

static bool pause_loader(void *arg, uint32_t shard)
{
    struct recovery *r = arg;
    return crew_breathe(&r->hands[shard].member);
}

// --- RDB files -----------------------------------------------------------------------------------

// The first thread's, as FUNCTION RESTORE would do it.
static bool load_library(void *arg, struct slice code, char *error)
{
    struct recovery *r = arg;
    struct library_registry *registry = &scripting_of(r->engine)->libraries;
    struct buf text = {0};
    const char *bad;
    struct library *lib = library_load(scripting_state(r->engine, 0), code, NULL, &text, &bad);
    if (lib) {
        bad = library_registry_add(registry, &lib, 1, LIBRARY_APPEND, &text);
        library_unref(lib);
    }
    if (bad) snprintf(error, RDB_FILE_ERROR_MAX, "%s", bad);
    buf_free(&text);
    return !bad;
}

// All shards are done with it.
static bool finish_rdb(struct recovery *r, struct rdb_part *part, struct dir_error *e)
{
    char error[RDB_FILE_ERROR_MAX];
    const struct rdb_file *f = &part->file;
    if (!rdb_load_finish(f, part->progress, r->engine->shard_count, &part->options, &part->sum,
                         error))
        return fail_on_file(e, part->path, error);
    uint64_t more = f->len - part->sum.end;
    if (more && part->must_end) {
        dir_fail(e, "'%s': %" PRIu64 " bytes follow at offset %" PRIu64 ", where it should end",
                 part->path, more, part->sum.end);
        return false;
    }
    if (more && r->source == RECOVERY_RDB)
        log_write(LOG_WARNING,
                  "'%s': the %" PRIu64 " bytes behind its end, at offset %" PRIu64
                  ", are not looked at",
                  part->path, more, part->sum.end);
    if (part->sum.empty)
        log_write(LOG_WARNING, "'%s': %" PRIu64 " keys without a single element were left out",
                  part->path, part->sum.empty);
    return true;
}

static bool load_rdb(struct recovery *r, struct rdb_part *part, struct crew_member *m)
{
    char error[RDB_FILE_ERROR_MAX];
    struct dir_error e;
    if (!rdb_load_shard(&part->file, r->engine, m->index, &part->options, &part->progress[m->index],
                        error)) {
        fail_on_file(&e, part->path, error);
        crew_fail(&r->crew, &e);
        return false;
    }
    if (!crew_meet(m)) return false;
    if (m->index == 0 && !finish_rdb(r, part, &e)) crew_fail(&r->crew, &e);
    return crew_meet(m);
}

// --- redis-server's commands ---------------------------------------------------------------------

// Sets *db if it is a SELECT, to none that there is if it makes no sense: the next command fails.
static bool is_select(int argc, const struct slice *argv, uint32_t *db)
{
    int64_t index;
    if (!slice_is(argv[0], "select")) return false;
    bool is_index = argc == 2 && num_parse_i64(argv[1], &index) && index >= 0 && index < INT32_MAX;
    *db = is_index ? (uint32_t)index : INT32_MAX;
    return true;
}

static bool run_commands(struct recovery *r, struct aof_part *part, struct replay *p)
{
    struct replay_origin origin = {
        .path = part->file->path, .counts = "offset", .is_tolerant = true};
    struct slice *argv;
    uint32_t db = 0;
    int argc;
    while (redis_aof_next(&part->reader, &argc, &argv) == REDIS_AOF_COMMAND) {
        origin.number = part->reader.offset;
        stat_set(&part->bytes, part->reader.pos);
        r->commands++;
        if (is_select(argc, argv, &db)) continue;
        if (!replay_command(p, db, argc, argv, &origin)) return false;
    }
    return replay_flush(p);
}

static bool judge_aof_end(const struct recovery *r, const struct aof_part *part,
                          struct dir_error *e)
{
    if (part->reader.last_step == REDIS_AOF_END) return true;
    *e = part->reader.error;
    if (part->reader.last_step == REDIS_AOF_DAMAGED) return false;
    if (r->settings->aof_load_truncated) {
        log_write(LOG_WARNING, "%s", part->reader.error.text);
        return true;
    }
    dir_fail(e, "%.900s. With `aof-load-truncated yes` it is loaded without them",
             part->reader.error.text);
    return false;
}

static bool replay_aof(struct recovery *r, struct aof_part *part, struct crew_member *m)
{
    struct replay p;
    if (part->rdb) redis_aof_reader_skip(&part->reader, part->rdb->sum.end);
    replay_init(&p, r->engine, r->settings, r->engine->spaces, r->engine->shard_count, m);
    bool is_good = run_commands(r, part, &p) && judge_aof_end(r, part, &p.error);
    if (is_good) stat_set(&part->bytes, part->file->bytes);
    if (!is_good) crew_fail(&r->crew, &p.error);
    replay_free(&p);
    return is_good;
}

static bool load_aof(struct recovery *r, struct crew_member *m)
{
    for (uint32_t i = 0; i < r->aof_count; i++) {
        struct aof_part *part = &r->aof_parts[i];
        if (part->rdb && !load_rdb(r, part->rdb, m)) return false;
        if (m->index == 0 && !replay_aof(r, part, m)) return false;
        if (!crew_meet(m)) return false;
    }
    return true;
}

// --- running -------------------------------------------------------------------------------------

// Frees what the replay left to be freed in slices; nothing expires meanwhile.
static void free_garbage(struct keyspace *ks, struct crew_member *m)
{
    static const struct keyspace_due nobody;
    bool is_on = ks->is_active_expire_on;
    ks->is_active_expire_on = false;
    while (keyspace_cron(ks, 0, GARBAGE_BUDGET, &nobody)) crew_breathe(m);
    ks->is_active_expire_on = is_on;
}

static void copy_stats(struct keyspace_stats *to, const struct keyspace_stats *from)
{
    stat_set(&to->hits, stat_get(&from->hits));
    stat_set(&to->misses, stat_get(&from->misses));
    stat_set(&to->expired, stat_get(&from->expired));
    stat_set(&to->expired_fields, stat_get(&from->expired_fields));
    stat_set(&to->evicted, stat_get(&from->evicted));
    stat_set(&to->dirty, stat_get(&from->dirty));
    stat_set(&to->garbage_freed, stat_get(&from->garbage_freed));
}

static bool load(struct recovery *r, struct crew_member *m)
{
    switch (r->source) {
    case RECOVERY_NOTHING: return true;
    case RECOVERY_RDB: return load_rdb(r, &r->rdb_parts[0], m);
    case RECOVERY_REDIS_AOF: return load_aof(r, m);
    case RECOVERY_LOGS: break;
    }
    if (!epochs_scan(r->epochs, m)) return false;
    if (r->rdb_count && !load_rdb(r, &r->rdb_parts[0], m)) return false;
    return epochs_replay(r->epochs, m);
}

void recovery_run(struct recovery *r, uint32_t shard, void (*pause)(void *arg), void *arg)
{
    struct hand *h = &r->hands[shard];
    struct keyspace *ks = r->engine->spaces[shard];
    struct keyspace_stats before = {0};
    *h = (struct hand){.recovery = r, .pause = pause, .arg = arg};
    crew_join(&h->member, &r->crew, shard, pause_hand, h);
    copy_stats(&before, &ks->stats);
    if (!crew_meet(&h->member) || !load(r, &h->member)) return;
    free_garbage(ks, &h->member);
    copy_stats(&ks->stats, &before);
    crew_meet(&h->member);
}

void recovery_cancel(struct recovery *r)
{
    struct dir_error e;
    dir_fail(&e, "loading the data was given up");
    crew_fail(&r->crew, &e);
}

// --- the result ----------------------------------------------------------------------------------

static uint64_t key_count(const struct engine *e)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < e->shard_count; i++)
        for (uint32_t k = 0; k < e->spaces[i]->db_count; k++)
            sum += e->spaces[i]->dbs[k].keys.count;
    return sum;
}

// Asks only if somebody has made it: there are none else.
static uint64_t library_count(const struct engine *e)
{
    if (!atomic_load(&e->scripting)) return 0;
    struct library_set *set = library_registry_get(&scripting_of(e)->libraries);
    uint64_t count = set->count;
    library_set_unref(set);
    return count;
}

static void judge_base(const struct recovery *r, const struct epochs_sum *sum,
                       struct recovery_result *out)
{
    if (!r->settings->appendonly || r->source == RECOVERY_NOTHING)
        out->base = RECOVERY_BASE_FINE;
    else if (r->source != RECOVERY_LOGS)
        out->base = RECOVERY_BASE_NEEDED;
    else if (sum->foreign_bytes > FOREIGN_BYTES_MAX || sum->dropped ||
             r->manifest.epoch_count >= EPOCHS_MAX)
        out->base = RECOVERY_BASE_WANTED;
}

static void tell_result(const struct recovery_result *out)
{
    if (out->source == RECOVERY_NOTHING) return;
    if (out->dropped)
        log_write(LOG_WARNING,
                  "%" PRIu64 " units were left out: they stand behind, or are, a transaction that "
                  "the log of another shard lost with its tail; nobody was told that they are safe",
                  out->dropped);
    log_write(LOG_NOTICE,
              "Loaded %" PRIu64 " keys from '%s' in %.3f s (%" PRIu64 " units replayed, %" PRIu64
              " expired keys left out)",
              out->keys, out->path, (double)out->took_ms / 1000, out->units, out->expired);
}

bool recovery_result(struct recovery *r, struct recovery_result *out)
{
    struct epochs_sum sum = {.next_txid = 1};
    struct dir_error e;
    *out = (struct recovery_result){.source = r->source,
                                    .path = r->path,
                                    .manifest = &r->manifest,
                                    .next_epoch = r->last_epoch + 1};
    if (!crew_has_failed(&r->crew) && r->epochs && !epochs_close(r->epochs, &r->manifest, &sum, &e))
        crew_fail(&r->crew, &e);
    if (crew_has_failed(&r->crew)) {
        out->error = r->crew.error;
        return false;
    }
    for (uint32_t i = 0; i < r->rdb_count; i++) out->expired += r->rdb_parts[i].sum.expired;
    for (size_t i = 0; i < r->manifest.epoch_count; i++)
        out->next_epoch = r->manifest.epochs[i].number + 1;
    out->next_epoch = MAX(out->next_epoch, epoch_of(r->manifest.base) + 1);
    out->is_good = true;
    out->keys = key_count(r->engine);
    out->functions = library_count(r->engine);
    out->units = sum.units + r->commands;
    out->dropped = sum.dropped;
    out->cut_bytes = sum.cut_bytes;
    out->next_seq = sum.next_seq;
    out->next_txid = sum.next_txid;
    out->took_ms = clock_unix_ms() - r->began_ms;
    judge_base(r, &sum, out);
    tell_result(out);
    return true;
}
