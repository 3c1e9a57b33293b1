// SPDX-License-Identifier: BSD-3-Clause
#include "engine/ctx.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "engine/engine.h"
#include "engine/notify.h"
#include "types/hash.h"

uint64_t ctx_hash(const struct ctx *ctx, struct slice key)
{
    return key.ptr == ctx->first_key ? ctx->first_hash : hash_bytes(key);
}

bool ctx_has_shard(const struct ctx *ctx, uint32_t shard)
{
    return ctx->space_count == 1 ? ctx->space->shard == shard : ctx->spaces[shard] != NULL;
}

bool ctx_has_all(const struct ctx *ctx)
{
    if (ctx->space_count < ctx->engine->shard_count) return false;
    for (uint32_t i = 0; i < ctx->space_count; i++)
        if (!ctx->spaces[i]) return false;
    return true;
}

static struct keyspace *space_of(const struct ctx *ctx, struct slice key)
{
    if (LIKELY(ctx->space_count == 1)) return ctx->space;
    return ctx->spaces[engine_shard_of(ctx->engine, key)];
}

struct db *ctx_db_of(const struct ctx *ctx, uint32_t index, struct slice key)
{
    return &space_of(ctx, key)->dbs[index];
}

// --- look-up -------------------------------------------------------------------------------------

// LFU: the counter grows ever less likely the higher it is, and falls by one for every
// lfu-decay-time minutes without a look. Same formula as Redis's, so that OBJECT FREQ means the
// same.
#define LFU_INIT 5

static uint32_t lfu_minutes(int64_t now_ms)
{
    return (uint32_t)(now_ms / 60000) & 0xffff;
}

uint32_t lfu_decayed(const struct entry *e, int64_t now_ms, int64_t decay_minutes)
{
    uint32_t counter = e->lru & 0xff;
    uint32_t idle = (lfu_minutes(now_ms) - (e->lru >> 8)) & 0xffff;
    uint32_t periods = decay_minutes > 0 ? idle / (uint32_t)decay_minutes : 0;
    return periods > counter ? 0 : counter - periods;
}

static bool is_lfu(const struct settings *s)
{
    return s->maxmemory_policy == POLICY_ALLKEYS_LFU || s->maxmemory_policy == POLICY_VOLATILE_LFU;
}

static void lfu_touch(struct ctx *ctx, struct entry *e)
{
    uint32_t counter = lfu_decayed(e, ctx->now_ms, ctx->settings->lfu_decay_time);
    double above = counter > LFU_INIT ? counter - LFU_INIT : 0;
    double chance = 1.0 / (above * (double)ctx->settings->lfu_log_factor + 1);
    if (counter < 255 && (double)(random_u64(&ctx->space->random) >> 11) * 0x1p-53 < chance)
        counter++;
    e->lru = (lfu_minutes(ctx->now_ms) << 8 | counter) & 0xffffff;
}

static void touch(struct ctx *ctx, struct entry *e)
{
    if (ctx->flags & CTX_NO_TOUCH) return;
    if (UNLIKELY(is_lfu(ctx->settings))) {
        lfu_touch(ctx, e);
        return;
    }
    uint32_t clock = lru_clock(ctx->now_ms);
    if (e->lru != clock) e->lru = clock & 0xffffff; // a read of a hot key leaves its line clean
}

// A value that was just written has been used just now. `is_new`: its key was not there; one that
// was keeps its LFU counter, as in Redis.
static struct entry *fresh(struct ctx *ctx, struct entry *e, bool is_new)
{
    if (LIKELY(!is_lfu(ctx->settings)))
        e->lru = lru_clock(ctx->now_ms) & 0xffffff;
    else if (is_new)
        e->lru = (lfu_minutes(ctx->now_ms) << 8 | LFU_INIT) & 0xffffff;
    if (UNLIKELY(is_new)) notify(ctx, ctx->db, entry_key(e), EVENT_NEW, "new");
    return e;
}

struct entry *ctx_peek_db(struct ctx *ctx, uint32_t index, struct slice key)
{
    struct keyspace *ks = space_of(ctx, key);
    struct db *db = &ks->dbs[index];
    uint64_t hash = ctx_hash(ctx, key);
    struct entry *e = db_find(db, key, hash);
    if (!e || LIKELY(!entry_is_expired(e, ctx->now_ms))) return e;
    if (ctx->flags & CTX_REPLAY) return e; // that it expired was noted, and comes by itself
    bool is_reading = ctx->cmd && (ctx->cmd->flags & CMD_READONLY);
    if (keyspace_is_paused(ks, ctx->now_ms) && is_reading) return NULL;
    db_delete(db, e, hash);
    stat_add(&ks->stats.expired, 1);
    ctx_commit_db(ctx, index, key, EVENT_EXPIRED, "expired");
    return NULL;
}

struct entry *ctx_peek(struct ctx *ctx, struct slice key)
{
    return ctx_peek_db(ctx, ctx->db, key);
}

struct entry *ctx_write(struct ctx *ctx, struct slice key)
{
    struct entry *e = ctx_peek(ctx, key);
    if (e) touch(ctx, e);
    return e;
}

static void count_look(struct ctx *ctx, struct slice key, const struct entry *e)
{
    stat_add(e ? &ctx->space->stats.hits : &ctx->space->stats.misses, 1);
    if (UNLIKELY(!e)) notify(ctx, ctx->db, key, EVENT_MISS, "keymiss");
}

struct entry *ctx_read(struct ctx *ctx, struct slice key)
{
    struct entry *e = ctx_write(ctx, key);
    count_look(ctx, key, e);
    return e;
}

struct entry *ctx_look(struct ctx *ctx, struct slice key)
{
    struct entry *e = ctx_peek(ctx, key);
    count_look(ctx, key, e);
    return e;
}

static bool check_type(struct ctx *ctx, const struct entry *e, enum object_type type)
{
    if (LIKELY(!e || e->type == type)) return true;
    reply_error(ctx->reply, ERR_WRONGTYPE);
    return false;
}

bool ctx_read_as(struct ctx *ctx, struct slice key, enum object_type type, struct entry **e)
{
    *e = ctx_read(ctx, key);
    return check_type(ctx, *e, type);
}

bool ctx_write_as(struct ctx *ctx, struct slice key, enum object_type type, struct entry **e)
{
    *e = ctx_write(ctx, key);
    return check_type(ctx, *e, type);
}

// --- change --------------------------------------------------------------------------------------

struct entry *ctx_set_string(struct ctx *ctx, struct slice key, struct entry *e, struct slice value,
                             int64_t expire_at_ms)
{
    struct db *db = ctx_db_of(ctx, ctx->db, key);
    bool is_new = !e;
    e = db_set_string(db, e, key, ctx_hash(ctx, key), value, NULL, expire_at_ms);
    return fresh(ctx, e, is_new);
}

struct entry *ctx_set_blob(struct ctx *ctx, struct slice key, struct entry *e, struct blob *blob,
                           int64_t expire_at_ms)
{
    struct db *db = ctx_db_of(ctx, ctx->db, key);
    bool is_new = !e;
    e = db_set_string(db, e, key, ctx_hash(ctx, key), (struct slice){0}, blob, expire_at_ms);
    return fresh(ctx, e, is_new);
}

struct entry *ctx_set_arg(struct ctx *ctx, struct slice key, struct entry *e, int arg,
                          int64_t expire_at_ms)
{
    struct blob *blob = ctx->blobs ? ctx->blobs[arg] : NULL;
    if (LIKELY(!blob)) return ctx_set_string(ctx, key, e, ctx->argv[arg], expire_at_ms);
    return ctx_set_blob(ctx, key, e, blob_ref(blob), expire_at_ms);
}

struct entry *ctx_set_integer(struct ctx *ctx, struct slice key, struct entry *e, int64_t value,
                              int64_t expire_at_ms)
{
    struct db *db = ctx_db_of(ctx, ctx->db, key);
    bool is_new = !e;
    e = db_set_integer(db, e, key, ctx_hash(ctx, key), value, expire_at_ms);
    return fresh(ctx, e, is_new);
}

struct entry *ctx_edit_string(struct ctx *ctx, struct slice key, struct entry *e, size_t len,
                              char **data)
{
    enum { SLACK_FROM = 256 }; // values shorter than this are not given room to grow
    struct db *db = ctx_db_of(ctx, ctx->db, key);
    uint64_t hash = ctx_hash(ctx, key);
    bool has_slack = e && len > SLACK_FROM;
    if (!e) e = fresh(ctx, db_set_string(db, NULL, key, hash, SLICE(""), NULL, EXPIRE_NONE), true);
    return db_edit_string(db, e, hash, len, has_slack, data);
}

struct entry *ctx_set_value(struct ctx *ctx, struct slice key, struct entry *e,
                            enum object_type type, struct value value, int64_t expire_at_ms)
{
    struct db *db = ctx_db_of(ctx, ctx->db, key);
    bool is_new = !e;
    e = db_set_value(db, e, key, ctx_hash(ctx, key), type, value, expire_at_ms);
    return fresh(ctx, e, is_new);
}

void ctx_field_expiry_changed(struct ctx *ctx, struct slice key, struct entry *e)
{
    if (UNLIKELY(hash_wheel_of(e->value) != NULL))
        db_fields_changed(ctx_db_of(ctx, ctx->db, key), e);
}

struct entry *ctx_set_expire(struct ctx *ctx, struct slice key, struct entry *e, int64_t at_ms)
{
    return db_set_expire(ctx_db_of(ctx, ctx->db, key), e, ctx_hash(ctx, key), at_ms);
}

void ctx_delete(struct ctx *ctx, struct slice key, struct entry *e)
{
    db_delete(ctx_db_of(ctx, ctx->db, key), e, ctx_hash(ctx, key));
}

struct entry *ctx_move(struct ctx *ctx, struct slice key, struct entry *e, uint32_t to_db,
                       struct slice to_key)
{
    e = db_move(ctx_db_of(ctx, ctx->db, key), e, ctx_hash(ctx, key), ctx_db_of(ctx, to_db, to_key),
                to_key, ctx_hash(ctx, to_key));
    notify(ctx, to_db, to_key, EVENT_NEW, "new");
    return e;
}

struct entry *ctx_copy(struct ctx *ctx, struct entry *e, uint32_t to_db, struct slice to_key)
{
    e = db_copy(e, ctx_db_of(ctx, to_db, to_key), to_key, ctx_hash(ctx, to_key));
    notify(ctx, to_db, to_key, EVENT_NEW, "new");
    return e;
}

void ctx_reply_string(struct ctx *ctx, const struct entry *e)
{
    char scratch[NUM_I64_TEXT];
    if (entry_has_blob(e))
        reply_blob(ctx->reply, e->blob);
    else
        reply_bulk(ctx->reply, entry_string(e, scratch));
}

// --- arguments -----------------------------------------------------------------------------------

bool ctx_arg_i64(struct ctx *ctx, int arg, int64_t *out, const char *error)
{
    if (num_parse_i64(ctx->argv[arg], out)) return true;
    reply_error(ctx->reply, error ? error : ERR_NOT_INTEGER);
    return false;
}

bool ctx_arg_range(struct ctx *ctx, int arg, int64_t min, int64_t max, int64_t *out,
                   const char *error)
{
    if (!ctx_arg_i64(ctx, arg, out, error)) return false;
    if (*out >= min && *out <= max) return true;
    if (error)
        reply_error(ctx->reply, error);
    else
        reply_errorf(ctx->reply, "ERR value is out of range, value must between %lld and %lld",
                     (long long)min, (long long)max);
    return false;
}

bool ctx_arg_is(const struct ctx *ctx, int arg, const char *word)
{
    return arg < ctx->argc && slice_is(ctx->argv[arg], word);
}

void ctx_wrong_arity(struct ctx *ctx)
{
    reply_errorf(ctx->reply, "ERR wrong number of arguments for '%s' command", ctx->cmd->full_name);
}

static void upper_name(const struct command *c, char *out, size_t size)
{
    size_t n = 0;
    for (; c->name[n] && n + 1 < size; n++) out[n] = (char)toupper((unsigned char)c->name[n]);
    out[n] = '\0';
}

void ctx_unknown_subcommand(struct ctx *ctx)
{
    char name[64];
    upper_name(ctx->cmd->parent ? ctx->cmd->parent : ctx->cmd, name, sizeof name);
    reply_errorf(ctx->reply,
                 "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try %s HELP.",
                 (int)(ctx->argc > 1 ? MIN(ctx->argv[1].len, 128) : 0), ctx->argv[1].ptr, name);
}

void ctx_reply_help(struct ctx *ctx, const char *const *lines)
{
    char name[64], first[160];
    size_t n = 0;
    while (lines[n]) n++;
    upper_name(ctx->cmd->parent ? ctx->cmd->parent : ctx->cmd, name, sizeof name);
    snprintf(first, sizeof first,
             "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", name);
    reply_array(ctx->reply, n + 3);
    reply_simple(ctx->reply, first);
    for (size_t i = 0; i < n; i++) reply_simple(ctx->reply, lines[i]);
    reply_simple(ctx->reply, "HELP");
    reply_simple(ctx->reply, "    Prints this help.");
}
