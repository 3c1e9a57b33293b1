// SPDX-License-Identifier: BSD-3-Clause
//
// snapshot: whatever happens to the data while it is walked, what is saved is what was there at the
// cut, each entry once. The commands are random ones and run as the server runs them (twin.h); what
// an entry was is the bytes that an RDB file would have of it.
#include "engine/snapshot.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>

#include "../commands/twin.h"
#include "base/hash.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "store/rdb_file.h"
#include "types/rdb_writer.h"

#define NOW_MS 1700000000000

struct kept { // an entry at the cut
    uint32_t shard, db;
    struct buf key, bytes;
    bool is_saved;
};

struct image;

struct part { // a shard's
    struct image *image;
    struct snapshot snapshot;
    const struct entry *open; // half saved
    struct rdb_writer writer;
    struct buf bytes; // of it
    bool is_done;
};

struct image {
    struct twin *twin;
    struct part parts[TWIN_SHARDS_MAX];
    struct kept *items;
    size_t count, cap, saved, pieces;
};

static const struct rdb_file_options options = {.use = RDB_USE_NONE, .now_ms = NOW_MS};

// --- the image -----------------------------------------------------------------------------------

static void check_saved(struct part *p, uint32_t db, const struct entry *e)
{
    struct image *im = p->image;
    struct slice key = entry_key(e);
    struct kept *item = NULL;
    for (size_t i = 0; i < im->count && !item; i++) {
        struct kept *x = &im->items[i];
        if (x->shard == p->snapshot.space->shard && x->db == db &&
            slice_eq(buf_slice(&x->key), key))
            item = x;
    }
    cr_assert(item, "%.*s of db %u was not there at the cut", SLICE_ARG(key), db);
    cr_assert_not(item->is_saved, "%.*s of db %u is saved twice", SLICE_ARG(key), db);
    cr_assert(slice_eq(buf_slice(&item->bytes), buf_slice(&p->bytes)),
              "%.*s of db %u was something else at the cut", SLICE_ARG(key), db);
    item->is_saved = true;
    im->saved++;
}

// In pieces, if it may be.
static bool save_big(struct part *p, uint32_t db, const struct entry *e, bool at_once)
{
    size_t budget = at_once ? SIZE_MAX : 1 + random_below(&p->image->twin->random, 1000);
    if (!p->open) {
        rdb_file_put_entry_head(&p->bytes, e, &options);
        rdb_writer_begin(&p->writer, e->type, e->value, false);
        p->open = e;
    }
    p->image->pieces++;
    if (!rdb_writer_step(&p->writer, &p->bytes, budget)) return false;
    rdb_writer_end(&p->writer);
    p->open = NULL;
    check_saved(p, db, e);
    p->bytes.len = 0;
    return true;
}

static bool save(struct snapshot *s, uint32_t db, const struct entry *e, bool at_once)
{
    struct part *p = s->owner;
    if (p->open == e || !at_once) {
        cr_assert(!p->open || p->open == e, "two values are half saved");
        return save_big(p, db, e, at_once);
    }
    struct buf half = p->bytes;
    p->bytes = (struct buf){0};
    rdb_file_put_entry(&p->bytes, e, &options);
    check_saved(p, db, e);
    buf_free(&p->bytes);
    p->bytes = half;
    return true;
}

static void add_item(struct image *im, uint32_t shard, uint32_t db, const struct entry *e)
{
    if (im->count == im->cap) {
        im->cap = MAX(2 * im->cap, 64);
        im->items = mem_realloc(im->items, im->cap * sizeof im->items[0]);
    }
    struct kept *item = &im->items[im->count++];
    *item = (struct kept){.shard = shard, .db = db};
    buf_append(&item->key, e->key, e->key_len);
    rdb_file_put_entry(&item->bytes, e, &options);
}

static void cut(struct image *im, struct twin *t)
{
    *im = (struct image){.twin = t};
    for (uint32_t i = 0; i < t->shards; i++) {
        struct keyspace *ks = t->engine->spaces[i];
        for (uint32_t d = 0; d < ks->db_count; d++) {
            uint64_t bucket = 0;
            uint32_t at = 0;
            const struct entry *e;
            while ((e = dict_next(&ks->dbs[d].keys, &bucket, &at))) add_item(im, i, d, e);
        }
        im->parts[i].image = im;
        im->parts[i].snapshot = (struct snapshot){.save = save, .owner = &im->parts[i]};
        snapshot_cut(ks, &im->parts[i].snapshot);
    }
}

// True: all shards are done.
static bool walk(struct image *im, uint32_t budget)
{
    bool is_done = true;
    for (uint32_t i = 0; i < im->twin->shards; i++) {
        struct part *p = &im->parts[i];
        if (!p->is_done && snapshot_walk(&p->snapshot, budget)) {
            snapshot_end(&p->snapshot);
            p->is_done = true;
        }
        is_done &= p->is_done;
    }
    return is_done;
}

static void forget(struct image *im)
{
    for (uint32_t i = 0; i < im->twin->shards; i++) {
        if (im->parts[i].open) rdb_writer_end(&im->parts[i].writer);
        buf_free(&im->parts[i].bytes);
    }
    for (size_t i = 0; i < im->count; i++) {
        buf_free(&im->items[i].key);
        buf_free(&im->items[i].bytes);
    }
    mem_free(im->items);
}

static void check_whole(struct image *im)
{
    for (size_t i = 0; i < im->count; i++)
        cr_assert(im->items[i].is_saved, "%.*s of db %u was not saved",
                  SLICE_ARG(buf_slice(&im->items[i].key)), im->items[i].db);
    forget(im);
}

// --- random commands -----------------------------------------------------------------------------

static const char *const templates[] = {
    "SET $k $v",
    "SET $a $v PX $t",
    "APPEND $k $v",
    "SETRANGE $k 3 $v",
    "INCR $k",
    "GETEX $k PX $t",
    "MSET $k $v $k $v $k $v",
    "DEL $a",
    "UNLINK $a $a",
    "RENAME $a $a",
    "RENAMENX $a $a",
    "COPY $a $a REPLACE",
    "COPY $a $a DB $D REPLACE",
    "MOVE $a $D",
    "PEXPIRE $a $t",
    "PEXPIRE $a -1",
    "PERSIST $a",
    "SORT $l ALPHA STORE $l",
    "RPUSH $l $v $v",
    "LPOP $l",
    "LMOVE $l $l LEFT RIGHT",
    "LSET $l 3 $v",
    "BLMOVE $l $l LEFT RIGHT 0",
    "BLMPOP 0 2 $l $l LEFT COUNT 3",
    "SADD $s $m $m",
    "SREM $s $m $m",
    "SPOP $s 3",
    "SMOVE $s $s $m",
    "SUNIONSTORE $s $s $s",
    "HSET $h $m $v",
    "HDEL $h $m",
    "HPEXPIRE $h $t FIELDS 2 $m $m",
    "HSETEX $h PX $t FIELDS 1 $m $v",
    "HRANDFIELD $h 2",
    "HGETALL $h",
    "ZADD $z 3 $m 4 $m",
    "ZPOPMIN $z",
    "ZREMRANGEBYRANK $z 3 9",
    "ZUNIONSTORE $z 2 $z $z",
    "BZPOPMAX $z $z 0",
    "XADD $x * f $v",
    "XADD $x MAXLEN 5 * f $v",
    "XGROUP CREATE $x $m $ MKSTREAM",
    "XREADGROUP GROUP $m c COUNT 3 STREAMS $x >",
    "PFADD p1 $v $v",
    "BITFIELD $k SET u8 #1 7",
    "EVAL \"redis.call('spop',KEYS[1],2) redis.call('lpush',KEYS[2],1) redis.call('del',KEYS[3])\" "
    "3 $s $l $a",
    "EVAL \"redis.call('select',2) redis.call('incr','other') redis.call('del','h0')\" 0",
    "GET $k",
    "TYPE $a",
    "RANDOMKEY",
    "EVAL \"for i=1,50 do redis.call('set',KEYS[1]..i,i) end\" 1 $k",
    "SWAPDB $D $D",
    "SELECT $D",
    "SELECT $D",
};

static const char *const flushes[] = {"FLUSHDB", "FLUSHALL", "FLUSHDB ASYNC", "SWAPDB 0 1"};

static unsigned pick(struct twin *t, uint64_t below)
{
    return (unsigned)random_below(&t->random, below);
}

static void put_letter(struct twin *t, struct buf *out, char letter)
{
    static const char kinds[] = "klshzx";
    switch (letter) {
    case 'v': buf_printf(out, pick(t, 3) ? "%u" : "<rep:y:%u>", pick(t, 90) + 1); break;
    case 'm': buf_printf(out, "m%u", pick(t, 40)); break;
    case 't': buf_printf(out, "%u", pick(t, 3000) + 1); break;
    case 'D': buf_printf(out, "%u", pick(t, 3)); break;
    case 'a':
        if (pick(t, 3) == 0)
            buf_printf(out, "many:%u", pick(t, 200));
        else
            buf_printf(out, "%c%u", kinds[pick(t, 6)], pick(t, 4));
        break;
    default: buf_printf(out, "%c%u", letter, pick(t, 4));
    }
}

static void run_template(struct twin *t, const char *template)
{
    struct buf line = {0};
    for (const char *p = template; *p; p++) {
        if (*p == '$' && isalpha((unsigned char)p[1]))
            put_letter(t, &line, *++p);
        else
            buf_append_char(&line, *p);
    }
    buf_append_char(&line, '\0');
    mem_free(twin_run_line(t, line.ptr));
    buf_free(&line);
}

static void run(struct twin *t, const char *line)
{
    char *reply = twin_run_line(t, line);
    cr_assert(!reply || *reply != '-', "%s: %s", line, reply);
    mem_free(reply);
}

static void run_random(struct twin *t)
{
    static const int64_t jumps_ms[] = {0, 1, 40, 1500};
    if (pick(t, 4) == 0) twin_pass(t, jumps_ms[pick(t, 4)], pick(t, 2));
    run_template(t, templates[pick(t, ARRAY_LEN(templates))]);
}

// Three databases with small values and big ones, of which some are saved in pieces.
static void fill(struct twin *t)
{
    static const char *const lines[] = {
        "EVAL \"for i=1,200 do redis.call('set','many:'..i,i) end\" 0",
        "EVAL \"for i=1,700 do redis.call('rpush',KEYS[1],'a value of some length '..i) end\" 1 l0",
        "EVAL \"for i=1,400 do redis.call('sadd',KEYS[1],'m'..i) end\" 1 s0",
        "EVAL \"for i=1,300 do redis.call('hset',KEYS[1],'m'..i,i) end\" 1 h0",
        "EVAL \"for i=1,300 do redis.call('hset',KEYS[1],'m'..i,i) end\" 1 h1",
        "EVAL \"for i=1,500 do redis.call('zadd',KEYS[1],i%9,'m'..i) end\" 1 z0",
        "EVAL \"for i=1,300 do redis.call('xadd',KEYS[1],'*','f',i) end\" 1 x0",
        "HPEXPIRE h1 700 FIELDS 3 m1 m2 m3",
        "SET k0 <rep:x:5000>",
    };
    for (unsigned d = 0; d < 3; d++) {
        char select[16];
        snprintf(select, sizeof select, "SELECT %u", d);
        run(t, select);
        for (size_t i = 0; i < ARRAY_LEN(lines); i++) run(t, lines[i]);
    }
    for (int i = 0; i < 60; i++) run_random(t);
}

static void write_while_walking(uint32_t shards, uint64_t seed)
{
    struct twin t;
    struct image im;
    twin_init(&t, shards, NOW_MS);
    random_seed(&t.random, seed);
    fill(&t);
    for (int round = 0; round < 2; round++) { // the mark of the second is the other one
        cut(&im, &t);
        bool is_flushing = pick(&t, 2);
        while (!walk(&im, pick(&t, 6))) {
            if (is_flushing && pick(&t, 40) == 0) run(&t, flushes[pick(&t, ARRAY_LEN(flushes))]);
            run_random(&t);
        }
        check_whole(&im);
        run_random(&t);
    }
    twin_free(&t);
}

Test(snapshot, whatever_is_done_meanwhile_what_is_saved_is_what_was_there_at_the_cut)
{
    for (uint64_t seed = 1; seed <= 7; seed++) write_while_walking(1, seed);
}

Test(snapshot, so_it_is_with_several_shards)
{
    for (uint64_t seed = 11; seed <= 16; seed++) write_while_walking(3, seed);
}

Test(snapshot, after_it_was_given_up_the_walk_saves_nothing_and_then_another_can_be_taken)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct twin t;
        struct image im;
        twin_init(&t, 2, NOW_MS);
        random_seed(&t.random, seed);
        fill(&t);
        cut(&im, &t);
        for (unsigned i = pick(&t, 40); i; i--) {
            walk(&im, 5);
            run_random(&t);
        }
        if (seed & 1) run(&t, "FLUSHALL"); // tables are kept
        size_t saved = im.saved;
        for (uint32_t i = 0; i < t.shards; i++) {
            struct part *p = &im.parts[i];
            if (p->open) rdb_writer_end(&p->writer);
            p->open = NULL;
            if (!p->is_done) snapshot_give_up(&p->snapshot);
        }
        if (seed & 2) run(&t, "FLUSHDB");
        while (!walk(&im, 5)) run_random(&t);
        cr_assert_eq(im.saved, saved);
        forget(&im);
        cut(&im, &t);
        while (!walk(&im, 10)) run_random(&t);
        check_whole(&im);
        twin_free(&t);
    }
}

// --- one at a time -------------------------------------------------------------------------------

Test(snapshot, who_writes_has_it_saved_first_and_who_reads_does_not)
{
    struct twin t;
    struct image im;
    twin_init(&t, 1, NOW_MS);
    run(&t, "MSET a 1 b 1");
    cut(&im, &t);
    run(&t, "GET a");
    cr_assert_eq(im.saved, 0);
    run(&t, "SET a 2");
    cr_assert_eq(im.saved, 1);
    run(&t, "APPEND a 3");
    run(&t, "SET new 1"); // not there at the cut
    run(&t, "DEL new");
    cr_assert_eq(im.saved, 1);
    run(&t, "PEXPIREAT b 1");
    cr_assert_eq(im.saved, 2);
    while (!walk(&im, 1)) continue;
    check_whole(&im);
    twin_free(&t);
}

Test(snapshot, a_value_that_is_half_saved_is_saved_to_its_end_before_it_changes)
{
    struct twin t;
    struct image im;
    twin_init(&t, 1, NOW_MS);
    run(&t, "EVAL \"for i=1,900 do redis.call('sadd',KEYS[1],'m'..i) end\" 1 s");
    cut(&im, &t);
    while (!im.pieces) cr_assert_not(walk(&im, 1));
    cr_assert_eq(im.saved, 0);
    run(&t, "SREM s m1 m2 m3");
    cr_assert(im.saved == 1 && im.pieces == 2);
    while (!walk(&im, 1)) continue;
    check_whole(&im);
    twin_free(&t);
}

static struct entry *entry_at(struct db *db, const char *key)
{
    return db_find(db, slice_of(key), hash_bytes(slice_of(key)));
}

Test(snapshot, a_giant_that_somebody_waits_for_is_saved_next)
{
    struct twin t;
    struct image im;
    twin_init(&t, 1, NOW_MS);
    run(&t, "EVAL \"for i=1,900 do redis.call('set','key:'..i,i) end\" 0");
    run(&t, "EVAL \"for i=1,5000 do for k=1,4 do redis.call('sadd','s'..k,'m'..i) end end\" 0");
    struct snapshot *s = &im.parts[0].snapshot;
    struct db *db = &t.engine->spaces[0]->dbs[0];
    cr_assert_not(snapshot_must_wait(db, entry_at(db, "s1")), "there is no snapshot");
    cut(&im, &t);
    cr_assert_not(snapshot_must_wait(db, entry_at(db, "key:1")), "that takes no time");
    cr_assert(snapshot_must_wait(db, entry_at(db, "s3")) && snapshot_is_awaited(s));
    while (!im.pieces) cr_assert_not(walk(&im, 1));
    cr_assert_eq(im.parts[0].open, entry_at(db, "s3"));
    cr_assert(snapshot_must_wait(db, entry_at(db, "s2")), "behind the one that is half saved");
    cr_assert(snapshot_must_wait(db, entry_at(db, "s4")) &&
              snapshot_must_wait(db, entry_at(db, "s2")));
    while (s->finished_count < 1) cr_assert_not(walk(&im, 1));
    cr_assert_not(snapshot_must_wait(db, entry_at(db, "s3")), "it is saved");
    cr_assert(im.saved == 1 && snapshot_is_awaited(s));
    while (s->finished_count < 2) cr_assert_not(walk(&im, 1));
    cr_assert_not(snapshot_must_wait(db, entry_at(db, "s2")));
    run(&t, "SREM s4 m1"); // somebody did not ask
    cr_assert(s->finished_count == 3 && im.saved == 3 && !snapshot_is_awaited(s));
    while (!walk(&im, 10)) continue;
    check_whole(&im);
    twin_free(&t);
}

Test(snapshot, a_database_that_is_flushed_is_kept_until_it_was_walked)
{
    struct twin t;
    struct image im;
    twin_init(&t, 1, NOW_MS);
    for (int round = 0; round < 2; round++) {
        run(&t, "SELECT 3");
        run(&t, "EVAL \"for i=1,50 do redis.call('set','key:'..i,i) end\" 0");
        run(&t, "EVAL \"for i=1,900 do redis.call('sadd',KEYS[1],'m'..i) end\" 1 s");
        cut(&im, &t);
        run(&t, "SWAPDB 3 5");
        run(&t, "SELECT 5");
        run(&t, "FLUSHDB");
        run(&t, "SET key:1 new");
        run(&t, "FLUSHDB");
        cr_assert_eq(im.saved, 0, "it takes no time");
        if (round == 0) {
            while (!walk(&im, 1)) continue;
            check_whole(&im);
        } else { // the end of all
            snapshot_end(&im.parts[0].snapshot);
            forget(&im);
        }
    }
    twin_free(&t);
}

// Among them the one when all has been walked but for the big value that is half saved.
Test(snapshot, a_flush_may_come_at_any_moment)
{
    bool is_done = false;
    for (int steps = 0; !is_done; steps++) {
        struct twin t;
        struct image im;
        twin_init(&t, 1, NOW_MS);
        for (int i = 0; i < 3; i++) {
            char line[96];
            snprintf(line, sizeof line,
                     "EVAL \"for i=1,300 do redis.call('sadd',KEYS[1],'m'..i) end\" 1 s%d", i);
            run(&t, line);
        }
        cut(&im, &t);
        for (int i = 0; i < steps && !is_done; i++) is_done = walk(&im, 1);
        run(&t, "FLUSHALL");
        do twin_pass(&t, 1, true); // what was flushed is freed
        while (!walk(&im, 1));
        check_whole(&im);
        twin_free(&t);
    }
}
