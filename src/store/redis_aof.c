// SPDX-License-Identifier: BSD-3-Clause
//
// The manifest of Redis 7, a line each file, words in quotes where they need them:
//
//     file appendonly.aof.3.base.rdb seq 3 type b     at most one: the data
//     file appendonly.aof.3.incr.aof seq 3 type i     what happened since; seq ascends
//     file appendonly.aof.2.incr.aof seq 2 type h     history: part of the base by now
//
// Later versions add further pairs of words to a line; unknown ones are passed over. A file that
// begins with "REDIS" is an RDB file, whatever its name is.
//
// Old versions had one file in `dir`; Redis 7 moves it into the directory and writes a manifest
// that names it as the base. It counts if there is no manifest, or an empty list, or if the move
// was cut off between the two steps.
//
// The files' commands are what clients send, arrays of bulk strings, and between them lines of
// annotation ("#TS:1700000000 CR LF"). MULTI and EXEC enclose transactions. No checksums: a wrong
// byte in a value cannot be noticed, one in a length mostly can. Such a length that reaches beyond
// the end of the file looks as a torn tail does; so behind a command that is cut off the rest is
// searched for a whole one (CR LF '*' ...), which a torn tail has only if the value that was cut
// contains such bytes. Then nothing is loaded until somebody has looked at it.
//
//    pos                                   pos
//     v                                     v
//     MULTI  SET a 1  INCR b  EXEC          MULTI  SET a 1  INC
//     ^ good_bytes            ^ found       ^ good_bytes       ^ no EXEC: the tail begins at MULTI
//     ahead of time: SET and INCR are handed out
#include "store/redis_aof.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/request.h"

#define RDB_MAGIC       "REDIS"
#define RDB_MAGIC_BYTES 5

// --- names
// ----------------------------------------------------------------------------------------

static char *manifest_name(const char *appendfilename)
{
    struct buf name = {0};
    buf_append_text(&name, appendfilename);
    buf_append(&name, ".manifest", sizeof ".manifest");
    return name.ptr;
}

static bool is_missing(int code)
{
    return code == ENOENT || code == ENOTDIR;
}

// What cannot be looked at is taken to be there, so that somebody complains about it.
static bool exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 || !is_missing(errno);
}

// --- manifest ------------------------------------------------------------------------------------

struct manifest_line { // of the parser
    const char *name;
    uint32_t number;
    uint64_t last_seq; // of incremental files so far
    bool has_base;
};

static bool refuse_line(const struct manifest_line *at, struct dir_error *e, const char *what)
{
    dir_fail(e, "%s:%u: %s", at->name, at->number, what);
    return false;
}

static bool is_file_name(struct slice s)
{
    return s.len && !memchr(s.ptr, '/', s.len) && !memchr(s.ptr, 0, s.len) &&
           !slice_eq(s, SLICE(".")) && !slice_eq(s, SLICE(".."));
}

static void add_file(struct redis_aof *out, struct slice name, bool is_base)
{
    if (out->file_count == out->file_cap) {
        out->file_cap = out->file_cap ? out->file_cap * 2 : 4;
        out->files = mem_realloc(out->files, out->file_cap * sizeof *out->files);
    }
    size_t i = out->file_count++;
    for (; is_base && i > 0; i--) out->files[i] = out->files[i - 1]; // the base is read first
    out->files[i] =
        (struct redis_aof_file){.name = mem_strndup(name.ptr, name.len), .is_base = is_base};
}

// The words of a line: pairs of a name and a value.
static bool apply_line(struct manifest_line *at, int argc, const struct slice *argv,
                       struct redis_aof *out, struct dir_error *e)
{
    struct slice file = {0}, type = {0};
    uint64_t seq = 0;
    if (argc % 2) return refuse_line(at, e, "a name without a value");
    for (int i = 0; i < argc; i += 2) {
        if (slice_is(argv[i], "file"))
            file = argv[i + 1];
        else if (slice_is(argv[i], "type"))
            type = argv[i + 1];
        else if (slice_is(argv[i], "seq") && !num_parse_u64(argv[i + 1], &seq))
            return refuse_line(at, e, "'seq' is not a number");
    }
    if (!is_file_name(file)) return refuse_line(at, e, "no name of a file in this directory");
    if (!seq) return refuse_line(at, e, "no sequence number");
    if (slice_eq(type, SLICE("h"))) return true;
    if (slice_eq(type, SLICE("b"))) {
        if (at->has_base) return refuse_line(at, e, "a second base file");
        at->has_base = true;
    } else if (slice_eq(type, SLICE("i"))) {
        if (seq <= at->last_seq) return refuse_line(at, e, "sequence numbers do not ascend");
        at->last_seq = seq;
    } else {
        return refuse_line(at, e, "no type of file that is known (b, h, i)");
    }
    add_file(out, file, type.ptr[0] == 'b');
    return true;
}

// An inline request is such a line of words.
static bool parse_line(struct manifest_line *at, struct slice line, struct redis_aof *out,
                       struct dir_error *e)
{
    static const struct request_limits limits = {.max_bulk_bytes = REDIS_AOF_LINE_BYTES_MAX};
    struct request_parser words;
    if (line.len > REDIS_AOF_LINE_BYTES_MAX) return refuse_line(at, e, "the line is too long");
    if (line.ptr[0] == '#') return true;
    if (line.ptr[0] == '*' || memchr(line.ptr, 0, line.len))
        return refuse_line(at, e, "not a line of a manifest");
    request_parser_init(&words);
    bool is_good = request_parse(&words, &limits, line.ptr, line.len) == REQUEST_DONE;
    if (!is_good)
        refuse_line(at, e, "unbalanced quotes");
    else
        is_good = apply_line(at, words.argc, words.argv, out, e);
    request_parser_reset(&words);
    return is_good;
}

bool redis_aof_parse_manifest(const char *name, struct slice text, struct redis_aof *out,
                              struct dir_error *e)
{
    struct manifest_line at = {.name = name};
    *out = (struct redis_aof){0};
    if (!text.len) {
        dir_fail(e, "%s is empty", name);
        return false;
    }
    while (text.len) {
        const char *end = memchr(text.ptr, '\n', text.len);
        at.number++;
        if (!end) return refuse_line(&at, e, "the line has no end: the file is cut off");
        struct slice line = {text.ptr, (size_t)(end + 1 - text.ptr)};
        if (!parse_line(&at, line, out, e)) return false;
        text.ptr += line.len;
        text.len -= line.len;
    }
    return true;
}

// --- what there is -------------------------------------------------------------------------------

static void clear_files(struct redis_aof *a)
{
    for (uint32_t i = 0; i < a->file_count; i++) {
        mem_free(a->files[i].name);
        mem_free(a->files[i].path);
    }
    a->file_count = 0;
}

void redis_aof_free(struct redis_aof *a)
{
    clear_files(a);
    mem_free(a->files);
    mem_free(a->identity.path);
    *a = (struct redis_aof){0};
}

static void count_in(struct redis_aof *a, const struct stat *st)
{
    int64_t mtime_ns = st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec;
    a->identity.bytes += (uint64_t)st->st_size;
    if (mtime_ns > a->identity.mtime_ns) a->identity.mtime_ns = mtime_ns;
}

// Opens a file that can be read again and again; -1: it cannot be.
static int open_file(const char *path, struct stat *st, struct dir_error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        dir_fail_errno(e, errno, "open", path);
        return -1;
    }
    if (fstat(fd, st) < 0)
        dir_fail_errno(e, errno, "look at", path);
    else if (!S_ISREG(st->st_mode))
        dir_fail(e, "%s is not a file", path);
    else
        return fd;
    close(fd);
    return -1;
}

// Up to `len` bytes from the beginning; fewer at the end of the file. -1 with errno.
static ssize_t read_up_to(int fd, char *out, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(fd, out + done, len - done, (off_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

// NONE: there is no manifest.
static enum redis_aof_found read_manifest(const char *path, struct redis_aof *out,
                                          struct dir_error *e)
{
    struct stat st;
    struct buf text = {0};
    if (stat(path, &st) < 0) {
        if (is_missing(errno)) return REDIS_AOF_NONE;
        dir_fail_errno(e, errno, "look at", path);
        return REDIS_AOF_ERROR;
    }
    bool is_good = dir_read_file(path, REDIS_AOF_MANIFEST_BYTES_MAX, &text, e) &&
                   redis_aof_parse_manifest(path, buf_slice(&text), out, e);
    if (is_good) count_in(out, &st);
    buf_free(&text);
    return is_good ? REDIS_AOF_FOUND : REDIS_AOF_ERROR;
}

// <appendfilename>.<digits>.base.rdb and the like
static bool is_numbered_file(const char *name, const char *appendfilename)
{
    size_t len = strlen(appendfilename);
    if (strncmp(name, appendfilename, len) != 0 || name[len] != '.') return false;
    const char *digits = name + len + 1, *rest = digits + strspn(digits, "0123456789");
    return rest > digits && (strcmp(rest, ".base.rdb") == 0 || strcmp(rest, ".base.aof") == 0 ||
                             strcmp(rest, ".incr.aof") == 0);
}

// Data without the manifest that tells how it hangs together. To begin empty beside it would be to
// lose it.
static bool has_orphans(const char *directory, const char *appendfilename, struct dir_error *e)
{
    bool is_found = false;
    DIR *d = opendir(directory);
    if (!d) {
        if (is_missing(errno)) return false;
        dir_fail_errno(e, errno, "open", directory);
        return true;
    }
    for (struct dirent *entry; !is_found && (entry = readdir(d));) {
        is_found = is_numbered_file(entry->d_name, appendfilename);
        if (is_found)
            dir_fail(e,
                     "%s/%s is there, but not the manifest %s.manifest that must name it: bring "
                     "the manifest back, or move such files away to begin without them",
                     directory, entry->d_name, appendfilename);
    }
    closedir(d);
    return is_found;
}

static bool examine_file(struct redis_aof *out, struct redis_aof_file *file, struct dir_error *e)
{
    struct stat st;
    char magic[RDB_MAGIC_BYTES];
    int fd = open_file(file->path, &st, e);
    if (fd < 0) {
        if (is_missing(e->code))
            dir_fail(e, "%s is missing, though the manifest names it: bring it back", file->path);
        return false;
    }
    ssize_t n = read_up_to(fd, magic, sizeof magic);
    if (n < 0) dir_fail_errno(e, errno, "read", file->path);
    close(fd);
    if (n < 0) return false;
    file->bytes = (uint64_t)st.st_size;
    file->has_rdb = n == sizeof magic && memcmp(magic, RDB_MAGIC, sizeof magic) == 0;
    out->total_bytes += file->bytes;
    count_in(out, &st);
    return true;
}

// Is the one file that the manifest names still where old versions had it?
static bool is_half_moved(const struct redis_aof *a, const char *directory,
                          const char *appendfilename)
{
    if (a->file_count != 1 || !a->files[0].is_base) return false;
    if (strcmp(a->files[0].name, appendfilename) != 0) return false;
    char *moved = dir_join(directory, appendfilename);
    bool is_moved = exists(moved);
    mem_free(moved);
    return !is_moved;
}

// Takes the old single file if it is the one that counts: then *out names nothing else.
static void prefer_single(const char *single, const char *directory, const char *appendfilename,
                          struct redis_aof *out)
{
    bool is_needed = !out->file_count || is_half_moved(out, directory, appendfilename);
    if (!is_needed || !exists(single)) return;
    clear_files(out);
    out->identity = (struct redis_aof_identity){0};
    add_file(out, slice_of(appendfilename), true);
    out->files[0].path = mem_strdup(single);
    out->identity.path = mem_strdup(appendfilename);
}

static bool examine_all(const char *directory, struct redis_aof *out, struct dir_error *e)
{
    for (uint32_t i = 0; i < out->file_count; i++) {
        struct redis_aof_file *file = &out->files[i];
        if (!file->path) file->path = dir_join(directory, file->name);
        file->is_last = i + 1 == out->file_count;
        if (!examine_file(out, file, e)) return false;
    }
    return true;
}

enum redis_aof_found redis_aof_open(const char *dir, const char *appenddirname,
                                    const char *appendfilename, struct redis_aof *out,
                                    struct dir_error *e)
{
    char *directory = dir_join(dir, appenddirname), *single = dir_join(dir, appendfilename);
    char *name = manifest_name(appendfilename), *manifest = dir_join(directory, name);
    *out = (struct redis_aof){0};
    enum redis_aof_found found = read_manifest(manifest, out, e);
    if (found == REDIS_AOF_NONE && has_orphans(directory, appendfilename, e))
        found = REDIS_AOF_ERROR;
    if (found != REDIS_AOF_ERROR) {
        prefer_single(single, directory, appendfilename, out);
        if (!out->identity.path) out->identity.path = dir_join(appenddirname, name);
        found = !out->file_count                 ? REDIS_AOF_NONE
                : examine_all(directory, out, e) ? REDIS_AOF_FOUND
                                                 : REDIS_AOF_ERROR;
    }
    if (found != REDIS_AOF_FOUND) redis_aof_free(out);
    mem_free(directory);
    mem_free(single);
    mem_free(name);
    mem_free(manifest);
    return found;
}

enum redis_aof_change redis_aof_changed(const char *dir, const char *appenddirname,
                                        const char *appendfilename,
                                        const struct redis_aof_identity *then, struct dir_error *e)
{
    struct redis_aof a;
    enum redis_aof_found found = redis_aof_open(dir, appenddirname, appendfilename, &a, e);
    if (found == REDIS_AOF_NONE) return REDIS_AOF_GONE;
    if (found == REDIS_AOF_ERROR) return REDIS_AOF_CHANGED;
    const struct redis_aof_identity *now = &a.identity;
    enum redis_aof_change change = REDIS_AOF_CHANGED;
    if (strcmp(now->path, then->path) != 0)
        dir_fail(e, "%s has taken the place of %s", now->path, then->path);
    else if (now->bytes != then->bytes)
        dir_fail(e, "%s and its files had %llu bytes and have %llu now", now->path,
                 (unsigned long long)then->bytes, (unsigned long long)now->bytes);
    else if (now->mtime_ns != then->mtime_ns)
        dir_fail(e, "%s or one of its files was written to", now->path);
    else
        change = REDIS_AOF_SAME;
    redis_aof_free(&a);
    return change;
}

// --- one command ---------------------------------------------------------------------------------

#define DIGITS_MAX 18 // of a length: fits int64_t

enum outcome {
    OUTCOME_DONE,
    OUTCOME_CUT,   // right as far as it goes
    OUTCOME_WRONG, // r->why, r->why_at
};

static enum outcome wrong(struct redis_aof_reader *r, size_t at, const char *why)
{
    r->why = why;
    r->why_at = at;
    return OUTCOME_WRONG;
}

// "<type><digits> CR LF"; the CR may be missing, as Redis takes it.
static enum outcome read_length(struct redis_aof_reader *r, size_t *pos, char type, uint64_t *value)
{
    const char *start = r->bytes.ptr + *pos, *p = start, *end = r->bytes.ptr + r->bytes.len;
    if (p == end) return OUTCOME_CUT;
    if (*p != type)
        return wrong(r, *pos, type == '*' ? "no command begins here" : "no word begins here");
    const char *digits = ++p;
    *value = 0;
    for (; p < end && *p >= '0' && *p <= '9' && p - digits < DIGITS_MAX; p++)
        *value = *value * 10 + (uint64_t)(*p - '0');
    if (p == end) return OUTCOME_CUT;
    if (p == digits) return wrong(r, (size_t)(p - r->bytes.ptr), "no number");
    if (*p == '\r' && ++p == end) return OUTCOME_CUT;
    if (*p != '\n') return wrong(r, (size_t)(p - r->bytes.ptr), "the line does not end");
    *pos = (size_t)(p + 1 - r->bytes.ptr);
    return OUTCOME_DONE;
}

static enum outcome read_word(struct redis_aof_reader *r, size_t *pos, struct slice *word)
{
    uint64_t len;
    enum outcome outcome = read_length(r, pos, '$', &len);
    if (outcome != OUTCOME_DONE) return outcome;
    size_t left = r->bytes.len - *pos;
    if (len > left) return OUTCOME_CUT;
    *word = (struct slice){r->bytes.ptr + *pos, (size_t)len};
    *pos += (size_t)len;
    left -= (size_t)len;
    if (memcmp(r->bytes.ptr + *pos, "\r\n", MIN(left, 2)) != 0)
        return wrong(r, *pos, "the word does not end");
    if (left < 2) return OUTCOME_CUT;
    *pos += 2;
    return OUTCOME_DONE;
}

static void keep_word(struct redis_aof_reader *r, size_t i, struct slice word)
{
    if (i == r->argv_cap) { // grows with the words that are there, not with those announced
        r->argv_cap = r->argv_cap ? r->argv_cap * 2 : 16;
        r->argv = mem_realloc(r->argv, r->argv_cap * sizeof *r->argv);
    }
    r->argv[i] = word;
}

static enum outcome skip_annotations(struct redis_aof_reader *r, size_t *pos)
{
    while (*pos < r->bytes.len && r->bytes.ptr[*pos] == '#') {
        const char *end = memchr(r->bytes.ptr + *pos, '\n', r->bytes.len - *pos);
        if (!end) return OUTCOME_CUT;
        *pos = (size_t)(end + 1 - r->bytes.ptr);
    }
    return OUTCOME_DONE;
}

// The command at *pos, its words to r->argv. *pos only moves if it is DONE. *argc: how many words
// could be read, if it is not.
static enum outcome read_command(struct redis_aof_reader *r, size_t *pos, int *argc)
{
    uint64_t count;
    size_t at = *pos;
    *argc = 0;
    enum outcome outcome = read_length(r, &at, '*', &count);
    if (outcome != OUTCOME_DONE) return outcome;
    if (count < 1 || count > REQUEST_ARGS_MAX) return wrong(r, *pos, "no number of words");
    for (; (uint64_t)*argc < count; ++*argc) {
        struct slice word = {0};
        outcome = read_word(r, &at, &word);
        if (outcome != OUTCOME_DONE) return outcome;
        keep_word(r, (size_t)*argc, word);
    }
    *pos = at;
    return OUTCOME_DONE;
}

// --- how a file ends -----------------------------------------------------------------------------

#define SEARCH_WORDS_MAX (1 << 22) // so that bytes made for it cannot keep the search busy

static bool is_command_name(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!isalnum((unsigned char)s.ptr[i]) && !strchr("._-", s.ptr[i])) return false;
    return s.len && isalpha((unsigned char)s.ptr[0]);
}

// Is there a whole command somewhere behind `start`, where one is cut? *where: its offset.
static bool finds_command(struct redis_aof_reader *r, size_t start, size_t *where)
{
    size_t words = 0;
    while (words < SEARCH_WORDS_MAX) {
        int argc;
        const char *found =
            memmem(r->bytes.ptr + start, r->bytes.len - start, "\r\n*", sizeof "\r\n*" - 1);
        if (!found) return false;
        size_t pos = *where = start = (size_t)(found + 2 - r->bytes.ptr);
        if (read_command(r, &pos, &argc) == OUTCOME_DONE && is_command_name(r->argv[0]))
            return true;
        words += (size_t)argc;
    }
    return true;
}

static enum redis_aof_step stop_damaged(struct redis_aof_reader *r, size_t at, const char *why)
{
    dir_fail(&r->error,
             "%s is damaged at offset %zu: %s. What comes before offset %zu is good. To load "
             "that much, run redis-check-aof --fix on a copy; or bring back a backup",
             r->path, at, why, r->good_bytes);
    return REDIS_AOF_DAMAGED;
}

// The bytes end within the command (or annotation) at `start`, or before an EXEC.
static enum redis_aof_step stop_cut(struct redis_aof_reader *r, size_t start, bool is_transaction)
{
    size_t where;
    if (!r->is_last) return stop_damaged(r, start, "it ends in the middle, but is not the last");
    if (finds_command(r, start, &where)) {
        char why[96];
        snprintf(why, sizeof why, "a command reaches beyond the end, but another follows at %zu",
                 where);
        return stop_damaged(r, start, why);
    }
    dir_fail(&r->error, "%s ends in the middle of a %s: %zu bytes from offset %zu on are dropped",
             r->path, is_transaction ? "transaction" : "command", r->bytes.len - r->good_bytes,
             r->good_bytes);
    return REDIS_AOF_TORN;
}

static enum redis_aof_step stop(struct redis_aof_reader *r, enum outcome outcome, size_t start,
                                bool is_transaction)
{
    return outcome == OUTCOME_WRONG ? stop_damaged(r, r->why_at, r->why)
                                    : stop_cut(r, start, is_transaction);
}

// --- commands of one file ------------------------------------------------------------------------

void redis_aof_reader_init(struct redis_aof_reader *r, const char *path, struct slice bytes,
                           bool is_last)
{
    *r = (struct redis_aof_reader){.path = path, .bytes = bytes, .is_last = is_last};
}

bool redis_aof_reader_open(struct redis_aof_reader *r, const struct redis_aof_file *file,
                           struct dir_error *e)
{
    struct stat st;
    void *bytes = NULL;
    int fd = open_file(file->path, &st, e);
    if (fd < 0) return false;
    if ((uint64_t)st.st_size != file->bytes) {
        dir_fail(e, "%s has changed while it was read: is a redis-server still running?",
                 file->path);
        close(fd);
        return false;
    }
    if (st.st_size) bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) dir_fail_errno(e, errno, "map", file->path);
    close(fd);
    if (bytes == MAP_FAILED) return false;
    struct slice all = {bytes ? bytes : "", (size_t)st.st_size};
    if (all.len) madvise(bytes, all.len, MADV_SEQUENTIAL);
    redis_aof_reader_init(r, file->path, all, file->is_last);
    r->is_mapped = all.len > 0;
    return true;
}

void redis_aof_reader_close(struct redis_aof_reader *r)
{
    if (r->is_mapped) munmap((void *)(uintptr_t)r->bytes.ptr, r->bytes.len);
    mem_free(r->argv);
    *r = (struct redis_aof_reader){0};
}

void redis_aof_reader_skip(struct redis_aof_reader *r, size_t offset)
{
    ASSERT(offset <= r->bytes.len && r->unit == 0);
    r->pos = r->good_bytes = offset;
}

// Behind a MULTI, at `pos`: is its EXEC there?
static enum redis_aof_step find_exec(struct redis_aof_reader *r, size_t pos)
{
    for (;;) {
        int argc;
        enum outcome outcome = skip_annotations(r, &pos);
        size_t at = pos;
        if (outcome == OUTCOME_DONE) outcome = read_command(r, &pos, &argc);
        if (outcome != OUTCOME_DONE) return stop(r, outcome, at, true);
        if (slice_is(r->argv[0], "exec")) return REDIS_AOF_COMMAND;
        if (slice_is(r->argv[0], "multi"))
            return stop_damaged(r, at, "a transaction begins within another");
    }
}

static enum redis_aof_step next_command(struct redis_aof_reader *r, int *argc)
{
    for (;;) {
        enum outcome outcome = skip_annotations(r, &r->pos);
        size_t at = r->offset = r->pos;
        if (outcome == OUTCOME_DONE && at == r->bytes.len) {
            r->good_bytes = at;
            return REDIS_AOF_END;
        }
        if (outcome == OUTCOME_DONE) outcome = read_command(r, &r->pos, argc);
        if (outcome != OUTCOME_DONE) return stop(r, outcome, at, false);
        if (slice_is(r->argv[0], "multi")) {
            enum redis_aof_step step = find_exec(r, r->pos);
            if (step != REDIS_AOF_COMMAND) return step;
            r->is_in_transaction = true;
            r->unit++;
        } else if (slice_is(r->argv[0], "exec")) {
            if (!r->is_in_transaction) return stop_damaged(r, at, "EXEC without MULTI");
            r->is_in_transaction = false;
            r->good_bytes = r->pos;
        } else {
            if (!r->is_in_transaction) {
                r->unit++;
                r->good_bytes = r->pos;
            }
            return REDIS_AOF_COMMAND;
        }
    }
}

enum redis_aof_step redis_aof_next(struct redis_aof_reader *r, int *argc, struct slice **argv)
{
    if (r->last_step == REDIS_AOF_COMMAND) r->last_step = next_command(r, argc);
    *argv = r->argv;
    return r->last_step;
}
