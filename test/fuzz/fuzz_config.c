// SPDX-License-Identifier: BSD-3-Clause
//
// Any bytes as a configuration file: it loads or is refused, and nothing else happens. What loads
// must be readable and rewritable, and the rewritten file must load and say the same.
//
//     clang -g -fsanitize=fuzzer,address,undefined … && ./fuzz_config -max_len=4096
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "server/config.h"

static void append_pair(void *arg, struct slice name, struct slice value)
{
    buf_append_quoted(arg, name);
    buf_append_quoted(arg, value);
}

static void list_all(const struct config *c, struct buf *out)
{
    struct slice all = SLICE("*");
    config_get(c, &all, 1, append_pair, out);
}

static void check_rewrite(const struct config *c, struct slice text)
{
    struct buf rewritten = {0}, error = {0}, before = {0}, after = {0};
    struct config again;
    config_rewrite_text(c, text, &rewritten);
    config_init(&again);
    again.is_include_off = true;
    ASSERT(config_load_text(&again, "rewritten", buf_slice(&rewritten), &error));
    list_all(c, &before);
    list_all(&again, &after);
    ASSERT(slice_eq(buf_slice(&before), buf_slice(&after)));
    config_free(&again);
    buf_free(&rewritten);
    buf_free(&error);
    buf_free(&before);
    buf_free(&after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {(const char *)data, size};
    struct config c;
    struct buf error = {0};
    config_init(&c);
    c.is_include_off = true;
    if (config_load_text(&c, "fuzz", text, &error))
        check_rewrite(&c, text);
    else
        ASSERT(error.len > 0);
    buf_free(&error);
    config_free(&c);
    return 0;
}
