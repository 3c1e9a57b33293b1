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

// 10^n, 0 <= n <= 20.
static unsigned __int128 power_of_ten(unsigned n)
{
    unsigned __int128 p = n & 1 ? 10 : 1;
    if (n & 2) p *= 100;
    if (n & 4) p *= 10000;
    if (n & 8) p *= 100000000;
    if (n & 16) p *= 10000000000000000u;
    return p;
}

// The 17 digits that value, 1e-4 <= value < 2^53 and no integer, begins with if the first of them
// stands for 10^exponent: rounded to even. m * 2^e * 10^k in 128 bits is exact: k <= 20.
static uint64_t seventeen_digits(double value, int exponent)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint64_t mantissa = (bits & ((1ull << 52) - 1)) | 1ull << 52;
    unsigned shift = 1075 - (unsigned)(bits >> 52);
    unsigned __int128 product = mantissa * power_of_ten((unsigned)(16 - exponent));
    unsigned __int128 rest = product & (((unsigned __int128)1 << shift) - 1),
                      half = (unsigned __int128)1 << (shift - 1);
    uint64_t digits = (uint64_t)(product >> shift);
    return digits + (rest > half || (rest == half && digits & 1));
}

// %.17g of such a value, without the way through printf.
static size_t format_fraction(char *out, double value)
{
    static const double powers[] = {1e-3, 1e-2, 1e-1, 1e0,  1e1,  1e2,  1e3,  1e4,  1e5, 1e6,
                                    1e7,  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    char digits[NUM_I64_TEXT];
    int exponent = -4;
    while (exponent < 15 && value >= powers[exponent + 4]) exponent++;
    uint64_t number = seventeen_digits(value, exponent);
    if (number >= 100000000000000000u) number = seventeen_digits(value, ++exponent); // 0.999…95
    // The powers are not exact.
    if (number < 10000000000000000u) number = seventeen_digits(value, --exponent);
    size_t len = num_format_u64(digits, number), at = 0;
    while (digits[len - 1] == '0') len--;
    size_t before = exponent < 0 ? 0 : (size_t)exponent + 1; // digits before the point
    if (!before) out[at++] = '0';
    memcpy(out + at, digits, before);
    at += before;
    out[at++] = '.';
    for (int i = exponent; i < -1; i++) out[at++] = '0';
    memcpy(out + at, digits + before, len - before);
    return at + len - before;
}

size_t num_format_double(char *out, size_t out_size, double value)
{
    if (isnan(value)) return (size_t)snprintf(out, out_size, "nan");
    if (isinf(value)) return (size_t)snprintf(out, out_size, value > 0 ? "inf" : "-inf");
    // Integers of up to 17 digits have the same text without the way through printf; -0 has not.
    if (value > -1e17 && value < 1e17 && value == (double)(int64_t)value &&
        (value != 0 || !signbit(value)) && out_size >= NUM_I64_TEXT)
        return num_format_i64(out, (int64_t)value);
    double size = fabs(value);
    if (size >= 1e-4 && size < 0x1p52 && size != floor(size) && out_size >= 32) {
        bool is_negative = value < 0;
        if (is_negative) *out = '-';
        return is_negative + format_fraction(out + is_negative, size);
    }
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
