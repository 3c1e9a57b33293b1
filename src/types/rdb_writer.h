// SPDX-License-Identifier: BSD-3-Clause
//
// rdb_writer: writes a value in its RDB layout (types/rdb.h), in steps, so that whoever writes a
// big one can do other things in between and never has all of it in memory. rdb_put_value is one
// step without end, so both write the same bytes.
//
// Between begin and end the value must not change: who wants to change it finishes the writer first
// (a step of SIZE_MAX). A step stops behind the element that used its budget up. Written in one go
// is only what is small: one element, a piece of a list, a node of a stream, and values whose
// encoding is compact. Strings longer than string_max are written in parts, and for that never
// compressed, as compression cannot stop half-way.
#pragma once
#include "types/hash.h"
#include "types/list.h"
#include "types/rdb.h"
#include "types/set.h"
#include "types/stream.h"
#include "types/zset.h"

#define RDB_WRITER_STRING_MAX ((size_t)1 << 20) // string_max, unless somebody changes it

struct rdb_writer {
    size_t string_max; // may be set after rdb_writer_begin
    // The rest is rdb_writer.c's.
    enum object_type type;
    struct value value;
    bool is_compressed, has_begun;
    size_t spent;      // of this step's budget
    struct slice rest; // of a long string that is being written
    // Puts the next part; false: there is none. NULL: what has begun is all.
    bool (*next)(struct rdb_writer *w, struct buf *out);
    bool has_second;    // a hash's value or a zset's score is next
    struct item second; // hashes
    double score;       // zsets
    int64_t first_ms;   // hashes: the first expiry of a field
    union {
        struct list_pieces pieces;
        struct set_iter set;
        struct zset_iter zset;
        struct hash_iter hash;
        struct stream_saver stream;
    };
};

// Not for strings.
void rdb_writer_begin(struct rdb_writer *w, enum object_type type, struct value value,
                      bool is_compressed);
// A string, whose bytes stay where they are until it is done.
void rdb_writer_begin_string(struct rdb_writer *w, struct slice s, bool is_compressed);
// Appends the next part, about `budget` bytes (counted before compression; SIZE_MAX: all that is
// left). True: that was the last.
bool rdb_writer_step(struct rdb_writer *w, struct buf *out, size_t budget);
// Frees what the writer holds, done or not; the value is the caller's.
void rdb_writer_end(struct rdb_writer *w);
