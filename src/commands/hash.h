// SPDX-License-Identifier: BSD-3-Clause
//
// hash: what the two files of hash commands share: hash.c and hash_expire.c (everything about the
// expiry of fields).
#pragma once
#include "base/assert.h"
#include "engine/ctx.h"
#include "engine/effect.h"
#include "types/hash.h"

static inline void hash_reply_item(struct reply *r, const struct item *i)
{
    if (i->ptr)
        reply_bulk(r, (struct slice){i->ptr, i->len});
    else
        reply_bulk_int(r, i->integer);
}

// The time as fields see it that are due: when an effect is run again nothing is, for every expiry
// was noted (engine/effect.h).
static inline int64_t hash_now_ms(const struct ctx *ctx)
{
    return UNLIKELY(ctx->flags & CTX_REPLAY) ? HASH_NEVER_DUE : ctx->now_ms;
}

// Whoever asks for a field that is due takes it out, as in Redis. Looks at the fields among the
// arguments first, first + step … below end, of the hash at key (e; NULL: no such key). Returns e,
// or NULL if its last field went and the key with it.
struct entry *hash_remove_due(struct ctx *ctx, struct slice key, struct entry *e, int first,
                              int end, int step);
static inline struct entry *hash_without_due(struct ctx *ctx, struct slice key, struct entry *e,
                                             int first, int end, int step)
{
    if (LIKELY(!e || !hash_wheel_of(e->value))) return e;
    return hash_remove_due(ctx, key, e, first, end, step);
}
