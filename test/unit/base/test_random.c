// SPDX-License-Identifier: BSD-3-Clause
#include "base/random.h"

#include <criterion/criterion.h>
#include <string.h>

Test(random, the_same_seed_gives_the_same_numbers)
{
    struct random a, b;
    random_seed(&a, 5);
    random_seed(&b, 5);
    for (int i = 0; i < 100; i++) cr_assert_eq(random_u64(&a), random_u64(&b));
    random_seed(&b, 6);
    cr_assert_neq(random_u64(&a), random_u64(&b));
}

// From the reference implementations: splitmix64 of seed 0 begins with e220a8397b1dcdaf, and these
// are the numbers of xoshiro256** from its first four.
Test(random, the_generator_is_xoshiro256_starstar)
{
    struct random r;
    random_seed(&r, 0);
    cr_assert_eq(r.state[0], 0xe220a8397b1dcdafu);
    cr_assert_eq(r.state[1], 0x6e789e6aa1b965f4u);
    cr_assert_eq(r.state[2], 0x06c45d188009454fu);
    cr_assert_eq(r.state[3], 0xf88bb8a8724c81ecu);
    r = (struct random){{1, 2, 3, 4}};
    cr_assert_eq(random_u64(&r), 11520);
    cr_assert_eq(random_u64(&r), 0);
    cr_assert_eq(random_u64(&r), 1509978240);
    cr_assert_eq(random_u64(&r), 1215971899390074240u);
}

Test(random, numbers_below_a_bound_are_spread_evenly)
{
    struct random r;
    int counts[10] = {0};
    random_seed(&r, 7);
    for (int i = 0; i < 100000; i++) counts[random_below(&r, 10)]++;
    for (int i = 0; i < 10; i++) cr_assert(counts[i] > 9500 && counts[i] < 10500);
    for (int i = 0; i < 100; i++) cr_assert_eq(random_below(&r, 1), 0);
    for (int i = 0; i < 1000; i++) cr_assert_lt(random_below(&r, UINT64_MAX), UINT64_MAX);
}

Test(random, secrets_differ)
{
    unsigned char a[1000] = {0}, b[1000] = {0};
    random_secret(a, sizeof a);
    random_secret(b, sizeof b);
    cr_assert_neq(memcmp(a, b, sizeof a), 0);
    int zeros = 0;
    for (size_t i = 0; i < sizeof a; i++) zeros += a[i] == 0;
    cr_assert_lt(zeros, 40);
    random_secret(a, 0);
}
