// SPDX-License-Identifier: BSD-3-Clause
#include "base/clock.h"

#include <time.h>

// Written once by clock_calibrate, before other threads start.
static double ticks_per_us = 1.0;
static uint64_t ns_per_tick_q20 = 1000u << 20; // 44.20 fixed point

static int64_t read_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_unix_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

int64_t clock_unix_us(void)
{
    return read_us(CLOCK_REALTIME);
}

int64_t clock_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_thread_us(void)
{
    return read_us(CLOCK_THREAD_CPUTIME_ID);
}

void clock_calibrate(void)
{
    struct timespec pause = {0, 4000000};
    int64_t us0 = clock_mono_us();
    uint64_t ticks0 = clock_ticks();
    nanosleep(&pause, NULL);
    uint64_t ticks1 = clock_ticks();
    int64_t us1 = clock_mono_us();
    if (us1 > us0 && ticks1 > ticks0)
        ticks_per_us = (double)(ticks1 - ticks0) / (double)(us1 - us0);
    ns_per_tick_q20 = (uint64_t)(1000.0 / ticks_per_us * (1 << 20));
}

double clock_ticks_per_us(void)
{
    return ticks_per_us;
}

uint64_t clock_ticks_to_ns(uint64_t ticks)
{
    uint64_t ns;
    if (__builtin_mul_overflow(ticks, ns_per_tick_q20, &ns)) return UINT64_MAX >> 20;
    return ns >> 20;
}
