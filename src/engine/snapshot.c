// SPDX-License-Identifier: BSD-3-Clause
#include "engine/snapshot.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "engine/engine.h"

// A table that was flushed before all of it was saved.
struct kept_database {
    struct kept_database *next;
    struct dict keys;
    uint64_t cursor;
    uint32_t origin;
};

// --- saving --------------------------------------------------------------------------------------

static bool save(struct snapshot *s, uint32_t db, struct entry *e, bool at_once)
{
    bool is_done = !s->save || s->save(s, db, e, at_once);
    ASSERT(is_done || !at_once);
    if (is_done) e->mark = s->space->mark & 1;
    return is_done;
}

static void forget_pending(struct snapshot *s, const struct entry *e)
{
    for (uint32_t i = 0; i < s->pending_count; i++) {
        if (s->pending[i].entry != e) continue;
        s->pending_count--; // in order: the first may be half saved
        memmove(&s->pending[i], &s->pending[i + 1], (s->pending_count - i) * sizeof s->pending[0]);
        s->finished_count++;
        return;
    }
}

static void finish_pending(struct snapshot *s)
{
    for (uint32_t i = 0; i < s->pending_count; i++)
        save(s, s->pending[i].db, s->pending[i].entry, true);
    s->finished_count += s->pending_count;
    s->pending_count = 0;
}

void snapshot_save_now(struct db *db, struct entry *e)
{
    struct snapshot *s = db->space->snapshot;
    save(s, db->walk_origin, e, true);
    if (UNLIKELY(s->pending_count)) forget_pending(s, e);
}

static bool is_big(const struct entry *e)
{
    return e->type != TYPE_STRING && value_parts(e->type, e->value) > SNAPSHOT_BIG_PARTS;
}

// --- who waits for it ----------------------------------------------------------------------------

static bool is_giant(const struct entry *e)
{
    bool has_nodes = e->type == TYPE_LIST || e->type == TYPE_STREAM;
    return e->type != TYPE_STRING && value_parts(e->type, e->value) >
                                         (has_nodes ? SNAPSHOT_GIANT_NODES : SNAPSHOT_GIANT_PARTS);
}

static struct snapshot_pending *find_pending(struct snapshot *s, const struct entry *e)
{
    for (uint32_t i = 0; i < s->pending_count; i++)
        if (s->pending[i].entry == e) return &s->pending[i];
    return NULL;
}

// Behind the first, which may be half saved, and those that others wait for.
static void insert_awaited(struct snapshot *s, uint32_t db, struct entry *e)
{
    uint32_t i = MIN(s->pending_count, 1);
    while (i < s->pending_count && s->pending[i].is_awaited) i++;
    memmove(&s->pending[i + 1], &s->pending[i], (s->pending_count - i) * sizeof s->pending[0]);
    s->pending[i] = (struct snapshot_pending){.entry = e, .db = db, .is_awaited = true};
    s->pending_count++;
}

bool snapshot_must_wait(struct db *db, struct entry *e)
{
    struct snapshot *s = db->space->snapshot;
    if (!s || !s->save || e->mark == s->space->mark || !is_giant(e)) return false;
    struct snapshot_pending *p = find_pending(s, e);
    if (!p && s->pending_count == SNAPSHOT_PENDING_MAX) return false;
    if (p)
        p->is_awaited = true;
    else
        insert_awaited(s, db->walk_origin, e);
    return true;
}

bool snapshot_is_awaited(const struct snapshot *s)
{
    for (uint32_t i = 0; i < s->pending_count; i++)
        if (s->pending[i].is_awaited) return true;
    return false;
}

// --- the walk ------------------------------------------------------------------------------------

struct visit {
    struct snapshot *snapshot;
    uint32_t db;
};

static void visit_entry(void *item, void *arg)
{
    struct visit *v = arg;
    struct snapshot *s = v->snapshot;
    struct entry *e = item;
    if (e->mark == s->space->mark) return;
    if (LIKELY(!is_big(e)) || s->pending_count == SNAPSHOT_PENDING_MAX) {
        save(s, v->db, e, true);
        return;
    }
    if (find_pending(s, e)) return; // a walk may meet an entry twice
    s->pending[s->pending_count++] = (struct snapshot_pending){.entry = e, .db = v->db};
}

// One bucket of a table; true if it was the last.
static bool walk_bucket(struct snapshot *s, const struct dict *keys, uint64_t *cursor,
                        uint32_t origin)
{
    struct visit v = {.snapshot = s, .db = origin};
    if (keys->buckets) *cursor = dict_scan(keys, *cursor, visit_entry, &v);
    return !keys->buckets || !*cursor;
}

static bool walk_pending(struct snapshot *s)
{
    if (!s->pending_count) return false;
    struct snapshot_pending p = s->pending[0];
    if (save(s, p.db, p.entry, false)) forget_pending(s, p.entry);
    return true;
}

static bool walk_kept(struct snapshot *s)
{
    struct kept_database *k = s->kept;
    if (!k) return false;
    if (walk_bucket(s, &k->keys, &k->cursor, k->origin) && !s->pending_count) {
        s->kept = k->next;
        keyspace_discard(s->space, &k->keys);
        mem_free(k);
    }
    return true;
}

// False: there is no database left that has not been walked.
static bool walk_database(struct snapshot *s)
{
    struct keyspace *ks = s->space;
    for (uint32_t i = 0; i < ks->db_count; i++) {
        struct db *db = &ks->dbs[i];
        if (db->is_walked) continue;
        db->is_walked = walk_bucket(s, &db->keys, &db->walk_cursor, db->walk_origin);
        return true;
    }
    return false;
}

bool snapshot_walk(struct snapshot *s, uint32_t budget)
{
    enum { PIECE = 16 }; // what a piece of a big value costs, in buckets
    while (budget) {
        uint32_t cost = 1;
        if (walk_pending(s))
            cost = MIN(budget, PIECE);
        else if (!walk_kept(s) && !walk_database(s))
            return true;
        budget -= cost;
    }
    return false;
}

// --- beginning and end ---------------------------------------------------------------------------

void snapshot_cut(struct keyspace *ks, struct snapshot *s)
{
    ASSERT(!ks->snapshot);
    s->space = ks;
    ks->snapshot = s;
    ks->mark ^= 1;
    for (uint32_t i = 0; i < ks->db_count; i++) {
        ks->dbs[i].walk_cursor = 0;
        ks->dbs[i].walk_origin = i;
        ks->dbs[i].is_walked = false;
    }
}

void snapshot_give_up(struct snapshot *s)
{
    s->save = NULL;
}

void snapshot_end(struct snapshot *s)
{
    while (s->kept) {
        struct kept_database *k = s->kept;
        s->kept = k->next;
        keyspace_discard(s->space, &k->keys);
        mem_free(k);
    }
    s->space->snapshot = NULL;
}

bool snapshot_keep(struct db *db)
{
    struct snapshot *s = db->space->snapshot;
    if (LIKELY(!s)) return false;
    if (db->is_walked || !s->save) {
        finish_pending(s); // some of them may be among what goes
        return false;
    }
    struct kept_database *k = mem_calloc(sizeof *k), **last = &s->kept;
    k->keys = db->keys;
    k->cursor = db->walk_cursor;
    k->origin = db->walk_origin;
    while (*last) last = &(*last)->next; // a half saved value of the first stays the first
    *last = k;
    db->is_walked = true;
    return true;
}

// --- from commands -------------------------------------------------------------------------------

static void touch_key(struct ctx *ctx, struct slice key)
{
    // Of a waiter's keys some may be out of reach.
    if (ctx->space_count > 1 && !ctx_has_shard(ctx, engine_shard_of(ctx->engine, key))) return;
    struct db *db = ctx_db_of(ctx, ctx->db, key);
    struct entry *e = db_find(db, key, hash_bytes(key));
    if (e) snapshot_touch(db, e);
}

void snapshot_touch_keys(struct ctx *ctx)
{
    enum { FEW = 64 };
    int few[FEW], *positions = few;
    int count = command_keys(ctx->cmd, ctx->argc, ctx->argv, few, NULL, FEW);
    if (count > FEW) {
        positions = mem_alloc((size_t)count * sizeof positions[0]);
        command_keys(ctx->cmd, ctx->argc, ctx->argv, positions, NULL, count);
    }
    for (int i = 0; i < count; i++) touch_key(ctx, ctx->argv[positions[i]]);
    if (positions != few) mem_free(positions);
}

bool snapshot_is_saved(struct ctx *ctx, uint32_t db_index, struct slice key)
{
    struct db *db = ctx_db_of(ctx, db_index, key);
    const struct entry *e = db->space->snapshot ? db_find(db, key, hash_bytes(key)) : NULL;
    return !e || e->mark == db->space->mark;
}
