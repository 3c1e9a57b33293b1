// SPDX-License-Identifier: BSD-3-Clause
//
// Two ways to get three instances of a loop: where plain C with GCC's vector types becomes good
// code for any instruction set, the loop is written once, inlined into one function per set; where
// an instruction is the point (VPOPCNTQ, VPTEST, compares into masks), there are intrinsics.
//
// bits_combine goes through the sources in blocks that fit the first-level cache: the intermediate
// result of many sources stays there, and every byte of the sources and of the result crosses the
// memory bus once.
#include "ds/bits.h"

#include <string.h>

#include "base/assert.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define TARGET_AVX2   __attribute__((target("avx2,popcnt")))
#define TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vpopcntdq,popcnt")))
#endif

#define INLINE static inline __attribute__((always_inline))

typedef uint64_t vector __attribute__((vector_size(64), aligned(1), may_alias));

#define VECTOR_BYTES sizeof(vector)

static uint64_t load_u64(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

// --- loops for any instruction set ---------------------------------------------------------------

// Pairs of bits, then nibbles, then bytes are added up in place; the bytes of up to ROUNDS vectors
// are gathered before they are widened.
INLINE uint64_t count_inline(const uint8_t *p, size_t len)
{
    enum { ROUNDS = 31 }; // of at most 8 a byte: 248
    const uint64_t pairs = 0x5555555555555555, nibbles = 0x3333333333333333;
    const uint64_t halves = 0x0f0f0f0f0f0f0f0f, wide = 0x00ff00ff00ff00ff;
    uint64_t total = 0;
    while (len >= VECTOR_BYTES) {
        size_t rounds = MIN(len / VECTOR_BYTES, ROUNDS);
        vector bytes = {0};
        for (size_t i = 0; i < rounds; i++, p += VECTOR_BYTES) {
            vector x = *(const vector *)p;
            x -= (x >> 1) & pairs;
            x = (x & nibbles) + ((x >> 2) & nibbles);
            bytes += (x + (x >> 4)) & halves;
        }
        len -= rounds * VECTOR_BYTES;
        bytes = (bytes & wide) + ((bytes >> 8) & wide);
        for (int i = 0; i < 8; i++) total += bytes[i] * 0x0001000100010001 >> 48;
    }
    for (; len >= 8; len -= 8, p += 8) total += (uint64_t)__builtin_popcountll(load_u64(p));
    while (len--) total += (uint64_t)__builtin_popcount(*p++);
    return total;
}

static size_t skip_bytes(const uint8_t *p, size_t at, size_t len, uint8_t fill)
{
    while (at < len && p[at] == fill) at++;
    return at;
}

static size_t skip_portable(const uint8_t *p, size_t len, uint8_t fill)
{
    uint64_t fills = fill ? UINT64_MAX : 0;
    size_t at = 0;
    for (; at + 32 <= len; at += 32) {
        const uint8_t *q = p + at;
        if ((load_u64(q) ^ fills) | (load_u64(q + 8) ^ fills) | (load_u64(q + 16) ^ fills) |
            (load_u64(q + 24) ^ fills))
            break;
    }
    return skip_bytes(p, at, len, fill);
}

// Inlined where `op` is a constant.
INLINE void pair_inline(enum bits_pair op, uint8_t *to, const uint8_t *a, const uint8_t *b,
                        size_t len)
{
    size_t i = 0;
    for (; i + VECTOR_BYTES <= len; i += VECTOR_BYTES) {
        vector x = *(const vector *)(a + i), y = *(const vector *)(b + i);
        switch (op) {
        case BITS_PAIR_AND: x &= y; break;
        case BITS_PAIR_OR: x |= y; break;
        case BITS_PAIR_XOR: x ^= y; break;
        case BITS_PAIR_AND_NOT: x &= ~y; break;
        case BITS_PAIR_NOT: x = ~x; break;
        }
        *(vector *)(to + i) = x;
    }
    for (; i < len; i++) {
        unsigned x = a[i], y = b[i];
        switch (op) {
        case BITS_PAIR_AND: x &= y; break;
        case BITS_PAIR_OR: x |= y; break;
        case BITS_PAIR_XOR: x ^= y; break;
        case BITS_PAIR_AND_NOT: x &= ~y; break;
        case BITS_PAIR_NOT: x = ~x; break;
        }
        to[i] = (uint8_t)x;
    }
}

INLINE void pair_choose(enum bits_pair op, uint8_t *to, const uint8_t *a, const uint8_t *b,
                        size_t len)
{
    switch (op) {
    case BITS_PAIR_AND: pair_inline(BITS_PAIR_AND, to, a, b, len); break;
    case BITS_PAIR_OR: pair_inline(BITS_PAIR_OR, to, a, b, len); break;
    case BITS_PAIR_XOR: pair_inline(BITS_PAIR_XOR, to, a, b, len); break;
    case BITS_PAIR_AND_NOT: pair_inline(BITS_PAIR_AND_NOT, to, a, b, len); break;
    case BITS_PAIR_NOT: pair_inline(BITS_PAIR_NOT, to, a, b, len); break;
    }
}

INLINE void tally_inline(uint8_t *any, uint8_t *more, const uint8_t *from, size_t len)
{
    size_t i = 0;
    for (; i + VECTOR_BYTES <= len; i += VECTOR_BYTES) {
        vector x = *(const vector *)(from + i), y = *(vector *)(any + i);
        *(vector *)(more + i) |= x & y;
        *(vector *)(any + i) = x | y;
    }
    for (; i < len; i++) {
        more[i] |= any[i] & from[i];
        any[i] |= from[i];
    }
}

static uint64_t count_portable(const uint8_t *p, size_t len)
{
    return count_inline(p, len);
}

static void pair_portable(enum bits_pair op, uint8_t *to, const uint8_t *a, const uint8_t *b,
                          size_t len)
{
    pair_choose(op, to, a, b, len);
}

static void tally_portable(uint8_t *any, uint8_t *more, const uint8_t *from, size_t len)
{
    tally_inline(any, more, from, len);
}

// --- AVX2 and AVX-512 ----------------------------------------------------------------------------

#if defined(__x86_64__)

TARGET_AVX2 static uint64_t count_avx2(const uint8_t *p, size_t len)
{
    return count_inline(p, len);
}

TARGET_AVX2 static void pair_avx2(enum bits_pair op, uint8_t *to, const uint8_t *a,
                                  const uint8_t *b, size_t len)
{
    pair_choose(op, to, a, b, len);
}

TARGET_AVX2 static void tally_avx2(uint8_t *any, uint8_t *more, const uint8_t *from, size_t len)
{
    tally_inline(any, more, from, len);
}

TARGET_AVX2 static size_t skip_avx2(const uint8_t *p, size_t len, uint8_t fill)
{
    __m256i fills = _mm256_set1_epi8((char)fill);
    size_t at = 0;
    for (; at + 64 <= len; at += 64) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(p + at));
        __m256i b = _mm256_loadu_si256((const __m256i *)(p + at + 32));
        __m256i other = _mm256_or_si256(_mm256_xor_si256(a, fills), _mm256_xor_si256(b, fills));
        if (!_mm256_testz_si256(other, other)) break;
    }
    return skip_bytes(p, at, len, fill);
}

// The first `n` bytes of a vector, n < 64.
static __mmask64 first_bytes(size_t n)
{
    return ((__mmask64)1 << n) - 1;
}

TARGET_AVX512 static uint64_t count_avx512(const uint8_t *p, size_t len)
{
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (; len >= 256; len -= 256, p += 256) {
        a = _mm512_add_epi64(a, _mm512_popcnt_epi64(_mm512_loadu_si512(p)));
        b = _mm512_add_epi64(b, _mm512_popcnt_epi64(_mm512_loadu_si512(p + 64)));
        c = _mm512_add_epi64(c, _mm512_popcnt_epi64(_mm512_loadu_si512(p + 128)));
        d = _mm512_add_epi64(d, _mm512_popcnt_epi64(_mm512_loadu_si512(p + 192)));
    }
    for (; len >= 64; len -= 64, p += 64)
        a = _mm512_add_epi64(a, _mm512_popcnt_epi64(_mm512_loadu_si512(p)));
    b = _mm512_add_epi64(b, _mm512_popcnt_epi64(_mm512_maskz_loadu_epi8(first_bytes(len), p)));
    a = _mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(c, d));
    return (uint64_t)_mm512_reduce_add_epi64(a);
}

TARGET_AVX512 static void pair_avx512(enum bits_pair op, uint8_t *to, const uint8_t *a,
                                      const uint8_t *b, size_t len)
{
    pair_choose(op, to, a, b, len);
}

TARGET_AVX512 static void tally_avx512(uint8_t *any, uint8_t *more, const uint8_t *from, size_t len)
{
    tally_inline(any, more, from, len);
}

TARGET_AVX512 static size_t skip_avx512(const uint8_t *p, size_t len, uint8_t fill)
{
    __m512i fills = _mm512_set1_epi8((char)fill);
    size_t at = 0;
    for (; at + 64 <= len; at += 64) {
        __mmask64 other = _mm512_cmpneq_epi8_mask(_mm512_loadu_si512(p + at), fills);
        if (other) return at + (size_t)__builtin_ctzll(other);
    }
    __mmask64 rest = first_bytes(len - at);
    __mmask64 other =
        _mm512_mask_cmpneq_epi8_mask(rest, _mm512_maskz_loadu_epi8(rest, p + at), fills);
    return other ? at + (size_t)__builtin_ctzll(other) : len;
}

#endif

static const struct bits_loops loops[BITS_LEVELS] = {
    [BITS_PORTABLE] = {count_portable, skip_portable, pair_portable, tally_portable},
#if defined(__x86_64__)
    [BITS_AVX2] = {count_avx2, skip_avx2, pair_avx2, tally_avx2},
    [BITS_AVX512] = {count_avx512, skip_avx512, pair_avx512, tally_avx512},
#endif
};

bool bits_has_level(enum bits_level level)
{
#if defined(__x86_64__)
    switch (level) {
    case BITS_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
    case BITS_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vpopcntdq") &&
               bits_has_level(BITS_AVX2);
    default: break;
    }
#endif
    return level == BITS_PORTABLE;
}

enum bits_level bits_best_level(void)
{
    if (bits_has_level(BITS_AVX512)) return BITS_AVX512;
    return bits_has_level(BITS_AVX2) ? BITS_AVX2 : BITS_PORTABLE;
}

const struct bits_loops *bits_loops_of(enum bits_level level)
{
    return &loops[level];
}

static const struct bits_loops *best_loops(void)
{
    return &loops[bits_best_level()];
}

// --- ranges of bits ------------------------------------------------------------------------------

// The bits of a byte from position `from` on, and those in front of it; 0 <= from < 8.
static unsigned from_mask(unsigned from)
{
    return 0xffu >> from;
}

static unsigned before_mask(unsigned to)
{
    return ~from_mask(to) & 0xffu;
}

uint64_t bits_count(const void *bytes, uint64_t from, uint64_t to)
{
    const uint8_t *p = bytes;
    ASSERT_SLOW(from <= to);
    if (from == to) return 0;
    uint64_t first = from / 8, last = to / 8; // the byte `last` belongs only in part, or not at all
    unsigned from_bit = from % 8, to_bit = to % 8;
    if (first == last)
        return (uint64_t)__builtin_popcount(p[first] & from_mask(from_bit) & before_mask(to_bit));
    uint64_t total = 0;
    if (from_bit) total += (uint64_t)__builtin_popcount(p[first++] & from_mask(from_bit));
    if (to_bit) total += (uint64_t)__builtin_popcount(p[last] & before_mask(to_bit));
    return total + best_loops()->count(p + first, last - first);
}

// The position in its byte of the highest bit of `byte`, which is not 0.
static unsigned first_bit(unsigned byte)
{
    return (unsigned)__builtin_clz(byte) - 24;
}

uint64_t bits_find(const void *bytes, uint64_t from, uint64_t to, bool bit)
{
    const uint8_t *p = bytes;
    const unsigned flip = bit ? 0 : 0xff; // so that what is sought is a one
    if (from >= to) return to;
    uint64_t at = from / 8, end = (to + 7) / 8;
    unsigned sought = (p[at] ^ flip) & from_mask(from % 8);
    if (!sought) {
        at++;
        at += best_loops()->skip(p + at, end - at, (uint8_t)flip);
        if (at == end) return to;
        sought = p[at] ^ flip;
    }
    return MIN(at * 8 + first_bit(sought), to);
}

// --- many sources --------------------------------------------------------------------------------

#define BLOCK_BYTES 4096 // four of them fit the first-level cache of any CPU twice

// One block of the work. Where a source ends within it, what there is of it is copied to a pad and
// continued with zeros; two pads, because a step takes two sources.
struct work {
    const struct bits_loops *loops;
    const struct slice *sources;
    size_t count;
    size_t at, len; // the block, in every source
    uint8_t pads[2][BLOCK_BYTES];
    uint8_t result[BLOCK_BYTES], more[BLOCK_BYTES];
};

static const uint8_t zeros[BLOCK_BYTES];

// The block of a source; valid until the same pad is used again.
static const uint8_t *block_of(struct work *w, size_t source, int pad)
{
    struct slice s = w->sources[source];
    if (w->at >= s.len) return zeros;
    const uint8_t *p = (const uint8_t *)s.ptr + w->at;
    size_t have = s.len - w->at;
    if (have >= w->len) return p;
    memcpy(w->pads[pad], p, have);
    memset(w->pads[pad] + have, 0, w->len - have);
    return w->pads[pad];
}

// Combines the blocks of sources first .. count-1 by a commutative `op`; returns where the result
// is: in `to`, or, if there is only one source, anywhere. The last step alone writes to `to`, which
// may be one of the sources.
static const uint8_t *fold(struct work *w, enum bits_pair op, size_t first, uint8_t *to)
{
    const uint8_t *result = block_of(w, first, 0);
    for (size_t i = first + 1; i < w->count; i++) {
        uint8_t *next = i + 1 == w->count ? to : w->result;
        w->loops->pair(op, next, result, block_of(w, i, 1), w->len);
        result = next;
    }
    return result;
}

static void fold_to(struct work *w, enum bits_pair op, uint8_t *to)
{
    const uint8_t *result = fold(w, op, 0, to);
    if (result != to) memcpy(to, result, w->len);
}

static void exactly_one(struct work *w, uint8_t *to)
{
    memcpy(w->result, block_of(w, 0, 0), w->len);
    memset(w->more, 0, w->len);
    for (size_t i = 1; i < w->count; i++)
        w->loops->tally(w->result, w->more, block_of(w, i, 0), w->len);
    w->loops->pair(BITS_PAIR_AND_NOT, to, w->result, w->more, w->len);
}

static void combine_block(struct work *w, enum bits_op op, uint8_t *to)
{
    const uint8_t *x, *any_y;
    switch (op) {
    case BITS_AND: fold_to(w, BITS_PAIR_AND, to); return;
    case BITS_OR: fold_to(w, BITS_PAIR_OR, to); return;
    case BITS_XOR: fold_to(w, BITS_PAIR_XOR, to); return;
    case BITS_ONE: exactly_one(w, to); return;
    case BITS_NOT:
        x = block_of(w, 0, 0);
        w->loops->pair(BITS_PAIR_NOT, to, x, x, w->len);
        return;
    case BITS_DIFF:
    case BITS_DIFF1:
    case BITS_ANDOR: break;
    }
    // fold() may hold the one Y there is in pad 0.
    any_y = fold(w, BITS_PAIR_OR, 1, w->result);
    x = block_of(w, 0, 1);
    if (op == BITS_DIFF)
        w->loops->pair(BITS_PAIR_AND_NOT, to, x, any_y, w->len);
    else if (op == BITS_DIFF1)
        w->loops->pair(BITS_PAIR_AND_NOT, to, any_y, x, w->len);
    else
        w->loops->pair(BITS_PAIR_AND, to, x, any_y, w->len);
}

void bits_combine(enum bits_op op, void *to, size_t len, const struct slice *sources, size_t count)
{
    ASSERT(count >= 1);
    struct work w; // not initialised: 16 KB of scratch
    w.loops = best_loops();
    w.sources = sources;
    w.count = count;
    for (w.at = 0; w.at < len; w.at += w.len) {
        w.len = MIN(len - w.at, BLOCK_BYTES);
        combine_block(&w, op, (uint8_t *)to + w.at);
    }
}
