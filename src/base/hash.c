// SPDX-License-Identifier: BSD-3-Clause
#include "base/hash.h"

#include <string.h>

uint64_t hash_seed = 0x6779726567797265u;

void hash_set_seed(uint64_t seed)
{
    hash_seed = seed;
}

// CRC16-CCITT (XMODEM), eight bytes a step: table[k][b] is the CRC of byte b followed by k zero
// bytes.
static uint16_t table[8][256];

__attribute__((constructor)) static void fill_table(void)
{
    for (int b = 0; b < 256; b++) {
        uint16_t crc = (uint16_t)(b << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)((crc & 0x8000) ? (crc << 1) ^ 0x1021 : crc << 1);
        table[0][b] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int b = 0; b < 256; b++) {
            uint16_t crc = table[k - 1][b];
            table[k][b] = (uint16_t)((crc << 8) ^ table[0][crc >> 8]);
        }
}

uint16_t hash_crc16(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint16_t crc = 0;
    for (; len >= 8; len -= 8, p += 8)
        crc = table[7][p[0] ^ (crc >> 8)] ^ table[6][p[1] ^ (crc & 0xff)] ^ table[5][p[2]] ^
              table[4][p[3]] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    for (; len; len--, p++) crc = (uint16_t)((crc << 8) ^ table[0][((crc >> 8) ^ *p) & 0xff]);
    return crc;
}

struct slice hash_tag(struct slice key)
{
    const char *open = memchr(key.ptr, '{', key.len);
    if (!open) return key;
    size_t rest = key.len - (size_t)(open + 1 - key.ptr);
    const char *close = memchr(open + 1, '}', rest);
    if (!close || close == open + 1) return key;
    return (struct slice){open + 1, (size_t)(close - open - 1)};
}
