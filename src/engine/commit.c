// SPDX-License-Identifier: BSD-3-Clause
//
// commit: the write tail. Whatever a write leaves behind passes through here, once for every key it
// changed and after it changed it; handlers do none of it themselves. What hangs on it:
//
//     the count of changes (rdb_changes_since_last_save)
//     WATCH and commands that wait for the key (interest.h)
//     keyspace notifications (notify.h)
//     client-side caching (tracking.h)
//     the log (effect.h)
//
// Replication joins here.
#include "engine/ctx.h"
#include "engine/effect.h"
#include "engine/interest.h"
#include "engine/notify.h"
#include "engine/snapshot.h"
#include "engine/tracking.h"
#include "types/hash.h"

static void commit(struct ctx *ctx, uint32_t db, struct slice key, enum event_class class,
                   const char *event)
{
    ASSERT_SLOW(snapshot_is_saved(ctx, db, key));
    stat_add(&ctx->space->stats.dirty, 1);
    if (effect_is_wanted(ctx))
        effect_key_changed(ctx, db, key, class & (EVENT_EXPIRED | EVENT_EVICTED));
    if (event) notify(ctx, db, key, class, event);
}

void ctx_commit_db(struct ctx *ctx, uint32_t db, struct slice key, enum event_class class,
                   const char *event)
{
    interest_changed(ctx, db, key);
    tracking_key_changed(ctx, key);
    commit(ctx, db, key, class, event);
}

void ctx_commit(struct ctx *ctx, struct slice key, enum event_class class, const char *event)
{
    ctx_commit_db(ctx, ctx->db, key, class, event);
}

void ctx_commit_beside(struct ctx *ctx, struct slice key, enum event_class class, const char *event)
{
    commit(ctx, ctx->db, key, class, event);
}

void ctx_commit_removal(struct ctx *ctx, struct slice key, struct entry *e, enum event_class class,
                        const char *event, bool is_empty)
{
    ctx_commit(ctx, key, class, event);
    if (LIKELY(!is_empty)) return;
    ctx_delete(ctx, key, e);
    ctx_commit(ctx, key, EVENT_GENERIC, "del");
}

bool ctx_commit_fields_expired(struct ctx *ctx, struct slice key, struct entry *e, uint64_t count)
{
    ASSERT(count);
    bool is_empty = hash_len(e->value) == 0;
    stat_add(&ctx->space->stats.expired_fields, count);
    ctx_field_expiry_changed(ctx, key, e);
    ctx_commit_removal(ctx, key, e, EVENT_HASH, "hexpired", is_empty);
    return !is_empty;
}

void ctx_commit_flush(struct ctx *ctx, int db)
{
    interest_flushing(ctx, db);
    tracking_flushed(ctx, db);
    effect_say_everywhere(ctx);
    stat_add(&ctx->space->stats.dirty, 1);
}

void ctx_commit_swap(struct ctx *ctx, uint32_t a, uint32_t b)
{
    interest_swapped(ctx, a, b);
    if (a != b) tracking_flushed(ctx, -1);
    effect_say_everywhere(ctx);
    stat_add(&ctx->space->stats.dirty, 1);
}

void ctx_commit_libraries(struct ctx *ctx)
{
    stat_add(&ctx->space->stats.dirty, 1);
}
