// SPDX-License-Identifier: BSD-3-Clause
#include "server/transaction.h"

#include <string.h>

#include "base/mem.h"
#include "engine/interest.h"
#include "engine/settings.h"
#include "server/client.h"
#include "shard/message.h"

#define SAY_QUEUED     "+QUEUED"
#define SAY_NESTED     "-ERR MULTI calls can not be nested"
#define SAY_WATCH      "-ERR WATCH inside MULTI is not allowed"
#define SAY_NO_EXEC    "-ERR EXEC without MULTI"
#define SAY_NO_DISCARD "-ERR DISCARD without MULTI"
#define SAY_ABORTED    "-EXECABORT Transaction discarded because of previous errors."
#define SAY_NOT_INSIDE "-ERR Command not allowed inside a transaction"

// --- what is watched -----------------------------------------------------------------------------

// The shards of the keys forget them, each in its own time.
struct unwatch {
    struct message message;
    struct watch *watch; // a reference
};

static void deliver_unwatch(struct shard *s, struct message *m)
{
    watch_drop(CONTAINER_OF(m, struct unwatch, message)->watch, s->space);
}

static void free_unwatch(struct message *m)
{
    struct unwatch *u = CONTAINER_OF(m, struct unwatch, message);
    watch_unref(u->watch);
    mem_free(u);
}

static void forget_watch(struct client *c)
{
    struct queue *q = &c->queue;
    struct shard *s = &c->worker->shard;
    uint32_t shards[SETTINGS_THREADS_MAX], count = 0;
    struct watch *watch = c->session.watch;
    if (!watch) return;
    for (uint32_t i = 0; i < s->group->count; i++)
        if (q->watched_shards[i]) shards[count++] = i;
    struct unwatch *u = mem_calloc(sizeof *u);
    *u = (struct unwatch){.message = {.deliver = deliver_unwatch, .free = free_unwatch},
                          .watch = watch};
    c->session.watch = NULL; // its reference is the message's now
    c->session.watch_count = 0;
    memset(q->watched_shards, 0, s->group->count * sizeof q->watched_shards[0]);
    shard_send(s, &u->message, shards, count);
}

static void note_watched(struct client *c, const struct call *call)
{
    struct queue *q = &c->queue;
    const struct engine *e = c->worker->shard.engine;
    if (!q->watched_shards)
        q->watched_shards = mem_calloc(e->shard_count * sizeof q->watched_shards[0]);
    if (!c->session.watch) c->session.watch = watch_new(e->shard_count);
    for (int i = 1; i < call->piece.argc; i++)
        q->watched_shards[engine_shard_of(e, call->piece.argv[i])] = true;
    c->session.watch_count += (uint32_t)call->piece.argc - 1;
}

// --- the queue -----------------------------------------------------------------------------------

// Arguments outlive the receive buffer: one allocation a command. Bytes that came in a blob stay
// there.
static void add_call(struct queue *q, const struct piece *p)
{
    struct transaction *t = &q->t;
    if (t->count == q->cap) {
        q->cap = q->cap ? q->cap * 2 : 8;
        t->calls = mem_realloc(t->calls, q->cap * sizeof t->calls[0]);
    }
    size_t bytes = (size_t)p->argc * sizeof p->argv[0];
    if (p->blobs) bytes += (size_t)p->argc * sizeof p->blobs[0];
    for (int i = 0; i < p->argc; i++)
        if (!p->blobs || !p->blobs[i]) bytes += p->argv[i].len;
    struct call *call = &t->calls[t->count++];
    *call = (struct call){.piece = {.cmd = p->cmd, .argc = p->argc, .ctx_flags = CTX_IN_EXEC}};
    call->piece.argv = mem_alloc(bytes);
    char *at = (char *)(call->piece.argv + p->argc);
    if (p->blobs) {
        call->piece.blobs = (struct blob **)(void *)at;
        at += (size_t)p->argc * sizeof p->blobs[0];
    }
    for (int i = 0; i < p->argc; i++) {
        struct blob *blob = p->blobs ? p->blobs[i] : NULL;
        if (p->blobs) call->piece.blobs[i] = blob ? blob_ref(blob) : NULL;
        if (blob) {
            call->piece.argv[i] = p->argv[i];
            continue;
        }
        memcpy(at, p->argv[i].ptr, p->argv[i].len);
        call->piece.argv[i] = (struct slice){at, p->argv[i].len};
        at += p->argv[i].len;
    }
}

void transaction_free_calls(struct call *calls, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct piece *p = &calls[i].piece;
        for (int a = 0; p->blobs && a < p->argc; a++)
            if (p->blobs[a]) blob_unref(p->blobs[a]);
        mem_free(p->argv);
    }
    mem_free(calls);
}

static void end_queueing(struct client *c)
{
    c->session.is_in_multi = c->session.is_multi_dirty = false;
    c->session.multi_count = 0;
}

void transaction_end(struct client *c)
{
    struct queue *q = &c->queue;
    q->t.calls = NULL;
    q->t.count = q->cap = 0;
    if (c->session.watch) {
        watch_unref(c->session.watch);
        c->session.watch = NULL;
        c->session.watch_count = 0;
        memset(q->watched_shards, 0, c->worker->shard.group->count * sizeof q->watched_shards[0]);
    }
    end_queueing(c);
}

static void discard(struct client *c)
{
    struct queue *q = &c->queue;
    transaction_free_calls(q->t.calls, q->t.count);
    q->t.calls = NULL;
    q->t.count = q->cap = 0;
    end_queueing(c);
}

void transaction_forget(struct client *c)
{
    discard(c);
    forget_watch(c);
    mem_free(c->queue.watched_shards);
    c->queue.watched_shards = NULL;
}

bool transaction_writes(const struct client *c)
{
    for (uint32_t i = 0; i < c->queue.t.count; i++)
        if (c->queue.t.calls[i].piece.cmd->flags & (CMD_WRITE | CMD_MAY_REPLICATE)) return true;
    return false;
}

// --- reading -------------------------------------------------------------------------------------

static void say(struct call *call, const char *text)
{
    call->piece.say = text;
    call->piece.first_key = NULL; // nothing to fetch, and the keyspace may be parked
    call->route = ROUTE_HOME;
    call->is_quiet = call->may_block = false;
}

static void route_exec(struct client *c, struct call *call)
{
    struct transaction *t = &c->queue.t;
    struct shard *s = &c->worker->shard;
    if (!c->session.is_in_multi) {
        say(call, SAY_NO_EXEC);
    } else if (c->session.is_multi_dirty) {
        say(call, SAY_ABORTED);
        call->is_quiet = c->session.watch != NULL;
    } else {
        for (uint32_t i = 0; i < t->count; i++) fanout_route(s->engine, s->id, &t->calls[i]);
        call->is_exec = true;
        // The WATCH before it may be under way, and looks at the session.
        call->is_quiet = c->session.watch || fanout_is_exec_quiet(t);
    }
}

static bool runs_at_once(const struct command *c)
{
    return slice_is(slice_of(c->name), "quit") || slice_is(slice_of(c->name), "reset");
}

static void route_queued(struct call *call)
{
    if (call->piece.cmd->flags & CMD_NO_MULTI)
        say(call, SAY_NOT_INSIDE);
    else if (!runs_at_once(call->piece.cmd))
        say(call, SAY_QUEUED);
}

void transaction_route(struct client *c, struct call *call)
{
    const struct command *cmd = call->piece.cmd;
    const struct session *s = &c->session;
    switch (cmd ? cmd->transaction : TRANSACTION_NONE) {
    case TRANSACTION_MULTI:
        if (s->is_in_multi) say(call, SAY_NESTED);
        break;
    case TRANSACTION_EXEC: route_exec(c, call); break;
    case TRANSACTION_DISCARD:
        if (!s->is_in_multi) say(call, SAY_NO_DISCARD);
        call->is_quiet = s->watch != NULL;
        break;
    case TRANSACTION_WATCH:
        if (s->is_in_multi) say(call, SAY_WATCH);
        break;
    case TRANSACTION_UNWATCH:
        if (s->is_in_multi)
            say(call, SAY_QUEUED);
        else
            call->is_quiet = s->watch != NULL;
        break;
    case TRANSACTION_NONE:
        if (s->is_in_multi && cmd) route_queued(call);
        break;
    }
}

static void apply_queued(struct client *c, struct call *call)
{
    const struct command *cmd = call->piece.cmd;
    if (!cmd || (cmd->flags & CMD_NO_MULTI)) {
        c->session.is_multi_dirty = true; // refused; it answers why
    } else if (call->piece.say) {
        if (!c->session.is_multi_dirty) add_call(&c->queue, &call->piece);
        c->session.multi_count++;
    }
}

void transaction_apply(struct client *c, struct call *call)
{
    const struct command *cmd = call->piece.cmd;
    struct session *s = &c->session;
    switch (cmd ? cmd->transaction : TRANSACTION_NONE) {
    case TRANSACTION_MULTI: s->is_in_multi = true; break;
    case TRANSACTION_EXEC:
        if (call->is_exec || !s->is_in_multi) break; // dispatch_run does the rest
        discard(c);
        forget_watch(c);
        break;
    case TRANSACTION_DISCARD:
        if (!s->is_in_multi) break;
        discard(c);
        forget_watch(c);
        break;
    case TRANSACTION_WATCH:
        if (!s->is_in_multi) note_watched(c, call);
        break;
    case TRANSACTION_UNWATCH:
        if (s->is_in_multi)
            apply_queued(c, call);
        else
            forget_watch(c);
        break;
    case TRANSACTION_NONE:
        if (s->is_in_multi) apply_queued(c, call);
        break;
    }
}
