// SPDX-License-Identifier: BSD-3-Clause
//
// Somebody moves from shard to shard, and all shards are asked at one instant who lives there.
#include "shard/handover.h"

#include <criterion/criterion.h>

#include "fixture.h"
#include "shard/refuse.h"

struct mover {
    struct handover move;
    uint32_t home; // NOWHERE: between two
};

enum { NOWHERE = UINT32_MAX };

struct census {
    struct mover *mover;
    int found;
};

static void leave(struct handover *h)
{
    CONTAINER_OF(h, struct mover, move)->home = NOWHERE;
}

static void arrive(struct shard *to, struct handover *h)
{
    CONTAINER_OF(h, struct mover, move)->home = to->id;
}

static bool move(struct world *w, struct mover *m, uint32_t to)
{
    m->move = (struct handover){.leave = leave, .arrive = arrive};
    return handover_begin(&m->move, w->shards[m->home], w->shards[to]);
}

static void count(struct shard *s, void *arg)
{
    struct census *c = arg;
    c->found += c->mover->home == s->id;
}

Test(handover, who_moves_is_found_once_by_those_who_ask_before_and_after)
{
    struct world *w = world_new(3);
    for (uint32_t from = 0; from < 3; from++) {
        uint32_t to = (from + 2) % 3;
        struct mover m = {.home = from};
        struct census before = {.mover = &m}, after = {.mover = &m};
        shard_enter_all(w->shards[1], count, &before);
        cr_assert(!move(w, &m, to), "who has asked already must find it");
        cr_assert_eq(m.home, from);
        world_turn(w, from);
        cr_assert_eq(before.found, 1);
        cr_assert(move(w, &m, to));
        shard_enter_all(w->shards[1], count, &after);
        world_turn(w, from);
        cr_assert_eq(after.found, 0);
        world_settle(w);
        cr_assert_eq(m.home, to);
        cr_assert_eq(before.found, 1);
        cr_assert_eq(after.found, 1);
        cr_assert_eq(atomic_load(&w->shards[to]->moving_in), 0);
    }
    world_free(w);
}

Test(handover, nobody_leaves_a_shard_that_stands_still_and_who_comes_there_waits_or_is_let_in)
{
    struct world *w = world_new(4);
    CHECK_LINE(w, "SET @1x v", "+OK");
    struct job *meeting = job_start(w, 0, "RENAME @1x @3x");
    world_turn(w, 1);
    cr_assert(w->shards[1]->is_parked);

    struct mover stays = {.home = 1}, waits = {.home = 0}, refused = {.home = 2};
    cr_assert(!move(w, &stays, 0));
    cr_assert(move(w, &refused, 1));
    world_turn(w, 1);
    cr_assert_eq(refused.home, NOWHERE);
    shard_refuse_backlog(w->shards[1], "BUSY for a while");
    cr_assert_eq(refused.home, 1);
    cr_assert(move(w, &waits, 1));
    world_turn(w, 1);
    cr_assert_eq(waits.home, NOWHERE);
    world_settle(w);
    cr_assert_eq(waits.home, 1);
    cr_assert(move(w, &stays, 0));
    world_settle(w);
    cr_assert(meeting->is_done);
    job_free(meeting);
    world_free(w);
}
