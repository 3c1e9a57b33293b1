// SPDX-License-Identifier: BSD-3-Clause
//
// Most of the time of loading small keys is waiting for memory: the bucket of a key that nobody has
// touched. So keys are not put into the table as they come but noted, the bucket fetched ahead, and
// put in when there is a batch of them:
//
//   item -> mine? -> hash, fetch its bucket, note key and value      BATCH later, for all notes:
//                    fetch what overflows the bucket; then look-up, entry, insertion
//
// Most strings are noted as they lie in the mapped file; what was an integer or compressed lies in
// the note's own scratch. Order does not matter, for no key may come twice.
//
// The checksum is shared: each of n threads computes that of the n-th part of the file and moves it
// to where it would stand in the whole (base/crc64.h); rdb_load_finish adds the shares up.
#include "store/rdb_load.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/crc64.h"
#include "base/hash.h"
#include "engine/engine.h"
#include "engine/settings.h"

#define BATCH        16   // keys whose buckets are on their way
#define SCRATCH_KEPT 4096 // bytes of a note's scratch that stay for its next key
// Between two looks of others at how far it is, and between two pauses: items, or bytes.
#define PROGRESS_ITEMS 64
#define PROGRESS_BYTES (256u << 10)
#define SHARE_BYTES    (1u << 20) // of the checksum, between two pauses
#define CHECKSUM_BYTES 8
// Bytes of the file for each key that the table is made big enough for in advance: fewer are never
// needed, so that no file can ask for more memory than it deserves.
#define KEY_BYTES_MIN 8

#define LFU_INIT   5        // the counter of a key of which nothing is known, as in Redis
#define IDLE_MAX_S 0x7fffff // half of what the clock in an entry can tell

struct note { // a key that is to be put into its database
    struct db *db;
    struct slice key;
    struct rdb_value value;
    struct buf key_scratch; // of keys that do not lie in the file
    uint64_t hash, offset;
    int64_t expire_at_ms;
    uint32_t lru;
};

struct load {
    const struct rdb_file *file;
    const struct rdb_load_options *options;
    struct engine *engine;
    uint32_t shard;
    struct keyspace *space;
    struct rdb_progress *progress;
    struct rdb_file_reader reader;
    bool counts_freq; // rather than idle time
    uint32_t clock;   // of idle time
    struct note notes[BATCH];
    uint32_t note_count;
    char *error;
};

static bool fail(struct load *l, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail(struct load *l, uint64_t offset, const char *format, ...)
{
    int n = snprintf(l->error, RDB_FILE_ERROR_MAX,
                     "at offset %llu of %zu: ", (unsigned long long)offset, l->file->len);
    va_list args;
    va_start(args, format);
    vsnprintf(l->error + n, RDB_FILE_ERROR_MAX - (size_t)n, format, args);
    va_end(args);
    return false;
}

static bool fail_as_reader(struct load *l)
{
    snprintf(l->error, RDB_FILE_ERROR_MAX, "%s", l->reader.error);
    return false;
}

// --- keys ----------------------------------------------------------------------------------------

// How the key was used, as far as the policy in force counts that.
static uint32_t lru_of(const struct load *l, const struct rdb_item *item)
{
    if (l->counts_freq) {
        uint32_t counter = item->freq >= 0 ? (uint32_t)item->freq : LFU_INIT;
        return ((uint32_t)(l->options->now_ms / 60000) << 8 | counter) & 0xffffff;
    }
    return (l->clock - (uint32_t)MIN(MAX(item->idle_s, 0), IDLE_MAX_S)) & 0xffffff;
}

// What is put belongs to the database; what is not stays the note's.
static bool put(struct load *l, const struct note *n)
{
    const struct rdb_value *v = &n->value;
    if (UNLIKELY(db_find(n->db, n->key, n->hash) != NULL))
        return fail(l, n->offset, "a key that the file has already had in this database");
    struct entry *e =
        v->type == TYPE_STRING
            ? db_set_string(n->db, NULL, n->key, n->hash, v->string, NULL, n->expire_at_ms)
            : db_set_value(n->db, NULL, n->key, n->hash, v->type, v->value, n->expire_at_ms);
    e->lru = n->lru & 0xffffff;
    l->progress->keys++;
    return true;
}

static void free_scratch(struct buf *b)
{
    if (b->cap > SCRATCH_KEPT) buf_free(b);
}

static bool put_notes(struct load *l)
{
    bool is_good = true;
    for (uint32_t i = 0; i < l->note_count; i++)
        dict_prefetch_overflow(&l->notes[i].db->keys, l->notes[i].hash);
    for (uint32_t i = 0; i < l->note_count; i++) {
        struct note *n = &l->notes[i];
        is_good = is_good && put(l, n);
        if (!is_good && n->value.type != TYPE_STRING) value_free(n->value.type, n->value.value);
        free_scratch(&n->value.scratch);
        free_scratch(&n->key_scratch);
    }
    l->note_count = 0;
    return is_good;
}

static bool lies_in_file(const struct load *l, struct slice s)
{
    return s.ptr >= l->file->bytes && s.ptr < l->file->bytes + l->file->len;
}

static struct slice keep_key(const struct load *l, struct slice key, struct buf *scratch)
{
    if (LIKELY(lies_in_file(l, key))) return key;
    scratch->len = 0;
    buf_append(scratch, key.ptr, key.len);
    return buf_slice(scratch);
}

static bool load_key(struct load *l, const struct rdb_item *item)
{
    struct note *n = &l->notes[l->note_count];
    if (UNLIKELY(item->db >= l->space->db_count))
        return fail(l, item->offset, "a key of database %u, but there are %u (see `databases`)",
                    item->db, l->space->db_count);
    n->db = &l->space->dbs[item->db];
    n->hash = hash_bytes(item->name);
    dict_prefetch_bucket(&n->db->keys, n->hash);
    n->key = keep_key(l, item->name, &n->key_scratch);
    n->offset = item->offset;
    n->expire_at_ms = item->expire_at_ms;
    n->lru = lru_of(l, item);
    if (!rdb_file_read_value(&l->reader, item, &l->options->settings->limits, &n->value)) {
        if (!n->value.is_empty) return fail_as_reader(l);
        l->progress->empty++;
        return true;
    }
    bool is_big = n->value.scratch.cap > SCRATCH_KEPT || n->key_scratch.cap > SCRATCH_KEPT;
    return (++l->note_count < BATCH && !is_big) || put_notes(l);
}

static bool take_key(struct load *l, const struct rdb_item *item)
{
    bool is_mine = engine_shard_of(l->engine, item->name) == l->shard;
    bool is_expired = l->options->drops_expired && item->expire_at_ms != EXPIRE_NONE &&
                      item->expire_at_ms < l->options->now_ms;
    if (is_mine && !is_expired) return load_key(l, item);
    if (is_mine) l->progress->expired++;
    return rdb_file_skip_value(&l->reader, item) || fail_as_reader(l);
}

// --- the rest ------------------------------------------------------------------------------------

static void take_sizes(struct load *l, const struct rdb_item *item)
{
    if (item->db >= l->space->db_count) return;
    struct dict *keys = &l->space->dbs[item->db].keys;
    uint64_t expected = item->keys / l->engine->shard_count;
    uint64_t possible = rdb_left(&l->reader.in) / KEY_BYTES_MIN;
    if (!keys->count) dict_reserve(keys, MIN(expected, possible));
}

static bool take_function(struct load *l, const struct rdb_item *item)
{
    char why[RDB_FILE_ERROR_MAX] = "it cannot be loaded";
    if (l->shard != 0 || !l->options->function) return true;
    if (l->options->function(l->options->arg, item->text, why)) return true;
    return fail(l, item->offset, "a library of functions: %s", why);
}

static bool take(struct load *l, const struct rdb_item *item)
{
    switch (item->kind) {
    case RDB_ITEM_KEY: return take_key(l, item);
    case RDB_ITEM_SIZES: take_sizes(l, item); break;
    case RDB_ITEM_FUNCTION: return take_function(l, item);
    case RDB_ITEM_AUX:
        if (l->shard == 0 && l->options->aux)
            l->options->aux(l->options->arg, item->name, item->text);
        break;
    case RDB_ITEM_DB:
    case RDB_ITEM_END: break;
    }
    return true;
}

static bool may_go_on(struct load *l)
{
    const struct rdb_load_options *o = l->options;
    if (!o->pause || o->pause(o->arg, l->shard)) return true;
    snprintf(l->error, RDB_FILE_ERROR_MAX, "it was given up");
    return false;
}

static bool load_all(struct load *l)
{
    struct rdb_item item;
    uint32_t items = 0;
    uint64_t told = 0;
    do {
        if (!rdb_file_next(&l->reader, &item)) return fail_as_reader(l);
        if (!take(l, &item)) return false;
        uint64_t offset = rdb_file_reader_offset(&l->reader);
        if (++items % PROGRESS_ITEMS && offset - told < PROGRESS_BYTES) continue;
        stat_set(&l->progress->bytes, told = offset);
        if (!may_go_on(l)) return false;
    } while (item.kind != RDB_ITEM_END);
    return put_notes(l);
}

// --- the checksum --------------------------------------------------------------------------------

// This shard's share of the sum of the bytes before the checksum.
static bool sum_share(struct load *l, uint64_t bytes)
{
    uint64_t shards = l->engine->shard_count;
    uint64_t from = (uint64_t)((unsigned __int128)bytes * l->shard / shards);
    uint64_t to = (uint64_t)((unsigned __int128)bytes * (l->shard + 1) / shards);
    uint64_t crc = 0;
    for (uint64_t n; from < to; from += n) {
        n = MIN(to - from, SHARE_BYTES);
        crc = crc64_add(crc, l->file->bytes + from, n);
        if (!may_go_on(l)) return false;
    }
    l->progress->crc = crc64_move(crc, bytes - to);
    return true;
}

static bool has_checksum(const struct rdb_load_options *o, uint64_t crc)
{
    return crc && o->settings->rdbchecksum;
}

static void free_load(struct load *l)
{
    for (uint32_t i = 0; i < BATCH; i++) {
        const struct rdb_value *v = &l->notes[i].value;
        if (i < l->note_count && v->type != TYPE_STRING) value_free(v->type, v->value);
        buf_free(&l->notes[i].value.scratch);
        buf_free(&l->notes[i].key_scratch);
    }
    rdb_file_reader_free(&l->reader);
}

bool rdb_load_shard(const struct rdb_file *f, struct engine *e, uint32_t shard,
                    const struct rdb_load_options *o, struct rdb_progress *progress, char *error)
{
    int64_t policy = o->settings->maxmemory_policy;
    struct load l = {.file = f,
                     .options = o,
                     .engine = e,
                     .shard = shard,
                     .space = e->spaces[shard],
                     .progress = progress,
                     .counts_freq = policy == POLICY_ALLKEYS_LFU || policy == POLICY_VOLATILE_LFU,
                     .clock = lru_clock(o->now_ms),
                     .error = error};
    rdb_file_reader_init(&l.reader, f);
    bool is_good = load_all(&l);
    if (is_good) {
        progress->end = rdb_file_reader_offset(&l.reader);
        if (has_checksum(o, l.reader.crc)) is_good = sum_share(&l, progress->end - CHECKSUM_BYTES);
        stat_set(&progress->bytes, f->len);
    }
    for (uint32_t i = 0; i < l.space->db_count; i++) dict_trim(&l.space->dbs[i].keys);
    free_load(&l);
    return is_good;
}

bool rdb_load_finish(const struct rdb_file *f, const struct rdb_progress *progress, uint32_t shards,
                     const struct rdb_load_options *o, struct rdb_progress *sum, char *error)
{
    *sum = (struct rdb_progress){.end = progress[0].end};
    for (uint32_t i = 0; i < shards; i++) {
        ASSERT(progress[i].end == sum->end); // all have read the same file
        sum->keys += progress[i].keys;
        sum->expired += progress[i].expired;
        sum->empty += progress[i].empty;
        sum->crc ^= progress[i].crc;
    }
    stat_set(&sum->bytes, f->len);
    if (f->version < RDB_VERSION_CHECKSUMS) return true;
    uint64_t crc;
    memcpy(&crc, f->bytes + sum->end - CHECKSUM_BYTES, sizeof crc);
    crc = le64toh(crc);
    if (!has_checksum(o, crc) || crc == sum->crc) return true;
    snprintf(error, RDB_FILE_ERROR_MAX,
             "at offset %llu of %zu: the checksum is %016llx, but that of what precedes it is "
             "%016llx: the file is damaged",
             (unsigned long long)sum->end - CHECKSUM_BYTES, f->len, (unsigned long long)crc,
             (unsigned long long)sum->crc);
    return false;
}
