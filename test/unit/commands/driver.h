// SPDX-License-Identifier: BSD-3-Clause
//
// driver: what the tests of command families share: an embedded database at a fixed time, and a
// check that reads like a session with redis-cli.
#pragma once
#include <stddef.h>

#include "gyre.h"

#define DRIVER_NOW_MS 1700000000000

// A new database whose clock stands at DRIVER_NOW_MS.
struct gyre *driver_open(void);
// Validates and closes it.
void driver_close(struct gyre *g);
// Runs the words of the line (parted by single blanks; '' is an empty word) and asserts that the
// reply is `want`: raw RESP2 with every CRLF written as a blank and the last one left out, e.g. "$2
// ab" or "*2 :1 $-1".
void driver_check(struct gyre *g, const char *file, int line, const char *command,
                  const char *want);
// Runs one command of any bytes; returns the raw reply, to be freed with gyre_free.
char *driver_run(struct gyre *g, int argc, const char *const *argv, const size_t *lens,
                 size_t *len);

#define CHECK(g, command, want) driver_check((g), __FILE__, __LINE__, (command), (want))
