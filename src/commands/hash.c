// SPDX-License-Identifier: BSD-3-Clause
//
// hash: commands on hashes. How a hash is kept is types/hash.c's business; the commands that are
// about the expiry of fields are in hash_expire.c.
//
// Fields that are due: commands that name fields take the due ones among these out first and then
// never see them (hash_without_due); HDEL removes them like any other; HRANDFIELD takes all out;
// what walks over the whole hash passes over them; HLEN counts them. So it is in Redis 7.4, and it
// matters only for the moment until the housekeeping has come by.
//
// Order of checks, as clients see it in errors: the number of arguments, numbers among them, then
// the key's type, then what the field holds.
#include "commands/hash.h"

#include <math.h>

#include "base/buf.h"
#include "commands/families.h"
#include "commands/scan.h"
#include "engine/settings.h"
#include "engine/snapshot.h"
#include "types/hash_random.h"

static inline struct slice key_of(const struct ctx *ctx)
{
    return ctx->argv[1];
}

struct entry *hash_remove_due(struct ctx *ctx, struct slice key, struct entry *e, int first,
                              int end, int step)
{
    struct effect_draft hdel;
    uint64_t removed = 0;
    if (hash_next_expiry(e->value) >= hash_now_ms(ctx)) return e;
    effect_begin_besides(&hdel, ctx, "HDEL", key);
    for (int i = first; i < end; i += step) {
        int64_t at_ms = hash_expiry(e->value, ctx->argv[i], HASH_NEVER_DUE);
        if (at_ms < 0 || at_ms >= hash_now_ms(ctx)) continue;
        hash_remove(&e->value, ctx->argv[i], HASH_NEVER_DUE);
        effect_add(&hdel, ctx->argv[i]);
        removed++;
    }
    effect_end(&hdel);
    return !removed || ctx_commit_fields_expired(ctx, key, e, removed) ? e : NULL;
}

// Looks up the key for reading one field, argument 2. False if a reply has been given.
static inline bool read_for_field(struct ctx *ctx, struct entry **e)
{
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_HASH, e)) return false;
    *e = hash_without_due(ctx, key_of(ctx), *e, 2, 3, 1);
    return true;
}

static inline bool get_field(const struct ctx *ctx, const struct entry *e, struct slice field,
                             struct item *out)
{
    return e && hash_get(e->value, field, hash_now_ms(ctx), out);
}

// --- setting -------------------------------------------------------------------------------------

// The bytes that the pairs among the arguments from `first` on take in a pack; 0 if that is not
// what will be made of them.
static size_t pairs_bytes(const struct ctx *ctx, int first)
{
    uint64_t longest = ctx->settings->limits.hash_max_listpack_value;
    size_t bytes = 0;
    for (int i = first; i < ctx->argc; i += 2) {
        if (ctx->argv[i].len > longest || ctx->argv[i + 1].len > longest) return 0;
        bytes += hash_pack_pair_bytes(ctx->argv[i], ctx->argv[i + 1], 0);
    }
    return bytes;
}

static int64_t set_pairs(struct ctx *ctx, struct value *v)
{
    int64_t created = 0;
    for (int i = 2; i < ctx->argc; i += 2)
        created +=
            hash_set(v, ctx->argv[i], ctx->argv[i + 1], hash_now_ms(ctx), &ctx->settings->limits);
    return created;
}

// Sets all fields; false if a reply has been given.
static bool set_fields(struct ctx *ctx, int64_t *created)
{
    struct slice key = key_of(ctx);
    struct entry *e;
    if (ctx->argc % 2) {
        ctx_wrong_arity(ctx);
        return false;
    }
    if (!ctx_write_as(ctx, key, TYPE_HASH, &e)) return false;
    if (e) {
        *created = set_pairs(ctx, &e->value);
        ctx_field_expiry_changed(ctx, key, e);
    } else {
        struct value v = hash_new_sized(pairs_bytes(ctx, 2));
        *created = set_pairs(ctx, &v);
        ctx_set_value(ctx, key, NULL, TYPE_HASH, v, EXPIRE_NONE);
    }
    ctx_commit(ctx, key, EVENT_HASH, "hset");
    return true;
}

static void hset(struct ctx *ctx)
{
    int64_t created;
    if (set_fields(ctx, &created)) reply_int(ctx->reply, created);
}

static void hmset(struct ctx *ctx)
{
    int64_t created;
    if (set_fields(ctx, &created)) reply_ok(ctx->reply);
}

// Puts a value to argument 2 of the hash at the key (e; NULL: makes one); an expiry stays.
static struct entry *put_field(struct ctx *ctx, struct entry *e, struct slice value)
{
    struct slice key = key_of(ctx);
    if (!e) e = ctx_set_value(ctx, key, NULL, TYPE_HASH, hash_new(), EXPIRE_NONE);
    hash_put(&e->value, ctx->argv[2], value, hash_now_ms(ctx), &ctx->settings->limits);
    ctx_field_expiry_changed(ctx, key, e);
    return e;
}

static void hsetnx(struct ctx *ctx)
{
    struct entry *e;
    struct item present;
    if (!ctx_write_as(ctx, key_of(ctx), TYPE_HASH, &e)) return;
    e = hash_without_due(ctx, key_of(ctx), e, 2, 3, 1);
    if (get_field(ctx, e, ctx->argv[2], &present)) {
        reply_int(ctx->reply, 0);
        return;
    }
    put_field(ctx, e, ctx->argv[3]);
    ctx_commit(ctx, key_of(ctx), EVENT_HASH, "hset");
    reply_int(ctx->reply, 1);
}

static void hdel(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct entry *e;
    int64_t removed = 0;
    if (!ctx_write_as(ctx, key, TYPE_HASH, &e)) return;
    for (int i = 2; e && i < ctx->argc; i++)
        removed += hash_remove(&e->value, ctx->argv[i], HASH_NEVER_DUE);
    if (removed) {
        ctx_field_expiry_changed(ctx, key, e);
        ctx_commit_removal(ctx, key, e, EVENT_HASH, "hdel", !hash_len(e->value));
    }
    reply_int(ctx->reply, removed);
}

// --- counters ------------------------------------------------------------------------------------

static void hincrby(struct ctx *ctx)
{
    struct entry *e;
    struct item present;
    int64_t more, value = 0;
    if (!ctx_arg_i64(ctx, 3, &more, NULL)) return;
    if (!ctx_write_as(ctx, key_of(ctx), TYPE_HASH, &e)) return;
    e = hash_without_due(ctx, key_of(ctx), e, 2, 3, 1);
    if (get_field(ctx, e, ctx->argv[2], &present) && !item_integer(&present, &value)) {
        reply_error(ctx->reply, "ERR hash value is not an integer");
        return;
    }
    if (__builtin_add_overflow(value, more, &value)) {
        reply_error(ctx->reply, ERR_OVERFLOW);
        return;
    }
    char text[NUM_I64_TEXT];
    put_field(ctx, e, (struct slice){text, num_format_i64(text, value)});
    ctx_commit(ctx, key_of(ctx), EVENT_HASH, "hincrby");
    reply_int(ctx->reply, value);
}

// The field has got this value, and kept its expiry if it had one.
static void say_sum(struct ctx *ctx, const struct entry *e, struct slice sum)
{
    struct effect_draft d;
    bool may_expire = hash_wheel_of(e->value);
    effect_begin(&d, ctx, may_expire ? "HSETEX" : "HSET", key_of(ctx));
    if (may_expire) {
        effect_add(&d, SLICE("KEEPTTL"));
        effect_add(&d, SLICE("FIELDS"));
        effect_add_int(&d, 1);
    }
    effect_add(&d, ctx->argv[2]);
    effect_add(&d, sum);
    effect_end(&d);
}

static void hincrbyfloat(struct ctx *ctx)
{
    char text[NUM_F64_TEXT];
    struct entry *e;
    struct item present;
    long double more, value = 0;
    if (!num_parse_long_double(ctx->argv[3], &more)) {
        reply_error(ctx->reply, ERR_NOT_FLOAT);
        return;
    }
    if (!isfinite(more)) {
        reply_error(ctx->reply, "ERR value is NaN or Infinity");
        return;
    }
    if (!ctx_write_as(ctx, key_of(ctx), TYPE_HASH, &e)) return;
    e = hash_without_due(ctx, key_of(ctx), e, 2, 3, 1);
    if (get_field(ctx, e, ctx->argv[2], &present) &&
        !num_parse_long_double(item_slice(&present, text), &value)) {
        reply_error(ctx->reply, "ERR hash value is not a float");
        return;
    }
    value += more;
    if (!isfinite(value)) {
        reply_error(ctx->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    struct slice sum = {text, num_format_long_double(text, value)};
    e = put_field(ctx, e, sum);
    say_sum(ctx, e, sum);
    ctx_commit(ctx, key_of(ctx), EVENT_HASH, "hincrbyfloat");
    reply_bulk(ctx->reply, sum);
}

// --- asking for fields ---------------------------------------------------------------------------

static void hget(struct ctx *ctx)
{
    struct entry *e;
    struct item value;
    if (!read_for_field(ctx, &e)) return;
    if (get_field(ctx, e, ctx->argv[2], &value))
        hash_reply_item(ctx->reply, &value);
    else
        reply_null(ctx->reply);
}

static void hmget(struct ctx *ctx)
{
    struct entry *e;
    struct item value;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_HASH, &e)) return;
    e = hash_without_due(ctx, key_of(ctx), e, 2, ctx->argc, 1);
    reply_array(ctx->reply, (size_t)ctx->argc - 2);
    for (int i = 2; i < ctx->argc; i++) {
        if (get_field(ctx, e, ctx->argv[i], &value))
            hash_reply_item(ctx->reply, &value);
        else
            reply_null(ctx->reply);
    }
}

static void hexists(struct ctx *ctx)
{
    struct entry *e;
    struct item value;
    if (!read_for_field(ctx, &e)) return;
    reply_int(ctx->reply, get_field(ctx, e, ctx->argv[2], &value));
}

static void hstrlen(struct ctx *ctx)
{
    char scratch[NUM_I64_TEXT];
    struct entry *e;
    struct item value;
    if (!read_for_field(ctx, &e)) return;
    bool is_there = get_field(ctx, e, ctx->argv[2], &value);
    reply_int(ctx->reply, is_there ? (int64_t)item_slice(&value, scratch).len : 0);
}

static void hlen(struct ctx *ctx)
{
    struct entry *e;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_HASH, &e)) return;
    reply_int(ctx->reply, e ? (int64_t)hash_len(e->value) : 0);
}

// --- asking for all ------------------------------------------------------------------------------

enum part { FIELDS = 1u << 0, VALUES = 1u << 1 };

static size_t reply_fields(struct ctx *ctx, struct value v, unsigned parts)
{
    struct hash_iter it;
    struct item field, value;
    size_t n = 0;
    hash_iter_init(&it, v, hash_now_ms(ctx));
    for (; hash_iter_next(&it, &field, &value, NULL); n++) {
        if (parts & FIELDS) hash_reply_item(ctx->reply, &field);
        if (parts & VALUES) hash_reply_item(ctx->reply, &value);
    }
    return n;
}

static void reply_all(struct ctx *ctx, unsigned parts)
{
    struct entry *e;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_HASH, &e)) return;
    bool is_map = parts == (FIELDS | VALUES);
    bool is_known = !e || hash_next_expiry(e->value) >= hash_now_ms(ctx); // how many are to be seen
    if (!is_known) {
        struct reply_mark mark = reply_open(ctx->reply);
        size_t n = reply_fields(ctx, e->value, parts);
        if (is_map)
            reply_close_map(ctx->reply, mark, n);
        else
            reply_close_array(ctx->reply, mark, n);
        return;
    }
    size_t n = e ? hash_len(e->value) : 0;
    if (is_map)
        reply_map(ctx->reply, n);
    else
        reply_array(ctx->reply, n);
    if (e) reply_fields(ctx, e->value, parts);
}

static void hgetall(struct ctx *ctx)
{
    reply_all(ctx, FIELDS | VALUES);
}

static void hkeys(struct ctx *ctx)
{
    reply_all(ctx, FIELDS);
}

static void hvals(struct ctx *ctx)
{
    reply_all(ctx, VALUES);
}

// --- HRANDFIELD ----------------------------------------------------------------------------------

static void reply_field(void *arg, const struct item *field, const struct item *value)
{
    const struct ctx *ctx = arg;
    (void)value;
    hash_reply_item(ctx->reply, field);
}

static void reply_pair(void *arg, const struct item *field, const struct item *value)
{
    const struct ctx *ctx = arg;
    if (ctx->reply->resp == 3) reply_array(ctx->reply, 2);
    hash_reply_item(ctx->reply, field);
    hash_reply_item(ctx->reply, value);
}

static struct entry *without_any_due(struct ctx *ctx, struct slice key, struct entry *e)
{
    if (!e) return NULL;
    snapshot_touch(ctx_db_of(ctx, ctx->db, key), e);
    struct effect_draft hdel;
    effect_begin_besides(&hdel, ctx, "HDEL", key);
    uint32_t removed =
        hash_expire_due(&e->value, hash_now_ms(ctx), UINT32_MAX, effect_visit_field, &hdel);
    effect_end(&hdel);
    return !removed || ctx_commit_fields_expired(ctx, key, e, removed) ? e : NULL;
}

static bool read_for_random(struct ctx *ctx, struct entry **e)
{
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_HASH, e)) return false;
    *e = without_any_due(ctx, key_of(ctx), *e);
    return true;
}

static void random_fields(struct ctx *ctx, int64_t count, bool has_values)
{
    struct entry *e;
    struct random *random = &ctx->space->random;
    hash_visit_fn visit = has_values ? reply_pair : reply_field;
    if (!read_for_random(ctx, &e)) return;
    if (!e || !count) {
        reply_array(ctx->reply, 0);
        return;
    }
    bool is_distinct = count > 0;
    uint64_t n = is_distinct ? MIN((uint64_t)count, hash_len(e->value)) : (uint64_t)-count;
    reply_array(ctx->reply, has_values && ctx->reply->resp == 2 ? n * 2 : n);
    if (is_distinct)
        hash_random_distinct(e->value, random, n, visit, ctx);
    else
        hash_random_any(e->value, random, n, visit, ctx);
}

static void hrandfield(struct ctx *ctx)
{
    struct entry *e;
    int64_t count;
    if (ctx->argc > 2) {
        bool has_values = ctx_arg_is(ctx, 3, "WITHVALUES");
        if (!ctx_arg_range(ctx, 2, -INT64_MAX, INT64_MAX, &count, NULL)) return;
        if (ctx->argc > 4 || (ctx->argc == 4 && !has_values))
            reply_error(ctx->reply, ERR_SYNTAX);
        else if (has_values && (count < -INT64_MAX / 2 || count > INT64_MAX / 2))
            reply_error(ctx->reply, "ERR value is out of range");
        else
            random_fields(ctx, count, has_values);
        return;
    }
    if (!read_for_random(ctx, &e)) return;
    if (e)
        hash_random_any(e->value, &ctx->space->random, 1, reply_field, ctx);
    else
        reply_null(ctx->reply);
}

// --- HSCAN ---------------------------------------------------------------------------------------

// The fields of a page are collected first: the cursor that stands before them is known last.
struct page {
    struct buf pairs; // of struct item: field, value, field, value …
    const struct scan_options *options;
    uint64_t seen;
};

static void collect_pair(void *arg, const struct item *field, const struct item *value)
{
    char scratch[NUM_I64_TEXT];
    struct page *p = arg;
    p->seen++;
    if (!scan_matches(p->options, item_slice(field, scratch))) return;
    buf_append(&p->pairs, field, sizeof *field);
    buf_append(&p->pairs, value, sizeof *value);
}

static void reply_page(struct ctx *ctx, const struct page *p)
{
    size_t n = p->pairs.len / sizeof(struct item), step = p->options->has_novalues ? 2 : 1;
    reply_array(ctx->reply, n / step);
    for (size_t i = 0; i < n; i += step) {
        struct item item;
        memcpy(&item, p->pairs.ptr + i * sizeof item, sizeof item);
        hash_reply_item(ctx->reply, &item);
    }
}

static void hscan(struct ctx *ctx)
{
    struct scan_options options;
    struct page page = {.options = &options};
    struct entry *e;
    if (!scan_begin(ctx, TYPE_HASH, &options, &e)) return;
    uint64_t cursor = options.cursor, buckets = scan_max_buckets(&options);
    do cursor = hash_scan(e->value, cursor, hash_now_ms(ctx), collect_pair, &page);
    while (cursor && page.seen < (uint64_t)options.count && --buckets);
    scan_reply_cursor(ctx, cursor);
    reply_page(ctx, &page);
    buf_free(&page.pairs);
}

// --- declarations --------------------------------------------------------------------------------

// clang-format off
const struct command commands_hash[] = {
    {.name = "hset", .member = 2, .handler = hset, .arity = -4,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_HASH, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "hash",
     .since = "2.0.0", .complexity = "O(N) with N the number of fields that are set",
     .summary = "Sets one or more fields of a hash. Creates the hash if it is missing.",
     .args = "key (field value)...", .history = "4.0.0: Accepts several fields with their values."},

    {.name = "hmset", .member = 2, .handler = hmset, .arity = -4,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_HASH, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "hash",
     .since = "2.0.0", .complexity = "O(N) with N the number of fields that are set",
     .summary = "Sets one or more fields of a hash. Creates the hash if it is missing.",
     .args = "key (field value)...",
     .deprecated = "4.0.0: `HSET` with multiple field-value pairs"},

    {.name = "hsetnx", .member = 2, .handler = hsetnx, .arity = 4,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_HASH, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_INSERT)}, .group = "hash",
     .since = "2.0.0", .complexity = "O(1)",
     .summary = "Sets a field of a hash if the field does not exist.", .args = "key field value"},

    {.name = "hget", .member = 2, .handler = hget, .arity = 3, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_HASH, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "hash",
     .since = "2.0.0", .complexity = "O(1)", .summary = "Returns the value of a field of a hash.",
     .args = "key field"},

    {.name = "hmget", .member = 2, .handler = hmget, .arity = -3, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_HASH, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "hash",
     .since = "2.0.0", .complexity = "O(N) with N the number of fields that are asked for",
     .summary = "Returns the values of one or more fields of a hash.", .args = "key field..."},

    {.name = "hgetall", .handler = hgetall, .arity = 2, .flags = CMD_READONLY, .acl = ACL_HASH,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "hash", .since = "2.0.0",
     .complexity = "O(N) with N the number of fields of the hash",
     .summary = "Returns all fields of a hash with their values.", .args = "key",
     .tips = "nondeterministic_output_order"},

    {.name = "hdel", .member = 2, .handler = hdel, .arity = -3, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_HASH,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_DELETE)}, .group = "hash", .since = "2.0.0",
     .complexity = "O(N) with N the number of fields that are named",
     .summary = "Removes one or more fields of a hash; with the last one goes the hash.",
     .args = "key field...", .history = "2.4.0: Accepts several fields."},

    {.name = "hlen", .handler = hlen, .arity = 2, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_HASH, .keys = {KEYS(1, 1, 1, KEY_RO)}, .group = "hash", .since = "2.0.0",
     .complexity = "O(1)", .summary = "Returns the number of fields of a hash.", .args = "key"},

    {.name = "hstrlen", .member = 2, .handler = hstrlen, .arity = 3,
     .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_HASH, .keys = {KEYS(1, 1, 1, KEY_RO)}, .group = "hash", .since = "3.2.0",
     .complexity = "O(1)", .summary = "Returns the length of the value of a field of a hash.",
     .args = "key field"},

    {.name = "hexists", .member = 2, .handler = hexists, .arity = 3,
     .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_HASH, .keys = {KEYS(1, 1, 1, KEY_RO)}, .group = "hash", .since = "2.0.0",
     .complexity = "O(1)", .summary = "Tells whether a hash has a field.", .args = "key field"},

    {.name = "hkeys", .handler = hkeys, .arity = 2, .flags = CMD_READONLY, .acl = ACL_HASH,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "hash", .since = "2.0.0",
     .complexity = "O(N) with N the number of fields of the hash",
     .summary = "Returns all fields of a hash, without their values.", .args = "key",
     .tips = "nondeterministic_output_order"},

    {.name = "hvals", .handler = hvals, .arity = 2, .flags = CMD_READONLY, .acl = ACL_HASH,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "hash", .since = "2.0.0",
     .complexity = "O(N) with N the number of fields of the hash",
     .summary = "Returns all values of a hash.", .args = "key",
     .tips = "nondeterministic_output_order"},

    {.name = "hincrby", .member = 2, .handler = hincrby, .arity = 4,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_HASH,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE)}, .group = "hash", .since = "2.0.0",
     .complexity = "O(1)",
     .summary = "Adds to the integer that a field of a hash holds; a missing field counts as 0.",
     .args = "key field increment"},

    {.name = "hincrbyfloat", .member = 2, .handler = hincrbyfloat, .arity = 4,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_HASH,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE)}, .group = "hash", .since = "2.6.0",
     .complexity = "O(1)",
     .summary = "Adds to the number that a field of a hash holds; a missing field counts as 0.",
     .args = "key field increment:double"},

    {.name = "hrandfield", .handler = hrandfield, .arity = -2, .flags = CMD_READONLY,
     .acl = ACL_HASH, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "hash",
     .since = "6.2.0", .complexity = "O(N) with N the number of fields that are returned",
     .summary = "Returns fields of a hash picked at random.", .args = "key [count [WITHVALUES]]",
     .tips = "nondeterministic_output"},

    {.name = "hscan", .handler = hscan, .arity = -3, .flags = CMD_READONLY, .acl = ACL_HASH,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "hash", .since = "2.8.0",
     .complexity = "O(COUNT) for a call, O(N) for all until the cursor is 0 again, with N the "
                   "number of fields of the hash",
     .summary = "Walks through the fields of a hash, a few with each call.",
     .args = "key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
     .history = "7.4.0: Added the option `NOVALUES`.",
     .tips = "nondeterministic_output"},

    {0},
};
// clang-format on
