// SPDX-License-Identifier: BSD-3-Clause
#include "script/script_cache.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct script *make(const char *text)
{
    struct buf error = {0};
    const char *bad;
    struct script *s = script_new(slice_of(text), &error, &bad);
    cr_assert_not_null(s);
    buf_free(&error);
    return s;
}

// Adds the script and keeps no reference; returns its SHA1 in `sha`.
static void add(struct script_cache *c, const char *text, bool is_kept, char *sha)
{
    struct script *s = script_cache_add(c, make(text), is_kept);
    memcpy(sha, s->sha, SCRIPT_SHA_BYTES + 1);
    script_unref(s);
}

static bool has(struct script_cache *c, const char *sha)
{
    struct script *s = script_cache_find(c, sha);
    if (s) script_unref(s);
    return s != NULL;
}

Test(script_cache, a_script_is_found_by_the_sha1_of_its_text)
{
    struct script_cache c;
    char sha[SCRIPT_SHA_BYTES + 1], parsed[SCRIPT_SHA_BYTES + 1];
    script_cache_init(&c);
    add(&c, "return 1", false, sha);
    cr_assert_str_eq(sha, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    cr_assert(has(&c, sha));
    cr_assert(script_sha_parse(SLICE("E0E1F9FABFC9D4800C877A703B823AC0578FF8DB"), parsed));
    cr_assert_str_eq(parsed, sha);
    cr_assert_not(script_sha_parse(SLICE("e0e1"), parsed));
    script_cache_free(&c);
}

Test(script_cache, a_second_script_of_the_same_text_is_the_first)
{
    struct script_cache c;
    script_cache_init(&c);
    struct script *one = script_cache_add(&c, make("return 1"), false);
    struct script *two = script_cache_add(&c, make("return 1"), false);
    cr_assert_eq(one, two);
    script_unref(one);
    script_unref(two);
    script_cache_free(&c);
}

Test(script_cache, a_flush_tells_those_who_hold_a_script)
{
    struct script_cache c;
    script_cache_init(&c);
    struct script *s = script_cache_add(&c, make("return 1"), true);
    uint64_t generation = atomic_load(&c.generation);
    cr_assert_not(atomic_load(&s->is_gone));
    script_cache_flush(&c);
    cr_assert(atomic_load(&s->is_gone));
    cr_assert_neq(atomic_load(&c.generation), generation);
    cr_assert_eq(atomic_load(&c.bytes), 0u);
    script_unref(s);
    script_cache_free(&c);
}

Test(script_cache, the_oldest_unused_script_that_nobody_loaded_makes_room)
{
    struct script_cache c;
    char kept[SCRIPT_SHA_BYTES + 1], used[SCRIPT_SHA_BYTES + 1], idle[SCRIPT_SHA_BYTES + 1],
        sha[SCRIPT_SHA_BYTES + 1], text[32];
    script_cache_init(&c);
    add(&c, "return 'kept'", true, kept);
    add(&c, "return 'used'", false, used);
    add(&c, "return 'idle'", false, idle);
    struct script *s = script_cache_find(&c, used);
    for (int i = 0; i < SCRIPT_EVAL_MAX - 1; i++) {
        atomic_store(&s->is_used, true);
        snprintf(text, sizeof text, "return %d", i);
        add(&c, text, false, sha);
    }
    script_unref(s);
    cr_assert(has(&c, kept));
    cr_assert(has(&c, used));
    cr_assert(has(&c, sha));
    cr_assert_not(has(&c, idle));
    cr_assert_eq(script_cache_evicted(&c), 1u);
    cr_assert_eq(atomic_load(&c.count), SCRIPT_EVAL_MAX + 1u);
    script_cache_free(&c);
}
