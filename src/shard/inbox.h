// SPDX-License-Identifier: BSD-3-Clause
//
// inbox: the only way into a shard from outside, and the only mutable memory that shards share.
//
// Two doors:
//   parts   what runs in the order in which it entered: parts of operations, which touch the
//           keyspace, messages and connections that move in (operation.h, message.h, handover.h).
//           An operation over several shards enters all their inboxes in one step: inbox_lock in
//           ascending order of shards, inbox_push, inbox_unlock. The order rule (src/README.md)
//           rests on this alone.
//   mail    everything else (finished operations, new connections, the end of a meeting). It may be
//           read while the keyspace is parked, and its order matters to nobody.
//
// Sleeping: the owner says that it sleeps, looks at both doors once more, and only then waits; who
// puts something in looks afterwards whether it sleeps. Both with sequential consistency, so that
// at least one of the two sees the other. Who finds it asleep claims it, and either wakes it or
// stands in for it:
//
//                claim             stand in               stand down
//     ASLEEP -----------> CLAIMED -----------> STOOD_IN --------------> ASLEEP, or CLAIMED
//       | it wakes up        | it wakes up         | it wakes up
//       v                    v                     v      stand down
//     AWAKE                AWAKE                WANTED --------------> AWAKE
//
// While STOOD_IN the shard belongs to the thread that stands in: its owner, if something wakes it,
// waits until that is over. What one of the two did the other sees (acquire, release).
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    bool is_light; // or on that of one that stands in for it (shard.c)
};

enum rest { REST_AWAKE, REST_ASLEEP, REST_CLAIMED, REST_STOOD_IN, REST_WANTED };

struct inbox {
    // One cache line: what a sender of parts touches.
    pthread_mutex_t mutex;
    struct inbox_item *head, *tail; // guarded by mutex
    _Atomic bool has_parts; // head != NULL; written under the mutex, read by the owner without
    // Another: what a sender of mail touches.
    _Atomic(struct mail *) mail __attribute__((aligned(64)));
    _Atomic uint32_t rest; // enum rest
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

// The owner, before it looks at both doors for the last time and waits; and when it has waited.
void inbox_fall_asleep(struct inbox *in);
void inbox_wake_up(struct inbox *in);
// After putting something in: is the owner asleep, and is it up to the caller to see to it?
bool inbox_claim(struct inbox *in);
// Is it claimed still? Else it is awake, or somebody else has seen to it.
static inline bool inbox_is_claimed(struct inbox *in)
{
    return atomic_load(&in->rest) == REST_CLAIMED;
}
// Who has claimed it takes the owner's place. False: it is awake, or somebody else has seen to it.
bool inbox_stand_in(struct inbox *in);
// The owner's place is its own again. True: it sleeps, and the caller must wake it, because of
// must_wake or of what came meanwhile.
bool inbox_stand_down(struct inbox *in, bool must_wake);
