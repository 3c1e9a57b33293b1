// SPDX-License-Identifier: BSD-3-Clause
//
// Eight bytes a step ("slicing by eight"): table[k][b] is the checksum of byte b with k zero bytes
// behind it, and as a CRC is linear, that of eight bytes is the exclusive or of eight entries. For
// the same reason a table follows from its entries for the eight single bits: these are written
// down, the compiler adds them up. Entry n of the 64 (from the last bit of the first table
// backwards) is the polynomial, reflected, n steps on.
//
// Where the machine multiplies without carry, long input is folded instead: 16 bytes, L and H, that
// have d bits of others behind them stand for L x^(d + 64) + H x^d, so the two products
// L * (x^(d + 64) mod P) and H * (x^d mod P), added to the bytes d bits on, do for them. Four such
// chains run side by side (d = 512), then become one (d = 128), whose 16 bytes have the checksum of
// all. The product of two reflected words is reflected but for one bit, hence the exponents: one
// less than d.
#include "base/crc64.h"

#include <endian.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define POLYNOMIAL 0x95ac9329ac4bc9b5 // without x^64, reflected: the highest bit stands for x^0

#define SUM1(x, a)                   (x), (x) ^ (a)
#define SUM2(x, a, b)                SUM1(x, a), SUM1((x) ^ (b), a)
#define SUM3(x, a, b, c)             SUM2(x, a, b), SUM2((x) ^ (c), a, b)
#define SUM4(x, a, b, c, d)          SUM3(x, a, b, c), SUM3((x) ^ (d), a, b, c)
#define SUM5(x, a, b, c, d, e)       SUM4(x, a, b, c, d), SUM4((x) ^ (e), a, b, c, d)
#define SUM6(x, a, b, c, d, e, f)    SUM5(x, a, b, c, d, e), SUM5((x) ^ (f), a, b, c, d, e)
#define SUM7(x, a, b, c, d, e, f, g) SUM6(x, a, b, c, d, e, f), SUM6((x) ^ (g), a, b, c, d, e, f)
// The 256 sums of any of eight entries.
#define BYTE(a, b, c, d, e, f, g, h)                                                               \
    SUM7(0, a, b, c, d, e, f, g), SUM7((uint64_t)(h), a, b, c, d, e, f, g)

static const uint64_t table[8][256] = {
    {BYTE(0x7ad870c830358979, 0xf5b0e190606b12f2, 0xc038e5739841b68f, 0xab28ecb46814fe75,
          0x7d08ff3b88be6f81, 0xfa11fe77117cdf02, 0xdf7adabd7a6e2d6f, 0x95ac9329ac4bc9b5)},
    {BYTE(0x89e99ffd73bddf69, 0x388a19a9bfec2db9, 0x711433537fd85b72, 0xe22866a6ffb0b6e4,
          0xef09eb1ea7f6fea3, 0xf54af06e177a6e2d, 0xc1ccc68f76634f31, 0xa8c0ab4db4510d09)},
    {BYTE(0xf4125129ce4038be, 0xc37d8400c417e217, 0xada22e52d0b85745, 0x701d7af6f9e73de1,
          0xe03af5edf3ce7bc2, 0xeb2ccd88bf0b64ef, 0xfd00bd4226815ab5, 0xd1585cd715952601)},
    {BYTE(0x8ce168638c796306, 0x329bf69440655567, 0x6537ed2880caaace, 0xca6fda510195559c,
          0xbf8692f15bbd3853, 0x545403b1efede3cd, 0xa8a80763dfdbc79a, 0x7a092894e7201c5f)},
    {BYTE(0x3504e58b9ba6dd1e, 0x6a09cb17374dba3c, 0xd413962e6e9b7478, 0x837e0a0f85a17b9b,
          0x2da5324c53d5645d, 0x5b4a6498a7aac8ba, 0xb694c9314f559174, 0x4670b431c63cb183)},
    {BYTE(0xe39d1389931b9354, 0xec6301407ea0b5c3, 0xf39f24d3a5d6f8ed, 0xcc676ff4133a62b1,
          0xb397f9bb7ee35609, 0x4c76d525a5513f79, 0x98edaa4b4aa27ef2, 0x1a8272c5cdd36e8f)},
    {BYTE(0x62a95de6e302eff2, 0xc552bbcdc605dfe4, 0xa1fc51c8d49c2ca3, 0x68a185c2f1afca2d,
          0xd1430b85e35f945a, 0x89df31589e28bbdf, 0x38e744e264c6e4d5, 0x71ce89c4c98dc9aa)},
    {BYTE(0x381d0015c96f4444, 0x703a002b92de8888, 0xe074005725bd1110, 0xebb126fd13edb14b,
          0xfc3b6ba97f4cf1fd, 0xd32ff101a60e7091, 0x8d06c450148b7249, 0x3154aef3718177f9)},
};

static uint64_t add_byte(uint64_t crc, unsigned char byte)
{
    return table[0][(crc ^ byte) & 0xff] ^ crc >> 8;
}

static uint64_t add_by_table(uint64_t crc, const unsigned char *p, size_t len)
{
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t x;
        memcpy(&x, p, sizeof x);
        x = le64toh(x) ^ crc;
        crc = table[7][x & 0xff] ^ table[6][x >> 8 & 0xff] ^ table[5][x >> 16 & 0xff] ^
              table[4][x >> 24 & 0xff] ^ table[3][x >> 32 & 0xff] ^ table[2][x >> 40 & 0xff] ^
              table[1][x >> 48 & 0xff] ^ table[0][x >> 56];
    }
    while (len--) crc = add_byte(crc, *p++);
    return crc;
}

#if defined(__x86_64__)

#define TARGET_CLMUL __attribute__((target("pclmul,sse4.1")))

#define FOLD_BYTES 64 // the four chains of a step
#define FOLD_WORTH 256

// x^n mod P, reflected.
#define X_575 0xaf86efb16d9ab4fb
#define X_511 0xf49784a634f014e4
#define X_191 0xd9d7be7d505da32c
#define X_127 0x381d0015c96f4444

static TARGET_CLMUL inline __m128i load(const unsigned char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

// `sum` moved on (by as far as the factors say), and what is there added.
static TARGET_CLMUL inline __m128i fold(__m128i sum, __m128i factors, __m128i there)
{
    __m128i first = _mm_clmulepi64_si128(sum, factors, 0x00);
    __m128i second = _mm_clmulepi64_si128(sum, factors, 0x11);
    return _mm_xor_si128(_mm_xor_si128(first, second), there);
}

// len >= FOLD_BYTES.
static TARGET_CLMUL uint64_t add_by_folding(uint64_t crc, const unsigned char *p, size_t len)
{
    const __m128i far = _mm_set_epi64x((long long)X_511, (long long)X_575);
    const __m128i near = _mm_set_epi64x((long long)X_127, (long long)X_191);
    __m128i sum[4];
    for (int i = 0; i < 4; i++) sum[i] = load(p + 16 * i);
    sum[0] = _mm_xor_si128(sum[0], _mm_cvtsi64_si128((long long)crc));
    for (p += FOLD_BYTES, len -= FOLD_BYTES; len >= FOLD_BYTES; p += FOLD_BYTES, len -= FOLD_BYTES)
        for (int i = 0; i < 4; i++) sum[i] = fold(sum[i], far, load(p + 16 * i));
    for (int i = 1; i < 4; i++) sum[i] = fold(sum[i - 1], near, sum[i]);
    unsigned char last[16];
    _mm_storeu_si128((__m128i *)(void *)last, sum[3]);
    return add_by_table(add_by_table(0, last, sizeof last), p, len);
}

#endif

uint64_t crc64_add_portable(uint64_t crc, const void *data, size_t len)
{
    return add_by_table(crc, data, len);
}

uint64_t crc64_add(uint64_t crc, const void *data, size_t len)
{
#if defined(__x86_64__)
    if (len >= FOLD_WORTH && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"))
        return add_by_folding(crc, data, len);
#endif
    return add_by_table(crc, data, len);
}

// a * b mod P, all reflected.
static uint64_t multiply(uint64_t a, uint64_t b)
{
    uint64_t product = 0;
    for (int bit = 63; bit >= 0; bit--) { // from x^0 on; a becomes a * x, a * x^2 ...
        if (b >> bit & 1) product ^= a;
        a = a >> 1 ^ (a & 1 ? POLYNOMIAL : 0);
    }
    return product;
}

uint64_t crc64_move(uint64_t crc, uint64_t len)
{
    uint64_t power = UINT64_C(1) << 55; // x^8, then its squares
    for (; len; len >>= 1) {
        if (len & 1) crc = multiply(crc, power);
        power = multiply(power, power);
    }
    return crc;
}
