// SPDX-License-Identifier: BSD-3-Clause
//
// Parts: config_table.c (what directives there are), config_value.c and config_special.c (values to
// text and back), config_words.c and config_file.c (lines), config_rewrite.c (CONFIG REWRITE), and
// here: the order of loading, and CONFIG GET and SET.
//
// The command line is read as Redis reads it: a first argument without dashes is the configuration
// file ("-", first or last, is standard input); each --name starts a line, the arguments behind it
// are its values, and the first of them may begin with dashes itself. The lines so made are read as
// a file would be, after the file.
#include "server/config.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/glob.h"
#include "base/mem.h"
#include "server/config_file.h"
#include "server/config_value.h"
#include "server/config_words.h"

// --- life ---------------------------------------------------------------------------------------

static int64_t count_cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return MAX(1, MIN(n, SETTINGS_THREADS_MAX));
}

void config_init(struct config *c)
{
    char cwd[PATH_MAX];
    *c = (struct config){0};
    c->initial = settings_default();
    c->initial->threads = count_cores();
    c->settings = settings_copy(c->initial);
    mem_free(c->settings->dir);
    c->settings->dir = mem_strdup(getcwd(cwd, sizeof cwd) ? cwd : ".");
    c->is_given = mem_calloc(config_table_count() * sizeof *c->is_given);
}

void config_free(struct config *c)
{
    settings_free(c->settings);
    settings_free(c->initial);
    for (uint32_t i = 0; i < c->note_count; i++) mem_free(c->notes[i]);
    mem_free(c->notes);
    mem_free(c->path);
    mem_free(c->is_given);
    *c = (struct config){0};
}

// --- loading ------------------------------------------------------------------------------------

static bool finish_load(struct config *c, struct buf *error)
{
    config_value_settle(c->settings);
    if (!c->has_user_password || c->settings->requirepass[0]) return true;
    buf_append_text(error, "\n*** FATAL CONFIG FILE ERROR (Gyre) ***\n"
                           "A password stands in 'user default' only: set it with 'requirepass'\n");
    return false;
}

bool config_load_text(struct config *c, const char *name, struct slice text, struct buf *error)
{
    return config_file_apply(c, name, text, error) && finish_load(c, error);
}

static bool load_file(struct config *c, const char *name, struct buf *error)
{
    struct buf text = {0};
    bool is_good = config_file_read(name, &text);
    if (!is_good)
        buf_printf(error, "Fatal error, can't open config file '%s': %s\n", name, strerror(errno));
    else
        is_good = config_file_apply(c, strcmp(name, "-") ? name : "standard input",
                                    buf_slice(&text), error);
    buf_free(&text);
    return is_good;
}

static char *absolute_path(const char *path)
{
    char cwd[PATH_MAX];
    struct buf absolute = {0};
    if (path[0] != '/' && getcwd(cwd, sizeof cwd)) buf_printf(&absolute, "%s/", cwd);
    buf_append_text(&absolute, path);
    char *owned = mem_strndup(absolute.ptr, absolute.len);
    buf_free(&absolute);
    return owned;
}

static bool is_option(const char *arg)
{
    return arg[0] == '-' && arg[1] == '-';
}

// Turns arguments into lines. *is_stdin: a lone "-" stood first or last.
static void collect_lines(int argc, char *const *argv, int from, struct buf *lines, bool *is_stdin)
{
    bool is_value_due = false; // the next argument is a value, even if it begins with --
    for (int i = from; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "-") == 0 && (i == 1 || i == argc - 1)) {
            *is_stdin = true;
        } else if (!is_value_due && is_option(arg)) {
            bool is_last = i == argc - 1;
            buf_printf(lines, "%s%s", lines->len ? "\n" : "", arg + 2);
            is_value_due = !strchr(arg, ' '); // "--port 1" in one argument has its value
            if (strcasecmp(arg, "--save") == 0 && (is_last || is_option(argv[i + 1]))) {
                buf_append_text(lines, " \"\"");
                is_value_due = false;
            }
        } else {
            buf_append_text(lines, lines->len ? " " : "");
            buf_append_quoted(lines, slice_of(arg));
            is_value_due = false;
        }
    }
}

enum config_result config_load(struct config *c, int argc, char *const *argv, struct buf *error)
{
    struct buf lines = {0};
    bool is_stdin = false, is_good = true;
    int from = 1;
    if (argc == 2) {
        if (!strcmp(argv[1], "-v") || !strcmp(argv[1], "--version")) return CONFIG_SHOW_VERSION;
        if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")) return CONFIG_SHOW_HELP;
    }
    if (argc > 1 && argv[1][0] != '-') {
        c->path = absolute_path(argv[1]);
        from = 2;
    }
    collect_lines(argc, argv, from, &lines, &is_stdin);
    if (c->path) is_good = load_file(c, c->path, error);
    if (is_good && is_stdin) is_good = load_file(c, "-", error);
    if (is_good) is_good = config_file_apply(c, NULL, buf_slice(&lines), error);
    buf_free(&lines);
    return is_good && finish_load(c, error) ? CONFIG_LOADED : CONFIG_BAD;
}

const char *config_usage(void)
{
    return "Usage: gyre-server [configuration file] [--option value ...]\n"
           "       gyre-server -                 the configuration comes from standard input\n"
           "       gyre-server -v | --version\n"
           "       gyre-server -h | --help\n"
           "\n"
           "Options have redis-server's names, and are those of the configuration file:\n"
           "       gyre-server /etc/gyre/gyre.conf --port 7777\n"
           "       gyre-server --port 7777 --bind 127.0.0.1 ::1 --save ''\n"
           "       gyre-server --threads 2 --io poll --maxmemory 2gb\n";
}

// --- CONFIG GET ---------------------------------------------------------------------------------

struct getter {
    const struct config *c;
    bool *is_shown; // two for each directive: by its name, by its alias
    void (*emit)(void *arg, struct slice name, struct slice value);
    void *arg;
};

static void show(struct getter *g, const struct directive *d, bool is_alias, struct slice name)
{
    bool *is_shown = &g->is_shown[(d - config_table) * 2 + is_alias];
    if (*is_shown) return;
    *is_shown = true;
    struct buf value = {0};
    config_value_format(d, g->c->settings, &value);
    g->emit(g->arg, name, buf_slice(&value));
    buf_free(&value);
}

static bool is_pattern(struct slice text)
{
    return memchr(text.ptr, '*', text.len) || memchr(text.ptr, '?', text.len) ||
           memchr(text.ptr, '[', text.len);
}

static void show_matches(struct getter *g, struct slice pattern)
{
    for (uint32_t i = 0; i < config_table_count(); i++) {
        const struct directive *d = &config_table[i];
        if (d->flags & DIR_HIDDEN) continue;
        struct slice name = slice_of(d->name);
        if (glob_match_nocase(pattern, name)) show(g, d, false, name);
        if (!d->alias) continue;
        name = slice_of(d->alias);
        if (glob_match_nocase(pattern, name)) show(g, d, true, name);
    }
}

void config_get(const struct config *c, const struct slice *patterns, int count,
                void (*emit)(void *arg, struct slice name, struct slice value), void *arg)
{
    bool *is_shown = mem_calloc(config_table_count() * 2 * sizeof *is_shown);
    struct getter g = {c, is_shown, emit, arg};
    for (int i = 0; i < count; i++) {
        bool is_alias;
        const struct directive *d;
        if (is_pattern(patterns[i]))
            show_matches(&g, patterns[i]);
        else if ((d = config_table_find(patterns[i], &is_alias)))
            show(&g, d, is_alias, patterns[i]); // as the client wrote it
    }
    mem_free(is_shown);
}

// --- CONFIG SET ---------------------------------------------------------------------------------

void config_format_error(const char *name, const char *why, char *error, size_t error_size)
{
    snprintf(error, error_size, "ERR CONFIG SET failed (possibly related to argument '%s') - %s",
             name, why);
}

static bool refuse(struct slice name, const char *why, char *error, size_t error_size)
{
    char copy[128];
    snprintf(copy, sizeof copy, "%.*s", SLICE_ARG(name));
    config_format_error(copy, why, error, error_size);
    return false;
}

bool config_is_allowed(enum access access, bool is_local)
{
    return access == ACCESS_YES || (access == ACCESS_LOCAL && is_local);
}

static bool is_repeated(const struct slice *pairs, int at, const struct directive *d, bool is_alias)
{
    for (int i = 0; i < at; i += 2)
        if (slice_is(pairs[i], is_alias ? d->alias : d->name)) return true;
    return false;
}

// May the directives be set at all? Values are not looked at.
static bool check_names(const struct config *c, const struct slice *pairs, int count, bool is_local,
                        char *error, size_t error_size)
{
    bool is_protected =
        !config_is_allowed((enum access)c->settings->enable_protected_configs, is_local);
    for (int i = 0; i < count; i += 2) {
        bool is_alias;
        const struct directive *d = config_table_find(pairs[i], &is_alias);
        if (!d) {
            snprintf(error, error_size,
                     "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                     SLICE_ARG(pairs[i]));
            return false;
        }
        if (d->flags & DIR_IMMUTABLE)
            return refuse(pairs[i], "can't set immutable config", error, error_size);
        if ((d->flags & DIR_PROTECTED) && is_protected)
            return refuse(pairs[i], "can't set protected config", error, error_size);
        if (is_repeated(pairs, i, d, is_alias))
            return refuse(pairs[i], "duplicate parameter", error, error_size);
    }
    return true;
}

static bool set_value(struct settings *s, const struct directive *d, struct slice value, char *why)
{
    struct words parts = {0};
    if (!(d->flags & DIR_MULTI)) return config_value_set(d, s, &value, 1, false, why);
    config_words_split_spaces(value, &parts);
    bool is_good = config_value_set(d, s, parts.at, parts.count, false, why);
    config_words_free(&parts);
    return is_good;
}

struct settings *config_set(const struct config *c, const struct slice *pairs, int count,
                            bool is_local, char *error, size_t error_size)
{
    char why[CONFIG_WHY_BYTES];
    ASSERT(count % 2 == 0);
    if (!check_names(c, pairs, count, is_local, error, error_size)) return NULL;
    struct settings *next = settings_copy(c->settings);
    for (int i = 0; i < count; i += 2) {
        if (set_value(next, config_table_find(pairs[i], NULL), pairs[i + 1], why)) continue;
        refuse(pairs[i], why, error, error_size);
        settings_free(next);
        return NULL;
    }
    config_value_settle(next);
    return next;
}

struct settings *config_publish(struct config *c, struct settings *next)
{
    struct settings *old = c->settings;
    c->settings = next;
    return old;
}
