// SPDX-License-Identifier: BSD-3-Clause
//
// transaction: what a connection queues between MULTI and EXEC, and what it watches.
//
// MULTI, EXEC, DISCARD, WATCH and UNWATCH act while a request is *read*, not when it runs: whether
// the next request is queued does not depend on what the ones before it answer. So a pipeline of
// transactions flows like any other. A queued command answers +QUEUED at home; EXEC stands alone in
// its run, and its commands enter the shards' inboxes in one step (shard/fanout.h fanout_exec).
//
// Home's thread.
#pragma once
#include "shard/fanout.h"

struct client;

struct queue { // of one connection; all zero when it has none
    struct transaction t;
    uint32_t cap;
    bool *watched_shards; // owned; by shard
};

// What transactions have to say about a call that was read, admitted and routed: it may be routed
// anew. Changes nothing else: the call may still be put off.
void transaction_route(struct client *c, struct call *call);
// The call, which has been routed, is answered one of these lines instead of being run (exec_line:
// if it is EXEC, which drops the transaction; else EXEC will refuse).
void transaction_refuse(struct client *c, struct call *call, const char *line,
                        const char *exec_line);
// Is it one that would be put into the transaction?
bool transaction_queues(const struct call *call);
// Or one that is answered why it can neither run nor be put into one?
bool transaction_refuses(const struct client *c, const struct call *call);
// Has WATCH answer without a look at its keys: for EXEC they count as changed.
void transaction_watch_blindly(const struct client *c, struct call *call);
// The call runs now: does what it means to the queue.
void transaction_apply(struct client *c, struct call *call);
// Has the transaction that EXEC would run commands that write? That publish?
bool transaction_writes(const struct client *c);
bool transaction_publishes(const struct client *c);

// Frees what was queued, and the operation that it lies in.
void transaction_free(struct operation_pool *pool, struct transaction *t);
// The references that these calls hold.
void transaction_unref_blobs(struct call *calls, uint32_t count);
// EXEC has run, or will: nothing is queued or watched any more. The watch was taken over.
void transaction_end(struct client *c);
// DISCARD, RESET, the end of the connection: forgets the queue and what is watched.
void transaction_forget(struct client *c);
