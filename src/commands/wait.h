// SPDX-License-Identifier: BSD-3-Clause
//
// wait: what the commands that wait for keys share (list_block.c, zset_block.c, stream_read.c).
#pragma once
#include "engine/block.h"

// Waits for keys that stand side by side: ctx_block with `request`, whose keys are filled in:
// `count` arguments from `first` on. False if the command must not wait: nothing was replied.
bool wait_for_keys(struct ctx *ctx, struct block_request *request, int first, int count);
