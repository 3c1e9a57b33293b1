// SPDX-License-Identifier: BSD-3-Clause
//
// effect: what a write leaves behind for the log: a command that, run on the same data, does what
// was done, whatever the time and whatever chance says then.
//
//   SET k v          its own effect, word for word
//   SET k v EX 10    SET k v PXAT 1700000010000
//   SPOP s           SREM s member
//   GET k, expired   DEL k
//   RENAME a b       over two shards: DEL a on one, RESTORE b ... on the other
//
// A command that always does the same to the same keys says nothing: engine_execute notes it as it
// came if it changed anything. One whose outcome hangs on time or chance says what it did, with
// effect_say, in its own words, before it returns. A command that had keys of several shards before
// it gets the value of each key it changed noted, unless it says something better.
//
// Effects gather in their key's keyspace until the unit (a command, a transaction, a script) is
// done and the shard takes them (shard/, store/). Encoded, one behind the other:
//
//   database (varint) | number of words (varint) | each word: length (varint), bytes
//
// When effects are run again (CTX_REPLAY) nothing expires by itself, for every expiry was noted.
#pragma once
#include "base/buf.h"
#include "engine/ctx.h"

struct effects { // of one keyspace, since the unit began; owned as the keyspace is
    struct buf bytes;
    uint32_t count;
    bool is_void;       // the unit ends half done, as the server does: it goes to no log
    struct buf touched; // keys changed by a command over several shards, see effect.c
};

// How many of them there are for the log.
static inline uint32_t effect_count(const struct effects *e)
{
    return e->is_void ? 0 : e->count;
}

// Nothing of the unit that runs is to be found in a log: it is broken off, and the server stops.
void effect_void(struct ctx *ctx);

// Is anybody interested in effects? While it is false nothing needs to be said.
static inline bool effect_is_wanted(const struct ctx *ctx)
{
    return UNLIKELY(ctx->space->effects != NULL);
}

// The command's own effect is this instead: `argv` does to `key`, in the selected database, what
// was done. May be called several times, in the order of what was done; bytes are copied.
void effect_say(struct ctx *ctx, struct slice key, int argc, const struct slice *argv);
void effect_say_db(struct ctx *ctx, uint32_t db, struct slice key, int argc,
                   const struct slice *argv);
// As effect_say, of two words.
void effect_say_key(struct ctx *ctx, const char *name, struct slice key);
// Of three, the last a number.
void effect_say_number(struct ctx *ctx, const char *name, struct slice key, int64_t n);
// The command did nothing that is worth a note, whatever was committed.
void effect_say_nothing(struct ctx *ctx);
// The command's own words, to every keyspace at hand.
void effect_say_everywhere(struct ctx *ctx);
// The value that the key has now (or that it is gone).
void effect_say_value(struct ctx *ctx, uint32_t db, struct slice key);

// From the write tail: the key changed; `is_dead`: by itself (it expired or was evicted).
void effect_key_changed(struct ctx *ctx, uint32_t db, struct slice key, bool is_dead);
// Around every command, from engine_execute. `dirty`: what stats.dirty was before it.
void effect_end_command(struct ctx *ctx, uint64_t dirty);

// --- word by word --------------------------------------------------------------------------------
// For an effect whose words are found on the way. Until it ends nothing else may be said or change.

struct effect_draft {
    struct effects *to; // NULL: nobody is interested, and nothing is written
    size_t start;       // in to->bytes
    uint32_t argc;
};

// Begins what the command says itself, as effect_say does: the first two words.
void effect_begin(struct effect_draft *d, struct ctx *ctx, const char *name, struct slice key);
// Begins what happened besides, by itself: the command has not said anything yet.
void effect_begin_besides(struct effect_draft *d, struct ctx *ctx, const char *name,
                          struct slice key);
void effect_add_word(struct effect_draft *d, struct slice word);
static inline void effect_add(struct effect_draft *d, struct slice word)
{
    if (UNLIKELY(d->to != NULL)) effect_add_word(d, word);
}
// effect_add for hash_expire_due: arg is the draft.
void effect_visit_field(void *arg, struct slice field);
void effect_add_int(struct effect_draft *d, int64_t n);
// The command's arguments from this one to the last.
void effect_add_args(struct effect_draft *d, const struct ctx *ctx, int first);
// If no word came behind the first two there was no effect.
void effect_end(struct effect_draft *d);
// There was none, after all.
void effect_drop(struct effect_draft *d);

// --- the encoding --------------------------------------------------------------------------------

// Appends one effect.
void effect_put(struct effects *e, uint32_t db, int argc, const struct slice *argv);
// Empties it for the next unit; big memory is given back.
void effect_clear(struct effects *e);
void effect_free(struct effects *e);

struct effect_reader {
    struct slice left;  // what has not been read
    uint32_t db;        // of the effect at hand
    int argc;           // its words, in the reader's memory
    struct slice *argv; // owned; room for cap
    int cap;
};
// Reads the next effect. False at the end, or if what is left is none (then left.len is not 0).
bool effect_next(struct effect_reader *r);
void effect_reader_free(struct effect_reader *r);
// Does again what the reader has at hand, on the keyspaces of ctx, whose session is that of nobody
// in particular; the reply is dropped. False if it is no command, or not in a database there is.
bool effect_run(struct ctx *ctx, const struct effect_reader *r);

// LEB128, as everything of variable length in the log.
void effect_put_varint(struct buf *out, uint64_t value);
// False if the bytes are not one.
bool effect_get_varint(struct slice *in, uint64_t *value);
