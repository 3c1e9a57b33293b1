// SPDX-License-Identifier: BSD-3-Clause
//
// interest: who wants to know of a key's changes: transactions that watch it (WATCH), and commands
// that wait for it (engine/block.h). One table a keyspace, by database index and key; whether the
// key exists does not matter. The write tail (engine/commit.c) looks here after every change, which
// costs one comparison while nobody is interested.
//
//     keyspace.interests    db 0 "q"   waiters:  link <-> link      in order of arrival
//                                      watches:  link <-> link
//
// A key that changed while somebody waits for it is *ready*: it joins the list of the keyspace
// whose thread runs the command, in the order in which keys became ready, until the unit (command,
// transaction, script) is done.
//
// Owned as the keyspace is.
#pragma once
#include <stdatomic.h>

#include "engine/ctx.h"

struct watch_link {
    struct watch_link *next;             // of the same watch on the same shard
    struct watch_link *next_of, **at_of; // of the same key
    struct interest *interest;
    struct watch *watch;
};

struct interest {
    struct keyspace *space;
    struct wait_link *first, *last;
    struct watch_link *watches;
    struct interest *next_ready;
    bool is_ready, is_held; // held: not freed, somebody walks its queue
    uint32_t db, key_len;
    char key[];
};

static inline struct slice interest_key(const struct interest *i)
{
    return (struct slice){i->key, i->key_len};
}

// Creates it if need be.
struct interest *interest_get(struct keyspace *ks, uint32_t db, struct slice key);
// Frees it if nobody is interested any more and it is not in a list of ready keys.
void interest_settle(struct interest *i);
// The key changed in whatever way.
void interest_changed(struct ctx *ctx, uint32_t db, struct slice key);
// The key may have something for who waits for it, though it did not change.
void interest_ready(struct ctx *ctx, uint32_t db, struct slice key);
// A database (-1: all) is about to be emptied: its keys are still there.
void interest_flushing(struct ctx *ctx, int db);
// Two databases have changed places.
void interest_swapped(struct ctx *ctx, uint32_t a, uint32_t b);
// The next ready key, taken off the list of `ks`; NULL: none. The caller settles it.
struct interest *interest_take_ready(struct keyspace *ks);
// It is the next again.
void interest_put_back(struct keyspace *ks, struct interest *i);
// All that are ready in `from` are in `to`, behind those there.
void interest_move_ready(struct keyspace *to, struct keyspace *from);
// Empties the table of a keyspace that is freed.
void interests_free(struct keyspace *ks);

// --- WATCH
// -----------------------------------------------------------------------------------------

// What one connection watches. Made by its home; the links of each shard belong to that shard.
struct watch {
    _Atomic bool is_dirty; // a watched key changed. Release/acquire: who sees it unset in a meeting
                           // or on the key's own shard knows that none of its keys there changed
    _Atomic uint32_t refs; // the connection and every shard that has links
    uint32_t shard_count;
    struct watch_link *links[]; // by shard
};

struct watch *watch_new(uint32_t shard_count);
void watch_unref(struct watch *w);
// Watches a key of this keyspace.
void watch_add(struct watch *w, struct keyspace *ks, uint32_t db, struct slice key);
// Forgets the keys of this keyspace.
void watch_drop(struct watch *w, struct keyspace *ks);
// Is every watched key of ctx's keyspaces as it was? Keys whose time has come count as changed.
bool watch_is_intact(struct watch *w, struct ctx *ctx);
