// SPDX-License-Identifier: BSD-3-Clause
//
// message: something for connections on several shards (a publication, an invalidation). It enters
// the inboxes of those shards in one indivisible step, so all of them see any two messages, and any
// message and operation, in the same order. But what changes who gets them (SUBSCRIBE, a meeting)
// has all that were sent before it delivered first, also those behind it in its inbox.
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shard/inbox.h"

struct message {
    void (*deliver)(struct shard *shard, struct message *m); // on a target's thread, in the order
                                                             // of its inbox
    void (*free)(struct message *m); // on the thread that was last to deliver it
    _Atomic uint32_t refs;           // shard_send sets it; acquire/release on the way down
};

// Sends it from a shard whose thread this is, which may be a target itself: it is delivered there
// at once if nothing waits in the inbox. shards: ascending, each once. With count 0 it is freed.
void shard_send(struct shard *from, struct message *m, const uint32_t *shards, uint32_t count);
// Is it a message that waits?
bool inbox_item_is_message(const struct inbox_item *item);
