// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target: any bytes as a HyperLogLog that some client stored. Whatever they say, nothing
// may be read or written outside of the value, which therefore lies in memory of exactly its
// length; and the functions must agree with each other on whether it is damaged and on what it
// holds.
//
// Input: byte 0 how many registers are raised, byte 1 the limit of the sparse form in units of 16
// bytes, then the hits, three bytes each; the value follows.
#include <stdint.h>

#include "base/assert.h"
#include "base/mem.h"
#include "ds/hyperloglog.h"

#define HEADER   2
#define HIT      3
#define HITS_MAX 32

struct value {
    char *bytes;
    size_t len;
};

static struct slice slice_of_value(const struct value *v)
{
    return (struct slice){v->bytes, v->len};
}

static bool is_sparse(const struct value *v)
{
    return hll_encoding(slice_of_value(v)) == HLL_SPARSE;
}

// True: the value is undamaged, and these are its registers.
static bool read_all(const struct value *v, uint8_t registers[HLL_REGISTERS])
{
    uint64_t cardinality;
    memset(registers, 0, HLL_REGISTERS);
    bool is_good = hll_merge(registers, slice_of_value(v));
    ASSERT(hll_count(slice_of_value(v), &cardinality) == is_good);
    if (is_good) ASSERT(hll_count_registers(registers) == cardinality);
    size_t registers_in_runs = 0;
    struct hll_run run;
    for (size_t at = HLL_HEADER_BYTES; is_sparse(v) && at < v->len; at += run.bytes) {
        if (!hll_run_at(slice_of_value(v), at, &run)) {
            ASSERT(!is_good);
            break;
        }
        registers_in_runs += run.len;
    }
    if (is_good && is_sparse(v)) ASSERT(registers_in_runs == HLL_REGISTERS);
    return is_good;
}

static bool make_dense(struct value *v)
{
    char *dense = mem_alloc(HLL_DENSE_BYTES);
    if (!hll_densify(dense, slice_of_value(v))) {
        mem_free(dense);
        return false;
    }
    mem_free(v->bytes);
    *v = (struct value){dense, HLL_DENSE_BYTES};
    return true;
}

// As PFADD does it. False: the value is damaged.
static bool add(struct value *v, struct hll_hit hit, size_t max_bytes)
{
    struct hll_patch patch;
    if (is_sparse(v)) {
        switch (hll_sparse_find(slice_of_value(v), hit, max_bytes, &patch)) {
        case HLL_UNCHANGED: return true;
        case HLL_DAMAGED: return false;
        case HLL_NEEDS_DENSE: break;
        case HLL_CHANGED:
            v->bytes = mem_realloc(v->bytes, MAX(v->len, hll_patch_len(v->len, &patch)));
            v->len = hll_sparse_apply(v->bytes, v->len, &patch);
            v->bytes = mem_realloc(v->bytes, v->len);
            return true;
        }
        if (!make_dense(v)) return false;
    }
    if (hll_dense_get(slice_of_value(v), hit.index) < hit.rank) hll_dense_set(v->bytes, hit);
    return true;
}

// As PFMERGE does it, of an undamaged value with registers that are at least its own.
static void merge_back(const struct value *v, const uint8_t registers[HLL_REGISTERS],
                       size_t max_bytes)
{
    struct value to = {mem_alloc(HLL_SPARSE_MAX_BYTES), v->len};
    uint8_t again[HLL_REGISTERS];
    memcpy(to.bytes, v->bytes, v->len);
    if (!is_sparse(v) || !hll_sparse_raise(to.bytes, &to.len, registers, max_bytes)) {
        hll_set_dense(to.bytes, slice_of_value(v), registers);
        to.len = HLL_DENSE_BYTES;
    }
    ASSERT(read_all(&to, again));
    ASSERT(memcmp(again, registers, HLL_REGISTERS) == 0);
    mem_free(to.bytes);
}

static void exercise(struct value *v, const uint8_t *hits, size_t hit_count, size_t max_bytes)
{
    uint8_t registers[HLL_REGISTERS], after[HLL_REGISTERS];
    bool was_good = read_all(v, registers);
    for (size_t i = 0; i < hit_count; i++, hits += HIT) {
        struct hll_hit hit = {(hits[0] << 8 | hits[1]) % HLL_REGISTERS, hits[2] % 51 + 1};
        bool is_added = add(v, hit, max_bytes);
        ASSERT(is_added || !was_good);
        registers[hit.index] = MAX(registers[hit.index], hit.rank);
    }
    bool is_good = read_all(v, after);
    ASSERT(is_good || !was_good);
    if (!was_good) return;
    ASSERT(memcmp(after, registers, HLL_REGISTERS) == 0);
    for (uint32_t i = 0; i < HLL_REGISTERS; i += 37) registers[i] |= i % 5;
    merge_back(v, registers, max_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEADER) return 0;
    size_t hit_count = MIN(data[0] % HITS_MAX, (size - HEADER) / HIT), max_bytes = data[1] * 16u;
    const uint8_t *hits = data + HEADER;
    data = hits + hit_count * HIT;
    size -= HEADER + hit_count * HIT;
    struct value v = {mem_alloc(size + !size), size};
    memcpy(v.bytes, data, size);
    if (size >= 5) memcpy(v.bytes, "HYLL", 4); // or the fuzzer would look for it for long
    if (hll_is_valid(slice_of_value(&v))) exercise(&v, hits, hit_count, max_bytes);
    mem_free(v.bytes);
    return 0;
}
