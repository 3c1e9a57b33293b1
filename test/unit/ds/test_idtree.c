// SPDX-License-Identifier: BSD-3-Clause
//
// Random operations against a sorted array. The source is included with small nodes (and other
// names), so that a few hundred items make a high tree.
#define IDTREE_LEAF_FIRST 2
#define IDTREE_LEAF_MAX   5
#define IDTREE_INNER_MAX  4
#define idtree_init       small_init
#define idtree_free       small_free
#define idtree_find       small_find
#define idtree_insert     small_insert
#define idtree_remove     small_remove
#define idtree_seek       small_seek
#define idtree_seek_back  small_seek_back
#define idtree_first      small_first
#define idtree_last       small_last
#define idtree_next       small_next
#define idtree_prev       small_prev
#define idtree_id         small_id
#define idtree_word       small_word
#define idtree_drain_leaf small_drain_leaf
#define idtree_validate   small_validate
#include "ds/idtree.c"

#include <criterion/criterion.h>

#include "base/random.h"

#define MODEL_MAX 4096

static struct {
    struct stream_id ids[MODEL_MAX];
    uint64_t words[MODEL_MAX];
    uint32_t count;
} model;

static struct idtree tree;
static struct random rng;

static uint32_t model_below(struct stream_id id)
{
    uint32_t i = 0;
    while (i < model.count && stream_id_cmp(model.ids[i], id) < 0) i++;
    return i;
}

static bool model_has(uint32_t at, struct stream_id id)
{
    return at < model.count && stream_id_cmp(model.ids[at], id) == 0;
}

static void insert(struct stream_id id, uint64_t word)
{
    uint32_t at = model_below(id);
    bool is_new, expected = !model_has(at, id);
    *idtree_insert(&tree, id, &is_new) = word;
    cr_assert_eq(is_new, expected);
    if (expected) {
        memmove(model.ids + at + 1, model.ids + at, (model.count - at) * sizeof model.ids[0]);
        memmove(model.words + at + 1, model.words + at, (model.count - at) * sizeof(uint64_t));
        model.ids[at] = id;
        model.count++;
    }
    model.words[at] = word;
}

static void remove_id(struct stream_id id)
{
    uint32_t at = model_below(id);
    uint64_t word = 0;
    bool expected = model_has(at, id);
    cr_assert_eq(idtree_remove(&tree, id, &word), expected);
    if (!expected) return;
    cr_assert_eq(word, model.words[at]);
    model.count--;
    memmove(model.ids + at, model.ids + at + 1, (model.count - at) * sizeof model.ids[0]);
    memmove(model.words + at, model.words + at + 1, (model.count - at) * sizeof(uint64_t));
}

static void expect_at(struct idtree_cursor c, uint32_t at)
{
    if (at >= model.count) { // UINT32_MAX: before the first
        cr_assert_null(c.leaf);
        return;
    }
    cr_assert_not_null(c.leaf);
    cr_assert_eq(stream_id_cmp(idtree_id(&c), model.ids[at]), 0);
    cr_assert_eq(*idtree_word(&c), model.words[at]);
}

static void check_whole(void)
{
    idtree_validate(&tree);
    cr_assert_eq(tree.count, model.count);
    struct idtree_cursor c = idtree_first(&tree);
    for (uint32_t i = 0; i < model.count; i++, idtree_next(&c)) expect_at(c, i);
    cr_assert_null(c.leaf);
    c = idtree_last(&tree);
    for (uint32_t i = model.count; i-- > 0; idtree_prev(&c)) expect_at(c, i);
    cr_assert_null(c.leaf);
}

static struct stream_id some_id(void)
{
    return (struct stream_id){random_below(&rng, 40), random_below(&rng, 12)};
}

static void check_seek(struct stream_id id)
{
    uint32_t at = model_below(id);
    const uint64_t *word = idtree_find(&tree, id);
    cr_assert_eq(word != NULL, model_has(at, id));
    if (word) cr_assert_eq(*word, model.words[at]);
    expect_at(idtree_seek(&tree, id), at);
    expect_at(idtree_seek_back(&tree, id), model_has(at, id) ? at : at - 1);
}

static void begin(uint64_t seed)
{
    random_seed(&rng, seed);
    idtree_init(&tree);
    model.count = 0;
}

Test(idtree, random_insertions_and_removals_match_a_sorted_array)
{
    begin(1);
    for (int round = 0; round < 12; round++) {
        uint64_t insertions = round % 2 ? 30 : 70; // of a hundred
        for (int i = 0; i < 600; i++) {
            if (random_below(&rng, 100) < insertions)
                insert(some_id(), random_u64(&rng));
            else
                remove_id(some_id());
            idtree_validate(&tree);
            check_seek(some_id());
        }
        check_whole();
    }
    idtree_free(&tree);
    idtree_validate(&tree);
}

Test(idtree, a_queue_keeps_its_order_and_its_height)
{
    begin(2);
    uint64_t next = 0;
    for (int i = 0; i < 4000; i++) {
        insert((struct stream_id){1000, next++}, next);
        if (model.count > 300) remove_id(model.ids[0]);
        idtree_validate(&tree);
    }
    check_whole();
    cr_assert_leq(tree.height, 5);
    while (model.count) remove_id(model.ids[random_below(&rng, 2) ? 0 : model.count - 1]);
    check_whole();
    cr_assert_eq(tree.bytes, 0);
}

Test(idtree, what_comes_in_order_fills_its_nodes)
{
    begin(3);
    for (uint64_t i = 0; i < 1000; i++) insert((struct stream_id){i, 0}, i);
    uint32_t leaves = 0;
    for (struct idtree_leaf *l = idtree_first(&tree).leaf; l; l = l->next) leaves++;
    cr_assert_eq(leaves, 1000 / IDTREE_LEAF_MAX);
    idtree_free(&tree);
}

static void sum(uint64_t word, void *arg)
{
    *(uint64_t *)arg += word;
}

Test(idtree, draining_visits_every_word_once)
{
    begin(4);
    uint64_t expected = 0, seen = 0;
    for (uint64_t i = 0; i < 500; i++) {
        insert((struct stream_id){random_u64(&rng), i}, i + 1);
        expected += i + 1;
    }
    while (idtree_drain_leaf(&tree, sum, &seen)) idtree_validate(&tree);
    cr_assert_eq(seen, expected);
    cr_assert_eq(tree.count, 0);
}

Test(idtree, the_ends_of_the_range_are_ids_like_others)
{
    begin(5);
    insert(STREAM_ID_MAX, 1);
    insert(STREAM_ID_MIN, 2);
    check_whole();
    check_seek(STREAM_ID_MIN);
    check_seek(STREAM_ID_MAX);
    remove_id(STREAM_ID_MIN);
    check_seek(STREAM_ID_MIN);
    remove_id(STREAM_ID_MAX);
    check_seek(STREAM_ID_MAX);
}
