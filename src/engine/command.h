// SPDX-License-Identifier: BSD-3-Clause
//
// command: what a command is, declared once beside its handler, at the foot of its family's file in
// src/commands/. COMMAND, COMMAND DOCS, ACL, arity checks, key extraction and routing over the
// shards all derive from the declaration.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct ctx;
struct engine;

enum command_flag {
    CMD_WRITE = 1u << 0,
    CMD_READONLY = 1u << 1,
    CMD_DENYOOM = 1u << 2,
    CMD_ADMIN = 1u << 3,
    CMD_PUBSUB = 1u << 4,
    CMD_NOSCRIPT = 1u << 5,
    CMD_BLOCKING = 1u << 6,
    CMD_LOADING = 1u << 7,
    CMD_STALE = 1u << 8,
    CMD_SKIP_MONITOR = 1u << 9,
    CMD_SKIP_SLOWLOG = 1u << 10,
    CMD_ASKING = 1u << 11,
    CMD_FAST = 1u << 12,
    CMD_NO_AUTH = 1u << 13,
    CMD_MAY_REPLICATE = 1u << 14,
    CMD_NO_MANDATORY_KEYS = 1u << 15,
    CMD_NO_ASYNC_LOADING = 1u << 16,
    CMD_NO_MULTI = 1u << 17,
    CMD_MOVABLE_KEYS = 1u << 18,
    CMD_ALLOW_BUSY = 1u << 19,
    CMD_PROTECTED = 1u << 20, // needs enable-debug-command or the like
    // Gyre's own, not shown by COMMAND:
    CMD_MEETS = 1u << 26, // asks every shard, but all at one instant: between their answers nobody
                          // may be served who waits at another
    CMD_SUBSCRIBER = 1u << 27, // may run on a RESP2 connection that has subscriptions
    CMD_SESSION =
        1u << 28, // reads or changes the connection's session: runs at home, alone in its run
};

enum command_acl { // categories; @write, @read, @fast, @slow, @admin … that follow from the flags
                   // are added
    ACL_KEYSPACE = 1u << 0,
    ACL_READ = 1u << 1,
    ACL_WRITE = 1u << 2,
    ACL_SET = 1u << 3,
    ACL_SORTEDSET = 1u << 4,
    ACL_LIST = 1u << 5,
    ACL_HASH = 1u << 6,
    ACL_STRING = 1u << 7,
    ACL_BITMAP = 1u << 8,
    ACL_HYPERLOGLOG = 1u << 9,
    ACL_GEO = 1u << 10,
    ACL_STREAM = 1u << 11,
    ACL_PUBSUB = 1u << 12,
    ACL_ADMIN = 1u << 13,
    ACL_FAST = 1u << 14,
    ACL_SLOW = 1u << 15,
    ACL_BLOCKING = 1u << 16,
    ACL_DANGEROUS = 1u << 17,
    ACL_CONNECTION = 1u << 18,
    ACL_TRANSACTION = 1u << 19,
    ACL_SCRIPTING = 1u << 20,
};

// How a command spans shards (src/README.md). It matters only with more than one thread.
enum command_span {
    SPAN_KEYS = 0, // on its keys' shard; keys on several shards meet. Without keys: at home
    SPAN_SUM,      // each shard its keys, integers added up. Without keys: every shard
    SPAN_POSITION, // each shard its keys, one element a key, put back in the order of the keys
    SPAN_ALL_OK,   // each shard its keys, +OK if all say so, else the first error. Without keys:
                   // every shard
    SPAN_GATHER, // a read that costs as much as its keys' values are big: each shard copies those,
                 // the handler runs on the copies at home
    SPAN_CONCAT, // every shard; arrays joined
    SPAN_TEXT,   // every shard; bulk or verbatim strings joined
    SPAN_CURSOR, // SCAN: one shard after the other, the cursor says which
    SPAN_MEET_ALL, // all shards park
    SPAN_HOME,     // no keys: at home, in the order of its inbox (PUBLISH)
    SPAN_SESSION,  // changes the session and what every shard knows of it (SUBSCRIBE): once nothing
                  // of the connection is under way, the handler runs on every shard without a reply
                  // (CTX_IS_PART; it reads the session), then `conclude` at home
};

enum key_flag { // as COMMAND INFO shows them in key specifications
    KEY_RO = 1u << 0,
    KEY_RW = 1u << 1,
    KEY_OW = 1u << 2,
    KEY_RM = 1u << 3,
    KEY_ACCESS = 1u << 4,
    KEY_UPDATE = 1u << 5,
    KEY_INSERT = 1u << 6,
    KEY_DELETE = 1u << 7,
    KEY_NOT_KEY = 1u << 8,
    KEY_INCOMPLETE = 1u << 9,
    KEY_VARIABLE_FLAGS = 1u << 10,
};

// Where keys stand among the arguments: begin at an index or behind a keyword; from there a range
// or a number followed by that many keys.
struct key_spec {
    uint16_t flags;      // enum key_flag; 0: no such specification
    int16_t begin;       // index; with a keyword: where the search starts (negative: from the end,
                         // backwards); 0 without one: nobody can tell (SORT), see get_keys
    const char *keyword; // NULL: begin is the index
    bool is_keynum;      // false: last/step/limit; true: keynum/first/step
    int16_t last;  // range: last key relative to begin, negative from the end of the arguments
    int16_t step;  // from one key to the next
    int16_t limit; // range with last == -1: the last 1/limit of the arguments are no keys (0, 1:
                   // all are)
    int16_t keynum, first; // keynum: positions relative to begin of the number and of the first key
};

#define KEY_SPECS_MAX 3

// One specification: keys at `first`, then every `step`, up to `last` (absolute; negative: from the
// end).
#define KEYS(first_, last_, step_, flags_)                                                         \
    {                                                                                              \
        .flags = (flags_), .begin = (first_), .last = (last_) >= 0 ? (last_) - (first_) : (last_), \
        .step = (step_)                                                                            \
    }

typedef void (*command_fn)(struct ctx *ctx);

struct command;
// Finds the keys where specifications do not suffice (SORT, MIGRATE, BITFIELD); as command_keys.
typedef int (*command_keys_fn)(const struct command *c, int argc, const struct slice *argv,
                               int *positions, uint16_t *flags_out, int max);
// SPAN_SUM: writes the reply that is made of the sum. Called at home, once, after parts
// (CTX_IS_PART) on several shards have answered integers that were added up; not if one answered an
// error. A handler that runs whole calls it itself.
typedef void (*command_finish_fn)(struct ctx *ctx, int64_t sum);
// A command that waits may find at `key` what it waits for: takes it, replies and returns true
// (also with an error), or returns false, and goes on waiting. See engine/block.h.
typedef bool (*command_serve_fn)(struct ctx *ctx, struct slice key);

// What a command is to transactions, where requests are read (server/transaction.c).
enum command_transaction {
    TRANSACTION_NONE, // queued between MULTI and EXEC
    TRANSACTION_MULTI,
    TRANSACTION_EXEC,
    TRANSACTION_DISCARD,
    TRANSACTION_WATCH,
    TRANSACTION_UNWATCH,
};

struct command {
    const char
        *name; // lower case; of a subcommand: its own word only. NULL ends an array of subcommands
    command_fn handler;
    uint8_t transaction; // enum command_transaction
    uint8_t member; // argument that names a member (field) of the first key's value, to be fetched
                    // ahead; 0: none
    int16_t arity;  // with the name (and the container's); negative: at least
    uint16_t id;    // place in the table; set by the table
    uint32_t flags;
    uint32_t acl;
    enum command_span span;
    // For a command whose arguments decide how it spans (DEBUG, EVAL). NULL: `span` holds. Any
    // thread.
    enum command_span (*span_of)(const struct engine *e, int argc, const struct slice *argv);
    // For a command whose arguments may say what it does (EVAL): those of CMD_WRITE, CMD_DENYOOM
    // and CMD_MAY_REPLICATE that hold. NULL: `flags` holds. Any thread.
    uint32_t (*flags_of)(const struct engine *e, int argc, const struct slice *argv);
    struct key_spec keys[KEY_SPECS_MAX];
    const struct command *subcommands; // a container; its handler is called for HELP-less unknown
                                       // forms only if not NULL
    // For COMMAND DOCS:
    const char *group; // "string", "generic", "connection", "server" …
    const char *since, *complexity, *summary;
    // Arguments in the notation of COMMAND DOCS' syntax lines: words are arguments, WORDS IN
    // CAPITALS tokens, [optional], <a | b> alternatives, ... repeats. "name:type" where the type
    // does not follow from the name (engine/command_docs.c lists the names it knows).
    const char *args;
    const char *history;      // "7.0.0: Added the `NX` option.\n6.0.0: …", or NULL
    const char *tips;         // "nondeterministic_output request_policy:all_shards …", or NULL
    const char *deprecated;   // "6.2.0: `GETEX` …" (since: replaced by), or NULL
    command_finish_fn finish; // SPAN_SUM whose reply is not simply the sum; else NULL
    command_fn conclude;      // SPAN_SESSION: changes the session and replies
    command_serve_fn serve;   // of a command that may block (engine/block.h); else NULL
    command_serve_fn would_serve; // asked before, of the key only: there is no session, and nothing
                                  // may be replied; NULL: it would
    command_keys_fn get_keys;     // NULL: the specifications say it all
    const struct command *parent; // set by the table
    const char *full_name;        // "client|list"; set by the table
};

// How this call spans the shards; argv fits the command's arity.
static inline enum command_span command_span_of(const struct engine *e, const struct command *c,
                                                int argc, const struct slice *argv)
{
    return __builtin_expect(c->span_of != NULL, 0) ? c->span_of(e, argc, argv) : c->span;
}

// The flags of this call; argv fits the command's arity.
static inline uint32_t command_flags_of(const struct engine *e, const struct command *c, int argc,
                                        const struct slice *argv)
{
    return __builtin_expect(c->flags_of != NULL, 0) ? c->flags_of(e, argc, argv) : c->flags;
}

// May this call change what replicas would have to know?
static inline bool command_may_write(const struct engine *e, const struct command *c, int argc,
                                     const struct slice *argv)
{
    return command_flags_of(e, c, argc, argv) & (CMD_WRITE | CMD_MAY_REPLICATE);
}

// Does it publish, in so many words? (Scripts may, too.)
static inline bool command_publishes(const struct command *c)
{
    enum { PUBLISHES = CMD_PUBSUB | CMD_MAY_REPLICATE };
    return (c->flags & PUBLISHES) == PUBLISHES;
}

// --- table ---------------------------------------------------------------------------------------

struct command_table;

// Builds the table out of families (a list that ends with NULL, of arrays that end with a NULL
// name). The table copies the declarations; their strings stay the caller's. Lives as long as the
// engine.
struct command_table *command_table_new(const struct command *const *families);
void command_table_free(struct command_table *t);
// Every command and subcommand has an id below this.
uint32_t command_count(const struct command_table *t);
const struct command *command_at(const struct command_table *t, uint32_t id);
// The top-level command of this name, in any case; NULL if unknown.
const struct command *command_find(const struct command_table *t, struct slice name);
// Number of top-level commands, and one by one in the order of their declaration.
uint32_t command_top_count(const struct command_table *t);
const struct command *command_top(const struct command_table *t, uint32_t index);
const struct command *command_find_sub(const struct command *container, struct slice name);
// "client|list" or "get".
const struct command *command_find_full(const struct command_table *t, struct slice full_name);

// --- keys ----------------------------------------------------------------------------------------

// Positions (in argv) of the command's keys, at most `max`; returns how many there are (may be more
// than max), or -1 if the arguments do not fit the specification. flags_out: NULL or room for
// `max`.
int command_keys(const struct command *c, int argc, const struct slice *argv, int *positions,
                 uint16_t *flags_out, int max);
// Position of the first key, 0 if there is none.
int command_first_key(const struct command *c, int argc, const struct slice *argv);
bool command_arity_fits(const struct command *c, int argc);
// Do any of its arguments name keys? (Not those whose specification says KEY_NOT_KEY.)
bool command_has_keys(const struct command *c);

// The keys as the triple that clients before Redis 7 know: first, last (negative: from the end),
// step; all 0: none can be said. is_partial: it does not yield all keys, or some that are none
// ("movablekeys").
struct command_range {
    int16_t first, last, step;
    bool is_partial;
};
struct command_range command_range(const struct command *c);
