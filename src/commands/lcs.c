// SPDX-License-Identifier: BSD-3-Clause
//
// lcs: the longest common subsequence of two strings, with a word of bits where the textbook has a
// table of numbers (Hyyrö, "Bit-parallel LCS-length computation revisited", 2004). With L(i, j)
// the length of the answer for the first i bytes of a and the first j of b, L grows by 0 or 1
// from i-1 to i, so one bit says it all:
//
//     row j, bit i-1 is 0  <=>  L(i, j) = L(i-1, j) + 1
//
// A row is computed from the one before it, 64 bytes of a at a time: V' = (V + (V & M)) | (V & ~M),
// where M has a bit for every place in a that holds b's byte. The length alone needs one row. The
// subsequence itself needs them all (n * m / 8 bytes): the walk back from (n, m) takes a byte where
// both agree, and elsewhere goes to the neighbour with the longer answer, to j - 1 when they are
// equal. That choice decides which of several answers comes out, and clients see it: it is Redis's.
#include "base/assert.h"
#include "base/mem.h"
#include "commands/families.h"
#include "engine/ctx.h"
#include "engine/settings.h"

#define WORD_BITS 64

struct lcs_options {
    bool is_idx, is_len, has_match_len;
    int64_t min_match_len;
};

// --- the rows ------------------------------------------------------------------------------------

struct rows {
    struct slice a, b;
    size_t words;   // of a row
    uint64_t *bits; // owned; all b.len + 1 rows, or just the last
    bool is_all;
    uint64_t length; // of the answer
};

// The places of every byte of `b` in `a`: place[byte] is an index into masks, 0 the empty mask.
struct places {
    uint64_t *masks; // owned
    uint16_t place[256];
};

static struct places places_new(const struct rows *r)
{
    struct places p = {0};
    uint16_t count = 1;
    bool is_in_a[256] = {false};
    for (size_t i = 0; i < r->a.len; i++) is_in_a[(uint8_t)r->a.ptr[i]] = true;
    for (size_t j = 0; j < r->b.len; j++) {
        uint8_t c = (uint8_t)r->b.ptr[j];
        if (is_in_a[c] && !p.place[c]) p.place[c] = count++;
    }
    p.masks = mem_calloc(count * r->words * sizeof *p.masks);
    for (size_t i = 0; i < r->a.len; i++) {
        uint16_t place = p.place[(uint8_t)r->a.ptr[i]];
        if (place) p.masks[place * r->words + i / WORD_BITS] |= (uint64_t)1 << i % WORD_BITS;
    }
    return p;
}

static void next_row(uint64_t *to, const uint64_t *from, const uint64_t *mask, size_t words)
{
    unsigned long long carry = 0;
    for (size_t w = 0; w < words; w++) {
        uint64_t v = from[w], common = v & mask[w], sum;
        bool over = __builtin_add_overflow(v, common, &sum);
        over |= __builtin_add_overflow(sum, carry, &sum);
        carry = over;
        to[w] = sum | (v & ~mask[w]);
    }
}

static void rows_compute(struct rows *r, struct slice a, struct slice b, bool is_all)
{
    *r = (struct rows){
        .a = a, .b = b, .words = (a.len + WORD_BITS - 1) / WORD_BITS, .is_all = is_all};
    size_t row_bytes = r->words * sizeof *r->bits;
    r->bits = mem_alloc(row_bytes * (is_all ? b.len + 1 : 1) + 1);
    memset(r->bits, 0xff, row_bytes);
    struct places places = places_new(r);
    uint64_t *row = r->bits;
    for (size_t j = 0; j < b.len; j++) {
        uint64_t *to = is_all ? row + r->words : row;
        next_row(to, row, &places.masks[places.place[(uint8_t)b.ptr[j]] * r->words], r->words);
        row = to;
    }
    for (size_t w = 0; w < r->words; w++) r->length += (uint64_t)__builtin_popcountll(~row[w]);
    mem_free(places.masks);
}

static bool grows_at(const struct rows *r, size_t i, size_t j)
{
    return !(r->bits[j * r->words + (i - 1) / WORD_BITS] >> (i - 1) % WORD_BITS & 1);
}

// L(i, j)
static uint64_t length_at(const struct rows *r, size_t i, size_t j)
{
    const uint64_t *row = r->bits + j * r->words;
    uint64_t n = 0;
    for (size_t w = 0; w < i / WORD_BITS; w++) n += (uint64_t)__builtin_popcountll(~row[w]);
    uint64_t below = ((uint64_t)1 << i % WORD_BITS) - 1;
    return below ? n + (uint64_t)__builtin_popcountll(~row[i / WORD_BITS] & below) : n;
}

// --- the walk back -------------------------------------------------------------------------------

// A stretch of bytes that the answer takes from both strings one after the other: a[a .. a+len),
// b[b .. b+len).
struct match {
    size_t a, b, len;
};

struct walk {
    const struct rows *rows;
    size_t i, j;
    uint64_t left; // L(i, j)
};

// The last stretch of what is left; false at the end.
static bool walk_next(struct walk *w, struct match *m)
{
    const char *a = w->rows->a.ptr, *b = w->rows->b.ptr;
    while (w->i && w->j && a[w->i - 1] != b[w->j - 1]) {
        // Only if a's last byte adds nothing can dropping it be better than dropping b's.
        if (!grows_at(w->rows, w->i, w->j) && length_at(w->rows, w->i, w->j - 1) < w->left)
            w->i--;
        else
            w->j--;
        // Either way nothing is lost: L(i, j) is the greater of the two neighbours' lengths.
    }
    m->len = 0;
    for (; w->i && w->j && a[w->i - 1] == b[w->j - 1]; w->i--, w->j--, w->left--) m->len++;
    m->a = w->i;
    m->b = w->j;
    return m->len;
}

static void reply_range(struct reply *r, size_t start, size_t len)
{
    reply_array(r, 2);
    reply_int(r, (int64_t)start);
    reply_int(r, (int64_t)(start + len - 1));
}

static void reply_matches(struct ctx *ctx, const struct rows *rows, const struct lcs_options *o)
{
    struct walk walk = {rows, rows->a.len, rows->b.len, rows->length};
    struct match m;
    size_t n = 0;
    reply_map(ctx->reply, 2);
    reply_bulk_text(ctx->reply, "matches");
    struct reply_mark mark = reply_open(ctx->reply);
    while (walk_next(&walk, &m)) {
        if ((int64_t)m.len < o->min_match_len) continue;
        reply_array(ctx->reply, o->has_match_len ? 3 : 2);
        reply_range(ctx->reply, m.a, m.len);
        reply_range(ctx->reply, m.b, m.len);
        if (o->has_match_len) reply_int(ctx->reply, (int64_t)m.len);
        n++;
    }
    reply_close_array(ctx->reply, mark, n);
    reply_bulk_text(ctx->reply, "len");
    reply_int(ctx->reply, (int64_t)rows->length);
}

static void reply_subsequence(struct ctx *ctx, const struct rows *rows)
{
    struct walk walk = {rows, rows->a.len, rows->b.len, rows->length};
    struct match m;
    char *text = mem_alloc(rows->length + 1);
    size_t start = rows->length;
    while (walk_next(&walk, &m)) {
        start -= m.len;
        memcpy(text + start, rows->a.ptr + m.a, m.len);
    }
    ASSERT(start == 0);
    reply_bulk(ctx->reply, (struct slice){text, rows->length});
    mem_free(text);
}

// --- the command ---------------------------------------------------------------------------------

static bool parse_options(struct ctx *ctx, struct lcs_options *o)
{
    *o = (struct lcs_options){0};
    for (int i = 3; i < ctx->argc; i++) {
        if (ctx_arg_is(ctx, i, "IDX")) {
            o->is_idx = true;
        } else if (ctx_arg_is(ctx, i, "LEN")) {
            o->is_len = true;
        } else if (ctx_arg_is(ctx, i, "WITHMATCHLEN")) {
            o->has_match_len = true;
        } else if (ctx_arg_is(ctx, i, "MINMATCHLEN") && i + 1 < ctx->argc) {
            if (!ctx_arg_i64(ctx, ++i, &o->min_match_len, NULL)) return false;
        } else {
            reply_error(ctx->reply, ERR_SYNTAX);
            return false;
        }
    }
    if (o->is_idx && o->is_len) {
        reply_error(ctx->reply,
                    "ERR If you want both the length and indexes, please just use IDX.");
        return false;
    }
    return true;
}

// Redis refuses what its table of 32-bit numbers would not fit in; so do we, though ours is
// smaller.
static bool size_fits(struct ctx *ctx, struct slice a, struct slice b)
{
    if (a.len >= UINT32_MAX - 1 || b.len >= UINT32_MAX - 1) {
        reply_error(ctx->reply, "ERR String too long for LCS");
        return false;
    }
    uint64_t cells = ((uint64_t)a.len + 1) * ((uint64_t)b.len + 1);
    if (cells <= ctx->settings->proto_max_bulk_len / sizeof(uint32_t)) return true;
    reply_error(ctx->reply,
                cells > UINT64_MAX / sizeof(uint32_t)
                    ? "ERR Insufficient memory, failed allocating transient memory for LCS"
                    : "ERR Insufficient memory, transient memory for LCS exceeds "
                      "proto-max-bulk-len");
    return false;
}

static void lcs(struct ctx *ctx)
{
    char scratch[2][NUM_I64_TEXT];
    struct lcs_options options;
    struct slice text[2];
    // The second look-up may remove an expired key, and so does the first: look first, then hold.
    bool is_string = true;
    for (int k = 0; k < 2; k++) {
        const struct entry *e = ctx_read(ctx, ctx->argv[k + 1]);
        if (e && e->type != TYPE_STRING) is_string = false;
    }
    if (!is_string) {
        reply_error(ctx->reply, "ERR The specified keys must contain string values");
        return;
    }
    for (int k = 0; k < 2; k++) {
        const struct entry *e = ctx_peek(ctx, ctx->argv[k + 1]);
        text[k] = e ? entry_string(e, scratch[k]) : SLICE("");
    }
    if (!parse_options(ctx, &options) || !size_fits(ctx, text[0], text[1])) return;

    struct rows rows;
    rows_compute(&rows, text[0], text[1], !options.is_len);
    if (options.is_idx)
        reply_matches(ctx, &rows, &options);
    else if (options.is_len)
        reply_int(ctx->reply, (int64_t)rows.length);
    else
        reply_subsequence(ctx, &rows);
    mem_free(rows.bits);
}

// clang-format off
const struct command commands_lcs[] = {
    {.name = "lcs", .handler = lcs, .arity = -3, .flags = CMD_READONLY, .acl = ACL_STRING,
     .span = SPAN_GATHER, .keys = {KEYS(1, 2, 1, KEY_RO | KEY_ACCESS)}, .group = "string",
     .since = "7.0.0",
     .complexity = "O(N*M) with N and M the lengths of the two strings, 64 steps at a time",
     .summary = "Finds the longest common subsequence of two strings.",
     .args = "key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]"},

    {0},
};
// clang-format on
