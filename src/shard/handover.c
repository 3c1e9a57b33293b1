// SPDX-License-Identifier: BSD-3-Clause
#include "shard/handover.h"
#include "base/jitter.h"

static void run_handover(struct shard *s, struct inbox_item *item)
{
    struct handover *h = CONTAINER_OF(item, struct handover, item);
    h->arrive(s, h);
    jitter();
    // Release: the ring knows of it (catch_up.c).
    atomic_fetch_sub_explicit(&s->moving_in, 1, memory_order_release);
}

bool inbox_item_is_handover(const struct inbox_item *item)
{
    return item->run == run_handover;
}

bool handover_begin(struct handover *h, struct shard *from, struct shard *to)
{
    struct inbox *low = &(from->id < to->id ? from : to)->inbox;
    struct inbox *high = &(from->id < to->id ? to : from)->inbox;
    inbox_lock(low);
    inbox_lock(high);
    bool is_clear = shard_is_clear(from);
    if (is_clear) {
        h->leave(h);
        h->item.run = run_handover;
        // Relaxed: under the lock, and before it has left for who looks there.
        atomic_fetch_add_explicit(&to->moving_in, 1, memory_order_relaxed);
        inbox_push(&to->inbox, &h->item);
    }
    inbox_unlock(high);
    inbox_unlock(low);
    if (is_clear) shard_rouse(from, to);
    return is_clear;
}
