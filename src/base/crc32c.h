// SPDX-License-Identifier: BSD-3-Clause
//
// crc32c: CRC-32C (Castagnoli): polynomial 0x1edc6f41, bits reflected, inverted before and after.
// Of "123456789" it is 0xe3069283. It finds every error of up to 31 neighbouring bits, and every
// three wrong bits in less than 256 MB.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The checksum of what `crc` is the checksum of (0: nothing) and these bytes behind it.
uint32_t crc32c_add(uint32_t crc, const void *data, size_t len);

// What crc32c_add(crc, data, len) is, from crc32c_add(0, data, len) = `of_data` alone.
uint32_t crc32c_join(uint32_t crc, uint32_t of_data, uint64_t len);

// crc32c_add takes the best; tests take each that the CPU has.
enum crc32c_level { CRC32C_PORTABLE, CRC32C_SSE42, CRC32C_LEVELS };
bool crc32c_has_level(enum crc32c_level level);
uint32_t crc32c_add_by(enum crc32c_level level, uint32_t crc, const void *data, size_t len);
