// SPDX-License-Identifier: BSD-3-Clause
//
// transaction: MULTI, EXEC, DISCARD, WATCH and UNWATCH. Queueing happens where requests are read
// (server/transaction.c), and how the queued commands run is the shard layer's business
// (shard/fanout.h), so of the handlers here only WATCH does anything.
#include "commands/families.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/interest.h"

// MULTI, DISCARD and UNWATCH have done what they do when they were read.
static void done(struct ctx *ctx)
{
    reply_ok(ctx->reply);
}

// The embedded engine, which reads no requests, has no transactions.
static void exec(struct ctx *ctx)
{
    reply_error(ctx->reply, "ERR EXEC without MULTI");
}

static void watch(struct ctx *ctx)
{
    struct watch *w = ctx->session->watch;
    for (int i = 1; i < ctx->argc && w; i++) {
        ctx_peek(ctx, ctx->argv[i]); // what has expired by now does not count as changed later
        watch_add(w, ctx_db_of(ctx, ctx->db, ctx->argv[i])->space, ctx->db, ctx->argv[i]);
    }
    reply_ok(ctx->reply);
}

// --- declarations --------------------------------------------------------------------------------

#define ANYWHERE (CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_ALLOW_BUSY)

// clang-format off
const struct command commands_transaction[] = {
    {.name = "multi", .handler = done, .transaction = TRANSACTION_MULTI, .arity = 1,
     .flags = ANYWHERE | CMD_FAST, .acl = ACL_TRANSACTION, .group = "transactions",
     .since = "1.2.0", .complexity = "O(1)",
     .summary = "Begins a transaction: the commands that follow are queued until EXEC."},

    {.name = "exec", .handler = exec, .transaction = TRANSACTION_EXEC, .arity = 1,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_SKIP_SLOWLOG, .acl = ACL_TRANSACTION,
     .group = "transactions", .since = "1.2.0",
     .complexity = "That of the commands that were queued",
     .summary = "Runs all commands of the transaction, unless a watched key has changed."},

    {.name = "discard", .handler = done, .transaction = TRANSACTION_DISCARD, .arity = 1,
     .flags = ANYWHERE | CMD_FAST, .acl = ACL_TRANSACTION, .group = "transactions",
     .since = "2.0.0", .complexity = "O(N) with N the number of queued commands",
     .summary = "Drops the transaction and what is watched."},

    {.name = "watch", .handler = watch, .transaction = TRANSACTION_WATCH, .arity = -2,
     .flags = ANYWHERE | CMD_FAST, .acl = ACL_TRANSACTION, .span = SPAN_ALL_OK,
     .keys = {KEYS(1, -1, 1, KEY_RO)}, .group = "transactions", .since = "2.2.0",
     .complexity = "O(1) for every key",
     .summary = "Has the next EXEC refuse if one of these keys changes before it.",
     .args = "key ..."},

    {.name = "unwatch", .handler = done, .transaction = TRANSACTION_UNWATCH, .arity = 1,
     .flags = ANYWHERE | CMD_FAST, .acl = ACL_TRANSACTION, .group = "transactions",
     .since = "2.2.0", .complexity = "O(1)",
     .summary = "Forgets all watched keys of the connection."},

    {.name = NULL},
};
// clang-format on
