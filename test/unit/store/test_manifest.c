// SPDX-License-Identifier: BSD-3-Clause
#include "store/manifest.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/mem.h"

#define RUN "0123456789abcdef0123456789abcdef01234567"

static void make(struct manifest *m)
{
    *m = (struct manifest){.base_bytes = 1234567, .imported_bytes = 90, .imported_mtime_ns = -5};
    manifest_base_name(m->base, 3);
    m->imported = mem_strdup("dir/with \"quotes\"\n\x01 and \\.manifest");
    struct manifest_epoch *epoch = manifest_add_epoch(m, 7, 2, RUN);
    epoch->logs[0].first_seq = 123;
    epoch->logs[0].is_closed = true;
    epoch->logs[0].end_seq = UINT64_MAX;
    epoch->logs[0].bytes = 7890;
    epoch->logs[1].first_seq = 0;
    manifest_add_epoch(m, UINT64_MAX, 1, RUN);
}

// `lines` as a manifest: the first line before them, the checksum behind.
static bool parse_lines(struct manifest *m, const char *lines, struct dir_error *e)
{
    struct buf text = {0};
    buf_printf(&text, "gyre-manifest 1\n%s", lines);
    buf_printf(&text, "crc32c %08" PRIx32 "\n", crc32c_add(0, text.ptr, text.len));
    bool is_good = manifest_parse(m, "file", buf_slice(&text), e);
    buf_free(&text);
    return is_good;
}

Test(manifest, comes_back_as_it_was_printed)
{
    struct manifest m, back, copy;
    struct buf text = {0}, again = {0}, third = {0};
    struct dir_error e;
    make(&m);
    manifest_print(&m, &text);
    cr_assert(manifest_parse(&back, "file", buf_slice(&text), &e), "%s", e.text);
    manifest_print(&back, &again);
    cr_assert(slice_eq(buf_slice(&text), buf_slice(&again)));
    cr_assert_str_eq(back.imported, m.imported);
    cr_assert_eq(back.epochs[0].logs[0].end_seq, UINT64_MAX);
    cr_assert_not(back.epochs[0].logs[1].is_closed);
    manifest_copy(&copy, &back);
    manifest_clear(&back);
    manifest_print(&copy, &third);
    cr_assert(slice_eq(buf_slice(&text), buf_slice(&third)));
    cr_assert_str_eq(copy.epochs[1].logs[0].name, "gyre-18446744073709551615-0.log");
    manifest_clear(&copy);
    manifest_clear(&m);
    buf_free(&text);
    buf_free(&again);
    buf_free(&third);
}

Test(manifest, any_changed_bit_or_cut_is_noticed)
{
    struct manifest m, back;
    struct buf text = {0};
    struct dir_error e;
    make(&m);
    manifest_print(&m, &text);
    for (size_t bit = 0; bit < text.len * 8; bit++) {
        text.ptr[bit / 8] = (char)(text.ptr[bit / 8] ^ 1 << bit % 8);
        cr_assert_not(manifest_parse(&back, "file", buf_slice(&text), &e), "bit %zu", bit);
        cr_assert(strncmp(e.text, "file:", 5) == 0 && back.epoch_count == 0 && !back.imported);
        text.ptr[bit / 8] = (char)(text.ptr[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t len = 0; len < text.len; len++) {
        char *copy = memcpy(mem_alloc(len + 1), text.ptr, len);
        cr_assert_not(manifest_parse(&back, "file", (struct slice){copy, len}, &e), "%zu", len);
        mem_free(copy);
    }
    buf_append_char(&text, '\n');
    cr_assert_not(manifest_parse(&back, "file", buf_slice(&text), &e));
    manifest_clear(&m);
    buf_free(&text);
}

Test(manifest, says_file_line_and_what_is_wrong)
{
#define EPOCH "epoch 7 shards 1 run " RUN "\n"
#define LOG   "log gyre-7-0.log shard 0 first-seq 1"
    static const struct {
        const char *lines, *error;
    } cases[] = {
        {"bose x 1\n", "file:2: 'bose' is not known"},
        {"\n", "file:2: a word is missing"},
        {"base gyre-1.base.rdb\n", "file:2: a word is missing"},
        {"base gyre-1.base.rdb x\n", "file:2: bytes: 'x' is not a number"},
        {"base gyre-1.base.rdb 1 2\n", "file:2: '2' is one word too many"},
        {"base gyre-1.base.rdb 1 \n", "file:2: a word is missing at the end of the line"},
        {"base  gyre-1.base.rdb 1\n", "file:2: a word is missing"},
        {"base ../gyre-1.base.rdb 1\n", "file:2: '../gyre-1.base.rdb' is not a file name of Gyre"},
        {"base dump.rdb 1\n", "file:2: 'dump.rdb' is not the name of a base"},
        {"base gyre-1.base.rdb.tmp 1\n", "is not the name of a base"},
        {"base gyre-1.base.rdb 1\nbase gyre-1.base.rdb 1\n", "file:3: 'base' stands in the wrong"},
        {"base gyre-1.base.rdb 18446744073709551616\n", "is not a number"},
        {"base gyre-1.base.rdb -1\n", "is not a number"},
        {"imported x 1 1\n", "file:2: a path in double quotes expected"},
        {"imported \"\" 1 1\n", "a path in double quotes expected"},
        {"imported \"x 1 1\n", "a path in double quotes expected"},
        {"imported \"x\\\" 1 1\n", "a path in double quotes expected"},
        {"imported \"x\\x00\" 1 1\n", "a path in double quotes expected"},
        {"imported \"x\\xg0\" 1 1\n", "a path in double quotes expected"},
        {"imported \"x\"1 1\n", "a path in double quotes expected"},
        {"imported \"x\" 1\n", "file:2: a word is missing"},
        {"imported \"x\" 1 y\n", "file:2: mtime: 'y' is not a number"},
        {EPOCH, "file:2: the log of shard 0 is missing behind this line"},
        {EPOCH LOG "\nbase gyre-1.base.rdb 1\n", "file:4: 'base' stands in the wrong place"},
        {EPOCH LOG "\nimported \"x\" 1 1\n", "file:4: 'imported' stands in the wrong place"},
        {EPOCH LOG "\n" EPOCH LOG "\n", "file:4: epoch 7 is not above the one before"},
        {EPOCH "log gyre-8-0.log shard 0 first-seq 1\n", "file:3: the log 'gyre-7-0.log' expected"},
        {EPOCH "log gyre-7-0.log shard 1 first-seq 1\n", "file:3: the log of shard 0 expected"},
        {EPOCH "log gyre-7-0.log first-seq 1\n", "file:3: 'shard' expected, not 'first-seq'"},
        {EPOCH LOG " end-seq 5\n", "file:3: a word is missing"},
        {EPOCH LOG " end-seq 0 bytes 5\n", "file:3: end-seq is less than first-seq"},
        {EPOCH LOG " bytes 5\n", "file:3: 'end-seq' expected, not 'bytes'"},
        {EPOCH LOG " end-seq 5 bytes 5 x\n", "file:3: 'x' is one word too many"},
        {"epoch 7 shards 0 run " RUN "\n", "file:2: 0 shards: 1 to 16384 expected"},
        {"epoch 7 shards 16385 run " RUN "\n", "file:2: 16385 shards"},
        {"epoch 7 shards 1 run 01\n", "file:2: '01' is not a run id"},
        {"epoch 7 shards 1 run G123456789abcdef0123456789abcdef01234567\n", "is not a run id"},
        {"epoch 7 shards 1\n", "file:2: a word is missing"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct manifest m;
        struct dir_error e = {.code = 99};
        cr_assert_not(parse_lines(&m, cases[i].lines, &e), "%zu: %s", i, cases[i].lines);
        cr_assert(strstr(e.text, cases[i].error), "%s", e.text);
        cr_assert_eq(e.code, 0);
    }
    struct manifest m;
    struct dir_error e;
    cr_assert(parse_lines(&m, "base gyre-1.base.rdb 1\n" EPOCH LOG "\n", &e), "%s", e.text);
    manifest_clear(&m);
    cr_assert(parse_lines(&m, "", &e), "empty is fine");
}

Test(manifest, of_a_newer_gyre_is_refused_whatever_it_says)
{
    struct manifest m;
    struct dir_error e;
    cr_assert_not(manifest_parse(&m, "file", SLICE("gyre-manifest 2\nwhat ever\n"), &e));
    cr_assert(strstr(e.text, "file:1: version 2: a newer Gyre"), "%s", e.text);
    cr_assert_not(manifest_parse(&m, "file", SLICE("gyre-manifest 0\n"), &e));
    cr_assert(strstr(e.text, "file:1: there is no version 0"), "%s", e.text);
    cr_assert_not(manifest_parse(&m, "file", SLICE("file a seq 1 type b\n"), &e));
    cr_assert(strstr(e.text, "file:1: 'gyre-manifest' expected"), "%s", e.text);
}

Test(manifest, knows_its_own_names)
{
    static const char *const ours[] = {"gyre.manifest",   "gyre.manifest.tmp",
                                       "gyre-1.base.rdb", "gyre-1.base.rdb.tmp",
                                       "gyre-10-3.log",   "gyre-0-0.log.tmp"};
    static const char *const others[] = {"gyre.manifest2",
                                         "gyre.manifest.tmp2",
                                         "gyre-1.rdb",
                                         "gyre-x.base.rdb",
                                         "gyre-1-2.logs",
                                         "gyre-1-2.log.before-cut",
                                         "gyre-.log",
                                         "gyre-1-.log",
                                         "gyre--1.log",
                                         "gyre-01-2.log",
                                         "appendonly.aof.manifest",
                                         "dump.rdb",
                                         "",
                                         "gyre-",
                                         "gyre-18446744073709551616-0.log",
                                         "gyre-1-2"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) cr_assert(manifest_is_our_name(ours[i]), "%zu", i);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        cr_assert_not(manifest_is_our_name(others[i]), "%s", others[i]);
}

Test(manifest, headers_of_another_run_shard_or_epoch_differ)
{
    struct manifest m;
    make(&m);
    struct log_header a = manifest_header(&m.epochs[0], 0);
    cr_assert(a.shard == 0 && a.shard_count == 2 && a.epoch == 7 && a.first_seq == 123);
    m.epochs[0].run[39]++;
    cr_assert_neq(a.salt, manifest_header(&m.epochs[0], 0).salt);
    manifest_clear(&m);
}

Test(manifest, forgets_epochs_below_a_number)
{
    struct manifest m = {0};
    for (uint64_t i = 1; i <= 5; i++) manifest_add_epoch(&m, i, 2, RUN);
    manifest_drop_epochs(&m, 4);
    cr_assert_eq(m.epoch_count, 2);
    cr_assert_eq(m.epochs[0].number, 4);
    cr_assert_not(manifest_names(&m, "gyre-3-0.log"));
    cr_assert(manifest_names(&m, "gyre-4-1.log"));
    manifest_clear(&m);
}

// --- in a directory ------------------------------------------------------------------------------

static void touch(const char *dir, const char *name)
{
    char *path = dir_join(dir, name);
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    cr_assert(fd >= 0);
    close(fd);
    mem_free(path);
}

static bool is_there(const char *dir, const char *name)
{
    char *path = dir_join(dir, name);
    bool is = access(path, F_OK) == 0;
    mem_free(path);
    return is;
}

static void remove_dir(const char *dir)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

Test(manifest, is_replaced_whole_and_rubbish_is_removed)
{
    static const char *const kept[] = {"gyre-3.base.rdb", "gyre-7-0.log", "gyre-7-1.log",
                                       "appendonly.aof.manifest", "gyre-7-0.log.before-cut"};
    static const char *const rubbish[] = {"gyre-2.base.rdb", "gyre-6-0.log", "gyre-7-2.log",
                                          "gyre-8.base.rdb.tmp", "gyre.manifest.tmp"};
    char dir[] = "/tmp/gyre-test-manifest-XXXXXX";
    struct manifest m, back;
    struct dir_error e;
    struct buf removed = {0};
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_not(manifest_read(&back, dir, &e));
    cr_assert_eq(e.code, ENOENT);
    make(&m);
    cr_assert(manifest_write(&m, dir, &e), "%s", e.text);
    m.base_bytes++;
    cr_assert(manifest_write(&m, dir, &e), "%s", e.text);
    cr_assert_not(is_there(dir, "gyre.manifest.tmp"));
    cr_assert(manifest_read(&back, dir, &e), "%s", e.text);
    cr_assert_eq(back.base_bytes, 1234568);
    manifest_clear(&back);
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) touch(dir, kept[i]);
    for (size_t i = 0; i < ARRAY_LEN(rubbish); i++) touch(dir, rubbish[i]);
    cr_assert(manifest_remove_rubbish(&m, dir, &removed, &e), "%s", e.text);
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) cr_assert(is_there(dir, kept[i]), "%s", kept[i]);
    for (size_t i = 0; i < ARRAY_LEN(rubbish); i++) {
        cr_assert_not(is_there(dir, rubbish[i]), "%s", rubbish[i]);
        buf_append_char(&removed, '\0');
        cr_assert(strstr(removed.ptr, rubbish[i]));
        removed.len--;
    }
    cr_assert(is_there(dir, MANIFEST_NAME));
    manifest_clear(&m);
    buf_free(&removed);
    remove_dir(dir);
}

Test(manifest, what_cannot_be_written_is_said_and_changes_nothing)
{
    char dir[] = "/tmp/gyre-test-manifest-XXXXXX";
    struct manifest m;
    struct dir_error e;
    cr_assert_not_null(mkdtemp(dir));
    make(&m);
    char *blocker = dir_join(dir, "gyre.manifest.tmp");
    cr_assert_eq(mkdir(blocker, 0755), 0);
    cr_assert_not(manifest_write(&m, dir, &e));
    cr_assert(e.code == EISDIR && strstr(e.text, "gyre.manifest.tmp"), "%s", e.text);
    cr_assert_not(is_there(dir, MANIFEST_NAME));
    cr_assert_not(manifest_write(&m, "/nonexistent", &e));
    cr_assert_eq(e.code, ENOENT);
    mem_free(blocker);
    manifest_clear(&m);
    remove_dir(dir);
}
