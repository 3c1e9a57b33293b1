// SPDX-License-Identifier: BSD-3-Clause
//
// `stream` holds the expected message over and over, long enough for a whole read from any place in
// a message. A subscriber that has received n bytes must now read what lies at n % message_len:
//
//     stream:   *3..message A|*3..message A|*3..message A|...
//                       ^ n % message_len
//     buffer:          [what recv gave        ]   equal, or the server is wrong
//
// So a lost, doubled, torn or mixed-up message is found, whatever the reads are cut into.
#include "subscribers.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "request.h"
#include "worker.h"

enum {
    READ_BYTES = 128 << 10, // per recv
    EVENTS_MAX = 256,       // per epoll_wait
    QUIET_MS = 500,         // without a message, once told to end
    ANSWER_BYTES_MAX = 512, // of the answer to SUBSCRIBE
    PATIENCE_S = 10         // for that answer
};

struct subscriber {
    int fd;
    uint64_t bytes; // received after the answer to SUBSCRIBE
};

struct reading {
    const struct subscribers_plan *plan;
    struct subscriber *subscribers;
    char *stream, *buffer;
    size_t message_len;
    uint64_t first_ns, last_ns; // when messages arrived; 0: none has
    int epoll_fd, signal_fd;
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "gyre-load: %s\n", what);
    exit(1);
}

static void render_stream(struct reading *r)
{
    struct request *message = bench_alloc(1, sizeof *message);
    struct request_options how = {.key_prefix = "", .value_bytes = r->plan->value_bytes};
    char text[ANSWER_BYTES_MAX];
    // What a subscriber gets looks as a request does: an array of three strings.
    snprintf(text, sizeof text, "message %s __data__", r->plan->channel);
    if (request_compile(message, text, &how) != NULL || message->patch_count > 0)
        fail("--subscribe takes a plain word");
    r->message_len = message->len_bytes;
    r->stream = bench_alloc(READ_BYTES + 2 * r->message_len, 1);
    for (size_t at = 0; at < READ_BYTES + r->message_len; at += r->message_len)
        memcpy(r->stream + at, message->bytes, r->message_len);
    free(message->bytes);
    free(message);
}

static void subscribe(struct reading *r, struct subscriber *s)
{
    const char *channel = r->plan->channel;
    size_t len = strlen(channel);
    char request[ANSWER_BYTES_MAX], wanted[ANSWER_BYTES_MAX], answer[ANSWER_BYTES_MAX];
    int request_len =
        snprintf(request, sizeof request, "*2\r\n$9\r\nSUBSCRIBE\r\n$%zu\r\n%s\r\n", len, channel);
    int wanted_len = snprintf(wanted, sizeof wanted,
                              "*3\r\n$9\r\nsubscribe\r\n$%zu\r\n%s\r\n:1\r\n", len, channel);
    if (wanted_len >= ANSWER_BYTES_MAX) fail("the channel's name is too long");
    struct timeval patience = {.tv_sec = PATIENCE_S};
    s->fd = worker_connect(&r->plan->address);
    setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (send(s->fd, request, (size_t)request_len, MSG_NOSIGNAL) != request_len ||
        recv(s->fd, answer, (size_t)wanted_len, MSG_WAITALL) != wanted_len ||
        memcmp(answer, wanted, (size_t)wanted_len) != 0)
        fail("SUBSCRIBE got no proper answer");
}

static void watch(struct reading *r, int fd, struct subscriber *s)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

static void open_all(struct reading *r)
{
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    r->signal_fd = signalfd(-1, &ending, SFD_CLOEXEC);
    r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (r->signal_fd < 0 || r->epoll_fd < 0) fail("signalfd or epoll_create1");
    watch(r, r->signal_fd, NULL);
    for (unsigned i = 0; i < r->plan->count; i++) {
        subscribe(r, &r->subscribers[i]);
        watch(r, r->subscribers[i].fd, &r->subscribers[i]);
    }
}

static void take_messages(struct reading *r, struct subscriber *s)
{
    ssize_t got;
    do {
        got = recv(s->fd, r->buffer, READ_BYTES, MSG_DONTWAIT);
        if (got == 0) fail("the server closed a subscriber's connection");
        if (got < 0) {
            if (errno == EAGAIN || errno == EINTR) return;
            fail("a subscriber's connection failed");
        }
        if (memcmp(r->buffer, r->stream + s->bytes % r->message_len, (size_t)got) != 0)
            fail("a subscriber got something other than the message");
        s->bytes += (uint64_t)got;
    } while (got == READ_BYTES);
}

static void read_all(struct reading *r)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t deadline_ns = worker_now_ns() + (uint64_t)(r->plan->seconds * 1e9);
    bool is_ending = false;
    for (;;) {
        uint64_t now_ns = worker_now_ns();
        if (now_ns >= deadline_ns) is_ending = true;
        int wait_ms = is_ending ? QUIET_MS : (int)((deadline_ns - now_ns) / 1000000) + 1;
        int count = epoll_wait(r->epoll_fd, events, EVENTS_MAX, wait_ms);
        if (count < 0 && errno != EINTR) fail("epoll_wait");
        if (count == 0 && is_ending) return;
        bool has_message = false;
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) {
                take_messages(r, events[i].data.ptr);
                has_message = true;
            } else { // the signal stays readable: it must not wake us again
                is_ending = true;
                epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, r->signal_fd, NULL);
            }
        }
        if (!has_message) continue;
        r->last_ns = worker_now_ns();
        if (r->first_ns == 0) r->first_ns = r->last_ns;
    }
}

static void report(const struct reading *r)
{
    uint64_t total = 0, least = UINT64_MAX, most = 0;
    struct timespec used;
    for (unsigned i = 0; i < r->plan->count; i++) {
        uint64_t messages = r->subscribers[i].bytes / r->message_len;
        total += messages;
        if (messages < least) least = messages;
        if (messages > most) most = messages;
    }
    double seconds = (double)(r->last_ns - r->first_ns) / 1e9;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    printf("subscribers=%u messages=%llu least=%llu most=%llu seconds=%.3f messages_per_s=%.0f "
           "cpu_seconds=%.3f\n",
           r->plan->count, (unsigned long long)total, (unsigned long long)least,
           (unsigned long long)most, seconds, seconds > 0 ? (double)total / seconds : 0.0,
           (double)used.tv_sec + (double)used.tv_nsec / 1e9);
}

void subscribers_run(const struct subscribers_plan *plan)
{
    struct reading r = {.plan = plan};
    r.subscribers = bench_alloc(plan->count, sizeof *r.subscribers);
    r.buffer = bench_alloc(READ_BYTES, 1);
    render_stream(&r);
    open_all(&r);
    printf("subscribed=%u\n", plan->count);
    fflush(stdout);
    read_all(&r);
    report(&r);
    for (unsigned i = 0; i < plan->count; i++) close(r.subscribers[i].fd);
    close(r.signal_fd);
    close(r.epoll_fd);
    free(r.subscribers);
    free(r.stream);
    free(r.buffer);
}
