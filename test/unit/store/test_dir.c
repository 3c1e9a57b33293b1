// SPDX-License-Identifier: BSD-3-Clause
#include "store/dir.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

static void make_dir(char dir[64])
{
    snprintf(dir, 64, "/tmp/gyre-test-dir-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
}

static void remove_dir(const char *dir)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

static void expect_content(const char *dir, const char *name, struct slice wanted)
{
    struct dir_error e;
    struct buf content = {0};
    char *path = dir_join(dir, name);
    cr_assert(dir_read_file(path, 1 << 20, &content, &e), "%s", e.text);
    cr_assert(slice_eq(buf_slice(&content), wanted));
    buf_free(&content);
    mem_free(path);
}

Test(dir, a_file_is_replaced_whole)
{
    char dir[64];
    struct dir_error e = {.code = 99};
    make_dir(dir);
    cr_assert(dir_write_file(dir, "f", SLICE("one, and long"), &e));
    cr_assert(dir_write_file(dir, "f", SLICE("two"), &e));
    expect_content(dir, "f", SLICE("two"));
    cr_assert_eq(e.code, 99, "success does not touch the error");
    remove_dir(dir);
}

Test(dir, what_fails_is_said_with_file_and_reason)
{
    char dir[64];
    struct dir_error e;
    struct buf out = {0};
    make_dir(dir);
    cr_assert_not(dir_read_file("/nonexistent/f", 100, &out, &e));
    cr_assert_eq(e.code, ENOENT);
    cr_assert_str_eq(e.text, "cannot open '/nonexistent/f': No such file or directory");
    cr_assert_not(dir_write_file("/nonexistent", "f", SLICE("x"), &e));
    cr_assert_eq(e.code, ENOENT);
    cr_assert_not(dir_rename(dir, "a", "b", &e));
    cr_assert(e.code == ENOENT && strstr(e.text, "cannot rename"), "%s", e.text);
    cr_assert_not(dir_sync("/nonexistent", &e));
    cr_assert_not(dir_cut_file("/nonexistent/f", 0, &e));
    cr_assert_not(dir_make("/nonexistent/deeper", &e));
    cr_assert(dir_write_file(dir, "f", SLICE("12345"), &e));
    char *path = dir_join(dir, "f");
    cr_assert_not(dir_read_file(path, 4, &out, &e), "too long");
    cr_assert_eq(e.code, EFBIG);
    cr_assert_not(dir_make(path, &e), "a file is no directory");
    cr_assert_eq(e.code, ENOTDIR);
    int full = open("/dev/full", O_WRONLY);
    cr_assert_not(dir_write_all(full, "/dev/full", "x", 1, &e));
    cr_assert_str_eq(e.text, "cannot write '/dev/full': No space left on device");
    close(full);
    mem_free(path);
    buf_free(&out);
    remove_dir(dir);
}

Test(dir, a_copy_is_the_same_and_never_replaces_anything)
{
    char dir[64];
    struct dir_error e;
    make_dir(dir);
    size_t len = (3u << 20) + 7; // more than one round
    char *bytes = mem_alloc(len);
    for (size_t i = 0; i < len; i++) bytes[i] = (char)(i * 7 + (i >> 13));
    cr_assert(dir_write_file(dir, "from", (struct slice){bytes, len}, &e));
    char *from = dir_join(dir, "from"), *to = dir_join(dir, "to");
    cr_assert(dir_copy_file(from, to, &e), "%s", e.text);
    struct buf copy = {0};
    cr_assert(dir_read_file(to, len, &copy, &e), "%s", e.text);
    cr_assert(slice_eq(buf_slice(&copy), (struct slice){bytes, len}));
    cr_assert_not(dir_copy_file(from, to, &e));
    cr_assert_eq(e.code, EEXIST);
    cr_assert(dir_cut_file(from, 5, &e));
    expect_content(dir, "from", (struct slice){bytes, 5});
    buf_free(&copy);
    mem_free(from);
    mem_free(to);
    mem_free(bytes);
    remove_dir(dir);
}

Test(dir, making_and_removing_may_be_repeated)
{
    char dir[64];
    struct dir_error e;
    make_dir(dir);
    char *sub = dir_join(dir, "sub");
    cr_assert(dir_make(sub, &e), "%s", e.text);
    cr_assert(dir_make(sub, &e), "%s", e.text);
    cr_assert(dir_write_file(sub, "f", SLICE(""), &e));
    cr_assert(dir_rename(sub, "f", "g", &e));
    cr_assert(dir_remove(sub, "g", &e));
    cr_assert(dir_remove(sub, "g", &e));
    mem_free(sub);
    remove_dir(dir);
}

Test(dir, paths_are_joined_with_one_slash)
{
    static const char *const cases[][2] = {
        {"a", "a/b"}, {"a/", "a/b"}, {"a//", "a/b"}, {"/", "/b"}};
    for (int i = 0; i < 4; i++) {
        char *path = dir_join(cases[i][0], "b");
        cr_assert_str_eq(path, cases[i][1]);
        mem_free(path);
    }
}
