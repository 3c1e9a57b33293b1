// SPDX-License-Identifier: BSD-3-Clause
//
// command_docs: the arguments of a command as the tree that COMMAND DOCS replies, read from the one
// line that the declaration has (`.args`). The notation:
//
//     name            an argument; its type follows from its name (command_docs.c), or name:type
//     WORD            a token: no lower-case letters; it belongs to the argument behind it
//     <a | b>         one of these
//     [a b]           optional; [a | b]: none or one of these
//     (a b)           belongs together
//     a...            repeats; so do  a [a ...]  and, with the token each time,  T a [T a ...]
#pragma once
#include <stdbool.h>

#include "engine/command.h"

enum arg_type {
    ARG_STRING,
    ARG_INTEGER,
    ARG_DOUBLE,
    ARG_KEY,
    ARG_PATTERN,
    ARG_UNIX_TIME,
    ARG_PURE_TOKEN,
    ARG_ONEOF,
    ARG_BLOCK,
};

struct command_arg {
    char *name;  // owned
    char *token; // owned, NULL: none
    enum arg_type type;
    int key_spec; // ARG_KEY: which of the command's key specifications finds it; else -1
    bool is_optional, is_multiple, is_multiple_token;
    struct command_arg *args; // ARG_ONEOF, ARG_BLOCK: arg_count of them; owned
    int arg_count;
};

// The command's arguments in a block of their own (no name; arg_count 0: there are none); the
// caller frees it. NULL if the notation is wrong.
struct command_arg *command_docs_parse(const struct command *c);
void command_docs_free(struct command_arg *root);

// "string", "pure-token" …
const char *command_docs_type_name(enum arg_type type);
