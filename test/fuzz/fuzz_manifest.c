// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target: any text as a manifest. If it is one, it must survive being printed and read.
//
// Input: the text, without the checksum, which is put behind it; if the first byte is '!' the rest
// is taken as it is.
#include <inttypes.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "store/manifest.h"

static void check(struct slice text)
{
    struct manifest m, back, copy;
    struct buf once = {0}, twice = {0};
    struct dir_error e = {0};
    if (!manifest_parse(&m, "file", text, &e)) {
        ASSERT(e.text[0] && !m.epochs && !m.imported);
        return;
    }
    manifest_print(&m, &once);
    ASSERT(manifest_parse(&back, "file", buf_slice(&once), &e));
    manifest_copy(&copy, &back);
    manifest_clear(&back);
    manifest_print(&copy, &twice);
    ASSERT(slice_eq(buf_slice(&once), buf_slice(&twice)));
    for (size_t i = 0; i < m.epoch_count; i++) {
        ASSERT(manifest_is_our_name(m.epochs[i].logs[0].name));
        ASSERT(manifest_names(&m, m.epochs[i].logs[0].name));
    }
    if (m.base[0]) ASSERT(manifest_is_our_name(m.base) && manifest_names(&m, m.base));
    manifest_clear(&copy);
    manifest_clear(&m);
    buf_free(&once);
    buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf text = {0};
    bool is_whole = size && data[0] == '!';
    buf_append(&text, data + is_whole, size - is_whole);
    if (!is_whole) {
        if (text.len && text.ptr[text.len - 1] != '\n') buf_append_char(&text, '\n');
        buf_printf(&text, "crc32c %08" PRIx32 "\n", crc32c_add(0, text.ptr, text.len));
    }
    // Memory of its own size, so that reading beyond the end is seen.
    char *copy = mem_alloc(text.len + 1);
    if (text.len) memcpy(copy, text.ptr, text.len);
    copy = mem_realloc(copy, MAX(text.len, 1u));
    check((struct slice){copy, text.len});
    mem_free(copy);
    buf_free(&text);
    return 0;
}
