// SPDX-License-Identifier: BSD-3-Clause
//
// Redis is read generously where that is harmless (what describes a cluster's slots is passed over,
// whatever follows the end is the caller's to judge) and strictly where it is not: what belongs to
// a key (expiry, idle time, counter) must be followed by one, and what only a module understands is
// an error, since without it the data would be less than it was.
#include "store/rdb_file.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "engine/ctx.h"
#include "engine/settings.h"
#include "engine/version.h"

#define MAGIC        "REDIS"
#define MAGIC_BYTES  5
#define HEADER_BYTES 9 // magic and version

#define VERSION_LOWEST   10 // that is written: Redis 7.0's
#define VERSION_EXPIRING 12 // hashes with expiring fields: Redis 7.4's

#define CHECKSUM_BYTES 8

enum opcode {
    OP_SLOT = 244, // of a cluster: number, keys, keys with an expiry
    OP_FUNCTION = 245,
    OP_FUNCTION_OLD = 246, // of release candidates
    OP_MODULE_AUX = 247,
    OP_IDLE = 248,
    OP_FREQ = 249,
    OP_AUX = 250,
    OP_SIZES = 251,
    OP_EXPIRE_MS = 252,
    OP_EXPIRE_S = 253,
    OP_DB = 254,
    OP_END = 255,
};

// Types of values that only a module can read.
#define TYPE_MODULE_OLD 6
#define TYPE_MODULE     7

// --- writing -------------------------------------------------------------------------------------

struct rdb_file_options rdb_file_options_of(const struct settings *s, int64_t now_ms)
{
    struct rdb_file_options o = {
        .is_compressed = s->rdbcompression, .now_ms = now_ms, .lfu_decay_time = s->lfu_decay_time};
    switch ((enum maxmemory_policy)s->maxmemory_policy) {
    case POLICY_VOLATILE_LRU:
    case POLICY_ALLKEYS_LRU: o.use = RDB_USE_IDLE; break;
    case POLICY_VOLATILE_LFU:
    case POLICY_ALLKEYS_LFU: o.use = RDB_USE_FREQ; break;
    default: break;
    }
    return o;
}

uint16_t rdb_file_version_of(const struct keyspace *ks)
{
    for (uint32_t i = 0; i < ks->db_count; i++)
        if (ks->dbs[i].field_expires.count) return VERSION_EXPIRING;
    return VERSION_LOWEST;
}

void rdb_file_put_header(struct buf *out, uint16_t version)
{
    ASSERT(version <= RDB_VERSION_MAX);
    buf_printf(out, MAGIC "%04u", version);
}

static void put_opcode(struct buf *out, enum opcode op)
{
    buf_append_char(out, (char)op);
}

void rdb_file_put_aux(struct buf *out, const char *name, const char *text)
{
    put_opcode(out, OP_AUX);
    rdb_put_string(out, slice_of(name), false);
    rdb_put_string(out, slice_of(text), false);
}

void rdb_file_put_aux_integer(struct buf *out, const char *name, int64_t value)
{
    char text[NUM_I64_TEXT + 1];
    text[num_format_i64(text, value)] = '\0';
    rdb_file_put_aux(out, name, text);
}

void rdb_file_put_usual_aux(struct buf *out, int64_t now_ms, bool is_base)
{
    rdb_file_put_aux(out, "redis-ver", REDIS_VERSION);
    rdb_file_put_aux_integer(out, "redis-bits", 64);
    rdb_file_put_aux_integer(out, "ctime", now_ms / 1000);
    rdb_file_put_aux_integer(out, "used-mem", (int64_t)mem_used_bytes());
    rdb_file_put_aux_integer(out, "aof-base", is_base);
}

void rdb_file_put_function(struct buf *out, struct slice code, bool is_compressed)
{
    put_opcode(out, OP_FUNCTION);
    rdb_put_string(out, code, is_compressed);
}

void rdb_file_put_db(struct buf *out, uint32_t db)
{
    put_opcode(out, OP_DB);
    rdb_put_length(out, db);
}

void rdb_file_put_sizes(struct buf *out, uint64_t keys, uint64_t expiring_keys)
{
    put_opcode(out, OP_SIZES);
    rdb_put_length(out, keys);
    rdb_put_length(out, expiring_keys);
}

void rdb_file_put_entry_head(struct buf *out, const struct entry *e,
                             const struct rdb_file_options *o)
{
    if (e->has_ttl) {
        put_opcode(out, OP_EXPIRE_MS);
        rdb_put_u64(out, (uint64_t)entry_expire_at(e));
    }
    if (o->use == RDB_USE_IDLE) {
        put_opcode(out, OP_IDLE);
        rdb_put_length(out, entry_idle_seconds(e, o->now_ms));
    } else if (o->use == RDB_USE_FREQ) {
        put_opcode(out, OP_FREQ);
        buf_append_char(out, (char)lfu_decayed(e, o->now_ms, o->lfu_decay_time));
    }
    bool is_string = e->type == TYPE_STRING;
    buf_append_char(out, (char)(is_string ? RDB_STRING : rdb_type_of(e->type, e->value)));
    rdb_put_string(out, entry_key(e), o->is_compressed);
}

void rdb_file_put_entry(struct buf *out, const struct entry *e, const struct rdb_file_options *o)
{
    char scratch[NUM_I64_TEXT];
    rdb_file_put_entry_head(out, e, o);
    if (e->type == TYPE_STRING)
        rdb_put_string(out, entry_string(e, scratch), o->is_compressed);
    else
        rdb_put_value(out, e->type, e->value, o->is_compressed);
}

void rdb_file_put_end(struct buf *out)
{
    put_opcode(out, OP_END);
}

void rdb_file_put_checksum(struct buf *out, uint64_t crc)
{
    rdb_put_u64(out, crc);
}

// --- opening -------------------------------------------------------------------------------------

static bool fail_to_open(char *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool fail_to_open(char *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, RDB_FILE_ERROR_MAX, format, args);
    va_end(args);
    return false;
}

bool rdb_file_open(struct rdb_file *f, struct slice bytes, char *error)
{
    unsigned version = 0;
    *f = (struct rdb_file){.bytes = bytes.ptr, .len = bytes.len};
    if (bytes.len < HEADER_BYTES || memcmp(bytes.ptr, MAGIC, MAGIC_BYTES) != 0)
        return fail_to_open(error,
                            "not an RDB file: it does not begin with " MAGIC " and a version");
    for (size_t i = MAGIC_BYTES; i < HEADER_BYTES; i++) {
        if (bytes.ptr[i] < '0' || bytes.ptr[i] > '9')
            return fail_to_open(error, "at offset %zu: the RDB version is not a number", i);
        version = version * 10 + (unsigned)(bytes.ptr[i] - '0');
    }
    if (version < 1 || version > RDB_VERSION_MAX)
        return fail_to_open(error, "RDB version %u cannot be read: 1 to %d can", version,
                            RDB_VERSION_MAX);
    f->version = (uint16_t)version;
    return true;
}

bool rdb_file_map(struct rdb_file *f, const char *path, bool *is_missing, char *error)
{
    struct stat st;
    void *bytes = MAP_FAILED;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (is_missing) *is_missing = fd < 0 && errno == ENOENT;
    if (fd < 0) return fail_to_open(error, "cannot open '%s': %s", path, strerror(errno));
    bool is_known = fstat(fd, &st) == 0;
    size_t len = is_known ? (size_t)st.st_size : 0;
    if (is_known && len) bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    int code = errno;
    close(fd);
    if (is_known && !len) return fail_to_open(error, "'%s' is empty", path);
    if (bytes == MAP_FAILED)
        return fail_to_open(error, "cannot read '%s': %s", path, strerror(code));
    madvise(bytes, len, MADV_SEQUENTIAL);
    if (!rdb_file_open(f, (struct slice){bytes, len}, error)) {
        munmap(bytes, len);
        return false;
    }
    f->is_mapped = true;
    return true;
}

void rdb_file_close(struct rdb_file *f)
{
    if (f->is_mapped) munmap((void *)(uintptr_t)f->bytes, f->len);
    *f = (struct rdb_file){0};
}

// --- reading -------------------------------------------------------------------------------------

void rdb_file_reader_init(struct rdb_file_reader *r, const struct rdb_file *f)
{
    *r = (struct rdb_file_reader){.file = f};
    r->in = (struct rdb_reader){.at = f->bytes + HEADER_BYTES, .end = f->bytes + f->len};
}

void rdb_file_reader_free(struct rdb_file_reader *r)
{
    buf_free(&r->scratch[0]);
    buf_free(&r->scratch[1]);
}

uint64_t rdb_file_reader_offset(const struct rdb_file_reader *r)
{
    return (uint64_t)(r->in.at - r->file->bytes);
}

static bool fail(struct rdb_file_reader *r, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail(struct rdb_file_reader *r, uint64_t offset, const char *format, ...)
{
    int n = snprintf(r->error, sizeof r->error,
                     "at offset %llu of %zu: ", (unsigned long long)offset, r->file->len);
    va_list args;
    va_start(args, format);
    vsnprintf(r->error + n, sizeof r->error - (size_t)n, format, args);
    va_end(args);
    r->in.is_bad = true;
    return false;
}

// A module calls its types by nine letters, six bits each, above a version of ten.
static bool fail_module(struct rdb_file_reader *r, uint64_t offset, const char *what, uint64_t id)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char name[10] = "";
    id >>= 10;
    for (int i = 8; i >= 0; i--, id >>= 6) name[i] = letters[id & 63];
    return fail(r, offset, "%s of module type '%s': module types are not supported", what, name);
}

static bool read_db(struct rdb_file_reader *r, struct rdb_item *item)
{
    uint64_t db = rdb_get_length(&r->in);
    if (r->in.is_bad || db > UINT32_MAX)
        return fail(r, item->offset, "the number of a database should follow");
    item->kind = RDB_ITEM_DB;
    item->db = r->db = (uint32_t)db;
    return true;
}

static bool read_sizes(struct rdb_file_reader *r, struct rdb_item *item)
{
    item->kind = RDB_ITEM_SIZES;
    item->keys = rdb_get_length(&r->in);
    item->expiring_keys = rdb_get_length(&r->in);
    if (r->in.is_bad) return fail(r, item->offset, "the sizes of a database should follow");
    return true;
}

static bool read_aux(struct rdb_file_reader *r, struct rdb_item *item)
{
    item->kind = RDB_ITEM_AUX;
    item->name = rdb_get_string(&r->in, &r->scratch[0]);
    item->text = rdb_get_string(&r->in, &r->scratch[1]);
    if (r->in.is_bad) return fail(r, item->offset, "a name and a text should follow");
    return true;
}

static bool read_function(struct rdb_file_reader *r, struct rdb_item *item)
{
    item->kind = RDB_ITEM_FUNCTION;
    item->text = rdb_get_string(&r->in, &r->scratch[1]);
    if (r->in.is_bad) return fail(r, item->offset, "the code of a library should follow");
    return true;
}

static bool read_end(struct rdb_file_reader *r, struct rdb_item *item)
{
    item->kind = RDB_ITEM_END;
    r->crc = 0;
    if (r->file->version < RDB_VERSION_CHECKSUMS) return true;
    r->crc = rdb_get_u64(&r->in);
    if (r->in.is_bad)
        return fail(r, item->offset, "%d bytes of checksum should follow the end", CHECKSUM_BYTES);
    return true;
}

static bool read_slot(struct rdb_file_reader *r, const struct rdb_item *item)
{
    rdb_skip_lengths(&r->in, 3);
    if (r->in.is_bad) return fail(r, item->offset, "what describes a slot should follow");
    return true;
}

// Something that is told of the next key. False, with no error, if the opcode is none of these.
static bool read_attribute(struct rdb_file_reader *r, uint8_t op, struct rdb_item *item)
{
    uint32_t seconds;
    switch (op) {
    case OP_EXPIRE_MS: item->expire_at_ms = (int64_t)rdb_get_u64(&r->in); break;
    case OP_EXPIRE_S:
        seconds = 0;
        if (rdb_left(&r->in) >= sizeof seconds) memcpy(&seconds, r->in.at, sizeof seconds);
        rdb_skip_bytes(&r->in, sizeof seconds);
        item->expire_at_ms = (int64_t)(int32_t)le32toh(seconds) * 1000;
        break;
    case OP_IDLE: item->idle_s = (int64_t)(rdb_get_length(&r->in) & INT64_MAX); break;
    case OP_FREQ: item->freq = rdb_get_byte(&r->in); break;
    default: return false;
    }
    // Any time before 1970 is in the past; but -1 is how Redis says "none".
    if (item->expire_at_ms < 0 && item->expire_at_ms != EXPIRE_NONE) item->expire_at_ms = 0;
    return true;
}

static bool read_key(struct rdb_file_reader *r, uint8_t type, uint64_t at, struct rdb_item *item)
{
    item->kind = RDB_ITEM_KEY;
    item->type = type;
    item->name = rdb_get_string(&r->in, &r->scratch[0]);
    if (r->in.is_bad) return fail(r, at, "a key should follow type %d", type);
    if (item->name.len > KEY_MAX_BYTES)
        return fail(r, at, "a key of %zu bytes is longer than keys may be", item->name.len);
    if (type == TYPE_MODULE || type == TYPE_MODULE_OLD)
        return fail_module(r, at, "a value", rdb_get_length(&r->in));
    if (!rdb_is_known_type(type))
        return fail(r, at, "a value of type %d, which is not known", type);
    return true;
}

bool rdb_file_next(struct rdb_file_reader *r, struct rdb_item *item)
{
    *item = (struct rdb_item){.db = r->db,
                              .offset = rdb_file_reader_offset(r),
                              .expire_at_ms = EXPIRE_NONE,
                              .idle_s = -1,
                              .freq = -1};
    for (;;) {
        uint64_t at = rdb_file_reader_offset(r);
        bool has_attributes = at > item->offset;
        uint8_t op = rdb_get_byte(&r->in);
        if (r->in.is_bad) return fail(r, at, "the file is cut off here");
        if (read_attribute(r, op, item)) {
            if (r->in.is_bad)
                return fail(r, at, "the file is cut off within what opcode %d says", op);
            continue;
        }
        if (op < OP_SLOT) return read_key(r, op, at, item);
        if (has_attributes) return fail(r, at, "a key should follow, not opcode %d", op);
        switch ((enum opcode)op) {
        case OP_DB: return read_db(r, item);
        case OP_SIZES: return read_sizes(r, item);
        case OP_AUX: return read_aux(r, item);
        case OP_FUNCTION: return read_function(r, item);
        case OP_END: return read_end(r, item);
        case OP_MODULE_AUX: return fail_module(r, at, "data", rdb_get_length(&r->in));
        case OP_FUNCTION_OLD:
            return fail(r, at, "functions as release candidates of Redis 7.0 wrote them");
        default: break;
        }
        if (!read_slot(r, item)) return false;
        item->offset = rdb_file_reader_offset(r);
    }
}

bool rdb_file_read_value(struct rdb_file_reader *r, const struct rdb_item *key,
                         const struct value_limits *limits, struct rdb_value *out)
{
    uint64_t at = rdb_file_reader_offset(r);
    if (LIKELY(rdb_get_value(&r->in, key->type, limits, out))) return true;
    if (out->is_empty) return false;
    return fail(r, at, "the value (type %d) that begins here is damaged or cut off", key->type);
}

bool rdb_file_skip_value(struct rdb_file_reader *r, const struct rdb_item *key)
{
    uint64_t at = rdb_file_reader_offset(r);
    if (LIKELY(rdb_skip_value(&r->in, key->type))) return true;
    return fail(r, at, "the value (type %d) that begins here is cut off", key->type);
}
