// SPDX-License-Identifier: BSD-3-Clause
//
// stop: from a request to stop until it is decided.
//
//   who asks       SHUTDOWN (host.c), signals (router.c): what they ask gathers, and has a number
//   the decider    a thread that takes what has gathered, waits for what was begun before, has the
//                  data saved, and decides. The server stops, which ends the router's loop; or it
//                  goes on, and whose request had been taken are told so
//
// Meanwhile everything goes on; but while the data are saved, writes wait (worker_hold_writes), as
// with CLIENT PAUSE WRITE, until the server ends or goes on: so all that was acknowledged is safe
// before it is decided to stop. A request that comes while a decision is made may change that
// (NOSAVE and FORCE count at once, ABORT calls it off); if it goes against a stop, the next
// decision is this request's.
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/host.h"

struct server;

// Beside enum stop_flag (engine/settings.h).
enum stop_origin { STOP_BY_SIGNAL = 1u << 8 };

struct stop {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    // Guarded by mutex; of the flags both are enum stop_flag and stop_origin:
    bool is_asked;         // since the last decision began,
    uint32_t asked_flags;  // to do this
    bool is_deciding;      // or has decided to stop,
    uint32_t flags;        // asked to do this
    uint64_t number;       // of requests that come now,
    uint64_t taken_number; // and of the last that was taken, or called off
    bool is_called_off;
    bool must_save; // the last decision found
    // The decider's, then the main thread's:
    bool is_saving;       // writes are held
    bool is_amid_loading; // it stops before it has served
    // The decider has decided to stop. Sequentially consistent: written once, under the mutex,
    // a wake behind it.
    _Atomic bool is_decided;
};

void stop_init(struct stop *s);
void stop_destroy(struct stop *s);
// The decider begins. False: it cannot, which was logged.
bool stop_start(struct server *server);
// It has decided to stop: waits for its end.
void stop_join(struct stop *s);

// Asks for a stop. Returns the request's number: worker_tell_goes_on is for those up to one. Any
// thread.
uint64_t stop_request(struct server *server, uint32_t flags);
static inline bool stop_is_decided(const struct stop *s)
{
    return atomic_load(&s->is_decided);
}
// SHUTDOWN ABORT: all that was asked is taken back. False: nothing was, or it is too late. Any
// thread.
bool stop_call_off(struct server *server);
// Is nothing waited for any more: was it called off, or NOSAVE said? Any thread.
bool stop_is_over(struct stop *s);
// May a script go on that takes long? Any thread.
enum host_patience stop_patience(struct stop *s);
// Is there a stop, asked for or decided, that a signal has asked for?
bool stop_is_by_signal(struct stop *s);
// It was decided to stop: are the data to be saved?
bool stop_must_save(struct stop *s);
// The same: and may they be lost?
bool stop_is_forced(struct stop *s);
