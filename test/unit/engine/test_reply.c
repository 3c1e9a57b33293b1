// SPDX-License-Identifier: BSD-3-Clause
#include "engine/reply.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"

// The reply's bytes must be these; it is empty afterwards.
static void expect_bytes(struct reply *r, struct slice expected)
{
    size_t len;
    reply_validate(r);
    char *bytes = reply_flatten(r, &len);
    cr_assert(slice_eq((struct slice){bytes, len}, expected), "%.*s is not %.*s", (int)len, bytes,
              SLICE_ARG(expected));
    cr_assert_eq(reply_bytes(r), len);
    mem_free(bytes);
    reply_clear(r);
    reply_validate(r);
    cr_assert_eq(reply_bytes(r), 0);
}

// One call in both protocols.
#define EXPECT(call, resp2, resp3)                                                                 \
    do {                                                                                           \
        struct reply two, three, *r;                                                               \
        reply_init(r = &two, 2);                                                                   \
        call;                                                                                      \
        expect_bytes(&two, SLICE(resp2));                                                          \
        reply_free(&two);                                                                          \
        reply_init(r = &three, 3);                                                                 \
        call;                                                                                      \
        expect_bytes(&three, SLICE(resp3));                                                        \
        reply_free(&three);                                                                        \
    } while (0)

Test(reply, values_are_written_in_the_client_s_protocol)
{
    EXPECT(reply_ok(r), "+OK\r\n", "+OK\r\n");
    EXPECT(reply_simple(r, "QUEUED"), "+QUEUED\r\n", "+QUEUED\r\n");
    EXPECT(reply_null(r), "$-1\r\n", "_\r\n");
    EXPECT(reply_null_array(r), "*-1\r\n", "_\r\n");
    EXPECT(reply_bool(r, true), ":1\r\n", "#t\r\n");
    EXPECT(reply_bool(r, false), ":0\r\n", "#f\r\n");
    EXPECT(reply_array(r, 3), "*3\r\n", "*3\r\n");
    EXPECT(reply_map(r, 3), "*6\r\n", "%3\r\n");
    EXPECT(reply_set(r, 0), "*0\r\n", "~0\r\n");
    EXPECT(reply_push(r, 12), "*12\r\n", ">12\r\n");
    EXPECT(reply_bulk_text(r, "hi"), "$2\r\nhi\r\n", "$2\r\nhi\r\n");
    EXPECT(reply_bulk_int(r, -15), "$3\r\n-15\r\n", "$3\r\n-15\r\n");
    EXPECT(reply_verbatim(r, "txt", SLICE("a\nb")), "$3\r\na\nb\r\n", "=7\r\ntxt:a\nb\r\n");
    EXPECT(reply_raw(r, "+a\r\n", 4), "+a\r\n", "+a\r\n");
}

Test(reply, doubles_are_bulks_in_resp2_and_a_type_of_their_own_in_resp3)
{
    EXPECT(reply_double(r, 3.5), "$3\r\n3.5\r\n", ",3.5\r\n");
    EXPECT(reply_double(r, -2), "$2\r\n-2\r\n", ",-2\r\n");
    EXPECT(reply_double(r, INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
    EXPECT(reply_double(r, -INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
    EXPECT(reply_double(r, NAN), "$3\r\nnan\r\n", ",nan\r\n");
}

Test(reply, integers_of_every_length)
{
    static const int64_t values[] = {
        0, 1, 9, 10, 99, 100, -1, -9, -10, 1234567890123, INT64_MAX, INT64_MIN};
    struct reply r;
    char text[64];
    reply_init(&r, 2);
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        reply_int(&r, values[i]);
        snprintf(text, sizeof text, ":%lld\r\n", (long long)values[i]);
        expect_bytes(&r, slice_of(text));
    }
    reply_free(&r);
}

Test(reply, bulks_of_every_length)
{
    static char bytes[200000];
    struct buf expected = {0};
    struct reply r;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7);
    reply_init(&r, 3);
    for (size_t len = 0; len < sizeof bytes; len += len < 1200 ? 1 : 4099) {
        struct slice value = {bytes, len};
        for (int i = 0; i < 2; i++) { // into an empty reply, and behind others
            if (i) reply_bulk(&r, SLICE("x"));
            reply_bulk(&r, value);
            expected.len = 0;
            buf_append_text(&expected, i ? "$1\r\nx\r\n" : "");
            buf_printf(&expected, "$%zu\r\n", len);
            buf_append(&expected, bytes, len);
            buf_append_text(&expected, "\r\n");
            expect_bytes(&r, buf_slice(&expected));
        }
    }
    reply_free(&r);
    buf_free(&expected);
}

// --- errors --------------------------------------------------------------------------------------

Test(reply, an_error_is_one_line)
{
    EXPECT(reply_error(r, "ERR no"), "-ERR no\r\n", "-ERR no\r\n");
    EXPECT(reply_error(r, "ERR a\r\nb\n"), "-ERR a  b\r\n", "-ERR a  b\r\n");
    EXPECT(reply_errorf(r, "ERR unknown '%s' %d\n", "x\ny", 5), "-ERR unknown 'x y' 5\r\n",
           "-ERR unknown 'x y' 5\r\n");
}

Test(reply, an_error_may_be_long)
{
    static char text[5000], line[5010];
    struct reply r;
    memset(text, 'y', sizeof text - 1);
    snprintf(line, sizeof line, "-ERR %s\r\n", text);
    reply_init(&r, 2);
    reply_errorf(&r, "ERR %s", text);
    expect_bytes(&r, slice_of(line));
    reply_free(&r);
}

Test(reply, errors_are_counted_with_their_code)
{
    struct reply r;
    reply_init(&r, 2);
    reply_ok(&r);
    cr_assert_eq(r.error_count, 0);
    reply_error(&r, "WRONGTYPE Operation");
    cr_assert_eq(r.error_count, 1);
    cr_assert_str_eq(r.error_code, "WRONGTYPE");
    reply_errorf(&r, "ERR %d", 1);
    cr_assert_eq(r.error_count, 2);
    cr_assert_str_eq(r.error_code, "ERR");
    reply_error(&r, "NOSPACEATALL");
    cr_assert_str_eq(r.error_code, "ERR");
    reply_error(&r, "ABCDEFGHIJKLMNOPQRSTUVWXYZ is cut");
    cr_assert_str_eq(r.error_code, "ABCDEFGHIJKLMNOPQRSTU");
    reply_clear(&r);
    cr_assert_eq(r.error_count, 4, "clearing drops bytes, not counts");
    reply_free(&r);
}

// --- chunks --------------------------------------------------------------------------------------

static struct blob *blob_of(char fill, size_t len)
{
    struct blob *b = blob_new(len);
    memset(b->data, fill, len);
    b->len = len;
    return b;
}

static size_t count_kind(struct reply *r, enum reply_chunk_kind kind)
{
    size_t n = 0;
    for (const struct reply_chunk *c = r->head; c; c = c->next) n += c->kind == kind;
    return n;
}

Test(reply, big_blobs_are_linked_and_small_ones_copied)
{
    struct blob *big = blob_of('b', REPLY_LINK_BYTES), *small = blob_of('s', REPLY_LINK_BYTES - 1);
    struct buf expected = {0};
    struct reply r;
    reply_init(&r, 2);
    for (int i = 0; i < 5; i++) {
        reply_blob(&r, i & 1 ? small : big);
        struct blob *b = i & 1 ? small : big;
        buf_printf(&expected, "$%zu\r\n", b->len);
        buf_append(&expected, b->data, b->len);
        buf_append_text(&expected, "\r\n");
        reply_validate(&r);
    }
    cr_assert_eq(count_kind(&r, CHUNK_BLOB), 3);
    cr_assert(blob_is_shared(big) && !blob_is_shared(small));
    expect_bytes(&r, buf_slice(&expected));
    cr_assert(!blob_is_shared(big), "clearing gives the references back");
    reply_free(&r);
    buf_free(&expected);
    blob_unref(big);
    blob_unref(small);
}

Test(reply, many_linked_blobs_cost_little_besides)
{
    struct blob *big = blob_of('b', REPLY_LINK_BYTES);
    struct reply r;
    reply_init(&r, 2);
    size_t before = mem_used_bytes();
    for (int i = 0; i < 100; i++) reply_blob(&r, big);
    cr_assert_leq(mem_used_bytes() - before, 100 * 1024);
    reply_free(&r);
    cr_assert_eq(mem_used_bytes(), before);
    blob_unref(big);
}

Test(reply, a_used_reply_needs_no_allocation)
{
    struct reply r;
    reply_init(&r, 2);
    reply_ok(&r);
    for (int i = 0; i < 10; i++) {
        size_t before = mem_used_bytes();
        reply_recycle(&r, reply_detach(&r));
        reply_validate(&r);
        cr_assert_not_null(r.spare);
        reply_ok(&r);
        cr_assert_null(r.spare);
        cr_assert_eq(mem_used_bytes(), before);
    }
    reply_free(&r);
}

Test(reply, one_chunk_is_kept_as_the_spare_and_the_others_are_freed)
{
    static const char bytes[REPLY_CHUNK_BYTES];
    size_t before = mem_used_bytes(), one;
    struct reply r;
    reply_init(&r, 2);
    reply_raw(&r, bytes, sizeof bytes);
    one = mem_used_bytes() - before;
    for (int i = 0; i < 5; i++) reply_raw(&r, bytes, sizeof bytes);
    for (int i = 0; i < 2; i++) {
        reply_clear(&r);
        reply_validate(&r);
        cr_assert_eq(mem_used_bytes() - before, one);
    }
    reply_free(&r);
    cr_assert_eq(mem_used_bytes(), before);
}

Test(reply, detached_chunks_have_their_lengths)
{
    struct reply r;
    size_t total = 0, expected;
    reply_init(&r, 2);
    for (int i = 0; i < 10000; i++) reply_int(&r, i);
    expected = reply_bytes(&r);
    struct reply_chunk *list = reply_detach(&r);
    reply_validate(&r);
    for (const struct reply_chunk *c = list; c; c = c->next) {
        cr_assert(c->len > 0 && c->len <= c->cap);
        total += c->len;
    }
    cr_assert_eq(total, expected);
    reply_chunks_free(list);
    reply_free(&r);
}

Test(reply, lent_memory_comes_first_and_is_never_freed)
{
    char memory[100];
    struct reply_chunk chunk;
    struct reply r;
    for (int i = 0; i < 3; i++) {
        reply_init(&r, 2);
        reply_lend(&r, &chunk, memory, sizeof memory);
        cr_assert_eq(reply_bytes(&r), 0);
        reply_ok(&r);
        reply_validate(&r);
        cr_assert_eq(memcmp(memory, "+OK\r\n", 5), 0);
        if (i == 1)
            for (int k = 0; k < 50; k++) reply_bulk(&r, SLICE("0123456789"));
        cr_assert_eq(r.head, &chunk);
        cr_assert_eq(reply_bytes(&r), i == 1 ? 5 + 50 * 17 : 5);
        if (i == 2) reply_recycle(&r, reply_detach(&r));
        reply_free(&r);
    }
}

// --- splicing ------------------------------------------------------------------------------------

Test(reply, splicing_keeps_the_order_and_empties_the_source)
{
    static const size_t sizes[] = {0, 1, 100, REPLY_COPY_BYTES, REPLY_COPY_BYTES + 1, 16000, 50000};
    static char bytes[50000];
    char memory[300];
    struct blob *big = blob_of('b', REPLY_LINK_BYTES);
    memset(bytes, 'x', sizeof bytes);
    for (size_t a = 0; a < ARRAY_LEN(sizes); a++)
        for (size_t b = 0; b < ARRAY_LEN(sizes); b++)
            for (int variant = 0; variant < 4; variant++) {
                struct buf expected = {0};
                struct reply to, from;
                struct reply_chunk chunk;
                reply_init(&to, 2);
                reply_init(&from, 2);
                if (variant & 1) reply_lend(&from, &chunk, memory, sizeof memory);
                reply_raw(&to, bytes, sizes[a]);
                reply_raw(&from, bytes, sizes[b]);
                buf_append(&expected, bytes, sizes[a]);
                buf_append(&expected, bytes, sizes[b]);
                if (variant & 2) {
                    reply_blob(&from, big);
                    buf_append_text(&expected, "$65536\r\n");
                    buf_append(&expected, big->data, big->len);
                    buf_append_text(&expected, "\r\n");
                }
                reply_splice(&to, &from);
                memset(memory, '?', sizeof memory); // lent memory is the lender's again
                cr_assert_eq(reply_bytes(&from), 0);
                reply_validate(&from);
                reply_validate(&to);
                reply_ok(&to);
                reply_ok(&from);
                buf_append_text(&expected, "+OK\r\n");
                expect_bytes(&to, buf_slice(&expected));
                reply_free(&to);
                reply_free(&from);
                buf_free(&expected);
            }
    blob_unref(big);
}

// --- arrays of unknown length --------------------------------------------------------------------

Test(reply, an_array_may_be_counted_while_it_is_written)
{
    struct reply r;
    reply_init(&r, 3);
    struct reply_mark outer = reply_open(&r);
    reply_int(&r, 1);
    struct reply_mark inner = reply_open(&r);
    reply_close_set(&r, inner, 0);
    struct reply_mark map = reply_open(&r);
    reply_bulk(&r, SLICE("k"));
    reply_bulk(&r, SLICE("v"));
    reply_close_map(&r, map, 1);
    reply_close_array(&r, outer, 3);
    reply_ok(&r);
    expect_bytes(&r, SLICE("*3\r\n:1\r\n~0\r\n%1\r\n$1\r\nk\r\n$1\r\nv\r\n+OK\r\n"));
    outer = reply_open(&r);
    reply_close_array(&r, outer, 0);
    expect_bytes(&r, SLICE("*0\r\n"));
    reply_free(&r);
}

// The same random tree of values written with marks and with counts known beforehand.
struct writer {
    struct reply marked, counted;
    struct random random;
    struct blob *big;
    int depth;
};

static void write_value(struct writer *w);

static void write_children(struct writer *w, uint64_t seed, size_t n)
{
    random_seed(&w->random, seed);
    for (size_t i = 0; i < n; i++) write_value(w);
}

// Two passes would need the counts: here they are drawn first, so both replies are written at once.
static void write_aggregate(struct writer *w)
{
    size_t n = random_below(&w->random, w->depth == 0 ? 40 : 6);
    unsigned kind = (unsigned)random_below(&w->random, 3);
    struct reply_mark mark = reply_open(&w->marked);
    if (kind == 0) reply_array(&w->counted, n);
    if (kind == 1) reply_set(&w->counted, n);
    if (kind == 2) reply_map(&w->counted, n);
    w->depth++;
    write_children(w, random_u64(&w->random), kind == 2 ? 2 * n : n);
    w->depth--;
    if (kind == 0) reply_close_array(&w->marked, mark, n);
    if (kind == 1) reply_close_set(&w->marked, mark, n);
    if (kind == 2) reply_close_map(&w->marked, mark, n);
    reply_validate(&w->marked);
}

static void write_value(struct writer *w)
{
    static const char bytes[40000];
    unsigned kind = (unsigned)random_below(&w->random, w->depth < 5 ? 20 : 12);
    size_t len = random_below(&w->random, 30);
    if (kind == 2) len = random_below(&w->random, sizeof bytes);
    if (kind >= 12) {
        write_aggregate(w);
    } else if (kind == 0) {
        reply_blob(&w->marked, w->big);
        reply_blob(&w->counted, w->big);
    } else if (kind == 1) {
        reply_int(&w->marked, (int64_t)len);
        reply_int(&w->counted, (int64_t)len);
    } else {
        reply_bulk(&w->marked, (struct slice){bytes, len});
        reply_bulk(&w->counted, (struct slice){bytes, len});
    }
}

Test(reply, marks_write_what_known_counts_write, .timeout = 60)
{
    struct writer w = {.big = blob_of('b', REPLY_LINK_BYTES)};
    for (uint64_t seed = 1; seed <= 300; seed++) {
        size_t len;
        char memory[64];
        struct reply_chunk chunk;
        random_seed(&w.random, seed);
        reply_init(&w.marked, seed & 1 ? 2 : 3);
        reply_init(&w.counted, seed & 1 ? 2 : 3);
        if (seed % 3 == 0) reply_lend(&w.marked, &chunk, memory, sizeof memory);
        if (seed % 5 == 0) reply_ok(&w.marked), reply_ok(&w.counted);
        write_aggregate(&w);
        reply_ok(&w.marked);
        reply_ok(&w.counted);
        char *expected = reply_flatten(&w.counted, &len);
        expect_bytes(&w.marked, (struct slice){expected, len});
        mem_free(expected);
        reply_free(&w.marked);
        reply_free(&w.counted);
    }
    blob_unref(w.big);
}

// --- reading -------------------------------------------------------------------------------------

Test(reply, skip_finds_the_end_of_every_type)
{
    static const struct slice values[] = {SLICE("+OK\r\n"),
                                          SLICE("-ERR 5\r\n"),
                                          SLICE(":123\r\n"),
                                          SLICE(":-1\r\n"),
                                          SLICE("$-1\r\n"),
                                          SLICE("$0\r\n\r\n"),
                                          SLICE("$5\r\na\r\nbc\r\n"),
                                          SLICE("*-1\r\n"),
                                          SLICE("*0\r\n"),
                                          SLICE("*2\r\n:1\r\n*1\r\n$1\r\na\r\n"),
                                          SLICE("_\r\n"),
                                          SLICE(",1.5\r\n"),
                                          SLICE("#t\r\n"),
                                          SLICE("(123456789012345678901234567890\r\n"),
                                          SLICE("=7\r\ntxt:abc\r\n"),
                                          SLICE("!3\r\nERR\r\n"),
                                          SLICE("~2\r\n:1\r\n:2\r\n"),
                                          SLICE("%2\r\n+a\r\n:1\r\n+b\r\n*2\r\n:1\r\n:2\r\n"),
                                          SLICE(">1\r\n+a\r\n"),
                                          SLICE("|1\r\n+k\r\n+v\r\n:5\r\n"),
                                          SLICE("*1\r\n|1\r\n+k\r\n+v\r\n:5\r\n")};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct slice v = values[i];
        char *exact = mem_alloc(v.len + 3);
        memcpy(exact, v.ptr, v.len);
        memcpy(exact + v.len, ":1\r", 3);
        cr_assert_eq(reply_skip(exact, exact + v.len), exact + v.len, "%s", v.ptr);
        cr_assert_eq(reply_skip(exact, exact + v.len + 3), exact + v.len, "%s", v.ptr);
        for (size_t cut = 0; cut < v.len; cut++) cr_assert_null(reply_skip(exact, exact + cut));
        mem_free(exact);
    }
}

Test(reply, skip_of_huge_counts_says_incomplete)
{
    static const char *const values[] = {
        "*9223372036854775807\r\n:1\r\n", "$9223372036854775807\r\nab\r\n",
        "%4611686018427387904\r\n", "|9223372036854775807\r\n:1\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        cr_assert_null(reply_skip(values[i], values[i] + strlen(values[i])));
}
