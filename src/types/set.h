// SPDX-License-Identifier: BSD-3-Clause
//
// set: a set value. Integers only, and few: an intset (ENC_INTSET, ds/intset.h); few and short
// strings: a listpack (ENC_LISTPACK); else a table (ENC_HASHTABLE). The thresholds are Redis
// 7.2's: set-max-intset-entries, set-max-listpack-entries, set-max-listpack-value. A set never goes
// back to a smaller encoding.
//
// Members come as bytes or as items (ds/listpack.h): the functions on items spare an integer the
// way over its digits. An item that is an integer and the bytes of its digits are the same member.
#pragma once
#include "base/random.h"
#include "ds/listpack.h"
#include "types/value.h"

struct value set_new(void); // empty
uint64_t set_len(struct value v);
bool set_has(struct value v, struct slice member);
bool set_has_item(struct value v, const struct item *member);
// True if it was not there.
bool set_add(struct value *v, struct slice member, const struct value_limits *limits);
bool set_add_item(struct value *v, const struct item *member, const struct value_limits *limits);
// For a member that is not there, as the caller knows.
void set_add_new(struct value *v, const struct item *member, const struct value_limits *limits);
// True if it was there.
bool set_remove(struct value *v, struct slice member);
bool set_remove_item(struct value *v, const struct item *member);
// By which hash the member stands in the table of a big set.
uint64_t set_member_hash(struct slice member);
// Which of these members (at most SET_BATCH) are in the set: bit i stands for members[i]. The cache
// misses of one overlap with those of the others.
#define SET_BATCH 16
uint32_t set_has_batch(struct value v, const struct item *members, uint32_t count);

// --- by chance -----------------------------------------------------------------------------------

typedef void (*set_visit_fn)(void *arg, const struct item *member);

// A random member, uniform; valid until the set changes. The set is not empty.
void set_random(struct value v, struct random *random, struct item *out);
// Takes a random member out, calling taken(arg, member) before it goes. The set is not empty.
void set_pop(struct value *v, struct random *random, set_visit_fn taken, void *arg);
// Takes `count` random members out, 0 <= count <= set_len.
void set_pop_many(struct value *v, uint64_t count, struct random *random, set_visit_fn taken,
                  void *arg);
// Visits `count` random members, all different, in no particular order; 0 <= count <= set_len.
void set_sample(struct value v, uint64_t count, struct random *random, set_visit_fn visit,
                void *arg);
// Visits `count` random members, each drawn from all; the set is not empty.
void set_draw(struct value v, uint64_t count, struct random *random, set_visit_fn visit, void *arg);

// --- walks ---------------------------------------------------------------------------------------

// Walks all members in no particular order (an intset's in theirs). The set must not change. Items
// of a table or a listpack are valid until the set changes.
struct set_iter {
    struct value set;
    uint64_t bucket; // tables
    uint32_t at;     // in the bucket, the position in the listpack, or the index in the intset
};
void set_iter_init(struct set_iter *it, struct value v);
bool set_iter_next(struct set_iter *it, struct item *out);
// SSCAN: visits some members (all at once unless it is a table) and returns the next cursor, 0 at
// the end. What is there from beginning to end is visited at least once (ds/dict.h, dict_scan).
uint64_t set_scan(struct value v, uint64_t cursor, set_visit_fn visit, void *arg);

// --- dumps ---------------------------------------------------------------------------------------

// The bytes of a set whose encoding is ENC_INTSET; valid until it changes.
const void *set_intset(struct value v, size_t *len);
// A set of these bytes, which intset_is_valid has found good.
struct value set_of_intset(const void *bytes, size_t len);
// The listpack of a set whose encoding is ENC_LISTPACK.
const struct listpack *set_listpack(struct value v);
// A set of these elements, none of which occurs twice; the listpack is consumed.
struct value set_of_listpack(struct listpack *lp);
// A set that came from elsewhere (the two above) becomes a table if the limits here ask for one.
void set_fit(struct value *v, const struct value_limits *limits);

// --- as for every type (types/value.h) -----------------------------------------------------------

void set_free(struct value v);
struct value set_copy(struct value v);
size_t set_memory_bytes(struct value v);
uint64_t set_parts(struct value v);
bool set_drain(struct value *v, uint32_t budget);
void set_validate(struct value v);
