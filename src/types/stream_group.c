// SPDX-License-Identifier: BSD-3-Clause
//
// The consumer groups of a stream (types/stream.h).
//
// Groups and consumers stand in arrays in the order of their names, which is the order in which
// Redis lists them; there are few, so that moving pointers up by one costs nothing that counts.
#include "base/assert.h"
#include "base/mem.h"
#include "types/stream.h"

// --- names ---------------------------------------------------------------------------------------

// Where the name is (true) or belongs.
static bool names_search(const struct stream_names *names, struct slice name, uint32_t *at)
{
    uint32_t low = 0, high = names->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int c = slice_cmp(*names->items[middle], name);
        if (c == 0) {
            *at = middle;
            return true;
        }
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *at = low;
    return false;
}

static struct slice *names_find(const struct stream_names *names, struct slice name)
{
    uint32_t at;
    return names_search(names, name, &at) ? names->items[at] : NULL;
}

// A new item of `bytes` with its name behind it, in its place; NULL if the name is taken.
static void *names_add(struct stream_names *names, struct slice name, size_t bytes)
{
    uint32_t at;
    if (names_search(names, name, &at)) return NULL;
    if (names->count == names->cap) {
        names->cap = names->cap ? names->cap * 2 : 2;
        names->items = mem_realloc(names->items, names->cap * sizeof names->items[0]);
    }
    memmove(names->items + at + 1, names->items + at, (names->count - at) * sizeof names->items[0]);
    names->count++;
    char *item = mem_alloc(bytes + name.len);
    memset(item, 0, bytes);
    memcpy(item + bytes, name.ptr, name.len);
    names->items[at] = (struct slice *)(void *)item;
    *names->items[at] = (struct slice){item + bytes, name.len};
    return item;
}

static void names_remove(struct stream_names *names, struct slice *item)
{
    uint32_t at;
    ASSERT(names_search(names, *item, &at) && names->items[at] == item);
    names->count--;
    memmove(names->items + at, names->items + at + 1, (names->count - at) * sizeof names->items[0]);
    mem_free(item);
}

static void names_free(struct stream_names *names)
{
    ASSERT(!names->count);
    mem_free(names->items);
    *names = (struct stream_names){0};
}

// --- groups and consumers ------------------------------------------------------------------------

struct stream_group *stream_group_find(const struct stream *s, struct slice name)
{
    return (struct stream_group *)names_find(&s->groups, name);
}

struct stream_group *stream_group_create(struct stream *s, struct slice name, struct stream_id last,
                                         int64_t entries_read)
{
    struct stream_group *g = names_add(&s->groups, name, sizeof *g);
    if (!g) return NULL;
    g->last_id = last;
    g->entries_read = entries_read;
    return g;
}

struct stream_consumer *stream_consumer_find(const struct stream_group *g, struct slice name)
{
    return (struct stream_consumer *)names_find(&g->consumers, name);
}

struct stream_consumer *stream_consumer_create(struct stream_group *g, struct slice name,
                                               int64_t now_ms)
{
    struct stream_consumer *c = names_add(&g->consumers, name, sizeof *c);
    if (!c) return NULL;
    c->seen_ms = now_ms;
    c->active_ms = STREAM_NEVER;
    return c;
}

uint64_t stream_consumer_destroy(struct stream_group *g, struct stream_consumer *c)
{
    uint64_t pending = c->pending.count;
    for (struct idtree_cursor at = idtree_first(&c->pending); at.leaf; idtree_next(&at)) {
        idtree_remove(&g->pending, idtree_id(&at), NULL);
        mem_free(stream_nack_at(&at));
    }
    idtree_free(&c->pending);
    names_remove(&g->consumers, &c->name);
    return pending;
}

// --- freeing in slices ---------------------------------------------------------------------------

static void drain_nack(uint64_t word, void *arg)
{
    mem_free((struct stream_nack *)(uintptr_t)word);
    --*(int64_t *)arg;
}

// True when nothing is left of it. *budget: pieces that may still be freed.
static bool drain_group(struct stream *s, struct stream_group *g, int64_t *budget)
{
    while (*budget > 0 && idtree_drain_leaf(&g->pending, drain_nack, budget)) continue;
    while (*budget > 0 && g->consumers.count) {
        struct stream_consumer *c = stream_consumer_at(g, g->consumers.count - 1);
        if (idtree_drain_leaf(&c->pending, NULL, NULL))
            --*budget;
        else
            names_remove(&g->consumers, &c->name), --*budget;
    }
    if (*budget <= 0) return false;
    names_free(&g->consumers);
    names_remove(&s->groups, &g->name);
    --*budget;
    return true;
}

bool stream_groups_drain(struct stream *s, int64_t *budget)
{
    while (s->groups.count)
        if (!drain_group(s, stream_group_at(s, s->groups.count - 1), budget)) return false;
    names_free(&s->groups);
    return true;
}

void stream_group_destroy(struct stream *s, struct stream_group *g)
{
    int64_t budget = INT64_MAX;
    ASSERT(drain_group(s, g, &budget));
}

// --- what is pending -----------------------------------------------------------------------------

struct stream_nack *stream_group_pending(const struct stream_group *g, struct stream_id id)
{
    const uint64_t *word = idtree_find(&g->pending, id);
    return word ? (struct stream_nack *)(uintptr_t)*word : NULL;
}

struct stream_nack *stream_group_assign(struct stream_group *g, struct stream_id id,
                                        struct stream_consumer *c)
{
    bool is_new;
    uint64_t *word = idtree_insert(&g->pending, id, &is_new);
    if (is_new) *word = (uintptr_t)mem_calloc(sizeof(struct stream_nack));
    struct stream_nack *nack = (struct stream_nack *)(uintptr_t)*word;
    if (nack->consumer == c) return nack;
    if (nack->consumer) idtree_remove(&nack->consumer->pending, id, NULL);
    *idtree_insert(&c->pending, id, &is_new) = (uintptr_t)nack;
    nack->consumer = c;
    return nack;
}

bool stream_group_release(struct stream_group *g, struct stream_id id)
{
    uint64_t word;
    if (!idtree_remove(&g->pending, id, &word)) return false;
    struct stream_nack *nack = (struct stream_nack *)(uintptr_t)word;
    idtree_remove(&nack->consumer->pending, id, NULL);
    mem_free(nack);
    return true;
}

// --- how far a group has read --------------------------------------------------------------------
// Redis 7.4's rules. That entries were taken out of the middle is known only by the greatest id so
// removed; behind that id, entries can be counted.

static bool has_tombstones_from(const struct stream *s, struct stream_id start)
{
    return s->len && !stream_id_is_zero(s->max_deleted_id) &&
           stream_id_cmp(start, s->max_deleted_id) <= 0;
}

int64_t stream_entries_up_to(const struct stream *s, struct stream_id id)
{
    if (!s->entries_added) return 0;
    if (!s->len && stream_id_cmp(id, s->last_id) <= 0) return (int64_t)s->entries_added;
    if (!stream_id_is_zero(id) && stream_id_cmp(id, s->max_deleted_id) < 0)
        return STREAM_UNKNOWN_COUNT;
    int c = stream_id_cmp(id, s->last_id);
    if (c == 0) return (int64_t)s->entries_added;
    if (c > 0) return STREAM_UNKNOWN_COUNT;
    if (!stream_id_is_zero(s->max_deleted_id) && stream_id_cmp(s->max_deleted_id, s->first_id) >= 0)
        return STREAM_UNKNOWN_COUNT;
    c = stream_id_cmp(id, s->first_id);
    if (c > 0) return STREAM_UNKNOWN_COUNT;
    return (int64_t)(s->entries_added - s->len) + (c == 0);
}

bool stream_group_advance(const struct stream *s, struct stream_group *g, struct stream_id id)
{
    if (stream_id_cmp(id, g->last_id) <= 0) return false;
    if (g->entries_read != STREAM_UNKNOWN_COUNT && stream_id_cmp(g->last_id, s->first_id) >= 0 &&
        !has_tombstones_from(s, g->last_id))
        g->entries_read = (int64_t)((uint64_t)g->entries_read + 1);
    else if (s->entries_added)
        g->entries_read = stream_entries_up_to(s, id);
    g->last_id = id;
    return true;
}

bool stream_group_lag(const struct stream *s, const struct stream_group *g, int64_t *lag)
{
    *lag = 0;
    if (!s->entries_added || !s->len) return true;
    if (stream_id_cmp(g->last_id, s->first_id) < 0 &&
        stream_id_cmp(s->max_deleted_id, s->first_id) < 0) {
        *lag = (int64_t)s->len;
        return true;
    }
    int64_t read = g->entries_read;
    if (read == STREAM_UNKNOWN_COUNT || has_tombstones_from(s, g->last_id))
        read = stream_entries_up_to(s, g->last_id);
    if (read == STREAM_UNKNOWN_COUNT) return false;
    *lag = (int64_t)(s->entries_added - (uint64_t)read);
    return true;
}

// --- all groups ----------------------------------------------------------------------------------

static void copy_group(const struct stream_group *from, struct stream_group *to)
{
    for (uint32_t i = 0; i < from->consumers.count; i++) {
        const struct stream_consumer *c = stream_consumer_at(from, i);
        struct stream_consumer *copy = stream_consumer_create(to, c->name, c->seen_ms);
        copy->active_ms = c->active_ms;
        for (struct idtree_cursor at = idtree_first(&c->pending); at.leaf; idtree_next(&at)) {
            const struct stream_nack *nack = stream_nack_at(&at);
            struct stream_nack *new_nack = stream_group_assign(to, idtree_id(&at), copy);
            new_nack->delivered_ms = nack->delivered_ms;
            new_nack->count = nack->count;
        }
    }
}

void stream_groups_copy(const struct stream *from, struct stream *to)
{
    for (uint32_t i = 0; i < from->groups.count; i++) {
        const struct stream_group *g = stream_group_at(from, i);
        copy_group(g, stream_group_create(to, g->name, g->last_id, g->entries_read));
    }
}

static size_t group_bytes(const struct stream_group *g)
{
    size_t bytes = mem_usable_bytes(g) + g->pending.bytes;
    struct idtree_cursor first = idtree_first(&g->pending);
    if (first.leaf) bytes += g->pending.count * mem_usable_bytes(stream_nack_at(&first));
    if (g->consumers.items) bytes += mem_usable_bytes(g->consumers.items);
    for (uint32_t i = 0; i < g->consumers.count; i++) {
        const struct stream_consumer *c = stream_consumer_at(g, i);
        bytes += mem_usable_bytes(c) + c->pending.bytes;
    }
    return bytes;
}

size_t stream_groups_bytes(const struct stream *s)
{
    size_t bytes = s->groups.items ? mem_usable_bytes(s->groups.items) : 0;
    for (uint32_t i = 0; i < s->groups.count; i++) bytes += group_bytes(stream_group_at(s, i));
    return bytes;
}

uint64_t stream_groups_parts(const struct stream *s)
{
    uint64_t parts = 0;
    for (uint32_t i = 0; i < s->groups.count; i++) {
        const struct stream_group *g = stream_group_at(s, i);
        parts += 1 + g->consumers.count + g->pending.count;
    }
    return parts;
}

static void validate_names(const struct stream_names *names)
{
    ASSERT(names->count <= names->cap);
    for (uint32_t i = 1; i < names->count; i++)
        ASSERT(slice_cmp(*names->items[i - 1], *names->items[i]) < 0);
}

static void validate_group(const struct stream_group *g)
{
    uint64_t pending = 0;
    validate_names(&g->consumers);
    idtree_validate(&g->pending);
    for (uint32_t i = 0; i < g->consumers.count; i++) {
        const struct stream_consumer *c = stream_consumer_at(g, i);
        idtree_validate(&c->pending);
        pending += c->pending.count;
        for (struct idtree_cursor at = idtree_first(&c->pending); at.leaf; idtree_next(&at)) {
            ASSERT(stream_nack_at(&at)->consumer == c);
            ASSERT(stream_group_pending(g, idtree_id(&at)) == stream_nack_at(&at));
        }
    }
    ASSERT(pending == g->pending.count);
}

void stream_groups_validate(const struct stream *s)
{
    validate_names(&s->groups);
    for (uint32_t i = 0; i < s->groups.count; i++) validate_group(stream_group_at(s, i));
}
