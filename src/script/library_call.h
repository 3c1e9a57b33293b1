// SPDX-License-Identifier: BSD-3-Clause
//
// library_call: the functions that a Lua has loaded. They follow the registry's set: before a
// function is looked up, libraries that are new are loaded and those that are gone are dropped.
#pragma once
#include "ds/dict.h"
#include "script/library_set.h"

struct loaded_function {
    const struct library_function *function; // of `library`
    struct library *library;                 // one reference
    int ref;                                 // in Lua's registry
};

// In a lua_state; owned by it.
struct loaded_libraries {
    struct library_set *set; // that is loaded; one reference; NULL: none
    struct dict functions;   // struct loaded_function by name, in any case; owned
};

void library_call_init(struct loaded_libraries *l);
// Lua itself is the owner's to close.
void library_call_free(struct loaded_libraries *l);
// The function of this name, in any case, or NULL.
const struct loaded_function *library_call_find(struct lua_state *st, struct slice name);
