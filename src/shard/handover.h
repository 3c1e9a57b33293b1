// SPDX-License-Identifier: BSD-3-Clause
//
// handover: a connection moves to another shard. That is a step in the order of operations: who
// asks all shards for their connections (CLIENT LIST, CLIENT KILL) finds it on exactly one of them.
#pragma once
#include "shard/shard.h"

struct handover {
    struct inbox_item item;
    // It leaves: nothing waits there that should still find it. Both inboxes are locked.
    void (*leave)(struct handover *h);
    // It lives here now; on the receiving shard's thread.
    void (*arrive)(struct shard *to, struct handover *h);
};

// On the thread of `from`. False: something waits in `from`, and nothing was done.
bool handover_begin(struct handover *h, struct shard *from, struct shard *to);
// Is this one that waits?
bool inbox_item_is_handover(const struct inbox_item *item);
