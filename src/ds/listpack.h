// SPDX-License-Identifier: BSD-3-Clause
//
// listpack: a list of strings and integers in one piece of memory, in Redis's own format
// (listpack.md, Sanfilippo 2017), so that dumped values travel between the two servers as they are.
//
//   +------------+-----------+---------+---------+-- … --+------+
//   | total (32) | count(16) | element | element |       | 0xff |
//   +------------+-----------+---------+---------+-- … --+------+
//   element: [ encoding and data ][ backlen: the length of those, read from its end ]
//
//   0xxxxxxx                   integer 0 … 127
//   10llllll  bytes            string, length 6 bits
//   110xxxxx x                 integer, 13 bits, signed
//   1110llll l  bytes          string, length 12 bits
//   11110000 llll  bytes       string, length 32 bits, little endian
//   11110001 … 11110100        integer of 16, 24, 32, 64 bits, little endian
//
//   count 65535: unknown, must be counted. backlen: 7 bits a byte, most significant first; all
//   bytes but the first have their high bit set.
//
// Strings that are canonical integers are stored as such; they read back the same. Positions are
// byte offsets of elements: they stay valid until the listpack changes before them, whether it
// moves or not. 0 is no position: the end in both directions.
//
// Functions that change a listpack consume the pointer and return the new one, owned by the caller.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/num.h"
#include "base/slice.h"

#define LISTPACK_HEADER_BYTES 6
#define LISTPACK_EMPTY_BYTES  7
#define LISTPACK_MAX_BYTES    (1u << 30) // none grows beyond (callers convert long before)

// Bytes as drawn above; freed with mem_free.
struct listpack;

// An element that was read: bytes inside the listpack (valid until it changes), or an integer.
struct item {
    const char *ptr; // NULL: an integer
    size_t len;
    int64_t integer;
};

// Its bytes; integers are printed into `scratch` (NUM_I64_TEXT bytes).
static inline struct slice item_slice(const struct item *i, char *scratch)
{
    if (i->ptr) return (struct slice){i->ptr, i->len};
    return (struct slice){scratch, num_format_i64(scratch, i->integer)};
}

static inline struct item item_of(struct slice s)
{
    return (struct item){.ptr = s.ptr, .len = s.len};
}

static inline struct item item_of_integer(int64_t integer)
{
    return (struct item){.integer = integer};
}

// The number that the item is, if it is a canonical integer (stored as one or not).
static inline bool item_integer(const struct item *i, int64_t *out)
{
    if (i->ptr) return num_parse_i64((struct slice){i->ptr, i->len}, out);
    *out = i->integer;
    return true;
}

// --- whole listpacks -----------------------------------------------------------------------------

// Empty, with room for `cap_bytes` (0: as small as can be).
struct listpack *listpack_new(size_t cap_bytes);
struct listpack *listpack_copy(const struct listpack *lp);
// Gives back room that is not used.
struct listpack *listpack_shrink(struct listpack *lp);
size_t listpack_bytes(const struct listpack *lp); // of the format, terminator included
uint32_t listpack_count(const struct listpack *lp);
static inline bool listpack_is_empty(const struct listpack *lp)
{
    return ((const unsigned char *)lp)[LISTPACK_HEADER_BYTES] == 0xff;
}
// Are these bytes from outside a listpack, to the last byte? Then listpack_from_bytes may take
// them. *count: its elements.
bool listpack_is_valid(const void *bytes, size_t len, uint32_t *count);
// A listpack of these bytes, which listpack_is_valid has found good; what they wrote in a longer
// way than need be is written anew, so that equal elements are equal bytes.
struct listpack *listpack_from_bytes(const void *bytes, size_t len);
// What an element of this string would add to listpack_bytes.
size_t listpack_item_bytes(struct slice s);
void listpack_validate(const struct listpack *lp);

// --- reading -------------------------------------------------------------------------------------

// Positions, or 0.
uint32_t listpack_first(const struct listpack *lp);
uint32_t listpack_last(const struct listpack *lp);
uint32_t listpack_next(const struct listpack *lp, uint32_t at);
uint32_t listpack_prev(const struct listpack *lp, uint32_t at);
// The element number `index`; negative: from the end (-1 the last).
uint32_t listpack_seek(const struct listpack *lp, int64_t index);
// How many elements stand before the one at a position.
uint32_t listpack_index(const struct listpack *lp, uint32_t at);
// The element at a position; returns the position of the next, or 0.
uint32_t listpack_get(const struct listpack *lp, uint32_t at, struct item *out);
bool listpack_equals(const struct listpack *lp, uint32_t at, struct slice s);
// The first element from `at` on that equals s, looking at one element and skipping `skip` (a hash
// looks at its fields with skip 1). 0: none, or `at` is 0.
uint32_t listpack_find(const struct listpack *lp, uint32_t at, struct slice s, uint32_t skip);

// --- changing ------------------------------------------------------------------------------------

struct listpack *listpack_append(struct listpack *lp, struct slice s);
struct listpack *listpack_append_integer(struct listpack *lp, int64_t integer);
struct listpack *listpack_append_item(struct listpack *lp, const struct item *i);
struct listpack *listpack_prepend(struct listpack *lp, struct slice s);
// Puts s before the element at *at (0: at the end); *at is then the new element's position.
// s must not lie inside the listpack.
struct listpack *listpack_insert(struct listpack *lp, uint32_t *at, struct slice s);
struct listpack *listpack_insert_integer(struct listpack *lp, uint32_t *at, int64_t integer);
// Puts s in the place of the element at `at`, which keeps its position.
struct listpack *listpack_replace(struct listpack *lp, uint32_t at, struct slice s);
struct listpack *listpack_replace_integer(struct listpack *lp, uint32_t at, int64_t integer);
// Takes out `count` elements from `at` on (all there are, if fewer). What followed them is then at
// `at`; listpack_at says whether anything did.
struct listpack *listpack_delete(struct listpack *lp, uint32_t at, uint32_t count);
// `at` if an element stands there, 0 if the listpack ends there.
uint32_t listpack_at(const struct listpack *lp, uint32_t at);

// --- in memory of the caller's own ---------------------------------------------------------------
// For who keeps room around a listpack (ds/quicklist.c): none of these allocates or moves anything.

#define LISTPACK_ITEM_EXTRA 10 // an element's bytes beyond its string's, at most

// Writes the element of s at p, or so that it ends at p; returns its bytes.
uint32_t listpack_put(char *p, struct slice s);
uint32_t listpack_put_before(char *p, struct slice s);
uint32_t listpack_put_integer(char *p, int64_t integer);
// The header for `bytes` in all (header and terminator included), and the terminator itself.
void listpack_put_frame(struct listpack *lp, uint32_t bytes, uint32_t count);
