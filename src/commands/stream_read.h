// SPDX-License-Identifier: BSD-3-Clause
//
// stream_read: what XREAD and XREADGROUP ask for, and the serving of it, for whoever waits until
// there is something to serve.
#pragma once
#include "engine/ctx.h"
#include "types/stream.h"

// One of the streams. Pointers are valid until the keyspace changes.
struct stream_read_part {
    struct slice key;
    struct stream *stream;      // NULL: no such key
    struct stream_group *group; // XREADGROUP
    struct stream_id after;     // XREADGROUP: STREAM_ID_MAX stands for ">"
};

struct stream_read {
    bool is_group, is_noack;
    int64_t count;    // per stream; 0: all
    int64_t block_ms; // 0: for ever, -1: BLOCK was not said
    int group_arg;    // the consumer is behind it
    int first_key, count_streams;
    struct stream_read_part *parts; // owned
};

// Reads the command's arguments and looks up its streams. False: the error has been replied, and
// nothing is to be freed.
bool stream_read_prepare(struct ctx *ctx, struct stream_read *r);
// Replies what there is; false, and nothing was replied, if there is nothing.
bool stream_read_serve(struct ctx *ctx, const struct stream_read *r);
void stream_read_free(struct stream_read *r);
