// SPDX-License-Identifier: BSD-3-Clause
//
// site: a data directory of its own for a test, which becomes the working directory; the logs in it
// are made of what a twin (commands/twin.h) has noted, unit by unit; and servers that are made of
// what lies there.
#pragma once
#include "../commands/twin.h"
#include "store/manifest.h"
#include "store/recover.h"

#define SITE_NOW_MS   1700000000000
#define SITE_LOGS     "appendonlydir"
#define SITE_LOGS_MAX 8

struct site_log { // that is being written
    struct log_header header;
    struct buf bytes, payload;
    uint32_t units; // in payload
    uint64_t next_seq;
    uint64_t synced; // durable seq of the frames that come
    bool is_lost;    // what comes does not reach the disk any more
};

struct site {
    char dir[64];
    struct manifest manifest;
    struct site_log logs[SITE_LOGS_MAX];
    uint32_t shards;
    uint64_t txid;
    struct settings *settings; // of the servers
};

void site_init(struct site *s); // appendonly yes
void site_free(struct site *s); // removes all

// Logs of a new epoch. They go on with the seqs of the epoch before if the run is the same letter,
// else from 100 * (shard + 1) on.
void site_begin_epoch(struct site *s, uint32_t shards, char run);
// All that the twin has noted so far becomes units (which it then forgets), or one if `joined`; and
// a frame of each log.
void site_log(struct site *s, struct twin *t, bool joined);
// The same of a line that the twin runs.
void site_run(struct site *s, struct twin *t, const char *line);
// A unit of one effect, words parted by blanks, as it stands.
void site_log_effect(struct site *s, uint32_t shard, uint32_t db, const char *line);
void site_end_frame(struct site *s, uint32_t shard);
// Writes the logs (and the manifest). closes: the manifest says where they end.
void site_end_epoch(struct site *s, bool closes);

// A file in the directory.
void site_put(const char *path, struct slice bytes);
void site_get(const char *path, struct buf *out); // appended
void site_append(const char *path, const char *bytes, size_t len);
uint64_t site_size(const char *path);
// Flips a bit.
void site_damage(const char *path, size_t at);

// Writes all of the twin into an RDB file.
void site_save_rdb(const char *path, const struct twin *t);

struct site_server {
    struct twin twin; // with the data
    struct recovery_result result;
    struct manifest manifest; // that the result had
    char path[256];
    struct dir_error error; // "" if all went well
    uint64_t pauses;
};
// Starts a server with so many shards. False: server->error.
bool site_start(struct site *s, struct site_server *server, uint32_t shards);
void site_stop(struct site_server *server);
// Starts servers with 1, 2 and 4 shards, each of which must hold what the twin does.
void site_check(struct site *s, const struct twin *t, const char *what);
// Starts servers with 1 and 3 shards, which must fail with these words in the error.
void site_check_refusal(struct site *s, const char *words, const char *more_words);

// --- scenes --------------------------------------------------------------------------------------

#define LOG(epoch, shard) SITE_LOGS "/gyre-" #epoch "-" #shard ".log"

struct scene { // a site with an epoch, and what should be found in it
    struct site site;
    struct twin twin;
};

void scene_begin(struct scene *s, uint32_t shards);
void scene_end(struct scene *s);
// The twin runs the line, and its effects are logged.
void scene_run(struct scene *s, const char *line);
