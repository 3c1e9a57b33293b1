// SPDX-License-Identifier: BSD-3-Clause
//
// dump: a value as a string that any Redis from 7.0 on understands (DUMP, RESTORE), and the footer
// that it shares with a dump of all functions.
//
//   +-----------+---------------------+------------------+------------+
//   | type (8)  | value (types/rdb.h) | RDB version (16) | CRC64 (64) |   little endian
//   +-----------+---------------------+------------------+------------+
//
// The version is the oldest that knows the value's layout; the checksum is of all that precedes it.
#pragma once
#include <stdint.h>

#include "base/buf.h"
#include "engine/object.h"

#define DUMP_FOOTER_BYTES 10 // version (16 bits), CRC64, little endian

// Appends the entry's value as DUMP gives it.
void dump_put_entry(struct buf *out, const struct entry *e, bool is_compressed);
// Appends the footer to what `out` holds.
void dump_put_footer(struct buf *out, uint16_t version);
// Is the payload's version one that is read, and its checksum right?
bool dump_has_good_footer(struct slice payload);
