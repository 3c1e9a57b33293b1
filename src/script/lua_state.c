// SPDX-License-Identifier: BSD-3-Clause
//
// Which Lua? Debian has PUC Lua 5.1 and LuaJIT. Measured on one core of the build machine, through
// the C interface as it is used here, LuaJIT with its compiler off (compiled loops run no hooks, so
// an endless one could not be interrupted):
//
//                                                  PUC 5.1          LuaJIT, interpreter
//     one key: KEYS and ARGV set, one C call       300 .. 500 ns    130 .. 200 ns
//     a loop, per iteration                        7.1 ns           6.5 ns
//     a string and a table element made            950 .. 1030 ns   360 ns
//
// PUC it is, all the same. It is the Lua that scripts were written for: the same messages, the same
// limits (an argument list of 8000, patterns), the same order of pairs, and every script's loop can
// be interrupted at no cost that could be measured. And what it costs is not much of the whole: an
// EVAL of one GET takes some 700 ns with its reply, less than half of what Redis takes.
#include "script/lua_state.h"

#include <lauxlib.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "engine/engine.h"
#include "script/convert.h"
#include "script/redis_api.h"
#include "script/sandbox.h"
#include "script/scripting.h"

#define ERR_KILLED       "ERR Script killed by user with SCRIPT KILL..."
#define ERR_LOAD_TIMEOUT "ERR FUNCTION LOAD timeout"

#define GARBAGE_BYTES_MAX (4 << 20) // that a script may leave behind before it is collected at once

// --- memory --------------------------------------------------------------------------------------

static void *allocate(void *arg, void *pointer, size_t old_bytes, size_t new_bytes)
{
    struct lua_state *st = arg;
    return lua_memory_change(&st->memory, pointer, old_bytes, new_bytes);
}

// A collection halves the buffer in which Lua joins strings, so that one is not always enough.
static void collect(struct lua_state *st)
{
    enum { ROUNDS = 12 };
    size_t before;
    int round = 0;
    do {
        before = st->memory.used_bytes;
        lua_gc(st->L, LUA_GCCOLLECT, 0);
    } while (++round < ROUNDS && before - st->memory.used_bytes > GARBAGE_BYTES_MAX / 8);
    st->settled_bytes = st->memory.used_bytes;
}

void lua_state_settle(struct lua_state *st)
{
    size_t used = st->memory.used_bytes;
    size_t garbage = used > st->settled_bytes ? used - st->settled_bytes : 0;
    if (UNLIKELY(garbage > GARBAGE_BYTES_MAX && garbage > st->settled_bytes)) collect(st);
    stat_set(&st->memory_bytes, st->memory.used_bytes);
}

// --- hooks ---------------------------------------------------------------------------------------

static void look(lua_State *L, lua_Debug *ar);

// From now on the hook comes before every instruction of this thread of Lua's (others have their
// own, and come here in their turn), so a pcall gets nowhere.
static int raise_final(lua_State *L, const char *text)
{
    lua_sethook(L, look, LUA_MASKCOUNT, 1);
    convert_push_error(L, text, strlen(text));
    return lua_error(L);
}

int lua_state_raise_kill(lua_State *L)
{
    return raise_final(L, ERR_KILLED);
}

static void look(lua_State *L, lua_Debug *ar)
{
    struct lua_state *st = lua_state_of(L);
    (void)ar;
    if (st->load) {
        if (clock_mono_us() > st->load->deadline_us) raise_final(L, ERR_LOAD_TIMEOUT);
    } else if (st->running.ctx && !running_look(&st->running)) {
        raise_final(L, ERR_KILLED);
    }
}

int lua_state_call(struct lua_state *st, int argc, int results, int handler)
{
    lua_State *L = st->L;
    if (UNLIKELY(lua_gethookcount(L) != RUNNING_HOOK_COUNT))
        lua_sethook(L, look, LUA_MASKCOUNT, RUNNING_HOOK_COUNT);
    st->memory.is_unlimited = false;
    int status = lua_pcall(L, argc, results, handler);
    st->memory.is_unlimited = true;
    return status;
}

// --- the state -----------------------------------------------------------------------------------

// Says where an error came from: {err =, source =, line =}. Runs where it was raised.
static int handle_error(lua_State *L)
{
    lua_Debug ar;
    bool has_place = lua_getstack(L, 1, &ar) && lua_getinfo(L, "Sl", &ar);
    if (has_place && *ar.what == 'C')
        has_place = lua_getstack(L, 2, &ar) && lua_getinfo(L, "Sl", &ar);
    if (!lua_istable(L, 1)) {
        lua_createtable(L, 0, 3);
        lua_pushliteral(L, "ERR ");
        if (lua_isstring(L, 1))
            lua_pushvalue(L, 1);
        else if (lua_isboolean(L, 1))
            lua_pushstring(L, lua_toboolean(L, 1) ? "true" : "false");
        else
            lua_pushstring(L, luaL_typename(L, 1));
        lua_concat(L, 2);
        lua_setfield(L, -2, "err");
        lua_replace(L, 1);
    } else if (sandbox_push_real(L, 1)) {
        lua_pop(L, 1); // a stand-in cannot be written to
        has_place = false;
    }
    lua_settop(L, 1);
    if (!has_place) return 1;
    lua_pushliteral(L, "source");
    lua_pushstring(L, ar.source);
    lua_rawset(L, 1);
    lua_pushliteral(L, "line");
    lua_pushinteger(L, ar.currentline);
    lua_rawset(L, 1);
    return 1;
}

static void set_redis(lua_State *L, int globals, enum redis_api_kind kind)
{
    redis_api_push(L, kind);
    if (kind == API_LOAD) sandbox_make_strict(L);
    sandbox_protect(L);
    lua_setfield(L, globals, "redis");
}

// Makes the table at `globals` strict, and its own _G; leaves the stand-in on the stack.
static void finish_globals(lua_State *L, int globals)
{
    lua_pushvalue(L, globals);
    sandbox_make_strict(L);
    sandbox_protect_globals(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, globals, "_G");
}

static void copy_table(lua_State *L, int from)
{
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, from)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
}

static void open_lua(struct lua_state *st)
{
    lua_State *L = st->L;
    struct sandbox_options options = {.is_cjson_changed = &st->is_cjson_changed};
    random_secret(&options.seed, sizeof options.seed);
    lua_pushcfunction(L, handle_error);
    sandbox_open(L, &options);
    copy_table(L, LUA_STATE_GLOBALS);
    lua_newtable(L);
    lua_pushliteral(L, "KEYS");
    lua_pushliteral(L, "ARGV");
    ASSERT(lua_gettop(L) == LUA_STATE_TOP);
    set_redis(L, LUA_STATE_GLOBALS, API_SCRIPT);
    set_redis(L, LUA_STATE_FUNCTION_GLOBALS, API_FUNCTION);
    set_redis(L, LUA_STATE_LOAD_GLOBALS, API_LOAD);
    lua_pushvalue(L, LUA_STATE_LOAD_GLOBALS);
    sandbox_make_strict(L);
    lua_pop(L, 1);
    finish_globals(L, LUA_STATE_FUNCTION_GLOBALS);
    lua_pop(L, 1);
    finish_globals(L, LUA_STATE_GLOBALS);
    lua_replace(L, LUA_GLOBALSINDEX);
}

void lua_state_push_load_globals(struct lua_state *st)
{
    lua_pushvalue(st->L, LUA_STATE_LOAD_GLOBALS);
    sandbox_protect_globals(st->L);
}

static struct slice sha_slice(const char *sha)
{
    return (struct slice){sha, SCRIPT_SHA_BYTES};
}

static uint64_t hash_compiled(const void *item)
{
    return hash_bytes(sha_slice(((const struct compiled *)item)->script->sha));
}

static bool has_sha(const void *item, const void *key)
{
    return memcmp(((const struct compiled *)item)->script->sha, key, SCRIPT_SHA_BYTES) == 0;
}

struct lua_state *lua_state_new(struct scripting *scripting)
{
    struct lua_state *st = mem_calloc(sizeof *st);
    st->scripting = scripting;
    lua_memory_init(&st->memory, LUA_STATE_BYTES_MAX);
    st->running.slow = &scripting->slow;
    reply_init(&st->reply, 2);
    dict_init(&st->scripts, hash_compiled);
    library_call_init(&st->libraries);
    st->L = lua_newstate(allocate, st);
    ASSERT(st->L);
    open_lua(st);
    lua_gc(st->L, LUA_GCCOLLECT, 0);
    st->settled_bytes = st->memory.used_bytes;
    return st;
}

void lua_state_free(struct lua_state *st)
{
    uint64_t bucket = 0;
    uint32_t at = 0;
    struct compiled *c;
    lua_close(st->L);
    lua_memory_free(&st->memory);
    library_call_free(&st->libraries);
    while ((c = dict_next(&st->scripts, &bucket, &at))) {
        script_unref(c->script);
        mem_free(c);
    }
    dict_free(&st->scripts);
    reply_free(&st->reply);
    mem_free(st->flat);
    mem_free(st->argv);
    mem_free(st->numbers);
    mem_free(st);
}

// --- compiled scripts ----------------------------------------------------------------------------

static void drop(struct lua_state *st, struct compiled *c)
{
    luaL_unref(st->L, LUA_REGISTRYINDEX, c->ref);
    dict_remove(&st->scripts, hash_compiled(c), c);
    script_unref(c->script);
    mem_free(c);
}

// Forgets what has left the cache, some at a time: the table must not change while it is walked.
static void sweep(struct lua_state *st, uint64_t generation)
{
    enum { BATCH = 64 };
    struct compiled *gone[BATCH], *c;
    uint32_t count;
    memset(st->texts, 0, sizeof st->texts);
    do {
        uint64_t bucket = 0;
        uint32_t at = 0;
        count = 0;
        while (count < BATCH && (c = dict_next(&st->scripts, &bucket, &at)))
            if (atomic_load_explicit(&c->script->is_gone, memory_order_acquire)) gone[count++] = c;
        for (uint32_t i = 0; i < count; i++) drop(st, gone[i]);
    } while (count == BATCH);
    st->cache_generation = generation;
}

static void follow_cache(struct lua_state *st)
{
    uint64_t generation =
        atomic_load_explicit(&st->scripting->cache.generation, memory_order_acquire);
    if (UNLIKELY(generation != st->cache_generation)) sweep(st, generation);
}

static struct compiled *find(struct lua_state *st, const char *sha)
{
    return dict_find(&st->scripts, hash_bytes(sha_slice(sha)), has_sha, sha);
}

// Leaves the function on Lua's stack; false: the error has been replied.
static bool compile(struct lua_state *st, const struct script *script, struct reply *reply)
{
    lua_State *L = st->L;
    const char *code = script->text + script->code_offset;
    if (sandbox_compile(L, code, script->len - script->code_offset, "@user_script") == 0)
        return true;
    const char *text = lua_tostring(L, -1);
    reply_errorf(reply, "ERR Error compiling script (new function): %s", text ? text : "");
    lua_settop(L, LUA_STATE_TOP);
    return false;
}

// The function is on Lua's stack. Consumes the reference to the script.
static struct compiled *keep(struct lua_state *st, struct script *script)
{
    struct compiled *c = mem_alloc(sizeof *c);
    *c = (struct compiled){script, luaL_ref(st->L, LUA_REGISTRYINDEX)};
    dict_insert(&st->scripts, hash_compiled(c), c);
    return c;
}

// A text that this shard does not know.
static struct compiled *learn(struct lua_state *st, struct slice text, const char *sha,
                              struct reply *reply)
{
    struct script_cache *cache = &st->scripting->cache;
    struct script *script = script_cache_find(cache, sha);
    if (!script) {
        struct buf error = {0};
        const char *bad;
        script = script_new(text, &error, &bad);
        if (!script) reply_error(reply, bad);
        buf_free(&error);
        if (!script) return NULL;
    }
    if (!compile(st, script, reply)) {
        script_unref(script);
        return NULL;
    }
    return keep(st, script_cache_add(cache, script, false));
}

static void note_use(struct script *script)
{
    // Relaxed: a hint. Written only when it changes, so that the line stays shared.
    if (UNLIKELY(!atomic_load_explicit(&script->is_used, memory_order_relaxed)))
        atomic_store_explicit(&script->is_used, true, memory_order_relaxed);
}

struct compiled *lua_state_of_text(struct lua_state *st, struct slice text, bool is_kept,
                                   struct reply *reply)
{
    follow_cache(st);
    struct compiled **place = &st->texts[hash_bytes(text) % LUA_STATE_TEXTS], *c = *place;
    if (!c || !slice_eq(text, (struct slice){c->script->text, c->script->len})) {
        char sha[SCRIPT_SHA_BYTES + 1];
        script_sha1(text, sha);
        c = find(st, sha);
        if (!c) c = learn(st, text, sha, reply);
        if (!c) return NULL;
        *place = c;
        follow_cache(st); // a script had to go for it: perhaps one of this shard's
        c = find(st, sha);
        *place = c;
        if (!c) return lua_state_of_text(st, text, is_kept, reply);
    }
    if (is_kept) script_unref(script_cache_add(&st->scripting->cache, script_ref(c->script), true));
    note_use(c->script);
    return c;
}

struct compiled *lua_state_of_sha(struct lua_state *st, const char *sha)
{
    follow_cache(st);
    struct compiled *c = find(st, sha);
    if (UNLIKELY(!c)) {
        struct reply unread;
        struct script *script = script_cache_find(&st->scripting->cache, sha);
        if (!script) return NULL;
        reply_init(&unread, 2);
        bool is_compiled = compile(st, script, &unread);
        reply_free(&unread);
        if (!is_compiled) { // it was elsewhere: no memory
            script_unref(script);
            return NULL;
        }
        c = keep(st, script);
    }
    note_use(c->script);
    return c;
}

// --- running -------------------------------------------------------------------------------------

static void push_strings(lua_State *L, const struct slice *strings, int count)
{
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushlstring(L, strings[i].ptr, strings[i].len);
        lua_rawseti(L, -2, i + 1);
    }
}

// name: where it lies on the stack.
static void set_global(lua_State *L, int name, const struct slice *strings, int count)
{
    lua_pushvalue(L, name);
    push_strings(L, strings, count);
    lua_rawset(L, LUA_STATE_GLOBALS);
}

// A field of the table at the top; NULL: it is no string (or number).
static const char *push_field(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    return lua_tostring(L, -1);
}

// The error at the top, which the handler has completed (unless memory was short).
static void reply_failure(lua_State *L, struct reply *reply, const char *name)
{
    struct buf text = {0};
    bool is_table = lua_istable(L, -1), is_counted = false;
    if (is_table) {
        const char *error = push_field(L, "err");
        buf_printf(&text, "%s script: %s", error ? error : "ERR unknown error", name);
        lua_pop(L, 1);
        const char *source = push_field(L, "source");
        if (source) buf_printf(&text, ", on %s:", source);
        lua_pop(L, 1);
        const char *line = push_field(L, "line");
        if (source) buf_printf(&text, "%s.", line ? line : "?");
        lua_pop(L, 1);
        push_field(L, "ignore_error_stats_update");
        is_counted = lua_toboolean(L, -1);
    } else {
        const char *error = lua_tostring(L, -1);
        buf_printf(&text, "ERR %s script: %s", error ? error : "unknown error", name);
    }
    reply_error(reply, text.ptr);
    if (is_counted) *reply->error_code = '\0';
    buf_free(&text);
}

static bool may_write(void *running)
{
    return running_may_write(running);
}

// What scripts may change of what all see.
static void clean_up(struct lua_state *st)
{
    lua_settop(st->L, LUA_STATE_TOP);
    if (UNLIKELY(st->is_cjson_changed)) {
        sandbox_renew_cjson(st->L, LUA_STATE_FUNCTION_GLOBALS, &st->is_cjson_changed);
        sandbox_renew_cjson(st->L, LUA_STATE_GLOBALS, &st->is_cjson_changed);
    }
    if (UNLIKELY(st->flat != NULL)) {
        mem_free(st->flat);
        st->flat = NULL;
    }
    reply_clear(&st->reply);
    lua_state_settle(st);
}

void lua_state_run(struct lua_state *st, struct ctx *ctx, const struct run_request *request,
                   int ref)
{
    lua_State *L = st->L;
    ASSERT(!st->running.ctx && lua_gettop(L) == LUA_STATE_TOP);
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    if (request->is_function) {
        push_strings(L, request->keys, request->key_count);
        push_strings(L, request->args, request->arg_count);
    } else {
        set_global(L, LUA_STATE_KEYS, request->keys, request->key_count);
        set_global(L, LUA_STATE_ARGV, request->args, request->arg_count);
    }

    st->resp = 2;
    call_begin(&st->scope, ctx, &st->reply, request->flags);
    st->scope.before_write = may_write;
    st->scope.arg = &st->running;
    running_begin(&st->running, ctx, request->name, request->is_function);
    int status = lua_state_call(st, request->is_function ? 2 : 0, 1, LUA_STATE_HANDLER);
    running_end(&st->running);

    if (UNLIKELY(status))
        reply_failure(L, ctx->reply, request->name);
    else if (UNLIKELY(convert_write_value(L, ctx->reply, st->resp)))
        *ctx->reply->error_code = '\0';
    clean_up(st);
}
