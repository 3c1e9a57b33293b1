// SPDX-License-Identifier: BSD-3-Clause
//
// geo_search: GEOSEARCH, GEOSEARCHSTORE and the older GEORADIUS family: members of a geo index
// within a circle or a box.
//
// A search walks over the intervals of scores that can hold what it is after (geo_shape_ranges) and
// keeps what lies within. Only then it sorts, cuts to COUNT, and replies or stores. With ANY it
// stops as soon as it has COUNT members.
//
// The two families have different words for the same query (struct query); what differs is how they
// say the centre, the shape and where to store.
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "commands/families.h"
#include "commands/geo.h"
#include "commands/zset.h"
#include "engine/settings.h"

enum kind {
    KIND_SEARCH = 1u << 0,    // GEOSEARCH, GEOSEARCHSTORE
    KIND_STORE = 1u << 1,     // GEOSEARCHSTORE, or a GEORADIUS that has STORE
    KIND_BY_MEMBER = 1u << 2, // GEORADIUSBYMEMBER
};

enum order { ORDER_NONE, ORDER_ASC, ORDER_DESC };

struct query {
    struct entry *e; // NULL: no such key
    struct geo_shape shape;
    double unit_m; // of the distances that are replied
    enum order order;
    int64_t count; // 0: all
    bool is_any, has_dist, has_hash, has_coord;
    bool has_store, is_store_dist; // is_store_dist: the scores are the distances
    struct slice store;
    bool has_member, has_point, has_circle, has_box; // said by options
};

struct found {
    struct item member;
    double score, distance_m;
    struct geo_point point;
};

// --- searching -----------------------------------------------------------------------------------

static size_t found_count(const struct buf *found)
{
    return found->len / sizeof(struct found);
}

static struct found *found_at(const struct buf *found)
{
    return (struct found *)(void *)found->ptr;
}

// `limit`: enough of them; 0: all.
static void search_range(const struct query *q, struct geo_range range, size_t limit,
                         struct buf *found)
{
    struct value v = q->e->value;
    uint64_t first = zset_count_below(v, range.min, false);
    struct zset_iter it;
    struct found f;
    zset_iter_init(&it, v, first, false);
    while (zset_iter_next(&it, &f.member, &f.score) && f.score < range.max) {
        f.point = geohash_decode(f.score);
        if (!geo_shape_contains(&q->shape, f.point, &f.distance_m)) continue;
        buf_append(found, &f, sizeof f);
        if (limit && found_count(found) >= limit) break;
    }
}

static void search(const struct query *q, struct buf *found)
{
    struct geo_range ranges[GEO_CELLS_MAX];
    uint32_t n = geo_shape_ranges(&q->shape, ranges);
    size_t limit = q->is_any ? (size_t)q->count : 0;
    for (uint32_t i = 0; i < n; i++) {
        if (limit && found_count(found) >= limit) break;
        search_range(q, ranges[i], limit, found);
    }
}

static int nearest_first(const void *a, const void *b)
{
    double x = ((const struct found *)a)->distance_m, y = ((const struct found *)b)->distance_m;
    return x < y ? -1 : x > y;
}

static int farthest_first(const void *a, const void *b)
{
    return nearest_first(b, a);
}

// COUNT without an order means the nearest, unless any will do.
static enum order order_of(const struct query *q)
{
    return q->count && q->order == ORDER_NONE && !q->is_any ? ORDER_ASC : q->order;
}

// Sorts, and returns how many are wanted.
static size_t arrange(const struct query *q, struct buf *found)
{
    size_t n = found_count(found);
    enum order order = order_of(q);
    if (order != ORDER_NONE && n)
        qsort(found->ptr, n, sizeof(struct found),
              order == ORDER_ASC ? nearest_first : farthest_first);
    return q->count ? MIN(n, (size_t)q->count) : n;
}

// --- replying and storing ------------------------------------------------------------------------

static void reply_one(struct reply *r, const struct query *q, const struct found *f)
{
    size_t more = (size_t)q->has_dist + q->has_hash + q->has_coord;
    if (more) reply_array(r, more + 1);
    zset_reply_member(r, ZSET_MEMBERS, &f->member, 0);
    if (q->has_dist) geo_reply_distance(r, f->distance_m / q->unit_m);
    if (q->has_hash) reply_int(r, (int64_t)f->score);
    if (q->has_coord) geo_reply_point(r, f->point);
}

static void reply_found(struct ctx *ctx, const struct query *q, const struct found *found, size_t n)
{
    reply_array(ctx->reply, n);
    for (size_t i = 0; i < n; i++) reply_one(ctx->reply, q, &found[i]);
}

// The found members belong to the source, which may be the destination: the new value is complete
// before anything is stored.
static void store_found(struct ctx *ctx, const struct query *q, const struct found *found, size_t n,
                        const char *event)
{
    struct buf keys = {0};
    for (size_t i = 0; i < n; i++) {
        char scratch[NUM_I64_TEXT];
        double score = q->is_store_dist ? found[i].distance_m / q->unit_m : found[i].score;
        struct btree_item *item = zset_item_new(item_slice(&found[i].member, scratch), score);
        buf_append(&keys, &(struct btree_key){score, item}, sizeof(struct btree_key));
    }
    struct btree_key *items = (struct btree_key *)(void *)keys.ptr;
    zset_sort_items(items, n);
    struct value v = zset_of_items(items, n, NULL, &ctx->settings->limits);
    buf_free(&keys);
    reply_int(ctx->reply, (int64_t)zset_store(ctx, q->store, v, event));
}

static void run(struct ctx *ctx, const struct query *q, const char *event)
{
    struct buf found = {0};
    size_t n = 0;
    if (q->e) {
        search(q, &found);
        n = arrange(q, &found);
    }
    if (q->has_store)
        store_found(ctx, q, found_at(&found), n, event);
    else
        reply_found(ctx, q, found_at(&found), n);
    buf_free(&found);
}

// --- reading arguments ---------------------------------------------------------------------------
// All reply the error and return false if something does not fit.

static bool parse_length(struct ctx *ctx, int arg, const char *error, double *out)
{
    if (zset_parse_score(ctx->argv[arg], out)) return true;
    reply_error(ctx->reply, error);
    return false;
}

static bool refuse_if(struct ctx *ctx, bool is_wrong, const char *error)
{
    if (is_wrong) reply_error(ctx->reply, error);
    return !is_wrong;
}

// radius unit
static bool parse_circle(struct ctx *ctx, int arg, struct query *q)
{
    double radius;
    if (!parse_length(ctx, arg, "ERR need numeric radius", &radius)) return false;
    if (!refuse_if(ctx, radius < 0, "ERR radius cannot be negative")) return false;
    if (!geo_parse_unit(ctx, arg + 1, &q->unit_m)) return false;
    q->shape.is_box = false;
    q->shape.radius_m = radius * q->unit_m;
    return q->has_circle = true;
}

// width height unit
static bool parse_box(struct ctx *ctx, int arg, struct query *q)
{
    double width, height;
    if (!parse_length(ctx, arg, "ERR need numeric width", &width)) return false;
    if (!parse_length(ctx, arg + 1, "ERR need numeric height", &height)) return false;
    if (!refuse_if(ctx, width < 0 || height < 0, "ERR height or width cannot be negative"))
        return false;
    if (!geo_parse_unit(ctx, arg + 2, &q->unit_m)) return false;
    q->shape.is_box = true;
    q->shape.width_m = width * q->unit_m;
    q->shape.height_m = height * q->unit_m;
    return q->has_box = true;
}

// A member as the centre; of a key that is not there any will do.
static bool parse_member(struct ctx *ctx, int arg, struct query *q)
{
    double score = 0;
    bool is_there = !q->e || zset_score(q->e->value, ctx->argv[arg], &score);
    if (!refuse_if(ctx, !is_there, "ERR could not decode requested zset member")) return false;
    q->shape.center = geohash_decode(score);
    return q->has_member = true;
}

static bool parse_point(struct ctx *ctx, int arg, struct query *q)
{
    if (!geo_parse_point(ctx, arg, &q->shape.center)) return false;
    return q->has_point = true;
}

static bool parse_count(struct ctx *ctx, int arg, struct query *q)
{
    return ctx_arg_i64(ctx, arg, &q->count, NULL) &&
           refuse_if(ctx, q->count <= 0, "ERR COUNT must be > 0");
}

static bool parse_store(struct ctx *ctx, int arg, bool is_dist, struct query *q)
{
    q->has_store = true;
    q->is_store_dist = is_dist;
    q->store = ctx->argv[arg];
    return true;
}

static bool syntax_error(struct ctx *ctx)
{
    reply_error(ctx->reply, ERR_SYNTAX);
    return false;
}

// An option that takes no arguments; false if it is none.
static bool parse_word(struct ctx *ctx, int arg, unsigned kind, struct query *q)
{
    if (ctx_arg_is(ctx, arg, "WITHDIST"))
        q->has_dist = true;
    else if (ctx_arg_is(ctx, arg, "WITHHASH"))
        q->has_hash = true;
    else if (ctx_arg_is(ctx, arg, "WITHCOORD"))
        q->has_coord = true;
    else if (ctx_arg_is(ctx, arg, "ANY"))
        q->is_any = true;
    else if (ctx_arg_is(ctx, arg, "ASC"))
        q->order = ORDER_ASC;
    else if (ctx_arg_is(ctx, arg, "DESC"))
        q->order = ORDER_DESC;
    else if (kind & KIND_SEARCH && kind & KIND_STORE && ctx_arg_is(ctx, arg, "STOREDIST"))
        q->is_store_dist = true;
    else
        return false;
    return true;
}

// The options of GEOSEARCH that take arguments; *taken: how many.
static bool parse_search_option(struct ctx *ctx, int i, struct query *q, int *taken)
{
    int left = ctx->argc - i - 1;
    if (left >= 1 && !q->has_point && ctx_arg_is(ctx, i, "FROMMEMBER")) {
        *taken = 1;
        return parse_member(ctx, i + 1, q);
    }
    if (left >= 2 && !q->has_member && ctx_arg_is(ctx, i, "FROMLONLAT")) {
        *taken = 2;
        return parse_point(ctx, i + 1, q);
    }
    if (left >= 2 && !q->has_box && ctx_arg_is(ctx, i, "BYRADIUS")) {
        *taken = 2;
        return parse_circle(ctx, i + 1, q);
    }
    if (left >= 3 && !q->has_circle && ctx_arg_is(ctx, i, "BYBOX")) {
        *taken = 3;
        return parse_box(ctx, i + 1, q);
    }
    return syntax_error(ctx);
}

static bool parse_options(struct ctx *ctx, int first, unsigned kind, struct query *q)
{
    for (int i = first; i < ctx->argc; i++) {
        bool has_next = i + 1 < ctx->argc, is_good;
        bool can_store = kind & KIND_STORE && !(kind & KIND_SEARCH) && has_next;
        int taken = 1;
        if (parse_word(ctx, i, kind, q)) continue;
        if (has_next && ctx_arg_is(ctx, i, "COUNT"))
            is_good = parse_count(ctx, i + 1, q);
        else if (can_store && ctx_arg_is(ctx, i, "STORE"))
            is_good = parse_store(ctx, i + 1, false, q);
        else if (can_store && ctx_arg_is(ctx, i, "STOREDIST"))
            is_good = parse_store(ctx, i + 1, true, q);
        else if (kind & KIND_SEARCH)
            is_good = parse_search_option(ctx, i, q, &taken);
        else
            is_good = syntax_error(ctx);
        if (!is_good) return false;
        i += taken;
    }
    return true;
}

// Do the options fit together?
static bool check_options(struct ctx *ctx, unsigned kind, const struct query *q)
{
    bool is_search = kind & KIND_SEARCH;
    if (q->has_store && (q->has_dist || q->has_hash || q->has_coord))
        reply_errorf(ctx->reply,
                     "ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
                     is_search ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS");
    else if (is_search && !q->has_member && !q->has_point)
        reply_errorf(ctx->reply,
                     "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for %.*s",
                     SLICE_ARG(ctx->argv[0]));
    else if (is_search && !q->has_circle && !q->has_box)
        reply_errorf(ctx->reply, "ERR exactly one of BYRADIUS and BYBOX can be specified for %.*s",
                     SLICE_ARG(ctx->argv[0]));
    else if (q->is_any && !q->count)
        reply_error(ctx->reply, "ERR the ANY argument requires COUNT argument");
    else
        return true;
    return false;
}

// --- handlers ------------------------------------------------------------------------------------

static void search_command(struct ctx *ctx, bool is_store)
{
    struct query q = {.unit_m = 1};
    unsigned kind = KIND_SEARCH | (is_store ? KIND_STORE : 0);
    if (!ctx_read_as(ctx, ctx->argv[is_store ? 2 : 1], TYPE_ZSET, &q.e)) return;
    if (is_store) parse_store(ctx, 1, false, &q);
    if (!parse_options(ctx, is_store ? 3 : 2, kind, &q)) return;
    if (check_options(ctx, kind, &q)) run(ctx, &q, "geosearchstore");
}

static void geosearch(struct ctx *ctx)
{
    search_command(ctx, false);
}

static void geosearchstore(struct ctx *ctx)
{
    search_command(ctx, true);
}

// The centre and the radius stand at fixed places. Of a key that is not there neither member nor
// radius is looked at.
static bool parse_radius(struct ctx *ctx, unsigned kind, struct query *q)
{
    if (!(kind & KIND_BY_MEMBER)) return parse_point(ctx, 2, q) && parse_circle(ctx, 4, q);
    return !q->e || (parse_member(ctx, 2, q) && parse_circle(ctx, 3, q));
}

static void radius_command(struct ctx *ctx, unsigned kind)
{
    struct query q = {.unit_m = 1};
    if (!ctx_read_as(ctx, ctx->argv[1], TYPE_ZSET, &q.e)) return;
    if (!parse_radius(ctx, kind, &q)) return;
    if (!parse_options(ctx, kind & KIND_BY_MEMBER ? 5 : 6, kind, &q)) return;
    if (check_options(ctx, kind, &q)) run(ctx, &q, "georadiusstore");
}

static void georadius(struct ctx *ctx)
{
    radius_command(ctx, KIND_STORE);
}

static void georadius_ro(struct ctx *ctx)
{
    radius_command(ctx, 0);
}

static void georadiusbymember(struct ctx *ctx)
{
    radius_command(ctx, KIND_STORE | KIND_BY_MEMBER);
}

static void georadiusbymember_ro(struct ctx *ctx)
{
    radius_command(ctx, KIND_BY_MEMBER);
}

// The source, and what is stored to: of several STORE the last one holds, which no specification
// can say.
static int radius_keys(const struct command *c, int argc, const struct slice *argv, int *positions,
                       uint16_t *flags_out, int max)
{
    int at[2] = {1, 0}, n = 1;
    for (int i = c->keys[1].begin; i + 1 < argc; i++)
        if (slice_is(argv[i], "STORE") || slice_is(argv[i], "STOREDIST")) at[1] = ++i;
    if (at[1]) n = 2;
    for (int i = 0; i < n && i < max; i++) {
        positions[i] = at[i];
        if (flags_out) flags_out[i] = c->keys[i].flags;
    }
    return n;
}

// --- declarations --------------------------------------------------------------------------------

#define COST                                                                                       \
    "O(N + log M) with N the number of members in the nine cells around the shape and M "          \
    "of all members"
#define FROM     "<FROMMEMBER member | FROMLONLAT longitude latitude> "
#define BY       "<BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> "
#define COUNTED  "[COUNT count [ANY]] "
#define SHOWN    "[WITHCOORD] [WITHDIST] [WITHHASH] "
#define STORED   " [STORE key] [STOREDIST key]"
#define CASES    "7.0.0: Units may be in upper case."
#define OF_INDEX KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)
#define BEHIND(word, from)                                                                         \
    {                                                                                              \
        .flags = KEY_OW | KEY_UPDATE, .keyword = (word), .begin = (from), .step = 1                \
    }

// clang-format off
const struct command commands_geo_search[] = {
    {.name = "geosearch", .handler = geosearch, .arity = -7, .flags = CMD_READONLY,
     .acl = ACL_GEO, .keys = {OF_INDEX}, .group = "geo", .since = "6.2.0", .complexity = COST,
     .summary = "Returns the members within a circle or a box.",
     .args = "key " FROM BY "[ASC | DESC] " COUNTED SHOWN, .history = CASES},

    {.name = "geosearchstore", .handler = geosearchstore, .arity = -8,
     .flags = CMD_WRITE | CMD_DENYOOM, .acl = ACL_GEO,
     .keys = {KEYS(1, 1, 1, KEY_OW | KEY_UPDATE), KEYS(2, 2, 1, KEY_RO | KEY_ACCESS)},
     .group = "geo", .since = "6.2.0", .complexity = COST,
     .summary = "Stores the members within a circle or a box at another key.",
     .args = "destination source " FROM BY "[ASC | DESC] " COUNTED "[STOREDIST]",
     .history = CASES},

    {.name = "georadius", .handler = georadius, .arity = -6,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_MOVABLE_KEYS, .acl = ACL_GEO,
     .keys = {OF_INDEX, BEHIND("STORE", 6), BEHIND("STOREDIST", 6)}, .get_keys = radius_keys,
     .group = "geo", .since = "3.2.0", .complexity = COST,
     .summary = "Returns or stores the members within some distance of a point.",
     .args = "key longitude latitude radius <M | KM | FT | MI> " SHOWN COUNTED "[ASC | DESC]"
             STORED,
     .history = "6.2.0: Added the option `ANY` of `COUNT`.\n" CASES,
     .deprecated = "6.2.0: `GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument"},

    {.name = "georadius_ro", .handler = georadius_ro, .arity = -6, .flags = CMD_READONLY,
     .acl = ACL_GEO, .keys = {OF_INDEX}, .group = "geo", .since = "3.2.10", .complexity = COST,
     .summary = "Returns the members within some distance of a point.",
     .args = "key longitude latitude radius <M | KM | FT | MI> " SHOWN COUNTED "[ASC | DESC]",
     .history = "6.2.0: Added the option `ANY` of `COUNT`.",
     .deprecated = "6.2.0: `GEOSEARCH` with the `BYRADIUS` argument"},

    {.name = "georadiusbymember", .handler = georadiusbymember, .arity = -5,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_MOVABLE_KEYS, .acl = ACL_GEO,
     .keys = {OF_INDEX, BEHIND("STORE", 5), BEHIND("STOREDIST", 5)}, .get_keys = radius_keys,
     .group = "geo", .since = "3.2.0", .complexity = COST,
     .summary = "Returns or stores the members within some distance of a member.",
     .args = "key member radius <M | KM | FT | MI> " SHOWN COUNTED "[ASC | DESC]" STORED,
     .history = CASES,
     .deprecated = "6.2.0: `GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` "
                   "arguments"},

    {.name = "georadiusbymember_ro", .handler = georadiusbymember_ro, .arity = -5,
     .flags = CMD_READONLY, .acl = ACL_GEO, .keys = {OF_INDEX}, .group = "geo",
     .since = "3.2.10", .complexity = COST,
     .summary = "Returns the members within some distance of a member.",
     .args = "key member radius <M | KM | FT | MI> " SHOWN COUNTED "[ASC | DESC]",
     .deprecated = "6.2.0: `GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"},

    {0},
};
// clang-format on
