// SPDX-License-Identifier: BSD-3-Clause
//
// The file is mapped. A block that the disk cannot give back would then end the process (SIGBUS);
// so the scan has the kernel read each window before it looks at it (MADV_POPULATE_READ, Linux
// 5.14), which can fail in words. What has been read stays in the page cache for the cursors.
//
// Behind a frame that is not good every offset is looked at, for a frame that knows more of what
// was synced than could be read. The few that can be one (plausible) need a checksum each, and they
// may overlap; values may be full of what looks like frames. So that this is never quadratic, the
// checksum of any range comes from those of two beginnings of the file (crc32c_join):
//
//     stop                 p + 4                      b
//       |--- front: grows ---|----- the frame's -------|
//       |--- checkpoints, every 4 KB -----------|rest--|
#include "store/log_file.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/mem.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

#define WINDOW_BYTES     (UINT64_C(4) << 20) // read ahead at once
#define MARK_BYTES       (UINT64_C(1) << 20) // between two marks
#define CHECKPOINT_BYTES 4096                // between two checkpoints of a search
#define SEQS_LOST_MAX    (UINT64_C(1) << 48) // that a frame further on may be ahead

// --- opening and closing -------------------------------------------------------------------------

static bool map_file(struct log_file *f, int fd, struct dir_error *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0) return dir_fail_errno(e, errno, "look at", f->path);
    if (!S_ISREG(st.st_mode)) {
        dir_fail(e, "'%s' is not a file", f->path);
        return false;
    }
    f->bytes = (uint64_t)st.st_size;
    if (!f->bytes) return true;
    void *map = mmap(NULL, f->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) return dir_fail_errno(e, errno, "map", f->path);
    f->map = map;
    return true;
}

// Has the kernel read what lies from `from` up to `to`.
static bool read_range(const struct log_file *f, uint64_t from, uint64_t to, struct dir_error *e)
{
    uint64_t start = from & ~(uint64_t)4095;
    if (madvise((char *)f->map + start, to - start, MADV_POPULATE_READ) == 0) return true;
    // A kernel that does not know the word reads when the bytes are touched.
    if (errno != EFAULT && errno != EHWPOISON) return true;
    dir_fail(e, "cannot read '%s' between offsets %" PRIu64 " and %" PRIu64 ": %s", f->path, start,
             to, strerror(EIO));
    e->code = EIO;
    return false;
}

static bool is_same_file(const struct log_header *a, const struct log_header *b)
{
    return a->shard == b->shard && a->shard_count == b->shard_count && a->epoch == b->epoch &&
           a->first_seq == b->first_seq && a->salt == b->salt;
}

static bool check_header(struct log_file *f, const struct log_header *expected, struct dir_error *e)
{
    struct slice head = {f->map, MIN(f->bytes, LOG_HEADER_BYTES)};
    char unused[LOG_HEADER_BYTES];
    if (head.len && !read_range(f, 0, head.len, e)) return false;
    f->header_fault = log_header_decode(head, &f->header);
    if (!f->header_fault && expected && !is_same_file(&f->header, expected)) {
        dir_fail(e,
                 "'%s' is another log: of shard %" PRIu32 " of %" PRIu32 ", epoch %" PRIu64
                 ", from seq %" PRIu64 " on; not of shard %" PRIu32 " of %" PRIu32
                 ", epoch %" PRIu64 ", from seq %" PRIu64 " on, or of another run",
                 f->path, f->header.shard, f->header.shard_count, f->header.epoch,
                 f->header.first_seq, expected->shard, expected->shard_count, expected->epoch,
                 expected->first_seq);
        return false;
    }
    if (!f->header_fault) return true;
    if (!expected) {
        dir_fail(e, "'%s' at offset 0: %s", f->path, f->header_fault);
        return false;
    }
    f->header = *expected;
    log_header_encode(&f->header, unused);
    return true;
}

bool log_file_open(struct log_file *f, const char *path, const struct log_header *expected,
                   struct dir_error *e)
{
    *f = (struct log_file){.path = mem_strdup(path)};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_good = fd >= 0 || dir_fail_errno(e, errno, "open", path);
    if (is_good) is_good = map_file(f, fd, e) && check_header(f, expected, e);
    if (fd >= 0) close(fd);
    if (is_good && f->map) madvise((char *)f->map, f->bytes, MADV_SEQUENTIAL);
    if (!is_good) log_file_close(f);
    return is_good;
}

void log_file_close(struct log_file *f)
{
    if (f->map) munmap((char *)f->map, f->bytes);
    mem_free(f->marks);
    mem_free(f->path);
    *f = (struct log_file){0};
}

// --- the scan ------------------------------------------------------------------------------------

struct reading { // of one scan
    struct log_file *file;
    uint64_t at;    // the next frame
    uint64_t ready; // the kernel has read up to here
    stat_u64 *progress;
    struct dir_error *error;
};

static struct slice rest_of(const struct log_file *f, uint64_t at)
{
    return (struct slice){f->map + at, f->bytes - at};
}

// Sees to it that the file is readable up to `to`, or its end.
static bool make_ready(struct reading *r, uint64_t to)
{
    if (to <= r->ready || r->ready == r->file->bytes) return true;
    to = MIN(MAX(to, r->ready + WINDOW_BYTES), r->file->bytes);
    if (!read_range(r->file, r->ready, to, r->error)) return false;
    if (r->progress) stat_add(r->progress, to - r->ready);
    r->ready = to;
    if (!r->file->pause || r->file->pause(r->file->pause_arg)) return true;
    dir_fail(r->error, "'%s': it was given up", r->file->path);
    return false;
}

static void add_mark(struct log_file *f, uint64_t at)
{
    if (f->mark_count && at - f->marks[f->mark_count - 1].at < MARK_BYTES) return;
    if ((f->mark_count & (f->mark_count - 1)) == 0) // full: 0, 1, 2, 4 ...
        f->marks = mem_realloc(f->marks, MAX(f->mark_count * 2, 1u) * sizeof f->marks[0]);
    f->marks[f->mark_count++] = (struct log_mark){at, f->scan.last_txid};
}

static const char *check_groups(const struct log_file *f, const struct log_unit *unit)
{
    struct slice groups = unit->groups, effects;
    uint32_t shard;
    while (log_group_next(&groups, &shard, &effects))
        if (shard >= f->header.shard_count) return "a transaction names a shard that there is not";
    return NULL;
}

// A frame whose checksum is right. NULL: it is good, and counted. What is wrong here is no work of
// a power cut.
static const char *take_frame(struct log_file *f, const struct log_frame *frame,
                              struct slice payload)
{
    struct log_scan *s = &f->scan;
    uint64_t last_txid = s->last_txid, transactions = 0;
    uint32_t units = 0;
    struct log_unit unit;
    if (frame->first_seq > s->next_seq) return "units are missing in front of a frame";
    if (frame->first_seq < s->next_seq) return "a frame is there a second time";
    if (frame->durable_seq > frame->first_seq) return "a frame claims what it cannot know";
    for (; log_unit_next(&payload, &unit); units++) {
        if (unit.kind != LOG_TRANSACTION) continue;
        if (unit.txid <= last_txid) return "transactions are out of order";
        const char *why = check_groups(f, &unit);
        if (why) return why;
        last_txid = unit.txid;
        transactions++;
    }
    if (payload.len || units != frame->unit_count) return "the units of a frame make no sense";
    s->frame_count++;
    s->unit_count += units;
    s->transaction_count += transactions;
    s->next_seq += units;
    s->last_txid = last_txid;
    return NULL;
}

// Reads frames up to the first that is not good; what is wrong with it (NULL: the end of the file)
// is in scan.reason, with LOG_END_DAMAGED if a power cut cannot be the cause. False: cannot read.
static bool read_frames(struct reading *r)
{
    struct log_file *f = r->file;
    f->scan.reason = f->header_fault;
    if (f->header_fault) return true;
    for (r->at = LOG_HEADER_BYTES; r->at < f->bytes;) {
        struct log_frame frame = {0};
        struct slice payload;
        if (!make_ready(r, r->at + LOG_FRAME_BYTES)) return false;
        if (log_frame_is_plausible(rest_of(f, r->at), &frame) &&
            !make_ready(r, r->at + LOG_FRAME_BYTES + frame.payload_bytes))
            return false;
        f->scan.reason = log_frame_decode(rest_of(f, r->at), f->header.crc, &frame, &payload);
        if (f->scan.reason) return true;
        add_mark(f, r->at);
        f->scan.reason = take_frame(f, &frame, payload);
        if (f->scan.reason) {
            f->scan.end = LOG_END_DAMAGED;
            return true;
        }
        r->at += LOG_FRAME_BYTES + frame.payload_bytes;
    }
    return true;
}

// Sets *is_zero if nothing but zeros lies between r->at and the end.
static bool look_for_zeros(struct reading *r, bool *is_zero)
{
    const struct log_file *f = r->file;
    static const char zeros[4096];
    *is_zero = true;
    for (uint64_t at = r->at, n; at < f->bytes && *is_zero; at += n) {
        n = MIN(sizeof zeros, f->bytes - at);
        if (!make_ready(r, at + n)) return false;
        *is_zero = memcmp(f->map + at, zeros, n) == 0;
    }
    return true;
}

// --- behind a bad frame --------------------------------------------------------------------------

struct search {
    struct reading *r;
    uint64_t from;     // checksums below are of what lies from here on
    uint64_t front_at; // front is the one up to here
    uint32_t front;
    uint32_t *checkpoints; // [n]: up to from + (n + 1) * CHECKPOINT_BYTES; owned
    size_t count, cap;
};

// Checksum from the beginning of the search up to `to`.
static uint32_t crc_up_to(struct search *s, uint64_t to)
{
    const char *start = s->r->file->map + s->from;
    size_t steps = (to - s->from) / CHECKPOINT_BYTES;
    while (s->count < steps) {
        if (s->count == s->cap) {
            s->cap = s->cap ? s->cap * 2 : 256;
            s->checkpoints = mem_realloc(s->checkpoints, s->cap * sizeof s->checkpoints[0]);
        }
        uint32_t before = s->count ? s->checkpoints[s->count - 1] : 0;
        s->checkpoints[s->count] =
            crc32c_add(before, start + s->count * CHECKPOINT_BYTES, CHECKPOINT_BYTES);
        s->count++;
    }
    uint64_t done = (uint64_t)steps * CHECKPOINT_BYTES;
    return crc32c_add(steps ? s->checkpoints[steps - 1] : 0, start + done, to - s->from - done);
}

// Has the plausible frame at `at` the right checksum? `at` ascends from call to call.
static bool is_frame(struct search *s, uint64_t at, const struct log_frame *frame)
{
    const struct log_file *f = s->r->file;
    const uint32_t seed = f->header.crc;
    uint64_t checked = at + 4, end = at + LOG_FRAME_BYTES + frame->payload_bytes;
    if (end - checked <= CHECKPOINT_BYTES)
        return crc32c_add(seed, f->map + checked, end - checked) == frame->crc;
    s->front = crc32c_add(s->front, f->map + s->front_at, checked - s->front_at);
    s->front_at = checked;
    // Joining is linear: one step takes the front out and puts the seed in.
    return crc32c_join(s->front ^ seed, crc_up_to(s, end), end - checked) == frame->crc;
}

// The next offset in [at, to) whose bytes, if they were a frame, would know that the unit with seq
// `first_lost` was synced; or `to`.
static uint64_t next_candidate(const struct log_file *f, uint64_t at, uint64_t to,
                               uint64_t first_lost)
{
    for (; at < to; at++) {
        uint64_t durable;
        memcpy(&durable, f->map + at + 24, sizeof durable);
        if (UNLIKELY(le64toh(durable) - first_lost - 1 < SEQS_LOST_MAX)) break;
    }
    return at;
}

// The first good frame at or behind `from` that knows units to be synced which could not be read.
static bool search_behind(struct search *s)
{
    struct reading *r = s->r;
    struct log_file *f = r->file;
    const uint64_t first_lost = f->scan.next_seq;
    for (uint64_t at = s->from; f->bytes - at >= LOG_FRAME_BYTES; at++) {
        struct log_frame frame;
        if (!make_ready(r, at + LOG_FRAME_BYTES)) return false;
        uint64_t to = r->ready - LOG_FRAME_BYTES + 1;
        at = next_candidate(f, at, to, first_lost);
        if (at == to) {
            at--;
            continue;
        }
        if (!log_frame_is_plausible(rest_of(f, at), &frame) ||
            frame.first_seq - first_lost >= SEQS_LOST_MAX)
            continue;
        if (!make_ready(r, at + LOG_FRAME_BYTES + frame.payload_bytes)) return false;
        if (!is_frame(s, at, &frame)) continue;
        f->scan.later_at = at;
        f->scan.later_durable = frame.durable_seq;
        return true;
    }
    return true;
}

// --- how it ends ---------------------------------------------------------------------------------

static bool judge_end(struct reading *r)
{
    struct log_scan *s = &r->file->scan;
    bool is_zero;
    s->good_bytes = r->at;
    s->dropped_bytes = r->file->bytes - r->at;
    if (!s->reason) return true;
    if (!look_for_zeros(r, &is_zero)) return false;
    if (is_zero) {
        s->reason = NULL;
        return true;
    }
    struct search search = {.r = r, .from = r->at, .front_at = r->at};
    bool is_done = search_behind(&search);
    mem_free(search.checkpoints);
    if (s->end != LOG_END_DAMAGED) s->end = s->later_at ? LOG_END_DAMAGED : LOG_END_TORN;
    return is_done;
}

bool log_file_scan(struct log_file *f, stat_u64 *progress, struct dir_error *e)
{
    struct reading r = {.file = f, .progress = progress, .error = e};
    f->scan = (struct log_scan){.next_seq = f->header.first_seq};
    f->mark_count = 0;
    return read_frames(&r) && judge_end(&r);
}

void log_file_describe(const struct log_file *f, struct buf *out)
{
    const struct log_scan *s = &f->scan;
    buf_printf(out, "'%s': ", f->path);
    if (s->end == LOG_END_CLEAN) {
        buf_printf(out, "%" PRIu64 " units, the next seq is %" PRIu64 ", %" PRIu64 " bytes, whole",
                   s->unit_count, s->next_seq, s->good_bytes);
        if (s->dropped_bytes)
            buf_printf(out, " (and %" PRIu64 " reserved bytes)", s->dropped_bytes);
        return;
    }
    buf_printf(out,
               "%s at offset %" PRIu64 ": %s. The %" PRIu64
               " units before it are good, seq %" PRIu64 " is the first that is lost; ",
               s->end == LOG_END_TORN ? "torn" : "damaged", s->good_bytes, s->reason, s->unit_count,
               s->next_seq);
    if (s->end == LOG_END_TORN)
        buf_printf(out, "the last %" PRIu64 " bytes were never known to be synced",
                   s->dropped_bytes);
    else if (s->later_at)
        buf_printf(out,
                   "the frame at offset %" PRIu64 " knows that all below seq %" PRIu64
                   " had been synced",
                   s->later_at, s->later_durable);
    else
        buf_append_text(out, "no power cut leaves such a file");
    if (s->end == LOG_END_DAMAGED)
        buf_append_text(out, ". Bring the file back from a copy; gyre-check --cut-damaged goes on "
                             "without what is lost");
}

// --- units ---------------------------------------------------------------------------------------

static void begin_at(struct log_cursor *c, const struct log_file *f, uint64_t at)
{
    *c = (struct log_cursor){.file = f, .at = at};
}

void log_cursor_begin(struct log_cursor *c, const struct log_file *f)
{
    begin_at(c, f, LOG_HEADER_BYTES);
}

bool log_cursor_next(struct log_cursor *c, struct log_unit *unit)
{
    while (!log_unit_next(&c->payload, unit)) {
        struct log_frame frame;
        if (c->at >= c->file->scan.good_bytes ||
            !log_frame_is_plausible(rest_of(c->file, c->at), &frame))
            return false;
        c->payload = (struct slice){c->file->map + c->at + LOG_FRAME_BYTES, frame.payload_bytes};
        c->at += LOG_FRAME_BYTES + frame.payload_bytes;
        c->next_seq = frame.first_seq;
    }
    c->seq = c->next_seq++;
    return true;
}

// --- transactions that a log lacks ---------------------------------------------------------------

static void add_missing(struct log_missing *m, struct log_missing_item item)
{
    if (m->count == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 16;
        m->items = mem_realloc(m->items, m->cap * sizeof m->items[0]);
    }
    m->items[m->count++] = item;
}

static void collect_groups(struct log_missing *m, const struct log_unit *unit,
                           const uint64_t *last_txids, uint32_t shard_count)
{
    struct slice groups = unit->groups, effects;
    uint32_t shard;
    while (log_group_next(&groups, &shard, &effects))
        if (shard < shard_count && unit->txid > last_txids[shard])
            add_missing(m, (struct log_missing_item){unit->txid, shard, effects});
}

void log_missing_collect(struct log_missing *m, const struct log_file *f,
                         const uint64_t *last_txids, uint32_t shard_count)
{
    uint64_t least = UINT64_MAX, at = LOG_HEADER_BYTES;
    for (uint32_t i = 0; i < shard_count; i++) least = MIN(least, last_txids[i]);
    if (f->scan.last_txid <= least) return;
    for (size_t i = 0; i < f->mark_count && f->marks[i].last_txid <= least; i++)
        at = f->marks[i].at;
    struct log_cursor cursor;
    struct log_unit unit;
    begin_at(&cursor, f, at);
    while (log_cursor_next(&cursor, &unit))
        if (unit.kind == LOG_TRANSACTION) collect_groups(m, &unit, last_txids, shard_count);
}

static int compare_items(const void *a, const void *b)
{
    const struct log_missing_item *x = a, *y = b;
    if (x->shard != y->shard) return x->shard < y->shard ? -1 : 1;
    return x->txid < y->txid ? -1 : x->txid > y->txid;
}

void log_missing_sort(struct log_missing *m)
{
    size_t kept = 0;
    if (m->count) qsort(m->items, m->count, sizeof m->items[0], compare_items);
    for (size_t i = 0; i < m->count; i++)
        if (!kept || compare_items(&m->items[kept - 1], &m->items[i]) != 0)
            m->items[kept++] = m->items[i];
    m->count = kept;
}

void log_missing_free(struct log_missing *m)
{
    mem_free(m->items);
    *m = (struct log_missing){0};
}
