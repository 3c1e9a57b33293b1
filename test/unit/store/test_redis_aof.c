// SPDX-License-Identifier: BSD-3-Clause
#include "store/redis_aof.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

// --- manifests -----------------------------------------------------------------------------------

static bool parse(const char *text, struct redis_aof *out, struct dir_error *e)
{
    *e = (struct dir_error){0};
    return redis_aof_parse_manifest("m", slice_of(text), out, e);
}

// The names in order, each with a space behind it.
static void expect_files(const char *text, const char *names)
{
    struct redis_aof a;
    struct dir_error e;
    struct buf got = {0};
    cr_assert(parse(text, &a, &e), "%s", e.text);
    for (uint32_t i = 0; i < a.file_count; i++) {
        cr_assert_eq(a.files[i].is_base, strstr(a.files[i].name, "base") != NULL);
        buf_printf(&got, "%s ", a.files[i].name);
    }
    cr_assert(slice_eq(buf_slice(&got), slice_of(names)), "%.*s is not %s",
              SLICE_ARG(buf_slice(&got)), names);
    buf_free(&got);
    redis_aof_free(&a);
}

static void expect_refusal(const char *text, const char *why)
{
    struct redis_aof a;
    struct dir_error e;
    cr_assert(!parse(text, &a, &e), "accepted: %s", text);
    cr_assert_str_eq(e.text, why);
    redis_aof_free(&a);
}

Test(redis_aof, a_manifest_names_the_base_first_and_leaves_history_out)
{
    expect_files("file a.3.base.rdb seq 3 type b\n"
                 "file a.1.incr.aof seq 1 type h\n"
                 "file a.4.incr.aof seq 4 type i\n"
                 "file a.7.incr.aof seq 7 type i\n",
                 "a.3.base.rdb a.4.incr.aof a.7.incr.aof ");
    expect_files("file a.4.incr.aof seq 4 type i\n"
                 "file a.5.incr.aof seq 5 type i\n"
                 "file a.9.base.aof seq 9 type b\n",
                 "a.9.base.aof a.4.incr.aof a.5.incr.aof ");
    expect_files("file a.1.base.rdb seq 1 type h\n", "");
}

Test(redis_aof, a_manifest_has_quotes_comments_and_words_of_later_versions)
{
    expect_files("# made by hand\nfile \"a b\\x21.incr.aof\" seq 1 type i\n", "a b!.incr.aof ");
    expect_files("type i startoffset 1 file x.incr.aof endoffset 90 seq 2\r\n", "x.incr.aof ");
    expect_files("  FILE 'x.base'  SEQ 1\tTYPE b \n", "x.base ");
}

Test(redis_aof, a_manifest_that_says_something_else_is_refused)
{
    char line[REDIS_AOF_LINE_BYTES_MAX + 50];
    snprintf(line, sizeof line, "#%0*d\n", REDIS_AOF_LINE_BYTES_MAX, 1);
    expect_refusal("", "m is empty");
    expect_refusal(line, "m:1: the line is too long");
    expect_refusal("file x seq 1 type b", "m:1: the line has no end: the file is cut off");
    expect_refusal("\n", "m:1: no name of a file in this directory");
    expect_refusal("file x seq 1 type\n", "m:1: a name without a value");
    expect_refusal("file x seq 1 type x\n", "m:1: no type of file that is known (b, h, i)");
    expect_refusal("file x seq 1 type B\n", "m:1: no type of file that is known (b, h, i)");
    expect_refusal("file x seq 1\n", "m:1: no type of file that is known (b, h, i)");
    expect_refusal("file x seq 0 type b\n", "m:1: no sequence number");
    expect_refusal("file x type b\n", "m:1: no sequence number");
    expect_refusal("file x seq -1 type b\n", "m:1: 'seq' is not a number");
    expect_refusal("file x seq 99999999999999999999 type b\n", "m:1: 'seq' is not a number");
    expect_refusal("file '' seq 1 type b\n", "m:1: no name of a file in this directory");
    expect_refusal("file ../x seq 1 type b\n", "m:1: no name of a file in this directory");
    expect_refusal("file .. seq 1 type b\n", "m:1: no name of a file in this directory");
    expect_refusal("file \"a\\x00b\" seq 1 type b\n", "m:1: no name of a file in this directory");
    expect_refusal("file \"x seq 1 type b\n", "m:1: unbalanced quotes");
    expect_refusal("*1\r\n$1\r\nx\r\n", "m:1: not a line of a manifest");
    expect_refusal("file x seq 1 type b\nfile y seq 2 type b\n", "m:2: a second base file");
    expect_refusal("file x seq 2 type i\n#\nfile y seq 2 type i\n",
                   "m:3: sequence numbers do not ascend");
}

// --- directories ---------------------------------------------------------------------------------

struct directory {
    char root[64];
    struct redis_aof aof;
    struct dir_error error;
};

static struct directory make_directory(void)
{
    struct directory d = {.root = "/tmp/gyre-redis-aof-XXXXXX"};
    cr_assert_not_null(mkdtemp(d.root));
    return d;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *walk)
{
    (void)st, (void)flag, (void)walk;
    return remove(path);
}

static void remove_directory(struct directory *d)
{
    cr_assert_eq(nftw(d->root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    redis_aof_free(&d->aof);
}

static void put(const struct directory *d, const char *name, const char *text)
{
    char *path = dir_join(d->root, name);
    if (strchr(name, '/')) {
        char *sub = dir_join(d->root, "sub");
        mkdir(sub, 0700);
        mem_free(sub);
    }
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    cr_assert_geq(fputs(text, f), 0);
    cr_assert_eq(fclose(f), 0);
    mem_free(path);
}

static void drop(const struct directory *d, const char *name)
{
    char *path = dir_join(d->root, name);
    cr_assert_eq(remove(path), 0);
    mem_free(path);
}

static enum redis_aof_found look(struct directory *d)
{
    redis_aof_free(&d->aof);
    d->error = (struct dir_error){0};
    return redis_aof_open(d->root, "sub", "a.aof", &d->aof, &d->error);
}

// The files' paths below the root.
static void expect_paths(struct directory *d, const char *expected)
{
    struct buf got = {0};
    cr_assert_eq(look(d), REDIS_AOF_FOUND, "%s", d->error.text);
    for (uint32_t i = 0; i < d->aof.file_count; i++) {
        cr_assert_eq(strncmp(d->aof.files[i].path, d->root, strlen(d->root)), 0);
        cr_assert_eq(d->aof.files[i].is_last, i + 1 == d->aof.file_count);
        buf_printf(&got, "%s ", d->aof.files[i].path + strlen(d->root) + 1);
    }
    cr_assert(slice_eq(buf_slice(&got), slice_of(expected)), "%.*s is not %s",
              SLICE_ARG(buf_slice(&got)), expected);
    buf_free(&got);
}

static void expect_error(struct directory *d, const char *what)
{
    cr_assert_eq(look(d), REDIS_AOF_ERROR);
    cr_assert(strstr(d->error.text, what) != NULL, "'%s' is not in: %s", what, d->error.text);
}

Test(redis_aof, where_nothing_is_nothing_is_found)
{
    struct directory d = make_directory();
    cr_assert_eq(look(&d), REDIS_AOF_NONE);
    put(&d, "sub/gyre.manifest", "");
    put(&d, "sub/gyre-1.base.rdb", "");
    put(&d, "sub/temp-a.aof.manifest", "");
    put(&d, "sub/a.aof.x.base.rdb", "");
    put(&d, "sub/b.aof.1.base.rdb", "");
    put(&d, "sub/a.aof..base.rdb", "");
    cr_assert_eq(look(&d), REDIS_AOF_NONE, "%s", d.error.text);
    put(&d, "sub/a.aof.manifest", "file a.aof.1.base.rdb seq 1 type h\n");
    cr_assert_eq(look(&d), REDIS_AOF_NONE, "%s", d.error.text);
    remove_directory(&d);
}

Test(redis_aof, the_files_of_a_manifest_are_found_and_measured)
{
    struct directory d = make_directory();
    put(&d, "a.aof", "not this one");
    put(&d, "sub/a.aof.manifest",
        "file a.aof.2.base.rdb seq 2 type b\n"
        "file a.aof.1.incr.aof seq 1 type h\n"
        "file a.aof.2.incr.aof seq 2 type i\n"
        "file a.aof.3.incr.aof seq 3 type i\n");
    put(&d, "sub/a.aof.2.base.rdb", "REDIS0010");
    put(&d, "sub/a.aof.2.incr.aof", "REDI");
    put(&d, "sub/a.aof.3.incr.aof", "");
    expect_paths(&d, "sub/a.aof.2.base.rdb sub/a.aof.2.incr.aof sub/a.aof.3.incr.aof ");
    cr_assert(d.aof.files[0].has_rdb && !d.aof.files[1].has_rdb && !d.aof.files[2].has_rdb);
    cr_assert(d.aof.files[0].bytes == 9 && d.aof.files[1].bytes == 4 && d.aof.files[2].bytes == 0);
    cr_assert_eq(d.aof.total_bytes, 13);
    cr_assert_str_eq(d.aof.identity.path, "sub/a.aof.manifest");
    cr_assert_eq(d.aof.identity.bytes, 13 + 4 * 35);
    remove_directory(&d);
}

Test(redis_aof, a_file_that_cannot_be_read_is_an_error)
{
    struct directory d = make_directory();
    put(&d, "sub/a.aof.manifest", "file a.aof.1.base.rdb seq 1 type b\n");
    expect_error(&d, "sub/a.aof.1.base.rdb is missing, though the manifest names it");
    char *path = dir_join(d.root, "sub/a.aof.1.base.rdb");
    cr_assert_eq(mkdir(path, 0700), 0);
    expect_error(&d, "a.aof.1.base.rdb is not a file");
    cr_assert_eq(rmdir(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect_error(&d, "a.aof.1.base.rdb is not a file");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(symlink("a.aof.1.base.rdb", path), 0);
    expect_error(&d, "Too many levels of symbolic links");
    mem_free(path);
    put(&d, "sub/a.aof.manifest", "file x seq 1 type z\n");
    expect_error(&d, "sub/a.aof.manifest:1: no type of file that is known");
    remove_directory(&d);
}

Test(redis_aof, files_without_their_manifest_are_an_error)
{
    static const char *const names[] = {"sub/a.aof.1.base.rdb", "sub/a.aof.12.base.aof",
                                        "sub/a.aof.3.incr.aof"};
    struct directory d = make_directory();
    put(&d, "a.aof", "");
    for (size_t i = 0; i < 3; i++) {
        put(&d, names[i], "");
        expect_error(&d, "is there, but not the manifest a.aof.manifest");
        drop(&d, names[i]);
    }
    expect_paths(&d, "a.aof ");
    remove_directory(&d);
}

Test(redis_aof, an_old_single_file_counts_until_it_has_been_moved)
{
    struct directory d = make_directory();
    put(&d, "a.aof", "REDIS...");
    expect_paths(&d, "a.aof ");
    cr_assert(d.aof.files[0].has_rdb && d.aof.files[0].is_base);
    cr_assert_str_eq(d.aof.identity.path, "a.aof");
    cr_assert_eq(d.aof.identity.bytes, 8);
    put(&d, "sub/a.aof.manifest", "file x seq 1 type h\n");
    expect_paths(&d, "a.aof ");
    cr_assert_eq(d.aof.identity.bytes, 8);
    put(&d, "sub/a.aof.manifest", "file b.aof seq 1 type b\n");
    expect_error(&d, "sub/b.aof is missing");
    put(&d, "sub/a.aof.manifest", "file a.aof seq 1 type b\n"); // about to be moved
    expect_paths(&d, "a.aof ");
    put(&d, "sub/a.aof", "moved");
    expect_paths(&d, "sub/a.aof ");
    drop(&d, "a.aof");
    expect_paths(&d, "sub/a.aof ");
    drop(&d, "sub/a.aof");
    expect_error(&d, "sub/a.aof is missing");
    remove_directory(&d);
}

// --- did they change -----------------------------------------------------------------------------

static void set_mtime(const struct directory *d, const char *name, time_t seconds)
{
    struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds, .tv_nsec = 5}};
    char *path = dir_join(d->root, name);
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    mem_free(path);
}

static enum redis_aof_change compare(struct directory *d)
{
    d->error = (struct dir_error){0};
    return redis_aof_changed(d->root, "sub", "a.aof", &d->aof.identity, &d->error);
}

Test(redis_aof, what_was_written_to_since_is_noticed)
{
    struct directory d = make_directory();
    put(&d, "sub/a.aof.manifest", "file a.aof.1.incr.aof seq 1 type i\n");
    put(&d, "sub/a.aof.1.incr.aof", "x");
    set_mtime(&d, "sub/a.aof.manifest", 1000);
    set_mtime(&d, "sub/a.aof.1.incr.aof", 2000);
    cr_assert_eq(look(&d), REDIS_AOF_FOUND);
    cr_assert_eq(d.aof.identity.mtime_ns, INT64_C(2000000000005));
    cr_assert_eq(compare(&d), REDIS_AOF_SAME);
    cr_assert_str_empty(d.error.text);
    put(&d, "sub/a.aof.1.incr.aof", "y");
    cr_assert_eq(compare(&d), REDIS_AOF_CHANGED);
    cr_assert_str_eq(d.error.text, "sub/a.aof.manifest or one of its files was written to");
    put(&d, "sub/a.aof.1.incr.aof", "xx");
    set_mtime(&d, "sub/a.aof.1.incr.aof", 2000);
    cr_assert_eq(compare(&d), REDIS_AOF_CHANGED);
    cr_assert_str_eq(d.error.text, "sub/a.aof.manifest and its files had 36 bytes and have 37 now");
    drop(&d, "sub/a.aof.1.incr.aof");
    cr_assert_eq(compare(&d), REDIS_AOF_CHANGED);
    cr_assert(strstr(d.error.text, "is missing") != NULL);
    drop(&d, "sub/a.aof.manifest");
    put(&d, "a.aof", "x");
    cr_assert_eq(compare(&d), REDIS_AOF_CHANGED);
    cr_assert_str_eq(d.error.text, "a.aof has taken the place of sub/a.aof.manifest");
    drop(&d, "a.aof");
    cr_assert_eq(compare(&d), REDIS_AOF_GONE);
    remove_directory(&d);
}

// --- commands ------------------------------------------------------------------------------------

#define SET_A  "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
#define DEL_B  "*2\r\n$3\r\nDEL\r\n$1\r\nb\r\n"
#define SELECT "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
#define EMPTY  "*2\r\n$4\r\nINCR\r\n$0\r\n\r\n"
#define MULTI  "*1\r\n$5\r\nMULTI\r\n"
#define EXEC   "*1\r\n$4\r\nEXEC\r\n"
#define TIME   "#TS:1795335541\r\n"

#define ALL SELECT TIME SET_A MULTI DEL_B TIME SET_A EXEC EMPTY MULTI EXEC DEL_B

struct reading {
    enum redis_aof_step step;
    size_t good_bytes, commands;
    struct buf text; // "SET a 1;" and in transactions "<SET a 1;"
    struct dir_error error;
};

// Reads from memory of exactly that length, so that a sanitizer sees what is read behind it.
static struct reading read_all(const char *bytes, size_t len, bool is_last)
{
    struct redis_aof_reader r;
    struct reading got = {0};
    struct slice *argv;
    int argc;
    char *copy = mem_alloc(len ? len : 1);
    memcpy(copy, bytes, len);
    redis_aof_reader_init(&r, "f", (struct slice){copy, len}, is_last);
    while ((got.step = redis_aof_next(&r, &argc, &argv)) == REDIS_AOF_COMMAND) {
        got.commands++;
        buf_printf(&got.text, "%s%llu", r.is_in_transaction ? "<" : "", (unsigned long long)r.unit);
        for (int i = 0; i < argc; i++) {
            buf_append_char(&got.text, ' ');
            buf_append(&got.text, argv[i].ptr, argv[i].len);
        }
        buf_append_char(&got.text, ';');
    }
    cr_assert_eq(redis_aof_next(&r, &argc, &argv), got.step);
    got.good_bytes = r.good_bytes;
    got.error = r.error;
    redis_aof_reader_close(&r);
    mem_free(copy);
    return got;
}

static void expect_reading(const char *bytes, enum redis_aof_step step, const char *commands,
                           const char *error)
{
    struct reading got = read_all(bytes, strlen(bytes), true);
    cr_assert_eq(got.step, step, "%d: %s", got.step, got.error.text);
    cr_assert(slice_eq(buf_slice(&got.text), slice_of(commands)), "%.*s is not %s",
              SLICE_ARG(buf_slice(&got.text)), commands);
    cr_assert(strstr(got.error.text, error) != NULL, "'%s' is not in: %s", error, got.error.text);
    buf_free(&got.text);
}

static void expect_damage(const char *bytes, const char *what)
{
    struct reading got = read_all(bytes, strlen(bytes), true);
    cr_assert_eq(got.step, REDIS_AOF_DAMAGED, "%d: %s", got.step, bytes);
    cr_assert(strstr(got.error.text, what) != NULL, "'%s' is not in: %s", what, got.error.text);
    buf_free(&got.text);
}

Test(redis_aof, commands_come_in_order_and_transactions_as_one_unit)
{
    expect_reading("", REDIS_AOF_END, "", "");
    expect_reading(TIME, REDIS_AOF_END, "", "");
    expect_reading(SET_A, REDIS_AOF_END, "1 SET a 1;", "");
    expect_reading(ALL TIME, REDIS_AOF_END,
                   "1 SELECT 3;2 SET a 1;<3 DEL b;<3 SET a 1;4 INCR ;6 DEL b;", "");
    expect_reading("*1\r\n$5\r\nmulti\r\n" DEL_B "*1\r\n$4\r\nexec\r\n", REDIS_AOF_END, "<1 DEL b;",
                   "");
}

Test(redis_aof, lines_may_end_without_a_carriage_return)
{
    expect_reading("*1\n$4\nPING\r\n#\n*01\n$04\nPING\r\n", REDIS_AOF_END, "1 PING;2 PING;", "");
}

Test(redis_aof, the_commands_behind_an_rdb_file_are_read)
{
    struct redis_aof_reader r;
    struct slice *argv;
    int argc;
    redis_aof_reader_init(&r, "f", SLICE("REDIS0010!" SET_A), true);
    redis_aof_reader_skip(&r, 10);
    cr_assert_eq(redis_aof_next(&r, &argc, &argv), REDIS_AOF_COMMAND);
    cr_assert(argc == 3 && slice_eq(argv[1], SLICE("a")) && r.offset == 10);
    cr_assert_eq(redis_aof_next(&r, &argc, &argv), REDIS_AOF_END);
    redis_aof_reader_close(&r);
}

Test(redis_aof, a_file_is_read_from_disk)
{
    struct directory d = make_directory();
    struct redis_aof_reader r;
    struct slice *argv;
    int argc, count = 0;
    put(&d, "sub/a.aof.manifest",
        "file a.aof.1.incr.aof seq 1 type i\nfile a.aof.2.incr.aof seq 2 type i\n");
    put(&d, "sub/a.aof.1.incr.aof", "");
    put(&d, "sub/a.aof.2.incr.aof", ALL);
    cr_assert_eq(look(&d), REDIS_AOF_FOUND);
    cr_assert(redis_aof_reader_open(&r, &d.aof.files[0], &d.error));
    cr_assert_eq(redis_aof_next(&r, &argc, &argv), REDIS_AOF_END);
    redis_aof_reader_close(&r);
    cr_assert(redis_aof_reader_open(&r, &d.aof.files[1], &d.error));
    while (redis_aof_next(&r, &argc, &argv) == REDIS_AOF_COMMAND) count++;
    cr_assert_eq(count, 6);
    cr_assert_eq(r.good_bytes, d.aof.files[1].bytes);
    redis_aof_reader_close(&r);
    put(&d, "sub/a.aof.2.incr.aof", ALL SET_A);
    cr_assert(!redis_aof_reader_open(&r, &d.aof.files[1], &d.error));
    cr_assert(strstr(d.error.text, "has changed while it was read") != NULL);
    drop(&d, "sub/a.aof.2.incr.aof");
    cr_assert(!redis_aof_reader_open(&r, &d.aof.files[1], &d.error));
    cr_assert(strstr(d.error.text, "No such file") != NULL);
    remove_directory(&d);
}

// --- torn tails ----------------------------------------------------------------------------------

// Where the units of ALL end, and how many commands there are up to there.
static const struct {
    size_t bytes, commands;
} all_units[] = {
    {0, 0},
    {sizeof(SELECT) - 1, 1},
    {sizeof(SELECT TIME SET_A) - 1, 2},
    {sizeof(SELECT TIME SET_A MULTI DEL_B TIME SET_A EXEC) - 1, 4},
    {sizeof(SELECT TIME SET_A MULTI DEL_B TIME SET_A EXEC EMPTY) - 1, 5},
    {sizeof(SELECT TIME SET_A MULTI DEL_B TIME SET_A EXEC EMPTY MULTI EXEC) - 1, 5},
    {sizeof(ALL) - 1, 6},
};

static size_t unit_before(size_t bytes)
{
    size_t i = 0;
    while (i + 1 < sizeof all_units / sizeof *all_units && all_units[i + 1].bytes <= bytes) i++;
    return i;
}

Test(redis_aof, a_file_cut_anywhere_gives_its_whole_units)
{
    for (size_t len = 0; len < sizeof ALL; len++) {
        size_t unit = unit_before(len);
        struct reading got = read_all(ALL, len, true);
        bool is_clean = len == all_units[unit].bytes || // or behind an annotation
                        len == sizeof(SELECT TIME) - 1;
        cr_assert_eq(got.step, is_clean ? REDIS_AOF_END : REDIS_AOF_TORN, "%zu: %s", len,
                     got.error.text);
        cr_assert_eq(got.commands, all_units[unit].commands, "%zu: %zu", len, got.commands);
        cr_assert_eq(got.good_bytes, is_clean ? len : all_units[unit].bytes);
        buf_free(&got.text);
        struct reading first = read_all(ALL, len, false);
        cr_assert_eq(first.step, is_clean ? REDIS_AOF_END : REDIS_AOF_DAMAGED);
        cr_assert_eq(first.commands, got.commands);
        buf_free(&first.text);
    }
}

Test(redis_aof, a_torn_tail_says_what_is_dropped)
{
    expect_reading(SET_A "*2\r\n$3\r\nD", REDIS_AOF_TORN, "1 SET a 1;",
                   "f ends in the middle of a command: 9 bytes from offset 27 on are dropped");
    expect_reading(DEL_B MULTI SET_A, REDIS_AOF_TORN, "1 DEL b;",
                   "f ends in the middle of a transaction: 42 bytes from offset 20 on");
    expect_reading(DEL_B MULTI SET_A "*2\r", REDIS_AOF_TORN, "1 DEL b;",
                   "in the middle of a transaction: 45 bytes from offset 20 on are dropped");
    struct reading first = read_all(SET_A "*2\r\n", sizeof(SET_A "*2\r\n") - 1, false);
    cr_assert(strstr(first.error.text,
                     "f is damaged at offset 27: it ends in the middle, but is not "
                     "the last. What comes before offset 27 is good.") != NULL);
    buf_free(&first.text);
}

Test(redis_aof, a_wrong_length_in_the_middle_is_no_torn_tail)
{
    expect_damage("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$9999\r\n1\r\n" SELECT SET_A,
                  "f is damaged at offset 0: a command reaches beyond the end, but another follows "
                  "at 30. What comes before offset 0 is good.");
    expect_damage("*2\r\n$3\r\nDEL\r\n$999999999999999999\r\nb\r\n" SET_A "*1\r\n", "follows at");
    expect_damage(MULTI SET_A "*2\r\n$3\r\nDEL\r\n$70\r\nb\r\n" DEL_B EXEC, "at offset 42");
    // What looks like the beginning of a command may well be in a value that was cut.
    expect_reading("*2\r\n$3\r\nDEL\r\n$99\r\n\r\n*2\r\n$1\r\n\r\n*1\r\n$3\r\n\0", REDIS_AOF_TORN,
                   "", "from offset 0");
    expect_reading("*2\r\n$3\r\nDEL\r\n$99\r\n\r\n*1\r\n$2\r\n{}\r\n\r\n*1\r\n$0\r\n\r\n",
                   REDIS_AOF_TORN, "", "from offset 0");
}

// Every byte of the structure, changed in several ways: nothing is lost without a word.
Test(redis_aof, a_changed_byte_never_makes_a_torn_tail_of_what_is_whole)
{
    static const char others[] = "\0\n\r#$*019x";
    size_t last = all_units[5].bytes;
    for (size_t i = 0; i < last; i++)
        for (size_t k = 0; k < sizeof others - 1; k++) {
            char bytes[] = ALL;
            if (bytes[i] == others[k]) continue;
            if (isupper((unsigned char)bytes[i])) continue; // names of commands are not checked
            bytes[i] = others[k];
            struct reading got = read_all(bytes, sizeof bytes - 1, true);
            cr_assert_neq(got.step, REDIS_AOF_TORN, "%zu: %s", i, got.error.text);
            cr_assert(got.step == REDIS_AOF_DAMAGED || got.commands == 6, "%zu %d", i, others[k]);
            buf_free(&got.text);
        }
}

Test(redis_aof, bytes_made_for_it_cannot_keep_the_search_busy)
{
    struct buf b = {0};
    struct timespec start, end;
    buf_append_text(&b, "*9999999\r\n");
    for (int i = 0; i < 200000; i++) buf_append_text(&b, "$9\r\n\r\n*999999\r\n");
    clock_gettime(CLOCK_MONOTONIC, &start);
    struct reading got = read_all(b.ptr, b.len, true);
    clock_gettime(CLOCK_MONOTONIC, &end);
    cr_assert_eq(got.step, REDIS_AOF_DAMAGED);
    cr_assert_lt(end.tv_sec - start.tv_sec, 5);
    buf_free(&got.text);
    buf_free(&b);
}

// --- damage --------------------------------------------------------------------------------------

Test(redis_aof, what_is_no_command_is_damage)
{
    static const char zeros[] = SET_A "\0\0\0\0\0\0\0";
    expect_damage(SET_A "PING\r\n", "f is damaged at offset 27: no command begins here. What comes "
                                    "before offset 27 is good. To load that much, run");
    expect_damage("\r\n", "at offset 0: no command begins here");
    expect_damage("*0\r\n", "at offset 0: no number of words");
    expect_damage("*2147483648\r\n", "at offset 0: no number of words");
    expect_damage("*999999999999999999\r\n", "at offset 0: no number of words");
    expect_damage("*9999999999999999999\r\n", "at offset 19: the line does not end");
    expect_damage("*-1\r\n", "at offset 1: no number");
    expect_damage("*\r\n", "at offset 1: no number");
    expect_damage("*1x\r\n", "at offset 2: the line does not end");
    expect_damage("*1\r*", "at offset 3: the line does not end");
    expect_damage("*1\r\n+OK\r\n", "at offset 4: no word begins here");
    expect_damage("*1\r\n$-1\r\n", "at offset 5: no number");
    expect_damage("*1\r\n$4\r\nPINGS\r\n", "at offset 12: the word does not end");
    expect_damage("*1\r\n$4\r\nPING\rx", "at offset 12: the word does not end");
    expect_damage("*1\r\n$4\r\nPINGx", "at offset 12: the word does not end");
    struct reading got = read_all(zeros, sizeof zeros - 1, true);
    cr_assert_eq(got.step, REDIS_AOF_DAMAGED);
    cr_assert_eq(got.good_bytes, sizeof SET_A - 1);
    buf_free(&got.text);
}

Test(redis_aof, transactions_that_do_not_fit_are_damage)
{
    expect_damage(SET_A EXEC, "at offset 27: EXEC without MULTI");
    expect_damage(MULTI EXEC EXEC, "at offset 29: EXEC without MULTI");
    expect_damage(MULTI SET_A MULTI SET_A EXEC,
                  "at offset 42: a transaction begins within another");
    expect_damage(DEL_B MULTI SET_A "PING" EXEC,
                  "at offset 62: no command begins here. What comes before offset 20 is good.");
}
