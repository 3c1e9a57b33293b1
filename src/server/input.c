// SPDX-License-Identifier: BSD-3-Clause
//
// input: from received bytes to runs of calls. A run is what is executed together: the complete
// requests at hand, at most RUN_CALLS, up to one that must stand alone (it changes the session, or
// needs a meeting).
//
// Nothing is copied: arguments point into the receive buffer. What is left over at its end goes to
// the connection's query buffer, and a big argument is received straight into the blob that will be
// its value.
#include <stdio.h>

#include "base/mem.h"
#include "engine/call.h"
#include "engine/errors.h"
#include "engine/settings.h"
#include "engine/snapshot.h"
#include "engine/tracking.h"
#include "server/busy.h"
#include "server/client.h"
#include "server/server.h"

#define ARGS_FEW 8 // a run with less room for arguments than this takes no more calls

struct run {
    uint32_t count, args;
    enum request_status status; // of what stands behind the calls
    bool is_parser_owned;       // the last call's arguments belong to the parser
    bool must_wait;             // the next request may not run now
    bool publishes;             // the last call does
};

static bool may_go_on(const struct client *c)
{
    return !c->is_dead && !c->session.is_closing && !c->session.awaits_stop && !c->is_stalled &&
           !c->is_paused && !c->big && !c->is_executing && dispatch_has_room(c);
}

static struct slice first_key_of(const struct piece *p)
{
    int i = 0;
    while (p->argv[i].ptr != p->first_key) i++;
    return p->argv[i];
}

// By a stop that saves: what is written after the cut of its snapshot would not be safe.
static bool is_held_by_stop(struct client *c, const struct call *call)
{
    struct worker *w = c->worker;
    const struct piece *p = &call->piece;
    if (LIKELY(!w->holds_writes)) return false;
    if (call->is_exec && transaction_writes(c)) return true;
    return p->cmd && !p->say && command_may_write(w->shard.engine, p->cmd, p->argc, p->argv);
}

// A command that writes to a giant which the snapshot does not have yet would make everybody wait
// while all of it is saved. So it waits itself, if it can be seen beforehand: here, on its own.
static bool must_wait_for_snapshot(struct client *c, const struct call *call)
{
    struct shard *s = &c->worker->shard;
    const struct piece *p = &call->piece;
    if (LIKELY(!s->image) || !shard_has_keyspace(s) || c->session.is_in_multi) return false;
    if (!p->cmd || p->say || !(p->cmd->flags & CMD_WRITE) || !p->first_key) return false;
    if (call->route != ROUTE_ONE || call->shard != s->id) return false;
    struct db *db = &s->space->dbs[c->session.db];
    struct entry *e = db_find(db, first_key_of(p), p->first_hash);
    if (!e || !snapshot_must_wait(db, e)) return false;
    c->worker->has_waiting_writers = true;
    return true;
}

// By CLIENT PAUSE. What is refused is told so at once.
static bool is_postponed(struct client *c, const struct call *call)
{
    struct worker *w = c->worker;
    if (LIKELY(!w->pause_until_ms) || transaction_refuses(c, call)) return false;
    // Past its end, too, until those go on who were held up: which inside of a command they do not.
    if (w->shard.is_inside && shard_now_ms(&w->shard) >= w->pause_until_ms) return false;
    const struct piece *p = &call->piece;
    if (w->pause_mode == PAUSE_ALL || (call->is_exec && transaction_writes(c))) return true;
    bool is_asked_for = !p->say || transaction_queues(call);
    return is_asked_for && command_may_write(w->shard.engine, p->cmd, p->argc, p->argv);
}

static bool publishes(const struct client *c, const struct call *call)
{
    const struct command *cmd = call->piece.cmd;
    if (c->worker->shard.group->count == 1 || !cmd || call->piece.say) return false;
    return UNLIKELY(call->is_exec) ? transaction_publishes(c) : command_publishes(cmd);
}

// Must it enter after all that the connection sent before has been done? See engine.h.
static bool may_meet_waiters(const struct client *c, const struct call *call)
{
    enum { TOUCHED = ACL_LIST | ACL_SORTEDSET | ACL_STREAM | ACL_SCRIPTING | ACL_KEYSPACE };
    const struct command *cmd = call->piece.cmd;
    // Relaxed: whoever waits since before the command was sent is counted.
    return atomic_load_explicit(&c->worker->shard.engine->spread_waiters, memory_order_relaxed) &&
           cmd && !call->piece.say && ((cmd->acl & TOUCHED) || call->is_exec);
}

// Calls that stop all shards do so once for a whole run of them (shard/perform.h).
static bool meets_with_others(const struct client *c, const struct call *call)
{
    return call->route == ROUTE_MEETING && !call->is_quiet && !call->is_subscribing &&
           !call->is_exec && !call->may_block && !may_meet_waiters(c, call);
}

// Does the order allow it? Something may have to end first: what is held back (is_stalled), or the
// run, without this call.
static bool is_in_order(struct client *c, struct run *run, const struct call *call)
{
    const struct call *first = &c->worker->space->calls[0];
    if (run->count && first->route == ROUTE_MEETING) return meets_with_others(c, call);
    bool waits = call->is_quiet || UNLIKELY(may_meet_waiters(c, call));
    bool is_alone = waits || call->may_block || call->is_exec;
    bool is_held = c->ops && c->ops_tail->holds_up_input;
    if (LIKELY(!is_alone && !is_held && call->route != ROUTE_MEETING)) return true;
    if (run->count) return false;
    if (c->ops && (waits || (is_held && !call->is_subscribing))) {
        c->is_stalled = true;
        run->must_wait = true;
        return false;
    }
    return true;
}

// The last thing that a publishing command waits for. What stands before it in the pipeline happens
// first: the run ends. What a transaction writes and publishes happens at once: somebody may have
// subscribed, then looked at what it is about to write and not found it, and it should be published
// to him. So a transaction waits for a moment at which really nothing is unread, if one comes.
static bool is_held_by_fence(struct client *c, const struct run *run, const struct call *call)
{
    return (run->count && !run->publishes) || fence_holds(c, call->is_exec);
}

// May this call join the run? If not, the run ends before it.
static bool may_join(struct client *c, struct run *run, const struct call *call)
{
    bool is_put_off = UNLIKELY(is_postponed(c, call));
    bool is_held = is_put_off || UNLIKELY(is_held_by_stop(c, call));
    bool is_paused = is_held || UNLIKELY(must_wait_for_snapshot(c, call));
    if (!is_paused && !is_in_order(c, run, call)) return false;
    bool is_publishing = publishes(c, call);
    if (is_paused || (is_publishing && is_held_by_fence(c, run, call))) {
        c->is_paused = run->must_wait = run->count == 0;
        c->is_postponed = is_put_off;
        c->paused_number = ++c->worker->paused_count;
        return false;
    }
    run->publishes = is_publishing;
    return true;
}

// Does the run end with this call?
static bool is_last(const struct client *c, const struct run *run, const struct call *call)
{
    const struct command *cmd = call->piece.cmd;
    bool is_alone = call->route == ROUTE_MEETING && !meets_with_others(c, call);
    return run->is_parser_owned || call->is_quiet || call->may_block || call->is_exec || is_alone ||
           run->count == RUN_CALLS || !cmd ||
           (cmd->flags & CMD_ADMIN) || // these two may close this very connection
           may_meet_waiters(c, call) ||
           (c->session.tracking & (TRACKING_CACHING | TRACKING_CACHING_EXEC)) ||
           (c->session.subscriptions && c->session.resp == 2) ||
           c->session.reply_mode == REPLY_SKIP;
}

// A key at home: its bucket is on its way while the rest of the run is read. Inlined, or gcc drops
// it (see shard.c).
static inline __attribute__((always_inline)) void prefetch_key(const struct client *c,
                                                               const struct call *call)
{
    const struct shard *s = &c->worker->shard;
    if (call->route != ROUTE_ONE || call->shard != s->id || !call->piece.first_key || s->is_parked)
        return;
    dict_prefetch_bucket(&s->space->dbs[c->session.db].keys, call->piece.first_hash);
}

// RESET ends subscriptions, and not all shards learn of it at once: what PUBLISH counted meanwhile
// would be lost. So an UNSUBSCRIBE of each kind goes before it, as if the connection had sent it,
// and then RESET is read again. It stands alone, with nothing under way.
static bool must_unsubscribe(const struct client *c, const struct call *call)
{
    const struct command *cmd = call->piece.cmd;
    return UNLIKELY(c->session.subscriptions != NULL) && c->worker->shard.group->count > 1 && cmd &&
           !call->piece.say && slice_is(slice_of(cmd->full_name), "reset");
}

static void unsubscribe_first(struct client *c, struct call *call)
{
    static const char *const words[PUBSUB_KINDS] = {"unsubscribe", "punsubscribe", "sunsubscribe"};
    struct worker *w = c->worker;
    int kind = 0;
    while (!subscriptions_count(c->session.subscriptions, (enum pubsub_kind)kind)) kind++;
    w->space->args[0] = slice_of(words[kind]);
    call->piece = (struct piece){.cmd = command_find(w->shard.engine->table, w->space->args[0]),
                                 .argv = w->space->args,
                                 .argc = 1};
    fanout_route(w->shard.engine, w->shard.id, call);
    call->is_silent = true;
}

// Reads one request at p into a call; returns what stands behind it, or NULL (run->status says
// why).
static const char *read_call(struct client *c, const char *p, const char *end, struct run *run,
                             struct call *call)
{
    struct worker *w = c->worker;
    struct piece *piece = &call->piece;
    *piece = (struct piece){.argv = w->space->args + run->args};
    if (LIKELY(request_parser_is_idle(&c->parser) && c->session.is_authenticated)) {
        const char *next =
            request_parse_fast(p, end, piece->argv, (int)(RUN_ARGS - run->args), &piece->argc);
        if (LIKELY(next != NULL)) {
            run->args += (uint32_t)piece->argc;
            return next;
        }
    }
    struct request_limits limits = {.max_bulk_bytes = shard_settings(&w->shard)->proto_max_bulk_len,
                                    .is_anonymous = !c->session.is_authenticated};
    run->status = request_parse(&c->parser, &limits, p, (size_t)(end - p));
    if (run->status != REQUEST_DONE) return NULL;
    piece->argc = c->parser.argc;
    piece->argv = c->parser.argv;
    piece->blobs = c->parser.blobs;
    run->is_parser_owned = true;
    return p + c->parser.pos;
}

// What was queued when writes were still possible, or there was memory.
static void check_exec(struct client *c, struct call *call, const struct settings *settings)
{
    struct worker *w = c->worker;
    const struct command *cmd = call->piece.cmd;
    char text[ENGINE_REFUSAL_BYTES];
    const char *error = NULL;
    if (!cmd || cmd->transaction != TRANSACTION_EXEC) return;
    if (c->session.has_queued_denyoom && call_is_out_of_memory(settings))
        error = ERR_OOM;
    else if (c->session.has_queued_write)
        error = engine_refuses_writes(w->shard.engine, settings, text);
    if (!error) return;
    snprintf(w->space->refusal, sizeof w->space->refusal, "-" ERR_EXEC_ABORTED "%s", error);
    transaction_refuse(c, call, w->space->refusal, w->space->refusal);
}

// Fills the space's calls; returns the bytes behind the last call of the run.
static const char *read_run(struct client *c, const char *p, const char *end, struct run *run)
{
    struct worker *w = c->worker;
    struct engine *e = w->shard.engine;
    const struct settings *settings = shard_renew_settings(&w->shard);
    bool is_busy = busy_is_on(e);
    run->status = REQUEST_MORE;
    while (p < end) {
        if (UNLIKELY(RUN_ARGS - run->args < ARGS_FEW && run->count)) break;
        struct call *call = &w->space->calls[run->count];
        const char *next = read_call(c, p, end, run, call);
        if (!next) break;
        if (call->piece.argc == 0) { // an empty line, *0
            request_parser_reset(&c->parser);
            run->is_parser_owned = false;
            p = next;
            continue;
        }
        call->piece.cmd =
            engine_admit(e, &c->session, settings, call->piece.argc, call->piece.argv);
        fanout_route(e, w->shard.id, call);
        transaction_route(c, call);
        if (UNLIKELY(is_busy)) busy_check(c, call);
        if (UNLIKELY(engine_has_trouble(e) || settings->maxmemory)) check_exec(c, call, settings);
        if (UNLIKELY(!may_join(c, run, call))) {
            if (run->is_parser_owned) request_parser_repeat(&c->parser, p); // read again later
            run->is_parser_owned = false;
            run->status = REQUEST_DONE;
            break;
        }
        if (!is_busy && must_unsubscribe(c, call)) {
            if (run->is_parser_owned) request_parser_repeat(&c->parser, p); // read again later
            run->is_parser_owned = false;
            unsubscribe_first(c, call);
            run->count = 1;
            run->status = REQUEST_DONE;
            break;
        }
        transaction_apply(c, call);
        prefetch_key(c, call);
        p = next;
        run->count++;
        run->status = REQUEST_DONE;
        if (is_last(c, run, call)) break;
    }
    return p;
}

static void note_activity(struct client *c, const struct run *run)
{
    struct worker *w = c->worker;
    c->session.commands += run->count;
    int64_t now_ms = shard_now_ms(&w->shard);
    w->shard.heard += c->session.active_ms != now_ms;
    c->session.active_ms = now_ms;
    const struct command *last = w->space->calls[run->count - 1].piece.cmd;
    if (last) c->session.last_command = last;
}

// An argument of p's request is big and not all there: from now on the ring receives straight into
// its blob. What the parser has read of the request becomes the query buffer.
static void begin_big(struct client *c, const char *p, const char *end)
{
    const char *body = p + c->parser.pos;
    struct blob *blob = blob_new(c->parser.bulk_len);
    blob->len = (size_t)(end - body);
    memcpy(blob->data, body, blob->len);
    struct query *query = mem_alloc(sizeof *query + c->parser.pos + 64);
    *query = (struct query){.refs = 1, .len = c->parser.pos, .cap = c->parser.pos + 64};
    memcpy(query->data, p, query->len);
    if (c->query && --c->query->refs == 0) mem_free(c->query);
    c->query = query;
    c->query_at = 0;
    c->big = blob;
    c->recv.direct_ptr = blob->data + blob->len;
    c->recv.direct_left = c->parser.bulk_len - blob->len;
}

static void protocol_error(struct client *c)
{
    char text[REQUEST_ERROR_TEXT_BYTES];
    request_parser_error(&c->parser, text);
    request_parser_reset(&c->parser);
    stats_count_error(c->worker->shard.engine->stats[c->worker->shard.id], "ERR");
    reply_error(&c->reply, text);
    c->session.is_closing = true;
    output_mark_dirty(c);
}

static size_t consume(struct client *c, char *data, size_t len, struct ring_buf *buf,
                      struct query *query)
{
    const char *p = data, *end = data + len;
    while (p < end && may_go_on(c)) {
        struct run run = {0};
        p = read_run(c, p, end, &run);
        if (run.count) {
            note_activity(c, &run);
            dispatch_run(c, c->worker->space->calls, run.count, buf, query, run.is_parser_owned);
            if (run.is_parser_owned) request_parser_reset(&c->parser);
            if (c->fence == FENCE_PASSED) c->fence = FENCE_AHEAD;
        }
        if (run.status == REQUEST_DONE) {
            if (run.must_wait) break;
            continue;
        }
        if (run.status == REQUEST_MORE) break;
        if (run.status == REQUEST_ERROR) {
            if (c->ops) { // its place is behind the replies that are still to come
                c->is_stalled = true;
                break;
            }
            protocol_error(c);
            return len;
        }
        begin_big(c, p, end);
        return len;
    }
    return c->session.is_closing ? len : (size_t)(p - data);
}

size_t input_consume(struct client *c, char *data, size_t len, struct ring_buf *buf,
                     struct query *query)
{
    c->recv.is_held = true; // a script may take long: see busy.h
    size_t used = consume(c, data, len, buf, query);
    c->recv.is_held = false;
    return used;
}
