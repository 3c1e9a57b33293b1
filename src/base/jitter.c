// SPDX-License-Identifier: BSD-3-Clause
#include "base/jitter.h"

#ifndef NDEBUG
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "base/random.h"

static unsigned per_mille;

__attribute__((constructor)) static void read_environment(void)
{
    const char *text = getenv("GYRE_JITTER");
    if (text) per_mille = (unsigned)strtoul(text, NULL, 10);
}

void jitter(void)
{
    static _Thread_local struct random dice;
    static _Thread_local bool is_seeded;
    if (LIKELY(!per_mille)) return;
    if (!is_seeded) random_seed(&dice, (uintptr_t)&dice);
    is_seeded = true;
    if (random_below(&dice, 1000) >= per_mille) return;
    struct timespec pause = {.tv_nsec = (long)random_below(&dice, JITTER_US_MAX) * 1000};
    nanosleep(&pause, NULL);
}
#endif
