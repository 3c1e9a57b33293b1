// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target: any bytes as a manifest of redis-server, and as a file of commands. The
// sanitizers watch; besides, what was read as good must read the same again: when the rest is cut
// off, and when it is written down anew.
//
// Input: byte 0 chooses, the text follows.
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "store/redis_aof.h"

struct reading {
    enum redis_aof_step step;
    size_t good_bytes;
    struct buf good; // the whole units, as Redis would write them
};

static void write_command(struct buf *out, int argc, const struct slice *argv)
{
    buf_printf(out, "*%d\r\n", argc);
    for (int i = 0; i < argc; i++) {
        buf_printf(out, "$%zu\r\n", argv[i].len);
        buf_append(out, argv[i].ptr, argv[i].len);
        buf_append_text(out, "\r\n");
    }
}

static struct reading read_all(const char *bytes, size_t len, bool is_last)
{
    struct redis_aof_reader r;
    struct reading got = {0};
    struct slice *argv;
    int argc;
    bool is_open = false; // a MULTI without its EXEC is in `good`
    uint64_t unit = 0;
    char *copy = mem_alloc(len ? len : 1);
    if (len) memcpy(copy, bytes, len);
    redis_aof_reader_init(&r, "f", (struct slice){copy, len}, is_last);
    while ((got.step = redis_aof_next(&r, &argc, &argv)) == REDIS_AOF_COMMAND) {
        ASSERT(argc >= 1 && r.good_bytes <= r.pos && r.unit >= unit);
        if (is_open && r.unit != unit) buf_append_text(&got.good, "*1\r\n$4\r\nEXEC\r\n");
        if (r.is_in_transaction && (!is_open || r.unit != unit))
            buf_append_text(&got.good, "*1\r\n$5\r\nMULTI\r\n");
        is_open = r.is_in_transaction;
        unit = r.unit;
        write_command(&got.good, argc, argv);
    }
    if (is_open) buf_append_text(&got.good, "*1\r\n$4\r\nEXEC\r\n");
    ASSERT((got.step == REDIS_AOF_END) == (r.error.text[0] == 0));
    ASSERT(is_last || got.step != REDIS_AOF_TORN);
    ASSERT(got.step != REDIS_AOF_END || r.good_bytes == len);
    got.good_bytes = r.good_bytes;
    redis_aof_reader_close(&r);
    mem_free(copy);
    return got;
}

static void expect_good(const char *bytes, size_t len, const struct reading *expected)
{
    struct reading got = read_all(bytes, len, false);
    ASSERT(got.step == REDIS_AOF_END);
    ASSERT(slice_eq(buf_slice(&got.good), buf_slice(&expected->good)));
    buf_free(&got.good);
}

static void try_commands(const char *bytes, size_t len)
{
    struct reading got = read_all(bytes, len, true);
    expect_good(bytes, got.good_bytes, &got);
    expect_good(got.good.ptr, got.good.len, &got);
    buf_free(&got.good);
}

static void try_manifest(const char *bytes, size_t len)
{
    struct redis_aof a;
    struct dir_error e = {0};
    bool is_good = redis_aof_parse_manifest("m", (struct slice){bytes, len}, &a, &e);
    ASSERT(is_good == (e.text[0] == 0));
    for (uint32_t i = 0; i < a.file_count; i++) {
        ASSERT(a.files[i].name[0] && !strchr(a.files[i].name, '/'));
        ASSERT(i == 0 || !a.files[i].is_base);
    }
    redis_aof_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    if (data[0] % 4 == 0)
        try_manifest((const char *)data + 1, size - 1);
    else
        try_commands((const char *)data + 1, size - 1);
    return 0;
}
