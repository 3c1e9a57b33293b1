// SPDX-License-Identifier: BSD-3-Clause
#include "log_maker.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"

void log_maker_begin(struct log_maker *m, struct log_header header)
{
    char bytes[LOG_HEADER_BYTES];
    memset(m, 0, sizeof *m);
    m->header = header;
    m->next_seq = header.first_seq;
    log_header_encode(&m->header, bytes);
    buf_append(&m->bytes, bytes, sizeof bytes);
}

void log_maker_local(struct log_maker *m, const char *effects)
{
    log_put_local(&m->payload, strlen(effects));
    buf_append_text(&m->payload, effects);
    m->units++;
}

void log_maker_transaction(struct log_maker *m, uint64_t txid, const char *shards,
                           const char *effects)
{
    log_put_transaction(&m->payload, txid, (uint32_t)strlen(shards));
    for (; *shards; shards++) {
        log_put_group(&m->payload, (uint32_t)(*shards - '0'), strlen(effects));
        buf_append_text(&m->payload, effects);
    }
    m->units++;
}

void log_maker_frame(struct log_maker *m, uint64_t durable_seq)
{
    char bytes[LOG_FRAME_BYTES];
    struct log_frame frame = {
        .unit_count = m->units, .first_seq = m->next_seq, .durable_seq = durable_seq};
    // In two pieces, so that pieces are tested.
    size_t half = m->payload.len / 2;
    struct iovec pieces[] = {
        {m->payload.ptr, half},
        {m->payload.ptr ? m->payload.ptr + half : NULL, m->payload.len - half}};
    log_frame_encode(&frame, m->header.crc, pieces, 2, bytes);
    ASSERT(m->frame_count < LOG_MAKER_FRAMES);
    m->frames[m->frame_count++] =
        (struct log_maker_frame){m->bytes.len, frame.first_seq, durable_seq};
    buf_append(&m->bytes, bytes, sizeof bytes);
    buf_append(&m->bytes, m->payload.ptr, m->payload.len);
    m->next_seq += m->units;
    m->units = 0;
    m->payload.len = 0;
}

void log_maker_free(struct log_maker *m)
{
    buf_free(&m->bytes);
    buf_free(&m->payload);
}

void log_maker_file(struct slice bytes, int *fd, char path[64])
{
    *fd = memfd_create("log", 0);
    ASSERT(*fd >= 0);
    ASSERT(write(*fd, bytes.ptr, bytes.len) == (ssize_t)bytes.len);
    snprintf(path, 64, "/proc/self/fd/%d", *fd);
}
