// SPDX-License-Identifier: BSD-3-Clause
//
// portion: what one shard answered to its part of a command that was split over several, and how
// such answers become the one reply that the client expects. The declaration's span says how
// (engine/command.h): sums, elements by position, arrays joined, texts joined, or one for all. Used
// where the parts of a connection's command come home (shard/merge.c) and where a script calls such
// a command in the middle of a meeting (engine/call.c).
#pragma once
#include "engine/ctx.h"

struct portion {
    char *text; // a whole RESP value, NUL-terminated
    const char *at, *end;
};

// The portions of one command, and whose its keys are where that matters.
struct portion_list {
    struct portion *items;
    uint32_t count;
    const uint32_t *key_owner; // SPAN_POSITION: which of `items` has the i-th key
    uint32_t key_count;
};

// A portion that holds these bytes; `text` stays the caller's, and text[len] is a NUL.
static inline struct portion portion_of(char *text, size_t len)
{
    return (struct portion){text, text, text + len};
}

// Writes ctx->cmd's reply, made of what the portions say (the first error, if there is one).
// Changes the portions. Not for SPAN_GATHER, which has none.
void portion_merge(struct ctx *ctx, struct portion_list *list);
