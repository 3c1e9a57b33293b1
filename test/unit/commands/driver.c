// SPDX-License-Identifier: BSD-3-Clause
#include "driver.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"

enum { WORDS_MAX = 64 };

struct gyre *driver_open(void)
{
    struct gyre_options options = {.seed = 1, .is_debug_allowed = true};
    struct gyre *g = gyre_open(&options);
    gyre_set_now_ms(g, DRIVER_NOW_MS);
    return g;
}

void driver_close(struct gyre *g)
{
    gyre_validate(g);
    gyre_close(g);
}

char *driver_run(struct gyre *g, int argc, const char *const *argv, const size_t *lens, size_t *len)
{
    char *reply;
    gyre_execute(g, argc, argv, lens, &reply, len);
    return reply;
}

// Cuts the text at its blanks; returns the number of words.
static int split(char *text, const char **words)
{
    int n = 0;
    char *rest = NULL;
    for (char *w = strtok_r(text, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
        cr_assert_lt(n, WORDS_MAX);
        words[n++] = strcmp(w, "''") == 0 ? "" : w;
    }
    return n;
}

// "$2\r\nab\r\n" -> "$2 ab"
static void flatten(char *reply, size_t len)
{
    size_t to = 0;
    for (size_t i = 0; i < len; i++) {
        bool is_break = reply[i] == '\r' && i + 1 < len && reply[i + 1] == '\n';
        reply[to++] = is_break ? ' ' : reply[i];
        if (is_break) i++;
    }
    reply[to ? to - 1 : 0] = '\0';
}

void driver_check(struct gyre *g, const char *file, int line, const char *command, const char *want)
{
    const char *words[WORDS_MAX];
    char *text = mem_strdup(command);
    size_t len;
    int n = split(text, words);
    char *reply = driver_run(g, n, words, NULL, &len);
    gyre_validate(g);
    flatten(reply, len);
    cr_assert(strcmp(reply, want) == 0, "%s:%d: %s\n  want %s\n  got  %s", file, line, command,
              want, reply);
    gyre_free(reply);
    mem_free(text);
}
