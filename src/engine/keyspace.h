// SPDX-License-Identifier: BSD-3-Clause
//
// keyspace: the only place where keys appear, change or die. One shard's part of the databases: a
// table of entries each, with a wheel that knows which of them are due. It knows no sockets, no
// commands and no clock: `now_ms` is handed in.
//
// Owned by its shard's thread, or, while parked, by the one that runs the meeting.
//
// These functions do what they say to one database and nothing else: no statistics, no effects, no
// lazy expiry. Command handlers use the layer above, engine/ctx.h.
#pragma once
#include "base/random.h"
#include "base/stat.h"
#include "ds/dict.h"
#include "engine/object.h"

struct db {
    struct dict keys;
    struct timewheel expires;         // entries with an expiry
    struct timewheel field_expires;   // hashes with expiring fields (struct hash_wheel)
    struct keyspace *space;           // whose it is
    stat_u64 key_count, expire_count; // published for INFO and DBSIZE from other threads
    stat_u64 avg_ttl_ms;              // mean time to live, published by keyspace_cron
    uint64_t expire_sum_s;            // of all expiry times, in seconds
    // A snapshot's walk (snapshot.h).
    uint64_t walk_cursor;
    uint32_t walk_origin; // which database this was at the cut
    bool is_walked;
};

struct keyspace_stats {
    stat_u64 hits, misses, expired, expired_fields, evicted, dirty;
    stat_u64 garbage_pending, garbage_freed; // objects (INFO lazyfree_*)
};

struct keyspace {
    struct db *dbs;
    uint32_t db_count;
    uint32_t shard; // which part this is
    struct random random;
    struct keyspace_stats stats;
    bool is_active_expire_on;  // DEBUG SET-ACTIVE-EXPIRE
    int64_t pause_until_ms;    // see keyspace_is_paused,
    bool is_held;              // and this, too
    uint32_t timed_dbs;        // from this database on none has had anything that expires
    struct effects *effects;   // of the unit that runs (effect.h); NULL: nobody wants them
    struct snapshot *snapshot; // that is being taken (snapshot.h), or NULL
    uint8_t mark;              // of entries that are made now
    struct garbage *garbage;   // what was detached to be freed in slices by keyspace_cron
    // Who wants to know of changes (interest.h).
    struct dict interests;
    struct interest *ready, *ready_tail; // keys that somebody waits for, readied by this thread
};

void keyspace_init(struct keyspace *ks, uint32_t shard, uint32_t db_count, uint64_t seed,
                   int64_t now_ms);
void keyspace_free(struct keyspace *ks);

// CLIENT PAUSE, or a stop that saves: neither the clock nor who reads removes keys that have
// expired.
static inline bool keyspace_is_paused(const struct keyspace *ks, int64_t now_ms)
{
    return __builtin_expect(now_ms < ks->pause_until_ms || ks->is_held, 0);
}

// --- look-up -----------------------------------------------------------------------------------

static inline bool db_entry_matches(const void *item, const void *key)
{
    const struct entry *e = item;
    const struct slice *k = key;
    return e->key_len == k->len && memcmp(e->key, k->ptr, k->len) == 0;
}

// NULL if it is not there. Expired entries are found: the caller judges.
static inline struct entry *db_find(const struct db *db, struct slice key, uint64_t hash)
{
    return dict_find(&db->keys, hash, db_entry_matches, &key);
}

// --- change ------------------------------------------------------------------------------------
// All return the entry at its present place. `e` is an entry of this database.

// Sets key to a string value, whatever was there (`old`: its entry as db_find gave it, or NULL).
// Integers are recognised and stored as such. `blob`: the value's bytes already in a blob (then
// `value` is ignored and one reference is consumed), or NULL. expire_at_ms: Unix ms, EXPIRE_NONE or
// EXPIRE_KEEP.
struct entry *db_set_string(struct db *db, struct entry *old, struct slice key, uint64_t hash,
                            struct slice value, struct blob *blob, int64_t expire_at_ms);
struct entry *db_set_integer(struct db *db, struct entry *old, struct slice key, uint64_t hash,
                             int64_t value, int64_t expire_at_ms);
// Makes a string entry's value writable in place ("raw") with exactly `len` bytes: what was there
// is kept (cut at len), new bytes are zero. *data points to the value until the next change.
// `slack`: the value is likely to grow again, so leave room.
struct entry *db_edit_string(struct db *db, struct entry *e, uint64_t hash, size_t len,
                             bool has_slack, char **data);
// Puts a value of another type than string at the key, whatever was there; consumes it.
struct entry *db_set_value(struct db *db, struct entry *old, struct slice key, uint64_t hash,
                           enum object_type type, struct value value, int64_t expire_at_ms);
// The expiry of a hash's fields may have changed: has the wheel know.
void db_fields_changed(struct db *db, struct entry *e);
// expire_at_ms: Unix ms or EXPIRE_NONE.
struct entry *db_set_expire(struct db *db, struct entry *e, uint64_t hash, int64_t expire_at_ms);
// Of a value of many parts most is freed later, in slices; so also wherever a value is replaced.
void db_delete(struct db *db, struct entry *e, uint64_t hash);
// Takes the value (and the expiry) of `from` out of its database and puts it at `key`, which does
// not exist in `to`.
struct entry *db_move(struct db *from_db, struct entry *from, uint64_t from_hash, struct db *to_db,
                      struct slice key, uint64_t hash);
// As db_move, leaving a deep copy.
struct entry *db_copy(const struct entry *from, struct db *to_db, struct slice key, uint64_t hash);
// Empties a database; its contents go to the garbage, to be freed in slices.
void db_flush(struct keyspace *ks, struct db *db, int64_t now_ms);
// A table of entries that stand in no wheel goes to the garbage.
void keyspace_discard(struct keyspace *ks, struct dict *keys);
// Frees everything that is garbage now (FLUSHALL SYNC).
void keyspace_free_garbage(struct keyspace *ks);
// The two databases change places.
void keyspace_swap_dbs(struct keyspace *ks, uint32_t a, uint32_t b);
// Asserts the invariants; for tests.
void db_validate(const struct db *db);

// --- housekeeping ------------------------------------------------------------------------------

struct keyspace_due {
    // The entry is due; must delete it.
    void (*entry)(void *arg, uint32_t db_index, struct entry *e);
    // Fields of this hash are due; must take some of them out (at most `budget`) and return how
    // many.
    uint32_t (*fields)(void *arg, uint32_t db_index, struct entry *e, uint32_t budget);
    void *arg;
};
// Has `due` told what is due, and frees garbage, at most `budget` steps in all. True if it stopped
// because of the budget: call again soon.
bool keyspace_cron(struct keyspace *ks, int64_t now_ms, uint32_t budget,
                   const struct keyspace_due *due);
// When keyspace_cron next has work to do: Unix ms, 0 for now, INT64_MAX for never. What has an
// expiry is due in the millisecond behind it (entry_is_expired).
int64_t keyspace_next_cron_ms(const struct keyspace *ks);
