// SPDX-License-Identifier: BSD-3-Clause
//
// The meaning of a pattern, as Redis's KEYS, SCAN MATCH, PSUBSCRIBE and CONFIG GET have it:
//
//   *        any bytes, none too              ?     any one byte
//   [abc]    one of these                     [^a]  any one byte but these
//   [a-z]    one of a range, either way round \x    x itself, in a class too
//
// and at the edges: a backslash that ends the pattern means itself; a class without its ] ends with
// the pattern; [] matches nothing and [^] any byte; a - that does not stand between two bytes means
// itself, but [a-] is a range up to ] and goes on. Bytes in a range count as signed. Where case
// does not matter, it still does for a quoted byte in a class. The empty text matches the empty
// pattern only.
//
// Time: after a star, the rest of the pattern is tried at one place after another, and a later star
// makes the earlier ones final: what stood between two stars has matched at its first place, and no
// later place could help. So at most |pattern| * |text| steps, where plain recursion takes |text| ^
// stars.
#include "base/glob.h"

#include <stddef.h>

#include "base/assert.h"

static signed char fold(signed char c, bool is_nocase)
{
    return is_nocase && c >= 'A' && c <= 'Z' ? (signed char)(c | 0x20) : c;
}

static bool in_range(signed char c, signed char low, signed char high)
{
    return c >= low && c <= high;
}

// Does the class whose '[' is at *at have the byte? *at becomes what stands behind it.
static bool class_has(const char **at, const char *end, char byte, bool is_nocase)
{
    signed char c = fold((signed char)byte, is_nocase);
    const char *p = *at + 1;
    bool is_negated = p < end && *p == '^', has = false;
    if (is_negated) p++;
    while (p < end && *p != ']') {
        if (*p == '\\' && end - p >= 2) {
            has |= p[1] == byte;
            p += 2;
        } else if (end - p >= 3 && p[1] == '-') {
            signed char low = (signed char)p[0], high = (signed char)p[2];
            has |= in_range(c, fold(MIN(low, high), is_nocase), fold(MAX(low, high), is_nocase));
            p += 3;
        } else {
            has |= fold((signed char)*p++, is_nocase) == c;
        }
    }
    *at = p < end ? p + 1 : p;
    return has != is_negated;
}

// Does the one thing at *at (no star) match the byte? *at becomes what stands behind it.
static bool one_matches(const char **at, const char *end, char byte, bool is_nocase)
{
    const char *p = *at;
    switch (*p) {
    case '?': *at = p + 1; return true;
    case '[': return class_has(at, end, byte, is_nocase);
    case '\\':
        if (end - p >= 2) p++;
        break;
    default: break;
    }
    *at = p + 1;
    return fold((signed char)*p, is_nocase) == fold((signed char)byte, is_nocase);
}

static bool match(struct slice pattern, struct slice text, bool is_nocase)
{
    const char *p = pattern.ptr, *p_end = p + pattern.len;
    const char *t = text.ptr, *t_end = t + text.len;
    if (text.len == 0) return pattern.len == 0;
    const char *after_star = NULL, *retry = NULL; // behind the last star; where to try next
    for (;;) {
        if (p < p_end && *p == '*') {
            while (p < p_end && *p == '*') p++;
            if (p == p_end) return true;
            after_star = p;
            retry = t;
        } else if (t == t_end) {
            return p == p_end;
        } else if (p == p_end || !one_matches(&p, p_end, *t++, is_nocase)) {
            if (!after_star) return false;
            p = after_star;
            t = ++retry;
        }
    }
}

bool glob_match(struct slice pattern, struct slice text)
{
    return match(pattern, text, false);
}

bool glob_match_nocase(struct slice pattern, struct slice text)
{
    return match(pattern, text, true);
}
