// SPDX-License-Identifier: BSD-3-Clause
//
// Reading values; they are written by types/rdb_writer.c. What Redis holds in a listpack, intset or
// chain of listpacks is read as those bytes, so most small values take one copy.
//
// A layout's function fills loader.value, which begins as the empty value of its type, and says
// whether the bytes were good. Whether it then becomes the caller's or is freed is decided in one
// place, rdb_get_value. Listpacks from outside are checked twice: their structure by
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

// The latest expiry of a field that Redis knows: 48 bits of milliseconds, less the values that mean
// something else.
#define FIELD_EXPIRY_MAX ((INT64_C(1) << 48) - 2)

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
    if (container == RDB_NODE_PLAIN) {
        list_append_plain(&l->value, s, l->limits);
        return true;
    }
    if (container != RDB_NODE_PACKED || !listpack_is_valid(s.ptr, s.len, &count)) return false;
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
                           const struct value_limits *limits, struct rdb_value *out)
{
    struct loader l = {.in = in, .limits = limits, .value = empty_of(layout->type)};
    bool is_good = layout->load(&l) && !in->is_bad;
    out->is_empty = is_good && len_of(layout->type, l.value) == 0;
    if (out->is_empty) is_good = false;
    if (is_good)
        out->value = l.value;
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
    out->is_empty = false;
    if (layout->load) return get_collection(in, layout, limits, out);
    if (layout->type == TYPE_STREAM) return stream_load(in, rdb_type, limits, &out->value);
    if (rdb_type != RDB_STRING) return false;
    out->string = rdb_get_string(in, &out->scratch);
    return !in->is_bad;
}

// --- skipping ------------------------------------------------------------------------------------

// A layout as what there is to pass over: bytes at the head, then once, or as often as a length
// says, lengths, strings and a tail.
static const struct outline {
    bool is_counted, has_old_double;
    uint8_t head_bytes, lengths, strings, tail_bytes;
} outlines[] = {
    [RDB_STRING] = {.strings = 1},
    [RDB_LIST] = {.is_counted = true, .strings = 1},
    [RDB_LIST_ZIPLIST] = {.strings = 1},
    [RDB_LIST_QUICKLIST] = {.is_counted = true, .strings = 1},
    [RDB_LIST_QUICKLIST_2] = {.is_counted = true, .lengths = 1, .strings = 1},
    [RDB_SET] = {.is_counted = true, .strings = 1},
    [RDB_SET_INTSET] = {.strings = 1},
    [RDB_SET_LISTPACK] = {.strings = 1},
    [RDB_ZSET] = {.is_counted = true, .strings = 1, .has_old_double = true},
    [RDB_ZSET_2] = {.is_counted = true, .strings = 1, .tail_bytes = 8},
    [RDB_ZSET_ZIPLIST] = {.strings = 1},
    [RDB_ZSET_LISTPACK] = {.strings = 1},
    [RDB_HASH] = {.is_counted = true, .strings = 2},
    [RDB_HASH_ZIPMAP] = {.strings = 1},
    [RDB_HASH_ZIPLIST] = {.strings = 1},
    [RDB_HASH_LISTPACK] = {.strings = 1},
    [RDB_HASH_METADATA] = {.is_counted = true, .head_bytes = 8, .lengths = 1, .strings = 2},
    [RDB_HASH_LISTPACK_EX] = {.head_bytes = 8, .strings = 1},
};

static bool is_stream(uint8_t rdb_type)
{
    return rdb_type < ARRAY_LEN(layouts) && layouts[rdb_type].type == TYPE_STREAM;
}

bool rdb_is_known_type(uint8_t rdb_type)
{
    return is_stream(rdb_type) || (rdb_type < ARRAY_LEN(outlines) && outlines[rdb_type].strings);
}

bool rdb_skip_value(struct rdb_reader *in, uint8_t rdb_type)
{
    if (is_stream(rdb_type)) return stream_skip(in, rdb_type);
    if (!rdb_is_known_type(rdb_type)) return false;
    const struct outline *o = &outlines[rdb_type];
    if (o->head_bytes) rdb_skip_bytes(in, o->head_bytes);
    for (uint64_t n = o->is_counted ? rdb_get_length(in) : 1; n && !in->is_bad; n--) {
        if (o->lengths) rdb_skip_lengths(in, o->lengths);
        for (unsigned i = 0; i < o->strings; i++) rdb_skip_string(in);
        if (o->has_old_double) rdb_skip_old_double(in);
        if (o->tail_bytes) rdb_skip_bytes(in, o->tail_bytes);
    }
    return !in->is_bad;
}
