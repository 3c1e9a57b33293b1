// SPDX-License-Identifier: BSD-3-Clause
//
// hll_registers: the 16384 registers of a HyperLogLog, of 6 bits each, in two forms: packed as they
// stand in a value, and one a byte, in which they are merged and counted. Register i occupies the
// bits 6i .. 6i+5 of the packed form, the lowest bit of a byte first:
//
//    byte 0      byte 1      byte 2      byte 3
//    [11000000]  [22221111]  [33333322]  [...           (digit: which register; highest bit left)
//
// The loops exist in portable C, for AVX2 and for AVX-512, as those of ds/bits.h.
#pragma once
#include <stdint.h>

#include "ds/bits.h"

#define HLL_REGISTERS    16384
#define HLL_REGISTER_MAX 63
#define HLL_PACKED_BYTES (HLL_REGISTERS * 6 / 8)

struct hll_loops {
    // registers[i] = max(registers[i], packed[i])
    void (*raise)(uint8_t *registers, const uint8_t *packed);
    // packed[i] = registers[i], which are <= HLL_REGISTER_MAX
    void (*pack)(uint8_t *packed, const uint8_t *registers);
    // histogram[v] = how many registers have the value v
    void (*histogram)(uint32_t histogram[HLL_REGISTER_MAX + 1], const uint8_t *registers);
};

// The loops of a level that this CPU has, and those of the best one.
const struct hll_loops *hll_registers_loops_of(enum bits_level level);
const struct hll_loops *hll_registers_loops(void);

// One register of the packed form.
static inline unsigned hll_registers_get(const uint8_t *packed, uint32_t index)
{
    const uint8_t *p = packed + index * 6 / 8;
    unsigned shift = index * 6 % 8;
    unsigned value = (unsigned)p[0] >> shift;
    if (shift > 2) value |= (unsigned)p[1] << (8 - shift);
    return value & HLL_REGISTER_MAX;
}

static inline void hll_registers_set(uint8_t *packed, uint32_t index, unsigned value)
{
    uint8_t *p = packed + index * 6 / 8;
    unsigned shift = index * 6 % 8;
    p[0] = (uint8_t)((p[0] & ~(HLL_REGISTER_MAX << shift)) | value << shift);
    if (shift > 2)
        p[1] = (uint8_t)((p[1] & ~(HLL_REGISTER_MAX >> (8 - shift))) | value >> (8 - shift));
}
