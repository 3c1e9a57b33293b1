// SPDX-License-Identifier: BSD-3-Clause
//
// A model of a connection feeds the parser streams cut in every way, through the fast path, the
// slow path or both, with blobs or without. What comes out is written down as text; all the texts
// of one stream must be equal, and equal to what the stream was made from.
#include "engine/request.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"

#define FAST_ARGS 64

static const struct request_limits ordinary = {.max_bulk_bytes = 512u << 20};
static const struct request_limits anonymous = {.max_bulk_bytes = 512u << 20, .is_anonymous = true};

// --- the connection ------------------------------------------------------------------------------

struct connection {
    struct request_parser parser;
    const struct request_limits *limits;
    bool uses_fast, uses_blobs;
    bool is_dead;
    struct buf input;  // what has arrived of the request
    struct blob *blob; // being received
    struct buf transcript;
    int requests, blobs_supplied;
};

static void write_request(struct buf *out, int argc, const struct slice *argv)
{
    if (argc == 0) return; // nothing to execute
    buf_printf(out, "%d:", argc);
    for (int i = 0; i < argc; i++) {
        buf_printf(out, "%zu=", argv[i].len);
        buf_append(out, argv[i].ptr, argv[i].len);
        buf_append_char(out, ',');
    }
    buf_append_char(out, '\n');
}

static void write_error(struct buf *out, const char *text)
{
    buf_printf(out, "error %s\n", text);
}

// The bytes move to other memory of exactly their length, so that a sanitizer sees a read behind
// them.
static void move_input(struct buf *b, size_t drop)
{
    struct buf moved = {.len = b->len - drop, .cap = b->len - drop};
    moved.ptr = mem_alloc(moved.cap);
    if (moved.len) memcpy(moved.ptr, b->ptr + drop, moved.len);
    buf_free(b);
    *b = moved;
}

static void begin_blob(struct connection *c)
{
    struct request_parser *p = &c->parser;
    cr_assert_geq(p->bulk_len, REQUEST_BIG_BYTES);
    cr_assert_lt(c->input.len - p->pos, p->bulk_len);
    c->blob = blob_new(p->bulk_len);
    c->blob->len = c->input.len - p->pos;
    memcpy(c->blob->data, c->input.ptr + p->pos, c->blob->len);
    c->input.len = p->pos;
}

// Takes what belongs to the blob off the bytes; true when it is complete and supplied.
static bool receive_blob(struct connection *c, const char **bytes, size_t *len)
{
    size_t n = MIN(*len, c->parser.bulk_len - c->blob->len);
    memcpy(c->blob->data + c->blob->len, *bytes, n);
    c->blob->len += n;
    *bytes += n;
    *len -= n;
    if (c->blob->len < c->parser.bulk_len) return false;
    request_parser_supply_blob(&c->parser, c->blob);
    c->blob = NULL;
    c->blobs_supplied++;
    return true;
}

static bool parse_fast(struct connection *c)
{
    struct slice argv[FAST_ARGS];
    int argc;
    if (!c->uses_fast || !request_parser_is_idle(&c->parser)) return false;
    const char *next =
        request_parse_fast(c->input.ptr, c->input.ptr + c->input.len, argv, FAST_ARGS, &argc);
    if (!next) return false;
    cr_assert(argc >= 1 && argc <= FAST_ARGS);
    write_request(&c->transcript, argc, argv);
    c->requests++;
    move_input(&c->input, (size_t)(next - c->input.ptr));
    return true;
}

// False: nothing more to do with what is there.
static bool parse_slow(struct connection *c)
{
    struct request_parser *p = &c->parser;
    char error[REQUEST_ERROR_TEXT_BYTES];
    size_t wanted = request_parser_wanted_bytes(p);
    enum request_status status = request_parse(p, c->limits, c->input.ptr, c->input.len);
    cr_assert(c->input.len >= wanted || status == REQUEST_MORE || status == REQUEST_BIG ||
                  status == REQUEST_ERROR,
              "less than was said to be wanted sufficed");
    switch (status) {
    case REQUEST_MORE:
        cr_assert(request_parser_wanted_bytes(p) > c->input.len ||
                  memchr(c->input.ptr, '\0', c->input.len));
        return false;
    case REQUEST_DONE:
        write_request(&c->transcript, p->argc, p->argv);
        c->requests += p->argc > 0;
        move_input(&c->input, p->pos);
        request_parser_reset(p);
        return true;
    case REQUEST_BIG:
        if (c->uses_blobs) begin_blob(c);
        return false;
    case REQUEST_ERROR:
        request_parser_error(p, error);
        write_error(&c->transcript, error);
        c->is_dead = true;
        return false;
    }
    return false;
}

static void receive(struct connection *c, const char *bytes, size_t len)
{
    while (!c->is_dead && len) {
        if (c->blob && !receive_blob(c, &bytes, &len)) return;
        buf_append(&c->input, bytes, len);
        bytes += len;
        len = 0;
        move_input(&c->input, 0);
        while (!c->is_dead && c->input.len && (parse_fast(c) || parse_slow(c)))
            ;
    }
}

static struct connection connect_new(const struct request_limits *limits, bool fast, bool blobs)
{
    struct connection c = {.limits = limits, .uses_fast = fast, .uses_blobs = blobs};
    request_parser_init(&c.parser);
    return c;
}

static void disconnect(struct connection *c)
{
    request_parser_reset(&c->parser);
    if (c->blob) blob_unref(c->blob);
    buf_free(&c->input);
    buf_free(&c->transcript);
}

// How a stream is cut: pieces of `size` bytes, or random ones up to it.
struct cut {
    size_t first, size;
    struct random *random;
};

static void feed(struct connection *c, struct slice stream, struct cut cut)
{
    for (size_t at = 0; at < stream.len;) {
        size_t n = at == 0 && cut.first ? cut.first
                   : cut.random         ? 1 + random_below(cut.random, cut.size)
                                        : cut.size;
        n = MIN(n, stream.len - at);
        receive(c, stream.ptr + at, n);
        at += n;
    }
}

static void check(struct slice stream, struct slice expected, const struct request_limits *limits,
                  struct cut cut, bool fast, bool blobs)
{
    struct connection c = connect_new(limits, fast, blobs);
    feed(&c, stream, cut);
    struct slice got = buf_slice(&c.transcript);
    cr_assert(slice_eq(got, expected),
              "cut %zu/%zu, fast %d, blobs %d\n%.*s\ngave\n%.*s\nnot\n%.*s", cut.first, cut.size,
              fast, blobs, SLICE_ARG(stream), SLICE_ARG(got), SLICE_ARG(expected));
    disconnect(&c);
}

// Every way of cutting: whole, byte by byte, at every single byte (of short streams), at random.
static void check_all(struct slice stream, struct slice expected,
                      const struct request_limits *limits, struct random *random)
{
    for (int mode = 0; mode < 4; mode++) {
        bool fast = mode & 1, blobs = mode & 2;
        check(stream, expected, limits, (struct cut){.size = stream.len}, fast, blobs);
        if (stream.len < 4000)
            check(stream, expected, limits, (struct cut){.size = 1}, fast, blobs);
        for (size_t at = 1; stream.len < 400 && at < stream.len; at++)
            check(stream, expected, limits, (struct cut){.first = at, .size = stream.len}, fast,
                  blobs);
        for (int i = 0; i < 3; i++)
            check(stream, expected, limits,
                  (struct cut){.size = 1 + random_below(random, stream.len), .random = random},
                  fast, blobs);
    }
}

// One short stream and what it must give, in all ways.
static void check_text(struct slice stream, const char *expected)
{
    struct random random;
    random_seed(&random, stream.len);
    check_all(stream, slice_of(expected), &ordinary, &random);
}

#define CHECK(stream, expected) check_text(SLICE(stream), expected)

// --- arrays --------------------------------------------------------------------------------------

Test(request, an_array_of_bulk_strings_is_a_request)
{
    CHECK("*1\r\n$4\r\nPING\r\n", "1:4=PING,\n");
    CHECK("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", "3:3=SET,1=k,0=,\n");
    CHECK("*2\r\n$3\r\nGET\r\n$12\r\nab\r\ncd\r\n$1\r\n\r\n", "2:3=GET,12=ab\r\ncd\r\n$1\r\n,\n");
    CHECK("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n", "1:4=PING,\n1:4=QUIT,\n");
}

Test(request, the_bytes_of_an_argument_may_be_any)
{
    struct random random;
    random_seed(&random, 1);
    check_all(SLICE("*2\r\n$3\r\n\0\r\n\r\n$2\r\n\xff\0\r\n"), SLICE("2:3=\0\r\n,2=\xff\0,\n"),
              &ordinary, &random);
}

Test(request, empty_and_negative_arrays_are_nothing)
{
    CHECK("*0\r\n*-1\r\n*-2147483649\r\n*1\r\n$4\r\nPING\r\n", "1:4=PING,\n");
}

Test(request, what_stands_where_crlf_belongs_is_not_looked_at)
{
    CHECK("*1\rX$4\rYPINGab*1\r\n$4\r\nQUIT12", "1:4=PING,\n1:4=QUIT,\n");
}

Test(request, wrong_lengths_are_protocol_errors)
{
    static const char *const arrays[] = {
        "*\r\n",           "*+1\r\n",  "* 1\r\n",
        "*01\r\n",         "*1x\r\n",  "*-0\r\n",
        "*2147483648\r\n", "*--1\r\n", "*99999999999999999999999999\r\n"};
    static const char *const bulks[] = {"$\r\n",   "$-1\r\n", "$01\r\n",        "$+1\r\n",
                                        "$1 \r\n", "$x\r\n",  "$536870913\r\n", "$4294967297\r\n"};
    char stream[100];
    for (size_t i = 0; i < ARRAY_LEN(arrays); i++)
        check_text(slice_of(arrays[i]), "error ERR Protocol error: invalid multibulk length\n");
    for (size_t i = 0; i < ARRAY_LEN(bulks); i++) {
        snprintf(stream, sizeof stream, "*2\r\n$1\r\na\r\n%s", bulks[i]);
        check_text(slice_of(stream), "error ERR Protocol error: invalid bulk length\n");
    }
}

Test(request, an_argument_must_begin_with_a_dollar)
{
    CHECK("*1\r\nfoo\r\n", "error ERR Protocol error: expected '$', got 'f'\n");
    CHECK("*1\r\n:1\r\n", "error ERR Protocol error: expected '$', got ':'\n");
    CHECK("*2\r\n$1\r\na\r\n\r\n\r\n", "error ERR Protocol error: expected '$', got '\r'\n");
    CHECK("*1\r\n\xff\r\n", "error ERR Protocol error: expected '$', got '\xff'\n");
}

Test(request, the_largest_bulk_is_a_setting)
{
    struct request_limits limits = {.max_bulk_bytes = 5};
    struct slice stream = SLICE("*1\r\n$5\r\n12345\r\n*1\r\n$6\r\n123456\r\n");
    struct connection c = connect_new(&limits, false, false);
    receive(&c, stream.ptr, stream.len);
    cr_assert(slice_eq(buf_slice(&c.transcript),
                       SLICE("1:5=12345,\nerror ERR Protocol error: invalid bulk length\n")));
    disconnect(&c);
}

Test(request, clients_yet_to_authenticate_have_narrow_limits)
{
    struct random random;
    random_seed(&random, 5);
    check_all(SLICE("*11\r\n$1\r\n"),
              SLICE("error ERR Protocol error: unauthenticated multibulk length\n"), &anonymous,
              &random);
    check_all(SLICE("*1\r\n$16385\r\n"),
              SLICE("error ERR Protocol error: unauthenticated bulk length\n"), &anonymous,
              &random);
    struct buf stream = {0};
    buf_append_text(&stream, "*10\r\n");
    for (int i = 0; i < 10; i++) {
        buf_append_text(&stream, "$16384\r\n");
        memset(buf_reserve(&stream, 16384), 'x', 16384);
        stream.len += 16384;
        buf_append_text(&stream, "\r\n");
    }
    struct connection c = connect_new(&anonymous, false, true);
    receive(&c, stream.ptr, stream.len);
    cr_assert_eq(c.requests, 1);
    disconnect(&c);
    buf_free(&stream);
}

// --- lines that do not end -----------------------------------------------------------------------

// `head`, then `fill` up to `len` bytes, then `tail`.
static struct buf long_line(const char *head, char fill, size_t len, const char *tail)
{
    struct buf b = {0};
    buf_append_text(&b, head);
    size_t more = len - b.len;
    memset(buf_reserve(&b, more), fill, more);
    b.len += more;
    buf_append_text(&b, tail);
    return b;
}

static void check_line(const char *head, char fill, size_t len, const char *tail,
                       const char *expected)
{
    struct buf b = long_line(head, fill, len, tail);
    struct random random;
    random_seed(&random, len);
    for (int i = 0; i < 4; i++) {
        struct connection c = connect_new(&ordinary, true, true);
        feed(&c, buf_slice(&b),
             (struct cut){.size = i ? 40000 : b.len, .random = i ? &random : NULL});
        struct slice got = buf_slice(&c.transcript);
        cr_assert(got.len >= strlen(expected) && !memcmp(got.ptr, expected, strlen(expected)),
                  "%.20s %zu: %.*s", head, len, (int)MIN(got.len, 100u), got.ptr);
        if (!*expected) cr_assert_eq(got.len, 0);
        disconnect(&c);
    }
    buf_free(&b);
}

Test(request, lines_of_more_than_64_kib_are_protocol_errors)
{
    check_line("", 'A', 65537, "", "error ERR Protocol error: too big inline request\n");
    check_line("", 'A', 65537, "\n", "error ERR Protocol error: too big inline request\n");
    check_line("", 'A', 65536, "\n", "1:65536=AAA");
    check_line("", 'A', 65536, "", "");
    check_line("*", '1', 65537, "", "error ERR Protocol error: too big mbulk count string\n");
    check_line("*", '1', 65536, "", "");
    check_line("*", '1', 65536, "\r\n", "error ERR Protocol error: invalid multibulk length\n");
    check_line("*1\r\n$", '1', 4 + 65537, "",
               "error ERR Protocol error: too big bulk count string\n");
    check_line("*1\r\n$", '1', 4 + 65536, "", "");
    check_line("*1\r\n", 'x', 4 + 65536, "\r\n",
               "error ERR Protocol error: expected '$', got 'x'\n");
}

// What Redis's own test suite sends under "Protocol desync regression test".
Test(request, a_nul_byte_hides_the_end_of_its_line)
{
    struct buf b = {0};
    static const struct {
        struct slice head;
        const char *error;
    } cases[] = {{SLICE("\0"), "error ERR Protocol error: too big inline request\n"},
                 {SLICE("*\0"), "error ERR Protocol error: too big mbulk count string\n"},
                 {SLICE("*1\r\n$\0"), "error ERR Protocol error: too big bulk count string\n"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct connection c = connect_new(&ordinary, true, true);
        b.len = 0;
        buf_append(&b, cases[i].head.ptr, cases[i].head.len);
        for (int k = 0; k < 80; k++) {
            memset(buf_reserve(&b, 1024), 'A', 1024);
            b.len += 1024;
            buf_append_text(&b, "\r\n");
        }
        feed(&c, buf_slice(&b), (struct cut){.size = 1026});
        cr_assert(slice_eq(buf_slice(&c.transcript), slice_of(cases[i].error)));
        disconnect(&c);
    }
    buf_free(&b);
}

// --- inline --------------------------------------------------------------------------------------

Test(request, a_line_of_words_is_a_request)
{
    CHECK("PING\r\n", "1:4=PING,\n");
    CHECK("PING\n", "1:4=PING,\n");
    CHECK("  SET  k\tv \r\n", "3:3=SET,1=k,1=v,\n");
    CHECK("\v\fGET a\vb\f\n", "2:3=GET,4=a\vb\f,\n");
    CHECK("PI\rNG\r\n", "2:2=PI,2=NG,\n");
    CHECK("$4\r\n", "1:2=$4,\n");
}

Test(request, empty_lines_are_nothing)
{
    CHECK("\r\n\n   \r\n\r\r\nPING\r\n\r\n*1\r\n$1\r\na\r\n", "1:4=PING,\n1:1=a,\n");
}

Test(request, quotes_hold_words_together_even_empty_ones)
{
    CHECK("A \"b c\" 'd e'\n", "3:1=A,3=b c,3=d e,\n");
    CHECK("\"\" ''\n", "2:0=,0=,\n");
}

Test(request, escapes_in_double_quotes)
{
    CHECK("\"\\x41\\X\\n\\r\\t\\b\\a\\\"\\\\\"\n", "1:9=AX\n\r\t\b\a\"\\,\n");
    CHECK("\"\\xfF\\xg0\"\n", "1:4=\xff"
                              "xg0,\n");
}

Test(request, in_single_quotes_only_the_quote_is_escaped)
{
    CHECK("'a\\'b\\n\\x41'\n", "1:9=a'b\\n\\x41,\n");
    CHECK("'a\\\\'\n", "error ERR Protocol error: unbalanced quotes in request\n");
}

Test(request, a_quote_may_open_within_a_word_and_its_end_ends_the_word)
{
    CHECK("a\"b c\" d\n", "2:4=ab c,1=d,\n");
    CHECK("\"a\"\vb\n", "2:1=a,1=b,\n");
}

Test(request, unbalanced_quotes_are_a_protocol_error)
{
    const char *error = "error ERR Protocol error: unbalanced quotes in request\n";
    CHECK("PING \"a\r\n", error);
    CHECK("PING 'a\r\n", error);
    CHECK("PING \"a\"b\r\n", error);
    CHECK("PING 'a''b'\r\n", error);
    CHECK("PING \"a\\\n", error);
    CHECK("PING \"a\\\"\n", error);
    CHECK("\"\n", error);
}

// --- random streams ------------------------------------------------------------------------------

static void append_argument(struct buf *stream, struct slice arg)
{
    buf_printf(stream, "$%zu\r\n", arg.len);
    buf_append(stream, arg.ptr, arg.len);
    buf_append_text(stream, "\r\n");
}

static size_t random_len(struct random *r, bool may_be_big)
{
    switch (random_below(r, may_be_big ? 40 : 32)) {
    case 0: return 0;
    case 1: return 9 + random_below(r, 3);
    case 2: return 98 + random_below(r, 4);
    case 3: return 998 + random_below(r, 4);
    case 32: return REQUEST_BIG_BYTES - 2 + random_below(r, 4);
    case 33: return REQUEST_BIG_BYTES + random_below(r, 100000);
    default: return random_below(r, 12);
    }
}

// A request as an array, into stream and expectation.
static void add_array(struct buf *stream, struct buf *expected, struct random *r, bool may_be_big)
{
    struct slice argv[200] = {0};
    int argc = 1 + (int)random_below(r, random_below(r, 10) ? 6 : 199);
    buf_printf(stream, "*%d\r\n", argc);
    for (int i = 0; i < argc; i++) {
        size_t len = random_len(r, may_be_big && i < 3);
        char *bytes = mem_alloc(len + 1);
        for (size_t k = 0; k < len; k++) bytes[k] = "\r\n$*'\" ab1"[random_below(r, 10)];
        argv[i] = (struct slice){bytes, len};
        append_argument(stream, argv[i]);
    }
    write_request(expected, argc, argv);
    for (int i = 0; i < argc; i++) mem_free((char *)argv[i].ptr);
}

static void add_inline(struct buf *stream, struct buf *expected, struct random *r)
{
    struct slice argv[20] = {0};
    int argc = (int)random_below(r, 6);
    for (int i = 0; i < argc; i++) {
        size_t len = i ? random_below(r, 10) : 3;
        char *bytes = mem_alloc(len + 1);
        for (size_t k = 0; k < len; k++)
            bytes[k] = i ? "\r\n\t\0'\" ab\\"[random_below(r, 10)] : 'p';
        argv[i] = (struct slice){bytes, len};
        if (i == 0)
            buf_append(stream, bytes, len);
        else
            buf_append_quoted(stream, argv[i]);
        buf_append_text(stream, random_below(r, 2) ? " " : " \t ");
    }
    buf_append_text(stream, random_below(r, 2) ? "\r\n" : "\n");
    write_request(expected, argc, argv);
    for (int i = 0; i < argc; i++) mem_free((char *)argv[i].ptr);
}

static void random_stream(struct buf *stream, struct buf *expected, struct random *r,
                          bool may_be_big)
{
    static const char *const ends[] = {"*x\r\n", "*1\r\n+\r\n", "*1\r\n$-1\r\n", "a \"\r\n"};
    static const char *const errors[] = {"invalid multibulk length", "expected '$', got '+'",
                                         "invalid bulk length", "unbalanced quotes in request"};
    int n = 1 + (int)random_below(r, 8);
    for (int i = 0; i < n; i++) {
        switch (random_below(r, 8)) {
        case 0: add_inline(stream, expected, r); break;
        case 1: buf_append_text(stream, random_below(r, 2) ? "*0\r\n" : "*-1\r\n"); break;
        default: add_array(stream, expected, r, may_be_big); break;
        }
    }
    if (random_below(r, 4)) return;
    unsigned i = (unsigned)random_below(r, ARRAY_LEN(ends));
    buf_append_text(stream, ends[i]);
    buf_printf(expected, "error ERR Protocol error: %s\n", errors[i]);
    buf_append_text(stream, "*1\r\n$4\r\nPING\r\n"); // never looked at
}

Test(request, any_cut_of_any_stream_gives_the_same_requests, .timeout = 120)
{
    struct random r;
    for (unsigned seed = 1; seed <= 400; seed++) {
        struct buf stream = {0}, expected = {0};
        random_seed(&r, seed);
        random_stream(&stream, &expected, &r, seed % 8 == 0);
        buf_append_char(&stream, '\n'); // so that no stream is empty
        check_all(buf_slice(&stream), buf_slice(&expected), &ordinary, &r);
        buf_free(&stream);
        buf_free(&expected);
    }
}

// --- big arguments and many ----------------------------------------------------------------------

Test(request, big_arguments_arrive_in_blobs)
{
    struct buf stream = {0};
    struct blob *kept;
    buf_append_text(&stream, "*4\r\n$3\r\nSET\r\n$40000\r\n");
    memset(buf_reserve(&stream, 40000), 'x', 40000);
    stream.len += 40000;
    buf_append_text(&stream, "\r\n$2\r\nEX\r\n$50000\r\n");
    memset(buf_reserve(&stream, 50000), 'y', 50000);
    stream.len += 50000;
    struct connection c = connect_new(&ordinary, true, true);
    feed(&c, buf_slice(&stream), (struct cut){.size = 16384});
    cr_assert_eq(c.blobs_supplied, 2);
    cr_assert_eq(c.requests, 0);
    // The last CR LF by hand, to look at the request before it is dropped.
    buf_append_text(&c.input, "\r\n");
    struct request_parser *p = &c.parser;
    cr_assert_eq(request_parse(p, &ordinary, c.input.ptr, c.input.len), REQUEST_DONE);
    cr_assert_eq(p->argc, 4);
    cr_assert(p->blobs && !p->blobs[0] && p->blobs[1] && !p->blobs[2] && p->blobs[3]);
    cr_assert(slice_eq(p->argv[0], SLICE("SET")) && slice_eq(p->argv[2], SLICE("EX")));
    cr_assert_eq(p->argv[1].ptr, p->blobs[1]->data);
    cr_assert_eq(p->argv[3].len, 50000);
    cr_assert_geq(request_parser_bytes(p), 90000);
    kept = blob_ref(p->blobs[1]);
    request_parser_reset(p);
    cr_assert(!blob_is_shared(kept), "the parser's reference is gone");
    cr_assert_eq(request_parser_bytes(p), 0);
    blob_unref(kept);
    disconnect(&c);
    buf_free(&stream);
}

Test(request, one_that_is_not_taken_is_told_again_with_its_blobs)
{
    struct buf stream = {0};
    buf_append_text(&stream, "*3\r\n$5\r\nRPUSH\r\n$1\r\nk\r\n$40000\r\n");
    memset(buf_reserve(&stream, 40000), 'x', 40000);
    stream.len += 40000;
    struct connection c = connect_new(&ordinary, true, true);
    feed(&c, buf_slice(&stream), (struct cut){.size = 16384});
    cr_assert_eq(c.blobs_supplied, 1);
    buf_append_text(&c.input, "\r\nPING\r\n");
    struct request_parser *p = &c.parser;
    cr_assert_eq(request_parse(p, &ordinary, c.input.ptr, c.input.len), REQUEST_DONE);
    size_t len = p->pos;
    request_parser_repeat(p, c.input.ptr);
    cr_assert(!request_parser_is_idle(p));
    char *moved = mem_alloc(c.input.len); // where it lies may change meanwhile
    memcpy(moved, c.input.ptr, c.input.len);
    cr_assert_eq(request_parse(p, &ordinary, moved, c.input.len), REQUEST_DONE);
    cr_assert_eq(p->pos, len);
    cr_assert_eq(p->argc, 3);
    cr_assert(slice_is(p->argv[0], "RPUSH"));
    cr_assert_eq(p->argv[1].ptr, moved + len - strlen("k\r\n$40000\r\n\r\n"));
    cr_assert_eq(p->argv[2].ptr, p->blobs[2]->data);
    cr_assert_eq(p->argv[2].len, 40000);
    request_parser_reset(p);
    // Without blobs it is simply read again.
    cr_assert_eq(request_parse(p, &ordinary, "PING\r\n", 6), REQUEST_DONE);
    request_parser_repeat(p, moved);
    cr_assert(request_parser_is_idle(p));
    mem_free(moved);
    disconnect(&c);
    buf_free(&stream);
}

Test(request, an_argument_is_big_from_32_kib_on_while_it_is_not_all_there)
{
    struct request_parser p;
    struct buf stream = {0};
    request_parser_init(&p);
    struct slice small = SLICE("*1\r\n$32767\r\nx"), big = SLICE("*1\r\n$32768\r\nx");
    cr_assert_eq(request_parse(&p, &ordinary, small.ptr, small.len), REQUEST_MORE);
    cr_assert_eq(request_parser_wanted_bytes(&p), small.len - 1 + 32767 + 2);
    request_parser_reset(&p);
    cr_assert_eq(request_parse(&p, &ordinary, big.ptr, big.len), REQUEST_BIG);
    cr_assert_eq(request_parse(&p, &ordinary, big.ptr, big.len), REQUEST_BIG,
                 "until it is answered");
    cr_assert_eq(p.bulk_len, 32768);
    cr_assert_eq(p.pos, big.len - 1);
    buf_append(&stream, big.ptr, big.len - 1);
    memset(buf_reserve(&stream, 32768), 'x', 32768);
    stream.len += 32768;
    cr_assert_eq(request_parse(&p, &ordinary, stream.ptr, stream.len), REQUEST_MORE);
    request_parser_reset(&p);
    buf_free(&stream);
}

Test(request, a_big_argument_may_as_well_be_collected_in_the_buffer)
{
    struct buf stream = {0};
    buf_append_text(&stream, "*1\r\n$100000\r\n");
    memset(buf_reserve(&stream, 100000), 'x', 100000);
    stream.len += 100000;
    buf_append_text(&stream, "\r\n");
    struct connection c = connect_new(&ordinary, true, false);
    feed(&c, buf_slice(&stream), (struct cut){.size = 16384});
    cr_assert_eq(c.requests, 1);
    disconnect(&c);
    buf_free(&stream);
}

Test(request, a_parser_dropped_in_the_middle_leaks_nothing)
{
    struct random r;
    random_seed(&r, 3);
    size_t before = mem_used_bytes();
    for (int i = 0; i < 300; i++) {
        struct buf stream = {0}, expected = {0};
        random_stream(&stream, &expected, &r, true);
        struct connection c = connect_new(&ordinary, i & 1, true);
        feed(&c, (struct slice){stream.ptr, random_below(&r, stream.len + 1)},
             (struct cut){.size = 16384});
        disconnect(&c);
        buf_free(&stream);
        buf_free(&expected);
    }
    cr_assert_eq(mem_used_bytes(), before);
}

// Without resuming, the shorter pieces would take hours.
Test(request, a_million_arguments_in_pieces_take_linear_time, .timeout = 60)
{
    static const size_t pieces[] = {16384, 100, 7};
    const int argc = 1000000;
    struct buf stream = {0};
    buf_printf(&stream, "*%d\r\n", argc);
    for (int i = 0; i < argc; i++) buf_append_text(&stream, "$2\r\nab\r\n");
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct request_parser p;
        request_parser_init(&p);
        for (size_t len = 0; len < stream.len; len += pieces[i])
            cr_assert_eq(request_parse(&p, &ordinary, stream.ptr, len), REQUEST_MORE);
        cr_assert_eq(request_parse(&p, &ordinary, stream.ptr, stream.len), REQUEST_DONE);
        cr_assert_eq(p.argc, argc);
        cr_assert_eq(p.pos, stream.len);
        for (int k = 0; k < argc; k++) cr_assert(slice_eq(p.argv[k], SLICE("ab")));
        request_parser_reset(&p);
    }
    buf_free(&stream);
}

Test(request, a_long_line_in_single_bytes_takes_linear_time, .timeout = 20)
{
    struct buf line = long_line("*", '\0', 65536, "");
    for (int with_nul = 0; with_nul < 2; with_nul++) {
        if (!with_nul) memset(line.ptr + 1, '1', line.len - 1);
        for (int i = 0; i < 20; i++) {
            struct request_parser p;
            request_parser_init(&p);
            for (size_t len = 0; len <= line.len; len++)
                cr_assert_eq(request_parse(&p, &ordinary, line.ptr, len), REQUEST_MORE);
            request_parser_reset(&p);
        }
        memset(line.ptr + 1, '\0', line.len - 1);
    }
    buf_free(&line);
}

// --- the fast path alone -------------------------------------------------------------------------

Test(request, an_idle_parser_is_64_bytes)
{
    struct request_parser p;
    request_parser_init(&p);
    cr_assert_leq(sizeof p, 64);
    cr_assert(request_parser_is_idle(&p));
    cr_assert_eq(request_parser_bytes(&p), 0);
}

Test(request, the_fast_path_leaves_to_the_slow_one_what_is_not_ordinary)
{
    static const char *const others[] = {"",
                                         "*",
                                         "*1",
                                         "*1\r\n",
                                         "*1\r\n$4\r\nPIN",
                                         "PING\r\n",
                                         "*0\r\n$1\r\na\r\n",
                                         "*-1\r\n$1\r\na\r\n",
                                         "*01\r\n$1\r\na\r\n",
                                         "*1\r\n$01\r\na\r\n",
                                         "*1\r\n$-1\r\na\r\n",
                                         "*1\r\n$:\r\n0123456789\r\n",
                                         "*1\r\n$1:\r\n01234567890123456789\r\n",
                                         "*1\r\n$4\r\nPING\r",

                                         "*1\r\n+4\r\nPING\r\n",
                                         "*1\r\n$1000000\r\n",
                                         "*1\r\n$00000004\r\nPING\r\n",
                                         "*1\r\n$001\r\na\r\n",
                                         "*9\r\n$1\r\na\r\n",
                                         "*:\r\n$1\r\na\r\n",
                                         "*1\r\n$\r\n\r\n\r\n\r\n"};
    struct slice argv[8];
    int argc;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        size_t len = strlen(others[i]);
        char *exact = mem_alloc(len + 1);
        memcpy(exact, others[i], len);
        cr_assert_null(request_parse_fast(exact, exact + len, argv, 8, &argc), "%s", others[i]);
        mem_free(exact);
    }
}

Test(request, the_fast_path_takes_no_more_arguments_than_there_is_room)
{
    struct slice argv[3], stream = SLICE("*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n");
    int argc = 0;
    const char *end = stream.ptr + stream.len;
    cr_assert_null(request_parse_fast(stream.ptr, end, argv, 2, &argc));
    cr_assert_eq(request_parse_fast(stream.ptr, end, argv, 3, &argc), end);
    cr_assert_eq(argc, 3);
}

Test(request, the_fast_path_knows_lengths_of_one_to_six_digits)
{
    static const size_t lens[] = {0, 9, 10, 99, 100, 999, 1000, 12345, 999999};
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        struct buf stream = {0};
        struct slice argv[2];
        int argc;
        buf_printf(&stream, "*2\r\n$%zu\r\n", lens[i]);
        memset(buf_reserve(&stream, lens[i]), 'x', lens[i]);
        stream.len += lens[i];
        buf_append_text(&stream, "\r\n$1\r\ny\r\n");
        move_input(&stream, 0);
        const char *end = stream.ptr + stream.len;
        cr_assert_eq(request_parse_fast(stream.ptr, end, argv, 2, &argc), end);
        cr_assert_eq(argv[0].len, lens[i]);
        cr_assert(slice_eq(argv[1], SLICE("y")));
        for (const char *cut = stream.ptr; cut<end; cut += lens[i]> 1000 ? 997 : 1)
            cr_assert_null(request_parse_fast(stream.ptr, cut, argv, 2, &argc));
        buf_free(&stream);
    }
}
