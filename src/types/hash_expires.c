// SPDX-License-Identifier: BSD-3-Clause
#include "types/hash_expires.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "types/hash_item.h"

#define FIRST_CAP_MIN 4

struct hash_expires *hash_expires_new(void)
{
    return mem_calloc(sizeof(struct hash_expires));
}

void hash_expires_free(struct hash_expires *x)
{
    while (!hash_expires_drain(x, UINT32_MAX))
        ;
    mem_free(x);
}

// --- room ----------------------------------------------------------------------------------------

// Makes room for one more.
static void provide(struct hash_expires *x)
{
    uint32_t segment = x->count >> HASH_EXPIRES_SEGMENT_BITS;
    if (segment >= x->segment_cap) {
        uint32_t cap = x->segment_cap ? x->segment_cap * 2 : 1;
        x->segments = mem_realloc(x->segments, cap * sizeof x->segments[0]);
        memset(x->segments + x->segment_cap, 0, (cap - x->segment_cap) * sizeof x->segments[0]);
        x->segment_cap = cap;
    }
    if (segment > 0) {
        if (!x->segments[segment])
            x->segments[segment] = mem_alloc(HASH_EXPIRES_SEGMENT * sizeof(struct hash_due));
    } else if (x->count == x->first_cap) {
        x->first_cap = x->first_cap ? x->first_cap * 2 : FIRST_CAP_MIN;
        x->segments[0] = mem_realloc(x->segments[0], x->first_cap * sizeof(struct hash_due));
    }
}

// Gives room back after one left; one empty segment is kept in hand.
static void trim(struct hash_expires *x)
{
    uint32_t needed = (x->count + HASH_EXPIRES_SEGMENT - 1) >> HASH_EXPIRES_SEGMENT_BITS;
    if (needed + 1 < x->segment_cap && x->segments[needed + 1]) {
        mem_free(x->segments[needed + 1]);
        x->segments[needed + 1] = NULL;
    }
}

bool hash_expires_drain(struct hash_expires *x, uint32_t budget)
{
    while (x->segment_cap && budget) {
        struct hash_due *last = x->segments[--x->segment_cap];
        if (last) budget--;
        mem_free(last);
    }
    if (x->segment_cap) return false;
    mem_free(x->segments);
    x->segments = NULL;
    x->count = x->first_cap = 0;
    return true;
}

// --- the heap ------------------------------------------------------------------------------------

static void put(struct hash_expires *x, uint32_t place, struct hash_due due)
{
    *hash_expires_at(x, place) = due;
    hash_item_set_place(due.item, place);
}

// `due` comes to this place or, if it is earlier than what stands above, further up.
static void sift_up(struct hash_expires *x, uint32_t place, struct hash_due due)
{
    while (place) {
        uint32_t parent = (place - 1) / 2;
        struct hash_due above = *hash_expires_at(x, parent);
        if (above.at_ms <= due.at_ms) break;
        put(x, place, above);
        place = parent;
    }
    put(x, place, due);
}

// `due` comes to this place or, if it is later than what stands below, further down.
static void sift_down(struct hash_expires *x, uint32_t place, struct hash_due due)
{
    for (uint64_t child; (child = 2 * (uint64_t)place + 1) < x->count; place = (uint32_t)child) {
        struct hash_due below = *hash_expires_at(x, (uint32_t)child);
        if (child + 1 < x->count) {
            struct hash_due right = *hash_expires_at(x, (uint32_t)child + 1);
            if (right.at_ms < below.at_ms) {
                below = right;
                child++;
            }
        }
        if (due.at_ms <= below.at_ms) break;
        put(x, place, below);
    }
    put(x, place, due);
}

static void settle(struct hash_expires *x, uint32_t place, struct hash_due due)
{
    if (place && hash_expires_at(x, (place - 1) / 2)->at_ms > due.at_ms)
        sift_up(x, place, due);
    else
        sift_down(x, place, due);
}

void hash_expires_add(struct hash_expires *x, int64_t at_ms, struct hash_item *item)
{
    ASSERT(x->count < UINT32_MAX);
    provide(x);
    sift_up(x, x->count++, (struct hash_due){at_ms, item});
}

void hash_expires_remove(struct hash_expires *x, uint32_t place)
{
    struct hash_due last = *hash_expires_at(x, --x->count);
    if (place != x->count) settle(x, place, last);
    trim(x);
}

void hash_expires_change(struct hash_expires *x, uint32_t place, int64_t at_ms)
{
    settle(x, place, (struct hash_due){at_ms, hash_expires_at(x, place)->item});
}

void hash_expires_moved(struct hash_expires *x, uint32_t place, struct hash_item *item)
{
    put(x, place, (struct hash_due){hash_expires_at(x, place)->at_ms, item});
}

size_t hash_expires_bytes(const struct hash_expires *x)
{
    size_t bytes = mem_usable_bytes(x);
    if (x->segments) bytes += mem_usable_bytes(x->segments);
    for (uint32_t i = 0; i < x->segment_cap && x->segments[i]; i++)
        bytes += mem_usable_bytes(x->segments[i]);
    return bytes;
}

void hash_expires_validate(const struct hash_expires *x)
{
    for (uint32_t i = 0; i < x->count; i++) {
        const struct hash_due *due = hash_expires_at(x, i);
        ASSERT(hash_item_has_place(due->item) && hash_item_place(due->item) == i);
        if (i) ASSERT(hash_expires_at(x, (i - 1) / 2)->at_ms <= due->at_ms);
    }
}
