// SPDX-License-Identifier: BSD-3-Clause
//
// zset: a sorted set value, in the order of (score, member bytes). Small ones are a listpack of
// members and scores in turn (ENC_LISTPACK), big ones a table of members beside a counted B+tree
// (ENC_SKIPLIST, the name that OBJECT ENCODING is used to; ds/btree.h). Scores are never NaN.
//
// Every range that a command can name (by rank, by score, lexicographic) is an interval of ranks:
// two look-ups give its ends, then one walk or one removal does the rest.
#pragma once
#include "ds/btree.h"
#include "ds/dict.h"
#include "ds/listpack.h"
#include "types/value.h"

#define ZSET_SCORE_TEXT 32 // bytes that any score's text needs

struct value zset_new(void); // empty
// Empty, in the encoding that `len` members of at most `member_bytes` bytes will have.
struct value zset_new_for(uint64_t len, size_t member_bytes, const struct value_limits *limits);
uint64_t zset_len(struct value v);
bool zset_score(struct value v, struct slice member, double *score);
// Adds the member or changes its score; true if it was not there.
bool zset_set(struct value *v, struct slice member, double score,
              const struct value_limits *limits);

// ZADD's conditions and ways, for zset_add.
enum zset_flag {
    ZSET_NX = 1u << 0,   // only a new member
    ZSET_XX = 1u << 1,   // only a member that is there
    ZSET_GT = 1u << 2,   // a member that is there: only if its score grows …
    ZSET_LT = 1u << 3,   // … or falls
    ZSET_INCR = 1u << 4, // the score is added to what there is
};
enum zset_outcome {
    ZSET_KEPT,    // a condition says no
    ZSET_SAME,    // the member has this score already
    ZSET_UPDATED, // it has another score now
    ZSET_ADDED,
    ZSET_NAN, // the sum is not a number; nothing was changed
};
// zset_set with flags. *score: in: the score or the increment; out (not for KEPT and NAN): the
// score that the member has now.
enum zset_outcome zset_add(struct value *v, struct slice member, double *score, unsigned flags,
                           const struct value_limits *limits);
// True if it was there.
bool zset_remove(struct value *v, struct slice member);
// The member's rank from 0, lowest first, or -1.
int64_t zset_rank(struct value v, struct slice member, double *score);
// How many members have a lower score (with_equal: or this one).
uint64_t zset_count_below(struct value v, double score, bool with_equal);
// As above in the order of bytes; all members have the same score, or the result is meaningless.
uint64_t zset_count_below_lex(struct value v, struct slice member, bool with_equal);
// Takes out the members of ranks first … first + count - 1.
void zset_remove_ranks(struct value *v, uint64_t first, uint64_t count);

// Walks from a rank upwards, or (is_reverse) downwards; O(log n) to begin. The zset must not
// change. Items are valid until the next call.
struct zset_iter {
    struct value zset;
    bool is_reverse;
    void *leaf;  // B+trees
    uint32_t at; // in the leaf, or the position in the listpack
};
void zset_iter_init(struct zset_iter *it, struct value v, uint64_t rank, bool is_reverse);
bool zset_iter_next(struct zset_iter *it, struct item *member, double *score);

// Calls visit for the members at `cursor` and returns the next cursor, 0 at the end, with
// dict_scan's promise; a listpack comes whole.
typedef void (*zset_visit_fn)(void *arg, const struct item *member, double score);
uint64_t zset_scan(struct value v, uint64_t cursor, zset_visit_fn visit, void *arg);

// --- the representations, for RDB and DUMP -------------------------------------------------------
// A big one is best loaded with zset_new_for and zset_set in ascending or descending order.

// The listpack of a small zset, which owns it; NULL if it is a big one.
const struct listpack *zset_listpack(struct value v);
// A zset of a listpack that came from outside, which is consumed; a big one is converted. False,
// and nothing is consumed, if its elements are not members (different ones) and scores in turn, in
// their order.
bool zset_of_listpack(struct listpack *lp, const struct value_limits *limits, struct value *out);
// A score's text in a listpack, as Redis writes it there: an integer if it is one of at most 62
// bits, else %.17g. Writes to `out` (ZSET_SCORE_TEXT bytes of room), returns the length.
size_t zset_format_score(char *out, double score);
// Reads a score as num_parse_double does, but the usual ones faster.
bool zset_parse_score(struct slice text, double *out);
// A member of a zset that is to be made of them: one allocation, freed with mem_free unless it is
// handed on.
struct btree_item *zset_item_new(struct slice member, double score);
// Puts items in the order of a zset. The array says their scores, too.
void zset_sort_items(struct btree_key *items, size_t count);
// A zset of `count` items in order, which are consumed (the array is not); no member twice. The
// encoding is the one that suits the size. by_member: a table that holds just these items by
// hash_bytes of their members, which is then empty; or NULL.
struct value zset_of_items(const struct btree_key *items, size_t count, struct dict *by_member,
                           const struct value_limits *limits);

// --- as for every type (types/value.h) -----------------------------------------------------------

void zset_free(struct value v);
struct value zset_copy(struct value v);
size_t zset_memory_bytes(struct value v);
uint64_t zset_parts(struct value v);
bool zset_drain(struct value *v, uint32_t budget);
void zset_validate(struct value v);
