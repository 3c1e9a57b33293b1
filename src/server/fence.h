// SPDX-License-Identifier: BSD-3-Clause
//
// fence: what is published reaches those who had asked for it before.
//
// With Redis commands are executed as they arrive, whoever sent them, and programs lean on it: they
// send SUBSCRIBE, do not wait for its reply (redis-py's asyncio, channels_redis, Celery's results),
// and what they do next on another connection makes somebody publish. Here another thread may be
// late at reading that SUBSCRIBE. So who publishes by a command of its own, or by a transaction,
// waits until the router has placed and all shards have read what had arrived (shard/catch_up.h).
// Those of one shard wait together.
//
// Not so: scripts that publish, and writes that notify.
#pragma once
#include "server/router.h"
#include "shard/catch_up.h"

struct client;
struct worker;

struct fence_queue {
    uint64_t *ids; // of clients; owned
    uint32_t count, cap;
};

struct fence {
    struct worker *worker;
    bool is_asking; // a round: first the router is asked, then the shards
    struct router_question question;
    struct catch_up round;
    struct fence_queue waiting; // for its end
};

enum fence_state { FENCE_AHEAD, FENCE_WAITS, FENCE_PASSED };

void fence_init(struct worker *w);
void fence_destroy(struct worker *w);

// Must this client's publishing command wait? Then it is resumed when it need not wait any more.
// False: it has passed, which holds for the run that it is in (input.c).
//
// It passes when nothing is unread anywhere, or has been read since it came: two rounds bring that
// about, of the first of which it may have seen the end only. One that is patient waits longer for
// the former.
bool fence_holds(struct client *c, bool is_patient);
