// SPDX-License-Identifier: BSD-3-Clause
//
// stream_arg: what the families of stream commands share: ids among the arguments, and ids, entries
// and ranges in replies.
#pragma once
#include "engine/ctx.h"
#include "types/stream.h"

#define STREAM_ID_TEXT 42 // bytes that an id's text needs

// Milliseconds from one time to another; times may come from anywhere, so this may wrap.
static inline int64_t stream_since(int64_t now_ms, int64_t then_ms)
{
    return (int64_t)((uint64_t)now_ms - (uint64_t)then_ms);
}

// Replies the error; false.
bool stream_fail(struct ctx *ctx, const char *error);

// --- arguments -----------------------------------------------------------------------------------

// Reads "ms" (then seq is missing_seq) or "ms-seq". has_seq: not NULL: "ms-*" is good, too, and
// makes it false. False if it is no id. "-" and "+" are none.
bool stream_parse_id(struct slice text, uint64_t missing_seq, struct stream_id *id, bool *has_seq);
// The same of an argument; replies the error.
bool stream_arg_id(struct ctx *ctx, int arg, struct stream_id *id);
// An id, "-" or "+".
bool stream_arg_any_id(struct ctx *ctx, int arg, uint64_t missing_seq, struct stream_id *id);
// The ends of an interval: an id, "-", "+", or "(" and an id, which is then not part of it.
bool stream_arg_start(struct ctx *ctx, int arg, struct stream_id *id);
bool stream_arg_end(struct ctx *ctx, int arg, struct stream_id *id);
// Arguments `first` to the last as ids. NULL if one is none (then that is replied); the caller
// frees them.
struct stream_id *stream_arg_ids(struct ctx *ctx, int first);

// "NOGROUP No such key '…' or consumer group '…'" and `more`.
void stream_reply_no_group(struct ctx *ctx, struct slice key, struct slice group, const char *more);

// --- replies -------------------------------------------------------------------------------------

size_t stream_format_id(char *out, struct stream_id id); // STREAM_ID_TEXT bytes of room
void stream_reply_id(struct reply *r, struct stream_id id);
// The entry as [id, [field, value, …]]; none of its pairs has been read.
void stream_reply_entry(struct reply *r, struct stream_entry *e);
// The entry with this id, or false if there is none.
bool stream_reply_entry_at(struct reply *r, const struct stream *s, struct stream_id id);
// An array of the entries between start and end, at most `count` (0: all).
void stream_reply_range(struct reply *r, const struct stream *s, struct stream_id start,
                        struct stream_id end, uint64_t count, bool is_reverse);
