// SPDX-License-Identifier: BSD-3-Clause
//
// The rules are those by which redis-server and redis-cli read their lines, so that a file or a
// command line written for one means the same here.
#include "server/config_words.h"

#include <ctype.h>

#include "base/buf.h"
#include "base/mem.h"

static void add_word(struct words *w, struct slice word)
{
    if (w->count == w->room) {
        w->room = w->room ? w->room * 2 : 8;
        w->at = mem_realloc(w->at, (size_t)w->room * sizeof *w->at);
    }
    w->at[w->count++] = (struct slice){mem_strndup(word.ptr, word.len), word.len};
}

void config_words_free(struct words *w)
{
    for (int i = 0; i < w->count; i++) mem_free((void *)w->at[i].ptr);
    mem_free(w->at);
    *w = (struct words){0};
}

static bool is_blank(char c)
{
    return isspace((unsigned char)c);
}

static int hex_digit(char c)
{
    if (!isxdigit((unsigned char)c)) return -1;
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

// Reads the escape at *p (behind the backslash) and advances *p past it.
static char read_escape(const char **p, const char *end)
{
    static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
    char c = *(*p)++;
    if (c == 'x' && end - *p >= 2 && hex_digit((*p)[0]) >= 0 && hex_digit((*p)[1]) >= 0) {
        c = (char)(hex_digit((*p)[0]) * 16 + hex_digit((*p)[1]));
        *p += 2;
        return c;
    }
    const char *known = c ? strchr(from, c) : NULL;
    return known ? to[known - from] : c;
}

// Reads from behind an opening quote to behind the closing one, which must end the word. NULL if
// not.
static const char *read_quoted(const char *p, const char *end, char quote, struct buf *word)
{
    while (p < end && *p != quote) {
        if (*p == '\\' && end - p >= 2 && (quote == '"' || p[1] == '\'')) {
            p++;
            buf_append_char(word, read_escape(&p, end));
        } else {
            buf_append_char(word, *p++);
        }
    }
    if (p == end) return NULL;
    p++;
    return p == end || is_blank(*p) ? p : NULL;
}

bool config_words_split(struct slice line, struct words *out)
{
    const char *p = line.ptr, *end = line.ptr + line.len;
    struct buf word = {0};
    *out = (struct words){0};
    for (;;) {
        while (p < end && is_blank(*p)) p++;
        if (p == end) break;
        word.len = 0;
        while (p && p < end && !is_blank(*p)) {
            if (*p == '"' || *p == '\'')
                p = read_quoted(p + 1, end, *p, &word);
            else
                buf_append_char(&word, *p++);
        }
        if (!p) {
            config_words_free(out);
            break;
        }
        add_word(out, buf_slice(&word));
    }
    buf_free(&word);
    return p != NULL;
}

void config_words_split_spaces(struct slice text, struct words *out)
{
    *out = (struct words){0};
    if (text.len == 0) return;
    for (;;) {
        const char *space = memchr(text.ptr, ' ', text.len);
        size_t len = space ? (size_t)(space - text.ptr) : text.len;
        add_word(out, (struct slice){text.ptr, len});
        if (!space) return;
        text.ptr += len + 1;
        text.len -= len + 1;
    }
}

struct slice config_words_trim(struct slice line)
{
    while (line.len && is_blank(line.ptr[0])) {
        line.ptr++;
        line.len--;
    }
    while (line.len && is_blank(line.ptr[line.len - 1])) line.len--;
    return line;
}

bool config_words_next_line(struct slice *text, struct slice *line)
{
    if (text->len == 0) return false;
    const char *newline = memchr(text->ptr, '\n', text->len);
    *line = (struct slice){text->ptr, newline ? (size_t)(newline - text->ptr) : text->len};
    size_t taken = line->len + (newline ? 1 : 0);
    text->ptr += taken;
    text->len -= taken;
    return true;
}
