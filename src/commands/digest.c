// SPDX-License-Identifier: BSD-3-Clause
//
// The digest is built out of two operations on 20 bytes, D, both with SHA-1:
//
//     xor(D, x)  D = D ^ SHA1(x)        order does not matter
//     mix(D, x)  D = SHA1(D ^ SHA1(x))  order matters
//
//     value:    mix type (32 bits, big endian); then per type, a string: mix its bytes;
//               then xor "!!expire!!" if it has an expiry
//     key:      from 0: mix name, add value
//     data set: from 0: for each database that is not empty: mix its number (32 bits, big
//               endian), then for each key, in any order, xor the 20 bytes of its digest
#include "commands/digest.h"

#include <arpa/inet.h>
#include <sha1.h>
#include <stdio.h>

#include "base/assert.h"

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

void digest_add_value(struct digest *d, const struct entry *e)
{
    char scratch[NUM_I64_TEXT];
    mix_u32(d, type_number(e->type));
    ASSERT(e->type == TYPE_STRING); // the other types join here
    mix(d, entry_string(e, scratch));
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
