// SPDX-License-Identifier: BSD-3-Clause
//
// ctx: what a handler sees. A handler is written once, as if the whole database were in front of
// it: it asks the ctx for a key's entry and never knows on which shard that lies. While it runs,
// nothing else touches the keyspaces it may touch.
//
// A handler reads argv, looks keys up, changes them, says what it did (ctx_commit) and writes
// exactly one reply.
#pragma once
#include "base/buf.h"
#include "engine/command.h"
#include "engine/errors.h"
#include "engine/keyspace.h"
#include "engine/reply.h"

struct engine;
struct session;
struct settings;

enum ctx_flag {
    CTX_NO_TOUCH = 1u << 0,     // CLIENT NO-TOUCH: do not refresh LRU
    CTX_IS_PART = 1u << 1,      // one shard's part of a splittable command
    CTX_NOTE_LATER = 1u << 2,   // who sent the command sees to the slow log (engine_note_slow)
    CTX_IN_EXEC = 1u << 3,      // one of a transaction's commands
    CTX_IN_SCRIPT = 1u << 4,    // called by a script
    CTX_MAY_BLOCK = 1u << 5,    // who runs the command takes care of ctx->waiter
    CTX_UNIT_GOES_ON = 1u << 6, // more of the same transaction follows on this shard
    CTX_CACHING = 1u << 7,      // CLIENT CACHING was said about it
    CTX_ON_COPIES = 1u << 8,    // on copies of what the shards have read for it (SPAN_GATHER)
    CTX_REPLAY = 1u << 9,       // an effect that is run again: nothing expires by itself
    CTX_IS_APART = 1u << 10,    // touches no key: the keyspace is in other hands just now
};

struct ctx {
    const struct command *cmd;
    struct slice *argv; // argv[0] is the command; borrowed, read-only bytes
    int argc;
    uint32_t db; // index of the selected database
    uint32_t flags;
    int64_t now_ms; // Unix time of this command
    struct reply *reply;
    struct engine *engine;
    const struct settings *settings;
    // The client, never NULL. It stays as it is while the command runs, but belongs to its home
    // shard: only a CMD_SESSION command, which runs there alone, may change it.
    struct session *session;
    // What may be touched: one keyspace; or several by shard index, NULL where it may not be (a
    // command that concerns the whole database finds none of those).
    struct keyspace *const *spaces;
    uint32_t space_count;
    struct keyspace *space; // the one, or the runner's own
    uint64_t first_hash;    // hash of the key at first_key, computed while the batch was read
    const char *first_key;  // NULL: not computed
    uint64_t begin_ticks;   // when it begins; 0: not read. The end of one command is the next one's
                            // beginning
    struct blob *
        *blobs; // per argument: bytes already in a blob, or NULL (often all NULL: blobs NULL)
    bool has_said_effect;  // the command has said itself what it did (effect.h)
    struct waiter *waiter; // out: the command waits (engine/block.h); owned by who runs it
};

// --- keys ----------------------------------------------------------------------------------------

uint64_t ctx_hash(const struct ctx *ctx, struct slice key);
// May keys of this shard be touched? And keys of all shards?
bool ctx_has_shard(const struct ctx *ctx, uint32_t shard);
bool ctx_has_all(const struct ctx *ctx);
// The part of database `index` that holds this key.
struct db *ctx_db_of(const struct ctx *ctx, uint32_t index, struct slice key);

// For reading: counts hits and misses, refreshes LRU, hides and removes what has expired. NULL: no
// such key.
struct entry *ctx_read(struct ctx *ctx, struct slice key);
// For writing: as above without counting.
struct entry *ctx_write(struct ctx *ctx, struct slice key);
// Neither counts nor refreshes (TTL, OBJECT, EXISTS count differently: see Redis).
struct entry *ctx_peek(struct ctx *ctx, struct slice key);
// Counts hits and misses, but does not refresh LRU: EXISTS, TYPE, TTL.
struct entry *ctx_look(struct ctx *ctx, struct slice key);
// As ctx_peek in another database than the selected one.
struct entry *ctx_peek_db(struct ctx *ctx, uint32_t index, struct slice key);
// The same with the type checked: false if it is another, WRONGTYPE has been replied.
bool ctx_read_as(struct ctx *ctx, struct slice key, enum object_type type, struct entry **e);
bool ctx_write_as(struct ctx *ctx, struct slice key, enum object_type type, struct entry **e);

// The entry's LFU counter as of now, which OBJECT FREQ shows.
uint32_t lfu_decayed(const struct entry *e, int64_t now_ms, int64_t decay_minutes);

// Changes (all return the entry at its present place; `e`: the present entry or NULL). None
// commits.
struct entry *ctx_set_string(struct ctx *ctx, struct slice key, struct entry *e, struct slice value,
                             int64_t expire_at_ms);
// The value is argument number `arg`: a big one that arrived in a blob is taken over, not copied.
struct entry *ctx_set_arg(struct ctx *ctx, struct slice key, struct entry *e, int arg,
                          int64_t expire_at_ms);
// The value is the blob's bytes; consumes the caller's reference.
struct entry *ctx_set_blob(struct ctx *ctx, struct slice key, struct entry *e, struct blob *blob,
                           int64_t expire_at_ms);
struct entry *ctx_set_integer(struct ctx *ctx, struct slice key, struct entry *e, int64_t value,
                              int64_t expire_at_ms);
// A writable string value of exactly `len` bytes (zero-filled where new), see db_edit_string;
// creates the key if e is NULL.
struct entry *ctx_edit_string(struct ctx *ctx, struct slice key, struct entry *e, size_t len,
                              char **data);
// Puts a value of another type at the key, whatever was there; the value is consumed. With
// EXPIRE_NONE an expiry goes.
struct entry *ctx_set_value(struct ctx *ctx, struct slice key, struct entry *e,
                            enum object_type type, struct value value, int64_t expire_at_ms);
// The expiry of a field of the hash e may have changed.
void ctx_field_expiry_changed(struct ctx *ctx, struct slice key, struct entry *e);
struct entry *ctx_set_expire(struct ctx *ctx, struct slice key, struct entry *e, int64_t at_ms);
void ctx_delete(struct ctx *ctx, struct slice key, struct entry *e);
// Moves / copies the value with its expiry to to_key in database to_db, over shards if need be. The
// destination must not exist.
struct entry *ctx_move(struct ctx *ctx, struct slice key, struct entry *e, uint32_t to_db,
                       struct slice to_key);
struct entry *ctx_copy(struct ctx *ctx, struct entry *e, uint32_t to_db, struct slice to_key);

// Replies with the string value of e.
void ctx_reply_string(struct ctx *ctx, const struct entry *e);

// --- effects -------------------------------------------------------------------------------------

// Classes of keyspace events, as notify-keyspace-events names them.
enum event_class {
    EVENT_GENERIC = 1u << 0, // g: DEL, EXPIRE, RENAME …
    EVENT_STRING = 1u << 1,  // $
    EVENT_LIST = 1u << 2,    // l
    EVENT_SET = 1u << 3,     // s
    EVENT_HASH = 1u << 4,    // h
    EVENT_ZSET = 1u << 5,    // z
    EVENT_EXPIRED = 1u << 6, // x
    EVENT_EVICTED = 1u << 7, // e
    EVENT_STREAM = 1u << 8,  // t
    EVENT_MISS = 1u << 9,    // m
    EVENT_NEW = 1u << 10,    // n
};

// The one write tail: every change to a key is told here once, after it was made; the log, WATCH,
// keyspace notifications, client tracking and replication hang on it. `event`: the notification's
// name ("set"), NULL: the change is none that Redis notifies of.
void ctx_commit(struct ctx *ctx, struct slice key, enum event_class class, const char *event);
// As ctx_commit for a change that may have taken the last element: then the key is deleted, and
// that committed ("del"), too. `is_empty`: nothing is left of e's value.
void ctx_commit_removal(struct ctx *ctx, struct slice key, struct entry *e, enum event_class class,
                        const char *event, bool is_empty);
// `count` fields of the hash e, whose time had come, were taken out: the wheel, the statistics and
// the write tail are told. False if none is left, and the key is gone.
bool ctx_commit_fields_expired(struct ctx *ctx, struct slice key, struct entry *e, uint64_t count);
// As ctx_commit for what a key keeps beside its data (a stream its groups): to whoever watches or
// caches the key, or waits for it, it is as it was.
void ctx_commit_beside(struct ctx *ctx, struct slice key, enum event_class class,
                       const char *event);
// As ctx_commit for a key in another database.
void ctx_commit_db(struct ctx *ctx, uint32_t db, struct slice key, enum event_class class,
                   const char *event);
// A database is about to be emptied (-1: all are): its keys are still there.
void ctx_commit_flush(struct ctx *ctx, int db);
// The libraries of functions changed.
void ctx_commit_libraries(struct ctx *ctx);
// Two databases changed places (a may be b).
void ctx_commit_swap(struct ctx *ctx, uint32_t a, uint32_t b);

// --- arguments -----------------------------------------------------------------------------------

// Each replies the error and returns false if the argument does not fit. error: NULL for the usual
// text.
bool ctx_arg_i64(struct ctx *ctx, int arg, int64_t *out, const char *error);
bool ctx_arg_range(struct ctx *ctx, int arg, int64_t min, int64_t max, int64_t *out,
                   const char *error);
bool ctx_arg_is(const struct ctx *ctx, int arg,
                const char *word); // case-insensitive; false past the end
// "ERR wrong number of arguments for 'x' command"
void ctx_wrong_arity(struct ctx *ctx);
// "ERR unknown subcommand or wrong number of arguments for 'x'. Try CMD HELP."
void ctx_unknown_subcommand(struct ctx *ctx);
// HELP: lines ends with NULL; the first and the last lines that Redis adds itself are added.
void ctx_reply_help(struct ctx *ctx, const char *const *lines);
