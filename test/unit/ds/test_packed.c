// SPDX-License-Identifier: BSD-3-Clause
#include "ds/packed.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"

// Packs and unpacks; every way of reading must give the listpack's elements. Returns the bytes
// saved, in percent; 0 if it was not packed.
static int check(struct listpack *lp)
{
    struct packed *p = packed_new(lp);
    uint32_t count = listpack_count(lp), at, i = 0;
    size_t bytes = listpack_bytes(lp);
    if (!p) {
        mem_free(lp);
        return 0;
    }
    packed_validate(p);
    struct listpack *back = packed_unpack(p);
    cr_assert_eq(listpack_bytes(back), bytes);
    cr_assert(memcmp(back, lp, bytes) == 0);

    struct packed_cursor c, single;
    struct item want, got;
    char a[NUM_I64_TEXT], b[NUM_I64_TEXT];
    packed_seek(&c, p, 0);
    for (at = listpack_first(lp); at; i++) {
        at = listpack_get(lp, at, &want);
        cr_assert(packed_next(&c, &got));
        cr_assert(slice_eq(item_slice(&want, a), item_slice(&got, b)));
        packed_seek(&single, p, i);
        cr_assert(packed_next(&single, &got));
        cr_assert(slice_eq(item_slice(&want, a), item_slice(&got, b)));
    }
    cr_assert_not(packed_next(&c, &got));
    packed_seek(&c, p, count);
    for (at = listpack_last(lp); at; at = listpack_prev(lp, at)) {
        listpack_get(lp, at, &want);
        cr_assert(packed_prev(&c, &got));
        cr_assert(slice_eq(item_slice(&want, a), item_slice(&got, b)));
    }
    cr_assert_not(packed_prev(&c, &got));
    int saved = 100 - (int)(packed_bytes(p) * 100 / bytes);
    mem_free(p);
    mem_free(lp);
    mem_free(back);
    return saved;
}

static struct listpack *append_text(struct listpack *lp, const char *text)
{
    return listpack_append(lp, slice_of(text));
}

Test(packed, alike_strings_take_a_fraction)
{
    struct listpack *lp = listpack_new(0);
    char text[64];
    for (int i = 0; i < 400; i++) {
        snprintf(text, sizeof text, "element:%010d", 12345 + i);
        lp = append_text(lp, text);
    }
    cr_assert_geq(check(lp), 80);
}

Test(packed, random_hexadecimal_strings_take_half)
{
    struct listpack *lp = listpack_new(0);
    struct random r;
    char text[64];
    random_seed(&r, 1);
    for (int i = 0; i < 800; i++) {
        snprintf(text, sizeof text, "%08x", (unsigned)random_u64(&r)); // some are integers
        lp = append_text(lp, text);
    }
    cr_assert_geq(check(lp), 50);
}

Test(packed, integers_of_every_width_survive)
{
    struct random r;
    random_seed(&r, 2);
    for (unsigned width = 1; width <= 64; width++) {
        struct listpack *lp = listpack_new(0);
        for (int i = 0; i < 300; i++)
            lp = listpack_append_integer(lp, (int64_t)(random_u64(&r) >> (64 - width)) -
                                                 (width < 64 ? (int64_t)(1u << (width % 31)) : 0));
        cr_assert_geq(check(lp), 12, "width %u", width);
    }
    struct listpack *lp = listpack_new(0);
    for (int i = 0; i < 100; i++) lp = listpack_append_integer(lp, i % 2 ? INT64_MIN : INT64_MAX);
    check(lp);
}

Test(packed, equal_elements_take_almost_nothing)
{
    struct listpack *lp = listpack_new(0), *ints = listpack_new(0);
    for (int i = 0; i < 500; i++) {
        lp = append_text(lp, "xxx");
        ints = append_text(ints, "7");
    }
    cr_assert_geq(check(lp), 95);
    cr_assert_geq(check(ints), 90);
}

Test(packed, what_saves_nothing_or_is_too_long_is_left_alone)
{
    struct listpack *lp = listpack_new(0);
    struct random r;
    char text[PACKED_ITEM_MAX + 1];
    cr_assert_null(packed_new(lp));
    random_seed(&r, 3);
    for (int i = 0; i < 40; i++) {
        for (int k = 0; k < 200; k++) text[k] = (char)random_u64(&r);
        lp = listpack_append(lp, (struct slice){text, 200});
    }
    cr_assert_null(packed_new(lp));
    mem_free(lp);
    lp = listpack_new(0);
    memset(text, 'x', sizeof text);
    for (int i = 0; i < 10; i++) lp = listpack_append(lp, (struct slice){text, sizeof text});
    cr_assert_null(packed_new(lp));
    mem_free(lp);
    lp = listpack_new(0);
    for (int i = 0; i < 10; i++) lp = listpack_append(lp, (struct slice){text, PACKED_ITEM_MAX});
    cr_assert_geq(check(lp), 80);
}

// Random mixtures of alphabets, lengths, prefixes and integers.
Test(packed, random_listpacks_come_back_as_they_were)
{
    struct random r;
    int packed = 0;
    random_seed(&r, 4);
    for (int round = 0; round < 3000; round++) {
        struct listpack *lp = listpack_new(0);
        unsigned symbols = 1 + (unsigned)random_below(&r, round % 3 ? 20 : 256);
        unsigned base = (unsigned)random_below(&r, 257 - symbols),
                 prefix = (unsigned)random_below(&r, 12);
        unsigned min = (unsigned)random_below(&r, 9), span = 1 + (unsigned)random_below(&r, 20);
        int n = 1 + (int)random_below(&r, 60), ints = (int)random_below(&r, 4);
        for (int i = 0; i < n; i++) {
            char text[64];
            unsigned len = prefix + min + (unsigned)random_below(&r, span);
            for (unsigned k = 0; k < len; k++)
                text[k] = (char)(k < prefix ? 'p' : base + random_below(&r, symbols));
            if (ints && random_below(&r, 4) < (uint64_t)ints)
                lp = listpack_append_integer(lp, (int64_t)(random_u64(&r) >> random_below(&r, 64)));
            else
                lp = listpack_append(lp, (struct slice){text, len});
        }
        packed += check(lp) > 0;
    }
    cr_assert_gt(packed, 300);
}
