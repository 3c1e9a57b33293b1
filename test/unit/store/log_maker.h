// SPDX-License-Identifier: BSD-3-Clause
//
// log_maker: makes log files for tests, in memory, frame by frame, and remembers where each is.
#pragma once
#include "store/log_format.h"

#define LOG_MAKER_FRAMES 4096

struct log_maker {
    struct buf bytes; // the file
    struct log_header header;
    uint64_t next_seq;
    struct buf payload; // of the frame that comes next
    uint32_t units;
    struct log_maker_frame {
        size_t at;
        uint64_t first_seq, durable_seq;
    } frames[LOG_MAKER_FRAMES];
    size_t frame_count;
};

void log_maker_begin(struct log_maker *m, struct log_header header);
void log_maker_local(struct log_maker *m, const char *effects);
// One group with these effects for each shard in `shards`, "013" for shards 0, 1 and 3.
void log_maker_transaction(struct log_maker *m, uint64_t txid, const char *shards,
                           const char *effects);
// A frame of the units since the last one.
void log_maker_frame(struct log_maker *m, uint64_t durable_seq);
void log_maker_free(struct log_maker *m);

// A file in memory with this content, as a path that can be opened; *fd is to be closed.
void log_maker_file(struct slice bytes, int *fd, char path[64]);
