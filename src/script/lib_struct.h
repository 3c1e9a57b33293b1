// SPDX-License-Identifier: BSD-3-Clause
//
// lib_struct: the Lua library `struct`, which packs values into strings by a format and back.
#pragma once
#include <lua.h>

// Leaves the library's table on the stack; returns 1. Sets no global.
int lua_open_struct(lua_State *lua);
