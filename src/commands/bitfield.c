// SPDX-License-Identifier: BSD-3-Clause
//
// bitfield: a string as an array of integers of any width, at any bit.
//
// All operations are read before the first is done: an error anywhere changes nothing, and how far
// they reach says how long the string must be. The widest, 64 bits from the last bit of a byte on,
// touches nine bytes, which fit a 128-bit integer; so do sums of any two values, and overflow is
// simply a sum that is out of range.
#include "base/assert.h"
#include "base/mem.h"
#include "commands/bitmap.h"
#include "commands/families.h"
#include "engine/engine.h"

enum overflow { OVERFLOW_WRAP, OVERFLOW_SAT, OVERFLOW_FAIL };

enum op_kind { OP_GET, OP_SET, OP_INCRBY };

struct op {
    enum op_kind kind;
    enum overflow overflow;
    bool is_signed;
    unsigned bits;
    uint64_t offset; // in bits
    int64_t operand; // of SET and INCRBY
};

#define OPS_FEW 16

struct ops {
    struct op *list; // `few`, or owned
    size_t count;
    uint64_t end_bit; // behind the last bit that is written, 0: nothing is
    struct op few[OPS_FEW];
};

// --- arguments -----------------------------------------------------------------------------------

static bool parse_type(struct ctx *ctx, int arg, struct op *op)
{
    struct slice text = ctx->argv[arg];
    int64_t bits = 0;
    op->is_signed = text.len && text.ptr[0] == 'i';
    bool is_type = op->is_signed || (text.len && text.ptr[0] == 'u');
    if (!is_type || !num_parse_i64((struct slice){text.ptr + 1, text.len - 1}, &bits) || bits < 1 ||
        bits > (op->is_signed ? 64 : 63)) {
        reply_error(ctx->reply, "ERR Invalid bitfield type. Use something like i16 u8. Note that "
                                "u64 is not supported but i64 is.");
        return false;
    }
    op->bits = (unsigned)bits;
    return true;
}

static bool parse_overflow(struct ctx *ctx, int arg, enum overflow *overflow)
{
    static const char *const words[] = {
        [OVERFLOW_WRAP] = "wrap", [OVERFLOW_SAT] = "sat", [OVERFLOW_FAIL] = "fail"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!ctx_arg_is(ctx, arg, words[i])) continue;
        *overflow = (enum overflow)i;
        return true;
    }
    reply_error(ctx->reply, "ERR Invalid OVERFLOW type specified");
    return false;
}

// Reads the operation at *arg and advances *arg behind it.
static bool parse_op(struct ctx *ctx, int *arg, struct op *op)
{
    int left = ctx->argc - *arg - 1;
    if (ctx_arg_is(ctx, *arg, "get") && left >= 2) {
        op->kind = OP_GET;
    } else if (ctx_arg_is(ctx, *arg, "set") && left >= 3) {
        op->kind = OP_SET;
    } else if (ctx_arg_is(ctx, *arg, "incrby") && left >= 3) {
        op->kind = OP_INCRBY;
    } else {
        reply_error(ctx->reply, ERR_SYNTAX);
        return false;
    }
    if (!parse_type(ctx, *arg + 1, op)) return false;
    if (!bitmap_arg_offset(ctx, *arg + 2, op->bits, &op->offset)) return false;
    if (op->kind != OP_GET && !ctx_arg_i64(ctx, *arg + 3, &op->operand, NULL)) return false;
    *arg += op->kind == OP_GET ? 3 : 4;
    return true;
}

static void ops_free(struct ops *ops)
{
    if (ops->list != ops->few) mem_free(ops->list);
}

static bool ops_parse(struct ctx *ctx, struct ops *ops)
{
    enum overflow overflow = OVERFLOW_WRAP;
    size_t most = (size_t)ctx->argc / 3;
    ops->list = most <= OPS_FEW ? ops->few : mem_alloc(most * sizeof ops->list[0]);
    ops->count = 0;
    ops->end_bit = 0;
    for (int arg = 2; arg < ctx->argc;) {
        if (ctx_arg_is(ctx, arg, "overflow") && arg + 1 < ctx->argc) {
            if (!parse_overflow(ctx, arg + 1, &overflow)) goto out;
            arg += 2;
            continue;
        }
        struct op op = {.overflow = overflow};
        if (!parse_op(ctx, &arg, &op)) goto out;
        if (op.kind != OP_GET) ops->end_bit = MAX(ops->end_bit, op.offset + op.bits);
        ops->list[ops->count++] = op;
    }
    return true;
out:
    ops_free(ops);
    return false;
}

// --- fields --------------------------------------------------------------------------------------

#define FIELD_BYTES 9 // that a field may touch

typedef unsigned __int128 window; // FIELD_BYTES bytes, the first one highest
typedef __int128 wide;            // any value and any sum of two

static unsigned window_shift(const struct op *op)
{
    return FIELD_BYTES * 8 - op->offset % 8 - op->bits;
}

static uint64_t field_mask(const struct op *op)
{
    return UINT64_MAX >> (64 - op->bits);
}

static wide as_number(const struct op *op, uint64_t bits)
{
    bool is_negative = op->is_signed && bits >> (op->bits - 1) & 1;
    return is_negative ? (wide)bits - ((wide)1 << op->bits) : (wide)bits;
}

static window load_window(struct slice value, const struct op *op)
{
    window w = 0;
    for (size_t i = 0, at = op->offset / 8; i < FIELD_BYTES; i++, at++)
        w = w << 8 | (at < value.len ? (unsigned char)value.ptr[at] : 0u);
    return w;
}

static wide field_get(struct slice value, const struct op *op)
{
    uint64_t bits = (uint64_t)(load_window(value, op) >> window_shift(op)) & field_mask(op);
    return as_number(op, bits);
}

// The field lies within the `len` bytes.
static void field_set(char *data, size_t len, const struct op *op, wide number)
{
    unsigned shift = window_shift(op);
    window w = load_window((struct slice){data, len}, op);
    w &= ~((window)field_mask(op) << shift);
    w |= (window)((uint64_t)number & field_mask(op)) << shift;
    size_t at = op->offset / 8, touched = (op->offset % 8 + op->bits + 7) / 8;
    for (size_t i = 0; i < touched; i++) data[at + i] = (char)(w >> (FIELD_BYTES - 1 - i) * 8);
}

// Brings a number into the field's range in the way asked for; false: it does not fit, and must
// not be made to.
static bool fit_number(const struct op *op, wide *number)
{
    wide max = op->is_signed ? (wide)(field_mask(op) >> 1) : (wide)field_mask(op);
    wide min = op->is_signed ? -max - 1 : 0;
    if (*number >= min && *number <= max) return true;
    switch (op->overflow) {
    case OVERFLOW_FAIL: return false;
    case OVERFLOW_SAT: *number = *number > max ? max : min; return true;
    case OVERFLOW_WRAP: *number = as_number(op, (uint64_t)*number & field_mask(op)); return true;
    }
    return false;
}

// SET stores and INCRBY adds; replies the old or the new value. True: the field is another now, or
// new with the value that grew for it.
static bool write_field(struct ctx *ctx, char *data, size_t len, const struct op *op, bool is_grown)
{
    wide old = field_get((struct slice){data, len}, op);
    wide number = op->operand;
    // An unsigned field takes SET's operand for an unsigned number.
    if (op->kind == OP_SET && !op->is_signed) number = (uint64_t)op->operand;
    if (op->kind == OP_INCRBY) number += old;
    if (!fit_number(op, &number)) {
        reply_null(ctx->reply);
        return false;
    }
    reply_int(ctx->reply, (int64_t)(op->kind == OP_SET ? old : number));
    if (number == old) return is_grown;
    field_set(data, len, op, number);
    return true;
}

// --- commands ------------------------------------------------------------------------------------

static void run_reads(struct ctx *ctx, const struct ops *ops)
{
    char scratch[NUM_I64_TEXT];
    struct entry *e;
    if (!ctx_read_as(ctx, ctx->argv[1], TYPE_STRING, &e)) return;
    struct slice value = e ? entry_string(e, scratch) : SLICE("");
    reply_array(ctx->reply, ops->count);
    for (size_t i = 0; i < ops->count; i++)
        reply_int(ctx->reply, (int64_t)field_get(value, &ops->list[i]));
}

static void run_writes(struct ctx *ctx, const struct ops *ops)
{
    struct slice key = ctx->argv[1];
    struct entry *e;
    char *data;
    if (!ctx_write_as(ctx, key, TYPE_STRING, &e)) return;
    size_t old_len = e ? entry_string_len(e) : 0;
    size_t len = MAX(old_len, (size_t)((ops->end_bit + 7) / 8));
    bool is_grown = len > old_len, is_written = false;
    ctx_edit_string(ctx, key, e, len, &data);
    reply_array(ctx->reply, ops->count);
    for (size_t i = 0; i < ops->count; i++) {
        const struct op *op = &ops->list[i];
        if (op->kind == OP_GET)
            reply_int(ctx->reply, (int64_t)field_get((struct slice){data, len}, op));
        else
            is_written |= write_field(ctx, data, len, op, is_grown);
    }
    if (is_written || is_grown) // it grew even if then every write failed; no event tells that
        ctx_commit(ctx, key, EVENT_STRING, is_written ? "setbit" : NULL);
}

static void bitfield(struct ctx *ctx)
{
    struct ops ops;
    if (!ops_parse(ctx, &ops)) return;
    if (ops.end_bit)
        run_writes(ctx, &ops);
    else
        run_reads(ctx, &ops);
    ops_free(&ops);
}

static void bitfield_ro(struct ctx *ctx)
{
    struct ops ops;
    if (!ops_parse(ctx, &ops)) return;
    if (ops.end_bit)
        reply_error(ctx->reply, "ERR BITFIELD_RO only supports the GET subcommand");
    else
        run_reads(ctx, &ops);
    ops_free(&ops);
}

// With nothing but GET the key is read only.
static int bitfield_keys(const struct command *c, int argc, const struct slice *argv,
                         int *positions, uint16_t *flags_out, int max)
{
    (void)c;
    bool is_read = true;
    for (int i = 2; i < argc && flags_out; i++) {
        bool is_get = slice_is(argv[i], "get") && i + 2 < argc;
        bool is_overflow = slice_is(argv[i], "overflow") && i + 1 < argc;
        is_read &= is_get || is_overflow;
        i += is_get ? 2 : 1;
    }
    if (max < 1) return 1;
    positions[0] = 1;
    if (flags_out) flags_out[0] = is_read ? KEY_RO | KEY_ACCESS : KEY_RW | KEY_ACCESS | KEY_UPDATE;
    return 1;
}

// --- declarations --------------------------------------------------------------------------------

// clang-format off: laid out by hand, a few fields a line
const struct command commands_bitfield[] = {
    {.name = "bitfield",
     .handler = bitfield,
     .arity = -2,
     .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_BITMAP,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE | KEY_VARIABLE_FLAGS)},
     .get_keys = bitfield_keys,
     .group = "bitmap",
     .since = "3.2.0",
     .complexity = "O(1) for each operation",
     .summary = "Reads, sets and increments integers of any width within the string at a key.",
     .args = "key [<GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] "
             "<SET encoding offset value:integer | INCRBY encoding offset increment>>...]"},

    {.name = "bitfield_ro",
     .handler = bitfield_ro,
     .arity = -2,
     .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_BITMAP,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)},
     .group = "bitmap",
     .since = "6.0.0",
     .complexity = "O(1) for each operation",
     .summary = "Reads integers of any width within the string at a key.",
     .args = "key [GET encoding offset [GET encoding offset ...]]"},

    {0},
};
// clang-format on
