# SPDX-License-Identifier: BSD-3-Clause
"""Tables of cases for bitmaps, geo sets, streams, SORT and RESTORE: options combined, edge numbers, ids.

Times (of streams) are far away or long past.
"""

import itertools

from tables import FLOATS, INTEGERS, by_chunk, combinations, words_of

# ---- bitmaps

BITMAPS = (
    "",
    "\x00",
    "\xff",
    "\x00\xff\xf0\x00",
    "\xff\xf0\x00",
    "\x00\x00\x00",
    "\xff\xff\xff",
    "foobar",
)


def bit_ranges():
    numbers = (
        "0",
        "1",
        "-1",
        "2",
        "5",
        "-3",
        "7",
        "8",
        "9",
        "23",
        "24",
        "-24",
        "-9",
        "100",
        "-100",
        "x",
        "",
    )
    for text in BITMAPS:
        out = [
            ("BITCOUNT", "k"),
            ("BITPOS", "k", "0"),
            ("BITPOS", "k", "1"),
            ("BITCOUNT", "k", "1"),
        ]
        for a, b in itertools.product(numbers, numbers):
            for unit in ((), ("BYTE",), ("bit",), ("bogus",)):
                out += [("BITCOUNT", "k", a, b, *unit), ("BITPOS", "k", "1", a, b, *unit)]
                out += [("BITPOS", "k", "0", a, b, *unit)]
        out += [("BITPOS", "k", bit, a) for bit in ("0", "1", "2", "x", "-1") for a in numbers]
        out += [("BITPOS", "none", bit, a) for bit in ("0", "1", "2") for a in numbers]
        yield from by_chunk(
            f"BITCOUNT and BITPOS of {text!r}",
            out,
            size=4000,
            first=("SET", "k", text.encode("latin-1")),
        )


def bit_numbers():
    out = []
    for n in INTEGERS:
        if n in (b"2147483647", b"2147483648"):
            continue  # half a gigabyte for one bit
        out += [("DEL", "k"), ("SETBIT", "k", n, "1"), ("GETBIT", "k", n), ("SETBIT", "k", "3", n)]
        out += [("STRLEN", "k"), ("BITPOS", "k", n), ("BITCOUNT", "k", n, n)]
        for kind in ("u8", "i8", "u63", "i64", "u1", "i1"):
            out += [("BITFIELD", "k", "SET", kind, "5", n, "GET", kind, "5")]
            out += [("BITFIELD", "k", "INCRBY", kind, "5", n)]
        out.append(("BITFIELD", "k", "GET", "u8", n))
        if n != b"-9223372036854775808":  # times eight it is 0 to Redis
            out.append(("BITFIELD", "k", "GET", "u8", b"#" + n))
        if b"\x00" not in n:  # Redis reads a type as a C string
            out += [
                ("BITFIELD", "k", "GET", b"u" + n, "0"),
                ("BITFIELD", "k", "GET", b"i" + n, "0"),
            ]
    yield from by_chunk("numbers of bit commands", out)
    out = []
    values = (
        "0",
        "1",
        "-1",
        "100",
        "255",
        "256",
        "-128",
        "-129",
        "9223372036854775807",
        "-9223372036854775808",
    )
    for overflow in (
        (),
        ("OVERFLOW", "WRAP"),
        ("OVERFLOW", "SAT"),
        ("overflow", "fail"),
        ("OVERFLOW", "bogus"),
    ):
        for kind in (
            "u8",
            "i8",
            "u4",
            "i5",
            "u63",
            "i64",
            "i63",
            "u64",
            "i65",
            "u0",
            "x8",
            "8",
            "u",
        ):
            for a, b in itertools.product(values, values[:8]):
                if a == values[-1] and kind[1:] != "64":
                    continue  # in Redis a signed overflow: what comes is the compiler's choice
                out += [("DEL", "k"), ("BITFIELD", "k", *overflow, "SET", kind, "#1", a)]
                out += [("BITFIELD", "k", *overflow, "INCRBY", kind, "#1", b, "GET", kind, "8")]
    yield from by_chunk("BITFIELD overflow", out, size=4000)
    parts = (
        "GET u8 0",
        "SET u8 0 7",
        "INCRBY i5 3 9",
        "OVERFLOW SAT",
        "OVERFLOW FAIL",
        "GET",
        "bogus",
        "GET u8 x",
    )
    out = []
    for words in combinations(parts, 3):
        out += [
            ["BITFIELD", "k", *words_of(words)],
            ["BITFIELD_RO", "k", *words_of(words)],
            ("GET", "k"),
        ]
    yield from by_chunk("BITFIELD subcommands", out, size=3000)


def bit_operations():
    texts = (None, "", "\x0f", "\xff\x00\xaa", "foobar", "\x01" * 40, "a" * 33)
    out = []
    for a, b, c in itertools.product(texts, texts, (None, "\xf0\xf1", "b" * 70)):
        out.append(("DEL", "a", "b", "c", "to"))
        out += [("SET", k, v.encode("latin-1")) for k, v in zip("abc", (a, b, c)) if v is not None]
        for name in ("AND", "OR", "XOR", "not", "bogus"):
            out += [("BITOP", name, "to", "a", "b", "c"), ("GET", "to"), ("BITOP", name, "to", "a")]
            out += [("GET", "to")]
        out += [("BITOP", "XOR", "a", "a", "b"), ("GET", "a"), ("BITOP", "AND", "a", "a", "a")]
    yield from by_chunk("BITOP", out, size=3000)


# ---- geo


def geo_options():
    fill = [
        "GEOADD",
        "g",
        "13.361389",
        "38.115556",
        "Palermo",
        "15.087269",
        "37.502669",
        "Catania",
        "12.758489",
        "38.788135",
        "edge1",
        "17.241510",
        "38.788135",
        "edge2",
        "-0.1",
        "51.5",
        "London",
    ]
    options = (
        "WITHCOORD",
        "WITHDIST",
        "WITHHASH",
        "ASC",
        "DESC",
        "COUNT 2",
        "COUNT 0",
        "COUNT 1 ANY",
        "ANY",
        "bogus",
    )
    out = [fill]
    centres = (
        "FROMLONLAT 15 37",
        "FROMMEMBER Palermo",
        "FROMMEMBER nobody",
        "FROMLONLAT x 1",
        "FROMLONLAT 181 0",
    )
    areas = (
        "BYRADIUS 200 km",
        "BYBOX 400 400 km",
        "BYRADIUS 0 m",
        "BYRADIUS -1 m",
        "BYBOX 300 1 parsec",
        "",
    )
    for centre, area in itertools.product(centres, areas):
        for words in combinations(options, 2):
            out.append(["GEOSEARCH", "g", *words_of((centre, area, *words))])
    yield from by_chunk("GEOSEARCH", out, size=2000, first=fill)
    out = []
    for words in combinations((*options[:7], "STOREDIST", "STORE"), 2):
        words = ("FROMLONLAT 15 37", "BYRADIUS 300 km", *words)
        out += [
            ["GEOSEARCHSTORE", "to", "g", *words_of(words)],
            ("ZRANGE", "to", 0, -1, "WITHSCORES"),
        ]
    for words in combinations((*options, "STORE to", "STOREDIST to"), 3):
        out += [["GEORADIUS", "g", "15", "37", "200", "km", *words_of(words)]]
        out += [["GEORADIUSBYMEMBER", "g", "Palermo", "300", "km", *words_of(words)]]
        out += [["GEORADIUS_RO", "g", "15", "37", "200", "km", *words_of(words)], ("DEL", "to")]
    yield from by_chunk("GEORADIUS and the stores", out, size=3000, first=fill)
    out = []
    for a, b in itertools.product(("Palermo", "Catania", "nobody"), repeat=2):
        out += [
            ("GEODIST", "g", a, b, *unit)
            for unit in ((), ("m",), ("KM",), ("ft",), ("mi",), ("x",))
        ]
        out += [
            ("GEOHASH", "g", a, b),
            ("GEOPOS", "g", a, b),
            ("GEOPOS", "none", a),
            ("GEOHASH", "none", a),
        ]
    flags = ("NX", "XX", "CH", "INCR", "GT")
    for words in combinations(flags, 2):
        out += [
            ["GEOADD", "g", *words, "13", "38", "Palermo", "1", "2", "new"],
            ("ZREM", "g", "new"),
        ]
    for f, other in itertools.product(FLOATS, ("0", "90", "-85.05112878")):
        out += [
            ("GEOADD", "h", f, other, "m"),
            ("GEOADD", "h", other, f, "n"),
            ("GEOPOS", "h", "m", "n"),
        ]
        out += [("GEOSEARCH", "g", "FROMLONLAT", f, other, "BYRADIUS", "100", "km", "ASC")]
        out += [("GEOSEARCH", "g", "FROMLONLAT", "0", "0", "BYRADIUS", f, "m", "ASC", "WITHDIST")]
    yield from by_chunk("geo arguments", out, size=2000, first=fill)


# ---- streams

IDS = (
    "-",
    "+",
    "0",
    "1",
    "1-1",
    "2-0",
    "1-2",
    "(1-1",
    "(2",
    "3-3",
    "9-9",
    "0-0",
    "0-1",
    "(-",
    "(+",
    "x",
    "",
    "1-",
)
IDS += (
    "-1",
    "1-x",
    "1-1-1",
    "18446744073709551615-18446744073709551615",
    "18446744073709551616-0",
    "01-01",
    " 1",
)
XS = [("XADD", "x", id, "f", id, "g", "1") for id in ("1-1", "1-2", "2-0", "3-3", "5-1")]


def stream_ids():
    out = []
    for a, b in itertools.product(IDS, IDS):
        out += [
            ("XRANGE", "x", a, b),
            ("XREVRANGE", "x", a, b),
            ("XRANGE", "x", a, b, "COUNT", "2"),
        ]
    yield from by_chunk("XRANGE", out, size=2000, first=XS)
    out = []
    for id in (*IDS, "*", "1-*", "9-*", "5-*", "18446744073709551615-*", "*-1"):
        if id != "*":
            out += [("DEL", "new"), ("XADD", "new", id, "f", "v"), ("XRANGE", "new", "-", "+")]
            out += [
                ("COPY", "x", "y", "REPLACE"),
                ("XADD", "y", id, "f", "v"),
                ("XINFO", "STREAM", "y"),
            ]
        out += [
            ("XDEL", "y", id),
            ("XREAD", "STREAMS", "x", id),
            ("XTRIM", "y", "MINID", id),
            ("XLEN", "y"),
        ]
        out += [
            ("XGROUP", "CREATE", "y", b"g" + id.encode(), id),
            ("XSETID", "y", id),
            ("XGROUP", "SETID", "y", "g0", id),
        ]
        out += [
            ("XACK", "y", "g0", id),
            ("XCLAIM", "y", "g0", "c", "0", id),
            ("XAUTOCLAIM", "y", "g0", "c", "0", id),
        ]
        out += [
            ("XREADGROUP", "GROUP", "g0", "c", "STREAMS", "y", id),
            ("XPENDING", "y", "g0", id, "+", "9"),
        ]
        out += [("XINFO", "GROUPS", "y")]
    yield from by_chunk("ids in every place", out, size=2000, first=XS)


def stream_trims():
    trims = (
        "MAXLEN 3",
        "MAXLEN = 2",
        "MAXLEN ~ 2",
        "MAXLEN 0",
        "MAXLEN -1",
        "MAXLEN x",
        "MAXLEN",
        "MINID 2",
        "MINID = 3-3",
    )
    trims += (
        "MINID ~ 5",
        "MINID x",
        "LIMIT 1",
        "LIMIT 0",
        "LIMIT -1",
        "NOMKSTREAM",
        "bogus",
        "MAXLEN ~ 0",
    )
    out = []
    for words in combinations(trims, 2):
        out += [
            ("DEL", "y"),
            ("COPY", "x", "y"),
            ["XADD", "y", *words_of(words), "9-9", "f", "v"],
            ("XRANGE", "y", "-", "+"),
        ]
        out += [
            ["XTRIM", "y", *words_of(words)],
            ("XLEN", "y"),
            ["XADD", "none", *words_of(words), "1-1", "f", "v"],
        ]
        out += [("EXISTS", "none"), ("DEL", "none")]
    yield from by_chunk("XADD and XTRIM", out, size=3000, first=XS)
    out = [("XADD", "big", f"{i}-0", "f", "v") for i in range(1, 451)]
    for words in (
        "MAXLEN ~ 300",
        "MAXLEN ~ 300 LIMIT 50",
        "MAXLEN ~ 300 LIMIT 200",
        "MINID ~ 250",
        "MAXLEN 120",
        "MAXLEN ~ 10 LIMIT 0",
    ):
        out += [
            ("COPY", "big", "y", "REPLACE"),
            ["XTRIM", "y", *words.split()],
            ("XLEN", "y"),
            ("XRANGE", "y", "-", "+", "COUNT", "1"),
        ]
        out += [
            ("COPY", "big", "y", "REPLACE"),
            ["XADD", "y", *words.split(), "999-0", "f", "v"],
            ("XINFO", "STREAM", "y"),
        ]
    yield from by_chunk("trimming whole nodes", out, size=3000)


def stream_groups():
    setup = XS + [
        ("XGROUP", "CREATE", "x", "g", "0"),
        ("XREADGROUP", "GROUP", "g", "c1", "COUNT", "2", "STREAMS", "x", ">"),
    ]
    setup += [
        ("XREADGROUP", "GROUP", "g", "c2", "COUNT", "2", "STREAMS", "x", ">"),
        ("XDEL", "x", "1-2"),
    ]
    out = []
    options = ("COUNT 1", "COUNT 0", "COUNT x", "NOACK", "BLOCK 1", "BLOCK -1", "BLOCK x", "bogus")
    for words in combinations(options, 2):
        for id in (">", "0", "1-1", "$", "9"):
            out += [["XREADGROUP", "GROUP", "g", "c1", *words_of(words), "STREAMS", "x", id]]
            out += [["XREAD", *words_of(words), "STREAMS", "x", id]]
        out += [("XGROUP", "SETID", "x", "g", "3-3")]
    out += [
        ("XREADGROUP", "GROUP", "no", "c1", "STREAMS", "x", ">"),
        ("XREADGROUP", "GROUP", "g", "c1", "STREAMS", "none", ">"),
    ]
    out += [
        ("XREADGROUP", "GROUP", "g", "c1", "STREAMS", "x", "x", "0"),
        ("XREAD", "STREAMS", "x"),
        ("XREAD", "STREAMS", "x", "y", "0", "0"),
    ]
    out += [("XINFO", "GROUPS", "x"), ("XINFO", "CONSUMERS", "x", "g")]
    yield from by_chunk("XREAD and XREADGROUP", [c for c in out if c], size=3000, first=setup)
    out = []
    options = (
        "IDLE 5000",
        "TIME 1",
        "RETRYCOUNT 7",
        "FORCE",
        "JUSTID",
        "LASTID 4-4",
        "IDLE x",
        "bogus",
        "IDLE -1",
        "TIME -5",
        "RETRYCOUNT x",
    )
    for words in combinations(options, 2):
        for ids in (("1-1",), ("1-2",), ("5-1",), ("1-1", "2-0", "8-8"), ("x",)):
            out += [["XCLAIM", "x", "g", "c3", "0", *ids, *words_of(words)]]
        out += [("XPENDING", "x", "g", "-", "+", "10"), ("XINFO", "GROUPS", "x")]
    out += [
        ("XCLAIM", "x", "g", "c3", "99999999", "1-1"),
        ("XCLAIM", "x", "g", "c3", "-5", "1-1"),
        ("XCLAIM", "x", "no", "c", "0", "1-1"),
    ]
    yield from by_chunk("XCLAIM", out, size=3000, first=setup)
    # 7.2: XAUTOCLAIM creates its consumer even if it claims nothing; so they are there before.
    setup = setup + [("XGROUP", "CREATECONSUMER", "x", "g", c) for c in ("c4", "c5")]
    out = []
    for start, words in itertools.product(
        ("0", "-", "2", "(1-1", "x"),
        combinations(("COUNT 1", "COUNT 0", "JUSTID", "COUNT x", "bogus"), 2),
    ):
        out += [
            ["XAUTOCLAIM", "x", "g", "c4", "0", start, *words_of(words)],
            ["XAUTOCLAIM", "x", "g", "c5", "9999999", start, *words_of(words)],
        ]
    out += [("XINFO", "CONSUMERS", "x", "g")]
    yield from by_chunk("XAUTOCLAIM", out, size=3000, first=setup)
    out = []
    for start, end in itertools.product(("-", "1-2", "(1-1", "x"), ("+", "2-0", "(2-0", "-")):
        for count, consumer in itertools.product(
            ("10", "1", "0", "-1", "x"), ((), ("c1",), ("c2",), ("no",))
        ):
            out += [
                ("XPENDING", "x", "g", start, end, count, *consumer),
                ("XPENDING", "x", "g", "IDLE", "0", start, end, count, *consumer),
            ]
    out += [
        ("XPENDING", "x", "g", "IDLE", "99999999", "-", "+", "10"),
        ("XPENDING", "x", "g", "IDLE", "x", "-", "+", "10"),
        ("XPENDING", "x", "g", "-"),
        ("XPENDING", "x", "no"),
        ("XPENDING", "none", "g"),
    ]
    yield from by_chunk("XPENDING", out, size=3000, first=setup)
    out = []
    for name, words in itertools.product(("g", "h", "no"), ("0", "$", "5", "x")):
        for extra in (
            (),
            ("MKSTREAM",),
            ("ENTRIESREAD", "2"),
            ("ENTRIESREAD", "-2"),
            ("ENTRIESREAD", "x"),
            ("bogus",),
        ):
            out += [
                ("XGROUP", "CREATE", "x", name, words, *extra),
                ("XGROUP", "SETID", "x", name, words, *extra),
            ]
            out += [
                ("XGROUP", "CREATE", "fresh", name, words, *extra),
                ("XINFO", "GROUPS", "x"),
                ("XINFO", "STREAM", "fresh"),
                ("DEL", "fresh"),
            ]
        out += [
            ("XGROUP", "CREATECONSUMER", "x", name, "n"),
            ("XGROUP", "DELCONSUMER", "x", name, "c1"),
            ("XGROUP", "DESTROY", "x", "h"),
        ]
        out += [
            ("XINFO", "STREAM", "x", "FULL"),
            ("XINFO", "STREAM", "x", "FULL", "COUNT", "1"),
            ("XINFO", "STREAM", "x", "bogus"),
        ]
    out += [("XINFO", "STREAM", "x", "FULL", "COUNT", n) for n in ("0", "-1", "x", "2")]
    yield from by_chunk("XGROUP and XINFO", out, size=3000, first=setup)


# ---- SORT, RESTORE


def sort_options():
    setup = [
        ("RPUSH", "l", "3", "1", "2", "10"),
        ("SADD", "s", "3", "1", "2", "10"),
        ("ZADD", "z", "1", "3", "2", "1", "3", "2"),
        ("RPUSH", "t", "b", "a", "10", "c"),
        ("MSET", "w_1", "30", "w_2", "20", "w_3", "10", "w_10", "5"),
        ("HSET", "o_1", "n", "one", "w", "4"),
        ("HSET", "o_2", "n", "two", "w", "3"),
        ("HSET", "o_10", "w", "2"),
    ]
    options = (
        "ASC",
        "DESC",
        "ALPHA",
        "LIMIT 0 2",
        "LIMIT 1 -1",
        "LIMIT -1 2",
        "LIMIT x 1",
        "BY w_*",
        "BY o_*->w",
        "BY nosort",
        "BY o_*->none",
    )
    options += ("GET #", "GET w_*", "GET o_*->n", "GET nothing", "GET", "bogus", "STORE to")
    for key in ("l", "t", "z", "s", "none"):
        out = []
        for words in combinations(options, 2):
            if key == "s" and "BY nosort" in words and any(w.startswith("LIMIT") for w in words):
                continue  # which two of a set come first is nobody's business
            if "ALPHA" in words and "BY o_*->none" in words:
                continue  # nor the order of what is all alike
            out += [["SORT", key, *words_of(words)]]
            if "STORE to" in words:
                out += [("LRANGE", "to", 0, -1), ("DEL", "to")]
            else:
                out += [["SORT_RO", key, *words_of(words)]]
        yield from by_chunk(f"SORT of {key}", out, size=3000, first=setup)


def restore_options():
    """Payloads as redis-server 7.0 makes them are in test_types.py; these are the options around one."""
    payload = b"\x00\x03abc\x0a\x00\xd9\xac\x30\x3d\x41r\xa2\xe2"
    options = (
        "REPLACE",
        "ABSTTL",
        "IDLETIME 5",
        "FREQ 5",
        "IDLETIME -1",
        "FREQ 256",
        "IDLETIME 1 FREQ 1",
        "bogus",
        "FREQ",
    )
    out = []
    for ttl, words in itertools.product(
        ("0", "1000000", "-1", "x", "1", "9999999999999"), combinations(options, 2)
    ):
        out += (
            [["RESTORE", "k", ttl, payload, *words_of(words)], ("TTL", "gone"), ("DEL", "k")]
            if ttl != "1"
            else []
        )
    for bad in (
        b"",
        b"x",
        b"\x00",
        payload[:-1],
        payload + b"x",
        b"\xff" + payload[1:],
        payload[:-8] + b"\0" * 8,
    ):
        out += [("RESTORE", "k", "0", bad), ("EXISTS", "k")]
    yield from by_chunk("RESTORE", out)


TABLES = {
    "bit ranges": bit_ranges,
    "bit numbers": bit_numbers,
    "bit operations": bit_operations,
    "geo options": geo_options,
    "stream ids": stream_ids,
    "stream trims": stream_trims,
    "stream groups": stream_groups,
    "sort options": sort_options,
    "restore options": restore_options,
}
