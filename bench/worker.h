// SPDX-License-Identifier: BSD-3-Clause
//
// One generator thread: some connections, each with one batch of requests under way at a time.
//
// What a batch costs is two system calls (send, recv) and a share of one epoll_wait; requests are
// rendered beforehand (request.h) and replies are counted without being kept (reply.h), so that one
// core of generator can outrun one core of server.
//
// A worker is owned by its thread while that runs, and by main before it starts and after the join.
#ifndef BENCH_WORKER_H
#define BENCH_WORKER_H

#include <netinet/in.h>
#include <pthread.h>

#include "histogram.h"
#include "reply.h"
#include "request.h"

// Handed to all workers alike; read-only while they run.
struct worker_plan {
    struct sockaddr_in address;
    const struct request *requests; // sent in rotation
    unsigned request_count;
    unsigned pipeline;
    double seconds; // the deadline for the last batch to leave
    char expected;  // see struct reply_counts
    pthread_barrier_t *all_connected;
    int stop_fd; // readable: no further batches; nobody reads it
};

struct worker {
    const struct worker_plan *plan;
    unsigned connection_count;
    uint64_t ops; // requests to send, at most
    struct numbers numbers;
    // Results.
    uint64_t start_ns, end_ns;
    struct reply_counts counts;
    struct histogram latency; // of whole batches
};

// The body of the thread; `worker` is a struct worker. A lost connection or a malformed reply ends
// the whole program with a message and status 1, for figures after that would mean nothing.
void *worker_run(void *worker);

// A connected socket without Nagle's delay; ends the program when it cannot be had.
int worker_connect(const struct sockaddr_in *address);

uint64_t worker_now_ns(void);

#endif
