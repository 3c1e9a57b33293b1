// SPDX-License-Identifier: BSD-3-Clause
#include "store/image.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/crc64.h"
#include "base/mem.h"
#include "engine/snapshot.h"
#include "store/manifest.h"
#include "types/rdb_writer.h"

#define CHUNK_BYTES (64 << 10)
#define PIECE_BYTES (16 << 10)          // of a big value, between two looks at other things
#define SYNC_BYTES  (UINT64_C(4) << 20) // so that the disk is busy all along, not at the end

struct chunk {
    struct chunk *next;
    struct buf bytes;
    bool is_open; // the value goes on in this shard's next chunk
};

// A shard's part. Its thread's, but for the queue.
struct part {
    struct image *image;
    struct snapshot snapshot;
    struct buf out;  // entries that are whole
    uint32_t out_db; // the last one's database
    struct rdb_writer writer;
    const struct entry *open; // the big value that `writer` is at, or NULL
    bool is_done;
    stat_u64 keys;
    // Guarded by the image's mutex:
    struct chunk *first, **end;
    size_t queued_bytes;
};

struct image {
    struct image_options options;
    char *dir, *name;
    pthread_mutex_t mutex;
    pthread_cond_t has_chunks;
    // Guarded by the mutex:
    uint32_t parts_left, parts_cut;
    uint16_t version; // of the format: the greatest that a shard needs
    bool has_failed, is_canceled, is_unlimited;
    _Atomic bool is_unwanted; // has_failed, for the shards: relaxed, they find out some time
    stat_u64 bytes, keys_total;
    int fd;
    uint64_t crc, unsynced;
    int64_t began_us; // of the writing, monotonic
    struct part parts[];
};

// --- a shard's side ------------------------------------------------------------------------------

static void enqueue(struct part *p, struct buf *bytes, bool is_open)
{
    struct image *im = p->image;
    struct chunk *c = mem_calloc(sizeof *c);
    c->bytes = *bytes;
    c->is_open = is_open;
    *bytes = (struct buf){0};
    pthread_mutex_lock(&im->mutex);
    if (im->has_failed) {
        buf_free(&c->bytes);
        mem_free(c);
    } else {
        *p->end = c;
        p->end = &c->next;
        p->queued_bytes += c->bytes.len;
        pthread_cond_signal(&im->has_chunks);
    }
    pthread_mutex_unlock(&im->mutex);
}

// Entries gather in `out`; behind a big value that is not whole they wait there.
static struct buf *place_for(struct part *p, uint32_t db)
{
    if (!p->out.len && !p->out.cap) buf_reserve(&p->out, CHUNK_BYTES + CHUNK_BYTES / 4);
    if (!p->out.len || p->out_db != db) rdb_file_put_db(&p->out, db);
    p->out_db = db;
    return &p->out;
}

static void hand_over(struct part *p, size_t least)
{
    if (p->open || p->out.len < least || !p->out.len) return;
    enqueue(p, &p->out, false);
}

static bool step_big(struct part *p, bool at_once)
{
    struct buf piece = {0};
    bool is_last = rdb_writer_step(&p->writer, &piece, at_once ? SIZE_MAX : PIECE_BYTES);
    if (is_last) {
        rdb_writer_end(&p->writer);
        p->open = NULL;
    }
    enqueue(p, &piece, !is_last);
    return is_last;
}

static void begin_big(struct part *p, uint32_t db, const struct entry *e)
{
    struct buf head = {0};
    hand_over(p, 0); // what came before
    rdb_file_put_db(&head, db);
    rdb_file_put_entry_head(&head, e, &p->image->options.entries);
    rdb_writer_begin(&p->writer, e->type, e->value, p->image->options.entries.is_compressed);
    p->open = e;
    enqueue(p, &head, true);
}

static bool save(struct snapshot *s, uint32_t db, const struct entry *e, bool at_once)
{
    struct part *p = s->owner;
    if (p->open != e && !at_once && !p->open) begin_big(p, db, e);
    bool is_done = true;
    if (p->open == e)
        is_done = step_big(p, at_once);
    else
        rdb_file_put_entry(place_for(p, db), e, &p->image->options.entries);
    if (is_done) stat_add(&p->keys, 1);
    hand_over(p, CHUNK_BYTES);
    return is_done;
}

void image_cut(struct image *im, struct keyspace *ks)
{
    struct part *p = &im->parts[ks->shard];
    uint64_t keys = 0;
    p->snapshot = (struct snapshot){.save = save, .owner = p};
    for (uint32_t i = 0; i < ks->db_count; i++) keys += ks->dbs[i].keys.count;
    snapshot_cut(ks, &p->snapshot);
    pthread_mutex_lock(&im->mutex);
    im->version = MAX(im->version, rdb_file_version_of(ks));
    stat_add(&im->keys_total, keys);
    im->parts_cut++;
    pthread_cond_signal(&im->has_chunks);
    pthread_mutex_unlock(&im->mutex);
}

static void finish_part(struct part *p)
{
    struct image *im = p->image;
    snapshot_end(&p->snapshot);
    hand_over(p, 0);
    p->is_done = true;
    pthread_mutex_lock(&im->mutex);
    im->parts_left--;
    pthread_cond_signal(&im->has_chunks);
    pthread_mutex_unlock(&im->mutex);
}

static bool is_full(struct part *p)
{
    pthread_mutex_lock(&p->image->mutex);
    bool is_full = p->queued_bytes >= IMAGE_QUEUE_BYTES;
    pthread_mutex_unlock(&p->image->mutex);
    return is_full;
}

enum image_state image_work(struct image *im, struct keyspace *ks, uint32_t budget)
{
    struct part *p = &im->parts[ks->shard];
    ASSERT(ks->snapshot == &p->snapshot && !p->is_done);
    if (atomic_load_explicit(&im->is_unwanted, memory_order_relaxed) && p->snapshot.save) {
        snapshot_give_up(&p->snapshot);
        if (p->open) rdb_writer_end(&p->writer);
        p->open = NULL;
        buf_free(&p->out);
    }
    // What somebody waits for is saved whatever waits for the writer, as it would be by a command.
    if (p->snapshot.save && is_full(p) && !snapshot_is_awaited(&p->snapshot)) return IMAGE_FULL;
    if (!snapshot_walk(&p->snapshot, budget)) return IMAGE_MORE;
    finish_part(p);
    return IMAGE_DONE;
}

// --- the writer's side ---------------------------------------------------------------------------

static bool write_bytes(struct image *im, const char *path, struct slice bytes, struct dir_error *e)
{
    if (im->options.has_checksum) im->crc = crc64_add(im->crc, bytes.ptr, bytes.len);
    if (!dir_write_all(im->fd, path, bytes.ptr, bytes.len, e)) return false;
    stat_add(&im->bytes, bytes.len);
    im->unsynced += bytes.len;
    if (im->unsynced < SYNC_BYTES) return true;
    im->unsynced = 0;
    return fdatasync(im->fd) == 0 || dir_fail_errno(e, errno, "sync", path);
}

// The next chunk, waiting for one. NULL: all shards are done and all is taken, or (canceled) no
// more is wanted. *at: whose the last one was, if its value goes on.
static struct chunk *take_chunk(struct image *im, struct part **at, bool *is_canceled)
{
    struct chunk *c = NULL;
    pthread_mutex_lock(&im->mutex);
    for (;;) {
        struct part *p = *at;
        for (uint32_t i = 0; i < im->options.shard_count && !*at && !c; i++) {
            p = &im->parts[i];
            c = p->first;
        }
        if (*at) c = p->first;
        *is_canceled = im->is_canceled;
        if (c) {
            p->first = c->next;
            if (!p->first) p->end = &p->first;
            p->queued_bytes -= c->bytes.len;
            *at = c->is_open ? p : NULL;
        }
        if (c || !im->parts_left || im->is_canceled) break;
        pthread_cond_wait(&im->has_chunks, &im->mutex);
    }
    pthread_mutex_unlock(&im->mutex);
    return c;
}

static bool is_hurried(const struct image *im)
{
    size_t queued = 0;
    for (uint32_t i = 0; i < im->options.shard_count; i++) queued += im->parts[i].queued_bytes;
    return im->is_canceled || im->is_unlimited || queued > IMAGE_RUSH_BYTES;
}

// Waits until the rate allows for what was written.
static void keep_to_rate(struct image *im)
{
    uint64_t rate = im->options.rate_bytes;
    if (!rate) return;
    double taken_us = (double)stat_get(&im->bytes) * 1e6 / (double)rate;
    int64_t until_us = im->began_us + (int64_t)MIN(taken_us, 1e15);
    struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
    pthread_mutex_lock(&im->mutex);
    while (!is_hurried(im) && clock_mono_us() < until_us)
        pthread_cond_timedwait(&im->has_chunks, &im->mutex, &until);
    pthread_mutex_unlock(&im->mutex);
}

static bool fail_canceled(const char *path, struct dir_error *e)
{
    dir_fail(e, "cannot finish '%s': it was given up", path);
    return false;
}

static bool write_chunks(struct image *im, const char *path, struct dir_error *e)
{
    struct part *at = NULL;
    struct chunk *c;
    bool is_canceled = false, is_good = true;
    while (is_good && (c = take_chunk(im, &at, &is_canceled))) {
        is_good = write_bytes(im, path, buf_slice(&c->bytes), e);
        buf_free(&c->bytes);
        mem_free(c);
        keep_to_rate(im);
    }
    if (is_good && is_canceled) fail_canceled(path, e);
    return is_good && !is_canceled;
}

// When all shards have come to the cut, the header's version is known, and what is the preamble's
// to write is there. False: it was given up before.
static bool wait_for_cut(struct image *im, uint16_t *version)
{
    pthread_mutex_lock(&im->mutex);
    while (im->parts_cut < im->options.shard_count && !im->is_canceled)
        pthread_cond_wait(&im->has_chunks, &im->mutex);
    bool is_cut = im->parts_cut == im->options.shard_count;
    *version = im->version;
    pthread_mutex_unlock(&im->mutex);
    return is_cut;
}

static bool write_preamble(struct image *im, const char *path, struct dir_error *e)
{
    struct buf b = {0};
    uint16_t version;
    if (!wait_for_cut(im, &version)) return fail_canceled(path, e);
    rdb_file_put_header(&b, version);
    rdb_file_put_usual_aux(&b, im->options.entries.now_ms, im->options.is_base);
    if (im->options.preamble) im->options.preamble(im->options.arg, &b);
    bool is_good = write_bytes(im, path, buf_slice(&b), e);
    buf_free(&b);
    return is_good;
}

static bool write_end(struct image *im, const char *path, struct dir_error *e)
{
    struct buf b = {0};
    rdb_file_put_end(&b);
    bool is_good = write_bytes(im, path, buf_slice(&b), e);
    uint64_t crc = im->options.has_checksum ? im->crc : 0;
    b.len = 0;
    rdb_file_put_checksum(&b, crc);
    is_good = is_good && write_bytes(im, path, buf_slice(&b), e);
    buf_free(&b);
    return is_good && (fsync(im->fd) == 0 || dir_fail_errno(e, errno, "sync", path));
}

// Nothing of it is wanted: what is queued goes, and what comes.
static void fail(struct image *im)
{
    atomic_store_explicit(&im->is_unwanted, true, memory_order_relaxed);
    pthread_mutex_lock(&im->mutex);
    im->has_failed = true;
    for (uint32_t i = 0; i < im->options.shard_count; i++) {
        struct part *p = &im->parts[i];
        while (p->first) {
            struct chunk *c = p->first;
            p->first = c->next;
            buf_free(&c->bytes);
            mem_free(c);
        }
        p->end = &p->first;
        p->queued_bytes = 0;
    }
    pthread_mutex_unlock(&im->mutex);
}

static void name_temporary_dump(char *name, size_t size)
{
    snprintf(name, size, IMAGE_TEMPORARY "%d.rdb", (int)getpid());
}

static void name_temporary(const struct image *im, char *name, size_t size)
{
    if (im->options.is_base)
        snprintf(name, size, "%.*s%s", MANIFEST_NAME_CHARS, im->name, DIR_TEMPORARY);
    else
        name_temporary_dump(name, size);
}

void image_remove_temporary(void)
{
    char name[MANIFEST_NAME_CHARS];
    name_temporary_dump(name, sizeof name);
    unlink(name);
}

bool image_write(struct image *im, uint64_t *bytes, struct dir_error *e)
{
    char name[MANIFEST_NAME_CHARS + sizeof DIR_TEMPORARY];
    name_temporary(im, name, sizeof name);
    char *path = dir_join(im->dir, name);
    im->began_us = clock_mono_us();
    im->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool is_good = im->fd >= 0 || dir_fail_errno(e, errno, "create", path);
    is_good = is_good && write_preamble(im, path, e) && write_chunks(im, path, e) &&
              write_end(im, path, e);
    if (!is_good) fail(im);
    if (im->fd >= 0) close(im->fd);
    if (is_good) is_good = dir_rename(im->dir, name, im->name, e);
    if (!is_good) unlink(path);
    *bytes = stat_get(&im->bytes);
    mem_free(path);
    return is_good;
}

void image_cancel(struct image *im)
{
    pthread_mutex_lock(&im->mutex);
    im->is_canceled = true;
    pthread_cond_signal(&im->has_chunks);
    pthread_mutex_unlock(&im->mutex);
}

void image_lift_limit(struct image *im)
{
    pthread_mutex_lock(&im->mutex);
    im->is_unlimited = true;
    pthread_cond_signal(&im->has_chunks);
    pthread_mutex_unlock(&im->mutex);
}

void image_wait(struct image *im)
{
    pthread_mutex_lock(&im->mutex);
    while (im->parts_left) pthread_cond_wait(&im->has_chunks, &im->mutex);
    pthread_mutex_unlock(&im->mutex);
}

struct image_progress image_progress(const struct image *im)
{
    struct image_progress p = {.keys_total = stat_get(&im->keys_total),
                               .bytes = stat_get(&im->bytes)};
    for (uint32_t i = 0; i < im->options.shard_count; i++)
        p.keys_done += stat_get(&im->parts[i].keys);
    return p;
}

// --- life ----------------------------------------------------------------------------------------

struct image *image_new(const struct image_options *o)
{
    struct image *im = mem_calloc(sizeof *im + o->shard_count * sizeof im->parts[0]);
    im->options = *o;
    im->dir = mem_strndup(o->dir, strlen(o->dir));
    im->name = mem_strndup(o->name, strlen(o->name));
    pthread_mutex_init(&im->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&im->has_chunks, &monotonic);
    pthread_condattr_destroy(&monotonic);
    im->parts_left = o->shard_count;
    im->fd = -1;
    for (uint32_t i = 0; i < o->shard_count; i++) {
        im->parts[i].image = im;
        im->parts[i].end = &im->parts[i].first;
    }
    return im;
}

void image_free(struct image *im)
{
    fail(im);
    for (uint32_t i = 0; i < im->options.shard_count; i++) buf_free(&im->parts[i].out);
    pthread_cond_destroy(&im->has_chunks);
    pthread_mutex_destroy(&im->mutex);
    mem_free(im->dir);
    mem_free(im->name);
    mem_free(im);
}
