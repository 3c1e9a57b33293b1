// SPDX-License-Identifier: BSD-3-Clause
//
// io/ring.h: receiving (also straight into the owner's memory), the pool of buffers, sending.
#define _GNU_SOURCE 1
#include "ring_fixture.h"

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

// Both wake the receive before it runs, and the data are all that it finds at first.
RING_TEST(a_reset_right_behind_data_is_not_missed)
{
    struct ring *ring = open_ring(engine);
    struct linger abort_it = {1, 0};
    for (int i = 0; i < 20; i++) {
        int fds[2];
        tcp_pair(fds);
        struct reader *r = reader_start(ring, fds[0], 64);
        r->is_checking = true;
        run_dry(ring);
        write_all(fds[1], "half", 4);
        setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &abort_it, sizeof abort_it);
        close(fds[1]);
        RUN_UNTIL(ring, r->finals == 1);
        cr_assert(r->final_result < 0, "%d", r->final_result);
        close(fds[0]);
    }
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
    if (buf)
        message_take(m, buf->data, (uint32_t)result);
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

RING_TEST(once_asked_for_nothing_but_direct_pieces_come)
{
    struct ring *ring = open_ring_sized(engine, 64, 256, 16384);
    int fds[2];
    uint32_t size = message_size(1);
    char *big = malloc(size);
    tcp_pair(fds);
    for (uint32_t i = 0; i < size; i++) big[i] = (char)stream_byte(i + 1);
    struct message_reader m = {.recv = {.done = message_done, .fd = fds[0]}, .ring = ring};
    m.messages = 1;
    ring_recv_start(ring, &m.recv);
    run_dry(ring);
    write_all(fds[1], &size, 4);
    RUN_UNTIL(ring, m.payload);
    run_dry(ring);
    for (uint32_t at = 0; at < size;) {
        uint32_t n = MIN(100000, size - at);
        write_all(fds[1], big + at, n);
        at += n;
        RUN_UNTIL(ring, m.payload_len == at || m.messages == 2);
    }
    cr_assert(m.messages == 2 && m.direct_bytes >= size - 32768, "%lu of %u", m.direct_bytes, size);
    size = message_size(2); // a small one: buffers again
    write_all(fds[1], &size, 4);
    char tail[16] = {0};
    for (uint32_t i = 0; i < size; i++) tail[i] = (char)stream_byte(i + 2);
    write_all(fds[1], tail, size);
    RUN_UNTIL(ring, m.messages == 3);
    free(big);
    ring_close(ring);
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
    cr_assert(holder->held_count == 4 && other->len == 0 && ring_is_short(ring));
    int64_t start_us = clock_mono_us();
    cr_assert(ring_run(ring, 50000) == 0);
    cr_assert(clock_mono_us() - start_us > 40000, "spins while it starves");
    cr_assert(ring_prepare(ring, 50000) > 0, "spins while it starves");
    check_stream(holder->data, holder->len); // the held ones were not written to
    for (int i = 0; i < 4; i++)
        cr_assert(memcmp(holder->held[i]->data, data + 4096 * i, 4096) == 0);
    holder->is_holding = false;
    for (int i = 0; i < 4; i++) ring_buf_release(ring, holder->held[i]);
    RUN_UNTIL(ring, holder->len == 65536 && other->len == 2);
    cr_assert(!ring_is_short(ring));
    check_stream(holder->data, holder->len);
    ring_close(ring);
    free(data);
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
    struct iovec *iov = calloc((size_t)pieces, sizeof *iov);
    struct iovec *copy = calloc((size_t)pieces, sizeof *copy);
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

RING_TEST(a_small_send_is_over_at_once_if_asked_for)
{
    struct ring *ring = open_ring(engine);
    int fds[2], result = 0;
    struct iovec iov[2] = {{"ab", 2}, {"cd", 2}};
    char got[4];
    tcp_pair(fds);
    run_dry(ring);
    struct writer w = {.send = {.done = writer_done, .iov = iov, .iov_count = 2, .fd = fds[0]}};
    cr_assert(ring_send_now(ring, &w.send, &result) && result == 4);
    read_all(fds[1], got, sizeof got);
    cr_assert(memcmp(got, "abcd", 4) == 0);
    cr_assert(!ring_has_started(ring));
    run_dry(ring);
    cr_assert_eq(w.count, 0, "it was told already");
    close(fds[1]);
    run_dry(ring);
    while (ring_send_now(ring, &w.send, &result) && result > 0) usleep(100);
    cr_assert(result == -EPIPE || result == -ECONNRESET, "%d", result);
    ring_close(ring);
}

RING_TEST(what_a_send_cannot_get_rid_of_at_once_goes_out_later)
{
    enum { BYTES = 16 << 20 };
    struct ring *ring = open_ring(engine);
    int fds[2], result = 0;
    char *data = stream_make(BYTES), *got = malloc(BYTES);
    struct iovec iov[2] = {{data, BYTES / 4}, {data + BYTES / 4, BYTES - BYTES / 4}};
    tcp_pair(fds);
    struct writer w = {.send = {.done = writer_done, .iov = iov, .iov_count = 2, .fd = fds[0]}};
    cr_assert(!ring_send_now(ring, &w.send, &result));
    cr_assert(ring_has_started(ring));
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    for (size_t len = 0; len < BYTES;) {
        ssize_t n = recv(fds[1], got + len, BYTES - len, 0);
        if (n > 0) len += (size_t)n;
        cr_assert(ring_run(ring, n > 0 ? 0 : 1000) >= 0);
    }
    RUN_UNTIL(ring, w.count == 1);
    cr_assert_eq(w.result, BYTES);
    cr_assert(memcmp(data, got, BYTES) == 0);
    cr_assert(iov[0].iov_base == data && iov[1].iov_len == BYTES - BYTES / 4, "as they were");
    free(data);
    free(got);
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
