// SPDX-License-Identifier: BSD-3-Clause
//
// check: what gyre-check does: verifies a data directory, a log or an RDB file, and says what is
// wrong, where, and what can be done. Everything that recovery relies on is looked at, and more:
// every effect and every value is decoded, and transactions are compared between logs.
#pragma once
#include "base/buf.h"

enum check_result { CHECK_GOOD = 0, CHECK_DAMAGED = 1, CHECK_UNREADABLE = 2 }; // exit status

// What may be cut off, after the file was copied to NAME.before-cut.
enum check_cut {
    CHECK_CUT_NOTHING,
    CHECK_CUT_TORN,    // what a power cut left behind the last good frame
    CHECK_CUT_DAMAGED, // also what had been synced: data are lost
};

struct check_options {
    enum check_cut cut;
};

// A log, an RDB file, a directory with a manifest of Gyre or of Redis, or one in which there is
// such a directory. The report, lines of text, is appended.
enum check_result check_path(const char *path, const struct check_options *options,
                             struct buf *report);
