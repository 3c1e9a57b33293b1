// SPDX-License-Identifier: BSD-3-Clause
//
// persistence: what the server does so that its data outlive it: snapshots, rewrites of the log,
// and when to begin them. One background thread does whatever may wait for the disk.
//
//   BGSAVE         the thread asks for the cut, and writes what the shards hand over
//   BGREWRITEAOF   the thread opens a new log for every shard and asks for the cut, at which each
//                  shard goes on in its new log. As soon as the old ones are closed the manifest
//                  names the new ones, too; when the base, written as above, is durable, it names
//                  that in place of all that was before
//
// The cut is one item that enters the inboxes of all shards in one step (shard_enter_all), so it is
// one instant in the order of operations. Loading the data at the start is loading.c's.
#pragma once
#include <pthread.h>

#include "engine/effect.h"
#include "engine/host.h"
#include "shard/shard.h"
#include "store/image.h"
#include "store/log.h"
#include "store/manifest.h"

struct library_set;
struct recovery;
struct server;
struct worker;

enum job_kind { JOB_NONE, JOB_SNAPSHOT, JOB_REWRITE };

struct log_rotation { // of one shard's log, at a cut
    bool is_done;
    bool was_broken; // what stood in the old file is not known to be safe
    uint64_t old_bytes, old_end_seq, first_seq;
};

struct log_opening { // a new log
    int fd;          // the log's, once it has taken it over
    struct log_header header;
};

struct persistence {
    struct server *server;
    pthread_t thread;
    bool has_thread;
    char *dir;    // of the append-only files,
    int held_dir; // and the descriptor by which no other server gets it; -1: not held yet
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    // Guarded by mutex:
    enum job_kind wanted, running;
    bool is_rewrite_scheduled, is_snapshot_scheduled, is_stopping;
    _Atomic bool is_given_up;       // the log was turned off during the rewrite that runs
    bool must_turn_off;             // once more, when that has ended
    uint32_t attached;              // workers that have their log
    bool is_ready;                  // all of them: jobs may begin
    bool is_in_haste;               // a stop waits for them: no rate limit holds
    bool is_for_stop;               // the job that runs; who asked is told if it fails, nobody else
    struct image *image;            // of the job that runs
    struct log_rotation *rotations; // by shard
    uint32_t rotation_count;
    bool cannot_name;             // the manifest cannot be written just now
    struct persistence_info info; // all but what is computed when it is asked for
    int64_t last_try_ms;          // when the last snapshot was begun
    // The background thread's; at the start, and at the end, the main thread's.
    struct manifest manifest;
    uint64_t next_epoch;
    struct log_opening *files; // by shard: the logs of a new epoch, taken over at the cut
    uint64_t epoch;
    char run[MANIFEST_RUN_CHARS + 1];
    bool is_rewrite, is_first; // of the job that runs: first, it turns the log on
    bool is_base_durable;      // what the shards are told
    uint32_t named_count;      // guarded by mutex: shards that have been told
    // Shards' threads.
    _Atomic bool is_log_on;
    _Atomic uint32_t failing_logs;  // shards whose log cannot be written
    _Atomic uint64_t dirty_at_save; // sum of all shards' changes at the last snapshot's cut
    _Atomic uint64_t dirty_at_cut;  // and at the one under way
    struct library_set *functions;  // at the cut of the image under way; a reference
    struct mail cut_mail, named_mail;
    uint64_t first_seq;        // of all logs at the start
    struct recovery *recovery; // while loading
    _Atomic uint32_t loaded;   // shards that are done with it
    _Atomic bool is_loaded;    // the data are there: logs are attached,
    _Atomic bool is_open;      // and now all have theirs: go on
};

struct persistence *persistence_new(struct server *server);
void persistence_free(struct persistence *p);
// The background thread begins; workers run.
void persistence_start(struct persistence *p);
// What is under way is given up, the background thread ends; before the workers are told to stop.
void persistence_stop(struct persistence *p);
// Makes a snapshot in the background and waits for it, on a thread that runs no shard. False: it
// failed, and was logged, or nobody waits for it any more (stop_is_over).
bool persistence_snapshot(struct persistence *p);
// The same: the log, if CONFIG SET has turned it on, is there. False: it cannot be, or nobody waits
// for it any more.
bool persistence_await_log(struct persistence *p);
// Has nothing changed since the cut of the last snapshot? While nobody writes.
bool persistence_is_all_saved(struct persistence *p);
// A stop waits for snapshots and rewrites: snapshot-rate-limit does not hold for that which is
// under way, and those to come; until it is said that none does. Any thread.
void persistence_set_haste(struct persistence *p, bool is_in_haste);
// What was asked of a stop has changed: who waits there looks whether it still does. Any thread.
void persistence_look_again(struct persistence *p);
// After the workers have ended: the last snapshot, if anything has changed since the one before.
// False: it failed, and was logged.
bool persistence_save_at_end(struct persistence *p);

// Every SHARD_CRON_MS, on worker 0: save points, growth of the log.
void persistence_cron(struct persistence *p, int64_t now_ms);

// The worker's log, on its thread: at its start (true: all have theirs now, and the server is to go
// on) and at its end.
bool persistence_attach(struct worker *w);
void persistence_detach(struct worker *w);

// --- for commands (host.c) -----------------------------------------------------------------------

// SAVE: all shards are parked.
bool persistence_save(struct persistence *p, char *error, size_t error_size);
enum host_save persistence_begin(struct persistence *p, enum job_kind kind, bool may_schedule);
void persistence_tell(struct persistence *p, struct persistence_info *out);
// CONFIG SET appendonly, by a worker, before it is published. A rewrite that is under way is given
// up when it is turned off.
void persistence_switch_log(struct persistence *p, struct shard *here, bool is_on);

// --- for loading.c -------------------------------------------------------------------------------

// An image of everything by one thread while nobody touches a keyspace: SAVE, the end, the start.
// name: NULL: dbfilename.
bool persistence_write_image(struct persistence *p, const char *dir, const char *name, bool is_base,
                             uint64_t *bytes, struct dir_error *e);
// Makes the directory of the append-only files if it must, and keeps it for this server from now
// on.
bool persistence_hold_dir(struct persistence *p, struct dir_error *e);
// Makes the files of a new epoch of logs, p->files, still without headers.
bool persistence_open_epoch(struct persistence *p, struct dir_error *e);
// Before the manifest names them.
bool persistence_sync_epoch(struct persistence *p, struct dir_error *e);
