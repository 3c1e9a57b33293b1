// SPDX-License-Identifier: BSD-3-Clause
#include "server/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/settings.h"
#include "server/address.h"
#include "server/blocked.h"
#include "server/invalidate.h"
#include "server/server.h"

static void on_received(struct ring_recv *recv, int result, struct ring_buf *buf);

// --- birth ---------------------------------------------------------------------------------------

struct client *client_new(struct server *server, int fd, bool is_unix_socket)
{
    struct client *c = mem_calloc(sizeof *c);
    // Relaxed: only uniqueness matters.
    session_init(&c->session, atomic_fetch_add_explicit(&server->engine->next_session_id, 1,
                                                        memory_order_relaxed));
    c->fd = c->session.fd = fd;
    c->session.is_unix_socket = is_unix_socket;
    address_of_peer(fd, c->session.peer, sizeof c->session.peer);
    address_of_socket(fd, c->session.local, sizeof c->session.local);
    c->recv.fd = fd;
    c->recv.done = on_received;
    request_parser_init(&c->parser);
    reply_init(&c->reply, 2);
    output_init(c);
    return c;
}

void client_log(const struct client *c, const char *what)
{
    log_write(LOG_VERBOSE, "Client id=%llu addr=%s: %s", (unsigned long long)c->session.id,
              c->session.peer, what);
}

static void worker_link(struct worker *w, struct client *c)
{
    c->worker = w;
    c->session.home = w->shard.id;
    w->adopted_count++;
    c->prev = NULL;
    c->next = w->clients;
    if (w->clients) w->clients->prev = c;
    w->clients = c;
    client_ids_add(&w->ids, c);
    w->client_count++;
    if (c->session.is_monitor) w->monitor_count++;
    c->is_listed = true;
    c->move_to = w->shard.id;
    c->streak = 0;
    stat_set(&w->shard.connections, w->client_count);
}

static void worker_unlink(struct client *c)
{
    struct worker *w = c->worker;
    if (!c->is_listed) return;
    if (c->prev)
        c->prev->next = c->next;
    else
        w->clients = c->next;
    if (c->next) c->next->prev = c->prev;
    client_ids_remove(&w->ids, c);
    if (c->session.is_monitor) w->monitor_count--;
    w->client_count--;
    c->is_listed = false;
    stat_set(&w->shard.connections, w->client_count);
}

// Unless it does so already, or has ended.
static void start_receiving(struct client *c)
{
    if (c->is_receiving || c->is_dead || c->has_eof) return;
    c->is_receiving = true;
    c->is_stopping_recv = false;
    ring_recv_start(c->worker->shard.ring, &c->recv);
}

void client_adopt(struct worker *w, struct client *c)
{
    worker_link(w, c);
    c->log_seq = 0;               // of another shard's log
    if (!c->session.created_ms) { // new, not moved
        const struct settings *settings = shard_renew_settings(&w->shard);
        c->session.created_ms = c->session.active_ms = shard_now_ms(&w->shard);
        c->session.is_authenticated = settings->requirepass[0] == '\0';
    }
    start_receiving(c);
}

static void deliver_client(struct shard *s, struct mail *mail)
{
    client_adopt(worker_of(s), CONTAINER_OF(mail, struct client, coming));
}

void client_post(struct worker *to, struct client *c)
{
    c->coming = (struct mail){.deliver = deliver_client};
    shard_post(NULL, &to->shard, &c->coming);
}

// --- death ---------------------------------------------------------------------------------------

static void query_drop(struct client *c)
{
    if (c->query && --c->query->refs == 0) mem_free(c->query);
    c->query = NULL;
    c->query_at = 0;
}

void client_discard(struct client *c)
{
    if (c->worker) c->worker->adopted_count--;
    query_drop(c);
    if (c->big) blob_unref(c->big);
    request_parser_reset(&c->parser);
    reply_free(&c->reply);
    reply_chunks_free(c->sending);
    push_discard(c);
    mem_free(c->many_iov);
    session_free(&c->session);
    close(c->fd);
    mem_free(c);
}

// What other shards know of it.
static void leave_shards(struct client *c)
{
    subscribers_leave(c);
    invalidate_leave(c);
    transaction_forget(c);
}

void client_kill(struct client *c)
{
    if (c->is_dead) return;
    c->is_dead = true;
    if (c->session.is_monitor) {
        c->worker->monitor_count--;
        c->session.is_monitor = false;
        atomic_fetch_sub_explicit(&c->worker->shard.engine->monitors, 1, memory_order_relaxed);
    }
    blocked_cancel(c, WAITER_TIMED_OUT);
    // Else when they are done: one may be a SUBSCRIBE; or this one's transaction is run just now.
    if (!c->ops && !c->recv.is_held) leave_shards(c);
    worker_unlink(c);
    // Relaxed: a count for maxclients and INFO.
    atomic_fetch_sub_explicit(&c->worker->server->client_count, 1, memory_order_relaxed);
    c->recv.direct_left = 0;
    if (c->is_receiving) ring_recv_stop(c->worker->shard.ring, &c->recv);
    shutdown(c->fd, SHUT_RDWR); // a send that hangs comes back
    output_mark_dirty(c);       // settled at the next flush, when nobody is looking at it
}

static bool is_quiet(const struct client *c)
{
    return !c->ops && !c->is_sending && !c->is_dirty && !c->query && !c->big && !c->is_dead &&
           !c->has_eof && !c->is_paused && !c->session.is_monitor && !c->session.is_closing &&
           !c->session.awaits_stop && !c->session.subscriptions && !c->session.tracking &&
           !c->session.is_pinned && !c->session.is_in_multi && !c->session.watch && !c->sending &&
           reply_bytes(&c->reply) == 0 && request_parser_is_idle(&c->parser);
}

void client_settle(struct client *c)
{
    if (UNLIKELY(c->recv.is_held)) {
        output_mark_dirty(c); // when it is not any more
        return;
    }
    if (c->is_dead) {
        if (!c->ops) leave_shards(c);
        if (!c->is_receiving && !c->is_sending && !c->ops && !c->is_dirty) client_discard(c);
        return;
    }
    if (c->move_to == c->worker->shard.id || c->is_stopping_recv || !is_quiet(c)) return;
    c->is_stopping_recv = true;
    ring_recv_stop(c->worker->shard.ring, &c->recv);
}

static void leave_worker(struct handover *h)
{
    struct client *c = CONTAINER_OF(h, struct client, move);
    worker_unlink(c);
    c->worker->adopted_count--;
    c->worker = NULL;
}

static void arrive_at_worker(struct shard *s, struct handover *h)
{
    client_adopt(worker_of(s), CONTAINER_OF(h, struct client, move));
}

static bool move(struct client *c)
{
    struct worker *from = c->worker;
    struct worker *to = from->server->workers[c->move_to];
    c->move = (struct handover){.leave = leave_worker, .arrive = arrive_at_worker};
    if (!handover_begin(&c->move, &from->shard, &to->shard)) return false;
    stat_add(&from->handovers, 1);
    return true;
}

// Receiving has stopped so that the connection can move; it may have become busy meanwhile.
static void move_or_stay(struct client *c)
{
    struct shard *s = &c->worker->shard;
    bool may_move = shard_may_run_in_place(s); // having run what waited there
    if (may_move && c->move_to != s->id && is_quiet(c) && move(c)) return;
    start_receiving(c);
}

// --- receiving -----------------------------------------------------------------------------------

// Keeps [data, data + len) behind what is in the query buffer.
static void query_append(struct client *c, const char *data, size_t len)
{
    struct query *q = c->query;
    if (!len) return;
    if (!q || q->cap - q->len < len) {
        size_t left = q ? q->len - c->query_at : 0;
        size_t cap = MAX((left + len) * 2, request_parser_wanted_bytes(&c->parser));
        struct query *bigger = mem_alloc(sizeof *bigger + cap);
        *bigger = (struct query){.refs = 1, .len = left, .cap = cap};
        if (left) memcpy(bigger->data, q->data + c->query_at, left);
        query_drop(c);
        c->query = q = bigger;
    }
    memcpy(q->data + q->len, data, len);
    q->len += len;
}

static void consume_query(struct client *c)
{
    while (c->query && c->query_at < c->query->len) {
        struct query *q = c->query;
        size_t used = input_consume(c, q->data + c->query_at, q->len - c->query_at, NULL, q);
        if (c->query != q) continue; // a big argument began: another query
        c->query_at += used;
        if (!used || c->is_dead) break;
    }
    if (c->query && c->query_at == c->query->len) query_drop(c);
}

// The part of a piece that belongs to the big argument; the rest is left in *data, *len.
static void take_big(struct client *c, const char **data, size_t *len)
{
    size_t take = MIN(*len, c->recv.direct_left);
    memcpy(c->recv.direct_ptr, *data, take);
    c->recv.direct_ptr += take;
    c->recv.direct_left -= take;
    *data += take;
    *len -= take;
}

static void finish_big(struct client *c)
{
    struct blob *blob = c->big;
    blob->len = blob->cap;
    c->big = NULL;
    request_parser_supply_blob(&c->parser, blob);
}

static void take_piece(struct client *c, char *data, size_t len, struct ring_buf *buf)
{
    const char *p = data;
    if (c->big) {
        take_big(c, &p, &len);
        if (c->recv.direct_left) return;
        finish_big(c);
    }
    // Operations hold the buffers their arguments lie in, for long at times. Then others wait.
    if (!c->query && LIKELY(!ring_is_short(c->worker->shard.ring))) {
        size_t used = input_consume(c, (char *)p, len, buf, NULL);
        if (c->is_dead) return;
        p += used;
        len -= used;
        query_append(c, p, len);
    } else {
        query_append(c, p, len);
        consume_query(c);
    }
}

// Bytes that arrived and were not yet executed.
static size_t waiting_bytes(const struct client *c)
{
    return c->query ? c->query->len - c->query_at : 0;
}

// Has the connection enough waiting while it may not go on? What waits may be the half of one long
// request: then there is nothing to go on with, and the rest of it must come. Who is blocked or put
// off is read on, as by Redis, so that its end is seen.
static bool has_enough(const struct client *c)
{
    if (c->session.is_blocked || (c->is_paused && c->is_postponed)) return false;
    bool is_held_up =
        c->is_stalled || c->is_paused || c->session.awaits_stop || !dispatch_has_room(c);
    return is_held_up && waiting_bytes(c) > CLIENT_QUERY_MAX;
}

void client_receive(struct client *c)
{
    if (!has_enough(c)) start_receiving(c);
}

// Reading stops while the connection may not go on and has enough waiting.
static void check_back_pressure(struct client *c)
{
    if (waiting_bytes(c) > shard_settings(&c->worker->shard)->client_query_buffer_limit)
        client_kill(c);
    else if (c->is_receiving && has_enough(c))
        ring_recv_stop(c->worker->shard.ring, &c->recv);
}

// The peer has finished; what it asked before is still answered, but for what CLIENT PAUSE put off.
static void finish_input(struct client *c)
{
    if (!c->has_eof || c->is_dead || c->ops || c->is_stalled || c->session.awaits_stop) return;
    if (c->is_paused && !c->is_postponed) return;
    c->session.is_closing = true;
    output_mark_dirty(c);
}

void client_resume(struct client *c)
{
    c->is_stalled = false;
    if (UNLIKELY(c->recv.is_held)) return; // it is going on
    if (!c->is_paused && !c->is_dead) consume_query(c);
    if (c->is_dead) return;
    check_back_pressure(c);
    client_receive(c);
    finish_input(c);
}

static void note_received(struct client *c, size_t bytes)
{
    struct worker *w = c->worker;
    c->in_bytes += bytes;
    stat_add(&w->net_in, bytes);
    stat_add(&w->reads, 1);
}

static void on_received(struct ring_recv *recv, int result, struct ring_buf *buf)
{
    struct client *c = CONTAINER_OF(recv, struct client, recv);
    if (result > 0 && !c->is_dead) {
        note_received(c, (size_t)result);
        if (buf) {
            take_piece(c, buf->data, (size_t)result, buf);
        } else {
            recv->direct_ptr += result;
            recv->direct_left -= (size_t)result;
            if (!recv->direct_left) finish_big(c);
        }
        if (!c->is_dead) check_back_pressure(c);
        // Half a request, for example: no reply will find out that the peer is gone.
        if (!c->is_dead && !c->is_dirty && !c->is_sending && !c->ops)
            ring_recv_check(c->worker->shard.ring, recv);
    } else if (result <= 0) {
        c->is_receiving = false;
        if (result == 0) {
            client_log(c, "closed connection");
            c->has_eof = true;
            if (c->session.is_blocked) client_kill(c);
            finish_input(c);
        } else if (result == -ECANCELED && c->is_stopping_recv && !c->is_dead) {
            c->is_stopping_recv = false;
            move_or_stay(c);
            return;
        } else if (result == -ECANCELED && !c->is_dead) {
            client_receive(c);
        } else {
            if (!c->is_dead) client_log(c, strerror(-result));
            client_kill(c);
        }
    }
    client_settle(c);
}
