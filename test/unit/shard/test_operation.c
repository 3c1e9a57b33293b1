// SPDX-License-Identifier: BSD-3-Clause
#include "shard/operation.h"

#include <criterion/criterion.h>

#include "base/mem.h"

static bool is_filled(const char *p, size_t len, char with)
{
    for (size_t i = 0; i < len; i++)
        if (p[i] != with) return false;
    return true;
}

Test(operation, its_memory_is_zeroed_aligned_and_apart)
{
    enum { COUNT = 400 };
    struct operation_pool pool = {0};
    for (int round = 0; round < 3; round++) { // later rounds get blocks that were used before
        struct operation *op = operation_new(&pool);
        char *blocks[COUNT];
        size_t sizes[COUNT];
        reply_init(&op->local, 2);
        for (int i = 0; i < COUNT; i++) {
            sizes[i] = i % 100 == 99 ? 3 * OPERATION_BLOCK_BYTES : (size_t)(i * 7 % 300);
            blocks[i] = operation_alloc(&pool, op, sizes[i]);
            cr_assert_eq((uintptr_t)blocks[i] % 16, 0);
            cr_assert(is_filled(blocks[i], sizes[i], 0));
            memset(blocks[i], i | 1, sizes[i]);
        }
        for (int i = 0; i < COUNT; i++) cr_assert(is_filled(blocks[i], sizes[i], (char)(i | 1)));
        operation_free(&pool, op);
    }
    operation_pool_free(&pool);
}

Test(operation, a_pool_keeps_ordinary_blocks_and_uses_them_again)
{
    struct operation_pool pool = {0};
    struct operation *op = operation_new(&pool);
    reply_init(&op->local, 2);
    operation_alloc(&pool, op, 10 * OPERATION_BLOCK_BYTES);
    for (int i = 0; i < 2; i++) // the big one has no room left, the first one for one of these
        operation_alloc(&pool, op, OPERATION_BLOCK_BYTES / 2);
    operation_free(&pool, op);
    uint32_t kept = pool.spare_count;
    cr_assert_eq(kept, 2);
    for (struct operation_block *b = pool.spare; b; b = b->next)
        cr_assert_lt(b->cap, OPERATION_BLOCK_BYTES);
    struct operation *again = operation_new(&pool);
    cr_assert_eq(pool.spare_count, kept - 1);
    reply_init(&again->local, 2);
    operation_free(&pool, again);
    operation_pool_free(&pool);
    cr_assert_null(pool.spare);
}

static void use_at_once(struct operation_pool *pool, struct operation **ops, int count)
{
    for (int i = 0; i < count; i++) {
        ops[i] = operation_new(pool);
        reply_init(&ops[i]->local, 2);
    }
    for (int i = 0; i < count; i++) operation_free(pool, ops[i]);
}

Test(operation, a_pool_keeps_what_is_needed_and_gives_the_rest_back_by_and_by)
{
    enum { COUNT = 1000, KEPT = 256 };
    struct operation_pool pool = {0};
    struct operation *ops[COUNT];
    for (int i = 0; i < 3; i++) { // all of them are needed between one trim and the next
        use_at_once(&pool, ops, COUNT);
        cr_assert_eq(pool.spare_count, COUNT);
        operation_pool_trim(&pool);
        cr_assert_eq(pool.spare_count, COUNT);
    }
    use_at_once(&pool, ops, COUNT - 100);
    operation_pool_trim(&pool);
    cr_assert_eq(pool.spare_count, COUNT - 50);
    for (int i = 0; i < 5; i++) operation_pool_trim(&pool);
    cr_assert_eq(pool.spare_count, KEPT);
    operation_pool_free(&pool);
}

Test(operation, what_stands_behind_its_replies_has_room_and_grows)
{
    struct operation_pool pool = {0};
    struct operation *op = operation_new(&pool);
    reply_init(&op->local, 2);
    op->resp = 3;
    struct reply *behind = operation_behind(&pool, op);
    reply_null(behind);
    cr_assert_eq(behind->head->kind, CHUNK_LENT);
    cr_assert_eq(operation_behind(&pool, op), behind);
    for (int n = 0; n < 100; n++) reply_bulk(behind, SLICE("a piece of text"));
    reply_validate(behind);
    cr_assert_eq(reply_bytes(behind), 3 + 100 * 22);
    operation_free(&pool, op);
    operation_pool_free(&pool);
}

Test(operation, parts_have_lent_room_and_grow_beyond_it)
{
    enum { ROOM = 128 };
    struct operation_pool pool = {0};
    struct operation *op = operation_new(&pool);
    uint32_t shards[] = {1, 4, 7};
    reply_init(&op->local, 2);
    op->resp = 3;
    operation_set_parts(&pool, op, shards, 3);
    cr_assert(op->part_count == 3 && atomic_load(&op->waiting) == 3);
    for (uint32_t i = 0; i < 3; i++) {
        struct part *part = &op->parts[i];
        cr_assert(part->op == op && part->shard == shards[i] && !part->first);
        operation_lend_room(&pool, op, &part->reply, ROOM);
        reply_null(&part->reply);
        cr_assert_eq(part->reply.head->kind, CHUNK_LENT); // no allocation of its own yet
        for (int n = 0; n < 100; n++) reply_bulk(&part->reply, SLICE("a piece of text"));
        reply_validate(&part->reply);
        size_t len;
        char *bytes = reply_flatten(&part->reply, &len);
        cr_assert(len == 3 + 100 * 22 && memcmp(bytes, "_\r\n$15\r\n", 8) == 0);
        mem_free(bytes);
    }
    operation_free(&pool, op);
    operation_pool_free(&pool);
}

Test(operation, pieces_stay_in_the_order_in_which_they_were_added)
{
    struct part part = {0};
    struct piece pieces[4] = {{.next = &pieces[3]}};
    for (int i = 0; i < 4; i++) part_add(&part, &pieces[i]);
    int n = 0;
    for (struct piece *p = part.first; p; p = p->next) cr_assert_eq(p, &pieces[n++]);
    cr_assert(n == 4 && part.last == &pieces[3]);
}
