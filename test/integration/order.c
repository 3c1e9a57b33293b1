// SPDX-License-Identifier: BSD-3-Clause
//
// gyre-order-test: looks for violations of the order rule (src/README.md) under load, on plain
// sockets.
//
//     gyre-order-test TEST HOST PORT [seconds] [seed]
//
//     flags    a producer pipelines "write data, write flag" without waiting; whoever sees the flag
//              must find the data: in one pipeline, in a later command, on another connection, and
//              in one MGET
//     mset     MSET, MSETNX, DEL and UNLINK of the same keys; MGET sees all or nothing of one
//              writer, EXISTS and TOUCH count all or nothing
//     rename   tokens wander between slots by RENAMENX; at every instant all are there, each once
//     copy     COPY of a counter that only grows; whoever reads the copy, then the counter, never
//              finds the copy ahead
//     cuts     pipelines cut at random bytes, on private keys: each reply must be exactly the
//              expected bytes, in order
//     smove    members wander between sets by SMOVE; SUNION finds each once at every instant,
//     SINTER
//              of two sets nothing, SUNIONSTORE stores all
//     lmove    elements wander between lists by LMOVE and RPOPLPUSH; none is lost or doubled
//     gather   whole sorted sets and HyperLogLogs wander between slots by RENAMENX; ZUNION,
//              ZINTERCARD, ZUNIONSTORE and PFCOUNT over all slots take one instant
//     sort     MSET of the keys that SORT BY and GET read; SORT sees all or nothing of one writer
//     kill     connections that die in the middle of pipelines, in several ways (the caller then
//              checks the server)
//
// Every thread has connections of its own and checks every reply. Each violation is printed (the
// first 20); the last line is `TEST: N operations, N violations`. The exit status is 0 only without
// a violation, and only if every thread got on: a reply that does not come within READ_TIMEOUT_S is
// a violation too ("stuck").

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_TIMEOUT_S = 20, // longer than any honest server needs under this load, sanitizers included
    BUFFER_BYTES = 1 << 20, // a batch of commands or replies; batches stay far below it
    MAX_THREADS = 32,
    MAX_REPORTS = 20,
};

static struct sockaddr_storage server_address;
static socklen_t server_address_len;
static atomic_bool stop_now;
static atomic_ulong total_operations;
static atomic_uint violations;

struct worker {
    pthread_t thread;
    int number;
    uint64_t dice;
    unsigned long operations;
    void (*run)(struct worker *);
};

static void violation(const char *format, ...)
{
    if (atomic_fetch_add(&violations, 1) < MAX_REPORTS) {
        va_list args;
        va_start(args, format);
        printf("violation: ");
        vprintf(format, args);
        printf("\n");
        va_end(args);
    }
}

static uint64_t roll(struct worker *w, uint64_t sides)
{
    w->dice ^= w->dice << 13; // xorshift64
    w->dice ^= w->dice >> 7;
    w->dice ^= w->dice << 17;
    return (w->dice >> 11) % sides;
}

// ---- one connection: an output buffer, an input buffer, and replies read one after another

struct conn {
    int fd;
    bool broken; // a violation was reported; every call becomes a no-op
    char *out;
    size_t out_len;
    char *in;
    size_t in_at, in_len;
};

struct reply {
    char kind; // RESP's first byte, or 0 if the connection broke
    bool is_null;
    long number;
    const char *text; // valid until the next reply is read
    size_t len;
};

static void conn_open(struct conn *c)
{
    memset(c, 0, sizeof(*c));
    c->out = malloc(BUFFER_BYTES);
    c->in = malloc(BUFFER_BYTES);
    c->fd = socket(server_address.ss_family, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&server_address, server_address_len) < 0) {
        violation("cannot connect: %s", strerror(errno));
        c->broken = true;
        return;
    }
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct timeval limit = {.tv_sec = READ_TIMEOUT_S};
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static void conn_close(struct conn *c)
{
    if (c->fd >= 0) close(c->fd);
    free(c->out);
    free(c->in);
}

// Append one command; its words are separated by single spaces, so that no word may hold one.
static void put(struct conn *c, const char *format, ...)
{
    char line[4096];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(line) ||
        c->out_len + 2 * (size_t)len + 4096 > BUFFER_BYTES)
        abort();
    int words = 1;
    for (char *p = line; *p; p++) words += *p == ' ';
    c->out_len += (size_t)sprintf(c->out + c->out_len, "*%d\r\n", words);
    for (char *p = line; words-- > 0;) {
        size_t n = strcspn(p, " ");
        c->out_len += (size_t)sprintf(c->out + c->out_len, "$%zu\r\n%.*s\r\n", n, (int)n, p);
        p += n + 1;
    }
}

static void flush(struct conn *c)
{
    for (size_t at = 0; at < c->out_len && !c->broken;) {
        ssize_t n = send(c->fd, c->out + at, c->out_len - at, MSG_NOSIGNAL);
        if (n <= 0) {
            violation("send: %s", n ? strerror(errno) : "closed");
            c->broken = true;
            break;
        }
        at += (size_t)n;
    }
    c->out_len = 0;
}

static bool more_input(struct conn *c)
{
    if (c->in_at > BUFFER_BYTES / 2) {
        memmove(c->in, c->in + c->in_at, c->in_len - c->in_at);
        c->in_len -= c->in_at;
        c->in_at = 0;
    }
    ssize_t n = recv(c->fd, c->in + c->in_len, BUFFER_BYTES - c->in_len, 0);
    if (n <= 0) {
        violation("%s", n == 0            ? "connection closed by the server"
                        : errno == EAGAIN ? "stuck: no reply in time"
                                          : strerror(errno));
        c->broken = true;
        return false;
    }
    c->in_len += (size_t)n;
    return true;
}

static char *read_line(struct conn *c)
{
    for (size_t looked = c->in_at;;) {
        char *end = memmem(c->in + looked, c->in_len - looked, "\r\n", 2);
        if (end) {
            char *line = c->in + c->in_at;
            *end = 0;
            c->in_at = (size_t)(end - c->in) + 2;
            return line;
        }
        if (!more_input(c)) return NULL;
        looked = c->in_at;
    }
}

static struct reply next(struct conn *c)
{
    struct reply r = {0};
    char *line = c->broken ? NULL : read_line(c);
    if (!line) return r;
    r.kind = line[0];
    r.text = line + 1;
    r.len = strlen(r.text);
    r.number = atol(line + 1);
    r.is_null = r.number == -1 && (r.kind == '$' || r.kind == '*');
    if (r.kind == '$' && !r.is_null) {
        size_t need = (size_t)r.number + 2;
        while (c->in_len - c->in_at < need)
            if (!more_input(c)) return (struct reply){0};
        r.text = c->in + c->in_at;
        r.len = (size_t)r.number;
        c->in[c->in_at + r.len] = 0;
        r.number = atol(r.text);
        c->in_at += need;
    }
    if (r.kind == '-') violation("an error reply: %s", r.text);
    return r;
}

// A bulk string's number, or -1 for null.
static long next_number(struct conn *c)
{
    struct reply r = next(c);
    if (r.kind && r.kind != '$' && r.kind != ':' && r.kind != '-')
        violation("unexpected reply %c%s", r.kind, r.text);
    return r.kind == 0 || r.is_null ? -1 : r.number;
}

static void expect_ok(struct conn *c)
{
    struct reply r = next(c);
    if (r.kind && (r.kind != '+' || strcmp(r.text, "OK") != 0))
        violation("want +OK, got %c%s", r.kind, r.text);
}

// ---- flags

enum { FLAG_PAIRS = 64, FLAG_BATCH = 24 };

// Pair j lives on two keys whose slots have nothing to do with one another. Some pairs are written
// as data, noise, flag, so that groups of commands form on several shards.
static void flags_producer(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    int half = w->number;
    for (long version = 1; !atomic_load(&stop_now) && !c.broken;) {
        int awaited = 0;
        for (int i = 0; i < FLAG_BATCH; i++, version++) {
            int j = (int)roll(w, FLAG_PAIRS);
            put(&c, "SET data:%d:%d %ld", half, j, version);
            awaited++;
            for (uint64_t n = roll(w, 3); n > 0; n--, awaited++)
                put(&c, "SET noise:%d:%d x", half, (int)roll(w, 1000));
            put(&c, "SET flag:%d:%d %ld", half, j, version);
            awaited++;
        }
        flush(&c);
        w->operations += (unsigned long)awaited;
        while (awaited-- > 0) expect_ok(&c);
    }
    conn_close(&c);
}

static void flags_consumer(struct worker *w)
{
    struct conn a, b;
    conn_open(&a);
    conn_open(&b);
    while (!atomic_load(&stop_now) && !a.broken && !b.broken) {
        int way = (int)roll(w, 4), half = (int)roll(w, 2);
        int pair[FLAG_BATCH];
        long flag[FLAG_BATCH], data;
        for (int i = 0; i < FLAG_BATCH; i++) pair[i] = (int)roll(w, FLAG_PAIRS);
        w->operations += 2 * FLAG_BATCH;
        if (way == 0) { // flag and data in one write
            for (int i = 0; i < FLAG_BATCH; i++) {
                put(&a, "GET flag:%d:%d", half, pair[i]);
                put(&a, "GET data:%d:%d", half, pair[i]);
            }
            flush(&a);
            for (int i = 0; i < FLAG_BATCH; i++) {
                flag[i] = next_number(&a);
                data = next_number(&a);
                if (flag[i] > data)
                    violation("one pipeline: flag %ld but data %ld (pair %d:%d)", flag[i], data,
                              half, pair[i]);
            }
        } else if (way == 1 ||
                   way == 2) { // the flag first, then the data: here, or on another connection
            struct conn *other = way == 1 ? &a : &b;
            for (int i = 0; i < FLAG_BATCH; i++) put(&a, "GET flag:%d:%d", half, pair[i]);
            flush(&a);
            for (int i = 0; i < FLAG_BATCH; i++) flag[i] = next_number(&a);
            for (int i = 0; i < FLAG_BATCH; i++) put(other, "GET data:%d:%d", half, pair[i]);
            flush(other);
            for (int i = 0; i < FLAG_BATCH; i++)
                if (data = next_number(other), flag[i] > data)
                    violation("%s: flag %ld but data %ld (pair %d:%d)",
                              way == 1 ? "one after the other" : "on two connections", flag[i],
                              data, half, pair[i]);
        } else { // one MGET is one instant
            for (int i = 0; i < FLAG_BATCH; i++)
                put(&a, "MGET data:%d:%d flag:%d:%d", half, pair[i], half, pair[i]);
            flush(&a);
            for (int i = 0; i < FLAG_BATCH; i++) {
                next(&a);
                data = next_number(&a);
                flag[i] = next_number(&a);
                if (flag[i] > data)
                    violation("one MGET: flag %ld but data %ld (pair %d:%d)", flag[i], data, half,
                              pair[i]);
            }
        }
    }
    conn_close(&a);
    conn_close(&b);
}

// What a reply has acknowledged, every other connection sees.
static void flags_after_reply(struct worker *w)
{
    struct conn a, b;
    conn_open(&a);
    conn_open(&b);
    for (long version = 1; !atomic_load(&stop_now) && !a.broken && !b.broken; version++) {
        int key = (int)roll(w, 50);
        put(&a, "SET seen:%d:%d %ld", w->number, key, version);
        flush(&a);
        expect_ok(&a);
        put(&b, "GET seen:%d:%d", w->number, key);
        flush(&b);
        long got = next_number(&b);
        if (got != version)
            violation("acknowledged %ld, then read %ld on another connection", version, got);
        w->operations += 2;
    }
    conn_close(&a);
    conn_close(&b);
}

// ---- mset

enum { MSET_KEYS = 10, MSET_GROUPS = 4, MSET_BATCH = 12 };

static void put_group(struct conn *c, const char *command, int group, long value)
{
    char line[2048];
    int at = sprintf(line, "%s", command);
    for (int k = 0; k < MSET_KEYS; k++) {
        at += sprintf(line + at, " m:%d:%d", group, k);
        if (value) at += sprintf(line + at, " %ld", value);
    }
    put(c, "%s", line);
}

static void mset_writer(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    for (long sequence = 1; !atomic_load(&stop_now) && !c.broken;) {
        int way[MSET_BATCH];
        for (int i = 0; i < MSET_BATCH; i++, sequence++) {
            int group = (int)roll(w, MSET_GROUPS);
            way[i] = (int)roll(w, 10);
            long value = sequence * MAX_THREADS + w->number + 1;
            if (way[i] < 7)
                put_group(&c, "MSET", group, value);
            else if (way[i] == 7)
                put_group(&c, "MSETNX", group, value);
            else
                put_group(&c, way[i] == 8 ? "DEL" : "UNLINK", group, 0);
        }
        flush(&c);
        w->operations += MSET_BATCH;
        for (int i = 0; i < MSET_BATCH && !c.broken; i++) {
            struct reply r = next(&c);
            if (way[i] < 7 ? r.kind != '+' : r.kind != ':')
                violation("a writer got %c%s", r.kind, r.text ? r.text : "");
            else if (way[i] == 7 && r.number != 0 && r.number != 1)
                violation("MSETNX answered %ld", r.number);
            else if (way[i] > 7 && r.number != 0 && r.number != MSET_KEYS)
                violation("%s removed %ld of %d keys: half an MSET", way[i] == 8 ? "DEL" : "UNLINK",
                          r.number, MSET_KEYS);
        }
    }
    conn_close(&c);
}

static void mset_reader(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    while (!atomic_load(&stop_now) && !c.broken) {
        int way[MSET_BATCH], batch = roll(w, 2) ? MSET_BATCH : 1;
        for (int i = 0; i < batch; i++) {
            way[i] = (int)roll(w, 6);
            put_group(&c,
                      way[i] == 0   ? "EXISTS"
                      : way[i] == 1 ? "TOUCH"
                                    : "MGET",
                      (int)roll(w, MSET_GROUPS), 0);
        }
        flush(&c);
        w->operations += (unsigned long)batch;
        for (int i = 0; i < batch && !c.broken; i++) {
            if (way[i] < 2) {
                long count = next_number(&c);
                if (count != 0 && count != MSET_KEYS)
                    violation("%s counted %ld of %d keys", way[i] ? "TOUCH" : "EXISTS", count,
                              MSET_KEYS);
                continue;
            }
            struct reply head = next(&c);
            if (head.kind != '*' || head.number != MSET_KEYS) {
                violation("MGET answered %c%ld", head.kind, head.number);
                continue;
            }
            long first = next_number(&c);
            for (int k = 1; k < MSET_KEYS; k++) {
                long value = next_number(&c);
                if (value != first)
                    violation("MGET saw %ld at key 0 and %ld at key %d: half an MSET", first, value,
                              k);
            }
        }
    }
    conn_close(&c);
}

// ---- rename

enum { SLOTS = 40, TOKENS = 24, RENAME_BATCH = 8 };

static void rename_setup(void)
{
    struct conn c;
    conn_open(&c);
    for (int t = 0; t < TOKENS; t++) put(&c, "SET slot:%d %d", t, t + 1);
    flush(&c);
    for (int t = 0; t < TOKENS; t++) expect_ok(&c);
    conn_close(&c);
}

// RENAMENX between the shared slots; a missing source is the only error that may come.
static void rename_mover(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    while (!atomic_load(&stop_now) && !c.broken) {
        int batch = 1 + (int)roll(w, RENAME_BATCH);
        for (int i = 0; i < batch; i++)
            put(&c, "RENAMENX slot:%d slot:%d", (int)roll(w, SLOTS), (int)roll(w, SLOTS));
        flush(&c);
        w->operations += (unsigned long)batch;
        for (int i = 0; i < batch && !c.broken; i++) {
            char *line = read_line(&c);
            if (line && strcmp(line, ":1") && strcmp(line, ":0") &&
                strcmp(line, "-ERR no such key"))
                violation("RENAMENX answered %s", line);
        }
    }
    conn_close(&c);
}

// Moves its own token about by RENAME and COPY; nobody else touches its keys, so every reply is
// known.
static void rename_private(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    int me = w->number, at = 0;
    put(&c, "SET own:%d:0 %d", me, me);
    flush(&c);
    expect_ok(&c);
    while (!atomic_load(&stop_now) && !c.broken) {
        int to = (at + 1 + (int)roll(w, 18)) % 19;
        int copy = 100 + (int)roll(w, 5);
        put(&c, "RENAME own:%d:%d own:%d:%d", me, at, me, to);
        put(&c, "GET own:%d:%d", me, to);
        put(&c, "EXISTS own:%d:%d", me, at);
        put(&c, "COPY own:%d:%d own:%d:%d REPLACE", me, to, me, copy);
        put(&c, "GET own:%d:%d", me, copy);
        put(&c, "DEL own:%d:%d own:%d:%d", me, copy, me, at);
        flush(&c);
        w->operations += 6;
        expect_ok(&c);
        long got[5];
        const long want[5] = {me, 0, 1, me, 1};
        for (int i = 0; i < 5; i++)
            if (got[i] = next_number(&c), got[i] != want[i] && !c.broken)
                violation("own token: reply %d after RENAME is %ld, want %ld", i, got[i], want[i]);
        at = to;
    }
    conn_close(&c);
}

static void check_tokens(struct conn *c, const char *when)
{
    char line[2048];
    int at = sprintf(line, "MGET");
    for (int s = 0; s < SLOTS; s++) at += sprintf(line + at, " slot:%d", s);
    put(c, "%s", line);
    flush(c);
    next(c);
    int seen[TOKENS + 1] = {0};
    for (int s = 0; s < SLOTS; s++) {
        long token = next_number(c);
        if (token > TOKENS)
            violation("%s: slot %d holds %ld", when, s, token);
        else if (token > 0)
            seen[token]++;
    }
    for (int t = 1; t <= TOKENS && !c->broken; t++)
        if (seen[t] != 1) violation("%s: token %d is there %d times", when, t, seen[t]);
}

static void rename_watcher(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    while (!atomic_load(&stop_now) && !c.broken) {
        check_tokens(&c, "during the moves");
        w->operations++;
    }
    conn_close(&c);
}

static void rename_check(void)
{
    struct conn c;
    conn_open(&c);
    check_tokens(&c, "at the end");
    put(&c, "DBSIZE");
    flush(&c);
    long keys = next_number(&c);
    if (keys < TOKENS || keys > TOKENS + 2 * MAX_THREADS)
        violation("DBSIZE is %ld at the end", keys);
    conn_close(&c);
}

// ---- copy

enum { COPIES = 12 };

static void copy_counter(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    while (!atomic_load(&stop_now) && !c.broken) {
        for (int i = 0; i < COPIES; i++) put(&c, "INCR from:%d", i);
        flush(&c);
        w->operations += COPIES;
        for (int i = 0; i < COPIES; i++) next_number(&c);
    }
    conn_close(&c);
}

static void copy_copier(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    while (!atomic_load(&stop_now) && !c.broken) {
        int first = (int)roll(w, COPIES);
        for (int i = 0; i < 4; i++)
            put(&c, "COPY from:%d to:%d REPLACE", (first + i) % COPIES, (first + i) % COPIES);
        flush(&c);
        w->operations += 4;
        for (int i = 0; i < 4; i++) next_number(&c);
    }
    conn_close(&c);
}

static void copy_reader(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    long last[COPIES];
    for (int i = 0; i < COPIES; i++) last[i] = -1; // missing
    while (!atomic_load(&stop_now) && !c.broken) {
        int i = (int)roll(w, COPIES);
        bool one_instant = roll(w, 2);
        if (one_instant) {
            put(&c, "MGET to:%d from:%d", i, i);
        } else {
            put(&c, "GET to:%d", i);
            put(&c, "GET from:%d", i);
        }
        flush(&c);
        w->operations += 2;
        if (one_instant) next(&c);
        long to = next_number(&c), from = next_number(&c);
        if (to > from) violation("the copy is %ld, then the counter is %ld", to, from);
        // Copiers race, but each COPY takes its value at its own instant: the copy never goes back.
        if (to < last[i] && !c.broken) violation("the copy went back from %ld to %ld", last[i], to);
        last[i] = to;
    }
    conn_close(&c);
}

// ---- cuts

enum { CUT_KEYS = 30, CUT_COMMANDS = 300, CUT_VALUE = 2000 };

struct model {
    char value[CUT_KEYS][CUT_VALUE];
    int len[CUT_KEYS]; // -1: missing
};

static void want_bulk(char **want, const char *value, int len)
{
    if (len < 0) {
        *want += sprintf(*want, "$-1\r\n");
        return;
    }
    *want += sprintf(*want, "$%d\r\n", len);
    memcpy(*want, value, (size_t)len);
    *want += len;
    *want += sprintf(*want, "\r\n");
}

static void cut_command(struct worker *w, struct conn *c, struct model *m, char **want)
{
    int a = (int)roll(w, CUT_KEYS), b = (int)roll(w, CUT_KEYS), me = w->number;
    switch (roll(w, 9)) {
    case 0:
    case 1: {
        int len = roll(w, 20) ? (int)roll(w, 40) + 1 : (int)roll(w, CUT_VALUE - 1) + 1;
        for (int i = 0; i < len; i++) m->value[a][i] = (char)('a' + roll(w, 26));
        m->len[a] = len;
        put(c, "SET cut:%d:%d %.*s", me, a, len, m->value[a]);
        *want += sprintf(*want, "+OK\r\n");
        break;
    }
    case 2:
    case 3:
        put(c, "GET cut:%d:%d", me, a);
        want_bulk(want, m->value[a], m->len[a]);
        break;
    case 4:
        put(c, "MGET cut:%d:%d cut:%d:%d cut:%d:%d", me, a, me, b, me, a);
        *want += sprintf(*want, "*3\r\n");
        want_bulk(want, m->value[a], m->len[a]);
        want_bulk(want, m->value[b], m->len[b]);
        want_bulk(want, m->value[a], m->len[a]);
        break;
    case 5:
        put(c, "DEL cut:%d:%d cut:%d:%d", me, a, me, b);
        *want += sprintf(*want, ":%d\r\n", (m->len[a] >= 0) + (m->len[b] >= 0 && a != b));
        m->len[a] = m->len[b] = -1;
        break;
    case 6:
        put(c, "RENAME cut:%d:%d cut:%d:%d", me, a, me, b);
        *want += sprintf(*want, m->len[a] < 0 ? "-ERR no such key\r\n" : "+OK\r\n");
        if (m->len[a] >= 0 && a != b) {
            memcpy(m->value[b], m->value[a], CUT_VALUE);
            m->len[b] = m->len[a];
            m->len[a] = -1;
        }
        break;
    case 7:
        put(c, "ECHO %d-%d", me, a);
        char text[32];
        want_bulk(want, text, sprintf(text, "%d-%d", me, a));
        break;
    default:
        put(c, "MSET cut:%d:%d one cut:%d:%d two", me, a, me, b);
        *want += sprintf(*want, "+OK\r\n");
        memcpy(m->value[a], "one", 3);
        m->len[a] = 3;
        memcpy(m->value[b], "two", 3);
        m->len[b] = 3;
    }
}

// Send the batch in random pieces while reading, and compare what comes byte by byte.
static void cut_exchange(struct worker *w, struct conn *c, const char *want, size_t want_len)
{
    size_t sent = 0, got = 0, piece_end = 0;
    while (got < want_len && !c->broken) {
        if (sent == piece_end && sent < c->out_len) {
            size_t most = roll(w, 3) ? 200 : roll(w, 2) ? 3 : 20000;
            piece_end += 1 + roll(w, most);
            if (piece_end > c->out_len) piece_end = c->out_len;
        }
        struct pollfd p = {.fd = c->fd, .events = POLLIN | (sent < c->out_len ? POLLOUT : 0)};
        if (poll(&p, 1, READ_TIMEOUT_S * 1000) <= 0) {
            violation("stuck: %zu of %zu bytes of replies", got, want_len);
            c->broken = true;
            return;
        }
        if (p.revents & POLLOUT && sent < piece_end) {
            ssize_t n = send(c->fd, c->out + sent, piece_end - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
            sent += n > 0 ? (size_t)n : 0;
        }
        if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
            ssize_t n = recv(c->fd, c->in, BUFFER_BYTES, MSG_DONTWAIT);
            if (n == 0 || (n < 0 && errno != EAGAIN)) {
                violation("connection lost: %s", n ? strerror(errno) : "closed");
                c->broken = true;
                return;
            }
            if (n > 0 &&
                ((size_t)n > want_len - got || memcmp(c->in, want + got, (size_t)n) != 0)) {
                violation("other replies than expected near byte %zu of %zu", got, want_len);
                c->broken = true;
                return;
            }
            got += n > 0 ? (size_t)n : 0;
        }
    }
    c->out_len = 0;
}

static void cuts_client(struct worker *w)
{
    struct conn c;
    struct model *m = calloc(1, sizeof(*m));
    char *want = malloc(BUFFER_BYTES * 4);
    conn_open(&c);
    for (int k = 0; k < CUT_KEYS; k++) m->len[k] = -1;
    while (!atomic_load(&stop_now) && !c.broken) {
        char *end = want;
        int commands = 1 + (int)roll(w, CUT_COMMANDS);
        for (int i = 0; i < commands; i++) cut_command(w, &c, m, &end);
        cut_exchange(w, &c, want, (size_t)(end - want));
        w->operations += (unsigned long)commands;
    }
    free(m);
    free(want);
    conn_close(&c);
}

// ---- smove

enum { SETS = 12, MEMBERS = 40, SMOVE_BATCH = 10 };

// "COMMAND prefix:0 prefix:1 …", `count` keys.
static void put_all(struct conn *c, const char *command, const char *prefix, int count)
{
    char line[2048];
    int at = sprintf(line, "%s", command);
    for (int i = 0; i < count; i++) at += sprintf(line + at, " %s:%d", prefix, i);
    put(c, "%s", line);
}

// An array of numbers 1 … count, in any order: each must be there exactly once.
static void expect_each_once(struct conn *c, int count, const char *what)
{
    struct reply head = next(c);
    if (head.kind != '*') {
        if (head.kind) violation("%s answered %c%s", what, head.kind, head.text);
        return;
    }
    int seen[MEMBERS + 1] = {0};
    for (long left = head.number; left > 0 && !c->broken; left--) {
        long token = next_number(c);
        if (token < 1 || token > count)
            violation("%s found %ld", what, token);
        else
            seen[token]++;
    }
    for (int t = 1; t <= count && !c->broken; t++)
        if (seen[t] != 1) violation("%s found member %d %d times", what, t, seen[t]);
}

static void expect_number(struct conn *c, long want, const char *what)
{
    long got = next_number(c);
    if (got != want && !c->broken) violation("%s answered %ld, want %ld", what, got, want);
}

static void smove_setup(void)
{
    struct conn c;
    conn_open(&c);
    for (int m = 1; m <= MEMBERS; m++) put(&c, "SADD set:%d %d", m % SETS, m);
    flush(&c);
    for (int m = 1; m <= MEMBERS; m++) expect_number(&c, 1, "SADD");
    conn_close(&c);
}

static void smove_mover(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    while (!atomic_load(&stop_now) && !c.broken) {
        int batch = 1 + (int)roll(w, SMOVE_BATCH);
        for (int i = 0; i < batch; i++)
            put(&c, "SMOVE set:%d set:%d %d", (int)roll(w, SETS), (int)roll(w, SETS),
                1 + (int)roll(w, MEMBERS));
        flush(&c);
        w->operations += (unsigned long)batch;
        for (int i = 0; i < batch && !c.broken; i++) {
            long moved = next_number(&c);
            if (moved != 0 && moved != 1 && !c.broken) violation("SMOVE answered %ld", moved);
        }
    }
    conn_close(&c);
}

static void smove_watcher(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    while (!atomic_load(&stop_now) && !c.broken) {
        int a = (int)roll(w, SETS), b = (a + 1 + (int)roll(w, SETS - 1)) % SETS;
        put_all(&c, "SUNION", "set", SETS);
        put(&c, "SINTER set:%d set:%d", a, b);
        put(&c, "SINTERCARD 2 set:%d set:%d", a, b);
        flush(&c);
        w->operations += 3;
        expect_each_once(&c, MEMBERS, "SUNION");
        struct reply both = next(&c);
        if (both.kind != '*' || both.number != 0)
            violation("SINTER of two sets found %ld members", both.number);
        for (long left = both.kind == '*' ? both.number : 0; left > 0; left--) next(&c);
        expect_number(&c, 0, "SINTERCARD of two sets");
    }
    conn_close(&c);
}

// What is stored is what was there at one instant, and is there in one.
static void smove_storer(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    char command[64];
    snprintf(command, sizeof(command), "SUNIONSTORE all:%d", w->number);
    while (!atomic_load(&stop_now) && !c.broken) {
        put_all(&c, command, "set", SETS);
        put(&c, "SCARD all:%d", w->number);
        flush(&c);
        w->operations += 2;
        expect_number(&c, MEMBERS, "SUNIONSTORE");
        expect_number(&c, MEMBERS, "SCARD of what SUNIONSTORE stored");
    }
    conn_close(&c);
}

static void smove_check(void)
{
    struct conn c;
    conn_open(&c);
    long sum = 0;
    for (int i = 0; i < SETS; i++) put(&c, "SCARD set:%d", i);
    put_all(&c, "SUNION", "set", SETS);
    flush(&c);
    for (int i = 0; i < SETS; i++) sum += next_number(&c);
    if (sum != MEMBERS) violation("at the end: %ld members, want %d", sum, MEMBERS);
    expect_each_once(&c, MEMBERS, "SUNION at the end");
    conn_close(&c);
}

// ---- lmove

enum { LISTS = 12, ELEMENTS = 40, LMOVE_BATCH = 10 };

static void lmove_setup(void)
{
    struct conn c;
    conn_open(&c);
    for (int e = 1; e <= ELEMENTS; e++) put(&c, "RPUSH list:%d %d", e % LISTS, e);
    flush(&c);
    for (int e = 1; e <= ELEMENTS; e++) next_number(&c);
    conn_close(&c);
}

static void lmove_mover(struct worker *w)
{
    static const char *const sides[] = {"LEFT", "RIGHT"};
    struct conn c;
    conn_open(&c);
    while (!atomic_load(&stop_now) && !c.broken) {
        int batch = 1 + (int)roll(w, LMOVE_BATCH);
        for (int i = 0; i < batch; i++) {
            int a = (int)roll(w, LISTS), b = (int)roll(w, LISTS);
            if (roll(w, 3))
                put(&c, "LMOVE list:%d list:%d %s %s", a, b, sides[roll(w, 2)], sides[roll(w, 2)]);
            else
                put(&c, "RPOPLPUSH list:%d list:%d", a, b);
        }
        flush(&c);
        w->operations += (unsigned long)batch;
        for (int i = 0; i < batch && !c.broken; i++) {
            long element = next_number(&c);
            if ((element < 1 && element != -1) || element > ELEMENTS)
                violation("LMOVE answered %ld", element);
        }
    }
    conn_close(&c);
}

// Lists that nobody else touches: every reply is known.
static void lmove_private(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    int me = w->number, at = 0;
    put(&c, "RPUSH mine:%d:0 %d", me, me + 1);
    flush(&c);
    expect_number(&c, 1, "RPUSH");
    while (!atomic_load(&stop_now) && !c.broken) {
        int to = (at + 1 + (int)roll(w, 18)) % 19;
        put(&c, "LMOVE mine:%d:%d mine:%d:%d LEFT RIGHT", me, at, me, to);
        put(&c, "EXISTS mine:%d:%d", me, at);
        put(&c, "LLEN mine:%d:%d", me, to);
        put(&c, "LINDEX mine:%d:%d 0", me, to);
        flush(&c);
        w->operations += 4;
        expect_number(&c, me + 1, "LMOVE of the only element");
        expect_number(&c, 0, "EXISTS of the emptied list");
        expect_number(&c, 1, "LLEN of the target");
        expect_number(&c, me + 1, "LINDEX of the target");
        at = to;
    }
    conn_close(&c);
}

static void lmove_check(void)
{
    struct conn c;
    int seen[ELEMENTS + 1] = {0};
    conn_open(&c);
    for (int i = 0; i < LISTS; i++) put(&c, "LRANGE list:%d 0 -1", i);
    flush(&c);
    for (int i = 0; i < LISTS && !c.broken; i++)
        for (long left = next(&c).number; left > 0 && !c.broken; left--) {
            long element = next_number(&c);
            if (element >= 1 && element <= ELEMENTS) seen[element]++;
        }
    for (int e = 1; e <= ELEMENTS && !c.broken; e++)
        if (seen[e] != 1) violation("at the end: element %d is there %d times", e, seen[e]);
    conn_close(&c);
}

// ---- gather

enum { PLACES = 24, VALUES = 14, GATHER_BATCH = 8 };

static atomic_long gather_estimate; // PFCOUNT of all HyperLogLogs together

static void gather_setup(void)
{
    struct conn c;
    conn_open(&c);
    for (int v = 1; v <= VALUES; v++) {
        put(&c, "ZADD z:%d %d %d", v, v, v);
        put(&c, "PFADD p:%d a%d b%d c%d", v, v, v, v);
    }
    put_all(&c, "PFCOUNT", "p", PLACES);
    flush(&c);
    for (int v = 1; v <= VALUES; v++) {
        expect_number(&c, 1, "ZADD");
        expect_number(&c, 1, "PFADD");
    }
    atomic_store(&gather_estimate, next_number(&c));
    conn_close(&c);
}

static void gather_mover(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    while (!atomic_load(&stop_now) && !c.broken) {
        int batch = 1 + (int)roll(w, GATHER_BATCH);
        for (int i = 0; i < batch; i++) {
            char kind = roll(w, 2) ? 'z' : 'p';
            put(&c, "RENAMENX %c:%d %c:%d", kind, (int)roll(w, PLACES), kind, (int)roll(w, PLACES));
        }
        flush(&c);
        w->operations += (unsigned long)batch;
        for (int i = 0; i < batch && !c.broken; i++) {
            char *line = read_line(&c);
            if (line && strcmp(line, ":1") && strcmp(line, ":0") &&
                strcmp(line, "-ERR no such key"))
                violation("RENAMENX answered %s", line);
        }
    }
    conn_close(&c);
}

static void gather_watcher(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    char zunion[64], store[64];
    snprintf(zunion, sizeof(zunion), "ZUNION %d", PLACES);
    snprintf(store, sizeof(store), "ZUNIONSTORE zall:%d %d", w->number, PLACES);
    while (!atomic_load(&stop_now) && !c.broken) {
        int a = (int)roll(w, PLACES), b = (a + 1 + (int)roll(w, PLACES - 1)) % PLACES;
        put_all(&c, zunion, "z", PLACES);
        put_all(&c, "PFCOUNT", "p", PLACES);
        put(&c, "ZINTERCARD 2 z:%d z:%d", a, b);
        put_all(&c, store, "z", PLACES);
        flush(&c);
        w->operations += 4;
        expect_each_once(&c, VALUES, "ZUNION");
        expect_number(&c, atomic_load(&gather_estimate), "PFCOUNT");
        expect_number(&c, 0, "ZINTERCARD of two");
        expect_number(&c, VALUES, "ZUNIONSTORE");
    }
    conn_close(&c);
}

// ---- sort

enum { WEIGHTS = 10, SORT_BATCH = 6 };

static void sort_setup(void)
{
    struct conn c;
    conn_open(&c);
    for (int i = 0; i < WEIGHTS; i++) put(&c, "RPUSH order %d", i);
    flush(&c);
    for (int i = 0; i < WEIGHTS; i++) expect_number(&c, i + 1, "RPUSH");
    conn_close(&c);
}

// All weights of one MSET are sequence * WEIGHTS + a permutation: who sees two sequences sees half.
static void sort_writer(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    for (long sequence = 1 + w->number; !atomic_load(&stop_now) && !c.broken;
         sequence += MAX_THREADS) {
        char line[2048];
        int at = sprintf(line, "MSET"), turn = (int)roll(w, WEIGHTS);
        for (int i = 0; i < WEIGHTS; i++)
            at += sprintf(line + at, " w_%d %ld", i, sequence * WEIGHTS + (i + turn) % WEIGHTS);
        put(&c, "%s", line);
        flush(&c);
        w->operations++;
        expect_ok(&c);
    }
    conn_close(&c);
}

static void sort_reader(struct worker *w)
{
    struct conn c;
    conn_open(&c);
    while (!atomic_load(&stop_now) && !c.broken) {
        bool by[SORT_BATCH];
        for (int i = 0; i < SORT_BATCH; i++) {
            by[i] = roll(w, 2);
            put(&c, "SORT order BY %s GET w_*", by[i] ? "w_*" : "nosort");
        }
        flush(&c);
        w->operations += SORT_BATCH;
        for (int i = 0; i < SORT_BATCH && !c.broken; i++) {
            struct reply head = next(&c);
            if (head.kind != '*' || head.number != WEIGHTS) {
                violation("SORT answered %c%ld", head.kind, head.number);
                break;
            }
            long last = next_number(&c), sequence = last < 0 ? -1 : last / WEIGHTS;
            for (int k = 1; k < WEIGHTS && !c.broken; k++) {
                long weight = next_number(&c);
                if ((weight < 0 ? -1 : weight / WEIGHTS) != sequence)
                    violation("SORT saw %ld beside %ld: half an MSET", weight, last);
                else if (by[i] && weight >= 0 && weight <= last)
                    violation("SORT BY put %ld after %ld", weight, last);
                last = weight;
            }
        }
    }
    conn_close(&c);
}

// ---- kill

// Dies in the middle: of a command, with replies unread, by RST or in order. Multi-key commands
// that meet and split are under way when it happens.
static void kill_client(struct worker *w)
{
    while (!atomic_load(&stop_now)) {
        struct conn c;
        conn_open(&c);
        int commands = 1 + (int)roll(w, 60);
        for (int i = 0; i < commands; i++) {
            int a = (int)roll(w, 50), b = (int)roll(w, 50);
            switch (roll(w, 6)) {
            case 0: put(&c, "MSET kill:%d 1 kill:%d 2 kill:%d 3", a, b, a + b); break;
            case 1: put(&c, "RENAME kill:%d kill:%d", a, b); break;
            case 2: put(&c, "COPY kill:%d kill:%d REPLACE", a, b); break;
            case 3: put(&c, "MGET kill:%d kill:%d kill:%d kill:%d", a, b, a + 1, b + 1); break;
            case 4: put(&c, "DEL kill:%d kill:%d", a, b); break;
            default: put(&c, "GETRANGE killbig:%d 0 -1", a % 4);
            }
        }
        size_t len = roll(w, 2) ? c.out_len : 1 + roll(w, c.out_len);
        if (!c.broken && send(c.fd, c.out, len, MSG_NOSIGNAL) < 0 && errno != EPIPE &&
            errno != ECONNRESET)
            violation("send: %s", strerror(errno));
        struct timeval moment = {.tv_usec = 2000};
        setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof(moment));
        if (roll(w, 3) == 0) // read a part of the replies
            (void)!recv(c.fd, c.in, 1 + roll(w, 5000), roll(w, 2) ? MSG_DONTWAIT : 0);
        if (roll(w, 2)) {
            struct linger reset = {.l_onoff = 1, .l_linger = 0};
            setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        } else if (roll(w, 2)) {
            shutdown(c.fd, SHUT_WR);
        }
        w->operations += (unsigned long)commands;
        conn_close(&c);
    }
}

static void kill_setup(void)
{
    static char value[3000];
    memset(value, 'x', sizeof(value) - 1);
    struct conn c;
    conn_open(&c);
    for (int i = 0; i < 4; i++) put(&c, "SET killbig:%d %s", i, value);
    for (int i = 0; i < 101; i++) put(&c, "SET kill:%d v", i);
    flush(&c);
    for (int i = 0; i < 105; i++) expect_ok(&c);
    conn_close(&c);
}

// ---- the tests

struct role {
    void (*run)(struct worker *);
    int threads;
};

static const struct test {
    const char *name;
    void (*setup)(void);
    struct role roles[4];
    void (*check)(void);
} tests[] = {
    {"flags", NULL, {{flags_producer, 2}, {flags_consumer, 6}, {flags_after_reply, 2}}, NULL},
    {"mset", NULL, {{mset_writer, 4}, {mset_reader, 6}}, NULL},
    {"rename",
     rename_setup,
     {{rename_mover, 4}, {rename_private, 4}, {rename_watcher, 3}},
     rename_check},
    {"copy", NULL, {{copy_counter, 2}, {copy_copier, 3}, {copy_reader, 5}}, NULL},
    {"cuts", NULL, {{cuts_client, 10}}, NULL},
    {"smove", smove_setup, {{smove_mover, 4}, {smove_watcher, 4}, {smove_storer, 2}}, smove_check},
    {"lmove", lmove_setup, {{lmove_mover, 6}, {lmove_private, 3}}, lmove_check},
    {"gather", gather_setup, {{gather_mover, 4}, {gather_watcher, 5}}, NULL},
    {"sort", sort_setup, {{sort_writer, 3}, {sort_reader, 5}}, NULL},
    {"kill", kill_setup, {{kill_client, 8}}, NULL},
};

static void *run_worker(void *argument)
{
    struct worker *w = argument;
    w->run(w);
    atomic_fetch_add(&total_operations, w->operations);
    if (w->operations == 0) violation("worker %d got nowhere", w->number);
    return NULL;
}

static void run_test(const struct test *test, double seconds, uint64_t seed)
{
    struct worker workers[MAX_THREADS] = {0};
    int count = 0;
    if (test->setup) test->setup();
    for (const struct role *role = test->roles; role < test->roles + 4 && role->run; role++)
        for (int i = 0; i < role->threads; i++, count++)
            workers[count] = (struct worker){.number = count,
                                             .run = role->run,
                                             .dice = (seed + 1) * 0x9e3779b97f4a7c15u +
                                                     (uint64_t)count * 7919 + 1};
    for (int i = 0; i < count; i++)
        pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]);
    struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    for (double waited = 0; waited < seconds && atomic_load(&violations) < MAX_REPORTS;
         waited += 0.01)
        nanosleep(&pause, NULL);
    atomic_store(&stop_now, true);
    for (int i = 0; i < count; i++) pthread_join(workers[i].thread, NULL);
    if (test->check) test->check();
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: %s TEST HOST PORT [seconds] [seed]\n", argv[0]);
        return 2;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *found = NULL;
    if (getaddrinfo(argv[2], argv[3], &hints, &found) != 0) {
        fprintf(stderr, "bad address %s %s\n", argv[2], argv[3]);
        return 2;
    }
    memcpy(&server_address, found->ai_addr, found->ai_addrlen);
    server_address_len = found->ai_addrlen;
    freeaddrinfo(found);
    double seconds = argc > 4 ? atof(argv[4]) : 3;
    uint64_t seed = argc > 5 ? strtoull(argv[5], NULL, 10) : (uint64_t)time(NULL);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        if (strcmp(tests[i].name, argv[1]) == 0) {
            run_test(&tests[i], seconds, seed);
            printf("%s: %lu operations, %u violations\n", argv[1], atomic_load(&total_operations),
                   atomic_load(&violations));
            return atomic_load(&violations) != 0;
        }
    fprintf(stderr, "no test %s\n", argv[1]);
    return 2;
}
