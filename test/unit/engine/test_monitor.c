// SPDX-License-Identifier: BSD-3-Clause
#include "engine/monitor.h"

#include <criterion/criterion.h>
#include <stdarg.h>

#include "engine/redact.h"

#define WORDS_MAX 16

// The line of a command given as words, the last one NULL.
static char *line(const char *peer, ...)
{
    static char text[512];
    struct slice argv[WORDS_MAX];
    struct buf out = {0};
    va_list args;
    int argc = 0;
    va_start(args, peer);
    for (const char *w; (w = va_arg(args, const char *));) argv[argc++] = slice_of(w);
    va_end(args);
    monitor_format(&out, 1339518083107412, 3, peer, argc, argv);
    cr_assert_lt(out.len, sizeof text);
    memcpy(text, out.ptr, out.len);
    text[out.len] = 0;
    buf_free(&out);
    return text;
}

#define TCP    "127.0.0.1:60866"
#define HEAD   "1339518083.107412 [3 127.0.0.1:60866] "
#define HIDDEN "\"(redacted)\""

Test(monitor, a_line_has_time_database_peer_and_quoted_arguments)
{
    cr_assert_str_eq(line(TCP, "keys", "*", NULL), HEAD "\"keys\" \"*\"");
    cr_assert_str_eq(line(TCP, "set", "a\"\n\x01", "", NULL),
                     HEAD "\"set\" \"a\\\"\\n\\x01\" \"\"");
    struct slice ping = SLICE("ping");
    struct buf out = {0};
    monitor_format(&out, 5000007, 0, TCP, 1, &ping);
    cr_assert(slice_eq(buf_slice(&out), slice_of("5.000007 [0 " TCP "] \"ping\"")));
    buf_free(&out);
}

Test(monitor, a_unix_socket_is_shown_by_its_path)
{
    cr_assert_str_eq(line("/run/gyre.sock:0", "ping", NULL),
                     "1339518083.107412 [3 unix:/run/gyre.sock] \"ping\"");
}

Test(monitor, secrets_are_not_shown)
{
    cr_assert_str_eq(line(TCP, "AUTH", "x", NULL), HEAD "\"AUTH\" \"(redacted)\"");
    cr_assert_str_eq(line(TCP, "auth", "u", "p", NULL),
                     HEAD "\"auth\" \"(redacted)\" \"(redacted)\"");
    cr_assert_str_eq(line(TCP, "hello", "2", "auth", "a", "b", "setname", "q", NULL),
                     HEAD "\"hello\" \"2\" \"auth\" " HIDDEN " " HIDDEN " \"setname\" \"q\"");
    cr_assert_str_eq(line(TCP, "config", "set", "maxmemory", "0", "RequirePass", "x", NULL),
                     HEAD "\"config\" \"set\" \"maxmemory\" \"0\" \"RequirePass\" " HIDDEN "");
    cr_assert_str_eq(line(TCP, "acl", "setuser", "bob", ">x", NULL),
                     HEAD "\"acl\" \"setuser\" \"(redacted)\" \"(redacted)\"");
    cr_assert_str_eq(line(TCP, "migrate", "h", "1", "k", "0", "10", "auth2", "u", "p", NULL), HEAD
                     "\"migrate\" \"h\" \"1\" \"k\" \"0\" \"10\" \"auth2\" " HIDDEN " " HIDDEN "");
}

Test(monitor, what_only_looks_like_a_secret_is_shown)
{
    cr_assert_str_eq(line(TCP, "hello", "3", "setname", "auth", NULL),
                     HEAD "\"hello\" \"3\" \"setname\" \"auth\"");
    cr_assert_str_eq(line(TCP, "config", "get", "requirepass", NULL),
                     HEAD "\"config\" \"get\" \"requirepass\"");
    cr_assert_str_eq(line(TCP, "set", "auth", "requirepass", NULL),
                     HEAD "\"set\" \"auth\" \"requirepass\"");
}
