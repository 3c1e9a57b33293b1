// SPDX-License-Identifier: BSD-3-Clause
#include "script/lib_struct.h"

#include <criterion/criterion.h>
#include <lauxlib.h>
#include <lualib.h>

// Runs the source, which returns true.
static void check(const char *file, int line, const char *source)
{
    lua_State *lua = luaL_newstate();
    luaL_openlibs(lua);
    cr_assert_eq(lua_open_struct(lua), 1);
    cr_assert_eq(lua_gettop(lua), 1);
    lua_setglobal(lua, "struct");
    cr_assert_eq(luaL_loadstring(lua, source), 0, "%s:%d: %s", file, line, lua_tostring(lua, -1));
    int status = lua_pcall(lua, 0, 1, 0);
    cr_expect(status == 0 && lua_toboolean(lua, -1), "%s:%d: %s: %s", file, line, source,
              status ? lua_tostring(lua, -1) : "not true");
    lua_close(lua);
}

#define CHECK(source) check(__FILE__, __LINE__, source)
// The call raises an error that ends like that.
#define ERROR(call, text)                                                                          \
    CHECK("local f = function() local r = " call " end local ok, e = pcall(f) "                    \
          "return not ok and string.sub(e, -#'" text "') == '" text "'")

Test(lib_struct, integers_have_a_size_and_an_order)
{
    CHECK("return struct.pack('>bhil', 1, 2, 3, 4) == "
          "'\\1\\0\\2\\0\\0\\0\\3\\0\\0\\0\\0\\0\\0\\0\\4'");
    CHECK("return struct.pack('<BHI3<T', -1, 65537, 2^17, 1) == "
          "'\\255\\1\\0\\0\\0\\2\\1\\0\\0\\0\\0\\0\\0\\0'");
    CHECK("return struct.pack('> i2 < i2', 1, 1) == '\\0\\1\\1\\0'");
    CHECK("return struct.pack('<i16', -2) == '\\254' .. string.rep('\\255', 7) .. "
          "string.rep('\\0', 8)");
    CHECK("local a, b, c = struct.unpack('<bB', '\\255\\255') return a == -1 and b == 255 and c == "
          "3");
    CHECK("return struct.unpack('>i5', '\\255\\255\\255\\255\\254') == -2");
    CHECK("return struct.unpack('<I5', '\\1\\0\\0\\0\\1') == 2^32 + 1");
    CHECK("return struct.unpack('<I8', string.rep('\\255', 8)) == 2^64");
    CHECK("return struct.unpack('<i16', '\\255\\255\\255\\255\\255\\255\\255\\255abcdefgh') == -1");
    CHECK("local n, at = struct.unpack('i0', '') return n == 0 and at == 1");
    for (int bytes = 1; bytes <= 6; bytes++) {
        char source[256];
        snprintf(source, sizeof source,
                 "for _, o in ipairs({'<', '>'}) do for _, n in ipairs({0, 1, -1, 2^%d-1, -2^%d}) "
                 "do local f = o .. 'i%d' if struct.unpack(f, struct.pack(f, n)) ~= n then return "
                 "end end end return true",
                 bytes * 8 - 1, bytes * 8 - 1, bytes);
        CHECK(source);
    }
}

Test(lib_struct, numbers_out_of_range_become_something_definite)
{
    CHECK("return struct.pack('<i8', 0/0) == '\\0\\0\\0\\0\\0\\0\\0\\128'");
    CHECK("return struct.pack('<i8', -1e300) == '\\0\\0\\0\\0\\0\\0\\0\\128'");
    CHECK("return struct.pack('<i8', 1e300) == '\\0\\0\\0\\0\\0\\0\\0\\0'");
    CHECK("return struct.pack('<I8', 2^63) == '\\0\\0\\0\\0\\0\\0\\0\\128'");
    CHECK("return struct.pack('<I8', 2^63 + 2^62) == '\\0\\0\\0\\0\\0\\0\\0\\192'");
    CHECK("return struct.pack('<i4', -1.9) == '\\255\\255\\255\\255'");
    CHECK("return struct.pack('<f', 1e300) == '\\0\\0\\128\\127'");
}

Test(lib_struct, floats_keep_their_bits)
{
    CHECK("return struct.pack('>d', 1.5) == '\\63\\248\\0\\0\\0\\0\\0\\0'");
    CHECK("return struct.pack('<f', 1.5) == '\\0\\0\\192\\63'");
    CHECK("return struct.unpack('>f', '\\63\\192\\0\\0') == 1.5");
    CHECK("return struct.unpack('>d', struct.pack('>d', 0.1)) == 0.1");
}

Test(lib_struct, text_has_a_length_or_an_end)
{
    CHECK("return struct.pack('s', 'a\\0b') == 'a\\0b\\0'");
    CHECK("return struct.pack('c2c0c', 'abc', 'def', 'gh') == 'abdefg'");
    CHECK("local a, b, at = struct.unpack('ss', 'ab\\0\\0') "
          "return a == 'ab' and b == '' and at == 5");
    CHECK("local a, at = struct.unpack('c2', 'abc') return a == 'ab' and at == 3");
    CHECK("local n, a, at = struct.unpack('bbc0', '\\7\\2abc') "
          "return n == 7 and a == 'ab' and at == 5");
    ERROR("struct.unpack('s', 'abc')", "unfinished string in data");
    ERROR("struct.unpack('c0', 'abc')", "format \\'c0\\' needs a previous size");
    ERROR("struct.unpack('bc0', '\\4abc')", "(data string too short)");
    ERROR("struct.unpack('bc0', '\\255abc')", "(data string too short)");
    ERROR("struct.unpack('dc0', '\\0\\0\\0\\0\\0\\0\\248\\127abc')", "(data string too short)");
}

Test(lib_struct, alignment_pads_with_zeros)
{
    CHECK("return struct.pack('<!bi', 1, 2) == '\\1\\0\\0\\0\\2\\0\\0\\0'");
    CHECK("return struct.pack('<!2bi', 1, 2) == '\\1\\0\\2\\0\\0\\0'");
    CHECK("return struct.pack('<bi!4bi', 1, 2, 3, 4) == '\\1\\2\\0\\0\\0\\3\\0\\0\\4\\0\\0\\0'");
    CHECK("return struct.pack('xx') == '\\0\\0' and struct.pack('') == ''");
    CHECK("local a, b, at = struct.unpack('<!4bi', '\\1zzz\\2\\0\\0\\0') "
          "return a == 1 and b == 2 and at == 9");
    CHECK("return struct.size('!bdh') == 18 and struct.size('bdh') == 11");
    CHECK("return struct.size('!64i32b') == 33 and struct.pack('!64bi32', 1, 2):len() == 64");
}

Test(lib_struct, size_adds_up)
{
    CHECK("return struct.size('bhilTfdxc5 i7') == 1 + 2 + 4 + 8 + 8 + 4 + 8 + 1 + 5 + 7");
    CHECK("return struct.size('c2147483647c2147483647') == 2 * 2147483647");
    ERROR("struct.size('s')", "(option \\'s\\' has no fixed size)");
    ERROR("struct.size('c0')", "(option \\'c0\\' has no fixed size)");
    ERROR("struct.size('=')", "(invalid format option \\'=\\')");
}

Test(lib_struct, positions_lie_within_the_data)
{
    CHECK("local n, at = struct.unpack('>h', 'zz\\1\\2', 3) return n == 258 and at == 5");
    CHECK("return struct.unpack('', 'abc', 100) == 100");
    ERROR("struct.unpack('i', 'abcdef', 0)", "(offset must be 1 or greater)");
    ERROR("struct.unpack('i', 'abcdef', 4)", "(data string too short)");
    ERROR("struct.unpack('i', 'abcdef', -1)", "(data string too short)");
    ERROR("struct.unpack('i', 'abcdef', 2^62)", "(data string too short)");
    ERROR("struct.unpack('!8i', 'abcdef', -1)", "(data string too short)");
    ERROR("struct.unpack('c2147483647', 'abc')", "(data string too short)");
    ERROR("struct.unpack('c2147483647', 'abc', 2^53)", "(data string too short)");
    ERROR("struct.unpack(string.rep('b', 8000), string.rep('b', 8000))",
          "stack overflow (too many results)");
}

Test(lib_struct, formats_are_checked)
{
    ERROR("struct.pack('z', 1)", "(invalid format option \\'z\\')");
    ERROR("struct.pack('b4', 1)", "(invalid format option \\'4\\')");
    ERROR("struct.pack('i33', 1)", "integral size 33 is larger than limit of 32");
    ERROR("struct.pack('i99999999999', 1)", "integral size overflow");
    ERROR("struct.pack('c2147483648', 1)", "integral size overflow");
    ERROR("struct.pack('!3i', 1)", "alignment 3 is not a power of 2");
    ERROR("struct.pack('!0i', 1)", "alignment 0 is not a power of 2");
    ERROR("struct.pack('ib', 1)", "bad argument #3 to \\'pack\\' (number expected, got nil)");
    ERROR("struct.pack('s')", "bad argument #2 to \\'pack\\' (string expected, got nil)");
    ERROR("struct.pack('c5', 'abc')", "bad argument #3 to \\'pack\\' (string too short)");
    ERROR("struct.pack()", "bad argument #1 to \\'pack\\' (string expected, got no value)");
}
