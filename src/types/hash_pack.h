// SPDX-License-Identifier: BSD-3-Clause
//
// hash_pack: the fields and values of a small hash in one piece of memory. OBJECT ENCODING calls it
// "listpack", but Redis's listpack spends four bytes on each pair besides its text and seven on the
// whole; here it is one and one, and a million hashes of five short fields take a sixth less.
//
//   +-------+------+------+-- … --+
//   | count | pair | pair | pair  |
//   +-------+------+------+-- … --+
//   count   one byte; 255: the count is in the four bytes that follow
//   pair    [ head ][ field's length ][ field ][ value's length ][ value ][ expiry, 6 bytes ]
//   head    high half: 0 … 13 the field's length, 14: a byte says it, 15: four bytes say it
//           low half: 0 … 7 the value's length, 8: a byte says it, 9: four bytes say it,
//           10 … 15: the value is an integer of 1, 2, 3, 4, 6 or 8 bytes
//   expiry  only where the hash may have any (`tail` is 6, else 0): Unix ms, 0: none
//
// Values that are canonical integers are stored as such where that is shorter than their text. All
// numbers have their lowest byte first. There is no end mark and no size: who walks counts the
// pairs
// ("left"). Positions are byte offsets of pairs; 0 is none.
//
// Functions that change a pack consume the pointer and return the new one, owned by the caller.
#pragma once
#include "ds/listpack.h" // struct item

#define HASH_PACK_EXPIRY_BYTES 6
#define HASH_PACK_MAX_BYTES    (1u << 30) // none grows beyond (callers convert long before)

// Bytes as drawn above; freed with mem_free.
struct hash_pack;

// Where a pair stands, and how many there are from it on, itself included.
struct hash_pack_place {
    uint32_t at; // 0: there is none; then `end` is where the pack ends
    uint32_t left;
    uint32_t end;
};

struct hash_pack_pair {
    struct slice field;
    struct item value;
    uint32_t expiry_at; // position of the expiry
    uint32_t next;      // position of what follows, or of the end
};

// Empty, with room for `cap_bytes` (0: as small as can be).
struct hash_pack *hash_pack_new(size_t cap_bytes);
// `tail`: the bytes behind each pair, 0 or HASH_PACK_EXPIRY_BYTES.
struct hash_pack *hash_pack_copy(const struct hash_pack *p, uint32_t tail);
uint32_t hash_pack_count(const struct hash_pack *p);
// Bytes of the format, which is where it ends; walks the pack.
uint32_t hash_pack_bytes(const struct hash_pack *p, uint32_t tail);
// Bytes that a pair takes, at most.
size_t hash_pack_pair_bytes(struct slice field, struct slice value, uint32_t tail);
// The first pair's position.
uint32_t hash_pack_first(const struct hash_pack *p);
// Reads the pair at a position.
void hash_pack_read(const struct hash_pack *p, uint32_t at, uint32_t tail,
                    struct hash_pack_pair *out);
struct hash_pack_place hash_pack_find(const struct hash_pack *p, struct slice field, uint32_t tail);
// Adds a pair, without an expiry, at *end, where the pack ends; moves *end on.
struct hash_pack *hash_pack_append(struct hash_pack *p, uint32_t *end, struct slice field,
                                   struct slice value, uint32_t tail);
// Gives the pair at a place another value. The pair's position and its expiry stay.
struct hash_pack *hash_pack_replace(struct hash_pack *p, const struct hash_pack_place *place,
                                    struct slice value, uint32_t tail);
// Takes the pair at a place out; what followed it is then there.
struct hash_pack *hash_pack_remove(struct hash_pack *p, const struct hash_pack_place *place,
                                   uint32_t tail);
// The same pairs with room for expiries, none of which is set.
struct hash_pack *hash_pack_add_tails(struct hash_pack *p);

// An expiry: Unix ms below 2^48, 0: none.
uint64_t hash_pack_expiry(const struct hash_pack *p, uint32_t expiry_at);
void hash_pack_set_expiry(struct hash_pack *p, uint32_t expiry_at, uint64_t at_ms);
