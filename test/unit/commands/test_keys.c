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

TestSuite(keys, .init = open_one, .fini = close_it);

Test(keys, are_counted_as_often_as_named_but_deleted_once)
{
    CHECK(g, "MSET a 1 b 2 c 3", "+OK");
    CHECK(g, "EXISTS a a nope b", ":3");
    CHECK(g, "TOUCH a a nope", ":2");
    CHECK(g, "DEL a a b", ":2");
    CHECK(g, "UNLINK c nope", ":1");
    CHECK(g, "DBSIZE", ":0");
    CHECK(g, "TYPE a", "+none");
    CHECK(g, "SET a 1", "+OK");
    CHECK(g, "TYPE a", "+string");
}

Test(keys, an_expired_key_is_not_deleted_again)
{
    CHECK(g, "SET a 1 PX 5", "+OK");
    gyre_set_now_ms(g, DRIVER_NOW_MS + 6);
    CHECK(g, "DEL a", ":0");
    CHECK(g, "DBSIZE", ":0");
}

Test(keys, rename_takes_the_expiry_along)
{
    CHECK(g, "SET a 1 EX 100", "+OK");
    CHECK(g, "SET b 2", "+OK");
    CHECK(g, "RENAME a b", "+OK");
    CHECK(g, "GET b", "$1 1");
    CHECK(g, "TTL b", ":100");
    CHECK(g, "EXISTS a", ":0");
    CHECK(g, "RENAME b b", "+OK");
    CHECK(g, "RENAME a b", "-ERR no such key");
    CHECK(g, "RENAME a a", "-ERR no such key");
    CHECK(g, "SET c 3", "+OK");
    CHECK(g, "RENAMENX b c", ":0");
    CHECK(g, "RENAMENX b b", ":0");
    CHECK(g, "RENAMENX b a", ":1");
    CHECK(g, "RENAMENX nope a", "-ERR no such key");
}

Test(keys, rename_over_an_expired_key_finds_the_place_free)
{
    CHECK(g, "SET a 1", "+OK");
    CHECK(g, "SET b 2 PX 5", "+OK");
    gyre_set_now_ms(g, DRIVER_NOW_MS + 6);
    CHECK(g, "RENAMENX a b", ":1");
    CHECK(g, "GET b", "$1 1");
    CHECK(g, "TTL b", ":-1");
}

Test(keys, copy_leaves_the_source_and_copies_the_expiry)
{
    CHECK(g, "SET a 1 EX 100", "+OK");
    CHECK(g, "COPY a b", ":1");
    CHECK(g, "TTL b", ":100");
    CHECK(g, "COPY a b", ":0");
    CHECK(g, "APPEND a x", ":2");
    CHECK(g, "GET b", "$1 1");
    CHECK(g, "COPY a b REPLACE", ":1");
    CHECK(g, "GET b", "$2 1x");
    CHECK(g, "COPY nope b REPLACE", ":0");
    CHECK(g, "GET b", "$2 1x");
}

Test(keys, copy_reaches_other_databases)
{
    CHECK(g, "SET a 1", "+OK");
    CHECK(g, "COPY a a", "-ERR source and destination objects are the same");
    CHECK(g, "COPY a a DB 0 REPLACE", "-ERR source and destination objects are the same");
    CHECK(g, "COPY a a DB 1", ":1");
    CHECK(g, "COPY a a DB 1", ":0");
    CHECK(g, "SET a 2", "+OK");
    CHECK(g, "COPY a a DB 1 REPLACE", ":1");
    CHECK(g, "SELECT 1", "+OK");
    CHECK(g, "GET a", "$1 2");
    CHECK(g, "COPY a b DB 16", "-ERR DB index is out of range");
    CHECK(g, "COPY a b DB x", "-ERR value is not an integer or out of range");
    CHECK(g, "COPY a b DB", "-ERR syntax error");
}

Test(keys, move_does_not_overwrite)
{
    CHECK(g, "SET a 1 EX 100", "+OK");
    CHECK(g, "MOVE a 0", "-ERR source and destination objects are the same");
    CHECK(g, "MOVE a 99999999999",
          "-ERR value is out of range, value must between -2147483648 and 2147483647");
    CHECK(g, "MOVE a -1", "-ERR DB index is out of range");
    CHECK(g, "MOVE a 1", ":1");
    CHECK(g, "MOVE a 1", ":0");
    CHECK(g, "SET a 2", "+OK");
    CHECK(g, "MOVE a 1", ":0");
    CHECK(g, "SELECT 1", "+OK");
    CHECK(g, "GET a", "$1 1");
    CHECK(g, "TTL a", ":100");
}
