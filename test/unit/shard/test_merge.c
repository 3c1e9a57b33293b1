// SPDX-License-Identifier: BSD-3-Clause
//
// Replies of parts on several shards become what one database would have answered, request by
// request in the order they were sent.
#include "shard/merge.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "fixture.h"

Test(merge, sums_are_added_up)
{
    struct world *w = world_new(3);
    CHECK_LINE(w, "MSET @0a 1 @1a 1 @2a 1 @2b 1", "+OK");
    CHECK_LINE(w, "EXISTS @0a @1a @2a @0a @1none", ":4");
    CHECK_LINE(w, "DBSIZE", ":4");
    CHECK_LINE(w, "DEL @0a @2a @2b @1none", ":3");
    CHECK_LINE(w, "DBSIZE", ":1");
    world_free(w);
}

Test(merge, a_sum_may_have_a_reply_of_its_own_making)
{
    struct world *w = world_new(3);
    CHECK_LINE(w, "CLIENT KILL ID 999", ":0");
    CHECK_LINE(w, "CLIENT KILL 10.0.0.1:5", "-ERR No such client");
    world_free(w);
}

Test(merge, positions_follow_the_order_of_the_keys)
{
    struct world *w = world_new(4);
    CHECK_LINE(w, "MSET @3a a3 @0a a0 @2a a2 @3b b3", "+OK");
    CHECK_LINE(w, "MGET @3b @0a @1a @2a @3a @0a", "*6 $2 b3 $2 a0 $-1 $2 a2 $2 a3 $2 a0");
    world_free(w);
}

Test(merge, positions_in_resp3_have_its_null)
{
    struct world *w = world_new(2);
    struct job *j = job_new(w, 0);
    j->resp = 3;
    job_add(j, "MGET @1a @0a");
    job_enter(j, true);
    world_settle(w);
    cr_assert_str_eq(j->reply, "*2\r\n_\r\n_\r\n");
    job_free(j);
    world_free(w);
}

Test(merge, all_is_ok_if_all_say_so_else_the_first_error_is_the_reply)
{
    struct world *w = world_new(3);
    CHECK_LINE(w, "FLUSHALL", "+OK");
    CHECK_LINE(w, "FLUSHALL NONSENSE", "-ERR syntax error");
    CHECK_LINES(w, "+PONG -ERR syntax error +PONG", "PING", "FLUSHDB NONSENSE", "PING");
    world_free(w);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

Test(merge, arrays_are_joined)
{
    struct world *w = world_new(3);
    CHECK_LINE(w, "KEYS *", "*0");
    CHECK_LINE(w, "MSET @0a 1 @2b 1 @2c 1 other x", "+OK");
    struct job *j = job_start(w, 0, "KEYS {*");
    world_settle(w);
    char *rest = j->reply, *words[8];
    int n = 0;
    while (n < 8 && (words[n] = strtok_r(n ? NULL : rest, "\r\n", &rest))) n++;
    cr_assert_eq(n, 7);
    cr_assert_str_eq(words[0], "*3");
    char *keys[] = {words[2], words[4], words[6]}, want[3][16];
    qsort(keys, 3, sizeof keys[0], compare_texts);
    char *wanted[] = {want[0], want[1], want[2]};
    snprintf(want[0], sizeof want[0], "%sa", w->tags[0]);
    snprintf(want[1], sizeof want[1], "%sb", w->tags[2]);
    snprintf(want[2], sizeof want[2], "%sc", w->tags[2]);
    qsort(wanted, 3, sizeof wanted[0], compare_texts);
    for (int i = 0; i < 3; i++) cr_assert_str_eq(keys[i], wanted[i]);
    job_free(j);
    world_free(w);
}

// The text of CLIENT LIST: one line of each shard, in the order of the shards.
static void check_client_list(struct world *w, uint8_t resp, const char *prefix)
{
    struct job *j = job_new(w, 1);
    j->resp = resp;
    job_add(j, "CLIENT LIST");
    job_enter(j, true);
    world_settle(w);
    char *body = strstr(j->reply, "\r\n") + 2, *p = body;
    cr_assert_eq(j->reply[0], prefix[0]);
    cr_assert_eq(strtoul(j->reply + 1, NULL, 10), j->reply_len - (size_t)(body - j->reply) - 2);
    cr_assert(strncmp(p, prefix + 1, strlen(prefix + 1)) == 0);
    p += strlen(prefix + 1);
    for (uint32_t i = 1; i <= w->group.count; i++) {
        char want[16];
        snprintf(want, sizeof want, "id=%u ", i);
        cr_assert(strncmp(p, want, strlen(want)) == 0, "%s", p);
        p = strchr(p, '\n') + 1;
    }
    cr_assert_str_eq(p, "\r\n");
    job_free(j);
}

Test(merge, texts_are_joined_in_the_form_of_the_protocol)
{
    struct world *w = world_new(3);
    check_client_list(w, 2, "$");
    check_client_list(w, 3, "=txt:");
    world_free(w);
}

Test(merge, the_replies_of_a_batch_come_in_the_order_of_its_requests)
{
    struct world *w = world_new(3);
    CHECK_LINES(w,
                "+PONG +OK -ERR unknown command 'NOSUCH', with args beginning with:  :2 *2 $1 v "
                "$1 w $1 v +OK $-1",
                "PING", "MSET @1a v @2a w", "NOSUCH", "EXISTS @1a @2a", "MGET @1a @2a", "GET @1a",
                "SET @0a x", "GET @2none");
    world_free(w);
}

Test(merge, silent_requests_leave_nothing)
{
    struct world *w = world_new(3);
    struct job *j = job_new(w, 0);
    const char *lines[] = {"PING", "MSET @1a v @2a w", "EXISTS @1a @2a", "SET @0a x",
                           "MGET @1a @2a"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) job_add(j, lines[i]);
    struct operation *op = job_build(j);
    for (uint32_t i = 0; i + 1 < op->request_count; i++) op->requests[i].is_silent = true;
    shard_submit(w->shards[0], op);
    world_settle(w);
    cr_assert_str_eq(j->reply, "*2\r\n$1\r\nv\r\n$1\r\nw\r\n");
    job_free(j);
    world_free(w);
}

Test(merge, a_silent_request_that_ran_whole_on_the_only_shard_leaves_nothing)
{
    struct world *w = world_new(2);
    struct job *j = job_new(w, 0);
    job_add(j, "SET @1a v");
    struct operation *op = job_build(j);
    op->requests[0].is_silent = true;
    shard_submit(w->shards[0], op);
    world_settle(w);
    cr_assert(j->is_done && j->reply_len == 0);
    CHECK_LINE(w, "GET @1a", "$1 v");
    job_free(j);
    world_free(w);
}

// A value of `len` bytes that begins and ends with letters of its own.
static void set_big(struct world *w, const char *key, size_t len)
{
    char line[100];
    snprintf(line, sizeof line, "SETRANGE %s %zu <", key, len - 1);
    job_free(job_start(w, 0, "PING"));
    struct job *j = job_start(w, 0, line);
    world_settle(w);
    job_free(j);
}

Test(merge, big_values_go_whole_through_parts_and_batches)
{
    enum { LEN = REPLY_LINK_BYTES + 10 };
    struct world *w = world_new(2);
    set_big(w, "@0a", LEN);
    set_big(w, "@1a", LEN);
    struct job *j = job_new(w, 0);
    const char *lines[] = {"GET @1a", "PING", "MGET @1a @0a", "GET @0a", "STRLEN @1a"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) job_add(j, lines[i]);
    job_enter(j, true);
    world_settle(w);
    char bulk[LEN + 16], *p = j->reply;
    int n = snprintf(bulk, sizeof bulk, "$%d\r\n", LEN);
    memset(bulk + n, 0, LEN - 1);
    size_t bulk_len = (size_t)n + LEN + 2;
    memcpy(bulk + bulk_len - 3, "<\r\n", 3);
    const char *between[] = {"", "+PONG\r\n*2\r\n", "", "", NULL};
    for (int i = 0; between[i]; i++) {
        cr_assert(memcmp(p, between[i], strlen(between[i])) == 0);
        p += strlen(between[i]);
        cr_assert(memcmp(p, bulk, bulk_len) == 0, "value %d", i);
        p += bulk_len;
    }
    cr_assert_str_eq(p, ":65546\r\n");
    job_free(j);
    world_free(w);
}

Test(merge, a_split_command_counts_once_at_home)
{
    struct world *w = world_new(3);
    const struct command *mget = command_find(w->engine->table, SLICE("mget"));
    const struct command *flush = command_find(w->engine->table, SLICE("flushall"));
    CHECK_LINE(w, "MGET @0a @1a @2a", "*3 $-1 $-1 $-1");
    CHECK_LINE(w, "FLUSHALL NONSENSE", "-ERR syntax error");
    for (uint32_t i = 0; i < 3; i++) {
        struct shard_stats *stats = w->engine->stats[i];
        cr_assert_eq(stat_get(&stats->commands[mget->id].calls), i == 0);
        cr_assert_eq(stat_get(&stats->commands[flush->id].failed), i == 0);
        cr_assert_eq(stat_get(&stats->total_commands), i == 0 ? 2 : 0);
        cr_assert_eq(stat_get(&stats->total_errors), i == 0);
    }
    world_free(w);
}
