// SPDX-License-Identifier: BSD-3-Clause
//
// convert: replies as Lua values, and Lua values as replies.
//
//     RESP                      Lua                               back
//     :12                       12                                :12 (fractions are cut off)
//     $3 abc                    "abc"                             $3 abc
//     +OK                       {ok="OK"}                         +OK
//     -ERR x                    {err="ERR x"}                     -ERR x
//     *2 ...                    {...}                             *2 ... (up to the first nil)
//     $-1, *-1                  false                             null
//     _      (setresp(3))       nil                               null
//     #t                        true                              :1, or #t after setresp(3)
//     ,1.5                      {double=1.5}                      ,1.5 or a bulk string
//     %1 k v                    {map={k=v}}                       %1 k v or a flat array
//     ~1 k                      {set={k=true}}                    ~1 k or an array
//     (123                      {big_number="123"}                (123 or a bulk string
//     =7 txt:abc                {verbatim_string={format=, string=}}
//
// The right-hand side depends on the protocol of the client, the left one on the script's.
#pragma once
#include <lua.h>

#include "engine/reply.h"

// Pushes the value that the RESP bytes in [p, end), whole and well-formed, mean. May raise Lua
// errors (memory).
void convert_push_reply(lua_State *L, const char *p, const char *end);
// Writes the value at the top of the stack as one reply, and pops it. `script_resp`: what the
// script chose by setresp. Raises nothing as long as memory is not limited. True: it is an error
// that says that it was counted already.
bool convert_write_value(lua_State *L, struct reply *out, int script_resp);
// Pushes {err = text}.
void convert_push_error(lua_State *L, const char *text, size_t len);
