// SPDX-License-Identifier: BSD-3-Clause
//
// Registers: every level of loops against one register at a time. Values: sparse ones against an
// array of registers after every change, and damaged ones, which must be found out. That the bytes
// are Redis's is test/integration/streams/hyperloglog.txt's business; a few are here, too.
#include "ds/hyperloglog.h"

#include <criterion/criterion.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"

static struct random rng;

static void seed(void)
{
    random_seed(&rng, 5);
}

TestSuite(hyperloglog, .init = seed);

// --- registers -----------------------------------------------------------------------------------

static void fill(uint8_t registers[HLL_REGISTERS], unsigned max)
{
    for (int i = 0; i < HLL_REGISTERS; i++) registers[i] = (uint8_t)random_below(&rng, max + 1);
}

Test(hyperloglog, one_register_leaves_its_neighbours_alone)
{
    uint8_t *packed = mem_calloc(HLL_PACKED_BYTES), registers[HLL_REGISTERS] = {0};
    for (int i = 0; i < 100000; i++) {
        uint32_t at = (uint32_t)random_below(&rng, HLL_REGISTERS);
        registers[at] = (uint8_t)random_below(&rng, HLL_REGISTER_MAX + 1);
        hll_registers_set(packed, at, registers[at]);
    }
    hll_registers_set(packed, HLL_REGISTERS - 1, registers[HLL_REGISTERS - 1]);
    for (uint32_t i = 0; i < HLL_REGISTERS; i++)
        cr_assert_eq(hll_registers_get(packed, i), registers[i], "register %u", i);
    mem_free(packed);
}

Test(hyperloglog, every_level_packs_and_raises_alike)
{
    uint8_t registers[HLL_REGISTERS], other[HLL_REGISTERS], merged[HLL_REGISTERS];
    for (enum bits_level level = 0; level < BITS_LEVELS; level++) {
        if (!bits_has_level(level)) continue;
        for (size_t shift = 0; shift < 64; shift++) {
            uint8_t *start = mem_alloc(shift + HLL_PACKED_BYTES), *packed = start + shift;
            fill(registers, shift % 2 ? HLL_REGISTER_MAX : 20);
            fill(other, HLL_REGISTER_MAX);
            hll_registers_loops_of(level)->pack(packed, registers);
            for (uint32_t i = 0; i < HLL_REGISTERS; i++)
                cr_assert_eq(hll_registers_get(packed, i), registers[i], "level %d", level);
            memcpy(merged, other, sizeof merged);
            hll_registers_loops_of(level)->raise(merged, packed);
            for (uint32_t i = 0; i < HLL_REGISTERS; i++)
                cr_assert_eq(merged[i], MAX(registers[i], other[i]), "level %d", level);
            mem_free(start);
        }
    }
}

Test(hyperloglog, every_level_counts_values_alike)
{
    uint8_t registers[HLL_REGISTERS];
    uint32_t histogram[HLL_REGISTER_MAX + 1];
    for (enum bits_level level = 0; level < BITS_LEVELS; level++) {
        if (!bits_has_level(level)) continue;
        for (unsigned max = 0; max <= HLL_REGISTER_MAX; max += 7) {
            uint32_t want[HLL_REGISTER_MAX + 1] = {0};
            fill(registers, max);
            for (int i = 0; i < HLL_REGISTERS; i++) want[registers[i]]++;
            memset(histogram, 0xee, sizeof histogram);
            hll_registers_loops_of(level)->histogram(histogram, registers);
            cr_assert(memcmp(histogram, want, sizeof want) == 0, "level %d", level);
        }
    }
}

// --- values --------------------------------------------------------------------------------------

// A value, in memory of exactly its length if is_exact, and the registers that it should have.
struct model {
    char *value;
    size_t len;
    bool is_exact;
    uint8_t registers[HLL_REGISTERS];
};

static void model_resize(struct model *m, size_t len)
{
    if (m->is_exact) m->value = mem_realloc(m->value, len);
}

static void model_start(struct model *m, bool is_exact)
{
    struct slice empty = hll_empty();
    m->is_exact = is_exact;
    m->value = mem_alloc(is_exact ? empty.len : HLL_SPARSE_MAX_BYTES);
    m->len = empty.len;
    memcpy(m->value, empty.ptr, empty.len);
    memset(m->registers, 0, sizeof m->registers);
}

static struct slice model_value(const struct model *m)
{
    return (struct slice){m->value, m->len};
}

static void model_check(const struct model *m)
{
    uint8_t registers[HLL_REGISTERS] = {0};
    cr_assert(hll_is_valid(model_value(m)));
    cr_assert(hll_merge(registers, model_value(m)));
    cr_assert(memcmp(registers, m->registers, sizeof registers) == 0);
}

static void model_densify(struct model *m)
{
    char *dense = mem_alloc(HLL_DENSE_BYTES);
    cr_assert(hll_densify(dense, model_value(m)));
    mem_free(m->value);
    m->value = dense;
    m->len = HLL_DENSE_BYTES;
}

static void model_add(struct model *m, struct hll_hit hit, size_t max_bytes)
{
    struct hll_patch patch;
    bool is_raised = m->registers[hit.index] < hit.rank;
    m->registers[hit.index] = MAX(m->registers[hit.index], hit.rank);
    if (hll_encoding(model_value(m)) == HLL_SPARSE) {
        enum hll_outcome outcome = hll_sparse_find(model_value(m), hit, max_bytes, &patch);
        cr_assert_neq(outcome, HLL_DAMAGED);
        if (outcome == HLL_UNCHANGED) cr_assert(!is_raised);
        if (outcome == HLL_CHANGED) {
            cr_assert(is_raised);
            model_resize(m, MAX(m->len, hll_patch_len(m->len, &patch)));
            m->len = hll_sparse_apply(m->value, m->len, &patch);
            model_resize(m, m->len);
            cr_assert(m->len <= max_bytes || patch.new_bytes <= patch.old_bytes);
        }
        if (outcome != HLL_NEEDS_DENSE) return;
        model_densify(m);
    }
    if (hll_dense_get(model_value(m), hit.index) < hit.rank) hll_dense_set(m->value, hit);
}

Test(hyperloglog, an_element_has_its_place)
{
    struct hll_hit hit = hll_hit(SLICE("a"));
    cr_assert_eq(hit.index, 12711);
    cr_assert_eq(hit.rank, 2);
    for (int i = 0; i < 10000; i++) {
        uint64_t bytes[3] = {random_u64(&rng), random_u64(&rng), random_u64(&rng)};
        hit = hll_hit((struct slice){(char *)bytes, random_below(&rng, 25)});
        cr_assert(hit.index < HLL_REGISTERS && hit.rank >= 1 && hit.rank <= 51);
    }
}

Test(hyperloglog, a_sparse_value_has_the_registers_it_was_given)
{
    struct model m;
    for (int round = 0; round < 12; round++) {
        model_start(&m, true);
        // Within a narrow range runs split, grow together and meet all the time.
        uint32_t range = round % 3 == 0 ? 200 : round % 3 == 1 ? 2000 : HLL_REGISTERS;
        uint32_t base = (uint32_t)random_below(&rng, HLL_REGISTERS - range + 1);
        unsigned ranks = round % 2 ? 2 : HLL_SPARSE_MAX_RANK;
        for (int i = 0; i < 1000; i++) {
            struct hll_hit hit = {base + (uint32_t)random_below(&rng, range),
                                  (uint8_t)(1 + random_below(&rng, ranks))};
            model_add(&m, hit, HLL_SPARSE_MAX_BYTES);
            if (i < 100 || i % 50 == 0) model_check(&m);
        }
        cr_assert_eq(hll_encoding(model_value(&m)), HLL_SPARSE);
        mem_free(m.value);
    }
}

Test(hyperloglog, a_value_becomes_dense_when_it_must)
{
    struct model m;
    model_start(&m, true);
    model_add(&m, (struct hll_hit){5, HLL_SPARSE_MAX_RANK}, 3000);
    cr_assert_eq(hll_encoding(model_value(&m)), HLL_SPARSE);
    model_add(&m, (struct hll_hit){HLL_REGISTERS - 1, HLL_SPARSE_MAX_RANK + 1}, 3000);
    cr_assert_eq(hll_encoding(model_value(&m)), HLL_DENSE);
    model_check(&m);
    mem_free(m.value);

    model_start(&m, true);
    for (uint32_t i = 0; hll_encoding(model_value(&m)) == HLL_SPARSE; i += 2) {
        cr_assert(m.len <= 3000);
        model_add(&m, (struct hll_hit){i, 3}, 3000);
    }
    model_check(&m);
    mem_free(m.value);
}

Test(hyperloglog, raising_all_registers_is_as_raising_one_after_the_other)
{
    uint8_t registers[HLL_REGISTERS];
    char *together = mem_alloc(HLL_SPARSE_MAX_BYTES);
    for (int round = 0; round < 20; round++) {
        struct model m;
        model_start(&m, false);
        unsigned ranks = round % 2 ? 2 : 6, rarity = round % 3 ? 20 : 2;
        for (uint64_t i = random_below(&rng, 800); i > 0; i--)
            model_add(&m,
                      (struct hll_hit){(uint32_t)random_below(&rng, 3000),
                                       (uint8_t)(1 + random_below(&rng, ranks))},
                      HLL_SPARSE_MAX_BYTES);
        fill(registers, ranks);
        for (int i = 0; i < HLL_REGISTERS; i++)
            if (i > 3500 || random_below(&rng, rarity)) registers[i] = 0;
        size_t len = m.len;
        memcpy(together, m.value, len);
        cr_assert(hll_sparse_raise(together, &len, registers, HLL_SPARSE_MAX_BYTES));
        for (uint32_t i = 0; i < HLL_REGISTERS; i++)
            if (registers[i])
                model_add(&m, (struct hll_hit){i, registers[i]}, HLL_SPARSE_MAX_BYTES);
        cr_assert_eq(len, m.len, "round %d: %zu, want %zu", round, len, m.len);
        cr_assert(memcmp(together, m.value, len) == 0, "round %d", round);
        mem_free(m.value);
    }
    mem_free(together);
}

Test(hyperloglog, estimates_keep_their_promise)
{
    struct model sparse, dense;
    uint64_t a, b;
    model_start(&sparse, false);
    model_start(&dense, false);
    for (uint64_t i = 1, next = 1; i <= 100000; i++) {
        struct hll_hit hit = hll_hit((struct slice){(char *)&i, sizeof i});
        model_add(&sparse, hit, 12000);
        model_add(&dense, hit, 0);
        if (i != next) continue;
        next += i / 3 + 1;
        cr_assert(hll_count(model_value(&sparse), &a) && hll_count(model_value(&dense), &b));
        cr_assert_eq(a, b);
        cr_assert_eq(a, hll_count_registers(sparse.registers));
        double error = ((double)a - (double)i) / (double)i;
        cr_assert(error < 0.04 && error > -0.04, "%llu for %llu", (unsigned long long)a,
                  (unsigned long long)i);
    }
    mem_free(sparse.value);
    mem_free(dense.value);
}

Test(hyperloglog, the_cached_cardinality_goes_stale)
{
    char value[HLL_EMPTY_BYTES];
    uint64_t cardinality;
    memcpy(value, hll_empty().ptr, sizeof value);
    struct slice s = {value, sizeof value};
    cr_assert(hll_cached(s, &cardinality));
    cr_assert_eq(cardinality, 0);
    hll_cache(value, 0x123456789abc);
    cr_assert(hll_cached(s, &cardinality));
    cr_assert_eq(cardinality, 0x123456789abc);
    hll_uncache(value);
    cr_assert(!hll_cached(s, &cardinality));
    cr_assert(hll_is_valid(s));
}

// --- damage --------------------------------------------------------------------------------------

static struct slice damaged(const char *runs, size_t len)
{
    char *value = mem_alloc(HLL_HEADER_BYTES + len);
    memcpy(value, hll_empty().ptr, HLL_HEADER_BYTES);
    memcpy(value + HLL_HEADER_BYTES, runs, len);
    return (struct slice){value, HLL_HEADER_BYTES + len};
}

static void check_damaged(const char *runs, size_t len)
{
    struct slice value = damaged(runs, len);
    uint8_t registers[HLL_REGISTERS] = {0};
    char *dense = mem_alloc(HLL_DENSE_BYTES);
    struct hll_patch patch;
    uint64_t cardinality;
    cr_assert(hll_is_valid(value));
    cr_assert_not(hll_merge(registers, value));
    cr_assert_not(hll_count(value, &cardinality));
    cr_assert_not(hll_densify(dense, value));
    for (uint32_t i = 0; i < HLL_REGISTERS; i += 13)
        hll_sparse_find(value, (struct hll_hit){i, 3}, HLL_SPARSE_MAX_BYTES, &patch);
    mem_free(dense);
    mem_free((char *)value.ptr);
}

Test(hyperloglog, damaged_runs_are_found_out)
{
    check_damaged("", 0);
    check_damaged("\x7f", 1);             // the second byte is missing
    check_damaged("\x7f\xfe", 2);         // one register too few
    check_damaged("\x7f\xff\x00", 3);     // one too many
    check_damaged("\x7f\xff\x80", 3);     // also if it has a value
    check_damaged("\x7f\xff\x7f\xff", 4); // twice as many
    check_damaged("\x7f\xfe\x83", 3);     // the last run reaches beyond
    check_damaged("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x7f", 10);
    struct hll_patch patch;
    struct slice value = damaged("\x7f\xfe", 2);
    struct hll_hit last = {HLL_REGISTERS - 1, 1};
    cr_assert_eq(hll_sparse_find(value, last, 3000, &patch), HLL_DAMAGED);
    mem_free((char *)value.ptr);
}

Test(hyperloglog, the_header_is_looked_at)
{
    char *value = mem_calloc(HLL_DENSE_BYTES + 1);
    memcpy(value, "HYLL", 4);
    for (size_t len = 0; len <= HLL_DENSE_BYTES + 1; len++)
        cr_assert_eq(hll_is_valid((struct slice){value, len}), len == HLL_DENSE_BYTES);
    value[4] = HLL_SPARSE;
    cr_assert_not(hll_is_valid((struct slice){value, HLL_HEADER_BYTES - 1}));
    cr_assert(hll_is_valid((struct slice){value, HLL_HEADER_BYTES}));
    value[4] = 2;
    cr_assert_not(hll_is_valid((struct slice){value, HLL_DENSE_BYTES}));
    mem_free(value);
}
