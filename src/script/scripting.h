// SPDX-License-Identifier: BSD-3-Clause
//
// scripting: all that an engine has of scripts and functions: the cache of sources and the set of
// libraries, which all shards share, one Lua state per shard, which compiles scripts for itself,
// and one more for functions.
//
// It also says, before a script runs, what it needs (scripting_stays_on_keys). That is asked for
// every EVAL by the thread that routes it, so verdicts lie in a table of words that any thread
// reads and writes without a lock: the upper bits of a text's hash, and the verdict. Two texts of
// one hash would share a verdict, which is harmless: a script that is wrongly trusted finds its
// other keys out of reach, one that is wrongly distrusted stops more shards than it must.
//
// A text without a verdict is put into the cache there and then (if it compiles), not when it runs:
// clients send EVALSHA right behind the first EVAL, and that may run on another shard, sooner. When
// scripts leave the cache, all verdicts lapse.
#pragma once
#include "script/library_set.h"
#include "script/lua_state.h"
#include "script/script_cache.h"

#define SCRIPTING_VERDICTS 4096

struct engine;

struct scripting {
    struct engine *engine;
    struct script_cache cache;
    struct library_registry libraries;
    struct slow_list slow;
    // By shard, each made and used by its shard's thread; and behind them that of functions.
    _Atomic(struct lua_state *) *states;
    _Atomic uint64_t verdicts[SCRIPTING_VERDICTS];
    pthread_mutex_t checker_mutex;
    lua_State *checker; // compiles, never runs; guarded by checker_mutex; NULL: not needed yet
};

// The engine's; made by the first who asks, so that the engine is const only to whom asks. Any
// thread.
struct scripting *scripting_of(const struct engine *e);
// The shard's Lua; made by the first who asks. Its shard's thread.
struct lua_state *scripting_state(struct engine *e, uint32_t shard);

// The Lua of functions, which keep what they like from one call to the next: there is but one, so
// they run only where all shards meet (or there is but one).
struct lua_state *scripting_function_state(struct engine *e);

// Is it proven that this script touches no keys but its declared ones? True, too, if it cannot run.
// Puts it into the cache. Any thread.
bool scripting_stays_on_keys(const struct engine *e, struct slice text);
// The same of the script in the cache with this SHA1. False if there is none: it may be there by
// the time the command runs.
bool scripting_sha_stays_on_keys(const struct engine *e, struct slice sha);

struct scripting_info {
    uint64_t lua_bytes;    // of all Lua states
    uint64_t script_bytes; // of the sources in the cache
    uint64_t scripts, evicted_scripts, functions, libraries;
    uint64_t library_bytes;
};
void scripting_get_info(const struct engine *e, struct scripting_info *out);
