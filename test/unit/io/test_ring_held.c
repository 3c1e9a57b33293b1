// SPDX-License-Identifier: BSD-3-Clause
//
// A receive that is held, and ring_run within its callback: what a script that takes long needs.
#include "ring_fixture.h"

enum { FIRST = 100, FLOOD = 60000, ROUNDS = 3 };

struct holder {
    struct ring_recv recv;
    struct ring *ring;
    struct reader *other;
    int own_peer, other_peer;
    char data[FIRST + FLOOD];
    size_t len;
    int finals, result;
    bool is_inside, has_flood, stops;
};

// The other one is served as ever, again and again.
static void serve_other(struct holder *h)
{
    for (int i = 0; i < ROUNDS; i++) {
        size_t len = h->other->len + 3;
        int64_t end_us = clock_mono_us() + PATIENCE_US;
        write_all(h->other_peer, "abc", 3);
        while (h->other->len < len) {
            cr_assert(ring_run(h->ring, 0) >= 0);
            cr_assert(clock_mono_us() < end_us, "the other one gets nothing");
        }
    }
}

static void holder_done(struct ring_recv *recv, int result, struct ring_buf *buf)
{
    struct holder *h = CONTAINER_OF(recv, struct holder, recv);
    cr_assert(!h->is_inside, "a callback while it is held");
    cr_assert(h->finals == 0, "a callback after the final one");
    if (result <= 0) {
        h->finals++;
        h->result = result;
        return;
    }
    cr_assert(h->len + (size_t)result <= sizeof h->data);
    memcpy(h->data + h->len, buf->data, (size_t)result);
    h->len += (size_t)result;
    if (h->has_flood) return;
    char flood[FLOOD];
    for (size_t i = 0; i < sizeof flood; i++) flood[i] = (char)stream_byte(FIRST + i);
    h->has_flood = h->is_inside = recv->is_held = true;
    write_all(h->own_peer, flood, sizeof flood);
    shutdown(h->own_peer, SHUT_WR);
    serve_other(h);
    if (h->stops) ring_recv_stop(h->ring, recv);
    serve_other(h);
    cr_assert(buf->refs == 1 && memcmp(buf->data, h->data, (size_t)result) == 0);
    h->is_inside = recv->is_held = false;
}

static void hold(const struct engine *engine, struct holder *h)
{
    struct ring *ring = open_ring_sized(engine, 64, 4, 4096);
    int own[2], other[2];
    char first[FIRST];
    tcp_pair(own);
    tcp_pair(other);
    for (size_t i = 0; i < sizeof first; i++) first[i] = (char)stream_byte(i);
    h->ring = ring;
    h->own_peer = own[1];
    h->other_peer = other[1];
    h->other = reader_start(ring, other[0], 1024);
    h->recv.fd = own[0];
    h->recv.done = holder_done;
    ring_recv_start(ring, &h->recv);
    write_all(own[1], first, sizeof first);
    RUN_UNTIL(ring, h->finals == 1);
    check_stream(h->data, h->len);
    reader_stop(h->other);
    ring_close(ring);
}

RING_TEST(a_held_receive_gets_everything_afterwards_and_others_meanwhile)
{
    struct holder h = {0};
    hold(engine, &h);
    cr_assert(h.len == FIRST + FLOOD && h.result == 0);
}

RING_TEST(a_held_receive_that_is_stopped_ends_afterwards)
{
    struct holder h = {.stops = true};
    hold(engine, &h);
    cr_assert(h.result == -ECANCELED || h.result == 0);
}
