// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target: any bytes as a client's stream, parsed and executed by the embedded engine. The
// clock moves with every command, so keys expire; housekeeping runs between the pieces in which the
// stream arrives; at the end all invariants of the keyspace are walked, and every reply must have
// been well-formed RESP.
//
// Input: byte 0 chooses how long the pieces are, byte 1 how fast time passes and whether a password
// is asked for; the stream follows. Values are limited to 1 MiB, DEBUG is refused, and what would
// stop a server answers an error, so no input can hang the target or fill its memory.
#include <stdint.h>

#include "base/assert.h"
#include "engine/reply.h"
#include "gyre.h"

#define BULK_MAX    (1 << 20)
#define CRON_BUDGET 64
#define START_MS    1700000000000

struct clock {
    int64_t now_ms, step_ms;
};

static int64_t tick(void *arg)
{
    struct clock *c = arg;
    return c->now_ms += c->step_ms;
}

static void check_replies(const char *p, size_t len)
{
    const char *end = p + len;
    while (p < end) {
        p = reply_skip(p, end);
        ASSERT(p);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    struct clock clock = {.now_ms = START_MS, .step_ms = (data[1] & 0x7f) * (data[1] & 0x7f)};
    struct gyre *g = gyre_open(&(struct gyre_options){.databases = 4,
                                                      .password = data[1] & 0x80 ? "pw" : NULL,
                                                      .max_bulk_bytes = BULK_MAX,
                                                      .seed = 1,
                                                      .now_ms = tick,
                                                      .now_arg = &clock});
    size_t piece = data[0] == 0 ? size : data[0];
    for (size_t at = 2; at < size; at += piece) {
        char *replies;
        size_t len;
        gyre_feed(g, (const char *)data + at, size - at < piece ? size - at : piece, &replies,
                  &len);
        check_replies(replies, len);
        gyre_free(replies);
        gyre_cron(g, CRON_BUDGET);
    }
    gyre_validate(g);
    gyre_close(g);
    return 0;
}
