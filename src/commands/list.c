// SPDX-License-Identifier: BSD-3-Clause
//
// list: commands on lists. What pops is in list_pop.c, since the commands that wait for an element
// end in the same way.
//
// Order of checks, as clients see it in errors: numbers among the arguments, then the key, then its
// type; but LINDEX and LSET look at the key before they look at the index.
#include "types/list.h"
#include "base/assert.h"
#include "commands/families.h"
#include "commands/list_pop.h"
#include "engine/engine.h"
#include "engine/settings.h"

static inline struct slice key_of(const struct ctx *ctx)
{
    return ctx->argv[1];
}

static inline const struct value_limits *limits_of(const struct ctx *ctx)
{
    return &ctx->settings->limits;
}

// --- pushing -------------------------------------------------------------------------------------

static void push(struct ctx *ctx, bool at_head, bool must_exist)
{
    struct slice key = key_of(ctx);
    struct entry *e;
    if (!ctx_write_as(ctx, key, TYPE_LIST, &e)) return;
    if (UNLIKELY(!e)) {
        if (must_exist) {
            reply_int(ctx->reply, 0);
            return;
        }
        e = ctx_set_value(ctx, key, NULL, TYPE_LIST, list_new(), EXPIRE_NONE);
    }
    list_push_many(&e->value, at_head, ctx->argv + 2, (size_t)ctx->argc - 2, limits_of(ctx));
    reply_int(ctx->reply, (int64_t)list_len(e->value));
    ctx_commit(ctx, key, EVENT_LIST, at_head ? "lpush" : "rpush");
}

static void lpush(struct ctx *ctx)
{
    push(ctx, true, false);
}

static void rpush(struct ctx *ctx)
{
    push(ctx, false, false);
}

static void lpushx(struct ctx *ctx)
{
    push(ctx, true, true);
}

static void rpushx(struct ctx *ctx)
{
    push(ctx, false, true);
}

static void linsert(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct entry *e;
    bool is_after = ctx_arg_is(ctx, 2, "AFTER");
    if (!is_after && !ctx_arg_is(ctx, 2, "BEFORE")) {
        reply_error(ctx->reply, ERR_SYNTAX);
        return;
    }
    if (!ctx_write_as(ctx, key, TYPE_LIST, &e)) return;
    if (!e) {
        reply_int(ctx->reply, 0);
    } else if (!list_insert(&e->value, ctx->argv[3], is_after, ctx->argv[4], limits_of(ctx))) {
        reply_int(ctx->reply, -1);
    } else {
        reply_int(ctx->reply, (int64_t)list_len(e->value));
        ctx_commit(ctx, key, EVENT_LIST, "linsert");
    }
}

static void lset(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct entry *e;
    int64_t index;
    if (!ctx_write_as(ctx, key, TYPE_LIST, &e)) return;
    if (!e) {
        reply_error(ctx->reply, ERR_NO_SUCH_KEY);
        return;
    }
    if (!ctx_arg_i64(ctx, 2, &index, NULL)) return;
    if (!list_set(&e->value, index, ctx->argv[3], limits_of(ctx))) {
        reply_error(ctx->reply, "ERR index out of range");
        return;
    }
    ctx_commit(ctx, key, EVENT_LIST, "lset");
    reply_ok(ctx->reply);
}

// --- popping and moving --------------------------------------------------------------------------

static void pop(struct ctx *ctx, bool at_head)
{
    struct slice key = key_of(ctx);
    struct entry *e;
    int64_t count = 1;
    bool has_count = ctx->argc > 2;
    if (ctx->argc > 3) {
        ctx_wrong_arity(ctx);
        return;
    }
    if (has_count && !ctx_arg_range(ctx, 2, 0, INT64_MAX, &count, ERR_POSITIVE)) return;
    if (!ctx_write_as(ctx, key, TYPE_LIST, &e)) return;
    if (!e && has_count)
        reply_null_array(ctx->reply);
    else if (!e)
        reply_null(ctx->reply);
    else if (count == 0)
        reply_array(ctx->reply, 0);
    else
        list_pop_reply(ctx, key, e, at_head, (uint64_t)count, !has_count);
}

static void lpop(struct ctx *ctx)
{
    pop(ctx, true);
}

static void rpop(struct ctx *ctx)
{
    pop(ctx, false);
}

static void lmpop(struct ctx *ctx)
{
    struct list_pop_options o;
    if (!list_pop_options(ctx, 1, &o)) return;
    if (!list_pop_first(ctx, o.first_key, o.keys, o.at_head, o.count, false))
        reply_null_array(ctx->reply);
}

static void move(struct ctx *ctx, bool from_head, bool to_head)
{
    if (!list_pop_push(ctx, ctx->argv[1], from_head, ctx->argv[2], to_head)) reply_null(ctx->reply);
}

static void lmove(struct ctx *ctx)
{
    bool from_head, to_head;
    if (list_pop_side(ctx, 3, &from_head) && list_pop_side(ctx, 4, &to_head))
        move(ctx, from_head, to_head);
}

static void rpoplpush(struct ctx *ctx)
{
    move(ctx, false, true);
}

// --- removing ------------------------------------------------------------------------------------

static void lrem(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct entry *e;
    int64_t count;
    if (!ctx_arg_i64(ctx, 2, &count, NULL)) return;
    if (!ctx_write_as(ctx, key, TYPE_LIST, &e)) return;
    uint64_t removed = e ? list_remove(&e->value, ctx->argv[3], count, limits_of(ctx)) : 0;
    if (removed) ctx_commit_removal(ctx, key, e, EVENT_LIST, "lrem", list_len(e->value) == 0);
    reply_int(ctx->reply, (int64_t)removed);
}

// Cuts a range of indexes, both inclusive and negative ones from the end, to what the list has.
// False: nothing of it.
static bool cut_range(int64_t len, int64_t *start, int64_t *stop)
{
    if (*start < 0) *start = MAX(*start + len, 0);
    if (*stop < 0) *stop += len;
    *stop = MIN(*stop, len - 1);
    return *start <= *stop;
}

static void ltrim(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct entry *e;
    int64_t start, stop;
    if (!ctx_arg_i64(ctx, 2, &start, NULL) || !ctx_arg_i64(ctx, 3, &stop, NULL)) return;
    if (!ctx_write_as(ctx, key, TYPE_LIST, &e)) return;
    if (e) {
        int64_t len = (int64_t)list_len(e->value);
        bool is_empty = !cut_range(len, &start, &stop);
        if (!is_empty) { // else it is deleted as it is
            list_remove_range(&e->value, (uint64_t)stop + 1, (uint64_t)(len - 1 - stop),
                              limits_of(ctx));
            list_remove_range(&e->value, 0, (uint64_t)start, limits_of(ctx));
        }
        ctx_commit_removal(ctx, key, e, EVENT_LIST, "ltrim", is_empty);
    }
    reply_ok(ctx->reply);
}

// --- reading -------------------------------------------------------------------------------------

static void llen(struct ctx *ctx)
{
    struct entry *e;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_LIST, &e)) return;
    reply_int(ctx->reply, e ? (int64_t)list_len(e->value) : 0);
}

static void lrange(struct ctx *ctx)
{
    struct list_iter it;
    struct item i;
    struct entry *e;
    int64_t start, stop;
    if (!ctx_arg_i64(ctx, 2, &start, NULL) || !ctx_arg_i64(ctx, 3, &stop, NULL)) return;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_LIST, &e)) return;
    if (!e || !cut_range((int64_t)list_len(e->value), &start, &stop)) {
        reply_array(ctx->reply, 0);
        return;
    }
    size_t n = (size_t)(stop - start) + 1;
    reply_array(ctx->reply, n);
    list_iter_init(&it, e->value, start, false);
    while (n-- > 0 && list_iter_next(&it, &i)) list_pop_reply_item(ctx->reply, &i);
}

static void lindex(struct ctx *ctx)
{
    struct list_iter scratch;
    struct item i;
    struct entry *e;
    int64_t index;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_LIST, &e)) return;
    if (!e) {
        reply_null(ctx->reply);
        return;
    }
    if (!ctx_arg_i64(ctx, 2, &index, NULL)) return;
    if (list_get(&scratch, e->value, index, &i))
        list_pop_reply_item(ctx->reply, &i);
    else
        reply_null(ctx->reply);
}

struct lpos_options {
    int64_t rank;   // 1: from the first match on; -1: from the last
    int64_t count;  // -1: one, not in an array; 0: all
    int64_t maxlen; // 0: all
};

static bool parse_lpos(struct ctx *ctx, struct lpos_options *o)
{
    *o = (struct lpos_options){.rank = 1, .count = -1};
    for (int i = 3; i < ctx->argc; i += 2) {
        if (i + 1 < ctx->argc && ctx_arg_is(ctx, i, "RANK")) {
            if (!ctx_arg_i64(ctx, i + 1, &o->rank, NULL)) return false;
            if (o->rank == 0) {
                reply_error(ctx->reply,
                            "ERR RANK can't be zero: use 1 to start from the first match, 2 from "
                            "the second ... or use negative to start from the end of the list");
                return false;
            }
        } else if (i + 1 < ctx->argc && ctx_arg_is(ctx, i, "COUNT")) {
            if (!ctx_arg_range(ctx, i + 1, 0, INT64_MAX, &o->count, "ERR COUNT can't be negative"))
                return false;
        } else if (i + 1 < ctx->argc && ctx_arg_is(ctx, i, "MAXLEN")) {
            if (!ctx_arg_range(ctx, i + 1, 0, INT64_MAX, &o->maxlen,
                               "ERR MAXLEN can't be negative"))
                return false;
        } else {
            reply_error(ctx->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

// Matches that go before the first one wanted.
static uint64_t skipped_matches(int64_t rank)
{
    if (rank == INT64_MIN) return 0; // as Redis, whose -rank overflows
    return (uint64_t)(rank < 0 ? -rank : rank) - 1;
}

static void lpos(struct ctx *ctx)
{
    struct lpos_options o;
    struct list_search search;
    struct entry *e;
    if (!parse_lpos(ctx, &o)) return;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_LIST, &e)) return;
    bool is_array = o.count >= 0;
    if (!e) {
        if (is_array)
            reply_array(ctx->reply, 0);
        else
            reply_null(ctx->reply);
        return;
    }
    uint64_t skip = skipped_matches(o.rank), found = 0;
    uint64_t wanted = !is_array ? 1 : o.count ? (uint64_t)o.count : UINT64_MAX;
    struct reply_mark mark = reply_open(ctx->reply);
    list_search_init(&search, e->value, ctx->argv[2], o.rank < 0,
                     o.maxlen ? (uint64_t)o.maxlen : UINT64_MAX);
    while (found < wanted && list_search_next(&search)) {
        if (skip > 0) {
            skip--;
            continue;
        }
        reply_int(ctx->reply, search.index);
        found++;
    }
    if (is_array)
        reply_close_array(ctx->reply, mark, found);
    else if (!found)
        reply_null(ctx->reply);
}

// --- declarations --------------------------------------------------------------------------------

#define PUSH_COMPLEXITY "O(1) for each element, O(N) for N of them"
#define POP_COMPLEXITY  "O(N) with N the number of elements returned"
#define INDEX_COMPLEXITY                                                                           \
    "O(N) with N the number of elements between the index and the nearer end, of which tens of "   \
    "thousands are skipped at a time"

// clang-format off
const struct command commands_list[] = {
    {.name = "lpush", .handler = lpush, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_LIST, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_INSERT)}, .group = "list",
     .since = "1.0.0", .complexity = PUSH_COMPLEXITY,
     .summary = "Puts elements at the head of a list. Creates the key if it is missing.",
     .args = "key element...", .history = "2.4.0: Accepts several elements."},

    {.name = "rpush", .handler = rpush, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_LIST, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_INSERT)}, .group = "list",
     .since = "1.0.0", .complexity = PUSH_COMPLEXITY,
     .summary = "Puts elements at the tail of a list. Creates the key if it is missing.",
     .args = "key element...", .history = "2.4.0: Accepts several elements."},

    {.name = "lpushx", .handler = lpushx, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_LIST, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_INSERT)}, .group = "list",
     .since = "2.2.0", .complexity = PUSH_COMPLEXITY,
     .summary = "Puts elements at the head of a list that exists.",
     .args = "key element...", .history = "4.0.0: Accepts several elements."},

    {.name = "rpushx", .handler = rpushx, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_LIST, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_INSERT)}, .group = "list",
     .since = "2.2.0", .complexity = PUSH_COMPLEXITY,
     .summary = "Puts elements at the tail of a list that exists.",
     .args = "key element...", .history = "4.0.0: Accepts several elements."},

    {.name = "lpop", .handler = lpop, .arity = -2, .flags = CMD_WRITE | CMD_FAST, .acl = ACL_LIST,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_DELETE)}, .group = "list", .since = "1.0.0",
     .complexity = POP_COMPLEXITY,
     .summary = "Takes elements from the head of a list and returns them.",
     .args = "key [count]", .history = "6.2.0: Added the `count` argument."},

    {.name = "rpop", .handler = rpop, .arity = -2, .flags = CMD_WRITE | CMD_FAST, .acl = ACL_LIST,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_DELETE)}, .group = "list", .since = "1.0.0",
     .complexity = POP_COMPLEXITY,
     .summary = "Takes elements from the tail of a list and returns them.",
     .args = "key [count]", .history = "6.2.0: Added the `count` argument."},

    {.name = "lmpop", .handler = lmpop, .arity = -4, .flags = CMD_WRITE, .acl = ACL_LIST,
     .keys = {{.flags = KEY_RW | KEY_ACCESS | KEY_DELETE, .begin = 1, .is_keynum = true,
               .keynum = 0, .first = 1, .step = 1}},
     .group = "list", .since = "7.0.0",
     .complexity = "O(N+M) with N the number of keys and M the number of elements returned",
     .summary = "Takes elements from the first of several lists that exists and returns them.",
     .args = "numkeys key... <LEFT | RIGHT> [COUNT count]"},

    {.name = "lmove", .handler = lmove, .arity = 5, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_LIST,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEYS(2, 2, 1, KEY_RW | KEY_INSERT)},
     .group = "list", .since = "6.2.0", .complexity = "O(1)",
     .summary = "Moves an element from an end of a list to an end of another and returns it.",
     .args = "source destination <LEFT | RIGHT> <LEFT | RIGHT>"},

    {.name = "rpoplpush", .handler = rpoplpush, .arity = 3, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_LIST,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEYS(2, 2, 1, KEY_RW | KEY_INSERT)},
     .group = "list", .since = "1.2.0", .complexity = "O(1)",
     .summary = "Moves the last element of a list to the head of another and returns it.",
     .args = "source destination",
     .deprecated = "6.2.0: `LMOVE` with the `RIGHT` and `LEFT` arguments"},

    {.name = "llen", .handler = llen, .arity = 2, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_LIST, .keys = {KEYS(1, 1, 1, KEY_RO)}, .group = "list", .since = "1.0.0",
     .complexity = "O(1)", .summary = "Returns the length of a list.", .args = "key"},

    {.name = "lrange", .handler = lrange, .arity = 4, .flags = CMD_READONLY, .acl = ACL_LIST,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "list", .since = "1.0.0",
     .complexity = "O(S+N) with S the distance of the start from the nearer end and N the number "
                   "of elements returned",
     .summary = "Returns a range of the elements of a list.",
     .args = "key start:integer stop:integer"},

    {.name = "lindex", .handler = lindex, .arity = 3, .flags = CMD_READONLY, .acl = ACL_LIST,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "list", .since = "1.0.0",
     .complexity = INDEX_COMPLEXITY, .summary = "Returns the element of a list at an index.",
     .args = "key index"},

    {.name = "lset", .handler = lset, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_LIST, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "list",
     .since = "1.0.0", .complexity = INDEX_COMPLEXITY,
     .summary = "Replaces the element of a list at an index.", .args = "key index element"},

    {.name = "linsert", .handler = linsert, .arity = 5, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_LIST, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_INSERT)}, .group = "list",
     .since = "2.2.0", .complexity = "O(N) with N the number of elements before the pivot",
     .summary = "Puts an element before or after another one in a list.",
     .args = "key <BEFORE | AFTER> pivot element"},

    {.name = "lrem", .handler = lrem, .arity = 4, .flags = CMD_WRITE, .acl = ACL_LIST,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_DELETE)}, .group = "list", .since = "1.0.0",
     .complexity = "O(N+M) with N the length of the list and M the number of elements removed",
     .summary = "Removes elements that equal a given one from a list.",
     .args = "key count element"},

    {.name = "ltrim", .handler = ltrim, .arity = 4, .flags = CMD_WRITE, .acl = ACL_LIST,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_DELETE)}, .group = "list", .since = "1.0.0",
     .complexity = "O(N) with N the number of elements removed",
     .summary = "Removes all but a range of the elements of a list.",
     .args = "key start:integer stop:integer"},

    {.name = "lpos", .handler = lpos, .arity = -3, .flags = CMD_READONLY, .acl = ACL_LIST,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "list", .since = "6.0.6",
     .complexity = "O(N) with N the number of elements looked at",
     .summary = "Returns the indexes of the elements of a list that equal a given one.",
     .args = "key element [RANK rank] [COUNT num-matches] [MAXLEN len]"},

    {0},
};
// clang-format on
