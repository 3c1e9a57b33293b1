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

// Listening sockets for all that the settings name, non-blocking; at most `max`. Returns their number, or -1 with the
// reason in `error`. The first `unix_count` of them are Unix sockets.
int address_listen(const struct settings *settings, int *fds, int max, int *unix_count, char *error,
                   size_t error_size);
