// SPDX-License-Identifier: BSD-3-Clause
#include "server/transaction.h"

#include <string.h>

#include "base/mem.h"
#include "engine/interest.h"
#include "engine/settings.h"
#include "server/client.h"
#include "shard/message.h"

#define QUEUE_FIRST 16 // calls for which there is room at first

#define SAY_OK         "+OK"
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

// Everything lies in the memory of the operation that will take it to the shards.
static struct call *new_call(struct operation_pool *pool, struct queue *q)
{
    struct transaction *t = &q->t;
    if (!t->op) t->op = operation_new(pool);
    if (t->count == q->cap) {
        q->cap = q->cap ? q->cap * 2 : QUEUE_FIRST;
        struct call *calls = operation_room(pool, t->op, q->cap * sizeof calls[0]);
        if (t->count) memcpy(calls, t->calls, t->count * sizeof calls[0]);
        t->calls = calls;
    }
    return &t->calls[t->count++];
}

// Bytes of the arrays that go with a call, and of the arguments. Those that came in a blob stay
// there.
static size_t bytes_of(const struct piece *p)
{
    size_t bytes = (size_t)p->argc * sizeof p->argv[0];
    if (p->blobs) bytes += (size_t)p->argc * sizeof p->blobs[0];
    for (int i = 0; i < p->argc; i++)
        if (!p->blobs || !p->blobs[i]) bytes += p->argv[i].len;
    return bytes;
}

static void copy_args(struct piece *to, const struct piece *from, const char *first_key, char *at)
{
    to->argv = (struct slice *)(void *)at;
    at += (size_t)from->argc * sizeof to->argv[0];
    if (from->blobs) {
        to->blobs = (struct blob **)(void *)at;
        at += (size_t)from->argc * sizeof to->blobs[0];
    }
    for (int i = 0; i < from->argc; i++) {
        struct slice arg = from->argv[i];
        struct blob *blob = from->blobs ? from->blobs[i] : NULL;
        bool is_key = arg.ptr == first_key;
        if (from->blobs) to->blobs[i] = blob ? blob_ref(blob) : NULL;
        if (!blob) {
            memcpy(at, arg.ptr, arg.len);
            arg.ptr = at;
            at += arg.len;
        }
        to->argv[i] = arg;
        if (is_key) to->first_key = arg.ptr;
    }
}

// Arguments outlive the receive buffer.
static void add_call(struct client *c, const struct call *said)
{
    struct queue *q = &c->queue;
    struct shard *s = &c->worker->shard;
    const struct piece *p = &said->piece;
    struct call *call = new_call(&s->pool, q);
    *call = (struct call){.piece = {.cmd = p->cmd, .argc = p->argc, .ctx_flags = CTX_IN_EXEC}};
    copy_args(&call->piece, p, said->queued_key, operation_room(&s->pool, q->t.op, bytes_of(p)));
    q->t.has_blobs |= p->blobs != NULL;
    if (!call->piece.first_key) return;
    call->is_routed = true;
    call->route = ROUTE_ONE;
    call->shard = said->shard;
    call->piece.first_hash = p->first_hash;
    // Its bucket is on its way when EXEC comes.
    if (call->shard == s->id && !s->is_parked)
        dict_prefetch_bucket(&s->space->dbs[c->session.db].keys, p->first_hash);
}

void transaction_unref_blobs(struct call *calls, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct piece *p = &calls[i].piece;
        for (int a = 0; p->blobs && a < p->argc; a++)
            if (p->blobs[a]) blob_unref(p->blobs[a]);
    }
}

void transaction_free(struct operation_pool *pool, struct transaction *t)
{
    if (t->has_blobs) transaction_unref_blobs(t->calls, t->count);
    if (t->op) operation_free(pool, t->op);
}

static void end_queueing(struct client *c)
{
    c->session.is_in_multi = c->session.is_multi_dirty = false;
    c->session.multi_count = 0;
    c->session.has_queued_write = c->session.has_queued_denyoom = false;
}

void transaction_end(struct client *c)
{
    struct queue *q = &c->queue;
    q->t = (struct transaction){0};
    q->cap = 0;
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
    if (q->t.op) transaction_free(&c->worker->shard.pool, &q->t);
    q->t = (struct transaction){0};
    q->cap = 0;
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
    for (uint32_t i = 0; i < c->queue.t.count; i++) {
        const struct piece *p = &c->queue.t.calls[i].piece;
        if (command_may_write(c->worker->shard.engine, p->cmd, p->argc, p->argv)) return true;
    }
    return false;
}

bool transaction_publishes(const struct client *c)
{
    for (uint32_t i = 0; i < c->queue.t.count; i++)
        if (command_publishes(c->queue.t.calls[i].piece.cmd)) return true;
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
        fanout_route_queued(s->engine, s->id, t);
        call->is_exec = true;
        // The WATCH before it may be under way, and looks at the session.
        call->is_quiet = c->session.watch || t->is_quiet;
    }
}

void transaction_refuse(struct client *c, struct call *call, const char *line,
                        const char *exec_line)
{
    bool is_exec = call->piece.cmd->transaction == TRANSACTION_EXEC;
    say(call, is_exec ? exec_line : line);
    call->is_exec = call->is_subscribing = false;
    if (is_exec)
        call->is_quiet = c->session.watch != NULL;
    else
        call->piece.cmd = NULL; // as one that was not admitted: the transaction cannot run any more
}

void transaction_watch_blindly(const struct client *c, struct call *call)
{
    if (!c->session.is_in_multi) say(call, SAY_OK);
}

static bool is_reset(const struct command *c)
{
    return slice_is(slice_of(c->full_name), "reset"); // not SLOWLOG RESET
}

static bool runs_at_once(const struct command *c)
{
    return slice_is(slice_of(c->full_name), "quit") || is_reset(c);
}

// With arguments, say.
static bool is_refused_exec(const struct call *call)
{
    return !call->piece.cmd && slice_is(call->piece.argv[0], "exec");
}

static void route_queued(struct call *call)
{
    if (call->piece.cmd->flags & CMD_NO_MULTI)
        say(call, SAY_NOT_INSIDE);
    else if (call->piece.first_key || !runs_at_once(call->piece.cmd)) {
        bool is_simple = call->route == ROUTE_ONE && !call->may_block;
        call->queued_key = is_simple ? call->piece.first_key : NULL;
        say(call, SAY_QUEUED);
    }
}

bool transaction_refuses(const struct client *c, const struct call *call)
{
    const struct command *cmd = call->piece.cmd;
    return !cmd || (c->session.is_in_multi && (cmd->flags & CMD_NO_MULTI));
}

bool transaction_queues(const struct call *call)
{
    return call->piece.say && slice_is(slice_of(call->piece.say), SAY_QUEUED);
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
        // It ends the watch, and the WATCH before it may be under way.
        if (UNLIKELY(s->watch && is_refused_exec(call))) call->is_quiet = true;
        break;
    }
}

static void apply_queued(struct client *c, struct call *call)
{
    const struct piece *p = &call->piece;
    struct session *s = &c->session;
    if (transaction_refuses(c, call)) {
        s->is_multi_dirty = true; // refused; it answers why
    } else if (p->say) {
        s->multi_count++;
        if (s->is_multi_dirty) return;
        const struct engine *e = c->worker->shard.engine;
        uint32_t flags = command_flags_of(e, p->cmd, p->argc, p->argv);
        add_call(c, call);
        s->has_queued_write |= (flags & CMD_WRITE) != 0;
        s->has_queued_denyoom |= (flags & CMD_DENYOOM) != 0;
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
        if (s->is_in_multi) break;
        note_watched(c, call);
        // Nobody looked. Release: as whoever changes a key.
        if (UNLIKELY(call->piece.say != NULL))
            atomic_store_explicit(&s->watch->is_dirty, true, memory_order_release);
        break;
    case TRANSACTION_UNWATCH:
        if (s->is_in_multi)
            apply_queued(c, call);
        else
            forget_watch(c);
        break;
    case TRANSACTION_NONE:
        if (LIKELY(!s->is_in_multi && !s->watch)) break;
        if ((cmd && is_reset(cmd)) || is_refused_exec(call)) { // either ends it
            discard(c);
            forget_watch(c);
        } else if (s->is_in_multi) {
            apply_queued(c, call);
        }
        break;
    }
}
