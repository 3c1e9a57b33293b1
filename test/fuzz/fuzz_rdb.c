// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target: any bytes as an RDB file that is loaded into an engine of two shards. Whatever
// is said of it, no invariant of the data may be broken; a file that is taken for good must,
// written again in small steps, be loaded again with as many keys, by another number of shards.
//
// Input: byte 0: bit 0: expired keys are dropped; bit 1: LFU; bits 2-3: limits of encodings; byte
// 1: the version; what follows the header of the file follows.
#include <stdint.h>

#include "base/assert.h"
#include "base/crc64.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/settings.h"
#include "store/rdb_load.h"
#include "types/rdb_writer.h"

#define NOW_MS      1700000000000
#define SHARDS_MAX  3
#define BUDGET      50
#define DATABASES   4
#define HEADER_SIZE 9

static const struct value_limits many_limits[] = {
    {128, 64, -2, 0, 512, 128, 64, 128, 64, 3000, 4096, 100}, // the defaults
    {4, 8, 4, 1, 4, 4, 8, 4, 8, 64, 128, 4},                  // all small
    {0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1},                     // nothing is compact
    {100000, 100000, -5, 2, 100000, 100000, 100000, 100000, 100000, 16000, 0, 0},
};

static bool take_function(void *arg, struct slice code, char *error)
{
    (void)arg;
    (void)error;
    return code.len > 0;
}

static struct engine *engine_of(const struct settings *s, uint32_t shards)
{
    static const struct command *const no_families[] = {NULL};
    return engine_new(no_families, s, shards, NULL);
}

static bool load(struct engine *e, struct slice bytes, const struct rdb_load_options *o,
                 struct rdb_progress *sum)
{
    struct rdb_file f;
    struct rdb_progress progress[SHARDS_MAX] = {0};
    char error[RDB_FILE_ERROR_MAX] = "";
    bool is_good = rdb_file_open(&f, bytes, error);
    for (uint32_t i = 0; is_good && i < e->shard_count; i++)
        is_good = rdb_load_shard(&f, e, i, o, &progress[i], error);
    is_good = is_good && rdb_load_finish(&f, progress, e->shard_count, o, sum, error);
    ASSERT(is_good == !error[0]);
    for (uint32_t i = 0; i < e->shard_count; i++)
        for (uint32_t d = 0; d < DATABASES; d++) db_validate(&e->spaces[i]->dbs[d]);
    return is_good;
}

static void put_entry(struct buf *out, const struct entry *e, const struct rdb_file_options *o)
{
    struct rdb_writer w;
    char scratch[NUM_I64_TEXT];
    rdb_file_put_entry_head(out, e, o);
    if (e->type == TYPE_STRING)
        rdb_writer_begin_string(&w, entry_string(e, scratch), o->is_compressed);
    else
        rdb_writer_begin(&w, e->type, e->value, o->is_compressed);
    w.string_max = BUDGET;
    while (!rdb_writer_step(&w, out, BUDGET)) continue;
    rdb_writer_end(&w);
}

static struct buf save(const struct engine *e, const struct settings *s)
{
    struct buf out = {0};
    struct rdb_file_options o = rdb_file_options_of(s, NOW_MS);
    rdb_file_put_header(&out, RDB_VERSION_MAX);
    for (uint32_t i = 0; i < e->shard_count; i++)
        for (uint32_t d = 0; d < DATABASES; d++) {
            const struct dict *keys = &e->spaces[i]->dbs[d].keys;
            uint64_t bucket = 0;
            uint32_t at = 0;
            rdb_file_put_db(&out, d);
            for (struct entry *x; (x = dict_next(keys, &bucket, &at));) put_entry(&out, x, &o);
        }
    rdb_file_put_end(&out);
    rdb_file_put_checksum(&out, crc64_add(0, out.ptr, out.len));
    return out;
}

static void check_round_trip(const struct engine *e, const struct rdb_load_options *o,
                             uint64_t keys)
{
    struct engine *again = engine_of(o->settings, SHARDS_MAX);
    struct rdb_progress sum;
    struct buf saved = save(e, o->settings);
    bool is_good = load(again, buf_slice(&saved), o, &sum);
    ASSERT(is_good && sum.keys == keys && !sum.expired && !sum.empty && sum.end == saved.len);
    engine_free(again);
    buf_free(&saved);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    struct settings *s = settings_default();
    s->databases = DATABASES;
    s->rdbchecksum = false; // no input would be good
    s->limits = many_limits[data[0] >> 2 & 3];
    if (data[0] & 2) s->maxmemory_policy = POLICY_ALLKEYS_LFU;
    struct rdb_load_options o = {
        .settings = s, .now_ms = NOW_MS, .drops_expired = data[0] & 1, .function = take_function};
    // In memory of its own, so that reading beyond the end is seen.
    struct buf header = {0};
    rdb_file_put_header(&header, data[1] % (RDB_VERSION_MAX + 1));
    char *bytes = mem_alloc(HEADER_SIZE + size - 2);
    memcpy(bytes, header.ptr, HEADER_SIZE);
    memcpy(bytes + HEADER_SIZE, data + 2, size - 2);
    struct engine *e = engine_of(s, 2);
    struct rdb_progress sum;
    if (load(e, (struct slice){bytes, HEADER_SIZE + size - 2}, &o, &sum)) {
        s->rdbchecksum = true;
        check_round_trip(e, &o, sum.keys);
    }
    engine_free(e);
    mem_free(bytes);
    buf_free(&header);
    settings_free(s);
    return 0;
}
