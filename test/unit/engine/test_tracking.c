// SPDX-License-Identifier: BSD-3-Clause
//
// Client-side caching without connections: which keys are remembered for whom, what a change tells
// and when, on one shard and over several. The host of these tests writes down what it is told.
#include "engine/tracking.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "commands/families.h"
#include "engine/host.h"
#include "engine/settings.h"

#define NOW    INT64_C(1700000000000)
#define SHARDS 3

struct desk {
    struct settings *settings;
    struct host host;
    struct engine *engine;
    struct session reader, writer;
    struct reply reply;
    struct slice argv[16];
    struct ctx ctx;
    struct buf told; // as text: see note_told
};

static void put_trackers(struct buf *to, const struct trackers *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        buf_printf(to, " %llu@%u", (unsigned long long)TRACKER_ID(t->list[i]),
                   TRACKER_HOME(t->list[i]));
}

// "by 2: k 1@0; evicted j 1@0; all; [a b] 1@0;"
static void note_told(struct ctx *ctx, struct invalidation *inv)
{
    struct desk *d = ctx->engine->host->owner;
    buf_printf(&d->told, "by %llu:", (unsigned long long)inv->cause);
    for (const struct tracked_key *k = inv->keys; k; k = k->next) {
        if (k->fate == KEYS_FLUSHED) buf_append_text(&d->told, " all");
        if (k->fate == KEY_EVICTED) buf_append_text(&d->told, " evicted");
        if (k->fate != KEYS_FLUSHED) buf_printf(&d->told, " %.*s", (int)k->len, k->bytes);
        put_trackers(&d->told, &k->trackers);
        buf_append_char(&d->told, ';');
    }
    for (uint32_t i = 0; i < inv->broadcast_count; i++) {
        const struct broadcast *b = &inv->broadcasts[i];
        for (size_t k = 0; k < b->key_count; k++)
            buf_printf(&d->told, "%s%.*s", k ? " " : " [", SLICE_ARG(b->keys[k]));
        buf_append_char(&d->told, ']');
        put_trackers(&d->told, &b->trackers);
        buf_append_char(&d->told, ';');
    }
    invalidation_free(inv);
}

static void desk_init(struct desk *d, uint32_t shards)
{
    *d = (struct desk){.settings = settings_default()};
    d->host = (struct host){.owner = d, .invalidate = note_told};
    d->engine = engine_new(commands_all, d->settings, shards, &d->host);
    session_init(&d->reader, 1);
    session_init(&d->writer, 2);
    reply_init(&d->reply, 3);
    d->ctx = (struct ctx){.engine = d->engine,
                          .settings = d->settings,
                          .reply = &d->reply,
                          .now_ms = NOW,
                          .argv = d->argv,
                          .spaces = d->engine->spaces,
                          .space_count = shards,
                          .space = d->engine->spaces[0],
                          .session = &d->writer};
}

static void desk_free(struct desk *d)
{
    for (uint32_t i = 0; i < d->engine->shard_count; i++) tracking_validate(d->engine->tracking[i]);
    session_free(&d->reader);
    session_free(&d->writer);
    engine_free(d->engine);
    settings_free(d->settings);
    reply_free(&d->reply);
    buf_free(&d->told);
}

static void track(struct desk *d, struct session *s, uint32_t flags)
{
    if (!s->tracking) atomic_fetch_add(&d->engine->trackers, 1);
    s->tracking = TRACKING_ON | flags;
}

static struct tracking *table(struct desk *d, uint32_t shard)
{
    return d->engine->tracking[shard];
}

// Runs "word word …" as this session would, as far as tracking is concerned.
static void run(struct desk *d, struct session *s, char *line)
{
    d->ctx.session = s;
    d->ctx.argc = 0;
    for (char *word = strtok_r(line, " ", &line); word; word = strtok_r(NULL, " ", &line))
        d->argv[d->ctx.argc++] = slice_of(word);
    d->ctx.cmd = command_find(d->engine->table, d->argv[0]);
    cr_assert_not_null(d->ctx.cmd);
    tracking_remember(&d->ctx);
    for (uint32_t i = 0; i < d->engine->shard_count; i++) tracking_validate(table(d, i));
}

#define RUN(d, s, text)                                                                            \
    do {                                                                                           \
        char line_[] = text;                                                                       \
        run((d), (s), line_);                                                                      \
    } while (0)

static void change(struct desk *d, struct session *s, const char *key)
{
    d->ctx.session = s;
    tracking_key_changed(&d->ctx, slice_of(key));
}

// What was told since the last time.
static void expect_told(struct desk *d, const char *text)
{
    tracking_unit_end(&d->ctx);
    buf_append_char(&d->told, '\0');
    cr_assert_str_eq(d->told.ptr, text);
    d->told.len = 0;
}

Test(tracking, a_key_that_was_read_is_told_once_and_forgotten)
{
    struct desk d;
    desk_init(&d, 1);
    track(&d, &d.reader, 0);
    RUN(&d, &d.reader, "GET k");
    RUN(&d, &d.reader, "GET k");
    cr_assert_eq(stat_get(&table(&d, 0)->item_count), 1);
    change(&d, &d.writer, "other");
    expect_told(&d, "");
    change(&d, &d.writer, "k");
    change(&d, &d.writer, "k");
    expect_told(&d, "by 2: k 1@0;");
    change(&d, &d.writer, "k");
    expect_told(&d, "");
    desk_free(&d);
}

Test(tracking, keys_are_told_in_the_order_of_their_changes)
{
    struct desk d;
    desk_init(&d, 1);
    track(&d, &d.reader, 0);
    RUN(&d, &d.reader, "MGET a b c");
    change(&d, &d.writer, "c");
    change(&d, &d.writer, "a");
    d.ctx.session = &d.writer;
    tracking_flushed(&d.ctx, 0);
    RUN(&d, &d.reader, "GET b");
    change(&d, &d.writer, "b");
    expect_told(&d, "by 2: c 1@0; a 1@0; all; b 1@0;");
    desk_free(&d);
}

Test(tracking, only_reading_commands_are_remembered)
{
    struct desk d;
    desk_init(&d, 1);
    track(&d, &d.reader, 0);
    RUN(&d, &d.reader, "SET k v");
    RUN(&d, &d.reader, "KEYS *");
    RUN(&d, &d.reader, "PUBLISH k v");
    if (command_find(d.engine->table, SLICE("eval_ro"))) RUN(&d, &d.reader, "EVAL_RO x 1 k");
    RUN(&d, &d.writer, "GET k");
    cr_assert_eq(stat_get(&table(&d, 0)->key_count), 0);
    RUN(&d, &d.reader, "SINTERCARD 2 s t");
    cr_assert_eq(stat_get(&table(&d, 0)->key_count), 2);
    desk_free(&d);
}

Test(tracking, optin_wants_caching_and_optout_does_not)
{
    struct desk d;
    desk_init(&d, 1);
    track(&d, &d.reader, TRACKING_OPTIN);
    RUN(&d, &d.reader, "GET k");
    cr_assert_eq(stat_get(&table(&d, 0)->key_count), 0);
    d.ctx.flags = CTX_CACHING;
    RUN(&d, &d.reader, "GET k");
    cr_assert_eq(stat_get(&table(&d, 0)->key_count), 1);
    track(&d, &d.reader, TRACKING_OPTOUT);
    RUN(&d, &d.reader, "GET l");
    cr_assert_eq(stat_get(&table(&d, 0)->key_count), 1);
    d.ctx.flags = 0;
    RUN(&d, &d.reader, "GET l");
    cr_assert_eq(stat_get(&table(&d, 0)->key_count), 2);
    desk_free(&d);
}

Test(tracking, caching_holds_for_one_command_that_is_not_client)
{
    struct desk d;
    desk_init(&d, 1);
    const struct command *get = command_find(d.engine->table, SLICE("get"));
    const struct command *multi = command_find(d.engine->table, SLICE("multi"));
    const struct command *id = command_find_full(d.engine->table, SLICE("client|id"));
    track(&d, &d.reader, TRACKING_OPTIN | TRACKING_CACHING);
    cr_assert_eq(tracking_take_caching(&d.reader, id), 0);
    if (multi) cr_assert_eq(tracking_take_caching(&d.reader, multi), 0);
    cr_assert_eq(tracking_take_caching(&d.reader, get), CTX_CACHING);
    cr_assert_eq(tracking_take_caching(&d.reader, get), 0);
    d.reader.tracking |= TRACKING_CACHING;
    tracking_take_caching(&d.reader, NULL); // an unknown command uses it up
    cr_assert_eq(tracking_take_caching(&d.reader, get), 0);
    d.reader.tracking |= TRACKING_CACHING_EXEC; // what was said inside ends with the transaction
    RUN(&d, &d.reader, "GET k");
    cr_assert_eq(stat_get(&table(&d, 0)->key_count), 1);
    cr_assert_eq(tracking_take_caching(&d.reader, get), 0);
    cr_assert_eq(d.reader.tracking, TRACKING_ON | TRACKING_OPTIN);
    desk_free(&d);
}

Test(tracking, changes_of_two_sessions_in_one_unit_have_no_cause)
{
    struct desk d;
    desk_init(&d, 1);
    track(&d, &d.reader, TRACKING_NOLOOP);
    RUN(&d, &d.reader, "MGET a b");
    change(&d, &d.reader, "a");
    change(&d, &d.writer, "b");
    expect_told(&d, "by 0: a 1@0; b 1@0;");
    RUN(&d, &d.reader, "GET a");
    change(&d, &d.reader, "a");
    expect_told(&d, "by 1: a 1@0;");
    desk_free(&d);
}

Test(tracking, prefixes_are_told_in_one_sorted_message_each)
{
    struct desk d;
    desk_init(&d, 1);
    track(&d, &d.reader, TRACKING_BCAST);
    tracking_add_prefix(table(&d, 0), SLICE("q"), TRACKER(1, 0));
    tracking_add_prefix(table(&d, 0), SLICE("p:"), TRACKER(1, 0));
    tracking_add_prefix(table(&d, 0), SLICE("p:"), TRACKER(9, 2));
    tracking_add_prefix(table(&d, 0), SLICE("p:"), TRACKER(9, 2));
    RUN(&d, &d.reader, "GET p:1"); // with BCAST nothing is remembered
    cr_assert_eq(stat_get(&table(&d, 0)->key_count), 0);
    const char *const keys[] = {"p:2", "p:1", "q", "p:", "z", "p:1", "p"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) change(&d, &d.writer, keys[i]);
    expect_told(&d, "by 2: [p: p:1 p:2] 1@0 9@2; [q] 1@0;");
    tracking_drop_prefixes(table(&d, 0), 1);
    tracking_validate(table(&d, 0));
    cr_assert_eq(stat_get(&table(&d, 0)->published_prefixes), 1);
    change(&d, &d.writer, "q");
    change(&d, &d.writer, "p:1");
    expect_told(&d, "by 2: [p:1] 9@2;");
    tracking_drop_prefixes(table(&d, 0), 9);
    change(&d, &d.writer, "p:1");
    expect_told(&d, "");
    desk_free(&d);
}

Test(tracking, the_empty_prefix_is_every_key)
{
    struct desk d;
    desk_init(&d, 1);
    track(&d, &d.reader, TRACKING_BCAST);
    tracking_add_prefix(table(&d, 0), SLICE("b"), TRACKER(1, 0));
    tracking_add_prefix(table(&d, 0), SLICE(""), TRACKER(1, 0));
    change(&d, &d.writer, "b");
    change(&d, &d.writer, "a");
    change(&d, &d.writer, "");
    expect_told(&d, "by 2: [ a b] 1@0; [b] 1@0;");
    desk_free(&d);
}

Test(tracking, keys_stand_in_the_table_of_their_own_shard)
{
    struct desk d;
    char key[8];
    desk_init(&d, SHARDS);
    track(&d, &d.reader, 0);
    for (int i = 0; i < 8; i++) {
        snprintf(key, sizeof key, "k%d", i);
        char line[16];
        snprintf(line, sizeof line, "GET %s", key);
        run(&d, &d.reader, line);
        cr_assert_gt(table(&d, engine_shard_of(d.engine, slice_of(key)))->keys.count, 0);
    }
    for (uint32_t i = 0; i < SHARDS; i++) cr_assert_gt(table(&d, i)->keys.count, 0);
    change(&d, &d.writer, "k3");
    change(&d, &d.writer, "k1");
    expect_told(&d, "by 2: k3 1@0; k1 1@0;");
    // One shard alone remembers, and tells of, its own keys only.
    d.ctx.space_count = 1;
    d.ctx.space = d.engine->spaces[engine_shard_of(d.engine, SLICE("k1"))];
    d.ctx.spaces = &d.ctx.space;
    uint64_t before = stat_get(&table(&d, d.ctx.space->shard)->key_count);
    RUN(&d, &d.reader, "MGET k1 k2 k3 k4 k5 k6 k7");
    cr_assert_eq(stat_get(&table(&d, d.ctx.space->shard)->key_count), before + 1);
    desk_free(&d);
}

Test(tracking, parts_that_one_thread_runs_are_told_together)
{
    struct desk d;
    desk_init(&d, SHARDS);
    track(&d, &d.reader, TRACKING_BCAST);
    for (uint32_t i = 0; i < SHARDS; i++)
        tracking_add_prefix(table(&d, i), SLICE("k"), TRACKER(1, 0));
    struct ctx whole = d.ctx;
    for (uint32_t i = 0; i < SHARDS; i++) {
        d.ctx.space_count = 1;
        d.ctx.space = d.engine->spaces[i];
        d.ctx.spaces = &d.engine->spaces[i];
        change(&d, &d.writer, i == 1 ? "k1" : "k0");
    }
    d.ctx = whole;
    expect_told(&d, "by 2: [k0 k1] 1@0;");
    desk_free(&d);
}

Test(tracking, a_part_of_a_split_command_remembers_its_arguments)
{
    struct desk d;
    desk_init(&d, 1);
    track(&d, &d.reader, 0);
    d.ctx.flags = CTX_IS_PART;
    RUN(&d, &d.reader, "MGET a b");
    RUN(&d, &d.reader, "DBSIZE");
    cr_assert_eq(stat_get(&table(&d, 0)->key_count), 2);
    desk_free(&d);
}

Test(tracking, a_connection_that_moved_is_told_at_its_new_home)
{
    struct desk d;
    desk_init(&d, 1);
    track(&d, &d.reader, 0);
    RUN(&d, &d.reader, "GET k");
    d.reader.home = 2;
    RUN(&d, &d.reader, "GET k");
    change(&d, &d.writer, "k");
    expect_told(&d, "by 2: k 1@2;");
    desk_free(&d);
}

Test(tracking, a_full_table_evicts_and_tells_even_who_reads)
{
    struct desk d;
    desk_init(&d, 1);
    d.settings->tracking_table_max_keys = 1;
    track(&d, &d.reader, TRACKING_NOLOOP);
    RUN(&d, &d.reader, "GET k");
    expect_told(&d, "");
    RUN(&d, &d.reader, "MGET k l m");
    cr_assert_eq(stat_get(&table(&d, 0)->key_count), 1);
    tracking_unit_end(&d.ctx);
    buf_append_char(&d.told, '\0');
    const char *first = strstr(d.told.ptr, "evicted");
    cr_assert_not_null(first);
    cr_assert_not_null(strstr(first + 1, "evicted"));
    d.settings->tracking_table_max_keys = 0; // no limit
    RUN(&d, &d.reader, "MGET k l m n");
    cr_assert_eq(stat_get(&table(&d, 0)->key_count), 4);
    desk_free(&d);
}

Test(tracking, many_readers_of_one_key_are_all_told)
{
    enum { MANY = 300 };
    struct desk d;
    desk_init(&d, 1);
    track(&d, &d.reader, 0);
    for (uint64_t i = 0; i < MANY; i++) {
        d.reader.id = 1 + i * 7919 % MANY; // in no order
        RUN(&d, &d.reader, "GET k");
    }
    cr_assert_eq(stat_get(&table(&d, 0)->item_count), MANY);
    change(&d, &d.writer, "k");
    cr_assert_eq(stat_get(&table(&d, 0)->item_count), 0);
    tracking_unit_end(&d.ctx);
    buf_append_char(&d.told, '\0');
    cr_assert_not_null(strstr(d.told.ptr, "by 2: k 1@0 2@0 3@0"));
    cr_assert_not_null(strstr(d.told.ptr, " 300@0;"));
    desk_free(&d);
}

Test(tracking, what_nobody_tracks_any_more_is_freed_in_slices)
{
    struct desk d;
    char line[32];
    desk_init(&d, 1);
    track(&d, &d.reader, 0);
    for (int i = 0; i < 2000; i++) {
        snprintf(line, sizeof line, "GET key:%d", i);
        run(&d, &d.reader, line);
        if (i % 100) continue;
        cr_assert_not(tracking_cron(d.engine, 0));
    }
    cr_assert_not(tracking_stop(d.engine, &d.reader));
    cr_assert_eq(d.reader.tracking, 0);
    cr_assert_not(tracking_is_used(d.engine));
    int turns = 1;
    while (tracking_cron(d.engine, 0)) turns++;
    cr_assert_gt(turns, 1);
    cr_assert_eq(stat_get(&table(&d, 0)->key_count), 0);
    cr_assert_eq(table(&d, 0)->garbage.count, 0);
    desk_free(&d);
}

Test(tracking, a_flush_is_a_meeting_only_while_somebody_tracks)
{
    struct desk d;
    desk_init(&d, SHARDS);
    const struct command *flush = command_find(d.engine->table, SLICE("flushall"));
    cr_assert_eq(command_span_of(d.engine, flush, 1, d.argv), SPAN_ALL_OK);
    track(&d, &d.reader, 0);
    cr_assert_eq(command_span_of(d.engine, flush, 1, d.argv), SPAN_MEET_ALL);
    RUN(&d, &d.reader, "MGET k1 k2 k3 k4 k5");
    tracking_flushed(&d.ctx, -1);
    for (uint32_t i = 0; i < SHARDS; i++) cr_assert_eq(table(&d, i)->keys.count, 0);
    expect_told(&d, "by 1: all;");
    desk_free(&d);
}
