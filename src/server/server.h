// SPDX-License-Identifier: BSD-3-Clause
//
// server: everything that runs: the router thread, the workers, the engine over all their shards,
// the configuration. Starts and stops in order.
//
//     main thread   becomes the router (router.c): listens, accepts, places connections, signals
//     workers       worker.c, one shard each
//     decider       stop.c: asked to stop, it sees to it that the data are safe
//     background    persistence.c: snapshots and rewrites
//
// What threads share here is atomic or guarded by `mutex`.
#pragma once
#include <pthread.h>

#include "server/config.h"
#include "server/stop.h"
#include "server/worker.h"

#define SERVER_OWN_FDS 64 // descriptors the server needs beside those of its clients
#define SERVER_SAMPLES 16 // of the instantaneous figures, one every SHARD_CRON_MS

struct sampled { // a rate, from a counter sampled by worker 0; relaxed, for INFO
    stat_u64 samples[SERVER_SAMPLES];
    uint64_t last_value;
    int64_t last_ms;
    uint32_t next;
};

struct server {
    struct engine *engine;
    struct host host;
    struct shard_group group;
    struct worker **workers;
    uint32_t worker_count;
    struct config *config; // guarded by mutex
    pthread_mutex_t mutex;
    struct retired *retired; // settings that some shard may still hold; guarded by mutex
    // Start and stop.
    bool is_started; // all threads are there, with their rings; written between two barriers
    struct stop stop;
    _Atomic bool is_stopping;  // workers leave their loops; set by the main thread
    _Atomic uint32_t drained;  // workers that have nothing left to do
    pthread_barrier_t barrier; // workers and main thread
    // Connections.
    _Atomic uint32_t client_count; // connections accepted and not closed
    stat_u64 total_connections;    // written by the router
    _Atomic uint64_t rejected_connections;
    struct sampled ops, input, output; // per second
    uint64_t startup_bytes;            // of memory in use once everything had started
    stat_u64 peak_bytes;               // sampled by worker 0
    struct router *router;
    struct persistence *persistence;
};

// Runs until it is told to stop. Returns the process's exit status. Takes the configuration over.
int server_run(struct config *config);

// The data are loaded: says so in the log.
void server_log_ready(struct server *server);
// The worker with the fewest connections.
struct worker *server_least_loaded(struct server *server);
// Raises the limit of open files for so many clients; returns how many it allows, at most that.
int64_t server_provide_descriptors(int64_t maxclients);
// Does what a change of settings needs done before it can be published (sockets, limits,
// directory). False with the whole text of the error reply; then nothing has changed. The mutex is
// held.
bool server_apply_settings(struct server *server, const struct settings *next, char *error,
                           size_t error_size);
// Makes them the newest; takes them over. The mutex is held.
void server_publish_settings(struct server *server, struct settings *settings);
// Sends the commands to all connections in MONITOR mode.
void server_feed_monitors(struct worker *w, struct client *c, const struct call *calls,
                          uint32_t count);
// The same for a command that a script calls, on whichever shard it runs.
void server_feed_monitors_lua(struct worker *w, const struct ctx *ctx, int argc,
                              const struct slice *argv);
// Fills in server->host (host.c).
void host_init(struct server *server);
uint64_t sampled_rate(const struct sampled *s);
void sampled_add(struct sampled *s, uint64_t value, int64_t now_ms);
