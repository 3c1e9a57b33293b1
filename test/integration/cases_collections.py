# SPDX-License-Identifier: BSD-3-Clause
"""Tables of cases for lists, hashes, sets and sorted sets: options combined, edge numbers everywhere."""

import itertools

from differential import case
from tables import FLOATS, INTEGERS, by_chunk, combinations, flat, words_of

# ---- lists


def list_options():
    fill = ["RPUSH", "l", "a", "b", "c", "a", "1", "2", "a", "", "b"]
    options = ("RANK 1", "RANK -1", "RANK 2", "RANK -3", "RANK 0", "COUNT 0", "COUNT 2", "COUNT -1")
    options += ("MAXLEN 0", "MAXLEN 3", "MAXLEN -1", "RANK x", "bogus", "COUNT")
    out = [fill]
    for words in combinations(options, 3):
        out += [["LPOS", "l", "a", *words_of(words)]]
    out += [["LPOS", "none", "a", *words_of(w)] for w in combinations(options, 1)]
    yield from by_chunk("LPOS", out, first=fill)
    out = []
    ends = ("LEFT", "RIGHT", "left", "UP", "")
    for a, b in itertools.product(ends, ends):
        for source, target in (("l", "m"), ("l", "l"), ("none", "m"), ("l", "new")):
            out += [("DEL", "l", "m", "new"), fill, ("RPUSH", "m", "x")]
            out += [["LMOVE", source, target, a, b], ("LRANGE", "l", 0, -1), ("LRANGE", "m", 0, -1)]
    yield from by_chunk("LMOVE", out)
    out = []
    for keys, end, count in itertools.product(
        (
            ("1", "l"),
            ("2", "none", "l"),
            ("2", "l", "m"),
            ("1", "none"),
            ("0", "l"),
            ("3", "l", "m"),
            ("-1", "l"),
            ("x", "l"),
            ("2", "s", "l"),
            ("99999999999999", "l"),
        ),
        ("LEFT", "right", "bogus"),
        (
            (),
            ("COUNT", "1"),
            ("COUNT", "3"),
            ("COUNT", "100"),
            ("COUNT", "0"),
            ("COUNT", "-1"),
            ("COUNT", "x"),
            ("COUNT",),
            ("COUNT", "1", "COUNT", "2"),
            ("COUNT", "0", "x"),
            ("COUNT", "1", "x"),
            ("bogus", "1"),
        ),
    ):
        out += [("DEL", "l", "m"), fill, ("RPUSH", "m", "x", "y"), ("SADD", "s", "a")]
        out += [["LMPOP", *keys, end, *count], ("LRANGE", "l", 0, -1), ("EXISTS", "l", "m")]
    yield from by_chunk("LMPOP", out)
    out = []
    for where, pivot in itertools.product(("BEFORE", "after", "bogus", ""), ("a", "c", "", "no")):
        out += [("DEL", "l"), fill, ["LINSERT", "l", where, pivot, "x"], ("LRANGE", "l", 0, -1)]
        out += [["LINSERT", "none", where, pivot, "x"]]
    yield from by_chunk("LINSERT", out)


def list_numbers():
    fill = ("RPUSH", "l", *"abcdefgabc")
    out = [fill]
    for n, m in itertools.product(INTEGERS, INTEGERS):
        out.append(("LRANGE", "l", n, m))
    yield from by_chunk("LRANGE", out, first=fill)
    out = []
    for n, m in itertools.product(INTEGERS, INTEGERS):
        out += [("DEL", "l"), fill, ("LTRIM", "l", n, m), ("LRANGE", "l", 0, -1)]
    yield from by_chunk("LTRIM", out)
    out = []
    for n in INTEGERS:
        out += [
            ("DEL", "l"),
            fill,
            ("LINDEX", "l", n),
            ("LINDEX", "none", n),
            ("LSET", "l", n, "x"),
        ]
        out += [("LSET", "none", n, "x"), ("LREM", "l", n, "a"), ("LRANGE", "l", 0, -1)]
        for command in ("LPOP", "RPOP"):
            out += [("DEL", "l"), fill, (command, "l", n), ("LRANGE", "l", 0, -1)]
            out += [(command, "none", n)]
        for option in ("RANK", "COUNT", "MAXLEN"):
            out += [("LPOS", "l", "a", option, n)]
        out += [("LMPOP", n, "l", "LEFT"), ("LMPOP", "1", "l", "LEFT", "COUNT", n)]
    yield from by_chunk("numbers of list commands", out)


# ---- hashes


def hash_numbers():
    out = []
    for n in INTEGERS:
        out += [("DEL", "h"), ("HSET", "h", "f", n), ("HINCRBY", "h", "f", "5"), ("HGET", "h", "f")]
        out += [("HSET", "h", "f", n), ("HINCRBY", "h", "f", "-7"), ("HSTRLEN", "h", "f")]
        out += [("HSET", "h", "f", "10"), ("HINCRBY", "h", "f", n), ("HGET", "h", "f")]
        out += [("HINCRBY", "h", "new", n), ("HGET", "h", "new"), ("HINCRBY", "none", "f", n)]
        out += [("HINCRBYFLOAT", "h", "f", n), ("HGET", "h", "f"), ("DEL", "none")]
        if len(n) < 6 or len(n) > 22 or n[:1] not in b"-+0123456789":
            out += [("HRANDFIELD", "h", n), ("HRANDFIELD", "h", n, "WITHVALUES")]
            out += [("HRANDFIELD", "none", n)]
        out += [("HSCAN", "h", n), ("HSCAN", "h", "0", "COUNT", n)]
    yield from by_chunk("numbers of hash commands", out)
    out = []
    for f in FLOATS:
        out += [
            ("DEL", "h"),
            ("HSET", "h", "f", f),
            ("HINCRBYFLOAT", "h", "f", "0"),
            ("HGET", "h", "f"),
        ]
        out += [("HSET", "h", "f", "10.5"), ("HINCRBYFLOAT", "h", "f", f), ("HGET", "h", "f")]
        out += [("HINCRBYFLOAT", "h", "new", f), ("HGET", "h", "new"), ("HINCRBY", "h", "new", "1")]
    yield from by_chunk("HINCRBYFLOAT", out)
    options = ("WITHVALUES", "withvalues", "bogus", "1", "")
    out = [("HSET", "h", "a", "1", "b", "2", "c", "3"), ("HRANDFIELD", "h")]
    for count in ("0", "10", "3", "-3", "x"):
        out += [["HRANDFIELD", "h", count, *words] for words in combinations(options, 2)]
    yield from by_chunk("HRANDFIELD", out)


# ---- sets


def set_options():
    sets = (("missing",), ("a", "b", "c"), ("1", "2", "3"), ("b", "3", "x"), ("a",))
    out = []
    for contents in itertools.product(sets, sets, sets[:4]):
        out.append(("DEL", "s1", "s2", "s3", "to"))
        for key, members in zip(("s1", "s2", "s3"), contents):
            if members != ("missing",):
                out.append(("SADD", key, *members))
        for keys in (("s1", "s2", "s3"), ("s3", "s1"), ("s2",), ("s1", "s1")):
            for name in ("SINTER", "SUNION", "SDIFF"):
                out += [(name, *keys), (name + "STORE", "to", *keys), ("SMEMBERS", "to")]
            out += [
                ("SINTERCARD", len(keys), *keys),
                ("SINTERCARD", len(keys), *keys, "LIMIT", "1"),
            ]
    yield from by_chunk("set operations", out, size=2000)
    out = []
    for store, source in itertools.product(
        ("s1", "s2"), ("SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE")
    ):
        out += [("DEL", "s1", "s2"), ("SADD", "s1", "a", "b"), ("SADD", "s2", "b", "c")]
        out += [(source, store, "s1", "s2"), ("SMEMBERS", store)]
    yield from by_chunk("operations that store over their own source", out)
    out = [("SADD", "s1", "a", "b", "c"), ("SADD", "s2", "b", "c", "d")]
    options = ("LIMIT 0", "LIMIT 1", "LIMIT 5", "LIMIT -1", "LIMIT x", "LIMIT", "bogus", "limit 2")
    for keys in (
        ("2", "s1", "s2"),
        ("1", "s1"),
        ("0", "s1"),
        ("3", "s1", "s2"),
        ("x", "s1"),
        ("-1", "s1"),
    ):
        out += [["SINTERCARD", *keys, *words_of(words)] for words in combinations(options, 2)]
    yield from by_chunk("SINTERCARD", out)


def set_numbers():
    out = []
    for n in INTEGERS:
        out += [
            ("DEL", "s", "i"),
            ("SADD", "s", n),
            ("SISMEMBER", "s", n),
            ("OBJECT", "ENCODING", "s"),
        ]
        out += [("SADD", "i", "1", n, "2"), ("SMEMBERS", "i"), ("OBJECT", "ENCODING", "i")]
        out += [("SREM", "i", n), ("SMISMEMBER", "i", n, "1"), ("SINTERCARD", n, "i", "s")]
        out += [
            ("SINTERCARD", "1", "i", "LIMIT", n),
            ("SSCAN", "s", n),
            ("SSCAN", "s", "0", "COUNT", n),
        ]
        if len(n) < 6 or n[:1] not in b"-0123456789":
            out += [("SRANDMEMBER", "i", n), ("SRANDMEMBER", "none", n), ("SPOP", "none", n)]
        if n not in (b"1",):  # what would leave a part by chance
            out += [("DEL", "i"), ("SADD", "i", "7"), ("SPOP", "i", n), ("SMEMBERS", "i")]
    yield from by_chunk("numbers of set commands", out)


# ---- sorted sets

LEX_BOUNDS = ("-", "+", "[a", "(a", "[c", "(c", "[", "(", "a", "", "[\xff", "++", "(zz")
SCORE_BOUNDS = (
    "-inf",
    "+inf",
    "inf",
    "0",
    "1",
    "(1",
    "2",
    "(2",
    "3",
    "(3",
    "1.5",
    "(inf",
    "(-inf",
    "x",
)
SCORE_BOUNDS += ("(", "nan", "", "(x", "((1", "1e400", "-1")
FIVE = ("ZADD", "z", "1", "a", "2", "b", "2", "bb", "3", "c", "inf", "d")
LEX = ("ZADD", "z", "0", "a", "0", "b", "0", "bb", "0", "c", "0", "\xff")


def zadd_options():
    flags = ("NX", "XX", "GT", "LT", "CH", "INCR", "bogus", "nx")
    pairs = (
        ("5", "a"),
        ("0.5", "a"),
        ("1", "a"),
        ("7", "new"),
        ("5", "a", "0", "b"),
        ("5", "a", "6"),
    )
    pairs += (("x", "a"), ("nan", "a"), ("inf", "new", "-inf", "b"), ())
    out = []
    for words in itertools.chain(combinations(flags, 2), itertools.combinations(flags, 3)):
        for pair in pairs:
            out += [
                ("DEL", "z"),
                FIVE,
                ["ZADD", "z", *words, *pair],
                ("ZRANGE", "z", 0, -1, "WITHSCORES"),
            ]
    yield from by_chunk("ZADD", out, size=3000)
    out = [["ZADD", "none", *words, "1", "a"] for words in combinations(flags, 2)]
    yield from by_chunk("ZADD on a missing key", flat([c, ("DEL", "none")] for c in out))


def zrange_options():
    options = (
        "BYSCORE",
        "BYLEX",
        "REV",
        "WITHSCORES",
        "LIMIT 0 2",
        "LIMIT 1 -1",
        "LIMIT -1 2",
        "LIMIT x 1",
    )
    options += ("LIMIT", "LIMIT 9 9", "bogus")
    ranges = (
        ("0", "-1"),
        ("1", "2"),
        ("-inf", "+inf"),
        ("(1", "3"),
        ("-", "+"),
        ("+", "-"),
        ("[a", "(c"),
    )
    ranges += (("3", "1"), ("x", "1"))
    for name, fill in (("scores", FIVE), ("one score", LEX)):
        out = []
        for words in combinations(options, 3):
            for low, high in ranges:
                out.append(["ZRANGE", "z", low, high, *words_of(words)])
        yield from by_chunk(f"ZRANGE over {name}", out, size=3000, first=fill)
        out = []
        for words in combinations(options, 2):
            for low, high in ranges:
                out += [["ZRANGESTORE", "to", "z", low, high, *words_of(words)]]
                out += [("ZRANGE", "to", 0, -1, "WITHSCORES")]
        yield from by_chunk(f"ZRANGESTORE over {name}", out, size=3000, first=fill)
    older = ("WITHSCORES", "LIMIT 0 2", "LIMIT 1 -1", "LIMIT 0 0", "LIMIT -1 1", "LIMIT 1", "bogus")
    for command in ("ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZRANGEBYLEX", "ZREVRANGEBYLEX"):
        low, high = ("-inf", "+inf") if "SCORE" in command else ("-", "+")
        out = []
        for words in combinations(older, 3):
            out += [[command, "z", low, high, *words_of(words)]]
            out += [
                [command, "z", high, low, *words_of(words)],
                [command, "none", low, high, *words_of(words)],
            ]
        yield from by_chunk(command, out, size=2000, first=LEX if "LEX" in command else FIVE)


def zset_bounds():
    for fill in (FIVE, ("ZADD", "z", "2", "only")):
        out = []
        for low, high in itertools.product(SCORE_BOUNDS, SCORE_BOUNDS):
            out += [("ZCOUNT", "z", low, high), ("ZRANGEBYSCORE", "z", low, high)]
            out += [("ZREVRANGEBYSCORE", "z", high, low, "WITHSCORES", "LIMIT", 1, 2)]
            out += [("ZRANGE", "z", low, high, "BYSCORE", "WITHSCORES")]
            out += [("COPY", "z", "c"), ("ZREMRANGEBYSCORE", "c", low, high), ("DEL", "c")]
        yield from by_chunk(f"score bounds ({fill[3]})", out, size=2000, first=fill)
    out = []
    for low, high in itertools.product(LEX_BOUNDS, LEX_BOUNDS):
        out += [("ZLEXCOUNT", "z", low, high), ("ZRANGEBYLEX", "z", low, high)]
        out += [
            ("ZREVRANGEBYLEX", "z", high, low, "LIMIT", 1, 2),
            ("ZRANGE", "z", high, low, "BYLEX", "REV"),
        ]
        out += [("COPY", "z", "c"), ("ZREMRANGEBYLEX", "c", low, high), ("DEL", "c")]
    yield from by_chunk("lexicographic bounds", out, size=2000, first=LEX)


def zset_numbers():
    out = []
    for n, m in itertools.product(INTEGERS, INTEGERS):
        out += [("ZRANGE", "z", n, m), ("ZREVRANGE", "z", n, m, "WITHSCORES")]
    yield from by_chunk("ranks", out, size=2000, first=FIVE)
    out = []
    for n, m in itertools.product(INTEGERS, INTEGERS[:12]):
        out += [("DEL", "z"), FIVE, ("ZREMRANGEBYRANK", "z", n, m), ("ZRANGE", "z", 0, -1)]
        out += [("ZRANGEBYSCORE", "z", "-inf", "+inf", "LIMIT", n, m)]
    yield from by_chunk("ZREMRANGEBYRANK", out, size=2000)
    out = []
    for n in INTEGERS:
        for command in ("ZPOPMIN", "ZPOPMAX"):
            out += [
                ("DEL", "z"),
                FIVE,
                (command, "z", n),
                ("ZRANGE", "z", 0, -1),
                (command, "none", n),
            ]
        out += [
            ("DEL", "z"),
            FIVE,
            ("ZMPOP", "1", "z", "MIN", "COUNT", n),
            ("ZMPOP", n, "z", "MAX"),
        ]
        out += [("ZUNION", n, "z"), ("ZINTERCARD", n, "z"), ("ZINTERCARD", "1", "z", "LIMIT", n)]
        out += [
            ("ZADD", "z", n, "m"),
            ("ZSCORE", "z", "m"),
            ("ZSCAN", "z", n),
            ("ZINCRBY", "z", n, "m"),
        ]
        if len(n) < 6 or n[:1] not in b"-0123456789":
            out += [("ZRANDMEMBER", "z", n), ("ZRANDMEMBER", "z", n, "WITHSCORES")]
    yield from by_chunk("numbers of sorted set commands", out)
    out = []
    for f in FLOATS:
        out += [("DEL", "z"), ("ZADD", "z", f, "m"), ("ZSCORE", "z", "m"), ("ZINCRBY", "z", f, "m")]
        out += [
            ("ZADD", "z", "INCR", f, "m"),
            ("ZINCRBY", "z", f, "new"),
            ("ZRANGE", "z", 0, -1, "WITHSCORES"),
        ]
        out += [
            ("ZCOUNT", "z", f, "+inf"),
            ("ZCOUNT", "z", b"(" + f, "+inf"),
            ("ZMSCORE", "z", "m", "x"),
        ]
        out += [("ZUNION", "1", "z", "WEIGHTS", f, "WITHSCORES")]
    yield from by_chunk("scores", out)
    out = []
    for a, b in itertools.product(FLOATS, FLOATS):
        out += [("DEL", "z"), ("ZADD", "z", a, "m"), ("ZINCRBY", "z", b, "m")]
    yield from by_chunk("sums of scores", out, size=3000)


def zset_operations():
    contents = (
        (),
        ("ZADD", "1", "a", "2", "b", "3", "c"),
        ("ZADD", "10", "b", "-2", "c", "0.5", "d"),
        ("ZADD", "inf", "a", "-inf", "b"),
        ("ZADD", "-inf", "a", "inf", "c"),
        ("SADD", "a", "c", "x"),
        ("SADD", "1", "2"),
    )
    options = (
        "WEIGHTS 2 -1",
        "WEIGHTS 1 inf",
        "WEIGHTS 0 0",
        "AGGREGATE SUM",
        "AGGREGATE MIN",
        "AGGREGATE max",
    )
    options += ("WITHSCORES", "WEIGHTS 1", "AGGREGATE bogus", "bogus", "WEIGHTS x 1", "AGGREGATE")
    for a, b in itertools.product(contents, contents):
        out = [("DEL", "z1", "z2", "to")]
        out += [(c[0], k, *c[1:]) for k, c in (("z1", a), ("z2", b)) if c]
        for words in combinations(options, 2):
            for name in ("ZUNION", "ZINTER", "ZDIFF"):
                out.append([name, "2", "z1", "z2", *words_of(words)])
        for words in combinations(options, 1):
            for name in ("ZUNION", "ZINTER", "ZDIFF"):
                out += [[name + "STORE", "to", "2", "z1", "z2", *words_of(words)]]
                out += [("ZRANGE", "to", 0, -1, "WITHSCORES")]
        out += [("ZINTERCARD", "2", "z1", "z2"), ("ZINTERCARD", "2", "z1", "z2", "LIMIT", "1")]
        out += [("ZUNIONSTORE", "z1", "2", "z1", "z2"), ("ZRANGE", "z1", 0, -1, "WITHSCORES")]
        yield case(f"operations of sorted sets {' '.join(a)} / {' '.join(b)}", *out)


TABLES = {
    "list options": list_options,
    "list numbers": list_numbers,
    "hash numbers": hash_numbers,
    "set operations": set_options,
    "set numbers": set_numbers,
    "zadd options": zadd_options,
    "zrange options": zrange_options,
    "zset bounds": zset_bounds,
    "zset numbers": zset_numbers,
    "zset operations": zset_operations,
}
