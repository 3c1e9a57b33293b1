// SPDX-License-Identifier: BSD-3-Clause
//
// What Redis holds in a listpack, intset or chain of listpacks is written as those bytes, and
// Gyre's small values are the same bytes or nearly so: they go out in one copy, and the writer has
// nothing left to do (next is NULL). The others are walked by an iterator that stays in the writer
// between steps, since the value does not change.
//
// An element of two parts (a hash's field and value, a zset's member and score) takes two calls of
// next, for its first part may be a long string, of which only the head has been written:
//
//   next -> [length of the field]   rest: its bytes, in chunks   next -> [the value]
//
// A step's budget is spent by the bytes of the value rather than by those that come out, so that it
// bounds the time of compression, too; what comes out is never much more.
#include "types/rdb_writer.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "types/rdb_io.h"

#define VERSION_REDIS_7_0 10
#define VERSION_REDIS_7_4 12

#define ELEMENT_COST 8                  // bytes that an element counts besides its own
#define CHUNK_MIN    ((size_t)16 << 10) // of a long string, however small the budget is

// --- which layout --------------------------------------------------------------------------------

static enum rdb_type type_of_hash(struct value v)
{
    bool is_table = value_encoding(v) == ENC_HASHTABLE;
    if (hash_next_expiry(v) == INT64_MAX) return is_table ? RDB_HASH : RDB_HASH_LISTPACK;
    return is_table ? RDB_HASH_METADATA : RDB_HASH_LISTPACK_EX;
}

enum rdb_type rdb_type_of(enum object_type type, struct value value)
{
    switch (type) {
    case TYPE_LIST: return RDB_LIST_QUICKLIST_2;
    case TYPE_SET: return value_encoding(value) == ENC_INTSET ? RDB_SET_INTSET : RDB_SET;
    case TYPE_ZSET: return value_encoding(value) == ENC_LISTPACK ? RDB_ZSET_LISTPACK : RDB_ZSET_2;
    case TYPE_HASH: return type_of_hash(value);
    case TYPE_STREAM: return RDB_STREAM_LISTPACKS_2;
    case TYPE_STRING: break;
    }
    return RDB_STRING;
}

uint16_t rdb_type_version(enum rdb_type type)
{
    bool is_new = type == RDB_HASH_METADATA || type == RDB_HASH_LISTPACK_EX;
    return is_new ? VERSION_REDIS_7_4 : VERSION_REDIS_7_0;
}

// --- parts ---------------------------------------------------------------------------------------

static void put_string(struct rdb_writer *w, struct buf *out, struct slice s)
{
    w->spent += ELEMENT_COST;
    if (s.len > w->string_max) {
        rdb_put_length(out, s.len);
        w->rest = s;
        return;
    }
    w->spent += s.len;
    rdb_put_string(out, s, w->is_compressed);
}

static void put_item(struct rdb_writer *w, struct buf *out, const struct item *i)
{
    char scratch[NUM_I64_TEXT];
    put_string(w, out, item_slice(i, scratch)); // what is in the scratch is not long
}

static void put_listpack(struct rdb_writer *w, struct buf *out, const struct listpack *lp)
{
    rdb_put_string(out, (struct slice){(const char *)lp, listpack_bytes(lp)}, w->is_compressed);
}

// --- lists ---------------------------------------------------------------------------------------

static bool next_piece(struct rdb_writer *w, struct buf *out)
{
    struct list_piece piece;
    if (!list_pieces_next(&w->pieces, &piece)) return false;
    rdb_put_length(out, piece.is_plain ? RDB_NODE_PLAIN : RDB_NODE_PACKED);
    put_string(w, out, (struct slice){piece.bytes, piece.len});
    return true;
}

static void begin_list(struct rdb_writer *w, struct buf *out)
{
    rdb_put_length(out, list_piece_count(w->value));
    list_pieces_init(&w->pieces, w->value);
    w->next = next_piece;
}

// --- sets ----------------------------------------------------------------------------------------

static bool next_member(struct rdb_writer *w, struct buf *out)
{
    struct item member;
    if (!set_iter_next(&w->set, &member)) return false;
    put_item(w, out, &member);
    return true;
}

static void begin_set(struct rdb_writer *w, struct buf *out)
{
    if (value_encoding(w->value) == ENC_INTSET) {
        struct slice bytes;
        bytes.ptr = set_intset(w->value, &bytes.len);
        rdb_put_string(out, bytes, w->is_compressed);
        return;
    }
    rdb_put_length(out, set_len(w->value));
    set_iter_init(&w->set, w->value);
    w->next = next_member;
}

// --- sorted sets ---------------------------------------------------------------------------------

static bool next_scored(struct rdb_writer *w, struct buf *out)
{
    struct item member;
    if (w->has_second) {
        w->has_second = false;
        rdb_put_double(out, w->score);
        w->spent += sizeof w->score;
        return true;
    }
    if (!zset_iter_next(&w->zset, &member, &w->score)) return false;
    put_item(w, out, &member);
    w->has_second = true;
    return true;
}

static void begin_zset(struct rdb_writer *w, struct buf *out)
{
    const struct listpack *lp = zset_listpack(w->value);
    if (lp) {
        put_listpack(w, out, lp);
        return;
    }
    uint64_t len = zset_len(w->value);
    rdb_put_length(out, len);
    // From the highest score down, as Redis does: who inserts the members one by one then always
    // does so at the head.
    zset_iter_init(&w->zset, w->value, len - 1, true);
    w->next = next_scored;
}

// --- hashes --------------------------------------------------------------------------------------

// The fields and values of a small hash in turn, as Redis keeps them.
static void put_pairs(struct rdb_writer *w, struct buf *out)
{
    struct listpack *lp = listpack_new(0);
    struct hash_iter it;
    struct item field, value;
    hash_iter_init(&it, w->value, HASH_NEVER_DUE);
    while (hash_iter_next(&it, &field, &value, NULL))
        lp = listpack_append_item(listpack_append_item(lp, &field), &value);
    put_listpack(w, out, lp);
    mem_free(lp);
}

struct triple {
    struct item field, value;
    int64_t at_ms; // INT64_MAX: never
    uint32_t index;
};

static int compare_triples(const void *a, const void *b)
{
    const struct triple *x = a, *y = b;
    if (x->at_ms != y->at_ms) return x->at_ms < y->at_ms ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

// Redis wants the triples in the order of their expiry, those without one last.
static void put_triples(struct rdb_writer *w, struct buf *out)
{
    uint32_t count = (uint32_t)hash_len(w->value), n = 0;
    struct triple *triples = mem_alloc(count * sizeof triples[0]);
    struct listpack *lp = listpack_new(0);
    struct hash_iter it;
    struct triple t;
    hash_iter_init(&it, w->value, HASH_NEVER_DUE);
    while (hash_iter_next(&it, &t.field, &t.value, &t.at_ms)) {
        ASSERT(n < count);
        if (t.at_ms < 0) t.at_ms = INT64_MAX;
        t.index = n;
        triples[n++] = t;
    }
    qsort(triples, n, sizeof triples[0], compare_triples);
    for (uint32_t i = 0; i < n; i++) {
        lp = listpack_append_item(lp, &triples[i].field);
        lp = listpack_append_item(lp, &triples[i].value);
        lp = listpack_append_integer(lp, triples[i].at_ms == INT64_MAX ? 0 : triples[i].at_ms);
    }
    put_listpack(w, out, lp);
    mem_free(lp);
    mem_free(triples);
}

static bool next_field(struct rdb_writer *w, struct buf *out)
{
    struct item field;
    int64_t at_ms;
    if (w->has_second) {
        w->has_second = false;
        put_item(w, out, &w->second);
        return true;
    }
    if (!hash_iter_next(&w->hash, &field, &w->second, &at_ms)) return false;
    // Times are written relative to the first, plus one; 0: none.
    if (w->first_ms != INT64_MAX)
        rdb_put_length(out, at_ms < 0 ? 0 : (uint64_t)(at_ms - w->first_ms) + 1);
    put_item(w, out, &field);
    w->has_second = true;
    return true;
}

static void begin_hash(struct rdb_writer *w, struct buf *out)
{
    w->first_ms = hash_next_expiry(w->value);
    bool is_expiring = w->first_ms != INT64_MAX;
    if (is_expiring) rdb_put_u64(out, (uint64_t)w->first_ms);
    if (value_encoding(w->value) == ENC_HASHTABLE) {
        rdb_put_length(out, hash_len(w->value));
        hash_iter_init(&w->hash, w->value, HASH_NEVER_DUE);
        w->next = next_field;
    } else if (is_expiring) {
        put_triples(w, out);
    } else {
        put_pairs(w, out);
    }
}

// --- streams -------------------------------------------------------------------------------------

static bool next_of_stream(struct rdb_writer *w, struct buf *out)
{
    return stream_saver_next(&w->stream, out, &w->spent);
}

static void begin_stream(struct rdb_writer *w)
{
    stream_saver_begin(&w->stream, w->value, w->is_compressed);
    w->next = next_of_stream;
}

// --- steps ---------------------------------------------------------------------------------------

void rdb_writer_begin(struct rdb_writer *w, enum object_type type, struct value value,
                      bool is_compressed)
{
    ASSERT(type != TYPE_STRING);
    *w = (struct rdb_writer){.type = type,
                             .value = value,
                             .is_compressed = is_compressed,
                             .string_max = RDB_WRITER_STRING_MAX};
}

void rdb_writer_begin_string(struct rdb_writer *w, struct slice s, bool is_compressed)
{
    *w = (struct rdb_writer){.type = TYPE_STRING,
                             .rest = s,
                             .is_compressed = is_compressed,
                             .string_max = RDB_WRITER_STRING_MAX};
}

static void begin(struct rdb_writer *w, struct buf *out)
{
    struct slice s = w->rest;
    w->rest.len = 0;
    switch (w->type) {
    case TYPE_STRING: put_string(w, out, s); break;
    case TYPE_LIST: begin_list(w, out); break;
    case TYPE_SET: begin_set(w, out); break;
    case TYPE_ZSET: begin_zset(w, out); break;
    case TYPE_HASH: begin_hash(w, out); break;
    case TYPE_STREAM: begin_stream(w); break;
    }
    w->has_begun = true;
}

static void put_rest(struct rdb_writer *w, struct buf *out, size_t budget)
{
    size_t len = MIN(w->rest.len, MAX(budget - MIN(budget, w->spent), CHUNK_MIN));
    buf_append(out, w->rest.ptr, len);
    w->rest.ptr += len;
    w->rest.len -= len;
    w->spent += len;
}

bool rdb_writer_step(struct rdb_writer *w, struct buf *out, size_t budget)
{
    w->spent = 0;
    if (!w->has_begun) begin(w, out);
    for (;;) {
        if (w->rest.len)
            put_rest(w, out, budget);
        else if (!w->next || !w->next(w, out))
            return true;
        if (w->spent >= budget && (w->rest.len || w->next)) return false;
    }
}

void rdb_writer_end(struct rdb_writer *w)
{
    if (w->next == next_piece) list_pieces_free(&w->pieces);
    if (w->next == next_of_stream) stream_saver_end(&w->stream);
    w->next = NULL;
}

void rdb_put_value(struct buf *out, enum object_type type, struct value value, bool is_compressed)
{
    struct rdb_writer w;
    rdb_writer_begin(&w, type, value, is_compressed);
    w.string_max = SIZE_MAX;
    bool is_done = rdb_writer_step(&w, out, SIZE_MAX);
    ASSERT(is_done);
    rdb_writer_end(&w);
}
