// SPDX-License-Identifier: BSD-3-Clause
//
// set_table: the members of a big set (types/set.h) in a dict. The address that the dict keeps for
// a member is
//
//    an integer of 47 bits   [ 0 (16) ][ integer (47) ][ 1 ]     nothing is allocated
//    anything else           [ address of an item          0 ]   one allocation
//
//    item: [ length (8) ][ bytes ]               up to 254 bytes
//          [ 255 ][ length (32) ][ bytes ]       above
//
// so a set of a million integers takes 12 MB, and a look-up of one touches a line or two. A number
// that fits the first form never takes the second: equal members have equal forms, and the form
// decides how a member is hashed.
#pragma once
#include "base/hash.h"
#include "base/random.h"
#include "ds/dict.h"
#include "ds/listpack.h"
#include "types/set.h"

struct set_table {
    struct dict dict;
    size_t item_bytes; // usable bytes of all items
};

_Static_assert(offsetof(struct set_table, dict) == 0, "value_table relies on it");

// A member as it is looked for.
struct set_needle {
    void *inline_item; // NULL: the bytes count
    struct slice bytes;
    uint64_t hash;
    char digits[NUM_I64_TEXT]; // where the bytes of an integer stand
};

// Is the member an integer, in whatever form it comes?
static inline bool set_member_integer(const struct item *m, int64_t *out)
{
    if (m->ptr && (!m->len || (m->ptr[0] != '-' && (m->ptr[0] < '0' || m->ptr[0] > '9'))))
        return false; // nearly always, for what is none
    return item_integer(m, out);
}

static inline int64_t set_inline_integer(const void *item)
{
    return (int64_t)((uint64_t)(uintptr_t)item << 16) >> 17;
}

// NULL: the integer has too many bits.
static inline void *set_inline_item(int64_t integer)
{
    void *item = (void *)(uintptr_t)(((uint64_t)integer << 17 | 1u << 16) >> 16);
    return set_inline_integer(item) == integer ? item : NULL;
}

static inline uint64_t set_integer_hash(int64_t integer)
{
    return hash_bytes((struct slice){(const char *)&integer, sizeof integer});
}

// The needle borrows the member's bytes.
static inline void set_needle_init(struct set_needle *n, const struct item *m)
{
    int64_t integer;
    n->inline_item = set_member_integer(m, &integer) ? set_inline_item(integer) : NULL;
    if (n->inline_item) {
        n->hash = set_integer_hash(integer);
        return;
    }
    n->bytes = item_slice(m, n->digits);
    n->hash = hash_bytes(n->bytes);
}

struct set_table *set_table_new(void);
void set_table_free(struct set_table *t);
struct set_table *set_table_copy(const struct set_table *t);
// What the dict keeps for the member, or NULL.
void *set_table_find(const struct set_table *t, const struct set_needle *n);
// True if it was not there. is_new: it is not, as the caller knows.
bool set_table_add(struct set_table *t, const struct item *m, bool is_new);
// True if it was there.
bool set_table_remove(struct set_table *t, const struct item *m);
// Bit i: members[i] is there; at most SET_BATCH.
uint32_t set_table_has_batch(const struct set_table *t, const struct item *members, uint32_t count);
// False at the end; starts at (0, 0) (ds/dict.h, dict_next).
bool set_table_next(const struct set_table *t, uint64_t *bucket, uint32_t *at, struct item *out);
uint64_t set_table_scan(const struct set_table *t, uint64_t cursor, set_visit_fn visit, void *arg);

// By chance, as types/set.h has it; the table is not empty.
void set_table_random(const struct set_table *t, struct random *random, struct item *out);
void set_table_pop(struct set_table *t, struct random *random, set_visit_fn taken, void *arg);
void set_table_pop_many(struct set_table *t, uint64_t count, struct random *random,
                        set_visit_fn taken, void *arg);
// For counts well below the table's: visits `count` different ones.
void set_table_draw_different(const struct set_table *t, uint64_t count, struct random *random,
                              set_visit_fn visit, void *arg);
// Takes one member of every `left` with the chance of `want` in `left`: a walk over all that lowers
// both takes exactly `want`, every selection as likely as any other (Knuth, TAOCP 2, 3.4.2,
// algorithm S).
static inline bool set_is_chosen(struct random *random, uint64_t want, uint64_t left)
{
    return want == left || random_below(random, left) < want;
}

size_t set_table_memory_bytes(const struct set_table *t);
// Frees about `budget` pieces; true when nothing is left but what set_table_free frees.
bool set_table_drain(struct set_table *t, uint32_t budget);
void set_table_validate(const struct set_table *t);
