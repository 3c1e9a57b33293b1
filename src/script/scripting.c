// SPDX-License-Identifier: BSD-3-Clause
#include "script/scripting.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "script/proof.h"
#include "script/sandbox.h"

static void scripting_free(struct scripting *s)
{
    for (uint32_t i = 0; i <= s->engine->shard_count; i++) {
        struct lua_state *st = atomic_load(&s->states[i]);
        if (st) lua_state_free(st);
    }
    mem_free(s->states);
    library_registry_free(&s->libraries);
    script_cache_free(&s->cache);
    slow_list_free(&s->slow);
    if (s->checker) lua_close(s->checker);
    pthread_mutex_destroy(&s->checker_mutex);
    mem_free(s);
}

static struct scripting *scripting_new(struct engine *e)
{
    struct scripting *s = mem_calloc(sizeof *s);
    s->engine = e;
    s->states = mem_calloc((e->shard_count + 1) * sizeof s->states[0]);
    script_cache_init(&s->cache);
    library_registry_init(&s->libraries);
    slow_list_init(&s->slow);
    pthread_mutex_init(&s->checker_mutex, NULL);
    return s;
}

struct scripting *scripting_of(const struct engine *engine)
{
    struct engine *e = (struct engine *)(uintptr_t)engine;
    // Acquire, and release below: it is complete before it is found.
    struct scripting *s = atomic_load_explicit(&e->scripting, memory_order_acquire), *mine;
    if (LIKELY(s != NULL)) return s;
    mine = scripting_new(e);
    // Relaxed: all threads write the same, and it is read when they have ended.
    atomic_store_explicit(&e->scripting_free, scripting_free, memory_order_relaxed);
    if (atomic_compare_exchange_strong(&e->scripting, &s, mine)) return mine;
    scripting_free(mine);
    return s;
}

struct lua_state *scripting_state(struct engine *e, uint32_t shard)
{
    struct scripting *s = scripting_of(e);
    // Relaxed: this thread made it; release below for those who only count its memory.
    struct lua_state *st = atomic_load_explicit(&s->states[shard], memory_order_relaxed);
    if (LIKELY(st != NULL)) return st;
    st = lua_state_new(s);
    atomic_store_explicit(&s->states[shard], st, memory_order_release);
    return st;
}

struct lua_state *scripting_function_state(struct engine *e)
{
    return scripting_state(e, e->shard_count);
}

// --- checking texts ------------------------------------------------------------------------------

#define CHECKER_BYTES_MAX                                                                          \
    (64 << 20) // that the checker may take for one text; then it is not checked

static void *allocate(void *arg, void *pointer, size_t old_bytes, size_t new_bytes)
{
    (void)arg;
    (void)old_bytes;
    if (new_bytes) return pointer ? mem_realloc(pointer, new_bytes) : mem_alloc(new_bytes);
    mem_free(pointer);
    return NULL;
}

// Does the script compile?
static bool is_well_formed(struct scripting *s, const struct script *script)
{
    if (script->len > CHECKER_BYTES_MAX) return false;
    pthread_mutex_lock(&s->checker_mutex);
    if (!s->checker) s->checker = lua_newstate(allocate, NULL);
    ASSERT(s->checker);
    int status = sandbox_compile(s->checker, script->text + script->code_offset,
                                 script->len - script->code_offset, "@user_script");
    lua_settop(s->checker, 0);
    lua_gc(s->checker, LUA_GCCOLLECT, 0);
    pthread_mutex_unlock(&s->checker_mutex);
    return status == 0;
}

// The script of this text, in the cache, with a reference. NULL: it is none.
static struct script *admit(struct scripting *s, struct slice text)
{
    char sha[SCRIPT_SHA_BYTES + 1];
    struct buf error = {0};
    const char *bad;
    script_sha1(text, sha);
    struct script *script = script_cache_find(&s->cache, sha);
    if (script) return script;
    script = script_new(text, &error, &bad);
    buf_free(&error);
    if (!script) return NULL;
    if (is_well_formed(s, script)) return script_cache_add(&s->cache, script, false);
    script_unref(script);
    return NULL;
}

// --- verdicts ------------------------------------------------------------------------------------

// A word: a hash with its lowest two bits replaced. 0: empty.
enum verdict { VERDICT_NONE = 0, VERDICT_ROAMS = 2, VERDICT_STAYS = 3 };

// The hash under which a verdict on this text (or SHA1) lies, as long as no script leaves the
// cache.
static uint64_t verdict_hash(struct scripting *s, struct slice text)
{
    uint64_t generation = atomic_load_explicit(&s->cache.generation, memory_order_acquire);
    return hash_bytes(text) ^ generation * 0x9e3779b97f4a7c15; // any odd number with many bits
}

static _Atomic uint64_t *verdict_slot(struct scripting *s, uint64_t hash)
{
    return &s->verdicts[(hash >> 2) % SCRIPTING_VERDICTS];
}

static enum verdict find_verdict(struct scripting *s, uint64_t hash)
{
    // Relaxed: the word is all there is.
    uint64_t word = atomic_load_explicit(verdict_slot(s, hash), memory_order_relaxed);
    return (word | 3) == (hash | 3) ? (enum verdict)(word & 3) : VERDICT_NONE;
}

// Judges the script, and drops its reference.
static bool judge(struct scripting *s, uint64_t hash, struct script *script)
{
    bool stays = proof_stays_on_keys(s->engine->table, (struct slice){script->text, script->len});
    uint64_t word = (hash & ~(uint64_t)3) | (stays ? VERDICT_STAYS : VERDICT_ROAMS);
    atomic_store_explicit(verdict_slot(s, hash), word, memory_order_relaxed);
    script_unref(script);
    return stays;
}

bool scripting_stays_on_keys(const struct engine *e, struct slice text)
{
    struct scripting *s = scripting_of(e);
    uint64_t hash = verdict_hash(s, text);
    enum verdict verdict = find_verdict(s, hash);
    if (LIKELY(verdict)) return verdict == VERDICT_STAYS;
    struct script *script = admit(s, text);
    return !script || judge(s, hash, script);
}

bool scripting_sha_stays_on_keys(const struct engine *e, struct slice text)
{
    char sha[SCRIPT_SHA_BYTES + 1];
    struct scripting *s = scripting_of(e);
    if (!script_sha_parse(text, sha)) return true;
    uint64_t hash = verdict_hash(s, (struct slice){sha, SCRIPT_SHA_BYTES});
    enum verdict verdict = find_verdict(s, hash);
    if (LIKELY(verdict)) return verdict == VERDICT_STAYS;
    struct script *script = script_cache_find(&s->cache, sha);
    return script && judge(s, hash, script);
}

// --- figures -------------------------------------------------------------------------------------

void scripting_get_info(const struct engine *e, struct scripting_info *out)
{
    struct scripting *s = scripting_of(e);
    *out = (struct scripting_info){0};
    for (uint32_t i = 0; i <= e->shard_count; i++) {
        struct lua_state *st = atomic_load_explicit(&s->states[i], memory_order_acquire);
        if (st) out->lua_bytes += stat_get(&st->memory_bytes);
    }
    out->script_bytes = atomic_load_explicit(&s->cache.bytes, memory_order_relaxed);
    out->scripts = atomic_load_explicit(&s->cache.count, memory_order_relaxed);
    out->evicted_scripts = script_cache_evicted(&s->cache);
    struct library_set *set = library_registry_get(&s->libraries);
    out->libraries = set->count;
    out->functions = set->function_count;
    out->library_bytes = set->bytes;
    library_set_unref(set);
}
