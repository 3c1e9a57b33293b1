// SPDX-License-Identifier: BSD-3-Clause
//
// gyre-floor: the bare I/O floor, a server that does everything but be a database.
//
// It reads RESP requests from many connections in one thread and answers them at once, `+OK` to a
// SET, 64 bytes to a GET, 100 elements of 3 bytes to LRANGE list 0 99, and stores nothing. What a
// real server costs above it is the price of being a database; what it costs itself is the price of
// TCP. Two engines, to compare with a server that has both:
//
//     uring   DEFER_TASKRUN ring, multishot accept, multishot recv into a ring of provided buffers
//     poll    epoll, recv into one buffer, send
//
// Both do the same between I/O: requests are parsed where they were received, replies gather in the
// connection's outbox, and at the end of a tick each connection that has some is sent to once.
//
//     received bytes -> [carry of a cut request] -> parse -> outbox -> one send per tick
//
// Only a request cut by the end of a read is copied, to `carry`, until its rest arrives.
//
// A measuring tool, not a service: loopback only, and out of memory or file descriptors ends it.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RING_ENTRIES = 1024,
    COMPLETIONS_MAX = 8192, // a tick of every connection we are likely to see
    BUFFER_COUNT = 128,     // provided buffers; a power of two; few, so that they stay in cache
    BUFFER_BYTES = 16 << 10,
    BUFFER_GROUP = 0,
    POLL_READ_BYTES = 64 << 10,
    POLL_EVENTS_MAX = 256,
    REQUEST_BYTES_MAX = 64 << 20, // a longer request ends its connection
    OUTBOX_BYTES_MAX = 64 << 20,  // so do this many replies that are not being read
    ARGUMENTS_MAX = 1 << 20,
    ELEMENTS_MAX = 1000, // of the reply to a LRANGE
};

// A growing byte string, owned by its connection.
struct bytes {
    char *data;
    size_t len, room;
};

// Owned by the one thread. Freed when it is closing and nothing of it is in flight.
struct connection {
    int fd;
    bool is_receiving, is_sending; // an operation is in flight (uring)
    bool is_dirty;                 // in the tick's list of those with replies to send
    bool is_closing;
    bool is_watched_for_room; // EPOLLOUT is on (poll)
    struct connection *next_dirty;
    struct bytes carry;   // start of a request whose rest is still to come
    struct bytes outbox;  // replies gathered
    struct bytes sending; // replies handed to the kernel; swapped with outbox
    size_t sent;          // bytes of `sending` that have left
};

struct request {
    const char *name, *last; // argument
    size_t name_len, last_len;
    size_t argument_count;
};

static _Noreturn void fail(const char *what, int error)
{
    fprintf(stderr, "gyre-floor: %s: %s\n", what, strerror(error));
    exit(1);
}

static void *zeroed(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory) fail("memory", ENOMEM);
    return memory;
}

// ---- byte strings -------------------------------------------------------------------------------

static char *bytes_reserve(struct bytes *b, size_t extra)
{
    if (b->len + extra > b->room) {
        size_t room = b->room ? b->room * 2 : 4096;
        while (room < b->len + extra) room *= 2;
        b->data = realloc(b->data, room);
        if (!b->data) fail("memory", ENOMEM);
        b->room = room;
    }
    return b->data + b->len;
}

static void bytes_append(struct bytes *b, const char *data, size_t len)
{
    memcpy(bytes_reserve(b, len), data, len);
    b->len += len;
}

// ---- requests -----------------------------------------------------------------------------------

// Reads "<digits>\r\n" at p. Returns what follows it; NULL if it is not all there; p itself, which
// no success returns, if it is malformed.
static const char *parse_length(const char *p, const char *end, size_t *value)
{
    const char *start = p;
    size_t v = 0;
    while (p < end && *p >= '0' && *p <= '9' && v <= REQUEST_BYTES_MAX)
        v = v * 10 + (size_t)(*p++ - '0');
    if (end - p < 2) return p < end && *p != '\r' ? start : NULL;
    if (p == start || p[0] != '\r' || p[1] != '\n') return start;
    *value = v;
    return p + 2;
}

// A request typed by hand: words on a line. Same returns as parse_request.
static ssize_t parse_inline(const char *p, const char *end, struct request *request)
{
    const char *newline = memchr(p, '\n', (size_t)(end - p));
    if (!newline) return 0;
    const char *stop = newline > p && newline[-1] == '\r' ? newline - 1 : newline;
    const char *space = memchr(p, ' ', (size_t)(stop - p));
    request->name = p;
    request->name_len = (size_t)((space ? space : stop) - p);
    request->argument_count = stop > p;
    request->last_len = 0;
    return newline + 1 - p;
}

// Parses one request at `start`. Returns its length, 0 if it is not all there, -1 if malformed.
static ssize_t parse_request(const char *start, const char *end, struct request *request)
{
    const char *p = start, *next;
    size_t count, len;
    if (*p != '*') return parse_inline(p, end, request);
    next = parse_length(++p, end, &count);
    if (!next || next == p || count > ARGUMENTS_MAX) return next ? -1 : 0;
    p = next;
    request->argument_count = count;
    for (size_t i = 0; i < count; i++) {
        if (p == end) return 0;
        if (*p++ != '$') return -1;
        next = parse_length(p, end, &len);
        if (!next || next == p || len > REQUEST_BYTES_MAX) return next ? -1 : 0;
        if ((size_t)(end - next) < len + 2) return 0;
        if (next[len] != '\r' || next[len + 1] != '\n') return -1;
        if (i == 0) {
            request->name = next;
            request->name_len = len;
        }
        request->last = next;
        request->last_len = len;
        p = next + len + 2;
    }
    return p - start;
}

static bool is_named(const struct request *request, const char *name, size_t len)
{
    return request->name_len == len && strncasecmp(request->name, name, len) == 0;
}

#define ELEMENT "$3\r\nxxx\r\n"

// LRANGE list 0 N, of a list of 3-byte elements.
static void answer_range(struct connection *c, const struct request *request)
{
    static char elements[ELEMENTS_MAX * (sizeof ELEMENT - 1)];
    char head[16];
    size_t count = 1;
    for (size_t i = 0, n = 0; i < request->last_len && count < ELEMENTS_MAX; i++) {
        n = n * 10 + (size_t)(request->last[i] - '0');
        count = n < ELEMENTS_MAX ? n + 1 : ELEMENTS_MAX;
    }
    for (size_t at = 0; !elements[sizeof elements - 1] && at < sizeof elements;
         at += sizeof ELEMENT - 1)
        memcpy(elements + at, ELEMENT, sizeof ELEMENT - 1);
    int len = snprintf(head, sizeof head, "*%zu\r\n", count);
    bytes_append(&c->outbox, head, (size_t)len);
    bytes_append(&c->outbox, elements, count * (sizeof ELEMENT - 1));
}

static void answer(struct connection *c, const struct request *request)
{
    static const struct {
        const char *name, *reply;
    } answers[] = {
        {"GET", "$64\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n"},
        {"SET", "+OK\r\n"},
        {"INCR", ":1\r\n"},
        {"LPUSH", ":1\r\n"},
        {"RPUSH", ":1\r\n"},
        {"LPOP", ELEMENT},
        {"RPOP", ELEMENT},
        {"SADD", ":1\r\n"},
        {"HSET", ":1\r\n"},
        {"ZADD", ":1\r\n"},
        {"SPOP", ELEMENT},
        {"ZPOPMIN", "*0\r\n"},
        {"MSET", "+OK\r\n"},
        {"PING", "+PONG\r\n"},
        {"DBSIZE", ":0\r\n"},
        {"CONFIG", "*0\r\n"},
        {"COMMAND", "*0\r\n"},
    };
    if (request->argument_count == 0) return;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        if (!is_named(request, answers[i].name, strlen(answers[i].name))) continue;
        bytes_append(&c->outbox, answers[i].reply, strlen(answers[i].reply));
        return;
    }
    if (is_named(request, "LRANGE", 6))
        answer_range(c, request);
    else
        bytes_append(&c->outbox, "+OK\r\n", 5);
}

// Answers the whole requests at the front of [data, data + len).
// Returns their bytes, or -1 if one is malformed.
static ssize_t answer_all(struct connection *c, const char *data, size_t len)
{
    const char *p = data, *end = data + len;
    struct request request = {0};
    while (p < end) {
        ssize_t taken = parse_request(p, end, &request);
        if (taken < 0) return -1;
        if (taken == 0) break;
        answer(c, &request);
        p += taken;
    }
    return p - data;
}

// Takes in what was received. False if the connection has to end.
static bool take_input(struct connection *c, const char *data, size_t len)
{
    ssize_t taken;
    if (c->carry.len == 0) {
        taken = answer_all(c, data, len);
        if (taken >= 0 && (size_t)taken < len)
            bytes_append(&c->carry, data + taken, len - (size_t)taken);
    } else {
        bytes_append(&c->carry, data, len);
        taken = answer_all(c, c->carry.data, c->carry.len);
        if (taken > 0) {
            c->carry.len -= (size_t)taken;
            memmove(c->carry.data, c->carry.data + taken, c->carry.len);
        }
    }
    return taken >= 0 && c->carry.len <= REQUEST_BYTES_MAX && c->outbox.len <= OUTBOX_BYTES_MAX;
}

// ---- connections --------------------------------------------------------------------------------

static struct connection *connection_new(int fd)
{
    struct connection *c = zeroed(sizeof *c);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->fd = fd;
    return c;
}

static void connection_free(struct connection *c)
{
    close(c->fd);
    free(c->carry.data);
    free(c->outbox.data);
    free(c->sending.data);
    free(c);
}

// If all that was being sent has left, moves the gathered replies in its place.
// Returns whether there is anything to send.
static bool has_output(struct connection *c)
{
    if (c->sent < c->sending.len) return true;
    struct bytes empty = c->sending;
    empty.len = 0;
    c->sending = c->outbox;
    c->outbox = empty;
    c->sent = 0;
    return c->sending.len > 0;
}

static int listen_on(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) fail("socket", errno);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("bind", errno);
    if (listen(fd, 4096) < 0) fail("listen", errno);
    return fd;
}

// ---- engine: io_uring ---------------------------------------------------------------------------

// What a completion belongs to: the connection's address, its low bits telling the operation.
enum { OPERATION_RECV, OPERATION_SEND, OPERATION_ACCEPT, OPERATION_MASK = 3 };

struct uring {
    struct io_uring ring;
    struct io_uring_buf_ring *pool;
    char *buffers; // BUFFER_COUNT of BUFFER_BYTES
    int listen_fd;
    // To be looked at when the tick's completions are done, in order of arrival: those that found
    // no buffer must be first in line for the next ones, or some would starve for seconds.
    struct connection *dirty, **dirty_tail;
};

static struct io_uring_sqe *next_sqe(struct uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    if (!sqe) {
        io_uring_submit(&u->ring);
        sqe = io_uring_get_sqe(&u->ring);
    }
    if (!sqe) fail("submission queue", EBUSY);
    return sqe;
}

static void arm_accept(struct uring *u)
{
    struct io_uring_sqe *sqe = next_sqe(u);
    io_uring_prep_multishot_accept(sqe, u->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, OPERATION_ACCEPT);
}

static void arm_recv(struct uring *u, struct connection *c)
{
    struct io_uring_sqe *sqe = next_sqe(u);
    io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)c | OPERATION_RECV);
    c->is_receiving = true;
}

static void start_send(struct uring *u, struct connection *c)
{
    struct io_uring_sqe *sqe = next_sqe(u);
    io_uring_prep_send(sqe, c->fd, c->sending.data + c->sent, c->sending.len - c->sent,
                       MSG_NOSIGNAL | MSG_WAITALL);
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)c | OPERATION_SEND);
    c->is_sending = true;
}

static void mark_dirty(struct uring *u, struct connection *c)
{
    if (c->is_dirty) return;
    c->is_dirty = true;
    c->next_dirty = NULL;
    *u->dirty_tail = c;
    u->dirty_tail = &c->next_dirty;
}

// Shutting down makes a multishot recv complete, so that the connection can be freed.
static void begin_close(struct uring *u, struct connection *c)
{
    c->is_closing = true;
    if (c->is_receiving) shutdown(c->fd, SHUT_RDWR);
    mark_dirty(u, c);
}

static void on_accept(struct uring *u, const struct io_uring_cqe *cqe)
{
    if (cqe->res >= 0)
        arm_recv(u, connection_new(cqe->res));
    else if (cqe->res != -ECONNABORTED && cqe->res != -EINTR)
        fail("accept", -cqe->res);
    if (!(cqe->flags & IORING_CQE_F_MORE)) arm_accept(u);
}

static void recycle_buffer(struct uring *u, unsigned id)
{
    io_uring_buf_ring_add(u->pool, u->buffers + (size_t)id * BUFFER_BYTES, BUFFER_BYTES,
                          (unsigned short)id, io_uring_buf_ring_mask(BUFFER_COUNT), 0);
    io_uring_buf_ring_advance(u->pool, 1);
}

static void on_recv(struct uring *u, struct connection *c, const struct io_uring_cqe *cqe)
{
    bool is_good = true;
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        if (cqe->res > 0 && !c->is_closing)
            is_good = take_input(c, u->buffers + (size_t)id * BUFFER_BYTES, (size_t)cqe->res);
        recycle_buffer(u, id);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE)) c->is_receiving = false;
    if (!is_good || cqe->res == 0 || (cqe->res < 0 && cqe->res != -ENOBUFS)) begin_close(u, c);
    mark_dirty(u, c);
}

static void on_send(struct uring *u, struct connection *c, const struct io_uring_cqe *cqe)
{
    c->is_sending = false;
    if (cqe->res > 0)
        c->sent += (size_t)cqe->res;
    else if (cqe->res != -EINTR && cqe->res != -EAGAIN)
        begin_close(u, c);
    if (c->is_closing || c->outbox.len > 0 || c->sent < c->sending.len) mark_dirty(u, c);
}

// After the tick's completions: one send for each connection that has replies, and a fresh recv
// where one has ended for lack of buffers, all of which are back by now.
static void settle_dirty(struct uring *u)
{
    struct connection *c;
    while ((c = u->dirty) != NULL) {
        u->dirty = c->next_dirty;
        if (!u->dirty) u->dirty_tail = &u->dirty;
        c->is_dirty = false;
        if (c->is_closing) {
            if (!c->is_receiving && !c->is_sending) connection_free(c);
            continue;
        }
        if (!c->is_receiving) arm_recv(u, c);
        if (!c->is_sending && has_output(c)) start_send(u, c);
    }
}

static void uring_open(struct uring *u, int listen_fd)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_CQSIZE,
        .cq_entries = COMPLETIONS_MAX,
    };
    int error = io_uring_queue_init_params(RING_ENTRIES, &u->ring, &params);
    if (error < 0) fail("io_uring (kernel 6.1 or later is needed; or use --io poll)", -error);
    io_uring_register_ring_fd(&u->ring); // saves a look-up per call; works without
    size_t pool_bytes = BUFFER_COUNT * sizeof(struct io_uring_buf);
    u->pool = mmap(NULL, pool_bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (u->pool == MAP_FAILED) fail("mmap", errno);
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)u->pool,
        .ring_entries = BUFFER_COUNT,
        .bgid = BUFFER_GROUP,
    };
    error = io_uring_register_buf_ring(&u->ring, &registration, 0);
    if (error < 0) fail("provided buffers", -error);
    io_uring_buf_ring_init(u->pool);
    u->buffers = zeroed((size_t)BUFFER_COUNT * BUFFER_BYTES);
    for (unsigned id = 0; id < BUFFER_COUNT; id++) recycle_buffer(u, id);
    u->dirty_tail = &u->dirty;
    u->listen_fd = listen_fd;
    arm_accept(u);
}

static _Noreturn void run_uring(int listen_fd)
{
    struct uring *u = zeroed(sizeof *u);
    uring_open(u, listen_fd);
    for (;;) {
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        int error = io_uring_submit_and_wait(&u->ring, 1);
        if (error < 0 && error != -EINTR && error != -EAGAIN && error != -EBUSY)
            fail("io_uring_enter", -error);
        io_uring_for_each_cqe(&u->ring, head, cqe)
        {
            uint64_t data = cqe->user_data;
            struct connection *c = (struct connection *)(uintptr_t)(data & ~3ull);
            if ((data & OPERATION_MASK) == OPERATION_RECV)
                on_recv(u, c, cqe);
            else if ((data & OPERATION_MASK) == OPERATION_SEND)
                on_send(u, c, cqe);
            else
                on_accept(u, cqe);
            seen++;
        }
        io_uring_cq_advance(&u->ring, seen);
        settle_dirty(u);
    }
}

// ---- engine: epoll ------------------------------------------------------------------------------

struct poll_engine {
    int epoll_fd, listen_fd;
    char *read_buffer;
};

static void poll_watch(struct poll_engine *e, struct connection *c, int operation, bool for_room)
{
    struct epoll_event event = {.events = EPOLLIN | (for_room ? EPOLLOUT : 0), .data.ptr = c};
    int fd = c ? c->fd : e->listen_fd;
    if (epoll_ctl(e->epoll_fd, operation, fd, &event) < 0) fail("epoll_ctl", errno);
    if (c) c->is_watched_for_room = for_room;
}

static void poll_accept(struct poll_engine *e)
{
    int fd;
    while ((fd = accept4(e->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        poll_watch(e, connection_new(fd), EPOLL_CTL_ADD, false);
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) fail("accept", errno);
}

// Sends what there is; asks for EPOLLOUT while the socket is full. False if the connection ended.
static bool poll_send(struct poll_engine *e, struct connection *c)
{
    while (has_output(c)) {
        ssize_t sent =
            send(c->fd, c->sending.data + c->sent, c->sending.len - c->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) break;
        if (sent < 0 && errno != EINTR) return false;
        c->sent += sent > 0 ? (size_t)sent : 0;
    }
    bool is_full = c->sent < c->sending.len;
    if (is_full != c->is_watched_for_room) poll_watch(e, c, EPOLL_CTL_MOD, is_full);
    return true;
}

// Reads once: what is left over makes epoll report the connection again.
static bool poll_read(struct poll_engine *e, struct connection *c)
{
    ssize_t got = recv(c->fd, e->read_buffer, POLL_READ_BYTES, 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    return got > 0 && take_input(c, e->read_buffer, (size_t)got);
}

// False if the connection has ended.
static bool poll_serve(struct poll_engine *e, struct connection *c, uint32_t events)
{
    if ((events & ~(uint32_t)EPOLLOUT) && !poll_read(e, c)) return false;
    return poll_send(e, c);
}

static _Noreturn void run_poll(int listen_fd)
{
    struct poll_engine engine = {.listen_fd = listen_fd};
    struct epoll_event events[POLL_EVENTS_MAX];
    engine.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (engine.epoll_fd < 0 || fcntl(listen_fd, F_SETFL, O_NONBLOCK) < 0) fail("epoll", errno);
    engine.read_buffer = zeroed(POLL_READ_BYTES);
    poll_watch(&engine, NULL, EPOLL_CTL_ADD, false);
    for (;;) {
        int count = epoll_wait(engine.epoll_fd, events, POLL_EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR) fail("epoll_wait", errno);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c)
                poll_accept(&engine);
            else if (!poll_serve(&engine, c, events[i].events))
                connection_free(c);
        }
    }
}

// ---- start --------------------------------------------------------------------------------------

static _Noreturn void usage(int status)
{
    fputs("usage: gyre-floor --port P [--io uring|poll]\n", status ? stderr : stdout);
    exit(status);
}

static unsigned parse_port(const char *text)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);
    if (*end || port < 1 || port > 65535) usage(2);
    return (unsigned)port;
}

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    static const struct option known[] = {{"port", required_argument, NULL, 'p'},
                                          {"io", required_argument, NULL, 'i'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    const char *engine = "uring";
    unsigned port = 0;
    int letter;
    while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (letter == 'p')
            port = parse_port(optarg);
        else if (letter == 'i')
            engine = optarg;
        else
            usage(letter == 'h' ? 0 : 2);
    }
    bool is_uring = strcmp(engine, "uring") == 0;
    if (port == 0 || optind < argc || (!is_uring && strcmp(engine, "poll") != 0)) usage(2);
    raise_file_limit();
    if (is_uring) run_uring(listen_on(port));
    run_poll(listen_on(port));
}
