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

// Takes `count` elements (1 or more; all there are, if fewer) from an end of the list at `key`,
// which is e's, and replies an array of them, or, is_bare, the one element itself.
void list_pop_reply(struct ctx *ctx, struct slice key, struct entry *e, bool at_head,
                    uint64_t count, bool is_bare);

// Of the `n` keys from argument `first` on, takes up to `count` elements from the first that exists
// and replies its name with them. False, and nothing replied, if none exists; true also if a key
// had the wrong type, which is then the reply.
bool list_pop_first(struct ctx *ctx, int first, int n, bool at_head, uint64_t count);

// Takes an element from an end of the list at `from`, puts it at an end of the one at `to`, which
// may be the same or not exist, and replies it. False, and nothing replied, if there is no list at
// `from`; true also after a WRONGTYPE.
bool list_pop_push(struct ctx *ctx, struct slice from, bool from_head, struct slice to,
                   bool to_head);
