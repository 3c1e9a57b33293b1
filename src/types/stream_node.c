// SPDX-License-Identifier: BSD-3-Clause
#include "types/stream_node.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"

enum id_form { FORM_NEXT = 0, FORM_MS = 4, FORM_SEQ = 8, FORM_FULL = 12 };

#define FORM_MASK   12u
#define SMALL_SHIFT 4
#define SMALL_MAX   15u

enum tag {
    TAG_STRING32 = 0xf0,
    TAG_INT16 = 0xf1,
    TAG_INT24 = 0xf2,
    TAG_INT32 = 0xf3,
    TAG_INT64 = 0xf4,
    TAG_SAME = 0xf5,
    TAG_NEAR = 0xf6,
    TAG_PREFIX = 0xf7,
};

#define NEAR_LEAST      2 // bytes of a prefix that TAG_NEAR can tell, and how many more
#define NEAR_MOST       15
#define HEAD_MAX        26 // head, two numbers of an id, number of fields
#define INTEGER_TEXT    20 // longer texts are no integers to a listpack
#define LISTPACK_HEADER 7  // with the end

// --- numbers -------------------------------------------------------------------------------------

static inline unsigned char *put_varint(unsigned char *p, uint64_t v)
{
    for (; v > 127; v >>= 7) *p++ = (unsigned char)(v | 128);
    *p++ = (unsigned char)v;
    return p;
}

static inline const unsigned char *get_varint(const unsigned char *p, uint64_t *v)
{
    uint64_t x = *p & 127;
    for (unsigned shift = 7; *p++ & 128; shift += 7) x |= (uint64_t)(*p & 127) << shift;
    *v = x;
    return p;
}

static inline size_t varint_bytes(uint64_t v)
{
    size_t n = 1;
    for (; v > 127; v >>= 7) n++;
    return n;
}

// --- items ---------------------------------------------------------------------------------------

// Bytes before a string's own.
static inline size_t string_head(size_t len)
{
    return len < 64 ? 1 : len < 4096 ? 2 : 5;
}

static unsigned integer_width(int64_t v)
{
    if (v >= INT16_MIN && v <= INT16_MAX) return 2;
    if (v >= -(1 << 23) && v < 1 << 23) return 3;
    return v >= INT32_MIN && v <= INT32_MAX ? 4 : 8;
}

static unsigned char *put_integer(unsigned char *p, int64_t v)
{
    if (v >= 0 && v < 128) {
        *p = (unsigned char)v;
        return p + 1;
    }
    if (v >= -4096 && v < 4096) {
        *p++ = (unsigned char)(0xc0 | ((uint64_t)v >> 8 & 0x1f));
        *p = (unsigned char)v;
        return p + 1;
    }
    unsigned width = integer_width(v);
    *p++ = width == 8 ? TAG_INT64 : (unsigned char)(TAG_INT16 + width - 2);
    for (unsigned i = 0; i < width; i++) *p++ = (unsigned char)((uint64_t)v >> 8 * i);
    return p;
}

static inline unsigned char *put_string_head(unsigned char *p, size_t len)
{
    if (len < 64) {
        *p++ = (unsigned char)(0x80 | len);
    } else if (len < 4096) {
        *p++ = (unsigned char)(0xe0 | len >> 8);
        *p++ = (unsigned char)len;
    } else {
        *p++ = TAG_STRING32;
        for (unsigned i = 0; i < 4; i++) *p++ = (unsigned char)(len >> 8 * i);
    }
    return p;
}

static inline unsigned char *put_bytes(unsigned char *p, struct slice s)
{
    p = put_string_head(p, s.len);
    memcpy(p, s.ptr, s.len);
    return p + s.len;
}

unsigned char *stream_node_put_item(unsigned char *p, const struct stream_item *i)
{
    if (!i->head.ptr) return put_integer(p, i->integer);
    p = put_string_head(p, i->head.len + i->tail.len);
    memcpy(p, i->head.ptr, i->head.len);
    p += i->head.len;
    if (i->tail.len) memcpy(p, i->tail.ptr, i->tail.len);
    return p + i->tail.len;
}

static inline bool is_integer(struct slice s, int64_t *v)
{
    if (!s.len || s.len > INTEGER_TEXT || (unsigned char)s.ptr[0] > '9') return false;
    return num_parse_i64(s, v);
}

static size_t backlen_bytes(size_t len)
{
    return len < 128 ? 1 : len < 16384 ? 2 : len < 2097152 ? 3 : len < 268435456 ? 4 : 5;
}

static inline size_t listpack_string(size_t len)
{
    size_t n = string_head(len) + len;
    return n + backlen_bytes(n);
}

size_t stream_node_integer_bytes(int64_t v)
{
    if (v >= 0 && v < 128) return 2;
    return v >= -4096 && v < 4096 ? 3 : 2 + integer_width(v);
}

// Writes an item of its own.
static unsigned char *put_item(unsigned char *p, struct slice s, size_t *listpack)
{
    int64_t v;
    if (is_integer(s, &v)) {
        *listpack += stream_node_integer_bytes(v);
        return put_integer(p, v);
    }
    *listpack += listpack_string(s.len);
    return put_bytes(p, s);
}

static int64_t get_integer(const unsigned char *p, unsigned width)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < width; i++) v |= (uint64_t)p[i] << 8 * i;
    unsigned shift = 64 - 8 * width;
    return (int64_t)(v << shift) >> shift;
}

static inline const unsigned char *set_bytes(struct stream_item *out, const unsigned char *p,
                                             size_t len)
{
    out->head = (struct slice){(const char *)p, len};
    out->tail.len = 0;
    return p + len;
}

static inline const unsigned char *set_integer(struct stream_item *out, const unsigned char *p,
                                               unsigned width, int64_t v)
{
    out->head.ptr = NULL;
    out->tail.len = 0;
    out->integer = v;
    return p + width;
}

static const unsigned char *get_tagged(const unsigned char *p, struct stream_item *out)
{
    unsigned width = *p == TAG_INT64 ? 8 : *p - TAG_INT16 + 2u;
    if (*p != TAG_STRING32) return set_integer(out, p + 1, width, get_integer(p + 1, width));
    return set_bytes(out, p + 5, (size_t)get_integer(p + 1, 4) & UINT32_MAX);
}

// Reads an item of its own; returns what is behind it.
static inline const unsigned char *get_item(const unsigned char *p, struct stream_item *out)
{
    unsigned c = *p;
    if (c < 0x80) return set_integer(out, p, 1, (int64_t)c);
    if (c < 0xc0) return set_bytes(out, p + 1, c & 63);
    if (c < 0xe0) {
        int64_t v = (int64_t)(((c & 31) << 8) | p[1]);
        return set_integer(out, p, 2, v >= 4096 ? v - 8192 : v);
    }
    if (c < 0xf0) return set_bytes(out, p + 2, ((c & 15) << 8) | p[1]);
    return get_tagged(p, out);
}

// Reads a value that may refer to `like`, the first entry's.
static inline const unsigned char *get_value(const unsigned char *p, const struct stream_item *like,
                                             struct stream_item *out)
{
    if (*p < TAG_SAME) return get_item(p, out);
    if (*p == TAG_SAME) {
        *out = *like;
        return p + 1;
    }
    uint64_t prefix, suffix;
    if (*p++ == TAG_NEAR) {
        prefix = (*p >> 4) + (uint64_t)NEAR_LEAST;
        suffix = *p++ & 15;
    } else {
        p = get_varint(get_varint(p, &prefix), &suffix);
    }
    out->head = (struct slice){like->head.ptr, prefix};
    out->tail = (struct slice){(const char *)p, suffix};
    return p + suffix;
}

// What is behind the item (which may refer to another).
static inline const unsigned char *skip_item(const unsigned char *p)
{
    struct stream_item item;
    if (*p < TAG_SAME) return get_item(p, &item);
    if (*p == TAG_SAME) return p + 1;
    return get_value(p, &(struct stream_item){0}, &item);
}

static size_t common_prefix(struct slice a, struct slice b)
{
    size_t n = MIN(a.len, b.len), i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t x, y;
        memcpy(&x, a.ptr + i, 8);
        memcpy(&y, b.ptr + i, 8);
        if (x != y) return i + (size_t)__builtin_ctzll(x ^ y) / 8; // little endian
    }
    while (i < n && a.ptr[i] == b.ptr[i]) i++;
    return i;
}

// Writes a value in the shortest way, given the first entry's.
static unsigned char *put_value(unsigned char *p, struct slice s, const struct stream_item *like,
                                size_t *listpack)
{
    int64_t v;
    if (is_integer(s, &v)) {
        *listpack += stream_node_integer_bytes(v);
        if ((v >= 0 && v < 128) || like->head.ptr || like->integer != v) return put_integer(p, v);
        *p++ = TAG_SAME;
        return p;
    }
    *listpack += listpack_string(s.len);
    size_t prefix = like->head.ptr ? common_prefix(s, like->head) : 0;
    size_t suffix = s.len - prefix;
    if (prefix < NEAR_LEAST) return put_bytes(p, s);
    if (!suffix && prefix == like->head.len) {
        *p++ = TAG_SAME;
        return p;
    }
    if (prefix <= NEAR_LEAST + NEAR_MOST && suffix <= NEAR_MOST) {
        *p++ = TAG_NEAR;
        *p++ = (unsigned char)((prefix - NEAR_LEAST) << 4 | suffix);
    } else {
        if (1 + varint_bytes(prefix) + varint_bytes(suffix) + suffix >= string_head(s.len) + s.len)
            return put_bytes(p, s);
        *p++ = TAG_PREFIX;
        p = put_varint(put_varint(p, prefix), suffix);
    }
    memcpy(p, s.ptr + prefix, suffix);
    return p + suffix;
}

static bool equals(const struct stream_item *item, struct slice s)
{
    int64_t v;
    if (item->head.ptr) return slice_eq(item->head, s);
    return is_integer(s, &v) && v == item->integer;
}

// --- entries -------------------------------------------------------------------------------------

struct stream_node *stream_node_new(size_t cap)
{
    struct stream_node *n = mem_alloc(sizeof *n + cap);
    *n = (struct stream_node){0};
    return n;
}

size_t stream_node_room(const struct slice *pairs, uint32_t field_count)
{
    size_t room = HEAD_MAX;
    for (size_t i = 0; i < (size_t)field_count * 2; i++)
        room += string_head(pairs[i].len) + pairs[i].len;
    return room;
}

static unsigned char *put_id(unsigned char *p, unsigned char *head, struct stream_id before,
                             struct stream_id id)
{
    uint64_t delta = id.ms - before.ms;
    if (!delta) {
        if (id.seq == before.seq + 1) return p;
        *head |= FORM_SEQ;
        return put_varint(p, id.seq - before.seq);
    }
    if (id.seq) {
        *head |= FORM_FULL;
        return put_varint(put_varint(p, delta), id.seq);
    }
    *head |= FORM_MS;
    if (delta > SMALL_MAX) return put_varint(p, delta);
    *head |= (unsigned char)(delta << SMALL_SHIFT);
    return p;
}

static const unsigned char *get_id(const unsigned char *p, unsigned head, struct stream_id *id)
{
    uint64_t delta;
    switch (head & FORM_MASK) {
    case FORM_NEXT: id->seq++; return p;
    case FORM_MS:
        id->seq = 0;
        delta = head >> SMALL_SHIFT;
        if (!delta) p = get_varint(p, &delta);
        id->ms += delta;
        return p;
    case FORM_SEQ:
        p = get_varint(p, &delta);
        id->seq += delta;
        return p;
    default:
        p = get_varint(get_varint(p, &delta), &id->seq);
        id->ms += delta;
        return p;
    }
}

// Writes the values alone; NULL if the fields are not the first entry's.
static unsigned char *put_values(const struct stream_node *n, unsigned char *p,
                                 const struct slice *pairs, uint32_t field_count, size_t *listpack)
{
    if (field_count != n->field_count) return NULL;
    const unsigned char *first = n->data + 1 + varint_bytes(field_count);
    for (uint32_t i = 0; i < field_count; i++) {
        struct stream_item field, value;
        first = get_item(get_item(first, &field), &value);
        if (!equals(&field, pairs[2 * i])) return NULL;
        p = put_value(p, pairs[2 * i + 1], &value, listpack);
    }
    return p;
}

static unsigned char *put_fields_and_values(unsigned char *p, const struct slice *pairs,
                                            uint32_t field_count, size_t *listpack)
{
    p = put_varint(p, field_count);
    *listpack += stream_node_integer_bytes(field_count);
    for (size_t i = 0; i < (size_t)field_count * 2; i++) p = put_item(p, pairs[i], listpack);
    return p;
}

// What the first entry adds to a listpack: the master entry with its fields, and itself.
static size_t master_bytes(const struct stream_node *n)
{
    const unsigned char *p = n->data + 1 + varint_bytes(n->field_count);
    size_t listpack =
        LISTPACK_HEADER + stream_node_integer_bytes(n->field_count) + stream_node_integer_bytes(0);
    for (uint32_t i = 0; i < n->field_count; i++) {
        struct stream_item field;
        p = skip_item(get_item(p, &field));
        listpack += field.head.ptr ? listpack_string(field.head.len)
                                   : stream_node_integer_bytes(field.integer);
    }
    return listpack;
}

// Flags, id and the number of elements that stand around the items of an entry in a listpack.
static size_t frame_bytes(struct stream_id first, struct stream_id id, uint32_t field_count,
                          bool is_same)
{
    int64_t elements = is_same ? (int64_t)field_count + 3 : 2 * (int64_t)field_count + 4;
    return stream_node_integer_bytes(0) + stream_node_integer_bytes((int64_t)(id.ms - first.ms)) +
           stream_node_integer_bytes((int64_t)(id.seq - first.seq)) +
           stream_node_integer_bytes(elements);
}

// The first entry has its fields here, but not in a listpack, where the master entry has them.
static size_t append_first(struct stream_node *n, struct stream_id id, const struct slice *pairs,
                           uint32_t field_count)
{
    size_t both = 0, values = 0;
    n->data[0] = FORM_NEXT;
    unsigned char *p = put_fields_and_values(n->data + 1, pairs, field_count, &both);
    n->field_count = field_count;
    n->used = (uint32_t)(p - n->data);
    values = both - (master_bytes(n) - LISTPACK_HEADER - stream_node_integer_bytes(0));
    return master_bytes(n) + frame_bytes(id, id, field_count, true) + values;
}

size_t stream_node_append(struct stream_node *n, struct stream_id first, struct stream_id id,
                          const struct slice *pairs, uint32_t field_count)
{
    struct stream_id before = n->last;
    n->last = id;
    n->live++;
    if (!n->used) return append_first(n, id, pairs, field_count);

    unsigned char *head = n->data + n->used;
    *head = 0;
    unsigned char *items = put_id(head + 1, head, before, id);
    size_t listpack = 0;
    unsigned char *p = put_values(n, items, pairs, field_count, &listpack);
    if (LIKELY(p)) {
        *head |= STREAM_SAME_FIELDS;
    } else {
        listpack = 0;
        p = put_fields_and_values(items, pairs, field_count, &listpack);
    }
    n->used = (uint32_t)(p - n->data);
    return listpack + frame_bytes(first, id, field_count, *head & STREAM_SAME_FIELDS);
}

// --- reading -------------------------------------------------------------------------------------

void stream_node_read(const struct stream_node *n, const unsigned char *p, struct stream_id *id,
                      struct stream_entry *e)
{
    unsigned head = *p;
    p = get_id(p + 1, head, id);
    e->id = *id;
    e->has_own_fields = !(head & STREAM_SAME_FIELDS);
    uint64_t field_count = n->field_count;
    if (e->has_own_fields)
        p = get_varint(p, &field_count);
    else
        e->first = n->data + 1 + varint_bytes(field_count);
    e->field_count = e->left = (uint32_t)field_count;
    e->at = p;
}

const unsigned char *stream_node_skip(const struct stream_entry *e)
{
    const unsigned char *p = e->at;
    for (uint64_t i = e->has_own_fields ? 2 * (uint64_t)e->left : e->left; i; i--) p = skip_item(p);
    return p;
}

void stream_entry_next(struct stream_entry *e, struct stream_item *field, struct stream_item *value)
{
    ASSERT_SLOW(e->left);
    e->left--;
    if (e->has_own_fields) {
        e->at = get_item(get_item(e->at, field), value);
        return;
    }
    struct stream_item like;
    e->first = get_item(get_item(e->first, field), &like);
    e->at = get_value(e->at, &like, value);
}

unsigned char *stream_node_find(struct stream_node *n, struct stream_id first, struct stream_id id)
{
    if (stream_id_cmp(id, n->last) > 0) return NULL;
    struct stream_id at = stream_node_before(first);
    struct stream_entry e;
    const unsigned char *p = n->data;
    while (p < n->data + n->used) {
        stream_node_read(n, p, &at, &e);
        int c = stream_id_cmp(at, id);
        if (c > 0) return NULL;
        if (c == 0) return *p & STREAM_DELETED ? NULL : n->data + (p - n->data);
        p = stream_node_skip(&e);
    }
    return NULL;
}

void stream_node_delete(struct stream_node *n, unsigned char *p)
{
    ASSERT(!(*p & STREAM_DELETED));
    *p |= STREAM_DELETED;
    n->live--;
    n->deleted++;
}

static size_t item_listpack_bytes(const struct stream_item *i)
{
    return i->head.ptr ? listpack_string(i->head.len + i->tail.len)
                       : stream_node_integer_bytes(i->integer);
}

size_t stream_node_listpack_bytes(const struct stream_node *n, struct stream_id first)
{
    struct stream_id id = stream_node_before(first);
    struct stream_entry e;
    size_t listpack = master_bytes(n);
    for (const unsigned char *p = n->data; p < n->data + n->used; p = e.at) {
        stream_node_read(n, p, &id, &e);
        bool is_same = !e.has_own_fields || p == n->data;
        listpack += frame_bytes(first, id, e.field_count, is_same);
        if (!is_same) listpack += stream_node_integer_bytes(e.field_count);
        while (e.left) {
            struct stream_item field, value;
            stream_entry_next(&e, &field, &value);
            listpack += item_listpack_bytes(&value);
            if (!is_same) listpack += item_listpack_bytes(&field);
        }
    }
    return listpack;
}
