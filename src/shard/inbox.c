// SPDX-License-Identifier: BSD-3-Clause
#include "shard/inbox.h"

#include <stddef.h>

void inbox_init(struct inbox *in)
{
    // Adaptive: held for a few dozen instructions, so a short spin beats a system call.
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&in->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    in->head = in->tail = NULL;
    atomic_init(&in->has_parts, false);
    atomic_init(&in->mail, NULL);
    atomic_init(&in->is_asleep, false);
}

void inbox_destroy(struct inbox *in)
{
    pthread_mutex_destroy(&in->mutex);
}

void inbox_lock(struct inbox *in)
{
    pthread_mutex_lock(&in->mutex);
}

void inbox_unlock(struct inbox *in)
{
    pthread_mutex_unlock(&in->mutex);
}

void inbox_push(struct inbox *in, struct inbox_item *item)
{
    item->next = NULL;
    if (in->tail)
        in->tail->next = item;
    else
        in->head = item;
    in->tail = item;
    if (!atomic_load_explicit(&in->has_parts, memory_order_relaxed)) // only changed under the mutex
        atomic_store(&in->has_parts, true);
}

struct inbox_item *inbox_detach(struct inbox *in)
{
    struct inbox_item *head = in->head;
    if (!head) return NULL;
    in->head = in->tail = NULL;
    // Relaxed: the owner itself clears it, and only the owner reads it without the mutex.
    atomic_store_explicit(&in->has_parts, false, memory_order_relaxed);
    return head;
}

void inbox_post(struct inbox *in, struct mail *mail)
{
    mail->next = atomic_load_explicit(&in->mail, memory_order_relaxed);
    // Sequentially consistent (hence release): the mail's contents are complete before it is seen,
    // and the sleeping protocol orders this against the load of is_asleep.
    while (!atomic_compare_exchange_weak(&in->mail, &mail->next, mail))
        ;
}

struct mail *inbox_take_mail(struct inbox *in)
{
    // Relaxed look first: an exchange on an empty box would take the line away from its senders.
    if (!atomic_load_explicit(&in->mail, memory_order_relaxed)) return NULL;
    // Acquire: sees what the senders wrote.
    struct mail *newest = atomic_exchange_explicit(&in->mail, NULL, memory_order_acquire);
    struct mail *oldest = NULL;
    while (newest) {
        struct mail *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

bool inbox_claim_wake(struct inbox *in)
{
    atomic_thread_fence(memory_order_seq_cst); // the push before, the look at is_asleep after
    if (!atomic_load_explicit(&in->is_asleep, memory_order_relaxed)) return false;
    return atomic_exchange(&in->is_asleep, false);
}
