// SPDX-License-Identifier: BSD-3-Clause
#include "twin.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "commands/digest.h"
#include "commands/families.h"
#include "engine/block.h"
#include "engine/call.h"
#include "engine/engine.h"
#include "engine/interest.h"
#include "engine/settings.h"
#include "engine/snapshot.h"
#include "types/hash.h"
#include "types/stream.h"

#define WORDS_MAX 256
#define HOUR_MS   3600000

// --- life ----------------------------------------------------------------------------------------

void twin_init(struct twin *t, uint32_t shards, int64_t now_ms)
{
    *t = (struct twin){.settings = settings_default(), .shards = shards, .now_ms = now_ms};
    t->settings->enable_debug_command = ACCESS_YES;
    t->engine = engine_new(commands_all, t->settings, shards, &t->host);
    session_init(&t->session, 1);
    t->session.is_authenticated = true;
    random_seed(&t->random, 1);
    for (uint32_t i = 0; i < shards; i++) random_seed(&t->engine->spaces[i]->random, i + 1);
}

static void end_waiter(struct twin *t, struct waiter **place)
{
    struct waiter *w = *place;
    *place = NULL;
    for (uint32_t i = 0; i < t->shards; i++) waiter_unlink_all(w, i);
    waiter_unref(w);
}

void twin_free(struct twin *t)
{
    for (size_t i = 0; i < ARRAY_LEN(t->waiting); i++)
        if (t->waiting[i]) end_waiter(t, &t->waiting[i]);
    for (uint32_t i = 0; i < t->shards; i++) {
        struct keyspace *ks = t->engine->spaces[i];
        for (uint32_t d = 0; d < ks->db_count; d++) db_validate(&ks->dbs[d]);
        ks->effects = NULL;
        effect_free(&t->effects[i]);
    }
    session_free(&t->session);
    engine_free(t->engine);
    settings_free(t->settings);
    buf_free(&t->journal);
}

static struct ctx ctx_of(struct twin *t, struct reply *reply)
{
    return (struct ctx){.engine = t->engine,
                        .settings = t->settings,
                        .session = &t->session,
                        .now_ms = t->now_ms,
                        .db = t->db,
                        .reply = reply,
                        .spaces = t->engine->spaces,
                        .space_count = t->shards,
                        .space = t->engine->spaces[0]};
}

// --- the journal ---------------------------------------------------------------------------------

static void put_u32(struct buf *b, uint32_t n)
{
    buf_append(b, &n, sizeof n);
}

// A unit is done: its effects go to the journal.
static void end_unit(struct twin *t)
{
    bool is_any = false;
    for (uint32_t i = 0; i < t->shards; i++) {
        struct effects *e = &t->effects[i];
        cr_assert_eq(e->touched.len, 0, "a list of touched keys was left behind");
        if (!e->bytes.len) continue;
        is_any = true;
        put_u32(&t->journal, i);
        put_u32(&t->journal, (uint32_t)e->bytes.len);
        buf_append(&t->journal, e->bytes.ptr, e->bytes.len);
        effect_clear(e);
    }
    if (is_any) put_u32(&t->journal, UINT32_MAX);
}

struct journal_part {
    uint32_t shard;
    struct slice effects;
    bool is_first; // of its unit
};

static uint32_t get_u32(const char **at)
{
    uint32_t n;
    memcpy(&n, *at, sizeof n);
    *at += sizeof n;
    return n;
}

static bool next_part(const struct twin *t, const char **at, struct journal_part *part)
{
    const char *end = t->journal.ptr + t->journal.len;
    part->is_first = *at == t->journal.ptr;
    while (*at < end) {
        part->shard = get_u32(at);
        if (part->shard == UINT32_MAX) {
            part->is_first = true;
            continue;
        }
        part->effects.len = get_u32(at);
        part->effects.ptr = *at;
        *at += part->effects.len;
        return true;
    }
    return false;
}

static bool is_plain(struct slice word)
{
    for (size_t i = 0; i < word.len; i++)
        if (!isgraph((unsigned char)word.ptr[i])) return false;
    return word.len;
}

static void put_word(struct buf *out, struct slice word)
{
    buf_append_char(out, ' ');
    if (is_plain(word))
        buf_append(out, word.ptr, word.len);
    else
        buf_append_quoted(out, word);
}

char *twin_journal_text(const struct twin *t, int lines)
{
    struct buf out = {0};
    const char *at = t->journal.ptr;
    struct journal_part part;
    while (next_part(t, &at, &part)) {
        struct effect_reader r = {.left = part.effects};
        while (effect_next(&r)) {
            buf_printf(&out, "%s%u/%u:", part.is_first ? "" : "+", part.shard, r.db);
            for (int i = 0; i < r.argc; i++)
                put_word(&out, (struct slice){r.argv[i].ptr, MIN(r.argv[i].len, 64)});
            buf_append_char(&out, '\n');
        }
        effect_reader_free(&r);
    }
    buf_append_char(&out, '\0');
    char *from = out.ptr + out.len - 1;
    while (from > out.ptr && lines >= 0)
        if (*--from == '\n') lines--;
    char *text = mem_strdup(*from == '\n' ? from + 1 : from);
    buf_free(&out);
    return text;
}

// --- running -------------------------------------------------------------------------------------

static void note_effects(struct twin *t)
{
    for (uint32_t i = 0; i < t->shards; i++) t->engine->spaces[i]->effects = &t->effects[i];
}

// Takes what is ready to whoever waits, as shard/serve.c does where all shards meet.
static void serve_ready(struct twin *t, const struct ctx *ctx)
{
    struct interest *i;
    while ((i = interest_take_ready(ctx->space))) {
        i->is_held = true;
        for (struct wait_link *link = i->first, *next; link; link = next) {
            struct waiter *w = link->waiter;
            next = link->next;
            struct ctx c = ctx_of(t, &w->reply);
            c.space = ctx->space;
            const struct entry *e = ctx_peek_db(&c, i->db, interest_key(i));
            if (!(w->flags & BLOCK_UNTIL_GONE) && (!e || e->type != w->type)) continue;
            if (!waiter_claim(w, WAITER_CLAIMED)) continue;
            c.cmd = w->cmd;
            c.argv = w->argv;
            c.argc = w->argc;
            c.db = w->db;
            snapshot_touch_keys(&c);
            if (!engine_serve(&c, interest_key(i))) {
                cr_assert(waiter_unclaim(w));
                continue;
            }
            for (size_t p = 0; p < ARRAY_LEN(t->waiting); p++)
                if (t->waiting[p] == w) end_waiter(t, &t->waiting[p]);
        }
        i->is_held = false;
        interest_settle(i);
        end_unit(t);
    }
}

static void keep_waiter(struct twin *t, struct waiter *w)
{
    size_t place = random_below(&t->random, ARRAY_LEN(t->waiting));
    if (t->waiting[place]) end_waiter(t, &t->waiting[place]);
    t->waiting[place] = w;
}

static bool is_of_data(const struct command *c, int argc, const struct slice *argv)
{
    if (!c || !c->handler || !command_arity_fits(c, argc)) return false;
    if (slice_is(argv[0], "debug")) return slice_is(argv[1], "populate");
    if (slice_is(argv[0], "function")) return c->flags & CMD_WRITE;
    bool is_script = (c->acl & ACL_SCRIPTING) && command_has_keys(c); // EVAL, FCALL
    return (c->flags & (CMD_WRITE | CMD_READONLY)) || is_script;
}

static const struct command *find(const struct twin *t, int argc, const struct slice *argv)
{
    const struct command *c = command_find(t->engine->table, argv[0]);
    if (c && c->subcommands && argc > 1) c = command_find_sub(c, argv[1]);
    return is_of_data(c, argc, argv) ? c : NULL;
}

// The one shard on which all keys lie, or -1.
static int only_shard(const struct twin *t, const struct ctx *ctx)
{
    int positions[WORDS_MAX];
    int count = command_keys(ctx->cmd, ctx->argc, ctx->argv, positions, NULL, WORDS_MAX);
    enum command_span span = command_span_of(t->engine, ctx->cmd, ctx->argc, ctx->argv);
    if (count < 1 || count > WORDS_MAX || span == SPAN_MEET_ALL) return -1;
    uint32_t shard = engine_shard_of(t->engine, ctx->argv[positions[0]]);
    for (int i = 1; i < count; i++)
        if (engine_shard_of(t->engine, ctx->argv[positions[i]]) != shard) return -1;
    return (int)shard;
}

static void execute(struct twin *t, struct ctx *ctx)
{
    int shard = only_shard(t, ctx);
    if (shard >= 0 && random_below(&t->random, 2)) {
        ctx->space = t->engine->spaces[shard];
        ctx->spaces = &t->engine->spaces[shard];
        ctx->space_count = 1;
    }
    if (ctx->cmd->serve) ctx->flags |= CTX_MAY_BLOCK;
    // FLUSHALL and its kin run once where all meet if somebody tracks keys.
    bool is_whole = ctx->cmd->span == SPAN_ALL_OK && random_below(&t->random, 2);
    if (ctx->space_count > 1 && !command_has_keys(ctx->cmd) && !is_whole)
        call_run_keyless(ctx);
    else
        engine_execute(ctx, ctx->space->shard);
}

char *twin_run(struct twin *t, int argc, struct slice *argv)
{
    struct reply reply;
    size_t len;
    int64_t db;
    if (argc == 2 && slice_is(argv[0], "select")) {
        if (num_parse_i64(argv[1], &db) && db >= 0 && db < t->settings->databases)
            t->db = (uint32_t)db;
        return NULL;
    }
    const struct command *c = find(t, argc, argv);
    if (!c) return NULL;
    note_effects(t);
    reply_init(&reply, 2);
    struct ctx ctx = ctx_of(t, &reply);
    ctx.cmd = c;
    ctx.argv = argv;
    ctx.argc = argc;
    execute(t, &ctx);
    cr_assert_not(ctx.has_said_effect, "has_said_effect was left behind");
    if (ctx.waiter) keep_waiter(t, ctx.waiter);
    end_unit(t);
    for (uint32_t i = 0; i < t->shards; i++) {
        ctx.space = t->engine->spaces[i];
        serve_ready(t, &ctx);
    }
    t->commands++;
    char *text = reply_flatten(&reply, &len);
    reply_free(&reply);
    return text;
}

void twin_pass(struct twin *t, int64_t ms, bool has_cron)
{
    t->now_ms += ms;
    if (!has_cron) return;
    note_effects(t);
    for (uint32_t i = 0; i < t->shards; i++) {
        while (engine_cron(t->engine, i, t->settings, t->now_ms, 100)) end_unit(t);
        end_unit(t);
        struct reply reply;
        reply_init(&reply, 2);
        struct ctx ctx = ctx_of(t, &reply);
        ctx.space = t->engine->spaces[i];
        serve_ready(t, &ctx);
    }
}

// --- lines ---------------------------------------------------------------------------------------

static int hex_digit(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

static void unquote(struct buf *out, const char **at)
{
    static const char codes[] = "n\nr\rt\ta\ab\b";
    const char *p = *at + 1;
    for (; *p && *p != '"'; p++) {
        if (*p != '\\') {
            buf_append_char(out, *p);
        } else if (*++p == 'x') {
            buf_append_char(out, (char)(hex_digit(p[1]) << 4 | hex_digit(p[2])));
            p += 2;
        } else {
            const char *code = strchr(codes, *p);
            buf_append_char(out, code && (code - codes) % 2 == 0 ? code[1] : *p);
        }
    }
    *at = *p ? p + 1 : p;
}

// <now+10> <nowms-5> <rep:x:1000>
static bool put_macro(const struct twin *t, struct buf *out, const char **at)
{
    long long n;
    char c;
    int len = 0;
    if (sscanf(*at, "<now%lld>%n", &n, &len) == 1 && len)
        buf_printf(out, "%lld", (long long)t->now_ms / 1000 + n);
    else if (sscanf(*at, "<nowms%lld>%n", &n, &len) == 1 && len)
        buf_printf(out, "%lld", (long long)t->now_ms + n);
    else if (sscanf(*at, "<rep:%c:%lld>%n", &c, &n, &len) == 2 && len)
        while (n--) buf_append_char(out, c);
    else
        return false;
    *at += len;
    return true;
}

char *twin_run_line(struct twin *t, const char *line)
{
    struct buf bytes = {0};
    struct slice argv[WORDS_MAX];
    size_t ends[WORDS_MAX];
    int argc = 0;
    while (*line) {
        while (*line == ' ') line++;
        if (!*line || argc == WORDS_MAX) break;
        while (*line && *line != ' ') {
            if (*line == '"')
                unquote(&bytes, &line);
            else if (*line != '<' || !put_macro(t, &bytes, &line))
                buf_append_char(&bytes, *line++);
        }
        ends[argc++] = bytes.len;
    }
    for (int i = 0; i < argc; i++) {
        size_t from = i ? ends[i - 1] : 0;
        argv[i] = (struct slice){bytes.ptr ? bytes.ptr + from : "", ends[i] - from};
    }
    char *reply = argc ? twin_run(t, argc, argv) : NULL;
    buf_free(&bytes);
    return reply;
}

// --- replaying -----------------------------------------------------------------------------------

// What every shard has noted although it concerns all of them: once is enough where all meet.
static bool is_everywhere(const struct effect_reader *r)
{
    return slice_is(r->argv[0], "flushall") || slice_is(r->argv[0], "flushdb") ||
           slice_is(r->argv[0], "swapdb");
}

static void replay_part(struct twin *t, struct ctx *ctx, const struct journal_part *part,
                        bool is_own_log)
{
    struct effect_reader r = {.left = part->effects};
    while (effect_next(&r)) {
        if (!is_own_log && is_everywhere(&r) && !part->is_first) continue;
        cr_assert(effect_run(ctx, &r), "%.*s cannot be run again", SLICE_ARG(r.argv[0]));
        // In a journal of the same shards each effect's key is where the effect is.
        const struct command *c = ctx->cmd;
        int at = command_first_key(c, r.argc, r.argv);
        if (at && is_own_log)
            cr_assert_eq(engine_shard_of(t->engine, r.argv[at]), ctx->space->shard);
    }
    cr_assert_eq(r.left.len, 0);
    effect_reader_free(&r);
}

void twin_replay(const struct twin *t, struct twin *into, uint32_t shards, int64_t now_ms)
{
    struct reply reply;
    struct journal_part part;
    const char *at = t->journal.ptr;
    twin_init(into, shards, now_ms);
    into->settings->proto_max_bulk_len = 1; // what was allowed once is not refused
    reply_init(&reply, 2);
    while (next_part(t, &at, &part)) {
        struct ctx ctx = ctx_of(into, &reply);
        bool is_own_log = shards == t->shards;
        if (is_own_log) {
            ctx.spaces = &into->engine->spaces[part.shard];
            ctx.space = into->engine->spaces[part.shard];
            ctx.space_count = 1;
        }
        replay_part(into, &ctx, &part, is_own_log);
    }
    reply_free(&reply);
}

// --- comparing -----------------------------------------------------------------------------------

#define ID(id) (unsigned long long)(id).ms, (unsigned long long)(id).seq
#define ID_FMT "%llu-%llu"

static void describe_group(struct buf *out, const struct stream_group *g)
{
    buf_printf(out, " group ");
    buf_append_quoted(out, g->name);
    buf_printf(out, " last " ID_FMT " read %lld:", ID(g->last_id), (long long)g->entries_read);
    for (uint32_t i = 0; i < g->consumers.count; i++) {
        const struct stream_consumer *c = stream_consumer_at(g, i);
        buf_printf(out, " consumer ");
        buf_append_quoted(out, c->name);
        for (struct idtree_cursor at = idtree_first(&c->pending); at.leaf; idtree_next(&at)) {
            const struct stream_nack *n = stream_nack_at(&at);
            buf_printf(out, " " ID_FMT "(%llu at %lld)", ID(idtree_id(&at)),
                       (unsigned long long)n->count, (long long)n->delivered_ms);
        }
    }
}

static void describe_stream(struct buf *out, const struct stream *s)
{
    buf_printf(out, " len %llu added %llu first " ID_FMT " last " ID_FMT " deleted " ID_FMT,
               (unsigned long long)s->len, (unsigned long long)s->entries_added, ID(s->first_id),
               ID(s->last_id), ID(s->max_deleted_id));
    for (uint32_t i = 0; i < s->groups.count; i++) describe_group(out, stream_group_at(s, i));
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void describe_hash(struct buf *out, struct value v)
{
    struct hash_iter it;
    struct item field, value;
    int64_t at_ms;
    char *lines[512], scratch[NUM_I64_TEXT];
    size_t n = 0;
    hash_iter_init(&it, v, HASH_NEVER_DUE);
    while (n < ARRAY_LEN(lines) && hash_iter_next(&it, &field, &value, &at_ms)) {
        struct buf line = {0};
        buf_append_quoted(&line, item_slice(&field, scratch));
        buf_append_char(&line, '=');
        buf_append_quoted(&line, item_slice(&value, scratch));
        buf_printf(&line, "@%lld", (long long)at_ms);
        buf_append_char(&line, '\0');
        lines[n++] = line.ptr;
    }
    qsort(lines, n, sizeof lines[0], compare_texts);
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, " %s", lines[i]);
        mem_free(lines[i]);
    }
}

// All that can be seen of an entry but when it was used.
static void describe(struct buf *out, const struct entry *e, bool has_encoding)
{
    char text[DIGEST_TEXT];
    struct digest d = {0};
    digest_add_value(&d, e);
    digest_format(&d, text);
    buf_append_quoted(out, entry_key(e));
    const char *encoding = has_encoding ? object_encoding_name(entry_encoding(e)) : "";
    buf_printf(out, " %s %s at %lld %.10s", object_type_name(e->type), encoding,
               (long long)entry_expire_at(e), text);
    if (e->type == TYPE_STREAM) describe_stream(out, stream_of(e->value));
    if (e->type == TYPE_HASH) describe_hash(out, e->value);
    if (e->type == TYPE_STRING) {
        char scratch[NUM_I64_TEXT];
        struct slice s = entry_string(e, scratch);
        buf_append_char(out, ' ');
        buf_append_quoted(out, (struct slice){s.ptr, MIN(s.len, 40)});
    }
    buf_append_char(out, '\0');
}

static const struct entry *find_entry(const struct twin *t, uint32_t db, struct slice key)
{
    const struct keyspace *ks = t->engine->spaces[engine_shard_of(t->engine, key)];
    return db_find(&ks->dbs[db], key, hash_bytes(key));
}

static void compare_entry(struct buf *out, uint32_t db, const struct entry *a,
                          const struct entry *b, bool has_encoding)
{
    struct buf of_a = {0}, of_b = {0};
    // INCRBYFLOAT's "3" is no integer, what is SET is. A field that went at once was not set again.
    has_encoding &= a->type != TYPE_STRING && a->type != TYPE_HASH;
    describe(&of_a, a, has_encoding);
    if (b)
        describe(&of_b, b, has_encoding);
    else
        buf_append(&of_b, "nothing", sizeof "nothing");
    if (strcmp(of_a.ptr, of_b.ptr) != 0)
        buf_printf(out, "db %u\n   has %s\n  twin %s\n", db, of_a.ptr, of_b.ptr);
    buf_free(&of_a);
    buf_free(&of_b);
}

static uint64_t count_keys(const struct twin *t, uint32_t db)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < t->shards; i++) n += t->engine->spaces[i]->dbs[db].keys.count;
    return n;
}

static char *functions_of(const struct twin *t)
{
    struct twin copy = *t;
    struct reply reply;
    struct slice argv[] = {SLICE("function"), SLICE("list"), SLICE("withcode")};
    size_t len;
    reply_init(&reply, 2);
    struct ctx ctx = ctx_of(&copy, &reply);
    ctx.cmd = command_find_full(t->engine->table, SLICE("function|list"));
    ctx.argv = argv;
    ctx.argc = ARRAY_LEN(argv);
    ctx.cmd->handler(&ctx);
    char *text = reply_flatten(&reply, &len);
    reply_free(&reply);
    return text;
}

char *twin_difference(const struct twin *a, const struct twin *b)
{
    struct buf out = {0};
    for (uint32_t db = 0; db < (uint32_t)a->settings->databases; db++) {
        for (uint32_t i = 0; i < a->shards; i++) {
            const struct dict *keys = &a->engine->spaces[i]->dbs[db].keys;
            uint64_t bucket = 0;
            uint32_t at = 0;
            const struct entry *e;
            while ((e = dict_next(keys, &bucket, &at)))
                // What went from shard to shard as a value has got the smallest encoding again.
                compare_entry(&out, db, e, find_entry(b, db, entry_key(e)), a->shards == 1);
        }
        if (count_keys(a, db) != count_keys(b, db))
            buf_printf(&out, "db %u has %llu keys, its twin %llu\n", db,
                       (unsigned long long)count_keys(a, db),
                       (unsigned long long)count_keys(b, db));
    }
    char *of_a = functions_of(a), *of_b = functions_of(b);
    if (strcmp(of_a, of_b) != 0) buf_printf(&out, "functions\n   has %s\n  twin %s\n", of_a, of_b);
    mem_free(of_a);
    mem_free(of_b);
    buf_append_char(&out, '\0');
    return out.ptr;
}

void twin_check(const struct twin *t, const char *what)
{
    uint32_t counts[] = {t->shards, t->shards == 1 ? 3 : 1, 5};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct twin other;
        twin_replay(t, &other, counts[i], t->now_ms + (i ? HOUR_MS : -HOUR_MS));
        char *difference = twin_difference(t, &other);
        char *journal = *difference ? twin_journal_text(t, 40) : NULL;
        cr_assert(!*difference, "%s, %u shards into %u\n%s%s", what, t->shards, counts[i],
                  difference, journal);
        mem_free(difference);
        twin_free(&other);
    }
}
