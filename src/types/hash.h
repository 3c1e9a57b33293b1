// SPDX-License-Identifier: BSD-3-Clause
//
// hash: a hash value. Small ones are a pack, big ones a table; which it is follows from
// hash-max-listpack-entries and -value. A hash never goes back to a smaller encoding.
//
//   ENC_LISTPACK     the word points to a struct hash_pack (not what Redis means by the name)
//   ENC_LISTPACK_EX  some field has or had an expiry. The word points to a struct hash_expires,
//                    which has the pack, with expiries
//   ENC_HASHTABLE    the word points to a struct hash_table
//
// A field's expiry is the last millisecond in which it is there. Once that is over the field is
// "due": invisible to every function that takes now_ms, until it is taken out (hash_expire_due,
// hash_remove); hash_len counts it, as Redis's HLEN does.
#pragma once
#include "ds/listpack.h"
#include "types/hash_pack.h"
#include "types/hash_table.h"
#include "types/value.h"

struct value hash_new(void); // empty
// As hash_new, with room for this many bytes of pairs (hash_pack_pair_bytes).
struct value hash_new_sized(size_t pairs_bytes);
uint64_t hash_len(struct value v);
// False if there is no such field. *out is valid until the hash changes.
bool hash_get(struct value v, struct slice field, int64_t now_ms, struct item *out);
// Sets a field and takes away its expiry; true if it is new.
bool hash_set(struct value *v, struct slice field, struct slice value, int64_t now_ms,
              const struct value_limits *limits);
// As hash_set, but a field that is there keeps its expiry.
bool hash_put(struct value *v, struct slice field, struct slice value, int64_t now_ms,
              const struct value_limits *limits);
// True if it was there (and visible; what is not stays).
bool hash_remove(struct value *v, struct slice field, int64_t now_ms);
#define HASH_NEVER_DUE INT64_MIN // as now_ms: fields that are due are there like any other

// --- walking -------------------------------------------------------------------------------------

// Walks all visible fields in no particular order. The hash must not change. What it returns is
// valid until the hash changes.
struct hash_iter {
    struct value hash;
    int64_t now_ms;
    uint64_t bucket; // tables; packs: how many pairs are left
    uint32_t at;     // in the bucket, or the position in the pack
};
void hash_iter_init(struct hash_iter *it, struct value v, int64_t now_ms);
// expire_at_ms: NULL, or where the field's expiry goes (Unix ms, or -1).
bool hash_iter_next(struct hash_iter *it, struct item *field, struct item *value,
                    int64_t *expire_at_ms);

// HSCAN: visits the visible fields at the cursor (all at once unless it is a table) and returns the
// next cursor, 0 at the end. What is there from beginning to end of an iteration is visited at
// least once (ds/dict.h, dict_scan).
typedef void (*hash_visit_fn)(void *arg, const struct item *field, const struct item *value);
uint64_t hash_scan(struct value v, uint64_t cursor, int64_t now_ms, hash_visit_fn visit, void *arg);

// --- expiry --------------------------------------------------------------------------------------

// How long a field lives. at_ms: Unix ms (0 or more), or -1 to take the expiry away. The field is
// there.
void hash_set_expiry(struct value *v, struct slice field, int64_t at_ms);
// Unix ms; -1: it never expires; -2: there is no such (visible) field.
int64_t hash_expiry(struct value v, struct slice field, int64_t now_ms);
// The first expiry of its fields: Unix ms, INT64_MAX if there is none. Never later than the truth;
// O(1).
int64_t hash_next_expiry(struct value v);
// Takes out at most `budget` fields that are due, calling removed(arg, field) for each before it
// goes (NULL: no call); returns how many.
uint32_t hash_expire_due(struct value *v, int64_t now_ms, uint32_t budget,
                         void (*removed)(void *arg, struct slice field), void *arg);

// NULL: no field of this hash ever had an expiry.
static inline struct hash_wheel *hash_wheel_of(struct value v)
{
    void *object = value_object(v);
    enum object_encoding encoding = value_encoding(v);
    if (encoding == ENC_LISTPACK) return NULL;
    if (encoding == ENC_LISTPACK_EX) return object;
    return (struct hash_wheel *)((struct hash_table *)object)->expires;
}

// --- dumps ---------------------------------------------------------------------------------------

// A hash of these fields and values in turn, no field twice; the listpack is consumed.
struct value hash_of_listpack(struct listpack *lp);
// A hash that came from elsewhere becomes a table if the limits ask for one.
void hash_fit(struct value *v, const struct value_limits *limits);

// --- as for every type (types/value.h) -----------------------------------------------------------

void hash_free(struct value v);
struct value hash_copy(struct value v);
size_t hash_memory_bytes(struct value v);
uint64_t hash_parts(struct value v);
bool hash_drain(struct value *v, uint32_t budget);
void hash_validate(struct value v);
