// SPDX-License-Identifier: BSD-3-Clause
//
// The digest is built out of two operations on 20 bytes, D, both with SHA-1:
//
//     xor(D, x)  D = D ^ SHA1(x)        order does not matter
//     mix(D, x)  D = SHA1(D ^ SHA1(x))  order matters
//
//     value:    mix type (32 bits, big endian); then per type,
//                 a string: mix its bytes
//                 a list: mix every element
//                 a set: xor every member
//                 a hash: for every field, from 0: mix field, mix value, xor "!!hexpire!!" if it
//                     expires; xor the 20 bytes
//                 a sorted set: the same with member and score (%.17g)
//                 a stream: for every entry, mix "ms.seq", then mix every field and value;
//               then xor "!!expire!!" if it has an expiry
//     key:      from 0: mix name, add value
//     data set: from 0: for each database that is not empty: mix its number (32 bits, big
//               endian), then for each key, in any order, xor the 20 bytes of its digest
#include "commands/digest.h"

#include <arpa/inet.h>
#include <sha1.h>
#include <stdio.h>

#include "base/assert.h"
#include "types/hash.h"
#include "types/list.h"
#include "types/set.h"
#include "types/stream.h"
#include "types/zset.h"

static void sha1(uint8_t out[DIGEST_BYTES], const void *data, size_t len)
{
    SHA1_CTX c;
    SHA1Init(&c);
    SHA1Update(&c, data, len);
    SHA1Final(out, &c);
}

static void xor_in(struct digest *d, struct slice s)
{
    uint8_t hash[DIGEST_BYTES];
    sha1(hash, s.ptr, s.len);
    for (size_t i = 0; i < DIGEST_BYTES; i++) d->bytes[i] ^= hash[i];
}

static void mix(struct digest *d, struct slice s)
{
    uint8_t hash[DIGEST_BYTES];
    xor_in(d, s);
    sha1(hash, d->bytes, DIGEST_BYTES);
    memcpy(d->bytes, hash, DIGEST_BYTES);
}

static void mix_u32(struct digest *d, uint32_t value)
{
    uint32_t big_endian = htonl(value);
    mix(d, (struct slice){(const char *)&big_endian, sizeof big_endian});
}

// Redis's number of a type; 5 is that of values of modules.
static uint32_t type_number(enum object_type type)
{
    return type == TYPE_STREAM ? 6 : (uint32_t)type;
}

static void add_list(struct digest *d, struct value v)
{
    struct list_iter it;
    struct item element;
    char scratch[NUM_I64_TEXT];
    list_iter_init(&it, v, 0, false);
    while (list_iter_next(&it, &element)) mix(d, item_slice(&element, scratch));
}

static void add_set(struct digest *d, struct value v)
{
    struct set_iter it;
    struct item member;
    char scratch[NUM_I64_TEXT];
    set_iter_init(&it, v);
    while (set_iter_next(&it, &member)) xor_in(d, item_slice(&member, scratch));
}

static void xor_pair(struct digest *d, const struct digest *pair)
{
    xor_in(d, (struct slice){(const char *)pair->bytes, DIGEST_BYTES});
}

static void add_hash(struct digest *d, struct value v)
{
    struct hash_iter it;
    struct item field, value;
    int64_t expire_at_ms;
    char scratch[NUM_I64_TEXT];
    hash_iter_init(&it, v, INT64_MIN); // whatever is there
    while (hash_iter_next(&it, &field, &value, &expire_at_ms)) {
        struct digest pair = {0};
        mix(&pair, item_slice(&field, scratch));
        mix(&pair, item_slice(&value, scratch));
        if (expire_at_ms >= 0) xor_in(&pair, SLICE("!!hexpire!!"));
        xor_pair(d, &pair);
    }
}

static void add_zset(struct digest *d, struct value v)
{
    struct zset_iter it;
    struct item member;
    double score;
    char scratch[NUM_I64_TEXT], text[40];
    zset_iter_init(&it, v, 0, false);
    while (zset_iter_next(&it, &member, &score)) {
        struct digest pair = {0};
        mix(&pair, item_slice(&member, scratch));
        snprintf(text, sizeof text, "%.17g", score);
        mix(&pair, slice_of(text));
        xor_pair(d, &pair);
    }
}

static void mix_item(struct digest *d, const struct stream_item *i)
{
    char scratch[NUM_I64_TEXT];
    struct buf both = {0};
    if (i->head.ptr) buf_append(&both, i->head.ptr, i->head.len);
    if (i->head.ptr) buf_append(&both, i->tail.ptr, i->tail.len);
    struct slice integer = {scratch, i->head.ptr ? 0 : num_format_i64(scratch, i->integer)};
    mix(d, i->head.ptr ? buf_slice(&both) : integer);
    buf_free(&both);
}

static void add_stream(struct digest *d, struct value v)
{
    struct stream_iter it;
    stream_iter_init(&it, stream_of(v), STREAM_ID_MIN, STREAM_ID_MAX, false);
    while (stream_iter_next(&it)) {
        char text[48];
        struct stream_item field, value;
        snprintf(text, sizeof text, "%llu.%llu", (unsigned long long)it.entry.id.ms,
                 (unsigned long long)it.entry.id.seq);
        mix(d, slice_of(text));
        while (it.entry.left) {
            stream_entry_next(&it.entry, &field, &value);
            mix_item(d, &field);
            mix_item(d, &value);
        }
    }
    stream_iter_free(&it);
}

void digest_add_value(struct digest *d, const struct entry *e)
{
    char scratch[NUM_I64_TEXT];
    mix_u32(d, type_number(e->type));
    switch (e->type) {
    case TYPE_STRING: mix(d, entry_string(e, scratch)); break;
    case TYPE_LIST: add_list(d, e->value); break;
    case TYPE_SET: add_set(d, e->value); break;
    case TYPE_HASH: add_hash(d, e->value); break;
    case TYPE_ZSET: add_zset(d, e->value); break;
    case TYPE_STREAM: add_stream(d, e->value); break;
    default: ASSERT(false);
    }
    if (e->has_ttl) xor_in(d, SLICE("!!expire!!"));
}

static void add_entry(void *item, void *arg)
{
    const struct entry *e = item;
    struct digest key = {0};
    mix(&key, entry_key(e));
    digest_add_value(&key, e);
    xor_in(arg, (struct slice){(const char *)key.bytes, DIGEST_BYTES});
}

static bool is_db_empty(const struct ctx *ctx, uint32_t db)
{
    for (uint32_t i = 0; i < ctx->space_count; i++)
        if (ctx->spaces[i]->dbs[db].keys.count) return false;
    return true;
}

struct digest digest_of_dataset(const struct ctx *ctx)
{
    struct digest d = {0};
    for (uint32_t db = 0; db < ctx->space->db_count; db++) {
        if (is_db_empty(ctx, db)) continue;
        mix_u32(&d, db);
        for (uint32_t i = 0; i < ctx->space_count; i++) {
            const struct dict *keys = &ctx->spaces[i]->dbs[db].keys;
            uint64_t cursor = 0;
            do cursor = dict_scan(keys, cursor, add_entry, &d);
            while (cursor);
        }
    }
    return d;
}

void digest_format(const struct digest *d, char out[DIGEST_TEXT])
{
    for (size_t i = 0; i < DIGEST_BYTES; i++) snprintf(out + 2 * i, 3, "%02x", d->bytes[i]);
}

void digest_of_text(const char *text, char out[DIGEST_TEXT])
{
    struct digest d;
    sha1(d.bytes, text, strlen(text));
    digest_format(&d, out);
}
