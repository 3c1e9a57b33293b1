// SPDX-License-Identifier: BSD-3-Clause
//
// object: OBJECT, which looks behind a value. None of its look-ups counts as use of the key.
//
// REFCOUNT is part of the protocol only by accident, but clients see it: Redis keeps one shared
// object each for the integers below 10000 and says INT_MAX for them. There are none here; the
// answer is kept.
#include <limits.h>

#include "commands/families.h"
#include "engine/ctx.h"
#include "engine/settings.h"

#define REDIS_SHARED_INTEGERS 10000

#define POLICY_ADVICE                                                                              \
    "Please note that when switching between policies at runtime LRU and LFU data will take some " \
    "time to adjust."

// The entry of the key, or NULL: null has been replied. A miss is counted, but no keyspace event.
static const struct entry *look(struct ctx *ctx)
{
    struct keyspace_stats *stats = &ctx->space->stats;
    const struct entry *e = ctx_peek(ctx, ctx->argv[2]);
    stat_add(e ? &stats->hits : &stats->misses, 1);
    if (!e) reply_null(ctx->reply);
    return e;
}

static bool is_lfu(const struct ctx *ctx)
{
    int64_t policy = ctx->settings->maxmemory_policy;
    return policy == POLICY_ALLKEYS_LFU || policy == POLICY_VOLATILE_LFU;
}

static void encoding(struct ctx *ctx)
{
    const struct entry *e = look(ctx);
    if (e) reply_bulk_text(ctx->reply, object_encoding_name(entry_encoding(e)));
}

static void freq(struct ctx *ctx)
{
    const struct entry *e = look(ctx);
    if (!e) return;
    if (is_lfu(ctx))
        reply_int(ctx->reply, lfu_decayed(e, ctx->now_ms, ctx->settings->lfu_decay_time));
    else
        reply_error(ctx->reply, "ERR An LFU maxmemory policy is not selected, access frequency not "
                                "tracked. " POLICY_ADVICE);
}

static void idletime(struct ctx *ctx)
{
    const struct entry *e = look(ctx);
    if (!e) return;
    if (!is_lfu(ctx))
        reply_int(ctx->reply, (int64_t)entry_idle_seconds(e, ctx->now_ms));
    else
        reply_error(
            ctx->reply,
            "ERR An LFU maxmemory policy is selected, idle time not tracked. " POLICY_ADVICE);
}

static void refcount(struct ctx *ctx)
{
    const struct entry *e = look(ctx);
    if (!e) return;
    bool is_shared = e->type == TYPE_STRING && e->encoding == ENC_INT && e->integer >= 0 &&
                     e->integer < REDIS_SHARED_INTEGERS;
    reply_int(ctx->reply, is_shared ? INT_MAX : 1);
}

static void help(struct ctx *ctx)
{
    static const char *const lines[] = {
        "ENCODING <key>",
        "    Name the way in which the value at <key> is stored.",
        "FREQ <key>",
        "    Show how often <key> is used, on a logarithmic scale from 0 to 255. Needs an",
        "    LFU maxmemory-policy.",
        "IDLETIME <key>",
        "    Show for how many seconds <key> has not been used.",
        "REFCOUNT <key>",
        "    Show how many references the value at <key> has.",
        NULL,
    };
    ctx_reply_help(ctx, lines);
}

// clang-format off
static const struct command subcommands[] = {
    {.name = "encoding", .handler = encoding, .arity = 3, .flags = CMD_READONLY,
     .acl = ACL_KEYSPACE, .keys = {KEYS(2, 2, 1, KEY_RO)}, .group = "generic", .since = "2.2.3",
     .complexity = "O(1)", .summary = "Returns the name of the encoding that a value is stored in.",
     .args = "key", .tips = "nondeterministic_output"},

    {.name = "freq", .handler = freq, .arity = 3, .flags = CMD_READONLY, .acl = ACL_KEYSPACE,
     .keys = {KEYS(2, 2, 1, KEY_RO)}, .group = "generic", .since = "4.0.0", .complexity = "O(1)",
     .summary = "Returns how often a key is used, on a logarithmic scale.", .args = "key",
     .tips = "nondeterministic_output"},

    {.name = "idletime", .handler = idletime, .arity = 3, .flags = CMD_READONLY,
     .acl = ACL_KEYSPACE, .keys = {KEYS(2, 2, 1, KEY_RO)}, .group = "generic", .since = "2.2.3",
     .complexity = "O(1)", .summary = "Returns the seconds since a key was last used.",
     .args = "key", .tips = "nondeterministic_output"},

    {.name = "refcount", .handler = refcount, .arity = 3, .flags = CMD_READONLY,
     .acl = ACL_KEYSPACE, .keys = {KEYS(2, 2, 1, KEY_RO)}, .group = "generic", .since = "2.2.3",
     .complexity = "O(1)", .summary = "Returns the number of references to a value.",
     .args = "key", .tips = "nondeterministic_output"},

    {.name = "help", .handler = help, .arity = 2, .flags = CMD_LOADING | CMD_STALE,
     .acl = ACL_KEYSPACE, .group = "generic", .since = "6.2.0", .complexity = "O(1)",
     .summary = "Lists the subcommands of OBJECT."},

    {0},
};

const struct command commands_object[] = {
    {.name = "object", .arity = -2, .subcommands = subcommands, .group = "generic",
     .since = "2.2.3", .complexity = "Depends on the subcommand",
     .summary = "Holds the commands that look behind a value."},

    {0},
};
// clang-format on
