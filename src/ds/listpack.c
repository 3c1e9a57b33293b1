// SPDX-License-Identifier: BSD-3-Clause
#include "ds/listpack.h"

#include "base/assert.h"
#include "base/mem.h"

#define END           0xff
#define COUNT_UNKNOWN 65535u
#define ENCODING_MAX  9u // bytes that stand before a string's own, or that an integer takes
#define BACKLEN_MAX   5u

enum tag {
    TAG_STRING32 = 0xf0,
    TAG_INT16 = 0xf1,
    TAG_INT24 = 0xf2,
    TAG_INT32 = 0xf3,
    TAG_INT64 = 0xf4,
};

static inline unsigned char *bytes_of(const struct listpack *lp)
{
    return (unsigned char *)(uintptr_t)lp;
}

static inline uint32_t load_u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void store_u32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> 8 * i);
}

static inline uint32_t total_of(const struct listpack *lp)
{
    return load_u32(bytes_of(lp));
}

static inline uint32_t count_field(const struct listpack *lp)
{
    const unsigned char *p = bytes_of(lp);
    return (uint32_t)p[4] | (uint32_t)p[5] << 8;
}

static void set_count(struct listpack *lp, uint32_t count)
{
    unsigned char *p = bytes_of(lp);
    if (count > COUNT_UNKNOWN) count = COUNT_UNKNOWN;
    p[4] = (unsigned char)count;
    p[5] = (unsigned char)(count >> 8);
}

// --- one element ---------------------------------------------------------------------------------

static inline uint32_t backlen_bytes(uint32_t len)
{
    return len < 128 ? 1 : len < 16384 ? 2 : len < 2097152 ? 3 : len < 268435456 ? 4 : 5;
}

static void put_backlen(unsigned char *p, uint32_t len)
{
    uint32_t n = backlen_bytes(len);
    for (uint32_t i = n; i-- > 0; len >>= 7) p[i] = (unsigned char)((len & 127) | (i ? 128u : 0u));
}

// The length that ends right before `p`.
static uint32_t get_backlen(const unsigned char *p)
{
    uint32_t len = 0, shift = 0;
    do len |= (uint32_t)(*--p & 127) << shift, shift += 7;
    while (*p & 128 && shift < 35);
    return len;
}

// Bytes of encoding and data of the element at p.
static inline uint32_t element_bytes(const unsigned char *p)
{
    unsigned char c = *p;
    if (c < 0x80) return 1;
    if (c < 0xc0) return 1 + (c & 0x3fu);
    if (c < 0xe0) return 2;
    if (c < 0xf0) return 2 + ((c & 0x0fu) << 8 | p[1]);
    switch (c) {
    case TAG_STRING32: return 5 + load_u32(p + 1);
    case TAG_INT16: return 3;
    case TAG_INT24: return 4;
    case TAG_INT32: return 5;
    default: return 9;
    }
}

static inline uint32_t step_bytes(const unsigned char *p)
{
    uint32_t n = element_bytes(p);
    return n + backlen_bytes(n);
}

// Is it a string? Then *data and *len say where.
static inline bool string_at(const unsigned char *p, const unsigned char **data, uint32_t *len)
{
    unsigned char c = *p;
    if (c >= 0x80 && c < 0xc0) {
        *len = c & 0x3fu;
        *data = p + 1;
        return true;
    }
    if (c >= 0xe0 && c < 0xf0) {
        *len = (c & 0x0fu) << 8 | p[1];
        *data = p + 2;
        return true;
    }
    if (c != TAG_STRING32) return false;
    *len = load_u32(p + 1);
    *data = p + 5;
    return true;
}

// A little-endian integer of `n` bytes with its sign.
static int64_t signed_bytes(const unsigned char *p, unsigned n)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++) v |= (uint64_t)p[i] << 8 * i;
    unsigned shift = 64 - 8 * n;
    return (int64_t)(v << shift) >> shift;
}

static int64_t integer_at(const unsigned char *p)
{
    unsigned char c = *p;
    if (c < 0x80) return c;
    if (c < 0xe0) {
        int32_t v = (c & 0x1f) << 8 | p[1];
        return v >= 4096 ? v - 8192 : v;
    }
    switch (c) {
    case TAG_INT16: return signed_bytes(p + 1, 2);
    case TAG_INT24: return signed_bytes(p + 1, 3);
    case TAG_INT32: return signed_bytes(p + 1, 4);
    default: return signed_bytes(p + 1, 8);
    }
}

// What is to be written: the bytes that go before the string's own (an integer has no own ones).
struct encoded {
    unsigned char head[ENCODING_MAX];
    uint32_t head_len;
    struct slice body;
    uint32_t total; // head, body and backlen
};

static void put_tagged(struct encoded *e, enum tag tag, int64_t v, unsigned n)
{
    e->head[0] = (unsigned char)tag;
    for (unsigned i = 0; i < n; i++) e->head[1 + i] = (unsigned char)((uint64_t)v >> 8 * i);
    e->head_len = 1 + n;
}

static struct encoded encode_integer(int64_t v)
{
    struct encoded e = {.body = {"", 0}};
    if (v >= 0 && v <= 127) {
        e.head[0] = (unsigned char)v;
        e.head_len = 1;
    } else if (v >= -4096 && v <= 4095) {
        uint32_t u = (uint32_t)v & 0x1fff;
        e.head[0] = (unsigned char)(0xc0 | u >> 8);
        e.head[1] = (unsigned char)u;
        e.head_len = 2;
    } else if (v >= INT16_MIN && v <= INT16_MAX) {
        put_tagged(&e, TAG_INT16, v, 2);
    } else if (v >= -(1 << 23) && v < 1 << 23) {
        put_tagged(&e, TAG_INT24, v, 3);
    } else if (v >= INT32_MIN && v <= INT32_MAX) {
        put_tagged(&e, TAG_INT32, v, 4);
    } else {
        put_tagged(&e, TAG_INT64, v, 8);
    }
    e.total = e.head_len + 1;
    return e;
}

static struct encoded encode_string(struct slice s)
{
    struct encoded e = {.body = s};
    uint32_t len = (uint32_t)s.len;
    if (len < 64) {
        e.head[0] = (unsigned char)(0x80 | len);
        e.head_len = 1;
    } else if (len < 4096) {
        e.head[0] = (unsigned char)(0xe0 | len >> 8);
        e.head[1] = (unsigned char)len;
        e.head_len = 2;
    } else {
        e.head[0] = TAG_STRING32;
        store_u32(e.head + 1, len);
        e.head_len = 5;
    }
    e.total = e.head_len + len + backlen_bytes(e.head_len + len);
    return e;
}

static inline bool may_be_integer(struct slice s)
{
    if (s.len == 0 || s.len > 20) return false;
    char c = s.ptr[0];
    return (c >= '0' && c <= '9') || c == '-';
}

static struct encoded encode(struct slice s)
{
    int64_t v;
    ASSERT(s.len < LISTPACK_MAX_BYTES);
    if (may_be_integer(s) && num_parse_i64(s, &v)) return encode_integer(v);
    return encode_string(s);
}

static void write_element(unsigned char *p, const struct encoded *e)
{
    uint32_t len = e->head_len + (uint32_t)e->body.len;
    memcpy(p, e->head, e->head_len);
    memcpy(p + e->head_len, e->body.ptr, e->body.len);
    if (LIKELY(len < 128))
        p[len] = (unsigned char)len;
    else
        put_backlen(p + len, len);
}

// --- whole listpacks -----------------------------------------------------------------------------

struct listpack *listpack_new(size_t cap_bytes)
{
    unsigned char *p = mem_alloc(MAX(cap_bytes, (size_t)LISTPACK_EMPTY_BYTES));
    store_u32(p, LISTPACK_EMPTY_BYTES);
    p[4] = p[5] = 0;
    p[LISTPACK_HEADER_BYTES] = END;
    return (struct listpack *)p;
}

static struct listpack *copy_bytes(const void *bytes, size_t len)
{
    void *copy = mem_alloc(len);
    memcpy(copy, bytes, len);
    return copy;
}

struct listpack *listpack_copy(const struct listpack *lp)
{
    return copy_bytes(lp, total_of(lp));
}

struct listpack *listpack_shrink(struct listpack *lp)
{
    return mem_realloc(lp, total_of(lp));
}

size_t listpack_bytes(const struct listpack *lp)
{
    return total_of(lp);
}

uint32_t listpack_count(const struct listpack *lp)
{
    uint32_t count = count_field(lp);
    if (LIKELY(count != COUNT_UNKNOWN)) return count;
    count = 0;
    for (const unsigned char *p = bytes_of(lp) + LISTPACK_HEADER_BYTES; *p != END;
         p += step_bytes(p))
        count++;
    return count;
}

size_t listpack_item_bytes(struct slice s)
{
    return encode(s).total;
}

// The bytes of the element at p including its backlen, or 0 if it does not fit in what is left
// before `end` or is not what a writer would have written.
static uint32_t checked_step(const unsigned char *p, const unsigned char *end)
{
    size_t left = (size_t)(end - p);
    unsigned char c = *p;
    if (c > TAG_INT64) return 0;
    if ((c >= 0xe0 && c < 0xf0 && left < 2) || (c == TAG_STRING32 && left < 5)) return 0;
    uint64_t len = c == TAG_STRING32 ? 5 + (uint64_t)load_u32(p + 1) : element_bytes(p);
    if (len >= LISTPACK_MAX_BYTES || len + backlen_bytes((uint32_t)len) > left) return 0;
    uint32_t back = backlen_bytes((uint32_t)len);
    unsigned char expected[BACKLEN_MAX];
    put_backlen(expected, (uint32_t)len);
    if (memcmp(p + len, expected, back) != 0) return 0;
    return (uint32_t)len + back;
}

bool listpack_is_valid(const void *bytes, size_t len, uint32_t *count)
{
    const unsigned char *p = bytes, *end = p + len - 1;
    uint32_t n = 0, step;
    if (len < LISTPACK_EMPTY_BYTES || len > LISTPACK_MAX_BYTES || load_u32(p) != len) return false;
    if (*end != END) return false;
    uint32_t said = (uint32_t)p[4] | (uint32_t)p[5] << 8;
    for (p += LISTPACK_HEADER_BYTES; p < end; p += step, n++)
        if (!(step = checked_step(p, end))) return false;
    *count = n;
    return said == COUNT_UNKNOWN || said == n;
}

void listpack_validate(const struct listpack *lp)
{
    uint32_t count;
    ASSERT(listpack_is_valid(lp, total_of(lp), &count));
    ASSERT(count_field(lp) == MIN(count, COUNT_UNKNOWN) || count_field(lp) == COUNT_UNKNOWN);
}

// --- reading -------------------------------------------------------------------------------------

uint32_t listpack_at(const struct listpack *lp, uint32_t at)
{
    return bytes_of(lp)[at] == END ? 0 : at;
}

uint32_t listpack_first(const struct listpack *lp)
{
    return listpack_at(lp, LISTPACK_HEADER_BYTES);
}

uint32_t listpack_last(const struct listpack *lp)
{
    return listpack_prev(lp, total_of(lp) - 1);
}

uint32_t listpack_next(const struct listpack *lp, uint32_t at)
{
    return listpack_at(lp, at + step_bytes(bytes_of(lp) + at));
}

// `at` may be the place of the terminator.
uint32_t listpack_prev(const struct listpack *lp, uint32_t at)
{
    if (at == LISTPACK_HEADER_BYTES) return 0;
    uint32_t len = get_backlen(bytes_of(lp) + at);
    return at - len - backlen_bytes(len);
}

uint32_t listpack_seek(const struct listpack *lp, int64_t index)
{
    uint32_t known = count_field(lp);
    if (known != COUNT_UNKNOWN) {
        if (index < 0) index += known;
        if (index < 0 || index >= known) return 0;
        if (index > known / 2) index -= known; // nearer from the end
    }
    uint32_t at;
    if (index >= 0) {
        at = listpack_first(lp);
        while (at && index-- > 0) at = listpack_next(lp, at);
    } else {
        at = listpack_last(lp);
        while (at && ++index < 0) at = listpack_prev(lp, at);
    }
    return at;
}

uint32_t listpack_index(const struct listpack *lp, uint32_t at)
{
    const unsigned char *p = bytes_of(lp) + LISTPACK_HEADER_BYTES, *end = bytes_of(lp) + at;
    uint32_t index = 0;
    for (; p < end; p += step_bytes(p)) index++;
    return index;
}

uint32_t listpack_get(const struct listpack *lp, uint32_t at, struct item *out)
{
    const unsigned char *p = bytes_of(lp) + at, *data;
    unsigned char c = *p;
    uint32_t len;
    if (LIKELY(c < 0xc0)) { // short strings and small integers have a backlen of one byte
        bool is_string = c >= 0x80;
        len = is_string ? c & 0x3fu : 0;
        *out = (struct item){.ptr = is_string ? (const char *)p + 1 : NULL,
                             .len = len,
                             .integer = is_string ? 0 : c};
        return listpack_at(lp, at + len + 2);
    }
    if (string_at(p, &data, &len))
        *out = (struct item){.ptr = (const char *)data, .len = len};
    else
        *out = (struct item){.integer = integer_at(p)};
    return listpack_next(lp, at);
}

bool listpack_equals(const struct listpack *lp, uint32_t at, struct slice s)
{
    const unsigned char *p = bytes_of(lp) + at, *data;
    uint32_t len;
    int64_t v;
    if (string_at(p, &data, &len)) return len == s.len && memcmp(data, s.ptr, len) == 0;
    return may_be_integer(s) && num_parse_i64(s, &v) && v == integer_at(p);
}

uint32_t listpack_find(const struct listpack *lp, uint32_t at, struct slice s, uint32_t skip)
{
    if (!at) return 0;
    const unsigned char *start = bytes_of(lp), *p = start + at;
    struct encoded wanted = encode(s);
    // Equal elements are equal bytes; the head tells most of them apart, and all integers.
    while (*p != END) {
        if (*p == wanted.head[0] &&
            (wanted.head_len == 1 || memcmp(p, wanted.head, wanted.head_len) == 0) &&
            memcmp(p + wanted.head_len, s.ptr, wanted.body.len) == 0)
            return (uint32_t)(p - start);
        p += step_bytes(p);
        for (uint32_t i = 0; i < skip && *p != END; i++) p += step_bytes(p);
    }
    return 0;
}

// Is every element written in the shortest way, and integers as such?
static bool is_canonical(const struct listpack *lp)
{
    const unsigned char *p = bytes_of(lp) + LISTPACK_HEADER_BYTES;
    for (; *p != END; p += step_bytes(p)) {
        struct item i;
        listpack_get(lp, (uint32_t)(p - bytes_of(lp)), &i);
        struct encoded e = i.ptr ? encode((struct slice){i.ptr, i.len}) : encode_integer(i.integer);
        if (memcmp(p, e.head, e.head_len) != 0) return false;
    }
    return true;
}

struct listpack *listpack_from_bytes(const void *bytes, size_t len)
{
    const struct listpack *from = bytes;
    if (is_canonical(from)) return copy_bytes(bytes, len);
    struct listpack *lp = listpack_new(len);
    struct item i;
    for (uint32_t at = listpack_first(from); at;) {
        at = listpack_get(from, at, &i);
        lp = i.ptr ? listpack_append(lp, (struct slice){i.ptr, i.len})
                   : listpack_append_integer(lp, i.integer);
    }
    return lp;
}

// --- changing ------------------------------------------------------------------------------------

// Puts `with` (NULL: nothing) in the place of the `gone` bytes at `at`, which hold `gone_count`
// elements.
static struct listpack *splice(struct listpack *lp, uint32_t at, uint32_t gone, uint32_t gone_count,
                               const struct encoded *with)
{
    uint32_t total = total_of(lp), come = with ? with->total : 0, count = count_field(lp);
    uint32_t new_total = total - gone + come;
    ASSERT((uint64_t)total - gone + come <= LISTPACK_MAX_BYTES);
    if (new_total > total) lp = mem_realloc(lp, new_total);
    unsigned char *p = bytes_of(lp);
    if (come != gone) memmove(p + at + come, p + at + gone, total - at - gone);
    if (with) write_element(p + at, with);
    if (new_total < total) lp = mem_realloc(lp, new_total);
    store_u32(bytes_of(lp), new_total);
    if (count != COUNT_UNKNOWN) set_count(lp, count - gone_count + (with ? 1 : 0));
    return lp;
}

static struct listpack *append(struct listpack *lp, const struct encoded *e)
{
    return splice(lp, total_of(lp) - 1, 0, 0, e);
}

struct listpack *listpack_append(struct listpack *lp, struct slice s)
{
    struct encoded e = encode(s);
    return append(lp, &e);
}

struct listpack *listpack_append_integer(struct listpack *lp, int64_t integer)
{
    struct encoded e = encode_integer(integer);
    return append(lp, &e);
}

struct listpack *listpack_append_item(struct listpack *lp, const struct item *i)
{
    if (!i->ptr) return listpack_append_integer(lp, i->integer);
    return listpack_append(lp, (struct slice){i->ptr, i->len});
}

struct listpack *listpack_prepend(struct listpack *lp, struct slice s)
{
    struct encoded e = encode(s);
    return splice(lp, LISTPACK_HEADER_BYTES, 0, 0, &e);
}

static struct listpack *insert(struct listpack *lp, uint32_t *at, const struct encoded *e)
{
    if (!*at) *at = total_of(lp) - 1;
    return splice(lp, *at, 0, 0, e);
}

struct listpack *listpack_insert(struct listpack *lp, uint32_t *at, struct slice s)
{
    struct encoded e = encode(s);
    return insert(lp, at, &e);
}

struct listpack *listpack_insert_integer(struct listpack *lp, uint32_t *at, int64_t integer)
{
    struct encoded e = encode_integer(integer);
    return insert(lp, at, &e);
}

struct listpack *listpack_replace(struct listpack *lp, uint32_t at, struct slice s)
{
    struct encoded e = encode(s);
    return splice(lp, at, step_bytes(bytes_of(lp) + at), 1, &e);
}

struct listpack *listpack_replace_integer(struct listpack *lp, uint32_t at, int64_t integer)
{
    struct encoded e = encode_integer(integer);
    return splice(lp, at, step_bytes(bytes_of(lp) + at), 1, &e);
}

struct listpack *listpack_delete(struct listpack *lp, uint32_t at, uint32_t count)
{
    const unsigned char *start = bytes_of(lp) + at, *p = start;
    uint32_t n = 0;
    for (; n < count && *p != END; n++) p += step_bytes(p);
    return splice(lp, at, (uint32_t)(p - start), n, NULL);
}

// --- in memory of the caller's own ---------------------------------------------------------------

uint32_t listpack_put(char *p, struct slice s)
{
    struct encoded e = encode(s);
    write_element((unsigned char *)p, &e);
    return e.total;
}

uint32_t listpack_put_before(char *p, struct slice s)
{
    struct encoded e = encode(s);
    write_element((unsigned char *)p - e.total, &e);
    return e.total;
}

uint32_t listpack_put_integer(char *p, int64_t integer)
{
    struct encoded e = encode_integer(integer);
    write_element((unsigned char *)p, &e);
    return e.total;
}

void listpack_put_frame(struct listpack *lp, uint32_t bytes, uint32_t count)
{
    store_u32(bytes_of(lp), bytes);
    set_count(lp, count);
    bytes_of(lp)[bytes - 1] = END;
}
