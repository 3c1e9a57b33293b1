// SPDX-License-Identifier: BSD-3-Clause
//
// held: what is kept back until a log is safe (logging.h); embedded in what waits.
#pragma once
#include <stdint.h>

struct shard;
struct mail;

// Until this shard's log is safe up to a seq.
struct held {
    struct held *next;
    uint64_t seq;
    void (*release)(struct shard *shard, struct held *held); // on the shard's thread
};

// Mail for a shard, until all logs that a meeting has written to are safe.
struct ending {
    struct ending *next;
    struct mail *mail;
    uint32_t shard;
};
