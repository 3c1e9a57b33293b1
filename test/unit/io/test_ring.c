// SPDX-License-Identifier: BSD-3-Clause
//
// io/ring.h: opening, accepting, readiness, time and waking, load. (Receiving and sending:
// test_ring_stream.c.)
#define _GNU_SOURCE 1
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/cpu.h"
#include "ring_fixture.h"

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
    if (result >= 0)
        a->fds[a->count++] = result;
    else if (result == -ECANCELED)
        a->finals++;
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

// A connection that closes itself at the end of its stream, so that its descriptor is used again by
// one that is accepted in the same ring_run.
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
    struct storm storm = {.accept = {.done = storm_done}, .ring = ring};
    storm.accept.fd = listen_any(&address, 256);
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

// Two connections become readable at once; whoever is served first stops the other, and puts
// another, silent socket in the place of its descriptor. What the kernel had said of the old one
// must not reach the new one.
struct duelist {
    struct ring_recv recv;
    struct ring *ring;
    struct duelist *other;
    struct waiter waiter;
    int silent_fd;
    int finals;
    bool is_winner;
};

static void duelist_done(struct ring_recv *recv, int result, struct ring_buf *buf)
{
    struct duelist *d = CONTAINER_OF(recv, struct duelist, recv);
    (void)buf;
    if (result <= 0) {
        d->finals++;
        return;
    }
    if (d->is_winner || d->other->is_winner) return;
    d->is_winner = true;
    ring_recv_stop(d->ring, &d->other->recv);
    cr_assert(dup2(d->silent_fd, d->other->recv.fd) == d->other->recv.fd);
    waiter_start(&d->waiter, d->ring, d->other->recv.fd);
}

RING_TEST(a_descriptor_that_was_replaced_inherits_no_event)
{
    struct ring *ring = open_ring(engine);
    int fds[2][2], silent[2];
    struct duelist d[2] = {{.ring = ring, .other = &d[1]}, {.ring = ring, .other = &d[0]}};
    tcp_pair(silent);
    for (int i = 0; i < 2; i++) {
        tcp_pair(fds[i]);
        d[i].silent_fd = silent[0];
        d[i].recv.fd = fds[i][0];
        d[i].recv.done = duelist_done;
        ring_recv_start(ring, &d[i].recv);
    }
    run_dry(ring);
    for (int i = 0; i < 2; i++) write_all(fds[i][1], "x", 1);
    usleep(2000);
    RUN_UNTIL(ring, d[0].finals + d[1].finals == 1);
    run_dry(ring);
    struct duelist *winner = d[0].is_winner ? &d[0] : &d[1];
    cr_assert(winner->waiter.count == 0);
    write_all(silent[1], "x", 1);
    RUN_UNTIL(ring, winner->waiter.count == 1);
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
    long wakes = after.ru_nvcsw - before.ru_nvcsw;
    cr_assert(wakes <= 3, "woke up %ld times", wakes);
    for (int i = 0; i < 100; i++) cr_assert(ring_run(ring, 0) == 0);
    getrusage(RUSAGE_THREAD, &before);
    wakes = before.ru_nvcsw - after.ru_nvcsw;
    cr_assert(wakes <= 3, "without time to wait it slept %ld times", wakes);
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
    // Nobody wakes it any more, so that it may be closed.
    while (atomic_load(&p->turn) >= 0) cr_assert(ring_run(own, 1000) >= 0);
    ring_close(own);
    return NULL;
}

static void check_ping_pong(const struct engine *mine, const struct engine *its, bool has_ring,
                            int rounds)
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

// A ring that waits is taken by another thread.
struct sleeper {
    pthread_t thread;
    const struct engine *engine;
    struct reader *reader;
    int fd;
    size_t bytes; // that it reads
    struct ring *ring;
    atomic_int state; // sequentially consistent: a simple hand-over of the ring
};

enum { RING_ITS_OWN, RING_MAY_BE_TAKEN, RING_GIVEN_BACK };

static void *sleeper_main(void *arg)
{
    struct sleeper *s = arg;
    s->ring = open_ring(s->engine);
    s->reader = reader_start(s->ring, s->fd, s->bytes);
    int64_t timeout_us;
    while (!(timeout_us = ring_prepare(s->ring, PATIENCE_US))) cr_assert(ring_run(s->ring, 0) >= 0);
    atomic_store(&s->state, RING_MAY_BE_TAKEN);
    ring_wait(s->ring, timeout_us, 1);
    while (atomic_load(&s->state) != RING_GIVEN_BACK) usleep(100);
    ring_take(s->ring);
    RUN_UNTIL(s->ring, s->reader->len == s->bytes);
    ring_close(s->ring);
    return NULL;
}

RING_TEST(a_ring_that_waits_may_be_taken_and_given_something_to_do)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    struct iovec iov = {"hello", 5};
    struct writer w;
    tcp_pair(fds);
    struct sleeper s = {.engine = engine, .fd = fds[0], .bytes = 5};
    pthread_create(&s.thread, NULL, sleeper_main, &s);
    while (!atomic_load(&s.state)) usleep(100);
    usleep(1000); // most often it is in the kernel by now; it need not be
    ring_take(s.ring);
    cr_assert(!ring_has_started(s.ring));
    writer_start(&w, s.ring, fds[1], &iov, 1); // to itself
    cr_assert(ring_has_started(s.ring));
    atomic_store(&s.state, RING_GIVEN_BACK);
    ring_wake(NULL, s.ring);
    pthread_join(s.thread, NULL);
    cr_assert(w.count == 1 && w.result == 5);
    ring_close(ring);
}

RING_TEST(a_ring_that_is_taken_may_be_given_more_than_its_queue_has_room_for)
{
    enum { WRITERS = 500 }; // it has room for 64
    struct ring *ring = open_ring(engine);
    char text[WRITERS];
    struct writer *writers = calloc(WRITERS, sizeof *writers);
    struct iovec pieces[WRITERS][2];
    int fds[2];
    tcp_pair(fds);
    struct sleeper s = {.engine = engine, .fd = fds[0], .bytes = sizeof text};
    pthread_create(&s.thread, NULL, sleeper_main, &s);
    while (!atomic_load(&s.state)) usleep(100);
    ring_take(s.ring);
    for (int i = 0; i < WRITERS; i++) {
        text[i] = (char)('a' + i % 26);
        pieces[i][0] = (struct iovec){&text[i], 1};
        pieces[i][1] = (struct iovec){text, 0}; // a vector, every third time
        writer_start(&writers[i], s.ring, fds[1], pieces[i], 1 + (i % 3 == 0));
    }
    atomic_store(&s.state, RING_GIVEN_BACK);
    ring_wake(NULL, s.ring);
    pthread_join(s.thread, NULL);
    for (int i = 0; i < WRITERS; i++) cr_assert(writers[i].count == 1 && writers[i].result == 1);
    cr_assert(memcmp(s.reader->data, text, sizeof text) == 0);
    free(writers);
    ring_close(ring);
}

// One is enough after a moment, with a send under way too; the reader's limit is seconds away.
RING_TEST(a_wait_for_a_batch_does_not_wait_for_those_that_do_not_come)
{
    enum { ROUNDS = 200 };
    struct ring *ring = open_ring(engine);
    struct iovec iov = {"hello", 5};
    struct writer w = {0};
    int fds[2];
    tcp_pair(fds);
    struct reader *r = reader_start(ring, fds[0], ROUNDS * 5);
    run_dry(ring);
    int64_t start_us = clock_mono_us();
    for (int i = 0; i < ROUNDS; i++) {
        writer_start(&w, ring, fds[1], &iov, 1); // to itself
        while (r->len < (size_t)(i + 1) * 5 || !w.count) {
            int64_t timeout_us = ring_prepare(ring, PATIENCE_US);
            if (timeout_us) ring_wait(ring, timeout_us, 1 + (uint32_t)i % 8);
            cr_assert(ring_run(ring, 0) >= 0);
        }
        w.count = 0;
    }
    cr_assert(clock_mono_us() - start_us < PATIENCE_US, "no wait went on to its limit");
    ring_close(ring);
}

// Another thread sees that something has arrived until the ring has told of it.
enum { SHOWN = 2000 };

static void *shower_main(void *arg)
{
    struct sleeper *s = arg;
    s->ring = open_ring(s->engine);
    s->reader = reader_start(s->ring, s->fd, SHOWN);
    atomic_store(&s->state, RING_MAY_BE_TAKEN);
    while (s->reader->len < SHOWN) {
        int64_t timeout_us = ring_prepare(s->ring, WAIT_US);
        if (timeout_us) ring_wait(s->ring, timeout_us, 1);
        cr_assert(ring_run(s->ring, 0) >= 0);
    }
    while (atomic_load(&s->state) != RING_GIVEN_BACK) usleep(100);
    ring_close(s->ring);
    return NULL;
}

// What is written to a Unix socket has arrived when write returns.
static void unix_pair(int fds[2])
{
    cr_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    cr_assert(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
}

RING_TEST(what_has_arrived_shows_until_it_has_been_told)
{
    int fds[2];
    unix_pair(fds);
    struct ring *ring = open_ring(engine); // skips the test if there is none of this kind
    struct sleeper s = {.engine = engine, .fd = fds[0]};
    pthread_create(&s.thread, NULL, shower_main, &s);
    while (!atomic_load(&s.state)) usleep(100);
    bool is_blind = ring_is_blind(s.ring);
    for (size_t i = 0; i < SHOWN; i++) {
        cr_assert(write(fds[1], "x", 1) == 1);
        for (int pause = (int)i % 50; pause > 0; pause--) cpu_relax();
        if (ring_shows_news(s.ring)) {
            if (i % 4 == 0) usleep(20);
            continue;
        }
        ring_await_kernel(s.ring);
        if (!ring_shows_news(s.ring)) cr_assert(!is_blind && s.reader->len == i + 1);
    }
    while (!is_blind && ring_shows_news(s.ring)) usleep(100); // in the end there is nothing
    atomic_store(&s.state, RING_GIVEN_BACK);
    pthread_join(s.thread, NULL);
    close(fds[1]);
    ring_close(ring);
}

RING_TEST(what_comes_behind_a_completion_is_more)
{
    struct ring *ring = open_ring(engine);
    int fds[2];
    unix_pair(fds);
    struct reader *r = reader_start(ring, fds[0], 1);
    run_dry(ring);
    bool is_blind = ring_is_blind(ring);
    cr_assert(ring_has_more(ring) == is_blind);
    cr_assert(write(fds[1], "x", 1) == 1);
    cr_assert(ring_has_more(ring));
    RUN_UNTIL(ring, r->len == 1);
    run_dry(ring);
    cr_assert(ring_has_more(ring) == is_blind);
    close(fds[1]);
    ring_close(ring);
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
    while (!atomic_load(&with.turn) || !atomic_load(&without.turn))
        cr_assert(ring_run(ring, -1) >= 0);
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
        for (int i = 0; i < N; i++)
            RUN_UNTIL(ring, writers[i].count == 1 && writers[i].result == 4);
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

// Sends again as soon as it has sent.
struct chatterer {
    struct ring_send send;
    struct ring *ring;
    int sends;
    bool has_ended;
};

static void chatterer_done(struct ring_send *send, int result)
{
    struct chatterer *c = CONTAINER_OF(send, struct chatterer, send);
    if (result < 0) {
        c->has_ended = true;
        return;
    }
    c->sends++;
    ring_send_start(c->ring, send);
}

static void *drain_main(void *arg)
{
    char junk[65536];
    while (recv(*(int *)arg, junk, sizeof junk, 0) > 0) continue;
    return NULL;
}

RING_TEST(a_sender_that_never_ends_does_not_starve_receiving)
{
    struct ring *ring = open_ring(engine);
    int out[2], in[2];
    pthread_t thread;
    struct iovec iov = {"chatter", 7};
    tcp_pair(out);
    tcp_pair(in);
    struct reader *r = reader_start(ring, in[0], 64);
    struct chatterer c = {.send = {.done = chatterer_done, .fd = out[0]}, .ring = ring};
    c.send.iov = &iov;
    c.send.iov_count = 1;
    pthread_create(&thread, NULL, drain_main, &out[1]);
    ring_send_start(ring, &c.send);
    RUN_UNTIL(ring, c.sends > 100);
    int before = c.sends;
    write_all(in[1], "ping", 4);
    RUN_UNTIL(ring, r->len == 4);
    cr_assert(c.sends - before < 1000, "%d sends first", c.sends - before);
    shutdown(out[0], SHUT_RDWR);
    RUN_UNTIL(ring, c.has_ended);
    pthread_join(thread, NULL);
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
    if (result > 0)
        f->bytes += (size_t)result;
    else
        f->finals++;
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
