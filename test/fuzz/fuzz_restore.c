// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target: any bytes as a value of an RDB file or DUMP payload (types/rdb.h). What is
// taken for good must obey its type's invariants, must be written and read back as the same value,
// and must be freed whole, in one go or in small pieces.
//
// Input: byte 0 chooses the limits, byte 1 is the type, the value follows.
#include <stdint.h>

#include "base/assert.h"
#include "base/mem.h"
#include "types/rdb.h"

#define FREE_MAX_STEPS 1000000

static const struct value_limits many_limits[] = {
    {128, 64, -2, 0, 512, 128, 64, 128, 64, 3000, 4096, 100}, // the defaults
    {4, 8, 4, 1, 4, 4, 8, 4, 8, 64, 128, 4},                  // all small
    {0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1},                     // nothing is compact
    {100000, 100000, -5, 2, 100000, 100000, 100000, 100000, 100000, 16000, 0, 0},
};

static struct buf write_value(const struct rdb_value *v, uint8_t *type)
{
    struct buf out = {0};
    *type = (uint8_t)rdb_type_of(v->type, v->value);
    if (v->type == TYPE_STRING)
        rdb_put_string(&out, v->string, false);
    else
        rdb_put_value(&out, v->type, v->value, false);
    return out;
}

static void free_value(struct rdb_value *v, bool is_drained)
{
    buf_free(&v->scratch);
    if (v->type == TYPE_STRING) return;
    if (!is_drained) {
        value_free(v->type, v->value);
        return;
    }
    for (int steps = 0; !value_drain(v->type, &v->value, 1); steps++)
        ASSERT(steps < FREE_MAX_STEPS);
}

static void check(const struct rdb_value *v)
{
    if (v->type == TYPE_STRING) return;
    value_validate(v->type, v->value);
    ASSERT(value_memory_bytes(v->type, v->value) > 0);
    struct value copy = value_copy(v->type, v->value);
    value_validate(v->type, copy);
    value_free(v->type, copy);
}

// What is written of a value is good, and says the same when it is written again. (The elements of
// tables have no order of their own: then only the lengths can be the same.)
static void check_round_trip(const struct rdb_value *v, const struct value_limits *limits)
{
    uint8_t type, type_again;
    struct buf written = write_value(v, &type);
    struct rdb_reader in = {.at = written.ptr, .end = written.ptr + written.len};
    struct rdb_value again = {.type = TYPE_STRING};
    bool is_good = rdb_get_value(&in, type, limits, &again);
    ASSERT(is_good && rdb_left(&in) == 0 && again.type == v->type);
    check(&again);
    struct buf written_again = write_value(&again, &type_again);
    if (type == type_again && type != RDB_HASH_METADATA) ASSERT(written.len == written_again.len);
    buf_free(&written);
    buf_free(&written_again);
    free_value(&again, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    const struct value_limits *limits = &many_limits[data[0] % ARRAY_LEN(many_limits)];
    // In memory of its own, so that reading beyond the end is seen.
    char *bytes = mem_alloc(MAX(size - 2, 1u));
    memcpy(bytes, data + 2, size - 2);
    struct rdb_reader in = {.at = bytes, .end = bytes + size - 2};
    struct rdb_value v = {.type = TYPE_STRING};
    if (rdb_get_value(&in, data[1], limits, &v)) {
        check(&v);
        check_round_trip(&v, limits);
        free_value(&v, data[0] & 128);
    } else {
        buf_free(&v.scratch);
    }
    mem_free(bytes);
    return 0;
}
