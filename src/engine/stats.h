// SPDX-License-Identifier: BSD-3-Clause
//
// stats: what a shard counts about commands. Written by the shard's thread, read by any
// (base/stat.h).
#pragma once
#include "base/stat.h"

// Latency histogram of one command: 4 buckets per power of two of nanoseconds, from 1 us up
// (INFO latencystats and LATENCY HISTOGRAM read it).
#define STATS_HISTOGRAM_BUCKETS 112

struct command_stats {
    stat_u64 calls, ticks, rejected, failed;
    stat_u64 *_Atomic histogram; // STATS_HISTOGRAM_BUCKETS, allocated at the first call; owned
};

#define STATS_ERROR_CODES 128 // distinct first words of error replies that are counted

struct error_stat {
    char code[22];
    stat_u64 count;
};

struct shard_stats {
    struct command_stats *commands; // by command id; owned
    uint32_t command_count;
    stat_u64 total_commands, total_errors;
    stat_u64 error_codes; // used entries of errors[]; release/acquire: an entry is complete before
                          // it counts
    struct error_stat errors[STATS_ERROR_CODES];
    stat_u64 forwarded, meetings, stand_ins; // filled by the shard layer
    uint64_t
        attention_ticks; // a command that takes longer is looked at (slow log, latency monitor)
    uint64_t settings_version; // for which attention_ticks was computed
};

struct shard_stats *stats_new(uint32_t command_count);
void stats_free(struct shard_stats *s);
void stats_reset(struct shard_stats *s);
void stats_count_error(struct shard_stats *s, const char *code);
// The bucket of a duration, and the upper bound of a bucket in microseconds.
unsigned stats_histogram_bucket(uint64_t duration_ns);
double stats_histogram_bound_us(unsigned bucket);
// Counts one call in the histogram. Owner's thread.
void stats_count_latency(struct command_stats *c, uint64_t duration_ns);

// The histogram, NULL before the first call. Any thread.
static inline stat_u64 *stats_histogram(const struct command_stats *c)
{
    // Acquire: pairs with the release that published it.
    return atomic_load_explicit(&c->histogram, memory_order_acquire);
}

// Adds the histogram to `counts` (STATS_HISTOGRAM_BUCKETS); returns how many calls it holds. Any
// thread.
uint64_t stats_histogram_add(const struct command_stats *c, uint64_t *counts);
// The microseconds within which `percentile` (0 to 100) of the `total` calls in `counts` ended.
double stats_histogram_percentile_us(const uint64_t *counts, uint64_t total, double percentile);
