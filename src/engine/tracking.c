// SPDX-License-Identifier: BSD-3-Clause
#include "engine/tracking.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "engine/host.h"
#include "engine/settings.h"

#define EVICT_MAX     100 // keys thrown out of a table that is too full after one command
#define GARBAGE_SLICE 64  // buckets freed at a time
#define FEW_KEYS      64  // positions kept on the stack

// --- sets of connections -------------------------------------------------------------------------

// Where this id stands, or would.
static uint32_t trackers_find(const struct trackers *t, uint64_t id)
{
    uint32_t low = 0, high = t->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (TRACKER_ID(t->list[mid]) < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool trackers_has(const struct trackers *t, uint32_t at, uint64_t id)
{
    return at < t->count && TRACKER_ID(t->list[at]) == id;
}

// True if it is new; one that is not may have another home by now.
static bool trackers_add(struct trackers *t, uint64_t tracker)
{
    uint32_t at = trackers_find(t, TRACKER_ID(tracker));
    if (trackers_has(t, at, TRACKER_ID(tracker))) {
        t->list[at] = tracker;
        return false;
    }
    if (t->count == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 1;
        t->list = mem_realloc(t->list, t->cap * sizeof t->list[0]);
    }
    memmove(t->list + at + 1, t->list + at, (t->count - at) * sizeof t->list[0]);
    t->list[at] = tracker;
    t->count++;
    return true;
}

static void trackers_remove(struct trackers *t, uint64_t id)
{
    uint32_t at = trackers_find(t, id);
    if (!trackers_has(t, at, id)) return;
    t->count--;
    memmove(t->list + at, t->list + at + 1, (t->count - at) * sizeof t->list[0]);
}

// --- life ----------------------------------------------------------------------------------------

static uint64_t hash_of(const void *item)
{
    const struct tracked_key *k = item;
    return hash_bytes((struct slice){k->bytes, k->len});
}

static bool matches(const void *item, const void *key)
{
    const struct tracked_key *k = item;
    return slice_eq((struct slice){k->bytes, k->len}, *(const struct slice *)key);
}

struct tracking *tracking_new(void)
{
    struct tracking *t = mem_calloc(sizeof *t);
    dict_init(&t->keys, hash_of);
    dict_init(&t->garbage, hash_of);
    names_init(&t->broadcast, 0);
    t->changed_end = &t->changed;
    return t;
}

static void key_free(void *item, void *arg)
{
    struct tracked_key *k = item;
    (void)arg;
    mem_free(k->trackers.list);
    mem_free(k);
}

static void keys_free(struct tracked_key *list)
{
    while (list) {
        struct tracked_key *next = list->next;
        key_free(list, NULL);
        list = next;
    }
}

static void dict_drain(struct dict *d)
{
    while (dict_drain_bucket(d, key_free, NULL)) {
    }
    dict_free(d);
    dict_init(d, hash_of);
}

static void prefix_clear(struct tracked_prefix *p)
{
    mem_free(p->bytes);
    mem_free(p->trackers.list);
}

void tracking_free(struct tracking *t)
{
    dict_drain(&t->keys);
    dict_drain(&t->garbage);
    for (uint32_t i = 0; i < t->prefix_count; i++) prefix_clear(&t->prefixes[i]);
    mem_free(t->prefixes);
    keys_free(t->changed);
    names_free(&t->broadcast);
    dict_free(&t->keys);
    dict_free(&t->garbage);
    mem_free(t);
}

void tracking_validate(const struct tracking *t)
{
    uint64_t bucket = 0, items = 0;
    uint32_t at = 0;
    dict_validate(&t->keys);
    for (const struct tracked_key *k; (k = dict_next(&t->keys, &bucket, &at)) != NULL;) {
        ASSERT(k->trackers.count && k->fate == KEY_CHANGED);
        for (uint32_t i = 1; i < k->trackers.count; i++)
            ASSERT(TRACKER_ID(k->trackers.list[i - 1]) < TRACKER_ID(k->trackers.list[i]));
        items += k->trackers.count;
    }
    ASSERT(stat_get(&t->key_count) == t->keys.count && stat_get(&t->item_count) == items);
    ASSERT(stat_get(&t->published_prefixes) == t->prefix_count);
    for (uint32_t i = 0; i < t->prefix_count; i++) {
        const struct tracked_prefix *p = &t->prefixes[i];
        ASSERT(p->trackers.count);
        ASSERT(i == 0 || slice_cmp((struct slice){p[-1].bytes, p[-1].len},
                                   (struct slice){p->bytes, p->len}) < 0);
    }
}

void invalidation_free(struct invalidation *inv)
{
    keys_free(inv->keys);
    for (uint32_t i = 0; i < inv->broadcast_count; i++) {
        mem_free(inv->broadcasts[i].keys);
        mem_free(inv->broadcasts[i].trackers.list);
    }
    mem_free(inv->broadcasts);
    names_free(&inv->changed);
    mem_free(inv);
}

// --- what is to be told --------------------------------------------------------------------------

static struct tracking *own_tracking(const struct ctx *ctx)
{
    return ctx->engine->tracking[ctx->space->shard];
}

static struct tracking *tracking_of(const struct ctx *ctx, struct slice key)
{
    if (LIKELY(ctx->space_count == 1)) return own_tracking(ctx);
    return ctx->engine->tracking[engine_shard_of(ctx->engine, key)];
}

static bool is_pending(const struct tracking *t)
{
    return t->changed || names_count(&t->broadcast);
}

// What is told together was changed by one session, or NOLOOP has nobody to spare: a push and the
// blocked pop that it serves.
static struct tracking *begin_note(struct ctx *ctx)
{
    struct tracking *t = own_tracking(ctx);
    uint64_t cause = ctx->session ? ctx->session->id : 0;
    t->cause = is_pending(t) && t->cause != cause ? 0 : cause;
    return t;
}

static void append_changed(struct tracking *own, struct tracked_key *k, enum tracked_fate fate)
{
    k->fate = fate;
    k->next = NULL;
    *own->changed_end = k;
    own->changed_end = &k->next;
}

// Takes a key out of its table.
static void untrack(struct tracking *t, struct tracked_key *k, uint64_t hash)
{
    dict_remove(&t->keys, hash, k);
    stat_set(&t->key_count, t->keys.count);
    stat_set(&t->item_count, stat_get(&t->item_count) - k->trackers.count);
}

static bool has_prefix(struct slice key, const struct tracked_prefix *p)
{
    return key.len >= p->len && memcmp(key.ptr, p->bytes, p->len) == 0;
}

static void note_broadcast(struct tracking *own, struct slice key)
{
    for (uint32_t i = 0; i < own->prefix_count; i++) {
        if (!has_prefix(key, &own->prefixes[i])) continue;
        if (!names_find(&own->broadcast, key)) names_add(&own->broadcast, key);
        return;
    }
}

void tracking_note_change(struct ctx *ctx, struct slice key)
{
    struct tracking *own = begin_note(ctx), *t = tracking_of(ctx, key);
    note_broadcast(own, key);
    if (!t->keys.count) return;
    uint64_t hash = hash_bytes(key);
    struct tracked_key *k = dict_find(&t->keys, hash, matches, &key);
    if (!k) return;
    untrack(t, k, hash);
    append_changed(own, k, KEY_CHANGED);
}

// Everything in the table is forgotten; a big one is freed little by little.
static void empty_table(struct tracking *t)
{
    if (!t->keys.count) return;
    dict_drain(&t->garbage);
    dict_free(&t->garbage);
    t->garbage = t->keys;
    dict_init(&t->keys, hash_of);
    stat_set(&t->key_count, 0);
    stat_set(&t->item_count, 0);
}

void tracking_note_flush(struct ctx *ctx)
{
    struct tracking *own = begin_note(ctx);
    struct tracked_key *all = mem_calloc(sizeof *all);
    for (uint32_t i = 0; i < ctx->space_count; i++)
        if (ctx->spaces[i]) empty_table(ctx->engine->tracking[ctx->spaces[i]->shard]);
    append_changed(own, all, KEYS_FLUSHED);
}

// --- telling it ----------------------------------------------------------------------------------

static int by_bytes(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static void trackers_copy(struct trackers *to, const struct trackers *from)
{
    *to = (struct trackers){.count = from->count, .cap = from->count};
    to->list = mem_alloc(from->count * sizeof to->list[0]);
    memcpy(to->list, from->list, from->count * sizeof to->list[0]);
}

// Keys with one prefix stand together when all are sorted. sorted: `count` keys.
static void add_broadcast(struct invalidation *inv, const struct tracked_prefix *p,
                          const struct slice *sorted, size_t count)
{
    size_t first = 0, end;
    while (first < count && !has_prefix(sorted[first], p)) first++;
    for (end = first; end < count && has_prefix(sorted[end], p);) end++;
    if (first == end) return;
    struct broadcast *b = &inv->broadcasts[inv->broadcast_count++];
    b->key_count = end - first;
    b->keys = mem_alloc(b->key_count * sizeof b->keys[0]);
    memcpy(b->keys, sorted + first, b->key_count * sizeof b->keys[0]);
    trackers_copy(&b->trackers, &p->trackers);
}

static void add_broadcasts(struct tracking *t, struct invalidation *inv)
{
    size_t count = names_count(&t->broadcast), n = 0;
    inv->changed = t->broadcast;
    names_init(&t->broadcast, 0);
    if (!count) return;
    struct slice *sorted = mem_alloc(count * sizeof sorted[0]);
    for (const struct name *name = inv->changed.first; name; name = name->next)
        sorted[n++] = name_bytes(name);
    qsort(sorted, n, sizeof sorted[0], by_bytes);
    inv->broadcasts = mem_calloc(t->prefix_count * sizeof inv->broadcasts[0]);
    for (uint32_t i = 0; i < t->prefix_count; i++) add_broadcast(inv, &t->prefixes[i], sorted, n);
    mem_free(sorted);
}

// What a command in parts has noted on a keyspace that this thread runs, too, as in a meeting.
static void take_over(struct tracking *t, struct tracking *from)
{
    if (!is_pending(from)) return;
    t->cause = is_pending(t) && t->cause != from->cause ? 0 : from->cause;
    *t->changed_end = from->changed;
    if (from->changed) t->changed_end = from->changed_end;
    from->changed = NULL;
    from->changed_end = &from->changed;
    for (const struct name *n = from->broadcast.first; n; n = n->next)
        if (!names_find(&t->broadcast, name_bytes(n))) names_add(&t->broadcast, name_bytes(n));
    names_free(&from->broadcast);
    names_init(&from->broadcast, 0);
}

void tracking_send(struct ctx *ctx)
{
    struct tracking *t = own_tracking(ctx);
    for (uint32_t i = 0; ctx->space_count > 1 && i < ctx->space_count; i++)
        if (ctx->spaces[i] && i != ctx->space->shard) take_over(t, ctx->engine->tracking[i]);
    if (LIKELY(!is_pending(t))) return;
    struct invalidation *inv = mem_calloc(sizeof *inv);
    inv->cause = t->cause;
    inv->keys = t->changed;
    t->changed = NULL;
    t->changed_end = &t->changed;
    add_broadcasts(t, inv);
    if (ctx->engine->host && ctx->engine->host->invalidate)
        ctx->engine->host->invalidate(ctx, inv);
    else
        invalidation_free(inv);
}

// --- remembering ---------------------------------------------------------------------------------

static bool wants_keys(const struct ctx *ctx)
{
    const struct session *s = ctx->session;
    bool has_spoken = (ctx->flags & CTX_CACHING) || (s->tracking & TRACKING_CACHING_EXEC);
    if (!(s->tracking & TRACKING_ON) || (s->tracking & TRACKING_BCAST)) return false;
    if (s->tracking & TRACKING_OPTIN) return has_spoken;
    if (s->tracking & TRACKING_OPTOUT) return !has_spoken;
    return true;
}

static struct tracked_key *add_key(struct tracking *t, struct slice key, uint64_t hash)
{
    struct tracked_key *k = mem_calloc(sizeof *k + key.len);
    k->len = (uint32_t)key.len;
    memcpy(k->bytes, key.ptr, key.len);
    dict_insert(&t->keys, hash, k);
    stat_set(&t->key_count, t->keys.count);
    return k;
}

static void remember_key(struct ctx *ctx, struct slice key)
{
    if (!ctx_has_shard(ctx, engine_shard_of(ctx->engine, key))) return; // nor was it read
    struct tracking *t = tracking_of(ctx, key);
    uint64_t hash = ctx_hash(ctx, key);
    struct tracked_key *k = dict_find(&t->keys, hash, matches, &key);
    if (!k) k = add_key(t, key, hash);
    if (trackers_add(&k->trackers, TRACKER(ctx->session->id, ctx->session->home)))
        stat_add(&t->item_count, 1);
}

static uint64_t random_of(void *arg)
{
    return random_u64(arg);
}

// tracking-table-max-keys is for all shards together; each sees to its own part.
static void evict_keys(struct ctx *ctx, struct tracking *t)
{
    uint64_t max = (uint64_t)ctx->settings->tracking_table_max_keys,
             shards = ctx->engine->shard_count;
    uint64_t share = (max + shards - 1) / shards;
    if (LIKELY(!max || t->keys.count <= share)) return;
    struct tracking *own = begin_note(ctx);
    for (int i = 0; i < EVICT_MAX && t->keys.count > share; i++) {
        struct tracked_key *k = dict_random(&t->keys, random_of, &ctx->space->random);
        untrack(t, k, hash_of(k));
        append_changed(own, k, KEY_EVICTED);
    }
}

static void evict_everywhere(struct ctx *ctx)
{
    for (uint32_t i = 0; i < ctx->space_count; i++)
        if (ctx->spaces[i]) evict_keys(ctx, ctx->engine->tracking[ctx->spaces[i]->shard]);
}

void tracking_remember_args(struct ctx *ctx)
{
    if (!wants_keys(ctx)) return;
    for (int i = 1; i < ctx->argc; i++) remember_key(ctx, ctx->argv[i]);
    evict_everywhere(ctx);
}

void tracking_remember(struct ctx *ctx)
{
    const struct command *c = ctx->cmd;
    // A script's commands are looked at one by one.
    bool is_reading =
        (c->flags & CMD_READONLY) && !(c->flags & CMD_PUBSUB) && !(c->acl & ACL_SCRIPTING);
    if (!is_reading || !command_has_keys(c) || !wants_keys(ctx)) return;
    if (ctx->flags & CTX_IS_PART) { // of a split command: its name and its keys
        tracking_remember_args(ctx);
        return;
    }
    int few[FEW_KEYS], *positions = few;
    int count = command_keys(c, ctx->argc, ctx->argv, few, NULL, FEW_KEYS);
    if (count > FEW_KEYS) {
        positions = mem_alloc((size_t)count * sizeof positions[0]);
        command_keys(c, ctx->argc, ctx->argv, positions, NULL, count);
    }
    for (int i = 0; i < count; i++) remember_key(ctx, ctx->argv[positions[i]]);
    if (positions != few) mem_free(positions);
    evict_everywhere(ctx);
}

uint32_t tracking_take_caching(struct session *s, const struct command *cmd)
{
    if (LIKELY(!(s->tracking & (TRACKING_CACHING | TRACKING_CACHING_EXEC)))) return 0;
    if (cmd && cmd->parent && !strcmp(cmd->parent->name, "client")) return 0;
    if (cmd && !strcmp(cmd->full_name, "multi")) return 0; // EXEC is the one
    uint32_t flag = s->tracking & TRACKING_CACHING ? CTX_CACHING : 0;
    s->tracking &= ~(uint32_t)(TRACKING_CACHING | TRACKING_CACHING_EXEC);
    return flag;
}

// --- housekeeping --------------------------------------------------------------------------------

bool tracking_cron(struct engine *e, uint32_t shard)
{
    struct tracking *t = e->tracking[shard];
    if (LIKELY(!t->keys.count && !t->garbage.count)) return false;
    if (!tracking_is_used(e)) empty_table(t); // what is left of connections that are gone
    for (int i = 0; i < GARBAGE_SLICE && t->garbage.count; i++)
        dict_drain_bucket(&t->garbage, key_free, NULL);
    return t->garbage.count != 0;
}

enum command_span tracking_flush_span(const struct engine *e, int argc, const struct slice *argv)
{
    (void)argc, (void)argv;
    return tracking_is_used(e) ? SPAN_MEET_ALL : SPAN_ALL_OK;
}

// --- prefixes ------------------------------------------------------------------------------------

// Where it stands, or would.
static uint32_t find_prefix(const struct tracking *t, struct slice prefix, bool *is_there)
{
    uint32_t i = 0;
    int order = 1;
    for (; i < t->prefix_count; i++) {
        order = slice_cmp((struct slice){t->prefixes[i].bytes, t->prefixes[i].len}, prefix);
        if (order >= 0) break;
    }
    *is_there = i < t->prefix_count && order == 0;
    return i;
}

void tracking_add_prefix(struct tracking *t, struct slice prefix, uint64_t tracker)
{
    bool is_there;
    uint32_t at = find_prefix(t, prefix, &is_there);
    if (!is_there) {
        if (t->prefix_count == t->prefix_cap) {
            t->prefix_cap = t->prefix_cap ? t->prefix_cap * 2 : 4;
            t->prefixes = mem_realloc(t->prefixes, t->prefix_cap * sizeof t->prefixes[0]);
        }
        memmove(t->prefixes + at + 1, t->prefixes + at,
                (t->prefix_count - at) * sizeof t->prefixes[0]);
        t->prefixes[at] = (struct tracked_prefix){.bytes = mem_strndup(prefix.ptr, prefix.len),
                                                  .len = prefix.len};
        stat_set(&t->published_prefixes, ++t->prefix_count);
    }
    trackers_add(&t->prefixes[at].trackers, tracker);
}

void tracking_drop_prefixes(struct tracking *t, uint64_t id)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->prefix_count; i++) {
        struct tracked_prefix *p = &t->prefixes[i];
        trackers_remove(&p->trackers, id);
        if (p->trackers.count)
            t->prefixes[kept++] = *p;
        else
            prefix_clear(p);
    }
    t->prefix_count = kept;
    stat_set(&t->published_prefixes, kept);
}

void tracking_set_prefixes(struct tracking *t, const struct names *prefixes, uint64_t tracker)
{
    tracking_drop_prefixes(t, TRACKER_ID(tracker));
    for (const struct name *n = prefixes ? prefixes->first : NULL; n; n = n->next)
        tracking_add_prefix(t, name_bytes(n), tracker);
}

void tracking_sync_prefixes(struct ctx *ctx)
{
    struct session *s = ctx->session;
    if (ctx->engine->host && ctx->engine->host->sync_prefixes)
        ctx->engine->host->sync_prefixes(ctx);
    else
        tracking_set_prefixes(own_tracking(ctx), s->tracking_prefixes, TRACKER(s->id, s->home));
}

bool tracking_stop(struct engine *e, struct session *s)
{
    if (!s->tracking) return false;
    bool has_prefixes = s->tracking_prefixes != NULL;
    session_forget_tracking(s);
    // Relaxed: a count; see tracking_is_used.
    atomic_fetch_sub_explicit(&e->trackers, 1, memory_order_relaxed);
    return has_prefixes;
}

void tracking_end(struct ctx *ctx)
{
    if (tracking_stop(ctx->engine, ctx->session)) tracking_sync_prefixes(ctx);
}
