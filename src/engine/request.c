// SPDX-License-Identifier: BSD-3-Clause
//
// The slow path is a machine of five states; each step either takes bytes off the buffer (pos
// moves), or needs more of them, or fails.
//
//    START --'*'--> header line --n > 0--> BULK_HEADER <-------------------+
//      |                 | n <= 0              | $len                      |
//      | else            v                     v                           |
//      +-> INLINE -> DONE, argc 0          BULK_DATA --all there-----------+--last--> DONE
//             |                                | supply_blob               |
//             +----> DONE                      +-----------> BULK_TAIL ----+
//
// Lines are searched with memchr from where the last search ended (`seen`), up to REQUEST_LINE_MAX
// bytes. A line is too long when so many bytes are there and its end is not among them and the one
// behind, which is what Redis decides when bytes arrive one by one: so the verdict does not depend
// on how the stream was cut.
#include "engine/request.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"

#define FIRST_ARGS 8 // length of argv to begin with; it doubles

enum request_state {
    STATE_START, // idle is 0: request_parser_is_idle
    STATE_INLINE,
    STATE_ARRAY,
    STATE_BULK_HEADER,
    STATE_BULK_DATA,
    STATE_BULK_TAIL, // behind a blob
    STATE_DONE,
    STATE_REPEAT, // as DONE, with offsets
    STATE_ERROR,
};

enum request_error {
    ERROR_ARRAY_LINE,
    ERROR_ARRAY_LENGTH,
    ERROR_ARRAY_ANONYMOUS,
    ERROR_BULK_LINE,
    ERROR_BULK_LENGTH,
    ERROR_BULK_ANONYMOUS,
    ERROR_BULK_TYPE,
    ERROR_INLINE_LINE,
    ERROR_INLINE_QUOTES,
};

// --- fast path -----------------------------------------------------------------------------------

#define FAST_HEADER_MIN 6 // "$0\r\n\r\n": where a header begins, so many bytes must follow

// The first four bytes, the first in the lowest bits.
static inline uint32_t load4(const char *p)
{
    uint32_t w;
    memcpy(&w, p, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap32(w);
#endif
    return w;
}

// What stands behind a header, and its number. ptr is NULL if it is no ordinary header.
struct fast_header {
    const char *ptr;
    uint32_t n;
};

static inline uint32_t rotate_right_8(uint32_t w)
{
    return w >> 8 | w << 24;
}

// A header of 3 to REQUEST_FAST_DIGITS digits.
static struct fast_header fast_long_header(const char *p, const char *end, char type)
{
    const struct fast_header none = {NULL, 0};
    if (p[0] != type || p[1] == '0') return none;
    uint32_t v = 0;
    int digits = 0;
    for (p++; p < end && (unsigned char)(*p - '0') < 10; p++) {
        if (++digits > REQUEST_FAST_DIGITS) return none;
        v = v * 10 + (uint32_t)(*p - '0');
    }
    if (digits == 0 || end - p < 2 || p[0] != '\r' || p[1] != '\n') return none;
    return (struct fast_header){p + 2, v};
}

// "<type><n>\r\n", the caller having seen to it that FAST_HEADER_MIN bytes are there. What such a
// header has in common with the others of its length is subtracted from its first four bytes; what
// is left, turned so that the first digit is lowest, is small if and only if it is one. (Behind the
// CR any byte will do, see request.h.)
static inline __attribute__((always_inline)) struct fast_header
fast_header(const char *p, const char *end, char type)
{
    const uint32_t zero = (uint32_t)type | '0' << 8;
    uint32_t w = load4(p);
    uint32_t one = rotate_right_8(w - (zero | '\r' << 16 | '\n' << 24));
    if (one <= 9) return (struct fast_header){p + 4, one};
    uint32_t two = rotate_right_8(w - (zero | '0' << 16 | '\r' << 24)), first = two & 0xff;
    if (two <= 0x9ff && first - 1 <= 8) return (struct fast_header){p + 5, first * 10 + (two >> 8)};
    return fast_long_header(p, end, type);
}

const char *request_parse_fast(const char *p, const char *end, struct slice *argv, int max_args,
                               int *argc)
{
    if (UNLIKELY(end - p < FAST_HEADER_MIN)) return NULL;
    struct fast_header h = fast_header(p, end, '*');
    if (UNLIKELY(!h.ptr || h.n - 1 >= (uint32_t)max_args)) return NULL;
    *argc = (int)h.n;
    for (struct slice *arg = argv, *last = argv + h.n; arg < last; arg++) {
        p = h.ptr;
        if (UNLIKELY(end - p < FAST_HEADER_MIN)) return NULL;
        h = fast_header(p, end, '$');
        if (UNLIKELY(!h.ptr || (size_t)(end - h.ptr) < (size_t)h.n + 2)) return NULL;
        *arg = (struct slice){h.ptr, h.n};
        h.ptr += h.n + 2;
    }
    return h.ptr;
}

// --- state ---------------------------------------------------------------------------------------

void request_parser_init(struct request_parser *p)
{
    *p = (struct request_parser){.state = STATE_START};
}

void request_parser_reset(struct request_parser *p)
{
    if (p->blobs) {
        for (int32_t i = 0; i < p->argc; i++)
            if (p->blobs[i]) blob_unref(p->blobs[i]);
        mem_free(p->blobs);
    }
    mem_free(p->argv);
    mem_free(p->text);
    request_parser_init(p);
}

size_t request_parser_bytes(const struct request_parser *p)
{
    size_t bytes = 0;
    if (p->argv) bytes += mem_usable_bytes(p->argv);
    if (p->text) bytes += mem_usable_bytes(p->text);
    if (!p->blobs) return bytes;
    bytes += mem_usable_bytes(p->blobs);
    for (int32_t i = 0; i < p->argc; i++)
        if (p->blobs[i]) bytes += sizeof(struct blob) + p->blobs[i]->cap;
    return bytes;
}

static enum request_status fail(struct request_parser *p, enum request_error error)
{
    p->error = (uint8_t)error;
    p->state = STATE_ERROR;
    return REQUEST_ERROR;
}

void request_parser_error(const struct request_parser *p, char out[REQUEST_ERROR_TEXT_BYTES])
{
    static const char *const texts[] = {
        [ERROR_ARRAY_LINE] = "too big mbulk count string",
        [ERROR_ARRAY_LENGTH] = "invalid multibulk length",
        [ERROR_ARRAY_ANONYMOUS] = "unauthenticated multibulk length",
        [ERROR_BULK_LINE] = "too big bulk count string",
        [ERROR_BULK_LENGTH] = "invalid bulk length",
        [ERROR_BULK_ANONYMOUS] = "unauthenticated bulk length",
        [ERROR_BULK_TYPE] = "expected '$', got ",
        [ERROR_INLINE_LINE] = "too big inline request",
        [ERROR_INLINE_QUOTES] = "unbalanced quotes in request",
    };
    ASSERT(p->state == STATE_ERROR);
    int n = snprintf(out, REQUEST_ERROR_TEXT_BYTES, "ERR Protocol error: %s", texts[p->error]);
    if (p->error == ERROR_BULK_TYPE)
        snprintf(out + n, REQUEST_ERROR_TEXT_BYTES - (size_t)n, "'%c'", p->found);
}

size_t request_parser_wanted_bytes(const struct request_parser *p)
{
    if (p->state == STATE_BULK_DATA) return p->pos + p->bulk_len + 2;
    if (p->state == STATE_BULK_TAIL) return p->pos + 2;
    return p->pos + p->seen + (p->state == STATE_ARRAY || p->state == STATE_BULK_HEADER ? 2 : 1);
}

// Room for one more argument.
static void reserve_argument(struct request_parser *p)
{
    if ((uint32_t)p->argc < p->cap) return;
    uint32_t cap = p->cap ? p->cap * 2 : FIRST_ARGS;
    cap = MIN(cap, (uint32_t)p->total);
    p->argv = mem_realloc(p->argv, cap * sizeof *p->argv);
    if (p->blobs) {
        p->blobs = mem_realloc(p->blobs, cap * sizeof *p->blobs);
        memset(p->blobs + p->cap, 0, (cap - p->cap) * sizeof *p->blobs);
    }
    p->cap = cap;
}

void request_parser_supply_blob(struct request_parser *p, struct blob *blob)
{
    ASSERT(p->state == STATE_BULK_DATA && blob->len == p->bulk_len);
    reserve_argument(p);
    if (!p->blobs) p->blobs = mem_calloc(p->cap * sizeof *p->blobs);
    p->blobs[p->argc] = blob;
    p->argv[p->argc++] = (struct slice){NULL, p->bulk_len};
    p->state = STATE_BULK_TAIL;
}

// Offsets become addresses.
static enum request_status finish(struct request_parser *p, const char *buf)
{
    for (int32_t i = 0; i < p->argc; i++) {
        struct slice *arg = &p->argv[i];
        bool is_blob = p->blobs && p->blobs[i];
        arg->ptr = is_blob ? p->blobs[i]->data : buf + (uintptr_t)arg->ptr;
    }
    p->state = STATE_DONE;
    return REQUEST_DONE;
}

void request_parser_repeat(struct request_parser *p, const char *buf)
{
    ASSERT(p->state == STATE_DONE);
    if (!p->blobs) {
        request_parser_reset(p); // it can be read again
        return;
    }
    for (int32_t i = 0; i < p->argc; i++) {
        struct slice *arg = &p->argv[i];
        arg->ptr = p->blobs[i] ? NULL : (const char *)(uintptr_t)(arg->ptr - buf);
    }
    p->state = STATE_REPEAT;
}

// --- lines ---------------------------------------------------------------------------------------

enum line { LINE_FOUND, LINE_MORE, LINE_TOO_LONG };

// Looks for the byte `terminator` from pos on. LINE_FOUND: *line_len bytes are before it. A NUL
// before it hides it; `seen` stops there, so that it is found again at once.
static enum line find_line(struct request_parser *p, const char *buf, size_t len, char terminator,
                           size_t *line_len)
{
    const char *line = buf + p->pos;
    size_t there = len - p->pos, limit = MIN(there, (size_t)REQUEST_LINE_MAX + 1);
    const char *from = line + p->seen;
    if (limit > p->seen && *from != '\0') {
        const char *hit = memchr(from, terminator, limit - p->seen);
        size_t clear = hit ? (size_t)(hit - from) : limit - p->seen;
        const char *nul = memchr(from, '\0', clear);
        p->seen += (uint32_t)(nul ? (size_t)(nul - from) : clear);
        if (hit && !nul) {
            *line_len = p->seen;
            return LINE_FOUND;
        }
    }
    return there > REQUEST_LINE_MAX ? LINE_TOO_LONG : LINE_MORE;
}

static void take(struct request_parser *p, size_t n)
{
    p->pos += n;
    p->seen = 0;
}

// A header line "<type><number> CR <any byte>". Found: *number is behind its type byte, *next the
// line's whole length.
static enum line find_header(struct request_parser *p, const char *buf, size_t len,
                             struct slice *number, size_t *next)
{
    size_t line_len;
    enum line line = find_line(p, buf, len, '\r', &line_len);
    if (line != LINE_FOUND) return line;
    if (len - p->pos < line_len + 2) return LINE_MORE; // the byte behind the CR
    size_t type_len = line_len ? 1 : 0;
    *number = (struct slice){buf + p->pos + type_len, line_len - type_len};
    *next = line_len + 2;
    return LINE_FOUND;
}

// --- arrays of bulk strings ----------------------------------------------------------------------

static enum request_status read_array(struct request_parser *p, const struct request_limits *limits,
                                      const char *buf, size_t len)
{
    struct slice number = {0};
    size_t next = 0;
    int64_t n;
    enum line line = find_header(p, buf, len, &number, &next);
    if (line == LINE_TOO_LONG) return fail(p, ERROR_ARRAY_LINE);
    if (line == LINE_MORE) return REQUEST_MORE;
    if (!num_parse_i64(number, &n) || n > REQUEST_ARGS_MAX) return fail(p, ERROR_ARRAY_LENGTH);
    if (n > REQUEST_ANON_ARGS_MAX && limits->is_anonymous) return fail(p, ERROR_ARRAY_ANONYMOUS);
    take(p, next);
    p->total = n > 0 ? (int32_t)n : 0;
    p->state = STATE_BULK_HEADER;
    return REQUEST_DONE;
}

static enum request_status read_bulk_header(struct request_parser *p,
                                            const struct request_limits *limits, const char *buf,
                                            size_t len)
{
    struct slice number = {0};
    size_t next = 0;
    int64_t n;
    enum line line = find_header(p, buf, len, &number, &next);
    if (line == LINE_TOO_LONG) return fail(p, ERROR_BULK_LINE);
    if (line == LINE_MORE) return REQUEST_MORE;
    p->found = buf[p->pos];
    if (p->found != '$') return fail(p, ERROR_BULK_TYPE);
    if (!num_parse_i64(number, &n) || n < 0 || (uint64_t)n > limits->max_bulk_bytes)
        return fail(p, ERROR_BULK_LENGTH);
    if (n > REQUEST_ANON_BYTES_MAX && limits->is_anonymous) return fail(p, ERROR_BULK_ANONYMOUS);
    take(p, next);
    p->bulk_len = (size_t)n;
    p->state = STATE_BULK_DATA;
    return REQUEST_DONE;
}

static enum request_status read_bulk_data(struct request_parser *p, size_t len)
{
    size_t there = len - p->pos;
    if (there < p->bulk_len && p->bulk_len >= REQUEST_BIG_BYTES) return REQUEST_BIG;
    if (there < p->bulk_len + 2) return REQUEST_MORE;
    reserve_argument(p);
    // An offset until finish().
    p->argv[p->argc++] = (struct slice){(const char *)(uintptr_t)p->pos, p->bulk_len};
    take(p, p->bulk_len + 2);
    p->state = STATE_BULK_HEADER;
    return REQUEST_DONE;
}

static enum request_status read_bulk_tail(struct request_parser *p, size_t len)
{
    if (len - p->pos < 2) return REQUEST_MORE;
    take(p, 2);
    p->state = STATE_BULK_HEADER;
    return REQUEST_DONE;
}

// --- inline requests -----------------------------------------------------------------------------

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// What \x41, \n, \" and so on stand for. *from is at the backslash, with a byte behind it.
static char unescape(const char **from, const char *end)
{
    const char *s = *from;
    if (s[1] == 'x' && end - s >= 4 && hex_digit(s[2]) >= 0 && hex_digit(s[3]) >= 0) {
        *from = s + 4;
        return (char)(hex_digit(s[2]) * 16 + hex_digit(s[3]));
    }
    *from = s + 2;
    switch (s[1]) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'b': return '\b';
    case 'a': return '\a';
    default: return s[1];
    }
}

// The quoted part that opens at *from is appended to *out; false if it does not close, or closes in
// the middle of a word.
static bool read_quoted(const char **from, const char *end, char **out)
{
    const char *s = *from;
    char quote = *s++;
    while (s < end && *s != quote) {
        if (*s == '\\' && end - s >= 2 && quote == '"')
            *(*out)++ = unescape(&s, end);
        else if (*s == '\\' && end - s >= 2 && s[1] == '\'')
            *(*out)++ = '\'', s += 2;
        else
            *(*out)++ = *s++;
    }
    if (s == end) return false;
    *from = ++s;
    return s == end || is_space(*s);
}

// One word from s on, written to *out; returns what is behind it, NULL if quotes are unbalanced. A
// quote may open within a word, but what closes it ends the word.
static const char *read_word(const char *s, const char *end, char **out)
{
    while (s < end && *s != ' ' && *s != '\r' && *s != '\t') {
        if (*s == '"' || *s == '\'') return read_quoted(&s, end, out) ? s : NULL;
        *(*out)++ = *s++;
    }
    return s;
}

// The words never need more bytes than the line; a CR at its end is a space like any other.
static bool split_words(struct request_parser *p, const char *s, const char *end)
{
    char *out = p->text = mem_alloc((size_t)(end - s) + 1);
    for (;;) {
        while (s < end && is_space(*s)) s++;
        if (s == end) return true;
        char *word = out;
        s = read_word(s, end, &out);
        if (!s) return false;
        reserve_argument(p);
        p->argv[p->argc++] = (struct slice){word, (size_t)(out - word)};
    }
}

static enum request_status read_inline(struct request_parser *p, const char *buf, size_t len)
{
    size_t line_len;
    enum line line = find_line(p, buf, len, '\n', &line_len);
    if (line == LINE_TOO_LONG) return fail(p, ERROR_INLINE_LINE);
    if (line == LINE_MORE) return REQUEST_MORE;
    const char *s = buf + p->pos, *end = s + line_len;
    take(p, line_len + 1);
    p->total = REQUEST_ARGS_MAX;
    if (end > s && !split_words(p, s, end)) return fail(p, ERROR_INLINE_QUOTES);
    p->total = p->argc;
    p->state = STATE_DONE; // argv points into text: nothing for finish() to do
    return REQUEST_DONE;
}

// --- the machine ---------------------------------------------------------------------------------

// One step; REQUEST_DONE: it was made.
static enum request_status step(struct request_parser *p, const struct request_limits *limits,
                                const char *buf, size_t len)
{
    switch ((enum request_state)p->state) {
    case STATE_START:
        if (len == 0) return REQUEST_MORE;
        p->state = buf[0] == '*' ? STATE_ARRAY : STATE_INLINE;
        return REQUEST_DONE;
    case STATE_INLINE: return read_inline(p, buf, len);
    case STATE_ARRAY: return read_array(p, limits, buf, len);
    case STATE_BULK_HEADER: return read_bulk_header(p, limits, buf, len);
    case STATE_BULK_DATA: return read_bulk_data(p, len);
    case STATE_BULK_TAIL: return read_bulk_tail(p, len);
    case STATE_REPEAT: return finish(p, buf);
    case STATE_ERROR: return REQUEST_ERROR;
    case STATE_DONE: break;
    }
    ASSERT(!"request_parse after its end");
    return REQUEST_ERROR;
}

enum request_status request_parse(struct request_parser *p, const struct request_limits *limits,
                                  const char *buf, size_t len)
{
    ASSERT(p->pos + p->seen <= len);
    for (;;) {
        enum request_status status = step(p, limits, buf, len);
        if (status != REQUEST_DONE || p->state == STATE_DONE) return status;
        if (p->state == STATE_BULK_HEADER && p->argc == p->total) return finish(p, buf);
    }
}
