// SPDX-License-Identifier: BSD-3-Clause
//
// memory: where the memory went, for INFO and MEMORY STATS. All in bytes.
#pragma once
#include "engine/ctx.h"
#include "engine/host.h"

struct memory_figures {
    uint64_t used, resident, peak, startup;
    uint64_t clients;                   // query and reply buffers
    uint64_t key_tables, expire_tables; // an estimate, see memory.c
    uint64_t overhead;                  // startup + clients + tables
    uint64_t dataset;                   // used - overhead
    uint64_t keys;
};

// info: as ctx->engine->host->info filled it in. Any thread.
void memory_gather(struct ctx *ctx, const struct host_info *info, struct memory_figures *out);
// Of one database, over all shards.
uint64_t memory_key_table(const struct ctx *ctx, uint32_t db);
uint64_t memory_expire_table(const struct ctx *ctx, uint32_t db);

static inline double memory_ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}
