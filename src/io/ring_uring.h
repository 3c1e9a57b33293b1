// SPDX-License-Identifier: BSD-3-Clause
//
// ring_uring: the io_uring backend's own struct, shared by ring_uring.c (operations, ring_run) and
// ring_uring_setup.c (the ladder of kernel features, opening and closing).
#pragma once
#include <liburing.h>

#include "io/ring_backend.h"

// What a completion belongs to: the low bits of user_data, the rest is the operation's address.
enum tag { TAG_NONE, TAG_RECV, TAG_SEND, TAG_ACCEPT, TAG_READY, TAG_EVENTFD, TAG_MSG, TAG_FILE };
#define TAG_MASK 7u

enum uring_state {
    URING_MULTI = OP_BACKEND, // a multishot request
    URING_SINGLE,             // a plain receive into a buffer of the ring
    URING_DIRECT,             // a plain receive into the owner's memory
    URING_POLL,               // a poll request
};

struct completion {
    uint64_t user_data;
    int result;
    unsigned flags;
    struct ring_buf *copy; // of the piece, if its buffer was given back meanwhile; owned
};

// An entry that was made while the ring was taken and its queue full.
struct spilled {
    struct io_uring_sqe sqe;
    struct msghdr msg; // of a vector
};

// Owned by its thread. Other threads read io.ring_fd and has_msg_ring, which never change,
// and what uring_shows_news does.
struct uring {
    struct ring base;
    struct io_uring io;
    int enter_fd;         // the registered descriptor where there is one
    int registered_index; // of it, -1: not registered
    unsigned enter_flags; // of every io_uring_enter
    uint8_t skip_success; // IOSQE_CQE_SKIP_SUCCESS where the kernel has it
    bool has_ext_arg;     // waits with a timeout
    bool has_msg_ring;
    unsigned prepared;       // entries that uring_wait is to submit,
    unsigned prepared_sends; // and small sends among them
    unsigned small_sends;    // started and not submitted
    unsigned cq_head;        // taken; cq_tail is what the kernel had written when we last looked
    unsigned cq_tail;
    // Completions were taken out of the queue and have not all been run, or a receive was armed and
    // not submitted.
    _Atomic bool is_unsettled;
    struct msghdr *msgs;     // one per submission entry
    struct spilled *spilled; // an array: these come behind all that are in the queue
    unsigned spilled_count;
    unsigned spilled_cap;

    struct io_uring_buf_ring *buf_ring; // NULL on RING_LEVEL_PLAIN
    int buf_pending;                    // buffers added to it, not published yet

    // Completions taken out while the submission queue was full; run before those in the queue.
    struct completion *backlog;
    unsigned backlog_next;
    unsigned backlog_end;
    unsigned backlog_cap;

    // Completions of receives that are held (ring_recv.is_held), put aside by the ring_run that met
    // them; at its end they stand at the head of the backlog. Their pieces are copied: what a held
    // receive gets must not take the buffers away from all others.
    struct completion *held;
    unsigned held_count;
    unsigned held_cap;

    uint64_t wake_count; // what reading the eventfd stores
};

static inline struct uring *uring_of(struct ring *ring)
{
    return CONTAINER_OF(ring, struct uring, base);
}

extern const struct ring_ops uring_ops;

// An entry to fill at once, to be submitted by the next ring_run. Never NULL.
struct io_uring_sqe *uring_sqe_get(struct uring *u);
// Asks to be told when somebody writes the ring's eventfd.
void uring_watch_eventfd(struct uring *u);
// Waits for the operations of files that are under way, and ends them without their callbacks. All
// other requests that were not submitted yet never will be.
void uring_finish_files(struct uring *u);
void uring_close(struct ring *ring);
