// SPDX-License-Identifier: BSD-3-Clause
//
// What a handler sees: the ways to look a key up and what each counts, refreshes and hides; changes
// on whichever shard the key lies; arguments and their errors.
#include "engine/ctx.h"

#include <criterion/criterion.h>

#include "base/hash.h"
#include "base/mem.h"
#include "commands/families.h"
#include "engine/engine.h"
#include "engine/host.h"
#include "engine/settings.h"

#define NOW    INT64_C(1700000000000)
#define SHARDS 3

static const char *const help_lines[] = {"ONE", "    Does one thing.", NULL};

struct desk {
    struct settings *settings;
    struct host host;
    struct engine *engine;
    struct reply reply;
    struct slice argv[4];
    struct blob *blobs[4];
    struct ctx ctx;
};

// A ctx that has all shards at hand, as in a meeting; desk_narrow makes it one shard's.
static void desk_init(struct desk *d)
{
    *d = (struct desk){.settings = settings_default()};
    d->engine = engine_new(commands_all, d->settings, SHARDS, &d->host);
    reply_init(&d->reply, 2);
    d->ctx = (struct ctx){.engine = d->engine,
                          .settings = d->settings,
                          .reply = &d->reply,
                          .now_ms = NOW,
                          .argv = d->argv,
                          .argc = 4,
                          .spaces = d->engine->spaces,
                          .space_count = SHARDS,
                          .space = d->engine->spaces[0]};
    d->ctx.cmd = command_find(d->engine->table, SLICE("set"));
}

static void desk_narrow(struct desk *d, struct slice key)
{
    d->ctx.space = d->engine->spaces[engine_shard_of(d->engine, key)];
    d->ctx.spaces = &d->ctx.space;
    d->ctx.space_count = 1;
}

static void desk_free(struct desk *d)
{
    for (uint32_t i = 0; i < SHARDS; i++)
        for (uint32_t n = 0; n < d->engine->spaces[i]->db_count; n++)
            db_validate(&d->engine->spaces[i]->dbs[n]);
    reply_free(&d->reply);
    engine_free(d->engine);
    settings_free(d->settings);
}

static void expect(struct desk *d, const char *want)
{
    size_t len;
    char *got = reply_flatten(&d->reply, &len);
    cr_assert_str_eq(got, want);
    mem_free(got);
    reply_clear(&d->reply);
}

static uint64_t hits(const struct desk *d)
{
    return stat_get(&d->ctx.space->stats.hits);
}

static uint64_t misses(const struct desk *d)
{
    return stat_get(&d->ctx.space->stats.misses);
}

// --- look-up -------------------------------------------------------------------------------------

Test(ctx, each_way_to_look_counts_and_refreshes_what_it_should)
{
    struct desk d;
    struct slice key = SLICE("key"), none = SLICE("none");
    desk_init(&d);
    desk_narrow(&d, key);
    struct entry *e = ctx_set_string(&d.ctx, key, NULL, SLICE("v"), EXPIRE_NONE);
    uint32_t made = e->lru;
    cr_assert_eq(made, lru_clock(NOW));
    d.ctx.now_ms = NOW + 100000;
    cr_assert(ctx_peek(&d.ctx, key) == e && !ctx_peek(&d.ctx, none));
    cr_assert(hits(&d) == 0 && misses(&d) == 0 && e->lru == made);
    cr_assert(ctx_look(&d.ctx, key) == e && !ctx_look(&d.ctx, none));
    cr_assert(hits(&d) == 1 && misses(&d) == 1 && e->lru == made);
    d.ctx.flags = CTX_NO_TOUCH;
    cr_assert(ctx_read(&d.ctx, key) == e && !ctx_read(&d.ctx, none));
    cr_assert(hits(&d) == 2 && misses(&d) == 2 && e->lru == made);
    d.ctx.flags = 0;
    cr_assert(ctx_write(&d.ctx, key) == e && !ctx_write(&d.ctx, none));
    cr_assert(hits(&d) == 2 && misses(&d) == 2 && e->lru == lru_clock(NOW + 100000));
    cr_assert_eq(entry_idle_seconds(e, NOW + 107000), 7);
    d.ctx.now_ms = NOW + 200000;
    cr_assert_eq(ctx_read(&d.ctx, key), e);
    cr_assert_eq(e->lru, lru_clock(NOW + 200000));
    desk_free(&d);
}

Test(ctx, what_has_expired_is_hidden_and_removed)
{
    struct desk d;
    struct slice key = SLICE("key");
    struct entry *(*const looks[])(struct ctx *, struct slice) = {ctx_peek, ctx_look, ctx_read,
                                                                  ctx_write};
    desk_init(&d);
    desk_narrow(&d, key);
    struct db *db = &d.ctx.space->dbs[0];
    for (size_t i = 0; i < ARRAY_LEN(looks); i++) {
        d.ctx.now_ms = NOW;
        ctx_set_string(&d.ctx, key, NULL, SLICE("v"), NOW + 10);
        d.ctx.now_ms = NOW + 10; // its last millisecond
        cr_assert_not_null(looks[i](&d.ctx, key));
        d.ctx.now_ms = NOW + 11;
        cr_assert_null(looks[i](&d.ctx, key));
        cr_assert(db->keys.count == 0 && db->expires.count == 0);
        cr_assert_eq(stat_get(&d.ctx.space->stats.expired), i + 1);
        cr_assert_eq(stat_get(&d.ctx.space->stats.dirty), i + 1);
    }
    desk_free(&d);
}

Test(ctx, another_type_is_an_error)
{
    struct desk d;
    struct slice key = SLICE("key");
    struct entry *e, *found;
    desk_init(&d);
    desk_narrow(&d, key);
    e = ctx_set_string(&d.ctx, key, NULL, SLICE("v"), EXPIRE_NONE);
    cr_assert(ctx_read_as(&d.ctx, key, TYPE_STRING, &found) && found == e);
    cr_assert(ctx_write_as(&d.ctx, SLICE("none"), TYPE_HASH, &found) && !found);
    cr_assert_eq(reply_bytes(&d.reply), 0);
    cr_assert(!ctx_write_as(&d.ctx, key, TYPE_HASH, &found));
    expect(&d, "-" ERR_WRONGTYPE "\r\n");
    cr_assert(!ctx_read_as(&d.ctx, key, TYPE_LIST, &found));
    expect(&d, "-" ERR_WRONGTYPE "\r\n");
    desk_free(&d);
}

Test(ctx, a_hash_that_is_known_is_not_computed_again)
{
    struct desk d;
    struct slice key = SLICE("key");
    desk_init(&d);
    d.ctx.first_key = key.ptr;
    d.ctx.first_hash = 42;
    cr_assert_eq(ctx_hash(&d.ctx, key), 42);
    cr_assert_eq(ctx_hash(&d.ctx, SLICE("other")), hash_bytes(SLICE("other")));
    desk_free(&d);
}

Test(ctx, the_use_counter_grows_ever_slower_and_decays)
{
    struct desk d;
    struct slice key = SLICE("key");
    desk_init(&d);
    desk_narrow(&d, key);
    d.settings->maxmemory_policy = POLICY_ALLKEYS_LFU;
    struct entry *e = ctx_set_string(&d.ctx, key, NULL, SLICE("v"), EXPIRE_NONE);
    cr_assert_eq(lfu_decayed(e, NOW, 1), 5);
    for (int i = 0; i < 1000; i++) ctx_read(&d.ctx, key);
    uint32_t after = lfu_decayed(e, NOW, 1);
    cr_assert(after > 8 && after < 60, "%u", after); // some 18 with lfu-log-factor 10
    cr_assert_eq(lfu_decayed(e, NOW + 3 * 60000, 1), after - 3);
    cr_assert_eq(lfu_decayed(e, NOW + 4 * 60000, 2), after - 2);
    cr_assert_eq(lfu_decayed(e, NOW + 1000 * 60000, 1), 0);
    cr_assert_eq(lfu_decayed(e, NOW + 1000 * 60000, 0), after); // never
    d.settings->lfu_log_factor = 0;                             // every look counts
    for (int i = 0; i < 300; i++) ctx_read(&d.ctx, key);
    cr_assert_eq(lfu_decayed(e, NOW, 1), 255);
    desk_free(&d);
}

// --- change --------------------------------------------------------------------------------------

Test(ctx, changes_go_to_the_shard_and_the_database_of_the_key)
{
    struct desk d;
    char name[] = "a";
    uint32_t seen = 0;
    desk_init(&d);
    d.ctx.db = 4;
    for (; name[0] <= 'z'; name[0]++) {
        struct slice key = {name, 1};
        uint32_t shard = engine_shard_of(d.engine, key);
        struct db *db = &d.engine->spaces[shard]->dbs[4];
        uint64_t before = db->keys.count;
        struct entry *e = ctx_set_integer(&d.ctx, key, NULL, 7, EXPIRE_NONE);
        cr_assert(ctx_db_of(&d.ctx, 4, key) == db && db->keys.count == before + 1);
        cr_assert(ctx_peek(&d.ctx, key) == e && !ctx_peek_db(&d.ctx, 0, key));
        seen |= 1u << shard;
    }
    cr_assert_eq(seen, (1u << SHARDS) - 1);
    ctx_delete(&d.ctx, SLICE("a"), ctx_peek(&d.ctx, SLICE("a")));
    ctx_delete(&d.ctx, SLICE("b"), ctx_peek(&d.ctx, SLICE("b")));
    cr_assert(!ctx_peek(&d.ctx, SLICE("a")) && !ctx_peek(&d.ctx, SLICE("b")));
    desk_free(&d);
}

// Of a key on another shard than `key`'s.
static struct slice key_elsewhere(struct desk *d, struct slice key)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    for (int i = 0; i < 26; i++) {
        struct slice other = {letters + i, 1};
        if (engine_shard_of(d->engine, other) != engine_shard_of(d->engine, key)) return other;
    }
    cr_assert(false);
    return key;
}

Test(ctx, values_move_and_are_copied_over_shards_and_databases)
{
    struct desk d;
    struct slice key = SLICE("key");
    char bytes[EMBED_MAX_BYTES * 2] = {1};
    desk_init(&d);
    struct slice other = key_elsewhere(&d, key);
    ctx_set_string(&d.ctx, key, NULL, (struct slice){bytes, sizeof bytes}, NOW + 500);
    struct entry *copy = ctx_copy(&d.ctx, ctx_peek(&d.ctx, key), 1, other);
    cr_assert_eq(copy, ctx_peek_db(&d.ctx, 1, other));
    cr_assert_eq(copy->blob, ctx_peek(&d.ctx, key)->blob);
    struct entry *moved = ctx_move(&d.ctx, key, ctx_peek(&d.ctx, key), 0, other);
    cr_assert(moved == ctx_peek(&d.ctx, other) && !ctx_peek(&d.ctx, key));
    cr_assert(entry_expire_at(moved) == NOW + 500 && entry_expire_at(copy) == NOW + 500);
    uint32_t from = engine_shard_of(d.engine, key), to = engine_shard_of(d.engine, other);
    cr_assert_eq(d.engine->spaces[from]->dbs[0].expires.count, 0);
    cr_assert_eq(d.engine->spaces[to]->dbs[0].expires.count, 1);
    desk_free(&d);
}

Test(ctx, a_big_argument_that_came_in_a_blob_is_taken_over)
{
    struct desk d;
    struct slice key = SLICE("key");
    desk_init(&d);
    struct blob *blob = blob_new(EMBED_MAX_BYTES * 2);
    memset(blob->data, 'x', blob->cap);
    blob->len = blob->cap;
    d.argv[2] = (struct slice){blob->data, blob->len};
    struct entry *e = ctx_set_arg(&d.ctx, key, NULL, 2, EXPIRE_NONE); // no blobs at all
    cr_assert_neq(e->blob, blob);
    d.ctx.blobs = d.blobs;
    e = ctx_set_arg(&d.ctx, key, e, 2, EXPIRE_NONE); // not this one
    cr_assert_neq(e->blob, blob);
    d.blobs[2] = blob;
    e = ctx_set_arg(&d.ctx, key, e, 2, EXPIRE_NONE);
    cr_assert(e->blob == blob && blob_is_shared(blob)); // the parser has the other reference
    blob_unref(blob);
    ctx_reply_string(&d.ctx, e);
    cr_assert_eq(reply_bytes(&d.reply), 7 + e->blob->len + 2);
    desk_free(&d);
}

Test(ctx, editing_makes_the_key_if_need_be_and_leaves_room_to_a_value_that_grows)
{
    struct desk d;
    struct slice key = SLICE("key");
    char *data;
    desk_init(&d);
    struct entry *e = ctx_edit_string(&d.ctx, key, NULL, 3, &data);
    cr_assert(memcmp(data, "\0\0\0", 3) == 0 && e->encoding == ENC_RAW);
    cr_assert_eq(e->lru, lru_clock(NOW));
    memcpy(data, "abc", 3);
    ctx_reply_string(&d.ctx, e);
    expect(&d, "$3\r\nabc\r\n");
    e = ctx_edit_string(&d.ctx, key, e, 2000, &data);
    cr_assert(e->blob->cap > 2000 && memcmp(data, "abc\0", 4) == 0);
    e = ctx_edit_string(&d.ctx, SLICE("new"), NULL, 2000, &data);
    cr_assert_eq(e->blob->cap, 2000);
    e = ctx_set_expire(&d.ctx, key, ctx_peek(&d.ctx, key), NOW + 1);
    cr_assert(e == ctx_peek(&d.ctx, key) && entry_expire_at(e) == NOW + 1);
    e = ctx_set_integer(&d.ctx, key, e, -5, EXPIRE_KEEP);
    cr_assert_eq(entry_expire_at(e), NOW + 1);
    ctx_reply_string(&d.ctx, e);
    expect(&d, "$2\r\n-5\r\n");
    desk_free(&d);
}

// --- arguments -----------------------------------------------------------------------------------

Test(ctx, numbers_that_do_not_fit_are_answered)
{
    struct desk d;
    int64_t n = 0;
    desk_init(&d);
    d.argv[1] = SLICE("42");
    d.argv[2] = SLICE("4.2");
    cr_assert(ctx_arg_i64(&d.ctx, 1, &n, NULL) && n == 42);
    cr_assert(ctx_arg_range(&d.ctx, 1, 42, 42, &n, NULL));
    cr_assert_eq(reply_bytes(&d.reply), 0);
    cr_assert(!ctx_arg_i64(&d.ctx, 2, &n, NULL));
    expect(&d, "-" ERR_NOT_INTEGER "\r\n");
    cr_assert(!ctx_arg_i64(&d.ctx, 2, &n, "ERR my own"));
    expect(&d, "-ERR my own\r\n");
    cr_assert(!ctx_arg_range(&d.ctx, 1, 43, 50, &n, NULL));
    expect(&d, "-ERR value is out of range, value must between 43 and 50\r\n");
    cr_assert(!ctx_arg_range(&d.ctx, 1, 0, 41, &n, "ERR my own"));
    expect(&d, "-ERR my own\r\n");
    desk_free(&d);
}

Test(ctx, words_are_compared_in_any_case_and_not_past_the_end)
{
    struct desk d;
    desk_init(&d);
    d.argv[1] = SLICE("RePlace");
    d.argv[2] = SLICE("replace"); // of an earlier command
    d.ctx.argc = 2;
    cr_assert(ctx_arg_is(&d.ctx, 1, "replace") && !ctx_arg_is(&d.ctx, 1, "replac"));
    cr_assert(!ctx_arg_is(&d.ctx, 2, "replace"));
    desk_free(&d);
}

Test(ctx, errors_about_the_command_name_it)
{
    struct desk d;
    desk_init(&d);
    const struct command *client = command_find(d.engine->table, SLICE("client"));
    d.ctx.cmd = command_find_sub(client, SLICE("list"));
    ctx_wrong_arity(&d.ctx);
    expect(&d, "-ERR wrong number of arguments for 'client|list' command\r\n");
    d.argv[1] = SLICE("nope");
    ctx_unknown_subcommand(&d.ctx);
    expect(&d, "-ERR unknown subcommand or wrong number of arguments for 'nope'. "
               "Try CLIENT HELP.\r\n");
    ctx_reply_help(&d.ctx, help_lines);
    expect(&d, "*5\r\n+CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n+ONE\r\n"
               "+    Does one thing.\r\n+HELP\r\n+    Prints this help.\r\n");
    desk_free(&d);
}

// --- effects -------------------------------------------------------------------------------------

Test(ctx, every_effect_is_a_change_to_save)
{
    struct desk d;
    desk_init(&d);
    ctx_commit(&d.ctx, SLICE("key"), EVENT_STRING, "set");
    ctx_commit_db(&d.ctx, 2, SLICE("key"), EVENT_GENERIC, "del");
    ctx_commit_flush(&d.ctx, -1);
    ctx_commit_swap(&d.ctx, 0, 1);
    cr_assert_eq(stat_get(&d.ctx.space->stats.dirty), 4);
    desk_free(&d);
}
