// SPDX-License-Identifier: BSD-3-Clause
//
// A shard stands still in a meeting that another one is late for, and what waits behind is refused.
#include "shard/refuse.h"

#include <criterion/criterion.h>

#include "fixture.h"

#define BUSY_LINE "-BUSY for a while\r\n"

struct standstill {
    struct world *w;
    struct job *meeting; // of shards 1 and 3; 1 has arrived
};

static struct standstill standstill_begin(void)
{
    struct standstill t = {.w = world_new(4)};
    CHECK_LINE(t.w, "MSET @1x v @0z zero @2z two", "+OK");
    t.meeting = job_start(t.w, 0, "RENAME @1x @3x");
    world_turn(t.w, 1);
    cr_assert(t.w->shards[1]->is_parked);
    return t;
}

static void refuse(struct world *w, uint32_t shard)
{
    shard_take_inbox(w->shards[shard]);
    shard_refuse_backlog(w->shards[shard], "BUSY for a while");
}

static void expect(struct job *j, const char *want)
{
    cr_assert(j->is_done);
    cr_assert_str_eq(j->reply, want);
    job_free(j);
}

static void standstill_end(struct standstill *t)
{
    world_settle(t->w);
    expect(t->meeting, "+OK\r\n");
    CHECK_LINE(t->w, "GET @3x", "$1 v");
    world_free(t->w);
}

Test(refuse, what_waits_is_answered_and_what_comes_later_is_done)
{
    struct standstill t = standstill_begin();
    struct job *set = job_start(t.w, 0, "SET @1a 1"), *get = job_start(t.w, 2, "GET @1x");
    refuse(t.w, 1);
    struct job *later = job_start(t.w, 0, "SET @1b 1");
    world_turn(t.w, 0);
    world_turn(t.w, 2);
    expect(set, BUSY_LINE);
    expect(get, BUSY_LINE);
    const struct command *cmd = command_find(t.w->engine->table, SLICE("set"));
    cr_assert_eq(stat_get(&t.w->engine->stats[0]->commands[cmd->id].rejected), 1);
    world_settle(t.w);
    expect(later, "+OK\r\n");
    CHECK_LINE(t.w, "MGET @1a @1b", "*2 $-1 $1 1");
    standstill_end(&t);
}

Test(refuse, a_split_write_is_done_on_all_its_shards_or_on_none)
{
    struct standstill t = standstill_begin();
    struct job *none = job_start(t.w, 0, "MSET @1a 1 @2a 1");
    refuse(t.w, 1);
    struct job *all = job_start(t.w, 0, "MSET @1b 1 @2b 1");
    world_turn(t.w, 2); // where one is refused already, and the other begins
    refuse(t.w, 1);
    world_turn(t.w, 0);
    expect(none, BUSY_LINE);
    cr_assert(!all->is_done);
    world_settle(t.w);
    expect(all, "+OK\r\n");
    CHECK_LINE(t.w, "MGET @1a @2a @1b @2b", "*4 $-1 $-1 $1 1 $1 1");
    standstill_end(&t);
}

Test(refuse, of_a_batch_that_reads_only_what_needs_the_shard_is_refused)
{
    struct standstill t = standstill_begin();
    struct job *j = job_new(t.w, 0);
    static const char *const lines[] = {"GET @2z", "MGET @0z @1a @2z", "GET @1a", "MGET @2z @0z"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) job_add(j, lines[i]);
    job_enter(j, true);
    world_turn(t.w, 2);
    refuse(t.w, 1);
    world_turn(t.w, 0);
    expect(j, "$3\r\ntwo\r\n" BUSY_LINE BUSY_LINE "*2\r\n$3\r\ntwo\r\n$4\r\nzero\r\n");
    standstill_end(&t);
}

Test(refuse, those_who_have_come_to_a_meeting_that_is_refused_leave_it)
{
    struct standstill t = standstill_begin();
    struct job *j = job_start(t.w, 0, "RENAME @1x @2x");
    struct job *behind = job_start(t.w, 0, "SET @2a 1");
    world_turn(t.w, 2);
    cr_assert(t.w->shards[2]->is_parked);
    refuse(t.w, 1);
    world_turn(t.w, 2);
    cr_assert(!t.w->shards[2]->is_parked);
    world_turn(t.w, 0);
    expect(j, BUSY_LINE);
    expect(behind, "+OK\r\n");
    standstill_end(&t);
}

Test(refuse, who_is_last_to_come_to_a_meeting_that_is_refused_goes_on)
{
    struct standstill t = standstill_begin();
    struct job *jobs[] = {job_new(t.w, 0), job_new(t.w, 0)}; // they travel together
    for (int i = 0; i < 2; i++) {
        job_add(jobs[i], "SORT @2a BY @1w* STORE @1b");
        job_enter(jobs[i], false);
    }
    cr_assert_eq(t.w->shards[0]->travelling, jobs[0]->op);
    shard_enter_travelling(t.w->shards[0]);
    refuse(t.w, 1);
    world_turn(t.w, 2);
    cr_assert(!jobs[0]->is_done);
    world_settle(t.w);
    expect(jobs[0], BUSY_LINE);
    expect(jobs[1], BUSY_LINE);
    standstill_end(&t);
}

Test(refuse, what_follows_a_script_of_the_same_connection_waits)
{
    struct standstill t = standstill_begin();
    struct job *other = job_start(t.w, 0, "SET @1a 1"), *behind = job_start(t.w, 0, "SET @1b 1");
    behind->op->follows_script = true;
    refuse(t.w, 1);
    world_turn(t.w, 0);
    expect(other, BUSY_LINE);
    cr_assert(!behind->is_done);
    world_settle(t.w);
    expect(behind, "+OK\r\n");
    standstill_end(&t);
}
