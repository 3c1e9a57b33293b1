// SPDX-License-Identifier: BSD-3-Clause
#include "script/lua_state.h"

#include <criterion/criterion.h>
#include <gyre.h>

static char *eval(struct gyre *g, const char *script)
{
    const char *argv[] = {"EVAL", script, "0"};
    char *reply;
    cr_assert_eq(gyre_execute(g, 3, argv, NULL, &reply, NULL), 0);
    return reply;
}

static void expect(struct gyre *g, const char *script, const char *reply)
{
    char *got = eval(g, script);
    cr_assert(strstr(got, reply) != NULL, "%s: %s, not %s", script, got, reply);
    gyre_free(got);
}

Test(lua_state, a_script_runs_in_the_embedded_engine)
{
    struct gyre *g = gyre_open(NULL);
    expect(g, "redis.call('SET', 'k', ARGV[1] or 'v') return redis.call('GET', 'k')",
           "$1\r\nv\r\n");
    expect(g, "return {1, 'two', {3}, false, 5}",
           "*5\r\n:1\r\n$3\r\ntwo\r\n*1\r\n:3\r\n$-1\r\n:5\r\n");
    gyre_close(g);
}

Test(lua_state, what_runs_out_of_memory_fails_and_gives_it_back)
{
    struct gyre *g = gyre_open(NULL);
    for (int i = 0; i < 3; i++)
        expect(g, "local s = ('x'):rep(100000) while true do s = s .. s end", "not enough memory");
    expect(g, "return collectgarbage('count') < 1000", ":1\r\n");
    gyre_close(g);
}

Test(lua_state, a_script_finds_nothing_of_the_one_before)
{
    struct gyre *g = gyre_open(NULL);
    expect(g, "KEYS.left = 1 ARGV[7] = 1 setmetatable(KEYS, {__index = ARGV}) return 1", ":1\r\n");
    expect(g, "return {KEYS.left or 'none', ARGV[7] or 'none'}",
           "*2\r\n$4\r\nnone\r\n$4\r\nnone\r\n");
    expect(g, "redis.setresp(3) return 1", ":1\r\n");
    expect(g, "return redis.call('GET', 'nope') == false", ":1\r\n");
    expect(g, "redis.call('SELECT', 3) return 1", ":1\r\n");
    expect(g, "redis.call('SET', 'k', 'v') redis.call('SELECT', 3) return redis.call('DBSIZE')",
           ":0\r\n");
    gyre_close(g);
}
