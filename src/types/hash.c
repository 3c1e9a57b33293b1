// SPDX-License-Identifier: BSD-3-Clause
//
// The encodings are drawn in hash.h. Here: which of them does what. What a table does stands in
// types/hash_table.c, the format of packs in types/hash_pack.c.
#include "types/hash.h"

#include "base/assert.h"
#include "base/mem.h"

#define PAIR_EXTRA 32 // bytes that a pair has at most beside its own

static inline bool is_table(struct value v)
{
    return value_encoding(v) == ENC_HASHTABLE;
}

static inline bool has_expiries(struct value v) // packs
{
    return value_encoding(v) == ENC_LISTPACK_EX;
}

static inline struct hash_table *table_of(struct value v)
{
    return value_object(v);
}

static inline struct hash_expires *expires_of(struct value v) // ENC_LISTPACK_EX
{
    return value_object(v);
}

static inline struct hash_pack *pack_of(struct value v)
{
    return has_expiries(v) ? expires_of(v)->pack : value_object(v);
}

static inline void set_pack(struct value *v, struct hash_pack *p)
{
    if (has_expiries(*v))
        expires_of(*v)->pack = p;
    else
        *v = value_of(p, ENC_LISTPACK);
}

static inline uint32_t tail_of(struct value v)
{
    return has_expiries(v) ? HASH_PACK_EXPIRY_BYTES : 0;
}

// --- packs ---------------------------------------------------------------------------------------

static inline struct hash_pack_place pack_find(struct value v, struct slice field)
{
    return hash_pack_find(pack_of(v), field, tail_of(v));
}

static inline struct hash_pack_pair pack_read(struct value v, uint32_t at)
{
    struct hash_pack_pair pair;
    hash_pack_read(pack_of(v), at, tail_of(v), &pair);
    return pair;
}

// Unix ms, or -1.
static inline int64_t expiry_in(const struct hash_pack *p, const struct hash_pack_pair *pair)
{
    uint64_t at_ms = hash_pack_expiry(p, pair->expiry_at);
    return at_ms ? (int64_t)at_ms : -1;
}

static inline int64_t pack_expiry(struct value v, const struct hash_pack_pair *pair)
{
    return has_expiries(v) ? expiry_in(pack_of(v), pair) : -1;
}

static inline bool is_due(int64_t at_ms, int64_t now_ms)
{
    return at_ms >= 0 && at_ms < now_ms;
}

// A field whose expiry was `gone_ms` has another now, or left. Looks the first one up if it may be
// that.
static void first_changed(struct hash_expires *x, int64_t gone_ms)
{
    struct hash_pack_pair pair;
    if (gone_ms > x->first_ms || gone_ms < 0) return;
    x->first_ms = INT64_MAX;
    uint32_t at = hash_pack_first(x->pack);
    for (uint32_t left = hash_pack_count(x->pack); left; left--, at = pair.next) {
        hash_pack_read(x->pack, at, HASH_PACK_EXPIRY_BYTES, &pair);
        int64_t at_ms = expiry_in(x->pack, &pair);
        if (at_ms >= 0) x->first_ms = MIN(x->first_ms, at_ms);
    }
}

// Puts an expiry (Unix ms, or -1) in the place of the one that the pair has.
static void pack_set_expiry(struct hash_expires *x, const struct hash_pack_pair *pair,
                            int64_t at_ms)
{
    int64_t old_ms = expiry_in(x->pack, pair);
    hash_pack_set_expiry(x->pack, pair->expiry_at, at_ms < 0 ? 0 : (uint64_t)at_ms);
    first_changed(x, old_ms);
    if (at_ms >= 0) x->first_ms = MIN(x->first_ms, at_ms);
}

// Puts another value to the field at this place; true if the field was due.
static bool pack_replace(struct value *v, const struct hash_pack_place *place, struct slice value,
                         int64_t now_ms, bool keeps_expiry)
{
    set_pack(v, hash_pack_replace(pack_of(*v), place, value, tail_of(*v)));
    if (LIKELY(!has_expiries(*v))) return false;
    struct hash_pack_pair pair = pack_read(*v, place->at);
    int64_t at_ms = pack_expiry(*v, &pair);
    bool was_due = is_due(at_ms, now_ms);
    if (at_ms >= 0 && (was_due || !keeps_expiry)) pack_set_expiry(expires_of(*v), &pair, -1);
    return was_due;
}

// False if the field is due.
static bool pack_remove(struct value *v, const struct hash_pack_place *place, int64_t now_ms)
{
    struct hash_pack_pair pair = pack_read(*v, place->at);
    int64_t at_ms = pack_expiry(*v, &pair);
    if (is_due(at_ms, now_ms)) return false;
    set_pack(v, hash_pack_remove(pack_of(*v), place, tail_of(*v)));
    if (has_expiries(*v)) first_changed(expires_of(*v), at_ms);
    return true;
}

// From now on the pack has room for expiries.
static void pack_add_expiries(struct value *v)
{
    struct hash_expires *x = hash_expires_new();
    x->first_ms = INT64_MAX;
    x->pack = hash_pack_add_tails(pack_of(*v));
    *v = value_of(x, ENC_LISTPACK_EX);
}

// --- from pack to table --------------------------------------------------------------------------

static void make_table(struct value *v)
{
    char text[NUM_I64_TEXT];
    struct hash_pack_pair pair;
    uint32_t tail = tail_of(*v);
    if (is_table(*v)) return;
    struct hash_table *t = hash_table_new();
    struct hash_pack *p = pack_of(*v);
    if (has_expiries(*v)) { // the keyspace knows its address: it moves over as it is
        t->expires = expires_of(*v);
        t->expires->segments = NULL;
        t->expires->count = t->expires->segment_cap = t->expires->first_cap = 0;
    }
    uint32_t at = hash_pack_first(p);
    for (uint32_t left = hash_pack_count(p); left; left--, at = pair.next) {
        hash_pack_read(p, at, tail, &pair);
        int64_t at_ms = tail ? expiry_in(p, &pair) : -1;
        hash_table_add(t, pair.field, item_slice(&pair.value, text), at_ms);
    }
    mem_free(p);
    *v = value_of(t, ENC_HASHTABLE);
}

// May a pack hold this field and value beside what it has?
static bool pack_can_take(struct value v, struct slice field, struct slice value,
                          const struct value_limits *limits)
{
    uint64_t longest = limits->hash_max_listpack_value;
    if (field.len > longest || value.len > longest) return false;
    return field.len + value.len + mem_usable_bytes(pack_of(v)) + PAIR_EXTRA <= HASH_PACK_MAX_BYTES;
}

static bool is_too_long(uint64_t len, const struct value_limits *limits)
{
    return (int64_t)len > limits->hash_max_listpack_entries;
}

void hash_fit(struct value *v, const struct value_limits *limits)
{
    struct hash_iter it;
    struct item field, value;
    if (is_table(*v)) return;
    bool fits = !is_too_long(hash_len(*v), limits);
    hash_iter_init(&it, *v, HASH_NEVER_DUE);
    while (fits && hash_iter_next(&it, &field, &value, NULL))
        fits = field.len <= limits->hash_max_listpack_value &&
               value.len <= limits->hash_max_listpack_value;
    if (!fits) make_table(v);
}

// --- one field -----------------------------------------------------------------------------------

struct value hash_new_sized(size_t pairs_bytes)
{
    return value_of(hash_pack_new(pairs_bytes + 1), ENC_LISTPACK);
}

struct value hash_new(void)
{
    return hash_new_sized(0);
}

uint64_t hash_len(struct value v)
{
    if (is_table(v)) return table_of(v)->dict.count;
    return hash_pack_count(pack_of(v));
}

bool hash_get(struct value v, struct slice field, int64_t now_ms, struct item *out)
{
    if (is_table(v)) {
        const struct hash_item *i = hash_table_find(table_of(v), field);
        if (!i || hash_table_is_due(table_of(v), i, now_ms)) return false;
        *out = item_of(hash_item_value(i));
        return true;
    }
    struct hash_pack_place place = pack_find(v, field);
    if (!place.at) return false;
    struct hash_pack_pair pair = pack_read(v, place.at);
    *out = pair.value;
    return !is_due(pack_expiry(v, &pair), now_ms);
}

static inline bool set(struct value *v, struct slice field, struct slice value, int64_t now_ms,
                       const struct value_limits *limits, bool keeps_expiry)
{
    if (!is_table(*v) && pack_can_take(*v, field, value, limits)) {
        struct hash_pack_place place = pack_find(*v, field);
        if (LIKELY(!is_too_long(hash_len(*v) + !place.at, limits))) {
            if (place.at) return pack_replace(v, &place, value, now_ms, keeps_expiry);
            set_pack(v, hash_pack_append(pack_of(*v), &place.end, field, value, tail_of(*v)));
            return true;
        }
    }
    make_table(v);
    return hash_table_set(table_of(*v), field, value, now_ms, keeps_expiry);
}

bool hash_set(struct value *v, struct slice field, struct slice value, int64_t now_ms,
              const struct value_limits *limits)
{
    return set(v, field, value, now_ms, limits, false);
}

bool hash_put(struct value *v, struct slice field, struct slice value, int64_t now_ms,
              const struct value_limits *limits)
{
    return set(v, field, value, now_ms, limits, true);
}

bool hash_remove(struct value *v, struct slice field, int64_t now_ms)
{
    if (is_table(*v)) {
        struct hash_item *i = hash_table_find(table_of(*v), field);
        if (!i || hash_table_is_due(table_of(*v), i, now_ms)) return false;
        hash_table_remove(table_of(*v), i);
        return true;
    }
    struct hash_pack_place place = pack_find(*v, field);
    return place.at && pack_remove(v, &place, now_ms);
}

// --- walking -------------------------------------------------------------------------------------

void hash_iter_init(struct hash_iter *it, struct value v, int64_t now_ms)
{
    *it = (struct hash_iter){.hash = v, .now_ms = now_ms};
    if (is_table(v)) return;
    it->bucket = hash_pack_count(pack_of(v));
    it->at = hash_pack_first(pack_of(v));
}

static bool next_in_table(struct hash_iter *it, struct item *field, struct item *value,
                          int64_t *at_ms)
{
    const struct hash_table *t = table_of(it->hash);
    const struct hash_item *i = dict_next(&t->dict, &it->bucket, &it->at);
    if (!i) return false;
    *field = item_of(hash_item_field(i));
    *value = item_of(hash_item_value(i));
    *at_ms = hash_table_expiry(t, i);
    return true;
}

static bool next_in_pack(struct hash_iter *it, struct item *field, struct item *value,
                         int64_t *at_ms)
{
    if (!it->bucket) return false;
    struct hash_pack_pair pair = pack_read(it->hash, it->at);
    *field = item_of(pair.field);
    *value = pair.value;
    *at_ms = pack_expiry(it->hash, &pair);
    it->at = pair.next;
    it->bucket--;
    return true;
}

bool hash_iter_next(struct hash_iter *it, struct item *field, struct item *value,
                    int64_t *expire_at_ms)
{
    bool is_in_table = is_table(it->hash);
    int64_t at_ms = -1;
    do {
        if (is_in_table ? !next_in_table(it, field, value, &at_ms)
                        : !next_in_pack(it, field, value, &at_ms))
            return false;
    } while (is_due(at_ms, it->now_ms));
    if (expire_at_ms) *expire_at_ms = at_ms;
    return true;
}

struct scan {
    const struct hash_table *table;
    int64_t now_ms;
    hash_visit_fn visit;
    void *arg;
};

static void scan_visit(void *item, void *arg)
{
    const struct scan *s = arg;
    if (hash_table_is_due(s->table, item, s->now_ms)) return;
    struct item field = item_of(hash_item_field(item)), value = item_of(hash_item_value(item));
    s->visit(s->arg, &field, &value);
}

uint64_t hash_scan(struct value v, uint64_t cursor, int64_t now_ms, hash_visit_fn visit, void *arg)
{
    if (is_table(v)) {
        struct scan s = {table_of(v), now_ms, visit, arg};
        return dict_scan(&table_of(v)->dict, cursor, scan_visit, &s);
    }
    struct hash_iter it;
    struct item field, value;
    hash_iter_init(&it, v, now_ms);
    while (hash_iter_next(&it, &field, &value, NULL)) visit(arg, &field, &value);
    return 0;
}

// --- expiry --------------------------------------------------------------------------------------

void hash_set_expiry(struct value *v, struct slice field, int64_t at_ms)
{
    if (is_table(*v)) {
        hash_table_set_expiry(table_of(*v), hash_table_find(table_of(*v), field), at_ms);
        return;
    }
    if (!has_expiries(*v)) {
        if (at_ms < 0) return;
        pack_add_expiries(v);
    }
    struct hash_pack_place place = pack_find(*v, field);
    ASSERT(place.at);
    struct hash_pack_pair pair = pack_read(*v, place.at);
    // A pack says 0 for "never": what was due at the beginning of 1970 is due a millisecond later.
    pack_set_expiry(expires_of(*v), &pair, at_ms == 0 ? 1 : at_ms);
}

int64_t hash_expiry(struct value v, struct slice field, int64_t now_ms)
{
    int64_t at_ms;
    if (is_table(v)) {
        const struct hash_item *i = hash_table_find(table_of(v), field);
        if (!i) return -2;
        at_ms = hash_table_expiry(table_of(v), i);
    } else {
        struct hash_pack_place place = pack_find(v, field);
        if (!place.at) return -2;
        struct hash_pack_pair pair = pack_read(v, place.at);
        at_ms = pack_expiry(v, &pair);
    }
    return is_due(at_ms, now_ms) ? -2 : at_ms;
}

int64_t hash_next_expiry(struct value v)
{
    if (has_expiries(v)) return expires_of(v)->first_ms;
    if (!is_table(v) || !table_of(v)->expires) return INT64_MAX;
    return hash_expires_first_ms(table_of(v)->expires);
}

typedef void (*removed_fn)(void *arg, struct slice field);

static uint32_t expire_in_table(struct hash_table *t, int64_t now_ms, uint32_t budget,
                                removed_fn removed, void *arg)
{
    uint32_t n = 0;
    for (struct hash_item *i; n < budget && (i = hash_table_first_due(t, now_ms)); n++) {
        if (removed) removed(arg, hash_item_field(i));
        hash_table_remove(t, i);
    }
    return n;
}

static uint32_t expire_in_pack(struct hash_expires *x, int64_t now_ms, uint32_t budget,
                               removed_fn removed, void *arg)
{
    uint32_t n = 0, left = hash_pack_count(x->pack), at = hash_pack_first(x->pack);
    if (x->first_ms >= now_ms) return 0;
    for (; left && n < budget; left--) {
        struct hash_pack_place place = {.at = at, .left = left};
        struct hash_pack_pair pair;
        hash_pack_read(x->pack, at, HASH_PACK_EXPIRY_BYTES, &pair);
        at = pair.next;
        if (!is_due(expiry_in(x->pack, &pair), now_ms)) continue;
        if (removed) removed(arg, pair.field);
        x->pack = hash_pack_remove(x->pack, &place, HASH_PACK_EXPIRY_BYTES);
        at = place.at;
        n++;
    }
    first_changed(x, x->first_ms);
    return n;
}

uint32_t hash_expire_due(struct value *v, int64_t now_ms, uint32_t budget, removed_fn removed,
                         void *arg)
{
    if (is_table(*v)) return expire_in_table(table_of(*v), now_ms, budget, removed, arg);
    if (!has_expiries(*v)) return 0;
    return expire_in_pack(expires_of(*v), now_ms, budget, removed, arg);
}

// --- whole hashes --------------------------------------------------------------------------------

struct value hash_of_listpack(struct listpack *lp)
{
    char field_text[NUM_I64_TEXT], value_text[NUM_I64_TEXT];
    struct hash_pack *p = hash_pack_new(listpack_bytes(lp));
    uint32_t end = hash_pack_first(p);
    struct item field, value;
    for (uint32_t at = listpack_first(lp); at;) {
        at = listpack_get(lp, listpack_get(lp, at, &field), &value);
        p = hash_pack_append(p, &end, item_slice(&field, field_text),
                             item_slice(&value, value_text), 0);
    }
    struct hash_pack *fitting = hash_pack_copy(p, 0);
    mem_free(p);
    mem_free(lp);
    return value_of(fitting, ENC_LISTPACK);
}

void hash_free(struct value v)
{
    while (!hash_drain(&v, UINT32_MAX))
        ;
}

bool hash_drain(struct value *v, uint32_t budget)
{
    if (is_table(*v)) return hash_table_drain(table_of(*v), budget);
    mem_free(pack_of(*v));
    if (has_expiries(*v)) mem_free(expires_of(*v));
    return true;
}

struct value hash_copy(struct value v)
{
    if (is_table(v)) return value_of(hash_table_copy(table_of(v)), ENC_HASHTABLE);
    struct hash_pack *p = hash_pack_copy(pack_of(v), tail_of(v));
    if (!has_expiries(v)) return value_of(p, ENC_LISTPACK);
    struct hash_expires *x = hash_expires_new();
    x->pack = p;
    x->first_ms = expires_of(v)->first_ms;
    return value_of(x, ENC_LISTPACK_EX);
}

size_t hash_memory_bytes(struct value v)
{
    if (is_table(v)) return hash_table_bytes(table_of(v));
    size_t bytes = mem_usable_bytes(pack_of(v));
    return has_expiries(v) ? bytes + mem_usable_bytes(expires_of(v)) : bytes;
}

uint64_t hash_parts(struct value v)
{
    return is_table(v) ? table_of(v)->dict.count + 1 : 1;
}

static void pack_validate(struct value v)
{
    struct hash_iter it;
    struct item field, value;
    int64_t at_ms, first_ms = INT64_MAX;
    ASSERT(hash_pack_bytes(pack_of(v), tail_of(v)) <= mem_usable_bytes(pack_of(v)));
    hash_iter_init(&it, v, HASH_NEVER_DUE);
    for (uint32_t at = it.at; hash_iter_next(&it, &field, &value, &at_ms); at = it.at) {
        struct slice name = {field.ptr, field.len};
        ASSERT(pack_find(v, name).at == at); // none is there twice
        if (at_ms >= 0) first_ms = MIN(first_ms, at_ms);
    }
    if (has_expiries(v)) ASSERT(expires_of(v)->first_ms == first_ms);
}

void hash_validate(struct value v)
{
    if (is_table(v))
        hash_table_validate(table_of(v));
    else
        pack_validate(v);
}
