// SPDX-License-Identifier: BSD-3-Clause
//
// image: two keyspaces, a thread that writes, and what is then read back of the file; and what is
// left when it fails or is given up.
#include "store/image.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../commands/twin.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/snapshot.h"
#include "store/rdb_load.h"

#define NOW_MS 1700000000000
#define NAME   "dump.rdb"

struct scene {
    struct twin twin;
    char dir[32];
    struct image *image;
    pthread_t writer;
    bool is_joined, is_done[TWIN_SHARDS_MAX];
    uint32_t left; // shards that are not done
    // What the writer came to.
    bool is_preamble_put, is_good;
    uint64_t bytes;
    struct dir_error error;
};

// --- the scene -----------------------------------------------------------------------------------

static void run(struct twin *t, const char *line)
{
    char *reply = twin_run_line(t, line);
    cr_assert(!reply || *reply != '-', "%s: %s", line, reply);
    mem_free(reply);
}

// Values of all kinds, and some over several chunks.
static void fill(struct twin *t)
{
    static const char *const lines[] = {
        "EVAL \"for i=1,300 do redis.call('set','k'..i,i,'PX',99999) end\" 0",
        "EVAL \"for i=1,1500 do redis.call('hset','h',i,string.rep('x',90)..i) end\" 0",
        "EVAL \"for i=1,1500 do redis.call('sadd','s',string.rep('y',90)..i) end\" 0",
        "EVAL \"for i=1,1500 do redis.call('zadd','z',i%7,string.rep('z',90)..i) end\" 0",
        "EVAL \"for i=1,1500 do redis.call('rpush','l',string.rep('w',90)..i) end\" 0",
        "EVAL \"for i=1,300 do redis.call('xadd','x','*','f',i) end\" 0",
        "SET big <rep:b:300000>",
        "SELECT 2",
        "MSET a 1 b 2 c 3",
        "EVAL \"for i=1,1500 do redis.call('zadd','z2',i%7,string.rep('z',90)..i) end\" 0",
        "SELECT 0",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) run(t, lines[i]);
}

static void put_function(void *arg, struct buf *out)
{
    struct scene *s = arg;
    s->is_preamble_put = true;
    rdb_file_put_function(out, SLICE("#!lua name=mine\n"), false);
}

static void new_image(struct scene *s, bool is_compressed)
{
    struct image_options o = {.dir = s->dir,
                              .name = NAME,
                              .is_compressed = is_compressed,
                              .has_checksum = true,
                              .entries = {.is_compressed = is_compressed, .now_ms = NOW_MS},
                              .shard_count = s->twin.shards,
                              .preamble = put_function,
                              .arg = s};
    s->image = image_new(&o);
}

static void open_scene(struct scene *s, uint32_t shards)
{
    *s = (struct scene){.dir = "/tmp/gyre-test-XXXXXX"};
    cr_assert(mkdtemp(s->dir));
    twin_init(&s->twin, shards, NOW_MS);
}

static bool has_file(const struct scene *s, const char *name)
{
    char *path = dir_join(s->dir, name);
    bool is_there = access(path, F_OK) == 0;
    mem_free(path);
    return is_there;
}

static void close_scene(struct scene *s)
{
    struct dir_error e;
    cr_assert(dir_remove(s->dir, NAME, &e));
    cr_assert(rmdir(s->dir) == 0 || errno == ENOENT, "something else is left behind");
    twin_free(&s->twin);
}

static void *write_main(void *arg)
{
    struct scene *s = arg;
    s->is_good = image_write(s->image, &s->bytes, &s->error);
    return NULL;
}

static void start_writer(struct scene *s)
{
    cr_assert(pthread_create(&s->writer, NULL, write_main, s) == 0);
}

static void cut(struct scene *s)
{
    s->left = s->twin.shards;
    for (uint32_t i = 0; i < s->twin.shards; i++) {
        s->is_done[i] = false;
        image_cut(s->image, s->twin.engine->spaces[i]);
    }
}

// A turn of each shard.
static void work_once(struct scene *s, uint32_t budget)
{
    for (uint32_t i = 0; i < s->twin.shards; i++) {
        if (s->is_done[i]) continue;
        enum image_state state = image_work(s->image, s->twin.engine->spaces[i], budget);
        if (state == IMAGE_FULL) usleep(100);
        s->is_done[i] = state == IMAGE_DONE;
        s->left -= s->is_done[i];
    }
}

// Until all shards are done; the lines run in between, if there are any.
static void work(struct scene *s, uint32_t budget, const char *const *lines)
{
    while (s->left) {
        if (lines && *lines) run(&s->twin, *lines++);
        work_once(s, budget);
    }
}

// Ends the writer and the image.
static void finish(struct scene *s)
{
    if (!s->is_joined) cr_assert(pthread_join(s->writer, NULL) == 0);
    s->is_joined = false;
    image_wait(s->image); // all are done: at once
    image_free(s->image);
}

static bool on_function(void *arg, struct slice code, char *error)
{
    (void)error;
    *(int *)arg += slice_eq(code, SLICE("#!lua name=mine\n"));
    return true;
}

// The file holds what `want` does.
static void check_file(struct scene *s, const struct twin *want)
{
    struct twin loaded;
    struct rdb_file file;
    char error[RDB_FILE_ERROR_MAX], *path = dir_join(s->dir, NAME);
    struct rdb_progress progress[TWIN_SHARDS_MAX] = {0}, sum;
    int functions = 0;
    cr_assert(s->is_good, "%s", s->error.text);
    twin_init(&loaded, want->shards, NOW_MS);
    struct rdb_load_options o = {
        .settings = loaded.settings, .now_ms = NOW_MS, .function = on_function, .arg = &functions};
    cr_assert(rdb_file_map(&file, path, NULL, error), "%s", error);
    cr_assert_eq(s->bytes, file.len);
    for (uint32_t i = 0; i < want->shards; i++)
        cr_assert(rdb_load_shard(&file, loaded.engine, i, &o, &progress[i], error), "%s", error);
    cr_assert(rdb_load_finish(&file, progress, want->shards, &o, &sum, error), "%s", error);
    char *difference = twin_difference(want, &loaded);
    cr_assert_str_empty(difference, "%s", difference);
    cr_assert_eq(functions, 1);
    mem_free(difference);
    mem_free(path);
    rdb_file_close(&file);
    twin_free(&loaded);
    cr_assert_not(has_file(s, NAME DIR_TEMPORARY));
}

// --- what is written -----------------------------------------------------------------------------

static void write_and_read_back(uint32_t shards, bool is_compressed, uint32_t budget)
{
    static const char *const changes[] = {
        "DEL k1 k2 k3 k4",
        "SET k5 new",
        "SREM s nothing",
        "HDEL h 1 2 3 4",
        "RPUSH l at-the-end",
        "SWAPDB 0 2",
        "ZADD z2 5 new",
        "FLUSHDB",
        "SET k1 again",
        "MSET a 4 b 5 d 6",
        "SELECT 2",
        "ZPOPMIN z2 10",
        "SELECT 0",
        "FLUSHALL",
        NULL,
    };
    struct scene s;
    struct twin before; // the same as it was at the cut
    open_scene(&s, shards);
    twin_init(&before, shards, NOW_MS);
    fill(&s.twin);
    fill(&before);
    new_image(&s, is_compressed);
    start_writer(&s);
    cut(&s);
    work(&s, budget, changes);
    struct image_progress p = image_progress(s.image);
    cr_assert(p.keys_total == 310 && p.keys_done == 310, "%d of %d", (int)p.keys_done,
              (int)p.keys_total);
    finish(&s);
    check_file(&s, &before);
    twin_free(&before);
    close_scene(&s);
}

Test(image, the_file_holds_what_was_there_at_the_cut)
{
    write_and_read_back(2, false, 3);
    write_and_read_back(2, true, 50);
    write_and_read_back(1, true, 1000000);
}

Test(image, an_empty_database_is_a_file_too)
{
    struct scene s;
    open_scene(&s, 2);
    new_image(&s, true);
    start_writer(&s);
    cut(&s);
    work(&s, 1, NULL);
    finish(&s);
    check_file(&s, &s.twin);
    close_scene(&s);
}

Test(image, a_big_value_says_in_which_database_it_is)
{
    struct scene s;
    open_scene(&s, 1);
    run(&s.twin, "SELECT 5");
    run(&s.twin, "EVAL \"for i=1,1500 do redis.call('hset','h',i,string.rep('x',90)..i) end\" 0");
    new_image(&s, false);
    start_writer(&s);
    cut(&s);
    work(&s, 1, NULL);
    finish(&s);
    check_file(&s, &s.twin);
    close_scene(&s);
}

// Nothing is taken yet, so what is saved piles up to a bound.
Test(image, what_waits_for_the_writer_is_bounded)
{
    struct scene s;
    struct twin before;
    open_scene(&s, 1);
    twin_init(&before, 1, NOW_MS);
    static const char line[] = "EVAL \"local v = string.rep('v',200000) for i=1,30 do "
                               "redis.call('set','k'..i,v..i) end\" 0";
    run(&s.twin, line);
    run(&before, line);
    new_image(&s, false);
    cut(&s);
    int more = 0;
    enum image_state state;
    while ((state = image_work(s.image, s.twin.engine->spaces[0], 1)) == IMAGE_MORE) more++;
    cr_assert_eq(state, IMAGE_FULL);
    uint64_t done = image_progress(s.image).keys_done;
    cr_assert(done >= 20 && done < 30, "%d", (int)done); // and what shared a bucket
    for (int i = 0; i < 30; i++) {                       // whoever writes does not wait
        char set[32];
        snprintf(set, sizeof set, "SET k%d new", i + 1);
        run(&s.twin, set);
    }
    cr_assert_eq(image_progress(s.image).keys_done, 30);
    cr_assert_eq(image_work(s.image, s.twin.engine->spaces[0], 1000), IMAGE_FULL);
    start_writer(&s);
    work(&s, 10, NULL);
    finish(&s);
    check_file(&s, &before);
    twin_free(&before);
    close_scene(&s);
}

// --- what fails ----------------------------------------------------------------------------------

// The shards go on to their end though nobody wants it, and then another image can be made.
static void check_failure(struct scene *s, const char *words)
{
    run(&s->twin, "SET k1 meanwhile");
    run(&s->twin, "FLUSHDB");
    work(s, 7, NULL);
    finish(s);
    cr_assert_not(s->is_good);
    cr_assert(strstr(s->error.text, words), "%s", s->error.text);
    cr_assert_not(has_file(s, NAME DIR_TEMPORARY));
    cr_assert_not(has_file(s, NAME));
    if (access(s->dir, F_OK) == 0) {
        fill(&s->twin);
        new_image(s, false);
        start_writer(s);
        cut(s);
        work(s, 20, NULL);
        finish(s);
        check_file(s, &s->twin);
    }
    close_scene(s);
}

Test(image, after_it_was_canceled_there_is_no_file)
{
    struct scene s;
    open_scene(&s, 2);
    fill(&s.twin);
    new_image(&s, false);
    cut(&s);
    while (image_progress(s.image).keys_done < 150) work_once(&s, 1);
    start_writer(&s);
    image_cancel(s.image);
    cr_assert(pthread_join(s.writer, NULL) == 0);
    s.is_joined = true;
    work_once(&s, 1); // now the shards know
    uint64_t done = image_progress(s.image).keys_done;
    run(&s.twin, "MSET k1 1 k2 2 k3 3 k4 4 k5 5 k6 6 k7 7 k8 8");
    for (int i = 0; i < 20; i++) work_once(&s, 1);
    cr_assert_eq(image_progress(s.image).keys_done, done, "in vain");
    check_failure(&s, "it was given up");
}

Test(image, it_may_be_canceled_before_the_shards_have_come_to_the_cut)
{
    struct scene s;
    open_scene(&s, 2);
    new_image(&s, false);
    start_writer(&s);
    image_cancel(s.image);
    cr_assert(pthread_join(s.writer, NULL) == 0);
    cr_assert_not(s.is_good);
    cr_assert_not(s.is_preamble_put, "what it consists of is known at the cut");
    cut(&s);
    work(&s, 7, NULL);
    image_free(s.image);
    close_scene(&s);
}

Test(image, a_directory_that_is_gone_is_told)
{
    struct scene s;
    open_scene(&s, 2);
    fill(&s.twin);
    new_image(&s, false);
    cr_assert(rmdir(s.dir) == 0);
    start_writer(&s);
    cut(&s);
    check_failure(&s, "cannot create '/tmp/gyre-test-");
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes ? bytes : limit.rlim_max;
    cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

Test(image, a_file_that_cannot_grow_is_removed)
{
    struct scene s;
    open_scene(&s, 2);
    fill(&s.twin);
    new_image(&s, false);
    limit_files(300000);
    start_writer(&s);
    cut(&s);
    for (int i = 0; i < 20; i++) work_once(&s, 1);
    run(&s.twin, "DEL h s z l big"); // more than fits
    for (int i = 0; i < 20; i++) work_once(&s, 1);
    cr_assert(pthread_join(s.writer, NULL) == 0);
    cr_assert_eq(s.error.code, EFBIG);
    limit_files(0);
    s.is_joined = true;
    check_failure(&s, "cannot write '/tmp/gyre-test-");
}
