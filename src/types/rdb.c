// SPDX-License-Identifier: BSD-3-Clause
//
// What Redis holds in a listpack, intset or chain of listpacks is written as those bytes, and
// Gyre's small values are the same bytes, so most values are written and read with one copy.
//
// Reading: a layout's function fills loader.value, which begins as the empty value of its type, and
// says whether the bytes were good. Whether it then becomes the caller's or is freed is decided in
// one place, rdb_get_value. Listpacks from outside are checked twice: their structure by
// listpack_is_valid, then what the type wants of them (pairs, no duplicates, ascending scores).
#include "types/rdb.h"

#include <math.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "ds/intset.h"
#include "ds/ziplist.h"
#include "types/hash.h"
#include "types/list.h"
#include "types/set.h"
#include "types/stream.h"
#include "types/zset.h"

#define VERSION_REDIS_7_0 10
#define VERSION_REDIS_7_4 12

// Containers of type 18.
#define NODE_PLAIN  1
#define NODE_PACKED 2

// The latest expiry of a field that Redis knows: 48 bits of milliseconds, less the values that mean
// something else.
#define FIELD_EXPIRY_MAX ((INT64_C(1) << 48) - 2)

// --- writing -------------------------------------------------------------------------------------

// The earliest expiry of the hash's fields, INT64_MAX if none has one. (hash_next_expiry may be
// earlier than the truth.)
static int64_t first_expiry(struct value v)
{
    int64_t first = INT64_MAX, at_ms;
    struct hash_iter it;
    struct item field, value;
    if (hash_next_expiry(v) == INT64_MAX) return INT64_MAX;
    hash_iter_init(&it, v, HASH_NEVER_DUE);
    while (hash_iter_next(&it, &field, &value, &at_ms))
        if (at_ms >= 0 && at_ms < first) first = at_ms;
    return first;
}

static enum rdb_type type_of_hash(struct value v)
{
    bool is_table = value_encoding(v) == ENC_HASHTABLE;
    if (first_expiry(v) == INT64_MAX) return is_table ? RDB_HASH : RDB_HASH_LISTPACK;
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

static void put_item(struct buf *out, const struct item *i, bool is_compressed)
{
    char scratch[NUM_I64_TEXT];
    rdb_put_string(out, item_slice(i, scratch), is_compressed);
}

static void put_listpack(struct buf *out, const struct listpack *lp, bool is_compressed)
{
    rdb_put_string(out, (struct slice){(const char *)lp, listpack_bytes(lp)}, is_compressed);
}

static void put_list(struct buf *out, struct value v, bool is_compressed)
{
    struct list_pieces pieces;
    struct list_piece piece;
    rdb_put_length(out, list_piece_count(v));
    list_pieces_init(&pieces, v);
    while (list_pieces_next(&pieces, &piece)) {
        rdb_put_length(out, piece.is_plain ? NODE_PLAIN : NODE_PACKED);
        rdb_put_string(out, (struct slice){piece.bytes, piece.len}, is_compressed);
    }
}

static void put_set(struct buf *out, struct value v, bool is_compressed)
{
    if (value_encoding(v) == ENC_INTSET) {
        struct slice bytes;
        bytes.ptr = set_intset(v, &bytes.len);
        rdb_put_string(out, bytes, is_compressed);
        return;
    }
    struct set_iter it;
    struct item member;
    rdb_put_length(out, set_len(v));
    set_iter_init(&it, v);
    while (set_iter_next(&it, &member)) put_item(out, &member, is_compressed);
}

static void put_zset(struct buf *out, struct value v, bool is_compressed)
{
    const struct listpack *lp = zset_listpack(v);
    if (lp) {
        put_listpack(out, lp, is_compressed);
        return;
    }
    struct zset_iter it;
    struct item member;
    double score;
    uint64_t len = zset_len(v);
    rdb_put_length(out, len);
    // From the highest score down, as Redis does: who inserts the members one by one then always
    // does so at the head.
    zset_iter_init(&it, v, len - 1, true);
    while (zset_iter_next(&it, &member, &score)) {
        put_item(out, &member, is_compressed);
        rdb_put_double(out, score);
    }
}

// The fields and values of a small hash in turn, as Redis keeps them.
static struct listpack *pairs_of(struct value v)
{
    struct listpack *lp = listpack_new(0);
    struct hash_iter it;
    struct item field, value;
    hash_iter_init(&it, v, HASH_NEVER_DUE);
    while (hash_iter_next(&it, &field, &value, NULL))
        lp = listpack_append_item(listpack_append_item(lp, &field), &value);
    return lp;
}

static void put_plain_hash(struct buf *out, struct value v, bool is_compressed)
{
    if (value_encoding(v) != ENC_HASHTABLE) {
        struct listpack *lp = pairs_of(v);
        put_listpack(out, lp, is_compressed);
        mem_free(lp);
        return;
    }
    struct hash_iter it;
    struct item field, value;
    rdb_put_length(out, hash_len(v));
    hash_iter_init(&it, v, HASH_NEVER_DUE);
    while (hash_iter_next(&it, &field, &value, NULL)) {
        put_item(out, &field, is_compressed);
        put_item(out, &value, is_compressed);
    }
}

// Times are written relative to the first, plus one; 0: none.
static void put_expiring_table(struct buf *out, struct value v, int64_t first_ms,
                               bool is_compressed)
{
    struct hash_iter it;
    struct item field, value;
    int64_t at_ms;
    rdb_put_length(out, hash_len(v));
    hash_iter_init(&it, v, HASH_NEVER_DUE);
    while (hash_iter_next(&it, &field, &value, &at_ms)) {
        rdb_put_length(out, at_ms < 0 ? 0 : (uint64_t)(at_ms - first_ms) + 1);
        put_item(out, &field, is_compressed);
        put_item(out, &value, is_compressed);
    }
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
static void put_triples(struct buf *out, struct value v, bool is_compressed)
{
    uint32_t count = (uint32_t)hash_len(v), n = 0;
    struct triple *triples = mem_alloc(count * sizeof triples[0]);
    struct listpack *lp = listpack_new(0);
    struct hash_iter it;
    struct triple t;
    hash_iter_init(&it, v, HASH_NEVER_DUE);
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
    put_listpack(out, lp, is_compressed);
    mem_free(lp);
    mem_free(triples);
}

static void put_hash(struct buf *out, struct value v, bool is_compressed)
{
    int64_t first_ms = first_expiry(v);
    if (first_ms == INT64_MAX) {
        put_plain_hash(out, v, is_compressed);
        return;
    }
    rdb_put_u64(out, (uint64_t)first_ms);
    if (value_encoding(v) == ENC_HASHTABLE)
        put_expiring_table(out, v, first_ms, is_compressed);
    else
        put_triples(out, v, is_compressed);
}

void rdb_put_value(struct buf *out, enum object_type type, struct value value, bool is_compressed)
{
    switch (type) {
    case TYPE_LIST: put_list(out, value, is_compressed); break;
    case TYPE_SET: put_set(out, value, is_compressed); break;
    case TYPE_ZSET: put_zset(out, value, is_compressed); break;
    case TYPE_HASH: put_hash(out, value, is_compressed); break;
    case TYPE_STREAM: stream_save(out, value, is_compressed); break;
    case TYPE_STRING: ASSERT(type != TYPE_STRING); break;
    }
}

// --- reading: parts ------------------------------------------------------------------------------

struct loader {
    struct rdb_reader *in;
    const struct value_limits *limits;
    struct buf scratch[2]; // owned
    struct value value;    // what comes out; owned, whatever happens
};

static struct slice get_string(struct loader *l)
{
    return rdb_get_string(l->in, &l->scratch[0]);
}

// Two strings, both of which stay until the next call.
static bool get_pair(struct loader *l, struct slice *first, struct slice *second)
{
    *first = rdb_get_string(l->in, &l->scratch[0]);
    *second = rdb_get_string(l->in, &l->scratch[1]);
    return !l->in->is_bad;
}

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (!x->ptr != !y->ptr) return x->ptr ? 1 : -1;
    if (!x->ptr) return x->integer < y->integer ? -1 : x->integer > y->integer;
    return slice_cmp((struct slice){x->ptr, x->len}, (struct slice){y->ptr, y->len});
}

// Are there two equal elements among those number 0, step, 2 * step …? The listpack is one of our
// own, where what is an integer is written as one.
static bool has_duplicates(const struct listpack *lp, uint32_t step)
{
    uint32_t count = listpack_count(lp) / step, n = 0;
    struct item *items = mem_alloc(MAX(count, 1u) * sizeof items[0]);
    for (uint32_t at = listpack_first(lp); at && n < count;) {
        at = listpack_get(lp, at, &items[n++]);
        for (uint32_t i = 1; i < step && at; i++) at = listpack_next(lp, at);
    }
    qsort(items, n, sizeof items[0], compare_items);
    bool has = false;
    for (uint32_t i = 1; i < n && !has; i++) has = compare_items(&items[i - 1], &items[i]) == 0;
    mem_free(items);
    return has;
}

// The next string as a listpack of our own, owned by the caller: it is one or, if `convert` is not
// NULL, something older. NULL if it is bad.
static struct listpack *get_listpack(struct loader *l,
                                     struct listpack *(*convert)(const void *bytes, size_t len))
{
    struct slice s = get_string(l);
    uint32_t count;
    if (l->in->is_bad) return NULL;
    if (convert) return convert(s.ptr, s.len);
    return listpack_is_valid(s.ptr, s.len, &count) ? listpack_from_bytes(s.ptr, s.len) : NULL;
}

// A listpack that must hold tuples of `step` elements, the first of which differ.
static struct listpack *get_tuples(struct loader *l,
                                   struct listpack *(*convert)(const void *bytes, size_t len),
                                   uint32_t step)
{
    struct listpack *lp = get_listpack(l, convert);
    if (lp && (listpack_count(lp) % step || has_duplicates(lp, step))) {
        mem_free(lp);
        lp = NULL;
    }
    return lp;
}

// --- reading: lists ------------------------------------------------------------------------------

static bool load_list(struct loader *l)
{
    for (uint64_t n = rdb_get_length(l->in); n && !l->in->is_bad; n--) {
        struct slice s = get_string(l);
        if (!l->in->is_bad) list_push(&l->value, false, s, l->limits);
    }
    return true;
}

static bool append_ziplist(struct loader *l)
{
    struct slice s = get_string(l);
    struct listpack *lp = l->in->is_bad ? NULL : ziplist_to_listpack(s.ptr, s.len);
    if (!lp) return false;
    list_append_listpack(&l->value, lp, listpack_bytes(lp), l->limits);
    mem_free(lp);
    return true;
}

static bool load_list_ziplists(struct loader *l)
{
    for (uint64_t n = rdb_get_length(l->in); n; n--)
        if (!append_ziplist(l)) return false;
    return true;
}

static bool append_node(struct loader *l)
{
    uint64_t container = rdb_get_length(l->in);
    struct slice s = get_string(l);
    uint32_t count;
    if (l->in->is_bad) return false;
    if (container == NODE_PLAIN) {
        list_append_plain(&l->value, s, l->limits);
        return true;
    }
    if (container != NODE_PACKED || !listpack_is_valid(s.ptr, s.len, &count)) return false;
    list_append_listpack(&l->value, s.ptr, s.len, l->limits);
    return true;
}

static bool load_list_nodes(struct loader *l)
{
    for (uint64_t n = rdb_get_length(l->in); n; n--)
        if (!append_node(l)) return false;
    return true;
}

// --- reading: sets -------------------------------------------------------------------------------

static bool load_set(struct loader *l)
{
    for (uint64_t n = rdb_get_length(l->in); n; n--) {
        struct slice member = get_string(l);
        if (l->in->is_bad || !set_add(&l->value, member, l->limits)) return false;
    }
    return true;
}

static void take_set(struct loader *l, struct value set)
{
    set_free(l->value);
    l->value = set;
    if (set_len(set)) set_fit(&l->value, l->limits);
}

static bool load_set_intset(struct loader *l)
{
    struct slice s = get_string(l);
    if (l->in->is_bad || !intset_is_valid(s.ptr, s.len)) return false;
    take_set(l, set_of_intset(s.ptr, s.len));
    return true;
}

static bool load_set_listpack(struct loader *l)
{
    struct listpack *lp = get_tuples(l, NULL, 1);
    if (!lp) return false;
    take_set(l, set_of_listpack(lp));
    return true;
}

// --- reading: sorted sets ------------------------------------------------------------------------

static bool load_zset_with(struct loader *l, double (*get_score)(struct rdb_reader *in))
{
    uint64_t n = rdb_get_length(l->in);
    zset_free(l->value);
    l->value = zset_new_for(n, 0, l->limits);
    for (; n; n--) {
        struct slice member = get_string(l);
        double score = get_score(l->in);
        if (l->in->is_bad || isnan(score) || !zset_set(&l->value, member, score, l->limits))
            return false;
    }
    return true;
}

static bool load_zset_old(struct loader *l)
{
    return load_zset_with(l, rdb_get_old_double);
}

static bool load_zset(struct loader *l)
{
    return load_zset_with(l, rdb_get_double);
}

static bool load_zset_packed(struct loader *l,
                             struct listpack *(*convert)(const void *bytes, size_t len))
{
    struct value zset;
    struct listpack *lp = get_listpack(l, convert);
    if (!lp) return false;
    if (!zset_of_listpack(lp, l->limits, &zset)) {
        mem_free(lp);
        return false;
    }
    zset_free(l->value);
    l->value = zset;
    return true;
}

static bool load_zset_ziplist(struct loader *l)
{
    return load_zset_packed(l, ziplist_to_listpack);
}

static bool load_zset_listpack(struct loader *l)
{
    return load_zset_packed(l, NULL);
}

// --- reading: hashes -----------------------------------------------------------------------------

// at_ms: the field's expiry, or -1. False if the field is there already.
static bool add_field(struct loader *l, struct slice field, struct slice value, int64_t at_ms)
{
    if (!hash_set(&l->value, field, value, HASH_NEVER_DUE, l->limits)) return false;
    if (at_ms >= 0) hash_set_expiry(&l->value, field, at_ms);
    return true;
}

static bool load_hash(struct loader *l)
{
    struct slice field, value;
    for (uint64_t n = rdb_get_length(l->in); n; n--)
        if (!get_pair(l, &field, &value) || !add_field(l, field, value, -1)) return false;
    return true;
}

static bool load_hash_metadata(struct loader *l)
{
    struct slice field, value;
    uint64_t first_ms = rdb_get_u64(l->in);
    if (first_ms > FIELD_EXPIRY_MAX) return false;
    for (uint64_t n = rdb_get_length(l->in); n; n--) {
        uint64_t after = rdb_get_length(l->in); // the first one, plus 1
        if (!get_pair(l, &field, &value) || after > FIELD_EXPIRY_MAX) return false;
        int64_t at_ms = after ? (int64_t)(first_ms + after - 1) : -1;
        if (at_ms > FIELD_EXPIRY_MAX || !add_field(l, field, value, at_ms)) return false;
    }
    return true;
}

static bool load_hash_packed(struct loader *l,
                             struct listpack *(*convert)(const void *bytes, size_t len))
{
    struct listpack *lp = get_tuples(l, convert, 2);
    if (!lp) return false;
    hash_free(l->value);
    l->value = hash_of_listpack(lp);
    hash_fit(&l->value, l->limits);
    return true;
}

static bool load_hash_zipmap(struct loader *l)
{
    return load_hash_packed(l, ziplist_zipmap_to_listpack);
}

static bool load_hash_ziplist(struct loader *l)
{
    return load_hash_packed(l, ziplist_to_listpack);
}

static bool load_hash_listpack(struct loader *l)
{
    return load_hash_packed(l, NULL);
}

static bool add_triples(struct loader *l, const struct listpack *lp)
{
    struct item field, value, expiry;
    char a[NUM_I64_TEXT], b[NUM_I64_TEXT];
    for (uint32_t at = listpack_first(lp); at;) {
        at = listpack_get(lp, at, &field);
        at = listpack_get(lp, at, &value);
        at = listpack_get(lp, at, &expiry);
        int64_t at_ms = expiry.integer;
        if (expiry.ptr || at_ms < 0 || at_ms > FIELD_EXPIRY_MAX) return false;
        add_field(l, item_slice(&field, a), item_slice(&value, b), at_ms ? at_ms : -1);
    }
    return true;
}

static bool load_hash_listpack_ex(struct loader *l)
{
    rdb_get_u64(l->in); // the first expiry, which the triples tell as well
    struct listpack *lp = get_tuples(l, NULL, 3);
    bool is_good = lp && add_triples(l, lp);
    mem_free(lp);
    return is_good;
}

// --- reading -------------------------------------------------------------------------------------

static const struct layout {
    enum object_type type;
    bool (*load)(struct loader *l); // NULL: strings, streams, and what nobody writes
} layouts[] = {
    [RDB_STRING] = {TYPE_STRING, NULL},
    [RDB_LIST] = {TYPE_LIST, load_list},
    [RDB_LIST_ZIPLIST] = {TYPE_LIST, append_ziplist},
    [RDB_LIST_QUICKLIST] = {TYPE_LIST, load_list_ziplists},
    [RDB_LIST_QUICKLIST_2] = {TYPE_LIST, load_list_nodes},
    [RDB_SET] = {TYPE_SET, load_set},
    [RDB_SET_INTSET] = {TYPE_SET, load_set_intset},
    [RDB_SET_LISTPACK] = {TYPE_SET, load_set_listpack},
    [RDB_ZSET] = {TYPE_ZSET, load_zset_old},
    [RDB_ZSET_2] = {TYPE_ZSET, load_zset},
    [RDB_ZSET_ZIPLIST] = {TYPE_ZSET, load_zset_ziplist},
    [RDB_ZSET_LISTPACK] = {TYPE_ZSET, load_zset_listpack},
    [RDB_HASH] = {TYPE_HASH, load_hash},
    [RDB_HASH_ZIPMAP] = {TYPE_HASH, load_hash_zipmap},
    [RDB_HASH_ZIPLIST] = {TYPE_HASH, load_hash_ziplist},
    [RDB_HASH_LISTPACK] = {TYPE_HASH, load_hash_listpack},
    [RDB_HASH_METADATA] = {TYPE_HASH, load_hash_metadata},
    [RDB_HASH_LISTPACK_EX] = {TYPE_HASH, load_hash_listpack_ex},
    [RDB_STREAM_LISTPACKS] = {TYPE_STREAM, NULL},
    [RDB_STREAM_LISTPACKS_2] = {TYPE_STREAM, NULL},
    [RDB_STREAM_LISTPACKS_3] = {TYPE_STREAM, NULL},
};

static struct value empty_of(enum object_type type)
{
    switch (type) {
    case TYPE_LIST: return list_new();
    case TYPE_SET: return set_new();
    case TYPE_ZSET: return zset_new();
    default: ASSERT(type == TYPE_HASH); return hash_new();
    }
}

static uint64_t len_of(enum object_type type, struct value v)
{
    switch (type) {
    case TYPE_LIST: return list_len(v);
    case TYPE_SET: return set_len(v);
    case TYPE_ZSET: return zset_len(v);
    default: ASSERT(type == TYPE_HASH); return hash_len(v);
    }
}

static bool get_collection(struct rdb_reader *in, const struct layout *layout,
                           const struct value_limits *limits, struct value *out)
{
    struct loader l = {.in = in, .limits = limits, .value = empty_of(layout->type)};
    bool is_good = layout->load(&l) && !in->is_bad && len_of(layout->type, l.value) > 0;
    if (is_good)
        *out = l.value;
    else
        value_free(layout->type, l.value);
    buf_free(&l.scratch[0]);
    buf_free(&l.scratch[1]);
    return is_good;
}

bool rdb_get_value(struct rdb_reader *in, uint8_t rdb_type, const struct value_limits *limits,
                   struct rdb_value *out)
{
    const struct layout *layout = &layouts[rdb_type < ARRAY_LEN(layouts) ? rdb_type : 0];
    out->type = layout->type;
    if (layout->load) return get_collection(in, layout, limits, &out->value);
    if (layout->type == TYPE_STREAM) return stream_load(in, rdb_type, limits, &out->value);
    if (rdb_type != RDB_STRING) return false;
    out->string = rdb_get_string(in, &out->scratch);
    return !in->is_bad;
}
