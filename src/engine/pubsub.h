// SPDX-License-Identifier: BSD-3-Clause
//
// pubsub: one shard's copy of who has subscribers: for each channel and pattern, on which shards
// and how many connections. Every shard has the same copy, changed by operations that enter all
// shards in one step (SUBSCRIBE and its kin, SPAN_SESSION), so a publisher needs only its own. Who
// the subscribers are only their home knows (server/subscribers.h).
//
//   PUBLISH on shard 1 --> its copy: "news" has subscribers at shards 0 and 3, "n*" at shard 3
//                      --> one message enters the inboxes of 0 and 3 in one step
//                      --> each finds its connections and writes to them
//
// Owned by the shard's thread, or by the runner of a meeting while it is parked.
#pragma once
#include "engine/ctx.h"
#include "engine/subscriptions.h"

struct pubsub;

struct pubsub *pubsub_new(uint32_t shard_count);
void pubsub_free(struct pubsub *p);
// `delta` more (fewer) connections at home on shard `home` subscribe to `name`.
void pubsub_change(struct pubsub *p, enum pubsub_kind kind, struct slice name, uint32_t home,
                   int delta);
// All of a connection's subscriptions end, which was at home on shard `home`.
void pubsub_forget(struct pubsub *p, const struct subscriptions *s, uint32_t home);
// How many connections subscribe to `name`.
uint64_t pubsub_subscribers(const struct pubsub *p, enum pubsub_kind kind, struct slice name);
// All channels or patterns that have subscribers; they have data of pubsub's own.
const struct names *pubsub_names(const struct pubsub *p, enum pubsub_kind kind);
// How many there are. Any thread: a figure of the moment.
uint64_t pubsub_count(const struct pubsub *p, enum pubsub_kind kind);
// Nobody subscribes to any channel or pattern: publishing would reach nobody.
bool pubsub_is_idle(const struct pubsub *p);
// Asserts the invariants; for tests.
void pubsub_validate(const struct pubsub *p);

// What is published, for host->publish to take to the shards.
struct publication {
    enum pubsub_kind kind; // PUBSUB_CHANNEL: patterns are matched, too; or PUBSUB_SHARD_CHANNEL
    struct slice channel, message;
};

// Publishes: the message enters the inboxes of all shards with receivers in one step. Returns how
// many receive it. kind: as in struct publication.
uint64_t ctx_publish(struct ctx *ctx, enum pubsub_kind kind, struct slice channel,
                     struct slice message);
