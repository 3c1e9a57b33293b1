// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target: a log file made of any bytes. What the scan says is compared with a slow and
// simple reading of the same, and what it calls good must be good by itself.
//
// Input: byte 0 says how the rest is taken. 0: it is the file. Else: frames with right checksums,
// each of a byte of flags, a byte of units, a byte of payload length, the payload; and at the end
// (flag 0x80) two bytes that say where a byte is changed and how.
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "engine/effect.h"
#include "store/log_file.h"

static const struct log_header some_header = {
    .shard = 1, .shard_count = 4, .epoch = 2, .first_seq = 1000, .salt = 3};

struct input {
    const uint8_t *at, *end;
};

static uint8_t next_byte(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

// --- the file ------------------------------------------------------------------------------------

static void put_frame(struct buf *file, uint32_t seed, uint64_t *seq, uint8_t flags,
                      struct input *in)
{
    char head[LOG_FRAME_BYTES];
    struct log_frame frame = {.unit_count = next_byte(in), .first_seq = *seq};
    size_t len = next_byte(in);
    len = MIN(len, (size_t)(in->end - in->at));
    struct iovec payload = {(char *)(uintptr_t)in->at, len};
    in->at += len;
    if (flags & 1) { // as many units as there are
        struct slice left = {payload.iov_base, payload.iov_len};
        struct log_unit unit;
        for (frame.unit_count = 0; log_unit_next(&left, &unit);) frame.unit_count++;
        payload.iov_len -= left.len;
    }
    frame.unit_count = (uint32_t)MIN(frame.unit_count, payload.iov_len / 2);
    if (!frame.unit_count) payload.iov_len = 0;
    if (flags & 2) frame.first_seq += 1;
    frame.durable_seq = flags & 4 ? frame.first_seq : some_header.first_seq + (flags >> 4 & 7);
    frame.durable_seq = MIN(frame.durable_seq, frame.first_seq);
    log_frame_encode(&frame, seed, &payload, 1, head);
    buf_append(file, head, sizeof head);
    buf_append(file, payload.iov_base, payload.iov_len);
    *seq = frame.first_seq + frame.unit_count;
}

static void make_file(struct buf *file, struct input *in)
{
    struct log_header header = some_header;
    char bytes[LOG_HEADER_BYTES];
    uint64_t seq = header.first_seq;
    log_header_encode(&header, bytes);
    if (next_byte(in) == 0) {
        buf_append(file, in->at, (size_t)(in->end - in->at));
        return;
    }
    buf_append(file, bytes, sizeof bytes);
    while (in->at < in->end) {
        uint8_t flags = next_byte(in);
        if (flags & 0x80) {
            size_t at = next_byte(in) * 8u % file->len;
            file->ptr[at] = (char)(file->ptr[at] ^ next_byte(in));
        } else {
            put_frame(file, header.crc, &seq, flags, in);
        }
    }
}

// --- what is said of it --------------------------------------------------------------------------

// The first frame behind the good part that should make it damaged, slowly; 0: none.
static uint64_t find_later(const struct log_file *f)
{
    const struct log_scan *s = &f->scan;
    for (uint64_t at = s->good_bytes; at < f->bytes; at++) {
        struct slice in = {f->map + at, f->bytes - at}, payload;
        struct log_frame frame;
        if (log_frame_decode(in, f->header.crc, &frame, &payload)) continue;
        if (frame.durable_seq > s->next_seq && frame.durable_seq <= frame.first_seq &&
            log_frame_is_plausible(in, &frame) && frame.first_seq - s->next_seq < UINT64_C(1) << 48)
            return at;
    }
    return 0;
}

static void check_units(const struct log_file *f)
{
    struct effect_reader reader = {0};
    struct log_missing missing = {0};
    struct log_cursor cursor;
    struct log_unit unit;
    uint64_t seq = f->header.first_seq, txid = 0;
    log_cursor_begin(&cursor, f);
    while (log_cursor_next(&cursor, &unit)) {
        struct slice groups = unit.groups;
        uint32_t shard, count = 0;
        ASSERT(cursor.seq == seq++);
        reader.left = unit.effects;
        while (effect_next(&reader)) continue;
        while (log_group_next(&groups, &shard, &reader.left)) {
            while (effect_next(&reader)) continue;
            count++;
        }
        if (unit.kind != LOG_TRANSACTION) continue;
        ASSERT(count == unit.group_count && !groups.len && unit.txid > txid);
        txid = unit.txid;
    }
    ASSERT(seq == f->scan.next_seq && txid == f->scan.last_txid);
    ASSERT(f->scan.unit_count == seq - f->header.first_seq);
    log_missing_collect(&missing, f, (uint64_t[]){0, 5, txid, 1}, 4);
    log_missing_sort(&missing);
    log_missing_free(&missing);
    effect_reader_free(&reader);
}

static bool open_bytes(struct log_file *f, const char *bytes, size_t len)
{
    struct dir_error e;
    int fd = memfd_create("log", 0);
    ASSERT(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bool is_open = log_file_open(f, path, &some_header, &e);
    close(fd);
    ASSERT(!is_open || log_file_scan(f, NULL, &e));
    return is_open;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct buf file = {0}, text = {0};
    struct log_file f, again;
    make_file(&file, &in);
    if (open_bytes(&f, file.ptr, file.len)) {
        const struct log_scan *s = &f.scan;
        ASSERT(s->good_bytes <= f.bytes && s->dropped_bytes == f.bytes - s->good_bytes);
        uint64_t later = find_later(&f);
        ASSERT(later == s->later_at);
        ASSERT(!later || s->end == LOG_END_DAMAGED);
        check_units(&f);
        log_file_describe(&f, &text);
        ASSERT(open_bytes(&again, file.ptr, s->good_bytes));
        ASSERT(again.scan.end == LOG_END_CLEAN && again.scan.next_seq == s->next_seq);
        log_file_close(&again);
        log_file_close(&f);
    }
    buf_free(&text);
    buf_free(&file);
    return 0;
}
