// SPDX-License-Identifier: BSD-3-Clause
//
// block_arg: timeouts of commands that wait (engine/block.h), as arguments and as replies.
#pragma once
#include "engine/ctx.h"

enum block_timeout { TIMEOUT_NULL_ARRAY, TIMEOUT_NULL, TIMEOUT_ZERO }; // what a timeout replies

void block_reply_timeout(struct reply *reply, enum block_timeout on_timeout);

// A timeout argument, in seconds with fractions (BLPOP …) or in milliseconds (XREAD, WAIT), as
// Redis reads it. Replies the error and returns false.
bool block_arg_seconds(struct ctx *ctx, int arg, int64_t *timeout_ms);
bool block_arg_ms(struct ctx *ctx, int arg, int64_t *timeout_ms);
