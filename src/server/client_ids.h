// SPDX-License-Identifier: BSD-3-Clause
//
// client_ids: the connections at home on one worker, found by their ids. What travels between
// shards names a connection by its id and home; here it meets the connection, or finds that it has
// gone. Owned by the worker's thread.
#pragma once
#include "ds/dict.h"

struct client;

struct client_ids {
    struct dict clients;
};

void client_ids_init(struct client_ids *ids);
// The connections are not its own.
void client_ids_free(struct client_ids *ids);
// The connection begins to live here (no other has its id), or does not any more.
void client_ids_add(struct client_ids *ids, struct client *c);
void client_ids_remove(struct client_ids *ids, struct client *c);
// NULL: it does not live here.
struct client *client_ids_find(const struct client_ids *ids, uint64_t id);
