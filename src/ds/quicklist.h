// SPDX-License-Identifier: BSD-3-Clause
//
// quicklist: a long list as a chain of nodes, each holding some kilobytes of elements:
//
//   head                                                        tail
//   [block: elements, node node node … ] <-> [block] <-> [block]
//              |            |
//              |            +-> packed (ds/packed.h): inner nodes of long lists, for reading
//              +-> a listpack, for reading and changing; or one big string that stands alone
//
// A block is an array of up to 128 nodes (16 bytes each) and knows how many elements they hold, so
// that an index is found by looking at hundreds of nodes' elements in a step.
//
// The listpacks at the two ends have room around them (ds/listnode.h). When a node ceases to be an
// end, the room is given back; when it is far enough from both ends, it is packed. Who changes a
// packed node unpacks it for that. Short chains are not packed at all.
//
// list-compress-depth only says how deep packing begins: it is on by itself, and never LZF.
//
// Cost: a push or pop O(1), a few bytes written; and for each node of 8 KB that pushes fill it is
// packed (10 to 20 us), or unpacked (15 to 50 us) when pops have come that far. Reading at an
// index: O(elements / 60000) to find the node, then as in a listpack. Changing inside: the node is
// unpacked, changed and packed again.
//
// No node is empty: one without elements is taken out.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "ds/listnode.h"

struct quicklist;
struct quicklist_block;

// How big nodes are.
struct quicklist_limits {
    struct listnode_limits node;
    uint32_t depth; // nodes nearer than this to an end are not packed; 0: the default
};

struct quicklist *quicklist_new(void); // empty
void quicklist_free(struct quicklist *ql);
struct quicklist *quicklist_copy(const struct quicklist *ql);
uint64_t quicklist_count(const struct quicklist *ql); // elements
uint64_t quicklist_nodes(const struct quicklist *ql);
size_t quicklist_bytes(const struct quicklist *ql); // that it occupies, in usable bytes
// Frees at most `budget` nodes from the tail; true, and the quicklist is freed, if none are left.
bool quicklist_drain(struct quicklist *ql, uint32_t budget);
void quicklist_validate(const struct quicklist *ql);

void quicklist_push(struct quicklist *ql, bool at_head, struct slice s,
                    const struct quicklist_limits *limits);
// Takes the element at an end away; there is one.
void quicklist_pop(struct quicklist *ql, bool at_head);
// Puts s before element number `index` (quicklist_count: at the end).
void quicklist_insert(struct quicklist *ql, uint64_t index, struct slice s,
                      const struct quicklist_limits *limits);
// Puts s in the place of element number `index`.
void quicklist_set(struct quicklist *ql, uint64_t index, struct slice s,
                   const struct quicklist_limits *limits);
// Takes out `count` elements from number `index` on; there are as many.
void quicklist_remove(struct quicklist *ql, uint64_t index, uint64_t count,
                      const struct quicklist_limits *limits);
// Takes out at most `max` elements equal to s, from the head or the tail; returns how many.
uint64_t quicklist_remove_equal(struct quicklist *ql, struct slice s, uint64_t max, bool from_tail,
                                const struct quicklist_limits *limits);

// --- reading -------------------------------------------------------------------------------------

// A node of a quicklist. block NULL: none.
struct quicklist_at {
    struct quicklist_block *block;
    uint32_t i;
};

// Stands at an element, or past the last.
struct quicklist_cursor {
    struct quicklist_at node;
    const struct listpack *lp;   // a listpack node: it
    uint32_t at;                 // listpacks: the element's position; big strings: 1; 0: none left
    struct packed_cursor packed; // a packed node; else .packed is NULL
};

// Puts the cursor at element number `index`, which there is, to go on in one direction only.
void quicklist_seek(struct quicklist_cursor *c, const struct quicklist *ql, uint64_t index,
                    bool is_reverse);
// Reads the element and goes on to the next, or the previous; false past the last. The item is
// valid until the next call.
bool quicklist_next(struct quicklist_cursor *c, struct item *out);
bool quicklist_prev(struct quicklist_cursor *c, struct item *out);

// --- whole nodes ---------------------------------------------------------------------------------

struct quicklist_at quicklist_first_node(const struct quicklist *ql);
struct quicklist_at quicklist_next_node(struct quicklist_at at);
// The node's listpack: its own, or unpacked into *scratch (NULL, or freed first; the caller's).
// NULL: a big string, which is then in *plain.
const struct listpack *quicklist_node_listpack(struct quicklist_at at, struct listpack **scratch,
                                               struct slice *plain);
// Appends a node; the listpack, which is not empty, is consumed.
void quicklist_append_listpack(struct quicklist *ql, struct listpack *lp,
                               const struct quicklist_limits *limits);
void quicklist_append_plain(struct quicklist *ql, struct slice s,
                            const struct quicklist_limits *limits);
// The listpack of a quicklist that is one listpack of at most so many bytes and elements, which
// frees the quicklist; else NULL.
struct listpack *quicklist_take_listpack(struct quicklist *ql, size_t max_bytes,
                                         uint64_t max_elements);
