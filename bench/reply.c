// SPDX-License-Identifier: BSD-3-Clause
//
// How a reply is followed without a stack: `pending` is the number of elements still owed. A reply
// starts with one; each element read takes one off, and an aggregate of n elements puts n on (a map
// 2n; an attribute or a push, which come in front of the reply proper, put themselves back on).
// When it returns to zero the reply is whole.
#include "reply.h"

#include <string.h>

enum {
    AGGREGATE_MAX = 1 << 30, // elements; more is taken for a malformed count
    BULK_MAX = 1 << 30       // bytes, twice Redis's proto-max-bulk-len
};

// Reads the decimal in [p, end); false when it is not one. -1 is allowed: RESP2's nil.
static bool parse_count(const char *p, const char *end, int64_t *value)
{
    int64_t v = 0;
    if (end - p == 2 && p[0] == '-' && p[1] == '1') {
        *value = -1;
        return true;
    }
    if (p == end || end - p > 10) return false;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9') return false;
        v = v * 10 + (*p - '0');
    }
    *value = v;
    return true;
}

static void keep_first_error(struct reply_counts *counts, const char *text, size_t len)
{
    if (counts->errors++ > 0) return;
    if (len > REPLY_SAMPLE_BYTES - 1) len = REPLY_SAMPLE_BYTES - 1;
    memcpy(counts->first_error, text, len);
    counts->first_error[len] = '\0';
}

static void note_type(struct reply_counts *counts, const char *line, size_t len, bool is_nil)
{
    if (line[0] == '-' || line[0] == '!')
        keep_first_error(counts, line, len);
    else if (is_nil)
        counts->nils++;
    else if (counts->expected && line[0] != counts->expected)
        counts->unexpected++;
}

static bool begin_bulk(struct reply_parser *parser, int64_t len_bytes, bool *is_nil)
{
    if (len_bytes > BULK_MAX) return false;
    *is_nil = len_bytes < 0;
    if (*is_nil)
        parser->pending--;
    else
        parser->skip_bytes = (uint64_t)len_bytes + 2;
    return true;
}

static bool begin_aggregate(struct reply_parser *parser, char type, int64_t count, bool *is_nil)
{
    if (count > AGGREGATE_MAX) return false;
    *is_nil = count < 0;
    uint64_t elements = *is_nil ? 0 : (uint64_t)count;
    if (type == '%' || type == '|') elements *= 2;
    bool precedes_reply = type == '|' || type == '>';
    parser->pending += elements - (precedes_reply ? 0 : 1);
    return true;
}

// Takes in the line [line, end), CRLF excluded.
static bool parse_line(struct reply_parser *parser, struct reply_counts *counts, const char *line,
                       const char *end)
{
    bool is_top = parser->pending == 0;
    bool is_nil = false;
    bool is_good = true;
    int64_t count = 0;
    if (line == end) return false;
    if (is_top) parser->pending = 1;
    switch (line[0]) {
    case '_':
        is_nil = true;
        parser->pending--;
        break;
    case '+':
    case '-':
    case ':':
    case ',':
    case '#':
    case '(': parser->pending--; break;
    case '$':
    case '=':
    case '!':
        is_good = parse_count(line + 1, end, &count) && begin_bulk(parser, count, &is_nil);
        break;
    case '*':
    case '~':
    case '%':
    case '|':
    case '>':
        is_good =
            parse_count(line + 1, end, &count) && begin_aggregate(parser, line[0], count, &is_nil);
        break;
    default: return false;
    }
    if (is_good && is_top && line[0] != '|' && line[0] != '>')
        note_type(counts, line, (size_t)(end - line), is_nil);
    return is_good;
}

// Passes over the bulk's bytes as far as they are there. Returns them, or -1 if no CRLF ends them.
static ssize_t skip_bulk(struct reply_parser *parser, const char *p, size_t avail)
{
    uint64_t skip = parser->skip_bytes;
    size_t taken = avail < skip ? avail : (size_t)skip;
    uint64_t left = skip - taken;
    // The CR is the last byte but one of the bulk, the LF the last: check those that lie in here.
    if (left < 2 && skip >= 2 && p[skip - 2] != '\r') return -1;
    if (left < 1 && p[skip - 1] != '\n') return -1;
    parser->skip_bytes = left;
    if (left == 0) parser->pending--;
    return (ssize_t)taken;
}

ssize_t reply_parse(struct reply_parser *parser, struct reply_counts *counts, const char *bytes,
                    size_t len)
{
    const char *p = bytes, *end = bytes + len;
    while (p < end) {
        if (parser->skip_bytes > 0) {
            ssize_t skipped = skip_bulk(parser, p, (size_t)(end - p));
            if (skipped < 0) return -1;
            p += skipped;
        } else {
            const char *cr = memchr(p, '\r', (size_t)(end - p));
            if (!cr || cr + 1 == end) return end - p < REPLY_LINE_MAX ? p - bytes : -1;
            if (cr[1] != '\n' || !parse_line(parser, counts, p, cr)) return -1;
            p = cr + 2;
        }
        if (parser->pending == 0) counts->replies++;
    }
    return p - bytes;
}
