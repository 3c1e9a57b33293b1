// SPDX-License-Identifier: BSD-3-Clause
//
// Events are edge-triggered: a read that does not fill the buffer has emptied the socket, so there
// is never a second recv to see EAGAIN, nor a re-check by the kernel of what we have just read.
//
//     send batch -> epoll_wait -> recv -> count replies -> all there? record latency, next batch
//
// The batches are shared by a thread's connections (a send copies them), which keeps them in the
// nearest cache; only a send that the socket did not take whole is copied aside, to `unsent`.
#include "worker.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES = 128 << 10, // per recv: more than a batch's replies of the usual tests
    EVENTS_MAX = 256,       // per epoll_wait
    STALL_LIMIT_MS = 30000  // without any event: the server is taken for hung
};

struct connection {
    int fd;
    unsigned awaited; // replies still to come of the batch under way
    uint64_t sent_ns; // when that batch left
    struct reply_parser parser;
    unsigned carry_bytes; // of a line cut by the end of a read
    char carry[REPLY_LINE_MAX];
    char *unsent; // rest of a batch that the socket did not take; room for a whole batch
    size_t unsent_start, unsent_end;
};

// A worker's working state, gone when it ends.
struct run {
    struct worker *worker;
    struct batch *batches; // one for each phase of the rotation
    unsigned phase;
    size_t batch_bytes_max;
    struct connection *connections;
    unsigned busy; // connections with a batch under way
    uint64_t ops_left, deadline_ns;
    int epoll_fd;
    char *read_buffer; // REPLY_LINE_MAX for a carried line, then READ_BYTES
};

static _Noreturn void fail(const char *what, const char *detail)
{
    fprintf(stderr, "gyre-load: %s%s%s\n", what, detail ? ": " : "", detail ? detail : "");
    exit(1);
}

uint64_t worker_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int worker_connect(const struct sockaddr_in *address)
{
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket", strerror(errno));
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
        fail("connect", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

// Sends what it can of [bytes, bytes + len); returns how much, which may be nothing.
static size_t send_some(int fd, const char *bytes, size_t len)
{
    ssize_t sent;
    do sent = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN) fail("send", strerror(errno));
    return sent < 0 ? 0 : (size_t)sent;
}

static void keep_unsent(struct run *run, struct connection *c, const char *bytes, size_t len)
{
    if (!c->unsent) c->unsent = bench_alloc(run->batch_bytes_max, 1);
    memcpy(c->unsent, bytes, len);
    c->unsent_start = 0;
    c->unsent_end = len;
}

static void flush_unsent(struct connection *c)
{
    size_t len = c->unsent_end - c->unsent_start;
    if (len > 0) c->unsent_start += send_some(c->fd, c->unsent + c->unsent_start, len);
}

// Sends the next batch, unless the run is over: then the connection falls idle.
static void start_batch(struct run *run, struct connection *c, uint64_t now_ns)
{
    const struct worker_plan *plan = run->worker->plan;
    unsigned count = plan->pipeline;
    if (run->ops_left < count) count = (unsigned)run->ops_left;
    if (count == 0 || now_ns >= run->deadline_ns) {
        run->busy--;
        return;
    }
    run->ops_left -= count;
    struct batch *batch = &run->batches[run->phase];
    run->phase = (run->phase + count) % plan->request_count;
    size_t len = batch_refresh(batch, count, &run->worker->numbers);
    c->awaited = count;
    c->sent_ns = now_ns;
    size_t sent = send_some(c->fd, batch->bytes, len);
    if (sent < len) keep_unsent(run, c, batch->bytes + sent, len - sent);
}

// Takes in `len` bytes at `bytes`, among them the carried line.
static void take_replies(struct run *run, struct connection *c, const char *bytes, size_t len)
{
    struct reply_counts *counts = &run->worker->counts;
    uint64_t before = counts->replies;
    ssize_t consumed = reply_parse(&c->parser, counts, bytes, len);
    if (consumed < 0) fail("malformed reply from the server", NULL);
    c->carry_bytes = (unsigned)(len - (size_t)consumed);
    memcpy(c->carry, bytes + consumed, c->carry_bytes);
    uint64_t arrived = counts->replies - before;
    if (arrived > c->awaited) fail("more replies than requests", NULL);
    if (arrived == 0) return;
    c->awaited -= (unsigned)arrived;
    if (c->awaited == 0) {
        uint64_t now_ns = worker_now_ns();
        histogram_record(&run->worker->latency, now_ns - c->sent_ns);
        start_batch(run, c, now_ns);
    }
}

static void read_replies(struct run *run, struct connection *c)
{
    ssize_t got;
    do {
        char *start = run->read_buffer + REPLY_LINE_MAX;
        got = recv(c->fd, start, READ_BYTES, MSG_DONTWAIT);
        if (got == 0) fail("the server closed a connection", NULL);
        if (got < 0) {
            if (errno == EAGAIN) return;
            if (errno != EINTR) fail("recv", strerror(errno));
            continue;
        }
        start -= c->carry_bytes;
        memcpy(start, c->carry, c->carry_bytes);
        take_replies(run, c, start, (size_t)got + c->carry_bytes);
    } while (got < 0 || got == READ_BYTES);
}

static void open_connections(struct run *run)
{
    const struct worker *worker = run->worker;
    run->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (run->epoll_fd < 0) fail("epoll_create1", strerror(errno));
    struct epoll_event stop = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(run->epoll_fd, EPOLL_CTL_ADD, worker->plan->stop_fd, &stop) < 0)
        fail("epoll_ctl", strerror(errno));
    for (unsigned i = 0; i < worker->connection_count; i++) {
        struct connection *c = &run->connections[i];
        c->fd = worker_connect(&worker->plan->address);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
        if (epoll_ctl(run->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
            fail("epoll_ctl", strerror(errno));
    }
}

static void prepare(struct run *run, struct worker *worker)
{
    const struct worker_plan *plan = worker->plan;
    *run = (struct run){.worker = worker, .ops_left = worker->ops};
    run->batches = bench_alloc(plan->request_count, sizeof *run->batches);
    for (unsigned i = 0; i < plan->request_count; i++) {
        struct batch *batch = &run->batches[i];
        batch_build(batch, plan->requests, plan->request_count, i, plan->pipeline);
        if (batch->end_bytes[batch->size - 1] > run->batch_bytes_max)
            run->batch_bytes_max = batch->end_bytes[batch->size - 1];
    }
    run->read_buffer = bench_alloc(REPLY_LINE_MAX + READ_BYTES, 1);
    run->connections = bench_alloc(worker->connection_count, sizeof *run->connections);
    worker->counts.expected = plan->expected;
    open_connections(run);
}

// The run is over for connections that want to send again; those that wait for replies get them.
static void stop_sending(struct run *run)
{
    run->deadline_ns = 0;
    epoll_ctl(run->epoll_fd, EPOLL_CTL_DEL, run->worker->plan->stop_fd, NULL);
}

static void exchange(struct run *run)
{
    struct epoll_event events[EVENTS_MAX];
    while (run->busy > 0) {
        int count = epoll_wait(run->epoll_fd, events, EVENTS_MAX, STALL_LIMIT_MS);
        if (count == 0) fail("no reply for 30 seconds", NULL);
        if (count < 0 && errno != EINTR) fail("epoll_wait", strerror(errno));
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                stop_sending(run);
                continue;
            }
            flush_unsent(c);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_replies(run, c);
        }
    }
}

static void release(struct run *run)
{
    for (unsigned i = 0; i < run->worker->connection_count; i++) {
        close(run->connections[i].fd);
        free(run->connections[i].unsent);
    }
    for (unsigned i = 0; i < run->worker->plan->request_count; i++) {
        free(run->batches[i].bytes);
        free(run->batches[i].patches);
        free(run->batches[i].end_bytes);
        free(run->batches[i].end_patch);
    }
    close(run->epoll_fd);
    free(run->connections);
    free(run->batches);
    free(run->read_buffer);
}

void *worker_run(void *argument)
{
    struct worker *worker = argument;
    struct run run;
    prepare(&run, worker);
    pthread_barrier_wait(worker->plan->all_connected);
    worker->start_ns = worker_now_ns();
    run.deadline_ns = worker->start_ns + (uint64_t)(worker->plan->seconds * 1e9);
    run.busy = worker->connection_count;
    for (unsigned i = 0; i < worker->connection_count; i++)
        start_batch(&run, &run.connections[i], worker_now_ns());
    exchange(&run);
    worker->end_ns = worker_now_ns();
    release(&run);
    return NULL;
}
