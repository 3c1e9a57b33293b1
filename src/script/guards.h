// SPDX-License-Identifier: BSD-3-Clause
//
// guards: functions of Lua's libraries that plain C code serves badly, with a check in front or
// written anew. Each stands for something that has been, or can be, used against a server:
//
//   unpack           ranges that overflow an int (CVE-2025-46817)
//   find, match ...  patterns whose matching recurses once per quantifier, off the C stack
//   string.rep       two thousand million copies of nothing
//   table.insert     writes past the metatable of a read-only table
//   bit.tohex        a count whose negative does not exist (CVE-2024-31449)
//   math.random      a generator of the process, which C's rand is; here each Lua state's own
//   cjson settings   would stay for the next script: noted, to be undone
#pragma once
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

// Puts the guarded functions into the (unprotected) libraries in the table of globals at `globals`.
void guards_install(lua_State *L, int globals, uint64_t seed);
// Has the functions of the cjson table at the top that change its settings set *is_changed.
void guards_watch_cjson(lua_State *L, bool *is_changed);
