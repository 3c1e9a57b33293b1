// SPDX-License-Identifier: BSD-3-Clause
#include "shard/inbox.h"

#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/jitter.h"

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
    atomic_init(&in->rest, REST_AWAKE);
}

void inbox_destroy(struct inbox *in)
{
    pthread_mutex_destroy(&in->mutex);
}

void inbox_lock(struct inbox *in)
{
    jitter();
    pthread_mutex_lock(&in->mutex);
}

void inbox_unlock(struct inbox *in)
{
    pthread_mutex_unlock(&in->mutex);
    jitter();
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
    jitter();
    mail->next = atomic_load_explicit(&in->mail, memory_order_relaxed);
    // Sequentially consistent (hence release): the mail's contents are complete before it is seen,
    // and the sleeping protocol orders this against the load of is_asleep.
    while (!atomic_compare_exchange_weak(&in->mail, &mail->next, mail))
        ;
    jitter();
}

struct mail *inbox_take_mail(struct inbox *in)
{
    jitter();
    // Relaxed look first: an exchange on an empty box would take the line away from its senders.
    if (!atomic_load_explicit(&in->mail, memory_order_relaxed)) return NULL;
    // Acquire: sees what the senders wrote. Release: who finds nothing sees what was done before.
    struct mail *newest = atomic_exchange_explicit(&in->mail, NULL, memory_order_acq_rel);
    struct mail *oldest = NULL;
    while (newest) {
        struct mail *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

// --- sleeping ------------------------------------------------------------------------------------

void inbox_fall_asleep(struct inbox *in)
{
    atomic_store(&in->rest, REST_ASLEEP); // sequentially consistent: the look at the doors is after
    jitter();
}

// The time of a few commands: most often it is over while we spin. If not, that thread may be
// waiting for this very core.
static void wait_while_wanted(struct inbox *in)
{
    enum { SPINS = 64 };
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&in->rest, memory_order_acquire) != REST_WANTED) return;
        cpu_relax();
    }
    while (atomic_load_explicit(&in->rest, memory_order_acquire) == REST_WANTED)
        syscall(SYS_futex, &in->rest, FUTEX_WAIT_PRIVATE, REST_WANTED, NULL, NULL, 0);
}

void inbox_wake_up(struct inbox *in)
{
    jitter();
    uint32_t rest = atomic_load_explicit(&in->rest, memory_order_relaxed), next;
    do next = rest == REST_STOOD_IN ? REST_WANTED : REST_AWAKE;
    while (!atomic_compare_exchange_weak_explicit(&in->rest, &rest, next, memory_order_acq_rel,
                                                  memory_order_relaxed));
    if (next == REST_WANTED) wait_while_wanted(in);
}

bool inbox_claim(struct inbox *in)
{
    jitter();
    uint32_t rest = REST_ASLEEP;
    atomic_thread_fence(memory_order_seq_cst); // the push before, the look at `rest` after
    if (atomic_load_explicit(&in->rest, memory_order_relaxed) != REST_ASLEEP) return false;
    return atomic_compare_exchange_strong(&in->rest, &rest, REST_CLAIMED);
}

bool inbox_stand_in(struct inbox *in)
{
    jitter();
    uint32_t rest = REST_CLAIMED;
    return atomic_compare_exchange_strong(&in->rest, &rest, REST_STOOD_IN);
}

bool inbox_stand_down(struct inbox *in, bool must_wake)
{
    jitter();
    uint32_t rest = REST_STOOD_IN;
    if (atomic_compare_exchange_strong(&in->rest, &rest, must_wake ? REST_CLAIMED : REST_ASLEEP))
        return must_wake || ((inbox_has_parts(in) || inbox_has_mail(in)) && inbox_claim(in));
    atomic_store_explicit(&in->rest, REST_AWAKE, memory_order_release);
    syscall(SYS_futex, &in->rest, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    return false;
}
