# SPDX-License-Identifier: BSD-3-Clause
"""Big values of every type, and what streams of commands cannot see: memory, and how values are freed.

Nothing here looks at a clock: that nobody is kept waiting shows in counters. A value that is deleted is
still there in part when the next command runs (lazyfree_pending_objects), and a value that grows does so
by small steps.
"""

import hashlib
import time

from harness import OK, SCALE, STANDIN, Failure, check, info
from runner import test

MANY = int(100000 * max(1, SCALE))
CHUNK = 1000


def gyre_only():
    return "Redis frees or grows otherwise" if STANDIN else None


def noise(i):
    """64 bytes that nobody can compress."""
    return hashlib.blake2b(b"%d" % i).digest()


# How to put elements from … to - 1 into the key, in one command.
GROW = {
    "list": lambda k, ids: ("RPUSH", k, *map(noise, ids)),
    "hash": lambda k, ids: ("HSET", k, *(w for i in ids for w in (f"field {i}", f"value {i}"))),
    "set": lambda k, ids: ("SADD", k, *(f"member {i}" for i in ids)),
    "zset": lambda k, ids: (
        "ZADD",
        k,
        *(w for i in ids for w in (i * 7919 % 65537, f"member {i}")),
    ),
    "stream": lambda k, ids: (
        "XADD",
        k,
        f"{ids[0] + 1}-1",
        *(w for i in ids for w in ("f", noise(i))),
    ),
}


def fill(conn, kind, key, count, first=0):
    step = CHUNK if kind != "stream" else 10  # an entry for ten
    commands = [
        GROW[kind](key, range(i, min(i + step, first + count)))
        for i in range(first, first + count, step)
    ]
    for at in range(0, len(commands), 200):
        for reply in conn.pipeline(commands[at : at + 200]):
            if reply.is_error():
                raise Failure(f"{kind}: {reply}")


def memory(conn, name="used_memory"):
    return int(info(conn, "memory")[name])


def settled_memory(t, conn):
    """used_memory when nothing more is being freed."""
    t.wait_for(lambda: memory(conn, "lazyfree_pending_objects") == 0, "all garbage is freed", 30)
    return memory(conn)


# ---- long requests


@test(
    "long requests in a pipeline get all their replies, whichever shard has the key",
    threads=(1, 4),
    io=("uring", "poll"),
    timeout=120,
)
def long_requests(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    for key in ("big", "another", "a third", "a fourth"):  # some are not where the connection is
        conn = t.connect(server, timeout=20)
        # 70 KB each: more than is read ahead of what cannot run yet.
        commands = [("RPUSH", key, *map(noise, range(i, i + 1000))) for i in range(100)]
        replies = conn.pipeline(commands)
        t.equal([r.value for r in replies], list(range(1000, 100001, 1000)), "lengths")


# ---- freeing

# How a big value can go away; each is answered before the value is freed.
ENDINGS = {
    "UNLINK": [("UNLINK", "big")],
    "DEL": [("DEL", "big")],
    "SET over it": [("SET", "big", "small")],
    "RENAME over it": [("SET", "small", "v"), ("RENAME", "small", "big")],
    "COPY over it": [("SET", "small", "v"), ("COPY", "small", "big", "REPLACE")],
    "a time in the past": [("PEXPIREAT", "big", 1)],
    "SINTERSTORE of nothing": [("SINTERSTORE", "big", "missing", "nothing")],
    "FLUSHDB ASYNC": [("FLUSHDB", "ASYNC")],
    "FLUSHALL": [("FLUSHALL",)],
}


@test(
    "a big value that goes away is freed little by little, and all of it",
    kind=tuple(GROW),
    threads=(1, 4),
    alone=True,
    timeout=240,
    needs=gyre_only,
)
def freeing(t, kind, threads):
    conn = t.connect(t.gyre(threads=threads), timeout=60)
    for ending, commands in ENDINGS.items():
        conn.cmd("FLUSHALL")
        empty, freed = settled_memory(t, conn), memory_freed(conn)
        fill(conn, kind, "big", MANY)
        full = memory(conn)
        check(full - empty > 2 << 20, f"{MANY} elements take only {full - empty} bytes")
        # In one write, so that nothing else comes between the last command and INFO.
        *replies, after = conn.pipeline([*commands, ("INFO", "memory")])
        check(not any(r.is_error() for r in replies), f"{ending}: {replies}")
        pending = int(after.text().split(b"lazyfree_pending_objects:")[1].split(b"\r")[0])
        # With more threads another one frees, while this one makes its INFO.
        check(pending >= 1 or threads > 1, f"{ending}: freed at once, with everybody waiting")
        left = settled_memory(t, conn) - empty
        check(
            left < (full - empty) // 10 + (1 << 20),
            f"{ending}: of {full - empty} bytes {left} are still there",
        )
        check(memory_freed(conn) > freed, f"{ending}: lazyfreed_objects has not moved")


def memory_freed(conn):
    return int(info(conn, "memory")["lazyfreed_objects"])


@test(
    "big values that expire are freed without anybody asking for them",
    threads=(1, 4),
    alone=True,
    timeout=120,
)
def expiring(t, threads):
    conn = t.connect(t.gyre(threads=threads), timeout=60)
    empty = settled_memory(t, conn)
    for kind in GROW:
        fill(conn, kind, kind, MANY // 5)
    full = memory(conn)
    for kind in GROW:
        t.equal(conn.cmd("PEXPIRE", kind, 5).value, 1)
    t.wait_for(lambda: conn.cmd("DBSIZE").value == 0, "all keys have expired", 20)
    t.wait_for(
        lambda: settled_memory(t, conn) - empty < (full - empty) // 10 + (1 << 20),
        "their memory is back",
        20,
    )


@test("FLUSHALL of all types gives the memory back", threads=(1, 4), alone=True, timeout=120)
def flushing(t, threads):
    conn = t.connect(t.gyre(threads=threads), timeout=60)
    sizes = []
    for _ in range(3):
        for kind in GROW:
            fill(conn, kind, f"big {kind}", MANY // 5)
            for i in range(300):
                fill(conn, kind, f"small {kind} {i}", 10)
        conn.cmd("SETBIT", "bits", 8 << 20, 1)
        conn.pipeline([("PFADD", f"hll {i}", *range(i, i + 300)) for i in range(50)])
        full = memory(conn)
        t.equal(conn.cmd("FLUSHALL"), OK)
        sizes.append(settled_memory(t, conn))
        check(full - sizes[-1] > 4 << 20, f"{full} bytes before FLUSHALL, {sizes[-1]} after")
    # The first round may leave buffers and tables behind that later ones use again.
    check(sizes[-1] < sizes[0] + (1 << 20), f"used_memory after each FLUSHALL: {sizes}")


# ---- growing

# The most bytes that one more command of 1,000 elements may add. Redis's table of 131,072 members needs two
# megabytes at once for the next one.
LARGEST_STEP = 512 << 10


@test(
    "a big value grows by small steps",
    kind=("list", "hash", "set", "zset"),
    alone=True,
    timeout=120,
    needs=gyre_only,
)
def growing(t, kind):
    conn = t.connect(t.own_gyre(threads=1), timeout=60)  # where nothing else comes or goes
    empty = memory(conn)
    fill(conn, kind, "k", MANY // 2)
    before = first = memory(conn) - empty  # MEMORY USAGE estimates what is in tables
    for i in range(MANY // 2, 2 * MANY, CHUNK):
        conn.cmd(*GROW[kind]("k", range(i, i + CHUNK)))
        now = memory(conn) - empty
        check(
            now - before <= LARGEST_STEP,
            f"from {before} to {now} bytes by the elements {i} to {i + CHUNK}",
        )
        before = now
    check(before > 2 * first, f"{first} bytes at {MANY // 2} elements, {before} at {2 * MANY}")


# ---- MEMORY USAGE


def many_keys(count, *commands):
    """The commands `count` times, K being another key each time."""
    return [
        tuple(f"key:{i:05}" if w == "K" else w for w in words)
        for i in range(count)
        for words in commands
    ]


def numbered(pattern, count):
    return [pattern % i for i in range(count)]


def paired(pattern, count):
    return [w for i in range(count) for w in (pattern % i, f"value {i}")]


def scored(count):
    return [w for i in range(count) for w in (i, f"member {i}")]


# What it is: (its OBJECT ENCODING, or several that will do; how many keys; the commands that make one).
SHAPES = {
    "a string of 1,000 bytes": ("raw", 3000, ("SET", "K", "x" * 1000)),
    "a short string": ("embstr", 20000, ("SET", "K", "x" * 30)),
    "a list of 10": ("listpack quicklist", 5000, ("RPUSH", "K", *numbered("element %d", 10))),
    "a list of 5,000": ("quicklist", 50, ("RPUSH", "K", *numbered("element %d", 5000))),
    "a list of long elements": ("quicklist", 100, ("RPUSH", "K", *["x" * 5000] * 20)),
    "a list of one huge element": ("quicklist listpack", 50, ("RPUSH", "K", "x" * 100000)),
    "a hash of 5": ("listpack", 5000, ("HSET", "K", *paired("field %d", 5))),
    "a hash of 2,000": ("hashtable", 40, ("HSET", "K", *paired("field %d", 2000))),
    "a hash of long values": ("hashtable", 300, ("HSET", "K", "f", "x" * 10000, "g", "y" * 100)),
    "a set of 10 integers": ("intset", 8000, ("SADD", "K", *range(10))),
    "a set of 10": ("listpack hashtable", 5000, ("SADD", "K", *numbered("member %d", 10))),
    "a set of 3,000": ("hashtable", 40, ("SADD", "K", *numbered("member %d", 3000))),
    "a sorted set of 10": ("listpack", 5000, ("ZADD", "K", *scored(10))),
    "a sorted set of 3,000": ("skiplist", 40, ("ZADD", "K", *scored(3000))),
    "a stream of 1 entry": ("stream", 3000, ("XADD", "K", "1-1", "field", "value")),
    "a HyperLogLog": ("raw", 300, ("PFADD", "K", *range(5000))),
}


@test(
    "MEMORY USAGE is what the keys take, within a few per cent",
    shape=tuple(SHAPES),
    ttl=(False, True),
    alone=True,
    needs=gyre_only,
)
def usage(t, shape, ttl):
    encoding, count, *commands = SHAPES[shape]
    conn = t.connect(t.gyre(threads=1), timeout=60)
    # A table of keys that has been there before, so that its growth is not part of the sum.
    conn.pipeline(many_keys(count, ("SET", "K", "1"), ("EXPIRE", "K", 100000)))
    conn.cmd("FLUSHALL")
    empty = settled_memory(t, conn)
    for at in range(0, count, 100):
        keys = many_keys(count, *commands)[at * len(commands) : (at + 100) * len(commands)]
        for reply in conn.pipeline(keys):
            check(not reply.is_error(), f"{shape}: {reply}")
    if ttl:
        conn.pipeline(many_keys(count, ("EXPIRE", "K", 100000)))
    got = conn.cmd("OBJECT", "ENCODING", "key:00000").value.decode()
    check(got in encoding.split(), f"the encoding is {got}, not {encoding}")
    grown = settled_memory(t, conn) - empty
    said = sum(
        r.value for r in conn.pipeline(many_keys(count, ("MEMORY", "USAGE", "K", "SAMPLES", "0")))
    )
    near(said, grown, f"{count} × {shape}")


@test(
    "MEMORY USAGE of a big stream with groups is what it takes, within a few per cent",
    alone=True,
    needs=gyre_only,
)
def stream_usage(t):
    conn = t.connect(t.gyre(threads=1), timeout=60)
    empty = settled_memory(t, conn)
    fill(conn, "stream", "x", 50000)
    plain = settled_memory(t, conn)
    said = conn.cmd("MEMORY", "USAGE", "x", "SAMPLES", "0").value
    near(said, plain - empty, "5,000 entries")
    conn.cmd("XGROUP", "CREATE", "x", "g", "0")
    # Buffers that replies have once needed are kept, and after a second 1 MiB of them: so as many replies come before.
    conn.cmd("COPY", "x", "y")
    conn.cmd("XGROUP", "CREATE", "y", "g", "0")
    for i in range(100):
        conn.cmd("XREADGROUP", "GROUP", "g", "c", "COUNT", 200, "STREAMS", "y", "0" if i else ">")
    time.sleep(2)
    plain = settled_memory(t, conn)
    for i in range(20):
        conn.cmd("XREADGROUP", "GROUP", "g", f"consumer {i}", "COUNT", 200, "STREAMS", "x", ">")
    pending = conn.cmd("MEMORY", "USAGE", "x", "SAMPLES", "0").value - said
    time.sleep(2)
    near(pending, settled_memory(t, conn) - plain, "4,000 entries pending")


def near(said, grown, what):
    slack = 0.08 * grown + (64 << 10)
    check(abs(said - grown) <= slack, f"{what}: {said} bytes said, used_memory grew by {grown}")


# ---- encodings of Redis 7.4, where 7.0 has others

# Commands and, behind them, what OBJECT ENCODING k must be then.
ENCODINGS = {
    "sets": [
        (("SADD", "k", "1", "2", "3"), "intset"),
        (("SADD", "k", "a"), "listpack"),
        (("SREM", "k", "a"), "listpack"),
        (("SADD", "k", *range(10, 134)), "listpack"),  # 127 members
        (("SADD", "k", "one more"), "listpack"),  # 128
        (("SADD", "k", "1"), "listpack"),
        (("SADD", "k", "and another"), "hashtable"),
        (("SREM", "k", *range(200)), "hashtable"),
    ],
    "sets of long members": [
        (("SADD", "k", "x" * 64), "listpack"),
        (("SADD", "k", "y" * 65), "hashtable"),
    ],
    "sets of integers": [
        (("SADD", "k", *range(512)), "intset"),
        (("SADD", "k", "7"), "intset"),
        (("SADD", "k", "512"), "hashtable"),
    ],
    "sets of too many integers for a listpack": [
        (("SADD", "k", *range(128)), "intset"),
        (("SADD", "k", "a"), "hashtable"),
    ],
    "sets under other settings": [
        (("CONFIG", "SET", "set-max-listpack-entries", "4"), None),
        (("CONFIG", "SET", "set-max-intset-entries", "3"), None),
        (("CONFIG", "SET", "set-max-listpack-value", "5"), None),
        (("SADD", "k", "1", "2", "3"), "intset"),
        (("SADD", "k", "4"), "hashtable"),
        (("DEL", "k"), None),
        (("SADD", "k", "12345", "abcde"), "listpack"),
        (("SADD", "k", "abcdef"), "hashtable"),
        (("DEL", "k"), None),
        (("SADD", "k", "1", "2", "3", "a"), "listpack"),
        (("SADD", "k", "b"), "hashtable"),
    ],
    "lists": [
        (("CONFIG", "SET", "list-max-listpack-size", "4"), None),
        (("RPUSH", "k", "a", "b", "c"), "listpack"),
        (("LPUSH", "k", "d"), "listpack"),
        (("LPUSH", "k", "e"), "quicklist"),  # two nodes, of one and of four
        (("LPOP", "k"), "quicklist"),
        (("RPOP", "k"), "quicklist"),
        (("RPOP", "k"), "listpack"),  # one node, half full
        (("RPUSH", "k", "x", "y"), "listpack"),
        (("LINSERT", "k", "BEFORE", "x", "w"), "quicklist"),
        (("LTRIM", "k", "0", "1"), "listpack"),
    ],
    "lists by their bytes": [
        (("RPUSH", "k", *["x" * 1000] * 8), "listpack"),
        (("RPUSH", "k", "x" * 1000), "quicklist"),
        (("LTRIM", "k", "0", "2"), "listpack"),
        (("LSET", "k", "0", "y" * 9000), "quicklist"),
    ],
}
DEFAULTS = {
    "set-max-listpack-entries": 128,
    "set-max-listpack-value": 64,
    "set-max-intset-entries": 512,
    "list-max-listpack-size": -2,
}


@test(
    "sets and lists change their encodings where Redis 7.4 does",
    what=tuple(ENCODINGS),
    needs=gyre_only,
)
def encodings(t, what):
    conn = t.connect(t.gyre(threads=1))
    try:
        for words, want in ENCODINGS[what]:
            reply = conn.cmd(*words)
            check(not reply.is_error(), f"{words[:4]}: {reply}")
            if want:
                got = conn.cmd("OBJECT", "ENCODING", "k").value.decode()
                t.equal(got, want, f"after {' '.join(map(str, words))[:60]}")
    finally:
        for name, value in DEFAULTS.items():
            conn.cmd("CONFIG", "SET", name, value)
