// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target: what scripts may hand to struct and cmsgpack. Errors are fine, bytes that are
// not theirs are not; and unpacking and packing what cmsgpack packed changes nothing, but for what
// lies too deep, which the first time becomes nil and the second time is gone.
//
// Input: byte 0 chooses the library. struct: a format up to the first NUL, then the data. cmsgpack:
// all the rest.
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "script/lib_cmsgpack.h"
#include "script/lib_struct.h"

struct input {
    const char *bytes;
    size_t len;
};

// Calls library.name with the values on top of the stack from `first` on; leaves the results.
static void call(lua_State *lua, int library, const char *name, int first)
{
    lua_getfield(lua, library, name);
    lua_insert(lua, first);
    lua_call(lua, lua_gettop(lua) - first, LUA_MULTRET);
}

static int use_struct(lua_State *lua)
{
    const struct input *in = lua_touserdata(lua, 1);
    const char *end = in->len ? memchr(in->bytes, 0, in->len) : NULL;
    size_t format_len = end ? (size_t)(end - in->bytes) : in->len;
    size_t data = MIN(format_len + 1, in->len);
    lua_open_struct(lua);
    lua_pushlstring(lua, in->bytes, format_len);
    lua_pushlstring(lua, in->bytes + data, in->len - data);
    call(lua, 2, "unpack", 3);
    lua_pop(lua, 1); // the position
    lua_pushlstring(lua, in->bytes, format_len);
    lua_insert(lua, 3);
    call(lua, 2, "pack", 3);
    return 0;
}

static int use_cmsgpack(lua_State *lua)
{
    const struct input *in = lua_touserdata(lua, 1);
    lua_open_cmsgpack(lua);
    lua_pushlstring(lua, in->bytes, in->len);
    call(lua, 2, "unpack", 3);
    if (lua_gettop(lua) < 3) return 0;
    call(lua, 2, "pack", 3);
    for (int packed = 3; packed < 5; packed++) {
        lua_pushvalue(lua, packed);
        call(lua, 2, "unpack", packed + 1);
        call(lua, 2, "pack", packed + 1);
    }
    // Maps may change their order when they are made anew: then at least the length stays.
    if (lua_objlen(lua, 4) != lua_objlen(lua, 5)) abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    struct input in = {(const char *)data + 1, size - 1};
    lua_State *lua = luaL_newstate();
    lua_cpcall(lua, data[0] & 1 ? use_struct : use_cmsgpack, &in);
    lua_close(lua);
    return 0;
}
