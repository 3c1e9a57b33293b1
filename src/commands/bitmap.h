// SPDX-License-Identifier: BSD-3-Clause
//
// bitmap: what the commands on bits (bitmap.c, bitfield.c) share.
#pragma once
#include "engine/ctx.h"

// Reads the position of a bit from argument `arg`. With unit_bits > 0 it may be "#n": n units of so
// many bits. Replies the error and returns false if it is no number, or beyond the longest string.
bool bitmap_arg_offset(struct ctx *ctx, int arg, unsigned unit_bits, uint64_t *offset);
