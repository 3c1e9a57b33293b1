// SPDX-License-Identifier: BSD-3-Clause
#include "shard/execute.h"

#include "base/crash_slot.h"
#include "engine/call.h"
#include "shard/gather.h"
#include "shard/logging.h"
#include "shard/serve.h"

#define FETCH_BUCKETS 32 // pieces ahead of the one that is run;
#define FETCH_ENTRIES 16 // a core keeps some 10 to 16 misses in flight
#define FETCH_VALUES  8
#define FETCH_MEMBERS 5 // buckets of members' tables; the members themselves FETCH_ITEMS ahead
#define FETCH_ITEMS   2

struct ctx shard_ctx(struct shard *s)
{
    return (struct ctx){.engine = s->engine,
                        .settings = shard_renew_settings(s),
                        .now_ms = shard_now_ms(s),
                        .spaces = &s->engine->spaces[s->id],
                        .space_count = 1,
                        .space = s->space};
}

// These two must be inlined: gcc takes a function that only prefetches for one without effect and
// drops its calls.
#define FETCH static inline __attribute__((always_inline)) void

// Brings in the line of the table where the piece's first key must be.
FETCH fetch_bucket(const struct dict *keys, const struct piece *p)
{
    if (p->first_key) dict_prefetch_bucket(keys, p->first_hash);
}

// Brings in the entry that this line names: header, key and the beginning of the value.
FETCH fetch_entry(const struct dict *keys, const struct piece *p)
{
    const char *entry = p->first_key ? dict_peek(keys, p->first_hash) : NULL;
    if (!entry) return;
    __builtin_prefetch(entry);
    __builtin_prefetch(entry + 64);
}

// Brings in what stands behind the entry's value word. Strings have nothing there.
FETCH fetch_value(const struct dict *keys, const struct piece *p)
{
    if (!p->first_key || !p->cmd || (p->cmd->acl & ACL_STRING)) return;
    const struct entry *e = dict_peek(keys, p->first_hash);
    if (e && e->type != TYPE_STRING) __builtin_prefetch(value_object(e->value));
}

// The table in which the piece will look for a member, or NULL. Its entry is looked up anew every
// time: a command in between may have changed it.
static inline const struct dict *member_table(const struct dict *keys, const struct piece *p,
                                              enum object_type *type)
{
    if (!p->first_key || !p->cmd || !p->cmd->member || p->cmd->member >= p->argc) return NULL;
    const struct entry *e = dict_peek(keys, p->first_hash);
    if (!e || e->type == TYPE_STRING) return NULL;
    *type = e->type;
    return value_table(e->value);
}

// Brings in the line of that table where the member must be.
FETCH fetch_member(const struct dict *keys, struct piece *p)
{
    enum object_type type;
    const struct dict *table = member_table(keys, p, &type);
    if (!table) return;
    p->member_hash = value_member_hash(type, p->argv[p->cmd->member]);
    dict_prefetch_bucket(table, p->member_hash);
}

// Brings in the member that this line names.
FETCH fetch_item(const struct dict *keys, const struct piece *p)
{
    enum object_type type;
    const struct dict *table = member_table(keys, p, &type);
    const void *item = table && p->member_hash ? dict_peek(table, p->member_hash) : NULL;
    if (item) __builtin_prefetch(item);
}

static void say(struct ctx *ctx, const char *line)
{
    if (*line == '+')
        reply_simple(ctx->reply, line + 1);
    else
        reply_error(ctx->reply, line + 1);
}

// What comes after it in this turn shall not count from a time before it. A transaction has one.
static void note_ticks(struct shard *s, struct ctx *ctx, uint64_t ticks)
{
    if (LIKELY(ticks < s->long_ticks)) return;
    s->is_now_stale = true;
    if (!(ctx->flags & CTX_IN_EXEC)) ctx->now_ms = shard_now_ms(s);
}

static void execute_piece(struct shard *s, struct ctx *ctx, struct piece *p)
{
    uint32_t flags = ctx->flags;
    ctx->cmd = p->cmd;
    ctx->argv = p->argv;
    ctx->argc = p->argc;
    ctx->blobs = p->blobs;
    ctx->first_key = p->first_key;
    ctx->first_hash = p->first_hash;
    ctx->flags = flags | p->ctx_flags;
    bool is_apart = !shard_has_keyspace(s) && ctx->space_count == 1;
    if (UNLIKELY(is_apart)) ctx->flags |= CTX_IS_APART;
    if (UNLIKELY(p->say != NULL))
        say(ctx, p->say);
    else if (UNLIKELY(p->cmd == NULL))
        engine_refuse(ctx, s->id);
    else if (UNLIKELY(p->cmd->span == SPAN_GATHER && (p->ctx_flags & CTX_IS_PART)))
        gather_values(ctx, p);
    else if (UNLIKELY(ctx->space_count > 1) && !command_has_keys(p->cmd))
        call_run_keyless(ctx);
    else
        note_ticks(s, ctx, p->ticks = engine_execute(ctx, s->id));
    ctx->flags = flags;
}

// Keys are fetched ahead of the command that is run, so that their cache misses overlap: buckets
// FETCH_BUCKETS pieces ahead, entries FETCH_ENTRIES ahead, when their buckets have come, and so on
// to the members of big values.
struct fetches {
    const struct dict *keys;
    struct piece *bucket, *entry, *value, *member, *item; // how far each of them has come
};

// The bounds of the loops are constants, and each stage a plain list walk: the compiler lays them
// out one behind the other.
static inline __attribute__((always_inline)) void fetch_first(struct fetches *f,
                                                              struct piece *first)
{
    f->bucket = f->entry = f->value = f->member = f->item = first;
    for (int i = 0; f->bucket && i < FETCH_BUCKETS; i++, f->bucket = f->bucket->next)
        fetch_bucket(f->keys, f->bucket);
    for (int i = 0; f->entry && i < FETCH_ENTRIES; i++, f->entry = f->entry->next)
        fetch_entry(f->keys, f->entry);
    for (int i = 0; f->value && i < FETCH_VALUES; i++, f->value = f->value->next)
        fetch_value(f->keys, f->value);
    for (int i = 0; f->member && i < FETCH_MEMBERS; i++, f->member = f->member->next)
        fetch_member(f->keys, f->member);
    for (int i = 0; f->item && i < FETCH_ITEMS; i++, f->item = f->item->next)
        fetch_item(f->keys, f->item);
}

#define FETCH_STEP(stage)                                                                          \
    do {                                                                                           \
        if (!f->stage) return;                                                                     \
        fetch_##stage(f->keys, f->stage);                                                          \
        f->stage = f->stage->next;                                                                 \
    } while (0)

// One piece was run: every stage goes on by one. The stage that is nearest ends last.
static inline __attribute__((always_inline)) void fetch_next(struct fetches *f)
{
    FETCH_STEP(item);
    FETCH_STEP(member);
    FETCH_STEP(value);
    FETCH_STEP(entry);
    FETCH_STEP(bucket);
}

void shard_execute(struct shard *s, struct ctx *ctx, struct piece *first, bool with_lengths)
{
    crash_slot_set(ctx); // what a crash report shows
    struct fetches fetches = {.keys = &ctx->space->dbs[ctx->db].keys};
    if (first->next) fetch_first(&fetches, first); // a single one gains nothing
    for (struct piece *p = first; p; p = p->next) {
        size_t before = with_lengths ? reply_bytes(ctx->reply) : 0;
        if (UNLIKELY(s->sleeper_count > 0) && !piece_is_light(p)) shard_wake_sleepers(s);
        execute_piece(s, ctx, p);
        if (with_lengths) p->reply_bytes = reply_bytes(ctx->reply) - before;
        if (UNLIKELY(p->tx || ctx->space->effects) && !(p->ctx_flags & CTX_UNIT_GOES_ON))
            logging_end_unit(s, ctx, p->tx, p->tx_part);
        // Parked or inside, another unit goes on, and what is ready is that one's business.
        if (LIKELY(!s->is_parked) && UNLIKELY(ctx->space->ready != NULL) &&
            !(p->ctx_flags & CTX_UNIT_GOES_ON) && !s->is_inside)
            serve_ready(s, ctx);
        fetch_next(&fetches);
    }
    crash_slot_set(NULL);
}
