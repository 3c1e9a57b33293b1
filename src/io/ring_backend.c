// SPDX-License-Identifier: BSD-3-Clause
//
// What both backends need: the pool of receive buffers, reading and accepting without blocking once
// a socket is known to be ready (epoll, and io_uring on its lowest rung), the bookkeeping of sends
// that go out in parts, and the queues of operations that wait in user space:
//
//     starved          receives that found no spare buffer; armed again when buffers came back, no
//                      more of them at a time than there are buffers
//     *_finished       operations that were stopped (or could not be started) while the kernel did
//                      not know them: their final callback is due in the next ring_run
//     accept_paused    accepts after EMFILE and the like
#define _GNU_SOURCE 1 // accept4
#include "io/ring_backend.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes)   ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

enum {
    RECV_READS_MAX = 4,     // reads of one socket in one go: then the others have their turn
    SEND_CALLS_MAX = 4,     // of one send: a giant reply must not starve the others
    SEND_PIECES_MAX = 1024, // UIO_MAXIOV, the kernel's limit
    ACCEPTS_MAX = 64,       // likewise: established clients must not wait for a storm of new ones
    ACCEPT_PAUSE_US = 10000 // while descriptors are short, trying at once would only burn time
};

// ---- the pool ----

void backend_init(struct ring *ring, const struct ring_ops *ops, const struct ring_options *options)
{
    uint32_t count = options->recv_buffers, bytes = options->recv_buffer_bytes;
    ASSERT(count > 0 && (count & (count - 1)) == 0 && count <= 32768 && bytes > 0);
    ring->ops = ops;
    ring->home = ring->owner = pthread_self();
    ring->buf_count = count;
    ring->buf_bytes = bytes;
    ring->bufs = mem_calloc(count * sizeof *ring->bufs);
    ring->spare = mem_alloc(count * sizeof *ring->spare);
    ring->memory = mem_alloc_aligned((size_t)count * bytes, 4096);
    for (uint32_t i = 0; i < count; i++) {
        ring->bufs[i] = (struct ring_buf){ring->memory + (size_t)i * bytes, bytes, 0};
        ring->spare[i] = count - 1 - i;
        backend_buf_hide(&ring->bufs[i]);
    }
    ring->spare_count = count;
}

void backend_destroy(struct ring *ring)
{
    if (ring->memory)
        ASAN_UNPOISON_MEMORY_REGION(ring->memory, (size_t)ring->buf_count * ring->buf_bytes);
    mem_free(ring->memory);
    mem_free(ring->spare);
    mem_free(ring->bufs);
    if (ring->event_fd >= 0) close(ring->event_fd);
}

void backend_buf_expose(struct ring_buf *buf)
{
    ASAN_UNPOISON_MEMORY_REGION(buf->data, buf->cap_bytes);
}

void backend_buf_hide(struct ring_buf *buf)
{
    ASAN_POISON_MEMORY_REGION(buf->data, buf->cap_bytes);
}

struct ring_buf *backend_buf_take(struct ring *ring)
{
    if (ring->spare_count == 0) return NULL;
    struct ring_buf *buf = &ring->bufs[ring->spare[--ring->spare_count]];
    ring->lent_count++;
    backend_buf_expose(buf);
    return buf;
}

// Last in, first out: the next piece lands in memory that is still in the cache.
void backend_buf_return(struct ring *ring, struct ring_buf *buf)
{
    ASSERT(ring->lent_count > 0);
    ring->lent_count--;
    ring->spare[ring->spare_count++] = (uint32_t)(buf - ring->bufs);
    backend_buf_hide(buf);
}

// ---- receiving ----

void backend_deliver(struct ring *ring, struct ring_recv *recv, int result, struct ring_buf *buf)
{
    ring->callbacks++;
    if (!buf) {
        recv->done(recv, result, NULL);
        return;
    }
    buf->refs = 1;
    recv->done(recv, result, buf);
    ring_buf_release(ring, buf);
}

void backend_recv_end(struct ring *ring, struct ring_recv *recv, int result)
{
    ASSERT(result <= 0);
    recv->state = OP_IDLE;
    ring->callbacks++;
    recv->done(recv, result, NULL);
}

static ssize_t read_socket(int fd, void *data, size_t size)
{
    ssize_t n;
    do n = recv(fd, data, size, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int backend_recv_ready(struct ring *ring, struct ring_recv *recv)
{
    recv->state = OP_RUNNING;
    for (int i = 0; i < RECV_READS_MAX; i++) {
        struct ring_buf *buf = NULL;
        char *to = recv->direct_ptr;
        size_t room = MIN(recv->direct_left, (size_t)INT_MAX);
        if (room == 0) {
            if (!(buf = backend_buf_take(ring))) return -ENOBUFS;
            to = buf->data;
            room = buf->cap_bytes;
        }
        ssize_t n = read_socket(recv->fd, to, room);
        if (n <= 0) {
            if (buf) backend_buf_return(ring, buf);
            return n == -EAGAIN || n == -EWOULDBLOCK ? BACKEND_AGAIN : (int)n;
        }
        backend_deliver(ring, recv, (int)n, buf);
        if (recv->flags & OP_STOPPING) return -ECANCELED;
        // A short read has most likely emptied the socket: asking again would cost a call for
        // nothing.
        if ((size_t)n < room) break;
    }
    return BACKEND_AGAIN;
}

// ---- accepting ----

void backend_accept_end(struct ring *ring, struct ring_accept *accept, int result)
{
    accept->state = OP_IDLE;
    ring->callbacks++;
    accept->done(accept, result);
}

bool backend_accept_result(struct ring *ring, struct ring_accept *accept, int result)
{
    if (result == -EAGAIN || result == -EWOULDBLOCK || result == -EINTR) return true;
    ring->callbacks++;
    accept->done(accept, result);
    // A connection that died while it queued says nothing of the next one.
    return result >= 0 || result == -ECONNABORTED;
}

int backend_accept_ready(struct ring *ring, struct ring_accept *accept)
{
    accept->state = OP_RUNNING;
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept4(accept->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) fd = -errno;
        bool goes_on = backend_accept_result(ring, accept, fd);
        if (accept->flags & OP_STOPPING) return -ECANCELED;
        if (!goes_on) return -EBUSY;
        if (fd == -EAGAIN) break;
    }
    return BACKEND_AGAIN;
}

void backend_ready_end(struct ring *ring, struct ring_ready *ready, int result)
{
    ready->state = OP_IDLE;
    ring->callbacks++;
    ready->done(ready, result);
}

// ---- sending ----

void backend_iov_restore(struct iovec *piece, struct iovec *trimmed)
{
    if (!trimmed->iov_base) return;
    *piece = *trimmed;
    trimmed->iov_base = NULL;
}

bool backend_iov_advance(struct iovec *iov, int count, int *next, struct iovec *trimmed,
                         size_t bytes)
{
    while (bytes > 0) {
        ASSERT(*next < count);
        struct iovec *piece = &iov[*next];
        if (bytes < piece->iov_len) {
            if (!trimmed->iov_base) *trimmed = *piece;
            piece->iov_base = (char *)piece->iov_base + bytes;
            piece->iov_len -= bytes;
            return false;
        }
        bytes -= piece->iov_len;
        backend_iov_restore(piece, trimmed);
        (*next)++;
    }
    while (*next < count && iov[*next].iov_len == 0) (*next)++;
    return *next == count;
}

void backend_send_begin(struct ring_send *send)
{
    send->iov_next = 0;
    send->sent_bytes = 0;
    send->trimmed.iov_base = NULL;
}

bool backend_send_advance(struct ring_send *send, size_t bytes)
{
    send->sent_bytes += bytes;
    return backend_iov_advance(send->iov, send->iov_count, &send->iov_next, &send->trimmed, bytes);
}

static ssize_t write_socket(struct ring_send *send, size_t *size)
{
    struct iovec *first = &send->iov[send->iov_next];
    int count = MIN(send->iov_count - send->iov_next, SEND_PIECES_MAX);
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    ssize_t n;
    *size = 0;
    for (int i = 0; i < count; i++) *size += first[i].iov_len;
    struct msghdr msg = {.msg_iov = first, .msg_iovlen = (size_t)count};
    do {
        if (count == 1)
            n = sendto(send->fd, first->iov_base, first->iov_len, flags, NULL, 0);
        else
            n = sendmsg(send->fd, &msg, flags);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int backend_send_try(struct ring_send *send)
{
    if (send->iov_next == send->iov_count) return 0;
    for (int i = 0; i < SEND_CALLS_MAX; i++) {
        size_t size;
        ssize_t n = write_socket(send, &size);
        if (n < 0) return n == -EWOULDBLOCK ? -EAGAIN : (int)n;
        if (backend_send_advance(send, (size_t)n)) return 0;
        if ((size_t)n < size) break; // no more room: trying at once would be a call for nothing
    }
    return -EAGAIN;
}

int backend_send_result(struct ring_send *send, int error)
{
    backend_iov_restore(&send->iov[send->iov_next], &send->trimmed);
    send->state = OP_IDLE;
    return error < 0 ? error : (int)MIN(send->sent_bytes, (size_t)INT_MAX);
}

void backend_send_end(struct ring *ring, struct ring_send *send, int error)
{
    int result = backend_send_result(send, error);
    ring->callbacks++;
    send->done(send, result);
}

// ---- queues ----

void backend_recv_starve(struct ring *ring, struct ring_recv *recv)
{
    recv->state = OP_WAITING;
    QUEUE_PUSH(&ring->starved, recv);
}

void backend_recv_finish(struct ring *ring, struct ring_recv *recv, int result)
{
    recv->state = OP_FINISHED;
    recv->error = (int16_t)result;
    QUEUE_PUSH(&ring->recv_finished, recv);
}

void backend_accept_pause(struct ring *ring, struct ring_accept *accept, int error)
{
    accept->error = (int16_t)error;
    if (!ring->accept_paused.first) ring->accept_resume_us = clock_mono_us() + ACCEPT_PAUSE_US;
    accept->state = OP_WAITING;
    QUEUE_PUSH(&ring->accept_paused, accept);
}

void backend_accept_finish(struct ring *ring, struct ring_accept *accept, int result)
{
    accept->state = OP_FINISHED;
    accept->error = (int16_t)result;
    QUEUE_PUSH(&ring->accept_finished, accept);
}

void backend_ready_finish(struct ring *ring, struct ring_ready *ready, int result)
{
    ready->state = OP_FINISHED;
    ready->error = (int16_t)result;
    QUEUE_PUSH(&ring->ready_finished, ready);
}

// Out of the middle of a queue: a walk, but of a queue that is rarely more than empty.
void backend_recv_unstarve(struct ring *ring, struct ring_recv *recv)
{
    struct ring_recv *r, *all = ring->starved.first;
    ring->starved.first = NULL;
    while ((r = all)) {
        all = r->next;
        if (r != recv) QUEUE_PUSH(&ring->starved, r);
    }
}

// Takes each queue as it stands: what callbacks add meanwhile has its turn in the next ring_run.
static void run_finished(struct ring *ring)
{
    struct ring_recv *recv = ring->recv_finished.first;
    struct ring_accept *accept = ring->accept_finished.first;
    struct ring_ready *ready = ring->ready_finished.first;
    ring->recv_finished.first = NULL;
    ring->accept_finished.first = NULL;
    ring->ready_finished.first = NULL;
    while (recv) {
        struct ring_recv *next = recv->next;
        if (UNLIKELY(recv->is_held))
            QUEUE_PUSH(&ring->recv_finished, recv);
        else
            backend_recv_end(ring, recv, recv->error);
        recv = next;
    }
    while (accept) {
        struct ring_accept *next = accept->next;
        backend_accept_end(ring, accept, accept->error);
        accept = next;
    }
    while (ready) {
        struct ring_ready *next = ready->next;
        backend_ready_end(ring, ready, ready->error);
        ready = next;
    }
}

static void resume_accept(struct ring *ring, struct ring_accept *accept)
{
    accept->state = OP_RUNNING;
    if (accept->error < 0 && !(accept->flags & OP_STOPPING)) {
        ring->callbacks++;
        accept->done(accept, accept->error);
    }
    if (accept->flags & OP_STOPPING)
        backend_accept_end(ring, accept, -ECANCELED);
    else
        ring->ops->accept_arm(ring, accept);
}

static void resume_accepts(struct ring *ring)
{
    if (!ring->accept_paused.first) return;
    int64_t now_us = clock_mono_us();
    if (now_us < ring->accept_resume_us) return;
    ring->accept_resume_us = now_us + ACCEPT_PAUSE_US; // of what pauses again
    int count = 0;
    for (struct ring_accept *a = ring->accept_paused.first; a; a = a->next) count++;
    while (count-- > 0 && ring->accept_paused.first) {
        struct ring_accept *accept;
        QUEUE_POP(&ring->accept_paused, accept);
        resume_accept(ring, accept);
    }
}

void backend_run_queued(struct ring *ring)
{
    run_finished(ring);
    resume_accepts(ring);
    for (uint32_t n = ring->buf_count - ring->lent_count; n > 0 && ring->starved.first; n--) {
        struct ring_recv *recv;
        QUEUE_POP(&ring->starved, recv);
        ring->ops->recv_arm(ring, recv);
    }
}

int64_t backend_clip_timeout(struct ring *ring, int64_t timeout_us)
{
    if (ring->callbacks > 0 || ring->is_woken) {
        ring->is_woken = false;
        return 0;
    }
    if (ring->recv_finished.first || ring->accept_finished.first || ring->ready_finished.first)
        return 0;
    if (ring->starved.first && ring->lent_count < ring->buf_count) return 0;
    if (!ring->accept_paused.first) return timeout_us;
    int64_t left_us = MAX(ring->accept_resume_us - clock_mono_us(), 0);
    return timeout_us < 0 ? left_us : MIN(timeout_us, left_us);
}

void backend_wake_by_eventfd(struct ring *target)
{
    uint64_t one = 1;
    ssize_t n;
    do n = write(target->event_fd, &one, sizeof one);
    while (n < 0 && errno == EINTR);
}
