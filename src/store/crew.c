// SPDX-License-Identifier: BSD-3-Clause
#include "store/crew.h"

#include <unistd.h>

#include "base/clock.h"

#define PAUSE_US 2000 // between two pauses
#define WAIT_US  500  // between two looks at who has come

void crew_init(struct crew *c, uint32_t count)
{
    *c = (struct crew){.count = count};
    pthread_mutex_init(&c->mutex, NULL);
}

void crew_free(struct crew *c)
{
    pthread_mutex_destroy(&c->mutex);
}

void crew_join(struct crew_member *m, struct crew *c, uint32_t index, void (*pause)(void *arg),
               void *arg)
{
    *m = (struct crew_member){
        .crew = c, .index = index, .pause = pause, .arg = arg, .paused_us = clock_mono_us()};
}

bool crew_has_failed(const struct crew *c)
{
    // Acquire: the error is there.
    return atomic_load_explicit(&c->is_over, memory_order_acquire);
}

static void rest(struct crew_member *m)
{
    if (m->pause) m->pause(m->arg);
    m->paused_us = clock_mono_us();
}

bool crew_breathe(struct crew_member *m)
{
    if (clock_mono_us() - m->paused_us >= PAUSE_US) rest(m);
    return !crew_has_failed(m->crew);
}

bool crew_meet(struct crew_member *m)
{
    struct crew *c = m->crew;
    uint64_t all = ++m->meetings * c->count;
    // Release and acquire: what was done before the meeting is seen behind it.
    atomic_fetch_add_explicit(&c->arrived, 1, memory_order_acq_rel);
    while (atomic_load_explicit(&c->arrived, memory_order_acquire) < all) {
        if (crew_has_failed(c)) return false;
        usleep(WAIT_US);
        if (clock_mono_us() - m->paused_us >= PAUSE_US) rest(m);
    }
    return !crew_has_failed(c);
}

void crew_fail(struct crew *c, const struct dir_error *e)
{
    pthread_mutex_lock(&c->mutex);
    if (!crew_has_failed(c)) {
        c->error = *e;
        atomic_store_explicit(&c->is_over, true, memory_order_release);
    }
    pthread_mutex_unlock(&c->mutex);
}
