// SPDX-License-Identifier: BSD-3-Clause
//
// list: a list value. Short ones are one listpack (ENC_LISTPACK), long ones a chain of listpacks
// (ENC_QUICKLIST, ds/quicklist.h). Which it is follows from list-max-listpack-size, as in Redis 7.2
// and later: a list becomes a quicklist when one node does not hold it, and a listpack again when
// it has shrunk to half of that.
//
// Indexes count from 0; negative ones from the end.
#pragma once
#include "ds/listpack.h"
#include "ds/quicklist.h"
#include "types/value.h"

struct value list_new(void); // empty
uint64_t list_len(struct value v);
void list_push(struct value *v, bool at_head, struct slice s, const struct value_limits *limits);
// As many list_push, one after the other; cheaper, and what Redis looks at as a whole when it
// decides on the encoding.
void list_push_many(struct value *v, bool at_head, const struct slice *s, size_t count,
                    const struct value_limits *limits);
// Takes the element at an end away; there is one.
void list_pop(struct value *v, bool at_head, const struct value_limits *limits);
// Puts s in the place of the element at an index; false if there is none.
bool list_set(struct value *v, int64_t index, struct slice s, const struct value_limits *limits);
// Puts s before or after the first element that equals pivot; false if none does.
bool list_insert(struct value *v, struct slice pivot, bool is_after, struct slice s,
                 const struct value_limits *limits);
// Takes out elements equal to s: count > 0: at most so many, from the head; < 0: from the tail;
// 0: all. Returns how many went.
uint64_t list_remove(struct value *v, struct slice s, int64_t count,
                     const struct value_limits *limits);
// Takes out `count` elements from index `start` (>= 0) on; the list has them.
void list_remove_range(struct value *v, uint64_t start, uint64_t count,
                       const struct value_limits *limits);

// Walks from an index towards the tail, or (is_reverse) towards the head. The list must not change.
// The items are valid until the next call.
struct list_iter {
    uint64_t left; // elements
    bool is_reverse;
    const struct listpack *lp;      // of short lists: the list …
    uint32_t at;                    // … and the position in it
    struct quicklist_cursor cursor; // of long ones
};
void list_iter_init(struct list_iter *it, struct value v, int64_t index, bool is_reverse);
bool list_iter_next(struct list_iter *it, struct item *out);
// One element; false if there is none at this index. *out is valid as long as *scratch is and the
// list does not change.
bool list_get(struct list_iter *scratch, struct value v, int64_t index, struct item *out);

// Walks the elements equal to `s` (which stays the caller's), looking at no more than `max`
// elements from the head, or (is_reverse) from the tail.
struct list_search {
    int64_t index; // of the element found last
    struct slice wanted;
    bool is_integer;
    int64_t integer;
    struct list_iter iter;
};
void list_search_init(struct list_search *search, struct value v, struct slice s, bool is_reverse,
                      uint64_t max);
bool list_search_next(struct list_search *search);

// --- whole pieces, for RDB -----------------------------------------------------------------------

// The pieces a list is made of, from head to tail: listpacks, or strings that stand alone because
// no listpack should hold them.
struct list_piece {
    bool is_plain;     // a string; else a listpack's bytes
    const void *bytes; // valid until the next call
    size_t len;
};
struct list_pieces {
    struct value list;
    struct quicklist_at at;
    struct listpack *scratch; // owned
    bool is_done;
};
uint64_t list_piece_count(struct value v); // 0 for an empty list
void list_pieces_init(struct list_pieces *p, struct value v);
// False at the end, or after it; frees what it needed then.
bool list_pieces_next(struct list_pieces *p, struct list_piece *out);
// Frees what a walk needed that is given up before its end.
void list_pieces_free(struct list_pieces *p);

// Append a whole piece at the tail. The bytes are copied; listpack_is_valid has found them good,
// and empty listpacks are left out. The encoding is right after each.
void list_append_listpack(struct value *v, const void *bytes, size_t len,
                          const struct value_limits *limits);
void list_append_plain(struct value *v, struct slice s, const struct value_limits *limits);

// --- as for every type (types/value.h) -----------------------------------------------------------

void list_free(struct value v);
struct value list_copy(struct value v);
size_t list_memory_bytes(struct value v);
uint64_t list_parts(struct value v);
bool list_drain(struct value *v, uint32_t budget);
void list_validate(struct value v);
