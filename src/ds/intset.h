// SPDX-License-Identifier: BSD-3-Clause
//
// intset: a sorted set of integers in one piece of memory, in Redis's own format, so that dumped
// values travel between the two servers as they are.
//
//   +-----------+------------+---------+---------+-- … --+
//   | width(32) | count (32) | integer | integer |       |    all little endian
//   +-----------+------------+---------+---------+-- … --+
//
//   width: 2, 4 or 8, the bytes of every integer; ascending, none twice.
//
// The width is the smallest that was ever needed: it grows, and never shrinks.
//
// Functions that change an intset consume the pointer and return the new one, owned by the caller.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes as drawn above; freed with mem_free.
struct intset;

struct intset *intset_new(void); // empty
struct intset *intset_copy(const struct intset *s);
size_t intset_bytes(const struct intset *s); // of the format
uint32_t intset_count(const struct intset *s);
int64_t intset_at(const struct intset *s, uint32_t index);
// Where it is, or (false) where it would have to be.
bool intset_find(const struct intset *s, int64_t integer, uint32_t *index);
bool intset_has(const struct intset *s, int64_t integer);
// *is_new: it was not there.
struct intset *intset_add(struct intset *s, int64_t integer, bool *is_new);
// *was_there: it was, and is gone.
struct intset *intset_remove(struct intset *s, int64_t integer, bool *was_there);
// Takes out `count` integers from `index` on, which are there.
struct intset *intset_delete(struct intset *s, uint32_t index, uint32_t count);
// Are these bytes from outside an intset, to the last byte? Then intset_from_bytes may take them.
bool intset_is_valid(const void *bytes, size_t len);
struct intset *intset_from_bytes(const void *bytes, size_t len);
void intset_validate(const struct intset *s);
