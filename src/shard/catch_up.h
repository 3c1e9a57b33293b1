// SPDX-License-Identifier: BSD-3-Clause
//
// catch_up: has every shard read what had arrived at its connections?
//
// Commands take effect in the order in which they are read, and each shard reads its own
// connections: of two commands on connections of different shards the later one may be read first.
// Who must not overtake in this way asks all to catch up, and waits until they have.
//
// Nobody is asked if nothing is unread anywhere, which can be seen from outside (ring_shows_news):
// most of the time. Else all answer after one more look at their connections. Those that are only
// coming to a shard count.
#pragma once
#include "shard/shard.h"

struct catch_up;

struct catch_up_part {
    struct mail mail; // to the shard that is asked, and back
    struct catch_up *whole;
    struct catch_up_part *next; // of those that a shard has to answer
    int turns;                  // taken since it was asked
};

struct catch_up {
    struct shard *home;
    void (*done)(struct catch_up *c); // all have; on home's thread
    uint32_t missing;                 // answers
    struct catch_up_part *parts;      // one for each shard of the group; owned
};

void catch_up_init(struct catch_up *c, struct shard *home, void (*done)(struct catch_up *c));
// No answer is missing, or ever will come.
void catch_up_destroy(struct catch_up *c);

// None is under way. False: there is nothing to wait for, and `done` will not be called.
bool catch_up_begin(struct catch_up *c);

// Has this shard to answer, and will a look at its connections do? It does not while one that moved
// here waits for the end of a meeting.
static inline bool catch_up_is_due(struct shard *s)
{
    // Acquire: those that have come have been given to the ring.
    return __builtin_expect(s->catch_ups != NULL, 0) &&
           !atomic_load_explicit(&s->moving_in, memory_order_acquire);
}

// Can it be seen from outside that nothing is unread?
bool catch_up_is_blind(const struct catch_up *c);

// The shard has taken a look at its connections, and found as many completions.
void catch_up_note_turn(struct shard *s, int completions);
