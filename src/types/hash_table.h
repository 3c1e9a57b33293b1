// SPDX-License-Identifier: BSD-3-Clause
//
// hash_table: a big hash: a table (ds/dict.h) of items (types/hash_item.h) and, if a field of it
// ever had an expiry, the heap of those that have one (types/hash_expires.h). Only types/hash*.c
// use it.
//
// Invariants: an item has a place exactly if it is in the heap; item_bytes is the sum of
// mem_good_bytes over all items.
#pragma once
#include "ds/dict.h"
#include "types/hash_expires.h"
#include "types/hash_item.h"

struct hash_table {
    struct dict dict;
    size_t item_bytes;
    struct hash_expires *expires; // owned; NULL: no field ever had an expiry
};

_Static_assert(offsetof(struct hash_table, dict) == 0, "value_table relies on it");

struct hash_table *hash_table_new(void); // empty
struct hash_table *hash_table_copy(const struct hash_table *t);
// Frees about `budget` items; true when all is freed, the table included. In between the table is
// good for nothing else.
bool hash_table_drain(struct hash_table *t, uint32_t budget);
size_t hash_table_bytes(const struct hash_table *t);
// Asserts the invariants; for tests.
void hash_table_validate(const struct hash_table *t);

// NULL if there is no such field. Fields that are due are found, too.
struct hash_item *hash_table_find(const struct hash_table *t, struct slice field);
// Unix ms; -1: it does not expire.
static inline int64_t hash_table_expiry(const struct hash_table *t, const struct hash_item *i)
{
    return hash_item_has_place(i) ? hash_expires_at(t->expires, hash_item_place(i))->at_ms : -1;
}

static inline bool hash_table_is_due(const struct hash_table *t, const struct hash_item *i,
                                     int64_t now_ms)
{
    return hash_item_has_place(i) && hash_table_expiry(t, i) < now_ms;
}

// Adds a field that is not there yet. at_ms: Unix ms, or -1.
void hash_table_add(struct hash_table *t, struct slice field, struct slice value, int64_t at_ms);
// Sets a field. Its expiry goes, unless keeps_expiry and the field is not due. True if it was not
// there, or due.
bool hash_table_set(struct hash_table *t, struct slice field, struct slice value, int64_t now_ms,
                    bool keeps_expiry);
void hash_table_remove(struct hash_table *t, struct hash_item *i);
// at_ms: Unix ms, or -1 to take the expiry away. The item moves.
void hash_table_set_expiry(struct hash_table *t, struct hash_item *i, int64_t at_ms);
// NULL if no field is due.
struct hash_item *hash_table_first_due(const struct hash_table *t, int64_t now_ms);
