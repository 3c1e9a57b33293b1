// SPDX-License-Identifier: BSD-3-Clause
#include "script/shebang.h"

#include <ctype.h>

#include "base/assert.h"

static const char *const names[SCRIPT_NAMED_FLAGS] = {"no-writes", "allow-oom", "allow-stale",
                                                      "no-cluster", "allow-cross-slot-keys"};

const char *script_flag_name(unsigned bit)
{
    return names[bit];
}

uint32_t script_flag_of(struct slice name)
{
    for (unsigned i = 0; i < SCRIPT_NAMED_FLAGS; i++)
        if (slice_eq(name, slice_of(names[i]))) return 1u << i;
    return 0;
}

// --- words ---------------------------------------------------------------------------------------

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Appends what a backslash in double quotes stands for; returns the byte behind it.
static const char *unescape(const char *p, const char *end, struct buf *word)
{
    static const char letters[] = "nrtba", bytes[] = "\n\r\t\b\a";
    if (end - p >= 4 && p[1] == 'x' && hex_digit(p[2]) >= 0 && hex_digit(p[3]) >= 0) {
        buf_append_char(word, (char)(hex_digit(p[2]) * 16 + hex_digit(p[3])));
        return p + 4;
    }
    const char *letter = memchr(letters, p[1], sizeof letters - 1);
    buf_append_char(word, letter ? bytes[letter - letters] : p[1]);
    return p + 2;
}

// Reads a quoted piece that begins at p; NULL if its quote does not end it, or no space follows.
static const char *read_quoted(const char *p, const char *end, struct buf *word)
{
    char quote = *p++;
    while (p < end && *p != quote) {
        bool is_escape = *p == '\\' && p + 1 < end && (quote == '"' || p[1] == '\'');
        if (is_escape && quote == '"') {
            p = unescape(p, end, word);
        } else {
            p += is_escape;
            buf_append_char(word, *p++);
        }
    }
    if (p == end || (p + 1 < end && !isspace((unsigned char)p[1]))) return NULL;
    return p + 1;
}

// The next word of the line, as a shell would read it. 1: there is one, 0: the end, -1: a quote
// that does not end.
static int next_word(struct slice *line, struct buf *word)
{
    const char *p = line->ptr, *end = p + line->len;
    word->len = 0;
    while (p < end && isspace((unsigned char)*p)) p++;
    if (p == end) return 0;
    while (p && p < end && !isspace((unsigned char)*p)) {
        if (*p == '"' || *p == '\'')
            p = read_quoted(p, end, word);
        else
            buf_append_char(word, *p++);
    }
    if (!p) return -1;
    *line = (struct slice){p, (size_t)(end - p)};
    return 1;
}

// The words must all be readable before the first is judged.
static bool has_good_words(struct slice line)
{
    struct buf word = {0};
    int found;
    while ((found = next_word(&line, &word)) > 0) continue;
    buf_free(&word);
    return found == 0;
}

static bool starts_with(struct slice s, const char *prefix, bool any_case)
{
    size_t n = strlen(prefix);
    if (s.len < n) return false;
    return any_case ? strncasecmp(s.ptr, prefix, n) == 0 : memcmp(s.ptr, prefix, n) == 0;
}

static struct slice behind(struct slice s, size_t n)
{
    return (struct slice){s.ptr + n, s.len - n};
}

static const char *error_of(struct buf *error, const char *format, struct slice word)
{
    error->len = 0;
    buf_printf(error, format, SLICE_ARG(word));
    return error->ptr;
}

// --- scripts -------------------------------------------------------------------------------------

// "a,b": nothing at all is no flag; but between commas there must be one.
static const char *read_flags(struct slice list, uint32_t *flags, struct buf *error)
{
    while (list.len) {
        const char *comma = memchr(list.ptr, ',', list.len);
        struct slice one = {list.ptr, comma ? (size_t)(comma - list.ptr) : list.len};
        uint32_t flag = script_flag_of(one);
        if (!flag) return error_of(error, "ERR Unexpected flag in script shebang: %.*s", one);
        *flags |= flag;
        if (!comma) return NULL;
        list = behind(list, one.len + 1);
        if (!list.len) return error_of(error, "ERR Unexpected flag in script shebang: %.*s", list);
    }
    return NULL;
}

static const char *read_script_words(struct slice line, struct shebang *out, struct buf *word,
                                     struct buf *error)
{
    if (next_word(&line, word) <= 0 || !slice_eq(buf_slice(word), SLICE("#!lua")))
        return error_of(error, "ERR Unexpected engine in script shebang: %.*s", buf_slice(word));
    while (next_word(&line, word) > 0) {
        struct slice w = buf_slice(word);
        if (!starts_with(w, "flags=", false))
            return error_of(error, "ERR Unknown lua shebang option: %.*s", w);
        const char *bad = read_flags(behind(w, sizeof "flags=" - 1), &out->flags, error);
        if (bad) return bad;
    }
    return NULL;
}

const char *shebang_read_script(struct slice text, struct shebang *out, struct buf *error)
{
    *out = (struct shebang){.flags = SCRIPT_COMPAT};
    if (!starts_with(text, "#!", false)) return NULL;
    const char *lf = memchr(text.ptr, '\n', text.len);
    if (!lf) return "ERR Invalid script shebang";
    out->flags = 0;
    out->len = (size_t)(lf - text.ptr);
    struct slice line = {text.ptr, out->len};
    if (!has_good_words(line)) return "ERR Invalid engine in script shebang";
    struct buf word = {0};
    const char *bad = read_script_words(line, out, &word, error);
    buf_free(&word);
    return bad;
}

// --- libraries -----------------------------------------------------------------------------------

static const char *read_library_words(struct slice line, struct shebang *out, struct buf *word,
                                      struct buf *error)
{
    bool has_name = false;
    next_word(&line, word);
    struct slice engine = behind(buf_slice(word), 2);
    if (engine.len && !slice_is(engine, "lua"))
        return error_of(error, "ERR Engine '%.*s' not found", engine);
    while (next_word(&line, word) > 0) {
        struct slice w = buf_slice(word);
        if (!starts_with(w, "name=", true))
            return error_of(error, "ERR Invalid metadata value given: %.*s", w);
        if (has_name) return "ERR Invalid metadata value, name argument was given multiple times";
        has_name = true;
        buf_append(&out->name, w.ptr + 5, w.len - 5);
    }
    if (!has_name) return "ERR Library name was not given";
    return engine.len ? NULL : "ERR Engine '' not found";
}

const char *shebang_read_library(struct slice text, struct shebang *out, struct buf *error)
{
    *out = (struct shebang){0};
    if (!starts_with(text, "#!", false)) return "ERR Missing library metadata";
    const char *lf = memchr(text.ptr, '\n', text.len);
    if (!lf) return "ERR Invalid library metadata";
    out->len = (size_t)(lf - text.ptr);
    struct slice line = {text.ptr, out->len};
    if (!has_good_words(line)) return "ERR Invalid library metadata";
    struct buf word = {0};
    const char *bad = read_library_words(line, out, &word, error);
    buf_free(&word);
    return bad;
}
