// SPDX-License-Identifier: BSD-3-Clause
//
// The ring on epoll, level-triggered. Containers often forbid io_uring, so this is an engine of
// full quality, not a stopgap.
//
// slots[fd] says who waits for a descriptor: one operation for its input (receive, accept or
// readiness) and one blocked send for its output. Invariant: slots[fd].events is exactly what epoll
// watches for fd, and it is 0, with fd not in the set, once both are gone, so that
//   - a descriptor which nobody waits for cannot wake us again and again (a HUP would);
//   - the owner may close it, or hand it to another ring, as soon as its final callback runs.
// `generation` counts the times a slot became empty, and travels in the epoll event: an event
// gathered before the descriptor was closed and reused in the same ring_run finds another number
// and is dropped.
//
// A send is tried at the start of the next ring_run, and only one that would block asks epoll. So
// what one tick sends costs one call a connection, and no epoll_ctl.
#define _GNU_SOURCE 1 // epoll_pwait2
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/ring_file.h"

enum {
    EVENTS_MAX = 256,  // taken from epoll in one ring_run; the kernel hands out the rest next time
    EVENTS_INNER = 32, // likewise, in one within the callback of another
};

enum input_kind { INPUT_NONE, INPUT_RECV, INPUT_ACCEPT, INPUT_READY };

struct slot {
    void *input; // by `kind`: struct ring_recv, ring_accept or ring_ready
    struct ring_send *send;
    uint32_t events;
    uint16_t generation;
    uint8_t kind;
};

struct poll_ring {
    struct ring base;
    int epoll_fd;
    bool has_pwait2; // epoll_pwait2 (5.11): timeouts in microseconds
    int waited;      // events that poll_wait has got and nobody has gone through, or its error
    _Atomic bool is_unsettled; // going through events
    int last_count; // events of the last look at epoll, -1: there was none in the last ring_run
    uint32_t slot_count;
    struct slot *slots;
    QUEUE(ring_send) sends; // started, to be tried
    struct file_thread writes;
    struct file_thread syncs; // and what else is done with files
    struct epoll_event events[EVENTS_MAX];
};

static struct poll_ring *poll_of(struct ring *ring)
{
    return CONTAINER_OF(ring, struct poll_ring, base);
}

// ---- slots ----

static struct slot *slot_of(struct poll_ring *p, int fd)
{
    if (UNLIKELY((uint32_t)fd >= p->slot_count)) {
        uint32_t count = MAX(p->slot_count, 64u);
        while ((uint32_t)fd >= count) count *= 2;
        p->slots = mem_realloc(p->slots, count * sizeof *p->slots);
        memset(p->slots + p->slot_count, 0, (count - p->slot_count) * sizeof *p->slots);
        p->slot_count = count;
    }
    return &p->slots[fd];
}

// Brings epoll in line with who waits. The descriptor may have been closed behind our back: then
// there is nothing to remove, and what is added is added anew.
static int slot_update(struct poll_ring *p, int fd)
{
    struct slot *slot = &p->slots[fd];
    uint32_t events = (slot->kind != INPUT_NONE ? EPOLLIN : 0) | (slot->send ? EPOLLOUT : 0);
    if (events == slot->events) return 0;
    int op = !slot->events ? EPOLL_CTL_ADD : events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
    if (!events) slot->generation++;
    slot->events = events;
    struct epoll_event event = {.events = events,
                                .data.u64 = (uint64_t)slot->generation << 32 | (uint32_t)fd};
    int rc = epoll_ctl(p->epoll_fd, op, fd, &event);
    if (rc < 0 && op == EPOLL_CTL_MOD && errno == ENOENT)
        rc = epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &event);
    if (rc < 0 && op == EPOLL_CTL_ADD && errno == EEXIST)
        rc = epoll_ctl(p->epoll_fd, EPOLL_CTL_MOD, fd, &event);
    if (rc == 0 || op == EPOLL_CTL_DEL) return 0;
    slot->events = 0;
    return -errno;
}

static int input_attach(struct poll_ring *p, int fd, enum input_kind kind, void *op)
{
    if (fd < 0) return -EBADF;
    struct slot *slot = slot_of(p, fd);
    ASSERT(slot->kind == INPUT_NONE);
    slot->kind = (uint8_t)kind;
    slot->input = op;
    int error = slot_update(p, fd);
    if (error < 0) slot->kind = INPUT_NONE;
    return error;
}

static void input_detach(struct poll_ring *p, int fd)
{
    p->slots[fd].kind = INPUT_NONE;
    p->slots[fd].input = NULL;
    slot_update(p, fd);
}

// ---- receiving ----

static void poll_recv_arm(struct ring *ring, struct ring_recv *recv)
{
    int error = input_attach(poll_of(ring), recv->fd, INPUT_RECV, recv);
    if (error < 0)
        backend_recv_finish(ring, recv, error);
    else
        recv->state = OP_ARMED;
}

static void poll_recv_stop(struct ring *ring, struct ring_recv *recv)
{
    switch (recv->state) {
    case OP_ARMED: input_detach(poll_of(ring), recv->fd); break;
    case OP_WAITING: backend_recv_unstarve(ring, recv); break;
    default: return; // its callback runs, or its end is due already
    }
    backend_recv_finish(ring, recv, -ECANCELED);
}

static void recv_readable(struct poll_ring *p, struct ring_recv *recv)
{
    int result = backend_recv_ready(&p->base, recv);
    if (LIKELY(result == BACKEND_AGAIN)) {
        recv->state = OP_ARMED;
        return;
    }
    input_detach(p, recv->fd);
    if (result == -ENOBUFS)
        backend_recv_starve(&p->base, recv);
    else
        backend_recv_end(&p->base, recv, result);
}

// ---- sending ----

static void poll_send_arm(struct ring *ring, struct ring_send *send)
{
    send->state = OP_ARMED;
    QUEUE_PUSH(&poll_of(ring)->sends, send);
}

// First try: nobody waits for output yet.
static void send_try(struct poll_ring *p, struct ring_send *send)
{
    int error = backend_send_try(send);
    if (UNLIKELY(error == -EAGAIN)) {
        struct slot *slot = slot_of(p, send->fd);
        ASSERT(!slot->send);
        slot->send = send;
        error = slot_update(p, send->fd);
        if (error == 0) return;
        slot->send = NULL;
    }
    backend_send_end(&p->base, send, error);
}

static void send_writable(struct poll_ring *p, struct ring_send *send)
{
    int error = backend_send_try(send);
    if (error == -EAGAIN) return;
    p->slots[send->fd].send = NULL;
    slot_update(p, send->fd);
    backend_send_end(&p->base, send, error);
}

// What callbacks start meanwhile has its turn in the next ring_run.
static void run_sends(struct poll_ring *p)
{
    struct ring_send *send = p->sends.first;
    p->sends.first = NULL;
    while (send) {
        struct ring_send *next = send->next;
        send_try(p, send);
        send = next;
    }
}

// ---- accepting ----

static void poll_accept_arm(struct ring *ring, struct ring_accept *accept)
{
    int error = input_attach(poll_of(ring), accept->fd, INPUT_ACCEPT, accept);
    if (error < 0)
        backend_accept_pause(ring, accept, error);
    else
        accept->state = OP_ARMED;
}

static void poll_accept_start(struct ring *ring, struct ring_accept *accept)
{
    int flags = fcntl(accept->fd, F_GETFL);
    if (flags >= 0 && !(flags & O_NONBLOCK)) fcntl(accept->fd, F_SETFL, flags | O_NONBLOCK);
    poll_accept_arm(ring, accept);
}

static void poll_accept_stop(struct ring *ring, struct ring_accept *accept)
{
    if (accept->state != OP_ARMED) return; // in its callback or in a pause: ends after it
    input_detach(poll_of(ring), accept->fd);
    backend_accept_finish(ring, accept, -ECANCELED);
}

static void accept_readable(struct poll_ring *p, struct ring_accept *accept)
{
    int result = backend_accept_ready(&p->base, accept);
    if (result == BACKEND_AGAIN) {
        accept->state = OP_ARMED;
        return;
    }
    input_detach(p, accept->fd);
    if (result == -EBUSY)
        backend_accept_pause(&p->base, accept, 0);
    else
        backend_accept_end(&p->base, accept, result);
}

// ---- readiness ----

static void poll_ready_start(struct ring *ring, struct ring_ready *ready)
{
    int error = input_attach(poll_of(ring), ready->fd, INPUT_READY, ready);
    if (error < 0)
        backend_ready_finish(ring, ready, error);
    else
        ready->state = OP_ARMED;
}

static void poll_ready_stop(struct ring *ring, struct ring_ready *ready)
{
    if (ready->state != OP_ARMED) return;
    input_detach(poll_of(ring), ready->fd);
    backend_ready_finish(ring, ready, -ECANCELED);
}

static void ready_readable(struct poll_ring *p, struct ring_ready *ready, uint32_t events)
{
    input_detach(p, ready->fd);
    backend_ready_end(&p->base, ready, (int)(events & 0xffff)); // EPOLL* are poll's own bits
}

// ---- files ----

static void poll_file_start(struct ring *ring, struct ring_file *file)
{
    struct poll_ring *p = poll_of(ring);
    file_thread_add(file->kind == RING_FILE_WRITE ? &p->writes : &p->syncs, file);
}

static void collect_files(struct poll_ring *p)
{
    if (p->base.file_count == 0) return;
    file_thread_collect(&p->writes);
    file_thread_collect(&p->syncs);
}

// ---- running ----

static void run_event(struct poll_ring *p, const struct epoll_event *event)
{
    int fd = (int)(uint32_t)event->data.u64;
    uint16_t generation = (uint16_t)(event->data.u64 >> 32);
    uint32_t failed = event->events & (EPOLLERR | EPOLLHUP);
    if (fd == p->base.event_fd) {
        collect_files(p);
        return;
    }
    if (p->slots[fd].send && (failed || (event->events & EPOLLOUT)))
        send_writable(p, p->slots[fd].send);
    // The callback may have changed everything, the table's address included.
    struct slot *slot = &p->slots[fd];
    if (slot->generation != generation || !(failed || (event->events & EPOLLIN))) return;
    switch (slot->kind) {
    case INPUT_RECV:
        // One that is held stays readable, and is reported again.
        if (!((struct ring_recv *)slot->input)->is_held) recv_readable(p, slot->input);
        break;
    case INPUT_ACCEPT: accept_readable(p, slot->input); break;
    case INPUT_READY: ready_readable(p, slot->input, event->events); break;
    default: break;
    }
}

static int wait_events(struct poll_ring *p, struct epoll_event *events, int max, int64_t timeout_us)
{
    int n;
    if (timeout_us > 0 && p->has_pwait2) {
        struct timespec t = {timeout_us / 1000000, timeout_us % 1000000 * 1000};
        n = epoll_pwait2(p->epoll_fd, events, max, &t, NULL);
        if (n >= 0 || errno != ENOSYS) return n < 0 ? -errno : n;
        p->has_pwait2 = false;
    }
    int timeout_ms = (int)timeout_us;
    if (timeout_us > 0) timeout_ms = (int)MIN((timeout_us + 999) / 1000, INT_MAX);
    n = epoll_wait(p->epoll_fd, events, max, timeout_ms);
    return n < 0 ? -errno : n;
}

// Within a callback: p->events are still being gone through.
static int run_inner(struct poll_ring *p)
{
    struct epoll_event events[EVENTS_INNER];
    int n = wait_events(p, events, EVENTS_INNER, 0);
    for (int i = 0; i < n; i++) run_event(p, &events[i]);
    return n < 0 && n != -EINTR ? n : 0;
}

// Sends are done and the caller must hear of it: asking epoll as well, without waiting, pays where
// much goes on, and is a call for nothing where one client asks and waits. Never twice in a row.
static bool is_look_worthless(struct poll_ring *p)
{
    if (p->base.callbacks == 0 || p->last_count < 0 || p->last_count > 1) return false;
    p->last_count = -1;
    return true;
}

static bool poll_prepare(struct ring *ring)
{
    struct poll_ring *p = poll_of(ring);
    return !p->sends.first && !p->waited;
}

static void poll_wait(struct ring *ring, int64_t timeout_us, uint32_t batch)
{
    struct poll_ring *p = poll_of(ring);
    p->waited = wait_events(p, p->events, EVENTS_MAX, timeout_us);
}

static int poll_run(struct ring *ring, int64_t timeout_us)
{
    struct poll_ring *p = poll_of(ring);
    if (UNLIKELY(backend_has_queued(ring))) backend_run_queued(ring);
    run_sends(p);
    if (UNLIKELY(ring->depth > 1)) return run_inner(p);
    if (p->waited == 0 && is_look_worthless(p)) return 0;
    timeout_us = backend_clip_timeout(ring, p->sends.first ? 0 : timeout_us);
    int n = p->waited;
    p->waited = 0;
    if (n == 0) n = wait_events(p, p->events, EVENTS_MAX, timeout_us);
    p->last_count = n;
    if (n < 0) return n == -EINTR ? 0 : n;
    // Relaxed: reading what has arrived, which takes it out of others' sight, is a system call.
    atomic_store_explicit(&p->is_unsettled, true, memory_order_relaxed);
    for (int i = 0; i < n; i++) run_event(p, &p->events[i]);
    // Release: what has been run is seen by who sees this.
    atomic_store_explicit(&p->is_unsettled, false, memory_order_release);
    return 0;
}

static bool is_readable(const struct poll_ring *p)
{
    struct pollfd look = {.fd = p->epoll_fd, .events = POLLIN};
    return poll(&look, 1, 0) != 0;
}

// Level-triggered: epoll shows what has arrived until it has been read.
static bool poll_shows_news(struct ring *ring)
{
    struct poll_ring *p = poll_of(ring);
    return is_readable(p) || atomic_load_explicit(&p->is_unsettled, memory_order_acquire);
}

static bool poll_has_more(struct ring *ring)
{
    return is_readable(poll_of(ring));
}

static bool poll_has_started(struct ring *ring)
{
    return poll_of(ring)->sends.first != NULL;
}

// Edge-triggered: every write of the eventfd is an event of its own, and nobody needs to read it.
static int watch_eventfd(struct poll_ring *p)
{
    int fd = p->base.event_fd;
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = (uint32_t)fd};
    return epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void poll_wake(struct ring *from, struct ring *target)
{
    (void)from;
    backend_wake_by_eventfd(target);
}

static void poll_close(struct ring *ring)
{
    struct poll_ring *p = poll_of(ring);
    file_thread_destroy(&p->writes);
    file_thread_destroy(&p->syncs);
    ASSERT(ring->file_count == 0);
    if (p->epoll_fd >= 0) close(p->epoll_fd);
    mem_free(p->slots);
    backend_destroy(ring);
    mem_free(p);
}

static const struct ring_ops poll_ops = {
    .name = "epoll",
    .close = poll_close,
    .recv_start = poll_recv_arm,
    .recv_stop = poll_recv_stop,
    .recv_arm = poll_recv_arm,
    .send_arm = poll_send_arm,
    .accept_start = poll_accept_start,
    .accept_stop = poll_accept_stop,
    .accept_arm = poll_accept_arm,
    .ready_start = poll_ready_start,
    .ready_stop = poll_ready_stop,
    .file_start = poll_file_start,
    .buf_return = backend_buf_return,
    .prepare = poll_prepare,
    .wait = poll_wait,
    .run = poll_run,
    .has_started = poll_has_started,
    .shows_news = poll_shows_news,
    .has_more = poll_has_more,
    .wake = poll_wake,
};

struct ring *ring_poll_open(const struct ring_options *options, int *error, const char **reason)
{
    struct poll_ring *p = mem_calloc(sizeof *p);
    backend_init(&p->base, &poll_ops, options);
    file_thread_init(&p->writes, &p->base);
    file_thread_init(&p->syncs, &p->base);
    p->has_pwait2 = true;
    p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    p->base.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->epoll_fd >= 0 && p->base.event_fd >= 0 && watch_eventfd(p) == 0) return &p->base;
    *error = -errno;
    *reason = "epoll_create1 or eventfd";
    poll_close(&p->base);
    return NULL;
}
