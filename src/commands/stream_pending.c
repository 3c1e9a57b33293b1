// SPDX-License-Identifier: BSD-3-Clause
//
// stream_pending: commands on what is pending in a consumer group: delivered, but not yet
// acknowledged.
//
// XCLAIM and XAUTOCLAIM drop what is pending of an entry that is no longer in the stream. They make
// the consumer that they name even if it gets nothing, as Redis 7.2 and later do.
#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "commands/families.h"
#include "commands/stream_arg.h"
#include "commands/stream_effect.h"

#define AUTOCLAIM_COUNT    100 // entries that XAUTOCLAIM returns, if not said
#define AUTOCLAIM_ATTEMPTS 10  // pending entries that it looks at for each of those

// The stream at argument 1 and its group at argument 2; false: NOGROUP (or WRONGTYPE) was replied.
static bool find_group(struct ctx *ctx, struct stream **s, struct stream_group **g)
{
    struct entry *e;
    if (!ctx_read_as(ctx, ctx->argv[1], TYPE_STREAM, &e)) return false;
    *s = e ? stream_of(e->value) : NULL;
    *g = e ? stream_group_find(*s, ctx->argv[2]) : NULL;
    if (!*g) stream_reply_no_group(ctx, ctx->argv[1], ctx->argv[2], "");
    return *g != NULL;
}

// --- XACK ----------------------------------------------------------------------------------------

static void xack(struct ctx *ctx)
{
    struct entry *e;
    if (!ctx_read_as(ctx, ctx->argv[1], TYPE_STREAM, &e)) return;
    struct stream_group *g = e ? stream_group_find(stream_of(e->value), ctx->argv[2]) : NULL;
    if (!g) {
        reply_int(ctx->reply, 0);
        return;
    }
    struct stream_id *ids = stream_arg_ids(ctx, 3);
    if (!ids) return;
    int64_t released = 0;
    for (int i = 0; i < ctx->argc - 3; i++) released += stream_group_release(g, ids[i]);
    mem_free(ids);
    if (released) ctx_commit_beside(ctx, ctx->argv[1], EVENT_STREAM, NULL);
    reply_int(ctx->reply, released);
}

// --- XPENDING ------------------------------------------------------------------------------------

struct pending_range {
    struct stream_id start, end;
    int64_t count, min_idle_ms;
    int consumer_arg; // 0: all consumers
};

static bool parse_range(struct ctx *ctx, struct pending_range *r)
{
    int start = 3;
    *r = (struct pending_range){0};
    if (ctx_arg_is(ctx, 3, "idle")) {
        if (!ctx_arg_i64(ctx, 4, &r->min_idle_ms, NULL)) return false;
        if (ctx->argc < 8) return stream_fail(ctx, ERR_SYNTAX);
        start = 5;
    }
    if (!ctx_arg_i64(ctx, start + 2, &r->count, NULL)) return false;
    if (r->count < 0) r->count = 0;
    if (!stream_arg_start(ctx, start, &r->start)) return false;
    if (!stream_arg_end(ctx, start + 1, &r->end)) return false;
    if (start + 3 < ctx->argc) r->consumer_arg = start + 3;
    return true;
}

static void reply_summary(struct ctx *ctx, const struct stream_group *g)
{
    struct reply *r = ctx->reply;
    reply_array(r, 4);
    reply_int(r, (int64_t)g->pending.count);
    if (!g->pending.count) {
        reply_null(r);
        reply_null(r);
        reply_null_array(r);
        return;
    }
    struct idtree_cursor first = idtree_first(&g->pending), last = idtree_last(&g->pending);
    stream_reply_id(r, idtree_id(&first));
    stream_reply_id(r, idtree_id(&last));
    struct reply_mark mark = reply_open(r);
    size_t n = 0;
    for (uint32_t i = 0; i < g->consumers.count; i++) {
        const struct stream_consumer *c = stream_consumer_at(g, i);
        if (!c->pending.count) continue;
        n++;
        reply_array(r, 2);
        reply_bulk(r, c->name);
        reply_bulk_int(r, (int64_t)c->pending.count);
    }
    reply_close_array(r, mark, n);
}

static void reply_pending(struct ctx *ctx, const struct idtree *pending, struct pending_range range)
{
    struct reply *r = ctx->reply;
    struct reply_mark mark = reply_open(r);
    size_t n = 0;
    for (struct idtree_cursor at = idtree_seek(pending, range.start); at.leaf && range.count;
         idtree_next(&at)) {
        const struct stream_nack *nack = stream_nack_at(&at);
        int64_t idle_ms = stream_since(ctx->now_ms, nack->delivered_ms);
        if (stream_id_cmp(idtree_id(&at), range.end) > 0) break;
        if (range.min_idle_ms && idle_ms < range.min_idle_ms) continue;
        n++;
        range.count--;
        reply_array(r, 4);
        stream_reply_id(r, idtree_id(&at));
        reply_bulk(r, nack->consumer->name);
        reply_int(r, MAX(idle_ms, 0));
        reply_int(r, (int64_t)nack->count);
    }
    reply_close_array(r, mark, n);
}

static void xpending(struct ctx *ctx)
{
    struct stream *s;
    struct stream_group *g;
    struct pending_range range;
    bool is_summary = ctx->argc == 3;
    if (!is_summary && (ctx->argc < 6 || ctx->argc > 9)) {
        reply_error(ctx->reply, ERR_SYNTAX);
        return;
    }
    if (!is_summary && !parse_range(ctx, &range)) return;
    if (!find_group(ctx, &s, &g)) return;
    if (is_summary) {
        reply_summary(ctx, g);
        return;
    }
    const struct stream_consumer *c =
        range.consumer_arg ? stream_consumer_find(g, ctx->argv[range.consumer_arg]) : NULL;
    if (range.consumer_arg && !c)
        reply_array(ctx->reply, 0);
    else
        reply_pending(ctx, c ? &c->pending : &g->pending, range);
}

// --- claiming ------------------------------------------------------------------------------------

struct claim {
    struct stream *stream;
    struct stream_group *group;
    struct stream_consumer *consumer;
    int64_t min_idle_ms;
    int64_t delivered_ms; // to be noted; -1: now
    int64_t count;        // of deliveries, to be noted; -1: one more than there were
    bool is_forced;       // also what is not pending
    bool is_justid;       // reply ids only, and do not count this as a delivery
    bool has_changed;
    struct stream_effect effect;
};

static bool parse_min_idle(struct ctx *ctx, struct claim *c, const char *error)
{
    if (!ctx_arg_i64(ctx, 4, &c->min_idle_ms, error)) return false;
    if (c->min_idle_ms < 0) c->min_idle_ms = 0;
    return true;
}

static void find_consumer(struct ctx *ctx, struct claim *c)
{
    c->effect.ctx = ctx;
    c->effect.key = ctx->argv[1];
    c->effect.group = ctx->argv[2];
    c->effect.consumer = ctx->argv[3];
    c->consumer = stream_consumer_find(c->group, ctx->argv[3]);
    if (!c->consumer) {
        c->consumer = stream_consumer_create(c->group, ctx->argv[3], ctx->now_ms);
        stream_effect_created(&c->effect);
        ctx_commit_beside(ctx, ctx->argv[1], EVENT_STREAM, "xgroup-createconsumer");
    }
    c->consumer->seen_ms = ctx->now_ms;
}

// Gives the consumer what is pending under this id, or (is_forced) makes it pending. False if there
// is nothing to give.
static bool claim_entry(struct ctx *ctx, struct claim *c, struct stream_id id)
{
    const struct stream_nack *old = stream_group_pending(c->group, id);
    if (!old && !c->is_forced) return false;
    if (old && c->min_idle_ms && stream_since(ctx->now_ms, old->delivered_ms) < c->min_idle_ms)
        return false;
    struct stream_nack *nack = stream_group_assign(c->group, id, c->consumer);
    if (!old) nack->count = 1;
    nack->delivered_ms = c->delivered_ms;
    if (c->count >= 0)
        nack->count = (uint64_t)c->count;
    else if (!c->is_justid)
        nack->count++;
    c->consumer->active_ms = ctx->now_ms;
    c->has_changed = true;
    stream_effect_assigned(&c->effect, id, nack);
    return true;
}

// The entry is not in the stream any more.
static void drop_entry(struct claim *c, struct stream_id id)
{
    if (!stream_group_release(c->group, id)) return;
    c->has_changed = true;
    stream_effect_released(&c->effect, id);
}

static void reply_claimed(struct ctx *ctx, const struct claim *c, struct stream_id id)
{
    if (c->is_justid)
        stream_reply_id(ctx->reply, id);
    else
        ASSERT(stream_reply_entry_at(ctx->reply, c->stream, id));
}

// --- XCLAIM --------------------------------------------------------------------------------------

// Reads the options from argument i on.
static bool parse_claim_options(struct ctx *ctx, int i, struct claim *c, struct stream_id *last_id)
{
    for (; i < ctx->argc; i++) {
        bool has_more = i + 1 < ctx->argc, is_good = true;
        if (ctx_arg_is(ctx, i, "force")) {
            c->is_forced = true;
        } else if (ctx_arg_is(ctx, i, "justid")) {
            c->is_justid = true;
        } else if (has_more && ctx_arg_is(ctx, i, "idle")) {
            is_good = ctx_arg_i64(ctx, ++i, &c->delivered_ms,
                                  "ERR Invalid IDLE option argument for XCLAIM");
            c->delivered_ms = stream_since(ctx->now_ms, c->delivered_ms);
        } else if (has_more && ctx_arg_is(ctx, i, "time")) {
            is_good = ctx_arg_i64(ctx, ++i, &c->delivered_ms,
                                  "ERR Invalid TIME option argument for XCLAIM");
        } else if (has_more && ctx_arg_is(ctx, i, "retrycount")) {
            is_good = ctx_arg_i64(ctx, ++i, &c->count,
                                  "ERR Invalid RETRYCOUNT option argument for XCLAIM");
        } else if (has_more && ctx_arg_is(ctx, i, "lastid")) {
            is_good = stream_arg_id(ctx, ++i, last_id);
        } else {
            reply_errorf(ctx->reply, "ERR Unrecognized XCLAIM option '%.*s'",
                         SLICE_ARG(ctx->argv[i]));
            return false;
        }
        if (!is_good) return false;
    }
    if ((ctx->flags & CTX_REPLAY) && c->delivered_ms >= 0) return true;
    // A time that cannot be is the client's clock's fault: now will do.
    if (c->delivered_ms < 0 || c->delivered_ms > ctx->now_ms) c->delivered_ms = ctx->now_ms;
    return true;
}

static void claim_ids(struct ctx *ctx, struct claim *c, const struct stream_id *ids, int count)
{
    struct reply_mark mark = reply_open(ctx->reply);
    size_t n = 0;
    for (int i = 0; i < count; i++) {
        if (!stream_has(c->stream, ids[i])) {
            drop_entry(c, ids[i]);
        } else if (claim_entry(ctx, c, ids[i])) {
            reply_claimed(ctx, c, ids[i]);
            n++;
        }
    }
    reply_close_array(ctx->reply, mark, n);
}

static void xclaim(struct ctx *ctx)
{
    struct claim c = {.delivered_ms = -1, .count = -1};
    struct stream_id last_id = STREAM_ID_MIN;
    if (!find_group(ctx, &c.stream, &c.group)) return;
    if (!parse_min_idle(ctx, &c, "ERR Invalid min-idle-time argument for XCLAIM")) return;
    struct stream_id *ids = mem_alloc((size_t)ctx->argc * sizeof *ids);
    int count = 0; // ids come first; what is none begins the options
    while (5 + count < ctx->argc && stream_parse_id(ctx->argv[5 + count], 0, &ids[count], NULL))
        count++;
    if (parse_claim_options(ctx, 5 + count, &c, &last_id)) {
        find_consumer(ctx, &c);
        if (stream_id_cmp(last_id, c.group->last_id) > 0) {
            c.group->last_id = last_id;
            c.has_changed = true;
            stream_effect_advanced(&c.effect, c.group);
        }
        claim_ids(ctx, &c, ids, count);
        stream_effect_end(&c.effect);
        if (c.has_changed) ctx_commit_beside(ctx, ctx->argv[1], EVENT_STREAM, NULL);
    }
    mem_free(ids);
}

// --- XAUTOCLAIM ----------------------------------------------------------------------------------

static bool parse_autoclaim(struct ctx *ctx, struct claim *c, struct stream_id *start,
                            int64_t *count)
{
    const int64_t count_max = INT64_MAX / (int64_t)MAX(sizeof *start, AUTOCLAIM_ATTEMPTS);
    if (!parse_min_idle(ctx, c, "ERR Invalid min-idle-time argument for XAUTOCLAIM")) return false;
    if (!stream_arg_start(ctx, 5, start)) return false;
    for (int i = 6; i < ctx->argc; i++) {
        if (i + 1 < ctx->argc && ctx_arg_is(ctx, i, "count")) {
            if (!ctx_arg_range(ctx, ++i, 1, count_max, count, "ERR COUNT must be > 0"))
                return false;
        } else if (ctx_arg_is(ctx, i, "justid")) {
            c->is_justid = true;
        } else {
            return stream_fail(ctx, ERR_SYNTAX);
        }
    }
    return true;
}

// Claims what is pending from *start on, which then is where to go on, 0-0 at the end. claimed,
// deleted: ids that the consumer got, and that were dropped.
static void claim_from(struct ctx *ctx, struct claim *c, struct stream_id *start, int64_t count,
                       struct buf *claimed, struct buf *deleted)
{
    struct idtree_cursor at = idtree_seek(&c->group->pending, *start);
    for (int64_t attempts = count * AUTOCLAIM_ATTEMPTS; at.leaf && attempts && count; attempts--) {
        struct stream_id id = idtree_id(&at);
        if (!stream_has(c->stream, id)) {
            drop_entry(c, id);
            buf_append(deleted, &id, sizeof id);
            count--;
            at = idtree_seek(&c->group->pending, id);
            continue;
        }
        if (claim_entry(ctx, c, id)) {
            buf_append(claimed, &id, sizeof id);
            count--;
        }
        idtree_next(&at); // claiming changes other trees only
    }
    *start = at.leaf ? idtree_id(&at) : STREAM_ID_MIN;
}

static struct stream_id id_in(const struct buf *ids, size_t i)
{
    struct stream_id id;
    memcpy(&id, ids->ptr + i * sizeof id, sizeof id);
    return id;
}

static void xautoclaim(struct ctx *ctx)
{
    struct claim c = {.delivered_ms = ctx->now_ms, .count = -1};
    struct stream_id next;
    int64_t count = AUTOCLAIM_COUNT;
    struct buf claimed = {0}, deleted = {0};
    if (!parse_autoclaim(ctx, &c, &next, &count)) return;
    if (!find_group(ctx, &c.stream, &c.group)) return;
    find_consumer(ctx, &c);
    claim_from(ctx, &c, &next, count, &claimed, &deleted);
    stream_effect_end(&c.effect);
    if (c.has_changed) ctx_commit_beside(ctx, ctx->argv[1], EVENT_STREAM, NULL);

    size_t claimed_count = claimed.len / sizeof next, deleted_count = deleted.len / sizeof next;
    reply_array(ctx->reply, 3);
    stream_reply_id(ctx->reply, next);
    reply_array(ctx->reply, claimed_count);
    for (size_t i = 0; i < claimed_count; i++) reply_claimed(ctx, &c, id_in(&claimed, i));
    reply_array(ctx->reply, deleted_count);
    for (size_t i = 0; i < deleted_count; i++) stream_reply_id(ctx->reply, id_in(&deleted, i));
    buf_free(&claimed);
    buf_free(&deleted);
}

// --- declarations --------------------------------------------------------------------------------

// clang-format off
const struct command commands_stream_pending[] = {
    {.name = "xack", .handler = xack, .arity = -4, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_STREAM, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "stream",
     .since = "5.0.0", .complexity = "O(1) for each id",
     .summary = "Acknowledges entries of a consumer group and returns how many were pending.",
     .args = "key group id..."},

    {.name = "xpending", .handler = xpending, .arity = -3, .flags = CMD_READONLY,
     .acl = ACL_STREAM, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "stream",
     .since = "5.0.0",
     .complexity = "O(N) with N the number of returned or, with IDLE, looked at entries; without a "
                   "range the number of consumers",
     .summary = "Returns what is pending in a consumer group.",
     .args = "key group [[IDLE min-idle-time:integer] start end count [consumer]]",
     .history = "6.2.0: Added the `IDLE` option and exclusive intervals.",
     .tips = "nondeterministic_output"},

    {.name = "xclaim", .handler = xclaim, .arity = -6, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_STREAM, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "stream",
     .since = "5.0.0",
     .complexity = "O(log N) for each id, with N the number of the group's pending entries",
     .summary = "Makes entries pending for another consumer of their group.",
     .args = "key group consumer min-idle-time id... [IDLE ms:integer] "
             "[TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]",
     .tips = "nondeterministic_output"},

    {.name = "xautoclaim", .handler = xautoclaim, .arity = -6, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_STREAM, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_DELETE)}, .group = "stream",
     .since = "6.2.0", .complexity = "O(1) if COUNT is small",
     .summary = "Makes what has been pending for long pending for another consumer.",
     .args = "key group consumer min-idle-time start [COUNT count] [JUSTID]",
     .history = "7.0.0: Replies also which pending entries were dropped because they are no longer "
                "in the stream.",
     .tips = "nondeterministic_output"},

    {0},
};
// clang-format on
