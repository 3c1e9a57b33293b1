// SPDX-License-Identifier: BSD-3-Clause
//
// fixture: what the tests of the shard layer share: a world of a few shards in one thread, turned
// by hand, and jobs: some commands of one connection that travel together, written as lines.
//
// A word "@2x" in a line stands for a key x that lies on shard 2: "{tag}x".
#pragma once
#include "engine/host.h"
#include "engine/settings.h"
#include "shard/fanout.h"

#define WORLD_SHARDS_MAX 4
#define JOB_CALLS_MAX    8

struct world {
    size_t memory_before;
    struct settings *settings;
    struct host host;
    struct engine *engine;
    struct shard_group group;
    struct shard *shards[WORLD_SHARDS_MAX];
    struct session sessions[WORLD_SHARDS_MAX]; // one lives on each shard
    char tags[WORLD_SHARDS_MAX][8];            // "{t12}": of keys on that shard
    bool is_cron_rare;                         // nothing but a wake ends a wait
    bool is_done_light;                        // any thread may tell a job that it is done
    _Atomic int cron_calls, flush_calls;       // of all shards, whichever thread turns them
};

struct world *world_new(uint32_t shard_count);
// Asserts that nothing is under way any more and that no memory is left behind; walks the
// keyspaces. Jobs are freed before.
void world_free(struct world *w);
// Rings belong to threads: for a shard whose turns another thread makes. On the ring's own thread.
void world_open_ring(struct world *w, uint32_t shard);
void world_close_ring(struct world *w, uint32_t shard);
// One turn of a shard that does not wait. If it sleeps, it wakes up.
void world_turn(struct world *w, uint32_t shard);
// A shard that has nothing to do falls asleep: others stand in for it until its next turn. False:
// it has something to do, or sleeps already.
bool world_sleep(struct world *w, uint32_t shard);
// Turns all shards until nothing is under way.
void world_settle(struct world *w);

struct job {
    struct world *w;
    uint32_t home, count, db;
    uint8_t resp;
    struct call calls[JOB_CALLS_MAX];
    char *text[JOB_CALLS_MAX]; // owned: what the arguments point into
    struct operation *op;      // while under way
    char *reply;               // owned; of all calls, one behind the other, when done
    size_t reply_len;
    bool is_done;
    bool was_in_place;
};

// Empty, RESP2, database 0.
struct job *job_new(struct world *w, uint32_t home);
// Adds a line to the job and says how it is routed.
enum route job_add(struct job *j, const char *line);
// Makes the operation without entering it.
struct operation *job_build(struct job *j);
// Enters it into the inboxes, or runs it in place if that is allowed, possible and asked for.
void job_enter(struct job *j, bool is_in_place_wanted);
void job_free(struct job *j);

// One line from `home`, entered; the caller turns the shards and frees the job.
struct job *job_start(struct world *w, uint32_t home, const char *line);
// The lines together as one job from shard 0, until all is settled; asserts that the reply is
// `want` (CRLFs written as blanks, the last left out).
void job_check(struct world *w, const char *const *lines, uint32_t count, const char *want,
               const char *file, int line);
#define CHECK_LINE(w, line, want)                                                                  \
    job_check((w), (const char *[]){line}, 1, (want), __FILE__, __LINE__)
#define CHECK_LINES(w, want, ...)                                                                  \
    job_check((w), (const char *[]){__VA_ARGS__}, ARRAY_LEN(((const char *[]){__VA_ARGS__})),      \
              (want), __FILE__, __LINE__)
