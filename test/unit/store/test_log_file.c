// SPDX-License-Identifier: BSD-3-Clause
//
// Every kind of damage at every byte of a small log; what must come out follows from where the
// frames are and what they knew to be synced.
#include "store/log_file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "log_maker.h"

#define SHARDS 3

static const struct log_header some_header = {
    .shard = 1, .shard_count = SHARDS, .epoch = 7, .first_seq = 100, .salt = 11};

// Seven frames; the later ones know more and more to be synced, but lag behind.
static void make_log(struct log_maker *m)
{
    log_maker_begin(m, some_header);
    log_maker_local(m, "one");
    log_maker_frame(m, 100);
    log_maker_local(m, "two");
    log_maker_transaction(m, 5, "01", "three");
    log_maker_frame(m, 100);
    log_maker_local(m, "four");
    log_maker_frame(m, 101);
    log_maker_frame(m, 104); // no units
    log_maker_transaction(m, 9, "012", "five");
    log_maker_frame(m, 104);
    log_maker_local(m, "");
    log_maker_frame(m, 104);
    log_maker_local(m, "seven");
    log_maker_local(m, "eight");
    log_maker_frame(m, 105);
}

// Opens and scans a file with this content.
static struct log_file scanned(struct slice bytes)
{
    struct log_file f;
    struct dir_error e;
    char path[64];
    int fd;
    log_maker_file(bytes, &fd, path);
    cr_assert(log_file_open(&f, path, &some_header, &e), "%s", e.text);
    close(fd);
    cr_assert(log_file_scan(&f, NULL, &e), "%s", e.text);
    return f;
}

// The frame in which the byte at this offset is; frame_count: behind all.
static size_t frame_of(const struct log_maker *m, size_t at)
{
    size_t i = 0;
    while (i + 1 < m->frame_count && m->frames[i + 1].at <= at) i++;
    return at >= m->bytes.len ? m->frame_count : i;
}

// Where reading must stop if frame `bad` is the first that is not good: its place, its seq, and
// whether a good frame of those from `good` on knows that it was synced.
static void expect_stop(const struct log_maker *m, const struct log_scan *s, size_t bad,
                        size_t good, size_t at)
{
    uint64_t seq = bad < m->frame_count ? m->frames[bad].first_seq : m->next_seq;
    size_t offset = bad < m->frame_count ? m->frames[bad].at : m->bytes.len;
    size_t later = good;
    while (later < m->frame_count && m->frames[later].durable_seq <= seq) later++;
    cr_assert_eq(s->good_bytes, offset, "byte %zu: stops at %lu", at, s->good_bytes);
    cr_assert_eq(s->next_seq, seq, "byte %zu: seq %lu", at, s->next_seq);
    cr_assert_not_null(s->reason);
    if (later < m->frame_count) {
        cr_assert_eq(s->end, LOG_END_DAMAGED, "byte %zu", at);
        cr_assert_eq(s->later_at, m->frames[later].at, "byte %zu", at);
        cr_assert_eq(s->later_durable, m->frames[later].durable_seq);
    } else {
        cr_assert_eq(s->end, LOG_END_TORN, "byte %zu", at);
    }
}

static void expect_clean(const struct log_scan *s, uint64_t next_seq, uint64_t good_bytes)
{
    cr_assert_eq(s->end, LOG_END_CLEAN);
    cr_assert_null(s->reason);
    cr_assert_eq(s->next_seq, next_seq);
    cr_assert_eq(s->good_bytes, good_bytes);
}

Test(log_file, a_whole_log_is_clean_and_its_units_come_in_order)
{
    static const char *const texts[] = {"one",  "two", "three", "four",
                                        "five", "",    "seven", "eight"};
    struct log_maker m;
    make_log(&m);
    struct log_file f = scanned(buf_slice(&m.bytes));
    expect_clean(&f.scan, 108, m.bytes.len);
    cr_assert_eq(f.scan.frame_count, 7);
    cr_assert_eq(f.scan.unit_count, 8);
    cr_assert_eq(f.scan.transaction_count, 2);
    cr_assert_eq(f.scan.last_txid, 9);
    cr_assert_eq(f.scan.dropped_bytes, 0);
    struct log_cursor cursor;
    struct log_unit unit;
    log_cursor_begin(&cursor, &f);
    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        cr_assert(log_cursor_next(&cursor, &unit));
        cr_assert_eq(cursor.seq, 100 + i);
        struct slice effects = unit.effects;
        if (unit.kind == LOG_TRANSACTION) cr_assert(log_unit_group(&unit, 1, &effects));
        cr_assert(slice_eq(effects, slice_of(texts[i])), "%u", i);
    }
    cr_assert_not(log_cursor_next(&cursor, &unit));
    log_file_close(&f);
    log_maker_free(&m);
}

Test(log_file, any_changed_bit_stops_reading_in_front_of_its_frame)
{
    struct log_maker m;
    make_log(&m);
    for (size_t bit = LOG_HEADER_BYTES * 8; bit < m.bytes.len * 8; bit++) {
        size_t at = bit / 8, bad = frame_of(&m, at);
        m.bytes.ptr[at] = (char)(m.bytes.ptr[at] ^ 1 << bit % 8);
        struct log_file f = scanned(buf_slice(&m.bytes));
        expect_stop(&m, &f.scan, bad, bad + 1, at);
        m.bytes.ptr[at] = (char)(m.bytes.ptr[at] ^ 1 << bit % 8);
        log_file_close(&f);
    }
    log_maker_free(&m);
}

Test(log_file, a_file_that_is_cut_off_anywhere_is_torn_or_clean)
{
    struct log_maker m;
    make_log(&m);
    for (size_t len = LOG_HEADER_BYTES; len <= m.bytes.len; len++) {
        size_t bad = frame_of(&m, len);
        struct log_file f = scanned((struct slice){m.bytes.ptr, len});
        if (len == m.bytes.len || len == m.frames[bad].at) {
            expect_clean(&f.scan, len == m.bytes.len ? m.next_seq : m.frames[bad].first_seq, len);
        } else {
            expect_stop(&m, &f.scan, bad, m.frame_count, len);
            cr_assert_eq(f.scan.dropped_bytes, len - m.frames[bad].at);
        }
        log_file_close(&f);
    }
    log_maker_free(&m);
}

static bool is_zero(const char *bytes, size_t from, size_t to)
{
    while (from < to)
        if (bytes[from++]) return false;
    return true;
}

// As if blocks had never reached the disk: [from, to) of a copy are zeros.
static void check_hole(const struct log_maker *m, size_t from, size_t to)
{
    struct buf copy = {0};
    buf_append(&copy, m->bytes.ptr, m->bytes.len);
    memset(copy.ptr + from, 0, to - from);
    size_t changed = from; // the first byte that is another one
    while (changed < to && !m->bytes.ptr[changed]) changed++;
    size_t bad = frame_of(m, changed), last = to;
    while (last > changed && !m->bytes.ptr[last - 1]) last--;
    struct log_file f = scanned(buf_slice(&copy));
    if (changed == to)
        expect_clean(&f.scan, m->next_seq, m->bytes.len);
    else if (is_zero(copy.ptr, m->frames[bad].at, copy.len))
        expect_clean(&f.scan, m->frames[bad].first_seq, m->frames[bad].at);
    else
        expect_stop(m, &f.scan, bad, frame_of(m, last - 1) + 1, from);
    log_file_close(&f);
    buf_free(&copy);
}

Test(log_file, zeros_anywhere_are_a_torn_end_or_damage_but_a_clean_end_if_nothing_follows)
{
    struct log_maker m;
    make_log(&m);
    for (size_t from = LOG_HEADER_BYTES; from < m.bytes.len; from++) {
        check_hole(&m, from, from + 1);
        for (size_t to = from + 5; to <= m.bytes.len; to += 7) check_hole(&m, from, to);
        check_hole(&m, from, m.bytes.len);
    }
    log_maker_free(&m);
}

Test(log_file, reserved_zeros_behind_the_last_frame_are_a_clean_end)
{
    struct log_maker m;
    make_log(&m);
    size_t len = m.bytes.len;
    memset(buf_reserve(&m.bytes, 9000), 0, 9000);
    for (size_t zeros = 1; zeros <= 9000; zeros += 1 + zeros / 3) {
        struct log_file f = scanned((struct slice){m.bytes.ptr, len + zeros});
        expect_clean(&f.scan, m.next_seq, len);
        cr_assert_eq(f.scan.dropped_bytes, zeros);
        log_file_close(&f);
    }
    log_maker_free(&m);
}

Test(log_file, frames_in_another_order_are_damage)
{
    struct log_maker m;
    make_log(&m);
    for (size_t i = 0; i < m.frame_count; i++)
        for (size_t j = i + 1; j < m.frame_count; j++) {
            size_t ends[] = {i + 1 < m.frame_count ? m.frames[i + 1].at : m.bytes.len,
                             j + 1 < m.frame_count ? m.frames[j + 1].at : m.bytes.len};
            struct buf copy = {0};
            buf_append(&copy, m.bytes.ptr, m.frames[i].at);
            buf_append(&copy, m.bytes.ptr + m.frames[j].at, ends[1] - m.frames[j].at);
            buf_append(&copy, m.bytes.ptr + ends[0], m.frames[j].at - ends[0]);
            buf_append(&copy, m.bytes.ptr + m.frames[i].at, ends[0] - m.frames[i].at);
            buf_append(&copy, m.bytes.ptr + ends[1], m.bytes.len - ends[1]);
            struct log_file f = scanned(buf_slice(&copy));
            cr_assert_eq(f.scan.end, LOG_END_DAMAGED, "%zu and %zu", i, j);
            cr_assert(f.scan.next_seq < m.next_seq);
            log_file_close(&f);
            buf_free(&copy);
        }
    log_maker_free(&m);
}

Test(log_file, a_frame_that_is_missing_or_there_twice_is_damage)
{
    struct log_maker m;
    make_log(&m);
    for (size_t i = 0; i + 1 < m.frame_count; i++) {
        size_t end = m.frames[i + 1].at;
        if (m.frames[i].first_seq == m.frames[i + 1].first_seq) continue; // has no units
        for (int twice = 0; twice < 2; twice++) {
            struct buf copy = {0};
            buf_append(&copy, m.bytes.ptr, twice ? end : m.frames[i].at);
            buf_append(&copy, m.bytes.ptr + (twice ? m.frames[i].at : end),
                       m.bytes.len - (twice ? m.frames[i].at : end));
            struct log_file f = scanned(buf_slice(&copy));
            cr_assert_eq(f.scan.end, LOG_END_DAMAGED);
            cr_assert_eq(f.scan.next_seq, m.frames[i + (twice ? 1 : 0)].first_seq);
            log_file_close(&f);
            buf_free(&copy);
        }
    }
    log_maker_free(&m);
}

// Blocks of a deleted log may come back at the end of a file after a power cut.
Test(log_file, frames_of_another_file_do_not_count)
{
    struct log_header other = some_header;
    struct log_maker m, n;
    make_log(&m);
    other.epoch--;
    log_maker_begin(&n, other);
    n.next_seq = m.next_seq;
    log_maker_local(&n, "stale");
    log_maker_frame(&n, m.next_seq);
    n.next_seq += 1000;
    log_maker_local(&n, "stale");
    log_maker_frame(&n, n.next_seq);
    size_t len = m.bytes.len;
    buf_append(&m.bytes, n.bytes.ptr + LOG_HEADER_BYTES, n.bytes.len - LOG_HEADER_BYTES);
    struct log_file f = scanned(buf_slice(&m.bytes));
    cr_assert_eq(f.scan.end, LOG_END_TORN);
    cr_assert_eq(f.scan.good_bytes, len);
    log_file_close(&f);
    log_maker_free(&m);
    log_maker_free(&n);
}

Test(log_file, frames_that_break_a_rule_are_damage)
{
    static const struct {
        struct slice units;
        uint32_t count;
        const char *reason;
    } cases[] = {
        {SLICE("\1\5abc"), 1, "units of a frame make no sense"},
        {SLICE("\1\0\1"), 1, "units of a frame make no sense"},
        {SLICE("\7\0"), 1, "units of a frame make no sense"},
        {SLICE("\1\0\1\0\1\0"), 2, "units of a frame make no sense"},
        {SLICE("\1\3abc"), 2, "units of a frame make no sense"},
        {SLICE("\2\5\1\1\0"), 1, "transactions are out of order"},
        {SLICE("\2\11\1\1\0"), 1, "transactions are out of order"}, // 9, which was the last
        {SLICE("\2\12\1\1\0\2\12\1\1\0"), 2, "transactions are out of order"},
        {SLICE("\2\12\1\3\0"), 1, "names a shard that there is not"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct log_maker m;
        make_log(&m);
        log_maker_local(&m, "good");
        buf_append(&m.payload, cases[i].units.ptr, cases[i].units.len);
        m.units += cases[i].count;
        log_maker_frame(&m, 105);
        struct log_file f = scanned(buf_slice(&m.bytes));
        cr_assert_eq(f.scan.end, LOG_END_DAMAGED, "%zu", i);
        cr_assert(strstr(f.scan.reason, cases[i].reason), "%zu: %s", i, f.scan.reason);
        cr_assert_eq(f.scan.good_bytes, m.frames[m.frame_count - 1].at);
        cr_assert_eq(f.scan.next_seq, 108);
        cr_assert_eq(f.scan.unit_count, 8);
        cr_assert_eq(f.scan.last_txid, 9);
        log_file_close(&f);
        log_maker_free(&m);
    }
}

Test(log_file, a_frame_cannot_know_more_to_be_synced_than_was_written)
{
    struct log_maker m;
    make_log(&m);
    log_maker_frame(&m, m.next_seq);
    char *head = m.bytes.ptr + m.bytes.len - LOG_FRAME_BYTES;
    head[24]++; // durable seq
    uint32_t crc = crc32c_add(m.header.crc, head + 4, LOG_FRAME_BYTES - 4);
    memcpy(head, &crc, sizeof crc);
    struct log_file f = scanned(buf_slice(&m.bytes));
    cr_assert_eq(f.scan.end, LOG_END_DAMAGED);
    cr_assert(strstr(f.scan.reason, "cannot know"), "%s", f.scan.reason);
    log_file_close(&f);
    log_maker_free(&m);
}

// --- headers -------------------------------------------------------------------------------------

// Opened as part of a directory: the manifest says what the header should be.
Test(log_file, a_missing_or_torn_header_is_judged_by_what_follows)
{
    struct log_maker m;
    struct log_scan *s;
    make_log(&m);
    struct buf copy = {0};
    for (size_t len = 0; len < LOG_HEADER_BYTES; len++) { // cut off
        struct log_file f = scanned((struct slice){m.bytes.ptr, len});
        s = &f.scan;
        cr_assert_eq(s->end, len ? LOG_END_TORN : LOG_END_CLEAN, "%zu", len);
        cr_assert(s->next_seq == 100 && s->good_bytes == 0 && s->unit_count == 0);
        log_file_close(&f);
    }
    for (size_t at = 0; at < LOG_HEADER_BYTES; at++) { // changed
        copy.len = 0;
        buf_append(&copy, m.bytes.ptr, m.bytes.len);
        copy.ptr[at] = (char)~copy.ptr[at];
        struct log_file f = scanned(buf_slice(&copy));
        s = &f.scan;
        cr_assert_eq(s->end, LOG_END_DAMAGED, "%zu", at);
        cr_assert_eq(s->later_at, m.frames[2].at, "the first frame that knows of seq 100");
        log_file_close(&f);
        f = scanned((struct slice){copy.ptr, m.frames[2].at});
        cr_assert_eq(f.scan.end, LOG_END_TORN, "nothing was known to be synced");
        log_file_close(&f);
    }
    memset(copy.ptr, 0, copy.len); // only reserved
    struct log_file f = scanned(buf_slice(&copy));
    expect_clean(&f.scan, 100, 0);
    log_file_close(&f);
    buf_free(&copy);
    log_maker_free(&m);
}

Test(log_file, another_log_under_its_name_is_refused)
{
    struct log_maker m;
    make_log(&m);
    for (int i = 0; i < 5; i++) {
        struct log_header expected = some_header;
        struct log_file f;
        struct dir_error e = {0};
        char path[64];
        int fd;
        if (i == 0) expected.shard = 2;
        if (i == 1) expected.shard_count = 4;
        if (i == 2) expected.epoch++;
        if (i == 3) expected.first_seq++;
        if (i == 4) expected.salt++;
        log_maker_file(buf_slice(&m.bytes), &fd, path);
        cr_assert_not(log_file_open(&f, path, &expected, &e));
        cr_assert(strstr(e.text, path) && strstr(e.text, "another log"), "%s", e.text);
        cr_assert_eq(e.code, 0);
        close(fd);
    }
    log_maker_free(&m);
}

Test(log_file, what_is_no_log_is_refused_with_a_reason)
{
    static const struct slice files[] = {SLICE(""),
                                         SLICE("REDIS0010 something that is long enough"),
                                         SLICE("GYRELOG1"), SLICE("\0\0\0\0\0\0\0\0\0\0\0\0")};
    static const char *const reasons[] = {"empty", "not a log", "cut off", "zeros"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct log_file f;
        struct dir_error e = {0};
        char path[64];
        int fd;
        log_maker_file(files[i], &fd, path);
        cr_assert_not(log_file_open(&f, path, NULL, &e));
        cr_assert(strstr(e.text, reasons[i]), "%s", e.text);
        close(fd);
    }
    struct log_file f;
    struct dir_error e = {0};
    cr_assert_not(log_file_open(&f, "/nonexistent/x.log", NULL, &e));
    cr_assert(e.code == ENOENT && strstr(e.text, "/nonexistent/x.log"));
    cr_assert_not(log_file_open(&f, "/tmp", NULL, &e));
}

// As a disk that cannot give a block back: the kernel has nothing for the mapped page.
Test(log_file, what_cannot_be_read_is_an_error_not_damage)
{
    struct log_maker m;
    struct log_file f;
    struct dir_error e = {0};
    char path[64];
    int fd;
    make_log(&m);
    memset(buf_reserve(&m.bytes, 100000), 'x', 100000);
    m.bytes.len += 100000;
    log_maker_file(buf_slice(&m.bytes), &fd, path);
    cr_assert(log_file_open(&f, path, &some_header, &e), "%s", e.text);
    if (madvise((char *)f.map, 4096, 22) == 0) { // else it is an old kernel, which would kill us
        cr_assert_eq(ftruncate(fd, 50000), 0);
        cr_assert_not(log_file_scan(&f, NULL, &e));
        cr_assert_eq(e.code, EIO);
        cr_assert(strstr(e.text, "cannot read") && strstr(e.text, path), "%s", e.text);
    }
    close(fd);
    log_file_close(&f);
    log_maker_free(&m);
}

// --- searching -----------------------------------------------------------------------------------

// A megabyte of what looks like headers of long frames: were each checked for itself, that would be
// a hundred gigabytes.
Test(log_file, a_search_among_what_looks_like_frames_is_not_quadratic)
{
    enum { COUNT = 1 << 15 };
    struct log_maker m;
    make_log(&m);
    size_t start = m.bytes.len, len = (size_t)COUNT * LOG_FRAME_BYTES;
    buf_append(&m.bytes, "x", 1); // no frame, and what follows is not aligned
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t words[4] = {0x0000000200000000 | i, len - (i + 1) * LOG_FRAME_BYTES, 5000, 5000};
        buf_append(&m.bytes, words, sizeof words);
    }
    struct timespec from, to;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    struct log_file f = scanned(buf_slice(&m.bytes));
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    cr_assert_eq(f.scan.end, LOG_END_TORN);
    cr_assert_eq(f.scan.good_bytes, start);
    cr_assert(to.tv_sec - from.tv_sec < 3, "%ld s", (long)(to.tv_sec - from.tv_sec));
    log_file_close(&f);

    // And the one that is a frame is found behind them.
    log_maker_local(&m, "late");
    m.next_seq += 50;
    log_maker_frame(&m, m.next_seq);
    f = scanned(buf_slice(&m.bytes));
    cr_assert_eq(f.scan.end, LOG_END_DAMAGED);
    cr_assert_eq(f.scan.later_at, m.frames[m.frame_count - 1].at);
    cr_assert_eq(f.scan.later_durable, 158);
    log_file_close(&f);
    log_maker_free(&m);
}

// Longer than the windows in which it is read, than checkpoints, and with marks.
Test(log_file, a_long_log_is_read_and_searched_like_a_short_one)
{
    char text[60001];
    struct log_maker m;
    memset(text, 'v', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_maker_begin(&m, some_header);
    for (uint64_t i = 0; i < 200; i++) {
        log_maker_local(&m, text + i * 100);
        log_maker_transaction(&m, i + 1, "01", "t");
        log_maker_frame(&m, m.next_seq - (i ? 2 : 0));
    }
    stat_u64 progress = 0;
    struct log_file f;
    struct dir_error e;
    char path[64];
    int fd;
    log_maker_file(buf_slice(&m.bytes), &fd, path);
    cr_assert(log_file_open(&f, path, NULL, &e), "%s", e.text);
    cr_assert(log_file_scan(&f, &progress, &e));
    expect_clean(&f.scan, 500, m.bytes.len);
    cr_assert_eq(stat_get(&progress), m.bytes.len);
    cr_assert(f.mark_count > 5 && f.mark_count < 12);
    // Only what lies behind txid 190 for shard 0 is missing there.
    uint64_t last_txids[] = {190, 200, 200};
    struct log_missing missing = {0};
    log_missing_collect(&missing, &f, last_txids, 3);
    cr_assert_eq(missing.count, 10);
    cr_assert_eq(missing.items[0].txid, 191);
    log_missing_free(&missing);
    log_file_close(&f);
    close(fd);

    m.bytes.ptr[m.frames[3].at + 50000]++;
    f = scanned(buf_slice(&m.bytes));
    cr_assert_eq(f.scan.end, LOG_END_DAMAGED);
    cr_assert_eq(f.scan.good_bytes, m.frames[3].at);
    cr_assert_eq(f.scan.later_at, m.frames[5].at);
    log_file_close(&f);
    log_maker_free(&m);
}

// --- transactions that are missing ---------------------------------------------------------------

Test(log_file, missing_transactions_are_found_once_each_in_order)
{
    // Shard 0 has 1 2 3 5, shard 1 has 1 3 4 5, shard 2 lost all but 2.
    static const struct {
        uint64_t txid;
        const char *shards, *in;
    } all[] = {
        {1, "01", "01"}, {2, "02", "02"}, {3, "012", "01"}, {4, "12", "1"}, {5, "012", "01"}};
    uint64_t last_txids[] = {5, 5, 2};
    struct log_missing missing = {0};
    struct log_file files[SHARDS];
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        struct log_maker m;
        log_maker_begin(&m, some_header);
        for (size_t i = 0; i < ARRAY_LEN(all); i++) {
            if (!strchr(all[i].in, (int)('0' + shard))) continue;
            log_maker_transaction(&m, all[i].txid, all[i].shards, "e");
            log_maker_frame(&m, 0);
        }
        files[shard] = scanned(buf_slice(&m.bytes));
        cr_assert_eq(files[shard].scan.last_txid, last_txids[shard]);
        log_maker_free(&m);
    }
    for (uint32_t shard = 0; shard < SHARDS; shard++)
        log_missing_collect(&missing, &files[SHARDS - 1 - shard], last_txids, SHARDS);
    log_missing_sort(&missing);
    cr_assert_eq(missing.count, 3);
    for (uint64_t i = 0; i < 3; i++) {
        cr_assert_eq(missing.items[i].txid, 3 + i);
        cr_assert_eq(missing.items[i].shard, 2);
        cr_assert(slice_eq(missing.items[i].effects, SLICE("e")));
    }
    log_missing_free(&missing);
    for (uint32_t shard = 0; shard < SHARDS; shard++) log_file_close(&files[shard]);
}

Test(log_file, says_where_and_why_and_what_to_do)
{
    struct log_maker m;
    struct buf text = {0};
    make_log(&m);
    struct log_file f = scanned((struct slice){m.bytes.ptr, m.bytes.len - 1});
    log_file_describe(&f, &text);
    buf_append_char(&text, '\0');
    cr_assert(strstr(text.ptr, "torn at offset") && strstr(text.ptr, "never known to be synced"),
              "%s", text.ptr);
    log_file_close(&f);
    text.len = 0;
    m.bytes.ptr[m.frames[0].at]++;
    f = scanned(buf_slice(&m.bytes));
    log_file_describe(&f, &text);
    buf_append_char(&text, '\0');
    cr_assert(strstr(text.ptr, "damaged at offset 64") &&
                  strstr(text.ptr, "seq 101 had been synced"),
              "%s", text.ptr);
    log_file_close(&f);
    buf_free(&text);
    log_maker_free(&m);
}
