// SPDX-License-Identifier: BSD-3-Clause
//
// Both readers walk the bytes once and check everything that a writer guarantees: that each entry
// fits, that lengths written twice agree, that the walk ends exactly where the whole does.
#include "ds/ziplist.h"

#include "base/mem.h"

#define END           0xff
#define LONG_LENGTH   0xfe // 32 bits follow
#define HEADER_BYTES  10
#define COUNT_UNKNOWN 65535u
// Elements may take a few bytes more in a listpack than here; it must still hold them all.
#define BYTES_MAX (LISTPACK_MAX_BYTES / 4)

#define ZIPMAP_COUNT_UNKNOWN 254

struct cursor {
    const unsigned char *at, *end; // end: of what may be read
};

static size_t left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}

static uint64_t load(const unsigned char *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++) v |= (uint64_t)p[i] << 8 * i;
    return v;
}

// A little-endian integer with its sign.
static bool get_integer(struct cursor *c, unsigned bytes, int64_t *out)
{
    if (left(c) < bytes) return false;
    unsigned shift = 64 - 8 * bytes;
    *out = (int64_t)(load(c->at, bytes) << shift) >> shift;
    c->at += bytes;
    return true;
}

static bool get_string(struct cursor *c, uint64_t len, struct item *out)
{
    if (len > left(c)) return false;
    *out = (struct item){.ptr = (const char *)c->at, .len = len};
    c->at += len;
    return true;
}

// A length in either structure: below 254, or 32 bits.
static bool get_length(struct cursor *c, uint64_t *out)
{
    if (!left(c) || *c->at == END) return false;
    if (*c->at < LONG_LENGTH) {
        *out = *c->at++;
        return true;
    }
    if (left(c) < 5) return false;
    *out = load(c->at + 1, 4);
    c->at += 5;
    return true;
}

// --- ziplists ------------------------------------------------------------------------------------

static bool get_long_string(struct cursor *c, struct item *out)
{
    if (left(c) < 4) return false;
    uint64_t len =
        (uint64_t)c->at[0] << 24 | (uint64_t)c->at[1] << 16 | (uint64_t)c->at[2] << 8 | c->at[3];
    c->at += 4;
    return get_string(c, len, out);
}

static bool get_data(struct cursor *c, struct item *out)
{
    if (!left(c)) return false;
    unsigned char e = *c->at++;
    if (e < 0x40) return get_string(c, e, out);
    if (e < 0x80) {
        if (!left(c)) return false;
        uint64_t low = *c->at++;
        return get_string(c, (uint64_t)(e & 0x3f) << 8 | low, out);
    }
    *out = (struct item){.ptr = NULL};
    switch (e) {
    case 0x80: return get_long_string(c, out);
    case 0xc0: return get_integer(c, 2, &out->integer);
    case 0xd0: return get_integer(c, 4, &out->integer);
    case 0xe0: return get_integer(c, 8, &out->integer);
    case 0xf0: return get_integer(c, 3, &out->integer);
    case 0xfe: return get_integer(c, 1, &out->integer);
    default: out->integer = e - 0xf1; return e > 0xf0 && e < 0xfe;
    }
}

// False if the entries, which end where the cursor does, are not what the header says.
static bool convert(struct cursor *c, uint64_t last, uint64_t count, struct listpack **lp)
{
    const unsigned char *start = c->at, *entry = start;
    uint64_t previous = 0, n = 0, said;
    struct item item;
    for (; left(c); n++) {
        entry = c->at;
        if (!get_length(c, &said) || said != previous || !get_data(c, &item)) return false;
        previous = (uint64_t)(c->at - entry);
        *lp = listpack_append_item(*lp, &item);
    }
    return last == HEADER_BYTES + (uint64_t)(entry - start) &&
           (count == COUNT_UNKNOWN || count == n);
}

struct listpack *ziplist_to_listpack(const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    if (len < HEADER_BYTES + 1 || len > BYTES_MAX || load(p, 4) != len || p[len - 1] != END)
        return NULL;
    struct cursor c = {p + HEADER_BYTES, p + len - 1};
    struct listpack *lp = listpack_new(len);
    if (convert(&c, load(p + 4, 4), load(p + 8, 2), &lp)) return listpack_shrink(lp);
    mem_free(lp);
    return NULL;
}

// --- zipmaps -------------------------------------------------------------------------------------

static bool convert_pair(struct cursor *c, struct listpack **lp)
{
    uint64_t len, gap;
    struct item field, value, unused;
    if (!get_length(c, &len) || !get_string(c, len, &field)) return false;
    if (!get_length(c, &len) || !left(c)) return false;
    gap = *c->at++;
    if (!get_string(c, len, &value) || !get_string(c, gap, &unused)) return false;
    *lp = listpack_append_item(*lp, &field);
    *lp = listpack_append_item(*lp, &value);
    return true;
}

struct listpack *ziplist_zipmap_to_listpack(const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    if (len < 2 || len > BYTES_MAX || p[len - 1] != END) return NULL;
    struct cursor c = {p + 1, p + len - 1};
    struct listpack *lp = listpack_new(len);
    uint64_t pairs = 0;
    for (; left(&c); pairs++)
        if (!convert_pair(&c, &lp)) goto bad;
    if (p[0] < ZIPMAP_COUNT_UNKNOWN && p[0] != pairs) goto bad;
    return listpack_shrink(lp);
bad:
    mem_free(lp);
    return NULL;
}
