// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target: any bytes as changes to a stream, whose invariants are looked at after each,
// and which at the end is saved, loaded and walked from both sides. (Saved streams that are
// damaged: fuzz_restore.c.)
//
// Input: two bytes of limits, then operations: a byte that chooses one, and its operands.
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "types/rdb.h"
#include "types/rdb_io.h"
#include "types/stream.h"

#define PAIRS_MAX 3

struct input {
    const uint8_t *at, *end;
};

static uint8_t next_byte(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static struct slice next_slice(struct input *in)
{
    size_t len = next_byte(in), left = (size_t)(in->end - in->at);
    struct slice s = {(const char *)in->at, len < left ? len : left};
    in->at += s.len;
    return s;
}

static void append(struct stream *s, struct input *in, const struct value_limits *limits)
{
    struct slice pairs[2 * PAIRS_MAX];
    uint32_t fields = 1 + next_byte(in) % PAIRS_MAX;
    for (uint32_t i = 0; i < 2 * fields; i++) pairs[i] = next_slice(in);
    struct stream_id id = {s->last_id.ms + next_byte(in), next_byte(in)};
    if (stream_id_cmp(id, s->last_id) <= 0) id.seq = s->last_id.seq + 1;
    stream_append(s, id, pairs, fields, limits);
}

static void change(struct stream *s, struct input *in, const struct value_limits *limits)
{
    struct stream_id id = {next_byte(in), next_byte(in)};
    struct stream_trim how = {.is_by_id = id.ms & 1,
                              .is_approximate = id.ms & 2,
                              .min_id = id,
                              .max_len = id.seq,
                              .limit = id.ms >> 4};
    switch (next_byte(in) % 8) {
    case 0: stream_remove(s, &id, 1); break;
    case 1: stream_remove(s, &s->first_id, s->len > 0); break;
    case 2: stream_trim(s, &how); break;
    case 3:
        if (stream_id_cmp(id, s->max_deleted_id) > 0 && !s->len) s->last_id = id;
        break;
    default: append(s, in, limits); break;
    }
}

static uint64_t count(const struct stream *s, bool is_reverse)
{
    uint64_t n = 0;
    struct stream_iter it;
    stream_iter_init(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, is_reverse);
    while (stream_iter_next(&it)) n++;
    stream_iter_free(&it);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct value_limits limits = {.stream_node_max_entries = next_byte(&in) % 8,
                                  .stream_node_max_bytes = next_byte(&in) * 4};
    struct value v = stream_new(), back;
    struct stream *s = stream_of(v);
    while (in.at < in.end) {
        change(s, &in, &limits);
        stream_validate(v);
    }
    ASSERT(count(s, false) == s->len && count(s, true) == s->len);

    struct buf bytes = {0}, again = {0};
    stream_save(&bytes, v, false);
    struct rdb_reader reader = {.at = bytes.ptr, .end = bytes.ptr + bytes.len};
    ASSERT(stream_load(&reader, RDB_STREAM_LISTPACKS_2, &limits, &back));
    stream_validate(back);
    stream_save(&again, back, false);
    ASSERT(slice_eq(buf_slice(&bytes), buf_slice(&again)));
    buf_free(&bytes);
    buf_free(&again);
    stream_free(v);
    stream_free(back);
    return 0;
}
