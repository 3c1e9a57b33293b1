// SPDX-License-Identifier: BSD-3-Clause
#include "base/crc32c.h"

#include <criterion/criterion.h>
#include <string.h>

// One bit at a time, from the definition.
static uint32_t slow(uint32_t crc, const unsigned char *p, size_t len)
{
    crc = ~crc;
    while (len--) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

static void fill(unsigned char *bytes, size_t len)
{
    uint32_t state = 1;
    for (size_t i = 0; i < len; i++) {
        state = state * 1664525 + 1013904223;
        bytes[i] = (unsigned char)(state >> 24);
    }
}

Test(crc32c, has_the_check_value_of_the_catalogue)
{
    cr_assert_eq(crc32c_add(0, "123456789", 9), 0xe3069283);
    cr_assert_eq(crc32c_add(0, "", 0), 0);
}

// The examples of RFC 3720, appendix B.4.
Test(crc32c, has_the_values_of_iscsi)
{
    unsigned char bytes[32];
    memset(bytes, 0, sizeof bytes);
    cr_assert_eq(crc32c_add(0, bytes, sizeof bytes), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    cr_assert_eq(crc32c_add(0, bytes, sizeof bytes), 0x62a8ab43);
    for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)i;
    cr_assert_eq(crc32c_add(0, bytes, sizeof bytes), 0x46dd794e);
}

Test(crc32c, agrees_with_the_definition_at_every_level_and_length)
{
    static unsigned char bytes[60000];
    fill(bytes, sizeof bytes);
    for (int level = 0; level < CRC32C_LEVELS; level++) {
        if (!crc32c_has_level(level)) continue;
        for (size_t len = 0; len < 1000; len++)
            cr_assert_eq(crc32c_add_by(level, 7, bytes + len % 8, len),
                         slow(7, bytes + len % 8, len), "level %d, %zu bytes", level, len);
        // Around what one, two and three rounds of each stream length take.
        static const size_t streams[] = {3 * 128, 3 * 1024, 3 * 8192};
        for (size_t i = 0; i < 3; i++)
            for (size_t len = streams[i] - 9; len <= streams[i] * 2 + 9; len += streams[i] / 7)
                cr_assert_eq(crc32c_add_by(level, 0, bytes + 1, len), slow(0, bytes + 1, len),
                             "level %d, %zu bytes", level, len);
    }
}

Test(crc32c, of_pieces_is_that_of_the_whole)
{
    unsigned char bytes[2000];
    fill(bytes, sizeof bytes);
    uint32_t whole = crc32c_add(9, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut += 13) {
        uint32_t front = crc32c_add(9, bytes, cut);
        cr_assert_eq(crc32c_add(front, bytes + cut, sizeof bytes - cut), whole);
        uint32_t back = crc32c_add(0, bytes + cut, sizeof bytes - cut);
        cr_assert_eq(crc32c_join(front, back, sizeof bytes - cut), whole);
    }
}

// Lengths beyond what a test can walk: joining in two steps is joining in one.
Test(crc32c, joins_over_any_length)
{
    for (unsigned bit = 0; bit < 62; bit++) {
        uint64_t half = UINT64_C(1) << bit;
        cr_assert_eq(crc32c_join(crc32c_join(0xdeadbeef, 0, half), 0, half),
                     crc32c_join(0xdeadbeef, 0, 2 * half), "2^%u", bit);
    }
    cr_assert_neq(crc32c_join(0xdeadbeef, 0, 1 << 20), 0xdeadbeef);
}
