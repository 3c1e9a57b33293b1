// SPDX-License-Identifier: BSD-3-Clause
//
// What redis-server 7.0 cannot be asked (test/integration/streams/bitmaps.txt has the rest): the
// operations of BITOP that are newer, and what a command does not do to memory.
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "driver.h"

static struct gyre *g;

static void open_one(void)
{
    g = driver_open();
}

static void close_it(void)
{
    driver_close(g);
}

TestSuite(bitmap, .init = open_one, .fini = close_it);

Test(bitmap, bitop_knows_the_operations_of_redis_8)
{
    // a 01100001, b 01100010, c 01100011
    CHECK(g, "MSET a a b b c c x AB y A", "+OK");
    CHECK(g, "BITOP DIFF d a b", ":1");
    CHECK(g, "BITCOUNT d", ":1");
    CHECK(g, "BITPOS d 1", ":7");
    CHECK(g, "BITOP diff1 d a b", ":1");
    CHECK(g, "BITPOS d 1", ":6");
    CHECK(g, "BITOP ANDOR d a b c", ":1");
    CHECK(g, "GET d", "$1 a");
    CHECK(g, "BITOP ONE d a b", ":1");
    CHECK(g, "BITCOUNT d", ":2");
    CHECK(g, "BITOP ONE d a b c", ":1");
    CHECK(g, "BITCOUNT d", ":0");
    CHECK(g, "BITOP ONE d a", ":1");
    CHECK(g, "GET d", "$1 a");
    CHECK(g, "BITOP DIFF d x y", ":2");
    CHECK(g, "BITFIELD d GET u8 0 GET u8 8", "*2 :0 :66");
    CHECK(g, "BITOP DIFF1 d y x", ":2");
    CHECK(g, "BITFIELD d GET u8 0 GET u8 8", "*2 :0 :66");
}

Test(bitmap, a_missing_source_is_zeros_also_where_it_comes_first)
{
    CHECK(g, "SET a a", "+OK");
    CHECK(g, "BITOP DIFF d nope a", ":1");
    CHECK(g, "BITCOUNT d", ":0");
    CHECK(g, "BITOP DIFF1 d nope a", ":1");
    CHECK(g, "GET d", "$1 a");
    CHECK(g, "BITOP ANDOR d nope a", ":1");
    CHECK(g, "BITCOUNT d", ":0");
    CHECK(g, "BITOP DIFF d nope nope2", ":0");
    CHECK(g, "EXISTS d", ":0");
}

Test(bitmap, bitop_says_how_many_sources_it_wants)
{
    CHECK(g, "BITOP DIFF d a", "-ERR BITOP DIFF must be called with at least two source keys.");
    CHECK(g, "BITOP diff1 d a", "-ERR BITOP DIFF1 must be called with at least two source keys.");
    CHECK(g, "BITOP andor d a", "-ERR BITOP ANDOR must be called with at least two source keys.");
    CHECK(g, "BITOP NOT d a b", "-ERR BITOP NOT must be called with a single source key.");
    CHECK(g, "BITOP DIFF2 d a b", "-ERR syntax error");
    CHECK(g, "BITOP ONE d nope", ":0");
}

Test(bitmap, a_bit_of_a_big_string_is_set_where_it_is)
{
    CHECK(g, "SETBIT k 83886079 1", ":0");
    size_t before = mem_used_bytes();
    CHECK(g, "SETBIT k 41943040 1", ":0");
    CHECK(g, "SETBIT k 41943040 0", ":1");
    CHECK(g, "BITFIELD k SET u8 1000 7", "*1 :0");
    cr_assert_lt(mem_used_bytes(), before + 65536, "no second copy of the value");
    CHECK(g, "BITCOUNT k", ":4");
    CHECK(g, "BITOP NOT k k", ":10485760");
    cr_assert_lt(mem_used_bytes(), before + 65536, "the result goes over the destination");
    CHECK(g, "BITCOUNT k", ":83886076");
}

Test(bitmap, simd_is_understood_by_pfdebug)
{
    CHECK(g, "PFDEBUG SIMD ON", "+enabled");
    CHECK(g, "PFDEBUG simd off", "+disabled");
    CHECK(g, "PFDEBUG SIMD x", "-ERR Argument must be ON or OFF");
}
