// SPDX-License-Identifier: BSD-3-Clause
//
// Shards are turned by hand, in one thread, in random orders, and stand in for each other where one
// sleeps. Since one thread enters everything, the order rule has a simple form: whatever the order
// of turns, every reply must be the one that a single database (gyre.h, the model) gives when it is
// fed the same commands in the order in which they entered. Two threads at the end show that a
// sleeping shard is woken.
#include "shard/shard.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "fixture.h"
#include "gyre.h"

// --- meetings, step by step ----------------------------------------------------------------------

struct letter {
    struct mail mail;
    struct shard *delivered_to;
    int order, *counter;
};

static void deliver_letter(struct shard *s, struct mail *mail)
{
    struct letter *l = (struct letter *)mail;
    l->delivered_to = s;
    l->order = ++*l->counter;
}

Test(shard, a_meeting_parks_who_arrives_and_the_last_frees_them)
{
    struct world *w = world_new(3);
    CHECK_LINE(w, "SET @1a v", "+OK");
    struct job *j = job_start(w, 0, "RENAME @1a @2a");
    cr_assert(!w->shards[0]->is_parked && w->shards[0]->in_flight == 1);
    world_turn(w, 1);
    cr_assert(w->shards[1]->is_parked);
    world_turn(w, 1); // and stays so
    cr_assert(w->shards[1]->is_parked);
    world_turn(w, 2);
    cr_assert(!w->shards[2]->is_parked && w->shards[1]->is_parked && !j->is_done);
    world_turn(w, 1);
    cr_assert(!w->shards[1]->is_parked && !j->is_done);
    world_turn(w, 0);
    cr_assert(j->is_done && w->shards[0]->in_flight == 0);
    cr_assert_str_eq(j->reply, "+OK\r\n");
    cr_assert_eq(stat_get(&w->engine->stats[2]->meetings), 1);
    job_free(j);
    CHECK_LINE(w, "MGET @1a @2a", "*2 $-1 $1 v");
    world_free(w);
}

Test(shard, settings_stay_until_they_are_renewed)
{
    struct world *w = world_new(1);
    struct shard *s = w->shards[0];
    const struct settings *first = shard_settings(s);
    struct settings *newer = settings_copy(first);
    atomic_store(&w->engine->settings, newer);
    cr_assert_eq(shard_settings(s), first);
    s->is_inside = true; // a command up the stack goes by the first
    cr_assert_eq(shard_renew_settings(s), newer);
    s->is_inside = false;
    cr_assert_eq(shard_settings(s), first);
    cr_assert_eq(shard_ctx(s).settings, newer);
    cr_assert_eq(shard_settings(s), newer);
    atomic_store(&w->engine->settings, first);
    world_turn(w, 0);
    cr_assert_eq(shard_settings(s), first);
    settings_free(newer);
    world_free(w);
}

Test(shard, the_home_shard_may_be_one_that_meets_and_the_one_that_runs)
{
    struct world *w = world_new(2);
    CHECK_LINE(w, "SET @0a v", "+OK");
    struct job *j = job_start(w, 0, "RENAME @0a @1a"); // arrives at once, parks
    cr_assert(w->shards[0]->is_parked);
    world_turn(w, 1);
    cr_assert(!j->is_done);
    world_turn(w, 0);
    cr_assert(j->is_done && !w->shards[0]->is_parked);
    job_free(j);
    j = job_new(w, 0);
    job_add(j, "RENAME @1a @0a");
    struct job *other = job_start(w, 1, "GET @0a"); // from elsewhere, in the inbox before it
    job_enter(j, true);
    world_turn(w, 1);
    world_settle(w);
    cr_assert_str_eq(other->reply, "$-1\r\n");
    cr_assert_str_eq(j->reply, "+OK\r\n");
    job_free(j);
    job_free(other);
    world_free(w);
}

// What is over, and still parks a shard that has not heard so, may be another meeting by then: the
// memory is the same.
Test(shard, who_stands_in_is_asked_to_run_no_meeting_but_one_that_it_waits_in)
{
    struct world *w = world_new(3);
    int counter = 0;
    struct letter letter = {.mail.deliver = deliver_letter, .counter = &counter};
    CHECK_LINE(w, "SET @0a v", "+OK");
    struct job *first = job_start(w, 2, "RENAME @0a @1a");
    const struct operation *memory = first->op;
    world_turn(w, 0); // arrives
    world_turn(w, 1); // runs it
    world_turn(w, 2);
    cr_assert(first->is_done && w->shards[0]->is_parked);
    cr_assert(world_sleep(w, 1));
    shard_post(w->shards[0], w->shards[1], &letter.mail); // 0 will see to it
    struct job *second = job_start(w, 2, "RENAME @1a @2a");
    cr_assert(second->op == memory && w->shards[2]->is_parked);
    world_turn(w, 0); // stands in for 1, which is the last to arrive, and then hears of the first
    cr_assert(!w->shards[0]->is_parked && w->shards[1]->is_parked && w->shards[2]->is_parked);
    world_turn(w, 1);
    cr_assert_eq(stat_get(&w->engine->stats[1]->meetings), 2);
    world_settle(w);
    cr_assert_str_eq(second->reply, "+OK\r\n");
    cr_assert_eq(counter, 1);
    job_free(first);
    job_free(second);
    world_free(w);
}

// Others have seen that it is claimed, and leave it to that one.
Test(shard, who_is_to_be_seen_to_is_woken_before_something_that_may_take_long)
{
    struct world *w = world_new(2);
    struct inbox *asleep = &w->shards[1]->inbox;
    for (int is_heavy = 0; is_heavy < 2; is_heavy++) {
        cr_assert(world_sleep(w, 1));
        struct job *j = job_new(w, 0);
        job_add(j, "SET @1a v");
        job_add(j, is_heavy ? "RESTORE @0a 0 nonsense" : "SET @0a v");
        job_enter(j, true);
        cr_assert(inbox_is_claimed(asleep) && w->shards[0]->sleeper_count == !is_heavy);
        world_turn(w, 1);
        world_settle(w);
        cr_assert(j->is_done);
        job_free(j);
    }
    world_free(w);
}

Test(shard, operations_that_stop_all_shards_and_enter_in_one_turn_meet_once)
{
    enum { JOBS = 5 };
    static const char *const lines[JOBS] = {"RENAME @0a @1b", "RENAME @1b @0c", "RENAME @0x @1x",
                                            "COPY @0c @1d", "RENAME @1d @0a"};
    static const char *const want[JOBS] = {"+OK\r\n", "+OK\r\n", "-ERR no such key\r\n", ":1\r\n",
                                           "+OK\r\n"};
    struct world *w = world_new(2);
    struct job *jobs[JOBS];
    CHECK_LINE(w, "SET @0a v", "+OK");
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = job_new(w, 0);
        job_add(jobs[i], lines[i]);
        job_enter(jobs[i], false);
    }
    cr_assert(!w->shards[0]->is_parked && w->shards[0]->travelling == jobs[0]->op);
    world_settle(w);
    for (int i = 0; i < JOBS; i++) {
        cr_assert(jobs[i]->is_done);
        cr_assert_str_eq(jobs[i]->reply, want[i], "%s", lines[i]);
        job_free(jobs[i]);
    }
    uint64_t meetings = 0;
    for (int i = 0; i < 2; i++) meetings += stat_get(&w->engine->stats[i]->meetings);
    cr_assert_eq(meetings, 1);
    CHECK_LINE(w, "MGET @0a @1b @0c @1d", "*4 $1 v $-1 $1 v $-1");
    world_free(w);
}

Test(shard, what_travels_enters_before_anything_else_that_its_shard_submits)
{
    struct world *w = world_new(2);
    CHECK_LINE(w, "SET @0a v", "+OK");
    struct job *first = job_new(w, 0), *second = job_new(w, 0);
    job_add(first, "RENAME @0a @1b");
    job_enter(first, false);
    job_add(second, "GET @1b");
    job_enter(second, false);
    cr_assert_null(w->shards[0]->travelling);
    world_settle(w);
    cr_assert_str_eq(second->reply, "$1\r\nv\r\n");
    job_free(first);
    job_free(second);
    world_free(w);
}

Test(shard, mail_is_delivered_while_the_keyspace_is_parked)
{
    struct world *w = world_new(3);
    int counter = 0;
    struct letter far = {.mail.deliver = deliver_letter, .counter = &counter}, near = far;
    struct job *j = job_start(w, 0, "RENAME @1a @2a");
    struct job *later = job_start(w, 0, "SET @1b v");
    world_turn(w, 1);
    cr_assert(w->shards[1]->is_parked);
    shard_post(w->shards[0], w->shards[1], &far.mail);
    shard_post(w->shards[1], w->shards[1], &near.mail); // to itself
    world_turn(w, 1);
    cr_assert(far.delivered_to == w->shards[1] && near.delivered_to == w->shards[1]);
    cr_assert(w->shards[1]->is_parked && w->shards[1]->space->dbs[0].keys.count == 0);
    world_settle(w);
    cr_assert_str_eq(j->reply, "-ERR no such key\r\n");
    cr_assert_str_eq(later->reply, "+OK\r\n");
    job_free(j);
    job_free(later);
    world_free(w);
}

Test(shard, what_comes_when_a_shard_makes_no_more_turns_is_delivered_before_it_goes)
{
    struct world *w = world_new(2);
    int counter = 0;
    struct letter far = {.mail.deliver = deliver_letter, .counter = &counter}, near = far;
    shard_post(w->shards[0], w->shards[1], &far.mail);
    shard_post(w->shards[1], w->shards[1], &near.mail); // to itself
    shard_discard_inbox(w->shards[1]);
    cr_assert(far.delivered_to == w->shards[1] && near.delivered_to == w->shards[1]);
    world_free(w);
}

Test(shard, nothing_runs_in_place_while_parked_or_behind_what_waits)
{
    struct world *w = world_new(3);
    struct shard *s = w->shards[0];
    cr_assert(shard_may_run_in_place(s));
    struct job *waits = job_start(w, 1, "SET @0a 1");
    cr_assert(inbox_has_parts(&s->inbox));
    cr_assert(shard_may_run_in_place(s)); // it has run what was there first
    cr_assert(!inbox_has_parts(&s->inbox) && s->space->dbs[0].keys.count == 1);
    struct job *meeting = job_start(w, 1, "RENAME @0a @2a");
    struct job *behind = job_start(w, 1, "SET @0b 1");
    cr_assert(!shard_may_run_in_place(s));
    cr_assert(s->is_parked);
    struct job *own = job_start(w, 0, "MGET @0a @0b");
    cr_assert(!own->is_done && !own->was_in_place);
    world_turn(w, 2);
    cr_assert(!shard_may_run_in_place(s)); // resumed, but it has not read that mail
    world_settle(w);
    cr_assert(shard_may_run_in_place(s));
    cr_assert_str_eq(own->reply, "*2\r\n$-1\r\n$1\r\n1\r\n");
    job_free(own);
    own = job_start(w, 0, "GET @0b");
    cr_assert(own->is_done && own->was_in_place);
    struct job *done[] = {waits, meeting, behind, own};
    for (size_t i = 0; i < ARRAY_LEN(done); i++) job_free(done[i]);
    world_free(w);
}

Test(shard, what_entered_the_home_inbox_before_an_operation_runs_before_its_own_part)
{
    struct world *w = world_new(2);
    struct job *first = job_start(w, 1, "SET @0a 1");
    struct job *second = job_start(w, 0, "MGET @0a @1a");
    cr_assert(!inbox_has_parts(&w->shards[0]->inbox));
    world_settle(w);
    cr_assert_str_eq(second->reply, "*2\r\n$1\r\n1\r\n$-1\r\n");
    job_free(first);
    job_free(second);
    world_free(w);
}

Test(shard, a_batch_enters_all_its_inboxes_at_once)
{
    struct world *w = world_new(3);
    struct job *write = job_start(w, 0, "MSET @1a 1 @2a 1");
    struct job *read = job_start(w, 0, "MGET @1a @2a");
    world_turn(w, 2); // before shard 1 has written
    world_turn(w, 0);
    struct job *late = job_start(w, 0, "MGET @1a @2a");
    world_settle(w);
    cr_assert_str_eq(read->reply, "*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
    cr_assert_str_eq(late->reply, read->reply);
    cr_assert_eq(stat_get(&w->engine->stats[0]->forwarded), 6);
    job_free(write);
    job_free(read);
    job_free(late);
    world_free(w);
}

Test(shard, due_keys_die_in_its_turns_but_not_while_it_is_parked)
{
    struct world *w = world_new(2);
    CHECK_LINE(w, "SET @0a v PX 1", "+OK");
    struct job *j = job_start(w, 0, "RENAME @0none @1a");
    for (int i = 0; i < 5; i++) shard_tick(w->shards[0], 1000); // parked
    cr_assert_eq(w->shards[0]->space->dbs[0].keys.count, 1);
    world_settle(w);
    for (int i = 0; i < 1000 && w->shards[0]->space->dbs[0].keys.count; i++)
        shard_tick(w->shards[0], 1000);
    cr_assert_eq(w->shards[0]->space->dbs[0].keys.count, 0);
    cr_assert_eq(stat_get(&w->shards[0]->space->stats.expired), 1);
    job_free(j);
    world_free(w);
}

Test(shard, hooks_are_called_in_every_turn_and_every_so_often)
{
    struct world *w = world_new(1);
    for (int i = 0; i < 20; i++) world_turn(w, 0);
    cr_assert_eq(w->flush_calls, 20);
    cr_assert(w->cron_calls >= 1 && w->cron_calls < 20);
    int before = w->cron_calls;
    shard_tick(w->shards[0], -1); // waits, but for the next cron only
    cr_assert_geq(w->cron_calls, before);
    cr_assert_leq(w->cron_calls, before + 1);
    world_free(w);
}

// --- the order rule ------------------------------------------------------------------------------

#define OPEN_MAX 24 // jobs under way at once

struct open_job {
    struct job *job;
    char *want; // owned: the model's replies
    size_t want_len;
};

struct trial {
    struct world *w;
    struct gyre *model;
    struct random random;
    uint64_t seed;
    int step;
    struct open_job open[OPEN_MAX];
    uint32_t home; // of the job that was entered last
    uint32_t in_place, parked_turns, meetings, travelling, stand_ins;
};

static uint32_t pick(struct trial *t, uint32_t n)
{
    return (uint32_t)random_below(&t->random, n);
}

// Some key: few of them, so that they meet often, spread over the shards.
static void add_key(struct trial *t, struct buf *line)
{
    buf_printf(line, " @%u%c", pick(t, t->w->group.count), 'a' + (int)pick(t, 3));
}

static void add_keys(struct trial *t, struct buf *line, bool has_values)
{
    for (uint32_t n = 1 + pick(t, 5); n; n--) {
        add_key(t, line);
        if (has_values) buf_printf(line, " %u", pick(t, 1000));
    }
}

// What lines look like; k: a key, K: some keys, P: some keys with values, n: a number.
// clang-format off
static const char *const forms[] = {
    "SET k n", "SET k n", "SET k n GET", "GET k", "GET k", "INCR k", "APPEND k n", "GETDEL k",
    "STRLEN k", "SETRANGE k n xyz", "MGET K", "MGET K", "MGET K", "MGET K", "MSET P", "MSET P",
    "MSET P", "MSETNX P", "MSETNX P", "DEL K", "EXISTS K", "TOUCH K", "UNLINK K", "RENAME k k",
    "RENAME k k", "RENAMENX k k", "COPY k k", "COPY k k REPLACE", "COPY k k DB 1 REPLACE",
    "LCS k k", "SADD k n", "SADD k n n", "SADD k n n n", "SREM k n", "SUNION K", "SUNION K",
    "SDIFF K",
    "SINTER K", "SMOVE k k n", "SUNIONSTORE k K", "PFADD k n", "PFCOUNT K", "LPUSH k n n", "LPOP k",
    "LMOVE k k LEFT RIGHT", "HSET k n n", "DEL K", "DEL K", "SORT k GET k*", "MOVE k 1",
    "EXPIREAT k 9999999999", "EXPIRETIME k", "PERSIST k", "TYPE k", "DBSIZE",
    "KEYS *", "KEYS *a", "SWAPDB 0 1", "PING", "ECHO n", "NOSUCH n", "GET k k", "MSET k n n",
    "MSET k", "SET k n NONSENSE", "FLUSHALL NONSENSE",
};
static const char *const rare_forms[] = {"FLUSHDB", "FLUSHALL", "SETRANGE k 70000 x", "RENAME k k"};
// clang-format on

// A random line, to be freed with mem_free.
static char *make_line(struct trial *t)
{
    struct buf line = {0};
    const char *form = pick(t, 100) ? forms[pick(t, ARRAY_LEN(forms))]
                                    : rare_forms[pick(t, ARRAY_LEN(rare_forms))];
    while (*form) {
        int len = (int)strcspn(form, " ");
        switch (len == 1 ? *form : 0) {
        case 'k': add_key(t, &line); break;
        case 'K': add_keys(t, &line, false); break;
        case 'P': add_keys(t, &line, true); break;
        case 'n': buf_printf(&line, " %u", pick(t, 50)); break;
        default: buf_printf(&line, "%s%.*s", line.len ? " " : "", len, form);
        }
        form += len + (form[len] == ' ');
    }
    buf_append_char(&line, '\0');
    return line.ptr;
}

static void model_run(struct trial *t, struct open_job *o, const struct piece *p)
{
    const char *argv[64];
    size_t lens[64], len;
    char *reply;
    for (int i = 0; i < p->argc; i++) argv[i] = p->argv[i].ptr, lens[i] = p->argv[i].len;
    gyre_execute(t->model, p->argc, argv, lens, &reply, &len);
    o->want = mem_realloc(o->want, o->want_len + len + 1);
    memcpy(o->want + o->want_len, reply, len);
    o->want_len += len;
    gyre_free(reply);
}

// The model's session is as the job's connection.
static void model_select(struct trial *t, const struct job *j)
{
    char db[4], resp[4];
    snprintf(db, sizeof db, "%u", j->db);
    snprintf(resp, sizeof resp, "%u", j->resp);
    gyre_execute(t->model, 2, (const char *[]){"SELECT", db}, NULL, NULL, NULL);
    gyre_execute(t->model, 2, (const char *[]){"HELLO", resp}, NULL, NULL, NULL);
}

static void enter(struct trial *t, struct open_job *o)
{
    if (pick(t, 2)) t->home = pick(t, t->w->group.count); // often the same twice in one turn
    struct job *j = job_new(t->w, t->home);
    j->db = pick(t, 4) == 0;
    j->resp = pick(t, 2) ? 2 : 3;
    for (uint32_t n = 1 + pick(t, pick(t, 2) ? 1 : 6); n; n--) {
        char *line = make_line(t);
        enum route route = job_add(j, line);
        mem_free(line);
        if (route != ROUTE_MEETING) continue;
        if (j->count > 1) { // it would have to stand alone: leave it out
            j->count--;
            mem_free(j->calls[j->count].piece.argv);
            mem_free(j->text[j->count]);
        } else {
            t->meetings++;
        }
        break;
    }
    *o = (struct open_job){.job = j};
    model_select(t, j);
    for (uint32_t i = 0; i < j->count; i++) model_run(t, o, &j->calls[i].piece);
    for (uint32_t i = 0; i < t->w->group.count; i++) // the model's order is that of entry
        if (i != t->home) shard_enter_travelling(t->w->shards[i]);
    job_enter(j, pick(t, 4) != 0);
    t->in_place += j->was_in_place;
    t->travelling += j->w->shards[j->home]->travelling_count > 1;
}

static int compare_slices(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

// Elements of the array at p, sorted; returns their number.
static int sorted_elements(const char *p, const char *end, struct slice *out, int max)
{
    int n = 0;
    for (p = strchr(p, '\n') + 1; p < end && n < max; n++) {
        const char *next = reply_skip(p, end);
        out[n] = (struct slice){p, (size_t)(next - p)};
        p = next;
    }
    qsort(out, (size_t)n, sizeof out[0], compare_slices);
    return n;
}

static bool is_same_set(const char *a, const char *a_end, const char *b, const char *b_end)
{
    struct slice x[64], y[64];
    int n = sorted_elements(a, a_end, x, 64);
    if (*a != '*' || *b != '*' || sorted_elements(b, b_end, y, 64) != n) return false;
    for (int i = 0; i < n; i++)
        if (!slice_eq(x[i], y[i])) return false;
    return true;
}

static void check_replies(struct trial *t, const struct open_job *o)
{
    const struct job *j = o->job;
    const char *got = j->reply, *got_end = got + j->reply_len;
    const char *want = o->want, *want_end = want + o->want_len;
    for (uint32_t i = 0; i < j->count; i++) {
        const struct piece *p = &j->calls[i].piece;
        const char *g = reply_skip(got, got_end), *m = reply_skip(want, want_end);
        bool is_keys = slice_is(p->argv[0], "keys");
        bool is_same = g && m && g - got == m - want && memcmp(got, want, (size_t)(g - got)) == 0;
        if (!is_same && !(is_keys && g && m && is_same_set(got, g, want, m)))
            cr_assert(false, "seed %llu, step %d, home %u: %.*s %.*s\n  want %.300s\n  got  %.300s",
                      (unsigned long long)t->seed, t->step, j->home, SLICE_ARG(p->argv[0]),
                      SLICE_ARG(p->argc > 1 ? p->argv[1] : SLICE("")), want, got);
        got = g;
        want = m;
    }
    if (got != got_end || want != want_end) cr_assert(false, "more replies than commands");
}

static void close_done(struct trial *t)
{
    for (int i = 0; i < OPEN_MAX; i++) {
        struct open_job *o = &t->open[i];
        if (!o->job || !o->job->is_done) continue;
        check_replies(t, o);
        job_free(o->job);
        mem_free(o->want);
        *o = (struct open_job){0};
    }
}

// Every key lies where it belongs, and what the model has is there, database by database.
static void check_contents(struct trial *t)
{
    for (uint32_t d = 0; d < 2; d++) {
        uint64_t keys = 0;
        for (uint32_t i = 0; i < t->w->group.count; i++)
            keys += t->w->shards[i]->space->dbs[d].keys.count;
        if (keys != gyre_key_count(t->model, d)) cr_assert(false, "%u: %u keys", d, (unsigned)keys);
    }
    for (uint32_t s = 0; s < t->w->group.count; s++)
        for (char c = 'a'; c <= 'c'; c++) {
            char line[32];
            struct open_job o = {.job = job_new(t->w, pick(t, t->w->group.count))};
            snprintf(line, sizeof line, "GET @%u%c", s, c);
            job_add(o.job, line);
            model_select(t, o.job);
            model_run(t, &o, &o.job->calls[0].piece);
            job_enter(o.job, true);
            world_settle(t->w);
            check_replies(t, &o);
            job_free(o.job);
            mem_free(o.want);
        }
}

static void run_trial(struct trial *t, uint64_t seed, uint32_t shard_count)
{
    enum { STEPS = 4000 };
    struct gyre_options options = {.seed = seed};
    *t = (struct trial){.seed = seed, .w = world_new(shard_count), .model = gyre_open(&options)};
    random_seed(&t->random, seed);
    uint32_t turns_in_20 = 4 + pick(t, 14); // how far the shards are behind
    uint32_t sleeps_in_20 = pick(t, 20);
    t->w->is_done_light = pick(t, 2);
    for (t->step = 0; t->step < STEPS; t->step++) {
        struct open_job *o = &t->open[pick(t, OPEN_MAX)];
        uint32_t s = pick(t, shard_count);
        if (!o->job && pick(t, 20) >= turns_in_20) {
            enter(t, o);
        } else {
            world_turn(t->w, s);
            t->parked_turns += t->w->shards[s]->is_parked;
            if (pick(t, 20) < sleeps_in_20) world_sleep(t->w, s);
        }
        close_done(t);
    }
    world_settle(t->w);
    close_done(t);
    for (int i = 0; i < OPEN_MAX; i++) cr_assert_null(t->open[i].job);
    check_contents(t);
    for (uint32_t i = 0; i < shard_count; i++)
        t->stand_ins += (uint32_t)stat_get(&t->w->engine->stats[i]->stand_ins);
    gyre_close(t->model);
    world_free(t->w);
}

Test(shard, whatever_the_order_of_turns_all_is_as_in_one_database_fed_in_the_order_of_entry,
     .timeout = 180)
{
    uint32_t in_place = 0, parked_turns = 0, meetings = 0, travelling = 0, stand_ins = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct trial t;
        run_trial(&t, seed, 2 + seed % 3);
        in_place += t.in_place;
        parked_turns += t.parked_turns;
        meetings += t.meetings;
        travelling += t.travelling;
        stand_ins += t.stand_ins;
    }
    cr_assert(in_place > 100 && parked_turns > 100 && meetings > 100 && travelling > 20 &&
                  stand_ins > 100,
              "%u in place, %u turns of parked shards, %u meetings, %u travelled together, "
              "%u turns by others",
              in_place, parked_turns, meetings, travelling, stand_ins);
}

// --- threads -------------------------------------------------------------------------------------

struct thread {
    pthread_t thread;
    struct world *w;
    uint32_t home, jobs;
    _Atomic uint32_t *busy; // threads with jobs to do
    pthread_barrier_t *barrier;
    struct letter farewell;
    int delivered;
    uint32_t integers; // replies that were one
};

static void run_jobs(struct thread *t)
{
    struct shard *s = t->w->shards[t->home];
    for (uint32_t i = 0; i < t->jobs; i++) {
        const char *line = i % 10 == 0   ? "MSETNX @0x 1 @1x 1" // a meeting
                           : i % 10 == 1 ? "DEL @0x @1x"
                           : t->home     ? "INCR @0n"
                                         : "INCR @1n";
        struct job *j = job_start(t->w, t->home, line);
        while (!j->is_done) shard_tick(s, -1);
        t->integers += j->reply[0] == ':';
        job_free(j);
    }
}

// Jobs one after the other, each answered before the next; nothing but wakes ends a wait.
static void *thread_main(void *arg)
{
    struct thread *t = arg;
    struct shard *s = t->w->shards[t->home], *other = t->w->shards[1 - t->home];
    world_open_ring(t->w, t->home);
    pthread_barrier_wait(t->barrier); // both can be woken
    run_jobs(t);
    if (t->jobs) {
        atomic_fetch_sub(t->busy, 1);
        shard_post(s, other, &t->farewell.mail);
    }
    while (atomic_load(t->busy)) shard_tick(s, -1); // the other still needs this one
    shard_tick(s, 0);                               // a wake may travel with it
    pthread_barrier_wait(t->barrier);
    world_close_ring(t->w, t->home);
    return NULL;
}

static void run_threads(uint32_t jobs_0, uint32_t jobs_1, const char *want)
{
    struct world *w = world_new(2);
    struct thread threads[2];
    const uint32_t jobs[2] = {jobs_0, jobs_1};
    _Atomic uint32_t busy = (jobs_0 > 0) + (jobs_1 > 0);
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 2);
    w->is_cron_rare = true;
    for (uint32_t i = 0; i < 2; i++) world_close_ring(w, i); // each thread opens its own
    for (uint32_t i = 0; i < 2; i++) {
        struct thread *t = &threads[i];
        *t =
            (struct thread){.w = w, .home = i, .jobs = jobs[i], .busy = &busy, .barrier = &barrier};
        t->farewell = (struct letter){.mail.deliver = deliver_letter, .counter = &t->delivered};
        pthread_create(&t->thread, NULL, thread_main, t);
    }
    for (int i = 0; i < 2; i++) pthread_join(threads[i].thread, NULL);
    pthread_barrier_destroy(&barrier);
    for (uint32_t i = 0; i < 2; i++) // whoever sleeps while the other works
        if (jobs[1 - i]) cr_assert_gt(stat_get(&w->engine->stats[i]->stand_ins), 0);
    for (uint32_t i = 0; i < 2; i++) world_open_ring(w, i);
    world_settle(w);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(threads[i].integers, jobs[i]);
        cr_assert_eq(threads[i].delivered, jobs[i] > 0);
    }
    CHECK_LINE(w, "MGET @0n @1n", want);
    world_free(w);
}

Test(shard, a_sleeping_shard_is_woken_or_stood_in_for, .timeout = 60)
{
    run_threads(3000, 0, "*2 $-1 $4 2400");
}

Test(shard, shards_that_wait_for_each_other_wake_each_other, .timeout = 60)
{
    run_threads(3000, 3000, "*2 $4 2400 $4 2400");
}
