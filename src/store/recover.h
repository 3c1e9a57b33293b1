// SPDX-License-Identifier: BSD-3-Clause
//
// recover: from the files in the data directory to the data in memory, when the server starts.
//
//   appendonly yes   gyre.manifest in appenddirname: its base and the epochs of logs; else
//                    what redis-server left of its append-only log; else dbfilename; else nothing
//   appendonly no    dbfilename, else nothing
//
//   one thread:           r = recovery_open(&options, &error)   decides what there is to load
//   every shard's thread: recovery_run(r, shard, pause, arg)    all at once; each returns when all
//                                                               is loaded, or one of them failed
//   one thread, then:     recovery_result(r, &result)
//
// Nothing is guessed: what is not as the manifest says, or damaged, or claimed by both Gyre and
// redis-server is an error that names the file and what to do, and then the server must not start:
// the keyspaces hold part of the data. Only the torn tail of a log of the last epoch is cut off, if
// aof-load-truncated allows it.
//
// While it loads nobody else may touch keys. Afterwards the keyspaces are as if the commands had
// run, but nothing has been counted, and what is due has not expired yet.
//
// What is worth knowing is written to the server's log. Paths are relative to the working
// directory, which is the data directory.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "store/dir.h"
#include "store/manifest.h"

struct engine;
struct recovery;
struct settings;

struct recovery_options {
    struct engine *engine;           // its keyspaces are empty, and want no effects
    const struct settings *settings; // copied
    int64_t now_ms; // when the server starts: RDB entries due before it are dropped
};

enum recovery_source {
    RECOVERY_NOTHING,   // a fresh start
    RECOVERY_RDB,       // dbfilename
    RECOVERY_REDIS_AOF, // redis-server's append-only log
    RECOVERY_LOGS,      // our own
};

// Finds out what is to be loaded; quick, whatever its size. NULL: the server cannot start, *e says
// why.
struct recovery *recovery_open(const struct recovery_options *o, struct dir_error *e);
void recovery_free(struct recovery *r);

// On the thread of each shard, all at once. `pause` is called every few milliseconds, also while
// this thread waits for the others; it must not touch keys. Returns when all of them are done.
void recovery_run(struct recovery *r, uint32_t shard, void (*pause)(void *arg), void *arg);
// From any thread, at any time: the data are not wanted any more. recovery_run returns soon, on all
// threads, and recovery_result says that it was given up.
void recovery_cancel(struct recovery *r);

struct recovery_progress {
    uint64_t bytes_done, bytes_total; // of the files; done only grows
    int64_t began_ms;                 // Unix time; 0: it has not
};
// From any thread, for INFO.
void recovery_progress(const struct recovery *r, struct recovery_progress *out);

enum recovery_base {
    RECOVERY_BASE_FINE,
    RECOVERY_BASE_WANTED, // all is there, but the next start would be quicker with a new base
    RECOVERY_BASE_NEEDED, // what was loaded is in no file that the manifest names: until a base is
                          // safe there is no manifest to write
};

struct recovery_result {
    bool is_good;
    struct dir_error error; // is_good is false: why

    enum recovery_source source;
    const char *path;       // of what was loaded, or would have been; "" if nothing. Stays r's
    uint64_t keys, expired; // keys there are; dropped from an RDB file that stands alone
    uint64_t functions;     // libraries of functions
    uint64_t units;         // replayed: commands, scripts, transactions
    uint64_t dropped;       // units from a transaction on that another log had lost
    uint64_t cut_bytes;     // torn tails
    int64_t took_ms;

    // What to go on with: the base and the epochs there were, all closed (nothing if the source is
    // another), and what was imported. The caller adds an epoch and writes it. r's until taken:
    // copy it, or move it out and leave it empty.
    struct manifest *manifest;
    uint64_t next_seq;   // for the first unit of any shard's log
    uint64_t next_txid;  // 1 at least
    uint64_t next_epoch; // above all that the manifest names; 1 at least
    enum recovery_base base;
};
// After all threads' recovery_run has returned. False: see out->error.
bool recovery_result(struct recovery *r, struct recovery_result *out);

// The log is turned on in a directory where redis-server's files lie that have not been read: notes
// in the manifest that they are known and older, so that the next start does not stop at them.
void recovery_note_redis(struct manifest *m, const struct settings *settings);
