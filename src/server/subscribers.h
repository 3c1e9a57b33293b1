// SPDX-License-Identifier: BSD-3-Clause
//
// subscribers: which connections at home on a worker get what is published to a channel, a pattern
// or a shard channel; and how messages reach them. The counterpart of engine/pubsub.h, which knows
// the shards, not the connections.
//
// Owned by the worker's thread.
#pragma once
#include "engine/pubsub.h"

struct client;
struct worker;

struct subscribers {
    struct names kinds[PUBSUB_KINDS]; // each with the connections, in the order of subscribing
};

void subscribers_init(struct subscribers *s);
void subscribers_free(struct subscribers *s);
// The connection's worker hands it what is published to `name`, or does not any more.
void subscribers_change(struct client *c, enum pubsub_kind kind, struct slice name, bool on);
// Ends all subscriptions of a connection (it dies, or is RESET): here at once, in the other shards'
// copies by a message that enters all inboxes in one step. It may not be in the middle of a command
// that changes them (SPAN_SESSION).
void subscribers_leave(struct client *c);
// Takes a message to the connections at home on `shards` (ascending), from the worker whose thread
// this is. For host->publish.
void subscribers_publish(struct worker *from, const struct publication *publication,
                         const uint32_t *shards, uint32_t count);
