// SPDX-License-Identifier: BSD-3-Clause
#include "ds/geohash.h"

#include <math.h>

#include "base/assert.h"

#define STEPS_MAX      26
#define EARTH_RADIUS_M 6372797.560856
#define MERCATOR_MAX_M 20037726.37 // half the map's width: what one cell of one step covers

#define RADIANS (M_PI / 180.0)

// A cell by column and row. Cells at 2^steps and beyond are those of points on the map's very edge.
struct cell {
    uint32_t x, y;
    unsigned steps;
};

// The part of the map that something covers; it may reach beyond the map's edges.
struct area {
    struct geo_point min, max;
};

static double radians(double degrees)
{
    return degrees * RADIANS;
}

static double degrees(double radians_)
{
    return radians_ / RADIANS;
}

// --- cells ---------------------------------------------------------------------------------------

// Bit i goes to bit 2 i.
static uint64_t spread(uint32_t v)
{
    uint64_t x = v;
    x = (x | x << 16) & 0x0000ffff0000ffffu;
    x = (x | x << 8) & 0x00ff00ff00ff00ffu;
    x = (x | x << 4) & 0x0f0f0f0f0f0f0f0fu;
    x = (x | x << 2) & 0x3333333333333333u;
    return (x | x << 1) & 0x5555555555555555u;
}

static uint32_t gather(uint64_t x)
{
    x &= 0x5555555555555555u;
    x = (x | x >> 1) & 0x3333333333333333u;
    x = (x | x >> 2) & 0x0f0f0f0f0f0f0f0fu;
    x = (x | x >> 4) & 0x00ff00ff00ff00ffu;
    x = (x | x >> 8) & 0x0000ffff0000ffffu;
    return (uint32_t)(x | x >> 16);
}

static uint64_t cell_bits(struct cell c)
{
    return spread(c.x) << 1 | spread(c.y);
}

// Which of 2^steps equal parts of -max … max this is in.
static uint32_t part_of(double degrees_, double max, unsigned steps)
{
    return (uint32_t)((degrees_ + max) / (max + max) * (double)(1ull << steps));
}

static struct cell cell_of(struct geo_point p, double latitude_max, unsigned steps)
{
    return (struct cell){part_of(p.longitude, GEO_LONGITUDE_MAX, steps),
                         part_of(p.latitude, latitude_max, steps), steps};
}

static double part_begin(uint32_t part, double max, unsigned steps)
{
    return -max + (double)part / (double)(1ull << steps) * (max + max);
}

static struct area cell_area(struct cell c)
{
    // In 64 bits, as the last part may be followed by one more.
    double n = (double)(1ull << c.steps), width = 2 * GEO_LONGITUDE_MAX,
           height = 2 * GEO_LATITUDE_MAX;
    return (struct area){
        .min = {part_begin(c.x, GEO_LONGITUDE_MAX, c.steps),
                part_begin(c.y, GEO_LATITUDE_MAX, c.steps)},
        .max = {-GEO_LONGITUDE_MAX + ((double)c.x + 1) / n * width,
                -GEO_LATITUDE_MAX + ((double)c.y + 1) / n * height},
    };
}

// The cell so many columns to the east and rows to the north, around the globe and over the poles.
static struct cell cell_beside(struct cell c, int east, int north)
{
    uint32_t mask = (1u << c.steps) - 1;
    return (struct cell){(c.x + (uint32_t)east) & mask, (c.y + (uint32_t)north) & mask, c.steps};
}

static bool cell_equals(struct cell a, struct cell b)
{
    return a.x == b.x && a.y == b.y;
}

// --- points --------------------------------------------------------------------------------------

bool geo_point_is_valid(struct geo_point p)
{
    return p.longitude >= -GEO_LONGITUDE_MAX && p.longitude <= GEO_LONGITUDE_MAX &&
           p.latitude >= -GEO_LATITUDE_MAX && p.latitude <= GEO_LATITUDE_MAX;
}

uint64_t geohash_encode(struct geo_point p)
{
    ASSERT(geo_point_is_valid(p));
    return cell_bits(cell_of(p, GEO_LATITUDE_MAX, STEPS_MAX));
}

static double clamp(double v, double max)
{
    return v > max ? max : v < -max ? -max : v;
}

// The score as an integer, what does not fit one as what a processor makes of it.
static uint64_t score_bits(double score)
{
    if (score >= 0x1p63) return score < 0x1p64 ? (uint64_t)score : 0;
    return score >= -0x1p63 ? (uint64_t)(int64_t)score : 1ull << 63;
}

struct geo_point geohash_decode(double score)
{
    uint64_t bits = score_bits(score);
    struct area a = cell_area((struct cell){gather(bits >> 1), gather(bits), STEPS_MAX});
    return (struct geo_point){clamp((a.min.longitude + a.max.longitude) / 2, GEO_LONGITUDE_MAX),
                              clamp((a.min.latitude + a.max.latitude) / 2, GEO_LATITUDE_MAX)};
}

// 52 bits make ten letters of five bits; the two that are left would not make an eleventh, so that
// one is always the first of the alphabet, as Redis has it.
void geohash_text(struct geo_point p, char *out)
{
    static const char alphabet[] = "0123456789bcdefghjkmnpqrstuvwxyz";
    uint64_t bits = cell_bits(cell_of(p, 90, STEPS_MAX));
    for (int i = 0; i < GEO_TEXT_BYTES - 1; i++) out[i] = alphabet[bits >> (47 - 5 * i) & 31];
    out[GEO_TEXT_BYTES - 1] = alphabet[0];
}

// --- distances -----------------------------------------------------------------------------------

static double latitude_distance_m(double a, double b)
{
    return EARTH_RADIUS_M * fabs(radians(b) - radians(a));
}

// The haversine formula.
double geo_distance_m(struct geo_point a, struct geo_point b)
{
    double v = sin((radians(b.longitude) - radians(a.longitude)) / 2);
    if (v == 0) return latitude_distance_m(a.latitude, b.latitude);
    double latitude_a = radians(a.latitude), latitude_b = radians(b.latitude);
    double u = sin((latitude_b - latitude_a) / 2);
    double h = u * u + cos(latitude_a) * cos(latitude_b) * v * v;
    return 2.0 * EARTH_RADIUS_M * asin(sqrt(h));
}

bool geo_shape_contains(const struct geo_shape *s, struct geo_point p, double *distance_m)
{
    double north_m = latitude_distance_m(p.latitude, s->center.latitude);
    if (s->is_box) {
        if (north_m > s->height_m / 2) return false;
        struct geo_point beside = {s->center.longitude, p.latitude};
        if (geo_distance_m(p, beside) > s->width_m / 2) return false;
    } else if (north_m > s->radius_m * 1.000001) { // surely outside, without the trigonometry
        return false;
    }
    *distance_m = geo_distance_m(s->center, p);
    return s->is_box || *distance_m <= s->radius_m;
}

// --- shapes --------------------------------------------------------------------------------------

// How fine the cells may be so that a circle reaches no further than one cell; towards the poles
// cells become narrow.
static unsigned steps_of(double radius_m, double latitude)
{
    int steps = 1;
    if (radius_m == 0) return STEPS_MAX;
    for (; radius_m < MERCATOR_MAX_M; radius_m *= 2) steps++;
    steps -= 2; // so that it does wherever in its cell the centre is
    if (fabs(latitude) > 66) steps--;
    if (fabs(latitude) > 80) steps--;
    return (unsigned)MIN(MAX(steps, 1), STEPS_MAX);
}

static struct area shape_area(const struct geo_shape *s)
{
    double height_m = s->is_box ? s->height_m / 2 : s->radius_m;
    double width_m = s->is_box ? s->width_m / 2 : s->radius_m;
    double latitude = s->center.latitude, north = degrees(height_m / EARTH_RADIUS_M);
    // A degree is shortest at the edge that is nearer to a pole: there the shape is widest.
    double edge = latitude < 0 ? latitude - north : latitude + north;
    double east = degrees(width_m / EARTH_RADIUS_M / cos(radians(edge)));
    return (struct area){{s->center.longitude - east, latitude - north},
                         {s->center.longitude + east, latitude + north}};
}

// Does the shape reach beyond the cells around this one?
static bool reaches_beyond(const struct area *shape, struct cell c)
{
    return cell_area(cell_beside(c, 0, 1)).max.latitude < shape->max.latitude ||
           cell_area(cell_beside(c, 0, -1)).min.latitude > shape->min.latitude ||
           cell_area(cell_beside(c, 1, 0)).max.longitude < shape->max.longitude ||
           cell_area(cell_beside(c, -1, 0)).min.longitude > shape->min.longitude;
}

static struct geo_range cell_range(struct cell c)
{
    unsigned shift = 2 * (STEPS_MAX - c.steps);
    uint64_t bits = cell_bits(c);
    return (struct geo_range){(double)(bits << shift), (double)((bits + 1) << shift)};
}

uint32_t geo_shape_ranges(const struct geo_shape *s, struct geo_range ranges[GEO_CELLS_MAX])
{
    static const struct {
        int east, north;
    } order[GEO_CELLS_MAX] = {{0, 0}, {0, 1},  {0, -1}, {1, 0},  {-1, 0},
                              {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};
    struct area area = shape_area(s);
    double reach_m =
        s->is_box
            ? sqrt((s->width_m / 2) * (s->width_m / 2) + (s->height_m / 2) * (s->height_m / 2))
            : s->radius_m;
    unsigned steps = steps_of(reach_m, s->center.latitude);
    struct cell center = cell_of(s->center, GEO_LATITUDE_MAX, steps), last = center;
    if (steps > 1 && reaches_beyond(&area, center))
        center = last = cell_of(s->center, GEO_LATITUDE_MAX, --steps);
    struct area middle = cell_area(center);
    uint32_t n = 0;
    for (uint32_t i = 0; i < GEO_CELLS_MAX; i++) {
        int east = order[i].east, north = order[i].north;
        // With so few cells that they meet behind the globe none can be left out.
        bool is_useless = steps >= 2 && ((north < 0 && middle.min.latitude < area.min.latitude) ||
                                         (north > 0 && middle.max.latitude > area.max.latitude) ||
                                         (east < 0 && middle.min.longitude < area.min.longitude) ||
                                         (east > 0 && middle.max.longitude > area.max.longitude));
        if (is_useless) continue;
        struct cell c = i ? cell_beside(center, east, north) : center;
        if (n && cell_equals(c, last)) continue; // there are but two columns and two rows
        ranges[n++] = cell_range(c);
        last = c;
    }
    return n;
}
