// SPDX-License-Identifier: BSD-3-Clause
//
// session: what a connection is to the commands: who it is, what it selected. Embedded in the
// server's client; owned by its home shard's thread. The embedded engine (include/gyre.h) has one
// without a socket.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

// CLIENT REPLY SKIP drops the reply of the command after it: SKIP_NEXT while it runs itself, SKIP
// for the next.
enum session_reply { REPLY_ON, REPLY_OFF, REPLY_SKIP_NEXT, REPLY_SKIP };

struct names;

struct session {
    uint64_t id;
    uint32_t db;
    uint8_t resp;                     // 2 or 3
    uint8_t reply_mode;               // enum session_reply (CLIENT REPLY)
    uint32_t home;                    // shard; changes when the connection moves
    uint32_t multi_count;             // commands queued by MULTI
    uint32_t watch_count;             // keys watched
    struct watch *watch;              // what it watches; a reference, owned, or NULL (interest.h)
    bool is_in_multi, is_multi_dirty; // queueing; EXEC will be refused
    bool has_queued_write, has_queued_denyoom;
    bool is_blocked;                     // waits in a blocking command
    struct subscriptions *subscriptions; // owned; NULL: none (engine/subscriptions.h)
    // Client-side caching.
    uint32_t tracking;               // enum tracking_flag (engine/tracking.h); 0: off
    uint32_t redirect_home;          // shard of
    uint64_t redirect_id;            // who gets its invalidations; 0: itself
    bool is_redirect_broken;         // that one is gone
    bool is_pinned;                  // others redirect to it: it must not move any more
    _Atomic uint32_t redirect_found; // while CLIENT TRACKING runs: where REDIRECT's id is, + 1
    struct names *tracking_prefixes; // BCAST; owned, NULL: none
    bool is_authenticated;
    bool is_closing; // close once the replies written so far are sent
    bool is_cut_off; // close at once
    // It said SHUTDOWN: the number of that request, and what it sent after it is not executed
    // before the server either stops or cannot. 0: it did not.
    uint64_t awaits_stop;
    bool is_stop_unanswered; // whatever comes of it: CLIENT REPLY OFF, or SKIP
    bool is_monitor;
    bool is_no_touch, is_no_evict;
    bool is_unix_socket;
    char *name, *lib_name, *lib_ver; // owned, NULL when not set
    char peer[64], local[64];        // "127.0.0.1:5000", "[::1]:5000" or "/path:0"
    int fd;                          // for CLIENT LIST only
    int64_t created_ms;              // monotonic enough: Unix ms
    int64_t active_ms;               // last time something was received, or sent
    const void *last_command;        // const struct command *, NULL: none yet
    uint64_t commands;               // executed
};

void session_init(struct session *s, uint64_t id);
void session_free(struct session *s);
// No tracking, as at the beginning (engine/tracking.h: tracking_stop).
void session_forget_tracking(struct session *s);
// Back to the state of a new connection (RESET).
void session_reset(struct session *s, bool needs_auth);
// Is the reply of a command to be sent? Call once per command: before it runs, or after it if it is
// one that changes the session (CMD_SESSION: CLIENT REPLY decides about its own). CLIENT REPLY OFF
// and SKIP write no reply at all.
bool session_step_reply(struct session *s);

// May this be a connection's or a library's name? Nothing that would break a line of CLIENT LIST:
// '!' to '~' only.
bool session_text_is_valid(struct slice text);
// Sets name, lib_name or lib_ver to a copy; empty: to NULL.
void session_set_text(char **field, struct slice text);
