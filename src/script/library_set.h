// SPDX-License-Identifier: BSD-3-Clause
//
// library_set: which libraries of functions there are (FUNCTION LOAD, DELETE, RESTORE ...).
//
// What there is at one time is an immutable set; a change makes the next. The registry holds the
// current one behind a mutex and counts versions; the Lua in which functions run compares, and
// loads what it has not loaded yet (script/library_call.h).
//
//     registry -> set (version 7) -> library "a" -> function "f", "g"
//                                 -> library "b" -> function "h"
//     loaded of version 5: "f" and "g" as references into Lua ... catches up at the next FCALL
#pragma once
#include <pthread.h>

#include "script/library.h"

struct library_set {
    _Atomic uint32_t refs;
    uint64_t version;
    uint32_t count, function_count;
    uint64_t bytes;              // of code
    struct library *libraries[]; // in the order in which they came; one reference each
};

struct library_registry {
    pthread_mutex_t mutex;
    struct library_set *current; // one reference
    _Atomic uint64_t version;    // of it, for a look without the mutex
};

void library_set_unref(struct library_set *set);
// The library of this name, or NULL.
struct library *library_set_find(const struct library_set *set, struct slice name);

// Any library's function of this name, in any case, or NULL.
const struct library_function *library_set_find_function(const struct library_set *set,
                                                         struct slice name);

void library_registry_init(struct library_registry *r);
void library_registry_free(struct library_registry *r);
// The current set, with a reference.
struct library_set *library_registry_get(struct library_registry *r);

enum library_policy { LIBRARY_APPEND, LIBRARY_REPLACE, LIBRARY_FLUSH };
// Adds libraries, all or none: NULL, or the text of the error reply, which lies in *error. APPEND:
// none of the names may be taken. REPLACE: libraries of these names go. FLUSH: all go.
const char *library_registry_add(struct library_registry *r, struct library *const *libraries,
                                 uint32_t count, enum library_policy policy, struct buf *error);
// False: there is none of this name.
bool library_registry_delete(struct library_registry *r, struct slice name);
void library_registry_flush(struct library_registry *r);
