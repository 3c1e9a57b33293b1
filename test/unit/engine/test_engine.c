// SPDX-License-Identifier: BSD-3-Clause
//
// The engine without a server: which shard a key has, what may run, what is refused and why, what
// is counted, and the housekeeping of one keyspace.
#include "engine/engine.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "commands/families.h"
#include "engine/host.h"
#include "engine/settings.h"

#define NOW INT64_C(1700000000000)

// --- a command of its own ------------------------------------------------------------------------

static void answer(struct ctx *ctx)
{
    reply_ok(ctx->reply);
}

static void fail(struct ctx *ctx)
{
    reply_error(ctx->reply, "OOPS it failed");
}

static void dawdle(struct ctx *ctx)
{
    int64_t end = clock_mono_us() + 2000;
    while (clock_mono_us() < end)
        ;
    reply_ok(ctx->reply);
}

// clang-format off
static const struct command commands_test[] = {
    {.name = "answer", .handler = answer, .arity = 1, .flags = CMD_FAST, .group = "test"},
    {.name = "fail", .handler = fail, .arity = -1, .group = "test"},
    {.name = "dawdle", .handler = dawdle, .arity = 1, .group = "test"},
    {.name = "discreet", .handler = dawdle, .arity = 1, .flags = CMD_SKIP_SLOWLOG, .group = "test"},
    {0},
};
// clang-format on

struct bench {
    struct settings *settings;
    struct host host;
    struct engine *engine;
    struct session session;
    struct reply reply;
    struct slice argv[4];
    struct ctx ctx;
};

static void bench_init(struct bench *b, uint32_t shard_count)
{
    const struct command *families[] = {commands_test,   commands_string, commands_keys,
                                        commands_client, commands_debug,  NULL};
    *b = (struct bench){.settings = settings_default()};
    clock_calibrate();
    b->settings->slowlog_log_slower_than = -1;
    b->engine = engine_new(families, b->settings, shard_count, &b->host);
    session_init(&b->session, 1);
    b->session.is_authenticated = true;
    reply_init(&b->reply, 2);
    b->ctx = (struct ctx){.engine = b->engine,
                          .settings = b->settings,
                          .session = &b->session,
                          .reply = &b->reply,
                          .now_ms = NOW,
                          .argv = b->argv,
                          .spaces = b->engine->spaces,
                          .space_count = 1,
                          .space = b->engine->spaces[0]};
}

static void bench_free(struct bench *b)
{
    reply_free(&b->reply);
    session_free(&b->session);
    engine_free(b->engine);
    settings_free(b->settings);
}

// Admits and runs up to three words, or refuses them; the reply stays in b->reply.
static bool run(struct bench *b, const char *name, const char *first, const char *second)
{
    struct ctx *ctx = &b->ctx;
    reply_clear(&b->reply);
    b->argv[0] = slice_of(name);
    ctx->argc = 1;
    if (first) b->argv[ctx->argc++] = slice_of(first);
    if (second) b->argv[ctx->argc++] = slice_of(second);
    ctx->cmd = engine_admit(b->engine, &b->session, ctx->settings, ctx->argc, b->argv);
    if (ctx->cmd)
        engine_execute(ctx, 0);
    else
        engine_refuse(ctx, 0);
    return ctx->cmd != NULL;
}

static void expect(struct bench *b, const char *want)
{
    size_t len;
    char *got = reply_flatten(&b->reply, &len);
    cr_assert_str_eq(got, want);
    mem_free(got);
}

static struct command_stats *stats_of(struct bench *b, const char *name)
{
    return &b->engine->stats[0]->commands[command_find(b->engine->table, slice_of(name))->id];
}

// --- shards --------------------------------------------------------------------------------------

Test(engine, slots_are_spread_in_order_and_tags_keep_keys_together)
{
    struct bench b;
    bench_init(&b, 3);
    uint32_t seen[3] = {0};
    for (int i = 0; i < 3000; i++) {
        char key[16];
        int len = snprintf(key, sizeof key, "key:%d", i);
        struct slice s = {key, (size_t)len};
        uint32_t shard = engine_shard_of(b.engine, s);
        cr_assert_eq(shard, hash_slot(s) * 3 / HASH_SLOTS);
        seen[shard]++;
    }
    for (int i = 0; i < 3; i++) cr_assert(seen[i] > 800 && seen[i] < 1200, "%u", seen[i]);
    uint32_t home = engine_shard_of(b.engine, SLICE("{user:7}:name"));
    cr_assert_eq(engine_shard_of(b.engine, SLICE("{user:7}:age")), home);
    cr_assert_eq(engine_shard_of(b.engine, SLICE("user:7")), home);
    bench_free(&b);
}

Test(engine, every_shard_has_a_keyspace_and_statistics_of_its_own)
{
    struct bench b;
    bench_init(&b, 3);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(b.engine->spaces[i]->shard, i);
        cr_assert_eq(b.engine->spaces[i]->db_count, b.settings->databases);
        cr_assert_eq(b.engine->stats[i]->command_count, command_count(b.engine->table));
    }
    cr_assert_eq(strlen(b.engine->run_id), 40);
    bench_free(&b);
}

// --- admission -----------------------------------------------------------------------------------

Test(engine, what_does_not_exist_or_fit_is_refused_as_redis_does)
{
    struct bench b;
    bench_init(&b, 1);
    cr_assert(!run(&b, "nosuch", "a", "b"));
    expect(&b, "-ERR unknown command 'nosuch', with args beginning with: 'a' 'b' \r\n");
    cr_assert(!run(&b, "GET", NULL, NULL));
    expect(&b, "-ERR wrong number of arguments for 'get' command\r\n");
    cr_assert(!run(&b, "get", "a", "b"));
    cr_assert(!run(&b, "client", "nosuch", NULL));
    expect(&b, "-ERR unknown subcommand 'nosuch'. Try CLIENT HELP.\r\n");
    cr_assert(!run(&b, "client", "getname", "x"));
    expect(&b, "-ERR wrong number of arguments for 'client|getname' command\r\n");
    cr_assert(run(&b, "CliENT", "getNAME", NULL));
    cr_assert_eq(stat_get(&stats_of(&b, "get")->rejected), 2);
    cr_assert_eq(stat_get(&stats_of(&b, "get")->calls), 0);
    cr_assert_eq(stat_get(&b.engine->stats[0]->total_errors), 5);
    bench_free(&b);
}

Test(engine, an_unknown_commands_arguments_are_shown_up_to_a_bound)
{
    struct bench b;
    char longest[301], want[400];
    memset(longest, 'x', 300);
    longest[300] = '\0';
    bench_init(&b, 1);
    cr_assert(!run(&b, longest, longest, "never"));
    snprintf(want, sizeof want,
             "-ERR unknown command '%.128s', with args beginning with: '%.128s' \r\n", longest,
             longest);
    expect(&b, want);
    bench_free(&b);
}

Test(engine, who_is_not_authenticated_may_do_little)
{
    struct bench b;
    bench_init(&b, 1);
    b.session.is_authenticated = false;
    cr_assert(!run(&b, "get", "k", NULL));
    expect(&b, "-NOAUTH Authentication required.\r\n");
    cr_assert(!run(&b, "nosuch", NULL, NULL));
    expect(&b, "-ERR unknown command 'nosuch', with args beginning with: \r\n");
    cr_assert(!run(&b, "debug", "sleep", "0")); // asked for before the password
    cr_assert_str_eq(b.reply.error_code, "ERR");
    cr_assert_eq(stat_get(&stats_of(&b, "get")->rejected), 1);
    bench_free(&b);
}

Test(engine, without_memory_only_what_may_need_more_is_refused)
{
    struct bench b;
    bench_init(&b, 1);
    cr_assert(run(&b, "set", "k", "v"));
    b.settings->maxmemory = 1;
    cr_assert(!run(&b, "set", "k", "v"));
    expect(&b, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    cr_assert(run(&b, "get", "k", NULL) && run(&b, "del", "k", NULL));
    b.settings->maxmemory = UINT64_C(1) << 50;
    cr_assert(run(&b, "set", "k", "v"));
    bench_free(&b);
}

static void expect_refused(struct bench *b, const char *want)
{
    reply_clear(&b->reply);
    engine_refuse(&b->ctx, 0);
    expect(b, want);
}

Test(engine, a_reason_that_is_over_by_the_time_of_the_reply_does_not_leave_a_command_unanswered)
{
    struct bench b;
    bench_init(&b, 1);
    b.argv[0] = SLICE("set"), b.argv[1] = SLICE("k"), b.argv[2] = SLICE("v");
    b.ctx.argc = 3;
    atomic_store(&b.engine->loaded_ms, b.ctx.now_ms - 10);
    expect_refused(&b, "-LOADING Redis is loading the dataset in memory\r\n");
    atomic_store(&b.engine->loaded_ms, b.ctx.now_ms - 10000);
    expect_refused(&b, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    atomic_store(&b.engine->log_errno, ENOSPC);
    expect_refused(&b, "-MISCONF Errors writing to the AOF file: No space left on device\r\n");
    b.settings->maxmemory = UINT64_C(1) << 50;
    expect_refused(&b, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    bench_free(&b);
}

Test(engine, http_is_cut_off)
{
    struct bench b;
    bench_init(&b, 1);
    cr_assert(!run(&b, "POST", "/", "HTTP/1.1"));
    expect(&b, "");
    cr_assert(b.session.is_cut_off && b.session.is_closing);
    b.session.is_cut_off = b.session.is_closing = false;
    cr_assert(!run(&b, "Host:", "example.org", NULL));
    cr_assert(b.session.is_cut_off);
    bench_free(&b);
}

// --- execution -----------------------------------------------------------------------------------

Test(engine, commands_are_counted_with_their_time_and_their_errors)
{
    struct bench b;
    bench_init(&b, 1);
    run(&b, "answer", NULL, NULL);
    run(&b, "answer", NULL, NULL);
    run(&b, "fail", NULL, NULL);
    run(&b, "dawdle", NULL, NULL);
    cr_assert_eq(stat_get(&stats_of(&b, "answer")->calls), 2);
    cr_assert_eq(stat_get(&stats_of(&b, "answer")->failed), 0);
    cr_assert_eq(stat_get(&stats_of(&b, "fail")->calls), 1);
    cr_assert_eq(stat_get(&stats_of(&b, "fail")->failed), 1);
    cr_assert_eq(stat_get(&b.engine->stats[0]->total_commands), 4);
    cr_assert_eq(stat_get(&b.engine->stats[0]->total_errors), 1);
    cr_assert_str_eq(b.engine->stats[0]->errors[0].code, "OOPS");
    double us = (double)stat_get(&stats_of(&b, "dawdle")->ticks) / clock_ticks_per_us();
    cr_assert(us > 1500 && us < 1e6, "%g us", us);
    uint64_t counts[STATS_HISTOGRAM_BUCKETS] = {0};
    cr_assert_eq(stats_histogram_add(stats_of(&b, "answer"), counts), 2);
    bench_free(&b);
}

Test(engine, a_part_is_not_counted)
{
    struct bench b;
    bench_init(&b, 1);
    b.ctx.flags = CTX_IS_PART;
    run(&b, "fail", NULL, NULL);
    cr_assert_eq(stat_get(&stats_of(&b, "fail")->calls), 0);
    cr_assert_eq(stat_get(&b.engine->stats[0]->total_errors), 0);
    bench_free(&b);
}

Test(engine, what_takes_long_is_noted_once_and_where_it_is_wanted)
{
    struct bench b;
    bench_init(&b, 1);
    struct settings *slow = settings_copy(b.settings);
    slow->slowlog_log_slower_than = 1000;
    slow->latency_monitor_threshold = 1;
    run(&b, "dawdle", NULL, NULL); // under the old settings
    cr_assert_eq(slowlog_len(b.engine->slowlog), 0);
    b.ctx.settings = slow;
    run(&b, "answer", NULL, NULL);
    cr_assert_eq(slowlog_len(b.engine->slowlog), 0);
    run(&b, "dawdle", NULL, NULL);
    cr_assert_eq(slowlog_len(b.engine->slowlog), 1);
    run(&b, "discreet", NULL, NULL);
    cr_assert_eq(slowlog_len(b.engine->slowlog), 1);
    cr_assert_eq(latency_reset(b.engine->latency, "command"), 1);
    b.ctx.flags = CTX_NOTE_LATER;
    run(&b, "dawdle", NULL, NULL);
    cr_assert_eq(slowlog_len(b.engine->slowlog), 1);
    engine_note_slow(&b.ctx, 0, (uint64_t)(5000 * clock_ticks_per_us()));
    cr_assert_eq(slowlog_len(b.engine->slowlog), 2);
    // They are gone, and later ones have their address.
    struct settings *later = settings_copy(slow), before = *slow;
    later->slowlog_log_slower_than = -1;
    *slow = *later;
    *later = before;
    b.ctx.flags = 0;
    run(&b, "dawdle", NULL, NULL);
    cr_assert_eq(slowlog_len(b.engine->slowlog), 2);
    b.ctx.settings = b.settings;
    bench_free(&b);
    settings_free(slow);
    settings_free(later);
}

Test(engine, who_runs_commands_holds_the_newest_settings)
{
    struct bench b;
    _Atomic(const struct settings *) held = NULL;
    bench_init(&b, 1);
    cr_assert_eq(engine_settings(b.engine, &held), b.settings);
    cr_assert_eq(atomic_load(&held), b.settings);
    struct settings *newer = settings_copy(b.settings);
    atomic_store(&b.engine->settings, newer);
    cr_assert_eq(atomic_load(&held), b.settings);
    cr_assert_eq(engine_settings(b.engine, &held), newer);
    cr_assert_eq(atomic_load(&held), newer);
    bench_free(&b);
    settings_free(newer);
}

// --- housekeeping --------------------------------------------------------------------------------

static void put_due(struct bench *b, int count)
{
    for (int i = 0; i < count; i++) {
        char key[16];
        int len = snprintf(key, sizeof key, "key:%d", i);
        struct slice s = {key, (size_t)len};
        db_set_string(&b->engine->spaces[1]->dbs[3], NULL, s, hash_bytes(s), SLICE("v"), NULL, NOW);
    }
}

Test(engine, cron_removes_what_is_due_in_its_own_keyspace_only)
{
    struct bench b;
    bench_init(&b, 2);
    struct keyspace *ks = b.engine->spaces[1];
    int64_t now_ms = clock_unix_ms(); // the wheel began with it
    put_due(&b, 100);
    cr_assert(!engine_cron(b.engine, 0, b.settings, now_ms, 1000));
    cr_assert_eq(ks->dbs[3].keys.count, 100);
    atomic_store(&b.engine->is_cron_paused, true);
    cr_assert(!engine_cron(b.engine, 1, b.settings, now_ms, 1000) && ks->dbs[3].keys.count == 100);
    atomic_store(&b.engine->is_cron_paused, false);
    cr_assert(engine_cron(b.engine, 1, b.settings, now_ms, 30));
    cr_assert(ks->dbs[3].keys.count >= 70 && ks->dbs[3].keys.count < 100);
    while (engine_cron(b.engine, 1, b.settings, now_ms, 30))
        ;
    cr_assert_eq(ks->dbs[3].keys.count, 0);
    cr_assert_eq(stat_get(&ks->stats.expired), 100);
    cr_assert_eq(stat_get(&ks->stats.dirty), 100); // each passed the write tail
    db_validate(&ks->dbs[3]);
    bench_free(&b);
}
