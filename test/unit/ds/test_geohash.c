// SPDX-License-Identifier: BSD-3-Clause
//
// Cells and distances against known places, and the promise of a search: no point of the shape lies
// outside the intervals that are to be searched.
#include "ds/geohash.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/random.h"

static const struct geo_point palermo = {13.361389, 38.115556}, catania = {15.087269, 37.502669};

static bool near(double a, double b, double by)
{
    return fabs(a - b) <= by;
}

// The figures of the documentation of GEOADD, GEOHASH and GEODIST.
Test(geohash, knows_sicily)
{
    char text[GEO_TEXT_BYTES];
    cr_assert_eq(geohash_encode(palermo), 3479099956230698u);
    cr_assert_eq(geohash_encode(catania), 3479447370796909u);
    geohash_text(geohash_decode(3479099956230698.0), text);
    cr_assert_eq(memcmp(text, "sqc8b49rny0", GEO_TEXT_BYTES), 0);
    geohash_text(geohash_decode(3479447370796909.0), text);
    cr_assert_eq(memcmp(text, "sqdtr74hyu0", GEO_TEXT_BYTES), 0);
    struct geo_point a = geohash_decode(3479099956230698.0), b = geohash_decode(3479447370796909.0);
    cr_assert(near(geo_distance_m(a, b), 166274.1516, 0.0001));
}

Test(geohash, the_map_has_edges)
{
    cr_assert(geo_point_is_valid((struct geo_point){180, 85.05112878}));
    cr_assert(geo_point_is_valid((struct geo_point){-180, -85.05112878}));
    cr_assert_not(geo_point_is_valid((struct geo_point){180.0001, 0}));
    cr_assert_not(geo_point_is_valid((struct geo_point){0, 85.0512}));
    cr_assert_not(geo_point_is_valid((struct geo_point){NAN, 0}));
    cr_assert_eq(geohash_encode((struct geo_point){-180, -85.05112878}), 0);
}

static struct geo_point some_point(struct random *r)
{
    struct geo_point p = {(double)random_below(r, 3600001) / 1e4 - 180,
                          (double)random_below(r, 1700001) / 1e4 - 85};
    if (random_below(r, 10) == 0) p.longitude = random_below(r, 2) ? 180 : -180;
    if (random_below(r, 10) == 0) p.latitude = random_below(r, 2) ? 85.05112878 : -85.05112878;
    return p;
}

Test(geohash, a_point_comes_back_within_a_metre)
{
    struct random r;
    random_seed(&r, 1);
    for (int i = 0; i < 100000; i++) {
        struct geo_point p = some_point(&r), q = geohash_decode((double)geohash_encode(p));
        cr_assert(geo_distance_m(p, q) < 1);
        cr_assert(geo_point_is_valid(q));
    }
}

Test(geohash, any_score_has_a_point_on_the_map)
{
    static const double scores[] = {0,      -1,   -1e300,  1e300,      INFINITY, -INFINITY,
                                    0.5,    -0.5, 0x1p52,  0x1p53 - 1, 0x1p63,   0x1p64,
                                    1e-300, 1e19, -0x1p63, -0x1.8p63};
    for (size_t i = 0; i < sizeof scores / sizeof scores[0]; i++)
        cr_assert(geo_point_is_valid(geohash_decode(scores[i])));
}

static struct geo_shape some_shape(struct random *r)
{
    struct geo_shape s = {.center = some_point(r), .is_box = random_below(r, 2)};
    double size_m = pow(10, (double)random_below(r, 750) / 100); // up to 30,000 km
    s.radius_m = size_m;
    s.width_m = size_m;
    s.height_m = size_m / (1 + (double)random_below(r, 5));
    return s;
}

// Somewhere near the shape, so that about half of the points lie within.
static struct geo_point point_around(const struct geo_shape *s, struct random *r)
{
    double reach = s->radius_m / 111000 * 1.2;
    struct geo_point p = {s->center.longitude + reach * ((double)random_below(r, 2001) / 1000 - 1),
                          s->center.latitude + reach * ((double)random_below(r, 2001) / 1000 - 1)};
    p.longitude = fmin(fmax(p.longitude, -180), 180);
    p.latitude = fmin(fmax(p.latitude, -85.05), 85.05);
    return p;
}

// Not where a shape reaches around the globe or over a pole: there Redis's cells miss some, too.
static bool is_on_one_side(const struct geo_shape *s)
{
    double reach_m = s->is_box ? s->width_m : 2 * s->radius_m;
    return s->radius_m < 2e6 && fabs(s->center.latitude) < 65 &&
           fabs(s->center.longitude) + reach_m / 40000 < 180;
}

Test(geohash, a_search_misses_no_point_of_its_shape)
{
    struct random r;
    random_seed(&r, 2);
    int found = 0, checked = 0;
    for (int i = 0; i < 20000; i++) {
        struct geo_shape s = some_shape(&r);
        struct geo_range ranges[GEO_CELLS_MAX];
        uint32_t n = geo_shape_ranges(&s, ranges);
        cr_assert(n >= 1 && n <= GEO_CELLS_MAX);
        if (!is_on_one_side(&s)) continue;
        for (int k = 0; k < 20; k++) {
            double distance, score = (double)geohash_encode(point_around(&s, &r));
            checked++;
            if (!geo_shape_contains(&s, geohash_decode(score), &distance)) continue;
            bool is_seen = false;
            for (uint32_t j = 0; j < n; j++)
                is_seen = is_seen || (score >= ranges[j].min && score < ranges[j].max);
            cr_assert(is_seen, "%f,%f radius %f", s.center.longitude, s.center.latitude,
                      s.radius_m);
            found++;
        }
    }
    cr_assert(found > checked / 10);
}

Test(geohash, a_search_looks_at_no_cell_twice)
{
    struct random r;
    random_seed(&r, 3);
    for (int i = 0; i < 20000; i++) {
        struct geo_shape s = some_shape(&r);
        struct geo_range ranges[GEO_CELLS_MAX];
        uint32_t n = geo_shape_ranges(&s, ranges);
        for (uint32_t j = 0; j < n; j++)
            for (uint32_t k = 0; k < j; k++) cr_assert_neq(ranges[j].min, ranges[k].min);
    }
}
