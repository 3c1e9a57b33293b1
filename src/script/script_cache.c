// SPDX-License-Identifier: BSD-3-Clause
#include "script/script_cache.h"

#include <sha1.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

static struct slice sha_slice(const char *sha)
{
    return (struct slice){sha, SCRIPT_SHA_BYTES};
}

static uint64_t hash_script(const void *item)
{
    return hash_bytes(sha_slice(((const struct script *)item)->sha));
}

static bool has_sha(const void *item, const void *key)
{
    return memcmp(((const struct script *)item)->sha, key, SCRIPT_SHA_BYTES) == 0;
}

void script_sha1(struct slice text, char out[SCRIPT_SHA_BYTES + 1])
{
    SHA1Data((const uint8_t *)text.ptr, text.len, out);
}

bool script_sha_parse(struct slice text, char out[SCRIPT_SHA_BYTES + 1])
{
    if (text.len != SCRIPT_SHA_BYTES) return false;
    for (size_t i = 0; i < SCRIPT_SHA_BYTES; i++) {
        char c = text.ptr[i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    out[SCRIPT_SHA_BYTES] = '\0';
    return true;
}

// --- scripts -------------------------------------------------------------------------------------

struct script *script_new(struct slice text, struct buf *error, const char **bad)
{
    struct shebang shebang;
    *bad = shebang_read_script(text, &shebang, error);
    if (*bad) return NULL;
    struct script *s = mem_calloc(sizeof *s + text.len + 1);
    atomic_init(&s->refs, 1);
    atomic_init(&s->is_gone, true);
    script_sha1(text, s->sha);
    s->flags = shebang.flags;
    s->code_offset = shebang.len;
    s->len = text.len;
    memcpy(s->text, text.ptr, text.len);
    return s;
}

struct script *script_ref(struct script *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed); // the caller has one
    return s;
}

void script_unref(struct script *s)
{
    // Release, and acquire for the last: it frees after all others have read.
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) mem_free(s);
}

// --- the ring of those that may go (a clock with a second chance) --------------------------------

static void ring_add(struct script_cache *c, struct script *s)
{
    if (!c->hand) {
        s->prev = s->next = c->hand = s;
    } else { // behind all others: just before the hand
        s->next = c->hand;
        s->prev = c->hand->prev;
        s->prev->next = s->next->prev = s;
    }
    c->ring_count++;
}

static void ring_remove(struct script_cache *c, struct script *s)
{
    if (!s->next) return;
    s->prev->next = s->next;
    s->next->prev = s->prev;
    if (c->hand == s) c->hand = s->next == s ? NULL : s->next;
    s->prev = s->next = NULL;
    c->ring_count--;
}

// --- the cache -----------------------------------------------------------------------------------

void script_cache_init(struct script_cache *c)
{
    memset(c, 0, sizeof *c);
    pthread_mutex_init(&c->mutex, NULL);
    dict_init(&c->scripts, hash_script);
}

static void forget(struct script_cache *c, struct script *s)
{
    ring_remove(c, s);
    atomic_store_explicit(&s->is_gone, true, memory_order_release);
    atomic_fetch_sub_explicit(&c->bytes, sizeof *s + s->len, memory_order_relaxed);
    atomic_fetch_sub_explicit(&c->count, 1, memory_order_relaxed);
    script_unref(s);
}

static void evict_one(struct script_cache *c)
{
    // Relaxed: a use that is missed costs its client an EVAL.
    while (atomic_exchange_explicit(&c->hand->is_used, false, memory_order_relaxed))
        c->hand = c->hand->next;
    struct script *s = c->hand;
    dict_remove(&c->scripts, hash_script(s), s);
    forget(c, s);
    c->evicted++;
    atomic_fetch_add(&c->generation, 1);
}

static void clear(struct script_cache *c)
{
    uint64_t bucket = 0;
    uint32_t at = 0;
    struct script *s;
    while ((s = dict_next(&c->scripts, &bucket, &at))) forget(c, s);
    dict_free(&c->scripts);
    dict_init(&c->scripts, hash_script);
    atomic_fetch_add(&c->generation, 1);
}

void script_cache_free(struct script_cache *c)
{
    clear(c);
    dict_free(&c->scripts);
    pthread_mutex_destroy(&c->mutex);
}

static struct script *look_up(struct script_cache *c, const char *sha)
{
    return dict_find(&c->scripts, hash_bytes(sha_slice(sha)), has_sha, sha);
}

struct script *script_cache_find(struct script_cache *c, const char *sha)
{
    pthread_mutex_lock(&c->mutex);
    struct script *s = look_up(c, sha);
    if (s) script_ref(s);
    pthread_mutex_unlock(&c->mutex);
    return s;
}

static void insert(struct script_cache *c, struct script *s)
{
    dict_insert(&c->scripts, hash_script(s), script_ref(s));
    // Release: the script was made before it is found.
    atomic_store_explicit(&s->is_gone, false, memory_order_release);
    atomic_store_explicit(&s->is_used, false, memory_order_relaxed);
    s->is_kept = false;
    atomic_fetch_add_explicit(&c->bytes, sizeof *s + s->len, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->count, 1, memory_order_relaxed);
    if (c->ring_count == SCRIPT_EVAL_MAX) evict_one(c);
    ring_add(c, s);
}

struct script *script_cache_add(struct script_cache *c, struct script *s, bool is_kept)
{
    pthread_mutex_lock(&c->mutex);
    struct script *present = look_up(c, s->sha);
    if (!present) insert(c, present = s);
    if (is_kept && !present->is_kept) {
        present->is_kept = true;
        ring_remove(c, present);
    }
    script_ref(present);
    pthread_mutex_unlock(&c->mutex);
    script_unref(s);
    return present;
}

void script_cache_flush(struct script_cache *c)
{
    pthread_mutex_lock(&c->mutex);
    clear(c);
    pthread_mutex_unlock(&c->mutex);
}

uint64_t script_cache_evicted(struct script_cache *c)
{
    pthread_mutex_lock(&c->mutex);
    uint64_t n = c->evicted;
    pthread_mutex_unlock(&c->mutex);
    return n;
}
