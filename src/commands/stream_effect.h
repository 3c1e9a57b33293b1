// SPDX-License-Identifier: BSD-3-Clause
//
// stream_effect: what the stream commands leave behind for the log (engine/effect.h) where it is
// not their own words: what a consumer group has given to whom, and when.
#pragma once
#include "engine/effect.h"
#include "types/stream.h"

// The id as a word.
void stream_effect_add_id(struct effect_draft *d, struct stream_id id);

// A group and one of its consumers.
struct stream_effect {
    struct ctx *ctx;
    struct slice key, group, consumer;
    struct effect_draft claim; // of the entries so far that were delivered in the same way;
    struct stream_nack like;   // that way
};

// The consumer was made.
void stream_effect_created(struct stream_effect *x);
// The entry is pending for the consumer as `nack` says.
void stream_effect_assigned(struct stream_effect *x, struct stream_id id,
                            const struct stream_nack *nack);
// The entry is not pending any more.
void stream_effect_released(struct stream_effect *x, struct stream_id id);
// How far the group has read.
void stream_effect_advanced(struct stream_effect *x, const struct stream_group *g);
// That was all.
void stream_effect_end(struct stream_effect *x);
