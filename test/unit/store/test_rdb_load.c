// SPDX-License-Identifier: BSD-3-Clause
#include "store/rdb_load.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/crc64.h"
#include "base/hash.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/settings.h"
#include "types/hash.h"
#include "types/list.h"
#include "types/set.h"
#include "types/zset.h"

enum { NOW_MS = 1700000000, SHARDS_MAX = 5, KEYS = 600 };

struct fixture {
    struct settings *settings;
    struct engine *engine;
    struct rdb_load_options options;
    struct rdb_progress progress[SHARDS_MAX], sum;
    char error[RDB_FILE_ERROR_MAX];
    struct buf functions, aux;
    bool refuses_functions;
};

static bool on_function(void *arg, struct slice code, char *error)
{
    struct fixture *f = arg;
    buf_append(&f->functions, code.ptr, code.len);
    if (f->refuses_functions) snprintf(error, RDB_FILE_ERROR_MAX, "bad code");
    return !f->refuses_functions;
}

static void on_aux(void *arg, struct slice name, struct slice text)
{
    struct fixture *f = arg;
    buf_append(&f->aux, name.ptr, name.len);
    buf_append(&f->aux, text.ptr, text.len);
}

static void open_engine(struct fixture *f, uint32_t shards)
{
    static const struct command *const no_families[] = {NULL};
    *f = (struct fixture){.settings = settings_default()};
    f->settings->databases = 4;
    f->engine = engine_new(no_families, f->settings, shards, NULL);
    f->options = (struct rdb_load_options){.settings = f->settings,
                                           .now_ms = NOW_MS,
                                           .drops_expired = true,
                                           .function = on_function,
                                           .aux = on_aux,
                                           .arg = f};
}

static void close_engine(struct fixture *f)
{
    engine_free(f->engine);
    settings_free(f->settings);
    buf_free(&f->functions);
    buf_free(&f->aux);
}

// Loads the bytes with all shards, one after the other. The copy is so long and no longer, so that
// reading beyond its end is seen.
static bool load(struct fixture *f, struct slice bytes)
{
    struct rdb_file file;
    char *copy = mem_alloc(bytes.len);
    memcpy(copy, bytes.ptr, bytes.len);
    bool is_good = rdb_file_open(&file, (struct slice){copy, bytes.len}, f->error);
    uint32_t shards = f->engine->shard_count;
    for (uint32_t i = 0; i < shards && is_good; i++)
        is_good = rdb_load_shard(&file, f->engine, i, &f->options, &f->progress[i], f->error);
    is_good =
        is_good && rdb_load_finish(&file, f->progress, shards, &f->options, &f->sum, f->error);
    for (uint32_t i = 0; i < shards; i++)
        for (uint32_t d = 0; d < f->engine->spaces[i]->db_count; d++)
            db_validate(&f->engine->spaces[i]->dbs[d]);
    mem_free(copy);
    return is_good;
}

static struct entry *find(struct fixture *f, uint32_t db, const char *key)
{
    struct slice k = slice_of(key);
    uint32_t shard = engine_shard_of(f->engine, k);
    return db_find(&f->engine->spaces[shard]->dbs[db], k, hash_bytes(k));
}

static void expect_string(struct fixture *f, uint32_t db, const char *key, const char *want)
{
    char scratch[NUM_I64_TEXT];
    struct entry *e = find(f, db, key);
    cr_assert(e && e->type == TYPE_STRING, "%s", key);
    cr_assert(slice_eq(entry_string(e, scratch), slice_of(want)), "%s", key);
}

static void finish(struct buf *out)
{
    rdb_file_put_end(out);
    rdb_file_put_checksum(out, crc64_add(0, out->ptr, out->len));
}

static void expect_failure(struct slice bytes, const char *error)
{
    struct fixture f;
    open_engine(&f, 2);
    cr_assert(!load(&f, bytes));
    cr_assert(strcmp(f.error, error) == 0, "\n  want %s\n  got  %s", error, f.error);
    close_engine(&f);
}

#define BYTES(literal) ((struct slice){(literal), sizeof(literal) - 1})

// --- round trips ---------------------------------------------------------------------------------

static void put(struct fixture *f, uint32_t db, const char *key, enum object_type type,
                struct value v, int64_t expire_at_ms)
{
    struct slice k = slice_of(key);
    struct keyspace *space = f->engine->spaces[engine_shard_of(f->engine, k)];
    db_set_value(&space->dbs[db], NULL, k, hash_bytes(k), type, v, expire_at_ms);
}

static void put_string(struct fixture *f, uint32_t db, const char *key, const char *value,
                       int64_t expire_at_ms)
{
    struct slice k = slice_of(key);
    struct keyspace *space = f->engine->spaces[engine_shard_of(f->engine, k)];
    db_set_string(&space->dbs[db], NULL, k, hash_bytes(k), slice_of(value), NULL, expire_at_ms);
}

// What repeats is compressed, what is a number is not text.
static const char *value_text(char *text, size_t size, int i)
{
    snprintf(text, size, i % 3 == 0 ? "%d" : i % 3 == 1 ? "v %d" : "%0100d", i);
    return text;
}

static void fill(struct fixture *f)
{
    char key[64], text[128];
    const struct value_limits *limits = &f->settings->limits;
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, i % 2 ? "%d" : i % 4 ? "key:%d" : "%060d", i);
        put_string(f, (uint32_t)i % 3, key, value_text(text, sizeof text, i),
                   i % 5 ? EXPIRE_NONE : NOW_MS + i + 1);
    }
    struct value list = list_new(), hash = hash_new(), zset = zset_new(), set = set_new();
    for (int i = 0; i < KEYS; i++) {
        struct slice s = slice_of(value_text(text, sizeof text, i));
        list_push(&list, false, s, limits);
        set_add(&set, s, limits);
        zset_set(&zset, s, i, limits);
        hash_set(&hash, s, s, 0, limits);
        if (i % 7 == 0) hash_set_expiry(&hash, s, NOW_MS + 1000 + i);
    }
    put(f, 0, "a list", TYPE_LIST, list, EXPIRE_NONE);
    put(f, 1, "a hash", TYPE_HASH, hash, EXPIRE_NONE);
    put(f, 2, "a zset", TYPE_ZSET, zset, NOW_MS + 1);
    put(f, 2, "a set", TYPE_SET, set, EXPIRE_NONE);
}

static void expect_filled(struct fixture *f)
{
    char key[64], text[128];
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, i % 2 ? "%d" : i % 4 ? "key:%d" : "%060d", i);
        uint32_t db = (uint32_t)i % 3;
        expect_string(f, db, key, value_text(text, sizeof text, i));
        cr_assert_eq(entry_expire_at(find(f, db, key)), i % 5 ? EXPIRE_NONE : NOW_MS + i + 1);
    }
    cr_assert_eq(list_len(find(f, 0, "a list")->value), KEYS);
    cr_assert_eq(set_len(find(f, 2, "a set")->value), KEYS);
    cr_assert_eq(zset_len(find(f, 2, "a zset")->value), KEYS);
    cr_assert_eq(entry_expire_at(find(f, 2, "a zset")), NOW_MS + 1);
    cr_assert_eq(hash_len(find(f, 1, "a hash")->value), KEYS);
    cr_assert_eq(hash_next_expiry(find(f, 1, "a hash")->value), NOW_MS + 1000);
}

static struct buf save(struct fixture *f)
{
    struct buf out = {0};
    struct rdb_file_options o = rdb_file_options_of(f->settings, NOW_MS);
    rdb_file_put_header(&out, 12);
    rdb_file_put_usual_aux(&out, NOW_MS, false);
    rdb_file_put_function(&out, SLICE("one."), true);
    rdb_file_put_function(&out, SLICE("two."), true);
    for (uint32_t i = 0; i < f->engine->shard_count; i++)
        for (uint32_t d = 0; d < 3; d++) {
            const struct db *db = &f->engine->spaces[i]->dbs[d];
            uint64_t bucket = 0;
            uint32_t at = 0;
            rdb_file_put_db(&out, d);
            rdb_file_put_sizes(&out, db->keys.count, db->expires.count);
            for (struct entry *e; (e = dict_next(&db->keys, &bucket, &at));)
                rdb_file_put_entry(&out, e, &o);
        }
    finish(&out);
    return out;
}

Test(rdb_load, what_was_written_comes_back_whatever_the_number_of_shards)
{
    static const uint32_t counts[] = {1, 2, SHARDS_MAX};
    for (size_t from = 0; from < ARRAY_LEN(counts); from++) {
        struct fixture f;
        open_engine(&f, counts[from]);
        fill(&f);
        struct buf saved = save(&f);
        close_engine(&f);
        for (size_t to = 0; to < ARRAY_LEN(counts); to++) {
            open_engine(&f, counts[to]);
            cr_assert(load(&f, buf_slice(&saved)), "%s", f.error);
            expect_filled(&f);
            cr_assert_eq(f.sum.keys, KEYS + 4);
            cr_assert_eq(f.sum.end, saved.len);
            cr_assert(slice_eq(buf_slice(&f.functions), SLICE("one.two.")));
            cr_assert_eq(strncmp(f.aux.ptr, "redis-ver", 9), 0);
            for (uint32_t i = 0; i < counts[to]; i++)
                cr_assert_eq(stat_get(&f.progress[i].bytes), saved.len);
            close_engine(&f);
        }
        buf_free(&saved);
    }
}

Test(rdb_load, a_changed_byte_anywhere_is_found)
{
    struct fixture f;
    open_engine(&f, 1);
    fill(&f);
    struct buf saved = save(&f);
    close_engine(&f);
    for (size_t at = 9; at < saved.len; at += saved.len / 37) {
        open_engine(&f, 3);
        saved.ptr[at] ^= 0x10;
        cr_assert(!load(&f, buf_slice(&saved)), "byte %zu", at);
        saved.ptr[at] ^= 0x10;
        close_engine(&f);
    }
    buf_free(&saved);
}

Test(rdb_load, any_cut_is_found)
{
    struct fixture f;
    open_engine(&f, 1);
    fill(&f);
    struct buf saved = save(&f);
    close_engine(&f);
    for (size_t len = 10; len < saved.len; len += 1 + saved.len / 41) {
        open_engine(&f, 2);
        cr_assert(!load(&f, (struct slice){saved.ptr, len}), "%zu bytes", len);
        close_engine(&f);
    }
    buf_free(&saved);
}

// --- rules ---------------------------------------------------------------------------------------

Test(rdb_load, checksums_are_looked_at_if_they_are_there_and_wanted)
{
    struct fixture f;
    open_engine(&f, 2);
    cr_assert(load(&f, BYTES("REDIS0010\0\1a\1v\xff\0\0\0\0\0\0\0\0")));
    close_engine(&f);
    expect_failure(BYTES("REDIS0010\0\1a\1v\xff\1\0\0\0\0\0\0\0"),
                   "at offset 15 of 23: the checksum is 0000000000000001, but that of what "
                   "precedes it is fbd17a8ad6874a9e: the file is damaged");
    open_engine(&f, 2);
    f.settings->rdbchecksum = false;
    cr_assert(load(&f, BYTES("REDIS0010\0\1a\1v\xff\1\0\0\0\0\0\0\0")));
    close_engine(&f);
}

Test(rdb_load, keys_whose_time_is_over_are_dropped_if_asked_for)
{
    struct buf out = {0};
    rdb_file_put_header(&out, 10);
    for (int i = -1; i <= 1; i++) {
        buf_append_char(&out, (char)252);
        rdb_put_u64(&out, (uint64_t)(NOW_MS + i));
        buf_append(&out, "\0\1b\1v", 5);
        out.ptr[out.len - 3] = (char)('b' + i);
    }
    finish(&out);
    for (int drops = 0; drops < 2; drops++) {
        struct fixture f;
        open_engine(&f, 3);
        f.options.drops_expired = drops;
        cr_assert(load(&f, buf_slice(&out)), "%s", f.error);
        cr_assert_eq(find(&f, 0, "a") == NULL, drops);
        expect_string(&f, 0, "b", "v"); // the last millisecond
        expect_string(&f, 0, "c", "v");
        cr_assert_eq(f.sum.expired, drops);
        cr_assert_eq(f.sum.keys, 3 - drops);
        close_engine(&f);
    }
    buf_free(&out);
}

Test(rdb_load, use_is_taken_over_as_far_as_the_policy_counts_it)
{
    static const struct slice bytes =
        BYTES("REDIS0010\xf8\x0a\0\1a\1v\xf9\x63\0\1b\1v\0\1c\1v\xff\0\0\0\0\0\0\0\0");
    struct fixture f;
    open_engine(&f, 1);
    cr_assert(load(&f, bytes));
    cr_assert_eq(entry_idle_seconds(find(&f, 0, "a"), NOW_MS), 10);
    cr_assert_eq(entry_idle_seconds(find(&f, 0, "b"), NOW_MS), 0);
    cr_assert_eq(entry_idle_seconds(find(&f, 0, "c"), NOW_MS), 0);
    close_engine(&f);
    open_engine(&f, 1);
    f.settings->maxmemory_policy = POLICY_VOLATILE_LFU;
    cr_assert(load(&f, bytes));
    cr_assert_eq(lfu_decayed(find(&f, 0, "a"), NOW_MS, 1), 5);
    cr_assert_eq(lfu_decayed(find(&f, 0, "b"), NOW_MS, 1), 99);
    cr_assert_eq(lfu_decayed(find(&f, 0, "b"), NOW_MS + 60000, 1), 98);
    close_engine(&f);
}

Test(rdb_load, empty_values_are_passed_over_and_counted)
{
    struct fixture f;
    open_engine(&f, 2);
    cr_assert(load(&f, BYTES("REDIS0010\2\1a\0\0\1b\1v\4\1c\0\xff\0\0\0\0\0\0\0\0")));
    expect_string(&f, 0, "b", "v");
    cr_assert(!find(&f, 0, "a") && !find(&f, 0, "c"));
    cr_assert_eq(f.sum.empty, 2);
    close_engine(&f);
}

Test(rdb_load, what_follows_the_end_is_told_and_not_read)
{
    struct fixture f;
    open_engine(&f, 2);
    cr_assert(load(&f, BYTES("REDIS0010\0\1b\1v\xff\0\0\0\0\0\0\0\0*1\r\n")));
    cr_assert_eq(f.sum.end, 23);
    close_engine(&f);
}

Test(rdb_load, what_is_wrong_is_said)
{
    expect_failure(BYTES("REDIS0010\xfe\4\0\1a\1v\xff\0\0\0\0\0\0\0\0"),
                   "at offset 11 of 25: a key of database 4, but there are 4 (see `databases`)");
    expect_failure(BYTES("REDIS0010\0\1a\1v\xfe\1\0\1a\1v\xfe\0\0\1a\1w\xff\0\0\0\0\0\0\0\0"),
                   "at offset 23 of 37: a key that the file has already had in this database");
    expect_failure(BYTES("REDIS0010\2\1a\1\1x\0\1a\1w\xff\0\0\0\0\0\0\0\0"),
                   "at offset 15 of 29: a key that the file has already had in this database");
    // Sizes are not believed, and what was loaded before an error is nobody's loss.
    expect_failure(BYTES("REDIS0010\xfb\x81\xff\xff\xff\xff\xff\xff\xff\xff\5\0\1a\1v\2\1b\1\1x"),
                   "at offset 31 of 31: the file is cut off here");
    struct fixture f;
    open_engine(&f, 2);
    f.refuses_functions = true;
    cr_assert(!load(&f, BYTES("REDIS0010\xf5\4code\xff\0\0\0\0\0\0\0\0")));
    cr_assert(strcmp(f.error, "at offset 9 of 24: a library of functions: bad code") == 0);
    close_engine(&f);
}

Test(rdb_load, both_of_two_equal_collections_are_freed_when_the_second_is_refused)
{
    expect_failure(BYTES("REDIS0010\2\1a\1\1x\2\1a\1\1y\2\1a\1\1z\xff\0\0\0\0\0\0\0\0"),
                   "at offset 15 of 36: a key that the file has already had in this database");
}

static uint32_t pauses, pauses_max;

static bool on_pause(void *arg, uint32_t shard)
{
    const struct fixture *f = arg;
    cr_assert_lt(shard, f->engine->shard_count);
    cr_assert_gt(stat_get(&f->progress[shard].bytes), 0); // others can see how far it is
    return ++pauses <= pauses_max;
}

Test(rdb_load, pauses_now_and_then_and_gives_up_if_told_to)
{
    struct fixture f;
    open_engine(&f, 1);
    fill(&f);
    struct buf saved = save(&f);
    close_engine(&f);
    for (pauses_max = 0; pauses_max <= 1000; pauses_max += 5) {
        open_engine(&f, 2);
        f.options.pause = on_pause;
        pauses = 0;
        bool is_good = load(&f, buf_slice(&saved));
        cr_assert_eq(is_good, pauses <= pauses_max);
        cr_assert(is_good || strcmp(f.error, "it was given up") == 0);
        close_engine(&f);
        if (is_good) break;
    }
    cr_assert_gt(pauses, 2 * KEYS / 100);
    cr_assert_leq(pauses, pauses_max);
    buf_free(&saved);
}
