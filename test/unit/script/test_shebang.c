// SPDX-License-Identifier: BSD-3-Clause
#include "script/shebang.h"

#include <criterion/criterion.h>
#include <stdio.h>

static const char *script_error(const char *text, uint32_t *flags)
{
    static char kept[256];
    struct shebang s;
    struct buf error = {0};
    const char *bad = shebang_read_script(slice_of(text), &s, &error);
    if (bad) snprintf(kept, sizeof kept, "%s", bad);
    buf_free(&error);
    *flags = s.flags;
    return bad ? kept : NULL;
}

Test(shebang, a_script_may_do_without_one)
{
    uint32_t flags;
    cr_assert_null(script_error("return 1", &flags));
    cr_assert_eq(flags, SCRIPT_COMPAT);
}

Test(shebang, flags_are_read_from_all_words_in_any_quotes)
{
    uint32_t flags;
    cr_assert_null(script_error("#!lua flags=no-writes,allow-oom\n", &flags));
    cr_assert_eq(flags, SCRIPT_NO_WRITES | SCRIPT_ALLOW_OOM);
    cr_assert_null(script_error("#!lua 'flags=allow-stale' \"flags=no-\\x63luster\" \nx", &flags));
    cr_assert_eq(flags, SCRIPT_ALLOW_STALE | SCRIPT_NO_CLUSTER);
    cr_assert_null(script_error("#!lua flags= \n", &flags));
    cr_assert_eq(flags, 0);
}

Test(shebang, what_is_wrong_is_told)
{
    uint32_t flags;
    cr_assert_str_eq(script_error("#!lua", &flags), "ERR Invalid script shebang");
    cr_assert_str_eq(script_error("#!lua 'a\n", &flags), "ERR Invalid engine in script shebang");
    cr_assert_str_eq(script_error("#!lua 'a'b\n", &flags), "ERR Invalid engine in script shebang");
    cr_assert_str_eq(script_error("#!js\n", &flags),
                     "ERR Unexpected engine in script shebang: #!js");
    cr_assert_str_eq(script_error("#!lua flags=a\n", &flags),
                     "ERR Unexpected flag in script shebang: a");
    cr_assert_str_eq(script_error("#!lua flags=no-writes,\n", &flags),
                     "ERR Unexpected flag in script shebang: ");
    cr_assert_str_eq(script_error("#!lua name=a\n", &flags),
                     "ERR Unknown lua shebang option: name=a");
}

Test(shebang, a_library_has_a_name_and_its_code_begins_at_the_line_feed)
{
    struct shebang s;
    struct buf error = {0};
    cr_assert_null(shebang_read_library(SLICE("#!LUA NAME=\"my lib\"\ncode"), &s, &error));
    cr_assert(slice_eq(buf_slice(&s.name), SLICE("my lib")));
    cr_assert_eq(s.len, 19u);
    buf_free(&s.name);
    cr_assert_str_eq(shebang_read_library(SLICE("code"), &s, &error),
                     "ERR Missing library metadata");
    cr_assert_str_eq(shebang_read_library(SLICE("#!lua name=a"), &s, &error),
                     "ERR Invalid library metadata");
    cr_assert_str_eq(shebang_read_library(SLICE("#!lua\n"), &s, &error),
                     "ERR Library name was not given");
    buf_free(&error);
}
