// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target: any bytes as a listpack (or a ziplist, or a zipmap) from outside, and then as
// changes to it, beside an array of strings that says what must be in it.
//
// Input: byte 0 what the bytes are to be, 2 bytes how many, these, then operations: a byte that
// chooses one, a byte that chooses a place, and a string.
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "ds/listpack.h"
#include "ds/ziplist.h"

#define MODEL_MAX 256

struct input {
    const uint8_t *at, *end;
};

struct model {
    struct slice items[MODEL_MAX]; // each owned
    uint32_t count;
};

static uint8_t next_byte(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

// The next bytes, as many as the first says (some lengths stand for long ones).
static struct slice next_string(struct input *in, char *room, size_t room_bytes)
{
    size_t len = next_byte(in);
    if (len >= 250) {
        static const size_t longs[] = {63, 64, 127, 4095, 4096, 16390};
        len = longs[len - 250];
        ASSERT(len <= room_bytes);
        memset(room, next_byte(in), len);
        return (struct slice){room, len};
    }
    len = MIN(len % 24, (size_t)(in->end - in->at));
    struct slice s = {(const char *)in->at, len};
    in->at += len;
    return s;
}

static void model_insert(struct model *m, uint32_t at, struct slice s)
{
    for (uint32_t i = m->count++; i > at; i--) m->items[i] = m->items[i - 1];
    m->items[at] = (struct slice){mem_strndup(s.ptr, s.len), s.len};
}

static void model_delete(struct model *m, uint32_t at, uint32_t count)
{
    for (uint32_t i = at; i < at + count; i++) mem_free((char *)m->items[i].ptr);
    m->count -= count;
    for (uint32_t i = at; i < m->count; i++) m->items[i] = m->items[i + count];
}

static void compare(const struct listpack *lp, const struct model *m)
{
    char number[NUM_I64_TEXT];
    struct item item;
    uint32_t at = listpack_first(lp), last = 0;
    listpack_validate(lp);
    ASSERT(listpack_count(lp) == m->count && listpack_is_empty(lp) == !m->count);
    for (uint32_t i = 0; i < m->count; i++) {
        ASSERT(at && listpack_equals(lp, at, m->items[i]));
        last = at;
        at = listpack_get(lp, at, &item);
        ASSERT(slice_eq(item_slice(&item, number), m->items[i]));
        ASSERT(listpack_next(lp, last) == at);
    }
    ASSERT(at == 0 && listpack_last(lp) == last);
    for (uint32_t i = m->count; i-- > 0; last = listpack_prev(lp, last))
        ASSERT(last && listpack_equals(lp, last, m->items[i]));
    ASSERT(last == 0);
}

static void check_find(const struct listpack *lp, const struct model *m, uint32_t from,
                       struct slice s, uint32_t skip)
{
    uint32_t i = from;
    while (i < m->count && !slice_eq(m->items[i], s)) i += 1 + skip;
    uint32_t want = i < m->count ? listpack_seek(lp, i) : 0;
    ASSERT(listpack_find(lp, listpack_seek(lp, from), s, skip) == want);
}

static struct listpack *change(struct listpack *lp, struct model *m, struct input *in)
{
    char room[16400];
    uint8_t op = next_byte(in), place = next_byte(in);
    uint32_t index = m->count ? place % m->count : 0, at = listpack_seek(lp, index);
    struct slice s = next_string(in, room, sizeof room);
    int64_t integer = (int64_t)(place * 0x0101010101010101u) >> op % 64;
    bool is_full = m->count == MODEL_MAX;
    ASSERT(listpack_seek(lp, (int64_t)index - m->count) == at);
    check_find(lp, m, index, s, op >> 6);
    switch (op % 8) {
    case 0:
        if (is_full) return lp;
        model_insert(m, m->count, s);
        return listpack_append(lp, s);
    case 1:
        if (is_full) return lp;
        model_insert(m, 0, s);
        return listpack_prepend(lp, s);
    case 2:
        if (is_full) return lp;
        model_insert(m, index, s);
        lp = listpack_insert(lp, &at, s);
        ASSERT(listpack_equals(lp, at, s));
        return lp;
    case 3:
        if (!m->count) return lp;
        model_delete(m, index, 1);
        model_insert(m, index, s);
        return listpack_replace(lp, at, s);
    case 4:
        if (is_full) return lp;
        s = (struct slice){room, num_format_i64(room, integer)};
        model_insert(m, m->count, s);
        return listpack_append_integer(lp, integer);
    case 5:
        if (!m->count) return lp;
        s = (struct slice){room, num_format_i64(room, integer)};
        model_delete(m, index, 1);
        model_insert(m, index, s);
        return listpack_replace_integer(lp, at, integer);
    default: break;
    }
    if (!m->count) return lp;
    uint32_t count = MIN((uint32_t)(op >> 4), m->count - index);
    model_delete(m, index, count);
    lp = listpack_delete(lp, at, op >> 4);
    ASSERT((listpack_at(lp, at) == 0) == (index == m->count));
    return lp;
}

// The listpack that the bytes are; NULL if they are none.
static struct listpack *convert(uint8_t kind, const void *bytes, size_t len)
{
    uint32_t count;
    if (kind % 4 == 1) return ziplist_to_listpack(bytes, len);
    if (kind % 4 == 2) return ziplist_zipmap_to_listpack(bytes, len);
    return listpack_is_valid(bytes, len, &count) ? listpack_from_bytes(bytes, len) : NULL;
}

static struct listpack *take(struct input *in, struct model *m)
{
    uint8_t kind = next_byte(in);
    size_t len = next_byte(in);
    len |= (size_t)next_byte(in) << 8;
    len = MIN(len, (size_t)(in->end - in->at));
    char *bytes = mem_alloc(MAX(len, 1u)); // of its own, so that reading beyond the end is seen
    memcpy(bytes, in->at, len);
    in->at += len;
    struct listpack *lp = convert(kind, bytes, len);
    mem_free(bytes);
    if (lp && listpack_count(lp) > MODEL_MAX) {
        listpack_validate(lp);
        mem_free(lp);
        lp = NULL;
    }
    if (!lp) return listpack_new(0);
    char number[NUM_I64_TEXT];
    struct item item;
    for (uint32_t at = listpack_first(lp); at;) {
        at = listpack_get(lp, at, &item);
        model_insert(m, m->count, item_slice(&item, number));
    }
    return lp;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) return 0;
    struct input in = {data, data + size};
    struct model m = {.count = 0};
    struct listpack *lp = take(&in, &m);
    compare(lp, &m);
    while (in.at < in.end) {
        lp = change(lp, &m, &in);
        compare(lp, &m);
    }
    struct listpack *copy = listpack_shrink(listpack_copy(lp));
    compare(copy, &m);
    mem_free(copy);
    mem_free(lp);
    model_delete(&m, 0, m.count);
    return 0;
}
