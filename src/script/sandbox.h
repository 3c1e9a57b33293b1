// SPDX-License-Identifier: BSD-3-Clause
//
// sandbox: what of Lua a script may see, and what it must not be able to do to others. Debian's Lua
// 5.1 is the plain one, so all of this is done from outside:
//
//   read-only   A table that all scripts share is never in their hands. They hold an empty stand-in
//               whose metatable reads from the real table and raises an error on every write.
//               Functions that go around metatables (rawset, table.insert, setmetatable) refuse
//               stand-ins; next, pairs, rawget and getmetatable see through them.
//   globals     The global table is such a stand-in, too; a name that is not there is an error.
//   text only   Chunks are compiled from text alone (bytecode is read as text), by functions that
//               keep the chunk's name alive and call no script code while the parser works.
//   bounds      unpack, patterns, string.rep, bit.tohex: arguments that the library's C code does
//               not survive, or works on for minutes, are refused before it sees them
//               (script/guards.h).
//
// Names that are not on the list in sandbox.c do not exist: no print, dofile, require, setfenv,
// newproxy, io, os, debug.
#pragma once
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct sandbox_options {
    uint64_t seed;          // of math.random
    bool *is_cjson_changed; // set when a script changes a setting of cjson's
};

// Loads the libraries and leaves the (real) table of globals on the stack; the tables in it are
// stand-ins. May raise Lua errors.
void sandbox_open(lua_State *L, const struct sandbox_options *options);
// Replaces the table at the top by a stand-in that reads from it.
void sandbox_protect(lua_State *L);
// From now on a name that is not in the table at the top is an error.
void sandbox_make_strict(lua_State *L);
// As sandbox_protect for a strict table of globals: getmetatable shows why it is strict.
void sandbox_protect_globals(lua_State *L);
// A stand-in as of sandbox_protect_globals is at the top: from now on it reads from the table at
// `index`.
void sandbox_redirect(lua_State *L, int index);
// Replaces cjson in the table of globals at `index` by a fresh one: its settings are the scripts'
// to change, but only for themselves.
void sandbox_renew_cjson(lua_State *L, int index, bool *is_cjson_changed);
// Compiles text as lua_load does, status and all: never bytecode, never with script code running
// meanwhile. `name`: of the chunk, "@user_script".
int sandbox_compile(lua_State *L, const char *text, size_t len, const char *name);
// Pushes the table behind the stand-in at `index`; false: it is no stand-in, nothing is pushed.
bool sandbox_push_real(lua_State *L, int index);
// Raises the error of a write to a stand-in.
int sandbox_refuse_write(lua_State *L);
