// SPDX-License-Identifier: BSD-3-Clause
//
// twin: what the tests of effects share: a database that is written to, with some number of shards,
// and notes what every unit leaves behind; and others that are made of nothing but those effects,
// at another time, which must then hold the same.
//
// Commands run as the server runs them: on one keyspace where their keys lie on one shard (at times
// with all of them at hand, as a transaction or a script may have them), else on all. Those that
// wait are served when a key is ready.
#pragma once
#include "base/buf.h"
#include "base/random.h"
#include "engine/effect.h"
#include "engine/host.h"
#include "engine/session.h"

#define TWIN_SHARDS_MAX 8

struct twin {
    struct settings *settings;
    struct host host;
    struct engine *engine;
    struct session session;
    struct effects effects[TWIN_SHARDS_MAX];
    struct random random;
    struct waiter *waiting[8]; // NULL: room
    int64_t now_ms;
    uint32_t shards, db;
    uint64_t commands; // that have run
    // Of all units so far, in order: { shard, bytes, effects } ..., and a shard of UINT32_MAX at
    // the end of each unit.
    struct buf journal;
};

void twin_init(struct twin *t, uint32_t shards, int64_t now_ms);
void twin_free(struct twin *t);
// Runs a command, if it is one that a keyspace or the libraries of functions can tell of. Returns
// the reply, RESP, which the caller frees; NULL: it did not run.
char *twin_run(struct twin *t, int argc, struct slice *argv);
// Its words, parted by blanks, quoted as in redis-cli.
char *twin_run_line(struct twin *t, const char *line);
// Time goes on: the housekeeping comes by, if `has_cron`.
void twin_pass(struct twin *t, int64_t ms, bool has_cron);

// A new database out of t's journal, with that many shards, at this time. With as many shards as t
// has, each shard's effects run on its own keyspace alone.
void twin_replay(const struct twin *t, struct twin *into, uint32_t shards, int64_t now_ms);
// What differs between the two, as text; "" if nothing does. The caller frees it.
char *twin_difference(const struct twin *a, const struct twin *b);
// The journal's last effects, at most `lines`, each as a line "shard/db: word word\n", with a + in
// front if it is not its unit's first part. To be freed.
char *twin_journal_text(const struct twin *t, int lines);
// Replays into as many shards, an hour earlier, and into other numbers, an hour later, and asserts
// that nothing differs.
void twin_check(const struct twin *t, const char *what);
