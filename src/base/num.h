// SPDX-License-Identifier: BSD-3-Clause
//
// num: numbers as Redis reads and prints them. Reading is strict: no spaces, no sign +, no leading
// zeros, nothing behind.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define NUM_I64_TEXT 21   // bytes that any int64 needs, without NUL
#define NUM_F64_TEXT 5200 // a long double in %.17Lf form

bool num_parse_i64(struct slice s, int64_t *out);
bool num_parse_u64(struct slice s, uint64_t *out);
// Accepts what strtold accepts from first to last byte (inf too, nan not); no leading space.
bool num_parse_long_double(struct slice s, long double *out);
bool num_parse_double(struct slice s, double *out);

// Writes the digits to `out` (NUM_I64_TEXT bytes of room), returns their number. No NUL.
size_t num_format_i64(char *out, int64_t value);
size_t num_format_u64(char *out, uint64_t value);
// INCRBYFLOAT's form: up to 17 digits behind the point, no exponent, trailing zeros cut. `out` has
// NUM_F64_TEXT bytes.
size_t num_format_long_double(char *out, long double value);
// %.17g, integers without a point; "inf", "-inf", "nan".
size_t num_format_double(char *out, size_t out_size, double value);
// "1gb", "64mb", "100k", "5" … in bytes (k = 1000, kb = 1024 and so on).
bool num_parse_memory(struct slice s, uint64_t *out);
