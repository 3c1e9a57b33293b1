// SPDX-License-Identifier: BSD-3-Clause
//
// list_pop: what commands that take elements from lists do once it is clear which: shared by the
// commands that answer at once and the ones that wait for an element first.
#pragma once
#include "ds/listpack.h"
#include "engine/ctx.h"

static inline void list_pop_reply_item(struct reply *r, const struct item *i)
{
    if (__builtin_expect(i->ptr != NULL, 1))
        reply_bulk(r, (struct slice){i->ptr, i->len});
    else
        reply_bulk_int(r, i->integer);
}

// A position among the arguments: LEFT or RIGHT, in any case. Replies the error and returns false
// if it is neither.
bool list_pop_side(struct ctx *ctx, int arg, bool *at_head);

// What LMPOP and BLMPOP are told: numkeys key… LEFT|RIGHT [COUNT count].
struct list_pop_options {
    int first_key, keys; // argument of the first, and their number
    bool at_head;
    uint64_t count;
};
// Reads it from argument `arg`, numkeys, on. Replies the error and returns false if it does not
// fit.
bool list_pop_options(struct ctx *ctx, int arg, struct list_pop_options *o);

// Takes `count` elements (1 or more; all there are, if fewer) from an end of the list at `key`,
// which is e's, and replies an array of them, or, is_bare, the one element itself.
void list_pop_reply(struct ctx *ctx, struct slice key, struct entry *e, bool at_head,
                    uint64_t count, bool is_bare);

// The same, and replies the key with it, in an array of two.
void list_pop_with_key(struct ctx *ctx, struct slice key, struct entry *e, bool at_head,
                       uint64_t count, bool is_bare);

// list_pop_with_key with the first of the `n` keys from argument `first` on that exists. False, and
// nothing replied, if none does; true also if a key had the wrong type, which is then the reply.
bool list_pop_first(struct ctx *ctx, int first, int n, bool at_head, uint64_t count, bool is_bare);

// Takes an element from an end of the list at `from`, puts it at an end of the one at `to`, which
// may be the same or not exist, and replies it. False, and nothing replied, if there is no list at
// `from`; true also after a WRONGTYPE.
bool list_pop_push(struct ctx *ctx, struct slice from, bool from_head, struct slice to,
                   bool to_head);
