// SPDX-License-Identifier: BSD-3-Clause
//
// geo: what the two files of geo commands share: geo.c (points) and geo_search.c (areas).
#pragma once
#include "ds/geohash.h"
#include "engine/ctx.h"

// Each replies the error and returns false if the arguments do not fit.
// Longitude and latitude, from argument `arg` on.
bool geo_parse_point(struct ctx *ctx, int arg, struct geo_point *out);
// A unit's length in metres.
bool geo_parse_unit(struct ctx *ctx, int arg, double *metres);

// A distance: a bulk string with four digits behind the point.
void geo_reply_distance(struct reply *r, double distance);
// An array of longitude and latitude.
void geo_reply_point(struct reply *r, struct geo_point p);
