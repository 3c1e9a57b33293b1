// SPDX-License-Identifier: BSD-3-Clause
//
// idtree: an ordered map from a stream's 128-bit ids to 64-bit words: a B+tree with wide nodes. A
// stream keeps its nodes in one, a consumer group and each consumer what is pending.
//
//    inner  [ count ][ id 0 | id 1 | … ][ child 0 | child 1 | … ]
//    leaf   [ count ][ prev ][ next ][ id 0 | id 1 | … ][ word 0 | word 1 | … ]
//
//    ids[i] of an inner node  <=  every id below children[i]  <  ids[i + 1];  ids[0] is not looked
//    at
//
// Ids come in ascending order nearly always: what is inserted at the end leaves full nodes behind.
// A node that loses its last item goes; one that is less than a quarter full joins a neighbour if
// both are then at most three quarters full. The one leaf of a small tree has less room and grows.
//
// Words are the owner's. Not safe for concurrent use.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef IDTREE_LEAF_MAX      // tests make nodes small, to give bugs a chance
#define IDTREE_LEAF_FIRST 4  // items that the first leaf has room for; doubled when it is full
#define IDTREE_LEAF_MAX   63 // 1536 bytes
#define IDTREE_INNER_MAX  63
#endif
#define IDTREE_HEIGHT_MAX 16 // levels of inner nodes; more ids than 64 bits can count need fewer

struct stream_id {
    uint64_t ms, seq;
};

static inline int stream_id_cmp(struct stream_id a, struct stream_id b)
{
    if (a.ms != b.ms) return a.ms < b.ms ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}

static inline bool stream_id_is_zero(struct stream_id id)
{
    return !id.ms && !id.seq;
}

#define STREAM_ID_MIN ((struct stream_id){0, 0})
#define STREAM_ID_MAX ((struct stream_id){UINT64_MAX, UINT64_MAX})

struct idtree_leaf;

struct idtree {
    void *root; // an inner node, or the leaf if height is 0; NULL: empty
    uint64_t count;
    size_t bytes; // of all nodes, usable
    uint32_t height;
};

// A place in the tree, valid until the tree changes (words may). leaf NULL: none.
struct idtree_cursor {
    struct idtree_leaf *leaf;
    uint32_t at;
};

void idtree_init(struct idtree *t);
// Frees the nodes; the words are the owner's.
void idtree_free(struct idtree *t);

// The word's place, or NULL.
uint64_t *idtree_find(const struct idtree *t, struct stream_id id);
// The word's place, valid until the tree changes; *is_new: it was not there and must be written.
uint64_t *idtree_insert(struct idtree *t, struct stream_id id, bool *is_new);
// False if it is not there. *word (NULL is fine): what it was.
bool idtree_remove(struct idtree *t, struct stream_id id, uint64_t *word);

// The first item at or behind `id`, the last at or before it, the first and last of all.
struct idtree_cursor idtree_seek(const struct idtree *t, struct stream_id id);
struct idtree_cursor idtree_seek_back(const struct idtree *t, struct stream_id id);
struct idtree_cursor idtree_first(const struct idtree *t);
struct idtree_cursor idtree_last(const struct idtree *t);
// Steps to the neighbour; leaf is NULL behind the ends.
void idtree_next(struct idtree_cursor *c);
void idtree_prev(struct idtree_cursor *c);
struct stream_id idtree_id(const struct idtree_cursor *c);
uint64_t *idtree_word(const struct idtree_cursor *c);

// Takes out the last leaf, for freeing a big tree in slices: calls visit (NULL is fine) for each of
// its words. False when the tree is empty.
bool idtree_drain_leaf(struct idtree *t, void (*visit)(uint64_t word, void *arg), void *arg);
// Asserts the invariants; for tests.
void idtree_validate(const struct idtree *t);
