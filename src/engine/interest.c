// SPDX-License-Identifier: BSD-3-Clause
#include "engine/interest.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "engine/block.h"
#include "engine/engine.h"

// --- the table -----------------------------------------------------------------------------------

struct interest_name {
    uint32_t db;
    struct slice key;
};

static uint64_t name_hash(uint32_t db, struct slice key)
{
    return hash_bytes(key) ^ db * 0x9e3779b97f4a7c15u;
}

static uint64_t item_hash(const void *item)
{
    const struct interest *i = item;
    return name_hash(i->db, interest_key(i));
}

static bool matches(const void *item, const void *name)
{
    const struct interest *i = item;
    const struct interest_name *n = name;
    return i->db == n->db && slice_eq(interest_key(i), n->key);
}

static struct interest *find(struct keyspace *ks, uint32_t db, struct slice key)
{
    struct interest_name name = {db, key};
    return dict_find(&ks->interests, name_hash(db, key), matches, &name);
}

struct interest *interest_get(struct keyspace *ks, uint32_t db, struct slice key)
{
    struct interest *i = find(ks, db, key);
    if (i) return i;
    if (!ks->interests.hash) dict_init(&ks->interests, item_hash);
    i = mem_calloc(sizeof *i + key.len);
    i->space = ks;
    i->db = db;
    i->key_len = (uint32_t)key.len;
    memcpy(i->key, key.ptr, key.len);
    dict_insert(&ks->interests, name_hash(db, key), i);
    return i;
}

void interest_settle(struct interest *i)
{
    if (i->first || i->watches || i->is_ready || i->is_held) return;
    dict_remove(&i->space->interests, item_hash(i), i);
    mem_free(i);
}

// Calls `visit` for every interest in database `db` (-1: all).
static void each(struct keyspace *ks, int db, void (*visit)(struct interest *i, void *arg),
                 void *arg)
{
    uint64_t bucket = 0;
    uint32_t at = 0;
    void *item;
    if (!ks->interests.count) return;
    while ((item = dict_next(&ks->interests, &bucket, &at)))
        if (db < 0 || ((struct interest *)item)->db == (uint32_t)db) visit(item, arg);
}

// --- changes -------------------------------------------------------------------------------------

static void make_dirty(struct interest *i)
{
    for (struct watch_link *l = i->watches; l; l = l->next_of)
        atomic_store_explicit(&l->watch->is_dirty, true, memory_order_release); // see struct watch
}

// The list of ready keys belongs to the keyspace of who runs the command.
static void make_ready(struct keyspace *runner, struct interest *i)
{
    if (!i->first || i->is_ready) return;
    i->is_ready = true;
    i->next_ready = NULL;
    if (runner->ready_tail)
        runner->ready_tail->next_ready = i;
    else
        runner->ready = i;
    runner->ready_tail = i;
}

void interest_changed(struct ctx *ctx, uint32_t db, struct slice key)
{
    struct keyspace *ks = ctx_db_of(ctx, db, key)->space;
    if (LIKELY(!ks->interests.count)) return;
    struct interest *i = find(ks, db, key);
    if (!i) return;
    make_dirty(i);
    make_ready(ctx->space, i);
}

void interest_ready(struct ctx *ctx, uint32_t db, struct slice key)
{
    struct interest *i = find(ctx_db_of(ctx, db, key)->space, db, key);
    if (i) make_ready(ctx->space, i);
}

struct interest *interest_take_ready(struct keyspace *ks)
{
    struct interest *i = ks->ready;
    if (!i) return NULL;
    ks->ready = i->next_ready;
    if (!ks->ready) ks->ready_tail = NULL;
    i->is_ready = false;
    return i;
}

static void take_out(struct keyspace *ks, struct interest *i)
{
    struct interest **at = &ks->ready, *before = NULL;
    for (; *at != i; at = &before->next_ready) before = *at;
    *at = i->next_ready;
    if (ks->ready_tail == i) ks->ready_tail = before;
}

void interest_put_back(struct keyspace *ks, struct interest *i)
{
    if (i->is_ready) take_out(ks, i); // it has changed since it was taken
    i->is_ready = true;
    i->next_ready = ks->ready;
    if (!ks->ready) ks->ready_tail = i;
    ks->ready = i;
}

void interest_move_ready(struct keyspace *to, struct keyspace *from)
{
    if (to == from || !from->ready) return;
    if (to->ready_tail)
        to->ready_tail->next_ready = from->ready;
    else
        to->ready = from->ready;
    to->ready_tail = from->ready_tail;
    from->ready = from->ready_tail = NULL;
}

static bool exists(const struct interest *i, uint32_t db)
{
    struct slice key = interest_key(i);
    return db_find(&i->space->dbs[db], key, hash_bytes(key)) != NULL;
}

static void visit_flushing(struct interest *i, void *arg)
{
    struct keyspace *runner = arg;
    if (!exists(i, i->db)) return;
    make_dirty(i);
    make_ready(runner, i);
}

void interest_flushing(struct ctx *ctx, int db)
{
    for (uint32_t i = 0; i < ctx->space_count; i++)
        each(ctx->spaces[i], db, visit_flushing, ctx->space);
}

struct swap {
    struct keyspace *runner;
    uint32_t a, b;
};

static void visit_swapped(struct interest *i, void *arg)
{
    struct swap *swap = arg;
    if (!exists(i, swap->a) && !exists(i, swap->b)) return;
    make_dirty(i);
    make_ready(swap->runner, i);
}

void interest_swapped(struct ctx *ctx, uint32_t a, uint32_t b)
{
    struct swap swap = {ctx->space, a, b};
    if (a == b) return;
    for (uint32_t i = 0; i < ctx->space_count; i++) {
        each(ctx->spaces[i], (int)a, visit_swapped, &swap);
        each(ctx->spaces[i], (int)b, visit_swapped, &swap);
    }
}

static void visit_free(struct interest *i, void *arg)
{
    (void)arg;
    while (i->first) {
        struct wait_link *link = i->first;
        i->first = link->next;
        link->interest = NULL;
        waiter_unref(link->waiter);
    }
    ASSERT(!i->watches); // their connections went before
    mem_free(i);
}

void interests_free(struct keyspace *ks)
{
    each(ks, -1, visit_free, NULL);
    if (ks->interests.hash) dict_free(&ks->interests);
}

// --- WATCH ---------------------------------------------------------------------------------------

struct watch *watch_new(uint32_t shard_count)
{
    struct watch *w = mem_calloc(sizeof *w + shard_count * sizeof w->links[0]);
    w->shard_count = shard_count;
    atomic_init(&w->is_dirty, false);
    atomic_init(&w->refs, 1);
    return w;
}

void watch_unref(struct watch *w)
{
    // Release what was done to it, acquire what others did, before it is freed.
    if (atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) == 1) mem_free(w);
}

void watch_add(struct watch *w, struct keyspace *ks, uint32_t db, struct slice key)
{
    struct watch_link **links = &w->links[ks->shard];
    struct interest *i = interest_get(ks, db, key);
    for (struct watch_link *l = *links; l; l = l->next)
        if (l->interest == i) return;
    // Relaxed: whoever counts up holds a reference through the connection.
    if (!*links) atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
    struct watch_link *l = mem_alloc(sizeof *l);
    *l = (struct watch_link){.next = *links, .interest = i, .watch = w, .next_of = i->watches};
    *links = l;
    l->at_of = &i->watches;
    if (l->next_of) l->next_of->at_of = &l->next_of;
    i->watches = l;
}

void watch_drop(struct watch *w, struct keyspace *ks)
{
    struct watch_link *l = w->links[ks->shard], *next;
    if (!l) return;
    w->links[ks->shard] = NULL;
    for (; l; l = next) {
        next = l->next;
        *l->at_of = l->next_of;
        if (l->next_of) l->next_of->at_of = l->at_of;
        interest_settle(l->interest);
        mem_free(l);
    }
    watch_unref(w);
}

bool watch_is_intact(struct watch *w, struct ctx *ctx)
{
    for (uint32_t i = 0; i < ctx->space_count; i++) {
        if (!ctx->spaces[i]) continue;
        for (struct watch_link *l = w->links[ctx->spaces[i]->shard]; l; l = l->next)
            ctx_peek_db(ctx, l->interest->db, interest_key(l->interest)); // expires it if need be
    }
    return !atomic_load_explicit(&w->is_dirty, memory_order_acquire); // see struct watch
}
