// SPDX-License-Identifier: BSD-3-Clause
//
// CONFIG: the settings of the server. What directives there are and how they are parsed is the
// server's business (server/config.h), reached through engine/host.h; here stand the replies.
//
// A change is published as a new snapshot of the settings, so a command that runs elsewhere
// meanwhile goes on with the old one. CONFIG runs at home and alone in its run, so that the
// commands behind it in a pipeline find what it set.
#include "commands/families.h"
#include "engine/engine.h"
#include "engine/host.h"

#define ERROR_BYTES 512 // room for the text of an error

// --- CONFIG GET pattern [pattern ...] -----------------------------------------------------------

struct listing {
    struct reply *reply;
    size_t pairs;
};

static void list_one(void *arg, struct slice name, struct slice value)
{
    struct listing *l = arg;
    reply_bulk(l->reply, name);
    reply_bulk(l->reply, value);
    l->pairs++;
}

static void get(struct ctx *ctx)
{
    struct listing l = {.reply = ctx->reply};
    struct reply_mark mark = reply_open(ctx->reply);
    ctx->engine->host->config_get(ctx, ctx->argv + 2, ctx->argc - 2, list_one, &l);
    reply_close_map(ctx->reply, mark, l.pairs);
}

// --- CONFIG SET, REWRITE ------------------------------------------------------------------------

static void set(struct ctx *ctx)
{
    char error[ERROR_BYTES];
    if (ctx->argc % 2)
        reply_error(ctx->reply, ERR_SYNTAX);
    else if (ctx->engine->host->config_set(ctx, ctx->argv + 2, ctx->argc - 2, error, sizeof error))
        reply_ok(ctx->reply);
    else
        reply_error(ctx->reply, error);
}

static void rewrite(struct ctx *ctx)
{
    char error[ERROR_BYTES];
    if (ctx->engine->host->config_rewrite(ctx, error, sizeof error))
        reply_ok(ctx->reply);
    else
        reply_error(ctx->reply, error);
}

// --- CONFIG RESETSTAT ---------------------------------------------------------------------------

static void reset_space(struct keyspace_stats *s)
{
    stat_set(&s->hits, 0);
    stat_set(&s->misses, 0);
    stat_set(&s->expired, 0);
    stat_set(&s->evicted, 0);
}

// Every shard resets its own figures.
static void resetstat(struct ctx *ctx)
{
    for (uint32_t i = 0; i < ctx->space_count; i++) {
        stats_reset(ctx->engine->stats[ctx->spaces[i]->shard]);
        reset_space(&ctx->spaces[i]->stats);
    }
    ctx->engine->host->reset_stats(ctx);
    reply_ok(ctx->reply);
}

static void help(struct ctx *ctx)
{
    static const char *const lines[] = {
        "GET <pattern> [<pattern> ...]",
        "    Show the directives whose names match a glob pattern, with their values.",
        "SET <directive> <value> [<directive> <value> ...]",
        "    Change directives: all of them, or none if one cannot be.",
        "RESETSTAT",
        "    Set the counters that INFO shows back to zero.",
        "REWRITE",
        "    Bring the configuration file in line with what is in force.",
        NULL,
    };
    ctx_reply_help(ctx, lines);
}

#define ADMIN (CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)

static const struct command subcommands[] = {
    {.name = "get",
     .handler = get,
     .arity = -3,
     .flags = ADMIN | CMD_SESSION,
     .group = "server",
     .since = "2.0.0",
     .complexity = "O(N) with N the number of patterns",
     .summary = "Returns the directives that match the patterns, with their values.",
     .args = "parameter:string ...",
     .history = "7.0.0: Takes several patterns."},
    {.name = "set",
     .handler = set,
     .arity = -4,
     .flags = ADMIN | CMD_SESSION,
     .group = "server",
     .since = "2.0.0",
     .complexity = "O(N) with N the number of directives",
     .summary = "Changes directives while the server runs, all of them or none.",
     .args = "<parameter:string value:string> ...",
     .history = "7.0.0: Takes several directives.",
     .tips = "request_policy:all_nodes response_policy:all_succeeded"},
    {.name = "resetstat",
     .handler = resetstat,
     .arity = 2,
     .flags = ADMIN,
     .span = SPAN_ALL_OK,
     .group = "server",
     .since = "2.0.0",
     .complexity = "O(1)",
     .summary = "Sets the counters of INFO back to zero.",
     .tips = "request_policy:all_nodes response_policy:all_succeeded"},
    {.name = "rewrite",
     .handler = rewrite,
     .arity = 2,
     .flags = ADMIN | CMD_SESSION,
     .group = "server",
     .since = "2.8.0",
     .complexity = "O(1)",
     .summary = "Writes what is in force to the configuration file.",
     .tips = "request_policy:all_nodes response_policy:all_succeeded"},
    {.name = "help",
     .handler = help,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .group = "server",
     .since = "5.0.0",
     .complexity = "O(1)",
     .summary = "Describes the subcommands."},
    {0},
};

const struct command commands_config[] = {
    {.name = "config",
     .arity = -2,
     .subcommands = subcommands,
     .group = "server",
     .since = "2.0.0",
     .complexity = "Depends on the subcommand.",
     .summary = "Commands about the settings of the server."},
    {0},
};
