// SPDX-License-Identifier: BSD-3-Clause
//
// list_block: the commands that wait for an element of a list: BLPOP and BRPOP, BLMPOP, BLMOVE and
// BRPOPLPUSH. Each does what the command without its B does (list_pop.c), first at once and, if no
// list had anything, when one of its keys has become a list (wait.c).
//
// Who waits sees no types but lists: a key that becomes something else is not his. But at once, and
// at the destination of BLMOVE, another type is an error as everywhere.
//
// Replies that differ without need, as in Redis: BLMOVE answers a null when it may not wait (in a
// transaction), and a null array when its time is up.
#include "commands/families.h"
#include "commands/list_pop.h"
#include "commands/wait.h"

// The list at the key that is ready, if it is still there.
static struct entry *ready_list(struct ctx *ctx, struct slice key)
{
    struct entry *e = ctx_write(ctx, key);
    return e && e->type == TYPE_LIST ? e : NULL;
}

// --- BLPOP, BRPOP --------------------------------------------------------------------------------

static void pop(struct ctx *ctx, bool at_head)
{
    struct block_request request = {.type = TYPE_LIST, .on_timeout = TIMEOUT_NULL_ARRAY};
    int keys = ctx->argc - 2;
    if (!block_arg_seconds(ctx, ctx->argc - 1, &request.timeout_ms)) return;
    if (list_pop_first(ctx, 1, keys, at_head, 1, true)) return;
    if (!wait_for_keys(ctx, &request, 1, keys)) reply_null_array(ctx->reply);
}

static bool serve_pop(struct ctx *ctx, struct slice key, bool at_head)
{
    struct entry *e = ready_list(ctx, key);
    if (e) list_pop_with_key(ctx, key, e, at_head, 1, true);
    return e != NULL;
}

static void blpop(struct ctx *ctx)
{
    pop(ctx, true);
}

static bool serve_blpop(struct ctx *ctx, struct slice key)
{
    return serve_pop(ctx, key, true);
}

static void brpop(struct ctx *ctx)
{
    pop(ctx, false);
}

static bool serve_brpop(struct ctx *ctx, struct slice key)
{
    return serve_pop(ctx, key, false);
}

// --- BLMPOP --------------------------------------------------------------------------------------

static void blmpop(struct ctx *ctx)
{
    struct block_request request = {.type = TYPE_LIST, .on_timeout = TIMEOUT_NULL_ARRAY};
    struct list_pop_options o;
    if (!list_pop_options(ctx, 2, &o) || !block_arg_seconds(ctx, 1, &request.timeout_ms)) return;
    if (list_pop_first(ctx, o.first_key, o.keys, o.at_head, o.count, false)) return;
    if (!wait_for_keys(ctx, &request, o.first_key, o.keys)) reply_null_array(ctx->reply);
}

static bool serve_blmpop(struct ctx *ctx, struct slice key)
{
    struct list_pop_options o;
    struct entry *e = ready_list(ctx, key);
    if (!e || !list_pop_options(ctx, 2, &o)) return false;
    list_pop_with_key(ctx, key, e, o.at_head, o.count, false);
    return true;
}

// --- BLMOVE, BRPOPLPUSH --------------------------------------------------------------------------

static void move(struct ctx *ctx, bool from_head, bool to_head)
{
    struct block_request request = {
        .type = TYPE_LIST, .on_timeout = TIMEOUT_NULL_ARRAY, .flags = BLOCK_NEEDS_ALL_KEYS};
    if (!block_arg_seconds(ctx, ctx->argc - 1, &request.timeout_ms)) return;
    if (list_pop_push(ctx, ctx->argv[1], from_head, ctx->argv[2], to_head)) return;
    if (!wait_for_keys(ctx, &request, 1, 1)) reply_null(ctx->reply);
}

static bool serve_move(struct ctx *ctx, struct slice from, bool from_head, bool to_head)
{
    return ready_list(ctx, from) && list_pop_push(ctx, from, from_head, ctx->argv[2], to_head);
}

static void blmove(struct ctx *ctx)
{
    bool from_head, to_head;
    if (list_pop_side(ctx, 3, &from_head) && list_pop_side(ctx, 4, &to_head))
        move(ctx, from_head, to_head);
}

static bool serve_blmove(struct ctx *ctx, struct slice key)
{
    bool from_head, to_head;
    return list_pop_side(ctx, 3, &from_head) && list_pop_side(ctx, 4, &to_head) &&
           serve_move(ctx, key, from_head, to_head);
}

static void brpoplpush(struct ctx *ctx)
{
    move(ctx, false, true);
}

static bool serve_brpoplpush(struct ctx *ctx, struct slice key)
{
    return serve_move(ctx, key, false, true);
}

// --- declarations --------------------------------------------------------------------------------

#define SECONDS_HISTORY "6.0.0: The timeout is a double and may have a fraction."

// clang-format off
const struct command commands_list_block[] = {
    {.name = "blpop", .handler = blpop, .serve = serve_blpop, .arity = -3,
     .flags = CMD_WRITE | CMD_NOSCRIPT | CMD_BLOCKING, .acl = ACL_LIST | ACL_BLOCKING,
     .keys = {KEYS(1, -2, 1, KEY_RW | KEY_ACCESS | KEY_DELETE)}, .group = "list",
     .since = "2.0.0", .complexity = "O(N) with N the number of keys",
     .summary = "Takes the first element of the first list that exists and returns it with its "
                "key. Waits for an element if there is no list.",
     .args = "key... timeout:double", .history = SECONDS_HISTORY},

    {.name = "brpop", .handler = brpop, .serve = serve_brpop, .arity = -3,
     .flags = CMD_WRITE | CMD_NOSCRIPT | CMD_BLOCKING, .acl = ACL_LIST | ACL_BLOCKING,
     .keys = {KEYS(1, -2, 1, KEY_RW | KEY_ACCESS | KEY_DELETE)}, .group = "list",
     .since = "2.0.0", .complexity = "O(N) with N the number of keys",
     .summary = "Takes the last element of the first list that exists and returns it with its "
                "key. Waits for an element if there is no list.",
     .args = "key... timeout:double", .history = SECONDS_HISTORY},

    {.name = "blmpop", .handler = blmpop, .serve = serve_blmpop, .arity = -5,
     .flags = CMD_WRITE | CMD_BLOCKING | CMD_MOVABLE_KEYS, .acl = ACL_LIST | ACL_BLOCKING,
     .keys = {{.flags = KEY_RW | KEY_ACCESS | KEY_DELETE, .begin = 2, .is_keynum = true,
               .keynum = 0, .first = 1, .step = 1}},
     .group = "list", .since = "7.0.0",
     .complexity = "O(N+M) with N the number of keys and M the number of elements returned",
     .summary = "Takes elements from the first of several lists that exists and returns them. "
                "Waits for an element if there is none.",
     .args = "timeout:double numkeys key... <LEFT | RIGHT> [COUNT count]"},

    {.name = "blmove", .handler = blmove, .serve = serve_blmove, .arity = 6,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_NOSCRIPT | CMD_BLOCKING,
     .acl = ACL_LIST | ACL_BLOCKING,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEYS(2, 2, 1, KEY_RW | KEY_INSERT)},
     .group = "list", .since = "6.2.0", .complexity = "O(1)",
     .summary = "Moves an element from an end of a list to an end of another and returns it. "
                "Waits for one if the first list does not exist.",
     .args = "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout:double"},

    {.name = "brpoplpush", .handler = brpoplpush, .serve = serve_brpoplpush, .arity = 4,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_NOSCRIPT | CMD_BLOCKING,
     .acl = ACL_LIST | ACL_BLOCKING,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEYS(2, 2, 1, KEY_RW | KEY_INSERT)},
     .group = "list", .since = "2.2.0", .complexity = "O(1)",
     .summary = "Moves the last element of a list to the head of another and returns it. Waits "
                "for one if the first list does not exist.",
     .args = "source destination timeout:double", .history = SECONDS_HISTORY,
     .deprecated = "6.2.0: `BLMOVE` with the `RIGHT` and `LEFT` arguments"},

    {0},
};
// clang-format on
