// SPDX-License-Identifier: BSD-3-Clause
//
// Unpacking is a matter of bringing the three bytes of four registers into a 32-bit lane (or six
// bytes of eight into 64 bits) and spreading them with shifts and masks; packing is the reverse.
//
// The histogram does not count register by register, which would wait for memory that was just
// written, but value by value: compare all registers with it, add up the matches, until all are
// found. The values of a real HyperLogLog lie within some twenty of each other, and comparing is
// cheap.
#include "ds/hll_registers.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define TARGET_AVX2   __attribute__((target("avx2")))
#define TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vbmi,popcnt")))
#endif

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "lanes are loaded as they stand");

#define INLINE static inline __attribute__((always_inline))

typedef uint8_t bytes64 __attribute__((vector_size(64), aligned(1), may_alias));
typedef uint64_t words64 __attribute__((vector_size(64), may_alias));

// --- histogram -----------------------------------------------------------------------------------

INLINE void histogram_inline(uint32_t histogram[HLL_REGISTER_MAX + 1], const uint8_t *registers)
{
    enum { STRETCH = 64 * 128 }; // each byte lane counts to 128
    const uint64_t wide = 0x00ff00ff00ff00ff;
    uint32_t found = 0;
    memset(histogram, 0, (HLL_REGISTER_MAX + 1) * sizeof histogram[0]);
    for (unsigned value = 0; value <= HLL_REGISTER_MAX && found < HLL_REGISTERS; value++) {
        uint64_t total = 0;
        for (size_t at = 0; at < HLL_REGISTERS; at += STRETCH) {
            bytes64 a = {0}, b = {0};
            for (size_t i = at; i < at + STRETCH; i += 128) { // a match compares as 0xff, or -1
                a -= (bytes64)(*(const bytes64 *)(registers + i) == (uint8_t)value);
                b -= (bytes64)(*(const bytes64 *)(registers + i + 64) == (uint8_t)value);
            }
            words64 sums = (words64)(a + b);
            sums = (sums & wide) + ((sums >> 8) & wide);
            for (int i = 0; i < 8; i++) total += sums[i] * 0x0001000100010001 >> 48;
        }
        histogram[value] = (uint32_t)total;
        found += (uint32_t)total;
    }
}

// --- portable ------------------------------------------------------------------------------------

#define EACH(byte) ((byte)*0x0101010101010101u)

static void raise_portable(uint8_t *registers, const uint8_t *packed)
{
    for (size_t i = 0; i < HLL_REGISTERS; i += 8, packed += 6) {
        uint32_t low;
        uint16_t high;
        memcpy(&low, packed, 4);
        memcpy(&high, packed + 4, 2);
        // 24 bits in each half, then 6 in each byte.
        uint64_t x = (low & 0xffffff) | (uint64_t)(low >> 24 | (uint32_t)high << 8) << 32;
        x = (x & 0x0000003f0000003f) | (x << 2 & 0x00003f0000003f00) |
            (x << 4 & 0x003f0000003f0000) | (x << 6 & 0x3f0000003f000000);
        uint64_t old;
        memcpy(&old, registers + i, 8);
        uint64_t keep = ((old | EACH(0x80u)) - x) & EACH(0x80u); // highest bit: old >= x
        keep |= keep - (keep >> 7);
        x = (old & keep) | (x & ~keep);
        memcpy(registers + i, &x, 8);
    }
}

static void pack_portable(uint8_t *packed, const uint8_t *registers)
{
    for (size_t i = 0; i < HLL_REGISTERS; i += 4, packed += 3) {
        uint32_t x = registers[i] | (uint32_t)registers[i + 1] << 6 |
                     (uint32_t)registers[i + 2] << 12 | (uint32_t)registers[i + 3] << 18;
        packed[0] = (uint8_t)x;
        packed[1] = (uint8_t)(x >> 8);
        packed[2] = (uint8_t)(x >> 16);
    }
}

static void histogram_portable(uint32_t histogram[HLL_REGISTER_MAX + 1], const uint8_t *registers)
{
    histogram_inline(histogram, registers);
}

// --- AVX2 and AVX-512 ----------------------------------------------------------------------------

#if defined(__x86_64__)

TARGET_AVX2 static void raise_avx2(uint8_t *registers, const uint8_t *packed)
{
    // Two loads of 16 within the 24 bytes: in the first the 12 lower ones count, in the second the
    // 12 upper ones.
    const __m256i spread =
        _mm256_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1, //
                         4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1);
    const __m256i first = _mm256_set1_epi32(0x3f);
    for (size_t i = 0; i < HLL_REGISTERS; i += 32, packed += 24) {
        __m256i x = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)packed));
        x = _mm256_inserti128_si256(x, _mm_loadu_si128((const __m128i *)(packed + 8)), 1);
        x = _mm256_shuffle_epi8(x, spread);
        __m256i a = _mm256_and_si256(x, first);
        __m256i b = _mm256_and_si256(_mm256_slli_epi32(x, 2), _mm256_slli_epi32(first, 8));
        __m256i c = _mm256_and_si256(_mm256_slli_epi32(x, 4), _mm256_slli_epi32(first, 16));
        __m256i d = _mm256_and_si256(_mm256_slli_epi32(x, 6), _mm256_slli_epi32(first, 24));
        x = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
        __m256i *to = (__m256i *)(registers + i);
        _mm256_storeu_si256(to, _mm256_max_epu8(_mm256_loadu_si256(to), x));
    }
}

TARGET_AVX2 static void pack_avx2(uint8_t *packed, const uint8_t *registers)
{
    const __m256i squeeze =
        _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1, 0, 1, 2, 4, 5, 6,
                         8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    const __m256i join = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7);
    for (size_t i = 0; i < HLL_REGISTERS; i += 32, packed += 24) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(registers + i));
        x = _mm256_maddubs_epi16(x, _mm256_set1_epi16(0x4001));  // 12 bits: a + (b << 6)
        x = _mm256_madd_epi16(x, _mm256_set1_epi32(0x10000001)); // 24 bits: ab + (cd << 12)
        x = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(x, squeeze), join);
        _mm_storeu_si128((__m128i *)packed, _mm256_castsi256_si128(x));
        _mm_storel_epi64((__m128i *)(packed + 16), _mm256_extracti128_si256(x, 1));
    }
}

TARGET_AVX2 static void histogram_avx2(uint32_t histogram[HLL_REGISTER_MAX + 1],
                                       const uint8_t *registers)
{
    histogram_inline(histogram, registers);
}

TARGET_AVX512 static void raise_avx512(uint8_t *registers, const uint8_t *packed)
{
    // Six bytes into each eight (the other two are cut off by the shifts), then eight shifts.
    static const uint8_t spread_bytes[64] = {
        0,  1,  2,  3,  4,  5,  0, 0, 6,  7,  8,  9,  10, 11, 0, 0, //
        12, 13, 14, 15, 16, 17, 0, 0, 18, 19, 20, 21, 22, 23, 0, 0, //
        24, 25, 26, 27, 28, 29, 0, 0, 30, 31, 32, 33, 34, 35, 0, 0, //
        36, 37, 38, 39, 40, 41, 0, 0, 42, 43, 44, 45, 46, 47, 0, 0};
    const __m512i spread = _mm512_loadu_si512(spread_bytes);
    const __m512i shifts = _mm512_set1_epi64(0x2a241e18120c0600); // 42, 36 … 6, 0
    for (size_t i = 0; i < HLL_REGISTERS; i += 64, packed += 48) {
        __m512i x = _mm512_maskz_loadu_epi8(0xffffffffffff, packed);
        x = _mm512_multishift_epi64_epi8(shifts, _mm512_permutexvar_epi8(spread, x));
        x = _mm512_and_si512(x, _mm512_set1_epi8(0x3f));
        x = _mm512_max_epu8(x, _mm512_loadu_si512(registers + i));
        _mm512_storeu_si512(registers + i, x);
    }
}

TARGET_AVX512 static void histogram_avx512(uint32_t histogram[HLL_REGISTER_MAX + 1],
                                           const uint8_t *registers)
{
    uint32_t found = 0;
    memset(histogram, 0, (HLL_REGISTER_MAX + 1) * sizeof histogram[0]);
    for (unsigned value = 0; value <= HLL_REGISTER_MAX && found < HLL_REGISTERS; value++) {
        __m512i sought = _mm512_set1_epi8((char)value);
        uint64_t a = 0, b = 0;
        for (size_t i = 0; i < HLL_REGISTERS; i += 128) {
            __m512i x = _mm512_loadu_si512(registers + i);
            __m512i y = _mm512_loadu_si512(registers + i + 64);
            a += (uint64_t)__builtin_popcountll(_mm512_cmpeq_epi8_mask(x, sought));
            b += (uint64_t)__builtin_popcountll(_mm512_cmpeq_epi8_mask(y, sought));
        }
        histogram[value] = (uint32_t)(a + b);
        found += (uint32_t)(a + b);
    }
}

#endif

static const struct hll_loops loops[BITS_LEVELS] = {
    [BITS_PORTABLE] = {raise_portable, pack_portable, histogram_portable},
#if defined(__x86_64__)
    [BITS_AVX2] = {raise_avx2, pack_avx2, histogram_avx2},
    [BITS_AVX512] = {raise_avx512, pack_avx2, histogram_avx512},
#endif
};

const struct hll_loops *hll_registers_loops_of(enum bits_level level)
{
    return &loops[level];
}

const struct hll_loops *hll_registers_loops(void)
{
    return &loops[bits_best_level()];
}
