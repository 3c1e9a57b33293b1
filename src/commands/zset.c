// SPDX-License-Identifier: BSD-3-Clause
//
// zset: commands on the members of one sorted set: adding and removing, scores and ranks, popping,
// random members, ZSCAN. Ranges are in zset_range.c, what combines several sorted sets is in
// zset_algebra.c.
//
// ZADD looks a member up once: the conditions (NX, XX, GT, LT) and INCR go down to zset_add, which
// judges where it has found the member. All scores are read before anything is changed, so a ZADD
// with a bad score does nothing.
#include "commands/zset.h"

#include <math.h>

#include "base/assert.h"
#include "base/mem.h"
#include "commands/families.h"
#include "commands/scan.h"
#include "engine/effect.h"
#include "engine/settings.h"

static inline struct slice key_of(const struct ctx *ctx)
{
    return ctx->argv[1];
}

// --- shared with other files ---------------------------------------------------------------------

void zset_reply_ranks(struct reply *r, enum zset_shape shape, struct value v, uint64_t first,
                      uint64_t count, bool is_reverse)
{
    struct zset_iter it;
    struct item member;
    double score;
    zset_reply_header(r, shape, count);
    if (!count) return;
    zset_iter_init(&it, v, is_reverse ? first + count - 1 : first, is_reverse);
    while (count-- && zset_iter_next(&it, &member, &score))
        zset_reply_member(r, shape, &member, score);
}

static void commit_pop(struct ctx *ctx, struct slice key, struct entry *e, bool is_max,
                       bool is_empty)
{
    ctx_commit_removal(ctx, key, e, EVENT_ZSET, is_max ? "zpopmax" : "zpopmin", is_empty);
}

void zset_pop(struct ctx *ctx, struct slice key, struct entry *e, bool is_max, uint64_t count,
              enum zset_shape shape)
{
    uint64_t len = zset_len(e->value);
    count = MIN(count, len);
    uint64_t first = is_max ? len - count : 0;
    zset_reply_ranks(ctx->reply, shape, e->value, first, count, is_max);
    zset_remove_ranks(&e->value, first, count);
    commit_pop(ctx, key, e, is_max, count == len);
}

// What BZPOPMIN replies: three in a row.
static void pop_bare(struct ctx *ctx, struct slice key, struct entry *e, bool is_max)
{
    struct zset_iter it;
    struct item member;
    double score;
    uint64_t len = zset_len(e->value), at = is_max ? len - 1 : 0;
    reply_array(ctx->reply, 3);
    reply_bulk(ctx->reply, key);
    zset_iter_init(&it, e->value, at, false);
    zset_iter_next(&it, &member, &score);
    zset_reply_member(ctx->reply, ZSET_FLAT, &member, score);
    zset_remove_ranks(&e->value, at, 1);
    commit_pop(ctx, key, e, is_max, len == 1);
}

void zset_pop_with_key(struct ctx *ctx, struct slice key, struct entry *e, bool is_max,
                       uint64_t count, bool is_bare)
{
    effect_say_number(ctx, is_max ? "ZPOPMAX" : "ZPOPMIN", key,
                      (int64_t)MIN(count, zset_len(e->value)));
    if (is_bare) {
        pop_bare(ctx, key, e, is_max);
        return;
    }
    reply_array(ctx->reply, 2);
    reply_bulk(ctx->reply, key);
    zset_pop(ctx, key, e, is_max, count, ZSET_PAIRS);
}

bool zset_pop_first(struct ctx *ctx, int first, int n, bool is_max, uint64_t count, bool is_bare)
{
    for (int i = first; i < first + n; i++) {
        struct slice key = ctx->argv[i];
        struct entry *e;
        if (!ctx_write_as(ctx, key, TYPE_ZSET, &e)) return true;
        if (!e) continue;
        zset_pop_with_key(ctx, key, e, is_max, count, is_bare);
        return true;
    }
    return false;
}

bool zset_pop_options(struct ctx *ctx, int arg, struct zset_pop_options *o)
{
    int64_t keys, count = 1;
    if (!ctx_arg_range(ctx, arg, 1, INT64_MAX, &keys, "ERR numkeys should be greater than 0"))
        return false;
    if (keys >= ctx->argc - arg - 1) goto syntax;
    o->first_key = arg + 1;
    o->keys = (int)keys;
    int where = o->first_key + o->keys;
    o->is_max = ctx_arg_is(ctx, where, "MAX");
    if (!o->is_max && !ctx_arg_is(ctx, where, "MIN")) goto syntax;
    bool has_count = ctx->argc > where + 2 && ctx_arg_is(ctx, where + 1, "COUNT");
    if (has_count &&
        !ctx_arg_range(ctx, where + 2, 1, INT64_MAX, &count, "ERR count should be greater than 0"))
        return false;
    o->count = (uint64_t)count;
    if (ctx->argc == where + (has_count ? 3 : 1)) return true;
syntax:
    reply_error(ctx->reply, ERR_SYNTAX);
    return false;
}

uint64_t zset_store(struct ctx *ctx, struct slice key, struct value v, const char *event)
{
    struct entry *e = ctx_write(ctx, key);
    uint64_t len = zset_len(v);
    if (len) {
        ctx_set_value(ctx, key, e, TYPE_ZSET, v, EXPIRE_NONE);
        ctx_commit(ctx, key, EVENT_ZSET, event);
        return len;
    }
    zset_free(v);
    if (e) {
        ctx_delete(ctx, key, e);
        ctx_commit(ctx, key, EVENT_GENERIC, "del");
    }
    return 0;
}

// --- ZADD, ZINCRBY -------------------------------------------------------------------------------

static bool parse_add_options(struct ctx *ctx, struct zset_adding *a)
{
    static const struct {
        const char *word;
        unsigned flag;
    } words[] = {{"nx", ZSET_NX}, {"xx", ZSET_XX}, {"gt", ZSET_GT},
                 {"lt", ZSET_LT}, {"ch", 0},       {"incr", ZSET_INCR}};
    int at = 2;
    *a = (struct zset_adding){.step = 2};
    for (; at < ctx->argc; at++) {
        size_t i = 0;
        while (i < ARRAY_LEN(words) && !ctx_arg_is(ctx, at, words[i].word)) i++;
        if (i == ARRAY_LEN(words)) break;
        a->flags |= words[i].flag;
        if (!words[i].flag) a->is_ch = true;
    }
    a->first = at + 1;
    unsigned f = a->flags;
    int rest = ctx->argc - at;
    const char *error = NULL;
    if (rest == 0 || rest % 2)
        error = ERR_SYNTAX;
    else if ((f & ZSET_NX) && (f & ZSET_XX))
        error = "ERR XX and NX options at the same time are not compatible";
    else if ((f & ZSET_NX && f & (ZSET_GT | ZSET_LT)) || (f & ZSET_GT && f & ZSET_LT))
        error = "ERR GT, LT, and/or NX options at the same time are not compatible";
    else if (f & ZSET_INCR && rest > 2)
        error = "ERR INCR option supports a single increment-element pair";
    if (error) reply_error(ctx->reply, error);
    return !error;
}

struct added {
    int64_t added, updated;
    enum zset_outcome last;
};

static struct added add_to(struct ctx *ctx, struct entry *e, const struct zset_adding *a)
{
    struct added out = {.last = ZSET_KEPT};
    const struct value_limits *limits = &ctx->settings->limits;
    double *score = a->scores;
    for (int i = a->first; i < ctx->argc; i += a->step) {
        out.last = zset_add(&e->value, ctx->argv[i], score++, a->flags, limits);
        out.added += out.last == ZSET_ADDED;
        out.updated += out.last == ZSET_UPDATED;
    }
    return out;
}

static void reply_added(struct ctx *ctx, const struct zset_adding *a, const struct added *out)
{
    if (!(a->flags & ZSET_INCR))
        reply_int(ctx->reply, a->is_ch ? out->added + out->updated : out->added);
    else if (out->last == ZSET_NAN)
        reply_error(ctx->reply, "ERR resulting score is not a number (NaN)");
    else if (out->last == ZSET_KEPT)
        reply_null(ctx->reply);
    else
        reply_double(ctx->reply, a->scores[0]);
}

void zset_add_members(struct ctx *ctx, const struct zset_adding *a)
{
    struct slice key = key_of(ctx);
    struct added out = {.last = ZSET_KEPT};
    struct entry *e;
    if (!ctx_write_as(ctx, key, TYPE_ZSET, &e)) return;
    if (!e && !(a->flags & ZSET_XX)) // without XX something is added, so the key will not be empty
        e = ctx_set_value(ctx, key, NULL, TYPE_ZSET, zset_new(), EXPIRE_NONE);
    if (e) out = add_to(ctx, e, a);
    if (out.added || out.updated)
        ctx_commit(ctx, key, EVENT_ZSET, a->flags & ZSET_INCR ? "zincr" : "zadd");
    reply_added(ctx, a, &out);
}

// Reads the scores into a->scores; replies the error and returns false if one is none.
static bool parse_scores(struct ctx *ctx, struct zset_adding *a)
{
    double *score = a->scores;
    for (int i = a->first - 1; i < ctx->argc; i += a->step) {
        if (zset_parse_score(ctx->argv[i], score++)) continue;
        reply_error(ctx->reply, ERR_NOT_FLOAT);
        return false;
    }
    return true;
}

static void add(struct ctx *ctx, struct zset_adding *a)
{
    double few[16], *many = NULL;
    size_t count = (size_t)(ctx->argc - a->first) / 2 + 1;
    a->scores = few;
    if (count > ARRAY_LEN(few)) a->scores = many = mem_alloc(count * sizeof *many);
    if (parse_scores(ctx, a)) zset_add_members(ctx, a);
    mem_free(many);
}

static void zadd(struct ctx *ctx)
{
    struct zset_adding a;
    if (parse_add_options(ctx, &a)) add(ctx, &a);
}

static void zincrby(struct ctx *ctx)
{
    add(ctx, &(struct zset_adding){.flags = ZSET_INCR, .first = 3, .step = 2});
}

// --- ZREM ----------------------------------------------------------------------------------------

static void zrem(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct entry *e;
    int64_t removed = 0;
    if (!ctx_write_as(ctx, key, TYPE_ZSET, &e)) return;
    for (int i = 2; e && i < ctx->argc; i++) removed += zset_remove(&e->value, ctx->argv[i]);
    if (removed) ctx_commit_removal(ctx, key, e, EVENT_ZSET, "zrem", zset_len(e->value) == 0);
    reply_int(ctx->reply, removed);
}

// --- scores and ranks ----------------------------------------------------------------------------

static void zcard(struct ctx *ctx)
{
    struct entry *e;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_ZSET, &e)) return;
    reply_int(ctx->reply, e ? (int64_t)zset_len(e->value) : 0);
}

static void reply_score(struct ctx *ctx, const struct entry *e, struct slice member)
{
    double score;
    if (e && zset_score(e->value, member, &score))
        reply_double(ctx->reply, score);
    else
        reply_null(ctx->reply);
}

static void zscore(struct ctx *ctx)
{
    struct entry *e;
    if (ctx_read_as(ctx, key_of(ctx), TYPE_ZSET, &e)) reply_score(ctx, e, ctx->argv[2]);
}

static void zmscore(struct ctx *ctx)
{
    struct entry *e;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_ZSET, &e)) return;
    reply_array(ctx->reply, (size_t)ctx->argc - 2);
    for (int i = 2; i < ctx->argc; i++) reply_score(ctx, e, ctx->argv[i]);
}

static void rank(struct ctx *ctx, bool is_reverse)
{
    struct entry *e;
    double score;
    bool has_score = ctx_arg_is(ctx, 3, "WITHSCORE");
    if (ctx->argc > 4) {
        ctx_wrong_arity(ctx);
        return;
    }
    if (ctx->argc == 4 && !has_score) {
        reply_error(ctx->reply, ERR_SYNTAX);
        return;
    }
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_ZSET, &e)) return;
    int64_t r = e ? zset_rank(e->value, ctx->argv[2], &score) : -1;
    if (r < 0 && has_score) {
        reply_null_array(ctx->reply);
    } else if (r < 0) {
        reply_null(ctx->reply);
    } else {
        if (is_reverse) r = (int64_t)zset_len(e->value) - 1 - r;
        if (has_score) reply_array(ctx->reply, 2);
        reply_int(ctx->reply, r);
        if (has_score) reply_double(ctx->reply, score);
    }
}

static void zrank(struct ctx *ctx)
{
    rank(ctx, false);
}

static void zrevrank(struct ctx *ctx)
{
    rank(ctx, true);
}

// --- ZPOPMIN, ZPOPMAX, ZMPOP ---------------------------------------------------------------------

static void pop(struct ctx *ctx, bool is_max)
{
    struct entry *e;
    int64_t count = 1;
    if (ctx->argc > 3) {
        reply_error(ctx->reply, ERR_SYNTAX);
        return;
    }
    bool has_count = ctx->argc == 3;
    if (has_count && !ctx_arg_range(ctx, 2, 0, INT64_MAX, &count, ERR_POSITIVE)) return;
    if (!ctx_write_as(ctx, key_of(ctx), TYPE_ZSET, &e)) return;
    enum zset_shape shape = has_count ? zset_shape_of(ctx->reply, true) : ZSET_FLAT;
    if (e && count)
        zset_pop(ctx, key_of(ctx), e, is_max, (uint64_t)count, shape);
    else
        reply_array(ctx->reply, 0);
}

static void zpopmin(struct ctx *ctx)
{
    pop(ctx, false);
}

static void zpopmax(struct ctx *ctx)
{
    pop(ctx, true);
}

static void zmpop(struct ctx *ctx)
{
    struct zset_pop_options o;
    if (!zset_pop_options(ctx, 1, &o)) return;
    if (!zset_pop_first(ctx, o.first_key, o.keys, o.is_max, o.count, false))
        reply_null_array(ctx->reply);
}

// --- ZRANDMEMBER ---------------------------------------------------------------------------------

static void reply_rank(struct reply *r, enum zset_shape shape, struct value v, uint64_t at)
{
    struct zset_iter it;
    struct item member;
    double score;
    zset_iter_init(&it, v, at, false);
    zset_iter_next(&it, &member, &score);
    zset_reply_member(r, shape, &member, score);
}

// `count` different members out of `len`, about half of them or more: walks all, each one with the
// probability that it still takes (selection sampling: Knuth, volume 2, algorithm S).
static void sample_walking(struct ctx *ctx, enum zset_shape shape, struct value v, uint64_t len,
                           uint64_t count)
{
    struct zset_iter it;
    struct item member;
    double score;
    zset_iter_init(&it, v, 0, false);
    for (uint64_t left = len; count && zset_iter_next(&it, &member, &score); left--) {
        if (random_below(&ctx->space->random, left) >= count) continue;
        zset_reply_member(ctx->reply, shape, &member, score);
        count--;
    }
}

// True if `rank` is new in the open-addressed table of 2^bits ranks (each plus one; 0: free).
static bool note_rank(uint64_t *table, unsigned bits, uint64_t at)
{
    uint64_t mask = (1ull << bits) - 1, i = (at * 0x9e3779b97f4a7c15u) >> (64 - bits);
    for (; table[i]; i = (i + 1) & mask)
        if (table[i] == at + 1) return false;
    table[i] = at + 1;
    return true;
}

// `count` different members out of `len`, few of them: draws ranks and notes them (Floyd's way,
// which draws each but once).
static void sample_drawing(struct ctx *ctx, enum zset_shape shape, struct value v, uint64_t len,
                           uint64_t count)
{
    unsigned bits = 1;
    while (1ull << bits < count * 2) bits++;
    uint64_t *table = mem_calloc(sizeof *table << bits);
    for (uint64_t i = len - count; i < len; i++) {
        uint64_t at = random_below(&ctx->space->random, i + 1);
        if (!note_rank(table, bits, at)) note_rank(table, bits, at = i);
        reply_rank(ctx->reply, shape, v, at);
    }
    mem_free(table);
}

static void randmember_many(struct ctx *ctx, int64_t count, bool has_scores)
{
    enum zset_shape shape = zset_shape_of(ctx->reply, has_scores);
    struct entry *e;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_ZSET, &e)) return;
    uint64_t len = e ? zset_len(e->value) : 0;
    uint64_t n = !len ? 0 : count < 0 ? 0 - (uint64_t)count : MIN((uint64_t)count, len);
    zset_reply_header(ctx->reply, shape, n);
    if (!n) return;
    if (count < 0)
        while (n--) reply_rank(ctx->reply, shape, e->value, random_below(&ctx->space->random, len));
    else if (n > len / 4)
        sample_walking(ctx, shape, e->value, len, n);
    else
        sample_drawing(ctx, shape, e->value, len, n);
}

static void zrandmember(struct ctx *ctx)
{
    if (ctx->argc == 2) {
        struct entry *e;
        if (!ctx_read_as(ctx, key_of(ctx), TYPE_ZSET, &e)) return;
        if (e)
            reply_rank(ctx->reply, ZSET_MEMBERS, e->value,
                       random_below(&ctx->space->random, zset_len(e->value)));
        else
            reply_null(ctx->reply);
        return;
    }
    bool has_scores = ctx_arg_is(ctx, 3, "WITHSCORES");
    int64_t count;
    if (!ctx_arg_range(ctx, 2, -INT64_MAX, INT64_MAX, &count, NULL)) return;
    if (ctx->argc > 4 || (ctx->argc == 4 && !has_scores))
        reply_error(ctx->reply, ERR_SYNTAX);
    else if (has_scores && (count < -INT64_MAX / 2 || count > INT64_MAX / 2))
        reply_error(ctx->reply, "ERR value is out of range");
    else
        randmember_many(ctx, count, has_scores);
}

// --- ZSCAN ---------------------------------------------------------------------------------------

struct found {
    struct item member;
    double score;
};

struct page {
    const struct scan_options *options;
    struct buf found; // of struct found, those that match
    uint64_t seen;    // matching or not
};

static void visit(void *arg, const struct item *member, double score)
{
    struct page *page = arg;
    struct found found = {*member, score};
    char scratch[NUM_I64_TEXT];
    page->seen++;
    if (page->options->pattern.ptr && !scan_matches(page->options, item_slice(member, scratch)))
        return;
    buf_append(&page->found, &found, sizeof found);
}

// Scores are text here, in every protocol; those of a listpack as they stand in it.
static void reply_found(struct ctx *ctx, const struct found *f, bool is_listpack)
{
    char text[ZSET_SCORE_TEXT];
    zset_reply_member(ctx->reply, ZSET_MEMBERS, &f->member, f->score);
    size_t len = is_listpack ? zset_format_score(text, f->score)
                             : num_format_double(text, sizeof text, f->score);
    reply_bulk(ctx->reply, (struct slice){text, len});
}

static void zscan(struct ctx *ctx)
{
    struct scan_options o;
    struct entry *e;
    if (!scan_begin(ctx, TYPE_ZSET, &o, &e)) return;
    struct page page = {.options = &o};
    uint64_t cursor = o.cursor, buckets = scan_max_buckets(&o);
    do cursor = zset_scan(e->value, cursor, visit, &page);
    while (cursor && --buckets && page.seen < (uint64_t)o.count);

    size_t n = page.found.len / sizeof(struct found);
    const struct found *found = (const struct found *)(const void *)page.found.ptr;
    scan_reply_cursor(ctx, cursor);
    reply_array(ctx->reply, n * 2);
    for (size_t i = 0; i < n; i++) reply_found(ctx, &found[i], zset_listpack(e->value));
    buf_free(&page.found);
}

// --- declarations --------------------------------------------------------------------------------

#define LOG_N      "O(log N) with N the number of members"
#define EACH_LOG_N "O(log N) for each member, with N the number of members"

// clang-format off
const struct command commands_zset[] = {
    {.name = "zadd", .handler = zadd, .arity = -4, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "sorted-set",
     .member = 3, .since = "1.2.0", .complexity = EACH_LOG_N,
     .summary = "Adds members to a sorted set or gives them new scores. Creates the key if it is "
                "missing.",
     .args = "key [NX | XX] [GT | LT] [CH] [INCR] (score member)...",
     .history = "2.4.0: Accepts several members.\n"
                "3.0.2: Added the options `XX`, `NX`, `CH` and `INCR`.\n"
                "6.2.0: Added the options `GT` and `LT`."},

    {.name = "zincrby", .handler = zincrby, .arity = 4,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_SORTEDSET,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE)}, .group = "sorted-set",
     .member = 3, .since = "1.2.0", .complexity = LOG_N,
     .summary = "Adds a number to the score of a member; a missing one counts as 0.",
     .args = "key increment member"},

    {.name = "zrem", .handler = zrem, .arity = -3, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_DELETE)}, .group = "sorted-set",
     .member = 2, .since = "1.2.0", .complexity = EACH_LOG_N,
     .summary = "Removes members from a sorted set. Deletes the key with the last one.",
     .args = "key member...", .history = "2.4.0: Accepts several members."},

    {.name = "zcard", .handler = zcard, .arity = 2, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RO)}, .group = "sorted-set",
     .since = "1.2.0", .complexity = "O(1)",
     .summary = "Returns the number of members of a sorted set.", .args = "key"},

    {.name = "zscore", .handler = zscore, .arity = 3, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "sorted-set",
     .member = 2, .since = "1.2.0", .complexity = "O(1)",
     .summary = "Returns the score of a member.", .args = "key member"},

    {.name = "zmscore", .handler = zmscore, .arity = -3, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "sorted-set",
     .member = 2, .since = "6.2.0", .complexity = "O(N) with N the number of members asked for",
     .summary = "Returns the scores of one or more members.", .args = "key member..."},

    {.name = "zrank", .handler = zrank, .arity = -3, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "sorted-set",
     .member = 2, .since = "2.0.0", .complexity = LOG_N,
     .summary = "Returns the place of a member, the lowest score first.",
     .args = "key member [WITHSCORE]", .history = "7.2.0: Added the option `WITHSCORE`."},

    {.name = "zrevrank", .handler = zrevrank, .arity = -3, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "sorted-set",
     .member = 2, .since = "2.0.0", .complexity = LOG_N,
     .summary = "Returns the place of a member, the highest score first.",
     .args = "key member [WITHSCORE]", .history = "7.2.0: Added the option `WITHSCORE`."},

    {.name = "zpopmin", .handler = zpopmin, .arity = -2, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_DELETE)},
     .group = "sorted-set", .since = "5.0.0",
     .complexity = "O(log N + M) with N the number of members and M of those popped",
     .summary = "Removes the members with the lowest scores and returns them. Deletes the key with "
                "the last one.",
     .args = "key [count]"},

    {.name = "zpopmax", .handler = zpopmax, .arity = -2, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_DELETE)},
     .group = "sorted-set", .since = "5.0.0",
     .complexity = "O(log N + M) with N the number of members and M of those popped",
     .summary = "Removes the members with the highest scores and returns them. Deletes the key "
                "with the last one.",
     .args = "key [count]"},

    {.name = "zmpop", .handler = zmpop, .arity = -4, .flags = CMD_WRITE | CMD_MOVABLE_KEYS,
     .acl = ACL_SORTEDSET,
     .keys = {{.flags = KEY_RW | KEY_ACCESS | KEY_DELETE, .begin = 1, .is_keynum = true,
               .first = 1, .step = 1}},
     .group = "sorted-set", .since = "7.0.0",
     .complexity = "O(K + log N + M) with K the number of keys, N of members and M of those popped",
     .summary = "Removes the members with the lowest or highest scores from the first sorted set "
                "that is not empty, and returns them with its key.",
     .args = "numkeys key... <MIN | MAX> [COUNT count]"},

    {.name = "zrandmember", .handler = zrandmember, .arity = -2, .flags = CMD_READONLY,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "sorted-set",
     .since = "6.2.0", .complexity = "O(M log N) with N the number of members and M of those "
                                     "returned",
     .summary = "Returns random members of a sorted set.", .args = "key [count [WITHSCORES]]",
     .tips = "nondeterministic_output"},

    {.name = "zscan", .handler = zscan, .arity = -3, .flags = CMD_READONLY, .acl = ACL_SORTEDSET,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "sorted-set", .since = "2.8.0",
     .complexity = "O(COUNT) for a call, O(N) for all until the cursor is 0 again, with N the "
                   "number of members",
     .summary = "Walks through the members of a sorted set and their scores, a few with each call.",
     .args = "key cursor [MATCH pattern] [COUNT count]", .tips = "nondeterministic_output"},

    {0},
};
// clang-format on
