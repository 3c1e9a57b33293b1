// SPDX-License-Identifier: BSD-3-Clause
//
// gyre-load --subscribe: many connections that subscribe to one channel and count what arrives.
//
// It must cost less than what it measures: a hundred subscribers get a hundred times what one
// publisher sends. All messages being alike, a connection's stream is known beforehand to the byte,
// so what was read is compared with it as it lies, and messages are counted by length.
#ifndef BENCH_SUBSCRIBERS_H
#define BENCH_SUBSCRIBERS_H

#include <netinet/in.h>
#include <stddef.h>

struct subscribers_plan {
    struct sockaddr_in address;
    const char *channel;
    unsigned count;     // of connections
    size_t value_bytes; // every message is a __data__ of this length
    double seconds;
};

// Subscribes, prints a line "subscribed=N", reads until `seconds` have passed or SIGTERM or SIGINT
// comes, then until nothing has arrived for half a second, and prints a line of name=value pairs.
// Another message than the expected one or a lost connection ends the program with status 1.
void subscribers_run(const struct subscribers_plan *plan);

#endif
