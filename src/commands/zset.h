// SPDX-License-Identifier: BSD-3-Clause
//
// zset: what the files of sorted set commands share: zset.c (members and their scores),
// zset_range.c (ranges), zset_algebra.c (unions and the like), geo.c.
#pragma once
#include "engine/ctx.h"
#include "types/zset.h"

// How members are replied with their scores: one after the other, or each with its score in an
// array of two.
enum zset_shape { ZSET_MEMBERS, ZSET_FLAT, ZSET_PAIRS };

// What WITHSCORES means in this protocol.
static inline enum zset_shape zset_shape_of(const struct reply *r, bool has_scores)
{
    return !has_scores ? ZSET_MEMBERS : r->resp > 2 ? ZSET_PAIRS : ZSET_FLAT;
}

static inline void zset_reply_header(struct reply *r, enum zset_shape shape, uint64_t count)
{
    reply_array(r, shape == ZSET_FLAT ? count * 2 : count);
}

static inline void zset_reply_member(struct reply *r, enum zset_shape shape,
                                     const struct item *member, double score)
{
    if (shape == ZSET_PAIRS) reply_array(r, 2);
    if (member->ptr)
        reply_bulk(r, (struct slice){member->ptr, member->len});
    else
        reply_bulk_int(r, member->integer);
    if (shape != ZSET_MEMBERS) reply_double(r, score);
}

// Replies the array of the members of ranks first … first + count - 1 (all exist), backwards if
// is_reverse.
void zset_reply_ranks(struct reply *r, enum zset_shape shape, struct value v, uint64_t first,
                      uint64_t count, bool is_reverse);

// Members to be added, as they stand among the arguments.
struct zset_adding {
    unsigned flags;  // enum zset_flag
    bool is_ch;      // count what has changed, not only what is new
    int first, step; // argument: the first member; from one to the next
    double *scores;  // one each; with ZSET_INCR the one becomes the sum
};
// What ZADD and GEOADD do once they have read their arguments: adds, commits, replies.
void zset_add_members(struct ctx *ctx, const struct zset_adding *a);

// Takes up to `count` members (at least one) off the low or the high end of the zset at the key,
// replies them as an array and commits. What ZPOPMIN and ZMPOP do, and whoever waited for them.
void zset_pop(struct ctx *ctx, struct slice key, struct entry *e, bool is_max, uint64_t count,
              enum zset_shape shape);

// Takes up to `count` members as zset_pop does and replies the key and, in an array, each with its
// score; is_bare: one member, and key, member and score in one array.
void zset_pop_with_key(struct ctx *ctx, struct slice key, struct entry *e, bool is_max,
                       uint64_t count, bool is_bare);
// The same with the first of the `n` keys from argument `first` on that exists. False, and nothing
// replied, if none does; true also if a key had the wrong type, which is then the reply.
bool zset_pop_first(struct ctx *ctx, int first, int n, bool is_max, uint64_t count, bool is_bare);

// What ZMPOP and BZMPOP are told: numkeys key… MIN|MAX [COUNT count].
struct zset_pop_options {
    int first_key, keys; // argument of the first, and their number
    bool is_max;
    uint64_t count;
};
// Reads it from argument `arg`, numkeys, on. Replies the error and returns false if it does not
// fit.
bool zset_pop_options(struct ctx *ctx, int arg, struct zset_pop_options *o);

// Puts a zset that was built anew at the key, whatever was there, commits it as `event`, and
// returns how many members it has; an empty one deletes the key. The value is consumed.
uint64_t zset_store(struct ctx *ctx, struct slice key, struct value v, const char *event);
