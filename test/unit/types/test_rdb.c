// SPDX-License-Identifier: BSD-3-Clause
#include "types/rdb.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "types/hash.h"
#include "types/list.h"
#include "types/set.h"
#include "types/stream.h"
#include "types/zset.h"

static const struct value_limits limits = {
    .hash_max_listpack_entries = 8,
    .hash_max_listpack_value = 16,
    .list_max_listpack_size = 4,
    .set_max_intset_entries = 8,
    .set_max_listpack_entries = 8,
    .set_max_listpack_value = 16,
    .zset_max_listpack_entries = 8,
    .zset_max_listpack_value = 16,
    .hll_sparse_max_bytes = 3000,
    .stream_node_max_bytes = 4096,
    .stream_node_max_entries = 100,
};

#define READER(bytes, len) ((struct rdb_reader){.at = (bytes), .end = (bytes) + (len)})
#define BYTES(literal)     ((struct slice){(literal), sizeof(literal) - 1})

static void expect_bytes(struct buf *got, struct slice want)
{
    cr_assert_eq(got->len, want.len, "%zu bytes, not %zu", got->len, want.len);
    cr_assert_arr_eq(got->ptr, want.ptr, want.len);
    buf_free(got);
}

// --- words ---------------------------------------------------------------------------------------

Test(rdb_io, lengths_have_four_sizes)
{
    static const struct {
        uint64_t len;
        size_t bytes;
    } cases[] = {{0, 1},     {63, 1},         {64, 2},         {16383, 2},
                 {16384, 5}, {UINT32_MAX, 5}, {1ull << 32, 9}, {UINT64_MAX, 9}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out = {0};
        rdb_put_length(&out, cases[i].len);
        cr_assert_eq(out.len, cases[i].bytes);
        for (size_t cut = 0; cut < out.len; cut++) {
            struct rdb_reader in = READER(out.ptr, cut);
            cr_assert_eq(rdb_get_length(&in), 0);
            cr_assert(in.is_bad);
        }
        struct rdb_reader in = READER(out.ptr, out.len);
        cr_assert_eq(rdb_get_length(&in), cases[i].len);
        cr_assert(!in.is_bad && rdb_left(&in) == 0);
        buf_free(&out);
    }
}

Test(rdb_io, strings_are_written_as_redis_writes_them)
{
    static const struct {
        struct slice text, bytes;
    } cases[] = {
        {SLICE(""), BYTES("\0")},
        {SLICE("hello"), BYTES("\5hello")},
        {SLICE("0"), BYTES("\xc0\0")},
        {SLICE("-128"), BYTES("\xc0\x80")},
        {SLICE("128"), BYTES("\xc1\x80\0")},
        {SLICE("32768"), BYTES("\xc2\0\x80\0\0")},
        {SLICE("-2147483648"), BYTES("\xc2\0\0\0\x80")},
        {SLICE("2147483648"), BYTES("\12"
                                    "2147483648")},
        {SLICE("007"), BYTES("\3"
                             "007")},
        {SLICE("-0"), BYTES("\2-0")},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out = {0}, scratch = {0};
        rdb_put_string(&out, cases[i].text, true);
        struct rdb_reader in = READER(out.ptr, out.len);
        cr_assert(slice_eq(rdb_get_string(&in, &scratch), cases[i].text));
        cr_assert(!in.is_bad && rdb_left(&in) == 0);
        buf_free(&scratch);
        expect_bytes(&out, cases[i].bytes);
    }
}

Test(rdb_io, long_strings_are_compressed_if_asked)
{
    char text[1000];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i % 7);
    struct buf plain = {0}, packed = {0}, scratch = {0};
    rdb_put_string(&plain, (struct slice){text, sizeof text}, false);
    rdb_put_string(&packed, (struct slice){text, sizeof text}, true);
    cr_assert_eq(plain.len, sizeof text + 2);
    cr_assert_lt(packed.len, 100);
    struct rdb_reader in = READER(packed.ptr, packed.len);
    cr_assert(slice_eq(rdb_get_string(&in, &scratch), (struct slice){text, sizeof text}));
    // Half of the code is no string, whatever it says.
    for (size_t cut = 0; cut < packed.len; cut++) {
        in = READER(packed.ptr, cut);
        cr_assert_eq(rdb_get_string(&in, &scratch).len, 0);
        cr_assert(in.is_bad);
    }
    buf_free(&plain);
    buf_free(&packed);
    buf_free(&scratch);
}

Test(rdb_io, what_claims_too_much_is_bad_before_memory_is_taken)
{
    static const struct slice cases[] = {
        BYTES("\x80\x7f\xff\xff\xffx"),
        BYTES("\x81\xff\xff\xff\xff\xff\xff\xff\xffx"),
        BYTES("\xc3\2\x80\x7f\xff\xff\xff\0a"),
        BYTES("\xc3\0\0"),
        BYTES("\xc4x"),
        BYTES("\x82x"),
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf scratch = {0};
        struct rdb_reader in = READER(cases[i].ptr, cases[i].len);
        cr_assert_eq(rdb_get_string(&in, &scratch).len, 0);
        cr_assert(in.is_bad && rdb_left(&in) == 0);
        cr_assert_eq(scratch.cap, 0);
        // Once bad, always bad.
        cr_assert_eq(rdb_get_byte(&in), 0);
        cr_assert_eq(rdb_get_u64(&in), 0);
    }
}

Test(rdb_io, doubles_and_integers_come_back)
{
    static const double values[] = {0, -0.0, 1.5, -1e300, 5e-324, INFINITY, -INFINITY};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct buf out = {0};
        rdb_put_double(&out, values[i]);
        struct rdb_reader in = READER(out.ptr, out.len);
        double got = rdb_get_double(&in);
        cr_assert_eq(memcmp(&got, &values[i], sizeof got), 0);
        buf_free(&out);
    }
    struct buf out = {0};
    rdb_put_u64(&out, 0x0102030405060708);
    rdb_put_u64_be(&out, 0x0102030405060708);
    struct rdb_reader in = READER(out.ptr, out.len);
    cr_assert_eq(rdb_get_u64(&in), 0x0102030405060708);
    cr_assert_eq(rdb_get_u64_be(&in), 0x0102030405060708);
    expect_bytes(&out, BYTES("\x8\7\6\5\4\3\2\1\1\2\3\4\5\6\7\x8"));
}

Test(rdb_io, old_doubles_are_text)
{
    struct slice bytes = BYTES("\xfe\xff\3"
                               "2.5\4nope");
    struct rdb_reader in = READER(bytes.ptr, bytes.len);
    cr_assert(rdb_get_old_double(&in) == INFINITY);
    cr_assert(rdb_get_old_double(&in) == -INFINITY);
    cr_assert(rdb_get_old_double(&in) == 2.5);
    cr_assert(!in.is_bad);
    rdb_get_old_double(&in);
    cr_assert(in.is_bad);
}

// --- values --------------------------------------------------------------------------------------

static uint64_t len_of(enum object_type type, struct value v)
{
    switch (type) {
    case TYPE_LIST: return list_len(v);
    case TYPE_SET: return set_len(v);
    case TYPE_ZSET: return zset_len(v);
    case TYPE_HASH: return hash_len(v);
    default: return stream_len(v);
    }
}

// Writes v, checks the layout, reads it again, and passes over it; every cut of the bytes is bad.
// Frees v and returns what was read.
static struct value travel(enum object_type type, struct value v, enum rdb_type expected)
{
    struct buf out = {0};
    struct rdb_value got = {.type = TYPE_STRING};
    cr_assert_eq(rdb_type_of(type, v), expected, "layout %d", rdb_type_of(type, v));
    rdb_put_value(&out, type, v, true);
    for (size_t cut = 0; cut < out.len; cut += 1 + out.len / 200) {
        struct rdb_reader in = READER(out.ptr, cut);
        cr_assert(!rdb_get_value(&in, (uint8_t)expected, &limits, &got), "cut at %zu", cut);
        in = READER(out.ptr, cut);
        cr_assert(!rdb_skip_value(&in, (uint8_t)expected), "cut at %zu", cut);
    }
    buf_append_text(&out, "tail");
    struct rdb_reader over = READER(out.ptr, out.len);
    cr_assert(rdb_skip_value(&over, (uint8_t)expected));
    cr_assert_eq(rdb_left(&over), 4);
    out.len -= 4;
    struct rdb_reader in = READER(out.ptr, out.len);
    cr_assert(rdb_get_value(&in, (uint8_t)expected, &limits, &got));
    cr_assert_eq(rdb_left(&in), 0);
    cr_assert_eq(got.type, type);
    value_validate(type, got.value);
    cr_assert_eq(len_of(type, got.value), len_of(type, v));
    cr_assert_eq(value_encoding(got.value), value_encoding(v));
    value_free(type, v);
    buf_free(&out);
    buf_free(&got.scratch);
    return got.value;
}

static struct slice numbered(char *text, size_t size, const char *format, int i)
{
    return (struct slice){text, (size_t)snprintf(text, size, format, i)};
}

Test(rdb, lists_of_every_size_come_back)
{
    static const int sizes[] = {1, 3, 100};
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        struct value v = list_new();
        char text[32], number[NUM_I64_TEXT];
        for (int i = 0; i < sizes[s]; i++)
            list_push(&v, false, numbered(text, sizeof text, i % 2 ? "element %d" : "%d", i),
                      &limits);
        v = travel(TYPE_LIST, v, RDB_LIST_QUICKLIST_2);
        struct list_iter it;
        struct item item;
        list_iter_init(&it, v, 0, false);
        for (int i = 0; list_iter_next(&it, &item); i++)
            cr_assert(slice_eq(item_slice(&item, number),
                               numbered(text, sizeof text, i % 2 ? "element %d" : "%d", i)));
        list_free(v);
    }
}

static struct value set_with(const char *format, int count)
{
    struct value v = set_new();
    char text[32];
    for (int i = 0; i < count; i++) set_add(&v, numbered(text, sizeof text, format, i), &limits);
    return v;
}

Test(rdb, sets_of_every_encoding_come_back)
{
    static const struct {
        const char *format;
        int count;
        enum rdb_type type;
    } cases[] = {
        {"%d", 5, RDB_SET_INTSET}, {"7%09d", 5, RDB_SET_INTSET}, {"m%d", 5, RDB_SET},
        {"m%d", 100, RDB_SET},     {"%d", 100, RDB_SET},
    };
    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        struct value v = travel(TYPE_SET, set_with(cases[c].format, cases[c].count), cases[c].type);
        char text[32];
        for (int i = 0; i < cases[c].count; i++)
            cr_assert(set_has(v, numbered(text, sizeof text, cases[c].format, i)));
        set_free(v);
    }
}

Test(rdb, sorted_sets_of_every_encoding_come_back)
{
    for (int count = 3; count <= 300; count += 297) {
        struct value v = zset_new();
        char text[32];
        for (int i = 0; i < count; i++)
            zset_set(&v, numbered(text, sizeof text, "m%d", i), i % 3 ? i / 7.0 : -i, &limits);
        zset_set(&v, SLICE("last"), INFINITY, &limits);
        v = travel(TYPE_ZSET, v, count == 3 ? RDB_ZSET_LISTPACK : RDB_ZSET_2);
        double score;
        for (int i = 0; i < count; i++) {
            cr_assert(zset_score(v, numbered(text, sizeof text, "m%d", i), &score));
            cr_assert(score == (i % 3 ? i / 7.0 : -i));
        }
        zset_free(v);
    }
}

static struct value hash_with(int count)
{
    struct value v = hash_new();
    char field[32], text[32];
    for (int i = 0; i < count; i++)
        hash_set(&v, numbered(field, sizeof field, "f%d", i),
                 numbered(text, sizeof text, i % 2 ? "v%d" : "%d", i), 0, &limits);
    return v;
}

static void expect_fields(struct value v, int count)
{
    char field[32], text[32], number[NUM_I64_TEXT];
    struct item item;
    for (int i = 0; i < count; i++) {
        cr_assert(hash_get(v, numbered(field, sizeof field, "f%d", i), 0, &item));
        cr_assert(slice_eq(item_slice(&item, number),
                           numbered(text, sizeof text, i % 2 ? "v%d" : "%d", i)));
    }
}

Test(rdb, hashes_of_every_encoding_come_back)
{
    struct value v = travel(TYPE_HASH, hash_with(5), RDB_HASH_LISTPACK);
    expect_fields(v, 5);
    hash_free(v);
    v = travel(TYPE_HASH, hash_with(100), RDB_HASH);
    expect_fields(v, 100);
    hash_free(v);
}

Test(rdb, hashes_come_back_with_the_expiry_of_their_fields)
{
    static const struct {
        int count;
        enum rdb_type type;
    } cases[] = {{5, RDB_HASH_LISTPACK_EX}, {100, RDB_HASH_METADATA}};
    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        struct value v = hash_with(cases[c].count);
        hash_set_expiry(&v, SLICE("f3"), 5000);
        hash_set_expiry(&v, SLICE("f1"), 7000);
        v = travel(TYPE_HASH, v, cases[c].type);
        expect_fields(v, cases[c].count);
        cr_assert_eq(hash_expiry(v, SLICE("f3"), 0), 5000);
        cr_assert_eq(hash_expiry(v, SLICE("f1"), 0), 7000);
        cr_assert_eq(hash_expiry(v, SLICE("f0"), 0), -1);
        cr_assert_eq(hash_next_expiry(v), 5000);
        hash_free(v);
    }
    cr_assert_eq(rdb_type_version(RDB_HASH_METADATA), 12);
    cr_assert_eq(rdb_type_version(RDB_HASH_LISTPACK_EX), 12);
    cr_assert_eq(rdb_type_version(RDB_HASH), 10);
}

Test(rdb, a_hash_without_expiry_any_more_is_written_for_older_readers)
{
    for (int count = 5; count <= 100; count += 95) {
        struct value v = hash_with(count);
        hash_set_expiry(&v, SLICE("f3"), 5000);
        hash_set_expiry(&v, SLICE("f3"), -1);
        enum rdb_type type = rdb_type_of(TYPE_HASH, v);
        cr_assert_eq(type, count == 5 ? RDB_HASH_LISTPACK : RDB_HASH);
        struct buf out = {0};
        rdb_put_value(&out, TYPE_HASH, v, false);
        struct rdb_reader in = READER(out.ptr, out.len);
        struct rdb_value got;
        cr_assert(rdb_get_value(&in, (uint8_t)type, &limits, &got));
        expect_fields(got.value, count);
        hash_free(got.value);
        hash_free(v);
        buf_free(&out);
    }
}

Test(rdb, triples_are_in_the_order_of_their_expiry)
{
    struct value v = hash_new();
    hash_set(&v, SLICE("a"), SLICE("1"), 0, &limits);
    hash_set(&v, SLICE("b"), SLICE("2"), 0, &limits);
    hash_set(&v, SLICE("c"), SLICE("3"), 0, &limits);
    hash_set_expiry(&v, SLICE("c"), 100);
    hash_set_expiry(&v, SLICE("a"), 101);
    struct buf out = {0};
    rdb_put_value(&out, TYPE_HASH, v, false);
    expect_bytes(&out, BYTES("\x64\0\0\0\0\0\0\0"
                             "\x1c\x1c\0\0\0\x9\0"
                             "\x81"
                             "c\2\3\1\x64\1"
                             "\x81"
                             "a\2\1\1\x65\1"
                             "\x81"
                             "b\2\2\1\0\1\xff"));
    hash_free(v);
}

Test(rdb, a_value_takes_the_encoding_that_the_limits_call_for)
{
    struct value_limits wide = limits;
    wide.hash_max_listpack_entries = wide.zset_max_listpack_entries = 1000;
    wide.set_max_listpack_entries = wide.set_max_intset_entries = 1000;
    struct value v = hash_new();
    char text[32];
    for (int i = 0; i < 100; i++)
        hash_set(&v, numbered(text, sizeof text, "f%d", i), SLICE("v"), 0, &wide);
    cr_assert_eq(rdb_type_of(TYPE_HASH, v), RDB_HASH_LISTPACK);
    struct buf out = {0};
    rdb_put_value(&out, TYPE_HASH, v, false);
    struct rdb_value got;
    struct rdb_reader in = READER(out.ptr, out.len);
    cr_assert(rdb_get_value(&in, RDB_HASH_LISTPACK, &limits, &got));
    cr_assert_eq(value_encoding(got.value), ENC_HASHTABLE);
    hash_free(got.value);
    // And the way back: a table that is small enough becomes a listpack.
    out.len = 0;
    rdb_put_length(&out, 1);
    rdb_put_string(&out, SLICE("f"), false);
    rdb_put_string(&out, SLICE("v"), false);
    in = READER(out.ptr, out.len);
    cr_assert(rdb_get_value(&in, RDB_HASH, &limits, &got));
    cr_assert_eq(value_encoding(got.value), ENC_LISTPACK);
    hash_free(got.value);
    hash_free(v);
    buf_free(&out);
}

Test(rdb, values_of_old_layouts_are_passed_over)
{
    static const struct {
        uint8_t type;
        struct slice bytes;
    } cases[] = {
        {RDB_STRING, BYTES("\3abc")},
        {RDB_STRING, BYTES("\xc0\1")},
        {RDB_STRING, BYTES("\xc1\1\2")},
        {RDB_STRING, BYTES("\xc2\1\2\3\4")},
        {RDB_STRING, BYTES("\xc3\3\x28"
                           "abc")},
        {RDB_LIST, BYTES("\2\1a\1b")},
        {RDB_SET, BYTES("\2\1a\1b")},
        {RDB_ZSET, BYTES("\3\1a\3"
                         "2.5\1b\xfe\1c\xff")},
        {RDB_ZSET_2, BYTES("\1\1a\1\2\3\4\5\6\7\x8")},
        {RDB_HASH, BYTES("\2\1a\1b\1c\1d")},
        {RDB_HASH_ZIPMAP, BYTES("\3abc")},
        {RDB_LIST_ZIPLIST, BYTES("\3abc")},
        {RDB_ZSET_ZIPLIST, BYTES("\3abc")},
        {RDB_HASH_ZIPLIST, BYTES("\3abc")},
        {RDB_SET_LISTPACK, BYTES("\3abc")},
        {RDB_LIST_QUICKLIST, BYTES("\2\1a\1b")},
        {RDB_STREAM_LISTPACKS, BYTES("\1\1k\1v\1\5\6\1\1g\5\6"
                                     "\1" // pending: id, time, count
                                     "iiiiiiiiiiiiiiiitttttttt\1"
                                     "\1\1c" // consumer: time, pending
                                     "tttttttt\1iiiiiiiiiiiiiiii")},
        {RDB_STREAM_LISTPACKS_3, BYTES("\1\1k\1v\1\5\6\5\6\0\0\1\1\1g\5\6\1\0"
                                       "\1\1c"
                                       "ttttttttaaaaaaaa\0")},
    };
    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        struct slice b = cases[c].bytes;
        for (size_t cut = 0; cut < b.len; cut++) {
            struct rdb_reader in = READER(b.ptr, cut);
            cr_assert(!rdb_skip_value(&in, cases[c].type), "case %zu, cut at %zu", c, cut);
        }
        struct rdb_reader in = READER(b.ptr, b.len);
        cr_assert(rdb_skip_value(&in, cases[c].type), "case %zu", c);
        cr_assert_eq(rdb_left(&in), 0, "case %zu: %zu bytes", c, rdb_left(&in));
    }
    static const uint8_t unknown[] = {6, 7, 8, 22, 23, 26, 128, 255};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        struct rdb_reader in = READER("\0\0\0\0", 4);
        cr_assert(!rdb_is_known_type(unknown[i]));
        cr_assert(!rdb_skip_value(&in, unknown[i]));
    }
}

Test(rdb, a_value_that_is_merely_empty_is_told_from_a_bad_one)
{
    struct rdb_value got;
    struct rdb_reader in = READER("\0", 1);
    cr_assert(!rdb_get_value(&in, RDB_SET, &limits, &got));
    cr_assert(got.is_empty && !in.is_bad && rdb_left(&in) == 0);
    in = READER("\1", 1);
    cr_assert(!rdb_get_value(&in, RDB_SET, &limits, &got));
    cr_assert(!got.is_empty);
}

Test(rdb, what_is_wrong_is_refused)
{
    static const struct {
        uint8_t type;
        struct slice bytes;
    } cases[] = {
        {RDB_LIST, BYTES("\0")},
        {RDB_SET, BYTES("\0")},
        {RDB_SET, BYTES("\2\1a\1a")},
        {RDB_SET, BYTES("\2\xc0\1\1"
                        "1")},
        {RDB_HASH, BYTES("\2\1f\1v\1f\1w")},
        {RDB_HASH, BYTES("\1\1f")},
        {RDB_ZSET_2, BYTES("\1\1a\0\0\0\0\0\0\xf8\x7f")},
        {RDB_SET_INTSET, BYTES("\x0c\2\0\0\0\2\0\0\0\2\0\1\0")},
        {RDB_ZSET_LISTPACK, BYTES("\x0f\x0f\0\0\0\4\0\x81"
                                  "a\2\2\1\x81"
                                  "b\2\1\1")},
        {RDB_HASH_LISTPACK, BYTES("\x7\x7\0\0\0\0\0\xff")},
        {6, BYTES("\1x")},
        {22, BYTES("\1x")},
        {26, BYTES("\1x")},
        {255, BYTES("\1x")},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rdb_reader in = READER(cases[i].bytes.ptr, cases[i].bytes.len);
        struct rdb_value got = {.type = TYPE_STRING};
        cr_assert(!rdb_get_value(&in, cases[i].type, &limits, &got), "case %zu", i);
        buf_free(&got.scratch);
    }
}
