// SPDX-License-Identifier: BSD-3-Clause
#include "engine/dump.h"

#include <endian.h>
#include <string.h>

#include "base/crc64.h"
#include "types/rdb.h"

#define CHECKSUM_BYTES 8
#define HEADER_ROOM    32 // type, longest string header and footer, for a first guess of the size

void dump_put_footer(struct buf *out, uint16_t version)
{
    uint16_t version_le = htole16(version);
    buf_append(out, &version_le, sizeof version_le);
    uint64_t checksum_le = htole64(crc64_add(0, out->ptr, out->len));
    buf_append(out, &checksum_le, sizeof checksum_le);
}

void dump_put_entry(struct buf *out, const struct entry *e, bool is_compressed)
{
    if (e->type == TYPE_STRING) {
        char scratch[NUM_I64_TEXT];
        struct slice s = entry_string(e, scratch);
        buf_reserve(out, s.len + HEADER_ROOM);
        buf_append_char(out, RDB_STRING);
        rdb_put_string(out, s, is_compressed);
        dump_put_footer(out, rdb_type_version(RDB_STRING));
        return;
    }
    enum rdb_type type = rdb_type_of(e->type, e->value);
    buf_append_char(out, (char)type);
    rdb_put_value(out, e->type, e->value, is_compressed);
    dump_put_footer(out, rdb_type_version(type));
}

bool dump_has_good_footer(struct slice payload)
{
    if (payload.len < DUMP_FOOTER_BYTES) return false;
    const char *footer = payload.ptr + payload.len - DUMP_FOOTER_BYTES;
    uint16_t version_le;
    uint64_t checksum_le;
    memcpy(&version_le, footer, sizeof version_le);
    memcpy(&checksum_le, footer + sizeof version_le, sizeof checksum_le);
    return le16toh(version_le) <= RDB_VERSION_MAX &&
           le64toh(checksum_le) == crc64_add(0, payload.ptr, payload.len - CHECKSUM_BYTES);
}
