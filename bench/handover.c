// SPDX-License-Identifier: BSD-3-Clause
//
// gyre-handover: how long an element takes from the one who pushes it to the one who waits for it.
//
//     waiter                      server                     pusher
//       | BRPOP key 0 ------------> |                          |
//       |                           | (--pause-us)             |
//       |                           | <------------ LPUSH key v |  <- the clock starts before send
//       | <---------------- key, v  |                          |
//       ^ and stops after recv      | :1 --------------------> |
//
// One thread plays both clients, and sleeps in recv as a client does: nobody polls, and no other
// client's wake-up is in the time. The pause is there for the waiter to be waiting, and the server
// asleep, when the push comes, as it is in life. Now and then a third connection asks whether the
// waiter is indeed blocked; `unready` counts when it was not.
//
// A server of several threads may keep a connection on the thread that has the first key it speaks
// of, and move it when it keeps speaking of another's. --waiter-at and --pusher-at name a key: an
// EXISTS of it goes ahead of all, so that either client begins with the list or away from it. With
// --keep it goes ahead of every hand-over too, unmeasured, so that it stays there.
//
// Prints one line of name=value pairs. Status: 0 measured, 1 failed, 2 wrong usage. Loopback only.
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"

enum {
    OPS_MAX = 10000000,
    PAUSE_MAX_US = 100000,
    SECONDS_MAX = 600,   // in all: a forgotten run ends by itself
    PATIENCE_S = 10,     // for any reply
    CHECK_EVERY = 64,    // hand-overs: too seldom to keep the server awake
    WARM_UP = 200,       // hand-overs that are not counted
    KEY_BYTES_MAX = 200, // so that every message fits MESSAGE_BYTES_MAX
    MESSAGE_BYTES_MAX = 512,
    INFO_BYTES_MAX = 16384
};

#define VALUE "a message of thirty-two bytes..."

struct options {
    const char *key, *waiter_at, *pusher_at;
    unsigned long port, ops, pause_us;
    bool is_kept; // where waiter_at and pusher_at are
};

// Bytes that are sent, or must come.
struct message {
    char bytes[MESSAGE_BYTES_MAX];
    size_t len;
};

struct run {
    const struct options *options;
    int waiter, pusher, observer;
    struct message brpop, lpush, popped, pushed;
    struct message waiter_home, pusher_home, none; // EXISTS, and its answer
    struct histogram latency;
    uint64_t checks, unready;
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "gyre-handover: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// A command or reply of `count` strings.
static struct message array_of(int count, const char *const *words)
{
    struct message m = {0};
    m.len = (size_t)snprintf(m.bytes, sizeof m.bytes, "*%d\r\n", count);
    for (int i = 0; i < count; i++)
        m.len += (size_t)snprintf(m.bytes + m.len, sizeof m.bytes - m.len, "$%zu\r\n%s\r\n",
                                  strlen(words[i]), words[i]);
    return m;
}

static void send_all(int fd, const struct message *m)
{
    if (send(fd, m->bytes, m->len, MSG_NOSIGNAL) != (ssize_t)m->len) fail("send failed");
}

static void expect(int fd, const struct message *wanted)
{
    char got[MESSAGE_BYTES_MAX];
    ssize_t len = recv(fd, got, wanted->len, MSG_WAITALL);
    if (len == (ssize_t)wanted->len && memcmp(got, wanted->bytes, wanted->len) == 0) return;
    if (len < 0) fail(errno == EAGAIN ? "no reply for ten seconds" : strerror(errno));
    fprintf(stderr, "gyre-handover: not the expected reply: %.*s\n", (int)len, got);
    exit(1);
}

static int open_connection(unsigned long port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        fail(strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static void pause_us(unsigned long us)
{
    struct timespec rest = {.tv_nsec = (long)us * 1000};
    nanosleep(&rest, NULL);
}

// Whether the server says that a client is blocked.
static bool is_waiting(struct run *r)
{
    static const char line[] = "\r\nblocked_clients:1\r\n";
    char info[INFO_BYTES_MAX];
    struct message ask = array_of(2, (const char *[]){"INFO", "clients"});
    size_t have = 0, len = SIZE_MAX;
    send_all(r->observer, &ask);
    while (have < len) {
        ssize_t got = recv(r->observer, info + have, sizeof info - 1 - have, 0);
        if (got <= 0) fail("INFO clients got no reply");
        have += (size_t)got;
        info[have] = '\0';
        char *body = strstr(info, "\r\n");
        if (info[0] != '$') fail("INFO clients got a strange reply");
        if (body) len = (size_t)(body + 2 - info) + strtoul(info + 1, NULL, 10) + 2;
        if (len > sizeof info - 1 && len != SIZE_MAX) fail("INFO clients is too long");
    }
    return strstr(info, line) != NULL;
}

static void await_waiter(struct run *r)
{
    r->checks++;
    if (is_waiting(r)) return;
    r->unready++;
    for (int i = 0; i < 10000; i++) {
        pause_us(100);
        if (is_waiting(r)) return;
    }
    fail("the client in BRPOP is never counted as blocked");
}

static void speak_of_home(struct run *r)
{
    send_all(r->waiter, &r->waiter_home);
    expect(r->waiter, &r->none);
    send_all(r->pusher, &r->pusher_home);
    expect(r->pusher, &r->none);
}

static void hand_over(struct run *r, bool is_checked, bool is_counted)
{
    if (r->options->is_kept) speak_of_home(r);
    send_all(r->waiter, &r->brpop);
    pause_us(r->options->pause_us);
    if (is_checked) {
        await_waiter(r);
        pause_us(r->options->pause_us);
    }
    uint64_t start_ns = now_ns();
    send_all(r->pusher, &r->lpush);
    expect(r->waiter, &r->popped);
    uint64_t end_ns = now_ns();
    expect(r->pusher, &r->pushed);
    if (is_counted) histogram_record(&r->latency, end_ns - start_ns);
}

static double quantile_us(const struct run *r, double quantile)
{
    return (double)histogram_quantile_ns(&r->latency, quantile) / 1e3;
}

static void measure(const struct options *o)
{
    static struct run r; // zeroed, and too large for a stack
    r.options = o;
    r.brpop = array_of(3, (const char *[]){"BRPOP", o->key, "0"});
    r.lpush = array_of(3, (const char *[]){"LPUSH", o->key, VALUE});
    r.popped = array_of(2, (const char *[]){o->key, VALUE});
    r.pushed = (struct message){.bytes = ":1\r\n", .len = 4};
    r.waiter_home = array_of(2, (const char *[]){"EXISTS", o->waiter_at});
    r.pusher_home = array_of(2, (const char *[]){"EXISTS", o->pusher_at});
    r.none = (struct message){.bytes = ":0\r\n", .len = 4};
    r.waiter = open_connection(o->port);
    r.pusher = open_connection(o->port);
    r.observer = open_connection(o->port);
    speak_of_home(&r);
    prctl(PR_SET_TIMERSLACK, 1); // ns: pauses as long as asked for
    for (unsigned i = 0; i < WARM_UP; i++) hand_over(&r, i == 0, false);
    r.checks = r.unready = 0;
    uint64_t start_ns = now_ns();
    for (unsigned long i = 0; i < o->ops; i++) {
        if (now_ns() - start_ns > SECONDS_MAX * UINT64_C(1000000000)) fail("ten minutes are over");
        hand_over(&r, i % CHECK_EVERY == 0, true);
    }
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    printf("ops=%lu seconds=%.3f p50_us=%.1f p99_us=%.1f p999_us=%.1f max_us=%.1f checks=%llu "
           "unready=%llu cpu_seconds=%.3f\n",
           o->ops, (double)(now_ns() - start_ns) / 1e9, quantile_us(&r, 0.5), quantile_us(&r, 0.99),
           quantile_us(&r, 0.999), (double)r.latency.max_ns / 1e3, (unsigned long long)r.checks,
           (unsigned long long)r.unready, (double)used.tv_sec + (double)used.tv_nsec / 1e9);
    close(r.waiter);
    close(r.pusher);
    close(r.observer);
}

static _Noreturn void print_usage(int status)
{
    fputs("usage: gyre-handover --port P [options]\n"
          "  --ops N           hand-overs to time (20000)\n"
          "  --key K           the list (queue)\n"
          "  --waiter-at K     another key of which the waiting connection speaks (--key)\n"
          "  --pusher-at K     and the pushing one\n"
          "  --keep            they speak of it again before each hand-over\n"
          "  --pause-us N      between BRPOP and LPUSH (100)\n",
          status ? stderr : stdout);
    exit(status);
}

static unsigned long parse_number(const char *text, unsigned long min, unsigned long max)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || value < min || value > max) print_usage(2);
    return value;
}

static const char *parse_key(const char *text)
{
    if (strlen(text) > KEY_BYTES_MAX) print_usage(2);
    return text;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'},
        {"ops", required_argument, NULL, 'n'},
        {"key", required_argument, NULL, 'k'},
        {"waiter-at", required_argument, NULL, 'w'},
        {"pusher-at", required_argument, NULL, 'l'},
        {"pause-us", required_argument, NULL, 'u'},
        {"keep", no_argument, NULL, 'e'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct options o = {.key = "queue", .ops = 20000, .pause_us = 100};
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'p': o.port = parse_number(optarg, 1, 65535); break;
        case 'n': o.ops = parse_number(optarg, 1, OPS_MAX); break;
        case 'k': o.key = parse_key(optarg); break;
        case 'w': o.waiter_at = parse_key(optarg); break;
        case 'l': o.pusher_at = parse_key(optarg); break;
        case 'e': o.is_kept = true; break;
        case 'u': o.pause_us = parse_number(optarg, 0, PAUSE_MAX_US); break;
        default: print_usage(option == 'h' ? 0 : 2);
        }
    }
    if (o.port == 0 || optind < argc) print_usage(2);
    if (!o.waiter_at) o.waiter_at = o.key;
    if (!o.pusher_at) o.pusher_at = o.key;
    measure(&o);
    return 0;
}
