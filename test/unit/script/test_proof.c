// SPDX-License-Identifier: BSD-3-Clause
#include "script/proof.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "commands/families.h"

static void check(const char *file, int line, const char *source, bool want)
{
    struct command_table *table = command_table_new(commands_all);
    // In memory of exactly its length, so that a sanitizer sees a byte read behind it.
    size_t len = strlen(source);
    char *copy = mem_alloc(len ? len : 1);
    memcpy(copy, source, len);
    bool is_proven = proof_stays_on_keys(table, (struct slice){copy, len});
    cr_expect_eq(is_proven, want, "%s:%d: %s proven: %s", file, line, is_proven ? "" : "not",
                 source);
    mem_free(copy);
    command_table_free(table);
}

#define PROVEN(source)   check(__FILE__, __LINE__, source, true)
#define UNPROVEN(source) check(__FILE__, __LINE__, source, false)

Test(proof, keys_are_elements_of_KEYS)
{
    PROVEN("return redis.call('get', KEYS[1])");
    PROVEN("return redis.pcall(\"GET\", KEYS[1])");
    PROVEN("return redis['call']('get', (KEYS[#KEYS]))");
    PROVEN("return redis.call('set', KEYS[ARGV[1]], ARGV[2], 'px', ARGV[3], unpack(ARGV))");
    PROVEN("return redis.call('get', ARGV[1] and KEYS[1] or KEYS[2])");
    PROVEN("return redis.call('get', KEYS[1] or nil)");
    PROVEN("return {KEYS[1], KEYS[2] .. 'x', #KEYS, -#KEYS, type(KEYS[1])}");
    UNPROVEN("return redis.call('get', ARGV[1])");
    UNPROVEN("return redis.call('get', 'x')");
    UNPROVEN("return redis.call('get', 1)");
    UNPROVEN("return redis.call('get', KEYS[1] .. ':x')");
    UNPROVEN("return redis.call('get', KEYS[1] or ARGV[1])");
    UNPROVEN("return redis.call('get', KEYS[1] and ARGV[1])");
    UNPROVEN("return redis.call('get', -KEYS[1])");
    UNPROVEN("return redis.call('get', #KEYS)");
    UNPROVEN("return redis.call('get', KEYS)");
    UNPROVEN("return redis.call('get', KEYS[1][1])");
    UNPROVEN("return redis.call('get', {KEYS[1]})");
    UNPROVEN("return redis.call('get', KEYS[1]:upper())");
    UNPROVEN("return redis.call('get', (tostring(KEYS[1])))");
}

Test(proof, a_local_holds_a_key_if_nothing_else_is_ever_assigned_to_it)
{
    PROVEN("local key, now = KEYS[1], ARGV[1] return redis.call('zrange', key, 0, now)");
    PROVEN("local a, b = unpack(KEYS) return redis.call('mget', a, b)");
    PROVEN("local k if ARGV[1] then k = KEYS[1] else k = KEYS[2] end redis.call('del', k)");
    PROVEN("local a = KEYS[1] local function f() return redis.call('get', a) end return f()");
    PROVEN("local k = ARGV[1] do local k = KEYS[1] redis.call('get', k) end");
    PROVEN("local k = KEYS[1] local x = function(k) return k end redis.call('get', k)");
    UNPROVEN("local key, now = ARGV[1], KEYS[1] return redis.call('get', key)");
    UNPROVEN("local key, now = (unpack(KEYS)), ARGV[1] return redis.call('get', now)");
    UNPROVEN("local k = KEYS[1] k = k .. 'x' return redis.call('get', k)");
    UNPROVEN("local k = KEYS[1] while 1 do redis.call('get', k) k = ARGV[1] end");
    UNPROVEN("local k = KEYS[1] local function f() k = 'x' end f() redis.call('get', k)");
    UNPROVEN("local k = KEYS[1] function k() end redis.call('get', k)");
    UNPROVEN("local k = KEYS[1] local x k, x = ARGV[1], KEYS[1] redis.call('get', k)");
    UNPROVEN("local k, x = KEYS[1], KEYS[2] x, k = KEYS[1], ARGV[1] redis.call('get', k)");
    UNPROVEN("local k, x = KEYS[1], KEYS[2] x, k = unpack(ARGV) redis.call('get', k)");
    UNPROVEN("local k = ARGV[1] do local k = KEYS[1] end redis.call('get', k)");
    UNPROVEN("local k = KEYS[1] local k = k .. 'x' redis.call('get', k)");
    UNPROVEN("local k = KEYS[1] for k = 1, 2 do redis.call('get', k) end");
    UNPROVEN("local k = KEYS[1] for k in pairs(KEYS) do redis.call('get', k) end");
    UNPROVEN("local k = KEYS[1] repeat local k = 'x' until redis.call('get', k)");
    PROVEN("local k = 'x' repeat local k = KEYS[1] until redis.call('get', k)");
    UNPROVEN("local k = KEYS[1] repeat local j = 1 until k redis.call('get', j)");
    // A chain of contradictions against the order of the text.
    UNPROVEN("local a, b, c while 1 do redis.call('get', a) a = b b = c c = 'x' end");
    PROVEN("local a, b, c while 1 do redis.call('get', a) a = b b = c c = KEYS[1] end");
}

Test(proof, loops_over_KEYS_yield_keys)
{
    PROVEN("for i, k in ipairs(KEYS) do redis.call('del', k) end");
    PROVEN("for _, k in pairs(KEYS) do redis.call('pexpire', k, ARGV[_]) end");
    PROVEN("for i = 1, #KEYS do redis.call('del', KEYS[i]) end");
    PROVEN("for i, k in ipairs(ARGV) do redis.call('rpush', KEYS[1], k) end");
    UNPROVEN("for i, k in ipairs(KEYS) do redis.call('del', i) end");
    UNPROVEN("for i, k in ipairs(ARGV) do redis.call('del', k) end");
    UNPROVEN("for i, k in ipairs(KEYS) do redis.call('del', k) k = 'x' redis.call('del', k) end");
    UNPROVEN("for i, k in ipairs(KEYS), 1 do redis.call('del', k) end");
    UNPROVEN("for i, k in next, KEYS do redis.call('del', k) end");
    UNPROVEN("local f, s = ipairs(KEYS) s[1] = 'x' redis.call('get', KEYS[1])");
    UNPROVEN("local ipairs = ARGV[1] for i, k in ipairs(KEYS) do redis.call('del', k) end");
    UNPROVEN("local function ipairs(t) return next, ARGV end "
             "for i, k in ipairs(KEYS) do redis.call('del', k) end");
}

Test(proof, local_functions_take_keys_if_every_call_gives_them_keys)
{
    PROVEN("local function f(k, v) return redis.call('set', k, v) end f(KEYS[1], 1)");
    PROVEN("local f = function(k) redis.call('get', k) end f(KEYS[1]) f(KEYS[2])");
    PROVEN("local function f(k, n) redis.call('get', k) f(k, n - 1) end f(KEYS[1], 2)");
    PROVEN("local function f(k) redis.call('get', k) end f(unpack(KEYS)) f()");
    PROVEN("local function g(k) redis.call('get', k) end "
           "local function f(a) g(a) end f(KEYS[1])");
    PROVEN("(function(k) redis.call('get', k) end)(KEYS[1])");
    UNPROVEN("local function f(k, v) return redis.call('set', k, v) end f('x', KEYS[1])");
    UNPROVEN("local function f(a, k) redis.call('get', k) end f(unpack(ARGV))");
    UNPROVEN("local function f(k) redis.call('get', k) end f(KEYS[1]) f('x')");
    UNPROVEN("local function f(k) redis.call('get', k) f(k .. 'x') end f(KEYS[1])");
    UNPROVEN("local function f(k) redis.call('get', k) end local g = f g('x')");
    UNPROVEN("local function f(k) redis.call('get', k) end local t = {f} t[1]('x')");
    UNPROVEN("local function f(k) redis.call('get', k) end pcall(f, 'x')");
    UNPROVEN("local function f(k) redis.call('get', k) end return f");
    UNPROVEN("local function f(k) redis.call('get', k) end local g g = f");
    UNPROVEN("local function f(k) redis.call('get', k) end f = ARGV and f f('x')");
    UNPROVEN("local t = {} function t.f(k) redis.call('get', k) end t.f('x')");
    UNPROVEN("local t = {} function t:f(k) redis.call('get', self) end t.f('x')");
    UNPROVEN("local function f(...) redis.call('get', ...) end f(KEYS[1])");
    UNPROVEN("table.sort(ARGV, function(a, b) return redis.call('get', a) end)");
    UNPROVEN("local function g(k) redis.call('get', k) end "
             "local function f(a) g(a) end f(KEYS[1]) f('x')");
}

Test(proof, KEYS_and_redis_stay_in_sight)
{
    PROVEN("local r, keys = redis, KEYS local call = r.call return call('get', keys[1])");
    PROVEN("local call = redis.call local function f() return call('get', KEYS[1]) end f()");
    PROVEN("redis.log(redis.LOG_NOTICE, 'x') return redis.error_reply(redis.sha1hex(KEYS[1]))");
    static const char *const lost[] = {
        "KEYS[1] = 'x'",
        "KEYS[1], KEYS[2] = KEYS[2], 'x'",
        "KEYS = {'x'}",
        "local a KEYS, a = 1, 2",
        "table.insert(KEYS, 'x')",
        "local k = KEYS k[1] = 'x'",
        "local k = KEYS k = ARGV",
        "local k = {KEYS} k[1][1] = 'x'",
        "local k = ARGV[1] or KEYS",
        "local k k = KEYS",
        "local function f(k) k[1] = 'x' end f(KEYS)",
        "local function f() return KEYS end",
        "table.sort(KEYS)",

        "function KEYS.f() end",
        "function redis.f() end",
        "local r = redis function r.call() end",
        "redis.call = tostring",
        "redis = {}",
        "local c = redis.call c = print",
        "local c c = redis.call",
        "local t = {redis.call}",
        "local t = {c = redis}",
        "local x = redis.whatever",
        "local x = redis[ARGV[1]]",
        "redis['x'] = 1",
        "pcall(redis.call, 'get', 'x')",
        "return redis",
        "return redis.call",
        "local x = redis == nil",
        "redis:call('x')",
        "(redis.call or 1)('get', 'x')",
        "local x = #redis",
        "_G.redis = nil",
        "local g = _G",
        "setfenv(1, {})",
        "getfenv(0)",
        "loadstring('x')()",
        "load(f)",
        "dofile('x')",
        "require('x')",
        "rawset({}, 1, 2)",
        "setmetatable({}, {})",
        "getmetatable('').__index = {}",
        "debug.getinfo(1)",
        "print(1)",
        "x = 1",
        "function x() end",
        "local y = unknown",
        "coroutine.wrap(1)",
        "rawget(1, 2)",
        "for KEYS in pairs({}) do end x = 1",
        "if KEYS then end",
        "unpack(redis)",
        "f(KEYS)",
        "local a = {[KEYS] = 1}",
        "local a = ARGV[redis]",
        "local a = ipairs(KEYS)",
        "for i = 1, KEYS do end",
        "return 1, redis.call",
        "string.format('x', redis.call)",
        "(KEYS)[1] = 'x'",
        "local s = KEYS .. 'x'",
        "redis.register_function('f', tostring)",
        "unpack(KEYS, redis)",
        "local t = {} t.x = KEYS",
        "local t = {} t.x, t.y = 1, redis.call",
        "local a = 1, KEYS",
        "return not KEYS",
        "server.call('x')",
    };
    for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++) {
        struct buf b = {0};
        buf_append_text(&b, lost[i]);
        buf_append_char(&b, 0);
        UNPROVEN(b.ptr);
        buf_free(&b);
    }
    UNPROVEN("local KEYS = ARGV redis.call('get', KEYS[1])");
    UNPROVEN("local redis = {call = 1} local KEYS = ARGV redis.call('get', KEYS[1]) x = 1");
    PROVEN("local redis = ARGV redis.call('get', 'x')"); // not the redis that reaches keys
}

Test(proof, positions_follow_from_the_command)
{
    PROVEN("redis.call('del', unpack(KEYS))");
    PROVEN("redis.call('del', KEYS[1], unpack(KEYS, 2))");
    PROVEN("redis.call('mset', KEYS[1], ARGV[1], KEYS[2], ARGV[2])");
    PROVEN("redis.call('rpush', KEYS[1], unpack(ARGV))");
    PROVEN("redis.call('blmpop', 0, 2, KEYS[1], KEYS[2], 'LEFT', 'COUNT', ARGV[1])");
    PROVEN("redis.call('lmove', KEYS[1], KEYS[2], 'left', 'right')");
    PROVEN("redis.call('zunionstore', KEYS[1], 2, KEYS[2], KEYS[3], 'weights', unpack(ARGV))");
    PROVEN("redis.call('zunionstore', KEYS[1], #KEYS, unpack(KEYS))");
    PROVEN("redis.call('zinter', '1', KEYS[3], 'withscores')");
    PROVEN("redis.call('xread', 'count', 1, 'STREAMS', KEYS[1], KEYS[2], 0, ARGV[1])");
    PROVEN("redis.call('object', 'encoding', KEYS[1])");
    PROVEN("redis.call('xgroup', 'CREATE', KEYS[1], ARGV[1], '$')");
    PROVEN("redis.call('bitfield', KEYS[1], unpack(ARGV))");
    PROVEN("redis.call'ping' return redis.call('TIME')[1]");
    static const char *const unknown[] = {
        "'publish', KEYS[1], 'x'", // its messages' order, not its keys
        "'spublish', KEYS[1], 'x'",
        "'del', unpack(ARGV)",
        "'del', KEYS[1], ARGV[1]",
        "'del', KEYS[1], unpack(ARGV)",
        "'mset', KEYS[1], unpack(ARGV)",
        "'mset', KEYS[1], 1, 'x', 2",
        "'rename', KEYS[1], 'x'",
        "'rename', KEYS[1], unpack(ARGV)",
        "'rename', unpack(ARGV)",
        "unpack(ARGV)",
        "ARGV[1], KEYS[1]",
        "'ge' .. 't', KEYS[1]",
        "'g\\101t', KEYS[1]",
        "[[get]], KEYS[1]",
        "'nosuch', KEYS[1]",
        "",
        "{'get', KEYS[1]}",
        "'blpop', KEYS[1], KEYS[2], 0",
        "'lmpop', 2, KEYS[1], 'x', 'left'",
        "'zunionstore', KEYS[1], 2, KEYS[2], 'x'",
        "'zunionstore', KEYS[1], ARGV[1], KEYS[2], 'x'",
        "'zunionstore', KEYS[1], 2, KEYS[2], unpack(ARGV)",
        "'zunionstore', ARGV[1], 1, KEYS[1]",
        "'xread', 'count', ARGV[1], 'STREAMS', KEYS[1], 0",
        "'xread', 'streams', KEYS[1], 'x', 0, 0",
        "'xread', 'streams', KEYS[1], unpack(ARGV)",
        "'xread', 'streams', KEYS[1], KEYS[2], 0",
        "'object', ARGV[1], KEYS[1]",
        "'object', 'encoding', 'x'",
        "'sort', KEYS[1]",
        "'sort', KEYS[1], 'by', ARGV[1]",
        "'georadius', KEYS[1], 1, 2, 3, 'm', 'store', 'x'",
        "'migrate', '', 1, KEYS[1], 0, 1",
        "'keys', '*'",
        "'scan', 0",
        "'randomkey'",
        "'dbsize'",
        "'flushall'",
        "'flushdb'",
        "'swapdb', 0, 1",
        "'select', 1",
        "'eval', 'x', 1, KEYS[1]",
        "'info'",
        "'config', 'get', 'x'",
        "'debug', 'object', KEYS[1]",
        "'copy', KEYS[1], ARGV[1]",
    };
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        struct buf b = {0};
        buf_printf(&b, "return redis.call(%s)", unknown[i]);
        buf_append_char(&b, 0);
        UNPROVEN(b.ptr);
        buf_free(&b);
    }
}

Test(proof, text_is_read_as_Lua_reads_it)
{
    PROVEN("#!lua flags=no-writes\nreturn redis.call('get', KEYS[1])");
    PROVEN("-- redis.call('get', 'x')\nreturn 1");
    PROVEN("--[[ redis.call('get', 'x') \n]] return 1");
    PROVEN("--[==[ ]] redis.call('get', 'x') \n]=]]==] return 1");
    PROVEN("return \"redis.call('get', 'x')\", 'a\\'b', [[redis.call('get', 'x')]], 'a\\\nb'");
    PROVEN("return 0x10, 1e-5, .5, 3., ARGV and 1 or 1e+5 ^ -2 .. ''");
    UNPROVEN("--[[ ]] redis.call('get', 'x') --]]");
    UNPROVEN("--[ [ \nredis.call('get', 'x') --]]");
    UNPROVEN("--[=[ ]] \n]=] redis.call('get', 'x')");
    UNPROVEN("return '\\\\', redis.call('get', 'x') --'");
    UNPROVEN("return [[]], redis.call('get', 'x') --]]");
    UNPROVEN("return '\\\r\n', redis.call('get', 'x')");
    UNPROVEN("# lua\nreturn 1");
    UNPROVEN("return 1 end redis.call('get', 'x')");
    UNPROVEN("return 'a\nb'");
    UNPROVEN("return 'a");
    UNPROVEN("--[[ a");
    UNPROVEN("local \xc3\xa4 = 1");
    UNPROVEN("goto x ::x::");
    UNPROVEN("return 1 return 2");
    UNPROVEN("if 1 then");
    UNPROVEN("\x1bLua");
    UNPROVEN("return ~1");
}

Test(proof, a_NUL_proves_nothing)
{
    struct command_table *table = command_table_new(commands_all);
    cr_expect(proof_stays_on_keys(table, SLICE("return 1 -- ")));
    cr_expect_not(proof_stays_on_keys(table, SLICE("return 1 -- \0")));
    command_table_free(table);
}

static void check_repeated(const char *before, const char *part, const char *after, int count,
                           bool want)
{
    struct buf b = {0};
    buf_append_text(&b, before);
    for (int i = 0; i < count; i++) buf_append_text(&b, part);
    buf_append_text(&b, after);
    buf_append_char(&b, 0);
    struct command_table *table = command_table_new(commands_all);
    cr_expect_eq(proof_stays_on_keys(table, (struct slice){b.ptr, b.len - 1}), want, "%d x %s",
                 count, part);
    command_table_free(table);
    buf_free(&b);
}

Test(proof, what_is_too_big_or_too_deep_is_not_proven)
{
    check_repeated("return ", "(", "", 100000, false);
    check_repeated("return ", "-", "1", 100, true);
    check_repeated("return ", "- ", "1", 100, true);
    check_repeated("return ", "- ", "1", 100000, false);
    check_repeated("return ", "{", "", 100000, false);
    check_repeated("", "if 1 then ", "", 10000, false);
    check_repeated("return ", "1 .. ", "1", 100, true);
    check_repeated("return ", "1 .. ", "1", 10000, false);
    check_repeated("return ", "1 + ", "1", 10000, true);
    check_repeated("", "local a ", "", 200, true);
    check_repeated("", "local a ", "", 300, false);
    check_repeated("", "do local a end ", "", 1900, true);
    check_repeated("", "do local a end ", "", 2100, false);
    check_repeated("local a", ",a", "", 60, true);
    check_repeated("local a", ",a", "", 70, false);
    check_repeated("local a a", ",a", " = 1", 70, false);
    check_repeated("redis.call('del', KEYS[1]", ",KEYS[1]", ")", 200, true);
    check_repeated("redis.call('del', KEYS[1]", ",KEYS[1]", ")", 300, false);
    check_repeated("return 1", ",1", "", 900, true);
    check_repeated("return 1", ",1", "", 1100, false);
    check_repeated("", "          ", "", 20000, true);
    check_repeated("", "          ", "", 30000, false);
}

// Of the kind that programs send.
Test(proof, scripts_that_programs_send)
{
    PROVEN("if redis.call(\"get\", KEYS[1]) == ARGV[1] then\n"
           "    return redis.call(\"del\", KEYS[1])\nend\nreturn 0"); // a lock's release
    PROVEN("local held = 0\nfor _, key in ipairs(KEYS) do\n"
           "  if redis.call('get', key) == ARGV[1] then\n"
           "    redis.call('pexpire', key, ARGV[2])\n    held = held + 1\n  end\nend\nreturn held");
    PROVEN("for i, key in ipairs(KEYS) do if redis.call('exists', key) == 1 then return 0 end end\n"
           "for i, key in ipairs(KEYS) do redis.call('set', key, ARGV[1], 'PX', ARGV[2]) end\n"
           "return #KEYS"); // locks of several resources
    PROVEN("local owner = redis.call('get', KEYS[1])\nif not owner or owner ~= ARGV[1] then "
           "return 0 end\nlocal left = redis.call('pttl', KEYS[1])\nif left < 0 then left = 0 end\n"
           "redis.call('pexpire', KEYS[1], left + ARGV[2])\nreturn 1"); // a lock's extension
    PROVEN("redis.call('set', KEYS[1], 0, 'EX', ARGV[2], 'NX')\n"
           "local used = redis.call('incrby', KEYS[1], ARGV[1])\n"
           "local ttl = redis.call('pttl', KEYS[1])\n"
           "if ttl == -1 then redis.call('expire', KEYS[1], ARGV[2]) end\n"
           "return {used, ttl}"); // a rate limiter
    PROVEN("local key, now = KEYS[1], ARGV[1]\n"
           "local jobs = redis.call('zrange', key, '-inf', now, 'byscore', 'limit', 0, 1)\n"
           "if jobs[1] then\n  redis.call('zrem', key, jobs[1])\n  return jobs[1]\nend");
    PROVEN("local queue, seen, id = KEYS[1], KEYS[2], ARGV[1]\n"
           "if redis.call('sadd', seen, id) == 0 then return 0 end\n"
           "redis.call('hset', KEYS[3], 'data', ARGV[2], unpack(cjson.decode(ARGV[3])))\n"
           "redis.call('rpush', queue, id)\nreturn 1"); // a job that is queued once
    UNPROVEN("local keys = redis.call('sunion', unpack(KEYS))\n"
             "for i = 1, #keys, 1000 do redis.call('unlink', unpack(keys, i, i + 999)) end\n"
             "redis.call('del', unpack(KEYS))"); // a cache's invalidation
    UNPROVEN("for i = 1, #ARGV, 2 do\n"
             "  local back = redis.call('zpopmin', ARGV[i + 1], 1000)\nend"); // no keys declared
    UNPROVEN("local rcall = redis.call\nlocal job = ARGV[1] .. ARGV[2]\n"
             "rcall('hset', job, 'x', 1)\nrcall('lpush', KEYS[1], ARGV[2])");
    PROVEN("local rcall = redis.call\n"
           "local function isPaused(meta) return rcall('hexists', meta, 'paused') == 1 end\n"
           "local function push(target, marker, id)\n  rcall('lpush', target, id)\n"
           "  rcall('zadd', marker, 0, '0')\nend\n"
           "local target = KEYS[1]\nif isPaused(KEYS[3]) then target = KEYS[2] end\n"
           "push(target, KEYS[4], ARGV[1])\nreturn rcall('xadd', KEYS[5], '*', 'event', 'added')");
}
