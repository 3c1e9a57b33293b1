// SPDX-License-Identifier: BSD-3-Clause
//
// zset_algebra: unions, intersections and differences of sorted sets, replied, counted or stored.
// Sets may stand among the inputs: their members have the score 1.
//
//   union         walks over all inputs, the smallest first, and keeps what it has found in a table
//   intersection  walks over the smallest input and looks each member up in the others
//   difference    walks over the first input and looks each member up in the others; if those are
//                 many and small, in a table of all their members
//
// What comes out is a list of items, which is sorted at the end and replied, or handed over to a
// new sorted set as it is. Scores are added in the order in which Redis adds them (the inputs
// sorted by size), so that sums agree to the last digit.
#include <math.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "commands/families.h"
#include "commands/zset.h"
#include "engine/settings.h"
#include "types/set.h"

enum operation { UNION, INTER, DIFF };
enum aggregate { SUM, MINIMUM, MAXIMUM };

struct input {
    const struct entry *e; // NULL: no such key
    uint64_t len;
    double weight;
};

struct query {
    enum operation operation;
    enum aggregate aggregate;
    bool has_scores;  // WITHSCORES
    int64_t limit;    // of ZINTERCARD; 0: none
    size_t count;     // inputs
    struct input *in; // owned
};

// What comes out.
struct result {
    struct btree_key *keys; // owned array; the items belong to the result until they are handed on
    size_t count, cap;
    struct dict members; // unions: all items, by member
};

// --- inputs --------------------------------------------------------------------------------------

static uint64_t entry_len(const struct entry *e)
{
    if (!e) return 0;
    return e->type == TYPE_SET ? set_len(e->value) : zset_len(e->value);
}

// Looks up the keys from argument `first` on. False: one is of another type, which has been
// replied.
static bool read_inputs(struct ctx *ctx, int first, struct query *q)
{
    q->in = mem_alloc(q->count * sizeof *q->in);
    for (size_t i = 0; i < q->count; i++) {
        const struct entry *e = ctx_read(ctx, ctx->argv[first + (int)i]);
        if (e && e->type != TYPE_SET && e->type != TYPE_ZSET) {
            reply_error(ctx->reply, ERR_WRONGTYPE);
            return false;
        }
        q->in[i] = (struct input){e, entry_len(e), 1};
    }
    return true;
}

static bool input_find(const struct input *in, struct slice member, double *score)
{
    *score = 1;
    if (!in->e) return false;
    if (in->e->type == TYPE_SET) return set_has(in->e->value, member);
    return zset_score(in->e->value, member, score);
}

struct walk {
    bool is_set;
    struct set_iter set;
    struct zset_iter zset;
};

static void walk_begin(struct walk *w, const struct input *in)
{
    *w = (struct walk){.is_set = in->e->type == TYPE_SET};
    if (w->is_set)
        set_iter_init(&w->set, in->e->value);
    else
        zset_iter_init(&w->zset, in->e->value, 0, false);
}

static bool walk_next(struct walk *w, struct item *member, double *score)
{
    *score = 1;
    return w->is_set ? set_iter_next(&w->set, member) : zset_iter_next(&w->zset, member, score);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = ((const struct input *)a)->len, y = ((const struct input *)b)->len;
    return x < y ? -1 : x > y;
}

// The smallest first; equal ones stay in their order (the C library's sort is stable for so few).
static void sort_inputs(struct query *q)
{
    qsort(q->in, q->count, sizeof *q->in, by_size);
}

// --- scores --------------------------------------------------------------------------------------

static double number(double score)
{
    return isnan(score) ? 0 : score;
}

static double weighted(const struct input *in, double score)
{
    return number(in->weight * score);
}

static double combine(enum aggregate how, double a, double b)
{
    switch (how) {
    case MINIMUM: return b < a ? b : a;
    case MAXIMUM: return b > a ? b : a;
    default: return number(a + b); // inf - inf
    }
}

// --- results -------------------------------------------------------------------------------------

static uint64_t item_hash(const void *item)
{
    return hash_bytes(btree_item_slice(item));
}

static bool item_matches(const void *item, const void *member)
{
    return slice_eq(btree_item_slice(item), *(const struct slice *)member);
}

static struct btree_item *result_put(struct result *r, struct slice member, double score)
{
    if (r->count == r->cap) {
        r->cap = MAX(r->cap * 2, (size_t)16);
        r->keys = mem_realloc(r->keys, r->cap * sizeof *r->keys);
    }
    struct btree_item *item = zset_item_new(member, score);
    r->keys[r->count++] = (struct btree_key){score, item};
    return item;
}

static void result_free(struct result *r)
{
    for (size_t i = 0; i < r->count; i++) mem_free(r->keys[i].item);
    dict_free(&r->members);
    mem_free(r->keys);
}

static void unite_input(struct result *r, const struct input *in, enum aggregate how)
{
    char scratch[NUM_I64_TEXT];
    struct walk w;
    struct item found;
    double score;
    if (!in->len) return;
    walk_begin(&w, in);
    while (walk_next(&w, &found, &score)) {
        struct slice member = item_slice(&found, scratch);
        uint64_t hash = hash_bytes(member);
        struct btree_item *item = dict_find(&r->members, hash, item_matches, &member);
        score = weighted(in, score);
        if (item)
            item->score = combine(how, item->score, score);
        else
            dict_insert(&r->members, hash, result_put(r, member, score));
    }
}

static void unite(struct result *r, const struct query *q)
{
    for (size_t i = 0; i < q->count; i++) unite_input(r, &q->in[i], q->aggregate);
    for (size_t i = 0; i < r->count; i++) r->keys[i].score = r->keys[i].item->score;
}

// Is the member in all inputs but the first? *score: of the first, and what comes of it.
static bool is_in_all(const struct query *q, struct slice member, double *score)
{
    for (size_t i = 1; i < q->count; i++) {
        double other;
        if (!input_find(&q->in[i], member, &other)) return false;
        *score = combine(q->aggregate, *score, other * q->in[i].weight);
    }
    return true;
}

static void intersect(struct result *r, const struct query *q)
{
    char scratch[NUM_I64_TEXT];
    struct walk w;
    struct item found;
    double score;
    if (!q->in[0].len) return;
    walk_begin(&w, &q->in[0]);
    while (walk_next(&w, &found, &score)) {
        struct slice member = item_slice(&found, scratch);
        score = weighted(&q->in[0], score);
        if (is_in_all(q, member, &score)) result_put(r, member, score);
    }
}

static uint64_t intersection_size(const struct query *q)
{
    char scratch[NUM_I64_TEXT];
    struct walk w;
    struct item found;
    double score;
    uint64_t n = 0;
    if (!q->in[0].len) return 0;
    walk_begin(&w, &q->in[0]);
    while (walk_next(&w, &found, &score)) {
        n += is_in_all(q, item_slice(&found, scratch), &score);
        if (q->limit && n == (uint64_t)q->limit) break;
    }
    return n;
}

static bool is_in_any(const struct query *q, struct slice member)
{
    double score;
    for (size_t i = 1; i < q->count; i++)
        if (input_find(&q->in[i], member, &score)) return true;
    return false;
}

// Is it less work to put the members of all other inputs into a table than to look into each?
static bool is_table_better(const struct query *q)
{
    uint64_t others = 0;
    for (size_t i = 1; i < q->count; i++) others += q->in[i].len;
    return others / q->in[0].len < q->count - 2 && q->count > 2;
}

static void subtract(struct result *r, const struct query *q)
{
    char scratch[NUM_I64_TEXT];
    struct result others = {0};
    struct walk w;
    struct item found;
    double score;
    if (!q->in[0].len) return;
    bool has_table = is_table_better(q);
    dict_init(&others.members, item_hash);
    for (size_t i = 1; has_table && i < q->count; i++) unite_input(&others, &q->in[i], SUM);
    walk_begin(&w, &q->in[0]);
    while (walk_next(&w, &found, &score)) {
        struct slice member = item_slice(&found, scratch);
        bool is_out = has_table ? dict_find(&others.members, hash_bytes(member), item_matches,
                                            &member) != NULL
                                : is_in_any(q, member);
        if (!is_out) result_put(r, member, score);
    }
    result_free(&others);
}

static void compute(struct result *r, struct query *q)
{
    *r = (struct result){0};
    dict_init(&r->members, item_hash);
    if (q->operation != DIFF) sort_inputs(q);
    switch (q->operation) {
    case UNION: unite(r, q); break;
    case INTER: intersect(r, q); break;
    case DIFF: subtract(r, q); break;
    }
    // What was walked in order is in order.
    if (q->operation != DIFF || (q->in[0].len && q->in[0].e->type == TYPE_SET))
        zset_sort_items(r->keys, r->count);
}

// --- reading the command -------------------------------------------------------------------------

static bool parse_weights(struct ctx *ctx, int first, struct query *q)
{
    for (size_t i = 0; i < q->count; i++) {
        if (zset_parse_score(ctx->argv[first + (int)i], &q->in[i].weight)) continue;
        reply_error(ctx->reply, "ERR weight value is not a float");
        return false;
    }
    return true;
}

static bool parse_aggregate(struct ctx *ctx, int arg, struct query *q)
{
    static const char *const words[] = {[SUM] = "SUM", [MINIMUM] = "MIN", [MAXIMUM] = "MAX"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!ctx_arg_is(ctx, arg, words[i])) continue;
        q->aggregate = (enum aggregate)i;
        return true;
    }
    reply_error(ctx->reply, ERR_SYNTAX);
    return false;
}

// Which options a command has.
enum options {
    OPTS_SCORES = 1u << 0, // WEIGHTS, AGGREGATE
    OPT_WITHSCORES = 1u << 1,
    OPT_LIMIT = 1u << 2,
};

static bool parse_options(struct ctx *ctx, int first, unsigned options, struct query *q)
{
    for (int i = first; i < ctx->argc; i++) {
        int left = ctx->argc - i - 1; // arguments behind this one
        bool is_good = true;
        if (options & OPTS_SCORES && (size_t)left >= q->count && ctx_arg_is(ctx, i, "WEIGHTS")) {
            is_good = parse_weights(ctx, i + 1, q);
            i += (int)q->count;
        } else if (options & OPTS_SCORES && left && ctx_arg_is(ctx, i, "AGGREGATE")) {
            is_good = parse_aggregate(ctx, ++i, q);
        } else if (options & OPT_WITHSCORES && ctx_arg_is(ctx, i, "WITHSCORES")) {
            q->has_scores = true;
        } else if (options & OPT_LIMIT && left && ctx_arg_is(ctx, i, "LIMIT")) {
            is_good =
                ctx_arg_range(ctx, ++i, 0, INT64_MAX, &q->limit, "ERR LIMIT can't be negative");
        } else {
            reply_error(ctx->reply, ERR_SYNTAX);
            is_good = false;
        }
        if (!is_good) return false;
    }
    return true;
}

// Reads all from the argument with the number of keys on. False: an error was replied. Else free
// q->in.
static bool parse_query(struct ctx *ctx, int numkeys_arg, enum operation operation,
                        unsigned options, struct query *q)
{
    int64_t keys;
    *q = (struct query){.operation = operation};
    if (!ctx_arg_i64(ctx, numkeys_arg, &keys, NULL)) return false;
    if (keys < 1) {
        reply_errorf(ctx->reply, "ERR at least 1 input key is needed for '%s' command",
                     ctx->cmd->full_name);
        return false;
    }
    int first = numkeys_arg + 1;
    if (keys > ctx->argc - first) {
        reply_error(ctx->reply, ERR_SYNTAX);
        return false;
    }
    q->count = (size_t)keys;
    if (read_inputs(ctx, first, q) && parse_options(ctx, first + (int)keys, options, q))
        return true;
    mem_free(q->in);
    return false;
}

// --- handlers ------------------------------------------------------------------------------------

static void reply_result(struct ctx *ctx, enum operation operation)
{
    struct query q;
    struct result r;
    unsigned options = operation == DIFF ? OPT_WITHSCORES : OPTS_SCORES | OPT_WITHSCORES;
    if (!parse_query(ctx, 1, operation, options, &q)) return;
    compute(&r, &q);
    enum zset_shape shape = zset_shape_of(ctx->reply, q.has_scores);
    zset_reply_header(ctx->reply, shape, r.count);
    for (size_t i = 0; i < r.count; i++) {
        struct item member = item_of(btree_item_slice(r.keys[i].item));
        zset_reply_member(ctx->reply, shape, &member, r.keys[i].score);
    }
    result_free(&r);
    mem_free(q.in);
}

static void store_result(struct ctx *ctx, enum operation operation, const char *event)
{
    struct query q;
    struct result r;
    if (!parse_query(ctx, 2, operation, operation == DIFF ? 0 : OPTS_SCORES, &q)) return;
    compute(&r, &q);
    struct dict *members = r.members.count ? &r.members : NULL;
    struct value v = zset_of_items(r.keys, r.count, members, &ctx->settings->limits);
    r.count = 0; // the items are handed on
    reply_int(ctx->reply, (int64_t)zset_store(ctx, ctx->argv[1], v, event));
    result_free(&r);
    mem_free(q.in);
}

static void zunion(struct ctx *ctx)
{
    reply_result(ctx, UNION);
}

static void zinter(struct ctx *ctx)
{
    reply_result(ctx, INTER);
}

static void zdiff(struct ctx *ctx)
{
    reply_result(ctx, DIFF);
}

static void zunionstore(struct ctx *ctx)
{
    store_result(ctx, UNION, "zunionstore");
}

static void zinterstore(struct ctx *ctx)
{
    store_result(ctx, INTER, "zinterstore");
}

static void zdiffstore(struct ctx *ctx)
{
    store_result(ctx, DIFF, "zdiffstore");
}

static void zintercard(struct ctx *ctx)
{
    struct query q;
    if (!parse_query(ctx, 1, INTER, OPT_LIMIT, &q)) return;
    sort_inputs(&q);
    reply_int(ctx->reply, (int64_t)intersection_size(&q));
    mem_free(q.in);
}

// --- declarations --------------------------------------------------------------------------------

#define UNION_COST                                                                                 \
    "O(N + M log M) with N the number of members of all inputs and M of those that "               \
    "come out"
#define INTER_COST                                                                                 \
    "O(N * K + M log M) with N the number of members of the smallest of K inputs "                 \
    "and M of those that come out"
#define DIFF_COST "O(L + N log N) with L the number of members of all inputs and N of the first"

// "numkeys key …" at an argument.
#define NUMKEYS(at)                                                                                \
    {                                                                                              \
        .flags = KEY_RO | KEY_ACCESS, .begin = (at), .is_keynum = true, .first = 1, .step = 1      \
    }

// clang-format off
const struct command commands_zset_algebra[] = {
    {.name = "zunion", .handler = zunion, .arity = -3, .flags = CMD_READONLY | CMD_MOVABLE_KEYS,
     .acl = ACL_SORTEDSET, .span = SPAN_GATHER, .keys = {NUMKEYS(1)}, .group = "sorted-set",
     .since = "6.2.0", .complexity = UNION_COST,
     .summary = "Returns the members of any of several sorted sets.",
     .args = "numkeys key... [WEIGHTS weight...] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]"},

    {.name = "zinter", .handler = zinter, .arity = -3, .flags = CMD_READONLY | CMD_MOVABLE_KEYS,
     .acl = ACL_SORTEDSET, .keys = {NUMKEYS(1)}, .group = "sorted-set", .since = "6.2.0",
     .complexity = INTER_COST,
     .summary = "Returns the members that several sorted sets have in common.",
     .args = "numkeys key... [WEIGHTS weight...] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]"},

    {.name = "zdiff", .handler = zdiff, .arity = -3, .flags = CMD_READONLY | CMD_MOVABLE_KEYS,
     .acl = ACL_SORTEDSET, .span = SPAN_GATHER, .keys = {NUMKEYS(1)}, .group = "sorted-set",
     .since = "6.2.0", .complexity = DIFF_COST,
     .summary = "Returns the members of the first sorted set that are in none of the others.",
     .args = "numkeys key... [WITHSCORES]"},

    {.name = "zintercard", .handler = zintercard, .arity = -3,
     .flags = CMD_READONLY | CMD_MOVABLE_KEYS, .acl = ACL_SORTEDSET, .keys = {NUMKEYS(1)},
     .group = "sorted-set", .since = "7.0.0",
     .complexity = "O(N * K) with N the number of members of the smallest of K inputs",
     .summary = "Counts the members that several sorted sets have in common.",
     .args = "numkeys key... [LIMIT limit]"},

    {.name = "zunionstore", .handler = zunionstore, .arity = -4,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_MOVABLE_KEYS, .acl = ACL_SORTEDSET,
     .keys = {KEYS(1, 1, 1, KEY_OW | KEY_UPDATE), NUMKEYS(2)}, .group = "sorted-set",
     .since = "2.0.0", .complexity = UNION_COST,
     .summary = "Stores the members of any of several sorted sets at a key.",
     .args = "destination numkeys key... [WEIGHTS weight...] [AGGREGATE <SUM | MIN | MAX>]"},

    {.name = "zinterstore", .handler = zinterstore, .arity = -4,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_MOVABLE_KEYS, .acl = ACL_SORTEDSET,
     .keys = {KEYS(1, 1, 1, KEY_OW | KEY_UPDATE), NUMKEYS(2)}, .group = "sorted-set",
     .since = "2.0.0", .complexity = INTER_COST,
     .summary = "Stores the members that several sorted sets have in common at a key.",
     .args = "destination numkeys key... [WEIGHTS weight...] [AGGREGATE <SUM | MIN | MAX>]"},

    {.name = "zdiffstore", .handler = zdiffstore, .arity = -4,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_MOVABLE_KEYS, .acl = ACL_SORTEDSET,
     .keys = {KEYS(1, 1, 1, KEY_OW | KEY_UPDATE), NUMKEYS(2)}, .group = "sorted-set",
     .since = "6.2.0", .complexity = DIFF_COST,
     .summary = "Stores the members of the first sorted set that are in none of the others at a "
                "key.",
     .args = "destination numkeys key..."},

    {0},
};
// clang-format on
