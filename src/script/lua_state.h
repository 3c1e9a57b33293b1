// SPDX-License-Identifier: BSD-3-Clause
//
// lua_state: a Lua, of which each shard has one. It has compiled what has run here, and runs it:
// KEYS and ARGV are put in place, the function is called, and its result, or its error, is made the
// command's reply.
//
// Used by the thread that executes on that shard (the one for functions: by whoever runs a meeting
// of all shards), and by one command at a time: a script cannot call EVAL.
//
// The Lua stack at rest holds four values, for whose sake nothing must be looked up: the error
// handler, and the (real) tables of globals of scripts, functions, and libraries being loaded.
//
// Memory: Lua allocates through here, is accounted like everything else, and gets no more than
// LUA_STATE_BYTES_MAX ("not enough memory" in the script). Where no script runs (arguments,
// results) the limit is off, so that none of that can raise an error outside of a protected call.
#pragma once
#include <lua.h>

#include "base/stat.h"
#include "ds/dict.h"
#include "engine/call.h"
#include "script/library_call.h"
#include "script/lua_memory.h"
#include "script/running.h"
#include "script/script_cache.h"

// A script that needs more than this has run wild. Debian's Lua counts in size_t, so it could.
#define LUA_STATE_BYTES_MAX ((size_t)1 << 30)

// What always lies on Lua's stack.
#define LUA_STATE_HANDLER          1
#define LUA_STATE_GLOBALS          2
#define LUA_STATE_FUNCTION_GLOBALS 3
#define LUA_STATE_LOAD_GLOBALS     4
#define LUA_STATE_KEYS             5 // the string "KEYS", so that it need not be looked up
#define LUA_STATE_ARGV             6
#define LUA_STATE_TOP              6
#define LUA_STATE_TEXTS            256 // direct-mapped: the script that a text is

struct scripting;
struct library_load;

// A script that is compiled here.
struct compiled {
    struct script *script; // one reference
    int ref;               // in Lua's registry
};

struct lua_state {
    lua_State *L;
    struct scripting *scripting;
    struct lua_memory memory;
    size_t settled_bytes; // used after the last full collection
    bool is_cjson_changed;
    uint32_t runs;
    struct running running;

    // Of the script that runs:
    struct call_scope scope;
    struct reply reply; // of the commands it calls
    char *flat;         // a reply in one piece; owned, NULL: none
    struct slice *argv; // owned; of `argv_cap`
    char *numbers;      // owned; text of arguments that are numbers
    int argv_cap;
    uint8_t resp; // setresp

    // Compiled scripts.
    struct dict scripts; // struct compiled by SHA1; owned
    struct compiled *texts[LUA_STATE_TEXTS];
    uint64_t cache_generation;

    // Functions.
    struct loaded_libraries libraries;
    struct library_load *load; // while a library is being loaded

    stat_u64 memory_bytes; // memory.used_bytes, published
};

struct run_request {
    const char *name; // SHA1 or function, for error texts
    bool is_function; // keys and arguments are its parameters, not KEYS and ARGV
    uint32_t flags;   // enum call_flag
    const struct slice *keys, *args;
    int key_count, arg_count;
};

struct lua_state *lua_state_new(struct scripting *scripting);
void lua_state_free(struct lua_state *st);
static inline struct lua_state *lua_state_of(lua_State *L)
{
    void *st;
    lua_getallocf(L, &st);
    return st;
}

// The compiled script of this text; NULL if it does not compile: the error has been replied. Puts
// it into the cache. is_kept: see script_cache_add.
struct compiled *lua_state_of_text(struct lua_state *st, struct slice text, bool is_kept,
                                   struct reply *reply);
// The compiled script of this SHA1 (lower case), or NULL.
struct compiled *lua_state_of_sha(struct lua_state *st, const char *sha);
// Forgets what has left the cache.
void lua_state_sweep(struct lua_state *st);

// Runs the function at `ref` in the registry and replies its result.
void lua_state_run(struct lua_state *st, struct ctx *ctx, const struct run_request *request,
                   int ref);
// lua_pcall with the memory limited and the hook set.
int lua_state_call(struct lua_state *st, int argc, int results, int handler);
// Pushes a fresh table of globals for a library that is about to be loaded.
void lua_state_push_load_globals(struct lua_state *st);
// After anything that has left garbage behind.
void lua_state_settle(struct lua_state *st);
// Raises the error that ends a killed script, and sees to it that no pcall holds it up.
int lua_state_raise_kill(lua_State *L);
