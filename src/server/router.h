// SPDX-License-Identifier: BSD-3-Clause
//
// router: the thread that listens. It accepts, waits briefly for a connection's first bytes, finds the
// first key in them and hands the connection to the shard that owns that key; one that says nothing keyed (or
// nothing at all for ROUTER_GRACE_MS) goes to the shard with the fewest connections. It also takes
// signals, and owns start and stop.
#pragma once

struct server;
struct router;

// Opens the listening sockets. NULL: the reason was logged. Owned by the caller.
struct router *router_new(struct server *server);
// Runs until the server is to stop; then no connection is accepted any more.
void router_run(struct router *r);
// Makes router_run return; any thread.
void router_stop(struct router *r);
void router_free(struct router *r);
