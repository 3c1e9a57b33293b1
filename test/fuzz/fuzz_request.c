// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target: any bytes as a client's stream. The stream is parsed four times: whole and
// slow, whole with the fast path, cut by the fuzzer's own choice with arguments in blobs and
// without. What comes out must be the same; the sanitizers watch the rest.
//
// Input: byte 0 chooses the limits and the seed of the cuts, the stream follows.
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "engine/request.h"

#define FAST_ARGS 16

struct run {
    struct request_parser parser;
    struct request_limits limits;
    bool uses_fast, uses_blobs, is_dead;
    struct buf input, transcript;
    struct blob *blob;
};

static void write_request(struct buf *out, int argc, const struct slice *argv)
{
    if (argc) buf_printf(out, "%d:", argc);
    for (int i = 0; i < argc; i++) {
        buf_printf(out, "%zu=", argv[i].len);
        buf_append(out, argv[i].ptr, argv[i].len);
    }
}

// To memory of exactly its length.
static void move_input(struct buf *b, size_t drop)
{
    struct buf moved = {.len = b->len - drop, .cap = b->len - drop};
    moved.ptr = mem_alloc(moved.cap);
    if (moved.len) memcpy(moved.ptr, b->ptr + drop, moved.len);
    buf_free(b);
    *b = moved;
}

// An announced length is not proof that the bytes will come: the blob grows with them.
static void begin_blob(struct run *r)
{
    size_t there = r->input.len - r->parser.pos;
    r->blob = blob_new(there);
    r->blob->len = there;
    memcpy(r->blob->data, r->input.ptr + r->parser.pos, there);
    r->input.len = r->parser.pos;
}

static size_t receive_blob(struct run *r, const char *bytes, size_t len)
{
    size_t n = MIN(len, r->parser.bulk_len - r->blob->len);
    r->blob = blob_own(r->blob, r->blob->len + n);
    memcpy(r->blob->data + r->blob->len, bytes, n);
    r->blob->len += n;
    if (r->blob->len == r->parser.bulk_len) {
        request_parser_supply_blob(&r->parser, r->blob);
        r->blob = NULL;
    }
    return n;
}

static bool parse_fast(struct run *r)
{
    struct slice argv[FAST_ARGS];
    int argc;
    if (!r->uses_fast || !request_parser_is_idle(&r->parser)) return false;
    const char *end = r->input.ptr + r->input.len;
    const char *next = request_parse_fast(r->input.ptr, end, argv, FAST_ARGS, &argc);
    if (!next) return false;
    write_request(&r->transcript, argc, argv);
    move_input(&r->input, (size_t)(next - r->input.ptr));
    return true;
}

static bool parse_slow(struct run *r)
{
    struct request_parser *p = &r->parser;
    char error[REQUEST_ERROR_TEXT_BYTES];
    switch (request_parse(p, &r->limits, r->input.ptr, r->input.len)) {
    case REQUEST_MORE: break;
    case REQUEST_DONE:
        write_request(&r->transcript, p->argc, p->argv);
        move_input(&r->input, p->pos);
        request_parser_reset(p);
        return true;
    case REQUEST_BIG:
        if (r->uses_blobs) begin_blob(r);
        break;
    case REQUEST_ERROR:
        request_parser_error(p, error);
        buf_append_text(&r->transcript, error);
        r->is_dead = true;
        break;
    }
    return false;
}

static void receive(struct run *r, const char *bytes, size_t len)
{
    if (r->blob) {
        size_t n = receive_blob(r, bytes, len);
        bytes += n;
        len -= n;
        if (r->blob) return;
    }
    buf_append(&r->input, bytes, len);
    move_input(&r->input, 0);
    while (!r->is_dead && r->input.len && (parse_fast(r) || parse_slow(r)))
        ;
}

// mean: mean length of the pieces; 0: whole.
static struct buf parse(struct run r, const char *bytes, size_t len, unsigned seed, unsigned mean)
{
    request_parser_init(&r.parser);
    for (size_t at = 0; at < len && !r.is_dead;) {
        seed = seed * 1103515245 + 12345;
        size_t n = mean ? 1 + (seed >> 8) % (2 * mean) : len;
        n = MIN(n, len - at);
        receive(&r, bytes + at, n);
        at += n;
    }
    request_parser_reset(&r.parser);
    if (r.blob) blob_unref(r.blob);
    buf_free(&r.input);
    return r.transcript;
}

static void compare(struct buf *expected, struct buf got, const char *what)
{
    if (!slice_eq(buf_slice(expected), buf_slice(&got))) {
        fprintf(stderr, "%s: %.*s\nis not: %.*s\n", what, SLICE_ARG(buf_slice(&got)),
                SLICE_ARG(buf_slice(expected)));
        abort();
    }
    buf_free(&got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    const char *bytes = (const char *)data + 1;
    size_t len = size - 1;
    unsigned seed = data[0];
    struct run slow = {.limits = {.max_bulk_bytes = 1 << 20, .is_anonymous = seed % 8 == 0}};
    struct run fast = slow, blobs = slow;
    fast.uses_fast = !slow.limits.is_anonymous;
    blobs.uses_blobs = true;
    struct buf expected = parse(slow, bytes, len, seed, 0);
    compare(&expected, parse(fast, bytes, len, seed, 0), "fast, whole");
    compare(&expected, parse(fast, bytes, len, seed, seed % 3 ? 16 : 2000), "fast, cut");
    compare(&expected, parse(slow, bytes, len, seed, seed % 3 ? 3 : 1000), "slow, cut");
    compare(&expected, parse(blobs, bytes, len, seed, seed % 3 ? 16 : 2000), "blobs, cut");
    buf_free(&expected);
    return 0;
}
