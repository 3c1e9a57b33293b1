// SPDX-License-Identifier: BSD-3-Clause
#include "types/hash_item.h"

#include "base/assert.h"
#include "base/mem.h"

// Items take all that the allocator gives for their size, so that another value may use it.
static void *item_alloc(size_t bytes)
{
    return mem_alloc(mem_good_bytes(bytes));
}

static unsigned log_bytes_of(uint64_t length)
{
    return length <= UINT8_MAX ? 0 : length <= UINT16_MAX ? 1 : length <= UINT32_MAX ? 2 : 3;
}

static unsigned char *put_length(unsigned char *p, uint64_t length, unsigned log_bytes)
{
    uint16_t u16 = (uint16_t)length;
    uint32_t u32 = (uint32_t)length;
    switch (log_bytes) {
    case 0: *p = (unsigned char)length; break;
    case 1: memcpy(p, &u16, 2); break;
    case 2: memcpy(p, &u32, 4); break;
    default: memcpy(p, &length, 8); break;
    }
    return p + (1u << log_bytes);
}

struct hash_item *hash_item_new(struct slice field, struct slice value, bool has_place)
{
    unsigned field_log = log_bytes_of(field.len), value_log = log_bytes_of(value.len);
    unsigned kind = field_log | value_log << 2 | (has_place ? HASH_ITEM_HAS_PLACE : 0);
    size_t before = hash_item_lengths_bytes(kind) + (has_place ? HASH_ITEM_PLACE_BYTES : 0);
    unsigned char *item = item_alloc(before + field.len + value.len), *p = item;
    *p++ = (unsigned char)kind;
    p = put_length(p, field.len, field_log);
    put_length(p, value.len, value_log);
    memcpy(item + before, field.ptr, field.len);
    memcpy(item + before + field.len, value.ptr, value.len);
    return (struct hash_item *)item;
}

struct hash_item *hash_item_copy(const struct hash_item *i)
{
    size_t bytes = hash_item_bytes(i);
    return memcpy(item_alloc(bytes), i, bytes);
}

bool hash_item_overwrite(struct hash_item *i, struct slice value)
{
    unsigned kind = hash_item_kind(i);
    struct slice old = hash_item_value(i);
    if (old.len != value.len) {
        size_t before = (size_t)(old.ptr - (const char *)i);
        if (log_bytes_of(value.len) != (kind >> 2 & 3)) return false;
        if (mem_good_bytes(before + old.len) != mem_good_bytes(before + value.len)) return false;
        put_length((unsigned char *)i + 1 + (1u << (kind & 3)), value.len, kind >> 2 & 3);
    }
    memcpy((char *)i + (old.ptr - (const char *)i), value.ptr, value.len);
    return true;
}
