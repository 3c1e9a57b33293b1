// SPDX-License-Identifier: BSD-3-Clause
//
// The tree against a sorted array, with few different scores and many, from both ends and at
// random, its invariants checked after every change. To give bugs a chance in high trees, compile
// it once more with small nodes: see test/unit/ds/test_btree_small.c.
#include "ds/btree.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"

#ifndef TREE_TEST
#define TREE_TEST(name) Test(btree, name)
#endif

#define CAP 3000

struct model {
    struct btree tree;
    struct random random;
    struct btree_item *items[CAP]; // in order
    size_t count;
    uint64_t next_name;
};

static void model_init(struct model *m, uint64_t seed)
{
    *m = (struct model){0};
    btree_init(&m->tree);
    random_seed(&m->random, seed);
}

static void model_free(struct model *m)
{
    for (size_t i = 0; i < m->count; i++) mem_free(m->items[i]);
    btree_free(&m->tree);
    cr_assert_eq(m->tree.bytes, 0);
}

static int order(double score, struct slice member, const struct btree_item *b)
{
    if (score != b->score) return score < b->score ? -1 : 1;
    return slice_cmp(member, btree_item_slice(b));
}

// How many of the model's items stand before (score, member).
static size_t place(const struct model *m, double score, struct slice member)
{
    size_t lo = 0, hi = m->count;
    while (lo < hi) {
        size_t middle = (lo + hi) / 2;
        if (order(score, member, m->items[middle]) > 0)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

static void model_put(struct model *m, struct btree_item *item)
{
    size_t at = place(m, item->score, btree_item_slice(item));
    memmove(m->items + at + 1, m->items + at, (m->count - at) * sizeof *m->items);
    m->items[at] = item;
    m->count++;
}

static struct btree_item *model_take(struct model *m, size_t at)
{
    struct btree_item *item = m->items[at];
    m->count--;
    memmove(m->items + at, m->items + at + 1, (m->count - at) * sizeof *m->items);
    return item;
}

// Names of different lengths, in no order, each once.
static struct btree_item *item_new(struct model *m, double score)
{
    char name[40];
    uint64_t id = m->next_name++;
    int len = snprintf(name, sizeof name, "%llx%.*s", (unsigned long long)(id * 0x9e3779b9u),
                       (int)(id % 7), "xxxxxxx");
    struct btree_item *item = mem_alloc(sizeof *item + (size_t)len);
    item->score = score;
    item->len = (uint32_t)len;
    memcpy(item->bytes, name, (size_t)len);
    return item;
}

static void add(struct model *m, double score)
{
    struct btree_item *item = item_new(m, score);
    btree_insert(&m->tree, item);
    model_put(m, item);
}

static void remove_at(struct model *m, size_t at)
{
    struct btree_item *item = model_take(m, at);
    btree_remove(&m->tree, item);
    mem_free(item);
}

static void change_at(struct model *m, size_t at, double score)
{
    struct btree_item *item = model_take(m, at);
    btree_change(&m->tree, item, score);
    cr_assert_eq(item->score, score);
    model_put(m, item);
}

struct removal {
    struct model *model;
    size_t next;
};

static void on_removed(void *arg, struct btree_item *item)
{
    struct removal *r = arg;
    cr_assert_eq(item, r->model->items[r->next++]);
    mem_free(item);
}

static void remove_many(struct model *m, size_t first, size_t count)
{
    struct removal r = {m, first};
    btree_remove_ranks(&m->tree, first, count, on_removed, &r);
    cr_assert_eq(r.next, first + count);
    m->count -= count;
    memmove(m->items + first, m->items + first + count, (m->count - first) * sizeof *m->items);
}

static void check(struct model *m)
{
    btree_validate(&m->tree);
    cr_assert_eq(m->tree.count, m->count);
}

static void check_walk(struct model *m)
{
    size_t i = 0;
    for (const struct btree_node *n = m->tree.first; n; n = n->next)
        for (uint32_t k = 0; k < n->count; k++) cr_assert_eq(n->keys[k].item, m->items[i++]);
    cr_assert_eq(i, m->count);
}

// Every question about one place.
static void check_place(struct model *m, size_t at)
{
    struct btree_item *item = m->items[at];
    struct slice member = btree_item_slice(item);
    uint32_t index;
    const struct btree_node *leaf = btree_select(&m->tree, at, &index);
    cr_assert_eq(leaf->keys[index].item, item);
    cr_assert_eq(btree_rank(&m->tree, item), at);
    cr_assert_eq(btree_count_below_member(&m->tree, item->score, member, true), at + 1);
    cr_assert_eq(btree_count_below(&m->tree, item->score, false), place(m, item->score, SLICE("")));
    double up = item->score + 0.25;
    cr_assert_eq(btree_count_below(&m->tree, up, true), place(m, up, SLICE("")));
    cr_assert_eq(btree_count_below(&m->tree, item->score, true), place(m, up, SLICE("")));
    cr_assert_eq(btree_count_below_member(&m->tree, item->score, SLICE("a5"), true),
                 place(m, item->score, SLICE("a5")));
}

// `scores`: how many different ones there are.
static void run_random(uint64_t seed, uint64_t scores, size_t most)
{
    struct model m;
    model_init(&m, seed);
    bool is_growing = true;
    for (int step = 0; step < 12000; step++) {
        double score = (double)random_below(&m.random, scores) - (double)scores / 2;
        unsigned what = (unsigned)random_below(&m.random, 100);
        if (m.count >= most) is_growing = false;
        if (m.count == 0) is_growing = true;
        size_t at = m.count ? (size_t)random_below(&m.random, m.count) : 0;
        if (!m.count || what < (is_growing ? 60u : 25u)) {
            if (m.count < CAP) add(&m, score);
        } else if (what < 75) {
            if (what % 4 == 0) at = 0;
            if (what % 4 == 1) at = m.count - 1;
            remove_at(&m, at);
        } else if (what < 98) {
            bool is_near = what % 2;
            change_at(&m, at, is_near ? m.items[at]->score + (what % 4 ? 1 : -1) : score);
        } else if (!is_growing) {
            size_t count = (size_t)random_below(&m.random, MIN(m.count - at, most / 4 + 1) + 1);
            remove_many(&m, at, count);
        }
        check(&m);
        if (m.count) check_place(&m, (size_t)random_below(&m.random, m.count));
    }
    check_walk(&m);
    remove_many(&m, 0, m.count);
    check(&m);
    model_free(&m);
}

TREE_TEST(does_what_a_sorted_array_does_with_many_scores)
{
    run_random(1, 1000000, 1500);
}

TREE_TEST(does_what_a_sorted_array_does_with_few_scores)
{
    run_random(2, 5, 1000);
}

TREE_TEST(does_what_a_sorted_array_does_with_one_score)
{
    run_random(3, 1, 700);
}

TREE_TEST(stays_in_shape_while_it_is_small)
{
    run_random(4, 50, 100);
}

static size_t leaves(const struct model *m)
{
    size_t n = 0;
    for (const struct btree_node *leaf = m->tree.first; leaf; leaf = leaf->next) n++;
    return n;
}

static void run_ordered(double sign)
{
    struct model m;
    model_init(&m, 9);
    for (int i = 0; i < CAP; i++) {
        add(&m, sign * i);
        check(&m);
    }
    check_walk(&m);
    cr_assert_eq(leaves(&m), (CAP + BTREE_LEAF_MAX - 1) / BTREE_LEAF_MAX, "leaves are full");
    for (size_t i = 0; i < CAP; i += 7) check_place(&m, i);
    model_free(&m);
}

TREE_TEST(what_comes_in_ascending_order_fills_leaves)
{
    run_ordered(1);
}

TREE_TEST(what_comes_in_descending_order_fills_leaves)
{
    run_ordered(-1);
}

TREE_TEST(popping_from_either_end_keeps_it_in_shape)
{
    struct model m;
    for (int end = 0; end < 3; end++) {
        model_init(&m, 11);
        for (int i = 0; i < 2000; i++) add(&m, (double)random_below(&m.random, 1000));
        while (m.count) {
            bool is_first = end == 2 ? random_below(&m.random, 2) : end == 0;
            remove_at(&m, is_first ? 0 : m.count - 1);
            check(&m);
        }
        model_free(&m);
    }
}

TREE_TEST(a_part_can_be_taken_out_of_the_middle)
{
    struct model m;
    for (size_t keep = 0; keep < 40; keep += 3) {
        model_init(&m, 12);
        for (int i = 0; i < 2500; i++) add(&m, i);
        remove_many(&m, keep, m.count - 2 * keep);
        check(&m);
        check_walk(&m);
        for (int i = 0; i < 300; i++) {
            add(&m, (double)random_below(&m.random, 2500));
            check(&m);
        }
        model_free(&m);
    }
}

TREE_TEST(is_freed_node_by_node)
{
    struct model m;
    model_init(&m, 13);
    for (int i = 0; i < 2000; i++) add(&m, (double)random_below(&m.random, 1000));
    size_t nodes = 1, bytes = m.tree.bytes;
    while (btree_drain_node(&m.tree)) {
        cr_assert_lt(m.tree.bytes, bytes);
        bytes = m.tree.bytes;
        nodes++;
    }
    cr_assert_gt(nodes, 2000 / BTREE_LEAF_MAX);
    model_free(&m);
}
