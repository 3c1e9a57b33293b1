// SPDX-License-Identifier: BSD-3-Clause
#include "ds/ziplist.h"

#include <criterion/criterion.h>

#include "base/assert.h"
#include "base/mem.h"

#define BYTES(literal) (literal), sizeof(literal) - 1

static void expect(struct listpack *lp, const char *const *want, uint32_t n)
{
    char number[NUM_I64_TEXT];
    struct item item;
    cr_assert_not_null(lp);
    listpack_validate(lp);
    cr_assert_eq(listpack_count(lp), n);
    uint32_t at = listpack_first(lp);
    for (uint32_t i = 0; i < n; i++) {
        at = listpack_get(lp, at, &item);
        cr_assert(slice_eq(item_slice(&item, number), slice_of(want[i])), "element %u", i);
    }
    mem_free(lp);
}

Test(ziplist, elements_of_every_encoding_are_read)
{
    static const char *const want[] = {
        "ab", "12", "0", "-1", "-2", "70000", "-70000", "1099511627776", "xyz"};
    static const char bytes[] = "\x3a\0\0\0\x34\0\0\0\x9\0"
                                "\0\2ab"
                                "\4\xfd"
                                "\2\xf1"
                                "\2\xfe\xff"
                                "\3\xc0\xfe\xff"
                                "\4\xf0\x70\x11\1"
                                "\5\xd0\x90\xee\xfe\xff"
                                "\6\xe0\0\0\0\0\0\1\0\0"
                                "\xfe\xa\0\0\0\x40\3xyz"
                                "\xff";
    // Fix the two offsets that the string above only sketches.
    char copy[sizeof bytes - 1];
    memcpy(copy, bytes, sizeof copy);
    copy[0] = (char)sizeof copy;
    copy[4] = (char)(sizeof copy - 1 - 10);
    expect(ziplist_to_listpack(copy, sizeof copy), want, ARRAY_LEN(want));
}

Test(ziplist, an_empty_one_is_empty)
{
    expect(ziplist_to_listpack(BYTES("\xb\0\0\0\xa\0\0\0\0\0\xff")), NULL, 0);
}

Test(ziplist, what_does_not_agree_with_itself_is_none)
{
    static const char good[] = "\xf\0\0\0\xc\0\0\0\2\0\0\xf2\2\xf3\xff";
    static const char *const want[] = {"1", "2"};
    expect(ziplist_to_listpack(BYTES(good)), want, 2);
    char copy[sizeof good - 1];
    for (size_t at = 0; at < sizeof copy; at++) {
        if (at == 11 || at == 13) continue; // the integers themselves
        memcpy(copy, good, sizeof copy);
        copy[at]++;
        cr_assert_null(ziplist_to_listpack(copy, sizeof copy), "byte %zu", at);
    }
    for (size_t len = 0; len < sizeof copy; len++)
        cr_assert_null(ziplist_to_listpack(good, len), "%zu bytes", len);
}

Test(ziplist, zipmaps_are_fields_and_values)
{
    static const char *const want[] = {"f", "value", "", "2"};
    expect(ziplist_zipmap_to_listpack(BYTES("\2\1f\5\0value\0\1\2"
                                            "2xx\xff")),
           want, 4);
    expect(ziplist_zipmap_to_listpack(BYTES("\xfe\1f\5\0value\0\1\0"
                                            "2\xff")),
           want, 4);
    expect(ziplist_zipmap_to_listpack(BYTES("\0\xff")), NULL, 0);
}

Test(ziplist, zipmaps_that_end_early_or_count_wrong_are_none)
{
    cr_assert_null(ziplist_zipmap_to_listpack(BYTES("")));
    cr_assert_null(ziplist_zipmap_to_listpack(BYTES("\xff")));
    cr_assert_null(ziplist_zipmap_to_listpack(BYTES("\1\xff")));
    cr_assert_null(ziplist_zipmap_to_listpack(BYTES("\1\1f\xff")));
    cr_assert_null(ziplist_zipmap_to_listpack(BYTES("\1\1f\2\0v\xff")));
    cr_assert_null(ziplist_zipmap_to_listpack(BYTES("\1\1f\1\1v\xff")));
    cr_assert_null(ziplist_zipmap_to_listpack(BYTES("\2\1f\1\0v\xff")));
    cr_assert_null(ziplist_zipmap_to_listpack(BYTES("\1\xfe\xff\xff\xff\xff"
                                                    "f\1\0v\xff")));
}
