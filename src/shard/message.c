// SPDX-License-Identifier: BSD-3-Clause
#include "shard/message.h"

#include "base/jitter.h"
#include "base/mem.h"
#include "shard/shard.h"

// What stands in an inbox for a message.
struct envelope {
    struct inbox_item item;
    struct message *message;
};

static void unref(struct message *m)
{
    jitter();
    // Release, acquire: whatever the others did with it comes before it is freed.
    if (atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1) m->free(m);
}

static void run_envelope(struct shard *s, struct inbox_item *item)
{
    struct envelope *e = CONTAINER_OF(item, struct envelope, item);
    struct message *m = e->message;
    mem_free(e);
    m->deliver(s, m);
    unref(m);
}

bool inbox_item_is_message(const struct inbox_item *item)
{
    return item->run == run_envelope;
}

static struct inbox_item *new_item(struct message *m)
{
    struct envelope *e = mem_alloc(sizeof *e);
    *e = (struct envelope){.item.run = run_envelope, .message = m};
    return &e->item;
}

void shard_send(struct shard *from, struct message *m, const uint32_t *shards, uint32_t count)
{
    struct shard **all = from->group->shards;
    // Relaxed: nobody else knows the message yet. One of the references is this function's own.
    atomic_store_explicit(&m->refs, count + 1, memory_order_relaxed);
    bool is_own_now = false;
    if (count == 1 && shards[0] == from->id && shard_is_clear(from)) {
        m->deliver(from, m);
        unref(m);
        unref(m);
        return;
    }
    for (uint32_t i = 0; i < count; i++) inbox_lock(&all[shards[i]]->inbox);
    for (uint32_t i = 0; i < count; i++) {
        if (all[shards[i]] == from && shard_is_clear(from))
            is_own_now = true;
        else
            inbox_push(&all[shards[i]]->inbox, new_item(m));
    }
    for (uint32_t i = count; i-- > 0;) inbox_unlock(&all[shards[i]]->inbox);
    for (uint32_t i = 0; i < count; i++) {
        if (all[shards[i]] != from) shard_rouse(from, all[shards[i]]);
    }
    if (is_own_now) {
        m->deliver(from, m);
        unref(m);
    }
    unref(m);
}
