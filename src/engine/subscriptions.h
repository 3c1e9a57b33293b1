// SPDX-License-Identifier: BSD-3-Clause
//
// subscriptions: what one connection is subscribed to. Hangs from its session; NULL there means
// nothing at all, so "is this a subscriber?" is one comparison. Owned by the session's home shard,
// read by all shards while a command of SPAN_SESSION is under way.
#pragma once
#include "ds/names.h"

enum pubsub_kind { PUBSUB_CHANNEL, PUBSUB_PATTERN, PUBSUB_SHARD_CHANNEL, PUBSUB_KINDS };

struct session;

struct subscriptions {
    struct names kinds[PUBSUB_KINDS]; // in the order of subscribing; no data
};

// NULL is fine in all three.
void subscriptions_free(struct subscriptions *s);
uint64_t subscriptions_count(const struct subscriptions *s, enum pubsub_kind kind);
bool subscriptions_have(const struct subscriptions *s, enum pubsub_kind kind, struct slice name);

// The session subscribes to `name`, or not any more; nothing happens if that is so already.
void session_subscribe(struct session *s, enum pubsub_kind kind, struct slice name);
void session_unsubscribe(struct session *s, enum pubsub_kind kind, struct slice name);
