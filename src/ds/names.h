// SPDX-License-Identifier: BSD-3-Clause
//
// names: an ordered set of byte strings, each with some bytes of the owner's beside it: found by
// its bytes, walked in the order in which they were added, one allocation a name. For channels,
// patterns and the like, of which there are many fewer than keys.
//
//   [ struct name ][ data_bytes of the owner's, zero at first ][ the bytes, len ]
//
// Not safe for concurrent use; reading from several threads at once is.
#pragma once
#include "base/slice.h"
#include "ds/dict.h"

struct name {
    struct name *prev, *next; // in the order of adding
    uint32_t len;
    uint32_t at; // where the bytes begin, from the struct on
    char data[] __attribute__((aligned(16)));
};

struct names {
    struct dict index;
    struct name *first, *last;
    uint32_t data_bytes;
};

// data_bytes: room in every name's `data`.
void names_init(struct names *n, uint32_t data_bytes);
// Frees all names; what their data points to is the owner's.
void names_free(struct names *n);

static inline uint64_t names_count(const struct names *n)
{
    return n->index.count;
}

static inline struct slice name_bytes(const struct name *name)
{
    return (struct slice){(const char *)name + name->at, name->len};
}

// NULL if it is not there.
struct name *names_find(const struct names *n, struct slice bytes);
// Adds a name that is not there, at the end. Stays at its address until it is removed.
struct name *names_add(struct names *n, struct slice bytes);
// Takes it out and frees it.
void names_remove(struct names *n, struct name *name);
// Asserts the invariants; for tests.
void names_validate(const struct names *n);
