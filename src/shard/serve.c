// SPDX-License-Identifier: BSD-3-Clause
#include "shard/serve.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/interest.h"
#include "engine/settings.h"
#include "engine/snapshot.h"
#include "engine/tracking.h"
#include "shard/logging.h"
#include "shard/message.h"

// --- the life of an operation that waits ---------------------------------------------------------

static void deliver_blocked(struct shard *s, struct mail *mail)
{
    struct operation *op = CONTAINER_OF(mail, struct operation, blocked);
    op->is_blocked = true;
    s->blocked++;
    op->on_blocked(op);
    if (op->is_early) shard_post(s, s, &op->finished);
}

void serve_note_blocked(struct shard *s, struct operation *op, struct waiter *waiter)
{
    op->waiter = waiter;
    waiter->owner = op;
    op->blocked = (struct mail){.deliver = deliver_blocked, .is_light = true};
    // At home at once: mail to itself could be overtaken by that of another shard which serves it.
    if (op->home == s->id)
        deliver_blocked(s, &op->blocked);
    else
        shard_post(s, s->group->shards[op->home], &op->blocked);
}

// The waiter's reply is written. Its operation belongs to home from here on.
static void finish(struct shard *s, struct waiter *w)
{
    struct operation *op = w->owner;
    shard_post(s, s->group->shards[op->home], &op->finished);
}

static void release_finished(struct shard *s, struct held *held)
{
    struct operation *op = CONTAINER_OF(held, struct operation, served);
    shard_post(s, s->group->shards[op->home], &op->finished);
}

// It was served: its reply may be told when the log is safe, in a meeting those of all its shards.
static void finish_served(struct shard *s, struct ctx *ctx, struct waiter *w)
{
    struct operation *op = w->owner;
    if (ctx->space_count > 1) {
        op->ending = (struct ending){s->endings, &op->finished, op->home};
        s->endings = &op->ending;
        return;
    }
    logging_end_unit(s, ctx, NULL, 0);
    op->served.release = release_finished;
    logging_hold(s, &op->served, logging_end(s));
}

void serve_end_canceled(struct shard *s, struct waiter *waiter)
{
    waiter_end(waiter);
    finish(s, waiter);
}

// --- dismissal -----------------------------------------------------------------------------------

struct dismissal {
    struct message message;
    struct waiter *waiter; // a reference
};

static void deliver_dismissal(struct shard *s, struct message *m)
{
    waiter_unlink_all(CONTAINER_OF(m, struct dismissal, message)->waiter, s->id);
}

static void free_dismissal(struct message *m)
{
    struct dismissal *d = CONTAINER_OF(m, struct dismissal, message);
    waiter_unref(d->waiter);
    mem_free(d);
}

// Who served it has taken its links on that shard out, and home sees that; the others are as they
// were since it began to wait.
void serve_dismiss(struct shard *s, struct waiter *waiter)
{
    uint32_t shards[SETTINGS_THREADS_MAX], count = 0;
    bool has[SETTINGS_THREADS_MAX] = {0};
    for (int i = 0; i < waiter->link_count; i++)
        if (waiter->links[i].interest) has[waiter->links[i].shard] = true;
    for (uint32_t i = 0; i < s->group->count; i++)
        if (has[i]) shards[count++] = i;
    if (!count) return;
    struct dismissal *d = mem_calloc(sizeof *d);
    d->message.deliver = deliver_dismissal;
    d->message.free = free_dismissal;
    d->waiter = waiter;
    // Relaxed: home holds a reference.
    atomic_fetch_add_explicit(&waiter->refs, 1, memory_order_relaxed);
    shard_send(s, &d->message, shards, count);
}

// --- serving -------------------------------------------------------------------------------------

static void unlink_at_hand(const struct ctx *ctx, struct waiter *w)
{
    for (uint32_t i = 0; i < ctx->space_count; i++)
        if (ctx->spaces[i]) waiter_unlink_all(w, ctx->spaces[i]->shard);
}

// Whoever pushes when it has hung up must not find it waiting: what it took would be lost. Its home
// may have to read that still.
static bool has_hung_up(const struct shard *s, const struct waiter *w)
{
    bool may_take = w->owner && (w->cmd->flags & CMD_WRITE); // it has none while it begins to wait
    return may_take && s->hooks->has_hung_up && s->hooks->has_hung_up(w->owner);
}

// Runs the command's `serve` for a waiter that is claimed. True if that was its end.
static bool serve_claimed(struct shard *s, struct ctx *ctx, struct waiter *w, struct slice key)
{
    struct ctx c = *ctx;
    c.cmd = w->cmd;
    c.argv = w->argv;
    c.argc = w->argc;
    c.blobs = NULL;
    c.first_key = NULL;
    c.session = w->session;
    c.db = w->db;
    c.flags = CTX_NOTE_LATER;
    c.reply = &w->reply;
    c.waiter = NULL;
    snapshot_touch_keys(&c);
    if (has_hung_up(s, w) || !engine_serve(&c, key)) {
        if (waiter_unclaim(w)) return false;
        waiter_end(w); // home has given it up meanwhile
    }
    if (UNLIKELY(c.session->tracking)) tracking_remember(&c);
    tracking_unit_end(&c); // before its reply is on its way
    unlink_at_hand(ctx, w);
    finish_served(s, &c, w);
    return true;
}

// Asked before it is claimed: another shard that finds it claimed leaves it out for good.
static bool can_serve(struct ctx *ctx, const struct waiter *w, uint32_t db, struct slice key)
{
    const struct entry *e = ctx_peek_db(ctx, db, key);
    if (!(w->flags & BLOCK_UNTIL_GONE) && (!e || e->type != w->type)) return false;
    if (!w->cmd->would_serve) return true;
    struct ctx c = *ctx;
    c.cmd = w->cmd;
    c.argv = w->argv;
    c.argc = w->argc;
    c.session = NULL; // may be gone
    c.db = db;
    return w->cmd->would_serve(&c, key);
}

// --- the ready keys ------------------------------------------------------------------------------

static bool has_its_keys(const struct shard *s, const struct ctx *ctx, const struct waiter *w)
{
    int positions[4];
    if (!(w->flags & BLOCK_NEEDS_ALL_KEYS) || s->group->count == 1) return true;
    int keys = command_keys(w->cmd, w->argc, w->argv, positions, NULL, ARRAY_LEN(positions));
    for (int i = 0; i < keys; i++)
        if (!ctx_has_shard(ctx, engine_shard_of(s->engine, w->argv[positions[i]]))) return false;
    return true;
}

// In order of arrival. False: a waiter needs more shards than are at hand.
static bool serve_queue(struct shard *s, struct ctx *ctx, struct interest *i)
{
    struct wait_link *link = i->first, *next;
    struct slice key = interest_key(i);
    for (; link; link = next) {
        struct waiter *w = link->waiter;
        next = link->next;
        if (atomic_load(&w->state) != WAITER_WAITING || !can_serve(ctx, w, i->db, key)) continue;
        if (!has_its_keys(s, ctx, w)) return false;
        if (!waiter_claim(w, WAITER_CLAIMED)) continue;
        // The queue cannot change but by this: nothing that is served unlinks another's link.
        serve_claimed(s, ctx, w, key);
    }
    return true;
}

// False: there is somebody who needs other shards. He holds up those behind, for the first key that
// became ready serves first.
static bool serve_keys(struct shard *s, struct ctx *ctx)
{
    struct interest *i;
    struct ctx c = *ctx;
    bool is_served = true;
    while (is_served && (i = interest_take_ready(ctx->space))) {
        i->is_held = true; // not freed while its queue is walked
        is_served = serve_queue(s, &c, i);
        i->is_held = false;
        if (is_served)
            interest_settle(i);
        else
            interest_put_back(ctx->space, i);
    }
    ctx->begin_ticks = clock_ticks();
    return is_served;
}

// --- serving what lies on several shards ---------------------------------------------------------

void serve_retrying(struct shard *s, struct ctx *ctx)
{
    bool is_any = false;
    for (uint32_t i = 0; i < s->group->count; i++) {
        struct shard *asker = s->group->shards[i]; // parked, or this one
        if (!asker->is_retrying) continue;
        asker->is_retrying = false;
        interest_move_ready(ctx->space, asker->space);
        is_any = true;
    }
    if (is_any) serve_keys(s, ctx);
}

static void run_retry(struct shard *s, struct ctx *ctx, struct operation *op)
{
    (void)op;
    serve_retrying(s, ctx);
}

static void retry_done(struct operation *op)
{
    struct shard *s = op->owner;
    operation_free(&s->pool, op);
}

// BLMOVE to another shard: an operation of its own, in which all shards meet, for whoever waits
// there may move it on to any other. It enters the inboxes before the reply of what made the key
// ready can be seen, so whatever is sent after that reply comes behind it. Of what was sent before,
// what concerns this shard alone comes behind it, too, and what stops all shards serves first; what
// concerns some of them may come before.
static void retry(struct shard *s, const struct ctx *ctx)
{
    uint32_t shards[SETTINGS_THREADS_MAX], count = s->group->count;
    s->is_retrying = true;
    for (uint32_t i = 0; i < count; i++) shards[i] = i;
    struct operation *op = operation_new(&s->pool);
    op->kind = OPERATION_MEETING;
    op->meet = run_retry;
    op->done = retry_done;
    op->owner = s;
    op->session = NULL; // nobody's
    op->db = ctx->db;
    op->now_ms = ctx->now_ms;
    operation_set_parts(&s->pool, op, shards, count);
    shard_enter(s, op);
}

void serve_ready(struct shard *s, struct ctx *ctx)
{
    if (!s->is_retrying && !serve_keys(s, ctx)) retry(s, ctx);
}
