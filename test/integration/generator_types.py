# SPDX-License-Identifier: BSD-3-Clause
"""Random commands on lists, hashes, sets, sorted sets, bitmaps, HyperLogLogs, geo sets and streams.

Each type has keys of its own, so that commands meet values that fit; now and then a key of another type is
taken. Members come from a small pool, so that they meet too, with sizes on both sides of the encodings'
thresholds. Where chance answers (SPOP …) the step is a @random one, which puts both servers on a par.
"""

from differential import Step
from harness import encode, to_bytes

POOLS = {
    "list": [b"l:1", b"l:2", b"l:3", b"{tag}l"],
    "hash": [b"h:1", b"h:2", b"h:3"],
    "set": [b"s:1", b"s:2", b"s:3", b"{tag}s"],
    "zset": [b"z:1", b"z:2", b"z:3", b"{tag}z"],
    "lex": [b"y:1", b"y:2"],
    "bits": [b"b:1", b"b:2", b"b:3"],
    "hll": [b"p:1", b"p:2", b"p:3"],
    "geo": [b"g:1", b"g:2"],
    "stream": [b"x:1", b"x:2"],
    "sort": [b"l:1", b"s:1", b"n:1"],  # no sorted sets: Redis's SORT changes their encoding
}
FAMILIES = tuple(POOLS)
APART = ("lex", "sort")
STRAY = tuple(f for f in FAMILIES if f not in APART)

# Settings that random streams run under, so that values change their encoding often. redis-server 7.0 does
# not know those that start with set-max-listpack.
LIMITS = {
    "hash-max-listpack-entries": (512, 4, 8, 0),
    "hash-max-listpack-value": (64, 10),
    "list-max-listpack-size": (-2, 3, 8, -1, 1),
    "list-compress-depth": (0, 0, 1, 2),
    "set-max-intset-entries": (512, 4, 8, 0),
    "set-max-listpack-entries": (128, 5, 9, 0),
    "set-max-listpack-value": (64, 10),
    "zset-max-listpack-entries": (128, 4, 8, 0),
    "zset-max-listpack-value": (64, 10),
    "hll-sparse-max-bytes": (3000, 60, 0),
    "stream-node-max-entries": (100, 4, 1),
    "stream-node-max-bytes": (4096, 100),
}

WORDS = [
    b"",
    b"m",
    b"member",
    b"x" * 10,
    b"x" * 11,
    b"y" * 64,
    b"y" * 65,
    b"z" * 300,
    b"\xff\x00\r\n",
]
SCORES = [
    b"0",
    b"-0",
    b"1",
    b"1.5",
    b"-3",
    b"2",
    b"3",
    b"1e3",
    b"inf",
    b"-inf",
    b"0.1",
    b"1e-5",
    b"100",
    b"nan",
    b"x",
]
LEX = [b"-", b"+", b"[m", b"(m", b"[1", b"(30", b"[x", b"(y", b"x", b"[", b"("]
BOUNDS = [b"-inf", b"+inf", b"0", b"(0", b"1", b"(1.5", b"3", b"(100", b"x"]


class TypeCommands:
    """What Generator (generator.py) mixes in; it has the pieces key(), number(), index(), some()."""

    def of(self, family):
        """A key of this family, or now and then of any. Sorted sets under the names of "lex" have one score
        only, for Redis answers at random what is asked by name about others; so they keep to themselves.
        """
        if self.rng.random() < 0.04 and family not in APART:
            return self.rng.choice(POOLS[self.rng.choice(STRAY)] + [b"a", b"nope"])
        pool = POOLS[family]
        return pool[0] if self.rng.random() < 0.45 else self.rng.choice(pool)

    def several(self, family, most=3):
        return [self.of(family) for _ in range(self.rng.randint(1, most))]

    def member(self):
        chance = self.rng.random()
        if chance < 0.4:
            return b"%d" % self.rng.randint(-3, 20)
        if chance < 0.85:
            return b"m%d" % self.rng.randint(0, 14)
        if chance < 0.97:
            return self.rng.choice(WORDS)
        return self.number()

    def members(self, most=4):
        # Once in a while so many that they cross several thresholds at once.
        return [
            self.member()
            for _ in range(self.rng.randint(1, most if self.rng.random() < 0.9 else 40))
        ]

    def field_number(self):
        """For BITFIELD, where the smallest of all numbers overflows inside Redis."""
        number = self.number()
        return number if number != b"-9223372036854775808" else b"-9223372036854775"

    def small(self, low=-3, high=12):
        return b"%d" % self.rng.randint(low, high) if self.rng.random() < 0.97 else b"x"

    def score(self):
        return (
            b"%d" % self.rng.randint(-5, 30) if self.rng.random() < 0.6 else self.rng.choice(SCORES)
        )

    def numbered(self, family, most=3):
        """numkeys key …, now and then wrong."""
        keys = self.several(family, most)
        count = len(keys) if self.rng.random() < 0.96 else self.rng.randint(-1, 5)
        return [b"%d" % count, *keys]

    def by_chance(self, *words):
        return Step("random", "a", tuple(to_bytes(w) for w in words))

    def type_families(self):
        return {
            "list": self._lists,
            "hash": self._hashes,
            "set": self._sets,
            "zset": self._zsets,
            "lex": self._lex,
            "bits": self._bits,
            "hll": self._hlls,
            "geo": self._geo,
            "stream": self._streams,
            "sort": self._sorts,
        }

    def common(self, family):
        """What every type needs: to go away, to be copied, to be looked at."""
        k, r = (lambda: self.of(family)), self.rng
        yield 3, lambda: [r.choice(("DEL", "UNLINK")), *self.several(family, 2)]
        yield 3, lambda: ["COPY", k(), k(), *self.some(0.8, ["REPLACE"])]
        yield 2, lambda: [r.choice(("RENAME", "RENAMENX")), k(), k()]
        yield 4, lambda: ["OBJECT", "ENCODING", k()]
        yield 1, lambda: ["TYPE", k()]
        yield 1, lambda: ["DUMP", k()]
        yield 1, lambda: ["MEMORY", "USAGE", k()]
        yield 1, lambda: ["DEBUG", "DIGEST-VALUE", k()] if family != "stream" else ["XLEN", k()]
        yield 1, lambda: ["EXPIRE", k(), self.ttl("s")]
        yield 1, lambda: ["PERSIST", k()]
        yield 0.3, lambda: ["MOVE", k(), "1"]

    def _lists(self):
        k, m, i, r = (lambda: self.of("list")), self.member, self.index, self.rng
        side = lambda: r.choice(("LEFT", "RIGHT"))
        yield 20, lambda: [r.choice(("LPUSH", "RPUSH")), k(), *self.members(6)]
        yield 3, lambda: [r.choice(("LPUSHX", "RPUSHX")), k(), *self.members(3)]
        yield 12, lambda: [r.choice(("LPOP", "RPOP")), k(), *self.some(0.4, [self.small(-1, 6)])]
        yield 10, lambda: ["LRANGE", k(), i(), i()]
        yield 5, lambda: ["LINDEX", k(), i()]
        yield 2, lambda: ["LLEN", k()]
        yield 6, lambda: ["LSET", k(), i(), m()]
        yield 6, lambda: ["LINSERT", k(), r.choice(("BEFORE", "AFTER")), m(), m()]
        yield 6, lambda: ["LREM", k(), self.small(-3, 3), m()]
        yield 4, lambda: ["LTRIM", k(), i(), i()]
        yield 4, lambda: [
            "LPOS",
            k(),
            m(),
            *self.some(0.4, ["RANK", self.small(-3, 3)]),
            *self.some(0.4, ["COUNT", self.small(-1, 3)]),
            *self.some(0.2, ["MAXLEN", self.small(-1, 9)]),
        ]
        yield 5, lambda: ["LMOVE", k(), k(), side(), side()]
        yield 3, lambda: ["RPOPLPUSH", k(), k()]
        yield 3, lambda: [
            "LMPOP",
            *self.numbered("list"),
            side(),
            *self.some(0.5, ["COUNT", self.small(0, 5)]),
        ]
        yield 2, lambda: [r.choice(("BLPOP", "BRPOP")), k(), k(), "0.001"]
        yield 2, lambda: ["BLMOVE", k(), k(), side(), side(), "0.001"]
        yield 1, lambda: ["BRPOPLPUSH", k(), k(), "0.001"]
        yield 1, lambda: ["BLMPOP", "0.001", *self.numbered("list"), side(), "COUNT", "2"]

    def _hashes(self):
        k, m, r = (lambda: self.of("hash")), self.member, self.rng
        yield 20, lambda: ["HSET", k(), *(w for f in self.members() for w in (f, m()))]
        yield 3, lambda: ["HMSET", k(), m(), m(), m(), m()]
        yield 3, lambda: ["HSETNX", k(), m(), m()]
        yield 8, lambda: ["HGET", k(), m()]
        yield 4, lambda: ["HMGET", k(), *self.members()]
        yield 5, lambda: [r.choice(("HGETALL", "HKEYS", "HVALS")), k()]
        yield 7, lambda: ["HDEL", k(), *self.members()]
        yield 2, lambda: ["HLEN", k()]
        yield 2, lambda: [r.choice(("HSTRLEN", "HEXISTS")), k(), m()]
        yield 6, lambda: ["HINCRBY", k(), m(), self.number()]
        yield 3, lambda: ["HINCRBYFLOAT", k(), m(), self.number()]
        yield 3, lambda: self.by_chance(
            "HRANDFIELD", k(), self.small(-6, 9), *self.some(0.5, ["WITHVALUES"])
        )
        yield 1, lambda: self.by_chance("HRANDFIELD", k())
        yield 2, lambda: Step("scan", "a", (b"HSCAN", k(), *self.some(0.5, [b"COUNT", b"2"])))

    def _sets(self):
        k, m, r = (lambda: self.of("set")), self.member, self.rng
        op = lambda: r.choice(("SINTER", "SUNION", "SDIFF"))
        yield 22, lambda: ["SADD", k(), *self.members(6)]
        yield 6, lambda: [
            "SADD",
            k(),
            *(b"%d" % r.randint(-40000, 70000) for _ in range(r.randint(1, 4))),
        ]
        yield 9, lambda: ["SREM", k(), *self.members()]
        yield 2, lambda: ["SCARD", k()]
        yield 5, lambda: ["SISMEMBER", k(), m()]
        yield 3, lambda: ["SMISMEMBER", k(), *self.members()]
        yield 5, lambda: ["SMEMBERS", k()]
        yield 3, lambda: self.by_chance("SPOP", k())
        yield 3, lambda: self.by_chance("SPOP", k(), self.small(-1, 9))
        yield 3, lambda: self.by_chance("SRANDMEMBER", k(), self.small(-9, 30))
        yield 1, lambda: self.by_chance("SRANDMEMBER", k())
        yield 5, lambda: ["SMOVE", k(), k(), m()]
        yield 2, lambda: Step("scan", "a", (b"SSCAN", k(), *self.some(0.5, [b"COUNT", b"2"])))
        yield 7, lambda: [op(), *self.several("set")]
        yield 6, lambda: [op() + "STORE", k(), *self.several("set")]
        yield 3, lambda: [
            "SINTERCARD",
            *self.numbered("set"),
            *self.some(0.4, ["LIMIT", self.small(-1, 5)]),
        ]

    def _zsets(self):
        k, m, i, s, r = (lambda: self.of("zset")), self.member, self.index, self.score, self.rng
        b = lambda: r.choice(BOUNDS)
        flags = lambda: self.some(0.3, [r.choice(("NX", "XX"))]) + self.some(
            0.2, [r.choice(("GT", "LT"))]
        )
        limit = lambda: self.some(0.4, ["LIMIT", self.small(-1, 5), self.small(-1, 6)])
        scores = lambda: self.some(0.5, ["WITHSCORES"])
        rev = lambda: self.some(0.4, ["REV"])
        low_high = lambda: r.choice(((i(), i()), (b(), b(), "BYSCORE")))
        yield 18, lambda: [
            "ZADD",
            k(),
            *flags(),
            *self.some(0.2, ["CH"]),
            *(w for e in self.members(5) for w in (s(), e)),
        ]
        yield 4, lambda: ["ZADD", k(), *flags(), "INCR", s(), m()]
        yield 5, lambda: ["ZINCRBY", k(), s(), m()]
        yield 7, lambda: ["ZREM", k(), *self.members()]
        yield 4, lambda: [r.choice(("ZSCORE", "ZRANK", "ZREVRANK")), k(), m()]
        yield 2, lambda: ["ZMSCORE", k(), *self.members()]
        yield 2, lambda: ["ZCARD", k()]
        yield 3, lambda: ["ZCOUNT", k(), b(), b()]
        yield 9, lambda: ["ZRANGE", k(), *low_high(), *rev(), *limit(), *scores()]
        yield 4, lambda: ["ZRANGESTORE", k(), k(), *low_high(), *rev(), *limit()]
        yield 3, lambda: [
            r.choice(("ZRANGEBYSCORE", "ZREVRANGEBYSCORE")),
            k(),
            b(),
            b(),
            *scores(),
            *limit(),
        ]
        yield 2, lambda: ["ZREVRANGE", k(), i(), i(), *scores()]
        yield 3, lambda: ["ZREMRANGEBYRANK", k(), i(), i()]
        yield 2, lambda: ["ZREMRANGEBYSCORE", k(), b(), b()]
        yield 5, lambda: [
            r.choice(("ZPOPMIN", "ZPOPMAX")),
            k(),
            *self.some(0.4, [self.small(-1, 6)]),
        ]
        yield 2, lambda: [
            "ZMPOP",
            *self.numbered("zset"),
            r.choice(("MIN", "MAX")),
            *self.some(0.4, ["COUNT", self.small(0, 5)]),
        ]
        yield 2, lambda: [r.choice(("BZPOPMIN", "BZPOPMAX")), k(), k(), "0.001"]
        yield 1, lambda: ["BZMPOP", "0.001", *self.numbered("zset"), "MAX", "COUNT", "2"]
        yield 2, lambda: self.by_chance("ZRANDMEMBER", k(), self.small(-6, 9), *scores())
        yield 1, lambda: Step("scan", "a", (b"ZSCAN", k()))
        yield 7, self._zset_operation
        yield 2, lambda: [
            "ZINTERCARD",
            *self.numbered("zset"),
            *self.some(0.4, ["LIMIT", self.small(-1, 5)]),
        ]

    def _lex(self):
        k, m, r = (lambda: self.of("lex")), self.member, self.rng
        x = lambda: r.choice((r.choice(LEX), b"[" + m(), b"(" + m()))
        limit = lambda: self.some(0.4, ["LIMIT", self.small(-1, 5), self.small(-1, 6)])
        yield 12, lambda: ["ZADD", k(), *(w for e in self.members(6) for w in (b"0", e))]
        yield 4, lambda: ["ZREM", k(), *self.members()]
        yield 4, lambda: ["ZLEXCOUNT", k(), x(), x()]
        yield 5, lambda: [r.choice(("ZRANGEBYLEX", "ZREVRANGEBYLEX")), k(), x(), x(), *limit()]
        yield 5, lambda: ["ZRANGE", k(), x(), x(), "BYLEX", *self.some(0.5, ["REV"]), *limit()]
        yield 3, lambda: ["ZRANGESTORE", k(), k(), x(), x(), "BYLEX", *limit()]
        yield 2, lambda: ["ZREMRANGEBYLEX", k(), x(), x()]
        yield 2, lambda: [r.choice(("ZPOPMIN", "ZPOPMAX")), k()]
        yield 2, lambda: [r.choice(("ZRANK", "ZREVRANK")), k(), m()]

    def _zset_operation(self):
        name, r = self.rng.choice(("ZUNION", "ZINTER", "ZDIFF")), self.rng
        keys = [self.of(r.choice(("zset", "zset", "set"))) for _ in range(r.randint(1, 3))]
        words = [b"%d" % len(keys), *keys]
        if name != "ZDIFF":
            words += self.some(0.4, ["WEIGHTS", *(self.score() for _ in keys)])
            words += self.some(0.4, ["AGGREGATE", r.choice(("SUM", "MIN", "MAX"))])
        if r.random() < 0.5:
            return [name + "STORE", self.of("zset"), *words]
        return [name, *words, *self.some(0.7, ["WITHSCORES"])]

    def _bits(self):
        k, r = (lambda: self.of("bits")), self.rng
        at = lambda: b"%d" % r.randint(0, 700)
        unit = lambda: self.some(0.5, [r.choice(("BYTE", "BIT"))])
        kind = lambda: r.choice(("u", "i")) + str(r.choice((1, 4, 5, 8, 16, 31, 63, 64, 65)))
        yield 12, lambda: ["SETBIT", k(), at(), r.choice(("0", "1", "1", "1", "2"))]
        yield 4, lambda: ["GETBIT", k(), at()]
        yield 5, lambda: ["BITCOUNT", k(), *self.some(0.7, [self.index(), self.index(), *unit()])]
        yield 5, lambda: [
            "BITPOS",
            k(),
            r.choice("01"),
            *self.some(0.6, [self.index(), self.index(), *unit()]),
        ]
        yield 8, lambda: ["BITOP", r.choice(("AND", "OR", "XOR")), k(), *self.several("bits")]
        yield 2, lambda: ["BITOP", "NOT", k(), k()]
        yield 4, lambda: [
            "BITFIELD",
            k(),
            *self.some(0.4, ["OVERFLOW", r.choice(("WRAP", "SAT", "FAIL"))]),
            *self.some(0.6, ["INCRBY", kind(), at(), self.field_number()]),
            *self.some(0.6, ["SET", kind(), b"#" + self.small(0, 9), self.field_number()]),
            *self.some(0.6, ["GET", kind(), at()]),
        ]
        yield 1, lambda: ["BITFIELD_RO", k(), "GET", kind(), at()]
        yield 2, lambda: ["SETRANGE", k(), at(), r.choice((b"\xff", b"\x00\x01", b"\xaa" * 40))]
        yield 2, lambda: ["GET", k()]

    def _hlls(self):
        k, r = (lambda: self.of("hll")), self.rng
        yield 12, lambda: [
            "PFADD",
            k(),
            *(b"e%d" % r.randint(0, 5000) for _ in range(r.choice((0, 1, 5, 60)))),
        ]
        yield 6, lambda: ["PFCOUNT", *self.several("hll")]
        yield 4, lambda: ["PFMERGE", k(), *self.several("hll")]
        yield 2, lambda: ["GET", k()]
        yield 1, lambda: ["PFDEBUG", "ENCODING", k()]
        yield 1, lambda: ["PFDEBUG", "DECODE", k()]
        yield 0.5, lambda: ["PFDEBUG", "TODENSE", k()]

    def place(self):
        """A place, always the same for a name: two at one distance would have no order."""
        number = self.rng.randint(0, 40)
        return [
            b"%.4f" % (10 + number * 0.3717),
            b"%.4f" % (35 + (number * 7 % 41) * 0.1913),
            b"p%d" % number,
        ]

    def _geo(self):
        k, r = (lambda: self.of("geo")), self.rng
        unit = lambda: r.choice(("m", "km", "mi", "ft", "km", "parsec"))
        name = lambda: self.place()[2]
        reach = lambda: r.choice((b"50", b"200", b"500", b"3000", b"0", b"-1"))
        centre = lambda: r.choice((["FROMMEMBER", name()], ["FROMLONLAT", *self.place()[:2]]))
        area = lambda: r.choice(
            (
                ["BYRADIUS", reach(), "km"],
                ["BYBOX", reach(), reach(), "km"],
                ["BYRADIUS", reach(), unit()],
            )
        )
        order = lambda: self.some(0.6, [r.choice(("ASC", "DESC"))])
        count = lambda: self.some(0.4, ["COUNT", self.small(1, 6), *self.some(0.1, ["ANY"])])
        extra = (
            lambda: self.some(0.3, ["WITHCOORD"])
            + self.some(0.4, ["WITHDIST"])
            + self.some(0.2, ["WITHHASH"])
        )
        yield 12, lambda: [
            "GEOADD",
            k(),
            *self.some(0.2, [r.choice(("NX", "XX", "CH"))]),
            *self.place(),
            *self.place(),
        ]
        yield 2, lambda: ["GEOPOS", k(), name(), name()]
        yield 2, lambda: ["GEOHASH", k(), name(), name()]
        yield 3, lambda: ["GEODIST", k(), name(), name(), *self.some(0.5, [unit()])]
        yield 9, lambda: ["GEOSEARCH", k(), *centre(), *area(), *order(), *count(), *extra()]
        yield 3, lambda: [
            "GEOSEARCHSTORE",
            k(),
            k(),
            *centre(),
            *area(),
            *order(),
            *self.some(0.3, ["STOREDIST"]),
        ]
        yield 3, lambda: [
            "GEORADIUS",
            k(),
            *self.place()[:2],
            reach(),
            unit(),
            *order(),
            *count(),
            *extra(),
        ]
        yield 2, lambda: [
            "GEORADIUSBYMEMBER",
            k(),
            name(),
            reach(),
            unit(),
            *order(),
            *count(),
            *extra(),
        ]
        yield 1, lambda: ["GEORADIUS", k(), *self.place()[:2], reach(), "km", "STORE", k()]
        yield 2, lambda: ["ZREM", k(), name()]
        yield 1, lambda: ["ZRANGE", k(), "0", "-1", "WITHSCORES"]

    def _streams(self):
        k, r = (lambda: self.of("stream")), self.rng
        low = lambda: b"%d-%d" % (r.randint(0, 60), r.randint(0, 3))
        self.top = 0

        def new():
            # Mostly beyond what there is, so that entries pile up.
            self.top += r.choice((0, 0, 1, 1, 3))
            return r.choice((b"%d-%d" % (self.top, r.randint(0, 9)), b"%d-*" % self.top, low()))

        pairs = lambda: [
            w
            for _ in range(r.randint(1, 3))
            for w in (r.choice((b"f", b"g", self.member())), self.member())
        ]
        trim = lambda: [
            *r.choice(
                (
                    ["MAXLEN", *self.some(0.4, [r.choice("=~")]), self.small(0, 12)],
                    ["MINID", *self.some(0.4, [r.choice("=~")]), low()],
                )
            )
        ]
        g, c = (lambda: r.choice(("g1", "g1", "g2", "no"))), (
            lambda: r.choice(("alice", "bob", "carol"))
        )
        ids = lambda: [low() for _ in range(r.randint(1, 3))]
        yield 25, lambda: [
            "XADD",
            k(),
            *self.some(0.1, ["NOMKSTREAM"]),
            *self.some(0.15, trim()),
            new(),
            *pairs(),
        ]
        yield 2, lambda: [
            "XADD",
            b"x:auto",
            *self.some(0.2, ["MAXLEN", self.small(0, 12)]),
            "*",
            *pairs(),
        ]
        yield 2, lambda: ["XRANGE", b"x:auto", "-", "+"]
        yield 2, lambda: ["XLEN", k()]
        yield 8, lambda: [
            "XRANGE",
            k(),
            r.choice((b"-", low())),
            r.choice((b"+", low())),
            *self.some(0.4, ["COUNT", self.small(0, 5)]),
        ]
        yield 3, lambda: ["XREVRANGE", k(), r.choice((b"+", low())), r.choice((b"-", b"(" + low()))]
        yield 5, lambda: ["XDEL", k(), *ids()]
        yield 3, lambda: ["XTRIM", k(), *trim()]
        yield 3, lambda: [
            "XREAD",
            *self.some(0.5, ["COUNT", self.small(1, 5)]),
            "STREAMS",
            k(),
            b"x:2",
            low(),
            low(),
        ]
        yield 6, self._group
        yield 1, lambda: ["XGROUP", "DESTROY", k(), g()]
        yield 1, lambda: ["XGROUP", "SETID", k(), g(), low()]
        yield 10, lambda: [
            "XREADGROUP",
            "GROUP",
            g(),
            c(),
            "COUNT",
            self.small(1, 5),
            *self.some(0.1, ["NOACK"]),
            "STREAMS",
            k(),
            r.choice((b">", b">", b">", low())),
        ]
        yield 5, lambda: ["XACK", k(), g(), *ids()]
        yield 3, lambda: [
            "XPENDING",
            k(),
            g(),
            *self.some(0.6, ["-", "+", "10", *self.some(0.3, [c()])]),
        ]
        yield 4, lambda: [
            "XCLAIM",
            k(),
            g(),
            c(),
            "0",
            *ids(),
            *self.some(0.2, ["JUSTID"]),
            *self.some(0.2, ["FORCE"]),
        ]
        yield 3, lambda: [
            "XAUTOCLAIM",
            k(),
            g(),
            c(),
            "0",
            r.choice((b"0", low())),
            *self.some(0.4, ["COUNT", self.small(1, 4)]),
        ]
        yield 3, lambda: [
            "XINFO",
            *r.choice(
                (["STREAM", k()], ["GROUPS", k()], ["CONSUMERS", k(), g()], ["STREAM", k(), "FULL"])
            ),
        ]
        yield 0.3, lambda: [
            "XSETID",
            k(),
            b"%d-9" % max(61, self.top + 1),
        ]  # 7.2 refuses ids below what was deleted

    def _group(self):
        """A group with all its consumers, in one step: from 7.2 on, whoever claims nothing becomes a
        consumer, too, and 7.0 would do without him."""
        key, name = self.of("stream"), self.rng.choice(("g1", "g2"))
        start = self.rng.choice((b"0", b"$", b"%d-1" % self.rng.randint(0, 60)))
        commands = [("XGROUP", "CREATE", key, name, start, *self.some(0.2, ["MKSTREAM"]))]
        commands += [("XGROUP", "CREATECONSUMER", key, name, c) for c in ("alice", "bob", "carol")]
        return Step("raw", data=b"".join(encode(*c) for c in commands), number=len(commands))

    def _sorts(self):
        k, r = (lambda: self.of("sort")), self.rng
        yield 6, lambda: [
            "RPUSH",
            k(),
            *(b"%d" % r.randint(-5, 30) for _ in range(r.randint(1, 6))),
        ]
        yield 3, lambda: ["SADD", k(), *(b"%d" % r.randint(-5, 30) for _ in range(r.randint(1, 6)))]
        yield 3, lambda: ["SET", b"w_%d" % r.randint(-5, 30), self.member()]
        yield 3, lambda: ["HSET", b"o_%d" % r.randint(-5, 30), "f", self.member()]
        yield 12, self._sort

    def _sort(self):
        r = self.rng
        by = self.some(0.4, ["BY", r.choice((b"w_*", b"nope_*", b"o_*->f"))])
        words = by + self.some(0.3, ["LIMIT", self.small(-1, 3), self.small(-1, 8)])
        words += self.some(0.4, ["GET", r.choice((b"#", b"w_*", b"o_*->f"))]) + self.some(
            0.3, ["GET", "#"]
        )
        words += self.some(0.5, [r.choice(("ASC", "DESC"))])
        # Equal weights have no order under ALPHA, so it comes without BY.
        words += [] if by else self.some(0.5, ["ALPHA"])
        words += self.some(0.3, ["STORE", r.choice((b"n:1", b"n:2"))])
        return [r.choice(("SORT", "SORT", "SORT_RO")), self.of("sort"), *words]
