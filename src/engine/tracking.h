// SPDX-License-Identifier: BSD-3-Clause
//
// tracking: client-side caching. What one shard knows of the connections that want to be told when
// keys change (CLIENT TRACKING): which of its keys they have read, and which prefixes they listen
// to.
//
//   GET k on shard 1, for connection 7 of shard 0   -->  shard 1's table: k -> {7 at 0}
//   SET k on shard 1                                -->  k leaves the table, and waits in `changed`
//   end of that command, transaction or script      -->  one invalidation to shard 0
//   (host->invalidate),
//                                                        which writes it behind what 7 has under
//                                                        way
//
// Keys stand in the table of their own shard only; prefixes (BCAST) in every shard's, the same in
// each. Databases do not count: a key is its name, as in Redis. The tables name connections by id
// and home; one that has gone or changed its mind is found out where the invalidation arrives.
//
// Owned by the shard's thread, or by the runner of a meeting while it is parked. What the
// connection itself chose lies in its session, and changes only while nothing of it is under way.
#pragma once
#include "ds/dict.h"
#include "ds/names.h"
#include "engine/engine.h"

enum tracking_flag { // session->tracking; 0: off
    TRACKING_ON = 1u << 0,
    TRACKING_BCAST = 1u << 1,
    TRACKING_OPTIN = 1u << 2,
    TRACKING_OPTOUT = 1u << 3,
    TRACKING_NOLOOP = 1u << 4,
    TRACKING_CACHING = 1u << 5,      // CLIENT CACHING was said about the next command,
    TRACKING_CACHING_EXEC = 1u << 6, // or within a transaction, about the rest of it
};
#define TRACKING_MODES (TRACKING_BCAST | TRACKING_OPTIN | TRACKING_OPTOUT | TRACKING_NOLOOP)

// A connection in a table: its id above, its home shard in the low byte. Sorted by id.
#define TRACKER(id, home) ((uint64_t)(id) << 8 | (home))
#define TRACKER_ID(t)     ((t) >> 8)
#define TRACKER_HOME(t)   ((uint32_t)((t)&0xff))

struct trackers {
    uint64_t *list; // owned
    uint32_t count, cap;
};

enum tracked_fate {
    KEY_CHANGED,
    KEY_EVICTED, // from the table, which was full: whoever read it must forget it
    KEYS_FLUSHED // not a key: everything changed
};

struct tracked_key {
    struct tracked_key *next; // in an invalidation
    struct trackers trackers; // who has read it
    enum tracked_fate fate;
    uint32_t len;
    char bytes[];
};

struct tracked_prefix {
    char *bytes; // owned
    size_t len;
    struct trackers trackers;
};

// What the connections listening to one prefix are told.
struct broadcast {
    struct slice *keys; // sorted; owned, their bytes are those of invalidation->changed
    size_t key_count;
    struct trackers trackers; // owned
};

// What one command, transaction or script is to tell. Read-only once it is made.
struct invalidation {
    uint64_t cause;           // session that made the changes; 0: none
    struct tracked_key *keys; // in the order of the changes; owned
    struct broadcast *broadcasts;
    uint32_t broadcast_count;
    struct names changed;
};

struct tracking {
    struct dict keys;                // struct tracked_key, owned
    struct tracked_prefix *prefixes; // sorted by their bytes; owned
    uint32_t prefix_count, prefix_cap;
    stat_u64 key_count, item_count, published_prefixes; // for INFO
    // What is to be told at the end of the unit that runs on this shard's thread.
    struct tracked_key *changed, **changed_end;
    struct names broadcast; // keys that begin with one of the prefixes
    uint64_t cause;
    struct dict garbage; // keys of a table that was emptied, freed in slices
};

struct tracking *tracking_new(void);
void tracking_free(struct tracking *t);
// Asserts the invariants; for tests.
void tracking_validate(const struct tracking *t);

// Does any connection track? One load of a line that hardly ever changes.
static inline bool tracking_is_used(const struct engine *e)
{
    // Relaxed: whoever reads a key after it turned tracking on comes through the inbox of the key's
    // shard, which orders this with it.
    return UNLIKELY(atomic_load_explicit(&e->trackers, memory_order_relaxed) != 0);
}

// --- what the write tail and the execution of commands tell --------------------------------------

void tracking_note_change(struct ctx *ctx, struct slice key);
void tracking_note_flush(struct ctx *ctx);
void tracking_send(struct ctx *ctx);

// The key changed, in whichever way.
static inline void tracking_key_changed(struct ctx *ctx, struct slice key)
{
    if (tracking_is_used(ctx->engine)) tracking_note_change(ctx, key);
}

// All keys of a database changed, or may have: which one does not matter.
static inline void tracking_flushed(struct ctx *ctx, int db)
{
    (void)db;
    if (tracking_is_used(ctx->engine)) tracking_note_flush(ctx);
}

// A command ran that may have read keys: remembers them if its session wants that.
void tracking_remember(struct ctx *ctx);
// The same for all of argv[1] .. argv[argc - 1].
void tracking_remember_args(struct ctx *ctx);

// A command, or the transaction or script it belongs to, has come to its end and has replied.
static inline void tracking_unit_end(struct ctx *ctx)
{
    if (tracking_is_used(ctx->engine)) tracking_send(ctx);
}

// Housekeeping of one shard. True: there is more of it to do.
bool tracking_cron(struct engine *e, uint32_t shard);

// How FLUSHALL and its like span: once for all shards when somebody must be told once.
enum command_span tracking_flush_span(const struct engine *e, int argc, const struct slice *argv);

// CLIENT CACHING holds for one command, or one transaction, that is not CLIENT itself. Call for
// each command that is about to run (not for one that is queued; cmd NULL: unknown), alone in its
// run when session->tracking has TRACKING_CACHING; returns the flag for its ctx.
uint32_t tracking_take_caching(struct session *s, const struct command *cmd);

// A transaction is over, and with it what CLIENT CACHING said in it.
static inline void tracking_end_caching(struct session *s)
{
    // Other shards read it: written only where it was said, when nothing is under way.
    if (s->tracking & TRACKING_CACHING_EXEC) s->tracking &= ~(uint32_t)TRACKING_CACHING_EXEC;
}

// --- who tracks ----------------------------------------------------------------------------------

// The connection listens to keys that begin with `prefix`; no effect if it does already.
void tracking_add_prefix(struct tracking *t, struct slice prefix, uint64_t tracker);
// It listens to none any more.
void tracking_drop_prefixes(struct tracking *t, uint64_t id);
// It listens to these (NULL: none) and no others.
void tracking_set_prefixes(struct tracking *t, const struct names *prefixes, uint64_t tracker);
// Every shard's copy of the session's prefixes becomes what the session says.
void tracking_sync_prefixes(struct ctx *ctx);

// The session stops tracking (RESET, CLIENT TRACKING OFF, the end of its connection). True if other
// shards know prefixes of it (host->sync_prefixes).
bool tracking_stop(struct engine *e, struct session *s);

// The same inside a command that is not CLIENT TRACKING (RESET): the other shards are told.
void tracking_end(struct ctx *ctx);

void invalidation_free(struct invalidation *inv);
