// SPDX-License-Identifier: BSD-3-Clause
//
// geohash: points on the globe as numbers of 52 bits (G. Niemeyer, 2008; interleaved as by G. M.
// Morton, 1966), distances between them, and the search for what lies within a shape.
//
// The globe is cut into 2^steps x 2^steps cells. A cell's number holds the bits of its column (from
// longitude) and of its row (from latitude) in turn, the column's first:
//
//      … x2 y2 x1 y1 x0 y0          steps 26: 52 bits, about 0.6 m; exact in a double
//
// All points of a coarse cell have numbers that begin with the cell's, so they are an interval of a
// sorted set whose scores are these numbers. A search takes the cell of its centre, so coarse that
// the shape does not reach beyond the eight cells around, and looks at these nine intervals.
//
// Latitudes end where the square web map ends. Numbers, formulas and the order in which cells are
// visited are Redis's, to the last digit.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define GEO_LONGITUDE_MAX 180.0
#define GEO_LATITUDE_MAX  85.05112878
#define GEO_TEXT_BYTES    11
#define GEO_CELLS_MAX     9

struct geo_point {
    double longitude, latitude; // degrees
};

struct geo_shape {
    struct geo_point center;
    bool is_box;
    double radius_m;          // circles
    double width_m, height_m; // boxes
};

// Scores from min up to, not including, max.
struct geo_range {
    double min, max;
};

// Is it on the map?
bool geo_point_is_valid(struct geo_point p);
// The point's number; the point is on the map.
uint64_t geohash_encode(struct geo_point p);
// The middle of a cell. Any score has one, also such as no point has.
struct geo_point geohash_decode(double score);
// The usual text of a point (geohash.org), whose latitudes go up to 90 degrees. GEO_TEXT_BYTES of
// room, no NUL.
void geohash_text(struct geo_point p, char *out);
// Metres, on a sphere.
double geo_distance_m(struct geo_point a, struct geo_point b);
// Is the point within the shape? *distance_m: from the centre, if it is.
bool geo_shape_contains(const struct geo_shape *s, struct geo_point p, double *distance_m);
// The intervals of scores that hold all points of the shape, in the order in which they are to be
// searched; returns how many.
uint32_t geo_shape_ranges(const struct geo_shape *s, struct geo_range ranges[GEO_CELLS_MAX]);
