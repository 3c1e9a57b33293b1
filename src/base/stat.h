// SPDX-License-Identifier: BSD-3-Clause
//
// stat: counters that one thread writes and any thread reads. Relaxed throughout: a reader wants a
// figure of the moment, nothing hangs on it. A single writer needs no locked instruction.
#pragma once
#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t stat_u64; // the one scalar typedef: it must not be used without stat_*

static inline uint64_t stat_get(const stat_u64 *s)
{
    return atomic_load_explicit(s, memory_order_relaxed);
}

static inline void stat_set(stat_u64 *s, uint64_t value)
{
    atomic_store_explicit(s, value, memory_order_relaxed);
}

static inline void stat_add(stat_u64 *s, uint64_t n)
{
    stat_set(s, stat_get(s) + n);
}
