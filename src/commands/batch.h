// SPDX-License-Identifier: BSD-3-Clause
//
// batch: commands with many keys (MGET, MSET, DEL …) look a few of them up at a time, so that the
// cache misses of one overlap with those of the others.
#pragma once
#include "engine/ctx.h"

// Keys fetched ahead: enough to fill the ten or so misses that a core keeps in flight, few enough
// to stay in L1.
#define BATCH_KEYS 16

// A walk over the keys argv[next], argv[next + step] … in front of `end`.
struct batch {
    struct ctx *ctx;
    int next, step, end;
    int fetched; // keys of the present window that were not handed out yet
    uint64_t hashes[BATCH_KEYS];
    int window; // keys in the window
};

void batch_start(struct batch *b, struct ctx *ctx, int first, int step);
// The argument index of the next key, 0 when there is none. The key's hash is left in the ctx, so
// that the look-up that follows does not compute it again.
int batch_next(struct batch *b);
