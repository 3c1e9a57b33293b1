// SPDX-License-Identifier: BSD-3-Clause
//
// engine: a database without sockets: the command table, the keyspaces of all shards, what commands
// leave for other commands to look at (slow log, latency events, statistics), and the one way to run a
// command, engine_execute.
//
// The server runs one engine over all its shards; include/gyre.h runs one with a single keyspace.
#pragma once
#include <pthread.h>

#include "engine/ctx.h"
#include "engine/session.h"
#include "engine/slowlog.h"
#include "engine/stats.h"

struct host;

struct engine {
    struct command_table *table;
    struct keyspace **spaces;       // by shard; each owned by its shard's thread
    struct shard_stats **stats;     // by shard; written by its shard's thread only, read by all
    uint32_t shard_count;
    _Atomic(const struct settings *) settings; // the newest; who runs commands holds on to one, see shard.h
    const struct host *host;
    char run_id[41];
    int64_t started_ms;
    struct slowlog *slowlog;
    struct latency_monitor *latency;
    _Atomic uint64_t next_session_id;
    _Atomic uint32_t monitors;      // connections in MONITOR; read before every command
    _Atomic uint32_t replid_epoch;  // raised by DEBUG CHANGE-REPL-ID; makes master_replid
    _Atomic bool is_cron_paused;    // DEBUG PAUSE-CRON: engine_cron does nothing
};

// shard_count keyspaces with settings->databases databases each. `settings` and `host` stay the
// caller's. families: see command_table_new.
struct engine *engine_new(const struct command *const *families, const struct settings *settings,
                          uint32_t shard_count, const struct host *host);
void engine_free(struct engine *e);

// The shard of a key.
uint32_t engine_shard_of(const struct engine *e, struct slice key);

// Looks the command up and checks what every command must pass before it may run for a session: it exists, its arity fits,
// the session is authenticated, there is memory. NULL if not: then engine_refuse replies why.
const struct command *engine_admit(struct engine *e, const struct session *s,
                                   const struct settings *settings, int argc,
                                   const struct slice *argv);
// Replies why engine_admit refused ctx->argv, and counts it in the shard's statistics.
void engine_refuse(struct ctx *ctx, uint32_t shard);

// Runs ctx->cmd: handler, statistics, slow log. Everything in ctx but `first_*` and `blobs` must be set. Exactly one reply is
// written. `shard`: whose statistics count it (the one whose thread this is). Returns its duration in clock ticks.
uint64_t engine_execute(struct ctx *ctx, uint32_t shard);

// Removes due keys and frees garbage of one keyspace, at most `budget` steps; true: more to do now.
bool engine_cron(struct engine *e, uint32_t shard, int64_t now_ms, uint32_t budget);
