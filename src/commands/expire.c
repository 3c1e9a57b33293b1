// SPDX-License-Identifier: BSD-3-Clause
//
// expire: when keys die. All times are kept as Unix milliseconds; the commands differ in unit, in
// base (now or 1970) and in nothing else. A key that is given a time which is not in the future is
// deleted at once, as DEL would do it. Any other lives to the end of that millisecond, as in Redis,
// and is then removed by whoever looks at it next, or by the shard's housekeeping.
//
// In comparisons (GT, LT) a key without an expiry counts as one that never dies.
#include "base/assert.h"
#include "commands/families.h"
#include "engine/ctx.h"
#include "engine/effect.h"

enum condition { IF_NONE = 1u << 0, IF_ANY = 1u << 1, IF_GREATER = 1u << 2, IF_LESS = 1u << 3 };

static bool parse_condition(struct ctx *ctx, unsigned *out)
{
    static const char *const words[] = {"NX", "XX", "GT", "LT"}; // in the order of enum condition
    *out = 0;
    for (int i = 3; i < ctx->argc; i++) {
        unsigned w = 0;
        while (w < ARRAY_LEN(words) && !ctx_arg_is(ctx, i, words[w])) w++;
        if (w == ARRAY_LEN(words)) {
            reply_errorf(ctx->reply, "ERR Unsupported option %.*s", SLICE_ARG(ctx->argv[i]));
            return false;
        }
        *out |= 1u << w;
    }
    if ((*out & IF_NONE) && (*out & ~IF_NONE)) {
        reply_error(ctx->reply,
                    "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((*out & IF_GREATER) && (*out & IF_LESS)) {
        reply_error(ctx->reply, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

static bool condition_holds(unsigned condition, int64_t present_ms, int64_t at_ms)
{
    bool has_ttl = present_ms != EXPIRE_NONE;
    if ((condition & IF_NONE) && has_ttl) return false;
    if ((condition & IF_ANY) && !has_ttl) return false;
    if ((condition & IF_GREATER) && (!has_ttl || at_ms <= present_ms)) return false;
    if ((condition & IF_LESS) && has_ttl && at_ms >= present_ms) return false;
    return true;
}

// Argument 2 as Unix ms. Times in the past are fine, overflows are not.
static bool parse_time(struct ctx *ctx, int64_t base_ms, int64_t unit_ms, int64_t *at_ms)
{
    int64_t t;
    if (!ctx_arg_i64(ctx, 2, &t, NULL)) return false;
    if (!__builtin_mul_overflow(t, unit_ms, &t) && !__builtin_add_overflow(t, base_ms, at_ms))
        return true;
    reply_errorf(ctx->reply, "ERR invalid expire time in '%s' command", ctx->cmd->full_name);
    return false;
}

static void expire_at(struct ctx *ctx, int64_t base_ms, int64_t unit_ms)
{
    struct slice key = ctx->argv[1];
    unsigned condition = 0;
    int64_t at_ms;
    if (UNLIKELY(ctx->argc > 3) && !parse_condition(ctx, &condition)) return;
    if (!parse_time(ctx, base_ms, unit_ms, &at_ms)) return;
    struct entry *e = ctx_write(ctx, key);
    if (!e || (condition && !condition_holds(condition, entry_expire_at(e), at_ms))) {
        reply_int(ctx->reply, 0);
        return;
    }
    if (at_ms <= ctx->now_ms && !(ctx->flags & CTX_REPLAY)) {
        ctx_delete(ctx, key, e);
        effect_say_key(ctx, "DEL", key);
        ctx_commit(ctx, key, EVENT_GENERIC, "del");
    } else {
        ctx_set_expire(ctx, key, e, at_ms);
        effect_say_number(ctx, "PEXPIREAT", key, at_ms);
        ctx_commit(ctx, key, EVENT_GENERIC, "expire");
    }
    reply_int(ctx->reply, 1);
}

static void expire(struct ctx *ctx)
{
    expire_at(ctx, ctx->now_ms, 1000);
}

static void pexpire(struct ctx *ctx)
{
    expire_at(ctx, ctx->now_ms, 1);
}

static void expireat(struct ctx *ctx)
{
    expire_at(ctx, 0, 1000);
}

static void pexpireat(struct ctx *ctx)
{
    expire_at(ctx, 0, 1);
}

static void persist(struct ctx *ctx)
{
    struct slice key = ctx->argv[1];
    struct entry *e = ctx_write(ctx, key);
    bool has_ttl = e && e->has_ttl;
    if (has_ttl) {
        ctx_set_expire(ctx, key, e, EXPIRE_NONE);
        ctx_commit(ctx, key, EVENT_GENERIC, "persist");
    }
    reply_int(ctx->reply, has_ttl);
}

// --- asking --------------------------------------------------------------------------------------

// The key's expiry less `base_ms`, rounded to the nearest unit; -1: it has none, -2: no such key.
static void reply_expiry(struct ctx *ctx, int64_t base_ms, int64_t unit_ms)
{
    const struct entry *e = ctx_look(ctx, ctx->argv[1]);
    int64_t left = -2;
    if (e && !e->has_ttl) left = -1;
    if (e && e->has_ttl) {
        int64_t ms = entry_expire_at(e) - base_ms;
        // By quotient and remainder: the sum of a far-off time and half a unit may overflow.
        left = ms / unit_ms + (ms % unit_ms * 2 >= unit_ms);
    }
    reply_int(ctx->reply, left);
}

static void ttl(struct ctx *ctx)
{
    reply_expiry(ctx, ctx->now_ms, 1000);
}

static void pttl(struct ctx *ctx)
{
    reply_expiry(ctx, ctx->now_ms, 1);
}

static void expiretime(struct ctx *ctx)
{
    reply_expiry(ctx, 0, 1000);
}

static void pexpiretime(struct ctx *ctx)
{
    reply_expiry(ctx, 0, 1);
}

// --- declarations --------------------------------------------------------------------------------

#define CONDITION_HISTORY "7.0.0: Added the options `NX`, `XX`, `GT` and `LT`."
#define MISSING_HISTORY   "2.8.0: Added the reply -2."

// clang-format off
const struct command commands_expire[] = {
    {.name = "expire", .handler = expire, .arity = -3, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_KEYSPACE, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "generic",
     .since = "1.0.0", .complexity = "O(1)", .summary = "Lets a key expire after some seconds.",
     .args = "key seconds [NX | XX | GT | LT]", .history = CONDITION_HISTORY},

    {.name = "pexpire", .handler = pexpire, .arity = -3, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_KEYSPACE, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "generic",
     .since = "2.6.0", .complexity = "O(1)",
     .summary = "Lets a key expire after some milliseconds.",
     .args = "key milliseconds [NX | XX | GT | LT]", .history = CONDITION_HISTORY},

    {.name = "expireat", .handler = expireat, .arity = -3, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_KEYSPACE, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "generic",
     .since = "1.2.0", .complexity = "O(1)",
     .summary = "Lets a key expire at a Unix time in seconds.",
     .args = "key unix-time-seconds [NX | XX | GT | LT]", .history = CONDITION_HISTORY},

    {.name = "pexpireat", .handler = pexpireat, .arity = -3, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_KEYSPACE, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "generic",
     .since = "2.6.0", .complexity = "O(1)",
     .summary = "Lets a key expire at a Unix time in milliseconds.",
     .args = "key unix-time-milliseconds [NX | XX | GT | LT]", .history = CONDITION_HISTORY},

    {.name = "ttl", .handler = ttl, .arity = 2, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_KEYSPACE, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "generic",
     .since = "1.0.0", .complexity = "O(1)",
     .summary = "Returns the seconds that a key has left to live.", .args = "key",
     .history = MISSING_HISTORY, .tips = "nondeterministic_output"},

    {.name = "pttl", .handler = pttl, .arity = 2, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_KEYSPACE, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "generic",
     .since = "2.6.0", .complexity = "O(1)",
     .summary = "Returns the milliseconds that a key has left to live.", .args = "key",
     .history = MISSING_HISTORY, .tips = "nondeterministic_output"},

    {.name = "expiretime", .handler = expiretime, .arity = 2, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_KEYSPACE, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "generic",
     .since = "7.0.0", .complexity = "O(1)",
     .summary = "Returns the Unix time in seconds at which a key expires.", .args = "key"},

    {.name = "pexpiretime", .handler = pexpiretime, .arity = 2, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_KEYSPACE, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "generic",
     .since = "7.0.0", .complexity = "O(1)",
     .summary = "Returns the Unix time in milliseconds at which a key expires.", .args = "key"},

    {.name = "persist", .handler = persist, .arity = 2, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_KEYSPACE, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "generic",
     .since = "2.2.0", .complexity = "O(1)", .summary = "Removes the expiry of a key.",
     .args = "key"},

    {0},
};
// clang-format on
