// SPDX-License-Identifier: BSD-3-Clause
//
// log_file: reads one log file. First log_file_open, then log_file_scan: every frame is verified,
// and the scan says where the good part ends and how. Then, as often as one likes, cursors over the
// units of the good part; what they return points into the mapped file and stays until
// log_file_close. After the scan any number of threads may read at once.
//
// Reading stops at the first frame that is not good. What that means:
//
//   clean     the file ends there, or all that follows are zeros (space reserved ahead)
//   torn      a write that a power cut broke off: what follows was never known to be synced
//   damaged   a frame further on says that what cannot be read had been synced; or a frame has the
//             right checksum but breaks a rule that no power cut breaks (seqs, txids, units)
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/stat.h"
#include "store/dir.h"
#include "store/log_format.h"

enum log_end { LOG_END_CLEAN, LOG_END_TORN, LOG_END_DAMAGED };

struct log_scan {
    uint64_t frame_count, unit_count, transaction_count; // of the good part
    uint64_t next_seq;                                   // the first seq that is not in it
    uint64_t last_txid;                                  // 0: no transaction
    uint64_t good_bytes; // the good part, header included; 0 if there is none

    enum log_end end;
    uint64_t dropped_bytes; // behind the good part: torn or damaged bytes, or reserved zeros
    const char *reason;     // torn, damaged: what is wrong at good_bytes (a text that stays)
    uint64_t later_at;      // damaged, if not 0: offset of a good frame further on that knows ...
    uint64_t later_durable; // ... that all units below this seq had been synced
};

struct log_file {
    char *path; // owned
    const char *map;
    uint64_t bytes;
    struct log_header header;
    const char *header_fault; // NULL, or what is wrong with the header: `header` was expected
    struct log_scan scan;
    // A few places to begin at: what stands at `at` comes behind `last_txid`. Ascending.
    struct log_mark {
        uint64_t at, last_txid;
    } * marks; // owned
    size_t mark_count;
    // If not NULL, called by the scan every now and then; false: the scan is given up.
    bool (*pause)(void *arg);
    void *pause_arg;
};

// Opens, maps, and checks the header. False: nothing is left open; code 0: this is not a log file,
// or not the expected one. The header goes to the disk with the first frame; so if it is missing or
// cut off that is for the scan to judge, which knows where frames would be by what the header
// should say. expected: see manifest_header; NULL: any, but then it must be there.
bool log_file_open(struct log_file *f, const char *path, const struct log_header *expected,
                   struct dir_error *e);
// Fills f->scan. False only if the file cannot be read (EIO), which says nothing about its content.
// `progress`, if not NULL, is added to as bytes are read, for INFO; nobody else writes to it.
bool log_file_scan(struct log_file *f, stat_u64 *progress, struct dir_error *e);
void log_file_close(struct log_file *f);

// One line on how it ends, with file and offsets, and what to do if it is damaged; for the server's
// log and for gyre-check. No newline.
void log_file_describe(const struct log_file *f, struct buf *out);

// --- units, in order -----------------------------------------------------------------------------

struct log_cursor {
    const struct log_file *file;
    uint64_t at;          // the next frame
    struct slice payload; // what is left of this one
    uint64_t seq;         // of the unit that log_cursor_next returned
    uint64_t next_seq;
};

// At the first unit of the good part. The file has been scanned.
void log_cursor_begin(struct log_cursor *c, const struct log_file *f);
bool log_cursor_next(struct log_cursor *c, struct log_unit *unit);

// --- transactions that a log lacks ---------------------------------------------------------------
//
// A transaction stands whole in the log of each shard that it touched, and each log's txids ascend.
// So what shard s lacks are the transactions with a group for s and a txid above the last one in
// the log of s, in whichever log of the same epoch they are found.

struct log_missing {
    struct log_missing_item {
        uint64_t txid;
        uint32_t shard;       // that lacks it
        struct slice effects; // of its group; in the mapped file
    } * items;                // owned
    size_t count, cap;
};

// Adds what is found in `f`. last_txids: for each of shard_count shards (shards beyond are
// ignored).
void log_missing_collect(struct log_missing *m, const struct log_file *f,
                         const uint64_t *last_txids, uint32_t shard_count);
// Sorts by shard, then txid, and drops what was found more than once.
void log_missing_sort(struct log_missing *m);
void log_missing_free(struct log_missing *m);
