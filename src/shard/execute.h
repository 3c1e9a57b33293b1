// SPDX-License-Identifier: BSD-3-Clause
//
// execute: pieces of a connection's commands run one after the other on a keyspace, their keys
// fetched ahead; after each unit (a command, or a whole transaction) whoever waits for a key that
// it made ready is served.
#pragma once
#include "shard/shard.h"

// Runs pieces linked by `next`, in order, on this shard's keyspace. `ctx` has everything but the
// fields that follow from the piece. with_lengths: fill in each piece's reply_bytes. Only when the
// keyspace is this shard's to touch. ctx->waiter: the (only) command waits.
void shard_execute(struct shard *s, struct ctx *ctx, struct piece *first, bool with_lengths);
