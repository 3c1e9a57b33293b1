// SPDX-License-Identifier: BSD-3-Clause
//
// script_cache: the sources of all scripts that EVAL or SCRIPT LOAD have seen, by the SHA1 of their
// text. One for all shards, behind a mutex; what a shard has compiled it finds without looking here
// (script/lua_state.h), so only a script's first run on a shard comes by.
//
// A script is immutable and counted. SCRIPT FLUSH (and the limit on what EVAL leaves behind) takes
// it out and says so in the script itself (is_gone), which every shard's compiled copy holds: so it
// is gone everywhere at once, and shards drop their copies when they see that `generation` moved.
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "ds/dict.h"
#include "script/shebang.h"

#define SCRIPT_SHA_BYTES 40
// Scripts that only EVAL has brought, and nobody has asked to keep: a client that puts its data
// into the text would fill the memory. The same number as in Redis 7.4.
#define SCRIPT_EVAL_MAX 500

struct script {
    _Atomic uint32_t refs;
    _Atomic bool is_gone; // not in the cache any more
    _Atomic bool is_used; // since the eviction's hand last passed
    bool is_kept;         // SCRIPT LOAD: never evicted; guarded by the cache's mutex
    char sha[SCRIPT_SHA_BYTES + 1];
    uint32_t flags;             // enum script_flag
    size_t code_offset;         // where the text behind the shebang begins
    struct script *prev, *next; // in the ring of those that may be evicted; the cache's mutex
    size_t len;
    char text[];
};

struct script_cache {
    pthread_mutex_t mutex;
    struct dict scripts; // by sha; one reference each
    struct script *hand; // in the ring of scripts that may be evicted; NULL: none
    uint32_t ring_count;
    uint64_t evicted;     // scripts, ever
    _Atomic size_t bytes; // of all scripts
    _Atomic uint64_t count;
    _Atomic uint64_t generation; // raised whenever scripts have gone
};

void script_cache_init(struct script_cache *c);
void script_cache_free(struct script_cache *c);

// Lower-case hexadecimal digits and a NUL.
void script_sha1(struct slice text, char out[SCRIPT_SHA_BYTES + 1]);
// False if that is no SHA1; else `out` has it in lower case.
bool script_sha_parse(struct slice text, char out[SCRIPT_SHA_BYTES + 1]);

// A script of this text, not in the cache; one reference. NULL: its shebang is wrong, see
// shebang_read_script for *bad.
struct script *script_new(struct slice text, struct buf *error, const char **bad);
struct script *script_ref(struct script *s);
void script_unref(struct script *s);

// With a reference, or NULL.
struct script *script_cache_find(struct script_cache *c, const char *sha);
// Puts the script in unless one of its SHA1 is there; consumes the caller's reference and returns
// the one that is there now, with a reference. is_kept: it stays until SCRIPT FLUSH.
struct script *script_cache_add(struct script_cache *c, struct script *s, bool is_kept);
void script_cache_flush(struct script_cache *c);
uint64_t script_cache_evicted(struct script_cache *c);
