// SPDX-License-Identifier: BSD-3-Clause
//
// RESP, the protocol of replies (RESP2 and RESP3 specifications,
// redis.io/docs/reference/protocol-spec). Every value begins with a byte that says its type, and
// every line ends with CR LF:
//
//   +text  -ERR text  :123  ,1.5  #t  _  (123…       one line each: string, error, integer, double,
//                                                   boolean, null, big number
//   $len  bytes                                     bulk string; $-1: null in RESP2
//   =len  txt:bytes      !len  bytes                verbatim string, bulk error
//   *n    n values       ~n  >n                     array, set, push; *-1: null array in RESP2
//   %n    2n values      |n  2n values, a value     map; attributes of the value behind them
//
// In RESP2, whatever RESP3 added goes out as the nearest thing that RESP2 has.
//
// Chunks: a heap chunk's data stand behind its header in one allocation. The chunk behind a linked
// blob begins small, since often only a CR LF and a short header follow: a reply of many big values
// must not pay 16 KiB each.
#include "engine/reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

#define SMALL_CHUNK_BYTES 472                // behind a blob: 512 bytes with header
#define LARGE_CHUNK_BYTES ((size_t)64 << 20) // reply_raw cuts what is longer
#define ERROR_CODE_SEARCH 32 // Redis looks for the end of an error's code in so many bytes
#define HEADER_TEXT       (NUM_I64_TEXT + 3) // type byte, number, CR LF
#define ERROR_TEXT        1024 // longest text of reply_errorf that needs no allocation

// --- chunks --------------------------------------------------------------------------------------

void reply_init(struct reply *r, uint8_t resp)
{
    *r = (struct reply){.resp = resp};
}

static struct reply_chunk *chunk_new(size_t cap)
{
    struct reply_chunk *c = mem_alloc(sizeof *c + cap);
    *c = (struct reply_chunk){.data = (char *)(c + 1), .cap = (uint32_t)cap, .kind = CHUNK_HEAP};
    return c;
}

static void chunk_free(struct reply_chunk *c)
{
    if (c->kind == CHUNK_LENT) return;
    if (c->kind == CHUNK_BLOB) blob_unref(c->blob);
    mem_free(c);
}

void reply_chunks_free(struct reply_chunk *list)
{
    while (list) {
        struct reply_chunk *next = list->next;
        chunk_free(list);
        list = next;
    }
}

// Frees a chunk unless it can be the spare.
static void chunk_recycle(struct reply *r, struct reply_chunk *c)
{
    if (!r->spare && c->kind == CHUNK_HEAP && c->cap == REPLY_CHUNK_BYTES) {
        c->next = NULL;
        c->len = 0;
        r->spare = c;
    } else {
        chunk_free(c);
    }
}

void reply_recycle(struct reply *r, struct reply_chunk *list)
{
    while (list) {
        struct reply_chunk *next = list->next;
        chunk_recycle(r, list);
        list = next;
    }
}

void reply_free(struct reply *r)
{
    reply_chunks_free(r->head);
    mem_free(r->spare);
    r->head = r->tail = r->spare = NULL;
    r->pos = r->end = NULL;
    r->sealed_bytes = 0;
}

void reply_clear(struct reply *r)
{
    reply_recycle(r, reply_detach(r));
}

static size_t tail_len(const struct reply *r)
{
    return r->tail ? (size_t)(r->pos - r->tail->data) : 0;
}

size_t reply_bytes(const struct reply *r)
{
    return r->sealed_bytes + tail_len(r);
}

void reply_sync(struct reply *r)
{
    if (r->tail) r->tail->len = tail_len(r);
}

// Makes `c`, which holds c->len bytes, the last chunk.
static void append_chunk(struct reply *r, struct reply_chunk *c)
{
    reply_sync(r);
    r->sealed_bytes += tail_len(r);
    c->next = NULL;
    if (r->tail)
        r->tail->next = c;
    else
        r->head = c;
    r->tail = c;
    r->pos = c->data + c->len;
    r->end = c->kind == CHUNK_BLOB ? r->pos : c->data + c->cap;
}

struct reply_chunk *reply_detach(struct reply *r)
{
    reply_sync(r);
    struct reply_chunk *list = r->head;
    r->head = r->tail = NULL;
    r->pos = r->end = NULL;
    r->sealed_bytes = 0;
    return list;
}

void reply_lend(struct reply *r, struct reply_chunk *chunk, char *data, uint32_t cap)
{
    ASSERT(!r->head);
    *chunk = (struct reply_chunk){.data = data, .cap = cap, .kind = CHUNK_LENT};
    append_chunk(r, chunk);
}

struct reply_chunk *reply_chunk_new(uint32_t cap)
{
    return chunk_new(cap);
}

void reply_begin_with(struct reply *r, struct reply_chunk *chunk)
{
    ASSERT(!r->head);
    append_chunk(r, chunk);
}

void reply_grow(struct reply *r, size_t n)
{
    struct reply_chunk *c = r->spare;
    ASSERT(n <= UINT32_MAX);
    if (r->tail && r->tail->kind == CHUNK_BLOB && n <= SMALL_CHUNK_BYTES) {
        c = chunk_new(SMALL_CHUNK_BYTES);
    } else if (c && n <= REPLY_CHUNK_BYTES) {
        r->spare = NULL;
    } else {
        c = chunk_new(MAX(n, (size_t)REPLY_CHUNK_BYTES));
    }
    append_chunk(r, c);
}

// Fills the room there is before it takes more, so that no chunk is left half empty.
void reply_raw(struct reply *r, const void *data, size_t len)
{
    const char *from = data;
    while (len) {
        size_t room = (size_t)(r->end - r->pos);
        if (room == 0) {
            reply_grow(r, MIN(len, LARGE_CHUNK_BYTES));
            continue;
        }
        size_t n = MIN(len, room);
        memcpy(r->pos, from, n);
        r->pos += n;
        from += n;
        len -= n;
    }
}

void reply_splice(struct reply *to, struct reply *from)
{
    struct reply_chunk *next, *c = reply_detach(from);
    for (; c; c = next) {
        next = c->next;
        if (c->kind == CHUNK_LENT || (c->kind == CHUNK_HEAP && c->len <= REPLY_COPY_BYTES)) {
            reply_raw(to, c->data, c->len);
            chunk_recycle(from, c);
        } else {
            append_chunk(to, c);
        }
    }
}

char *reply_flatten(struct reply *r, size_t *len)
{
    char *out = mem_alloc(reply_bytes(r) + 1), *p = out;
    reply_sync(r);
    for (const struct reply_chunk *c = r->head; c; c = c->next) {
        memcpy(p, c->data, c->len);
        p += c->len;
    }
    *p = '\0';
    *len = (size_t)(p - out);
    return out;
}

static void validate_chunk(const struct reply_chunk *c, size_t len)
{
    switch ((enum reply_chunk_kind)c->kind) {
    case CHUNK_HEAP: ASSERT(c->data == (const char *)(c + 1)); break;
    case CHUNK_LENT: break;
    case CHUNK_BLOB: ASSERT(c->data == c->blob->data && len <= c->blob->len); return;
    }
    ASSERT(!c->blob && len <= c->cap);
}

void reply_validate(const struct reply *r)
{
    size_t sealed = 0;
    ASSERT(r->resp == 2 || r->resp == 3);
    ASSERT(!r->head == !r->tail && r->pos <= r->end);
    for (const struct reply_chunk *c = r->head; c; c = c->next) {
        ASSERT(!c->next == (c == r->tail));
        ASSERT(c->kind != CHUNK_LENT || c == r->head);
        size_t len = c == r->tail ? tail_len(r) : c->len;
        validate_chunk(c, len);
        if (c != r->tail) sealed += len;
    }
    ASSERT(sealed == r->sealed_bytes);
    if (!r->tail)
        ASSERT(!r->pos && !r->end);
    else
        ASSERT(r->end == (r->tail->kind == CHUNK_BLOB ? r->pos : r->tail->data + r->tail->cap));
    if (r->spare)
        ASSERT(r->spare->kind == CHUNK_HEAP && !r->spare->next &&
               r->spare->cap == REPLY_CHUNK_BYTES);
}

// --- values --------------------------------------------------------------------------------------

// Writes "<type><n>\r\n" at p (HEADER_TEXT bytes of room); returns its end.
static char *write_header(char *p, char type, int64_t n)
{
    *p++ = type;
    p += num_format_i64(p, n);
    *p++ = '\r';
    *p++ = '\n';
    return p;
}

static void header(struct reply *r, char type, size_t n)
{
    r->pos = write_header(reply_reserve(r, HEADER_TEXT), type, (int64_t)n);
}

static void raw_text(struct reply *r, const char *text)
{
    reply_raw(r, text, strlen(text));
}

void reply_int_any(struct reply *r, int64_t value)
{
    r->pos = write_header(reply_reserve(r, HEADER_TEXT), ':', value);
}

void reply_bulk_any(struct reply *r, struct slice bytes)
{
    header(r, '$', bytes.len);
    if (LIKELY((size_t)(r->end - r->pos) >= bytes.len + 2)) {
        memcpy(r->pos, bytes.ptr, bytes.len);
        memcpy(r->pos + bytes.len, "\r\n", 2);
        r->pos += bytes.len + 2;
    } else {
        reply_raw(r, bytes.ptr, bytes.len);
        reply_raw(r, "\r\n", 2);
    }
}

void reply_simple(struct reply *r, const char *text)
{
    size_t len = strlen(text);
    char *p = reply_reserve(r, len + 3);
    *p = '+';
    memcpy(p + 1, text, len);
    memcpy(p + 1 + len, "\r\n", 2);
    r->pos = p + len + 3;
}

// Keeps the first word for INFO's errorstats; a text without one counts as ERR, as in Redis.
static void note_error(struct reply *r, struct slice text)
{
    const char *space = memchr(text.ptr, ' ', MIN(text.len, (size_t)ERROR_CODE_SEARCH));
    struct slice code = space ? (struct slice){text.ptr, (size_t)(space - text.ptr)} : SLICE("ERR");
    code.len = MIN(code.len, sizeof r->error_code - 1);
    memcpy(r->error_code, code.ptr, code.len);
    r->error_code[code.len] = '\0';
    if (r->error_count < UINT16_MAX) r->error_count++;
}

void reply_error(struct reply *r, const char *text)
{
    size_t len = strlen(text);
    while (len && (text[len - 1] == '\r' || text[len - 1] == '\n')) len--;
    note_error(r, (struct slice){text, len});
    char *p = reply_reserve(r, len + 3);
    *p++ = '-';
    for (size_t i = 0; i < len; i++) *p++ = text[i] == '\r' || text[i] == '\n' ? ' ' : text[i];
    memcpy(p, "\r\n", 2);
    r->pos = p + 2;
}

void reply_errorf(struct reply *r, const char *format, ...)
{
    char text[ERROR_TEXT], *long_text = NULL;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len >= (int)sizeof text) {
        long_text = mem_alloc((size_t)len + 1);
        va_start(args, format);
        vsnprintf(long_text, (size_t)len + 1, format, args);
        va_end(args);
    }
    reply_error(r, long_text ? long_text : text);
    mem_free(long_text);
}

void reply_bulk_text(struct reply *r, const char *text)
{
    reply_bulk(r, slice_of(text));
}

void reply_bulk_int(struct reply *r, int64_t value)
{
    char text[NUM_I64_TEXT];
    reply_bulk(r, (struct slice){text, num_format_i64(text, value)});
}

void reply_blob(struct reply *r, struct blob *blob)
{
    if (blob->len < REPLY_LINK_BYTES) {
        reply_bulk(r, (struct slice){blob->data, blob->len});
        return;
    }
    header(r, '$', blob->len);
    reply_link(r, blob);
    reply_raw(r, "\r\n", 2);
}

void reply_link(struct reply *r, struct blob *blob)
{
    struct reply_chunk *c = mem_alloc(sizeof *c);
    *c = (struct reply_chunk){
        .data = blob->data, .blob = blob_ref(blob), .len = blob->len, .kind = CHUNK_BLOB};
    append_chunk(r, c);
}

void reply_null_array(struct reply *r)
{
    raw_text(r, r->resp == 2 ? "*-1\r\n" : "_\r\n");
}

void reply_bool(struct reply *r, bool value)
{
    if (r->resp == 2)
        reply_int(r, value);
    else
        raw_text(r, value ? "#t\r\n" : "#f\r\n");
}

void reply_double(struct reply *r, double value)
{
    char text[64];
    size_t len = num_format_double(text, sizeof text, value);
    if (r->resp == 2) {
        reply_bulk(r, (struct slice){text, len});
        return;
    }
    char *p = reply_reserve(r, len + 3);
    *p = ',';
    memcpy(p + 1, text, len);
    memcpy(p + 1 + len, "\r\n", 2);
    r->pos = p + len + 3;
}

void reply_verbatim(struct reply *r, const char ext[3], struct slice text)
{
    if (r->resp == 2) {
        reply_bulk(r, text);
        return;
    }
    header(r, '=', text.len + 4);
    reply_raw(r, ext, 3);
    reply_raw(r, ":", 1);
    reply_raw(r, text.ptr, text.len);
    reply_raw(r, "\r\n", 2);
}

void reply_array(struct reply *r, size_t n)
{
    header(r, '*', n);
}

void reply_map(struct reply *r, size_t pairs)
{
    header(r, r->resp == 2 ? '*' : '%', r->resp == 2 ? pairs * 2 : pairs);
}

void reply_set(struct reply *r, size_t n)
{
    header(r, r->resp == 2 ? '*' : '~', n);
}

void reply_push(struct reply *r, size_t n)
{
    header(r, r->resp == 2 ? '*' : '>', n);
}

// --- arrays of unknown length --------------------------------------------------------------------

struct reply_mark reply_open(struct reply *r)
{
    return (struct reply_mark){r->tail, tail_len(r)};
}

// Inserts text at `offset` of chunk c if it has room for it: false if not.
static bool insert_in_place(struct reply *r, struct reply_chunk *c, size_t offset,
                            struct slice text)
{
    if (c->kind == CHUNK_BLOB || c->cap - c->len < text.len) return false;
    char *at = c->data + offset;
    memmove(at + text.len, at, c->len - offset);
    memcpy(at, text.ptr, text.len);
    c->len += text.len;
    if (c == r->tail)
        r->pos += text.len;
    else
        r->sealed_bytes += text.len;
    return true;
}

// Cuts c at `offset` and puts a chunk behind it with the text and what was cut off.
static void insert_chunk(struct reply *r, struct reply_chunk *c, size_t offset, struct slice text)
{
    size_t moved = c->len - offset;
    struct reply_chunk *added = chunk_new(text.len + moved);
    memcpy(added->data, text.ptr, text.len);
    memcpy(added->data + text.len, c->data + offset, moved);
    added->len = text.len + moved;
    c->len = offset;
    if (c == r->tail) {
        r->pos = c->data + offset; // append_chunk counts c by this
        append_chunk(r, added);
    } else {
        added->next = c->next;
        c->next = added;
        r->sealed_bytes += text.len;
    }
}

static void close_aggregate(struct reply *r, struct reply_mark mark, char type, size_t n)
{
    char bytes[HEADER_TEXT];
    struct slice text = {bytes, (size_t)(write_header(bytes, type, (int64_t)n) - bytes)};
    struct reply_chunk *c = mark.chunk ? mark.chunk : r->head;
    if (!c || (c == r->tail && mark.offset == tail_len(r))) { // nothing was written since
        reply_raw(r, text.ptr, text.len);
        return;
    }
    reply_sync(r);
    if (!insert_in_place(r, c, mark.offset, text)) insert_chunk(r, c, mark.offset, text);
}

void reply_close_array(struct reply *r, struct reply_mark mark, size_t n)
{
    close_aggregate(r, mark, '*', n);
}

void reply_close_map(struct reply *r, struct reply_mark mark, size_t pairs)
{
    close_aggregate(r, mark, r->resp == 2 ? '*' : '%', r->resp == 2 ? pairs * 2 : pairs);
}

void reply_close_set(struct reply *r, struct reply_mark mark, size_t n)
{
    close_aggregate(r, mark, r->resp == 2 ? '*' : '~', n);
}

// --- reading replies -----------------------------------------------------------------------------

// The number of a header line; -1 for a null and for what is no number.
static int64_t line_count(const char *p, const char *line_end)
{
    int64_t n;
    return num_parse_i64((struct slice){p, (size_t)(line_end - p)}, &n) && n >= 0 ? n : -1;
}

const char *reply_skip(const char *p, const char *end)
{
    uint64_t pending = 1; // values still to be passed over
    while (pending) {
        const char *cr = p < end ? memchr(p, '\r', (size_t)(end - p)) : NULL;
        if (!cr || cr + 1 >= end) return NULL;
        int64_t n = line_count(p + 1, cr);
        char type = *p;
        p = cr + 2;
        pending--;
        if (n < 0) continue; // a null, or a line that has no count
        switch (type) {
        case '$':
        case '=':
        case '!':
            if ((uint64_t)(end - p) < (uint64_t)n + 2) return NULL;
            p += n + 2;
            break;
        case '*':
        case '~':
        case '>':
        case '%':
        case '|':
            // Every value takes three bytes at least: more than `end - p` cannot be here.
            if (n > end - p) return NULL;
            pending += type == '%' || type == '|' ? 2 * (uint64_t)n : (uint64_t)n;
            if (type == '|') pending++;
            break;
        default: break;
        }
    }
    return p;
}
