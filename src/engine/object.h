// SPDX-License-Identifier: BSD-3-Clause
//
// object: an entry of the keyspace is one allocation: expiry (if any), header, key and, for short
// strings, the value.
//
//    [ timewheel_node, 16 bytes, if has_ttl ]
//    [ struct entry, 16 bytes               ]  <- struct entry *
//    [ key bytes ][ value bytes, if is_embedded ]
//
// Entries move when they grow or gain an expiry; only engine/keyspace.c allocates, moves and frees
// them. Handlers hold a struct entry * until their next call that may change the keyspace.
#pragma once
#include <stdint.h>

#include "base/blob.h"
#include "base/num.h"
#include "base/slice.h"
#include "ds/timewheel.h"
#include "types/value.h"

#define KEY_MAX_BYTES    ((1u << 29) - 1) // key_len has 29 bits
#define EMBSTR_MAX_BYTES 44               // longer strings are "raw" to OBJECT ENCODING
#define EMBED_MAX_BYTES  1024             // longer strings live in a blob of their own
#define EXPIRE_NONE      (-1)             // "no expiry" where a time in ms is expected
#define EXPIRE_KEEP      (-2)             // "leave the expiry as it is"

struct entry {
    uint32_t key_len : 29;
    uint32_t has_ttl : 1;
    uint32_t is_embedded : 1; // string value follows the key
    uint32_t mark : 1;        // see snapshot.h
    uint32_t type : 4;
    uint32_t encoding : 4; // strings; of other types it stands in `value`
    uint32_t lru : 24;     // seconds of the LRU clock, or LFU counter and minutes
    union {
        uint32_t embedded_len; // strings, is_embedded
        int64_t integer;       // strings, ENC_INT
        struct blob *blob;     // other strings
        struct value value;    // other types
    };
    char key[];
};

static inline struct slice entry_key(const struct entry *e)
{
    return (struct slice){e->key, e->key_len};
}

static inline struct timewheel_node *entry_ttl(const struct entry *e)
{
    return (struct timewheel_node *)e - 1;
}

// Unix ms, or EXPIRE_NONE.
static inline int64_t entry_expire_at(const struct entry *e)
{
    return e->has_ttl ? entry_ttl(e)->at_ms : EXPIRE_NONE;
}

// As in Redis an expiry is the last millisecond of life: over once that is over, not when it comes.
static inline bool entry_is_expired(const struct entry *e, int64_t now_ms)
{
    return e->has_ttl && entry_ttl(e)->at_ms < now_ms;
}

// The bytes of a string entry; integers are printed into `scratch` (NUM_I64_TEXT bytes).
static inline struct slice entry_string(const struct entry *e, char *scratch)
{
    if (e->is_embedded) return (struct slice){e->key + e->key_len, e->embedded_len};
    if (e->encoding == ENC_INT) return (struct slice){scratch, num_format_i64(scratch, e->integer)};
    return (struct slice){e->blob->data, e->blob->len};
}

static inline size_t entry_string_len(const struct entry *e)
{
    char scratch[NUM_I64_TEXT];
    if (e->is_embedded) return e->embedded_len;
    if (e->encoding == ENC_INT) return num_format_i64(scratch, e->integer);
    return e->blob->len;
}

// Is the string's value in a blob of its own?
static inline bool entry_has_blob(const struct entry *e)
{
    return e->type == TYPE_STRING && !e->is_embedded && e->encoding != ENC_INT;
}

static inline enum object_encoding entry_encoding(const struct entry *e)
{
    return e->type == TYPE_STRING ? (enum object_encoding)e->encoding : value_encoding(e->value);
}

// Bytes that the entry occupies with everything that hangs on it, as MEMORY USAGE counts.
size_t entry_memory_bytes(const struct entry *e);

// LRU clock: seconds, 24 bits. LFU: 16 bits of minutes above 8 bits of logarithmic counter.
uint32_t lru_clock(int64_t now_ms);
// Seconds since the entry was last used.
uint64_t entry_idle_seconds(const struct entry *e, int64_t now_ms);
