# SPDX-License-Identifier: BSD-3-Clause
"""Random streams of commands: a small pool of keys, weighted commands, options right and wrong.

What it makes must answer alike on both servers at any moment, so a time to live is either far away or
long past, and nothing depends on the table's layout (RANDOMKEY, KEYS and SCAN have comparators).
"""

from differential import Step, cmd
from generator_types import FAMILIES, TypeCommands

KEYS = [
    b"a",
    b"b",
    b"c",
    b"key:1",
    b"key:2",
    b"key:3",
    b"{tag}1",
    b"{tag}2",
    b"{tag}3",
    b"{other}1",
    b"{}",
    b"{}x",
    b"{x",
    b"",
    b"\x00",
    b"bin\xff\r\n\x00key",
    b"k" * 70,
    b"num1",
    b"num2",
    b"num3",
    b"text1",
    b"text2",
    b"A",
    b"*",
    b"a?",
]
VALUES = [
    b"",
    b"v",
    b"value",
    b"Hello World",
    b"\x00\x01\xff",
    b"x" * 44,
    b"x" * 45,
    b"y" * 300,
    b"ohmytext",
    b"mynewtext",
    b"line\r\n*3\r\n$3\r\n",
]
NUMBERS = [
    b"0",
    b"1",
    b"-1",
    b"5",
    b"10",
    b"100",
    b"9999",
    b"10000",
    b"-37",
    b"3.0",
    b"0.1",
    b"1e3",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775800",
    b"abc",
    b"",
    b" 1",
    b"01",
    b"1e400",
]
PATTERNS = [
    b"*",
    b"a*",
    b"{tag}*",
    b"key:?",
    b"[a-c]",
    b"[^a]*",
    b"num[12]",
    b"*\\**",
    b"nope",
    b"",
    b"k*k",
    b"\\{}*",
]


# Commands and options with a time: no random number may become one, or keys would die while others look.
TIMED = {
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "SETEX",
    "PSETEX",
    "EXPIRE",
    "PEXPIRE",
    "EXPIREAT",
    "PEXPIREAT",
}
# Nor the last argument of these: a long timeout, or the name of a place (two at one place have no order).
LAST_STAYS = {"BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX", "GEOADD"}


class Generator(TypeCommands):
    """`families`: which of FAMILIES, besides strings and keys, or instead of them (`plain` False)."""

    def __init__(self, rng, families=(), plain=True):
        self.rng = rng
        # A number too big for a double makes Redis's SORT fail later: it looks at an old errno.
        self.numbers = [n for n in NUMBERS if n != b"1e400" or "sort" not in families]
        self.table = list(self._families()) if plain else []
        makers = self.type_families()
        for family in families:
            self.table += makers[family]()
            self.table += self.common(family)
        self.weights = [w for w, _ in self.table]

    @classmethod
    def of_any_kind(cls, rng):
        """Of everything at once, of a few types, or of one."""
        chosen = rng.sample(FAMILIES, rng.choice((1, 1, 2, 3, len(FAMILIES))))
        return cls(rng, chosen, plain=rng.random() < 0.2)

    def stream(self, length):
        return [self.step() for _ in range(length)]

    def step(self):
        made = self.rng.choices(self.table, self.weights)[0][1]()
        if isinstance(made, Step):
            return made
        words = list(made)
        if self.rng.random() < 0.02:
            words = self._damage(words)
        if self.rng.random() < 0.1:
            words[0] = "".join(self.rng.choice((c.lower(), c.upper())) for c in words[0])
        return cmd(*words)

    def _damage(self, words):
        words = list(words)
        kind = self.rng.randrange(4)
        if kind == 0 and len(words) > 1:
            words.pop()
        elif kind == 1:
            words.append(self.rng.choice((b"", b"extra", b"NX", b"1")))
        elif kind == 2 and len(words) > 2 and not set(words) & TIMED and words[0] not in LAST_STAYS:
            words[-1] = self.rng.choice(self.numbers)
        else:
            words.insert(
                self.rng.randrange(1, len(words) + 1), self.rng.choice((b"x", b"GET", b"-1"))
            )
        # FLUSHALL and co. with a wrong word stay errors; nothing here can block or stop the server.
        return words

    # Pieces
    def key(self):
        # The first few keys are far more popular, so that commands meet.
        return self.rng.choice(KEYS[:8]) if self.rng.random() < 0.5 else self.rng.choice(KEYS)

    def keys(self, most=6):
        return [self.key() for _ in range(self.rng.randint(1, most))]

    def value(self):
        return self.rng.choice(VALUES) if self.rng.random() < 0.5 else self.number()

    def number(self):
        return (
            b"%d" % self.rng.randint(-100, 100)
            if self.rng.random() < 0.6
            else self.rng.choice(self.numbers)
        )

    def index(self):
        return (
            b"%d" % self.rng.randint(-14, 14)
            if self.rng.random() < 0.95
            else self.rng.choice(self.numbers)
        )

    def offset(self):
        return b"%d" % self.rng.randint(0, 300) if self.rng.random() < 0.95 else b"-1"

    def db(self):
        return self.rng.choice((b"0", b"0", b"0", b"1", b"2", b"15", b"16", b"-1", b"x"))

    def ttl(self, unit):
        """A relative time: far away, or past. Hardly ever the same twice, since for NX XX GT LT it would
        matter then whether a millisecond went by in between."""
        far = self.rng.randrange(1000, 1000000)
        if self.rng.random() < 0.12:
            return self.rng.choice(
                (b"0", b"-1", b"-1000", b"abc", b"9223372036854775807", b"1.5", b"")
            )
        return b"%d" % (far * (1000 if unit == "ms" else 1))

    def when(self, unit, past=True):
        """An absolute time likewise."""
        far = 4000000000 + self.rng.choice((0, 1000, 5000))
        if self.rng.random() < 0.12:
            return self.rng.choice(
                (b"0", b"-1", b"abc", b"9223372036854775807") + ((b"1", b"1000") if past else ())
            )
        return b"%d" % (far * (1000 if unit == "ms" else 1))

    def expiry(self):
        # Not past: a SET with a time in the past may leave its key to the active expiry, when it pleases.
        return self.rng.choice(
            (
                ["EX", self.ttl("s")],
                ["PX", self.ttl("ms")],
                ["EXAT", self.when("s", past=False)],
                ["PXAT", self.when("ms", past=False)],
            )
        )

    def some(self, chance, words):
        return words if self.rng.random() < chance else []

    # Commands
    def _families(self):
        r, k, v = self.rng, self.key, self.value
        yield 30, lambda: ["GET", k()]
        yield 30, self._set
        yield 4, lambda: ["SETNX", k(), v()]
        yield 3, lambda: ["SETEX", k(), self.ttl("s"), v()]
        yield 3, lambda: ["PSETEX", k(), self.ttl("ms"), v()]
        yield 4, lambda: ["GETSET", k(), v()]
        yield 4, lambda: ["GETDEL", k()]
        yield 5, lambda: ["GETEX", k(), *r.choice(([], ["PERSIST"], self.expiry(), self.expiry()))]
        yield 8, lambda: ["MGET", *self.keys()]
        yield 8, lambda: ["MSET", *(w for key in self.keys() for w in (key, v()))]
        yield 5, lambda: ["MSETNX", *(w for key in self.keys(3) for w in (key, v()))]
        yield 6, lambda: ["APPEND", k(), v()]
        yield 4, lambda: ["STRLEN", k()]
        yield 5, lambda: [r.choice(("GETRANGE", "SUBSTR")), k(), self.index(), self.index()]
        yield 5, lambda: ["SETRANGE", k(), self.offset(), v()]
        yield 8, lambda: [r.choice(("INCR", "DECR")), k()]
        yield 6, lambda: [r.choice(("INCRBY", "DECRBY", "INCRBYFLOAT")), k(), self.number()]
        yield 3, self._lcs
        yield 8, lambda: [r.choice(("DEL", "UNLINK")), *self.keys()]
        yield 6, lambda: [r.choice(("EXISTS", "TOUCH")), *self.keys()]
        yield 4, lambda: ["TYPE", k()]
        yield 3, lambda: ["KEYS", r.choice(PATTERNS)]
        yield 2, self._scan
        yield 2, lambda: ["RANDOMKEY"]
        yield 8, lambda: [r.choice(("RENAME", "RENAMENX")), k(), k()]
        yield 7, lambda: [
            "COPY",
            k(),
            k(),
            *self.some(0.3, ["DB", self.db()]),
            *self.some(0.5, ["REPLACE"]),
        ]
        yield 4, lambda: ["MOVE", k(), self.db()]
        yield 6, lambda: [r.choice(("EXPIRE", "PEXPIRE")), k(), self.ttl("ms"), *self._flags()]
        yield 5, lambda: [r.choice(("EXPIREAT", "PEXPIREAT")), k(), self.when("ms"), *self._flags()]
        yield 8, lambda: [r.choice(("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME")), k()]
        yield 4, lambda: ["PERSIST", k()]
        yield 3, lambda: ["DBSIZE"]
        yield 4, lambda: ["SELECT", self.db()]
        yield 1, lambda: ["SWAPDB", self.db(), self.db()]
        yield 0.4, lambda: ["FLUSHDB", *self.some(0.4, [r.choice(("ASYNC", "SYNC", "sync", "x"))])]
        yield 0.2, lambda: ["FLUSHALL", *self.some(0.4, [r.choice(("ASYNC", "SYNC", "x"))])]
        yield 4, lambda: ["OBJECT", r.choice(("ENCODING", "ENCODING", "FREQ", "nosuch")), k()]
        yield 2, lambda: ["PING", *self.some(0.4, [v()])]
        yield 2, lambda: ["ECHO", v()]
        yield 1, lambda: [
            "CLIENT",
            *r.choice((["GETNAME"], ["SETNAME", "me"], ["SETNAME", ""], ["ID"], ["nosuch"])),
        ]
        yield 1, lambda: [
            "COMMAND",
            "GETKEYS",
            *r.choice((["MSET", k(), v(), k(), v()], ["GET", k()], ["PING"])),
        ]
        yield 1, lambda: ["TIME"]
        yield 1, lambda: [r.choice(("nosuch", "GETT", "", "foo bar")), k(), v()]
        yield 0.5, lambda: ["DEBUG", "DIGEST-VALUE", *self.keys(3)]
        yield 0.3, lambda: ["HELLO", *self.some(0.8, [r.choice(("2", "3", "4"))])]
        yield 0.2, lambda: ["RESET"]

    def _set(self):
        words = ["SET", self.key(), self.value()]
        options = (
            self.some(0.2, self.rng.choice((["NX"], ["XX"])))
            + self.some(0.15, ["GET"])
            + self.some(0.25, self.rng.choice((self.expiry(), self.expiry(), ["KEEPTTL"])))
            + self.some(0.02, ["XX"])
        )
        return words + options

    def _flags(self):
        return self.some(0.4, [self.rng.choice(("NX", "XX", "GT", "LT"))]) + self.some(
            0.1, [self.rng.choice(("XX", "GT"))]
        )

    def _lcs(self):
        return [
            "LCS",
            self.key(),
            self.key(),
            *self.some(0.3, ["LEN"]),
            *self.some(0.4, ["IDX"]),
            *self.some(0.2, ["MINMATCHLEN", "2"]),
            *self.some(0.2, ["WITHMATCHLEN"]),
        ]

    def _scan(self):
        return Step(
            "scan",
            "a",
            tuple(
                w
                for part in (
                    self.some(0.4, [b"MATCH", self.rng.choice(PATTERNS)]),
                    self.some(0.5, [b"COUNT", self.rng.choice((b"1", b"3", b"1000"))]),
                    self.some(0.2, [b"TYPE", self.rng.choice((b"string", b"list"))]),
                )
                for w in part
            ),
        )
