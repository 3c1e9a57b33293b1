// SPDX-License-Identifier: BSD-3-Clause
//
// A line is blank, a comment (#), or words: a directive of the table and its values, or one of the
// few words that are no settings (include, user, loadmodule …). What cannot be obeyed yet and would
// be dangerous to ignore (a rename-command, an ACL user, a module) is an error; what has no meaning
// here becomes a note for the log.
//
// The message of an error has Redis's form, with the file's name:
//
//     *** FATAL CONFIG FILE ERROR (Gyre) ***
//     Reading the configuration file '/etc/gyre.conf', at line 4
//     >>> 'port 123456'
//     argument must be between 0 and 65535 inclusive
#include "server/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "server/config_value.h"
#include "server/config_words.h"

#define INCLUDE_DEPTH_MAX 16 // files that include each other end here

struct source {       // where a line comes from
    const char *name; // NULL: the command line
    uint32_t line;
    int depth;
};

static bool apply_text(struct config *c, const char *name, int depth, struct slice text,
                       struct buf *error);

static void __attribute__((format(printf, 3, 4)))
add_note(struct config *c, const struct source *src, const char *format, ...)
{
    struct buf note = {0};
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (src->name)
        buf_printf(&note, "%s:%u: %s", src->name, src->line, text);
    else
        buf_printf(&note, "Command line: %s", text);
    c->notes = mem_realloc(c->notes, (c->note_count + 1) * sizeof *c->notes);
    c->notes[c->note_count++] = mem_strndup(note.ptr, note.len);
    buf_free(&note);
}

// --- errors --------------------------------------------------------------------------------------

// The first word of a line, as far as it can be told without knowing that its quotes fit.
static struct slice first_word(struct slice line)
{
    size_t len = 0;
    if (line.len && (line.ptr[0] == '"' || line.ptr[0] == '\'')) {
        line.ptr++;
        line.len--;
    }
    while (len < line.len && !strchr(" \t\r\"'", line.ptr[len])) len++;
    return (struct slice){line.ptr, len};
}

static bool holds_secret(struct slice word)
{
    const struct directive *d = config_table_find(word, NULL);
    return (d && (d->flags & DIR_SECRET)) || slice_is(word, "user") || slice_is(word, "sentinel");
}

static bool report(struct buf *error, const struct source *src, struct slice line, const char *why)
{
    buf_append_text(error, "\n*** FATAL CONFIG FILE ERROR (Gyre) ***\n");
    if (src->name)
        buf_printf(error, "Reading the configuration file '%s', at line %u\n", src->name,
                   src->line);
    else
        buf_append_text(error, "Reading the command line\n");
    struct slice word = first_word(line);
    if (holds_secret(word))
        buf_printf(error, ">>> '%.*s (redacted)'\n", SLICE_ARG(word));
    else
        buf_printf(error, ">>> '%.*s'\n", SLICE_ARG(line));
    buf_printf(error, "%s\n", why);
    return false;
}

// --- include -------------------------------------------------------------------------------------

static bool read_all(int fd, struct buf *out)
{
    for (;;) {
        char *room = buf_reserve(out, 16384);
        ssize_t n = read(fd, room, 16384);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n == 0;
        out->len += (size_t)n;
        if (out->len > CONFIG_FILE_MAX_BYTES) {
            errno = EFBIG;
            return false;
        }
    }
}

bool config_file_read(const char *path, struct buf *out)
{
    if (strcmp(path, "-") == 0) return read_all(STDIN_FILENO, out);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool is_read = read_all(fd, out);
    int saved = errno;
    close(fd);
    errno = saved;
    return is_read;
}

// *is_reported: the file's own lines were wrong, and `error` says so already.
static bool include_file(struct config *c, const struct source *src, const char *path,
                         struct buf *error, bool *is_reported, char *why)
{
    struct buf text = {0};
    bool is_good = config_file_read(path, &text);
    if (is_good) {
        is_good = apply_text(c, path, src->depth + 1, buf_slice(&text), error);
        *is_reported = !is_good;
    } else {
        config_refuse(why, "can't open config file '%s': %s", path, strerror(errno));
    }
    buf_free(&text);
    return is_good;
}

// The pattern of an include; a relative one starts where `dir` led to by then.
static char *include_pattern(const struct config *c, struct slice pattern)
{
    const struct directive *dir = config_table_find(SLICE("dir"), NULL);
    if (c->is_given[dir - config_table] && pattern.len && pattern.ptr[0] != '/') {
        struct buf path = {0};
        buf_printf(&path, "%s/%.*s", c->settings->dir, SLICE_ARG(pattern));
        char *owned = mem_strndup(path.ptr, path.len);
        buf_free(&path);
        return owned;
    }
    return mem_strndup(pattern.ptr, pattern.len);
}

static bool include(struct config *c, const struct source *src, struct slice pattern,
                    struct buf *error, bool *is_reported, char *why)
{
    if (c->is_include_off) return config_refuse(why, "include is not allowed here");
    if (src->depth >= INCLUDE_DEPTH_MAX)
        return config_refuse(why, "includes are nested too deeply");
    glob_t found = {0};
    char *path = include_pattern(c, pattern);
    bool is_good = true;
    if (strpbrk(path, "*?[") && glob(path, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc && is_good; i++)
            is_good = include_file(c, src, found.gl_pathv[i], error, is_reported, why);
    } else if (!strpbrk(path, "*?[")) { // a pattern that matches nothing includes nothing
        is_good = include_file(c, src, path, error, is_reported, why);
    }
    globfree(&found);
    mem_free(path);
    return is_good;
}

// --- words that are no settings -----------------------------------------------------------------

// The one form of `user` that says nothing: CONFIG REWRITE of Redis puts it into every file. A
// password in it must stand in requirepass too (finish_load checks).
static bool apply_user(struct config *c, const struct words *w, char *why)
{
    static const char *const harmless[] = {
        "on",          "nopass", "sanitize-payload", "skip-sanitize-payload", "~*", "allkeys", "&*",
        "allchannels", "+@all",  "allcommands",
    };
    bool is_harmless = w->count >= 2 && slice_is(w->at[1], "default");
    bool has_channels = false;
    for (int i = 2; i < w->count && is_harmless; i++) {
        struct slice rule = w->at[i];
        bool is_known = false;
        for (size_t j = 0; j < ARRAY_LEN(harmless); j++) is_known |= slice_is(rule, harmless[j]);
        has_channels |= slice_is(rule, "&*") || slice_is(rule, "allchannels");
        if (rule.len && (rule.ptr[0] == '#' || rule.ptr[0] == '>'))
            c->has_user_password = is_known = true;
        is_harmless = is_known;
    }
    return (is_harmless && has_channels) ||
           config_refuse(why, "'user' is not supported yet, except a default user with all rights");
}

static bool apply_word(struct config *c, const struct source *src, const struct words *w,
                       struct buf *error, bool *is_reported, char *why)
{
    static const char *const gone[] = {"list-max-ziplist-entries", "list-max-ziplist-value",
                                       "lua-replicate-commands"};
    struct slice word = w->at[0];
    if (slice_is(word, "include") && w->count == 2)
        return include(c, src, w->at[1], error, is_reported, why);
    if (slice_is(word, "user") && w->count >= 2) return apply_user(c, w, why);
    if ((slice_is(word, "rename-command") && w->count == 3) ||
        (slice_is(word, "loadmodule") && w->count >= 2) || slice_is(word, "sentinel"))
        return config_refuse(why, "'%.*s' is not supported yet", SLICE_ARG(word));
    for (size_t i = 0; i < ARRAY_LEN(gone); i++) {
        if (!slice_is(word, gone[i]) || w->count != 2) continue;
        add_note(c, src, "'%s' has no meaning any more", gone[i]);
        return true;
    }
    return config_refuse(why, "Bad directive or wrong number of arguments");
}

// --- directives ---------------------------------------------------------------------------------

static void note_directive(struct config *c, const struct source *src, const struct directive *d)
{
    bool is_inert = d->flags & DIR_INERT;
    if (c->is_given[d - config_table] || (!is_inert && !d->remark)) return;
    struct buf value = {0};
    config_value_format(d, c->settings, &value);
    bool is_off = value.len == 0 || slice_is(buf_slice(&value), "no");
    if (is_inert)
        add_note(c, src, "'%s' has no meaning here%s%s", d->name, d->remark ? ": " : "",
                 d->remark ? d->remark : "");
    else if (!is_off)
        add_note(c, src, "'%s': %s", d->name, d->remark);
    buf_free(&value);
}

static bool apply_directive(struct config *c, const struct source *src, const struct directive *d,
                            const struct words *w, char *why)
{
    const struct slice *argv = w->at + 1;
    int argc = w->count - 1;
    struct words parts = {0};
    if ((d->flags & DIR_MULTI) && argc == 1 && argv[0].len) { // "100 10" as one argument
        config_words_split_spaces(argv[0], &parts);
        argv = parts.at;
        argc = parts.count;
    }
    bool is_given = c->is_given[d - config_table];
    bool is_good = config_value_set(d, c->settings, argv, argc, is_given, why);
    if (is_good) {
        note_directive(c, src, d);
        c->is_given[d - config_table] = true;
    }
    config_words_free(&parts);
    return is_good;
}

static bool apply_line(struct config *c, const struct source *src, struct slice line,
                       struct buf *error)
{
    char why[CONFIG_WHY_BYTES] = "";
    struct words w;
    bool is_reported = false;
    line = config_words_trim(line);
    if (line.len == 0 || line.ptr[0] == '#') return true;
    if (!config_words_split(line, &w))
        return report(error, src, line, "Unbalanced quotes in configuration line");
    const struct directive *d = config_table_find(w.at[0], NULL);
    bool is_good =
        d ? apply_directive(c, src, d, &w, why) : apply_word(c, src, &w, error, &is_reported, why);
    config_words_free(&w);
    if (!is_good && !is_reported) report(error, src, line, why);
    return is_good;
}

static bool apply_text(struct config *c, const char *name, int depth, struct slice text,
                       struct buf *error)
{
    struct source src = {.name = name, .depth = depth};
    struct slice line;
    while (config_words_next_line(&text, &line)) {
        src.line++;
        if (!apply_line(c, &src, line, error)) return false;
    }
    return true;
}

bool config_file_apply(struct config *c, const char *name, struct slice text, struct buf *error)
{
    return apply_text(c, name, 0, text, error);
}
