// SPDX-License-Identifier: BSD-3-Clause
//
// dispatch: from a run of calls to replies.
//
//   in place       everything is at home, nothing of this connection is under way and nothing waits
//   in the inbox:
//                  executed on the spot, straight into the connection's reply
//   an operation   else: entered into the inboxes concerned in one step (shard_submit). Its replies
//                  wait for those of the operations before it
#include "base/clock.h"
#include "base/mem.h"
#include "engine/interest.h"
#include "engine/monitor.h"
#include "engine/tracking.h"
#include "server/blocked.h"
#include "server/client.h"
#include "server/invalidate.h"
#include "server/server.h"
#include "shard/execute.h"
#include "shard/logging.h"
#include "shard/merge.h"

#define HANDOVER_STREAK 32 // commands in a row for one other shard that move a connection there
#define FEW_REQUESTS    8
#define BEHIND_MAX      (64 * 1024) // bytes behind an operation; past that operations count them

bool dispatch_has_room(const struct client *c)
{
    const struct operation *last = c->ops_tail;
    bool must_end = c->ops && last->may_block; // else input.c says what may follow what
    bool subscribes = c->ops && last->changes_session;
    return c->op_count < (subscribes ? CLIENT_SUBS_MAX : CLIENT_OPS_MAX) && !must_end;
}

// `at`: the shard whose keys it is about.
static struct ctx client_ctx(struct client *c, struct shard *at, struct reply *reply)
{
    struct ctx ctx = shard_ctx(at);
    ctx.session = &c->session;
    ctx.db = c->session.db;
    ctx.flags = c->session.is_no_touch ? CTX_NO_TOUCH : 0;
    ctx.reply = reply;
    reply->resp = c->session.resp;
    return ctx;
}

// --- in place ------------------------------------------------------------------------------------

// What came for the connection while its command was run stands behind the reply.
static void end_executing(struct client *c, struct reply *reply)
{
    c->is_executing = false;
    if (LIKELY(!c->pushes)) return;
    reply_splice(reply, c->pushes);
    push_discard(c);
}

// `logged`: logging_end before it was executed.
static void note_logged(struct client *c, uint64_t logged)
{
    uint64_t end = logging_end(&c->worker->shard);
    if (UNLIKELY(end != logged)) c->log_seq = end;
}

// At home, or at another shard whose place this one has taken.
static void run_in_place(struct client *c, struct shard *at, struct call *calls, uint32_t ctx_flags)
{
    struct worker *w = c->worker;
    struct session *s = &c->session;
    bool is_session =
        calls[0].route == ROUTE_QUIET; // then it stands alone, and may change the mode
    bool is_read = is_session ? s->reply_mode == REPLY_ON : session_step_reply(s);
    const struct command *cmd = calls[0].piece.cmd;
    if (UNLIKELY(cmd && cmd->conclude)) is_read |= (cmd->flags & CMD_PUBSUB) != 0;
    output_lend_chunk(w, &c->reply);
    struct reply *unread = &w->space->unread;
    struct ctx ctx = client_ctx(c, at, is_read ? &c->reply : unread);
    ctx.flags |= ctx_flags | (is_session ? CTX_NOTE_LATER : 0);
    uint64_t logged = logging_end(&w->shard);
    c->is_executing = true;
    shard_execute(at, &ctx, &calls[0].piece, false);
    end_executing(c, &c->reply);
    note_logged(c, logged);
    if (is_session) { // CONFIG SET is itself judged by what it set
        ctx.settings = shard_renew_settings(&w->shard);
        engine_note_slow(&ctx, w->shard.id, calls[0].piece.ticks);
    }
    if (is_session && session_step_reply(s) && !is_read) reply_splice(&c->reply, unread);
    if (UNLIKELY(!is_read)) reply_clear(unread);
    if (UNLIKELY(s->is_cut_off))
        client_kill(c);
    else if (reply_bytes(&c->reply) || s->is_closing)
        output_mark_dirty(c);
}

// What is answered at home at once needs no operation of its own behind those under way: it stands
// behind the last one's replies. So is every command that is queued, of a pipeline of transactions.
static void run_behind(struct client *c, struct call *calls, uint32_t ctx_flags)
{
    struct worker *w = c->worker;
    bool is_read = session_step_reply(&c->session);
    struct reply *unread = &w->space->unread;
    struct reply *behind = operation_behind(&w->shard.pool, c->ops_tail);
    struct ctx ctx = client_ctx(c, &w->shard, is_read ? behind : unread);
    ctx.flags |= ctx_flags;
    c->is_executing = true;
    shard_execute(&w->shard, &ctx, &calls[0].piece, false);
    end_executing(c, behind);
    if (UNLIKELY(!is_read)) reply_clear(unread);
}

// --- transactions in place -----------------------------------------------------------------------

// Without commands that change the session they are one list, and their keys are fetched ahead.
static void execute_queued(struct client *c, struct ctx *ctx, struct transaction *t)
{
    bool is_quiet = t->is_quiet;
    for (uint32_t i = 0; i < t->count; i++) {
        struct piece *p = &t->calls[i].piece;
        bool is_last = i + 1 == t->count;
        p->ctx_flags = CTX_IN_EXEC | (is_last ? 0 : CTX_UNIT_GOES_ON);
        p->next = is_last || is_quiet ? NULL : &t->calls[i + 1].piece;
    }
    if (!is_quiet && t->count) shard_execute(&c->worker->shard, ctx, &t->calls[0].piece, false);
    for (uint32_t i = 0; i < t->count && is_quiet; i++) {
        ctx->db = c->session.db;
        ctx->settings = shard_renew_settings(&c->worker->shard);
        ctx->reply->resp = c->session.resp;
        shard_execute(&c->worker->shard, ctx, &t->calls[i].piece, false);
    }
}

static bool is_intact(struct client *c, struct ctx *ctx)
{
    struct watch *watch = c->session.watch;
    if (!watch) return true;
    bool is_intact = watch_is_intact(watch, ctx);
    watch_drop(watch, ctx->space);
    return is_intact;
}

static void exec_in_place(struct client *c, struct transaction *t, uint32_t ctx_flags)
{
    struct worker *w = c->worker;
    bool is_read = session_step_reply(&c->session);
    output_lend_chunk(w, &c->reply);
    struct reply *unread = &w->space->unread;
    struct ctx ctx = client_ctx(c, &c->worker->shard, is_read ? &c->reply : unread);
    ctx.flags |= ctx_flags;
    uint64_t begin = clock_ticks(), logged = logging_end(&w->shard);
    c->is_executing = true;
    ctx.reply->error_count = 0;
    if (is_intact(c, &ctx)) {
        reply_array(ctx.reply, t->count);
        execute_queued(c, &ctx, t);
        tracking_unit_end(&ctx);
    } else {
        reply_null_array(ctx.reply);
    }
    end_executing(c, &c->reply);
    note_logged(c, logged);
    tracking_end_caching(&c->session);
    ctx.cmd = t->exec;
    ctx.argc = 0;
    ctx.reply->error_count = 0;
    engine_count(&ctx, w->shard.id, clock_ticks() - begin);
    if (UNLIKELY(!is_read)) reply_clear(unread);
    if (UNLIKELY(c->session.is_cut_off))
        client_kill(c);
    else
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

// Where a message, which is no reply, belongs.
static struct reply *place_of_push(struct client *c)
{
    if (!c->is_executing) {
        // Behind what is under way now, but a command that waits holds nothing up. A message from
        // before a SUBSCRIBE or UNSUBSCRIBE has run belongs before its acknowledgement.
        struct operation *op = c->ops, *before = NULL;
        for (; op && !op->is_blocked && (!op->changes_session || op->has_run); op = op->next)
            before = op;
        return before ? operation_behind(&c->worker->shard.pool, before) : &c->reply;
    }
    if (!c->pushes) {
        c->pushes = mem_alloc(sizeof *c->pushes);
        reply_init(c->pushes, c->session.resp);
    }
    return c->pushes;
}

struct reply *client_push_begin(struct client *c)
{
    struct reply *r = c->is_dead ? &c->worker->space->unread : place_of_push(c);
    r->resp = c->session.resp;
    return r;
}

void client_push_end(struct client *c)
{
    if (c->is_dead)
        reply_clear(&c->worker->space->unread);
    else if (reply_bytes(&c->reply) && !c->is_executing)
        output_mark_dirty_last(c);
}

void push_discard(struct client *c)
{
    if (!c->pushes) return;
    reply_free(c->pushes);
    mem_free(c->pushes);
    c->pushes = NULL;
}

static void count_spread(struct client *c, uint32_t change)
{
    // Relaxed: see engine.h.
    atomic_fetch_add_explicit(&c->worker->shard.engine->spread_waiters, change,
                              memory_order_relaxed);
}

// A dead connection's are merged, too, if they change what it is to the server: it leaves with
// that.
//
// True: it has been waiting for others.
static bool collect_replies(struct client *c)
{
    bool has_waited = false;
    while (c->ops && c->ops->is_done) {
        struct operation *op = c->ops;
        has_waited |= op->is_blocked;
        if (op->is_blocked) blocked_end(c);
        c->ops = op->next;
        if (!c->ops) c->ops_tail = NULL;
        c->op_count--;
        output_lend_chunk(c->worker, &c->reply);
        struct ctx ctx = client_ctx(c, &c->worker->shard, &c->reply);
        ctx.flags |= op->ctx_flags & CTX_CACHING;
        if (!c->is_dead || op->changes_session) merge_replies(op, &ctx);
        if (op->is_exec) tracking_end_caching(&c->session);
        if (op->is_spread) count_spread(c, (uint32_t)-1);
        if (op->behind && !c->is_dead) reply_splice(&c->reply, op->behind);
        release_arguments(c, op);
        if (op->queued) transaction_unref_blobs(op->queued, op->queued_count);
        operation_free(&c->worker->shard.pool, op);
    }
    return has_waited;
}

static void operation_done(struct operation *op)
{
    struct client *c = op->owner;
    bool has_waited = collect_replies(c);
    if (!c->is_dead && (reply_bytes(&c->reply) || c->session.is_closing))
        (has_waited ? output_mark_dirty_first : output_mark_dirty)(c);
    if (!c->is_dead) client_resume(c);
    client_settle(c);
}

bool dispatch_is_light(const struct operation *op)
{
    if (op->done != operation_done) return true;
    const struct client *c = op->owner;
    if (op->request_count > FEW_REQUESTS) return false;
    for (uint32_t i = 0; i < op->request_count; i++)
        if (op->requests[i].whole.cmd && op->requests[i].whole.cmd->span == SPAN_GATHER)
            return false; // it runs when the replies are merged
    bool goes_on = c->query || c->is_stalled || c->is_paused || c->has_eof;
    return !goes_on && !c->is_dead && !c->session.is_closing && !op->changes_session;
}

// What was pushed while it was on its way does not wait for its end.
static void release_pushes(struct client *c, struct operation *op)
{
    struct reply *to = place_of_push(c);
    reply_splice(to, op->behind);
    reply_free(op->behind);
    op->behind = NULL;
    if (to == &c->reply) output_mark_dirty_last(c);
}

static void on_blocked(struct operation *op)
{
    // It may wait for long, and has its arguments itself.
    release_arguments(op->owner, op);
    memset(op->held, 0, sizeof op->held);
    struct client *c = op->owner;
    if (UNLIKELY(op->behind != NULL) && !c->is_dead) release_pushes(c, op);
    blocked_begin(c);
}

static void enter(struct client *c, struct operation *op)
{
    struct shard *s = &c->worker->shard;
    op->owner = c;
    op->done = operation_done;
    op->on_blocked = on_blocked;
    struct operation *last = c->ops_tail;
    op->follows_script = last && (last->runs_scripts || last->follows_script);
    if (last)
        last->next = op;
    else
        c->ops = op;
    c->ops_tail = op;
    c->op_count++;
    if (op->part_count) {
        shard_submit(s, op);
    } else { // answered at home, but behind others
        op->is_done = true;
        collect_replies(c);
        if (reply_bytes(&c->reply)) output_mark_dirty(c);
    }
}

// Is all of it answered at home, behind others?
static bool is_behind(const struct client *c, const struct call *calls, uint32_t count)
{
    enum { NOTED_US = 1000 }; // what is answered at home takes less
    const struct operation *last = c->ops_tail;
    if (!last || last->may_block) return false;
    // Who has quick commands noted, too, finds them in the slow log in the order of the connection.
    int64_t noted_us = shard_settings(&c->worker->shard)->slowlog_log_slower_than;
    if (UNLIKELY(noted_us >= 0 && noted_us < NOTED_US)) return false;
    if (last->behind && reply_bytes(last->behind) > BEHIND_MAX) return false;
    for (uint32_t i = 0; i < count; i++)
        if (calls[i].route != ROUTE_HOME) return false;
    return true;
}

static void run_as_operation(struct client *c, struct call *calls, uint32_t count,
                             uint32_t ctx_flags, struct ring_buf *buf, struct query *query,
                             bool is_parser_owned)
{
    struct shard *s = &c->worker->shard;
    bool is_silent = calls[0].is_silent;
    bool is_read = !is_silent && session_step_reply(&c->session);
    struct reply shape;
    reply_init(&shape, c->session.resp); // only its version is looked at
    struct ctx ctx = client_ctx(c, &c->worker->shard, &shape);
    ctx.flags |= ctx_flags;
    struct operation *op = fanout_operation(s, &ctx, calls, count);
    const struct command *cmd = calls[0].piece.cmd;
    op->changes_session = cmd && cmd->conclude;
    const struct command *last = calls[count - 1].piece.cmd;
    op->holds_up_input = op->changes_session || (last && (last->flags & CMD_ADMIN));
    op->has_run = !calls[0].is_subscribing;
    op->is_spread = op->may_block && op->part_count > 1;
    if (op->is_spread) count_spread(c, 1);
    if (op->changes_session && (cmd->flags & CMD_PUBSUB)) is_read = !is_silent; // as Redis
    for (uint32_t i = 0; i < count; i++) op->requests[i].is_silent = !is_read;
    hold_arguments(c, op, buf, query, is_parser_owned);
    if (is_parser_owned) request_parser_init(&c->parser); // the operation has what it held
    enter(c, op);
}

static void exec_as_operation(struct client *c, struct transaction *t, enum exec_route route,
                              uint32_t ctx_flags)
{
    bool is_read = session_step_reply(&c->session);
    struct reply shape;
    reply_init(&shape, c->session.resp);
    struct ctx ctx = client_ctx(c, &c->worker->shard, &shape);
    ctx.flags |= ctx_flags;
    struct operation *op = fanout_exec(&c->worker->shard, &ctx, t, route);
    op->changes_session = op->holds_up_input = op->follows_session;
    bool resubscribes = false;
    for (uint32_t i = 0; i < t->count; i++) {
        const struct command *cmd = t->calls[i].piece.cmd;
        op->requests[i].is_silent = !is_read;
        op->changes_session |= cmd->conclude != NULL;
        op->holds_up_input |= op->changes_session || (cmd->flags & CMD_ADMIN);
        resubscribes |= cmd->conclude && (cmd->flags & CMD_PUBSUB);
    }
    op->has_run = !resubscribes; // else what it is told before comes before
    if (t->has_blobs) op->queued = t->calls, op->queued_count = t->count;
    transaction_end(c);
    enter(c, op);
}

static void run_exec(struct client *c, const struct call *call, uint32_t ctx_flags)
{
    struct shard *s = &c->worker->shard;
    struct transaction t = c->queue.t;
    t.exec = call->piece.cmd;
    t.watch = c->session.watch;
    t.watched_shards = c->queue.watched_shards;
    enum exec_route route = fanout_route_exec(s->engine, s->id, &t);
    if (route == EXEC_HOME && !c->ops && shard_may_run_in_place(s)) {
        c->queue.t = (struct transaction){0}; // it may be killed
        exec_in_place(c, &t, ctx_flags);
        transaction_free(&s->pool, &t);
        if (!c->is_dead) transaction_end(c);
    } else {
        exec_as_operation(c, &t, route, ctx_flags);
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

// Executed on the spot?
static bool is_in_place(struct client *c, const struct call *calls, uint32_t count)
{
    struct shard *s = &c->worker->shard;
    bool has_keys;
    if (calls[0].may_block || c->ops) return false;
    bool has_choice = s->group->count > 1 || UNLIKELY(s->is_inside); // else all is at home
    if (has_choice && !is_all_home(c, calls, count, &has_keys)) return false;
    return (has_choice && !has_keys) || shard_may_run_in_place(s);
}

// A few quick commands on keys of one other shard, which sleeps: they are run there on the spot, by
// this thread (shard_rouse). NULL: no.
static struct shard *take_place(struct client *c, const struct call *calls, uint32_t count)
{
    if (count > FEW_REQUESTS || calls[0].may_block || calls[0].is_silent || c->ops) return NULL;
    bool writes = false;
    for (uint32_t i = 0; i < count; i++) {
        const struct command *cmd = calls[i].piece.cmd;
        if (calls[i].route != ROUTE_ONE || calls[i].shard != calls[0].shard) return NULL;
        if (!cmd || !piece_is_light(&calls[i].piece)) return NULL;
        writes |= (cmd->flags & CMD_WRITE) != 0;
    }
    return shard_take_place(&c->worker->shard, calls[0].shard, writes);
}

static void run_there(struct client *c, struct shard *other, struct call *calls, uint32_t ctx_flags)
{
    struct shard *s = &c->worker->shard; // the client may be gone
    run_in_place(c, other, calls, ctx_flags);
    shard_give_place_back(s, other);
}

void dispatch_run(struct client *c, struct call *calls, uint32_t count, struct ring_buf *buf,
                  struct query *query, bool is_parser_owned)
{
    struct shard *s = &c->worker->shard;
    for (uint32_t i = 0; i < count; i++)
        calls[i].piece.next = i + 1 < count ? &calls[i + 1].piece : NULL;
    uint32_t ctx_flags = 0;
    if (UNLIKELY(c->session.tracking)) {
        invalidate_take(c->worker);
        if (!calls[0].piece.say) ctx_flags = tracking_take_caching(&c->session, calls[0].piece.cmd);
    }
    // Relaxed: see host.c. What changes the session is shown as it left it.
    bool is_watched = UNLIKELY(atomic_load_explicit(&s->engine->monitors, memory_order_relaxed)) &&
                      !calls[0].is_silent;
    bool is_session = calls[0].route == ROUTE_QUIET;
    struct shard *other;
    if (is_watched && calls[0].is_exec)
        server_feed_monitors(c->worker, c, c->queue.t.calls, c->queue.t.count);
    if (is_watched && !is_session) server_feed_monitors(c->worker, c, calls, count);
    if (calls[0].is_exec)
        run_exec(c, &calls[0], ctx_flags);
    else if (is_in_place(c, calls, count))
        run_in_place(c, s, calls, ctx_flags);
    else if ((other = take_place(c, calls, count)))
        run_there(c, other, calls, ctx_flags);
    else if (is_behind(c, calls, count))
        run_behind(c, calls, ctx_flags);
    else
        run_as_operation(c, calls, count, ctx_flags, buf, query, is_parser_owned);
    if (is_watched && is_session) server_feed_monitors(c->worker, c, calls, count);
    if (s->group->count > 1) note_shards(c, calls, count);
}
