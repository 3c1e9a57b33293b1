// SPDX-License-Identifier: BSD-3-Clause
#include "base/hash.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/random.h"

// The definition: one bit at a time.
static uint16_t crc16_by_bits(const uint8_t *p, size_t len)
{
    uint16_t crc = 0;
    while (len--) {
        crc ^= (uint16_t)(*p++ << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    }
    return crc;
}

Test(hash, crc16_gives_the_check_value_of_the_cluster_specification)
{
    cr_assert_eq(hash_crc16("123456789", 9), 0x31c3);
    cr_assert_eq(hash_crc16("", 0), 0);
}

Test(hash, crc16_of_any_length_is_what_bit_by_bit_gives)
{
    struct random r;
    uint8_t bytes[300];
    random_seed(&r, 1);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)random_u64(&r);
    for (size_t from = 0; from < 9; from++)
        for (size_t len = 0; from + len <= sizeof bytes; len++)
            cr_assert_eq(hash_crc16(bytes + from, len), crc16_by_bits(bytes + from, len));
}

// Slots as CLUSTER KEYSLOT of redis-server gives them.
Test(hash, slots_are_those_of_redis_cluster)
{
    cr_assert_eq(hash_slot(SLICE("foo")), 12182);
    cr_assert_eq(hash_slot(SLICE("bar")), 5061);
    cr_assert_eq(hash_slot(SLICE("hello")), 866);
    cr_assert_eq(hash_slot(SLICE("123456789")), 0x31c3);
    cr_assert_eq(hash_slot(SLICE("")), 0);
}

Test(hash, keys_with_the_same_tag_share_a_slot)
{
    cr_assert_eq(hash_slot(SLICE("{user1000}.following")),
                 hash_slot(SLICE("{user1000}.followers")));
    cr_assert_eq(hash_slot(SLICE("{user1000}.following")), hash_slot(SLICE("user1000")));
    cr_assert_eq(hash_slot(SLICE("a{x}b{y}")), hash_slot(SLICE("x")));
}

Test(hash, a_tag_is_what_stands_between_the_first_braces)
{
    cr_assert(slice_eq(hash_tag(SLICE("foo{}{bar}")), SLICE("foo{}{bar}")));
    cr_assert(slice_eq(hash_tag(SLICE("foo{{bar}}zap")), SLICE("{bar")));
    cr_assert(slice_eq(hash_tag(SLICE("foo{bar}{zap}")), SLICE("bar")));
    cr_assert(slice_eq(hash_tag(SLICE("foo{bar")), SLICE("foo{bar")));
    cr_assert(slice_eq(hash_tag(SLICE("foo}bar{")), SLICE("foo}bar{")));
    cr_assert(slice_eq(hash_tag(SLICE("}{a}")), SLICE("a")));
    cr_assert(slice_eq(hash_tag(SLICE("{\0}x")), SLICE("\0")));
    cr_assert(slice_eq(hash_tag(SLICE("")), SLICE("")));
}

Test(hash, table_hashes_depend_on_the_seed)
{
    uint64_t first = hash_bytes(SLICE("key"));
    cr_assert_eq(first, hash_bytes(SLICE("key")));
    cr_assert_neq(first, hash_bytes(SLICE("kez")));
    hash_set_seed(hash_seed + 1);
    cr_assert_neq(first, hash_bytes(SLICE("key")));
}

Test(hash, slots_are_spread_evenly_over_numbered_keys)
{
    uint32_t *counts = mem_calloc(HASH_SLOTS * sizeof *counts);
    char key[32];
    for (int i = 0; i < 1000000; i++) {
        int n = snprintf(key, sizeof key, "key:%012d", i);
        counts[hash_slot((struct slice){key, (size_t)n})]++;
    }
    uint32_t halves[2] = {0};
    for (unsigned s = 0; s < HASH_SLOTS; s++) halves[s / (HASH_SLOTS / 2)] += counts[s];
    cr_assert_gt(halves[0], 490000);
    cr_assert_gt(halves[1], 490000);
    mem_free(counts);
}
