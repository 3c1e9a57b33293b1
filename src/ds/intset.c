// SPDX-License-Identifier: BSD-3-Clause
//
// The bytes are drawn in intset.h. Everything is a binary search and a memmove; integers are read
// and written through memcpy in little endian, so that neither alignment nor the machine matters.
#include "ds/intset.h"

#include <endian.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

struct intset {
    uint32_t width_le, count_le;
    unsigned char data[];
};

static inline uint32_t width_of(const struct intset *s)
{
    return le32toh(s->width_le);
}

static inline void set_count(struct intset *s, uint32_t count)
{
    s->count_le = htole32(count);
}

static uint32_t width_for(int64_t integer)
{
    if (integer == (int16_t)integer) return 2;
    return integer == (int32_t)integer ? 4 : 8;
}

static size_t bytes_for(uint32_t width, uint32_t count)
{
    return sizeof(struct intset) + (size_t)width * count;
}

static inline int64_t read_at(const unsigned char *data, uint32_t width, uint32_t index)
{
    const unsigned char *p = data + (size_t)width * index;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    switch (width) {
    case 2: memcpy(&u16, p, 2); return (int16_t)le16toh(u16);
    case 4: memcpy(&u32, p, 4); return (int32_t)le32toh(u32);
    default: memcpy(&u64, p, 8); return (int64_t)le64toh(u64);
    }
}

static inline void write_at(unsigned char *data, uint32_t width, uint32_t index, int64_t integer)
{
    uint64_t u64 = htole64((uint64_t)integer); // its first bytes are the narrower forms
    memcpy(data + (size_t)width * index, &u64, width);
}

struct intset *intset_new(void)
{
    struct intset *s = mem_alloc(bytes_for(2, 4)); // what the allocator's smallest piece holds
    s->width_le = htole32(2);
    set_count(s, 0);
    return s;
}

struct intset *intset_from_bytes(const void *bytes, size_t len)
{
    struct intset *s = mem_alloc(len);
    memcpy(s, bytes, len);
    return s;
}

struct intset *intset_copy(const struct intset *s)
{
    return intset_from_bytes(s, intset_bytes(s));
}

uint32_t intset_count(const struct intset *s)
{
    return le32toh(s->count_le);
}

size_t intset_bytes(const struct intset *s)
{
    return bytes_for(width_of(s), intset_count(s));
}

int64_t intset_at(const struct intset *s, uint32_t index)
{
    ASSERT_SLOW(index < intset_count(s));
    return read_at(s->data, width_of(s), index);
}

bool intset_find(const struct intset *s, int64_t integer, uint32_t *index)
{
    uint32_t low = 0, high = intset_count(s), width = width_of(s);
    // Integers often come in ascending order: look at the end first.
    if (high && integer > read_at(s->data, width, high - 1)) low = high;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (read_at(s->data, width, middle) < integer)
            low = middle + 1;
        else
            high = middle;
    }
    *index = low;
    return low < intset_count(s) && read_at(s->data, width, low) == integer;
}

bool intset_has(const struct intset *s, int64_t integer)
{
    uint32_t index;
    return width_for(integer) <= width_of(s) && intset_find(s, integer, &index);
}

static struct intset *widen(struct intset *s, uint32_t width)
{
    uint32_t count = intset_count(s), from = width_of(s);
    s = mem_realloc(s, bytes_for(width, count));
    for (uint32_t i = count; i-- > 0;) write_at(s->data, width, i, read_at(s->data, from, i));
    s->width_le = htole32(width);
    return s;
}

struct intset *intset_add(struct intset *s, int64_t integer, bool *is_new)
{
    uint32_t index, count = intset_count(s), width = width_for(integer);
    if (width > width_of(s)) s = widen(s, width);
    width = width_of(s);
    *is_new = !intset_find(s, integer, &index);
    if (!*is_new) return s;
    ASSERT(count < UINT32_MAX);
    s = mem_realloc(s, bytes_for(width, count + 1));
    unsigned char *place = s->data + (size_t)width * index;
    memmove(place + width, place, (size_t)width * (count - index));
    write_at(s->data, width, index, integer);
    set_count(s, count + 1);
    return s;
}

struct intset *intset_delete(struct intset *s, uint32_t index, uint32_t count)
{
    uint32_t had = intset_count(s), width = width_of(s);
    ASSERT(index <= had && count <= had - index);
    unsigned char *place = s->data + (size_t)width * index;
    memmove(place, place + (size_t)width * count, (size_t)width * (had - index - count));
    set_count(s, had - count);
    return mem_realloc(s, intset_bytes(s));
}

struct intset *intset_remove(struct intset *s, int64_t integer, bool *was_there)
{
    uint32_t index;
    *was_there = width_for(integer) <= width_of(s) && intset_find(s, integer, &index);
    return *was_there ? intset_delete(s, index, 1) : s;
}

bool intset_is_valid(const void *bytes, size_t len)
{
    struct intset header;
    if (len < sizeof header) return false;
    memcpy(&header, bytes, sizeof header);
    uint32_t width = width_of(&header), count = intset_count(&header);
    if (width != 2 && width != 4 && width != 8) return false;
    if (len != bytes_for(width, count)) return false;
    const unsigned char *data = (const unsigned char *)bytes + sizeof header;
    for (uint32_t i = 1; i < count; i++)
        if (read_at(data, width, i - 1) >= read_at(data, width, i)) return false;
    return true;
}

void intset_validate(const struct intset *s)
{
    ASSERT(intset_is_valid(s, intset_bytes(s)));
    ASSERT(mem_usable_bytes(s) >= intset_bytes(s));
}
