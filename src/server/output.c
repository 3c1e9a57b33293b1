// SPDX-License-Identifier: BSD-3-Clause
//
// output: replies on their way to the socket. All that a tick replied to a connection goes out in
// one send; while that is under way, more replies gather behind it. Chunks come from the worker's
// spare ones and go back there, so that an idle connection holds none.
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/settings.h"
#include "server/client.h"
#include "shard/logging.h"

size_t output_bytes(const struct client *c)
{
    size_t bytes = reply_bytes(&c->reply) + c->sending_bytes;
    for (const struct operation *op = c->ops; op; op = op->next)
        if (op->behind) bytes += reply_bytes(op->behind);
    return bytes;
}

// Behind that one, or before all (NULL).
static void insert_dirty(struct client *c, struct client *before)
{
    struct worker *w = c->worker;
    struct client **at = before ? &before->next_dirty : &w->dirty;
    c->is_dirty = true;
    c->next_dirty = *at;
    *at = c;
    if (!c->next_dirty) w->dirty_tail = c;
}

void output_mark_dirty(struct client *c)
{
    struct worker *w = c->worker;
    if (c->is_dirty) return;
    insert_dirty(c, w->dirty_replied);
    w->dirty_replied = c;
}

void output_mark_dirty_first(struct client *c)
{
    struct worker *w = c->worker;
    if (c->is_dirty) return;
    insert_dirty(c, NULL);
    if (!w->dirty_replied) w->dirty_replied = c;
}

void output_mark_dirty_last(struct client *c)
{
    struct worker *w = c->worker;
    if (!c->is_dirty) insert_dirty(c, w->dirty ? w->dirty_tail : NULL);
}

struct client *output_next_dirty(struct worker *w)
{
    struct client *c = w->dirty;
    if (!c) return NULL;
    w->dirty = c->next_dirty;
    if (c == w->dirty_replied) w->dirty_replied = NULL;
    return c;
}

// Keeps a chunk as a spare one if there are fewer than `most`.
static bool keep(struct reply_chunk *c, struct reply_chunk **list, uint32_t *count, uint32_t most)
{
    if (*count >= most) return false;
    c->len = 0;
    c->next = *list;
    *list = c;
    (*count)++;
    return true;
}

static bool make_spare(struct worker *w, struct reply_chunk *c)
{
    if (c->kind != CHUNK_HEAP) return false;
    if (c->cap == REPLY_CHUNK_BYTES) return keep(c, &w->chunks, &w->chunk_count, CHUNKS_SPARE_MAX);
    return c->cap == SMALL_CHUNK_BYTES &&
           keep(c, &w->small_chunks, &w->small_chunk_count, SMALL_CHUNKS_SPARE);
}

// Ordinary chunks and small ones become the worker's spare ones.
static void give_back(struct worker *w, struct reply_chunk *list)
{
    while (list) {
        struct reply_chunk *c = list, *next = c->next;
        c->next = NULL;
        if (!make_spare(w, c)) reply_chunks_free(c);
        list = next;
    }
}

static struct reply_chunk *small_chunk(struct worker *w)
{
    struct reply_chunk *c = w->small_chunks;
    if (!c) return reply_chunk_new(SMALL_CHUNK_BYTES);
    w->small_chunks = c->next;
    w->small_chunk_count--;
    c->next = NULL;
    return c;
}

static struct reply_chunk *take_spare(struct worker *w)
{
    struct reply_chunk *c = w->chunks;
    w->chunks = c->next;
    w->chunk_count--;
    w->chunk_least = MIN(w->chunk_least, w->chunk_count);
    c->next = NULL;
    return c;
}

void output_lend_chunk(struct worker *w, struct reply *r)
{
    if (!r->spare && w->chunks) r->spare = take_spare(w);
}

char *output_reserve_push(struct client *c, struct reply *r, size_t bytes)
{
    if (UNLIKELY((size_t)(r->end - r->pos) < bytes)) {
        if (!r->head && MAX(bytes, c->last_bytes) <= SMALL_CHUNK_BYTES)
            reply_begin_with(r, small_chunk(c->worker));
        else
            output_lend_chunk(c->worker, r);
    }
    return reply_reserve(r, bytes);
}

// Given back to the system and faulted in again, a chunk costs more than what is written to it.
void output_trim(struct worker *w)
{
    uint32_t idle = MIN(w->chunk_least, w->chunk_count);
    for (uint32_t drop = (idle + 1) / 2; drop && w->chunk_count > CHUNKS_SPARE_MIN; drop--)
        mem_free(take_spare(w));
    w->chunk_least = w->chunk_count;
}

// Takes what was sent off the front of the list.
static void drop_sent(struct client *c)
{
    struct reply_chunk *first = c->sending, *last = first;
    for (int i = 1; i < c->send.iov_count; i++) last = last->next;
    c->sending = last->next;
    last->next = NULL;
    give_back(c->worker, first);
    mem_free(c->many_iov);
    c->many_iov = NULL;
}

// Whoever is sent something is not idle, as in Redis. To the second, and seldom: `heard` counts
// those who spoke in this millisecond.
static void note_activity(struct client *c)
{
    int64_t now_ms = shard_now_ms(&c->worker->shard);
    if (UNLIKELY(now_ms - c->session.active_ms >= 1000)) c->session.active_ms = now_ms;
}

static void note_sent(struct client *c, int result)
{
    c->is_sending = false;
    drop_sent(c);
    if (result < 0) {
        if (!c->is_dead) client_log(c, strerror(-result));
        client_kill(c);
        return;
    }
    c->sending_bytes -= (size_t)result;
    c->out_bytes += (uint64_t)result;
    stat_add(&c->worker->net_out, (uint64_t)result);
    note_activity(c);
}

static void send_pieces(struct client *c)
{
    int count = 0;
    for (struct reply_chunk *p = c->sending; p && count < IOV_MAX; p = p->next) count++;
    struct iovec *iov = c->iov;
    if (count > CLIENT_IOV) iov = c->many_iov = mem_alloc((size_t)count * sizeof iov[0]);
    struct reply_chunk *p = c->sending;
    for (int i = 0; i < count; i++, p = p->next)
        iov[i] = (struct iovec){.iov_base = p->data, .iov_len = p->len};
    c->send.fd = c->fd;
    c->send.iov = iov;
    c->send.iov_count = count;
    c->is_sending = true;
    stat_add(&c->worker->writes, 1);
    struct shard *s = &c->worker->shard;
    if (LIKELY(!s->stand_in)) {
        ring_send_start(s->ring, &c->send);
        return;
    }
    int result; // the shard's own thread sleeps: it is not woken for this if that can be helped
    if (!ring_send_now(s->ring, &c->send, &result)) return;
    note_sent(c, result);
    if (!c->is_dead && (c->sending || c->session.is_closing)) output_mark_dirty(c);
}

static void release(struct shard *s, struct held *held)
{
    (void)s;
    struct client *c = CONTAINER_OF(held, struct client, held);
    c->is_sending = false;
    output_mark_dirty(c); // this may be in the midst of a command
}

// Replies to writes leave when these are safe in the log. Until then it is as if they were on their
// way; what comes behind them waits.
static void send_when_safe(struct client *c)
{
    struct shard *s = &c->worker->shard;
    if (LIKELY(logging_is_safe(s, c->log_seq))) {
        send_pieces(c);
        return;
    }
    c->is_sending = true;
    c->held.release = release;
    logging_hold(s, &c->held, c->log_seq);
}

static void on_sent(struct ring_send *send, int result)
{
    struct client *c = CONTAINER_OF(send, struct client, send);
    note_sent(c, result);
    if (UNLIKELY(c->recv.is_held)) {
        output_mark_dirty(c); // what its commands wrote has not reached the log
        return;
    }
    if (c->is_dead) {
        client_settle(c);
        return;
    }
    if (c->sending || reply_bytes(&c->reply)) {
        output_flush(c);
    } else {
        if (c->session.is_closing && !c->ops) client_kill(c);
        client_settle(c);
    }
}

void output_init(struct client *c)
{
    c->send.done = on_sent;
}

void output_flush(struct client *c)
{
    if (c->is_sending || c->is_dead) return;
    size_t bytes = reply_bytes(&c->reply);
    if (bytes) {
        struct reply_chunk **end = &c->sending;
        while (*end) end = &(*end)->next;
        *end = reply_detach(&c->reply);
        c->sending_bytes += bytes;
        c->last_bytes = bytes;
    }
    if (c->reply.spare) { // an idle connection keeps no chunk
        give_back(c->worker, c->reply.spare);
        c->reply.spare = NULL;
    }
    if (c->sending)
        send_when_safe(c);
    else if (c->session.is_closing && !c->ops)
        client_kill(c);
}

void output_check_limits(struct client *c, int64_t now_ms)
{
    enum output_class class = c->session.subscriptions ? OUTPUT_PUBSUB : OUTPUT_NORMAL;
    const struct output_limit *limit =
        &shard_settings(&c->worker->shard)->client_output_buffer_limit[class];
    size_t bytes = output_bytes(c);
    bool is_over_soft = limit->soft && bytes > limit->soft;
    if (!is_over_soft) c->over_soft_since_ms = 0;
    if (is_over_soft && !c->over_soft_since_ms) c->over_soft_since_ms = now_ms;
    bool is_too_long = is_over_soft && now_ms - c->over_soft_since_ms > limit->soft_seconds * 1000;
    bool is_over_hard = c->is_over_limit || (limit->hard && bytes > limit->hard);
    if (!is_over_hard && !is_too_long) return;
    stat_add(&c->worker->over_limit, 1);
    log_write(LOG_WARNING,
              "Client id=%llu addr=%s closed for overcoming of output buffer limits (%zu bytes).",
              (unsigned long long)c->session.id, c->session.peer, bytes);
    client_kill(c);
}
