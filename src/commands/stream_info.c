// SPDX-License-Identifier: BSD-3-Clause
//
// stream_info: XINFO. What Redis calls the keys of its radix tree are the nodes of the stream here,
// which begin and end where Redis's do.
#include "base/assert.h"
#include "commands/families.h"
#include "commands/stream_arg.h"

#define FULL_COUNT 10 // entries and pending entries that FULL lists, if not said

static const struct stream *find(struct ctx *ctx)
{
    struct entry *e;
    if (!ctx_read_as(ctx, ctx->argv[2], TYPE_STREAM, &e)) return NULL;
    if (!e) reply_error(ctx->reply, ERR_NO_SUCH_KEY);
    return e ? stream_of(e->value) : NULL;
}

static void field_int(struct reply *r, const char *name, uint64_t value)
{
    reply_bulk_text(r, name);
    reply_int(r, (int64_t)value);
}

static void field_id(struct reply *r, const char *name, struct stream_id id)
{
    reply_bulk_text(r, name);
    stream_reply_id(r, id);
}

static void field_name(struct reply *r, struct slice name)
{
    reply_bulk_text(r, "name");
    reply_bulk(r, name);
}

// entries-read and lag, which may be unknown.
static void field_progress(struct reply *r, const struct stream *s, const struct stream_group *g)
{
    int64_t lag;
    reply_bulk_text(r, "entries-read");
    if (g->entries_read == STREAM_UNKNOWN_COUNT)
        reply_null(r);
    else
        reply_int(r, g->entries_read);
    reply_bulk_text(r, "lag");
    if (stream_group_lag(s, g, &lag))
        reply_int(r, lag);
    else
        reply_null(r);
}

// --- XINFO STREAM --------------------------------------------------------------------------------

static void field_entry(struct reply *r, const char *name, const struct stream *s, bool is_last)
{
    struct stream_iter it;
    reply_bulk_text(r, name);
    stream_iter_init(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, is_last);
    if (stream_iter_next(&it))
        stream_reply_entry(r, &it.entry);
    else
        reply_null(r);
    stream_iter_free(&it);
}

// Up to `count` (0: all) of what is pending, with the consumer's name where that is not clear.
static void field_pending(struct reply *r, const struct idtree *pending, uint64_t count,
                          bool has_consumer)
{
    uint64_t n = count && count < pending->count ? count : pending->count;
    reply_bulk_text(r, "pending");
    reply_array(r, n);
    for (struct idtree_cursor at = idtree_first(pending); n; n--, idtree_next(&at)) {
        const struct stream_nack *nack = stream_nack_at(&at);
        reply_array(r, has_consumer ? 4 : 3);
        stream_reply_id(r, idtree_id(&at));
        if (has_consumer) reply_bulk(r, nack->consumer->name);
        reply_int(r, nack->delivered_ms);
        reply_int(r, (int64_t)nack->count);
    }
}

static void reply_full_group(struct reply *r, const struct stream *s, const struct stream_group *g,
                             uint64_t count)
{
    reply_map(r, 7);
    field_name(r, g->name);
    field_id(r, "last-delivered-id", g->last_id);
    field_progress(r, s, g);
    field_int(r, "pel-count", g->pending.count);
    field_pending(r, &g->pending, count, true);
    reply_bulk_text(r, "consumers");
    reply_array(r, g->consumers.count);
    for (uint32_t i = 0; i < g->consumers.count; i++) {
        const struct stream_consumer *c = stream_consumer_at(g, i);
        reply_map(r, 5);
        field_name(r, c->name);
        field_int(r, "seen-time", (uint64_t)c->seen_ms);
        field_int(r, "active-time", (uint64_t)c->active_ms);
        field_int(r, "pel-count", c->pending.count);
        field_pending(r, &c->pending, count, false);
    }
}

static void reply_full(struct reply *r, const struct stream *s, uint64_t count)
{
    reply_bulk_text(r, "entries");
    stream_reply_range(r, s, STREAM_ID_MIN, STREAM_ID_MAX, count, false);
    reply_bulk_text(r, "groups");
    reply_array(r, s->groups.count);
    for (uint32_t i = 0; i < s->groups.count; i++)
        reply_full_group(r, s, stream_group_at(s, i), count);
}

// [FULL [COUNT count]]
static bool parse_full(struct ctx *ctx, bool *is_full, int64_t *count)
{
    *is_full = ctx->argc > 3;
    *count = FULL_COUNT;
    if (!*is_full) return true;
    bool is_good = (ctx->argc == 4 || ctx->argc == 6) && ctx_arg_is(ctx, 3, "full") &&
                   (ctx->argc == 4 || ctx_arg_is(ctx, 4, "count"));
    if (!is_good) {
        ctx_unknown_subcommand(ctx);
        return false;
    }
    if (ctx->argc == 6 && !ctx_arg_i64(ctx, 5, count, NULL)) return false;
    if (*count < 0) *count = FULL_COUNT;
    return true;
}

static void stream(struct ctx *ctx)
{
    bool is_full;
    int64_t count;
    const struct stream *s = find(ctx);
    if (!s || !parse_full(ctx, &is_full, &count)) return;
    struct reply *r = ctx->reply;
    reply_map(r, is_full ? 9 : 10);
    field_int(r, "length", s->len);
    field_int(r, "radix-tree-keys", s->nodes.count);
    field_int(r, "radix-tree-nodes", stream_radix_nodes(s));
    field_id(r, "last-generated-id", s->last_id);
    field_id(r, "max-deleted-entry-id", s->max_deleted_id);
    field_int(r, "entries-added", s->entries_added);
    field_id(r, "recorded-first-entry-id", s->first_id);
    if (is_full) {
        reply_full(r, s, (uint64_t)count);
        return;
    }
    field_int(r, "groups", s->groups.count);
    field_entry(r, "first-entry", s, false);
    field_entry(r, "last-entry", s, true);
}

// --- XINFO GROUPS, CONSUMERS ---------------------------------------------------------------------

static void groups(struct ctx *ctx)
{
    const struct stream *s = find(ctx);
    if (!s) return;
    struct reply *r = ctx->reply;
    reply_array(r, s->groups.count);
    for (uint32_t i = 0; i < s->groups.count; i++) {
        const struct stream_group *g = stream_group_at(s, i);
        reply_map(r, 6);
        field_name(r, g->name);
        field_int(r, "consumers", g->consumers.count);
        field_int(r, "pending", g->pending.count);
        field_id(r, "last-delivered-id", g->last_id);
        field_progress(r, s, g);
    }
}

static void consumers(struct ctx *ctx)
{
    const struct stream *s = find(ctx);
    if (!s) return;
    struct reply *r = ctx->reply;
    const struct stream_group *g = stream_group_find(s, ctx->argv[3]);
    if (!g) {
        reply_errorf(r, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
                     SLICE_ARG(ctx->argv[3]), SLICE_ARG(ctx->argv[2]));
        return;
    }
    reply_array(r, g->consumers.count);
    for (uint32_t i = 0; i < g->consumers.count; i++) {
        const struct stream_consumer *c = stream_consumer_at(g, i);
        int64_t idle_ms = stream_since(ctx->now_ms, c->seen_ms);
        int64_t inactive_ms =
            c->active_ms == STREAM_NEVER ? STREAM_NEVER : stream_since(ctx->now_ms, c->active_ms);
        reply_map(r, 4);
        field_name(r, c->name);
        field_int(r, "pending", c->pending.count);
        field_int(r, "idle", (uint64_t)MAX(idle_ms, 0));
        field_int(r, "inactive", (uint64_t)inactive_ms);
    }
}

static void help(struct ctx *ctx)
{
    static const char *const lines[] = {
        "CONSUMERS <key> <groupname>",
        "    List the consumers of a group.",
        "GROUPS <key>",
        "    List the consumer groups of a stream.",
        "STREAM <key> [FULL [COUNT <count>]",
        "    Show what there is to say of a stream.",
        NULL,
    };
    ctx_reply_help(ctx, lines);
}

// clang-format off
static const struct command subcommands[] = {
    {.name = "stream", .handler = stream, .arity = -3, .flags = CMD_READONLY, .acl = ACL_STREAM,
     .keys = {KEYS(2, 2, 1, KEY_RO | KEY_ACCESS)}, .group = "stream", .since = "5.0.0",
     .complexity = "O(1)", .summary = "Returns what there is to say of a stream.",
     .args = "key [FULL [COUNT count]]",
     .history = "6.0.0: Added the `FULL` modifier.\n"
                "7.0.0: Added the fields `max-deleted-entry-id`, `entries-added`, "
                "`recorded-first-entry-id`, `entries-read` and `lag`.\n"
                "7.2.0: Added the field `active-time`."},

    {.name = "groups", .handler = groups, .arity = 3, .flags = CMD_READONLY, .acl = ACL_STREAM,
     .keys = {KEYS(2, 2, 1, KEY_RO | KEY_ACCESS)}, .group = "stream", .since = "5.0.0",
     .complexity = "O(1)", .summary = "Lists the consumer groups of a stream.", .args = "key",
     .history = "7.0.0: Added the fields `entries-read` and `lag`."},

    {.name = "consumers", .handler = consumers, .arity = 4, .flags = CMD_READONLY,
     .acl = ACL_STREAM, .keys = {KEYS(2, 2, 1, KEY_RO | KEY_ACCESS)}, .group = "stream",
     .since = "5.0.0", .complexity = "O(1)", .summary = "Lists the consumers of a consumer group.",
     .args = "key groupname", .history = "7.2.0: Added the field `inactive`.",
     .tips = "nondeterministic_output"},

    {.name = "help", .handler = help, .arity = 2, .flags = CMD_LOADING | CMD_STALE,
     .acl = ACL_STREAM, .group = "stream", .since = "5.0.0", .complexity = "O(1)",
     .summary = "Lists the subcommands of XINFO."},

    {0},
};

const struct command commands_stream_info[] = {
    {.name = "xinfo", .arity = -2, .subcommands = subcommands, .group = "stream",
     .since = "5.0.0", .complexity = "Depends on the subcommand",
     .summary = "Holds the commands that look into a stream."},

    {0},
};
// clang-format on
