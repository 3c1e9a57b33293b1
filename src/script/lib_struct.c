// SPDX-License-Identifier: BSD-3-Clause
//
// lib_struct: struct.pack(format, ...), struct.unpack(format, data [, position]) and
// struct.size(format), as scripts for Redis know them. A format is a row of options:
//
//   <  >       from here on little, big endian         !n    alignment up to n (a power of two; 8)
//   b B h H    integers of 1 and 2 bytes; small        i I   of n bytes (4), at most 32
//   l L T      letters are signed, T is a size_t       x     a byte of padding
//   f d        float, double                           s     text and a NUL
//   cn         n bytes of text (1); c0: all of it when packing; when unpacking as many as the value
//              before says, which is then no result
//   a blank    nothing
//
// A value of n bytes is preceded by zero bytes until its position fits, up to the alignment, which
// is 1 at first. (For sizes that are no power of two that position is peculiar; others rely on it.)
//
// Format and data come from a script, so that every number in them may be absurd: sizes are bounded
// when they are read, the data's end is checked by subtraction, and numbers out of an integer's
// range are converted by hand to what an x86-64 would make of them.
#include "script/lib_struct.h"

#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"

#define INTEGER_MAX_BYTES 32
#define ALIGN_DEFAULT     8

static const char zeros[INTEGER_MAX_BYTES];

struct format {
    lua_State *lua;
    const char *at; // ends with a NUL
    bool is_big;
    size_t align;
};

static struct format format_of(lua_State *lua)
{
    bool is_big = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
    return (struct format){lua, luaL_checkstring(lua, 1), is_big, 1};
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int read_number(struct format *f, int fallback)
{
    int n = 0;
    if (!is_digit(*f->at)) return fallback;
    for (; is_digit(*f->at); f->at++) {
        int digit = *f->at - '0';
        if (n > (INT_MAX - digit) / 10) luaL_error(f->lua, "integral size overflow");
        n = n * 10 + digit;
    }
    return n;
}

// Bytes of a value; 0 if only the value says. Takes the number behind the option.
static size_t read_size(struct format *f, char option)
{
    int n;
    switch (option) {
    case 'b':
    case 'B':
    case 'x': return 1;
    case 'h':
    case 'H': return sizeof(short);
    case 'l':
    case 'L': return sizeof(long);
    case 'T': return sizeof(size_t);
    case 'f': return sizeof(float);
    case 'd': return sizeof(double);
    case 'c': return (size_t)read_number(f, 1);
    case 'i':
    case 'I':
        n = read_number(f, sizeof(int));
        if (n > INTEGER_MAX_BYTES)
            luaL_error(f->lua, "integral size %d is larger than limit of %d", n, INTEGER_MAX_BYTES);
        return (size_t)n;
    default: return 0;
    }
}

// Bytes to leave out at this position before a value of that size.
static size_t padding(const struct format *f, char option, size_t size, size_t position)
{
    if (size == 0 || option == 'c') return 0;
    if (size > f->align) size = f->align;
    return (size - (position & (size - 1))) & (size - 1);
}

static void apply_control(struct format *f, char option)
{
    int n;
    switch (option) {
    case ' ': break;
    case '<':
    case '>': f->is_big = option == '>'; break;
    case '!':
        n = read_number(f, ALIGN_DEFAULT);
        if (n == 0 || (n & (n - 1))) luaL_error(f->lua, "alignment %d is not a power of 2", n);
        f->align = (size_t)n;
        break;
    default:
        luaL_argerror(f->lua, 1, lua_pushfstring(f->lua, "invalid format option '%c'", option));
    }
}

// --- integers ------------------------------------------------------------------------------------

// Truncates; what fits in neither integer is what the processor makes of it, 2^64 and more are 0.
static uint64_t to_u64(double n)
{
    const double limit = 9223372036854775808.0; // 2^63
    if (isnan(n) || n < -limit) return (uint64_t)1 << 63;
    if (n < limit) return (uint64_t)(int64_t)n;
    return n < 2 * limit ? (uint64_t)n : 0;
}

static void write_integer(char *to, uint64_t n, size_t size, bool is_big)
{
    for (size_t i = 0; i < size; i++, n >>= 8) to[is_big ? size - 1 - i : i] = (char)(n & 0xff);
}

static double read_integer(const char *from, size_t size, bool is_big, bool is_signed)
{
    uint64_t n = 0;
    for (size_t i = 0; i < size; i++) n = n << 8 | (unsigned char)from[is_big ? i : size - 1 - i];
    if (!is_signed) return (double)n;
    // Extends the sign. Of more than 8 bytes only the low 8 count, and where their sign is thought
    // to be is odd; but it is what others read.
    uint64_t sign = UINT64_MAX << ((size * 8 - 1) & 63);
    if (n & sign) n |= sign;
    return (double)(int64_t)n;
}

// Between native bytes and the format's.
static void order_bytes(const struct format *f, char *bytes, size_t size)
{
    if (f->is_big == (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)) return;
    for (size_t i = 0; i < size / 2; i++) {
        char c = bytes[i];
        bytes[i] = bytes[size - 1 - i];
        bytes[size - 1 - i] = c;
    }
}

// --- pack ----------------------------------------------------------------------------------------

static size_t pack_text(lua_State *lua, luaL_Buffer *out, int argument, char option, size_t size)
{
    size_t len;
    const char *text = luaL_checklstring(lua, argument, &len);
    if (size == 0) size = len;
    // Scripts have always been told the argument behind the one that is wrong.
    luaL_argcheck(lua, len >= size, argument + 1, "string too short");
    luaL_addlstring(out, text, size);
    if (option == 'c') return size;
    luaL_addchar(out, '\0');
    return size + 1;
}

static void pack_number(const struct format *f, luaL_Buffer *out, int argument, char option,
                        size_t size)
{
    char bytes[INTEGER_MAX_BYTES];
    double n = luaL_checknumber(f->lua, argument);
    float narrow = (float)n;
    if (option == 'd' || option == 'f') {
        memcpy(bytes, option == 'd' ? (void *)&n : (void *)&narrow, size);
        order_bytes(f, bytes, size);
    } else {
        write_integer(bytes, to_u64(n), size, f->is_big);
    }
    luaL_addlstring(out, bytes, size);
}

static int struct_pack(lua_State *lua)
{
    struct format f = format_of(lua);
    luaL_Buffer out;
    size_t total = 0;
    int argument = 2;
    lua_pushnil(lua); // an argument that is missing, rather than what the buffer keeps there
    luaL_buffinit(lua, &out);
    while (*f.at) {
        char option = *f.at++;
        size_t size = read_size(&f, option), pad = padding(&f, option, size, total);
        luaL_addlstring(&out, zeros, pad);
        total += pad;
        if (option == 'x') {
            luaL_addchar(&out, '\0');
        } else if (option == 's' || option == 'c') {
            size = pack_text(lua, &out, argument++, option, size);
        } else if (strchr("bBhHlLTiIfd", option)) {
            pack_number(&f, &out, argument++, option, size);
        } else {
            apply_control(&f, option);
        }
        total += size;
    }
    luaL_pushresult(&out);
    return 1;
}

// --- unpack --------------------------------------------------------------------------------------

struct data {
    const char *bytes;
    size_t len, position; // the position may lie anywhere
    int results;
};

static void check_room(lua_State *lua, const struct data *d, size_t size)
{
    luaL_argcheck(lua, size <= d->len && d->position <= d->len - size, 2, "data string too short");
}

// Takes the last result, a number of bytes.
static size_t take_size(lua_State *lua, struct data *d)
{
    if (d->results == 0 || !lua_isnumber(lua, -1))
        luaL_error(lua, "format 'c0' needs a previous size");
    size_t size = (size_t)to_u64(lua_tonumber(lua, -1));
    lua_pop(lua, 1);
    d->results--;
    check_room(lua, d, size);
    return size;
}

// Pushes the text; returns the bytes that it takes.
static size_t unpack_text(lua_State *lua, struct data *d, char option, size_t size)
{
    const char *text;
    if (option == 'c') {
        if (size == 0) size = take_size(lua, d);
        text = d->bytes + d->position;
        lua_pushlstring(lua, text, size);
        return size;
    }
    text = d->bytes + d->position;
    const char *end = memchr(text, 0, d->len - d->position);
    if (!end) luaL_error(lua, "unfinished string in data");
    lua_pushlstring(lua, text, (size_t)(end - text));
    return (size_t)(end - text) + 1;
}

static double unpack_number(const struct format *f, const char *from, char option, size_t size)
{
    char bytes[sizeof(double)];
    float narrow;
    double n;
    if (option != 'd' && option != 'f')
        return read_integer(from, size, f->is_big, option >= 'a' && option <= 'z');
    memcpy(bytes, from, size);
    order_bytes(f, bytes, size);
    memcpy(option == 'd' ? (void *)&n : (void *)&narrow, bytes, size);
    return option == 'd' ? n : (double)narrow;
}

static int struct_unpack(lua_State *lua)
{
    struct format f = format_of(lua);
    struct data d = {0};
    d.bytes = luaL_checklstring(lua, 2, &d.len);
    d.position = (size_t)luaL_optinteger(lua, 3, 1);
    luaL_argcheck(lua, d.position > 0, 3, "offset must be 1 or greater");
    d.position--;
    lua_settop(lua, 2);
    while (*f.at) {
        char option = *f.at++;
        size_t size = read_size(&f, option);
        d.position += padding(&f, option, size, d.position);
        check_room(lua, &d, size);
        luaL_checkstack(lua, 2, "too many results");
        if (option == 's' || option == 'c') {
            size = unpack_text(lua, &d, option, size);
            d.results++;
        } else if (strchr("bBhHlLTiIfd", option)) {
            lua_pushnumber(lua, unpack_number(&f, d.bytes + d.position, option, size));
            d.results++;
        } else if (option != 'x') {
            apply_control(&f, option);
        }
        d.position += size;
    }
    lua_pushinteger(lua, (lua_Integer)(d.position + 1));
    return d.results + 1;
}

// --- size ----------------------------------------------------------------------------------------

static int struct_size(lua_State *lua)
{
    struct format f = format_of(lua);
    size_t total = 0;
    while (*f.at) {
        char option = *f.at++;
        size_t size = read_size(&f, option);
        total += padding(&f, option, size, total);
        if (option == 's') luaL_argerror(lua, 1, "option 's' has no fixed size");
        if (option == 'c' && size == 0) luaL_argerror(lua, 1, "option 'c0' has no fixed size");
        // A letter that is no option is not noticed here.
        if (!is_letter(option) && !is_digit(option)) apply_control(&f, option);
        total += size;
    }
    lua_pushinteger(lua, (lua_Integer)total);
    return 1;
}

int lua_open_struct(lua_State *lua)
{
    static const struct {
        const char *name;
        lua_CFunction function;
    } functions[] = {{"pack", struct_pack}, {"unpack", struct_unpack}, {"size", struct_size}};
    lua_createtable(lua, 0, ARRAY_LEN(functions));
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        lua_pushcfunction(lua, functions[i].function);
        lua_setfield(lua, -2, functions[i].name);
    }
    return 1;
}
