// SPDX-License-Identifier: BSD-3-Clause
//
// Bucket layout, for S = HISTOGRAM_SUB:
//
//     [0, S)       exact, one bucket per ns
//     [S, 2S)      steps of 1     <- octave 0, buckets S  .. 2S-1
//     [2S, 4S)     steps of 2     <- octave 1, buckets 2S .. 3S-1
//     [4S, 8S)     steps of 4     <- octave 2 ...
//
// So the bucket of v is octave * S + (v >> octave), and its upper edge is the inverse of that.
#include "histogram.h"

static unsigned bucket_of(uint64_t ns)
{
    if (ns < HISTOGRAM_SUB) return (unsigned)ns;
    unsigned octave = 63u - (unsigned)__builtin_clzll(ns) - HISTOGRAM_SUB_BITS;
    return octave * HISTOGRAM_SUB + (unsigned)(ns >> octave);
}

static uint64_t bucket_upper_ns(unsigned bucket)
{
    if (bucket < 2 * HISTOGRAM_SUB) return bucket;
    unsigned octave = bucket / HISTOGRAM_SUB - 1;
    uint64_t step = bucket - octave * HISTOGRAM_SUB;
    return ((step + 1) << octave) - 1;
}

void histogram_record(struct histogram *h, uint64_t ns)
{
    h->counts[bucket_of(ns)]++;
    h->total++;
    if (ns > h->max_ns) h->max_ns = ns;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) into->counts[i] += from->counts[i];
    into->total += from->total;
    if (from->max_ns > into->max_ns) into->max_ns = from->max_ns;
}

uint64_t histogram_quantile_ns(const struct histogram *h, double quantile)
{
    uint64_t wanted = (uint64_t)(quantile * (double)h->total + 0.5);
    uint64_t seen = 0;
    if (wanted == 0) wanted = 1;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && h->total > 0; i++) {
        seen += h->counts[i];
        if (seen >= wanted) {
            uint64_t upper = bucket_upper_ns(i);
            return upper < h->max_ns ? upper : h->max_ns;
        }
    }
    return h->max_ns;
}
