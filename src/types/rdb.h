// SPDX-License-Identifier: BSD-3-Clause
//
// rdb: values as the bytes that Redis writes into DUMP payloads and RDB files, and back. A value is
// written in the layout that Redis 7.0 reads; only hashes with expiring fields need those of 7.4.
// Every layout that Redis 3 to 7.4 writes is read.
//
//   type  layout                     written for                                        since
//   0     string                     strings                                            1.0
//   1     list: strings              -                                                  1.0
//   2     set: strings               sets in tables and listpacks                       1.0
//   3     zset: old doubles          -                                                  1.0
//   4     hash: strings              hashes in tables                                   1.0
//   5     zset: doubles              zsets in B+trees                                   3.9
//   9     hash: zipmap               -                                                  2.2
//   10    list: ziplist              -                                                  2.2
//   11    set: intset                sets in intsets                                    2.2
//   12    zset: ziplist              -                                                  2.4
//   13    hash: ziplist              -                                                  2.6
//   14    list: many ziplists        -                                                  3.2
//   15    stream                     -                                                  5.0
//   16    hash: listpack             hashes in listpacks                                7.0
//   17    zset: listpack             zsets in listpacks                                 7.0
//   18    list: many listpacks       lists                                              7.0
//   19    stream, 2nd edition        streams                                            7.0
//   20    set: listpack              -                                                  7.2
//   21    stream, 3rd edition        -                                                  7.2
//   24    hash: fields with expiry   hashes in tables, some fields of which expire      7.4
//   25    hash: listpack of triples  hashes in listpacks, some fields of which expire   7.4
//
// What is read is trusted in nothing: sizes, structure, counts, order, duplicates and numbers are
// all looked at, and memory is taken in proportion to bytes that are there. An empty collection is
// bad, as no key holds one.
#pragma once
#include "types/rdb_io.h"
#include "types/value.h"

enum rdb_type {
    RDB_STRING = 0,
    RDB_LIST = 1,
    RDB_SET = 2,
    RDB_ZSET = 3,
    RDB_HASH = 4,
    RDB_ZSET_2 = 5,
    RDB_HASH_ZIPMAP = 9,
    RDB_LIST_ZIPLIST = 10,
    RDB_SET_INTSET = 11,
    RDB_ZSET_ZIPLIST = 12,
    RDB_HASH_ZIPLIST = 13,
    RDB_LIST_QUICKLIST = 14,
    RDB_STREAM_LISTPACKS = 15,
    RDB_HASH_LISTPACK = 16,
    RDB_ZSET_LISTPACK = 17,
    RDB_LIST_QUICKLIST_2 = 18,
    RDB_STREAM_LISTPACKS_2 = 19,
    RDB_SET_LISTPACK = 20,
    RDB_STREAM_LISTPACKS_3 = 21,
    RDB_HASH_METADATA = 24,
    RDB_HASH_LISTPACK_EX = 25,
};

// What type 18 calls its pieces.
#define RDB_NODE_PLAIN  1
#define RDB_NODE_PACKED 2

#define RDB_VERSION_MAX 12 // the newest whose values are read: Redis 7.4's

// The layout in which rdb_put_value writes the value; `value` means nothing for strings.
enum rdb_type rdb_type_of(enum object_type type, struct value value);
// The RDB version that knows this layout, at least 10 (Redis 7.0).
uint16_t rdb_type_version(enum rdb_type type);
// Appends the value without its type byte, in one go (in steps: types/rdb_writer.h). Not for
// strings: those are an rdb_put_string.
void rdb_put_value(struct buf *out, enum object_type type, struct value value, bool is_compressed);

struct rdb_value {
    enum object_type type;
    struct value value;  // owned by the caller; not for strings
    struct slice string; // strings: in the reader's memory or in `scratch`
    struct buf scratch;  // owned by the caller (buf_free), may be handed in again
    bool is_empty;       // it was bad for nothing but that there is no element
};

// Reads a value of this layout (a byte from outside). False if the bytes are not what they should
// be: then nothing is left behind but out->scratch.
bool rdb_get_value(struct rdb_reader *in, uint8_t rdb_type, const struct value_limits *limits,
                   struct rdb_value *out);
bool rdb_is_known_type(uint8_t rdb_type);
// Passes over a value of this layout, looking at no more than is needed to find its end, and taking
// no memory. False if the bytes end before, or there is no such layout.
bool rdb_skip_value(struct rdb_reader *in, uint8_t rdb_type);
