// SPDX-License-Identifier: BSD-3-Clause
#include "engine/pubsub.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/random.h"
#include "engine/engine.h"
#include "engine/host.h"
#include "engine/notify.h"
#include "engine/settings.h"

// --- a host that writes down what is published ---------------------------------------------------

struct record {
    char text[512]; // "channel=message@shards " one behind the other
    size_t len;
};

static void note(struct ctx *ctx, const struct publication *p, const uint32_t *shards,
                 uint32_t count)
{
    struct record *r = ctx->engine->host->owner;
    r->len += (size_t)snprintf(r->text + r->len, sizeof r->text - r->len, "%.*s=%.*s@",
                               SLICE_ARG(p->channel), SLICE_ARG(p->message));
    for (uint32_t i = 0; i < count; i++)
        r->len += (size_t)snprintf(r->text + r->len, sizeof r->text - r->len, "%u", shards[i]);
    r->len += (size_t)snprintf(r->text + r->len, sizeof r->text - r->len, " ");
}

// Three shards; the ctx is on the middle one.
struct world {
    struct record record;
    struct host host;
    struct pubsub *copies[3];
    struct keyspace space;
    struct engine engine;
    struct settings settings;
    struct ctx ctx;
};

static void begin(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->host = (struct host){.owner = &w->record, .publish = note};
    for (uint32_t i = 0; i < 3; i++) w->copies[i] = pubsub_new(3);
    w->space.shard = 1;
    w->engine.host = &w->host;
    w->engine.pubsub = w->copies;
    w->ctx = (struct ctx){.engine = &w->engine, .space = &w->space, .settings = &w->settings};
}

static void end(struct world *w)
{
    for (uint32_t i = 0; i < 3; i++) pubsub_free(w->copies[i]);
}

static void expect(struct world *w, const char *text)
{
    cr_assert_str_eq(w->record.text, text);
    w->record.len = 0;
    w->record.text[0] = '\0';
}

// --- the table -----------------------------------------------------------------------------------

Test(pubsub, counts_subscribers_of_each_name_and_kind)
{
    struct pubsub *p = pubsub_new(4);
    pubsub_change(p, PUBSUB_CHANNEL, SLICE("a"), 0, 1);
    pubsub_change(p, PUBSUB_CHANNEL, SLICE("a"), 3, 1);
    pubsub_change(p, PUBSUB_CHANNEL, SLICE("a"), 3, 1);
    pubsub_change(p, PUBSUB_PATTERN, SLICE("a"), 2, 1);
    pubsub_validate(p);
    cr_assert_eq(pubsub_subscribers(p, PUBSUB_CHANNEL, SLICE("a")), 3);
    cr_assert_eq(pubsub_subscribers(p, PUBSUB_PATTERN, SLICE("a")), 1);
    cr_assert_eq(pubsub_subscribers(p, PUBSUB_SHARD_CHANNEL, SLICE("a")), 0);
    cr_assert_eq(pubsub_count(p, PUBSUB_CHANNEL), 1);
    pubsub_free(p);
}

Test(pubsub, a_name_without_subscribers_is_forgotten)
{
    struct pubsub *p = pubsub_new(2);
    pubsub_change(p, PUBSUB_CHANNEL, SLICE("a"), 0, 1);
    pubsub_change(p, PUBSUB_CHANNEL, SLICE("a"), 1, 1);
    cr_assert_not(pubsub_is_idle(p));
    pubsub_change(p, PUBSUB_CHANNEL, SLICE("a"), 0, -1);
    cr_assert_eq(pubsub_subscribers(p, PUBSUB_CHANNEL, SLICE("a")), 1);
    pubsub_change(p, PUBSUB_CHANNEL, SLICE("a"), 1, -1);
    cr_assert_eq(pubsub_count(p, PUBSUB_CHANNEL), 0);
    cr_assert(pubsub_is_idle(p));
    pubsub_validate(p);
    pubsub_free(p);
}

Test(pubsub, forgetting_a_connection_takes_all_its_subscriptions_out)
{
    struct session s = {.id = 1};
    struct pubsub *p = pubsub_new(2);
    session_subscribe(&s, PUBSUB_CHANNEL, SLICE("a"));
    session_subscribe(&s, PUBSUB_CHANNEL, SLICE("b"));
    session_subscribe(&s, PUBSUB_PATTERN, SLICE("a*"));
    session_subscribe(&s, PUBSUB_SHARD_CHANNEL, SLICE("a"));
    for (int kind = 0; kind < PUBSUB_KINDS; kind++)
        for (struct name *n = s.subscriptions->kinds[kind].first; n; n = n->next)
            pubsub_change(p, (enum pubsub_kind)kind, name_bytes(n), 1, 1);
    pubsub_change(p, PUBSUB_CHANNEL, SLICE("b"), 0, 1); // somebody else's
    pubsub_forget(p, s.subscriptions, 1);
    pubsub_validate(p);
    cr_assert_eq(pubsub_count(p, PUBSUB_CHANNEL), 1);
    cr_assert_eq(pubsub_subscribers(p, PUBSUB_CHANNEL, SLICE("b")), 1);
    cr_assert_eq(pubsub_count(p, PUBSUB_PATTERN), 0);
    cr_assert_eq(pubsub_count(p, PUBSUB_SHARD_CHANNEL), 0);
    session_free(&s);
    pubsub_free(p);
}

Test(pubsub, agrees_with_a_plain_model_after_thousands_of_changes)
{
    enum { NAMES = 20, HOMES = 3 };
    static unsigned model[NAMES][HOMES];
    struct random r;
    char text[16];
    struct pubsub *p = pubsub_new(HOMES);
    random_seed(&r, 11);
    for (int step = 0; step < 5000; step++) {
        int i = (int)random_below(&r, NAMES);
        uint32_t home = (uint32_t)random_below(&r, HOMES);
        int delta = model[i][home] && random_below(&r, 2) ? -1 : 1;
        struct slice name = {text, (size_t)snprintf(text, sizeof text, "n%d", i)};
        model[i][home] += (unsigned)delta;
        pubsub_change(p, PUBSUB_PATTERN, name, home, delta);
        uint64_t sum = 0;
        for (int h = 0; h < HOMES; h++) sum += model[i][h];
        cr_assert_eq(pubsub_subscribers(p, PUBSUB_PATTERN, name), sum);
    }
    pubsub_validate(p);
    pubsub_free(p);
}

// --- publishing ----------------------------------------------------------------------------------

Test(pubsub, a_message_goes_once_to_every_shard_with_receivers)
{
    struct world w;
    begin(&w);
    pubsub_change(w.copies[1], PUBSUB_CHANNEL, SLICE("news"), 2, 1);
    pubsub_change(w.copies[1], PUBSUB_CHANNEL, SLICE("news"), 2, 1);
    pubsub_change(w.copies[1], PUBSUB_PATTERN, SLICE("n*"), 0, 1);
    pubsub_change(w.copies[1], PUBSUB_PATTERN, SLICE("new?"), 2, 1);
    pubsub_change(w.copies[1], PUBSUB_PATTERN, SLICE("x*"), 1, 1);
    cr_assert_eq(ctx_publish(&w.ctx, PUBSUB_CHANNEL, SLICE("news"), SLICE("hi")), 4);
    expect(&w, "news=hi@02 ");
    cr_assert_eq(ctx_publish(&w.ctx, PUBSUB_CHANNEL, SLICE("xyz"), SLICE("m")), 1);
    expect(&w, "xyz=m@1 ");
    end(&w);
}

Test(pubsub, what_nobody_wants_is_not_sent)
{
    struct world w;
    begin(&w);
    pubsub_change(w.copies[0], PUBSUB_CHANNEL, SLICE("news"), 0, 1); // another shard's copy
    cr_assert_eq(ctx_publish(&w.ctx, PUBSUB_CHANNEL, SLICE("news"), SLICE("hi")), 0);
    expect(&w, "");
    end(&w);
}

Test(pubsub, shard_channels_and_channels_know_nothing_of_each_other)
{
    struct world w;
    begin(&w);
    pubsub_change(w.copies[1], PUBSUB_SHARD_CHANNEL, SLICE("s"), 0, 1);
    pubsub_change(w.copies[1], PUBSUB_PATTERN, SLICE("*"), 2, 1);
    cr_assert_eq(ctx_publish(&w.ctx, PUBSUB_SHARD_CHANNEL, SLICE("s"), SLICE("hi")), 1);
    expect(&w, "s=hi@0 ");
    cr_assert_eq(ctx_publish(&w.ctx, PUBSUB_CHANNEL, SLICE("s"), SLICE("hi")), 1);
    expect(&w, "s=hi@2 ");
    end(&w);
}

// --- notifications -------------------------------------------------------------------------------

Test(notify, tells_the_channels_that_are_asked_for)
{
    struct world w;
    begin(&w);
    pubsub_change(w.copies[1], PUBSUB_PATTERN, SLICE("__key*__:*"), 0, 1);
    w.settings.notify_keyspace_events = EVENT_STRING | NOTIFY_KEYSPACE | NOTIFY_KEYEVENT;
    notify(&w.ctx, 3, SLICE("k"), EVENT_STRING, "set");
    expect(&w, "__keyspace@3__:k=set@0 __keyevent@3__:set=k@0 ");
    w.settings.notify_keyspace_events = EVENT_STRING | NOTIFY_KEYEVENT;
    notify(&w.ctx, 12, SLICE("k"), EVENT_STRING, "set");
    expect(&w, "__keyevent@12__:set=k@0 ");
    w.settings.notify_keyspace_events = EVENT_STRING | NOTIFY_KEYSPACE;
    notify(&w.ctx, 0, SLICE(""), EVENT_STRING, "set");
    expect(&w, "__keyspace@0__:=set@0 ");
    notify(&w.ctx, 0, SLICE("k"), EVENT_LIST, "lpush");
    expect(&w, "");
    end(&w);
}

Test(notify, a_key_may_be_of_any_length)
{
    struct world w;
    char key[400];
    begin(&w);
    memset(key, 'x', sizeof key);
    pubsub_change(w.copies[1], PUBSUB_CHANNEL, SLICE("__keyevent@0__:del"), 1, 1);
    w.settings.notify_keyspace_events = EVENT_GENERIC | NOTIFY_KEYSPACE | NOTIFY_KEYEVENT;
    for (size_t len = 200; len < sizeof key; len++) {
        notify(&w.ctx, 0, (struct slice){key, len}, EVENT_GENERIC, "del");
        cr_assert_eq(w.record.len, strlen("__keyevent@0__:del=@1 ") + len);
        w.record.len = 0;
    }
    end(&w);
}

// --- what a connection is subscribed to ----------------------------------------------------------

Test(subscriptions, are_there_only_while_there_are_any)
{
    struct session s = {.id = 1};
    cr_assert_not(subscriptions_have(s.subscriptions, PUBSUB_CHANNEL, SLICE("a")));
    cr_assert_eq(subscriptions_count(s.subscriptions, PUBSUB_CHANNEL), 0);
    session_unsubscribe(&s, PUBSUB_CHANNEL, SLICE("a"));
    session_subscribe(&s, PUBSUB_CHANNEL, SLICE("a"));
    session_subscribe(&s, PUBSUB_CHANNEL, SLICE("a"));
    session_subscribe(&s, PUBSUB_PATTERN, SLICE("b"));
    cr_assert_eq(subscriptions_count(s.subscriptions, PUBSUB_CHANNEL), 1);
    cr_assert(subscriptions_have(s.subscriptions, PUBSUB_PATTERN, SLICE("b")));
    cr_assert_not(subscriptions_have(s.subscriptions, PUBSUB_CHANNEL, SLICE("b")));
    session_unsubscribe(&s, PUBSUB_CHANNEL, SLICE("a"));
    cr_assert_not_null(s.subscriptions);
    session_unsubscribe(&s, PUBSUB_PATTERN, SLICE("b"));
    cr_assert_null(s.subscriptions);
    session_free(&s);
}
