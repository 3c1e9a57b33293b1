// SPDX-License-Identifier: BSD-3-Clause
//
// test_btree.c once more, on a tree whose nodes hold so little that it becomes high. The tree is
// compiled into this file, under names of its own.
#define BTREE_LEAF_FIRST 2
#define BTREE_LEAF_MAX   8
#define BTREE_INNER_MAX  8

#define btree_init               small_btree_init
#define btree_free               small_btree_free
#define btree_drain_node         small_btree_drain_node
#define btree_insert             small_btree_insert
#define btree_remove             small_btree_remove
#define btree_change             small_btree_change
#define btree_remove_ranks       small_btree_remove_ranks
#define btree_rank               small_btree_rank
#define btree_count_below        small_btree_count_below
#define btree_count_below_member small_btree_count_below_member
#define btree_select             small_btree_select
#define btree_validate           small_btree_validate

#include "../../../src/ds/btree.c"

#define TREE_TEST(name) Test(btree_small, name)
#include "test_btree.c"
