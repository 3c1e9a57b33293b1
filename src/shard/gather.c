// SPDX-License-Identifier: BSD-3-Clause
#include "shard/gather.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/settings.h"
#include "engine/tracking.h"

void gather_values(struct ctx *ctx, struct piece *piece)
{
    uint64_t begin = clock_ticks();
    struct keyspace *to = mem_alloc(sizeof *to);
    keyspace_init(to, ctx->space->shard, 1, 0, ctx->now_ms);
    struct db *db = &to->dbs[0];
    for (int i = 1; i < piece->argc; i++) {
        struct slice key = piece->argv[i];
        uint64_t hash = ctx_hash(ctx, key);
        if (db_find(db, key, hash)) continue; // named twice
        struct entry *e = ctx_read(ctx, key);
        if (!e) continue;
        // Whoever reads the copy a moment later must not find that it expired meanwhile.
        db_set_expire(db, db_copy(e, db, key, hash), hash, EXPIRE_NONE);
    }
    if (UNLIKELY(ctx->session->tracking)) tracking_remember_args(ctx);
    if (!(ctx->flags & CTX_IN_EXEC)) tracking_unit_end(ctx); // of keys that had expired
    piece->gathered = to;
    ctx->begin_ticks = clock_ticks();
    piece->ticks = ctx->begin_ticks - begin;
}

void gather_run(const struct ctx *ctx, const struct request *r)
{
    struct keyspace *spaces[SETTINGS_THREADS_MAX];
    struct ctx c = *ctx;
    c.db = 0;
    c.flags |= CTX_ON_COPIES;
    c.first_key = NULL;
    c.space = r->pieces[0].gathered;
    c.spaces = spaces;
    c.space_count = ctx->engine->shard_count;
    for (uint32_t i = 0; i < c.space_count; i++) spaces[i] = c.space; // no key asks for these
    for (uint32_t i = 0; i < r->piece_count; i++)
        spaces[r->pieces[i].gathered->shard] = r->pieces[i].gathered;
    c.cmd->handler(&c);
}

void gather_free(struct keyspace *gathered)
{
    if (!gathered) return;
    keyspace_free(gathered);
    mem_free(gathered);
}
