// SPDX-License-Identifier: BSD-3-Clause
//
// protect: may a connection use a protected command (CMD_PROTECTED)? enable-debug-command says so:
// to all, to none, or to those that come over a Unix socket or from this machine's loopback
// address.
#pragma once
#include <stdbool.h>

struct session;
struct settings;

// NULL if it may, else the error to reply.
const char *protect_refusal(const struct settings *settings, const struct session *session);
