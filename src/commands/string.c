// SPDX-License-Identifier: BSD-3-Clause
//
// string: commands on string values. GET and SET are what a server is judged by, so their shape is
// kept plain: one look-up, whose entry is passed on to whatever changes it, and a reply written
// where it is sent from. SET looks at options only when there are any.
//
// Order of checks, as clients see it in errors: options, then numbers among the arguments, then the
// key, then its type; GETEX alone looks at the key before it looks at the time.
//
// Values are bytes. That a value which reads as an integer is stored as one ("int") is
// engine/keyspace.c's business; only the commands that edit in place (APPEND, SETRANGE) leave "raw"
// behind, and INCRBYFLOAT text.
#include <math.h>

#include "base/assert.h"
#include "commands/batch.h"
#include "commands/families.h"
#include "engine/effect.h"
#include "engine/engine.h"
#include "engine/settings.h"

static inline struct slice key_of(const struct ctx *ctx)
{
    return ctx->argv[1];
}

static void reply_value_or_null(struct ctx *ctx, const struct entry *e)
{
    if (e)
        ctx_reply_string(ctx, e);
    else
        reply_null(ctx->reply);
}

// --- options of SET and GETEX --------------------------------------------------------------------

enum option {
    OPT_NX = 1u << 0,
    OPT_XX = 1u << 1,
    OPT_GET = 1u << 2,
    OPT_EX = 1u << 3,
    OPT_PX = 1u << 4,
    OPT_EXAT = 1u << 5,
    OPT_PXAT = 1u << 6,
    OPT_KEEPTTL = 1u << 7,
    OPT_PERSIST = 1u << 8,
};

#define OPTS_CONDITION (OPT_NX | OPT_XX)
#define OPTS_TIME      (OPT_EX | OPT_PX | OPT_EXAT | OPT_PXAT)
#define OPTS_EXPIRY    (OPTS_TIME | OPT_KEEPTTL | OPT_PERSIST)
#define OPTS_SET       (OPTS_CONDITION | OPT_GET | OPTS_TIME | OPT_KEEPTTL)
#define OPTS_GETEX     (OPTS_TIME | OPT_PERSIST)

static const struct {
    struct slice word;
    unsigned option;
} option_words[] = {
    {{"ex", 2}, OPT_EX},     {{"px", 2}, OPT_PX},     {{"nx", 2}, OPT_NX},
    {{"xx", 2}, OPT_XX},     {{"get", 3}, OPT_GET},   {{"keepttl", 7}, OPT_KEEPTTL},
    {{"exat", 4}, OPT_EXAT}, {{"pxat", 4}, OPT_PXAT}, {{"persist", 7}, OPT_PERSIST},
};

static unsigned option_of(struct slice arg)
{
    for (size_t i = 0; i < ARRAY_LEN(option_words); i++)
        if (arg.len == option_words[i].word.len &&
            !strncasecmp(arg.ptr, option_words[i].word.ptr, arg.len))
            return option_words[i].option;
    return 0;
}

// May `option` stand beside those that were given? An option may be repeated, but of the conditions
// and of the ways to say an expiry there can be one each.
static bool option_fits(unsigned given, unsigned option)
{
    if ((option & OPTS_CONDITION) && (given & OPTS_CONDITION & ~option)) return false;
    if ((option & OPTS_EXPIRY) && (given & OPTS_EXPIRY & ~option)) return false;
    return true;
}

struct options {
    unsigned given; // enum option
    int time_arg;   // index of the time, 0: none was given
};

// Reads the options from argument `first` on; replies the error and returns false if they do not
// fit.
static bool parse_options(struct ctx *ctx, int first, unsigned allowed, struct options *out)
{
    *out = (struct options){0};
    for (int i = first; i < ctx->argc; i++) {
        unsigned option = option_of(ctx->argv[i]) & allowed;
        bool has_time = option & OPTS_TIME;
        if (!option || !option_fits(out->given, option) || (has_time && i + 1 == ctx->argc)) {
            reply_error(ctx->reply, ERR_SYNTAX);
            return false;
        }
        out->given |= option;
        if (has_time) out->time_arg = ++i;
    }
    return true;
}

// The Unix ms at which a key expires, given argument `arg` in the unit and on the base that
// `option` (EX, PX, EXAT or PXAT) stands for.
static bool parse_time(struct ctx *ctx, int arg, unsigned option, int64_t *at_ms)
{
    bool is_seconds = option & (OPT_EX | OPT_EXAT);
    int64_t base_ms = option & (OPT_EX | OPT_PX) ? ctx->now_ms : 0;
    int64_t t;
    if (!ctx_arg_i64(ctx, arg, &t, NULL)) return false;
    if (t <= 0 || (is_seconds && t > INT64_MAX / 1000)) goto invalid;
    if (is_seconds) t *= 1000;
    if (t > INT64_MAX - base_ms) goto invalid;
    *at_ms = t + base_ms;
    return true;
invalid:
    reply_errorf(ctx->reply, "ERR invalid expire time in '%s' command", ctx->cmd->full_name);
    return false;
}

// --- SET and its kin -----------------------------------------------------------------------------

// SET key value PXAT ms
static void say_set_until(struct ctx *ctx, struct slice value, int64_t at_ms)
{
    struct effect_draft set;
    effect_begin(&set, ctx, "SET", key_of(ctx));
    effect_add(&set, value);
    effect_add(&set, SLICE("PXAT"));
    effect_add_int(&set, at_ms);
    effect_end(&set);
}

static void set_with_options(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct options options;
    int64_t at_ms = EXPIRE_NONE;
    if (!parse_options(ctx, 3, OPTS_SET, &options)) return;
    if (options.time_arg && !parse_time(ctx, options.time_arg, options.given, &at_ms)) return;
    if (options.given & OPT_KEEPTTL) at_ms = EXPIRE_KEEP;

    struct entry *e;
    bool is_get = options.given & OPT_GET;
    if (is_get) {
        if (!ctx_read_as(ctx, key, TYPE_STRING, &e)) return;
        reply_value_or_null(ctx, e);
    } else {
        e = ctx_write(ctx, key);
    }
    if ((options.given & OPT_NX && e) || (options.given & OPT_XX && !e)) {
        if (!is_get) reply_null(ctx->reply);
        return;
    }
    ctx_set_arg(ctx, key, e, 2, at_ms);
    if (options.time_arg) say_set_until(ctx, ctx->argv[2], at_ms);
    ctx_commit(ctx, key, EVENT_STRING, "set");
    if (options.time_arg) ctx_commit(ctx, key, EVENT_GENERIC, "expire");
    if (!is_get) reply_ok(ctx->reply);
}

static void set(struct ctx *ctx)
{
    if (UNLIKELY(ctx->argc > 3)) {
        set_with_options(ctx);
        return;
    }
    struct slice key = key_of(ctx);
    ctx_set_arg(ctx, key, ctx_write(ctx, key), 2, EXPIRE_NONE);
    ctx_commit(ctx, key, EVENT_STRING, "set");
    reply_ok(ctx->reply);
}

static void setnx(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    if (ctx_write(ctx, key)) {
        reply_int(ctx->reply, 0);
        return;
    }
    ctx_set_arg(ctx, key, NULL, 2, EXPIRE_NONE);
    ctx_commit(ctx, key, EVENT_STRING, "set");
    reply_int(ctx->reply, 1);
}

static void set_expiring(struct ctx *ctx, unsigned option)
{
    struct slice key = key_of(ctx);
    int64_t at_ms;
    if (!parse_time(ctx, 2, option, &at_ms)) return;
    ctx_set_arg(ctx, key, ctx_write(ctx, key), 3, at_ms);
    say_set_until(ctx, ctx->argv[3], at_ms);
    ctx_commit(ctx, key, EVENT_STRING, "set");
    ctx_commit(ctx, key, EVENT_GENERIC, "expire");
    reply_ok(ctx->reply);
}

static void setex(struct ctx *ctx)
{
    set_expiring(ctx, OPT_EX);
}

static void psetex(struct ctx *ctx)
{
    set_expiring(ctx, OPT_PX);
}

static void getset(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct entry *e;
    if (!ctx_read_as(ctx, key, TYPE_STRING, &e)) return;
    reply_value_or_null(ctx, e);
    ctx_set_arg(ctx, key, e, 2, EXPIRE_NONE);
    ctx_commit(ctx, key, EVENT_STRING, "set");
}

// --- GET and its kin -----------------------------------------------------------------------------

static void get(struct ctx *ctx)
{
    struct entry *e;
    if (LIKELY(ctx_read_as(ctx, key_of(ctx), TYPE_STRING, &e))) reply_value_or_null(ctx, e);
}

static void getdel(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct entry *e;
    if (!ctx_read_as(ctx, key, TYPE_STRING, &e)) return;
    reply_value_or_null(ctx, e);
    if (!e) return;
    ctx_delete(ctx, key, e);
    ctx_commit(ctx, key, EVENT_GENERIC, "del");
}

static void getex(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct options options;
    struct entry *e;
    int64_t at_ms = EXPIRE_NONE;
    if (!parse_options(ctx, 2, OPTS_GETEX, &options)) return;
    if (!ctx_read_as(ctx, key, TYPE_STRING, &e)) return;
    if (e && options.time_arg && !parse_time(ctx, options.time_arg, options.given, &at_ms)) return;
    reply_value_or_null(ctx, e);
    if (!e) return;

    if (options.time_arg && at_ms <= ctx->now_ms) {
        ctx_delete(ctx, key, e);
        effect_say_key(ctx, "DEL", key);
        ctx_commit(ctx, key, EVENT_GENERIC, "del");
    } else if (options.time_arg) {
        ctx_set_expire(ctx, key, e, at_ms);
        effect_say_number(ctx, "PEXPIREAT", key, at_ms);
        ctx_commit(ctx, key, EVENT_GENERIC, "expire");
    } else if ((options.given & OPT_PERSIST) && e->has_ttl) {
        ctx_set_expire(ctx, key, e, EXPIRE_NONE);
        effect_say_key(ctx, "PERSIST", key);
        ctx_commit(ctx, key, EVENT_GENERIC, "persist");
    }
}

// --- several keys --------------------------------------------------------------------------------

static void mget(struct ctx *ctx)
{
    struct batch batch;
    batch_start(&batch, ctx, 1, 1);
    reply_array(ctx->reply, (size_t)ctx->argc - 1);
    for (int i; (i = batch_next(&batch));) {
        const struct entry *e = ctx_read(ctx, ctx->argv[i]);
        reply_value_or_null(ctx, e && e->type == TYPE_STRING ? e : NULL);
    }
}

static void set_pairs(struct ctx *ctx)
{
    struct batch batch;
    batch_start(&batch, ctx, 1, 2);
    for (int i; (i = batch_next(&batch));) {
        struct slice key = ctx->argv[i];
        ctx_set_arg(ctx, key, ctx_write(ctx, key), i + 1, EXPIRE_NONE);
        ctx_commit(ctx, key, EVENT_STRING, "set");
    }
}

static void mset(struct ctx *ctx)
{
    if (ctx->argc % 2 == 0) {
        ctx_wrong_arity(ctx);
        return;
    }
    set_pairs(ctx);
    reply_ok(ctx->reply);
}

static void msetnx(struct ctx *ctx)
{
    if (ctx->argc % 2 == 0) {
        ctx_wrong_arity(ctx);
        return;
    }
    struct batch batch;
    batch_start(&batch, ctx, 1, 2);
    for (int i; (i = batch_next(&batch));) {
        if (!ctx_write(ctx, ctx->argv[i])) continue;
        reply_int(ctx->reply, 0);
        return;
    }
    set_pairs(ctx);
    reply_int(ctx->reply, 1);
}

// --- parts of a value ----------------------------------------------------------------------------

// Would a string of offset + more bytes be longer than a client may make it? Replies the error
// then.
static bool length_fits(struct ctx *ctx, uint64_t offset, uint64_t more)
{
    uint64_t limit = ctx->settings->proto_max_bulk_len;
    if (offset <= limit && more <= limit - offset) return true;
    if (ctx->flags & CTX_REPLAY) return true; // the limit was another one then
    reply_error(ctx->reply, ERR_STRING_TOO_LONG);
    return false;
}

static void append(struct ctx *ctx)
{
    struct slice key = key_of(ctx), more = ctx->argv[2];
    struct entry *e;
    size_t len = 0;
    if (!ctx_write_as(ctx, key, TYPE_STRING, &e)) return;
    if (!e) {
        ctx_set_arg(ctx, key, NULL, 2, EXPIRE_NONE);
    } else {
        char *data;
        len = entry_string_len(e);
        if (!length_fits(ctx, len, more.len)) return;
        ctx_edit_string(ctx, key, e, len + more.len, &data);
        memcpy(data + len, more.ptr, more.len);
    }
    ctx_commit(ctx, key, EVENT_STRING, "append");
    reply_int(ctx->reply, (int64_t)(len + more.len));
}

static void strlen_(struct ctx *ctx) // not `strlen`: the C library's
{
    struct entry *e;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_STRING, &e)) return;
    reply_int(ctx->reply, e ? (int64_t)entry_string_len(e) : 0);
}

// The part of `value` between two positions, both inclusive, negative ones counted from the end.
static struct slice subslice(struct slice value, int64_t start, int64_t end)
{
    int64_t len = (int64_t)value.len;
    if (start < 0 && end < 0 && start > end) return SLICE("");
    if (start < 0) start = MAX(start + len, 0);
    if (end < 0) end = MAX(end + len, 0);
    end = MIN(end, len - 1);
    if (start > end) return SLICE("");
    return (struct slice){value.ptr + start, (size_t)(end - start + 1)};
}

static void getrange(struct ctx *ctx)
{
    char scratch[NUM_I64_TEXT];
    struct entry *e;
    int64_t start, end;
    if (!ctx_arg_i64(ctx, 2, &start, NULL) || !ctx_arg_i64(ctx, 3, &end, NULL)) return;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_STRING, &e)) return;
    struct slice value = e ? entry_string(e, scratch) : SLICE("");
    reply_bulk(ctx->reply, subslice(value, start, end));
}

static void setrange(struct ctx *ctx)
{
    struct slice key = key_of(ctx), patch = ctx->argv[3];
    struct entry *e;
    int64_t offset;
    if (!ctx_arg_i64(ctx, 2, &offset, NULL)) return;
    if (offset < 0) {
        reply_error(ctx->reply, ERR_OFFSET_RANGE);
        return;
    }
    if (!ctx_write_as(ctx, key, TYPE_STRING, &e)) return;
    size_t len = e ? entry_string_len(e) : 0;
    if (patch.len) {
        char *data;
        if (!length_fits(ctx, (uint64_t)offset, patch.len)) return;
        len = MAX(len, (size_t)offset + patch.len);
        ctx_edit_string(ctx, key, e, len, &data);
        memcpy(data + offset, patch.ptr, patch.len);
        ctx_commit(ctx, key, EVENT_STRING, "setrange");
    }
    reply_int(ctx->reply, (int64_t)len);
}

// --- counters ------------------------------------------------------------------------------------

static bool entry_integer(const struct entry *e, int64_t *out)
{
    if (LIKELY(e->encoding == ENC_INT)) {
        *out = e->integer;
        return true;
    }
    char scratch[NUM_I64_TEXT];
    return num_parse_i64(entry_string(e, scratch), out);
}

static void add_integer(struct ctx *ctx, int64_t more)
{
    struct slice key = key_of(ctx);
    struct entry *e;
    int64_t value = 0;
    if (!ctx_write_as(ctx, key, TYPE_STRING, &e)) return;
    if (e && !entry_integer(e, &value)) {
        reply_error(ctx->reply, ERR_NOT_INTEGER);
        return;
    }
    if (__builtin_add_overflow(value, more, &value)) {
        reply_error(ctx->reply, ERR_OVERFLOW);
        return;
    }
    ctx_set_integer(ctx, key, e, value, EXPIRE_KEEP);
    ctx_commit(ctx, key, EVENT_STRING, "incrby");
    reply_int(ctx->reply, value);
}

static void incr(struct ctx *ctx)
{
    add_integer(ctx, 1);
}

static void decr(struct ctx *ctx)
{
    add_integer(ctx, -1);
}

static void incrby(struct ctx *ctx)
{
    int64_t more;
    if (ctx_arg_i64(ctx, 2, &more, NULL)) add_integer(ctx, more);
}

static void decrby(struct ctx *ctx)
{
    int64_t less;
    if (!ctx_arg_i64(ctx, 2, &less, NULL)) return;
    if (less == INT64_MIN)
        reply_error(ctx->reply, "ERR decrement would overflow");
    else
        add_integer(ctx, -less);
}

// Text stays text: a sum without a fraction is not turned into an integer, and OBJECT ENCODING
// shows it.
static void set_text(struct ctx *ctx, struct slice key, struct entry *e, struct slice text)
{
    char *data;
    e = ctx_edit_string(ctx, key, e, text.len, &data);
    memcpy(data, text.ptr, text.len);
    if (e->is_embedded && text.len <= EMBSTR_MAX_BYTES) e->encoding = ENC_EMBSTR;
}

static void incrbyfloat(struct ctx *ctx)
{
    char scratch[NUM_I64_TEXT], text[NUM_F64_TEXT];
    struct slice key = key_of(ctx);
    struct entry *e;
    long double value = 0, more;
    if (!ctx_write_as(ctx, key, TYPE_STRING, &e)) return;
    if ((e && !num_parse_long_double(entry_string(e, scratch), &value)) ||
        !num_parse_long_double(ctx->argv[2], &more)) {
        reply_error(ctx->reply, ERR_NOT_FLOAT);
        return;
    }
    value += more;
    if (!isfinite(value)) {
        reply_error(ctx->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    struct slice sum = {text, num_format_long_double(text, value)};
    set_text(ctx, key, e, sum);
    struct effect_draft set; // whatever the machine that runs it again makes of the sum
    effect_begin(&set, ctx, "SET", key);
    effect_add(&set, sum);
    effect_add(&set, SLICE("KEEPTTL"));
    effect_end(&set);
    ctx_commit(ctx, key, EVENT_STRING, "incrbyfloat");
    reply_bulk(ctx->reply, sum);
}

// --- declarations --------------------------------------------------------------------------------

// clang-format off
const struct command commands_string[] = {
    {.name = "get", .handler = get, .arity = 2, .flags = CMD_READONLY | CMD_FAST, .acl = ACL_STRING,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "string", .since = "1.0.0",
     .complexity = "O(1)", .summary = "Returns the string at a key.", .args = "key"},

    {.name = "set", .handler = set, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_STRING,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE | KEY_VARIABLE_FLAGS)},
     .group = "string", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Sets a key to a string, whatever it held. Creates the key if it is missing.",
     .args = "key value [NX | XX] [GET] [EX seconds | PX milliseconds | "
             "EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
     .history = "2.6.12: Added the `EX`, `PX`, `NX` and `XX` options.\n"
                "6.0.0: Added the `KEEPTTL` option.\n"
                "6.2.0: Added the `GET`, `EXAT` and `PXAT` options.\n"
                "7.0.0: `NX` and `GET` may be used together."},

    {.name = "setnx", .handler = setnx, .arity = 3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_STRING, .keys = {KEYS(1, 1, 1, KEY_OW | KEY_INSERT)}, .group = "string",
     .since = "1.0.0", .complexity = "O(1)",
     .summary = "Sets a key to a string if the key does not exist.", .args = "key value"},

    {.name = "setex", .handler = setex, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_STRING, .keys = {KEYS(1, 1, 1, KEY_OW | KEY_UPDATE)}, .group = "string",
     .since = "2.0.0", .complexity = "O(1)",
     .summary = "Sets a key to a string that expires after some seconds.",
     .args = "key seconds value"},

    {.name = "psetex", .handler = psetex, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_STRING, .keys = {KEYS(1, 1, 1, KEY_OW | KEY_UPDATE)}, .group = "string",
     .since = "2.6.0", .complexity = "O(1)",
     .summary = "Sets a key to a string that expires after some milliseconds.",
     .args = "key milliseconds value"},

    {.name = "getset", .handler = getset, .arity = 3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_STRING, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE)},
     .group = "string", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Sets a key to a string and returns the one it held before.", .args = "key value",
     .deprecated = "6.2.0: `SET` with the `!GET` argument"},

    {.name = "getdel", .handler = getdel, .arity = 2, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_STRING, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_DELETE)},
     .group = "string", .since = "6.2.0", .complexity = "O(1)",
     .summary = "Returns the string at a key and deletes the key.", .args = "key"},

    {.name = "getex", .handler = getex, .arity = -2, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_STRING, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE)},
     .group = "string", .since = "6.2.0", .complexity = "O(1)",
     .summary = "Returns the string at a key and sets or removes the key's expiry.",
     .args = "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | "
             "PXAT unix-time-milliseconds | PERSIST]"},

    {.name = "mget", .handler = mget, .arity = -2, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_STRING, .span = SPAN_POSITION, .keys = {KEYS(1, -1, 1, KEY_RO | KEY_ACCESS)},
     .group = "string", .since = "1.0.0", .complexity = "O(N) with N the number of keys",
     .summary = "Returns the strings at one or more keys, all at the same moment.",
     .args = "key...", .tips = "request_policy:multi_shard"},

    {.name = "mset", .handler = mset, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_STRING, .span = SPAN_ALL_OK, .keys = {KEYS(1, -1, 2, KEY_OW | KEY_UPDATE)},
     .group = "string", .since = "1.0.1", .complexity = "O(N) with N the number of keys",
     .summary = "Sets one or more keys to strings, all at the same moment.",
     .args = "(key value)...",
     .tips = "request_policy:multi_shard response_policy:all_succeeded"},

    {.name = "msetnx", .handler = msetnx, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_STRING, .keys = {KEYS(1, -1, 2, KEY_OW | KEY_INSERT)}, .group = "string",
     .since = "1.0.1", .complexity = "O(N) with N the number of keys",
     .summary = "Sets one or more keys to strings if none of the keys exists.",
     .args = "(key value)...", .tips = "request_policy:multi_shard response_policy:agg_min"},

    {.name = "append", .handler = append, .arity = 3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_STRING, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_INSERT)}, .group = "string",
     .since = "2.0.0",
     .complexity = "O(1) amortised for small appended strings: a value that grows is given room",
     .summary = "Adds a string to the end of a key's. Creates the key if it is missing.",
     .args = "key value"},

    {.name = "strlen", .handler = strlen_, .arity = 2, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_STRING, .keys = {KEYS(1, 1, 1, KEY_RO)}, .group = "string", .since = "2.2.0",
     .complexity = "O(1)", .summary = "Returns the length of the string at a key.", .args = "key"},

    {.name = "getrange", .handler = getrange, .arity = 4, .flags = CMD_READONLY, .acl = ACL_STRING,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "string", .since = "2.4.0",
     .complexity = "O(N) with N the length of the returned string",
     .summary = "Returns a part of the string at a key.", .args = "key start:integer end:integer"},

    {.name = "substr", .handler = getrange, .arity = 4, .flags = CMD_READONLY, .acl = ACL_STRING,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "string", .since = "1.0.0",
     .complexity = "O(N) with N the length of the returned string",
     .summary = "Returns a part of the string at a key.", .args = "key start:integer end:integer",
     .deprecated = "2.0.0: `GETRANGE`"},

    {.name = "setrange", .handler = setrange, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_STRING, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "string",
     .since = "2.2.0", .complexity = "O(M) with M the length of the value",
     .summary = "Overwrites a part of a key's string from an offset on, filling a gap with zero "
                "bytes. Creates the key if it is missing.",
     .args = "key offset:integer value"},

    {.name = "incr", .handler = incr, .arity = 2, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_STRING, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE)},
     .group = "string", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Adds one to the integer at a key; a missing key counts as 0.", .args = "key"},

    {.name = "decr", .handler = decr, .arity = 2, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_STRING, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE)},
     .group = "string", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Subtracts one from the integer at a key; a missing key counts as 0.",
     .args = "key"},

    {.name = "incrby", .handler = incrby, .arity = 3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_STRING, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE)},
     .group = "string", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Adds a number to the integer at a key; a missing key counts as 0.",
     .args = "key increment"},

    {.name = "decrby", .handler = decrby, .arity = 3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_STRING, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE)},
     .group = "string", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Subtracts a number from the integer at a key; a missing key counts as 0.",
     .args = "key decrement"},

    {.name = "incrbyfloat", .handler = incrbyfloat, .arity = 3,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_STRING,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE)}, .group = "string", .since = "2.6.0",
     .complexity = "O(1)",
     .summary = "Adds a number to the floating-point number at a key; a missing key counts as 0.",
     .args = "key increment:double"},

    {0},
};
// clang-format on
