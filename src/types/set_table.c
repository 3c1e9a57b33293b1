// SPDX-License-Identifier: BSD-3-Clause
//
// The forms of a member are drawn in set_table.h.
#include "types/set_table.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

#define LONG_ITEM 255 // a length that says: the length follows

// --- items ---------------------------------------------------------------------------------------

static inline bool is_inline(const void *item)
{
    return (uintptr_t)item & 1;
}

static inline struct slice item_bytes(const void *item)
{
    const unsigned char *p = item;
    if (LIKELY(p[0] < LONG_ITEM)) return (struct slice){(const char *)p + 1, p[0]};
    uint32_t len;
    memcpy(&len, p + 1, sizeof len);
    return (struct slice){(const char *)p + 1 + sizeof len, len};
}

static void *item_new(struct slice s)
{
    if (LIKELY(s.len < LONG_ITEM)) {
        unsigned char *p = mem_alloc(1 + s.len);
        p[0] = (unsigned char)s.len;
        memcpy(p + 1, s.ptr, s.len);
        return p;
    }
    uint32_t len = (uint32_t)s.len;
    ASSERT(len == s.len);
    unsigned char *p = mem_alloc(1 + sizeof len + s.len);
    p[0] = LONG_ITEM;
    memcpy(p + 1, &len, sizeof len);
    memcpy(p + 1 + sizeof len, s.ptr, s.len);
    return p;
}

static inline struct item item_read(const void *item)
{
    return is_inline(item) ? item_of_integer(set_inline_integer(item)) : item_of(item_bytes(item));
}

static uint64_t item_hash(const void *item)
{
    return is_inline(item) ? set_integer_hash(set_inline_integer(item))
                           : hash_bytes(item_bytes(item));
}

static inline bool item_matches(const void *item, const void *key)
{
    const struct set_needle *n = key;
    if (n->inline_item) return item == n->inline_item;
    return !is_inline(item) && slice_eq(item_bytes(item), n->bytes);
}

static inline void item_free(struct set_table *t, void *item)
{
    if (is_inline(item)) return;
    t->item_bytes -= mem_usable_bytes(item);
    mem_free(item);
}

// --- members -------------------------------------------------------------------------------------

struct set_table *set_table_new(void)
{
    struct set_table *t = mem_alloc(sizeof *t);
    dict_init(&t->dict, item_hash);
    t->item_bytes = 0;
    return t;
}

static inline void *find(const struct set_table *t, const struct set_needle *n)
{
    return dict_find(&t->dict, n->hash, item_matches, n);
}

void *set_table_find(const struct set_table *t, const struct set_needle *n)
{
    return find(t, n);
}

bool set_table_add(struct set_table *t, const struct item *m, bool is_new)
{
    struct set_needle n;
    set_needle_init(&n, m);
    if (!is_new && find(t, &n)) return false;
    void *item = n.inline_item;
    if (!item) {
        item = item_new(n.bytes);
        t->item_bytes += mem_usable_bytes(item);
    }
    dict_insert(&t->dict, n.hash, item);
    return true;
}

bool set_table_remove(struct set_table *t, const struct item *m)
{
    struct set_needle n;
    set_needle_init(&n, m);
    void *item = find(t, &n);
    if (!item) return false;
    dict_remove(&t->dict, n.hash, item);
    item_free(t, item);
    return true;
}

uint32_t set_table_has_batch(const struct set_table *t, const struct item *members, uint32_t count)
{
    struct set_needle needles[SET_BATCH];
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        set_needle_init(&needles[i], &members[i]);
        dict_prefetch_bucket(&t->dict, needles[i].hash);
    }
    for (uint32_t i = 0; i < count; i++) __builtin_prefetch(dict_peek(&t->dict, needles[i].hash));
    for (uint32_t i = 0; i < count; i++) found |= (uint32_t)(find(t, &needles[i]) != NULL) << i;
    return found;
}

// --- walks ---------------------------------------------------------------------------------------

bool set_table_next(const struct set_table *t, uint64_t *bucket, uint32_t *at, struct item *out)
{
    const void *item = dict_next(&t->dict, bucket, at);
    if (item) *out = item_read(item);
    return item;
}

struct visitor {
    set_visit_fn visit;
    void *arg;
};

static void visit_item(void *item, void *arg)
{
    const struct visitor *v = arg;
    struct item m = item_read(item);
    v->visit(v->arg, &m);
}

uint64_t set_table_scan(const struct set_table *t, uint64_t cursor, set_visit_fn visit, void *arg)
{
    struct visitor visitor = {visit, arg};
    return dict_scan(&t->dict, cursor, visit_item, &visitor);
}

// --- by chance -----------------------------------------------------------------------------------

static uint64_t random_bits(void *random)
{
    return random_u64(random);
}

static void *random_item(const struct set_table *t, struct random *random)
{
    void *item = dict_random(&t->dict, random_bits, random);
    ASSERT(item);
    return item;
}

void set_table_random(const struct set_table *t, struct random *random, struct item *out)
{
    *out = item_read(random_item(t, random));
}

void set_table_pop(struct set_table *t, struct random *random, set_visit_fn taken, void *arg)
{
    void *item = random_item(t, random);
    struct item m = item_read(item);
    taken(arg, &m);
    dict_remove(&t->dict, item_hash(item), item);
    item_free(t, item);
}

// Walks over all; what is not taken moves to a new table.
static void pop_by_walk(struct set_table *t, uint64_t count, struct random *random,
                        set_visit_fn taken, void *arg)
{
    struct dict rest;
    dict_init(&rest, item_hash);
    uint64_t left = t->dict.count, bucket = 0;
    uint32_t at = 0;
    for (void *item; (item = dict_next(&t->dict, &bucket, &at)); left--) {
        if (!set_is_chosen(random, count, left)) {
            dict_insert(&rest, item_hash(item), item);
            continue;
        }
        struct item m = item_read(item);
        taken(arg, &m);
        item_free(t, item);
        count--;
    }
    dict_free(&t->dict);
    t->dict = rest;
}

void set_table_pop_many(struct set_table *t, uint64_t count, struct random *random,
                        set_visit_fn taken, void *arg)
{
    enum { DEAR = 5 }; // taking out one by chance costs about as much as moving so many
    if (t->dict.count - count < count / DEAR)
        pop_by_walk(t, count, random, taken, arg);
    else
        while (count-- > 0) set_table_pop(t, random, taken, arg);
}

// Those seen stand in a hash set of their addresses.
void set_table_draw_different(const struct set_table *t, uint64_t count, struct random *random,
                              set_visit_fn visit, void *arg)
{
    uint64_t mask = 15;
    while (mask < count * 2) mask = mask * 2 + 1;
    void **seen = mem_calloc((mask + 1) * sizeof *seen);
    while (count) {
        void *item = random_item(t, random);
        uint64_t i = ((uint64_t)(uintptr_t)item * 0x9e3779b97f4a7c15u) >> 32 & mask;
        while (seen[i] && seen[i] != item) i = (i + 1) & mask;
        if (seen[i]) continue;
        seen[i] = item;
        struct item m = item_read(item);
        visit(arg, &m);
        count--;
    }
    mem_free(seen);
}

// --- the whole -----------------------------------------------------------------------------------

static void drain_item(void *item, void *arg)
{
    uint32_t *freed = arg;
    if (!is_inline(item)) mem_free(item);
    ++*freed;
}

bool set_table_drain(struct set_table *t, uint32_t budget)
{
    uint32_t freed = 0;
    while (dict_drain_bucket(&t->dict, drain_item, &freed))
        if (++freed >= budget) return false;
    return true;
}

void set_table_free(struct set_table *t)
{
    while (!set_table_drain(t, UINT32_MAX))
        ;
    dict_free(&t->dict);
    mem_free(t);
}

struct set_table *set_table_copy(const struct set_table *t)
{
    struct set_table *copy = set_table_new();
    uint64_t bucket = 0;
    uint32_t at = 0;
    for (void *item; (item = dict_next(&t->dict, &bucket, &at));) {
        uint64_t hash = item_hash(item);
        if (!is_inline(item)) item = item_new(item_bytes(item));
        dict_insert(&copy->dict, hash, item);
    }
    copy->item_bytes = t->item_bytes; // the same lengths, so the same pieces
    return copy;
}

size_t set_table_memory_bytes(const struct set_table *t)
{
    return mem_usable_bytes(t) + dict_table_bytes(&t->dict) + t->item_bytes;
}

void set_table_validate(const struct set_table *t)
{
    size_t bytes = 0;
    uint64_t bucket = 0;
    uint32_t at = 0;
    dict_validate(&t->dict);
    for (void *item; (item = dict_next(&t->dict, &bucket, &at));) {
        struct item m = item_read(item);
        struct set_needle n;
        set_needle_init(&n, &m);
        ASSERT(find(t, &n) == item); // so it is the only one, in the form it must have
        if (!is_inline(item)) bytes += mem_usable_bytes(item);
    }
    ASSERT(bytes == t->item_bytes);
}
