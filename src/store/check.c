// SPDX-License-Identifier: BSD-3-Clause
//
// A check goes on after what it finds as long as what follows can be judged: all logs of an epoch
// are looked at, though the first is damaged.
#include "store/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/crc64.h"
#include "base/mem.h"
#include "engine/effect.h"
#include "engine/settings.h"
#include "store/image.h"
#include "store/log_chain.h"
#include "store/log_file.h"
#include "store/manifest.h"
#include "store/rdb_file.h"
#include "store/redis_aof.h"

#define COPY_SUFFIX        ".before-cut"
#define RDB_CHECKSUM_BYTES 8

struct check {
    const struct check_options *options;
    enum check_result result; // the worst so far
    struct buf *report;
};

static void say(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct check *c, const char *format, ...)
{
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    buf_append_text(c->report, line);
    buf_append_char(c->report, '\n');
}

static void note(struct check *c, enum check_result result)
{
    c->result = MAX(c->result, result);
}

// Something is wrong; a code means that it could not be read.
static void object(struct check *c, const struct dir_error *e)
{
    say(c, "%s", e->text);
    note(c, e->code ? CHECK_UNREADABLE : CHECK_DAMAGED);
}

// --- one log -------------------------------------------------------------------------------------

static void check_effects(struct check *c, const struct log_file *f)
{
    struct effect_reader reader = {0};
    struct log_cursor cursor;
    struct log_unit unit;
    log_cursor_begin(&cursor, f);
    while (log_cursor_next(&cursor, &unit)) {
        struct slice groups = unit.groups;
        uint32_t shard;
        reader.left = unit.effects;
        do
            while (effect_next(&reader)) continue;
        while (!reader.left.len && log_group_next(&groups, &shard, &reader.left));
        if (!reader.left.len) continue;
        say(c, "'%s': the effects of the unit with seq %" PRIu64 " make no sense", f->path,
            cursor.seq);
        note(c, CHECK_DAMAGED);
        break;
    }
    effect_reader_free(&reader);
}

// Opens, scans, and looks into the log. False: there is nothing to go on with.
static bool read_log(struct check *c, struct log_file *f, const char *path,
                     const struct log_header *expected)
{
    struct dir_error e;
    if (!log_file_open(f, path, expected, &e)) {
        object(c, &e);
        if (expected) note(c, CHECK_DAMAGED); // also if it is missing
        return false;
    }
    if (!log_file_scan(f, NULL, &e)) {
        object(c, &e);
        log_file_close(f);
        return false;
    }
    check_effects(c, f);
    log_file_describe(f, c->report);
    buf_append_char(c->report, '\n');
    return true;
}

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? mem_strndup(path, (size_t)MAX(slash - path, 1)) : mem_strdup(".");
}

// Not what a server that runs is about to write to.
static bool cut(struct check *c, const char *path, uint64_t good_bytes)
{
    struct dir_error e;
    struct buf copy = {0};
    char *dir = directory_of(path);
    int held = dir_hold(dir, &e);
    buf_printf(&copy, "%s" COPY_SUFFIX, path);
    buf_append_char(&copy, '\0');
    bool is_done =
        held >= 0 && dir_copy_file(path, copy.ptr, &e) && dir_cut_file(path, good_bytes, &e);
    if (held >= 0) close(held);
    mem_free(dir);
    if (is_done)
        say(c, "'%s': cut to %" PRIu64 " bytes; what it was is in '%s'", path, good_bytes,
            copy.ptr);
    else
        object(c, &e);
    buf_free(&copy);
    return is_done;
}

// A log that does not end well is cut if that was asked for, or counts as damaged; f->scan says
// what it is then. Only in the last epoch a torn tail is what a power cut leaves.
static void mend(struct check *c, struct log_file *f, bool is_last)
{
    bool is_torn = f->scan.end == LOG_END_TORN && is_last;
    if (f->scan.end == LOG_END_CLEAN) return;
    if (c->options->cut >= (is_torn ? CHECK_CUT_TORN : CHECK_CUT_DAMAGED) &&
        cut(c, f->path, f->scan.good_bytes)) {
        f->scan.end = LOG_END_CLEAN;
        return;
    }
    if (is_torn && c->options->cut == CHECK_CUT_NOTHING)
        say(c,
            "'%s': gyre-check --cut cuts the torn end off, as the server does if "
            "aof-load-truncated is yes",
            f->path);
    note(c, CHECK_DAMAGED);
}

static void check_log(struct check *c, const char *path)
{
    struct log_file f;
    if (!read_log(c, &f, path, NULL)) return;
    mend(c, &f, true);
    log_file_close(&f);
}

// --- RDB files -----------------------------------------------------------------------------------

static bool check_value(struct rdb_file_reader *r, const struct rdb_item *item,
                        const struct value_limits *limits, struct buf *scratch)
{
    struct rdb_value value = {.scratch = *scratch};
    bool is_good = rdb_file_read_value(r, item, limits, &value);
    if (is_good && value.type != TYPE_STRING) value_free(value.type, value.value);
    *scratch = value.scratch;
    return is_good || value.is_empty;
}

static bool check_items(struct rdb_file_reader *r, uint64_t *keys)
{
    struct settings *settings = settings_default();
    struct buf scratch = {0};
    struct rdb_item item = {.kind = RDB_ITEM_AUX};
    bool is_good = true;
    while (is_good && (is_good = rdb_file_next(r, &item)) && item.kind != RDB_ITEM_END)
        if (item.kind == RDB_ITEM_KEY) {
            is_good = check_value(r, &item, &settings->limits, &scratch);
            ++*keys;
        }
    buf_free(&scratch);
    settings_free(settings);
    return is_good;
}

// may_go_on: something may follow the RDB file.
static void check_rdb_bytes(struct check *c, const char *path, const struct rdb_file *f,
                            bool may_go_on)
{
    struct rdb_file_reader r;
    uint64_t keys = 0;
    rdb_file_reader_init(&r, f);
    bool is_good = check_items(&r, &keys);
    uint64_t end = rdb_file_reader_offset(&r), crc = 0;
    if (!is_good) {
        say(c, "'%s': %s", path, r.error);
    } else if (r.crc && (crc = crc64_add(0, f->bytes, end - RDB_CHECKSUM_BYTES)) != r.crc) {
        is_good = false;
        say(c,
            "'%s': the checksum at offset %" PRIu64 " is %016" PRIx64
            ", that of the file %016" PRIx64,
            path, end - RDB_CHECKSUM_BYTES, r.crc, crc);
    } else if (end != f->len && !may_go_on) {
        is_good = false;
        say(c, "'%s': the data end at offset %" PRIu64 ", but %" PRIu64 " bytes follow", path, end,
            f->len - end);
    } else {
        say(c, "'%s': RDB version %u, %" PRIu64 " keys, %" PRIu64 " bytes, whole%s", path,
            f->version, keys, end, r.crc ? "" : " (without a checksum)");
    }
    if (!is_good) note(c, CHECK_DAMAGED);
    rdb_file_reader_free(&r);
}

static void check_rdb(struct check *c, const char *path)
{
    struct rdb_file f;
    bool is_missing;
    char error[RDB_FILE_ERROR_MAX];
    if (!rdb_file_map(&f, path, &is_missing, error)) {
        say(c, "'%s': %s", path, error);
        note(c, CHECK_DAMAGED);
        return;
    }
    check_rdb_bytes(c, path, &f, false);
    rdb_file_close(&f);
}

// --- a directory of ours -------------------------------------------------------------------------

static void check_base(struct check *c, const char *dir, const struct manifest *m)
{
    struct stat st;
    char *path = dir_join(dir, m->base);
    if (stat(path, &st) < 0) {
        say(c, "cannot look at '%s', which the manifest names: %s", path, strerror(errno));
        note(c, errno == ENOENT ? CHECK_DAMAGED : CHECK_UNREADABLE);
    } else if ((uint64_t)st.st_size != m->base_bytes) {
        say(c, "'%s' has %" PRId64 " bytes, not %" PRIu64 " as the manifest says", path,
            (int64_t)st.st_size, m->base_bytes);
        note(c, CHECK_DAMAGED);
    } else {
        check_rdb(c, path);
    }
    mem_free(path);
}

struct epoch_logs { // of an epoch; those that could not be read are closed
    const struct manifest_epoch *epoch;
    struct log_file *files; // owned
    bool are_good;          // all of them
};

static void close_logs(struct epoch_logs *l)
{
    for (uint32_t i = 0; l->files && i < l->epoch->shard_count; i++)
        if (l->files[i].path) log_file_close(&l->files[i]);
    mem_free(l->files);
    l->files = NULL;
}

static bool check_epoch_log(struct check *c, const char *dir, const struct manifest_epoch *epoch,
                            uint32_t shard, bool is_last, struct log_file *f)
{
    struct log_header expected = manifest_header(epoch, shard);
    struct dir_error e;
    char *path = dir_join(dir, epoch->logs[shard].name);
    bool is_good = read_log(c, f, path, &expected);
    if (is_good) mend(c, f, is_last);
    if (is_good && !log_chain_fits(f, &epoch->logs[shard], is_last, &e)) {
        is_good = false;
        if (f->scan.end != LOG_END_DAMAGED) object(c, &e); // what is damaged was described
    }
    mem_free(path);
    return is_good;
}

static void check_transactions(struct check *c, const struct epoch_logs *l)
{
    struct log_chain_count count;
    struct dir_error e;
    if (!log_chain_check_transactions(l->files, l->epoch->shard_count, &count, &e)) {
        object(c, &e);
        return;
    }
    say(c,
        "epoch %" PRIu64 ": %" PRIu64 " transactions over several shards, %" PRIu64
        " of them not in all their logs (which do not count, as nobody was told of them)",
        l->epoch->number, count.transactions, count.incomplete);
}

static void check_epochs(struct check *c, const char *dir, const struct manifest *m)
{
    struct epoch_logs before = {0};
    struct dir_error e;
    for (size_t i = 0; i < m->epoch_count; i++) {
        struct epoch_logs l = {.epoch = &m->epochs[i], .are_good = true};
        l.files = mem_calloc(l.epoch->shard_count * sizeof l.files[0]);
        for (uint32_t s = 0; s < l.epoch->shard_count; s++)
            if (!check_epoch_log(c, dir, l.epoch, s, i + 1 == m->epoch_count, &l.files[s]))
                l.are_good = false;
        if (l.are_good) check_transactions(c, &l);
        if (before.are_good && l.are_good &&
            !log_chain_follows(before.epoch, before.files, l.epoch, &e))
            object(c, &e);
        close_logs(&before);
        before = l;
    }
    close_logs(&before);
}

static void check_directory(struct check *c, const char *dir)
{
    struct manifest m;
    struct dir_error e;
    if (!manifest_read(&m, dir, &e)) {
        object(c, &e);
        return;
    }
    say(c, "'%s/" MANIFEST_NAME "': %s, %zu epochs of logs", dir,
        m.base[0] ? "a snapshot" : "no snapshot", m.epoch_count);
    if (m.imported) say(c, "the data begin with what Redis left in '%s'", m.imported);
    if (m.base[0]) check_base(c, dir, &m);
    check_epochs(c, dir, &m);
    manifest_clear(&m);
}

// --- a directory of Redis ------------------------------------------------------------------------

static void check_redis_file(struct check *c, const struct redis_aof_file *file)
{
    struct redis_aof_reader r;
    struct rdb_file rdb;
    struct dir_error e;
    struct slice *argv;
    uint64_t commands = 0;
    int argc;
    char error[RDB_FILE_ERROR_MAX];
    if (!redis_aof_reader_open(&r, file, &e)) {
        object(c, &e);
        return;
    }
    if (file->has_rdb && rdb_file_open(&rdb, r.bytes, error)) {
        struct rdb_file_reader in;
        uint64_t keys = 0;
        rdb_file_reader_init(&in, &rdb);
        if (check_items(&in, &keys)) redis_aof_reader_skip(&r, rdb_file_reader_offset(&in));
        rdb_file_reader_free(&in);
        check_rdb_bytes(c, file->path, &rdb, true);
    } else if (file->has_rdb) {
        say(c, "'%s': %s", file->path, error);
        note(c, CHECK_DAMAGED);
    }
    while (c->result == CHECK_GOOD && redis_aof_next(&r, &argc, &argv) == REDIS_AOF_COMMAND)
        commands++;
    if (r.last_step == REDIS_AOF_TORN || r.last_step == REDIS_AOF_DAMAGED) object(c, &r.error);
    if (c->result == CHECK_GOOD) say(c, "'%s': %" PRIu64 " commands, whole", file->path, commands);
    redis_aof_reader_close(&r);
}

// dir/name/file is Redis's manifest, file ending in ".manifest".
static void check_redis(struct check *c, const char *dir, const char *name, const char *manifest)
{
    struct redis_aof aof;
    struct dir_error e;
    char *file = mem_strndup(manifest, strlen(manifest) - strlen(".manifest"));
    say(c, "'%s/%s' is an append-only directory of Redis 7, which Gyre reads when it starts", dir,
        name);
    switch (redis_aof_open(dir, name, file, &aof, &e)) {
    case REDIS_AOF_FOUND:
        for (uint32_t i = 0; i < aof.file_count; i++) check_redis_file(c, &aof.files[i]);
        redis_aof_free(&aof);
        break;
    case REDIS_AOF_ERROR: object(c, &e); break;
    case REDIS_AOF_NONE: note(c, CHECK_UNREADABLE); break;
    }
    mem_free(file);
}

// --- which of all these it is --------------------------------------------------------------------

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len > end_len && strcmp(text + len - end_len, end) == 0;
}

// The name of a file that ends so, in `found`; or "".
static void find_file(const char *dir, const char *end, char found[256])
{
    DIR *stream = opendir(dir);
    found[0] = '\0';
    for (const struct dirent *entry; stream && !found[0] && (entry = readdir(stream));)
        if (ends_with(entry->d_name, end) && strcmp(entry->d_name, MANIFEST_NAME) != 0)
            snprintf(found, 256, "%s", entry->d_name);
    if (stream) closedir(stream);
}

static bool has_file(const char *dir, const char *name)
{
    char *path = dir_join(dir, name);
    bool has = access(path, F_OK) == 0;
    mem_free(path);
    return has;
}

// True if there is a manifest in it.
static bool check_if_append_only(struct check *c, const char *dir)
{
    char manifest[256];
    if (has_file(dir, MANIFEST_NAME)) {
        check_directory(c, dir);
        return true;
    }
    find_file(dir, ".manifest", manifest);
    if (!manifest[0]) return false;
    struct buf parent = {0};
    // Of "a/b" the parent is "a", and of "b" it is ".".
    const char *slash = strrchr(dir, '/');
    buf_append(&parent, slash ? dir : ".", slash ? MAX((size_t)(slash - dir), 1u) : 1);
    buf_append_char(&parent, '\0');
    check_redis(c, parent.ptr, slash ? slash + 1 : dir, manifest);
    buf_free(&parent);
    return true;
}

// Left behind by a server, or a Redis, that was killed meanwhile.
static bool is_unfinished(const char *name)
{
    return strncmp(name, IMAGE_TEMPORARY, sizeof IMAGE_TEMPORARY - 1) == 0 &&
           ends_with(name, ".rdb");
}

// A data directory: what is in it that may be the data.
static void check_data(struct check *c, const char *dir)
{
    DIR *stream = opendir(dir);
    bool has_found = false;
    if (!stream) {
        say(c, "cannot open the directory '%s': %s", dir, strerror(errno));
        note(c, CHECK_UNREADABLE);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(stream));) {
        if (entry->d_name[0] == '.') continue;
        char *path = dir_join(dir, entry->d_name);
        struct stat st;
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
            if (check_if_append_only(c, path)) has_found = true;
        } else if (is_unfinished(entry->d_name)) {
            say(c, "'%s': a dump that was not finished; nobody reads it", path);
        } else if (ends_with(entry->d_name, ".rdb")) {
            check_rdb(c, path);
            has_found = true;
        }
        mem_free(path);
    }
    closedir(stream);
    if (has_found) return;
    say(c, "'%s': there is neither a manifest nor an RDB file in it", dir);
    note(c, CHECK_UNREADABLE);
}

static void check_file(struct check *c, const char *path)
{
    char head[8] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof head);
    int code = errno;
    if (fd >= 0) close(fd);
    if (n < 0) {
        struct dir_error e;
        dir_fail_errno(&e, code, "read", path);
        object(c, &e);
    } else if (n >= 5 && memcmp(head, "REDIS", 5) == 0) {
        check_rdb(c, path);
    } else if (ends_with(path, "/" MANIFEST_NAME) || strcmp(path, MANIFEST_NAME) == 0) {
        char *dir = directory_of(path);
        check_directory(c, dir);
        mem_free(dir);
    } else {
        check_log(c, path);
    }
}

enum check_result check_path(const char *path, const struct check_options *options,
                             struct buf *report)
{
    struct check c = {.options = options, .report = report};
    struct stat st;
    if (stat(path, &st) < 0) {
        say(&c, "cannot look at '%s': %s", path, strerror(errno));
        return CHECK_UNREADABLE;
    }
    char *clean = mem_strdup(path);
    for (size_t len = strlen(clean); len > 1 && clean[len - 1] == '/';) clean[--len] = '\0';
    if (!S_ISDIR(st.st_mode))
        check_file(&c, clean);
    else if (!check_if_append_only(&c, clean))
        check_data(&c, clean);
    mem_free(clean);
    return c.result;
}
