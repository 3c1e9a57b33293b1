// SPDX-License-Identifier: BSD-3-Clause
//
// ring: the one interface to the kernel's sockets, and to files that are written. A ring belongs to
// one thread. Operations are structs embedded in their owner (a connection, a listener); their
// `done` callbacks run inside ring_run() on the ring's thread, never inside the call that started
// the operation.
//
//     ring.c         chooses a backend, answers "may this machine use io_uring"
//     ring_uring.c   io_uring, on a ladder of what the kernel has (enum ring_level)
//     ring_poll.c    the same interface on epoll, an engine of full quality
//     ring_backend.c what both share: the pool of receive buffers, non-blocking reads, queues
//     ring_file.c    files: in the calling thread, and by a thread of the ring's own (epoll)
//
// Only these files know liburing or epoll. Errors are -errno. An operation's struct must stay where
// it is until its last callback has run.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct ring;

enum ring_kind { RING_AUTO, RING_URING, RING_POLL };

// What the uring backend may use. Each rung includes those below it; tests force the lower ones.
enum ring_level {
    RING_LEVEL_PLAIN = 0,     // 5.6: single-shot accept, recv, send; eventfd wake
    RING_LEVEL_MULTISHOT = 1, // 6.0: multishot accept and recv, ring of buffers, MSG_RING
    RING_LEVEL_DEFER = 2,     // 6.1: SINGLE_ISSUER + DEFER_TASKRUN
    RING_LEVEL_BEST = 3,      // 6.15: waits that are not counted as iowait (NO_IOWAIT)
};

struct ring_options {
    enum ring_kind kind;
    enum ring_level level;      // the highest rung to try
    uint32_t entries;           // submission queue entries
    uint32_t recv_buffers;      // number of receive buffers, a power of two
    uint32_t recv_buffer_bytes; // size of each
};

// Opens a ring for the calling thread. RING_AUTO takes io_uring where it works, else epoll, and
// then writes the reason in one line to `why` (else an empty string). NULL: `why` holds the error.
struct ring *ring_open(const struct ring_options *options, char *why, size_t why_size);
// On the ring's own thread. What is still started is dropped: no callback runs any more, and
// buffers that are still held are gone. Writes and syncs of files are finished first, also without
// a callback.
void ring_close(struct ring *ring);

// "io_uring" or "epoll", for INFO and the log.
const char *ring_backend_name(const struct ring *ring);
// The rung in use (RING_LEVEL_PLAIN for epoll).
enum ring_level ring_level(const struct ring *ring);

// A received piece of a stream. Lent for the duration of the callback; who wants to keep it calls
// ring_buf_hold and later ring_buf_release, both on the ring's thread. Held buffers do not return
// to the ring: a ring whose buffers are all held delays its receives until one comes back.
struct ring_buf {
    char *data;
    uint32_t cap_bytes;
    uint32_t refs;
};
void ring_buf_hold(struct ring_buf *buf);
void ring_buf_release(struct ring *ring, struct ring_buf *buf);
// Are so many held that who wants to keep what has come had better copy it?
bool ring_is_short(const struct ring *ring);

// Receiving. Once started, `done` is called for every piece that arrives, until a final call with
// result <= 0: 0 is the peer's end of stream, -ECANCELED the answer to ring_recv_stop, others
// errors.
//   result > 0, buf != NULL   `result` bytes at buf->data
//   result > 0, buf == NULL   `result` bytes were stored at direct_ptr
// Direct receive: while the owner keeps direct_left > 0, the ring receives straight to direct_ptr
// as soon as it can; pieces that were already on their way still come in a buf. The owner advances
// direct_ptr and direct_left in the callback in both cases. They are looked at after each callback
// (and by ring_recv_start). Between two callbacks the kernel may be writing there: the memory stays
// until the next callback, when stopping until the final one.
struct ring_recv {
    void (*done)(struct ring_recv *recv, int result, struct ring_buf *buf);
    int fd;
    uint8_t state; // from here to `next` the backend's own, zero before the first start
    uint8_t flags;
    int16_t error;
    struct ring_recv *next;
    char *direct_ptr;
    size_t direct_left;
    // The owner's: while it is set, a ring_run calls nobody for this receive; what came waits in
    // its order. For owners that have ring_run called while they work on a piece.
    bool is_held;
};
void ring_recv_start(struct ring *ring, struct ring_recv *recv);
// Pieces may still arrive between this call and the final -ECANCELED. No-op when not started.
void ring_recv_stop(struct ring *ring, struct ring_recv *recv);
// In the callback, after a piece behind which nothing will be sent for now (a send would fail):
// sees to it that the peer's reset, if it came right behind the piece, is not missed.
void ring_recv_check(struct ring *ring, struct ring_recv *recv);

// Sending: all of iov goes out, in order, before the one call of `done`: result is the number of
// bytes (all of them; INT_MAX if there are more) or -errno. The owner leaves the iov array and what
// it points to untouched until then; the ring may trim a piece of the array meanwhile, and has
// restored it by the time `done` is called. One send at a time per struct and per socket. Never
// raises SIGPIPE. To break off a send that hangs, shutdown(2) the socket.
struct ring_send {
    void (*done)(struct ring_send *send, int result);
    struct iovec *iov;
    int iov_count;
    int fd;
    int iov_next; // from here on the backend's own: the first piece not wholly sent
    uint8_t state;
    size_t sent_bytes;
    struct ring_send *next;
    struct iovec trimmed; // what iov[iov_next] was before it was trimmed, if iov_base is set
};
void ring_send_start(struct ring *ring, struct ring_send *send);
// The same, but first tries to send in the calling thread. True: that was the end of it, *result is
// what `done` would have been told, and it is not called. False: what is left was started.
bool ring_send_now(struct ring *ring, struct ring_send *send, int *result);

// Accepting (the listening socket is made non-blocking): `done` is called with each new socket
// (non-blocking, close-on-exec), or with -errno, after which accepting goes on by itself (EMFILE
// and the like are retried after a pause of some 10 ms) unless the error is -ECANCELED, the final
// call after ring_accept_stop.
struct ring_accept {
    void (*done)(struct ring_accept *accept, int result);
    int fd;
    uint8_t state; // from here on the backend's own, zero before the first start
    uint8_t flags;
    int16_t error;
    struct ring_accept *next;
};
void ring_accept_start(struct ring *ring, struct ring_accept *accept);
void ring_accept_stop(struct ring *ring, struct ring_accept *accept);

// One-shot readiness: `done` is called once, with result >= 0 (poll mask) when fd is readable,
// closed or in error, or with -ECANCELED after ring_ready_stop.
struct ring_ready {
    void (*done)(struct ring_ready *ready, int result);
    int fd;
    uint8_t state; // from here on the backend's own, zero before the first start
    uint8_t flags;
    int16_t error;
    struct ring_ready *next;
};
void ring_ready_start(struct ring *ring, struct ring_ready *ready);
void ring_ready_stop(struct ring *ring, struct ring_ready *ready);

// Files, ordinary ones on a disk: what takes its time there happens in another thread (the kernel's
// or the ring's own). One operation at a time per struct; those of several structs, also on one
// file, are under way at once and end in any order. There is no stopping them. The owner leaves the
// iov array and what it points to untouched until `done`; the ring may trim a piece of the array
// meanwhile, and has restored it by then.
struct ring_file {
    void (*done)(struct ring_file *file, int64_t result);
    int fd;
    int iov_count;
    struct iovec *iov;
    uint64_t offset_bytes; // in the file, where iov goes, or the space that is allocated begins
    uint64_t size_bytes;   // of ring_allocate_start alone
    size_t written_bytes;  // set by the ring: what of iov is written, also when an error ended it
    int iov_next;          // from here on the backend's own, zero before the first start
    int error;
    uint8_t state;
    uint8_t kind;
    struct ring_file *next;
    struct iovec trimmed;
};
// Writes all of iov (short writes are continued). Result: the number of bytes, all of them, or
// -errno; then the first written_bytes of them are in the file.
void ring_write_start(struct ring *ring, struct ring_file *file);
// fdatasync of file->fd: of all writes that had ended when this was started. Result: 0 or -errno.
// After an error nothing is known of any write since the last sync that succeeded, and a second try
// that succeeds does not change that: the kernel tells a lost page only once.
void ring_sync_start(struct ring *ring, struct ring_file *file);
// Sets aside size_bytes on the disk for what will be written at offset_bytes; the file's own size
// stays (fallocate with KEEP_SIZE). Result: 0 or -errno (-ENOSPC; -EOPNOTSUPP where the file system
// cannot: nothing but time is lost). On ext4 a write that needs new blocks while the file is synced
// waits for the journal, about half as long as the sync lasts; one to allocated space does not. The
// allocation itself is best started while no sync is under way, for the same reason: writes wait
// for it.
void ring_allocate_start(struct ring *ring, struct ring_file *file);
// ring_write_start in the calling thread: returns the result, no `done`. Microseconds, if the space
// is allocated or no sync of the file is under way. SIGXFSZ (ulimit -f) must be ignored.
int64_t ring_write_now(struct ring *ring, struct ring_file *file);

// Submits what was started, waits up to `timeout_us` (0: not at all; -1: without limit) until
// something completes or a wake arrives, then runs the callbacks of all that has completed (also of
// what their callbacks completed at once, within a bound). A signal ends the wait early. Returns
// the number of callbacks run, or -errno. What callbacks start goes out with the next ring_run.
// From a receive's callback it may be called without a wait, once deep, while that receive is held.
int ring_run(struct ring *ring, int64_t timeout_us);

// ring_run in three steps, for a ring that others may take while it waits. ring_prepare makes ready
// what was started, and says how long to wait: 0, not at all, else at most timeout_us. Then
// ring_wait, with that, submits and waits, and runs no callbacks; it may return early, with nothing
// to run. Then ring_run, without a wait.
// `batch` > 1: the wait goes on until that many operations have completed, but from RING_BATCH_US
// on one is enough, where the kernel can do that (RING_LEVEL_BEST; else it is as 1). Small sends
// that complete at once do not count.
int64_t ring_prepare(struct ring *ring, int64_t timeout_us);
#define RING_BATCH_US 20
void ring_wait(struct ring *ring, int64_t timeout_us, uint32_t batch);
// While its own thread is in ring_wait another may take the ring, and start operations on it, which
// go out with the next ring_prepare or ring_run, however many; the own thread takes it back before
// it goes on.
// Only that one waits and runs. Taking is no lock: the callers have one.
void ring_take(struct ring *ring);
// Is something started that is not submitted?
bool ring_has_started(struct ring *ring);

// May something have arrived of which the callbacks have not been told yet? Any thread may ask.
// True is a guess (of a blind ring there is no other). False is certain, but for what the kernel
// was handing over at that moment, in the ring's own thread: it shows when ring_await_kernel has
// returned, which may wait for as long as the ring's thread takes to submit what it is submitting.
bool ring_shows_news(struct ring *ring);
// What has arrived can not be seen: io_uring below RING_LEVEL_DEFER.
bool ring_is_blind(const struct ring *ring);
// The same in the ring's own thread: has anything arrived behind what is being run?
bool ring_has_more(struct ring *ring);
void ring_await_kernel(struct ring *ring);

// Makes `target`'s current or next waiting ring_run return. Callable from any thread; `from` is the
// caller's own ring or NULL. With `from` the wake may travel with that ring's next submission.
// `target` must not be closed meanwhile: stop its wakers first.
// Wakes are cheap to repeat but not free: callers keep their own "is asleep" flag.
void ring_wake(struct ring *from, struct ring *target);
