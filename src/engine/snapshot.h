// SPDX-License-Identifier: BSD-3-Clause
//
// snapshot: the image of a keyspace at one instant, the cut, taken while commands go on.
//
//   the cut       the keyspace's mark flips. Every entry carries the mark of its making: those with
//                 the old one have not been saved; new ones are none of the image's business
//   the walk      slices of the tables, between commands: what is not saved is saved
//   a writer      before it touches an entry that is not saved, it has it saved (snapshot_touch)
//
// So an entry is saved once, as it was at the cut, and memory is needed for nothing but what the
// writer to disk has not taken yet. Commands that write have their keys touched by engine_execute;
// the functions of keyspace.h touch what they change or delete themselves. A big value is saved
// piece by piece by the walk, and to its end at once if somebody wants to write to it. That takes
// long: who can put a write off asks first (snapshot_must_wait), which also sends the value to the
// head of the walk. A database that is flushed meanwhile is kept until it was walked.
//
// Owned as its keyspace is.
#pragma once
#include "engine/keyspace.h"

struct ctx;
struct kept_database;

#define SNAPSHOT_BIG_PARTS   256  // values of more parts are saved piece by piece
#define SNAPSHOT_GIANT_PARTS 4096 // to save values of more parts at once takes a millisecond or so
#define SNAPSHOT_GIANT_NODES 32   // of lists and streams: their parts are nodes
#define SNAPSHOT_PENDING_MAX 16

struct snapshot_pending {
    struct entry *entry;
    uint32_t db;
    bool is_awaited;
};

struct snapshot {
    struct keyspace *space;
    // Saves the entry of database `db` (as it was called at the cut). False: there is more of it,
    // and the call will be repeated; not if `at_once`. NULL: nothing is saved any more, the walk
    // only sets the marks.
    bool (*save)(struct snapshot *s, uint32_t db, const struct entry *e, bool at_once);
    void *owner;
    // From here on snapshot.c's.
    struct snapshot_pending pending[SNAPSHOT_PENDING_MAX]; // big values that the walk has found
    uint32_t pending_count;
    uint64_t finished_count; // of big values, so far
    uint32_t walked;         // databases up to here are done
    struct kept_database *kept;
};

// The instant of the image. `s` is zero but for `save` and `owner`, and lives until
// snapshot_end.
void snapshot_cut(struct keyspace *ks, struct snapshot *s);
// Saves some of what is not saved: about `budget` buckets or pieces of big values. True: that was
// all.
bool snapshot_walk(struct snapshot *s, uint32_t budget);
// Is the value giant, and not saved? Then a write to it had better be put off until
// `finished_count` has grown or the snapshot is over; the walk goes to it first.
bool snapshot_must_wait(struct db *db, struct entry *e);
// Is somebody told to wait?
bool snapshot_is_awaited(const struct snapshot *s);
// Nothing is wanted any more. The walk must go on to its end: only then can there be another cut.
void snapshot_give_up(struct snapshot *s);
// After the walk's end; or anywhere, when the keyspace is about to be freed.
void snapshot_end(struct snapshot *s);

void snapshot_save_now(struct db *db, struct entry *e);

// Before the entry or its value is changed, moved or freed.
static inline void snapshot_touch(struct db *db, struct entry *e)
{
    if (UNLIKELY(db->space->snapshot != NULL) && e->mark != db->space->mark)
        snapshot_save_now(db, e);
}

// All keys that ctx->cmd names, before it runs.
void snapshot_touch_keys(struct ctx *ctx);
// A database's table is about to go to the garbage. True: the snapshot keeps it until it was
// walked.
bool snapshot_keep(struct db *db);
// Has the key been saved, or is it none of the image's business? For assertions.
bool snapshot_is_saved(struct ctx *ctx, uint32_t db, struct slice key);
