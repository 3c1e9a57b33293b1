// SPDX-License-Identifier: BSD-3-Clause
//
// dump: DUMP and RESTORE, a value as a string that any Redis from 7.0 on understands, and back
// (engine/dump.h). Its checksum only tells of accidents: the value is read as if it came from an
// enemy.
#include "engine/dump.h"
#include "base/assert.h"
#include "commands/families.h"
#include "engine/ctx.h"
#include "engine/effect.h"
#include "engine/notify.h"
#include "engine/settings.h"
#include "types/rdb.h"

#define IDLE_MAX_S 0x7fffff // half of what the clock in an entry can tell

// --- DUMP ----------------------------------------------------------------------------------------

static void dump(struct ctx *ctx)
{
    const struct entry *e = ctx_read(ctx, ctx->argv[1]);
    if (!e) {
        reply_null(ctx->reply);
        return;
    }
    struct buf out = {0};
    dump_put_entry(&out, e, ctx->settings->rdbcompression);
    reply_bulk(ctx->reply, buf_slice(&out));
    buf_free(&out);
}

// --- RESTORE -------------------------------------------------------------------------------------

struct restore_options {
    bool is_replace, is_absolute;
    int64_t idle_s, freq; // -1: not given
};

// An option's number, between 0 and max; false: the error has been replied.
static bool parse_number(struct ctx *ctx, int arg, int64_t max, const char *error, int64_t *out)
{
    if (!ctx_arg_i64(ctx, arg, out, NULL)) return false;
    if (*out >= 0 && *out <= max) return true;
    reply_error(ctx->reply, error);
    return false;
}

static bool parse_restore(struct ctx *ctx, struct restore_options *o)
{
    *o = (struct restore_options){.idle_s = -1, .freq = -1};
    for (int i = 4; i < ctx->argc; i++) {
        bool has_more = i + 1 < ctx->argc;
        if (ctx_arg_is(ctx, i, "REPLACE")) {
            o->is_replace = true;
        } else if (ctx_arg_is(ctx, i, "ABSTTL")) {
            o->is_absolute = true;
        } else if (ctx_arg_is(ctx, i, "IDLETIME") && has_more && o->freq < 0) {
            if (!parse_number(ctx, ++i, INT64_MAX, "ERR Invalid IDLETIME value, must be >= 0",
                              &o->idle_s))
                return false;
        } else if (ctx_arg_is(ctx, i, "FREQ") && has_more && o->idle_s < 0) {
            if (!parse_number(ctx, ++i, 255, "ERR Invalid FREQ value, must be >= 0 and <= 255",
                              &o->freq))
                return false;
        } else {
            reply_error(ctx->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

// Unix ms, or EXPIRE_NONE. *is_past: it is over already.
static bool parse_expiry(struct ctx *ctx, bool is_absolute, int64_t *at_ms, bool *is_past)
{
    int64_t ttl;
    if (!parse_number(ctx, 2, INT64_MAX, "ERR Invalid TTL value, must be >= 0", &ttl)) return false;
    *is_past = false;
    *at_ms = EXPIRE_NONE;
    if (!ttl) return true;
    // Beyond the end of time is the past, as in Redis.
    if (is_absolute)
        *at_ms = ttl;
    else
        *is_past = __builtin_add_overflow(ttl, ctx->now_ms, at_ms);
    *is_past = *is_past || (*at_ms <= ctx->now_ms && !(ctx->flags & CTX_REPLAY));
    return true;
}

// Reads the payload to its last byte.
static bool read_value(const struct ctx *ctx, struct slice payload, struct rdb_value *out)
{
    struct rdb_reader in = {.at = payload.ptr,
                            .end = payload.ptr + payload.len - DUMP_FOOTER_BYTES};
    uint8_t type = rdb_get_byte(&in);
    if (in.is_bad || !rdb_get_value(&in, type, &ctx->settings->limits, out)) return false;
    if (rdb_left(&in) == 0) return true;
    if (out->type != TYPE_STRING) value_free(out->type, out->value);
    return false;
}

// How long the value was not used, or how often it was, as far as the policy in force counts that.
static void set_use(const struct ctx *ctx, struct entry *e, const struct restore_options *o)
{
    int64_t policy = ctx->settings->maxmemory_policy;
    if (policy == POLICY_ALLKEYS_LFU || policy == POLICY_VOLATILE_LFU) {
        if (o->freq >= 0)
            e->lru = ((uint32_t)(ctx->now_ms / 60000) << 8 | (uint32_t)o->freq) & 0xffffff;
    } else if (o->idle_s >= 0) {
        e->lru = (lru_clock(ctx->now_ms) - (uint32_t)MIN(o->idle_s, IDLE_MAX_S)) & 0xffffff;
    }
}

static void say_restored(struct ctx *ctx, int64_t at_ms)
{
    struct effect_draft d;
    effect_begin(&d, ctx, "RESTORE", ctx->argv[1]);
    effect_add_int(&d, at_ms == EXPIRE_NONE ? 0 : at_ms);
    effect_add(&d, ctx->argv[3]);
    effect_add(&d, SLICE("REPLACE"));
    effect_add(&d, SLICE("ABSTTL"));
    effect_end(&d);
}

static void put_value(struct ctx *ctx, struct entry *e, const struct rdb_value *v, int64_t at_ms,
                      const struct restore_options *o)
{
    struct slice key = ctx->argv[1];
    if (e) notify(ctx, ctx->db, key, EVENT_NEW, "new"); // to Redis it is not the old one changed
    if (v->type == TYPE_STRING)
        e = ctx_set_string(ctx, key, e, v->string, at_ms);
    else
        e = ctx_set_value(ctx, key, e, v->type, v->value, at_ms);
    set_use(ctx, e, o);
    say_restored(ctx, at_ms);
    ctx_commit(ctx, key, EVENT_GENERIC, "restore");
}

static void drop_value(struct ctx *ctx, struct entry *e, const struct rdb_value *v)
{
    if (v->type != TYPE_STRING) value_free(v->type, v->value);
    if (!e) return;
    ctx_delete(ctx, ctx->argv[1], e);
    effect_say_key(ctx, "DEL", ctx->argv[1]);
    ctx_commit(ctx, ctx->argv[1], EVENT_GENERIC, "del");
}

static void restore(struct ctx *ctx)
{
    struct restore_options o;
    int64_t at_ms;
    bool is_past;
    if (!parse_restore(ctx, &o)) return;
    struct entry *e = ctx_write(ctx, ctx->argv[1]);
    if (e && !o.is_replace) {
        reply_error(ctx->reply, "BUSYKEY Target key name already exists.");
        return;
    }
    if (!parse_expiry(ctx, o.is_absolute, &at_ms, &is_past)) return;
    if (!dump_has_good_footer(ctx->argv[3])) {
        reply_error(ctx->reply, "ERR DUMP payload version or checksum are wrong");
        return;
    }
    struct rdb_value value = {.type = TYPE_STRING};
    if (!read_value(ctx, ctx->argv[3], &value)) {
        reply_error(ctx->reply, "ERR Bad data format");
    } else {
        if (is_past)
            drop_value(ctx, e, &value);
        else
            put_value(ctx, e, &value, at_ms, &o);
        reply_ok(ctx->reply);
    }
    buf_free(&value.scratch);
}

// --- declarations --------------------------------------------------------------------------------

#define RESTORE_COMPLEXITY                                                                         \
    "O(N * M) with N the number of the value's elements and M their mean size; sorted sets "       \
    "O(N * M * log(N))"
#define RESTORE_ARGS                                                                               \
    "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds:integer] "                      \
    "[FREQ frequency:integer]"
#define RESTORE_HISTORY                                                                            \
    "3.0.0: Added the modifier `REPLACE`.\n5.0.0: Added the modifier `ABSTTL`.\n"                  \
    "5.0.0: Added the options `IDLETIME` and `FREQ`."

// clang-format off
const struct command commands_dump[] = {
    {.name = "dump", .handler = dump, .arity = 2, .flags = CMD_READONLY, .acl = ACL_KEYSPACE,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "generic", .since = "2.6.0",
     .complexity = "O(N * M) with N the number of the value's elements and M their mean size",
     .summary = "Returns the value at a key as a string that RESTORE takes.", .args = "key",
     .tips = "nondeterministic_output"},

    {.name = "restore", .handler = restore, .arity = -4, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_KEYSPACE | ACL_DANGEROUS, .keys = {KEYS(1, 1, 1, KEY_OW | KEY_UPDATE)},
     .group = "generic", .since = "2.6.0", .complexity = RESTORE_COMPLEXITY,
     .summary = "Makes a key of what DUMP has returned.", .args = RESTORE_ARGS,
     .history = RESTORE_HISTORY},

    {.name = "restore-asking", .handler = restore, .arity = -4,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_ASKING, .acl = ACL_KEYSPACE | ACL_DANGEROUS,
     .keys = {KEYS(1, 1, 1, KEY_OW | KEY_UPDATE)}, .group = "server", .since = "3.0.0",
     .complexity = RESTORE_COMPLEXITY,
     .summary = "RESTORE for a key that is on its way to another node of a cluster; internal.",
     .args = RESTORE_ARGS, .history = RESTORE_HISTORY},

    {0},
};
// clang-format on
