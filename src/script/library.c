// SPDX-License-Identifier: BSD-3-Clause
#include "script/library.h"

#include <lauxlib.h>
#include <strings.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "script/convert.h"
#include "script/library_set.h"
#include "script/lua_state.h"
#include "script/sandbox.h"
#include "script/shebang.h"

#define ERR_NAME                                                                                   \
    "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least " \
    "one character long"

// --- libraries -----------------------------------------------------------------------------------

static struct library *library_new(struct slice code, struct shebang *shebang)
{
    struct library *lib = mem_calloc(sizeof *lib);
    atomic_init(&lib->refs, 1);
    lib->name = mem_strndup(shebang->name.ptr ? shebang->name.ptr : "", shebang->name.len);
    lib->code = (struct slice){mem_strndup(code.ptr, code.len), code.len};
    lib->code_offset = shebang->len;
    return lib;
}

struct library *library_ref(struct library *lib)
{
    atomic_fetch_add_explicit(&lib->refs, 1, memory_order_relaxed); // the caller has one
    return lib;
}

void library_unref(struct library *lib)
{
    // Release, and acquire for the last: it frees after all others have read.
    if (atomic_fetch_sub_explicit(&lib->refs, 1, memory_order_acq_rel) != 1) return;
    for (uint32_t i = 0; i < lib->function_count; i++) {
        mem_free(lib->functions[i].name);
        mem_free(lib->functions[i].description);
    }
    mem_free(lib->functions);
    mem_free((char *)(uintptr_t)lib->code.ptr);
    mem_free(lib->name);
    mem_free(lib);
}

static bool is_good_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i], lower = (char)(c | 0x20);
        if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') && c != '_') return false;
    }
    return name.len > 0;
}

// --- a load's functions --------------------------------------------------------------------------

static bool is_registered(const struct library_load *load, struct slice name)
{
    for (uint32_t i = 0; i < load->count; i++)
        if (slice_eq(slice_of(load->items[i].function.name), name)) return true;
    return false;
}

static void add_function(struct library_load *load, struct slice name, struct slice description,
                         uint32_t flags, int ref)
{
    load->items = mem_realloc(load->items, (load->count + 1) * sizeof load->items[0]);
    load->items[load->count++] = (struct load_item){
        .function = {.name = mem_strndup(name.ptr, name.len),
                     .description =
                         description.ptr ? mem_strndup(description.ptr, description.len) : NULL,
                     .flags = flags},
        .ref = ref};
}

void library_load_free(struct library_load *load, lua_State *L)
{
    for (uint32_t i = 0; i < load->count; i++) {
        mem_free(load->items[i].function.name);
        mem_free(load->items[i].function.description);
        if (load->items[i].ref != LUA_NOREF) luaL_unref(L, LUA_REGISTRYINDEX, load->items[i].ref);
    }
    mem_free(load->items);
    *load = (struct library_load){0};
}

// --- redis.register_function ---------------------------------------------------------------------

static int raise_error(lua_State *L, const char *text)
{
    convert_push_error(L, text, strlen(text));
    return lua_error(L);
}

// What a call says of the function, on the stack: indices, 0: not given.
struct registration {
    int name, callback, description;
    uint32_t flags;
};

static void read_flags(lua_State *L, struct registration *r)
{
    if (!lua_istable(L, -1))
        raise_error(L, "ERR flags argument to redis.register_function must be a table "
                       "representing function flags");
    for (int i = 1;; i++) {
        size_t len;
        lua_rawgeti(L, -1, i);
        if (lua_isnil(L, -1)) break;
        const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
        uint32_t flag = name ? script_flag_of((struct slice){name, len}) : 0;
        if (!flag) raise_error(L, "ERR unknown flag given");
        r->flags |= flag;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void need_string(lua_State *L, const char *error)
{
    if (!lua_isstring(L, -1)) raise_error(L, error);
}

// One of register_function{name = value, ...}: the value is at the top.
static void read_named(lua_State *L, const char *name, struct registration *r)
{
    if (strcmp(name, "function_name") == 0) {
        need_string(L, "ERR function_name argument given to redis.register_function must be a "
                       "string");
        lua_pushvalue(L, -1);
        lua_replace(L, r->name = 2);
    } else if (strcmp(name, "description") == 0) {
        need_string(L, "ERR description argument given to redis.register_function must be a "
                       "string");
        lua_pushvalue(L, -1);
        lua_replace(L, r->description = 3);
    } else if (strcmp(name, "callback") == 0) {
        if (!lua_isfunction(L, -1))
            raise_error(L, "ERR callback argument given to redis.register_function must be a "
                           "function");
        lua_pushvalue(L, -1);
        lua_replace(L, r->callback = 4);
    } else if (strcmp(name, "flags") == 0) {
        read_flags(L, r);
    } else {
        raise_error(L, "ERR unknown argument given to redis.register_function");
    }
}

static void read_table(lua_State *L, struct registration *r)
{
    if (!lua_istable(L, 1))
        raise_error(L, "ERR calling redis.register_function with a single argument is only "
                       "applicable to Lua table (representing named arguments).");
    lua_settop(L, 4);
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING)
            read_named(L, lua_tostring(L, -2), r);
        else if (lua_type(L, -2) == LUA_TNUMBER)
            raise_error(L, "ERR unknown argument given to redis.register_function");
        else
            raise_error(L, "ERR named argument key given to redis.register_function is not a "
                           "string");
        lua_settop(L, 5);
    }
    if (!r->name) raise_error(L, "ERR redis.register_function must get a function name argument");
    if (!r->callback) raise_error(L, "ERR redis.register_function must get a callback argument");
}

static void read_positions(lua_State *L, struct registration *r)
{
    if (!lua_isstring(L, 1))
        raise_error(L, "ERR first argument to redis.register_function must be a string");
    if (!lua_isfunction(L, 2))
        raise_error(L, "ERR second argument to redis.register_function must be a function");
    r->name = 1;
    r->callback = 2;
}

static struct slice string_at(lua_State *L, int index)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    return (struct slice){text, len};
}

int library_register_function(lua_State *L)
{
    struct library_load *load = lua_state_of(L)->load;
    struct registration r = {0};
    int argc = lua_gettop(L);
    if (!load)
        return raise_error(L, "ERR redis.register_function can only be called on "
                              "FUNCTION LOAD command");
    if (argc < 1 || argc > 2)
        raise_error(L, "ERR wrong number of arguments to redis.register_function");
    if (argc == 1)
        read_table(L, &r);
    else
        read_positions(L, &r);
    struct slice name = string_at(L, r.name);
    if (!is_good_name(name)) raise_error(L, ERR_NAME);
    if (is_registered(load, name)) raise_error(L, "ERR Function already exists in the library");
    lua_pushvalue(L, r.callback);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    struct slice description = r.description ? string_at(L, r.description) : (struct slice){0};
    add_function(load, name, description, r.flags, ref);
    return 0;
}

// --- loading -------------------------------------------------------------------------------------

// What the error at the top says, as a text with its code.
static const char *load_error(lua_State *L, const char *format, struct buf *error)
{
    const char *text = NULL;
    bool is_table = lua_istable(L, -1);
    if (is_table) {
        lua_pushliteral(L, "err");
        lua_rawget(L, -2);
    }
    text = lua_tostring(L, -1);
    error->len = 0;
    buf_printf(error, format, is_table ? "" : "ERR ", text ? text : "unknown error");
    lua_settop(L, LUA_STATE_TOP);
    return error->ptr;
}

const char *library_load_run(struct lua_state *st, const struct library *lib,
                             struct library_load *load, struct buf *error)
{
    lua_State *L = st->L;
    struct slice code = {lib->code.ptr + lib->code_offset, lib->code.len - lib->code_offset};
    if (sandbox_compile(L, code.ptr, code.len, "@user_function")) {
        const char *text = lua_tostring(L, -1);
        error->len = 0;
        buf_printf(error, "ERR Error compiling function: %s", text ? text : "");
        lua_settop(L, LUA_STATE_TOP);
        return error->ptr;
    }
    // The library has a table of globals of its own (which nobody can write to): it shows the load
    // functions now, and what functions may use afterwards.
    lua_state_push_load_globals(st);
    lua_pushvalue(L, -1);
    lua_setfenv(L, -3);
    lua_insert(L, -2);
    load->deadline_us = clock_mono_us() + LIBRARY_LOAD_US;
    st->load = load;
    int status = lua_state_call(st, 0, 0, 0);
    st->load = NULL;
    if (status) return load_error(L, "ERR Error registering functions: %s%s", error);
    sandbox_redirect(L, LUA_STATE_FUNCTION_GLOBALS);
    lua_pop(L, 1);
    return NULL;
}

static void take_functions(struct library *lib, struct library_load *load)
{
    lib->function_count = load->count;
    lib->functions = mem_calloc((load->count + 1) * sizeof lib->functions[0]);
    for (uint32_t i = 0; i < load->count; i++) {
        lib->functions[i] = load->items[i].function;
        load->items[i].function = (struct library_function){0};
    }
}

// NULL, or what is wrong with the first line.
static const char *read_shebang(struct slice code, const struct library_set *taken,
                                struct shebang *shebang, struct buf *error)
{
    const char *bad = shebang_read_library(code, shebang, error);
    if (bad) return bad;
    struct slice name = buf_slice(&shebang->name);
    if (!is_good_name(name)) return ERR_NAME;
    if (!taken || !library_set_find(taken, name)) return NULL;
    error->len = 0;
    buf_printf(error, "ERR Library '%.*s' already exists", SLICE_ARG(name));
    return error->ptr;
}

struct library *library_load(struct lua_state *st, struct slice code,
                             const struct library_set *taken, struct buf *error, const char **bad)
{
    struct shebang shebang;
    struct library_load load = {0};
    *bad = read_shebang(code, taken, &shebang, error);
    if (*bad) {
        buf_free(&shebang.name);
        return NULL;
    }
    struct library *lib = library_new(code, &shebang);
    buf_free(&shebang.name);
    *bad = library_load_run(st, lib, &load, error);
    if (!*bad && load.count == 0) *bad = "ERR No functions registered";
    if (!*bad) take_functions(lib, &load);
    library_load_free(&load, st->L);
    lua_state_settle(st);
    if (!*bad) return lib;
    library_unref(lib);
    return NULL;
}
