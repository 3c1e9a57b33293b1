// SPDX-License-Identifier: BSD-3-Clause
//
// Files behind ring.h. A disk never says "not yet" as a socket does: whoever calls waits. So a
// write or sync that must not hold up its ring is done by another thread: with io_uring one of the
// kernel's (io-wq), else one of the ring's own file threads below.
//
//     ring's thread     --- todo --->      file thread: pwritev, fdatasync, fallocate
//                      <-- finished ---    (wakes the ring by its eventfd when the queue was empty)
//
// Both queues are under one lock, taken twice an operation: nothing beside a system call. There is
// a thread for writes and one for all else: behind one another, a write would take as long as the
// sync before it (4.5 ms where it takes 14 us beside it), and two writers of one file would only
// wait for the file's lock.
//
// Plain calls of the C library, so that tests can put a library of faults in between.
#define _GNU_SOURCE 1 // pwritev, fallocate
#include "io/ring_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

void file_begin(struct ring *ring, struct ring_file *file, enum ring_file_kind kind)
{
    file->state = OP_ARMED;
    file->kind = (uint8_t)kind;
    file->error = 0;
    file->written_bytes = 0;
    file->iov_next = 0;
    file->trimmed.iov_base = NULL;
    ring->file_count++;
}

bool file_advance(struct ring_file *file, int64_t result)
{
    if (result == -EINTR) return false;
    if (result < 0) {
        file->error = (int)result;
        return true;
    }
    if (file->kind != RING_FILE_WRITE) return true;
    file->written_bytes += (size_t)result;
    if (backend_iov_advance(file->iov, file->iov_count, &file->iov_next, &file->trimmed,
                            (size_t)result))
        return true;
    if (result == 0) file->error = -EIO; // no error and no progress: never try that for ever
    return result == 0;
}

static int64_t call_once(struct ring_file *file)
{
    ssize_t n = 0;
    off_t offset = (off_t)file_offset(file);
    switch ((enum ring_file_kind)file->kind) {
    case RING_FILE_WRITE:
        if (file_pieces(file) == 0) break;
        n = pwritev(file->fd, &file->iov[file->iov_next], file_pieces(file), offset);
        break;
    case RING_FILE_SYNC: n = fdatasync(file->fd); break;
    case RING_FILE_ALLOCATE:
        n = fallocate(file->fd, FALLOC_FL_KEEP_SIZE, offset, (off_t)file->size_bytes);
        break;
    }
    return n < 0 ? -errno : n;
}

void file_perform(struct ring_file *file)
{
    while (!file_advance(file, call_once(file))) continue;
}

int64_t file_finish(struct ring *ring, struct ring_file *file)
{
    if (file->kind == RING_FILE_WRITE)
        backend_iov_restore(&file->iov[file->iov_next], &file->trimmed);
    file->state = OP_IDLE;
    ring->file_count--;
    return file->error < 0 ? file->error : (int64_t)file->written_bytes;
}

void file_end(struct ring *ring, struct ring_file *file)
{
    int64_t result = file_finish(ring, file);
    if (ring->is_closing) return;
    ring->callbacks++;
    file->done(file, result);
}

// ---- the thread ----

static void finish(struct file_thread *t, struct ring_file *file)
{
    pthread_mutex_lock(&t->lock);
    bool is_first = !t->finished.first;
    QUEUE_PUSH(&t->finished, file);
    pthread_mutex_unlock(&t->lock);
    if (is_first) backend_wake_by_eventfd(t->ring);
}

// NULL: the thread is to end, and nothing is left.
static struct ring_file *next_todo(struct file_thread *t)
{
    struct ring_file *file = NULL;
    pthread_mutex_lock(&t->lock);
    while (!t->todo.first && !t->is_stopping) pthread_cond_wait(&t->has_changed, &t->lock);
    if (t->todo.first) QUEUE_POP(&t->todo, file);
    pthread_mutex_unlock(&t->lock);
    return file;
}

static void *file_thread_main(void *arg)
{
    struct file_thread *t = arg;
    struct ring_file *file;
    pthread_setname_np(pthread_self(), "gyre-file");
    while ((file = next_todo(t))) {
        file_perform(file);
        finish(t, file);
    }
    return NULL;
}

// No signal is this thread's business; SIGXFSZ (ulimit -f) above all, whose news come as EFBIG.
static bool thread_start(struct file_thread *t)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    t->is_running = pthread_create(&t->thread, NULL, file_thread_main, t) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return t->is_running;
}

void file_thread_init(struct file_thread *t, struct ring *ring)
{
    t->ring = ring;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->has_changed, NULL);
}

void file_thread_add(struct file_thread *t, struct ring_file *file)
{
    if (!t->is_running && !thread_start(t)) { // the machine has no thread to spare: slow, but done
        file_perform(file);
        finish(t, file);
        return;
    }
    pthread_mutex_lock(&t->lock);
    QUEUE_PUSH(&t->todo, file);
    pthread_cond_signal(&t->has_changed);
    pthread_mutex_unlock(&t->lock);
}

// Takes the queue as it stands: what callbacks add meanwhile has its turn in the next ring_run.
void file_thread_collect(struct file_thread *t)
{
    pthread_mutex_lock(&t->lock);
    struct ring_file *file = t->finished.first;
    t->finished.first = NULL;
    pthread_mutex_unlock(&t->lock);
    while (file) {
        struct ring_file *next = file->next;
        file_end(t->ring, file);
        file = next;
    }
}

void file_thread_destroy(struct file_thread *t)
{
    pthread_mutex_lock(&t->lock);
    t->is_stopping = true;
    pthread_cond_signal(&t->has_changed);
    pthread_mutex_unlock(&t->lock);
    if (t->is_running) pthread_join(t->thread, NULL);
    file_thread_collect(t);
    pthread_cond_destroy(&t->has_changed);
    pthread_mutex_destroy(&t->lock);
}
