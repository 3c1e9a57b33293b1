// SPDX-License-Identifier: BSD-3-Clause
//
// hash_random: fields of a hash picked at random, uniformly. Fields that are due take part like any
// other: whoever minds takes them out before (hash_expire_due).
#pragma once
#include "base/random.h"
#include "types/hash.h"

// Visits `count` random fields, each independent of the others. The hash is not empty.
void hash_random_any(struct value v, struct random *random, uint64_t count, hash_visit_fn visit,
                     void *arg);
// Visits `count` different fields, each set of them as likely as any other; count <= hash_len(v).
void hash_random_distinct(struct value v, struct random *random, uint64_t count,
                          hash_visit_fn visit, void *arg);
