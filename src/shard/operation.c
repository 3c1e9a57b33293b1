// SPDX-License-Identifier: BSD-3-Clause
#include "shard/operation.h"

#include "base/mem.h"
#include "engine/block.h"
#include "engine/interest.h"
#include "shard/gather.h"

#define SPARE_BLOCKS_MAX 256 // blocks a shard keeps: 2 MiB

static struct operation_block *block_new(struct operation_pool *pool, size_t bytes)
{
    struct operation_block *b = pool->spare;
    if (bytes <= OPERATION_BLOCK_BYTES - sizeof *b) {
        bytes = OPERATION_BLOCK_BYTES - sizeof *b;
        if (b) {
            pool->spare = b->next;
            pool->spare_count--;
        }
    } else {
        b = NULL;
    }
    if (!b) {
        b = mem_alloc(sizeof *b + bytes);
        b->cap = bytes;
    }
    b->used = 0;
    b->next = NULL;
    return b;
}

static void block_free(struct operation_pool *pool, struct operation_block *b)
{
    if (b->cap != OPERATION_BLOCK_BYTES - sizeof *b || pool->spare_count >= SPARE_BLOCKS_MAX) {
        mem_free(b);
        return;
    }
    b->next = pool->spare;
    pool->spare = b;
    pool->spare_count++;
}

static void *block_take(struct operation_block *b, size_t bytes)
{
    void *p = b->data + b->used;
    b->used += bytes;
    return memset(p, 0, bytes);
}

static size_t rounded(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

struct operation *operation_new(struct operation_pool *pool)
{
    struct operation_block *b = block_new(pool, rounded(sizeof(struct operation)));
    struct operation *op = block_take(b, rounded(sizeof *op));
    op->blocks = b;
    op->runner = RUNNER_ANY;
    return op;
}

void *operation_alloc(struct operation_pool *pool, struct operation *op, size_t bytes)
{
    bytes = rounded(bytes);
    if (op->blocks->cap - op->blocks->used < bytes) {
        struct operation_block *b = block_new(pool, bytes);
        b->next = op->blocks;
        op->blocks = b;
    }
    return block_take(op->blocks, bytes);
}

void operation_free(struct operation_pool *pool, struct operation *op)
{
    for (uint32_t i = 0; i < op->part_count; i++) {
        for (struct piece *p = op->parts[i].first; p; p = p->next) gather_free(p->gathered);
        reply_free(&op->parts[i].reply);
    }
    if (op->pushes) {
        reply_free(op->pushes);
        mem_free(op->pushes);
    }
    if (op->waiter) waiter_unref(op->waiter);
    if (op->watch) watch_unref(op->watch);
    reply_free(&op->local);
    struct operation_block *b = op->blocks, *next;
    for (; b; b = next) {
        next = b->next;
        block_free(pool, b);
    }
}

void operation_pool_free(struct operation_pool *pool)
{
    while (pool->spare) {
        struct operation_block *next = pool->spare->next;
        mem_free(pool->spare);
        pool->spare = next;
    }
}

void operation_set_parts(struct operation_pool *pool, struct operation *op, const uint32_t *shards,
                         uint32_t count, uint32_t reply_bytes)
{
    op->parts = operation_alloc(pool, op, count * sizeof op->parts[0]);
    op->part_count = count;
    atomic_init(&op->waiting, count);
    for (uint32_t i = 0; i < count; i++) {
        struct part *part = &op->parts[i];
        part->op = op;
        part->shard = shards[i];
        reply_init(&part->reply, op->resp);
        if (reply_bytes)
            reply_lend(&part->reply, &part->lent, operation_alloc(pool, op, reply_bytes),
                       reply_bytes);
    }
}

void part_add(struct part *part, struct piece *piece)
{
    piece->next = NULL;
    if (part->last)
        part->last->next = piece;
    else
        part->first = piece;
    part->last = piece;
}
