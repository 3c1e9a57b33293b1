// SPDX-License-Identifier: BSD-3-Clause
//
// merge: puts the replies of an operation's parts together into what the connection must read:
// request by request in the order they were sent, a split command's portions as one reply.
#pragma once
#include "shard/operation.h"
#include "shard/shard.h"

// Appends the replies of a finished operation to `out`. The parts' replies are used up. `ctx`: at
// home, for a command's `finish`; its reply is `out`.
void merge_replies(struct operation *op, struct ctx *ctx);
