// SPDX-License-Identifier: BSD-3-Clause
//
// redis_aof: what redis-server left behind of its append-only log, found and read, never written
// to.
//
//   <dir>/<appenddirname>/<appendfilename>.manifest     Redis 7: names the files, see redis_aof.c
//                         <appendfilename>.3.base.rdb   (or .aof) the data at some instant
//                         <appendfilename>.4.incr.aof   what happened since, in one or more files
//   <dir>/<appendfilename>                              Redis 6 and older: one file
//
//   redis_aof_open(dir, ..., &aof, &e)
//   for each of aof.files, in order, each beginning in database 0:
//       redis_aof_reader_open(&r, file, &e)
//       if file->has_rdb: load r.bytes as an RDB file, redis_aof_reader_skip(&r, where it ends)
//       while redis_aof_next(&r, &argc, &argv) == REDIS_AOF_COMMAND: execute
//       redis_aof_reader_close(&r)
//
// Nothing of what is read is trusted. A transaction's commands are handed out only if its EXEC is
// there. The last file may end in the middle of something, as a crash leaves it (REDIS_AOF_TORN:
// aof-load-truncated decides); whatever else is wrong is REDIS_AOF_DAMAGED, and so is an end in the
// middle of a command behind which other commands can be found: there a length is wrong, and to
// call it a torn tail would be to drop what is intact.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "store/dir.h"

#define REDIS_AOF_MANIFEST_BYTES_MAX (16 << 20) // Redis adds a line for each rewrite that failed
#define REDIS_AOF_LINE_BYTES_MAX     1024       // of a manifest, as Redis has it

// --- what there is -------------------------------------------------------------------------------

// Tells later whether Redis's files are still those that were read.
struct redis_aof_identity {
    char *path;       // owned; of the manifest, or of the old single file, relative to `dir`
    uint64_t bytes;   // of the manifest and all files that it names
    int64_t mtime_ns; // the newest of theirs
};

struct redis_aof_file {
    char *name;     // owned; as the manifest has it
    char *path;     // owned; `dir` included
    uint64_t bytes; // its length when it was found
    bool is_base;   // the data at an instant; others: what happened afterwards
    bool has_rdb;   // begins with an RDB file; commands may follow
    bool is_last;   // nothing was written after it: its tail may be torn
};

struct redis_aof {
    struct redis_aof_file *files; // owned; in the order in which they are to be read
    uint32_t file_count, file_cap;
    uint64_t total_bytes; // of the files
    struct redis_aof_identity identity;
};

enum redis_aof_found { REDIS_AOF_NONE, REDIS_AOF_FOUND, REDIS_AOF_ERROR };

// Looks for the files. *out is to be freed by redis_aof_free if FOUND; *e says what is wrong
// if ERROR.
enum redis_aof_found redis_aof_open(const char *dir, const char *appenddirname,
                                    const char *appendfilename, struct redis_aof *out,
                                    struct dir_error *e);
void redis_aof_free(struct redis_aof *a);
// A manifest's text: fills `files` with names (base first), paths NULL. History files, which Redis
// was about to remove, are left out. False with "name:line: what" in *e; free *out all the
// same.
bool redis_aof_parse_manifest(const char *name, struct slice text, struct redis_aof *out,
                              struct dir_error *e);

enum redis_aof_change {
    REDIS_AOF_SAME,
    REDIS_AOF_CHANGED, // written to since, or unreadable now (*e says which)
    REDIS_AOF_GONE,    // there are none any more
};
// Has anything happened to Redis's files since the identity was taken?
enum redis_aof_change redis_aof_changed(const char *dir, const char *appenddirname,
                                        const char *appendfilename,
                                        const struct redis_aof_identity *then, struct dir_error *e);

// --- commands of one file ------------------------------------------------------------------------

enum redis_aof_step {
    REDIS_AOF_COMMAND,
    REDIS_AOF_END,     // of the file, as it should be
    REDIS_AOF_TORN,    // the end of the last file is missing: r->error says what was dropped
    REDIS_AOF_DAMAGED, // r->error names file and offset
};

struct redis_aof_reader {
    const char *path;        // for messages; the caller's
    struct slice bytes;      // the file, mapped, or the caller's
    size_t pos;              // read so far
    size_t good_bytes;       // of what was read: whole commands and whole transactions end here
    size_t offset;           // of the command at hand
    uint64_t unit;           // which unit the command at hand is of: a transaction is one
    bool is_in_transaction;  // the command at hand is of one
    bool is_last, is_mapped; // see redis_aof_file
    enum redis_aof_step last_step;
    struct slice *argv; // owned; of the command at hand
    size_t argv_cap;
    const char *why; // what is wrong at
    size_t why_at;   // this offset, while an error comes up
    struct dir_error error;
};

// Maps the file, which nobody may shorten meanwhile. If false, there is nothing to close.
bool redis_aof_reader_open(struct redis_aof_reader *r, const struct redis_aof_file *file,
                           struct dir_error *e);
// The same of bytes in memory, which stay the caller's.
void redis_aof_reader_init(struct redis_aof_reader *r, const char *path, struct slice bytes,
                           bool is_last);
void redis_aof_reader_close(struct redis_aof_reader *r);
// Passes over the RDB file at the beginning; the commands begin at this offset.
void redis_aof_reader_skip(struct redis_aof_reader *r, size_t offset);
// The next command; argc >= 1. The words point into r->bytes, argv stays until the next call. After
// anything but COMMAND it says the same again.
enum redis_aof_step redis_aof_next(struct redis_aof_reader *r, int *argc, struct slice **argv);
