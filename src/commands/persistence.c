// SPDX-License-Identifier: BSD-3-Clause
//
// persistence: SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE. The work is the host's (server/persistence.h);
// without one (the embedded engine) there is nothing that could save.
#include "commands/families.h"
#include "engine/engine.h"
#include "engine/host.h"

#define ERR_NO_DISK "ERR this server keeps its data in memory only"

static const struct host *host_of(struct ctx *ctx)
{
    const struct host *host = ctx->engine->host;
    if (host && host->save) return host;
    reply_error(ctx->reply, ERR_NO_DISK);
    return NULL;
}

static void save(struct ctx *ctx)
{
    char error[600];
    const struct host *host = host_of(ctx);
    if (!host) return;
    if (host->save(ctx, error, sizeof error))
        reply_ok(ctx->reply);
    else
        reply_error(ctx->reply, error);
}

static void bgsave(struct ctx *ctx)
{
    bool may_schedule = ctx->argc == 2 && ctx_arg_is(ctx, 1, "schedule");
    if (ctx->argc > 1 && !may_schedule) {
        reply_error(ctx->reply, ERR_SYNTAX);
        return;
    }
    const struct host *host = host_of(ctx);
    if (!host) return;
    switch (host->begin_snapshot(ctx, may_schedule)) {
    case SAVE_STARTED: reply_simple(ctx->reply, "Background saving started"); break;
    case SAVE_SCHEDULED: reply_simple(ctx->reply, "Background saving scheduled"); break;
    case SAVE_IS_SAVING: reply_error(ctx->reply, "ERR Background save already in progress"); break;
    case SAVE_IS_REWRITING:
        reply_error(ctx->reply,
                    "ERR Another child process is active (AOF?): can't BGSAVE right now. Use "
                    "BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.");
        break;
    }
}

static void bgrewriteaof(struct ctx *ctx)
{
    const struct host *host = host_of(ctx);
    if (!host) return;
    switch (host->begin_rewrite(ctx)) {
    case SAVE_STARTED:
        reply_simple(ctx->reply, "Background append only file rewriting started");
        break;
    case SAVE_SCHEDULED:
        reply_simple(ctx->reply, "Background append only file rewriting scheduled");
        break;
    case SAVE_IS_SAVING:
    case SAVE_IS_REWRITING:
        reply_error(ctx->reply, "ERR Background append only file rewriting already in progress");
        break;
    }
}

static void lastsave(struct ctx *ctx)
{
    struct persistence_info info;
    const struct host *host = host_of(ctx);
    if (!host) return;
    host->persistence(ctx, &info);
    reply_int(ctx->reply, info.last_save_s);
}

const struct command commands_persistence[] = {
    {.name = "save",
     .handler = save,
     .arity = 1,
     .span = SPAN_MEET_ALL,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_ASYNC_LOADING | CMD_NO_MULTI,
     .group = "server",
     .since = "1.0.0",
     .complexity = "O(N) where N is the total number of keys in all databases",
     .summary = "Saves a snapshot, and answers when it is on the disk."},
    {.name = "bgsave",
     .handler = bgsave,
     .arity = -1,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_ASYNC_LOADING,
     .group = "server",
     .since = "1.0.0",
     .complexity = "O(1)",
     .args = "[SCHEDULE]",
     .history = "3.2.2: Added the `SCHEDULE` option.",
     .summary = "Begins a snapshot."},
    {.name = "bgrewriteaof",
     .handler = bgrewriteaof,
     .arity = 1,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_ASYNC_LOADING,
     .group = "server",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Begins to replace the append-only log by a shorter one."},
    {.name = "lastsave",
     .handler = lastsave,
     .arity = 1,
     .acl = ACL_ADMIN | ACL_DANGEROUS,
     .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
     .group = "server",
     .since = "1.0.0",
     .complexity = "O(1)",
     .tips = "nondeterministic_output",
     .summary = "Returns when the last snapshot succeeded."},
    {0},
};
