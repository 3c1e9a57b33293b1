// SPDX-License-Identifier: BSD-3-Clause
#include "ds/packed.h"

#include "base/assert.h"
#include "base/mem.h"

#define SLACK_BYTES   8  // a word may be read at any byte of the text
#define WIDTH_MAX_ODD 56 // a word read at any bit holds so many bits for certain

struct packed {
    uint32_t bytes; // all of this
    uint32_t count;
    uint32_t listpack_bytes;
    uint16_t prefix_len;
    uint16_t min_len; // behind the prefix
    int64_t least;    // integers
    uint8_t is_integers;
    uint8_t width; // bits a character; 8: as they are, without an alphabet. Or bits an integer
    uint8_t length_width; // bits of an element's length above min_len
    uint8_t spare;
    uint32_t lengths_at, text_at; // offsets
    char data[];
};

#define HEADER_BYTES offsetof(struct packed, data) // not sizeof: that may be padded

// --- bits ----------------------------------------------------------------------------------------

// What lies from bit `at` on, in the lower WIDTH_MAX_ODD bits at least; all 64 if at % 8 is 0.
static inline uint64_t bits_at(const char *stream, uint64_t at)
{
    uint64_t word;
    memcpy(&word, stream + at / 8, 8); // little endian, as is every machine Gyre runs on
    return word >> at % 8;
}

static inline uint64_t mask_of(unsigned width)
{
    return width >= 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
}

static unsigned width_of(uint64_t greatest)
{
    return greatest ? 64 - (unsigned)__builtin_clzll(greatest) : 0;
}

// Writes streams of bits, first to last.
struct bit_writer {
    char *to;
    uint64_t word;
    unsigned used; // bits in word; below 8 between calls
};

// width: up to WIDTH_MAX_ODD.
static inline void put_bits(struct bit_writer *w, uint64_t value, unsigned width)
{
    w->word |= value << w->used;
    w->used += width;
    memcpy(w->to, &w->word, 8); // runs over the end by up to SLACK_BYTES
    w->to += w->used / 8;
    w->word >>= w->used & ~7u;
    w->used &= 7;
}

static void finish_bits(struct bit_writer *w)
{
    *w->to = (char)w->word;
}

static inline const char *lengths_of(const struct packed *p)
{
    return (const char *)p + p->lengths_at;
}

static inline const char *text_of(const struct packed *p)
{
    return (const char *)p + p->text_at;
}

// --- packing -------------------------------------------------------------------------------------

// What the elements have in common. They are read from the listpack once, into one of two arrays.
struct survey {
    uint32_t count;
    union {
        struct slice *texts; // owned; in the listpack, or (integers among strings) in `printed`
        int64_t *integers;   // owned
    };
    char *printed;           // owned
    int64_t least, greatest; // of the integers
    const char *prefix;      // of the texts
    size_t prefix_len, min_len, max_len, sum_len;
    unsigned char codes[256]; // of each character
    char alphabet[256];
    unsigned width;
};

static void survey_free(struct survey *v)
{
    mem_free(v->texts);
    mem_free(v->printed);
}

// False: not all are integers.
static bool survey_integers(struct survey *v, const struct listpack *lp)
{
    struct item i;
    uint32_t n = 0;
    v->least = INT64_MAX;
    v->greatest = INT64_MIN;
    for (uint32_t at = listpack_first(lp); at; n++) {
        at = listpack_get(lp, at, &i);
        if (i.ptr) return false;
        v->integers[n] = i.integer;
        v->least = MIN(v->least, i.integer);
        v->greatest = MAX(v->greatest, i.integer);
    }
    return true;
}

static size_t common_len(const char *a, const char *b, size_t max)
{
    size_t n = 0;
    while (n < max && a[n] == b[n]) n++;
    return n;
}

static void survey_text(struct survey *v, struct slice s)
{
    if (s.len < v->prefix_len || memcmp(v->prefix, s.ptr, v->prefix_len) != 0)
        v->prefix_len = common_len(v->prefix, s.ptr, MIN(v->prefix_len, s.len));
    v->min_len = MIN(v->min_len, s.len);
    v->max_len = MAX(v->max_len, s.len);
    v->sum_len += s.len;
}

// False: an element is too long.
static bool survey_texts(struct survey *v, const struct listpack *lp)
{
    struct item i;
    uint32_t n = 0;
    size_t printed = 0;
    v->min_len = SIZE_MAX;
    for (uint32_t at = listpack_first(lp); at; n++) {
        at = listpack_get(lp, at, &i);
        if (!i.ptr) {
            if (!v->printed) v->printed = mem_alloc((size_t)v->count * NUM_I64_TEXT);
            v->texts[n] = item_slice(&i, v->printed + printed);
            printed += v->texts[n].len;
        } else {
            v->texts[n] = (struct slice){i.ptr, i.len};
        }
        if (n == 0) v->prefix = v->texts[0].ptr, v->prefix_len = v->texts[0].len;
        survey_text(v, v->texts[n]);
    }
    return v->max_len <= PACKED_ITEM_MAX;
}

static void survey_characters(struct survey *v)
{
    bool is_used[256] = {false};
    unsigned used = 0;
    for (uint32_t n = 0; n < v->count; n++) {
        struct slice s = v->texts[n];
        for (size_t k = v->prefix_len; k < s.len; k++) is_used[(unsigned char)s.ptr[k]] = true;
    }
    for (unsigned c = 0; c < 256; c++) {
        if (!is_used[c]) continue;
        v->codes[c] = (unsigned char)used;
        v->alphabet[used++] = (char)c;
    }
    v->width = used > 1 ? width_of(used - 1) : 0;
}

// The whole, empty, if it takes at most `limit` bytes; else NULL.
static struct packed *packed_alloc(const struct packed *header, size_t data_bytes, size_t limit)
{
    size_t bytes = HEADER_BYTES + data_bytes + SLACK_BYTES;
    if (mem_good_bytes(bytes) > limit) return NULL;
    struct packed *p = mem_alloc(bytes);
    memcpy(p, header, HEADER_BYTES);
    p->bytes = (uint32_t)bytes;
    return p;
}

static struct packed *pack_integers(const struct survey *v, const struct listpack *lp, size_t limit)
{
    unsigned width = width_of((uint64_t)v->greatest - (uint64_t)v->least);
    if (width > WIDTH_MAX_ODD) width = 64;
    struct packed header = {.count = v->count,
                            .listpack_bytes = (uint32_t)listpack_bytes(lp),
                            .least = v->least,
                            .is_integers = true,
                            .width = (uint8_t)width,
                            .text_at = HEADER_BYTES};
    struct packed *p = packed_alloc(&header, ((size_t)v->count * width + 7) / 8, limit);
    if (!p) return NULL;
    struct bit_writer w = {.to = p->data};
    for (uint32_t n = 0; n < v->count; n++) {
        uint64_t offset = (uint64_t)v->integers[n] - (uint64_t)v->least;
        if (width == 64) {
            memcpy(w.to, &offset, 8);
            w.to += 8;
        } else {
            put_bits(&w, offset, width);
        }
    }
    finish_bits(&w);
    return p;
}

// width: less than 8, so that eight characters fit put_bits.
static inline void put_text(struct bit_writer *w, const struct survey *v, struct slice s,
                            unsigned width)
{
    const unsigned char *from = (const unsigned char *)s.ptr + v->prefix_len;
    size_t left = s.len - v->prefix_len;
    for (; left >= 8; left -= 8, from += 8) {
        uint64_t eight = 0;
        for (unsigned j = 0; j < 8; j++) eight |= (uint64_t)v->codes[from[j]] << j * width;
        put_bits(w, eight, 8 * width);
    }
    uint64_t rest = 0;
    for (unsigned j = 0; j < left; j++) rest |= (uint64_t)v->codes[from[j]] << j * width;
    put_bits(w, rest, (unsigned)left * width);
}

// The lengths go first: writing them runs over what follows.
static void write_texts(struct packed *p, const struct survey *v)
{
    struct bit_writer lengths = {.to = (char *)p + p->lengths_at};
    struct bit_writer text = {.to = (char *)p + p->text_at};
    memcpy(p->data, v->prefix, v->prefix_len);
    if (v->width < 8) memcpy(p->data + v->prefix_len, v->alphabet, (size_t)1 << v->width);
    if (p->length_width) {
        for (uint32_t n = 0; n < v->count; n++)
            put_bits(&lengths, v->texts[n].len - v->min_len, p->length_width);
        finish_bits(&lengths);
    }
    for (uint32_t n = 0; n < v->count; n++) {
        struct slice s = v->texts[n];
        if (v->width < 8) {
            put_text(&text, v, s, v->width);
        } else {
            memcpy(text.to, s.ptr + v->prefix_len, s.len - v->prefix_len);
            text.to += s.len - v->prefix_len;
        }
    }
    if (v->width < 8) finish_bits(&text);
}

static struct packed *pack_texts(struct survey *v, const struct listpack *lp, size_t limit)
{
    survey_characters(v);
    unsigned length_width = width_of(v->max_len - v->min_len);
    size_t alphabet = v->width < 8 ? (size_t)1 << v->width : 0;
    size_t lengths = ((size_t)v->count * length_width + 7) / 8;
    size_t text = ((v->sum_len - v->count * v->prefix_len) * v->width + 7) / 8;
    struct packed header = {.count = v->count,
                            .listpack_bytes = (uint32_t)listpack_bytes(lp),
                            .prefix_len = (uint16_t)v->prefix_len,
                            .min_len = (uint16_t)(v->min_len - v->prefix_len),
                            .width = (uint8_t)v->width,
                            .length_width = (uint8_t)length_width};
    header.lengths_at = (uint32_t)(HEADER_BYTES + v->prefix_len + alphabet);
    header.text_at = header.lengths_at + (uint32_t)lengths;
    struct packed *p = packed_alloc(&header, v->prefix_len + alphabet + lengths + text, limit);
    if (p) write_texts(p, v);
    return p;
}

struct packed *packed_new(const struct listpack *lp)
{
    struct survey v = {.count = listpack_count(lp)};
    struct packed *p = NULL;
    if (!v.count) return NULL;
    size_t limit = mem_good_bytes(listpack_bytes(lp));
    limit -= limit / 8;
    v.texts = mem_alloc(v.count * sizeof *v.texts);
    if (survey_integers(&v, lp))
        p = pack_integers(&v, lp, limit);
    else if (survey_texts(&v, lp))
        p = pack_texts(&v, lp, limit);
    survey_free(&v);
    return p;
}

// --- whole ---------------------------------------------------------------------------------------

struct packed *packed_copy(const struct packed *p)
{
    struct packed *copy = mem_alloc(p->bytes);
    memcpy(copy, p, p->bytes);
    return copy;
}

size_t packed_bytes(const struct packed *p)
{
    return p->bytes;
}

uint32_t packed_count(const struct packed *p)
{
    return p->count;
}

struct listpack *packed_unpack(const struct packed *p)
{
    struct packed_cursor c;
    struct item i;
    struct listpack *lp = mem_alloc(p->listpack_bytes);
    char *to = (char *)lp + LISTPACK_HEADER_BYTES;
    packed_seek(&c, p, 0);
    while (packed_next(&c, &i))
        to += i.ptr ? listpack_put(to, (struct slice){i.ptr, i.len})
                    : listpack_put_integer(to, i.integer);
    ASSERT(to + 1 == (char *)lp + p->listpack_bytes);
    listpack_put_frame(lp, p->listpack_bytes, p->count);
    return lp;
}

void packed_validate(const struct packed *p)
{
    struct listpack *lp = packed_unpack(p);
    listpack_validate(lp);
    ASSERT(listpack_count(lp) == p->count);
    mem_free(lp);
}

// --- reading -------------------------------------------------------------------------------------

// How long element number `index` is behind the prefix.
static inline size_t length_at(const struct packed *p, uint32_t index)
{
    if (!p->length_width) return p->min_len;
    uint64_t above = bits_at(lengths_of(p), (uint64_t)index * p->length_width);
    return p->min_len + (above & mask_of(p->length_width));
}

static void read_text(struct packed_cursor *c, size_t len, struct item *out)
{
    const struct packed *p = c->packed;
    const char *stream = text_of(p), *alphabet = p->data + p->prefix_len;
    unsigned width = p->width, mask = (1u << width) - 1;
    char *to = c->text + p->prefix_len; // the prefix is there: packed_seek
    *out = (struct item){.ptr = c->text, .len = p->prefix_len + len};
    if (width == 8) {
        memcpy(to, stream + c->bit / 8, len);
        return;
    }
    uint64_t bit = c->bit;
    for (; len >= 8; len -= 8, to += 8, bit += 8 * width) {
        uint64_t word = bits_at(stream, bit);
        for (unsigned j = 0; j < 8; j++) to[j] = alphabet[(word >> j * width) & mask];
    }
    uint64_t word = len ? bits_at(stream, bit) : 0;
    for (unsigned j = 0; j < len; j++) to[j] = alphabet[(word >> j * width) & mask];
}

static void read_integer(const struct packed *p, uint32_t index, struct item *out)
{
    uint64_t offset = bits_at(text_of(p), (uint64_t)index * p->width) & mask_of(p->width);
    *out = item_of_integer((int64_t)((uint64_t)p->least + offset));
}

void packed_seek(struct packed_cursor *c, const struct packed *p, uint32_t index)
{
    c->packed = p;
    c->index = index;
    if (p->is_integers) return;
    memcpy(c->text, p->data, p->prefix_len);
    uint64_t characters = (uint64_t)index * p->min_len;
    if (p->length_width) {
        const char *lengths = lengths_of(p);
        unsigned width = p->length_width;
        uint64_t mask = mask_of(width), bit = 0;
        for (uint32_t i = 0; i < index; i++, bit += width)
            characters += bits_at(lengths, bit) & mask;
    }
    c->bit = characters * p->width;
}

bool packed_next(struct packed_cursor *c, struct item *out)
{
    const struct packed *p = c->packed;
    if (c->index == p->count) return false;
    if (p->is_integers) {
        read_integer(p, c->index++, out);
        return true;
    }
    size_t len = length_at(p, c->index++);
    read_text(c, len, out);
    c->bit += len * p->width;
    return true;
}

bool packed_prev(struct packed_cursor *c, struct item *out)
{
    const struct packed *p = c->packed;
    if (c->index == 0) return false;
    c->index--;
    if (p->is_integers) {
        read_integer(p, c->index, out);
        return true;
    }
    size_t len = length_at(p, c->index);
    c->bit -= len * p->width;
    read_text(c, len, out);
    return true;
}
