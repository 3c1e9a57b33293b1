// SPDX-License-Identifier: BSD-3-Clause
//
// set_probe: a set that is asked for many members, as SINTER, SUNION and SDIFF do. A table is asked
// for a batch at a time, so that cache misses overlap. A listpack, which would be read from its
// beginning for each question, gets an index if there are enough of them: so asking 128 members of
// one for 128 of another takes no 16,000 comparisons.
//
// The set must not change while the probe lives.
#pragma once
#include "types/set.h"

struct set_probe_slot;

struct set_probe {
    struct value set;
    struct set_probe_slot *index; // owned; NULL: the set is asked itself
    uint32_t mask;                // of the index, a power of two - 1
};

// questions: about how many members it will be asked for.
void set_probe_init(struct set_probe *p, struct value set, uint64_t questions);
// Bit i: members[i] is in the set; at most SET_BATCH.
uint32_t set_probe_has(const struct set_probe *p, const struct item *members, uint32_t count);
void set_probe_free(struct set_probe *p);
