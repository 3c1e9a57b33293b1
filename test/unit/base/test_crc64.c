// SPDX-License-Identifier: BSD-3-Clause
#include "base/crc64.h"

#include <criterion/criterion.h>

// One bit at a time, from the definition.
static uint64_t slow(uint64_t crc, const unsigned char *p, size_t len)
{
    while (len--) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x95ac9329ac4bc9b5 : 0);
    }
    return crc;
}

Test(crc64, has_the_check_value_of_the_catalogue)
{
    cr_assert_eq(crc64_add(0, "123456789", 9), 0xe9c6d914c4b8d9ca);
    cr_assert_eq(crc64_add(0, "", 0), 0);
}

Test(crc64, agrees_with_the_definition_for_every_byte_at_every_place)
{
    unsigned char bytes[19] = {0};
    for (unsigned at = 0; at < sizeof bytes; at++)
        for (unsigned byte = 0; byte < 256; byte++) {
            bytes[at] = (unsigned char)byte;
            for (size_t len = at + 1; len <= sizeof bytes; len += 3)
                cr_assert_eq(crc64_add(byte, bytes, len), slow(byte, bytes, len));
        }
}

Test(crc64, of_pieces_is_that_of_the_whole)
{
    unsigned char bytes[100];
    for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 37);
    uint64_t whole = crc64_add(7, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut++)
        cr_assert_eq(crc64_add(crc64_add(7, bytes, cut), bytes + cut, sizeof bytes - cut), whole);
}

Test(crc64, of_long_input_is_the_same_by_either_way)
{
    static unsigned char bytes[1100];
    for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * i * 31 + i / 7);
    for (size_t len = 0; len <= sizeof bytes - 8; len++) {
        uint64_t crc = len * 0x9e3779b97f4a7c15;
        const unsigned char *p = bytes + len % 8;
        uint64_t portable = crc64_add_portable(crc, p, len);
        cr_assert_eq(crc64_add(crc, p, len), portable, "%zu bytes", len);
        if (len % 100 == 0) cr_assert_eq(portable, slow(crc, p, len));
    }
}

Test(crc64, shares_of_parts_add_up_to_that_of_the_whole)
{
    unsigned char bytes[1000];
    for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 41);
    uint64_t whole = crc64_add(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut += 37) {
        uint64_t first = crc64_move(crc64_add(0, bytes, cut), sizeof bytes - cut);
        cr_assert_eq(first ^ crc64_add(0, bytes + cut, sizeof bytes - cut), whole);
    }
}
