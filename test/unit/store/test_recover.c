// SPDX-License-Identifier: BSD-3-Clause
#include "store/recover.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "engine/engine.h"
#include "engine/settings.h"
#include "site.h"

// --- epochs --------------------------------------------------------------------------------------

static void run_at_random(struct scene *s, int count)
{
    static const char *const lines[] = {
        "SET k%u v%u",
        "INCR n%u",
        "APPEND k%u -%u",
        "DEL k%u k1",
        "MSET k%u a k%u b",
        "RPUSH l%u a b c d%u",
        "LPOP l%u",
        "SADD s%u %u x y",
        "SPOP s%u",
        "SMOVE s%u s7 x",
        "HSET h%u f%u v",
        "ZADD z%u %u m",
        "RENAME k%u k%u",
        "SUNIONSTORE s%u s1",
        "PEXPIRE k%u 1%u000",
        "XADD x%u * f v%u",
        "SELECT 1",
        "SELECT 0",
        "SINTERSTORE k%u s3 s%u",
        "MOVE k%u 1",
        "COPY k%u l%u",
        "SETRANGE k%u 1%u x",
        "EVAL \"redis.call('set',KEYS[1],1) redis.call('del',KEYS[2])\" 2 "
        "k%u k%u",
    };
    static const char *const rare[] = {
        "FLUSHDB",
        "SWAPDB 0 1",
        "FLUSHALL",
        "FUNCTION LOAD REPLACE \"#!lua name=l\\nredis.register_function('f',function() return 1 "
        "end)\"",
    };
    struct random *random = &s->twin.random;
    for (int i = 0; i < count; i++) {
        char line[256];
        uint32_t a = (uint32_t)random_below(random, 30), b = (uint32_t)random_below(random, 30);
        bool is_rare = random_below(random, 40) == 0;
        const char *format = is_rare ? rare[random_below(random, ARRAY_LEN(rare))]
                                     : lines[random_below(random, ARRAY_LEN(lines))];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(line, sizeof line, format, a, b);
#pragma GCC diagnostic pop
        mem_free(twin_run_line(&s->twin, line));
        // Transactions of several commands, at times; then with commands on all in the middle.
        if (random_below(random, 3) == 0) site_log(&s->site, &s->twin, random_below(random, 2));
    }
    site_log(&s->site, &s->twin, true);
}

static void check_random(uint32_t shards)
{
    struct scene s;
    scene_begin(&s, shards);
    for (char n = 0; n < 3; n++) {
        if (n) site_begin_epoch(&s.site, shards, n < 2 ? 'a' : 'b');
        run_at_random(&s, 400);
        site_end_epoch(&s.site, n < 2);
    }
    site_check(&s.site, &s.twin, "random commands");
    scene_end(&s);
}

Test(recover, logs_of_one_shard_become_the_data_of_any_number)
{
    check_random(1);
}

Test(recover, logs_of_two_shards_become_the_data_of_any_number)
{
    check_random(2);
}

Test(recover, logs_of_four_shards_become_the_data_of_any_number)
{
    check_random(4);
}

Test(recover, epochs_may_be_of_different_numbers_of_shards)
{
    struct scene s;
    scene_begin(&s, 4);
    run_at_random(&s, 200);
    site_end_epoch(&s.site, true);
    struct site_server server;
    cr_assert(site_start(&s.site, &server, 2), "%s", server.error.text);
    twin_free(&s.twin);
    s.twin = server.twin;
    s.twin.engine->host = &s.twin.host;
    s.twin.session.is_authenticated = true;
    manifest_clear(&server.manifest);
    site_begin_epoch(&s.site, 2, 'b');
    run_at_random(&s, 200);
    site_end_epoch(&s.site, false);
    site_check(&s.site, &s.twin, "four, then two");
    scene_end(&s);
}

Test(recover, the_result_says_where_to_go_on)
{
    struct scene s;
    struct site_server server;
    scene_begin(&s, 2);
    for (int i = 0; i < 150; i++) scene_run(&s, "SET b 1"); // shard 0, which began with a lower seq
    scene_run(&s, "MSET a 1 b 2");
    scene_run(&s, "MSET a 1 b 2");
    site_end_epoch(&s.site, false);
    uint64_t ends[] = {s.site.logs[0].next_seq, s.site.logs[1].next_seq};
    cr_assert(site_start(&s.site, &server, 2), "%s", server.error.text);
    const struct recovery_result *r = &server.result;
    cr_assert_eq(r->source, RECOVERY_LOGS);
    cr_assert_eq(r->keys, 2);
    cr_assert_eq(r->units, 154);
    cr_assert_eq(r->next_seq, MAX(ends[0], ends[1]));
    cr_assert_eq(r->next_txid, 3);
    cr_assert_eq(r->next_epoch, 2);
    cr_assert_eq(r->base, RECOVERY_BASE_FINE);
    cr_assert_str_eq(server.path, SITE_LOGS "/" MANIFEST_NAME);
    const struct manifest_epoch *e = &server.manifest.epochs[0];
    for (int i = 0; i < 2; i++) {
        cr_assert(e->logs[i].is_closed);
        cr_assert_eq(e->logs[i].end_seq, ends[i]);
        cr_assert_eq(e->logs[i].bytes, s.site.logs[i].bytes.len);
    }
    site_stop(&server);
    scene_end(&s);
}

Test(recover, many_logs_or_long_ones_of_other_numbers_of_shards_call_for_a_new_base)
{
    struct scene s;
    struct site_server server;
    scene_begin(&s, 2);
    scene_run(&s, "SET a <rep:x:34000000>");
    site_end_epoch(&s.site, false);
    cr_assert(site_start(&s.site, &server, 2), "%s", server.error.text);
    cr_assert_eq(server.result.base, RECOVERY_BASE_FINE);
    site_stop(&server);
    cr_assert(site_start(&s.site, &server, 1), "%s", server.error.text);
    cr_assert_eq(server.result.base, RECOVERY_BASE_WANTED);
    site_stop(&server);
    scene_end(&s);
    scene_begin(&s, 1);
    for (int i = 1; i < 64; i++) {
        site_end_epoch(&s.site, true);
        site_begin_epoch(&s.site, 1, 'b');
    }
    site_end_epoch(&s.site, false);
    cr_assert(site_start(&s.site, &server, 1), "%s", server.error.text);
    cr_assert_eq(server.result.base, RECOVERY_BASE_WANTED);
    site_stop(&server);
    scene_end(&s);
}

Test(recover, an_empty_log_is_fine)
{
    struct scene s;
    scene_begin(&s, 2);
    site_end_epoch(&s.site, false);
    site_check(&s.site, &s.twin, "nothing");
    site_put(LOG(1, 1), SLICE(""));
    site_check(&s.site, &s.twin, "not even a header");
    scene_end(&s);
}

// --- transactions that a log lacks ---------------------------------------------------------------

// The values of keys, as MGET answers.
static void expect_values(struct site_server *server, const char *keys, const char *value)
{
    char line[128];
    for (; *keys; keys++) {
        snprintf(line, sizeof line, "GET %c", *keys);
        char *reply = twin_run_line(&server->twin, line);
        cr_assert(strstr(reply, value), "%c is %s, not %s", *keys, reply, value);
        mem_free(reply);
    }
}

// Starts with this number of shards, as many times as it takes to see that it stays so.
static void expect_left_out(struct scene *s, uint32_t shards, uint64_t dropped, const char *keys,
                            const char *value)
{
    struct site_server server;
    cr_assert(site_start(&s->site, &server, shards), "%s", server.error.text);
    cr_assert_eq(server.result.dropped, dropped, "%d", (int)server.result.dropped);
    expect_values(&server, keys, value);
    // As the server would: the next start reads what this one has decided.
    struct dir_error e;
    cr_assert(manifest_write(&server.manifest, s->site.settings->appenddirname, &e), "%s", e.text);
    site_stop(&server);
}

Test(recover, a_transaction_that_one_log_lacks_is_left_out_with_all_behind_it)
{
    struct scene s;
    scene_begin(&s, 4);
    scene_run(&s, "MSET a 0 b 0 c 0 d 0 e 0 f 0");
    for (uint32_t i = 1; i < 4; i++) s.site.logs[i].is_lost = true;
    scene_run(&s, "MSET a 1 b 1 c 1 d 1 e 1 f 1");
    scene_run(&s, "SET b 2"); // on shard 0, which has it all
    scene_run(&s, "MSET b 2 d 2 f 2 a 2");
    site_end_epoch(&s.site, false);
    expect_left_out(&s, 4, 3, "abcdef", "0");
    expect_left_out(&s, 4, 0, "abcdef", "0");
    expect_left_out(&s, 2, 0, "abcdef", "0");
    scene_end(&s);
}

Test(recover, what_is_left_out_of_one_log_takes_others_with_it)
{
    struct scene s;
    scene_begin(&s, 4);
    scene_run(&s, "MSET a 0 b 0 c 0 d 0 e 0 f 0");
    s.site.logs[0].is_lost = true; // b
    scene_run(&s, "MSET b 1 a 1");
    scene_run(&s, "MSET a 2 c 2");
    scene_run(&s, "MSET c 3 d 3");
    scene_run(&s, "MSET d 4 f 4 e 4");
    site_end_epoch(&s.site, false);
    struct site_server server;
    cr_assert(site_start(&s.site, &server, 4), "%s", server.error.text);
    expect_values(&server, "ab", "0");
    site_stop(&server);
    scene_end(&s);
}

Test(recover, a_flush_that_one_log_lacks_is_left_out)
{
    struct scene s;
    scene_begin(&s, 2);
    scene_run(&s, "MSET a 0 b 0 c 0 d 0");
    s.site.logs[1].is_lost = true;
    scene_run(&s, "FLUSHALL");
    scene_run(&s, "MSET a 1 b 1 c 1 d 1");
    scene_run(&s, "SWAPDB 0 1");
    site_end_epoch(&s.site, false);
    expect_left_out(&s, 2, 3, "abcd", "0");
    expect_left_out(&s, 1, 0, "abcd", "0");
    scene_end(&s);
}

// --- how logs end --------------------------------------------------------------------------------

static void begin_torn(struct scene *s)
{
    scene_begin(s, 2);
    scene_run(s, "MSET a 1 b 1 c 1 d 1");
    scene_run(s, "SET b 2");
    site_end_epoch(&s->site, false);
}

Test(recover, a_torn_tail_is_cut_off)
{
    struct scene s;
    struct site_server server;
    begin_torn(&s);
    uint64_t good = site_size(LOG(1, 0));
    site_append(LOG(1, 0), "torn!", 5);
    cr_assert(site_start(&s.site, &server, 2), "%s", server.error.text);
    cr_assert_eq(server.result.cut_bytes, 5);
    cr_assert_eq(site_size(LOG(1, 0)), good);
    cr_assert_eq(server.manifest.epochs[0].logs[0].bytes, good);
    // As the manifest is now, that log is whole; and the next epoch goes on.
    manifest_clear(&s.site.manifest);
    manifest_copy(&s.site.manifest, &server.manifest);
    site_stop(&server);
    site_begin_epoch(&s.site, 2, 'b');
    scene_run(&s, "APPEND a x");
    site_end_epoch(&s.site, false);
    site_check(&s.site, &s.twin, "after the cut");
    scene_end(&s);
}

Test(recover, a_torn_tail_is_refused_if_the_configuration_says_so)
{
    struct scene s;
    begin_torn(&s);
    uint64_t good = site_size(LOG(1, 0));
    site_append(LOG(1, 0), "torn!", 5);
    s.site.settings->aof_load_truncated = false;
    site_check_refusal(&s.site, LOG(1, 0), "aof-load-truncated");
    cr_assert_eq(site_size(LOG(1, 0)), good + 5);
    scene_end(&s);
}

Test(recover, zeros_behind_the_end_are_no_torn_tail)
{
    static const char zeros[100];
    struct scene s;
    begin_torn(&s);
    site_append(LOG(1, 0), zeros, sizeof zeros);
    s.site.settings->aof_load_truncated = false;
    site_check(&s.site, &s.twin, "zeros");
    scene_end(&s);
}

Test(recover, damage_before_what_was_synced_is_refused_and_left_as_it_is)
{
    struct scene s;
    scene_begin(&s, 2);
    scene_run(&s, "SET a 1"); // shard 1
    for (int i = 0; i < 3; i++) {
        s.site.logs[1].synced = s.site.logs[1].next_seq;
        scene_run(&s, "SET a 2");
    }
    site_end_epoch(&s.site, false);
    uint64_t bytes = site_size(LOG(1, 1));
    site_damage(LOG(1, 1), LOG_HEADER_BYTES + LOG_FRAME_BYTES + 3);
    site_check_refusal(&s.site, LOG(1, 1), "offset 64");
    cr_assert_eq(site_size(LOG(1, 1)), bytes);
    scene_end(&s);
}

Test(recover, a_log_that_is_not_of_the_last_epoch_must_be_whole)
{
    struct scene s;
    begin_torn(&s);
    site_begin_epoch(&s.site, 2, 'b');
    site_end_epoch(&s.site, false);
    site_check(&s.site, &s.twin, "whole");
    site_append(LOG(1, 0), "torn!", 5);
    site_check_refusal(&s.site, LOG(1, 0), "later logs follow it");
    scene_end(&s);
}

Test(recover, a_closed_log_must_end_where_the_manifest_says)
{
    struct scene s;
    scene_begin(&s, 2);
    scene_run(&s, "SET a 1");
    uint64_t bytes = s.site.logs[1].bytes.len;
    scene_run(&s, "SET a 2");
    site_end_epoch(&s.site, true);
    site_begin_epoch(&s.site, 2, 'b');
    site_end_epoch(&s.site, false);
    cr_assert_eq(truncate(LOG(1, 1), (off_t)bytes), 0);
    site_check_refusal(&s.site, LOG(1, 1), "closed with seq");
    scene_end(&s);
}

Test(recover, epochs_of_a_run_must_follow_each_other)
{
    struct scene s;
    begin_torn(&s);
    s.site.logs[1].next_seq++;
    site_begin_epoch(&s.site, 2, 'a');
    site_end_epoch(&s.site, false);
    site_check_refusal(&s.site, LOG(1, 1), "goes on with seq");
    scene_end(&s);
}

// --- files that are not what they should be ------------------------------------------------------

Test(recover, a_missing_log_is_refused)
{
    struct scene s;
    begin_torn(&s);
    cr_assert_eq(unlink(LOG(1, 1)), 0);
    site_check_refusal(&s.site, LOG(1, 1), "No such file");
    scene_end(&s);
}

static void copy(const char *from, const char *to)
{
    struct buf bytes = {0};
    site_get(from, &bytes);
    site_put(to, buf_slice(&bytes));
    buf_free(&bytes);
}

Test(recover, the_log_of_another_shard_is_refused)
{
    struct scene s;
    begin_torn(&s);
    copy(LOG(1, 0), LOG(1, 1));
    site_check_refusal(&s.site, LOG(1, 1), "another log");
    scene_end(&s);
}

Test(recover, a_log_of_another_number_of_shards_is_refused)
{
    struct scene s;
    begin_torn(&s);
    char bytes[LOG_HEADER_BYTES];
    struct log_header header = s.site.logs[1].header;
    header.shard_count = 3;
    log_header_encode(&header, bytes);
    site_put(LOG(1, 1), (struct slice){bytes, sizeof bytes});
    site_check_refusal(&s.site, LOG(1, 1), "of shard 1 of 3");
    scene_end(&s);
}

Test(recover, a_damaged_manifest_is_refused)
{
    struct scene s;
    begin_torn(&s);
    site_damage(SITE_LOGS "/" MANIFEST_NAME, 20);
    site_check_refusal(&s.site, SITE_LOGS "/" MANIFEST_NAME, "");
    scene_end(&s);
}

Test(recover, later_logs_without_a_manifest_are_refused)
{
    struct scene s;
    begin_torn(&s);
    cr_assert_eq(unlink(SITE_LOGS "/" MANIFEST_NAME), 0);
    struct twin nothing;
    twin_init(&nothing, 1, SITE_NOW_MS);
    site_check(&s.site, &nothing, "the first epoch, before its manifest");
    twin_free(&nothing);
    copy(LOG(1, 1), LOG(2, 1));
    site_check_refusal(&s.site, LOG(2, 1), MANIFEST_NAME);
    scene_end(&s);
}

// --- what is in the logs -------------------------------------------------------------------------

Test(recover, an_effect_that_fails_is_refused)
{
    struct scene s;
    scene_begin(&s, 1);
    scene_run(&s, "SET a x");
    site_log_effect(&s.site, 0, 0, "INCR a");
    site_end_epoch(&s.site, false);
    site_check_refusal(&s.site, "seq 101", "not an integer");
    scene_end(&s);
}

static void check_bad_effect(uint32_t db, const char *line, const char *words)
{
    struct scene s;
    scene_begin(&s, 1);
    site_log_effect(&s.site, 0, db, line);
    site_end_epoch(&s.site, false);
    site_check_refusal(&s.site, "seq 100", words);
    scene_end(&s);
}

Test(recover, an_effect_that_is_no_command_is_refused)
{
    check_bad_effect(0, "NOSUCH a", "NOSUCH");
    check_bad_effect(0, "SET a", "number of arguments");
    check_bad_effect(0, "PING", "writes nothing");
    check_bad_effect(16, "SET a 1", "`databases`");
}

Test(recover, a_command_on_the_whole_database_must_be_in_all_logs)
{
    struct scene s;
    struct site_server server;
    scene_begin(&s, 2);
    site_log_effect(&s.site, 1, 0, "FLUSHALL");
    site_end_epoch(&s.site, false);
    cr_assert_not(site_start(&s.site, &server, 1));
    cr_assert(strstr(server.error.text, "on the whole database"), "%s", server.error.text);
    site_stop(&server);
    scene_end(&s);
}

// --- base ----------------------------------------------------------------------------------------

#define BASE SITE_LOGS "/gyre-1.base.rdb"

// A base with an expired key and a function, and an epoch behind it.
static void begin_based(struct scene *s)
{
    scene_begin(s, 2);
    scene_run(s, "MSET a 1 b 1 c 1 d 1");
    scene_run(s, "SET e 1 PXAT 1600000000000");
    mem_free(twin_run_line(&s->twin, "SET f 1 PX 1"));
    mem_free(twin_run_line(&s->twin, "FUNCTION LOAD \"#!lua name=l\\nredis.register_function('f',"
                                     "function() return 1 end)\""));
    manifest_clear(&s->site.manifest);
    site_begin_epoch(&s->site, 2, 'a');
    s->twin.journal.len = 0;
    site_save_rdb(BASE, &s->twin);
    snprintf(s->site.manifest.base, sizeof s->site.manifest.base, "gyre-1.base.rdb");
    s->site.manifest.base_bytes = site_size(BASE);
    scene_run(s, "APPEND a x");
    scene_run(s, "MSET b 2 c 3");
    site_end_epoch(&s->site, false);
}

Test(recover, epochs_go_on_from_the_base)
{
    struct scene s;
    begin_based(&s);
    site_check(&s.site, &s.twin, "base and epoch");
    scene_end(&s);
}

Test(recover, a_base_must_be_as_long_as_the_manifest_says)
{
    struct scene s;
    begin_based(&s);
    site_append(BASE, "x", 1);
    site_check_refusal(&s.site, BASE, "should have");
    cr_assert_eq(unlink(BASE), 0);
    site_check_refusal(&s.site, BASE, "No such file");
    scene_end(&s);
}

Test(recover, a_damaged_base_is_refused)
{
    struct scene s;
    begin_based(&s);
    cr_assert_eq(truncate(BASE, 60), 0);
    s.site.manifest.base_bytes = 60;
    site_end_epoch(&s.site, false);
    site_check_refusal(&s.site, BASE, "offset");
    scene_end(&s);
}

// --- while it loads ------------------------------------------------------------------------------

struct late {
    struct recovery *recovery;
    _Atomic uint64_t pauses; // of the other thread
};

// Comes when the other one has paused some times.
static void *come_late(void *arg)
{
    struct late *late = arg;
    while (atomic_load(&late->pauses) < 3) usleep(1000);
    recovery_run(late->recovery, 0, NULL, NULL);
    return NULL;
}

static void note_pause(void *arg)
{
    atomic_fetch_add((_Atomic uint64_t *)arg, 1);
}

Test(recover, whoever_waits_for_the_others_pauses, .timeout = 20)
{
    struct scene s;
    struct twin t;
    struct late late = {0};
    struct dir_error e;
    struct recovery_result result;
    struct recovery_progress progress;
    pthread_t thread;
    begin_torn(&s);
    twin_init(&t, 2, SITE_NOW_MS);
    struct recovery_options o = {.engine = t.engine, .settings = s.site.settings};
    late.recovery = recovery_open(&o, &e);
    cr_assert(late.recovery, "%s", e.text);
    recovery_progress(late.recovery, &progress);
    cr_assert_eq(progress.bytes_done, 0);
    cr_assert_eq(progress.bytes_total, site_size(LOG(1, 0)) + site_size(LOG(1, 1)));
    cr_assert_eq(pthread_create(&thread, NULL, come_late, &late), 0);
    recovery_run(late.recovery, 1, note_pause, &late.pauses);
    pthread_join(thread, NULL);
    cr_assert(recovery_result(late.recovery, &result));
    recovery_progress(late.recovery, &progress);
    cr_assert_eq(progress.bytes_done, progress.bytes_total);
    recovery_free(late.recovery);
    twin_free(&t);
    scene_end(&s);
}

static void give_up(void *arg)
{
    recovery_cancel(arg);
}

Test(recover, loading_can_be_given_up, .timeout = 20)
{
    struct scene s;
    begin_torn(&s);
    struct twin t;
    struct dir_error e;
    struct recovery_result result;
    twin_init(&t, 2, SITE_NOW_MS);
    struct recovery_options o = {.engine = t.engine, .settings = s.site.settings};
    struct recovery *r = recovery_open(&o, &e);
    // The other shard's thread never comes: this would wait for ever.
    recovery_run(r, 1, give_up, r);
    cr_assert_not(recovery_result(r, &result));
    cr_assert(strstr(result.error.text, "given up"));
    recovery_free(r);
    twin_free(&t);
    scene_end(&s);
}
