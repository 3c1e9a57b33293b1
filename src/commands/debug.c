// SPDX-License-Identifier: BSD-3-Clause
//
// DEBUG: one command whose first argument says what to do (to COMMAND INFO it has no subcommands,
// as in Redis), so the word also decides how the call spans the shards (span_of). Words that look
// at keys or change every keyspace park all shards: simple, and DEBUG is rare. The rest, SLEEP
// before all, run at home and stop nobody but the shard they run on.
//
// What Redis has and is not here answers as an unknown word does. A few words steer machinery that
// Gyre has no counterpart of; they are accepted and do nothing, so that test suites that send them
// go on.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/glob.h"
#include "base/log.h"
#include "base/mem.h"
#include "commands/digest.h"
#include "commands/families.h"
#include "engine/ctx.h"
#include "engine/effect.h"
#include "engine/engine.h"
#include "engine/protect.h"
#include "engine/settings.h"
#include "types/rdb.h"

// --- numbers -------------------------------------------------------------------------------------

// An on/off argument: anything but a number that is not 0 means off, as atoi has it in Redis.
static bool is_on(struct slice s)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%.*s", SLICE_ARG(s));
    return strtol(digits, NULL, 10) != 0;
}

static void debug_sleep(struct ctx *ctx)
{
    char text[64];
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(ctx->argv[2]));
    double seconds = strtod(text, NULL);
    if (seconds > 0 && seconds < 1e9) {
        struct timespec t = {.tv_sec = (time_t)seconds};
        t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
        while (nanosleep(&t, &t) == -1 && errno == EINTR) {
        }
    }
    reply_ok(ctx->reply);
}

// --- looking at keys -----------------------------------------------------------------------------

// As RDB files hold it.
static size_t saved_bytes(const struct ctx *ctx, const struct entry *e)
{
    char scratch[NUM_I64_TEXT];
    struct buf saved = {0};
    bool is_compressed = ctx->settings->rdbcompression;
    if (e->type == TYPE_STRING)
        rdb_put_string(&saved, entry_string(e, scratch), is_compressed);
    else
        rdb_put_value(&saved, e->type, e->value, is_compressed);
    size_t len = saved.len;
    buf_free(&saved);
    return len;
}

// Redis shares the objects of small numbers, and clients' tests know how that looks.
static bool is_shared_integer(const struct ctx *ctx, const struct entry *e)
{
    int64_t policy = ctx->settings->maxmemory_policy;
    bool has_own_clock = policy == POLICY_ALLKEYS_LRU || policy == POLICY_VOLATILE_LRU ||
                         policy == POLICY_ALLKEYS_LFU || policy == POLICY_VOLATILE_LFU;
    return e->encoding == ENC_INT && e->integer >= 0 && e->integer < 10000 &&
           !(ctx->settings->maxmemory && has_own_clock);
}

static struct entry *existing_key(struct ctx *ctx, struct slice key)
{
    struct entry *e = ctx_peek(ctx, key);
    if (!e) reply_error(ctx->reply, ERR_NO_SUCH_KEY);
    return e;
}

static void debug_object(struct ctx *ctx)
{
    const struct entry *e = existing_key(ctx, ctx->argv[2]);
    if (!e) return;
    char line[256];
    snprintf(line, sizeof line,
             "Value at:%p refcount:%d encoding:%s serializedlength:%zu lru:%u "
             "lru_seconds_idle:%llu",
             (const void *)e, is_shared_integer(ctx, e) ? INT32_MAX : 1,
             object_encoding_name(entry_encoding(e)), saved_bytes(ctx, e), e->lru,
             (unsigned long long)entry_idle_seconds(e, ctx->now_ms));
    reply_simple(ctx->reply, line);
}

static void debug_digest(struct ctx *ctx)
{
    char text[DIGEST_TEXT];
    struct digest d = digest_of_dataset(ctx);
    digest_format(&d, text);
    reply_simple(ctx->reply, text);
}

static void debug_digest_value(struct ctx *ctx)
{
    reply_array(ctx->reply, (size_t)ctx->argc - 2);
    for (int i = 2; i < ctx->argc; i++) {
        char text[DIGEST_TEXT];
        struct digest d = {0};
        const struct entry *e = ctx_peek(ctx, ctx->argv[i]);
        if (e) digest_add_value(&d, e);
        digest_format(&d, text);
        reply_simple(ctx->reply, text);
    }
}

// --- POPULATE ------------------------------------------------------------------------------------

// Makes the value of key number i: "value:i", cut or filled with zeros to `size` bytes (0: as it
// is).
static struct slice populate_value(struct buf *value, int64_t i, int64_t size)
{
    value->len = 0;
    buf_printf(value, "value:%lld", (long long)i);
    if (size) {
        size_t wanted = (size_t)size, has = MIN(value->len, wanted);
        memset(buf_reserve(value, wanted - has), 0, wanted - has);
        value->len = wanted;
    }
    return buf_slice(value);
}

static void debug_populate(struct ctx *ctx)
{
    int64_t count, size = 0;
    if (!ctx_arg_range(ctx, 2, 0, INT64_MAX, &count, ERR_POSITIVE)) return;
    int64_t max_size = (int64_t)ctx->settings->proto_max_bulk_len;
    if (ctx->argc == 5 && !ctx_arg_range(ctx, 4, 0, max_size, &size, ERR_POSITIVE)) return;
    struct slice prefix = ctx->argc >= 4 ? ctx->argv[3] : SLICE("key");
    struct buf name = {0}, value = {0};
    for (int64_t i = 0; i < count; i++) {
        name.len = 0;
        buf_append(&name, prefix.ptr, prefix.len);
        buf_printf(&name, ":%lld", (long long)i);
        struct slice key = buf_slice(&name);
        if (ctx_write(ctx, key)) continue;
        ctx_set_string(ctx, key, NULL, populate_value(&value, i, size), EXPIRE_NONE);
        effect_say_value(ctx, ctx->db, key);
        ctx_commit(ctx, key, 0, NULL); // a change, but in Redis not an event
    }
    buf_free(&name);
    buf_free(&value);
    reply_ok(ctx->reply);
}

// --- PROTOCOL ------------------------------------------------------------------------------------

static void protocol_bignum(struct reply *r)
{
    static const char digits[] = "1234567999999999999999999999999999999";
    if (r->resp == 2) {
        reply_bulk_text(r, digits);
        return;
    }
    reply_raw(r, "(", 1);
    reply_raw(r, digits, sizeof digits - 1);
    reply_raw(r, "\r\n", 2);
}

static void protocol_attribute(struct reply *r)
{
    if (r->resp == 3) {
        reply_raw(r, "|1\r\n", 4);
        reply_bulk_text(r, "key-popularity");
        reply_array(r, 2);
        reply_bulk_text(r, "key:123");
        reply_int(r, 90);
    }
    reply_bulk_text(r, "Some real reply following the attribute");
}

static void protocol_push(struct reply *r)
{
    if (r->resp == 2) {
        reply_error(r, "ERR RESP2 is not supported by this command");
        return;
    }
    reply_push(r, 2);
    reply_bulk_text(r, "server-cpu-usage");
    reply_int(r, 42);
    reply_bulk_text(r, "Some real reply following the push reply");
}

static void protocol_aggregate(struct reply *r, struct slice kind)
{
    bool is_map = slice_is(kind, "map");
    if (is_map)
        reply_map(r, 3);
    else if (slice_is(kind, "set"))
        reply_set(r, 3);
    else
        reply_array(r, 3);
    for (int i = 0; i < 3; i++) {
        reply_int(r, i);
        if (is_map) reply_bool(r, i == 1);
    }
}

static void debug_protocol(struct ctx *ctx)
{
    struct reply *r = ctx->reply;
    struct slice kind = ctx->argv[2];
    if (slice_is(kind, "string"))
        reply_bulk_text(r, "Hello World");
    else if (slice_is(kind, "integer"))
        reply_int(r, 12345);
    else if (slice_is(kind, "double"))
        reply_double(r, 3.141);
    else if (slice_is(kind, "bignum"))
        protocol_bignum(r);
    else if (slice_is(kind, "null"))
        reply_null(r);
    else if (slice_is(kind, "array") || slice_is(kind, "set") || slice_is(kind, "map"))
        protocol_aggregate(r, kind);
    else if (slice_is(kind, "attrib"))
        protocol_attribute(r);
    else if (slice_is(kind, "push"))
        protocol_push(r);
    else if (slice_is(kind, "verbatim"))
        reply_verbatim(r, "txt", SLICE("This is a verbatim\nstring"));
    else if (slice_is(kind, "true"))
        reply_bool(r, true);
    else if (slice_is(kind, "false"))
        reply_bool(r, false);
    else
        reply_error(r, "ERR Wrong protocol type name. Please use one of the following: "
                       "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|"
                       "true|false");
}

// --- tables --------------------------------------------------------------------------------------

#define HISTOGRAM_LEN 16 // items in a bucket; the last: so many or more

struct table_stats {
    uint64_t items, buckets, expires;
    uint64_t histogram[HISTOGRAM_LEN];
};

static void describe_table(struct buf *out, const struct table_stats *t)
{
    buf_append_text(out, "[Dictionary HT]\nHash table 0 stats (main hash table):\n");
    if (!t->items) {
        buf_append_text(out, "No stats available for empty dictionaries\n");
        return;
    }
    unsigned longest = 0;
    for (unsigned i = 0; i < HISTOGRAM_LEN; i++)
        if (t->histogram[i]) longest = i;
    uint64_t used = t->buckets - t->histogram[0];
    double average = (double)t->items / (double)used;
    buf_printf(out,
               " table size: %llu\n number of elements: %llu\n different slots: %llu\n"
               " max chain length: %u\n avg chain length (counted): %.02f\n"
               " avg chain length (computed): %.02f\n Chain length distribution:\n",
               (unsigned long long)t->buckets, (unsigned long long)t->items,
               (unsigned long long)used, longest, average, average);
    for (unsigned i = 0; i < HISTOGRAM_LEN; i++)
        if (t->histogram[i])
            buf_printf(out, "   %s%u: %llu (%.02f%%)\n", i == HISTOGRAM_LEN - 1 ? ">= " : "", i,
                       (unsigned long long)t->histogram[i],
                       (double)t->histogram[i] * 100 / (double)t->buckets);
}

static void gather_tables(const struct ctx *ctx, uint32_t db, struct table_stats *t)
{
    for (uint32_t s = 0; s < ctx->space_count; s++) {
        const struct db *d = &ctx->spaces[s]->dbs[db];
        uint64_t histogram[HISTOGRAM_LEN] = {0};
        dict_histogram(&d->keys, histogram, HISTOGRAM_LEN);
        for (int i = 0; i < HISTOGRAM_LEN; i++) t->histogram[i] += histogram[i];
        t->items += d->keys.count;
        t->buckets += d->keys.buckets;
        t->expires += d->expires.count;
    }
}

// The buckets of all shards' tables together, in the words of Redis's report: a "slot" is a bucket
// of seven. Expiry is kept in a wheel, of which only the number is worth telling.
static void debug_htstats(struct ctx *ctx)
{
    int64_t db;
    if (!ctx_arg_i64(ctx, 2, &db, NULL)) return;
    if (db < 0 || db >= ctx->space->db_count) {
        reply_error(ctx->reply, "ERR Out of range database");
        return;
    }
    struct table_stats t = {0};
    struct buf text = {0};
    gather_tables(ctx, (uint32_t)db, &t);
    describe_table(&text, &t);
    buf_append_text(&text, "[Expires HT]\nHash table 0 stats (main hash table):\n");
    if (t.expires)
        buf_printf(&text, " number of elements: %llu\n", (unsigned long long)t.expires);
    else
        buf_append_text(&text, "No stats available for empty dictionaries\n");
    reply_verbatim(ctx->reply, "txt", buf_slice(&text));
    buf_free(&text);
}

static void debug_htstats_key(struct ctx *ctx)
{
    const struct entry *e = existing_key(ctx, ctx->argv[2]);
    if (!e) return;
    const struct dict *table = e->type == TYPE_STRING ? NULL : value_table(e->value);
    if (!table) {
        reply_error(ctx->reply, "ERR The value stored at the specified key is not represented "
                                "using an hash table");
        return;
    }
    struct table_stats t = {.items = table->count, .buckets = table->buckets};
    struct buf text = {0};
    dict_histogram(table, t.histogram, HISTOGRAM_LEN);
    describe_table(&text, &t);
    reply_verbatim(ctx->reply, "txt", buf_slice(&text));
    buf_free(&text);
}

// --- switches ------------------------------------------------------------------------------------

static void debug_set_active_expire(struct ctx *ctx)
{
    for (uint32_t i = 0; i < ctx->space_count; i++)
        ctx->spaces[i]->is_active_expire_on = is_on(ctx->argv[2]);
    reply_ok(ctx->reply);
}

static void debug_pause_cron(struct ctx *ctx)
{
    // Relaxed: the shards look at it at their next round, nothing hangs on which one.
    atomic_store_explicit(&ctx->engine->is_cron_paused, is_on(ctx->argv[2]), memory_order_relaxed);
    reply_ok(ctx->reply);
}

static void debug_change_repl_id(struct ctx *ctx)
{
    // Relaxed: a counter that INFO reads.
    atomic_fetch_add_explicit(&ctx->engine->replid_epoch, 1, memory_order_relaxed);
    reply_ok(ctx->reply);
}

// Reply buffers are chunks here, which are neither resized nor have a peak to forget: checked, then
// ignored.
static void debug_replybuffer(struct ctx *ctx)
{
    int64_t ms;
    if (ctx_arg_is(ctx, 2, "peak-reset-time")) {
        if (!ctx_arg_is(ctx, 3, "never") && !ctx_arg_is(ctx, 3, "reset") &&
            !ctx_arg_i64(ctx, 3, &ms, NULL))
            return;
    } else if (!ctx_arg_is(ctx, 2, "resizing")) {
        ctx_unknown_subcommand(ctx);
        return;
    }
    reply_ok(ctx->reply);
}

static void debug_nothing(struct ctx *ctx)
{
    reply_ok(ctx->reply);
}

// --- the rest ------------------------------------------------------------------------------------

static void debug_stringmatch_len(struct ctx *ctx)
{
    reply_int(ctx->reply, glob_match(ctx->argv[2], ctx->argv[3]));
}

static void debug_error(struct ctx *ctx)
{
    char *text = mem_strndup(ctx->argv[2].ptr, ctx->argv[2].len);
    reply_error(ctx->reply, text);
    mem_free(text);
}

static void debug_log(struct ctx *ctx)
{
    log_write(LOG_WARNING, "DEBUG LOG: %.*s", SLICE_ARG(ctx->argv[2]));
    reply_ok(ctx->reply);
}

static void debug_segfault(struct ctx *ctx)
{
    volatile uintptr_t nowhere = 0; // hidden from the compiler, which would know better
    *(volatile int *)nowhere = 1;
    reply_ok(ctx->reply);
}

static void debug_help(struct ctx *ctx)
{
    static const char *const lines[] = {
        "CHANGE-REPL-ID",
        "    Make a new replication id.",
        "DICT-RESIZING <0|1>",
        "    Accepted for compatibility: tables here grow and shrink by single buckets.",
        "DIGEST",
        "    Show a fingerprint of all data; equal to that of a Redis with equal data.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    Show fingerprints of the values of these keys.",
        "ERROR <string>",
        "    Answer with an error of this text.",
        "HTSTATS <dbid> [full]",
        "    Show how well the tables of a database are filled.",
        "HTSTATS-KEY <key> [full]",
        "    The same for the table within a value.",
        "LOG <message>",
        "    Write a line to the server's log.",
        "OBJECT <key>",
        "    Show how a value is stored.",
        "PAUSE-CRON <0|1>",
        "    Stop housekeeping, or go on with it.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Create <count> strings named <prefix>:<number> (prefix: key).",
        "PROTOCOL <type>",
        "    Answer with a value of this type: string, integer, double, bignum, null, array,",
        "    set, map, attrib, push, verbatim, true, false.",
        "REPLYBUFFER PEAK-RESET-TIME <NEVER|RESET|time>",
        "REPLYBUFFER RESIZING <0|1>",
        "    Accepted for compatibility.",
        "SEGFAULT",
        "    Crash by touching memory that is not there.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    With 0, keys expire only when somebody looks at them.",
        "SET-DISABLE-DENY-SCRIPTS <0|1>",
        "    Accepted for compatibility.",
        "SLEEP <seconds>",
        "    Put the shard that this connection lives on to sleep. Decimals are allowed.",
        "STRINGMATCH-LEN <pattern> <string>",
        "    Match a string against a glob-style pattern: 1 or 0.",
        NULL,
    };
    ctx_reply_help(ctx, lines);
}

// --- dispatch ------------------------------------------------------------------------------------

static const struct word {
    const char *name;
    int min_argc, max_argc; // max 0: no limit
    command_fn handler;
    enum command_span span;
} words[] = {
    {"sleep", 3, 3, debug_sleep, SPAN_KEYS},
    {"object", 3, 3, debug_object, SPAN_MEET_ALL},
    {"digest", 2, 2, debug_digest, SPAN_MEET_ALL},
    {"digest-value", 2, 0, debug_digest_value, SPAN_MEET_ALL},
    {"populate", 3, 5, debug_populate, SPAN_MEET_ALL},
    {"protocol", 3, 3, debug_protocol, SPAN_KEYS},
    {"htstats", 3, 4, debug_htstats, SPAN_MEET_ALL},
    {"htstats-key", 3, 4, debug_htstats_key, SPAN_MEET_ALL},
    {"set-active-expire", 3, 3, debug_set_active_expire, SPAN_MEET_ALL},
    {"pause-cron", 3, 3, debug_pause_cron, SPAN_KEYS},
    {"change-repl-id", 2, 2, debug_change_repl_id, SPAN_KEYS},
    {"replybuffer", 4, 4, debug_replybuffer, SPAN_KEYS},
    {"dict-resizing", 3, 3, debug_nothing, SPAN_KEYS},
    {"set-disable-deny-scripts", 3, 3, debug_nothing, SPAN_KEYS},
    {"stringmatch-len", 4, 4, debug_stringmatch_len, SPAN_KEYS},
    {"error", 3, 3, debug_error, SPAN_KEYS},
    {"log", 3, 3, debug_log, SPAN_KEYS},
    {"segfault", 2, 2, debug_segfault, SPAN_KEYS},
    {"help", 2, 2, debug_help, SPAN_KEYS},
};

static const struct word *find_word(int argc, const struct slice *argv)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        const struct word *w = &words[i];
        if (slice_is(argv[1], w->name))
            return argc >= w->min_argc && (!w->max_argc || argc <= w->max_argc) ? w : NULL;
    }
    return NULL;
}

static enum command_span debug_span(const struct engine *e, int argc, const struct slice *argv)
{
    (void)e;
    const struct word *w = find_word(argc, argv);
    return w ? w->span : SPAN_KEYS;
}

static void debug(struct ctx *ctx)
{
    const char *refusal = protect_refusal(ctx->settings, ctx->session);
    const struct word *w = find_word(ctx->argc, ctx->argv);
    if (refusal)
        reply_error(ctx->reply, refusal);
    else if (w)
        w->handler(ctx);
    else
        ctx_unknown_subcommand(ctx);
}

const struct command commands_debug[] = {
    {.name = "debug",
     .handler = debug,
     .arity = -2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_PROTECTED,
     .span = SPAN_MEET_ALL,
     .span_of = debug_span,
     .group = "server",
     .since = "1.0.0",
     .complexity = "Depends on the subcommand.",
     .summary = "Commands for tests of the server and of clients."},
    {0},
};
