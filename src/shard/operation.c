// SPDX-License-Identifier: BSD-3-Clause
#include "shard/operation.h"

#include "base/mem.h"
#include "engine/block.h"
#include "engine/interest.h"
#include "shard/gather.h"

#define SPARE_BLOCKS_MIN 256  // blocks that a shard keeps once it has needed them: 2 MiB,
#define SPARE_BLOCKS_MAX 4096 // and those that it keeps while it needs them again and again
#define BEHIND_ROOM      224  // bytes: what MULTI and twenty commands say when they are queued

static struct operation_block *block_new(struct operation_pool *pool, size_t bytes)
{
    struct operation_block *b = pool->spare;
    if (bytes <= OPERATION_BLOCK_BYTES - sizeof *b) {
        bytes = OPERATION_BLOCK_BYTES - sizeof *b;
        if (b) {
            pool->spare = b->next;
            pool->spare_count--;
            pool->spare_least = MIN(pool->spare_least, pool->spare_count);
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
    return p;
}

static size_t rounded(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

struct operation *operation_new(struct operation_pool *pool)
{
    struct operation_block *b = block_new(pool, rounded(sizeof(struct operation)));
    struct operation *op = memset(block_take(b, rounded(sizeof *op)), 0, sizeof *op);
    op->blocks = b;
    op->runner = RUNNER_ANY;
    return op;
}

void *operation_room(struct operation_pool *pool, struct operation *op, size_t bytes)
{
    bytes = rounded(bytes);
    struct operation_block *first = op->blocks;
    if (LIKELY(first->cap - first->used >= bytes)) return block_take(first, bytes);
    struct operation_block *b = block_new(pool, bytes);
    if (b->cap - bytes < first->cap - first->used) { // what is left is more in the first one
        b->next = first->next;
        first->next = b;
    } else {
        b->next = first;
        op->blocks = b;
    }
    return block_take(b, bytes);
}

void *operation_alloc(struct operation_pool *pool, struct operation *op, size_t bytes)
{
    return memset(operation_room(pool, op, bytes), 0, bytes);
}

void operation_lend_room(struct operation_pool *pool, struct operation *op, struct reply *reply,
                         uint32_t bytes)
{
    struct reply_chunk *chunk = operation_room(pool, op, sizeof *chunk + bytes);
    reply_lend(reply, chunk, (char *)(chunk + 1), bytes);
}

struct reply *operation_behind(struct operation_pool *pool, struct operation *op)
{
    if (op->behind) return op->behind;
    op->behind = operation_room(pool, op, sizeof *op->behind);
    reply_init(op->behind, op->resp);
    operation_lend_room(pool, op, op->behind, BEHIND_ROOM);
    return op->behind;
}

void operation_free(struct operation_pool *pool, struct operation *op)
{
    for (uint32_t i = 0; i < op->part_count; i++) {
        for (struct piece *p = op->parts[i].first; p; p = p->next) gather_free(p->gathered);
        reply_free(&op->parts[i].reply);
    }
    if (op->behind) reply_free(op->behind);
    if (op->waiter) waiter_unref(op->waiter);
    if (op->watch) watch_unref(op->watch);
    reply_free(&op->local);
    struct operation_block *b = op->blocks, *next;
    for (; b; b = next) {
        next = b->next;
        block_free(pool, b);
    }
}

static void drop_spare(struct operation_pool *pool)
{
    struct operation_block *next = pool->spare->next;
    mem_free(pool->spare);
    pool->spare = next;
    pool->spare_count--;
}

void operation_pool_free(struct operation_pool *pool)
{
    while (pool->spare) drop_spare(pool);
}

void operation_pool_trim(struct operation_pool *pool)
{
    uint32_t idle = MIN(pool->spare_least, pool->spare_count);
    for (uint32_t drop = (idle + 1) / 2; drop && pool->spare_count > SPARE_BLOCKS_MIN; drop--)
        drop_spare(pool);
    pool->spare_least = pool->spare_count;
}

void operation_set_parts(struct operation_pool *pool, struct operation *op, const uint32_t *shards,
                         uint32_t count)
{
    op->parts = operation_alloc(pool, op, count * sizeof op->parts[0]);
    op->part_count = count;
    atomic_init(&op->waiting, count);
    for (uint32_t i = 0; i < count; i++) {
        struct part *part = &op->parts[i];
        part->op = op;
        part->shard = shards[i];
        reply_init(&part->reply, op->resp);
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
