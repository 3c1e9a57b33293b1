// SPDX-License-Identifier: BSD-3-Clause
//
// Every write leaves behind what does it again: the commands of the differential streams, and
// random ones, run while time goes by in jumps; then their effects alone, an hour later, must make
// the same data (twin.h).
#include <criterion/criterion.h>
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/engine.h"
#include "twin.h"

#define NOW_MS 1700000000000

// --- the streams ---------------------------------------------------------------------------------

// The command of a line of a stream, or NULL.
static const char *command_of(char *line)
{
    line[strcspn(line, "\n")] = '\0';
    char *p = line;
    if (!strncmp(p, "@random ", 8)) p += 8;
    if (!strncmp(p, "~ ", 2)) p += 2;
    if (isalpha((unsigned char)p[0]) && p[1] == '>' && p[2] == ' ') p += 3;
    return *p && !strchr("#@=-", *p) ? p : NULL;
}

static void pass_some_time(struct twin *t)
{
    static const int64_t jumps_ms[] = {0, 0, 0, 1, 40, 1500, 70000};
    int64_t ms = jumps_ms[random_below(&t->random, sizeof jumps_ms / sizeof jumps_ms[0])];
    if (ms) twin_pass(t, ms, random_below(&t->random, 2));
}

static void run_stream(const char *path, uint32_t shards)
{
    FILE *f = fopen(path, "r");
    char *line = NULL, what[256] = "";
    size_t room = 0;
    struct twin t;
    cr_assert(f, "%s", path);
    twin_init(&t, shards, NOW_MS);
    while (getline(&line, &room, f) > 0) {
        if (!strncmp(line, "== ", 3)) {
            twin_check(&t, what);
            twin_free(&t);
            twin_init(&t, shards, NOW_MS);
            snprintf(what, sizeof what, "%.100s: %.100s", path, line);
            continue;
        }
        const char *command = command_of(line);
        if (!command) continue;
        pass_some_time(&t);
        mem_free(twin_run_line(&t, command));
    }
    twin_check(&t, what);
    twin_free(&t);
    free(line);
    fclose(f);
}

static void run_streams(uint32_t shards)
{
    DIR *dir = opendir(GYRE_STREAMS_DIR);
    const struct dirent *d;
    int files = 0;
    cr_assert(dir, "%s", GYRE_STREAMS_DIR);
    while ((d = readdir(dir))) {
        char path[512];
        if (!strstr(d->d_name, ".txt")) continue;
        snprintf(path, sizeof path, "%s/%s", GYRE_STREAMS_DIR, d->d_name);
        run_stream(path, shards);
        files++;
    }
    closedir(dir);
    cr_assert_gt(files, 20);
}

Test(effects, the_streams_commands_leave_all_that_they_did)
{
    run_streams(1);
}

Test(effects, the_streams_commands_leave_all_that_they_did_on_four_shards)
{
    run_streams(4);
}

// --- random commands -----------------------------------------------------------------------------
// Words in capitals are themselves; a $ and a letter stand for:
//
//   $k $l $s $h $z $x $p  a key that holds mostly a string, list, set, hash, sorted set, stream,
//                         HyperLogLog; $a: any of these
//   $v value  $f field  $m member  $i integer  $d double  $n small count  $D database
//   $t some seconds  $T some ms  $A a time in ms, past or to come  $S the same in seconds
//   $g group  $c consumer  $I stream id  $L left or right

static const char *const templates[] = {
    // strings
    "SET $k $v",
    "SET $k $v EX $t",
    "SET $k $v PX $T",
    "SET $k $v PXAT $A",
    "SET $k $v EXAT $S",
    "SET $k $v KEEPTTL",
    "SET $k $v NX PX $T",
    "SET $k $v XX EX $t GET",
    "SET $k $i GET",
    "SETEX $k $t $v",
    "PSETEX $k $T $v",
    "SETNX $k $v",
    "GETSET $k $v",
    "GETDEL $k",
    "GET $k",
    "GETEX $k",
    "GETEX $k EX $t",
    "GETEX $k PX $T",
    "GETEX $k PXAT $A",
    "GETEX $k EXAT $S",
    "GETEX $k PERSIST",
    "MSET $k $v $k $v $k $i",
    "MSETNX $k $v $k $v",
    "MGET $k $k $k",
    "APPEND $k $v",
    "SETRANGE $k $n $v",
    "INCR $k",
    "DECRBY $k $i",
    "INCRBY $k $i",
    "INCRBYFLOAT $k $d",
    "SETBIT $k $n 1",
    "BITFIELD $k SET u8 #1 $n INCRBY i5 #0 $n",
    "BITOP OR $k $k $k",
    "BITOP NOT $k $k",
    "STRLEN $k",
    // keys
    "DEL $a",
    "UNLINK $a $a $a",
    "EXISTS $a $a",
    "TYPE $a",
    "TOUCH $a",
    "RENAME $a $a",
    "RENAMENX $a $a",
    "COPY $a $a",
    "COPY $a $a REPLACE",
    "COPY $a $a DB $D REPLACE",
    "MOVE $a $D",
    "EXPIRE $a $t",
    "PEXPIRE $a $T",
    "EXPIRE $a $t NX",
    "EXPIRE $a $t GT",
    "PEXPIRE $a $T LT",
    "EXPIREAT $a $S",
    "PEXPIREAT $a $A",
    "PEXPIRE $a -5",
    "EXPIRE $a $t XX",
    "PERSIST $a",
    "TTL $a",
    "RANDOMKEY",
    "SCAN 0 COUNT 100",
    "KEYS *",
    "DBSIZE",
    "SORT $l ALPHA STORE $l",
    "SORT $s BY w_* ALPHA STORE $l",
    "SORT $l BY $h->f1 GET # GET w_* STORE $l",
    "SORT $l BY nosort GET h*->f1 STORE $l",
    "SORT $z DESC ALPHA LIMIT 0 3 STORE $l",
    // lists
    "LPUSH $l $v $v",
    "RPUSH $l $v $i",
    "RPUSH $l $v",
    "LPUSHX $l $v",
    "LPOP $l",
    "RPOP $l 2",
    "LPOP $l $n",
    "LMPOP 3 $l $l $l $L COUNT 2",
    "LMOVE $l $l $L $L",
    "RPOPLPUSH $l $l",
    "LSET $l 0 $v",
    "LINSERT $l BEFORE $v $v",
    "LREM $l 0 $v",
    "LTRIM $l 0 5",
    "LTRIM $l 1 -2",
    "BLPOP $l $l 0",
    "BRPOP $l $l 0",
    "BLMPOP 0 2 $l $l $L COUNT 3",
    "BLMOVE $l $l $L $L 0",
    "BRPOPLPUSH $l $l 0",
    // sets
    "SADD $s $m $m $m $m",
    "SADD $s $i $i",
    "SREM $s $m $m",
    "SPOP $s",
    "SPOP $s $n",
    "SPOP $s 100",
    "SMOVE $s $s $m",
    "SINTERSTORE $s $s $s",
    "SUNIONSTORE $s $s $s",
    "SDIFFSTORE $s $s $s",
    "SUNION $s $s",
    "SRANDMEMBER $s 2",
    // hashes
    "HSET $h $f $v $f $i",
    "HSET $h $f $v",
    "HMSET $h $f $v",
    "HSETNX $h $f $v",
    "HDEL $h $f $f",
    "HINCRBY $h $f $i",
    "HINCRBYFLOAT $h $f $d",
    "HGETALL $h",
    "HGET $h $f",
    "HMGET $h $f $f",
    "HLEN $h",
    "HRANDFIELD $h 2",
    "HEXPIRE $h $t FIELDS 2 $f $f",
    "HPEXPIRE $h $T FIELDS 1 $f",
    "HPEXPIRE $h $T NX FIELDS 2 $f $f",
    "HEXPIRE $h $t GT FIELDS 2 $f $f",
    "HPEXPIRE $h $T LT FIELDS 2 $f $f",
    "HEXPIRE $h 0 FIELDS 2 $f $f",
    "HPEXPIREAT $h $A FIELDS 2 $f $f",
    "HEXPIREAT $h $S FIELDS 1 $f",
    "HPERSIST $h FIELDS 2 $f $f",
    "HGETDEL $h FIELDS 2 $f $f",
    "HGETEX $h EX $t FIELDS 2 $f $f",
    "HGETEX $h PX $T FIELDS 1 $f",
    "HGETEX $h PXAT $A FIELDS 2 $f $f",
    "HGETEX $h PERSIST FIELDS 2 $f $f",
    "HSETEX $h EX $t FIELDS 1 $f $v",
    "HSETEX $h PX $T FIELDS 2 $f $v $f $v",
    "HSETEX $h FNX PX $T FIELDS 1 $f $v",
    "HSETEX $h FXX KEEPTTL FIELDS 1 $f $v",
    "HSETEX $h PXAT $A FIELDS 2 $f $v $f $v",
    "HSETEX $h KEEPTTL FIELDS 1 $f $v",
    // sorted sets
    "ZADD $z $d $m $i $m",
    "ZADD $z GT CH $d $m",
    "ZADD $z XX $d $m",
    "ZADD $z INCR $d $m",
    "ZINCRBY $z $d $m",
    "ZREM $z $m",
    "ZPOPMIN $z",
    "ZPOPMAX $z $n",
    "ZMPOP 2 $z $z MIN COUNT 2",
    "ZREMRANGEBYRANK $z 0 1",
    "ZREMRANGEBYSCORE $z 0 5",
    "ZREMRANGEBYLEX $z [a [c",
    "ZUNIONSTORE $z 2 $z $z WEIGHTS $i $d",
    "ZINTERSTORE $z 2 $z $z",
    "ZDIFFSTORE $z 2 $z $z",
    "ZRANGESTORE $z $z 0 3",
    "BZPOPMIN $z $z 0",
    "BZPOPMAX $z $z 0",
    "BZMPOP 0 2 $z $z MAX COUNT 2",
    "GEOADD $z 13.3 38.1 $m 2.3 48.8 $m",
    "GEOSEARCHSTORE $z $z FROMLONLAT 13 38 BYRADIUS 500 km",
    // streams
    "XADD $x * $f $v",
    "XADD $x * $f $v $f $v",
    "XADD $x MAXLEN 5 * $f $v",
    "XADD $x MAXLEN ~ 5 * $f $v",
    "XADD $x NOMKSTREAM MINID ~ $I LIMIT 3 * $f $v",
    "XADD $x MINID $I * $f $v",
    "XADD $x $I $f $v",
    "XTRIM $x MAXLEN ~ 3",
    "XTRIM $x MAXLEN 8",
    "XTRIM $x MINID ~ $I",
    "XDEL $x $I $I",
    "XSETID $x $I",
    "XGROUP CREATE $x $g $ MKSTREAM",
    "XGROUP CREATE $x $g 0 MKSTREAM",
    "XGROUP CREATE $x $g $I ENTRIESREAD 3",
    "XGROUP SETID $x $g $I",
    "XGROUP SETID $x $g $",
    "XGROUP CREATECONSUMER $x $g $c",
    "XGROUP DELCONSUMER $x $g $c",
    "XGROUP DESTROY $x $g",
    "XREADGROUP GROUP $g $c COUNT 3 STREAMS $x >",
    "XREADGROUP GROUP $g $c STREAMS $x $x > >",
    "XREADGROUP GROUP $g $c NOACK COUNT 2 STREAMS $x >",
    "XREADGROUP GROUP $g $c STREAMS $x 0",
    "XREADGROUP GROUP $g $c COUNT 2 BLOCK 0 STREAMS $x >",
    "XACK $x $g $I $I",
    "XCLAIM $x $g $c 0 $I $I",
    "XCLAIM $x $g $c $T $I",
    "XCLAIM $x $g $c 0 $I FORCE JUSTID",
    "XCLAIM $x $g $c 0 $I IDLE $T RETRYCOUNT 7 LASTID $I",
    "XCLAIM $x $g $c 0 $I FORCE TIME $A",
    "XAUTOCLAIM $x $g $c 0 - COUNT 2",
    "XAUTOCLAIM $x $g $c $T $I JUSTID",
    "XREAD STREAMS $x 0",
    "XADD s1 * f v",
    "XGROUP CREATE s1 g1 0 MKSTREAM",
    // HyperLogLogs
    "PFADD $p $v $v $v",
    "PFCOUNT $p",
    "PFCOUNT $p $p",
    "PFMERGE $p $p $p",
    // many keys at once, scripts, databases
    "EVAL \"redis.call('set',KEYS[1],ARGV[1],'PX',500) redis.call('spop',KEYS[2]) return "
    "redis.call('lpush',KEYS[3],ARGV[1])\" 3 $k $s $l $v",
    "EVAL \"redis.call('mset',KEYS[1],1,KEYS[2],2) redis.call('del',KEYS[3],KEYS[1])\" 3 $k $k $a",
    "EVAL \"return redis.call('xadd',KEYS[1],'*','f',ARGV[1])\" 1 $x $v",
    "EVAL \"redis.call('select',2) return redis.call('incr','other')\" 0",
    "EVAL \"redis.call('incrbyfloat',KEYS[1],'0.5') error('no')\" 1 $k",
    "FCALL fill 2 $k $s $v",
    "DEBUG POPULATE 3 $k",
    "SWAPDB $D $D",
    "SELECT $D",
};

static const char *const rare[] = {
    "FLUSHDB",
    "FLUSHALL ASYNC",
    "FUNCTION DELETE lib",
    "FUNCTION FLUSH",
    "FUNCTION LOAD REPLACE \"#!lua name=lib\\nredis.register_function('fill', function(k, a) "
    "redis.call('set', k[1], a[1], 'EX', 3) return redis.call('sadd', k[2], a[1]) end)\"",
};

// The last ids that XADD has answered, in a ring.
struct ids {
    char texts[16][44];
    unsigned count;
};

static long long pick(struct twin *t, uint64_t below)
{
    return (long long)random_below(&t->random, below);
}

static void put_key(struct twin *t, struct buf *out, char kind)
{
    static const char kinds[] = "klshzxp";
    if (kind == 'a' || pick(t, 20) == 0) kind = kinds[pick(t, sizeof kinds - 1)];
    if (kind == 'k' && pick(t, 8) == 0)
        buf_printf(out, "w_v%lld", pick(t, 6));
    else
        buf_printf(out, "%c%lld", kind, pick(t, kind == 'x' ? 2 : 4)); // groups shall be met
}

static void put_value(struct twin *t, struct buf *out)
{
    switch (pick(t, 8)) {
    case 0: buf_printf(out, "%lld", pick(t, 1000) - 500); break;
    case 1: buf_printf(out, "<rep:y:%lld>", pick(t, 200) + 1); break;
    case 2: buf_append_text(out, "\"a\\x00\\xff b\""); break;
    case 3: buf_append_text(out, "\"\""); break;
    default: buf_printf(out, "v%lld", pick(t, 6));
    }
}

static void put_id(struct twin *t, struct buf *out, const struct ids *ids)
{
    unsigned known = ids->count < 16 ? ids->count : 16;
    if (known && pick(t, 4))
        buf_append_text(out, ids->texts[pick(t, known)]);
    else
        buf_printf(out, "<nowms%+lld>-%lld", -pick(t, 30000), pick(t, 2));
}

static void note_id(struct ids *ids, const char *command, const char *reply)
{
    if (!reply || strncmp(command, "XADD", 4) != 0 || *reply != '$') return;
    if (sscanf(reply, "$%*d\r\n%43[0-9-]", ids->texts[ids->count % 16]) == 1) ids->count++;
}

static void put_letter(struct twin *t, struct buf *out, char letter, const struct ids *ids)
{
    switch (letter) {
    case 'v': put_value(t, out); break;
    case 'f': buf_printf(out, "f%lld", pick(t, 8)); break;
    case 'm': buf_printf(out, "m%lld", pick(t, 12)); break;
    case 'i': buf_printf(out, "%lld", pick(t, 40) - 10); break;
    case 'd': buf_printf(out, "%lld.%lld", pick(t, 9) - 3, pick(t, 100)); break;
    case 'n': buf_printf(out, "%lld", pick(t, 7)); break;
    case 'D': buf_printf(out, "%lld", pick(t, 3)); break;
    case 't': buf_printf(out, "%lld", pick(t, 90) + 1); break;
    case 'T': buf_printf(out, "%lld", pick(t, 3000) + 1); break;
    case 'A': buf_printf(out, "<nowms%+lld>", pick(t, 4000) - 1000); break;
    case 'S': buf_printf(out, "<now%+lld>", pick(t, 100) - 10); break;
    case 'g': buf_printf(out, "g%lld", pick(t, 2)); break;
    case 'c': buf_printf(out, "c%lld", pick(t, 3)); break;
    case 'I': put_id(t, out, ids); break;
    case 'L': buf_append_text(out, pick(t, 2) ? "LEFT" : "RIGHT"); break;
    default: put_key(t, out, letter);
    }
}

static void put_command(struct twin *t, struct buf *out, const char *template,
                        const struct ids *ids)
{
    out->len = 0;
    for (const char *p = template; *p; p++) {
        if (*p == '$' && isalpha((unsigned char)p[1]))
            put_letter(t, out, *++p, ids);
        else
            buf_append_char(out, *p);
    }
    buf_append_char(out, '\0');
}

// Most come from one part of the list, so that they meet what others of their kind have left.
static const char *choose(struct twin *t, size_t part)
{
    enum { PART = 36 };
    size_t all = sizeof templates / sizeof templates[0];
    if (pick(t, 100) == 0) return rare[pick(t, sizeof rare / sizeof rare[0])];
    if (pick(t, 5) == 0) return templates[pick(t, all)];
    return templates[(part + (size_t)pick(t, PART)) % all];
}

static void run_random(uint32_t shards, uint64_t seed, int commands)
{
    struct twin t;
    struct buf line = {0};
    struct ids ids = {.count = 0};
    twin_init(&t, shards, NOW_MS);
    random_seed(&t.random, seed);
    size_t part = (size_t)pick(&t, 1000);
    for (int i = 0; i < commands; i++) {
        if (pick(&t, 4) == 0) pass_some_time(&t);
        put_command(&t, &line, choose(&t, part), &ids);
        char *reply = twin_run_line(&t, line.ptr);
        note_id(&ids, line.ptr, reply);
        mem_free(reply);
    }
    char what[64];
    snprintf(what, sizeof what, "seed %llu", (unsigned long long)seed);
    twin_check(&t, what);
    buf_free(&line);
    twin_free(&t);
}

static uint64_t first_seed(void)
{
    const char *seed = getenv("GYRE_TEST_SEED");
    return seed ? strtoull(seed, NULL, 10) : 1;
}

// GYRE_TEST_SEED: other commands than always.
Test(effects, random_commands_leave_all_that_they_did)
{
    for (uint64_t i = 0; i < 40; i++) run_random(1, first_seed() + i, 600);
}

Test(effects, random_commands_leave_all_that_they_did_on_four_shards)
{
    for (uint64_t i = 0; i < 40; i++) run_random(4, first_seed() + i, 600);
}

// --- word for word -------------------------------------------------------------------------------

// Runs the line; its effects must be `want`, each ended by a newline, "0/0: " left out.
static void check(struct twin *t, const char *file, int at, const char *line, const char *want)
{
    t->journal.len = 0;
    mem_free(twin_run_line(t, line));
    char *said = twin_journal_text(t, 100), *p;
    while (t->shards == 1 && (p = strstr(said, "0/0: "))) memmove(p, p + 5, strlen(p + 5) + 1);
    cr_assert_str_eq(said, want, "%s:%d: %s\nwant %s\ngot  %s", file, at, line, want, said);
    mem_free(said);
}

#define SAYS(t, line, want) check((t), __FILE__, __LINE__, (line), (want))

Test(effects, what_always_does_the_same_speaks_for_itself)
{
    struct twin t;
    twin_init(&t, 1, NOW_MS);
    SAYS(&t, "set k v", "set k v\n");
    SAYS(&t, "SET k v NX", "");
    SAYS(&t, "SET k v KEEPTTL", "SET k v KEEPTTL\n");
    SAYS(&t, "GET k", "");
    SAYS(&t, "MSET a 1 b 2", "MSET a 1 b 2\n");
    SAYS(&t, "DEL nope", "");
    SAYS(&t, "RENAME a c", "RENAME a c\n");
    SAYS(&t, "LPUSH l a b", "LPUSH l a b\n");
    SAYS(&t, "LPOP l", "LPOP l\n");
    SAYS(&t, "LPUSH k a", "");
    SAYS(&t, "FLUSHALL", "FLUSHALL\n");
    twin_free(&t);
}

Test(effects, times_are_absolute)
{
    struct twin t;
    twin_init(&t, 1, NOW_MS);
    SAYS(&t, "SET k v EX 10", "SET k v PXAT 1700000010000\n");
    SAYS(&t, "SET k w XX GET PX 5", "SET k w PXAT 1700000000005\n");
    SAYS(&t, "SETEX k 1 v", "SET k v PXAT 1700000001000\n");
    SAYS(&t, "EXPIRE k 1", "PEXPIREAT k 1700000001000\n");
    SAYS(&t, "EXPIRE k 1 GT", "");
    SAYS(&t, "GETEX k", "");
    SAYS(&t, "GETEX k EX 3", "PEXPIREAT k 1700000003000\n");
    SAYS(&t, "GETEX k PERSIST", "PERSIST k\n");
    SAYS(&t, "GETEX k EXAT 1", "DEL k\n");
    SAYS(&t, "SET k v", "SET k v\n");
    SAYS(&t, "PEXPIRE k -1", "DEL k\n");
    SAYS(&t, "EXPIRE k 1", "");
    SAYS(&t, "HSET h a 1 b 2 c 3", "HSET h a 1 b 2 c 3\n");
    SAYS(&t, "HEXPIRE h 1 FIELDS 2 a x", "HPEXPIREAT h 1700000001000 FIELDS 2 a x\n");
    SAYS(&t, "HEXPIRE h 9 XX FIELDS 1 b", "");
    SAYS(&t, "HPEXPIRE h 0 FIELDS 2 b x", "HDEL h b\n");
    SAYS(&t, "HGETEX h PX 7 FIELDS 1 c", "HPEXPIREAT h 1700000000007 FIELDS 1 c\n");
    SAYS(&t, "HGETEX h EX 0 FIELDS 1 c", "HDEL h c\n");
    SAYS(&t, "HSETEX h FNX EX 1 FIELDS 1 d 4", "HSETEX h PXAT 1700000001000 FIELDS 1 d 4\n");
    SAYS(&t, "HSETEX h PXAT 1 FIELDS 1 e 5", "HDEL h e\n");
    twin_free(&t);
}

Test(effects, what_expires_is_told_before_what_the_command_did)
{
    struct twin t;
    twin_init(&t, 1, NOW_MS);
    SAYS(&t, "SET k v PX 5", "SET k v PXAT 1700000000005\n");
    SAYS(&t, "HSETEX h PX 5 FIELDS 2 a 1 b 2", "HSETEX h PXAT 1700000000005 FIELDS 2 a 1 b 2\n");
    SAYS(&t, "HSET h c 3", "HSET h c 3\n");
    twin_pass(&t, 10, false);
    SAYS(&t, "INCR k", "DEL k\nINCR k\n");
    SAYS(&t, "HGET h a", "HDEL h a\n");
    SAYS(&t, "HINCRBY h b 1", "HDEL h b\nHINCRBY h b 1\n");
    SAYS(&t, "HGETALL h", "");
    SAYS(&t, "SET k v PX 5", "SET k v PXAT 1700000000015\n");
    SAYS(&t, "HPEXPIRE h 5 FIELDS 1 b", "HPEXPIREAT h 1700000000015 FIELDS 1 b\n");
    t.journal.len = 0;
    twin_pass(&t, 10, true);
    char *said = twin_journal_text(&t, 10);
    cr_assert_str_eq(said, "0/0: DEL k\n0/0: HDEL h b\n");
    mem_free(said);
    twin_free(&t);
}

Test(effects, what_chance_and_sums_came_to_is_told)
{
    struct twin t;
    twin_init(&t, 1, NOW_MS);
    SAYS(&t, "SADD s a", "SADD s a\n");
    SAYS(&t, "SPOP s", "SREM s a\n");
    SAYS(&t, "SPOP s", "");
    SAYS(&t, "SADD s a b", "SADD s a b\n");
    SAYS(&t, "SPOP s 5", "DEL s\n");
    SAYS(&t, "INCRBYFLOAT k 1.5", "SET k 1.5 KEEPTTL\n");
    SAYS(&t, "HINCRBYFLOAT h f 1.5", "HSET h f 1.5\n");
    SAYS(&t, "HPEXPIREAT h 1800000000000 FIELDS 1 f", "HPEXPIREAT h 1800000000000 FIELDS 1 f\n");
    SAYS(&t, "HINCRBYFLOAT h f 1.5", "HSETEX h KEEPTTL FIELDS 1 f 3\n");
    SAYS(&t, "DEBUG POPULATE 2 p 3", "SET p:0 val\nSET p:1 val\n");
    SAYS(&t, "PFADD l a", "PFADD l a\n");
    SAYS(&t, "PFCOUNT l", "PFCOUNT l\n");
    SAYS(&t, "PFCOUNT l", "");
    twin_free(&t);
}

Test(effects, who_pops_says_from_where_and_who_waited_too)
{
    struct twin t;
    twin_init(&t, 1, NOW_MS);
    SAYS(&t, "RPUSH b 1 2 3 4 5", "RPUSH b 1 2 3 4 5\n");
    SAYS(&t, "LMPOP 2 a b LEFT COUNT 2", "LPOP b 2\n");
    SAYS(&t, "BRPOP a b 0", "RPOP b 1\n");
    SAYS(&t, "BLMOVE b c LEFT RIGHT 0", "LMOVE b c LEFT RIGHT\n");
    SAYS(&t, "BLMPOP 0 2 a b RIGHT COUNT 9", "RPOP b 1\n");
    SAYS(&t, "BLPOP a b 0", "");
    SAYS(&t, "RPUSH b 6 7", "RPUSH b 6 7\nLPOP b 1\n");
    SAYS(&t, "BRPOPLPUSH a c 0", "");
    SAYS(&t, "RPUSH a 8", "RPUSH a 8\nLMOVE a c RIGHT LEFT\n");
    SAYS(&t, "BZPOPMAX y z 0", "");
    SAYS(&t, "ZADD z 1 m", "ZADD z 1 m\nZPOPMAX z 1\n");
    SAYS(&t, "XGROUP CREATE x g $ MKSTREAM", "XGROUP CREATE x g $ MKSTREAM\n");
    SAYS(&t, "XREADGROUP GROUP g c BLOCK 0 STREAMS x >", "XGROUP CREATECONSUMER x g c\n");
    SAYS(&t, "XADD x * f v",
         "XADD x 1700000000000-0 f v\n"
         "XCLAIM x g c 0 1700000000000-0 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID\n"
         "XGROUP SETID x g 1700000000000-0 ENTRIESREAD 1\n");
    twin_free(&t);
}

Test(effects, streams_tell_ids_lengths_and_deliveries)
{
    struct twin t;
    twin_init(&t, 1, NOW_MS);
    SAYS(&t, "XADD x 1-1 f v", "XADD x 1-1 f v\n");
    SAYS(&t, "XADD x 1-* f v", "XADD x 1-2 f v\n");
    SAYS(&t, "XADD x MAXLEN 2 NOMKSTREAM 2 f v", "XADD x MAXLEN 2 2-0 f v\n");
    SAYS(&t, "XADD x MAXLEN ~ 2 3 f v", "XADD x 3-0 f v\n");
    SAYS(&t, "XTRIM x MINID 2", "XTRIM x MAXLEN 2\n");
    SAYS(&t, "XTRIM x MINID 2", "");
    SAYS(&t, "XADD x 4 f v", "XADD x 4-0 f v\n");
    SAYS(&t, "XGROUP CREATE x g 0", "XGROUP CREATE x g 0\n");
    SAYS(&t, "XREADGROUP GROUP g c COUNT 2 STREAMS x >",
         "XGROUP CREATECONSUMER x g c\n"
         "XCLAIM x g c 0 2-0 3-0 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID\n"
         "XGROUP SETID x g 3-0 ENTRIESREAD 4\n");
    SAYS(&t, "XREADGROUP GROUP g c NOACK STREAMS x >", "XGROUP SETID x g 4-0 ENTRIESREAD 5\n");
    SAYS(&t, "XDEL x 2-0", "XDEL x 2-0\n");
    SAYS(&t, "XCLAIM x g d 0 2-0 3-0 LASTID 7 RETRYCOUNT 5",
         "XGROUP CREATECONSUMER x g d\n"
         "XGROUP SETID x g 7-0 ENTRIESREAD 5\n"
         "XACK x g 2-0\n"
         "XCLAIM x g d 0 3-0 TIME 1700000000000 RETRYCOUNT 5 FORCE JUSTID\n");
    SAYS(&t, "XCLAIM x g d 5000 3-0", "");
    twin_pass(&t, 10, false);
    SAYS(&t, "XAUTOCLAIM x g c 5 0 JUSTID",
         "XCLAIM x g c 0 3-0 TIME 1700000000010 RETRYCOUNT 5 FORCE JUSTID\n");
    twin_free(&t);
}

// Restores `from` as `to`.
static void restore(struct twin *t, const char *to, const char *from, const char *ttl, bool is_abs)
{
    struct slice dump[] = {SLICE("DUMP"), slice_of(from)};
    char *payload = twin_run(t, 2, dump);
    size_t len = strtoul(payload + 1, NULL, 10);
    const char *bytes = strchr(payload, '\n') + 1;
    struct slice argv[] = {SLICE("RESTORE"), slice_of(to),     slice_of(ttl),
                           {bytes, len},     SLICE("REPLACE"), SLICE("ABSTTL")};
    char *reply = twin_run(t, is_abs ? 6 : 5, argv);
    cr_assert_str_eq(reply, "+OK\r\n");
    mem_free(reply);
    mem_free(payload);
}

Test(effects, what_is_restored_expires_when_it_shall)
{
    struct twin t;
    twin_init(&t, 1, NOW_MS);
    mem_free(twin_run_line(&t, "RPUSH l 1 2 3"));
    restore(&t, "a", "l", "0", false);
    restore(&t, "b", "l", "5000", false);
    restore(&t, "c", "l", "1700000005000", true);
    restore(&t, "d", "l", "5000", false);
    restore(&t, "d", "l", "1", true); // over already
    twin_check(&t, "RESTORE");
    twin_free(&t);
}

// {a} lies on shard 3 of four, {c} on shard 1.
Test(effects, every_shard_gets_its_part)
{
    struct twin t;
    twin_init(&t, 4, NOW_MS);
    mem_free(twin_run_line(&t, "SADD {c}1 m n"));
    mem_free(twin_run_line(&t, "RPUSH {c}2 m n"));
    SAYS(&t, "SMOVE {c}1 {a}1 m", "1/0: SREM {c}1 m\n+3/0: SADD {a}1 m\n");
    SAYS(&t, "RPOPLPUSH {c}2 {a}2", "1/0: RPOP {c}2\n+3/0: LPUSH {a}2 n\n");
    mem_free(twin_run_line(&t, "SET {a}3 v PX 5"));
    SAYS(&t, "RENAME {a}3 {c}3", "1/0: SET {c}3 v PXAT 1700000000005\n+3/0: DEL {a}3\n");
    SAYS(&t, "BLPOP {a}9 {c}8 0", "");
    SAYS(&t, "RPUSH {c}8 q", "1/0: RPUSH {c}8 q\n1/0: LPOP {c}8 1\n");
    SAYS(&t, "EVAL \"redis.call('mset',KEYS[1],1,KEYS[2],2,KEYS[1],3)\" 2 {a}1 {c}1",
         "1/0: SET {c}1 2\n+3/0: SET {a}1 3\n");
    SAYS(&t, "EVAL \"redis.call('mset',KEYS[1],1,KEYS[2],2)\" 2 {a}1 {a}2",
         "3/0: mset {a}1 1 {a}2 2\n");
    SAYS(&t, "FLUSHDB", "0/0: FLUSHDB\n+1/0: FLUSHDB\n+2/0: FLUSHDB\n+3/0: FLUSHDB\n");
    SAYS(&t, "FUNCTION FLUSH", "0/0: FUNCTION FLUSH\n");
    twin_free(&t);
}
