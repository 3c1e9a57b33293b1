// SPDX-License-Identifier: BSD-3-Clause
#include "server/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/settings.h"

union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
    struct sockaddr_storage room;
};

static void format(const union any_address *a, char *out, size_t size)
{
    char ip[INET6_ADDRSTRLEN] = "?";
    switch (a->any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &a->v4.sin_addr, ip, sizeof ip);
        snprintf(out, size, "%s:%d", ip, ntohs(a->v4.sin_port));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &a->v6.sin6_addr, ip, sizeof ip);
        snprintf(out, size, "[%s]:%d", ip, ntohs(a->v6.sin6_port));
        break;
    case AF_UNIX: snprintf(out, size, "%.*s:0", (int)size - 3, a->local.sun_path); break;
    default: snprintf(out, size, "?:0");
    }
}

void address_of_socket(int fd, char *out, size_t size)
{
    union any_address a = {0};
    socklen_t len = sizeof a;
    if (getsockname(fd, &a.any, &len)) a.any.sa_family = AF_UNSPEC;
    format(&a, out, size);
}

void address_of_peer(int fd, char *out, size_t size)
{
    union any_address a = {0};
    socklen_t len = sizeof a;
    if (getpeername(fd, &a.any, &len)) a.any.sa_family = AF_UNSPEC;
    if (a.any.sa_family == AF_UNIX) // the client's end has no name: the server's path stands for it
        address_of_socket(fd, out, size);
    else
        format(&a, out, size);
}

bool address_is_local(int fd)
{
    union any_address a = {0};
    socklen_t len = sizeof a;
    if (getpeername(fd, &a.any, &len)) return false;
    switch (a.any.sa_family) {
    case AF_UNIX: return true;
    case AF_INET: return ntohl(a.v4.sin_addr.s_addr) >> 24 == 127;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&a.v6.sin6_addr) && a.v6.sin6_addr.s6_addr[12] == 127);
    default: return false;
    }
}

// A server that was just killed may hold its port for a moment: the kernel tears an io_uring down
// after the process.
static int bind_patiently(int fd, const struct sockaddr *address, socklen_t len)
{
    enum { TRIES = 20, PAUSE_MS = 50 };
    for (int i = 0; i < TRIES; i++) {
        if (bind(fd, address, len) == 0) return 0;
        if (errno != EADDRINUSE) return -1;
        struct timespec pause = {0, PAUSE_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
    errno = EADDRINUSE;
    return -1;
}

static int listen_on(const struct addrinfo *ai, int backlog)
{
    int on = 1, fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (ai->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind_patiently(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, backlog) == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

// One address of `bind`. Returns a socket, -1 with errno, or -2: the address is optional and not to
// be had.
static int listen_tcp(const char *name, int port, int backlog)
{
    bool is_optional = name[0] == '-';
    if (is_optional) name++;
    char service[8];
    snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    if (strcmp(name, "*") == 0) {
        hints.ai_family = AF_INET;
        name = NULL;
    } else if (strcmp(name, "::*") == 0) {
        hints.ai_family = AF_INET6;
        name = NULL;
    }
    if (getaddrinfo(name, service, &hints, &found)) {
        errno = EADDRNOTAVAIL;
        return is_optional ? -2 : -1;
    }
    int fd = listen_on(found, backlog), error = errno;
    freeaddrinfo(found);
    errno = error;
    bool is_missing = error == EADDRNOTAVAIL || error == EAFNOSUPPORT || error == EPROTONOSUPPORT ||
                      error == ENOPROTOOPT;
    return fd < 0 && is_optional && is_missing ? -2 : fd;
}

static int open_unix(const struct settings *s)
{
    union any_address a = {.local.sun_family = AF_UNIX};
    if (strlen(s->unixsocket) >= sizeof a.local.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(a.local.sun_path, s->unixsocket, strlen(s->unixsocket));
    unlink(s->unixsocket); // left by a server that did not stop in order
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (bind(fd, &a.any, sizeof a.local) == 0 && listen(fd, (int)s->tcp_backlog) == 0) {
        if (s->unixsocketperm) chmod(s->unixsocket, (mode_t)s->unixsocketperm);
        return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void close_all(const int *fds, int count)
{
    for (int i = 0; i < count; i++) close(fds[i]);
}

int address_listen_unix(const struct settings *s, char *error, size_t error_size)
{
    int fd = open_unix(s);
    if (fd < 0)
        snprintf(error, error_size, "Failed opening Unix socket %s: %s", s->unixsocket,
                 strerror(errno));
    return fd;
}

int address_listen_tcp(const struct settings *s, int *fds, int max, char *error, size_t error_size)
{
    int count = 0;
    for (uint32_t i = 0; s->port && i < s->bind_count && count < max; i++) {
        int fd = listen_tcp(s->bind[i], (int)s->port, (int)s->tcp_backlog);
        if (fd == -2) continue;
        if (fd < 0) {
            snprintf(error, error_size, "Failed listening on %s port %lld (TCP): %s", s->bind[i],
                     (long long)s->port, strerror(errno));
            close_all(fds, count);
            return -1;
        }
        fds[count++] = fd;
    }
    return count;
}
