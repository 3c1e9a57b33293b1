// SPDX-License-Identifier: BSD-3-Clause
#include "script/redis_api.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/version.h"
#include "script/convert.h"
#include "script/library.h"
#include "script/lua_state.h"
#include "script/scripting.h"

#define ERR_NO_ARGS  "ERR Please specify at least one argument for this redis lib call"
#define ERR_ARG_TYPE "ERR Lua redis lib command arguments must be strings or integers"

#define NUMBER_TEXT 32 // "%.17g" of any double

static int raise_error(lua_State *L, const char *text)
{
    convert_push_error(L, text, strlen(text));
    return lua_error(L);
}

// --- call and pcall ------------------------------------------------------------------------------

static struct slice number_text(char *out, lua_Number n)
{
    // Integers below 10^17 are what %.17g prints without a point or exponent.
    bool is_integer =
        n > -1e17 && n < 1e17 && n == (lua_Number)(int64_t)n && !(n == 0 && signbit(n));
    size_t len = is_integer ? num_format_i64(out, (int64_t)n)
                            : (size_t)snprintf(out, NUMBER_TEXT, "%.17g", n);
    return (struct slice){out, len};
}

static void reserve_args(struct lua_state *st, int argc)
{
    if (LIKELY(argc <= st->argv_cap)) return;
    st->argv_cap = MAX(argc, 16);
    st->argv = mem_realloc(st->argv, (size_t)st->argv_cap * sizeof st->argv[0]);
    st->numbers = mem_realloc(st->numbers, (size_t)st->argv_cap * NUMBER_TEXT);
}

// The arguments on the stack as slices, which stay as long as they are there. NULL, or what is
// wrong with them.
static const char *read_args(lua_State *L, struct lua_state *st, int argc)
{
    if (argc == 0) return ERR_NO_ARGS;
    reserve_args(st, argc);
    for (int i = 0; i < argc; i++) {
        int type = lua_type(L, i + 1);
        if (LIKELY(type == LUA_TSTRING))
            st->argv[i].ptr = lua_tolstring(L, i + 1, &st->argv[i].len);
        else if (type == LUA_TNUMBER)
            st->argv[i] = number_text(st->numbers + i * NUMBER_TEXT, lua_tonumber(L, i + 1));
        else
            return ERR_ARG_TYPE;
    }
    return NULL;
}

// The command's reply in one piece.
static const char *reply_text(struct lua_state *st, const char **end)
{
    struct reply *r = &st->reply;
    reply_sync(r);
    ASSERT(r->head);
    if (LIKELY(!r->head->next)) {
        *end = r->head->data + r->head->len;
        return r->head->data;
    }
    size_t len;
    mem_free(st->flat);
    st->flat = reply_flatten(r, &len); // here it is freed even if an error is raised meanwhile
    *end = st->flat + len;
    return st->flat;
}

// What an error that a command has answered is to a script: it has been counted.
static void mark_counted(lua_State *L)
{
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "ignore_error_stats_update");
}

static int call_command(lua_State *L, bool is_protected)
{
    struct lua_state *st = lua_state_of(L);
    const char *end, *text, *bad;
    int argc = lua_gettop(L);
    if (UNLIKELY(!st->running.ctx)) return raise_error(L, "ERR no script is running");
    if (UNLIKELY(++st->running.calls % RUNNING_CALL_COUNT == 0) && !running_look(&st->running))
        return lua_state_raise_kill(L);
    if (UNLIKELY((bad = read_args(L, st, argc)) != NULL)) {
        convert_push_error(L, bad, strlen(bad));
        return is_protected ? 1 : lua_error(L);
    }
    st->reply.resp = st->resp;
    if (UNLIKELY(call_run(&st->scope, argc, st->argv) == CALL_STOPPED))
        return lua_state_raise_kill(L);
    text = reply_text(st, &end);
    convert_push_reply(L, text, end);
    if (LIKELY(*text != '-')) return 1;
    mark_counted(L);
    return is_protected ? 1 : lua_error(L);
}

static int redis_call(lua_State *L)
{
    return call_command(L, false);
}

static int redis_pcall(lua_State *L)
{
    return call_command(L, true);
}

// --- replies -------------------------------------------------------------------------------------

static bool has_one_string(lua_State *L)
{
    if (lua_gettop(L) == 1 && lua_type(L, 1) == LUA_TSTRING) return true;
    static const char text[] = "ERR wrong number or type of arguments";
    convert_push_error(L, text, sizeof text - 1);
    return false;
}

static int redis_status_reply(lua_State *L)
{
    if (!has_one_string(L)) return 1;
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "ok");
    return 1;
}

// "-CODE text", "CODE text" or, without a code, "text".
static int redis_error_reply(lua_State *L)
{
    if (!has_one_string(L)) return 1;
    const char *text = lua_tostring(L, 1);
    text += *text == '-';
    size_t len = strlen(text);
    while (len && (text[len - 1] == '\r' || text[len - 1] == '\n')) len--;
    lua_createtable(L, 0, 1);
    lua_pushstring(L, memchr(text, ' ', len) ? "" : "ERR ");
    lua_pushlstring(L, text, len);
    lua_concat(L, 2);
    lua_setfield(L, -2, "err");
    return 1;
}

// --- the rest ------------------------------------------------------------------------------------

static int redis_sha1hex(lua_State *L)
{
    char sha[SCRIPT_SHA_BYTES + 1];
    struct slice text = {0};
    if (lua_gettop(L) != 1) return raise_error(L, "ERR wrong number of arguments");
    text.ptr = lua_tolstring(L, 1, &text.len);
    script_sha1(text.ptr ? text : SLICE(""), sha);
    lua_pushlstring(L, sha, SCRIPT_SHA_BYTES);
    return 1;
}

static int redis_log(lua_State *L)
{
    static const enum log_level levels[] = {LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING};
    int argc = lua_gettop(L);
    if (argc < 2) return raise_error(L, "ERR redis.log() requires two arguments or more.");
    if (!lua_isnumber(L, 1))
        return raise_error(L, "ERR First argument must be a number (log level).");
    lua_Number level = lua_tonumber(L, 1);
    if (!(level >= 0 && level < (lua_Number)ARRAY_LEN(levels)))
        return raise_error(L, "ERR Invalid debug level.");
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (int i = 2; i <= argc; i++) {
        if (!lua_isstring(L, i)) continue;
        if (i > 2) luaL_addchar(&text, ' ');
        lua_pushvalue(L, i);
        luaL_addvalue(&text);
    }
    luaL_pushresult(&text);
    log_write(levels[(int)level], "%s", lua_tostring(L, -1));
    return 0;
}

static int redis_setresp(lua_State *L)
{
    if (lua_gettop(L) != 1) return raise_error(L, "ERR redis.setresp() requires one argument.");
    lua_Number resp = lua_tonumber(L, 1);
    if (!(resp >= 2 && resp < 4)) return raise_error(L, "ERR RESP version must be 2 or 3.");
    lua_state_of(L)->resp = (uint8_t)resp;
    return 0;
}

static int redis_set_repl(lua_State *L)
{
    enum { ALL = 3 };
    if (lua_gettop(L) != 1) return raise_error(L, "ERR redis.set_repl() requires two arguments.");
    lua_Number flags = lua_tonumber(L, 1);
    if (!(flags >= 0 && flags < ALL + 1))
        return raise_error(L, "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, "
                              "REPL_ALL or REPL_NONE.");
    return 0; // what a script does is replicated by its effects, all of them
}

static int redis_replicate_commands(lua_State *L)
{
    lua_pushboolean(L, 1);
    return 1;
}

static int redis_breakpoint(lua_State *L)
{
    lua_pushboolean(L, 0); // no debugger is attached
    return 1;
}

static int redis_debug(lua_State *L)
{
    (void)L;
    return 0;
}

// There is one user, who may do everything that exists.
static int redis_acl_check_cmd(lua_State *L)
{
    struct lua_state *st = lua_state_of(L);
    int argc = lua_gettop(L);
    const char *bad = read_args(L, st, argc);
    if (bad) return raise_error(L, bad);
    const struct command *c = command_find(st->scripting->engine->table, st->argv[0]);
    if (c && c->subcommands && argc > 1) c = command_find_sub(c, st->argv[1]);
    if (!c) return raise_error(L, "ERR Invalid command passed to redis.acl_check_cmd()");
    lua_pushboolean(L, 1);
    return 1;
}

// --- the table -----------------------------------------------------------------------------------

#define KIND(kind) (1u << (kind))
#define RUN        (KIND(API_SCRIPT) | KIND(API_FUNCTION))
#define ALWAYS     (RUN | KIND(API_LOAD))

struct api_function {
    const char *name;
    lua_CFunction function;
    unsigned kinds;
};

static const struct api_function functions[] = {
    {"call", redis_call, RUN},
    {"pcall", redis_pcall, RUN},
    {"error_reply", redis_error_reply, RUN},
    {"status_reply", redis_status_reply, RUN},
    {"sha1hex", redis_sha1hex, RUN},
    {"log", redis_log, ALWAYS},
    {"setresp", redis_setresp, RUN},
    {"set_repl", redis_set_repl, RUN},
    {"acl_check_cmd", redis_acl_check_cmd, RUN},
    {"replicate_commands", redis_replicate_commands, KIND(API_SCRIPT)},
    {"breakpoint", redis_breakpoint, KIND(API_SCRIPT)},
    {"debug", redis_debug, KIND(API_SCRIPT)},
    {"register_function", library_register_function, KIND(API_LOAD)},
};

struct api_number {
    const char *name;
    int value;
    unsigned kinds;
};

static const struct api_number numbers[] = {
    {"LOG_DEBUG", 0, ALWAYS},   {"LOG_VERBOSE", 1, ALWAYS}, {"LOG_NOTICE", 2, ALWAYS},
    {"LOG_WARNING", 3, ALWAYS}, {"REPL_NONE", 0, RUN},      {"REPL_AOF", 1, RUN},
    {"REPL_SLAVE", 2, RUN},     {"REPL_REPLICA", 2, RUN},   {"REPL_ALL", 3, RUN},
};

// 0x00MMmmpp of REDIS_VERSION.
static int version_number(void)
{
    int number = 0;
    const char *p = REDIS_VERSION;
    for (int i = 0; i < 3; i++) {
        char *end;
        number = number << 8 | (int)strtol(p, &end, 10);
        p = end + 1;
    }
    return number;
}

void redis_api_push(lua_State *L, enum redis_api_kind kind)
{
    lua_newtable(L);
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        if (!(functions[i].kinds & KIND(kind))) continue;
        lua_pushcfunction(L, functions[i].function);
        lua_setfield(L, -2, functions[i].name);
    }
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (!(numbers[i].kinds & KIND(kind))) continue;
        lua_pushinteger(L, numbers[i].value);
        lua_setfield(L, -2, numbers[i].name);
    }
    lua_pushliteral(L, REDIS_VERSION);
    lua_setfield(L, -2, "REDIS_VERSION");
    lua_pushinteger(L, version_number());
    lua_setfield(L, -2, "REDIS_VERSION_NUM");
}
