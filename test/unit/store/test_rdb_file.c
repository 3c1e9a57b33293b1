// SPDX-License-Identifier: BSD-3-Clause
#include "store/rdb_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/crc64.h"
#include "base/hash.h"
#include "base/mem.h"
#include "engine/keyspace.h"
#include "engine/settings.h"
#include "types/hash.h"

enum { NOW_MS = 1000000000 };

static const struct value_limits limits = {.hash_max_listpack_entries = 8,
                                           .hash_max_listpack_value = 16};

#define BYTES(literal) ((struct slice){(literal), sizeof(literal) - 1})

static void expect_bytes(struct buf *got, struct slice want)
{
    cr_assert_eq(got->len, want.len, "%zu bytes, not %zu", got->len, want.len);
    cr_assert_arr_eq(got->ptr, want.ptr, want.len);
    buf_free(got);
}

static void expect_text(const char *got, const char *want)
{
    cr_assert(strcmp(got, want) == 0, "\n  want %s\n  got  %s", want, got);
}

// --- writing -------------------------------------------------------------------------------------

Test(rdb_file, frame_is_written_as_redis_writes_it)
{
    struct buf out = {0};
    rdb_file_put_header(&out, 10);
    rdb_file_put_aux(&out, "redis-ver", "7.4.2");
    rdb_file_put_aux_integer(&out, "ctime", 1000);
    rdb_file_put_function(&out, SLICE("code"), false);
    rdb_file_put_db(&out, 3);
    rdb_file_put_sizes(&out, 100, 1);
    rdb_file_put_end(&out);
    rdb_file_put_checksum(&out, 0x0102030405060708);
    expect_bytes(&out, BYTES("REDIS0010"
                             "\xfa\x09redis-ver\x05"
                             "7.4.2\xfa\x05"
                             "ctime\xc1\xe8\x03"
                             "\xf5\x04"
                             "code"
                             "\xfe\x03\xfb\x40\x64\x01"
                             "\xff\x08\x07\x06\x05\x04\x03\x02\x01"));
}

struct fixture {
    struct keyspace space;
    struct settings *settings;
};

static struct db *open_space(struct fixture *f)
{
    keyspace_init(&f->space, 0, 4, 1, NOW_MS);
    f->settings = settings_default();
    return &f->space.dbs[0];
}

static void close_space(struct fixture *f)
{
    keyspace_free(&f->space);
    settings_free(f->settings);
}

static struct entry *set(struct db *db, const char *key, const char *value, int64_t expire_at_ms)
{
    struct slice k = slice_of(key);
    return db_set_string(db, NULL, k, hash_bytes(k), slice_of(value), NULL, expire_at_ms);
}

Test(rdb_file, entries_say_when_they_expire_and_how_they_were_used)
{
    struct fixture f;
    struct db *db = open_space(&f);
    struct buf out = {0};
    struct entry *e = set(db, "k", "v", 0x010203);
    e->lru = (lru_clock(NOW_MS) - 7) & 0xffffff;
    struct rdb_file_options o = rdb_file_options_of(f.settings, NOW_MS);
    rdb_file_put_entry(&out, e, &o);
    expect_bytes(&out, BYTES("\xfc\3\2\1\0\0\0\0\0\0\1k\1v"));

    f.settings->maxmemory_policy = POLICY_VOLATILE_LRU;
    o = rdb_file_options_of(f.settings, NOW_MS);
    rdb_file_put_entry(&out, e, &o);
    expect_bytes(&out, BYTES("\xfc\3\2\1\0\0\0\0\0\xf8\7\0\1k\1v"));

    f.settings->maxmemory_policy = POLICY_ALLKEYS_LFU;
    f.settings->lfu_decay_time = 1;
    o = rdb_file_options_of(f.settings, NOW_MS);
    e->lru = ((uint32_t)(NOW_MS / 60000 - 3) << 8 | 20) & 0xffffff;
    e = db_set_expire(db, e, hash_bytes(entry_key(e)), EXPIRE_NONE);
    rdb_file_put_entry(&out, e, &o);
    expect_bytes(&out, BYTES("\xf9\x11\0\1k\1v"));
    close_space(&f);
}

Test(rdb_file, version_is_the_oldest_that_will_do)
{
    struct fixture f;
    struct db *db = open_space(&f);
    struct value v = hash_new();
    hash_set(&v, SLICE("f"), SLICE("v"), 0, &limits);
    struct slice key = SLICE("h");
    struct entry *e = db_set_value(db, NULL, key, hash_bytes(key), TYPE_HASH, v, EXPIRE_NONE);
    cr_assert_eq(rdb_file_version_of(&f.space), 10);
    hash_set_expiry(&e->value, SLICE("f"), NOW_MS + 1000);
    db_fields_changed(db, e);
    cr_assert_eq(rdb_file_version_of(&f.space), 12);
    close_space(&f);
}

// --- opening -------------------------------------------------------------------------------------

Test(rdb_file, what_does_not_begin_as_one_is_not_opened)
{
    static const struct {
        const char *bytes, *error;
    } cases[] = {
        {"", "not an RDB file: it does not begin with REDIS and a version"},
        {"REDIS001", "not an RDB file: it does not begin with REDIS and a version"},
        {"RODIS0010", "not an RDB file: it does not begin with REDIS and a version"},
        {"REDIS00x0", "at offset 7: the RDB version is not a number"},
        {"REDIS0000", "RDB version 0 cannot be read: 1 to 12 can"},
        {"REDIS0013", "RDB version 13 cannot be read: 1 to 12 can"},
        {"REDIS0080", "RDB version 80 cannot be read: 1 to 12 can"},
    };
    struct rdb_file f;
    char error[RDB_FILE_ERROR_MAX];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_assert(!rdb_file_open(&f, slice_of(cases[i].bytes), error));
        expect_text(error, cases[i].error);
    }
    cr_assert(rdb_file_open(&f, SLICE("REDIS0001"), error));
    cr_assert(rdb_file_open(&f, SLICE("REDIS0012"), error));
    cr_assert_eq(f.version, 12);
}

Test(rdb_file, files_are_mapped)
{
    char path[] = "/tmp/gyre-rdb-XXXXXX", error[RDB_FILE_ERROR_MAX], want[RDB_FILE_ERROR_MAX];
    int fd = mkstemp(path);
    struct rdb_file f;
    bool is_missing = true;
    cr_assert(!rdb_file_map(&f, path, &is_missing, error) && !is_missing);
    snprintf(want, sizeof want, "'%s' is empty", path);
    expect_text(error, want);
    cr_assert_eq(write(fd, "REDIS0011\xff", 10), 10);
    cr_assert(rdb_file_map(&f, path, &is_missing, error) && !is_missing);
    cr_assert(f.len == 10 && f.version == 11);
    rdb_file_close(&f);
    close(fd);
    unlink(path);
    cr_assert(!rdb_file_map(&f, path, &is_missing, error) && is_missing);
    snprintf(want, sizeof want, "cannot open '%s': No such file or directory", path);
    expect_text(error, want);
}

// --- reading -------------------------------------------------------------------------------------

static struct rdb_file file;
static struct rdb_file_reader reader;
static struct rdb_item item;

static void begin(struct slice bytes)
{
    char error[RDB_FILE_ERROR_MAX];
    cr_assert(rdb_file_open(&file, bytes, error), "%s", error);
    rdb_file_reader_init(&reader, &file);
}

static void expect_item(enum rdb_item_kind kind)
{
    cr_assert(rdb_file_next(&reader, &item), "%s", reader.error);
    cr_assert_eq(item.kind, kind, "kind %d at %zu", item.kind, (size_t)item.offset);
}

static void expect_key(const char *name, int64_t expire_at_ms, int64_t idle_s, int64_t freq)
{
    expect_item(RDB_ITEM_KEY);
    cr_assert(slice_eq(item.name, slice_of(name)));
    cr_assert_eq(item.expire_at_ms, expire_at_ms);
    cr_assert_eq(item.idle_s, idle_s);
    cr_assert_eq(item.freq, freq);
}

Test(rdb_file, items_come_as_they_stand)
{
    begin(BYTES("REDIS0012"
                "\xfa\x09redis-ver\xc0\x07" // 9
                "\xf5\4code"                // 22
                "\xf4\1\2\3"                // 28: a slot
                "\xfe\3"                    // 32
                "\xfb\5\1"                  // 34
                "\0\1a\1v"                  // 37
                "\xfc\1\2\0\0\0\0\0\0\xf9\x11\0\1b\xc0\7"
                "\xfd\2\0\0\0\xf8\x41\1\1\1m\2\1y\1z"
                "\xfe\0\0\1e\1v"
                "\xff\1\0\0\0\0\0\0\0tail"));
    struct rdb_value v = {0};
    expect_item(RDB_ITEM_AUX);
    cr_assert(slice_eq(item.name, SLICE("redis-ver")) && slice_eq(item.text, SLICE("7")));
    expect_item(RDB_ITEM_FUNCTION);
    cr_assert(slice_eq(item.text, SLICE("code")) && item.offset == 22);
    expect_item(RDB_ITEM_DB);
    cr_assert(item.db == 3 && item.offset == 32);
    expect_item(RDB_ITEM_SIZES);
    cr_assert(item.db == 3 && item.keys == 5 && item.expiring_keys == 1);
    expect_key("a", EXPIRE_NONE, -1, -1);
    cr_assert(item.db == 3 && item.offset == 37 && item.type == RDB_STRING);
    cr_assert(rdb_file_read_value(&reader, &item, &limits, &v));
    cr_assert(slice_eq(v.string, SLICE("v")));
    expect_key("b", 0x201, -1, 0x11);
    cr_assert(rdb_file_skip_value(&reader, &item));
    expect_key("m", 2000, 0x101, -1);
    cr_assert_eq(item.type, RDB_LIST);
    cr_assert(rdb_file_skip_value(&reader, &item));
    expect_item(RDB_ITEM_DB);
    expect_key("e", EXPIRE_NONE, -1, -1);
    cr_assert_eq(item.db, 0);
    cr_assert(rdb_file_skip_value(&reader, &item));
    expect_item(RDB_ITEM_END);
    cr_assert_eq(reader.crc, 1);
    cr_assert_eq(rdb_file_reader_offset(&reader), file.len - 4);
    buf_free(&v.scratch);
    rdb_file_reader_free(&reader);
}

Test(rdb_file, old_files_have_no_checksum)
{
    begin(BYTES("REDIS0004\xff"));
    expect_item(RDB_ITEM_END);
    cr_assert_eq(reader.crc, 0);
    cr_assert_eq(rdb_file_reader_offset(&reader), 10);
}

Test(rdb_file, times_before_1970_are_past_but_minus_one_is_none)
{
    begin(BYTES("REDIS0010"
                "\xfc\xff\xff\xff\xff\xff\xff\xff\xff\0\1a\1v"
                "\xfc\xfe\xff\xff\xff\xff\xff\xff\xff\0\1b\1v"
                "\xfd\xff\xff\xff\xff\0\1c\1v"));
    expect_key("a", EXPIRE_NONE, -1, -1);
    rdb_file_skip_value(&reader, &item);
    expect_key("b", 0, -1, -1);
    rdb_file_skip_value(&reader, &item);
    expect_key("c", 0, -1, -1);
}

Test(rdb_file, errors_name_the_place_and_what_should_be_there)
{
    static const struct {
        struct slice bytes;
        const char *error;
    } cases[] = {
        {BYTES("REDIS0010"), "at offset 9 of 9: the file is cut off here"},
        {BYTES("REDIS0010\xfe\0"), "at offset 11 of 11: the file is cut off here"},
        {BYTES("REDIS0010\xfe"), "at offset 9 of 10: the number of a database should follow"},
        {BYTES("REDIS0010\xfe\x81\0\0\0\1\0\0\0\0"),
         "at offset 9 of 19: the number of a database should follow"},
        {BYTES("REDIS0010\xfb\1"), "at offset 9 of 11: the sizes of a database should follow"},
        {BYTES("REDIS0010\xfa\1x\5y"), "at offset 9 of 14: a name and a text should follow"},
        {BYTES("REDIS0010\xf5\5y"), "at offset 9 of 12: the code of a library should follow"},
        {BYTES("REDIS0010\xf4\1\1"), "at offset 9 of 12: what describes a slot should follow"},
        {BYTES("REDIS0010\xff\1\2\3"),
         "at offset 9 of 13: 8 bytes of checksum should follow the end"},
        {BYTES("REDIS0010\xfc\1\2\3"),
         "at offset 9 of 13: the file is cut off within what opcode 252 says"},
        {BYTES("REDIS0010\xfd\1\2\3"),
         "at offset 9 of 13: the file is cut off within what opcode 253 says"},
        {BYTES("REDIS0010\xf9"),
         "at offset 9 of 10: the file is cut off within what opcode 249 says"},
        {BYTES("REDIS0010\xf8\5\xff"), "at offset 11 of 12: a key should follow, not opcode 255"},
        {BYTES("REDIS0010\0\5a"), "at offset 9 of 12: a key should follow type 0"},
        {BYTES("REDIS0010\x16\1a\1"), "at offset 9 of 13: a value of type 22, which is not known"},
        {BYTES("REDIS0010\xf3\1a\1"), "at offset 9 of 13: a value of type 243, which is not known"},
        {BYTES("REDIS0010\7\1a\x81\x45\xe2\x52\x38\xdf\x91\x2c\x03"),
         "at offset 9 of 21: a value of module type 'ReJSON-RL': module types are not supported"},
        {BYTES("REDIS0010\xf7\x81\0\0\0\0\0\0\4\3"),
         "at offset 9 of 19: data of module type 'AAAAAAAAB': module types are not supported"},
        {BYTES("REDIS0010\xf6"),
         "at offset 9 of 10: functions as release candidates of Redis 7.0 wrote them"},
        {BYTES("REDIS0010\0\1a\5v"),
         "at offset 12 of 14: the value (type 0) that begins here is damaged or cut off"},
        {BYTES("REDIS0010\2\1a\2\1v\1v"),
         "at offset 12 of 17: the value (type 2) that begins here is damaged or cut off"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rdb_value v = {0};
        begin(cases[i].bytes);
        bool is_good = true;
        while (is_good) {
            is_good = rdb_file_next(&reader, &item);
            if (!is_good) break;
            cr_assert_neq(item.kind, RDB_ITEM_END, "case %zu", i);
            if (item.kind == RDB_ITEM_KEY)
                is_good = rdb_file_read_value(&reader, &item, &limits, &v);
        }
        expect_text(reader.error, cases[i].error);
        buf_free(&v.scratch);
        rdb_file_reader_free(&reader);
    }
}

Test(rdb_file, after_an_empty_value_reading_goes_on)
{
    begin(BYTES("REDIS0010\2\1a\0\0\1b\1v"));
    struct rdb_value v = {0};
    expect_key("a", EXPIRE_NONE, -1, -1);
    cr_assert(!rdb_file_read_value(&reader, &item, &limits, &v));
    cr_assert(v.is_empty);
    expect_key("b", EXPIRE_NONE, -1, -1);
}
