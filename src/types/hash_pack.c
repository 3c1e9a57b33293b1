// SPDX-License-Identifier: BSD-3-Clause
#include "types/hash_pack.h"

#include "base/assert.h"
#include "base/mem.h"

#define COUNT_MANY   255u // in the first byte: the next four have the count
#define HEADER_SMALL 1u
#define HEADER_BIG   5u
#define FIELD_BYTE   14u // in the head's halves
#define FIELD_LONG   15u
#define VALUE_BYTE   8u
#define VALUE_LONG   9u
#define VALUE_INT    10u
#define INT_KINDS    6u

static const uint8_t int_bytes[INT_KINDS] = {1, 2, 3, 4, 6, 8};

static inline unsigned char *bytes_of(const struct hash_pack *p)
{
    return (unsigned char *)(uintptr_t)p;
}

static uint64_t load(const unsigned char *p, unsigned n)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++) v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static void store(unsigned char *p, uint64_t v, unsigned n)
{
    for (unsigned i = 0; i < n; i++) p[i] = (unsigned char)(v >> 8 * i);
}

// --- the count -----------------------------------------------------------------------------------

uint32_t hash_pack_count(const struct hash_pack *p)
{
    const unsigned char *b = bytes_of(p);
    return LIKELY(*b != COUNT_MANY) ? *b : (uint32_t)load(b + 1, 4);
}

uint32_t hash_pack_first(const struct hash_pack *p)
{
    return *bytes_of(p) == COUNT_MANY ? HEADER_BIG : HEADER_SMALL;
}

// The header must have room for the count.
static void set_count(struct hash_pack *p, uint32_t count)
{
    unsigned char *b = bytes_of(p);
    if (*b == COUNT_MANY)
        store(b + 1, count, 4);
    else
        *b = (unsigned char)count;
}

// --- reading -------------------------------------------------------------------------------------

// The length of the field whose head is at *p; *p is then where the field begins.
static inline size_t read_field_len(const unsigned char **p)
{
    unsigned kind = **p >> 4;
    ++*p;
    if (LIKELY(kind < FIELD_BYTE)) return kind;
    unsigned n = kind == FIELD_BYTE ? 1 : 4;
    size_t len = load(*p, n);
    *p += n;
    return len;
}

// The bytes of the value of this kind whose length, if any, is at *p; *p is then where they begin.
static inline size_t read_value_len(unsigned kind, const unsigned char **p)
{
    if (kind < VALUE_BYTE) return kind;
    if (kind >= VALUE_INT) return int_bytes[kind - VALUE_INT];
    unsigned n = kind == VALUE_BYTE ? 1 : 4;
    size_t len = load(*p, n);
    *p += n;
    return len;
}

static int64_t read_int(const unsigned char *p, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;
    return (int64_t)(load(p, bytes) << shift) >> shift;
}

void hash_pack_read(const struct hash_pack *pack, uint32_t at, uint32_t tail,
                    struct hash_pack_pair *out)
{
    const unsigned char *start = bytes_of(pack), *p = start + at;
    unsigned kind = *p & 15;
    out->field.len = read_field_len(&p);
    out->field.ptr = (const char *)p;
    p += out->field.len;
    size_t len = read_value_len(kind, &p);
    if (kind < VALUE_INT)
        out->value = (struct item){.ptr = (const char *)p, .len = len};
    else
        out->value = (struct item){.integer = read_int(p, (unsigned)len)};
    out->expiry_at = (uint32_t)(p + len - start);
    out->next = out->expiry_at + tail;
}

static inline const unsigned char *skip(const unsigned char *p, uint32_t tail)
{
    unsigned kind = *p & 15;
    size_t len = read_field_len(&p);
    p += len;
    len = read_value_len(kind, &p);
    return p + len + tail;
}

// Where `left` pairs from p on end.
static const unsigned char *skip_all(const unsigned char *p, uint32_t left, uint32_t tail)
{
    while (left--) p = skip(p, tail);
    return p;
}

uint32_t hash_pack_bytes(const struct hash_pack *p, uint32_t tail)
{
    const unsigned char *first = bytes_of(p) + hash_pack_first(p);
    return (uint32_t)(skip_all(first, hash_pack_count(p), tail) - bytes_of(p));
}

struct hash_pack_place hash_pack_find(const struct hash_pack *pack, struct slice field,
                                      uint32_t tail)
{
    const unsigned char *start = bytes_of(pack), *p = start + hash_pack_first(pack);
    uint32_t left = hash_pack_count(pack);
    for (; left; left--) {
        const unsigned char *f = p;
        size_t len = read_field_len(&f);
        if (len == field.len && memcmp(f, field.ptr, len) == 0)
            return (struct hash_pack_place){.at = (uint32_t)(p - start), .left = left};
        unsigned kind = *p & 15;
        p = f + len;
        len = read_value_len(kind, &p);
        p += len + tail;
    }
    return (struct hash_pack_place){.end = (uint32_t)(p - start)};
}

// --- writing -------------------------------------------------------------------------------------

// What a value is stored as: bytes of its own, or the integer.
struct encoded {
    unsigned kind; // the head's low half
    unsigned length_bytes;
    size_t len;
    const char *ptr;
    int64_t integer;
};

static inline bool may_be_integer(struct slice s)
{
    return s.len > 1 && s.len <= 20 && ((s.ptr[0] >= '0' && s.ptr[0] <= '9') || s.ptr[0] == '-');
}

static unsigned int_kind(int64_t v)
{
    unsigned kind = 0;
    while (kind < INT_KINDS - 1) {
        unsigned shift = 64 - 8u * int_bytes[kind];
        if ((int64_t)((uint64_t)v << shift) >> shift == v) break;
        kind++;
    }
    return kind;
}

static struct encoded encode(struct slice s)
{
    int64_t v;
    if (may_be_integer(s) && num_parse_i64(s, &v)) {
        unsigned kind = int_kind(v), bytes = int_bytes[kind];
        if (bytes < s.len)
            return (struct encoded){.kind = VALUE_INT + kind, .len = bytes, .integer = v};
    }
    struct encoded e = {.kind = (unsigned)s.len, .len = s.len, .ptr = s.ptr};
    if (s.len < VALUE_BYTE) return e;
    bool is_long = s.len > UINT8_MAX;
    e.kind = is_long ? VALUE_LONG : VALUE_BYTE;
    e.length_bytes = is_long ? 4 : 1;
    return e;
}

static inline size_t encoded_bytes(const struct encoded *e)
{
    return e->length_bytes + e->len;
}

static void put_value(unsigned char *p, const struct encoded *e)
{
    store(p, e->len, e->length_bytes);
    p += e->length_bytes;
    if (e->ptr)
        memcpy(p, e->ptr, e->len);
    else
        store(p, (uint64_t)e->integer, (unsigned)e->len);
}

static unsigned field_length_bytes(struct slice field)
{
    return field.len < FIELD_BYTE ? 0 : field.len <= UINT8_MAX ? 1 : 4;
}

size_t hash_pack_pair_bytes(struct slice field, struct slice value, uint32_t tail)
{
    struct encoded e = encode(value);
    return 1 + field_length_bytes(field) + field.len + encoded_bytes(&e) + tail;
}

static struct hash_pack *resize(struct hash_pack *p, size_t bytes)
{
    ASSERT(bytes <= HASH_PACK_MAX_BYTES);
    return mem_realloc(p, bytes);
}

// Makes the header one that can hold more than a byte's count.
static struct hash_pack *grow_header(struct hash_pack *p, size_t bytes)
{
    uint32_t count = hash_pack_count(p);
    p = resize(p, bytes + HEADER_BIG - HEADER_SMALL);
    unsigned char *b = bytes_of(p);
    memmove(b + HEADER_BIG, b + HEADER_SMALL, bytes - HEADER_SMALL);
    *b = COUNT_MANY;
    set_count(p, count);
    return p;
}

// Writes a pair to p, where there is room for it.
static void put_pair(unsigned char *p, struct slice field, const struct encoded *value,
                     uint32_t tail)
{
    unsigned n = field_length_bytes(field);
    unsigned kind = n == 0 ? (unsigned)field.len : n == 1 ? FIELD_BYTE : FIELD_LONG;
    *p++ = (unsigned char)(kind << 4 | value->kind);
    store(p, field.len, n);
    memcpy(p + n, field.ptr, field.len);
    p += n + field.len;
    put_value(p, value);
    memset(p + encoded_bytes(value), 0, tail);
}

struct hash_pack *hash_pack_append(struct hash_pack *p, uint32_t *end, struct slice field,
                                   struct slice value, uint32_t tail)
{
    struct encoded e = encode(value);
    uint32_t count = hash_pack_count(p), at = *end;
    if (count + 1 == COUNT_MANY && hash_pack_first(p) == HEADER_SMALL) {
        p = grow_header(p, at);
        at += HEADER_BIG - HEADER_SMALL;
    }
    size_t bytes = 1 + field_length_bytes(field) + field.len + encoded_bytes(&e) + tail;
    p = resize(p, at + bytes);
    put_pair(bytes_of(p) + at, field, &e, tail);
    set_count(p, count + 1);
    *end = at + (uint32_t)bytes;
    return p;
}

struct hash_pack *hash_pack_replace(struct hash_pack *pack, const struct hash_pack_place *place,
                                    struct slice value, uint32_t tail)
{
    struct encoded e = encode(value);
    unsigned char *start = bytes_of(pack);
    const unsigned char *p = start + place->at;
    unsigned kind = *p & 15;
    size_t field_len = read_field_len(&p);
    p += field_len;
    uint32_t value_at = (uint32_t)(p - start);
    size_t old_len = read_value_len(kind, &p);
    size_t old_bytes = (size_t)(p - start) - value_at + old_len;
    size_t new_bytes = encoded_bytes(&e);
    if (new_bytes != old_bytes) {
        const unsigned char *rest = p + old_len; // the expiry and the other pairs
        size_t rest_at = (size_t)(rest - start);
        size_t rest_bytes = (size_t)(skip_all(rest + tail, place->left - 1, tail) - rest);
        if (new_bytes > old_bytes) pack = resize(pack, value_at + new_bytes + rest_bytes);
        start = bytes_of(pack);
        memmove(start + value_at + new_bytes, start + rest_at, rest_bytes);
        if (new_bytes < old_bytes) pack = resize(pack, value_at + new_bytes + rest_bytes);
        start = bytes_of(pack);
    }
    start[place->at] = (unsigned char)((start[place->at] & 0xf0) | e.kind);
    put_value(start + value_at, &e);
    return pack;
}

struct hash_pack *hash_pack_remove(struct hash_pack *p, const struct hash_pack_place *place,
                                   uint32_t tail)
{
    unsigned char *at = bytes_of(p) + place->at;
    const unsigned char *rest = skip(at, tail), *end = skip_all(rest, place->left - 1, tail);
    size_t rest_bytes = (size_t)(end - rest);
    memmove(at, rest, rest_bytes);
    set_count(p, hash_pack_count(p) - 1);
    return resize(p, place->at + rest_bytes);
}

// --- whole packs ---------------------------------------------------------------------------------

struct hash_pack *hash_pack_new(size_t cap_bytes)
{
    struct hash_pack *p = mem_alloc(MAX(cap_bytes, HEADER_SMALL));
    *bytes_of(p) = 0;
    return p;
}

struct hash_pack *hash_pack_copy(const struct hash_pack *p, uint32_t tail)
{
    size_t bytes = hash_pack_bytes(p, tail);
    return memcpy(mem_alloc(bytes), p, bytes);
}

struct hash_pack *hash_pack_add_tails(struct hash_pack *from)
{
    uint32_t count = hash_pack_count(from);
    struct hash_pack *p =
        mem_alloc(hash_pack_bytes(from, 0) + (size_t)count * HASH_PACK_EXPIRY_BYTES);
    const unsigned char *in = bytes_of(from);
    unsigned char *out = bytes_of(p);
    memcpy(out, in, hash_pack_first(from));
    out += hash_pack_first(from), in += hash_pack_first(from);
    for (; count; count--) {
        const unsigned char *next = skip(in, 0);
        memcpy(out, in, (size_t)(next - in));
        out += next - in;
        memset(out, 0, HASH_PACK_EXPIRY_BYTES);
        out += HASH_PACK_EXPIRY_BYTES;
        in = next;
    }
    mem_free(from);
    return p;
}

// --- expiries ------------------------------------------------------------------------------------

uint64_t hash_pack_expiry(const struct hash_pack *p, uint32_t expiry_at)
{
    return load(bytes_of(p) + expiry_at, HASH_PACK_EXPIRY_BYTES);
}

void hash_pack_set_expiry(struct hash_pack *p, uint32_t expiry_at, uint64_t at_ms)
{
    ASSERT(at_ms >> 8 * HASH_PACK_EXPIRY_BYTES == 0);
    store(bytes_of(p) + expiry_at, at_ms, HASH_PACK_EXPIRY_BYTES);
}
