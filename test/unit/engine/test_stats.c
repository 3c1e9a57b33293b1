// SPDX-License-Identifier: BSD-3-Clause
#include "engine/stats.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

Test(stats, a_duration_lies_within_its_bucket_and_above_the_one_before)
{
    for (uint64_t ns = 1; ns < UINT64_C(1) << 36; ns += ns / 7 + 1) {
        unsigned b = stats_histogram_bucket(ns);
        cr_assert_lt(b, STATS_HISTOGRAM_BUCKETS);
        cr_assert_leq((double)ns / 1000, stats_histogram_bound_us(b), "%lu ns", (unsigned long)ns);
        if (b)
            cr_assert_gt((double)ns / 1000, stats_histogram_bound_us(b - 1), "%lu ns",
                         (unsigned long)ns);
    }
}

Test(stats, powers_of_two_are_bounds_and_four_buckets_make_one)
{
    for (unsigned octave = 10; octave < 37; octave++) {
        unsigned b = stats_histogram_bucket(UINT64_C(1) << octave);
        cr_assert_eq(b, 4 * (octave - 10));
        cr_assert_eq(stats_histogram_bucket((UINT64_C(1) << octave) + 1), b + 1);
        double bound_us = (double)(UINT64_C(1) << octave) / 1000;
        cr_assert_float_eq(stats_histogram_bound_us(b), bound_us, 1e-9);
    }
}

Test(stats, what_is_too_long_for_the_histogram_is_in_its_last_bucket)
{
    cr_assert_eq(stats_histogram_bucket(0), 0);
    cr_assert_eq(stats_histogram_bucket(UINT64_MAX), STATS_HISTOGRAM_BUCKETS - 1);
}

Test(stats, percentiles_come_from_the_sum_of_several_shards)
{
    struct shard_stats *a = stats_new(3), *b = stats_new(3);
    uint64_t counts[STATS_HISTOGRAM_BUCKETS] = {0};
    cr_assert_eq(stats_histogram_add(&a->commands[1], counts), 0);
    for (int i = 0; i < 98; i++) stats_count_latency(&a->commands[1], 900);
    stats_count_latency(&b->commands[1], 8000);
    stats_count_latency(&b->commands[1], 1000000);
    uint64_t total = stats_histogram_add(&a->commands[1], counts);
    total += stats_histogram_add(&b->commands[1], counts);
    cr_assert_eq(total, 100);
    cr_assert_float_eq(stats_histogram_percentile_us(counts, total, 0), 1.024, 1e-9);
    cr_assert_float_eq(stats_histogram_percentile_us(counts, total, 50), 1.024, 1e-9);
    cr_assert_float_eq(stats_histogram_percentile_us(counts, total, 99), 8.192, 1e-9);
    cr_assert_float_eq(stats_histogram_percentile_us(counts, total, 100), 1048.576, 1e-9);
    stats_free(a);
    stats_free(b);
}

Test(stats, errors_are_counted_by_their_code)
{
    struct shard_stats *s = stats_new(1);
    stats_count_error(s, "ERR");
    stats_count_error(s, "WRONGTYPE");
    stats_count_error(s, "ERR");
    cr_assert_eq(stat_get(&s->total_errors), 3);
    cr_assert_eq(stat_get(&s->error_codes), 2);
    cr_assert_str_eq(s->errors[0].code, "ERR");
    cr_assert_eq(stat_get(&s->errors[0].count), 2);
    cr_assert_eq(stat_get(&s->errors[1].count), 1);
    stats_free(s);
}

Test(stats, made_up_error_codes_do_not_grow_without_bound)
{
    struct shard_stats *s = stats_new(1);
    for (int i = 0; i < 1000; i++) {
        char code[64];
        snprintf(code, sizeof code, "E%d", i);
        stats_count_error(s, code);
    }
    cr_assert_eq(stat_get(&s->error_codes), STATS_ERROR_CODES);
    cr_assert_eq(stat_get(&s->total_errors), 1000);
    stats_free(s);
}

Test(stats, a_reset_leaves_nothing_but_names)
{
    struct shard_stats *s = stats_new(2);
    uint64_t counts[STATS_HISTOGRAM_BUCKETS] = {0};
    stat_add(&s->commands[1].calls, 5);
    stat_add(&s->total_commands, 5);
    stats_count_latency(&s->commands[1], 5000);
    stats_count_error(s, "ERR");
    stats_reset(s);
    cr_assert_eq(stat_get(&s->commands[1].calls), 0);
    cr_assert_eq(stat_get(&s->total_commands), 0);
    cr_assert_eq(stat_get(&s->total_errors), 0);
    cr_assert_eq(stat_get(&s->errors[0].count), 0);
    cr_assert_eq(stats_histogram_add(&s->commands[1], counts), 0);
    stats_count_error(s, "ERR");
    cr_assert_eq(stat_get(&s->error_codes), 1);
    cr_assert_eq(stat_get(&s->errors[0].count), 1);
    stats_free(s);
}

static void *read_while_written(void *arg)
{
    struct shard_stats *s = arg;
    uint64_t seen = 0;
    while (seen < 5000) {
        uint64_t counts[STATS_HISTOGRAM_BUCKETS] = {0};
        seen = stats_histogram_add(&s->commands[0], counts);
        uint64_t codes = atomic_load_explicit(&s->error_codes, memory_order_acquire);
        for (uint64_t i = 0; i < codes; i++) cr_assert_eq(s->errors[i].code[0], 'E');
    }
    return NULL;
}

Test(stats, another_thread_may_read_while_the_owner_writes)
{
    struct shard_stats *s = stats_new(1);
    pthread_t reader;
    pthread_create(&reader, NULL, read_while_written, s);
    for (int i = 0; i < 5000; i++) {
        char code[16];
        snprintf(code, sizeof code, "E%d", i % 50);
        stats_count_error(s, code);
        stats_count_latency(&s->commands[0], (uint64_t)i * 100);
    }
    pthread_join(reader, NULL);
    stats_free(s);
}
