// SPDX-License-Identifier: BSD-3-Clause
//
// ring: chooses the backend and hands the calls on, one indirect call each. What a caller may get
// wrong is asserted here, once for all backends.
#include "io/ring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io/ring_file.h"

#define ASSERT_OWNER(ring) ASSERT_SLOW(pthread_equal((ring)->owner, pthread_self()))

static void say_why(char *why, size_t why_size, const char *backend, const char *reason, int error)
{
    const char *hint = "";
    if (error == -EPERM || error == -EACCES)
        hint = " (seccomp, as in Docker's default profile, or sysctl kernel.io_uring_disabled)";
    if (error == -ENOSYS) hint = " (this kernel does not have it)";
    if (error == -ENOMEM) hint = " (is the limit of locked memory, ulimit -l, too low?)";
    snprintf(why, why_size, "%s cannot be used: %s: %s%s", backend, reason, strerror(-error), hint);
}

struct ring *ring_open(const struct ring_options *options, char *why, size_t why_size)
{
    int error = 0;
    const char *reason = "";
    struct ring *ring = NULL;
    if (why_size > 0) why[0] = '\0';
    if (options->kind != RING_POLL) {
        ring = ring_uring_open(options, &error, &reason);
        if (!ring) say_why(why, why_size, "io_uring", reason, error);
    }
    if (!ring && options->kind != RING_URING) {
        ring = ring_poll_open(options, &error, &reason);
        if (!ring) say_why(why, why_size, "epoll", reason, error);
    }
    return ring;
}

void ring_close(struct ring *ring)
{
    ASSERT(!ring->depth);
    ring->is_closing = true;
    ring->ops->close(ring);
}

const char *ring_backend_name(const struct ring *ring)
{
    return ring->ops->name;
}

enum ring_level ring_level(const struct ring *ring)
{
    return ring->level;
}

void ring_buf_hold(struct ring_buf *buf)
{
    ASSERT_SLOW(buf->refs > 0);
    buf->refs++;
}

void ring_buf_release(struct ring *ring, struct ring_buf *buf)
{
    ASSERT_OWNER(ring);
    ASSERT(buf->refs > 0);
    if (--buf->refs == 0) ring->ops->buf_return(ring, buf);
}

void ring_recv_start(struct ring *ring, struct ring_recv *recv)
{
    ASSERT_OWNER(ring);
    ASSERT(recv->state == OP_IDLE);
    recv->flags = 0;
    ring->ops->recv_start(ring, recv);
}

void ring_recv_stop(struct ring *ring, struct ring_recv *recv)
{
    ASSERT_OWNER(ring);
    if (recv->state == OP_IDLE || (recv->flags & OP_STOPPING)) return;
    recv->flags |= OP_STOPPING;
    ring->ops->recv_stop(ring, recv);
}

void ring_recv_check(struct ring *ring, struct ring_recv *recv)
{
    ASSERT_OWNER(ring);
    if (ring->ops->recv_check) ring->ops->recv_check(ring, recv);
}

void ring_send_start(struct ring *ring, struct ring_send *send)
{
    ASSERT_OWNER(ring);
    ASSERT(send->state == OP_IDLE);
    backend_send_begin(send);
    ring->ops->send_arm(ring, send);
}

bool ring_send_now(struct ring *ring, struct ring_send *send, int *result)
{
    ASSERT_OWNER(ring);
    ASSERT(send->state == OP_IDLE);
    backend_send_begin(send);
    int error = backend_send_try(send);
    if (UNLIKELY(error == -EAGAIN)) {
        ring->ops->send_arm(ring, send);
        return false;
    }
    *result = backend_send_result(send, error);
    return true;
}

void ring_accept_start(struct ring *ring, struct ring_accept *accept)
{
    ASSERT_OWNER(ring);
    ASSERT(accept->state == OP_IDLE);
    accept->flags = 0;
    ring->ops->accept_start(ring, accept);
}

void ring_accept_stop(struct ring *ring, struct ring_accept *accept)
{
    ASSERT_OWNER(ring);
    if (accept->state == OP_IDLE || (accept->flags & OP_STOPPING)) return;
    accept->flags |= OP_STOPPING;
    ring->ops->accept_stop(ring, accept);
}

void ring_ready_start(struct ring *ring, struct ring_ready *ready)
{
    ASSERT_OWNER(ring);
    ASSERT(ready->state == OP_IDLE);
    ready->flags = 0;
    ring->ops->ready_start(ring, ready);
}

void ring_ready_stop(struct ring *ring, struct ring_ready *ready)
{
    ASSERT_OWNER(ring);
    if (ready->state == OP_IDLE || (ready->flags & OP_STOPPING)) return;
    ready->flags |= OP_STOPPING;
    ring->ops->ready_stop(ring, ready);
}

void ring_write_start(struct ring *ring, struct ring_file *file)
{
    ASSERT_OWNER(ring);
    ASSERT(file->state == OP_IDLE);
    file_begin(ring, file, RING_FILE_WRITE);
    ring->ops->file_start(ring, file);
}

void ring_sync_start(struct ring *ring, struct ring_file *file)
{
    ASSERT_OWNER(ring);
    ASSERT(file->state == OP_IDLE);
    file_begin(ring, file, RING_FILE_SYNC);
    ring->ops->file_start(ring, file);
}

void ring_allocate_start(struct ring *ring, struct ring_file *file)
{
    ASSERT_OWNER(ring);
    ASSERT(file->state == OP_IDLE);
    file_begin(ring, file, RING_FILE_ALLOCATE);
    ring->ops->file_start(ring, file);
}

int64_t ring_write_now(struct ring *ring, struct ring_file *file)
{
    ASSERT_OWNER(ring);
    ASSERT(file->state == OP_IDLE);
    file_begin(ring, file, RING_FILE_WRITE);
    file_perform(file);
    return file_finish(ring, file);
}

int ring_run(struct ring *ring, int64_t timeout_us)
{
    int outer_callbacks = ring->callbacks;
    ASSERT(pthread_equal(ring->owner, pthread_self()));
    ASSERT(ring->depth == 0 || (ring->depth == 1 && timeout_us == 0));
    ring->depth++;
    ring->callbacks = 0;
    int error = ring->ops->run(ring, timeout_us);
    int callbacks = ring->callbacks;
    if (--ring->depth) ring->callbacks = outer_callbacks + callbacks;
    return error < 0 ? error : callbacks;
}

int64_t ring_prepare(struct ring *ring, int64_t timeout_us)
{
    ASSERT(pthread_equal(ring->owner, pthread_self()));
    ASSERT(ring->depth == 0);
    ring->callbacks = 0;
    timeout_us = backend_clip_timeout(ring, timeout_us);
    return ring->ops->prepare(ring) ? timeout_us : 0;
}

void ring_wait(struct ring *ring, int64_t timeout_us, uint32_t batch)
{
    ring->ops->wait(ring, timeout_us, batch);
}

void ring_take(struct ring *ring)
{
    ring->owner = pthread_self();
    ring->is_taken = !pthread_equal(ring->owner, ring->home);
}

bool ring_has_started(struct ring *ring)
{
    return backend_has_queued(ring) || ring->ops->has_started(ring);
}

bool ring_shows_news(struct ring *ring)
{
    return ring->is_blind || ring->ops->shows_news(ring);
}

bool ring_is_short(const struct ring *ring)
{
    enum { PART_LEFT = 8 };
    return ring->lent_count > ring->buf_count - MAX(ring->buf_count / PART_LEFT, 1);
}

bool ring_is_blind(const struct ring *ring)
{
    return ring->is_blind;
}

bool ring_has_more(struct ring *ring)
{
    return ring->is_blind || ring->ops->has_more(ring);
}

void ring_await_kernel(struct ring *ring)
{
    if (!ring->is_blind && ring->ops->await_kernel) ring->ops->await_kernel(ring);
}

void ring_wake(struct ring *from, struct ring *target)
{
    if (from == target) {
        target->is_woken = true;
        return;
    }
    target->ops->wake(from, target);
}
