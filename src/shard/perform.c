// SPDX-License-Identifier: BSD-3-Clause
#include "shard/perform.h"

#include <semaphore.h>

#include "base/jitter.h"
#include "engine/interest.h"
#include "engine/settings.h"
#include "engine/tracking.h"
#include "shard/execute.h"
#include "shard/logging.h"
#include "shard/message.h"
#include "shard/refuse.h"
#include "shard/serve.h"

static struct ctx operation_ctx(struct shard *s, struct part *part)
{
    struct operation *op = part->op;
    if (op->may_block) s->is_now_stale = true; // its timeout counts from now
    struct ctx ctx = shard_ctx(s);
    ctx.session = op->session;
    ctx.db = op->db;
    ctx.flags = op->ctx_flags | CTX_NOTE_LATER; // at home, in the order of the connection
    ctx.reply = &part->reply;
    return ctx;
}

// A transaction, all of it on this shard or none watched: its part runs unless a watched key has
// changed.
static bool may_run_exec(struct operation *op, struct ctx *ctx)
{
    if (LIKELY(!op->watch)) return true;
    op->is_refused = !watch_is_intact(op->watch, ctx);
    for (uint32_t i = 0; i < ctx->space_count; i++)
        if (ctx->spaces[i]) watch_drop(op->watch, ctx->spaces[i]);
    return !op->is_refused;
}

// --- batches -------------------------------------------------------------------------------------

void perform_finish(struct shard *s, struct part *part)
{
    struct operation *op = part->op;
    jitter();
    // Release: the replies are written before the home shard counts this part as finished. Acquire:
    // the last one passes the others' on.
    if (atomic_fetch_sub_explicit(&op->waiting, 1, memory_order_acq_rel) == 1)
        shard_post(s, s->group->shards[op->home], &op->finished);
}

static void finish_held(struct shard *s, struct held *held)
{
    perform_finish(s, CONTAINER_OF(held, struct part, held));
}

void perform_part(struct shard *s, struct inbox_item *item)
{
    struct part *part = CONTAINER_OF(item, struct part, item);
    struct operation *op = part->op;
    const char *refused = op->is_whole ? refuse_before_begin(op) : NULL;
    if (UNLIKELY(refused != NULL)) {
        refuse_part(s, part, refused);
        return;
    }
    struct ctx ctx = operation_ctx(s, part);
    uint64_t logged = logging_end(s);
    bool runs = may_run_exec(op, &ctx);
    if (LIKELY(runs && part->first))
        shard_execute(s, &ctx, part->first, true);
    else if (!runs && part->last && part->last->tx)
        logging_end_unit(s, &ctx, part->last->tx, part->last->tx_part); // it did nothing
    if (op->is_exec) tracking_unit_end(&ctx);
    if (UNLIKELY(ctx.waiter != NULL)) {
        serve_note_blocked(s, op, ctx.waiter);
        return; // it is finished when it is served
    }
    part->held.release = finish_held;
    if (UNLIKELY(logging_end(s) != logged))
        logging_hold(s, &part->held, logging_end(s));
    else
        perform_finish(s, part);
}

// --- meetings ------------------------------------------------------------------------------------

// All shards stand still. What they sent before belongs before what the runner does now, also the
// messages that stand in its inbox behind the meeting: they are delivered first.
static void deliver_messages(struct shard *s)
{
    struct inbox_item *all, *messages = NULL, **last_message = &messages;
    shard_take_inbox(s);
    all = inbox_queue_take(&s->backlog);
    while (all) {
        struct inbox_item *item = all;
        all = item->next;
        item->next = NULL;
        if (inbox_item_is_message(item)) {
            *last_message = item;
            last_message = &item->next;
        } else {
            inbox_queue_append(&s->backlog, item);
        }
    }
    while (messages) {
        struct inbox_item *item = messages;
        messages = item->next;
        item->run(s, item);
    }
}

// SUBSCRIBE and its kin change who gets messages here.
static bool changes_subscribers(const struct command *c)
{
    return c && c->span == SPAN_SESSION && (c->flags & CMD_PUBSUB);
}

// The commands of a connection one after the other: a whole transaction, or those that travelled
// together, each a unit of its own.
static void run_requests(struct shard *s, struct ctx *ctx, struct operation *op)
{
    for (uint32_t i = 0; i < op->request_count; i++) {
        struct request *r = &op->requests[i];
        bool is_last = i + 1 == op->request_count;
        if (op->follows_session) {
            ctx->db = op->session->db;
            ctx->settings = shard_renew_settings(s);
        }
        if (op->is_exec && !is_last) r->whole.ctx_flags |= CTX_UNIT_GOES_ON;
        r->whole.next = NULL;
        r->part = 0;
        if (changes_subscribers(r->whole.cmd)) deliver_messages(s);
        shard_execute(s, ctx, &r->whole, true);
        if (!op->is_exec && !is_last) tracking_unit_end(ctx);
    }
}

// One of the operations that meet here, as plain single-threaded code.
static void run_operation(struct shard *s, struct ctx *ctx, struct operation *op)
{
    if (!op->meet && op->part_count == s->group->count) serve_retrying(s, ctx);
    if (op->meet)
        op->meet(s, ctx, op);
    else if (may_run_exec(op, ctx))
        run_requests(s, ctx, op);
    op->has_run = true; // the session's home is the runner where that matters
    serve_ready(s, ctx);
    tracking_unit_end(ctx); // of a transaction, and what was noted at the others
}

// As plain single-threaded code; then the others are freed. The operations may be gone as soon as
// they are posted as finished: parked shards do not look at them again.
static void run_meeting(struct shard *s, struct operation *first)
{
    struct ctx ctx;
    struct keyspace *spaces[SETTINGS_THREADS_MAX] = {0};
    uint64_t txid = first->txid;
    for (uint32_t i = 0; i < first->part_count; i++)
        spaces[first->parts[i].shard] = s->engine->spaces[first->parts[i].shard];
    for (struct operation *op = first, *next; op; op = next) {
        next = op->with;
        ctx = operation_ctx(s, &op->parts[0]);
        ctx.space_count = s->engine->shard_count;
        ctx.spaces = spaces;
        run_operation(s, &ctx, op);
        if (ctx.waiter) {
            serve_note_blocked(s, op, ctx.waiter); // it may be ended from here on
        } else {
            op->ending = (struct ending){s->endings, &op->finished, op->home};
            s->endings = &op->ending;
        }
    }
    struct ending *endings = s->endings;
    s->endings = NULL;
    stat_add(&s->engine->stats[s->id]->meetings, 1);
    logging_end_meeting(s, &ctx, txid, endings);
    for (uint32_t i = 0; i < ctx.space_count; i++)
        if (spaces[i] && i != s->id) {
            struct shard *other = s->group->shards[i];
            shard_post(s, other, &other->resume);
        }
}

static void deliver_summons(struct shard *s, struct mail *mail)
{
    ASSERT(s->is_parked);
    s->is_parked = false;
    run_meeting(s, CONTAINER_OF(mail, struct operation, summons));
}

struct errand {
    struct mail mail;
    void (*run)(struct shard *shard, void *arg);
    void *arg;
    sem_t is_done;
};

static void deliver_errand(struct shard *s, struct mail *mail)
{
    struct errand *e = CONTAINER_OF(mail, struct errand, mail);
    ASSERT(s->is_parked);
    e->run(s, e->arg);
    sem_post(&e->is_done); // it is gone from here on
}

void perform_at(struct shard *other, void (*run)(struct shard *shard, void *arg), void *arg)
{
    struct errand e = {.mail = {.deliver = deliver_errand}, .run = run, .arg = arg};
    sem_init(&e.is_done, 0, 0);
    inbox_post(&other->inbox, &e.mail);
    // Whoever has claimed to wake it may be this shard, with its next submission.
    ring_wake(NULL, other->ring);
    while (sem_wait(&e.is_done) != 0) // a signal
        ;
    sem_destroy(&e.is_done);
}

// Does a shard, this thread's, wait in the meeting, which has not been run?
static bool waits_in(const struct operation *op, const struct shard *s)
{
    for (uint32_t i = 0; i < op->part_count; i++)
        if (op->parts[i].shard == s->id) return op->parts[i].is_parked;
    return false;
}

void perform_count_arrival(struct shard *s, struct operation *op)
{
    jitter();
    // Release: what this shard did to its keyspace before is seen by the runner. Acquire: the
    // runner sees it from all.
    if (atomic_fetch_sub_explicit(&op->waiting, 1, memory_order_acq_rel) > 1) return;
    const char *refused = refuse_before_begin(op);
    if (UNLIKELY(refused != NULL)) {
        refuse_meeting(s, op, refused);
        return;
    }
    uint32_t runner = op->runner == RUNNER_ANY ? s->id : op->runner;
    // Who stands in for this shard waits in the meeting, too, or else is not concerned.
    if (s->stand_in && op->runner == RUNNER_ANY && waits_in(op, s->stand_in))
        runner = s->stand_in->id;
    if (runner != s->id || s->stand_in) {
        op->summons = (struct mail){.deliver = deliver_summons};
        shard_post(s, s->group->shards[runner], &op->summons);
        return;
    }
    s->is_parked = false;
    run_meeting(s, op);
}

void perform_arrival(struct shard *s, struct inbox_item *item)
{
    struct part *part = CONTAINER_OF(item, struct part, item);
    // Parked first: once this shard has been counted, the meeting may be over and the operation
    // freed.
    part->is_parked = true;
    s->is_parked = true;
    perform_count_arrival(s, part->op);
}

void perform_resumption(struct shard *s, struct mail *mail)
{
    (void)mail;
    ASSERT(s->is_parked);
    s->is_parked = false;
    logging_resume(s);
}
