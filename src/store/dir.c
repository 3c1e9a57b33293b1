// SPDX-License-Identifier: BSD-3-Clause
//
// After a failed fsync the kernel may have dropped what could not be written and forgotten the
// failure; asking again proves nothing. So nothing here is tried twice: a file that could not be
// synced is taken away again, under its temporary name, and the caller is told.
#include "store/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

#define COPY_BYTES (1u << 20) // read and written at once

static void say(struct dir_error *e, int code, const char *format, va_list args)
{
    e->code = code;
    vsnprintf(e->text, sizeof e->text, format, args);
}

void dir_fail(struct dir_error *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(e, 0, format, args);
    va_end(args);
}

bool dir_fail_errno(struct dir_error *e, int code, const char *doing, const char *path)
{
    dir_fail(e, "cannot %s '%s': %s", doing, path, strerror(code));
    e->code = code;
    return false;
}

char *dir_join(const char *dir, const char *name)
{
    size_t dir_len = strlen(dir), name_len = strlen(name);
    while (dir_len && dir[dir_len - 1] == '/') dir_len--;
    char *path = mem_alloc(dir_len + 1 + name_len + 1);
    memcpy(path, dir, dir_len);
    path[dir_len] = '/';
    memcpy(path + dir_len + 1, name, name_len + 1);
    return path;
}

// --- directories ---------------------------------------------------------------------------------

bool dir_sync(const char *dir, struct dir_error *e)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return dir_fail_errno(e, errno, "open the directory", dir);
    bool is_done = fsync(fd) == 0;
    // Some file systems (of the network, mostly) sync no directories, and say so.
    if (!is_done && errno == EINVAL) is_done = true;
    if (!is_done) dir_fail_errno(e, errno, "sync the directory", dir);
    close(fd);
    return is_done;
}

bool dir_make(const char *dir, struct dir_error *e)
{
    if (mkdir(dir, 0755) < 0) {
        struct stat st;
        if (errno != EEXIST) return dir_fail_errno(e, errno, "make the directory", dir);
        if (stat(dir, &st) < 0) return dir_fail_errno(e, errno, "look at", dir);
        if (!S_ISDIR(st.st_mode)) return dir_fail_errno(e, ENOTDIR, "use", dir);
    }
    char *parent = dir_join(dir, "..");
    bool is_done = dir_sync(parent, e);
    mem_free(parent);
    return is_done;
}

int dir_hold(const char *dir, struct dir_error *e)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        dir_fail_errno(e, errno, "open the directory", dir);
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return fd;
    close(fd);
    dir_fail(e, "the directory '%s' is in use by another server", dir);
    e->code = EWOULDBLOCK;
    return -1;
}

// --- files ---------------------------------------------------------------------------------------

bool dir_write_all(int fd, const char *path, const void *bytes, size_t len, struct dir_error *e)
{
    const char *at = bytes;
    while (len) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return dir_fail_errno(e, n ? errno : EIO, "write", path);
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static bool sync_file(int fd, const char *path, struct dir_error *e)
{
    return fsync(fd) == 0 || dir_fail_errno(e, errno, "sync", path);
}

// close(2), too, tells of bytes that did not get to their place (NFS).
static bool close_file(int fd, const char *path, struct dir_error *e)
{
    return close(fd) == 0 || errno == EINTR || dir_fail_errno(e, errno, "close", path);
}

// Makes or empties the file and gives it this content, synced.
static bool write_new(const char *path, struct slice bytes, struct dir_error *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return dir_fail_errno(e, errno, "create", path);
    bool is_done = dir_write_all(fd, path, bytes.ptr, bytes.len, e) && sync_file(fd, path, e);
    if (is_done) return close_file(fd, path, e);
    close(fd);
    return false;
}

bool dir_write_file(const char *dir, const char *name, struct slice bytes, struct dir_error *e)
{
    size_t len = strlen(name);
    char *temporary = mem_alloc(len + sizeof DIR_TEMPORARY);
    memcpy(temporary, name, len);
    memcpy(temporary + len, DIR_TEMPORARY, sizeof DIR_TEMPORARY);
    char *path = dir_join(dir, temporary);
    bool is_done = write_new(path, bytes, e);
    if (!is_done)
        unlink(path);
    else
        is_done = dir_rename(dir, temporary, name, e);
    mem_free(path);
    mem_free(temporary);
    return is_done;
}

bool dir_rename(const char *dir, const char *from, const char *to, struct dir_error *e)
{
    char *old = dir_join(dir, from), *new = dir_join(dir, to);
    bool is_done = rename(old, new) == 0 || dir_fail_errno(e, errno, "rename", old);
    if (is_done) is_done = dir_sync(dir, e);
    mem_free(old);
    mem_free(new);
    return is_done;
}

// Appends what can be read to *out, of which `max` bytes is the limit.
static bool read_all(int fd, const char *path, size_t max, struct buf *out, struct dir_error *e)
{
    for (size_t total = 0;;) {
        char *room = buf_reserve(out, COPY_BYTES);
        ssize_t n = read(fd, room, COPY_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return dir_fail_errno(e, errno, "read", path);
        if (n == 0) return true;
        total += (size_t)n;
        if (total > max) return dir_fail_errno(e, EFBIG, "read", path);
        out->len += (size_t)n;
    }
}

bool dir_read_file(const char *path, size_t max, struct buf *out, struct dir_error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return dir_fail_errno(e, errno, "open", path);
    bool is_done = read_all(fd, path, max, out, e);
    close(fd);
    return is_done;
}

static bool copy_bytes(int in, const char *from, int out, const char *to, struct dir_error *e)
{
    char *bytes = mem_alloc(COPY_BYTES);
    ssize_t n;
    bool is_good = true;
    while (is_good && (n = read(in, bytes, COPY_BYTES)) != 0) {
        if (n > 0)
            is_good = dir_write_all(out, to, bytes, (size_t)n, e);
        else if (errno != EINTR)
            is_good = dir_fail_errno(e, errno, "read", from);
    }
    mem_free(bytes);
    return is_good;
}

static bool copy_new(int in, const char *from, const char *to, struct dir_error *e)
{
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (out < 0) return dir_fail_errno(e, errno, "create", to);
    bool is_done = copy_bytes(in, from, out, to, e) && sync_file(out, to, e);
    if (is_done)
        is_done = close_file(out, to, e);
    else
        close(out);
    if (!is_done) unlink(to);
    return is_done;
}

bool dir_copy_file(const char *from, const char *to, struct dir_error *e)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) return dir_fail_errno(e, errno, "open", from);
    bool is_done = copy_new(in, from, to, e);
    close(in);
    if (!is_done) return false;
    const char *name = strrchr(to, '/');
    char *dir = name == to ? mem_strdup("/")
                : name     ? mem_strndup(to, (size_t)(name - to))
                           : mem_strdup(".");
    is_done = dir_sync(dir, e);
    mem_free(dir);
    return is_done;
}

bool dir_cut_file(const char *path, uint64_t bytes, struct dir_error *e)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return dir_fail_errno(e, errno, "open", path);
    bool is_done = ftruncate(fd, (off_t)bytes) == 0 || dir_fail_errno(e, errno, "cut", path);
    if (is_done) is_done = sync_file(fd, path, e);
    close(fd);
    return is_done;
}

bool dir_sync_file(const char *path, struct dir_error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return dir_fail_errno(e, errno, "open", path);
    bool is_done = sync_file(fd, path, e);
    close(fd);
    return is_done;
}

bool dir_remove(const char *dir, const char *name, struct dir_error *e)
{
    char *path = dir_join(dir, name);
    bool is_done = unlink(path) == 0 || errno == ENOENT || dir_fail_errno(e, errno, "remove", path);
    mem_free(path);
    return is_done;
}
