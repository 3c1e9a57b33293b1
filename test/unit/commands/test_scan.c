// SPDX-License-Identifier: BSD-3-Clause
//
// One database through include/gyre.h; what the shards make of cursors through the engine itself.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "commands/families.h"
#include "commands/scan.h"
#include "driver.h"
#include "engine/engine.h"
#include "engine/settings.h"

static struct gyre *g;

static void open_one(void)
{
    g = driver_open();
}

static void close_it(void)
{
    driver_close(g);
}

TestSuite(scan, .init = open_one, .fini = close_it);

static void fill(int n)
{
    char key[16];
    const char *argv[] = {"SET", key, "v"};
    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof key, "k%d", i);
        gyre_execute(g, 3, argv, NULL, NULL, NULL);
    }
}

Test(scan, says_what_is_wrong_with_it)
{
    CHECK(g, "SCAN x", "-ERR invalid cursor");
    CHECK(g, "SCAN 18446744073709551616", "-ERR invalid cursor");
    CHECK(g, "SCAN x COUNT x", "-ERR invalid cursor");
    CHECK(g, "SCAN 0 COUNT 0", "-ERR syntax error");
    CHECK(g, "SCAN 0 COUNT x", "-ERR value is not an integer or out of range");
    CHECK(g, "SCAN 0 MATCH", "-ERR syntax error");
    CHECK(g, "SCAN 0 bogus 1", "-ERR syntax error");
    CHECK(g, "SCAN 0", "*2 $1 0 *0");
}

Test(scan, filters_by_pattern_and_type)
{
    CHECK(g, "MSET a 1 b 2", "+OK");
    CHECK(g, "SCAN 0 MATCH a*", "*2 $1 0 *1 $1 a");
    CHECK(g, "SCAN 0 MATCH a* TYPE STRING", "*2 $1 0 *1 $1 a");
    CHECK(g, "SCAN 0 TYPE list", "*2 $1 0 *0");
    CHECK(g, "KEYS b", "*1 $1 b");
    CHECK(g, "KEYS nope", "*0");
}

Test(scan, removes_the_expired_that_it_sees)
{
    CHECK(g, "SET dead v PX 5", "+OK");
    CHECK(g, "SET live v", "+OK");
    gyre_set_now_ms(g, DRIVER_NOW_MS + 6);
    CHECK(g, "KEYS *", "*1 $4 live");
    cr_assert_eq(gyre_key_count(g, 0), 2);
    CHECK(g, "SCAN 0", "*2 $1 0 *1 $4 live");
    cr_assert_eq(gyre_key_count(g, 0), 1);
}

Test(scan, randomkey_passes_over_the_expired)
{
    CHECK(g, "RANDOMKEY", "$-1");
    CHECK(g, "SET live v", "+OK");
    CHECK(g, "SET dead1 v PX 5", "+OK");
    CHECK(g, "SET dead2 v PX 5", "+OK");
    gyre_set_now_ms(g, DRIVER_NOW_MS + 6);
    for (int i = 0; i < 20; i++) CHECK(g, "RANDOMKEY", "$4 live");
    CHECK(g, "DEL live", ":1");
    CHECK(g, "RANDOMKEY", "$-1");
    cr_assert_eq(gyre_key_count(g, 0), 0);
}

Test(scan, keys_lists_each_key_once)
{
    enum { N = 3000 };
    fill(N);
    const char *argv[] = {"KEYS", "k*"};
    bool seen[N] = {false};
    size_t len;
    int count = 0;
    char *reply = driver_run(g, 2, argv, NULL, &len);
    cr_assert_eq(atoi(reply + 1), N);
    for (char *p = strchr(reply, 'k'); p; p = strchr(p + 1, 'k'), count++) {
        int i = atoi(p + 1);
        cr_assert(!seen[i]);
        seen[i] = true;
    }
    cr_assert_eq(count, N);
    gyre_free(reply);
}

Test(scan, databases_are_emptied_and_swapped)
{
    fill(100);
    CHECK(g, "SELECT 1", "+OK");
    CHECK(g, "SET one v", "+OK");
    CHECK(g, "SWAPDB 0 1", "+OK");
    CHECK(g, "DBSIZE", ":100");
    CHECK(g, "SWAPDB 1 1", "+OK");
    CHECK(g, "FLUSHDB ASYNC", "+OK");
    CHECK(g, "DBSIZE", ":0");
    CHECK(g, "SELECT 0", "+OK");
    CHECK(g, "GET one", "$1 v");
    CHECK(g, "FLUSHALL bogus", "-ERR syntax error");
    CHECK(g, "FLUSHALL SYNC ASYNC", "-ERR syntax error");
    CHECK(g, "DBSIZE", ":1");
    CHECK(g, "FLUSHALL SYNC", "+OK");
    CHECK(g, "DBSIZE", ":0");
    CHECK(g, "SWAPDB x 0", "-ERR invalid first DB index");
    CHECK(g, "SWAPDB 0 x", "-ERR invalid second DB index");
    CHECK(g, "SWAPDB 0 16", "-ERR DB index is out of range");
}

// --- several shards ------------------------------------------------------------------------------

enum { SHARDS = 3, KEYS_COUNT = 500 };

// Runs a command with all keyspaces at hand (shard -1) or as one shard's part; the caller frees the
// reply.
static char *run_on(struct engine *e, int shard, int argc, struct slice *argv)
{
    struct reply reply;
    size_t len;
    reply_init(&reply, 2);
    struct session session;
    session_init(&session, 1);
    struct ctx ctx = {.argv = argv,
                      .session = &session,
                      .argc = argc,
                      .now_ms = DRIVER_NOW_MS,
                      .reply = &reply,
                      .engine = e,
                      .settings = e->settings,
                      .cmd = command_find(e->table, argv[0]),
                      .spaces = shard < 0 ? e->spaces : e->spaces + shard,
                      .space_count = shard < 0 ? e->shard_count : 1,
                      .space = e->spaces[shard < 0 ? 0 : shard]};
    engine_execute(&ctx, 0);
    char *flat = reply_flatten(&reply, &len);
    char *text = mem_strndup(flat, len);
    mem_free(flat);
    reply_free(&reply);
    return text;
}

static struct engine *engine_of_shards(struct settings *settings, int keys)
{
    clock_calibrate();
    struct engine *e = engine_new(commands_all, settings, SHARDS, NULL);
    for (int i = 0; i < keys; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        struct slice argv[] = {SLICE("SET"), slice_of(key), SLICE("v")};
        mem_free(run_on(e, -1, 3, argv));
    }
    return e;
}

// Iterates to the end, counting how often each key comes; returns the number of pages.
static int iterate(struct engine *e, bool has_all_spaces, int *seen)
{
    char cursor[32] = "0";
    int pages = 0;
    do {
        struct slice argv[] = {SLICE("SCAN"), slice_of(cursor), SLICE("COUNT"), SLICE("20")};
        int shard = (int)scan_cursor_shard(slice_of(cursor), SHARDS);
        char *reply = run_on(e, has_all_spaces ? -1 : shard, 4, argv);
        const char *next = strchr(reply, '$');
        snprintf(cursor, sizeof cursor, "%.*s", atoi(next + 1), strchr(next, '\n') + 1);
        for (char *p = strchr(reply, 'k'); p; p = strchr(p + 1, 'k')) seen[atoi(p + 1)]++;
        mem_free(reply);
        pages++;
    } while (strcmp(cursor, "0") != 0);
    return pages;
}

Test(scan, goes_through_the_shards_one_after_the_other)
{
    struct settings *settings = settings_default();
    struct engine *e = engine_of_shards(settings, KEYS_COUNT);
    for (int all = 0; all < 2; all++) {
        int seen[KEYS_COUNT] = {0};
        int pages = iterate(e, all, seen);
        for (int i = 0; i < KEYS_COUNT; i++)
            cr_assert_eq(seen[i], 1, "k%d came %d times", i, seen[i]);
        cr_assert_gt(pages, KEYS_COUNT / 40);
    }
    engine_free(e);
    settings_free(settings);
}

Test(scan, a_small_database_comes_back_whole_when_all_shards_are_at_hand)
{
    struct settings *settings = settings_default();
    struct engine *e = engine_of_shards(settings, 6);
    int seen[6] = {0};
    cr_assert_eq(iterate(e, true, seen), 1);
    for (int i = 0; i < 6; i++) cr_assert_eq(seen[i], 1);
    memset(seen, 0, sizeof seen);
    cr_assert_eq(iterate(e, false, seen), SHARDS);
    for (int i = 0; i < 6; i++) cr_assert_eq(seen[i], 1);
    engine_free(e);
    settings_free(settings);
}

Test(scan, the_shards_parts_add_up)
{
    struct settings *settings = settings_default();
    struct engine *e = engine_of_shards(settings, KEYS_COUNT);
    struct slice dbsize[] = {SLICE("DBSIZE")}, randomkey[] = {SLICE("RANDOMKEY")};
    struct slice flush[] = {SLICE("FLUSHALL")};
    int sum = 0;
    for (int i = 0; i < SHARDS; i++) {
        char *part = run_on(e, i, 1, dbsize);
        sum += atoi(part + 1);
        mem_free(part);
    }
    cr_assert_eq(sum, KEYS_COUNT);
    bool has_come_from[SHARDS] = {false};
    for (int i = 0; i < 200; i++) {
        char *key = run_on(e, -1, 1, randomkey);
        char *name = strchr(key, '\n') + 1;
        name[strlen(name) - 2] = '\0';
        has_come_from[engine_shard_of(e, slice_of(name))] = true;
        mem_free(key);
    }
    for (int i = 0; i < SHARDS; i++) cr_assert(has_come_from[i]);
    mem_free(run_on(e, 1, 1, flush));
    cr_assert_eq(e->spaces[1]->dbs[0].keys.count, 0);
    cr_assert_gt(e->spaces[0]->dbs[0].keys.count, 0);
    engine_free(e);
    settings_free(settings);
}

Test(scan, cursors_name_their_shard)
{
    cr_assert_eq(scan_cursor_shard(SLICE("0"), 4), 0);
    cr_assert_eq(scan_cursor_shard(SLICE("7"), 4), 3);
    cr_assert_eq(scan_cursor_shard(SLICE("abc"), 4), 0);
    cr_assert_eq(scan_cursor_shard(SLICE(""), 4), 0);
    cr_assert(scan_cursor_is_start(SLICE("0")));
    cr_assert(scan_cursor_is_start(SLICE("00")));
    cr_assert_not(scan_cursor_is_start(SLICE("4")));
    cr_assert_not(scan_cursor_is_start(SLICE("x")));
}
