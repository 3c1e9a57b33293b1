// SPDX-License-Identifier: BSD-3-Clause
#include "script/lua_memory.h"

#include "base/assert.h"
#include "base/mem.h"

#define STEP_BYTES  16
#define SMALL_BYTES (LUA_MEMORY_SIZES * STEP_BYTES)
#ifdef GYRE_SYSTEM_MALLOC
#define FREE_BYTES_MAX 0 // sanitizers look at what is freed
#else
#define FREE_BYTES_MAX (256 << 10) // the garbage of one round of Lua's collector, and some more
#endif

struct free_block {
    struct free_block *next;
};

void lua_memory_init(struct lua_memory *m, size_t limit_bytes)
{
    *m = (struct lua_memory){.limit_bytes = limit_bytes, .is_unlimited = true};
}

void lua_memory_free(struct lua_memory *m)
{
    ASSERT(m->used_bytes == 0);
    for (int i = 0; i < LUA_MEMORY_SIZES; i++) {
        while (m->free[i]) {
            struct free_block *next = m->free[i]->next;
            mem_free(m->free[i]);
            m->free[i] = next;
        }
    }
}

static size_t size_index(size_t bytes)
{
    return (bytes - 1) / STEP_BYTES;
}

// All blocks of a small size are as long as the longest.
static size_t block_bytes(size_t bytes)
{
    return bytes <= SMALL_BYTES ? (size_index(bytes) + 1) * STEP_BYTES : bytes;
}

static void *take(struct lua_memory *m, size_t bytes)
{
    size_t i = size_index(bytes);
    if (UNLIKELY(bytes > SMALL_BYTES || !m->free[i])) return mem_alloc(block_bytes(bytes));
    struct free_block *block = m->free[i];
    m->free[i] = block->next;
    m->free_bytes -= block_bytes(bytes);
    return block;
}

static void give_back(struct lua_memory *m, void *pointer, size_t bytes)
{
    size_t i = size_index(bytes);
    if (UNLIKELY(bytes > SMALL_BYTES || m->free_bytes >= FREE_BYTES_MAX)) {
        mem_free(pointer);
        return;
    }
    struct free_block *block = pointer;
    block->next = m->free[i];
    m->free[i] = block;
    m->free_bytes += block_bytes(bytes);
}

void *lua_memory_change(struct lua_memory *m, void *pointer, size_t old_bytes, size_t new_bytes)
{
    size_t used = m->used_bytes - old_bytes + new_bytes;
    // What shrinks must not fail.
    if (UNLIKELY(used > m->limit_bytes) && new_bytes > old_bytes && !m->is_unlimited) return NULL;
    m->used_bytes = used;
    if (!pointer) return new_bytes ? take(m, new_bytes) : NULL;
    if (new_bytes) return mem_realloc(pointer, block_bytes(new_bytes));
    give_back(m, pointer, old_bytes);
    return NULL;
}
