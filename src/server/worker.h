// SPDX-License-Identifier: BSD-3-Clause
//
// worker: a thread that runs one shard and the connections at home there. Everything here belongs
// to that thread, except the published counters.
#pragma once
#include <pthread.h>

#include "engine/effect.h"
#include "engine/engine.h"
#include "engine/host.h"
#include "server/blocked.h"
#include "server/client_ids.h"
#include "server/fence.h"
#include "server/subscribers.h"
#include "shard/fanout.h"
#include "shard/shard.h"
#include "store/log.h"

#define RUN_CALLS          64   // commands of one connection that are looked at together
#define RUN_ARGS           512  // their arguments together
#define CHUNKS_SPARE_MIN   64   // reply chunks kept: 1 MiB;
#define CHUNKS_SPARE_MAX   1024 // while they are needed again and again, 16 MiB
#define SMALL_CHUNK_BYTES  2000 // of chunks for pushes: a hundred connections' fit the cache;
#define SMALL_CHUNKS_SPARE 256  // of those kept: 512 KiB

struct client;
struct envelope;
struct server;

// One run of calls (input.c), and replies that nobody reads.
struct run_space {
    struct call calls[RUN_CALLS];
    struct slice args[RUN_ARGS];
    char refusal[ENGINE_REFUSAL_BYTES + 64]; // what an EXEC is answered while writes are refused
    struct reply unread;
};

struct worker {
    struct shard shard;
    struct server *server;
    pthread_t thread;
    uint32_t id;
    bool is_started;
    struct client *clients;                   // all at home here, newest first
    struct client_ids ids;                    // the same, by id
    _Atomic(struct envelope *) invalidations; // other threads push (invalidate.c), newest first
    // With something to send, in this order; up to dirty_replied (NULL: none) they have replies.
    struct client *dirty, *dirty_replied, *dirty_tail;
    uint32_t client_count;
    uint32_t adopted_count;     // adopted and not freed yet (the dead that are still settling, too)
    struct reply_chunk *chunks; // spare ones, for whoever writes next
    uint32_t chunk_count, chunk_least; // the least since output_trim
    struct reply_chunk *small_chunks;  // likewise
    uint32_t small_chunk_count;
    uint32_t monitor_count; // clients in MONITOR mode at home here
    struct subscribers subscribers;
    struct fence fence;
    struct blocked blocked;
    struct effects effects; // of the unit that runs, when they are logged
    struct log_totals log_totals;
    bool is_log_failing;
    uint64_t refused_number;  // requests to stop up to this one were refused (stop.h)
    bool has_waiting_writers; // until the snapshot has what they want to change
    // CLIENT PAUSE on this shard.
    enum host_pause pause_mode;
    int64_t pause_until_ms;                     // 0: not paused; long ago: at the next turn
    uint64_t paused_count;                      // connections that were held up, ever
    bool holds_writes;                          // a stop saves (stop.h)
    struct run_space *space;                    // of the turn that is taken now:
    struct run_space outer_space, *inner_space; // of one inside another (busy.h); owned, or NULL
    // Published.
    stat_u64 net_in, net_out, reads, writes, query_bytes, output_bytes, handovers, max_query,
        max_output;
    stat_u64 over_limit;    // connections closed at their output limit
    stat_u64 busy_permille; // of the last second, processor time against the clock
    size_t most_used_bytes; // of memory, since it was last given back
    int64_t last_cron_ms, last_mono_us, last_cpu_us;
};

int worker_init(struct worker *w, struct server *server, uint32_t id);
void worker_destroy(struct worker *w);
// A turn in the midst of something that takes long: connections are read and answered, but nothing
// is executed on the keyspace (shard_turn_inside).
void worker_turn_inside(struct worker *w);
// After pause_until_ms or who waits how long has changed.
void worker_set_timer(struct worker *w);
// Who said SHUTDOWN here, in a request up to this number, is told that the server does not stop.
// Any thread.
void worker_tell_goes_on(struct worker *w, uint64_t number);
// A stop saves: writes that have not entered wait, as with CLIENT PAUSE WRITE, and keys do not
// expire; until they are let go. An item of the shard's inbox does it.
void worker_hold_writes(struct shard *s);
void worker_release_writes(struct shard *s);
// Ticks until the server stops, then until what is under way has been answered on all shards.
void worker_run(struct worker *w);

static inline struct worker *worker_of(struct shard *s)
{
    return s->owner;
}
