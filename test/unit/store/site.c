// SPDX-License-Identifier: BSD-3-Clause
#include "site.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/settings.h"
#include "script/scripting.h"
#include "store/rdb_file.h"

// --- life ----------------------------------------------------------------------------------------

void site_init(struct site *s)
{
    *s = (struct site){.settings = settings_default()};
    s->settings->appendonly = true;
    log_set_level(LOG_NOTHING);
    snprintf(s->dir, sizeof s->dir, "/tmp/gyre-site-XXXXXX");
    cr_assert(mkdtemp(s->dir));
    cr_assert_eq(chdir(s->dir), 0);
    cr_assert_eq(mkdir(SITE_LOGS, 0755), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void site_free(struct site *s)
{
    for (int i = 0; i < SITE_LOGS_MAX; i++) {
        buf_free(&s->logs[i].bytes);
        buf_free(&s->logs[i].payload);
    }
    manifest_clear(&s->manifest);
    settings_free(s->settings);
    cr_assert_eq(chdir("/"), 0);
    nftw(s->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

// --- files ---------------------------------------------------------------------------------------

static void write_file(const char *path, int flags, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | flags, 0644);
    cr_assert(fd >= 0, "%s", path);
    cr_assert_eq(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

void site_put(const char *path, struct slice bytes)
{
    write_file(path, O_CREAT | O_TRUNC, bytes.ptr, bytes.len);
}

void site_append(const char *path, const char *bytes, size_t len)
{
    write_file(path, O_APPEND, bytes, len);
}

void site_get(const char *path, struct buf *out)
{
    struct dir_error e;
    cr_assert(dir_read_file(path, SIZE_MAX / 2, out, &e), "%s", e.text);
}

uint64_t site_size(const char *path)
{
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

void site_damage(const char *path, size_t at)
{
    struct buf bytes = {0};
    site_get(path, &bytes);
    cr_assert_lt(at, bytes.len);
    bytes.ptr[at] ^= 4;
    site_put(path, buf_slice(&bytes));
    buf_free(&bytes);
}

static void put_entries(struct buf *out, const struct dict *keys)
{
    struct rdb_file_options o = {.is_compressed = true, .use = RDB_USE_NONE, .now_ms = SITE_NOW_MS};
    uint64_t bucket = 0;
    uint32_t at = 0;
    const struct entry *e;
    while ((e = dict_next(keys, &bucket, &at))) rdb_file_put_entry(out, e, &o);
}

static void put_functions(struct buf *out, const struct twin *t)
{
    struct library_set *set = library_registry_get(&scripting_of(t->engine)->libraries);
    for (uint32_t i = 0; i < set->count; i++)
        rdb_file_put_function(out, set->libraries[i]->code, true);
    library_set_unref(set);
}

void site_save_rdb(const char *path, const struct twin *t)
{
    struct buf out = {0};
    rdb_file_put_header(&out, 12);
    rdb_file_put_usual_aux(&out, SITE_NOW_MS, false);
    put_functions(&out, t);
    for (uint32_t d = 0; d < (uint32_t)t->settings->databases; d++)
        for (uint32_t i = 0; i < t->shards; i++) {
            rdb_file_put_db(&out, d);
            put_entries(&out, &t->engine->spaces[i]->dbs[d].keys);
        }
    rdb_file_put_end(&out);
    rdb_file_put_checksum(&out, 0);
    site_put(path, buf_slice(&out));
    buf_free(&out);
}

// --- logs ----------------------------------------------------------------------------------------

void site_begin_epoch(struct site *s, uint32_t shards, char run)
{
    char name[MANIFEST_RUN_CHARS + 1] = "", bytes[LOG_HEADER_BYTES];
    struct manifest *m = &s->manifest;
    const struct manifest_epoch *before = m->epoch_count ? &m->epochs[m->epoch_count - 1] : NULL;
    memset(name, run, MANIFEST_RUN_CHARS);
    bool goes_on = before && strcmp(before->run, name) == 0;
    struct manifest_epoch *e = manifest_add_epoch(m, m->epoch_count + 1, shards, name);
    s->shards = shards;
    for (uint32_t i = 0; i < shards; i++) {
        struct site_log *log = &s->logs[i];
        e->logs[i].first_seq = goes_on ? log->next_seq : (i + 1) * 100;
        buf_free(&log->bytes);
        buf_free(&log->payload);
        *log = (struct site_log){.header = manifest_header(e, i)};
        log->next_seq = e->logs[i].first_seq;
        log_header_encode(&log->header, bytes);
        buf_append(&log->bytes, bytes, sizeof bytes);
    }
}

struct part { // of a unit
    uint32_t shard;
    struct slice effects;
};

static void put_local(struct site_log *log, struct slice effects)
{
    log_put_local(&log->payload, effects.len);
    buf_append(&log->payload, effects.ptr, effects.len);
    log->units++;
}

static void put_unit(struct site *s, const struct part *parts, uint32_t count)
{
    if (count == 1) {
        put_local(&s->logs[parts[0].shard], parts[0].effects);
        return;
    }
    s->txid++;
    for (uint32_t i = 0; i < count; i++) {
        struct site_log *log = &s->logs[parts[i].shard];
        log_put_transaction(&log->payload, s->txid, count);
        for (uint32_t k = 0; k < count; k++) {
            log_put_group(&log->payload, parts[k].shard, parts[k].effects.len);
            buf_append(&log->payload, parts[k].effects.ptr, parts[k].effects.len);
        }
        log->units++;
    }
}

static uint32_t get_u32(const char **at)
{
    uint32_t n;
    memcpy(&n, *at, sizeof n);
    *at += sizeof n;
    return n;
}

static void log_apart(struct site *s, const struct twin *t)
{
    struct part parts[SITE_LOGS_MAX];
    uint32_t count = 0;
    for (const char *at = t->journal.ptr, *end = at + t->journal.len; at < end;) {
        uint32_t shard = get_u32(&at);
        if (shard == UINT32_MAX) {
            put_unit(s, parts, count);
            count = 0;
            continue;
        }
        uint32_t len = get_u32(&at);
        parts[count++] = (struct part){shard, {at, len}};
        at += len;
    }
}

static void log_joined(struct site *s, const struct twin *t)
{
    struct buf effects[SITE_LOGS_MAX] = {0};
    struct part parts[SITE_LOGS_MAX];
    uint32_t count = 0;
    for (const char *at = t->journal.ptr, *end = at + t->journal.len; at < end;) {
        uint32_t shard = get_u32(&at);
        if (shard == UINT32_MAX) continue;
        uint32_t len = get_u32(&at);
        buf_append(&effects[shard], at, len);
        at += len;
    }
    for (uint32_t i = 0; i < s->shards; i++)
        if (effects[i].len) parts[count++] = (struct part){i, buf_slice(&effects[i])};
    if (count) put_unit(s, parts, count);
    for (uint32_t i = 0; i < s->shards; i++) buf_free(&effects[i]);
}

void site_end_frame(struct site *s, uint32_t shard)
{
    struct site_log *log = &s->logs[shard];
    char head[LOG_FRAME_BYTES];
    struct iovec payload = {log->payload.ptr, log->payload.len};
    struct log_frame frame = {
        .unit_count = log->units, .first_seq = log->next_seq, .durable_seq = log->synced};
    if (!log->units) return;
    log_frame_encode(&frame, log->header.crc, &payload, 1, head);
    if (!log->is_lost) {
        buf_append(&log->bytes, head, sizeof head);
        buf_append(&log->bytes, log->payload.ptr, log->payload.len);
        log->next_seq += log->units;
    }
    log->payload.len = 0;
    log->units = 0;
}

void site_log(struct site *s, struct twin *t, bool joined)
{
    cr_assert_eq(t->shards, s->shards);
    if (!t->journal.len) return;
    if (joined)
        log_joined(s, t);
    else
        log_apart(s, t);
    for (uint32_t i = 0; i < s->shards; i++) site_end_frame(s, i);
    t->journal.len = 0;
}

void site_run(struct site *s, struct twin *t, const char *line)
{
    mem_free(twin_run_line(t, line));
    site_log(s, t, false);
}

void site_log_effect(struct site *s, uint32_t shard, uint32_t db, const char *line)
{
    struct effects e = {0};
    struct slice words[16];
    char *copy = mem_strdup(line), *rest = NULL;
    int n = 0;
    for (char *w = strtok_r(copy, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
        words[n++] = slice_of(w);
    effect_put(&e, db, n, words);
    put_local(&s->logs[shard], buf_slice(&e.bytes));
    effect_free(&e);
    mem_free(copy);
}

void site_end_epoch(struct site *s, bool closes)
{
    struct manifest_epoch *e = &s->manifest.epochs[s->manifest.epoch_count - 1];
    struct dir_error error;
    for (uint32_t i = 0; i < s->shards; i++) {
        struct manifest_log *entry = &e->logs[i];
        char *path = dir_join(SITE_LOGS, entry->name);
        site_end_frame(s, i);
        site_put(path, buf_slice(&s->logs[i].bytes));
        mem_free(path);
        entry->is_closed = closes;
        entry->end_seq = s->logs[i].next_seq;
        entry->bytes = s->logs[i].bytes.len;
    }
    cr_assert(manifest_write(&s->manifest, SITE_LOGS, &error), "%s", error.text);
}

// --- servers -------------------------------------------------------------------------------------

struct hand {
    pthread_t thread;
    struct recovery *recovery;
    uint32_t shard;
    uint64_t pauses;
};

static void on_pause(void *arg)
{
    struct hand *h = arg;
    h->pauses++;
}

static void *run_hand(void *arg)
{
    struct hand *h = arg;
    recovery_run(h->recovery, h->shard, on_pause, h);
    return NULL;
}

static bool run_recovery(struct site_server *server, struct recovery *r, uint32_t shards)
{
    struct hand hands[SITE_LOGS_MAX];
    for (uint32_t i = 0; i < shards; i++) {
        hands[i] = (struct hand){.recovery = r, .shard = i};
        cr_assert_eq(pthread_create(&hands[i].thread, NULL, run_hand, &hands[i]), 0);
    }
    for (uint32_t i = 0; i < shards; i++) {
        pthread_join(hands[i].thread, NULL);
        server->pauses += hands[i].pauses;
    }
    return recovery_result(r, &server->result);
}

bool site_start(struct site *s, struct site_server *server, uint32_t shards)
{
    *server = (struct site_server){0};
    twin_init(&server->twin, shards, SITE_NOW_MS);
    struct recovery_options o = {
        .engine = server->twin.engine, .settings = s->settings, .now_ms = SITE_NOW_MS};
    struct recovery *r = recovery_open(&o, &server->error);
    if (!r) return false;
    bool is_good = run_recovery(server, r, shards);
    cr_assert_eq(is_good, server->result.is_good);
    manifest_copy(&server->manifest, server->result.manifest);
    snprintf(server->path, sizeof server->path, "%s", server->result.path);
    if (!is_good) server->error = server->result.error;
    recovery_free(r);
    return is_good;
}

void site_stop(struct site_server *server)
{
    manifest_clear(&server->manifest);
    twin_free(&server->twin);
}

static void check_stats(const struct site_server *server)
{
    for (uint32_t i = 0; i < server->twin.shards; i++) {
        const struct keyspace *ks = server->twin.engine->spaces[i];
        cr_assert_eq(stat_get(&ks->stats.dirty), 0);
        cr_assert_eq(stat_get(&ks->stats.hits) + stat_get(&ks->stats.misses), 0);
        cr_assert_null(ks->garbage);
        cr_assert(ks->is_active_expire_on);
    }
}

void site_check(struct site *s, const struct twin *t, const char *what)
{
    static const uint32_t counts[] = {1, 2, 4};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct site_server server;
        cr_assert(site_start(s, &server, counts[i]), "%s, %u shards: %s", what, counts[i],
                  server.error.text);
        char *difference = twin_difference(t, &server.twin);
        cr_assert(!*difference, "%s, %u shards of %u\n%s", what, counts[i], t->shards, difference);
        mem_free(difference);
        check_stats(&server);
        site_stop(&server);
    }
}

void site_check_refusal(struct site *s, const char *words, const char *more_words)
{
    static const uint32_t counts[] = {1, 3};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct site_server server;
        cr_assert(!site_start(s, &server, counts[i]), "started, but should not: %s", words);
        cr_assert(strstr(server.error.text, words), "no \"%s\" in: %s", words, server.error.text);
        cr_assert(strstr(server.error.text, more_words), "no \"%s\" in: %s", more_words,
                  server.error.text);
        site_stop(&server);
    }
}

// --- scenes --------------------------------------------------------------------------------------

void scene_begin(struct scene *s, uint32_t shards)
{
    site_init(&s->site);
    twin_init(&s->twin, shards, SITE_NOW_MS);
    site_begin_epoch(&s->site, shards, 'a');
}

void scene_end(struct scene *s)
{
    twin_free(&s->twin);
    site_free(&s->site);
}

void scene_run(struct scene *s, const char *line)
{
    site_run(&s->site, &s->twin, line);
}
