// SPDX-License-Identifier: BSD-3-Clause
//
// pubsub: SUBSCRIBE and its kin, PUBLISH, PUBSUB. Three kinds of names with one machinery:
// channels, patterns of channels, and shard channels, which here are simply channels of their own.
//
// SUBSCRIBE and its kin change what every shard knows (engine/pubsub.h) and what the session is
// subscribed to, so they run in two steps (SPAN_SESSION): the handler on every shard finds out from
// the session, which nobody changes meanwhile, what the command changes, and changes that shard's
// copy; then `conclude`, once at home, changes the session and acknowledges name by name. An
// acknowledgement is a push, and goes out whatever CLIENT REPLY says.
//
// PUBLISH and PUBSUB look at the copy of the publisher's shard (SPAN_HOME), in the order of its
// inbox, so they see every subscription that was acknowledged before they were sent.
#include "engine/pubsub.h"

#include "base/glob.h"
#include "commands/families.h"
#include "engine/engine.h"
#include "engine/host.h"

// --- subscribing ---------------------------------------------------------------------------------

struct verb {
    const char *name; // of the command, which the acknowledgement repeats
    enum pubsub_kind kind;
    bool is_on;
};

static const struct verb *verb_of(const struct ctx *ctx)
{
    static const struct verb verbs[] = {
        {"subscribe", PUBSUB_CHANNEL, true},        {"unsubscribe", PUBSUB_CHANNEL, false},
        {"psubscribe", PUBSUB_PATTERN, true},       {"punsubscribe", PUBSUB_PATTERN, false},
        {"ssubscribe", PUBSUB_SHARD_CHANNEL, true}, {"sunsubscribe", PUBSUB_SHARD_CHANNEL, false},
    };
    const struct verb *v = verbs;
    while (strcmp(v->name, ctx->cmd->name) != 0) v++;
    return v;
}

// This shard's part in one subscription that begins or ends.
static void change(struct ctx *ctx, const struct verb *v, struct slice name)
{
    const struct host *host = ctx->engine->host;
    uint32_t here = ctx->space->shard, home = ctx->session->home;
    pubsub_change(ctx->engine->pubsub[here], v->kind, name, home, v->is_on ? 1 : -1);
    if (here == home && host->subscribe) host->subscribe(ctx, v->kind, name, v->is_on);
}

// SSUBSCRIBE, unlike SUBSCRIBE, may not be part of a transaction.
static bool is_refused(const struct ctx *ctx, const struct verb *v)
{
    return (ctx->flags & CTX_IN_EXEC) && v->is_on && v->kind == PUBSUB_SHARD_CHANNEL;
}

// The handler: changes are what is named, once each, and not so already; or without names all that
// the session has.
static void change_all(struct ctx *ctx)
{
    const struct verb *v = verb_of(ctx);
    const struct subscriptions *mine = ctx->session->subscriptions;
    if (is_refused(ctx, v)) return;
    if (ctx->argc == 1 && mine)
        for (const struct name *n = mine->kinds[v->kind].first; n; n = n->next)
            change(ctx, v, name_bytes(n));
    struct names done;
    names_init(&done, 0);
    for (int i = 1; i < ctx->argc; i++) {
        struct slice name = ctx->argv[i];
        if (subscriptions_have(mine, v->kind, name) == v->is_on) continue;
        if (names_find(&done, name)) continue;
        if (i + 1 < ctx->argc) names_add(&done, name);
        change(ctx, v, name);
    }
    names_free(&done);
}

// Shard channels are counted by themselves.
static uint64_t running_count(const struct session *s, enum pubsub_kind kind)
{
    if (kind == PUBSUB_SHARD_CHANNEL) return subscriptions_count(s->subscriptions, kind);
    return subscriptions_count(s->subscriptions, PUBSUB_CHANNEL) +
           subscriptions_count(s->subscriptions, PUBSUB_PATTERN);
}

static void set_subscribed(struct ctx *ctx, const struct verb *v, struct slice name)
{
    struct session *s = ctx->session;
    bool was_subscriber = s->subscriptions != NULL;
    if (v->is_on)
        session_subscribe(s, v->kind, name);
    else
        session_unsubscribe(s, v->kind, name);
    bool is_subscriber = s->subscriptions != NULL;
    if (is_subscriber == was_subscriber) return;
    // Relaxed: a figure for INFO.
    atomic_fetch_add_explicit(&ctx->engine->subscribers, is_subscriber ? 1u : -1u,
                              memory_order_relaxed);
}

// `name` may be the session's own, which is freed. NULL: nothing to unsubscribe from.
static void acknowledge(struct ctx *ctx, const struct verb *v, const struct slice *name)
{
    reply_push(ctx->reply, 3);
    reply_bulk_text(ctx->reply, v->name);
    if (name) {
        reply_bulk(ctx->reply, *name);
        set_subscribed(ctx, v, *name);
    } else {
        reply_null(ctx->reply);
    }
    reply_int(ctx->reply, (int64_t)running_count(ctx->session, v->kind));
}

// The session's first name of that kind, or NULL.
static const struct name *first_name(const struct session *s, enum pubsub_kind kind)
{
    return s->subscriptions ? s->subscriptions->kinds[kind].first : NULL;
}

static void conclude(struct ctx *ctx)
{
    const struct verb *v = verb_of(ctx);
    if (is_refused(ctx, v)) {
        reply_error(ctx->reply, ERR_SSUBSCRIBE);
        return;
    }
    for (int i = 1; i < ctx->argc; i++) acknowledge(ctx, v, &ctx->argv[i]);
    if (ctx->argc > 1) return;
    const struct name *first = first_name(ctx->session, v->kind);
    if (!first) acknowledge(ctx, v, NULL);
    for (; first; first = first_name(ctx->session, v->kind)) {
        struct slice name = name_bytes(first);
        acknowledge(ctx, v, &name);
    }
}

// --- publishing ----------------------------------------------------------------------------------

static void publish(struct ctx *ctx)
{
    uint64_t receivers = ctx_publish(ctx, PUBSUB_CHANNEL, ctx->argv[1], ctx->argv[2]);
    reply_int(ctx->reply, (int64_t)receivers);
}

static void spublish(struct ctx *ctx)
{
    uint64_t receivers = ctx_publish(ctx, PUBSUB_SHARD_CHANNEL, ctx->argv[1], ctx->argv[2]);
    reply_int(ctx->reply, (int64_t)receivers);
}

// --- PUBSUB --------------------------------------------------------------------------------------

static const struct pubsub *pubsub_here(const struct ctx *ctx)
{
    return ctx->engine->pubsub[ctx->space->shard];
}

static void list_names(struct ctx *ctx, enum pubsub_kind kind)
{
    if (ctx->argc > 3) {
        ctx_unknown_subcommand(ctx);
        return;
    }
    const struct slice *pattern = ctx->argc == 3 ? &ctx->argv[2] : NULL;
    struct reply_mark mark = reply_open(ctx->reply);
    size_t count = 0;
    for (const struct name *n = pubsub_names(pubsub_here(ctx), kind)->first; n; n = n->next) {
        if (pattern && !glob_match(*pattern, name_bytes(n))) continue;
        reply_bulk(ctx->reply, name_bytes(n));
        count++;
    }
    reply_close_array(ctx->reply, mark, count);
}

static void channels(struct ctx *ctx)
{
    list_names(ctx, PUBSUB_CHANNEL);
}

static void shardchannels(struct ctx *ctx)
{
    list_names(ctx, PUBSUB_SHARD_CHANNEL);
}

static void count_subscribers(struct ctx *ctx, enum pubsub_kind kind)
{
    reply_array(ctx->reply, 2 * (size_t)(ctx->argc - 2));
    for (int i = 2; i < ctx->argc; i++) {
        uint64_t n = pubsub_subscribers(pubsub_here(ctx), kind, ctx->argv[i]);
        reply_bulk(ctx->reply, ctx->argv[i]);
        reply_int(ctx->reply, (int64_t)n);
    }
}

static void numsub(struct ctx *ctx)
{
    count_subscribers(ctx, PUBSUB_CHANNEL);
}

static void shardnumsub(struct ctx *ctx)
{
    count_subscribers(ctx, PUBSUB_SHARD_CHANNEL);
}

static void numpat(struct ctx *ctx)
{
    uint64_t n = pubsub_count(pubsub_here(ctx), PUBSUB_PATTERN);
    reply_int(ctx->reply, (int64_t)n);
}

static void help(struct ctx *ctx)
{
    static const char *const lines[] = {
        "CHANNELS [<pattern>]",
        "    Return the currently active channels matching a <pattern> (default: '*').",
        "NUMPAT",
        "    Return number of subscriptions to patterns.",
        "NUMSUB [<channel> ...]",
        "    Return the number of subscribers for the specified channels, excluding",
        "    pattern subscriptions(default: no channels).",
        "SHARDCHANNELS [<pattern>]",
        "    Return the currently active shard level channels matching a <pattern> (default: '*').",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Return the number of subscribers for the specified shard level channel(s)",
        NULL};
    ctx_reply_help(ctx, lines);
}

// --- declarations --------------------------------------------------------------------------------

#define SUBSCRIBING                                                                                \
    (CMD_SESSION | CMD_SUBSCRIBER | CMD_PUBSUB | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
#define PUBLISHING (CMD_PUBSUB | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_MAY_REPLICATE)
#define LOOKING    (CMD_PUBSUB | CMD_LOADING | CMD_STALE)

static const struct command subcommands[] = {
    {.name = "channels",
     .handler = channels,
     .arity = -2,
     .flags = LOOKING,
     .acl = ACL_PUBSUB | ACL_SLOW,
     .span = SPAN_HOME,
     .group = "pubsub",
     .since = "2.8.0",
     .complexity = "O(N) with N the number of channels that have subscribers",
     .summary = "Lists the channels that have subscribers.",
     .args = "[pattern]"},
    {.name = "numsub",
     .handler = numsub,
     .arity = -2,
     .flags = LOOKING,
     .acl = ACL_PUBSUB | ACL_SLOW,
     .span = SPAN_HOME,
     .group = "pubsub",
     .since = "2.8.0",
     .complexity = "O(N) with N the number of channels asked for",
     .summary = "Says how many subscribers channels have.",
     .args = "[channel ...]"},
    {.name = "numpat",
     .handler = numpat,
     .arity = 2,
     .flags = LOOKING,
     .acl = ACL_PUBSUB | ACL_SLOW,
     .span = SPAN_HOME,
     .group = "pubsub",
     .since = "2.8.0",
     .complexity = "O(1)",
     .summary = "Says how many different patterns have subscribers."},
    {.name = "shardchannels",
     .handler = shardchannels,
     .arity = -2,
     .flags = LOOKING,
     .acl = ACL_PUBSUB | ACL_SLOW,
     .span = SPAN_HOME,
     .group = "pubsub",
     .since = "7.0.0",
     .complexity = "O(N) with N the number of shard channels that have subscribers",
     .summary = "Lists the shard channels that have subscribers.",
     .args = "[pattern]"},
    {.name = "shardnumsub",
     .handler = shardnumsub,
     .arity = -2,
     .flags = LOOKING,
     .acl = ACL_PUBSUB | ACL_SLOW,
     .span = SPAN_HOME,
     .group = "pubsub",
     .since = "7.0.0",
     .complexity = "O(N) with N the number of shard channels asked for",
     .summary = "Says how many subscribers shard channels have.",
     .args = "[shardchannel ...]"},
    {.name = "help",
     .handler = help,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .acl = ACL_SLOW,
     .group = "pubsub",
     .since = "6.2.0",
     .complexity = "O(1)",
     .summary = "Explains the subcommands."},
    {0},
};

const struct command commands_pubsub[] = {
    {.name = "subscribe",
     .handler = change_all,
     .conclude = conclude,
     .arity = -2,
     .flags = SUBSCRIBING,
     .acl = ACL_PUBSUB | ACL_SLOW,
     .span = SPAN_SESSION,
     .group = "pubsub",
     .since = "2.0.0",
     .complexity = "O(N) with N the number of channels",
     .summary = "Has the messages that are published to channels sent to this connection.",
     .args = "channel ..."},
    {.name = "unsubscribe",
     .handler = change_all,
     .conclude = conclude,
     .arity = -1,
     .flags = SUBSCRIBING,
     .acl = ACL_PUBSUB | ACL_SLOW,
     .span = SPAN_SESSION,
     .group = "pubsub",
     .since = "2.0.0",
     .complexity = "O(N) with N the number of channels",
     .summary = "Ends subscriptions to channels; without arguments, to all of them.",
     .args = "[channel ...]"},
    {.name = "psubscribe",
     .handler = change_all,
     .conclude = conclude,
     .arity = -2,
     .flags = SUBSCRIBING,
     .acl = ACL_PUBSUB | ACL_SLOW,
     .span = SPAN_SESSION,
     .group = "pubsub",
     .since = "2.0.0",
     .complexity = "O(N) with N the number of patterns",
     .summary = "As SUBSCRIBE, to all channels whose names match a pattern.",
     .args = "pattern ..."},
    {.name = "punsubscribe",
     .handler = change_all,
     .conclude = conclude,
     .arity = -1,
     .flags = SUBSCRIBING,
     .acl = ACL_PUBSUB | ACL_SLOW,
     .span = SPAN_SESSION,
     .group = "pubsub",
     .since = "2.0.0",
     .complexity = "O(N) with N the number of patterns",
     .summary = "Ends subscriptions to patterns; without arguments, to all of them.",
     .args = "[pattern ...]"},
    {.name = "ssubscribe",
     .handler = change_all,
     .conclude = conclude,
     .arity = -2,
     .keys = {KEYS(1, -1, 1, KEY_NOT_KEY)},
     .flags = SUBSCRIBING,
     .acl = ACL_PUBSUB | ACL_SLOW,
     .span = SPAN_SESSION,
     .group = "pubsub",
     .since = "7.0.0",
     .complexity = "O(N) with N the number of channels",
     .summary = "As SUBSCRIBE, to shard channels.",
     .args = "shardchannel ..."},
    {.name = "sunsubscribe",
     .handler = change_all,
     .conclude = conclude,
     .arity = -1,
     .keys = {KEYS(1, -1, 1, KEY_NOT_KEY)},
     .flags = SUBSCRIBING,
     .acl = ACL_PUBSUB | ACL_SLOW,
     .span = SPAN_SESSION,
     .group = "pubsub",
     .since = "7.0.0",
     .complexity = "O(N) with N the number of channels",
     .summary = "Ends subscriptions to shard channels; without arguments, to all of them.",
     .args = "[shardchannel ...]"},
    {.name = "publish",
     .handler = publish,
     .arity = 3,
     .flags = PUBLISHING,
     .acl = ACL_PUBSUB | ACL_FAST,
     .span = SPAN_HOME,
     .group = "pubsub",
     .since = "2.0.0",
     .complexity =
         "O(N+M) with N the number of the channel's subscribers and M that of all patterns",
     .summary = "Sends a message to all subscribers of a channel.",
     .args = "channel message"},
    {.name = "spublish",
     .handler = spublish,
     .arity = 3,
     .keys = {KEYS(1, 1, 1, KEY_NOT_KEY)},
     .flags = PUBLISHING,
     .acl = ACL_PUBSUB | ACL_FAST,
     .span = SPAN_HOME,
     .group = "pubsub",
     .since = "7.0.0",
     .complexity = "O(N) with N the number of the channel's subscribers",
     .summary = "Sends a message to all subscribers of a shard channel.",
     .args = "shardchannel message"},
    {.name = "pubsub",
     .arity = -2,
     .subcommands = subcommands,
     .group = "pubsub",
     .since = "2.8.0",
     .complexity = "Depends on the subcommand.",
     .summary = "Commands about publishing and subscribing."},
    {0},
};
