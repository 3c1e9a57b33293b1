// SPDX-License-Identifier: BSD-3-Clause
//
// Opening a ring on whatever io_uring the kernel has: the ladder of enum ring_level, tried from the
// highest rung that the options allow. What tells the rungs apart is what the kernel accepts, not
// its version:
//
//     rung       setup flags                     further tests
//     BEST       those of DEFER                  IORING_FEAT_NO_IOWAIT (6.15)
//     DEFER      SINGLE_ISSUER DEFER_TASKRUN     (6.1: EINVAL before)
//     MULTISHOT  SINGLE_ISSUER COOP_TASKRUN      (6.0, first with multishot recv); ring of buffers
//     PLAIN      none                            probe lists the operations
//
// A rung uses nothing of those above it even where the kernel has it: so a test on a new kernel
// that forces PLAIN runs what a 5.6 would. Last, a NOP goes round: some sandboxes allow the setup
// and forbid the rest.
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/ring_uring.h"

// What liburing 2.3 does not know yet.
#ifndef IORING_FEAT_NO_IOWAIT
#define IORING_FEAT_NO_IOWAIT (1u << 17)
#endif
#ifndef IORING_ENTER_NO_IOWAIT
#define IORING_ENTER_NO_IOWAIT (1u << 7)
#endif

enum { CQ_PER_SQ = 4 }; // a multishot request completes often: overflow works, but slowly

static unsigned setup_flags(enum ring_level level)
{
    unsigned flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    if (level >= RING_LEVEL_MULTISHOT)
        flags |= IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_TASKRUN_FLAG;
    if (level == RING_LEVEL_MULTISHOT) flags |= IORING_SETUP_COOP_TASKRUN;
    if (level >= RING_LEVEL_DEFER) flags |= IORING_SETUP_DEFER_TASKRUN;
    return flags;
}

static bool probe_lists(struct io_uring_probe *probe, enum ring_level level)
{
    static const int plain[] = {IORING_OP_NOP,     IORING_OP_POLL_ADD, IORING_OP_READ,
                                IORING_OP_SENDMSG, IORING_OP_SEND,     IORING_OP_ASYNC_CANCEL,
                                IORING_OP_WRITEV,  IORING_OP_FSYNC,    IORING_OP_FALLOCATE};
    static const int multishot[] = {IORING_OP_RECV, IORING_OP_ACCEPT};
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        if (!io_uring_opcode_supported(probe, plain[i])) return false;
    for (size_t i = 0; i < ARRAY_LEN(multishot) && level >= RING_LEVEL_MULTISHOT; i++)
        if (!io_uring_opcode_supported(probe, multishot[i])) return false;
    return true;
}

static int probe_ops(struct uring *u)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(&u->io);
    if (!probe) return -EOPNOTSUPP;
    bool is_fine = probe_lists(probe, u->base.level);
    u->has_msg_ring = u->base.level >= RING_LEVEL_MULTISHOT &&
                      io_uring_opcode_supported(probe, IORING_OP_MSG_RING);
    io_uring_free_probe(probe);
    return is_fine ? 0 : -EOPNOTSUPP;
}

// All spare buffers move into the ring that the kernel takes from.
static int register_buffers(struct uring *u)
{
    struct ring *ring = &u->base;
    size_t bytes = ring->buf_count * sizeof(struct io_uring_buf);
    u->buf_ring = mem_alloc_aligned(bytes, 4096);
    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)u->buf_ring,
                                   .ring_entries = ring->buf_count};
    int rc = io_uring_register_buf_ring(&u->io, &reg, 0);
    if (rc < 0) {
        mem_free(u->buf_ring);
        u->buf_ring = NULL;
        return rc;
    }
    for (uint32_t i = 0; i < ring->buf_count; i++)
        io_uring_buf_ring_add(u->buf_ring, ring->bufs[i].data, ring->buf_bytes, (uint16_t)i,
                              (int)(ring->buf_count - 1), (int)i);
    io_uring_buf_ring_advance(u->buf_ring, (int)ring->buf_count);
    ring->spare_count = 0;
    return 0;
}

// Saves the kernel a look-up of the descriptor in each io_uring_enter. Done by hand, because
// liburing would take it back from whatever thread closes the ring. Failure (before 5.18) costs
// nothing.
static void register_fd(struct uring *u)
{
    struct io_uring_rsrc_update update = {.offset = -1U, .data = (uint64_t)u->io.ring_fd};
    u->enter_fd = u->io.ring_fd;
    u->registered_index = -1;
    if (u->base.level < RING_LEVEL_MULTISHOT) return;
    int rc = io_uring_register((unsigned)u->io.ring_fd, IORING_REGISTER_RING_FDS, &update, 1);
    if (rc != 1) return;
    u->registered_index = (int)update.offset;
    u->enter_fd = (int)update.offset;
    u->enter_flags |= IORING_ENTER_REGISTERED_RING;
}

// Sends a NOP round. Its completion is left to ring_run, which ignores it.
static int try_nop(struct uring *u)
{
    struct io_uring_sqe *sqe = uring_sqe_get(u);
    io_uring_prep_nop(sqe);
    sqe->user_data = TAG_NONE;
    int rc = io_uring_submit_and_wait(&u->io, 1);
    return rc < 0 ? rc : 0;
}

// Back to the state before open_at.
static void close_kernel_ring(struct uring *u)
{
    io_uring_queue_exit(&u->io); // takes the registrations with it
    mem_free(u->buf_ring);
    u->buf_ring = NULL;
    u->base.spare_count = u->base.buf_count;
    u->enter_flags = 0;
    u->io.ring_fd = -1;
}

static int open_at(struct uring *u, enum ring_level level, uint32_t entries, const char **reason)
{
    struct io_uring_params params = {.flags = setup_flags(level),
                                     .cq_entries = entries * CQ_PER_SQ};
    *reason = "io_uring_setup";
    int rc = io_uring_queue_init_params(entries, &u->io, &params);
    if (rc < 0) {
        u->io.ring_fd = -1;
        return rc;
    }
    bool has_no_iowait = params.features & IORING_FEAT_NO_IOWAIT;
    u->base.level = level == RING_LEVEL_BEST && !has_no_iowait ? RING_LEVEL_DEFER : level;
    u->base.is_blind = level < RING_LEVEL_DEFER; // no flag tells of task work
    if (u->base.level == RING_LEVEL_BEST) u->enter_flags = IORING_ENTER_NO_IOWAIT;
    u->has_ext_arg = level >= RING_LEVEL_MULTISHOT;
    u->skip_success = level >= RING_LEVEL_MULTISHOT ? IOSQE_CQE_SKIP_SUCCESS : 0;
    *reason = "probing its operations";
    rc = probe_ops(u);
    if (rc == 0 && level >= RING_LEVEL_MULTISHOT) rc = register_buffers(u);
    if (rc == 0) {
        *reason = "io_uring_enter";
        rc = try_nop(u);
    }
    if (rc < 0) close_kernel_ring(u);
    return rc;
}

void uring_close(struct ring *ring)
{
    struct uring *u = uring_of(ring);
    struct io_uring_sync_cancel_reg cancel = {
        .flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL, .timeout = {.tv_sec = 1}};
    if (u->io.ring_fd >= 0) {
        uring_finish_files(u);
        // The kernel must not write to our buffers after they are freed. (Before 6.0: EINVAL, and
        // the requests end with the ring's descriptor.)
        if (ring->level >= RING_LEVEL_MULTISHOT) io_uring_register_sync_cancel(&u->io, &cancel);
        struct io_uring_rsrc_update update = {.offset = (uint32_t)u->registered_index};
        if (u->registered_index >= 0 && pthread_equal(ring->owner, pthread_self()))
            io_uring_register((unsigned)u->io.ring_fd, IORING_UNREGISTER_RING_FDS, &update, 1);
        close_kernel_ring(u);
    }
    for (unsigned i = u->backlog_next; i < u->backlog_end; i++) mem_free(u->backlog[i].copy);
    mem_free(u->backlog);
    mem_free(u->held);
    mem_free(u->msgs);
    mem_free(u->spilled);
    backend_destroy(ring);
    mem_free(u);
}

// What forbids io_uring forbids every rung.
static bool is_worth_stepping_down(int error)
{
    return error < 0 && error != -EPERM && error != -EACCES && error != -ENOSYS;
}

struct ring *ring_uring_open(const struct ring_options *options, int *error, const char **reason)
{
    struct uring *u = mem_calloc(sizeof *u);
    backend_init(&u->base, &uring_ops, options);
    u->io.ring_fd = -1;
    // Not non-blocking: old kernels would answer EAGAIN instead of waiting.
    u->base.event_fd = eventfd(0, EFD_CLOEXEC);
    *reason = "eventfd";
    *error = u->base.event_fd < 0 ? -errno : -EINVAL;
    if (u->base.event_fd >= 0)
        for (int level = options->level; is_worth_stepping_down(*error) && level >= 0; level--)
            *error = open_at(u, (enum ring_level)level, options->entries, reason);
    if (*error < 0) {
        uring_close(&u->base);
        return NULL;
    }
    register_fd(u);
    u->msgs = mem_calloc(u->io.sq.ring_entries * sizeof *u->msgs);
    uring_watch_eventfd(u);
    return &u->base;
}
