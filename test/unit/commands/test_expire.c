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

Test(expire, a_key_lives_to_the_end_of_its_millisecond)
{
    CHECK(g, "SET k v", "+OK");
    CHECK(g, "PEXPIRE k 10", ":1");
    gyre_set_now_ms(g, DRIVER_NOW_MS + 10);
    CHECK(g, "PTTL k", ":0");
    cr_assert(!gyre_cron(g, 1000) && gyre_key_count(g, 0) == 1);
    gyre_set_now_ms(g, DRIVER_NOW_MS + 11);
    CHECK(g, "PTTL k", ":-2");
    cr_assert_eq(gyre_key_count(g, 0), 0);
    CHECK(g, "SET k v PX 10", "+OK");
    gyre_set_now_ms(g, DRIVER_NOW_MS + 22);
    cr_assert(!gyre_cron(g, 1000) && gyre_key_count(g, 0) == 0);
}

// Too long for a hash that is not a table.
#define LONG_VALUE "0123456789012345678901234567890123456789012345678901234567890123456789"

Test(expire, a_field_lives_to_the_end_of_its_millisecond)
{
    for (int is_table = 0; is_table < 2; is_table++) {
        int64_t start_ms = DRIVER_NOW_MS + 100 * is_table;
        gyre_set_now_ms(g, start_ms);
        CHECK(g, "HSET h f 1 g 2 k 3", ":3");
        if (is_table) CHECK(g, "HSET h k " LONG_VALUE, ":0");
        CHECK(g, "HSET h k 3", ":0");
        CHECK(g, "HPEXPIRE h 10 FIELDS 2 f g", "*2 :1 :1");
        CHECK(g, "OBJECT ENCODING h", is_table ? "$9 hashtable" : "$10 listpackex");
        gyre_set_now_ms(g, start_ms + 10);
        CHECK(g, "HPTTL h FIELDS 1 f", "*1 :0");
        CHECK(g, "HGET h f", "$1 1");
        CHECK(g, "HRANDFIELD h 3", "*3 $1 f $1 g $1 k");
        cr_assert(!gyre_cron(g, 1000));
        CHECK(g, "HLEN h", ":3");
        gyre_set_now_ms(g, start_ms + 11);
        CHECK(g, "HVALS h", "*1 $1 3");
        CHECK(g, "HGET h f", "$-1");
        CHECK(g, "HLEN h", ":2");
        cr_assert(!gyre_cron(g, 1000));
        CHECK(g, "HLEN h", ":1");
        CHECK(g, "DEL h", ":1");
    }
}

Test(expire, what_is_to_end_now_is_deleted_now)
{
    CHECK(g, "SET k v", "+OK");
    CHECK(g, "PEXPIRE k 0", ":1");
    CHECK(g, "EXISTS k", ":0");
    CHECK(g, "SET k v PXAT 1700000000000", "+OK"); // DRIVER_NOW_MS; but SET sets
    CHECK(g, "GET k", "$1 v");
    CHECK(g, "GETEX k PXAT 1700000000000", "$1 v");
    CHECK(g, "EXISTS k", ":0");
    CHECK(g, "HSET h f v", ":1");
    CHECK(g, "HPEXPIRE h 0 FIELDS 1 f", "*1 :2");
    CHECK(g, "EXISTS h", ":0");
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
