// SPDX-License-Identifier: BSD-3-Clause
#include "script/guards.h"

#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "script/sandbox.h"

// Each quantifier or capture of a pattern costs a frame or two of some 150 bytes on the C stack.
#define PATTERN_STEPS_MAX 5000

// The library's own function, which a guard has as its first upvalue, with the arguments as they
// stand.
static int call_guarded(lua_State *L)
{
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static int unpack(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    int from = luaL_optint(L, 2, 1);
    int to = lua_isnoneornil(L, 3) ? (int)lua_objlen(L, 1) : luaL_checkint(L, 3);
    if (from > to) return 0;
    int64_t n = (int64_t)to - from + 1;
    if (n >= INT_MAX || !lua_checkstack(L, (int)n))
        return luaL_error(L, "too many results to unpack");
    for (int64_t i = from; i <= to; i++) lua_rawgeti(L, 1, (int)i);
    return (int)n;
}

static int find_pattern(lua_State *L)
{
    size_t len = lua_type(L, 2) == LUA_TSTRING ? lua_objlen(L, 2) : 0;
    if (UNLIKELY(len > PATTERN_STEPS_MAX)) {
        const char *pattern = lua_tostring(L, 2);
        size_t steps = 0;
        for (size_t i = 0; i < len; i++)
            if (memchr("*+-?(", pattern[i], 5)) steps++;
        if (steps > PATTERN_STEPS_MAX) return luaL_error(L, "pattern too complex");
    }
    return call_guarded(L);
}

static int repeat(lua_State *L)
{
    size_t len;
    luaL_checklstring(L, 1, &len);
    if (len) return call_guarded(L);
    luaL_checkinteger(L, 2);
    lua_pushliteral(L, "");
    return 1;
}

static int insert(lua_State *L)
{
    if (sandbox_push_real(L, 1)) return sandbox_refuse_write(L);
    return call_guarded(L);
}

// More than 8 digits are 8: the count is brought to where the library is right.
static int to_hex(lua_State *L)
{
    if (lua_type(L, 2) == LUA_TNUMBER) {
        double n = fmod(lua_tonumber(L, 2), 0x1p32);
        int32_t digits = isnan(n) ? 8 : (int32_t)(uint32_t)llrint(n);
        if (digits > 8 || digits < -8) {
            lua_pushnumber(L, digits > 0 ? 8 : -8);
            lua_replace(L, 2);
        }
    }
    return call_guarded(L);
}

// --- math.random ---------------------------------------------------------------------------------
// The 48-bit linear congruential generator of POSIX (srand48), of which Redis's scripts see 31
// bits.

static int64_t next_random(uint64_t *state)
{
    *state = (*state * 0x5deece66d + 0xb) & 0xffffffffffff;
    return (int64_t)(*state >> 17);
}

static void seed_random(uint64_t *state, uint32_t seed)
{
    *state = (uint64_t)seed << 16 | 0x330e;
}

static int get_random(lua_State *L)
{
    uint64_t *state = lua_touserdata(L, lua_upvalueindex(1));
    lua_Number r = (lua_Number)(next_random(state) % INT32_MAX) / INT32_MAX;
    int argc = lua_gettop(L), low = 1, high;
    if (argc == 0) {
        lua_pushnumber(L, r);
        return 1;
    }
    if (argc > 2) return luaL_error(L, "wrong number of arguments");
    if (argc == 2) low = luaL_checkint(L, 1);
    high = luaL_checkint(L, argc);
    luaL_argcheck(L, low <= high, argc, "interval is empty");
    lua_pushnumber(L, floor(r * ((lua_Number)high - low + 1)) + low);
    return 1;
}

static int set_random_seed(lua_State *L)
{
    seed_random(lua_touserdata(L, lua_upvalueindex(1)), (uint32_t)luaL_checkint(L, 1));
    return 0;
}

static void install_random(lua_State *L, int globals, uint64_t seed)
{
    lua_getfield(L, globals, "math");
    uint64_t *state = lua_newuserdata(L, sizeof *state);
    *state = seed & 0xffffffffffff;
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, get_random, 1);
    lua_setfield(L, -3, "random");
    lua_pushcclosure(L, set_random_seed, 1);
    lua_setfield(L, -2, "randomseed");
    lua_pop(L, 1);
}

// --- installing ----------------------------------------------------------------------------------

struct guard {
    const char *library, *name;
    lua_CFunction function;
};

static const struct guard guards[] = {
    {"string", "find", find_pattern},   {"string", "match", find_pattern},
    {"string", "gmatch", find_pattern}, {"string", "gfind", find_pattern},
    {"string", "gsub", find_pattern},   {"string", "rep", repeat},
    {"table", "insert", insert},        {"bit", "tohex", to_hex},
};

void guards_install(lua_State *L, int globals, uint64_t seed)
{
    for (size_t i = 0; i < ARRAY_LEN(guards); i++) {
        lua_getfield(L, globals, guards[i].library);
        lua_getfield(L, -1, guards[i].name);
        ASSERT(lua_iscfunction(L, -1));
        lua_pushcclosure(L, guards[i].function, 1);
        lua_setfield(L, -2, guards[i].name);
        lua_pop(L, 1);
    }
    lua_pushcfunction(L, unpack);
    lua_setfield(L, globals, "unpack");
    install_random(L, globals, seed);
}

static const char *const cjson_settings[] = {
    "encode_sparse_array",     "encode_max_depth",   "decode_max_depth",
    "encode_number_precision", "encode_keep_buffer", "encode_invalid_numbers",
    "decode_invalid_numbers",
};

// Its first upvalue is the guarded function's own, cjson's configuration; then come that function
// and the flag.
static int change_cjson(lua_State *L)
{
    if (lua_gettop(L)) *(bool *)lua_touserdata(L, lua_upvalueindex(3)) = true;
    return lua_tocfunction(L, lua_upvalueindex(2))(L);
}

void guards_watch_cjson(lua_State *L, bool *is_changed)
{
    for (size_t i = 0; i < ARRAY_LEN(cjson_settings); i++) {
        lua_getfield(L, -1, cjson_settings[i]);
        bool has_configuration = lua_getupvalue(L, -1, 1);
        ASSERT(has_configuration);
        lua_insert(L, -2);
        lua_pushlightuserdata(L, is_changed);
        lua_pushcclosure(L, change_cjson, 3);
        lua_setfield(L, -2, cjson_settings[i]);
    }
}
