// SPDX-License-Identifier: BSD-3-Clause
//
// Two databases against a plain array that says what every key must hold. Random changes, the
// invariants walked after each of them, values at the sizes where their place changes (inside the
// entry, in a blob of their own). Some blobs have a second owner, as replies on their way out are:
// their bytes must not change under it.
#include "engine/keyspace.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/mem.h"
#include "types/hash.h"
#include "types/set.h"

#define NOW      INT64_C(1700000000000)
#define DBS      2
#define KEYS_MAX 40
#define HELD_MAX 8
#define PLENTY   1000000u

// cr_assert reports every success too, which a million checks cannot afford.
#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            cr_assert(false, "%s (seed %llu, step %d)", #condition, (unsigned long long)m->seed,   \
                      m->step);                                                                    \
    } while (0)

// --- the model -----------------------------------------------------------------------------------

struct expected {
    char *value; // owned; NULL: no such key
    size_t len;
    int64_t expire_at_ms;
    bool is_raw;  // was edited: "raw" whatever it looks like
    bool is_blob; // lies in a blob of its own
    uint32_t lru;
};

struct held { // what the second owner of a blob saw
    struct blob *blob;
    char *bytes;
    size_t len;
};

struct model {
    struct keyspace space;
    struct random random;
    uint64_t seed;
    int step;
    int64_t now_ms;
    struct slice keys[KEYS_MAX];
    char *key_bytes[KEYS_MAX];
    struct expected want[DBS][KEYS_MAX];
    struct held held[HELD_MAX];
};

static size_t below(struct model *m, size_t n)
{
    return random_below(&m->random, n);
}

// Keys of many lengths (none, 200 bytes), with any byte in them.
static void make_keys(struct model *m)
{
    for (int k = 0; k < KEYS_MAX; k++) {
        size_t len = k == 0 ? 0 : k == 1 ? 200 : 2 + below(m, 40);
        m->key_bytes[k] = mem_alloc(len + 1);
        for (size_t i = 0; i < len; i++) m->key_bytes[k][i] = (char)random_u64(&m->random);
        if (len > 1) m->key_bytes[k][0] = (char)k; // all different
        m->keys[k] = (struct slice){m->key_bytes[k], len};
    }
}

static void model_init(struct model *m, uint64_t seed)
{
    *m = (struct model){.seed = seed, .now_ms = NOW};
    random_seed(&m->random, seed);
    keyspace_init(&m->space, 0, DBS, seed, NOW);
    make_keys(m);
}

static void forget(struct expected *x)
{
    mem_free(x->value);
    *x = (struct expected){0};
}

static void release(struct model *m, struct held *h)
{
    HOLDS(h->blob->len == h->len && memcmp(h->blob->data, h->bytes, h->len) == 0);
    blob_unref(h->blob);
    mem_free(h->bytes);
    *h = (struct held){0};
}

static void model_free(struct model *m)
{
    keyspace_free(&m->space);
    for (int i = 0; i < HELD_MAX; i++)
        if (m->held[i].blob) release(m, &m->held[i]);
    for (int d = 0; d < DBS; d++)
        for (int k = 0; k < KEYS_MAX; k++) forget(&m->want[d][k]);
    for (int k = 0; k < KEYS_MAX; k++) mem_free(m->key_bytes[k]);
}

// --- checks --------------------------------------------------------------------------------------

static struct entry *find(struct model *m, int d, int k)
{
    return db_find(&m->space.dbs[d], m->keys[k], hash_bytes(m->keys[k]));
}

static enum object_encoding encoding_of(const struct expected *x)
{
    int64_t number;
    if (x->is_raw) return ENC_RAW;
    if (num_parse_i64((struct slice){x->value, x->len}, &number)) return ENC_INT;
    return x->len <= EMBSTR_MAX_BYTES ? ENC_EMBSTR : ENC_RAW;
}

static void check_key(struct model *m, int d, int k)
{
    const struct expected *x = &m->want[d][k];
    const struct entry *e = find(m, d, k);
    char scratch[NUM_I64_TEXT];
    HOLDS((e != NULL) == (x->value != NULL));
    if (!e) return;
    struct slice value = entry_string(e, scratch);
    HOLDS(slice_eq(entry_key(e), m->keys[k]));
    HOLDS(slice_eq(value, (struct slice){x->value, x->len}));
    HOLDS(entry_string_len(e) == x->len);
    HOLDS(e->type == TYPE_STRING && e->encoding == encoding_of(x));
    HOLDS(e->is_embedded == (!x->is_blob && e->encoding != ENC_INT));
    HOLDS(entry_expire_at(e) == x->expire_at_ms);
    HOLDS(e->lru == x->lru);
}

static void check_all(struct model *m)
{
    for (int d = 0; d < DBS; d++) {
        const struct db *db = &m->space.dbs[d];
        uint64_t keys = 0, expires = 0, sum_s = 0;
        for (int k = 0; k < KEYS_MAX; k++) {
            const struct expected *x = &m->want[d][k];
            check_key(m, d, k);
            if (!x->value) continue;
            keys++;
            if (x->expire_at_ms == EXPIRE_NONE) continue;
            expires++;
            sum_s += MIN((uint64_t)x->expire_at_ms, TIMEWHEEL_MAX_MS) / 1000;
        }
        HOLDS(db->keys.count == keys && stat_get(&db->key_count) == keys);
        HOLDS(db->expires.count == expires && stat_get(&db->expire_count) == expires);
        HOLDS(db->expire_sum_s == sum_s);
    }
    for (int i = 0; i < HELD_MAX; i++)
        if (m->held[i].blob)
            HOLDS(memcmp(m->held[i].blob->data, m->held[i].bytes, m->held[i].len) == 0);
}

// --- random changes ------------------------------------------------------------------------------

static size_t random_len(struct model *m)
{
    static const size_t edges[] = {0, 1, 12, 43, 44, 45, 500, 1023, 1024, 1025, 1040, 3000};
    return edges[below(m, ARRAY_LEN(edges))] + (below(m, 3) ? 0 : below(m, 20));
}

// A value, owned by the caller: any bytes, or something like a number.
static struct slice random_value(struct model *m)
{
    static const char *const numbers[] = {"0",
                                          "-1",
                                          "007",
                                          "-0",
                                          "+5",
                                          " 1",
                                          "12345678901234567890",
                                          "9223372036854775807",
                                          "9223372036854775808",
                                          "-9223372036854775808",
                                          "-9223372036854775809"};
    if (below(m, 3) == 0) {
        const char *text = numbers[below(m, ARRAY_LEN(numbers))];
        return (struct slice){mem_strdup(text), strlen(text)};
    }
    size_t len = random_len(m);
    char *bytes = mem_alloc(len + 1);
    for (size_t i = 0; i < len; i++) bytes[i] = (char)random_u64(&m->random);
    return (struct slice){bytes, len};
}

static int64_t random_time(struct model *m)
{
    switch (below(m, 8)) {
    case 0: return 0;
    case 1: return INT64_MAX;
    case 2: return (int64_t)TIMEWHEEL_MAX_MS + (int64_t)below(m, 3) - 1;
    case 3: return m->now_ms;
    default: return m->now_ms + (int64_t)(random_u64(&m->random) >> (20 + below(m, 40)));
    }
}

static int64_t random_expiry(struct model *m)
{
    switch (below(m, 3)) {
    case 0: return EXPIRE_NONE;
    case 1: return EXPIRE_KEEP;
    default: return random_time(m);
    }
}

// The entry now holds `value` (taken over) and was looked at at some time or other.
static void expect_value(struct model *m, int d, int k, struct entry *e, struct slice value,
                         int64_t expire_at_ms)
{
    struct expected *x = &m->want[d][k];
    int64_t number;
    bool is_number = num_parse_i64(value, &number);
    if (expire_at_ms == EXPIRE_KEEP) expire_at_ms = x->value ? x->expire_at_ms : EXPIRE_NONE;
    HOLDS(e->lru == (x->value ? x->lru : 0)); // only the layer above refreshes it
    mem_free(x->value);
    *x = (struct expected){
        .value = (char *)value.ptr, .len = value.len, .expire_at_ms = expire_at_ms};
    x->is_blob = !is_number && value.len > EMBED_MAX_BYTES;
    x->lru = e->lru = random_u64(&m->random) & 0xffffff;
}

static struct blob *blob_of(struct slice value)
{
    struct blob *blob = blob_new(value.len + 5);
    memcpy(blob->data, value.ptr, value.len);
    blob->len = value.len;
    return blob;
}

static void hold(struct model *m, struct blob *blob)
{
    struct held *h = &m->held[below(m, HELD_MAX)];
    if (h->blob) release(m, h);
    *h = (struct held){blob_ref(blob), mem_alloc(blob->len + 1), blob->len};
    memcpy(h->bytes, blob->data, blob->len);
}

static void set_string(struct model *m, int d, int k)
{
    struct slice value = random_value(m), key = m->keys[k];
    int64_t at_ms = random_expiry(m);
    struct blob *blob = below(m, 2) ? blob_of(value) : NULL;
    if (blob && below(m, 4) == 0) hold(m, blob);
    struct entry *e = db_set_string(&m->space.dbs[d], find(m, d, k), key, hash_bytes(key),
                                    blob ? (struct slice){0} : value, blob, at_ms);
    HOLDS(e == find(m, d, k));
    expect_value(m, d, k, e, value, at_ms);
}

static void set_integer(struct model *m, int d, int k)
{
    char text[NUM_I64_TEXT];
    struct slice key = m->keys[k];
    int64_t number = (int64_t)random_u64(&m->random) >> below(m, 64), at_ms = random_expiry(m);
    struct entry *e =
        db_set_integer(&m->space.dbs[d], find(m, d, k), key, hash_bytes(key), number, at_ms);
    size_t len = num_format_i64(text, number);
    HOLDS(e == find(m, d, k));
    expect_value(m, d, k, e, (struct slice){mem_strndup(text, len), len}, at_ms);
}

static void edit_string(struct model *m, int d, int k)
{
    struct expected *x = &m->want[d][k];
    struct entry *e = find(m, d, k);
    if (!e) return;
    size_t len = below(m, 4) ? random_len(m) : x->len + below(m, 60), kept = MIN(len, x->len);
    char *data, *value = mem_calloc(len + 1);
    memcpy(value, x->value, kept);
    e = db_edit_string(&m->space.dbs[d], e, hash_bytes(m->keys[k]), len, below(m, 2), &data);
    HOLDS(e == find(m, d, k));
    HOLDS(memcmp(data, value, len) == 0); // what is new is zero
    for (int i = 0; i < 4 && len; i++) {
        size_t at = below(m, len);
        data[at] = value[at] = (char)random_u64(&m->random);
    }
    mem_free(x->value);
    x->value = value;
    x->len = len;
    x->is_raw = true;
    x->is_blob = x->is_blob || len > EMBED_MAX_BYTES; // it never comes back from there
}

static void set_expire(struct model *m, int d, int k)
{
    struct entry *e = find(m, d, k);
    if (!e) return;
    int64_t at_ms = below(m, 3) ? random_time(m) : EXPIRE_NONE;
    e = db_set_expire(&m->space.dbs[d], e, hash_bytes(m->keys[k]), at_ms);
    HOLDS(e == find(m, d, k));
    m->want[d][k].expire_at_ms = at_ms;
}

static void delete_key(struct model *m, int d, int k)
{
    struct entry *e = find(m, d, k);
    if (!e) return;
    db_delete(&m->space.dbs[d], e, hash_bytes(m->keys[k]));
    forget(&m->want[d][k]);
}

static void move_key(struct model *m, int d, int k, bool is_copy)
{
    int to_d = (int)below(m, DBS), to_k = (int)below(m, KEYS_MAX);
    if (!find(m, d, k) || (to_d == d && to_k == k)) return;
    if (find(m, to_d, to_k)) delete_key(m, to_d, to_k);
    struct entry *e = find(m, d, k);
    struct slice key = m->keys[to_k];
    struct db *from_db = &m->space.dbs[d], *to_db = &m->space.dbs[to_d];
    struct entry *to =
        is_copy ? db_copy(e, to_db, key, hash_bytes(key))
                : db_move(from_db, e, hash_bytes(m->keys[k]), to_db, key, hash_bytes(key));
    HOLDS(to == find(m, to_d, to_k));
    struct expected *x = &m->want[d][k], *y = &m->want[to_d][to_k];
    *y = *x;
    if (is_copy) {
        y->value = mem_alloc(x->len + 1);
        memcpy(y->value, x->value, x->len);
    } else {
        *x = (struct expected){0};
    }
}

static void hold_value(struct model *m, int d, int k)
{
    if (m->want[d][k].value && m->want[d][k].is_blob) hold(m, find(m, d, k)->blob);
}

static void flush(struct model *m, int d)
{
    db_flush(&m->space, &m->space.dbs[d], 0);
    for (int k = 0; k < KEYS_MAX; k++) forget(&m->want[d][k]);
}

static void swap(struct model *m)
{
    uint32_t a = (uint32_t)below(m, DBS), b = (uint32_t)below(m, DBS);
    keyspace_swap_dbs(&m->space, a, b);
    for (int k = 0; k < KEYS_MAX; k++) {
        struct expected x = m->want[a][k];
        m->want[a][k] = m->want[b][k];
        m->want[b][k] = x;
    }
}

static void expire_one(void *arg, uint32_t d, struct entry *e)
{
    struct model *m = arg;
    struct slice key = entry_key(e);
    int k = 0;
    while (k < KEYS_MAX && !slice_eq(m->keys[k], key)) k++;
    HOLDS(k < KEYS_MAX && m->want[d][k].value && m->want[d][k].expire_at_ms < m->now_ms);
    HOLDS(find(m, (int)d, k) == e);
    forget(&m->want[d][k]);
    db_delete(&m->space.dbs[d], e, hash_bytes(m->keys[k]));
}

static bool cron(struct keyspace *ks, int64_t now_ms, uint32_t budget,
                 void (*entry)(void *arg, uint32_t d, struct entry *e), void *arg)
{
    struct keyspace_due due = {.entry = entry, .arg = arg};
    return keyspace_cron(ks, now_ms, budget, &due);
}

static void turn(struct model *m)
{
    uint32_t budget = below(m, 2) ? PLENTY : 1 + (uint32_t)below(m, 4);
    m->now_ms += (int64_t)below(m, 100) * (below(m, 2) ? 1 : 100000);
    bool has_more = cron(&m->space, m->now_ms, budget, expire_one, m);
    HOLDS(!has_more || budget != PLENTY);
    if (has_more) return;
    HOLDS(!m->space.garbage && stat_get(&m->space.stats.garbage_pending) == 0);
    int64_t next = keyspace_next_cron_ms(&m->space);
    for (int d = 0; d < DBS; d++)
        for (int k = 0; k < KEYS_MAX; k++) {
            const struct expected *x = &m->want[d][k];
            if (!x->value || x->expire_at_ms == EXPIRE_NONE) continue;
            HOLDS(x->expire_at_ms >= m->now_ms && next - 1 <= x->expire_at_ms);
        }
}

static void change(struct model *m)
{
    int d = (int)below(m, DBS), k = (int)below(m, KEYS_MAX);
    size_t what = below(m, 200);
    if (what < 50)
        set_string(m, d, k);
    else if (what < 60)
        set_integer(m, d, k);
    else if (what < 100)
        edit_string(m, d, k);
    else if (what < 130)
        set_expire(m, d, k);
    else if (what < 140)
        delete_key(m, d, k);
    else if (what < 155)
        move_key(m, d, k, false);
    else if (what < 175)
        move_key(m, d, k, true);
    else if (what < 190)
        hold_value(m, d, k);
    else if (what < 196)
        turn(m);
    else if (what < 199)
        swap(m);
    else if (below(m, 4) == 0)
        flush(m, d);
}

Test(keyspace, random_changes_leave_what_a_plain_array_says, .timeout = 120)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        size_t memory_before = mem_used_bytes();
        struct model state, *m = &state;
        model_init(m, seed);
        for (m->step = 0; m->step < 2500; m->step++) {
            change(m);
            for (int d = 0; d < DBS; d++) db_validate(&m->space.dbs[d]);
            check_all(m);
        }
        model_free(m);
        cr_assert_eq(mem_used_bytes(), memory_before, "seed %llu leaks", (unsigned long long)seed);
    }
}

// --- single behaviours ---------------------------------------------------------------------------

static struct entry *put(struct keyspace *ks, uint32_t d, struct slice key, struct slice value,
                         int64_t expire_at_ms)
{
    struct db *db = &ks->dbs[d];
    uint64_t hash = hash_bytes(key);
    return db_set_string(db, db_find(db, key, hash), key, hash, value, NULL, expire_at_ms);
}

static void put_many(struct keyspace *ks, uint32_t d, int count, int64_t expire_at_ms)
{
    char text[16];
    for (int i = 0; i < count; i++) {
        int len = snprintf(text, sizeof text, "key:%d", i);
        put(ks, d, (struct slice){text, (size_t)len}, SLICE("value"), expire_at_ms);
    }
}

Test(keyspace, a_blob_that_is_handed_in_is_kept_if_it_is_big_and_consumed_if_not)
{
    struct keyspace ks;
    struct slice key = SLICE("key");
    keyspace_init(&ks, 0, 1, 1, NOW);
    struct blob *big = blob_new(EMBED_MAX_BYTES + 1), *small = blob_new(EMBED_MAX_BYTES);
    big->len = big->cap;
    small->len = small->cap;
    memset(big->data, 'b', big->len);
    memset(small->data, 's', small->len);
    struct entry *e =
        db_set_string(&ks.dbs[0], NULL, key, hash_bytes(key), SLICE(""), big, EXPIRE_NONE);
    cr_assert(!e->is_embedded && e->blob == big && !blob_is_shared(big));
    blob_ref(small);
    e = db_set_string(&ks.dbs[0], e, key, hash_bytes(key), SLICE(""), small, EXPIRE_NONE);
    cr_assert(e->is_embedded && e->embedded_len == EMBED_MAX_BYTES && e->encoding == ENC_RAW);
    cr_assert(!blob_is_shared(small));
    blob_unref(small);
    keyspace_free(&ks);
}

Test(keyspace, a_copy_shares_the_blob_until_one_of_the_two_is_edited)
{
    struct keyspace ks;
    struct slice a = SLICE("a"), b = SLICE("b");
    char bytes[EMBED_MAX_BYTES + 100], *data;
    memset(bytes, 'x', sizeof bytes);
    keyspace_init(&ks, 0, 2, 1, NOW);
    struct entry *from = put(&ks, 0, a, (struct slice){bytes, sizeof bytes}, NOW + 5);
    struct entry *to = db_copy(from, &ks.dbs[1], b, hash_bytes(b));
    cr_assert(from->blob == to->blob && blob_is_shared(to->blob));
    cr_assert_eq(entry_expire_at(to), NOW + 5);
    to = db_edit_string(&ks.dbs[1], to, hash_bytes(b), sizeof bytes, false, &data);
    data[0] = 'y';
    cr_assert(from->blob != to->blob && from->blob->data[0] == 'x' && to->blob->data[0] == 'y');
    cr_assert(!blob_is_shared(from->blob) && !blob_is_shared(to->blob));
    keyspace_free(&ks);
}

Test(keyspace, slack_lets_a_growing_value_stay_where_it_is)
{
    struct keyspace ks;
    struct slice key = SLICE("key");
    char *data, *before;
    keyspace_init(&ks, 0, 1, 1, NOW);
    struct entry *e = put(&ks, 0, key, SLICE("seed"), EXPIRE_NONE);
    e = db_edit_string(&ks.dbs[0], e, hash_bytes(key), 2000, true, &before);
    e = db_edit_string(&ks.dbs[0], e, hash_bytes(key), 3000, true, &data);
    cr_assert_eq(data, before);
    cr_assert(e->blob->cap >= 4000 && e->blob->len == 3000);
    keyspace_free(&ks);
}

static void count_and_delete(void *arg, uint32_t d, struct entry *e)
{
    struct keyspace *ks = ((void **)arg)[0];
    uint32_t *count = ((void **)arg)[1];
    cr_assert_lt(++*count, PLENTY);
    db_delete(&ks->dbs[d], e, hash_bytes(entry_key(e)));
}

Test(keyspace, cron_expires_no_more_than_its_budget_and_says_that_there_is_more)
{
    enum { COUNT = 5000, BUDGET = 100 };
    struct keyspace ks;
    uint32_t expired = 0, turns = 0, before = 0;
    void *arg[] = {&ks, &expired};
    keyspace_init(&ks, 0, 2, 1, NOW);
    put_many(&ks, 1, COUNT, NOW + 1000);
    cron(&ks, NOW + 1000, BUDGET, count_and_delete, arg);
    cr_assert_eq(expired, 0);
    while (cron(&ks, NOW + 1001, BUDGET, count_and_delete, arg)) {
        cr_assert_leq(expired - before, BUDGET);
        before = expired;
        cr_assert_lt(++turns, COUNT); // each gets on
        cr_assert(expired == COUNT || keyspace_next_cron_ms(&ks) <= NOW + 1001);
    }
    cr_assert_eq(expired, COUNT);
    cr_assert_geq(turns, COUNT / BUDGET - 1);
    cr_assert_eq(keyspace_next_cron_ms(&ks), INT64_MAX);
    keyspace_free(&ks);
}

Test(keyspace, what_was_flushed_is_freed_in_slices)
{
    enum { COUNT = 5000, BUDGET = 100, BUCKET = 64 }; // a bucket is not divided
    struct keyspace ks;
    void *arg[] = {&ks, NULL};
    uint64_t before = 0, turns = 0;
    keyspace_init(&ks, 0, 2, 1, NOW);
    put_many(&ks, 0, COUNT, EXPIRE_NONE);
    put_many(&ks, 1, COUNT, NOW + 1000);
    cr_assert_gt(keyspace_next_cron_ms(&ks), 0);
    db_flush(&ks, &ks.dbs[0], 0);
    db_flush(&ks, &ks.dbs[1], 0);
    cr_assert_eq(keyspace_next_cron_ms(&ks), 0);
    cr_assert(stat_get(&ks.dbs[0].key_count) == 0 && stat_get(&ks.dbs[1].expire_count) == 0);
    put(&ks, 0, SLICE("new"), SLICE("value"), EXPIRE_NONE); // the database goes on meanwhile
    bool has_more = true;
    while (has_more) {
        cr_assert_eq(stat_get(&ks.stats.garbage_pending), 2 * COUNT - before);
        has_more = cron(&ks, NOW, BUDGET, count_and_delete, arg);
        uint64_t freed = stat_get(&ks.stats.garbage_freed);
        cr_assert_lt(freed - before, BUDGET + BUCKET);
        before = freed;
        turns++;
    }
    cr_assert(before == 2 * COUNT && turns > 2 * COUNT / (BUDGET + BUCKET));
    cr_assert(!ks.garbage && ks.dbs[0].keys.count == 1);
    put_many(&ks, 0, 10, EXPIRE_NONE);
    db_flush(&ks, &ks.dbs[0], 0);
    keyspace_free_garbage(&ks);
    cr_assert(!ks.garbage && stat_get(&ks.stats.garbage_pending) == 0);
    keyspace_free(&ks);
}

Test(keyspace, nothing_expires_by_itself_while_that_is_off)
{
    struct keyspace ks;
    uint32_t expired = 0;
    void *arg[] = {&ks, &expired};
    keyspace_init(&ks, 0, 1, 1, NOW);
    put_many(&ks, 0, 10, NOW + 1);
    ks.is_active_expire_on = false;
    cr_assert_eq(keyspace_next_cron_ms(&ks), INT64_MAX);
    cr_assert(!cron(&ks, NOW + 1000, PLENTY, count_and_delete, arg) && expired == 0);
    ks.is_active_expire_on = true;
    cr_assert(!cron(&ks, NOW + 1000, PLENTY, count_and_delete, arg) && expired == 10);
    keyspace_free(&ks);
}

Test(keyspace, the_mean_time_to_live_is_published)
{
    struct keyspace ks;
    keyspace_init(&ks, 0, 1, 1, NOW);
    put(&ks, 0, SLICE("a"), SLICE("v"), NOW + 10000);
    put(&ks, 0, SLICE("b"), SLICE("v"), NOW + 30000);
    put(&ks, 0, SLICE("c"), SLICE("v"), EXPIRE_NONE);
    cron(&ks, NOW, PLENTY, count_and_delete, NULL);
    cr_assert_eq(stat_get(&ks.dbs[0].avg_ttl_ms), 20000);
    keyspace_free(&ks);
}

// --- values of other types -----------------------------------------------------------------------

static struct value set_of_numbers(uint32_t count)
{
    struct value v = set_new();
    struct value_limits limits = {.set_max_intset_entries = 10};
    char text[NUM_I64_TEXT];
    for (uint32_t i = 0; i < count; i++)
        set_add(&v, (struct slice){text, num_format_i64(text, i)}, &limits);
    return v;
}

static struct entry *put_value(struct keyspace *ks, int d, struct slice key, enum object_type type,
                               struct value v)
{
    uint64_t hash = hash_bytes(key);
    struct db *db = &ks->dbs[d];
    return db_set_value(db, db_find(db, key, hash), key, hash, type, v, EXPIRE_NONE);
}

Test(keyspace, a_value_of_many_parts_is_freed_in_slices_however_it_goes)
{
    enum { COUNT = 20000, BUDGET = 100, WAYS = 4 };
    struct slice key = SLICE("big");
    struct keyspace ks;
    keyspace_init(&ks, 0, 1, 1, NOW);
    for (int way = 0; way < WAYS; way++) {
        uint32_t turns = 0;
        size_t before = mem_used_bytes();
        struct entry *e = put_value(&ks, 0, key, TYPE_SET, set_of_numbers(COUNT));
        if (way == 0) db_delete(&ks.dbs[0], e, hash_bytes(key));
        if (way == 1) put(&ks, 0, key, SLICE("v"), EXPIRE_NONE);
        if (way == 2) put_value(&ks, 0, key, TYPE_SET, set_of_numbers(1));
        if (way == 3) db_flush(&ks, &ks.dbs[0], 0);
        cr_assert_eq(stat_get(&ks.stats.garbage_pending), 1);
        cr_assert_eq(keyspace_next_cron_ms(&ks), 0);
        while (cron(&ks, NOW, BUDGET, count_and_delete, NULL)) turns++;
        cr_assert_gt(turns, 20, "way %d: %u turns", way, turns);
        cr_assert(!ks.garbage && stat_get(&ks.stats.garbage_pending) == 0);
        cr_assert_lt(mem_used_bytes(), before + 4096);
        db_validate(&ks.dbs[0]);
    }
    keyspace_free(&ks);
}

Test(keyspace, small_values_are_freed_at_once)
{
    struct slice key = SLICE("small");
    struct keyspace ks;
    keyspace_init(&ks, 0, 1, 1, NOW);
    struct entry *e = put_value(&ks, 0, key, TYPE_SET, set_of_numbers(5));
    db_delete(&ks.dbs[0], e, hash_bytes(key));
    cr_assert(!ks.garbage);
    keyspace_free(&ks);
}

Test(keyspace, a_copy_has_a_value_of_its_own)
{
    struct slice from = SLICE("from"), to = SLICE("to");
    struct keyspace ks;
    keyspace_init(&ks, 0, 2, 1, NOW);
    struct entry *e = put_value(&ks, 0, from, TYPE_SET, set_of_numbers(100));
    struct entry *copy = db_copy(e, &ks.dbs[1], to, hash_bytes(to));
    set_remove(&e->value, SLICE("7"));
    cr_assert(set_len(e->value) == 99 && set_len(copy->value) == 100);
    cr_assert(set_has(copy->value, SLICE("7")));
    keyspace_free(&ks);
}

// Tells fields that are due as engine/engine.c does.
static uint32_t expire_fields(void *arg, uint32_t d, struct entry *e, uint32_t budget)
{
    struct keyspace *ks = ((void **)arg)[0];
    uint32_t *count = ((void **)arg)[1];
    uint32_t done = hash_expire_due(&e->value, NOW + 1001, budget, NULL, NULL);
    db_fields_changed(&ks->dbs[d], e);
    *count += done;
    return done;
}

static struct entry *put_expiring_hash(struct keyspace *ks, int d, struct slice key,
                                       uint32_t fields)
{
    struct value_limits limits = {.hash_max_listpack_entries = 8, .hash_max_listpack_value = 64};
    struct value v = hash_new();
    char text[NUM_I64_TEXT];
    for (uint32_t i = 0; i < fields; i++) {
        struct slice field = {text, num_format_i64(text, i)};
        hash_set(&v, field, field, NOW, &limits);
        hash_set_expiry(&v, field, NOW + 1000);
    }
    return put_value(ks, d, key, TYPE_HASH, v);
}

Test(keyspace, fields_are_told_when_they_are_due_wherever_their_hash_went)
{
    struct keyspace ks;
    uint32_t expired = 0;
    struct slice a = SLICE("a"), b = SLICE("b"), c = SLICE("c"), d = SLICE("d");
    struct keyspace_due due = {.fields = expire_fields, .arg = (void *[]){&ks, &expired}};
    keyspace_init(&ks, 0, 3, 1, NOW);
    struct entry *e = put_expiring_hash(&ks, 0, a, 5);
    db_copy(e, &ks.dbs[1], b, hash_bytes(b));
    e = db_move(&ks.dbs[0], e, hash_bytes(a), &ks.dbs[1], c, hash_bytes(c));
    e = db_set_expire(&ks.dbs[1], e, hash_bytes(c), NOW + 5000); // the entry moves
    put_expiring_hash(&ks, 1, d, 100);                           // a table
    keyspace_swap_dbs(&ks, 1, 2);
    for (int i = 0; i < 3; i++) db_validate(&ks.dbs[i]);
    cr_assert_eq(ks.dbs[2].field_expires.count, 3);
    cr_assert(!keyspace_cron(&ks, NOW + 1000, PLENTY, &due) && expired == 0);
    cr_assert_eq(keyspace_next_cron_ms(&ks), NOW + 1001);
    while (keyspace_cron(&ks, NOW + 1001, 7, &due)) db_validate(&ks.dbs[2]);
    cr_assert_eq(expired, 110);
    cr_assert_eq(ks.dbs[2].field_expires.count, 0);
    keyspace_free(&ks);
}

Test(keyspace, hashes_with_expiring_fields_leave_the_wheel_when_they_go)
{
    struct keyspace ks;
    struct slice a = SLICE("a"), b = SLICE("b"), c = SLICE("c");
    keyspace_init(&ks, 0, 1, 1, NOW);
    db_delete(&ks.dbs[0], put_expiring_hash(&ks, 0, a, 5), hash_bytes(a));
    put_expiring_hash(&ks, 0, b, 200);
    put(&ks, 0, b, SLICE("a string now"), EXPIRE_NONE);
    cr_assert_eq(ks.dbs[0].field_expires.count, 0);
    put_expiring_hash(&ks, 0, c, 5);
    put_expiring_hash(&ks, 0, c, 200);
    cr_assert_eq(ks.dbs[0].field_expires.count, 1);
    db_validate(&ks.dbs[0]);
    db_flush(&ks, &ks.dbs[0], 0);
    cr_assert_eq(ks.dbs[0].field_expires.count, 0);
    keyspace_free(&ks);
}
