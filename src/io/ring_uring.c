// SPDX-License-Identifier: BSD-3-Clause
//
// The ring on io_uring. Operations become submission entries (SQE) at once; one io_uring_enter in
// ring_run hands all of them over, waits, and lets the kernel run what it put off for us
// (DEFER_TASKRUN); completions (CQE) are then taken from shared memory. So a tick costs one system
// call whatever the number of connections, and none when there is nothing to hand over and nothing
// to wait for.
//
// A CQE finds its operation by its user_data: the operation's address, its kind in the three low
// bits. The kernel knows at most one request of an operation at a time, so a CQE without F_MORE
// means that the kernel is done with it; only then is the final callback run, and the struct the
// owner's again.
//
// Receiving, at RING_LEVEL_MULTISHOT and above: one multishot request per connection, which takes
// buffers from a ring of buffers shared with the kernel. To receive into the owner's memory that
// request is cancelled, and plain receives follow until direct_left is 0:
//
//     MULTI --direct_left > 0: cancel--> (last pieces) --> DIRECT --> DIRECT ... --> MULTI
//     MULTI --ENOBUFS--> starved --a buffer came back--> SINGLE --> MULTI, or starved again
//
// SINGLE takes one buffer. A multishot request takes up to 32 in one go, so that a flood armed
// first would leave none to all others, for ever.
//
// On RING_LEVEL_PLAIN a poll request per idle connection takes no buffer, and what is readable is
// read without blocking, as on epoll.
//
// Setting up and probing is ring_uring_setup.c's.
#include "io/ring_uring.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/ring_file.h"

enum {
    SEND_BYTES_MAX = 1 << 30,    // sqe->len has 32 bits, and a transfer ends below 2 GiB anyhow
    SEND_PIECES_MAX = 1024,      // UIO_MAXIOV, the kernel's limit
    SEND_BYTES_SMALL = 16 << 10, // unless its reader sleeps, it is in the socket at once
    SUBMIT_TRIES_MAX = 10000, // with pauses of 100 us: a kernel without memory for so long is lost
};

// ---- submission ----

static uint64_t user_data(const void *op, enum tag tag)
{
    ASSERT_SLOW(((uintptr_t)op & TAG_MASK) == 0);
    return (uintptr_t)op | tag;
}

// The number of entries that the kernel has not taken yet.
static unsigned sq_publish(struct uring *u)
{
    struct io_uring_sq *sq = &u->io.sq;
    sq->sqe_head = sq->sqe_tail;
    // Release: the kernel (of this same thread, in io_uring_enter) sees the entries before the
    // tail.
    __atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
    return sq->sqe_tail - __atomic_load_n(sq->khead, __ATOMIC_RELAXED);
}

static int enter(struct uring *u, unsigned submit, unsigned wait, unsigned flags,
                 int64_t timeout_us)
{
    struct __kernel_timespec ts = {timeout_us / 1000000, timeout_us % 1000000 * 1000};
    struct io_uring_getevents_arg arg = {.sigmask_sz = _NSIG / 8, .ts = (uintptr_t)&ts};
    // liburing's `pad` is min_wait_usec since Linux 6.12: after so long one completion is enough.
    if (wait > 1) arg.pad = RING_BATCH_US;
    flags |= u->enter_flags;
    if (timeout_us > 0)
        return io_uring_enter2((unsigned)u->enter_fd, submit, wait, flags | IORING_ENTER_EXT_ARG,
                               (sigset_t *)&arg, sizeof arg);
    return io_uring_enter2((unsigned)u->enter_fd, submit, wait, flags, NULL, _NSIG / 8);
}

// Relaxed: seen with the completion queue's head, or whatever else of this thread is stored with
// release afterwards.
static void unsettle(struct uring *u)
{
    atomic_store_explicit(&u->is_unsettled, true, memory_order_relaxed);
}

// Moves all completions out of the kernel's reach, so that it has room again.
static void backlog_fill(struct uring *u)
{
    unsettle(u);
    // Acquire: the entries are written before the tail.
    unsigned tail = __atomic_load_n(u->io.cq.ktail, __ATOMIC_ACQUIRE);
    while (u->cq_head != tail) {
        if (u->backlog_end == u->backlog_cap) {
            u->backlog_cap = MAX(u->backlog_cap * 2, 256u);
            u->backlog = mem_realloc(u->backlog, u->backlog_cap * sizeof *u->backlog);
        }
        const struct io_uring_cqe *cqe = &u->io.cq.cqes[u->cq_head++ & u->io.cq.ring_mask];
        u->backlog[u->backlog_end++] =
            (struct completion){cqe->user_data, cqe->res, cqe->flags, NULL};
    }
    u->cq_tail = tail;
    // Release: the entries have been read before the kernel may overwrite them.
    __atomic_store_n(u->io.cq.khead, u->cq_head, __ATOMIC_RELEASE);
}

// The submission queue is full: hand it over now. The kernel may refuse while completions overflow,
// or for lack of memory; neither is the caller's trouble.
static void sq_make_room(struct uring *u)
{
    for (int i = 0; i < SUBMIT_TRIES_MAX; i++) {
        unsigned submit = sq_publish(u);
        int rc = enter(u, submit, 0, 0, 0);
        if (rc > 0 && io_uring_sq_space_left(&u->io) > 0) return;
        if (rc == -EINTR) continue;
        backlog_fill(u);
        struct timespec pause = {0, 100000};
        if (rc <= 0 && rc != -EBUSY) nanosleep(&pause, NULL);
    }
    ASSERT(!"io_uring takes no submissions");
}

// Who has taken the ring cannot hand anything over: that is for its own thread, which may be doing
// so right now.
static struct io_uring_sqe *spill(struct uring *u)
{
    if (u->spilled_count == u->spilled_cap) {
        u->spilled_cap = MAX(u->spilled_cap * 2, 64u);
        u->spilled = mem_realloc(u->spilled, u->spilled_cap * sizeof *u->spilled);
    }
    return &u->spilled[u->spilled_count++].sqe;
}

struct io_uring_sqe *uring_sqe_get(struct uring *u)
{
    struct io_uring_sq *sq = &u->io.sq;
    unsigned used = sq->sqe_tail - __atomic_load_n(sq->khead, __ATOMIC_RELAXED);
    if (UNLIKELY(used >= sq->ring_entries || u->spilled_count)) {
        if (u->base.is_taken) return spill(u);
        sq_make_room(u);
    }
    return &sq->sqes[sq->sqe_tail++ & sq->ring_mask];
}

// Where the header of the entry's vector is kept until it is submitted.
static struct msghdr *msg_of(struct uring *u, const struct io_uring_sqe *sqe)
{
    if (UNLIKELY(u->spilled_count > 0)) return &u->spilled[u->spilled_count - 1].msg;
    return &u->msgs[sqe - u->io.sq.sqes];
}

// The own thread is back.
static void put_back_spilled(struct uring *u)
{
    unsigned count = u->spilled_count;
    if (LIKELY(!count)) return;
    u->spilled_count = 0;
    for (unsigned i = 0; i < count; i++) {
        struct io_uring_sqe *sqe = uring_sqe_get(u);
        *sqe = u->spilled[i].sqe;
        if (sqe->opcode != IORING_OP_SENDMSG) continue;
        struct msghdr *msg = msg_of(u, sqe);
        *msg = u->spilled[i].msg;
        sqe->addr = (uintptr_t)msg;
    }
}

static void submit_cancel(struct uring *u, const void *op, enum tag tag)
{
    struct io_uring_sqe *sqe = uring_sqe_get(u);
    io_uring_prep_cancel64(sqe, user_data(op, tag), 0);
    sqe->flags |= u->skip_success;
    sqe->user_data = TAG_NONE;
}

static void submit_poll(struct uring *u, int fd, unsigned events, const void *op, enum tag tag)
{
    struct io_uring_sqe *sqe = uring_sqe_get(u);
    io_uring_prep_poll_add(sqe, fd, events);
    sqe->user_data = user_data(op, tag);
}

void uring_watch_eventfd(struct uring *u)
{
    struct io_uring_sqe *sqe = uring_sqe_get(u);
    io_uring_prep_read(sqe, u->base.event_fd, &u->wake_count, sizeof u->wake_count, 0);
    sqe->user_data = TAG_EVENTFD;
}

// ---- buffers ----

static void uring_buf_return(struct ring *ring, struct ring_buf *buf)
{
    struct uring *u = uring_of(ring);
    if (!u->buf_ring) {
        backend_buf_return(ring, buf);
        return;
    }
    if (UNLIKELY(buf < ring->bufs || buf >= ring->bufs + ring->buf_count)) {
        mem_free(buf); // a copy
        return;
    }
    ASSERT(ring->lent_count > 0);
    ring->lent_count--;
    backend_buf_hide(buf);
    // Published in bulk, before the next io_uring_enter.
    io_uring_buf_ring_add(u->buf_ring, buf->data, buf->cap_bytes, (uint16_t)(buf - ring->bufs),
                          (int)(ring->buf_count - 1), u->buf_pending++);
}

static void bufs_publish(struct uring *u)
{
    if (u->buf_pending == 0) return;
    io_uring_buf_ring_advance(u->buf_ring, u->buf_pending);
    u->buf_pending = 0;
}

// ---- receiving ----

// `mode` is URING_MULTI or URING_SINGLE where the kernel has a choice.
static void recv_arm(struct uring *u, struct ring_recv *recv, enum uring_state mode, unsigned how)
{
    unsettle(u);
    if (!u->buf_ring) {
        recv->state = URING_POLL;
        submit_poll(u, recv->fd, POLLIN, recv, TAG_RECV);
        return;
    }
    struct io_uring_sqe *sqe = uring_sqe_get(u);
    if (recv->direct_left > 0) {
        size_t size = MIN(recv->direct_left, (size_t)INT_MAX);
        io_uring_prep_recv(sqe, recv->fd, recv->direct_ptr, size, 0);
        recv->state = URING_DIRECT;
    } else {
        io_uring_prep_recv(sqe, recv->fd, NULL, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = 0;
        if (mode == URING_MULTI) how |= IORING_RECV_MULTISHOT;
        recv->state = (uint8_t)mode;
    }
    sqe->ioprio = (uint16_t)how;
    sqe->user_data = user_data(recv, TAG_RECV);
}

// What is there already is not received at once: it queues up behind what arrived before.
static void uring_recv_start(struct ring *ring, struct ring_recv *recv)
{
    recv_arm(uring_of(ring), recv, URING_MULTI, IORING_RECVSEND_POLL_FIRST);
}

// After starving.
static void uring_recv_arm(struct ring *ring, struct ring_recv *recv)
{
    recv_arm(uring_of(ring), recv, URING_SINGLE, 0);
}

static void uring_recv_stop(struct ring *ring, struct ring_recv *recv)
{
    switch (recv->state) {
    case OP_WAITING:
        backend_recv_unstarve(ring, recv);
        backend_recv_finish(ring, recv, -ECANCELED);
        break;
    case URING_POLL:
    case URING_DIRECT:
    case URING_SINGLE:
    case URING_MULTI:
        if (!(recv->flags & OP_CANCELING)) submit_cancel(uring_of(ring), recv, TAG_RECV);
        recv->flags |= OP_CANCELING;
        break;
    default: break; // its callback runs, or its end is due already
    }
}

// On Linux 6.18 about one reset in 100,000 that comes right behind data is lost to a multishot
// receive: the data are told, the socket is closed, and the request waits on for good. A new
// request finds the error.
static void uring_recv_check(struct ring *ring, struct ring_recv *recv)
{
    struct pollfd p = {.fd = recv->fd};
    if (recv->state != URING_MULTI || (recv->flags & (OP_CANCELING | OP_STOPPING))) return;
    if (poll(&p, 1, 0) <= 0 || !(p.revents & (POLLERR | POLLHUP))) return;
    submit_cancel(uring_of(ring), recv, TAG_RECV);
    recv->flags |= OP_CANCELING;
}

// The kernel has no request of this receive any more, and its owner expects more.
static void recv_go_on(struct uring *u, struct ring_recv *recv, unsigned how)
{
    recv->flags &= (uint8_t)~OP_CANCELING;
    if (UNLIKELY(recv->flags & OP_STOPPING))
        backend_recv_end(&u->base, recv, -ECANCELED);
    else if (UNLIKELY(u->base.starved.first && recv->direct_left == 0))
        backend_recv_starve(&u->base, recv); // behind those who wait already
    else
        recv_arm(u, recv, URING_MULTI, how);
}

// A request has ended without data.
static void recv_ended(struct uring *u, struct ring_recv *recv, int result)
{
    bool is_canceled = result == -ECANCELED && (recv->flags & OP_CANCELING);
    bool needs_buffer = recv->direct_left == 0 && !(recv->flags & OP_STOPPING);
    if (result == -ENOBUFS && needs_buffer) {
        recv->flags &= (uint8_t)~OP_CANCELING;
        backend_recv_starve(&u->base, recv);
    } else if (is_canceled || result == -ENOBUFS || result == -EINTR)
        recv_go_on(u, recv, 0);
    else if (result == -EAGAIN)
        recv_go_on(u, recv, IORING_RECVSEND_POLL_FIRST);
    else
        backend_recv_end(&u->base, recv, result);
}

static void on_recv_polled(struct uring *u, struct ring_recv *recv, int result)
{
    if (result < 0 || (recv->flags & OP_STOPPING)) {
        recv_ended(u, recv, result < 0 ? result : -ECANCELED);
        return;
    }
    result = backend_recv_ready(&u->base, recv);
    if (result == BACKEND_AGAIN)
        recv_arm(u, recv, URING_POLL, 0);
    else
        recv_ended(u, recv, result);
}

static struct ring_buf *take_buffer(struct uring *u, int result, unsigned flags)
{
    struct ring_buf *buf = &u->base.bufs[flags >> IORING_CQE_BUFFER_SHIFT];
    u->base.lent_count++;
    if (result > 0)
        backend_buf_expose(buf);
    else
        uring_buf_return(&u->base, buf);
    return buf;
}

// A completion of a receive that is held: its owner is at work on a piece, further up the stack.
// Its request ends for now: more of it would only have to be copied.
static void hold_back(struct uring *u, struct ring_recv *recv, struct completion c)
{
    if (c.flags & IORING_CQE_F_BUFFER) {
        struct ring_buf *buf = take_buffer(u, c.result, c.flags);
        c.flags &= ~IORING_CQE_F_BUFFER;
        if (c.result > 0) {
            c.copy = mem_alloc(sizeof *c.copy + (size_t)c.result);
            *c.copy = (struct ring_buf){(char *)(c.copy + 1), (uint32_t)c.result, 0};
            memcpy(c.copy->data, buf->data, (size_t)c.result);
            uring_buf_return(&u->base, buf);
        }
    }
    if (u->held_count == u->held_cap) {
        u->held_cap = MAX(u->held_cap * 2, 64u);
        u->held = mem_realloc(u->held, u->held_cap * sizeof *u->held);
    }
    u->held[u->held_count++] = c;
    if (!(c.flags & IORING_CQE_F_MORE) || (recv->flags & (OP_CANCELING | OP_STOPPING))) return;
    submit_cancel(u, recv, TAG_RECV);
    recv->flags |= OP_CANCELING;
}

// They come before everything that is in the backlog or in the queue.
static void put_back_held(struct uring *u)
{
    unsigned left = u->backlog_end - u->backlog_next;
    if (LIKELY(!u->held_count)) return;
    if (u->held_count + left > u->backlog_cap) {
        u->backlog_cap = u->held_count + left;
        u->backlog = mem_realloc(u->backlog, u->backlog_cap * sizeof *u->backlog);
    }
    memmove(u->backlog + u->held_count, u->backlog + u->backlog_next, left * sizeof *u->backlog);
    memcpy(u->backlog, u->held, u->held_count * sizeof *u->held);
    u->backlog_next = 0;
    u->backlog_end = u->held_count + left;
    u->held_count = 0;
}

static void on_recv(struct uring *u, struct ring_recv *recv, const struct completion *c)
{
    struct ring *ring = &u->base;
    struct ring_buf *buf = c->copy;
    unsigned flags = c->flags;
    int result = c->result;
    if (UNLIKELY(recv->is_held)) {
        hold_back(u, recv, *c);
        return;
    }
    if (UNLIKELY(recv->state == URING_POLL)) {
        on_recv_polled(u, recv, result);
        return;
    }
    if (LIKELY(flags & IORING_CQE_F_BUFFER)) buf = take_buffer(u, result, flags);
    bool has_more = flags & IORING_CQE_F_MORE;
    if (!has_more) recv->state = OP_RUNNING;
    if (LIKELY(result > 0)) backend_deliver(ring, recv, result, buf);
    if (LIKELY(has_more)) {
        if (UNLIKELY(recv->direct_left > 0 && !(recv->flags & (OP_CANCELING | OP_STOPPING)))) {
            submit_cancel(u, recv, TAG_RECV);
            recv->flags |= OP_CANCELING;
        }
    } else if (result > 0)
        recv_go_on(u, recv, 0);
    else
        recv_ended(u, recv, result);
}

// ---- sending ----

static void submit_sendmsg(struct uring *u, struct ring_send *send, int count)
{
    struct io_uring_sqe *sqe = uring_sqe_get(u);
    struct msghdr *msg = msg_of(u, sqe);
    *msg = (struct msghdr){.msg_iov = &send->iov[send->iov_next], .msg_iovlen = (size_t)count};
    io_uring_prep_sendmsg(sqe, send->fd, msg, MSG_NOSIGNAL | MSG_WAITALL);
    sqe->user_data = user_data(send, TAG_SEND);
}

static void send_arm(struct uring *u, struct ring_send *send)
{
    int count = MIN(send->iov_count - send->iov_next, SEND_PIECES_MAX);
    send->state = OP_ARMED;
    if (count > 1) {
        submit_sendmsg(u, send, count);
        return;
    }
    struct io_uring_sqe *sqe = uring_sqe_get(u);
    if (LIKELY(count == 1)) {
        const struct iovec *piece = &send->iov[send->iov_next];
        size_t size = MIN(piece->iov_len, (size_t)SEND_BYTES_MAX);
        io_uring_prep_send(sqe, send->fd, piece->iov_base, size, MSG_NOSIGNAL | MSG_WAITALL);
        u->small_sends += size <= SEND_BYTES_SMALL;
    } else
        io_uring_prep_nop(sqe); // nothing to send, but the callback is due
    sqe->user_data = user_data(send, TAG_SEND);
}

static void uring_send_arm(struct ring *ring, struct ring_send *send)
{
    send_arm(uring_of(ring), send);
}

static void on_send(struct uring *u, struct ring_send *send, int result)
{
    bool was_polling = send->state == URING_POLL;
    if (UNLIKELY(was_polling && result >= 0)) {
        send_arm(u, send);
    } else if (UNLIKELY(result < 0)) {
        if (result == -EAGAIN) { // only kernels that take a non-blocking socket at its word
            send->state = URING_POLL;
            submit_poll(u, send->fd, POLLOUT, send, TAG_SEND);
        } else if (result == -EINTR)
            send_arm(u, send);
        else
            backend_send_end(&u->base, send, result);
    } else if (LIKELY(backend_send_advance(send, (size_t)result))) {
        backend_send_end(&u->base, send, 0);
    } else if (result == 0) {
        backend_send_end(&u->base, send, -EIO); // no error and no progress: never try that for ever
    } else
        send_arm(u, send);
}

// ---- accepting ----

static void accept_arm(struct uring *u, struct ring_accept *accept)
{
    if (u->base.level < RING_LEVEL_MULTISHOT) {
        accept->state = URING_POLL;
        submit_poll(u, accept->fd, POLLIN, accept, TAG_ACCEPT);
        return;
    }
    struct io_uring_sqe *sqe = uring_sqe_get(u);
    io_uring_prep_multishot_accept(sqe, accept->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    sqe->user_data = user_data(accept, TAG_ACCEPT);
    accept->state = URING_MULTI;
}

static void uring_accept_arm(struct ring *ring, struct ring_accept *accept)
{
    accept_arm(uring_of(ring), accept);
}

static void uring_accept_start(struct ring *ring, struct ring_accept *accept)
{
    int flags = fcntl(accept->fd, F_GETFL);
    if (flags >= 0 && !(flags & O_NONBLOCK)) fcntl(accept->fd, F_SETFL, flags | O_NONBLOCK);
    accept_arm(uring_of(ring), accept);
}

static void uring_accept_stop(struct ring *ring, struct ring_accept *accept)
{
    // In its callback or in a pause it ends after it.
    if (accept->state == URING_MULTI || accept->state == URING_POLL)
        submit_cancel(uring_of(ring), accept, TAG_ACCEPT);
}

static void on_accept(struct uring *u, struct ring_accept *accept, int result, unsigned flags)
{
    struct ring *ring = &u->base;
    bool was_polling = accept->state == URING_POLL, goes_on = true;
    bool is_final = !(flags & IORING_CQE_F_MORE);
    if (is_final) accept->state = OP_RUNNING;
    if (was_polling && result >= 0 && !(accept->flags & OP_STOPPING))
        goes_on = backend_accept_ready(ring, accept) != -EBUSY;
    else if (!was_polling && result != -ECANCELED)
        goes_on = backend_accept_result(ring, accept, result);
    else if (was_polling && result < 0 && result != -ECANCELED)
        goes_on = backend_accept_result(ring, accept, result);
    if (!is_final) return;
    if (accept->flags & OP_STOPPING)
        backend_accept_end(ring, accept, -ECANCELED);
    else if (goes_on)
        accept_arm(u, accept);
    else
        backend_accept_pause(ring, accept, 0);
}

// ---- readiness ----

static void uring_ready_start(struct ring *ring, struct ring_ready *ready)
{
    ready->state = OP_ARMED;
    unsettle(uring_of(ring));
    submit_poll(uring_of(ring), ready->fd, POLLIN, ready, TAG_READY);
}

static void uring_ready_stop(struct ring *ring, struct ring_ready *ready)
{
    if (ready->state == OP_ARMED) submit_cancel(uring_of(ring), ready, TAG_READY);
}

// ---- files ----

// The kernel (looked at up to 6.18) hands syncs and, on ext4, buffered writes to threads of its own
// (io-wq), the writes of one file to one thread at a time.
static void file_arm(struct uring *u, struct ring_file *file)
{
    struct io_uring_sqe *sqe = uring_sqe_get(u);
    int count = file_pieces(file);
    if (file->kind == RING_FILE_SYNC)
        io_uring_prep_fsync(sqe, file->fd, IORING_FSYNC_DATASYNC);
    else if (file->kind == RING_FILE_ALLOCATE)
        io_uring_prep_fallocate(sqe, file->fd, FALLOC_FL_KEEP_SIZE, (off_t)file->offset_bytes,
                                (off_t)file->size_bytes);
    else if (count > 0)
        io_uring_prep_writev(sqe, file->fd, &file->iov[file->iov_next], (unsigned)count,
                             file_offset(file));
    else
        io_uring_prep_nop(sqe); // nothing to write, but the callback is due
    sqe->user_data = user_data(file, TAG_FILE);
}

static void uring_file_start(struct ring *ring, struct ring_file *file)
{
    file_arm(uring_of(ring), file);
}

static void on_file(struct uring *u, struct ring_file *file, int result)
{
    // Nobody cancels a file's request, and a disk never says "not yet": the kernel had no thread
    // for it. Slow, but done.
    if (UNLIKELY(result == -ECANCELED || result == -EAGAIN)) {
        file_perform(file);
        file_end(&u->base, file);
    } else if (LIKELY(file_advance(file, result)))
        file_end(&u->base, file);
    else
        file_arm(u, file);
}

// ---- waking ----

static void uring_wake(struct ring *from, struct ring *target)
{
    if (!from || from->ops != target->ops || !uring_of(from)->has_msg_ring ||
        !uring_of(target)->has_msg_ring) {
        backend_wake_by_eventfd(target);
        return;
    }
    struct io_uring_sqe *sqe = uring_sqe_get(uring_of(from));
    io_uring_prep_msg_ring(sqe, uring_of(target)->io.ring_fd, 0, TAG_NONE, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = user_data(target, TAG_MSG);
}

// The message could not be put into the target's queue. (Not when it is closed: then there is no
// target.)
static void on_msg_failed(struct ring *target, int result)
{
    if (result < 0 && result != -EBADF && result != -EBADFD) backend_wake_by_eventfd(target);
}

// ---- running ----

static void run_completion(struct uring *u, const struct completion *c)
{
    void *op = (void *)(uintptr_t)(c->user_data & ~(uint64_t)TAG_MASK);
    int result = c->result;
    switch ((enum tag)(c->user_data & TAG_MASK)) {
    case TAG_RECV: on_recv(u, op, c); break;
    case TAG_SEND: on_send(u, op, result); break;
    case TAG_ACCEPT: on_accept(u, op, result, c->flags); break;
    case TAG_READY: backend_ready_end(&u->base, op, result); break;
    case TAG_EVENTFD: uring_watch_eventfd(u); break;
    case TAG_FILE: on_file(u, op, result); break;
    case TAG_MSG: on_msg_failed(op, result); break;
    case TAG_NONE: break; // a cancellation's own answer, or a wake
    }
}

// Takes what overflowed into user memory first, then what is in the queue. The head is given back
// in batches: before the tail is read again.
static bool completion_next(struct uring *u, struct completion *c)
{
    if (UNLIKELY(u->backlog_next < u->backlog_end)) {
        *c = u->backlog[u->backlog_next++];
        if (u->backlog_next == u->backlog_end) u->backlog_next = u->backlog_end = 0;
        return true;
    }
    if (u->cq_head == u->cq_tail) {
        // Release: the entries have been read before the kernel may overwrite them.
        __atomic_store_n(u->io.cq.khead, u->cq_head, __ATOMIC_RELEASE);
        // Acquire: the entries are written before the tail.
        u->cq_tail = __atomic_load_n(u->io.cq.ktail, __ATOMIC_ACQUIRE);
        if (u->cq_head == u->cq_tail) return false;
    }
    const struct io_uring_cqe *cqe = &u->io.cq.cqes[u->cq_head++ & u->io.cq.ring_mask];
    *c = (struct completion){cqe->user_data, cqe->res, cqe->flags, NULL};
    return true;
}

static void run_completions(struct uring *u)
{
    struct completion c;
    // Bounded: callbacks' own completions may pile up as fast as we take them.
    for (unsigned left = u->io.cq.ring_entries; left > 0 && completion_next(u, &c); left--)
        run_completion(u, &c);
    __atomic_store_n(u->io.cq.khead, u->cq_head, __ATOMIC_RELEASE); // as in completion_next
    put_back_held(u);
}

static bool has_completions(const struct uring *u)
{
    return u->backlog_next < u->backlog_end ||
           u->cq_head != __atomic_load_n(u->io.cq.ktail, __ATOMIC_ACQUIRE);
}

// Kernels before 5.11 cannot wait with a timeout; the ring's descriptor can be polled, though.
static int wait_by_poll(struct uring *u, int64_t timeout_us)
{
    struct pollfd p = {.fd = u->io.ring_fd, .events = POLLIN};
    struct timespec t = {timeout_us / 1000000, timeout_us % 1000000 * 1000};
    return ppoll(&p, 1, &t, NULL) < 0 ? -errno : 0;
}

static int enter_and_wait(struct uring *u, unsigned submit, unsigned wait, int64_t timeout_us)
{
    if (LIKELY(u->has_ext_arg) || timeout_us <= 0)
        return enter(u, submit, timeout_us ? wait : 0, IORING_ENTER_GETEVENTS, timeout_us);
    int rc = enter(u, submit, 0, IORING_ENTER_GETEVENTS, 0);
    return rc < 0 || has_completions(u) ? rc : wait_by_poll(u, timeout_us);
}

static int submit_and_wait(struct uring *u, int64_t timeout_us)
{
    unsigned submit = sq_publish(u);
    // Relaxed: a hint; what it announces is looked at in the kernel or next time.
    unsigned sq_flags = __atomic_load_n(u->io.sq.kflags, __ATOMIC_RELAXED);
    u->small_sends = 0;
    if (has_completions(u)) timeout_us = 0;
    if (timeout_us == 0 && submit == 0 && !(sq_flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)))
        return 0;
    return enter_and_wait(u, submit, 1, timeout_us);
}

static bool uring_prepare(struct ring *ring)
{
    struct uring *u = uring_of(ring);
    put_back_spilled(u);
    if (u->buf_ring) bufs_publish(u);
    if (has_completions(u)) return false;
    u->prepared = sq_publish(u);
    u->prepared_sends = u->small_sends;
    u->small_sends = 0;
    return true;
}

// The kernel takes as many entries as were prepared, so none that another thread adds meanwhile. An
// error is met again by ring_run.
static void uring_wait(struct ring *ring, int64_t timeout_us, uint32_t batch)
{
    struct uring *u = uring_of(ring);
    if (ring->level < RING_LEVEL_BEST || timeout_us < 0) batch = 1;
    enter_and_wait(u, u->prepared, batch > 1 ? u->prepared_sends + batch : 1, timeout_us);
}

static bool uring_has_started(struct ring *ring)
{
    const struct uring *u = uring_of(ring);
    return u->io.sq.sqe_tail != u->io.sq.sqe_head || u->spilled_count;
}

// What has arrived is task work, an entry of the queue, or being run, in this order: looked at in
// the same order nothing can slip past.
static bool uring_shows_news(struct ring *ring)
{
    enum { PENDING = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW };
    const struct uring *u = uring_of(ring);
    // Acquire, all three: each look comes after the one before it.
    if (__atomic_load_n(u->io.sq.kflags, __ATOMIC_ACQUIRE) & PENDING) return true;
    if (__atomic_load_n(u->io.cq.ktail, __ATOMIC_ACQUIRE) !=
        __atomic_load_n(u->io.cq.khead, __ATOMIC_ACQUIRE))
        return true;
    return atomic_load_explicit(&u->is_unsettled, memory_order_acquire);
}

static bool uring_has_more(struct ring *ring)
{
    const struct uring *u = uring_of(ring);
    // Relaxed: our own thread's affair; what comes meanwhile comes later.
    return has_completions(u) ||
           (__atomic_load_n(u->io.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_TASKRUN);
}

// Between task work and the queue it is in the hands of the owner's thread, in the kernel, for as
// long as that holds the ring's lock (uring_lock). Whoever registers anything takes this lock, and
// only then is refused, since the ring has a single issuer (io_uring/register.c).
static void uring_await_kernel(struct ring *ring)
{
    io_uring_register((unsigned)uring_of(ring)->io.ring_fd, IORING_REGISTER_PROBE, NULL, 0);
}

static int uring_run(struct ring *ring, int64_t timeout_us)
{
    struct uring *u = uring_of(ring);
    if (timeout_us == 0) unsettle(u);
    put_back_spilled(u);
    if (u->buf_ring) bufs_publish(u);
    if (UNLIKELY(backend_has_queued(ring))) backend_run_queued(ring);
    int rc = submit_and_wait(u, backend_clip_timeout(ring, timeout_us));
    unsettle(u);
    run_completions(u);
    bool has_more =
        u->backlog_next < u->backlog_end || backend_has_queued(ring) || uring_has_started(ring);
    // Release: what has been run is seen by who sees this.
    if (ring->depth == 1) atomic_store_explicit(&u->is_unsettled, has_more, memory_order_release);
    // ETIME: nothing came. EBUSY, EAGAIN: the kernel wants completions taken first, which is done
    // now.
    if (rc >= 0 || rc == -ETIME || rc == -EINTR || rc == -EBUSY || rc == -EAGAIN) return 0;
    return rc;
}

// What they point to may be gone by now.
static void drop_unsubmitted(struct uring *u)
{
    struct io_uring_sq *sq = &u->io.sq;
    // Relaxed: the kernel moves the head only within our own io_uring_enter.
    unsigned head = __atomic_load_n(sq->khead, __ATOMIC_RELAXED);
    for (unsigned i = head; i != sq->sqe_tail; i++) {
        struct io_uring_sqe *sqe = &sq->sqes[i & sq->ring_mask];
        if ((sqe->user_data & TAG_MASK) == TAG_FILE) continue;
        io_uring_prep_nop(sqe);
        sqe->user_data = TAG_NONE;
    }
}

void uring_finish_files(struct uring *u)
{
    struct completion c;
    ASSERT(!u->spilled_count); // its own thread has run it since
    if (u->base.file_count == 0) return;
    drop_unsubmitted(u);
    while (u->base.file_count > 0) {
        bool must_wait = !has_completions(u);
        int rc = enter(u, sq_publish(u), must_wait, IORING_ENTER_GETEVENTS, 0);
        ASSERT(rc >= 0 || rc == -EINTR || rc == -EBUSY || rc == -EAGAIN);
        while (completion_next(u, &c)) {
            mem_free(c.copy); // of a piece that nobody will hear of
            if ((c.user_data & TAG_MASK) == TAG_FILE)
                on_file(u, (void *)(uintptr_t)(c.user_data & ~(uint64_t)TAG_MASK), c.result);
        }
    }
}

const struct ring_ops uring_ops = {
    .name = "io_uring",
    .close = uring_close,
    .recv_start = uring_recv_start,
    .recv_stop = uring_recv_stop,
    .recv_check = uring_recv_check,
    .recv_arm = uring_recv_arm,
    .send_arm = uring_send_arm,
    .accept_start = uring_accept_start,
    .accept_stop = uring_accept_stop,
    .accept_arm = uring_accept_arm,
    .ready_start = uring_ready_start,
    .ready_stop = uring_ready_stop,
    .file_start = uring_file_start,
    .buf_return = uring_buf_return,
    .prepare = uring_prepare,
    .wait = uring_wait,
    .run = uring_run,
    .has_started = uring_has_started,
    .shows_news = uring_shows_news,
    .has_more = uring_has_more,
    .await_kernel = uring_await_kernel,
    .wake = uring_wake,
};
