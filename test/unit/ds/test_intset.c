// SPDX-License-Identifier: BSD-3-Clause
#include "ds/intset.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"

// --- a model: a sorted array ---------------------------------------------------------------------

#define MODEL_MAX 400

struct model {
    int64_t integers[MODEL_MAX];
    uint32_t count;
};

static uint32_t model_place(const struct model *m, int64_t integer)
{
    uint32_t i = 0;
    while (i < m->count && m->integers[i] < integer) i++;
    return i;
}

static bool model_has(const struct model *m, int64_t integer)
{
    uint32_t i = model_place(m, integer);
    return i < m->count && m->integers[i] == integer;
}

static void model_add(struct model *m, int64_t integer)
{
    uint32_t i = model_place(m, integer);
    memmove(m->integers + i + 1, m->integers + i, (m->count - i) * sizeof m->integers[0]);
    m->integers[i] = integer;
    m->count++;
}

static void model_delete(struct model *m, uint32_t index, uint32_t count)
{
    memmove(m->integers + index, m->integers + index + count,
            (m->count - index - count) * sizeof m->integers[0]);
    m->count -= count;
}

static void check(const struct intset *s, const struct model *m)
{
    intset_validate(s);
    cr_assert_eq(intset_count(s), m->count);
    for (uint32_t i = 0; i < m->count; i++) cr_assert_eq(intset_at(s, i), m->integers[i]);
}

// Few different ones, so that they meet; `width` says how many bytes they may need.
static int64_t some_integer(struct random *r, int width)
{
    static const int64_t edges[] = {0,         -1,        INT16_MAX, INT16_MIN, INT16_MAX + 1,
                                    INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    static const size_t edge_count[] = {[2] = 4, [4] = 7, [8] = 9};
    if (random_below(r, 20) == 0) return edges[random_below(r, edge_count[width])];
    int64_t small = (int64_t)random_below(r, 300) - 150;
    return width == 2 ? small : width == 4 ? small * 1000000 : small * 10000000000000000;
}

static void run(uint64_t seed, int width)
{
    struct random r;
    struct model m = {0};
    struct intset *s = intset_new();
    random_seed(&r, seed);
    for (int step = 0; step < 4000; step++) {
        // The first steps need two bytes only, so that the set has to widen later.
        int64_t integer = some_integer(&r, step < 300 ? 2 : width);
        bool had = model_has(&m, integer), is_it;
        cr_assert_eq(intset_has(s, integer), had);
        switch (random_below(&r, 5)) {
        case 0:
        case 1:
            if (m.count == MODEL_MAX) break;
            s = intset_add(s, integer, &is_it);
            cr_assert_eq(is_it, !had);
            if (!had) model_add(&m, integer);
            break;
        case 2:
        case 3:
            s = intset_remove(s, integer, &is_it);
            cr_assert_eq(is_it, had);
            if (had) model_delete(&m, model_place(&m, integer), 1);
            break;
        default:
            if (random_below(&r, 20)) break;
            uint32_t index = (uint32_t)random_below(&r, m.count + 1);
            uint32_t count = (uint32_t)random_below(&r, m.count - index + 1);
            s = intset_delete(s, index, count);
            model_delete(&m, index, count);
        }
        check(s, &m);
    }
    mem_free(s);
}

Test(intset, random_operations_agree_with_a_sorted_array)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        run(seed, 2);
        run(seed, 4);
        run(seed, 8);
    }
}

// --- the format ----------------------------------------------------------------------------------

Test(intset, bytes_are_redis_own)
{
    bool is_new;
    struct intset *s = intset_new();
    s = intset_add(s, 258, &is_new);
    s = intset_add(s, -1, &is_new);
    static const char two[] = "\2\0\0\0\2\0\0\0\xff\xff\2\1";
    cr_assert_eq(intset_bytes(s), 12);
    cr_assert_arr_eq(s, two, 12);
    s = intset_add(s, 70000, &is_new);
    static const char four[] = "\4\0\0\0\3\0\0\0\xff\xff\xff\xff\2\1\0\0\x70\x11\1\0";
    cr_assert_eq(intset_bytes(s), 20);
    cr_assert_arr_eq(s, four, 20);
    mem_free(s);
}

Test(intset, the_width_grows_and_never_shrinks)
{
    bool is_it;
    struct intset *s = intset_add(intset_new(), INT64_MIN, &is_it);
    s = intset_add(s, 1, &is_it);
    s = intset_remove(s, INT64_MIN, &is_it);
    cr_assert(is_it);
    cr_assert_eq(intset_bytes(s), 16);
    cr_assert_eq(intset_at(s, 0), 1);
    mem_free(s);
}

Test(intset, what_is_too_wide_is_not_there)
{
    bool is_it;
    struct intset *s = intset_add(intset_new(), 1, &is_it);
    cr_assert(!intset_has(s, 65537));
    s = intset_remove(s, 65537, &is_it);
    cr_assert(!is_it);
    cr_assert_eq(intset_bytes(s), 10);
    mem_free(s);
}

Test(intset, bytes_from_outside_are_judged)
{
    static const struct {
        const char *bytes;
        size_t len;
        bool is_valid;
    } cases[] = {
        {"\2\0\0\0\2\0\0\0\xff\xff\2\1", 12, true},
        {"\2\0\0\0\0\0\0\0", 8, true},
        {"\x8\0\0\0\1\0\0\0\0\0\0\0\0\0\0\x80", 16, true},
        {"\2\0\0\0\2\0\0\0\2\1\xff\xff", 12, false}, // descending
        {"\2\0\0\0\2\0\0\0\2\1\2\1", 12, false},     // twice
        {"\2\0\0\0\2\0\0\0\xff\xff\2", 11, false},   // a byte is missing
        {"\2\0\0\0\1\0\0\0\xff\xff\2\1", 12, false}, // two too many
        {"\3\0\0\0\0\0\0\0", 8, false},              // no such width
        {"\2\0\0\0\0\0\0", 7, false},                // not even a header
        {"", 0, false},
        {"\x8\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\x80", 16, false}, // four thousand million
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_eq(intset_is_valid(cases[i].bytes, cases[i].len), cases[i].is_valid, "case %zu",
                     i);
}

Test(intset, good_bytes_from_outside_become_an_intset)
{
    bool is_new;
    struct intset *s = intset_from_bytes("\2\0\0\0\2\0\0\0\xff\xff\2\1", 12);
    s = intset_add(s, 7, &is_new);
    intset_validate(s);
    struct intset *copy = intset_copy(s);
    cr_assert_eq(intset_count(copy), 3);
    cr_assert_eq(intset_at(copy, 0), -1);
    cr_assert_eq(intset_at(copy, 1), 7);
    cr_assert_eq(intset_at(copy, 2), 258);
    mem_free(s);
    mem_free(copy);
}
