// SPDX-License-Identifier: BSD-3-Clause
//
// io/ring.h: files. Real ones in /tmp, a small tmpfs that fills up (root only), /dev/full,
// /proc/self/mem, whose unmapped pages are EIO.
//
// The file threads' calls of pwritev and fdatasync end up in this file, which makes them slow,
// short or fail as a test says (`faults`); where the kernel does the work (io_uring) it is left
// alone.
#define _GNU_SOURCE 1
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "ring_fixture.h"

// ---- faults (sequentially consistent throughout: they pass between two threads) ----

static struct {
    atomic_int sync_error;  // of the next fdatasync
    atomic_bool syncs_hang; // until it is false again
    atomic_int syncs_begun;
    atomic_int short_percent; // so many pwritev in a hundred write less, or say EINTR
    atomic_uint seed;
    atomic_int calls;
} faults;

int fdatasync(int fd)
{
    atomic_fetch_add(&faults.syncs_begun, 1);
    while (atomic_load(&faults.syncs_hang)) usleep(100);
    int error = atomic_exchange(&faults.sync_error, 0);
    if (error) {
        errno = error;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    unsigned random = atomic_fetch_add(&faults.seed, 1) * 2654435761u >> 8;
    atomic_fetch_add(&faults.calls, 1);
    if ((int)(random % 100) < atomic_load(&faults.short_percent)) {
        if (random & 1024) {
            errno = EINTR;
            return -1;
        }
        if (count > 1)
            count = 1 + (int)(random >> 11) % count;
        else
            return pwrite(fd, iov->iov_base, 1 + (random >> 11) % iov->iov_len, offset);
    }
    return syscall(SYS_pwritev, fd, iov, count, offset, 0);
}

// ---- files and operations ----

struct op {
    struct ring_file file;
    int count;
    int64_t result;
};

static void op_done(struct ring_file *file, int64_t result)
{
    struct op *op = CONTAINER_OF(file, struct op, file);
    op->count++;
    op->result = result;
}

static struct op op_make(int fd, struct iovec *iov, int iov_count, uint64_t offset)
{
    return (struct op){
        .file = {
            .done = op_done, .fd = fd, .iov = iov, .iov_count = iov_count, .offset_bytes = offset}};
}

static int file_make(void)
{
    char path[] = "/tmp/gyre-test-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    cr_assert(fd >= 0);
    unlink(path);
    return fd;
}

// A file in a file system of that size which nothing else sees.
static int small_disk_file(const char *options)
{
    char dir[] = "/tmp/gyre-test-XXXXXX", path[64];
    cr_assert(mkdtemp(dir));
    if (mount("gyre-test", dir, "tmpfs", 0, options) < 0) {
        rmdir(dir);
        cr_skip_test("mounting is for root");
    }
    snprintf(path, sizeof path, "%s/file", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    umount2(dir, MNT_DETACH);
    rmdir(dir);
    cr_assert(fd >= 0);
    return fd;
}

static void check_file(int fd, size_t size)
{
    struct stat st;
    char *data = malloc(size + 1);
    cr_assert(fstat(fd, &st) == 0);
    cr_assert((size_t)st.st_size == size, "%zu bytes instead of %zu", (size_t)st.st_size, size);
    cr_assert(pread(fd, data, size, 0) == (ssize_t)size);
    check_stream(data, size);
    free(data);
}

// Cuts data into pieces, empty ones among them.
static int cut(struct iovec *iov, int iov_max, char *data, size_t size, unsigned seed)
{
    int n = 0;
    for (size_t at = 0; at < size; n++) {
        size_t len = (size_t)rand_r(&seed) % (2 * size / (size_t)iov_max) * 2;
        if (n == iov_max - 1 || len > size - at) len = size - at;
        iov[n] = (struct iovec){data + at, len};
        at += len;
    }
    return n;
}

static int64_t run_allocate(struct ring *ring, struct op *op, uint64_t offset, uint64_t size)
{
    op->count = 0;
    op->file.offset_bytes = offset;
    op->file.size_bytes = size;
    ring_allocate_start(ring, &op->file);
    cr_assert(op->count == 0, "a callback inside the call that started it");
    RUN_UNTIL(ring, op->count == 1);
    return op->result;
}

static int64_t run_op(struct ring *ring, struct op *op, bool is_sync)
{
    op->count = 0;
    if (is_sync)
        ring_sync_start(ring, &op->file);
    else
        ring_write_start(ring, &op->file);
    cr_assert(op->count == 0, "a callback inside the call that started it");
    RUN_UNTIL(ring, op->count == 1);
    return op->result;
}

// ---- writing ----

RING_TEST(all_pieces_are_written_at_their_offset)
{
    enum { SIZE = 3000000, PIECES = 3000 };
    struct ring *ring = open_ring(engine);
    struct iovec *iov = calloc(PIECES, sizeof *iov), *before = calloc(PIECES, sizeof *iov);
    char *data = stream_make(SIZE);
    int fd = file_make();
    size_t half = SIZE / 2;
    for (int from = 1; from >= 0; from--) { // the second half first
        int n = cut(iov, PIECES, data + (from ? half : 0), half, (unsigned)from + 7);
        struct op op = op_make(fd, iov, n, from ? half : 0);
        cr_assert(n > 1024, "%d", n); // more than one call takes
        memcpy(before, iov, PIECES * sizeof *iov);
        cr_assert(run_op(ring, &op, false) == (int64_t)half, "%ld", (long)op.result);
        cr_assert(op.file.written_bytes == half);
        cr_assert(memcmp(before, iov, PIECES * sizeof *iov) == 0, "iov was left trimmed");
    }
    check_file(fd, SIZE);
    free(data);
    free(iov);
    free(before);
    close(fd);
    ring_close(ring);
}

RING_TEST(writing_now_writes_before_it_returns)
{
    struct ring *ring = open_ring(engine);
    struct iovec iov[64];
    char *data = stream_make(100000);
    int fd = file_make(), n = cut(iov, 64, data, 100000, 3);
    struct op op = op_make(fd, iov, n, 0);
    cr_assert(ring_write_now(ring, &op.file) == 100000);
    check_file(fd, 100000);
    run_dry(ring);
    cr_assert(op.count == 0);
    cr_assert(run_op(ring, &op, true) == 0); // the struct is free again
    op.file.fd = -1;
    cr_assert(ring_write_now(ring, &op.file) == -EBADF);
    cr_assert(op.file.written_bytes == 0);
    free(data);
    close(fd);
    ring_close(ring);
}

RING_TEST(writing_nothing_succeeds)
{
    struct ring *ring = open_ring(engine);
    struct iovec empty[2] = {{"", 0}, {"", 0}};
    int fd = file_make();
    for (int n = 0; n <= 2; n++) {
        struct op op = op_make(fd, empty, n, 0);
        cr_assert(run_op(ring, &op, false) == 0);
        cr_assert(ring_write_now(ring, &op.file) == 0);
    }
    check_file(fd, 0);
    close(fd);
    ring_close(ring);
}

RING_TEST(no_file_callback_runs_outside_ring_run)
{
    struct ring *ring = open_ring(engine);
    struct iovec iov = {"abc", 3};
    int fd = file_make();
    struct op op = op_make(fd, &iov, 1, 0);
    ring_write_start(ring, &op.file);
    usleep(5000);
    cr_assert(op.count == 0);
    cr_assert(ring_run(ring, 0) >= 0); // hands it over at the latest
    usleep(5000);
    cr_assert(op.count <= 1);
    RUN_UNTIL(ring, op.count == 1);
    run_dry(ring);
    cr_assert(op.count == 1);
    close(fd);
    ring_close(ring);
}

RING_TEST(the_end_of_a_sync_ends_the_wait)
{
    struct ring *ring = open_ring(engine);
    struct iovec iov = {"abc", 3};
    int fd = file_make();
    struct op op = op_make(fd, &iov, 1, 0);
    run_dry(ring);
    for (int i = 0; i < 200; i++) {
        int64_t start_us = clock_mono_us();
        op.count = 0;
        if (i & 1)
            ring_sync_start(ring, &op.file);
        else
            ring_write_start(ring, &op.file);
        while (op.count == 0) cr_assert(ring_run(ring, PATIENCE_US) >= 0);
        cr_assert(clock_mono_us() - start_us < PATIENCE_US / 2);
    }
    int64_t start_us = clock_mono_us(); // and nothing is left that would keep it awake
    cr_assert(ring_run(ring, 50000) == 0);
    cr_assert(clock_mono_us() - start_us > 40000);
    close(fd);
    ring_close(ring);
}

// A log in small: appends, each when the one before has ended, now and then a sync.
struct log {
    struct ring_file file;
    struct ring *ring;
    struct iovec iov;
    char *data;
    size_t step;
    size_t size;
    int syncs;
    bool has_ended;
};

static void log_done(struct ring_file *file, int64_t result)
{
    struct log *log = CONTAINER_OF(file, struct log, file);
    cr_assert(result == (int64_t)file->written_bytes, "%ld", (long)result);
    file->offset_bytes += file->written_bytes;
    if (result > 0 && file->offset_bytes / log->step % 5 == 0) {
        log->syncs++;
        ring_sync_start(log->ring, file);
        return;
    }
    size_t left = log->size - file->offset_bytes;
    log->iov = (struct iovec){log->data + file->offset_bytes, MIN(left, log->step)};
    log->has_ended = left == 0;
    if (left > 0) ring_write_start(log->ring, file);
}

static void log_start(struct log *log, struct ring *ring, int fd, char *data, size_t size,
                      size_t step)
{
    *log = (struct log){.ring = ring, .data = data, .size = size, .step = step};
    log->file = (struct ring_file){.done = log_done, .fd = fd, .iov = &log->iov, .iov_count = 1};
    log->iov = (struct iovec){data, step};
    ring_write_start(ring, &log->file);
}

RING_TEST(many_files_at_once)
{
    enum { N = 30, SIZE = 60000 };
    struct ring *ring = open_ring_sized(engine, 4, 16, 4096);
    struct log logs[N];
    char *data = stream_make(SIZE);
    for (int i = 0; i < N; i++) log_start(&logs[i], ring, file_make(), data, SIZE, 1000 + 100 * i);
    for (int i = 0; i < N; i++) {
        RUN_UNTIL(ring, logs[i].has_ended);
        cr_assert(logs[i].syncs >= 2);
        check_file(logs[i].file.fd, SIZE);
        close(logs[i].file.fd);
    }
    free(data);
    ring_close(ring);
}

RING_TEST(many_writes_of_one_file_at_once)
{
    enum { N = 200, STEP = 5000 };
    struct ring *ring = open_ring_sized(engine, 8, 16, 4096);
    static struct op ops[N];
    static struct iovec iov[N];
    char *data = stream_make(N * STEP);
    int fd = file_make();
    for (int i = 0; i < N; i++) {
        size_t at = (size_t)((i * 77) % N) * STEP;
        iov[i] = (struct iovec){data + at, STEP};
        ops[i] = op_make(fd, &iov[i], 1, at);
        ring_write_start(ring, &ops[i].file);
    }
    for (int i = 0; i < N; i++) RUN_UNTIL(ring, ops[i].count == 1 && ops[i].result == STEP);
    check_file(fd, N * STEP);
    free(data);
    close(fd);
    ring_close(ring);
}

static int64_t blocks_of(int fd)
{
    struct stat st;
    cr_assert(fstat(fd, &st) == 0);
    return st.st_blocks;
}

RING_TEST(allocated_space_is_there_and_the_size_stays)
{
    struct ring *ring = open_ring(engine);
    char *data = stream_make(40000);
    struct iovec iov[2] = {{data, 10000}, {data + 10000, 30000}};
    int fd = file_make();
    struct op op = op_make(fd, iov, 2, 0);
    int64_t result = run_allocate(ring, &op, 0, 100000);
    if (result == -EOPNOTSUPP) cr_skip_test("this file system does not allocate ahead");
    cr_assert(result == 0, "%ld", (long)result);
    check_file(fd, 0);
    cr_assert(blocks_of(fd) >= 100000 / 512);
    cr_assert(run_allocate(ring, &op, 100000, 100000) == 0);
    cr_assert(blocks_of(fd) >= 200000 / 512);
    int64_t before = blocks_of(fd);
    op.file.offset_bytes = 0;
    cr_assert(run_op(ring, &op, false) == 40000 && run_op(ring, &op, true) == 0);
    check_file(fd, 40000);
    cr_assert(blocks_of(fd) == before);
    cr_assert(run_allocate(ring, &op, 0, 0) == -EINVAL);
    close(fd);
    op.file.fd = -1;
    cr_assert(run_allocate(ring, &op, 0, 4096) == -EBADF);
    op.file.fd = small_disk_file("size=65536");
    cr_assert(run_allocate(ring, &op, 0, 70000) == -ENOSPC);
    close(op.file.fd);
    free(data);
    ring_close(ring);
}

// ---- errors ----

RING_TEST(errors_of_files_are_told_in_ring_run)
{
    struct ring *ring = open_ring(engine);
    struct iovec iov = {"abc", 3};
    int read_only = open("/dev/null", O_RDONLY | O_CLOEXEC), pipes[2];
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    struct {
        int fd;
        uint64_t offset;
        int write_error;
        int sync_error;
    } cases[] = {{-1, 0, -EBADF, -EBADF},
                 {read_only, 0, -EBADF, -EINVAL},
                 {full, 0, -ENOSPC, -EINVAL},
                 {memory, 4096, -EIO, -EINVAL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct op op = op_make(cases[i].fd, &iov, 1, cases[i].offset);
        run_op(ring, &op, false);
        cr_assert(op.result == cases[i].write_error, "%zu: %ld", i, (long)op.result);
        cr_assert(op.file.written_bytes == 0);
        run_op(ring, &op, true);
        cr_assert(op.result == cases[i].sync_error, "%zu: %ld", i, (long)op.result);
    }
    cr_assert(pipe(pipes) == 0);
    struct op op = op_make(pipes[1], NULL, 0, 0);
    cr_assert(run_op(ring, &op, true) == -EINVAL);
    close(read_only);
    close(full);
    close(memory);
    close(pipes[0]);
    close(pipes[1]);
    ring_close(ring);
}

static void check_short(struct ring *ring, struct op *op, int64_t error, size_t written)
{
    struct iovec before[2] = {op->file.iov[0], op->file.iov[1]};
    int64_t result = run_op(ring, op, false);
    cr_assert(result == error, "%ld", (long)result);
    cr_assert(op->file.written_bytes == written, "%zu", op->file.written_bytes);
    cr_assert(memcmp(before, op->file.iov, sizeof before) == 0, "iov was left trimmed");
}

// Without SIGXFSZ, too, which would end the process.
RING_TEST(a_limit_of_file_size_cuts_a_write_short)
{
    struct ring *ring = open_ring(engine);
    struct rlimit limit, all;
    char *data = stream_make(20000);
    struct iovec iov[2] = {{data, 8000}, {data + 8000, 12000}};
    int fd = file_make();
    struct op op = op_make(fd, iov, 2, 0);
    getrlimit(RLIMIT_FSIZE, &all);
    limit = (struct rlimit){.rlim_cur = 10000, .rlim_max = all.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    check_short(ring, &op, -EFBIG, 10000);
    check_file(fd, 10000);
    op.file.offset_bytes = 10000;
    check_short(ring, &op, -EFBIG, 0);
    op.file.offset_bytes = 0;
    setrlimit(RLIMIT_FSIZE, &all);
    check_short(ring, &op, 20000, 20000);
    check_file(fd, 20000);
    free(data);
    close(fd);
    ring_close(ring);
}

RING_TEST(a_full_disk_takes_what_it_can_and_works_again_when_there_is_room)
{
    struct ring *ring = open_ring(engine);
    char *data = stream_make(100000);
    struct iovec iov[2] = {{data, 1000}, {data + 1000, 99000}};
    int fd = small_disk_file("size=65536");
    struct op op = op_make(fd, iov, 2, 0);
    check_short(ring, &op, -ENOSPC, 65536);
    check_file(fd, 65536);
    cr_assert(run_op(ring, &op, true) == 0);
    cr_assert(ftruncate(fd, 0) == 0);
    iov[1].iov_len = 60000;
    check_short(ring, &op, 61000, 61000);
    check_file(fd, 61000);
    free(data);
    close(fd);
    ring_close(ring);
}

// Neither io_uring nor the file thread gets a thread: the ring's own does the work.
RING_TEST(files_are_written_where_no_thread_can_be_had)
{
    struct rlimit limit, all;
    uid_t nobody = 1000000 + (uid_t)getpid();
    char *data = stream_make(20000);
    struct iovec iov = {data, 20000};
    int fd = file_make();
    struct op op = op_make(fd, &iov, 1, 0);
    if (geteuid() != 0) cr_skip_test("changing the user is for root");
    getrlimit(RLIMIT_NPROC, &all);
    limit = (struct rlimit){.rlim_cur = 1, .rlim_max = all.rlim_max};
    cr_assert(setrlimit(RLIMIT_NPROC, &limit) == 0);
    cr_assert(setresuid(nobody, nobody, 0) == 0);
    struct ring *ring = open_ring(engine);
    cr_assert(run_op(ring, &op, false) == 20000, "%ld", (long)op.result);
    check_file(fd, 20000);
    cr_assert(run_op(ring, &op, true) == 0, "%ld", (long)op.result);
    ring_close(ring);
    cr_assert(setresuid(0, 0, 0) == 0 && setrlimit(RLIMIT_NPROC, &all) == 0);
    free(data);
    close(fd);
}

// ---- faults that only the file threads can be given ----

RING_TEST(short_and_interrupted_writes_are_continued)
{
    struct ring *ring = open_ring(engine);
    struct log logs[4];
    char *data = stream_make(200000);
    atomic_store(&faults.short_percent, 60);
    for (int i = 0; i < 4; i++) log_start(&logs[i], ring, file_make(), data, 200000, 7777);
    struct iovec iov[32];
    struct op op = op_make(file_make(), iov, cut(iov, 32, data, 200000, 5), 0);
    cr_assert(ring_write_now(ring, &op.file) == 200000);
    check_file(op.file.fd, 200000);
    cr_assert(run_op(ring, &op, false) == 200000);
    check_file(op.file.fd, 200000);
    for (int i = 0; i < 4; i++) {
        RUN_UNTIL(ring, logs[i].has_ended);
        check_file(logs[i].file.fd, 200000);
        close(logs[i].file.fd);
    }
    cr_assert(atomic_load(&faults.calls) > 1, "no fault was met");
    close(op.file.fd);
    free(data);
    ring_close(ring);
}

Test(ring, a_failed_sync_is_told_and_the_next_one_tried)
{
    struct ring *ring = open_ring(&engines[0]);
    int fd = file_make();
    struct op op = op_make(fd, NULL, 0, 0);
    atomic_store(&faults.sync_error, EIO);
    cr_assert(run_op(ring, &op, true) == -EIO);
    cr_assert(run_op(ring, &op, true) == 0);
    atomic_store(&faults.sync_error, EINTR);
    cr_assert(run_op(ring, &op, true) == 0);
    close(fd);
    ring_close(ring);
}

Test(ring, a_sync_that_hangs_holds_up_neither_sockets_nor_writes)
{
    struct ring *ring = open_ring(&engines[0]);
    struct op op = op_make(file_make(), NULL, 0, 0);
    struct iovec iov = {"abc", 3};
    struct op write = op_make(op.file.fd, &iov, 1, 0);
    int fds[2];
    tcp_pair(fds);
    struct reader *r = reader_start(ring, fds[0], 64);
    atomic_store(&faults.syncs_hang, true);
    ring_sync_start(ring, &op.file);
    while (!atomic_load(&faults.syncs_begun)) usleep(100);
    for (size_t i = 1; i <= 10; i++) {
        write_all(fds[1], "x", 1);
        RUN_UNTIL(ring, r->len == i);
    }
    cr_assert(run_op(ring, &write, false) == 3);
    cr_assert(op.count == 0);
    atomic_store(&faults.syncs_hang, false);
    RUN_UNTIL(ring, op.count == 1 && op.result == 0);
    close(op.file.fd);
    ring_close(ring);
    readers_free();
}

static void *release_main(void *arg)
{
    (void)arg;
    usleep(30000);
    atomic_store(&faults.syncs_hang, false);
    return NULL;
}

Test(ring, closing_waits_for_a_sync_that_hangs)
{
    struct ring *ring = open_ring(&engines[0]);
    struct op sync = op_make(file_make(), NULL, 0, 0);
    struct iovec iov = {"last", 4};
    struct op write = op_make(sync.file.fd, &iov, 1, 0);
    pthread_t thread;
    char back[4];
    atomic_store(&faults.syncs_hang, true);
    ring_sync_start(ring, &sync.file);
    ring_write_start(ring, &write.file);
    pthread_create(&thread, NULL, release_main, NULL);
    ring_close(ring);
    cr_assert(!atomic_load(&faults.syncs_hang));
    cr_assert(pread(sync.file.fd, back, 4, 0) == 4 && memcmp(back, "last", 4) == 0);
    cr_assert(sync.count == 0 && write.count == 0);
    pthread_join(thread, NULL);
}

// ---- closing ----

// `submits`: the kernel or the thread has them already.
static void check_close(const struct engine *engine, bool submits)
{
    enum { N = 40, STEP = 1000000 };
    struct ring *ring = open_ring_sized(engine, 16, 16, 4096);
    static struct op ops[N], syncs[N];
    static struct iovec iov[N][3];
    char *data = stream_make(STEP);
    int fds[N];
    for (int i = 0; i < N; i++) {
        fds[i] = file_make();
        iov[i][0] = (struct iovec){data, 10};
        iov[i][1] = (struct iovec){data + 10, STEP - 30};
        iov[i][2] = (struct iovec){data + STEP - 20, 20};
        ops[i] = op_make(fds[i], iov[i], 3, 0);
        syncs[i] = op_make(fds[i], NULL, 0, 0);
        ring_write_start(ring, &ops[i].file);
        ring_sync_start(ring, &syncs[i].file);
    }
    if (submits) cr_assert(ring_run(ring, 0) >= 0);
    int ended = 0, ended_after = 0;
    for (int i = 0; i < N; i++) ended += ops[i].count + syncs[i].count;
    ring_close(ring);
    for (int i = 0; i < N; i++) {
        ended_after += ops[i].count + syncs[i].count;
        cr_assert(ops[i].file.written_bytes == STEP);
        check_file(fds[i], STEP);
        close(fds[i]);
    }
    cr_assert(ended_after == ended, "a callback during ring_close");
    free(data);
}

RING_TEST(closing_finishes_the_files_that_were_started)
{
    check_close(engine, false);
    check_close(engine, true);
}

RING_TEST(closing_with_files_under_way_submits_nothing_else)
{
    struct ring *ring = open_ring(engine);
    struct iovec iov = {"abc", 3};
    struct writer w;
    int fds[2], fd = file_make();
    char byte;
    struct op op = op_make(fd, &iov, 1, 0);
    tcp_pair(fds);
    reader_start(ring, fds[0], 64);
    writer_start(&w, ring, fds[0], &iov, 1);
    ring_write_start(ring, &op.file);
    ring_close(ring);
    cr_assert(op.file.written_bytes == 3 && w.count == 0);
    cr_assert(recv(fds[1], &byte, 1, MSG_DONTWAIT) < 0, "it sent what it had no right to");
    close(fd);
}
