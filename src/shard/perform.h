// SPDX-License-Identifier: BSD-3-Clause
//
// perform: what a shard does when it comes to an operation in its inbox.
//
//   a part of a batch   its pieces are executed on this shard's keyspace; whoever finishes last
//                       mails the operation home
//   a meeting           the keyspace parks here. The last shard to arrive (or the operation's
//                       runner, which it summons) runs the operation, and those that travel with
//                       it, against all their keyspaces, then mails the others to go on; by the
//                       time they hear of it the operation may be gone, and its memory another's
//
// A meeting costs every shard a stop, whatever is done in it. So a connection's commands that meet
// and follow each other are one operation, and the operations of one turn that stop all shards
// enter as one (shard.c): each is a unit of its own to whoever looks, but all have one instant, and
// are one record in the logs.
#pragma once
#include "shard/shard.h"

// inbox_item.run of a batch's parts, and of a meeting's.
void perform_part(struct shard *s, struct inbox_item *item);
void perform_arrival(struct shard *s, struct inbox_item *item);
// For refuse.c: this shard has done its part; it has arrived at the meeting, or never will.
void perform_finish(struct shard *s, struct part *part);
void perform_count_arrival(struct shard *s, struct operation *op);
// mail.deliver of shard->resume: the meeting is over.
void perform_resumption(struct shard *s, struct mail *mail);

// Runs run(shard, arg) on the thread of another shard, which is parked in the meeting that the
// caller runs, and returns when it is done: for what that thread owns besides the keyspace. Parked
// shards wait for nobody else, so this ends.
void perform_at(struct shard *other, void (*run)(struct shard *shard, void *arg), void *arg);
