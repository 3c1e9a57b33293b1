// SPDX-License-Identifier: BSD-3-Clause
//
// lib_cmsgpack: the Lua library `cmsgpack`, MessagePack for scripts.
#pragma once
#include <lua.h>

// Leaves the library's table on the stack; returns 1. Sets no global.
int lua_open_cmsgpack(lua_State *lua);
