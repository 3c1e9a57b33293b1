// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target: any bytes as an intset from outside, and then as changes to it, beside an array
// of 64-bit integers that says what must be in it.
//
// Input: byte 0 how many bytes the intset has, these, then operations: a byte that chooses one, and
// the bytes of an integer, the fewer the smaller.
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "ds/intset.h"

#define MODEL_MAX 512

struct input {
    const uint8_t *at, *end;
};

struct model {
    int64_t integers[MODEL_MAX]; // ascending
    uint32_t count;
};

static uint8_t next_byte(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static int64_t next_integer(struct input *in, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++) v |= (uint64_t)next_byte(in) << (64 - 8 * bytes + 8 * i);
    return (int64_t)v >> (64 - 8 * bytes);
}

static uint32_t place_of(const struct model *m, int64_t integer)
{
    uint32_t i = 0;
    while (i < m->count && m->integers[i] < integer) i++;
    return i;
}

static bool model_has(const struct model *m, int64_t integer)
{
    uint32_t i = place_of(m, integer);
    return i < m->count && m->integers[i] == integer;
}

static void model_add(struct model *m, int64_t integer)
{
    uint32_t at = place_of(m, integer);
    for (uint32_t i = m->count++; i > at; i--) m->integers[i] = m->integers[i - 1];
    m->integers[at] = integer;
}

static void model_delete(struct model *m, uint32_t at, uint32_t count)
{
    m->count -= count;
    for (uint32_t i = at; i < m->count; i++) m->integers[i] = m->integers[i + count];
}

static void compare(const struct intset *s, const struct model *m)
{
    intset_validate(s);
    ASSERT(intset_count(s) == m->count);
    for (uint32_t i = 0; i < m->count; i++) ASSERT(intset_at(s, i) == m->integers[i]);
}

static struct intset *change(struct intset *s, struct model *m, struct input *in)
{
    static const unsigned sizes[] = {1, 2, 3, 4, 5, 8};
    uint8_t op = next_byte(in);
    int64_t integer = next_integer(in, sizes[(op >> 2) % ARRAY_LEN(sizes)]);
    bool had = model_has(m, integer), did;
    uint32_t index;
    ASSERT(intset_has(s, integer) == had);
    ASSERT(intset_find(s, integer, &index) == had && index == place_of(m, integer));
    switch (op & 3) {
    case 0:
    case 1:
        if (m->count == MODEL_MAX) return s;
        s = intset_add(s, integer, &did);
        ASSERT(did == !had);
        if (did) model_add(m, integer);
        return s;
    case 2:
        s = intset_remove(s, integer, &did);
        ASSERT(did == had);
        if (did) model_delete(m, index, 1);
        return s;
    default: break;
    }
    if (!m->count) return s;
    uint32_t at = (uint32_t)((uint64_t)integer % m->count), most = m->count - at;
    uint32_t count = (op >> 5) % (most + 1);
    model_delete(m, at, count);
    return intset_delete(s, at, count);
}

// The intset that the bytes are, or an empty one.
static struct intset *take(struct input *in, struct model *m)
{
    size_t len = next_byte(in);
    len = MIN(len, (size_t)(in->end - in->at));
    char *bytes = mem_alloc(MAX(len, 1u)); // of its own, so that reading beyond the end is seen
    if (len) memcpy(bytes, in->at, len);
    in->at += len;
    bool is_good = intset_is_valid(bytes, len);
    struct intset *s = is_good ? intset_from_bytes(bytes, len) : intset_new();
    mem_free(bytes);
    for (uint32_t i = 0; i < intset_count(s); i++) m->integers[m->count++] = intset_at(s, i);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct model m = {.count = 0};
    struct intset *s = take(&in, &m);
    compare(s, &m);
    while (in.at < in.end) {
        s = change(s, &m, &in);
        compare(s, &m);
    }
    struct intset *copy = intset_copy(s);
    compare(copy, &m);
    ASSERT(intset_is_valid(s, intset_bytes(s)));
    mem_free(copy);
    mem_free(s);
    return 0;
}
