// SPDX-License-Identifier: BSD-3-Clause
#include "engine/slowlog.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#define ARGS_MAX 64

struct seen {
    int count;
    uint64_t ids[512];
    struct slowlog_entry last; // its texts are copied below
    char args[ARGS_MAX][256];
    char client_name[64];
};

static void note(const struct slowlog_entry *e, void *arg)
{
    struct seen *s = arg;
    s->ids[s->count++] = e->id;
    s->last = *e;
    for (int i = 0; i < e->argc; i++)
        snprintf(s->args[i], sizeof s->args[i], "%.*s", (int)e->arg_lens[i], e->argv[i]);
    snprintf(s->client_name, sizeof s->client_name, "%s", e->client_name);
}

static void add(struct slowlog *log, uint64_t duration_us, uint64_t max_len)
{
    struct slice argv[] = {SLICE("get"), SLICE("k")};
    slowlog_add(log, NULL, 2, argv, duration_us, 1000, max_len);
}

Test(slowlog, newest_entries_come_first_and_count_limits_them)
{
    struct slowlog *log = slowlog_new();
    struct seen all = {0}, two = {0}, none = {0};
    for (int i = 0; i < 5; i++) add(log, 10, 128);
    slowlog_each(log, -1, note, &all);
    slowlog_each(log, 2, note, &two);
    slowlog_each(log, 0, note, &none);
    cr_assert_eq(all.count, 5);
    for (int i = 0; i < 5; i++) cr_assert_eq(all.ids[i], 4 - i);
    cr_assert_eq(two.count, 2);
    cr_assert_eq(two.ids[0], 4);
    cr_assert_eq(none.count, 0);
    slowlog_free(log);
}

Test(slowlog, the_oldest_entries_fall_out_and_ids_go_on_after_a_reset)
{
    struct slowlog *log = slowlog_new();
    struct seen s = {0};
    for (int i = 0; i < 300; i++) add(log, 10, 128);
    cr_assert_eq(slowlog_len(log), 128);
    add(log, 10, 3); // slowlog-max-len was lowered
    cr_assert_eq(slowlog_len(log), 3);
    slowlog_each(log, -1, note, &s);
    cr_assert_eq(s.count, 3);
    cr_assert_eq(s.ids[0], 300);
    cr_assert_eq(s.ids[2], 298);
    slowlog_reset(log);
    cr_assert_eq(slowlog_len(log), 0);
    slowlog_reset(log);
    add(log, 10, 128);
    s = (struct seen){0};
    slowlog_each(log, -1, note, &s);
    cr_assert_eq(s.count, 1);
    cr_assert_eq(s.ids[0], 301);
    slowlog_free(log);
}

Test(slowlog, a_maximum_length_of_0_keeps_nothing)
{
    struct slowlog *log = slowlog_new();
    add(log, 10, 0);
    cr_assert_eq(slowlog_len(log), 0);
    slowlog_free(log);
}

Test(slowlog, long_arguments_and_long_commands_are_shortened_as_redis_shortens_them)
{
    struct slowlog *log = slowlog_new();
    struct seen s = {0};
    char big[300];
    struct slice argv[52];
    memset(big, 'z', sizeof big);
    for (int i = 0; i < 52; i++) argv[i] = SLICE("x");
    argv[1] = (struct slice){big, 128};
    argv[2] = (struct slice){big, 129};
    slowlog_add(log, NULL, 32, argv, 7, 1234, 128);
    slowlog_each(log, 1, note, &s);
    cr_assert_eq(s.last.argc, 32);
    cr_assert_str_eq(s.args[31], "x");
    cr_assert_eq(strlen(s.args[1]), 128);
    cr_assert_eq(memcmp(s.args[2], big, 128), 0);
    cr_assert_str_eq(s.args[2] + 128, "... (1 more bytes)");
    cr_assert_eq(s.last.duration_us, 7);
    cr_assert_eq(s.last.time_s, 1234);
    slowlog_add(log, NULL, 52, argv, 7, 1234, 128);
    s = (struct seen){0};
    slowlog_each(log, 1, note, &s);
    cr_assert_eq(s.last.argc, 32);
    cr_assert_str_eq(s.args[30], "x");
    cr_assert_str_eq(s.args[31], "... (21 more arguments)");
    slowlog_free(log);
}

Test(slowlog, an_entry_knows_its_client_and_keeps_no_password)
{
    struct slowlog *log = slowlog_new();
    struct seen s = {0};
    struct session session = {.name = "worker", .peer = "127.0.0.1:5000"};
    struct slice argv[] = {SLICE("CONFIG"), SLICE("Set"), SLICE("requirepass"), SLICE("secret")};
    slowlog_add(log, &session, 4, argv, 1, 1, 10);
    slowlog_each(log, 1, note, &s);
    cr_assert_str_eq(s.last.peer, "127.0.0.1:5000");
    cr_assert_str_eq(s.client_name, "worker");
    cr_assert_str_eq(s.args[3], "(redacted)");
    slowlog_free(log);
}

// --- latency monitor -----------------------------------------------------------------------------

struct events {
    int count;
    char names[8][32];
    int samples[8];
    struct latency_sample first[8], last[8];
    uint32_t max_ms[8];
};

static void note_event(const char *event, const struct latency_sample *samples, int count,
                       uint32_t max_ms, void *arg)
{
    struct events *e = arg;
    int i = e->count++;
    snprintf(e->names[i], sizeof e->names[i], "%s", event);
    e->samples[i] = count;
    e->first[i] = samples[0];
    e->last[i] = samples[count - 1];
    e->max_ms[i] = max_ms;
}

static struct events look(struct latency_monitor *m)
{
    struct events e = {0};
    latency_each(m, note_event, &e);
    return e;
}

Test(latency, what_is_below_the_threshold_or_has_none_is_not_kept)
{
    struct latency_monitor *m = latency_new();
    latency_add(m, "command", 100, 5, 0);
    latency_add(m, "command", 100, 5, 6);
    cr_assert_eq(look(m).count, 0);
    latency_add(m, "command", 100, 5, 5);
    cr_assert_eq(look(m).count, 1);
    latency_free(m);
}

Test(latency, one_sample_a_second_is_kept_and_it_is_the_worst)
{
    struct latency_monitor *m = latency_new();
    latency_add(m, "command", 100, 5, 1);
    latency_add(m, "command", 100, 9, 1);
    latency_add(m, "command", 100, 7, 1);
    latency_add(m, "command", 101, 3, 1);
    struct events e = look(m);
    cr_assert_eq(e.samples[0], 2);
    cr_assert_eq(e.first[0].latency_ms, 9);
    cr_assert_eq(e.last[0].time_s, 101);
    cr_assert_eq(e.last[0].latency_ms, 3);
    cr_assert_eq(e.max_ms[0], 9);
    latency_free(m);
}

Test(latency, the_history_keeps_the_newest_samples_oldest_first)
{
    struct latency_monitor *m = latency_new();
    for (int i = 0; i < 3 * LATENCY_HISTORY / 2; i++)
        latency_add(m, "fork", 1000 + i, (uint32_t)(500 - i), 1);
    struct events e = look(m);
    cr_assert_eq(e.samples[0], LATENCY_HISTORY);
    cr_assert_eq(e.first[0].time_s, 1000 + LATENCY_HISTORY / 2);
    cr_assert_eq(e.last[0].time_s, 1000 + 3 * LATENCY_HISTORY / 2 - 1);
    cr_assert_eq(e.max_ms[0], 500); // long gone from the history
    latency_free(m);
}

Test(latency, reset_removes_one_event_or_all_and_says_how_many)
{
    struct latency_monitor *m = latency_new();
    latency_add(m, "a", 1, 1, 1);
    latency_add(m, "b", 1, 1, 1);
    latency_add(m, "c", 1, 1, 1);
    cr_assert_eq(latency_reset(m, "nope"), 0);
    cr_assert_eq(latency_reset(m, "b"), 1);
    struct events e = look(m);
    cr_assert_eq(e.count, 2);
    cr_assert_str_eq(e.names[1], "c");
    cr_assert_eq(latency_reset(m, NULL), 2);
    cr_assert_eq(look(m).count, 0);
    latency_free(m);
}

// --- both ----------------------------------------------------------------------------------------

struct shared {
    struct slowlog *log;
    struct latency_monitor *monitor;
};

static void *hammer(void *arg)
{
    struct shared *s = arg;
    for (int i = 0; i < 2000; i++) {
        struct seen *seen = calloc(1, sizeof *seen);
        add(s->log, 1, 64);
        latency_add(s->monitor, i % 2 ? "a" : "b", i, 1, 1);
        slowlog_each(s->log, 3, note, seen);
        cr_assert_leq(seen->count, 3);
        look(s->monitor);
        if (i % 100 == 0) slowlog_reset(s->log);
        free(seen);
    }
    return NULL;
}

Test(slowlog, many_threads_may_use_it_at_once)
{
    struct shared s = {slowlog_new(), latency_new()};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, hammer, &s);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    cr_assert_leq(slowlog_len(s.log), 64);
    slowlog_free(s.log);
    latency_free(s.monitor);
}
