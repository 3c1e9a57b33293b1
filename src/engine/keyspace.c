// SPDX-License-Identifier: BSD-3-Clause
//
// Entries are made, moved and freed here and nowhere else. An entry's address stands in two places:
// its slot in the table and, if it has an expiry, its place in the wheel; whoever moves it mends
// both (entry_moved).
#include "engine/keyspace.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "engine/snapshot.h"
#include "types/hash.h"

// Values of more parts than this are freed in slices of SLICE_PARTS, each of which costs as much of
// a budget as a quarter of as many keys.
#define FREE_AT_ONCE_PARTS 64
#define SLICE_PARTS        64

// On its way out: a flushed database, or a value of many parts.
struct garbage {
    struct garbage *next;
    enum object_type type; // TYPE_STRING: a database
    struct value value;
    struct dict keys;
};

// --- entries -------------------------------------------------------------------------------------

// What a string value will look like inside its entry.
struct shape {
    enum object_encoding encoding;
    bool is_embedded;
    int64_t integer;
};

static struct shape shape_of(struct slice value)
{
    struct shape s = {.encoding = ENC_RAW};
    if (value.len <= 20 && num_parse_i64(value, &s.integer)) {
        s.encoding = ENC_INT;
    } else if (value.len <= EMBED_MAX_BYTES) {
        s.encoding = value.len <= EMBSTR_MAX_BYTES ? ENC_EMBSTR : ENC_RAW;
        s.is_embedded = true;
    }
    return s;
}

static size_t entry_size(size_t key_len, bool has_ttl, size_t embedded_len)
{
    return (has_ttl ? sizeof(struct timewheel_node) : 0) + sizeof(struct entry) + key_len +
           embedded_len;
}

static size_t entry_own_size(const struct entry *e)
{
    return entry_size(e->key_len, e->has_ttl, e->is_embedded ? e->embedded_len : 0);
}

static void *entry_start(const struct entry *e)
{
    return (char *)e - (e->has_ttl ? sizeof(struct timewheel_node) : 0);
}

// An entry with its key and nothing else.
static struct entry *entry_new(const struct db *db, struct slice key, bool has_ttl,
                               size_t embedded_len)
{
    ASSERT(key.len <= KEY_MAX_BYTES);
    char *start = mem_alloc((entry_size(key.len, has_ttl, embedded_len) + 15) & ~(size_t)15);
    struct entry *e = (struct entry *)(start + (has_ttl ? sizeof(struct timewheel_node) : 0));
    memset(e, 0, sizeof *e);
    e->key_len = (uint32_t)key.len & KEY_MAX_BYTES;
    e->has_ttl = has_ttl;
    e->mark = db->space->mark & 1;
    memcpy(e->key, key.ptr, key.len);
    return e;
}

static void entry_free(struct entry *e)
{
    mem_free(entry_start(e));
}

static struct garbage *garbage_add(struct keyspace *ks)
{
    struct garbage *g = mem_calloc(sizeof *g);
    g->next = ks->garbage;
    ks->garbage = g;
    return g;
}

// A value that is in no wheel any more goes.
static void value_drop(struct keyspace *ks, struct entry *e)
{
    if (LIKELY(e->type == TYPE_STRING)) {
        if (entry_has_blob(e)) blob_unref(e->blob);
    } else if (value_parts(e->type, e->value) <= FREE_AT_ONCE_PARTS) {
        value_free(e->type, e->value);
    } else {
        struct garbage *g = garbage_add(ks);
        g->type = e->type;
        g->value = e->value;
        stat_add(&ks->stats.garbage_pending, 1);
    }
}

static void entry_put_string(struct entry *e, struct shape shape, struct slice value,
                             struct blob *blob)
{
    e->type = TYPE_STRING;
    e->encoding = shape.encoding & 0xf;
    e->is_embedded = shape.is_embedded;
    if (shape.encoding == ENC_INT) {
        e->integer = shape.integer;
    } else if (shape.is_embedded) {
        e->embedded_len = (uint32_t)value.len;
        memmove(e->key + e->key_len, value.ptr, value.len);
    } else if (blob) {
        e->blob = blob;
    } else {
        e->blob = blob_new(value.len);
        e->blob->len = value.len;
        memcpy(e->blob->data, value.ptr, value.len);
    }
}

// --- the table and the wheel ---------------------------------------------------------------------

static uint64_t entry_hash(const void *item)
{
    return hash_bytes(entry_key(item));
}

static void publish_counts(struct db *db)
{
    stat_set(&db->key_count, db->keys.count);
    stat_set(&db->expire_count, db->expires.count);
}

static uint64_t expire_seconds(const struct entry *e)
{
    return MIN((uint64_t)MAX(entry_ttl(e)->at_ms, 0), TIMEWHEEL_MAX_MS) / 1000;
}

static void note_timed(struct db *db)
{
    struct keyspace *ks = db->space;
    ks->timed_dbs = MAX(ks->timed_dbs, (uint32_t)(db - ks->dbs) + 1);
}

static void expire_add(struct db *db, struct entry *e, int64_t at_ms)
{
    note_timed(db);
    entry_ttl(e)->at_ms = at_ms;
    timewheel_add(&db->expires, entry_ttl(e));
    db->expire_sum_s += expire_seconds(e);
}

static void expire_remove(struct db *db, struct entry *e)
{
    timewheel_remove(&db->expires, entry_ttl(e));
    db->expire_sum_s -= expire_seconds(e);
}

static struct hash_wheel *wheel_of(const struct entry *e)
{
    return e->type == TYPE_HASH ? hash_wheel_of(e->value) : NULL;
}

static void fields_remove(struct db *db, struct entry *e)
{
    struct hash_wheel *w = wheel_of(e);
    if (!w || !w->is_in) return;
    timewheel_remove(&db->field_expires, &w->node);
    w->is_in = false;
}

void db_fields_changed(struct db *db, struct entry *e)
{
    struct hash_wheel *w = wheel_of(e);
    if (!w) return;
    int64_t next_ms = hash_next_expiry(e->value);
    w->owner = e;
    if (w->is_in && w->node.at_ms == next_ms) return;
    fields_remove(db, e);
    if (next_ms == INT64_MAX) return;
    note_timed(db);
    w->node.at_ms = next_ms;
    timewheel_add(&db->field_expires, &w->node);
    w->is_in = true;
}

// The value of an entry of this database goes.
static void value_release(struct db *db, struct entry *e)
{
    fields_remove(db, e);
    value_drop(db->space, e);
}

static void db_insert(struct db *db, struct entry *e, uint64_t hash, int64_t expire_at_ms)
{
    dict_insert(&db->keys, hash, e);
    if (e->has_ttl) expire_add(db, e, expire_at_ms);
    db_fields_changed(db, e);
    publish_counts(db);
}

// Takes the entry out of table and wheel; entry and value live on.
static void db_detach(struct db *db, struct entry *e, uint64_t hash)
{
    if (e->has_ttl) expire_remove(db, e);
    fields_remove(db, e);
    bool was_there = dict_remove(&db->keys, hash, e);
    ASSERT(was_there);
    publish_counts(db);
}

// `to` takes the place of `from` in the table; expiries are changed from and to what the entries
// say. Frees `from` (not its value).
static void db_exchange(struct db *db, struct entry *from, struct entry *to, uint64_t hash,
                        int64_t expire_at_ms)
{
    if (from->has_ttl) expire_remove(db, from);
    dict_replace(&db->keys, hash, from, to);
    if (to->has_ttl) expire_add(db, to, expire_at_ms);
    db_fields_changed(db, to);
    publish_counts(db);
    to->lru = from->lru;
    entry_free(from);
}

// --- change --------------------------------------------------------------------------------------

static struct entry *set_shape(struct db *db, struct entry *old, struct slice key, uint64_t hash,
                               struct shape shape, struct slice value, struct blob *blob,
                               int64_t expire_at_ms)
{
    if (old) snapshot_touch(db, old);
    if (expire_at_ms == EXPIRE_KEEP) expire_at_ms = old ? entry_expire_at(old) : EXPIRE_NONE;
    bool has_ttl = expire_at_ms != EXPIRE_NONE;
    size_t embedded_len = shape.is_embedded ? value.len : 0;
    if (old && old->has_ttl == has_ttl &&
        (entry_own_size(old) + 15) / 16 == (entry_size(key.len, has_ttl, embedded_len) + 15) / 16) {
        value_release(db, old);
        entry_put_string(old, shape, value, blob);
        if (has_ttl && entry_ttl(old)->at_ms != expire_at_ms) {
            expire_remove(db, old);
            expire_add(db, old, expire_at_ms);
        }
        return old;
    }
    struct entry *e = entry_new(db, key, has_ttl, embedded_len);
    entry_put_string(e, shape, value, blob);
    if (!old) {
        db_insert(db, e, hash, expire_at_ms);
        return e;
    }
    value_release(db, old);
    db_exchange(db, old, e, hash, expire_at_ms);
    return e;
}

struct entry *db_set_string(struct db *db, struct entry *old, struct slice key, uint64_t hash,
                            struct slice value, struct blob *blob, int64_t expire_at_ms)
{
    if (blob) value = (struct slice){blob->data, blob->len};
    struct shape shape = shape_of(value);
    bool is_kept = shape.encoding == ENC_RAW && !shape.is_embedded;
    struct entry *e =
        set_shape(db, old, key, hash, shape, value, is_kept ? blob : NULL, expire_at_ms);
    if (blob && !is_kept) blob_unref(blob);
    return e;
}

struct entry *db_set_integer(struct db *db, struct entry *old, struct slice key, uint64_t hash,
                             int64_t value, int64_t expire_at_ms)
{
    struct shape shape = {.encoding = ENC_INT, .integer = value};
    return set_shape(db, old, key, hash, shape, SLICE(""), NULL, expire_at_ms);
}

struct entry *db_set_value(struct db *db, struct entry *old, struct slice key, uint64_t hash,
                           enum object_type type, struct value value, int64_t expire_at_ms)
{
    if (old) snapshot_touch(db, old);
    if (expire_at_ms == EXPIRE_KEEP) expire_at_ms = old ? entry_expire_at(old) : EXPIRE_NONE;
    struct entry *e = entry_new(db, key, expire_at_ms != EXPIRE_NONE, 0);
    e->type = type & 0xf;
    e->value = value;
    if (!old) {
        db_insert(db, e, hash, expire_at_ms);
        return e;
    }
    value_release(db, old);
    db_exchange(db, old, e, hash, expire_at_ms);
    return e;
}

struct entry *db_edit_string(struct db *db, struct entry *e, uint64_t hash, size_t len,
                             bool has_slack, char **data)
{
    char scratch[NUM_I64_TEXT];
    snapshot_touch(db, e);
    struct slice now = entry_string(e, scratch);
    size_t kept = MIN(now.len, len);
    if (len <= EMBED_MAX_BYTES && !(e->encoding != ENC_INT && !e->is_embedded)) {
        if (!e->is_embedded ||
            (entry_own_size(e) + 15) / 16 != (entry_size(e->key_len, e->has_ttl, len) + 15) / 16) {
            struct entry *bigger = entry_new(db, entry_key(e), e->has_ttl, len);
            memcpy(bigger->key + bigger->key_len, now.ptr, kept);
            db_exchange(db, e, bigger, hash, entry_expire_at(e));
            e = bigger;
        }
        e->is_embedded = true;
        e->embedded_len = (uint32_t)len;
        *data = e->key + e->key_len;
    } else if (e->is_embedded || e->encoding == ENC_INT) {
        struct blob *blob = blob_new(has_slack ? len * 2 : len);
        memcpy(blob->data, now.ptr, kept);
        struct entry *smaller = entry_new(db, entry_key(e), e->has_ttl, 0);
        db_exchange(db, e, smaller, hash, entry_expire_at(e));
        e = smaller;
        e->blob = blob;
    } else {
        size_t room = len <= e->blob->cap ? len : has_slack ? len + MIN(len, (size_t)1 << 20) : len;
        e->blob = blob_own(e->blob, room);
    }
    e->type = TYPE_STRING;
    e->encoding = ENC_RAW;
    if (!e->is_embedded) {
        e->blob->len = len;
        *data = e->blob->data;
    }
    if (len > kept) memset(*data + kept, 0, len - kept);
    return e;
}

struct entry *db_set_expire(struct db *db, struct entry *e, uint64_t hash, int64_t expire_at_ms)
{
    bool has_ttl = expire_at_ms != EXPIRE_NONE;
    snapshot_touch(db, e);
    if (e->has_ttl == has_ttl) {
        if (!has_ttl) return e;
        expire_remove(db, e);
        expire_add(db, e, expire_at_ms);
        return e;
    }
    size_t embedded_len = e->is_embedded ? e->embedded_len : 0;
    struct entry *moved = entry_new(db, entry_key(e), has_ttl, embedded_len);
    *moved = *e; // header and value word
    moved->has_ttl = has_ttl;
    memcpy(moved->key + moved->key_len, e->key + e->key_len, embedded_len);
    db_exchange(db, e, moved, hash, expire_at_ms);
    return moved;
}

void db_delete(struct db *db, struct entry *e, uint64_t hash)
{
    snapshot_touch(db, e);
    db_detach(db, e, hash);
    value_drop(db->space, e);
    entry_free(e);
}

// A new entry at `key` with the header of `from` and, if embedded, its bytes; the value word is
// shared.
static struct entry *entry_with_key(const struct db *db, const struct entry *from, struct slice key)
{
    size_t embedded_len = from->is_embedded ? from->embedded_len : 0;
    struct entry *e = entry_new(db, key, from->has_ttl, embedded_len);
    uint32_t key_len = e->key_len;
    *e = *from;
    e->key_len = key_len & KEY_MAX_BYTES;
    e->mark = db->space->mark & 1;
    memcpy(e->key + key_len, from->key + from->key_len, embedded_len);
    return e;
}

struct entry *db_move(struct db *from_db, struct entry *from, uint64_t from_hash, struct db *to_db,
                      struct slice key, uint64_t hash)
{
    snapshot_touch(from_db, from);
    struct entry *e = entry_with_key(to_db, from, key);
    int64_t expire_at_ms = entry_expire_at(from);
    db_detach(from_db, from, from_hash);
    entry_free(from);
    db_insert(to_db, e, hash, expire_at_ms);
    return e;
}

struct entry *db_copy(const struct entry *from, struct db *to_db, struct slice key, uint64_t hash)
{
    struct entry *e = entry_with_key(to_db, from, key);
    // A shared blob is copied by whoever writes to it first.
    if (entry_has_blob(e)) blob_ref(e->blob);
    if (e->type != TYPE_STRING) e->value = value_copy(e->type, e->value);
    db_insert(to_db, e, hash, entry_expire_at(from));
    return e;
}

// --- whole databases -----------------------------------------------------------------------------

// What the wheels are told: an expiry is the last millisecond of life (entry_is_expired), so due is
// what ends with the last one that is over.
static int64_t wheel_ms(int64_t now_ms)
{
    return MAX(now_ms, 1) - 1;
}

static void db_init(struct keyspace *ks, struct db *db, int64_t now_ms)
{
    *db = (struct db){.space = ks};
    dict_init(&db->keys, entry_hash);
    timewheel_init(&db->expires, wheel_ms(now_ms));
    timewheel_init(&db->field_expires, wheel_ms(now_ms));
}

void keyspace_init(struct keyspace *ks, uint32_t shard, uint32_t db_count, uint64_t seed,
                   int64_t now_ms)
{
    *ks = (struct keyspace){.shard = shard, .db_count = db_count};
    ks->is_active_expire_on = true;
    random_seed(&ks->random, seed);
    ks->dbs = mem_calloc(db_count * sizeof ks->dbs[0]);
    for (uint32_t i = 0; i < db_count; i++) db_init(ks, &ks->dbs[i], now_ms);
}

void keyspace_free(struct keyspace *ks)
{
    for (uint32_t i = 0; i < ks->db_count; i++) db_flush(ks, &ks->dbs[i], 0);
    keyspace_free_garbage(ks);
    mem_free(ks->dbs);
}

void keyspace_discard(struct keyspace *ks, struct dict *keys)
{
    struct garbage *g = garbage_add(ks);
    g->keys = *keys;
    stat_add(&ks->stats.garbage_pending, g->keys.count);
}

void db_flush(struct keyspace *ks, struct db *db, int64_t now_ms)
{
    timewheel_free(&db->expires);
    timewheel_init(&db->expires, wheel_ms(now_ms));
    timewheel_free(&db->field_expires);
    timewheel_init(&db->field_expires, wheel_ms(now_ms));
    db->expire_sum_s = 0;
    if (db->keys.buckets) {
        if (!snapshot_keep(db)) keyspace_discard(ks, &db->keys);
        dict_init(&db->keys, entry_hash);
    }
    publish_counts(db);
}

struct draining {
    struct keyspace *space;
    uint32_t freed;
};

static void free_visited(void *item, void *arg)
{
    struct draining *d = arg;
    value_drop(d->space, item);
    entry_free(item);
    d->freed++;
}

// Frees one bucket of a database or one slice of a value; true when nothing is left. Big values
// found in a database become garbage of their own, in front of it.
static bool drain_slice(struct keyspace *ks, struct garbage *g, uint32_t *freed)
{
    struct draining d = {.space = ks};
    if (g->type == TYPE_STRING) {
        bool is_done = !dict_drain_bucket(&g->keys, free_visited, &d);
        if (is_done) dict_free(&g->keys);
        *freed = d.freed;
        return is_done;
    }
    *freed = value_drain(g->type, &g->value, SLICE_PARTS) ? 1 : 0;
    return *freed;
}

static void garbage_remove(struct keyspace *ks, struct garbage *g)
{
    struct garbage **at = &ks->garbage;
    while (*at != g) at = &(*at)->next;
    *at = g->next;
    mem_free(g);
}

// Frees garbage until `budget` items, buckets or slices are done; returns what is left of it.
static uint32_t collect_garbage(struct keyspace *ks, uint32_t budget)
{
    while (ks->garbage && budget) {
        struct garbage *g = ks->garbage;
        uint32_t freed = 0, cost = g->type == TYPE_STRING ? 1 : SLICE_PARTS / 4;
        if (drain_slice(ks, g, &freed)) garbage_remove(ks, g);
        stat_add(&ks->stats.garbage_freed, freed);
        stat_set(&ks->stats.garbage_pending, stat_get(&ks->stats.garbage_pending) - freed);
        budget -= MIN(budget, freed + cost);
    }
    return budget;
}

void keyspace_free_garbage(struct keyspace *ks)
{
    while (ks->garbage) collect_garbage(ks, UINT32_MAX);
}

void keyspace_swap_dbs(struct keyspace *ks, uint32_t a, uint32_t b)
{
    struct db *x = &ks->dbs[a], *y = &ks->dbs[b];
    struct dict keys = x->keys;
    struct timewheel expires = x->expires, field_expires = x->field_expires;
    uint64_t sum = x->expire_sum_s, cursor = x->walk_cursor;
    uint32_t origin = x->walk_origin;
    bool is_walked = x->is_walked;
    x->keys = y->keys;
    x->expires = y->expires;
    x->field_expires = y->field_expires;
    x->expire_sum_s = y->expire_sum_s;
    x->walk_cursor = y->walk_cursor;
    x->walk_origin = y->walk_origin;
    x->is_walked = y->is_walked;
    y->keys = keys;
    y->expires = expires;
    y->field_expires = field_expires;
    y->expire_sum_s = sum;
    y->walk_cursor = cursor;
    y->walk_origin = origin;
    y->is_walked = is_walked;
    note_timed(x);
    note_timed(y);
    publish_counts(x);
    publish_counts(y);
}

// --- housekeeping --------------------------------------------------------------------------------

static void publish_avg_ttl(struct db *db, int64_t now_ms)
{
    uint64_t n = db->expires.count;
    int64_t mean_ms = n ? (int64_t)(db->expire_sum_s / n * 1000) - now_ms : 0;
    stat_set(&db->avg_ttl_ms, mean_ms > 0 ? (uint64_t)mean_ms : 0);
}

static void expire_entries(struct keyspace *ks, uint32_t index, int64_t now_ms, uint32_t *budget,
                           const struct keyspace_due *due)
{
    struct db *db = &ks->dbs[index];
    struct timewheel_node *node;
    if (!db->expires.count) return;
    while (*budget && (node = timewheel_due(&db->expires, wheel_ms(now_ms), budget)))
        due->entry(due->arg, index, (struct entry *)(node + 1));
    publish_avg_ttl(db, now_ms);
}

static void expire_fields(struct keyspace *ks, uint32_t index, int64_t now_ms, uint32_t *budget,
                          const struct keyspace_due *due)
{
    struct db *db = &ks->dbs[index];
    struct timewheel_node *node;
    if (!db->field_expires.count) return;
    while (*budget && (node = timewheel_due(&db->field_expires, wheel_ms(now_ms), budget))) {
        uint32_t done = due->fields(due->arg, index, ((struct hash_wheel *)node)->owner, *budget);
        *budget -= MIN(*budget, done);
        ASSERT(done || !*budget);
    }
}

bool keyspace_cron(struct keyspace *ks, int64_t now_ms, uint32_t budget,
                   const struct keyspace_due *due)
{
    bool may_expire = ks->is_active_expire_on && !keyspace_is_paused(ks, now_ms);
    for (uint32_t i = 0; i < ks->timed_dbs && may_expire; i++) {
        expire_entries(ks, i, now_ms, &budget, due);
        expire_fields(ks, i, now_ms, &budget, due);
    }
    return collect_garbage(ks, budget) == 0;
}

int64_t keyspace_next_cron_ms(const struct keyspace *ks)
{
    if (ks->garbage) return 0;
    if (ks->is_held) return INT64_MAX;
    int64_t next = INT64_MAX;
    for (uint32_t i = 0; i < ks->timed_dbs && ks->is_active_expire_on; i++) {
        const struct db *db = &ks->dbs[i];
        next = MIN(next, timewheel_next_ms(&db->expires));
        next = MIN(next, timewheel_next_ms(&db->field_expires));
    }
    if (next && next < INT64_MAX) next++; // the first moment behind it: see wheel_ms
    return MAX(next, ks->pause_until_ms);
}

struct counts {
    uint64_t with_ttl, with_fields;
};

static void validate_visit(void *item, void *arg)
{
    const struct entry *e = item;
    struct counts *counts = arg;
    const struct hash_wheel *w = wheel_of(e);
    if (e->has_ttl) counts->with_ttl++;
    if (w && w->is_in) counts->with_fields++;
    if (w && w->is_in) ASSERT(w->owner == e && w->node.at_ms <= hash_next_expiry(e->value));
    if (e->is_embedded) ASSERT(e->type == TYPE_STRING && e->encoding != ENC_INT);
    if (e->type != TYPE_STRING) value_validate(e->type, e->value);
}

void db_validate(const struct db *db)
{
    struct counts counts = {0};
    uint64_t cursor = 0;
    dict_validate(&db->keys);
    timewheel_validate(&db->expires);
    timewheel_validate(&db->field_expires);
    ASSERT(db - db->space->dbs < db->space->timed_dbs ||
           (!db->expires.count && !db->field_expires.count));
    do cursor = dict_scan(&db->keys, cursor, validate_visit, &counts);
    while (cursor);
    ASSERT(counts.with_ttl == db->expires.count);
    ASSERT(counts.with_fields == db->field_expires.count);
}
