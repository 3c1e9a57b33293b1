// SPDX-License-Identifier: BSD-3-Clause
#include "engine/portion.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"

static const struct portion *first_error(const struct portion_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (list->items[i].text[0] == '-') return &list->items[i];
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

static void merge_sum(struct ctx *ctx, const struct portion_list *list)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < list->count; i++) sum += header_number(list->items[i].text);
    if (ctx->cmd->finish)
        ctx->cmd->finish(ctx, sum);
    else
        reply_int(ctx->reply, sum);
}

static void merge_positions(struct reply *out, const struct portion_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        list->items[i].at = behind_line(list->items[i].at, list->items[i].end);
    reply_array(out, list->key_count);
    for (uint32_t i = 0; i < list->key_count; i++) {
        struct portion *p = &list->items[list->key_owner[i]];
        const char *next = reply_skip(p->at, p->end);
        ASSERT(next);
        reply_raw(out, p->at, (size_t)(next - p->at));
        p->at = next;
    }
}

static void merge_arrays(struct reply *out, const struct portion_list *list)
{
    int64_t total = 0;
    for (uint32_t i = 0; i < list->count; i++) total += header_number(list->items[i].text);
    reply_array(out, (size_t)total);
    for (uint32_t i = 0; i < list->count; i++) {
        const struct portion *p = &list->items[i];
        const char *body = behind_line(p->at, p->end);
        reply_raw(out, body, (size_t)(p->end - body));
    }
}

// Bulk ("$5\r\n…\r\n") or verbatim strings ("=9\r\ntxt:…\r\n"): the bodies joined, in the form of
// the first.
static void merge_texts(struct reply *out, const struct portion_list *list)
{
    struct buf text = {0};
    bool is_verbatim = list->items[0].text[0] == '=';
    for (uint32_t i = 0; i < list->count; i++) {
        const struct portion *p = &list->items[i];
        const char *body = behind_line(p->at, p->end);
        if (is_verbatim) body += 4;
        buf_append(&text, body, (size_t)(p->end - body) - 2);
    }
    if (is_verbatim)
        reply_verbatim(out, "txt", buf_slice(&text));
    else
        reply_bulk(out, buf_slice(&text));
    buf_free(&text);
}

void portion_merge(struct ctx *ctx, struct portion_list *list)
{
    if (ctx->cmd->conclude) {
        ctx->cmd->conclude(ctx);
        return;
    }
    const struct portion *error = first_error(list);
    if (error) {
        error->text[error->end - error->text - 2] = '\0';
        reply_error(ctx->reply, error->text + 1);
        return;
    }
    const struct portion *first = &list->items[0];
    switch (ctx->cmd->span) {
    case SPAN_SUM: merge_sum(ctx, list); break;
    case SPAN_POSITION: merge_positions(ctx->reply, list); break;
    case SPAN_CONCAT: merge_arrays(ctx->reply, list); break;
    case SPAN_TEXT: merge_texts(ctx->reply, list); break;
    default: reply_raw(ctx->reply, first->text, (size_t)(first->end - first->text));
    }
}
