// SPDX-License-Identifier: BSD-3-Clause
//
// bits: strings of bytes as strings of bits, bit 0 being the highest of byte 0, as SETBIT counts:
// counting, searching, and combining several of them into one.
//
// The loops exist three times: in portable C, for AVX2 and for AVX-512. Which of them runs is asked
// of the CPU at every call (a load and a test), so there is no state to set up; tests name a level.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum bits_level {
    BITS_PORTABLE,
    BITS_AVX2,
    BITS_AVX512, // F, BW, VBMI and VPOPCNTDQ: Ice Lake and later, Zen 4 and later
    BITS_LEVELS,
};

bool bits_has_level(enum bits_level level); // can this CPU?
enum bits_level bits_best_level(void);

// --- loops ---------------------------------------------------------------------------------------

enum bits_pair {
    BITS_PAIR_AND,
    BITS_PAIR_OR,
    BITS_PAIR_XOR,
    BITS_PAIR_AND_NOT, // a & ~b
    BITS_PAIR_NOT,     // ~a; b is read, but means nothing
};

struct bits_loops {
    // Set bits in [p, p + len).
    uint64_t (*count)(const uint8_t *p, size_t len);
    // How many bytes at the beginning are `fill`, which is 0x00 or 0xff.
    size_t (*skip)(const uint8_t *p, size_t len, uint8_t fill);
    // to[i] = a[i] op b[i]. `to` may be `a` or `b`, but may not overlap them otherwise.
    void (*pair)(enum bits_pair op, uint8_t *to, const uint8_t *a, const uint8_t *b, size_t len);
    // Counts to two: more |= any & from, any |= from.
    void (*tally)(uint8_t *any, uint8_t *more, const uint8_t *from, size_t len);
};

// The loops of a level that this CPU has.
const struct bits_loops *bits_loops_of(enum bits_level level);

// --- the best loops ------------------------------------------------------------------------------

// Set bits in [from, to), positions of bits; from <= to.
uint64_t bits_count(const void *bytes, uint64_t from, uint64_t to);
// The first bit in [from, to) that is `bit`, or `to`.
uint64_t bits_find(const void *bytes, uint64_t from, uint64_t to, bool bit);

// With X the first source and Y the others. A source that is shorter than the result is continued
// with zeros.
enum bits_op {
    BITS_AND,
    BITS_OR,
    BITS_XOR,
    BITS_NOT,   // of X, the only one
    BITS_DIFF,  // in X and in no Y
    BITS_DIFF1, // in some Y and not in X
    BITS_ANDOR, // in X and in some Y
    BITS_ONE,   // in exactly one source
};

// Writes `len` bytes to `to`, reading each source once. There is at least one; NOT takes one, the
// three with X and Y at least two. `to` may be where a source is (then at its beginning).
void bits_combine(enum bits_op op, void *to, size_t len, const struct slice *sources, size_t count);
