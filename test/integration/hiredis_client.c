// SPDX-License-Identifier: BSD-3-Clause
//
// What a C program does with hiredis, the client library that most others are measured by:
// commands, pipelines, binary and big values, errors, over TCP and a Unix socket.
//
//     gyre-hiredis-test tcp HOST PORT | unix PATH
//
// Prints "fine" and exits with 0; or prints what was wrong and exits with 1. It empties the
// database.
#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define PIPELINE  10000
#define BIG_BYTES (32u << 20)
#define TIMEOUT_S 60

static _Noreturn void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    exit(1);
}

// --- expectations --------------------------------------------------------------------------------

static void expect_type(redisContext *c, const redisReply *r, int type, const char *what)
{
    if (!r) fail("%s: no reply: %s", what, c->errstr);
    if (r->type != type)
        fail("%s: type %d, not %d: %.200s", what, r->type, type, r->str ? r->str : "");
}

static void expect_bytes(redisContext *c, redisReply *r, int type, const char *bytes, size_t len,
                         const char *what)
{
    expect_type(c, r, type, what);
    if (r->len != len || memcmp(r->str, bytes, len) != 0)
        fail("%s: got %zu bytes \"%.100s\", want %zu bytes \"%.100s\"", what, r->len, r->str, len,
             bytes);
    freeReplyObject(r);
}

static void expect_text(redisContext *c, redisReply *r, int type, const char *text,
                        const char *what)
{
    expect_bytes(c, r, type, text, strlen(text), what);
}

static void expect_integer(redisContext *c, redisReply *r, long long value, const char *what)
{
    expect_type(c, r, REDIS_REPLY_INTEGER, what);
    if (r->integer != value) fail("%s: %lld, not %lld", what, r->integer, value);
    freeReplyObject(r);
}

static void expect_nil(redisContext *c, redisReply *r, const char *what)
{
    expect_type(c, r, REDIS_REPLY_NIL, what);
    freeReplyObject(r);
}

static redisReply *next_reply(redisContext *c, const char *what)
{
    void *r = NULL;
    if (redisGetReply(c, &r) != REDIS_OK) fail("%s: %s", what, c->errstr);
    return r;
}

// --- tests ---------------------------------------------------------------------------------------

static void test_plain(redisContext *c)
{
    expect_text(c, redisCommand(c, "PING"), REDIS_REPLY_STATUS, "PONG", "PING");
    expect_text(c, redisCommand(c, "FLUSHALL"), REDIS_REPLY_STATUS, "OK", "FLUSHALL");
    expect_text(c, redisCommand(c, "SET %s %s", "key", "a value"), REDIS_REPLY_STATUS, "OK", "SET");
    expect_text(c, redisCommand(c, "GET key"), REDIS_REPLY_STRING, "a value", "GET");
    expect_nil(c, redisCommand(c, "GET none"), "GET of a missing key");
    expect_integer(c, redisCommand(c, "INCRBY n %d", 41), 41, "INCRBY");
    expect_integer(c, redisCommand(c, "INCR n"), 42, "INCR");
    expect_text(c, redisCommand(c, "SET key other GET"), REDIS_REPLY_STRING, "a value", "SET GET");
    expect_nil(c, redisCommand(c, "SET key third NX"), "SET NX");
    expect_integer(c, redisCommand(c, "DEL key n none"), 2, "DEL");
    expect_integer(c, redisCommand(c, "DBSIZE"), 0, "DBSIZE");
}

static void test_many_keys(redisContext *c)
{
    expect_text(c, redisCommand(c, "MSET a 1 b 2 c 3 d 4"), REDIS_REPLY_STATUS, "OK", "MSET");
    redisReply *r = redisCommand(c, "MGET d none b a c");
    expect_type(c, r, REDIS_REPLY_ARRAY, "MGET");
    const char *want[] = {"4", NULL, "2", "1", "3"};
    if (r->elements != 5) fail("MGET: %zu elements", r->elements);
    for (int i = 0; i < 5; i++) {
        const redisReply *e = r->element[i];
        expect_type(c, e, want[i] ? REDIS_REPLY_STRING : REDIS_REPLY_NIL, "an element of MGET");
        if (want[i] && strcmp(e->str, want[i]) != 0) fail("MGET: element %d is %s", i, e->str);
    }
    freeReplyObject(r);
    expect_text(c, redisCommand(c, "RENAME a z"), REDIS_REPLY_STATUS, "OK", "RENAME");
    expect_text(c, redisCommand(c, "GET z"), REDIS_REPLY_STRING, "1", "GET of the new name");
    expect_integer(c, redisCommand(c, "EXISTS a b c d z"), 4, "EXISTS");
}

static void test_errors(redisContext *c)
{
    expect_text(c, redisCommand(c, "NOSUCH a b"), REDIS_REPLY_ERROR,
                "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ", "NOSUCH");
    expect_text(c, redisCommand(c, "GET"), REDIS_REPLY_ERROR,
                "ERR wrong number of arguments for 'get' command", "GET without a key");
    expect_text(c, redisCommand(c, "SET k v NONSENSE"), REDIS_REPLY_ERROR, "ERR syntax error",
                "SET with nonsense");
    expect_text(c, redisCommand(c, "SET text %s", "abc"), REDIS_REPLY_STATUS, "OK", "SET");
    expect_text(c, redisCommand(c, "INCR text"), REDIS_REPLY_ERROR,
                "ERR value is not an integer or out of range", "INCR of a text");
    expect_text(c, redisCommand(c, "PING"), REDIS_REPLY_STATUS, "PONG", "PING behind errors");
}

static void test_binary(redisContext *c)
{
    char every[256], key[] = "k\0\r\n$";
    size_t key_len = sizeof key - 1;
    for (int i = 0; i < 256; i++) every[i] = (char)i;
    for (size_t len = 0; len <= sizeof every; len += 16) {
        expect_text(c, redisCommand(c, "SET %b %b", key, key_len, every, len), REDIS_REPLY_STATUS,
                    "OK", "SET of any bytes");
        expect_bytes(c, redisCommand(c, "GET %b", key, key_len), REDIS_REPLY_STRING, every, len,
                     "GET of any bytes");
    }
    expect_nil(c, redisCommand(c, "GET k"), "GET of the key up to its NUL");
    const char *argv[] = {"APPEND", key, "\0\0"};
    const size_t lens[] = {6, key_len, 2};
    expect_integer(c, redisCommandArgv(c, 3, argv, lens), 258, "APPEND through argv");
}

// Thousands of commands are sent before the first reply is read.
static void test_pipeline(redisContext *c)
{
    for (int i = 0; i < PIPELINE; i++) {
        switch (i % 5) {
        case 0: redisAppendCommand(c, "SET p:%d value:%d", i, i); break;
        case 1: redisAppendCommand(c, "GET p:%d", i - 1); break;
        case 2: redisAppendCommand(c, "INCR counter"); break;
        case 3: redisAppendCommand(c, "MGET p:%d none:%d", i - 3, i); break;
        default: redisAppendCommand(c, "NOSUCH"); break;
        }
    }
    for (int i = 0; i < PIPELINE; i++) {
        char want[32], what[32];
        redisReply *r = next_reply(c, "pipeline");
        snprintf(what, sizeof what, "pipeline, reply %d", i);
        snprintf(want, sizeof want, "value:%d", i - i % 5);
        switch (i % 5) {
        case 0: expect_text(c, r, REDIS_REPLY_STATUS, "OK", what); break;
        case 1: expect_text(c, r, REDIS_REPLY_STRING, want, what); break;
        case 2: expect_integer(c, r, i / 5 + 1, what); break;
        case 3:
            expect_type(c, r, REDIS_REPLY_ARRAY, what);
            if (r->elements != 2 || r->element[1]->type != REDIS_REPLY_NIL ||
                r->element[0]->type != REDIS_REPLY_STRING || strcmp(r->element[0]->str, want) != 0)
                fail("%s: not the two values", what);
            freeReplyObject(r);
            break;
        default: expect_type(c, r, REDIS_REPLY_ERROR, what); freeReplyObject(r);
        }
    }
}

static void test_big(redisContext *c)
{
    char *big = malloc(BIG_BYTES);
    if (!big) fail("no memory");
    for (size_t i = 0; i < BIG_BYTES; i++) big[i] = (char)(i * 2654435761u >> 13);
    expect_text(c, redisCommand(c, "SET big %b", big, (size_t)BIG_BYTES), REDIS_REPLY_STATUS, "OK",
                "SET of a big value");
    expect_integer(c, redisCommand(c, "STRLEN big"), BIG_BYTES, "STRLEN");
    expect_bytes(c, redisCommand(c, "GET big"), REDIS_REPLY_STRING, big, BIG_BYTES,
                 "GET of a big value");
    expect_bytes(c, redisCommand(c, "GETRANGE big 1000000 1000099"), REDIS_REPLY_STRING,
                 big + 1000000, 100, "GETRANGE");
    redisAppendCommand(c, "GET big"); // the reply is being sent while the value changes
    redisAppendCommand(c, "SETRANGE big 0 %s", "changed");
    redisAppendCommand(c, "GETRANGE big 0 6");
    expect_bytes(c, next_reply(c, "GET before SETRANGE"), REDIS_REPLY_STRING, big, BIG_BYTES,
                 "GET before SETRANGE");
    expect_integer(c, next_reply(c, "SETRANGE"), BIG_BYTES, "SETRANGE");
    expect_text(c, next_reply(c, "GETRANGE"), REDIS_REPLY_STRING, "changed", "GETRANGE");
    expect_integer(c, redisCommand(c, "DEL big"), 1, "DEL of a big value");
    free(big);
}

static void test_session(redisContext *c)
{
    expect_text(c, redisCommand(c, "CLIENT SETNAME hiredis"), REDIS_REPLY_STATUS, "OK", "SETNAME");
    expect_text(c, redisCommand(c, "SELECT 3"), REDIS_REPLY_STATUS, "OK", "SELECT");
    expect_text(c, redisCommand(c, "SET only here"), REDIS_REPLY_STATUS, "OK", "SET");
    expect_text(c, redisCommand(c, "CLIENT GETNAME"), REDIS_REPLY_STRING, "hiredis", "GETNAME");
    if (redisReconnect(c) != REDIS_OK) fail("redisReconnect: %s", c->errstr);
    expect_nil(c, redisCommand(c, "CLIENT GETNAME"), "GETNAME of a new connection");
    expect_nil(c, redisCommand(c, "GET only"), "GET in database 0");
    expect_text(c, redisCommand(c, "QUIT"), REDIS_REPLY_STATUS, "OK", "QUIT");
    void *r = NULL;
    if (redisGetReply(c, &r) == REDIS_OK || c->err != REDIS_ERR_EOF)
        fail("after QUIT: not closed, error %d (%s)", c->err, c->errstr);
}

int main(int argc, char **argv)
{
    struct timeval limit = {.tv_sec = TIMEOUT_S};
    redisContext *c = NULL;
    if (argc == 4 && strcmp(argv[1], "tcp") == 0)
        c = redisConnectWithTimeout(argv[2], (int)strtol(argv[3], NULL, 10), limit);
    else if (argc == 3 && strcmp(argv[1], "unix") == 0)
        c = redisConnectUnixWithTimeout(argv[2], limit);
    else
        fail("usage: %s tcp HOST PORT | unix PATH", argv[0]);
    if (!c || c->err) fail("cannot connect: %s", c ? c->errstr : "no memory");
    redisSetTimeout(c, limit);
    test_plain(c);
    test_many_keys(c);
    test_errors(c);
    test_binary(c);
    test_pipeline(c);
    test_big(c);
    test_session(c);
    redisFree(c);
    printf("fine\n");
    return 0;
}
