// SPDX-License-Identifier: BSD-3-Clause
//
// fanout: which shards a command concerns, and how the commands of one connection become an
// operation. It follows from the command's declaration (span, key specifications) and its keys
// alone.
#pragma once
#include "shard/operation.h"
#include "shard/shard.h"

enum route {
    ROUTE_HOME,  // keyless and quick, or refused: answered at home, at once
    ROUTE_QUIET, // at home, but only when the connection has nothing in flight: it reads or changes
                 // the session, or looks at what earlier commands left behind
    ROUTE_ONE,   // runs whole on one shard
    ROUTE_SPLIT, // in parts on several shards that need not wait for each other
    ROUTE_MEETING, // several shards must meet
};

// A command as a connection read it, on its way to being executed.
struct call {
    struct piece piece; // cmd NULL: refused by engine_admit; executing it writes the error
    enum route route;
    uint32_t shard; // ROUTE_ONE
    bool is_quiet;  // only when the connection has nothing in flight; ROUTE_QUIET and SPAN_SESSION
    bool may_block; // alone in its operation (engine/block.h)
    bool is_subscribing;    // SUBSCRIBE or its kin, over several shards
    bool is_exec;           // EXEC that runs what was queued; alone in its run
    bool is_silent;         // the server's own: no reply, and no monitor sees it
    bool is_routed;         // of a transaction: ROUTE_ONE, found while it was queued
    const char *queued_key; // the first key of a command that is queued now, if shard and
                            // piece.first_hash are its; else NULL
};

// What a connection queued between MULTI and EXEC.
struct transaction {
    struct operation
        *op; // memory for all that is queued, and what it will travel in; owned, or NULL
    struct call *calls;
    uint32_t count;
    bool has_blobs;      // among the arguments: references, owned
    bool is_quiet;       // a command in it must run when nothing is in flight; once they are routed
    struct watch *watch; // what it watches, or NULL; borrowed
    const bool *watched_shards; // by shard; with watch
    const struct command *exec; // the declaration of EXEC
};

// Fills in call->route, shard and the piece's first_key and first_hash. piece.cmd, argv, argc are
// set.
void fanout_route(const struct engine *e, uint32_t home, struct call *call);

// Makes one operation of calls[0..count): a batch, or a meeting (then count is 1). No call is
// ROUTE_QUIET. Arguments are not copied, argv arrays are. `settings` of the ctx fields are taken
// from `op_ctx` (session, db, flags, reply->resp). Calls of ROUTE_HOME are executed here.
struct operation *fanout_operation(struct shard *s, const struct ctx *op_ctx, struct call *calls,
                                   uint32_t count);

// Routes its calls, where that was not done while they were queued.
void fanout_route_queued(const struct engine *e, uint32_t home, struct transaction *t);
// How a transaction runs, once all its calls are routed.
enum exec_route {
    EXEC_HOME,    // everything is at home, or there is one shard
    EXEC_BATCH,   // each shard its part, none waits for another
    EXEC_MEETING, // its shards meet: it watches keys of several, or a command needs it
};
enum exec_route fanout_route_exec(const struct engine *e, uint32_t home,
                                  const struct transaction *t);
// Makes an operation of it, which takes over t->op.
struct operation *fanout_exec(struct shard *s, const struct ctx *op_ctx, struct transaction *t,
                              enum exec_route route);
