// SPDX-License-Identifier: BSD-3-Clause
//
// The cases were compared with redis-server 7.0 (KEYS), seven million random pairs too.
#include "base/glob.h"

#include <criterion/criterion.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"

static bool matches(const char *pattern, const char *text)
{
    return glob_match(slice_of(pattern), slice_of(text));
}

static bool matches_nocase(const char *pattern, const char *text)
{
    return glob_match_nocase(slice_of(pattern), slice_of(text));
}

Test(glob, plain_bytes_match_themselves)
{
    cr_assert(matches("abc", "abc"));
    cr_assert_not(matches("abc", "ab"));
    cr_assert_not(matches("ab", "abc"));
    cr_assert_not(matches("abc", "abC"));
    cr_assert(glob_match(SLICE("a\0b"), SLICE("a\0b")));
    cr_assert_not(glob_match(SLICE("a\0b"), SLICE("a\0c")));
}

Test(glob, a_star_matches_any_bytes)
{
    cr_assert(matches("*", "a"));
    cr_assert(matches("**", "abc"));
    cr_assert(matches("a*", "a"));
    cr_assert(matches("a***", "a"));
    cr_assert(matches("*c", "abc"));
    cr_assert(matches("a*c", "abcbc"));
    cr_assert(matches("*b*b*", "abab"));
    cr_assert(matches("*aab", "aaab"));
    cr_assert_not(matches("*b*b*", "aba"));
    cr_assert_not(matches("a*c", "abcb"));
    cr_assert_not(matches("*?", ""));
    cr_assert(matches("*?*", "a"));
}

Test(glob, the_empty_text_matches_only_the_empty_pattern)
{
    cr_assert(matches("", ""));
    cr_assert_not(matches("*", ""));
    cr_assert_not(matches("**", ""));
    cr_assert_not(matches("", "a"));
}

Test(glob, a_question_mark_matches_one_byte)
{
    cr_assert(matches("h?llo", "hello"));
    cr_assert(matches("???", "abc"));
    cr_assert_not(matches("???", "ab"));
    cr_assert_not(matches("?", ""));
}

Test(glob, a_class_matches_one_of_its_bytes)
{
    cr_assert(matches("h[ae]llo", "hallo"));
    cr_assert_not(matches("h[ae]llo", "hillo"));
    cr_assert(matches("h[^e]llo", "hallo"));
    cr_assert_not(matches("h[^e]llo", "hello"));
    cr_assert(matches("[a-c]", "b"));
    cr_assert(matches("[c-a]", "b"));
    cr_assert_not(matches("[a-c]", "d"));
    cr_assert(matches("[^a-c]", "d"));
    cr_assert(matches("[a^]", "^"));
    cr_assert(matches("[^a]", "^"));
    cr_assert_not(matches("[^^]", "^"));
    cr_assert(matches("[-]", "-"));
    cr_assert(matches("*[0-9]", "key:7"));
}

Test(glob, classes_have_edges)
{
    cr_assert_not(matches("[]", "]"));
    cr_assert_not(matches("[]a]", "]"));
    cr_assert(matches("[^]", "x"));
    cr_assert(matches("[a", "a"));
    cr_assert(matches("[^a", "b"));
    cr_assert_not(matches("[", "["));
    cr_assert(matches("[^", "x"));
    cr_assert(matches("[\\]]", "]"));
    cr_assert(matches("[\\", "\\"));
    cr_assert(matches("[a-]", "^"), "a range up to ], not closed");
    cr_assert(matches("[a-]]", "^"));
    cr_assert(matches("[\x80-a]", "\x01"), "bytes in ranges are signed");
    cr_assert_not(matches("[a-\x80]", "b"));
}

Test(glob, a_backslash_takes_the_meaning_away)
{
    cr_assert(matches("a\\*", "a*"));
    cr_assert_not(matches("a\\*", "ab"));
    cr_assert(matches("\\[a]", "[a]"));
    cr_assert(matches("\\\\", "\\"));
    cr_assert(matches("a\\", "a\\"));
    cr_assert(matches("\\a", "a"));
}

Test(glob, letters_of_either_case_match_without_case)
{
    cr_assert(matches_nocase("MAX*", "maxmemory"));
    cr_assert(matches_nocase("max*", "MAXMEMORY"));
    cr_assert(matches_nocase("[A-C]x", "bX"));
    cr_assert(matches_nocase("[abc]", "B"));
    cr_assert_not(matches_nocase("[^abc]", "B"));
    cr_assert(matches_nocase("POR[S-u]", "port"));
    cr_assert_not(matches_nocase("por[s-U]", "port"), "turned round before the case is folded");
    cr_assert_not(matches_nocase("[\\P]ort", "port"), "quoted in a class: as it stands");
    cr_assert_not(matches_nocase("[@-Z]", "\xe1"));
}

// What a pattern of literals, ? and * means, by definition.
static bool means(const char *p, const char *t)
{
    if (*p == '*') return means(p + 1, t) || (*t && means(p, t + 1));
    if (!*t || !*p) return *p == *t;
    return (*p == '?' || *p == *t) && means(p + 1, t + 1);
}

Test(glob, random_patterns_match_what_they_mean)
{
    struct random r;
    int found = 0;
    random_seed(&r, 1);
    for (int i = 0; i < 200000; i++) {
        char pattern[9] = {0}, text[11] = {0};
        for (uint64_t n = random_below(&r, 9), k = 0; k < n; k++)
            pattern[k] = "ab?*"[random_below(&r, 4)];
        for (uint64_t n = 1 + random_below(&r, 10), k = 0; k < n; k++)
            text[k] = "ab"[random_below(&r, 2)];
        cr_assert_eq(matches(pattern, text), means(pattern, text), "%s %s", pattern, text);
        found += matches(pattern, text);
    }
    cr_assert_gt(found, 10000);
}

Test(glob, many_stars_take_no_exponential_time, .timeout = 5)
{
    char pattern[202], *text = mem_alloc(100001);
    for (int i = 0; i < 200; i += 2) memcpy(pattern + i, "a*", 2);
    memcpy(pattern + 200, "b", 2);
    memset(text, 'a', 100000);
    text[100000] = '\0';
    cr_assert_not(matches(pattern, text));
    text[99999] = 'b';
    cr_assert(matches(pattern, text));
    text[99999] = 'a';
    pattern[0] = '*';
    cr_assert_not(matches(pattern, text));
    mem_free(text);
}
