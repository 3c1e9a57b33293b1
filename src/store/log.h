// SPDX-License-Identifier: BSD-3-Clause
//
// log: one shard's append-only log, from the units that commands leave behind to bytes that are
// safe on the disk (log_format.h has the bytes).
//
//   log_append, log_reserve     units, in the order of execution, gather in memory
//   log_flush, once a turn      what has gathered goes out as one frame in one write
//   hooks->advanced             replies to units below log_safe may leave now
//
// What "safe" means is the policy's: written to the file (everysec, no), or synced (always). Under
// `always` a write and a sync take turns, and what gathers meanwhile goes out together: group
// commit. A unit that is part of a transaction over several shards may not be known yet when its
// place in the log is: its slot is reserved, and what stands behind it waits until it is filled.
//
// A unit over several shards is safe when all their logs have it and everything before it: each
// log votes when it has come to it, and nothing behind it is safe before all have voted. So
// recovery can drop what some log lacks, and all behind it, and never drops what somebody was told.
//
// A new file (log_rotate) counts for nothing until the manifest names it (log_is_named): until then
// nothing that was written to it is safe.
//
// Trouble: a write that fails is repeated, a second later, at the same place. After a sync that
// failed nobody knows what the disk has; the log is broken then, keeps what comes in memory, and
// works again when it is rotated onto a snapshot that is durable (log_rotate, log_base_is_durable).
//
// Owned by the shard's thread.
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/stat.h"
#include "store/log_format.h"

struct ring;
struct log;
struct log_slot;

enum log_policy { LOG_SYNC_NO, LOG_SYNC_ALWAYS, LOG_SYNC_EVERYSEC };

// A unit as it stands in the log, shared by the logs of all shards that it touched.
struct log_record {
    _Atomic uint32_t refs;
    _Atomic uint32_t votes_left; // logs in which it is not safe yet; 0 where one log has it all
    size_t len;
    char bytes[];
};
// For `count` logs, with a reference for each; the bytes are the caller's to write.
struct log_record *log_record_new(size_t len, uint32_t count);
void log_record_unref(struct log_record *r);

struct log_hooks {
    // A write ("aof-write") or, under `always`, a sync ("aof-fsync-always") took so long.
    void (*took)(void *owner, const char *what, uint64_t us);
    void (*advanced)(void *owner); // log_safe has grown
    // What log_rotate was asked for is done: the old file was closed with so many bytes and up to
    // that seq (all synced, but if was_broken nobody knows), and the header of the new one, which
    // begins with this seq, is written (not synced). Not if it had its header before.
    void (*rotated)(void *owner, bool was_broken, uint64_t old_bytes, uint64_t old_end_seq,
                    uint64_t first_seq);
    // All logs that share the record have it: the others are to be told (log_look_again).
    void (*decided)(void *owner, struct log_record *record);
    // A write or a sync failed (errno), or (0) works again.
    void (*trouble)(void *owner, int error, const char *doing, const char *path);
};

struct log_totals {         // published for INFO
    stat_u64 file_bytes;    // of the present file
    stat_u64 pending_bytes; // in memory, not written yet
    stat_u64 sync_count, delayed_syncs;
    stat_u64 is_sync_running;
};

// Writes go to nowhere until log_rotate names a file. `totals` stays the caller's.
struct log *log_new(struct ring *ring, const struct log_hooks *hooks, void *owner,
                    struct log_totals *totals, uint64_t first_seq);
// Closes the file and drops what was not written: log_flush_now comes before. What is under way
// must have ended (log_is_idle).
void log_free(struct log *l);

// One unit of this shard alone; returns the seq behind it.
uint64_t log_append(struct log *l, struct slice effects);
// A unit over several shards; a reference is taken over.
uint64_t log_append_record(struct log *l, struct log_record *r);
// A unit that is not known yet. Its slot is valid until log_fill.
struct log_slot *log_reserve(struct log *l);
// What the unit was; a reference is taken over. NULL: nothing (the slot's seq stays empty).
void log_fill(struct log *l, struct log_slot *slot, struct log_record *r);

// While it is optional everything is safe at once.
void log_set_optional(struct log *l, bool is_optional);
// From here on units go to this empty file, open for writing: all before is written to the old one
// and synced first. `header`: all but first_seq is set; crc 0: the log writes it, else it stands
// in the file already (and first_seq is right); copied. The log owns fd from now
// on. path: for messages, copied. Returns the seq of the first unit that goes there.
uint64_t log_rotate(struct log *l, int fd, const struct log_header *header, const char *path);
// A record that this log waits for may have been decided.
void log_look_again(struct log *l);
// The manifest names the file of the last log_rotate.
void log_is_named(struct log *l);
// A snapshot of everything before the last log_rotate is safe on the disk.
void log_base_is_durable(struct log *l);

// Writes what has gathered, syncs when it is time.
void log_flush(struct log *l, enum log_policy policy, int64_t now_ms);
// When log_flush has something to do though nothing is appended: Unix ms, or INT64_MAX.
int64_t log_next_ms(const struct log *l);
// Writes and syncs everything in the calling thread (stop of the server). False: it failed.
bool log_flush_now(struct log *l);
bool log_is_idle(const struct log *l); // no write or sync is under way

// The seq behind the last unit; and the one below which all units are safe.
uint64_t log_end(const struct log *l);
uint64_t log_safe(const struct log *l);
// Is all that was appended safe?
static inline bool log_is_safe(const struct log *l, uint64_t seq)
{
    return seq <= log_safe(l);
}
