// SPDX-License-Identifier: BSD-3-Clause
#include "server/client_ids.h"

#include "server/client.h"

// Ids count up: an odd factor spreads them over the table's buckets (low bits) and tags (high
// ones).
static uint64_t hash_id(uint64_t id)
{
    return id * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t hash_of(const void *item)
{
    return hash_id(((const struct client *)item)->session.id);
}

static bool matches(const void *item, const void *key)
{
    return ((const struct client *)item)->session.id == *(const uint64_t *)key;
}

void client_ids_init(struct client_ids *ids)
{
    dict_init(&ids->clients, hash_of);
}

void client_ids_free(struct client_ids *ids)
{
    dict_free(&ids->clients);
}

void client_ids_add(struct client_ids *ids, struct client *c)
{
    dict_insert(&ids->clients, hash_of(c), c);
}

void client_ids_remove(struct client_ids *ids, struct client *c)
{
    dict_remove(&ids->clients, hash_of(c), c);
}

struct client *client_ids_find(const struct client_ids *ids, uint64_t id)
{
    return dict_find(&ids->clients, hash_id(id), matches, &id);
}
