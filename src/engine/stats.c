// SPDX-License-Identifier: BSD-3-Clause
//
// Latency histogram. A power of two of nanoseconds has four buckets, so a figure read back is at
// most a quarter too high; and the powers of two, at which LATENCY HISTOGRAM shows its cumulative
// counts, are bounds:
//
//     bucket 0            up to 1024 ns
//     bucket 1 + 4o + s   up to 2^(10 + o) * (1 + (s + 1) / 4) ns, above the bucket before
//     the last            and all that is longer (2 minutes)
//
// Error codes are the first words of error replies. A client can make them up (scripts, later), so
// their number is bounded; what does not fit any more is counted in total_errors only.
#include "engine/stats.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

#define FIRST_OCTAVE 10 // 2^10 ns, the upper bound of bucket 0

struct shard_stats *stats_new(uint32_t command_count)
{
    struct shard_stats *s = mem_calloc(sizeof *s);
    s->commands = mem_calloc(command_count * sizeof *s->commands);
    s->command_count = command_count;
    return s;
}

void stats_free(struct shard_stats *s)
{
    if (!s) return;
    for (uint32_t i = 0; i < s->command_count; i++) mem_free(s->commands[i].histogram);
    mem_free(s->commands);
    mem_free(s);
}

// Histograms are emptied, not freed: other threads may be reading them.
void stats_reset(struct shard_stats *s)
{
    for (uint32_t i = 0; i < s->command_count; i++) {
        struct command_stats *c = &s->commands[i];
        stat_set(&c->calls, 0);
        stat_set(&c->ticks, 0);
        stat_set(&c->rejected, 0);
        stat_set(&c->failed, 0);
        stat_u64 *h = stats_histogram(c);
        for (unsigned b = 0; h && b < STATS_HISTOGRAM_BUCKETS; b++) stat_set(&h[b], 0);
    }
    stat_set(&s->total_commands, 0);
    stat_set(&s->total_errors, 0);
    // The names stay: a reader may be at one of them. An entry of count 0 is not shown.
    uint64_t codes = stat_get(&s->error_codes);
    for (uint64_t i = 0; i < codes; i++) stat_set(&s->errors[i].count, 0);
    stat_set(&s->forwarded, 0);
    stat_set(&s->meetings, 0);
    stat_set(&s->stand_ins, 0);
}

void stats_count_error(struct shard_stats *s, const char *code)
{
    if (!*code) return; // counted already, by the command that a script called
    stat_add(&s->total_errors, 1);
    uint64_t used = stat_get(&s->error_codes);
    for (uint64_t i = 0; i < used; i++) {
        if (strcmp(s->errors[i].code, code) != 0) continue;
        stat_add(&s->errors[i].count, 1);
        return;
    }
    if (used == STATS_ERROR_CODES) return;
    struct error_stat *e = &s->errors[used];
    size_t len = strnlen(code, sizeof e->code - 1);
    memcpy(e->code, code, len);
    e->code[len] = 0;
    stat_set(&e->count, 1);
    // Release: whoever reads the new number finds the entry complete.
    atomic_store_explicit(&s->error_codes, used + 1, memory_order_release);
}

unsigned stats_histogram_bucket(uint64_t duration_ns)
{
    if (duration_ns <= 1u << FIRST_OCTAVE) return 0;
    uint64_t v = duration_ns - 1; // bounds are inclusive
    unsigned octave = 63u - (unsigned)__builtin_clzll(v);
    unsigned quarter = (unsigned)(v >> (octave - 2)) & 3;
    unsigned bucket = 1 + 4 * (octave - FIRST_OCTAVE) + quarter;
    return MIN(bucket, STATS_HISTOGRAM_BUCKETS - 1);
}

double stats_histogram_bound_us(unsigned bucket)
{
    ASSERT(bucket < STATS_HISTOGRAM_BUCKETS);
    if (bucket == 0) return (double)(1u << FIRST_OCTAVE) / 1000;
    unsigned octave = FIRST_OCTAVE + (bucket - 1) / 4, quarter = (bucket - 1) % 4;
    return (double)(UINT64_C(1) << (octave - 2)) * (quarter + 5) / 1000;
}

void stats_count_latency(struct command_stats *c, uint64_t duration_ns)
{
    stat_u64 *h = atomic_load_explicit(&c->histogram, memory_order_relaxed); // its only writer
    if (UNLIKELY(!h)) {
        h = mem_calloc(STATS_HISTOGRAM_BUCKETS * sizeof *h);
        // Release: who finds the histogram finds it empty, not with what was in this memory before.
        atomic_store_explicit(&c->histogram, h, memory_order_release);
    }
    stat_add(&h[stats_histogram_bucket(duration_ns)], 1);
}

uint64_t stats_histogram_add(const struct command_stats *c, uint64_t *counts)
{
    const stat_u64 *h = stats_histogram(c);
    uint64_t total = 0;
    for (unsigned b = 0; h && b < STATS_HISTOGRAM_BUCKETS; b++) {
        uint64_t n = stat_get(&h[b]);
        counts[b] += n;
        total += n;
    }
    return total;
}

double stats_histogram_percentile_us(const uint64_t *counts, uint64_t total, double percentile)
{
    uint64_t wanted = (uint64_t)(percentile / 100 * (double)total + 0.5);
    if (wanted == 0) wanted = 1;
    uint64_t seen = 0;
    for (unsigned b = 0; b < STATS_HISTOGRAM_BUCKETS; b++) {
        seen += counts[b];
        if (seen >= wanted) return stats_histogram_bound_us(b);
    }
    return stats_histogram_bound_us(STATS_HISTOGRAM_BUCKETS - 1);
}
