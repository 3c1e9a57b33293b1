// SPDX-License-Identifier: BSD-3-Clause
//
// config_value: between the text of a value and its place in struct settings, both ways, as a row
// of the table (server/config_table.h) says.
#pragma once
#include "server/config_table.h"

// Sets the directive from the arguments behind its name. `is_appending`: see struct special. False
// with the reason in `why` (CONFIG_WHY_BYTES of room); then the settings may be half changed: work
// on a copy.
bool config_value_set(const struct directive *d, struct settings *s, const struct slice *argv,
                      int argc, bool is_appending, char *why);
// The value as CONFIG GET shows it.
void config_value_format(const struct directive *d, const struct settings *s, struct buf *out);
// The line or lines (each with \n) that say it in a file; `is_whole`: see struct special.
void config_value_lines(const struct directive *d, const struct settings *s, bool is_whole,
                        struct buf *out);
// Brings values that depend on more than their range to what will be used (hz and the like).
void config_value_settle(struct settings *s);

// --- for config_special.c -----------------------------------------------------------------------

// Sets `why` and returns false.
bool config_refuse(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Bytes with units as Redis reads them: no digits are 0, too many the highest number.
bool config_parse_memory(struct slice text, uint64_t *out);
// The same as it is written to files: "64mb" where it is that exactly.
void config_format_memory(uint64_t value, struct buf *out);
// A number as strtoll reads it, to the last byte.
bool config_parse_number(struct slice text, int64_t *out);
// Sets the text of an INERT directive; its text.
void config_inert_set(const struct directive *d, struct settings *s, struct slice text);
const char *config_inert_text(const struct directive *d, const struct settings *s);
// "argument(s) must be one of the following: …"; returns false.
bool config_refuse_choice(const struct choice *choices, char *why);
