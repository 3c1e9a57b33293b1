// SPDX-License-Identifier: BSD-3-Clause
//
// ring_backend: what the two backends share behind ring.h. Nobody outside src/io includes this.
//
// Life of an operation: OP_IDLE -> (start) -> a state in which somebody will come back to it ->
// final callback, before which it is OP_IDLE again. Somebody is the kernel (OP_ARMED and the
// backend's own states from OP_BACKEND on), or one of the queues below. An operation is in at most
// one queue, and never in a queue while the kernel knows it; that is what lets one `next` pointer
// and one `state` do.
#pragma once
#include <pthread.h>

#include "base/assert.h"
#include "io/ring.h"

enum op_state {
    OP_IDLE = 0, // not started: the owner may free it
    OP_ARMED,    // the kernel will report
    OP_RUNNING,  // its callback runs or is about to; no request in the kernel
    OP_WAITING,  // in a queue of the ring: for a buffer (recv) or for the end of a pause (accept)
    OP_FINISHED, // in the queue of those whose final callback is due (`error` is its result)
    OP_BACKEND,  // the first of the backend's own states
};

enum op_flag {
    OP_STOPPING = 1u << 0,  // the owner wants no more
    OP_CANCELING = 1u << 1, // a cancellation is on its way to the kernel
};

// A queue of operations linked by `next`. Macros because they serve several operation types.
#define QUEUE(type)                                                                                \
    struct {                                                                                       \
        struct type *first;                                                                        \
        struct type *last;                                                                         \
    }
#define QUEUE_PUSH(queue, op)                                                                      \
    do {                                                                                           \
        (op)->next = NULL;                                                                         \
        if ((queue)->first)                                                                        \
            (queue)->last->next = (op);                                                            \
        else                                                                                       \
            (queue)->first = (op);                                                                 \
        (queue)->last = (op);                                                                      \
    } while (0)
#define QUEUE_POP(queue, op)                                                                       \
    do {                                                                                           \
        (op) = (queue)->first;                                                                     \
        (queue)->first = (op)->next;                                                               \
    } while (0)

struct ring_ops {
    const char *name;
    void (*close)(struct ring *ring);
    void (*recv_start)(struct ring *ring, struct ring_recv *recv);
    void (*recv_stop)(struct ring *ring, struct ring_recv *recv);
    void (*recv_check)(struct ring *ring, struct ring_recv *recv); // NULL: nothing is ever missed
    void (*recv_arm)(struct ring *ring, struct ring_recv *recv);   // again, after OP_WAITING
    void (*send_arm)(struct ring *ring, struct ring_send *send);
    void (*accept_start)(struct ring *ring, struct ring_accept *accept);
    void (*accept_stop)(struct ring *ring, struct ring_accept *accept);
    void (*accept_arm)(struct ring *ring, struct ring_accept *accept); // again, after a pause
    void (*ready_start)(struct ring *ring, struct ring_ready *ready);
    void (*ready_stop)(struct ring *ring, struct ring_ready *ready);
    void (*file_start)(struct ring *ring, struct ring_file *file);
    void (*buf_return)(struct ring *ring, struct ring_buf *buf);
    bool (*prepare)(struct ring *ring); // false: there is something to run
    // Touches nothing that the start of an operation touches.
    void (*wait)(struct ring *ring, int64_t timeout_us, uint32_t batch);
    int (*run)(struct ring *ring, int64_t timeout_us);
    bool (*has_started)(struct ring *ring);
    bool (*shows_news)(struct ring *ring); // any thread; unless the ring is blind
    bool (*has_more)(struct ring *ring);
    void (*await_kernel)(struct ring *ring); // or NULL
    void (*wake)(struct ring *from, struct ring *target);
};

// Owned by the thread that opened it, or by one that has taken it. Other threads read `ops`,
// `is_blind` and `event_fd` (which never change).
struct ring {
    const struct ring_ops *ops;
    enum ring_level level;
    int event_fd;    // written to wake the ring
    pthread_t home;  // that opened it; never changes
    pthread_t owner; // that one, or who has taken it
    bool is_taken;
    uint8_t depth;   // ring_runs on the stack: one within the callback of another is the second
    bool is_woken;   // by its own thread: the next wait returns at once
    bool is_blind;   // ring_is_blind; never changes
    bool is_closing; // inside ring_close: no callbacks
    int callbacks;   // run in this ring_run
    int file_count;  // operations of files under way

    // Receive buffers: bufs[i] is buf_bytes at memory + i * buf_bytes. lent_count of them are with
    // the owners of receives; of the others, `spare` is a stack (where the kernel does not keep
    // them).
    struct ring_buf *bufs;
    char *memory;
    uint32_t buf_count;
    uint32_t buf_bytes;
    uint32_t lent_count;
    uint32_t spare_count;
    uint32_t *spare;

    QUEUE(ring_recv) starved; // OP_WAITING: wait for a receive buffer
    QUEUE(ring_recv) recv_finished;
    QUEUE(ring_accept) accept_paused; // OP_WAITING: until accept_resume_us
    QUEUE(ring_accept) accept_finished;
    QUEUE(ring_ready) ready_finished;
    int64_t accept_resume_us;
};

// The backends. NULL: `*reason` and `*error` (-errno) say why.
struct ring *ring_uring_open(const struct ring_options *options, int *error, const char **reason);
struct ring *ring_poll_open(const struct ring_options *options, int *error, const char **reason);

// Fills a zeroed struct ring, all buffers spare.
void backend_init(struct ring *ring, const struct ring_ops *ops,
                  const struct ring_options *options);
void backend_destroy(struct ring *ring);

// A spare buffer or NULL, and back.
struct ring_buf *backend_buf_take(struct ring *ring);
void backend_buf_return(struct ring *ring, struct ring_buf *buf);
// ASan watches buffers that nobody may look at: a piece used after its release is reported.
void backend_buf_expose(struct ring_buf *buf);
void backend_buf_hide(struct ring_buf *buf);

// Gives a piece to its owner; takes the buffer back unless it is held. Not for final results.
void backend_deliver(struct ring *ring, struct ring_recv *recv, int result, struct ring_buf *buf);
// The final callback. The operation may be gone afterwards.
void backend_recv_end(struct ring *ring, struct ring_recv *recv, int result);

// Reads what a readable socket has, within a bound that keeps one flood from starving the others.
// Returns BACKEND_AGAIN (wait for readability), -ENOBUFS (no spare buffer), or the final result,
// which the caller hands to backend_recv_end when it has taken the socket out of its books.
#define BACKEND_AGAIN 1
int backend_recv_ready(struct ring *ring, struct ring_recv *recv);
// The same for a listening socket. Returns BACKEND_AGAIN, -EBUSY (pause) or -ECANCELED (stopped:
// final).
int backend_accept_ready(struct ring *ring, struct ring_accept *accept);
// One result of accept. False: accepting pauses.
bool backend_accept_result(struct ring *ring, struct ring_accept *accept, int result);
void backend_accept_end(struct ring *ring, struct ring_accept *accept, int result);
void backend_ready_end(struct ring *ring, struct ring_ready *ready, int result);

void backend_send_begin(struct ring_send *send);
// Accounts for bytes gone. True: nothing is left.
bool backend_send_advance(struct ring_send *send, size_t bytes);
// Sends without waiting, within a bound. Returns 0 when all is gone, -EAGAIN when the rest must
// wait for room, or the error.
int backend_send_try(struct ring_send *send);
// What its owner is told at the end.
int backend_send_result(struct ring_send *send, int error);
void backend_send_end(struct ring *ring, struct ring_send *send, int error);

// Accounts for `bytes` of iov[*next] and what follows it gone, sent or written. A piece of which a
// part is left is trimmed, and `trimmed` (iov_base is NULL while none is) remembers what it was.
// True: nothing is left.
bool backend_iov_advance(struct iovec *iov, int count, int *next, struct iovec *trimmed,
                         size_t bytes);
void backend_iov_restore(struct iovec *piece, struct iovec *trimmed);

// Queues: an operation that the kernel does not know (any more).
void backend_recv_starve(struct ring *ring, struct ring_recv *recv);
void backend_recv_finish(struct ring *ring, struct ring_recv *recv, int result);
void backend_recv_unstarve(struct ring *ring, struct ring_recv *recv);
// `error`, if < 0, is still to be reported, which happens at the end of the pause.
void backend_accept_pause(struct ring *ring, struct ring_accept *accept, int error);
void backend_accept_finish(struct ring *ring, struct ring_accept *accept, int result);
void backend_ready_finish(struct ring *ring, struct ring_ready *ready, int result);

// True when any queue needs a look: a cheap guard for the two calls below.
static inline bool backend_has_queued(const struct ring *ring)
{
    return ring->starved.first || ring->recv_finished.first || ring->accept_paused.first ||
           ring->accept_finished.first || ring->ready_finished.first;
}
// Runs the final callbacks that are due, arms again what waited for a buffer or the end of a pause.
void backend_run_queued(struct ring *ring);
// How long the ring may wait at most, given the caller's wish and what is queued.
int64_t backend_clip_timeout(struct ring *ring, int64_t timeout_us);

// Writes to a ring's eventfd.
void backend_wake_by_eventfd(struct ring *target);
