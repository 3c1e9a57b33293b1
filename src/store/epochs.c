// SPDX-License-Identifier: BSD-3-Clause
//
// To the replay a log is a stream of units: those in the file, and behind them the transactions
// that it lacks.
#include "store/epochs.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/settings.h"
#include "store/log_chain.h"
#include "store/replay.h"

struct epoch {
    const struct manifest_epoch *entry; // in the manifest, which is the caller's in the end
    uint32_t log_count;
    struct log_file *logs;     // by shard; owned
    uint64_t *last_txids;      // by shard, of what counts; owned
    uint64_t *limits;          // by shard: units from this seq on do not count; owned
    struct log_missing *found; // by log in which it was found; owned
    bool is_last;
};

struct part { // what one thread has done; others look at it
    stat_u64 scanned_bytes, replayed_bytes;
    stat_u64 units;
};

struct epochs {
    struct engine *engine;
    const struct settings *settings;
    struct epoch *items; // owned
    size_t count, opened;
    uint64_t log_bytes;
    uint32_t log_count;                       // of all epochs
    _Atomic uint32_t next_scan, next_collect; // which log is next for whoever has nothing to do
    struct part *parts;                       // by thread; owned
};

// --- opening and closing -------------------------------------------------------------------------

static bool open_epoch(struct epochs *ep, struct epoch *epoch, const char *dir, struct dir_error *e)
{
    uint32_t count = epoch->log_count = epoch->entry->shard_count;
    epoch->logs = mem_calloc(count * sizeof epoch->logs[0]);
    epoch->last_txids = mem_calloc(count * sizeof epoch->last_txids[0]);
    epoch->limits = mem_calloc(count * sizeof epoch->limits[0]);
    epoch->found = mem_calloc(count * sizeof epoch->found[0]);
    for (uint32_t i = 0; i < count; i++) {
        struct log_header header = manifest_header(epoch->entry, i);
        char *path = dir_join(dir, epoch->entry->logs[i].name);
        bool is_good = log_file_open(&epoch->logs[i], path, &header, e);
        mem_free(path);
        if (!is_good) return false;
        ep->log_bytes += epoch->logs[i].bytes;
        ep->log_count++;
    }
    return true;
}

struct epochs *epochs_open(struct engine *engine, const struct settings *settings,
                           const struct manifest *manifest, const char *dir, struct dir_error *e)
{
    struct epochs *ep = mem_calloc(sizeof *ep);
    ep->engine = engine;
    ep->settings = settings;
    ep->count = manifest->epoch_count;
    ep->items = mem_calloc(MAX(ep->count, 1) * sizeof ep->items[0]);
    ep->parts = mem_calloc(engine->shard_count * sizeof ep->parts[0]);
    for (size_t i = 0; i < ep->count; i++) {
        ep->items[i].entry = &manifest->epochs[i];
        ep->items[i].is_last = i + 1 == ep->count;
        ep->opened++;
        if (open_epoch(ep, &ep->items[i], dir, e)) continue;
        epochs_free(ep);
        return NULL;
    }
    return ep;
}

static void free_epoch(struct epoch *epoch)
{
    for (uint32_t i = 0; i < epoch->log_count; i++) {
        if (epoch->logs[i].path) log_file_close(&epoch->logs[i]);
        log_missing_free(&epoch->found[i]);
    }
    mem_free(epoch->logs);
    mem_free(epoch->last_txids);
    mem_free(epoch->limits);
    mem_free(epoch->found);
}

void epochs_free(struct epochs *ep)
{
    if (!ep) return;
    for (size_t i = 0; i < ep->opened; i++) free_epoch(&ep->items[i]);
    mem_free(ep->items);
    mem_free(ep->parts);
    mem_free(ep);
}

uint64_t epochs_bytes_total(const struct epochs *ep)
{
    return ep->log_bytes;
}

uint64_t epochs_bytes_done(const struct epochs *ep)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < ep->engine->shard_count; i++)
        sum += stat_get(&ep->parts[i].scanned_bytes) + stat_get(&ep->parts[i].replayed_bytes);
    return sum / 2;
}

// --- the scan ------------------------------------------------------------------------------------

// The next log for whoever has nothing to do. False: there is none left.
static bool take_log(struct epochs *ep, _Atomic uint32_t *next, struct epoch **epoch, uint32_t *log)
{
    // Relaxed: each number is taken once, that is all.
    uint32_t n = atomic_fetch_add_explicit(next, 1, memory_order_relaxed);
    if (n >= ep->log_count) return false;
    for (*epoch = ep->items; n >= (*epoch)->entry->shard_count; ++*epoch)
        n -= (*epoch)->entry->shard_count;
    *log = n;
    return true;
}

static bool breathe(void *member)
{
    return crew_breathe(member);
}

static bool scan_logs(struct epochs *ep, struct crew_member *m)
{
    struct epoch *epoch;
    struct dir_error e;
    uint32_t i;
    while (take_log(ep, &ep->next_scan, &epoch, &i)) {
        struct log_file *f = &epoch->logs[i];
        f->pause = breathe;
        f->pause_arg = m;
        if (!log_file_scan(f, &ep->parts[m->index].scanned_bytes, &e)) {
            crew_fail(m->crew, &e);
            return false;
        }
        const struct manifest_log *log = &epoch->entry->logs[i];
        epoch->limits[i] = log->is_closed ? log->end_seq : UINT64_MAX;
        epoch->last_txids[i] = f->scan.last_txid;
    }
    return true;
}

// May the torn tails be cut off?
static bool may_cut(const struct epochs *ep, const struct log_file *f, struct dir_error *e)
{
    if (f->scan.end != LOG_END_TORN || ep->settings->aof_load_truncated) return true;
    struct buf text = {0};
    log_file_describe(f, &text);
    dir_fail(e, "%.*s; so does the server itself, with `aof-load-truncated yes`",
             SLICE_ARG(buf_slice(&text)));
    buf_free(&text);
    return false;
}

static bool judge_epoch(const struct epochs *ep, const struct epoch *epoch, struct dir_error *e)
{
    for (uint32_t i = 0; i < epoch->entry->shard_count; i++) {
        const struct log_file *f = &epoch->logs[i];
        if (!log_chain_fits(f, &epoch->entry->logs[i], epoch->is_last, e)) return false;
        if (!may_cut(ep, f, e)) return false;
    }
    if (epoch == ep->items) return true;
    const struct epoch *before = epoch - 1;
    return log_chain_follows(before->entry, before->logs, epoch->entry, e);
}

static bool judge(const struct epochs *ep, struct dir_error *e)
{
    for (size_t i = 0; i < ep->count; i++)
        if (!judge_epoch(ep, &ep->items[i], e)) return false;
    return true;
}

// What the others lack is looked for in each log.
static void collect_missing(struct epochs *ep)
{
    struct epoch *epoch;
    uint32_t i;
    while (take_log(ep, &ep->next_collect, &epoch, &i))
        log_missing_collect(&epoch->found[i], &epoch->logs[i], epoch->last_txids,
                            epoch->entry->shard_count);
}

static bool is_in_all_logs(const struct epoch *epoch, const struct log_unit *unit)
{
    struct slice groups = unit->groups, effects;
    uint32_t shard;
    while (log_group_next(&groups, &shard, &effects))
        if (shard >= epoch->log_count || unit->txid > epoch->last_txids[shard]) return false;
    return true;
}

// What counts of a log ends at its limit, and before the first transaction that another log lacks.
// True: it ends earlier than was known.
static bool shorten(struct epoch *epoch, uint32_t i)
{
    uint64_t last_txid = 0;
    struct log_cursor cursor;
    struct log_unit unit;
    log_cursor_begin(&cursor, &epoch->logs[i]);
    while (log_cursor_next(&cursor, &unit) && cursor.seq < epoch->limits[i]) {
        if (unit.kind != LOG_TRANSACTION) continue;
        if (!is_in_all_logs(epoch, &unit)) {
            epoch->limits[i] = cursor.seq;
            break;
        }
        last_txid = unit.txid;
    }
    bool is_shorter = last_txid < epoch->last_txids[i];
    epoch->last_txids[i] = last_txid;
    return is_shorter;
}

// A transaction counts if the logs of all shards that it touched have it; nothing behind one that
// does not was told to anybody as safe (log.h). Where one log ends earlier for that, others may
// have to.
static void settle(struct epoch *epoch)
{
    size_t missing = 0;
    for (uint32_t i = 0; i < epoch->log_count; i++) missing += epoch->found[i].count;
    bool is_shorter = missing != 0;
    while (is_shorter) {
        is_shorter = false;
        for (uint32_t i = 0; i < epoch->log_count; i++) is_shorter |= shorten(epoch, i);
    }
}

bool epochs_scan(struct epochs *ep, struct crew_member *m)
{
    struct dir_error e;
    if (!scan_logs(ep, m) || !crew_meet(m)) return false;
    if (m->index == 0 && !judge(ep, &e)) crew_fail(m->crew, &e);
    if (!crew_meet(m)) return false;
    collect_missing(ep);
    if (!crew_meet(m)) return false;
    for (size_t i = 0; i < ep->count && m->index == 0; i++) settle(&ep->items[i]);
    return crew_meet(m);
}

// --- streams -------------------------------------------------------------------------------------

struct stream {
    struct epoch *epoch;
    uint32_t shard; // whose log this is
    struct log_cursor cursor;
    bool is_over;
    struct slice left; // effects of the unit at hand that have not been read
    uint64_t txid;     // of the unit at hand; 0: it is a local one
    struct replay_origin origin;
    uint64_t told; // bytes that are counted as replayed
};

static void stream_begin(struct stream *s, struct epoch *epoch, uint32_t shard)
{
    *s = (struct stream){.epoch = epoch, .shard = shard};
    s->origin = (struct replay_origin){.path = epoch->logs[shard].path, .counts = "seq"};
    log_cursor_begin(&s->cursor, &epoch->logs[shard]);
}

// The log's own part of the next unit.
static bool next_in_log(struct stream *s)
{
    struct log_unit unit;
    if (s->is_over || !log_cursor_next(&s->cursor, &unit)) return false;
    if (s->cursor.seq >= s->epoch->limits[s->shard]) {
        s->is_over = true;
        return false;
    }
    s->origin.number = s->cursor.seq;
    s->left = unit.effects;
    s->txid = 0;
    if (unit.kind == LOG_LOCAL) return true;
    s->txid = unit.txid;
    if (!log_unit_group(&unit, s->shard, &s->left)) s->left.len = 0;
    return true;
}

static void tell_progress(struct stream *s, struct part *part)
{
    uint64_t at = s->cursor.at - s->cursor.payload.len;
    stat_add(&part->replayed_bytes, at - s->told);
    s->told = at;
}

static bool stream_next(struct stream *s, struct part *part)
{
    if (!next_in_log(s)) return false;
    stat_add(&part->units, 1);
    if (stat_get(&part->units) % REPLAY_BATCH == 0) tell_progress(s, part);
    return true;
}

// Up to its end, or (stops) to the next command on the whole database.
static enum replay_step stream_run(struct stream *s, struct replay *p, struct part *part,
                                   bool stops)
{
    for (;;) {
        enum replay_step step = replay_effects(p, &s->left, &s->origin, stops);
        if (step != REPLAY_DONE) return step;
        if (stream_next(s, part)) continue;
        tell_progress(s, part);
        return replay_flush(p) ? REPLAY_DONE : REPLAY_FAILED;
    }
}

// --- as many shards as now -----------------------------------------------------------------------

static bool replay_own(struct epochs *ep, struct epoch *epoch, struct crew_member *m)
{
    struct stream stream;
    struct replay p;
    replay_init(&p, ep->engine, ep->settings, &ep->engine->spaces[m->index], 1, m);
    stream_begin(&stream, epoch, m->index);
    bool is_good = stream_run(&stream, &p, &ep->parts[m->index], false) == REPLAY_DONE;
    if (!is_good) crew_fail(m->crew, &p.error);
    replay_free(&p);
    return is_good;
}

// --- another number of shards --------------------------------------------------------------------

// All streams stand at a command on the whole database: the same one? Then it runs once, and all
// are behind it.
static bool run_everywhere(struct replay *p, struct stream *streams, uint32_t count)
{
    struct effect_reader first = {.left = streams[0].left};
    effect_next(&first); // it has been read before
    struct slice effect = {streams[0].left.ptr, streams[0].left.len - first.left.len};
    effect_reader_free(&first);
    for (uint32_t i = 0; i < count; i++) {
        struct stream *s = &streams[i];
        if (s->txid != streams[0].txid || s->left.len < effect.len ||
            memcmp(s->left.ptr, effect.ptr, effect.len) != 0) {
            dir_fail(&p->error,
                     "'%s', %s %" PRIu64 ": a command on the whole database that '%s' has not at "
                     "this place",
                     s->origin.path, s->origin.counts, s->origin.number, streams[0].origin.path);
            return false;
        }
        s->left.ptr += effect.len;
        s->left.len -= effect.len;
    }
    return replay_effects(p, &effect, &streams[0].origin, false) == REPLAY_DONE && replay_flush(p);
}

// Every stream up to the next command on the whole database. *waiting: how many there stand.
static bool run_streams(struct replay *p, struct stream *streams, uint32_t count, struct part *part,
                        uint32_t *waiting)
{
    const struct stream *done = NULL, *stopped = NULL;
    *waiting = 0;
    for (uint32_t i = 0; i < count; i++) {
        enum replay_step step = stream_run(&streams[i], p, part, count > 1);
        if (step == REPLAY_FAILED) return false;
        *waiting += step == REPLAY_STOP;
        if (step == REPLAY_STOP)
            stopped = &streams[i];
        else
            done = &streams[i];
    }
    if (!done || !stopped) return true;
    dir_fail(&p->error, "'%s', %s %" PRIu64 ": a command on the whole database that '%s' has not",
             stopped->origin.path, stopped->origin.counts, stopped->origin.number,
             done->origin.path);
    return false;
}

static bool replay_all(struct epochs *ep, struct epoch *epoch, struct crew_member *m)
{
    uint32_t count = epoch->entry->shard_count, waiting;
    struct stream *streams = mem_alloc(count * sizeof streams[0]);
    struct replay p;
    bool is_good;
    replay_init(&p, ep->engine, ep->settings, ep->engine->spaces, ep->engine->shard_count, m);
    for (uint32_t i = 0; i < count; i++) stream_begin(&streams[i], epoch, i);
    do is_good = run_streams(&p, streams, count, &ep->parts[m->index], &waiting);
    while (is_good && waiting && (is_good = run_everywhere(&p, streams, count)));
    if (!is_good) crew_fail(m->crew, &p.error);
    replay_free(&p);
    mem_free(streams);
    return is_good;
}

bool epochs_replay(struct epochs *ep, struct crew_member *m)
{
    for (size_t i = 0; i < ep->count; i++) {
        struct epoch *epoch = &ep->items[i];
        bool is_good = true;
        if (epoch->entry->shard_count == ep->engine->shard_count)
            is_good = replay_own(ep, epoch, m);
        else if (m->index == 0)
            is_good = replay_all(ep, epoch, m);
        if (!is_good || !crew_meet(m)) return false;
    }
    return true;
}

// --- the end -------------------------------------------------------------------------------------

static bool close_log(const struct log_file *f, uint64_t limit, struct manifest_log *log,
                      struct epochs_sum *sum, struct dir_error *e)
{
    const struct log_scan *s = &f->scan;
    sum->next_seq = MAX(sum->next_seq, s->next_seq);
    sum->next_txid = MAX(sum->next_txid, s->last_txid + 1);
    if (s->end == LOG_END_TORN) {
        log_write(LOG_WARNING,
                  "'%s' was torn at offset %" PRIu64 " (%s): the last %" PRIu64
                  " bytes, which were never known to be synced, are cut off",
                  f->path, s->good_bytes, s->reason, s->dropped_bytes);
        if (!dir_cut_file(f->path, s->good_bytes, e)) return false;
        sum->cut_bytes += s->dropped_bytes;
    }
    // The process that wrote it may have died, not the machine: its last writes are in memory.
    if (!log->is_closed && !dir_sync_file(f->path, e)) return false;
    if (!log->is_closed) sum->dropped += s->next_seq - MIN(s->next_seq, limit);
    log->is_closed = true;
    log->end_seq = MIN(s->next_seq, limit);
    log->bytes = s->good_bytes;
    return true;
}

bool epochs_close(struct epochs *ep, struct manifest *manifest, struct epochs_sum *out,
                  struct dir_error *e)
{
    *out = (struct epochs_sum){.next_txid = 1};
    for (size_t i = 0; i < ep->count; i++) {
        struct manifest_epoch *entry = &manifest->epochs[i];
        bool is_foreign = entry->shard_count != ep->engine->shard_count;
        for (uint32_t k = 0; k < entry->shard_count; k++) {
            const struct log_file *f = &ep->items[i].logs[k];
            if (!close_log(f, ep->items[i].limits[k], &entry->logs[k], out, e)) return false;
            if (is_foreign) out->foreign_bytes += f->scan.good_bytes;
        }
    }
    for (uint32_t i = 0; i < ep->engine->shard_count; i++) {
        out->units += stat_get(&ep->parts[i].units);
    }
    return true;
}
