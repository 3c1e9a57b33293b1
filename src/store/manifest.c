// SPDX-License-Identifier: BSD-3-Clause
//
// A line is read word by word, from the left, by functions that fail once and for good (the first
// trouble is what is told); so what reads a line looks like the line:
//
//   expect(r, "base"); read_name(r, ...); read_u64(r, ...); end_line(r);
#include "store/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/num.h"

#define FILE_BYTES_MAX     (64u << 20) // a longer manifest is none
#define IMPORTED_BYTES_MAX 4096        // of a path
#define CRC_LINE_BYTES     (sizeof "crc32c 1a2b3c4d\n" - 1)

// --- names ---------------------------------------------------------------------------------------

void manifest_log_name(char out[MANIFEST_NAME_CHARS], uint64_t epoch, uint32_t shard)
{
    snprintf(out, MANIFEST_NAME_CHARS, "gyre-%" PRIu64 "-%" PRIu32 ".log", epoch, shard);
}

void manifest_base_name(char out[MANIFEST_NAME_CHARS], uint64_t epoch)
{
    snprintf(out, MANIFEST_NAME_CHARS, "gyre-%" PRIu64 ".base.rdb", epoch);
}

// The number in front of `end`, which is moved behind it.
static bool take_number(const char **at, const char *end, uint64_t *number)
{
    size_t digits = strspn(*at, "0123456789");
    const char *behind = *at + digits;
    if (!num_parse_u64((struct slice){*at, digits}, number)) return false;
    if (strncmp(behind, end, strlen(end)) != 0) return false;
    *at = behind + strlen(end);
    return true;
}

static bool is_temporary_or_end(const char *rest)
{
    return !*rest || strcmp(rest, DIR_TEMPORARY) == 0;
}

static bool is_base_name(const char *name, const char **rest)
{
    uint64_t number;
    *rest = name + strlen("gyre-");
    return strncmp(name, "gyre-", strlen("gyre-")) == 0 && take_number(rest, ".base.rdb", &number);
}

bool manifest_is_our_name(const char *name)
{
    const char *rest;
    uint64_t number;
    if (strncmp(name, MANIFEST_NAME, strlen(MANIFEST_NAME)) == 0)
        return is_temporary_or_end(name + strlen(MANIFEST_NAME));
    if (is_base_name(name, &rest)) return is_temporary_or_end(rest);
    if (strncmp(name, "gyre-", strlen("gyre-")) != 0) return false;
    rest = name + strlen("gyre-");
    return take_number(&rest, "-", &number) && take_number(&rest, ".log", &number) &&
           is_temporary_or_end(rest);
}

// --- the structure -------------------------------------------------------------------------------

void manifest_clear(struct manifest *m)
{
    for (size_t i = 0; i < m->epoch_count; i++) mem_free(m->epochs[i].logs);
    mem_free(m->epochs);
    mem_free(m->imported);
    *m = (struct manifest){0};
}

void manifest_copy(struct manifest *to, const struct manifest *from)
{
    *to = *from;
    if (from->imported) to->imported = mem_strdup(from->imported);
    if (!from->epochs) return;
    to->epochs = mem_alloc(from->epoch_count * sizeof to->epochs[0]);
    for (size_t i = 0; i < from->epoch_count; i++) {
        const struct manifest_epoch *old = &from->epochs[i];
        to->epochs[i] = *old;
        to->epochs[i].logs = mem_alloc(old->shard_count * sizeof old->logs[0]);
        memcpy(to->epochs[i].logs, old->logs, old->shard_count * sizeof old->logs[0]);
    }
}

struct manifest_epoch *manifest_add_epoch(struct manifest *m, uint64_t number, uint32_t shard_count,
                                          const char *run)
{
    ASSERT(!m->epoch_count || number > m->epochs[m->epoch_count - 1].number);
    ASSERT(shard_count && shard_count <= MANIFEST_SHARDS_MAX);
    ASSERT(strlen(run) == MANIFEST_RUN_CHARS);
    m->epochs = mem_realloc(m->epochs, (m->epoch_count + 1) * sizeof m->epochs[0]);
    struct manifest_epoch *epoch = &m->epochs[m->epoch_count++];
    *epoch = (struct manifest_epoch){.number = number, .shard_count = shard_count};
    memcpy(epoch->run, run, sizeof epoch->run);
    epoch->logs = mem_calloc(shard_count * sizeof epoch->logs[0]);
    for (uint32_t i = 0; i < shard_count; i++) manifest_log_name(epoch->logs[i].name, number, i);
    return epoch;
}

void manifest_drop_epochs(struct manifest *m, uint64_t number)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->epoch_count; i++) {
        if (m->epochs[i].number >= number)
            m->epochs[kept++] = m->epochs[i];
        else
            mem_free(m->epochs[i].logs);
    }
    m->epoch_count = kept;
}

uint64_t manifest_salt(const char *run)
{
    uint64_t high = crc32c_add(0, run, strlen(run));
    return high << 32 | crc32c_add((uint32_t)high, run, strlen(run));
}

struct log_header manifest_header(const struct manifest_epoch *epoch, uint32_t shard)
{
    ASSERT(shard < epoch->shard_count);
    return (struct log_header){
        .shard = shard,
        .shard_count = epoch->shard_count,
        .epoch = epoch->number,
        .first_seq = epoch->logs[shard].first_seq,
        .salt = manifest_salt(epoch->run),
    };
}

// --- printing ------------------------------------------------------------------------------------

static void print_epoch(const struct manifest_epoch *epoch, struct buf *out)
{
    buf_printf(out, "epoch %" PRIu64 " shards %" PRIu32 " run %s\n", epoch->number,
               epoch->shard_count, epoch->run);
    for (uint32_t i = 0; i < epoch->shard_count; i++) {
        const struct manifest_log *log = &epoch->logs[i];
        buf_printf(out, "log %s shard %" PRIu32 " first-seq %" PRIu64, log->name, i,
                   log->first_seq);
        if (log->is_closed)
            buf_printf(out, " end-seq %" PRIu64 " bytes %" PRIu64, log->end_seq, log->bytes);
        buf_append_char(out, '\n');
    }
}

void manifest_print(const struct manifest *m, struct buf *out)
{
    size_t start = out->len;
    buf_printf(out, "gyre-manifest %d\n", MANIFEST_VERSION);
    if (m->base[0]) buf_printf(out, "base %s %" PRIu64 "\n", m->base, m->base_bytes);
    if (m->imported) {
        buf_append_text(out, "imported ");
        buf_append_quoted(out, slice_of(m->imported));
        buf_printf(out, " %" PRIu64 " %" PRId64 "\n", m->imported_bytes, m->imported_mtime_ns);
    }
    for (size_t i = 0; i < m->epoch_count; i++) print_epoch(&m->epochs[i], out);
    buf_printf(out, "crc32c %08" PRIx32 "\n", crc32c_add(0, out->ptr + start, out->len - start));
}

// --- reading -------------------------------------------------------------------------------------

struct reader {
    struct manifest *m;
    const char *name;  // of the file
    struct slice left; // of the text, behind the line at hand
    struct slice line; // what is left of it
    unsigned number;   // of the line at hand, from 1
    bool is_bad;
    struct dir_error *error;
};

static void fail(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct reader *r, const char *format, ...)
{
    if (r->is_bad) return;
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    dir_fail(r->error, "%s:%u: %s", r->name, r->number, what);
    r->is_bad = true;
}

// The part of `s` that an error message can show.
static struct slice shown(struct slice s)
{
    size_t len = 0;
    while (len < MIN(s.len, 40u) && s.ptr[len] >= ' ' && s.ptr[len] <= '~') len++;
    return (struct slice){s.ptr, len};
}

static bool next_line(struct reader *r)
{
    if (r->is_bad || !r->left.len) return false;
    r->number++;
    const char *end = memchr(r->left.ptr, '\n', r->left.len);
    if (!end) {
        fail(r, "the line has no end");
        return false;
    }
    r->line = (struct slice){r->left.ptr, (size_t)(end - r->left.ptr)};
    r->left = (struct slice){end + 1, r->left.len - r->line.len - 1};
    return true;
}

// The next word; words are separated by one space.
static struct slice read_word(struct reader *r)
{
    const char *space = memchr(r->line.ptr, ' ', r->line.len);
    struct slice word = {r->line.ptr, space ? (size_t)(space - r->line.ptr) : r->line.len};
    size_t taken = word.len + (space ? 1 : 0);
    r->line = (struct slice){r->line.ptr + taken, r->line.len - taken};
    if (!word.len) fail(r, "a word is missing");
    // A space at the end: a word should follow.
    if (space && !r->line.len) fail(r, "a word is missing at the end of the line");
    return word;
}

static void expect(struct reader *r, const char *wanted)
{
    struct slice word = read_word(r);
    if (!slice_eq(word, slice_of(wanted)))
        fail(r, "'%s' expected, not '%.*s'", wanted, SLICE_ARG(shown(word)));
}

static uint64_t read_u64(struct reader *r, const char *what)
{
    uint64_t value = 0;
    struct slice word = read_word(r);
    if (!num_parse_u64(word, &value))
        fail(r, "%s: '%.*s' is not a number", what, SLICE_ARG(shown(word)));
    return value;
}

static void end_line(struct reader *r)
{
    if (r->line.len) fail(r, "'%.*s' is one word too many", SLICE_ARG(shown(r->line)));
}

// A word that must be a name of this directory, copied to `out`.
static void read_name(struct reader *r, char out[MANIFEST_NAME_CHARS])
{
    struct slice word = read_word(r);
    out[0] = '\0';
    if (r->is_bad) return;
    if (word.len >= MANIFEST_NAME_CHARS || memchr(word.ptr, '/', word.len) ||
        memchr(word.ptr, '\0', word.len)) {
        fail(r, "'%.*s' is not a file name of Gyre", SLICE_ARG(shown(word)));
        return;
    }
    memcpy(out, word.ptr, word.len);
    out[word.len] = '\0';
}

static void read_base(struct reader *r)
{
    const char *rest;
    if (r->m->base[0] || r->m->epoch_count) fail(r, "'base' stands in the wrong place");
    read_name(r, r->m->base);
    if (!r->is_bad && (!is_base_name(r->m->base, &rest) || *rest))
        fail(r, "'%s' is not the name of a base", r->m->base);
    r->m->base_bytes = read_u64(r, "bytes");
    end_line(r);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// One character of a text in double quotes, as buf_append_quoted writes it. -1: none.
static int read_quoted_char(struct slice *in)
{
    static const char escaped[] = "nrtab\"\\", plain[] = "\n\r\t\a\b\"\\";
    if (!in->len || *in->ptr == '"') return -1;
    char c = *in->ptr;
    size_t taken = 1;
    if (c == '\\' && in->len >= 4 && in->ptr[1] == 'x') {
        int high = hex_digit(in->ptr[2]), low = hex_digit(in->ptr[3]);
        if (high < 0 || low < 0) return -1;
        c = (char)(high * 16 + low);
        taken = 4;
    } else if (c == '\\') {
        const char *hit = in->len >= 2 && in->ptr[1] ? strchr(escaped, in->ptr[1]) : NULL;
        if (!hit) return -1;
        c = plain[hit - escaped];
        taken = 2;
    }
    in->ptr += taken;
    in->len -= taken;
    return (unsigned char)c;
}

// A path in double quotes and the space behind it.
static char *read_path(struct reader *r)
{
    char path[IMPORTED_BYTES_MAX + 1];
    size_t len = 0;
    struct slice in = r->line;
    bool is_good = in.len && *in.ptr == '"';
    if (is_good) in = (struct slice){in.ptr + 1, in.len - 1};
    for (int c; is_good && (c = read_quoted_char(&in)) >= 0;) {
        is_good = c != 0 && len < IMPORTED_BYTES_MAX;
        if (is_good) path[len++] = (char)c;
    }
    if (!is_good || !len || in.len < 2 || in.ptr[0] != '"' || in.ptr[1] != ' ') {
        fail(r, "a path in double quotes expected");
        return NULL;
    }
    r->line = (struct slice){in.ptr + 2, in.len - 2};
    return mem_strndup(path, len);
}

static void read_imported(struct reader *r)
{
    if (r->m->imported || r->m->epoch_count) {
        fail(r, "'imported' stands in the wrong place");
        return;
    }
    r->m->imported = read_path(r);
    r->m->imported_bytes = read_u64(r, "bytes");
    struct slice word = read_word(r);
    if (!num_parse_i64(word, &r->m->imported_mtime_ns))
        fail(r, "mtime: '%.*s' is not a number", SLICE_ARG(shown(word)));
    end_line(r);
}

static void read_log(struct reader *r, const struct manifest_epoch *epoch, uint32_t shard)
{
    struct manifest_log *log = &epoch->logs[shard];
    char name[MANIFEST_NAME_CHARS];
    expect(r, "log");
    read_name(r, name);
    if (strcmp(name, log->name) != 0) fail(r, "the log '%s' expected, not '%s'", log->name, name);
    expect(r, "shard");
    if (read_u64(r, "shard") != shard) fail(r, "the log of shard %" PRIu32 " expected", shard);
    expect(r, "first-seq");
    log->first_seq = read_u64(r, "first-seq");
    if (r->line.len) {
        log->is_closed = true;
        expect(r, "end-seq");
        log->end_seq = read_u64(r, "end-seq");
        expect(r, "bytes");
        log->bytes = read_u64(r, "bytes");
        if (log->end_seq < log->first_seq) fail(r, "end-seq is less than first-seq");
    }
    end_line(r);
}

static void read_epoch(struct reader *r)
{
    struct manifest *m = r->m;
    uint64_t number = read_u64(r, "epoch");
    if (m->epoch_count && number <= m->epochs[m->epoch_count - 1].number)
        fail(r, "epoch %" PRIu64 " is not above the one before", number);
    expect(r, "shards");
    uint64_t shards = read_u64(r, "shards");
    if (!shards || shards > MANIFEST_SHARDS_MAX)
        fail(r, "%" PRIu64 " shards: 1 to %d expected", shards, MANIFEST_SHARDS_MAX);
    expect(r, "run");
    struct slice run = read_word(r);
    bool is_run = run.len == MANIFEST_RUN_CHARS;
    for (size_t i = 0; is_run && i < run.len; i++) is_run = hex_digit(run.ptr[i]) >= 0;
    if (!is_run) fail(r, "'%.*s' is not a run id", SLICE_ARG(shown(run)));
    end_line(r);
    if (r->is_bad) return;
    char text[MANIFEST_RUN_CHARS + 1] = {0};
    memcpy(text, run.ptr, run.len);
    const struct manifest_epoch *epoch = manifest_add_epoch(m, number, (uint32_t)shards, text);
    for (uint32_t i = 0; i < epoch->shard_count && !r->is_bad; i++) {
        if (next_line(r))
            read_log(r, epoch, i);
        else
            fail(r, "the log of shard %" PRIu32 " is missing behind this line", i);
    }
}

static void read_item(struct reader *r)
{
    struct slice word = read_word(r);
    if (slice_eq(word, SLICE("base")))
        read_base(r);
    else if (slice_eq(word, SLICE("imported")))
        read_imported(r);
    else if (slice_eq(word, SLICE("epoch")))
        read_epoch(r);
    else
        fail(r, "'%.*s' is not known", SLICE_ARG(shown(word)));
}

static void read_version(struct reader *r)
{
    if (!next_line(r)) {
        fail(r, "the file is empty");
        return;
    }
    expect(r, "gyre-manifest");
    uint64_t version = read_u64(r, "version");
    if (version > MANIFEST_VERSION)
        fail(r, "version %" PRIu64 ": a newer Gyre wrote this, here only version %d is known",
             version, MANIFEST_VERSION);
    else if (version != MANIFEST_VERSION)
        fail(r, "there is no version %" PRIu64, version);
    end_line(r);
}

static unsigned count_lines(struct slice text)
{
    unsigned lines = 0;
    for (size_t i = 0; i < text.len; i++) lines += text.ptr[i] == '\n';
    return lines;
}

// Takes the last line off the text, if it is the right checksum of those before it.
static void take_checksum(struct reader *r, struct slice *text)
{
    size_t len = text->len < CRC_LINE_BYTES ? 0 : text->len - CRC_LINE_BYTES;
    uint32_t crc = 0;
    r->number = count_lines(*text);
    struct slice line = {text->ptr + len, text->len - len};
    bool is_one = len && line.ptr[-1] == '\n' && line.ptr[line.len - 1] == '\n' &&
                  memcmp(line.ptr, "crc32c ", 7) == 0;
    for (size_t i = 7; is_one && i < CRC_LINE_BYTES - 1; i++) {
        int digit = hex_digit(line.ptr[i]);
        is_one = digit >= 0;
        crc = crc << 4 | ((uint32_t)digit & 15);
    }
    if (!is_one)
        fail(r, "the last line is no checksum: the file is cut off or was changed");
    else if (crc != crc32c_add(0, text->ptr, len))
        fail(r, "the checksum is wrong: the file is damaged or was changed");
    text->len = len;
    r->number = 0;
}

bool manifest_parse(struct manifest *m, const char *name, struct slice text, struct dir_error *e)
{
    *m = (struct manifest){0};
    struct reader r = {.m = m, .name = name, .left = text, .error = e};
    read_version(&r); // first: who knows where a newer one has its checksum
    if (!r.is_bad) {
        take_checksum(&r, &text);
        r.left = text;
        r.number = 0;
        if (!r.is_bad) read_version(&r);
    }
    while (next_line(&r)) read_item(&r);
    if (r.is_bad) manifest_clear(m);
    return !r.is_bad;
}

// --- in a directory ------------------------------------------------------------------------------

bool manifest_read(struct manifest *m, const char *dir, struct dir_error *e)
{
    *m = (struct manifest){0};
    struct buf text = {0};
    char *path = dir_join(dir, MANIFEST_NAME);
    bool is_good = dir_read_file(path, FILE_BYTES_MAX, &text, e) &&
                   manifest_parse(m, path, buf_slice(&text), e);
    mem_free(path);
    buf_free(&text);
    return is_good;
}

bool manifest_write(const struct manifest *m, const char *dir, struct dir_error *e)
{
    struct buf text = {0};
    manifest_print(m, &text);
    bool is_done = dir_write_file(dir, MANIFEST_NAME, buf_slice(&text), e);
    buf_free(&text);
    return is_done;
}

bool manifest_names(const struct manifest *m, const char *name)
{
    if (strcmp(name, MANIFEST_NAME) == 0 || strcmp(name, m->base) == 0) return true;
    for (size_t i = 0; i < m->epoch_count; i++)
        for (uint32_t shard = 0; shard < m->epochs[i].shard_count; shard++)
            if (strcmp(name, m->epochs[i].logs[shard].name) == 0) return true;
    return false;
}

// Names first, then removing: a directory is not changed while it is read.
static bool list_rubbish(const struct manifest *m, const char *dir, struct buf *names,
                         struct dir_error *e)
{
    DIR *stream = opendir(dir);
    if (!stream) return dir_fail_errno(e, errno, "open the directory", dir);
    errno = 0;
    for (const struct dirent *entry; (entry = readdir(stream)); errno = 0)
        if (manifest_is_our_name(entry->d_name) && !manifest_names(m, entry->d_name)) {
            buf_append_text(names, entry->d_name);
            buf_append_char(names, '\0');
        }
    int code = errno;
    closedir(stream);
    return !code || dir_fail_errno(e, code, "read the directory", dir);
}

bool manifest_remove_rubbish(const struct manifest *m, const char *dir, struct buf *removed,
                             struct dir_error *e)
{
    struct buf names = {0};
    bool is_done = list_rubbish(m, dir, &names, e);
    for (size_t at = 0; is_done && at < names.len; at += strlen(names.ptr + at) + 1) {
        is_done = dir_remove(dir, names.ptr + at, e);
        if (is_done && removed) {
            buf_append_text(removed, names.ptr + at);
            buf_append_char(removed, '\n');
        }
    }
    if (is_done && names.len) is_done = dir_sync(dir, e);
    buf_free(&names);
    return is_done;
}
