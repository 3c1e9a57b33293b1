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
// The call runs now: does what it means to the queue.
void transaction_apply(struct client *c, struct call *call);
// Has the transaction that EXEC would run commands that write?
bool transaction_writes(const struct client *c);

// What was queued, with its arguments.
void transaction_free_calls(struct call *calls, uint32_t count);
// EXEC has run, or will: nothing is queued or watched any more. The watch was taken over.
void transaction_end(struct client *c);
// DISCARD, RESET, the end of the connection: forgets the queue and what is watched.
void transaction_forget(struct client *c);
