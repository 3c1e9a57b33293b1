// SPDX-License-Identifier: BSD-3-Clause
#include "shard/merge.h"

#include <stdlib.h>

#include "base/mem.h"
#include "engine/settings.h"
#include "shard/gather.h"

// --- reading a part's replies one after the other ------------------------------------------------

struct reader {
    struct reply_chunk *chunk;
    size_t offset;
};

static struct reader reader_of(struct reply *r)
{
    reply_sync(r);
    return (struct reader){r->head, 0};
}

// Moves the next `n` bytes to `out` (NULL: nowhere). Big values that are linked stay linked.
static void reader_take(struct reader *in, size_t n, struct reply *out)
{
    while (n) {
        struct reply_chunk *c = in->chunk;
        size_t take = MIN(n, c->len - in->offset);
        if (out && c->kind == CHUNK_BLOB && take == c->len)
            reply_link(out, c->blob);
        else if (out)
            reply_raw(out, c->data + in->offset, take);
        n -= take;
        in->offset += take;
        if (in->offset == c->len) *in = (struct reader){c->next, 0};
    }
}

// The next `n` bytes in one piece of memory, owned by the caller.
static char *reader_copy(struct reader *in, size_t n)
{
    char *out = mem_alloc(n + 1), *p = out;
    while (n) {
        struct reply_chunk *c = in->chunk;
        size_t take = MIN(n, c->len - in->offset);
        memcpy(p, c->data + in->offset, take);
        p += take;
        n -= take;
        in->offset += take;
        if (in->offset == c->len) *in = (struct reader){c->next, 0};
    }
    *p = '\0';
    return out;
}

// --- split commands ------------------------------------------------------------------------------

// One shard's portion of the reply.
struct portion {
    char *text; // owned
    const char *at, *end;
};

static const struct portion *first_error(const struct portion *portions, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (portions[i].text[0] == '-') return &portions[i];
    return NULL;
}

// The number in a header line such as "*12\r\n".
static int64_t header_number(const char *header)
{
    return strtoll(header + 1, NULL, 10);
}

static const char *behind_line(const char *p, const char *end)
{
    const char *lf = memchr(p, '\n', (size_t)(end - p));
    return lf ? lf + 1 : end;
}

static void merge_sum(struct ctx *ctx, const struct request *r, const struct portion *portions)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < r->piece_count; i++) sum += header_number(portions[i].text);
    if (r->whole.cmd->finish)
        r->whole.cmd->finish(ctx, sum);
    else
        reply_int(ctx->reply, sum);
}

static void merge_positions(struct reply *out, const struct request *r, struct portion *portions)
{
    for (uint32_t i = 0; i < r->piece_count; i++)
        portions[i].at = behind_line(portions[i].at, portions[i].end);
    reply_array(out, r->key_count);
    for (uint32_t i = 0; i < r->key_count; i++) {
        struct portion *p = &portions[r->key_owner[i]];
        const char *next = reply_skip(p->at, p->end);
        ASSERT(next);
        reply_raw(out, p->at, (size_t)(next - p->at));
        p->at = next;
    }
}

static void merge_arrays(struct reply *out, const struct request *r, const struct portion *portions)
{
    int64_t total = 0;
    for (uint32_t i = 0; i < r->piece_count; i++) total += header_number(portions[i].text);
    reply_array(out, (size_t)total);
    for (uint32_t i = 0; i < r->piece_count; i++) {
        const char *body = behind_line(portions[i].at, portions[i].end);
        reply_raw(out, body, (size_t)(portions[i].end - body));
    }
}

// Bulk ("$5\r\n…\r\n") or verbatim strings ("=9\r\ntxt:…\r\n"): the bodies joined, in the form of
// the first.
static void merge_texts(struct reply *out, const struct request *r, const struct portion *portions)
{
    struct buf text = {0};
    bool is_verbatim = portions[0].text[0] == '=';
    for (uint32_t i = 0; i < r->piece_count; i++) {
        const char *body = behind_line(portions[i].at, portions[i].end);
        if (is_verbatim) body += 4;
        buf_append(&text, body, (size_t)(portions[i].end - body) - 2);
    }
    if (is_verbatim)
        reply_verbatim(out, "txt", buf_slice(&text));
    else
        reply_bulk(out, buf_slice(&text));
    buf_free(&text);
}

static void merge_portions(struct ctx *ctx, const struct request *r, struct portion *portions)
{
    if (r->whole.cmd->span == SPAN_GATHER) {
        gather_run(ctx, r);
        return;
    }
    const struct portion *error = first_error(portions, r->piece_count);
    if (error) {
        error->text[error->end - error->text - 2] = '\0';
        reply_error(ctx->reply, error->text + 1);
        return;
    }
    switch (r->whole.cmd->span) {
    case SPAN_SUM: merge_sum(ctx, r, portions); break;
    case SPAN_POSITION: merge_positions(ctx->reply, r, portions); break;
    case SPAN_CONCAT: merge_arrays(ctx->reply, r, portions); break;
    case SPAN_TEXT: merge_texts(ctx->reply, r, portions); break;
    default: reply_raw(ctx->reply, portions[0].text, (size_t)(portions[0].end - portions[0].text));
    }
}

// A command that ran in parts is counted once, here, with the time of all of them.
static void merge_split(struct ctx *ctx, const struct request *r, struct reader *readers)
{
    struct portion few[8], *portions = few;
    uint64_t ticks = 0;
    if (r->piece_count > ARRAY_LEN(few)) portions = mem_alloc(r->piece_count * sizeof *portions);
    for (uint32_t i = 0; i < r->piece_count; i++) {
        size_t n = r->pieces[i].reply_bytes;
        char *text = reader_copy(&readers[r->pieces_part[i]], n);
        portions[i] = (struct portion){text, text, text + n};
        ticks += r->pieces[i].ticks;
    }
    ctx->cmd = r->whole.cmd;
    ctx->argv = r->whole.argv;
    ctx->argc = r->whole.argc;
    ctx->reply->error_count = 0;
    merge_portions(ctx, r, portions);
    engine_count(ctx, ctx->space->shard, ticks);
    for (uint32_t i = 0; i < r->piece_count; i++) mem_free(portions[i].text);
    if (portions != few) mem_free(portions);
}

// `out` is NULL if nobody reads the reply.
static void merge_split_to(struct reply *out, struct ctx *ctx, const struct request *r,
                           struct reader *readers)
{
    struct reply unread, *reply = ctx->reply;
    reply_init(&unread, reply->resp);
    if (!out) ctx->reply = &unread;
    merge_split(ctx, r, readers);
    ctx->reply = reply;
    reply_free(&unread);
}

// --- operations ----------------------------------------------------------------------------------

static void note_slow(struct ctx *ctx, const struct piece *p)
{
    if (!p->cmd) return;
    ctx->cmd = p->cmd;
    ctx->argv = p->argv;
    ctx->argc = p->argc;
    engine_note_slow(ctx, ctx->space->shard, p->ticks);
}

// All requests ran whole on one shard: its replies are the connection's as they stand.
static bool is_plain(const struct operation *op)
{
    if (op->part_count != 1 || op->kind == OPERATION_MEETING) return false;
    for (uint32_t i = 0; i < op->request_count; i++) {
        const struct request *r = &op->requests[i];
        if (r->piece_count != 1 || r->pieces || r->is_silent) return false;
    }
    return true;
}

void merge_replies(struct operation *op, struct ctx *ctx)
{
    struct reader readers[SETTINGS_THREADS_MAX], local = reader_of(&op->local);
    if (is_plain(op)) {
        for (uint32_t i = 0; i < op->request_count; i++) note_slow(ctx, &op->requests[i].whole);
        reply_splice(ctx->reply, &op->parts[0].reply);
        return;
    }
    for (uint32_t i = 0; i < op->part_count; i++) readers[i] = reader_of(&op->parts[i].reply);
    for (uint32_t i = 0; i < op->request_count; i++) {
        const struct request *r = &op->requests[i];
        struct reply *out = r->is_silent ? NULL : ctx->reply;
        if (!r->pieces) note_slow(ctx, &r->whole);
        if (r->piece_count == 0)
            reader_take(&local, r->local_bytes, out);
        else if (r->pieces)
            merge_split_to(out, ctx, r, readers);
        else
            reader_take(&readers[r->part], r->whole.reply_bytes, out);
    }
}
