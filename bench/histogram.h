// SPDX-License-Identifier: BSD-3-Clause
//
// A latency histogram with a fixed relative error.
//
// Each power of two is cut into HISTOGRAM_SUB equal steps, so a percentile is at most 1/64 (1.6 %)
// above the true value, whatever its size, in 30 KB and with no allocation.
//
// Invariant: total == sum of counts[].
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 6,
    HISTOGRAM_SUB = 1 << HISTOGRAM_SUB_BITS,
    HISTOGRAM_BUCKETS = HISTOGRAM_SUB * (64 - HISTOGRAM_SUB_BITS + 1),
};

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max_ns;
};

// Records one latency. A zeroed struct is a valid empty histogram.
void histogram_record(struct histogram *h, uint64_t ns);

// Adds all that `from` holds to `into`.
void histogram_merge(struct histogram *into, const struct histogram *from);

// The latency, in ns, that the fraction `quantile` (0..1) of records does not exceed; 0 if empty.
uint64_t histogram_quantile_ns(const struct histogram *h, double quantile);

#endif
