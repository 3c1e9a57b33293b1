// SPDX-License-Identifier: BSD-3-Clause
#include "engine/block.h"

#include <string.h>

#include "base/jitter.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/interest.h"

// The arguments outlive the receive buffer that they came in: one allocation with their bytes.
static struct slice *copy_args(const struct slice *argv, int argc)
{
    size_t bytes = (size_t)argc * sizeof argv[0];
    for (int i = 0; i < argc; i++) bytes += argv[i].len;
    struct slice *copy = mem_alloc(bytes);
    char *p = (char *)(copy + argc);
    for (int i = 0; i < argc; i++) {
        memcpy(p, argv[i].ptr, argv[i].len);
        copy[i] = (struct slice){p, argv[i].len};
        p += argv[i].len;
    }
    return copy;
}

static void link_to(struct waiter *w, struct keyspace *ks, struct slice key)
{
    struct interest *interest = interest_get(ks, w->db, key);
    for (int i = 0; i < w->link_count; i++)
        if (w->links[i].interest == interest) return; // named twice
    struct wait_link *l = &w->links[w->link_count++];
    *l = (struct wait_link){
        .waiter = w, .prev = interest->last, .interest = interest, .shard = ks->shard};
    if (interest->last)
        interest->last->next = l;
    else
        interest->first = l;
    interest->last = l;
    // Relaxed: the caller holds a reference.
    atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
}

bool ctx_block(struct ctx *ctx, const struct block_request *request)
{
    if (!(ctx->flags & CTX_MAY_BLOCK)) return false;
    int links = request->key_count;
    struct waiter *w = mem_calloc(sizeof *w + (size_t)links * sizeof w->links[0]);
    atomic_init(&w->state, WAITER_WAITING);
    atomic_init(&w->refs, 1);
    w->engine = ctx->engine;
    w->home = ctx->session->home;
    w->db = ctx->db;
    w->flags = request->flags;
    w->type = request->type;
    w->on_timeout = request->on_timeout;
    w->deadline_ms = request->timeout_ms > INT64_MAX - ctx->now_ms || !request->timeout_ms
                         ? INT64_MAX
                         : ctx->now_ms + request->timeout_ms;
    w->cmd = ctx->cmd;
    w->argc = ctx->argc;
    w->argv = copy_args(request->argv ? request->argv : ctx->argv, ctx->argc);
    w->session = ctx->session;
    reply_init(&w->reply, ctx->reply->resp);
    for (int i = 0; i < request->key_count; i++) {
        struct slice key = ctx->argv[request->keys[i]];
        link_to(w, ctx_db_of(ctx, ctx->db, key)->space, key);
    }
    ctx->waiter = w;
    return true;
}

bool waiter_claim(struct waiter *w, enum waiter_state to)
{
    uint32_t waiting = WAITER_WAITING;
    jitter();
    // Sequentially consistent: pairs with waiter_unclaim and is_unwanted.
    return atomic_compare_exchange_strong(&w->state, &waiting, to);
}

bool waiter_unclaim(struct waiter *w)
{
    atomic_store(&w->state, WAITER_WAITING);
    jitter();
    return !(atomic_load(&w->is_unwanted) && waiter_claim(w, WAITER_CANCELED));
}

bool waiter_cancel(struct waiter *w, enum waiter_end end)
{
    w->end = end;
    atomic_store(&w->is_unwanted, true); // who has claimed it sees this when it gives it back
    return waiter_claim(w, WAITER_CANCELED);
}

void waiter_end(struct waiter *w)
{
    if (w->end == WAITER_UNBLOCKED)
        reply_error(&w->reply, ERR_UNBLOCKED);
    else
        block_reply_timeout(&w->reply, w->on_timeout);
}

void waiter_unlink(struct wait_link *link)
{
    struct interest *i = link->interest;
    if (!i) return;
    *(link->prev ? &link->prev->next : &i->first) = link->next;
    *(link->next ? &link->next->prev : &i->last) = link->prev;
    link->interest = NULL;
    interest_settle(i);
    waiter_unref(link->waiter);
}

void waiter_unlink_all(struct waiter *w, uint32_t shard)
{
    // The caller holds a reference of its own.
    for (int i = 0; i < w->link_count; i++)
        if (w->links[i].shard == shard) waiter_unlink(&w->links[i]);
}

void waiter_unref(struct waiter *w)
{
    jitter();
    // Release what was done to it, acquire what others did, before it is freed.
    if (atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) > 1) return;
    reply_free(&w->reply);
    mem_free(w->argv);
    mem_free(w);
}
