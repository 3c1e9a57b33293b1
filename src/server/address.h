// SPDX-License-Identifier: BSD-3-Clause
//
// address: socket addresses as text, and the sockets that the server listens on.
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct settings;

// "127.0.0.1:5000", "[::1]:5000" or "/path:0"; "?:0" if the socket has none.
void address_of_peer(int fd, char *out, size_t size);
void address_of_socket(int fd, char *out, size_t size);
// Is the peer on this machine (loopback or Unix socket)?
bool address_is_local(int fd);

// Listening sockets for all TCP addresses that the settings name, non-blocking; at most `max`.
// Returns their number (0: none is wanted), or -1 with the reason in `error`.
int address_listen_tcp(const struct settings *settings, int *fds, int max, char *error,
                       size_t error_size);
// The socket that listens on settings->unixsocket, or -1 with the reason.
int address_listen_unix(const struct settings *settings, char *error, size_t error_size);
