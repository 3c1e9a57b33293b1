// SPDX-License-Identifier: BSD-3-Clause
//
// SLOWLOG. The log is shared by all shards and guarded by its own lock (engine/slowlog.h), so that
// every command here runs at home. They are CMD_SESSION: what the connection sent before has run by
// then, on whichever shard, and is in the log if it was slow.
#include "commands/families.h"
#include "engine/ctx.h"
#include "engine/engine.h"

struct listing {
    struct reply *reply;
    size_t count;
};

static void reply_entry(const struct slowlog_entry *e, void *arg)
{
    struct listing *l = arg;
    l->count++;
    reply_array(l->reply, 6);
    reply_int(l->reply, (int64_t)e->id);
    reply_int(l->reply, e->time_s);
    reply_int(l->reply, (int64_t)e->duration_us);
    reply_array(l->reply, (size_t)e->argc);
    for (int i = 0; i < e->argc; i++)
        reply_bulk(l->reply, (struct slice){e->argv[i], e->arg_lens[i]});
    reply_bulk_text(l->reply, e->peer);
    reply_bulk_text(l->reply, e->client_name);
}

static void get(struct ctx *ctx)
{
    int64_t count = 10;
    if (ctx->argc > 3) {
        ctx_unknown_subcommand(ctx);
        return;
    }
    if (ctx->argc == 3 && !ctx_arg_range(ctx, 2, -1, INT64_MAX, &count,
                                         "ERR count should be greater than or equal to -1"))
        return;
    struct listing l = {.reply = ctx->reply};
    struct reply_mark mark = reply_open(ctx->reply);
    slowlog_each(ctx->engine->slowlog, count, reply_entry, &l);
    reply_close_array(ctx->reply, mark, l.count);
}

static void len(struct ctx *ctx)
{
    reply_int(ctx->reply, (int64_t)slowlog_len(ctx->engine->slowlog));
}

static void reset(struct ctx *ctx)
{
    slowlog_reset(ctx->engine->slowlog);
    reply_ok(ctx->reply);
}

static void help(struct ctx *ctx)
{
    static const char *const lines[] = {
        "GET [<count>]",
        "    Show the newest <count> slow commands (10 unless given, -1 for all), each as:",
        "    id, unix time, duration in microseconds, arguments, client address, client name",
        "LEN",
        "    Show how many entries the slow log holds.",
        "RESET",
        "    Empty the slow log.",
        NULL,
    };
    ctx_reply_help(ctx, lines);
}

#define ADMIN (CMD_ADMIN | CMD_LOADING | CMD_STALE | CMD_SESSION)

static const struct command subcommands[] = {
    {.name = "get",
     .handler = get,
     .arity = -2,
     .flags = ADMIN,
     .group = "server",
     .since = "2.2.12",
     .complexity = "O(N), N being the number of entries returned",
     .summary = "Returns the newest entries of the slow log.",
     .args = "[count]",
     .history = "4.0.0: Added the address and the name of the client.",
     .tips = "request_policy:all_nodes nondeterministic_output"},
    {.name = "len",
     .handler = len,
     .arity = 2,
     .flags = ADMIN,
     .group = "server",
     .since = "2.2.12",
     .complexity = "O(1)",
     .summary = "Returns how many entries the slow log holds.",
     .tips = "request_policy:all_nodes response_policy:agg_sum nondeterministic_output"},
    {.name = "reset",
     .handler = reset,
     .arity = 2,
     .flags = ADMIN,
     .group = "server",
     .since = "2.2.12",
     .complexity = "O(N), N being the number of entries",
     .summary = "Empties the slow log.",
     .tips = "request_policy:all_nodes response_policy:all_succeeded"},
    {.name = "help",
     .handler = help,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .group = "server",
     .since = "6.2.0",
     .complexity = "O(1)",
     .summary = "Describes the subcommands."},
    {0},
};

const struct command commands_slowlog[] = {
    {.name = "slowlog",
     .arity = -2,
     .subcommands = subcommands,
     .group = "server",
     .since = "2.2.12",
     .complexity = "Depends on the subcommand.",
     .summary = "Commands about the slow log."},
    {0},
};
