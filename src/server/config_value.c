// SPDX-License-Identifier: BSD-3-Clause
//
// Scalar values. The reasons for a refusal are Redis's, byte for byte: CONFIG SET answers them, and
// programs compare them.
//
// An INERT directive has no field: its value is checked like any other and kept as text in
// settings->inert, at the index of its row; NULL there stands for the row's `initial`.
#include "server/config_value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"

#define HZ_MIN            1
#define HZ_MAX            500
#define BACKLOG_MIN_BYTES (16u << 10) // of repl-backlog-size

struct scalar { // of a scalar, whatever its kind
    int64_t number;
    uint64_t bytes;
    struct slice text;
};

bool config_refuse(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, CONFIG_WHY_BYTES, format, args);
    va_end(args);
    return false;
}

bool config_refuse_choice(const struct choice *choices, char *why)
{
    size_t len =
        (size_t)snprintf(why, CONFIG_WHY_BYTES, "argument(s) must be one of the following: ");
    for (const struct choice *c = choices; c->name && len < CONFIG_WHY_BYTES; c++)
        len += (size_t)snprintf(why + len, CONFIG_WHY_BYTES - len, "%s%s", c == choices ? "" : ", ",
                                c->name);
    return false;
}

// --- reading -------------------------------------------------------------------------------------

bool config_parse_memory(struct slice text, uint64_t *out)
{
    char number[32];
    size_t digits = 0;
    uint64_t value;
    while (digits < text.len && isdigit((unsigned char)text.ptr[digits])) digits++;
    struct slice unit = {text.ptr + digits, text.len - digits};
    if (unit.len > 2) return false;
    while (digits > 1 && text.ptr[0] == '0') { // num_parse_u64 wants none
        text.ptr++;
        digits--;
    }
    if (digits == 0)
        value = 0;
    else if (!num_parse_u64((struct slice){text.ptr, digits}, &value))
        value = UINT64_MAX;
    int len = snprintf(number, sizeof number, "%" PRIu64 "%.*s", value, SLICE_ARG(unit));
    return num_parse_memory((struct slice){number, (size_t)len}, out);
}

// strtoll over the whole of a slice; base 8 for modes.
static bool parse_in_base(struct slice text, int base, int64_t *out)
{
    char copy[64], *end;
    if (text.len == 0 || text.len >= sizeof copy) return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    errno = 0;
    *out = strtoll(copy, &end, base);
    return errno == 0 && end == copy + text.len;
}

bool config_parse_number(struct slice text, int64_t *out)
{
    return parse_in_base(text, 10, out);
}

static bool parse_bool(struct slice text, struct scalar *v, char *why)
{
    v->number = slice_is(text, "yes");
    return v->number || slice_is(text, "no") ||
           config_refuse(why, "argument must be 'yes' or 'no'");
}

static bool parse_integer(const struct directive *d, struct slice text, struct scalar *v, char *why)
{
    if (d->kind == KIND_OCTAL) {
        if (!parse_in_base(text, 8, &v->number) || v->number < 0)
            return config_refuse(why, "argument couldn't be parsed as an octal number");
    } else if (!num_parse_i64(text, &v->number)) {
        return config_refuse(why, "argument couldn't be parsed into an integer");
    }
    if (v->number >= d->min && v->number <= (int64_t)d->max) return true;
    const char *format = d->kind == KIND_OCTAL
                             ? "argument must be between %" PRIo64 " and %" PRIo64 " inclusive"
                             : "argument must be between %" PRId64 " and %" PRId64 " inclusive";
    snprintf(why, CONFIG_WHY_BYTES, format, d->min, (int64_t)d->max);
    return false;
}

static bool parse_memory(const struct directive *d, struct slice text, struct scalar *v, char *why)
{
    if (!config_parse_memory(text, &v->bytes))
        return config_refuse(why, "argument must be a memory value");
    if (v->bytes >= (uint64_t)d->min && v->bytes <= d->max) return true;
    return config_refuse(why, "argument must be between %" PRId64 " and %" PRIu64 " inclusive",
                         d->min, d->max);
}

static bool parse_percent(const struct directive *d, struct slice text, struct scalar *v, char *why)
{
    if (text.len && text.ptr[text.len - 1] == '%') {
        if (config_parse_number((struct slice){text.ptr, text.len - 1}, &v->number) &&
            v->number >= 0) {
            if (v->number > 100)
                return config_refuse(why, "percentage argument must be less or equal to 100");
            v->number = -v->number;
            return true;
        }
    } else if (config_parse_memory(text, &v->bytes)) {
        if (v->bytes > d->max)
            return config_refuse(why, "argument must be between -100 and %" PRIu64 " inclusive",
                                 d->max);
        v->number = (int64_t)v->bytes;
        return true;
    }
    return config_refuse(why, "argument must be a memory or percent value");
}

static bool parse_choice(const struct directive *d, struct slice text, struct scalar *v, char *why)
{
    for (const struct choice *c = d->choices; c->name; c++) {
        if (!slice_is(text, c->name)) continue;
        v->number = c->value;
        return true;
    }
    return config_refuse_choice(d->choices, why);
}

static bool parse_text(const struct directive *d, struct slice text, struct scalar *v, char *why)
{
    const char *nul = memchr(text.ptr, '\0', text.len);
    if (nul) text.len = (size_t)(nul - text.ptr);
    v->text = text;
    if ((d->flags & DIR_NO_EMPTY) && text.len == 0)
        return config_refuse(why, "%s can't be empty", d->name);
    if ((d->flags & DIR_FILENAME) && memchr(text.ptr, '/', text.len))
        return config_refuse(why, "%s can't be a path, just a filename", d->name);
    return true;
}

static bool parse_scalar(const struct directive *d, struct slice text, struct scalar *v, char *why)
{
    switch (d->kind) {
    case KIND_BOOL: return parse_bool(text, v, why);
    case KIND_INT:
    case KIND_OCTAL: return parse_integer(d, text, v, why);
    case KIND_MEMORY: return parse_memory(d, text, v, why);
    case KIND_PERCENT: return parse_percent(d, text, v, why);
    case KIND_STRING: return parse_text(d, text, v, why);
    case KIND_ENUM: return parse_choice(d, text, v, why);
    case KIND_SPECIAL: break;
    }
    ASSERT(!"a scalar");
    return false;
}

// --- text of a value -----------------------------------------------------------------------------

static void format_octal(int64_t value, struct buf *out)
{
    buf_printf(out, "%" PRIo64, value);
}

static void format_choice(const struct directive *d, int64_t value, struct buf *out)
{
    const struct choice *c = d->choices;
    while (c->name && c->value != value) c++;
    buf_append_text(out, c->name ? c->name : "unknown");
}

static void format_percent(int64_t value, struct buf *out)
{
    if (value < 0)
        buf_printf(out, "%" PRId64 "%%", -value);
    else
        buf_printf(out, "%" PRId64, value);
}

static void format_scalar(const struct directive *d, const struct scalar *v, struct buf *out)
{
    switch (d->kind) {
    case KIND_BOOL: buf_append_text(out, v->number ? "yes" : "no"); return;
    case KIND_INT: buf_printf(out, "%" PRId64, v->number); return;
    case KIND_OCTAL: format_octal(v->number, out); return;
    case KIND_MEMORY: buf_printf(out, "%" PRIu64, v->bytes); return;
    case KIND_PERCENT: format_percent(v->number, out); return;
    case KIND_STRING: buf_append(out, v->text.ptr, v->text.len); return;
    case KIND_ENUM: format_choice(d, v->number, out); return;
    case KIND_SPECIAL: break;
    }
    ASSERT(!"a scalar");
}

// --- fields --------------------------------------------------------------------------------------

static struct scalar load_field(const struct directive *d, const struct settings *s)
{
    const char *field = (const char *)s + d->offset;
    struct scalar v = {0};
    switch (d->kind) {
    case KIND_BOOL: v.number = *(const bool *)field; break;
    case KIND_MEMORY: v.bytes = *(const uint64_t *)field; break;
    case KIND_STRING: v.text = slice_of(*(char *const *)field); break;
    default: v.number = *(const int64_t *)field; break;
    }
    return v;
}

static void store_field(const struct directive *d, struct settings *s, const struct scalar *v)
{
    char *field = (char *)s + d->offset;
    switch (d->kind) {
    case KIND_BOOL: *(bool *)field = v->number != 0; break;
    case KIND_MEMORY: *(uint64_t *)field = v->bytes; break;
    case KIND_STRING:
        mem_free(*(char **)field);
        *(char **)field = mem_strndup(v->text.ptr, v->text.len);
        break;
    default: *(int64_t *)field = v->number; break;
    }
}

void config_inert_set(const struct directive *d, struct settings *s, struct slice text)
{
    if (!s->inert) {
        s->inert_count = config_table_count();
        s->inert = mem_calloc(s->inert_count * sizeof *s->inert);
    }
    char **slot = &s->inert[d - config_table];
    mem_free(*slot);
    *slot = mem_strndup(text.ptr, text.len);
}

const char *config_inert_text(const struct directive *d, const struct settings *s)
{
    const char *text = s->inert ? s->inert[d - config_table] : NULL;
    return text ? text : d->initial;
}

static void store_inert(const struct directive *d, struct settings *s, const struct scalar *v)
{
    struct buf text = {0};
    format_scalar(d, v, &text);
    config_inert_set(d, s, buf_slice(&text));
    buf_free(&text);
}

// --- what others call ----------------------------------------------------------------------------

bool config_value_set(const struct directive *d, struct settings *s, const struct slice *argv,
                      int argc, bool is_appending, char *why)
{
    if (!(d->flags & DIR_MULTI) && argc != 1)
        return config_refuse(why, "wrong number of arguments");
    if (d->kind == KIND_SPECIAL) return d->special->parse(d, s, argv, argc, is_appending, why);

    struct scalar v = {0};
    if (!parse_scalar(d, argv[0], &v, why)) return false;
    if (d->flags & DIR_INERT)
        store_inert(d, s, &v);
    else
        store_field(d, s, &v);
    if (d->only && strcmp(config_inert_text(d, s), d->only) != 0)
        return config_refuse(why, "'%s' is not supported yet: '%s' is all that works here", d->name,
                             d->only);
    return true;
}

void config_value_format(const struct directive *d, const struct settings *s, struct buf *out)
{
    if (d->kind == KIND_SPECIAL && d->special->format) {
        d->special->format(d, s, out);
    } else if (d->flags & DIR_INERT) {
        buf_append_text(out, config_inert_text(d, s));
    } else {
        struct scalar v = load_field(d, s);
        format_scalar(d, &v, out);
    }
}

void config_format_memory(uint64_t value, struct buf *out)
{
    static const struct {
        unsigned shift;
        const char *unit;
    } units[] = {{30, "gb"}, {20, "mb"}, {10, "kb"}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (value == 0 || value & ((1ull << units[i].shift) - 1)) continue;
        buf_printf(out, "%" PRIu64 "%s", value >> units[i].shift, units[i].unit);
        return;
    }
    buf_printf(out, "%" PRIu64, value);
}

void config_value_lines(const struct directive *d, const struct settings *s, bool is_whole,
                        struct buf *out)
{
    if (d->kind == KIND_SPECIAL && d->special->lines) {
        d->special->lines(d, s, is_whole, out);
        return;
    }
    struct buf text = {0};
    config_value_format(d, s, &text);
    buf_printf(out, "%s ", d->name);
    uint64_t bytes;
    bool is_memory = d->kind == KIND_MEMORY || d->kind == KIND_PERCENT;
    if (d->kind == KIND_STRING || text.len == 0)
        buf_append_quoted(out, buf_slice(&text));
    else if (is_memory && num_parse_u64(buf_slice(&text), &bytes))
        config_format_memory(bytes, out);
    else
        buf_append(out, text.ptr, text.len);
    buf_append_char(out, '\n');
    buf_free(&text);
}

void config_value_settle(struct settings *s)
{
    s->hz = MAX(HZ_MIN, MIN(HZ_MAX, s->hz));
    s->repl_backlog_size = MAX(BACKLOG_MIN_BYTES, s->repl_backlog_size);
}
