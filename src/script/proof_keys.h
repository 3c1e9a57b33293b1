// SPDX-License-Identifier: BSD-3-Clause
//
// proof_keys: given what is known of a command's arguments without running anything, is every key
// that it touches certainly one of the script's KEYS? The part of proof.h that knows commands.
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "engine/command.h"

enum argument_kind {
    ARGUMENT_OTHER,   // anything
    ARGUMENT_KEY,     // one of KEYS, or something that redis.call refuses before it does anything
    ARGUMENT_LITERAL, // exactly `text`
};

struct argument {
    enum argument_kind kind;
    struct slice text;
};

enum arguments_tail { // what follows those that are listed
    TAIL_NONE,
    TAIL_KEYS,  // any number of ARGUMENT_KEY
    TAIL_OTHER, // any number of anything
};

struct arguments {
    const struct argument *list; // the command's name first
    size_t count;
    enum arguments_tail tail;
};

bool proof_keys_are_declared(const struct command_table *table, const struct arguments *a);
