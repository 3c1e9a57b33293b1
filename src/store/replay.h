// SPDX-License-Identifier: BSD-3-Clause
//
// replay: commands that ran once run again: effects of our own logs, and what redis-server logged.
//
// They run one after the other, but are read ahead in batches, so that the memory that their keys
// need is fetched before it is needed (as shard/execute.c does for clients' commands). Nobody is
// told of anything: no log, no notifications, no statistics of commands, and nothing expires by
// itself (CTX_REPLAY).
//
//   replay_effects(p, &effects)    ... as often as there are units
//   replay_flush(p)                what was read has run
//
// What is fed must stay until it has run. Owned by the thread that feeds it, which must own all
// keyspaces concerned.
#pragma once
#include "engine/effect.h"
#include "engine/reply.h"
#include "engine/session.h"
#include "store/crew.h"

#define REPLAY_BATCH 64

struct replay_origin { // where it stands, for messages
    const char *path;
    const char *counts; // what `number` is: "seq", "offset"
    uint64_t number;
    bool is_tolerant; // an error in reply is only worth a warning
};

struct replay_item {
    struct effect_reader words; // its argv is used again and again
    const struct command *command;
    const struct dict *keys; // the table of the first key; NULL: there is none
    uint64_t hash;           // of the first key
    const char *first_key;
    struct replay_origin origin;
};

struct replay {
    struct ctx ctx;
    struct session session; // of nobody
    struct reply reply;
    struct settings *settings; // owned: the server's, but nobody is notified or refused
    struct replay_item items[REPLAY_BATCH];
    uint32_t count;    // of items that have not run
    uint64_t commands; // that have run
    uint32_t warnings;
    struct dir_error error;     // of what failed
    struct crew_member *member; // breathes after every batch; NULL: nobody does
};

// spaces: where the commands' keys are: one keyspace, or all by shard. They stay the caller's.
void replay_init(struct replay *p, struct engine *e, const struct settings *settings,
                 struct keyspace *const *spaces, uint32_t count, struct crew_member *member);
void replay_free(struct replay *p);

enum replay_step {
    REPLAY_DONE, // all has been read
    REPLAY_STOP, // an effect on the whole database comes next: `left` begins with it
    REPLAY_FAILED,
};
// Reads effects and may run them. stops: at an effect without keys that every shard's log has
// (FLUSHALL, FLUSHDB, SWAPDB); it then has not been read, and all before it has run.
enum replay_step replay_effects(struct replay *p, struct slice *left,
                                const struct replay_origin *origin, bool stops);
// A command as redis-server logged it, in this database. False: p->error.
bool replay_command(struct replay *p, uint32_t db, int argc, const struct slice *argv,
                    const struct replay_origin *origin);
// Runs what has been read and not run.
bool replay_flush(struct replay *p);
