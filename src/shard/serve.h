// SPDX-License-Identifier: BSD-3-Clause
//
// serve: gives what became ready to the commands that wait for it (engine/block.h). Called when a
// whole unit is done; what serving makes ready in turn (a BLMOVE that feeds another) is served,
// too.
#pragma once
#include "engine/block.h"
#include "shard/shard.h"

// Serves what ctx->space's list of ready keys names. `ctx`: of the unit, whose keyspaces may be
// touched; comes back as it was.
void serve_ready(struct shard *s, struct ctx *ctx);

// In a meeting of all shards, before what it is about: serves whom a shard could not alone.
void serve_retrying(struct shard *s, struct ctx *ctx);

// The command of `op` waits now: tells its home.
void serve_note_blocked(struct shard *s, struct operation *op, struct waiter *waiter);
// Home, when it has claimed the waiter to cancel it: ends its operation.
void serve_end_canceled(struct shard *s, struct waiter *waiter);
// Home, when the operation has ended: takes the waiter out of the queues where it still stands.
void serve_dismiss(struct shard *s, struct waiter *waiter);
