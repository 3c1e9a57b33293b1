// SPDX-License-Identifier: BSD-3-Clause
//
// digest: a fingerprint of the data, equal to that of a Redis which holds the same data. It does
// not depend on the order of keys, so neither on the shards they lie on.
#pragma once
#include <stdint.h>

#include "engine/ctx.h"

#define DIGEST_BYTES 20
#define DIGEST_TEXT  (2 * DIGEST_BYTES + 1)

struct digest {
    uint8_t bytes[DIGEST_BYTES];
};

// Adds the value and the fact (not the time) of an expiry to d.
void digest_add_value(struct digest *d, const struct entry *e);
// Of all databases of all the keyspaces that ctx may touch.
struct digest digest_of_dataset(const struct ctx *ctx);
void digest_format(const struct digest *d, char out[DIGEST_TEXT]);
// SHA-1 of the text in hex.
void digest_of_text(const char *text, char out[DIGEST_TEXT]);
