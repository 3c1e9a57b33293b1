// SPDX-License-Identifier: BSD-3-Clause
//
// scan: commands on a database as a whole: walking through its keys, counting them, emptying it.
//
// Each shard holds a part of every database, and these commands say in their declarations how the
// parts' answers become one (SPAN_*). A handler is one shard's part where ctx->space_count is 1,
// and all of them in a meeting or a script; so all but SCAN just loop over ctx->spaces.
//
// SCAN goes through the shards one after the other. A client's cursor tells where it is:
//
//     cursor = place in the shard's table * shard_count + shard
//
// so 0 is the very start. When a shard is exhausted the next cursor is the start of the next shard
// (place 0), after the last shard it is 0, the end. Where only one shard is at hand a page ends
// with it and may hold fewer keys than asked for, as Redis's may. The very first page is run with
// all shards at hand and goes on to the next when one is exhausted: so a small database comes back
// whole at once, as clients (and their tests) know it. Within a shard the table's own guarantee
// holds (ds/dict.h); a key never changes shards; so what is there from beginning to end is
// returned. With one shard cursors are the table's.
//
// As in Redis, COUNT is about the work: a page ends when COUNT keys were seen (not: returned) or
// 10 * COUNT buckets.
#include "commands/scan.h"

#include "base/assert.h"
#include "base/buf.h"
#include "base/glob.h"
#include "base/mem.h"
#include "commands/families.h"
#include "engine/engine.h"
#include "engine/tracking.h"

// Removes an expired entry as any look-up would.
static void remove_expired(struct ctx *ctx, const struct entry *e)
{
    struct slice key = entry_key(e);
    char *copy = mem_strndup(key.ptr, key.len); // the entry's own bytes do not outlive it
    const struct entry *rest = ctx_peek(ctx, (struct slice){copy, key.len});
    ASSERT_SLOW(!rest);
    (void)rest;
    mem_free(copy);
}

// --- pages of entries ----------------------------------------------------------------------------

// Entries are collected first and read afterwards, so that fetching them overlaps.
struct page {
    struct buf entries; // of const struct entry *
};

static void collect_entry(void *item, void *arg)
{
    struct page *page = arg;
    const struct entry *e = item;
    __builtin_prefetch(e);
    buf_append(&page->entries, &e, sizeof e);
}

static size_t page_len(const struct page *p)
{
    return p->entries.len / sizeof(const struct entry *);
}

static const struct entry *page_at(const struct page *p, size_t i)
{
    const struct entry *e;
    memcpy(&e, p->entries.ptr + i * sizeof e, sizeof e);
    return e;
}

// Adds to the page from the place on until it holds `entries` or (a bucket is not divided) a few
// more, looking at no more than *buckets, which it lowers. Returns the next place, 0 at the end.
static uint64_t page_fill(struct page *p, const struct db *db, uint64_t place, uint64_t entries,
                          uint64_t *buckets)
{
    do {
        place = dict_scan(&db->keys, place, collect_entry, p);
        --*buckets;
    } while (place && page_len(p) < entries && *buckets);
    return place;
}

// --- SCAN ----------------------------------------------------------------------------------------

#define SCAN_BUCKETS_PER_COUNT 10

// Reads what C's strtoul reads, as Redis does: nothing is 0, a sign may stand in front.
static bool parse_cursor(struct slice text, uint64_t *out)
{
    size_t len = strnlen(text.ptr, text.len), i = 0;
    uint64_t n = 0;
    bool is_negative = len && text.ptr[0] == '-';
    if (len > 1 && (text.ptr[0] == '-' || text.ptr[0] == '+')) i++;
    for (; i < len; i++) {
        unsigned digit = (unsigned char)text.ptr[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, digit, &n))
            return false;
    }
    *out = is_negative ? -n : n;
    return true;
}

uint32_t scan_cursor_shard(struct slice cursor, uint32_t shard_count)
{
    uint64_t n;
    return parse_cursor(cursor, &n) ? (uint32_t)(n % shard_count) : 0;
}

bool scan_cursor_is_start(struct slice cursor)
{
    uint64_t n;
    return parse_cursor(cursor, &n) && n == 0;
}

static bool parse_cursor_arg(struct ctx *ctx, int arg, uint64_t *out)
{
    if (parse_cursor(ctx->argv[arg], out)) return true;
    reply_error(ctx->reply, ERR_INVALID_CURSOR);
    return false;
}

// Reads the option at *arg and what belongs to it, *arg being the last argument of it then. False
// if there is no such option, or (*is_replied) its value does not fit.
static bool parse_option(struct ctx *ctx, bool is_of_key, int *arg, struct scan_options *o,
                         bool *is_replied)
{
    int i = *arg;
    if (is_of_key && ctx_arg_is(ctx, i, "NOVALUES")) {
        o->has_novalues = ctx->cmd->acl & ACL_HASH;
        *is_replied = !o->has_novalues;
        if (*is_replied) reply_error(ctx->reply, "ERR NOVALUES option can only be used in HSCAN");
        return o->has_novalues;
    }
    if (i + 1 == ctx->argc) return false;
    *arg = i + 1;
    if (ctx_arg_is(ctx, i, "COUNT")) {
        *is_replied = !ctx_arg_i64(ctx, i + 1, &o->count, NULL);
        return !*is_replied && o->count >= 1;
    }
    if (ctx_arg_is(ctx, i, "MATCH"))
        o->pattern = ctx->argv[i + 1];
    else if (!is_of_key && ctx_arg_is(ctx, i, "TYPE"))
        o->type = ctx->argv[i + 1];
    else
        return false;
    return true;
}

// Reads the options that stand behind the cursor.
static bool parse_options(struct ctx *ctx, int cursor_arg, struct scan_options *o)
{
    for (int i = cursor_arg + 1; i < ctx->argc; i++) {
        bool is_replied = false;
        if (parse_option(ctx, cursor_arg > 1, &i, o, &is_replied)) continue;
        if (!is_replied) reply_error(ctx->reply, ERR_SYNTAX);
        return false;
    }
    if (o->pattern.ptr && slice_eq(o->pattern, SLICE("*"))) o->pattern.ptr = NULL;
    return true;
}

bool scan_options_parse(struct ctx *ctx, int first_arg, struct scan_options *o)
{
    *o = (struct scan_options){.count = 10};
    return parse_cursor_arg(ctx, first_arg, &o->cursor) && parse_options(ctx, first_arg, o);
}

bool scan_begin(struct ctx *ctx, enum object_type type, struct scan_options *o, struct entry **e)
{
    *o = (struct scan_options){.count = 10};
    if (!parse_cursor_arg(ctx, 2, &o->cursor)) return false;
    if (!ctx_read_as(ctx, ctx->argv[1], type, e)) return false;
    if (*e) return parse_options(ctx, 2, o);
    scan_reply_cursor(ctx, 0);
    reply_array(ctx->reply, 0);
    return false;
}

bool scan_matches(const struct scan_options *o, struct slice name)
{
    return !o->pattern.ptr || glob_match(o->pattern, name);
}

uint64_t scan_max_buckets(const struct scan_options *o)
{
    uint64_t count = (uint64_t)o->count;
    return MIN(count, UINT64_MAX / SCAN_BUCKETS_PER_COUNT) * SCAN_BUCKETS_PER_COUNT;
}

void scan_reply_cursor(struct ctx *ctx, uint64_t next_cursor)
{
    char text[NUM_I64_TEXT];
    reply_array(ctx->reply, 2);
    reply_bulk(ctx->reply, (struct slice){text, num_format_u64(text, next_cursor)});
}

static bool is_wanted(const struct entry *e, const struct scan_options *o)
{
    return scan_matches(o, entry_key(e)) &&
           (!o->type.ptr || slice_is(o->type, object_type_name(e->type)));
}

static void reply_page(struct ctx *ctx, const struct page *page, const struct scan_options *o,
                       uint64_t next_cursor)
{
    size_t n = 0;
    scan_reply_cursor(ctx, next_cursor);
    struct reply_mark mark = reply_open(ctx->reply);
    for (size_t i = 0; i < page_len(page); i++) {
        const struct entry *e = page_at(page, i);
        if (entry_is_expired(e, ctx->now_ms) || !is_wanted(e, o)) continue;
        reply_bulk(ctx->reply, entry_key(e));
        n++;
    }
    reply_close_array(ctx->reply, mark, n);
}

// Fills the page from the cursor on; returns the next cursor.
static uint64_t scan_from(struct ctx *ctx, const struct scan_options *o, struct page *page)
{
    uint64_t cursor = o->cursor, count = (uint64_t)o->count, buckets = scan_max_buckets(o);
    bool is_one = ctx->space_count == 1;
    uint32_t shards = ctx->engine->shard_count;
    uint32_t shard = is_one ? ctx->space->shard : (uint32_t)(cursor % shards);
    uint64_t place = cursor / shards;
    do {
        const struct keyspace *ks = is_one ? ctx->space : ctx->spaces[shard];
        place = page_fill(page, &ks->dbs[ctx->db], place, count, &buckets);
        if (place) return place * shards + shard;
        shard++;
    } while (!is_one && shard < shards && page_len(page) < count && buckets);
    return shard < shards ? shard : 0;
}

static void scan(struct ctx *ctx)
{
    struct scan_options options;
    struct page page = {0};
    if (!scan_options_parse(ctx, 1, &options)) return;
    reply_page(ctx, &page, &options, scan_from(ctx, &options, &page));
    for (size_t i = 0; i < page_len(&page); i++)
        if (entry_is_expired(page_at(&page, i), ctx->now_ms))
            remove_expired(ctx, page_at(&page, i));
    buf_free(&page.entries);
}

// --- KEYS, RANDOMKEY, DBSIZE ---------------------------------------------------------------------

static size_t reply_keys_of(struct ctx *ctx, const struct db *db, struct page *page,
                            const struct scan_options *o)
{
    enum { PAGE = 256 }; // entries read while they are surely still in the cache
    uint64_t place = 0, buckets = UINT64_MAX;
    size_t n = 0;
    do {
        page->entries.len = 0;
        place = page_fill(page, db, place, PAGE, &buckets);
        for (size_t i = 0; i < page_len(page); i++) {
            const struct entry *e = page_at(page, i);
            if (entry_is_expired(e, ctx->now_ms) || !is_wanted(e, o)) continue;
            reply_bulk(ctx->reply, entry_key(e));
            n++;
        }
    } while (place);
    return n;
}

static void keys(struct ctx *ctx)
{
    struct scan_options wanted = {.pattern = ctx->argv[1]};
    if (slice_eq(wanted.pattern, SLICE("*"))) wanted.pattern.ptr = NULL;
    struct page page = {0};
    size_t n = 0;
    struct reply_mark mark = reply_open(ctx->reply);
    for (uint32_t i = 0; i < ctx->space_count; i++)
        n += reply_keys_of(ctx, &ctx->spaces[i]->dbs[ctx->db], &page, &wanted);
    reply_close_array(ctx->reply, mark, n);
    buf_free(&page.entries);
}

static uint64_t key_count(const struct ctx *ctx)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < ctx->space_count; i++) n += ctx->spaces[i]->dbs[ctx->db].keys.count;
    return n;
}

static void dbsize(struct ctx *ctx)
{
    reply_int(ctx->reply, (int64_t)key_count(ctx));
}

static uint64_t random_bits(void *arg)
{
    return random_u64(arg);
}

// An entry, any one as likely as the others, expired ones included; NULL: there is none.
static struct entry *random_entry(struct ctx *ctx)
{
    struct random *random = &ctx->space->random;
    uint64_t total = key_count(ctx);
    if (!total) return NULL;
    uint64_t pick = random_below(random, total);
    uint32_t i = 0;
    for (; pick >= ctx->spaces[i]->dbs[ctx->db].keys.count; i++)
        pick -= ctx->spaces[i]->dbs[ctx->db].keys.count;
    return dict_random(&ctx->spaces[i]->dbs[ctx->db].keys, random_bits, random);
}

static void randomkey(struct ctx *ctx)
{
    enum { TRIES = 100 };
    struct entry *e;
    int tries = 0;
    // Each turn removes a key, so this ends; where it stays (keyspace_is_paused) it is shown at
    // last, as by Redis.
    while ((e = random_entry(ctx)) && entry_is_expired(e, ctx->now_ms) && tries < TRIES) {
        uint64_t before = key_count(ctx);
        remove_expired(ctx, e);
        tries += key_count(ctx) == before;
    }
    if (e)
        reply_bulk(ctx->reply, entry_key(e));
    else
        reply_null(ctx->reply);
}

// --- FLUSHDB, FLUSHALL, SWAPDB -------------------------------------------------------------------

// SYNC returns when the memory is back; otherwise it comes back in slices, also where Redis by
// default would let everyone wait for it.
static bool parse_flush(struct ctx *ctx, bool *is_sync)
{
    *is_sync = ctx->argc == 2 && ctx_arg_is(ctx, 1, "SYNC");
    if (ctx->argc == 1 || *is_sync || (ctx->argc == 2 && ctx_arg_is(ctx, 1, "ASYNC"))) return true;
    reply_error(ctx->reply, ERR_SYNTAX);
    return false;
}

// db -1: all of them.
static void flush(struct ctx *ctx, int db)
{
    bool is_sync;
    if (!parse_flush(ctx, &is_sync)) return;
    ctx_commit_flush(ctx, db);
    for (uint32_t i = 0; i < ctx->space_count; i++) {
        struct keyspace *ks = ctx->spaces[i];
        for (uint32_t d = 0; d < ks->db_count; d++)
            if (db < 0 || d == (uint32_t)db) db_flush(ks, &ks->dbs[d], ctx->now_ms);
        if (is_sync) keyspace_free_garbage(ks);
    }
    reply_ok(ctx->reply);
}

static void flushdb(struct ctx *ctx)
{
    flush(ctx, (int)ctx->db);
}

static void flushall(struct ctx *ctx)
{
    flush(ctx, -1);
}

static void swapdb(struct ctx *ctx)
{
    int64_t a, b, databases = ctx->space->db_count;
    if (!ctx_arg_range(ctx, 1, INT32_MIN, INT32_MAX, &a, "ERR invalid first DB index")) return;
    if (!ctx_arg_range(ctx, 2, INT32_MIN, INT32_MAX, &b, "ERR invalid second DB index")) return;
    if (a < 0 || a >= databases || b < 0 || b >= databases) {
        reply_error(ctx->reply, ERR_DB_RANGE);
        return;
    }
    for (uint32_t i = 0; i < ctx->space_count && a != b; i++)
        keyspace_swap_dbs(ctx->spaces[i], (uint32_t)a, (uint32_t)b);
    ctx_commit_swap(ctx, (uint32_t)a, (uint32_t)b);
    reply_ok(ctx->reply);
}

// --- declarations --------------------------------------------------------------------------------

#define FLUSH_HISTORY "4.0.0: Added the mode `ASYNC`.\n6.2.0: Added the mode `SYNC`."

// clang-format off
const struct command commands_scan[] = {
    {.name = "scan", .handler = scan, .arity = -2, .flags = CMD_READONLY, .acl = ACL_KEYSPACE,
     .span = SPAN_CURSOR, .group = "generic", .since = "2.8.0",
     .complexity = "O(COUNT) for a call, O(N) for all until the cursor is 0 again, with N the "
                   "number of keys in the database",
     .summary = "Walks through the names of a database's keys, a few with each call.",
     .args = "cursor [MATCH pattern] [COUNT count] [TYPE type:string]",
     .history = "6.0.0: Added the option `TYPE`.",
     .tips = "nondeterministic_output request_policy:special"},

    {.name = "keys", .handler = keys, .arity = 2, .flags = CMD_READONLY,
     .acl = ACL_KEYSPACE | ACL_DANGEROUS, .span = SPAN_CONCAT, .group = "generic", .since = "1.0.0",
     .complexity = "O(N) with N the number of keys in the database",
     .summary = "Returns the names of all keys that match a pattern.", .args = "pattern",
     .tips = "request_policy:all_shards nondeterministic_output_order"},

    {.name = "randomkey", .handler = randomkey, .arity = 1, .flags = CMD_READONLY,
     .acl = ACL_KEYSPACE, .span = SPAN_MEET_ALL, .group = "generic", .since = "1.0.0",
     .complexity = "O(1)", .summary = "Returns the name of a key picked at random.",
     .tips = "request_policy:all_shards nondeterministic_output"},

    {.name = "dbsize", .handler = dbsize, .arity = 1, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_KEYSPACE, .span = SPAN_SUM, .group = "server", .since = "1.0.0",
     .complexity = "O(1)", .summary = "Returns the number of keys in the selected database.",
     .tips = "request_policy:all_shards response_policy:agg_sum"},

    {.name = "flushdb", .handler = flushdb, .arity = -1, .flags = CMD_WRITE,
     .acl = ACL_KEYSPACE | ACL_DANGEROUS, .span = SPAN_ALL_OK,
     .span_of = tracking_flush_span, .group = "server", .since = "1.0.0",
     .complexity = "O(1); with SYNC O(N) with N the number of keys in the database",
     .summary = "Removes all keys of the selected database.", .args = "[ASYNC | SYNC]",
     .history = FLUSH_HISTORY,
     .tips = "request_policy:all_shards response_policy:all_succeeded"},

    {.name = "flushall", .handler = flushall, .arity = -1, .flags = CMD_WRITE,
     .acl = ACL_KEYSPACE | ACL_DANGEROUS, .span = SPAN_ALL_OK,
     .span_of = tracking_flush_span, .group = "server", .since = "1.0.0",
     .complexity = "O(1); with SYNC O(N) with N the number of keys in all databases",
     .summary = "Removes all keys of all databases.", .args = "[ASYNC | SYNC]",
     .history = FLUSH_HISTORY,
     .tips = "request_policy:all_shards response_policy:all_succeeded"},

    {.name = "swapdb", .handler = swapdb, .arity = 3, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_KEYSPACE | ACL_DANGEROUS, .span = SPAN_ALL_OK,
     .span_of = tracking_flush_span, .group = "server", .since = "4.0.0",
     .complexity = "O(N) with N the number of clients that watch or wait for keys of the two "
                   "databases",
     .summary = "Lets two databases change places.", .args = "index1 index2"},

    {0},
};
// clang-format on
