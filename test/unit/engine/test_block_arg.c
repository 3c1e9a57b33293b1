// SPDX-License-Identifier: BSD-3-Clause
//
// How timeouts are read, to the millisecond and at the edges, and what their end replies.
#include "engine/block_arg.h"

#include <criterion/criterion.h>

#include "base/mem.h"

#define NOW INT64_C(1700000000000)

#define NOT_FLOAT   "-ERR timeout is not a float or out of range\r\n"
#define NOT_INTEGER "-ERR timeout is not an integer or out of range\r\n"
#define RANGE       "-ERR timeout is out of range\r\n"
#define NEGATIVE    "-ERR timeout is negative\r\n"

typedef bool (*reader)(struct ctx *ctx, int arg, int64_t *timeout_ms);

// What `read` makes of the text: the time as text, or the error.
static void expect(reader read, const char *text, const char *want)
{
    struct reply reply;
    struct slice argv[] = {SLICE("cmd"), {text, strlen(text)}};
    struct ctx ctx = {.argv = argv, .argc = 2, .now_ms = NOW, .reply = &reply};
    int64_t ms = -1;
    size_t len;
    reply_init(&reply, 2);
    if (read(&ctx, 1, &ms)) {
        cr_assert_eq(reply_bytes(&reply), 0);
        reply_int(&reply, ms);
    }
    char *got = reply_flatten(&reply, &len);
    cr_assert(len == strlen(want) && memcmp(got, want, len) == 0, "'%s': got %.*s, want %s", text,
              (int)len, got, want);
    mem_free(got);
    reply_free(&reply);
}

Test(block_arg, seconds_may_have_fractions_and_count_up)
{
    expect(block_arg_seconds, "0", ":0\r\n");
    expect(block_arg_seconds, "5", ":5000\r\n");
    expect(block_arg_seconds, "0.001", ":1\r\n");
    expect(block_arg_seconds, "0.0001", ":1\r\n");
    expect(block_arg_seconds, "1e-400", ":1\r\n");
    expect(block_arg_seconds, "1.0005", ":1001\r\n");
    expect(block_arg_seconds, ".5", ":500\r\n");
    expect(block_arg_seconds, "+2.", ":2000\r\n");
    expect(block_arg_seconds, "0x10", ":16000\r\n");
    expect(block_arg_seconds, "999999999", ":999999999000\r\n");
    expect(block_arg_seconds, "1000000000", ":1000000000000\r\n");
}

Test(block_arg, less_than_nothing_is_negative_once_it_is_a_millisecond)
{
    expect(block_arg_seconds, "-0", ":0\r\n");
    expect(block_arg_seconds, "-0.0001", ":0\r\n");
    expect(block_arg_seconds, "-0.0011", NEGATIVE);
    expect(block_arg_seconds, "-1", NEGATIVE);
    expect(block_arg_seconds, "-1e30", NEGATIVE);
    expect(block_arg_seconds, "-inf", NEGATIVE);
    expect(block_arg_ms, "-1", NEGATIVE);
    expect(block_arg_ms, "-9223372036854775808", NEGATIVE);
}

Test(block_arg, what_no_clock_reaches_is_out_of_range)
{
    expect(block_arg_seconds, "inf", RANGE);
    expect(block_arg_seconds, "9223372036854775807", RANGE);
    expect(block_arg_seconds, "9223372036854775.7", RANGE);
    expect(block_arg_seconds, "9223370336854775.807", ":9223370336854775807\r\n");
    expect(block_arg_seconds, "9223370336854775.808", RANGE);
    expect(block_arg_ms, "9223372036854775807", RANGE);
    expect(block_arg_ms, "9223370336854775807", ":9223370336854775807\r\n");
    expect(block_arg_ms, "9223370336854775808", RANGE);
}

Test(block_arg, what_is_no_number_is_said_to_be_none)
{
    const char *const bad[] = {"", " 1", "1 ", "x", "1s", "nan", "1,5", "1e-5000"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        expect(block_arg_seconds, bad[i], NOT_FLOAT);
        expect(block_arg_ms, bad[i], NOT_INTEGER);
    }
    expect(block_arg_ms, "1.5", NOT_INTEGER);
    expect(block_arg_ms, "99999999999999999999", NOT_INTEGER);
    expect(block_arg_ms, "250", ":250\r\n");
}

static void expect_timeout(enum block_timeout on_timeout, uint8_t resp, const char *want)
{
    struct reply reply;
    size_t len;
    reply_init(&reply, resp);
    block_reply_timeout(&reply, on_timeout);
    char *got = reply_flatten(&reply, &len);
    cr_assert(len == strlen(want) && memcmp(got, want, len) == 0);
    mem_free(got);
    reply_free(&reply);
}

Test(block_arg, timeouts_reply_nulls_or_nothing_reached)
{
    expect_timeout(TIMEOUT_NULL_ARRAY, 2, "*-1\r\n");
    expect_timeout(TIMEOUT_NULL, 2, "$-1\r\n");
    expect_timeout(TIMEOUT_ZERO, 2, ":0\r\n");
    expect_timeout(TIMEOUT_NULL_ARRAY, 3, "_\r\n");
    expect_timeout(TIMEOUT_NULL, 3, "_\r\n");
    expect_timeout(TIMEOUT_ZERO, 3, ":0\r\n");
}
