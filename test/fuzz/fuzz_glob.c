// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target: any pattern against any text (in memory of exactly their lengths, so that a
// sanitizer sees a byte read behind them), and what must hold for all patterns: without case,
// letters may change case; a star at either end only adds matches; the text with every byte quoted
// matches itself.
//
// Input: byte 0 is the pattern's length, the pattern and the text follow.
#include <ctype.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/glob.h"
#include "base/mem.h"

static struct slice copy_of(const char *bytes, size_t len)
{
    char *copy = mem_alloc(len);
    if (len) memcpy(copy, bytes, len);
    return (struct slice){copy, len};
}

static void drop(struct slice s)
{
    mem_free((char *)s.ptr);
}

static void check_case(struct slice pattern, struct slice text)
{
    struct slice upper = copy_of(text.ptr, text.len);
    bool has_class = memchr(pattern.ptr, '[', pattern.len) != NULL;
    for (size_t i = 0; i < upper.len; i++)
        ((char *)upper.ptr)[i] = (char)toupper((unsigned char)upper.ptr[i]);
    bool matches = glob_match_nocase(pattern, text);
    // Classes are the exception: a byte quoted in one keeps its case.
    if (!has_class && matches != glob_match_nocase(pattern, upper)) abort();
    if (!has_class && glob_match(pattern, text) && !matches) abort();
    drop(upper);
}

static void check_stars(struct slice pattern, struct slice text)
{
    if (!glob_match(pattern, text) || text.len == 0) return;
    char *bytes = mem_alloc(pattern.len + 1);
    bytes[0] = '*';
    memcpy(bytes + 1, pattern.ptr, pattern.len);
    if (!glob_match((struct slice){bytes, pattern.len + 1}, text)) abort();
    mem_free(bytes);
}

static void check_quoted(struct slice text)
{
    char *bytes = mem_alloc(text.len * 2);
    for (size_t i = 0; i < text.len; i++) {
        bytes[2 * i] = '\\';
        bytes[2 * i + 1] = text.ptr[i];
    }
    if (!glob_match((struct slice){bytes, text.len * 2}, text)) abort();
    mem_free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    size_t pattern_len = MIN(data[0], size - 1);
    const char *bytes = (const char *)data + 1;
    struct slice pattern = copy_of(bytes, pattern_len);
    struct slice text = copy_of(bytes + pattern_len, size - 1 - pattern_len);
    check_case(pattern, text);
    check_stars(pattern, text);
    check_quoted(text);
    drop(pattern);
    drop(text);
    return 0;
}
