// SPDX-License-Identifier: BSD-3-Clause
#include "types/rdb_writer.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/assert.h"

static const struct value_limits limits = {
    .hash_max_listpack_entries = 8,
    .hash_max_listpack_value = 16,
    .list_max_listpack_size = 4,
    .set_max_intset_entries = 8,
    .set_max_listpack_entries = 8,
    .set_max_listpack_value = 16,
    .zset_max_listpack_entries = 8,
    .zset_max_listpack_value = 16,
    .hll_sparse_max_bytes = 3000,
    .stream_node_max_bytes = 4096,
    .stream_node_max_entries = 10,
};

enum { STEPS_MAX = 1000000, LONG = 100000 };

static struct slice numbered(char *text, size_t size, const char *format, int i)
{
    return (struct slice){text, (size_t)snprintf(text, size, format, i)};
}

static struct slice long_text(char *text, char letter)
{
    memset(text, letter, LONG);
    return (struct slice){text, LONG};
}

static struct value list_of(int count, int per_node)
{
    struct value v = list_new();
    struct value_limits own = limits;
    char text[32];
    own.list_max_listpack_size = per_node;
    for (int i = 0; i < count; i++)
        list_push(&v, false, numbered(text, sizeof text, i % 2 ? "element %d" : "%d", i), &own);
    return v;
}

static struct value set_of(const char *format, int count)
{
    struct value v = set_new();
    char text[64];
    for (int i = 0; i < count; i++) set_add(&v, numbered(text, sizeof text, format, i), &limits);
    return v;
}

static struct value zset_of(int count)
{
    struct value v = zset_new();
    char text[32];
    for (int i = 0; i < count; i++)
        zset_set(&v, numbered(text, sizeof text, "m%d", i), i * 0.75, &limits);
    return v;
}

static struct value hash_of(int count, int expiring)
{
    struct value v = hash_new();
    char field[32], text[64];
    for (int i = 0; i < count; i++)
        hash_set(&v, numbered(field, sizeof field, "f%d", i),
                 numbered(text, sizeof text, "%d", i * 77), HASH_NEVER_DUE, &limits);
    for (int i = 0; i < expiring; i++)
        hash_set_expiry(&v, numbered(field, sizeof field, "f%d", i * 3), 90000 - i * 7);
    return v;
}

// groups: how many, each with one consumer more than the one before it.
static struct value stream_of_entries(int count, int groups)
{
    struct value v = stream_new();
    struct stream *s = stream_of(v);
    for (int i = 1; i <= count; i++) {
        struct slice pair[2] = {SLICE("field"), SLICE("a value of some length")};
        stream_append(s, (struct stream_id){(uint64_t)i, 0}, pair, 1, &limits);
    }
    for (int g = 0; g < groups; g++) {
        char name[32];
        struct stream_group *group =
            stream_group_create(s, numbered(name, sizeof name, "g%d", g), STREAM_ID_MIN, 0);
        for (int c = 0; c < g; c++) {
            struct stream_consumer *consumer =
                stream_consumer_create(group, numbered(name, sizeof name, "c%d", c), 5);
            for (int i = c; i < 20 * c; i += g)
                stream_group_assign(group, (struct stream_id){(uint64_t)i, 1}, consumer);
        }
    }
    return v;
}

// In steps of `budget`; *most: the most bytes of a step.
static struct buf write_in_steps(enum object_type type, struct value v, bool is_compressed,
                                 size_t budget, size_t string_max, size_t *most)
{
    struct rdb_writer w;
    struct buf out = {0};
    rdb_writer_begin(&w, type, v, is_compressed);
    if (string_max) w.string_max = string_max;
    *most = 0;
    for (int steps = 0;; steps++) {
        size_t before = out.len;
        cr_assert_lt(steps, STEPS_MAX);
        bool is_done = rdb_writer_step(&w, &out, budget);
        *most = MAX(*most, out.len - before);
        if (is_done) break;
    }
    rdb_writer_end(&w);
    return out;
}

static void expect_same(enum object_type type, struct value v)
{
    static const size_t budgets[] = {0, 1, 17, 100, 1000, 65536, SIZE_MAX};
    for (int is_compressed = 0; is_compressed < 2; is_compressed++) {
        struct buf whole = {0};
        size_t most;
        rdb_put_value(&whole, type, v, is_compressed);
        for (size_t b = 0; b < ARRAY_LEN(budgets); b++) {
            struct buf out = write_in_steps(type, v, is_compressed, budgets[b], 0, &most);
            cr_assert_eq(out.len, whole.len, "type %d, budget %zu", type, budgets[b]);
            cr_assert_arr_eq(out.ptr, whole.ptr, whole.len);
            buf_free(&out);
        }
        buf_free(&whole);
    }
    value_free(type, v);
}

Test(rdb_writer, steps_write_what_one_step_writes)
{
    expect_same(TYPE_LIST, list_of(3, 4));
    expect_same(TYPE_LIST, list_of(500, 4));
    expect_same(TYPE_LIST, list_of(4000, 50));
    expect_same(TYPE_SET, set_of("%d", 5));
    expect_same(TYPE_SET, set_of("m%d", 5));
    expect_same(TYPE_SET, set_of("%d", 500));
    expect_same(TYPE_SET, set_of("member member member %d", 500));
    expect_same(TYPE_ZSET, zset_of(5));
    expect_same(TYPE_ZSET, zset_of(500));
    expect_same(TYPE_HASH, hash_of(5, 0));
    expect_same(TYPE_HASH, hash_of(5, 2));
    expect_same(TYPE_HASH, hash_of(500, 0));
    expect_same(TYPE_HASH, hash_of(500, 100));
    expect_same(TYPE_STREAM, stream_of_entries(0, 0));
    expect_same(TYPE_STREAM, stream_of_entries(500, 0));
    expect_same(TYPE_STREAM, stream_of_entries(0, 1));
    expect_same(TYPE_STREAM, stream_of_entries(500, 5));
}

Test(rdb_writer, a_step_goes_no_further_than_an_element_beyond_its_budget)
{
    enum { BUDGET = 1000, ELEMENT = 64, NODE = 1000 };
    const struct {
        enum object_type type;
        struct value v;
        size_t element;
    } cases[] = {
        {TYPE_LIST, list_of(5000, 4), ELEMENT},
        {TYPE_SET, set_of("m%d", 5000), ELEMENT},
        {TYPE_ZSET, zset_of(5000), ELEMENT},
        {TYPE_HASH, hash_of(5000, 0), ELEMENT},
        {TYPE_HASH, hash_of(5000, 1000), ELEMENT},
        {TYPE_STREAM, stream_of_entries(5000, 5), NODE},
        {TYPE_STREAM, stream_of_entries(9, 30), NODE},
    };
    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        size_t most;
        struct buf out = write_in_steps(cases[c].type, cases[c].v, false, BUDGET, 0, &most);
        cr_assert_gt(out.len, 10 * BUDGET);
        cr_assert_lt(most, BUDGET + cases[c].element, "case %zu: %zu bytes", c, most);
        cr_assert_gt(most, BUDGET / 4, "case %zu: %zu bytes", c, most);
        buf_free(&out);
        value_free(cases[c].type, cases[c].v);
    }
}

Test(rdb_writer, long_strings_are_written_in_parts_and_as_they_are)
{
    enum { BUDGET = 5000, PART = BUDGET + 16384 + 100 };
    static char a[LONG], b[LONG];
    struct value values[4] = {list_new(), set_new(), zset_new(), hash_new()};
    static const enum object_type types[] = {TYPE_LIST, TYPE_SET, TYPE_ZSET, TYPE_HASH};
    list_push(&values[0], false, long_text(a, 'a'), &limits);
    list_push(&values[0], false, SLICE("short"), &limits);
    list_push(&values[0], false, long_text(b, 'b'), &limits);
    set_add(&values[1], long_text(a, 'a'), &limits);
    set_add(&values[1], long_text(b, 'b'), &limits);
    zset_set(&values[2], long_text(a, 'a'), 1, &limits);
    zset_set(&values[2], long_text(b, 'b'), 2, &limits);
    hash_set(&values[3], long_text(a, 'a'), long_text(b, 'b'), HASH_NEVER_DUE, &limits);
    hash_set(&values[3], SLICE("f"), long_text(b, 'b'), HASH_NEVER_DUE, &limits);
    for (int i = 0; i < 4; i++) {
        struct buf whole = {0};
        size_t most;
        rdb_put_value(&whole, types[i], values[i], false);
        struct buf out = write_in_steps(types[i], values[i], true, BUDGET, LONG / 2, &most);
        cr_assert_eq(out.len, whole.len, "type %d", types[i]);
        cr_assert_arr_eq(out.ptr, whole.ptr, whole.len);
        cr_assert_lt(most, PART, "type %d: %zu bytes", types[i], most);
        buf_free(&out);
        buf_free(&whole);
        value_free(types[i], values[i]);
    }
}

Test(rdb_writer, strings_are_written_whole_or_in_parts)
{
    static char text[LONG];
    for (int is_long = 0; is_long < 2; is_long++) {
        struct rdb_writer w;
        struct buf out = {0}, want = {0};
        int steps = 1;
        rdb_writer_begin_string(&w, long_text(text, 'a'), true);
        if (is_long) w.string_max = LONG - 1;
        while (!rdb_writer_step(&w, &out, 1)) steps++;
        rdb_writer_end(&w);
        cr_assert_eq(steps, is_long ? LONG / 16384 + 1 : 1, "%d", steps);
        rdb_put_string(&want, (struct slice){text, LONG}, !is_long);
        cr_assert_eq(out.len, want.len);
        cr_assert_arr_eq(out.ptr, want.ptr, want.len);
        buf_free(&want);
        buf_free(&out);
    }
}

Test(rdb_writer, may_be_given_up_anywhere)
{
    const struct {
        enum object_type type;
        struct value v;
    } cases[] = {{TYPE_LIST, list_of(4000, 50)}, // long enough to have packed nodes
                 {TYPE_SET, set_of("m%d", 100)},
                 {TYPE_ZSET, zset_of(100)},
                 {TYPE_HASH, hash_of(100, 10)},
                 {TYPE_STREAM, stream_of_entries(100, 3)}};
    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        for (int steps = 0; steps < 60; steps++) {
            struct rdb_writer w;
            struct buf out = {0};
            rdb_writer_begin(&w, cases[c].type, cases[c].v, false);
            for (int i = 0; i < steps; i++)
                if (rdb_writer_step(&w, &out, 1)) break;
            rdb_writer_end(&w); // what it leaves behind is found by the sanitizer
            buf_free(&out);
        }
        value_validate(cases[c].type, cases[c].v);
        value_free(cases[c].type, cases[c].v);
    }
}
