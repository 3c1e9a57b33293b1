// SPDX-License-Identifier: BSD-3-Clause
//
// rdb_load: an RDB file becomes the data of a server that serves nobody yet. All shards' threads
// call rdb_load_shard at once: each walks the whole file, takes the keys that are its shard's and
// passes over the others. Nothing is written to logs, nobody is notified.
//
//   struct rdb_progress progress[shards] = {0};
//   each thread:  ok[i] = rdb_load_shard(&file, engine, i, &options, &progress[i], error[i]);
//   then one:     rdb_load_finish(&file, progress, shards, &options, &sum, error)
//
// If one of them fails the data is not whole: the caller empties it or does not start.
#pragma once
#include "base/stat.h"
#include "store/rdb_file.h"

struct engine;

struct rdb_load_options {
    const struct settings *settings; // limits of encodings, eviction policy, rdbchecksum
    int64_t now_ms;
    bool drops_expired; // keys whose time is over are not loaded, only counted
    // Called on shard 0's thread for each library of functions, in order; false: *error (of
    // RDB_FILE_ERROR_MAX bytes) says why the load fails. NULL: functions are passed over.
    bool (*function)(void *arg, struct slice code, char *error);
    // Called on shard 0's thread for each aux field; NULL: nobody wants them.
    void (*aux)(void *arg, struct slice name, struct slice text);
    // Called every now and then on each shard's thread; false: the load is given up. May be NULL.
    bool (*pause)(void *arg, uint32_t shard);
    void *arg;
};

// What one shard's thread has done. Zero at first, written by that thread only; `bytes` is for
// others to look at meanwhile.
struct rdb_progress {
    stat_u64 bytes;                // of the file, walked so far; its whole length when done
    uint64_t keys, expired, empty; // loaded; dropped; passed over since they had no elements
    uint64_t crc;                  // this shard's part of the sum
    uint64_t end;                  // offset behind the checksum; less than the file's length if
                                   // something else follows
};

// error: RDB_FILE_ERROR_MAX bytes, written to if false is returned.
bool rdb_load_shard(const struct rdb_file *f, struct engine *e, uint32_t shard,
                    const struct rdb_load_options *o, struct rdb_progress *progress, char *error);
// After all shards have returned true: is the checksum right? *sum: of all shards.
bool rdb_load_finish(const struct rdb_file *f, const struct rdb_progress *progress, uint32_t shards,
                     const struct rdb_load_options *o, struct rdb_progress *sum, char *error);
