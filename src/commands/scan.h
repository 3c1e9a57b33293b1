// SPDX-License-Identifier: BSD-3-Clause
//
// scan: what the shard layer must know of SCAN's cursors (see scan.c).
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

// The shard at which an iteration that has come to this cursor goes on; 0 if it is no cursor (the
// handler says so to the client).
uint32_t scan_cursor_shard(struct slice cursor, uint32_t shard_count);
// Is this the cursor of an iteration's first page? That one meets: see scan.c.
bool scan_cursor_is_start(struct slice cursor);
