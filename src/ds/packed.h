// SPDX-License-Identifier: BSD-3-Clause
//
// packed: the elements of a listpack in fewer bytes, for reading only. A list's inner nodes are
// kept like this (ds/quicklist.h).
//
// A listpack spends two bytes and more on each element beside its text, and eight bits on each
// character although the elements of one list are usually much alike: numbers, hexadecimal ids,
// "user:1041". So here what all elements begin with is stored once, and the rest of them in as many
// bits a character as the different characters that do occur need:
//
//   [header][prefix][alphabet: 2^width characters][lengths: length_width bits each][text: width
//   bits a character][8 bytes that a read may run over]
//
//   10 M elements in nodes of 8 KB    listpack   packed    (used_memory; last two: from 3 M)
//   "element:0000012345", rising       202 MB     21 MB
//   "element:" and 10 random digits    202 MB     63 MB
//   8 random hexadecimal digits        100 MB     44 MB
//   random integers below a million     50 MB     32 MB
//   12 random letters and digits       141 MB    106 MB
//
// Elements that are all integers are stored as differences from the least of them, `width` bits
// each, and have no lengths. In both forms an element's place can be computed (if all are of one
// length) or is found by adding up lengths, so that one element can be read without the others;
// that is why this is not LZF. Packing costs 15 to 35 ns an element, unpacking 30 to 50 ns, reading
// one 5 to 25 ns.
//
// Bit n of a stream is bit n % 8 of its byte n / 8; numbers have their lowest bit first.
#pragma once
#include "ds/listpack.h"

#define PACKED_ITEM_MAX 512 // listpacks with longer elements are not packed: little to gain

// One allocation, freed with mem_free.
struct packed;

// NULL if it would not save at least an eighth. The listpack stays the caller's.
struct packed *packed_new(const struct listpack *lp);
struct packed *packed_copy(const struct packed *p);
// The listpack, byte for byte as it was; owned by the caller.
struct listpack *packed_unpack(const struct packed *p);
size_t packed_bytes(const struct packed *p);
uint32_t packed_count(const struct packed *p);
void packed_validate(const struct packed *p);

// Stands between two elements.
struct packed_cursor {
    const struct packed *packed;
    uint32_t index; // of the element behind it
    uint64_t bit;   // where that begins in the text
    char text[PACKED_ITEM_MAX];
};

// Puts the cursor before element number `index` (at most packed_count).
void packed_seek(struct packed_cursor *c, const struct packed *p, uint32_t index);
// Reads the element behind or before the cursor and steps over it; false if there is none. The item
// is valid until the cursor moves on.
bool packed_next(struct packed_cursor *c, struct item *out);
bool packed_prev(struct packed_cursor *c, struct item *out);
