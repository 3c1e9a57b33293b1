// SPDX-License-Identifier: BSD-3-Clause
//
// block: commands that wait until a key has something for them (BLPOP, BZPOPMIN, XREAD BLOCK,
// WAIT).
//
// A handler first tries like any other. If there is nothing it calls ctx_block and returns without
// a reply: a waiter now stands in a queue at each of its keys, in order of arrival, on the shards
// of those keys. Whoever makes such a key ready (ctx_commit notes it) serves it when its whole
// command, transaction or script is done: the first waiter that can be *claimed* gets its
// command's `serve` called, with the key that is ready.
//
//     key "q" (shard 1)   queue:  link -> link -> link          a link belongs to its key's shard
//                                   |       |
//     key "r" (shard 0)   queue:  link      |
//                                    \      |
//                                   waiter  waiter              one per blocked command
//
// Served at most once: serving, timeout, CLIENT UNBLOCK and the end of the connection all settle by
// one compare-and-swap of waiter->state. The home shard (of the connection) keeps the time.
#pragma once
#include "engine/block_arg.h"
#include "engine/ctx.h"

enum waiter_state {
    WAITER_WAITING,
    WAITER_CLAIMED,  // somebody serves it, or has
    WAITER_CANCELED, // timed out, unblocked or gone: the home shard ends it
};

enum block_flag {
    BLOCK_NEEDS_ALL_KEYS = 1u << 0, // serving touches all keys of the command (BLMOVE), not just
                                    // the one that is ready
    BLOCK_UNTIL_GONE = 1u << 1,     // serve is called, too, when the key was deleted or has another
                                    // type now (XREADGROUP)
};

struct block_request {
    const int *keys;       // arguments that name the keys to wait for, in the order of preference
    int key_count;         // 0: only time ends it (WAIT)
    enum object_type type; // of a value that may serve
    int64_t timeout_ms;    // from now; 0: for ever
    enum block_timeout on_timeout;
    uint32_t flags;           // enum block_flag
    const struct slice *argv; // what `serve` shall see in place of ctx->argv (as many), or NULL:
                              // XREAD replaces $ by the id that it stood for
};

struct waiter;
struct operation;

struct wait_link {
    struct waiter *waiter;
    struct wait_link *prev, *next; // in its key's queue
    struct interest *interest;     // the key's; NULL: not in a queue. Owned by the key's shard
    uint32_t shard;
};

// Why home ends a command that nobody served.
enum waiter_end { WAITER_TIMED_OUT, WAITER_UNBLOCKED };

struct waiter {
    _Atomic uint32_t state;   // enum waiter_state
    _Atomic bool is_unwanted; // home wants to end it
    _Atomic uint32_t refs;    // its operation, each link in a queue, each message about it
    enum waiter_end end;      // written by home before is_unwanted
    uint32_t home, db, flags; // flags: enum block_flag
    enum object_type type;
    enum block_timeout on_timeout;
    int64_t deadline_ms; // Unix ms; INT64_MAX: none
    const struct command *cmd;
    struct slice *argv; // owned with its bytes
    int argc;
    struct session *session;
    struct reply reply; // what it was served; whoever claimed it writes it
    struct engine *engine;
    struct operation *owner; // the shard layer's; in being until the command has ended
    int link_count;
    struct wait_link links[];
};

// The command waits from now on; the handler returns without a reply. False where nothing may wait
// (inside a transaction or a script): the handler replies what a timeout would.
bool ctx_block(struct ctx *ctx, const struct block_request *request);

// --- settling ------------------------------------------------------------------------------------

// True if it is this caller's now, to serve or to end.
bool waiter_claim(struct waiter *w, enum waiter_state to);
// There was nothing for it: it waits again. False if home wants to end it meanwhile: then the
// caller must (waiter_end).
bool waiter_unclaim(struct waiter *w);
// Home: ends it. True if the caller must (waiter_end); else who has claimed it will, or serves it.
bool waiter_cancel(struct waiter *w, enum waiter_end end);
// Writes its reply. Who has canceled it.
void waiter_end(struct waiter *w);

void waiter_unref(struct waiter *w);
// Takes a link out of its queue, if it is in one; the thread that owns the key's keyspace.
void waiter_unlink(struct wait_link *link);
// All its links on this shard. The caller holds a reference.
void waiter_unlink_all(struct waiter *w, uint32_t shard);
