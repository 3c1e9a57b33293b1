// SPDX-License-Identifier: BSD-3-Clause
//
// What the data come from when there is no log of our own: a dump, or what redis-server left.
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "engine/settings.h"
#include "site.h"

// --- dbfilename ----------------------------------------------------------------------------------

static void begin_with_dump(struct scene *s)
{
    scene_begin(s, 2);
    scene_run(s, "MSET a 1 b 1 c 1 d 1");
    site_save_rdb("dump.rdb", &s->twin);
}

Test(recover_import, a_dump_is_loaded_if_there_is_no_log)
{
    struct scene s;
    struct site_server server;
    begin_with_dump(&s);
    site_check(&s.site, &s.twin, "appendonly");
    cr_assert(site_start(&s.site, &server, 2));
    cr_assert_eq(server.result.source, RECOVERY_RDB);
    cr_assert_eq(server.result.base, RECOVERY_BASE_NEEDED);
    cr_assert_eq(server.result.next_txid, 1);
    cr_assert_eq(server.result.next_epoch, 1);
    cr_assert_str_eq(server.path, "dump.rdb");
    site_stop(&server);
    scene_end(&s);
}

Test(recover_import, without_appendonly_only_the_dump_counts)
{
    struct scene s;
    struct site_server server;
    begin_with_dump(&s);
    scene_run(&s, "SET a 2");
    site_end_epoch(&s.site, false);
    s.site.settings->appendonly = false;
    cr_assert(site_start(&s.site, &server, 2));
    cr_assert_eq(server.result.next_epoch, 2); // the files of epoch 1 stay as they are
    cr_assert_eq(server.result.base, RECOVERY_BASE_FINE);
    mem_free(twin_run_line(&s.twin, "SET a 1"));
    char *difference = twin_difference(&s.twin, &server.twin);
    cr_assert_str_eq(difference, "");
    mem_free(difference);
    site_stop(&server);
    scene_end(&s);
}

Test(recover_import, expired_keys_of_a_dump_are_left_out)
{
    struct scene s;
    struct site_server server;
    scene_begin(&s, 2);
    s.twin.now_ms = SITE_NOW_MS - 10;
    scene_run(&s, "SET a 1 PX 9");
    scene_run(&s, "SET b 1 PX 11");
    site_save_rdb("dump.rdb", &s.twin);
    cr_assert(site_start(&s.site, &server, 3));
    cr_assert_eq(server.result.keys, 1);
    cr_assert_eq(server.result.expired, 1);
    site_stop(&server);
    scene_end(&s);
}

Test(recover_import, a_damaged_dump_is_refused)
{
    struct scene s;
    begin_with_dump(&s);
    cr_assert_eq(truncate("dump.rdb", (off_t)site_size("dump.rdb") - 12), 0);
    site_check_refusal(&s.site, "'dump.rdb'", "offset");
    site_put("dump.rdb", SLICE(""));
    site_check_refusal(&s.site, "dump.rdb", "");
    scene_end(&s);
}

Test(recover_import, nothing_is_a_fresh_start)
{
    struct scene s;
    struct site_server server;
    scene_begin(&s, 2);
    cr_assert_eq(rmdir(SITE_LOGS), 0);
    cr_assert(site_start(&s.site, &server, 2), "%s", server.error.text);
    cr_assert_eq(server.result.source, RECOVERY_NOTHING);
    cr_assert_eq(server.result.base, RECOVERY_BASE_FINE);
    cr_assert_eq(server.result.keys, 0);
    cr_assert_str_eq(server.path, "");
    site_stop(&server);
    scene_end(&s);
}

// --- redis-server's log --------------------------------------------------------------------------

#define REDIS      SITE_LOGS "/appendonly.aof"
#define REDIS_BASE REDIS ".1.base.rdb"
#define REDIS_INCR REDIS ".1.incr.aof"
#define COMMAND_A  "*3\r\n$6\r\nAPPEND\r\n$1\r\na\r\n$1\r\nx\r\n"
#define COMMAND_B  "*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n"
#define COMMAND_EVAL                                                                               \
    "*5\r\n$4\r\nEVAL\r\n$40\r\nreturn redis.call('set',KEYS[1],ARGV[1])\r\n"                      \
    "$1\r\n1\r\n$1\r\nc\r\n$9\r\nfrom-eval\r\n"
#define SELECT_1 "*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n"
#define MULTI    "*1\r\n$5\r\nMULTI\r\n"
#define EXEC     "*1\r\n$4\r\nEXEC\r\n"

static void begin_redis(struct scene *s, const char *commands)
{
    scene_begin(s, 2);
    scene_run(s, "MSET a 1 b 1 c 1");
    site_save_rdb(REDIS_BASE, &s->twin);
    site_put(REDIS ".manifest", SLICE("file appendonly.aof.1.base.rdb seq 1 type b\n"
                                      "file appendonly.aof.1.incr.aof seq 1 type i\n"));
    site_put(REDIS_INCR, slice_of(commands));
}

Test(recover_import, the_log_of_redis_is_taken_over)
{
    struct scene s;
    struct site_server server;
    begin_redis(&s, "*1\r\n$8\r\nFLUSHALL\r\n" COMMAND_A COMMAND_EVAL SELECT_1 MULTI COMMAND_A
                        COMMAND_B EXEC COMMAND_A);
    s.site.settings->maxmemory = 1; // what fitted once is not refused now
    scene_run(&s, "FLUSHALL");
    scene_run(&s, "APPEND a x");
    scene_run(&s, "SET c from-eval");
    scene_run(&s, "SELECT 1");
    scene_run(&s, "APPEND a x");
    scene_run(&s, "SET b 2");
    scene_run(&s, "APPEND a x");
    site_check(&s.site, &s.twin, "redis");
    cr_assert(site_start(&s.site, &server, 2), "%s", server.error.text);
    cr_assert_eq(server.result.source, RECOVERY_REDIS_AOF);
    cr_assert_eq(server.result.base, RECOVERY_BASE_NEEDED);
    cr_assert_str_eq(server.manifest.imported, REDIS ".manifest");
    cr_assert_eq(server.manifest.epoch_count, 0);
    site_stop(&server);
    scene_end(&s);
}

Test(recover_import, a_single_old_file_with_commands_behind_an_rdb_part_is_taken_over)
{
    struct scene s;
    scene_begin(&s, 2);
    scene_run(&s, "MSET a 1 b 1 c 1");
    site_save_rdb("appendonly.aof", &s.twin);
    site_append("appendonly.aof", COMMAND_A, strlen(COMMAND_A));
    scene_run(&s, "APPEND a x");
    site_check(&s.site, &s.twin, "one file");
    scene_end(&s);
}

Test(recover_import, the_torn_tail_of_redis_is_dropped_and_left_where_it_is)
{
    struct scene s;
    begin_redis(&s, COMMAND_A MULTI COMMAND_B);
    scene_run(&s, "APPEND a x");
    uint64_t bytes = site_size(REDIS_INCR);
    site_check(&s.site, &s.twin, "torn");
    cr_assert_eq(site_size(REDIS_INCR), bytes);
    s.site.settings->aof_load_truncated = false;
    site_check_refusal(&s.site, REDIS_INCR, "aof-load-truncated");
    scene_end(&s);
}

Test(recover_import, an_unknown_command_of_redis_is_refused)
{
    struct scene s;
    begin_redis(&s, COMMAND_A "*2\r\n$6\r\nNOSUCH\r\n$1\r\na\r\n" COMMAND_B);
    site_check_refusal(&s.site, REDIS_INCR, "offset 30: an unknown command: 'NOSUCH'");
    scene_end(&s);
}

Test(recover_import, a_command_of_redis_that_fails_does_not_stop_the_others)
{
    struct scene s;
    begin_redis(&s, "*3\r\n$5\r\nRPUSH\r\n$1\r\na\r\n$1\r\nx\r\n" COMMAND_B);
    scene_run(&s, "SET b 2");
    site_check(&s.site, &s.twin, "an error in reply");
    scene_end(&s);
}

Test(recover_import, a_command_that_changes_no_data_is_passed_over)
{
    struct scene s;
    begin_redis(&s, "*2\r\n$8\r\nSHUTDOWN\r\n$6\r\nNOSAVE\r\n" COMMAND_B);
    scene_run(&s, "SET b 2");
    site_check(&s.site, &s.twin, "SHUTDOWN");
    scene_end(&s);
}

Test(recover_import, a_database_that_there_is_not_is_refused)
{
    struct scene s;
    begin_redis(&s, "*2\r\n$6\r\nSELECT\r\n$2\r\n16\r\n" COMMAND_B);
    site_check_refusal(&s.site, REDIS_INCR, "`databases`");
    site_put(REDIS_INCR, SLICE("*2\r\n$6\r\nSELECT\r\n$2\r\nxx\r\n" COMMAND_B));
    site_check_refusal(&s.site, REDIS_INCR, "`databases`");
    scene_end(&s);
}

// --- both ----------------------------------------------------------------------------------------

Test(recover_import, two_logs_that_claim_the_newest_data_are_refused)
{
    struct scene s;
    struct site_server server;
    begin_redis(&s, COMMAND_A);
    site_end_epoch(&s.site, false);
    site_check_refusal(&s.site, "never taken over", REDIS ".manifest");
    recovery_note_redis(&s.site.manifest, s.site.settings);
    site_end_epoch(&s.site, false);
    site_check(&s.site, &s.twin, "as it was when it was taken over");
    site_append(REDIS_INCR, COMMAND_B, strlen(COMMAND_B));
    site_check_refusal(&s.site, SITE_LOGS "/" MANIFEST_NAME, REDIS ".manifest");
    cr_assert_eq(unlink(REDIS_INCR), 0);
    cr_assert_not(site_start(&s.site, &server, 1));
    site_stop(&server);
    cr_assert_eq(unlink(REDIS_BASE), 0);
    cr_assert_eq(unlink(REDIS ".manifest"), 0);
    site_check(&s.site, &s.twin, "it has gone");
    scene_end(&s);
}
