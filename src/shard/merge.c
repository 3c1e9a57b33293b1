// SPDX-License-Identifier: BSD-3-Clause
#include "shard/merge.h"

#include "base/mem.h"
#include "engine/block.h"
#include "engine/portion.h"
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

// A command that ran in parts is counted once, here, with the time of all of them.
static void merge_split(struct ctx *ctx, const struct request *r, struct reader *readers)
{
    struct portion few[8];
    struct portion_list list = {few, r->piece_count, r->key_owner, r->key_count};
    uint64_t ticks = 0;
    if (list.count > ARRAY_LEN(few)) list.items = mem_alloc(list.count * sizeof list.items[0]);
    for (uint32_t i = 0; i < list.count; i++) {
        size_t n = r->pieces[i].reply_bytes;
        list.items[i] = portion_of(reader_copy(&readers[r->pieces_part[i]], n), n);
        ticks += r->pieces[i].ticks;
    }
    ctx->cmd = r->whole.cmd;
    ctx->argv = r->whole.argv;
    ctx->argc = r->whole.argc;
    ctx->reply->error_count = 0;
    uint32_t flags = ctx->flags;
    ctx->flags |= r->whole.ctx_flags & CTX_IN_EXEC;
    if (ctx->cmd->span == SPAN_GATHER)
        gather_run(ctx, r);
    else
        portion_merge(ctx, &list);
    ctx->flags = flags;
    engine_count(ctx, ctx->space->shard, ticks);
    for (uint32_t i = 0; i < list.count; i++) mem_free(list.items[i].text);
    if (list.items != few) mem_free(list.items);
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

// Nobody reads a transaction's reply if nobody reads those of its commands.
static bool is_exec_silent(const struct operation *op)
{
    return op->request_count && op->requests[0].is_silent;
}

// EXEC itself: the head of the transaction's reply. False if it was refused.
static bool merge_exec(struct operation *op, struct ctx *ctx)
{
    bool is_silent = is_exec_silent(op);
    uint64_t ticks = 0;
    for (uint32_t i = 0; i < op->request_count; i++) ticks += op->requests[i].whole.ticks;
    ctx->cmd = op->exec;
    ctx->reply->error_count = 0;
    if (op->is_refused && !is_silent)
        reply_null_array(ctx->reply);
    else if (!is_silent)
        reply_array(ctx->reply, op->request_count);
    engine_count(ctx, ctx->space->shard, ticks);
    return !op->is_refused;
}

// The error with which a part was refused (refuse.h), or NULL: none was.
static const char *first_refusal(const struct operation *op)
{
    const char *error = NULL;
    for (uint32_t i = 0; i < op->part_count && !error; i++) error = op->parts[i].refused;
    return error;
}

// Was the request, or a piece of it, in such a part?
static bool is_refused(const struct operation *op, const struct request *r)
{
    bool is_any = r->piece_count && !r->pieces && op->parts[r->part].refused;
    for (uint32_t i = 0; r->pieces && i < r->piece_count; i++)
        is_any |= op->parts[r->pieces_part[i]].refused != NULL;
    return is_any;
}

// Those that did run.
static void skip_pieces(const struct operation *op, const struct request *r, struct reader *readers)
{
    for (uint32_t i = 0; r->pieces && i < r->piece_count; i++) {
        uint32_t part = r->pieces_part[i];
        if (!op->parts[part].refused) reader_take(&readers[part], r->pieces[i].reply_bytes, NULL);
    }
}

// `out` is NULL if nobody reads the reply.
static void merge_refused(struct reply *out, struct ctx *ctx, const struct command *c,
                          const char *error)
{
    if (out && c->transaction == TRANSACTION_EXEC)
        reply_errorf(out, ERR_EXEC_ABORTED "%s", error);
    else if (out)
        reply_error(out, error);
    engine_count_refused(ctx->engine, ctx->space->shard, c, error);
}

void merge_replies(struct operation *op, struct ctx *ctx)
{
    const char *error = first_refusal(op);
    if (UNLIKELY(error && op->is_exec)) { // all of it
        merge_refused(is_exec_silent(op) ? NULL : ctx->reply, ctx, op->exec, error);
        return;
    }
    if (op->is_exec && !merge_exec(op, ctx)) return;
    if (op->waiter) { // it waited: whoever served it has the reply
        engine_count_served(ctx->engine, ctx->space->shard, op->waiter->cmd, &op->waiter->reply);
        if (!op->requests[0].is_silent) reply_splice(ctx->reply, &op->waiter->reply);
        return;
    }
    struct reader readers[SETTINGS_THREADS_MAX], local = reader_of(&op->local);
    if (LIKELY(!error) && is_plain(op)) {
        for (uint32_t i = 0; i < op->request_count; i++) note_slow(ctx, &op->requests[i].whole);
        reply_splice(ctx->reply, &op->parts[0].reply);
        return;
    }
    for (uint32_t i = 0; i < op->part_count; i++) readers[i] = reader_of(&op->parts[i].reply);
    for (uint32_t i = 0; i < op->request_count; i++) {
        const struct request *r = &op->requests[i];
        struct reply *out = r->is_silent ? NULL : ctx->reply;
        if (UNLIKELY(error && is_refused(op, r))) {
            skip_pieces(op, r, readers);
            merge_refused(out, ctx, r->whole.cmd, error);
            continue;
        }
        if (!r->pieces) note_slow(ctx, &r->whole);
        if (r->piece_count == 0)
            reader_take(&local, r->local_bytes, out);
        else if (r->pieces)
            merge_split_to(out, ctx, r, readers);
        else
            reader_take(&readers[r->part], r->whole.reply_bytes, out);
    }
}
