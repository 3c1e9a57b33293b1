// SPDX-License-Identifier: BSD-3-Clause
//
// The wheel against a plain list of times. After every mutation the wheel is walked; whenever it
// says that nothing more is due, the list must agree.
#include "ds/timewheel.h"

#include <criterion/criterion.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"

#define NOW        INT64_C(1700000000000)
#define PLENTY     UINT32_MAX
#define MODEL_SIZE 300

// --- a model -------------------------------------------------------------------------------------

struct model {
    struct timewheel wheel;
    struct timewheel_node *items[MODEL_SIZE]; // NULL: free
    int64_t now_ms;
    struct random random;
};

static void model_init(struct model *m, uint64_t seed)
{
    *m = (struct model){.now_ms = NOW};
    random_seed(&m->random, seed);
    timewheel_init(&m->wheel, m->now_ms);
}

static void model_free(struct model *m)
{
    for (int i = 0; i < MODEL_SIZE; i++) mem_free(m->items[i]);
    timewheel_free(&m->wheel);
}

static int64_t model_first_ms(const struct model *m)
{
    int64_t first = INT64_MAX;
    for (int i = 0; i < MODEL_SIZE; i++)
        if (m->items[i]) first = MIN(first, m->items[i]->at_ms);
    return first;
}

static void model_check(const struct model *m)
{
    uint64_t count = 0;
    for (int i = 0; i < MODEL_SIZE; i++) count += m->items[i] != NULL;
    timewheel_validate(&m->wheel);
    cr_assert_eq(m->wheel.count, count);
    int64_t next = timewheel_next_ms(&m->wheel);
    if (count == 0)
        cr_assert_eq(next, INT64_MAX);
    else
        cr_assert(next == 0 || next <= model_first_ms(m));
}

static int64_t random_at(struct model *m)
{
    int64_t distance = (int64_t)(random_u64(&m->random) >> (16 + random_below(&m->random, 48)));
    switch (random_below(&m->random, 12)) {
    case 0: return m->now_ms;
    case 1: return m->now_ms - distance;
    case 2: return (m->now_ms | 63) + (int64_t)random_below(&m->random, 3); // at a slot's edge
    case 3: return (m->now_ms | 4095) + (int64_t)random_below(&m->random, 3);
    default: return m->now_ms + distance;
    }
}

static void model_add(struct model *m, int64_t at_ms)
{
    unsigned i = (unsigned)random_below(&m->random, MODEL_SIZE);
    if (m->items[i]) return;
    m->items[i] = mem_alloc(sizeof *m->items[i]);
    m->items[i]->at_ms = at_ms;
    timewheel_add(&m->wheel, m->items[i]);
}

static void model_remove(struct model *m, struct timewheel_node *node)
{
    int i = 0;
    while (i < MODEL_SIZE && m->items[i] != node) i++;
    cr_assert_lt(i, MODEL_SIZE, "an item that is not in the wheel came out of it");
    timewheel_remove(&m->wheel, node);
    mem_free(node);
    m->items[i] = NULL;
}

static void model_move(struct model *m, unsigned i)
{
    struct timewheel_node *moved = mem_alloc(sizeof *moved);
    *moved = *m->items[i];
    mem_free(m->items[i]);
    m->items[i] = moved;
    timewheel_moved(&m->wheel, moved);
}

// One call with a budget; false when nothing more was to do.
static bool model_step(struct model *m, uint32_t budget)
{
    uint32_t left = budget;
    struct timewheel_node *node = timewheel_due(&m->wheel, m->now_ms, &left);
    cr_assert_leq(left, budget);
    model_check(m);
    if (node) {
        cr_assert_leq(node->at_ms, m->now_ms, "too early");
        model_remove(m, node);
        model_check(m);
        return true;
    }
    if (left == 0) return true;
    cr_assert_gt(model_first_ms(m), m->now_ms, "too late");
    cr_assert_eq(m->wheel.now_ms, m->now_ms, "the wheel's time stays behind");
    return false;
}

static void model_mutate(struct model *m)
{
    unsigned i = (unsigned)random_below(&m->random, MODEL_SIZE);
    switch (random_below(&m->random, 8)) {
    case 0:
        if (m->items[i]) model_remove(m, m->items[i]);
        break;
    case 1:
        if (m->items[i]) model_move(m, i);
        break;
    default: model_add(m, random_at(m)); break;
    }
    model_check(m);
}

// Time goes on by some digits' worth, now and then back.
static void model_pass_time(struct model *m)
{
    int64_t distance = (int64_t)(random_u64(&m->random) >> (18 + random_below(&m->random, 46)));
    m->now_ms += random_below(&m->random, 6) ? distance : -distance;
    if (m->now_ms < 0 || m->now_ms > NOW * 100) m->now_ms = NOW;
}

Test(timewheel, nothing_is_early_or_late_or_lost, .timeout = 120)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct model m;
        model_init(&m, seed);
        for (int round = 0; round < 60; round++) {
            for (uint64_t n = random_below(&m.random, 20); n; n--) model_mutate(&m);
            model_pass_time(&m);
            // Sometimes to the end, sometimes given up in the middle of a move between levels.
            uint32_t budget =
                random_below(&m.random, 2) ? PLENTY : 1 + (uint32_t)random_below(&m.random, 9);
            uint64_t steps = random_below(&m.random, 3) ? UINT64_MAX : random_below(&m.random, 9);
            while (steps-- && model_step(&m, budget))
                if (random_below(&m.random, 8) == 0) model_mutate(&m);
        }
        m.now_ms = NOW * 120;
        while (model_step(&m, 7))
            ;
        model_free(&m);
    }
}

// --- single properties ---------------------------------------------------------------------------

Test(timewheel, an_empty_wheel_has_nothing_due)
{
    struct timewheel w;
    uint32_t budget = 5;
    timewheel_init(&w, NOW);
    cr_assert_null(timewheel_due(&w, NOW + 1000, &budget));
    cr_assert_eq(budget, 5);
    cr_assert_eq(timewheel_next_ms(&w), INT64_MAX);
    cr_assert_eq(timewheel_bytes(&w), 0);
    timewheel_validate(&w);
    timewheel_free(&w);
}

Test(timewheel, items_at_all_distances_are_due_at_their_millisecond)
{
    for (unsigned bit = 0; bit < 47; bit++)
        for (int offset = -1; offset <= 1; offset++) {
            struct timewheel w;
            struct timewheel_node node = {.at_ms = NOW + (INT64_C(1) << bit) + offset};
            uint32_t budget = 20;
            timewheel_init(&w, NOW);
            timewheel_add(&w, &node);
            timewheel_validate(&w);
            if (node.at_ms > NOW) {
                cr_assert_null(timewheel_due(&w, node.at_ms - 1, &budget));
                cr_assert_gt(budget, 0);
            }
            cr_assert_eq(timewheel_due(&w, node.at_ms, &budget), &node);
            cr_assert_geq(budget, 20 - 8, "more than seven moves");
            timewheel_remove(&w, &node);
            timewheel_validate(&w);
            timewheel_free(&w);
        }
}

Test(timewheel, an_item_in_the_past_is_due_at_once)
{
    static const int64_t times[] = {NOW - 1, NOW - 1000000000, 0, -1, INT64_MIN};
    struct timewheel w;
    timewheel_init(&w, NOW);
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct timewheel_node node = {.at_ms = times[i]};
        uint32_t budget = 1;
        timewheel_add(&w, &node);
        timewheel_validate(&w);
        cr_assert_eq(timewheel_next_ms(&w), 0);
        cr_assert_eq(timewheel_due(&w, NOW, &budget), &node);
        timewheel_remove(&w, &node);
    }
    timewheel_free(&w);
}

Test(timewheel, times_beyond_48_bits_stay_and_are_never_due)
{
    struct timewheel_node nodes[] = {{.at_ms = (int64_t)TIMEWHEEL_MAX_MS},
                                     {.at_ms = (int64_t)TIMEWHEEL_MAX_MS + 1},
                                     {.at_ms = INT64_MAX},
                                     {.at_ms = (int64_t)TIMEWHEEL_MAX_MS - 1}};
    struct timewheel w;
    uint32_t budget = 100;
    timewheel_init(&w, NOW);
    for (int i = 0; i < 4; i++) timewheel_add(&w, &nodes[i]);
    timewheel_validate(&w);
    cr_assert_null(timewheel_due(&w, (int64_t)TIMEWHEEL_MAX_MS - 2, &budget));
    cr_assert_eq(timewheel_due(&w, (int64_t)TIMEWHEEL_MAX_MS - 1, &budget), &nodes[3]);
    timewheel_remove(&w, &nodes[3]);
    cr_assert_null(timewheel_due(&w, INT64_MAX, &budget));
    cr_assert_gt(budget, 0);
    timewheel_validate(&w);
    for (int i = 0; i < 3; i++) timewheel_remove(&w, &nodes[i]);
    timewheel_validate(&w);
    timewheel_free(&w);
}

Test(timewheel, a_clock_set_back_makes_nothing_early_or_late)
{
    static const int64_t jumps[] = {1, 63, 64, 1000, 100000, 86400000, INT64_C(31536000000) * 30};
    for (size_t i = 0; i < ARRAY_LEN(jumps); i++) {
        struct timewheel w;
        int64_t back = NOW - jumps[i];
        struct timewheel_node overdue = {.at_ms = NOW - jumps[i] / 2};
        struct timewheel_node later = {.at_ms = NOW + 50}, past = {.at_ms = back - 5};
        uint32_t budget = 100;
        timewheel_init(&w, NOW);
        timewheel_add(&w, &overdue);
        timewheel_add(&w, &later);
        timewheel_add(&w, &past);
        cr_assert_eq(timewheel_due(&w, back, &budget), &past);
        timewheel_validate(&w);
        timewheel_remove(&w, &past);
        if (overdue.at_ms > back) cr_assert_null(timewheel_due(&w, overdue.at_ms - 1, &budget));
        cr_assert_eq(timewheel_due(&w, overdue.at_ms, &budget), &overdue);
        timewheel_remove(&w, &overdue);
        cr_assert_null(timewheel_due(&w, NOW + 49, &budget));
        cr_assert_eq(timewheel_due(&w, NOW + 50, &budget), &later);
        timewheel_remove(&w, &later);
        timewheel_validate(&w);
        timewheel_free(&w);
    }
}

Test(timewheel, a_jump_of_years_finds_everything)
{
    enum { COUNT = 3000 };
    struct timewheel w;
    struct random r;
    struct timewheel_node *nodes = mem_alloc(COUNT * sizeof *nodes);
    uint32_t budget = PLENTY, found = 0;
    random_seed(&r, 8);
    timewheel_init(&w, NOW);
    for (int i = 0; i < COUNT; i++) {
        nodes[i] = (struct timewheel_node){.at_ms = NOW + (int64_t)random_below(&r, 1ull << 39)};
        timewheel_add(&w, &nodes[i]);
    }
    struct timewheel_node *node;
    while ((node = timewheel_due(&w, NOW + (INT64_C(1) << 40), &budget))) {
        timewheel_remove(&w, node);
        found++;
    }
    cr_assert_eq(found, COUNT);
    timewheel_validate(&w);
    timewheel_free(&w);
    mem_free(nodes);
}

// --- bounded steps -------------------------------------------------------------------------------

Test(timewheel, one_call_moves_no_more_items_than_its_budget)
{
    enum { COUNT = 5000 };
    struct timewheel w;
    struct timewheel_node *nodes = mem_alloc(COUNT * sizeof *nodes);
    uint16_t *slots = mem_alloc(COUNT * sizeof *slots);
    const int64_t at = NOW + 100000;
    uint32_t steps = 0, calls = 0;
    timewheel_init(&w, NOW);
    for (int i = 0; i < COUNT; i++) {
        nodes[i] = (struct timewheel_node){.at_ms = at + i % 100};
        timewheel_add(&w, &nodes[i]);
    }
    for (uint64_t left = COUNT; left; calls++) {
        for (int i = 0; i < COUNT; i++) slots[i] = nodes[i].slot;
        uint32_t budget = 50, moved = 0;
        struct timewheel_node *node = timewheel_due(&w, at + 200, &budget);
        for (int i = 0; i < COUNT; i++) moved += slots[i] != nodes[i].slot;
        cr_assert_leq(moved, 50 - budget);
        steps += 50 - budget;
        if (calls % 64 == 0) timewheel_validate(&w);
        if (!node) {
            cr_assert_eq(budget, 0);
            continue;
        }
        timewheel_remove(&w, node);
        left--;
    }
    cr_assert_leq(steps, 8 * COUNT);
    timewheel_free(&w);
    mem_free(slots);
    mem_free(nodes);
}

Test(timewheel, a_million_items_of_one_millisecond_come_out_and_leave_no_memory, .timeout = 30)
{
    const uint32_t count = 1000000;
    struct timewheel w;
    struct timewheel_node *nodes = mem_alloc(count * sizeof *nodes);
    size_t before = mem_used_bytes();
    uint32_t found = 0, budget = PLENTY;
    timewheel_init(&w, NOW);
    for (uint32_t i = 0; i < count; i++) {
        nodes[i] = (struct timewheel_node){.at_ms = NOW + 1000000};
        timewheel_add(&w, &nodes[i]);
    }
    cr_assert_leq(timewheel_bytes(&w), count * 8 + 100000);
    cr_assert_null(timewheel_due(&w, NOW + 999999, &budget));
    struct timewheel_node *node;
    while ((node = timewheel_due(&w, NOW + 1000000, &budget))) {
        timewheel_remove(&w, node);
        if (++found % 100000 == 0) timewheel_validate(&w);
    }
    cr_assert_eq(found, count);
    cr_assert_leq(mem_used_bytes() - before, 200000);
    timewheel_free(&w);
    cr_assert_eq(mem_used_bytes(), before);
    mem_free(nodes);
}

Test(timewheel, a_slot_grows_and_shrinks_over_segments)
{
    enum { COUNT = 5 * TIMEWHEEL_SEGMENT + 17 };
    struct timewheel w;
    struct random r;
    struct timewheel_node *nodes = mem_alloc(COUNT * sizeof *nodes);
    random_seed(&r, 11);
    timewheel_init(&w, NOW);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            nodes[i] = (struct timewheel_node){.at_ms = NOW + 5000};
            timewheel_add(&w, &nodes[i]);
            if (i % 509 == 0 || (i & 4095) < 2) timewheel_validate(&w);
        }
        for (int i = COUNT - 1; i > 0; i--) { // shuffle, so that gaps are filled everywhere
            int k = (int)random_below(&r, (uint64_t)i + 1);
            struct timewheel_node swap = nodes[i];
            nodes[i] = nodes[k];
            nodes[k] = swap;
            timewheel_moved(&w, &nodes[i]);
            timewheel_moved(&w, &nodes[k]);
        }
        timewheel_validate(&w);
        for (int i = 0; i < COUNT; i++) {
            timewheel_remove(&w, &nodes[i]);
            if (i % 509 == 0 || (i & 2047) < 2) timewheel_validate(&w);
        }
        cr_assert_eq(w.count, 0);
        cr_assert_leq(timewheel_bytes(&w), 8192 + 512);
    }
    timewheel_free(&w);
    mem_free(nodes);
}
