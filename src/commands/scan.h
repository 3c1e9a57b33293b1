// SPDX-License-Identifier: BSD-3-Clause
//
// scan: what SCAN, SSCAN, HSCAN and ZSCAN have in common, and what the shard layer must know of
// SCAN's cursors (see scan.c).
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "engine/ctx.h"

// --- cursors of SCAN -----------------------------------------------------------------------------

// The shard at which an iteration that has come to this cursor goes on; 0 if it is no cursor (the
// handler says so to the client).
uint32_t scan_cursor_shard(struct slice cursor, uint32_t shard_count);
// Is this the cursor of an iteration's first page? That one meets: see scan.c.
bool scan_cursor_is_start(struct slice cursor);

// --- for all of them -----------------------------------------------------------------------------

struct scan_options {
    uint64_t cursor;
    int64_t count;        // COUNT, at least 1
    struct slice pattern; // MATCH; ptr NULL: everything matches
    struct slice type;    // TYPE (SCAN only); ptr NULL: any
    bool has_novalues;    // NOVALUES (HSCAN only)
};

// Reads the cursor, argument `first_arg`, and the options behind it. Replies the error and returns
// false if something does not fit.
bool scan_options_parse(struct ctx *ctx, int first_arg, struct scan_options *o);
// For SSCAN, HSCAN and ZSCAN all that comes before the walk, in Redis's order: reads the cursor
// (argument 2), looks up the key (argument 1), checks its type, reads the options. False if a reply
// has been given: an error, or the empty page of a key that does not exist.
bool scan_begin(struct ctx *ctx, enum object_type type, struct scan_options *o, struct entry **e);
// Does this name match the pattern?
bool scan_matches(const struct scan_options *o, struct slice name);
// How many buckets a page may look at, so that sparse tables make no long pages.
uint64_t scan_max_buckets(const struct scan_options *o);
// The beginning of the reply: an array of two, with the next cursor. What was found comes next, as
// an array.
void scan_reply_cursor(struct ctx *ctx, uint64_t next_cursor);
