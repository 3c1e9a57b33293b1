// SPDX-License-Identifier: BSD-3-Clause
//
// faults: a library to be preloaded (LD_PRELOAD) that stands between a server and the files below
// one directory: it lets the nth call of a kind fail, and writes down all that changes these files,
// so that test_faults.py can tell what a power cut may have left of them. The server must do its
// file I/O by the C library (`--io poll`). What is not below the directory is never touched.
//
//   GYRE_FAULTS_DIR       the directory, absolute
//   GYRE_FAULTS_CONTROL   a file of at least sizeof(struct control), mapped: tests write to it
//   while
//                         the server runs
//   GYRE_FAULTS_TRACE     where records are appended, if control says so
//
// A trace is a list of records: struct record, path, second path, bytes. A call is recorded under
// one lock together with the call itself, so that the order in the trace is the order of events;
// but a sync, which takes its time, is two records, at its beginning and at its end: it covers what
// stands before its beginning. The test appends records of its own (RECORD_MARK) to the same file.
//
// All real calls that concern files are made by syscall(2): nothing has to be looked up, so the
// library works as early as a sanitizer's runtime needs it. Memory is different: what the server
// takes from mimalloc can fail, too. Sanitizer builds take it from malloc, which is not touched.
#undef _FILE_OFFSET_BITS // the plain names and those that end in 64 are all defined here
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
    OPEN,   // for reading, or of what exists
    CREATE, // with O_CREAT
    WRITE,
    SYNC,     // of a file
    SYNC_DIR, // of a directory
    RENAME,
    UNLINK,
    TRUNCATE,
    ALLOCATE, // of a file's space
    MKDIR,
    MEMORY, // counted only while armed: each command takes some
    KIND_COUNT,
};
enum { RECORD_CLOSE = 14, RECORD_MARK = 15 };
enum { BEGINS = 1, ENDS = 2, IS_NEW = 4, IS_EMPTIED = 8 }; // struct record, flags

#define MAGIC    0x52545947u // "GYTR"
#define FD_MAX   8192
#define PATH_LEN 160 // of a path below the directory

// Little endian; test_faults.py has the same layout.
struct control {
    uint32_t unused;
    _Atomic uint32_t is_armed; // written last
    uint32_t kinds;            // 1 << kind: calls that count, and fail
    uint32_t error;            // errno
    uint32_t is_sticky;        // all from the nth on
    uint32_t is_short;         // the nth write writes half; those after it fail
    _Atomic int64_t left;      // calls that succeed before
    uint32_t skips_sync;       // sync_us instead of a real sync
    uint32_t sync_us;          // that a sync takes longer
    uint32_t is_recording;
    char path[60]; // only calls on paths that contain this
    _Atomic uint64_t injected;
    _Atomic uint64_t counts[16]; // by kind: calls so far
};

struct record {
    uint32_t magic;
    uint8_t kind, flags;
    uint16_t unused;
    uint32_t path_len, path2_len;
    uint64_t handle; // an open file: process << 32 | number
    int64_t offset;  // truncate: the new length; sync: its number
    uint64_t len;    // of the bytes
    int32_t error;
    uint32_t unused2;
};

struct file { // what an fd is, if it is below the directory
    uint64_t handle;
    bool is_dir;
    char path[PATH_LEN];
};

static struct control *control;
static char root[PATH_MAX];
static size_t root_len;
static int trace_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file files[FD_MAX];
static uint64_t handle_count;
static int64_t sync_count;

// --- the beginning -------------------------------------------------------------------------------

static long fail_with(int error)
{
    errno = error;
    return -1;
}

__attribute__((constructor)) static void begin(void)
{
    const char *dir = getenv("GYRE_FAULTS_DIR"), *path = getenv("GYRE_FAULTS_CONTROL"),
               *trace = getenv("GYRE_FAULTS_TRACE");
    if (control || !dir || !path) return;
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
    syscall(SYS_close, fd);
    if (map == MAP_FAILED) return;
    root_len = strlen(dir);
    if (root_len >= sizeof root) return;
    memcpy(root, dir, root_len + 1);
    if (trace) {
        fd = syscall(SYS_openat, AT_FDCWD, trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        trace_fd = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 700);
        syscall(SYS_close, fd);
    }
    control = map;
}

// --- which files ---------------------------------------------------------------------------------

// Without ".", ".." and double slashes; what links mean nobody asks.
static bool normalize(const char *path, char out[PATH_MAX])
{
    char whole[2 * PATH_MAX];
    size_t len = 0, cwd_len = 0;
    if (path[0] != '/') {
        long n = syscall(SYS_getcwd, whole, PATH_MAX);
        if (n <= 0) return false;
        cwd_len = strlen(whole);
        whole[cwd_len++] = '/';
    }
    if (cwd_len + strlen(path) >= sizeof whole) return false;
    memcpy(whole + cwd_len, path, strlen(path) + 1);
    for (const char *at = whole; *at;) {
        size_t n = strcspn(at, "/");
        if (n == 2 && at[0] == '.' && at[1] == '.') {
            while (len && out[--len] != '/') continue;
        } else if (n && !(n == 1 && at[0] == '.')) {
            if (len + n + 2 > PATH_MAX) return false;
            out[len++] = '/';
            memcpy(out + len, at, n);
            len += n;
        }
        at += n;
        at += *at == '/';
    }
    out[len] = 0;
    return true;
}

// The path below the directory ("." is the directory itself), or NULL.
static const char *inside(int dirfd, const char *path, char space[PATH_MAX])
{
    if (!control || (dirfd != AT_FDCWD && path[0] != '/')) return NULL;
    if (!normalize(path, space) || strncmp(space, root, root_len) != 0) return NULL;
    if (!space[root_len]) return ".";
    if (space[root_len] != '/' || strlen(space + root_len + 1) >= PATH_LEN) return NULL;
    return space + root_len + 1;
}

static struct file *file_of(int fd)
{
    if (!control || fd < 0 || fd >= FD_MAX) return NULL;
    return files[fd].handle ? &files[fd] : NULL;
}

// --- failing -------------------------------------------------------------------------------------

enum verdict { GOES_ON, FAILS, IS_SHORT };

static enum verdict judge(enum kind kind, const char *path)
{
    atomic_fetch_add(&control->counts[kind], 1);
    if (!atomic_load(&control->is_armed) || !(control->kinds >> kind & 1)) return GOES_ON;
    if (control->path[0] && !strstr(path, control->path)) return GOES_ON;
    int64_t left = atomic_fetch_sub(&control->left, 1);
    if (left > 0) return GOES_ON;
    if (left == 0 && control->is_short && kind == WRITE) return IS_SHORT;
    bool is_nth = left == 0 || (left == -1 && control->is_short);
    if (!is_nth && !control->is_sticky) return GOES_ON;
    atomic_fetch_add(&control->injected, 1);
    errno = (int)control->error;
    return FAILS;
}

// --- recording -----------------------------------------------------------------------------------

static void record_pieces(struct record r, const char *path, const char *path2,
                          const struct iovec *bytes, int count)
{
    struct iovec iov[1024 + 3];
    if (!control->is_recording || trace_fd < 0) return;
    r.magic = MAGIC;
    r.path_len = (uint32_t)strlen(path);
    r.path2_len = (uint32_t)strlen(path2);
    iov[0] = (struct iovec){&r, sizeof r};
    iov[1] = (struct iovec){(char *)(uintptr_t)path, r.path_len};
    iov[2] = (struct iovec){(char *)(uintptr_t)path2, r.path2_len};
    uint64_t left = r.len;
    int used = 3;
    for (int i = 0; i < count && left; i++) {
        size_t n = bytes[i].iov_len < left ? bytes[i].iov_len : (size_t)left;
        iov[used++] = (struct iovec){bytes[i].iov_base, n};
        left -= n;
    }
    int error = errno;
    if (syscall(SYS_writev, trace_fd, iov, used) < 0) abort();
    errno = error;
}

static void record(struct record r, const char *path, const char *path2)
{
    record_pieces(r, path, path2, NULL, 0);
}

// --- open and close ------------------------------------------------------------------------------

static void remember(int fd, const char *path, int flags, bool is_new)
{
    struct stat st;
    if (fd >= FD_MAX) abort();
    struct file *f = &files[fd];
    f->handle = (uint64_t)getpid() << 32 | ++handle_count;
    f->is_dir = syscall(SYS_fstat, fd, &st) == 0 && S_ISDIR(st.st_mode);
    memcpy(f->path, path, strlen(path) + 1);
    uint8_t what = (is_new ? IS_NEW : 0) | (flags & O_TRUNC ? IS_EMPTIED : 0);
    record((struct record){.kind = flags & O_CREAT ? CREATE : OPEN,
                           .flags = what,
                           .handle = f->handle},
           path, "");
}

static int open_inside(const char *path, const char *name, int flags, mode_t mode)
{
    enum verdict verdict = judge(flags & O_CREAT ? CREATE : OPEN, name);
    if (verdict == FAILS) return -1;
    pthread_mutex_lock(&lock);
    bool is_new = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (fd >= 0) remember(fd, name, flags, is_new);
    pthread_mutex_unlock(&lock);
    return fd;
}

static int open_any(int dirfd, const char *path, int flags, mode_t mode)
{
    char space[PATH_MAX];
    const char *name = inside(dirfd, path, space);
    if (name) return open_inside(path, name, flags, mode);
    return (int)syscall(SYS_openat, dirfd, path, flags, mode);
}

#define MODE_OF(flags, mode)                                                                       \
    mode_t mode = 0;                                                                               \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                       \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode = va_arg(args, mode_t);                                                               \
        va_end(args);                                                                              \
    }

int open(const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return open_any(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return open_any(AT_FDCWD, path, flags, mode);
}

int openat(int dirfd, const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return open_any(dirfd, path, flags, mode);
}

int openat64(int dirfd, const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return open_any(dirfd, path, flags, mode);
}

int close(int fd)
{
    struct file *f = file_of(fd);
    if (!f) return (int)syscall(SYS_close, fd);
    pthread_mutex_lock(&lock);
    record((struct record){.kind = RECORD_CLOSE, .handle = f->handle}, f->path, "");
    f->handle = 0;
    int result = (int)syscall(SYS_close, fd);
    pthread_mutex_unlock(&lock);
    return result;
}

// --- writing -------------------------------------------------------------------------------------

// Half of it, in one piece.
static void halve(const struct iovec **iov, int *count, struct iovec *half)
{
    for (; *count > 1 && !(*iov)->iov_len; (*count)--) (*iov)++;
    *half = **iov;
    half->iov_len = *count > 1 ? half->iov_len : (half->iov_len + 1) / 2;
    *iov = half;
    *count = 1;
}

// offset -1: where the file stands.
static ssize_t write_inside(int fd, struct file *f, const struct iovec *iov, int count,
                            int64_t offset)
{
    struct iovec half;
    enum verdict verdict = judge(WRITE, f->path);
    if (verdict == FAILS) return -1;
    if (verdict == IS_SHORT && count) halve(&iov, &count, &half);
    pthread_mutex_lock(&lock);
    long n = offset < 0 ? syscall(SYS_writev, fd, iov, count)
                        : syscall(SYS_pwritev, fd, iov, count, offset, 0L);
    if (n > 0) {
        if (offset < 0) offset = syscall(SYS_lseek, fd, 0L, SEEK_CUR) - n;
        struct record r = {
            .kind = WRITE, .handle = f->handle, .offset = offset, .len = (uint64_t)n};
        record_pieces(r, f->path, "", iov, count);
    }
    pthread_mutex_unlock(&lock);
    return n;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    struct file *f = file_of(fd);
    if (!f) return syscall(SYS_write, fd, bytes, len);
    struct iovec iov = {(void *)(uintptr_t)bytes, len};
    return write_inside(fd, f, &iov, 1, -1);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    struct file *f = file_of(fd);
    if (!f) return syscall(SYS_writev, fd, iov, count);
    return write_inside(fd, f, iov, count, -1);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    struct file *f = file_of(fd);
    if (!f) return syscall(SYS_pwrite64, fd, bytes, len, offset);
    struct iovec iov = {(void *)(uintptr_t)bytes, len};
    return write_inside(fd, f, &iov, 1, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset)
{
    return pwrite(fd, bytes, len, offset);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    struct file *f = file_of(fd);
    if (!f) return syscall(SYS_pwritev, fd, iov, count, offset, 0L);
    return write_inside(fd, f, iov, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset)
{
    return pwritev(fd, iov, count, offset);
}

static int truncate_inside(int fd, struct file *f, off_t length)
{
    if (judge(TRUNCATE, f->path) == FAILS) return -1;
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_ftruncate, fd, length);
    if (result == 0)
        record((struct record){.kind = TRUNCATE, .handle = f->handle, .offset = length}, f->path,
               "");
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t length)
{
    struct file *f = file_of(fd);
    return f ? truncate_inside(fd, f, length) : (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate64(int fd, off64_t length)
{
    return ftruncate(fd, length);
}

// Recorded only as far as it is used: nothing changes but what is reserved (FALLOC_FL_KEEP_SIZE).
int fallocate(int fd, int mode, off_t offset, off_t length)
{
    struct file *f = file_of(fd);
    if (f && judge(ALLOCATE, f->path) == FAILS) return -1;
    if (f && !(mode & FALLOC_FL_KEEP_SIZE)) return (int)fail_with(EOPNOTSUPP);
    return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
    return fallocate(fd, mode, offset, length);
}

// --- syncing -------------------------------------------------------------------------------------

static int sync_inside(int fd, struct file *f, long number)
{
    enum kind kind = f->is_dir ? SYNC_DIR : SYNC;
    struct record r = {.kind = kind, .handle = f->handle};
    char path[PATH_LEN];
    memcpy(path, f->path, sizeof path);
    bool fails = judge(kind, path) == FAILS;
    int error = errno;
    pthread_mutex_lock(&lock);
    r.flags = BEGINS;
    r.offset = ++sync_count;
    record(r, path, "");
    pthread_mutex_unlock(&lock);
    int result = fails || control->skips_sync ? 0 : (int)syscall(number, fd);
    if (control->sync_us) usleep(control->sync_us);
    if (fails) result = (int)fail_with(error);
    pthread_mutex_lock(&lock);
    r.flags = ENDS;
    r.error = result < 0 ? errno : 0;
    record(r, path, "");
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd)
{
    struct file *f = file_of(fd);
    return f ? sync_inside(fd, f, SYS_fsync) : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    struct file *f = file_of(fd);
    return f ? sync_inside(fd, f, SYS_fdatasync) : (int)syscall(SYS_fdatasync, fd);
}

// --- names ---------------------------------------------------------------------------------------

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    char space[PATH_MAX], space2[PATH_MAX];
    const char *name = inside(from_fd, from, space), *name2 = inside(to_fd, to, space2);
    if (!name || !name2) return (int)syscall(SYS_renameat, from_fd, from, to_fd, to);
    if (judge(RENAME, name2) == FAILS) return -1;
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_renameat, from_fd, from, to_fd, to);
    if (result == 0) record((struct record){.kind = RENAME}, name, name2);
    pthread_mutex_unlock(&lock);
    return result;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int dirfd, const char *path, int flags)
{
    char space[PATH_MAX];
    const char *name = inside(dirfd, path, space);
    if (!name) return (int)syscall(SYS_unlinkat, dirfd, path, flags);
    if (judge(UNLINK, name) == FAILS) return -1;
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_unlinkat, dirfd, path, flags);
    if (result == 0) record((struct record){.kind = UNLINK}, name, "");
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int mkdir(const char *path, mode_t mode)
{
    char space[PATH_MAX];
    const char *name = inside(AT_FDCWD, path, space);
    if (!name) return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (judge(MKDIR, name) == FAILS) return -1;
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (result == 0) record((struct record){.kind = MKDIR}, name, "");
    pthread_mutex_unlock(&lock);
    return result;
}

// --- memory --------------------------------------------------------------------------------------

static bool memory_fails(void)
{
    if (!control || !atomic_load_explicit(&control->is_armed, memory_order_relaxed)) return false;
    return control->kinds >> MEMORY & 1 && judge(MEMORY, "") == FAILS;
}

// The function behind the one of the same name here, looked up once.
static void *real(_Atomic(void *) *place, const char *name)
{
    void *function = atomic_load_explicit(place, memory_order_relaxed);
    if (function) return function;
    function = dlsym(RTLD_NEXT, name);
    if (!function) abort();
    atomic_store_explicit(place, function, memory_order_relaxed);
    return function;
}

void *mi_malloc(size_t len)
{
    static _Atomic(void *) place;
    if (memory_fails()) return NULL;
    return ((void *(*)(size_t))real(&place, "mi_malloc"))(len);
}

void *mi_zalloc(size_t len)
{
    static _Atomic(void *) place;
    if (memory_fails()) return NULL;
    return ((void *(*)(size_t))real(&place, "mi_zalloc"))(len);
}

void *mi_realloc(void *pointer, size_t len)
{
    static _Atomic(void *) place;
    if (memory_fails()) return NULL;
    return ((void *(*)(void *, size_t))real(&place, "mi_realloc"))(pointer, len);
}

void *mi_zalloc_aligned(size_t len, size_t align)
{
    static _Atomic(void *) place;
    if (memory_fails()) return NULL;
    return ((void *(*)(size_t, size_t))real(&place, "mi_zalloc_aligned"))(len, align);
}
