// SPDX-License-Identifier: BSD-3-Clause
//
// A table is asked for a random item as often as needed. In a pack a place is found by walking
// to it, so for several fields it is walked once and the places are kept.
//
// Different fields: few of a big table are drawn until there are enough of them, with a set of
// those that came already (at most half the table's third: nearly every draw is a new one). Else
// all fields are passed in order and each is taken with the chance (still wanted) / (still to
// come), which makes all sets equally likely (Fan, Muller and Rezucha, 1962).
#include "types/hash_random.h"

#include "base/assert.h"
#include "base/mem.h"

#define WALK_FROM_SHARE 3 // pass all fields if more than a third of them is wanted

static uint64_t random_word(void *arg)
{
    return random_u64(arg);
}

static struct hash_item *table_random(const struct hash_table *t, struct random *random)
{
    return dict_random(&t->dict, random_word, random);
}

static void visit_item(const struct hash_item *i, hash_visit_fn visit, void *arg)
{
    struct item field = item_of(hash_item_field(i)), value = item_of(hash_item_value(i));
    visit(arg, &field, &value);
}

// --- with repetitions ----------------------------------------------------------------------------

static void visit_place(struct value v, uint32_t at, hash_visit_fn visit, void *arg)
{
    struct hash_iter it;
    struct item field, value;
    hash_iter_init(&it, v, HASH_NEVER_DUE);
    it.at = at;
    it.bucket = 1; // one is to come
    hash_iter_next(&it, &field, &value, NULL);
    visit(arg, &field, &value);
}

static void pack_random_any(struct value v, struct random *random, uint64_t count,
                            hash_visit_fn visit, void *arg)
{
    uint64_t len = hash_len(v);
    uint32_t *places = mem_alloc(len * sizeof *places);
    struct hash_iter it;
    struct item field, value;
    uint64_t n = 0;
    hash_iter_init(&it, v, HASH_NEVER_DUE);
    for (uint32_t at = it.at; hash_iter_next(&it, &field, &value, NULL); at = it.at)
        places[n++] = at;
    while (count--) visit_place(v, places[random_below(random, len)], visit, arg);
    mem_free(places);
}

void hash_random_any(struct value v, struct random *random, uint64_t count, hash_visit_fn visit,
                     void *arg)
{
    ASSERT(hash_len(v) > 0);
    if (value_encoding(v) == ENC_HASHTABLE)
        while (count--) visit_item(table_random(value_object(v), random), visit, arg);
    else
        pack_random_any(v, random, count, visit, arg);
}

// --- without -------------------------------------------------------------------------------------

static void pass_all(struct value v, struct random *random, uint64_t count, hash_visit_fn visit,
                     void *arg)
{
    struct hash_iter it;
    struct item field, value;
    hash_iter_init(&it, v, HASH_NEVER_DUE);
    for (uint64_t left = hash_len(v); count && hash_iter_next(&it, &field, &value, NULL); left--) {
        if (count < left && random_below(random, left) >= count) continue;
        visit(arg, &field, &value);
        count--;
    }
}

// Adds an item to the open-addressed set; false if it is there. mask + 1 slots, half of them free.
static bool set_add(const struct hash_item **slots, uint64_t mask, const struct hash_item *i)
{
    uint64_t at = ((uintptr_t)i >> 4) * 0x9e3779b97f4a7c15u >> 20 & mask;
    for (; slots[at]; at = (at + 1) & mask)
        if (slots[at] == i) return false;
    slots[at] = i;
    return true;
}

static void draw_distinct(const struct hash_table *t, struct random *random, uint64_t count,
                          hash_visit_fn visit, void *arg)
{
    uint64_t mask = 7;
    while (mask + 1 < 2 * count) mask = mask * 2 + 1;
    const struct hash_item **slots = mem_calloc((mask + 1) * sizeof *slots);
    while (count) {
        const struct hash_item *i = table_random(t, random);
        if (!set_add(slots, mask, i)) continue;
        visit_item(i, visit, arg);
        count--;
    }
    mem_free(slots);
}

void hash_random_distinct(struct value v, struct random *random, uint64_t count,
                          hash_visit_fn visit, void *arg)
{
    uint64_t len = hash_len(v);
    ASSERT(count <= len);
    if (value_encoding(v) != ENC_HASHTABLE || count >= len / WALK_FROM_SHARE)
        pass_all(v, random, count, visit, arg);
    else
        draw_distinct(value_object(v), random, count, visit, arg);
}
