// SPDX-License-Identifier: BSD-3-Clause
//
// crew: threads that do one job together, in stages, and have something else to do now and then,
// which they must not put off for long (workers answer their clients while the data are loaded).
//
//   each thread:  crew_join(&member, &crew, index, pause, arg)
//                 work, with crew_breathe(&member) every now and then
//                 crew_meet(&member)      all have come here
//                 ...
//
// Whoever fails says so to the crew (crew_fail); then breathe and meet say false to all, and each
// returns from what it is doing. The first failure is the crew's.
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/dir.h"

struct crew {
    uint32_t count;
    _Atomic uint64_t arrived; // of all members, at all meetings so far
    _Atomic bool is_over;     // somebody failed
    pthread_mutex_t mutex;    // guards error
    struct dir_error error;   // if is_over: why
};

struct crew_member { // its thread's
    struct crew *crew;
    uint32_t index;
    void (*pause)(void *arg);
    void *arg;
    int64_t paused_us; // monotonic: when it paused last
    uint64_t meetings; // that it came to
};

void crew_init(struct crew *c, uint32_t count);
void crew_free(struct crew *c);
// pause may be NULL.
void crew_join(struct crew_member *m, struct crew *c, uint32_t index, void (*pause)(void *arg),
               void *arg);
// Pauses if it is time to. False: the crew has failed. Costs a look at the clock.
bool crew_breathe(struct crew_member *m);
// Waits for all others, pausing meanwhile: what each did before is seen by all afterwards. False:
// the crew has failed.
bool crew_meet(struct crew_member *m);
// From any thread.
void crew_fail(struct crew *c, const struct dir_error *e);
bool crew_has_failed(const struct crew *c);
