// SPDX-License-Identifier: BSD-3-Clause
#include "types/value.h"

#include "base/assert.h"
#include "base/hash.h"
#include "types/hash.h"
#include "types/list.h"
#include "types/set.h"
#include "types/stream.h"
#include "types/zset.h"

struct operations {
    void (*free)(struct value v);
    struct value (*copy)(struct value v);
    size_t (*memory_bytes)(struct value v);
    uint64_t (*parts)(struct value v);
    bool (*drain)(struct value *v, uint32_t budget);
    void (*validate)(struct value v);
};

#define OPERATIONS(type)                                                                           \
    {                                                                                              \
        type##_free, type##_copy, type##_memory_bytes, type##_parts, type##_drain, type##_validate \
    }

static const struct operations operations[] = {
    [TYPE_LIST] = OPERATIONS(list),     [TYPE_SET] = OPERATIONS(set),
    [TYPE_ZSET] = OPERATIONS(zset),     [TYPE_HASH] = OPERATIONS(hash),
    [TYPE_STREAM] = OPERATIONS(stream),
};

static const struct operations *of(enum object_type type)
{
    ASSERT(type > TYPE_STRING && type <= TYPE_STREAM);
    return &operations[type];
}

void value_free(enum object_type type, struct value v)
{
    of(type)->free(v);
}

struct value value_copy(enum object_type type, struct value v)
{
    return of(type)->copy(v);
}

size_t value_memory_bytes(enum object_type type, struct value v)
{
    return of(type)->memory_bytes(v);
}

uint64_t value_parts(enum object_type type, struct value v)
{
    return of(type)->parts(v);
}

bool value_drain(enum object_type type, struct value *v, uint32_t budget)
{
    return of(type)->drain(v, budget);
}

void value_validate(enum object_type type, struct value v)
{
    of(type)->validate(v);
}

uint64_t value_member_hash(enum object_type type, struct slice member)
{
    return type == TYPE_SET ? set_member_hash(member) : hash_bytes(member);
}

const char *object_type_name(enum object_type type)
{
    static const char *const names[] = {"string", "list", "set", "zset", "hash", "stream"};
    return names[type];
}

const char *object_encoding_name(enum object_encoding enc)
{
    static const char *const names[] = {"raw",      "int",       "embstr",    "hashtable",
                                        "listpack", "intset",    "quicklist", "skiplist",
                                        "stream",   "listpackex"};
    return names[enc];
}
