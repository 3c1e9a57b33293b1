// SPDX-License-Identifier: BSD-3-Clause
//
// Seconds are read as Redis reads them: whatever strtold reads, a fraction of a millisecond
// counting as a whole one, so that nothing but 0 means for ever. A time that no clock will reach is
// refused, as Redis has done since 7.2 (7.0 calls some of them negative and overflows with others).
#include "engine/block_arg.h"

#include <math.h>

#include "base/num.h"

static bool fail(struct ctx *ctx, const char *error)
{
    reply_error(ctx->reply, error);
    return false;
}

static bool check_range(struct ctx *ctx, int64_t timeout_ms)
{
    if (timeout_ms < 0) return fail(ctx, ERR_TIMEOUT_NEG);
    return timeout_ms <= INT64_MAX - ctx->now_ms || fail(ctx, ERR_TIMEOUT_RANGE);
}

bool block_arg_seconds(struct ctx *ctx, int arg, int64_t *timeout_ms)
{
    long double seconds;
    int64_t whole;
    if (num_parse_i64(ctx->argv[arg], &whole) && whole > -1000000000 && whole < 1000000000) {
        *timeout_ms = whole * 1000; // what nearly everybody sends
        return check_range(ctx, *timeout_ms);
    }
    if (!num_parse_long_double(ctx->argv[arg], &seconds))
        return fail(ctx, "ERR timeout is not a float or out of range");
    long double ms = ceill(seconds * 1000);
    if (ms < 0) return fail(ctx, ERR_TIMEOUT_NEG);
    if (ms >= (long double)INT64_MAX) return fail(ctx, ERR_TIMEOUT_RANGE);
    *timeout_ms = (int64_t)ms;
    return check_range(ctx, *timeout_ms);
}

bool block_arg_ms(struct ctx *ctx, int arg, int64_t *timeout_ms)
{
    return ctx_arg_i64(ctx, arg, timeout_ms, "ERR timeout is not an integer or out of range") &&
           check_range(ctx, *timeout_ms);
}

void block_reply_timeout(struct reply *reply, enum block_timeout on_timeout)
{
    switch (on_timeout) {
    case TIMEOUT_NULL_ARRAY: reply_null_array(reply); break;
    case TIMEOUT_NULL: reply_null(reply); break;
    case TIMEOUT_ZERO: reply_int(reply, 0); break;
    }
}
