// SPDX-License-Identifier: BSD-3-Clause
//
// clock: the only reader of time. The engine is handed its time (ctx->now_ms); the loops read it
// here once a tick.
#pragma once
#include <stdint.h>

// Unix time in milliseconds / microseconds.
int64_t clock_unix_ms(void);
int64_t clock_unix_us(void);
// Monotonic microseconds, for durations and timeouts.
int64_t clock_mono_us(void);
// Processor time of the calling thread, microseconds.
int64_t clock_thread_us(void);

// CPU timestamp ticks for timing single commands (TSC on x86, the virtual counter on ARM): a few
// nanoseconds a call, monotonic enough on one core. clock_ticks_per_us is measured once, by the
// first caller of clock_calibrate (at start-up, takes some ms).
static inline uint64_t clock_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t v;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
    return v;
#else
    return (uint64_t)clock_mono_us();
#endif
}
void clock_calibrate(void);
double clock_ticks_per_us(void);
// Nanoseconds of a short duration (below 2^32 ticks exactly, longer ones capped): a multiplication.
uint64_t clock_ticks_to_ns(uint64_t ticks);
