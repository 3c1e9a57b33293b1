// SPDX-License-Identifier: BSD-3-Clause
//
// ring_file: what the backends share for files, and the threads that do them where the kernel has
// none (epoll). Nobody outside src/io includes this.
//
// A struct ring_file belongs to its ring's thread, save between file_thread_add and its arrival in
// `finished`: then it is the file thread's.
#pragma once
#include "io/ring_backend.h"

enum ring_file_kind { RING_FILE_WRITE, RING_FILE_SYNC, RING_FILE_ALLOCATE };

// The rest of a write: where it goes, and how many pieces one call takes of it.
#define FILE_PIECES_MAX 1024 // UIO_MAXIOV, the kernel's limit
static inline uint64_t file_offset(const struct ring_file *file)
{
    return file->offset_bytes + file->written_bytes;
}
static inline int file_pieces(const struct ring_file *file)
{
    return MIN(file->iov_count - file->iov_next, FILE_PIECES_MAX);
}

// Prepares the struct of an operation that starts.
void file_begin(struct ring *ring, struct ring_file *file, enum ring_file_kind kind);
// Takes what a write came to: bytes or -errno. True: it has ended; else go on with the rest.
bool file_advance(struct ring_file *file, int64_t result);
// Does the operation, or what is left of it, in the calling thread. Any thread.
void file_perform(struct ring_file *file);
// The struct is its owner's again; returns the operation's result.
int64_t file_finish(struct ring *ring, struct ring_file *file);
// That and the callback, on the ring's thread.
void file_end(struct ring *ring, struct ring_file *file);

// Does operations one by one, and wakes the ring when some have finished. It is there from the
// first operation on. Owned by its ring; what `lock` guards is also the thread's.
struct file_thread {
    struct ring *ring;
    bool is_running;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t has_changed;
    QUEUE(ring_file) todo;     // lock
    QUEUE(ring_file) finished; // lock
    bool is_stopping;          // lock
};

void file_thread_init(struct file_thread *t, struct ring *ring);
// Joins the thread: all that was added is finished, and ended.
void file_thread_destroy(struct file_thread *t);
void file_thread_add(struct file_thread *t, struct ring_file *file);
// Ends what has finished so far. To be called when the ring was woken.
void file_thread_collect(struct file_thread *t);
