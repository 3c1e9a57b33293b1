// SPDX-License-Identifier: BSD-3-Clause
#include "base/buf.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

void buf_free(struct buf *b)
{
    mem_free(b->ptr);
    *b = (struct buf){0};
}

char *buf_reserve(struct buf *b, size_t more)
{
    if (b->cap - b->len < more) {
        size_t cap = b->cap ? b->cap * 2 : 64;
        while (cap - b->len < more) cap *= 2;
        b->ptr = mem_realloc(b->ptr, cap);
        b->cap = cap;
    }
    return b->ptr + b->len;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
    if (!len) return;
    memcpy(buf_reserve(b, len), data, len);
    b->len += len;
}

void buf_append_char(struct buf *b, char c)
{
    *buf_reserve(b, 1) = c;
    b->len++;
}

void buf_append_text(struct buf *b, const char *text)
{
    buf_append(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n > 0) {
        vsnprintf(buf_reserve(b, (size_t)n + 1), (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_append_quoted(struct buf *b, struct slice s)
{
    static const char plain[] = "\n\r\t\a\b\"\\", escaped[] = "nrtab\"\\";
    buf_append_char(b, '"');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        const char *hit = c ? strchr(plain, c) : NULL;
        if (hit) {
            buf_append_char(b, '\\');
            buf_append_char(b, escaped[hit - plain]);
        } else if (isprint(c)) {
            buf_append_char(b, (char)c);
        } else {
            buf_printf(b, "\\x%02x", c);
        }
    }
    buf_append_char(b, '"');
}
