// SPDX-License-Identifier: BSD-3-Clause
//
// Routes follow from declaration and keys; operations have a part for each shard concerned, in
// ascending order, and each part has its own keys only, in the order in which they were named.
#include "shard/fanout.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/hash.h"
#include "fixture.h"

static void check_route(struct world *w, uint32_t home, const char *line, enum route route,
                        uint32_t shard)
{
    struct job *j = job_new(w, home);
    enum route got = job_add(j, line);
    cr_assert_eq(got, route, "%s: route %d, not %d", line, (int)got, (int)route);
    if (route == ROUTE_ONE)
        cr_assert_eq(j->calls[0].shard, shard, "%s: shard %u", line, j->calls[0].shard);
    job_free(j);
}

Test(fanout, routes_follow_from_declaration_and_keys)
{
    struct world *w = world_new(3);
    const struct {
        const char *line;
        enum route route;
        uint32_t shard; // of ROUTE_ONE
    } cases[] = {
        {"GET @0x", ROUTE_ONE, 0},
        {"GET @2x", ROUTE_ONE, 2},
        {"SET @1x v EX 10", ROUTE_ONE, 1},
        {"MGET @1x", ROUTE_ONE, 1},
        {"MGET @1x @1y @1x", ROUTE_ONE, 1},
        {"MGET @1x @2x", ROUTE_SPLIT, 0},
        {"MSET @2x 1 @2y 2", ROUTE_ONE, 2},
        {"MSET @2x 1 @0x 2", ROUTE_SPLIT, 0},
        {"MSET @2x 1 @0x", ROUTE_ONE, 1}, // the handler at home finds that one is missing
        {"DEL @0x @1x @2x", ROUTE_SPLIT, 0},
        {"EXISTS @2x @2x", ROUTE_ONE, 2},
        {"MSETNX @0x 1 @1x 2", ROUTE_MEETING, 0},
        {"MSETNX @0x 1 @0y 2", ROUTE_ONE, 0},
        {"RENAME @0x @1x", ROUTE_MEETING, 0},
        {"RENAME @2x @2y", ROUTE_ONE, 2},
        {"COPY @2x @1x DB 1", ROUTE_MEETING, 0},
        {"SINTER @0x @2y", ROUTE_MEETING, 0},
        {"LCS @0x @2y", ROUTE_SPLIT, 0},
        {"SUNION @0x @2y @1z", ROUTE_SPLIT, 0},
        {"SUNION @1x @1y", ROUTE_ONE, 1},
        {"ZUNION 2 @0x @2y", ROUTE_SPLIT, 0},
        {"PFCOUNT @2x", ROUTE_ONE, 2},
        {"SORT @1x", ROUTE_ONE, 1},
        {"SORT @1x BY @1w* GET #", ROUTE_MEETING, 1},
        {"SORT @1x STORE @2y", ROUTE_MEETING, 1},
        {"DBSIZE", ROUTE_SPLIT, 0},
        {"KEYS *", ROUTE_SPLIT, 0},
        {"FLUSHALL", ROUTE_SPLIT, 0},
        {"SWAPDB 0 1", ROUTE_SPLIT, 0},
        {"RANDOMKEY", ROUTE_MEETING, 0},
        {"SCAN 0", ROUTE_MEETING, 0},
        {"SCAN 7", ROUTE_ONE, 1}, // place 2 in the table of shard 7 mod 3
        {"PING", ROUTE_HOME, 0},
        {"SELECT 1", ROUTE_QUIET, 0},
        {"CLIENT LIST", ROUTE_SPLIT, 0},
        {"CLIENT SETNAME x", ROUTE_QUIET, 0},
        {"NOSUCH @0x", ROUTE_HOME, 0},
        {"GET", ROUTE_HOME, 0}, // refused
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check_route(w, 1, cases[i].line, cases[i].route, cases[i].shard);
    world_free(w);
}

Test(fanout, with_one_shard_nothing_is_split_and_nobody_meets)
{
    struct world *w = world_new(1);
    const char *lines[] = {"MGET a b", "RENAME a b", "DBSIZE", "RANDOMKEY", "SCAN 0", "SCAN 7"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) check_route(w, 0, lines[i], ROUTE_ONE, 0);
    world_free(w);
}

// The words of a piece, parted by blanks.
static void check_piece(const struct piece *p, const char *want)
{
    char text[200];
    size_t len = 0;
    for (int i = 0; i < p->argc; i++) {
        memcpy(text + len, p->argv[i].ptr, p->argv[i].len);
        len += p->argv[i].len;
        text[len++] = ' ';
    }
    text[len ? len - 1 : 0] = '\0';
    struct slice first = p->argv[1];
    cr_assert_str_eq(text, want);
    cr_assert(p->first_key == first.ptr && p->first_hash == hash_bytes(first));
}

// Of an operation that is never entered.
static void discard(struct job *j)
{
    operation_free(&j->w->shards[j->home]->pool, j->op);
    j->op = NULL;
    job_free(j);
}

Test(fanout, each_part_gets_its_own_keys_in_their_order)
{
    struct world *w = world_new(4);
    struct job *j = job_new(w, 1);
    char want[100];
    job_add(j, "MSET @3a 1 @0a 2 @3b 3 @0b 4 @3a 5");
    struct operation *op = job_build(j);
    struct request *r = &op->requests[0];
    cr_assert(op->kind == OPERATION_BATCH && op->home == 1 && op->request_count == 1);
    cr_assert(op->part_count == 2 && op->parts[0].shard == 0 && op->parts[1].shard == 3);
    cr_assert(r->piece_count == 2 && r->key_count == 5);
    const uint32_t owners[] = {1, 0, 1, 0, 1};
    for (int i = 0; i < 5; i++) cr_assert_eq(r->key_owner[i], owners[i]);
    snprintf(want, sizeof want, "MSET %sa 2 %sb 4", w->tags[0], w->tags[0]);
    check_piece(op->parts[0].first, want);
    snprintf(want, sizeof want, "MSET %sa 1 %sb 3 %sa 5", w->tags[3], w->tags[3], w->tags[3]);
    check_piece(op->parts[1].first, want);
    cr_assert(op->parts[0].first->ctx_flags & CTX_IS_PART);
    cr_assert(op->parts[0].first->next == NULL && op->parts[0].first == &r->pieces[0]);
    discard(j);
    world_free(w);
}

Test(fanout, a_blob_follows_its_argument)
{
    struct world *w = world_new(2);
    struct job *j = job_new(w, 0);
    struct blob *blobs[5] = {[4] = blob_new(1)};
    job_add(j, "MSET @0a 1 @1a 2");
    j->calls[0].piece.blobs = blobs;
    struct operation *op = job_build(j);
    const struct piece *p = op->parts[0].first, *q = op->parts[1].first;
    cr_assert(!p->blobs[0] && !p->blobs[1] && !p->blobs[2]);
    cr_assert(!q->blobs[0] && !q->blobs[1] && q->blobs[2] == blobs[4]);
    discard(j);
    blob_unref(blobs[4]);
    world_free(w);
}

Test(fanout, a_batch_has_one_part_a_shard_and_what_needs_none_is_answered_at_once)
{
    struct world *w = world_new(4);
    struct job *j = job_new(w, 2);
    const char *lines[] = {"SET @3a 1", "PING", "MGET @1a @3a", "NOSUCH", "GET @3a"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) job_add(j, lines[i]);
    struct operation *op = job_build(j);
    cr_assert(op->part_count == 2 && op->parts[0].shard == 1 && op->parts[1].shard == 3);
    const struct piece *p = op->parts[1].first;
    cr_assert(p == &op->requests[0].whole && p->next == &op->requests[2].pieces[1]);
    cr_assert(p->next->next == &op->requests[4].whole && !p->next->next->next);
    cr_assert(op->requests[1].piece_count == 0 && op->requests[1].local_bytes == 7); // +PONG
    cr_assert(op->requests[3].piece_count == 0 && op->requests[3].local_bytes > 7);
    cr_assert_eq(reply_bytes(&op->local),
                 op->requests[1].local_bytes + op->requests[3].local_bytes);
    cr_assert(op->requests[0].part == 1 && op->requests[4].part == 1);
    discard(j);
    world_free(w);
}

Test(fanout, the_arguments_arrays_are_the_operations_own)
{
    struct world *w = world_new(2);
    struct job *j = job_new(w, 0);
    char want[100];
    job_add(j, "GET @1a");
    struct operation *op = job_build(j);
    memset(j->calls[0].piece.argv, 0, 2 * sizeof(struct slice));
    snprintf(want, sizeof want, "GET %sa", w->tags[1]);
    check_piece(op->parts[0].first, want);
    discard(j);
    world_free(w);
}

Test(fanout, a_meeting_has_a_part_for_every_shard_of_its_keys)
{
    struct world *w = world_new(4);
    struct job *j = job_new(w, 0);
    job_add(j, "RENAME @3a @1a");
    struct operation *op = job_build(j);
    cr_assert(op->kind == OPERATION_MEETING && op->part_count == 2);
    cr_assert(op->parts[0].shard == 1 && op->parts[1].shard == 3);
    cr_assert(!op->parts[0].first && op->requests[0].piece_count == 1);
    discard(j);
    j = job_new(w, 0);
    job_add(j, "RANDOMKEY"); // of all
    cr_assert_eq(job_build(j)->part_count, 4);
    discard(j);
    world_free(w);
}
