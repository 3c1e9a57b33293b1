// SPDX-License-Identifier: BSD-3-Clause
//
// config_table: what directives there are. One row says all about one: its names, what its values
// look like, where in struct settings the value goes, and who may change it. Loading, CONFIG GET,
// SET and REWRITE all work from these rows; none of them knows a directive by name.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "engine/settings.h"

enum directive_kind {
    KIND_BOOL,    // yes | no                           bool
    KIND_INT,     // decimal, min … max                 int64_t
    KIND_OCTAL,   // the same in octal                  int64_t
    KIND_MEMORY,  // with units, min … max              uint64_t
    KIND_PERCENT, // as MEMORY, or 5% (kept as -5)      int64_t
    KIND_STRING,  // any text                           char *
    KIND_ENUM,    // one of `choices`                   int64_t
    KIND_SPECIAL, // whatever `special` makes of it
};

enum directive_flag {
    DIR_IMMUTABLE = 1u << 0, // set at start only
    DIR_HIDDEN = 1u << 1,    // CONFIG GET shows it by its exact name only; REWRITE leaves it out
    DIR_PROTECTED = 1u << 2, // CONFIG SET asks for enable-protected-configs
    DIR_MULTI = 1u << 3,     // several arguments on its line; CONFIG SET splits its value at spaces
    DIR_SECRET = 1u << 4,    // its value appears in no log and no error text
    DIR_INERT = 1u << 5,     // has no meaning here: is checked and shown, no more; settings.inert
    DIR_FILENAME = 1u << 6,  // STRING: no path
    DIR_NO_EMPTY = 1u << 7,  // STRING: not empty
};

struct choice {
    const char *name; // NULL ends the list
    int64_t value;
};

// Room for the reason that a value is refused for.
#define CONFIG_WHY_BYTES 256

struct directive;

// Functions of a KIND_SPECIAL (server/config_special.c).
struct special {
    // Sets the field from its arguments. `is_appending`: lines of this directive were read before,
    // so that lists grow. False with the reason in `why` (CONFIG_WHY_BYTES).
    bool (*parse)(const struct directive *d, struct settings *s, const struct slice *argv, int argc,
                  bool is_appending, char *why);
    // The value as CONFIG GET shows it.
    void (*format)(const struct directive *d, const struct settings *s, struct buf *out);
    // The lines that stand for it in a file, each with its \n. `is_whole`: say all of it, not only
    // what differs from the default.
    void (*lines)(const struct directive *d, const struct settings *s, bool is_whole,
                  struct buf *out);
};

struct directive {
    const char *name;
    const char *alias; // the older name, or NULL
    enum directive_kind kind;
    uint32_t flags;
    size_t offset; // in struct settings; INERT: not used
    int64_t min;
    uint64_t max;
    const struct choice *choices;
    const struct special *special;
    const char *initial; // INERT: the default as CONFIG GET shows it
    const char *only;    // the one value that may be given: another would have to be obeyed,
                         // and that does not work yet
    const char *remark;  // added to the log line of an INERT one; of others: said if one is given
};

extern const struct directive config_table[];
uint32_t config_table_count(void);
// By either name, in any case. *is_alias: it was the older one (may be NULL). NULL: no such
// directive.
const struct directive *config_table_find(struct slice name, bool *is_alias);
