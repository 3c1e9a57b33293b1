// SPDX-License-Identifier: BSD-3-Clause
//
// invalidate: tells connections that keys changed which they track (engine/tracking.h). An
// invalidation goes to all shards where somebody wants to know of it; there the connections are
// found by their ids.
//
// A connection's own wishes are looked at where it lives: one that has stopped tracking, or has
// gone, still stands in other shards' tables, and gets nothing.
#pragma once
#include "engine/tracking.h"

struct client;
struct worker;

// Takes the invalidation over; from the worker whose thread this is. For host->invalidate.
void invalidate_send(struct worker *from, struct invalidation *inv);
// Tells what has come for connections at home here. Before a command of a connection that tracks:
// then what was changed, and confirmed, before it spoke is told before it is answered.
void invalidate_take(struct worker *w);
// Every shard's copy of the session's prefixes becomes what the session says. From its home.
void invalidate_sync_prefixes(struct worker *home, const struct session *s);
// The connection ends, with nothing of it under way.
void invalidate_leave(struct client *c);
