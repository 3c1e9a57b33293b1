// SPDX-License-Identifier: BSD-3-Clause
//
// config_words: a configuration line cut into words. "…" knows the escapes \n \r \t \b \a \xHH and
// \ before anything else; '…' knows \' only; a closing quote ends its word.
#pragma once
#include <stdbool.h>

#include "base/slice.h"

struct words {
    struct slice *at; // owned, as are the bytes; NULL while there are none
    int count, room;
};

// Cuts the line up. False if a quote is not closed, or something sticks to a closing one.
bool config_words_split(struct slice line, struct words *out);
// Cuts at every single space, as CONFIG SET does with the value of a directive that takes several.
void config_words_split_spaces(struct slice text, struct words *out);
void config_words_free(struct words *w);

// Without the blanks at both ends.
struct slice config_words_trim(struct slice line);
// Takes the next line off the text (without its \n); false when nothing is left.
bool config_words_next_line(struct slice *text, struct slice *line);
