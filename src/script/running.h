// SPDX-License-Identifier: BSD-3-Clause
//
// running: the script that a shard is running, as others may see and end it.
//
//     IDLE --begin--> CLEAN --first write--> DIRTY        a killed script must not have written,
//     and
//                       \--kill--> KILLED                 a killed one must not write any more:
//                       both
//                                                         leave CLEAN by one compare-and-swap
//
// A hook looks at it every RUNNING_HOOK_COUNT instructions of Lua, and every so many commands that
// the script calls. Once it runs for longer than busy-reply-threshold it is *slow*: it is published
// (who runs what since when), everybody else is answered -BUSY (engine->busy_scripts,
// host->busy), and SCRIPT KILL may end it. What is not slow is left alone: on one thread SCRIPT
// KILL could not have come between, either. A server that stops without saving ends dirty ones,
// too.
//
// Owned by the shard's thread, but for `state` and what `slow` guards.
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "engine/ctx.h"

#define RUNNING_HOOK_COUNT 100000 // some 0.5 to 1 ms
#define RUNNING_CALL_COUNT 256    // commands called between two looks

enum run_state { RUN_IDLE, RUN_CLEAN, RUN_DIRTY, RUN_KILLED };

// All slow scripts of the engine.
struct slow_list {
    pthread_mutex_t mutex;
    struct running *first;
};

struct running {
    _Atomic uint32_t state; // enum run_state
    struct slow_list *slow;
    struct ctx *ctx;  // of the outer command; NULL: idle
    const char *name; // SHA1 or function
    bool is_function;
    uint32_t calls, looks;
    uint32_t looks_max;        // after so many it is killed, for tests; 0: never
    int64_t begin_us, busy_us; // monotonic; 0: not looked yet
    bool is_slow;
    struct running *next; // in the list; guarded by its mutex, like is_killed_by
};

void slow_list_init(struct slow_list *list);
void slow_list_free(struct slow_list *list);

void running_begin(struct running *r, struct ctx *ctx, const char *name, bool is_function);
void running_end(struct running *r);
// Looks at the clock. False: the script was killed.
bool running_look(struct running *r);
// To be asked before the first write; false: it was killed.
bool running_may_write(struct running *r);
static inline bool running_is_killed(const struct running *r)
{
    // Relaxed: seen this time or the next.
    return atomic_load_explicit(&r->state, memory_order_relaxed) == RUN_KILLED;
}

enum kill_result { KILL_DONE, KILL_NONE, KILL_DIRTY, KILL_IS_SCRIPT, KILL_IS_FUNCTION };
// Kills the slow scripts (is_function: functions). Any thread.
enum kill_result running_kill(struct slow_list *list, bool is_function);

enum slow_kind { SLOW_NONE, SLOW_SCRIPT, SLOW_FUNCTION };
// What everybody else is told about. Any thread.
enum slow_kind running_slow_kind(struct slow_list *list);

// A slow script, while its list is locked.
struct slow_view {
    const char *name;
    int argc;
    const struct slice *argv;
    int64_t ms;
    bool is_function;
};
// Calls visit for the first slow script, if there is one, with the list locked; false: none.
bool running_show(struct slow_list *list, void (*visit)(const struct slow_view *view, void *arg),
                  void *arg);
