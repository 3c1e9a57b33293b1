// SPDX-License-Identifier: BSD-3-Clause
//
// host: what the admin families (CLIENT, CONFIG, INFO, SHUTDOWN …) ask of whatever runs the engine.
// The engine declares it, the server implements it (server/host.c); the embedded engine has a small
// one of its own. All functions are called on the thread that executes the command.
#pragma once
#include "base/buf.h"
#include "engine/ctx.h"
#include "engine/session.h"
#include "engine/subscriptions.h"

// What a connection's session does not know itself.
struct session_io {
    uint64_t query_bytes, query_free_bytes; // qbuf, qbuf-free
    uint64_t argv_bytes;                    // argv-mem
    uint64_t reply_chunks, reply_bytes;     // oll, omem
    uint64_t total_bytes;                   // tot-mem
    uint64_t in_bytes, out_bytes;           // tot-net-in, tot-net-out
    uint32_t shard;
};

struct shard_info { // one line of INFO's "# Shards"
    uint64_t keys, connections, commands, forwarded, meetings, stand_ins, inbox_depth,
        busy_permille;
};

struct host_info {          // the server's part of INFO
    const char *io_backend; // "io_uring" or "epoll"
    int io_level;
    uint32_t threads;
    int tcp_port;
    char config_file[512], executable[512];
    uint64_t connected_clients, max_clients, blocked_clients, total_connections,
        rejected_connections;
    uint64_t query_memory_bytes, reply_memory_bytes;
    uint64_t net_input_bytes, net_output_bytes;
    uint64_t reads_processed, writes_processed;
    uint64_t recent_max_query, recent_max_reply;
    uint64_t handovers;         // connections moved between shards
    uint64_t over_output_limit; // connections closed because of it
    uint64_t monitors;
    double input_kbps, output_kbps;
    uint64_t ops_per_second;                          // instantaneous_ops_per_sec
    uint64_t memory_startup_bytes, memory_peak_bytes; // used after start-up; most ever
};

enum host_pause { PAUSE_WRITE, PAUSE_ALL };
// May a script that takes long go on? The server stops, and waits for those that have written; or
// for none.
enum host_patience { HOST_IS_PATIENT, HOST_STOPS, HOST_STOPS_AT_ONCE };

// The state of snapshots and the log, as INFO shows it.
struct persistence_info {
    bool is_loading;
    int64_t loading_began_s;
    uint64_t loading_total_bytes, loading_done_bytes;
    uint64_t keys_loaded, keys_expired; // of the RDB file loaded at the start
    uint64_t changes;                   // since the last snapshot
    bool is_saving, is_snapshot_ok;
    int64_t last_save_s;     // Unix time
    int64_t last_snapshot_s; // how long it took; -1: none yet
    int64_t saving_since_s;  // Unix time; 0: not saving
    uint64_t snapshots;      // made since the start
    bool is_log_on, is_rewriting, is_rewrite_scheduled, is_rewrite_ok, is_log_ok;
    int64_t last_rewrite_s, rewriting_since_s;
    uint64_t rewrites, rewrite_failures; // failures: in a row
    uint64_t log_bytes, log_base_bytes, log_pending_bytes, delayed_syncs;
    bool is_snapshot_scheduled;
    uint64_t keys_done, keys_total; // of the snapshot under way
};

// What became of a request for a snapshot or a rewrite.
enum host_save {
    SAVE_STARTED,
    SAVE_SCHEDULED,    // it begins when what is under way has ended
    SAVE_IS_SAVING,    // refused: a snapshot is under way
    SAVE_IS_REWRITING, // refused: a rewrite is
};

struct publication;
struct invalidation;

struct host {
    void *owner;
    // Calls visit for every session whose home is the shard this runs on.
    void (*each_session)(struct ctx *ctx, void (*visit)(struct session *s, void *arg), void *arg);
    void (*session_io)(struct session *s, struct session_io *out);
    // Runs the part that the shard of ctx->space has in a command about connections, on that
    // shard's thread, which owns them; `shard`: as for engine_execute, whose value it returns. In a
    // meeting, by its runner. NULL: all shards are this thread's.
    uint64_t (*execute_part)(struct ctx *ctx, uint32_t shard);
    // Closes the connection (CLIENT KILL): at once, or after the replies if it is the caller's own.
    void (*kill_session)(struct ctx *ctx, struct session *s);
    // This shard stops executing (write) commands of clients until then (Unix ms); 0: goes on.
    void (*pause)(struct ctx *ctx, enum host_pause mode, int64_t until_ms);
    void (*monitor)(struct ctx *ctx, bool on);
    // Shows the monitors a command that a script calls. NULL: nobody monitors.
    void (*monitor_lua)(struct ctx *ctx, int argc, const struct slice *argv);
    // A script has been running for longer than busy-reply-threshold: called every 10 ms or so
    // until it ends, to answer others meanwhile (-BUSY). NULL: they wait.
    enum host_patience (*busy)(struct ctx *ctx);
    // The session gets, or does not get any more, what is published to `name`: on its home shard,
    // in the part of a command of SPAN_SESSION. NULL: nobody listens.
    void (*subscribe)(struct ctx *ctx, enum pubsub_kind kind, struct slice name, bool on);
    // The session forgets all its subscriptions, and every shard its part in them (RESET).
    void (*unsubscribe_all)(struct ctx *ctx);
    // Takes a message to subscribers at home on `shards` (ascending). It is copied.
    void (*publish)(struct ctx *ctx, const struct publication *publication, const uint32_t *shards,
                    uint32_t count);
    // Ends the wait of a blocked session of this shard, as if its time were up or with an error
    // (CLIENT UNBLOCK). False: it waits no more.
    bool (*unblock_session)(struct ctx *ctx, struct session *s, bool is_error);
    // The session with this id if its home is the shard this runs on, else NULL.
    struct session *(*find_session)(struct ctx *ctx, uint64_t id);
    // Tells the connections that track (engine/tracking.h); takes the invalidation over. NULL:
    // nobody listens.
    void (*invalidate)(struct ctx *ctx, struct invalidation *inv);
    // Every shard's copy of the session's prefixes becomes what session->tracking_prefixes says.
    // NULL: there is one shard.
    void (*sync_prefixes)(struct ctx *ctx);
    void (*info)(struct ctx *ctx, struct host_info *out);
    // Instantaneous figures per shard; false past the last.
    bool (*shard_info)(struct ctx *ctx, uint32_t shard, struct shard_info *out);
    void (*reset_stats)(struct ctx *ctx);
    // CONFIG GET: appends name and value pairs as alternating bulks through `emit`.
    void (*config_get)(struct ctx *ctx, const struct slice *patterns, int count,
                       void (*emit)(void *arg, struct slice name, struct slice value), void *arg);
    // CONFIG SET of name, value pairs: all or nothing. On failure false and the text of the error
    // reply.
    bool (*config_set)(struct ctx *ctx, const struct slice *pairs, int count, char *error,
                       size_t error_size);
    // CONFIG REWRITE; on failure false and the text.
    bool (*config_rewrite)(struct ctx *ctx, char *error, size_t error_size);
    // A snapshot, in the command itself, with all shards parked. False: *error says why.
    bool (*save)(struct ctx *ctx, char *error, size_t error_size);
    enum host_save (*begin_snapshot)(struct ctx *ctx, bool may_schedule);
    enum host_save (*begin_rewrite)(struct ctx *ctx);
    void (*persistence)(struct ctx *ctx, struct persistence_info *out);
    // flags: enum stop_flag (settings.h). False with a text if it must not stop now.
    bool (*shutdown)(struct ctx *ctx, int flags, char *error, size_t error_size);
    bool (*abort_shutdown)(struct ctx *ctx);
};
