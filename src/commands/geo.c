// SPDX-License-Identifier: BSD-3-Clause
//
// geo: commands on the points of a geo index, which is a sorted set: a member's score is its point
// as a number of 52 bits (ds/geohash.h). So GEOADD is a ZADD, and all that works on sorted sets
// works on geo indexes; here members that have other scores are points somewhere, too. Searches are
// in geo_search.c.
#include "commands/geo.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "commands/families.h"
#include "commands/zset.h"

static inline struct slice key_of(const struct ctx *ctx)
{
    return ctx->argv[1];
}

// --- shared with geo_search.c --------------------------------------------------------------------

bool geo_parse_point(struct ctx *ctx, int arg, struct geo_point *out)
{
    if (!zset_parse_score(ctx->argv[arg], &out->longitude) ||
        !zset_parse_score(ctx->argv[arg + 1], &out->latitude)) {
        reply_error(ctx->reply, ERR_NOT_FLOAT);
        return false;
    }
    if (geo_point_is_valid(*out)) return true;
    reply_errorf(ctx->reply, "ERR invalid longitude,latitude pair %f,%f", out->longitude,
                 out->latitude);
    return false;
}

bool geo_parse_unit(struct ctx *ctx, int arg, double *metres)
{
    static const struct {
        const char *name;
        double metres;
    } units[] = {{"m", 1}, {"km", 1000}, {"ft", 0.3048}, {"mi", 1609.34}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (!ctx_arg_is(ctx, arg, units[i].name)) continue;
        *metres = units[i].metres;
        return true;
    }
    reply_error(ctx->reply, "ERR unsupported unit provided. please use M, KM, FT, MI");
    return false;
}

void geo_reply_distance(struct reply *r, double distance)
{
    char text[512];
    int len = snprintf(text, sizeof text, "%.4f", distance);
    reply_bulk(r, (struct slice){text, (size_t)len});
}

static void reply_coordinate(struct reply *r, double degrees)
{
    char text[NUM_F64_TEXT];
    size_t len = num_format_long_double(text, degrees);
    if (r->resp == 2) {
        reply_bulk(r, (struct slice){text, len});
        return;
    }
    reply_raw(r, ",", 1);
    reply_raw(r, text, len);
    reply_raw(r, "\r\n", 2);
}

void geo_reply_point(struct reply *r, struct geo_point p)
{
    reply_array(r, 2);
    reply_coordinate(r, p.longitude);
    reply_coordinate(r, p.latitude);
}

// --- GEOADD --------------------------------------------------------------------------------------

static void add(struct ctx *ctx, struct zset_adding *a)
{
    double *score = a->scores;
    for (int i = a->first; i < ctx->argc; i += a->step) {
        struct geo_point p;
        if (!geo_parse_point(ctx, i - 2, &p)) return;
        *score++ = (double)geohash_encode(p);
    }
    zset_add_members(ctx, a);
}

static void geoadd(struct ctx *ctx)
{
    struct zset_adding a = {.step = 3};
    int at = 2;
    for (; at < ctx->argc; at++) {
        if (ctx_arg_is(ctx, at, "NX"))
            a.flags |= ZSET_NX;
        else if (ctx_arg_is(ctx, at, "XX"))
            a.flags |= ZSET_XX;
        else if (ctx_arg_is(ctx, at, "CH"))
            a.is_ch = true;
        else
            break;
    }
    int rest = ctx->argc - at;
    if (rest == 0 || rest % 3 || (a.flags & ZSET_NX && a.flags & ZSET_XX)) {
        reply_error(ctx->reply, ERR_SYNTAX);
        return;
    }
    double few[16], *many = NULL;
    size_t count = (size_t)rest / 3;
    a.first = at + 2;
    a.scores = few;
    if (count > ARRAY_LEN(few)) a.scores = many = mem_alloc(count * sizeof *many);
    add(ctx, &a);
    mem_free(many);
}

// --- GEOPOS, GEOHASH, GEODIST --------------------------------------------------------------------

static bool find_point(const struct entry *e, struct slice member, struct geo_point *out)
{
    double score;
    if (!e || !zset_score(e->value, member, &score)) return false;
    *out = geohash_decode(score);
    return true;
}

static void geopos(struct ctx *ctx)
{
    struct entry *e;
    struct geo_point p;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_ZSET, &e)) return;
    reply_array(ctx->reply, (size_t)ctx->argc - 2);
    for (int i = 2; i < ctx->argc; i++) {
        if (find_point(e, ctx->argv[i], &p))
            geo_reply_point(ctx->reply, p);
        else
            reply_null_array(ctx->reply);
    }
}

static void geohash(struct ctx *ctx)
{
    struct entry *e;
    struct geo_point p;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_ZSET, &e)) return;
    reply_array(ctx->reply, (size_t)ctx->argc - 2);
    for (int i = 2; i < ctx->argc; i++) {
        char text[GEO_TEXT_BYTES];
        if (!find_point(e, ctx->argv[i], &p)) {
            reply_null(ctx->reply);
            continue;
        }
        geohash_text(p, text);
        reply_bulk(ctx->reply, (struct slice){text, sizeof text});
    }
}

static void geodist(struct ctx *ctx)
{
    struct entry *e;
    struct geo_point a, b;
    double unit_m = 1;
    if (ctx->argc > 5) {
        reply_error(ctx->reply, ERR_SYNTAX);
        return;
    }
    if (ctx->argc == 5 && !geo_parse_unit(ctx, 4, &unit_m)) return;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_ZSET, &e)) return;
    if (find_point(e, ctx->argv[2], &a) && find_point(e, ctx->argv[3], &b))
        geo_reply_distance(ctx->reply, geo_distance_m(a, b) / unit_m);
    else
        reply_null(ctx->reply);
}

// --- declarations --------------------------------------------------------------------------------

#define OF_INDEX                                                                                   \
    {                                                                                              \
        KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)                                                         \
    }

// clang-format off
const struct command commands_geo[] = {
    {.name = "geoadd", .handler = geoadd, .arity = -5, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_GEO, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "geo",
     .since = "3.2.0", .complexity = "O(log N) for each member, with N the number of members",
     .summary = "Adds members to a geo index or moves them. Creates the key if it is missing.",
     .args = "key [NX | XX] [CH] (longitude latitude member)...",
     .history = "6.2.0: Added the options `CH`, `NX` and `XX`."},

    {.name = "geopos", .handler = geopos, .arity = -2, .flags = CMD_READONLY, .acl = ACL_GEO,
     .keys = OF_INDEX, .group = "geo", .since = "3.2.0",
     .complexity = "O(N) with N the number of members asked for",
     .summary = "Returns the longitudes and latitudes of members.", .args = "key member..."},

    {.name = "geodist", .handler = geodist, .arity = -4, .flags = CMD_READONLY, .acl = ACL_GEO,
     .keys = OF_INDEX, .group = "geo", .since = "3.2.0", .complexity = "O(1)",
     .summary = "Returns the distance between two members.",
     .args = "key member1 member2 [M | KM | FT | MI]"},

    {.name = "geohash", .handler = geohash, .arity = -2, .flags = CMD_READONLY, .acl = ACL_GEO,
     .keys = OF_INDEX, .group = "geo", .since = "3.2.0",
     .complexity = "O(N) with N the number of members asked for",
     .summary = "Returns the geohashes of members as text.", .args = "key member..."},

    {0},
};
// clang-format on
