// SPDX-License-Identifier: BSD-3-Clause
//
// hyperloglog: an estimate of how many different elements were seen, in at most 12304 bytes. The
// value is a string that clients may GET, SET and carry to another server, so it is Redis's format
// to the byte:
//
//    0     4          5         8                  16
//    "HYLL"[encoding ][0, 0, 0 ][cached cardinality][registers
//
// The cardinality is little-endian; its highest bit set means that it is out of date. 16384
// registers of 6 bits follow, of which each holds the greatest rank of the elements that fell to
// it:
//
//    dense    packed (ds/hll_registers.h), 12288 bytes
//    sparse   runs of equal registers, from register 0 on, 16384 in all:
//             00llllll            l + 1 registers are 0
//             01llllll llllllll   l + 1 registers are 0, highest bits first
//             1vvvvvll            l + 1 registers are v + 1
//
// Clients can store any bytes under a key, so every function here takes what may be damaged and
// finds out: nothing reads or writes outside of the given bytes.
#pragma once
#include "ds/hll_registers.h"

#define HLL_HEADER_BYTES     16
#define HLL_DENSE_BYTES      (HLL_HEADER_BYTES + HLL_PACKED_BYTES)
#define HLL_EMPTY_BYTES      (HLL_HEADER_BYTES + 2)
#define HLL_SPARSE_MAX_BYTES (HLL_HEADER_BYTES + 2 * HLL_REGISTERS) // of an undamaged value
#define HLL_SPARSE_MAX_RANK  32

enum hll_encoding { HLL_DENSE, HLL_SPARSE };

// --- the header ----------------------------------------------------------------------------------

// Is this a HyperLogLog as far as the header and, if dense, the length say? What follows asks for a
// value that is.
bool hll_is_valid(struct slice value);
enum hll_encoding hll_encoding(struct slice value);
// The cached cardinality: false if it is out of date.
bool hll_cached(struct slice value, uint64_t *cardinality);
void hll_cache(char *value, uint64_t cardinality);
void hll_uncache(char *value);

// --- elements ------------------------------------------------------------------------------------

// Where an element counts: its register, and the rank it asks for.
struct hll_hit {
    uint32_t index; // < HLL_REGISTERS
    uint8_t rank;   // 1 … 51
};
struct hll_hit hll_hit(struct slice element);

// --- whole values --------------------------------------------------------------------------------

// An empty value (sparse), HLL_EMPTY_BYTES.
struct slice hll_empty(void);
// Each register's greater value of both. False: the value is damaged, and the registers are good
// for nothing.
bool hll_merge(uint8_t registers[HLL_REGISTERS], struct slice value);
// The estimate; false if the value is damaged.
bool hll_count(struct slice value, uint64_t *cardinality);
uint64_t hll_count_registers(const uint8_t registers[HLL_REGISTERS]);
// Makes the HLL_DENSE_BYTES at `value` a dense value of these registers; the header but for the
// encoding is that of `header_of`, which may be `value` itself.
void hll_set_dense(char *value, struct slice header_of, const uint8_t registers[HLL_REGISTERS]);
// Writes the dense form of a sparse value, HLL_DENSE_BYTES. False if it is damaged.
bool hll_densify(char *dense, struct slice sparse);

// --- dense values --------------------------------------------------------------------------------

static inline unsigned hll_dense_get(struct slice dense, uint32_t index)
{
    return hll_registers_get((const uint8_t *)dense.ptr + HLL_HEADER_BYTES, index);
}

static inline void hll_dense_set(char *dense, struct hll_hit hit)
{
    hll_registers_set((uint8_t *)dense + HLL_HEADER_BYTES, hit.index, hit.rank);
}

// --- sparse values -------------------------------------------------------------------------------

// One run. The iterator of those who want to see them: start at HLL_HEADER_BYTES, advance by
// `bytes`.
struct hll_run {
    uint32_t len;  // registers
    uint8_t value; // of each
    uint8_t bytes; // 1 or 2
};
// The run at an offset below the length. False if it is cut short by the end.
bool hll_run_at(struct slice sparse, size_t at, struct hll_run *run);

enum hll_outcome {
    HLL_UNCHANGED,   // the register is as great already
    HLL_CHANGED,     // there is a patch to apply
    HLL_NEEDS_DENSE, // the rank or the result's length is beyond the sparse form
    HLL_DAMAGED,
};

// How to change a sparse value: found first, so that the caller can make room.
struct hll_patch {
    size_t at;         // offset of the run that is replaced
    size_t before;     // offset of the run before it (or `at`): there joining of runs begins
    uint8_t old_bytes; // length of the replaced run
    uint8_t new_bytes; // what replaces it: up to three runs
    uint8_t bytes[5];
};

// What it takes for the register to become at least hit.rank, in a value that may grow to
// max_bytes.
enum hll_outcome hll_sparse_find(struct slice sparse, struct hll_hit hit, size_t max_bytes,
                                 struct hll_patch *patch);
// Applies it to a value of `len` bytes that was not changed meanwhile and has room for
// len - old_bytes + new_bytes (that may be asked of patch_len). Returns the new length, which may
// be shorter than that: neighbours of equal value become one run.
size_t hll_sparse_apply(char *sparse, size_t len, const struct hll_patch *patch);

static inline size_t hll_patch_len(size_t len, const struct hll_patch *patch)
{
    return len - patch->old_bytes + patch->new_bytes;
}

// Raises every register of an undamaged sparse value to what `registers` say, in order, as if by
// one hll_sparse_apply each; `sparse` has room for HLL_SPARSE_MAX_BYTES, *len is updated. False:
// needs to be dense, the value is somewhere in between.
bool hll_sparse_raise(char *sparse, size_t *len, const uint8_t registers[HLL_REGISTERS],
                      size_t max_bytes);
