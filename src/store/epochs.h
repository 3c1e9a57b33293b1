// SPDX-License-Identifier: BSD-3-Clause
//
// epochs: the logs that a manifest names, verified and replayed by all shards' threads.
//
//   epochs_open       one thread: all files are there and have the right headers
//   epochs_scan       all: every frame is verified; then one judges how the logs end, and how they
//                     follow each other; nothing has been replayed when it says no
//   epochs_replay     all: epoch by epoch. If it was written by as many shards as there are now,
//                     each thread replays its own log; else the first one replays all of them
//   epochs_close      one thread: torn tails are cut off, the manifest says where all logs end
//
// A transaction over several shards stands whole in the log of each. What a log lacks of those that
// another has is done when its end is reached (log_file.h: log_missing). When one thread replays
// all logs, each goes on for itself up to the next command on the whole database (FLUSHALL,
// FLUSHDB, SWAPDB), which all have; when all are there it runs once.
#pragma once
#include "base/stat.h"
#include "store/crew.h"
#include "store/log_file.h"
#include "store/manifest.h"

struct engine;
struct epochs;
struct settings;

// All arguments stay the caller's, and must stay. NULL: *e says why.
struct epochs *epochs_open(struct engine *engine, const struct settings *settings,
                           const struct manifest *manifest, const char *dir, struct dir_error *e);
void epochs_free(struct epochs *ep);

// Each member of the crew calls these; false: the crew has failed.
bool epochs_scan(struct epochs *ep, struct crew_member *m);
bool epochs_replay(struct epochs *ep, struct crew_member *m);

struct epochs_sum {
    uint64_t next_seq, next_txid;
    uint64_t units;   // replayed
    uint64_t dropped; // units from a transaction on that some log lacks
    uint64_t cut_bytes;
    uint64_t foreign_bytes; // of logs that were not written by as many shards as there are now
};
// After everything was replayed. `manifest` is a copy of the one in question; it gets all ends.
bool epochs_close(struct epochs *ep, struct manifest *manifest, struct epochs_sum *out,
                  struct dir_error *e);

// For progress, from any thread. Scanning counts half, replaying half.
uint64_t epochs_bytes_total(const struct epochs *ep);
uint64_t epochs_bytes_done(const struct epochs *ep);
