// SPDX-License-Identifier: BSD-3-Clause
//
// Hashes of every encoding against a plain array of what they should hold, under random operations,
// expiry included; and what the model cannot say: encodings, sizes, chance, draining.
#include "types/hash.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/random.h"
#include "types/hash_random.h"

#define FIELDS_MAX 20000

static const struct value_limits standard = {.hash_max_listpack_entries = 512,
                                             .hash_max_listpack_value = 64};
static const struct value_limits tables_only = {0};

static struct slice text(const char *s)
{
    return slice_of(s);
}

static bool set(struct value *v, const char *field, const char *value)
{
    return hash_set(v, text(field), text(value), 0, &standard);
}

static bool holds(struct value v, const char *field, const char *value)
{
    char scratch[NUM_I64_TEXT];
    struct item i;
    return hash_get(v, text(field), 0, &i) && slice_eq(item_slice(&i, scratch), text(value));
}

// --- the model -----------------------------------------------------------------------------------

// Field number i is a name made of i; what it holds is made of a number, too.
struct model_field {
    bool is_there;
    uint32_t value;
    int64_t at_ms; // -1: never
};

struct model {
    struct value hash;
    const struct value_limits *limits;
    struct model_field fields[FIELDS_MAX];
    uint32_t field_count; // how many of them are in play
    int64_t now_ms;
    struct random random;
};

// Integers, short names, and names and values on both sides of the lengths that matter.
static struct slice name_of(uint32_t i, char *out)
{
    if (i % 3 == 0) return (struct slice){out, (size_t)sprintf(out, "%d", (int)i * 41 - 300)};
    if (i % 17 == 1) return (struct slice){out, (size_t)sprintf(out, "%0300u", i)};
    return (struct slice){out, (size_t)sprintf(out, "field:%u", i)};
}

static struct slice value_of_number(uint32_t n, char *out)
{
    switch (n % 8) {
    case 0: return (struct slice){out, 0};
    case 1: return (struct slice){out, (size_t)sprintf(out, "%u", n)};
    case 2: return (struct slice){out, (size_t)sprintf(out, "%0260u", n)};
    default: return (struct slice){out, (size_t)sprintf(out, "value %u", n)};
    }
}

static struct model *model_new(uint64_t seed, uint32_t field_count,
                               const struct value_limits *limits)
{
    struct model *m = mem_calloc(sizeof *m);
    m->hash = hash_new();
    m->limits = limits;
    m->field_count = field_count;
    m->now_ms = 1000;
    random_seed(&m->random, seed);
    return m;
}

static void model_free(struct model *m)
{
    hash_free(m->hash);
    mem_free(m);
}

static bool is_visible(const struct model *m, uint32_t i)
{
    const struct model_field *f = &m->fields[i];
    return f->is_there && (f->at_ms < 0 || f->at_ms >= m->now_ms);
}

static uint64_t expected_len(const struct model *m)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < m->field_count; i++) n += m->fields[i].is_there;
    return n;
}

static int64_t expected_next(const struct model *m)
{
    int64_t next = INT64_MAX;
    for (uint32_t i = 0; i < m->field_count; i++)
        if (m->fields[i].is_there && m->fields[i].at_ms >= 0 && m->fields[i].at_ms < next)
            next = m->fields[i].at_ms;
    return next;
}

static bool is_value(const struct item *i, uint32_t number)
{
    char scratch[NUM_I64_TEXT], expected[400];
    return slice_eq(item_slice(i, scratch), value_of_number(number, expected));
}

static void check_field(const struct model *m, uint32_t i)
{
    char name[400];
    struct item item;
    bool is_there = hash_get(m->hash, name_of(i, name), m->now_ms, &item);
    cr_assert_eq(is_there, is_visible(m, i));
    if (is_there) cr_assert(is_value(&item, m->fields[i].value));
    cr_assert_eq(hash_expiry(m->hash, name_of(i, name), m->now_ms),
                 is_there ? m->fields[i].at_ms : -2);
}

static uint32_t field_number(const struct model *m, const struct item *field)
{
    char scratch[NUM_I64_TEXT], name[400];
    struct slice s = item_slice(field, scratch);
    for (uint32_t i = 0; i < m->field_count; i++)
        if (slice_eq(name_of(i, name), s)) return i;
    cr_assert_fail("unknown field %.*s", SLICE_ARG(s));
    return 0;
}

static void check_walk(const struct model *m, struct value v)
{
    bool seen[512] = {0};
    uint32_t n = 0;
    struct hash_iter it;
    struct item field, value;
    int64_t at_ms;
    hash_iter_init(&it, v, m->now_ms);
    for (; hash_iter_next(&it, &field, &value, &at_ms); n++) {
        uint32_t i = field_number(m, &field);
        cr_assert(is_visible(m, i) && !seen[i]);
        seen[i] = true;
        cr_assert(is_value(&value, m->fields[i].value));
        cr_assert_eq(at_ms, m->fields[i].at_ms);
    }
    for (uint32_t i = 0; i < m->field_count; i++) n -= is_visible(m, i);
    cr_assert_eq(n, 0);
}

static void check_all(const struct model *m)
{
    hash_validate(m->hash);
    cr_assert_eq(hash_len(m->hash), expected_len(m));
    cr_assert_eq(hash_next_expiry(m->hash), expected_next(m));
    for (uint32_t i = 0; i < m->field_count; i++) check_field(m, i);
    check_walk(m, m->hash);
    struct value copy = hash_copy(m->hash);
    hash_validate(copy);
    check_walk(m, copy);
    cr_assert_eq(hash_next_expiry(copy), expected_next(m));
    hash_free(copy);
}

// --- random operations ---------------------------------------------------------------------------

static void do_set(struct model *m, uint32_t i, bool keeps_expiry)
{
    char name[400], value[400];
    struct model_field *f = &m->fields[i];
    uint32_t number = (uint32_t)random_below(&m->random, 100000);
    bool was_visible = is_visible(m, i);
    bool is_new = (keeps_expiry ? hash_put : hash_set)(
        &m->hash, name_of(i, name), value_of_number(number, value), m->now_ms, m->limits);
    cr_assert_eq(is_new, !was_visible);
    if (!keeps_expiry || !was_visible) f->at_ms = -1;
    f->is_there = true;
    f->value = number;
}

static void do_remove(struct model *m, uint32_t i, int64_t now_ms)
{
    char name[400];
    bool should = now_ms == HASH_NEVER_DUE ? m->fields[i].is_there : is_visible(m, i);
    cr_assert_eq(hash_remove(&m->hash, name_of(i, name), now_ms), should);
    if (should) m->fields[i].is_there = false;
}

static void do_set_expiry(struct model *m, uint32_t i)
{
    char name[400];
    if (!m->fields[i].is_there) return;
    int64_t at_ms = m->now_ms + (int64_t)random_below(&m->random, 50);
    if (random_below(&m->random, 4) == 0) at_ms = -1;
    hash_set_expiry(&m->hash, name_of(i, name), at_ms);
    m->fields[i].at_ms = at_ms;
}

static void on_removed(void *arg, struct slice field)
{
    struct model *m = arg;
    struct item item = item_of(field);
    uint32_t i = field_number(m, &item);
    cr_assert(m->fields[i].is_there && !is_visible(m, i));
    m->fields[i].is_there = false;
}

static void do_expire_due(struct model *m)
{
    uint32_t budget = 1 + (uint32_t)random_below(&m->random, 8);
    uint64_t before = expected_len(m);
    uint32_t removed = hash_expire_due(&m->hash, m->now_ms, budget, on_removed, m);
    cr_assert_leq(removed, budget);
    cr_assert_eq(before - expected_len(m), removed);
    if (removed < budget) cr_assert_geq(hash_next_expiry(m->hash), m->now_ms);
}

static void do_any(struct model *m)
{
    uint32_t i = (uint32_t)random_below(&m->random, m->field_count);
    switch (random_below(&m->random, 12)) {
    case 0: do_remove(m, i, m->now_ms); break;
    case 1: do_remove(m, i, HASH_NEVER_DUE); break;
    case 2:
    case 3: do_set_expiry(m, i); break;
    case 4: do_expire_due(m); break;
    case 5: m->now_ms += (int64_t)random_below(&m->random, 8); break;
    case 6: do_set(m, i, true); break;
    case 7: check_field(m, i); break;
    default: do_set(m, i, false);
    }
}

static void run_model(uint64_t seed, uint32_t fields, int steps, const struct value_limits *limits)
{
    struct model *m = model_new(seed, fields, limits);
    for (int step = 0; step < steps; step++) {
        do_any(m);
        check_all(m);
    }
    model_free(m);
}

Test(hash_value, a_listpack_behaves_as_the_model)
{
    struct value_limits roomy = {.hash_max_listpack_entries = 512, .hash_max_listpack_value = 512};
    for (uint64_t seed = 0; seed < 30; seed++) run_model(seed, 3 + (uint32_t)seed, 400, &roomy);
}

Test(hash_value, a_listpack_of_hundreds_behaves_as_the_model)
{
    struct value_limits roomy = {.hash_max_listpack_entries = 512, .hash_max_listpack_value = 512};
    for (uint64_t seed = 0; seed < 3; seed++) {
        struct model *m = model_new(seed, 400, &roomy);
        for (uint32_t i = 0; i < 300; i++) do_set(m, i, false);
        for (int step = 0; step < 300; step++) {
            do_any(m);
            if (step % 20 == 0) check_all(m);
        }
        model_free(m);
    }
}

Test(hash_value, a_table_behaves_as_the_model)
{
    for (uint64_t seed = 0; seed < 30; seed++)
        run_model(seed, 3 + 2 * (uint32_t)seed, 400, &tables_only);
}

Test(hash_value, what_becomes_a_table_on_the_way_behaves_as_the_model)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct value_limits tight = {.hash_max_listpack_entries = (int64_t)seed % 20,
                                     .hash_max_listpack_value = seed % 2 ? 512 : 64};
        run_model(seed, 40, 200, &tight);
    }
}

Test(hash_value, many_fields_expire_in_order)
{
    struct model *m = model_new(7, FIELDS_MAX, &standard);
    for (uint32_t i = 0; i < FIELDS_MAX; i++) {
        char name[400];
        do_set(m, i, false);
        m->fields[i].at_ms = 2000 + (int64_t)random_below(&m->random, 100000);
        hash_set_expiry(&m->hash, name_of(i, name), m->fields[i].at_ms);
    }
    hash_validate(m->hash);
    for (uint32_t i = 0; i < FIELDS_MAX; i += 2) do_set(m, i, i % 4 == 0);
    for (uint32_t i = 0; i < FIELDS_MAX; i += 5) do_remove(m, i, m->now_ms);
    hash_validate(m->hash);
    for (m->now_ms = 0; m->now_ms < 110000; m->now_ms += 7000) {
        while (hash_expire_due(&m->hash, m->now_ms, 100, NULL, NULL))
            ;
        for (uint32_t i = 0; i < FIELDS_MAX; i++)
            if (!is_visible(m, i)) m->fields[i].is_there = false;
        hash_validate(m->hash);
        cr_assert_eq(hash_len(m->hash), expected_len(m));
        cr_assert_eq(hash_next_expiry(m->hash), expected_next(m));
    }
    model_free(m);
}

// --- encodings -----------------------------------------------------------------------------------

Test(hash_value, one_field_too_many_makes_a_table)
{
    struct value v = hash_new();
    char name[32];
    for (int i = 0; i < 512; i++) {
        sprintf(name, "f%d", i);
        cr_assert(set(&v, name, "v"));
        cr_assert_eq(value_encoding(v), ENC_LISTPACK);
    }
    cr_assert_not(set(&v, "f7", "w"));
    cr_assert_eq(value_encoding(v), ENC_LISTPACK);
    cr_assert(set(&v, "one more", "v"));
    cr_assert_eq(value_encoding(v), ENC_HASHTABLE);
    cr_assert_eq(hash_len(v), 513);
    cr_assert(holds(v, "f7", "w") && holds(v, "f511", "v") && holds(v, "one more", "v"));
    hash_free(v);
}

Test(hash_value, a_long_field_or_value_makes_a_table)
{
    char of_64[65] = {0}, of_65[66] = {0};
    memset(of_64, 'x', 64), memset(of_65, 'x', 65);
    struct value v = hash_new();
    set(&v, of_64, of_64);
    cr_assert_eq(value_encoding(v), ENC_LISTPACK);
    set(&v, of_64, of_65);
    cr_assert_eq(value_encoding(v), ENC_HASHTABLE);
    set(&v, of_64, "short");
    cr_assert_eq(value_encoding(v), ENC_HASHTABLE); // and never back
    cr_assert(holds(v, of_64, "short"));
    hash_free(v);
    v = hash_new();
    set(&v, of_65, "");
    cr_assert_eq(value_encoding(v), ENC_HASHTABLE);
    hash_free(v);
}

Test(hash_value, an_expiry_makes_a_listpackex_and_stays_one)
{
    struct value v = hash_new();
    set(&v, "a", "1");
    set(&v, "b", "2");
    hash_set_expiry(&v, SLICE("a"), -1);
    cr_assert_eq(value_encoding(v), ENC_LISTPACK);
    cr_assert_null(hash_wheel_of(v));
    hash_set_expiry(&v, SLICE("a"), 50);
    cr_assert_eq(value_encoding(v), ENC_LISTPACK_EX);
    cr_assert_eq(hash_next_expiry(v), 50);
    hash_set_expiry(&v, SLICE("a"), -1);
    cr_assert_eq(value_encoding(v), ENC_LISTPACK_EX);
    cr_assert_eq(hash_next_expiry(v), INT64_MAX);
    cr_assert(holds(v, "a", "1") && holds(v, "b", "2"));
    hash_free(v);
}

Test(hash_value, the_wheels_handle_stays_where_it_is)
{
    struct value v = hash_new();
    set(&v, "a", "1");
    hash_set_expiry(&v, SLICE("a"), 50);
    struct hash_wheel *wheel = hash_wheel_of(v);
    cr_assert_not_null(wheel);
    cr_assert(!wheel->is_in && !wheel->owner);
    wheel->owner = &v;
    for (int i = 0; i < 1000; i++) {
        char name[32];
        sprintf(name, "f%d", i);
        set(&v, name, "v");
        hash_set_expiry(&v, text(name), 1000 - i);
    }
    cr_assert_eq(value_encoding(v), ENC_HASHTABLE);
    cr_assert_eq(hash_next_expiry(v), 1);
    cr_assert_eq(hash_wheel_of(v), wheel);
    cr_assert_eq(wheel->owner, &v);
    struct value copy = hash_copy(v);
    cr_assert_neq(hash_wheel_of(copy), wheel);
    cr_assert_null(hash_wheel_of(copy)->owner);
    hash_free(copy);
    hash_free(v);
}

Test(hash_value, a_listpack_that_came_from_elsewhere_is_fitted)
{
    struct listpack *lp = listpack_new(0);
    for (int i = 0; i < 10; i++) {
        lp = listpack_append_integer(lp, i * 1000);
        lp = listpack_append(lp, SLICE("text"));
    }
    struct value v = hash_of_listpack(lp);
    hash_validate(v);
    hash_fit(&v, &standard);
    cr_assert_eq(value_encoding(v), ENC_LISTPACK);
    hash_fit(&v,
             &(struct value_limits){.hash_max_listpack_entries = 10, .hash_max_listpack_value = 4});
    cr_assert_eq(value_encoding(v), ENC_LISTPACK);
    struct value w = hash_copy(v);
    hash_fit(&v,
             &(struct value_limits){.hash_max_listpack_entries = 9, .hash_max_listpack_value = 64});
    cr_assert_eq(value_encoding(v), ENC_HASHTABLE);
    hash_fit(&w,
             &(struct value_limits){.hash_max_listpack_entries = 10, .hash_max_listpack_value = 3});
    cr_assert_eq(value_encoding(w), ENC_HASHTABLE);
    cr_assert(holds(v, "7000", "text") && holds(w, "0", "text"));
    hash_free(v);
    hash_free(w);
}

Test(hash_value, lengths_of_every_width_are_kept)
{
    static const size_t lengths[] = {0, 1, 255, 256, 65535, 65536, 1 << 20};
    char *bytes = mem_alloc(1 << 20);
    memset(bytes, 'y', 1 << 20);
    for (size_t f = 0; f < 7; f++) {
        for (size_t n = 0; n < 7; n++) {
            struct value v = hash_new();
            struct slice field = {bytes, lengths[f]}, value = {bytes, lengths[n]};
            struct item i;
            hash_set(&v, field, SLICE("first"), 0, &tables_only);
            hash_set_expiry(&v, field, 9);
            hash_put(&v, field, value, 0, &tables_only);
            hash_validate(v);
            cr_assert(hash_get(v, field, 0, &i) && i.len == value.len);
            cr_assert_eq(memcmp(i.ptr, bytes, i.len), 0);
            cr_assert_eq(hash_expiry(v, field, 0), 9);
            hash_free(v);
        }
    }
    mem_free(bytes);
}

// --- the rest ------------------------------------------------------------------------------------

static struct value of_size(uint32_t n, const struct value_limits *limits)
{
    struct value v = hash_new();
    for (uint32_t i = 0; i < n; i++) {
        char name[32];
        hash_set(&v, (struct slice){name, (size_t)sprintf(name, "%u", i)}, SLICE("v"), 0, limits);
    }
    return v;
}

struct counts {
    uint32_t of[3000];
    uint64_t visits;
};

static void count_visit(void *arg, const struct item *field, const struct item *value)
{
    struct counts *c = arg;
    int64_t number;
    (void)value;
    cr_assert(item_integer(field, &number));
    c->of[number]++;
    c->visits++;
}

Test(hash_value, scanning_visits_every_field_that_stays)
{
    for (uint32_t n = 1; n < 3000; n = n * 3 + 1) {
        struct counts c = {0};
        struct value v = of_size(n, &tables_only);
        uint64_t cursor = 0;
        hash_set_expiry(&v, SLICE("0"), 10);
        do cursor = hash_scan(v, cursor, 11, count_visit, &c);
        while (cursor);
        cr_assert_eq(c.of[0], 0); // due
        for (uint32_t i = 1; i < n; i++) cr_assert_geq(c.of[i], 1);
        hash_free(v);
    }
}

// 0 … len: the chance of each is the same within a few standard deviations.
static void check_even(const struct counts *c, uint32_t len, double expected)
{
    for (uint32_t i = 0; i < len; i++) {
        double off = c->of[i] - expected;
        cr_assert(off * off < 36 * expected, "field %u: %u, not %g", i, c->of[i], expected);
    }
}

Test(hash_value, random_fields_are_uniform)
{
    struct random random;
    random_seed(&random, 1);
    for (int is_table = 0; is_table < 2; is_table++) {
        struct counts c = {0};
        struct value v = of_size(200, is_table ? &tables_only : &standard);
        hash_random_any(v, &random, 200000, count_visit, &c);
        cr_assert_eq(c.visits, 200000);
        check_even(&c, 200, 1000);
        hash_free(v);
    }
}

Test(hash_value, distinct_random_fields_are_distinct_and_uniform)
{
    static const uint32_t sizes[] = {1, 2, 30, 100, 133, 199, 200};
    struct random random;
    random_seed(&random, 2);
    for (int is_table = 0; is_table < 2; is_table++) {
        struct value v = of_size(200, is_table ? &tables_only : &standard);
        for (size_t s = 0; s < 7; s++) {
            struct counts all = {0};
            for (int round = 0; round < 2000; round++) {
                struct counts c = {0};
                hash_random_distinct(v, &random, sizes[s], count_visit, &c);
                cr_assert_eq(c.visits, sizes[s]);
                for (uint32_t i = 0; i < 200; i++) {
                    cr_assert_leq(c.of[i], 1);
                    all.of[i] += c.of[i];
                }
            }
            check_even(&all, 200, 2000.0 * sizes[s] / 200);
        }
        hash_free(v);
    }
}

Test(hash_value, draining_takes_slices_and_leaves_nothing)
{
    size_t before = mem_used_bytes();
    struct value v = of_size(3000, &tables_only);
    for (uint32_t i = 0; i < 3000; i += 2) {
        char name[32];
        hash_set_expiry(&v, (struct slice){name, (size_t)sprintf(name, "%u", i)}, i);
    }
    cr_assert_geq(hash_parts(v), 3000);
    uint32_t slices = 1;
    while (!hash_drain(&v, 64)) slices++;
    cr_assert_geq(slices, 30);
    cr_assert_eq(mem_used_bytes(), before);
}

Test(hash_value, memory_bytes_are_what_is_occupied)
{
    for (uint32_t n = 1; n < 3000; n *= 7) {
        size_t before = mem_used_bytes();
        struct value v = of_size(n, n < 300 ? &standard : &tables_only);
        double real = (double)(mem_used_bytes() - before), said = (double)hash_memory_bytes(v);
        // The table's overflow arrays are estimated; libc's blocks are bigger than they say.
        double share = strcmp(mem_allocator_name(), "libc") == 0 ? 0.5 : 0.95;
        cr_assert(said <= 1.05 * real && said >= share * real, "%u: %g, not %g", n, said, real);
        hash_free(v);
    }
}
