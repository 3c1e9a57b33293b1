// SPDX-License-Identifier: BSD-3-Clause
//
// quicklist.c is compiled into this file, with blocks of a few nodes and with packing at once, so
// that short lists go through everything that long ones do.
#define QUICKLIST_BLOCK_NODES     6u
#define QUICKLIST_PACK_FROM       5u
#define QUICKLIST_DEPTH           2u
#define quicklist_new             small_quicklist_new
#define quicklist_free            small_quicklist_free
#define quicklist_copy            small_quicklist_copy
#define quicklist_count           small_quicklist_count
#define quicklist_nodes           small_quicklist_nodes
#define quicklist_bytes           small_quicklist_bytes
#define quicklist_drain           small_quicklist_drain
#define quicklist_validate        small_quicklist_validate
#define quicklist_push            small_quicklist_push
#define quicklist_pop             small_quicklist_pop
#define quicklist_insert          small_quicklist_insert
#define quicklist_set             small_quicklist_set
#define quicklist_remove          small_quicklist_remove
#define quicklist_remove_equal    small_quicklist_remove_equal
#define quicklist_seek            small_quicklist_seek
#define quicklist_next            small_quicklist_next
#define quicklist_prev            small_quicklist_prev
#define quicklist_first_node      small_quicklist_first_node
#define quicklist_next_node       small_quicklist_next_node
#define quicklist_node_listpack   small_quicklist_node_listpack
#define quicklist_append_listpack small_quicklist_append_listpack
#define quicklist_append_plain    small_quicklist_append_plain
#define quicklist_take_listpack   small_quicklist_take_listpack
#include "ds/quicklist.c"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/random.h"

// --- the model: an array of texts ----------------------------------------------------------------

#define TEXT_MAX 200

struct model {
    struct slice *items;
    uint64_t count, cap;
};

static struct slice own(struct slice s)
{
    return (struct slice){mem_strndup(s.ptr, s.len), s.len};
}

static void model_insert(struct model *m, uint64_t index, struct slice s)
{
    if (m->count == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 16;
        m->items = mem_realloc(m->items, m->cap * sizeof *m->items);
    }
    memmove(m->items + index + 1, m->items + index, (m->count - index) * sizeof s);
    m->items[index] = own(s);
    m->count++;
}

static void model_remove(struct model *m, uint64_t index)
{
    mem_free((void *)(uintptr_t)m->items[index].ptr);
    m->count--;
    memmove(m->items + index, m->items + index + 1, (m->count - index) * sizeof *m->items);
}

static uint64_t model_remove_equal(struct model *m, struct slice s, uint64_t max, bool from_tail)
{
    uint64_t removed = 0;
    for (uint64_t n = m->count, k = 0; k < n && removed < max; k++) {
        uint64_t i = from_tail ? n - 1 - k : k - removed;
        if (!slice_eq(m->items[i], s)) continue;
        model_remove(m, i);
        removed++;
    }
    return removed;
}

static void model_free(struct model *m)
{
    while (m->count) model_remove(m, m->count - 1);
    mem_free(m->items);
}

static void check_item(const struct model *m, uint64_t index, const struct item *i)
{
    char scratch[NUM_I64_TEXT];
    cr_assert(slice_eq(item_slice(i, scratch), m->items[index]), "element %lu", index);
}

static void check_all(const struct quicklist *ql, const struct model *m)
{
    struct quicklist_cursor c;
    struct item i;
    quicklist_validate(ql);
    cr_assert_eq(quicklist_count(ql), m->count);
    if (!m->count) return;
    quicklist_seek(&c, ql, 0, false);
    for (uint64_t k = 0; k < m->count; k++) {
        cr_assert(quicklist_next(&c, &i));
        check_item(m, k, &i);
    }
    cr_assert_not(quicklist_next(&c, &i));
    quicklist_seek(&c, ql, m->count - 1, true);
    for (uint64_t k = m->count; k-- > 0;) {
        cr_assert(quicklist_prev(&c, &i));
        check_item(m, k, &i);
    }
    cr_assert_not(quicklist_prev(&c, &i));
}

static void check_one(const struct quicklist *ql, const struct model *m, uint64_t index)
{
    struct quicklist_cursor c;
    struct item i;
    quicklist_seek(&c, ql, index, false);
    cr_assert(quicklist_next(&c, &i));
    check_item(m, index, &i);
    quicklist_seek(&c, ql, index, true);
    cr_assert(quicklist_prev(&c, &i));
    check_item(m, index, &i);
}

// --- random operations ---------------------------------------------------------------------------

static struct slice random_text(struct random *r, char *out)
{
    switch (random_below(r, 12)) {
    case 0: return (struct slice){out, num_format_i64(out, (int64_t)random_u64(r))};
    case 1: return (struct slice){out, num_format_i64(out, (int64_t)random_below(r, 100))};
    case 2: { // may be too big for a node
        size_t len = random_below(r, TEXT_MAX);
        memset(out, 'b', len);
        return (struct slice){out, len};
    }
    case 3: return SLICE("");
    default:
        return (struct slice){
            out, (size_t)snprintf(out, TEXT_MAX, "item:%02d", (int)random_below(r, 30))};
    }
}

static void change(struct quicklist *ql, struct model *m, struct random *r,
                   const struct quicklist_limits *limits, bool is_growing)
{
    char text[TEXT_MAX];
    struct slice s = random_text(r, text);
    uint64_t index = random_below(r, m->count + 1), op = random_below(r, 100);
    if (op < (is_growing ? 60u : 30u)) {
        bool at_head = random_below(r, 2);
        quicklist_push(ql, at_head, s, limits);
        model_insert(m, at_head ? 0 : m->count, s);
    } else if (op < 75) {
        bool at_head = random_below(r, 2);
        if (!m->count) return;
        quicklist_pop(ql, at_head);
        model_remove(m, at_head ? 0 : m->count - 1);
    } else if (op < 85) {
        quicklist_insert(ql, index, s, limits);
        model_insert(m, index, s);
    } else if (op < 92) {
        if (index == m->count) return;
        quicklist_set(ql, index, s, limits);
        model_remove(m, index);
        model_insert(m, index, s);
    } else if (op < 98) {
        uint64_t count = random_below(r, 12);
        count = MIN(count, m->count - index);
        quicklist_remove(ql, index, count, limits);
        for (uint64_t i = 0; i < count; i++) model_remove(m, index);
    } else {
        bool from_tail = random_below(r, 2);
        uint64_t max = 1 + random_below(r, 6);
        cr_assert_eq(quicklist_remove_equal(ql, s, max, from_tail, limits),
                     model_remove_equal(m, s, max, from_tail));
    }
}

static void run(struct quicklist_limits limits, uint64_t seed, int steps)
{
    struct quicklist *ql = quicklist_new();
    struct model m = {0};
    struct random r;
    random_seed(&r, seed);
    for (int i = 0; i < steps; i++) {
        change(ql, &m, &r, &limits, i / 500 % 3 != 2);
        quicklist_validate(ql);
        if (i % 16 == 0) check_all(ql, &m);
        if (m.count) check_one(ql, &m, random_below(&r, m.count));
    }
    struct quicklist *copy = quicklist_copy(ql);
    check_all(copy, &m);
    cr_assert_geq(quicklist_bytes(copy), sizeof *copy);
    quicklist_free(copy);
    while (!quicklist_drain(ql, 3))
        ;
    model_free(&m);
}

Test(quicklist, does_what_an_array_does)
{
    run((struct quicklist_limits){.node = {64, UINT32_MAX}}, 1, 6000);
    run((struct quicklist_limits){.node = {300, UINT32_MAX}}, 2, 6000);
    run((struct quicklist_limits){.node = {1500, UINT32_MAX}}, 3, 4000);
    run((struct quicklist_limits){.node = {8192, UINT32_MAX}}, 4, 3000);
}

Test(quicklist, does_what_an_array_does_with_few_elements_a_node)
{
    run((struct quicklist_limits){.node = {8192, 1}}, 5, 3000);
    run((struct quicklist_limits){.node = {8192, 3}}, 6, 4000);
    run((struct quicklist_limits){.node = {8192, 40}, .depth = 4}, 7, 4000);
}

static uint64_t nodes_of_kind(const struct quicklist *ql, enum listnode_kind kind)
{
    uint64_t n = 0;
    for (struct quicklist_at at = end_node(ql, true); at.block; at = next_of(at))
        n += listnode_kind(node_at(at)) == kind;
    return n;
}

static struct quicklist *filled(int count, const struct quicklist_limits *limits, bool at_head)
{
    struct quicklist *ql = quicklist_new();
    char text[32];
    for (int i = 0; i < count; i++) {
        int n = snprintf(text, sizeof text, "element:%010d", i);
        quicklist_push(ql, at_head, (struct slice){text, (size_t)n}, limits);
    }
    return ql;
}

static const struct quicklist_limits medium = {.node = {1024, UINT32_MAX}};

Test(quicklist, inner_nodes_are_packed_and_ends_are_not)
{
    for (int at_head = 0; at_head < 2; at_head++) {
        struct quicklist *ql = filled(2000, &medium, at_head);
        cr_assert_geq(nodes_of_kind(ql, NODE_PACKED), quicklist_nodes(ql) - 8);
        cr_assert_eq(listnode_kind(node_at(end_node(ql, true))), NODE_LISTPACK);
        cr_assert_eq(listnode_kind(node_at(end_node(ql, false))), NODE_LISTPACK);
        quicklist_free(ql);
    }
}

Test(quicklist, a_packed_node_that_was_changed_is_packed_again)
{
    struct quicklist *ql = filled(2000, &medium, false);
    uint64_t packed = nodes_of_kind(ql, NODE_PACKED);
    for (uint64_t i = 500; i < 1500; i += 7) quicklist_set(ql, i, SLICE("element:9"), &medium);
    quicklist_validate(ql);
    cr_assert_eq(nodes_of_kind(ql, NODE_PACKED), packed);
    quicklist_free(ql);
}

Test(quicklist, popping_everything_works_through_packed_nodes)
{
    for (int at_head = 0; at_head < 2; at_head++) {
        struct quicklist *ql = filled(2000, &medium, false);
        for (int i = 0; i < 2000; i++) {
            struct quicklist_cursor c;
            struct item item;
            char text[32];
            snprintf(text, sizeof text, "element:%010d", at_head ? i : 1999 - i);
            quicklist_seek(&c, ql, at_head ? 0 : quicklist_count(ql) - 1, !at_head);
            cr_assert(at_head ? quicklist_next(&c, &item) : quicklist_prev(&c, &item));
            cr_assert_eq(item.len, 18);
            cr_assert(memcmp(item.ptr, text, 18) == 0);
            quicklist_pop(ql, at_head);
        }
        cr_assert_eq(quicklist_nodes(ql), 0);
        quicklist_free(ql);
    }
}

Test(quicklist, what_is_too_big_for_a_node_stands_alone)
{
    struct quicklist *ql = filled(10, &medium, false);
    char big[2000];
    memset(big, 'x', sizeof big);
    struct slice s = {big, sizeof big};
    quicklist_insert(ql, 5, s, &medium);
    cr_assert_eq(nodes_of_kind(ql, NODE_PLAIN), 1);
    cr_assert_eq(quicklist_nodes(ql), 3);
    quicklist_set(ql, 5, SLICE("small"), &medium);
    cr_assert_eq(nodes_of_kind(ql, NODE_PLAIN), 0);
    quicklist_push(ql, true, s, &medium);
    quicklist_push(ql, false, s, &medium);
    quicklist_validate(ql);
    cr_assert_eq(nodes_of_kind(ql, NODE_PLAIN), 2);
    quicklist_free(ql);
}

Test(quicklist, nodes_that_were_emptied_by_half_are_joined)
{
    struct quicklist *ql = filled(500, &medium, false);
    uint64_t nodes = quicklist_nodes(ql);
    struct quicklist_limits never_packed = medium;
    never_packed.depth = 1000;
    quicklist_free(ql);
    ql = filled(500, &never_packed, false);
    for (uint64_t i = 0; i + 7 < quicklist_count(ql); i++)
        quicklist_remove(ql, i, 7, &never_packed);
    quicklist_validate(ql);
    cr_assert_leq(quicklist_nodes(ql), nodes / 2);
    quicklist_free(ql);
}

Test(quicklist, whole_nodes_go_out_and_come_in)
{
    struct quicklist *ql = filled(1000, &medium, false), *copy = quicklist_new();
    quicklist_push(ql, false, (struct slice){(const char[3000]){0}, 3000}, &medium);
    struct listpack *scratch = NULL;
    struct slice plain;
    struct quicklist_at at = quicklist_first_node(ql);
    for (; at.block; at = quicklist_next_node(at)) {
        const struct listpack *lp = quicklist_node_listpack(at, &scratch, &plain);
        if (lp)
            quicklist_append_listpack(copy, listpack_copy(lp), &medium);
        else
            quicklist_append_plain(copy, plain, &medium);
    }
    mem_free(scratch);
    quicklist_validate(copy);
    cr_assert_eq(quicklist_nodes(copy), quicklist_nodes(ql));
    cr_assert_eq(quicklist_count(copy), 1001);
    cr_assert_geq(nodes_of_kind(copy, NODE_PACKED), 1);
    quicklist_free(ql);
    quicklist_free(copy);
}
