// SPDX-License-Identifier: BSD-3-Clause
//
// rdb_io: the words of which RDB values are made (lengths, strings, doubles, integers), as Redis
// writes them since version 2.6; source: the bytes that redis-server 7.0 writes and the description
// of the format in "Redis RDB File Format" (rdb.fnordig.de).
//
//   length  00llllll | 01llllll l | 10000000 llll (32 bits, big endian) | 10000001 (64 bits, b. e.)
//   string  length, bytes | 11000000 i8 | 11000001 i16 | 11000010 i32 (little endian)
//           | 11000011, compressed length, length, LZF data
//
// Readers trust nothing: every function fails, once and for good (is_bad), rather than read beyond
// the end or allocate more than the bytes at hand can justify.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

// --- writing -------------------------------------------------------------------------------------

void rdb_put_length(struct buf *out, uint64_t len);
// Integers as such, long strings LZF-compressed if that is shorter and is_compressed.
void rdb_put_string(struct buf *out, struct slice s, bool is_compressed);
void rdb_put_double(struct buf *out, double value); // 8 bytes, little endian (ZSET_2)
void rdb_put_u64(struct buf *out, uint64_t value);  // 8 bytes, little endian (times in ms)
void rdb_put_u64_be(struct buf *out, uint64_t value);

// --- reading -------------------------------------------------------------------------------------

struct rdb_reader {
    const char *at, *end;
    bool is_bad;
};

// 0 when bad.
uint64_t rdb_get_length(struct rdb_reader *in);
// The string's bytes: in the reader's memory, or (LZF, integers) in *scratch, which the caller
// owns, may hand in again and frees (buf_free). Empty when bad.
struct slice rdb_get_string(struct rdb_reader *in, struct buf *scratch);
double rdb_get_double(struct rdb_reader *in);     // 8 bytes
double rdb_get_old_double(struct rdb_reader *in); // length byte and text (ZSET)
uint64_t rdb_get_u64(struct rdb_reader *in);
uint64_t rdb_get_u64_be(struct rdb_reader *in);
uint8_t rdb_get_byte(struct rdb_reader *in);
size_t rdb_left(const struct rdb_reader *in); // bytes

// Pass over it, whatever it says.
void rdb_skip_bytes(struct rdb_reader *in, uint64_t n);
void rdb_skip_string(struct rdb_reader *in);
void rdb_skip_lengths(struct rdb_reader *in, unsigned count);
void rdb_skip_old_double(struct rdb_reader *in);
