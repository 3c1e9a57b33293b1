// SPDX-License-Identifier: BSD-3-Clause
#include "store/log_format.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/mem.h"

static const struct log_header some_header = {
    .shard = 2, .shard_count = 5, .epoch = 0x1122334455667788, .first_seq = 99, .salt = 7};

Test(log_format, a_header_comes_back_as_it_went)
{
    struct log_header h = some_header, back;
    char bytes[LOG_HEADER_BYTES];
    log_header_encode(&h, bytes);
    cr_assert_null(log_header_decode((struct slice){bytes, sizeof bytes}, &back));
    cr_assert_eq(back.version, LOG_VERSION);
    cr_assert_eq(back.shard, 2);
    cr_assert_eq(back.shard_count, 5);
    cr_assert_eq(back.epoch, 0x1122334455667788);
    cr_assert_eq(back.first_seq, 99);
    cr_assert_eq(back.salt, 7);
    cr_assert_eq(back.crc, h.crc);
}

// The format on the disk must not change by accident.
Test(log_format, bytes_are_where_the_description_says)
{
    struct log_header h = some_header;
    char header[LOG_HEADER_BYTES], head[LOG_FRAME_BYTES];
    log_header_encode(&h, header);
    cr_assert_arr_eq(header, "GYRELOG1\1\0\0\0\2\0\0\0\5\0\0\0\0\0\0\0", 24);
    cr_assert_arr_eq(header + 24, "\x88\x77\x66\x55\x44\x33\x22\x11\x63\0\0\0\0\0\0\0", 16);
    struct log_frame f = {.unit_count = 1, .first_seq = 0x0102, .durable_seq = 0x0101};
    struct iovec piece = {"\1\3abc", 5};
    log_frame_encode(&f, h.crc, &piece, 1, head);
    cr_assert_arr_eq(head + 4, "\1\0\0\0\5\0\0\0\0\0\0\0\2\1\0\0\0\0\0\0\1\1\0\0\0\0\0\0", 28);
    uint32_t crc = crc32c_add(crc32c_add(h.crc, head + 4, 28), "\1\3abc", 5), stored;
    memcpy(&stored, head, sizeof stored);
    cr_assert_eq(stored, crc);
}

Test(log_format, a_header_with_any_bit_changed_is_none)
{
    struct log_header h = some_header, back;
    char bytes[LOG_HEADER_BYTES];
    log_header_encode(&h, bytes);
    for (unsigned bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
        cr_assert_not_null(log_header_decode((struct slice){bytes, sizeof bytes}, &back), "%u",
                           bit);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t len = 0; len < sizeof bytes; len++)
        cr_assert_not_null(log_header_decode((struct slice){bytes, len}, &back));
}

Test(log_format, a_frame_is_the_same_in_however_many_pieces)
{
    char payload[200], whole[LOG_FRAME_BYTES], parts[LOG_FRAME_BYTES];
    memset(payload, 'x', sizeof payload);
    struct iovec one = {payload, sizeof payload};
    struct log_frame f = {.unit_count = 3, .first_seq = 5};
    log_frame_encode(&f, 1, &one, 1, whole);
    cr_assert_eq(f.payload_bytes, 200);
    for (size_t cut = 0; cut <= sizeof payload; cut++) {
        struct iovec two[] = {{payload, cut}, {payload + cut, sizeof payload - cut}};
        log_frame_encode(&f, 1, two, 2, parts);
        cr_assert_arr_eq(whole, parts, sizeof whole);
    }
}

Test(log_format, a_frame_of_another_file_is_none)
{
    char bytes[LOG_FRAME_BYTES];
    struct log_frame f = {.first_seq = 5, .durable_seq = 5};
    struct slice payload;
    log_frame_encode(&f, 1, NULL, 0, bytes);
    cr_assert_null(log_frame_decode((struct slice){bytes, sizeof bytes}, 1, &f, &payload));
    cr_assert_not_null(log_frame_decode((struct slice){bytes, sizeof bytes}, 2, &f, &payload));
}

Test(log_format, units_come_back_as_they_went)
{
    struct buf b = {0};
    struct log_unit unit;
    struct slice left, groups, effects;
    uint32_t shard;
    log_put_local(&b, 3);
    buf_append_text(&b, "abc");
    log_put_transaction(&b, UINT64_MAX, 2);
    log_put_group(&b, 7, 2);
    buf_append_text(&b, "xy");
    log_put_group(&b, 300, 0);
    log_put_local(&b, 0);

    left = buf_slice(&b);
    cr_assert(log_unit_next(&left, &unit));
    cr_assert_eq(unit.kind, LOG_LOCAL);
    cr_assert(slice_eq(unit.effects, SLICE("abc")));
    cr_assert(log_unit_next(&left, &unit));
    cr_assert_eq(unit.kind, LOG_TRANSACTION);
    cr_assert_eq(unit.txid, UINT64_MAX);
    cr_assert_eq(unit.group_count, 2);
    groups = unit.groups;
    cr_assert(log_group_next(&groups, &shard, &effects) && shard == 7);
    cr_assert(slice_eq(effects, SLICE("xy")));
    cr_assert(log_group_next(&groups, &shard, &effects) && shard == 300 && !effects.len);
    cr_assert_not(log_group_next(&groups, &shard, &effects));
    cr_assert(log_unit_group(&unit, 7, &effects) && slice_eq(effects, SLICE("xy")));
    cr_assert_not(log_unit_group(&unit, 8, &effects));
    cr_assert(log_unit_next(&left, &unit));
    cr_assert(unit.kind == LOG_LOCAL && !unit.effects.len);
    cr_assert_not(log_unit_next(&left, &unit));
    cr_assert_eq(left.len, 0);
    buf_free(&b);
}

Test(log_format, a_unit_that_is_cut_off_anywhere_is_none)
{
    struct buf b = {0};
    struct log_unit unit;
    log_put_transaction(&b, 1000, 2);
    log_put_group(&b, 200, 3);
    buf_append_text(&b, "abc");
    log_put_group(&b, 1, 130);
    for (int i = 0; i < 130; i++) buf_append_char(&b, 'x');
    for (size_t len = 1; len < b.len; len++) {
        char *copy = memcpy(mem_alloc(len), b.ptr, len); // what lies behind is not to be read
        struct slice left = {copy, len};
        cr_assert_not(log_unit_next(&left, &unit), "%zu bytes", len);
        cr_assert_eq(left.len, len, "nothing is taken");
        mem_free(copy);
    }
    buf_free(&b);
}

Test(log_format, units_that_make_no_sense_are_none)
{
    static const struct slice bad[] = {
        SLICE("\0\0"),       // kind 0
        SLICE("\3\0"),       // kind 3
        SLICE("\1\5abc"),    // longer than what is there
        SLICE("\2\0\1\0\0"), // txid 0
        SLICE("\2\1\0"),     // no groups
        SLICE("\2\1\2\0\0"), // one group of two
        SLICE("\2\1\377\377\377\377\377\377\377\377\377\1\0\0"),
        SLICE("\2\1\1\377\377\377\377\177\0"), // shard beyond 32 bits
        SLICE("\1\377\377\377\377\377\377\377\377\377\1abc"),
        SLICE("\1\377\377\377\377\377\377\377\377\377\377\377"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct slice left = bad[i];
        struct log_unit unit;
        cr_assert_not(log_unit_next(&left, &unit), "%zu", i);
    }
}
