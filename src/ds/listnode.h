// SPDX-License-Identifier: BSD-3-Clause
//
// listnode: one node of a long list (ds/quicklist.h): its elements, in one of three forms.
//
//   NODE_LISTPACK  a listpack with room around it: [ room … ][ listpack ][ … room ]
//                                                  <-offset->
//   NODE_PACKED    the same elements in less room, for reading only (ds/packed.h)
//   NODE_PLAIN     one element alone, too big for a listpack of the size that nodes have
//
// A push or pop at an end of a listpack moves its frame over the room and nothing else.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "ds/listpack.h"
#include "ds/packed.h"

enum listnode_kind { NODE_LISTPACK, NODE_PLAIN, NODE_PACKED };

struct listnode {
    uintptr_t word;  // address of what is allocated, which it owns, | enum listnode_kind
    uint32_t count;  // elements
    uint32_t offset; // of the listpack in its memory; else 0
};

// How big a listpack may become.
struct listnode_limits {
    uint32_t bytes, elements;
};

static inline enum listnode_kind listnode_kind(const struct listnode *n)
{
    return (enum listnode_kind)(n->word & 15);
}

static inline void *listnode_memory(const struct listnode *n)
{
    return (void *)(n->word & ~(uintptr_t)15);
}

// Of a NODE_LISTPACK.
static inline struct listpack *listnode_listpack(const struct listnode *n)
{
    return (struct listpack *)((char *)listnode_memory(n) + n->offset);
}

// Of a NODE_PLAIN.
struct slice listnode_plain(const struct listnode *n);

// A node of `count` elements in a listpack, which is consumed.
struct listnode listnode_of(struct listpack *lp, uint32_t count);
struct listnode listnode_of_plain(struct slice s);
struct listnode listnode_copy(const struct listnode *n);
void listnode_free(struct listnode *n);
void listnode_validate(const struct listnode *n);

// Makes the node a listpack at the start of its memory, as the functions of ds/listpack.h that
// change one need it; what they return goes back with listnode_put. Not for NODE_PLAIN.
struct listpack *listnode_open(struct listnode *n);
void listnode_put(struct listnode *n, struct listpack *lp);
// Gives back the room around a listpack.
void listnode_close(struct listnode *n);
// Makes a listpack a NODE_PACKED, if that saves enough.
void listnode_pack(struct listnode *n);

// Must s stand alone?
bool listnode_is_big(struct slice s, const struct listnode_limits *limits);
// Is the node a listpack to which s can be added?
bool listnode_fits(const struct listnode *n, struct slice s, const struct listnode_limits *limits);
// Adds s, which fits, at an end. is_one_sided: nothing will be added at the other end.
void listnode_push(struct listnode *n, bool at_head, struct slice s, bool is_one_sided,
                   const struct listnode_limits *limits);
// Takes away one of several elements of a listpack at an end.
void listnode_pop(struct listnode *n, bool at_head);
// Cuts a listpack before its element number `index`, which is not the first; the second half.
struct listnode listnode_split(struct listnode *n, uint32_t index);
// Adds the elements of b to a (both listpacks) and frees b.
void listnode_join(struct listnode *a, struct listnode *b);

bool listnode_has(const struct listnode *n, struct slice s);
// Takes out at most `max` elements equal to s and returns how many; the node's count is not
// changed. A NODE_PLAIN, which must be equal, stays as it is.
uint64_t listnode_remove_equal(struct listnode *n, struct slice s, uint64_t max, bool from_tail);
