// SPDX-License-Identifier: BSD-3-Clause
//
// timewheel: finds what is due without looking at what is not. A hierarchical wheel with 64 slots a
// level, 8 levels of 6 bits each: 48 bits of milliseconds.
//
// An item lies at the level of the highest 6-bit digit in which its time differs from the wheel's
// own time, in the slot of that digit's value. When the wheel's time reaches a slot of a higher
// level, the slot's items move down, a bounded number a call; an item moves at most 7 times in its
// life.
//
// A slot is an array of node pointers: 8 bytes an item, and a node knows its slot and place, so
// that removal is O(1) (the last of the slot fills the gap). Arrays grow in segments, so that a
// slot with ten million items in it never pays for a copy. Nodes are embedded in the owner's items.
//
// The wheel's time follows the time that timewheel_due is told, back too if the clock was set back.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMEWHEEL_LEVELS 8
#define TIMEWHEEL_SLOTS  64
#define TIMEWHEEL_MAX_MS (((uint64_t)1 << 48) - 1) // the year 10889: from then on nothing is due

#define TIMEWHEEL_SEGMENT_BITS 12
#define TIMEWHEEL_SEGMENT      (1u << TIMEWHEEL_SEGMENT_BITS) // nodes a segment

struct timewheel_node {
    int64_t at_ms;  // when it is due; set by the owner before timewheel_add, else read-only
    uint32_t index; // place within its slot's array
    uint16_t slot;  // level * TIMEWHEEL_SLOTS + digit
    uint16_t spare; // the owner's
};

struct timewheel_slot {
    union {                                // owned
        struct timewheel_node **nodes;     // cap <= TIMEWHEEL_SEGMENT
        struct timewheel_node ***segments; // cap / TIMEWHEEL_SEGMENT of them
    };
    uint32_t len, cap;
};

struct timewheel {
    uint64_t now_ms;                     // all earlier slots are empty
    uint64_t count;                      // items in the wheel
    uint64_t occupied[TIMEWHEEL_LEVELS]; // a bit for each slot that is not empty
    struct timewheel_slot *slots;        // LEVELS * SLOTS, allocated with the first item
};

void timewheel_init(struct timewheel *w, int64_t now_ms);
// Frees the arrays; the items are the owner's.
void timewheel_free(struct timewheel *w);
void timewheel_add(struct timewheel *w, struct timewheel_node *node);
void timewheel_remove(struct timewheel *w, struct timewheel_node *node);
// The owner moved the node (with its contents) to this address.
void timewheel_moved(struct timewheel *w, struct timewheel_node *node);
// Turns the wheel towards now_ms, doing at most *budget steps (one a moved or returned item;
// decreased by what was done), and returns an item with at_ms <= now_ms, still in the wheel, or
// NULL: none is due (budget left) or the budget is used up (0 left; more may be due). What is due
// at once comes in no particular order. (A clock that was set back costs one pass over the near
// items, whatever the budget.)
struct timewheel_node *timewheel_due(struct timewheel *w, int64_t now_ms, uint32_t *budget);
// A lower bound of the time at which the next item is due: 0 if one may be due already, INT64_MAX
// when empty.
int64_t timewheel_next_ms(const struct timewheel *w);
// Bytes that the wheel itself occupies.
size_t timewheel_bytes(const struct timewheel *w);
// Asserts the invariants; for tests.
void timewheel_validate(const struct timewheel *w);
