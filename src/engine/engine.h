// SPDX-License-Identifier: BSD-3-Clause
//
// engine: a database without sockets: the command table, the keyspaces of all shards, what commands
// leave for other commands to look at (slow log, latency events, statistics), and the one way to
// run a command, engine_execute.
//
// The server runs one engine over all its shards; include/gyre.h runs one with a single keyspace.
#pragma once
#include <pthread.h>

#include "engine/ctx.h"
#include "engine/session.h"
#include "engine/slowlog.h"
#include "engine/stats.h"

struct host;
struct scripting;

// What keeps commands from running.
enum engine_trouble {
    ENGINE_IS_LOADING = 1u << 0,     // all but CMD_LOADING
    ENGINE_LOG_FAILS = 1u << 1,      // those that write
    ENGINE_SNAPSHOTS_FAIL = 1u << 2, // those that write, if stop-writes-on-bgsave-error
};

struct engine {
    struct command_table *table;
    struct keyspace **spaces;   // by shard; each owned by its shard's thread
    struct shard_stats **stats; // by shard; written by its shard's thread only, read by all
    struct tracking **tracking; // by shard; owned as its keyspace is (client-side caching)
    struct pubsub **pubsub;     // by shard; owned as its keyspace is
    uint32_t shard_count;
    _Atomic(const struct settings *)
        settings; // the newest; who runs commands holds on to one, see shard.h
    const struct host *host;
    char run_id[41];
    int64_t started_ms;
    _Atomic int64_t loaded_ms; // when the data were loaded; 0: not yet
    struct slowlog *slowlog;
    struct latency_monitor *latency;
    _Atomic uint64_t next_session_id;
    _Atomic uint32_t monitors;     // connections in MONITOR; read before every command
    _Atomic uint32_t subscribers;  // connections with subscriptions
    _Atomic uint32_t trackers;     // connections that track; read at every change
    _Atomic uint32_t replid_epoch; // raised by DEBUG CHANGE-REPL-ID; makes master_replid
    // Scripts and functions: made by the first who needs it (script/scripting.h), who says how it
    // is freed. The engine knows no more of it.
    _Atomic(struct scripting *) scripting;
    void (*_Atomic scripting_free)(struct scripting *scripting);
    _Atomic uint32_t busy_scripts; // scripts that run for longer than busy-reply-threshold
    _Atomic bool is_cron_paused;   // DEBUG PAUSE-CRON: engine_cron does nothing
    _Atomic uint32_t troubles;     // enum engine_trouble; read before every command
    _Atomic int log_errno;         // why the log cannot be written
    // Blocking commands with keys on several shards that are under way. While there are any, what
    // might serve them must not run on several shards at once: a transaction over shards meets, and
    // a connection's commands on lists, sorted sets and streams enter one after the other. So the
    // key that was readied first serves, and a BLMOVE has moved on what a pipeline pushed before
    // that pipeline looks again.
    _Atomic uint32_t spread_waiters;
};

// shard_count keyspaces with settings->databases databases each. `settings` and `host` stay the
// caller's. families: see command_table_new.
struct engine *engine_new(const struct command *const *families, const struct settings *settings,
                          uint32_t shard_count, const struct host *host);
void engine_free(struct engine *e);

// The newest settings, for a thread that says in *held which it is using (NULL at first); valid
// until its next call, so nobody further up its stack may be looking at the last ones. A snapshot
// may be freed when it is not the newest and nobody holds it: the holder publishes what it is about
// to hold and then looks whether that is still the newest, so either the one who publishes a newer
// one sees the hold, or the holder sees the newer one.
static inline const struct settings *engine_settings(struct engine *e,
                                                     _Atomic(const struct settings *) *held)
{
    const struct settings *mine = atomic_load_explicit(held, memory_order_relaxed); // own writes
    // Acquire: the snapshot is complete before it is published.
    const struct settings *newest = atomic_load_explicit(&e->settings, memory_order_acquire);
    while (__builtin_expect(mine != newest, 0)) {
        atomic_store(held, newest); // sequentially consistent, see above
        mine = newest;
        newest = atomic_load(&e->settings);
    }
    return mine;
}

// The shard of a key.
uint32_t engine_shard_of(const struct engine *e, struct slice key);

// Looks the command up and checks what every command must pass before it may run for a session: it
// exists, its arity fits, the session is authenticated, there is memory. NULL if not: then
// engine_refuse replies why.
const struct command *engine_admit(struct engine *e, const struct session *s,
                                   const struct settings *settings, int argc,
                                   const struct slice *argv);
// Is anything to be refused? One load of a line that hardly ever changes.
static inline bool engine_has_trouble(const struct engine *e)
{
    // Relaxed: found out by this command or the next.
    return __builtin_expect(atomic_load_explicit(&e->troubles, memory_order_relaxed) != 0, 0);
}
#define ENGINE_REFUSAL_BYTES 448
// Why nothing may be written now, a text in `text`: what was written before is not safe. NULL: it
// may.
const char *engine_refuses_writes(const struct engine *e, const struct settings *settings,
                                  char text[ENGINE_REFUSAL_BYTES]);
// Counts a command that was refused with this error in the statistics of `shard`, whose thread this
// is. EXEC's is EXECABORT.
void engine_count_refused(struct engine *e, uint32_t shard, const struct command *c,
                          const char *error);
// Counts the error, if it is one, that a command was answered after it had waited.
void engine_count_served(struct engine *e, uint32_t shard, const struct command *c,
                         const struct reply *reply);
// Replies why engine_admit refused ctx->argv, and counts it in the shard's statistics.
void engine_refuse(struct ctx *ctx, uint32_t shard);

// Runs ctx->cmd. Everything in ctx but `first_*`, `blobs` and begin_ticks must be set. Exactly one
// reply is written. Returns its duration in clock ticks, and counts it in the statistics of `shard`
// (the one whose thread this is), unless it is one shard's part of a command (CTX_IS_PART).
uint64_t engine_execute(struct ctx *ctx, uint32_t shard);
// Has ctx->cmd, which waits, take what it finds at `key`: its `serve`, and what comes behind a
// command. False if it found nothing, and goes on waiting.
bool engine_serve(struct ctx *ctx, struct slice key);
// Puts ctx->cmd into the slow log and the latency monitor if it took long enough.
void engine_note_slow(struct ctx *ctx, uint32_t shard, uint64_t ticks);
// Counts a command whose parts have run: statistics, slow log, latency monitor. ctx->reply says how
// it ended.
void engine_count(struct ctx *ctx, uint32_t shard, uint64_t ticks);

// Removes due keys and frees garbage of one keyspace, at most `budget` steps; true: more to do now.
bool engine_cron(struct engine *e, uint32_t shard, const struct settings *settings, int64_t now_ms,
                 uint32_t budget);
