// SPDX-License-Identifier: BSD-3-Clause
#include "commands/stream_arg.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"

#define ID_ARG_MAX     127  // bytes; longer arguments are no ids
#define JOIN_MAX       4096 // an item of two pieces up to this size is put together in place
#define BULK_FRAME     (NUM_I64_TEXT + 5) // bytes around a bulk string's own
#define ERR_INVALID_ID "ERR Invalid stream ID specified as stream command argument"

// --- arguments -----------------------------------------------------------------------------------

// Half an id. As Redis does, takes what strtoull takes (blanks and signs in front) where it is not
// a plain number. `text` ends with NUL.
static bool parse_half(const char *text, uint64_t *out)
{
    int64_t v;
    if (num_parse_i64(slice_of(text), &v)) {
        *out = (uint64_t)v;
        return v >= 0;
    }
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return !errno && *text && !*end;
}

bool stream_parse_id(struct slice text, uint64_t missing_seq, struct stream_id *id, bool *has_seq)
{
    char buf[ID_ARG_MAX + 1];
    if (text.len > ID_ARG_MAX) return false;
    memcpy(buf, text.ptr, text.len);
    buf[text.len] = '\0';
    char *dash = strchr(buf, '-');
    if (has_seq) *has_seq = true;
    if (dash) *dash = '\0';
    if (!parse_half(buf, &id->ms)) return false;
    id->seq = missing_seq;
    if (!dash) return true;
    if (has_seq && strcmp(dash + 1, "*") == 0) {
        id->seq = 0;
        *has_seq = false;
        return true;
    }
    return parse_half(dash + 1, &id->seq);
}

bool stream_fail(struct ctx *ctx, const char *error)
{
    reply_error(ctx->reply, error);
    return false;
}

static bool invalid_id(struct ctx *ctx)
{
    return stream_fail(ctx, ERR_INVALID_ID);
}

bool stream_arg_id(struct ctx *ctx, int arg, struct stream_id *id)
{
    return stream_parse_id(ctx->argv[arg], 0, id, NULL) || invalid_id(ctx);
}

bool stream_arg_any_id(struct ctx *ctx, int arg, uint64_t missing_seq, struct stream_id *id)
{
    struct slice text = ctx->argv[arg];
    if (slice_eq(text, SLICE("-")))
        *id = STREAM_ID_MIN;
    else if (slice_eq(text, SLICE("+")))
        *id = STREAM_ID_MAX;
    else
        return stream_parse_id(text, missing_seq, id, NULL) || invalid_id(ctx);
    return true;
}

static bool is_exclusive(struct slice text)
{
    return text.len > 1 && text.ptr[0] == '(';
}

static bool arg_exclusive(struct ctx *ctx, int arg, uint64_t missing_seq, struct stream_id *id)
{
    struct slice text = {ctx->argv[arg].ptr + 1, ctx->argv[arg].len - 1};
    return stream_parse_id(text, missing_seq, id, NULL) || invalid_id(ctx);
}

bool stream_arg_start(struct ctx *ctx, int arg, struct stream_id *id)
{
    if (!is_exclusive(ctx->argv[arg])) return stream_arg_any_id(ctx, arg, 0, id);
    if (!arg_exclusive(ctx, arg, 0, id)) return false;
    if (stream_id_step(id)) return true;
    return stream_fail(ctx, "ERR invalid start ID for the interval");
}

bool stream_arg_end(struct ctx *ctx, int arg, struct stream_id *id)
{
    if (!is_exclusive(ctx->argv[arg])) return stream_arg_any_id(ctx, arg, UINT64_MAX, id);
    if (!arg_exclusive(ctx, arg, UINT64_MAX, id)) return false;
    if (stream_id_step_back(id)) return true;
    return stream_fail(ctx, "ERR invalid end ID for the interval");
}

struct stream_id *stream_arg_ids(struct ctx *ctx, int first)
{
    struct stream_id *ids = mem_alloc((size_t)(ctx->argc - first) * sizeof *ids);
    for (int i = first; i < ctx->argc; i++) {
        if (stream_arg_id(ctx, i, &ids[i - first])) continue;
        mem_free(ids);
        return NULL;
    }
    return ids;
}

void stream_reply_no_group(struct ctx *ctx, struct slice key, struct slice group, const char *more)
{
    reply_errorf(ctx->reply, "NOGROUP No such key '%.*s' or consumer group '%.*s'%s",
                 SLICE_ARG(key), SLICE_ARG(group), more);
}

// --- replies -------------------------------------------------------------------------------------

size_t stream_format_id(char *out, struct stream_id id)
{
    size_t len = num_format_u64(out, id.ms);
    out[len++] = '-';
    return len + num_format_u64(out + len, id.seq);
}

void stream_reply_id(struct reply *r, struct stream_id id)
{
    char text[STREAM_ID_TEXT];
    size_t len = stream_format_id(text, id);
    ASSERT(len < sizeof text); // gcc 12 warns of a longer one otherwise
    reply_bulk(r, (struct slice){text, len});
}

static char *put(char *p, const void *bytes, size_t len)
{
    memcpy(p, bytes, len);
    return p + len;
}

// A bulk string of two pieces.
static void reply_joined(struct reply *r, struct slice head, struct slice tail)
{
    size_t len = head.len + tail.len;
    char *to = len > JOIN_MAX ? mem_alloc(len + BULK_FRAME) : reply_reserve(r, len + BULK_FRAME);
    char *p = to;
    *p++ = '$';
    p += num_format_u64(p, len);
    p = put(p, "\r\n", 2);
    p = put(put(p, head.ptr, head.len), tail.ptr, tail.len);
    p = put(p, "\r\n", 2);
    if (len <= JOIN_MAX) {
        r->pos = p;
        return;
    }
    reply_raw(r, to, (size_t)(p - to));
    mem_free(to);
}

static inline void reply_item(struct reply *r, const struct stream_item *i)
{
    if (!i->head.ptr)
        reply_bulk_int(r, i->integer);
    else if (!i->tail.len)
        reply_bulk(r, i->head);
    else
        reply_joined(r, i->head, i->tail);
}

void stream_reply_entry(struct reply *r, struct stream_entry *e)
{
    reply_array(r, 2);
    stream_reply_id(r, e->id);
    reply_array(r, (size_t)e->field_count * 2);
    while (e->left) {
        struct stream_item field, value;
        stream_entry_next(e, &field, &value);
        reply_item(r, &field);
        reply_item(r, &value);
    }
}

bool stream_reply_entry_at(struct reply *r, const struct stream *s, struct stream_id id)
{
    struct stream_iter it;
    stream_iter_init(&it, s, id, id, false);
    bool is_there = stream_iter_next(&it);
    if (is_there) stream_reply_entry(r, &it.entry);
    stream_iter_free(&it);
    return is_there;
}

void stream_reply_range(struct reply *r, const struct stream *s, struct stream_id start,
                        struct stream_id end, uint64_t count, bool is_reverse)
{
    struct stream_iter it;
    struct reply_mark mark = reply_open(r);
    size_t n = 0;
    stream_iter_init(&it, s, start, end, is_reverse);
    while ((!count || n < count) && stream_iter_next(&it)) {
        stream_reply_entry(r, &it.entry);
        n++;
    }
    stream_iter_free(&it);
    reply_close_array(r, mark, n);
}
