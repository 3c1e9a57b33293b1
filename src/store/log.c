// SPDX-License-Identifier: BSD-3-Clause
//
// What waits is a list of chunks, oldest first:
//
//   UNITS    units, grown at the end                 RECORD   a unit shared with other logs
//   SLOT     a unit not known yet: stop here         ROTATE   what follows goes to another file
//
// log_flush takes the chunks up to the first SLOT or ROTATE, makes a frame of them and writes it;
// they are freed when it is written. Seqs: safe <= synced or written <= end.
#include "store/log.h"

#include <errno.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/jitter.h"
#include "base/mem.h"
#include "io/ring.h"

#define FRAME_PIECES  256
#define CHUNK_BEGIN   (64 << 10) // what a chunk begins with
#define RETRY_MS      1000
#define AHEAD_BYTES   (UINT64_C(16) << 20) // disk space is taken so far ahead
#define AHEAD_FROM    (64 << 10)           // in logs that have grown to this
#define EVERYSEC_MS   1000
#define DELAYED_MS    2000 // a sync that takes longer is counted as delayed
#define SPARE_CAP_MAX (1 << 20)

enum chunk_kind { CHUNK_UNITS, CHUNK_RECORD, CHUNK_SLOT, CHUNK_ROTATE };

struct log_chunk {
    struct log_chunk *next;
    enum chunk_kind kind;
    uint32_t unit_count;
    struct buf bytes;
    struct log_record *record;
    int fd; // ROTATE
    bool has_header;
    struct log_header header;
    char *path;
};

struct log_slot {
    struct log_chunk chunk;
};

// A unit over several shards that is not known to be in all their logs. Oldest first.
struct undecided {
    struct undecided *next;
    struct log_record *record; // a reference
    uint64_t seq;
    bool has_voted;
};

struct log {
    struct ring *ring;
    const struct log_hooks *hooks;
    void *owner;
    struct log_totals *totals;

    int fd; // -1: none yet
    char *path;
    uint64_t offset; // in the file, of the next frame
    uint32_t seed;

    struct log_chunk *head, *tail; // not written
    uint64_t end_seq;              // behind the last of them
    uint64_t pending_bytes;
    struct buf spare;

    // The frame that is being written.
    struct ring_file write;
    struct log_chunk *writing;
    struct iovec iov[FRAME_PIECES + 1];
    char head_bytes[LOG_HEADER_BYTES + LOG_FRAME_BYTES];
    uint64_t frame_bytes, frame_seq, frame_end_seq;
    bool is_writing, writes_header;
    struct log_header header;
    bool was_broken; // of the file before this one
    uint64_t old_bytes, old_end_seq;

    // Space for what comes: where it is taken already, a write waits for no sync.
    struct ring_file allocate;
    uint64_t allocated_bytes;
    bool is_allocating, cannot_allocate;

    struct ring_file sync;
    uint64_t syncing_seq;
    int64_t sync_began_ms, sync_began_us, last_sync_ms;
    bool is_syncing;
    bool owes_mark; // a frame is to say how much is synced, if none comes anyway

    uint64_t written_seq, synced_seq, safe_seq, named_seq;
    uint64_t file_seq;                            // of the first unit in the present file
    struct undecided *undecided, *undecided_tail; // written
    enum log_policy policy;
    int64_t now_ms;
    bool is_optional; // see log_set_optional
    bool is_unnamed;  // the manifest does not name the file yet
    bool is_broken;   // a sync failed: nothing is written before a ROTATE
    bool lacks_base;  // rotated since, but the snapshot is not durable
    int trouble;      // errno of the last failure, 0: all is well
    int64_t retry_ms; // not before
};

// --- records and chunks --------------------------------------------------------------------------

struct log_record *log_record_new(size_t len, uint32_t count)
{
    struct log_record *r = mem_alloc(sizeof *r + len);
    atomic_init(&r->refs, count);
    atomic_init(&r->votes_left, count > 1 ? count : 0);
    r->len = len;
    return r;
}

void log_record_unref(struct log_record *r)
{
    // Release, acquire: the other logs have done with its bytes.
    if (atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) == 1) mem_free(r);
}

static size_t chunk_len(const struct log_chunk *c)
{
    if (c->kind == CHUNK_UNITS) return c->bytes.len;
    return c->kind == CHUNK_RECORD && c->record ? c->record->len : 0;
}

static struct log_chunk *add_chunk(struct log *l, enum chunk_kind kind)
{
    struct log_chunk *c = mem_calloc(sizeof *c);
    c->kind = kind;
    if (l->tail)
        l->tail->next = c;
    else
        l->head = c;
    l->tail = c;
    return c;
}

static void free_chunk(struct log *l, struct log_chunk *c)
{
    if (c->record) log_record_unref(c->record);
    if (c->bytes.ptr && !l->spare.ptr && c->bytes.cap <= SPARE_CAP_MAX) {
        l->spare = c->bytes;
        l->spare.len = 0;
    } else {
        buf_free(&c->bytes);
    }
    mem_free(c->path);
    mem_free(c);
}

static void add_pending(struct log *l, size_t bytes)
{
    l->pending_bytes += bytes;
    stat_set(&l->totals->pending_bytes, l->pending_bytes);
}

// --- appending -----------------------------------------------------------------------------------

static struct log_chunk *byte_chunk(struct log *l)
{
    if (LIKELY(l->tail && l->tail->kind == CHUNK_UNITS)) return l->tail;
    struct log_chunk *c = add_chunk(l, CHUNK_UNITS);
    c->bytes = l->spare;
    l->spare = (struct buf){0};
    if (!c->bytes.ptr) buf_reserve(&c->bytes, CHUNK_BEGIN);
    return c;
}

uint64_t log_append(struct log *l, struct slice effects)
{
    struct log_chunk *c = byte_chunk(l);
    size_t before = c->bytes.len;
    log_put_local(&c->bytes, effects.len);
    buf_append(&c->bytes, effects.ptr, effects.len);
    c->unit_count++;
    add_pending(l, c->bytes.len - before);
    return ++l->end_seq;
}

uint64_t log_append_record(struct log *l, struct log_record *r)
{
    struct log_chunk *c = add_chunk(l, CHUNK_RECORD);
    c->record = r;
    c->unit_count = 1;
    add_pending(l, r->len);
    return ++l->end_seq;
}

struct log_slot *log_reserve(struct log *l)
{
    struct log_chunk *c = add_chunk(l, CHUNK_SLOT);
    c->unit_count = 1;
    l->end_seq++;
    return CONTAINER_OF(c, struct log_slot, chunk);
}

// A unit without effects, for a slot that came to nothing: seqs have no gaps.
static struct log_record *empty_record(void)
{
    struct buf b = {0};
    log_put_local(&b, 0);
    struct log_record *r = log_record_new(b.len, 1);
    memcpy(r->bytes, b.ptr, b.len);
    buf_free(&b);
    return r;
}

void log_fill(struct log *l, struct log_slot *slot, struct log_record *r)
{
    struct log_chunk *c = &slot->chunk;
    ASSERT(c->kind == CHUNK_SLOT);
    c->kind = CHUNK_RECORD;
    c->record = r ? r : empty_record();
    add_pending(l, c->record->len);
}

uint64_t log_rotate(struct log *l, int fd, const struct log_header *header, const char *path)
{
    struct log_chunk *c = add_chunk(l, CHUNK_ROTATE);
    c->fd = fd;
    c->path = mem_strndup(path, strlen(path));
    c->header = *header;
    c->has_header = header->crc != 0;
    ASSERT(!c->has_header || header->first_seq == l->end_seq);
    c->header.first_seq = l->end_seq;
    if (!l->is_unnamed) l->named_seq = l->end_seq;
    l->is_unnamed = true;
    return l->end_seq;
}

// --- what is safe --------------------------------------------------------------------------------

uint64_t log_end(const struct log *l)
{
    return l->end_seq;
}

uint64_t log_safe(const struct log *l)
{
    return l->is_optional ? l->end_seq : l->safe_seq;
}

static void add_undecided(struct log *l, struct log_record *r, uint64_t seq)
{
    struct undecided *u = mem_alloc(sizeof *u);
    *u = (struct undecided){.record = r, .seq = seq};
    if (l->undecided_tail)
        l->undecided_tail->next = u;
    else
        l->undecided = u;
    l->undecided_tail = u;
}

static void drop_undecided(struct log *l)
{
    struct undecided *u = l->undecided;
    l->undecided = u->next;
    if (!l->undecided) l->undecided_tail = NULL;
    log_record_unref(u->record);
    mem_free(u);
}

// Votes for the units over several shards below `seq`, up to the first that is not decided. Returns
// how far that is.
static uint64_t vote(struct log *l, uint64_t seq)
{
    while (l->undecided && l->undecided->seq < seq) {
        struct undecided *u = l->undecided;
        jitter();
        // Release, acquire: who tells that a unit is safe has seen all logs have it.
        if (!u->has_voted &&
            atomic_fetch_sub_explicit(&u->record->votes_left, 1, memory_order_acq_rel) == 1)
            l->hooks->decided(l->owner, u->record);
        u->has_voted = true;
        if (atomic_load_explicit(&u->record->votes_left, memory_order_acquire)) return u->seq;
        drop_undecided(l);
    }
    return seq;
}

static void advance(struct log *l)
{
    if (l->lacks_base) return; // nor does it vote: what it lost is nowhere yet
    uint64_t safe = vote(l, l->policy == LOG_SYNC_ALWAYS ? l->synced_seq : l->written_seq);
    if (l->is_unnamed) safe = MIN(safe, l->named_seq);
    if (safe <= l->safe_seq) return;
    l->safe_seq = safe;
    l->hooks->advanced(l->owner);
}

static void note_trouble(struct log *l, int error, const char *doing)
{
    if (error) l->retry_ms = l->now_ms + RETRY_MS;
    if (error == l->trouble) return;
    l->trouble = error;
    l->hooks->trouble(l->owner, error, doing, l->path ? l->path : "");
}

void log_set_optional(struct log *l, bool is_optional)
{
    if (l->is_optional == is_optional) return;
    l->is_optional = is_optional;
    if (is_optional) l->hooks->advanced(l->owner);
}

void log_look_again(struct log *l)
{
    advance(l);
}

void log_is_named(struct log *l)
{
    l->is_unnamed = false;
    advance(l);
}

void log_base_is_durable(struct log *l)
{
    bool was_lacking = l->lacks_base;
    l->lacks_base = false;
    if (was_lacking && l->trouble && !l->is_broken) note_trouble(l, 0, "fsync");
    advance(l);
}

// --- syncing -------------------------------------------------------------------------------------

static void end_sync(struct log *l, int error)
{
    l->is_syncing = false;
    stat_set(&l->totals->is_sync_running, 0);
    stat_add(&l->totals->sync_count, 1);
    if (l->policy == LOG_SYNC_ALWAYS)
        l->hooks->took(l->owner, "aof-fsync-always",
                       (uint64_t)(clock_mono_us() - l->sync_began_us));
    if (l->now_ms - l->sync_began_ms > DELAYED_MS) stat_add(&l->totals->delayed_syncs, 1);
    if (error) {
        l->is_broken = true;
        note_trouble(l, error, "fsync");
        return;
    }
    l->synced_seq = MAX(l->synced_seq, l->syncing_seq);
    l->owes_mark = l->policy != LOG_SYNC_ALWAYS; // there the next frame says it soon
    advance(l);
}

static void on_synced(struct ring_file *file, int64_t result)
{
    end_sync(CONTAINER_OF(file, struct log, sync), result < 0 ? (int)-result : 0);
}

static void start_sync(struct log *l)
{
    l->sync.fd = l->fd;
    l->sync.done = on_synced;
    l->syncing_seq = l->written_seq;
    l->sync_began_ms = l->last_sync_ms = l->now_ms;
    l->sync_began_us = clock_mono_us();
    l->is_syncing = true;
    stat_set(&l->totals->is_sync_running, 1);
    ring_sync_start(l->ring, &l->sync);
}

// --- space ---------------------------------------------------------------------------------------

static void on_allocated(struct ring_file *file, int64_t result)
{
    struct log *l = CONTAINER_OF(file, struct log, allocate);
    l->is_allocating = false;
    // No space is told by the write that finds none; whoever cannot do it at all need not try
    // again.
    if (result < 0)
        l->cannot_allocate = true;
    else
        l->allocated_bytes = file->offset_bytes + file->size_bytes;
}

// When half of what was taken is used up, and no sync is under way: while one is, allocating makes
// writes wait.
static void allocate_ahead(struct log *l)
{
    if (LIKELY(l->offset + AHEAD_BYTES / 2 < l->allocated_bytes) || l->is_allocating) return;
    if (l->offset < AHEAD_FROM || l->cannot_allocate || l->is_syncing || l->is_broken || l->fd < 0)
        return;
    l->allocate.fd = l->fd;
    l->allocate.done = on_allocated;
    l->allocate.offset_bytes = MAX(l->offset, l->allocated_bytes);
    l->allocate.size_bytes = AHEAD_BYTES;
    l->is_allocating = true;
    ring_allocate_start(l->ring, &l->allocate);
}

// What was taken and not used goes back.
static void close_file(struct log *l)
{
    if (l->fd < 0) return;
    if (l->allocated_bytes > l->offset && ftruncate(l->fd, (off_t)l->offset)) {
        // It stays taken; the next rewrite removes the file.
    }
    close(l->fd);
    l->fd = -1;
}

static bool is_sync_due(const struct log *l, enum log_policy policy)
{
    if (l->is_syncing || l->is_writing || l->is_broken || l->fd < 0) return false;
    if (l->written_seq == l->synced_seq) return false;
    if (policy == LOG_SYNC_ALWAYS || (l->head && l->head->kind == CHUNK_ROTATE)) return true;
    return policy == LOG_SYNC_EVERYSEC && l->now_ms - l->last_sync_ms >= EVERYSEC_MS;
}

// --- writing -------------------------------------------------------------------------------------

// The chunks up to the first that stops become the frame to write. Without any it is still one if
// the file has no header yet, or nothing in it says how much of it is synced.
static int take_frame(struct log *l)
{
    struct log_chunk *last = NULL;
    struct log_frame frame = {.first_seq = l->written_seq, .durable_seq = l->synced_seq};
    int count = 0;
    for (struct log_chunk *c = l->head; c && count < FRAME_PIECES && c->kind <= CHUNK_RECORD;
         c = c->next) {
        const char *bytes = c->kind == CHUNK_RECORD ? c->record->bytes : c->bytes.ptr;
        l->iov[1 + count++] =
            (struct iovec){.iov_base = (char *)(uintptr_t)bytes, .iov_len = chunk_len(c)};
        frame.unit_count += c->unit_count;
        frame.payload_bytes += chunk_len(c);
        last = c;
    }
    if (!count && !l->writes_header && !l->owes_mark) return 0;
    l->owes_mark = false;
    if (count) {
        l->writing = l->head;
        l->head = last->next;
        if (!l->head) l->tail = NULL;
        last->next = NULL;
    }
    char *at = l->head_bytes;
    if (l->writes_header) {
        log_header_encode(&l->header, at);
        l->seed = l->header.crc;
        at += LOG_HEADER_BYTES;
    }
    log_frame_encode(&frame, l->seed, &l->iov[1], count, at);
    l->iov[0] = (struct iovec){.iov_base = l->head_bytes,
                               .iov_len = (size_t)(at - l->head_bytes) + LOG_FRAME_BYTES};
    l->frame_bytes = l->iov[0].iov_len + frame.payload_bytes;
    l->frame_seq = frame.first_seq;
    l->frame_end_seq = l->written_seq + frame.unit_count;
    return count + 1;
}

// The chunk is done with, but others may have to hear of its unit.
static void leave_chunk(struct log *l, struct log_chunk *c, uint64_t seq)
{
    if (c->record && atomic_load_explicit(&c->record->votes_left, memory_order_relaxed)) {
        add_undecided(l, c->record, seq);
        c->record = NULL;
    }
    free_chunk(l, c);
}

static void drop_frame(struct log *l)
{
    uint64_t bytes = 0, seq = l->frame_seq;
    while (l->writing) {
        struct log_chunk *c = l->writing;
        l->writing = c->next;
        bytes += chunk_len(c);
        uint64_t next_seq = seq + c->unit_count;
        leave_chunk(l, c, seq);
        seq = next_seq;
    }
    l->pending_bytes -= bytes;
    stat_set(&l->totals->pending_bytes, l->pending_bytes);
}

// The new file has its header.
static void end_rotation(struct log *l)
{
    l->writes_header = false;
    l->hooks->rotated(l->owner, l->was_broken, l->old_bytes, l->old_end_seq, l->header.first_seq);
}

// The frame is in the file, or (error) it is not and will be written again at the same place.
static void end_write(struct log *l, int error)
{
    l->is_writing = false;
    if (error) {
        l->owes_mark |= !l->writing; // it was one
        note_trouble(l, error, "write");
        return;
    }
    l->offset += l->frame_bytes;
    stat_set(&l->totals->file_bytes, l->offset);
    l->written_seq = l->frame_end_seq;
    drop_frame(l);
    if (UNLIKELY(l->writes_header)) end_rotation(l);
    if (l->trouble && !l->is_broken && !l->lacks_base) note_trouble(l, 0, "write");
    advance(l);
}

static void on_written(struct ring_file *file, int64_t result)
{
    end_write(CONTAINER_OF(file, struct log, write), result < 0 ? (int)-result : 0);
}

static void prepare_write(struct log *l, int iov_count)
{
    l->write.fd = l->fd;
    l->write.done = on_written;
    l->write.iov = l->iov;
    l->write.iov_count = iov_count;
    l->write.offset_bytes = l->offset;
    l->is_writing = true;
}

// Is there one to write though nothing new came?
static bool has_frame(const struct log *l)
{
    return l->writing || l->writes_header || l->owes_mark;
}

static int frame_pieces(const struct log *l)
{
    int count = 1;
    for (const struct log_chunk *c = l->writing; c; c = c->next) count++;
    return count;
}

// One frame, if there is something for it. False: nothing (more) can be written now.
static bool write_frame(struct log *l)
{
    if (l->is_writing || l->is_broken || l->fd < 0) return false;
    if (l->trouble && l->now_ms < l->retry_ms) return false;
    int count = l->writing ? frame_pieces(l) : take_frame(l);
    if (!count) return false;
    prepare_write(l, count);
    if (l->is_syncing) { // a plain write would wait for the sync
        ring_write_start(l->ring, &l->write);
        return false;
    }
    int64_t began_us = clock_mono_us();
    int64_t result = ring_write_now(l->ring, &l->write);
    l->hooks->took(l->owner, "aof-write", (uint64_t)(clock_mono_us() - began_us));
    end_write(l, result < 0 ? (int)-result : 0);
    return result >= 0;
}

// --- another file --------------------------------------------------------------------------------

static void open_next(struct log *l)
{
    struct log_chunk *c = l->head;
    l->head = c->next;
    if (!l->head) l->tail = NULL;
    l->old_bytes = l->offset;
    l->old_end_seq = l->written_seq;
    l->was_broken = l->lacks_base;
    close_file(l);
    l->allocated_bytes = 0;
    l->cannot_allocate = false;
    mem_free(l->path);
    l->fd = c->fd;
    l->path = c->path;
    c->path = NULL;
    l->header = c->header;
    l->writes_header = !c->has_header;
    l->seed = c->header.crc;
    l->offset = c->has_header ? LOG_HEADER_BYTES : 0;
    stat_set(&l->totals->file_bytes, l->offset);
    l->written_seq = l->synced_seq = l->file_seq = c->header.first_seq;
    free_chunk(l, c);
}

// The log was broken: the snapshot will hold what stands before the new file.
static void skip_to_rotation(struct log *l)
{
    struct log_chunk *c = l->head;
    while (c && c->kind != CHUNK_ROTATE && c->kind != CHUNK_SLOT) c = c->next;
    if (!c || c->kind == CHUNK_SLOT) return;
    uint64_t seq = l->writing ? l->frame_end_seq : l->written_seq;
    drop_frame(l);
    while (l->head != c) {
        struct log_chunk *gone = l->head;
        uint64_t next_seq = seq + gone->unit_count;
        l->head = gone->next;
        l->pending_bytes -= chunk_len(gone);
        leave_chunk(l, gone, seq);
        seq = next_seq;
    }
    l->is_broken = false;
    l->lacks_base = true;
    l->written_seq = l->synced_seq = c->header.first_seq;
    l->retry_ms = 0;
}

static bool may_open_next(const struct log *l)
{
    return l->head && l->head->kind == CHUNK_ROTATE && !l->is_writing && !l->writing &&
           !l->is_syncing && !l->is_allocating && (l->fd < 0 || l->synced_seq == l->written_seq);
}

// --- the turn ------------------------------------------------------------------------------------

void log_flush(struct log *l, enum log_policy policy, int64_t now_ms)
{
    l->now_ms = now_ms;
    if (UNLIKELY(policy != l->policy)) {
        l->policy = policy;
        advance(l);
    }
    if (!l->head && !has_frame(l) && l->synced_seq == l->written_seq) return;
    if (UNLIKELY(l->is_broken) && !l->is_writing && !l->is_syncing) skip_to_rotation(l);
    // Under `always` a write waits for the sync before it, so that it is part of the next one.
    while (!(policy == LOG_SYNC_ALWAYS && l->is_syncing)) {
        if (UNLIKELY(may_open_next(l))) open_next(l);
        if (!write_frame(l)) break;
    }
    if (is_sync_due(l, policy))
        start_sync(l);
    else
        allocate_ahead(l);
}

int64_t log_next_ms(const struct log *l)
{
    if (l->is_broken) return INT64_MAX; // a rotation will come
    if (l->retry_ms > l->now_ms && (l->head || has_frame(l))) return l->retry_ms;
    if (l->policy == LOG_SYNC_EVERYSEC && l->synced_seq != l->written_seq && !l->is_syncing)
        return l->last_sync_ms + EVERYSEC_MS;
    return INT64_MAX;
}

bool log_is_idle(const struct log *l)
{
    return !l->is_writing && !l->is_syncing && !l->is_allocating;
}

bool log_flush_now(struct log *l)
{
    ASSERT(log_is_idle(l));
    l->retry_ms = 0;
    for (;;) {
        while (write_frame(l)) {
        }
        if (l->is_broken) return false; // also with nothing more to write
        if (l->writing || l->fd < 0) return !l->head && !l->writing;
        if (l->synced_seq != l->written_seq) {
            l->syncing_seq = l->written_seq;
            end_sync(l, fdatasync(l->fd) ? errno : 0);
            if (l->is_broken) return false;
        }
        if (!may_open_next(l)) break;
        open_next(l);
    }
    l->owes_mark = true;
    write_frame(l);
    return !l->head && fdatasync(l->fd) == 0;
}

// --- life ----------------------------------------------------------------------------------------

struct log *log_new(struct ring *ring, const struct log_hooks *hooks, void *owner,
                    struct log_totals *totals, uint64_t first_seq)
{
    struct log *l = mem_calloc(sizeof *l);
    l->ring = ring;
    l->hooks = hooks;
    l->owner = owner;
    l->totals = totals;
    l->fd = -1;
    l->end_seq = l->written_seq = l->synced_seq = l->safe_seq = first_seq;
    return l;
}

void log_free(struct log *l)
{
    ASSERT(log_is_idle(l));
    drop_frame(l);
    while (l->head) {
        struct log_chunk *c = l->head;
        l->head = c->next;
        if (c->kind == CHUNK_ROTATE) close(c->fd);
        free_chunk(l, c);
    }
    while (l->undecided) drop_undecided(l);
    close_file(l);
    buf_free(&l->spare);
    mem_free(l->path);
    mem_free(l);
}
