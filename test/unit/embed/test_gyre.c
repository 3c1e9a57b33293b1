// SPDX-License-Identifier: BSD-3-Clause
#include "gyre.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIG (300 * 1024) // bytes of an argument that is received into a blob
#define NOW 1700000000000

static void expect(struct gyre *g, int argc, const char *const *argv, const char *expected)
{
    char *reply;
    size_t len;
    cr_assert_eq(gyre_execute(g, argc, argv, NULL, &reply, &len), 0);
    cr_assert_eq(len, strlen(reply));
    cr_assert_str_eq(reply, expected, "%s: got %s", argv[0], reply);
    gyre_free(reply);
    gyre_validate(g);
}

#define EXPECT(g, expected, ...)                                                                   \
    expect(g, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),                       \
           (const char *[]){__VA_ARGS__}, expected)

static int feed(struct gyre *g, const char *bytes, const char *expected)
{
    char *reply;
    size_t len;
    int status = gyre_feed(g, bytes, strlen(bytes), &reply, &len);
    cr_assert_str_eq(reply, expected, "got %s", reply);
    gyre_free(reply);
    gyre_validate(g);
    return status;
}

Test(gyre, executes_a_command_and_returns_its_reply)
{
    struct gyre *g = gyre_open(NULL);
    EXPECT(g, "+OK\r\n", "SET", "greeting", "hello");
    EXPECT(g, "$5\r\nhello\r\n", "GET", "greeting");
    EXPECT(g, "$-1\r\n", "get", "nothing");
    EXPECT(g, "-ERR unknown command 'NOSUCH', with args beginning with: 'x' \r\n", "NOSUCH", "x");
    EXPECT(g, "-ERR wrong number of arguments for 'get' command\r\n", "GET");
    cr_assert_eq(gyre_key_count(g, 0), 1);
    cr_assert_eq(gyre_key_count(g, 99), 0);
    gyre_close(g);
    gyre_close(NULL);
}

Test(gyre, arguments_are_binary_safe)
{
    struct gyre *g = gyre_open(NULL);
    const char *argv[] = {"SET", "a\0b", "\r\n\0"}, *get[] = {"GET", "a\0b"};
    char *reply;
    size_t len;
    gyre_execute(g, 3, argv, (size_t[]){3, 3, 3}, NULL, NULL);
    gyre_execute(g, 2, get, (size_t[]){3, 3}, &reply, &len);
    cr_assert_eq(len, 9);
    cr_assert_arr_eq(reply, "$3\r\n\r\n\0\r\n", 9);
    gyre_free(reply);
    gyre_close(g);
}

Test(gyre, refuses_an_empty_command_and_senseless_options)
{
    struct gyre *g = gyre_open(NULL);
    cr_assert_eq(gyre_execute(g, 0, NULL, NULL, NULL, NULL), -EINVAL);
    gyre_close(g);
    cr_assert_null(gyre_open(&(struct gyre_options){.max_bulk_bytes = 100}));
}

Test(gyre, the_session_remembers_database_and_protocol)
{
    struct gyre *g = gyre_open(&(struct gyre_options){.databases = 3});
    EXPECT(g, "-ERR DB index is out of range\r\n", "SELECT", "3");
    EXPECT(g, "+OK\r\n", "SELECT", "2");
    EXPECT(g, "+OK\r\n", "SET", "k", "v");
    cr_assert_eq(gyre_key_count(g, 2), 1);
    gyre_execute(g, 2, (const char *[]){"HELLO", "3"}, NULL, NULL, NULL);
    EXPECT(g, "_\r\n", "GET", "nothing");
    EXPECT(g, "+RESET\r\n", "RESET");
    EXPECT(g, "$-1\r\n", "GET", "nothing");
    gyre_close(g);
}

Test(gyre, a_password_must_be_given_first)
{
    struct gyre *g = gyre_open(&(struct gyre_options){.password = "secret"});
    EXPECT(g, "-NOAUTH Authentication required.\r\n", "GET", "k");
    EXPECT(g, "+OK\r\n", "AUTH", "secret");
    EXPECT(g, "$-1\r\n", "GET", "k");
    gyre_close(g);
}

Test(gyre, client_reply_silences_replies)
{
    struct gyre *g = gyre_open(NULL);
    feed(g, "CLIENT REPLY SKIP\r\nSET k 1\r\nGET k\r\n", "$1\r\n1\r\n");
    feed(g, "CLIENT REPLY OFF\r\nSET k 2\r\nNOSUCH\r\nSELECT 0\r\nCLIENT REPLY ON\r\n", "+OK\r\n");
    feed(g, "GET k\r\n", "$1\r\n2\r\n");
    feed(g, "CLIENT REPLY SKIP\r\nSELECT 1\r\nGET k\r\n", "$-1\r\n");
    gyre_close(g);
}

static int64_t ticking_clock(void *arg)
{
    return ++*(int64_t *)arg;
}

Test(gyre, the_clock_is_the_callers)
{
    int64_t now_ms = NOW;
    struct gyre *g = gyre_open(&(struct gyre_options){.now_ms = ticking_clock, .now_arg = &now_ms});
    EXPECT(g, "+OK\r\n", "SET", "k", "v", "PX", "3");
    EXPECT(g, ":2\r\n", "PTTL", "k");
    EXPECT(g, "$1\r\nv\r\n", "GET", "k");
    EXPECT(g, "$1\r\nv\r\n", "GET", "k");
    EXPECT(g, "$-1\r\n", "GET", "k");
    gyre_set_now_ms(g, NOW + 5000);
    EXPECT(g, "+OK\r\n", "SET", "k", "v", "EX", "10");
    EXPECT(g, ":1700000015\r\n", "EXPIRETIME", "k");
    EXPECT(g, ":10000\r\n", "PTTL", "k");
    gyre_close(g);
}

Test(gyre, cron_removes_what_is_due)
{
    struct gyre *g = gyre_open(NULL);
    gyre_set_now_ms(g, NOW);
    for (int i = 0; i < 1000; i++) {
        char key[32];
        snprintf(key, sizeof key, "key:%d", i);
        EXPECT(g, "+OK\r\n", "SET", key, "v", "PX", i % 2 ? "100" : "100000");
    }
    while (gyre_cron(g, 50)) {
    }
    cr_assert_eq(gyre_key_count(g, 0), 1000);
    gyre_set_now_ms(g, NOW + 101);
    cr_assert(gyre_cron(g, 10), "the budget is kept");
    cr_assert_geq(gyre_key_count(g, 0), 980);
    while (gyre_cron(g, 50)) {
    }
    cr_assert_eq(gyre_key_count(g, 0), 500);
    gyre_validate(g);
    gyre_close(g);
}

Test(gyre, equal_seeds_give_equal_runs)
{
    char *replies[2];
    for (int run = 0; run < 2; run++) {
        struct gyre *g = gyre_open(&(struct gyre_options){.seed = 42});
        gyre_set_now_ms(g, NOW);
        for (int i = 0; i < 500; i++) {
            char key[32];
            snprintf(key, sizeof key, "key:%d", i);
            EXPECT(g, "+OK\r\n", "SET", key, "v");
        }
        size_t len;
        const char *stream = "RANDOMKEY\r\nRANDOMKEY\r\nRANDOMKEY\r\nSCAN 0\r\n";
        gyre_feed(g, stream, strlen(stream), &replies[run], &len);
        gyre_close(g);
    }
    cr_assert_str_eq(replies[0], replies[1]);
    gyre_free(replies[0]);
    gyre_free(replies[1]);
}

Test(gyre, a_stream_may_be_cut_at_any_byte)
{
    const char *stream = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\na\r\n\r\n\r\n*0\r\nGET k\r\n"
                         "*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n";
    const char *expected = "+OK\r\n$3\r\na\r\n\r\n:1\r\n";
    for (size_t cut = 0; cut <= strlen(stream); cut++) {
        struct gyre *g = gyre_open(NULL);
        char *first, *second, both[256];
        size_t first_len, second_len;
        gyre_feed(g, stream, cut, &first, &first_len);
        gyre_feed(g, stream + cut, strlen(stream) - cut, &second, &second_len);
        snprintf(both, sizeof both, "%s%s", first, second);
        cr_assert_str_eq(both, expected, "cut at %zu: %s", cut, both);
        gyre_free(first);
        gyre_free(second);
        gyre_close(g);
    }
    struct gyre *g = gyre_open(NULL);
    char all[256] = "";
    for (size_t i = 0; i < strlen(stream); i++) {
        char *reply;
        size_t len;
        gyre_feed(g, stream + i, 1, &reply, &len);
        strncat(all, reply, sizeof all - strlen(all) - 1);
        gyre_free(reply);
    }
    cr_assert_str_eq(all, expected);
    gyre_close(g);
}

// A SET of a big value, fed in pieces of `step` bytes, and the GET that reads it back.
static void feed_big(size_t step)
{
    struct gyre *g = gyre_open(NULL);
    char *stream = malloc(2 * BIG + 200), *p = stream;
    p += snprintf(p, 100, "*3\r\n$3\r\nSET\r\n$%d\r\n", BIG);
    for (int i = 0; i < BIG; i++) *p++ = (char)('a' + i % 26);
    p += snprintf(p, 100, "\r\n$%d\r\n", BIG);
    for (int i = 0; i < BIG; i++) *p++ = (char)('A' + i % 23);
    p += snprintf(p, 100, "\r\nDBSIZE\r\n");
    size_t len = (size_t)(p - stream), got = 0;
    char all[64] = "", *reply;
    for (size_t at = 0; at < len; at += step) {
        gyre_feed(g, stream + at, len - at < step ? len - at : step, &reply, &got);
        strncat(all, reply, sizeof all - strlen(all) - 1);
        gyre_free(reply);
    }
    cr_assert_str_eq(all, "+OK\r\n:1\r\n", "step %zu: %s", step, all);
    char *key = stream + strlen("*3\r\n$3\r\nSET\r\n$307200\r\n");
    gyre_execute(g, 2, (const char *[]){"GET", key}, (size_t[]){3, BIG}, &reply, &got);
    cr_assert_eq(got, BIG + strlen("$307200\r\n\r\n"));
    cr_assert_arr_eq(reply + strlen("$307200\r\n"), key + BIG + strlen("\r\n$307200\r\n"), BIG);
    gyre_free(reply);
    gyre_validate(g);
    gyre_close(g);
    free(stream);
}

Test(gyre, big_arguments_arrive_in_pieces)
{
    static const size_t steps[] = {701, 16384, BIG - 1, BIG, BIG + 1, BIG + 40, 3 * BIG};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) feed_big(steps[i]);
}

Test(gyre, an_unfinished_big_argument_is_freed_on_closing)
{
    struct gyre *g = gyre_open(NULL);
    feed(g, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\nabc", "");
    feed(g, "def", "");
    gyre_close(g);
}

Test(gyre, what_closes_a_connection_begins_a_new_session)
{
    struct gyre *g = gyre_open(NULL);
    cr_assert_eq(feed(g, "SET k v\r\nSELECT 1\r\nQUIT\r\nGET k\r\n", "+OK\r\n+OK\r\n+OK\r\n"),
                 GYRE_CLOSED);
    cr_assert_eq(feed(g, "GET k\r\n*1\r\n!\r\n",
                      "$1\r\nv\r\n-ERR Protocol error: expected '$', got '!'\r\n"),
                 GYRE_CLOSED);
    cr_assert_eq(feed(g, "GET k\r\n", "$1\r\nv\r\n"), 0);
    gyre_close(g);
}

Test(gyre, admin_commands_are_harmless)
{
    struct gyre *g = gyre_open(NULL);
    EXPECT(g, "-ERR not possible in an embedded engine\r\n", "SHUTDOWN");
    EXPECT(g, "-ERR No shutdown in progress.\r\n", "SHUTDOWN", "ABORT");
    EXPECT(g, "-ERR not possible in an embedded engine\r\n", "CONFIG", "REWRITE");
    EXPECT(g, "+OK\r\n", "CONFIG", "RESETSTAT");
    EXPECT(g, "+OK\r\n", "MONITOR");
    EXPECT(g, "+OK\r\n", "CLIENT", "PAUSE", "100");
    EXPECT(g, "+OK\r\n", "CLIENT", "UNPAUSE");
    static const char *const texts[][2] = {
        {"INFO", "everything"}, {"CLIENT", "LIST"},    {"CLIENT", "INFO"},  {"MEMORY", "STATS"},
        {"SLOWLOG", "GET"},     {"LATENCY", "DOCTOR"}, {"COMMAND", "DOCS"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char *reply;
        size_t len;
        cr_assert_eq(gyre_execute(g, 2, texts[i], NULL, &reply, &len), 0);
        cr_assert(reply[0] == '$' || reply[0] == '*', "%s %s: %s", texts[i][0], texts[i][1], reply);
        gyre_free(reply);
    }
    gyre_close(g);
}

Test(gyre, debug_needs_permission)
{
    struct gyre *g = gyre_open(NULL);
    char *reply;
    size_t len;
    const char *sleep[] = {"DEBUG", "SLEEP", "0"};
    gyre_execute(g, 3, sleep, NULL, &reply, &len);
    cr_assert(strncmp(reply, "-ERR DEBUG command not allowed", 30) == 0, "%s", reply);
    gyre_free(reply);
    gyre_close(g);
    g = gyre_open(&(struct gyre_options){.is_debug_allowed = true});
    EXPECT(g, "+OK\r\n", "DEBUG", "SLEEP", "0");
    gyre_close(g);
}

Test(gyre, configuration_changes_all_or_nothing)
{
    struct gyre *g = gyre_open(NULL);
    EXPECT(g, "*2\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n", "CONFIG", "GET",
           "MAXMEMORY-P*");
    EXPECT(g, "-ERR CONFIG SET failed (possibly related to argument 'nosuch') - unknown option\r\n",
           "CONFIG", "SET", "maxmemory-policy", "allkeys-lfu", "nosuch", "1");
    EXPECT(g, "*2\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n", "CONFIG", "GET",
           "maxmemory-policy");
    EXPECT(g, "+OK\r\n", "CONFIG", "SET", "maxmemory-policy", "allkeys-lfu", "lfu-log-factor", "5");
    EXPECT(g, "+OK\r\n", "SET", "k", "v");
    EXPECT(g, ":5\r\n", "OBJECT", "FREQ", "k");
    EXPECT(
        g,
        "-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable "
        "config\r\n",
        "CONFIG", "SET", "databases", "2");
    gyre_close(g);
}

Test(gyre, handles_are_independent)
{
    struct gyre *a = gyre_open(NULL), *b = gyre_open(NULL);
    EXPECT(a, "+OK\r\n", "SET", "k", "a");
    EXPECT(b, "$-1\r\n", "GET", "k");
    EXPECT(b, "+OK\r\n", "SET", "k", "b");
    EXPECT(a, "$1\r\na\r\n", "GET", "k");
    gyre_close(a);
    EXPECT(b, "$1\r\nb\r\n", "GET", "k");
    gyre_close(b);
}
