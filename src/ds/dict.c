// SPDX-License-Identifier: BSD-3-Clause
//
// The table's structure is drawn in dict.h. Here: how a bucket takes and gives items, and how
// buckets come and go.
//
// Fill: the table grows when it holds more than 6.75 items a bucket. Linear hashing makes buckets
// of two densities, those already split in this round and those not yet; the unsplit ones hold 6.75
// to 13.5 items, and a fifth to a quarter of all items lies in overflow arrays. That costs these
// look-ups one more line and buys 12 bytes of table per item at every size, where doubling tables
// of the same buckets take 11 to 21.
#include "ds/dict.h"

#include <string.h>

#include "base/mem.h"

#define DICT_FILL_X4  27 // items in four buckets above which the table grows
#define DICT_SPARSE   2  // items a bucket below which it shrinks
#define OVERFLOW_BIT  0x80
#define INLINE_FULL   0x7f
#define OVERFLOW_SLOT (DICT_BUCKET_SLOTS - 1)

static uint8_t tag_of(uint64_t hash)
{
    return (uint8_t)(hash >> 56);
}

static bool has_overflow(const struct dict_bucket *b)
{
    return b->used & OVERFLOW_BIT;
}

static struct dict_overflow *overflow_of(const struct dict_bucket *b)
{
    return DICT_ADDRESS(b->slots[OVERFLOW_SLOT]);
}

static uint8_t *overflow_tags(const struct dict_overflow *o)
{
    return (uint8_t *)(o->slots + o->cap);
}

// --- buckets -------------------------------------------------------------------------------------

static struct dict_overflow *overflow_new(uint32_t want)
{
    // As many as fit the allocator's step of 16 bytes: 2, 4, 6, 8 …
    size_t bytes = (sizeof(struct dict_overflow) + want * 9 + 15) & ~(size_t)15;
    struct dict_overflow *o = mem_alloc(bytes);
    o->count = 0;
    o->cap = (uint32_t)((bytes - sizeof *o) / 9);
    return o;
}

static void overflow_push(struct dict_overflow *o, uint64_t slot, uint8_t tag)
{
    ASSERT_SLOW(o->count < o->cap);
    o->slots[o->count] = slot;
    overflow_tags(o)[o->count++] = tag;
}

static void bucket_add_overflow(struct dict_bucket *b, uint64_t slot, uint8_t tag)
{
    struct dict_overflow *o;
    if (!has_overflow(b)) {
        o = overflow_new(2);
        overflow_push(o, b->slots[OVERFLOW_SLOT], b->tags[OVERFLOW_SLOT]);
    } else {
        o = overflow_of(b);
        if (o->count == o->cap) {
            struct dict_overflow *bigger = overflow_new(o->cap + (o->cap < 8 ? 2 : o->cap / 2));
            bigger->count = o->count;
            memcpy(bigger->slots, o->slots, o->count * sizeof o->slots[0]);
            memcpy(overflow_tags(bigger), overflow_tags(o), o->count);
            mem_free(o);
            o = bigger;
        }
    }
    overflow_push(o, slot, tag);
    b->used = (uint8_t)((b->used & ~(1u << OVERFLOW_SLOT)) | OVERFLOW_BIT);
    b->slots[OVERFLOW_SLOT] = (uint64_t)(uintptr_t)o;
}

static void bucket_add(struct dict_bucket *b, uint64_t slot, uint8_t tag)
{
    unsigned free_slots = ~(unsigned)b->used & (has_overflow(b) ? 0x3fu : 0x7fu);
    if (!free_slots) {
        bucket_add_overflow(b, slot, tag);
        return;
    }
    unsigned i = (unsigned)__builtin_ctz(free_slots);
    b->used |= (uint8_t)(1u << i);
    b->tags[i] = tag;
    b->slots[i] = slot;
}

// Takes the last item out of the overflow array; an array of one item goes back into the bucket.
static void overflow_pop(struct dict_bucket *b, uint64_t *slot, uint8_t *tag)
{
    struct dict_overflow *o = overflow_of(b);
    o->count--;
    *slot = o->slots[o->count];
    *tag = overflow_tags(o)[o->count];
    if (o->count > 1) return;
    b->slots[OVERFLOW_SLOT] = o->slots[0];
    b->tags[OVERFLOW_SLOT] = overflow_tags(o)[0];
    b->used = (uint8_t)((b->used & ~OVERFLOW_BIT) | 1u << OVERFLOW_SLOT);
    mem_free(o);
}

// Where an item stands: inline 0 .. 6, overflow 7 .. ; -1: not here.
static int bucket_place(const struct dict_bucket *b, const void *item)
{
    for (unsigned u = b->used & INLINE_FULL; u; u &= u - 1) {
        int i = __builtin_ctz(u);
        if (DICT_ADDRESS(b->slots[i]) == item) return i;
    }
    if (!has_overflow(b)) return -1;
    const struct dict_overflow *o = overflow_of(b);
    for (uint32_t i = 0; i < o->count; i++)
        if (DICT_ADDRESS(o->slots[i]) == item) return DICT_BUCKET_SLOTS + (int)i;
    return -1;
}

static void bucket_remove_at(struct dict_bucket *b, int place)
{
    if (!has_overflow(b)) {
        b->used &= (uint8_t) ~(1u << place);
        return;
    }
    struct dict_overflow *o = overflow_of(b);
    uint64_t slot;
    uint8_t tag;
    if (place >= DICT_BUCKET_SLOTS) { // the last one fills the gap
        uint32_t i = (uint32_t)(place - DICT_BUCKET_SLOTS), last = o->count - 1;
        o->slots[i] = o->slots[last];
        overflow_tags(o)[i] = overflow_tags(o)[last];
        overflow_pop(b, &slot, &tag);
        return;
    }
    overflow_pop(b, &slot, &tag);
    b->slots[place] = slot;
    b->tags[place] = tag;
}

static uint32_t bucket_count(const struct dict_bucket *b)
{
    uint32_t n = (uint32_t)__builtin_popcount(b->used & INLINE_FULL);
    return has_overflow(b) ? n + overflow_of(b)->count : n;
}

static uint64_t bucket_slot(const struct dict_bucket *b, uint32_t n)
{
    for (unsigned u = b->used & INLINE_FULL; u; u &= u - 1)
        if (n-- == 0) return b->slots[__builtin_ctz(u)];
    return overflow_of(b)->slots[n];
}

static void bucket_visit(const struct dict_bucket *b, dict_visit_fn visit, void *arg)
{
    for (unsigned u = b->used & INLINE_FULL; u; u &= u - 1)
        visit(DICT_ADDRESS(b->slots[__builtin_ctz(u)]), arg);
    if (!has_overflow(b)) return;
    const struct dict_overflow *o = overflow_of(b);
    for (uint32_t i = 0; i < o->count; i++) visit(DICT_ADDRESS(o->slots[i]), arg);
}

static void bucket_clear(struct dict_bucket *b)
{
    if (has_overflow(b)) mem_free(overflow_of(b));
    b->used = 0;
}

// --- segments ------------------------------------------------------------------------------------

static struct dict_bucket *segment_new(size_t buckets)
{
    return mem_alloc_aligned(buckets * sizeof(struct dict_bucket), sizeof(struct dict_bucket));
}

static void first_segment_resize(struct dict *d, uint32_t cap)
{
    struct dict_bucket *resized = segment_new(cap);
    if (d->first_cap) {
        memcpy(resized, d->segments[0], MIN(cap, d->first_cap) * sizeof *resized);
        mem_free(d->segments[0]);
    }
    d->segments[0] = resized;
    d->first_cap = cap;
}

// Makes bucket `index` exist in memory, empty.
static void bucket_provide(struct dict *d, uint64_t index)
{
    uint64_t segment = index >> DICT_SEGMENT_BITS;
    if (segment >= d->segment_cap) {
        uint32_t cap = d->segment_cap ? d->segment_cap * 2 : 1;
        d->segments = mem_realloc(d->segments, cap * sizeof d->segments[0]);
        memset(d->segments + d->segment_cap, 0, (cap - d->segment_cap) * sizeof d->segments[0]);
        d->segment_cap = cap;
    }
    if (segment == 0) {
        if (index >= d->first_cap) first_segment_resize(d, d->first_cap ? d->first_cap * 2 : 1);
    } else if (!d->segments[segment]) {
        d->segments[segment] = segment_new(DICT_SEGMENT);
    }
    dict_bucket_at(d, index)->used = 0;
}

// Gives memory back after the table shrank; one segment is kept in hand.
static void segments_trim(struct dict *d)
{
    uint64_t needed = (d->buckets + DICT_SEGMENT - 1) >> DICT_SEGMENT_BITS;
    if (needed + 1 < d->segment_cap && d->segments[needed + 1]) {
        mem_free(d->segments[needed + 1]);
        d->segments[needed + 1] = NULL;
    }
    if (d->first_cap > 4 && d->buckets * 4 <= d->first_cap)
        first_segment_resize(d, d->first_cap / 2);
}

// --- growing and shrinking -----------------------------------------------------------------------

// Does the item go to the upper bucket of a split at this level (a bit number)?
static bool goes_up(const struct dict *d, uint64_t slot, unsigned level)
{
    if (level >= DICT_KEPT_BIT && level < DICT_KEPT_BIT + 16)
        return slot >> (48 + level - DICT_KEPT_BIT) & 1;
    return d->hash(DICT_ADDRESS(slot)) >> level & 1;
}

static void table_grow(struct dict *d)
{
    unsigned level = (unsigned)__builtin_ctzll(d->mask + 1);
    uint64_t low_index = d->buckets - (d->mask + 1);
    bucket_provide(d, d->buckets);
    struct dict_bucket *low = dict_bucket_at(d, low_index), *high = dict_bucket_at(d, d->buckets);
    struct dict_bucket old = *low;
    low->used = 0;
    for (unsigned u = old.used & INLINE_FULL; u; u &= u - 1) {
        int i = __builtin_ctz(u);
        bucket_add(goes_up(d, old.slots[i], level) ? high : low, old.slots[i], old.tags[i]);
    }
    if (has_overflow(&old)) {
        struct dict_overflow *o = overflow_of(&old);
        for (uint32_t i = 0; i < o->count; i++)
            bucket_add(goes_up(d, o->slots[i], level) ? high : low, o->slots[i],
                       overflow_tags(o)[i]);
        mem_free(o);
    }
    d->buckets++;
    if (d->buckets == 2 * (d->mask + 1)) d->mask = d->mask * 2 + 1;
}

// The last bucket leaves the table; returns the one its items belong to from now on.
static struct dict_bucket *last_bucket_leave(struct dict *d, struct dict_bucket **last)
{
    *last = dict_bucket_at(d, d->buckets - 1);
    if (d->buckets == d->mask + 1) d->mask >>= 1;
    d->buckets--;
    return d->buckets ? dict_bucket_at(d, d->buckets & d->mask) : NULL;
}

static void table_shrink(struct dict *d)
{
    struct dict_bucket *last, *into = last_bucket_leave(d, &last);
    for (unsigned u = last->used & INLINE_FULL; u; u &= u - 1) {
        int i = __builtin_ctz(u);
        bucket_add(into, last->slots[i], last->tags[i]);
    }
    if (has_overflow(last)) {
        struct dict_overflow *o = overflow_of(last);
        for (uint32_t i = 0; i < o->count; i++) bucket_add(into, o->slots[i], overflow_tags(o)[i]);
    }
    bucket_clear(last);
    segments_trim(d);
}

// --- interface -----------------------------------------------------------------------------------

void dict_init(struct dict *d, dict_hash_fn hash)
{
    *d = (struct dict){.hash = hash};
}

void dict_reserve(struct dict *d, uint64_t count)
{
    ASSERT(!d->count);
    uint64_t buckets = count * 4 / DICT_FILL_X4 + 1;
    while (d->buckets < buckets) bucket_provide(d, d->buckets++);
    while (d->mask * 2 + 2 <= d->buckets) d->mask = d->mask * 2 + 1;
}

static bool is_sparse(const struct dict *d)
{
    return d->buckets > 1 && d->count < d->buckets * DICT_SPARSE;
}

void dict_trim(struct dict *d)
{
    while (is_sparse(d)) table_shrink(d);
}

void dict_free(struct dict *d)
{
    for (uint64_t i = 0; i < d->buckets; i++) bucket_clear(dict_bucket_at(d, i));
    for (uint32_t i = 0; i < d->segment_cap; i++) mem_free(d->segments[i]);
    mem_free(d->segments);
    dict_init(d, d->hash);
}

void *dict_find_overflow(const struct dict_bucket *b, uint64_t hash, dict_match_fn match,
                         const void *key)
{
    const struct dict_overflow *o = overflow_of(b);
    uint16_t kept = (uint16_t)(hash >> DICT_KEPT_BIT);
    for (uint32_t i = 0; i < o->count; i++)
        if (o->slots[i] >> 48 == kept && match(DICT_ADDRESS(o->slots[i]), key))
            return DICT_ADDRESS(o->slots[i]);
    return NULL;
}

void dict_insert(struct dict *d, uint64_t hash, void *item)
{
    ASSERT_SLOW(DICT_ADDRESS((uintptr_t)item) == item);
    if (!d->buckets) {
        bucket_provide(d, 0);
        d->buckets = 1;
    } else if (d->count * 4 >= d->buckets * DICT_FILL_X4) {
        table_grow(d);
    }
    bucket_add(dict_bucket_at(d, dict_bucket_index(d, hash)), dict_pack(item, hash), tag_of(hash));
    d->count++;
}

bool dict_remove(struct dict *d, uint64_t hash, const void *item)
{
    if (!d->buckets) return false;
    struct dict_bucket *b = dict_bucket_at(d, dict_bucket_index(d, hash));
    int place = bucket_place(b, item);
    if (place < 0) return false;
    bucket_remove_at(b, place);
    d->count--;
    if (is_sparse(d)) table_shrink(d);
    return true;
}

void dict_replace(struct dict *d, uint64_t hash, const void *from, void *to)
{
    struct dict_bucket *b = dict_bucket_at(d, dict_bucket_index(d, hash));
    int place = bucket_place(b, from);
    ASSERT(place >= 0);
    uint64_t packed = dict_pack(to, hash);
    if (place < DICT_BUCKET_SLOTS)
        b->slots[place] = packed;
    else
        overflow_of(b)->slots[place - DICT_BUCKET_SLOTS] = packed;
}

static uint64_t reverse_bits(uint64_t v)
{
    v = __builtin_bswap64(v);
    v = (v & 0x0f0f0f0f0f0f0f0fu) << 4 | (v >> 4 & 0x0f0f0f0f0f0f0f0fu);
    v = (v & 0x3333333333333333u) << 2 | (v >> 2 & 0x3333333333333333u);
    return (v & 0x5555555555555555u) << 1 | (v >> 1 & 0x5555555555555555u);
}

// The cursor counts through the low `level` bits in reversed order, so that a bucket that was split
// or merged since the last call stands for exactly the buckets it came from.
uint64_t dict_scan(const struct dict *d, uint64_t cursor, dict_visit_fn visit, void *arg)
{
    if (!d->count) return 0;
    uint64_t index = cursor & d->mask;
    bucket_visit(dict_bucket_at(d, index), visit, arg);
    if (index + d->mask + 1 < d->buckets)
        bucket_visit(dict_bucket_at(d, index + d->mask + 1), visit, arg);
    return reverse_bits(reverse_bits(cursor | ~d->mask) + 1);
}

// Inlined, or gcc takes it for one without effect and drops the call.
static inline __attribute__((always_inline)) void fetch_items(const struct dict_bucket *b)
{
    for (unsigned u = b->used & INLINE_FULL; u; u &= u - 1)
        __builtin_prefetch(DICT_ADDRESS(b->slots[__builtin_ctz(u)]));
}

// *at: the inline slot from which to look on, or DICT_BUCKET_SLOTS + the index in the overflow.
void *dict_next(const struct dict *d, uint64_t *bucket, uint32_t *at)
{
    for (; *bucket < d->buckets; ++*bucket, *at = 0) {
        const struct dict_bucket *b = dict_bucket_at(d, *bucket);
        if (*at == 0 && *bucket + 1 < d->buckets) fetch_items(dict_bucket_at(d, *bucket + 1));
        unsigned rest = *at < DICT_BUCKET_SLOTS ? b->used & INLINE_FULL & ~0u << *at : 0;
        if (rest) {
            unsigned i = (unsigned)__builtin_ctz(rest);
            *at = i + 1;
            return DICT_ADDRESS(b->slots[i]);
        }
        if (!has_overflow(b)) continue;
        const struct dict_overflow *o = overflow_of(b);
        uint32_t i = *at < DICT_BUCKET_SLOTS ? 0 : *at - DICT_BUCKET_SLOTS;
        if (i >= o->count) continue;
        *at = DICT_BUCKET_SLOTS + i + 1;
        return DICT_ADDRESS(o->slots[i]);
    }
    return NULL;
}

void *dict_random(const struct dict *d, uint64_t (*random)(void *arg), void *arg)
{
    enum { FULLEST = 16, TRIES = 4096 }; // items a bucket is taken to hold at most
    if (!d->count) return NULL;
    for (int i = 0; i < TRIES; i++) {
        uint64_t r = random(arg);
        uint64_t index = (uint64_t)(((unsigned __int128)random(arg) * d->buckets) >> 64);
        const struct dict_bucket *b = dict_bucket_at(d, index);
        uint32_t n = bucket_count(b), limit = MAX(n, FULLEST);
        if (r % limit < n) return DICT_ADDRESS(bucket_slot(b, (uint32_t)(r % limit)));
    }
    for (uint64_t i = 0;; i++) { // a nearly empty table that has not shrunk yet
        const struct dict_bucket *b = dict_bucket_at(d, i);
        if (bucket_count(b)) return DICT_ADDRESS(bucket_slot(b, 0));
    }
}

bool dict_drain_bucket(struct dict *d, dict_visit_fn visit, void *arg)
{
    if (!d->buckets) return false;
    struct dict_bucket *last;
    last_bucket_leave(d, &last);
    d->count -= bucket_count(last);
    bucket_visit(last, visit, arg);
    bucket_clear(last);
    if ((d->buckets & (DICT_SEGMENT - 1)) == 0 && d->buckets >> DICT_SEGMENT_BITS) {
        mem_free(d->segments[d->buckets >> DICT_SEGMENT_BITS]);
        d->segments[d->buckets >> DICT_SEGMENT_BITS] = NULL;
    }
    return true;
}

// From a sample, spread evenly, as both densities are.
static size_t overflow_bytes(const struct dict *d)
{
    enum { SAMPLE = 256 };
    uint64_t n = MIN(d->buckets, SAMPLE);
    size_t bytes = 0;
    for (uint64_t i = 0; i < n; i++) {
        const struct dict_bucket *b = dict_bucket_at(d, i * d->buckets / n);
        if (has_overflow(b)) bytes += mem_usable_bytes(overflow_of(b));
    }
    return n ? bytes * d->buckets / n : 0;
}

size_t dict_table_bytes(const struct dict *d)
{
    size_t bytes = d->segment_cap * sizeof d->segments[0] +
                   d->first_cap * sizeof(struct dict_bucket) + overflow_bytes(d);
    for (uint32_t i = 1; i < d->segment_cap; i++)
        if (d->segments[i]) bytes += DICT_SEGMENT * sizeof(struct dict_bucket);
    return bytes;
}

void dict_histogram(const struct dict *d, uint64_t *histogram, size_t len)
{
    memset(histogram, 0, len * sizeof histogram[0]);
    for (uint64_t i = 0; i < d->buckets; i++)
        histogram[MIN(bucket_count(dict_bucket_at(d, i)), len - 1)]++;
}

static void bucket_validate(const struct dict *d, uint64_t index)
{
    const struct dict_bucket *b = dict_bucket_at(d, index);
    for (uint32_t n = 0; n < bucket_count(b); n++) {
        uint64_t slot = bucket_slot(b, n), hash = d->hash(DICT_ADDRESS(slot));
        ASSERT(dict_bucket_index(d, hash) == index);
        ASSERT(slot == dict_pack(DICT_ADDRESS(slot), hash));
    }
    for (unsigned u = b->used & INLINE_FULL; u; u &= u - 1) {
        int i = __builtin_ctz(u);
        ASSERT(b->tags[i] == tag_of(d->hash(DICT_ADDRESS(b->slots[i]))));
    }
    if (!has_overflow(b)) return;
    ASSERT((b->used & INLINE_FULL) == 0x3f);
    ASSERT(overflow_of(b)->count >= 2);
}

void dict_validate(const struct dict *d)
{
    uint64_t count = 0;
    ASSERT((d->mask & (d->mask + 1)) == 0);
    if (d->buckets) ASSERT(d->buckets > d->mask && d->buckets < 2 * (d->mask + 1));
    for (uint64_t i = 0; i < d->buckets; i++) {
        bucket_validate(d, i);
        count += bucket_count(dict_bucket_at(d, i));
    }
    ASSERT(count == d->count);
}
