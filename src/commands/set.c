// SPDX-License-Identifier: BSD-3-Clause
//
// set: commands on one set, and SMOVE. How a set is kept, and what is drawn by chance and how, is
// types/set.c's business; SINTER, SUNION, SDIFF and their kin are in set_algebra.c.
//
// Order of checks, as clients see it in errors: numbers among the arguments, then the key, then its
// type; SSCAN's options come last, and do not matter if there is no key.
#include "commands/set.h"

#include "base/assert.h"
#include "base/buf.h"
#include "commands/families.h"
#include "commands/scan.h"
#include "engine/effect.h"
#include "engine/settings.h"

static inline struct slice key_of(const struct ctx *ctx)
{
    return ctx->argv[1];
}

// --- members -------------------------------------------------------------------------------------

static void sadd(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct entry *e;
    if (!ctx_write_as(ctx, key, TYPE_SET, &e)) return;
    if (!e) e = ctx_set_value(ctx, key, NULL, TYPE_SET, set_new(), EXPIRE_NONE);
    int64_t added = 0;
    for (int i = 2; i < ctx->argc; i++)
        added += set_add(&e->value, ctx->argv[i], &ctx->settings->limits);
    if (added) ctx_commit(ctx, key, EVENT_SET, "sadd");
    reply_int(ctx->reply, added);
}

static void srem(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct entry *e;
    if (!ctx_write_as(ctx, key, TYPE_SET, &e)) return;
    int64_t removed = 0;
    for (int i = 2; e && i < ctx->argc; i++) removed += set_remove(&e->value, ctx->argv[i]);
    if (removed) ctx_commit_removal(ctx, key, e, EVENT_SET, "srem", !set_len(e->value));
    reply_int(ctx->reply, removed);
}

// Where the two sets may have a log each.
static void say_moved(struct ctx *ctx)
{
    if (LIKELY(ctx->space_count == 1)) return;
    struct slice removed[] = {SLICE("SREM"), ctx->argv[1], ctx->argv[3]};
    struct slice added[] = {SLICE("SADD"), ctx->argv[2], ctx->argv[3]};
    effect_say(ctx, ctx->argv[1], ARRAY_LEN(removed), removed);
    effect_say(ctx, ctx->argv[2], ARRAY_LEN(added), added);
}

static void smove(struct ctx *ctx)
{
    struct slice from_key = ctx->argv[1], to_key = ctx->argv[2], member = ctx->argv[3];
    struct entry *from = ctx_write(ctx, from_key), *to = ctx_write(ctx, to_key);
    if (!from) {
        reply_int(ctx->reply, 0);
        return;
    }
    if (from->type != TYPE_SET || (to && to->type != TYPE_SET)) {
        reply_error(ctx->reply, ERR_WRONGTYPE);
        return;
    }
    if (from == to) {
        reply_int(ctx->reply, set_has(from->value, member));
        return;
    }
    if (!set_remove(&from->value, member)) {
        reply_int(ctx->reply, 0);
        return;
    }
    say_moved(ctx);
    ctx_commit_removal(ctx, from_key, from, EVENT_SET, "srem", !set_len(from->value));
    if (!to) to = ctx_set_value(ctx, to_key, NULL, TYPE_SET, set_new(), EXPIRE_NONE);
    if (set_add(&to->value, member, &ctx->settings->limits))
        ctx_commit(ctx, to_key, EVENT_SET, "sadd");
    reply_int(ctx->reply, 1);
}

// --- questions -----------------------------------------------------------------------------------

static void scard(struct ctx *ctx)
{
    struct entry *e;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_SET, &e)) return;
    reply_int(ctx->reply, e ? (int64_t)set_len(e->value) : 0);
}

static void sismember(struct ctx *ctx)
{
    struct entry *e;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_SET, &e)) return;
    reply_int(ctx->reply, e && set_has(e->value, ctx->argv[2]));
}

static void smismember(struct ctx *ctx)
{
    struct entry *e;
    struct item members[SET_BATCH];
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_SET, &e)) return;
    reply_array(ctx->reply, (size_t)ctx->argc - 2);
    for (int first = 2; first < ctx->argc; first += SET_BATCH) {
        uint32_t n = (uint32_t)MIN(ctx->argc - first, SET_BATCH);
        for (uint32_t i = 0; i < n; i++) members[i] = item_of(ctx->argv[first + (int)i]);
        uint32_t found = e ? set_has_batch(e->value, members, n) : 0;
        for (uint32_t i = 0; i < n; i++) reply_int(ctx->reply, found >> i & 1);
    }
}

void set_reply_members(struct reply *r, struct value v)
{
    struct set_iter it;
    struct item member;
    reply_set(r, set_len(v));
    for (set_iter_init(&it, v); set_iter_next(&it, &member);) set_reply_member(r, &member);
}

static void smembers(struct ctx *ctx)
{
    struct entry *e;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_SET, &e)) return;
    set_reply_members(ctx->reply, e ? e->value : set_new());
}

// --- by chance -----------------------------------------------------------------------------------

static void reply_visited(void *arg, const struct item *member)
{
    set_reply_member(arg, member);
}

struct popped {
    struct reply *reply;
    struct effect_draft srem;
};

static void visit_popped(void *arg, const struct item *member)
{
    char digits[NUM_I64_TEXT];
    struct popped *p = arg;
    set_reply_member(p->reply, member);
    effect_add(&p->srem, item_slice(member, digits));
}

static void spop_one(struct ctx *ctx, struct slice key)
{
    struct entry *e;
    if (!ctx_write_as(ctx, key, TYPE_SET, &e)) return;
    if (!e) {
        reply_null(ctx->reply);
        return;
    }
    struct popped popped = {.reply = ctx->reply};
    effect_begin(&popped.srem, ctx, "SREM", key);
    set_pop(&e->value, &ctx->space->random, visit_popped, &popped);
    effect_end(&popped.srem);
    ctx_commit_removal(ctx, key, e, EVENT_SET, "spop", !set_len(e->value));
}

static void spop_many(struct ctx *ctx, struct slice key)
{
    struct entry *e;
    int64_t count;
    if (!ctx_arg_range(ctx, 2, 0, INT64_MAX, &count, ERR_POSITIVE)) return;
    if (!ctx_write_as(ctx, key, TYPE_SET, &e)) return;
    if (!e || !count) {
        reply_set(ctx->reply, 0);
        return;
    }
    uint64_t len = set_len(e->value), wanted = MIN((uint64_t)count, len);
    if (wanted == len) {
        set_reply_members(ctx->reply, e->value);
        effect_say_key(ctx, "DEL", key);
    } else {
        struct popped popped = {.reply = ctx->reply};
        reply_set(ctx->reply, wanted);
        effect_begin(&popped.srem, ctx, "SREM", key);
        set_pop_many(&e->value, wanted, &ctx->space->random, visit_popped, &popped);
        effect_end(&popped.srem);
    }
    ctx_commit_removal(ctx, key, e, EVENT_SET, "spop", wanted == len);
}

static void spop(struct ctx *ctx)
{
    if (ctx->argc == 2)
        spop_one(ctx, key_of(ctx));
    else if (ctx->argc == 3)
        spop_many(ctx, key_of(ctx));
    else
        reply_error(ctx->reply, ERR_SYNTAX);
}

static void srandmember_one(struct ctx *ctx)
{
    struct entry *e;
    struct item member;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_SET, &e)) return;
    if (!e) {
        reply_null(ctx->reply);
        return;
    }
    set_random(e->value, &ctx->space->random, &member);
    set_reply_member(ctx->reply, &member);
}

// A positive count asks for different members, a negative one for so many draws.
static void srandmember_many(struct ctx *ctx)
{
    struct entry *e;
    int64_t count;
    if (!ctx_arg_range(ctx, 2, -INT64_MAX, INT64_MAX, &count, NULL)) return;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_SET, &e)) return;
    uint64_t len = e ? set_len(e->value) : 0;
    uint64_t wanted = !e ? 0 : count < 0 ? (uint64_t)-count : MIN((uint64_t)count, len);
    reply_array(ctx->reply, wanted);
    if (!wanted) return;
    struct random *random = &ctx->space->random;
    if (count < 0)
        set_draw(e->value, wanted, random, reply_visited, ctx->reply);
    else
        set_sample(e->value, wanted, random, reply_visited, ctx->reply);
}

static void srandmember(struct ctx *ctx)
{
    if (ctx->argc == 2)
        srandmember_one(ctx);
    else if (ctx->argc == 3)
        srandmember_many(ctx);
    else
        reply_error(ctx->reply, ERR_SYNTAX);
}

// --- SSCAN ---------------------------------------------------------------------------------------

struct page {
    const struct scan_options *options;
    struct buf members; // of struct item: those that match
    uint64_t seen;      // matching or not
};

static void visit(void *arg, const struct item *member)
{
    struct page *page = arg;
    char digits[NUM_I64_TEXT];
    page->seen++;
    if (page->options->pattern.ptr && !scan_matches(page->options, item_slice(member, digits)))
        return;
    buf_append(&page->members, member, sizeof *member);
}

static void sscan(struct ctx *ctx)
{
    struct scan_options o;
    struct entry *e;
    if (!scan_begin(ctx, TYPE_SET, &o, &e)) return;
    struct page page = {.options = &o};
    uint64_t cursor = o.cursor, buckets = scan_max_buckets(&o);
    do cursor = set_scan(e->value, cursor, visit, &page);
    while (cursor && page.seen < (uint64_t)o.count && --buckets);
    scan_reply_cursor(ctx, cursor);
    size_t n = page.members.len / sizeof(struct item);
    reply_array(ctx->reply, n);
    for (size_t i = 0; i < n; i++) {
        struct item member;
        memcpy(&member, page.members.ptr + i * sizeof member, sizeof member);
        set_reply_member(ctx->reply, &member);
    }
    buf_free(&page.members);
}

// --- declarations --------------------------------------------------------------------------------

#define MANY_MEMBERS "2.4.0: Accepts several `member` arguments."

// clang-format off
const struct command commands_set[] = {
    {.name = "sadd", .member = 2, .handler = sadd, .arity = -3,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_SET, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_INSERT)}, .group = "set",
     .since = "1.0.0", .complexity = "O(N) with N the number of members given",
     .summary = "Adds one or more members to a set. Creates the key if it is missing.",
     .args = "key member...", .history = MANY_MEMBERS},

    {.name = "srem", .member = 2, .handler = srem, .arity = -3, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_SET,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_DELETE)}, .group = "set", .since = "1.0.0",
     .complexity = "O(N) with N the number of members given",
     .summary = "Removes one or more members from a set. Deletes the key with the last one.",
     .args = "key member...", .history = MANY_MEMBERS},

    {.name = "scard", .handler = scard, .arity = 2, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_SET, .keys = {KEYS(1, 1, 1, KEY_RO)}, .group = "set", .since = "1.0.0",
     .complexity = "O(1)", .summary = "Returns the number of members of a set.", .args = "key"},

    {.name = "sismember", .member = 2, .handler = sismember, .arity = 3,
     .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_SET, .keys = {KEYS(1, 1, 1, KEY_RO)}, .group = "set", .since = "1.0.0",
     .complexity = "O(1)", .summary = "Tells whether something is a member of a set.",
     .args = "key member"},

    {.name = "smismember", .member = 2, .handler = smismember, .arity = -3,
     .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_SET, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "set",
     .since = "6.2.0", .complexity = "O(N) with N the number of members asked for",
     .summary = "Tells of each of several things whether it is a member of a set.",
     .args = "key member..."},

    {.name = "smembers", .handler = smembers, .arity = 2, .flags = CMD_READONLY, .acl = ACL_SET,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "set", .since = "1.0.0",
     .complexity = "O(N) with N the number of members",
     .summary = "Returns all members of a set.", .args = "key",
     .tips = "nondeterministic_output_order"},

    {.name = "spop", .handler = spop, .arity = -2, .flags = CMD_WRITE | CMD_FAST, .acl = ACL_SET,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_DELETE)}, .group = "set", .since = "1.0.0",
     .complexity = "O(1); with a count O(N) with N the count",
     .summary = "Removes one or more random members from a set and returns them. Deletes the key "
                "with the last one.",
     .args = "key [count]", .history = "3.2.0: Added the argument `count`.",
     .tips = "nondeterministic_output"},

    {.name = "srandmember", .handler = srandmember, .arity = -2, .flags = CMD_READONLY,
     .acl = ACL_SET, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "set",
     .since = "1.0.0", .complexity = "O(1); with a count O(N) with N the absolute value of it",
     .summary = "Returns one or more random members of a set.", .args = "key [count]",
     .history = "2.6.0: Added the optional argument `count`.",
     .tips = "nondeterministic_output"},

    {.name = "smove", .handler = smove, .arity = 4, .flags = CMD_WRITE | CMD_FAST, .acl = ACL_SET,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEYS(2, 2, 1, KEY_RW | KEY_INSERT)},
     .group = "set", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Moves a member from one set to another.", .args = "source destination member"},

    {.name = "sscan", .handler = sscan, .arity = -3, .flags = CMD_READONLY, .acl = ACL_SET,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "set", .since = "2.8.0",
     .complexity = "O(COUNT) for a call, O(N) for all until the cursor is 0 again, with N the "
                   "number of members",
     .summary = "Walks through the members of a set, a few with each call.",
     .args = "key cursor [MATCH pattern] [COUNT count]", .tips = "nondeterministic_output"},

    {0},
};
// clang-format on
