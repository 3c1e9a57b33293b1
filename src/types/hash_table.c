// SPDX-License-Identifier: BSD-3-Clause
#include "types/hash_table.h"

#include "base/hash.h"
#include "base/mem.h"

static uint64_t item_hash(const void *item)
{
    return hash_bytes(hash_item_field(item));
}

static inline bool item_matches(const void *item, const void *field)
{
    return slice_eq(hash_item_field(item), *(const struct slice *)field);
}

static inline struct hash_item *find(const struct hash_table *t, uint64_t hash, struct slice field)
{
    return dict_find(&t->dict, hash, item_matches, &field);
}

struct hash_item *hash_table_find(const struct hash_table *t, struct slice field)
{
    return find(t, hash_bytes(field), field);
}

// --- items ---------------------------------------------------------------------------------------

static struct hash_item *item_new(struct hash_table *t, struct slice field, struct slice value,
                                  bool has_place)
{
    struct hash_item *i = hash_item_new(field, value, has_place);
    t->item_bytes += mem_good_bytes(hash_item_bytes(i));
    return i;
}

static void item_free(struct hash_table *t, struct hash_item *i)
{
    t->item_bytes -= mem_good_bytes(hash_item_bytes(i));
    mem_free(i);
}

static void expires_provide(struct hash_table *t)
{
    if (!t->expires) t->expires = hash_expires_new();
}

void hash_table_add(struct hash_table *t, struct slice field, struct slice value, int64_t at_ms)
{
    struct hash_item *i = item_new(t, field, value, at_ms >= 0);
    dict_insert(&t->dict, hash_bytes(field), i);
    if (at_ms < 0) return;
    expires_provide(t);
    hash_expires_add(t->expires, at_ms, i);
}

// Puts `to`, of the same field, in the place of `from`, which goes. A place that `to` has, but
// `from` has not, is the caller's to set.
static void exchange(struct hash_table *t, uint64_t hash, struct hash_item *from,
                     struct hash_item *to)
{
    if (hash_item_has_place(from)) {
        if (hash_item_has_place(to))
            hash_expires_moved(t->expires, hash_item_place(from), to);
        else
            hash_expires_remove(t->expires, hash_item_place(from));
    }
    dict_replace(&t->dict, hash, from, to);
    item_free(t, from);
}

bool hash_table_set(struct hash_table *t, struct slice field, struct slice value, int64_t now_ms,
                    bool keeps_expiry)
{
    uint64_t hash = hash_bytes(field);
    struct hash_item *i = find(t, hash, field);
    if (!i) {
        dict_insert(&t->dict, hash, item_new(t, field, value, false));
        return true;
    }
    bool has_place = hash_item_has_place(i), is_due = has_place && hash_table_is_due(t, i, now_ms);
    bool keeps_place = has_place && keeps_expiry && !is_due;
    if (has_place != keeps_place || !hash_item_overwrite(i, value))
        exchange(t, hash, i, item_new(t, field, value, keeps_place));
    return is_due;
}

void hash_table_remove(struct hash_table *t, struct hash_item *i)
{
    bool was_there = dict_remove(&t->dict, item_hash(i), i);
    ASSERT(was_there);
    if (hash_item_has_place(i)) hash_expires_remove(t->expires, hash_item_place(i));
    item_free(t, i);
}

// --- expiry --------------------------------------------------------------------------------------

void hash_table_set_expiry(struct hash_table *t, struct hash_item *i, int64_t at_ms)
{
    bool has_place = hash_item_has_place(i), needs_place = at_ms >= 0;
    if (!has_place && !needs_place) return;
    if (has_place && needs_place) {
        hash_expires_change(t->expires, hash_item_place(i), at_ms);
        return;
    }
    struct hash_item *to = item_new(t, hash_item_field(i), hash_item_value(i), needs_place);
    exchange(t, item_hash(to), i, to);
    if (!needs_place) return;
    expires_provide(t);
    hash_expires_add(t->expires, at_ms, to);
}

struct hash_item *hash_table_first_due(const struct hash_table *t, int64_t now_ms)
{
    if (!t->expires || hash_expires_first_ms(t->expires) >= now_ms) return NULL;
    return hash_expires_at(t->expires, 0)->item;
}

// --- whole tables --------------------------------------------------------------------------------

struct hash_table *hash_table_new(void)
{
    struct hash_table *t = mem_calloc(sizeof *t);
    dict_init(&t->dict, item_hash);
    return t;
}

struct hash_table *hash_table_copy(const struct hash_table *t)
{
    struct hash_table *copy = hash_table_new();
    uint64_t bucket = 0;
    uint32_t at = 0;
    for (const struct hash_item *i; (i = dict_next(&t->dict, &bucket, &at));)
        hash_table_add(copy, hash_item_field(i), hash_item_value(i), hash_table_expiry(t, i));
    return copy;
}

static void free_visited(void *item, void *arg)
{
    uint32_t *freed = arg;
    mem_free(item);
    ++*freed;
}

bool hash_table_drain(struct hash_table *t, uint32_t budget)
{
    uint32_t freed = 0;
    while (freed < budget && dict_drain_bucket(&t->dict, free_visited, &freed))
        ;
    if (t->dict.count || freed >= budget) return false;
    if (t->expires && !hash_expires_drain(t->expires, budget)) return false;
    if (t->expires) hash_expires_free(t->expires);
    dict_free(&t->dict);
    mem_free(t);
    return true;
}

size_t hash_table_bytes(const struct hash_table *t)
{
    size_t bytes = mem_usable_bytes(t) + t->item_bytes + dict_table_bytes(&t->dict);
    return t->expires ? bytes + hash_expires_bytes(t->expires) : bytes;
}

void hash_table_validate(const struct hash_table *t)
{
    uint64_t bucket = 0, with_place = 0;
    uint32_t at = 0;
    size_t item_bytes = 0;
    dict_validate(&t->dict);
    for (const struct hash_item *i; (i = dict_next(&t->dict, &bucket, &at));) {
        item_bytes += mem_good_bytes(hash_item_bytes(i));
        if (!hash_item_has_place(i)) continue;
        with_place++;
        ASSERT(hash_expires_at(t->expires, hash_item_place(i))->item == i);
    }
    ASSERT(item_bytes == t->item_bytes);
    ASSERT(with_place == (t->expires ? t->expires->count : 0));
    if (t->expires) hash_expires_validate(t->expires);
}
