// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target: any bytes as a script. They are judged without touching a byte that is not
// theirs; and if the verdict is that the script stays on its keys, Lua runs it, for a moment, with
// a redis.call that looks at the arguments: a key that is not in KEYS means that the verdict was
// wrong.
//
// The run has what Redis's sandbox has, as far as a script could use it to get round the proof. No
// element of ARGV, and nothing that redis.call answers, equals a key.
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "commands/families.h"
#include "script/proof.h"

#define STEPS_MAX        20000
#define MEMORY_MAX_BYTES (32u << 20)
#define ARGUMENTS_MAX    300

static const char *const keys[] = {"key one", "key two", "streams", "3"};
static const char *const arguments[] = {"STREAMS", "2", "arg", "store", "0", "COUNT"};

struct run {
    struct command_table *table;
    size_t used_bytes;
};

static bool is_declared(struct slice key)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (slice_eq(key, slice_of(keys[i]))) return true;
    return false;
}

static void check_keys(const struct command *c, int argc, const struct slice *argv)
{
    int positions[ARGUMENTS_MAX];
    if (c->subcommands) c = argc > 1 ? command_find_sub(c, argv[1]) : NULL;
    if (!c || !command_arity_fits(c, argc)) return;
    if (c->span == SPAN_MEET_ALL || c->span == SPAN_CURSOR || c->span == SPAN_CONCAT) abort();
    int n = command_keys(c, argc, argv, positions, NULL, ARGUMENTS_MAX);
    for (int i = 0; i < n; i++)
        if (!is_declared(argv[positions[i]])) abort();
}

static int redis_call(lua_State *lua)
{
    struct slice argv[ARGUMENTS_MAX];
    struct run *run = lua_touserdata(lua, lua_upvalueindex(1));
    int argc = lua_gettop(lua);
    if (argc < 1 || argc > ARGUMENTS_MAX) return luaL_error(lua, "arguments");
    for (int i = 0; i < argc; i++) {
        argv[i].ptr = lua_tolstring(lua, i + 1, &argv[i].len);
        if (!argv[i].ptr) return luaL_error(lua, "neither strings nor integers");
    }
    const struct command *c = command_find(run->table, argv[0]);
    if (c) check_keys(c, argc, argv);
    lua_newtable(lua);
    lua_pushliteral(lua, "reply");
    lua_rawseti(lua, -2, 1);
    return 1;
}

static int nothing(lua_State *lua)
{
    lua_pushliteral(lua, "nothing");
    return 1;
}

static void *allocate(void *arg, void *pointer, size_t old_bytes, size_t new_bytes)
{
    struct run *run = arg;
    if (new_bytes > old_bytes && run->used_bytes + new_bytes - old_bytes > MEMORY_MAX_BYTES)
        return NULL;
    run->used_bytes += new_bytes - old_bytes;
    if (new_bytes) return mem_realloc(pointer, new_bytes);
    mem_free(pointer);
    return NULL;
}

static void stop(lua_State *lua, lua_Debug *unused)
{
    (void)unused;
    // From now on at every instruction, so that pcall does not go on.
    lua_sethook(lua, stop, LUA_MASKCOUNT, 1);
    luaL_error(lua, "long enough");
}

static void set_list(lua_State *lua, const char *name, const char *const *values, size_t count)
{
    lua_newtable(lua);
    for (size_t i = 0; i < count; i++) {
        lua_pushstring(lua, values[i]);
        lua_rawseti(lua, -2, (int)i + 1);
    }
    lua_setglobal(lua, name);
}

static void set_redis(lua_State *lua, struct run *run)
{
    static const char *const calls[] = {"call", "pcall"};
    static const char *const others[] = {"log", "sha1hex", "error_reply", "status_reply"};
    lua_newtable(lua);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        lua_pushlightuserdata(lua, run);
        lua_pushcclosure(lua, redis_call, 1);
        lua_setfield(lua, -2, calls[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        lua_pushcfunction(lua, nothing);
        lua_setfield(lua, -2, others[i]);
    }
    lua_setglobal(lua, "redis");
}

// In protected mode, as memory may run out.
static int run_source(lua_State *lua)
{
    static const char *const absent[] = {"print", "dofile", "loadfile", "collectgarbage"};
    struct run *run = lua_touserdata(lua, 1);
    const struct slice *source = lua_touserdata(lua, 2);
    static const lua_CFunction libraries[] = {luaopen_base, luaopen_string, luaopen_table,
                                              luaopen_math};
    for (size_t i = 0; i < ARRAY_LEN(libraries); i++) {
        lua_pushcfunction(lua, libraries[i]);
        lua_call(lua, 0, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(absent); i++) {
        lua_pushnil(lua);
        lua_setglobal(lua, absent[i]);
    }
    set_list(lua, "KEYS", keys, ARRAY_LEN(keys));
    set_list(lua, "ARGV", arguments, ARRAY_LEN(arguments));
    set_redis(lua, run);
    if (luaL_loadbuffer(lua, source->ptr, source->len, "script")) return lua_error(lua);
    lua_sethook(lua, stop, LUA_MASKCOUNT, STEPS_MAX);
    lua_call(lua, 0, 0);
    return 0;
}

static void run_proven(struct command_table *table, struct slice source)
{
    struct run run = {table, 0};
    if (source.len >= 2 && memcmp(source.ptr, "#!", 2) == 0) {
        const char *line_end = memchr(source.ptr, '\n', source.len);
        if (!line_end) return;
        source.len -= (size_t)(line_end - source.ptr);
        source.ptr = line_end;
    }
    lua_State *lua = lua_newstate(allocate, &run);
    lua_pushcfunction(lua, run_source);
    lua_pushlightuserdata(lua, &run);
    lua_pushlightuserdata(lua, &source);
    lua_pcall(lua, 2, 0, 0);
    lua_close(lua);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct command_table *table;
    if (!table) table = command_table_new(commands_all);
    char *copy = mem_alloc(size ? size : 1);
    if (size) memcpy(copy, data, size);
    struct slice source = {copy, size};
    if (proof_stays_on_keys(table, source)) run_proven(table, source);
    mem_free(copy);
    return 0;
}
