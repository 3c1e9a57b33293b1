// SPDX-License-Identifier: BSD-3-Clause
//
// client: one connection: its session, what it is receiving, what it has under way, what is being
// sent. It lives on one shard (its home), whose thread alone touches it, and moves to another only
// when it is quiet.
//
// Its recv is held (ring_recv.is_held) while input.c is at work on it: see busy.h.
//
//   recv -> [query] -> calls -> executed in place, or operations -> reply -> send
//
// client.c      birth, receiving, death, moving
// input.c       from received bytes to runs of calls
// dispatch.c    from a run of calls to replies: in place or over the shards
// output.c      from replies to the socket
#pragma once
#include "engine/request.h"
#include "engine/session.h"
#include "io/ring.h"
#include "server/transaction.h"
#include "server/worker.h"
#include "shard/handover.h"
#include "shard/operation.h"

#define CLIENT_OPS_MAX   16   // operations under way; past that its socket is not read
#define CLIENT_SUBS_MAX  1024 // the same behind a SUBSCRIBE, which should be read soon (fence.h)
#define CLIENT_QUERY_MAX (64 * 1024) // unread input kept while it may not go on; past that likewise
#define CLIENT_IOV       4           // pieces of a send that need no allocation

// Received bytes that are not a whole request yet, or may not be executed yet. Operations borrow
// arguments from it, so it is counted; it never moves while someone else holds it.
struct query {
    uint32_t refs;
    size_t len, cap;
    char data[];
};

struct client {
    struct session session;
    struct worker *worker;      // home
    struct client *prev, *next; // of the worker's list
    struct client *next_dirty;  // has replies to send
    union {                     // on its way to a worker
        struct mail coming;     // for the first time
        struct handover move;
    };
    int fd;

    // Receiving.
    struct ring_recv recv;
    struct request_parser parser;
    struct query *query; // owned reference; NULL when nothing is left over
    size_t query_at;     // bytes of it that are used up
    struct blob *big;    // argument that is being received in place; owned

    // Under way, in the order of the requests.
    struct operation *ops, *ops_tail;
    uint32_t op_count;
    struct queue queue;   // between MULTI and EXEC
    uint32_t blocked_at;  // place in the worker's heap of deadlines
    struct reply *pushes; // what came while its command was run in place; owned, or NULL

    // Sending.
    struct reply reply;
    struct reply_chunk *sending; // chunks of the send under way
    struct ring_send send;
    uint64_t log_seq; // what it wrote in place stands below this in its home's log
    struct held held; // `sending` waits until that is safe
    struct iovec iov[CLIENT_IOV], *many_iov;
    size_t sending_bytes;
    size_t last_bytes; // of the latest send's beginning: how much is likely to come this time
    int64_t over_soft_since_ms; // output above the soft limit; 0: it is not

    // Hand-over: how many keyed commands in a row went to one other shard.
    uint32_t streak_shard, streak;
    uint32_t move_to; // shard to move to when quiet; own shard: stay

    bool is_receiving, is_sending, is_dirty, is_listed;
    bool is_stalled;   // input waits until operations have finished
    bool is_paused;    // input waits for the end of CLIENT PAUSE, a stop, a snapshot, or the fence
    bool is_postponed; // for the first: what waits has not begun
    uint64_t paused_number; // who was held up first, goes on first
    uint8_t fence;          // enum fence_state; rounds that it has waited for
    uint8_t fence_rounds;
    bool is_dead;       // being torn down; freed when nothing is under way
    bool is_over_limit; // does not read what is pushed to it: gets no more, the flush kills it
    bool is_stopping_recv;
    bool is_executing; // in place, at this moment
    bool has_eof;      // the peer has finished sending
    bool had_keyed;    // a keyed command came already
    uint64_t in_bytes, out_bytes;
};

// A connection on this socket; the session's id is given by the engine. Owned by the caller until
// client_adopt.
struct client *client_new(struct server *server, int fd, bool is_unix_socket);
// Says in the log, at level verbose, what happened to it.
void client_log(const struct client *c, const char *what);
// Makes it live on this worker: the worker's thread.
void client_adopt(struct worker *w, struct client *c);
// A new connection is handed to a worker.
void client_post(struct worker *to, struct client *c);
// Tears it down: at once, dropping what was not sent.
void client_kill(struct client *c);
// Frees what never was adopted.
void client_discard(struct client *c);
// Something that kept its input waiting may have gone.
void client_resume(struct client *c);
// Reads on unless enough is waiting.
void client_receive(struct client *c);
// Frees it if it is dead and nothing is under way; moves it if it wants to move and is quiet.
void client_settle(struct client *c);

// input.c: uses up what it can of the bytes at `data` (which begin where the parser stands);
// returns how many. The bytes are held through exactly one of buf and query when operations borrow
// them.
size_t input_consume(struct client *c, char *data, size_t len, struct ring_buf *buf,
                     struct query *query);

// dispatch.c
struct call;
// Runs calls[0..count) of one connection: in place or as an operation. The last may be a
// ROUTE_QUIET one, which has been checked to be allowed to run. `parser_owned`: the last call's
// arguments belong to c->parser.
void dispatch_run(struct client *c, struct call *calls, uint32_t count, struct ring_buf *buf,
                  struct query *query, bool is_parser_owned);
// May another run be dispatched, and may a ROUTE_QUIET call?
bool dispatch_has_room(const struct client *c);
// See shard_hooks.
bool dispatch_is_light(const struct operation *op);

// Something that is no reply, for the connection to read (a message, an invalidation): written into
// what begin returns, a RESP2 or RESP3 reply as the session's version is, and ended before anything
// else happens. It stands behind the replies of what is under way now. Home's thread.
struct reply *client_push_begin(struct client *c);
void client_push_end(struct client *c);
void push_discard(struct client *c);

// output.c. What is to be sent at the end of the turn goes out in this order: those who have been
// waiting, those with replies, those with messages, of whom there may be many. Who has its reply
// asks the next thing meanwhile.
void output_mark_dirty_first(struct client *c);
void output_mark_dirty(struct client *c);
void output_mark_dirty_last(struct client *c);
// Takes the first one out, which is marked still; NULL: there is none.
struct client *output_next_dirty(struct worker *w);
// Starts sending what was replied, if no send is under way.
void output_flush(struct client *c);
void output_init(struct client *c);
// Checks the output buffer limits; kills the client that is beyond them.
void output_check_limits(struct client *c, int64_t now_ms);
size_t output_bytes(const struct client *c);
// Gives a reply one of the worker's spare chunks, if there is one, for when it needs a new one.
void output_lend_chunk(struct worker *w, struct reply *r);
// Room for `bytes` more of a push: a small chunk for a connection that is not told much in a turn.
char *output_reserve_push(struct client *c, struct reply *r, size_t bytes);
// Now and then: frees spare chunks that were not needed since the last time.
void output_trim(struct worker *w);
