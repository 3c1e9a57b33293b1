// SPDX-License-Identifier: BSD-3-Clause
//
// value: a value of any type but string, in one word: the address of what stands behind it, and in
// the low four bits (what is allocated is aligned to 16) the encoding, which says what that is.
//
//    63                                  4 3        0
//    [ address of a listpack, table, …    ] [encoding]
//
// The owner of the word owns everything behind it. A function that may change a value takes a
// struct value * and puts the new word there: values move and change their encoding when they grow.
// Values know no key, no clock and no settings: `now_ms` and limits are handed in.
//
// Each type is a file of its own (types/list.c, hash.c, set.c, zset.c, stream.c); what all of them
// can do whatever the type is here.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct dict;

enum object_type { TYPE_STRING, TYPE_LIST, TYPE_SET, TYPE_ZSET, TYPE_HASH, TYPE_STREAM };

// What OBJECT ENCODING says; the layout behind a name is the type's own business.
enum object_encoding {
    ENC_RAW,
    ENC_INT,
    ENC_EMBSTR,
    ENC_HASHTABLE,
    ENC_LISTPACK,
    ENC_INTSET,
    ENC_QUICKLIST,
    ENC_SKIPLIST,
    ENC_STREAM,
    ENC_LISTPACK_EX, // a hash in a listpack, some fields of which expire
};

const char *object_type_name(enum object_type type);        // "string", "list" …
const char *object_encoding_name(enum object_encoding enc); // "int", "embstr" …

// Up to where small values stay in their compact encodings, and how big the pieces of big ones
// are; the settings' part that the types read. Named after the directives.
struct value_limits {
    int64_t hash_max_listpack_entries;
    uint64_t hash_max_listpack_value;
    int64_t list_max_listpack_size; // entries, or -1 … -5: 4, 8, 16, 32, 64 KB a node
    int64_t list_compress_depth;
    int64_t set_max_intset_entries, set_max_listpack_entries;
    uint64_t set_max_listpack_value;
    int64_t zset_max_listpack_entries;
    uint64_t zset_max_listpack_value;
    uint64_t hll_sparse_max_bytes;
    uint64_t stream_node_max_bytes;
    int64_t stream_node_max_entries;
};

struct value {
    uintptr_t word;
};

static inline struct value value_of(const void *object, enum object_encoding encoding)
{
    return (struct value){(uintptr_t)object | (uintptr_t)encoding};
}

static inline void *value_object(struct value v)
{
    return (void *)(v.word & ~(uintptr_t)15);
}

static inline enum object_encoding value_encoding(struct value v)
{
    return (enum object_encoding)(v.word & 15);
}

// --- whatever the type ---------------------------------------------------------------------------

// Frees the value and all behind it, in one go.
void value_free(enum object_type type, struct value v);
// A deep copy, owned by the caller.
struct value value_copy(enum object_type type, struct value v);
// Bytes occupied by what stands behind the word, in usable bytes as base/mem.h counts.
size_t value_memory_bytes(enum object_type type, struct value v);
// How many pieces of memory freeing it would touch, roughly; 1 for what is compact.
uint64_t value_parts(enum object_type type, struct value v);
// Frees about `budget` pieces; true when all is freed and the word means nothing any more. In
// between the value is good for nothing but the next value_drain.
bool value_drain(enum object_type type, struct value *v, uint32_t budget);
// The table of its members (fields), or NULL: what has one begins with it.
static inline const struct dict *value_table(struct value v)
{
    enum object_encoding e = value_encoding(v);
    return e == ENC_HASHTABLE || e == ENC_SKIPLIST ? value_object(v) : NULL;
}
// By which hash a member stands in the table of a value of this type.
uint64_t value_member_hash(enum object_type type, struct slice member);
// Asserts the invariants; for tests.
void value_validate(enum object_type type, struct value v);
