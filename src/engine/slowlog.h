// SPDX-License-Identifier: BSD-3-Clause
//
// slowlog: the commands that took longer than slowlog-log-slower-than, and the latency monitor's
// events (LATENCY). Both are shared by all shards and guarded by a mutex of their own: an entry is
// rare.
#pragma once
#include <stdint.h>

#include "base/slice.h"
#include "engine/session.h"

#define SLOWLOG_MAX_ARGS  32  // arguments kept of a command
#define SLOWLOG_MAX_BYTES 128 // bytes kept of an argument

struct slowlog_entry {
    struct slowlog_entry *next; // older
    uint64_t id;
    int64_t time_s; // Unix seconds
    uint64_t duration_us;
    int argc;
    char **argv; // owned; shortened as Redis does ("... (5 more arguments)", "... (20 more bytes)")
    size_t *arg_lens;
    char peer[64];
    char *client_name; // owned
};

struct slowlog;
struct slowlog *slowlog_new(void);
void slowlog_free(struct slowlog *log);
// Copies what it keeps. max_len: slowlog-max-len. session may be NULL.
void slowlog_add(struct slowlog *log, const struct session *session, int argc,
                 const struct slice *argv, uint64_t duration_us, int64_t time_s, uint64_t max_len);
uint64_t slowlog_len(struct slowlog *log);
// Drops the oldest entries until max_len are left.
void slowlog_trim(struct slowlog *log, uint64_t max_len);
void slowlog_reset(struct slowlog *log);
// Calls visit for the newest `count` entries (-1: all), newest first, under the log's lock.
void slowlog_each(struct slowlog *log, int64_t count,
                  void (*visit)(const struct slowlog_entry *e, void *arg), void *arg);

struct latency_monitor;
struct latency_sample {
    int32_t time_s;
    uint32_t latency_ms;
};
#define LATENCY_HISTORY 160 // samples kept an event
struct latency_monitor *latency_new(void);
void latency_free(struct latency_monitor *m);
// Adds an event ("command", "fast-command", "expire-cycle" …) if latency_ms >= threshold_ms > 0.
void latency_add(struct latency_monitor *m, const char *event, int64_t now_s, uint32_t latency_ms,
                 uint64_t threshold_ms);
// Removes the history of one event (or of all: name NULL); returns how many were removed.
int latency_reset(struct latency_monitor *m, const char *event);
// For every event: samples oldest first, and the highest latency ever; under the lock.
void latency_each(struct latency_monitor *m,
                  void (*visit)(const char *event, const struct latency_sample *samples, int count,
                                uint32_t max_ms, void *arg),
                  void *arg);
