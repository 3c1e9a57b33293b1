// SPDX-License-Identifier: BSD-3-Clause
//
// Every level of loops that this CPU has against bit-by-bit definitions, at all alignments and all
// short lengths; buffers are allocated to the byte, so that the sanitizers see every overread.
#include "ds/bits.h"

#include <criterion/criterion.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"

#define ALIGNMENTS 64

static struct random rng;

static void seed(void)
{
    random_seed(&rng, 11);
}

TestSuite(bits, .init = seed);

// A buffer of exactly `len` bytes behind `shift` bytes, which is where the memory begins.
static uint8_t *buffer_new(size_t shift, size_t len)
{
    uint8_t *start = mem_alloc(shift + len + !(shift + len));
    return start + shift;
}

static uint8_t *random_new(size_t shift, size_t len)
{
    uint8_t *p = buffer_new(shift, len);
    for (size_t i = 0; i < len; i++) p[i] = (uint8_t)random_u64(&rng);
    return p;
}

static void buffer_free(uint8_t *p, size_t shift)
{
    mem_free(p - shift);
}

static bool bit_of(const uint8_t *p, uint64_t at)
{
    return p[at / 8] >> (7 - at % 8) & 1;
}

static uint64_t count_by_bit(const uint8_t *p, uint64_t from, uint64_t to)
{
    uint64_t n = 0;
    while (from < to) n += bit_of(p, from++);
    return n;
}

// Lengths that say something about loops of 8, 32, 64 and 256 bytes.
static size_t length_at(int i)
{
    static const size_t more[] = {255, 256, 257, 300, 511, 512, 513, 1024, 1983, 1984, 1985, 2049};
    enum { ALL_UP_TO = 130 };
    return i < ALL_UP_TO ? (size_t)i : more[i - ALL_UP_TO];
}

#define LENGTHS 142

Test(bits, every_level_counts_alike)
{
    for (enum bits_level level = 0; level < BITS_LEVELS; level++) {
        if (!bits_has_level(level)) continue;
        for (int i = 0; i < LENGTHS * ALIGNMENTS; i++) {
            size_t shift = (size_t)i % ALIGNMENTS, len = length_at(i / ALIGNMENTS);
            uint8_t *p = random_new(shift, len);
            if (i % 7 == 0) memset(p, 0xff, len);
            cr_assert_eq(bits_loops_of(level)->count(p, len), count_by_bit(p, 0, len * 8),
                         "level %d, %zu bytes", level, len);
            buffer_free(p, shift);
        }
    }
}

Test(bits, every_level_stops_at_the_first_other_byte)
{
    for (enum bits_level level = 0; level < BITS_LEVELS; level++) {
        if (!bits_has_level(level)) continue;
        for (int i = 0; i < LENGTHS * ALIGNMENTS; i++) {
            size_t shift = (size_t)i % ALIGNMENTS, len = length_at(i / ALIGNMENTS);
            uint8_t *p = buffer_new(shift, len), fill = i % 2 ? 0xff : 0;
            memset(p, fill, len);
            cr_assert_eq(bits_loops_of(level)->skip(p, len, fill), len);
            size_t at = len;
            for (int others = 0; len && others < 3; others++) {
                size_t other = random_below(&rng, len);
                p[other] ^= (uint8_t)(1u << random_below(&rng, 8));
                at = p[other] == fill ? at : MIN(at, other);
            }
            size_t want = 0;
            while (want < len && p[want] == fill) want++;
            cr_assert_eq(bits_loops_of(level)->skip(p, len, fill), want, "level %d, %zu bytes",
                         level, len);
            buffer_free(p, shift);
        }
    }
}

static uint8_t pair_of_bytes(enum bits_pair op, uint8_t a, uint8_t b)
{
    switch (op) {
    case BITS_PAIR_AND: return a & b;
    case BITS_PAIR_OR: return a | b;
    case BITS_PAIR_XOR: return a ^ b;
    case BITS_PAIR_AND_NOT: return a & (uint8_t)~b;
    case BITS_PAIR_NOT: return (uint8_t)~a;
    }
    return 0;
}

// `in_place`: the result goes to a buffer of its own (0), over a (1) or over b (2).
static void check_pair(enum bits_level level, enum bits_pair op, size_t shift, size_t len,
                       int in_place)
{
    size_t shift_b = random_below(&rng, ALIGNMENTS);
    uint8_t *a = random_new(shift, len), *b = random_new(shift_b, len), *own = random_new(1, len);
    uint8_t *want = buffer_new(0, len), *to = in_place == 0 ? own : in_place == 1 ? a : b;
    for (size_t i = 0; i < len; i++) want[i] = pair_of_bytes(op, a[i], b[i]);
    bits_loops_of(level)->pair(op, to, a, b, len);
    cr_assert(memcmp(to, want, len) == 0, "level %d, op %d, %zu bytes", level, op, len);
    buffer_free(a, shift);
    buffer_free(b, shift_b);
    buffer_free(own, 1);
    buffer_free(want, 0);
}

Test(bits, every_level_combines_pairs_alike)
{
    for (enum bits_level level = 0; level < BITS_LEVELS; level++) {
        if (!bits_has_level(level)) continue;
        for (int i = 0; i < LENGTHS * ALIGNMENTS; i++)
            check_pair(level, (enum bits_pair)(i % 5), (size_t)i % ALIGNMENTS,
                       length_at(i / ALIGNMENTS), i % 3);
    }
}

Test(bits, every_level_tallies_alike)
{
    for (enum bits_level level = 0; level < BITS_LEVELS; level++) {
        if (!bits_has_level(level)) continue;
        for (int i = 0; i < LENGTHS; i++) {
            size_t len = length_at(i);
            uint8_t *any = random_new(1, len), *more = random_new(2, len);
            uint8_t *from = random_new(3, len), *any_want = buffer_new(0, len);
            uint8_t *more_want = buffer_new(0, len);
            for (size_t j = 0; j < len; j++) {
                more_want[j] = more[j] | (any[j] & from[j]);
                any_want[j] = any[j] | from[j];
            }
            bits_loops_of(level)->tally(any, more, from, len);
            cr_assert(memcmp(any, any_want, len) == 0 && memcmp(more, more_want, len) == 0);
            buffer_free(any, 1);
            buffer_free(more, 2);
            buffer_free(from, 3);
            buffer_free(any_want, 0);
            buffer_free(more_want, 0);
        }
    }
}

Test(bits, ranges_begin_and_end_within_bytes)
{
    for (int i = 0; i < 20000; i++) {
        size_t len = 1 + random_below(&rng, i % 2 ? 12 : 400);
        uint8_t *p = random_new(0, len);
        uint64_t from = random_below(&rng, len * 8 + 1);
        uint64_t to = from + random_below(&rng, len * 8 - from + 1);
        cr_assert_eq(bits_count(p, from, to), count_by_bit(p, from, to));
        bool bit = random_below(&rng, 2);
        if (random_below(&rng, 2)) memset(p, bit ? 0 : 0xff, len); // else it is found at once
        if (random_below(&rng, 2)) p[random_below(&rng, len)] ^= 0x10;
        uint64_t want = from;
        while (want < to && bit_of(p, want) != bit) want++;
        cr_assert_eq(bits_find(p, from, to, bit), want);
        buffer_free(p, 0);
    }
}

// What bits_combine answers for one position, of `set` out of `count` sources; `first`: in X.
static bool is_in_result(enum bits_op op, bool first, size_t set, size_t count)
{
    switch (op) {
    case BITS_AND: return set == count;
    case BITS_OR: return set > 0;
    case BITS_XOR: return set % 2;
    case BITS_NOT: return !first;
    case BITS_DIFF: return first && set == 1;
    case BITS_DIFF1: return !first && set > 0;
    case BITS_ANDOR: return first && set > 1;
    case BITS_ONE: return set == 1;
    }
    return false;
}

enum { SOURCES_MAX = 9 };

static void check_combine(enum bits_op op, size_t count, size_t len_max, int overwritten)
{
    struct slice sources[SOURCES_MAX];
    uint8_t *bytes[SOURCES_MAX], *want, *to;
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        size_t own = random_below(&rng, 4) ? len_max : random_below(&rng, len_max + 1);
        // Whoever is overwritten has room for the result.
        bytes[i] = random_new(i, (int)i == overwritten ? len_max : own);
        sources[i] = (struct slice){(char *)bytes[i], own};
        len = MAX(len, own);
    }
    want = buffer_new(0, len);
    memset(want, 0, len);
    for (size_t at = 0; at < len * 8; at++) {
        size_t set = 0;
        for (size_t i = 0; i < count; i++)
            set += at / 8 < sources[i].len && bit_of((const uint8_t *)sources[i].ptr, at);
        bool first = at / 8 < sources[0].len && bit_of((const uint8_t *)sources[0].ptr, at);
        if (is_in_result(op, first, set, count)) want[at / 8] |= (uint8_t)(0x80 >> at % 8);
    }
    to = overwritten < 0 ? buffer_new(5, len) : bytes[overwritten];
    bits_combine(op, to, len, sources, count);
    cr_assert(memcmp(to, want, len) == 0, "op %d, %zu sources, %zu bytes, over %d", op, count, len,
              overwritten);
    if (overwritten < 0) buffer_free(to, 5);
    buffer_free(want, 0);
    for (size_t i = 0; i < count; i++) buffer_free(bytes[i], i);
}

Test(bits, combining_follows_its_definition_also_in_place)
{
    static const size_t lengths[] = {1, 7, 64, 100, 4095, 4096, 4097, 9000};
    for (enum bits_op op = BITS_AND; op <= BITS_ONE; op++)
        for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
            for (int times = 0; times < 8; times++) {
                size_t least = op == BITS_DIFF || op == BITS_DIFF1 || op == BITS_ANDOR ? 2 : 1;
                size_t count = op == BITS_NOT ? 1 : least + random_below(&rng, SOURCES_MAX - least);
                int over = (int)random_below(&rng, count + 1) - 1;
                check_combine(op, count, lengths[i], over);
            }
}
