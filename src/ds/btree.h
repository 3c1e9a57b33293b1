// SPDX-License-Identifier: BSD-3-Clause
//
// btree: a counted B+tree of scored members, in the order of (score, bytes): the order side of a
// big sorted set. A member's place (rank) and the member at a place are found in O(log n), because
// every inner node knows how many members hang below each of its children.
//
//    inner   [ count ][ key 0 | key 1 | … ][ child 0 | child 1 | … ][ total 0 | total 1 | … ]
//    leaf    [ count ][ prev ][ next ][ key 0 | key 1 | … ]        a key: score, item
//
//    keys[i] of an inner node  ==  keys[0] of children[i]
//    totals[i]                 ==  members below children[i]
//
// A key carries the score beside the item's address, so a search reads items only among equal
// scores. Nodes are at least 3/8 full, but for those on the two edges of the tree: what is
// inserted in ascending or descending order leaves full nodes behind, and taking from either end
// moves nothing until a node is nearly empty. The one leaf of a small tree has less room and grows.
//
// Items are the owner's. Their scores and bytes must not change but through btree_change. Scores
// are never NaN, and no two items have the same bytes. Not safe for concurrent use.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#ifndef BTREE_LEAF_MAX // tests make nodes small, to give bugs a chance
#define BTREE_LEAF_FIRST 6
#define BTREE_LEAF_MAX   62 // with BTREE_LEAF_FIRST doubled and 2 added each time: 128 … 1024 bytes
#define BTREE_INNER_MAX  31 // 1024 bytes
#endif
#define BTREE_HEIGHT_MAX                                                                           \
    24 // levels; 3/8 of BTREE_INNER_MAX to that power is more than there can be

struct btree_item {
    double score;
    uint32_t len;
    char bytes[];
};

struct btree_key {
    double score;
    struct btree_item *item;
};

struct btree_node {
    uint16_t count, cap;            // keys: in use, room
    uint32_t height;                // 0: a leaf
    struct btree_node *prev, *next; // leaves: the neighbours, NULL at the ends
    struct btree_key keys[];        // inner nodes: behind these the children, then the totals
};

struct btree {
    struct btree_node *root;         // NULL: empty
    struct btree_node *first, *last; // leaves
    uint64_t count;
    size_t bytes; // of all nodes, usable
};

static inline struct slice btree_item_slice(const struct btree_item *item)
{
    return (struct slice){item->bytes, item->len};
}

void btree_init(struct btree *t);
// Frees the nodes; the items are the owner's.
void btree_free(struct btree *t);
// Frees one node, for freeing a big tree in slices; false when none is left. The tree is good for
// nothing else afterwards. Does not look at items.
bool btree_drain_node(struct btree *t);

// Adds an item that is not in the tree. At either end this costs next to nothing.
void btree_insert(struct btree *t, struct btree_item *item);
// Takes out an item that is in the tree.
void btree_remove(struct btree *t, struct btree_item *item);
// Gives an item in the tree another score; cheap if it changes places with few others or none.
void btree_change(struct btree *t, struct btree_item *item, double score);
// Takes out the items of ranks first … first + count - 1 (all exist), calling removed(arg, item)
// for each, in order; the item may be freed there. O(log n + count).
void btree_remove_ranks(struct btree *t, uint64_t first, uint64_t count,
                        void (*removed)(void *arg, struct btree_item *item), void *arg);

// How many items stand before this one, which is in the tree.
uint64_t btree_rank(const struct btree *t, const struct btree_item *item);
// How many items have a lower score (with_equal: or this one).
uint64_t btree_count_below(const struct btree *t, double score, bool with_equal);
// How many items stand before (score, member), with_equal: or there.
uint64_t btree_count_below_member(const struct btree *t, double score, struct slice member,
                                  bool with_equal);
// The leaf that holds rank `rank` (< count), *index: where in it.
struct btree_node *btree_select(const struct btree *t, uint64_t rank, uint32_t *index);

// Asserts the invariants; for tests.
void btree_validate(const struct btree *t);
