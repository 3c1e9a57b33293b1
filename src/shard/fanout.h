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
};

// Fills in call->route, shard and the piece's first_key and first_hash. piece.cmd, argv, argc are
// set.
void fanout_route(const struct engine *e, uint32_t home, struct call *call);

// Makes one operation of calls[0..count): a batch, or a meeting (then count is 1). No call is
// ROUTE_QUIET. Arguments are not copied, argv arrays are. `settings` of the ctx fields are taken
// from `op_ctx` (session, db, flags, reply->resp). Calls of ROUTE_HOME are executed here.
struct operation *fanout_operation(struct shard *s, const struct ctx *op_ctx, struct call *calls,
                                   uint32_t count);
