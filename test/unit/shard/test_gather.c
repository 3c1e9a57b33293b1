// SPDX-License-Identifier: BSD-3-Clause
#include "shard/gather.h"

#include <criterion/criterion.h>

#include "fixture.h"

Test(gather, values_of_several_shards_are_combined)
{
    struct world *w = world_new(3);
    CHECK_LINE(w, "SADD @0a 1 2", ":2");
    CHECK_LINE(w, "SADD @1a 2 3", ":2");
    CHECK_LINE(w, "SADD @2a 4", ":1");
    CHECK_LINE(w, "SUNION @0a @1a @2a @1none", "*4 $1 1 $1 2 $1 3 $1 4");
    CHECK_LINE(w, "SDIFF @0a @1a @2a", "*1 $1 1");
    CHECK_LINE(w, "ZUNION 2 @0a @1a WITHSCORES", "*6 $1 1 $1 1 $1 3 $1 1 $1 2 $1 2");
    CHECK_LINE(w, "MSET @0s abcd @2s xbcx", "+OK");
    CHECK_LINE(w, "LCS @0s @2s", "$2 bc");
    CHECK_LINE(w, "SUNION @0a @2s",
               "-WRONGTYPE Operation against a key holding the wrong kind of value");
    world_free(w);
}

Test(gather, a_key_may_be_named_twice_and_all_may_be_missing)
{
    struct world *w = world_new(2);
    CHECK_LINE(w, "SADD @0a 1", ":1");
    CHECK_LINE(w, "SUNION @0a @0a @1b @1b", "*1 $1 1");
    CHECK_LINE(w, "SUNION @0x @1x", "*0");
    CHECK_LINE(w, "ZUNION 2 @0x @1x NONSENSE", "-ERR syntax error");
    world_free(w);
}

Test(gather, values_are_those_of_the_instant_at_which_it_entered)
{
    struct world *w = world_new(2);
    CHECK_LINE(w, "SADD @0a 1", ":1");
    CHECK_LINE(w, "SADD @1a 2", ":1");
    struct job *read = job_start(w, 0, "SUNION @0a @1a"); // shard 1 has not turned yet
    struct job *write = job_start(w, 1, "SADD @1a 3");
    struct job *drop = job_start(w, 0, "DEL @0a");
    world_settle(w);
    cr_assert_str_eq(read->reply, "*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    job_free(read);
    job_free(write);
    job_free(drop);
    CHECK_LINE(w, "SUNION @0a @1a", "*2 $1 2 $1 3");
    world_free(w);
}

Test(gather, the_rest_of_a_batch_keeps_its_place)
{
    struct world *w = world_new(2);
    CHECK_LINES(w, ":1 :1 *2 $1 1 $1 2 :1 *1 $1 2 +PONG", "SADD @0a 1", "SADD @1a 2",
                "SUNION @0a @1a", "DEL @0a", "SUNION @0a @1a", "PING");
    world_free(w);
}
