// SPDX-License-Identifier: BSD-3-Clause
//
// slice: borrowed bytes, binary safe, not NUL-terminated. Whoever makes one says how long the bytes
// stay; command arguments stay until the command has answered.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct slice {
    const char *ptr;
    size_t len;
};

#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

// Is `a` the given text, whatever the case of its ASCII letters? The comparison of every option
// name.
static inline bool slice_is(struct slice a, const char *text)
{
    return strlen(text) == a.len && strncasecmp(a.ptr, text, a.len) == 0;
}

// memcmp order, the shorter first among equals.
static inline int slice_cmp(struct slice a, struct slice b)
{
    int c = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    if (c) return c;
    return a.len < b.len ? -1 : a.len > b.len;
}

// printf("%.*s", SLICE_ARG(s))
#define SLICE_ARG(s) (int)(s).len, (s).ptr
