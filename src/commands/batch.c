// SPDX-License-Identifier: BSD-3-Clause
//
// batch: a window of keys is hashed and their buckets asked for; then, as the buckets arrive, the
// entries that most likely hold the keys; then the keys are handed out one by one. A window of one
// key does without: there is nothing to overlap with.
#include "commands/batch.h"

void batch_start(struct batch *b, struct ctx *ctx, int first, int step)
{
    b->ctx = ctx;
    b->next = first;
    b->step = step;
    b->end = ctx->argc;
    b->fetched = 0;
    b->window = 0;
}

static void fetch(struct batch *b)
{
    struct ctx *ctx = b->ctx;
    struct db *dbs[BATCH_KEYS];
    int n = 0;
    for (int i = b->next; i < b->end && n < BATCH_KEYS; i += b->step, n++) {
        b->hashes[n] = ctx_hash(ctx, ctx->argv[i]);
        dbs[n] = ctx_db_of(ctx, ctx->db, ctx->argv[i]);
        dict_prefetch_bucket(&dbs[n]->keys, b->hashes[n]);
    }
    for (int k = 0; k < n && n > 1; k++) {
        const struct entry *e = dict_peek(&dbs[k]->keys, b->hashes[k]);
        if (e) __builtin_prefetch(e);
    }
    b->window = b->fetched = n;
}

int batch_next(struct batch *b)
{
    if (!b->fetched) {
        if (b->next >= b->end) return 0;
        fetch(b);
    }
    int i = b->next;
    b->ctx->first_key = b->ctx->argv[i].ptr;
    b->ctx->first_hash = b->hashes[b->window - b->fetched];
    b->next += b->step;
    b->fetched--;
    return i;
}
