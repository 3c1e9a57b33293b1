// SPDX-License-Identifier: BSD-3-Clause
//
// An element's hash (MurmurHash64A by Austin Appleby, of which this is an implementation) gives 14
// bits of register and 50 bits in which trailing zeros are counted; the estimate is that of Otmar
// Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), from the histogram
// of the registers. Both are part of the format: servers that exchange values must agree on them.
//
// So is the way in which sparse values change. The same elements in the same order shall give the
// same bytes as in Redis: a run is split where a register changes (at most into three), then runs
// of the same value that lie next to each other are joined, looking at five runs from the one in
// front of the change on.
#include "ds/hyperloglog.h"

#include <math.h>
#include <string.h>

#include "base/assert.h"

#define INDEX_BITS   14
#define RANK_BITS    (64 - INDEX_BITS)
#define HASH_SEED    0xadc83b19
#define ZERO_MAX_LEN 64 // longer runs of zeros take two bytes
#define VAL_MAX_LEN  4
#define JOIN_RUNS    5 // looked at for joining

// --- the header ----------------------------------------------------------------------------------

#define ENCODING_AT 4
#define CACHE_AT    8
#define STALE       0x80 // in the cardinality's highest byte

bool hll_is_valid(struct slice value)
{
    if (value.len < HLL_HEADER_BYTES || memcmp(value.ptr, "HYLL", 4)) return false;
    if (value.ptr[ENCODING_AT] == HLL_DENSE) return value.len == HLL_DENSE_BYTES;
    return value.ptr[ENCODING_AT] == HLL_SPARSE;
}

enum hll_encoding hll_encoding(struct slice value)
{
    return (enum hll_encoding)value.ptr[ENCODING_AT];
}

bool hll_cached(struct slice value, uint64_t *cardinality)
{
    const uint8_t *p = (const uint8_t *)value.ptr + CACHE_AT;
    *cardinality = 0;
    for (int i = 7; i >= 0; i--) *cardinality = *cardinality << 8 | p[i];
    return !(p[7] & STALE);
}

void hll_cache(char *value, uint64_t cardinality)
{
    for (int i = 0; i < 8; i++, cardinality >>= 8) value[CACHE_AT + i] = (char)cardinality;
}

void hll_uncache(char *value)
{
    value[CACHE_AT + 7] = (char)(value[CACHE_AT + 7] | STALE);
}

struct slice hll_empty(void)
{
    static const char empty[HLL_EMPTY_BYTES] = {'H',        'Y',         'L',       'L',
                                                HLL_SPARSE, [16] = 0x7f, (char)0xff};
    return (struct slice){empty, sizeof empty};
}

// --- elements ------------------------------------------------------------------------------------

static uint64_t murmur_hash64a(const char *p, size_t len, uint64_t seed)
{
    const uint64_t m = 0xc6a4a7935bd1e995;
    uint64_t h = seed ^ (len * m);
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t k;
        memcpy(&k, p, 8);
        k *= m;
        k ^= k >> 47;
        h = (h ^ k * m) * m;
    }
    if (len) {
        uint64_t k = 0;
        memcpy(&k, p, len);
        h = (h ^ k) * m;
    }
    h ^= h >> 47;
    h *= m;
    return h ^ h >> 47;
}

struct hll_hit hll_hit(struct slice element)
{
    uint64_t hash = murmur_hash64a(element.ptr, element.len, HASH_SEED);
    uint64_t rest = hash >> INDEX_BITS | (uint64_t)1 << RANK_BITS; // so that there is a one
    return (struct hll_hit){.index = (uint32_t)(hash % HLL_REGISTERS),
                            .rank = (uint8_t)(__builtin_ctzll(rest) + 1)};
}

// --- the estimate --------------------------------------------------------------------------------

static double sigma(double x)
{
    double y = 1, z = x, before;
    if (x == 1) return INFINITY;
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (z != before);
    return z;
}

static double tau(double x)
{
    double y = 1, z = 1 - x, before;
    if (x == 0 || x == 1) return 0;
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= pow(1 - x, 2) * y;
    } while (z != before);
    return z / 3;
}

static uint64_t estimate(const uint32_t histogram[HLL_REGISTER_MAX + 1])
{
    const double m = HLL_REGISTERS, alpha = 0.721347520444481703680; // 1 / (2 ln 2)
    double z = m * tau((m - histogram[RANK_BITS + 1]) / m);
    for (int i = RANK_BITS; i >= 1; i--) {
        z += histogram[i];
        z *= 0.5;
    }
    z += m * sigma(histogram[0] / m);
    return (uint64_t)llroundl(alpha * m * m / z);
}

uint64_t hll_count_registers(const uint8_t registers[HLL_REGISTERS])
{
    uint32_t histogram[HLL_REGISTER_MAX + 1];
    hll_registers_loops()->histogram(histogram, registers);
    return estimate(histogram);
}

// --- runs ----------------------------------------------------------------------------------------

enum run_kind { RUN_ZERO, RUN_XZERO, RUN_VAL };

static inline enum run_kind run_kind(uint8_t byte)
{
    return byte & 0x80 ? RUN_VAL : byte & 0x40 ? RUN_XZERO : RUN_ZERO;
}

static inline bool is_val(uint8_t byte)
{
    return run_kind(byte) == RUN_VAL;
}

// The run at p < end. False if it is cut short.
static inline bool read_run(const uint8_t *p, const uint8_t *end, struct hll_run *run)
{
    switch (run_kind(*p)) {
    case RUN_ZERO: *run = (struct hll_run){(*p & 0x3fu) + 1, 0, 1}; return true;
    case RUN_VAL:
        *run = (struct hll_run){(*p & 0x03u) + 1, (uint8_t)((*p >> 2 & 0x1f) + 1), 1};
        return true;
    case RUN_XZERO:
        if (p + 1 == end) return false;
        *run = (struct hll_run){((*p & 0x3fu) << 8 | p[1]) + 1, 0, 2};
        return true;
    }
    return false;
}

static uint8_t val_byte(unsigned value, uint32_t len)
{
    return (uint8_t)(0x80 | (value - 1) << 2 | (len - 1));
}

static uint8_t *put_zeros(uint8_t *p, uint32_t len)
{
    if (!len) return p;
    if (len > ZERO_MAX_LEN) *p++ = (uint8_t)(0x40 | (len - 1) >> 8);
    *p++ = (uint8_t)(len - 1);
    return p;
}

static uint8_t *put_values(uint8_t *p, unsigned value, uint32_t len)
{
    if (len) *p++ = val_byte(value, len);
    return p;
}

bool hll_run_at(struct slice sparse, size_t at, struct hll_run *run)
{
    const uint8_t *start = (const uint8_t *)sparse.ptr;
    return read_run(start + at, start + sparse.len, run);
}

// --- whole values --------------------------------------------------------------------------------

static const uint8_t *body_of(struct slice value)
{
    return (const uint8_t *)value.ptr + HLL_HEADER_BYTES;
}

static bool merge_sparse(uint8_t registers[HLL_REGISTERS], struct slice sparse)
{
    const uint8_t *p = body_of(sparse), *end = p + sparse.len - HLL_HEADER_BYTES;
    uint32_t index = 0;
    struct hll_run run;
    for (; p < end; p += run.bytes) {
        if (!read_run(p, end, &run) || run.len > HLL_REGISTERS - index) return false;
        if (run.value)
            for (uint32_t i = index; i < index + run.len; i++)
                registers[i] = MAX(registers[i], run.value);
        index += run.len;
    }
    return index == HLL_REGISTERS;
}

bool hll_merge(uint8_t registers[HLL_REGISTERS], struct slice value)
{
    if (hll_encoding(value) == HLL_SPARSE) return merge_sparse(registers, value);
    hll_registers_loops()->raise(registers, body_of(value));
    return true;
}

static bool count_sparse(struct slice sparse, uint64_t *cardinality)
{
    const uint8_t *p = body_of(sparse), *end = p + sparse.len - HLL_HEADER_BYTES;
    uint32_t histogram[HLL_REGISTER_MAX + 1] = {0}, index = 0;
    struct hll_run run;
    for (; p < end; p += run.bytes) {
        if (!read_run(p, end, &run) || run.len > HLL_REGISTERS - index) return false;
        histogram[run.value] += run.len;
        index += run.len;
    }
    if (index != HLL_REGISTERS) return false;
    *cardinality = estimate(histogram);
    return true;
}

bool hll_count(struct slice value, uint64_t *cardinality)
{
    if (hll_encoding(value) == HLL_SPARSE) return count_sparse(value, cardinality);
    uint8_t registers[HLL_REGISTERS] = {0};
    hll_merge(registers, value);
    *cardinality = hll_count_registers(registers);
    return true;
}

void hll_set_dense(char *value, struct slice header_of, const uint8_t registers[HLL_REGISTERS])
{
    memmove(value, header_of.ptr, HLL_HEADER_BYTES);
    value[ENCODING_AT] = HLL_DENSE;
    hll_registers_loops()->pack((uint8_t *)value + HLL_HEADER_BYTES, registers);
}

bool hll_densify(char *dense, struct slice sparse)
{
    uint8_t registers[HLL_REGISTERS] = {0};
    if (!merge_sparse(registers, sparse)) return false;
    hll_set_dense(dense, sparse, registers);
    return true;
}

// --- changing a sparse value ---------------------------------------------------------------------

// Where a register is in a sparse value.
struct place {
    const uint8_t *p;      // the run it is in
    const uint8_t *before; // the run in front of that, NULL if p is the first that was looked at
    uint32_t first;        // register at p
    uint32_t before_first; // register at `before`
};

// Eight bytes none of which is the first of a two-byte run are eight runs: the number of registers
// in them, or 0.
static inline uint32_t eight_runs(const uint8_t *p)
{
    const uint64_t each = 0x0101010101010101, wide = 0x00ff00ff00ff00ff;
    uint64_t w;
    memcpy(&w, p, 8);
    if (w & ~(w >> 1) & (each << 6)) return 0; // 01......: a two-byte run
    uint64_t vals = w >> 7 & each;             // 1vvvvvll counts ll, 00llllll counts llllll
    w &= (each * 0x3f) ^ (vals * 0x3c);
    w = (w & wide) + (w >> 8 & wide);
    return (uint32_t)(w * 0x0001000100010001 >> 48) + 8;
}

// Walks from s->p on to the run of register `index`; false if the value ends before it.
static bool walk_to(struct place *s, const uint8_t *end, uint32_t index)
{
    struct hll_run run = {0};
    uint32_t skipped;
    while (s->p < end) {
        if (end - s->p >= 8 && (skipped = eight_runs(s->p)) && s->first + skipped <= index) {
            read_run(s->p + 7, end, &run);
            s->before = s->p + 7;
            s->p += 8;
            s->first += skipped;
            s->before_first = s->first - run.len;
            continue;
        }
        if (!read_run(s->p, end, &run)) return false;
        if (index - s->first < run.len) return true;
        s->before = s->p;
        s->before_first = s->first;
        s->p += run.bytes;
        s->first += run.len;
    }
    return false;
}

// The patch that raises the register of `hit` in the run at s->p.
static enum hll_outcome make_patch(const struct place *s, const uint8_t *start, const uint8_t *end,
                                   struct hll_hit hit, struct hll_patch *patch)
{
    struct hll_run run;
    bool is_whole = read_run(s->p, end, &run);
    ASSERT_SLOW(is_whole);
    (void)is_whole;
    if (run.value >= hit.rank) return HLL_UNCHANGED;
    uint32_t left = hit.index - s->first, right = run.len - left - 1;
    uint8_t *p = patch->bytes;
    p = run.value ? put_values(p, run.value, left) : put_zeros(p, left);
    *p++ = val_byte(hit.rank, 1);
    p = run.value ? put_values(p, run.value, right) : put_zeros(p, right);
    patch->at = (size_t)(s->p - start);
    patch->before = s->before ? (size_t)(s->before - start) : patch->at;
    patch->old_bytes = run.bytes;
    patch->new_bytes = (uint8_t)(p - patch->bytes);
    return HLL_CHANGED;
}

static bool is_too_long(size_t len, const struct hll_patch *patch, size_t max_bytes)
{
    return patch->new_bytes > patch->old_bytes && hll_patch_len(len, patch) > max_bytes;
}

enum hll_outcome hll_sparse_find(struct slice sparse, struct hll_hit hit, size_t max_bytes,
                                 struct hll_patch *patch)
{
    if (hit.rank > HLL_SPARSE_MAX_RANK) return HLL_NEEDS_DENSE;
    const uint8_t *start = (const uint8_t *)sparse.ptr, *end = start + sparse.len;
    struct place s = {.p = start + HLL_HEADER_BYTES};
    if (!walk_to(&s, end, hit.index)) return HLL_DAMAGED;
    enum hll_outcome outcome = make_patch(&s, start, end, hit, patch);
    if (outcome == HLL_CHANGED && is_too_long(sparse.len, patch, max_bytes)) return HLL_NEEDS_DENSE;
    return outcome;
}

// Joins runs of equal values that are neighbours, from p on; returns the new end.
static uint8_t *join_runs(uint8_t *p, uint8_t *end)
{
    for (int i = 0; i < JOIN_RUNS && p < end; i++) {
        if (!is_val(*p)) {
            p += run_kind(*p) == RUN_XZERO ? 2 : 1;
            continue;
        }
        uint32_t len = p + 1 < end ? (p[0] & 3u) + (p[1] & 3u) + 2 : 0;
        bool is_same = p + 1 < end && (p[0] & 0xfc) == (p[1] & 0xfc);
        if (!is_same || len > VAL_MAX_LEN) {
            p++;
            continue;
        }
        p[1] = (uint8_t)((p[1] & 0xfc) | (len - 1));
        memmove(p, p + 1, (size_t)(end - p - 1)); // and once more from here
        end--;
    }
    return end;
}

size_t hll_sparse_apply(char *sparse, size_t len, const struct hll_patch *patch)
{
    uint8_t *start = (uint8_t *)sparse, *at = start + patch->at;
    size_t behind = len - patch->at - patch->old_bytes;
    if (patch->new_bytes != patch->old_bytes)
        memmove(at + patch->new_bytes, at + patch->old_bytes, behind);
    memcpy(at, patch->bytes, patch->new_bytes);
    uint8_t *end = at + patch->new_bytes + behind;
    return (size_t)(join_runs(start + patch->before, end) - start);
}

// Registers come in ascending order, so the search goes on from the run in front of the last
// change: nothing before that has moved. If the next register is in that very run, what is in
// front of it is not known, and the search starts anew.
bool hll_sparse_raise(char *sparse, size_t *len, const uint8_t registers[HLL_REGISTERS],
                      size_t max_bytes)
{
    const uint8_t *start = (const uint8_t *)sparse;
    const struct place first = {.p = start + HLL_HEADER_BYTES};
    struct place s = first;
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        struct hll_hit hit = {.index = i, .rank = registers[i]};
        if (!hit.rank) continue;
        if (hit.rank > HLL_SPARSE_MAX_RANK) return false;
        const uint8_t *end = start + *len;
        struct hll_patch patch;
        bool is_found = walk_to(&s, end, i);
        if (is_found && !s.before && s.p != first.p) {
            s = first;
            is_found = walk_to(&s, end, i);
        }
        ASSERT(is_found);
        if (make_patch(&s, start, end, hit, &patch) == HLL_CHANGED) {
            if (is_too_long(*len, &patch, max_bytes)) return false;
            *len = hll_sparse_apply(sparse, *len, &patch);
        }
        if (s.before) s = (struct place){.p = s.before, .first = s.before_first};
    }
    return true;
}
