// SPDX-License-Identifier: BSD-3-Clause
//
// stream_read: XREAD and XREADGROUP. First the arguments, then every stream's key, group and id are
// looked at (prepare), then those are served that have something (serve_all).
//
// An id of XREADGROUP is either ">", what nobody in the group has got yet, or the place in the
// consumer's own history behind which to repeat what is pending. As in Redis, ">" is known by the
// greatest id there is, behind which nothing can be. A history is always an answer, if an empty
// one, so only ">" waits.
//
// With BLOCK, and nothing to serve, the client waits (commands/wait.c) with arguments in which $
// and
// + have become the ids that they stood for. When one of its streams has got entries it is served
// from that one stream. XREADGROUP ends, too, with an error, when its group or the stream is gone.
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "commands/families.h"
#include "commands/stream_arg.h"
#include "commands/stream_effect.h"
#include "commands/wait.h"
#include "types/stream.h"

// One of the streams. Pointers are valid until the keyspace changes.
struct part {
    struct slice key;
    struct stream *stream;      // NULL: no such key
    struct stream_group *group; // XREADGROUP
    struct stream_id after;     // XREADGROUP: STREAM_ID_MAX stands for ">"
};

struct stream_read {
    bool is_group, is_noack;
    bool is_again;    // on behalf of a client that has waited
    int64_t count;    // per stream; 0: all
    int64_t block_ms; // 0: for ever, -1: BLOCK was not said
    int group_arg;    // the consumer is behind it
    int first_key, count_streams;
    struct part *parts; // owned, but one only if is_again
};

// --- arguments -----------------------------------------------------------------------------------

static bool parse_block(struct ctx *ctx, int arg, struct stream_read *r)
{
    if (r->is_again) return true;
    if (!(ctx->flags & CTX_IN_SCRIPT)) return block_arg_ms(ctx, arg, &r->block_ms);
    reply_errorf(ctx->reply, "ERR %s command is not allowed with BLOCK option from scripts",
                 ctx->cmd->full_name);
    return false;
}

static bool only_with_group(struct ctx *ctx, const char *option)
{
    reply_errorf(ctx->reply,
                 "ERR The %s option is only supported by XREADGROUP. You called XREAD instead.",
                 option);
    return false;
}

// STREAMS at argument i: the rest are as many keys and ids.
static bool parse_streams(struct ctx *ctx, int i, struct stream_read *r)
{
    r->first_key = i + 1;
    r->count_streams = (ctx->argc - r->first_key) / 2;
    if ((ctx->argc - r->first_key) % 2 == 0) return true;
    reply_errorf(
        ctx->reply,
        "ERR Unbalanced '%s' list of streams: for each stream key an %s must be specified.",
        ctx->cmd->full_name, r->is_group ? "ID or '>'" : "ID, '+', or '$'");
    return false;
}

static bool parse_options(struct ctx *ctx, struct stream_read *r)
{
    for (int i = 1; i < ctx->argc && !r->first_key; i++) {
        int more = ctx->argc - i - 1;
        bool is_good = true;
        if (more && ctx_arg_is(ctx, i, "block")) {
            is_good = parse_block(ctx, ++i, r);
        } else if (more && ctx_arg_is(ctx, i, "count")) {
            is_good = ctx_arg_i64(ctx, ++i, &r->count, NULL);
            if (r->count < 0) r->count = 0;
        } else if (more && ctx_arg_is(ctx, i, "streams")) {
            is_good = parse_streams(ctx, i, r);
        } else if (more >= 2 && ctx_arg_is(ctx, i, "group")) {
            is_good = r->is_group || only_with_group(ctx, "GROUP");
            r->group_arg = i + 1;
            i += 2;
        } else if (ctx_arg_is(ctx, i, "noack")) {
            is_good = r->is_group || only_with_group(ctx, "NOACK");
            r->is_noack = true;
        } else {
            is_good = stream_fail(ctx, ERR_SYNTAX);
        }
        if (!is_good) return false;
    }
    if (!r->first_key) return stream_fail(ctx, ERR_SYNTAX);
    if (r->is_group && !r->group_arg)
        return stream_fail(ctx, "ERR Missing GROUP option for XREADGROUP");
    return true;
}

// --- ids -----------------------------------------------------------------------------------------

#define ERR_MEANINGLESS(id)                                                                        \
    "ERR The " id " ID is meaningless in the context of XREADGROUP: you want to read the history " \
    "of this consumer by specifying a proper ID, or use the > ID to get new messages. The " id     \
    " ID would just return an empty result set."

// Sets part->after from argument `arg`.
static bool parse_after(struct ctx *ctx, int arg, const struct stream_read *r, struct part *part)
{
    struct slice text = ctx->argv[arg];
    part->after = STREAM_ID_MIN;
    if (slice_eq(text, SLICE("$"))) {
        if (r->is_group) return stream_fail(ctx, ERR_MEANINGLESS("$"));
        if (part->stream) part->after = part->stream->last_id;
    } else if (slice_eq(text, SLICE("+"))) {
        if (r->is_group) return stream_fail(ctx, ERR_MEANINGLESS("+"));
        if (part->stream && stream_last_entry(part->stream, &part->after))
            stream_id_step_back(&part->after);
    } else if (slice_eq(text, SLICE(">"))) {
        if (!r->is_group)
            return stream_fail(ctx,
                               "ERR The > ID can be specified only when calling XREADGROUP using "
                               "the GROUP <group> <consumer> option.");
        part->after = STREAM_ID_MAX;
    } else {
        return stream_arg_id(ctx, arg, &part->after);
    }
    return true;
}

// At the part's key. False: the error has been replied.
static bool find_stream(struct ctx *ctx, const struct stream_read *r, struct part *part)
{
    struct entry *e;
    if (!ctx_read_as(ctx, part->key, TYPE_STREAM, &e)) return false;
    part->stream = e ? stream_of(e->value) : NULL;
    if (!r->is_group) return true;
    struct slice group = ctx->argv[r->group_arg];
    part->group = e ? stream_group_find(part->stream, group) : NULL;
    if (!part->group)
        stream_reply_no_group(ctx, part->key, group, " in XREADGROUP with GROUP option");
    return part->group;
}

static bool prepare_part(struct ctx *ctx, int i, const struct stream_read *r, struct part *part)
{
    part->key = ctx->argv[r->first_key + i];
    return find_stream(ctx, r, part) &&
           parse_after(ctx, r->first_key + r->count_streams + i, r, part);
}

// Reads the command's arguments and looks up its streams. False: the error has been replied, and
// nothing is to be freed.
static bool prepare(struct ctx *ctx, struct stream_read *r)
{
    *r = (struct stream_read){.is_group = ctx->cmd->flags & CMD_WRITE, .block_ms = -1};
    if (!parse_options(ctx, r)) return false;
    r->parts = mem_calloc((size_t)r->count_streams * sizeof r->parts[0]);
    for (int i = 0; i < r->count_streams; i++) {
        if (prepare_part(ctx, i, r, &r->parts[i])) continue;
        mem_free(r->parts);
        return false;
    }
    return true;
}

// --- serving -------------------------------------------------------------------------------------

// Entries behind `after` that nobody in the group has got, which the consumer now gets.
static void reply_new(struct ctx *ctx, const struct stream_read *r, struct part *part,
                      struct stream_consumer *c, struct stream_effect *effect)
{
    struct reply_mark mark = reply_open(ctx->reply);
    struct stream_iter it;
    struct stream_id start = part->group->last_id;
    int64_t n = 0;
    stream_id_step(&start);
    stream_iter_init(&it, part->stream, start, STREAM_ID_MAX, false);
    while ((!r->count || n < r->count) && stream_iter_next(&it)) {
        struct stream_id id = it.entry.id;
        stream_group_advance(part->stream, part->group, id);
        stream_reply_entry(ctx->reply, &it.entry);
        n++;
        if (r->is_noack) continue;
        struct stream_nack *nack = stream_group_assign(part->group, id, c);
        nack->delivered_ms = ctx->now_ms;
        nack->count = 1;
        c->active_ms = ctx->now_ms;
        stream_effect_assigned(effect, id, nack);
    }
    stream_iter_free(&it);
    stream_effect_advanced(effect, part->group);
    reply_close_array(ctx->reply, mark, (size_t)n);
}

// What is pending for the consumer behind `after`, once more.
static void reply_history(struct ctx *ctx, const struct stream_read *r, const struct part *part,
                          const struct stream_consumer *c, struct stream_effect *effect)
{
    struct reply_mark mark = reply_open(ctx->reply);
    struct stream_id start = part->after;
    int64_t n = 0;
    stream_id_step(&start);
    for (struct idtree_cursor at = idtree_seek(&c->pending, start);
         at.leaf && (!r->count || n < r->count); idtree_next(&at), n++) {
        struct stream_nack *nack = stream_nack_at(&at);
        if (stream_reply_entry_at(ctx->reply, part->stream, idtree_id(&at))) {
            nack->delivered_ms = ctx->now_ms;
            nack->count++;
            stream_effect_assigned(effect, idtree_id(&at), nack);
        } else {
            reply_array(ctx->reply, 2);
            stream_reply_id(ctx->reply, idtree_id(&at));
            reply_null_array(ctx->reply);
        }
    }
    reply_close_array(ctx->reply, mark, (size_t)n);
}

static bool has_entry_behind(const struct stream *s, struct stream_id id)
{
    struct stream_id last;
    return stream_last_entry(s, &last) && stream_id_cmp(last, id) > 0;
}

static struct stream_consumer *consumer_of(struct ctx *ctx, struct part *part,
                                           struct stream_effect *effect)
{
    struct stream_consumer *c = stream_consumer_find(part->group, effect->consumer);
    if (!c) {
        c = stream_consumer_create(part->group, effect->consumer, ctx->now_ms);
        stream_effect_created(effect);
        ctx_commit_beside(ctx, part->key, EVENT_STREAM, "xgroup-createconsumer");
    }
    c->seen_ms = ctx->now_ms;
    return c;
}

static void begin_part(struct ctx *ctx, const struct part *part)
{
    if (ctx->reply->resp == 2) reply_array(ctx->reply, 2);
    reply_bulk(ctx->reply, part->key);
}

static bool serve_group(struct ctx *ctx, const struct stream_read *r, struct part *part)
{
    bool is_history = stream_id_cmp(part->after, STREAM_ID_MAX) != 0;
    bool is_served = is_history || has_entry_behind(part->stream, part->group->last_id);
    if (!is_served && r->is_again) return false;
    struct stream_effect effect = {.ctx = ctx,
                                   .key = part->key,
                                   .group = ctx->argv[r->group_arg],
                                   .consumer = ctx->argv[r->group_arg + 1]};
    struct stream_consumer *c = consumer_of(ctx, part, &effect);
    if (!is_served) return false;
    begin_part(ctx, part);
    if (is_history)
        reply_history(ctx, r, part, c, &effect);
    else
        reply_new(ctx, r, part, c, &effect);
    stream_effect_end(&effect);
    ctx_commit_beside(ctx, part->key, EVENT_STREAM, NULL);
    return true;
}

static bool serve(struct ctx *ctx, const struct stream_read *r, struct part *part)
{
    if (!part->stream) return false;
    if (r->is_group) return serve_group(ctx, r, part);
    if (!has_entry_behind(part->stream, part->after)) return false;
    struct stream_id start = part->after;
    stream_id_step(&start);
    begin_part(ctx, part);
    stream_reply_range(ctx->reply, part->stream, start, STREAM_ID_MAX, (uint64_t)r->count, false);
    return true;
}

// Replies what there is; false, and nothing was replied, if there is nothing.
static bool serve_all(struct ctx *ctx, const struct stream_read *r)
{
    struct reply_mark mark = reply_open(ctx->reply);
    size_t n = 0;
    for (int i = 0; i < r->count_streams; i++) n += serve(ctx, r, &r->parts[i]);
    if (!n) return false;
    if (ctx->reply->resp == 2)
        reply_close_array(ctx->reply, mark, n);
    else
        reply_close_map(ctx->reply, mark, n);
    return true;
}

// --- waiting -------------------------------------------------------------------------------------

// The arguments with every id as it stands now: what $ means is settled here. One allocation, which
// the caller frees.
static struct slice *settled_argv(const struct ctx *ctx, const struct stream_read *r)
{
    size_t bytes = sizeof(struct slice) * (size_t)ctx->argc;
    int first_id = r->first_key + r->count_streams;
    struct slice *argv = mem_alloc(bytes + (size_t)r->count_streams * STREAM_ID_TEXT);
    char *text = (char *)argv + bytes;
    memcpy(argv, ctx->argv, bytes);
    for (int i = 0; i < r->count_streams; i++, text += STREAM_ID_TEXT)
        argv[first_id + i] = (struct slice){text, stream_format_id(text, r->parts[i].after)};
    return argv;
}

static bool block(struct ctx *ctx, const struct stream_read *r)
{
    struct slice *argv = r->is_group ? NULL : settled_argv(ctx, r);
    struct block_request request = {
        .type = TYPE_STREAM,
        .timeout_ms = r->block_ms,
        .on_timeout = TIMEOUT_NULL_ARRAY,
        .flags = r->is_group ? BLOCK_UNTIL_GONE : 0,
        .argv = argv,
    };
    bool is_blocked = wait_for_keys(ctx, &request, r->first_key, r->count_streams);
    mem_free(argv);
    return is_blocked;
}

static void xread(struct ctx *ctx)
{
    struct stream_read r;
    if (!prepare(ctx, &r)) return;
    if (!serve_all(ctx, &r) && (r.block_ms < 0 || !block(ctx, &r))) reply_null_array(ctx->reply);
    mem_free(r.parts);
}

// A key that is named twice counts with its first id, as in Redis.
static int find_key(const struct ctx *ctx, const struct stream_read *r, struct slice key)
{
    for (int i = 0; i < r->count_streams; i++)
        if (slice_eq(ctx->argv[r->first_key + i], key)) return i;
    return -1;
}

// Of many that read in the name of one group each entry is one's. What is not there any more is for
// all of them.
static bool has_news(struct ctx *ctx, struct slice key)
{
    struct stream_read r = {.is_group = ctx->cmd->flags & CMD_WRITE, .is_again = true};
    struct part part = {.key = key};
    struct entry *e = ctx_peek(ctx, key);
    if (!e || e->type != TYPE_STREAM || !parse_options(ctx, &r)) return true;
    const struct stream *stream = stream_of(e->value);
    if (!r.is_group) {
        int arg = r.first_key + r.count_streams + find_key(ctx, &r, key);
        return !parse_after(ctx, arg, &r, &part) || has_entry_behind(stream, part.after);
    }
    const struct stream_group *group = stream_group_find(stream, ctx->argv[r.group_arg]);
    return !group || has_entry_behind(stream, group->last_id);
}

static bool serve_waiting(struct ctx *ctx, struct slice key)
{
    struct stream_read r = {.is_group = ctx->cmd->flags & CMD_WRITE, .is_again = true};
    struct part part = {.key = key};
    if (!parse_options(ctx, &r)) return false;
    int i = find_key(ctx, &r, key);
    ASSERT(i >= 0);
    if (!find_stream(ctx, &r, &part)) return true; // so it is told
    if (!parse_after(ctx, r.first_key + r.count_streams + i, &r, &part)) return false;
    r.parts = &part;
    r.count_streams = 1;
    return serve_all(ctx, &r);
}

// --- declarations --------------------------------------------------------------------------------

#define STREAMS(from)                                                                              \
    {                                                                                              \
        .flags = KEY_RO | KEY_ACCESS, .begin = (from), .keyword = "STREAMS", .last = -1,           \
        .step = 1, .limit = 2                                                                      \
    }

// clang-format off
const struct command commands_stream_read[] = {
    {.name = "xread", .handler = xread, .serve = serve_waiting, .would_serve = has_news,
     .arity = -4, .flags = CMD_READONLY | CMD_BLOCKING | CMD_MOVABLE_KEYS,
     .acl = ACL_STREAM | ACL_BLOCKING,
     .keys = {STREAMS(1)}, .group = "stream", .since = "5.0.0",
     .complexity = "For each stream, O(N) with N the number of returned entries",
     .summary = "Returns the entries of one or more streams that come after given ids.",
     .args = "[COUNT count] [BLOCK milliseconds] STREAMS (key... id...)"},

    {.name = "xreadgroup", .handler = xread, .serve = serve_waiting, .would_serve = has_news,
     .arity = -7, .flags = CMD_WRITE | CMD_BLOCKING | CMD_MOVABLE_KEYS,
     .acl = ACL_STREAM | ACL_BLOCKING,
     .keys = {STREAMS(4)}, .group = "stream", .since = "5.0.0",
     .complexity = "For each stream, O(N) with N the number of returned entries",
     .summary = "Returns entries of one or more streams that a consumer group has not yet got, or "
                "again those that are pending for one of its consumers.",
     .args = "GROUP (group consumer) [COUNT count] [BLOCK milliseconds] [NOACK] "
             "STREAMS (key... id...)"},

    {0},
};
// clang-format on
