// SPDX-License-Identifier: BSD-3-Clause
//
// token: reads Lua 5.1's words. The rules that matter here, because a reader that got them wrong
// would take code for text or text for code:
//
//   --[==[ ... ]==]   a comment over lines; the number of '=' must match; anything else behind --
//                     is a comment up to the end of the line
//   [==[ ... ]==]     a string likewise; a '[' that is not followed by ='s and '[' is a symbol
//   "..." '...'       a backslash quotes the byte behind it, a newline included (\r\n counts as
//                     one); a bare newline is an error
//   3..2  0x1p4       digits and points, an exponent with its sign, then letters and digits: one
//                     number, well-formed or not
//
// Bytes that are no ASCII are fine within strings and comments only: whether they are letters
// outside depends on the locale.
#include "script/token.h"

#include "base/assert.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name_byte(char c)
{
    return is_name_start(c) || is_digit(c);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_newline(char c)
{
    return c == '\n' || c == '\r';
}

// Length of an opening bracket "[", "="..., "[" at p; 0 if there is none.
static size_t bracket_len(const char *p, const char *end)
{
    const char *q = p;
    if (q == end || *q++ != '[') return 0;
    while (q < end && *q == '=') q++;
    return q < end && *q == '[' ? (size_t)(q + 1 - p) : 0;
}

// Behind the bracket that closes the one of `len` bytes, opened before p; NULL if it is not closed.
static const char *behind_brackets(const char *p, const char *end, size_t len)
{
    while (p < end && (p = memchr(p, ']', (size_t)(end - p)))) {
        const char *q = p + 1;
        while (q < end && *q == '=') q++;
        if (q < end && *q == ']' && (size_t)(q + 1 - p) == len) return q + 1;
        p = q; // a ']' there may open the closing bracket itself
    }
    return NULL;
}

// Behind spaces and comments; NULL: a comment does not end.
static const char *skip_blank(const char *p, const char *end)
{
    for (;;) {
        while (p < end && is_space(*p)) p++;
        if (end - p < 2 || p[0] != '-' || p[1] != '-') return p;
        p += 2;
        size_t bracket = bracket_len(p, end);
        if (!bracket) {
            while (p < end && !is_newline(*p)) p++;
            continue;
        }
        p = behind_brackets(p + bracket, end, bracket);
        if (!p) return NULL;
    }
}

static const char *behind_number(const char *p, const char *end)
{
    while (p < end && (is_digit(*p) || *p == '.')) p++;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
    }
    while (p < end && is_name_byte(*p)) p++;
    return p;
}

// A string in quotes; *at stands on the first of them.
static struct token read_quoted(const char **at, const char *end)
{
    const char *start = *at, *p = start + 1;
    bool is_plain = true;
    for (; p < end && *p != *start; p++) {
        if (is_newline(*p)) return (struct token){TOKEN_BAD, {start, 0}};
        if (*p != '\\') continue;
        is_plain = false;
        if (++p == end) break;
        if (*p == '\r' && p + 1 < end && p[1] == '\n') p++;
    }
    if (p >= end) return (struct token){TOKEN_BAD, {start, 0}};
    *at = p + 1;
    if (is_plain) return (struct token){TOKEN_STRING, {start + 1, (size_t)(p - start - 1)}};
    return (struct token){TOKEN_OPAQUE, {start, (size_t)(p + 1 - start)}};
}

static size_t symbol_len(const char *p, const char *end)
{
    static const char *const symbols[] = {"...", "..", "==", "~=", "<=", ">="};
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
        size_t len = strlen(symbols[i]);
        if ((size_t)(end - p) >= len && memcmp(p, symbols[i], len) == 0) return len;
    }
    return *p && strchr("+-*/%^#<>=(){}[];:,.", *p) ? 1 : 0;
}

static bool is_reserved(struct slice name)
{
    static const char *const words[] = {"and",   "break", "do",       "else",   "elseif", "end",
                                        "false", "for",   "function", "if",     "in",     "local",
                                        "nil",   "not",   "or",       "repeat", "return", "then",
                                        "true",  "until", "while"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (name.ptr[0] == words[i][0] && slice_eq(name, slice_of(words[i]))) return true;
    return false;
}

static struct token read_token(const char **at, const char *end)
{
    const char *p = *at;
    struct token t = {TOKEN_BAD, {p, 0}};
    size_t bracket = bracket_len(p, end);
    if (*p == '"' || *p == '\'') return read_quoted(at, end);
    if (bracket) {
        p = behind_brackets(p + bracket, end, bracket);
        if (!p) return t;
        t.kind = TOKEN_OPAQUE;
    } else if (is_name_start(*p)) {
        while (p < end && is_name_byte(*p)) p++;
        t.kind = is_reserved((struct slice){*at, (size_t)(p - *at)}) ? TOKEN_WORD : TOKEN_NAME;
    } else if (is_digit(*p) || (*p == '.' && p + 1 < end && is_digit(p[1]))) {
        p = behind_number(p, end);
        t.kind = TOKEN_NUMBER;
    } else {
        size_t len = symbol_len(p, end);
        if (!len) return t;
        p += len;
        t.kind = TOKEN_SYMBOL;
    }
    t.text.len = (size_t)(p - *at);
    *at = p;
    return t;
}

struct token token_next(struct token_reader *r)
{
    const char *p = skip_blank(r->at, r->end);
    if (!p) return (struct token){TOKEN_BAD, {r->at, 0}};
    if (p == r->end) {
        r->at = p;
        return (struct token){TOKEN_END, {p, 0}};
    }
    struct token t = read_token(&p, r->end);
    if (t.kind != TOKEN_BAD) r->at = p;
    return t;
}

struct token token_peek(const struct token_reader *r)
{
    struct token_reader copy = *r;
    return token_next(&copy);
}
