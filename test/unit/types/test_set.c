// SPDX-License-Identifier: BSD-3-Clause
//
// Sets against a model (which of a fixed population of members are in), through every encoding:
// the limits are small, so that a few steps lead from an intset over a listpack to a table.
#include "types/set.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "ds/intset.h"

static const struct value_limits usual = {
    .set_max_intset_entries = 512, .set_max_listpack_entries = 128, .set_max_listpack_value = 64};
static const struct value_limits tables_only = {0};

// --- the population ------------------------------------------------------------------------------

#define POPULATION  600
#define LONGEST     300
#define FIRST_OTHER 300 // members below are integers

static struct slice some_member(uint32_t i)
{
    static char texts[POPULATION][LONGEST];
    static size_t lens[POPULATION];
    char *text = texts[i];
    if (!lens[i]) {
        static const int64_t edges[] = {INT64_MIN, INT64_MAX,        0,
                                        -1,        (1ll << 46) - 1,  1ll << 46,
                                        INT16_MAX, -(1ll << 46),     -(1ll << 46) - 1,
                                        INT32_MIN, (int64_t)1 << 47, 70000};
        if (i < sizeof edges / sizeof edges[0])
            lens[i] = num_format_i64(text, edges[i]);
        else if (i < FIRST_OTHER)
            lens[i] = num_format_i64(text, ((int64_t)i - 150) * 7 + 1);
        else if (i % 50 == 0) // around the lengths at which an item's form changes
            lens[i] = strlen(memset(text, 'x', 250 + (i - FIRST_OTHER) / 50));
        else
            lens[i] = (size_t)snprintf(text, LONGEST, i % 3 ? "member:%u" : "0%u", i);
    }
    return (struct slice){text, lens[i]};
}

// The empty string is one of them.
static struct slice member(uint32_t i)
{
    return i == FIRST_OTHER + 1 ? SLICE("") : some_member(i);
}

static uint32_t number_of(const struct item *m)
{
    char digits[NUM_I64_TEXT];
    struct slice s = item_slice(m, digits);
    for (uint32_t i = 0; i < POPULATION; i++)
        if (slice_eq(member(i), s)) return i;
    cr_assert_fail("a stranger: %.*s", SLICE_ARG(s));
    return 0;
}

struct model {
    bool is_in[POPULATION];
    uint32_t count;
};

static void model_set(struct model *m, uint32_t i, bool is_in)
{
    m->count += (uint32_t)is_in - (uint32_t)m->is_in[i];
    m->is_in[i] = is_in;
}

// --- checks --------------------------------------------------------------------------------------

struct seen {
    uint32_t times[POPULATION];
    uint64_t count;
};

static void see(void *arg, const struct item *m)
{
    struct seen *seen = arg;
    seen->times[number_of(m)]++;
    seen->count++;
}

static void check_walk(struct value v, const struct model *model)
{
    struct seen seen = {0};
    struct set_iter it;
    struct item m;
    for (set_iter_init(&it, v); set_iter_next(&it, &m);) see(&seen, &m);
    cr_assert_eq(seen.count, model->count);
    for (uint32_t i = 0; i < POPULATION; i++) cr_assert_eq(seen.times[i], model->is_in[i]);
}

static void check(struct value v, const struct model *model)
{
    set_validate(v);
    cr_assert_eq(set_len(v), model->count);
    check_walk(v, model);
    for (uint32_t first = 0; first + SET_BATCH <= POPULATION; first += SET_BATCH) {
        struct item members[SET_BATCH];
        uint32_t want = 0;
        for (uint32_t i = 0; i < SET_BATCH; i++) {
            members[i] = item_of(member(first + i));
            want |= (uint32_t)model->is_in[first + i] << i;
        }
        cr_assert_eq(set_has_batch(v, members, SET_BATCH), want);
    }
}

static void check_copy(struct value v, const struct model *model)
{
    struct value copy = set_copy(v);
    cr_assert_eq(value_encoding(copy), value_encoding(v));
    check(copy, model);
    cr_assert_eq(set_memory_bytes(copy) > 0, set_memory_bytes(v) > 0);
    set_free(copy);
}

static void check_scan(struct value v, const struct model *model)
{
    struct seen seen = {0};
    uint64_t cursor = 0;
    do cursor = set_scan(v, cursor, see, &seen);
    while (cursor);
    for (uint32_t i = 0; i < POPULATION; i++) cr_assert_eq(seen.times[i], model->is_in[i]);
}

// --- random operations ---------------------------------------------------------------------------

// An item that names the member either way, if there are two.
static struct item item_either(struct random *r, uint32_t i)
{
    int64_t integer;
    if (random_below(r, 2) && num_parse_i64(member(i), &integer)) return item_of_integer(integer);
    return item_of(member(i));
}

static void step_members(struct random *r, struct value *v, struct model *model, uint32_t range,
                         const struct value_limits *limits)
{
    uint32_t i = (uint32_t)random_below(r, range);
    struct item m = item_either(r, i);
    cr_assert_eq(set_has_item(*v, &m), model->is_in[i]);
    cr_assert_eq(set_has(*v, member(i)), model->is_in[i]);
    if (random_below(r, 5) < 3) {
        cr_assert_eq(set_add_item(v, &m, limits), !model->is_in[i]);
        model_set(model, i, true);
    } else {
        cr_assert_eq(set_remove_item(v, &m), model->is_in[i]);
        model_set(model, i, false);
    }
}

static void step_pop(struct random *r, struct value *v, struct model *model)
{
    struct seen seen = {0};
    uint64_t len = set_len(*v);
    if (!len) return;
    // A few of many, or many of them all.
    uint64_t count = random_below(r, 2) ? random_below(r, len + 1) : len - random_below(r, len) / 8;
    if (random_below(r, 4))
        count = 1, set_pop(v, r, see, &seen);
    else
        set_pop_many(v, count, r, see, &seen);
    cr_assert_eq(seen.count, count);
    for (uint32_t i = 0; i < POPULATION; i++) {
        if (!seen.times[i]) continue;
        cr_assert_eq(seen.times[i], 1);
        cr_assert(model->is_in[i]);
        model_set(model, i, false);
    }
}

static void step_sample(struct random *r, struct value v, const struct model *model)
{
    struct seen different = {0}, drawn = {0};
    uint64_t len = set_len(v);
    if (!len) return;
    uint64_t count = random_below(r, random_below(r, 2) ? len + 1 : len / 10 + 1);
    set_sample(v, count, r, see, &different);
    set_draw(v, count, r, see, &drawn);
    cr_assert_eq(different.count, count);
    cr_assert_eq(drawn.count, count);
    for (uint32_t i = 0; i < POPULATION; i++) {
        cr_assert_leq(different.times[i], model->is_in[i]);
        if (drawn.times[i]) cr_assert(model->is_in[i]);
    }
}

static void run(uint64_t seed, const struct value_limits *limits, uint32_t range)
{
    struct random r;
    struct model model = {0};
    struct value v = set_new();
    random_seed(&r, seed);
    for (int step = 0; step < 1500; step++) {
        step_members(&r, &v, &model, range, limits);
        if (random_below(&r, 60) == 0) step_pop(&r, &v, &model);
        if (random_below(&r, 60) == 0) step_sample(&r, v, &model);
        if (random_below(&r, 40) == 0) check(v, &model);
        if (random_below(&r, 200) == 0) check_copy(v, &model);
        if (random_below(&r, 100) == 0) check_scan(v, &model);
        if (random_below(&r, 400) == 0) { // begin again
            set_free(v);
            v = set_new();
            model = (struct model){0};
        }
    }
    check(v, &model);
    while (!set_drain(&v, 7))
        ;
}

Test(set, random_operations_agree_with_a_model)
{
    static const struct value_limits limits[] = {
        {.set_max_intset_entries = 512,
         .set_max_listpack_entries = 128,
         .set_max_listpack_value = 64},
        {.set_max_intset_entries = 10,
         .set_max_listpack_entries = 20,
         .set_max_listpack_value = 10},
        {.set_max_intset_entries = 1000,
         .set_max_listpack_entries = 1000,
         .set_max_listpack_value = 1000},
        {.set_max_intset_entries = 0,
         .set_max_listpack_entries = 30,
         .set_max_listpack_value = 1000},
        {0},
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        run(i * 3 + 1, &limits[i], POPULATION);
        run(i * 3 + 2, &limits[i], FIRST_OTHER); // integers only
        run(i * 3 + 3, &limits[i], 40);
    }
}

// --- encodings -----------------------------------------------------------------------------------

static struct value set_of(const char *const *members, const struct value_limits *limits)
{
    struct value v = set_new();
    for (; *members; members++) set_add(&v, slice_of(*members), limits);
    return v;
}

#define SET(limits, ...) set_of((const char *const[]){__VA_ARGS__, NULL}, limits)

static void expect_encoding(struct value v, enum object_encoding encoding)
{
    set_validate(v);
    cr_expect_eq(value_encoding(v), encoding, "%s instead of %s",
                 object_encoding_name(value_encoding(v)), object_encoding_name(encoding));
    set_free(v);
}

Test(set, the_first_member_decides_the_encoding)
{
    static const struct value_limits no_ints = {.set_max_listpack_entries = 9,
                                                .set_max_listpack_value = 9};
    expect_encoding(SET(&usual, "1"), ENC_INTSET);
    expect_encoding(SET(&usual, "a"), ENC_LISTPACK);
    expect_encoding(SET(&usual, "01"), ENC_LISTPACK);
    expect_encoding(SET(&usual, "9223372036854775808"), ENC_LISTPACK);
    expect_encoding(
        SET(&usual, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ENC_HASHTABLE);
    expect_encoding(SET(&no_ints, "1"), ENC_LISTPACK);
    expect_encoding(SET(&tables_only, "1"), ENC_HASHTABLE);
    expect_encoding(SET(&tables_only, "a"), ENC_HASHTABLE);
}

Test(set, an_intset_with_a_string_is_a_listpack_if_it_fits)
{
    static const struct value_limits two = {
        .set_max_intset_entries = 9, .set_max_listpack_entries = 2, .set_max_listpack_value = 3};
    expect_encoding(SET(&usual, "1", "2", "a"), ENC_LISTPACK);
    expect_encoding(SET(&two, "1", "a"), ENC_LISTPACK);
    expect_encoding(SET(&two, "1", "2", "a"), ENC_HASHTABLE);
    expect_encoding(SET(&two, "1", "abcd"), ENC_HASHTABLE);
    expect_encoding(SET(&two, "1234", "a"), ENC_HASHTABLE); // an old member is too long
    expect_encoding(SET(&two, "-123", "a"), ENC_HASHTABLE);
    expect_encoding(SET(&two, "1", "a", "b"), ENC_HASHTABLE);
    expect_encoding(SET(&two, "1", "2", "3", "4", "5", "6", "7", "8", "9"), ENC_INTSET);
    expect_encoding(SET(&two, "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"), ENC_HASHTABLE);
}

Test(set, an_encoding_never_goes_back)
{
    struct value v = SET(&usual, "1", "a");
    cr_assert(set_remove(&v, SLICE("a")));
    cr_assert_eq(value_encoding(v), ENC_LISTPACK);
    for (int i = 0; i < 200; i++) {
        char digits[NUM_I64_TEXT];
        set_add(&v, (struct slice){digits, num_format_i64(digits, i)}, &usual);
    }
    cr_assert_eq(value_encoding(v), ENC_HASHTABLE);
    for (int i = 0; i < 199; i++) {
        char digits[NUM_I64_TEXT];
        cr_assert(set_remove(&v, (struct slice){digits, num_format_i64(digits, i)}));
    }
    cr_assert_eq(set_len(v), 1);
    expect_encoding(v, ENC_HASHTABLE);
}

Test(set, a_set_from_a_dump_takes_the_encoding_that_the_limits_ask_for)
{
    static const char bytes[] = "\2\0\0\0\2\0\0\0\xff\xff\2\1";
    struct value_limits one = usual;
    size_t len;
    struct value v = set_of_intset(bytes, 12);
    cr_assert_arr_eq(set_intset(v, &len), bytes, 12);
    cr_assert_eq(len, 12);
    set_fit(&v, &usual);
    cr_assert_eq(value_encoding(v), ENC_INTSET);
    one.set_max_intset_entries = 1;
    set_fit(&v, &one);
    cr_assert(set_has(v, SLICE("-1")) && set_has(v, SLICE("258")));
    expect_encoding(v, ENC_HASHTABLE);

    v = set_of_listpack(listpack_append(listpack_append(listpack_new(0), SLICE("a")), SLICE("5")));
    cr_assert_eq(listpack_count(set_listpack(v)), 2);
    set_fit(&v, &usual);
    cr_assert_eq(value_encoding(v), ENC_LISTPACK);
    one.set_max_listpack_entries = 1;
    set_fit(&v, &one);
    cr_assert(set_has(v, SLICE("a")) && set_has(v, SLICE("5")));
    expect_encoding(v, ENC_HASHTABLE);
}

// --- chance --------------------------------------------------------------------------------------

// Counts how often each of 20 members comes, drawing `rounds` times; with 19 degrees of freedom
// chi-square is above 60 once in 250,000 runs.
static void expect_even(const struct seen *seen, uint32_t first, uint32_t n)
{
    double expected = (double)seen->count / n, chi2 = 0;
    for (uint32_t i = first; i < first + n; i++)
        chi2 += (seen->times[i] - expected) * (seen->times[i] - expected) / expected;
    cr_expect_lt(chi2, 60, "chi-square %f", chi2);
}

static struct value twenty(uint32_t first, const struct value_limits *limits)
{
    struct value v = set_new();
    for (uint32_t i = first; i < first + 20; i++) set_add(&v, member(i), limits);
    return v;
}

static void expect_even_chances(uint32_t first, const struct value_limits *limits)
{
    enum { ROUNDS = 6000 };
    struct random r;
    random_seed(&r, 5);
    struct value v = twenty(first, limits);
    struct seen one = {0}, draw = {0}, few = {0}, most = {0}, popped = {0};
    struct item m;
    for (int i = 0; i < ROUNDS; i++) {
        set_random(v, &r, &m);
        see(&one, &m);
        set_sample(v, 2, &r, see, &few);
    }
    set_draw(v, ROUNDS, &r, see, &draw);
    for (int i = 0; i < ROUNDS / 10; i++) {
        set_sample(v, 15, &r, see, &most);
        struct value copy = set_copy(v);
        set_pop_many(&copy, 3, &r, see, &popped);
        set_free(copy);
    }
    expect_even(&one, first, 20);
    expect_even(&draw, first, 20);
    expect_even(&few, first, 20);
    expect_even(&most, first, 20);
    expect_even(&popped, first, 20);
    set_free(v);
}

Test(set, every_member_has_the_same_chance)
{
    expect_even_chances(20, &usual);
    expect_even_chances(FIRST_OTHER + 2, &usual);
    expect_even_chances(20, &tables_only);
    expect_even_chances(FIRST_OTHER + 2, &tables_only);
}

// --- memory --------------------------------------------------------------------------------------

static size_t bytes_per_member(const char *format, bool is_truth)
{
    enum { MEMBERS = 100000 };
    char text[32];
    struct value v = set_new();
    size_t before = mem_used_bytes();
    for (int i = 0; i < MEMBERS; i++) {
        int len = snprintf(text, sizeof text, format, i);
        set_add(&v, (struct slice){text, (size_t)len}, &usual);
    }
    size_t bytes = is_truth ? mem_used_bytes() - before : set_memory_bytes(v);
    set_free(v);
    return bytes / MEMBERS;
}

Test(set, memory_is_what_is_said)
{
    const char *const formats[] = {"%d", "element:%012d", "a member of some length %d"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        size_t truth = bytes_per_member(formats[i], true),
               said = bytes_per_member(formats[i], false);
        cr_expect_geq(said, truth - truth / 10, "%s: %zu, really %zu", formats[i], said, truth);
        cr_expect_leq(said, truth + truth / 10, "%s: %zu, really %zu", formats[i], said, truth);
    }
}

Test(set, integers_take_no_memory_of_their_own)
{
    cr_expect_leq(bytes_per_member("%d", true), 14);
}

Test(set, a_big_set_is_freed_in_slices)
{
    struct value v = set_new();
    for (uint32_t i = 0; i < POPULATION; i++) set_add(&v, member(i), &tables_only);
    cr_assert_eq(set_parts(v), POPULATION);
    int slices = 1;
    while (!set_drain(&v, 20)) slices++;
    cr_assert_geq(slices, POPULATION / 40);
}

Test(set, an_empty_set_takes_no_memory)
{
    struct set_iter it;
    struct item m;
    struct value v = set_new();
    cr_assert_eq(set_memory_bytes(v), 0);
    cr_assert_eq(set_len(v), 0);
    cr_assert(!set_has(v, SLICE("1")));
    cr_assert(!set_remove(&v, SLICE("1")));
    set_iter_init(&it, v);
    cr_assert(!set_iter_next(&it, &m));
    cr_assert_eq(set_len(set_copy(v)), 0);
    cr_assert(set_drain(&v, 1));
}
