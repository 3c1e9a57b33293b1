// SPDX-License-Identifier: BSD-3-Clause
//
// Random operations against an array of entries, with nodes of a few entries or bytes.
#include "types/stream.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/random.h"
#include "types/rdb.h"
#include "types/rdb_io.h"

#define MODEL_MAX  6000
#define FIELDS_MAX 4
#define TEXT_MAX   80

struct model_entry {
    struct stream_id id;
    uint32_t field_count;
    char texts[2 * FIELDS_MAX][TEXT_MAX + 1];
    size_t lens[2 * FIELDS_MAX];
};

static struct model_entry model[MODEL_MAX];
static uint32_t model_count;
static struct value value;
static struct stream *s;
static struct random rng;
static struct value_limits limits;

static void begin(uint64_t seed)
{
    random_seed(&rng, seed);
    value = stream_new();
    s = stream_of(value);
    model_count = 0;
    limits = (struct value_limits){.stream_node_max_entries = 5, .stream_node_max_bytes = 4096};
}

static void end(void)
{
    while (!stream_drain(&value, 1 + (uint32_t)random_below(&rng, 5))) continue;
}

// A text that is like its kin: words, numbers, long and short, or all the same.
static size_t make_text(char *out)
{
    switch (random_below(&rng, 8)) {
    case 0: return (size_t)snprintf(out, TEXT_MAX, "%lld", (long long)random_u64(&rng));
    case 1: return (size_t)snprintf(out, TEXT_MAX, "%d", (int)random_below(&rng, 300) - 150);
    case 2: return (size_t)snprintf(out, TEXT_MAX, "value:%08d", (int)random_below(&rng, 1000));
    case 3:
        return (size_t)snprintf(out, TEXT_MAX, "a-rather-long-prefix-that-all-have/%d",
                                (int)random_below(&rng, 1000));
    case 4: return (size_t)snprintf(out, TEXT_MAX, "%s", "same");
    case 5: return (size_t)snprintf(out, TEXT_MAX, "%0*d", (int)random_below(&rng, 70) + 1, 7);
    case 6: return 0;
    default: {
        size_t n = random_below(&rng, TEXT_MAX);
        for (size_t i = 0; i < n; i++) out[i] = (char)random_u64(&rng);
        return n;
    }
    }
}

static struct stream_id next_id(void)
{
    struct stream_id id = s->last_id;
    switch (random_below(&rng, 5)) {
    case 0: return (struct stream_id){id.ms + 1 + random_below(&rng, 20), 0};
    case 1: return (struct stream_id){id.ms + 1 + random_below(&rng, 1000), random_below(&rng, 9)};
    case 2: return (struct stream_id){id.ms, id.seq + 1 + random_below(&rng, 500)};
    default: return (struct stream_id){id.ms, id.seq + 1};
    }
}

static void append(void)
{
    struct model_entry *m = &model[model_count++];
    struct slice pairs[2 * FIELDS_MAX];
    bool is_usual = random_below(&rng, 4) != 0;
    m->id = next_id();
    m->field_count = is_usual ? 2 : 1 + (uint32_t)random_below(&rng, FIELDS_MAX);
    for (uint32_t i = 0; i < 2 * m->field_count; i++) {
        m->lens[i] = make_text(m->texts[i]);
        if (is_usual && i % 2 == 0) {
            m->texts[i][0] = i ? '7' : 'f';
            m->lens[i] = 1;
        }
        pairs[i] = (struct slice){m->texts[i], m->lens[i]};
    }
    stream_append(s, m->id, pairs, m->field_count, &limits);
}

static void forget(uint32_t at, uint32_t count)
{
    model_count -= count;
    memmove(model + at, model + at + count, (model_count - at) * sizeof model[0]);
}

static struct stream_id some_id(void)
{
    if (!model_count || random_below(&rng, 10) == 0)
        return (struct stream_id){random_below(&rng, s->last_id.ms + 2), random_below(&rng, 5)};
    return model[random_below(&rng, model_count)].id;
}

static void remove_some(void)
{
    struct stream_id ids[3];
    uint64_t expected = 0, count = 1 + random_below(&rng, 3);
    for (uint64_t i = 0; i < count; i++) {
        ids[i] = some_id();
        for (uint32_t k = 0; k < model_count; k++) {
            if (stream_id_cmp(model[k].id, ids[i]) != 0) continue;
            cr_assert(stream_has(s, ids[i]) || i);
            forget(k, 1);
            expected++;
            break;
        }
    }
    cr_assert_eq(stream_remove(s, ids, count), expected);
    for (uint64_t i = 0; i < count; i++) cr_assert(!stream_has(s, ids[i]));
}

static void trim(void)
{
    struct stream_trim how = {.is_by_id = random_below(&rng, 2),
                              .is_approximate = random_below(&rng, 2),
                              .max_len = model_count - random_below(&rng, MIN(model_count, 20) + 1),
                              .min_id = model[random_below(&rng, MIN(model_count, 30))].id,
                              .limit = 0};
    if (how.is_approximate) how.limit = random_below(&rng, 30);
    uint32_t expected = 0;
    while (expected < model_count &&
           (how.is_by_id ? stream_id_cmp(model[expected].id, how.min_id) < 0
                         : model_count - expected > how.max_len))
        expected++;
    uint64_t removed = stream_trim(s, &how);
    if (!how.is_approximate) cr_assert_eq(removed, expected);
    cr_assert_leq(removed, expected);
    if (how.limit) cr_assert_leq(removed, how.limit);
    forget(0, (uint32_t)removed);
}

static bool is_text(const struct stream_item *i, const char *text, size_t len)
{
    char all[TEXT_MAX + 32];
    if (!i->head.ptr) {
        size_t n = num_format_i64(all, i->integer);
        return n == len && memcmp(all, text, n) == 0;
    }
    memcpy(all, i->head.ptr, i->head.len);
    memcpy(all + i->head.len, i->tail.len ? i->tail.ptr : "", i->tail.len);
    return i->head.len + i->tail.len == len && memcmp(all, text, len) == 0;
}

static void expect_entry(struct stream_entry *e, const struct model_entry *m)
{
    cr_assert_eq(stream_id_cmp(e->id, m->id), 0);
    cr_assert_eq(e->field_count, m->field_count);
    // Not always to the end: the walk must not depend on it.
    uint64_t read = random_below(&rng, 3) ? m->field_count : random_below(&rng, m->field_count);
    for (uint64_t i = 0; i < read; i++) {
        struct stream_item field, item;
        stream_entry_next(e, &field, &item);
        cr_assert(is_text(&field, m->texts[2 * i], m->lens[2 * i]));
        cr_assert(is_text(&item, m->texts[2 * i + 1], m->lens[2 * i + 1]));
    }
}

static void check_range(struct stream_id start, struct stream_id stop, bool is_reverse)
{
    uint32_t first = 0, last = model_count;
    while (first < model_count && stream_id_cmp(model[first].id, start) < 0) first++;
    while (last > first && stream_id_cmp(model[last - 1].id, stop) > 0) last--;
    struct stream_iter it;
    stream_iter_init(&it, s, start, stop, is_reverse);
    for (uint32_t i = 0; i < last - first; i++) {
        cr_assert(stream_iter_next(&it));
        expect_entry(&it.entry, &model[is_reverse ? last - 1 - i : first + i]);
    }
    cr_assert(!stream_iter_next(&it));
    stream_iter_free(&it);
}

static void check(void)
{
    struct stream_id last;
    stream_validate(value);
    cr_assert_eq(s->len, model_count);
    cr_assert_eq(stream_last_entry(s, &last), model_count > 0);
    if (model_count) cr_assert_eq(stream_id_cmp(last, model[model_count - 1].id), 0);
    if (model_count) cr_assert_eq(stream_id_cmp(s->first_id, model[0].id), 0);
}

static void step(void)
{
    uint64_t what = random_below(&rng, 100);
    if (what < 60 || !model_count)
        append();
    else if (what < 90)
        remove_some();
    else
        trim();
    check();
    check_range(some_id(), some_id(), random_below(&rng, 2));
}

static void run(uint64_t seed, int64_t max_entries, uint64_t max_bytes)
{
    begin(seed);
    limits.stream_node_max_entries = max_entries;
    limits.stream_node_max_bytes = max_bytes;
    for (int i = 0; i < 1500; i++) step();
    check_range(STREAM_ID_MIN, STREAM_ID_MAX, false);
    check_range(STREAM_ID_MIN, STREAM_ID_MAX, true);
    end();
}

Test(stream, random_changes_match_a_list_of_entries)
{
    run(1, 5, 4096);
    run(2, 1, 4096);
    run(3, 0, 200);
    run(4, 100, 0);
    run(5, 0, 0);
}

Test(stream, a_copy_is_the_same_and_independent)
{
    begin(6);
    for (int i = 0; i < 300; i++) step();
    struct value copy = stream_copy(value), old = value;
    value = copy;
    s = stream_of(copy);
    check();
    check_range(STREAM_ID_MIN, STREAM_ID_MAX, false);
    stream_free(old);
    for (int i = 0; i < 300; i++) step();
    end();
}

Test(stream, its_bytes_are_those_that_it_took)
{
    size_t before = mem_used_bytes();
    begin(7);
    limits.stream_node_max_entries = 100;
    for (int i = 0; i < 2000; i++) append();
    struct stream_group *g = stream_group_create(s, SLICE("g"), STREAM_ID_MIN, 0);
    struct stream_consumer *c = stream_consumer_create(g, SLICE("c"), 0);
    for (uint32_t i = 0; i < model_count; i++) stream_group_assign(g, model[i].id, c);
    cr_assert_eq(stream_memory_bytes(value), mem_used_bytes() - before);
    end();
    cr_assert_eq(mem_used_bytes(), before);
}

// --- groups --------------------------------------------------------------------------------------

static struct stream_group *make_group(const char *name)
{
    struct stream_group *g = stream_group_create(s, slice_of(name), STREAM_ID_MIN, 0);
    cr_assert_not_null(g);
    return g;
}

Test(stream, groups_and_consumers_stand_in_the_order_of_their_names)
{
    begin(8);
    const char *names[] = {"m", "a", "z", "mm", "b", ""};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        make_group(names[i]);
        cr_assert_null(stream_group_create(s, slice_of(names[i]), STREAM_ID_MIN, 0));
    }
    const char *sorted[] = {"", "a", "b", "m", "mm", "z"};
    for (uint32_t i = 0; i < ARRAY_LEN(sorted); i++)
        cr_assert(slice_eq(stream_group_at(s, i)->name, slice_of(sorted[i])));
    stream_group_destroy(s, stream_group_find(s, SLICE("b")));
    cr_assert_null(stream_group_find(s, SLICE("b")));
    cr_assert_not_null(stream_group_find(s, SLICE("mm")));
    stream_validate(value);
    end();
}

Test(stream, what_is_pending_belongs_to_one_consumer)
{
    begin(9);
    for (int i = 0; i < 200; i++) append();
    struct stream_group *g = make_group("g");
    struct stream_consumer *c[3];
    const char *names[] = {"x", "y", "z"};
    for (int i = 0; i < 3; i++) c[i] = stream_consumer_create(g, slice_of(names[i]), 5);
    for (int i = 0; i < 3000; i++) {
        struct stream_id id = some_id();
        struct stream_consumer *to = c[random_below(&rng, 3)];
        if (random_below(&rng, 3)) {
            cr_assert_eq(stream_group_assign(g, id, to)->consumer, to);
        } else {
            bool was_there = stream_group_pending(g, id);
            cr_assert_eq(stream_group_release(g, id), was_there);
        }
        if (i % 50 == 0) stream_validate(value);
    }
    uint64_t pending = c[1]->pending.count, all = g->pending.count;
    cr_assert_eq(stream_consumer_destroy(g, c[1]), pending);
    cr_assert_eq(g->pending.count, all - pending);
    stream_validate(value);
    end();
}

static void deliver_up_to(struct stream_group *g, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) stream_group_advance(s, g, model[i].id);
}

static int64_t lag_of(const struct stream_group *g)
{
    int64_t lag;
    return stream_group_lag(s, g, &lag) ? lag : -1;
}

Test(stream, the_lag_of_a_group_is_what_it_has_not_read)
{
    begin(10);
    struct stream_group *g = make_group("g");
    cr_assert_eq(lag_of(g), 0);
    for (int i = 0; i < 20; i++) append();
    cr_assert_eq(lag_of(g), 20);
    deliver_up_to(g, 7);
    cr_assert_eq(g->entries_read, 7);
    cr_assert_eq(lag_of(g), 13);
    // Trimmed behind what was read, and beyond.
    stream_trim(s, &(struct stream_trim){.max_len = 15});
    forget(0, 5);
    cr_assert_eq(lag_of(g), 13);
    stream_trim(s, &(struct stream_trim){.max_len = 10});
    forget(0, 5);
    cr_assert_eq(lag_of(g), 10);
    deliver_up_to(g, 1);
    cr_assert_eq(g->entries_read, 11);
    // A hole in front of it: nobody can tell …
    struct stream_id hole = model[5].id;
    stream_remove(s, &hole, 1);
    forget(5, 1);
    cr_assert_eq(lag_of(g), -1);
    // … until it has read everything.
    deliver_up_to(g, 9);
    cr_assert_eq(lag_of(g), 0);
    // A group that begins somewhere in the middle does not know where it is.
    struct stream_group *h = stream_group_create(s, SLICE("h"), model[6].id, STREAM_UNKNOWN_COUNT);
    cr_assert_eq(lag_of(h), -1);
    stream_trim(s, &(struct stream_trim){.max_len = 0});
    forget(0, model_count);
    cr_assert_eq(lag_of(h), 0);
    end();
}

// --- RDB -----------------------------------------------------------------------------------------

static struct buf saved(void)
{
    struct buf out = {0};
    stream_save(&out, value, random_below(&rng, 2));
    return out;
}

static bool load(struct slice bytes, int type, struct value *out)
{
    struct rdb_reader in = {.at = bytes.ptr, .end = bytes.ptr + bytes.len};
    bool is_good = stream_load(&in, type, &limits, out);
    if (is_good) cr_assert_eq(rdb_left(&in), 0);
    return is_good;
}

static void fill_groups(void)
{
    for (int i = 0; i < 3; i++) {
        struct stream_group *g = make_group(i == 0 ? "one" : i == 1 ? "two" : "");
        deliver_up_to(g, (uint32_t)random_below(&rng, model_count));
        for (int k = 0; k < 3; k++) {
            char name[] = {(char)('a' + k), 0};
            struct stream_consumer *c = stream_consumer_create(g, slice_of(name), 1000 + k);
            for (int n = 0; n < 20 * k; n++) {
                struct stream_nack *nack = stream_group_assign(g, some_id(), c);
                nack->delivered_ms = 1000 + n;
                nack->count++;
            }
        }
    }
}

Test(stream, what_was_saved_loads_as_it_was)
{
    begin(11);
    for (int i = 0; i < 400; i++) step();
    fill_groups();
    struct buf first = saved();
    struct value back;
    cr_assert(load(buf_slice(&first), RDB_STREAM_LISTPACKS_2, &back));
    stream_free(value);
    value = back;
    s = stream_of(back);
    check();
    check_range(STREAM_ID_MIN, STREAM_ID_MAX, false);
    cr_assert_eq(s->groups.count, 3);
    // Compressed or not makes a difference in bytes; the same way twice does not.
    struct buf plain = {0}, again = {0};
    stream_save(&plain, value, false);
    cr_assert(load(buf_slice(&plain), RDB_STREAM_LISTPACKS_2, &back));
    stream_save(&again, back, false);
    cr_assert(slice_eq(buf_slice(&plain), buf_slice(&again)));
    stream_free(back);
    buf_free(&first);
    buf_free(&plain);
    buf_free(&again);
    for (int i = 0; i < 200; i++) step();
    end();
}

Test(stream, damaged_bytes_load_as_a_sound_stream_or_not_at_all)
{
    begin(12);
    for (int i = 0; i < 60; i++) step();
    fill_groups();
    struct buf whole = {0};
    stream_save(&whole, value, false);
    const int types[] = {RDB_STREAM_LISTPACKS, RDB_STREAM_LISTPACKS_2, RDB_STREAM_LISTPACKS_3};
    for (int i = 0; i < 30000; i++) {
        struct value back;
        char *copy = mem_strndup(whole.ptr, whole.len);
        size_t len = i % 4 ? whole.len : random_below(&rng, whole.len);
        for (uint64_t n = random_below(&rng, 4); n; n--)
            copy[random_below(&rng, whole.len)] = (char)random_u64(&rng);
        struct rdb_reader in = {.at = copy, .end = copy + len};
        if (stream_load(&in, types[i % 3], &limits, &back)) {
            stream_validate(back);
            stream_free(back);
        }
        mem_free(copy);
    }
    buf_free(&whole);
    end();
}

Test(stream, an_id_below_a_tombstone_begins_a_node)
{
    begin(13);
    struct slice pair[2] = {SLICE("f"), SLICE("v")};
    for (uint64_t i = 1; i <= 3; i++) stream_append(s, (struct stream_id){i, 0}, pair, 1, &limits);
    stream_remove(s, &(struct stream_id){3, 0}, 1);
    s->last_id = (struct stream_id){2, 5};
    stream_append(s, (struct stream_id){2, 6}, pair, 1, &limits);
    stream_validate(value);
    cr_assert(stream_has(s, (struct stream_id){2, 6}));
    cr_assert(!stream_has(s, (struct stream_id){3, 0}));
    cr_assert_eq(s->nodes.count, 2);
    end();
}
