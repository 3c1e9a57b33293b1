// SPDX-License-Identifier: BSD-3-Clause
//
// Everything that is read is checked where it is read: a length against the bytes that are left, a
// number of things against the bytes that so many take at least. So nobody above needs to, and
// nothing can be read that is not there, whatever a file says.
#include "store/log_format.h"

#include <endian.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "engine/effect.h"

#define UNIT_BYTES_MIN  2 // kind, length 0
#define GROUP_BYTES_MIN 2 // shard, length 0

static const char magic[8] = "GYRELOG1"; // no NUL

static void put_u32(char *to, uint32_t value)
{
    value = htole32(value);
    memcpy(to, &value, sizeof value);
}

static void put_u64(char *to, uint64_t value)
{
    value = htole64(value);
    memcpy(to, &value, sizeof value);
}

static uint32_t get_u32(const char *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return le32toh(value);
}

static uint64_t get_u64(const char *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return le64toh(value);
}

static bool is_zero(const char *bytes, size_t len)
{
    while (len--)
        if (*bytes++) return false;
    return true;
}

// --- the file's header ---------------------------------------------------------------------------

void log_header_encode(struct log_header *h, char out[LOG_HEADER_BYTES])
{
    ASSERT(h->shard < h->shard_count);
    h->version = LOG_VERSION;
    memset(out, 0, LOG_HEADER_BYTES);
    memcpy(out, magic, sizeof magic);
    put_u32(out + 8, h->version);
    put_u32(out + 12, h->shard);
    put_u32(out + 16, h->shard_count);
    put_u64(out + 24, h->epoch);
    put_u64(out + 32, h->first_seq);
    put_u64(out + 40, h->salt);
    h->crc = crc32c_add(0, out, LOG_HEADER_BYTES - 4);
    put_u32(out + LOG_HEADER_BYTES - 4, h->crc);
}

const char *log_header_decode(struct slice file, struct log_header *h)
{
    if (!file.len) return "the file is empty";
    if (memcmp(file.ptr, magic, MIN(file.len, sizeof magic)) != 0)
        return is_zero(file.ptr, MIN(file.len, LOG_HEADER_BYTES))
                   ? "there are zeros where the header should be"
                   : "this is not a log of Gyre";
    if (file.len < LOG_HEADER_BYTES) return "the header is cut off";
    *h = (struct log_header){
        .version = get_u32(file.ptr + 8),
        .shard = get_u32(file.ptr + 12),
        .shard_count = get_u32(file.ptr + 16),
        .epoch = get_u64(file.ptr + 24),
        .first_seq = get_u64(file.ptr + 32),
        .salt = get_u64(file.ptr + 40),
        .crc = get_u32(file.ptr + LOG_HEADER_BYTES - 4),
    };
    if (h->crc != crc32c_add(0, file.ptr, LOG_HEADER_BYTES - 4))
        return "the header's checksum is wrong";
    if (h->version > LOG_VERSION) return "it was written by a newer version of Gyre";
    if (h->version != LOG_VERSION || !is_zero(file.ptr + 20, 4) || !is_zero(file.ptr + 48, 12) ||
        h->shard >= h->shard_count)
        return "the header makes no sense";
    return NULL;
}

// --- frames --------------------------------------------------------------------------------------

void log_frame_encode(struct log_frame *f, uint32_t seed, const struct iovec *payload, int count,
                      char out[LOG_FRAME_BYTES])
{
    f->payload_bytes = 0;
    for (int i = 0; i < count; i++) f->payload_bytes += payload[i].iov_len;
    ASSERT(f->durable_seq <= f->first_seq);
    ASSERT(f->unit_count ? f->payload_bytes / UNIT_BYTES_MIN >= f->unit_count : !f->payload_bytes);
    put_u32(out + 4, f->unit_count);
    put_u64(out + 8, f->payload_bytes);
    put_u64(out + 16, f->first_seq);
    put_u64(out + 24, f->durable_seq);
    f->crc = crc32c_add(seed, out + 4, LOG_FRAME_BYTES - 4);
    for (int i = 0; i < count; i++)
        f->crc = crc32c_add(f->crc, payload[i].iov_base, payload[i].iov_len);
    put_u32(out, f->crc);
}

static struct log_frame fields_at(const char *at)
{
    return (struct log_frame){
        .crc = get_u32(at),
        .unit_count = get_u32(at + 4),
        .payload_bytes = get_u64(at + 8),
        .first_seq = get_u64(at + 16),
        .durable_seq = get_u64(at + 24),
    };
}

const char *log_frame_decode(struct slice in, uint32_t seed, struct log_frame *f,
                             struct slice *payload)
{
    if (in.len < LOG_FRAME_BYTES) return "the header of a frame is cut off";
    *f = fields_at(in.ptr);
    if (is_zero(in.ptr, LOG_FRAME_BYTES)) return "there are zeros where a frame should be";
    if (f->payload_bytes > in.len - LOG_FRAME_BYTES)
        return "a frame ends beyond the end of the file";
    size_t checked = LOG_FRAME_BYTES - 4 + f->payload_bytes;
    if (f->crc != crc32c_add(seed, in.ptr + 4, checked)) return "the checksum of a frame is wrong";
    *payload = (struct slice){in.ptr + LOG_FRAME_BYTES, f->payload_bytes};
    return NULL;
}

bool log_frame_is_plausible(struct slice in, struct log_frame *f)
{
    if (in.len < LOG_FRAME_BYTES) return false;
    *f = fields_at(in.ptr);
    return f->payload_bytes <= in.len - LOG_FRAME_BYTES &&
           f->payload_bytes / UNIT_BYTES_MIN >= f->unit_count && f->durable_seq <= f->first_seq &&
           f->first_seq <= UINT64_MAX - f->unit_count && (f->unit_count || !f->payload_bytes);
}

// --- units ---------------------------------------------------------------------------------------

void log_put_local(struct buf *out, size_t effects_bytes)
{
    buf_append_char(out, LOG_LOCAL);
    effect_put_varint(out, effects_bytes);
}

void log_put_transaction(struct buf *out, uint64_t txid, uint32_t group_count)
{
    ASSERT(txid && group_count);
    buf_append_char(out, LOG_TRANSACTION);
    effect_put_varint(out, txid);
    effect_put_varint(out, group_count);
}

void log_put_group(struct buf *out, uint32_t shard, size_t effects_bytes)
{
    effect_put_varint(out, shard);
    effect_put_varint(out, effects_bytes);
}

static bool get_bytes(struct slice *in, struct slice *bytes)
{
    uint64_t len;
    if (!effect_get_varint(in, &len) || len > in->len) return false;
    *bytes = (struct slice){in->ptr, len};
    in->ptr += len;
    in->len -= len;
    return true;
}

bool log_group_next(struct slice *groups, uint32_t *shard, struct slice *effects)
{
    struct slice in = *groups;
    uint64_t number;
    if (!effect_get_varint(&in, &number) || number > UINT32_MAX || !get_bytes(&in, effects))
        return false;
    *shard = (uint32_t)number;
    *groups = in;
    return true;
}

static bool get_transaction(struct slice *in, struct log_unit *unit)
{
    uint64_t count;
    if (!effect_get_varint(in, &unit->txid) || !unit->txid) return false;
    if (!effect_get_varint(in, &count) || !count || count > in->len / GROUP_BYTES_MIN ||
        count > UINT32_MAX)
        return false;
    unit->group_count = (uint32_t)count;
    unit->groups = *in;
    while (count--) {
        uint32_t shard;
        struct slice effects;
        if (!log_group_next(in, &shard, &effects)) return false;
    }
    unit->groups.len -= in->len;
    return true;
}

bool log_unit_next(struct slice *left, struct log_unit *unit)
{
    struct slice in = *left;
    if (!in.len) return false;
    *unit = (struct log_unit){.kind = (enum log_kind)(unsigned char)in.ptr[0]};
    in.ptr++;
    in.len--;
    switch (unit->kind) {
    case LOG_LOCAL:
        if (!get_bytes(&in, &unit->effects)) return false;
        break;
    case LOG_TRANSACTION:
        if (!get_transaction(&in, unit)) return false;
        break;
    default: return false;
    }
    *left = in;
    return true;
}

bool log_unit_group(const struct log_unit *unit, uint32_t shard, struct slice *effects)
{
    struct slice groups = unit->groups;
    uint32_t number;
    while (log_group_next(&groups, &number, effects))
        if (number == shard) return true;
    return false;
}
