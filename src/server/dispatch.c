// SPDX-License-Identifier: BSD-3-Clause
//
// dispatch: from a run of calls to replies.
//
//   in place       everything is at home, nothing of this connection is under way and nothing waits
//   in the inbox:
//                  executed on the spot, straight into the connection's reply
//   an operation   else: entered into the inboxes concerned in one step (shard_submit). Its replies
//                  wait for those of the operations before it
#include "base/mem.h"
#include "engine/monitor.h"
#include "server/client.h"
#include "server/server.h"
#include "shard/merge.h"

#define HANDOVER_STREAK 32 // commands in a row for one other shard that move a connection there

bool dispatch_has_room(const struct client *c)
{
    return c->op_count < CLIENT_OPS_MAX;
}

static struct ctx client_ctx(struct client *c, struct reply *reply)
{
    struct ctx ctx = shard_ctx(&c->worker->shard);
    ctx.session = &c->session;
    ctx.db = c->session.db;
    ctx.flags = c->session.is_no_touch ? CTX_NO_TOUCH : 0;
    ctx.reply = reply;
    reply->resp = c->session.resp;
    return ctx;
}

// --- in place ------------------------------------------------------------------------------------

static void lend_chunk(struct worker *w, struct reply *r)
{
    if (r->spare || !w->chunks) return;
    r->spare = w->chunks;
    w->chunks = r->spare->next;
    w->chunk_count--;
    r->spare->next = NULL;
}

static void run_in_place(struct client *c, struct call *calls)
{
    struct worker *w = c->worker;
    struct session *s = &c->session;
    bool is_session =
        calls[0].route == ROUTE_QUIET; // then it stands alone, and may change the mode
    bool is_read = is_session ? s->reply_mode == REPLY_ON : session_step_reply(s);
    lend_chunk(w, &c->reply);
    struct ctx ctx = client_ctx(c, is_read ? &c->reply : &w->scratch);
    if (is_session) ctx.flags |= CTX_NOTE_LATER;
    shard_execute(&w->shard, &ctx, &calls[0].piece, false);
    if (is_session) { // CONFIG SET is itself judged by what it set
        ctx.settings = shard_settings(&w->shard);
        engine_note_slow(&ctx, w->shard.id, calls[0].piece.ticks);
    }
    if (is_session && session_step_reply(s) && !is_read) reply_splice(&c->reply, &w->scratch);
    if (UNLIKELY(!is_read)) reply_clear(&w->scratch);
    if (UNLIKELY(s->is_cut_off))
        client_kill(c);
    else if (reply_bytes(&c->reply) || s->is_closing)
        output_mark_dirty(c);
}

// --- as an operation -----------------------------------------------------------------------------

enum { HELD_BUF, HELD_QUERY, HELD_PARSER };

// The arguments stay where they are until the operation is done.
static void hold_arguments(struct client *c, struct operation *op, struct ring_buf *buf,
                           struct query *query, bool is_parser_owned)
{
    op->held[HELD_BUF] = buf;
    op->held[HELD_QUERY] = query;
    if (buf) ring_buf_hold(buf);
    if (query) query->refs++;
    if (!is_parser_owned) return;
    struct request_parser *parser = operation_alloc(&c->worker->shard.pool, op, sizeof *parser);
    *parser = c->parser;
    op->held[HELD_PARSER] = parser;
}

static void release_arguments(struct client *c, struct operation *op)
{
    struct query *query = op->held[HELD_QUERY];
    if (op->held[HELD_BUF]) ring_buf_release(c->worker->shard.ring, op->held[HELD_BUF]);
    if (query && --query->refs == 0) mem_free(query);
    if (op->held[HELD_PARSER]) request_parser_reset(op->held[HELD_PARSER]);
}

static void collect_replies(struct client *c)
{
    while (c->ops && c->ops->is_done) {
        struct operation *op = c->ops;
        c->ops = op->next;
        if (!c->ops) c->ops_tail = NULL;
        c->op_count--;
        lend_chunk(c->worker, &c->reply);
        struct ctx ctx = client_ctx(c, &c->reply);
        if (!c->is_dead) merge_replies(op, &ctx);
        release_arguments(c, op);
        operation_free(&c->worker->shard.pool, op);
    }
}

static void operation_done(struct operation *op)
{
    struct client *c = op->owner;
    collect_replies(c);
    if (!c->is_dead && (reply_bytes(&c->reply) || c->session.is_closing)) output_mark_dirty(c);
    if (!c->is_dead) client_resume(c);
    client_settle(c);
}

static void run_as_operation(struct client *c, struct call *calls, uint32_t count,
                             struct ring_buf *buf, struct query *query, bool is_parser_owned)
{
    struct shard *s = &c->worker->shard;
    bool is_read = session_step_reply(&c->session);
    struct reply shape;
    reply_init(&shape, c->session.resp); // only its version is looked at
    struct ctx ctx = client_ctx(c, &shape);
    struct operation *op = fanout_operation(s, &ctx, calls, count);
    for (uint32_t i = 0; i < count; i++) op->requests[i].is_silent = !is_read;
    op->owner = c;
    op->done = operation_done;
    hold_arguments(c, op, buf, query, is_parser_owned);
    if (c->ops_tail)
        c->ops_tail->next = op;
    else
        c->ops = op;
    c->ops_tail = op;
    c->op_count++;
    if (is_parser_owned) request_parser_init(&c->parser); // the operation has what it held
    if (op->part_count) {
        shard_submit(s, op);
    } else { // answered at home, but behind others
        op->is_done = true;
        collect_replies(c);
        if (reply_bytes(&c->reply)) output_mark_dirty(c);
    }
}

// --- runs ----------------------------------------------------------------------------------------

// Follows where the connection's keys lie: one that speaks to a single other shard is better off
// there.
static void note_shards(struct client *c, const struct call *calls, uint32_t count)
{
    uint32_t home = c->worker->shard.id;
    for (uint32_t i = 0; i < count; i++) {
        if (calls[i].route != ROUTE_ONE || !calls[i].piece.first_key) continue;
        if (calls[i].shard == home || calls[i].shard != c->streak_shard) c->streak = 0;
        c->streak_shard = calls[i].shard;
        if (calls[i].shard != home) c->streak++;
        bool is_first = !c->had_keyed;
        c->had_keyed = true;
        c->move_to =
            c->streak >= HANDOVER_STREAK || (is_first && c->streak) ? c->streak_shard : home;
    }
}

static bool is_all_home(const struct client *c, const struct call *calls, uint32_t count,
                        bool *has_keys)
{
    uint32_t home = c->worker->shard.id;
    *has_keys = false;
    for (uint32_t i = 0; i < count; i++) {
        if (calls[i].route == ROUTE_ONE) {
            if (calls[i].shard != home) return false;
            *has_keys = true;
        } else if (calls[i].route > ROUTE_ONE) {
            return false;
        }
    }
    return true;
}

void dispatch_run(struct client *c, struct call *calls, uint32_t count, struct ring_buf *buf,
                  struct query *query, bool is_parser_owned)
{
    struct shard *s = &c->worker->shard;
    bool has_keys;
    for (uint32_t i = 0; i < count; i++)
        calls[i].piece.next = i + 1 < count ? &calls[i + 1].piece : NULL;
    // Relaxed: see host.c. What changes the session is shown as it left it.
    bool is_watched = UNLIKELY(atomic_load_explicit(&s->engine->monitors, memory_order_relaxed));
    bool is_session = calls[0].route == ROUTE_QUIET;
    if (is_watched && !is_session) server_feed_monitors(c->worker, c, calls, count);
    if (s->group->count == 1 || (!c->ops && is_all_home(c, calls, count, &has_keys) &&
                                 (!has_keys || shard_may_run_in_place(s))))
        run_in_place(c, calls);
    else
        run_as_operation(c, calls, count, buf, query, is_parser_owned);
    if (is_watched && is_session) server_feed_monitors(c->worker, c, calls, count);
    if (s->group->count > 1) note_shards(c, calls, count);
}
