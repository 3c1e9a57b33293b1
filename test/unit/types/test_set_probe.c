// SPDX-License-Identifier: BSD-3-Clause
#include "types/set_probe.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/random.h"

#define MEMBERS 200

// Member i of a population in which integers, digits that are none, long and empty strings occur.
static struct slice text_of(uint32_t i, char *text, size_t size)
{
    static const char *const special[] = {
        "", "0", "-1", "01", "9223372036854775807", "-9223372036854775808", "70368744177664", "-"};
    if (i < sizeof special / sizeof special[0]) return slice_of(special[i]);
    int len = snprintf(text, size, i % 3 ? "member-%u" : "%u", i * 1001);
    return (struct slice){text, (size_t)len};
}

// The same member as an integer, where it is one and the chance has it.
static struct item item_of_text(struct random *r, struct slice s)
{
    int64_t integer;
    if (random_below(r, 2) && num_parse_i64(s, &integer)) return item_of_integer(integer);
    return item_of(s);
}

static void compare(struct random *r, struct value set, const bool *is_in, uint64_t questions)
{
    struct set_probe probe;
    char texts[SET_BATCH][32];
    struct item members[SET_BATCH];
    set_probe_init(&probe, set, questions);
    for (uint32_t first = 0; first < MEMBERS; first += SET_BATCH) {
        uint32_t want = 0, count = MEMBERS - first < SET_BATCH ? MEMBERS - first : SET_BATCH;
        for (uint32_t i = 0; i < count; i++) {
            members[i] = item_of_text(r, text_of(first + i, texts[i], sizeof texts[i]));
            want |= (uint32_t)is_in[first + i] << i;
        }
        cr_assert_eq(set_probe_has(&probe, members, count), want);
    }
    cr_assert_eq(set_probe_has(&probe, members, 0), 0);
    set_probe_free(&probe);
}

static void run(uint64_t seed, const struct value_limits *limits)
{
    struct random r;
    struct value set = set_new();
    bool is_in[MEMBERS] = {0};
    random_seed(&r, seed);
    for (uint32_t size = 0; size < MEMBERS; size++) {
        char text[32];
        uint32_t i = (uint32_t)random_below(&r, MEMBERS);
        set_add(&set, text_of(i, text, sizeof text), limits);
        is_in[i] = true;
        if (random_below(&r, 4)) continue;
        compare(&r, set, is_in, 1);
        compare(&r, set, is_in, 1000);
    }
    set_free(set);
}

Test(set_probe, answers_as_the_set_does_in_every_encoding)
{
    static const struct value_limits packs = {.set_max_intset_entries = 512,
                                              .set_max_listpack_entries = 1000,
                                              .set_max_listpack_value = 1000};
    static const struct value_limits usual = {.set_max_intset_entries = 512,
                                              .set_max_listpack_entries = 128,
                                              .set_max_listpack_value = 64};
    static const struct value_limits tables = {0};
    for (uint64_t seed = 1; seed <= 5; seed++) {
        run(seed, &packs);
        run(seed, &usual);
        run(seed, &tables);
    }
}

Test(set_probe, an_index_is_made_only_for_a_listpack_that_is_asked_often)
{
    static const struct value_limits packs = {.set_max_intset_entries = 512,
                                              .set_max_listpack_entries = 128,
                                              .set_max_listpack_value = 64};
    struct set_probe probe;
    char text[32];
    struct value set = set_new();
    for (uint32_t i = 0; i < 100; i++) set_add(&set, text_of(i, text, sizeof text), &packs);
    cr_assert_eq(value_encoding(set), ENC_LISTPACK);
    set_probe_init(&probe, set, 1);
    cr_expect_null(probe.index);
    set_probe_init(&probe, set, 100);
    cr_expect_not_null(probe.index);
    set_probe_free(&probe);
    set_free(set);
}
