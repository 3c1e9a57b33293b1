// SPDX-License-Identifier: BSD-3-Clause
//
// hash_item: a field of a big hash and its value, in one allocation.
//
//   [ kind (1) ][ field length ][ value length ][ place (4) ][ field bytes ][ value bytes ]
//
//   kind    bits 0-1: the field length takes 1, 2, 4 or 8 bytes (0 … 3); bits 2-3: the value length
//           likewise; bit 4: there is a place
//   place   of a field that expires: where it stands in types/hash_expires.h, which knows when
//
// So a short field with a short value costs three bytes beside its own.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

#define HASH_ITEM_HAS_PLACE   (1u << 4)
#define HASH_ITEM_PLACE_BYTES 4u

// Bytes as drawn above; freed with mem_free.
struct hash_item;

static inline uint64_t hash_item_length(const unsigned char *p, unsigned log_bytes)
{
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    switch (log_bytes) {
    case 0: return *p;
    case 1: memcpy(&u16, p, 2); return u16;
    case 2: memcpy(&u32, p, 4); return u32;
    default: memcpy(&u64, p, 8); return u64;
    }
}

static inline unsigned hash_item_kind(const struct hash_item *i)
{
    return *(const unsigned char *)i;
}

static inline bool hash_item_has_place(const struct hash_item *i)
{
    return hash_item_kind(i) & HASH_ITEM_HAS_PLACE;
}

// Bytes before the place.
static inline size_t hash_item_lengths_bytes(unsigned kind)
{
    return 1 + (1u << (kind & 3)) + (1u << (kind >> 2 & 3));
}

static inline struct slice hash_item_field(const struct hash_item *i)
{
    const unsigned char *p = (const unsigned char *)i;
    size_t before = hash_item_lengths_bytes(*p);
    if (*p & HASH_ITEM_HAS_PLACE) before += HASH_ITEM_PLACE_BYTES;
    return (struct slice){(const char *)p + before, hash_item_length(p + 1, *p & 3u)};
}

static inline struct slice hash_item_value(const struct hash_item *i)
{
    const unsigned char *p = (const unsigned char *)i;
    struct slice field = hash_item_field(i);
    return (struct slice){field.ptr + field.len,
                          hash_item_length(p + 1 + (1u << (*p & 3)), *p >> 2 & 3u)};
}

static inline size_t hash_item_bytes(const struct hash_item *i)
{
    struct slice value = hash_item_value(i);
    return (size_t)(value.ptr + value.len - (const char *)i);
}

// Only where it has one.
static inline uint32_t hash_item_place(const struct hash_item *i)
{
    uint32_t place;
    memcpy(&place, (const char *)i + hash_item_lengths_bytes(hash_item_kind(i)), sizeof place);
    return place;
}

static inline void hash_item_set_place(struct hash_item *i, uint32_t place)
{
    memcpy((char *)i + hash_item_lengths_bytes(hash_item_kind(i)), &place, sizeof place);
}

// Owned by the caller. The place is not set.
struct hash_item *hash_item_new(struct slice field, struct slice value, bool has_place);
struct hash_item *hash_item_copy(const struct hash_item *i);
// Puts another value in place of the present one if the item needs neither more nor less memory for
// it; false if it does (and nothing has changed).
bool hash_item_overwrite(struct hash_item *i, struct slice value);
