// SPDX-License-Identifier: BSD-3-Clause
#include "script/convert.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

// --- replies to Lua ------------------------------------------------------------------------------

void convert_push_error(lua_State *L, const char *text, size_t len)
{
    lua_createtable(L, 0, 2);
    lua_pushlstring(L, text, len);
    lua_setfield(L, -2, "err");
}

static const char *push_value(lua_State *L, const char *p, const char *end);

// The number in a header, and where the next line begins.
static int64_t read_header(const char *p, const char *end, const char **next)
{
    bool is_negative = *++p == '-';
    int64_t n = 0;
    for (p += is_negative; p < end && *p != '\r'; p++) n = n * 10 + (*p - '0');
    *next = p + 2;
    return is_negative ? -n : n;
}

static const char *line_end(const char *p, const char *end)
{
    const char *cr = memchr(p, '\r', (size_t)(end - p));
    ASSERT(cr);
    return cr;
}

// A table of one field that holds the rest of the line.
static const char *push_line(lua_State *L, const char *field, const char *p, const char *end)
{
    const char *cr = line_end(p, end);
    lua_createtable(L, 0, 1);
    lua_pushlstring(L, p + 1, (size_t)(cr - p - 1));
    lua_setfield(L, -2, field);
    return cr + 2;
}

static const char *push_bulk(lua_State *L, const char *p, const char *end)
{
    int64_t len = read_header(p, end, &p);
    if (len < 0) {
        lua_pushboolean(L, 0);
        return p;
    }
    lua_pushlstring(L, p, (size_t)len);
    return p + len + 2;
}

static const char *push_array(lua_State *L, const char *p, const char *end)
{
    int64_t n = read_header(p, end, &p);
    if (n < 0) {
        lua_pushboolean(L, 0);
        return p;
    }
    lua_createtable(L, (int)n, 0);
    for (int i = 1; i <= n; i++) {
        p = push_value(L, p, end);
        lua_rawseti(L, -2, i);
    }
    return p;
}

// {field = {key = value ...}}; a set's values are all true.
static const char *push_map(lua_State *L, bool is_set, const char *p, const char *end)
{
    int64_t n = read_header(p, end, &p);
    lua_createtable(L, 0, 1);
    lua_createtable(L, 0, (int)n);
    for (int i = 0; i < n; i++) {
        p = push_value(L, p, end);
        if (is_set)
            lua_pushboolean(L, 1);
        else
            p = push_value(L, p, end);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, is_set ? "set" : "map");
    return p;
}

static const char *push_double(lua_State *L, const char *p, const char *end)
{
    const char *cr = line_end(p, end);
    lua_createtable(L, 0, 1);
    lua_pushnumber(L, strtod(p + 1, NULL));
    lua_setfield(L, -2, "double");
    return cr + 2;
}

static const char *push_verbatim(lua_State *L, const char *p, const char *end)
{
    int64_t len = read_header(p, end, &p);
    lua_createtable(L, 0, 1);
    lua_createtable(L, 0, 2);
    lua_pushlstring(L, p + 4, (size_t)len - 4);
    lua_setfield(L, -2, "string");
    lua_pushlstring(L, p, 3);
    lua_setfield(L, -2, "format");
    lua_setfield(L, -2, "verbatim_string");
    return p + len + 2;
}

static const char *push_value(lua_State *L, const char *p, const char *end)
{
    luaL_checkstack(L, 6, "reply nested too deeply");
    switch (*p) {
    case '$': return push_bulk(L, p, end);
    case ':': lua_pushnumber(L, (lua_Number)read_header(p, end, &p)); return p;
    case '*':
    case '>': return push_array(L, p, end);
    case '+': return push_line(L, "ok", p, end);
    case '-': return push_line(L, "err", p, end);
    case '(': return push_line(L, "big_number", p, end);
    case '%': return push_map(L, false, p, end);
    case '~': return push_map(L, true, p, end);
    case ',': return push_double(L, p, end);
    case '=': return push_verbatim(L, p, end);
    case '#': lua_pushboolean(L, p[1] == 't'); return p + 4;
    default:
        ASSERT(*p == '_');
        lua_pushnil(L);
        return p + 3;
    }
}

void convert_push_reply(lua_State *L, const char *p, const char *end)
{
    push_value(L, p, end);
}

// --- Lua to replies ------------------------------------------------------------------------------

struct writer {
    lua_State *L;
    struct reply *out;
    int script_resp;
};

static void write_value(const struct writer *w);

// As the processor does it where there is no such integer.
static int64_t to_integer(lua_Number n)
{
    return n >= -0x1p63 && n < 0x1p63 ? (int64_t)n : INT64_MIN;
}

// Pushes the field of the table at the top if it is of that type (a number is no string here).
static bool push_field(lua_State *L, const char *name, int type)
{
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    if (lua_type(L, -1) == type) return true;
    lua_pop(L, 1);
    return false;
}

static struct slice top_string(lua_State *L)
{
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    return (struct slice){text, len};
}

// The string in one line: line breaks become spaces.
static void write_line(struct reply *out, char type, struct slice s)
{
    char *p = reply_reserve(out, s.len + 3);
    *p++ = type;
    for (size_t i = 0; i < s.len; i++) *p++ = s.ptr[i] == '\r' || s.ptr[i] == '\n' ? ' ' : s.ptr[i];
    memcpy(p, "\r\n", 2);
    out->pos = p + 2;
}

static void write_double(struct reply *out, lua_Number n)
{
    char text[64];
    if (!isnan(n)) {
        reply_double(out, n);
        return;
    }
    const char *nan = signbit(n) ? "-nan" : "nan"; // as printf writes it
    if (out->resp == 2)
        reply_bulk_text(out, nan);
    else
        reply_raw(out, text, (size_t)snprintf(text, sizeof text, ",%s\r\n", nan));
}

// In one line, too, where it is a bulk string.
static void write_big_number(struct reply *out, struct slice s)
{
    if (out->resp == 3) {
        write_line(out, '(', s);
        return;
    }
    char *copy = mem_strndup(s.ptr, s.len);
    for (size_t i = 0; i < s.len; i++)
        if (copy[i] == '\r' || copy[i] == '\n') copy[i] = ' ';
    reply_bulk(out, (struct slice){copy, s.len});
    mem_free(copy);
}

// The keys (and values) of the table at the top, as a map or set.
static void write_pairs(const struct writer *w, bool is_set)
{
    lua_State *L = w->L;
    size_t n = 0;
    struct reply_mark mark = reply_open(w->out);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pushvalue(L, -2);
        write_value(w);
        if (is_set)
            lua_pop(L, 1);
        else
            write_value(w);
        n++;
    }
    if (is_set)
        reply_close_set(w->out, mark, n);
    else
        reply_close_map(w->out, mark, n);
}

static void write_array(const struct writer *w)
{
    size_t n = 0;
    struct reply_mark mark = reply_open(w->out);
    for (;;) {
        lua_rawgeti(w->L, -1, (int)n + 1);
        if (lua_isnil(w->L, -1)) break;
        write_value(w);
        n++;
    }
    lua_pop(w->L, 1);
    reply_close_array(w->out, mark, n);
}

// The table at the top holds a verbatim string.
static bool write_verbatim(const struct writer *w)
{
    lua_State *L = w->L;
    char format[4] = "   ";
    if (!push_field(L, "format", LUA_TSTRING)) return false;
    struct slice f = top_string(L);
    memcpy(format, f.ptr, MIN(f.len, 3));
    lua_pop(L, 1);
    if (!push_field(L, "string", LUA_TSTRING)) return false;
    reply_verbatim(w->out, format, top_string(L));
    lua_pop(L, 1);
    return true;
}

// Tables of one field that stand for what Lua has not; false: it is an array.
static bool write_special(const struct writer *w)
{
    lua_State *L = w->L;
    bool is_done = true;
    if (push_field(L, "err", LUA_TSTRING)) {
        reply_error(w->out, lua_tostring(L, -1));
    } else if (push_field(L, "ok", LUA_TSTRING)) {
        write_line(w->out, '+', slice_of(lua_tostring(L, -1)));
    } else if (push_field(L, "double", LUA_TNUMBER)) {
        write_double(w->out, lua_tonumber(L, -1));
    } else if (push_field(L, "map", LUA_TTABLE)) {
        write_pairs(w, false);
    } else if (push_field(L, "set", LUA_TTABLE)) {
        write_pairs(w, true);
    } else if (push_field(L, "big_number", LUA_TSTRING)) {
        write_big_number(w->out, top_string(L));
    } else if (push_field(L, "verbatim_string", LUA_TTABLE)) {
        is_done = write_verbatim(w);
    } else {
        return false;
    }
    lua_pop(L, 1);
    return is_done;
}

static void write_boolean(const struct writer *w)
{
    bool value = lua_toboolean(w->L, -1);
    if (w->script_resp == 3)
        reply_bool(w->out, value);
    else if (value)
        reply_int(w->out, 1);
    else
        reply_null(w->out);
}

// One value, popped.
static void write_value(const struct writer *w)
{
    lua_State *L = w->L;
    if (!lua_checkstack(L, 6)) {
        reply_error(w->out, "ERR reached lua stack limit");
        lua_pop(L, 1);
        return;
    }
    switch (lua_type(L, -1)) {
    case LUA_TSTRING: reply_bulk(w->out, top_string(L)); break;
    case LUA_TNUMBER: reply_int(w->out, to_integer(lua_tonumber(L, -1))); break;
    case LUA_TBOOLEAN: write_boolean(w); break;
    case LUA_TTABLE:
        if (!write_special(w)) write_array(w);
        break;
    default: reply_null(w->out);
    }
    lua_pop(L, 1);
}

static bool is_counted(lua_State *L)
{
    if (!lua_istable(L, -1)) return false;
    lua_pushliteral(L, "ignore_error_stats_update");
    lua_rawget(L, -2);
    bool is_set = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is_set;
}

bool convert_write_value(lua_State *L, struct reply *out, int script_resp)
{
    struct writer w = {L, out, script_resp};
    bool counted = is_counted(L);
    write_value(&w);
    return counted;
}
