// SPDX-License-Identifier: BSD-3-Clause
//
// The contract of io/ring.h, checked on both backends and on every rung of the io_uring ladder: each
// RING_TEST runs once per entry of `engines`. Rungs that this kernel does not have are skipped.
//
// Sockets are real (loopback TCP); the other end is driven from the same thread where it cannot block,
// else from a helper thread.
#define _GNU_SOURCE 1
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "io/ring.h"

struct engine {
    enum ring_kind kind;
    enum ring_level level;
};

static struct engine engines[] = {
    {RING_POLL, RING_LEVEL_PLAIN},  {RING_URING, RING_LEVEL_PLAIN}, {RING_URING, RING_LEVEL_MULTISHOT},
    {RING_URING, RING_LEVEL_DEFER}, {RING_URING, RING_LEVEL_BEST},
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
    }                                                                                              \
    static void body_##name(const struct engine *engine)

enum { WAIT_US = 20000, PATIENCE_US = 20000000 };

static struct ring *open_ring_sized(const struct engine *e, uint32_t entries, uint32_t bufs, uint32_t bytes)
{
    struct ring_options options = {e->kind, e->level, entries, bufs, bytes};
    char why[256];
    struct ring *ring = ring_open(&options, why, sizeof why);
    cr_assert(ring, "%s", why);
    if (ring_level(ring) < e->level) cr_skip_test("this kernel does not have rung %d", e->level);
    return ring;
}

static struct ring *open_ring(const struct engine *e)
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
static void run_dry(struct ring *ring)
{
    for (int i = 0; i < 4; i++) cr_assert(ring_run(ring, 5000) >= 0);
}

// ---- sockets ----

static int listen_any(struct sockaddr_in *address, int backlog)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert(bind(fd, (struct sockaddr *)address, sizeof *address) == 0 && listen(fd, backlog) == 0);
    cr_assert(getsockname(fd, (struct sockaddr *)address, &size) == 0);
    return fd;
}

static int connect_to(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    cr_assert(connect(fd, (const struct sockaddr *)address, sizeof *address) == 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

// fds[0] is the server's end (non-blocking, as accepted ones are), fds[1] the client's.
static void tcp_pair(int fds[2])
{
    struct sockaddr_in address;
    int listener = listen_any(&address, 16);
    fds[1] = connect_to(&address);
    fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    cr_assert(fds[0] >= 0);
    close(listener);
}

static void write_all(int fd, const void *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = send(fd, (const char *)data + at, size - at, MSG_NOSIGNAL);
        cr_assert(n > 0);
        at += (size_t)n;
    }
}

static void read_all(int fd, void *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = recv(fd, (char *)data + at, size - at, 0);
        cr_assert(n > 0);
        at += (size_t)n;
    }
}

// A stream whose every byte tells its place.
static unsigned char stream_byte(size_t at)
{
    return (unsigned char)(at * 2654435761u >> 13 ^ at >> 20);
}

static char *stream_make(size_t size)
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
    size_t stop_at;             // stops itself, from the callback, once so many bytes are here
    bool is_holding;            // keeps every buffer
    struct ring_buf *held[256];
    int held_count;
};

static void reader_done(struct ring_recv *recv, int result, struct ring_buf *buf)
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
}

static struct reader *reader_start(struct ring *ring, int fd, size_t cap)
{
    struct reader *r = calloc(1, sizeof *r);
    r->ring = ring;
    r->data = malloc(cap);
    r->cap = cap;
    r->recv.fd = fd;
    r->recv.done = reader_done;
    ring_recv_start(ring, &r->recv);
    return r;
}

static void reader_restart(struct reader *r, struct ring *ring)
{
    r->finals = 0;
    r->stop_at = 0;
    r->ring = ring;
    ring_recv_start(ring, &r->recv);
}

static void reader_stop(struct reader *r)
{
    ring_recv_stop(r->ring, &r->recv);
    RUN_UNTIL(r->ring, r->finals == 1);
}

static void reader_free(struct reader *r)
{
    free(r->data);
    free(r);
}

static void check_stream(const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)data[i] != stream_byte(i)) cr_assert_fail("byte %zu of %zu is wrong", i, len);
}

struct writer {
    struct ring_send send;
    int count;
    int result;
};

static void writer_done(struct ring_send *send, int result)
{
    struct writer *w = CONTAINER_OF(send, struct writer, send);
    w->count++;
    w->result = result;
}

static void writer_start(struct writer *w, struct ring *ring, int fd, struct iovec *iov, int iov_count)
{
    *w = (struct writer){.send = {.done = writer_done, .fd = fd, .iov = iov, .iov_count = iov_count}};
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

static void *feeder_main(void *arg)
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

static void feeder_start(struct feeder *f, int fd, size_t size, size_t piece_max, bool ends)
{
    *f = (struct feeder){.fd = fd, .size = size, .piece_max = piece_max, .ends = ends};
    cr_assert(pthread_create(&f->thread, NULL, feeder_main, f) == 0);
}

// ---- opening ----

Test(ring, automatic_choice_takes_io_uring_where_it_works)
{
    struct ring_options options = {RING_AUTO, RING_LEVEL_BEST, 64, 16, 4096};
    char why[256] = "x";
    struct ring *probe, *ring = ring_open(&options, why, sizeof why);
    cr_assert(ring);
    options.kind = RING_URING;
    char ignored[256];
    probe = ring_open(&options, ignored, sizeof ignored);
    cr_assert_str_eq(ring_backend_name(ring), probe ? "io_uring" : "epoll");
    cr_assert((why[0] == '\0') == (probe != NULL));
    if (probe) ring_close(probe);
    ring_close(ring);
}

static void forbid_syscall(long number, int error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {ARRAY_LEN(filter), filter};
    cr_assert(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    cr_assert(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void check_fallback(long number, int error, const char *word)
{
    struct ring_options options = {RING_AUTO, RING_LEVEL_BEST, 64, 16, 4096};
    char why[256];
    forbid_syscall(number, error);
    struct ring *ring = ring_open(&options, why, sizeof why);
    cr_assert(ring);
    cr_assert_str_eq(ring_backend_name(ring), "epoll");
    cr_assert(strstr(why, word) && !strchr(why, '\n'), "%s", why);
    ring_close(ring);
    options.kind = RING_URING;
    cr_assert(ring_open(&options, why, sizeof why) == NULL);
    cr_assert(strstr(why, word), "%s", why);
}

Test(ring, forbidden_io_uring_falls_back_to_epoll_and_says_why)
{
    check_fallback(SYS_io_uring_setup, EPERM, "seccomp");
}

Test(ring, missing_io_uring_falls_back_to_epoll_and_says_why)
{
    check_fallback(SYS_io_uring_setup, ENOSYS, "kernel");
}

Test(ring, io_uring_that_can_be_set_up_but_not_entered_falls_back)
{
    check_fallback(SYS_io_uring_enter, EPERM, "io_uring_enter");
}

RING_TEST(opening_and_closing_leaves_no_descriptor_behind)
{
    int before, after;
    ring_close(open_ring(engine));
    before = dup(0);
    for (int i = 0; i < 50; i++) ring_close(open_ring(engine));
    after = dup(0);
    cr_assert(after == before + 1, "%d descriptors more", after - before - 1);
}

// ---- receiving ----

RING_TEST(what_arrives_is_echoed)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    tcp_pair(fds);
    struct reader *r = reader_start(ring, fds[0], 1024);
    for (int round = 1; round <= 10; round++) {
        char back[6];
        struct writer w;
        write_all(fds[1], "hello", 5);
        RUN_UNTIL(ring, r->len == 5 * (size_t)round);
        struct iovec iov = {r->data + r->len - 5, 5};
        writer_start(&w, ring, fds[0], &iov, 1);
        cr_assert(w.count == 0, "a callback inside the call that started it");
        RUN_UNTIL(ring, w.count == 1);
        cr_assert(w.result == 5);
        read_all(fds[1], back, 5);
        cr_assert(memcmp(back, "hello", 5) == 0);
    }
    cr_assert(r->finals == 0);
    reader_stop(r);
    reader_free(r);
    ring_close(ring);
}

RING_TEST(no_callback_runs_outside_ring_run)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    tcp_pair(fds);
    write_all(fds[1], "abc", 3);
    struct reader *r = reader_start(ring, fds[0], 64);
    usleep(2000);
    cr_assert(r->pieces == 0);
    RUN_UNTIL(ring, r->len == 3);
    write_all(fds[1], "def", 3);
    usleep(2000);
    ring_recv_stop(ring, &r->recv);
    cr_assert(r->pieces == 1 && r->finals == 0);
    RUN_UNTIL(ring, r->finals == 1);
    ring_close(ring);
}

RING_TEST(many_small_pieces_arrive_in_order)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    struct feeder f;
    tcp_pair(fds);
    struct reader *r = reader_start(ring, fds[0], 1 << 20);
    feeder_start(&f, fds[1], 300000, 40, true);
    RUN_UNTIL(ring, r->finals == 1);
    pthread_join(f.thread, NULL);
    cr_assert(r->final_result == 0 && r->len == 300000);
    check_stream(r->data, r->len);
    reader_free(r);
    ring_close(ring);
}

RING_TEST(the_end_of_the_stream_is_told_once)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    tcp_pair(fds);
    struct reader *r = reader_start(ring, fds[0], 64);
    write_all(fds[1], "last", 4);
    close(fds[1]);
    RUN_UNTIL(ring, r->finals == 1);
    cr_assert(r->final_result == 0 && r->len == 4);
    run_dry(ring);
    cr_assert(r->finals == 1);
    ring_recv_stop(ring, &r->recv); // a no-op by now
    run_dry(ring);
    ring_close(ring);
}

RING_TEST(a_reset_is_told_as_an_error)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    struct linger abort_it = {1, 0};
    tcp_pair(fds);
    struct reader *r = reader_start(ring, fds[0], 64);
    run_dry(ring);
    setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &abort_it, sizeof abort_it);
    close(fds[1]);
    RUN_UNTIL(ring, r->finals == 1);
    cr_assert(r->final_result == -ECONNRESET, "%d", r->final_result);
    ring_close(ring);
}

RING_TEST(a_bad_descriptor_is_told_in_ring_run)
{
    struct ring *ring = open_ring(engine);
    struct reader *r = reader_start(ring, 9999, 64);
    cr_assert(r->finals == 0);
    RUN_UNTIL(ring, r->finals == 1);
    cr_assert(r->final_result == -EBADF, "%d", r->final_result);
    ring_close(ring);
}

RING_TEST(stop_gives_exactly_one_ecanceled_and_takes_nothing_more)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    char left[8];
    tcp_pair(fds);
    struct reader *r = reader_start(ring, fds[0], 64);
    write_all(fds[1], "one", 3);
    RUN_UNTIL(ring, r->len == 3);
    ring_recv_stop(ring, &r->recv);
    ring_recv_stop(ring, &r->recv);
    cr_assert(r->finals == 0, "a callback inside the call");
    RUN_UNTIL(ring, r->finals == 1);
    cr_assert(r->final_result == -ECANCELED);
    write_all(fds[1], "two", 3);
    run_dry(ring);
    cr_assert(r->len == 3 && r->finals == 1);
    read_all(fds[0], left, 3);
    cr_assert(memcmp(left, "two", 3) == 0);
    ring_close(ring);
}

RING_TEST(stop_before_the_first_ring_run)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    tcp_pair(fds);
    struct reader *r = reader_start(ring, fds[0], 64);
    ring_recv_stop(ring, &r->recv);
    RUN_UNTIL(ring, r->finals == 1);
    cr_assert(r->final_result == -ECANCELED);
    run_dry(ring);
    ring_close(ring);
}

RING_TEST(stop_from_the_callback_and_restart_lose_no_byte)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    struct feeder f;
    tcp_pair(fds);
    struct reader *r = reader_start(ring, fds[0], 1 << 20);
    feeder_start(&f, fds[1], 1 << 20, 5000, true);
    int stops = 0;
    for (;;) {
        r->stop_at = r->len + 20000;
        RUN_UNTIL(ring, r->finals == 1);
        if (r->final_result == 0) break;
        cr_assert(r->final_result == -ECANCELED);
        stops++;
        reader_restart(r, ring);
    }
    pthread_join(f.thread, NULL);
    cr_assert(r->len == 1 << 20 && stops > 5, "%zu bytes, %d stops", r->len, stops);
    check_stream(r->data, r->len);
    ring_close(ring);
}

RING_TEST(handing_over_between_rings_loses_no_byte)
{
    struct ring *rings[2] = {open_ring(engine), open_ring(engine)};
    int fds[2], stops = 0, here = 0;
    struct feeder f;
    tcp_pair(fds);
    struct reader *r = reader_start(rings[0], fds[0], 1 << 20);
    feeder_start(&f, fds[1], 1 << 20, 5000, true);
    for (;;) {
        r->stop_at = r->len + 20000;
        RUN_UNTIL(rings[here], r->finals == 1);
        if (r->final_result == 0) break;
        stops++;
        here = 1 - here;
        reader_restart(r, rings[here]);
        cr_assert(ring_run(rings[1 - here], 0) >= 0);
    }
    pthread_join(f.thread, NULL);
    cr_assert(r->len == 1 << 20 && stops > 5, "%zu bytes, %d stops", r->len, stops);
    check_stream(r->data, r->len);
    ring_close(rings[0]);
    ring_close(rings[1]);
}

RING_TEST(a_ring_that_gave_a_connection_away_is_not_woken_by_it)
{
    struct ring *a = open_ring(engine), *b = open_ring(engine);
    int fds[2];
    tcp_pair(fds);
    struct reader *r = reader_start(a, fds[0], 64);
    run_dry(a);
    reader_stop(r);
    reader_restart(r, b);
    write_all(fds[1], "x", 1);
    ring_run(a, 0);
    int64_t start_us = clock_mono_us();
    cr_assert(ring_run(a, 50000) == 0);
    cr_assert(clock_mono_us() - start_us > 40000);
    RUN_UNTIL(b, r->len == 1);
    ring_close(a);
    ring_close(b);
}

// ---- direct receive: messages of a 4-byte length and so many bytes of payload ----

struct message_reader {
    struct ring_recv recv;
    struct ring *ring;
    char head[4];
    uint32_t head_len;
    char *payload;
    uint32_t payload_size;
    uint32_t payload_len;
    uint64_t messages;
    uint64_t direct_bytes;
    int finals;
    int final_result;
    bool stops_amid; // stops itself in the middle of the next big payload
};

static uint32_t message_size(uint64_t index)
{
    static const uint32_t sizes[] = {10, 3000000, 1, 70000, 0, 500000, 4096, 33000, 1500000, 20};
    return sizes[index % ARRAY_LEN(sizes)] + (uint32_t)(index % 7);
}

static void message_finish(struct message_reader *m)
{
    cr_assert(m->payload_size == message_size(m->messages));
    for (uint32_t i = 0; i < m->payload_size; i++)
        if ((unsigned char)m->payload[i] != stream_byte(i + m->messages))
            cr_assert_fail("message %lu, byte %u is wrong", m->messages, i);
    m->messages++;
    m->head_len = 0;
    free(m->payload);
    m->payload = NULL;
}

static void message_take(struct message_reader *m, const char *data, uint32_t len)
{
    while (len > 0 || (m->payload && m->payload_len == m->payload_size)) {
        if (!m->payload) {
            m->head[m->head_len++] = *data++;
            len--;
            if (m->head_len < 4) continue;
            memcpy(&m->payload_size, m->head, 4);
            m->payload = malloc(m->payload_size + 1);
            m->payload_len = 0;
        }
        uint32_t n = MIN(len, m->payload_size - m->payload_len);
        if (n > 0) {
            memcpy(m->payload + m->payload_len, data, n);
            m->payload_len += n;
            data += n;
            len -= n;
        }
        if (m->payload_len == m->payload_size) message_finish(m);
    }
}

static void message_done(struct ring_recv *recv, int result, struct ring_buf *buf)
{
    struct message_reader *m = CONTAINER_OF(recv, struct message_reader, recv);
    cr_assert(m->finals == 0);
    if (result <= 0) {
        m->finals++;
        m->final_result = result;
        return;
    }
    if (buf) message_take(m, buf->data, (uint32_t)result);
    else {
        cr_assert((size_t)result <= recv->direct_left);
        cr_assert(recv->direct_ptr == m->payload + m->payload_len);
        m->payload_len += (uint32_t)result;
        m->direct_bytes += (uint64_t)result;
        message_take(m, NULL, 0);
    }
    recv->direct_left = 0;
    if (m->payload && m->payload_size - m->payload_len > 32768) {
        recv->direct_ptr = m->payload + m->payload_len;
        recv->direct_left = m->payload_size - m->payload_len;
        if (m->stops_amid && !buf) {
            m->stops_amid = false;
            ring_recv_stop(m->ring, recv);
        }
    }
}

static void *message_feeder(void *arg)
{
    struct feeder *f = arg;
    unsigned seed = 7;
    for (uint64_t i = 0; i < f->size; i++) {
        uint32_t size = message_size(i), at = 0;
        char *data = malloc(size + 4);
        memcpy(data, &size, 4);
        for (uint32_t k = 0; k < size; k++) data[4 + k] = (char)stream_byte(k + i);
        while (at < size + 4) {
            uint32_t n = 1 + (uint32_t)rand_r(&seed) % 200000;
            n = MIN(n, size + 4 - at);
            ssize_t sent = send(f->fd, data + at, n, MSG_NOSIGNAL);
            if (sent <= 0) return NULL;
            at += (uint32_t)sent;
            if (rand_r(&seed) % 8 == 0) usleep(200);
        }
        free(data);
    }
    shutdown(f->fd, SHUT_WR);
    return NULL;
}

RING_TEST(direct_receive_of_megabytes_cut_anywhere)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    tcp_pair(fds);
    struct message_reader m = {.recv = {.done = message_done, .fd = fds[0]}, .ring = ring};
    struct feeder f = {.fd = fds[1], .size = 30};
    ring_recv_start(ring, &m.recv);
    pthread_create(&f.thread, NULL, message_feeder, &f);
    RUN_UNTIL(ring, m.finals == 1);
    pthread_join(f.thread, NULL);
    cr_assert(m.final_result == 0 && m.messages == 30, "%d, %lu", m.final_result, m.messages);
    cr_assert(m.direct_bytes > 7000000, "only %lu bytes went straight", m.direct_bytes);
    ring_close(ring);
}

RING_TEST(direct_receive_survives_stop_and_hand_over)
{
    struct ring *rings[2] = {open_ring(engine), open_ring(engine)};
    int fds[2], stops = 0;
    tcp_pair(fds);
    struct message_reader m = {.recv = {.done = message_done, .fd = fds[0]}, .ring = rings[0]};
    struct feeder f = {.fd = fds[1], .size = 30};
    pthread_create(&f.thread, NULL, message_feeder, &f);
    for (;;) {
        m.finals = 0;
        m.stops_amid = true;
        ring_recv_start(m.ring, &m.recv);
        RUN_UNTIL(m.ring, m.finals == 1);
        if (m.final_result == 0) break;
        cr_assert(m.final_result == -ECANCELED);
        stops++;
        m.ring = m.ring == rings[0] ? rings[1] : rings[0];
    }
    pthread_join(f.thread, NULL);
    cr_assert(m.messages == 30 && stops > 3, "%lu messages, %d stops", m.messages, stops);
    ring_close(rings[0]);
    ring_close(rings[1]);
}

RING_TEST(direct_receive_set_before_the_start)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    char *big = stream_make(100000), *to = malloc(100000);
    tcp_pair(fds);
    struct message_reader m = {.recv = {.done = message_done, .fd = fds[0]}, .ring = ring};
    m.payload = malloc(message_size(1));
    m.payload_size = message_size(1);
    m.recv.direct_ptr = m.payload;
    m.recv.direct_left = m.payload_size;
    write_all(fds[1], big, 100000);
    ring_recv_start(ring, &m.recv);
    RUN_UNTIL(ring, m.payload_len == 100000);
    cr_assert(m.direct_bytes == 100000);
    check_stream(m.payload, 100000);
    ring_recv_stop(ring, &m.recv);
    RUN_UNTIL(ring, m.finals == 1);
    free(m.payload);
    free(big);
    free(to);
    ring_close(ring);
}

// ---- buffers ----

RING_TEST(a_ring_without_spare_buffers_waits_for_one_and_sleeps_meanwhile)
{
    struct ring *ring = open_ring_sized(engine, 64, 4, 4096);
    int one[2], two[2];
    char *data = stream_make(65536);
    tcp_pair(one);
    tcp_pair(two);
    struct reader *holder = reader_start(ring, one[0], 65536);
    holder->is_holding = true;
    write_all(one[1], data, 65536);
    RUN_UNTIL(ring, holder->held_count == 4);
    struct reader *other = reader_start(ring, two[0], 64);
    write_all(two[1], "hi", 2);
    run_dry(ring);
    cr_assert(holder->held_count == 4 && other->len == 0);
    int64_t start_us = clock_mono_us();
    cr_assert(ring_run(ring, 50000) == 0);
    cr_assert(clock_mono_us() - start_us > 40000, "spins while it starves");
    check_stream(holder->data, holder->len); // the held ones were not written to
    for (int i = 0; i < 4; i++) cr_assert(memcmp(holder->held[i]->data, data + 4096 * i, 4096) == 0);
    holder->is_holding = false;
    for (int i = 0; i < 4; i++) ring_buf_release(ring, holder->held[i]);
    RUN_UNTIL(ring, holder->len == 65536 && other->len == 2);
    check_stream(holder->data, holder->len);
    ring_close(ring);
}

RING_TEST(one_buffer_serves_many_starving_connections)
{
    enum { N = 40 };
    struct ring *ring = open_ring_sized(engine, 64, 1, 4096);
    struct reader *r[N];
    int fds[N][2];
    for (int i = 0; i < N; i++) {
        tcp_pair(fds[i]);
        r[i] = reader_start(ring, fds[i][0], 4096);
    }
    for (int round = 1; round <= 20; round++) {
        for (int i = 0; i < N; i++) write_all(fds[i][1], "0123456789", 10);
        for (int i = 0; i < N; i++) RUN_UNTIL(ring, r[i]->len == 10 * (size_t)round);
    }
    ring_close(ring);
}

RING_TEST(buffers_released_one_by_one_keep_a_stream_going)
{
    struct ring *ring = open_ring_sized(engine, 64, 8, 1024);
    int fds[2], released = 0;
    struct feeder f;
    tcp_pair(fds);
    struct reader *r = reader_start(ring, fds[0], 1 << 18);
    r->is_holding = true;
    feeder_start(&f, fds[1], 100000, 9000, true);
    while (r->finals == 0) {
        cr_assert(ring_run(ring, WAIT_US) >= 0);
        if (released == r->held_count) continue;
        ring_buf_release(ring, r->held[released++]);
        if (released == r->held_count) released = r->held_count = 0;
    }
    pthread_join(f.thread, NULL);
    cr_assert(r->len == 100000);
    check_stream(r->data, r->len);
    ring_close(ring);
}

RING_TEST(a_starving_receive_can_be_stopped)
{
    struct ring *ring = open_ring_sized(engine, 64, 2, 1024);
    int one[2], two[2];
    char data[8192] = {0};
    tcp_pair(one);
    tcp_pair(two);
    struct reader *holder = reader_start(ring, one[0], 65536);
    holder->is_holding = true;
    write_all(one[1], data, sizeof data);
    RUN_UNTIL(ring, holder->held_count == 2);
    struct reader *other = reader_start(ring, two[0], 64);
    write_all(two[1], "hi", 2);
    run_dry(ring);
    reader_stop(other);
    cr_assert(other->final_result == -ECANCELED && other->len == 0);
    reader_stop(holder);
    cr_assert(holder->final_result == -ECANCELED);
    holder->is_holding = false;
    for (int i = 0; i < 2; i++) ring_buf_release(ring, holder->held[i]);
    reader_restart(other, ring);
    RUN_UNTIL(ring, other->len == 2);
    ring_close(ring);
}

// ---- sending ----

// Reads slowly, and checks that what comes is the stream.
static void *slow_reader_main(void *arg)
{
    struct feeder *f = arg;
    char *data = malloc(f->size);
    for (size_t at = 0; at < f->size;) {
        ssize_t n = recv(f->fd, data + at, MIN(f->size - at, f->piece_max), 0);
        cr_assert(n > 0);
        at += (size_t)n;
        usleep(50);
    }
    check_stream(data, f->size);
    free(data);
    return NULL;
}

static void check_big_send(const struct engine *engine, size_t size, int pieces)
{
    struct ring *ring = open_ring(engine);
    int fds[2], small = 32768;
    struct writer w;
    char *data = stream_make(size), *at = data;
    struct iovec *iov = calloc((size_t)pieces, sizeof *iov), *copy = calloc((size_t)pieces, sizeof *copy);
    unsigned seed = 3;
    tcp_pair(fds);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    for (int i = 0; i < pieces; i++) {
        size_t left = size - (size_t)(at - data);
        size_t n = i == pieces - 1 ? left : (size_t)rand_r(&seed) % (2 * size / (size_t)pieces);
        iov[i] = (struct iovec){at, MIN(n, left)};
        at += iov[i].iov_len;
    }
    memcpy(copy, iov, (size_t)pieces * sizeof *iov);
    struct feeder f = {.fd = fds[1], .size = size, .piece_max = 30000};
    pthread_create(&f.thread, NULL, slow_reader_main, &f);
    writer_start(&w, ring, fds[0], iov, pieces);
    RUN_UNTIL(ring, w.count == 1);
    cr_assert(w.result == (int)size, "%d", w.result);
    pthread_join(f.thread, NULL);
    cr_assert(memcmp(iov, copy, (size_t)pieces * sizeof *iov) == 0, "the pieces were not restored");
    run_dry(ring);
    cr_assert(w.count == 1);
    free(data);
    free(iov);
    free(copy);
    ring_close(ring);
}

RING_TEST(one_big_piece_reaches_a_slow_reader_whole)
{
    check_big_send(engine, 6 << 20, 1);
}

RING_TEST(a_few_pieces_reach_a_slow_reader_whole)
{
    check_big_send(engine, 6 << 20, 7);
}

RING_TEST(more_pieces_than_the_kernel_takes_reach_a_slow_reader_whole)
{
    check_big_send(engine, 4 << 20, 3000);
}

RING_TEST(sending_nothing_is_done_at_once)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    struct writer none, empty;
    struct iovec iov[2] = {{NULL, 0}, {NULL, 0}};
    tcp_pair(fds);
    writer_start(&none, ring, fds[0], NULL, 0);
    RUN_UNTIL(ring, none.count == 1);
    writer_start(&empty, ring, fds[0], iov, 2);
    RUN_UNTIL(ring, empty.count == 1);
    cr_assert(none.result == 0 && empty.result == 0);
    ring_close(ring);
}

RING_TEST(sending_to_a_closed_peer_is_an_error_and_no_signal)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    struct linger abort_it = {1, 0};
    struct writer w = {.result = 1};
    struct iovec iov[2] = {{"ab", 2}, {"cd", 2}};
    tcp_pair(fds);
    setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &abort_it, sizeof abort_it);
    close(fds[1]);
    for (int i = 0; i < 2; i++) {
        writer_start(&w, ring, fds[0], iov, 1 + i);
        RUN_UNTIL(ring, w.count == 1);
        cr_assert(w.result == -EPIPE || w.result == -ECONNRESET, "%d", w.result);
    }
    ring_close(ring);
}

RING_TEST(shutdown_breaks_off_a_send_that_hangs)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    struct writer w;
    size_t size = 16 << 20;
    char *data = stream_make(size);
    struct iovec iov[2] = {{data, size / 2}, {data + size / 2, size / 2}};
    tcp_pair(fds);
    struct reader *r = reader_start(ring, fds[0], 64);
    for (int pieces = 1; pieces <= 2; pieces++) {
        if (pieces == 2) {
            tcp_pair(fds);
            r = reader_start(ring, fds[0], 64);
        }
        writer_start(&w, ring, fds[0], iov, pieces);
        run_dry(ring);
        cr_assert(w.count == 0, "nobody reads: it must hang");
        shutdown(fds[0], SHUT_RDWR);
        RUN_UNTIL(ring, w.count == 1 && r->finals == 1);
        cr_assert(w.result == -EPIPE || w.result == -ECONNRESET, "%d", w.result);
        cr_assert(iov[0].iov_base == data && iov[0].iov_len == size / 2);
        cr_assert(r->final_result == 0);
        reader_free(r);
    }
    free(data);
    ring_close(ring);
}

RING_TEST(a_blocked_send_does_not_hold_back_receiving_on_the_same_socket)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    struct writer w;
    size_t size = 16 << 20;
    char *data = stream_make(size), *back = malloc(size);
    struct iovec iov = {data, size};
    tcp_pair(fds);
    struct reader *r = reader_start(ring, fds[0], 64);
    writer_start(&w, ring, fds[0], &iov, 1);
    run_dry(ring);
    write_all(fds[1], "ping", 4);
    RUN_UNTIL(ring, r->len == 4);
    cr_assert(w.count == 0);
    reader_stop(r); // the send stays
    struct feeder f = {.fd = fds[1], .size = size, .piece_max = 1 << 20};
    pthread_create(&f.thread, NULL, slow_reader_main, &f);
    RUN_UNTIL(ring, w.count == 1);
    pthread_join(f.thread, NULL);
    cr_assert(w.result == (int)size);
    free(data);
    free(back);
    ring_close(ring);
}

// ---- accepting ----

struct acceptor {
    struct ring_accept accept;
    struct ring *ring;
    int fds[1024];
    int count;
    int errors;
    int last_error;
    int finals;
};

static void acceptor_done(struct ring_accept *accept, int result)
{
    struct acceptor *a = CONTAINER_OF(accept, struct acceptor, accept);
    cr_assert(a->finals == 0, "a callback after the final one");
    if (result >= 0) a->fds[a->count++] = result;
    else if (result == -ECANCELED) a->finals++;
    else {
        a->errors++;
        a->last_error = result;
    }
}

static void acceptor_start(struct acceptor *a, struct ring *ring, int fd)
{
    *a = (struct acceptor){.accept = {.done = acceptor_done, .fd = fd}, .ring = ring};
    ring_accept_start(ring, &a->accept);
}

RING_TEST(a_burst_of_connections_is_accepted)
{
    enum { N = 300 };
    struct ring *ring = open_ring(engine);
    struct sockaddr_in address;
    struct acceptor a;
    int clients[N], listener = listen_any(&address, 512);
    acceptor_start(&a, ring, listener);
    for (int i = 0; i < N; i++) clients[i] = connect_to(&address);
    cr_assert(a.count == 0);
    RUN_UNTIL(ring, a.count == N);
    for (int i = 0; i < N; i++) {
        cr_assert(fcntl(a.fds[i], F_GETFL) & O_NONBLOCK);
        cr_assert(fcntl(a.fds[i], F_GETFD) & FD_CLOEXEC);
    }
    for (int i = 0; i < 5; i++) connect_to(&address); // and it goes on
    RUN_UNTIL(ring, a.count == N + 5);
    cr_assert(a.errors == 0);
    close(clients[0]);
    ring_close(ring);
}

RING_TEST(accepting_stops_with_one_ecanceled)
{
    struct ring *ring = open_ring(engine);
    struct sockaddr_in address;
    struct acceptor a;
    int listener = listen_any(&address, 16);
    acceptor_start(&a, ring, listener);
    connect_to(&address);
    RUN_UNTIL(ring, a.count == 1);
    ring_accept_stop(ring, &a.accept);
    ring_accept_stop(ring, &a.accept);
    cr_assert(a.finals == 0);
    RUN_UNTIL(ring, a.finals == 1);
    connect_to(&address);
    run_dry(ring);
    cr_assert(a.count == 1 && a.finals == 1 && a.errors == 0);
    acceptor_start(&a, ring, listener); // again
    RUN_UNTIL(ring, a.count == 1);
    ring_close(ring);
}

RING_TEST(accepting_goes_on_after_a_shortage_of_descriptors)
{
    struct ring *ring = open_ring(engine);
    struct sockaddr_in address;
    struct acceptor a;
    int listener = listen_any(&address, 16);
    int client = connect_to(&address);
    struct rlimit old, low;
    getrlimit(RLIMIT_NOFILE, &old);
    low = (struct rlimit){(rlim_t)client + 1, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &low);
    acceptor_start(&a, ring, listener);
    int64_t start_us = clock_mono_us();
    while (clock_mono_us() - start_us < 100000) cr_assert(ring_run(ring, WAIT_US) >= 0);
    cr_assert(a.count == 0 && a.last_error == -EMFILE);
    cr_assert(a.errors >= 2 && a.errors <= 15, "%d attempts in 100 ms", a.errors);
    setrlimit(RLIMIT_NOFILE, &old);
    RUN_UNTIL(ring, a.count == 1);
    ring_close(ring);
}

RING_TEST(accepting_can_be_stopped_in_the_pause)
{
    struct ring *ring = open_ring(engine);
    struct sockaddr_in address;
    struct acceptor a;
    int listener = listen_any(&address, 16), client = connect_to(&address);
    struct rlimit low;
    getrlimit(RLIMIT_NOFILE, &low);
    low.rlim_cur = (rlim_t)client + 1;
    setrlimit(RLIMIT_NOFILE, &low);
    acceptor_start(&a, ring, listener);
    RUN_UNTIL(ring, a.errors == 1);
    ring_accept_stop(ring, &a.accept);
    RUN_UNTIL(ring, a.finals == 1);
    int64_t start_us = clock_mono_us();
    cr_assert(ring_run(ring, 50000) == 0);
    cr_assert(clock_mono_us() - start_us > 40000 && a.errors == 1);
    ring_close(ring);
}

// A connection that closes itself at the end of its stream, so that its descriptor is used again by one
// that is accepted in the same ring_run.
struct short_lived {
    struct ring_recv recv;
    struct storm *storm;
};

struct storm {
    struct ring_accept accept;
    struct ring *ring;
    int open_count;
    int closed_count;
    size_t bytes;
};

static void short_lived_done(struct ring_recv *recv, int result, struct ring_buf *buf)
{
    struct short_lived *s = CONTAINER_OF(recv, struct short_lived, recv);
    if (result > 0) {
        cr_assert(buf && buf->data[0] == 'x');
        s->storm->bytes += (size_t)result;
        return;
    }
    cr_assert(result == 0, "%d", result);
    close(recv->fd);
    s->storm->closed_count++;
    memset(s, 0xdb, sizeof *s); // who still looks at it will fall
    free(s);
}

static void storm_done(struct ring_accept *accept, int result)
{
    struct storm *storm = CONTAINER_OF(accept, struct storm, accept);
    cr_assert(result >= 0);
    struct short_lived *s = calloc(1, sizeof *s);
    s->storm = storm;
    s->recv.fd = result;
    s->recv.done = short_lived_done;
    storm->open_count++;
    ring_recv_start(storm->ring, &s->recv);
}

RING_TEST(descriptors_that_are_used_again_at_once_are_not_confused)
{
    enum { ROUNDS = 60, N = 20 };
    struct ring *ring = open_ring(engine);
    struct sockaddr_in address;
    struct storm storm = {.accept = {.done = storm_done, .fd = listen_any(&address, 256)}, .ring = ring};
    ring_accept_start(ring, &storm.accept);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < N; i++) {
            int fd = connect_to(&address);
            write_all(fd, "xxxx", 4);
            close(fd);
            if (i % 3 == 0) cr_assert(ring_run(ring, 0) >= 0);
        }
    RUN_UNTIL(ring, storm.closed_count == ROUNDS * N);
    cr_assert(storm.bytes == 4 * ROUNDS * N);
    ring_close(ring);
}

// ---- readiness ----

struct waiter {
    struct ring_ready ready;
    int count;
    int result;
};

static void waiter_done(struct ring_ready *ready, int result)
{
    struct waiter *w = CONTAINER_OF(ready, struct waiter, ready);
    w->count++;
    w->result = result;
}

static void waiter_start(struct waiter *w, struct ring *ring, int fd)
{
    *w = (struct waiter){.ready = {.done = waiter_done, .fd = fd}};
    ring_ready_start(ring, &w->ready);
}

RING_TEST(readiness_is_told_once_and_takes_nothing)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    char back[4];
    struct waiter w;
    tcp_pair(fds);
    waiter_start(&w, ring, fds[0]);
    run_dry(ring);
    cr_assert(w.count == 0);
    write_all(fds[1], "abcd", 4);
    RUN_UNTIL(ring, w.count == 1);
    cr_assert(w.result > 0 && (w.result & POLLIN));
    run_dry(ring);
    cr_assert(w.count == 1);
    read_all(fds[0], back, 4);
    waiter_start(&w, ring, fds[0]); // closed counts as readable
    run_dry(ring);
    close(fds[1]);
    RUN_UNTIL(ring, w.count == 1);
    cr_assert(w.result > 0);
    ring_close(ring);
}

RING_TEST(waiting_for_readiness_can_be_stopped)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    struct waiter w, bad;
    tcp_pair(fds);
    waiter_start(&w, ring, fds[0]);
    run_dry(ring);
    ring_ready_stop(ring, &w.ready);
    ring_ready_stop(ring, &w.ready);
    cr_assert(w.count == 0);
    RUN_UNTIL(ring, w.count == 1);
    cr_assert(w.result == -ECANCELED);
    write_all(fds[1], "x", 1);
    run_dry(ring);
    cr_assert(w.count == 1);
    waiter_start(&bad, ring, 9999);
    RUN_UNTIL(ring, bad.count == 1);
    ring_close(ring);
}

// ---- time and waking ----

RING_TEST(a_timeout_is_kept_and_an_idle_ring_sleeps)
{
    enum { N = 100 };
    struct ring *ring = open_ring(engine);
    struct rusage before, after;
    for (int i = 0; i < N; i++) {
        int fds[2];
        tcp_pair(fds);
        reader_start(ring, fds[0], 16);
    }
    run_dry(ring);
    getrusage(RUSAGE_THREAD, &before);
    int64_t start_us = clock_mono_us();
    cr_assert(ring_run(ring, 300000) == 0);
    int64_t took_us = clock_mono_us() - start_us;
    getrusage(RUSAGE_THREAD, &after);
    cr_assert(took_us >= 299000 && took_us < 2000000, "%ld us", (long)took_us);
    cr_assert(after.ru_nvcsw - before.ru_nvcsw <= 3, "woke up %ld times", after.ru_nvcsw - before.ru_nvcsw);
    start_us = clock_mono_us();
    for (int i = 0; i < 100; i++) cr_assert(ring_run(ring, 0) == 0);
    cr_assert(clock_mono_us() - start_us < 100000);
    start_us = clock_mono_us(); // below a millisecond
    for (int i = 0; i < 10; i++) cr_assert(ring_run(ring, 200) == 0);
    took_us = clock_mono_us() - start_us;
    cr_assert(took_us >= 1900 && took_us < 500000, "%ld us", (long)took_us);
    ring_close(ring);
}

RING_TEST(a_ring_wakes_itself)
{
    struct ring *ring = open_ring(engine);
    run_dry(ring);
    ring_wake(ring, ring);
    int64_t start_us = clock_mono_us();
    ring_run(ring, 5000000);
    cr_assert(clock_mono_us() - start_us < 2000000);
    start_us = clock_mono_us();
    ring_run(ring, 50000);
    cr_assert(clock_mono_us() - start_us > 40000, "woken twice");
    ring_close(ring);
}

struct partner {
    pthread_t thread;
    const struct engine *engine;
    bool has_ring;
    int rounds;
    struct ring *target;
    _Atomic(struct ring *) ring; // release by the partner, acquire by the test: published once open
    atomic_int turn;             // sequentially consistent: a simple hand-over of the turn
};

static void partner_wake(struct partner *p, struct ring *own)
{
    ring_wake(p->has_ring ? own : NULL, p->target);
}

// Ping-pong: waits for its turn, asleep in its ring, then wakes the other side.
static void *partner_main(void *arg)
{
    struct partner *p = arg;
    struct ring *own = open_ring(p->engine);
    atomic_store_explicit(&p->ring, own, memory_order_release);
    for (int i = 0; i < p->rounds; i++) {
        while (atomic_load(&p->turn) != 2 * i + 1) cr_assert(ring_run(own, -1) >= 0);
        atomic_store(&p->turn, 2 * i + 2);
        partner_wake(p, own);
        cr_assert(ring_run(own, 0) >= 0);
    }
    while (atomic_load(&p->turn) >= 0) cr_assert(ring_run(own, 1000) >= 0); // nobody wakes it any more
    ring_close(own);
    return NULL;
}

static void check_ping_pong(const struct engine *mine, const struct engine *its, bool has_ring, int rounds)
{
    struct ring *ring = open_ring(mine);
    struct partner p = {.engine = its, .has_ring = has_ring, .rounds = rounds, .target = ring};
    pthread_create(&p.thread, NULL, partner_main, &p);
    while (!atomic_load_explicit(&p.ring, memory_order_acquire)) usleep(100);
    for (int i = 0; i < rounds; i++) {
        atomic_store(&p.turn, 2 * i + 1);
        ring_wake(has_ring ? ring : NULL, p.ring);
        while (atomic_load(&p.turn) != 2 * i + 2) cr_assert(ring_run(ring, -1) >= 0);
    }
    atomic_store(&p.turn, -1);
    pthread_join(p.thread, NULL);
    ring_close(ring);
}

RING_TEST(thousands_of_wakes_without_a_ring_all_arrive)
{
    check_ping_pong(engine, engine, false, 5000);
}

RING_TEST(thousands_of_wakes_by_a_ring_all_arrive)
{
    check_ping_pong(engine, engine, true, 5000);
}

RING_TEST(rings_of_different_engines_wake_each_other)
{
    struct engine other = {engine->kind == RING_POLL ? RING_URING : RING_POLL, RING_LEVEL_PLAIN};
    check_ping_pong(engine, &other, true, 500);
    struct engine plain = {RING_URING, RING_LEVEL_PLAIN};
    check_ping_pong(engine, &plain, true, 500);
}

static void *waker_main(void *arg)
{
    struct partner *p = arg;
    struct ring *own = p->has_ring ? open_ring(p->engine) : NULL;
    for (int i = 0; i < p->rounds; i++) {
        ring_wake(own, p->target);
        if (own && i % 16 == 0) ring_run(own, 0);
    }
    if (own) ring_run(own, 0);
    atomic_fetch_add(&p->turn, 1);
    ring_wake(NULL, p->target);
    if (own) ring_close(own);
    return NULL;
}

RING_TEST(a_storm_of_wakes_does_no_harm)
{
    // More than the completion queue holds: the target does not run meanwhile.
    struct ring *ring = open_ring_sized(engine, 8, 16, 4096);
    struct partner with = {.engine = engine, .has_ring = true, .rounds = 20000, .target = ring};
    struct partner without = {.engine = engine, .has_ring = false, .rounds = 20000, .target = ring};
    int fds[2];
    tcp_pair(fds);
    struct reader *r = reader_start(ring, fds[0], 64);
    run_dry(ring);
    pthread_create(&with.thread, NULL, waker_main, &with);
    pthread_create(&without.thread, NULL, waker_main, &without);
    write_all(fds[1], "alive", 5);
    usleep(20000);
    while (!atomic_load(&with.turn) || !atomic_load(&without.turn)) cr_assert(ring_run(ring, -1) >= 0);
    pthread_join(with.thread, NULL);
    pthread_join(without.thread, NULL);
    RUN_UNTIL(ring, r->len == 5);
    // Nothing is left that would keep it awake.
    for (int i = 0; i < 100000 && ring_run(ring, 0) >= 0; i++) continue;
    int64_t start_us = clock_mono_us();
    cr_assert(ring_run(ring, 50000) == 0);
    cr_assert(clock_mono_us() - start_us > 40000);
    ring_close(ring);
}

static void on_signal(int number)
{
    (void)number;
}

static void *signal_main(void *arg)
{
    usleep(50000);
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
    return NULL;
}

RING_TEST(a_signal_ends_the_wait_without_an_error)
{
    struct ring *ring = open_ring(engine);
    struct sigaction action = {.sa_handler = on_signal};
    pthread_t self = pthread_self(), thread;
    sigaction(SIGUSR1, &action, NULL);
    run_dry(ring);
    pthread_create(&thread, NULL, signal_main, &self);
    int64_t start_us = clock_mono_us();
    cr_assert(ring_run(ring, 5000000) == 0);
    cr_assert(clock_mono_us() - start_us < 4000000);
    pthread_join(thread, NULL);
    ring_close(ring);
}

// ---- load ----

RING_TEST(more_operations_than_queue_entries)
{
    enum { N = 200 };
    struct ring *ring = open_ring_sized(engine, 4, 16, 4096);
    static struct writer writers[N];
    static struct iovec iov[N];
    struct reader *r[N];
    int fds[N][2];
    for (int i = 0; i < N; i++) {
        tcp_pair(fds[i]);
        r[i] = reader_start(ring, fds[i][0], 4096);
    }
    for (int round = 1; round <= 5; round++) {
        for (int i = 0; i < N; i++) write_all(fds[i][1], "ping", 4);
        for (int i = 0; i < N; i++) RUN_UNTIL(ring, r[i]->len == 4 * (size_t)round);
        for (int i = 0; i < N; i++) {
            iov[i] = (struct iovec){"pong", 4};
            writer_start(&writers[i], ring, fds[i][0], &iov[i], 1);
        }
        for (int i = 0; i < N; i++) RUN_UNTIL(ring, writers[i].count == 1 && writers[i].result == 4);
    }
    for (int i = 0; i < N; i++) ring_recv_stop(ring, &r[i]->recv);
    for (int i = 0; i < N; i++) {
        char back[20];
        RUN_UNTIL(ring, r[i]->finals == 1);
        cr_assert(r[i]->final_result == -ECANCELED);
        read_all(fds[i][1], back, 20);
        cr_assert(memcmp(back, "pongpongpongpongpong", 20) == 0);
    }
    ring_close(ring);
}

struct flood {
    struct ring_recv recv;
    size_t bytes;
    int finals;
};

static void flood_done(struct ring_recv *recv, int result, struct ring_buf *buf)
{
    struct flood *f = CONTAINER_OF(recv, struct flood, recv);
    (void)buf;
    if (result > 0) f->bytes += (size_t)result;
    else f->finals++;
}

static void *flood_main(void *arg)
{
    static char junk[1 << 18];
    while (send(*(int *)arg, junk, sizeof junk, MSG_NOSIGNAL) > 0) continue;
    return NULL;
}

RING_TEST(a_flood_does_not_starve_the_others)
{
    enum { N = 20, ROUNDS = 50 };
    struct ring *ring = open_ring(engine);
    int fds[N][2], flood_fds[2];
    struct reader *r[N];
    pthread_t thread;
    tcp_pair(flood_fds);
    struct flood flood = {.recv = {.done = flood_done, .fd = flood_fds[0]}};
    ring_recv_start(ring, &flood.recv);
    for (int i = 0; i < N; i++) {
        tcp_pair(fds[i]);
        r[i] = reader_start(ring, fds[i][0], 4096);
    }
    pthread_create(&thread, NULL, flood_main, &flood_fds[1]);
    RUN_UNTIL(ring, flood.bytes > 10 << 20);
    for (int round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < N; i++) write_all(fds[i][1], "x", 1);
        size_t before = flood.bytes;
        for (int i = 0; i < N; i++) RUN_UNTIL(ring, r[i]->len == (size_t)round);
        cr_assert(flood.bytes - before < 8 << 20, "%zu bytes of flood first", flood.bytes - before);
    }
    shutdown(flood_fds[0], SHUT_RDWR);
    RUN_UNTIL(ring, flood.finals == 1);
    pthread_join(thread, NULL);
    ring_close(ring);
}
