// SPDX-License-Identifier: BSD-3-Clause
//
// script: what EVAL and FCALL have in common.
#pragma once
#include "engine/ctx.h"
#include "script/lua_state.h"

// argv: name, script or function, number of keys, keys, arguments.
#define SCRIPT_KEYS(flags_)                                                                        \
    {                                                                                              \
        .flags = (flags_), .begin = 2, .is_keynum = true, .first = 1, .step = 1                    \
    }

// Reads keys and arguments; false: the error has been replied.
bool script_parse_keys(struct ctx *ctx, struct run_request *r, const char *not_integer);
// May what has these flags (enum script_flag) run? Sets r->flags; false: the error has been
// replied.
bool script_admit(struct ctx *ctx, struct run_request *r, uint32_t flags);
// What they say as flags of a command (command.h flags_of).
uint32_t script_command_flags(uint32_t flags);
// SCRIPT KILL and FUNCTION KILL.
void script_reply_kill(struct ctx *ctx, bool is_function);
