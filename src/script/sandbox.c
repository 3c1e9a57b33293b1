// SPDX-License-Identifier: BSD-3-Clause
#include "script/sandbox.h"

#include <lauxlib.h>
#include <lua-bitop.h>
#include <lua-cjson.h>
#include <lualib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "script/guards.h"
#include "script/lib_cmsgpack.h"
#include "script/lib_struct.h"

#define LOADED_BYTES_MAX ((size_t)64 << 20) // that load puts together: a reader may never end

// The address is the key under which a stand-in's metatable holds the real table.
static const char real_key = 0;

// --- stand-ins -----------------------------------------------------------------------------------

int sandbox_refuse_write(lua_State *L)
{
    lua_pushliteral(L, "Attempt to modify a readonly table");
    return lua_error(L);
}

static int refuse_assignment(lua_State *L)
{
    return luaL_error(L, "Attempt to modify a readonly table");
}

static int refuse_unknown_global(lua_State *L)
{
    const char *name = lua_tostring(L, 2);
    return luaL_error(L, "Script attempted to access nonexistent global variable '%s'",
                      name ? name : "?");
}

bool sandbox_push_real(lua_State *L, int index)
{
    if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return false;
    lua_pushlightuserdata(L, (void *)(uintptr_t)&real_key);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    if (lua_istable(L, -1)) return true;
    lua_pop(L, 1);
    return false;
}

// The metatable at the top reads from the table at `index` (absolute).
static void point_to(lua_State *L, int index)
{
    lua_pushvalue(L, index);
    lua_setfield(L, -2, "__index");
    lua_pushlightuserdata(L, (void *)(uintptr_t)&real_key);
    lua_pushvalue(L, index);
    lua_rawset(L, -3);
}

void sandbox_protect(lua_State *L)
{
    int real = lua_gettop(L);
    lua_newtable(L);
    lua_newtable(L);
    point_to(L, real);
    lua_pushcfunction(L, refuse_assignment);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, -2);
    lua_replace(L, real);
}

void sandbox_make_strict(lua_State *L)
{
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, refuse_unknown_global);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

void sandbox_protect_globals(lua_State *L)
{
    sandbox_protect(L);
    lua_getmetatable(L, -1);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, refuse_unknown_global);
    lua_setfield(L, -2, "__index");
    sandbox_protect(L);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void sandbox_redirect(lua_State *L, int index)
{
    lua_getmetatable(L, -1);
    point_to(L, index);
    lua_pop(L, 1);
}

// --- functions that see through stand-ins, or refuse them
// -----------------------------------------

static int next_pair(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (sandbox_push_real(L, 1)) lua_replace(L, 1);
    if (lua_next(L, 1)) return 2;
    lua_pushnil(L);
    return 1;
}

static int pairs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushvalue(L, lua_upvalueindex(1)); // next
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

static int raw_get(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    if (sandbox_push_real(L, 1)) lua_replace(L, 1);
    lua_rawget(L, 1);
    return 1;
}

static int raw_set(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    if (sandbox_push_real(L, 1)) return sandbox_refuse_write(L);
    lua_rawset(L, 1);
    return 1;
}

static int get_metatable(lua_State *L)
{
    luaL_checkany(L, 1);
    bool is_stand_in = sandbox_push_real(L, 1);
    if (luaL_getmetafield(L, 1, "__metatable")) return 1;
    if (is_stand_in || !lua_getmetatable(L, 1)) lua_pushnil(L);
    return 1;
}

static int set_metatable(lua_State *L)
{
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argcheck(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table expected");
    if (sandbox_push_real(L, 1)) return sandbox_refuse_write(L);
    if (luaL_getmetafield(L, 1, "__metatable"))
        luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

// --- protected calls -----------------------------------------------------------------------------

// An error that is a table with a text in `err` becomes that text, as scripts have always known it.
static int protected_call(lua_State *L)
{
    int argc = lua_gettop(L);
    if (argc == 0) {
        lua_pushboolean(L, 0);
        lua_pushliteral(L, "attempt to call a boolean value");
        return 2;
    }
    lua_pushboolean(L, 1); // the result's place
    lua_insert(L, 1);
    if (lua_pcall(L, argc - 1, LUA_MULTRET, 0) == 0) return lua_gettop(L);
    lua_remove(L, 1);
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "err");
        if (lua_isstring(L, -1))
            lua_replace(L, -2);
        else
            lua_pop(L, 1);
    }
    lua_pushboolean(L, 0);
    lua_insert(L, 1);
    return lua_gettop(L);
}

// A handler would run where hooks do not, inside the hook that kills the script: then it is skipped
// (the hook counts every instruction by then), or it could run for ever.
static int handle_error(lua_State *L)
{
    if (lua_gethookcount(L) == 1) return 1;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

static int protected_call_with_handler(lua_State *L)
{
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    lua_pushcclosure(L, handle_error, 1);
    lua_insert(L, 1);
    int status = lua_pcall(L, 0, LUA_MULTRET, 1);
    lua_pushboolean(L, status == 0);
    lua_replace(L, 1);
    return lua_gettop(L);
}

// --- compiling -----------------------------------------------------------------------------------

struct chunk {
    const char *text;
    size_t len;
    bool has_begun;
};

// A chunk whose first byte is that of bytecode would be taken for it: then a space goes in front,
// and the parser stumbles over it as over any other text.
static const char *read_chunk(lua_State *L, void *arg, size_t *len)
{
    struct chunk *c = arg;
    (void)L;
    if (!c->has_begun && c->len && c->text[0] == LUA_SIGNATURE[0]) {
        c->has_begun = true;
        *len = 1;
        return " ";
    }
    c->has_begun = true;
    *len = c->len;
    c->len = 0;
    return *len ? c->text : NULL;
}

int sandbox_compile(lua_State *L, const char *text, size_t len, const char *name)
{
    struct chunk c = {text, len, false};
    lua_pushstring(L, name); // strings are unique: the parser's own is this one, and stays
    int status = lua_load(L, read_chunk, &c, name);
    lua_remove(L, -2);
    return status;
}

// The function at the top sees the globals that its caller sees.
static void inherit_globals(lua_State *L)
{
    lua_Debug ar;
    for (int level = 1; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sf", &ar);
        bool is_lua = *ar.what != 'C' && *ar.what != 't'; // "tail": nobody knows who that was
        if (is_lua) {
            lua_getfenv(L, -1);
            lua_setfenv(L, -3);
        }
        lua_pop(L, 1);
        if (is_lua) return;
    }
}

static int finish_load(lua_State *L, int status)
{
    if (status == 0) {
        inherit_globals(L);
        return 1;
    }
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

static int load_string(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *name = luaL_optstring(L, 2, text);
    return finish_load(L, sandbox_compile(L, text, len, name));
}

// All pieces are read first: were the reader called by the parser, it could collect garbage there.
static int load_pieces(lua_State *L)
{
    luaL_Buffer b;
    size_t len, total = 0;
    const char *name = luaL_optstring(L, 2, "=(load)");
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_buffinit(L, &b);
    for (;;) {
        lua_pushvalue(L, 1);
        if (lua_pcall(L, 0, 1, 0)) return finish_load(L, LUA_ERRRUN);
        if (!lua_isnil(L, -1) && !lua_isstring(L, -1)) {
            lua_pushliteral(L, "reader function must return a string");
            return finish_load(L, LUA_ERRRUN);
        }
        lua_tolstring(L, -1, &len);
        if (lua_isnil(L, -1) || len == 0) break;
        if ((total += len) > LOADED_BYTES_MAX) return luaL_error(L, "chunk too long");
        luaL_addvalue(&b);
    }
    lua_pop(L, 1);
    luaL_pushresult(&b);
    const char *text = lua_tolstring(L, -1, &len);
    return finish_load(L, sandbox_compile(L, text, len, name));
}

// --- garbage -------------------------------------------------------------------------------------

// The collector is everybody's: a script may ask it to work, not to stop.
static int collect_garbage(lua_State *L)
{
    static const char *const options[] = {"stop", "restart",  "collect",    "count",
                                          "step", "setpause", "setstepmul", NULL};
    enum { COLLECT = 2, COUNT = 3, STEP = 4, SETPAUSE = 5 };
    int option = luaL_checkoption(L, 1, "collect", options);
    int arg = luaL_optint(L, 2, 0);
    if (option == COUNT) {
        lua_pushnumber(L, lua_gc(L, LUA_GCCOUNT, 0) + lua_gc(L, LUA_GCCOUNTB, 0) / 1024.0);
    } else if (option == STEP) {
        lua_pushboolean(L, lua_gc(L, LUA_GCSTEP, arg));
    } else {
        if (option == COLLECT) lua_gc(L, LUA_GCCOLLECT, 0);
        lua_pushnumber(L, option >= SETPAUSE ? 200 : 0);
    }
    return 1;
}

// --- time ----------------------------------------------------------------------------------------

// CPU seconds, of the thread that runs the script.
static int os_clock(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_thread_us() / 1e6);
    return 1;
}

static int open_os(lua_State *L)
{
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, os_clock);
    lua_setfield(L, -2, "clock");
    return 1;
}

// --- the libraries -------------------------------------------------------------------------------

static const char *const allowed[] = {
    "_G",           "_VERSION", "assert",   "collectgarbage", "coroutine", "error",  "gcinfo",
    "getmetatable", "ipairs",   "load",     "loadstring",     "math",      "next",   "pairs",
    "pcall",        "rawequal", "rawget",   "rawset",         "select",    "string", "table",
    "setmetatable", "tonumber", "tostring", "type",           "unpack",    "xpcall", "bit",
};

static bool is_allowed(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
        if (strcmp(name, allowed[i]) == 0) return true;
    return false;
}

static const luaL_Reg own_functions[] = {
    {"next", next_pair},
    {"rawget", raw_get},
    {"rawset", raw_set},
    {"getmetatable", get_metatable},
    {"setmetatable", set_metatable},
    {"pcall", protected_call},
    {"xpcall", protected_call_with_handler},
    {"load", load_pieces},
    {"loadstring", load_string},
    {"collectgarbage", collect_garbage},
};

// The table of globals is at `globals`.
static void remove_what_is_not_allowed(lua_State *L, int globals)
{
    lua_pushnil(L);
    while (lua_next(L, globals)) {
        lua_pop(L, 1);
        if (is_allowed(lua_tostring(L, -1))) continue;
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, globals);
    }
}

static void set_own_functions(lua_State *L, int globals)
{
    for (size_t i = 0; i < ARRAY_LEN(own_functions); i++) {
        lua_pushcfunction(L, own_functions[i].func);
        lua_setfield(L, globals, own_functions[i].name);
    }
    lua_getfield(L, globals, "next");
    lua_pushcclosure(L, pairs, 1);
    lua_setfield(L, globals, "pairs");
}

static void open_library(lua_State *L, lua_CFunction open, const char *name)
{
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 0);
}

// Puts the table that `open` leaves into the globals.
static void add_library(lua_State *L, int globals, lua_CFunction open, const char *name)
{
    lua_pushcfunction(L, open);
    lua_call(L, 0, 1);
    sandbox_protect(L);
    lua_setfield(L, globals, name);
}

static void protect_library(lua_State *L, int globals, const char *name)
{
    lua_getfield(L, globals, name);
    sandbox_protect(L);
    lua_setfield(L, globals, name);
}

void sandbox_renew_cjson(lua_State *L, int index, bool *is_cjson_changed)
{
    lua_pushcfunction(L, luaopen_cjson);
    lua_call(L, 0, 1);
    guards_watch_cjson(L, is_cjson_changed);
    sandbox_protect(L);
    lua_setfield(L, index, "cjson");
    *is_cjson_changed = false;
}

// Strings have one metatable for all scripts: what they see of it is a stand-in.
static void protect_string_metatable(lua_State *L, int globals)
{
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_createtable(L, 0, 1);
    lua_getfield(L, globals, "string");
    lua_setfield(L, -2, "__index");
    sandbox_protect(L);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

void sandbox_open(lua_State *L, const struct sandbox_options *options)
{
    open_library(L, luaopen_base, "");
    open_library(L, luaopen_table, LUA_TABLIBNAME);
    open_library(L, luaopen_string, LUA_STRLIBNAME);
    open_library(L, luaopen_math, LUA_MATHLIBNAME);
    open_library(L, luaopen_bit, "bit");
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    int globals = lua_gettop(L);
    remove_what_is_not_allowed(L, globals);
    set_own_functions(L, globals);
    guards_install(L, globals, options->seed);
    static const char *const libraries[] = {"string", "table", "math", "bit", "coroutine"};
    for (size_t i = 0; i < ARRAY_LEN(libraries); i++) protect_library(L, globals, libraries[i]);
    protect_string_metatable(L, globals);
    add_library(L, globals, lua_open_struct, "struct");
    add_library(L, globals, lua_open_cmsgpack, "cmsgpack");
    add_library(L, globals, open_os, "os"); // all that Redis 7.4 has of it
    sandbox_renew_cjson(L, globals, options->is_cjson_changed);
}
