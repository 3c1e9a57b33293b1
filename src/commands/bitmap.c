// SPDX-License-Identifier: BSD-3-Clause
//
// bitmap: strings as rows of bits. The work on many bits is ds/bits.c; here are arguments, keys and
// replies, and where a result is put.
//
// A missing key is an empty string, and what lies behind a string's end is zeros, but not quite
// everywhere: BITPOS for a zero that is given an end does not look behind it.
#include "commands/bitmap.h"

#include "base/assert.h"
#include "base/mem.h"
#include "commands/families.h"
#include "ds/bits.h"
#include "engine/engine.h"
#include "engine/settings.h"

#define ERR_BIT_OFFSET "ERR bit offset is not an integer or out of range"
#define ERR_BIT        "ERR bit is not an integer or out of range"

static inline struct slice key_of(const struct ctx *ctx)
{
    return ctx->argv[1];
}

bool bitmap_arg_offset(struct ctx *ctx, int arg, unsigned unit_bits, uint64_t *offset)
{
    struct slice text = ctx->argv[arg];
    int64_t value;
    bool in_units = unit_bits && text.len && text.ptr[0] == '#';
    if (in_units) text = (struct slice){text.ptr + 1, text.len - 1};
    if (!num_parse_i64(text, &value) ||
        (in_units && __builtin_mul_overflow(value, (int64_t)unit_bits, &value)) || value < 0 ||
        ((uint64_t)value / 8 >= ctx->settings->proto_max_bulk_len &&
         !(ctx->flags & CTX_REPLAY))) { // then the limit was another one
        reply_error(ctx->reply, ERR_BIT_OFFSET);
        return false;
    }
    *offset = (uint64_t)value;
    return true;
}

// --- one bit -------------------------------------------------------------------------------------

static bool bit_at(struct slice value, uint64_t offset)
{
    size_t byte = offset / 8;
    return byte < value.len && (unsigned char)value.ptr[byte] >> (7 - offset % 8) & 1;
}

static void setbit(struct ctx *ctx)
{
    char scratch[NUM_I64_TEXT], *data;
    struct slice key = key_of(ctx), value = SLICE("");
    struct entry *e;
    uint64_t offset;
    int64_t bit;
    if (!bitmap_arg_offset(ctx, 2, 0, &offset)) return;
    if (!ctx_arg_range(ctx, 3, 0, 1, &bit, ERR_BIT)) return;
    if (!ctx_write_as(ctx, key, TYPE_STRING, &e)) return;
    if (e) value = entry_string(e, scratch);

    size_t byte = offset / 8;
    bool old = bit_at(value, offset);
    bool is_changed = byte >= value.len || old != (bit == 1);
    // Without a change there is nothing to write, but what was set with SET becomes "raw".
    if (is_changed || e->encoding != ENC_RAW) {
        ctx_edit_string(ctx, key, e, MAX(value.len, byte + 1), &data);
        unsigned mask = 0x80u >> offset % 8;
        data[byte] = (char)(bit ? data[byte] | (int)mask : data[byte] & ~(int)mask);
    }
    if (is_changed) ctx_commit(ctx, key, EVENT_STRING, "setbit");
    reply_int(ctx->reply, old);
}

static void getbit(struct ctx *ctx)
{
    char scratch[NUM_I64_TEXT];
    struct entry *e;
    uint64_t offset;
    if (!bitmap_arg_offset(ctx, 2, 0, &offset)) return;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_STRING, &e)) return;
    reply_int(ctx->reply, e && bit_at(entry_string(e, scratch), offset));
}

// --- ranges --------------------------------------------------------------------------------------

// A range of bits, `from` included, `to` not.
struct range {
    uint64_t from, to;
    bool is_empty;
};

// BYTE or BIT in argument `arg`, which may be missing.
static bool parse_unit(struct ctx *ctx, int arg, bool *is_bits)
{
    *is_bits = ctx_arg_is(ctx, arg, "bit");
    if (*is_bits || arg >= ctx->argc || ctx_arg_is(ctx, arg, "byte")) return true;
    reply_error(ctx->reply, ERR_SYNTAX);
    return false;
}

// Positions `first` to `last`, both included, negative ones counted from the end, as bits of a
// string of `len` bytes.
static struct range range_of(int64_t first, int64_t last, bool is_bits, size_t len)
{
    int64_t count = (int64_t)(is_bits ? len * 8 : len);
    uint64_t unit = is_bits ? 1 : 8;
    if (first < 0) first = MAX(first + count, 0);
    if (last < 0) last = MAX(last + count, 0);
    last = MIN(last, count - 1);
    if (first > last) return (struct range){.is_empty = true};
    return (struct range){(uint64_t)first * unit, ((uint64_t)last + 1) * unit, false};
}

static void bitcount(struct ctx *ctx)
{
    char scratch[NUM_I64_TEXT];
    struct entry *e;
    int64_t first = 0, last = -1;
    bool is_bits = false;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_STRING, &e)) return;
    if (!e) { // whatever the other arguments say
        reply_int(ctx->reply, 0);
        return;
    }
    if (ctx->argc == 3 || ctx->argc > 5) {
        reply_error(ctx->reply, ERR_SYNTAX);
        return;
    }
    if (ctx->argc > 2) {
        if (!ctx_arg_i64(ctx, 2, &first, NULL) || !ctx_arg_i64(ctx, 3, &last, NULL)) return;
        if (first < 0 && last < 0 && first > last) {
            reply_int(ctx->reply, 0);
            return;
        }
        if (!parse_unit(ctx, 4, &is_bits)) return;
    }
    struct slice value = entry_string(e, scratch);
    struct range r = range_of(first, last, is_bits, value.len);
    reply_int(ctx->reply, r.is_empty ? 0 : (int64_t)bits_count(value.ptr, r.from, r.to));
}

// The range of BITPOS, from argument 3 on; replies the error and returns false if it does not fit.
static bool parse_bitpos_range(struct ctx *ctx, int64_t *first, int64_t *last, bool *is_bits)
{
    *first = 0;
    *last = -1;
    *is_bits = false;
    if (ctx->argc > 6) {
        reply_error(ctx->reply, ERR_SYNTAX);
        return false;
    }
    if (ctx->argc > 3 && !ctx_arg_i64(ctx, 3, first, NULL)) return false;
    if (!parse_unit(ctx, 5, is_bits)) return false;
    return ctx->argc <= 4 || ctx_arg_i64(ctx, 4, last, NULL);
}

static void bitpos(struct ctx *ctx)
{
    char scratch[NUM_I64_TEXT];
    struct entry *e;
    int64_t bit, first, last;
    bool is_bits;
    if (!ctx_arg_i64(ctx, 2, &bit, NULL)) return;
    if (bit != 0 && bit != 1) {
        reply_error(ctx->reply, "ERR The bit argument must be 1 or 0.");
        return;
    }
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_STRING, &e)) return;
    if (!e) { // zeros without end, whatever the other arguments say
        reply_int(ctx->reply, bit ? -1 : 0);
        return;
    }
    if (!parse_bitpos_range(ctx, &first, &last, &is_bits)) return;
    struct slice value = entry_string(e, scratch);
    struct range r = range_of(first, last, is_bits, value.len);
    uint64_t at = r.is_empty ? r.to : bits_find(value.ptr, r.from, r.to, bit);
    // A zero behind the last byte counts unless the end was given.
    bool has_more = !bit && ctx->argc <= 4;
    reply_int(ctx->reply, r.is_empty || (at == r.to && !has_more) ? -1 : (int64_t)at);
}

// --- BITOP ---------------------------------------------------------------------------------------

static const struct {
    const char *word;
    enum bits_op op;
    int sources_min, sources_max; // 0: any number
} operations[] = {
    {"AND", BITS_AND, 1, 0},     {"OR", BITS_OR, 1, 0},     {"XOR", BITS_XOR, 1, 0},
    {"NOT", BITS_NOT, 1, 1},     {"DIFF", BITS_DIFF, 2, 0}, {"DIFF1", BITS_DIFF1, 2, 0},
    {"ANDOR", BITS_ANDOR, 2, 0}, {"ONE", BITS_ONE, 1, 0},
};

static bool parse_operation(struct ctx *ctx, enum bits_op *op)
{
    int sources = ctx->argc - 3;
    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        if (!ctx_arg_is(ctx, 1, operations[i].word)) continue;
        *op = operations[i].op;
        int max = operations[i].sources_max;
        if (sources >= operations[i].sources_min && (!max || sources <= max)) return true;
        reply_errorf(ctx->reply, "ERR BITOP %s must be called with %s.", operations[i].word,
                     max ? "a single source key" : "at least two source keys");
        return false;
    }
    reply_error(ctx->reply, ERR_SYNTAX);
    return false;
}

// The sources of a BITOP. Slices point into entries, so the keyspace must not change before they
// were read.
struct sources {
    struct slice *values;
    size_t count, longest;
    // Room for few; integers are printed to `digits`.
    struct slice few[16];
    char (*digits)[NUM_I64_TEXT], few_digits[16][NUM_I64_TEXT];
};

static void sources_free(struct sources *s)
{
    if (s->values == s->few) return;
    mem_free(s->values);
    mem_free(s->digits);
}

static bool sources_read(struct ctx *ctx, struct sources *s)
{
    s->count = (size_t)ctx->argc - 3;
    s->longest = 0;
    s->values = s->few;
    s->digits = s->few_digits;
    if (s->count > ARRAY_LEN(s->few)) {
        s->values = mem_alloc(s->count * sizeof s->values[0]);
        s->digits = mem_alloc(s->count * sizeof s->digits[0]);
    }
    for (size_t i = 0; i < s->count; i++) {
        struct entry *e;
        if (!ctx_read_as(ctx, ctx->argv[i + 3], TYPE_STRING, &e)) {
            sources_free(s);
            return false;
        }
        s->values[i] = e ? entry_string(e, s->digits[i]) : SLICE("");
        s->longest = MAX(s->longest, s->values[i].len);
    }
    return true;
}

// A result of this length could be written over the destination's present value.
static bool can_overwrite(const struct entry *e, size_t len)
{
    return e && entry_has_blob(e) && !blob_is_shared(e->blob) && e->blob->cap >= len &&
           e->blob->cap / 2 <= len;
}

// The result, of s->longest > 0 bytes, to the key; without an expiry, and "raw" however short.
static void store_result(struct ctx *ctx, struct slice key, struct entry *e, enum bits_op op,
                         const struct sources *s)
{
    char *data;
    size_t len = s->longest;
    if (len <= EMBED_MAX_BYTES) { // by way of the stack: the entry may move
        char result[EMBED_MAX_BYTES];
        bits_combine(op, result, len, s->values, s->count);
        e = ctx_set_string(ctx, key, e, SLICE(""), EXPIRE_NONE);
        ctx_edit_string(ctx, key, e, len, &data);
        memcpy(data, result, len);
    } else if (can_overwrite(e, len)) { // no new memory; may be one of the sources
        if (e->has_ttl) e = ctx_set_expire(ctx, key, e, EXPIRE_NONE);
        ctx_edit_string(ctx, key, e, len, &data);
        bits_combine(op, data, len, s->values, s->count);
    } else {
        struct blob *blob = blob_new(len);
        blob->len = len;
        bits_combine(op, blob->data, len, s->values, s->count);
        ctx_set_blob(ctx, key, e, blob, EXPIRE_NONE);
    }
}

static void bitop(struct ctx *ctx)
{
    struct slice key = ctx->argv[2];
    struct sources sources;
    enum bits_op op;
    if (!parse_operation(ctx, &op) || !sources_read(ctx, &sources)) return;
    struct entry *e = ctx_write(ctx, key);
    if (sources.longest) {
        store_result(ctx, key, e, op, &sources);
        ctx_commit(ctx, key, EVENT_STRING, "set");
    } else if (e) {
        ctx_delete(ctx, key, e);
        ctx_commit(ctx, key, EVENT_GENERIC, "del");
    }
    reply_int(ctx->reply, (int64_t)sources.longest);
    sources_free(&sources);
}

// --- declarations --------------------------------------------------------------------------------

// clang-format off: laid out by hand, a few fields a line
const struct command commands_bitmap[] = {
    {.name = "setbit",
     .handler = setbit,
     .arity = 4,
     .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_BITMAP,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE)},
     .group = "bitmap",
     .since = "2.2.0",
     .complexity = "O(1)",
     .summary =
         "Sets or clears one bit of the string at a key, which grows if need be. Creates the "
         "key if it is missing.",
     .args = "key offset:integer value:integer"},

    {.name = "getbit",
     .handler = getbit,
     .arity = 3,
     .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_BITMAP,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)},
     .group = "bitmap",
     .since = "2.2.0",
     .complexity = "O(1)",
     .summary = "Returns one bit of the string at a key.",
     .args = "key offset:integer"},

    {.name = "bitcount",
     .handler = bitcount,
     .arity = -2,
     .flags = CMD_READONLY,
     .acl = ACL_BITMAP,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)},
     .group = "bitmap",
     .since = "2.6.0",
     .complexity = "O(N) with N the length of the range",
     .summary = "Counts the bits that are set in the string at a key, or in a range of it.",
     .args = "key [start:integer end:integer [BYTE | BIT]]",
     .history = "7.0.0: Added the `BYTE|BIT` option."},

    {.name = "bitpos",
     .handler = bitpos,
     .arity = -3,
     .flags = CMD_READONLY,
     .acl = ACL_BITMAP,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)},
     .group = "bitmap",
     .since = "2.8.7",
     .complexity = "O(N) with N the length of the range",
     .summary = "Finds the first bit that is set, or clear, in the string at a key.",
     .args = "key bit:integer [start:integer [end:integer [BYTE | BIT]]]",
     .history = "7.0.0: Added the `BYTE|BIT` option."},

    {.name = "bitop",
     .handler = bitop,
     .arity = -4,
     .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_BITMAP,
     .keys = {KEYS(2, 2, 1, KEY_OW | KEY_UPDATE), KEYS(3, -1, 1, KEY_RO | KEY_ACCESS)},
     .group = "bitmap",
     .since = "2.6.0",
     .complexity = "O(N) with N the length of all the strings",
     .summary = "Combines the bits of one or more strings and stores the result at a key.",
     .args = "operation destkey key...",
     .history = "8.2.0: Added the `DIFF`, `DIFF1`, `ANDOR` and `ONE` operations."},

    {0},
};
// clang-format on
