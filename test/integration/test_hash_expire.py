# SPDX-License-Identifier: BSD-3-Clause
"""Fields of hashes that expire: what redis-server 7.0 does not know, from the documentation of 7.4 and 8.0.

A line here is a command and, after `-->`, the reply as harness.show writes it. <now+10>, <nowms-5> and
<rep:x:3> stand for what they do in streams/*.txt.
"""

import contextlib
import re
import time

from differential import split_words
from harness import PATIENCE, STANDIN, Failure, R, bulk, info, integer, show, wait_for
from runner import test

ENCODINGS = dict(encoding=("listpackex", "hashtable"), threads=(1, 4))
_MARK = re.compile(rb"<(?:(now|nowms)([+-]\d+)|rep:(.):(\d+))>")


def gyre_only():
    return "redis-server 7.0 has no fields that expire" if STANDIN else None


@contextlib.contextmanager
def hashes(t, threads, encoding="listpackex", is_active=True, resp=2):
    """A connection to a server that keeps expiring hashes in this encoding."""
    server = t.gyre(threads=threads)  # emptied
    conn = t.connect(server, resp=resp)
    conn.cmd("CONFIG", "SET", "hash-max-listpack-entries", 512 if encoding == "listpackex" else 0)
    conn.cmd("DEBUG", "SET-ACTIVE-EXPIRE", int(is_active))
    try:
        yield conn
    finally:
        conn.cmd("CONFIG", "SET", "hash-max-listpack-entries", 512)
        conn.cmd("DEBUG", "SET-ACTIVE-EXPIRE", 1)


def _expanded(mark):
    unit, offset, char, count = mark.groups()
    if char:
        return char * int(count)
    return b"%d" % (int(time.time() * (1 if unit == b"now" else 1000)) + int(offset))


def says(t, conn, text):
    """Runs the lines of text and compares the replies."""
    for line in filter(None, map(str.strip, text.splitlines())):
        command, _, want = line.partition(" --> ")
        got = conn.cmd(*(_MARK.sub(_expanded, word) for word in split_words(command)))
        if want:
            t.equal(show(got), want, command)
        elif got.is_error():
            raise Failure(f"{command}: {show(got)}")


def numbers(reply):
    return [r.value for r in reply.value]


# ---- HEXPIRE and its kin


@test("HEXPIRE answers -2, 0, 1 or 2 for each field", needs=gyre_only, **ENCODINGS)
def outcomes(t, encoding, threads):
    with hashes(t, threads, encoding) as conn:
        says(
            t,
            conn,
            """
            HEXPIRE h 100 FIELDS 2 a b --> [:-2, :-2]
            HSET h a 1 b 2 c 3
            HEXPIRE h 100 FIELDS 3 a nope b --> [:1, :-2, :1]
            HEXPIRE h 100 NX FIELDS 3 a c nope --> [:0, :1, :-2]
            HPERSIST h FIELDS 1 c --> [:1]
            HEXPIRE h 100 XX FIELDS 2 a c --> [:1, :0]
            HEXPIRE h 90 GT FIELDS 2 a c --> [:0, :0]
            HEXPIRE h 200 gt FIELDS 2 a c --> [:1, :0]
            HEXPIRE h 300 LT FIELDS 2 a c --> [:0, :1]
            HEXPIRE h 50 lt fields 2 a c --> [:1, :1]
            HTTL h FIELDS 3 a b c --> [:50, :100, :50]
            HEXPIREAT h <now+1000> FIELDS 2 a a --> [:1, :1]
            HPEXPIRE h 7000 FIELDS 1 b --> [:1]
            HPEXPIREAT h <nowms+9000> FIELDS 1 c --> [:1]
            HTTL h FIELDS 2 b c --> [:7, :9]
            HLEN h --> :3
            """,
        )
        t.equal(conn.cmd("OBJECT", "ENCODING", "h"), bulk(encoding))


@test("a time that is over removes the field, and the last one the key", needs=gyre_only, **ENCODINGS)
def past(t, encoding, threads):
    with hashes(t, threads, encoding) as conn:
        says(
            t,
            conn,
            """
            HSET h a 1 b 2 d 4
            HEXPIRE h 1000 FIELDS 1 d
            HPEXPIREAT h <nowms-1000> NX FIELDS 4 a b nope d --> [:2, :2, :-2, :0]
            HKEYS h --> ['d']
            HEXPIREAT h 0 LT FIELDS 2 d d --> [:2, :-2]
            EXISTS h --> :0
            HSET h a 1
            HPEXPIRE h 0 XX FIELDS 1 a --> [:0]
            HPEXPIRE h 0 GT FIELDS 1 a --> [:0]
            HPEXPIRE h 0 NX FIELDS 2 a a --> [:2, :-2]
            TYPE h --> +none
            """,
        )


ERRORS = """
HEXPIRE h --> -ERR wrong number of arguments for 'hexpire' command
HEXPIRE h 1 FIELDS 1 --> -ERR wrong number of arguments for 'hexpire' command
HEXPIRE h x FIELDS 1 a --> -ERR value is not an integer or out of range
HEXPIRE h 9223372036854775808 FIELDS 1 a --> -ERR value is not an integer or out of range
HEXPIRE h -1 FIELDS 1 a --> -ERR invalid expire time, must be >= 0
HPEXPIREAT h -9223372036854775808 FIELDS 1 a --> -ERR invalid expire time, must be >= 0
HEXPIRE h 9223372036854775807 FIELDS 1 a --> -ERR invalid expire time in 'hexpire' command
HPEXPIRE h 9223372036854775807 FIELDS 1 a --> -ERR invalid expire time in 'hpexpire' command
HEXPIREAT h 70368744178 FIELDS 1 a --> -ERR invalid expire time in 'hexpireat' command
HPEXPIREAT h 70368744177664 FIELDS 1 a --> -ERR invalid expire time in 'hpexpireat' command
HPEXPIREAT h 70368744177663 FIELDS 1 a --> [:1]
HEXPIREAT h 70368744177 FIELDS 1 a --> [:1]
HPERSIST h FIELDS 1 a --> [:1]
HEXPIRE h 1 NOPE 1 a --> -ERR Mandatory argument FIELDS is missing or not at the right position
HEXPIRE h 1 NX XX FIELDS 1 a --> -ERR Mandatory argument FIELDS is missing or not at the right position
HEXPIRE h 1 NX FIELDS 1 --> -ERR The `numfields` parameter must match the number of arguments
HEXPIRE h 1 NX 1 FIELDS --> -ERR Mandatory argument FIELDS is missing or not at the right position
HEXPIRE h 1 FIELDS 0 a --> -ERR Parameter `numFields` should be greater than 0
HEXPIRE h 1 FIELDS -1 a --> -ERR Parameter `numFields` should be greater than 0
HEXPIRE h 1 FIELDS x a --> -ERR Parameter `numFields` should be greater than 0
HEXPIRE h 1 FIELDS 2 a --> -ERR The `numfields` parameter must match the number of arguments
HEXPIRE h 1 FIELDS 1 a b --> -ERR The `numfields` parameter must match the number of arguments
HTTL h FIELDS 1 --> -ERR wrong number of arguments for 'httl' command
HTTL h NOPE 1 a --> -ERR Mandatory argument FIELDS is missing or not at the right position
HTTL h FIELDS 0 a --> -ERR Number of fields must be a positive integer
HPTTL h FIELDS x a --> -ERR Number of fields must be a positive integer
HEXPIRETIME h FIELDS 2 a --> -ERR The `numfields` parameter must match the number of arguments
HPEXPIRETIME h FIELDS 1 a b --> -ERR The `numfields` parameter must match the number of arguments
HPERSIST h FIELDS 1 --> -ERR wrong number of arguments for 'hpersist' command
HPERSIST h FIELDS 3 a b --> -ERR The `numfields` parameter must match the number of arguments
HPERSIST h FIELDS -3 a b --> -ERR Number of fields must be a positive integer
HGETDEL h FIELDS 1 --> -ERR wrong number of arguments for 'hgetdel' command
HGETDEL h NOPE 1 a --> -ERR Mandatory argument FIELDS is missing or not at the right position
HGETDEL h FIELDS 0 a --> -ERR Number of fields must be a positive integer
HGETDEL h FIELDS 2 a --> -ERR The `numfields` parameter must match the number of arguments
HGETEX h FIELDS 1 --> -ERR wrong number of arguments for 'hgetex' command
HGETEX h NOPE 1 a --> -ERR Mandatory argument FIELDS is missing or not at the right position
HGETEX h PXAT 1 1 --> -ERR Mandatory argument FIELDS is missing or not at the right position
HGETEX h PERSIST 1 FIELDS 1 a --> -ERR Mandatory argument FIELDS is missing or not at the right position
HGETEX h EX 10 FIELDS --> -ERR wrong number of arguments for 'hgetex' command
HGETEX h FIELDS 9223372036854775808 a --> -ERR Number of fields must be a positive integer
HGETEX h FIELDS 2 a --> -ERR The `numfields` parameter must match the number of arguments
HGETEX h EX x FIELDS 1 a --> -ERR value is not an integer or out of range
HGETEX h PX -1 FIELDS 1 a --> -ERR invalid expire time, must be >= 0
HGETEX h EX 281474976710656 FIELDS 1 a --> -ERR invalid expire time in 'hgetex' command
HSETEX h FIELDS 1 a --> -ERR wrong number of arguments for 'hsetex' command
HSETEX h FIELDS 2 a b --> -ERR wrong number of arguments for 'hsetex' command
HSETEX h FIELDS 2 a b c --> -ERR wrong number of arguments for 'hsetex' command
HSETEX h FIELDS 1 a b unknown --> -ERR wrong number of arguments for 'hsetex' command
HSETEX h FIELDS 0 a b --> -ERR invalid number of fields
HSETEX h FIELDS x a b --> -ERR invalid number of fields
HSETEX h nx FIELDS 1 a b --> -ERR unknown argument: nx
HSETEX h EXAT 100 1 a b --> -ERR unknown argument: 1
HSETEX h FNX FXX FIELDS 1 a b --> -ERR Only one of FXX or FNX arguments can be specified
HSETEX h fxx fxx FIELDS 1 a b --> -ERR Only one of FXX or FNX arguments can be specified
HSETEX h EX 1 PX 1 FIELDS 1 a b --> -ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified
HSETEX h EX 1 KEEPTTL FIELDS 1 a b --> -ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified
HSETEX h KEEPTTL KEEPTTL FIELDS 1 a b --> -ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified
HSETEX h EX FIELDS 1 a b --> -ERR value is not an integer or out of range
HSETEX h FNX KEEPTTL FNX EX --> -ERR Only one of FXX or FNX arguments can be specified
HSETEX h FNX EX 1 PERSIST --> -ERR unknown argument: PERSIST
HSETEX h EXAT -1 FIELDS 1 a b --> -ERR invalid expire time, must be >= 0
HSETEX h EXAT 281474976710656 FIELDS 1 a b --> -ERR invalid expire time in 'hsetex' command
HGETALL h --> ['a', '1']
"""


@test("wrong arguments are refused as documented, and change nothing", needs=gyre_only, **ENCODINGS)
def errors(t, encoding, threads):
    with hashes(t, threads, encoding) as conn:
        conn.cmd("HSET", "h", "a", "1")
        says(t, conn, ERRORS)


@test("a key of another type is refused first", threads=(1, 4), needs=gyre_only)
def wrong_type(t, threads):
    with hashes(t, threads) as conn:
        conn.cmd("SET", "s", "x")
        for line in """HEXPIRE s x FIELDS 1 a|HPEXPIRE s 1 FIELDS 1 a|HEXPIREAT s 1 FIELDS 1 a|HPEXPIREAT s 1 FIELDS 1 a
            HTTL s FIELDS 0 a|HPTTL s NOPE 1 a|HEXPIRETIME s FIELDS 1 a|HPEXPIRETIME s FIELDS 1 a|HPERSIST s FIELDS 1 a
            HGETDEL s FIELDS 1 a|HGETEX s EX x FIELDS 1 a|HSETEX s FIELDS 1 a b""".replace("\n", "|").split("|"):
            t.match(conn.cmd(*line.split()).text(), "WRONGTYPE .*")


# ---- asking


@test("HTTL and its kin say when fields expire", needs=gyre_only, **ENCODINGS)
def asking(t, encoding, threads):
    with hashes(t, threads, encoding) as conn:
        at_ms = int((time.time() + 1000) * 1000)
        says(t, conn, "HTTL h FIELDS 2 a b --> [:-2, :-2]")
        conn.cmd("HSET", "h", "a", "1", "b", "2")
        t.equal(conn.cmd("HPEXPIREAT", "h", at_ms, "FIELDS", 1, "a"), R("*", [integer(1)]))
        for command in ("HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME"):
            got = numbers(conn.cmd(command, "h", "FIELDS", 3, "a", "b", "nope"))
            t.equal(got[1:], [-1, -2], command)
            if command == "HPEXPIRETIME":
                t.equal(got[0], at_ms)
            elif command == "HEXPIRETIME":
                t.equal(got[0], -(-at_ms // 1000))  # rounded up
            else:
                low, high = (990, 1000) if command == "HTTL" else (990_000, 1_000_000)
                t.equal(low <= got[0] <= high, True, f"{command}: {got[0]}")


# ---- what happens to an expiry


@test("an expiry goes with HSET, stays with HINCRBY, and HPERSIST takes it away", needs=gyre_only, **ENCODINGS)
def kept(t, encoding, threads):
    with hashes(t, threads, encoding) as conn:
        says(
            t,
            conn,
            """
            HSET h a 1 b 2 c 3 d 4 e 5
            HEXPIRE h 100 FIELDS 5 a b c d e
            HSET h a 9 --> :0
            HMSET h b 9
            HINCRBY h c 1 --> :4
            HINCRBYFLOAT h d 0.5 --> '4.5'
            HSETNX h e 9 --> :0
            HTTL h FIELDS 5 a b c d e --> [:-1, :-1, :100, :100, :100]
            HPERSIST h FIELDS 4 c c a nope --> [:1, :-1, :-1, :-2]
            HTTL h FIELDS 1 c --> [:-1]
            HPERSIST nokey FIELDS 2 a b --> [:-2, :-2]
            HDEL h d --> :1
            HSET h d 1 --> :1
            HTTL h FIELDS 1 d --> [:-1]
            HINCRBY h c <rep:1:18> --> :111111111111111115
            HINCRBY h e 123456789012 --> :123456789017
            HTTL h FIELDS 2 c e --> [:-1, :100]
            """,
        )


@test("copies, renamed and moved hashes keep their fields' expiries", needs=gyre_only, **ENCODINGS)
def moved(t, encoding, threads):
    with hashes(t, threads, encoding) as conn:
        for i in range(8):  # over the shards
            says(
                t,
                conn,
                f"""
                HSET h{i} a 1 b 2
                HPEXPIRE h{i} 1000 FIELDS 1 a
                COPY h{i} copy{i} --> :1
                RENAME h{i} renamed{i} --> +OK
                COPY renamed{i} moved{i} --> :1
                MOVE moved{i} 1 --> :1
                HLEN renamed{i} --> :2
                """,
            )
        for i in range(8):
            for key in (f"copy{i}", f"renamed{i}"):
                wait_for(lambda: conn.cmd("HLEN", key) == integer(1), f"{key} loses a field")
                t.equal(show(conn.cmd("HGETALL", key)), "['b', '2']")
        conn.cmd("SELECT", 1)
        for i in range(8):
            wait_for(lambda: conn.cmd("HLEN", f"moved{i}") == integer(1), f"moved{i} loses a field")
        conn.cmd("SWAPDB", 1, 2)
        conn.cmd("HSET", "x", "a", "1")
        conn.cmd("HPEXPIRE", "x", 50, "FIELDS", 1, "a")
        conn.cmd("SWAPDB", 1, 3)
        conn.cmd("SELECT", 3)
        wait_for(lambda: conn.cmd("EXISTS", "x") == integer(0), "x expires after SWAPDB")


@test("DUMP and RESTORE keep the expiries", needs=gyre_only, **ENCODINGS)
def dumped(t, encoding, threads):
    with hashes(t, threads, encoding) as conn:
        says(t, conn, "HSET h a 1 b 2 c 3\nHEXPIREAT h 2524600800 FIELDS 1 a\nHEXPIREAT h 2524600801 FIELDS 1 b")
        payload = conn.cmd("DUMP", "h").value
        t.equal(show(conn.cmd("RESTORE", "k", 0, payload)), "+OK")
        says(
            t,
            conn,
            """
            HEXPIRETIME k FIELDS 3 a b c --> [:2524600800, :2524600801, :-1]
            HMGET k a b c --> ['1', '2', '3']
            """,
        )
        t.equal(conn.cmd("OBJECT", "ENCODING", "k"), bulk(encoding))


# ---- dying


@test("fields that are due are not to be seen, and who asks takes them out", needs=gyre_only, **ENCODINGS)
def lazily(t, encoding, threads):
    with hashes(t, threads, encoding, is_active=False) as conn:
        due = ("h", "all", "del", "incr", "nx", "scan", "rand", "setex")
        for key in due:
            conn.cmd("HSET", key, "a", "1", "b", "2", "c", "3")
            conn.cmd("HPEXPIRE", key, 1, "FIELDS", 2, "a", "b")
        conn.cmd("HPEXPIRE", "all", 1, "FIELDS", 1, "c")
        time.sleep(0.02)
        before = int(info(conn)["expired_subkeys"])
        says(
            t,
            conn,
            """
            HLEN h --> :3
            HGETALL h --> ['c', '3']
            HKEYS h --> ['c']
            HVALS h --> ['3']
            HSCAN scan 0 --> ['0', ['c', '3']]
            HLEN h --> :3
            HGET h a --> (null bulk)
            HLEN h --> :2
            HMGET h a b c --> [(null bulk), (null bulk), '3']
            HLEN h --> :1
            EXISTS all --> :1
            HGETALL all --> []
            HEXISTS all a --> :0
            HSTRLEN all b --> :0
            HTTL all FIELDS 1 c --> [:-2]
            EXISTS all --> :0
            HDEL del a nope --> :1
            HINCRBY incr a 5 --> :5
            HINCRBYFLOAT incr b 5 --> '5'
            HTTL incr FIELDS 2 a b --> [:-1, :-1]
            HSETNX nx a x --> :1
            HEXPIRE nx 100 FIELDS 2 a b --> [:1, :-2]
            HRANDFIELD rand 5 --> ['c']
            HLEN rand --> :1
            HSETEX setex FXX FIELDS 1 a x --> :0
            HSETEX setex FNX FIELDS 2 a x b y --> :1
            HLEN setex --> :3
            """,
        )
        # h 2, all 3, incr 2, nx 2, rand 2, setex 2 (a with FXX, b with FNX)
        t.equal(int(info(conn)["expired_subkeys"]) - before, 13)


@test("fields die by themselves, and hashes with their last field", needs=gyre_only, **ENCODINGS)
def actively(t, encoding, threads):
    with hashes(t, threads, encoding) as conn:
        sizes = (1, 2, 15, 16, 17, 33, 600)
        before = int(info(conn)["expired_subkeys"])
        for n in sizes:
            fields = [f"f{i}" for i in range(n)]
            for key, other in (("gone", ()), ("less", ("stays", "1"))):
                conn.cmd("HSET", f"{key}{n}", *(w for f in fields for w in (f, "v")), *other)
                conn.cmd("HPEXPIRE", f"{key}{n}", 30 + n % 7, "FIELDS", n, *fields)
        for n in sizes:
            wait_for(lambda: conn.cmd("EXISTS", f"gone{n}") == integer(0), f"gone{n} goes")
            wait_for(lambda: conn.cmd("HLEN", f"less{n}") == integer(1), f"less{n} shrinks")
            t.equal(show(conn.cmd("HGETALL", f"less{n}")), "['stays', '1']")
        t.equal(int(info(conn)["expired_subkeys"]) - before, 2 * sum(sizes))


@test("a field whose expiry was changed dies at the new time only", needs=gyre_only, **ENCODINGS)
def changed(t, encoding, threads):
    with hashes(t, threads, encoding) as conn:
        says(
            t,
            conn,
            """
            HSET h over 1 longer 2 never 3 shorter 4 incr 5 gone 6
            HPEXPIRE h 500 FIELDS 5 over longer never incr gone
            HEXPIRE h 1000 FIELDS 2 shorter longer
            HPERSIST h FIELDS 1 never
            HSET h over 9
            HPEXPIRE h 100 FIELDS 1 shorter
            HINCRBY h incr 1
            HDEL h gone
            """,
        )
        time.sleep(0.55)
        wait_for(lambda: conn.cmd("HLEN", "h") == integer(3), "two fields die")
        says(t, conn, "HMGET h over longer never --> ['9', '2', '3']")
        conn.cmd("EXPIRE", "h", 100)  # the entry moves
        conn.cmd("HPEXPIRE", "h", 20, "FIELDS", 3, "over", "longer", "never")
        wait_for(lambda: conn.cmd("EXISTS", "h") == integer(0), "the key goes before its own expiry")


@test("a listpack of fields that expire becomes a table", threads=(1, 4), needs=gyre_only)
def converted(t, threads):
    with hashes(t, threads) as conn:
        commands = []
        for i in range(600):
            commands.append(("HSET", "h", f"f{i}", "v"))
            commands.append(("HPEXPIRE", "h", 60_000 if i % 2 else 500, "FIELDS", 1, f"f{i}"))
        conn.pipeline(commands)
        t.equal(conn.cmd("OBJECT", "ENCODING", "h"), bulk("hashtable"))
        wait_for(lambda: conn.cmd("HLEN", "h") == integer(300), "half of them die")
        for seconds in numbers(conn.cmd("HTTL", "h", "FIELDS", 2, "f1", "f599")):
            t.check(50 < seconds <= 60, f"HTTL says {seconds}")


@test("a hundred thousand fields die at once and nobody waits", threads=(1, 4), alone=True, needs=gyre_only)
def many(t, threads):
    def worst_wait(conn, at_ms):
        """For an EXISTS from just before they die; None: they died too early."""
        count, step = 100_000, 1000
        for i in range(0, count, step):
            names = [f"f{j}" for j in range(i, i + step)]
            conn.cmd("HSET", "h", *(w for n in names for w in (n, "v")))
            conn.cmd("HPEXPIREAT", "h", at_ms, "FIELDS", step, *names)
        time.sleep(max(0, at_ms / 1000 - time.time() - 0.1))
        if conn.cmd("HLEN", "h") != integer(count):
            return None
        worst, is_there = 0, True
        while is_there:
            start = time.monotonic()
            is_there = conn.cmd("EXISTS", "h") != integer(0)
            worst = max(worst, time.monotonic() - start)
            t.equal(time.time() * 1000 < at_ms + 10_000 * PATIENCE, True, "all die")
        return worst

    with hashes(t, threads) as conn:
        for after_s in (2, 4, 8):  # on a busy machine anything may be late, but not always
            worst = worst_wait(conn, int((time.time() + after_s * PATIENCE) * 1000))
            if worst is not None and worst < 0.1 * PATIENCE:
                return
        t.check(worst is not None, "not set up in time")
        t.check(False, f"an EXISTS took {worst * 1000:.0f} ms")


# ---- HGETDEL, HGETEX, HSETEX


@test("HGETDEL returns and removes", needs=gyre_only, **ENCODINGS)
def getdel(t, encoding, threads):
    with hashes(t, threads, encoding) as conn:
        says(
            t,
            conn,
            """
            HGETDEL nokey FIELDS 2 a b --> [(null bulk), (null bulk)]
            HSET h a 1 b two c 3
            HEXPIRE h 100 FIELDS 1 b
            HGETDEL h FIELDS 4 a nope b a --> ['1', (null bulk), 'two', (null bulk)]
            HGETALL h --> ['c', '3']
            HGETDEL h fields 2 c c --> ['3', (null bulk)]
            EXISTS h --> :0
            """,
        )


@test("HGETEX returns, and sets or removes the expiry", needs=gyre_only, **ENCODINGS)
def getex(t, encoding, threads):
    with hashes(t, threads, encoding) as conn:
        says(
            t,
            conn,
            """
            HGETEX nokey EX 10 FIELDS 2 a b --> [(null bulk), (null bulk)]
            EXISTS nokey --> :0
            HSET h a 1 b two c 3 d 4
            HGETEX h FIELDS 3 a nope b --> ['1', (null bulk), 'two']
            HTTL h FIELDS 2 a b --> [:-1, :-1]
            HGETEX h EX 100 FIELDS 2 a nope --> ['1', (null bulk)]
            HGETEX h px 200000 fields 1 b --> ['two']
            HGETEX h EXAT <now+300> FIELDS 1 c --> ['3']
            HGETEX h PXAT <nowms+400000> FIELDS 1 d --> ['4']
            HTTL h FIELDS 2 a b --> [:100, :200]
            HGETEX h FIELDS 1 a --> ['1']
            HTTL h FIELDS 1 a --> [:100]
            HGETEX h PERSIST FIELDS 2 a nope --> ['1', (null bulk)]
            HGETEX h PERSIST FIELDS 1 a --> ['1']
            HTTL h FIELDS 2 a b --> [:-1, :200]
            HGETEX h PX 0 FIELDS 2 a a --> ['1', (null bulk)]
            HGETEX h PXAT 1 FIELDS 3 b c d --> ['two', '3', '4']
            EXISTS h --> :0
            """,
        )


@test("HSETEX sets fields, when they expire, and only if asked for", needs=gyre_only, **ENCODINGS)
def setex(t, encoding, threads):
    with hashes(t, threads, encoding) as conn:
        says(
            t,
            conn,
            """
            HSETEX h FXX FIELDS 1 a 1 --> :0
            EXISTS h --> :0
            HSETEX h FIELDS 2 a 1 b 2 --> :1
            HSETEX h FXX FIELDS 2 a x c y --> :0
            HSETEX h FNX FIELDS 2 a x c y --> :0
            HMGET h a b c --> ['1', '2', (null bulk)]
            HSETEX h FNX EX 100 FIELDS 2 c 3 d 4 --> :1
            HSETEX h PX 200000 FXX FIELDS 2 a 5 c 6 --> :1
            HTTL h FIELDS 4 a b c d --> [:200, :-1, :200, :100]
            HSETEX h KEEPTTL FIELDS 3 a 7 b 8 e 9 --> :1
            HSETEX h FIELDS 1 c 10 --> :1
            HTTL h FIELDS 5 a b c d e --> [:200, :-1, :-1, :100, :-1]
            HMGET h a b c d e --> ['7', '8', '10', '4', '9']
            HSETEX h EXAT <now+500> FIELDS 1 b 1 --> :1
            HSETEX h PXAT <nowms+600000> FIELDS 1 c 1 --> :1
            HSETEX h PX 0 FIELDS 2 a 1 new 2 --> :1
            HEXISTS h a --> :0
            HEXISTS h new --> :0
            HSETEX h EXAT 1 FIELDS 4 b 1 c 1 d 1 e 1 --> :1
            EXISTS h --> :0
            HSETEX nokey EXAT 1 FIELDS 1 a 1 --> :1
            EXISTS nokey --> :0
            HSETEX twice EX 100 FIELDS 2 a 1 a 2 --> :1
            HGETALL twice --> ['a', '2']
            """,
        )


@test("in RESP3 there are maps, and nulls of their own", threads=(1,), needs=gyre_only)
def resp3(t, threads):
    with hashes(t, threads, is_active=False, resp=3) as conn:
        says(
            t,
            conn,
            """
            HSET h a 1 b 2
            HPEXPIRE h 1 FIELDS 1 a
            """,
        )
        time.sleep(0.01)
        says(
            t,
            conn,
            """
            HGETALL h --> {'b': '2'}
            HGETEX h FIELDS 2 a b --> [(null), '2']
            HPEXPIRE h 1 FIELDS 1 b
            """,
        )
        time.sleep(0.01)
        says(t, conn, "HGETALL h --> {}\nHRANDFIELD h --> (null)")


# ---- a model under random commands


class Model:
    """One hash as it should be: field -> (value, Unix ms or None). Times are far off or past."""

    def __init__(self):
        self.fields = {}

    def expire(self, condition, at_ms, names, now_ms):
        out = []
        for name in names:
            if name not in self.fields:
                out.append(-2)
                continue
            value, present = self.fields[name]
            holds = {
                "": True,
                "NX": present is None,
                "XX": present is not None,
                "GT": present is not None and at_ms > present,
                "LT": present is None or at_ms < present,
            }[condition]
            if not holds:
                out.append(0)
            elif at_ms <= now_ms:
                del self.fields[name]
                out.append(2)
            else:
                self.fields[name] = (value, at_ms)
                out.append(1)
        return out

    def persist(self, names):
        out = []
        for name in names:
            if name not in self.fields:
                out.append(-2)
            elif self.fields[name][1] is None:
                out.append(-1)
            else:
                self.fields[name] = (self.fields[name][0], None)
                out.append(1)
        return out

    def times(self, names):
        return [-2 if n not in self.fields else self.fields[n][1] or -1 for n in names]


def model_step(t, conn, rng, key, model):
    now_ms = int(time.time() * 1000)
    names = [f"f{rng.randrange(12)}" for _ in range(rng.randrange(1, 4))]
    name, value = names[0], rng.choice(("7", "text", "x" * rng.randrange(100)))
    kind = rng.choice(("set", "set", "del", "expire", "expire", "expire", "persist", "times", "all", "getdel", "keep"))
    if kind == "set":
        is_new = name not in model.fields
        t.equal(conn.cmd("HSET", key, name, value), integer(int(is_new)))
        model.fields[name] = (value, None)
    elif kind == "keep":
        t.equal(conn.cmd("HSETEX", key, "KEEPTTL", "FIELDS", 1, name, value), integer(1))
        model.fields[name] = (value, model.fields.get(name, (None, None))[1])
    elif kind == "del":
        there = {n for n in names if n in model.fields}
        t.equal(conn.cmd("HDEL", key, *names), integer(len(there)))
        for n in there:
            del model.fields[n]
    elif kind == "getdel":
        want = [model.fields.pop(n, (None,))[0] for n in names]
        got = [r.value and r.value.decode() for r in conn.cmd("HGETDEL", key, "FIELDS", len(names), *names).value]
        t.equal([g or "" for g in got], [w or "" for w in want])
    elif kind == "expire":
        condition = rng.choice(("", "NX", "XX", "GT", "LT"))
        at_ms = 1 if rng.randrange(8) == 0 else now_ms + 100_000 + rng.randrange(100_000)
        words = [condition] if condition else []
        got = conn.cmd("HPEXPIREAT", key, at_ms, *words, "FIELDS", len(names), *names)
        t.equal(numbers(got), model.expire(condition, at_ms, names, now_ms))
    elif kind == "persist":
        t.equal(numbers(conn.cmd("HPERSIST", key, "FIELDS", len(names), *names)), model.persist(names))
    elif kind == "times":
        t.equal(numbers(conn.cmd("HPEXPIRETIME", key, "FIELDS", len(names), *names)), model.times(names))
    else:
        flat = [r.value.decode() for r in conn.cmd("HGETALL", key).value]
        t.equal(dict(zip(flat[::2], flat[1::2])), {n: v for n, (v, _) in model.fields.items()})


@test("random commands do what a model of them does", needs=gyre_only, **ENCODINGS)
def against_model(t, encoding, threads):
    with hashes(t, threads, encoding) as conn:
        for i in range(6):
            model = Model()
            for _ in range(250):
                model_step(t, conn, t.rng, f"h{i}", model)
            t.equal(conn.cmd("HLEN", f"h{i}"), integer(len(model.fields)))
