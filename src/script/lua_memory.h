// SPDX-License-Identifier: BSD-3-Clause
//
// lua_memory: what a Lua state allocates: counted, limited while a script runs, and small blocks
// kept when they are freed. A script makes the same few again each time (KEYS and ARGV, their
// strings, its results), and Lua says how long what it frees was: so neither an allocator nor a
// count is needed for those.
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define LUA_MEMORY_SIZES 8 // of small blocks: 16, 32 ... bytes

struct free_block;

struct lua_memory {
    size_t used_bytes;  // as Lua counts
    size_t limit_bytes; // not held to while is_unlimited
    bool is_unlimited;
    struct free_block *free[LUA_MEMORY_SIZES]; // owned
    size_t free_bytes;
};

// Unlimited.
void lua_memory_init(struct lua_memory *m, size_t limit_bytes);
// When Lua has freed all.
void lua_memory_free(struct lua_memory *m);
// The work of a lua_Alloc: frees (new_bytes 0), allocates (pointer NULL) or changes the length of a
// block. NULL: it would go beyond the limit.
void *lua_memory_change(struct lua_memory *m, void *pointer, size_t old_bytes, size_t new_bytes);
