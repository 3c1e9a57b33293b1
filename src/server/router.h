// SPDX-License-Identifier: BSD-3-Clause
//
// router: the thread that listens. It accepts, waits briefly for a connection's first bytes, finds
// the first key in them and hands the connection to the shard that owns that key; one that says
// nothing keyed (or nothing at all for ROUTER_GRACE_MS) goes to the shard with the fewest
// connections. It also takes signals, and owns start and stop.
#pragma once
#include "shard/inbox.h"

struct server;
struct settings;
struct router;

// Opens the listening sockets. NULL: the reason was logged. Owned by the caller.
struct router *router_new(struct server *server);
// Runs until it is decided to stop (stop.h); then no connection is accepted any more.
void router_run(struct router *r);
// Listens on the TCP addresses of `next` instead of the present ones; waits for the router's thread
// to have done it. If they cannot be had, false, and the present ones stay. Any other thread, one
// at a time (the server's mutex).
bool router_listen(struct router *r, const struct settings *next);
// Mail that comes back to `home` when every connection that asked for entry before has been placed
// and is on its way to its shard, if it has sent something. Not while the server stops. Any thread.
struct router_question {
    struct mail mail;
    struct shard *home;
};
void router_ask(struct router *r, struct router_question *question);
// May there be any? See ring_shows_news.
bool router_may_have_newcomers(struct router *r);
// The settings that the router's thread may be using.
const struct settings *router_held_settings(const struct router *r);
// It looks whether it was decided to stop; any thread.
void router_wake(struct router *r);
// Removes the Unix socket's file. The settings are held still.
void router_remove_socket(struct router *r);
void router_free(struct router *r);
