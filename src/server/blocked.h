// SPDX-License-Identifier: BSD-3-Clause
//
// blocked: connections at home here whose command waits (engine/block.h): their time, and what ends
// the wait from this side: timeout, CLIENT UNBLOCK, the end of the connection. A heap by deadline.
//
// Owned by the worker's thread.
#pragma once
#include "engine/block.h"

struct client;
struct operation;
struct worker;

struct blocked {
    struct client **heap; // owned; the earliest deadline first
    uint32_t count, cap;
    stat_u64 clients; // published for INFO: all that wait, with a deadline or without
};

void blocked_free(struct blocked *b);
// The connection's last operation waits now.
void blocked_begin(struct client *c);
// It has ended.
void blocked_end(struct client *c);
// Ends the wait. False if it does not wait, or is being served at this moment.
bool blocked_cancel(struct client *c, enum waiter_end end);
// See shard_hooks.
bool blocked_has_hung_up(const struct operation *op);
// Unix ms of the earliest deadline; INT64_MAX: none.
int64_t blocked_next_ms(const struct blocked *b);
// Ends those whose time has come; for shard_hooks.timers.
void blocked_run_timers(struct worker *w);
