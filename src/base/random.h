// SPDX-License-Identifier: BSD-3-Clause
//
// random: xoshiro256** (Blackman and Vigna, 2018), seeded with splitmix64. Handed in where it is
// used, so that a test can repeat a run. Not for secrets: those come from random_secret.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state[4];
};

void random_seed(struct random *r, uint64_t seed);
uint64_t random_u64(struct random *r);
// Uniform in [0, bound), bound > 0.
uint64_t random_below(struct random *r, uint64_t bound);
// Bytes from the kernel (getrandom), for seeds and ids.
void random_secret(void *out, size_t len);
