// SPDX-License-Identifier: BSD-3-Clause
//
// Sorted sets against a sorted array, through both representations and the way from one to the
// other, every answer and the invariants checked after every change.
#include "types/zset.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"

#define CAP       600
#define NAME_SIZE 96

struct member {
    char name[NAME_SIZE];
    size_t len;
    double score;
};

struct model {
    struct value value;
    struct value_limits limits;
    struct random random;
    struct member members[CAP]; // in order
    size_t count;
};

static const struct value_limits usual = {.zset_max_listpack_entries = 128,
                                          .zset_max_listpack_value = 64};

static void model_init(struct model *m, uint64_t seed, int64_t entries)
{
    m->value = zset_new();
    m->limits = usual;
    m->limits.zset_max_listpack_entries = entries;
    m->count = 0;
    random_seed(&m->random, seed);
}

static struct slice name_of(const struct member *m)
{
    return (struct slice){m->name, m->len};
}

static bool is_before(const struct member *m, double score, struct slice name)
{
    return m->score != score ? m->score < score : slice_cmp(name_of(m), name) < 0;
}

static size_t find(const struct model *m, struct slice name)
{
    size_t i = 0;
    while (i < m->count && !slice_eq(name_of(&m->members[i]), name)) i++;
    return i;
}

static void take_out(struct model *m, size_t at, size_t count)
{
    m->count -= count;
    memmove(m->members + at, m->members + at + count, (m->count - at) * sizeof *m->members);
}

static void put_in(struct model *m, struct slice name, double score)
{
    size_t at = 0;
    while (at < m->count && is_before(&m->members[at], score, name)) at++;
    memmove(m->members + at + 1, m->members + at, (m->count - at) * sizeof *m->members);
    struct member *new = &m->members[at];
    memcpy(new->name, name.ptr, name.len);
    new->len = name.len;
    new->score = score;
    m->count++;
}

// Names that are integers and such that are not, short and a little longer, "" among them.
static struct slice some_name(struct model *m, char *out)
{
    unsigned n = (unsigned)random_below(&m->random, 250);
    int len;
    switch (random_below(&m->random, 4)) {
    case 0: len = snprintf(out, NAME_SIZE, "%d", (int)n - 100); break;
    case 1: len = snprintf(out, NAME_SIZE, "%0*u", (int)(n % 40) + 1, n); break;
    default: len = snprintf(out, NAME_SIZE, "m%u", n); break;
    }
    return (struct slice){out, n == 7 ? 0 : (size_t)len};
}

static double some_score(struct model *m)
{
    static const double odd[] = {0.1,   -0.5,    INFINITY, -INFINITY, 1e300,
                                 1e-10, 4503e12, 1e19,     0.3,       -123456789.125};
    uint64_t n = random_below(&m->random, 40);
    return n < ARRAY_LEN(odd) ? odd[n] : (double)n - 25;
}

// --- the checks ----------------------------------------------------------------------------------

static void check_walk(const struct model *m, uint64_t rank, bool is_reverse)
{
    char scratch[NUM_I64_TEXT];
    struct zset_iter it;
    struct item item;
    double score;
    size_t i = rank;
    zset_iter_init(&it, m->value, rank, is_reverse);
    while (zset_iter_next(&it, &item, &score)) {
        cr_assert_lt(i, m->count);
        cr_assert(slice_eq(item_slice(&item, scratch), name_of(&m->members[i])));
        cr_assert_eq(score, m->members[i].score);
        i += is_reverse ? (size_t)-1 : 1;
    }
    if (rank < m->count) cr_assert_eq(i, is_reverse ? (size_t)-1 : m->count);
}

static size_t model_below(const struct model *m, double score, bool with_equal)
{
    size_t n = 0;
    while (n < m->count &&
           (with_equal ? m->members[n].score <= score : m->members[n].score < score))
        n++;
    return n;
}

static void check_member(const struct model *m, struct slice name)
{
    size_t at = find(m, name);
    double score = 77, ranked = 77;
    cr_assert_eq(zset_score(m->value, name, &score), at < m->count);
    cr_assert_eq(zset_rank(m->value, name, &ranked), at < m->count ? (int64_t)at : -1);
    if (at == m->count) return;
    cr_assert_eq(score, m->members[at].score);
    cr_assert_eq(ranked, score);
}

static void check(struct model *m)
{
    char text[NAME_SIZE];
    double score = some_score(m);
    zset_validate(m->value);
    cr_assert_eq(zset_len(m->value), m->count);
    check_member(m, some_name(m, text));
    for (int with_equal = 0; with_equal < 2; with_equal++)
        cr_assert_eq(zset_count_below(m->value, score, with_equal),
                     model_below(m, score, with_equal));
    uint64_t rank = random_below(&m->random, m->count + 2);
    check_walk(m, rank, false);
    check_walk(m, rank, true);
}

// --- random operations ---------------------------------------------------------------------------

static enum zset_outcome expected(const struct model *m, size_t at, double *score, unsigned flags)
{
    if (at == m->count) return flags & ZSET_XX ? ZSET_KEPT : ZSET_ADDED;
    double had = m->members[at].score;
    if (flags & ZSET_NX) return ZSET_KEPT;
    if (flags & ZSET_INCR) *score += had;
    if (isnan(*score)) return ZSET_NAN;
    if (flags & ZSET_GT && *score <= had) return ZSET_KEPT;
    if (flags & ZSET_LT && *score >= had) return ZSET_KEPT;
    return *score == had ? ZSET_SAME : ZSET_UPDATED;
}

static void add(struct model *m, unsigned flags)
{
    char text[NAME_SIZE];
    struct slice name = some_name(m, text);
    double score = some_score(m), got = score;
    size_t at = find(m, name);
    enum zset_outcome want = expected(m, at, &score, flags);
    cr_assert_eq(zset_add(&m->value, name, &got, flags, &m->limits), want);
    if (want == ZSET_UPDATED) take_out(m, at, 1);
    if (want == ZSET_UPDATED || want == ZSET_ADDED) {
        cr_assert_eq(got, score);
        put_in(m, name, score);
    }
}

static void remove_one(struct model *m)
{
    char text[NAME_SIZE];
    struct slice name = some_name(m, text);
    size_t at = find(m, name);
    cr_assert_eq(zset_remove(&m->value, name), at < m->count);
    if (at < m->count) take_out(m, at, 1);
}

static void remove_ranks(struct model *m)
{
    uint64_t first = random_below(&m->random, m->count + 1);
    uint64_t count = random_below(&m->random, MIN(m->count - first, (size_t)20) + 1);
    zset_remove_ranks(&m->value, first, count);
    take_out(m, first, count);
}

static void replace_by_copy(struct model *m)
{
    struct value copy = zset_copy(m->value);
    cr_assert_eq(value_encoding(copy), value_encoding(m->value));
    cr_assert_leq(zset_memory_bytes(copy), zset_memory_bytes(m->value) * 2);
    zset_free(m->value);
    m->value = copy;
}

static void run_random(uint64_t seed, int64_t entries)
{
    struct model m;
    model_init(&m, seed, entries);
    for (int step = 0; step < 6000; step++) {
        static const unsigned flags[] = {
            0, ZSET_NX, ZSET_XX, ZSET_GT, ZSET_LT, ZSET_INCR, ZSET_XX | ZSET_GT | ZSET_INCR};
        uint64_t what = random_below(&m.random, 100);
        if (what < 60)
            add(&m, flags[random_below(&m.random, ARRAY_LEN(flags))]);
        else if (what < 93)
            remove_one(&m);
        else if (what < 96)
            remove_ranks(&m);
        else if (what < 98)
            replace_by_copy(&m);
        check(&m);
    }
    zset_free(m.value);
}

Test(zset, does_what_a_sorted_array_does_as_a_listpack)
{
    run_random(1, 1000);
}

Test(zset, does_what_a_sorted_array_does_as_a_tree)
{
    run_random(2, 0);
}

Test(zset, does_what_a_sorted_array_does_on_the_way_from_one_to_the_other)
{
    for (uint64_t seed = 3; seed < 8; seed++) run_random(seed, 50);
}

// --- one by one ----------------------------------------------------------------------------------

Test(zset, becomes_big_with_one_member_too_many_or_too_long)
{
    char name[NAME_SIZE];
    struct value v = zset_new();
    for (int i = 0; i < 129; i++) {
        cr_assert_eq(value_encoding(v), ENC_LISTPACK);
        int len = snprintf(name, sizeof name, "m%d", i);
        cr_assert(zset_set(&v, (struct slice){name, (size_t)len}, i % 7, &usual));
    }
    cr_assert_eq(value_encoding(v), ENC_SKIPLIST);
    zset_free(v);

    v = zset_new();
    memset(name, 'x', sizeof name);
    cr_assert(zset_set(&v, (struct slice){name, 64}, 1, &usual));
    cr_assert_eq(value_encoding(v), ENC_LISTPACK);
    cr_assert(zset_set(&v, (struct slice){name, 65}, 1, &usual));
    cr_assert_eq(value_encoding(v), ENC_SKIPLIST);
    zset_free(v);
}

static struct value named(const char *const *names, size_t count, int64_t entries)
{
    struct value_limits limits = usual;
    limits.zset_max_listpack_entries = entries;
    struct value v = zset_new();
    for (size_t i = 0; i < count; i++) zset_set(&v, slice_of(names[i]), 5, &limits);
    return v;
}

Test(zset, members_of_one_score_are_found_by_their_bytes)
{
    static const char *const names[] = {"", "10", "2", "a", "ab", "b", "\xff"};
    for (int64_t entries = 0; entries < 200; entries += 128) {
        struct value v = named(names, ARRAY_LEN(names), entries);
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            cr_assert_eq(zset_count_below_lex(v, slice_of(names[i]), false), i);
            cr_assert_eq(zset_count_below_lex(v, slice_of(names[i]), true), i + 1);
        }
        cr_assert_eq(zset_count_below_lex(v, SLICE("aa"), true), 4);
        zset_free(v);
    }
}

static struct listpack *pairs(const char *const *texts, size_t count)
{
    struct listpack *lp = listpack_new(0);
    for (size_t i = 0; i < count; i++) lp = listpack_append(lp, slice_of(texts[i]));
    return lp;
}

#define PAIRS(...)                                                                                 \
    pairs((const char *const[]){__VA_ARGS__},                                                      \
          sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

Test(zset, takes_listpacks_that_are_sorted_sets)
{
    struct value v;
    double score;
    cr_assert(zset_of_listpack(PAIRS("b", "-inf", "a", "0.10000000000000001", "7", "3", "c", "3"),
                               &usual, &v));
    zset_validate(v);
    cr_assert(zset_score(v, SLICE("a"), &score) && score == 0.1);
    cr_assert(zset_score(v, SLICE("7"), &score) && score == 3);
    zset_free(v);
    struct value_limits small = {.zset_max_listpack_entries = 2, .zset_max_listpack_value = 64};
    cr_assert(zset_of_listpack(PAIRS("a", "1", "b", "2", "c", "3"), &small, &v));
    cr_assert_eq(value_encoding(v), ENC_SKIPLIST);
    zset_validate(v);
    zset_free(v);
}

Test(zset, refuses_listpacks_that_are_none)
{
    struct listpack *bad[] = {
        PAIRS("a"),
        PAIRS("a", "1", "b"),
        PAIRS("a", "x"),
        PAIRS("a", "nan"),
        PAIRS("a", ""),
        PAIRS("a", "2", "b", "1"),
        PAIRS("b", "1", "a", "1"),
        PAIRS("a", "1", "a", "1"),
        PAIRS("a", "1", "b", "2", "a", "3"),
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct value v;
        cr_assert_not(zset_of_listpack(bad[i], &usual, &v), "number %zu", i);
        mem_free(bad[i]);
    }
}

Test(zset, scores_read_and_print_as_the_c_library_does)
{
    struct random r;
    random_seed(&r, 4);
    for (int i = 0; i < 300000; i++) {
        char text[64];
        uint64_t bits = random_u64(&r);
        double value, want, got;
        switch (i % 5) {
        case 0: memcpy(&value, &bits, sizeof value); break;
        case 1: value = (double)(int64_t)bits / 1e6; break;
        case 2: value = (double)(bits >> 44) / 1000; break;
        case 3: value = (double)(bits >> 40); break;
        default: value = (double)(bits >> 11) / 0x1p53; break;
        }
        int digits = i % 7 ? 17 : (int)(bits % 19) + 1;
        if (isnan(value)) continue;
        int len = snprintf(text, sizeof text, "%.*g", digits, value);
        bool is_number = num_parse_double((struct slice){text, (size_t)len}, &want);
        cr_assert_eq(zset_parse_score((struct slice){text, (size_t)len}, &got), is_number);
        if (is_number) cr_assert_eq(memcmp(&want, &got, sizeof want), 0, "%s", text);
    }
}

Test(zset, refuses_what_is_no_score)
{
    static const char *const bad[] = {"",     " 1", "1 ", "nan", "x", "1x",    "--1",
                                      "1..2", ".",  "-",  "-.",  "+", "1e400", "1e-400"};
    double score;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_not(zset_parse_score(slice_of(bad[i]), &score), "%s", bad[i]);
}

static void count_visit(void *arg, const struct item *member, double score)
{
    int *seen = arg;
    char scratch[NUM_I64_TEXT];
    struct slice s = item_slice(member, scratch);
    int64_t i = -1;
    cr_assert(num_parse_i64((struct slice){s.ptr + 1, s.len - 1}, &i));
    seen[i]++;
    cr_assert_eq(score, (double)s.len);
}

Test(zset, a_scan_sees_every_member)
{
    enum { COUNT = 1000 };
    struct value v = zset_new();
    int seen[COUNT] = {0};
    char name[NAME_SIZE];
    for (int i = 0; i < COUNT; i++) {
        int len = snprintf(name, sizeof name, "m%d", i);
        zset_set(&v, (struct slice){name, (size_t)len}, len, &usual);
    }
    uint64_t cursor = 0;
    do cursor = zset_scan(v, cursor, count_visit, seen);
    while (cursor);
    for (int i = 0; i < COUNT; i++) cr_assert_geq(seen[i], 1);
    zset_free(v);
}

Test(zset, a_big_one_knows_its_size_and_is_freed_in_slices)
{
    enum { COUNT = 20000 };
    char name[NAME_SIZE];
    size_t before = mem_used_bytes();
    struct value v = zset_new();
    for (int i = 0; i < COUNT; i++) {
        int len = snprintf(name, sizeof name, "member:%d", i * 7919 % COUNT);
        zset_set(&v, (struct slice){name, (size_t)len}, i % 1000, &usual);
    }
    double share = (double)zset_memory_bytes(v) / (double)(mem_used_bytes() - before);
    cr_assert(share > 0.99 && share < 1.01, "%f", share);
    cr_assert_geq(zset_parts(v), COUNT);
    int slices = 1;
    while (!zset_drain(&v, 100)) slices++;
    cr_assert_gt(slices, COUNT / 200);
    cr_assert_eq(mem_used_bytes(), before);
}

Test(zset, is_built_of_items_in_the_encoding_of_its_size)
{
    for (size_t count = 0; count < 300; count += 64) {
        struct btree_key keys[300];
        char name[NAME_SIZE];
        for (size_t i = 0; i < count; i++) {
            int len = snprintf(name, sizeof name, "m%zu", i);
            double score = (double)(i * 7 % 50);
            keys[i].item = zset_item_new((struct slice){name, (size_t)len}, score);
            keys[i].score = score;
        }
        zset_sort_items(keys, count);
        struct value v = zset_of_items(keys, count, NULL, &usual);
        zset_validate(v);
        cr_assert_eq(zset_len(v), count);
        cr_assert_eq(value_encoding(v), count <= 128 ? ENC_LISTPACK : ENC_SKIPLIST);
        zset_free(v);
    }
}
