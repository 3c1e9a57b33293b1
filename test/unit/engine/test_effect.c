// SPDX-License-Identifier: BSD-3-Clause
//
// The encoding of effects, and what it makes of bytes that are none. What the commands say is in
// commands/test_effects.c.
#include "engine/effect.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "commands/families.h"
#include "engine/engine.h"
#include "engine/settings.h"

// --- numbers -------------------------------------------------------------------------------------

Test(effect, a_number_comes_back_in_as_few_bytes_as_it_needs)
{
    static const struct {
        uint64_t n;
        size_t bytes;
    } cases[] = {{0, 1},     {127, 1},        {128, 2},         {16383, 2},
                 {16384, 3}, {UINT32_MAX, 5}, {1ull << 63, 10}, {UINT64_MAX, 10}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = {0};
        uint64_t n = 1;
        effect_put_varint(&b, cases[i].n);
        cr_expect_eq(b.len, cases[i].bytes);
        struct slice in = buf_slice(&b);
        cr_expect(effect_get_varint(&in, &n));
        cr_expect_eq(n, cases[i].n);
        cr_expect_eq(in.len, 0);
        buf_free(&b);
    }
}

Test(effect, what_is_no_number_is_refused)
{
    uint64_t n;
    struct slice none = SLICE(""), cut = SLICE("\x80\x80"),
                 big = SLICE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
                 endless = SLICE("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01");
    cr_expect_not(effect_get_varint(&none, &n));
    cr_expect_not(effect_get_varint(&cut, &n));
    cr_expect_not(effect_get_varint(&big, &n));
    cr_expect_not(effect_get_varint(&endless, &n));
}

// --- effects -------------------------------------------------------------------------------------

Test(effect, words_of_any_bytes_and_lengths_come_back)
{
    struct effects e = {0};
    char *big = mem_calloc(300000);
    struct slice argv[] = {SLICE("SET"), SLICE("a\0b"), SLICE(""), {big, 300000}};
    struct slice one[] = {SLICE("FLUSHALL")};
    effect_put(&e, 0, ARRAY_LEN(argv), argv);
    effect_put(&e, 200, 1, one);
    cr_assert_eq(e.count, 2);

    struct effect_reader r = {.left = buf_slice(&e.bytes)};
    cr_assert(effect_next(&r));
    cr_assert_eq(r.db, 0);
    cr_assert_eq(r.argc, ARRAY_LEN(argv));
    for (int i = 0; i < r.argc; i++) cr_assert(slice_eq(r.argv[i], argv[i]));
    cr_assert(effect_next(&r));
    cr_assert_eq(r.db, 200);
    cr_assert(r.argc == 1 && slice_eq(r.argv[0], one[0]));
    cr_assert_not(effect_next(&r));
    cr_assert_eq(r.left.len, 0);
    effect_reader_free(&r);

    effect_clear(&e);
    cr_assert(e.bytes.len == 0 && e.count == 0 && e.bytes.cap == 0, "big memory is given back");
    effect_free(&e);
    mem_free(big);
}

Test(effect, cut_anywhere_it_is_none)
{
    struct effects e = {0};
    struct slice argv[] = {SLICE("HSET"), SLICE("key"), SLICE("field"), SLICE("value")};
    effect_put(&e, 300, ARRAY_LEN(argv), argv);
    for (size_t len = 0; len < e.bytes.len; len++) {
        // In memory of its own, so that the sanitizers see what is read behind it.
        char *copy = mem_strndup(e.bytes.ptr, len);
        struct effect_reader r = {.left = {copy, len}};
        cr_assert_not(effect_next(&r));
        cr_assert_eq(r.left.len, len);
        effect_reader_free(&r);
        mem_free(copy);
    }
    effect_free(&e);
}

Test(effect, damaged_bytes_are_read_as_something_or_refused)
{
    struct effects e = {0};
    struct random random;
    struct slice argv[] = {SLICE("HSET"), SLICE("key"), SLICE("field"), SLICE("value")};
    random_seed(&random, 1);
    for (int i = 0; i < 5; i++) effect_put(&e, 0, ARRAY_LEN(argv), argv);
    for (int i = 0; i < 20000; i++) {
        char *copy = mem_strndup(e.bytes.ptr, e.bytes.len);
        for (int n = 0; n < 3; n++)
            copy[random_below(&random, e.bytes.len)] = (char)random_below(&random, 256);
        struct effect_reader r = {.left = {copy, e.bytes.len}};
        size_t words = 0;
        while (effect_next(&r))
            for (int w = 0; w < r.argc; w++, words++)
                cr_assert(r.argv[w].ptr >= copy &&
                          r.argv[w].ptr + r.argv[w].len <= copy + e.bytes.len);
        cr_assert_leq(words, e.bytes.len);
        effect_reader_free(&r);
        mem_free(copy);
    }
    effect_free(&e);
}

// --- word by word, and again ---------------------------------------------------------------------

struct desk {
    struct settings *settings;
    struct engine *engine;
    struct session session;
    struct reply reply;
    struct effects effects;
    struct ctx ctx;
};

static void desk_init(struct desk *d)
{
    *d = (struct desk){.settings = settings_default()};
    d->engine = engine_new(commands_all, d->settings, 1, NULL);
    session_init(&d->session, 1);
    reply_init(&d->reply, 2);
    d->ctx = (struct ctx){.engine = d->engine,
                          .settings = d->settings,
                          .session = &d->session,
                          .reply = &d->reply,
                          .now_ms = 1700000000000,
                          .spaces = d->engine->spaces,
                          .space_count = 1,
                          .space = d->engine->spaces[0]};
    d->ctx.space->effects = &d->effects;
}

static void desk_free(struct desk *d)
{
    d->ctx.space->effects = NULL;
    effect_free(&d->effects);
    reply_free(&d->reply);
    session_free(&d->session);
    engine_free(d->engine);
    settings_free(d->settings);
}

static void expect_words(struct effect_reader *r, uint32_t db, int argc, const char *const *words)
{
    cr_assert(effect_next(r));
    cr_assert_eq(r->db, db);
    cr_assert_eq(r->argc, argc);
    for (int i = 0; i < argc; i++)
        cr_assert(slice_eq(r->argv[i], slice_of(words[i])), "%.*s", SLICE_ARG(r->argv[i]));
}

Test(effect, a_draft_is_one_once_it_has_a_third_word)
{
    struct desk desk;
    struct effect_draft d;
    desk_init(&desk);
    desk.ctx.db = 5;
    effect_begin_besides(&d, &desk.ctx, "HDEL", SLICE("k"));
    effect_end(&d); // nothing was removed
    cr_assert(desk.effects.bytes.len == 0 && desk.effects.count == 0);
    cr_assert_not(desk.ctx.has_said_effect);
    effect_begin(&d, &desk.ctx, "SREM", SLICE("k"));
    effect_add(&d, SLICE("m"));
    effect_drop(&d);
    cr_assert(desk.effects.bytes.len == 0 && desk.effects.count == 0);
    cr_assert(desk.ctx.has_said_effect);

    desk.ctx.db = 300; // two bytes
    effect_begin(&d, &desk.ctx, "SREM", SLICE("k"));
    effect_add(&d, SLICE("m"));
    effect_add_int(&d, -7);
    effect_end(&d);
    effect_say_number(&desk.ctx, "LPOP", SLICE("l"), 3);
    struct effect_reader r = {.left = buf_slice(&desk.effects.bytes)};
    expect_words(&r, 300, 4, (const char *const[]){"SREM", "k", "m", "-7"});
    expect_words(&r, 300, 3, (const char *const[]){"LPOP", "l", "3"});
    cr_assert_eq(desk.effects.count, 2);
    effect_reader_free(&r);
    desk_free(&desk);
}

Test(effect, nothing_is_written_when_nobody_wants_it)
{
    struct desk desk;
    struct effect_draft d;
    desk_init(&desk);
    desk.ctx.space->effects = NULL;
    effect_begin(&d, &desk.ctx, "SREM", SLICE("k"));
    effect_add(&d, SLICE("m"));
    effect_end(&d);
    effect_say_key(&desk.ctx, "DEL", SLICE("k"));
    effect_say_value(&desk.ctx, 0, SLICE("k"));
    effect_say_everywhere(&desk.ctx);
    cr_assert_eq(desk.effects.bytes.len, 0);
    cr_assert_not(desk.ctx.has_said_effect);
    desk_free(&desk);
}

static bool run(struct desk *d, uint32_t db, int argc, const struct slice *argv)
{
    struct effects e = {0};
    effect_put(&e, db, argc, argv);
    struct effect_reader r = {.left = buf_slice(&e.bytes)};
    cr_assert(effect_next(&r));
    bool is_done = effect_run(&d->ctx, &r);
    effect_reader_free(&r);
    effect_free(&e);
    return is_done;
}

Test(effect, what_is_no_command_here_cannot_be_run_again)
{
    struct desk d;
    desk_init(&d);
    struct slice set[] = {SLICE("SET"), SLICE("k"), SLICE("v")}, none[] = {SLICE("NOPE")},
                 cut[] = {SLICE("XGROUP")}, sub[] = {SLICE("XGROUP"), SLICE("NOPE"), SLICE("k")};
    cr_expect(run(&d, 15, 3, set));
    cr_expect_not(run(&d, 16, 3, set), "there is no such database");
    cr_expect_not(run(&d, 0, 2, set), "a word is missing");
    cr_expect_not(run(&d, 0, 1, none));
    cr_expect_not(run(&d, 0, 1, cut));
    cr_expect_not(run(&d, 0, 3, sub));
    cr_expect_eq(d.engine->spaces[0]->dbs[15].keys.count, 1);
    desk_free(&d);
}
