// SPDX-License-Identifier: BSD-3-Clause
//
// The table against a plain array of items, with hashes from good to hopeless, and SCAN's promise
// under all kinds of growing and shrinking.
#include "ds/dict.h"

#include <criterion/criterion.h>

#include "base/mem.h"
#include "base/random.h"

struct item {
    uint64_t key, hash;
    uint32_t visits;
    bool is_in; // in the table, by what the test did
};

static uint64_t item_hash(const void *item)
{
    return ((const struct item *)item)->hash;
}

static bool item_matches(const void *item, const void *key)
{
    return ((const struct item *)item)->key == *(const uint64_t *)key;
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

// How well a hash spreads its keys.
enum spread { GOOD, FEW_BUCKETS, FEW_TAGS, LOW_BITS_ONLY, HIGH_BITS_ONLY, CONSTANT, SPREADS };

static uint64_t hash_of(uint64_t key, enum spread spread)
{
    uint64_t h = mix(key + 1);
    switch (spread) {
    case FEW_BUCKETS: return h & ~0xffu; // all in bucket 0 of the first 256
    case FEW_TAGS: return h & 0x01ffffffffffffffu;
    case LOW_BITS_ONLY: return key; // kept bits and tag all equal
    case HIGH_BITS_ONLY: return h & ~((1ull << 26) - 1);
    case CONSTANT: return 0x123456789abcdef0u;
    default: return h;
    }
}

static struct item *find(const struct dict *d, const struct item *like)
{
    return dict_find(d, like->hash, item_matches, &like->key);
}

static struct item *items_new(size_t count, enum spread spread)
{
    struct item *items = mem_calloc(count * sizeof *items);
    for (size_t i = 0; i < count; i++) {
        items[i].key = i;
        items[i].hash = hash_of(i, spread);
    }
    return items;
}

static void insert(struct dict *d, struct item *item)
{
    dict_insert(d, item->hash, item);
    item->is_in = true;
}

static void take_out(struct dict *d, struct item *item)
{
    cr_assert(dict_remove(d, item->hash, item));
    item->is_in = false;
}

static void check_finds(const struct dict *d, struct item *items, size_t count)
{
    size_t in = 0;
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(find(d, &items[i]), items[i].is_in ? &items[i] : NULL, "item %zu", i);
        in += items[i].is_in;
    }
    cr_assert_eq(d->count, in);
}

// --- against a model -----------------------------------------------------------------------------

static void run_model(enum spread spread, uint64_t seed)
{
    enum { COUNT = 400 };
    struct item *items = items_new(COUNT, spread), *spare = mem_alloc(sizeof *spare);
    struct item *at[COUNT]; // where each item lives at the moment
    struct random r;
    struct dict d;
    random_seed(&r, seed);
    dict_init(&d, item_hash);
    for (int i = 0; i < COUNT; i++) at[i] = &items[i];
    for (int step = 0; step < 4000; step++) {
        unsigned i = (unsigned)random_below(&r, COUNT);
        bool is_filling = step / 500 % 2 == 0;
        cr_assert_eq(find(&d, at[i]), at[i]->is_in ? at[i] : NULL);
        if (!at[i]->is_in && (is_filling || random_below(&r, 4) == 0)) {
            cr_assert_not(dict_remove(&d, at[i]->hash, at[i]), "removed what is not there");
            insert(&d, at[i]);
        } else if (at[i]->is_in && random_below(&r, 4) == 0) {
            *spare = *at[i];
            dict_replace(&d, at[i]->hash, at[i], spare);
            struct item *old = at[i];
            at[i] = spare;
            spare = old;
        } else if (at[i]->is_in && !is_filling) {
            take_out(&d, at[i]);
        }
        dict_validate(&d);
    }
    for (int i = 0; i < COUNT; i++)
        if (at[i]->is_in) {
            cr_assert_eq(find(&d, at[i]), at[i]);
            take_out(&d, at[i]);
            dict_validate(&d);
        }
    cr_assert_eq(d.count, 0);
    dict_free(&d);
    // `spare` may be an element of items by now, and an element the former spare.
    for (int i = 0; i < COUNT; i++)
        if (at[i] < items || at[i] >= items + COUNT) spare = at[i];
    if (spare < items || spare >= items + COUNT) mem_free(spare);
    mem_free(items);
}

Test(dict, agrees_with_a_list_whatever_the_hashes, .timeout = 60)
{
    for (int spread = GOOD; spread < SPREADS; spread++)
        for (uint64_t seed = 1; seed <= 3; seed++) run_model((enum spread)spread, seed);
}

Test(dict, growing_keeps_every_entry, .timeout = 60)
{
    const size_t count = 150000;
    struct item *items = items_new(count, GOOD);
    struct dict d;
    size_t before = mem_used_bytes();
    dict_init(&d, item_hash);
    for (size_t i = 0; i < count; i++) {
        insert(&d, &items[i]);
        if ((i & (i - 1)) == 0 || i % 30011 == 0) {
            dict_validate(&d);
            check_finds(&d, items, MIN(i + 100, count));
        }
    }
    dict_validate(&d);
    check_finds(&d, items, count);
    cr_assert_gt(d.buckets, 2 * DICT_SEGMENT, "more than two segments, or this tests too little");
    cr_assert_leq(mem_used_bytes() - before, 18 * count); // with overflow arrays and rounding
    dict_free(&d);
    cr_assert_eq(mem_used_bytes(), before);
    mem_free(items);
}

Test(dict, shrinking_keeps_every_entry_and_gives_memory_back, .timeout = 60)
{
    const size_t count = 150000;
    struct item *items = items_new(count, GOOD);
    struct dict d;
    size_t before = mem_used_bytes();
    dict_init(&d, item_hash);
    for (size_t i = 0; i < count; i++) insert(&d, &items[i]);
    size_t full = dict_table_bytes(&d);
    for (size_t left = count; left; left--) {
        take_out(&d, &items[left - 1]);
        if ((left & (left - 1)) == 0 || left % 30011 == 0) {
            dict_validate(&d);
            check_finds(&d, items, count);
        }
        if (left == count / 50) cr_assert_leq(dict_table_bytes(&d), full * 2 / 5);
    }
    cr_assert_leq(mem_used_bytes() - before, full * 2 / 5); // one segment is kept in hand
    insert(&d, &items[7]);                                  // still of use
    check_finds(&d, items, count);
    dict_validate(&d);
    dict_free(&d);
    cr_assert_eq(mem_used_bytes(), before);
    mem_free(items);
}

Test(dict, a_reserved_table_neither_grows_nor_loses_anything)
{
    static const size_t counts[] = {0, 1, 6, 7, 100, 5000, 200000};
    for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
        struct item *items = items_new(counts[c], GOOD);
        struct dict d;
        dict_init(&d, item_hash);
        dict_reserve(&d, counts[c]);
        dict_validate(&d);
        uint64_t buckets = d.buckets;
        for (size_t i = 0; i < counts[c]; i++) insert(&d, &items[i]);
        cr_assert_eq(d.buckets, buckets);
        dict_validate(&d);
        check_finds(&d, items, counts[c]);
        dict_trim(&d); // nothing to give back
        cr_assert_eq(d.buckets, buckets);
        dict_free(&d);
        mem_free(items);
    }
}

Test(dict, what_was_reserved_in_vain_is_given_back)
{
    enum { COUNT = 1000, RESERVED = 1000000 };
    struct item *items = items_new(COUNT, GOOD);
    size_t before = mem_used_bytes();
    struct dict d;
    dict_init(&d, item_hash);
    dict_reserve(&d, RESERVED);
    for (size_t i = 0; i < COUNT; i++) insert(&d, &items[i]);
    cr_assert_gt(mem_used_bytes() - before, (size_t)8 * RESERVED);
    dict_trim(&d);
    dict_validate(&d);
    check_finds(&d, items, COUNT);
    cr_assert_lt(mem_used_bytes() - before, (size_t)RESERVED);
    dict_free(&d);
    mem_free(items);
}

Test(dict, an_empty_table_answers)
{
    struct dict d;
    uint64_t key = 1;
    dict_init(&d, item_hash);
    dict_validate(&d);
    dict_prefetch_bucket(&d, 5);
    cr_assert_null(dict_find(&d, 5, item_matches, &key));
    cr_assert_null(dict_peek(&d, 5));
    cr_assert_not(dict_remove(&d, 5, &key));
    cr_assert_eq(dict_scan(&d, 0, NULL, NULL), 0);
    cr_assert_eq(dict_scan(&d, 77, NULL, NULL), 0);
    cr_assert_null(dict_random(&d, NULL, NULL));
    cr_assert_not(dict_drain_bucket(&d, NULL, NULL));
    dict_free(&d);
}

// --- buckets -------------------------------------------------------------------------------------

Test(dict, candidates_are_the_used_slots_with_the_tag)
{
    struct random r;
    random_seed(&r, 4);
    for (int i = 0; i < 20000; i++) {
        struct dict_bucket b = {.used = (uint8_t)random_u64(&r)};
        uint64_t hash = random_u64(&r);
        unsigned expected = 0;
        for (int k = 0; k < DICT_BUCKET_SLOTS; k++) {
            uint8_t tag = (uint8_t)(hash >> 56);
            b.tags[k] = random_below(&r, 2) ? tag : (uint8_t)(tag + random_below(&r, 3) - 1);
            bool is_item = b.used >> k & 1 && !(k == DICT_BUCKET_SLOTS - 1 && b.used & 0x80);
            if (is_item && b.tags[k] == tag) expected |= 1u << k;
        }
        cr_assert_eq(dict_bucket_candidates(&b, hash), expected);
    }
}

Test(dict, a_thousand_equal_hashes_lie_in_one_overflow_array)
{
    enum { COUNT = 1000 };
    struct item *items = items_new(COUNT, CONSTANT);
    struct random r;
    struct dict d;
    uint64_t histogram[20];
    random_seed(&r, 2);
    dict_init(&d, item_hash);
    for (int i = 0; i < COUNT; i++) {
        insert(&d, &items[i]);
        dict_validate(&d);
    }
    check_finds(&d, items, COUNT);
    dict_histogram(&d, histogram, 20);
    cr_assert_eq(histogram[19], 1);
    cr_assert_eq(histogram[0], d.buckets - 1);
    for (int left = COUNT; left; left--) {
        int i = (int)random_below(&r, COUNT);
        while (!items[i].is_in) i = (i + 1) % COUNT;
        take_out(&d, &items[i]);
        dict_validate(&d);
        if (left % 100 == 0) check_finds(&d, items, COUNT);
    }
    dict_free(&d);
    mem_free(items);
}

Test(dict, peek_gives_the_item_that_a_look_up_will_compare_with)
{
    enum { COUNT = 1000 };
    struct item *items = items_new(COUNT, GOOD);
    struct dict d;
    int hits = 0;
    dict_init(&d, item_hash);
    for (int i = 0; i < COUNT; i++) insert(&d, &items[i]);
    for (int i = 0; i < COUNT; i++) hits += dict_peek(&d, items[i].hash) == &items[i];
    cr_assert_gt(hits, COUNT * 7 / 10); // the rest lies in overflow arrays or behind an equal tag
    dict_free(&d);
    mem_free(items);
}

Test(dict, a_histogram_counts_every_bucket_once)
{
    enum { COUNT = 5000 };
    struct item *items = items_new(COUNT, GOOD);
    struct dict d;
    uint64_t histogram[64], buckets = 0, found = 0;
    dict_init(&d, item_hash);
    for (int i = 0; i < COUNT; i++) insert(&d, &items[i]);
    dict_histogram(&d, histogram, 64);
    for (uint64_t n = 0; n < 64; n++) {
        buckets += histogram[n];
        found += histogram[n] * n;
    }
    cr_assert_eq(buckets, d.buckets);
    cr_assert_eq(found, COUNT);
    dict_free(&d);
    mem_free(items);
}

// Splits ask the items for their hash below 2^DICT_KEPT_BIT buckets, the kept bits up to
// 2^(KEPT_BIT + 16), and the items again beyond. The first two by growing through them, with the
// kept bits telling:
Test(dict, splits_need_no_item_while_the_kept_bits_reach)
{
    const size_t count = 6 * 4096 + 1;
    struct item *items = items_new(count, GOOD);
    struct dict d;
    dict_init(&d, item_hash);
    size_t i = 0;
    for (; i < 6 * 2048; i++) insert(&d, &items[i]);
    cr_assert_geq(d.mask, (1u << DICT_KEPT_BIT) - 1);
    d.hash = NULL; // calling it would crash
    for (; i < count; i++) insert(&d, &items[i]);
    d.hash = item_hash;
    dict_validate(&d);
    check_finds(&d, items, count);
    dict_free(&d);
    mem_free(items);
}

// ... and the third in a table of 2^26 buckets that are all the same empty segment, but for the
// first.
Test(dict, beyond_the_kept_bits_a_split_asks_the_items)
{
    enum { COUNT = 12 };
    const uint64_t buckets = 1ull << (DICT_KEPT_BIT + 16);
    const uint32_t segments = (uint32_t)(buckets >> DICT_SEGMENT_BITS);
    struct item items[COUNT];
    struct dict d;
    size_t bytes = DICT_SEGMENT * sizeof(struct dict_bucket);
    struct dict_bucket *empty = mem_alloc_aligned(bytes, 64);
    dict_init(&d, item_hash);
    d.segments = mem_alloc(segments * sizeof *d.segments);
    for (uint32_t i = 0; i < segments; i++) d.segments[i] = empty;
    d.segments[0] = mem_alloc_aligned(bytes, 64);
    d.first_cap = DICT_SEGMENT;
    d.segment_cap = segments;
    d.buckets = buckets;
    d.mask = buckets - 1;
    for (uint64_t i = 0; i < COUNT; i++) { // all in bucket 0, half of them with the next bit set
        items[i] = (struct item){.key = i, .hash = i << 56 | (i & 1) << 26};
        if (i == COUNT - 1) d.count = d.buckets * 8; // so that the last one makes it grow
        insert(&d, &items[i]);
    }
    cr_assert_eq(d.buckets, buckets + 1);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(dict_bucket_index(&d, items[i].hash), i & 1 ? buckets : 0);
        cr_assert_eq(find(&d, &items[i]), &items[i]);
        cr_assert(dict_remove(&d, items[i].hash, &items[i]));
    }
    mem_free(d.segments[0]);
    mem_free(d.segments[segments]);
    mem_free(d.segments);
    mem_free(empty);
}

// --- scanning ------------------------------------------------------------------------------------

static void count_visit(void *item, void *arg)
{
    ((struct item *)item)->visits++;
    ++*(uint64_t *)arg;
}

Test(dict, a_walk_gives_every_item_once)
{
    static const int counts[] = {0, 1, 6, 7, 8, 100, 5000, 60000};
    for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
        for (enum spread spread = GOOD; spread < SPREADS; spread++) {
            int count = spread == GOOD ? counts[c] : MIN(counts[c], 1000);
            struct item *items = items_new(count, spread), *item;
            struct dict d;
            uint64_t bucket = 0, seen = 0;
            uint32_t at = 0;
            dict_init(&d, item_hash);
            for (int i = 0; i < count; i++) insert(&d, &items[i]);
            for (; (item = dict_next(&d, &bucket, &at)); seen++) cr_assert_eq(item->visits++, 0);
            cr_assert_eq(seen, count);
            cr_assert_null(dict_next(&d, &bucket, &at));
            dict_free(&d);
            mem_free(items);
        }
    }
}

Test(dict, a_scan_of_a_table_at_rest_visits_every_item_once)
{
    static const size_t counts[] = {1, 2, 6, 7, 13, 100, 1000, 3000, 30000};
    for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
        struct item *items = items_new(counts[c], GOOD);
        struct dict d;
        uint64_t cursor = 0, calls = 0, visits = 0;
        dict_init(&d, item_hash);
        for (size_t i = 0; i < counts[c]; i++) insert(&d, &items[i]);
        do {
            cursor = dict_scan(&d, cursor, count_visit, &visits);
            cr_assert_leq(++calls, d.buckets, "the scan does not end");
        } while (cursor);
        cr_assert_eq(visits, counts[c]);
        for (size_t i = 0; i < counts[c]; i++) cr_assert_eq(items[i].visits, 1);
        dict_free(&d);
        mem_free(items);
    }
}

// What happens to the table between two calls of a scan.
enum weather { GROWS, SHRINKS, SWINGS, WEATHERS };

static void change_table(struct dict *d, struct item *items, size_t stable, size_t count,
                         enum weather weather, struct random *r, uint64_t call)
{
    uint64_t changes = random_below(r, 60);
    bool is_growing = weather == GROWS || (weather == SWINGS && call / 20 % 2 == 0);
    while (changes--) {
        struct item *item = &items[stable + random_below(r, count - stable)];
        if (item->is_in != is_growing) {
            if (is_growing)
                insert(d, item);
            else
                take_out(d, item);
        }
    }
}

static void scan_in_weather(enum spread spread, enum weather weather, uint64_t seed)
{
    const size_t stable = 200, count = 4000, never = 50;
    struct item *items = items_new(count + never, spread);
    struct random r;
    struct dict d;
    uint64_t cursor = 0, calls = 0, visits = 0;
    random_seed(&r, seed);
    dict_init(&d, item_hash);
    for (size_t i = 0; i < stable; i++) insert(&d, &items[i]);
    if (weather == SHRINKS)
        for (size_t i = stable; i < count; i++) insert(&d, &items[i]);
    do {
        cursor = dict_scan(&d, cursor, count_visit, &visits);
        change_table(&d, items, stable, count, weather, &r, calls);
        if (calls % 16 == 0) dict_validate(&d);
        cr_assert_leq(++calls, 100000, "the scan does not end");
    } while (cursor);
    for (size_t i = 0; i < stable; i++)
        cr_assert_geq(items[i].visits, 1, "item %zu was there all the time and was not returned",
                      i);
    for (size_t i = count; i < count + never; i++) cr_assert_eq(items[i].visits, 0);
    dict_validate(&d);
    dict_free(&d);
    mem_free(items);
}

Test(dict, a_scan_returns_what_is_there_all_the_time_whatever_grows_or_shrinks, .timeout = 60)
{
    for (int weather = GROWS; weather < WEATHERS; weather++)
        for (uint64_t seed = 1; seed <= 40; seed++)
            scan_in_weather(seed % 4 ? GOOD : FEW_TAGS, (enum weather)weather, seed);
}

// --- draining and picking ------------------------------------------------------------------------

static void drain_visit(void *item, void *arg)
{
    struct item *it = item;
    cr_assert(it->is_in);
    it->is_in = false;
    ++*(uint64_t *)arg;
}

Test(dict, draining_gives_every_item_once_and_leaves_an_empty_table)
{
    static const size_t counts[] = {1, 5, 1000, 60000};
    for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
        struct item *items = items_new(counts[c], GOOD);
        struct dict d;
        uint64_t drained = 0;
        dict_init(&d, item_hash);
        for (size_t i = 0; i < counts[c]; i++) insert(&d, &items[i]);
        for (uint64_t calls = 0; dict_drain_bucket(&d, drain_visit, &drained); calls++)
            if (calls % 1000 == 0 || calls < 5) {
                dict_validate(&d);
                check_finds(&d, items, counts[c]);
            }
        cr_assert_eq(drained, counts[c]);
        cr_assert_eq(d.count, 0);
        insert(&d, &items[0]);
        check_finds(&d, items, counts[c]);
        dict_validate(&d);
        dict_free(&d);
        mem_free(items);
    }
}

static uint64_t next_random(void *arg)
{
    return random_u64(arg);
}

Test(dict, a_random_item_is_any_of_them_with_equal_chance)
{
    enum { COUNT = 500, DRAWS = 200000 };
    struct item *items = items_new(COUNT, GOOD);
    struct random r;
    struct dict d;
    random_seed(&r, 6);
    dict_init(&d, item_hash);
    for (int i = 0; i < COUNT; i++) insert(&d, &items[i]);
    for (int i = 0; i < DRAWS; i++) ((struct item *)dict_random(&d, next_random, &r))->visits++;
    for (int i = 0; i < COUNT; i++) { // expected 400, standard deviation 20
        cr_assert_gt(items[i].visits, 280);
        cr_assert_lt(items[i].visits, 520);
    }
    dict_free(&d);
    mem_free(items);
}

Test(dict, a_random_item_is_found_in_a_nearly_empty_table)
{
    struct item *items = items_new(4000, GOOD);
    struct random r;
    struct dict d;
    uint64_t drained = 0;
    random_seed(&r, 6);
    dict_init(&d, item_hash);
    for (int i = 0; i < 4000; i++) insert(&d, &items[i]);
    while (d.count > 10) dict_drain_bucket(&d, drain_visit, &drained);
    while (d.count) {
        struct item *item = dict_random(&d, next_random, &r);
        cr_assert(item->is_in);
        take_out(&d, item);
        dict_validate(&d);
    }
    dict_free(&d);
    mem_free(items);
}
