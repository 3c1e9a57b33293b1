// SPDX-License-Identifier: BSD-3-Clause
//
// logging: takes what a unit left behind (engine/effect.h) to the shard's log (store/log.h), and
// keeps back what may only be told when the log is safe.
//
//   a unit on one shard      its effects are appended
//   a split command or EXEC  (struct log_tx) each shard runs its part when it gets there and
//                            reserves a slot in its log; the last one puts the whole together and
//                            has all slots filled, so each log that it touched has all of it
//   a meeting                the runner has all effects; the others append the record when they go
//                            on. Whom it serves is part of it
//
// Transactions over shards are numbered where they enter the inboxes, in that same step, so the
// numbers ascend in every log.
//
// Without a log (s->log NULL) all this does nothing.
#pragma once
#include "engine/effect.h"
#include "shard/operation.h"
#include "shard/shard.h"
#include "store/log.h"

// --- what waits for the log ----------------------------------------------------------------------

// Has `held` released once all units below `seq` are safe: now, if they are. Seqs of a shard's
// calls ascend.
void logging_hold(struct shard *s, struct held *held, uint64_t seq);
// Releases what may be released.
void logging_release(struct shard *s);
// Releases everything: the server stops, and whoever waited has gone.
void logging_give_up(struct shard *s);

// The seq behind what was logged so far; 0 without a log.
static inline uint64_t logging_end(const struct shard *s)
{
    return UNLIKELY(s->log != NULL) ? log_end(s->log) : 0;
}

// Is the log safe up to here?
static inline bool logging_is_safe(const struct shard *s, uint64_t seq)
{
    return !s->log || log_is_safe(s->log, seq);
}

// --- units ---------------------------------------------------------------------------------------

// A split command or transaction on its way over `count` shards: made at home, numbered where it
// enters, freed by the last that has to do with it.
struct log_tx *logging_split(uint32_t count);
// All inboxes concerned are locked.
uint64_t logging_next_txid(struct shard *s);
void logging_number(struct shard *s, struct log_tx *tx);

// The unit that ctx ran on this shard is over. tx: it was part `part` of that, else NULL.
void logging_end_unit(struct shard *s, struct ctx *ctx, struct log_tx *tx, uint32_t part);
// That part will not run.
void logging_skip(struct shard *s, struct log_tx *tx, uint32_t part);

// The meeting that ctx ran is over: what it did goes to the logs of all shards whose keys it
// changed. The endings are posted when all of them are safe.
void logging_end_meeting(struct shard *s, struct ctx *ctx, uint64_t txid, struct ending *endings);
// All shards that this record concerns have it in their logs: tells the others.
void logging_tell_decided(struct shard *s, const struct log_record *r);
// This shard goes on after a meeting: its log has the record that the runner left.
void logging_resume(struct shard *s);
