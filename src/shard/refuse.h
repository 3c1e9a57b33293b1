// SPDX-License-Identifier: BSD-3-Clause
//
// refuse: what waits in the inbox of a shard that will not come to it for long, because a slow
// script has its keyspace or it is parked behind one, is answered an error. As with Redis, which
// would not have read it yet.
//
// What happens as a whole (a meeting; what writes and was split, or is in a transaction) either
// begins, if one shard comes to it first, or is refused by all of them, if one that cannot run it
// does (operation.claim). Those who have arrived at a meeting that is refused leave it. Of other
// batches each shard's part is refused by itself, and with it what was split and has a piece there.
//
// Not refused, and so done when the script is over: what may run beside one (CMD_ALLOW_BUSY), what
// changes who is told what (SUBSCRIBE, CLIENT TRACKING), a transaction that watches keys, and what
// follows a script on the same connection.
#pragma once
#include "shard/shard.h"

// Refuses what waits in the backlog. The shard is parked, or a slow script of its own has called
// back. error: the reply's text, from its code on; it lives on.
void shard_refuse_backlog(struct shard *s, const char *error);

// For perform.c. A shard has come to an operation that happens as a whole: the error with which it
// is refused, or NULL: it begins.
const char *refuse_before_begin(struct operation *op);
// Instead of running this shard's part. Instead of the meeting, all of whose parts have arrived.
void refuse_part(struct shard *s, struct part *part, const char *error);
void refuse_meeting(struct shard *s, struct operation *first, const char *error);
