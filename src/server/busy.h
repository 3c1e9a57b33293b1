// SPDX-License-Identifier: BSD-3-Clause
//
// busy: what others are answered while a script runs for longer than busy-reply-threshold.
//
//   the thread that runs it    host->busy calls it back from inside the script, every 10 ms or so,
//                              for a turn there: it reads, answers and writes, but executes nothing
//                              on its keyspace (shard_turn_inside). So SCRIPT KILL arrives with one
//                              thread, too
//   all others                 go on as ever; those whose shard waits in a meeting are parked
//
// Everybody looks, when reading, whether a script is slow. Then a command that is not allowed to
// run beside one (CMD_ALLOW_BUSY) is answered -BUSY at once, unless its connection has something
// under way: what follows keeps its place. So is, by the shards that stand still, what had entered
// their inboxes before and has not begun (shard/refuse.h).
//
// The connection whose bytes led to the script is in use further up the stack. It is held
// (ring_recv.is_held): the turn inside does not read it, flush it, settle it or resume it. What the
// outer turn has in its hands besides (its run of calls) is the outer one's: the turn inside has a
// space of its own (worker->space).
//
// Not done while a script is slow, on the shard that runs it: expiry, deadlines of blocking
// commands, cron. WATCH, which is allowed, cannot look at its keys: the EXEC after it will refuse.
#pragma once
#include "engine/engine.h"
#include "engine/host.h"

struct client;
struct call;
struct worker;

// Is some script slow?
static inline bool busy_is_on(const struct engine *e)
{
    // Relaxed: seen by this read or by the next; the thread that runs the script wrote it itself.
    return __builtin_expect(atomic_load_explicit(&e->busy_scripts, memory_order_relaxed) != 0, 0);
}

// What everybody is told, or NULL.
const char *busy_text(const struct engine *e);

// Has a call that must not run now answer -BUSY. Its route and its place in a transaction are
// known.
void busy_check(struct client *c, struct call *call);

// What waits in the inbox of this worker's shard, which stands still, is answered -BUSY.
void busy_refuse_waiting(struct worker *w);

// host->busy.
enum host_patience busy_turn(struct ctx *ctx);
