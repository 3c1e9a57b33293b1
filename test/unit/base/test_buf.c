// SPDX-License-Identifier: BSD-3-Clause
#include "base/buf.h"

#include <criterion/criterion.h>

#include "base/mem.h"

static void expect(const struct buf *b, struct slice expected)
{
    cr_assert(slice_eq(buf_slice(b), expected), "%.*s is not %.*s", SLICE_ARG(buf_slice(b)),
              SLICE_ARG(expected));
}

Test(buf, an_empty_buffer_has_no_memory_and_a_valid_slice)
{
    struct buf b = {0};
    expect(&b, SLICE(""));
    cr_assert_not_null(buf_slice(&b).ptr);
    buf_append(&b, NULL, 0);
    cr_assert_null(b.ptr);
    buf_free(&b);
}

Test(buf, what_is_appended_stands_in_order)
{
    struct buf b = {0};
    buf_append(&b, "a\0b", 3);
    buf_append_char(&b, 'c');
    buf_append_text(&b, "de");
    buf_printf(&b, "%d-%s", 12, "x");
    buf_printf(&b, "%s", "");
    expect(&b, SLICE("a\0bcde12-x"));
    buf_free(&b);
    cr_assert(b.ptr == NULL && b.len == 0 && b.cap == 0);
}

Test(buf, it_grows_to_any_length_and_gives_all_of_it_back)
{
    struct buf b = {0};
    size_t before = mem_used_bytes();
    for (int i = 0; i < 100000; i++) buf_append_char(&b, (char)i);
    cr_assert_eq(b.len, 100000);
    for (int i = 0; i < 100000; i++) cr_assert_eq(b.ptr[i], (char)i);
    cr_assert_leq(b.cap, 200000);
    buf_free(&b);
    cr_assert_eq(mem_used_bytes(), before);
}

Test(buf, reserve_makes_room_and_changes_no_length)
{
    struct buf b = {0};
    buf_append_text(&b, "ab");
    char *room = buf_reserve(&b, 1000);
    cr_assert_eq(room, b.ptr + 2);
    cr_assert_geq(b.cap, 1002);
    cr_assert_eq(b.len, 2);
    memset(room, 'x', 1000);
    expect(&b, SLICE("ab"));
    buf_free(&b);
}

Test(buf, printf_may_be_long)
{
    struct buf b = {0};
    buf_printf(&b, "%5000d", 7);
    cr_assert_eq(b.len, 5000);
    cr_assert_eq(b.ptr[4999], '7');
    buf_free(&b);
}

Test(buf, quoted_bytes_are_shown_as_redis_cli_shows_them)
{
    struct buf b = {0};
    buf_append_quoted(&b, SLICE("a \"b\"\\\n\r\t\a\b\0\x7f\xff'"));
    expect(&b, SLICE("\"a \\\"b\\\"\\\\\\n\\r\\t\\a\\b\\x00\\x7f\\xff'\""));
    b.len = 0;
    buf_append_quoted(&b, SLICE(""));
    expect(&b, SLICE("\"\""));
    buf_free(&b);
}
