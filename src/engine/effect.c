// SPDX-License-Identifier: BSD-3-Clause
//
// Who does not speak for itself, and what it says:
//
//   SET, SETEX ... with a time    SET key value PXAT ms
//   EXPIRE and its kin, GETEX     PEXPIREAT, PERSIST, DEL
//   INCRBYFLOAT, HINCRBYFLOAT     SET key sum KEEPTTL, HSET (HSETEX KEEPTTL where fields expire)
//   SPOP                          SREM, DEL
//   LMPOP, ZMPOP, BLPOP ...       LPOP, RPOP, ZPOPMIN, ZPOPMAX with their count
//   BLMOVE, LMOVE, SMOVE          LMOVE; where there are several shards LPOP LPUSH, SREM SADD
//   HEXPIRE ..., HGETEX, HSETEX   HPEXPIREAT, HSETEX PXAT, HDEL
//   XADD, XTRIM                   XADD with the id, and as trimmed: MAXLEN with the length it has
//   XREADGROUP, XCLAIM, XAUTO...  XGROUP CREATECONSUMER, XCLAIM, XACK, XGROUP SETID
//   RESTORE, SORT ... STORE       RESTORE key ms value REPLACE ABSTTL
//   PFCOUNT, for what it caches   PFCOUNT
//   DEBUG POPULATE                SET
//   FLUSHALL, FLUSHDB, SWAPDB     their own words, to every keyspace
//   FUNCTION LOAD ...             its own words, to the first keyspace (all shards meet for it)
//   keys and fields that expire   DEL, HDEL
//
// Where a command had keys of several shards before it, the write tail lists the keys it changed
// (`touched`, in the runner's keyspace: database, length, bytes). If all keys that it names lie on
// one shard after all, its own words go there; else each key's value goes to its own shard.
#include "engine/effect.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "engine/dump.h"
#include "engine/engine.h"

#define KEPT_BYTES     65536 // of memory, from one unit to the next
#define VARINT_BYTES   10    // at most
#define ARGC_BYTES     5     // of a draft's number of words, whatever it is
#define TOUCHED_WINDOW 16    // keys among which one that changed several times is found

// --- the encoding --------------------------------------------------------------------------------

static inline char *write_varint(char *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) *at++ = (char)(value | 0x80);
    *at++ = (char)value;
    return at;
}

void effect_put_varint(struct buf *out, uint64_t value)
{
    char *at = buf_reserve(out, VARINT_BYTES);
    out->len += (size_t)(write_varint(at, value) - at);
}

bool effect_get_varint(struct slice *in, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && in->len; shift += 7) {
        uint8_t byte = (uint8_t)*in->ptr;
        if (shift == 63 && byte > 1) return false;
        in->ptr++, in->len--;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return true;
    }
    return false;
}

static void put_bytes(struct buf *out, struct slice s)
{
    effect_put_varint(out, s.len);
    buf_append(out, s.ptr, s.len);
}

static bool get_bytes(struct slice *in, struct slice *out)
{
    uint64_t len;
    if (!effect_get_varint(in, &len) || len > in->len) return false;
    *out = (struct slice){in->ptr, len};
    in->ptr += len;
    in->len -= len;
    return true;
}

void effect_put(struct effects *e, uint32_t db, int argc, const struct slice *argv)
{
    size_t room = (size_t)(argc + 2) * VARINT_BYTES;
    for (int i = 0; i < argc; i++) room += argv[i].len;
    char *at = buf_reserve(&e->bytes, room), *start = at;
    at = write_varint(at, db);
    at = write_varint(at, (uint64_t)argc);
    for (int i = 0; i < argc; i++) {
        at = write_varint(at, argv[i].len);
        memcpy(at, argv[i].ptr, argv[i].len);
        at += argv[i].len;
    }
    e->bytes.len += (size_t)(at - start);
    e->count++;
}

static void buf_shrink(struct buf *b)
{
    if (b->cap > KEPT_BYTES)
        buf_free(b);
    else
        b->len = 0;
}

void effect_clear(struct effects *e)
{
    buf_shrink(&e->bytes);
    buf_shrink(&e->touched);
    e->count = 0;
    e->is_void = false;
}

void effect_void(struct ctx *ctx)
{
    for (uint32_t i = 0; i < ctx->space_count; i++)
        if (ctx->spaces[i] && ctx->spaces[i]->effects) ctx->spaces[i]->effects->is_void = true;
}

void effect_free(struct effects *e)
{
    buf_free(&e->bytes);
    buf_free(&e->touched);
}

bool effect_next(struct effect_reader *r)
{
    struct slice in = r->left;
    uint64_t db, argc;
    if (!effect_get_varint(&in, &db) || db > INT32_MAX) return false;
    // A word has at least its length: so many bytes must be there.
    if (!effect_get_varint(&in, &argc) || !argc || argc > in.len || argc > INT32_MAX) return false;
    if ((int)argc > r->cap) {
        r->cap = (int)argc;
        r->argv = mem_realloc(r->argv, argc * sizeof r->argv[0]);
    }
    for (uint64_t i = 0; i < argc; i++)
        if (!get_bytes(&in, &r->argv[i])) return false;
    r->db = (uint32_t)db;
    r->argc = (int)argc;
    r->left = in;
    return true;
}

void effect_reader_free(struct effect_reader *r)
{
    mem_free(r->argv);
    *r = (struct effect_reader){0};
}

// --- saying --------------------------------------------------------------------------------------

static struct keyspace *space_of(const struct ctx *ctx, struct slice key)
{
    if (LIKELY(ctx->space_count == 1)) return ctx->space;
    return ctx->spaces[engine_shard_of(ctx->engine, key)];
}

void effect_say_db(struct ctx *ctx, uint32_t db, struct slice key, int argc,
                   const struct slice *argv)
{
    if (!effect_is_wanted(ctx)) return;
    ctx->has_said_effect = true;
    effect_put(space_of(ctx, key)->effects, db, argc, argv);
}

void effect_say(struct ctx *ctx, struct slice key, int argc, const struct slice *argv)
{
    effect_say_db(ctx, ctx->db, key, argc, argv);
}

void effect_say_key(struct ctx *ctx, const char *name, struct slice key)
{
    struct slice argv[] = {slice_of(name), key};
    effect_say(ctx, key, ARRAY_LEN(argv), argv);
}

void effect_say_number(struct ctx *ctx, const char *name, struct slice key, int64_t n)
{
    char text[NUM_I64_TEXT];
    if (!effect_is_wanted(ctx)) return;
    struct slice argv[] = {slice_of(name), key, {text, num_format_i64(text, n)}};
    effect_say(ctx, key, ARRAY_LEN(argv), argv);
}

void effect_say_nothing(struct ctx *ctx)
{
    ctx->has_said_effect |= effect_is_wanted(ctx);
}

void effect_say_everywhere(struct ctx *ctx)
{
    if (!effect_is_wanted(ctx)) return;
    ctx->has_said_effect = true;
    for (uint32_t i = 0; i < ctx->space_count; i++)
        if (ctx->spaces[i]) effect_put(ctx->spaces[i]->effects, ctx->db, ctx->argc, ctx->argv);
}

static void put_deleted(struct ctx *ctx, uint32_t db, struct slice key)
{
    struct slice argv[] = {SLICE("DEL"), key};
    effect_put(space_of(ctx, key)->effects, db, ARRAY_LEN(argv), argv);
}

static void put_value(struct ctx *ctx, uint32_t db, struct slice key)
{
    const struct entry *e = db_find(ctx_db_of(ctx, db, key), key, hash_bytes(key));
    if (!e) {
        put_deleted(ctx, db, key);
        return;
    }
    struct effects *to = space_of(ctx, key)->effects;
    char at[NUM_I64_TEXT], scratch[NUM_I64_TEXT];
    int64_t at_ms = entry_expire_at(e);
    struct slice time = {at, num_format_i64(at, at_ms == EXPIRE_NONE ? 0 : at_ms)};
    if (e->type == TYPE_STRING) {
        struct slice argv[] = {SLICE("SET"), key, entry_string(e, scratch), SLICE("PXAT"), time};
        effect_put(to, db, at_ms == EXPIRE_NONE ? 3 : 5, argv);
        return;
    }
    struct buf payload = {0};
    dump_put_entry(&payload, e, false);
    struct slice argv[] = {SLICE("RESTORE"), key, time, buf_slice(&payload), SLICE("REPLACE"),
                           SLICE("ABSTTL")};
    effect_put(to, db, ARRAY_LEN(argv), argv);
    buf_free(&payload);
}

void effect_say_value(struct ctx *ctx, uint32_t db, struct slice key)
{
    if (!effect_is_wanted(ctx)) return;
    ctx->has_said_effect = true;
    put_value(ctx, db, key);
}

// --- word by word --------------------------------------------------------------------------------
// The number of words is known last: it has a varint of fixed length.

static void put_argc(char *at, uint32_t argc)
{
    for (int i = 0; i < ARGC_BYTES; i++, argc >>= 7)
        at[i] = (char)((argc & 0x7f) | (i < ARGC_BYTES - 1 ? 0x80 : 0));
}

void effect_begin_besides(struct effect_draft *d, struct ctx *ctx, const char *name,
                          struct slice key)
{
    *d = (struct effect_draft){0};
    if (LIKELY(!effect_is_wanted(ctx))) return;
    d->to = space_of(ctx, key)->effects;
    d->start = d->to->bytes.len;
    effect_put_varint(&d->to->bytes, ctx->db);
    buf_reserve(&d->to->bytes, ARGC_BYTES);
    d->to->bytes.len += ARGC_BYTES;
    effect_add_word(d, slice_of(name));
    effect_add_word(d, key);
}

void effect_begin(struct effect_draft *d, struct ctx *ctx, const char *name, struct slice key)
{
    effect_begin_besides(d, ctx, name, key);
    ctx->has_said_effect |= d->to != NULL;
}

void effect_add_word(struct effect_draft *d, struct slice word)
{
    put_bytes(&d->to->bytes, word);
    d->argc++;
}

void effect_visit_field(void *arg, struct slice field)
{
    effect_add(arg, field);
}

void effect_add_int(struct effect_draft *d, int64_t n)
{
    char text[NUM_I64_TEXT];
    if (UNLIKELY(d->to != NULL)) effect_add_word(d, (struct slice){text, num_format_i64(text, n)});
}

void effect_add_args(struct effect_draft *d, const struct ctx *ctx, int first)
{
    for (int i = first; d->to && i < ctx->argc; i++) effect_add_word(d, ctx->argv[i]);
}

void effect_drop(struct effect_draft *d)
{
    if (d->to) d->to->bytes.len = d->start;
}

void effect_end(struct effect_draft *d)
{
    if (LIKELY(!d->to)) return;
    if (d->argc <= 2) {
        effect_drop(d);
        return;
    }
    char *at = d->to->bytes.ptr + d->start;
    while (*at & 0x80) at++; // over the database
    put_argc(at + 1, d->argc);
    d->to->count++;
}

// --- what happened to which keys -----------------------------------------------------------------

void effect_key_changed(struct ctx *ctx, uint32_t db, struct slice key, bool is_dead)
{
    if (is_dead) {
        put_deleted(ctx, db, key);
    } else if (ctx->space_count > 1) {
        struct buf *touched = &ctx->space->effects->touched;
        effect_put_varint(touched, db);
        put_bytes(touched, key);
    }
}

// The one shard on which all keys that the command names lie, or NULL. Without keys: the first.
static struct keyspace *only_space(const struct ctx *ctx)
{
    enum { FEW = 32 };
    int few[FEW], *positions = few;
    int count = command_keys(ctx->cmd, ctx->argc, ctx->argv, few, NULL, FEW);
    if (count < 1 && (ctx->cmd->flags & CMD_MOVABLE_KEYS)) return NULL;
    if (count < 1) return ctx->spaces[0] ? ctx->spaces[0] : ctx->space;
    if (count > FEW) {
        positions = mem_alloc((size_t)count * sizeof positions[0]);
        command_keys(ctx->cmd, ctx->argc, ctx->argv, positions, NULL, count);
    }
    struct keyspace *only = space_of(ctx, ctx->argv[positions[0]]);
    for (int i = 1; i < count && only; i++)
        if (space_of(ctx, ctx->argv[positions[i]]) != only) only = NULL;
    if (positions != few) mem_free(positions);
    return only;
}

// Does the key stand once more among the next few of the list?
static bool comes_again(struct slice list, uint64_t db, struct slice key)
{
    struct slice other;
    uint64_t other_db;
    for (int i = 0; i < TOUCHED_WINDOW; i++) {
        if (!effect_get_varint(&list, &other_db) || !get_bytes(&list, &other)) return false;
        if (db == other_db && slice_eq(key, other)) return true;
    }
    return false;
}

static void put_touched_values(struct ctx *ctx)
{
    struct slice in = buf_slice(&ctx->space->effects->touched), key;
    uint64_t db;
    while (effect_get_varint(&in, &db) && get_bytes(&in, &key))
        if (!comes_again(in, db, key)) put_value(ctx, (uint32_t)db, key);
}

void effect_end_command(struct ctx *ctx, uint64_t dirty)
{
    struct effects *e = ctx->space->effects;
    // What fails may have found a key that had expired, which was said then. It would fail again.
    bool has_changed = stat_get(&ctx->space->stats.dirty) != dirty && !ctx->reply->error_count;
    if (has_changed && !ctx->has_said_effect && (ctx->cmd->flags & CMD_WRITE)) {
        struct keyspace *only = ctx->space_count == 1 ? ctx->space : only_space(ctx);
        if (only)
            effect_put(only->effects, ctx->db, ctx->argc, ctx->argv);
        else
            put_touched_values(ctx);
    }
    ctx->has_said_effect = false;
    e->touched.len = 0;
}

// --- again ---------------------------------------------------------------------------------------

static const struct command *find_command(const struct engine *e, int argc,
                                          const struct slice *argv)
{
    const struct command *c = command_find(e->table, argv[0]);
    if (c && c->subcommands && argc > 1) c = command_find_sub(c, argv[1]);
    return c && c->handler && command_arity_fits(c, argc) ? c : NULL;
}

bool effect_run(struct ctx *ctx, const struct effect_reader *r)
{
    const struct command *c = find_command(ctx->engine, r->argc, r->argv);
    if (!c || r->db >= ctx->space->db_count) return false;
    ctx->cmd = c;
    ctx->argv = r->argv;
    ctx->argc = r->argc;
    ctx->blobs = NULL;
    ctx->first_key = NULL;
    ctx->db = r->db;
    ctx->flags |= CTX_REPLAY;
    c->handler(ctx);
    reply_clear(ctx->reply);
    return true;
}
