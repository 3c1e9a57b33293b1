// SPDX-License-Identifier: BSD-3-Clause
//
// stream_group: XGROUP, which makes and removes consumer groups and their consumers. What is
// pending in them: stream_pending.c.
//
// Order of checks, as Redis has it: options, key, its type, group, id.
#include "base/assert.h"
#include "commands/families.h"
#include "commands/stream_arg.h"
#include "engine/interest.h"

// Arguments of all subcommands but HELP: XGROUP subcommand key group …
struct target {
    struct slice key, name;
    struct entry *entry;
    struct stream *stream; // NULL: no such key
    struct stream_group *group;
    int64_t entries_read;
    bool is_mkstream;
};

// The options of CREATE and SETID.
static bool parse_options(struct ctx *ctx, bool is_create, struct target *t)
{
    for (int i = 5; i < ctx->argc; i++) {
        if (is_create && ctx_arg_is(ctx, i, "mkstream")) {
            t->is_mkstream = true;
        } else if (i + 1 < ctx->argc && ctx_arg_is(ctx, i, "entriesread")) {
            if (!ctx_arg_i64(ctx, ++i, &t->entries_read, NULL)) return false;
            if (t->entries_read < STREAM_UNKNOWN_COUNT)
                return stream_fail(ctx, "ERR value for ENTRIESREAD must be positive or -1");
        } else {
            ctx_unknown_subcommand(ctx);
            return false;
        }
    }
    return true;
}

static bool find(struct ctx *ctx, struct target *t)
{
    t->key = ctx->argv[2];
    t->name = ctx->argv[3];
    if (!ctx_write_as(ctx, t->key, TYPE_STREAM, &t->entry)) return false;
    if (t->entry) {
        t->stream = stream_of(t->entry->value);
        t->group = stream_group_find(t->stream, t->name);
        return true;
    }
    if (t->is_mkstream) return true;
    return stream_fail(ctx,
                       "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE "
                       "you may want to use the MKSTREAM option to create an empty stream "
                       "automatically.");
}

static bool find_group(struct ctx *ctx, struct target *t)
{
    if (!find(ctx, t)) return false;
    if (t->group) return true;
    reply_errorf(ctx->reply, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
                 SLICE_ARG(t->name), SLICE_ARG(t->key));
    return false;
}

static bool is_new_id(const struct ctx *ctx)
{
    return slice_eq(ctx->argv[4], SLICE("$"));
}

static void create(struct ctx *ctx)
{
    struct target t = {.entries_read = STREAM_UNKNOWN_COUNT};
    struct stream_id id;
    if (!parse_options(ctx, true, &t) || !find(ctx, &t)) return;
    if (is_new_id(ctx))
        id = t.stream ? t.stream->last_id : STREAM_ID_MIN;
    else if (!stream_arg_id(ctx, 4, &id))
        return;
    if (t.group) {
        reply_error(ctx->reply, "BUSYGROUP Consumer Group name already exists");
        return;
    }
    if (!t.stream)
        t.entry = ctx_set_value(ctx, t.key, NULL, TYPE_STREAM, stream_new(), EXPIRE_NONE);
    stream_group_create(stream_of(t.entry->value), t.name, id, t.entries_read);
    (t.stream ? ctx_commit_beside : ctx_commit)(ctx, t.key, EVENT_STREAM, "xgroup-create");
    reply_ok(ctx->reply);
}

static void setid(struct ctx *ctx)
{
    struct target t = {.entries_read = STREAM_UNKNOWN_COUNT};
    struct stream_id id;
    if (!parse_options(ctx, false, &t) || !find_group(ctx, &t)) return;
    if (is_new_id(ctx))
        id = t.stream->last_id;
    else if (!stream_arg_any_id(ctx, 4, 0, &id))
        return;
    t.group->last_id = id;
    t.group->entries_read = t.entries_read;
    ctx_commit_beside(ctx, t.key, EVENT_STREAM, "xgroup-setid");
    interest_ready(ctx, ctx->db, t.key); // who reads in its name may get what is new now
    reply_ok(ctx->reply);
}

static void destroy(struct ctx *ctx)
{
    struct target t = {0};
    if (!find(ctx, &t)) return;
    if (t.group) {
        stream_group_destroy(t.stream, t.group);
        ctx_commit_beside(ctx, t.key, EVENT_STREAM, "xgroup-destroy");
        interest_ready(ctx, ctx->db, t.key); // who reads in its name is told
    }
    reply_int(ctx->reply, t.group != NULL);
}

static void createconsumer(struct ctx *ctx)
{
    struct target t = {0};
    if (!find_group(ctx, &t)) return;
    bool is_new = stream_consumer_create(t.group, ctx->argv[4], ctx->now_ms);
    if (is_new) ctx_commit_beside(ctx, t.key, EVENT_STREAM, "xgroup-createconsumer");
    reply_int(ctx->reply, is_new);
}

static void delconsumer(struct ctx *ctx)
{
    struct target t = {0};
    if (!find_group(ctx, &t)) return;
    struct stream_consumer *c = stream_consumer_find(t.group, ctx->argv[4]);
    uint64_t pending = c ? stream_consumer_destroy(t.group, c) : 0;
    if (c) ctx_commit_beside(ctx, t.key, EVENT_STREAM, "xgroup-delconsumer");
    reply_int(ctx->reply, (int64_t)pending);
}

static void help(struct ctx *ctx)
{
    static const char *const lines[] = {
        "CREATE <key> <groupname> <id|$> [option]",
        "    Make a consumer group that begins behind an id. Options are:",
        "    * MKSTREAM",
        "      Make an empty stream if there is none.",
        "    * ENTRIESREAD entries_read",
        "      Say how many entries come up to the id (internal use).",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Make a consumer in a group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove a consumer and what is pending for it.",
        "DESTROY <key> <groupname>",
        "    Remove a group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Set the id behind which a group goes on to read.",
        NULL,
    };
    ctx_reply_help(ctx, lines);
}

// clang-format off
static const struct command subcommands[] = {
    {.name = "create", .handler = create, .arity = -5, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_STREAM, .keys = {KEYS(2, 2, 1, KEY_RW | KEY_INSERT)}, .group = "stream",
     .since = "5.0.0", .complexity = "O(1)", .summary = "Makes a consumer group.",
     .args = "key groupname <id | $> [MKSTREAM] [ENTRIESREAD entries_read:integer]",
     .history = "7.0.0: Added the `ENTRIESREAD` option."},

    {.name = "setid", .handler = setid, .arity = -5, .flags = CMD_WRITE, .acl = ACL_STREAM,
     .keys = {KEYS(2, 2, 1, KEY_RW | KEY_UPDATE)}, .group = "stream", .since = "5.0.0",
     .complexity = "O(1)", .summary = "Sets the id behind which a consumer group goes on to read.",
     .args = "key groupname <id | $> [ENTRIESREAD entries_read:integer]",
     .history = "7.0.0: Added the `ENTRIESREAD` option."},

    {.name = "destroy", .handler = destroy, .arity = 4, .flags = CMD_WRITE, .acl = ACL_STREAM,
     .keys = {KEYS(2, 2, 1, KEY_RW | KEY_DELETE)}, .group = "stream", .since = "5.0.0",
     .complexity = "O(N) with N the number of the group's pending entries",
     .summary = "Removes a consumer group.", .args = "key groupname"},

    {.name = "createconsumer", .handler = createconsumer, .arity = 5,
     .flags = CMD_WRITE | CMD_DENYOOM, .acl = ACL_STREAM,
     .keys = {KEYS(2, 2, 1, KEY_RW | KEY_INSERT)}, .group = "stream", .since = "6.2.0",
     .complexity = "O(1)", .summary = "Makes a consumer in a consumer group.",
     .args = "key groupname consumername"},

    {.name = "delconsumer", .handler = delconsumer, .arity = 5, .flags = CMD_WRITE,
     .acl = ACL_STREAM, .keys = {KEYS(2, 2, 1, KEY_RW | KEY_DELETE)}, .group = "stream",
     .since = "5.0.0", .complexity = "O(1)",
     .summary = "Removes a consumer and returns how many entries were pending for it.",
     .args = "key groupname consumername"},

    {.name = "help", .handler = help, .arity = 2, .flags = CMD_LOADING | CMD_STALE,
     .acl = ACL_STREAM, .group = "stream", .since = "5.0.0", .complexity = "O(1)",
     .summary = "Lists the subcommands of XGROUP."},

    {0},
};

const struct command commands_stream_group[] = {
    {.name = "xgroup", .arity = -2, .subcommands = subcommands, .group = "stream",
     .since = "5.0.0", .complexity = "Depends on the subcommand",
     .summary = "Holds the commands that make and remove consumer groups."},

    {0},
};
// clang-format on
