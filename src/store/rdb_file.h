// SPDX-License-Identifier: BSD-3-Clause
//
// rdb_file: RDB files, as redis-server writes and reads them; their values are types/rdb.h's.
//
//   +-----------+--------------+---------------------------------------------+-----+------------+
//   | "REDIS"   | version: "0010" | items, each an opcode or type and what     | 255 | CRC64 (64) |
//   | (5 bytes) | (4 digits)   | belongs to it                               |     | or 0       |
//   +-----------+--------------+---------------------------------------------+-----+------------+
//
//   250  aux       name, text (strings)          245  library of functions: code (string)
//   254  database  number (length)               251  sizes: keys, keys with an expiry (lengths)
//   244  cluster slot: three lengths, skipped    253  expiry of the next key: seconds, 4 bytes
//   252  expiry of the next key: ms, 8 bytes     248  idle seconds of the next key (length)
//   249  LFU counter of the next key, 1 byte
//   else the type of a value: key (string), value
//
// Writing: everything is appended to a struct buf; who empties it into a file, and when, is the
// caller's business, and so is the checksum, which is of all bytes from the first on:
//
//   header, aux ..., functions ..., { database [sizes] entries ... } ..., end, checksum
//
// A database may come several times, so entries of several shards may be written in any order as
// long as each lot begins with its rdb_file_put_db.
//
// Reading: from memory, which must not change; nothing of what is read is trusted, and every error
// names the offset. A file may be read by several threads at once, each with its own reader.
#pragma once
#include "engine/object.h"
#include "types/rdb.h"

struct keyspace;
struct settings;

// --- writing -------------------------------------------------------------------------------------

enum rdb_file_use { RDB_USE_NONE, RDB_USE_IDLE, RDB_USE_FREQ }; // what tells how a key was used

struct rdb_file_options {
    bool is_compressed;
    enum rdb_file_use use;
    int64_t now_ms;
    int64_t lfu_decay_time; // minutes
};
// As the settings ask for.
struct rdb_file_options rdb_file_options_of(const struct settings *s, int64_t now_ms);

// The oldest version that can hold what is in this keyspace (the file's is the greatest of all
// shards').
uint16_t rdb_file_version_of(const struct keyspace *ks);
void rdb_file_put_header(struct buf *out, uint16_t version);
void rdb_file_put_aux(struct buf *out, const char *name, const char *text);
void rdb_file_put_aux_integer(struct buf *out, const char *name, int64_t value);
// redis-ver, redis-bits, ctime, used-mem and aof-base, as Redis puts them behind the header.
// is_base: of an append-only directory, not a snapshot that stands alone.
void rdb_file_put_usual_aux(struct buf *out, int64_t now_ms, bool is_base);
// A library's code, shebang included.
void rdb_file_put_function(struct buf *out, struct slice code, bool is_compressed);
// What follows is in this database ...
void rdb_file_put_db(struct buf *out, uint32_t db);
// ... which has so many keys; helps the reader, may be left out.
void rdb_file_put_sizes(struct buf *out, uint64_t keys, uint64_t expiring_keys);
// Everything of an entry but the value: then rdb_writer of types/rdb_writer.h goes on, or
// rdb_put_string / rdb_put_value.
void rdb_file_put_entry_head(struct buf *out, const struct entry *e,
                             const struct rdb_file_options *o);
// An entry, in one go.
void rdb_file_put_entry(struct buf *out, const struct entry *e, const struct rdb_file_options *o);
void rdb_file_put_end(struct buf *out);
// The last 8 bytes. crc: crc64_add (base/crc64.h) from 0 over all bytes of the file before these,
// or 0: not computed.
void rdb_file_put_checksum(struct buf *out, uint64_t crc);

// --- reading -------------------------------------------------------------------------------------

#define RDB_VERSION_CHECKSUMS 5 // from here on a checksum follows the end

#define RDB_FILE_ERROR_MAX 512 // bytes that an error text needs at most, its NUL included

struct rdb_file {
    const char *bytes; // the caller's, or (is_mapped) ours
    size_t len;
    uint16_t version;
    bool is_mapped;
};

// A file in memory. False if it does not begin as one, or is of a version that is not read: error
// (RDB_FILE_ERROR_MAX bytes of room) says so.
bool rdb_file_open(struct rdb_file *f, struct slice bytes, char *error);
// The same of a file on disk. *is_missing (NULL is fine): it is because there is no such file.
bool rdb_file_map(struct rdb_file *f, const char *path, bool *is_missing, char *error);
void rdb_file_close(struct rdb_file *f);

enum rdb_item_kind {
    RDB_ITEM_AUX,      // name, text
    RDB_ITEM_FUNCTION, // text
    RDB_ITEM_DB,       // db
    RDB_ITEM_SIZES,    // keys, expiring_keys, of database db
    RDB_ITEM_KEY,      // name and what follows; a value must be read or skipped next
    RDB_ITEM_END,      // the reader's offset is where the file should end
};

struct rdb_item {
    enum rdb_item_kind kind;
    uint32_t db; // also of keys
    uint64_t offset;
    struct slice name, text; // valid until the next call
    uint64_t keys, expiring_keys;
    int64_t expire_at_ms; // or EXPIRE_NONE
    int64_t idle_s, freq; // -1: not told
    uint8_t type;         // of the value, enum rdb_type
};

struct rdb_file_reader {
    const struct rdb_file *file;
    struct rdb_reader in;
    uint32_t db;
    uint64_t crc; // RDB_ITEM_END: the checksum that the file carries, or 0
    struct buf scratch[2];
    char error[RDB_FILE_ERROR_MAX];
};

void rdb_file_reader_init(struct rdb_file_reader *r, const struct rdb_file *f);
void rdb_file_reader_free(struct rdb_file_reader *r);
uint64_t rdb_file_reader_offset(const struct rdb_file_reader *r);
// The next item. False, with r->error, if there is none where one should be; then the reader is
// good for nothing more. After RDB_ITEM_END nothing may be read.
bool rdb_file_next(struct rdb_file_reader *r, struct rdb_item *item);
// The value of a key that rdb_file_next has just returned; see rdb_get_value for *out. False with
// r->error. is_empty in *out: false, too, but the reader can go on: a collection without elements,
// as bugs of old versions of Redis left them.
bool rdb_file_read_value(struct rdb_file_reader *r, const struct rdb_item *key,
                         const struct value_limits *limits, struct rdb_value *out);
// Passes over it without taking memory, looking at no more than is needed to find its end.
bool rdb_file_skip_value(struct rdb_file_reader *r, const struct rdb_item *key);
