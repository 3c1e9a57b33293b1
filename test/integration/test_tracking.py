# SPDX-License-Identifier: BSD-3-Clause
"""Client-side caching: what connections are told when keys change that they have read.

Scenarios are scripts of a few connections, run step by step on redis-server and on Gyre. After every step
all connections must have got the same. With several shards one command may tell in several messages what
Redis tells in one, and in another order, so what is compared there are the keys that were told; with one
shard also how they are put together.

The load at the end asks what it is all for: does a client that caches and obeys ever keep an old value?
"""

import random
import re
import threading
import time
from collections import Counter

from differential import STANDIN, split_words
from harness import PATIENCE, SCALE, Closed, Conn, Failure, R, ReadTimeout, encode, info, show
from runner import test

# A step is `connection words…`; the first time a connection is named, `3` behind it asks for RESP3.
# <id:b> is b's id. `a ~ words` awaits no reply, `@wait a` until something comes, `@close a` ends it, and
# the server has seen that.
SCENARIOS = """
== a key that was read is told once, and again when it was read again
a3 CLIENT TRACKING ON
b SET k 1
a GET k
b SET k 2
b SET k 3
a GET k
a GET k
b SET k 4

== keys of one command are told each by itself
a3 CLIENT TRACKING ON
a MGET k1 k2 k3 k4 k5
b MSET k5 1 k1 1 k3 1 other 1
b DEL k1 k2 k3 k4
a EXISTS k1 k5 k6
b MSET k1 1 k6 1
b UNLINK k1 k5

== one's own change is told behind one's own reply
a3 CLIENT TRACKING ON
a GET k
a SET k 1
a MGET k l m
a MSET k 1 l 2 m 3
a SET k 1
a GET k
a APPEND k x
a INCR n
a GET n
a INCR n

== every way a string can change
a3 CLIENT TRACKING ON
a GET k
b SETNX k 1
a GET k
b SETNX k 1
b GETSET k 2
a STRLEN k
b APPEND k 3
a GETRANGE k 0 1
b SETRANGE k 1 x
a GET k
b GETDEL k
a GET k
b SET k 5
a GET k
b INCRBYFLOAT k 1.5
a GET k
b SETBIT k 3 1
a BITCOUNT k
b BITFIELD k SET u8 0 200
a GETBIT k 0
b BITOP NOT k k
a GET k
b GETEX k
b GETEX k EX 100
a LCS k k
b MSETNX k 1 j 1
b MSETNX j 1 i 1
b PFADD hll x
a PFCOUNT hll
b PFADD hll x
b PFADD hll y

== time to live, and the end of it
a3 CLIENT TRACKING ON
b SET k 1
a TTL k
b EXPIRE k 100
a GET k
b EXPIRE k 200 LT
b PERSIST k
a TYPE k
b PEXPIREAT k 1
a GET k
b DEBUG SET-ACTIVE-EXPIRE 0
b SET k 1 PX 400
b SET l 1 PX 400
a GET k
a GET l
@sleep 0.5
b EXISTS k
a GET l
b SET l 2
b DEBUG SET-ACTIVE-EXPIRE 1

== a key that ends by itself
a3 CLIENT TRACKING ON
b SET k 1 PX 400
a GET k
@wait a

== keys that move
a3 CLIENT TRACKING ON
b SET k 1
a MGET k l
b RENAME k l
a MGET k l
b RENAMENX l k
a MGET k l
b COPY k l
a GET l
b COPY k l REPLACE
a GET l
b MOVE l 3
a GET k
b COPY k k DB 5
a EXISTS x y
b RPUSH x 1 2 3
b LMOVE x y LEFT RIGHT
a LRANGE y 0 -1
b RPOPLPUSH x y
a LLEN y
b SMOVE s t m
b SADD s m
a SMEMBERS s
a SCARD t
b SMOVE s t m

== collections
a3 CLIENT TRACKING ON
a HGETALL h
b HSET h f 1
a HGET h f
b HSET h f 1
b HDEL h nope
b HINCRBY h f 1
a HLEN h
b HDEL h f
a LRANGE l 0 -1
b LPUSH l 1
a LINDEX l 0
b LPOP l
a LPOS l 1
b LPUSHX l 1
b RPUSH l 1 2
a LLEN l
b LTRIM l 5 9
a SMEMBERS s
b SADD s 1
a SISMEMBER s 1
b SADD s 1
b SREM s 1
a ZRANGE z 0 -1
b ZADD z 1 m
a ZSCORE z m
b ZADD z 1 m
b ZINCRBY z 1 m
a ZCARD z
b ZPOPMIN z
a XLEN x
b XADD x 1-1 f v
a XRANGE x - +
b XDEL x 1-1
a XINFO STREAM x
b XADD x 2-1 f v
a XREAD COUNT 1 STREAMS x 0
b XTRIM x MAXLEN 0
a GEOPOS g m
b GEOADD g 1 1 m

== commands that read many keys, and commands that store
a3 CLIENT TRACKING ON
b SADD s1 a
b SADD s2 a
a SUNION s1 s2 s3
b SADD s3 a
b SADD s1 a y
a SINTER s1 s2
b SINTERSTORE s2 s1 s2
a SINTERCARD 2 s1 s2
a SDIFF s4 s1
b SUNIONSTORE s4 s1 s2
b ZADD z1 1 a
a ZUNION 2 z1 z2 WITHSCORES
b ZADD z2 1 a
a ZINTERCARD 2 z1 z2
b ZUNIONSTORE z2 2 z1 s1
a PFCOUNT p1 p2
b PFADD p2 x
a PFCOUNT p1 p2
b PFMERGE p1 p2
a LRANGE sorted 0 -1
b SORT s1 ALPHA STORE sorted
a SORT_RO sorted ALPHA
b DEL sorted
a GET bits
b SET src a
b BITOP AND bits src src
a OBJECT ENCODING src
b DEL src

== everything at once
a3 CLIENT TRACKING ON
c3 CLIENT TRACKING ON NOLOOP
d3 CLIENT TRACKING ON BCAST PREFIX x
a GET k
b FLUSHDB
b SET k 1
a GET k
b FLUSHALL ASYNC
a FLUSHALL
c FLUSHDB SYNC
b SELECT 4
b FLUSHDB

== databases do not count
a3 CLIENT TRACKING ON
b SELECT 3
a GET k
b SET k 1
a SELECT 5
a GET k
b DEL k

== a transaction's changes
a3 CLIENT TRACKING ON
a MGET k l
b MULTI
b SET k 1
b SET l 1
b SET k 2
b EXEC
a GET k
a MULTI
a GET j
a SET j 1
a GET j
a SET k 1
a EXEC
b SET j 2
a GET k
b MULTI
b SET k 1
b DISCARD
b SET k 2
a GET k
a MULTI
a GET k
b SET k 3
a EXEC
b SET k 4

== a script's changes
a3 CLIENT TRACKING ON
a MGET k l
b EVAL "redis.call('set', KEYS[1], 1) redis.call('set', KEYS[1], 2) return redis.call('set', KEYS[2], 1)" 2 k l
a GET k
a EVAL "redis.call('set', KEYS[1], 1) return redis.call('get', KEYS[1])" 1 k
b SET k 1
a EVAL "return redis.call('get', KEYS[1])" 1 k
b SET k 1
a GET undeclared
b EVAL "redis.call('set', 'undeclared', 1)" 0
a GET k
b EVAL "redis.call('flushall')" 0

== OPTIN
a3 CLIENT TRACKING ON OPTIN
a GET k
b SET k 1
a CLIENT CACHING YES
a CLIENT TRACKINGINFO
a GET k
a CLIENT TRACKINGINFO
a GET l
b MSET k 1 l 1
a CLIENT CACHING YES
a PING
a GET k
b SET k 1
a CLIENT CACHING YES
a NOSUCH
a GET k
b SET k 1
a CLIENT CACHING YES
a GET
a GET k
b SET k 1
a CLIENT CACHING YES
a CLIENT GETNAME
a MGET k l
b MSET k 1 l 1
a CLIENT CACHING YES
a MULTI
a GET k
a GET l
a EXEC
b MSET k 1 l 1
a MULTI
a GET k
a CLIENT CACHING YES
a GET l
a GET m
a EXEC
a CLIENT TRACKINGINFO
a GET k
b MSET k 1 l 1 m 1
a CLIENT CACHING YES
a EVAL "redis.call('get', KEYS[1]) return redis.call('get', KEYS[2])" 2 k l
b MSET k 1 l 1
a CLIENT CACHING NO
a CLIENT CACHING X
a CLIENT CACHING YES
a CLIENT TRACKING ON OPTIN
a CLIENT TRACKINGINFO
a CLIENT TRACKING OFF
a CLIENT TRACKINGINFO

== OPTOUT
a3 CLIENT TRACKING ON OPTOUT
a GET k
b SET k 1
a CLIENT CACHING NO
a CLIENT TRACKINGINFO
a GET k
b SET k 1
a GET k
b SET k 1
a CLIENT CACHING YES
a MULTI
a CLIENT CACHING NO
a GET k
a EXEC
b SET k 1

== NOLOOP
a3 CLIENT TRACKING ON NOLOOP
c3 CLIENT TRACKING ON
a GET k
c GET k
a SET k 1
c GET k
b SET k 1
a GET k
b SET k 1
a MULTI
a GET k
a SET k 1
a EXEC
b SET k 1

== BCAST
a3 CLIENT TRACKING ON BCAST PREFIX p: PREFIX q
c3 CLIENT TRACKING ON BCAST
a GET p:1
b SET p:1 1
b MSET p:2 1 p:1 1 q 1 p: 1 z 1
a SET p:1 2
a MSET p:1 2 q1 1 r 1
b DEL p:1 nope
b MULTI
b SET p:1 1
b SET q 1
b SET p:1 2
b EXEC
b EVAL "redis.call('set', 'p:9', 1) redis.call('set', 'p:8', 1) redis.call('set', 'p:9', 1)" 0
a CLIENT TRACKING ON BCAST PREFIX r
b SET r 1
a CLIENT TRACKINGINFO
b FLUSHALL
a CLIENT TRACKING OFF
b SET p:1 1

== BCAST with NOLOOP
a3 CLIENT TRACKING ON BCAST NOLOOP
c3 CLIENT TRACKING ON BCAST NOLOOP PREFIX k
a SET k 1
c SET k 1
b SET k 1
a MULTI
a SET k 1
a SET l 1
a EXEC
a FLUSHALL

== redirected, RESP2
a CLIENT TRACKING ON REDIRECT <id:c>
a GET k
b SET k 1
c SUBSCRIBE __redis__:invalidate
a GET k
b SET k 1
a GET k
a SET k 1
b FLUSHALL
c UNSUBSCRIBE
a GET k
b SET k 1
c PSUBSCRIBE other
a GET k
b SET k 1
a CLIENT GETREDIR
a CLIENT TRACKINGINFO

== two redirect to one
a CLIENT TRACKING ON REDIRECT <id:c>
d CLIENT TRACKING ON REDIRECT <id:c> BCAST PREFIX k
c SUBSCRIBE __redis__:invalidate
a GET k
b SET k 1
d SET k1 1
a MGET k2 k3 k4
b MSET k2 1 k3 1 k4 1

== redirected, RESP3
a3 CLIENT TRACKING ON REDIRECT <id:c3>
a GET k
b SET k 1
b FLUSHALL
a GET k
a SET k 2
c CLIENT TRACKINGINFO

== redirected to somebody who has gone
a3 CLIENT TRACKING ON REDIRECT <id:c>
d3 CLIENT TRACKING ON REDIRECT <id:c> BCAST
c SUBSCRIBE x
@close c
a GET k
b SET k 1
a CLIENT TRACKINGINFO
a CLIENT GETREDIR
a GET k
b SET k 1
b FLUSHALL
a CLIENT TRACKING ON
a CLIENT TRACKINGINFO
d CLIENT TRACKING OFF

== to oneself
a3 CLIENT TRACKING ON REDIRECT <id:a>
a GET k
b SET k 1
c CLIENT TRACKING ON REDIRECT <id:c>
c GET k
b SET k 1
a CLIENT TRACKING ON BCAST REDIRECT <id:a>

== it ends with OFF, RESET and RESP2
a3 CLIENT TRACKING ON
a GET k
a CLIENT TRACKING OFF
b SET k 1
a CLIENT TRACKING ON
a GET k
a RESET
b SET k 1
a HELLO 3
a CLIENT TRACKINGINFO
a CLIENT TRACKING ON BCAST PREFIX k
b SET k 1
a RESET
b SET k 1
a HELLO 3
b SET k 1
a CLIENT TRACKING ON
a GET k
a HELLO 2
b SET k 1
a GET k
a HELLO 3
b SET k 1

== CLIENT REPLY
a3 CLIENT TRACKING ON
a GET k
a ~ CLIENT REPLY OFF
b SET k 1
a ~ GET k
a ~ GET l
a ~ SET l 1
@wait a
@wait a
a CLIENT REPLY ON
a ~ CLIENT REPLY SKIP
a ~ GET k
a GET m
b MSET k 1 m 1

== in the middle of MULTI, and while subscribed
a3 CLIENT TRACKING ON
a GET k
a MULTI
b SET k 1
@wait a
a GET k
a EXEC
a GET k
a SUBSCRIBE ch
b SET k 1
b SET ch 1
a GET ch
b PUBLISH ch k
b SET ch 1
a UNSUBSCRIBE ch

== tracking from within a transaction
a3 CLIENT TRACKING ON
a MULTI
a CLIENT TRACKING OFF
a GET k
a CLIENT TRACKING ON BCAST
a SET k 1
a EXEC
b SET k 1

== words and their errors
a3 CLIENT TRACKING ON REDIRECT 0
a CLIENT TRACKING ON REDIRECT -1
a CLIENT TRACKING ON REDIRECT abc
a CLIENT TRACKING ON REDIRECT 99999
a CLIENT TRACKING ON REDIRECT 99999 FOO
a CLIENT TRACKING ON FOO REDIRECT 99999
a CLIENT TRACKING ON REDIRECT <id:a> REDIRECT <id:a>
a CLIENT TRACKING ON REDIRECT <id:a> FOO
a CLIENT TRACKING ON REDIRECT
a CLIENT TRACKING ON PREFIX a
a CLIENT TRACKING ON PREFIX
a CLIENT TRACKING ON BCAST OPTIN
a CLIENT TRACKING ON BCAST OPTOUT
a CLIENT TRACKING ON OPTIN OPTOUT
a CLIENT TRACKING ON BCAST PREFIX a PREFIX ab
a CLIENT TRACKING ON BCAST PREFIX a PREFIX b REDIRECT 99999
a CLIENT TRACKING FOO
a CLIENT TRACKING OFF FOO
a CLIENT TRACKING OFF PREFIX a
a CLIENT TRACKING
a CLIENT TRACKINGINFO
b MSET a 1 ab 1 b 1
a CLIENT CACHING YES
a CLIENT CACHING X
a CLIENT GETREDIR
a CLIENT TRACKING on optin
a CLIENT TRACKING ON OPTOUT
a CLIENT TRACKING ON BCAST
a CLIENT TRACKINGINFO
a CLIENT TRACKING ON
a CLIENT CACHING YES
a CLIENT CACHING NO
a CLIENT TRACKING ON NOLOOP
a CLIENT TRACKING OFF
a CLIENT TRACKING ON OPTOUT
a CLIENT TRACKING ON OPTIN
a CLIENT CACHING YES
a CLIENT TRACKING OFF
a CLIENT TRACKING ON BCAST PREFIX foo
a CLIENT TRACKING ON BCAST PREFIX bar
a CLIENT TRACKING ON BCAST PREFIX foob
a CLIENT TRACKING ON BCAST PREFIX f
a CLIENT TRACKING ON BCAST PREFIX bar
a CLIENT TRACKINGINFO
a CLIENT TRACKING ON BCAST
a CLIENT TRACKING ON BCAST PREFIX baz
a CLIENT TRACKING ON OPTIN
a CLIENT TRACKINGINFO
b SET foo 1
a CLIENT TRACKING OFF
b SET foo 1
b CLIENT TRACKING ON
b CLIENT TRACKINGINFO
b GET k
a SET k 1
"""


def parse(text):
    """[(sentence, [line, …]), …]"""
    out = []
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("=="):
            out.append((line.strip("= "), []))
        elif line:
            out[-1][1].append(line)
    return out


def told(message):
    """The keys of an invalidation (None: all keys), or None if the message is something else."""
    if message.kind not in ">*" or not message.value or message.value[0].kind != "$":
        return None
    word, keys = message.value[0].value, message.value[-1]
    is_told = word == b"invalidate" and message.kind == ">"
    is_redirected = word == b"message" and message.value[1].value == b"__redis__:invalidate"
    if not is_told and not is_redirected:
        return None
    return [None] if keys.value is None else [k.value for k in keys.value]


def weight(messages):
    return sum(len(told(m) or [0]) for m in messages)


class Stage:
    """The connections of one scenario on one server."""

    def __init__(self, t, server):
        self.t, self.server = t, server
        self.conns, self.ids, self.in_multi = {}, {}, set()

    def conn(self, name):
        """`a3`: in RESP3 if it is new."""
        if name[0] not in self.conns:
            conn = self.t.connect(self.server, resp=3 if name.endswith("3") else 2)
            self.conns[name[0]] = conn
            self.ids[name[0]] = conn.cmd("CLIENT", "ID").value
        return self.conns[name[0]]

    def fill(self, word):
        if word.startswith(b"<id:"):
            name = word[4:-1].decode()
            self.conn(name)
            return b"%d" % self.ids[name[0]]
        return word

    def act(self, line):
        """Sends what the line says; the name of the connection that gets a reply, or None."""
        name, *words = split_words(line)
        name = name.decode()
        if name == "@close":
            self.close(words[0].decode())
            return None
        conn = self.conn(name)
        is_silent = words[0] == b"~"
        words = [self.fill(w) for w in words[is_silent:]]
        conn.write(*words)
        word = words[0].upper()
        if word == b"MULTI":
            self.in_multi.add(name[0])
        elif word in (b"EXEC", b"DISCARD", b"RESET"):
            self.in_multi.discard(name[0])
        if word in (b"HELLO", b"RESET"):
            conn.resp = int(words[1]) if word == b"HELLO" else 2
        return None if is_silent else name[0]

    def close(self, name):
        self.conns.pop(name).close()
        with self.server.connect() as look:
            self.t.wait_for(
                lambda: look.cmd("CLIENT", "LIST", "ID", self.ids[name]).text() == b"", f"{name} is gone"
            )

    def everything(self, actor):
        """Redis: all that has come to every connection; it answers one thing after the other."""
        out = {}
        first = [self.conns[actor].read()] if actor else []  # before anything else is asked
        for name, conn in self.conns.items():
            got = first if name == actor else []
            if name not in self.in_multi and not hasattr(conn, "is_mute"):
                conn.write("CLIENT", "ID")  # which ends nothing that CLIENT CACHING began
                while True:
                    message = conn.read()
                    refused = message.is_error() and b"CLIENT" in message.value.upper()
                    if refused or message == R(":", self.ids[name]):
                        break
                    got.append(message)
            if got:
                out[name] = got
        return out

    def as_much(self, expected, actor):
        """Gyre: on every connection at least as much as `expected`; more of it comes to light later."""
        out = {}
        for name in self.conns:
            want, got = expected.get(name, []), []
            while weight(got) < weight(want):
                try:
                    got.append(self.conns[name].read(3))
                except (ReadTimeout, Closed) as missing:
                    sides = f"got {list(map(show, got))}, want {list(map(show, want))}"
                    raise Failure(f"{name}: {missing}; {sides}") from None
            if got:
                out[name] = got
        return out


def digest(messages, is_actor, is_exact):
    """What has to be the same: the reply comes first, and then …"""
    first = [show(m) for m in messages[:1]] if is_actor else []
    if first and messages[0].kind in "%*" and "'proto'" in first[0]:
        first = ["HELLO's map"]
    rest = messages[1:] if is_actor else messages
    if is_exact:
        return first, Counter(map(show, rest))
    keys = Counter(k for m in rest for k in told(m) or [])
    return first, keys, Counter(show(m) for m in rest if told(m) is None)


def mask(text, stage, line):
    """Connections have other ids on the other server."""
    if "redir" not in text and "GETREDIR" not in line:
        return text
    for name, ident in stage.ids.items():
        text = re.sub(f":{ident}\\b", f":<{name}>", text)
    return text


def compare(line, want, got, stages, actor, is_exact):
    for name in sorted(set(want) | set(got)):
        sides = []
        for stage, messages in zip(stages, (want, got)):
            parts = digest(messages.get(name, []), name == actor, is_exact)
            texts = [sorted(map(str, p.items())) if isinstance(p, Counter) else p for p in parts]
            sides.append([mask(str(text), stage, line) for text in texts])
        if sides[0] != sides[1]:
            raise Failure(
                f"{line!r}: {name} got {list(map(show, got.get(name, [])))}, "
                f"want {list(map(show, want.get(name, [])))}"
            )


def waits_for(line):
    return line.split()[1] if line.startswith("@wait") else None


def note_mute(stage, line):
    """CLIENT REPLY OFF and SKIP: nothing can be asked of the connection meanwhile."""
    conn = stage.conns.get(line[0])
    if "REPLY OFF" in line or "REPLY SKIP" in line:
        conn.is_mute = "OFF" if "OFF" in line else "SKIP"
    elif hasattr(conn, "is_mute") and ("REPLY ON" in line or conn.is_mute == "SKIP"):
        del conn.is_mute


def play(t, lines, servers, is_exact):
    stages = [Stage(t, server) for server in servers]
    reference, tested = stages
    # Whoever tracks hears of the last one: nothing else may stand before it.
    for line in lines + ["b FLUSHALL"]:
        if line.startswith("@sleep"):
            time.sleep(float(line.split()[1]))
            continue
        waited = waits_for(line)
        if waited:
            want = {waited: [reference.conns[waited].read()]}
            compare(line, want, tested.as_much(want, None), stages, None, is_exact)
            continue
        actor = reference.act(line)
        note_mute(reference, line)
        want = reference.everything(actor)
        tested.act(line)
        compare(line, want, tested.as_much(want, actor), stages, actor, is_exact)
    for name, conn in tested.conns.items():
        if not hasattr(conn, "is_mute"):
            conn.write("PING", "end")
            last = conn.read()
            t.check(b"end" in show(last).encode(), f"{name} got {show(last)} too many")


def scenario(sentence, lines):
    @test(sentence, threads=(1, 2, 4))
    def run(t, threads):
        play(t, lines, (t.redis(), t.gyre(threads=threads)), threads == 1 or STANDIN)


for _sentence, _lines in parse(SCENARIOS):
    scenario("as Redis: " + _sentence, _lines)


# ---- what Redis does otherwise, or not at all


def gyre_only():
    return "redis-server 7.0 does otherwise" if STANDIN else None


def silence(t, conn):
    conn.write("PING", "end")
    t.equal(conn.read(), R("$", b"end"), "nothing else was told")


def invalidated(t, conn, *keys):
    """Exactly these keys (None: all) are told next, in whatever order and messages."""
    left = Counter(keys)
    while sum(left.values()):
        message = conn.read()
        for key in told(message) or ["not an invalidation"]:
            t.check(left[key], f"told {show(message)}, waiting for {dict(left)}")
            left[key] -= 1


@test("databases that change places are all keys changed", threads=(1, 4), needs=gyre_only)
def swapped(t, threads):
    server = t.gyre(threads=threads)
    a, b = t.connect(server, resp=3), t.connect(server)
    a.cmd("CLIENT", "TRACKING", "ON")
    a.cmd("GET", "k")
    b.cmd("SWAPDB", 0, 1)
    invalidated(t, a, None)
    b.cmd("SWAPDB", 0, 0)
    silence(t, a)


@test("keys that a script reads are remembered, declared or not", threads=(1, 4), needs=gyre_only)
def script_reads(t, threads):
    server = t.gyre(threads=threads)
    a, b = t.connect(server, resp=3), t.connect(server)
    a.cmd("CLIENT", "TRACKING", "ON")
    a.cmd("EVAL", "return redis.call('get', 'undeclared')", 1, "declared")
    b.cmd("SET", "declared", 1)
    b.cmd("SET", "undeclared", 1)
    invalidated(t, a, b"undeclared")
    silence(t, a)


@test("two prefixes of one command that overlap are refused, wherever they stand", needs=gyre_only)
def overlapping(t):
    a = t.connect(t.gyre())
    reply = a.cmd("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "x", "PREFIX", "a", "PREFIX", "ab")
    t.match(reply, "Prefix 'a' overlaps with another provided prefix 'ab'")
    t.equal(a.cmd("PING"), R("+", b"PONG"))
    t.match(R("+", show(a.cmd("CLIENT", "TRACKINGINFO")).encode()), "'off'")


@test("fields of hashes that expire, or get a time to live", threads=(1, 4), needs=gyre_only)
def fields(t, threads):
    server = t.gyre(threads=threads)
    a, b = t.connect(server, resp=3), t.connect(server)
    a.cmd("CLIENT", "TRACKING", "ON")
    b.cmd("HSET", "h", "f", 1, "g", 1)
    a.cmd("HGET", "h", "f")
    b.cmd("HPEXPIRE", "h", 300, "FIELDS", 1, "f")
    invalidated(t, a, b"h")
    a.cmd("HGET", "h", "f")
    invalidated(t, a, b"h")  # by itself
    a.cmd("HGETALL", "h")
    b.cmd("HGETDEL", "h", "FIELDS", 1, "g")
    invalidated(t, a, b"h")


# ---- figures and limits


def figures(conn):
    names = ("tracking_clients", "tracking_total_keys", "tracking_total_items", "tracking_total_prefixes")
    found = info(conn)
    return tuple(int(found[n]) for n in names)


@test("INFO counts clients, keys, items and prefixes", threads=(1, 4), io=("uring", "poll"))
def counted(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    a, b, c, d = [t.connect(server, resp=3) for _ in range(4)]
    t.wait_for(lambda: figures(d) == (0, 0, 0, 0), "earlier clients are forgotten")
    a.cmd("CLIENT", "TRACKING", "ON")
    b.cmd("CLIENT", "TRACKING", "ON")
    c.cmd("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "x", "PREFIX", "y")
    a.cmd("MGET", *(f"k{i}" for i in range(20)))
    b.cmd("MGET", *(f"k{i}" for i in range(10)))
    c.cmd("GET", "k1")
    t.equal(figures(d), (3, 20, 30, 2))
    d.cmd("MSET", "k1", 1, "k15", 1)
    t.equal(figures(d), (3, 18, 27, 2))
    d.cmd("FLUSHALL")
    t.equal(figures(d), (3, 0, 0, 2))
    a.cmd("CLIENT", "TRACKING", "OFF")
    b.cmd("RESET")
    c.close()
    t.wait_for(lambda: figures(d) == (0, 0, 0, 0), "nobody tracks")


@test("a table that is full forgets keys, and says so", threads=(1, 2, 4))
def full(t, threads):
    server = t.own_gyre(threads=threads, **{"tracking-table-max-keys": 8})
    a, b = t.connect(server, resp=3), t.connect(server)
    # Redis does not tell who set NOLOOP and is reading just then: his cache would be stale for good.
    a.cmd("CLIENT", "TRACKING", "ON", *([] if STANDIN else ["NOLOOP"]))
    keys = [f"k{i}".encode() for i in range(200)]
    gone = set()
    for key in keys:
        a.write("GET", key)
        while (message := a.read()).kind == ">":
            gone.update(told(message))
    total = figures(b)[1]
    t.check(1 <= total <= 8, f"{total} keys are remembered")
    while len(gone) < len(keys) - total:
        gone.update(told(a.read()))
    t.equal(len(gone), len(keys) - total)
    for key in keys:
        b.cmd("SET", key, 1)
    invalidated(t, a, *(k for k in keys if k not in gone))
    silence(t, a)


@test("CLIENT LIST shows who tracks, how, and for whom", threads=(1, 4))
def listed(t, threads):
    server = t.gyre(threads=threads)
    a, b, c = t.connect(server, resp=3), t.connect(server), t.connect(server)
    target = c.cmd("CLIENT", "ID").value

    def shown(conn):
        line = conn.cmd("CLIENT", "INFO").text().decode()
        fields = dict(word.split("=", 1) for word in line.split())
        return fields["flags"], fields["redir"]

    t.equal(shown(a), ("N", "-1"))
    a.cmd("CLIENT", "TRACKING", "ON")
    t.equal(shown(a), ("t", "0"))
    b.cmd("CLIENT", "TRACKING", "ON", "BCAST", "REDIRECT", target)
    t.equal(shown(b), ("tB", str(target)))
    c.close()

    def is_broken():
        a.cmd("SET", "k", 1)
        return shown(b)[0] == "tRB"

    t.wait_for(is_broken, "the redirection is broken")
    b.cmd("CLIENT", "TRACKING", "OFF")
    t.equal(shown(b), ("N", "-1"))


@test("redirected to connections at home on all shards, which come and go", threads=(2, 4))
def redirected(t, threads):
    server = t.gyre(threads=threads)
    writer = t.connect(server)
    for round_ in range(3):
        pairs = []
        for i in range(12):
            reader, target = t.connect(server), t.connect(server)
            for conn in (reader, target):  # which makes them live where these keys are
                for _ in range(3):
                    conn.cmd("GET", f"home:{t.rng.randrange(100)}")
            ident = target.cmd("CLIENT", "ID").value
            target.cmd("SUBSCRIBE", "__redis__:invalidate")
            t.equal(reader.cmd("CLIENT", "TRACKING", "ON", "REDIRECT", ident), R("+", b"OK"))
            reader.cmd("MGET", "k1", "k2", "k3", "k4", f"own:{i}")
            pairs.append((reader, target))
        writer.cmd("MSET", "k1", 1, "k2", 1, "k3", 1, "k4", 1)
        for i, (reader, target) in enumerate(pairs):
            invalidated(t, target, b"k1", b"k2", b"k3", b"k4")
            writer.cmd("SET", f"own:{i}", 1)
            invalidated(t, target, b"own:%d" % i)
            silence(t, reader)
            if i % 2:
                target.close()
                reader.cmd("GET", "k1")
        def is_broken(reader):  # the server may not have seen yet that the target has gone
            reader.cmd("GET", "k1")
            writer.cmd("SET", "k1", 2)
            return "broken_redirect" in show(reader.cmd("CLIENT", "TRACKINGINFO"))

        for i, (reader, target) in enumerate(pairs):
            if i % 2:
                t.wait_for(lambda: is_broken(reader), "the reader knows that its target has gone")
            reader.close()
            target.close()


# ---- under load: no cache stays old


class Cacher(threading.Thread):
    """Reads keys in pipelines, keeps what it read, forgets what it is told to forget."""

    def __init__(self, server, keys, options, rng, end):
        super().__init__(daemon=True)
        self.conn = Conn(server, resp=3)
        self.conn.cmd("CLIENT", "TRACKING", "ON", *options)
        self.keys, self.rng, self.end = keys, rng, end
        self.cache, self.newest = {}, {}
        self.asked = []  # keys whose replies are to come
        self.told, self.error = 0, None

    def take(self, message):
        if message.kind == ">":
            for key in told(message):
                self.told += 1
                if key is None:
                    self.cache.clear()
                self.cache.pop(key, None)
            return
        key = self.asked.pop(0)
        value = int(message.value or 0)
        if value < self.newest.get(key, 0):
            raise Failure(f"{key} was {self.newest[key]} and then {value}")
        self.newest[key] = self.cache[key] = value

    def read_some(self):
        wanted = [k for k in self.rng.sample(self.keys, 12) if k not in self.cache]
        self.asked += wanted
        self.conn.send(b"".join(encode("GET", k) for k in wanted) or encode("GET", self.keys[0]))
        self.asked += [] if wanted else [self.keys[0]]
        while self.asked:
            self.take(self.conn.read())

    def run(self):
        try:
            while not self.end.is_set():
                self.read_some()
        except Exception as failed:  # pylint: disable=broad-except
            self.error = failed

    def settle(self, last):
        """After the last write: what it still has in its cache becomes what was written last."""

        def is_fresh():
            self.conn.write("PING")
            while (message := self.conn.read()).kind == ">":
                self.take(message)
            return not self.stale(last)

        return is_fresh

    def stale(self, last):
        return {k: (v, last[k]) for k, v in self.cache.items() if v != last[k]}


def change(server, keys, last, rng, end):
    """One writer of its own keys: counts them up, in every way there is."""
    conn = Conn(server)
    while not end.is_set():
        some = rng.sample(keys, 4)
        for key in some:
            last[key] += 1
        way = rng.randrange(5)
        if way == 0:
            commands = [("MSET", *(w for k in some for w in (k, last[k])))]
        elif way == 1:
            commands = [("MULTI",), *(("SET", k, last[k]) for k in some), ("EXEC",)]
        elif way == 2:
            commands = [("INCR", k) for k in some]
        elif way == 3:
            script = "for i, k in ipairs(KEYS) do redis.call('set', k, ARGV[i]) end"
            commands = [("EVAL", script, len(some), *some, *(last[k] for k in some))]
        else:
            commands = [("SET", b"tmp" + k, last[k]) for k in some]
            commands += [("RENAME", b"tmp" + k, k) for k in some]
        for reply in conn.pipeline(commands):
            if reply.is_error():
                raise Failure(show(reply))


@test("no cache stays old, and none goes back", threads=(1, 2, 4), load=True, timeout=60)
def stale(t, threads):
    server = t.gyre(threads=threads)
    end = threading.Event()
    keys = [b"k%d" % i for i in range(40)]
    last = dict.fromkeys(keys, 0)
    modes = [(), ("NOLOOP",), ("BCAST",), ("BCAST", "PREFIX", "k"), ("OPTOUT",)]
    cachers = [
        Cacher(server, keys, mode, random.Random(t.rng.random()), end) for mode in modes * 2
    ]
    errors = []

    def write(mine):
        try:
            change(server, mine, last, random.Random(mine[0]), end)
        except Exception as failed:  # pylint: disable=broad-except
            errors.append(failed)

    writers = [threading.Thread(target=write, args=(keys[i::3],), daemon=True) for i in range(3)]
    for thread in cachers + writers:
        thread.start()

    def is_enough():
        return min(c.told for c in cachers) > 20 or errors or any(c.error for c in cachers)

    try:
        time.sleep(2.5 * SCALE)
        t.wait_for(is_enough, lambda: f"the cachers were told of {[c.told for c in cachers]} keys", 20)
    finally:
        end.set()
    for thread in cachers + writers:
        thread.join(30 * PATIENCE)
    for failed in errors + [c.error for c in cachers if c.error]:
        raise Failure(str(failed))
    for cacher in cachers:
        t.wait_for(cacher.settle(last), lambda: f"(cached, written): {cacher.stale(last)}", seconds=5)
        cacher.conn.close()
