// SPDX-License-Identifier: BSD-3-Clause
//
// The format of packs: what it takes, and that everything comes back as it was put in. Random
// changes are tested where packs are used (test_hash.c).
#include "types/hash_pack.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"

static struct slice text(const char *s)
{
    return slice_of(s);
}

static struct hash_pack *add(struct hash_pack *p, struct slice field, struct slice value,
                             uint32_t tail)
{
    uint32_t end = hash_pack_bytes(p, tail);
    p = hash_pack_append(p, &end, field, value, tail);
    cr_assert_eq(end, hash_pack_bytes(p, tail));
    return p;
}

static bool holds(const struct hash_pack *p, struct slice field, struct slice value, uint32_t tail)
{
    char scratch[NUM_I64_TEXT];
    struct hash_pack_pair pair;
    struct hash_pack_place place = hash_pack_find(p, field, tail);
    if (!place.at) return false;
    hash_pack_read(p, place.at, tail, &pair);
    return slice_eq(pair.field, field) && slice_eq(item_slice(&pair.value, scratch), value);
}

Test(hash_pack, a_pair_costs_one_byte_beside_its_text)
{
    struct hash_pack *p = hash_pack_new(0);
    cr_assert_eq(hash_pack_bytes(p, 0), 1);
    p = add(p, text("city"), text("Paris"), 0);
    cr_assert_eq(hash_pack_bytes(p, 0), 1 + 1 + 4 + 5);
    cr_assert_eq(memcmp(p,
                        "\x01\x45"
                        "cityParis",
                        11),
                 0);
    p = add(p, text("age"), text("42"), 0);
    cr_assert_eq(memcmp((char *)p + 11,
                        "\x3a"
                        "age\x2a",
                        5),
                 0);
    cr_assert_eq(hash_pack_count(p), 2);
    mem_free(p);
}

Test(hash_pack, integers_take_what_they_need_and_other_numbers_stay_text)
{
    static const struct {
        const char *text;
        size_t bytes; // that the value takes
    } values[] = {
        {"", 0},
        {"0", 1},
        {"7", 1},
        {"10", 1},
        {"127", 1},
        {"128", 2},
        {"-1", 1},
        {"-128", 1},
        {"-129", 2},
        {"32767", 2},
        {"32768", 3},
        {"-32769", 3},
        {"8388607", 3},
        {"8388608", 4},
        {"2147483647", 4},
        {"-2147483649", 6},
        {"1700000000000", 6},
        {"140737488355327", 6},
        {"140737488355328", 8},
        {"9223372036854775807", 8},
        {"-9223372036854775808", 8},
        {"9223372036854775808", 20},
        {"01", 2},
        {"+1", 2},
        {"-0", 2},
        {"1.5", 3},
        {" 1", 2},
        {"-", 1},
        {"1234567x", 9},
        {"seven77", 7},
    };
    for (uint32_t tail = 0; tail <= HASH_PACK_EXPIRY_BYTES; tail += HASH_PACK_EXPIRY_BYTES) {
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            struct hash_pack *p = hash_pack_new(0);
            p = add(p, text("f"), text(values[i].text), tail);
            cr_assert(holds(p, text("f"), text(values[i].text), tail), "%s", values[i].text);
            cr_assert_eq(hash_pack_bytes(p, tail), 3 + values[i].bytes + tail, "%s",
                         values[i].text);
            cr_assert_eq(hash_pack_pair_bytes(text("f"), text(values[i].text), tail),
                         2 + values[i].bytes + tail);
            mem_free(p);
        }
    }
}

Test(hash_pack, every_length_comes_back)
{
    static const size_t lengths[] = {0, 1, 7, 8, 13, 14, 255, 256, 70000};
    enum { N = sizeof lengths / sizeof lengths[0] };
    char *bytes = mem_alloc(70000);
    memset(bytes, 'z', 70000);
    for (uint32_t tail = 0; tail <= HASH_PACK_EXPIRY_BYTES; tail += HASH_PACK_EXPIRY_BYTES) {
        struct hash_pack *p = hash_pack_new(0);
        for (int f = 0; f < N; f++) p = add(p, (struct slice){bytes, lengths[f]}, SLICE("1"), tail);
        for (int n = 0; n < 3 * N; n++) {
            for (int f = 0; f < N; f++) {
                struct slice field = {bytes, lengths[f]}, value = {bytes, lengths[(n + f) % N]};
                struct hash_pack_place place = hash_pack_find(p, field, tail);
                cr_assert_eq(place.left, (uint32_t)(N - f));
                p = hash_pack_replace(p, &place, value, tail);
                for (int g = 0; g <= f; g++)
                    cr_assert(holds(p, (struct slice){bytes, lengths[g]},
                                    (struct slice){bytes, lengths[(n + g) % N]}, tail));
            }
        }
        mem_free(p);
    }
    mem_free(bytes);
}

Test(hash_pack, more_than_254_pairs_have_a_longer_header)
{
    char name[16];
    struct hash_pack *p = hash_pack_new(0);
    for (uint32_t i = 0; i < 1000; i++) {
        sprintf(name, "%u", i);
        p = add(p, text(name), text(name), 0);
        cr_assert_eq(hash_pack_count(p), i + 1);
        cr_assert_eq(hash_pack_first(p), i < 254 ? 1 : 5);
    }
    for (uint32_t i = 0; i < 1000; i += 3) {
        sprintf(name, "%u", i);
        struct hash_pack_place place = hash_pack_find(p, text(name), 0);
        p = hash_pack_remove(p, &place, 0);
    }
    cr_assert_eq(hash_pack_count(p), 666);
    for (uint32_t i = 0; i < 1000; i++) {
        sprintf(name, "%u", i);
        cr_assert_eq(holds(p, text(name), text(name), 0), i % 3 != 0);
    }
    mem_free(p);
}

Test(hash_pack, expiries_are_added_to_what_is_there)
{
    struct hash_pack *p = hash_pack_new(0);
    p = add(p, text("a"), text("1"), 0);
    p = add(p, text("b"), text("a value of some length"), 0);
    p = hash_pack_add_tails(p);
    const uint32_t tail = HASH_PACK_EXPIRY_BYTES;
    struct hash_pack_pair pair;
    hash_pack_read(p, hash_pack_find(p, text("b"), tail).at, tail, &pair);
    cr_assert_eq(hash_pack_expiry(p, pair.expiry_at), 0);
    hash_pack_set_expiry(p, pair.expiry_at, (UINT64_C(1) << 48) - 1);
    struct hash_pack_place a = hash_pack_find(p, text("a"), tail);
    p = hash_pack_replace(p, &a, text("something longer"), tail);
    hash_pack_read(p, hash_pack_find(p, text("b"), tail).at, tail, &pair);
    cr_assert_eq(hash_pack_expiry(p, pair.expiry_at), (UINT64_C(1) << 48) - 1);
    cr_assert(holds(p, text("a"), text("something longer"), tail));
    mem_free(p);
}
