// SPDX-License-Identifier: BSD-3-Clause
#include "types/list.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

static const struct value_limits defaults = {.list_max_listpack_size = -2};
static const struct value_limits few = {.list_max_listpack_size = 8};

static struct value filled(int count, const struct value_limits *limits)
{
    struct value v = list_new();
    char text[32];
    for (int i = 0; i < count; i++) {
        int n = snprintf(text, sizeof text, "element:%d", i);
        list_push(&v, false, (struct slice){text, (size_t)n}, limits);
    }
    return v;
}

static enum object_encoding encoding_after(struct value *v)
{
    list_validate(*v);
    return value_encoding(*v);
}

static void check_at(struct value v, int64_t index, const char *want)
{
    struct list_iter scratch;
    struct item i;
    char text[NUM_I64_TEXT];
    cr_assert_eq(list_get(&scratch, v, index, &i), want != NULL);
    if (want) cr_assert(slice_eq(item_slice(&i, text), slice_of(want)), "at %ld", (long)index);
}

Test(list, becomes_a_quicklist_when_a_node_is_too_small_and_a_listpack_at_half)
{
    struct value v = filled(8, &few);
    cr_assert_eq(encoding_after(&v), ENC_LISTPACK);
    list_push(&v, true, SLICE("one more"), &few);
    cr_assert_eq(encoding_after(&v), ENC_QUICKLIST);
    list_pop(&v, true, &few);
    for (int left = 8; left > 5; left--) {
        cr_assert_eq(encoding_after(&v), ENC_QUICKLIST);
        list_pop(&v, false, &few);
    }
    list_pop(&v, false, &few);
    cr_assert_eq(list_len(v), 4);
    cr_assert_eq(encoding_after(&v), ENC_LISTPACK);
    check_at(v, 0, "element:0");
    check_at(v, -1, "element:3");
    list_free(v);
}

Test(list, bytes_decide_with_a_negative_limit)
{
    struct value v = list_new();
    char text[2000];
    memset(text, 'x', sizeof text);
    struct slice s = {text, sizeof text};
    for (int i = 0; i < 4; i++) list_push(&v, false, s, &defaults);
    cr_assert_eq(encoding_after(&v), ENC_LISTPACK);
    list_push(&v, false, s, &defaults);
    cr_assert_eq(encoding_after(&v), ENC_QUICKLIST);
    list_remove_range(&v, 1, 2, &defaults);
    cr_assert_eq(encoding_after(&v), ENC_QUICKLIST);
    list_remove_range(&v, 0, 2, &defaults);
    cr_assert_eq(encoding_after(&v), ENC_LISTPACK);
    list_free(v);
}

Test(list, everything_pushed_at_once_counts)
{
    struct slice s[9];
    for (int i = 0; i < 9; i++) s[i] = SLICE("a");
    struct value v = list_new(), w = list_new();
    list_push_many(&v, false, s, 8, &few);
    list_push_many(&w, false, s, 9, &few);
    cr_assert_eq(encoding_after(&v), ENC_LISTPACK);
    cr_assert_eq(encoding_after(&w), ENC_QUICKLIST);
    list_free(v);
    list_free(w);
}

Test(list, set_insert_and_remove_work_in_both_encodings)
{
    for (int count = 6; count < 600; count *= 10) {
        struct value v = filled(count, &few);
        cr_assert(list_set(&v, -1, SLICE("last"), &few));
        cr_assert_not(list_set(&v, count, SLICE("x"), &few));
        cr_assert_not(list_set(&v, -count - 1, SLICE("x"), &few));
        cr_assert(list_insert(&v, SLICE("element:2"), false, SLICE("12"), &few));
        cr_assert(list_insert(&v, SLICE("element:2"), true, SLICE("12"), &few));
        cr_assert_not(list_insert(&v, SLICE("none"), true, SLICE("x"), &few));
        list_validate(v);
        check_at(v, 2, "12");
        check_at(v, 3, "element:2");
        check_at(v, 4, "12");
        check_at(v, -1, "last");
        check_at(v, count + 2, NULL);
        cr_assert_eq(list_remove(&v, SLICE("12"), -1, &few), 1);
        check_at(v, 2, "12");
        check_at(v, 4, "element:3");
        cr_assert_eq(list_remove(&v, SLICE("12"), 0, &few), 1);
        cr_assert_eq(list_remove(&v, SLICE("12"), 0, &few), 0);
        list_validate(v);
        cr_assert_eq(list_len(v), count);
        list_free(v);
    }
}

Test(list, searches_find_what_is_there_from_both_ends)
{
    struct value v = filled(1000, &few);
    struct list_search search;
    list_set(&v, 10, SLICE("77"), &few);
    list_set(&v, 990, SLICE("77"), &few);
    list_search_init(&search, v, SLICE("77"), false, UINT64_MAX);
    cr_assert(list_search_next(&search));
    cr_assert_eq(search.index, 10);
    cr_assert(list_search_next(&search));
    cr_assert_eq(search.index, 990);
    cr_assert_not(list_search_next(&search));
    list_search_init(&search, v, SLICE("77"), true, 989);
    cr_assert(list_search_next(&search));
    cr_assert_eq(search.index, 990);
    cr_assert_not(list_search_next(&search));
    list_search_init(&search, v, SLICE("77"), false, 10);
    cr_assert_not(list_search_next(&search));
    list_free(v);
}

Test(list, pieces_rebuild_the_list)
{
    char big[20000];
    memset(big, 'b', sizeof big);
    for (int count = 0; count < 50000; count = count * 9 + 3) {
        struct value v = filled(count, &defaults), w = list_new();
        if (count > 100) list_push(&v, true, (struct slice){big, sizeof big}, &defaults);
        struct list_pieces pieces;
        struct list_piece p;
        uint64_t n = 0;
        for (list_pieces_init(&pieces, v); list_pieces_next(&pieces, &p); n++) {
            if (p.is_plain)
                list_append_plain(&w, (struct slice){p.bytes, p.len}, &defaults);
            else
                list_append_listpack(&w, p.bytes, p.len, &defaults);
        }
        cr_assert_eq(n, list_piece_count(v));
        list_validate(w);
        cr_assert_eq(value_encoding(w), value_encoding(v));
        cr_assert_eq(list_len(w), list_len(v));
        struct list_iter a, b;
        struct item i, k;
        list_iter_init(&a, v, 0, false);
        list_iter_init(&b, w, 0, false);
        while (list_iter_next(&a, &i)) {
            cr_assert(list_iter_next(&b, &k));
            cr_assert(slice_eq((struct slice){i.ptr, i.len}, (struct slice){k.ptr, k.len}));
        }
        list_free(v);
        list_free(w);
    }
}

Test(list, a_big_list_is_freed_in_slices)
{
    struct value v = filled(200000, &defaults), copy = list_copy(v);
    int slices = 1;
    cr_assert_geq(list_parts(v), 10);
    cr_assert_lt(list_memory_bytes(v), 200000u * 8);
    while (!list_drain(&v, 2)) slices++;
    cr_assert_geq(slices, 10);
    list_validate(copy);
    cr_assert_eq(list_len(copy), 200000);
    list_free(copy);
    v = list_new();
    cr_assert(list_drain(&v, 1));
}
