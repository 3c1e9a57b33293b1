// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "driver.h"

#define WRONG_TIME(c) "-ERR invalid expire time in '" c "' command"
#define SYNTAX        "-ERR syntax error"
#define NOT_INTEGER   "-ERR value is not an integer or out of range"
#define TOO_LONG      "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"

// 2e300 in full, as redis-server prints it.
static const char two_e300[] =
    "$301 "
    "20000000000000000000179946481591183877410478885465814958765201646425312931923618"
    "71511698304167500994380700745017228549671807185112369345967826192521041497292574"
    "65427128368730658816851021521203357945330586474006110276589524198908058954556377"
    "9241212358535223254194821301134374772211380178849830208012288";

static struct gyre *g;

static void open_one(void)
{
    g = driver_open();
}

static void close_it(void)
{
    driver_close(g);
}

TestSuite(string, .init = open_one, .fini = close_it);

Test(string, set_overwrites_and_drops_the_expiry)
{
    CHECK(g, "SET k v EX 100", "+OK");
    CHECK(g, "GET k", "$1 v");
    CHECK(g, "SET k longer", "+OK");
    CHECK(g, "TTL k", ":-1");
    CHECK(g, "GET k", "$6 longer");
    CHECK(g, "GET nope", "$-1");
}

Test(string, set_keeps_the_expiry_when_told_to)
{
    CHECK(g, "SET k v EX 100", "+OK");
    CHECK(g, "SET k other KEEPTTL", "+OK");
    CHECK(g, "TTL k", ":100");
    CHECK(g, "SET new v KEEPTTL", "+OK");
    CHECK(g, "TTL new", ":-1");
}

Test(string, set_nx_and_xx_say_null_when_they_do_nothing)
{
    CHECK(g, "SET k v XX", "$-1");
    CHECK(g, "SET k v NX", "+OK");
    CHECK(g, "SET k w NX", "$-1");
    CHECK(g, "SET k w NX GET", "$1 v");
    CHECK(g, "SET k w XX GET", "$1 v");
    CHECK(g, "GET k", "$1 w");
    CHECK(g, "SET n v NX GET", "$-1");
    CHECK(g, "GET n", "$1 v");
    CHECK(g, "SET m v XX GET", "$-1");
    CHECK(g, "EXISTS m", ":0");
}

Test(string, set_takes_times_in_every_unit)
{
    CHECK(g, "SET k v PX 1500", "+OK");
    CHECK(g, "PTTL k", ":1500");
    CHECK(g, "SET k v exat 1700000100", "+OK");
    CHECK(g, "TTL k", ":100");
    CHECK(g, "SET k v PxAt 1700000000250", "+OK");
    CHECK(g, "PTTL k", ":250");
    CHECK(g, "SET k v EX 10 EX 20", "+OK");
    CHECK(g, "TTL k", ":20");
    CHECK(g, "SETEX k 7 w", "+OK");
    CHECK(g, "TTL k", ":7");
    CHECK(g, "PSETEX k 7 w", "+OK");
    CHECK(g, "PTTL k", ":7");
}

Test(string, set_refuses_options_that_do_not_go_together)
{
    CHECK(g, "SET k v NX XX", SYNTAX);
    CHECK(g, "SET k v EX 10 PX 10", SYNTAX);
    CHECK(g, "SET k v EX 10 KEEPTTL", SYNTAX);
    CHECK(g, "SET k v KEEPTTL EXAT 10", SYNTAX);
    CHECK(g, "SET k v EX", SYNTAX);
    CHECK(g, "SET k v PERSIST", SYNTAX);
    CHECK(g, "SET k v bogus", SYNTAX);
    CHECK(g, "SET k v EX 0 bogus", SYNTAX);
    CHECK(g, "EXISTS k", ":0");
}

Test(string, times_that_cannot_be_are_refused)
{
    CHECK(g, "SET k v EX 0", WRONG_TIME("set"));
    CHECK(g, "SET k v PX -1", WRONG_TIME("set"));
    CHECK(g, "SET k v EX 9223372036854775807", WRONG_TIME("set"));
    CHECK(g, "SET k v PX 9223372036854775807", WRONG_TIME("set"));
    CHECK(g, "SET k v EX 1.5", NOT_INTEGER);
    CHECK(g, "SETEX k 0 v", WRONG_TIME("setex"));
    CHECK(g, "PSETEX k -5 v", WRONG_TIME("psetex"));
    CHECK(g, "GETEX k EX 0", "$-1");
    CHECK(g, "SET k v", "+OK");
    CHECK(g, "GETEX k EX 0", WRONG_TIME("getex"));
}

Test(string, a_value_that_expired_is_not_there)
{
    CHECK(g, "SET k v PX 10", "+OK");
    gyre_set_now_ms(g, DRIVER_NOW_MS + 11);
    CHECK(g, "GET k", "$-1");
    CHECK(g, "SET k v PX 10", "+OK");
    gyre_set_now_ms(g, DRIVER_NOW_MS + 22);
    CHECK(g, "APPEND k w", ":1");
    CHECK(g, "TTL k", ":-1");
    CHECK(g, "SET n 5 PX 10", "+OK");
    gyre_set_now_ms(g, DRIVER_NOW_MS + 33);
    CHECK(g, "INCR n", ":1");
}

Test(string, getex_changes_the_expiry_it_was_told_to)
{
    CHECK(g, "SET k v", "+OK");
    CHECK(g, "GETEX k", "$1 v");
    CHECK(g, "GETEX k EX 10", "$1 v");
    CHECK(g, "TTL k", ":10");
    CHECK(g, "GETEX k", "$1 v");
    CHECK(g, "TTL k", ":10");
    CHECK(g, "GETEX k PERSIST", "$1 v");
    CHECK(g, "TTL k", ":-1");
    CHECK(g, "GETEX k PXAT 1", "$1 v");
    CHECK(g, "EXISTS k", ":0");
    CHECK(g, "GETEX k PERSIST EX 5", SYNTAX);
}

Test(string, getset_getdel_and_setnx_answer_what_was_there)
{
    CHECK(g, "GETSET k a", "$-1");
    CHECK(g, "EXPIRE k 100", ":1");
    CHECK(g, "GETSET k b", "$1 a");
    CHECK(g, "TTL k", ":-1");
    CHECK(g, "SETNX k c", ":0");
    CHECK(g, "GETDEL k", "$1 b");
    CHECK(g, "GETDEL k", "$-1");
    CHECK(g, "SETNX k c", ":1");
}

Test(string, many_keys_keep_their_order)
{
    CHECK(g, "MSET a 1 b 2 a 3", "+OK");
    CHECK(g, "MGET a b c a", "*4 $1 3 $1 2 $-1 $1 3");
    CHECK(g, "MSETNX c 1 a 2", ":0");
    CHECK(g, "EXISTS c", ":0");
    CHECK(g, "MSETNX c 1 d 2 c 3", ":1");
    CHECK(g, "MGET c d", "*2 $1 3 $1 2");
    CHECK(g, "MSET a 1 b", "-ERR wrong number of arguments for 'mset' command");
    CHECK(g, "MSETNX a 1 b", "-ERR wrong number of arguments for 'msetnx' command");
}

Test(string, mget_of_more_keys_than_a_batch_holds)
{
    enum { N = 100 };
    char texts[N][16];
    const char *argv[1 + 2 * N] = {"MSET"};
    size_t len;
    for (int i = 0; i < N; i++) {
        snprintf(texts[i], sizeof texts[i], "k%d", i);
        argv[1 + 2 * i] = argv[2 + 2 * i] = texts[i];
    }
    gyre_execute(g, 1 + 2 * N, argv, NULL, NULL, NULL);
    argv[0] = "MGET";
    for (int i = 0; i < N; i++) argv[1 + i] = texts[N - 1 - i];
    char *reply = driver_run(g, 1 + N, argv, NULL, &len);
    const char *p = reply;
    for (int i = 0; i < N; i++) {
        char want[24];
        snprintf(want, sizeof want, "\r\n%s\r\n", texts[N - 1 - i]);
        p = strstr(p, want);
        cr_assert(p, "value %d is missing or out of order", i);
    }
    gyre_free(reply);
}

Test(string, append_and_setrange_make_room)
{
    CHECK(g, "APPEND k ab", ":2");
    CHECK(g, "APPEND k cd", ":4");
    CHECK(g, "SETRANGE k 6 x", ":7");
    CHECK(g, "STRLEN k", ":7");
    CHECK(g, "SETRANGE k 0 ''", ":7");
    CHECK(g, "SETRANGE nope 3 ''", ":0");
    CHECK(g, "EXISTS nope", ":0");
    CHECK(g, "SETRANGE k -1 x", "-ERR offset is out of range");
    CHECK(g, "SETRANGE k 536870912 x", TOO_LONG);
    CHECK(g, "SETRANGE k 9223372036854775807 x", TOO_LONG);
    CHECK(g, "SET n 12", "+OK");
    CHECK(g, "APPEND n 3", ":3");
    CHECK(g, "INCR n", ":124");
}

Test(string, getrange_counts_from_both_ends)
{
    CHECK(g, "SET k Hello", "+OK");
    CHECK(g, "GETRANGE k 1 3", "$3 ell");
    CHECK(g, "GETRANGE k -3 -2", "$2 ll");
    CHECK(g, "GETRANGE k -100 0", "$1 H");
    CHECK(g, "GETRANGE k 3 100", "$2 lo");
    CHECK(g, "GETRANGE k 4 1", "$0 ");
    CHECK(g, "GETRANGE k -1 -3", "$0 ");
    CHECK(g, "GETRANGE k -9223372036854775808 9223372036854775807", "$5 Hello");
    CHECK(g, "SUBSTR nope 0 -1", "$0 ");
    CHECK(g, "SET n 12345", "+OK");
    CHECK(g, "GETRANGE n 1 2", "$2 23");
}

Test(string, counters_stop_at_the_edges)
{
    CHECK(g, "INCR n", ":1");
    CHECK(g, "DECRBY n 11", ":-10");
    CHECK(g, "SET n 9223372036854775807", "+OK");
    CHECK(g, "INCR n", "-ERR increment or decrement would overflow");
    CHECK(g, "DECRBY n -9223372036854775808", "-ERR decrement would overflow");
    CHECK(g, "INCRBY n 1x", NOT_INTEGER);
    CHECK(g, "SET s 1.0", "+OK");
    CHECK(g, "INCR s", NOT_INTEGER);
    CHECK(g, "SET n 5 EX 10", "+OK");
    CHECK(g, "INCRBY n 5", ":10");
    CHECK(g, "TTL n", ":10");
}

Test(string, sums_of_floats_are_text)
{
    CHECK(g, "INCRBYFLOAT f 3.5", "$3 3.5");
    CHECK(g, "INCRBYFLOAT f 0.5", "$1 4");
    CHECK(g, "OBJECT ENCODING f", "$6 embstr");
    CHECK(g, "INCR f", ":5");
    CHECK(g, "OBJECT ENCODING f", "$3 int");
    CHECK(g, "INCRBYFLOAT f abc", "-ERR value is not a valid float");
    CHECK(g, "INCRBYFLOAT f inf", "-ERR increment would produce NaN or Infinity");
    // What it wrote it reads again, however long.
    CHECK(g, "SET f 1e300", "+OK");
    CHECK(g, "INCRBYFLOAT f 1e300", two_e300);
    CHECK(g, "INCRBYFLOAT f 0", two_e300);
}

Test(string, values_of_every_length_survive_what_is_done_to_them)
{
    // Around what is embedded, what is a blob, and what is linked into replies.
    static const size_t lens[] = {0, 1, 43, 44, 45, 1023, 1024, 1025, 32768, 65536, 300000};
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        char *value = mem_alloc(lens[i] + 1);
        memset(value, 'v', lens[i]);
        value[lens[i]] = '\0';
        const char *set[] = {"SET", "k", value}, *get[] = {"GET", "k"},
                   *copy[] = {"COPY", "k", "c", "REPLACE"};
        const char *append[] = {"APPEND", "k", "w"}, *copied[] = {"GET", "c"};
        size_t set_lens[] = {3, 1, lens[i]}, len;
        gyre_execute(g, 3, set, set_lens, NULL, NULL);
        gyre_execute(g, 4, copy, NULL, NULL, NULL);
        gyre_execute(g, 3, append, NULL, NULL, NULL);
        char *reply = driver_run(g, 2, get, NULL, &len);
        const char *body = strchr(reply, '\n') + 1;
        cr_assert_eq(memcmp(body, value, lens[i]), 0);
        cr_assert_eq(memcmp(body + lens[i], "w\r\n", 3), 0);
        gyre_free(reply);
        reply = driver_run(g, 2, copied, NULL, &len); // the copy did not change with it
        body = strchr(reply, '\n') + 1;
        cr_assert_eq(memcmp(body, value, lens[i]), 0);
        cr_assert_eq(memcmp(body + lens[i], "\r\n", 2), 0);
        gyre_free(reply);
        gyre_validate(g);
        mem_free(value);
    }
}
