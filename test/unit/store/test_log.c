// SPDX-License-Identifier: BSD-3-Clause
//
// log: what goes into which frame and when, what is safe when, and what happens when the disk says
// no. Callbacks run in ring_run alone, so a write or a sync that was started is under way until the
// test lets the ring run. Which frames a file has is read from its bytes, what is in them by
// log_file.
#include "store/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/ring.h"
#include "store/log_file.h"

enum { FIRST = 100, NOW = 1000000 };

struct bench {
    struct ring *ring;
    struct log *log;
    struct log_totals totals;
    char dir[32], path[64];
    int files;
    int64_t now_ms;
    // What the hooks were told.
    uint64_t safe; // at the last `advanced`
    int advances, rotations, troubles, error;
    bool was_broken;
    uint64_t old_bytes, old_end_seq, first_seq;
    char doing[16];
    const struct log_record *decided;
};

// --- the log's owner -----------------------------------------------------------------------------

static void on_took(void *owner, const char *what, uint64_t us)
{
    (void)owner, (void)what, (void)us;
}

static void on_advanced(void *owner)
{
    struct bench *b = owner;
    b->advances++;
    cr_assert(log_safe(b->log) >= b->safe, "what was safe is so no more");
    b->safe = log_safe(b->log);
}

static void on_rotated(void *owner, bool was_broken, uint64_t old_bytes, uint64_t old_end_seq,
                       uint64_t first_seq)
{
    struct bench *b = owner;
    b->rotations++;
    b->was_broken = was_broken;
    b->old_bytes = old_bytes;
    b->old_end_seq = old_end_seq;
    b->first_seq = first_seq;
}

static void on_decided(void *owner, struct log_record *record)
{
    struct bench *b = owner;
    b->decided = record;
}

static void on_trouble(void *owner, int error, const char *doing, const char *path)
{
    struct bench *b = owner;
    cr_assert(strstr(path, b->dir) == path);
    b->troubles++;
    b->error = error;
    snprintf(b->doing, sizeof b->doing, "%s", doing);
}

static const struct log_hooks hooks = {.took = on_took,
                                       .advanced = on_advanced,
                                       .rotated = on_rotated,
                                       .decided = on_decided,
                                       .trouble = on_trouble};

static int new_file(struct bench *b)
{
    snprintf(b->path, sizeof b->path, "%s/%d", b->dir, b->files++);
    int fd = open(b->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    cr_assert(fd >= 0);
    return fd;
}

static const struct log_header HEADER = {.shard_count = 2, .epoch = 3, .salt = 7};

// Returns the descriptor, which is the log's.
static int rotate(struct bench *b)
{
    int fd = new_file(b);
    cr_assert_eq(log_rotate(b->log, fd, &HEADER, b->path), log_end(b->log));
    return fd;
}

// Without a file.
static void open_bench(struct bench *b)
{
    struct ring_options options = {RING_POLL, RING_LEVEL_PLAIN, 64, 16, 4096};
    char why[256];
    *b = (struct bench){.dir = "/tmp/gyre-test-XXXXXX", .now_ms = NOW};
    cr_assert(mkdtemp(b->dir));
    cr_assert(b->ring = ring_open(&options, why, sizeof why), "%s", why);
    b->log = log_new(b->ring, &hooks, b, &b->totals, FIRST);
}

// With one that is named and has its header and an empty frame. Returns its descriptor.
static int begin(struct bench *b, enum log_policy policy)
{
    open_bench(b);
    int fd = rotate(b);
    log_is_named(b->log);
    log_flush(b->log, policy, b->now_ms);
    cr_assert_eq(b->rotations, 1);
    return fd;
}

static void finish(struct bench *b)
{
    log_free(b->log);
    ring_close(b->ring);
    while (b->files--) {
        snprintf(b->path, sizeof b->path, "%s/%d", b->dir, b->files);
        unlink(b->path);
    }
    rmdir(b->dir);
}

static void append(struct bench *b, const char *effects)
{
    uint64_t end = log_end(b->log);
    cr_assert_eq(log_append(b->log, slice_of(effects)), end + 1);
    cr_assert_eq(log_end(b->log), end + 1);
}

static void flush(struct bench *b, enum log_policy policy)
{
    log_flush(b->log, policy, b->now_ms);
}

// Until nothing is under way.
static void settle(struct bench *b)
{
    int64_t end_us = clock_mono_us() + 10000000;
    while (!log_is_idle(b->log)) {
        cr_assert(ring_run(b->ring, 20000) >= 0);
        cr_assert(clock_mono_us() < end_us, "it never ends");
    }
}

// --- what stands in the file ---------------------------------------------------------------------

static struct slice rest(struct slice s, size_t from)
{
    return (struct slice){s.ptr + from, s.len - from};
}

// The frames of the nth file: "first seq+units<durable seq ...".
static void expect_frames(struct bench *b, int file, const char *want)
{
    struct buf bytes = {0}, got = {0};
    struct dir_error e;
    struct log_header header;
    char path[64];
    snprintf(path, sizeof path, "%s/%d", b->dir, file);
    cr_assert(dir_read_file(path, 1 << 28, &bytes, &e), "%s", e.text);
    struct slice left = buf_slice(&bytes), payload;
    if (left.len) {
        cr_assert_null(log_header_decode(left, &header));
        cr_assert(header.epoch == HEADER.epoch && header.salt == HEADER.salt);
        left = rest(left, LOG_HEADER_BYTES);
    }
    while (left.len) {
        struct log_frame f;
        const char *fault = log_frame_decode(left, header.crc, &f, &payload);
        cr_assert_null(fault, "%s", fault);
        buf_printf(&got, "%s%d+%u<%d", got.len ? " " : "", (int)f.first_seq, f.unit_count,
                   (int)f.durable_seq);
        left = rest(left, LOG_FRAME_BYTES + f.payload_bytes);
    }
    buf_append_char(&got, '\0');
    cr_assert_str_eq(got.ptr, want);
    buf_free(&got);
    buf_free(&bytes);
}

// Its units: the effects of local ones, "txid/shard:effects ..." of others, each with a blank.
static void expect_units(struct bench *b, int file, const char *want)
{
    struct log_file f;
    struct dir_error e;
    struct log_cursor at;
    struct log_unit unit;
    struct buf got = {0};
    char path[64];
    snprintf(path, sizeof path, "%s/%d", b->dir, file);
    cr_assert(log_file_open(&f, path, NULL, &e), "%s", e.text);
    cr_assert(log_file_scan(&f, NULL, &e), "%s", e.text);
    cr_assert_eq(f.scan.end, LOG_END_CLEAN, "%s", f.scan.reason);
    log_cursor_begin(&at, &f);
    while (log_cursor_next(&at, &unit)) {
        uint32_t shard;
        struct slice effects = unit.effects;
        if (unit.kind == LOG_TRANSACTION) buf_printf(&got, "%d", (int)unit.txid);
        if (unit.kind == LOG_LOCAL) buf_append(&got, effects.ptr, effects.len);
        while (unit.kind == LOG_TRANSACTION && log_group_next(&unit.groups, &shard, &effects))
            buf_printf(&got, "/%u:%.*s", shard, SLICE_ARG(effects));
        buf_append_char(&got, ' ');
    }
    buf_append_char(&got, '\0');
    cr_assert_str_eq(got.ptr, want);
    buf_free(&got);
    log_file_close(&f);
}

// --- frames and seqs -----------------------------------------------------------------------------

Test(log, what_a_turn_leaves_is_one_frame)
{
    struct bench b;
    begin(&b, LOG_SYNC_NO);
    append(&b, "one");
    append(&b, "two");
    cr_assert_eq(stat_get(&b.totals.pending_bytes), 2 * (2 + 3));
    flush(&b, LOG_SYNC_NO);
    cr_assert_eq(stat_get(&b.totals.pending_bytes), 0);
    flush(&b, LOG_SYNC_NO); // nothing came
    append(&b, "three");
    flush(&b, LOG_SYNC_NO);
    expect_frames(&b, 0, "100+0<100 100+2<100 102+1<100");
    expect_units(&b, 0, "one two three ");
    struct stat st;
    cr_assert(stat(b.path, &st) == 0);
    cr_assert_eq(stat_get(&b.totals.file_bytes), (uint64_t)st.st_size);
    finish(&b);
}

Test(log, what_comes_before_there_is_a_file_goes_to_the_first_one)
{
    struct bench b;
    open_bench(&b);
    append(&b, "nowhere");
    flush(&b, LOG_SYNC_NO);
    cr_assert_eq(log_safe(b.log), FIRST);
    finish(&b);
    open_bench(&b);
    rotate(&b);
    append(&b, "a");
    log_is_named(b.log);
    flush(&b, LOG_SYNC_NO);
    expect_frames(&b, 0, "100+1<100");
    cr_assert_eq(log_safe(b.log), FIRST + 1);
    finish(&b);
}

Test(log, more_pieces_than_a_frame_takes_are_several_frames_in_one_turn)
{
    static const char unit[] = "\1\1r"; // local, one byte
    struct bench b;
    begin(&b, LOG_SYNC_NO);
    for (int i = 0; i < 300; i++) {
        struct log_record *r = log_record_new(sizeof unit - 1, 1);
        memcpy(r->bytes, unit, r->len);
        log_append_record(b.log, r);
    }
    flush(&b, LOG_SYNC_NO);
    expect_frames(&b, 0, "100+0<100 100+256<100 356+44<100");
    cr_assert_eq(log_safe(b.log), FIRST + 300);
    finish(&b);
}

// --- what is safe --------------------------------------------------------------------------------

Test(log, without_syncs_what_is_written_is_safe)
{
    struct bench b;
    begin(&b, LOG_SYNC_NO);
    append(&b, "a");
    cr_assert_eq(log_safe(b.log), FIRST);
    cr_assert_not(log_is_safe(b.log, FIRST + 1));
    flush(&b, LOG_SYNC_NO);
    cr_assert_eq(b.safe, FIRST + 1);
    cr_assert(log_is_safe(b.log, FIRST + 1));
    b.now_ms += 100000;
    flush(&b, LOG_SYNC_NO);
    cr_assert(log_is_idle(b.log));
    cr_assert_eq(stat_get(&b.totals.sync_count), 0);
    cr_assert_eq(log_next_ms(b.log), INT64_MAX);
    finish(&b);
}

Test(log, under_always_what_is_synced_is_safe_and_what_gathers_meanwhile_goes_together)
{
    struct bench b;
    begin(&b, LOG_SYNC_ALWAYS);
    append(&b, "a");
    flush(&b, LOG_SYNC_ALWAYS);
    expect_units(&b, 0, "a ");
    cr_assert_eq(log_safe(b.log), FIRST, "written is not synced");
    for (int i = 0; i < 3; i++) { // the sync is under way
        append(&b, "b");
        flush(&b, LOG_SYNC_ALWAYS);
    }
    expect_units(&b, 0, "a ");
    settle(&b);
    cr_assert_eq(b.safe, FIRST + 1);
    flush(&b, LOG_SYNC_ALWAYS);
    settle(&b);
    cr_assert_eq(b.safe, FIRST + 4);
    expect_frames(&b, 0, "100+0<100 100+1<100 101+3<101");
    cr_assert_eq(stat_get(&b.totals.sync_count), 2);
    finish(&b);
}

Test(log, every_second_it_syncs_and_writes_down_what_is_synced)
{
    struct bench b;
    begin(&b, LOG_SYNC_EVERYSEC);
    append(&b, "a");
    flush(&b, LOG_SYNC_EVERYSEC);
    cr_assert_eq(b.safe, FIRST + 1, "safe as soon as it is written");
    cr_assert_not(log_is_idle(b.log), "the last sync is long past");
    append(&b, "b");
    flush(&b, LOG_SYNC_EVERYSEC); // beside the sync, so not at once
    cr_assert_eq(b.safe, FIRST + 1);
    settle(&b);
    cr_assert_eq(b.safe, FIRST + 2);
    flush(&b, LOG_SYNC_EVERYSEC); // what of it is synced
    cr_assert_eq(log_next_ms(b.log), NOW + 1000);
    expect_frames(&b, 0, "100+0<100 100+1<100 101+1<100 102+0<101");
    b.now_ms += 999;
    flush(&b, LOG_SYNC_EVERYSEC);
    cr_assert(log_is_idle(b.log));
    b.now_ms++;
    flush(&b, LOG_SYNC_EVERYSEC);
    settle(&b);
    cr_assert_eq(stat_get(&b.totals.sync_count), 2);
    append(&b, "c"); // its frame says it as well
    flush(&b, LOG_SYNC_EVERYSEC);
    flush(&b, LOG_SYNC_EVERYSEC);
    expect_frames(&b, 0, "100+0<100 100+1<100 101+1<100 102+0<101 102+1<102");
    finish(&b);
}

Test(log, another_policy_counts_from_the_next_turn)
{
    struct bench b;
    begin(&b, LOG_SYNC_NO);
    append(&b, "a");
    flush(&b, LOG_SYNC_ALWAYS);
    cr_assert_eq(b.safe, 0);
    flush(&b, LOG_SYNC_NO);
    cr_assert_eq(b.safe, FIRST + 1);
    settle(&b);
    finish(&b);
}

Test(log, while_it_is_optional_all_is_safe_at_once)
{
    struct bench b;
    open_bench(&b);
    append(&b, "a");
    cr_assert_eq(log_safe(b.log), FIRST);
    log_set_optional(b.log, true);
    cr_assert_eq(b.advances, 1);
    cr_assert_eq(log_safe(b.log), FIRST + 1);
    append(&b, "b");
    cr_assert_eq(log_safe(b.log), FIRST + 2);
    b.safe = 0;
    log_set_optional(b.log, false);
    cr_assert_eq(log_safe(b.log), FIRST);
    finish(&b);
}

// --- slots and records ---------------------------------------------------------------------------

static struct log_record *transaction(int txid, uint32_t logs)
{
    struct buf unit = {0};
    log_put_transaction(&unit, (uint64_t)txid, 2);
    log_put_group(&unit, 0, 1);
    buf_append_char(&unit, 'x');
    log_put_group(&unit, 1, 1);
    buf_append_char(&unit, 'y');
    struct log_record *r = log_record_new(unit.len, logs);
    memcpy(r->bytes, unit.ptr, unit.len);
    buf_free(&unit);
    return r;
}

Test(log, a_slot_holds_back_what_stands_behind_it)
{
    struct bench b;
    begin(&b, LOG_SYNC_NO);
    append(&b, "a");
    struct log_slot *first = log_reserve(b.log);
    append(&b, "b");
    struct log_slot *second = log_reserve(b.log), *third = log_reserve(b.log);
    append(&b, "c");
    cr_assert_eq(log_end(b.log), FIRST + 6);
    flush(&b, LOG_SYNC_NO);
    cr_assert_eq(b.safe, FIRST + 1);
    log_fill(b.log, second, transaction(8, 1));
    flush(&b, LOG_SYNC_NO);
    cr_assert_eq(b.safe, FIRST + 1);
    expect_units(&b, 0, "a ");
    log_fill(b.log, first, transaction(7, 1));
    flush(&b, LOG_SYNC_NO);
    cr_assert_eq(b.safe, FIRST + 4);
    log_fill(b.log, third, NULL); // came to nothing: an empty unit
    flush(&b, LOG_SYNC_NO);
    cr_assert_eq(b.safe, FIRST + 6);
    expect_frames(&b, 0, "100+0<100 100+1<100 101+3<100 104+2<100");
    expect_units(&b, 0, "a 7/0:x/1:y b 8/0:x/1:y  c ");
    finish(&b);
}

Test(log, a_record_is_in_the_logs_of_all_its_shards)
{
    struct bench b[2];
    struct log_record *r = transaction(5, 2);
    atomic_fetch_add(&r->refs, 1); // ours
    begin(&b[0], LOG_SYNC_NO);
    begin(&b[1], LOG_SYNC_NO);
    append(&b[1], "a");
    cr_assert_eq(log_append_record(b[0].log, r), FIRST + 1);
    log_fill(b[1].log, log_reserve(b[1].log), r);
    flush(&b[0], LOG_SYNC_NO);
    expect_units(&b[0], 0, "5/0:x/1:y ");
    append(&b[0], "b");
    flush(&b[0], LOG_SYNC_NO);
    cr_assert_eq(log_safe(b[0].log), FIRST, "the other log does not have it");
    cr_assert(!b[0].decided);
    flush(&b[1], LOG_SYNC_NO);
    expect_units(&b[1], 0, "a 5/0:x/1:y ");
    cr_assert(b[1].decided == r && !b[0].decided, "who votes last tells");
    cr_assert_eq(b[1].safe, FIRST + 2);
    cr_assert_eq(b[0].safe, 0);
    log_look_again(b[0].log);
    cr_assert_eq(b[0].safe, FIRST + 2);
    cr_assert_eq(atomic_load(&r->refs), 1, "all have done with it");
    log_record_unref(r);
    finish(&b[0]);
    finish(&b[1]);
}

// --- another file --------------------------------------------------------------------------------

Test(log, the_old_file_is_synced_whole_before_anything_goes_to_the_new)
{
    struct bench b;
    begin(&b, LOG_SYNC_NO);
    append(&b, "a");
    struct log_slot *slot = log_reserve(b.log);
    rotate(&b);
    append(&b, "c");
    flush(&b, LOG_SYNC_NO);
    settle(&b);
    flush(&b, LOG_SYNC_NO);
    cr_assert_eq(b.rotations, 1, "the slot belongs to the old file");
    log_fill(b.log, slot, transaction(1, 1));
    flush(&b, LOG_SYNC_NO); // writes it and, whatever the policy, syncs
    cr_assert_eq(b.rotations, 1);
    settle(&b);
    cr_assert_eq(b.safe, FIRST + 2);
    flush(&b, LOG_SYNC_NO);
    cr_assert_eq(b.rotations, 2);
    cr_assert_not(b.was_broken);
    cr_assert_eq(b.old_end_seq, FIRST + 2);
    cr_assert_eq(b.first_seq, FIRST + 2);
    struct stat st;
    char old[64];
    snprintf(old, sizeof old, "%s/0", b.dir);
    cr_assert(stat(old, &st) == 0);
    cr_assert_eq(b.old_bytes, (uint64_t)st.st_size);
    expect_units(&b, 0, "a 1/0:x/1:y ");
    expect_frames(&b, 1, "102+1<102");
    expect_units(&b, 1, "c ");
    finish(&b);
}

Test(log, nothing_in_a_new_file_is_safe_before_it_is_named)
{
    struct bench b;
    begin(&b, LOG_SYNC_ALWAYS);
    append(&b, "a");
    rotate(&b);
    append(&b, "b");
    for (int i = 0; i < 4; i++) {
        flush(&b, LOG_SYNC_ALWAYS);
        settle(&b);
    }
    expect_units(&b, 1, "b ");
    cr_assert_eq(b.safe, FIRST + 1, "synced, but in a file that nobody knows");
    rotate(&b); // and again, the one before never having been named
    append(&b, "c");
    for (int i = 0; i < 4; i++) {
        flush(&b, LOG_SYNC_ALWAYS);
        settle(&b);
    }
    expect_units(&b, 2, "c ");
    cr_assert_eq(b.rotations, 3);
    cr_assert_eq(b.safe, FIRST + 1);
    log_is_named(b.log);
    cr_assert_eq(b.safe, FIRST + 3);
    finish(&b);
}

Test(log, a_file_that_has_its_header_gets_frames_alone)
{
    struct bench b;
    char bytes[LOG_HEADER_BYTES];
    struct log_header header = HEADER;
    open_bench(&b);
    header.first_seq = FIRST;
    log_header_encode(&header, bytes);
    int fd = new_file(&b);
    cr_assert(write(fd, bytes, sizeof bytes) == sizeof bytes);
    log_rotate(b.log, fd, &header, b.path);
    log_is_named(b.log);
    flush(&b, LOG_SYNC_NO);
    expect_frames(&b, 0, "");
    append(&b, "a");
    flush(&b, LOG_SYNC_NO);
    expect_frames(&b, 0, "100+1<100");
    cr_assert_eq(b.rotations, 0);
    finish(&b);
}

Test(log, space_taken_ahead_goes_back_when_the_file_is_closed)
{
    struct bench b;
    struct stat st;
    char *big = mem_calloc(200001);
    memset(big, 'x', 200000);
    begin(&b, LOG_SYNC_NO);
    append(&b, big);
    flush(&b, LOG_SYNC_NO);
    settle(&b);
    cr_assert(stat(b.path, &st) == 0);
    int64_t ahead = (int64_t)st.st_blocks * 512;
    cr_assert_eq((uint64_t)st.st_size, stat_get(&b.totals.file_bytes), "its size is what is used");
    rotate(&b);
    flush(&b, LOG_SYNC_NO);
    settle(&b);
    flush(&b, LOG_SYNC_NO);
    cr_assert_eq(b.rotations, 2);
    snprintf(b.path, sizeof b.path, "%s/0", b.dir);
    cr_assert(stat(b.path, &st) == 0);
    if (ahead < 16 << 20) cr_log_warn("this file system takes no space ahead");
    cr_assert_lt((int64_t)st.st_blocks * 512, 1 << 20);
    mem_free(big);
    finish(&b);
}

// --- trouble -------------------------------------------------------------------------------------

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes ? bytes : limit.rlim_max;
    cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

static void try_to_write(enum log_policy policy)
{
    struct bench b;
    begin(&b, policy);
    append(&b, "a");
    flush(&b, policy);
    settle(&b);
    uint64_t safe = b.safe, bytes = stat_get(&b.totals.file_bytes);
    cr_assert_eq(safe, FIRST + 1);
    append(&b, "does not fit");
    limit_files(bytes + 10); // a part of it is written
    flush(&b, policy);
    settle(&b);
    cr_assert(b.troubles == 1 && b.error == EFBIG && strcmp(b.doing, "write") == 0);
    cr_assert_eq(b.safe, safe);
    append(&b, "behind it");
    b.now_ms += 999;
    flush(&b, policy);
    cr_assert_eq(log_next_ms(b.log), NOW + 1000);
    b.now_ms += 1;
    flush(&b, policy); // fails again: the same trouble is not told twice
    settle(&b);
    cr_assert_eq(b.troubles, 1);
    limit_files(0);
    flush(&b, policy);
    settle(&b);
    cr_assert_eq(b.safe, safe, "not before another second");
    b.now_ms += 1000;
    flush(&b, policy);
    settle(&b);
    cr_assert(b.troubles == 2 && b.error == 0);
    for (int i = 0; i < 2; i++) {
        flush(&b, policy);
        settle(&b);
    }
    cr_assert_eq(b.safe, FIRST + 3);
    expect_units(&b, 0, "a does not fit behind it ");
    finish(&b);
}

Test(log, a_write_that_failed_is_repeated_at_the_same_place)
{
    try_to_write(LOG_SYNC_NO);
    try_to_write(LOG_SYNC_EVERYSEC);
    try_to_write(LOG_SYNC_ALWAYS);
}

Test(log, a_header_that_could_not_be_written_is_written_later)
{
    struct bench b;
    open_bench(&b);
    int fd = rotate(&b), real = dup(fd), full = open("/dev/full", O_RDWR | O_CLOEXEC);
    log_is_named(b.log);
    cr_assert(real >= 0 && dup2(full, fd) == fd);
    flush(&b, LOG_SYNC_NO);
    cr_assert(b.troubles == 1 && b.error == ENOSPC && !b.rotations);
    append(&b, "a");
    dup2(real, fd);
    b.now_ms += 1000;
    flush(&b, LOG_SYNC_NO);
    cr_assert(b.troubles == 2 && b.error == 0 && b.rotations == 1);
    expect_frames(&b, 0, "100+1<100");
    close(real);
    close(full);
    finish(&b);
}

// A sync of /dev/null fails; there goes what is to be written just now.
static void break_sync(struct bench *b, int fd)
{
    int real = dup(fd), null = open("/dev/null", O_RDWR | O_CLOEXEC);
    cr_assert(real >= 0 && dup2(null, fd) == fd);
    close(null);
    flush(b, LOG_SYNC_ALWAYS);
    settle(b);
    cr_assert(b->troubles == 1 && b->error == EINVAL && strcmp(b->doing, "fsync") == 0);
    cr_assert(dup2(real, fd) == fd); // from here on a sync would succeed
    close(real);
}

Test(log, after_a_sync_that_failed_only_a_new_file_on_a_durable_snapshot_helps)
{
    struct bench b;
    int fd = begin(&b, LOG_SYNC_ALWAYS);
    append(&b, "a");
    break_sync(&b, fd);
    append(&b, "b");
    b.now_ms += 10000;
    flush(&b, LOG_SYNC_ALWAYS); // no second try
    cr_assert(log_is_idle(b.log));
    expect_frames(&b, 0, "100+0<100");
    cr_assert_eq(log_next_ms(b.log), INT64_MAX);
    cr_assert_not(log_flush_now(b.log));
    rotate(&b);
    log_is_named(b.log);
    append(&b, "c");
    for (int i = 0; i < 2; i++) {
        flush(&b, LOG_SYNC_ALWAYS);
        settle(&b);
    }
    cr_assert(b.rotations == 2 && b.was_broken && b.first_seq == FIRST + 2);
    expect_units(&b, 1, "c ");
    cr_assert_eq(log_safe(b.log), FIRST, "the snapshot is not durable yet");
    cr_assert_eq(b.troubles, 1);
    log_base_is_durable(b.log);
    cr_assert_eq(b.safe, FIRST + 3);
    cr_assert(b.troubles == 2 && b.error == 0);
    cr_assert_eq(stat_get(&b.totals.pending_bytes), 0);
    finish(&b);
}

Test(log, what_a_broken_log_lost_is_safe_in_others_once_the_snapshot_is_durable)
{
    struct bench b[2];
    struct log_record *written = transaction(1, 2), *waiting = transaction(2, 2);
    int fd = begin(&b[0], LOG_SYNC_ALWAYS);
    begin(&b[1], LOG_SYNC_NO);
    log_append_record(b[0].log, written);
    break_sync(&b[0], fd);
    log_append_record(b[0].log, waiting);
    log_append_record(b[1].log, written);
    log_append_record(b[1].log, waiting);
    rotate(&b[0]);
    log_is_named(b[0].log);
    for (int i = 0; i < 2; i++) {
        flush(&b[0], LOG_SYNC_ALWAYS);
        flush(&b[1], LOG_SYNC_NO);
        settle(&b[0]);
        log_look_again(b[1].log);
    }
    cr_assert(b[0].rotations == 2 && !b[0].decided && !b[1].decided);
    cr_assert_eq(log_safe(b[1].log), FIRST);
    log_base_is_durable(b[0].log);
    cr_assert_eq(b[0].decided, written);
    log_look_again(b[1].log); // only now it comes to the second one
    cr_assert_eq(b[1].decided, waiting);
    cr_assert_eq(b[1].safe, FIRST + 2);
    log_look_again(b[0].log);
    cr_assert_eq(b[0].safe, FIRST + 2);
    finish(&b[0]);
    finish(&b[1]);
}

// --- the stop ------------------------------------------------------------------------------------

Test(log, flush_now_writes_all_and_says_that_it_is_synced)
{
    struct bench b;
    begin(&b, LOG_SYNC_EVERYSEC);
    append(&b, "a");
    rotate(&b);
    append(&b, "b");
    append(&b, "c");
    log_is_named(b.log);
    cr_assert(log_flush_now(b.log));
    cr_assert_eq(b.safe, FIRST + 3);
    expect_frames(&b, 0, "100+0<100 100+1<100");
    expect_frames(&b, 1, "101+2<101 103+0<103");
    cr_assert_eq(stat_get(&b.totals.sync_count), 2);
    finish(&b);
    begin(&b, LOG_SYNC_ALWAYS);
    append(&b, "a");
    cr_assert(log_flush_now(b.log));
    expect_frames(&b, 0, "100+0<100 100+1<100 101+0<101");
    finish(&b);
}

Test(log, flush_now_tells_what_it_could_not_do)
{
    struct bench b;
    int fd = begin(&b, LOG_SYNC_ALWAYS);
    append(&b, "a");
    struct log_slot *slot = log_reserve(b.log);
    cr_assert_not(log_flush_now(b.log), "a slot is empty");
    expect_units(&b, 0, "a ");
    log_fill(b.log, slot, NULL);
    limit_files(stat_get(&b.totals.file_bytes) + 1);
    cr_assert_not(log_flush_now(b.log));
    cr_assert_eq(b.error, EFBIG);
    cr_assert_eq(b.safe, FIRST + 1);
    limit_files(0);
    cr_assert(log_flush_now(b.log));
    cr_assert_eq(b.safe, FIRST + 2);
    append(&b, "b");
    b.troubles = 0;
    break_sync(&b, fd);
    cr_assert_not(log_flush_now(b.log), "nobody knows whether b is on the disk");
    finish(&b);
}
