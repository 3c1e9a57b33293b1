// SPDX-License-Identifier: BSD-3-Clause
#include "server/blocked.h"

#include <poll.h>

#include "base/mem.h"
#include "server/client.h"
#include "server/server.h"
#include "shard/serve.h"

#define NOT_IN_HEAP UINT32_MAX

// --- the heap ------------------------------------------------------------------------------------

static int64_t deadline_of(const struct client *c)
{
    return c->ops_tail->waiter->deadline_ms;
}

static void put(struct blocked *b, uint32_t at, struct client *c)
{
    b->heap[at] = c;
    c->blocked_at = at;
}

static void sift_up(struct blocked *b, uint32_t at, struct client *c)
{
    while (at && deadline_of(b->heap[(at - 1) / 2]) > deadline_of(c)) {
        put(b, at, b->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(b, at, c);
}

static void sift_down(struct blocked *b, uint32_t at, struct client *c)
{
    for (;;) {
        uint32_t child = at * 2 + 1;
        if (child >= b->count) break;
        if (child + 1 < b->count && deadline_of(b->heap[child + 1]) < deadline_of(b->heap[child]))
            child++;
        if (deadline_of(b->heap[child]) >= deadline_of(c)) break;
        put(b, at, b->heap[child]);
        at = child;
    }
    put(b, at, c);
}

static void heap_add(struct blocked *b, struct client *c)
{
    if (b->count == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 16;
        b->heap = mem_realloc(b->heap, b->cap * sizeof b->heap[0]);
    }
    sift_up(b, b->count++, c);
}

static void heap_remove(struct blocked *b, struct client *c)
{
    uint32_t at = c->blocked_at;
    struct client *last = b->heap[--b->count];
    c->blocked_at = NOT_IN_HEAP;
    if (last == c) return;
    if (at && deadline_of(b->heap[(at - 1) / 2]) > deadline_of(last))
        sift_up(b, at, last);
    else
        sift_down(b, at, last);
}

int64_t blocked_next_ms(const struct blocked *b)
{
    return b->count ? deadline_of(b->heap[0]) : INT64_MAX;
}

void blocked_free(struct blocked *b)
{
    mem_free(b->heap);
}

// --- waiting -------------------------------------------------------------------------------------

void blocked_begin(struct client *c)
{
    struct worker *w = c->worker;
    c->session.is_blocked = true;
    c->blocked_at = NOT_IN_HEAP;
    stat_add(&w->blocked.clients, 1);
    if (deadline_of(c) != INT64_MAX) heap_add(&w->blocked, c);
    worker_set_timer(w);
    if (c->is_dead)
        blocked_cancel(c, WAITER_TIMED_OUT);
    else if (c->has_eof)
        client_kill(c);
    else
        client_receive(c);
}

void blocked_end(struct client *c)
{
    struct worker *w = c->worker;
    struct waiter *waiter = c->ops_tail->waiter;
    c->session.is_blocked = false;
    stat_add(&w->blocked.clients, -(uint64_t)1);
    if (c->blocked_at != NOT_IN_HEAP) heap_remove(&w->blocked, c);
    worker_set_timer(w);
    serve_dismiss(&w->shard, waiter);
}

bool blocked_cancel(struct client *c, enum waiter_end end)
{
    struct operation *op = c->ops_tail;
    if (!op || !op->is_blocked || op->is_done || !waiter_cancel(op->waiter, end)) return false;
    serve_end_canceled(&c->worker->shard, op->waiter);
    return true;
}

bool blocked_has_hung_up(const struct operation *op)
{
    // A connection stays, with its descriptor, as long as it has operations.
    const struct client *c = op->owner;
    // A single thread reads in the order in which things came.
    if (c->worker->server->worker_count == 1) return false;
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

void blocked_run_timers(struct worker *w)
{
    struct blocked *b = &w->blocked;
    int64_t now_ms = shard_now_ms(&w->shard);
    while (b->count && deadline_of(b->heap[0]) <= now_ms) {
        struct client *c = b->heap[0];
        heap_remove(b, c); // once: who serves it at this moment ends it
        blocked_cancel(c, WAITER_TIMED_OUT);
    }
    worker_set_timer(w);
}
