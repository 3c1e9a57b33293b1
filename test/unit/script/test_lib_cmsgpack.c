// SPDX-License-Identifier: BSD-3-Clause
#include "script/lib_cmsgpack.h"

#include <criterion/criterion.h>
#include <lauxlib.h>
#include <lualib.h>

// Runs the source, which returns true.
static void check(const char *file, int line, const char *source)
{
    lua_State *lua = luaL_newstate();
    luaL_openlibs(lua);
    cr_assert_eq(lua_open_cmsgpack(lua), 1);
    cr_assert_eq(lua_gettop(lua), 1);
    lua_setglobal(lua, "cmsgpack");
    int status =
        luaL_dostring(lua, "function same(a, b) if type(a) ~= 'table' then return a == b end "
                           "for k, v in pairs(a) do if not same(v, b[k]) then return end end "
                           "for k in pairs(b) do if a[k] == nil then return end end "
                           "return true end "
                           "function packs(hex, ...) return cmsgpack.pack(...) == "
                           "(hex:gsub('%x%x', function(h) return string.char(tonumber(h, 16)) "
                           "end)) end "
                           "function returns(v) return same(cmsgpack.unpack(cmsgpack.pack(v)), "
                           "v) end");
    cr_assert_eq(status, 0);
    cr_assert_eq(luaL_loadstring(lua, source), 0, "%s:%d: %s", file, line, lua_tostring(lua, -1));
    status = lua_pcall(lua, 0, 1, 0);
    cr_expect(status == 0 && lua_toboolean(lua, -1), "%s:%d: %s: %s", file, line, source,
              status ? lua_tostring(lua, -1) : "not true");
    lua_close(lua);
}

#define CHECK(source) check(__FILE__, __LINE__, source)
// The call raises an error that ends like that.
#define ERROR(call, text)                                                                          \
    CHECK("local f = function() return " call " end local ok, e = pcall(f) "                       \
          "return not ok and string.sub(e, -#'" text "') == '" text "'")

Test(lib_cmsgpack, integers_take_the_fewest_bytes)
{
    CHECK("return packs('007fcc80ccffcd0100cdffff', 0, 127, 128, 255, 256, 65535)");
    CHECK("return packs('ce00010000ceffffffffcf0000000100000000', 65536, 2^32 - 1, 2^32)");
    CHECK("return packs('ffe0d0dfd080d1ff7fd18000', -1, -32, -33, -128, -129, -32768)");
    CHECK("return packs('d2ffff7fffd280000000', -32769, -2^31)");
    CHECK("return packs('d3ffffffff7fffffff', -2^31 - 1)");
    CHECK("return packs('d38000000000000000', -2^63)");
    CHECK("for i = 0, 53 do for d = -1, 1 do if not returns(2^i + d) or not returns(-2^i + d) then "
          "return end end end return true");
}

Test(lib_cmsgpack, other_numbers_are_floats_if_that_loses_nothing)
{
    CHECK("return packs('ca3fc00000', 1.5) and packs('cb3ff199999999999a', 1.1)");
    CHECK("return packs('ca7f800000', 1/0) and packs('caff800000', -1/0)");
    CHECK("return packs('ca5f000000', 2^63) and packs('cb7e37e43c8800759c', 1e300)");
    CHECK("return packs('00', -0.0)");
    CHECK("return returns(0.1) and returns(-1.5) and returns(1/0)");
    CHECK("local n = cmsgpack.unpack(cmsgpack.pack(0/0)) return n ~= n");
    CHECK("return cmsgpack.unpack('\\207' .. string.rep('\\255', 8)) == -1");
}

Test(lib_cmsgpack, text_has_four_kinds_of_header)
{
    CHECK("return packs('a0a2410a', '', 'A\\n')");
    CHECK("for _, n in ipairs({0, 1, 31, 32, 255, 256, 65535, 65536}) do "
          "if not returns(string.rep('\\0x', n / 2)) then return end end return true");
    CHECK("local function h(n) return cmsgpack.pack(string.rep('a', n)):sub(1, 5) end "
          "return h(31) == '\\191aaaa' and h(32) == '\\217 aaa' and h(256) == '\\218\\1\\0aa' and "
          "h(65536) == '\\219\\0\\1\\0\\0'");
}

Test(lib_cmsgpack, tables_are_arrays_if_their_keys_are_1_to_n)
{
    CHECK("return packs('909301020381a161c3', {}, {1, 2, 3}, {a = true})");
    CHECK("return packs('9203c2', {3, false}) and packs('92019102', {1, {2}})");
    CHECK("local t = {1, 2} t.x = 3 local p = cmsgpack.pack(t) return p:byte() == 0x83");
    CHECK("return packs('810001', {[0] = 1}) and packs('810201', {[2] = 1}) and "
          "packs('81ca3fc0000001', {[1.5] = 1}) and packs('81a13101', {['1'] = 1}) and "
          "packs('81c301', {[true] = 1}) and packs('81cf000000010000000101', {[2^32 + 1] = 1})");
    CHECK("local t = {} for i = 1, 70000 do t[i] = i % 5 end local p = cmsgpack.pack(t) "
          "return p:sub(1, 6) == '\\221\\0\\1\\17\\112\\1' and returns(t)");
    CHECK("local t = {} for i = 1, 70000 do t['k' .. i] = i end local p = cmsgpack.pack(t) "
          "return p:sub(1, 5) == '\\223\\0\\1\\17\\112' and returns(t)");
    CHECK("return returns({a = {b = {1, 2, {c = 'd'}}, [7] = false}, 'x', [-1] = 2.5})");
    CHECK("return cmsgpack.pack(setmetatable({}, {__index = function() return 1 end})) == '\\144'");
}

Test(lib_cmsgpack, nil_stands_for_what_cannot_be_packed)
{
    CHECK("return packs('c0c0c2c3c0', nil, print, false, true, coroutine.create(function() end))");
    CHECK("local t = {} for i = 1, 15 do t = {t} end "
          "return cmsgpack.pack(t) == string.rep('\\145', 15) .. '\\144'");
    CHECK("local t = {} for i = 1, 16 do t = {t} end "
          "return cmsgpack.pack(t) == string.rep('\\145', 16) .. '\\192'");
    CHECK("local t = {} t[1] = t return cmsgpack.pack(t) == string.rep('\\145', 16) .. '\\192'");
    ERROR("cmsgpack.pack()", "MessagePack pack needs input.)");
    ERROR("cmsgpack.pack(unpack({}, 1, 4500))", "Too many arguments for MessagePack pack.)");
}

Test(lib_cmsgpack, unpack_returns_every_value)
{
    CHECK("return select('#', cmsgpack.unpack('')) == 0");
    CHECK("local a, b, c = cmsgpack.unpack('\\1\\161a\\192') "
          "return a == 1 and b == 'a' and c == nil");
    CHECK("return select('#', cmsgpack.unpack(string.rep('\\192', 7000))) == 7000");
    CHECK("return same(cmsgpack.unpack('\\131\\1\\2\\1\\3\\2\\192'), {3})");
}

Test(lib_cmsgpack, unpack_one_and_limit_say_where_to_go_on)
{
    CHECK("return same({cmsgpack.unpack_one('\\7\\8\\9')}, {1, 7})");
    CHECK("return same({cmsgpack.unpack_one('\\7\\8\\9', 2)}, {-1, 9})");
    CHECK("return same({cmsgpack.unpack_one('\\7\\8\\9', 3)}, {-1})");
    CHECK("return same({cmsgpack.unpack_limit('\\7\\8\\9', 2)}, {2, 7, 8})");
    CHECK("return same({cmsgpack.unpack_limit('\\7\\8\\9', 5, 1)}, {-1, 8, 9})");
    CHECK("return same({cmsgpack.unpack_limit('\\7\\8\\9', 0, 2)}, {2})");
    CHECK("return same({cmsgpack.unpack_limit('\\7\\8\\9', 0, 0)}, {7, 8, 9})");
    ERROR("cmsgpack.unpack_one('\\7', -1)",
          "Invalid request to unpack with offset of -1 and limit of 1.");
    ERROR("cmsgpack.unpack_limit('\\7', -1)",
          "Invalid request to unpack with offset of 0 and limit of 1.");
    ERROR("cmsgpack.unpack_one('\\7', 2)", "Start offset 2 greater than input length 1.");
}

Test(lib_cmsgpack, damaged_bytes_are_refused)
{
    CHECK(
        "local p = cmsgpack.pack({a = {1, 300, 'x', 1.5, 0.1, 70000, -2^40}}, string.rep('y', 300))"
        " for i = 1, #p - 1 do local ok, e = pcall(cmsgpack.unpack_limit, p:sub(1, i), 2) "
        "if not ok and not e:find('Missing bytes in input.', 1, true) then return end "
        "if ok and #p - i ~= 303 then return end end return true");
    ERROR("cmsgpack.unpack('\\219\\255\\255\\255\\255abc')", "Missing bytes in input.");
    ERROR("cmsgpack.unpack('\\221\\255\\255\\255\\255abc')", "Missing bytes in input.");
    ERROR("cmsgpack.unpack('\\223\\255\\255\\255\\255abc')", "Missing bytes in input.");
    static const int refused[] = {0xc1, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xd4, 0xd8};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char source[128];
        snprintf(source, sizeof source,
                 "return not pcall(cmsgpack.unpack, '\\%d\\0\\0\\0\\0\\0\\0')", refused[i]);
        CHECK(source);
    }
    ERROR("cmsgpack.unpack('\\193')", "Bad data format in input.");
    ERROR("cmsgpack.unpack('\\129\\192\\1')", "table index is nil");
    ERROR("cmsgpack.unpack('\\129\\202\\127\\192\\0\\0\\1')", "table index is NaN");
}

Test(lib_cmsgpack, nesting_is_bounded_by_the_stack_of_Lua)
{
    CHECK("return type(cmsgpack.unpack(string.rep('\\145', 3000) .. '\\1')) == 'table'");
    ERROR("cmsgpack.unpack(string.rep('\\145', 1000000))",
          "stack overflow (in function mp_decode_to_lua_array)");
    ERROR(
        "cmsgpack.unpack(string.rep('\\129\\1', 1000000))",
        "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)");
}
