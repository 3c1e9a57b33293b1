// SPDX-License-Identifier: BSD-3-Clause
//
// gather: how a read that combines values of several shards runs without stopping them
// (SPAN_GATHER: SUNION, PFCOUNT …). Each shard's portion copies the values of its keys, all at the
// operation's one instant by the order rule; the handler then runs at home, once, with the copies
// in front of it as if they were the database.
#pragma once
#include "shard/operation.h"

// Runs a portion: piece->gathered receives copies of the values of its keys (argv[1] on).
void gather_values(struct ctx *ctx, struct piece *piece);
// Runs the command against what its pieces gathered. ctx: at home, with cmd, argv and reply set.
void gather_run(const struct ctx *ctx, const struct request *r);
// NULL is fine.
void gather_free(struct keyspace *gathered);
