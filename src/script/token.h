// SPDX-License-Identifier: BSD-3-Clause
//
// token: the words of a Lua 5.1 source, one by one, pointing into it. What Lua's own lexer takes as
// one token is one here, and the same one; what it rejects may pass (the source will not compile
// anyway) or end as TOKEN_BAD. TOKEN_BAD is also what Lua 5.1 and its relatives read differently.
#pragma once
#include <stdbool.h>

#include "base/slice.h"

enum token_kind {
    TOKEN_END,
    TOKEN_BAD,
    TOKEN_NAME,
    TOKEN_WORD,   // a reserved word
    TOKEN_NUMBER, // text: as written
    TOKEN_STRING, // text: what it means; only for strings without escapes
    TOKEN_OPAQUE, // a string with escapes or in long brackets; text: as written
    TOKEN_SYMBOL, // operators and punctuation
};

struct token {
    enum token_kind kind;
    struct slice text;
};

struct token_reader {
    const char *at, *end; // the source, borrowed
};

// The next token; after TOKEN_END or TOKEN_BAD the same again.
struct token token_next(struct token_reader *r);
// The token behind that, without taking it.
struct token token_peek(const struct token_reader *r);
// Is it this reserved word or symbol?
static inline bool token_is(const struct token *t, const char *text)
{
    return (t->kind == TOKEN_WORD || t->kind == TOKEN_SYMBOL) && t->text.ptr[0] == text[0] &&
           slice_eq(t->text, slice_of(text));
}
