// SPDX-License-Identifier: BSD-3-Clause
//
// shebang: the first line of a script or library, "#!lua name=lib flags=no-writes,allow-oom", which
// says in which language it is written and what it promises. A script may do without one; then it
// is judged command by command, as before there were flags (SCRIPT_COMPAT).
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum script_flag {
    SCRIPT_NO_WRITES = 1u << 0,
    SCRIPT_ALLOW_OOM = 1u << 1,
    SCRIPT_ALLOW_STALE = 1u << 2,
    SCRIPT_NO_CLUSTER = 1u << 3,
    SCRIPT_ALLOW_CROSS_SLOT = 1u << 4,
    SCRIPT_COMPAT = 1u << 5, // no shebang
};
#define SCRIPT_NAMED_FLAGS 5 // those below SCRIPT_COMPAT have names

// The name of flag number `bit`, as scripts and FUNCTION LIST write it.
const char *script_flag_name(unsigned bit);
// The flag of this name; 0: there is none.
uint32_t script_flag_of(struct slice name);

struct shebang {
    uint32_t flags;
    struct buf name; // owned by the caller (buf_free); of a library
    size_t len;      // bytes of the line without its line feed: the code begins there, so that line
                     // numbers stay right
};

// Both return NULL, or the text of the error reply, which lies in *error (buf_free) or is constant.
const char *shebang_read_script(struct slice text, struct shebang *out, struct buf *error);
const char *shebang_read_library(struct slice text, struct shebang *out, struct buf *error);
