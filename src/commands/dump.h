// SPDX-License-Identifier: BSD-3-Clause
//
// dump: the footer of serialised values: of a key (DUMP), and of all functions (FUNCTION DUMP).
#pragma once
#include <stdint.h>

#include "base/buf.h"

#define DUMP_FOOTER_BYTES 10 // version (16 bits), CRC64, little endian

void dump_put_footer(struct buf *out, uint16_t version);
// Is the payload's version one that is read, and its checksum right?
bool dump_has_good_footer(struct slice payload);
