// SPDX-License-Identifier: BSD-3-Clause
#include "base/num.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/random.h"

// --- integers ------------------------------------------------------------------------------------

Test(num, integers_are_read_to_their_limits)
{
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {{"0", 0},
                 {"1", 1},
                 {"-1", -1},
                 {"10", 10},
                 {"9223372036854775807", INT64_MAX},
                 {"-9223372036854775808", INT64_MIN},
                 {"-9223372036854775807", INT64_MIN + 1}};
    int64_t v;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_assert(num_parse_i64(slice_of(cases[i].text), &v), "%s", cases[i].text);
        cr_assert_eq(v, cases[i].value);
    }
}

Test(num, what_is_no_strict_integer_is_refused)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "01",
                                      "00",
                                      "-0",
                                      "-01",
                                      "1x",
                                      "0x1",
                                      "1.0",
                                      "--1",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999",
                                      "100000000000000000000000",
                                      "\n1"};
    int64_t v = 77;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_not(num_parse_i64(slice_of(bad[i]), &v), "'%s'", bad[i]);
    cr_assert_not(num_parse_i64(SLICE("1\0"), &v));
    cr_assert_eq(v, 77, "a failure writes nothing");
}

Test(num, unsigned_integers_are_read_to_their_limit)
{
    uint64_t v;
    cr_assert(num_parse_u64(SLICE("18446744073709551615"), &v));
    cr_assert_eq(v, UINT64_MAX);
    cr_assert(num_parse_u64(SLICE("0"), &v));
    cr_assert_eq(v, 0);
    cr_assert_not(num_parse_u64(SLICE("18446744073709551616"), &v));
    cr_assert_not(num_parse_u64(SLICE("28446744073709551615"), &v));
    cr_assert_not(num_parse_u64(SLICE("-1"), &v));
}

Test(num, integers_are_written_as_printf_writes_them_and_read_back)
{
    struct random r;
    random_seed(&r, 1);
    for (int i = 0; i < 100000; i++) {
        int64_t value = (int64_t)random_u64(&r) >> random_below(&r, 64), back;
        char expected[32], text[NUM_I64_TEXT];
        if (i < 200) value = i - 100;
        if (i == 200) value = INT64_MIN;
        size_t len = num_format_i64(text, value);
        snprintf(expected, sizeof expected, "%" PRId64, value);
        cr_assert(slice_eq((struct slice){text, len}, slice_of(expected)));
        cr_assert(num_parse_i64((struct slice){text, len}, &back) && back == value);
        snprintf(expected, sizeof expected, "%" PRIu64, (uint64_t)value);
        len = num_format_u64(text, (uint64_t)value);
        cr_assert(slice_eq((struct slice){text, len}, slice_of(expected)));
    }
}

// --- floating point ------------------------------------------------------------------------------

Test(num, floats_are_read_whole_or_not_at_all)
{
    static const char *const good[] = {"0",   "-0",   "3.5",      "1e5", "+1", "0x1p3",
                                       "inf", "-inf", "Infinity", ".5",  "5."};
    static const char *const bad[] = {"", " 1", "1 ", "nan", "1x", "abc", "1e", "--1", "1e500000"};
    long double v;
    double d;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        cr_assert(num_parse_long_double(slice_of(good[i]), &v), "%s", good[i]);
        cr_assert(num_parse_double(slice_of(good[i]), &d), "%s", good[i]);
        cr_assert_eq((double)v, d);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_assert_not(num_parse_long_double(slice_of(bad[i]), &v), "%s", bad[i]);
        cr_assert_not(num_parse_double(slice_of(bad[i]), &d), "%s", bad[i]);
    }
    cr_assert_not(num_parse_double(SLICE("1\0"), &d));
}

Test(num, long_doubles_are_written_as_incrbyfloat_does)
{
    static const struct {
        long double value;
        const char *text;
    } cases[] = {{0, "0"},        {-0.0L, "0"},      {1, "1"},
                 {10.5L, "10.5"}, {-3.25L, "-3.25"}, {5000, "5000"},
                 {100, "100"},    {3.0e3L, "3000"},  {1e20L, "100000000000000000000"},
                 {0.1L, "0.1"},   {INFINITY, "inf"}, {-INFINITY, "-inf"},
                 {1e-18L, "0"}};
    char out[NUM_F64_TEXT];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = num_format_long_double(out, cases[i].value);
        cr_assert(slice_eq((struct slice){out, len}, slice_of(cases[i].text)), "%.*s is not %s",
                  (int)len, out, cases[i].text);
    }
    cr_assert_lt(num_format_long_double(out, __LDBL_MAX__), NUM_F64_TEXT);
}

Test(num, doubles_are_written_with_17_digits)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},
                 {1, "1"},
                 {-1.5, "-1.5"},
                 {0.1, "0.10000000000000001"},
                 {1e20, "1e+20"},
                 {INFINITY, "inf"},
                 {-INFINITY, "-inf"},
                 {NAN, "nan"},
                 {1234567, "1234567"}};
    char out[64];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = num_format_double(out, sizeof out, cases[i].value);
        cr_assert(slice_eq((struct slice){out, len}, slice_of(cases[i].text)), "%.*s is not %s",
                  (int)len, out, cases[i].text);
    }
}

Test(num, doubles_are_printed_as_printf_prints_them)
{
    struct random r;
    char want[64], got[64];
    random_seed(&r, 5);
    for (int i = 0; i < 1000000; i++) {
        uint64_t bits = random_u64(&r);
        double value = (double)(int64_t)bits;
        switch (i % 8) {
        case 0: memcpy(&value, &bits, sizeof value); break;
        case 1: value /= 1e18; break;
        case 2: value = (double)(bits >> 44) / 1000; break;
        case 3: value = (double)(bits >> 52) / 1e6; break;
        case 4: value = ldexp((double)(bits >> 11), -(int)(bits % 70)); break;
        case 5: value = pow(10, (double)(bits % 23) - 5); break;
        case 6: value = nextafter(pow(10, (double)(bits % 23) - 5), bits >> 63 ? 0 : 1e300); break;
        default: value = (double)(bits >> 11) / 0x1p53; break;
        }
        if (bits & 1) value = -value;
        size_t len = num_format_double(got, sizeof got, value);
        if (isnan(value)) continue;
        cr_assert_eq((size_t)snprintf(want, sizeof want, "%.17g", value), len, "%s", want);
        cr_assert_eq(memcmp(want, got, len), 0, "%.*s is not %s", (int)len, got, want);
    }
}

// --- memory sizes --------------------------------------------------------------------------------

Test(num, memory_sizes_have_units)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        {"0", 0},      {"5", 5},           {"5b", 5},       {"1k", 1000},       {"1kb", 1024},
        {"1KB", 1024}, {"64mb", 64 << 20}, {"3m", 3000000}, {"1g", 1000000000}, {"2gb", 2ull << 30},
        {"007k", 7000}};
    static const char *const bad[] = {
        "", "k", "-1", "1x", "1 k", "1.5g", "1kk", "99999999999999999999", "99999999999gb"};
    uint64_t v;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_assert(num_parse_memory(slice_of(cases[i].text), &v), "%s", cases[i].text);
        cr_assert_eq(v, cases[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_not(num_parse_memory(slice_of(bad[i]), &v), "%s", bad[i]);
}
