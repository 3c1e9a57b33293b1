// SPDX-License-Identifier: BSD-3-Clause
//
// Commands that wait, seen from below: what they wait for, and what `serve` makes of a key that is
// said to be ready, whatever has become of it. Who is served when: test/integration.
#include "commands/wait.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "commands/families.h"
#include "engine/engine.h"
#include "engine/host.h"
#include "engine/interest.h"
#include "engine/session.h"
#include "engine/settings.h"

#define NOW       INT64_C(1700000000000)
#define WORDS_MAX 64

struct desk {
    struct settings *settings;
    struct host host;
    struct engine *engine;
    struct session session;
    struct reply reply;
    struct slice argv[WORDS_MAX];
    struct ctx ctx;
    struct waiter *waiter;
};

static struct desk d;

static void open_desk(void)
{
    d = (struct desk){.settings = settings_default()};
    d.engine = engine_new(commands_all, d.settings, 1, &d.host);
    session_init(&d.session, 1);
    reply_init(&d.reply, 2);
    d.ctx = (struct ctx){.engine = d.engine,
                         .settings = d.settings,
                         .reply = &d.reply,
                         .session = &d.session,
                         .now_ms = NOW,
                         .argv = d.argv,
                         .flags = CTX_MAY_BLOCK,
                         .spaces = d.engine->spaces,
                         .space_count = 1,
                         .space = d.engine->spaces[0]};
}

static void settle(void)
{
    struct interest *i;
    while ((i = interest_take_ready(d.ctx.space))) interest_settle(i);
}

static void dismiss(void)
{
    if (!d.waiter) return;
    waiter_unlink_all(d.waiter, 0);
    settle();
    waiter_unref(d.waiter);
    d.waiter = NULL;
}

static void close_desk(void)
{
    dismiss();
    settle();
    for (uint32_t n = 0; n < d.ctx.space->db_count; n++) db_validate(&d.ctx.space->dbs[n]);
    reply_free(&d.reply);
    session_free(&d.session);
    engine_free(d.engine);
    settings_free(d.settings);
}

TestSuite(wait, .init = open_desk, .fini = close_desk);

// "$2\r\nab\r\n" is expected as "$2 ab".
static void expect(const char *file, int line, const char *what, struct reply *reply,
                   const char *want)
{
    size_t len, to = 0;
    char *got = reply_flatten(reply, &len);
    for (size_t i = 0; i + 1 < len; i++)
        if (got[i] != '\r') got[to++] = got[i] == '\n' ? ' ' : got[i];
    cr_assert(strlen(want) == to && memcmp(got, want, to) == 0, "%s:%d: %s\n  want %s\n  got  %.*s",
              file, line, what, want, (int)to, got);
    mem_free(got);
    reply_clear(reply);
}

static void run(const char *file, int line, const char *command, const char *want)
{
    char *text = mem_strdup(command), *rest = NULL;
    int n = 0;
    for (char *w = strtok_r(text, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
        d.argv[n++] = (struct slice){w, strlen(w)};
    d.ctx.argc = n;
    d.ctx.cmd = command_find(d.engine->table, d.argv[0]);
    cr_assert_not_null(d.ctx.cmd, "%s", command);
    if (d.ctx.cmd->subcommands) d.ctx.cmd = command_find_sub(d.ctx.cmd, d.argv[1]);
    d.ctx.waiter = NULL;
    d.ctx.cmd->handler(&d.ctx);
    if (d.ctx.waiter) {
        dismiss();
        d.waiter = d.ctx.waiter;
        cr_assert_eq(reply_bytes(&d.reply), 0, "%s:%d: who waits has no reply yet", file, line);
        cr_assert_str_eq(want, "waits");
    } else {
        expect(file, line, command, &d.reply, want);
    }
    mem_free(text);
}

// The key is ready: what the waiter is served, or "nothing".
static void serve(const char *file, int line, const char *key, const char *want)
{
    struct waiter *w = d.waiter;
    struct ctx c = d.ctx;
    c.cmd = w->cmd;
    c.argv = w->argv;
    c.argc = w->argc;
    c.flags = 0;
    c.reply = &w->reply;
    c.waiter = NULL;
    if (!w->cmd->serve(&c, (struct slice){key, strlen(key)})) {
        cr_assert_eq(reply_bytes(&w->reply), 0, "%s:%d: nothing served, nothing said", file, line);
        cr_assert_str_eq(want, "nothing", "%s:%d: nothing was served", file, line);
        return;
    }
    expect(file, line, key, &w->reply, want);
}

#define CHECK(command, want) run(__FILE__, __LINE__, (command), (want))
#define SERVE(key, want)     serve(__FILE__, __LINE__, (key), (want))

static void expect_links(const char *first, const char *second)
{
    const char *const want[] = {first, second};
    int n = second ? 2 : first ? 1 : 0;
    cr_assert_eq(d.waiter->link_count, n);
    for (int i = 0; i < n; i++)
        cr_assert(slice_eq(interest_key(d.waiter->links[i].interest),
                           (struct slice){want[i], strlen(want[i])}));
}

Test(wait, a_list_command_waits_for_its_keys_and_for_lists)
{
    CHECK("BLPOP q r 1.5", "waits");
    expect_links("q", "r");
    cr_assert_eq(d.waiter->type, TYPE_LIST);
    cr_assert_eq(d.waiter->deadline_ms, NOW + 1500);
    cr_assert_eq(d.waiter->on_timeout, TIMEOUT_NULL_ARRAY);
    CHECK("BLPOP q q 0", "waits");
    expect_links("q", NULL);
    cr_assert_eq(d.waiter->deadline_ms, INT64_MAX);
    CHECK("BLMPOP 0 2 q r LEFT", "waits");
    expect_links("q", "r");
    CHECK("BLMOVE q r LEFT RIGHT 0", "waits");
    expect_links("q", NULL);
    cr_assert_eq(d.waiter->flags, BLOCK_NEEDS_ALL_KEYS);
    CHECK("BRPOPLPUSH q r 0", "waits");
    expect_links("q", NULL);
    CHECK("BZMPOP 0 2 q r MIN", "waits");
    expect_links("q", "r");
    cr_assert_eq(d.waiter->type, TYPE_ZSET);
    CHECK("XREAD BLOCK 7 STREAMS q r 0 0", "waits");
    expect_links("q", "r");
    cr_assert_eq(d.waiter->type, TYPE_STREAM);
    cr_assert_eq(d.waiter->deadline_ms, NOW + 7);
    CHECK("WAIT 1 0", "waits");
    expect_links(NULL, NULL);
    cr_assert_eq(d.waiter->on_timeout, TIMEOUT_ZERO);
    CHECK("WAIT 0 0", ":0");
}

Test(wait, more_keys_than_stand_on_the_stack)
{
    char text[400] = "BLPOP";
    for (int i = 0; i < 60; i++) snprintf(text + strlen(text), 5, " k%d", i);
    snprintf(text + strlen(text), 3, " 0");
    CHECK(text, "waits");
    cr_assert_eq(d.waiter->link_count, 60);
}

Test(wait, where_nothing_may_wait_a_null_is_the_answer)
{
    d.ctx.flags = CTX_IN_EXEC;
    CHECK("BLPOP q 0", "*-1");
    CHECK("BLMPOP 0 1 q LEFT", "*-1");
    CHECK("BLMOVE q r LEFT RIGHT 0", "$-1");
    CHECK("BRPOPLPUSH q r 0", "$-1");
    CHECK("BZPOPMIN q 0", "*-1");
    CHECK("XREAD BLOCK 0 STREAMS q $", "*-1");
    CHECK("WAIT 9 0", ":0");
    d.ctx.flags = CTX_IN_SCRIPT;
    CHECK("XREAD BLOCK 0 STREAMS q $",
          "-ERR xread command is not allowed with BLOCK option from scripts");
}

Test(wait, a_key_that_is_gone_or_another_type_serves_no_list_command)
{
    CHECK("BLPOP q 0", "waits");
    SERVE("q", "nothing");
    CHECK("SET q 1", "+OK");
    SERVE("q", "nothing");
    CHECK("BZPOPMAX q 0", "-WRONGTYPE Operation against a key holding the wrong kind of value");
    CHECK("DEL q", ":1");
    CHECK("BLMPOP 0 1 q LEFT", "waits");
    SERVE("q", "nothing");
    CHECK("BZMPOP 0 1 q MIN", "waits");
    SERVE("q", "nothing");
    CHECK("BRPOPLPUSH q r 0", "waits");
    SERVE("q", "nothing");
    CHECK("RPUSH q 1", ":1");
    SERVE("q", "$1 1");
    SERVE("q", "nothing");
    CHECK("LRANGE r 0 -1", "*1 $1 1");
}

Test(wait, each_list_command_is_served_as_it_asked)
{
    CHECK("BLPOP q r 0", "waits");
    CHECK("RPUSH r a b c d e", ":5");
    SERVE("r", "*2 $1 r $1 a");
    CHECK("BRPOP q 0", "waits");
    SERVE("r", "*2 $1 r $1 e");
    CHECK("BLMPOP 0 1 q RIGHT COUNT 2", "waits");
    SERVE("r", "*2 $1 r *2 $1 d $1 c");
    CHECK("BLMOVE q s LEFT LEFT 0", "waits");
    SERVE("r", "$1 b");
    CHECK("EXISTS r s", ":1");
}

Test(wait, a_destination_of_another_type_is_an_error_and_takes_nothing)
{
    CHECK("SET s 1", "+OK");
    CHECK("BLMOVE q s LEFT LEFT 0", "waits");
    CHECK("RPUSH q a", ":1");
    SERVE("q", "-WRONGTYPE Operation against a key holding the wrong kind of value");
    CHECK("LRANGE q 0 -1", "*1 $1 a");
}

Test(wait, sorted_sets_are_served_in_a_row_or_in_pairs)
{
    CHECK("BZPOPMIN z 0", "waits");
    CHECK("ZADD z 1 a 2 b 3.5 c 4 d", ":4");
    SERVE("z", "*3 $1 z $1 a $1 1");
    CHECK("BZPOPMAX y 0", "waits");
    SERVE("z", "*3 $1 z $1 d $1 4");
    CHECK("BZMPOP 0 1 y MAX COUNT 9", "waits");
    SERVE("z", "*2 $1 z *2 *2 $1 c $3 3.5 *2 $1 b $1 2");
    SERVE("z", "nothing");
}

Test(wait, dollar_and_plus_are_settled_when_the_client_begins_to_wait)
{
    CHECK("XADD s 5-3 a 1", "$3 5-3");
    CHECK("XREAD BLOCK 0 STREAMS s t u $ + 7", "waits");
    cr_assert(slice_eq(d.waiter->argv[7], SLICE("5-3")));
    cr_assert(slice_eq(d.waiter->argv[8], SLICE("0-0")));
    cr_assert(slice_eq(d.waiter->argv[9], SLICE("7-0")));
    SERVE("s", "nothing");
    CHECK("XADD s 6-1 a 2", "$3 6-1");
    SERVE("s", "*1 *2 $1 s *1 *2 $3 6-1 *2 $1 a $1 2");
    CHECK("XADD t 1-1 a 3", "$3 1-1");
    SERVE("t", "*1 *2 $1 t *1 *2 $3 1-1 *2 $1 a $1 3");
    CHECK("XADD u 7-0 a 4", "$3 7-0");
    SERVE("u", "nothing");
}

Test(wait, a_group_serves_what_is_new_and_ends_with_group_or_stream)
{
    CHECK("XGROUP CREATE s g $ MKSTREAM", "+OK");
    CHECK("XREADGROUP GROUP g c BLOCK 0 STREAMS s >", "waits");
    cr_assert_eq(d.waiter->flags, BLOCK_UNTIL_GONE);
    SERVE("s", "nothing");
    CHECK("XGROUP DELCONSUMER s g c", ":0");
    SERVE("s", "nothing");
    CHECK("XINFO CONSUMERS s g", "*0"); // who gets nothing is not made anew
    CHECK("XADD s 1-1 a 1", "$3 1-1");
    SERVE("s", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1");
    SERVE("s", "nothing");
    CHECK("XGROUP DESTROY s g", ":1");
    SERVE("s", "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option");
    CHECK("DEL s", ":1");
    SERVE("s", "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option");
    CHECK("SET s 1", "+OK");
    SERVE("s", "-WRONGTYPE Operation against a key holding the wrong kind of value");
}

Test(wait, a_history_never_waits)
{
    CHECK("XGROUP CREATE s g $ MKSTREAM", "+OK");
    CHECK("XREADGROUP GROUP g c BLOCK 0 STREAMS s 0", "*1 *2 $1 s *0");
    CHECK("XREADGROUP GROUP g c BLOCK 0 STREAMS s s > 5", "*1 *2 $1 s *0");
}

Test(wait, the_time_of_a_served_command_does_not_matter_any_more)
{
    CHECK("XREAD BLOCK 9223370336854775807 STREAMS s 0", "waits");
    d.ctx.now_ms += 1000; // that timeout would be out of range now
    CHECK("XADD s 1-1 a 1", "$3 1-1");
    SERVE("s", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1");
}
