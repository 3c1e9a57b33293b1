// SPDX-License-Identifier: BSD-3-Clause
#include "store/check.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/crc64.h"
#include "base/mem.h"
#include "log_maker.h"
#include "store/dir.h"
#include "store/manifest.h"
#include "store/rdb_file.h"

#define RUN    "0123456789abcdef0123456789abcdef01234567"
#define EFFECT "\1\3\3SET\1k\1v" // in database 1
#define SHARDS 2
#define FRAMES 3

struct fixture {
    char root[64], dir[80];
    struct manifest m;
    long frame_at[FRAMES]; // offsets, in every log
};

static void write_file(const char *dir, const char *name, struct slice bytes)
{
    struct dir_error e;
    cr_assert(dir_write_file(dir, name, bytes, &e), "%s", e.text);
}

// Changes a byte (`at` counts from the end if negative), or cuts the file there.
static void spoil(const struct fixture *fx, const char *name, long at, bool cuts)
{
    char path[256], byte;
    snprintf(path, sizeof path, "%s/%s", fx->dir, name);
    int fd = open(path, O_RDWR);
    cr_assert(fd >= 0);
    off_t offset = at < 0 ? lseek(fd, at, SEEK_END) : at;
    if (cuts) {
        cr_assert_eq(ftruncate(fd, offset), 0);
    } else {
        cr_assert_eq(pread(fd, &byte, 1, offset), 1);
        byte ^= 1;
        cr_assert_eq(pwrite(fd, &byte, 1, offset), 1);
    }
    close(fd);
}

// An RDB file with one string in it.
static void put_rdb(struct buf *out)
{
    static const char entry[] = "\0\1k\5value"; // type, key, value
    rdb_file_put_header(out, 10);
    rdb_file_put_db(out, 0);
    buf_append(out, entry, sizeof entry - 1);
    rdb_file_put_end(out);
    rdb_file_put_checksum(out, crc64_add(0, out->ptr, out->len));
}

// Each log has three units, each in a frame: one of its own, and two transactions.
static void make_epoch(struct fixture *fx, uint64_t number)
{
    struct manifest_epoch *epoch = manifest_add_epoch(&fx->m, number, SHARDS, RUN);
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        struct log_maker m;
        epoch->logs[shard].first_seq = 10 + shard * 100 + number * 3;
        log_maker_begin(&m, manifest_header(epoch, shard));
        log_maker_local(&m, EFFECT);
        log_maker_frame(&m, m.next_seq);
        for (uint64_t i = 0; i < 2; i++) {
            log_maker_transaction(&m, number * 10 + i, "01", EFFECT);
            log_maker_frame(&m, m.next_seq - 1);
        }
        write_file(fx->dir, epoch->logs[shard].name, buf_slice(&m.bytes));
        for (size_t i = 0; i < FRAMES; i++) fx->frame_at[i] = (long)m.frames[i].at;
        log_maker_free(&m);
    }
}

// A base and two epochs, 3 and 4.
static void make(struct fixture *fx)
{
    struct buf rdb = {0};
    struct dir_error e;
    memset(fx, 0, sizeof *fx);
    snprintf(fx->root, sizeof fx->root, "/tmp/gyre-test-check-XXXXXX");
    cr_assert_not_null(mkdtemp(fx->root));
    snprintf(fx->dir, sizeof fx->dir, "%s/appendonlydir", fx->root);
    cr_assert(dir_make(fx->dir, &e), "%s", e.text);
    put_rdb(&rdb);
    manifest_base_name(fx->m.base, 3);
    fx->m.base_bytes = rdb.len;
    write_file(fx->dir, fx->m.base, buf_slice(&rdb));
    buf_free(&rdb);
    make_epoch(fx, 3);
    make_epoch(fx, 4);
    cr_assert(manifest_write(&fx->m, fx->dir, &e), "%s", e.text);
}

static void end(struct fixture *fx)
{
    char command[128];
    manifest_clear(&fx->m);
    snprintf(command, sizeof command, "rm -rf %s", fx->root);
    cr_assert_eq(system(command), 0);
}

static void expect(const char *path, enum check_cut cut, enum check_result wanted,
                   const char *wanted_text)
{
    struct check_options options = {cut};
    struct buf report = {0};
    enum check_result result = check_path(path, &options, &report);
    buf_append_char(&report, '\0');
    cr_assert_eq(result, wanted, "%d: %s", result, report.ptr);
    cr_assert(strstr(report.ptr, wanted_text), "'%s' is not in: %s", wanted_text, report.ptr);
    buf_free(&report);
}

Test(check, a_good_directory_is_good_from_wherever_it_is_named)
{
    struct fixture fx;
    char path[256];
    make(&fx);
    expect(fx.dir, CHECK_CUT_NOTHING, CHECK_GOOD, "epoch 4: 2 transactions over several shards, 0");
    expect(fx.root, CHECK_CUT_NOTHING, CHECK_GOOD, "gyre-4-1.log': 3 units, the next seq is 125");
    snprintf(path, sizeof path, "%s/", fx.dir);
    expect(path, CHECK_CUT_NOTHING, CHECK_GOOD, "RDB version 10, 1 keys");
    snprintf(path, sizeof path, "%s/gyre.manifest", fx.dir);
    expect(path, CHECK_CUT_NOTHING, CHECK_GOOD, "a snapshot, 2 epochs");
    snprintf(path, sizeof path, "%s/gyre-4-1.log", fx.dir);
    expect(path, CHECK_CUT_NOTHING, CHECK_GOOD, "3 units");
    snprintf(path, sizeof path, "%s/gyre-3.base.rdb", fx.dir);
    expect(path, CHECK_CUT_NOTHING, CHECK_GOOD, "1 keys");
    end(&fx);
}

Test(check, a_dump_that_was_not_finished_is_no_damage)
{
    struct fixture fx;
    struct buf rdb = {0};
    make(&fx);
    put_rdb(&rdb);
    write_file(fx.root, "dump.rdb", buf_slice(&rdb));
    write_file(fx.root, "temp-123.rdb", (struct slice){rdb.ptr, rdb.len / 2});
    expect(fx.root, CHECK_CUT_NOTHING, CHECK_GOOD, "temp-123.rdb': a dump that was not finished");
    write_file(fx.root, "dump.rdb", (struct slice){rdb.ptr, rdb.len / 2});
    expect(fx.root, CHECK_CUT_NOTHING, CHECK_DAMAGED, "dump.rdb'");
    buf_free(&rdb);
    end(&fx);
}

Test(check, a_torn_tail_counts_is_cut_if_asked_for_and_its_transaction_is_completed)
{
    struct fixture fx;
    char copy[256];
    make(&fx);
    spoil(&fx, "gyre-4-1.log", -1, true);
    expect(fx.dir, CHECK_CUT_NOTHING, CHECK_DAMAGED, "gyre-4-1.log': torn at offset");
    expect(fx.dir, CHECK_CUT_NOTHING, CHECK_DAMAGED,
           "epoch 4: 2 transactions over several shards, 1");
    snprintf(copy, sizeof copy, "%s/gyre-4-1.log.before-cut", fx.dir);
    cr_assert_neq(access(copy, F_OK), 0, "nothing is changed unasked");
    expect(fx.dir, CHECK_CUT_TORN, CHECK_GOOD, "gyre-4-1.log': cut to");
    cr_assert_eq(access(copy, F_OK), 0);
    expect(fx.dir, CHECK_CUT_NOTHING, CHECK_GOOD, "2 units");
    expect(copy, CHECK_CUT_NOTHING, CHECK_DAMAGED, "torn");
    // A second copy does not replace the first.
    spoil(&fx, "gyre-4-1.log", -1, true);
    expect(fx.dir, CHECK_CUT_TORN, CHECK_UNREADABLE, "before-cut': File exists");
    end(&fx);
}

Test(check, damage_is_cut_only_if_that_is_asked_for)
{
    struct fixture fx;
    char path[256];
    make(&fx);
    spoil(&fx, "gyre-4-0.log", fx.frame_at[0] + 8, false);
    spoil(&fx, "gyre-4-0.log", fx.frame_at[0] + 8, false); // and back
    expect(fx.dir, CHECK_CUT_NOTHING, CHECK_GOOD, "3 units");
    spoil(&fx, "gyre-4-0.log", fx.frame_at[0] + 16, false);
    // The third frame knows that the first was synced.
    expect(fx.dir, CHECK_CUT_TORN, CHECK_DAMAGED, "gyre-4-0.log': damaged at offset 64");
    snprintf(path, sizeof path, "%s/gyre-4-0.log", fx.dir);
    expect(path, CHECK_CUT_DAMAGED, CHECK_GOOD, "cut to 64 bytes");
    expect(fx.dir, CHECK_CUT_NOTHING, CHECK_GOOD, "epoch 4: 2 transactions over several shards, 2");
    end(&fx);
}

Test(check, what_is_wrong_with_a_directory_is_said)
{
    static const struct {
        const char *file; // to change
        long at;          // LONG_MIN: remove it
        bool cuts;
        const char *wanted;
    } cases[] = {
        {"gyre-3-0.log", -1, true, "but later logs follow it"},
        {"gyre-3-0.log", -59, true, "ends before seq"},
        {"gyre-3-1.log", 30, false, "gyre-3-1.log': damaged at offset 0: the header's checksum"},
        {"gyre-4-1.log", 0, false, "damaged at offset 0"},
        {"gyre-4-1.log", -2, false, "torn at offset"},
        {"gyre-4-1.log", LONG_MIN, false, "gyre-4-1.log': No such file"},
        {"gyre-3.base.rdb", -3, false, "the checksum at offset"},
        {"gyre-3.base.rdb", 4, false, "gyre-3.base.rdb'"},
        {"gyre-3.base.rdb", -1, true, "bytes, not"},
        {"gyre-3.base.rdb", LONG_MIN, false, "which the manifest names"},
        {"gyre.manifest", 40, false, "the checksum is wrong"},
        {"gyre.manifest", -20, true, "the last line is no checksum"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture fx;
        make(&fx);
        if (cases[i].at == LONG_MIN) {
            struct dir_error e;
            cr_assert(dir_remove(fx.dir, cases[i].file, &e));
            char *path = dir_join(fx.dir, cases[i].file);
            cr_assert_neq(access(path, F_OK), 0);
            mem_free(path);
        } else {
            spoil(&fx, cases[i].file, cases[i].at, cases[i].cuts);
        }
        // A log that is missing is also one that cannot be read.
        bool is_missing = cases[i].at == LONG_MIN && strstr(cases[i].file, ".log");
        expect(fx.dir, CHECK_CUT_NOTHING, is_missing ? CHECK_UNREADABLE : CHECK_DAMAGED,
               cases[i].wanted);
        end(&fx);
    }
}

Test(check, a_transaction_that_is_missing_in_the_middle_is_damage)
{
    struct fixture fx;
    struct log_maker m;
    make(&fx);
    log_maker_begin(&m, manifest_header(&fx.m.epochs[1], 1));
    log_maker_transaction(&m, 41, "01", EFFECT); // and not 40
    log_maker_frame(&m, m.next_seq);
    write_file(fx.dir, "gyre-4-1.log", buf_slice(&m.bytes));
    expect(fx.dir, CHECK_CUT_NOTHING, CHECK_DAMAGED, "transaction 40 is missing");
    log_maker_free(&m);
    end(&fx);
}

Test(check, effects_that_make_no_sense_are_damage)
{
    struct fixture fx;
    struct log_maker m;
    make(&fx);
    for (int i = 0; i < 2; i++) {
        log_maker_begin(&m, manifest_header(&fx.m.epochs[1], 1));
        log_maker_local(&m, EFFECT);
        if (i == 0) log_maker_local(&m, EFFECT "\1\2\3SET");
        if (i == 1) log_maker_transaction(&m, 40, "01", EFFECT "\1\2\3SET");
        log_maker_frame(&m, m.next_seq);
        write_file(fx.dir, "gyre-4-1.log", buf_slice(&m.bytes));
        expect(fx.dir, CHECK_CUT_NOTHING, CHECK_DAMAGED, "seq 123 make no sense");
        log_maker_free(&m);
    }
    end(&fx);
}

Test(check, what_it_does_not_know_it_cannot_read)
{
    struct fixture fx;
    char path[256];
    make(&fx);
    expect("/nonexistent", CHECK_CUT_NOTHING, CHECK_UNREADABLE, "/nonexistent");
    snprintf(path, sizeof path, "%s/empty", fx.root);
    cr_assert_eq(mkdir(path, 0755), 0);
    expect(path, CHECK_CUT_NOTHING, CHECK_UNREADABLE, "neither a manifest nor");
    write_file(fx.root, "noise", SLICE("whatever it is"));
    snprintf(path, sizeof path, "%s/noise", fx.root);
    expect(path, CHECK_CUT_NOTHING, CHECK_DAMAGED, "not a log of Gyre");
    end(&fx);
}

Test(check, a_directory_of_redis_is_recognised_and_read)
{
    static const char manifest[] = "file appendonly.aof.1.base.rdb seq 1 type b\n"
                                   "file appendonly.aof.1.incr.aof seq 1 type i\n";
    struct fixture fx;
    struct buf rdb = {0};
    char dir[256];
    struct dir_error e;
    make(&fx);
    snprintf(dir, sizeof dir, "%s/redis", fx.root);
    cr_assert(dir_make(dir, &e));
    put_rdb(&rdb);
    write_file(dir, "appendonly.aof.manifest", slice_of(manifest));
    write_file(dir, "appendonly.aof.1.base.rdb", buf_slice(&rdb));
    write_file(dir, "appendonly.aof.1.incr.aof", SLICE("*1\r\n$4\r\nPING\r\n"));
    expect(dir, CHECK_CUT_NOTHING, CHECK_GOOD, "append-only directory of Redis 7");
    expect(dir, CHECK_CUT_NOTHING, CHECK_GOOD, "1.incr.aof': 1 commands, whole");
    write_file(dir, "appendonly.aof.1.incr.aof", SLICE("*1\r\n$4\r\nPINX"));
    expect(dir, CHECK_CUT_NOTHING, CHECK_DAMAGED, "1.incr.aof");
    rdb.ptr[20] ^= 1;
    write_file(dir, "appendonly.aof.1.base.rdb", buf_slice(&rdb));
    expect(dir, CHECK_CUT_NOTHING, CHECK_DAMAGED, "1.base.rdb");
    buf_free(&rdb);
    end(&fx);
}
