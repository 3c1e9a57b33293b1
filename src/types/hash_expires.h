// SPDX-License-Identifier: BSD-3-Clause
//
// hash_expires: what a hash with expiring fields has besides its fields: the keyspace's handle, and
// which field is due first. Made with the first expiry; from then on it stays at its address as
// long as the hash lives, while the fields move from the pack into a table.
//
//   word -> [ hash_expires: wheel, pack, first_ms ] -> field, value, expiry …
//   word -> [ hash_table ] -> [ hash_expires: wheel, heap ] -> { when, item } … -> items
//
// The few fields of a pack are looked through for the first; a table has a binary heap by time.
// An item knows its place in the heap (types/hash_item.h), so that a change costs O(log n). The
// heap lies in segments, so that a million fields that get an expiry never pay for a copy of the
// others.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ds/timewheel.h"

#define HASH_EXPIRES_SEGMENT_BITS 8
#define HASH_EXPIRES_SEGMENT      (1u << HASH_EXPIRES_SEGMENT_BITS) // 256 * 16 bytes = 4 KiB

struct hash_item;
struct hash_pack;

// By what the keyspace knows when a hash has due fields. Only the keyspace reads and writes it
// (zero at first: not in a wheel); it takes the node out of the wheel before it frees or drains the
// value.
struct hash_wheel {
    struct timewheel_node node;
    void *owner; // the entry
    bool is_in;  // in the wheel
};

struct hash_due {
    int64_t at_ms;
    struct hash_item *item;
};

struct hash_expires {
    struct hash_wheel wheel; // the first member: hash_wheel_of relies on it
    union {
        struct {                    // ENC_LISTPACK_EX
            struct hash_pack *pack; // owned
            int64_t first_ms;       // the smallest expiry in it; INT64_MAX: there is none
        };
        struct {                        // ENC_HASHTABLE
            struct hash_due **segments; // owned; the first may be shorter than the others
            uint32_t count;             // items in the heap
            uint32_t segment_cap;       // length of `segments`
            uint32_t first_cap;         // room in the first segment
        };
    };
};

static inline struct hash_due *hash_expires_at(const struct hash_expires *x, uint32_t place)
{
    return &x->segments[place >> HASH_EXPIRES_SEGMENT_BITS][place & (HASH_EXPIRES_SEGMENT - 1)];
}

// INT64_MAX: no field in the heap.
static inline int64_t hash_expires_first_ms(const struct hash_expires *x)
{
    return x->count ? hash_expires_at(x, 0)->at_ms : INT64_MAX;
}

// An empty heap.
struct hash_expires *hash_expires_new(void);
void hash_expires_free(struct hash_expires *x);
// Puts an item (that has room for a place) into the heap.
void hash_expires_add(struct hash_expires *x, int64_t at_ms, struct hash_item *item);
void hash_expires_remove(struct hash_expires *x, uint32_t place);
void hash_expires_change(struct hash_expires *x, uint32_t place, int64_t at_ms);
// The item at this place has moved to another address.
void hash_expires_moved(struct hash_expires *x, uint32_t place, struct hash_item *item);
// Frees about `budget` segments of a heap that is not needed any more; true when all are freed.
bool hash_expires_drain(struct hash_expires *x, uint32_t budget);
// Bytes that the structure and its heap occupy.
size_t hash_expires_bytes(const struct hash_expires *x);
// Asserts the invariants of the heap; for tests.
void hash_expires_validate(const struct hash_expires *x);
