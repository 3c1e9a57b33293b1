// SPDX-License-Identifier: BSD-3-Clause
//
// image: an RDB file on its way to the disk, made by several shards and one thread.
//
//   shard 0 ... n    image_cut, then image_work between commands: what the keyspace's snapshot
//                    saves (engine/snapshot.h) is serialised into chunks
//   the writer       image_write: takes the chunks, appends them to a temporary file, and when all
//                    shards are done gives it its checksum and its name
//
// A chunk stands alone (it begins with its database), so chunks of all shards come in any order.
// Only a big value goes over several: then the writer takes no other shard's before its end.
//
// What waits for the writer is bounded: image_work stops at IMAGE_QUEUE_BYTES a shard. What a
// command must have saved before it writes is never kept waiting and may exceed that.
//
// The writer may be held to a rate (image_options.rate_bytes). Then the shards wait for it most of
// the time; but when more than IMAGE_RUSH_BYTES wait, because commands write faster than that, it
// writes as fast as it can: memory matters more.
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/stat.h"
#include "store/dir.h"
#include "store/rdb_file.h"

#define IMAGE_QUEUE_BYTES (4u << 20)
#define IMAGE_RUSH_BYTES  (64u << 20)
// A dump's name before it is finished is as Redis's, of this process alone: servers may share a
// directory. (A base's ends with DIR_TEMPORARY: the append-only directory is one server's.)
#define IMAGE_TEMPORARY "temp-" // temp-PID.rdb

struct image;
struct engine;

struct image_options {
    const char *dir, *name; // where it goes; copied
    bool is_base;           // of an append-only directory
    bool is_compressed, has_checksum;
    struct rdb_file_options entries; // as the settings say (rdb_file_options_of)
    uint32_t shard_count;
    uint64_t rate_bytes; // a second; 0: no limit
    // Appends what belongs in front of all keys (functions); the writer's thread, after the cut.
    // May be NULL.
    void (*preamble)(void *arg, struct buf *out);
    void *arg;
};

struct image *image_new(const struct image_options *o);
// When nobody has to do with it any more: all shards are done, the writer has returned.
void image_free(struct image *im);

// --- a shard's side, on the thread that owns the keyspace ----------------------------------------

// The instant. Every shard's must be the same in the order of operations.
void image_cut(struct image *im, struct keyspace *ks);

enum image_state { IMAGE_MORE, IMAGE_FULL, IMAGE_DONE };
// Saves about `budget` buckets or pieces. FULL: the writer must catch up first. DONE: this shard's
// part is all handed over.
enum image_state image_work(struct image *im, struct keyspace *ks, uint32_t budget);

// --- the writer's side ---------------------------------------------------------------------------

// Writes until all shards are done, and finishes the file: synced, with its name in place. False:
// what failed; there is no file, and the shards' work from then on goes nowhere. *bytes: its size.
bool image_write(struct image *im, uint64_t *bytes, struct dir_error *e);
// From any thread: image_write is to fail soon ("it was given up").
void image_cancel(struct image *im);

// From any thread: from now on it is written as fast as can be.
void image_lift_limit(struct image *im);
// The dump that is being written to the working directory, if one is: the process ends at once.
void image_remove_temporary(void);

// Waits until all shards are done.
void image_wait(struct image *im);

// For INFO, from any thread.
struct image_progress {
    uint64_t keys_done, keys_total, bytes;
};
struct image_progress image_progress(const struct image *im);
