// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

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

TestSuite(expire, .init = open_one, .fini = close_it);

Test(expire, is_said_and_asked_in_four_ways)
{
    CHECK(g, "SET k v", "+OK");
    CHECK(g, "TTL k", ":-1");
    CHECK(g, "PTTL nope", ":-2");
    CHECK(g, "EXPIRE k 10", ":1");
    CHECK(g, "PTTL k", ":10000");
    CHECK(g, "PEXPIRE k 1500", ":1");
    CHECK(g, "TTL k", ":2");
    CHECK(g, "PEXPIRE k 1499", ":1");
    CHECK(g, "TTL k", ":1");
    CHECK(g, "EXPIREAT k 1700000060", ":1");
    CHECK(g, "TTL k", ":60");
    CHECK(g, "EXPIRETIME k", ":1700000060");
    CHECK(g, "PEXPIREAT k 1700000000700", ":1");
    CHECK(g, "PEXPIRETIME k", ":1700000000700");
    CHECK(g, "EXPIRETIME k", ":1700000001");
    CHECK(g, "PERSIST k", ":1");
    CHECK(g, "PERSIST k", ":0");
    CHECK(g, "EXPIRE nope 10", ":0");
}

Test(expire, a_key_lives_until_its_millisecond)
{
    CHECK(g, "SET k v", "+OK");
    CHECK(g, "PEXPIRE k 10", ":1");
    gyre_set_now_ms(g, DRIVER_NOW_MS + 9);
    CHECK(g, "PTTL k", ":1");
    gyre_set_now_ms(g, DRIVER_NOW_MS + 10);
    CHECK(g, "PTTL k", ":-2");
    cr_assert_eq(gyre_key_count(g, 0), 0);
}

Test(expire, a_time_in_the_past_deletes)
{
    CHECK(g, "SET k v", "+OK");
    CHECK(g, "EXPIRE k -1", ":1");
    CHECK(g, "EXISTS k", ":0");
    CHECK(g, "SET k v", "+OK");
    CHECK(g, "PEXPIREAT k -9223372036854775808", ":1");
    CHECK(g, "EXISTS k", ":0");
}

Test(expire, conditions_compare_with_what_is_there)
{
    CHECK(g, "SET k v", "+OK");
    CHECK(g, "EXPIRE k 10 XX", ":0");
    CHECK(g, "EXPIRE k 10 GT", ":0"); // never is later than any time
    CHECK(g, "EXPIRE k 10 LT", ":1");
    CHECK(g, "EXPIRE k 20 NX", ":0");
    CHECK(g, "EXPIRE k 10 GT", ":0");
    CHECK(g, "EXPIRE k 20 GT XX", ":1");
    CHECK(g, "EXPIRE k 20 lt", ":0");
    CHECK(g, "EXPIRE k 5 LT", ":1");
    CHECK(g, "TTL k", ":5");
    CHECK(g, "EXPIRE k -1 GT", ":0");
    CHECK(g, "EXPIRE k -1 LT", ":1");
    CHECK(g, "EXISTS k", ":0");
}

Test(expire, errors_come_in_redis_order)
{
    CHECK(g, "EXPIRE k x bogus", "-ERR Unsupported option bogus");
    CHECK(g, "EXPIRE k x NX GT",
          "-ERR NX and XX, GT or LT options at the same time are not compatible");
    CHECK(g, "EXPIRE k x GT LT", "-ERR GT and LT options at the same time are not compatible");
    CHECK(g, "EXPIRE k x", "-ERR value is not an integer or out of range");
    CHECK(g, "EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command");
    CHECK(g, "PEXPIRE k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command");
    CHECK(g, "EXPIREAT k -9223372036854775808", "-ERR invalid expire time in 'expireat' command");
}

Test(expire, the_farthest_time_is_kept_exactly)
{
    CHECK(g, "SET k v", "+OK");
    CHECK(g, "PEXPIREAT k 9223372036854775807", ":1");
    CHECK(g, "PEXPIRETIME k", ":9223372036854775807");
    CHECK(g, "EXPIRETIME k", ":9223372036854776");
}
