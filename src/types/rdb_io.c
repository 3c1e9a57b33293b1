// SPDX-License-Identifier: BSD-3-Clause
//
// How far a reader trusts: a length is believed only after the bytes that it speaks of are known to
// be there. The one case where more may come out than went in is LZF, whose best code is three
// bytes for 264 (LZF_BYTES_MAX): a compressed string that claims to be longer than that allows is
// bad before anything is allocated.
#include "types/rdb_io.h"

#include <endian.h>
#include <liblzf/lzf.h>
#include <math.h>

#include "base/num.h"

// First bytes of a length …
#define LEN_14_BITS 0x40
#define LEN_32_BITS 0x80
#define LEN_64_BITS 0x81
// … and of a string that is not just its bytes.
#define STRING_I8  0xc0
#define STRING_I16 0xc1
#define STRING_I32 0xc2
#define STRING_LZF 0xc3

#define HEADER_BYTES_MAX 9  // of a length
#define INT_TEXT_MAX     11 // "-2147483648"
#define LZF_WORTH_BYTES  20 // up to here nobody tries to compress, as in Redis
#define LZF_SAVE_BYTES   4  // a compressed string must be at least this much shorter
#define LZF_LEN_MAX      UINT32_MAX
// The most that `len` compressed bytes can stand for.
#define LZF_BYTES_MAX(len) ((uint64_t)(len)*88)

// Lengths of old doubles that are none.
#define OLD_DOUBLE_NAN     253
#define OLD_DOUBLE_INF     254
#define OLD_DOUBLE_NEG_INF 255

// --- writing -------------------------------------------------------------------------------------

static size_t format_length(unsigned char *p, uint64_t len)
{
    if (len < 1 << 6) {
        p[0] = (unsigned char)len;
        return 1;
    }
    if (len < 1 << 14) {
        p[0] = (unsigned char)(LEN_14_BITS | len >> 8);
        p[1] = (unsigned char)len;
        return 2;
    }
    if (len <= UINT32_MAX) {
        uint32_t be = htobe32((uint32_t)len);
        p[0] = LEN_32_BITS;
        memcpy(p + 1, &be, sizeof be);
        return 5;
    }
    uint64_t be = htobe64(len);
    p[0] = LEN_64_BITS;
    memcpy(p + 1, &be, sizeof be);
    return 9;
}

void rdb_put_length(struct buf *out, uint64_t len)
{
    out->len += format_length((unsigned char *)buf_reserve(out, HEADER_BYTES_MAX), len);
}

static bool put_integer(struct buf *out, struct slice s)
{
    int64_t value;
    if (s.len > INT_TEXT_MAX || !num_parse_i64(s, &value)) return false;
    if (value < INT32_MIN || value > INT32_MAX) return false;
    unsigned char *p = (unsigned char *)buf_reserve(out, 5);
    uint32_t le = htole32((uint32_t)(int32_t)value);
    bool is_8 = value >= INT8_MIN && value <= INT8_MAX;
    bool is_16 = value >= INT16_MIN && value <= INT16_MAX;
    size_t len = is_8 ? 1 : is_16 ? 2 : 4;
    p[0] = is_8 ? STRING_I8 : is_16 ? STRING_I16 : STRING_I32;
    memcpy(p + 1, &le, len);
    out->len += 1 + len;
    return true;
}

static bool put_compressed(struct buf *out, struct slice s)
{
    if (s.len > LZF_LEN_MAX) return false;
    // The data goes where the longest header would leave room for it and is moved up afterwards.
    const size_t header_max = 1 + 2 * HEADER_BYTES_MAX;
    unsigned char *p = (unsigned char *)buf_reserve(out, header_max + s.len);
    unsigned len =
        lzf_compress(s.ptr, (unsigned)s.len, p + header_max, (unsigned)(s.len - LZF_SAVE_BYTES));
    if (len == 0) return false;
    size_t at = 0;
    p[at++] = STRING_LZF;
    at += format_length(p + at, len);
    at += format_length(p + at, s.len);
    memmove(p + at, p + header_max, len);
    out->len += at + len;
    return true;
}

void rdb_put_string(struct buf *out, struct slice s, bool is_compressed)
{
    if (put_integer(out, s)) return;
    if (is_compressed && s.len > LZF_WORTH_BYTES && put_compressed(out, s)) return;
    rdb_put_length(out, s.len);
    buf_append(out, s.ptr, s.len);
}

void rdb_put_double(struct buf *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    rdb_put_u64(out, bits);
}

void rdb_put_u64(struct buf *out, uint64_t value)
{
    uint64_t le = htole64(value);
    buf_append(out, &le, sizeof le);
}

void rdb_put_u64_be(struct buf *out, uint64_t value)
{
    uint64_t be = htobe64(value);
    buf_append(out, &be, sizeof be);
}

// --- reading -------------------------------------------------------------------------------------

size_t rdb_left(const struct rdb_reader *in)
{
    return in->is_bad ? 0 : (size_t)(in->end - in->at);
}

// The next n bytes, or NULL: then the reader is bad.
static const char *take(struct rdb_reader *in, uint64_t n)
{
    if (in->is_bad || n > (uint64_t)(in->end - in->at)) {
        in->is_bad = true;
        return NULL;
    }
    const char *p = in->at;
    in->at += n;
    return p;
}

uint8_t rdb_get_byte(struct rdb_reader *in)
{
    const char *p = take(in, 1);
    return p ? (uint8_t)*p : 0;
}

uint64_t rdb_get_u64(struct rdb_reader *in)
{
    uint64_t le = 0;
    const char *p = take(in, sizeof le);
    if (p) memcpy(&le, p, sizeof le);
    return le64toh(le);
}

uint64_t rdb_get_u64_be(struct rdb_reader *in)
{
    uint64_t be = 0;
    const char *p = take(in, sizeof be);
    if (p) memcpy(&be, p, sizeof be);
    return be64toh(be);
}

static uint32_t get_u32_be(struct rdb_reader *in)
{
    uint32_t be = 0;
    const char *p = take(in, sizeof be);
    if (p) memcpy(&be, p, sizeof be);
    return be32toh(be);
}

// The rest of a length whose first byte is known.
static uint64_t length_of(struct rdb_reader *in, uint8_t first)
{
    if (first < LEN_14_BITS) return first;
    if (first < LEN_32_BITS) return (uint64_t)(first & 0x3f) << 8 | rdb_get_byte(in);
    if (first == LEN_32_BITS) return get_u32_be(in);
    if (first == LEN_64_BITS) return rdb_get_u64_be(in);
    in->is_bad = true;
    return 0;
}

uint64_t rdb_get_length(struct rdb_reader *in)
{
    uint64_t len = length_of(in, rdb_get_byte(in));
    return in->is_bad ? 0 : len;
}

static struct slice print_integer(struct rdb_reader *in, uint8_t first, struct buf *scratch)
{
    size_t len = first == STRING_I8 ? 1 : first == STRING_I16 ? 2 : 4;
    const char *p = take(in, len);
    if (!p) return SLICE("");
    uint32_t le = 0;
    memcpy(&le, p, len);
    uint32_t bits = le32toh(le);
    int64_t value = len == 1 ? (int8_t)bits : len == 2 ? (int16_t)bits : (int32_t)bits;
    scratch->len = 0;
    scratch->len = num_format_i64(buf_reserve(scratch, NUM_I64_TEXT), value);
    return buf_slice(scratch);
}

static struct slice decompress(struct rdb_reader *in, struct buf *scratch)
{
    uint64_t compressed_len = rdb_get_length(in), len = rdb_get_length(in);
    const char *p = take(in, compressed_len);
    if (!p) return SLICE("");
    if (!compressed_len || !len || compressed_len > LZF_LEN_MAX || len > LZF_LEN_MAX ||
        len > LZF_BYTES_MAX(compressed_len)) {
        in->is_bad = true;
        return SLICE("");
    }
    scratch->len = 0;
    char *to = buf_reserve(scratch, len);
    if (lzf_decompress(p, (unsigned)compressed_len, to, (unsigned)len) != len) {
        in->is_bad = true;
        return SLICE("");
    }
    scratch->len = len;
    return buf_slice(scratch);
}

struct slice rdb_get_string(struct rdb_reader *in, struct buf *scratch)
{
    uint8_t first = rdb_get_byte(in);
    switch (first) {
    case STRING_I8:
    case STRING_I16:
    case STRING_I32: return print_integer(in, first, scratch);
    case STRING_LZF: return decompress(in, scratch);
    default: break;
    }
    uint64_t len = length_of(in, first);
    const char *p = take(in, len);
    return p ? (struct slice){p, len} : SLICE("");
}

double rdb_get_double(struct rdb_reader *in)
{
    uint64_t bits = rdb_get_u64(in);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double rdb_get_old_double(struct rdb_reader *in)
{
    uint8_t len = rdb_get_byte(in);
    switch (len) {
    case OLD_DOUBLE_NEG_INF: return -INFINITY;
    case OLD_DOUBLE_INF: return INFINITY;
    case OLD_DOUBLE_NAN: return NAN;
    default: break;
    }
    double value = 0;
    const char *p = take(in, len);
    if (p && !num_parse_double((struct slice){p, len}, &value)) in->is_bad = true;
    return in->is_bad ? 0 : value;
}

// --- skipping ------------------------------------------------------------------------------------

void rdb_skip_bytes(struct rdb_reader *in, uint64_t n)
{
    take(in, n);
}

void rdb_skip_string(struct rdb_reader *in)
{
    uint8_t first = rdb_get_byte(in);
    uint64_t len;
    switch (first) {
    case STRING_I8: len = 1; break;
    case STRING_I16: len = 2; break;
    case STRING_I32: len = 4; break;
    case STRING_LZF:
        len = rdb_get_length(in);
        rdb_get_length(in);
        break;
    default: len = length_of(in, first); break;
    }
    take(in, len);
}

void rdb_skip_lengths(struct rdb_reader *in, unsigned count)
{
    while (count--) rdb_get_length(in);
}

void rdb_skip_old_double(struct rdb_reader *in)
{
    uint8_t len = rdb_get_byte(in);
    if (len < OLD_DOUBLE_NAN) take(in, len);
}
