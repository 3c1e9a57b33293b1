// SPDX-License-Identifier: BSD-3-Clause
#include "base/num.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool num_parse_u64(struct slice s, uint64_t *out)
{
    if (s.len == 0 || s.len > 20) return false;
    if (s.ptr[0] == '0' && s.len > 1) return false;
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned d = (unsigned)(s.ptr[i] - '0');
        if (d > 9) return false;
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) || __builtin_add_overflow(v, d, &v))
            return false;
    }
    *out = v;
    return true;
}

bool num_parse_i64(struct slice s, int64_t *out)
{
    bool is_negative = s.len && s.ptr[0] == '-';
    uint64_t v;
    if (is_negative) {
        s.ptr++;
        s.len--;
    }
    if (!num_parse_u64(s, &v)) return false;
    if (is_negative) {
        if (v == 0 || v > (uint64_t)INT64_MAX + 1) return false;
        *out = (int64_t)(0 - v);
        return true;
    }
    if (v > INT64_MAX) return false;
    *out = (int64_t)v;
    return true;
}

bool num_parse_long_double(struct slice s, long double *out)
{
    char text[5 * 1024],
        *end; // what INCRBYFLOAT writes must be read again: 4933 digits and a fraction
    if (s.len == 0 || s.len >= sizeof text || isspace((unsigned char)s.ptr[0])) return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    errno = 0;
    long double v = strtold(text, &end);
    if (end != text + s.len || isnan(v)) return false;
    if (errno == ERANGE && (v == HUGE_VALL || v == -HUGE_VALL || v == 0)) return false;
    *out = v;
    return true;
}

bool num_parse_double(struct slice s, double *out)
{
    char text[256], *end;
    if (s.len == 0 || s.len >= sizeof text || isspace((unsigned char)s.ptr[0])) return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    errno = 0;
    double v = strtod(text, &end);
    if (end != text + s.len || isnan(v)) return false;
    if (errno == ERANGE && (v == HUGE_VAL || v == -HUGE_VAL || v == 0)) return false;
    *out = v;
    return true;
}

size_t num_format_u64(char *out, uint64_t value)
{
    static const char pairs[] = "0001020304050607080910111213141516171819"
                                "2021222324252627282930313233343536373839"
                                "4041424344454647484950515253545556575859"
                                "6061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    char text[20];
    size_t at = sizeof text;
    while (value >= 100) {
        unsigned two = (unsigned)(value % 100) * 2;
        value /= 100;
        text[--at] = pairs[two + 1];
        text[--at] = pairs[two];
    }
    if (value >= 10) {
        text[--at] = pairs[value * 2 + 1];
        text[--at] = pairs[value * 2];
    } else {
        text[--at] = (char)('0' + value);
    }
    memcpy(out, text + at, sizeof text - at);
    return sizeof text - at;
}

size_t num_format_i64(char *out, int64_t value)
{
    if (value >= 0) return num_format_u64(out, (uint64_t)value);
    out[0] = '-';
    return 1 + num_format_u64(out + 1, 0 - (uint64_t)value);
}

size_t num_format_long_double(char *out, long double value)
{
    if (isinf(value)) {
        memcpy(out, value > 0 ? "inf" : "-inf", 4);
        return value > 0 ? 3 : 4;
    }
    size_t n = (size_t)snprintf(out, NUM_F64_TEXT, "%.17Lf", value);
    if (memchr(out, '.', n)) {
        while (out[n - 1] == '0') n--;
        if (out[n - 1] == '.') n--;
    }
    if (n == 2 && memcmp(out, "-0", 2) == 0) {
        out[0] = '0';
        n = 1;
    }
    return n;
}

size_t num_format_double(char *out, size_t out_size, double value)
{
    if (isnan(value)) return (size_t)snprintf(out, out_size, "nan");
    if (isinf(value)) return (size_t)snprintf(out, out_size, value > 0 ? "inf" : "-inf");
    return (size_t)snprintf(out, out_size, "%.17g", value);
}

bool num_parse_memory(struct slice s, uint64_t *out)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } units[] = {
        {"", 1},           {"b", 1},           {"k", 1000},
        {"kb", 1024},      {"m", 1000000},     {"mb", 1024 * 1024},
        {"g", 1000000000}, {"gb", 1ull << 30},
    };
    size_t digits = 0;
    uint64_t v = 0;
    while (digits < s.len && isdigit((unsigned char)s.ptr[digits])) {
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.ptr[digits] - '0'), &v))
            return false;
        digits++;
    }
    if (digits == 0) return false;
    struct slice unit = {s.ptr + digits, s.len - digits};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (slice_is(unit, units[i].unit)) return !__builtin_mul_overflow(v, units[i].factor, out);
    return false;
}
