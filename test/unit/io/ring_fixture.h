// SPDX-License-Identifier: BSD-3-Clause
//
// What the tests of io/ring.h share. RING_TEST runs a test on both backends and on every rung of
// the io_uring ladder, once per entry of `engines`; rungs that this kernel does not have are
// skipped.
//
// Sockets are real (loopback TCP); the other end is driven from the same thread where it cannot
// block, else from a helper thread. Operations are wrapped in structs that write down what happened
// to them.
#pragma once
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "io/ring.h"

struct engine {
    enum ring_kind kind;
    enum ring_level level;
};

static struct engine engines[] = {
    {RING_POLL, RING_LEVEL_PLAIN},      {RING_URING, RING_LEVEL_PLAIN},
    {RING_URING, RING_LEVEL_MULTISHOT}, {RING_URING, RING_LEVEL_DEFER},
    {RING_URING, RING_LEVEL_BEST},
};

#define RING_TEST(name)                                                                            \
    static void body_##name(const struct engine *engine);                                          \
    ParameterizedTestParameters(ring, name)                                                        \
    {                                                                                              \
        return cr_make_param_array(struct engine, engines, ARRAY_LEN(engines));                    \
    }                                                                                              \
    ParameterizedTest(struct engine *engine, ring, name, .timeout = 120)                           \
    {                                                                                              \
        body_##name(engine);                                                                       \
        readers_free();                                                                            \
    }                                                                                              \
    static void body_##name(const struct engine *engine)

static inline void readers_free(void);

enum { WAIT_US = 20000, PATIENCE_US = 20000000 };

static inline struct ring *open_ring_sized(const struct engine *e, uint32_t entries, uint32_t bufs,
                                           uint32_t bytes)
{
    struct ring_options options = {e->kind, e->level, entries, bufs, bytes};
    char why[256];
    struct ring *ring = ring_open(&options, why, sizeof why);
    cr_assert(ring, "%s", why);
    if (ring_level(ring) < e->level) cr_skip_test("this kernel does not have rung %d", e->level);
    return ring;
}

static inline struct ring *open_ring(const struct engine *e)
{
    return open_ring_sized(e, 64, 16, 4096);
}

// Runs the ring until the condition holds; fails the test if it never does.
#define RUN_UNTIL(ring, condition)                                                                 \
    do {                                                                                           \
        int64_t end_us = clock_mono_us() + PATIENCE_US;                                            \
        while (!(condition)) {                                                                     \
            cr_assert(ring_run(ring, WAIT_US) >= 0);                                               \
            cr_assert(clock_mono_us() < end_us, "never: %s", #condition);                          \
        }                                                                                          \
    } while (0)

// Lets everything happen that could still happen.
static inline void run_dry(struct ring *ring)
{
    for (int i = 0; i < 4; i++) cr_assert(ring_run(ring, 5000) >= 0);
}

// ---- sockets ----

static inline int listen_any(struct sockaddr_in *address, int backlog)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert(bind(fd, (struct sockaddr *)address, sizeof *address) == 0);
    cr_assert(listen(fd, backlog) == 0);
    cr_assert(getsockname(fd, (struct sockaddr *)address, &size) == 0);
    return fd;
}

static inline int connect_to(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    cr_assert(connect(fd, (const struct sockaddr *)address, sizeof *address) == 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

// fds[0] is the server's end (non-blocking, as accepted ones are), fds[1] the client's.
static inline void tcp_pair(int fds[2])
{
    struct sockaddr_in address;
    int listener = listen_any(&address, 16);
    fds[1] = connect_to(&address);
    fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    cr_assert(fds[0] >= 0);
    close(listener);
}

static inline void write_all(int fd, const void *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = send(fd, (const char *)data + at, size - at, MSG_NOSIGNAL);
        cr_assert(n > 0);
        at += (size_t)n;
    }
}

static inline void read_all(int fd, void *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = recv(fd, (char *)data + at, size - at, 0);
        cr_assert(n > 0);
        at += (size_t)n;
    }
}

// A stream whose every byte tells its place.
static inline unsigned char stream_byte(size_t at)
{
    return (unsigned char)(at * 2654435761u >> 13 ^ at >> 20);
}

static inline char *stream_make(size_t size)
{
    char *data = malloc(size);
    for (size_t i = 0; i < size; i++) data[i] = (char)stream_byte(i);
    return data;
}

// ---- operations that write down what happened to them ----

struct reader {
    struct ring_recv recv;
    struct ring *ring;
    char *data;
    size_t len;
    size_t cap;
    int pieces;
    int finals;
    int final_result;
    size_t stop_at;   // stops itself, from the callback, once so many bytes are here
    bool is_holding;  // keeps every buffer
    bool is_checking; // calls ring_recv_check after every piece
    struct ring_buf *held[256];
    int held_count;
    struct reader *made_before; // all of a test's, freed at its end
};

static struct reader *readers;

static inline void reader_done(struct ring_recv *recv, int result, struct ring_buf *buf)
{
    struct reader *r = CONTAINER_OF(recv, struct reader, recv);
    cr_assert(r->finals == 0, "a callback after the final one");
    if (result <= 0) {
        cr_assert(buf == NULL);
        r->finals++;
        r->final_result = result;
        return;
    }
    r->pieces++;
    cr_assert(buf && buf->refs == 1 && (uint32_t)result <= buf->cap_bytes);
    cr_assert(r->len + (size_t)result <= r->cap);
    memcpy(r->data + r->len, buf->data, (size_t)result);
    r->len += (size_t)result;
    if (r->is_holding) {
        ring_buf_hold(buf);
        r->held[r->held_count++] = buf;
    }
    if (r->stop_at && r->len >= r->stop_at) ring_recv_stop(r->ring, recv);
    if (r->is_checking) ring_recv_check(r->ring, recv);
}

static inline struct reader *reader_start(struct ring *ring, int fd, size_t cap)
{
    struct reader *r = calloc(1, sizeof *r);
    r->ring = ring;
    r->data = malloc(cap);
    r->cap = cap;
    r->recv.fd = fd;
    r->recv.done = reader_done;
    r->made_before = readers;
    readers = r;
    ring_recv_start(ring, &r->recv);
    return r;
}

static inline void reader_restart(struct reader *r, struct ring *ring)
{
    r->finals = 0;
    r->stop_at = 0;
    r->ring = ring;
    ring_recv_start(ring, &r->recv);
}

static inline void reader_stop(struct reader *r)
{
    ring_recv_stop(r->ring, &r->recv);
    RUN_UNTIL(r->ring, r->finals == 1);
}

static inline void readers_free(void)
{
    while (readers) {
        struct reader *r = readers;
        readers = r->made_before;
        free(r->data);
        free(r);
    }
}

static inline void check_stream(const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)data[i] != stream_byte(i))
            cr_assert_fail("byte %zu of %zu is wrong", i, len);
}

struct writer {
    struct ring_send send;
    int count;
    int result;
};

static inline void writer_done(struct ring_send *send, int result)
{
    struct writer *w = CONTAINER_OF(send, struct writer, send);
    w->count++;
    w->result = result;
}

static inline void writer_start(struct writer *w, struct ring *ring, int fd, struct iovec *iov,
                                int iov_count)
{
    *w = (struct writer){
        .send = {.done = writer_done, .fd = fd, .iov = iov, .iov_count = iov_count}};
    ring_send_start(ring, &w->send);
}

// Writes `size` bytes of the stream to fd in pieces cut anywhere, then (if asked) ends it.
struct feeder {
    pthread_t thread;
    int fd;
    size_t size;
    size_t piece_max;
    bool ends;
};

static inline void *feeder_main(void *arg)
{
    struct feeder *f = arg;
    unsigned seed = 42;
    char *data = stream_make(f->size);
    for (size_t at = 0; at < f->size;) {
        size_t n = 1 + (size_t)rand_r(&seed) % f->piece_max;
        n = MIN(n, f->size - at);
        if (send(f->fd, data + at, n, MSG_NOSIGNAL) != (ssize_t)n) break;
        at += n;
        if (rand_r(&seed) % 64 == 0) usleep(100);
    }
    free(data);
    if (f->ends) shutdown(f->fd, SHUT_WR);
    return NULL;
}

static inline void feeder_start(struct feeder *f, int fd, size_t size, size_t piece_max, bool ends)
{
    *f = (struct feeder){.fd = fd, .size = size, .piece_max = piece_max, .ends = ends};
    cr_assert(pthread_create(&f->thread, NULL, feeder_main, f) == 0);
}
