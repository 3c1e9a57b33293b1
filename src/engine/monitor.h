// SPDX-License-Identifier: BSD-3-Clause
//
// monitor: the line that MONITOR's clients get for a command.
#pragma once
#include <stdint.h>

#include "base/buf.h"

// Appends `SECONDS.MICROSECONDS [DB PEER] "command" "arg" …`, which goes out as a simple string.
// now_us: Unix time. peer: as the session has it ("127.0.0.1:5000", "/path:0" for a Unix socket),
// or "lua". Secrets are redacted.
void monitor_format(struct buf *out, int64_t now_us, uint32_t db, const char *peer, int argc,
                    const struct slice *argv);
