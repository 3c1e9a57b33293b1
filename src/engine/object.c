// SPDX-License-Identifier: BSD-3-Clause
#include "engine/object.h"

#include "base/assert.h"
#include "base/mem.h"

size_t entry_memory_bytes(const struct entry *e)
{
    const char *start = (const char *)e - (e->has_ttl ? sizeof(struct timewheel_node) : 0);
    size_t bytes = mem_usable_bytes(start);
    if (e->has_ttl) bytes += sizeof(struct timewheel_node *); // its place in the wheel
    if (entry_has_blob(e)) bytes += mem_usable_bytes(e->blob);
    if (e->type != TYPE_STRING) bytes += value_memory_bytes(e->type, e->value);
    // Its share of the table: a slot and the part of the bucket that is empty.
    return bytes + 12;
}

uint32_t lru_clock(int64_t now_ms)
{
    return (uint32_t)(now_ms / 1000) & 0xffffff;
}

uint64_t entry_idle_seconds(const struct entry *e, int64_t now_ms)
{
    return (lru_clock(now_ms) - e->lru) & 0xffffff;
}
