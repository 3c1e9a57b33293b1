// SPDX-License-Identifier: BSD-3-Clause
//
// config: the configuration of a server: loaded at start from defaults, file and command line, in
// this order; read and changed by CONFIG GET and SET; written back by CONFIG REWRITE.
//
// Values live in an immutable struct settings. A change makes a new one, which the server applies
// (listening sockets, log level …) and then publishes; the old one is freed once no thread can be
// reading it any more. So:
//
//     struct settings *next = config_set(c, …);        // NULL: refused, nothing has happened
//     if (server could apply the difference)  old = config_publish(c, next);
//     else                                    settings_free(next);
//
// No global state. Not thread-safe: the server calls these under its own mutex. Secrets appear in
// no error text and no note.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "engine/settings.h"

struct config {
    struct settings *settings; // what is in force; owned
    struct settings *initial;  // what would be, with nothing configured; owned
    char *path;                // the configuration file, absolute; NULL: there is none
    char **notes;              // lines to log once the log is open; owned
    uint32_t note_count;
    bool is_include_off; // `include` is refused (fuzzing)

    // What was read so far; by index in the table. Needed while loading only.
    bool *is_given;
    bool has_user_password; // `user default … #hash` was read
};

enum config_result { CONFIG_LOADED, CONFIG_SHOW_HELP, CONFIG_SHOW_VERSION, CONFIG_BAD };

// All defaults, `dir` the working directory, `threads` the cores this process may run on.
void config_init(struct config *c);
void config_free(struct config *c);

// Reads the command line of the server, and the file that it names, into an initialised config.
// CONFIG_BAD: `error` says why in complete lines, for standard error. HELP and VERSION: the caller
// prints config_usage / the version and exits.
enum config_result config_load(struct config *c, int argc, char *const *argv, struct buf *error);
// The same from the text of a file; `name` is for messages.
bool config_load_text(struct config *c, const char *name, struct slice text, struct buf *error);
// What --help prints.
const char *config_usage(void);

// CONFIG GET: calls emit(arg, name, value) once for every directive that one of the patterns names.
// Bytes are lent for the call.
void config_get(const struct config *c, const struct slice *patterns, int count,
                void (*emit)(void *arg, struct slice name, struct slice value), void *arg);
// CONFIG SET of `count` slices, names and values in turn: the new snapshot, owned by the caller;
// NULL with the whole text of the error reply. is_local: the client is (see enum access).
struct settings *config_set(const struct config *c, const struct slice *pairs, int count,
                            bool is_local, char *error, size_t error_size);
// The error reply for a change that could not be applied: the same form as config_set's.
void config_format_error(const char *name, const char *why, char *error, size_t error_size);
// Makes `next` (taken over) the one in force and returns the one before, now the caller's.
struct settings *config_publish(struct config *c, struct settings *next);
// May a client use what is guarded so?
bool config_is_allowed(enum access access, bool is_local);

// CONFIG REWRITE (server/config_rewrite.c): writes the file anew with what is in force. False with
// the whole text of the error reply.
bool config_rewrite(const struct config *c, char *error, size_t error_size);
// Its pure part: what the file would become.
void config_rewrite_text(const struct config *c, struct slice old_text, struct buf *out);
