// SPDX-License-Identifier: BSD-3-Clause
//
// hash: key hashes for the tables (XXH3 with a secret per process, so that a client cannot aim its
// keys at one bucket) and the Redis Cluster slot (CRC16, polynomial 0x1021, of the key or its hash
// tag), from which the shard follows.
#pragma once
#include <stdint.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/slice.h"

#define HASH_SLOTS 16384u

// Seeds the table hash; once, before any table is filled.
void hash_set_seed(uint64_t seed);
extern uint64_t hash_seed; // read-only after hash_set_seed

static inline uint64_t hash_bytes(struct slice s)
{
    return XXH3_64bits_withSeed(s.ptr, s.len, hash_seed);
}

uint16_t hash_crc16(const void *data, size_t len);

// The part of a key that decides its slot: what stands between the first '{' and the first '}'
// after it, if that is not empty; else the whole key (Redis Cluster specification, "hash tags").
struct slice hash_tag(struct slice key);

static inline uint32_t hash_slot(struct slice key)
{
    struct slice t = hash_tag(key);
    return hash_crc16(t.ptr, t.len) & (HASH_SLOTS - 1);
}
