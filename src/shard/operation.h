// SPDX-License-Identifier: BSD-3-Clause
//
// operation: commands on their way over the shards. One connection's commands of one read that
// travel together (a batch), or one command whose shards must meet.
//
//     operation ---- parts[0..n)   one for each shard concerned: what enters that shard's inbox
//         |              |
//     requests       pieces        a command, or one shard's portion of it, in order
//
// A batch enters all its inboxes in one indivisible step (shard_submit), each shard runs its part
// when it gets there, and the home shard puts the replies back in order (merge.h) when the last has
// finished. A meeting's parts park their shards; the last to arrive runs the command against all of
// them.
//
// Ownership: the home shard makes and frees it. While it is under way the parts belong to the
// shards that run them, and everything else is read-only. Arguments are borrowed from the
// connection's receive buffers, which the connection holds until `done`.
#pragma once
#include <stdatomic.h>
#include <stdint.h>

#include "engine/ctx.h"
#include "shard/inbox.h"

#define OPERATION_BLOCK_BYTES 8192 // of the blocks that operations are cut from

struct operation;
struct log_tx;
struct call;
struct waiter;
struct watch;

// What is kept back until logs are safe (logging.h); embedded in what waits.
// Until this shard's log is safe up to a seq.
struct held {
    struct held *next;
    uint64_t seq;
    void (*release)(struct shard *shard, struct held *held); // on the shard's thread
};

// Mail for a shard, until all logs that a meeting has written to are safe.
struct ending {
    struct ending *next;
    struct mail *mail;
    uint32_t shard;
};

struct piece {
    const struct command *cmd; // NULL: refused by engine_admit; executing it writes the error
    const char *say; // it is not executed but answers this line (+ or -); NULL: it is executed
    struct slice *argv;
    struct blob **blobs; // per argument, or NULL
    int argc;
    uint32_t ctx_flags;    // beside those of the operation
    const char *first_key; // see struct ctx
    uint64_t first_hash;
    uint64_t member_hash;      // of the argument cmd->member, once it was computed
    size_t reply_bytes;        // out: length of its reply within the part's
    uint64_t ticks;            // out: how long it took
    struct keyspace *gathered; // out, SPAN_GATHER: copies of its keys' values (gather.h); owned
    struct piece *next;        // in the same part
    struct log_tx *tx;         // the unit that ends with this piece goes on elsewhere (logging.h)
    uint32_t tx_part;          // which of its parts this is
};

// Soon done, and may be run by a thread that stands in for the shard? No script, nothing for
// admins.
static inline bool piece_is_light(const struct piece *p)
{
    enum { HEAVY = ACL_SCRIPTING | ACL_DANGEROUS | ACL_PUBSUB };
    return !p->cmd || !(p->cmd->acl & HEAVY);
}

struct part {
    struct inbox_item item;
    struct operation *op;
    uint32_t shard;
    struct piece *first, *last;
    struct held held;    // executed, and waits for the log
    struct reply reply;  // of all pieces, one behind the other
    const char *refused; // out: with this error, all of it (refuse.h); NULL: it ran
    bool is_parked;      // a meeting: its shard waits in it
};

struct request {           // one command of the connection, as it came
    struct piece whole;    // the command itself; runs as it is unless it was split
    uint32_t piece_count;  // 0: answered at home already, in op->local
    struct piece *pieces;  // split over shards: one a part, an array; else NULL
    uint32_t *pieces_part; // index of the part each of them is in
    uint32_t part;         // not split: index of its part
    uint32_t *key_owner;   // SPAN_POSITION: which of `pieces` has the i-th key
    uint32_t key_count;
    size_t local_bytes; // answered at home: length within op->local
    bool is_silent;     // CLIENT REPLY OFF or SKIP: its reply goes nowhere
};

enum operation_kind { OPERATION_BATCH, OPERATION_MEETING };

#define RUNNER_ANY       UINT32_MAX // the last to arrive
#define OPERATION_BEGINS ""         // operation.claim

struct operation {
    struct mail finished; // to the home shard
    enum operation_kind kind;
    uint32_t home;
    uint32_t runner;          // a meeting: the shard that must run it, or RUNNER_ANY
    _Atomic uint32_t waiting; // parts that have not finished (a meeting: not arrived);
                              // release/acquire on the way down
    // One that happens as a whole: NULL, OPERATION_BEGINS, or the error with which it is refused.
    _Atomic(const char *) claim;
    struct part *parts; // an array, ascending by shard
    uint32_t part_count;
    struct request *requests; // an array
    uint32_t request_count;
    struct reply local; // replies made at home while the batch was put together
    // For the ctx of every piece:
    struct session *session;
    uint32_t db, ctx_flags;
    uint8_t resp;
    int64_t now_ms;
    // A meeting that is none of a connection's commands (serve.c): runs in place of the requests.
    void (*meet)(struct shard *shard, struct ctx *ctx, struct operation *op);
    struct operation *with; // the next of those that meet together with this one; home's, then the
                            // runner's
    struct mail summons;    // to the runner, when all have arrived
    // What it writes on several shards is one unit for the log (logging.h).
    uint64_t txid;       // a meeting's
    struct log_tx **txs; // an array: a batch's, in the order of the requests
    uint32_t tx_count;
    struct held served; // a waiter was served, and its reply waits for the log
    struct ending ending;
    // A transaction: the requests are its commands.
    bool is_exec;
    bool is_refused;      // out: a watched key had changed; nothing was run
    bool follows_session; // each command runs with the database and the settings of its moment
    struct watch *watch;  // what EXEC looks at first, or NULL; a reference, owned
    const struct command *exec; // the declaration of EXEC, and its time
    uint64_t exec_ticks;
    struct call *queued; // those with blobs, whose references the connection gives back; or NULL
    uint32_t queued_count;
    bool is_whole;        // on several shards
    bool runs_scripts;    // one of its commands does
    bool follows_script;  // one of the same connection's that was under way when it entered
    bool is_spread;       // may block on several shards; counted (engine.h)
    bool has_run;         // at home: a meeting that changes subscriptions is over
    bool changes_session; // nothing of the connection goes on before it is done
    bool holds_up_input;  // it does, or may close the connection (CLIENT KILL)
    // A command that may block, alone in its operation.
    bool may_block;
    bool is_blocked;       // at home: it was told that the command waits,
    bool is_early;         // or, before that, that it was served
    struct mail blocked;   // to home: it waits
    struct waiter *waiter; // NULL: it did not; a reference, owned
    // Home's thread, when all is done:
    void (*done)(struct operation *op);
    void (*on_blocked)(struct operation *op); // when it began to wait
    void *owner;                              // the connection
    struct operation *next;                   // of the connection, in order
    struct reply *behind; // answered at home or pushed to it meanwhile; NULL if nothing was
    bool is_done;
    void *held[4];                  // the connection's: buffers it holds for the arguments
    struct operation_block *blocks; // memory
};

struct operation_block {
    struct operation_block *next;
    size_t used, cap;
    char data[] __attribute__((aligned(16)));
};

// A home shard's spare blocks. Owned by its thread.
struct operation_pool {
    struct operation_block *spare;
    uint32_t spare_count;
    uint32_t spare_least; // since operation_pool_trim
};

struct operation *operation_new(struct operation_pool *pool);
// Frees it with its replies; what it borrowed is the connection's business.
void operation_free(struct operation_pool *pool, struct operation *op);
void operation_pool_free(struct operation_pool *pool);
// Now and then: frees some of what was not needed since the last time.
void operation_pool_trim(struct operation_pool *pool);
// Zeroed memory that lives as long as the operation; aligned to 16. Home's thread, as all of these.
void *operation_alloc(struct operation_pool *pool, struct operation *op, size_t bytes);
// The same, but whatever is in it: it will be written.
void *operation_room(struct operation_pool *pool, struct operation *op, size_t bytes);
// Gives a reply that is empty `bytes` of room there.
void operation_lend_room(struct operation_pool *pool, struct operation *op, struct reply *reply,
                         uint32_t bytes);
// What stands behind the operation's replies (op->behind), with a little room of its own.
struct reply *operation_behind(struct operation_pool *pool, struct operation *op);
// parts[0..count), one for each shard of `shards` (ascending), with no room for replies.
void operation_set_parts(struct operation_pool *pool, struct operation *op, const uint32_t *shards,
                         uint32_t count);
// Appends a piece to a part.
void part_add(struct part *part, struct piece *piece);
