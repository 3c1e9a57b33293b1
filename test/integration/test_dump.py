# SPDX-License-Identifier: BSD-3-Clause
"""DUMP and RESTORE: values that travel between Gyre and redis-server 7.0, in every layout and both
directions, and payloads that are wrong."""

import struct

import payloads as p
from harness import OK, SCALE, STANDIN, Failure, error, info, integer
from runner import test

BAD_DATA = error("ERR Bad data format")
BAD_FOOTER = error("ERR DUMP payload version or checksum are wrong")
INF = float("inf")


def gyre_only():
    return "only Gyre has it" if STANDIN else None


# ---- values


def chunks(words, size):
    return [words[i : i + size] for i in range(0, len(words), size)]


def fill(command, *words, at_once=2000):
    return [(command, "k", *some) for some in chunks(words, at_once)]


def numbered(pattern, count):
    return [pattern % i for i in range(count)]


def paired(pattern, count):
    return [word for i in range(count) for word in (pattern % i, f"value {i}")]


def scored(count, score=lambda i: i):
    return [word for i in range(count) for word in (score(i), f"member {i}")]


# Name: what makes the value at k. "=" in the name: both servers must dump the same bytes.
VALUES = {
    "= an empty string": [("SET", "k", "")],
    "= a short string": [("SET", "k", "hello")],
    "= the integer 0": [("SET", "k", "0")],
    **{
        f"= the integer {n}": [("SET", "k", n)]
        for n in (1, -1, 127, 128, -128, -129, 32767, 32768, -32769, 2147483647, 2147483648)
        + (-2147483648, -2147483649, 9223372036854775807, -9223372036854775808)
    },
    "= almost an integer": [("SET", "k", "+12")],
    "= a string with a leading zero": [("SET", "k", "007")],
    "= a string of 20 equal bytes": [("SET", "k", "x" * 20)],
    "= a string that does not compress": [("SET", "k", bytes(range(256)))],
    "a string that compresses": [("SET", "k", "abcd" * 5000)],
    "a string of a million zeros": [("SET", "k", b"\0" * 1000000)],
    "= a string that was appended to": [("SET", "k", "1"), ("APPEND", "k", "2")],
    "= a list of one": [("RPUSH", "k", "a")],
    "= a list of numbers": [("RPUSH", "k", *range(-20, 20), 1 << 40, -(1 << 62), 70000, 5000)],
    "= a short list": [("RPUSH", "k", "a", "", "x" * 63, bytes(range(200)), 12, "007")],
    "a long list": fill("RPUSH", *numbered("element %d of a long list", 5000)),
    "a list of big elements": [("RPUSH", "k", "x" * 100000, "y" * 9000, "z" * 4096, "a")],
    "= a list of one big element": [("RPUSH", "k", bytes(range(256)) * 20)],
    "a list with big nodes": [("CONFIG", "SET", "list-max-listpack-size", "-5")]
    + fill("RPUSH", *numbered("element %d", 9000)),
    "a list with small nodes": [("CONFIG", "SET", "list-max-listpack-size", "4")]
    + fill("RPUSH", *numbered("element %d", 100)),
    "a compressed list": [("CONFIG", "SET", "list-compress-depth", "1")]
    + fill("RPUSH", *numbered("element %d of a compressed list", 5000)),
    "= an intset of 16 bits": [("SADD", "k", 1, 2, 3, -5, 32767)],
    "= an intset of 32 bits": [("SADD", "k", 1, 2, 3, 32768, -2147483648)],
    "= an intset of 64 bits": [("SADD", "k", 1, -9223372036854775808, 9223372036854775807)],
    "= an intset that shrank": [("SADD", "k", 1, 70000), ("SREM", "k", 70000)],
    "a set of many integers": fill("SADD", *range(3000)),
    "a small set": [("SADD", "k", "a", "b", "c", 1, 2)],
    "a set of long members": [("SADD", "k", "x" * 100, "y" * 1000)],
    "a big set": fill("SADD", *numbered("member %d", 3000)),
    "= a small hash": [("HSET", "k", "f", "v", "n", 12, "", "", "m", "x" * 64)],
    "a hash with a long value": [("HSET", "k", "f", "v" * 65, "g", 1)],
    "a big hash": fill("HSET", *paired("field %d", 1000)),
    "= a small sorted set": [("ZADD", "k", 1, "a", 2, "b", 2, "c", -7, "d", 1 << 50, "e")],
    "= scores of every kind": [
        ("ZADD", "k", 1.5, "a", "-inf", "b", "inf", "c", 3e300, "d", 0.1, "e")
    ],
    "= scores with and without a fraction": [
        ("ZADD", "k", -0.0, "z", 1e15, "a", 1e16, "b", 5e-324, "c", 1.7976931348623157e308, "d"),
        (
            "ZADD",
            "k",
            4503599627370496,
            "e",
            4503599627370497,
            "f",
            9007199254740993,
            "g",
            1e21,
            "h",
        ),
    ],
    "a sorted set with a long member": [("ZADD", "k", 1, "x" * 65, 2, "b")],
    "a big sorted set": fill("ZADD", *scored(1000)),
    "a big sorted set of equal scores": fill("ZADD", *scored(1000, lambda i: 7)),
    "a big sorted set of fractions": fill("ZADD", *scored(1000, lambda i: (i * 7919 % 1000) / 3)),
    "a small stream": [("XADD", "k", "1-1", "f", "v"), ("XADD", "k", "2-0", "f", "w", "g", 12)],
    "a stream with deleted entries": [
        *(("XADD", "k", f"{i}-1", "field", i) for i in range(1, 300)),
        *(("XDEL", "k", f"{i}-1") for i in range(3, 300, 3)),
    ],
    "an empty stream": [("XADD", "k", "5-5", "f", "v"), ("XDEL", "k", "5-5")],
    "a stream with groups": [
        *(("XADD", "k", f"{i}-1", "a", i, "b", "text") for i in range(1, 50)),
        ("XGROUP", "CREATE", "k", "g", "0"),
        ("XGROUP", "CREATE", "k", "h", "$"),
        ("XGROUP", "CREATECONSUMER", "k", "g", "idle"),
        ("XREADGROUP", "GROUP", "g", "alice", "COUNT", "5", "STREAMS", "k", ">"),
        ("XREADGROUP", "GROUP", "g", "bob", "COUNT", "3", "STREAMS", "k", ">"),
        ("XACK", "k", "g", "1-1", "6-1"),
    ],
    "a HyperLogLog": [("PFADD", "k", *range(100))],
    "a dense HyperLogLog": fill("PFADD", *range(20000)),
    "positions": [
        ("GEOADD", "k", 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")
    ],
}

FORGET = (
    ("CONFIG", "SET", "list-max-listpack-size", "-2"),
    ("CONFIG", "SET", "list-compress-depth", "0"),
)


# Of XINFO STREAM FULL: what depends on when things happened, on the tree behind it, on the version.
PASSING = (b"seen-time", b"active-time", b"radix-tree-keys", b"radix-tree-nodes", b"lag")


def without_times(reply):
    if reply.kind != "*":
        return reply.value
    values = list(reply.value)
    for at in reversed(range(len(values))):
        if values[at].value in PASSING:
            del values[at : at + 2]
    # Pending entries: id, (consumer,) time, count.
    if len(values) >= 3 and isinstance(values[-2].value, int) and values[-2].value > 1 << 40:
        del values[-2]
    return [without_times(v) for v in values]


def content(conn, key="k"):
    """The value whatever its encoding: of equal values the same on either server."""
    kind = conn.cmd("TYPE", key).value
    if kind == b"string":
        return kind, conn.cmd("GET", key).value
    if kind == b"list":
        return kind, [r.value for r in conn.cmd("LRANGE", key, 0, -1).value]
    if kind == b"set":
        return kind, sorted(r.value for r in conn.cmd("SMEMBERS", key).value)
    if kind == b"zset":
        flat = [r.value for r in conn.cmd("ZRANGE", key, 0, -1, "WITHSCORES").value]
        return kind, list(zip(flat[::2], map(float, flat[1::2])))
    if kind == b"hash":
        flat = [r.value for r in conn.cmd("HGETALL", key).value]
        return kind, sorted(zip(flat[::2], flat[1::2]))
    if kind == b"stream":
        return kind, without_times(conn.cmd("XINFO", "STREAM", key, "FULL", "COUNT", 0))
    return kind, None


def make(t, conn, commands):
    for command in commands:
        reply = conn.cmd(*command)
        if reply.is_error():
            raise Failure(f"{command[:4]}: {reply.text()}")


@test(
    "a value dumped by either server is the same value restored by the other",
    value=tuple(VALUES),
    threads=(1, 4),
)
def travels(t, value, threads):
    gyre = t.connect(t.gyre(threads=threads))
    redis = t.connect(t.redis())
    for maker, reader in ((redis, gyre), (gyre, redis)):
        make(t, maker, VALUES[value])
        want = content(maker)
        dumped = maker.cmd("DUMP", "k").value
        t.equal(reader.cmd("RESTORE", "k", 0, dumped, "REPLACE"), OK, value)
        t.equal(content(reader), want, value)
        again = reader.cmd("DUMP", "k").value
        t.equal(maker.cmd("RESTORE", "back", 0, again), OK, value)
        t.equal(content(maker, "back"), want, value)
        if value.startswith("="):
            t.equal(again, dumped, value)
        for conn in (maker, reader):
            make(t, conn, FORGET)
            conn.cmd("FLUSHALL")


@test("a value that was restored goes on working", value=tuple(VALUES))
def goes_on(t, value):
    gyre = t.connect(t.gyre())
    redis = t.connect(t.redis())
    make(t, redis, VALUES[value])
    make(t, redis, FORGET)
    dumped = redis.cmd("DUMP", "k").value
    changes = {
        b"string": [("APPEND", "k", "more")],
        b"list": [
            ("RPUSH", "k", "r", "s"),
            ("LPUSH", "k", "l"),
            ("LSET", "k", 1, "m"),
            ("RPOP", "k"),
        ],
        b"set": [("SADD", "k", "new", 77), ("SREM", "k", "a", 1, "member 5")],
        b"zset": [("ZADD", "k", 3.5, "new"), ("ZINCRBY", "k", 2, "member 5"), ("ZREM", "k", "a")],
        b"hash": [("HSET", "k", "new", "x", "f", "y"), ("HDEL", "k", "n", "field 3")],
        b"stream": [
            ("XADD", "k", "999999-1", "f", "v"),
            ("XDEL", "k", "1-1"),
            ("XTRIM", "k", "MAXLEN", 3),
        ],
    }
    for conn in (gyre, redis):
        t.equal(conn.cmd("RESTORE", "k", 0, dumped, "REPLACE"), OK)
        make(t, conn, changes[conn.cmd("TYPE", "k").value])
    t.equal(content(gyre), content(redis))


# ---- layouts that were written once, or will be

PAIRS = [b"f", b"v", b"g", 12, b"h", -70000, b"", b"x" * 300]
SCORED = [b"m", -5, b"a", 1, b"b", 1, b"c", b"2.5", b"d", b"inf"]
ELEMENTS = [
    b"a",
    0,
    12,
    13,
    -1,
    127,
    128,
    -128,
    -129,
    4095,
    4096,
    32768,
    1 << 23,
    1 << 31,
    -(1 << 40),
]
ELEMENTS += [b"", b"x" * 63, b"y" * 64, b"z" * 300, b"w" * 17000, b"end"]
NODES = p.length(3) + p.strings(p.ziplist(b"a", 1), p.ziplist(), p.ziplist(*ELEMENTS))

# Name: payload; both servers must read the same of them.
LAYOUTS = {
    "0: string": p.payload(0, p.string("text")),
    "0: string of an integer": p.payload(0, b"\xc1\x39\x30"),
    "0: LZF, literal": p.payload(0, p.lzf_literal(bytes(range(100)))),
    "0: LZF, overlapping": p.payload(0, b"\xc3\x05\x12" + b"\x00a\xe0\x08\x00"),
    "0: length of 14 bits": p.payload(0, b"\x40\x05hello"),
    "0: length of 32 bits": p.payload(0, b"\x80\0\0\0\x05hello"),
    "0: length of 64 bits": p.payload(0, b"\x81\0\0\0\0\0\0\0\x05hello"),
    "0: version 1": p.payload(0, p.string("text"), version=1),
    "1: list": p.payload(1, p.length(4) + p.strings("a", "b", "a", 12)),
    "2: set": p.payload(2, p.length(3) + p.strings("a", "b", 12)),
    "2: set of integers": p.payload(2, p.length(3) + p.strings(3, 12, -5)),
    "2: big set": p.payload(2, p.length(1000) + p.strings(*numbered("member %d", 1000))),
    "3: zset": p.payload(
        3,
        p.length(5),
        *(
            p.string(m) + p.old_double(s)
            for m, s in (("a", 2.5), ("b", -1), ("c", INF), ("d", -INF), ("e", 2.5))
        ),
    ),
    "4: hash": p.payload(4, p.length(2) + p.strings("f", "v", "g", 12)),
    "4: big hash": p.payload(4, p.length(1000) + p.strings(*paired("field %d", 1000))),
    "5: zset": p.payload(
        5, p.length(2), p.string("a"), p.double(2.5), p.string("b"), p.double(-INF)
    ),
    "5: zset, ascending": p.payload(
        5, p.length(500), *(p.string(f"m{i}") + p.double(i) for i in range(500))
    ),
    "9: zipmap": p.payload(9, p.string(p.zipmap((b"f", b"v"), (b"g", b"x" * 300), (b"", b"")))),
    "9: zipmap with gaps": p.payload(9, p.string(p.zipmap((b"f", b"v"), (b"g", b"w"), gap=3))),
    "10: ziplist": p.payload(10, p.string(p.ziplist(*ELEMENTS))),
    "10: ziplist, long lengths": p.payload(
        10, p.string(p.ziplist(b"a", b"b", 3, long_lengths=True))
    ),
    "10: ziplist, count unknown": p.payload(10, p.string(p.ziplist(b"a", b"b", 3, count=65535))),
    "11: intset": p.payload(11, p.string(p.intset(-3, 1, 70000))),
    "11: intset, wide": p.payload(11, p.string(p.intset(1, 2, 3, width=8))),
    "11: big intset": p.payload(11, p.string(p.intset(*range(2000)))),
    "12: zset, ziplist": p.payload(12, p.string(p.ziplist(*SCORED))),
    "13: hash, ziplist": p.payload(13, p.string(p.ziplist(*PAIRS))),
    "13: big hash, ziplist": p.payload(
        13, p.string(p.ziplist(*(x for i in range(1000) for x in (b"f%d" % i, i))))
    ),
    "14: list of ziplists": p.payload(14, NODES),
    "16: hash, listpack": p.payload(16, p.string(p.listpack(*PAIRS))),
    "16: hash, listpack, count unknown": p.payload(16, p.string(p.listpack(*PAIRS, count=65535))),
    "16: hash, integers as text": p.payload(16, p.string(p.listpack(b"1", b"2", b"3", b"4"))),
    "17: zset, listpack": p.payload(17, p.string(p.listpack(*SCORED))),
    "17: big zset, listpack": p.payload(
        17, p.string(p.listpack(*(x for i in range(500) for x in (b"m%03d" % i, i))))
    ),
    "18: list of listpacks": p.payload(
        18,
        p.length(3),
        p.length(2) + p.string(p.listpack(b"a", 1)),
        p.length(1) + p.string(b"plain"),
        p.length(2) + p.string(p.listpack(*ELEMENTS)),
    ),
    "18: list, an empty node": p.payload(
        18,
        p.length(2),
        p.length(2) + p.string(p.listpack()),
        p.length(2) + p.string(p.listpack(b"a")),
    ),
}


@test(
    "layouts of every age are read as redis-server reads them",
    name=tuple(LAYOUTS),
)
def layouts(t, name):
    gyre = t.connect(t.gyre())
    redis = t.connect(t.redis())
    for conn in (redis, gyre):
        t.equal(conn.cmd("RESTORE", "k", 0, LAYOUTS[name]), OK, name)
    t.equal(content(gyre), content(redis), name)
    t.equal(redis.cmd("RESTORE", "back", 0, gyre.cmd("DUMP", "k").value), OK)
    t.equal(content(redis, "back"), content(redis), name)


def triples(*items):
    return p.string(p.listpack(*items))


SOON = 4102444800000  # in 2100

# Redis 7.2 and 7.4; the oracle does not know them.
NEW_LAYOUTS = {
    "20: set, listpack": (p.payload(20, p.string(p.listpack(b"a", 1, b"b"))), {b"a", b"1", b"b"}),
    "20: big set, listpack": (
        p.payload(20, p.string(p.listpack(*(b"m%d" % i for i in range(500))))),
        {b"m%d" % i for i in range(500)},
    ),
    "24: hash with expiry": (
        p.payload(
            24,
            struct.pack("<Q", SOON),
            p.length(3),
            p.length(1) + p.strings("f", "v"),
            p.length(0) + p.strings("g", "w"),
            p.length(1001) + p.strings("h", 12),
            version=12,
        ),
        {b"f": (b"v", SOON), b"g": (b"w", -1), b"h": (b"12", SOON + 1000)},
    ),
    "25: hash of triples": (
        p.payload(
            25,
            struct.pack("<Q", SOON),
            triples(b"f", b"v", SOON, b"h", 12, SOON + 9, b"g", b"w", 0),
            version=12,
        ),
        {b"f": (b"v", SOON), b"g": (b"w", -1), b"h": (b"12", SOON + 9)},
    ),
}


@test(
    "layouts newer than the oracle are read and written", name=tuple(NEW_LAYOUTS), needs=gyre_only
)
def new_layouts(t, name):
    conn = t.connect(t.gyre())
    sealed, want = NEW_LAYOUTS[name]
    t.equal(conn.cmd("RESTORE", "k", 0, sealed), OK, name)
    for key in ("k", "again"):
        if isinstance(want, set):
            got = {r.value for r in conn.cmd("SMEMBERS", key).value}
        else:
            flat = [r.value for r in conn.cmd("HGETALL", key).value]
            times = conn.cmd("HPEXPIRETIME", key, "FIELDS", len(flat) // 2, *flat[::2]).value
            got = {f: (v, at.value) for f, v, at in zip(flat[::2], flat[1::2], times)}
        t.equal(got, want, name)
        dumped = conn.cmd("DUMP", key).value
        if not isinstance(want, set):
            t.equal(dumped[-10:-8], b"\x0c\x00", "version")
        t.equal(conn.cmd("RESTORE", "again", 0, dumped, "REPLACE"), OK)


@test("a hash of triples is written in the order of their expiry", needs=gyre_only)
def order_of_triples(t):
    conn = t.connect(t.gyre())
    conn.cmd("HSET", "k", "a", 1, "b", 2, "c", 3)
    conn.cmd("HPEXPIREAT", "k", SOON + 5, "FIELDS", 1, "a")
    conn.cmd("HPEXPIREAT", "k", SOON, "FIELDS", 1, "c")
    want = p.payload(
        25,
        struct.pack("<Q", SOON),
        triples(b"c", 3, SOON, b"a", 1, SOON + 5, b"b", 2, 0),
        version=12,
    )
    t.equal(conn.cmd("DUMP", "k").value, want)
    conn.cmd("HPERSIST", "k", "FIELDS", 2, "a", "c")
    t.equal(conn.cmd("DUMP", "k").value[0], 16, "the layout when no expiry is left")
    t.equal(conn.cmd("DUMP", "k").value[-10:-8], b"\x0a\x00", "version")


@test("fields that were restored expire", threads=(1, 4), big=(False, True), needs=gyre_only)
def fields_expire(t, threads, big):
    conn = t.connect(t.gyre(threads=threads))
    stay = paired("field %d", 1000 if big else 1)
    conn.cmd("HSET", "k", "f", "v", *stay)
    conn.cmd("HPEXPIRE", "k", 1000, "FIELDS", 1, "f")
    dumped = conn.cmd("DUMP", "k").value
    conn.cmd("HSET", "alone", "f", "v")
    conn.cmd("HPEXPIRE", "alone", 1000, "FIELDS", 1, "f")
    alone = conn.cmd("DUMP", "alone").value
    conn.cmd("FLUSHALL")
    t.equal(conn.cmd("RESTORE", "k", 0, dumped), OK)
    t.equal(conn.cmd("RESTORE", "alone", 0, alone), OK)
    t.equal(conn.cmd("HLEN", "k"), integer(len(stay) // 2 + 1))
    t.wait_for(lambda: conn.cmd("DBSIZE") == integer(1), "the hash with no field left is gone")
    t.wait_for(lambda: conn.cmd("HLEN", "k") == integer(len(stay) // 2), "the field is gone")
    t.equal(conn.cmd("HGET", "k", "f").value, None)
    # What was over before it came is over.
    t.equal(conn.cmd("RESTORE", "alone", 0, alone), OK)
    t.equal(conn.cmd("HGET", "alone", "f").value, None)
    t.wait_for(lambda: conn.cmd("EXISTS", "alone") == integer(0), "nothing is left")


# ---- payloads that are wrong


def node(container, data):
    return p.length(container) + p.string(data)


def zset2(*pairs):
    return p.payload(5, p.length(len(pairs)), *(p.string(m) + p.double(s) for m, s in pairs))


NAN = float("nan")
WRONG = {
    "no type": p.seal(b""),
    "an unknown type": p.payload(8, p.string("x")),
    "types that are no values": p.payload(250, p.string("x")),
    "a module": p.payload(7, p.string("x")),
    "a type of 7.4's previews": p.payload(
        22, struct.pack("<Q", 0), p.length(1), p.strings("f", "v")
    ),
    "a string without an end": p.payload(0, b"\x05hell"),
    "a string of 2^64 - 1 bytes": p.payload(0, b"\x81" + b"\xff" * 8 + b"x"),
    "a string of a gigabyte": p.payload(0, b"\x80\x40\0\0\0x"),
    "an unknown length": p.payload(0, b"\x82hello"),
    "an unknown string": p.payload(0, b"\xc4hello"),
    "bytes behind a string": p.payload(0, p.string("x") + b"y"),
    "LZF with a wrong length": p.payload(0, b"\xc3\x05\x14" + b"\x00a\xe0\x08\x00"),
    "LZF of nothing": p.payload(0, b"\xc3\x00\x00"),
    "LZF that claims too much": p.payload(0, b"\xc3\x02\x80\x7f\xff\xff\xff\x00a"),
    "LZF that looks back too far": p.payload(0, b"\xc3\x05\x12" + b"\x00a\xe0\x08\x05"),
    "an empty list": p.payload(1, p.length(0)),
    "an empty set": p.payload(2, p.length(0)),
    "an empty zset": p.payload(5, p.length(0)),
    "an empty hash": p.payload(4, p.length(0)),
    "an empty intset": p.payload(11, p.string(p.intset(width=2))),
    "an empty ziplist": p.payload(10, p.string(p.ziplist())),
    "an empty zipmap": p.payload(9, p.string(p.zipmap())),
    "an empty listpack of a hash": p.payload(16, p.string(p.listpack())),
    "an empty listpack of a zset": p.payload(17, p.string(p.listpack())),
    "an empty listpack of a set": p.payload(20, p.string(p.listpack())),
    "a list of no nodes": p.payload(18, p.length(0)),
    "a list of empty nodes": p.payload(18, p.length(1), node(2, p.listpack())),
    "a list shorter than it says": p.payload(1, p.length(3) + p.strings("a", "b")),
    "a list of 2^63 elements": p.payload(1, b"\x81\x80" + b"\0" * 7 + p.string("a")),
    "a set of 2^63 members": p.payload(2, b"\x81\x80" + b"\0" * 7 + p.string("a")),
    "a set with a member twice": p.payload(2, p.length(3) + p.strings("a", "b", "a")),
    "a set with an integer twice": p.payload(2, p.length(3) + p.strings(1, 2, 1)),
    "a set, listpack, with a member twice": p.payload(20, p.string(p.listpack(b"a", 1, b"1"))),
    "a hash with a field twice": p.payload(4, p.length(2) + p.strings("f", "v", "f", "w")),
    "a hash, listpack, with a field twice": p.payload(16, p.string(p.listpack(b"f", 1, b"f", 2))),
    "a hash, ziplist, with a field twice": p.payload(13, p.string(p.ziplist(b"f", 1, b"f", 2))),
    "a hash, listpack, of three": p.payload(16, p.string(p.listpack(b"f", 1, b"g"))),
    "a hash with a field without value": p.payload(4, p.length(1) + p.string("f")),
    "a zset with a member twice": zset2(("a", 1), ("a", 2)),
    "a zset with NaN": zset2(("a", 1), ("b", NAN)),
    "an old zset with NaN": p.payload(3, p.length(1), p.string("a"), b"\xfd"),
    "an old zset with a score that is none": p.payload(3, p.length(1), p.string("a"), b"\x03abc"),
    "a zset, listpack, out of order": p.payload(17, p.string(p.listpack(b"a", 2, b"b", 1))),
    "a zset, listpack, members out of order": p.payload(17, p.string(p.listpack(b"b", 1, b"a", 1))),
    "a zset, listpack, with a member twice": p.payload(17, p.string(p.listpack(b"a", 1, b"a", 2))),
    "a zset, listpack, with NaN": p.payload(17, p.string(p.listpack(b"a", b"nan"))),
    "a zset, listpack, with a score that is none": p.payload(17, p.string(p.listpack(b"a", b"x"))),
    "a zset, listpack, of one": p.payload(17, p.string(p.listpack(b"a"))),
    "an intset of width 3": p.payload(11, p.string(struct.pack("<II", 3, 1) + b"\1\0\0")),
    "an intset out of order": p.payload(11, p.string(p.intset(2, 1))),
    "an intset with an integer twice": p.payload(11, p.string(p.intset(1, 1))),
    "an intset longer than it says": p.payload(11, p.string(p.intset(1, 2, count=1))),
    "an intset shorter than it says": p.payload(11, p.string(p.intset(1, 2, count=3))),
    "an intset of 2^32 - 1": p.payload(11, p.string(p.intset(1, 2, count=0xFFFFFFFF))),
    "an intset without a header": p.payload(11, p.string(b"\2\0\0")),
    "a listpack with a wrong size": p.payload(16, p.string(p.listpack(b"f", 1, total=99))),
    "a listpack with a wrong count": p.payload(16, p.string(p.listpack(b"f", 1, count=4))),
    "a listpack without an end": p.payload(16, p.string(p.listpack(b"f", 1, end=b""))),
    "a listpack of no header": p.payload(16, p.string(b"\1\2\3")),
    "a node of an unknown kind": p.payload(18, p.length(1), node(3, p.listpack(b"a"))),
    "a node that is no listpack": p.payload(18, p.length(1), node(2, b"abcdefg")),
    "a ziplist with a wrong size": p.payload(10, p.string(p.ziplist(b"a", total=99))),
    "a ziplist with a wrong tail": p.payload(10, p.string(p.ziplist(b"a", b"b", last=10))),
    "a ziplist with a wrong count": p.payload(10, p.string(p.ziplist(b"a", b"b", count=1))),
    "a list of a bad ziplist": p.payload(14, p.length(1), p.string(p.ziplist(b"a", b"b", count=1))),
    "a zipmap with a wrong count": p.payload(9, p.string(p.zipmap((b"f", b"v"), count=2))),
    "a zipmap that ends early": p.payload(9, p.string(b"\1\1f\2\0v\xff")),
    "a zipmap with a field twice": p.payload(9, p.string(p.zipmap((b"f", b"v"), (b"f", b"w")))),
    "a stream of nothing": p.payload(15),
    "a stream that ends early": p.payload(19, p.length(1), p.string(b"\0" * 16)),
}

# Wrong only to Gyre: fields with expiry, and what Redis does not look at.
WRONG_EXPIRY = {
    "an expiry beyond 48 bits": p.payload(
        24, b"\xff" * 8, p.length(1), p.length(1), p.strings("f", "v")
    ),
    "a sum beyond 48 bits": p.payload(
        24, struct.pack("<Q", (1 << 48) - 3), p.length(1), p.length(100), p.strings("f", "v")
    ),
    "an expiring hash of none": p.payload(24, struct.pack("<Q", SOON), p.length(0)),
    "an expiring hash with a field twice": p.payload(
        24, struct.pack("<Q", SOON), p.length(2), *[p.length(0) + p.strings("f", "v")] * 2
    ),
    "triples of two": p.payload(25, struct.pack("<Q", SOON), triples(b"f", b"v")),
    "a triple with text for a time": p.payload(
        25, struct.pack("<Q", SOON), triples(b"f", b"v", b"x")
    ),
    "a triple with a negative time": p.payload(
        25, struct.pack("<Q", SOON), triples(b"f", b"v", -1)
    ),
    "triples with a field twice": p.payload(
        25, struct.pack("<Q", SOON), triples(b"f", b"v", 0, b"f", b"w", 0)
    ),
}


@test("a value that is not what it should be is refused, and nothing is lost", needs=gyre_only)
def wrong(t):
    conn = t.connect(t.gyre())
    conn.cmd("SET", "k", "before")
    for name, sealed in {**WRONG, **WRONG_EXPIRY}.items():
        t.equal(conn.cmd("RESTORE", "k", 0, sealed, "REPLACE"), BAD_DATA, name)
    t.equal(conn.cmd("GET", "k").value, b"before")
    t.equal(conn.cmd("DBSIZE"), integer(1))


@test("a footer that is not what it should be is refused", needs=None)
def footers(t):
    conn = t.connect(t.gyre())
    good = p.payload(2, p.length(1) + p.string("x"))  # not of type 0: leading zeros change no CRC
    for at in range(len(good)):
        for bit in (1, 128):
            changed = good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :]
            t.equal(conn.cmd("RESTORE", "k", 0, changed), BAD_FOOTER, f"byte {at}")
    for bad in (b"", b"x", good[1:], good[:-1], good[:9], p.payload(0, p.string("x"), version=13)):
        t.equal(conn.cmd("RESTORE", "k", 0, bad), BAD_FOOTER)
    t.equal(conn.cmd("RESTORE", "k", 0, p.body_of(good) + b"\x0a\0" + b"\0" * 8), BAD_FOOTER)
    t.equal(conn.cmd("RESTORE", "k", 0, good), OK)


def mutate(rng, body):
    out = bytearray(body)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(out))
        change = rng.randrange(6)
        if change == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            out[at] = rng.choice((0, 1, 2, 0x7F, 0x80, 0xC0, 0xC3, 0xF0, 0xFE, 0xFF))
        elif change == 2:
            out[at] = (out[at] + rng.choice((-1, 1))) & 255
        elif change == 3 and len(out) > 2:
            del out[at : at + rng.randrange(1, 5)]
        elif change == 4:
            out[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 5)))
        else:
            other = rng.randrange(len(out))
            out[at : at + 4] = out[other : other + 4]
        if not out:
            out = bytearray(b"\0")
    if rng.random() < 0.1:
        del out[rng.randrange(1, len(out) + 1) :]
    return bytes(out)


def samples(t):
    """Bodies to begin with: every layout, and what Redis dumps of every value that is small."""
    redis = t.connect(t.redis())
    out = [p.body_of(s) for s in LAYOUTS.values()]
    out += [p.body_of(s) for s, _ in NEW_LAYOUTS.values()]
    for commands in VALUES.values():
        make(t, redis, commands)
        body = p.body_of(redis.cmd("DUMP", "k").value)
        if len(body) < 5000:
            out.append(body)
        make(t, redis, FORGET)
        redis.cmd("DEL", "k")
    return out


USES = [
    ("DUMP", "k"),
    ("OBJECT", "ENCODING", "k"),
    ("MEMORY", "USAGE", "k", "SAMPLES", "0"),
    ("DEBUG", "DIGEST-VALUE", "k"),
    ("COPY", "k", "c", "REPLACE"),
    ("APPEND", "k", "x"),
    ("LPUSH", "k", "new"),
    ("LREM", "k", "0", "a"),
    ("LTRIM", "k", "1", "-2"),
    ("SADD", "k", "new"),
    ("SPOP", "k"),
    ("ZADD", "k", "5", "new"),
    ("ZRANGEBYSCORE", "k", "-inf", "inf"),
    ("ZPOPMIN", "k"),
    ("HSET", "k", "new", "v"),
    ("HDEL", "k", "f", "new"),
    ("HPEXPIRE", "k", "100000", "FIELDS", "1", "g"),
    ("XADD", "k", "*", "f", "v"),
    ("XINFO", "STREAM", "k", "FULL"),
    ("XTRIM", "k", "MAXLEN", "1"),
    ("SORT", "k", "ALPHA"),
    ("DEL", "c"),
]


@test(
    "thousands of damaged payloads crash nothing, leak nothing and lose nothing",
    threads=(1, 4),
    needs=gyre_only,
    timeout=120,
)
def damaged(t, threads):
    conn = t.connect(t.own_gyre(threads=threads))
    bodies = samples(t)
    outcomes = {}
    conn.cmd("SET", "witness", "here")
    before = None
    for i in range(int(6000 * SCALE)):
        body = mutate(t.rng, t.rng.choice(bodies))
        if i == 1000:
            before = int(info(conn, "memory")["used_memory"])
        reply = conn.cmd("RESTORE", "k", 0, p.seal(body, 12))
        outcomes[reply.value] = outcomes.get(reply.value, 0) + 1
        if reply == OK:
            again = conn.cmd("DUMP", "k").value
            t.equal(conn.cmd("RESTORE", "again", 0, again), OK, f"what was dumped of {body!r}")
            t.equal(content(conn, "again"), content(conn), f"what was restored of {body!r}")
            for use in USES:
                conn.cmd(*use)
        else:
            t.equal(reply, BAD_DATA, repr(body))
        conn.cmd("DEL", "k", "again", "c")
    t.equal(conn.cmd("GET", "witness").value, b"here")
    t.equal(conn.cmd("DBSIZE"), integer(1))
    t.check(outcomes.get(b"OK", 0) > 100, f"hardly any payload was good: {outcomes}")
    t.check(outcomes.get(BAD_DATA.value, 0) > 100, f"hardly any payload was bad: {outcomes}")
    grown = int(info(conn, "memory")["used_memory"]) - before
    t.check(grown < 1 << 20, f"used_memory has grown by {grown} bytes")


@test("a payload that claims much takes no memory", needs=gyre_only)
def claims(t):
    conn = t.connect(t.own_gyre())
    conn.cmd("PING")
    before = int(info(conn, "memory")["used_memory_peak"])
    for kind in (0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 24, 25):
        for claim in (
            b"\x80\x7f\xff\xff\xff",
            b"\x81\x00\x00\x00\x7f" + b"\xff" * 4,
            b"\x81" + b"\xff" * 8,
        ):
            for more in (b"", claim, b"\0" * 8 + claim, b"\x01a" + claim):
                conn.cmd("RESTORE", "k", 0, p.payload(kind, claim, more), "REPLACE")
                conn.cmd("RESTORE", "k", 0, p.payload(kind, more, claim), "REPLACE")
                conn.cmd("RESTORE", "k", 0, p.payload(kind, b"\xc3\x02" + claim, more), "REPLACE")
    peak = int(info(conn, "memory")["used_memory_peak"])
    t.check(peak - before < 4 << 20, f"used_memory_peak went from {before} to {peak}")
