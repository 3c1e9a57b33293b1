// SPDX-License-Identifier: BSD-3-Clause
//
// set: what the two files of set commands share: set.c (one set at a time) and set_algebra.c.
#pragma once
#include "engine/reply.h"
#include "types/set.h"

static inline void set_reply_member(struct reply *r, const struct item *member)
{
    if (member->ptr)
        reply_bulk(r, (struct slice){member->ptr, member->len});
    else
        reply_bulk_int(r, member->integer);
}

// Replies with all members, as a set.
void set_reply_members(struct reply *r, struct value v);
