// SPDX-License-Identifier: BSD-3-Clause
//
// Portable: eight bytes a step ("slicing by eight"): table[k][b] is the checksum of byte b with k
// zero bytes behind it. A table follows from its entries for the eight single bits (see crc64.c).
//
// With SSE4.2: an instruction takes in eight bytes, but the next one must wait three cycles for its
// result. So three neighbouring streams are taken in side by side and joined:
//
//     |---- a: n bytes ----|---- b: n bytes ----|---- c: n bytes ----|
//     crc = a * x^(16n) + b * x^(8n) + c        (mod P; + is exclusive or)
//
// A carry-less product of two reflected words is x times too small for its place in 64 bits, and
// the instruction, which reduces it, multiplies by x^32: the factors below are x^(8n - 33).
//
// Joining any two checksums is one product x^(8 len) with the first; x^(2^k) repeats after k = 31.
#include "base/crc32c.h"

#include <endian.h>
#include <string.h>

#include "base/assert.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define POLYNOMIAL 0x82f63b78u // bit 31 is x^0

#define SUM1(x, a)                   (x), (x) ^ (a)
#define SUM2(x, a, b)                SUM1(x, a), SUM1((x) ^ (b), a)
#define SUM3(x, a, b, c)             SUM2(x, a, b), SUM2((x) ^ (c), a, b)
#define SUM4(x, a, b, c, d)          SUM3(x, a, b, c), SUM3((x) ^ (d), a, b, c)
#define SUM5(x, a, b, c, d, e)       SUM4(x, a, b, c, d), SUM4((x) ^ (e), a, b, c, d)
#define SUM6(x, a, b, c, d, e, f)    SUM5(x, a, b, c, d, e), SUM5((x) ^ (f), a, b, c, d, e)
#define SUM7(x, a, b, c, d, e, f, g) SUM6(x, a, b, c, d, e, f), SUM6((x) ^ (g), a, b, c, d, e, f)
// The 256 sums of any of eight entries.
#define BYTE(a, b, c, d, e, f, g, h)                                                               \
    SUM7(0, a, b, c, d, e, f, g), SUM7((uint32_t)(h), a, b, c, d, e, f, g)

static const uint32_t table[8][256] = {
    {BYTE(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc,
          0x82f63b78)},
    {BYTE(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604,
          0xfbc3faf9)},
    {BYTE(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9,
          0x8b277743)},
    {BYTE(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7,
          0x52a0c93f)},
    {BYTE(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae,
          0x6ea2d55c)},
    {BYTE(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb,
          0x1c08b7d6)},
    {BYTE(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a,
          0xf56e0ef4)},
    {BYTE(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32,
          0x34019664)},
};

static uint64_t load_u64(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return le64toh(word);
}

// --- eight bytes a step; `c` is not inverted here or below ---------------------------------------

static uint32_t add_portable(uint32_t c, const unsigned char *p, size_t len)
{
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t x = load_u64(p) ^ c;
        c = table[7][x & 0xff] ^ table[6][x >> 8 & 0xff] ^ table[5][x >> 16 & 0xff] ^
            table[4][x >> 24 & 0xff] ^ table[3][x >> 32 & 0xff] ^ table[2][x >> 40 & 0xff] ^
            table[1][x >> 48 & 0xff] ^ table[0][x >> 56];
    }
    while (len--) c = table[0][(c ^ *p++) & 0xff] ^ c >> 8;
    return c;
}

// --- three streams -------------------------------------------------------------------------------

#if defined(__x86_64__)
#define TARGET __attribute__((target("sse4.2,pclmul")))

// Takes in as many times three streams of n bytes as there are, and moves *p and *len.
TARGET static inline __attribute__((always_inline)) uint32_t
add_streams(uint32_t c, const unsigned char **p, size_t *len, size_t n, uint32_t by_16n,
            uint32_t by_8n)
{
    const __m128i factors = _mm_set_epi64x(by_8n, by_16n);
    for (; *len >= 3 * n; *p += 3 * n, *len -= 3 * n) {
        uint64_t a = c, b = 0, last = 0;
        for (const unsigned char *at = *p, *end = at + n; at < end; at += 8) {
            a = _mm_crc32_u64(a, load_u64(at));
            b = _mm_crc32_u64(b, load_u64(at + n));
            last = _mm_crc32_u64(last, load_u64(at + 2 * n));
        }
        __m128i product =
            _mm_xor_si128(_mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)a), factors, 0x00),
                          _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)b), factors, 0x10));
        c = (uint32_t)(_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product)) ^ last);
    }
    return c;
}

TARGET static uint32_t add_sse42(uint32_t c, const unsigned char *p, size_t len)
{
    c = add_streams(c, &p, &len, 8192, 0x1dc403cc, 0x54a86326);
    c = add_streams(c, &p, &len, 1024, 0xa51b6135, 0x170076fa);
    c = add_streams(c, &p, &len, 128, 0xb9e02b86, 0x0d3b6092);
    uint64_t wide = c;
    for (; len >= 8; p += 8, len -= 8) wide = _mm_crc32_u64(wide, load_u64(p));
    c = (uint32_t)wide;
    while (len--) c = _mm_crc32_u8(c, *p++);
    return c;
}
#else
static uint32_t add_sse42(uint32_t c, const unsigned char *p, size_t len)
{
    return add_portable(c, p, len);
}
#endif

bool crc32c_has_level(enum crc32c_level level)
{
#if defined(__x86_64__)
    if (level == CRC32C_SSE42)
        return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
#endif
    return level == CRC32C_PORTABLE;
}

uint32_t crc32c_add_by(enum crc32c_level level, uint32_t crc, const void *data, size_t len)
{
    ASSERT_SLOW(crc32c_has_level(level));
    return ~(level == CRC32C_SSE42 ? add_sse42 : add_portable)(~crc, data, len);
}

uint32_t crc32c_add(uint32_t crc, const void *data, size_t len)
{
    bool has_sse42 = crc32c_has_level(CRC32C_SSE42);
    return crc32c_add_by(has_sse42 ? CRC32C_SSE42 : CRC32C_PORTABLE, crc, data, len);
}

// --- joining -------------------------------------------------------------------------------------

static const uint32_t powers[31] = {
    // x^(2^k)
    0x40000000, 0x20000000, 0x08000000, 0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18,
    0x510ac59a, 0xb82be955, 0xb8fdb1e7, 0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62,
    0x28461564, 0xbf455269, 0xe2ea32dc, 0xfe7740e6, 0xf946610b, 0x3c204f8f, 0x538586e3, 0x59726915,
    0x734d5309, 0xbc1ac763, 0x7d0722cc, 0xd289cabe, 0xe94ca9bc, 0x05b74f3f, 0xa51e1f42,
};

// a * b mod P
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (; a; a <<= 1) {
        product ^= b & -(a >> 31);
        b = b >> 1 ^ (POLYNOMIAL & -(b & 1));
    }
    return product;
}

uint32_t crc32c_join(uint32_t crc, uint32_t of_data, uint64_t len)
{
    for (unsigned k = 3; len; len >>= 1, k++) // x^8 a byte
        if (len & 1) crc = multiply(crc, powers[k % ARRAY_LEN(powers)]);
    return crc ^ of_data;
}
