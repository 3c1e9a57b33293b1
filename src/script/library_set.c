// SPDX-License-Identifier: BSD-3-Clause
#include "script/library_set.h"

#include "base/assert.h"
#include "base/mem.h"

// --- sets ----------------------------------------------------------------------------------------

static struct library_set *set_new(uint32_t room)
{
    struct library_set *set = mem_calloc(sizeof *set + (size_t)room * sizeof(set->libraries[0]));
    atomic_init(&set->refs, 1);
    return set;
}

static void set_add(struct library_set *set, struct library *lib)
{
    set->libraries[set->count++] = library_ref(lib);
    set->function_count += lib->function_count;
    set->bytes += sizeof *lib + lib->code.len;
}

void library_set_unref(struct library_set *set)
{
    // Release, and acquire for the last: it frees after all others have read.
    if (atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1) return;
    for (uint32_t i = 0; i < set->count; i++) library_unref(set->libraries[i]);
    mem_free(set);
}

struct library *library_set_find(const struct library_set *set, struct slice name)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (slice_eq(slice_of(set->libraries[i]->name), name)) return set->libraries[i];
    return NULL;
}

const struct library_function *library_set_find_function(const struct library_set *set,
                                                         struct slice name)
{
    for (uint32_t i = 0; i < set->count; i++)
        for (uint32_t j = 0; j < set->libraries[i]->function_count; j++)
            if (slice_is(name, set->libraries[i]->functions[j].name))
                return &set->libraries[i]->functions[j];
    return NULL;
}

// --- the registry --------------------------------------------------------------------------------

void library_registry_init(struct library_registry *r)
{
    pthread_mutex_init(&r->mutex, NULL);
    r->current = set_new(0);
    atomic_init(&r->version, 0);
}

void library_registry_free(struct library_registry *r)
{
    library_set_unref(r->current);
    pthread_mutex_destroy(&r->mutex);
}

struct library_set *library_registry_get(struct library_registry *r)
{
    pthread_mutex_lock(&r->mutex);
    struct library_set *set = r->current;
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&r->mutex);
    return set;
}

// Makes it the current set; the mutex is held.
static void publish(struct library_registry *r, struct library_set *set)
{
    set->version = r->current->version + 1;
    library_set_unref(r->current);
    r->current = set;
    // Release: whoever sees the version finds the set (behind the mutex, anyway).
    atomic_store_explicit(&r->version, set->version, memory_order_release);
}

static bool is_among(struct library *const *libraries, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(libraries[i]->name, name) == 0) return true;
    return false;
}

static const char *error_of(struct buf *error, const char *format, const char *name)
{
    error->len = 0;
    buf_printf(error, format, name);
    return error->ptr;
}

// Adds the libraries to `next`, unless a name is taken.
static const char *join(struct library_set *next, struct library *const *libraries, uint32_t count,
                        struct buf *error)
{
    for (uint32_t i = 0; i < count; i++)
        if (library_set_find(next, slice_of(libraries[i]->name)))
            return error_of(error, "ERR Library %s already exists", libraries[i]->name);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < libraries[i]->function_count; j++)
            if (library_set_find_function(next, slice_of(libraries[i]->functions[j].name)))
                return error_of(error, "ERR Function %s already exists",
                                libraries[i]->functions[j].name);
        set_add(next, libraries[i]);
    }
    return NULL;
}

const char *library_registry_add(struct library_registry *r, struct library *const *libraries,
                                 uint32_t count, enum library_policy policy, struct buf *error)
{
    pthread_mutex_lock(&r->mutex);
    const struct library_set *now = r->current;
    struct library_set *next = set_new(now->count + count);
    for (uint32_t i = 0; i < now->count && policy != LIBRARY_FLUSH; i++)
        if (policy == LIBRARY_APPEND || !is_among(libraries, count, now->libraries[i]->name))
            set_add(next, now->libraries[i]);
    const char *bad = join(next, libraries, count, error);
    if (bad)
        library_set_unref(next);
    else
        publish(r, next);
    pthread_mutex_unlock(&r->mutex);
    return bad;
}

bool library_registry_delete(struct library_registry *r, struct slice name)
{
    pthread_mutex_lock(&r->mutex);
    const struct library_set *now = r->current;
    struct library *gone = library_set_find(now, name);
    if (gone) {
        struct library_set *next = set_new(now->count);
        for (uint32_t i = 0; i < now->count; i++)
            if (now->libraries[i] != gone) set_add(next, now->libraries[i]);
        publish(r, next);
    }
    pthread_mutex_unlock(&r->mutex);
    return gone != NULL;
}

void library_registry_flush(struct library_registry *r)
{
    pthread_mutex_lock(&r->mutex);
    publish(r, set_new(0));
    pthread_mutex_unlock(&r->mutex);
}
