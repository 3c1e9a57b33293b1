// SPDX-License-Identifier: BSD-3-Clause
//
// zset_block: the commands that wait for a member of a sorted set: BZPOPMIN, BZPOPMAX, BZMPOP. How
// a command waits: wait.c.
//
// Unlike ZPOPMIN, BZPOPMIN takes one member and replies it in a row with its key and score, in
// RESP3 too; BZMPOP replies as ZMPOP does.
#include "commands/families.h"
#include "commands/wait.h"
#include "commands/zset.h"

// The sorted set at the key that is ready, if it is still there.
static struct entry *ready_zset(struct ctx *ctx, struct slice key)
{
    struct entry *e = ctx_write(ctx, key);
    return e && e->type == TYPE_ZSET ? e : NULL;
}

static void pop(struct ctx *ctx, bool is_max)
{
    struct block_request request = {.type = TYPE_ZSET, .on_timeout = TIMEOUT_NULL_ARRAY};
    int keys = ctx->argc - 2;
    if (!block_arg_seconds(ctx, ctx->argc - 1, &request.timeout_ms)) return;
    if (zset_pop_first(ctx, 1, keys, is_max, 1, true)) return;
    if (!wait_for_keys(ctx, &request, 1, keys)) reply_null_array(ctx->reply);
}

static bool serve_pop(struct ctx *ctx, struct slice key, bool is_max)
{
    struct entry *e = ready_zset(ctx, key);
    if (e) zset_pop_with_key(ctx, key, e, is_max, 1, true);
    return e != NULL;
}

static void bzpopmin(struct ctx *ctx)
{
    pop(ctx, false);
}

static bool serve_bzpopmin(struct ctx *ctx, struct slice key)
{
    return serve_pop(ctx, key, false);
}

static void bzpopmax(struct ctx *ctx)
{
    pop(ctx, true);
}

static bool serve_bzpopmax(struct ctx *ctx, struct slice key)
{
    return serve_pop(ctx, key, true);
}

static void bzmpop(struct ctx *ctx)
{
    struct block_request request = {.type = TYPE_ZSET, .on_timeout = TIMEOUT_NULL_ARRAY};
    struct zset_pop_options o;
    if (!zset_pop_options(ctx, 2, &o) || !block_arg_seconds(ctx, 1, &request.timeout_ms)) return;
    if (zset_pop_first(ctx, o.first_key, o.keys, o.is_max, o.count, false)) return;
    if (!wait_for_keys(ctx, &request, o.first_key, o.keys)) reply_null_array(ctx->reply);
}

static bool serve_bzmpop(struct ctx *ctx, struct slice key)
{
    struct zset_pop_options o;
    struct entry *e = ready_zset(ctx, key);
    if (!e || !zset_pop_options(ctx, 2, &o)) return false;
    zset_pop_with_key(ctx, key, e, o.is_max, o.count, false);
    return true;
}

// --- declarations --------------------------------------------------------------------------------

#define SECONDS_HISTORY "6.0.0: The timeout is a double and may have a fraction."

// clang-format off
const struct command commands_zset_block[] = {
    {.name = "bzpopmin", .handler = bzpopmin, .serve = serve_bzpopmin, .arity = -3,
     .flags = CMD_WRITE | CMD_NOSCRIPT | CMD_BLOCKING | CMD_FAST,
     .acl = ACL_SORTEDSET | ACL_BLOCKING,
     .keys = {KEYS(1, -2, 1, KEY_RW | KEY_ACCESS | KEY_DELETE)}, .group = "sorted-set",
     .since = "5.0.0", .complexity = "O(log N) with N the number of members",
     .summary = "Removes the member with the lowest score from the first sorted set that exists "
                "and returns it with its key and score. Waits for one if there is none.",
     .args = "key... timeout:double", .history = SECONDS_HISTORY},

    {.name = "bzpopmax", .handler = bzpopmax, .serve = serve_bzpopmax, .arity = -3,
     .flags = CMD_WRITE | CMD_NOSCRIPT | CMD_BLOCKING | CMD_FAST,
     .acl = ACL_SORTEDSET | ACL_BLOCKING,
     .keys = {KEYS(1, -2, 1, KEY_RW | KEY_ACCESS | KEY_DELETE)}, .group = "sorted-set",
     .since = "5.0.0", .complexity = "O(log N) with N the number of members",
     .summary = "Removes the member with the highest score from the first sorted set that exists "
                "and returns it with its key and score. Waits for one if there is none.",
     .args = "key... timeout:double", .history = SECONDS_HISTORY},

    {.name = "bzmpop", .handler = bzmpop, .serve = serve_bzmpop, .arity = -5,
     .flags = CMD_WRITE | CMD_BLOCKING | CMD_MOVABLE_KEYS, .acl = ACL_SORTEDSET | ACL_BLOCKING,
     .keys = {{.flags = KEY_RW | KEY_ACCESS | KEY_DELETE, .begin = 2, .is_keynum = true,
               .first = 1, .step = 1}},
     .group = "sorted-set", .since = "7.0.0",
     .complexity = "O(K + M log N) with K the number of keys, N of members and M of those popped",
     .summary = "Removes the members with the lowest or highest scores from the first sorted set "
                "that exists, and returns them with its key. Waits for one if there is none.",
     .args = "timeout:double numkeys key... <MIN | MAX> [COUNT count]"},

    {0},
};
// clang-format on
