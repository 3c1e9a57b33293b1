// SPDX-License-Identifier: BSD-3-Clause
//
// notify: keyspace notifications. What happened to a key is published like any other message:
//
//     __keyspace@0__:user:7  "set"       (K in notify-keyspace-events)
//     __keyevent@0__:set     "user:7"    (E)
//
// So they are ordered as the changes of one shard are, and of all shards as far as a subscriber can
// tell: what was changed later, by whoever had seen the earlier change, is told later.
#pragma once
#include "engine/ctx.h"
#include "engine/settings.h"

// Tells subscribers, if there are any; the class has been looked for in the settings.
void notify_event(struct ctx *ctx, uint32_t db, struct slice key, enum event_class class,
                  const char *event);

// The same with the look at the settings.
static inline void notify(struct ctx *ctx, uint32_t db, struct slice key, enum event_class class,
                          const char *event)
{
    if (UNLIKELY(ctx->settings->notify_keyspace_events & (int64_t) class))
        notify_event(ctx, db, key, class, event);
}
