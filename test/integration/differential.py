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
    @raw 2 "PING\\r\\nPING\\r\\n"   raw bytes that have 2 replies
    @rawclose "*a\\r\\n"           raw bytes after which the server answers something and closes
    @closed                      the server has closed this connection
Words are quoted as in redis-cli. Inside words: <now+10> <nowms-5> unix times, <rep:x:1000> repetition,
<id:b> <addr:b> <laddr:b> of connection b (`a` is the first).
"""

import os
import re
import time
from typing import NamedTuple

import comparators
from differences import excused
from harness import HERE, Closed, Failure, R, ReadTimeout, encode, show, to_bytes

# Lists, hashes, sets and so on come with later issues; then this becomes 1.
HAVE_TYPES = os.environ.get("GYRE_HAVE_TYPES", "0") == "1"

CLOSED = (b"<closed>", R("closed", b""))
SILENT = (b"<no reply>", R("silent", b""))


class Step(NamedTuple):
    kind: str  # cmd, silent, sleep, sync, scan, raw, rawclose, closed
    conn: str = "a"
    args: tuple = ()  # cmd, silent, scan: words
    data: bytes = b""  # raw
    number: float = 0  # sleep: seconds; raw: replies


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
            cases[-1].steps.append(_parse_step(line))
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
    if kind == "scan":
        return Step("scan", conn, tuple(words[1:]))
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
        with self.server.connect() as control:
            lines = control.cmd("CLIENT", "LIST").text().decode().split("\n")
        mine = conn.sock.getsockname()
        for line in lines:
            fields = dict(t.partition("=")[::2] for t in line.split(" "))
            if fields.get("addr", "").rpartition(":")[2] == str(mine[1]):
                return to_bytes(fields["id"])
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
        self.used = set()  # differences that were needed
        self.control = [(redis.connect(timeout=30)), (gyre.connect(timeout=30))]

    def close(self):
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
        results = []
        for side in sides:
            results.append(scan_all(side.conn(step.conn), step.args))
        if results[0] == results[1]:
            return None
        missing, extra = results[0] - results[1], results[1] - results[0]
        return Mismatch(
            one.name,
            f"a full SCAN missed {sorted(missing)[:10]} and invented {sorted(extra)[:10]}",
            history,
        )

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
                    data += encode(*(self._expand(w, side, now) for w in step.args))
            conn = side.conn(step.conn)
            try:
                got = conn.exchange(bytes(data), awaited, cuts=cuts, rng=self.rng, pause=0.0005)
            except Closed as closed:
                got = closed.replies + [CLOSED] * (awaited - len(closed.replies))
            except (ReadTimeout, Failure) as failure:
                got = failure.replies + [SILENT] * (awaited - len(failure.replies))
                stop = f"{side.server.kind}: {failure}"
            answers.append(got)
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
        """The data sets at the end: every database's keys, their types, values and times to live."""
        states = [dump_state(conn) for conn in self.control]
        want, got = states
        for key in sorted(set(want) | set(got)):
            a, b = want.get(key), got.get(key)
            if a == b:
                continue
            if a is None or b is None:
                if 0 <= (a or b)[2] < 3000:  # may be dying on one side just now
                    continue
                return Mismatch(
                    one.name, f"at the end, db {key[0]} key {key[1]!r}: want {a}, got {b}", history
                )
            if a[:2] != b[:2] or (a[2] < 0) != (b[2] < 0) or abs(a[2] - b[2]) > 1500:
                return Mismatch(
                    one.name,
                    f"at the end, db {key[0]} key {key[1]!r} (type, value, ttl): "
                    f"want {a}, got {b}",
                    history,
                )
        return None


def scan_all(conn, options=(), step=None):
    """The set of keys that a full SCAN returns; `step` is called after each page."""
    keys, cursor = set(), b"0"
    for _ in range(1000000):
        reply = conn.cmd("SCAN", cursor, *options)
        if reply.kind != "*" or len(reply.value) != 2 or reply.value[0].kind != "$":
            raise Failure(f"SCAN answered {show(reply)}")
        cursor = reply.value[0].value
        keys.update(k.value for k in reply.value[1].value)
        if step:
            step(reply)
        if cursor == b"0":
            return keys
    raise Failure("SCAN does not end")


def dump_state(conn):
    """{(database, key): (type, value, pttl)} of the whole server."""
    out = {}
    keyspace = conn.cmd("INFO", "keyspace").text().decode()
    for db in map(int, re.findall(r"^db(\d+):", keyspace, re.M)):
        conn.cmd("SELECT", db)
        keys = [k.value for k in conn.cmd("KEYS", "*").value]
        types = conn.pipeline([("TYPE", k) for k in keys])
        values = conn.pipeline(
            [
                (
                    ("GET", k)
                    if t.value == b"string"
                    else ("DEBUG", "DIGEST-VALUE", k) if HAVE_TYPES else ("TYPE", k)
                )
                for k, t in zip(keys, types)
            ]
        )
        ttls = conn.pipeline([("PTTL", k) for k in keys])
        for k, t, v, ttl in zip(keys, types, values, ttls):
            if ttl.value != -2:
                out[db, k] = (t.value, v.value, ttl.value)
    conn.cmd("SELECT", 0)
    return out


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
        elif s.kind == "scan":
            out.append(mark + "@scan " + " ".join(_word(w) for w in s.args))
        else:
            out.append(f"# {s}")
    return "\n".join(out)


def run_cases(differ, cases, limit=5):
    """Run all cases; Failure with the first few mismatches."""
    bad = []
    count = 0
    for one in cases:
        if "types" in one.tags and not HAVE_TYPES:
            continue
        count += 1
        found = differ.run(one)
        if found:
            bad.append(str(found))
            if len(bad) >= limit:
                break
        if not differ.gyre.alive():
            break
    if bad:
        raise Failure(f"{len(bad)} of {count} cases differ:\n" + "\n".join(bad))
