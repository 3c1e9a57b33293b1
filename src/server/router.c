// SPDX-License-Identifier: BSD-3-Clause
#include "server/router.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/jitter.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/settings.h"
#include "server/address.h"
#include "server/client.h"
#include "server/server.h"
#include "store/image.h"

#define ROUTER_GRACE_MS   20 // how long a connection may be silent before it is placed anyway
#define ROUTER_FULL_MS    5 // how long one waits for another to be closed when there are maxclients
#define ROUTER_PEEK_BYTES 2048 // of its first bytes
#define ROUTER_LISTENERS  (SETTINGS_BIND_MAX + 1)

struct listener {
    struct ring_accept accept;
    struct router *router;
    bool is_unix;
};

// A connection whose first bytes are awaited. On a list in the order of acceptance.
struct newcomer {
    struct ring_ready ready;
    struct router *router;
    struct client *client;
    int64_t since_ms;
    struct newcomer *prev, *next;
    bool is_late; // its time was up
};

// A connection above maxclients. Another may just have been closed without its worker having
// noticed yet, so it gets a moment before it is refused.
struct excess {
    struct excess *next;
    struct listener *listener;
    int fd;
    int64_t since_ms;
};

struct router {
    struct server *server;
    struct ring *ring;
    struct listener listeners[ROUTER_LISTENERS];
    int listener_count;                        // the Unix socket, if any, is the first
    int accepting;                             // listeners whose final callback has not come
    _Atomic(const struct settings *) settings; // held; see engine_settings
    struct newcomer *oldest, *newest;
    struct excess *excess, *excess_tail; // in the order of acceptance
    struct ring_ready signal_ready;
    int signal_fd;
    _Atomic bool is_stopping; // seq_cst by default: written once, with a wake behind it
    // A change of addresses that another thread waits for.
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    const struct settings *wanted; // guarded by mutex; NULL: none
    bool is_listening_there;       // the answer; guarded by mutex
    _Atomic(struct mail *) asked;  // questions, newest first
};

// --- placing -------------------------------------------------------------------------------------

// The shard of the first key in the bytes, or -1.
static int shard_of_first_key(struct engine *e, const char *p, const char *end)
{
    struct slice argv[64];
    int argc;
    const char *next;
    for (; (next = request_parse_fast(p, end, argv, 64, &argc)); p = next) {
        const struct command *c = command_find(e->table, argv[0]);
        if (!c || !command_arity_fits(c, argc)) return -1;
        if (c->subcommands) continue;
        int key = command_first_key(c, argc, argv);
        if (key) return (int)engine_shard_of(e, argv[key]);
    }
    return -1;
}

static void place(struct router *r, struct client *c)
{
    char bytes[ROUTER_PEEK_BYTES];
    struct server *server = r->server;
    int shard = 0;
    if (server->worker_count > 1) {
        ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
        shard = n > 0 ? shard_of_first_key(server->engine, bytes, bytes + n) : -1;
    }
    struct worker *to = shard < 0 ? server_least_loaded(server) : server->workers[shard];
    client_post(to, c);
}

static void newcomer_unlink(struct newcomer *n)
{
    struct router *r = n->router;
    *(n->prev ? &n->prev->next : &r->oldest) = n->next;
    *(n->next ? &n->next->prev : &r->newest) = n->prev;
}

static void on_ready(struct ring_ready *ready, int result)
{
    struct newcomer *n = CONTAINER_OF(ready, struct newcomer, ready);
    struct router *r = n->router;
    (void)result; // readable, late or in error: its worker finds out
    newcomer_unlink(n);
    if (atomic_load(&r->is_stopping))
        client_discard(n->client);
    else
        place(r, n->client);
    mem_free(n);
}

static void await_first_bytes(struct router *r, struct client *c)
{
    struct newcomer *n = mem_calloc(sizeof *n);
    n->router = r;
    n->client = c;
    n->since_ms = clock_unix_ms();
    n->ready.fd = c->fd;
    n->ready.done = on_ready;
    n->prev = r->newest;
    *(r->newest ? &r->newest->next : &r->oldest) = n;
    r->newest = n;
    ring_ready_start(r->ring, &n->ready);
}

// Returns how long to wait until the next one is late, in microseconds; -1: there is none.
static int64_t place_late_ones(struct router *r)
{
    int64_t now_ms = clock_unix_ms();
    for (struct newcomer *n = r->oldest; n; n = n->next) {
        int64_t left_ms = n->since_ms + ROUTER_GRACE_MS - now_ms;
        if (n->is_late) continue;
        if (left_ms > 0) return left_ms * 1000;
        n->is_late = true;
        ring_ready_stop(r->ring, &n->ready);
    }
    return -1;
}

// --- accepting -----------------------------------------------------------------------------------

static void refuse(struct server *server, int fd, const char *error)
{
    // Counted first: who reads the error finds it in INFO. Relaxed: a count.
    atomic_fetch_add_explicit(&server->rejected_connections, 1, memory_order_relaxed);
    ssize_t ignored = send(fd, error, strlen(error), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)ignored;
    close(fd);
}

// Protected mode: with no password, only this machine may come in.
static bool is_protected_from(const struct settings *s, int fd)
{
    return s->protected_mode && !s->requirepass[0] && !address_is_local(fd);
}

static void set_socket_options(const struct settings *s, int fd)
{
    int on = 1, idle = (int)s->tcp_keepalive, count = 3;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!idle) return;
    int interval = idle / 3 > 0 ? idle / 3 : 1;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

static bool is_full(struct router *r)
{
    struct server *server = r->server;
    // Relaxed: a count.
    uint32_t clients = atomic_load_explicit(&server->client_count, memory_order_relaxed);
    return (int64_t)clients >= engine_settings(server->engine, &r->settings)->maxclients;
}

static void welcome(struct listener *l, int fd)
{
    struct router *r = l->router;
    struct server *server = r->server;
    const struct settings *s = engine_settings(server->engine, &r->settings);
    if (is_protected_from(s, fd)) {
        refuse(
            server, fd,
            "-DENIED Gyre is in protected mode: no password is set, and this connection does not "
            "come from the machine itself. Set requirepass, or bind the addresses you want and "
            "turn protected-mode off.\r\n");
        return;
    }
    if (!l->is_unix) set_socket_options(s, fd);
    atomic_fetch_add_explicit(&server->client_count, 1, memory_order_relaxed); // a count
    struct client *c = client_new(server, fd, l->is_unix);
    client_log(c, "accepted");
    if (server->worker_count == 1)
        place(r, c);
    else
        await_first_bytes(r, c);
}

static void let_wait(struct listener *l, int fd)
{
    struct router *r = l->router;
    struct excess *x = mem_alloc(sizeof *x);
    *x = (struct excess){.listener = l, .fd = fd, .since_ms = clock_unix_ms()};
    *(r->excess_tail ? &r->excess_tail->next : &r->excess) = x;
    r->excess_tail = x;
}

// Lets in or refuses those who have waited. Returns how long the next one may still wait, in
// microseconds; -1: nobody does.
static int64_t settle_excess(struct router *r)
{
    int64_t now_ms = clock_unix_ms();
    while (r->excess) {
        struct excess *x = r->excess;
        bool is_over = now_ms - x->since_ms >= ROUTER_FULL_MS || atomic_load(&r->is_stopping);
        if (is_full(r) && !is_over) return 1000;
        r->excess = x->next;
        if (!r->excess) r->excess_tail = NULL;
        if (is_full(r) || atomic_load(&r->is_stopping))
            refuse(r->server, x->fd, "-ERR max number of clients reached\r\n");
        else
            welcome(x->listener, x->fd);
        mem_free(x);
    }
    return -1;
}

static void admit(struct listener *l, int fd)
{
    stat_add(&l->router->server->total_connections, 1);
    if (is_full(l->router) || l->router->excess)
        let_wait(l, fd);
    else
        welcome(l, fd);
}

static int64_t sooner(int64_t a_us, int64_t b_us)
{
    return a_us < 0 ? b_us : b_us < 0 ? a_us : MIN(a_us, b_us);
}

static void on_accept(struct ring_accept *accept, int result)
{
    struct listener *l = CONTAINER_OF(accept, struct listener, accept);
    if (result == -ECANCELED)
        l->router->accepting--;
    else if (result < 0)
        log_write(LOG_WARNING, "Accepting client connection: %s", strerror(-result));
    else if (atomic_load(&l->router->is_stopping))
        close(result);
    else
        admit(l, result);
}

// --- signals -------------------------------------------------------------------------------------

// Also a handler: only what is safe in one.
static _Noreturn void exit_at_once(int number)
{
    static const char text[] = "SIGINT once more while stopping: the end, at once\n";
    ssize_t ignored = write(log_raw_fd(), text, sizeof text - 1);
    (void)ignored, (void)number;
    _exit(1);
}

static void expect_sigint(int number)
{
    struct sigaction action = {.sa_handler = exit_at_once};
    sigaction(SIGINT, &action, NULL);
    (void)number;
}

// Nobody reads signal_fd any more.
static void handle_signals(struct router *r)
{
    struct sigaction action = {.sa_handler = expect_sigint, .sa_flags = SA_RESTART};
    sigset_t set;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    if (stop_is_by_signal(&r->server->stop)) expect_sigint(SIGINT);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void on_signal(struct ring_ready *ready, int result)
{
    struct router *r = CONTAINER_OF(ready, struct router, signal_ready);
    struct signalfd_siginfo info;
    if (result < 0) return;
    while (read(r->signal_fd, &info, sizeof info) == sizeof info) {
        const struct settings *s = engine_settings(r->server->engine, &r->settings);
        bool is_int = info.ssi_signo == SIGINT;
        if (is_int && stop_is_by_signal(&r->server->stop)) {
            image_remove_temporary();
            exit_at_once(SIGINT);
        }
        log_write(LOG_WARNING, "Received %s scheduling shutdown...", is_int ? "SIGINT" : "SIGTERM");
        int64_t flags = is_int ? s->shutdown_on_sigint : s->shutdown_on_sigterm;
        stop_request(r->server, (uint32_t)flags | STOP_BY_SIGNAL);
    }
    ring_ready_start(r->ring, ready); // it may have to be asked again
}

// SIGTERM and SIGINT come through the router; all threads inherit the mask.
static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // a file that is too long is an error like others (store/log.h)
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

// --- life ----------------------------------------------------------------------------------------

static void add_listener(struct router *r, int fd, bool is_unix)
{
    struct listener *l = &r->listeners[r->listener_count++];
    *l = (struct listener){.router = r, .is_unix = is_unix};
    l->accept.fd = fd;
    l->accept.done = on_accept;
}

static bool open_tcp(struct router *r, const struct settings *s)
{
    char error[512];
    int fds[SETTINGS_BIND_MAX];
    int count = address_listen_tcp(s, fds, SETTINGS_BIND_MAX, error, sizeof error);
    if (count < 0) log_write(LOG_WARNING, "%s", error);
    for (int i = 0; i < count; i++) add_listener(r, fds[i], false);
    return count >= 0;
}

static bool open_unix(struct router *r, const struct settings *s)
{
    char error[512];
    int fd = address_listen_unix(s, error, sizeof error);
    if (fd < 0) {
        log_write(LOG_WARNING, "%s", error);
        return false;
    }
    add_listener(r, fd, true);
    struct listener first = r->listeners[0];
    r->listeners[0] = r->listeners[r->listener_count - 1];
    r->listeners[r->listener_count - 1] = first;
    return true;
}

// Who cannot have its port, as another server has it, leaves that one its Unix socket, too.
static bool open_listeners(struct router *r)
{
    const struct settings *s = r->server->config->settings;
    if (!open_tcp(r, s) || (s->unixsocket[0] && !open_unix(r, s))) return false;
    if (r->listener_count == 0)
        log_write(LOG_WARNING, "Configured to not listen anywhere, exiting.");
    return r->listener_count > 0;
}

static void start_accepting(struct router *r, int first)
{
    for (int i = first; i < r->listener_count; i++) {
        ring_accept_start(r->ring, &r->listeners[i].accept);
        r->accepting++;
    }
}

static void stop_accepting(struct router *r, int first)
{
    for (int i = first; i < r->listener_count; i++)
        ring_accept_stop(r->ring, &r->listeners[i].accept);
    while (r->accepting > first) ring_run(r->ring, 10000);
}

static int first_tcp(const struct router *r)
{
    return r->listener_count && r->listeners[0].is_unix;
}

// Addresses may overlap (127.0.0.1 and *), so the old sockets go before the new ones come.
static bool move_tcp(struct router *r, const struct settings *next)
{
    int first = first_tcp(r);
    stop_accepting(r, first);
    for (int i = first; i < r->listener_count; i++) close(r->listeners[i].accept.fd);
    r->listener_count = first;
    bool is_open = open_tcp(r, next);
    if (!is_open) open_tcp(r, engine_settings(r->server->engine, &r->settings));
    start_accepting(r, first);
    return is_open;
}

static void answer_wanted(struct router *r)
{
    pthread_mutex_lock(&r->mutex);
    if (r->wanted) {
        r->is_listening_there = move_tcp(r, r->wanted);
        r->wanted = NULL;
        pthread_cond_broadcast(&r->answered);
    }
    pthread_mutex_unlock(&r->mutex);
}

bool router_listen(struct router *r, const struct settings *next)
{
    pthread_mutex_lock(&r->mutex);
    r->wanted = next;
    ring_wake(NULL, r->ring);
    while (r->wanted && !atomic_load(&r->is_stopping)) pthread_cond_wait(&r->answered, &r->mutex);
    bool is_listening = !r->wanted && r->is_listening_there;
    r->wanted = NULL;
    pthread_mutex_unlock(&r->mutex);
    return is_listening;
}

void router_ask(struct router *r, struct router_question *question)
{
    struct mail *mail = &question->mail;
    jitter();
    mail->next = atomic_load_explicit(&r->asked, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&r->asked, &mail->next, mail))
        ;
    ring_wake(NULL, r->ring);
}

bool router_may_have_newcomers(struct router *r)
{
    if (ring_shows_news(r->ring)) return true;
    ring_await_kernel(r->ring);
    return ring_shows_news(r->ring);
}

// False: there were none.
static bool answer_questions(struct router *r)
{
    enum { TURNS = 3, TURNS_MAX = 64 }; // it is accepted, its first bytes are there, it is placed
    struct mail *mail = atomic_exchange(&r->asked, NULL);
    if (!mail) return false;
    for (int i = 0; i < TURNS_MAX; i++) {
        bool is_done = !ring_has_more(r->ring) && !ring_has_started(r->ring);
        if (i >= TURNS && (is_done || ring_is_blind(r->ring))) break;
        ring_run(r->ring, 0);
    }
    while (mail) {
        struct mail *next = mail->next;
        shard_post(NULL, CONTAINER_OF(mail, struct router_question, mail)->home, mail);
        mail = next;
    }
    return true;
}

const struct settings *router_held_settings(const struct router *r)
{
    return atomic_load(&r->settings);
}

struct router *router_new(struct server *server)
{
    char why[256];
    const struct settings *s = server->config->settings;
    struct ring_options options = {
        .kind = s->io == IO_URING  ? RING_URING
                : s->io == IO_POLL ? RING_POLL
                                   : RING_AUTO,
        .level = (enum ring_level)s->uring_level,
        .entries = 256,
        .recv_buffers = 2,
        .recv_buffer_bytes = 4096,
    };
    struct router *r = mem_calloc(sizeof *r);
    r->server = server;
    pthread_mutex_init(&r->mutex, NULL);
    pthread_cond_init(&r->answered, NULL);
    r->signal_fd = open_signals();
    r->ring = ring_open(&options, why, sizeof why);
    if (!r->ring) log_write(LOG_WARNING, "The router cannot open its ring: %s", why);
    if (!r->ring || !open_listeners(r)) {
        router_free(r);
        return NULL;
    }
    return r;
}

// --- stopping ------------------------------------------------------------------------------------

void router_run(struct router *r)
{
    r->signal_ready.fd = r->signal_fd;
    r->signal_ready.done = on_signal;
    ring_ready_start(r->ring, &r->signal_ready);
    start_accepting(r, 0);
    while (!stop_is_decided(&r->server->stop)) {
        ring_run(r->ring, sooner(place_late_ones(r), settle_excess(r)));
        // Whose wake was taken in these turns is answered before the next wait.
        do answer_wanted(r);
        while (answer_questions(r));
    }
    atomic_store(&r->is_stopping, true);
    pthread_mutex_lock(&r->mutex);
    pthread_cond_broadcast(&r->answered); // nobody is answered any more
    pthread_mutex_unlock(&r->mutex);
    stop_accepting(r, 0);
    for (struct newcomer *n = r->oldest; n; n = n->next)
        if (!n->is_late) ring_ready_stop(r->ring, &n->ready);
    while (r->oldest) ring_run(r->ring, 10000);
    settle_excess(r);
    handle_signals(r);
}

void router_wake(struct router *r)
{
    ring_wake(NULL, r->ring);
}

void router_remove_socket(struct router *r)
{
    for (int i = 0; i < r->listener_count; i++)
        if (r->listeners[i].is_unix) unlink(r->server->config->settings->unixsocket);
}

void router_free(struct router *r)
{
    router_remove_socket(r);
    for (int i = 0; i < r->listener_count; i++) close(r->listeners[i].accept.fd);
    if (r->ring) ring_close(r->ring);
    if (r->signal_fd >= 0) close(r->signal_fd);
    pthread_mutex_destroy(&r->mutex);
    pthread_cond_destroy(&r->answered);
    mem_free(r);
}
