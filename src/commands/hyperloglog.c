// SPDX-License-Identifier: BSD-3-Clause
//
// hyperloglog: commands on HyperLogLogs, which are strings with a format of their own
// (ds/hyperloglog.h). Whatever else can change a string may have been at it, so a value is looked
// at before it is used, and may still turn out to be damaged while it is.
//
// PFADD edits the value where it lies. PFMERGE and a PFCOUNT of several keys spread the registers
// out to a byte each, 16 KB on the stack, and merge into those.
#include "ds/hyperloglog.h"
#include "base/assert.h"
#include "base/mem.h"
#include "commands/families.h"
#include "engine/effect.h"
#include "engine/engine.h"
#include "engine/settings.h"

#define ERR_NOT_HLL "WRONGTYPE Key is not a valid HyperLogLog string value."
#define ERR_DAMAGED "INVALIDOBJ Corrupted HLL object detected"

static uint64_t sparse_max_bytes(const struct ctx *ctx)
{
    return ctx->settings->limits.hll_sparse_max_bytes;
}

// --- values at keys ------------------------------------------------------------------------------

// The value of an entry that is a HyperLogLog, which is never an integer.
static struct slice value_of_hll(const struct entry *e)
{
    return entry_string(e, NULL);
}

// If there is something at the key, it must be a HyperLogLog: else the error is replied.
static bool check_hll(struct ctx *ctx, const struct entry *e)
{
    if (!e) return true;
    if (e->type != TYPE_STRING) {
        reply_error(ctx->reply, ERR_WRONGTYPE);
        return false;
    }
    if (e->encoding != ENC_INT && hll_is_valid(value_of_hll(e))) return true;
    reply_error(ctx->reply, ERR_NOT_HLL);
    return false;
}

static struct entry *create(struct ctx *ctx, struct slice key)
{
    struct entry *e = ctx_set_string(ctx, key, NULL, hll_empty(), EXPIRE_NONE);
    e->encoding = ENC_RAW;
    return e;
}

// Makes a sparse value dense; NULL: it is damaged, and stays as it is.
static struct entry *make_dense(struct ctx *ctx, struct slice key, struct entry *e)
{
    struct blob *blob = blob_new(HLL_DENSE_BYTES);
    blob->len = HLL_DENSE_BYTES;
    if (hll_densify(blob->data, value_of_hll(e)))
        return ctx_set_blob(ctx, key, e, blob, EXPIRE_KEEP);
    blob_unref(blob);
    return NULL;
}

// --- PFADD ---------------------------------------------------------------------------------------

static bool add_dense(struct ctx *ctx, struct slice key, struct entry **e, struct hll_hit hit)
{
    char *data;
    if (hll_dense_get(value_of_hll(*e), hit.index) >= hit.rank) return false;
    *e = ctx_edit_string(ctx, key, *e, HLL_DENSE_BYTES, &data);
    hll_dense_set(data, hit);
    return true;
}

static struct entry *apply_patch(struct ctx *ctx, struct slice key, struct entry *e,
                                 const struct hll_patch *patch)
{
    char *data;
    size_t len = value_of_hll(e).len, room = MAX(len, hll_patch_len(len, patch));
    e = ctx_edit_string(ctx, key, e, room, &data);
    size_t new_len = hll_sparse_apply(data, len, patch);
    return new_len == room ? e : ctx_edit_string(ctx, key, e, new_len, &data);
}

// Adds one element to *e, which may move. *is_changed is set if a register changed. False: the
// value is damaged.
static bool add(struct ctx *ctx, struct slice key, struct entry **e, struct hll_hit hit,
                bool *is_changed)
{
    struct hll_patch patch;
    struct slice value = value_of_hll(*e);
    if (hll_encoding(value) == HLL_SPARSE) {
        switch (hll_sparse_find(value, hit, sparse_max_bytes(ctx), &patch)) {
        case HLL_UNCHANGED: return true;
        case HLL_DAMAGED: return false;
        case HLL_CHANGED:
            *e = apply_patch(ctx, key, *e, &patch);
            *is_changed = true;
            return true;
        case HLL_NEEDS_DENSE: break;
        }
        struct entry *dense = make_dense(ctx, key, *e);
        if (!dense) return false;
        *e = dense;
        *is_changed = true;
    }
    *is_changed |= add_dense(ctx, key, e, hit);
    return true;
}

static void mark_changed(struct ctx *ctx, struct slice key, struct entry *e)
{
    char *data;
    uint64_t cardinality;
    struct slice value = value_of_hll(e);
    if (hll_cached(value, &cardinality)) {
        ctx_edit_string(ctx, key, e, value.len, &data);
        hll_uncache(data);
    }
    ctx_commit(ctx, key, EVENT_STRING, "pfadd");
}

static void pfadd(struct ctx *ctx)
{
    struct slice key = ctx->argv[1];
    struct entry *e = ctx_write(ctx, key);
    if (!check_hll(ctx, e)) return;
    bool is_changed = !e, is_damaged = false;
    if (!e) e = create(ctx, key);
    for (int i = 2; i < ctx->argc && !is_damaged; i++)
        is_damaged = !add(ctx, key, &e, hll_hit(ctx->argv[i]), &is_changed);
    if (is_changed) mark_changed(ctx, key, e);
    if (is_damaged)
        reply_error(ctx->reply, ERR_DAMAGED);
    else
        reply_int(ctx->reply, is_changed);
}

// --- PFCOUNT and PFMERGE -------------------------------------------------------------------------

// Merges the values of the keys from argument 1 on; replies the error and returns false if one of
// them is none or damaged. *is_dense: one was dense.
static bool merge_keys(struct ctx *ctx, uint8_t registers[HLL_REGISTERS], bool *is_dense)
{
    *is_dense = false;
    for (int i = 1; i < ctx->argc; i++) {
        struct entry *e = ctx_read(ctx, ctx->argv[i]);
        if (!check_hll(ctx, e)) return false;
        if (!e) continue;
        struct slice value = value_of_hll(e);
        *is_dense |= hll_encoding(value) == HLL_DENSE;
        if (!hll_merge(registers, value)) {
            reply_error(ctx->reply, ERR_DAMAGED);
            return false;
        }
    }
    return true;
}

static void count_union(struct ctx *ctx)
{
    uint8_t registers[HLL_REGISTERS] = {0};
    bool is_dense;
    if (merge_keys(ctx, registers, &is_dense))
        reply_int(ctx->reply, (int64_t)hll_count_registers(registers));
}

static void pfcount(struct ctx *ctx)
{
    if (ctx->argc > 2) {
        count_union(ctx);
        return;
    }
    struct slice key = ctx->argv[1];
    struct entry *e = ctx_read(ctx, key);
    uint64_t cardinality = 0;
    if (!check_hll(ctx, e)) return;
    if (e && !hll_cached(value_of_hll(e), &cardinality)) {
        char *data;
        if (!hll_count(value_of_hll(e), &cardinality)) {
            reply_error(ctx->reply, ERR_DAMAGED);
            return;
        }
        ctx_edit_string(ctx, key, e, value_of_hll(e).len, &data);
        hll_cache(data, cardinality);
        effect_say_key(ctx, "PFCOUNT", key);
        ctx_commit(ctx, key, EVENT_STRING, NULL);
    }
    reply_int(ctx->reply, (int64_t)cardinality);
}

// Stores the registers, which are at least those of `e`, as a dense value over it.
static void store_dense(struct ctx *ctx, struct slice key, struct entry *e,
                        const uint8_t registers[HLL_REGISTERS])
{
    struct slice header = value_of_hll(e);
    char *data;
    if (hll_encoding(header) == HLL_DENSE) {
        ctx_edit_string(ctx, key, e, HLL_DENSE_BYTES, &data);
        hll_set_dense(data, (struct slice){data, HLL_DENSE_BYTES}, registers);
        hll_uncache(data);
        return;
    }
    struct blob *blob = blob_new(HLL_DENSE_BYTES);
    blob->len = HLL_DENSE_BYTES;
    hll_set_dense(blob->data, header, registers);
    hll_uncache(blob->data);
    ctx_set_blob(ctx, key, e, blob, EXPIRE_KEEP);
}

// Raises the registers of the undamaged sparse value at `e`. False: it must become dense.
static bool store_sparse(struct ctx *ctx, struct slice key, struct entry *e,
                         const uint8_t registers[HLL_REGISTERS])
{
    char sparse[HLL_SPARSE_MAX_BYTES], *data;
    struct slice value = value_of_hll(e);
    size_t len = value.len;
    memcpy(sparse, value.ptr, len);
    if (!hll_sparse_raise(sparse, &len, registers, sparse_max_bytes(ctx))) return false;
    hll_uncache(sparse);
    ctx_edit_string(ctx, key, e, len, &data);
    memcpy(data, sparse, len);
    return true;
}

static void pfmerge(struct ctx *ctx)
{
    struct slice key = ctx->argv[1]; // a source as well
    uint8_t registers[HLL_REGISTERS] = {0};
    bool is_dense;
    if (!merge_keys(ctx, registers, &is_dense)) return;
    struct entry *e = ctx_write(ctx, key);
    if (!e) e = create(ctx, key);
    if (is_dense || !store_sparse(ctx, key, e, registers)) store_dense(ctx, key, e, registers);
    ctx_commit(ctx, key, EVENT_STRING, "pfadd");
    reply_ok(ctx->reply);
}

// --- PFDEBUG -------------------------------------------------------------------------------------

// Makes the value dense if it is not; replies the error and returns NULL if it is damaged.
static struct entry *debug_dense(struct ctx *ctx, struct entry *e)
{
    struct slice key = ctx->argv[2];
    if (hll_encoding(value_of_hll(e)) == HLL_DENSE) return e;
    e = make_dense(ctx, key, e);
    if (e)
        ctx_commit(ctx, key, EVENT_STRING, NULL);
    else
        reply_error(ctx->reply, ERR_DAMAGED);
    return e;
}

static void debug_getreg(struct ctx *ctx, struct entry *e)
{
    if (!(e = debug_dense(ctx, e))) return;
    struct slice value = value_of_hll(e);
    reply_array(ctx->reply, HLL_REGISTERS);
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) reply_int(ctx->reply, hll_dense_get(value, i));
}

// The runs as "z:len" (one byte), "Z:len" (two bytes) and "v:value,len".
static void debug_decode(struct ctx *ctx, struct entry *e)
{
    struct slice value = value_of_hll(e);
    struct buf text = {0};
    struct hll_run run;
    if (hll_encoding(value) != HLL_SPARSE) {
        reply_error(ctx->reply, "ERR HLL encoding is not sparse");
        return;
    }
    for (size_t at = HLL_HEADER_BYTES; at < value.len && hll_run_at(value, at, &run);
         at += run.bytes) {
        if (text.len) buf_append_char(&text, ' ');
        if (run.value)
            buf_printf(&text, "v:%u,%u", run.value, (unsigned)run.len);
        else
            buf_printf(&text, "%c:%u", run.bytes == 2 ? 'Z' : 'z', (unsigned)run.len);
    }
    reply_bulk(ctx->reply, buf_slice(&text));
    buf_free(&text);
}

static void debug_encoding(struct ctx *ctx, struct entry *e)
{
    bool is_dense = hll_encoding(value_of_hll(e)) == HLL_DENSE;
    reply_simple(ctx->reply, is_dense ? "dense" : "sparse");
}

static void debug_todense(struct ctx *ctx, struct entry *e)
{
    bool was_dense = hll_encoding(value_of_hll(e)) == HLL_DENSE;
    if (debug_dense(ctx, e)) reply_int(ctx->reply, !was_dense);
}

// PFDEBUG SIMD ON|OFF (Redis 8): which loops run is not a state here, and their results are the
// same; the words are understood so that scripts which use them go on.
static void debug_simd(struct ctx *ctx)
{
    if (ctx_arg_is(ctx, 2, "on"))
        reply_simple(ctx->reply, "enabled");
    else if (ctx_arg_is(ctx, 2, "off"))
        reply_simple(ctx->reply, "disabled");
    else
        reply_error(ctx->reply, "ERR Argument must be ON or OFF");
}

static void pfdebug(struct ctx *ctx)
{
    static const struct {
        const char *word;
        void (*run)(struct ctx *ctx, struct entry *e);
    } subcommands[] = {{"getreg", debug_getreg},
                       {"decode", debug_decode},
                       {"encoding", debug_encoding},
                       {"todense", debug_todense}};
    if (ctx_arg_is(ctx, 1, "simd")) {
        debug_simd(ctx);
        return;
    }
    struct entry *e = ctx_write(ctx, ctx->argv[2]);
    if (!e) {
        reply_error(ctx->reply, "ERR The specified key does not exist");
        return;
    }
    if (!check_hll(ctx, e)) return;
    for (size_t i = 0; i < ARRAY_LEN(subcommands); i++) {
        if (!ctx_arg_is(ctx, 1, subcommands[i].word)) continue;
        subcommands[i].run(ctx, e);
        return;
    }
    reply_errorf(ctx->reply, "ERR Unknown PFDEBUG subcommand '%.*s'", SLICE_ARG(ctx->argv[1]));
}

// --- PFSELFTEST ----------------------------------------------------------------------------------

#define SELFTEST_MAX 100000 // elements

// A value that is grown from empty as PFADD would.
struct trial {
    char value[HLL_SPARSE_MAX_BYTES];
    size_t len;
};

static void trial_start(struct trial *t)
{
    struct slice empty = hll_empty();
    memcpy(t->value, empty.ptr, empty.len);
    t->len = empty.len;
}

static void trial_add(struct trial *t, struct hll_hit hit, size_t max_bytes)
{
    char dense[HLL_DENSE_BYTES];
    struct slice value = {t->value, t->len};
    struct hll_patch patch;
    if (hll_encoding(value) == HLL_SPARSE) {
        enum hll_outcome outcome = hll_sparse_find(value, hit, max_bytes, &patch);
        if (outcome == HLL_CHANGED) t->len = hll_sparse_apply(t->value, t->len, &patch);
        if (outcome != HLL_NEEDS_DENSE || !hll_densify(dense, value)) return;
        t->len = sizeof dense;
        memcpy(t->value, dense, sizeof dense);
    }
    if (hll_dense_get(value, hit.index) < hit.rank) hll_dense_set(t->value, hit);
}

// Is an estimate within what can be expected? The standard error is 1.04 / sqrt(16384), 0.81 %; six
// of them, and for few elements a few collisions.
static bool is_close(uint64_t estimate, uint64_t truth)
{
    double off = estimate > truth ? (double)(estimate - truth) : (double)(truth - estimate);
    return off <= 10 || off <= 6 * 0.0081 * (double)truth;
}

// The same elements into a value that is dense at once and one that stays sparse for long: the same
// registers, and estimates that hold what they promise. NULL, or what is wrong.
static const char *selftest(struct random *random, struct trial *dense, struct trial *sparse)
{
    uint64_t prefix = random_u64(random), a, b;
    char text[2 * NUM_I64_TEXT];
    trial_start(dense);
    trial_start(sparse);
    for (uint64_t i = 1, next = 1; i <= SELFTEST_MAX; i++) {
        size_t len = num_format_u64(text, prefix);
        len += num_format_u64(text + len, i);
        struct hll_hit hit = hll_hit((struct slice){text, len});
        trial_add(dense, hit, 0);
        trial_add(sparse, hit, HLL_SPARSE_MAX_BYTES);
        if (i != next) continue;
        next += i / 2 + 1;
        if (!hll_count((struct slice){dense->value, dense->len}, &a) ||
            !hll_count((struct slice){sparse->value, sparse->len}, &b) || a != b)
            return "dense/sparse disagree";
        if (!is_close(a, i)) return "too big error";
    }
    return NULL;
}

static void pfselftest(struct ctx *ctx)
{
    struct trial *trials = mem_alloc(2 * sizeof trials[0]);
    const char *wrong = selftest(&ctx->space->random, &trials[0], &trials[1]);
    mem_free(trials);
    if (wrong)
        reply_errorf(ctx->reply, "TESTFAILED %s", wrong);
    else
        reply_ok(ctx->reply);
}

// --- declarations --------------------------------------------------------------------------------

// clang-format off: laid out by hand, a few fields a line
const struct command commands_hyperloglog[] = {
    {.name = "pfadd",
     .handler = pfadd,
     .arity = -2,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_HYPERLOGLOG,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_INSERT)},
     .group = "hyperloglog",
     .since = "2.8.9",
     .complexity = "O(1) for each element",
     .summary = "Adds elements to a HyperLogLog. Creates the key if it is missing.",
     .args = "key [element...]"},

    {.name = "pfcount",
     .handler = pfcount,
     .arity = -2,
     .flags = CMD_READONLY | CMD_MAY_REPLICATE,
     .acl = ACL_HYPERLOGLOG,
     .span = SPAN_GATHER,
     .keys = {KEYS(1, -1, 1, KEY_RW | KEY_ACCESS)},
     .group = "hyperloglog",
     .since = "2.8.9",
     .complexity =
         "O(1) with one key that did not change since it was last counted, else O(N) with "
         "N the number of keys, each of which costs some microseconds",
     .summary = "Estimates how many different elements one or more HyperLogLogs have seen.",
     .args = "key..."},

    {.name = "pfmerge",
     .handler = pfmerge,
     .arity = -2,
     .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_HYPERLOGLOG,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_INSERT), KEYS(2, -1, 1, KEY_RO | KEY_ACCESS)},
     .group = "hyperloglog",
     .since = "2.8.9",
     .complexity = "O(N) with N the number of keys, each of which costs some microseconds",
     .summary = "Merges HyperLogLogs into one, which is a source itself.",
     .args = "destkey [sourcekey...]"},

    {.name = "pfdebug",
     .handler = pfdebug,
     .arity = 3,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_ADMIN,
     .acl = ACL_HYPERLOGLOG,
     .keys = {KEYS(2, 2, 1, KEY_RW | KEY_ACCESS)},
     .group = "hyperloglog",
     .since = "2.8.9",
     .complexity = "N/A",
     .summary = "Shows the inside of a HyperLogLog.",
     .args = "subcommand key"},

    {.name = "pfselftest",
     .handler = pfselftest,
     .arity = 1,
     .flags = CMD_ADMIN,
     .acl = ACL_HYPERLOGLOG,
     .group = "hyperloglog",
     .since = "2.8.9",
     .complexity = "N/A",
     .summary = "Tests the HyperLogLog algorithms and their error."},

    {0},
};
// clang-format on
