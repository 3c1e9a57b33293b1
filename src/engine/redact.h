// SPDX-License-Identifier: BSD-3-Clause
//
// redact: which arguments of a command are secrets. Whoever shows a command to somebody other than
// its client (MONITOR, SLOWLOG, the crash report) shows them through redact_arg.
#pragma once
#include "base/slice.h"

// Argument number `arg`, or "(redacted)" in its place.
struct slice redact_arg(int argc, const struct slice *argv, int arg);
