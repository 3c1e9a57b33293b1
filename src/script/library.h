// SPDX-License-Identifier: BSD-3-Clause
//
// library: a library of functions: its code, and what the code registers when it runs. It runs once
// wherever it is loaded: where FUNCTION LOAD executes, to find out what its functions are, and
// where functions are called (script/library_call.h). Meanwhile it sees nothing but redis.log and
// redis.register_function, and may take LIBRARY_LOAD_US.
//
// A library is immutable and counted; which there are is told by script/library_set.h.
#pragma once
#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

#define LIBRARY_LOAD_US 500000 // as in Redis

struct library_set;
struct lua_state;

struct library_function {
    char *name;        // owned
    char *description; // owned; NULL: none
    uint32_t flags;    // enum script_flag
};

struct library {
    _Atomic uint32_t refs;
    char *name;                         // owned
    struct slice code;                  // owned; the shebang included
    size_t code_offset;                 // behind the shebang
    struct library_function *functions; // owned
    uint32_t function_count;
};

struct library *library_ref(struct library *lib);
void library_unref(struct library *lib);

// Loads code into the shard's Lua to find out what it registers; nothing of it stays there. NULL
// with *bad: the text of the error reply, in *error or constant. One reference. `taken`: a library
// of a name that is in this set is not even loaded; may be NULL.
struct library *library_load(struct lua_state *st, struct slice code,
                             const struct library_set *taken, struct buf *error, const char **bad);

// redis.register_function.
int library_register_function(lua_State *L);

// --- between library.c, which runs the code, and library_call.c, which keeps what it registers
// ----

struct load_item {
    struct library_function function; // owned
    int ref;                          // of the callback in Lua's registry; LUA_NOREF: taken
};

struct library_load {
    struct load_item *items; // owned
    uint32_t count;
    int64_t deadline_us; // monotonic
};

// Runs the library's code; NULL, or the text of the error reply.
const char *library_load_run(struct lua_state *st, const struct library *lib,
                             struct library_load *load, struct buf *error);
void library_load_free(struct library_load *load, lua_State *L);
