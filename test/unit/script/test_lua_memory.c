// SPDX-License-Identifier: BSD-3-Clause
#include "script/lua_memory.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"

#define UNLIMITED SIZE_MAX

static void *take(struct lua_memory *m, size_t bytes)
{
    return lua_memory_change(m, NULL, 0, bytes);
}

static void give_back(struct lua_memory *m, void *block, size_t bytes)
{
    cr_assert_null(lua_memory_change(m, block, bytes, 0));
}

static void check_filled(const unsigned char *block, size_t bytes, int with)
{
    for (size_t i = 0; i < bytes; i++) cr_assert_eq(block[i], with);
}

Test(lua_memory, blocks_keep_what_is_in_them_and_are_counted)
{
    enum { BLOCKS = 200, STEPS = 100000, BYTES_MAX = 300 };
    struct lua_memory m;
    struct random dice;
    unsigned char *blocks[BLOCKS] = {0};
    size_t sizes[BLOCKS] = {0}, used = 0, before = mem_used_bytes();
    lua_memory_init(&m, UNLIMITED);
    random_seed(&dice, 1);
    for (int step = 0; step < STEPS; step++) {
        size_t i = random_below(&dice, BLOCKS), bytes = random_below(&dice, BYTES_MAX);
        if (random_below(&dice, 3) == 0) bytes = 0;
        unsigned char *block = lua_memory_change(&m, blocks[i], sizes[i], bytes);
        cr_assert_eq(block == NULL, bytes == 0);
        check_filled(block, MIN(sizes[i], bytes), (int)i);
        if (bytes) memset(block, (int)i, bytes);
        used += bytes - sizes[i];
        blocks[i] = block;
        sizes[i] = bytes;
        cr_assert_eq(m.used_bytes, used);
    }
    for (size_t i = 0; i < BLOCKS; i++) give_back(&m, blocks[i], sizes[i]);
    lua_memory_free(&m);
    cr_assert_eq(mem_used_bytes(), before);
}

Test(lua_memory, at_the_limit_blocks_only_shrink)
{
    struct lua_memory m;
    lua_memory_init(&m, 1000);
    void *big = take(&m, 2000); // unlimited as yet
    m.is_unlimited = false;
    cr_assert_null(take(&m, 1));
    cr_assert_null(lua_memory_change(&m, big, 2000, 2001));
    cr_assert_eq(m.used_bytes, 2000);
    big = lua_memory_change(&m, big, 2000, 1500);
    cr_assert_not_null(big);
    big = lua_memory_change(&m, big, 1500, 900);
    void *small = take(&m, 100);
    cr_assert_not_null(small);
    cr_assert_null(take(&m, 1));
    give_back(&m, small, 100);
    give_back(&m, big, 900);
    cr_assert_eq(m.used_bytes, 0);
    lua_memory_free(&m);
}

#ifndef GYRE_SYSTEM_MALLOC
Test(lua_memory, small_blocks_are_used_again_and_not_too_many_are_kept)
{
    enum { MANY = 20000, BYTES = 100 };
    static void *blocks[MANY];
    struct lua_memory m;
    lua_memory_init(&m, UNLIMITED);
    void *block = take(&m, 40);
    give_back(&m, block, 40);
    cr_assert_eq(take(&m, 33), block);
    give_back(&m, block, 33);
    for (int i = 0; i < MANY; i++) blocks[i] = take(&m, BYTES);
    for (int i = 0; i < MANY; i++) give_back(&m, blocks[i], BYTES);
    cr_assert_gt(m.free_bytes, 100 << 10);
    cr_assert_lt(m.free_bytes, 300 << 10);
    size_t before = mem_used_bytes();
    lua_memory_free(&m);
    cr_assert_lt(mem_used_bytes(), before - (100 << 10));
}
#endif
