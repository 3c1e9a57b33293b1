// SPDX-License-Identifier: BSD-3-Clause
#include "ds/names.h"

#include "base/hash.h"
#include "base/mem.h"

static uint64_t hash_of(const void *item)
{
    return hash_bytes(name_bytes(item));
}

static bool matches(const void *item, const void *key)
{
    return slice_eq(name_bytes(item), *(const struct slice *)key);
}

void names_init(struct names *n, uint32_t data_bytes)
{
    *n = (struct names){.data_bytes = data_bytes};
    dict_init(&n->index, hash_of);
}

void names_free(struct names *n)
{
    for (struct name *name = n->first, *next; name; name = next) {
        next = name->next;
        mem_free(name);
    }
    dict_free(&n->index);
    n->first = n->last = NULL;
}

struct name *names_find(const struct names *n, struct slice bytes)
{
    if (!n->index.count) return NULL;
    return dict_find(&n->index, hash_bytes(bytes), matches, &bytes);
}

struct name *names_add(struct names *n, struct slice bytes)
{
    struct name *name = mem_alloc(sizeof *name + n->data_bytes + bytes.len);
    *name = (struct name){
        .prev = n->last, .len = (uint32_t)bytes.len, .at = (uint32_t)sizeof *name + n->data_bytes};
    memset(name->data, 0, n->data_bytes);
    if (bytes.len) memcpy((char *)name + name->at, bytes.ptr, bytes.len);
    if (n->last)
        n->last->next = name;
    else
        n->first = name;
    n->last = name;
    dict_insert(&n->index, hash_bytes(bytes), name);
    return name;
}

void names_remove(struct names *n, struct name *name)
{
    bool is_there = dict_remove(&n->index, hash_of(name), name);
    ASSERT(is_there);
    if (name->prev)
        name->prev->next = name->next;
    else
        n->first = name->next;
    if (name->next)
        name->next->prev = name->prev;
    else
        n->last = name->prev;
    mem_free(name);
}

void names_validate(const struct names *n)
{
    uint64_t count = 0;
    const struct name *before = NULL;
    for (const struct name *name = n->first; name; name = name->next) {
        ASSERT(name->prev == before);
        ASSERT(name->at == sizeof *name + n->data_bytes);
        ASSERT(names_find(n, name_bytes(name)) == name);
        before = name;
        count++;
    }
    ASSERT(n->last == before);
    ASSERT(n->index.count == count);
    dict_validate(&n->index);
}
