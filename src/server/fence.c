// SPDX-License-Identifier: BSD-3-Clause
#include "server/fence.h"

#include "base/mem.h"
#include "server/client.h"
#include "server/server.h"

static void add(struct fence_queue *q, uint64_t id)
{
    if (q->count == q->cap) {
        q->cap = q->cap ? q->cap * 2 : 16;
        q->ids = mem_realloc(q->ids, q->cap * sizeof q->ids[0]);
    }
    q->ids[q->count++] = id;
}

// False: nobody needs to be asked.
static bool begin_round(struct fence *f)
{
    struct router *r = f->worker->server->router;
    if (router_may_have_newcomers(r)) {
        router_ask(r, &f->question);
        return f->is_asking = true;
    }
    return f->is_asking = catch_up_begin(&f->round);
}

// Those who have waited come to the fence again. Any may be gone when its turn comes.
static void end_round(struct fence *f)
{
    struct worker *w = f->worker;
    struct fence_queue waiting = f->waiting;
    f->waiting = (struct fence_queue){0};
    f->is_asking = false;
    for (uint32_t i = 0; i < waiting.count; i++) {
        struct client *c = client_ids_find(&w->ids, waiting.ids[i]);
        if (!c) continue;
        c->fence = FENCE_AHEAD;
        c->is_paused = false;
        client_resume(c);
        client_settle(c);
    }
    mem_free(waiting.ids);
}

static void deliver_from_router(struct shard *s, struct mail *mail)
{
    struct fence *f = CONTAINER_OF(mail, struct fence, question.mail);
    if (!catch_up_begin(&f->round)) end_round(f);
}

static void on_caught_up(struct catch_up *round)
{
    end_round(CONTAINER_OF(round, struct fence, round));
}

void fence_init(struct worker *w)
{
    struct fence *f = &w->fence;
    f->worker = w;
    f->question = (struct router_question){.mail.deliver = deliver_from_router, .home = &w->shard};
    catch_up_init(&f->round, &w->shard, on_caught_up);
}

void fence_destroy(struct worker *w)
{
    catch_up_destroy(&w->fence.round);
    mem_free(w->fence.waiting.ids);
}

bool fence_holds(struct client *c, bool is_patient)
{
    enum { ROUNDS = 2, ROUNDS_PATIENT = 32 };
    struct fence *f = &c->worker->fence;
    uint32_t rounds_max = is_patient && !catch_up_is_blind(&f->round) ? ROUNDS_PATIENT : ROUNDS;
    if (c->fence != FENCE_AHEAD) return c->fence == FENCE_WAITS;
    if (c->fence_rounds == rounds_max || (!f->is_asking && !begin_round(f))) {
        c->fence = FENCE_PASSED;
        c->fence_rounds = 0;
        return false;
    }
    c->fence = FENCE_WAITS;
    c->fence_rounds++;
    add(&f->waiting, c->session.id);
    return true;
}
