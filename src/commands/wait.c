// SPDX-License-Identifier: BSD-3-Clause
//
// wait: WAIT, and how the families' commands come to wait for their keys.
//
// A command that waits has two halves. Its handler tries, and if there is nothing says what it
// waits for (ctx_block). Its `serve` is called later, on behalf of the client, with one key of
// those that may have something: it looks again, takes, commits and replies as the handler would
// have done, or says that there is nothing (any more), and goes on waiting. Arguments that were
// good for the handler are good for `serve`, so it reads them again without expecting errors.
//
// WAIT counts the replicas that have got the client's writes. There are none yet, so it has to wait
// for any number but 0 until its time is up.
#include "commands/wait.h"

#include "base/mem.h"
#include "commands/families.h"

#define KEYS_ON_STACK 32 // more than clients that wait for queues by priority have

bool wait_for_keys(struct ctx *ctx, struct block_request *request, int first, int count)
{
    int few[KEYS_ON_STACK];
    int *keys = count <= KEYS_ON_STACK ? few : mem_alloc(sizeof *keys * (size_t)count);
    for (int i = 0; i < count; i++) keys[i] = first + i;
    request->keys = keys;
    request->key_count = count;
    bool is_blocked = ctx_block(ctx, request);
    request->keys = NULL;
    if (keys != few) mem_free(keys);
    return is_blocked;
}

static void wait_replicas(struct ctx *ctx)
{
    struct block_request request = {.on_timeout = TIMEOUT_ZERO};
    int64_t replicas;
    if (!ctx_arg_i64(ctx, 1, &replicas, NULL)) return;
    if (!block_arg_ms(ctx, 2, &request.timeout_ms)) return;
    if (replicas <= 0 || !ctx_block(ctx, &request))
        block_reply_timeout(ctx->reply, request.on_timeout);
}

// Only time ends it: no key is ever ready. Being there, it says that the command may wait.
static bool serve_never(struct ctx *ctx, struct slice key)
{
    (void)ctx, (void)key;
    return false;
}

// --- declarations --------------------------------------------------------------------------------

// clang-format off
const struct command commands_wait[] = {
    {.name = "wait", .handler = wait_replicas, .serve = serve_never, .arity = 3,
     .flags = CMD_NOSCRIPT, .acl = ACL_CONNECTION, .group = "generic", .since = "3.0.0",
     .complexity = "O(1)",
     .summary = "Waits until as many replicas have got the writes of this connection, or until the "
                "time is up, and returns how many have.",
     .args = "numreplicas timeout:integer",
     .tips = "request_policy:all_shards response_policy:agg_min"},

    {0},
};
// clang-format on
