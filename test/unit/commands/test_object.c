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

TestSuite(object, .init = open_one, .fini = close_it);

Test(object, encodings_change_where_redis_changes_them)
{
    CHECK(g, "SET k 12345", "+OK");
    CHECK(g, "OBJECT ENCODING k", "$3 int");
    CHECK(g, "APPEND k 6", ":6");
    CHECK(g, "OBJECT ENCODING k", "$3 raw");
    CHECK(g, "SET k 0123", "+OK");
    CHECK(g, "OBJECT ENCODING k", "$6 embstr");
    CHECK(g, "SET k 12345678901234567890123456789012345678901234", "+OK"); // 44 bytes
    CHECK(g, "OBJECT ENCODING k", "$6 embstr");
    CHECK(g, "SET k 123456789012345678901234567890123456789012345", "+OK");
    CHECK(g, "OBJECT ENCODING k", "$3 raw");
    CHECK(g, "SETRANGE r 0 7", ":1");
    CHECK(g, "OBJECT ENCODING r", "$3 raw");
    CHECK(g, "OBJECT ENCODING nope", "$-1");
}

Test(object, idle_time_is_not_touched_by_looking)
{
    CHECK(g, "SET k v", "+OK");
    gyre_set_now_ms(g, DRIVER_NOW_MS + 30000);
    CHECK(g, "OBJECT IDLETIME k", ":30");
    CHECK(g, "TTL k", ":-1");
    CHECK(g, "EXISTS k", ":1");
    CHECK(g, "TYPE k", "+string");
    CHECK(g, "OBJECT IDLETIME k", ":30");
    CHECK(g, "TOUCH k", ":1");
    CHECK(g, "OBJECT IDLETIME k", ":0");
}

Test(object, small_integers_look_shared)
{
    CHECK(g, "MSET small 9999 big 10000 minus -1 text x", "+OK");
    CHECK(g, "OBJECT REFCOUNT small", ":2147483647");
    CHECK(g, "OBJECT REFCOUNT big", ":1");
    CHECK(g, "OBJECT REFCOUNT minus", ":1");
    CHECK(g, "OBJECT REFCOUNT text", ":1");
    CHECK(g, "OBJECT REFCOUNT nope", "$-1");
}

Test(object, frequency_needs_its_policy)
{
    CHECK(g, "SET k v", "+OK");
    CHECK(g, "OBJECT FREQ nope", "$-1");
    CHECK(g, "OBJECT FREQ k",
          "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note "
          "that when switching between policies at runtime LRU and LFU data will take some time to "
          "adjust.");
}
