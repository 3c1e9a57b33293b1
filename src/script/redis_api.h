// SPDX-License-Identifier: BSD-3-Clause
//
// redis_api: the table `redis`, through which scripts call commands and ask for things that Lua has
// not.
#pragma once
#include <lua.h>

enum redis_api_kind {
    API_SCRIPT,   // of EVAL
    API_FUNCTION, // of functions while they run
    API_LOAD,     // of a library while it is loaded
};

// Pushes the (unprotected) table.
void redis_api_push(lua_State *L, enum redis_api_kind kind);
