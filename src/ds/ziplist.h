// SPDX-License-Identifier: BSD-3-Clause
//
// ziplist, zipmap: what Redis before 7 kept small lists, hashes and sorted sets in, for reading
// old dumps only: both become listpacks.
//
//   ziplist  +------------+-----------+-----------+-------+-- … --+------+
//            | bytes (32) | last (32) | count(16) | entry |       | 0xff |   little endian
//            +------------+-----------+-----------+-------+-- … --+------+
//   entry: [ bytes of the entry before: 1 byte, or 0xfe and 32 bits ][ encoding ][ data ]
//
//   00llllll                     string, length 6 bits
//   01llllll l                   string, length 14 bits
//   10000000 llll                string, length 32 bits, big endian
//   11000000 11010000 11100000   integer of 16, 32, 64 bits, little endian
//   11110000 11111110            integer of 24, 8 bits
//   11110001 … 11111101          integer 0 … 12
//
//   last: offset of the last entry. count 65535: unknown, must be counted.
//
//   zipmap   | count (8) | field length, field | value length, gap (8), value, gap bytes | … | 0xff
//   | length: 1 byte below 254, or 0xfe and 32 bits. count 254 and more: unknown.
#pragma once
#include "ds/listpack.h"

// A new listpack with the elements of a ziplist, owned by the caller; NULL if the bytes, from the
// first to the last, are none.
struct listpack *ziplist_to_listpack(const void *bytes, size_t len);
// The same for a zipmap: fields and values in turn.
struct listpack *ziplist_zipmap_to_listpack(const void *bytes, size_t len);
