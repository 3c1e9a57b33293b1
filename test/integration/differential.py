# SPDX-License-Identifier: BSD-3-Clause
"""The differential engine: the same commands to redis-server and to Gyre, every reply compared.

A case is a list of steps. It starts with both servers empty and with new connections, and is run either
one command at a time ("step") or with everything between two barriers in one write that is cut at
random places ("pipeline"). At its end the two data sets are compared as well.

The text format of streams/*.txt, one step a line:
    # comment                    == a sentence         starts a case ([types] in it: only with HAVE_TYPES,
    SET k "a\\x00b"                                     [step]: not pipelined)
    b> GET k                     on the connection called b (connections open at their first use)
    ~ CLIENT REPLY OFF           no reply is awaited
    @sleep 0.05                  wait (a barrier)       @sync   a barrier
    @scan MATCH a* COUNT 3       a full SCAN iteration, compared as a set (and all keys seen)
    @scan HSCAN h COUNT 3        likewise SSCAN, HSCAN or ZSCAN of a key
    @random SPOP s 3             a command that answers by chance (SPOP, SRANDMEMBER, HRANDFIELD,
                                 ZRANDMEMBER): what it must obey is checked, and after an SPOP both
                                 servers go on with what Gyre has left
    @raw 2 "PING\\r\\nPING\\r\\n"   raw bytes that have 2 replies
    @rawclose "*a\\r\\n"           raw bytes after which the server answers something and closes
    @closed                      the server has closed this connection
A case with [gyre] in its sentence is about what redis-server 7.0 does not know. It runs on Gyre alone, in
RESP2, and the line after a command says what must come (as harness.show writes it; without such a line
anything but an error may):
    HTTL h FIELDS 2 f nope
    --> [:100, :-2]
Words are quoted as in redis-cli. Inside words: <now+10> <nowms-5> unix times, <rep:x:1000> repetition,
<id:b> <addr:b> <laddr:b> of connection b (`a` is the first).
"""

import re
import time
from typing import NamedTuple

import comparators
from differences import excused
from harness import HERE, STANDIN, Closed, Failure, R, ReadTimeout, encode, show, to_bytes

CLOSED = (b"<closed>", R("closed", b""))
SILENT = (b"<no reply>", R("silent", b""))


class Step(NamedTuple):
    kind: str  # cmd, silent, sleep, sync, scan, random, raw, rawclose, closed
    conn: str = "a"
    args: tuple = ()  # cmd, silent, scan, random: words
    data: bytes = b""  # raw
    number: float = 0  # sleep: seconds; raw: replies
    expected: str = ""  # cmd in a [gyre] case: the reply, as show() writes it


class Case(NamedTuple):
    name: str
    steps: list
    tags: frozenset = frozenset()


def cmd(*args, conn="a"):
    return Step("cmd", conn, tuple(to_bytes(a) for a in args))


def case(name, *commands):
    """A case from tuples, strings (split at blanks) and Steps."""
    steps = []
    for c in commands:
        if isinstance(c, Step):
            steps.append(c)
        elif isinstance(c, (str, bytes)):
            steps.append(cmd(*split_words(c)))
        else:
            steps.append(cmd(*c))
    return Case(name, steps)


_ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "a": b"\a", "b": b"\b"}
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[^\s"\']\S*')


def unquote(text):
    """The bytes of a double-quoted word's inside."""
    out, i = bytearray(), 0
    while i < len(text):
        if text[i] != "\\":
            out += text[i].encode()
            i += 1
        elif text[i + 1] == "x":
            out.append(int(text[i + 2 : i + 4], 16))
            i += 4
        else:
            out += _ESCAPES.get(text[i + 1], text[i + 1].encode())
            i += 2
    return bytes(out)


def split_words(line):
    if isinstance(line, bytes):
        line = line.decode()
    words, at = [], 0
    line = line.strip()
    while at < len(line):
        if line[at].isspace():
            at += 1
            continue
        found = _WORD.match(line, at)
        if not found:
            raise ValueError(f"bad quotes in a stream: {line}")
        word = found.group()
        at = found.end()
        if word[0] == '"':
            words.append(unquote(word[1:-1]))
        elif word[0] == "'":
            words.append(word[1:-1].encode())
        else:
            words.append(word.encode())
    return words


def parse_stream(text, origin="stream"):
    cases = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("=="):
            tags = frozenset(re.findall(r"\[(\w+)\]", line))
            cases.append(Case(line.strip("= "), [], tags))
            continue
        if not cases:
            raise ValueError(f"{origin}:{number}: a step before the first case")
        try:
            steps = cases[-1].steps
            if line.startswith("-->"):
                steps[-1] = steps[-1]._replace(expected=line[3:].strip())
            else:
                steps.append(_parse_step(line))
        except (ValueError, IndexError) as bad:
            raise ValueError(f"{origin}:{number}: {bad}") from None
    return cases


def _parse_step(line):
    conn = "a"
    found = re.match(r"([a-z]\w*)> *", line)
    if found:
        conn, line = found.group(1), line[found.end() :]
    if line.startswith("~"):
        return Step("silent", conn, tuple(split_words(line[1:])))
    if not line.startswith("@"):
        return Step("cmd", conn, tuple(split_words(line)))
    words = split_words(line)
    kind = words[0][1:].decode()
    if kind == "sleep":
        return Step("sleep", conn, number=float(words[1]))
    if kind in ("sync", "closed"):
        return Step(kind, conn)
    if kind in ("scan", "random"):
        return Step(kind, conn, tuple(words[1:]))
    if kind == "raw":
        return Step("raw", conn, data=words[2], number=int(words[1]))
    if kind == "rawclose":
        return Step("rawclose", conn, data=words[1])
    raise ValueError(f"unknown directive {kind}")


def load_stream(name):
    path = HERE / "streams" / (name + ".txt")
    return parse_stream(path.read_text(), path.name)


def stream_names():
    return tuple(sorted(p.stem for p in (HERE / "streams").glob("*.txt")))


_MARK = re.compile(rb"<(?:(now|nowms)([+-]\d+)?|(id|addr|laddr):(\w+)|rep:([^:]+):(\d+))>")


class Mismatch(NamedTuple):
    case: str
    what: str
    history: list

    def __str__(self):
        return (
            f"case {self.case!r}: {self.what}\n  the commands before it and itself:\n"
            + "\n".join("    " + h for h in self.history[-12:])
        )


def command_text(args):
    """A command as one line: for people, and for the patterns in differences.py."""
    words = [args[0].upper()] + list(args[1:]) if args else []
    return " ".join(_word(w) for w in words)


def _word(word):
    if len(word) > 200:
        return f"<{len(word)} bytes {word[:20]!r}…>"
    if (
        re.fullmatch(rb"[!-~]+", word)
        and b'"' not in word
        and b"'" not in word
        and b"\\" not in word
    ):
        return word.decode()
    out = "".join(chr(c) if 32 <= c < 127 and c not in b'"\\' else f"\\x{c:02x}" for c in word)
    return f'"{out}"'


class Side:
    """One server and the case's connections to it."""

    def __init__(self, server, resp):
        self.server, self.resp = server, resp
        self.conns = {}
        self.ids = {}

    def conn(self, name):
        if name not in self.conns:
            conn = self.server.connect()
            self.conns[name] = conn
            if self.resp == 3:
                hello = conn.cmd("HELLO", "3")
                if hello.kind != "%" and not hello.value.startswith(b"NOAUTH "):
                    raise Failure(f"{self.server.kind}: HELLO 3 answered {show(hello)}")
        return self.conns[name]

    def special(self, what, name):
        conn = self.conn(name)
        if what == b"id":
            if name not in self.ids:
                self.ids[name] = self._id_of(name, conn)
            return self.ids[name]
        host, port = (conn.sock.getsockname() if what == b"addr" else conn.sock.getpeername())[:2]
        return to_bytes(f"{host}:{port}")

    def _id_of(self, name, conn):
        mine = conn.sock.getsockname()
        until = time.monotonic() + 3  # a new or moving connection is not listed for a moment
        with self.server.connect() as control:
            while time.monotonic() < until:
                lines = control.cmd("CLIENT", "LIST").text().decode().split("\n")
                for line in lines:
                    fields = dict(t.partition("=")[::2] for t in line.split(" "))
                    if fields.get("addr", "").rpartition(":")[2] == str(mine[1]):
                        return to_bytes(fields["id"])
                time.sleep(0.01)
        raise Failure(f"connection {name} ({mine}) is not in CLIENT LIST")

    def close(self):
        for conn in self.conns.values():
            conn.close()
        self.conns = {}


class Differ:
    """Runs cases against a pair of servers. `mode` is "step" or "pipeline"."""

    def __init__(self, redis, gyre, resp, mode, rng):
        self.redis, self.gyre, self.resp, self.mode, self.rng = redis, gyre, resp, mode, rng
        self.commands, self.last = 0, "(none)"
        self.is_hastened = False
        self.used = set()  # differences that were needed
        self.control = [(redis.connect(timeout=30)), (gyre.connect(timeout=30))]

    def hasten(self):
        """For cases in which a time runs out: an idle redis-server notices that `hz` times a second."""
        self.control[0].cmd("CONFIG", "SET", "hz", "500")
        self.is_hastened = True
        return self

    def close(self):
        if self.is_hastened:
            self.control[0].cmd("CONFIG", "SET", "hz", "10")
        for conn in self.control:
            conn.close()

    def run(self, one, state=True):
        """Run one case; returns a Mismatch or None."""
        for conn, server in zip(self.control, (self.redis, self.gyre)):
            try:
                reply = conn.cmd("FLUSHALL")
            except Failure as failure:
                raise Failure(
                    f"{server.kind}: FLUSHALL after the case {self.last!r}: {failure}"
                ) from None
            if reply.kind != "+":
                raise Failure(
                    f"{server.kind}: FLUSHALL after the case {self.last!r} answered {show(reply)}"
                )
        self.last = one.name
        sides = Side(self.redis, self.resp), Side(self.gyre, self.resp)
        history = []
        seen = {"words": {a for s in one.steps for a in s.args}}
        now = time.time()
        try:
            for segment in self._segments(one):
                found = self._segment(one, segment, sides, history, seen, now)
                if found:
                    return found
            if state:
                return self._compare_state(one, history)
        except (Failure, OSError) as failure:
            return Mismatch(one.name, f"{type(failure).__name__}: {failure}", history)
        finally:
            for side in sides:
                side.close()
        return None

    def run_alone(self, one):
        """Run a [gyre] case, whose replies are written in it; returns a Mismatch or None."""
        if STANDIN or self.resp != 2:
            return None
        self.control[1].cmd("FLUSHALL")
        self.last = one.name
        side, history, now = Side(self.gyre, 2), [], time.time()
        try:
            for step in one.steps:
                if step.kind == "sleep":
                    time.sleep(step.number)
                    continue
                if step.kind != "cmd":
                    raise ValueError(f"@{step.kind} in a [gyre] case")
                words = [self._expand(w, side, now) for w in step.args]
                history.append(command_text(words))
                self.commands += 1
                got = show(side.conn(step.conn).cmd(*words), 1 << 20)
                if got != step.expected and (step.expected or got.startswith("-")):
                    return Mismatch(
                        one.name,
                        f"{history[-1]}\n    want {step.expected}\n    got  {got}",
                        history,
                    )
        except (Failure, OSError) as failure:
            return Mismatch(one.name, f"{type(failure).__name__}: {failure}", history)
        finally:
            side.close()
        return None

    def _segments(self, one):
        """Steps that may travel in one write; everything else alone."""
        group = []
        together = self.mode == "pipeline" and "step" not in one.tags
        for step in one.steps:
            joins = step.kind in ("cmd", "silent", "raw")
            if group and not (joins and together and step.conn == group[0].conn):
                yield group
                group = []
            if joins:
                group.append(step)
            else:
                yield [step]
        if group:
            yield group

    def _expand(self, word, side, now):
        if b"<" not in word:
            return word

        def value(m):
            if m.group(1):
                base = int(now) if m.group(1) == b"now" else int(now * 1000)
                return b"%d" % (base + int(m.group(2) or 0))
            if m.group(3):
                return side.special(m.group(3), m.group(4).decode())
            return m.group(5) * int(m.group(6))

        return _MARK.sub(value, word)

    def _segment(self, one, segment, sides, history, seen, now):
        first = segment[0]
        if first.kind == "sleep":
            time.sleep(first.number)
            history.append(f"@sleep {first.number}")
            return None
        if first.kind == "sync":
            return None
        if first.kind == "closed":
            history.append(f"{first.conn}> @closed")
            states = [side.conn(first.conn).is_closed() for side in sides]
            return (
                None
                if states == [True, True]
                else Mismatch(
                    one.name, f"closed by redis: {states[0]}, by gyre: {states[1]}", history
                )
            )
        if first.kind == "rawclose":
            return self._rawclose(one, first, sides, history)
        if first.kind == "scan":
            return self._scan(one, first, sides, history)
        if first.kind == "random":
            return self._random(one, first, sides, history)
        return self._commands(one, segment, sides, history, seen, now)

    def _rawclose(self, one, step, sides, history):
        history.append(f"{step.conn}> @rawclose {step.data!r}")
        answers = []
        for side in sides:
            conn = side.conn(step.conn)
            try:
                conn.send(step.data)
                answers.append(conn.drain())
            except (ReadTimeout, OSError) as problem:
                answers.append(f"{type(problem).__name__}: {problem}")
        if answers[0] == answers[1] and isinstance(answers[0], bytes):
            return None
        return Mismatch(one.name, f"want {answers[0]!r}, got {answers[1]!r}", history)

    def _scan(self, one, step, sides, history):
        history.append(f"{step.conn}> full SCAN {command_text(step.args)}")
        conns = [side.conn(step.conn) for side in sides]
        first = [conn.cmd(*scan_words(step.args, b"0")) for conn in conns]
        if any(r.is_error() for r in first):
            same = first[0] == first[1]
            what = f"want {show(first[0])}, got {show(first[1])}"
            return None if same else Mismatch(one.name, what, history)
        results = [scan_all(conn, step.args) for conn in conns]
        if results[0] == results[1]:
            return None
        missing, extra = results[0] - results[1], results[1] - results[0]
        return Mismatch(
            one.name,
            f"a full SCAN missed {sorted(missing)[:10]} and invented {sorted(extra)[:10]}",
            history,
        )

    def _random(self, one, step, sides, history):
        args = tuple(self._expand(w, sides[1], time.time()) for w in step.args)
        history.append(f"{step.conn}> by chance: {command_text(args)}")
        self.commands += 1
        conns = [side.conn(step.conn) for side in sides]
        reason = random_differs(args, *conns)
        return Mismatch(one.name, f"{command_text(args)}: {reason}", history) if reason else None

    def _commands(self, one, segment, sides, history, seen, now):
        awaited = sum(
            0 if s.kind == "silent" else int(s.number) if s.kind == "raw" else 1 for s in segment
        )
        cuts = (
            self.rng.choice((0, 1, 3, 20))
            if self.mode == "pipeline" and "step" not in one.tags
            else 0
        )
        answers, stop = [], None
        for side in sides:
            data = bytearray()
            for step in segment:
                if step.kind == "raw":
                    data += step.data
                else:
                    words = [self._expand(w, side, now) for w in step.args]
                    seen["words"].update(words)
                    data += encode(*words)
            conn = side.conn(step.conn)
            try:
                got = conn.exchange(bytes(data), awaited, cuts=cuts, rng=self.rng, pause=0.0005)
            except Closed as closed:
                got = closed.replies + [CLOSED] * (awaited - len(closed.replies))
            except (ReadTimeout, Failure) as failure:
                got = failure.replies + [SILENT] * (awaited - len(failure.replies))
                stop = f"{side.server.kind}: {failure}"
            answers.append(got)
        seen["ask"] = None
        if len(segment) == 1 and not stop:
            both = dict(zip(("redis", "gyre"), (side.conn(segment[0].conn) for side in sides)))
            seen["ask"] = lambda side, *words: both[side].cmd(*words)
        at = 0
        for step in segment:
            count = 0 if step.kind == "silent" else int(step.number) if step.kind == "raw" else 1
            text = f"raw {step.data!r}" if step.kind == "raw" else command_text(step.args)
            mark = "" if step.conn == "a" else f"{step.conn}> "
            history.append(mark + ("~ " if step.kind == "silent" else "") + text)
            self.commands += 1
            for _ in range(count):
                problem = self._compare(step, text, answers[0][at], answers[1][at], seen)
                at += 1
                if problem:
                    problem += f"\n  ({stop})" if stop else ""
                    return Mismatch(one.name, problem, history)
        return Mismatch(one.name, stop, history) if stop else None

    def _compare(self, step, text, want, got, seen):
        if want[0] == got[0]:
            return None
        reason = None
        if (
            step.kind == "cmd"
            and step.args
            and not want[1].is_error()
            and not got[1].is_error()
            and CLOSED not in (want, got)
            and SILENT not in (want, got)
        ):
            compare = comparators.comparator(step.args)
            if compare:
                reason = compare(step.args, want[1], got[1], seen)
                if reason is None:
                    return None
        difference = excused(text, want[0], got[0])
        if difference:
            self.used.add(difference)
            return None
        note = f" ({reason})" if reason else ""
        return f"{text}\n    want {show(want[1])}\n    got  {show(got[1])}{note}"

    def _compare_state(self, one, history):
        """The data sets at the end: every database's keys, their types, values, encodings and times to live."""
        states = [dump_state(conn) for conn in self.control]
        want, got = states
        for key in sorted(set(want) | set(got)):
            a, b = want.get(key), got.get(key)
            if a == b:
                continue
            where = f"at the end, db {key[0]} key {key[1]!r}"
            if a is None or b is None:
                if 0 <= (a or b).ttl < 3000:  # may be dying on one side just now
                    continue
                return Mismatch(one.name, f"{where}: want {brief(a)}, got {brief(b)}", history)
            reason = values_differ(a, b) or self._encodings_differ(one, key, a, b)
            if not reason and ((a.ttl < 0) != (b.ttl < 0) or abs(a.ttl - b.ttl) > 1500):
                reason = f"the time to live is {b.ttl}, want {a.ttl}"
            if reason:
                return Mismatch(one.name, f"{where}: {reason}", history)
        return None

    def _encodings_differ(self, one, key, a, b):
        def ask(*words):
            return self.control[1].cmd(*words)

        if a.type == b"string":  # how APPEND and the like leave them is tested by replies alone
            return None
        ask("SELECT", key[0])
        words = {step.args[0].upper() for step in one.steps if step.args}
        reason = comparators.encodings_alike(a.encoding, b.encoding, ask, key[1], words)
        ask("SELECT", 0)
        return f"OBJECT ENCODING: {reason}" if reason else None


SCAN_OF_KEY = (b"SSCAN", b"HSCAN", b"ZSCAN")


def scan_words(options, cursor):
    """The command of one page: SCAN cursor …, or HSCAN k cursor …."""
    options = [to_bytes(o) for o in options]
    at = 2 if options and options[0].upper() in SCAN_OF_KEY else 0
    return [*(options[:at] or [b"SCAN"]), cursor, *options[at:]]


def scan_all(conn, options=(), step=None):
    """The set of what a full SCAN returns: keys, members, or pairs (HSCAN k …, ZSCAN k …). `step` is called
    after each page."""
    found, cursor = set(), b"0"
    upper = [w.upper() for w in scan_words(options, cursor)]
    in_pairs = upper[0] in (b"HSCAN", b"ZSCAN") and b"NOVALUES" not in upper
    for _ in range(1000000):
        reply = conn.cmd(*scan_words(options, cursor))
        if reply.kind != "*" or len(reply.value) != 2 or reply.value[0].kind != "$":
            raise Failure(f"{upper[0].decode()} answered {show(reply)}")
        cursor = reply.value[0].value
        page = [k.value for k in reply.value[1].value]
        found.update(zip(page[::2], page[1::2]) if in_pairs else page)
        if step:
            step(reply)
        if cursor == b"0":
            return found
    raise Failure("SCAN does not end")


# ---- commands that answer by chance (@random)

# How to read all of what the command chooses from.
WHOLE = {
    b"SPOP": (b"SMEMBERS",),
    b"SRANDMEMBER": (b"SMEMBERS",),
    b"HRANDFIELD": (b"HGETALL",),
    b"ZRANDMEMBER": (b"ZRANGE", b"0", b"-1", b"WITHSCORES"),
}


def whole(conn, name, key):
    """All members (a set), or {field: value}, or None if the key is missing or of another type."""
    command, *rest = WHOLE[name]
    reply = conn.cmd(command, key, *rest)
    if reply.is_error():
        return None
    if name in (b"SPOP", b"SRANDMEMBER"):
        return {m.value for m in reply.value}
    if reply.kind == "*" and all(m.kind == "*" for m in reply.value):  # ZRANGE in RESP3
        return {p.value[0].value: p.value[1].value for p in reply.value}
    return {k.value: v.value for k, v in comparators.pairs(reply)}


def random_differs(args, redis, gyre):
    """Run it on both; None, or what Gyre's answer has wrong."""
    name, key = args[0].upper(), args[1]
    before = whole(gyre, name, key)
    want, got = redis.cmd(*args), gyre.cmd(*args)
    if want.is_error() or not before or want.value is None:
        return None if want == got else f"want {show(want)}, got {show(got)}"
    if got.kind != want.kind:
        return f"want something like {show(want)}, got {show(got)}"
    if got.kind == "$":
        found = [got.value]
    else:
        if [x.kind for x in got.value] != [x.kind for x in want.value]:
            return f"want something like {show(want)}, got {show(got)}"
        found = comparators.elements(args, got)
    strange = [
        e
        for e in found
        if (e[0] not in before or before[e[0]] != e[1] if isinstance(e, tuple) else e not in before)
    ]
    if strange:
        return f"{strange[:3]} is not there"
    is_negative = len(args) > 2 and args[2].startswith(b"-")
    if not is_negative and len(set(found)) != len(found):
        return "an element twice, though the count is positive"
    return _settle_pop(key, before, found, redis, gyre) if name == b"SPOP" else None


def _settle_pop(key, before, popped, redis, gyre):
    """What SPOP has left must be all the rest; then both servers get it anew, in the same order."""
    left = whole(gyre, b"SPOP", key)
    if left != before - set(popped):
        return f"SPOP answered {popped[:5]}, but {sorted(before - left)[:5]} are gone"
    for conn in (redis, gyre):
        conn.cmd("DEL", key)
        if left:
            conn.cmd("SADD", key, *sorted(left))
    return None


# ---- data sets


class Stored(NamedTuple):
    """A key's value, as it is compared."""

    type: bytes
    value: object
    ttl: int  # ms
    encoding: bytes


READ = {
    b"string": ("GET",),
    b"list": ("LRANGE", 0, -1),
    b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", 0, -1, "WITHSCORES"),
    b"hash": ("HGETALL",),
}


def read_command(key, kind):
    if kind == b"stream":
        return ("XINFO", "STREAM", key, "FULL", "COUNT", 0)
    command, *rest = READ.get(kind, ("TYPE",))
    return (command, key, *rest)


def comparable(kind, reply):
    """A reply's content in an order of its own; a stream's stays the reply that it is."""
    if kind == b"stream" or reply.is_error():
        return reply
    if kind in (b"list", b"zset"):
        return [x.value for x in reply.value]
    if kind == b"set":
        return sorted(x.value for x in reply.value)
    if kind == b"hash":
        return sorted((k.value, v.value) for k, v in comparators.pairs(reply))
    return reply.value


def dump_state(conn):
    """{(database, key): Stored} of the whole server."""
    out = {}
    keyspace = conn.cmd("INFO", "keyspace").text().decode()
    for db in map(int, re.findall(r"^db(\d+):", keyspace, re.M)):
        conn.cmd("SELECT", db)
        keys = [k.value for k in conn.cmd("KEYS", "*").value]
        types = [t.value for t in conn.pipeline([("TYPE", k) for k in keys])]
        values = conn.pipeline([read_command(k, t) for k, t in zip(keys, types)])
        encodings = conn.pipeline([("OBJECT", "ENCODING", k) for k in keys])
        ttls = conn.pipeline([("PTTL", k) for k in keys])
        for k, t, v, e, ttl in zip(keys, types, values, encodings, ttls):
            if ttl.value != -2:
                out[db, k] = Stored(t, comparable(t, v), ttl.value, e.value)
    conn.cmd("SELECT", 0)
    return out


def brief(stored):
    return show(stored, 300) if stored else "nothing"


def values_differ(a, b):
    """What the first difference between two Stored values is, or None."""
    if a.type != b.type:
        return f"type {b.type}, want {a.type}"
    if isinstance(a.value, R) or isinstance(b.value, R):
        if not isinstance(a.value, R) or not isinstance(b.value, R):
            return f"want {brief(a)}, got {brief(b)}"
        return comparators.alike(a.value, b.value, by_name=True)
    if a.value == b.value:
        return None
    if not isinstance(a.value, list) or not isinstance(b.value, list):
        return f"want {brief(a)}, got {brief(b)}"
    at = next((i for i, (x, y) in enumerate(zip(a.value, b.value)) if x != y), None)
    if at is None:
        return f"a {a.type.decode()} of {len(b.value)} elements, want {len(a.value)}"
    return (
        f"a {a.type.decode()} of {len(b.value)} elements (want {len(a.value)}), of which element {at} "
        f"is {b.value[at]!r}, want {a.value[at]!r}"
    )


def shrink(steps, fails, budget=400):
    """The smallest list of steps found that still fails: drops ever smaller runs of commands."""
    size = max(1, len(steps) // 2)
    while size >= 1 and budget > 0:
        at = 0
        while at < len(steps) and budget > 0:
            shorter = steps[:at] + steps[at + size :]
            budget -= 1
            if shorter and fails(shorter):
                steps = shorter
            else:
                at += size
        size //= 2
    return steps


def reproduction(steps):
    """Steps in the stream format."""
    out = []
    for s in steps:
        mark = "" if s.conn == "a" else f"{s.conn}> "
        if s.kind == "cmd":
            out.append(mark + " ".join([_word(w) if w else '""' for w in s.args]))
        elif s.kind in ("scan", "random"):
            out.append(f"{mark}@{s.kind} " + " ".join(_word(w) for w in s.args))
        else:
            out.append(f"# {s}")
    return "\n".join(out)


def run_cases(differ, cases, limit=5):
    """Run all cases; Failure with the first few mismatches."""
    bad = []
    count = 0
    for one in cases:
        count += 1
        found = differ.run_alone(one) if "gyre" in one.tags else differ.run(one)
        if found:
            bad.append(str(found))
            if len(bad) >= limit:
                break
        if not differ.gyre.alive():
            break
    if bad:
        raise Failure(f"{len(bad)} of {count} cases differ:\n" + "\n".join(bad))
