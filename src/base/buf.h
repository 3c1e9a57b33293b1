// SPDX-License-Identifier: BSD-3-Clause
//
// buf: a growable byte buffer for text that is put together (INFO, log lines, config files).
#pragma once
#include <stddef.h>

#include "base/slice.h"

struct buf {
    char *ptr; // owned; NULL while cap is 0
    size_t len, cap;
};

void buf_free(struct buf *b);
// Makes room for `more` bytes and returns where they go; len is not changed.
char *buf_reserve(struct buf *b, size_t more);
void buf_append(struct buf *b, const void *data, size_t len);
void buf_append_char(struct buf *b, char c);
void buf_append_text(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Appends the bytes in double quotes with \n \r \t \a \b \" \\ and \xHH escapes, as redis-cli shows
// them.
void buf_append_quoted(struct buf *b, struct slice s);

static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->ptr ? b->ptr : "", b->len};
}
