// SPDX-License-Identifier: BSD-3-Clause
//
// Transactions are compared by going through all logs side by side: as each log's txids ascend, the
// least of those at hand is a transaction of which all copies are at hand.
#include "store/log_chain.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"

bool log_chain_fits(const struct log_file *f, const struct manifest_log *log, bool is_last,
                    struct dir_error *e)
{
    const struct log_scan *s = &f->scan;
    if (s->end == LOG_END_DAMAGED) {
        struct buf text = {0};
        log_file_describe(f, &text);
        dir_fail(e, "%.*s", SLICE_ARG(buf_slice(&text)));
        buf_free(&text);
        return false;
    }
    if (s->end == LOG_END_TORN && !is_last) {
        dir_fail(e,
                 "'%s' ends in the middle, at offset %" PRIu64
                 " (%s), but later logs follow it: bring the file back from a copy",
                 f->path, s->good_bytes, s->reason);
        return false;
    }
    // It may hold more units than count: those that recovery left out.
    if (log->is_closed && (s->next_seq < log->end_seq || s->good_bytes != log->bytes)) {
        dir_fail(e,
                 "'%s' ends with seq %" PRIu64 " and %" PRIu64
                 " bytes, but it was closed with seq %" PRIu64 " and %" PRIu64
                 " bytes: bring the file back from a copy",
                 f->path, s->next_seq, s->good_bytes, log->end_seq, log->bytes);
        return false;
    }
    return true;
}

bool log_chain_follows(const struct manifest_epoch *before, const struct log_file *logs_before,
                       const struct manifest_epoch *epoch, struct dir_error *e)
{
    if (strcmp(before->run, epoch->run) != 0) return true;
    if (before->shard_count != epoch->shard_count) {
        dir_fail(e,
                 "epochs %" PRIu64 " and %" PRIu64 " are of the same run, but not of as many "
                 "shards",
                 before->number, epoch->number);
        return false;
    }
    for (uint32_t i = 0; i < epoch->shard_count; i++) {
        uint64_t ended = logs_before[i].scan.next_seq, begins = epoch->logs[i].first_seq;
        if (ended == begins) continue;
        dir_fail(e,
                 "'%s' ends before seq %" PRIu64 ", but '%s' goes on with seq %" PRIu64
                 ": bring the file back from a copy",
                 logs_before[i].path, ended, epoch->logs[i].name, begins);
        return false;
    }
    return true;
}

// --- transactions --------------------------------------------------------------------------------

struct walk { // through the transactions of one log
    struct log_cursor cursor;
    struct log_unit unit; // the one at hand; unless is_done
    bool is_done;
};

static void step(struct walk *w)
{
    do w->is_done = !log_cursor_next(&w->cursor, &w->unit);
    while (!w->is_done && w->unit.kind != LOG_TRANSACTION);
}

static const struct walk *least_of(const struct walk *walks, uint32_t count)
{
    const struct walk *least = NULL;
    for (uint32_t i = 0; i < count; i++)
        if (!walks[i].is_done && (!least || walks[i].unit.txid < least->unit.txid))
            least = &walks[i];
    return least;
}

// Looks at a transaction, of which all copies are at hand.
static bool check_one(const struct walk *walks, const struct log_file *logs, uint32_t count,
                      const struct log_unit *unit, bool *is_complete, struct dir_error *e)
{
    struct slice groups = unit->groups, effects;
    uint32_t shard;
    *is_complete = true;
    for (uint32_t i = 0; i < count; i++)
        if (!walks[i].is_done && walks[i].unit.txid == unit->txid &&
            !slice_eq(walks[i].unit.groups, unit->groups)) {
            dir_fail(e,
                     "'%s': transaction %" PRIu64 " (seq %" PRIu64 ") is not the same as in "
                     "another log",
                     logs[i].path, unit->txid, walks[i].cursor.seq);
            return false;
        }
    while (log_group_next(&groups, &shard, &effects)) {
        if (shard >= count) continue;
        const struct walk *w = &walks[shard];
        if (!w->is_done && w->unit.txid == unit->txid) continue;
        *is_complete = false;
        if (unit->txid > logs[shard].scan.last_txid) continue;
        dir_fail(e, "'%s': transaction %" PRIu64 " is missing, but later ones are there",
                 logs[shard].path, unit->txid);
        return false;
    }
    return true;
}

bool log_chain_check_transactions(const struct log_file *logs, uint32_t count,
                                  struct log_chain_count *out, struct dir_error *e)
{
    struct walk *walks = mem_calloc(count * sizeof *walks);
    const struct walk *least;
    bool is_good = true;
    *out = (struct log_chain_count){0};
    for (uint32_t i = 0; i < count; i++) {
        log_cursor_begin(&walks[i].cursor, &logs[i]);
        step(&walks[i]);
    }
    while (is_good && (least = least_of(walks, count))) {
        struct log_unit unit = least->unit;
        bool is_complete;
        is_good = check_one(walks, logs, count, &unit, &is_complete, e);
        out->transactions++;
        out->incomplete += !is_complete;
        for (uint32_t i = 0; i < count; i++)
            if (!walks[i].is_done && walks[i].unit.txid == unit.txid) step(&walks[i]);
    }
    mem_free(walks);
    return is_good;
}
