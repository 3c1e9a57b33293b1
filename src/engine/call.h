// SPDX-License-Identifier: BSD-3-Clause
//
// call: commands that run inside another command: what a script does with redis.call.
//
// A scope is one outer command's: it holds the ctx in which all commands called by it run, on the
// outer one's keyspaces, at the outer one's instant, for the outer one's session. The database that
// they SELECT is the scope's and is forgotten with it. Effects are committed by the commands
// themselves; waiters whose keys they ready are served after the outer command.
//
// The handler sees the whole database when the outer command has all keyspaces. A command without
// keys that is split over the shards otherwise then runs once per keyspace, and the answers become
// one as they do for a client (engine/portion.h).
#pragma once
#include "engine/ctx.h"
#include "engine/session.h"

enum call_flag {
    CALL_READ_ONLY = 1u << 0, // commands that write are refused
    CALL_ALLOW_OOM = 1u << 1, // maxmemory refuses nothing
};

enum call_result {
    CALL_DONE,    // the reply is written; it may be an error
    CALL_REFUSED, // the command did not run; the reply is an error
    CALL_STOPPED, // before_write said no; no reply
};

struct call_scope {
    struct ctx ctx; // of the commands; ctx.reply: the scope's owner's, read after each
    uint32_t flags; // enum call_flag
    bool has_written;
    bool was_out_of_memory; // when the outer command began
    // Asked once, before the first command that writes. False: it must not run.
    bool (*before_write)(void *arg);
    void *arg;
};

// Begins a scope. `reply` receives each command's reply and stays the caller's.
void call_begin(struct call_scope *s, const struct ctx *outer, struct reply *reply, uint32_t flags);
// Runs one command; its whole reply is then all that is in the scope's reply. argv[0] is a name, in
// any case. The arguments must stay as they are until it returns.
enum call_result call_run(struct call_scope *s, int argc, struct slice *argv);
// Runs ctx->cmd, which has no keys, with all keyspaces at hand (a meeting): once, or once a
// keyspace if that is how it spans the shards.
void call_run_keyless(struct ctx *ctx);
// Is there more memory in use than maxmemory allows?
bool call_is_out_of_memory(const struct settings *settings);
