// SPDX-License-Identifier: BSD-3-Clause
//
// zset_range: everything that names a range of a sorted set: ZRANGE and its older forms,
// ZRANGESTORE, ZCOUNT, ZLEXCOUNT, ZREMRANGEBY*.
//
// Whatever a range is said in (ranks, scores, strings), it is an interval of ranks: range_ranks
// finds its two ends, LIMIT and REV are arithmetic on them, and one walk or one removal does the
// rest. REV counts from the high end and turns the walk around; the interval stays what it is.
#include <math.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "commands/families.h"
#include "commands/zset.h"
#include "engine/settings.h"

enum by { BY_ANY, BY_RANK, BY_SCORE, BY_LEX };

enum end { END_MEMBER, END_LOWEST, END_HIGHEST };

// One end of a range.
struct bound {
    int64_t rank;
    double score;
    struct slice member; // BY_LEX and END_MEMBER
    enum end end;        // BY_LEX
    bool is_exclusive;
};

struct range {
    enum by by;
    struct bound min, max; // BY_RANK: start and stop
};

// An interval of ranks.
struct ranks {
    uint64_t first, count;
};

// --- reading ranges ------------------------------------------------------------------------------

// As strtod reads: blanks before it, hexadecimal and the empty string are fine, as in Redis.
static bool parse_loose_double(struct slice s, double *out)
{
    char local[128], *end, *text = s.len < sizeof local ? local : mem_alloc(s.len + 1);
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    *out = strtod(text, &end);
    bool is_good = *end == '\0' && !isnan(*out);
    if (text != local) mem_free(text);
    return is_good;
}

static bool parse_score_bound(struct slice s, struct bound *out)
{
    out->is_exclusive = s.len && s.ptr[0] == '(';
    if (out->is_exclusive) s = (struct slice){s.ptr + 1, s.len - 1};
    return zset_parse_score(s, &out->score) || parse_loose_double(s, &out->score);
}

static bool parse_lex_bound(struct slice s, struct bound *out)
{
    if (!s.len) return false;
    bool is_alone = s.len == 1 || s.ptr[1] == '\0';
    *out = (struct bound){.member = {s.ptr + 1, s.len - 1}};
    switch (s.ptr[0]) {
    case '-': out->end = END_LOWEST; return is_alone;
    case '+': out->end = END_HIGHEST; return is_alone;
    case '(': out->is_exclusive = true; return true;
    case '[': return true;
    default: return false;
    }
}

// Replies the error and returns false if the arguments are no such range.
static bool parse_range(struct ctx *ctx, enum by by, int min, int max, struct range *out)
{
    *out = (struct range){.by = by};
    if (by == BY_RANK)
        return ctx_arg_i64(ctx, min, &out->min.rank, NULL) &&
               ctx_arg_i64(ctx, max, &out->max.rank, NULL);
    bool (*parse)(struct slice s, struct bound * out) =
        by == BY_SCORE ? parse_score_bound : parse_lex_bound;
    if (parse(ctx->argv[min], &out->min) && parse(ctx->argv[max], &out->max)) return true;
    reply_error(ctx->reply, by == BY_SCORE ? "ERR min or max is not a float"
                                           : "ERR min or max not valid string range item");
    return false;
}

// --- ranges to ranks -----------------------------------------------------------------------------

static struct ranks ranks_between(uint64_t begin, uint64_t end)
{
    return (struct ranks){begin, end > begin ? end - begin : 0};
}

static struct ranks ranks_of_ranks(const struct range *r, int64_t len, bool is_reverse)
{
    int64_t start = r->min.rank, stop = r->max.rank;
    if (start < 0) start = MAX(start + len, 0);
    if (stop < 0) stop += len;
    stop = MIN(stop, len - 1);
    if (start > stop) return (struct ranks){0, 0};
    uint64_t count = (uint64_t)(stop - start + 1);
    return (struct ranks){(uint64_t)(is_reverse ? len - 1 - stop : start), count};
}

// How many members stand before this end of the range.
static uint64_t before_bound(struct value v, const struct bound *b, bool with_equal)
{
    switch (b->end) {
    case END_LOWEST: return 0;
    case END_HIGHEST: return zset_len(v);
    default: return zset_count_below_lex(v, b->member, with_equal);
    }
}

static struct ranks range_ranks(const struct range *r, struct value v, bool is_reverse)
{
    bool is_from_behind = r->min.is_exclusive, is_to_behind = !r->max.is_exclusive;
    if (r->by == BY_RANK) return ranks_of_ranks(r, (int64_t)zset_len(v), is_reverse);
    if (r->by == BY_SCORE)
        return ranks_between(zset_count_below(v, r->min.score, is_from_behind),
                             zset_count_below(v, r->max.score, is_to_behind));
    return ranks_between(before_bound(v, &r->min, is_from_behind),
                         before_bound(v, &r->max, is_to_behind));
}

// LIMIT: a negative offset leaves nothing, a negative count takes all that is left.
static struct ranks limit(struct ranks r, int64_t offset, int64_t count, bool is_reverse)
{
    if (offset < 0 || (uint64_t)offset >= r.count) return (struct ranks){0, 0};
    if (!is_reverse) r.first += (uint64_t)offset;
    r.count -= (uint64_t)offset;
    uint64_t wanted = count < 0 ? r.count : MIN((uint64_t)count, r.count);
    if (is_reverse) r.first += r.count - wanted;
    r.count = wanted;
    return r;
}

// --- ZRANGE and its older forms ------------------------------------------------------------------

struct query {
    struct range range;
    bool is_reverse, has_scores, has_limit;
    int64_t offset, count; // of LIMIT
};

// What the command's name leaves open (BY_ANY, not is_fixed) the options may say, once.
static bool parse_query_options(struct ctx *ctx, int first, bool is_fixed, bool is_store,
                                struct query *q)
{
    for (int i = first; i < ctx->argc; i++) {
        if (!is_store && ctx_arg_is(ctx, i, "WITHSCORES")) {
            q->has_scores = true;
        } else if (ctx_arg_is(ctx, i, "LIMIT") && i + 2 < ctx->argc) {
            q->has_limit = true;
            if (!ctx_arg_i64(ctx, i + 1, &q->offset, NULL)) return false;
            if (!ctx_arg_i64(ctx, i + 2, &q->count, NULL)) return false;
            i += 2;
        } else if (!is_fixed && !q->is_reverse && ctx_arg_is(ctx, i, "REV")) {
            q->is_reverse = true;
        } else if (q->range.by == BY_ANY && ctx_arg_is(ctx, i, "BYLEX")) {
            q->range.by = BY_LEX;
        } else if (q->range.by == BY_ANY && ctx_arg_is(ctx, i, "BYSCORE")) {
            q->range.by = BY_SCORE;
        } else {
            reply_error(ctx->reply, ERR_SYNTAX);
            return false;
        }
    }
    if (q->range.by == BY_ANY) q->range.by = BY_RANK;
    return true;
}

// Reads the range (two arguments from `first` on) and the options behind it. by, is_reverse: what
// the command's name says; is_fixed: no option may turn it around.
static bool parse_query(struct ctx *ctx, int first, enum by by, bool is_reverse, bool is_fixed,
                        bool is_store, struct query *q)
{
    *q = (struct query){.range.by = by, .is_reverse = is_reverse};
    if (!parse_query_options(ctx, first + 2, is_fixed, is_store, q)) return false;
    by = q->range.by;
    if (q->has_limit && q->count != -1 && by == BY_RANK) { // Redis takes -1 for "no LIMIT"
        reply_error(ctx->reply, "ERR syntax error, LIMIT is only supported in combination with "
                                "either BYSCORE or BYLEX");
        return false;
    }
    if (q->has_scores && by == BY_LEX) {
        reply_error(ctx->reply,
                    "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
        return false;
    }
    bool is_swapped = q->is_reverse && by != BY_RANK;
    return parse_range(ctx, by, first + is_swapped, first + !is_swapped, &q->range);
}

static struct ranks query_ranks(const struct query *q, struct value v)
{
    struct ranks r = range_ranks(&q->range, v, q->is_reverse);
    bool is_limited = q->has_limit && q->range.by != BY_RANK;
    return is_limited ? limit(r, q->offset, q->count, q->is_reverse) : r;
}

static void query(struct ctx *ctx, enum by by, bool is_reverse, bool is_fixed)
{
    struct query q;
    struct entry *e;
    if (!parse_query(ctx, 2, by, is_reverse, is_fixed, false, &q)) return;
    if (!ctx_read_as(ctx, ctx->argv[1], TYPE_ZSET, &e)) return;
    if (!e) {
        reply_array(ctx->reply, 0);
        return;
    }
    struct ranks r = query_ranks(&q, e->value);
    zset_reply_ranks(ctx->reply, zset_shape_of(ctx->reply, q.has_scores), e->value, r.first,
                     r.count, q.is_reverse);
}

static void zrange(struct ctx *ctx)
{
    query(ctx, BY_ANY, false, false);
}

static void zrevrange(struct ctx *ctx)
{
    query(ctx, BY_RANK, true, true);
}

static void zrangebyscore(struct ctx *ctx)
{
    query(ctx, BY_SCORE, false, true);
}

static void zrevrangebyscore(struct ctx *ctx)
{
    query(ctx, BY_SCORE, true, true);
}

static void zrangebylex(struct ctx *ctx)
{
    query(ctx, BY_LEX, false, true);
}

static void zrevrangebylex(struct ctx *ctx)
{
    query(ctx, BY_LEX, true, true);
}

// What the query finds, as a value of its own. It grows as Redis's does: in the order of the query,
// and from a small one unless the range of ranks says how many there will be. (Who looks closely
// sees it in the sign of a zero score, which survives only in a big one.)
static struct value copy_found(struct value from, const struct query *q,
                               const struct value_limits *limits)
{
    struct ranks r = query_ranks(q, from);
    struct value to = zset_new_for(q->range.by == BY_RANK ? r.count : 0, 0, limits);
    struct zset_iter it;
    struct item member;
    double score;
    if (!r.count) return to;
    zset_iter_init(&it, from, q->is_reverse ? r.first + r.count - 1 : r.first, q->is_reverse);
    while (r.count-- && zset_iter_next(&it, &member, &score)) {
        char scratch[NUM_I64_TEXT];
        zset_set(&to, item_slice(&member, scratch), score, limits);
    }
    return to;
}

static void zrangestore(struct ctx *ctx)
{
    struct query q;
    struct entry *e;
    if (!parse_query(ctx, 3, BY_ANY, false, false, true, &q)) return;
    if (!ctx_read_as(ctx, ctx->argv[2], TYPE_ZSET, &e)) return;
    struct value v = e ? copy_found(e->value, &q, &ctx->settings->limits) : zset_new();
    reply_int(ctx->reply, (int64_t)zset_store(ctx, ctx->argv[1], v, "zrangestore"));
}

// --- counting and removing -----------------------------------------------------------------------

static void count(struct ctx *ctx, enum by by)
{
    struct range range;
    struct entry *e;
    if (!parse_range(ctx, by, 2, 3, &range)) return;
    if (!ctx_read_as(ctx, ctx->argv[1], TYPE_ZSET, &e)) return;
    reply_int(ctx->reply, e ? (int64_t)range_ranks(&range, e->value, false).count : 0);
}

static void zcount(struct ctx *ctx)
{
    count(ctx, BY_SCORE);
}

static void zlexcount(struct ctx *ctx)
{
    count(ctx, BY_LEX);
}

static void remove_range(struct ctx *ctx, enum by by, const char *event)
{
    struct slice key = ctx->argv[1];
    struct range range;
    struct entry *e;
    if (!parse_range(ctx, by, 2, 3, &range)) return;
    if (!ctx_write_as(ctx, key, TYPE_ZSET, &e)) return;
    struct ranks r = {0, 0};
    if (e) r = range_ranks(&range, e->value, false);
    if (r.count) {
        bool is_all = r.count == zset_len(e->value);
        zset_remove_ranks(&e->value, r.first, r.count);
        ctx_commit_removal(ctx, key, e, EVENT_ZSET, event, is_all);
    }
    reply_int(ctx->reply, (int64_t)r.count);
}

static void zremrangebyrank(struct ctx *ctx)
{
    remove_range(ctx, BY_RANK, "zremrangebyrank");
}

static void zremrangebyscore(struct ctx *ctx)
{
    remove_range(ctx, BY_SCORE, "zremrangebyscore");
}

static void zremrangebylex(struct ctx *ctx)
{
    remove_range(ctx, BY_LEX, "zremrangebylex");
}

// --- declarations --------------------------------------------------------------------------------

#define RETURNED "O(log N + M) with N the number of members and M of those returned"
#define REMOVED  "O(log N + M) with N the number of members and M of those removed"

// clang-format off
const struct command commands_zset_range[] = {
    {.name = "zrange", .handler = zrange, .arity = -4, .flags = CMD_READONLY, .acl = ACL_SORTEDSET,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "sorted-set", .since = "1.2.0",
     .complexity = RETURNED,
     .summary = "Returns the members in a range of ranks, scores or strings.",
     .args = "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
     .history = "6.2.0: Added the options `REV`, `BYSCORE`, `BYLEX` and `LIMIT`."},

    {.name = "zrangestore", .handler = zrangestore, .arity = -5, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_SORTEDSET,
     .keys = {KEYS(1, 1, 1, KEY_OW | KEY_UPDATE), KEYS(2, 2, 1, KEY_RO | KEY_ACCESS)},
     .group = "sorted-set", .since = "6.2.0",
     .complexity = "O(log N + M) with N the number of members and M of those stored",
     .summary = "Stores the members in a range of ranks, scores or strings at another key.",
     .args = "dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]"},

    {.name = "zrangebyscore", .handler = zrangebyscore, .arity = -4, .flags = CMD_READONLY,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "sorted-set",
     .since = "1.0.5", .complexity = RETURNED,
     .summary = "Returns the members with scores in a range.",
     .args = "key min:double max:double [WITHSCORES] [LIMIT offset count]",
     .history = "2.0.0: Added the option `WITHSCORES`.",
     .deprecated = "6.2.0: `ZRANGE` with the `BYSCORE` argument"},

    {.name = "zrevrangebyscore", .handler = zrevrangebyscore, .arity = -4, .flags = CMD_READONLY,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "sorted-set",
     .since = "2.2.0", .complexity = RETURNED,
     .summary = "Returns the members with scores in a range, the highest first.",
     .args = "key max:double min:double [WITHSCORES] [LIMIT offset count]",
     .history = "2.1.6: `min` and `max` may be exclusive.",
     .deprecated = "6.2.0: `ZRANGE` with the `REV` and `BYSCORE` arguments"},

    {.name = "zrangebylex", .handler = zrangebylex, .arity = -4, .flags = CMD_READONLY,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "sorted-set",
     .since = "2.8.9", .complexity = RETURNED,
     .summary = "Returns the members in a range of strings, for members that have one score.",
     .args = "key min max [LIMIT offset count]",
     .deprecated = "6.2.0: `ZRANGE` with the `BYLEX` argument"},

    {.name = "zrevrangebylex", .handler = zrevrangebylex, .arity = -4, .flags = CMD_READONLY,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "sorted-set",
     .since = "2.8.9", .complexity = RETURNED,
     .summary = "Returns the members in a range of strings, the last first, for members that have "
                "one score.",
     .args = "key max min [LIMIT offset count]",
     .deprecated = "6.2.0: `ZRANGE` with the `REV` and `BYLEX` arguments"},

    {.name = "zrevrange", .handler = zrevrange, .arity = -4, .flags = CMD_READONLY,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "sorted-set",
     .since = "1.2.0", .complexity = RETURNED,
     .summary = "Returns the members in a range of ranks, the highest score first.",
     .args = "key start:integer stop:integer [WITHSCORES]",
     .deprecated = "6.2.0: `ZRANGE` with the `REV` argument"},

    {.name = "zcount", .handler = zcount, .arity = 4, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "sorted-set",
     .since = "2.0.0", .complexity = "O(log N) with N the number of members",
     .summary = "Counts the members with scores in a range.",
     .args = "key min:double max:double"},

    {.name = "zlexcount", .handler = zlexcount, .arity = 4, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "sorted-set",
     .since = "2.8.9", .complexity = "O(log N) with N the number of members",
     .summary = "Counts the members in a range of strings, for members that have one score.",
     .args = "key min max"},

    {.name = "zremrangebyrank", .handler = zremrangebyrank, .arity = 4, .flags = CMD_WRITE,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_DELETE)}, .group = "sorted-set",
     .since = "2.0.0", .complexity = REMOVED,
     .summary = "Removes the members in a range of ranks. Deletes the key with the last one.",
     .args = "key start:integer stop:integer"},

    {.name = "zremrangebyscore", .handler = zremrangebyscore, .arity = 4, .flags = CMD_WRITE,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_DELETE)}, .group = "sorted-set",
     .since = "1.2.0", .complexity = REMOVED,
     .summary = "Removes the members with scores in a range. Deletes the key with the last one.",
     .args = "key min:double max:double"},

    {.name = "zremrangebylex", .handler = zremrangebylex, .arity = 4, .flags = CMD_WRITE,
     .acl = ACL_SORTEDSET, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_DELETE)}, .group = "sorted-set",
     .since = "2.8.9", .complexity = REMOVED,
     .summary = "Removes the members in a range of strings, for members that have one score. "
                "Deletes the key with the last one.",
     .args = "key min max"},

    {0},
};
// clang-format on
