# SPDX-License-Identifier: BSD-3-Clause
"""Tables of cases made by combination: options in every order, numbers at every edge, arities.

Only what is certain to give the same reply at any moment: times are far away or long past.
"""

import itertools

import cases_types
from tables import FLOATS, INTEGERS, by_chunk, combinations, words_of

# Options with a time use one that is either a long way off or long past.
SET_OPTIONS = (
    b"NX",
    b"XX",
    b"GET",
    b"KEEPTTL",
    b"EX 1000",
    b"PX 5000000",
    b"EXAT 9999999999",
    b"PXAT 1",
    b"EX 0",
    b"PERSIST",
    b"PX abc",
    b"EX",
)
GETEX_OPTIONS = (
    b"PERSIST",
    b"EX 1000",
    b"PX 5000000",
    b"EXAT 9999999999",
    b"PXAT 1",
    b"EX 0",
    b"PX -1",
    b"EXAT abc",
    b"NX",
    b"EX",
    b"KEEPTTL",
)
STATES = (
    ("missing", ()),
    ("plain", (("SET", "k", "old"),)),
    ("with ttl", (("SET", "k", "old", "EX", "2000"),)),
)


def set_options():
    for state, setup in STATES:
        out = []
        for words in itertools.chain(
            combinations(SET_OPTIONS, 2), itertools.combinations(SET_OPTIONS, 3)
        ):
            out += [
                ("DEL", "k"),
                *setup,
                ["SET", "k", "new", *words_of(words)],
                ("GET", "k"),
                ("TTL", "k"),
            ]
        yield from by_chunk(f"SET on a {state} key", out)


def getex_options():
    for state, setup in STATES:
        out = []
        for words in combinations(GETEX_OPTIONS, 2):
            out += [
                ("DEL", "k"),
                *setup,
                ["GETEX", "k", *words_of(words)],
                ("GET", "k"),
                ("TTL", "k"),
            ]
        yield from by_chunk(f"GETEX on a {state} key", out)


def expire_options():
    flags = (b"NX", b"XX", b"GT", b"LT", b"bogus")
    times = {
        "EXPIRE": (b"1000", b"3000", b"-1"),
        "PEXPIRE": (b"1000000", b"3000000", b"0"),
        "EXPIREAT": (b"9999999999", b"1"),
        "PEXPIREAT": (b"9999999999000", b"1"),
    }
    for command, values in times.items():
        for state, setup in STATES:
            out = []
            for words in itertools.chain(combinations(flags, 2), itertools.combinations(flags, 3)):
                for value in values:
                    out += [
                        ("DEL", "k"),
                        *setup,
                        [command, "k", value, *words],
                        ("EXISTS", "k"),
                        ("TTL", "k"),
                    ]
            yield from by_chunk(f"{command} on a {state} key", out)


def copy_options():
    options = (b"REPLACE", b"DB 0", b"DB 1", b"DB 16", b"DB x", b"DB", b"bogus")
    out = []
    for source, target in itertools.product((None, "plain", "ttl"), (None, "plain")):
        for words in combinations(options, 2):
            out += [("DEL", "a", "b")]
            if source:
                out.append(
                    ("SET", "a", "1") if source == "plain" else ("SET", "a", "1", "EX", "1000")
                )
            if target:
                out.append(("SET", "b", "2"))
            out += [
                ["COPY", "a", "b", *words_of(words)],
                ["COPY", "a", "a", *words_of(words)],
                ("GET", "b"),
                ("TTL", "b"),
            ]
        out += [("SELECT", "1"), ("FLUSHDB",), ("SELECT", "0")]
    yield from by_chunk("COPY", out)


def lcs_options():
    options = (
        b"LEN",
        b"IDX",
        b"WITHMATCHLEN",
        b"MINMATCHLEN 2",
        b"MINMATCHLEN 5",
        b"MINMATCHLEN -1",
        b"MINMATCHLEN x",
        b"bogus",
    )
    texts = [
        ("abcdefgh", "xabcyfghz"),
        ("aaaa", "aa"),
        ("", "abc"),
        ("12345", "3456"),
        ("abcabcabc", "cbacbacba"),
    ]
    for a, b in texts:
        out = [("MSET", "a", a, "b", b)]
        for words in combinations(options, 3):
            out.append(["LCS", "a", "b", *words_of(words)])
        yield from by_chunk(f"LCS of {a!r} and {b!r}", out)


def scan_options():
    options = (
        b"MATCH *",
        b"MATCH nope",
        b"COUNT 5",
        b"COUNT 0",
        b"COUNT x",
        b"TYPE string",
        b"TYPE list",
        b"bogus",
        b"COUNT",
        b"MATCH",
    )
    out = [("SET", "only", "v")]
    for cursor in (b"0", b"x", b"", b"0 ", b"00", b"1.0"):
        for words in combinations(options, 2):
            out.append(["SCAN", cursor, *words_of(words)])
    yield from by_chunk("SCAN", out)


def integer_arguments():
    out = []
    for n in INTEGERS:
        out += [
            ("SET", "k", n),
            ("INCR", "k"),
            ("GET", "k"),
            ("OBJECT", "ENCODING", "k"),
            ("SET", "k", n),
            ("DECR", "k"),
            ("SET", "k", n),
            ("INCRBY", "k", "5"),
            ("INCRBY", "k", "-7"),
            ("STRLEN", "k"),
            ("INCRBYFLOAT", "k", "1"),
            ("SET", "k", "10"),
            ("INCRBY", "k", n),
            ("SET", "k", "10"),
            ("DECRBY", "k", n),
            ("SET", "k", "-10"),
            ("INCRBY", "k", n),
            ("SET", "k", "-10"),
            ("DECRBY", "k", n),
            ("GET", "k"),
        ]
    yield from by_chunk("integers in values and increments", out)
    out = [("SET", "t", "Hello World")]
    for n, m in itertools.product(INTEGERS, INTEGERS):
        out.append(("GETRANGE", "t", n, m))
    yield from by_chunk("GETRANGE", out)
    out = []
    for n in INTEGERS:
        if len(n) < 9 or len(n) > 12:  # offsets that are refused, or that stay small
            out += [
                ("SET", "k", "Hello"),
                ("SETRANGE", "k", n, "XX"),
                ("GET", "k"),
                ("DEL", "k"),
                ("SETRANGE", "k", n, ""),
                ("SETRANGE", "k", n, "y"),
                ("EXISTS", "k"),
            ]
        out += [
            ("SELECT", n),
            ("SELECT", "0"),
            ("SET", "m", "v"),
            ("MOVE", "m", n),
            ("SWAPDB", n, "1"),
            ("SWAPDB", "1", n),
            ("SWAPDB", n, n),
            ("COPY", "m", "m2", "DB", n),
            ("LCS", "t", "t", "MINMATCHLEN", n),
        ]
    yield from by_chunk("offsets and databases", out)
    out = []
    for n in INTEGERS:
        if n in (b"1", b"+1", b"01", b"2147483647", b"2147483648", b"4294967296"):
            continue  # as a relative or absolute time these would pass while the test runs, or differ by a ms
        for command in ("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"):
            out += [
                ("SET", "k", "v"),
                (command, "k", n),
                ("EXISTS", "k"),
                ("PERSIST", "k"),
                (command, "nope", n),
            ]
        out += [("SETEX", "k", n, "v"), ("PSETEX", "k", n, "v")]
        for option in ("EX", "PX", "EXAT", "PXAT"):
            out += [
                ("SET", "k", "v", option, n),
                ("EXISTS", "k"),
                ("SET", "k", "v"),
                ("GETEX", "k", option, n),
                ("EXISTS", "k"),
            ]
    yield from by_chunk("times", out)
    out = []
    for n in INTEGERS:
        out += [
            ("SCAN", n),
            ("SCAN", "0", "COUNT", n),
            ("WAIT", n, "1") if n[:1] == b"-" or not n[-1:].isdigit() else ("PING",),
            ("WAIT", "0", n) if n not in (b"0",) else ("PING",),
            ("HELLO", n),
            ("HELLO", "2"),
            # Not a valid count: there may be an entry on a slow day.
            ("SLOWLOG", "GET", n) if not n.isdigit() and n != b"-1" else ("PING",),
            ("CLIENT", "LIST", "ID", n) if n[-1:].isdigit() and len(n) > 9 else ("PING",),
            ("CLIENT", "KILL", "ID", n) if len(n) > 9 else ("PING",),
            ("OBJECT", "ENCODING", n),
            ("MEMORY", "USAGE", "k", "SAMPLES", n),
            ("DEBUG", "SET-ACTIVE-EXPIRE", "1"),
        ]
    yield from by_chunk("integers elsewhere", out)


def float_arguments():
    out = []
    for f in FLOATS:
        out += [
            ("SET", "k", f),
            ("INCRBYFLOAT", "k", "0"),
            ("GET", "k"),
            ("SET", "k", f),
            ("INCRBYFLOAT", "k", "1.5"),
            ("SET", "k", f),
            ("INCR", "k"),
            ("DEL", "k"),
            ("INCRBYFLOAT", "k", f),
            ("GET", "k"),
            ("SET", "k", "10"),
            ("INCRBYFLOAT", "k", f),
            ("OBJECT", "ENCODING", "k"),
            ("STRLEN", "k"),
        ]
    yield from by_chunk("floats", out)
    out = []
    for a, b in itertools.product(FLOATS, FLOATS):
        out += [("SET", "k", a), ("INCRBYFLOAT", "k", b)]
    yield from by_chunk("sums of floats", out)


# Every command with its arity (as COMMAND INFO has it), and its subcommands likewise.
ARITY = {
    "get": 2,
    "set": -3,
    "setnx": 3,
    "setex": 4,
    "psetex": 4,
    "getset": 3,
    "getdel": 2,
    "getex": -2,
    "mget": -2,
    "mset": -3,
    "msetnx": -3,
    "append": 3,
    "strlen": 2,
    "getrange": 4,
    "substr": 4,
    "setrange": 4,
    "incr": 2,
    "decr": 2,
    "incrby": 3,
    "decrby": 3,
    "incrbyfloat": 3,
    "lcs": -3,
    "del": -2,
    "unlink": -2,
    "exists": -2,
    "touch": -2,
    "type": 2,
    "keys": 2,
    "scan": -2,
    "randomkey": 1,
    "rename": 3,
    "renamenx": 3,
    "copy": -3,
    "move": 3,
    "expire": -3,
    "pexpire": -3,
    "expireat": -3,
    "pexpireat": -3,
    "ttl": 2,
    "pttl": 2,
    "expiretime": 2,
    "pexpiretime": 2,
    "persist": 2,
    "dbsize": 1,
    "flushdb": -1,
    "flushall": -1,
    "swapdb": 3,
    "object": -2,
    "object|encoding": 3,
    "object|freq": 3,
    "object|idletime": 3,
    "object|refcount": 3,
    "object|help": 2,
    # lists
    "lpush": -3,
    "rpush": -3,
    "lpushx": -3,
    "rpushx": -3,
    "lpop": -2,
    "rpop": -2,
    "llen": 2,
    "lrange": 4,
    "lindex": 3,
    "lset": 4,
    "linsert": 5,
    "lrem": 4,
    "ltrim": 4,
    "lpos": -3,
    "lmove": 5,
    "rpoplpush": 3,
    "lmpop": -4,
    "blpop": -3,
    "brpop": -3,
    "blmpop": -5,
    "blmove": 6,
    "brpoplpush": 4,
    # hashes
    "hset": -4,
    "hmset": -4,
    "hsetnx": 4,
    "hget": 3,
    "hmget": -3,
    "hgetall": 2,
    "hdel": -3,
    "hlen": 2,
    "hstrlen": 3,
    "hexists": 3,
    "hkeys": 2,
    "hvals": 2,
    "hincrby": 4,
    "hincrbyfloat": 4,
    "hrandfield": -2,
    "hscan": -3,
    # sets
    "sadd": -3,
    "srem": -3,
    "scard": 2,
    "sismember": 3,
    "smismember": -3,
    "smembers": 2,
    "spop": -2,
    "srandmember": -2,
    "smove": 4,
    "sscan": -3,
    "sinter": -2,
    "sintercard": -3,
    "sinterstore": -3,
    "sunion": -2,
    "sunionstore": -3,
    "sdiff": -2,
    "sdiffstore": -3,
    # sorted sets
    "zadd": -4,
    "zincrby": 4,
    "zcard": 2,
    "zcount": 4,
    "zlexcount": 4,
    "zscore": 3,
    "zmscore": -3,
    "zrank": 3,
    "zrevrank": 3,
    "zrange": -4,
    "zrangestore": -5,
    "zrangebyscore": -4,
    "zrangebylex": -4,
    "zrevrange": -4,
    "zrevrangebyscore": -4,
    "zrevrangebylex": -4,
    "zrem": -3,
    "zremrangebyrank": 4,
    "zremrangebyscore": 4,
    "zremrangebylex": 4,
    "zpopmin": -2,
    "zpopmax": -2,
    "zmpop": -4,
    "bzpopmin": -3,
    "bzpopmax": -3,
    "bzmpop": -5,
    "zrandmember": -2,
    "zscan": -3,
    "zunion": -3,
    "zunionstore": -4,
    "zinter": -3,
    "zinterstore": -4,
    "zdiff": -3,
    "zdiffstore": -4,
    "zintercard": -3,
    # bitmaps
    "setbit": 4,
    "getbit": 3,
    "bitcount": -2,
    "bitpos": -3,
    "bitop": -4,
    "bitfield": -2,
    "bitfield_ro": -2,
    # HyperLogLog
    "pfadd": -2,
    "pfcount": -2,
    "pfmerge": -2,
    "pfdebug": 3,
    "pfselftest": 1,
    # geo
    "geoadd": -5,
    "geopos": -2,
    "geodist": -4,
    "geohash": -2,
    "geosearch": -7,
    "geosearchstore": -8,
    "georadius": -6,
    "georadius_ro": -6,
    "georadiusbymember": -5,
    "georadiusbymember_ro": -5,
    # streams
    "xadd": -5,
    "xlen": 2,
    "xrange": -4,
    "xrevrange": -4,
    "xdel": -3,
    "xtrim": -4,
    "xread": -4,
    "xgroup": -2,
    "xgroup|destroy": 4,
    "xgroup|delconsumer": 5,
    "xgroup|setid": -5,
    "xgroup|createconsumer": 5,
    "xgroup|create": -5,
    "xgroup|help": 2,
    "xreadgroup": -7,
    "xack": -4,
    "xpending": -3,
    "xclaim": -6,
    "xautoclaim": -6,
    "xinfo": -2,
    "xinfo|groups": 3,
    "xinfo|help": 2,
    "xinfo|consumers": 4,
    "xinfo|stream": -3,
    "xsetid": -3,
    # generic
    "sort": -2,
    "sort_ro": -2,
    "dump": 2,
    "restore": -4,
    "hello": -1,
    "auth": -2,
    "ping": -1,
    "echo": 2,
    "quit": -1,
    "reset": 1,
    "select": 2,
    "client": -2,
    "client|id": 2,
    "client|info": 2,
    "client|list": -2,
    "client|kill": -3,
    "client|getname": 2,
    "client|setname": 3,
    "client|reply": 3,
    "client|no-evict": 3,
    "client|pause": -3,
    "client|unpause": 2,
    "client|getredir": 2,
    "client|trackinginfo": 2,
    "client|help": 2,
    "command": -1,
    "command|count": 2,
    "command|list": -2,
    "command|info": -2,
    "command|docs": -2,
    "command|getkeys": -3,
    "command|getkeysandflags": -3,
    "command|help": 2,
    "config": -2,
    "config|get": -3,
    "config|set": -4,
    "config|resetstat": 2,
    "config|rewrite": 2,
    "config|help": 2,
    "info": -1,
    "time": 1,
    "debug": -2,
    "slowlog": -2,
    "slowlog|get": -2,
    "slowlog|len": 2,
    "slowlog|reset": 2,
    "slowlog|help": 2,
    "latency": -2,
    "latency|latest": 2,
    "latency|history": 3,
    "latency|reset": -2,
    "latency|doctor": 2,
    "latency|graph": 3,
    "latency|histogram": -2,
    "latency|help": 2,
    "memory": -2,
    "memory|usage": -3,
    "memory|stats": 2,
    "memory|doctor": 2,
    "memory|purge": 2,
    "memory|malloc-stats": 2,
    "memory|help": 2,
    "monitor": 1,
    "lolwut": -1,
    "shutdown": -1,
    "wait": 3,
    "role": 1,
    # publishing and subscribing
    "subscribe": -2,
    "psubscribe": -2,
    "ssubscribe": -2,
    "publish": 3,
    "spublish": 3,
    "pubsub": -2,
    "pubsub|channels": -2,
    "pubsub|numsub": -2,
    "pubsub|numpat": 2,
    "pubsub|shardchannels": -2,
    "pubsub|shardnumsub": -2,
    "pubsub|help": 2,
}


def arity_errors():
    out = []
    for name, arity in ARITY.items():
        words = name.split("|")
        for spelling in (words, [w.upper() for w in words], [w.capitalize() for w in words]):
            out += [spelling + ["x"] * (n - len(words)) for n in range(len(words), abs(arity))]
            if arity > 0:
                out += [spelling + ["x"] * (n - len(words)) for n in range(arity + 1, arity + 4)]
    yield from by_chunk("wrong number of arguments", out)


def unknown_subcommands():
    out = []
    containers = sorted({n.split("|")[0] for n in ARITY if "|" in n})
    for name in containers:
        for odd in (
            "nosuch",
            "NoSuch",
            "",
            "he",
            "help2",
            "x" * 140,
            "a\r\nb",
            "a b",
            "a|b",
            f"{name}|help",
            "\x00",
        ):
            out += [(name, odd), (name.upper(), odd, "arg"), (name, odd, "arg", "arg2")]
    yield from by_chunk("unknown subcommands", out)


TABLES = {
    **cases_types.TABLES,
    "set options": set_options,
    "getex options": getex_options,
    "expire options": expire_options,
    "copy options": copy_options,
    "lcs options": lcs_options,
    "scan options": scan_options,
    "integer arguments": integer_arguments,
    "float arguments": float_arguments,
    "arity": arity_errors,
    "unknown subcommands": unknown_subcommands,
}
