// SPDX-License-Identifier: BSD-3-Clause
#include "engine/notify.h"

#include "base/mem.h"
#include "engine/engine.h"
#include "engine/pubsub.h"

// Publishes to __keyspace@0__:key, or __keyevent@0__:event.
static void publish(struct ctx *ctx, const char *prefix, uint32_t db, struct slice name,
                    struct slice message)
{
    enum { AROUND = 16 + NUM_I64_TEXT };
    char few[256];
    size_t room = AROUND + name.len;
    char *channel = room <= sizeof few ? few : mem_alloc(room), *p = channel;
    p = stpncpy(p, prefix, AROUND);
    p += num_format_u64(p, db);
    memcpy(p, "__:", 3);
    memcpy(p + 3, name.ptr, name.len);
    p += 3 + name.len;
    ctx_publish(ctx, PUBSUB_CHANNEL, (struct slice){channel, (size_t)(p - channel)}, message);
    if (channel != few) mem_free(channel);
}

void notify_event(struct ctx *ctx, uint32_t db, struct slice key, enum event_class class,
                  const char *event)
{
    (void)class;                            // the channels do not tell
    if (ctx->flags & CTX_ON_COPIES) return; // the shard that made them has told
    int64_t flags = ctx->settings->notify_keyspace_events;
    if (pubsub_is_idle(ctx->engine->pubsub[ctx->space->shard])) return;
    if (flags & NOTIFY_KEYSPACE) publish(ctx, "__keyspace@", db, key, slice_of(event));
    if (flags & NOTIFY_KEYEVENT) publish(ctx, "__keyevent@", db, slice_of(event), key);
}
