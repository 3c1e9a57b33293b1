// SPDX-License-Identifier: BSD-3-Clause
#include "script/library_call.h"

#include <lauxlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "script/lua_state.h"
#include "script/scripting.h"

#define NAME_HASH_MAX 64 // bytes of a name that its hash looks at

// Names are found in any case.
static uint64_t hash_name(struct slice name)
{
    char lower[NAME_HASH_MAX];
    size_t len = MIN(name.len, sizeof lower);
    for (size_t i = 0; i < len; i++) lower[i] = (char)(name.ptr[i] | 0x20);
    return hash_bytes((struct slice){lower, len});
}

static uint64_t hash_function(const void *item)
{
    return hash_name(slice_of(((const struct loaded_function *)item)->function->name));
}

static bool has_name(const void *item, const void *key)
{
    return slice_is(*(const struct slice *)key,
                    ((const struct loaded_function *)item)->function->name);
}

void library_call_init(struct loaded_libraries *l)
{
    l->set = NULL;
    dict_init(&l->functions, hash_function);
}

void library_call_free(struct loaded_libraries *l)
{
    uint64_t bucket = 0;
    uint32_t at = 0;
    struct loaded_function *f;
    while ((f = dict_next(&l->functions, &bucket, &at))) {
        library_unref(f->library);
        mem_free(f);
    }
    dict_free(&l->functions);
    if (l->set) library_set_unref(l->set);
}

static struct loaded_function *find(const struct loaded_libraries *l, struct slice name)
{
    return dict_find(&l->functions, hash_name(name), has_name, &name);
}

static void drop(struct lua_state *st, struct loaded_function *f)
{
    luaL_unref(st->L, LUA_REGISTRYINDEX, f->ref);
    dict_remove(&st->libraries.functions, hash_function(f), f);
    library_unref(f->library);
    mem_free(f);
}

static void drop_library(struct lua_state *st, const struct library *lib)
{
    for (uint32_t i = 0; i < lib->function_count; i++) {
        struct loaded_function *f = find(&st->libraries, slice_of(lib->functions[i].name));
        if (f && f->library == lib) drop(st, f);
    }
}

static const struct library_function *function_of(const struct library *lib, const char *name)
{
    for (uint32_t i = 0; i < lib->function_count; i++)
        if (strcmp(lib->functions[i].name, name) == 0) return &lib->functions[i];
    return NULL;
}

static void keep(struct lua_state *st, struct library *lib, struct load_item *item)
{
    const struct library_function *function = function_of(lib, item->function.name);
    if (!function || find(&st->libraries, slice_of(function->name))) return;
    struct loaded_function *f = mem_alloc(sizeof *f);
    *f = (struct loaded_function){function, library_ref(lib), item->ref};
    item->ref = LUA_NOREF;
    dict_insert(&st->libraries.functions, hash_function(f), f);
}

static void load_library(struct lua_state *st, struct library *lib)
{
    struct library_load load = {0};
    struct buf error = {0};
    const char *bad = library_load_run(st, lib, &load, &error);
    // It went well where it was loaded first; here there may be no memory left.
    if (bad) log_write(LOG_WARNING, "Library '%s' was not loaded: %s", lib->name, bad);
    for (uint32_t i = 0; i < load.count && !bad; i++) keep(st, lib, &load.items[i]);
    library_load_free(&load, st->L);
    buf_free(&error);
}

static bool has_library(const struct library_set *set, const struct library *lib)
{
    for (uint32_t i = 0; set && i < set->count; i++)
        if (set->libraries[i] == lib) return true;
    return false;
}

static void catch_up(struct lua_state *st)
{
    struct library_set *old = st->libraries.set;
    struct library_set *now = library_registry_get(&st->scripting->libraries);
    for (uint32_t i = 0; old && i < old->count; i++)
        if (!has_library(now, old->libraries[i])) drop_library(st, old->libraries[i]);
    for (uint32_t i = 0; i < now->count; i++)
        if (!has_library(old, now->libraries[i])) load_library(st, now->libraries[i]);
    st->libraries.set = now;
    if (old) library_set_unref(old);
    lua_state_settle(st);
}

const struct loaded_function *library_call_find(struct lua_state *st, struct slice name)
{
    // Acquire: pairs with the release that published the version.
    uint64_t version =
        atomic_load_explicit(&st->scripting->libraries.version, memory_order_acquire);
    if (UNLIKELY(!st->libraries.set || st->libraries.set->version != version)) catch_up(st);
    return find(&st->libraries, name);
}
