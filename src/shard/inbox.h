// SPDX-License-Identifier: BSD-3-Clause
//
// inbox: the only way into a shard from outside, and the only mutable memory that shards share.
//
// Two doors:
//   parts   what runs in the order in which it entered: parts of operations, which touch the
//   keyspace,
//           and messages (operation.h, message.h). An operation over several
//           shards enters all their inboxes in one step: inbox_lock in ascending order of shards,
//           inbox_push, inbox_unlock. The order rule (src/README.md) rests on this alone.
//   mail    everything else (finished operations, connections moving in, the end of a meeting). It
//           may be read while the keyspace is parked, and its order matters to nobody.
//
// Sleeping: the owner sets is_asleep, looks at both doors once more, and only then waits; who puts
// something in looks at is_asleep afterwards. Both with sequential consistency, so that at least
// one of the two sees the other.
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct shard;

struct inbox_item {
    struct inbox_item *next;                                   // in an inbox or a backlog
    void (*run)(struct shard *shard, struct inbox_item *item); // on the receiving shard's thread
};

// Items in order, owned by one thread.
struct inbox_queue {
    struct inbox_item *first, *last;
};

struct mail {
    struct mail *next;
    void (*deliver)(struct shard *shard, struct mail *mail); // on the receiving shard's thread
};

struct inbox {
    // One cache line: what a sender of parts touches.
    pthread_mutex_t mutex;
    struct inbox_item *head, *tail; // guarded by mutex
    _Atomic bool has_parts; // head != NULL; written under the mutex, read by the owner without
    // Another: what a sender of mail touches.
    _Atomic(struct mail *) mail __attribute__((aligned(64)));
    _Atomic bool is_asleep;
} __attribute__((aligned(64)));

void inbox_init(struct inbox *in);
void inbox_destroy(struct inbox *in);

void inbox_lock(struct inbox *in);
void inbox_unlock(struct inbox *in);
// Appends an item; locked.
void inbox_push(struct inbox *in, struct inbox_item *item);
// Takes all items out, in order; locked.
struct inbox_item *inbox_detach(struct inbox *in);

// Appends a list (NULL: none).
static inline void inbox_queue_append(struct inbox_queue *q, struct inbox_item *list)
{
    if (!list) return;
    if (q->last)
        q->last->next = list;
    else
        q->first = list;
    while (list->next) list = list->next;
    q->last = list;
}

// Takes the first one out; there is one.
static inline struct inbox_item *inbox_queue_pop(struct inbox_queue *q)
{
    struct inbox_item *item = q->first;
    q->first = item->next;
    if (!q->first) q->last = NULL;
    return item;
}

// Takes all out.
static inline struct inbox_item *inbox_queue_take(struct inbox_queue *q)
{
    struct inbox_item *all = q->first;
    q->first = q->last = NULL;
    return all;
}

// Any thread, no lock.
void inbox_post(struct inbox *in, struct mail *mail);
// All mail, oldest first; the owner's thread.
struct mail *inbox_take_mail(struct inbox *in);

static inline bool inbox_has_parts(struct inbox *in)
{
    // Sequentially consistent, as the store: part of the sleeping protocol, and a plain load on
    // x86.
    return atomic_load(&in->has_parts);
}

static inline bool inbox_has_mail(struct inbox *in)
{
    return atomic_load(&in->mail) != NULL;
}

// After putting something in: is the owner asleep, and is it up to the caller to wake it?
bool inbox_claim_wake(struct inbox *in);
