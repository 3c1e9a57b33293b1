// SPDX-License-Identifier: BSD-3-Clause
//
// crc64: CRC-64/Jones as Redis's RDB files and DUMP payloads carry it: polynomial
// 0xad93d23594c935a9, bits reflected, nothing inverted. Of "123456789" it is 0xe9c6d914c4b8d9ca.
#pragma once
#include <stddef.h>
#include <stdint.h>

// The checksum of what `crc` was computed of (0: nothing) and these bytes behind it.
uint64_t crc64_add(uint64_t crc, const void *data, size_t len);
// The same by the loop for machines that have nothing better; for tests.
uint64_t crc64_add_portable(uint64_t crc, const void *data, size_t len);
// The share of some bytes, whose checksum from 0 is `crc`, in the checksum of a whole in which
// `len` bytes follow them. The checksum of the whole is the exclusive or of its parts' shares.
uint64_t crc64_move(uint64_t crc, uint64_t len);
