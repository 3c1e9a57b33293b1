// SPDX-License-Identifier: BSD-3-Clause
//
// manifest: which files of a data directory are the data, and in which order. Text, a line an item,
// the last line a checksum of those before it:
//
//   gyre-manifest 1
//   base gyre-3.base.rdb 1234567                   the snapshot everything begins with, its bytes
//   imported "appendonlydir/x.manifest" 90 17...   what Redis left, taken over: bytes, mtime in ns
//   epoch 7 shards 2 run 0123456789abcdef...       a set of logs that began together
//   log gyre-7-0.log shard 0 first-seq 123 end-seq 456 bytes 7890
//   log gyre-7-1.log shard 1 first-seq 99
//   crc32c 1a2b3c4d
//
// base and imported may be missing. Epochs ascend; each names one log for each of its shards, in
// order. end-seq and bytes stand there once the log is closed and synced: it must hold exactly
// that. A file that the manifest does not name is none of the data. It is replaced atomically, so
// that a switch to another set of files happens at one instant or not at all.
//
// Reading is strict: an unknown word, a missing log, a wrong checksum are errors that name file and
// line; a higher version number says that a newer Gyre wrote it.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "store/dir.h"
#include "store/log_format.h"

#define MANIFEST_NAME       "gyre.manifest"
#define MANIFEST_VERSION    1
#define MANIFEST_RUN_CHARS  40
#define MANIFEST_SHARDS_MAX 16384 // as many as there are slots
#define MANIFEST_NAME_CHARS 64    // any name of ours, with NUL and DIR_TEMPORARY

struct manifest_log {
    char name[MANIFEST_NAME_CHARS];
    uint64_t first_seq;
    bool is_closed;
    uint64_t end_seq; // closed: one above the seq of its last unit
    uint64_t bytes;   // closed
};

struct manifest_epoch {
    uint64_t number;
    uint32_t shard_count;
    char run[MANIFEST_RUN_CHARS + 1]; // of the process that began it: hexadecimal digits
    struct manifest_log *logs;        // owned; by shard
};

struct manifest {
    char base[MANIFEST_NAME_CHARS]; // "": none
    uint64_t base_bytes;
    char *imported; // owned; NULL: nothing
    uint64_t imported_bytes;
    int64_t imported_mtime_ns;
    struct manifest_epoch *epochs; // owned
    size_t epoch_count;
};

// "gyre-7-0.log", "gyre-7.base.rdb"
void manifest_log_name(char out[MANIFEST_NAME_CHARS], uint64_t epoch, uint32_t shard);
void manifest_base_name(char out[MANIFEST_NAME_CHARS], uint64_t epoch);
// Is this a name that Gyre gives to files in this directory (the manifest's own, logs, bases, and
// what was to become one of them)?
bool manifest_is_our_name(const char *name);

// What the header of a shard's log of this epoch says; its salt is made of the run.
struct log_header manifest_header(const struct manifest_epoch *epoch, uint32_t shard);
uint64_t manifest_salt(const char *run);

// `name` is for errors. False leaves *m empty.
bool manifest_parse(struct manifest *m, const char *name, struct slice text, struct dir_error *e);
void manifest_print(const struct manifest *m, struct buf *out);
void manifest_clear(struct manifest *m);                              // frees; it is empty then
void manifest_copy(struct manifest *to, const struct manifest *from); // `to` is overwritten

// Appends an epoch with its logs' names; first seqs are for the caller to fill in. The pointer is
// good until the next call. `number` is above all others'.
struct manifest_epoch *manifest_add_epoch(struct manifest *m, uint64_t number, uint32_t shard_count,
                                          const char *run);
// Forgets the epochs below `number`: a base replaces them.
void manifest_drop_epochs(struct manifest *m, uint64_t number);

// False with code ENOENT: there is none.
bool manifest_read(struct manifest *m, const char *dir, struct dir_error *e);
// Replaces the manifest in `dir`. After a failure the one before it or this one is in force.
bool manifest_write(const struct manifest *m, const char *dir, struct dir_error *e);
bool manifest_names(const struct manifest *m, const char *name);
// Deletes files of our own names that the manifest does not name, and syncs the directory: at the
// start, or when nothing is being made that a manifest will name. Each name and a newline is
// appended to `removed` (may be NULL).
bool manifest_remove_rubbish(const struct manifest *m, const char *dir, struct buf *removed,
                             struct dir_error *e);
