// SPDX-License-Identifier: BSD-3-Clause
//
// What there is to take is read where it lies and goes straight into the reply: an element is
// copied only when it moves within one list.
#include "commands/list_pop.h"

#include "base/assert.h"
#include "base/mem.h"
#include "engine/effect.h"
#include "engine/engine.h"
#include "engine/settings.h"
#include "types/list.h"

bool list_pop_side(struct ctx *ctx, int arg, bool *at_head)
{
    *at_head = ctx_arg_is(ctx, arg, "LEFT");
    if (*at_head || ctx_arg_is(ctx, arg, "RIGHT")) return true;
    reply_error(ctx->reply, ERR_SYNTAX);
    return false;
}

bool list_pop_options(struct ctx *ctx, int arg, struct list_pop_options *o)
{
    int64_t keys, count = 1;
    if (!ctx_arg_range(ctx, arg, 1, INT64_MAX, &keys, "ERR numkeys should be greater than 0"))
        return false;
    if (keys > ctx->argc - arg - 2) {
        reply_error(ctx->reply, ERR_SYNTAX);
        return false;
    }
    o->first_key = arg + 1;
    o->keys = (int)keys;
    int side = o->first_key + o->keys;
    if (!list_pop_side(ctx, side, &o->at_head)) return false;
    bool has_count = ctx->argc > side + 2 && ctx_arg_is(ctx, side + 1, "COUNT");
    if (has_count &&
        !ctx_arg_range(ctx, side + 2, 1, INT64_MAX, &count, "ERR count should be greater than 0"))
        return false;
    o->count = (uint64_t)count;
    if (ctx->argc == side + (has_count ? 3 : 1)) return true;
    reply_error(ctx->reply, ERR_SYNTAX);
    return false;
}

static struct slice side_name(bool is_head)
{
    return is_head ? SLICE("LEFT") : SLICE("RIGHT");
}

static const char *pop_event(bool at_head)
{
    return at_head ? "lpop" : "rpop";
}

void list_pop_reply(struct ctx *ctx, struct slice key, struct entry *e, bool at_head,
                    uint64_t count, bool is_bare)
{
    const struct value_limits *limits = &ctx->settings->limits;
    struct list_iter it;
    struct item i;
    uint64_t len = list_len(e->value);
    count = MIN(count, len);
    if (!is_bare) reply_array(ctx->reply, count);
    list_iter_init(&it, e->value, at_head ? 0 : -1, !at_head);
    for (uint64_t n = 0; n < count && list_iter_next(&it, &i); n++)
        list_pop_reply_item(ctx->reply, &i);
    if (count == 1)
        list_pop(&e->value, at_head, limits);
    else if (count < len) // a list that is all taken is deleted as it is
        list_remove_range(&e->value, at_head ? 0 : len - count, count, limits);
    ctx_commit_removal(ctx, key, e, EVENT_LIST, pop_event(at_head), count == len);
}

void list_pop_with_key(struct ctx *ctx, struct slice key, struct entry *e, bool at_head,
                       uint64_t count, bool is_bare)
{
    effect_say_number(ctx, at_head ? "LPOP" : "RPOP", key, (int64_t)MIN(count, list_len(e->value)));
    reply_array(ctx->reply, 2);
    reply_bulk(ctx->reply, key);
    list_pop_reply(ctx, key, e, at_head, count, is_bare);
}

bool list_pop_first(struct ctx *ctx, int first, int n, bool at_head, uint64_t count, bool is_bare)
{
    for (int i = first; i < first + n; i++) {
        struct slice key = ctx->argv[i];
        struct entry *e;
        if (!ctx_write_as(ctx, key, TYPE_LIST, &e)) return true;
        if (!e) continue;
        list_pop_with_key(ctx, key, e, at_head, count, is_bare);
        return true;
    }
    return false;
}

// What was moved where: in a word where both lists have one log, else to each log its part. Where
// both are one list, the two parts would lose its time to live if it has one element.
static void say_moved(struct ctx *ctx, struct slice from, bool from_head, struct slice to,
                      bool to_head, struct slice element)
{
    if (LIKELY(!effect_is_wanted(ctx))) return;
    if (ctx->space_count == 1 || slice_eq(from, to)) {
        struct slice argv[] = {SLICE("LMOVE"), from, to, side_name(from_head), side_name(to_head)};
        effect_say(ctx, from, ARRAY_LEN(argv), argv);
        return;
    }
    struct slice pushed[] = {slice_of(to_head ? "LPUSH" : "RPUSH"), to, element};
    effect_say_key(ctx, from_head ? "LPOP" : "RPOP", from);
    effect_say(ctx, to, ARRAY_LEN(pushed), pushed);
}

// The element is read where it is, and pushed from there unless that is the list that changes.
bool list_pop_push(struct ctx *ctx, struct slice from, bool from_head, struct slice to,
                   bool to_head)
{
    const struct value_limits *limits = &ctx->settings->limits;
    char scratch[NUM_I64_TEXT], *copy = NULL;
    struct list_iter it;
    struct entry *e, *target;
    struct item item = {0};
    if (!ctx_write_as(ctx, from, TYPE_LIST, &e)) return true;
    if (!e) return false;
    if (!ctx_write_as(ctx, to, TYPE_LIST, &target)) return true;
    bool is_one_list = e == target;
    if (!target) {
        target = ctx_set_value(ctx, to, NULL, TYPE_LIST, list_new(), EXPIRE_NONE);
        e = ctx_peek(ctx, from); // a new key may have moved it
    }

    list_get(&it, e->value, from_head ? 0 : -1, &item);
    struct slice element = item_slice(&item, scratch);
    reply_bulk(ctx->reply, element);
    say_moved(ctx, from, from_head, to, to_head, element);
    if (is_one_list) {
        element.ptr = copy = mem_strndup(element.ptr, element.len);
        list_pop(&e->value, from_head, limits);
    }
    list_push(&target->value, to_head, element, limits);
    if (!is_one_list) list_pop(&e->value, from_head, limits);
    mem_free(copy);
    ctx_commit(ctx, to, EVENT_LIST, to_head ? "lpush" : "rpush");
    ctx_commit_removal(ctx, from, e, EVENT_LIST, pop_event(from_head), list_len(e->value) == 0);
    return true;
}
