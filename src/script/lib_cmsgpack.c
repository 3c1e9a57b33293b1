// SPDX-License-Identifier: BSD-3-Clause
//
// lib_cmsgpack: cmsgpack.pack(...), unpack(bytes), unpack_one(bytes [, offset]) and
// unpack_limit(bytes, limit [, offset]), with the bytes and values that scripts for Redis get:
//
//   packed as    integer, of the fewest bytes       a number that is an int64; unsigned if positive
//                float 32, else 64                  any other number, by what holds it exactly
//                array                              a table with the keys 1 to n and no other; {}
//                map                                any other table
//                nil                                functions and the like; tables in the 17th
//                level
//   no value     binary, extension, 0xc1            these are refused when unpacking
//
// Everything that is packed grows in a userdata, and what is unpacked lies on Lua's stack: an
// error, which leaves by a long jump, leaks nothing. How deep arrays may nest when unpacking is
// bounded by that stack; lengths are checked against the bytes at hand before anything is made of
// them.
#include "script/lib_cmsgpack.h"

#include <lauxlib.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"

#define DEPTH_MAX    16 // of tables, when packing
#define FIRST_BYTES  256
#define GUESS_MAX    64 // elements for which a table has room at once, whatever its header says
#define TOO_MANY     "too many return values at once; use unpack_one or unpack_limit instead."
#define HEADER_BYTES 9

// --- packing -------------------------------------------------------------------------------------

struct out {
    lua_State *lua;
    char *bytes; // the userdata at the index `slot`
    size_t len, cap;
    int slot;
};

static char *reserve(struct out *o, size_t more)
{
    if (more > o->cap - o->len) {
        size_t cap = MAX(o->cap * 2, o->len + more);
        char *bytes = lua_newuserdata(o->lua, cap);
        memcpy(bytes, o->bytes, o->len);
        lua_replace(o->lua, o->slot);
        o->bytes = bytes;
        o->cap = cap;
    }
    return o->bytes + o->len;
}

// `type` and the low `size` bytes of n, big endian.
static void put(struct out *o, uint8_t type, uint64_t n, size_t size)
{
    char *to = reserve(o, HEADER_BYTES);
    to[0] = (char)type;
    for (size_t i = 0; i < size; i++) to[1 + i] = (char)(n >> 8 * (size - 1 - i));
    o->len += 1 + size;
}

static void put_text(struct out *o, const char *text, size_t len)
{
    if (len < 32)
        put(o, (uint8_t)(0xa0 | len), 0, 0);
    else if (len <= UINT8_MAX)
        put(o, 0xd9, len, 1);
    else if (len <= UINT16_MAX)
        put(o, 0xda, len, 2);
    else
        put(o, 0xdb, len, 4);
    memcpy(reserve(o, len), text, len);
    o->len += len;
}

static void put_positive(struct out *o, uint64_t n)
{
    if (n <= INT8_MAX)
        put(o, (uint8_t)n, 0, 0);
    else if (n <= UINT8_MAX)
        put(o, 0xcc, n, 1);
    else if (n <= UINT16_MAX)
        put(o, 0xcd, n, 2);
    else if (n <= UINT32_MAX)
        put(o, 0xce, n, 4);
    else
        put(o, 0xcf, n, 8);
}

static void put_negative(struct out *o, int64_t n)
{
    if (n >= -32)
        put(o, (uint8_t)n, 0, 0);
    else if (n >= INT8_MIN)
        put(o, 0xd0, (uint64_t)n, 1);
    else if (n >= INT16_MIN)
        put(o, 0xd1, (uint64_t)n, 2);
    else if (n >= INT32_MIN)
        put(o, 0xd2, (uint64_t)n, 4);
    else
        put(o, 0xd3, (uint64_t)n, 8);
}

static void put_number(struct out *o, double n)
{
    const double limit = 9223372036854775808.0; // 2^63
    uint64_t wide_bits;
    uint32_t narrow_bits;
    float narrow = (float)n;
    memcpy(&wide_bits, &n, sizeof n);
    memcpy(&narrow_bits, &narrow, sizeof narrow);
    if (n >= -limit && n < limit && n == (double)(int64_t)n) {
        if (n >= 0)
            put_positive(o, (uint64_t)n);
        else
            put_negative(o, (int64_t)n);
    } else if (n == (double)narrow) {
        put(o, 0xca, narrow_bits, 4);
    } else {
        put(o, 0xcb, wide_bits, 8);
    }
}

// Counts the table on top of the stack. Is it an array?
static bool count_table(lua_State *lua, size_t *count)
{
    bool is_array = true;
    double max = 0;
    *count = 0;
    lua_pushnil(lua);
    for (; lua_next(lua, -2); ++*count) {
        lua_pop(lua, 1); // the value
        if (!is_array) continue;
        double n = lua_type(lua, -1) == LUA_TNUMBER ? lua_tonumber(lua, -1) : 0;
        // As keys differ, as many whole numbers as the greatest of them are all up to it.
        is_array = n >= 1 && n <= INT32_MAX && n == (double)(int32_t)n;
        max = MAX(max, n);
    }
    return is_array && max == (double)*count;
}

static void put_header(struct out *o, size_t count, uint8_t few, uint8_t type16, uint8_t type32)
{
    if (count <= 15)
        put(o, (uint8_t)(few | count), 0, 0);
    else if (count <= UINT16_MAX)
        put(o, type16, count, 2);
    else
        put(o, type32, count, 4);
}

static void put_value(struct out *o, int depth);

// The table on top of the stack, which stays there.
static void put_table(struct out *o, int depth)
{
    lua_State *lua = o->lua;
    size_t count;
    luaL_checkstack(lua, 4, "in function mp_encode_lua_table");
    if (count_table(lua, &count)) {
        put_header(o, count, 0x90, 0xdc, 0xdd);
        for (size_t i = 1; i <= count; i++) {
            lua_rawgeti(lua, -1, (int)i);
            put_value(o, depth + 1);
        }
        return;
    }
    put_header(o, count, 0x80, 0xde, 0xdf);
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        lua_pushvalue(lua, -2);
        put_value(o, depth + 1);
        put_value(o, depth + 1);
    }
}

// Pops the value.
static void put_value(struct out *o, int depth)
{
    lua_State *lua = o->lua;
    size_t len;
    const char *text;
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING:
        text = lua_tolstring(lua, -1, &len);
        put_text(o, text, len);
        break;
    case LUA_TBOOLEAN: put(o, lua_toboolean(lua, -1) ? 0xc3 : 0xc2, 0, 0); break;
    case LUA_TNUMBER: put_number(o, lua_tonumber(lua, -1)); break;
    case LUA_TTABLE:
        if (depth < DEPTH_MAX)
            put_table(o, depth);
        else
            put(o, 0xc0, 0, 0);
        break;
    default: put(o, 0xc0, 0, 0);
    }
    lua_pop(lua, 1);
}

static int cmsgpack_pack(lua_State *lua)
{
    int count = lua_gettop(lua);
    if (count == 0) return luaL_argerror(lua, 0, "MessagePack pack needs input.");
    if (!lua_checkstack(lua, count))
        return luaL_argerror(lua, 0, "Too many arguments for MessagePack pack.");
    luaL_checkstack(lua, 4, "in function mp_pack");
    struct out o = {lua, lua_newuserdata(lua, FIRST_BYTES), 0, FIRST_BYTES, count + 1};
    for (int i = 1; i <= count; i++) {
        lua_pushvalue(lua, i);
        put_value(&o, 0);
    }
    lua_pushlstring(lua, o.bytes, o.len);
    return 1;
}

// --- unpacking -----------------------------------------------------------------------------------

struct in {
    lua_State *lua;
    const char *at;
    size_t left;
};

static const char *take(struct in *in, size_t len)
{
    const char *at = in->at;
    if (len > in->left) luaL_error(in->lua, "Missing bytes in input.");
    in->at += len;
    in->left -= len;
    return at;
}

// A big-endian number.
static uint64_t take_number(struct in *in, size_t size)
{
    const unsigned char *at = (const unsigned char *)take(in, size);
    uint64_t n = 0;
    for (size_t i = 0; i < size; i++) n = n << 8 | at[i];
    return n;
}

static void take_value(struct in *in);

static void take_text(struct in *in, size_t len)
{
    lua_pushlstring(in->lua, take(in, len), len);
}

static int room_for(const struct in *in, size_t count)
{
    return (int)MIN(MIN(count, in->left), GUESS_MAX);
}

static void take_array(struct in *in, size_t count)
{
    lua_State *lua = in->lua;
    lua_createtable(lua, room_for(in, count), 0);
    luaL_checkstack(lua, 1, "in function mp_decode_to_lua_array");
    for (size_t i = 1; i <= count; i++) {
        lua_pushnumber(lua, (double)i);
        take_value(in);
        lua_rawset(lua, -3);
    }
}

static void take_map(struct in *in, size_t count)
{
    lua_State *lua = in->lua;
    lua_createtable(lua, 0, room_for(in, count));
    for (size_t i = 0; i < count; i++) {
        take_value(in);
        take_value(in);
        lua_rawset(lua, -3); // an error for a key that is nil or no number
    }
}

static double take_float(struct in *in)
{
    uint32_t bits = (uint32_t)take_number(in, 4);
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

static double take_double(struct in *in)
{
    uint64_t bits = take_number(in, 8);
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

// What follows a first byte of 0xc0 to 0xdf.
static void take_typed(struct in *in, unsigned type)
{
    lua_State *lua = in->lua;
    switch (type) {
    case 0xc0: lua_pushnil(lua); break;
    case 0xc2:
    case 0xc3: lua_pushboolean(lua, type == 0xc3); break;
    case 0xca: lua_pushnumber(lua, take_float(in)); break;
    case 0xcb: lua_pushnumber(lua, take_double(in)); break;
    case 0xcc: lua_pushnumber(lua, (double)take_number(in, 1)); break;
    case 0xcd: lua_pushnumber(lua, (double)take_number(in, 2)); break;
    case 0xce: lua_pushnumber(lua, (double)take_number(in, 4)); break;
    case 0xcf: // from 2^63 on negative: no number of Lua holds them all
    case 0xd3: lua_pushnumber(lua, (double)(int64_t)take_number(in, 8)); break;
    case 0xd0: lua_pushnumber(lua, (double)(int8_t)take_number(in, 1)); break;
    case 0xd1: lua_pushnumber(lua, (double)(int16_t)take_number(in, 2)); break;
    case 0xd2: lua_pushnumber(lua, (double)(int32_t)take_number(in, 4)); break;
    case 0xd9: take_text(in, take_number(in, 1)); break;
    case 0xda: take_text(in, take_number(in, 2)); break;
    case 0xdb: take_text(in, take_number(in, 4)); break;
    case 0xdc: take_array(in, take_number(in, 2)); break;
    case 0xdd: take_array(in, take_number(in, 4)); break;
    case 0xde: take_map(in, take_number(in, 2)); break;
    case 0xdf: take_map(in, take_number(in, 4)); break;
    default: luaL_error(lua, "Bad data format in input.");
    }
}

// Pushes the next value.
static void take_value(struct in *in)
{
    unsigned type = (unsigned char)*take(in, 1);
    luaL_checkstack(in->lua, 1, TOO_MANY);
    if (type < 0x80)
        lua_pushnumber(in->lua, type);
    else if (type < 0x90)
        take_map(in, type & 0x0f);
    else if (type < 0xa0)
        take_array(in, type & 0x0f);
    else if (type < 0xc0)
        take_text(in, type & 0x1f);
    else if (type < 0xe0)
        take_typed(in, type);
    else
        lua_pushnumber(in->lua, (double)(int8_t)type);
}

// Up to `limit` values from `offset` on, behind the offset of the next one (-1: there is none).
// Neither: all values, and no offset.
static int unpack_values(lua_State *lua, lua_Integer limit, lua_Integer offset)
{
    bool is_all = limit == 0 && offset == 0;
    size_t len;
    const char *bytes = luaL_checklstring(lua, 1, &len);
    if (offset < 0 || limit < 0)
        return luaL_error(lua, "Invalid request to unpack with offset of %d and limit of %d.",
                          (int)offset, (int)len);
    if ((size_t)offset > len)
        return luaL_error(lua, "Start offset %d greater than input length %d.", (int)offset,
                          (int)len);
    struct in in = {lua, bytes + offset, len - (size_t)offset};
    int count = 0;
    for (; in.left && (is_all || count < limit); count++) take_value(&in);
    if (is_all) return count;
    luaL_checkstack(lua, 1, "in function mp_unpack_full");
    lua_pushinteger(lua, in.left ? (lua_Integer)(len - in.left) : -1);
    lua_insert(lua, 2);
    return count + 1;
}

static int cmsgpack_unpack(lua_State *lua)
{
    return unpack_values(lua, 0, 0);
}

static int cmsgpack_unpack_one(lua_State *lua)
{
    lua_Integer offset = luaL_optinteger(lua, 2, 0);
    lua_settop(lua, 1);
    return unpack_values(lua, 1, offset);
}

static int cmsgpack_unpack_limit(lua_State *lua)
{
    lua_Integer limit = luaL_checkinteger(lua, 2);
    lua_Integer offset = luaL_optinteger(lua, 3, 0);
    lua_settop(lua, 1);
    return unpack_values(lua, limit, offset);
}

int lua_open_cmsgpack(lua_State *lua)
{
    static const struct {
        const char *name;
        lua_CFunction function;
    } functions[] = {{"pack", cmsgpack_pack},
                     {"unpack", cmsgpack_unpack},
                     {"unpack_one", cmsgpack_unpack_one},
                     {"unpack_limit", cmsgpack_unpack_limit}};
    // Fields that scripts could ask for; the version is that of the behaviour.
    static const char *const fields[][2] = {{"_NAME", "cmsgpack"},
                                            {"_VERSION", "lua-cmsgpack 0.4.0"},
                                            {"_DESCRIPTION", "MessagePack for Lua"}};
    lua_createtable(lua, 0, ARRAY_LEN(functions) + ARRAY_LEN(fields));
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        lua_pushcfunction(lua, functions[i].function);
        lua_setfield(lua, -2, functions[i].name);
    }
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        lua_pushstring(lua, fields[i][1]);
        lua_setfield(lua, -2, fields[i][0]);
    }
    return 1;
}
