// SPDX-License-Identifier: BSD-3-Clause
#include "engine/session.h"

#include <criterion/criterion.h>

Test(session, reset_forgets_what_the_client_set_but_not_who_it_is)
{
    struct session s;
    session_init(&s, 7);
    session_set_text(&s.name, SLICE("name"));
    session_set_text(&s.lib_name, SLICE("lib"));
    s.db = 3;
    s.resp = 3;
    s.is_authenticated = s.is_no_touch = s.is_no_evict = s.is_monitor = true;
    s.reply_mode = REPLY_OFF;
    session_reset(&s, true);
    cr_assert_null(s.name);
    cr_assert_str_eq(s.lib_name, "lib");
    cr_assert(s.id == 7 && s.db == 0 && s.resp == 2 && s.reply_mode == REPLY_ON);
    cr_assert(!s.is_authenticated && !s.is_no_touch && !s.is_no_evict && !s.is_monitor);
    session_reset(&s, false);
    cr_assert(s.is_authenticated);
    session_free(&s);
}

Test(session, skip_silences_the_next_command_only)
{
    struct session s;
    session_init(&s, 1);
    cr_assert(session_step_reply(&s));
    s.reply_mode = REPLY_SKIP_NEXT; // CLIENT REPLY SKIP has run
    session_step_reply(&s);
    cr_assert(!session_step_reply(&s));
    cr_assert(session_step_reply(&s));
    session_free(&s);
}

Test(session, off_silences_until_it_is_on_even_after_skip)
{
    struct session s;
    session_init(&s, 1);
    s.reply_mode = REPLY_SKIP_NEXT;
    session_step_reply(&s);
    s.reply_mode = REPLY_OFF; // CLIENT REPLY OFF is the command that SKIP silences
    cr_assert(!session_step_reply(&s));
    cr_assert(!session_step_reply(&s));
    s.reply_mode = REPLY_ON;
    cr_assert(session_step_reply(&s));
    session_free(&s);
}

Test(session, names_hold_nothing_that_would_break_a_line_of_client_list)
{
    const char *good[] = {"", "a", "redis-py(django_v6.1)", "!~", "a=b"};
    const char *bad[] = {"a b", "a\n", "\t", "\x7f", "caf\xc3\xa9"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_assert(session_text_is_valid(slice_of(good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert(!session_text_is_valid(slice_of(bad[i])), "%s", bad[i]);
    cr_assert(!session_text_is_valid((struct slice){"a\0b", 3}));
}

Test(session, an_empty_text_unsets)
{
    struct session s;
    session_init(&s, 1);
    session_set_text(&s.name, SLICE("a"));
    session_set_text(&s.name, SLICE("bc"));
    cr_assert_str_eq(s.name, "bc");
    session_set_text(&s.name, SLICE(""));
    cr_assert_null(s.name);
    session_free(&s);
}
