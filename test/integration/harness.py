# SPDX-License-Identifier: BSD-3-Clause
"""Servers, connections and RESP values for the integration tests.

Server   starts redis-server or gyre-server in a directory of its own, on a free loopback port or a
         Unix socket, waits until it answers PING, and stops it by SIGTERM to its own pid. A server that
         dies, exits with another status than 0, or leaves a sanitizer's report in its log raises Failure.
Conn     one raw connection. It sends bytes or commands and reads exact replies: nothing of what was on
         the wire is lost (`read_raw` hands out the bytes too). Every read has a time limit.
R        one reply: R(kind, value). The kind is RESP's own first byte, so a simple string, a bulk string,
         an error and the several nulls never compare equal:
             R('+', b'OK')   R('-', b'ERR ...')   R(':', 1)   R('$', b'x')   R('$', None)   R('*', [R...])
             R('*', None)    R('_', None)   R('%', [(R, R)...])   R('~', [R...])   R(',', b'1.5')
             R('#', True)    R('(', b'123')   R('=', b'txt:...')   R('>', [R...])

Environment: GYRE_SERVER (default build/debug/gyre-server; a path or name ending in `redis-server` makes
Redis stand in for Gyre, which is how the tests themselves are tested), REDIS_SERVER (the oracle),
GYRE_TEST_SCALE (sizes of load tests), GYRE_TEST_PATIENCE (multiplies time limits: sanitizer builds).
"""

import collections
import ctypes
import os
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def _program(name):
    return name if "/" in name else (shutil.which(name) or name)


REDIS_SERVER = _program(os.environ.get("REDIS_SERVER", "/usr/bin/redis-server"))
GYRE_SERVER = os.path.abspath(
    _program(os.environ.get("GYRE_SERVER", str(ROOT / "build/debug/gyre-server")))
)
STANDIN = os.path.basename(GYRE_SERVER).startswith("redis-server")
SCALE = float(os.environ.get("GYRE_TEST_SCALE", "1"))
PATIENCE = float(os.environ.get("GYRE_TEST_PATIENCE", "1"))

SANITIZER = re.compile(
    rb"ERROR: (Address|Leak|Memory)Sanitizer|runtime error:|WARNING: ThreadSanitizer|ASSERT(ION)? FAILED"
    rb"|SUMMARY: \w+Sanitizer"
)


class Failure(AssertionError):
    """A test's verdict: what was expected and what came instead."""


class Closed(Failure):
    """The server closed the connection while a reply was awaited."""


class ReadTimeout(Failure):
    """No complete reply within the time limit."""


class R(NamedTuple):
    kind: str
    value: object

    def is_error(self):
        return self.kind in "-!"

    def text(self):
        """The value as bytes, with a verbatim string's `txt:` removed."""
        if self.kind == "=":
            return self.value[4:]
        if isinstance(self.value, int):
            return b"%d" % self.value
        return self.value


OK = R("+", b"OK")
PONG = R("+", b"PONG")
NIL = R("$", None)  # RESP2's null bulk string
NIL_ARRAY = R("*", None)  # RESP2's null array
NULL = R("_", None)  # RESP3's null


def bulk(value):
    return R("$", to_bytes(value))


def error(value):
    return R("-", to_bytes(value))


def integer(value):
    return R(":", value)


def to_bytes(value):
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, float):
        return repr(value).encode()
    if isinstance(value, int):
        return b"%d" % value
    raise TypeError(f"not an argument: {value!r}")


def encode(*args):
    """One command as RESP: an array of bulk strings."""
    out = [b"*%d\r\n" % len(args)]
    for arg in args:
        arg = to_bytes(arg)
        out.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(out)


def show(reply, limit=600):
    """A reply for people, on one line."""
    text = _show(reply)
    return text if len(text) <= limit else text[:limit] + f"… ({len(text)} characters)"


def _show(reply):
    if not isinstance(reply, R):
        return repr(reply)
    kind, value = reply
    if value is None:
        return {"$": "(null bulk)", "*": "(null array)", "_": "(null)"}.get(kind, f"({kind} null)")
    if kind in "*~>":
        return {"*": "", "~": "set", ">": "push"}[kind] + "[" + ", ".join(map(_show, value)) + "]"
    if kind == "%":
        return "{" + ", ".join(f"{_show(k)}: {_show(v)}" for k, v in value) + "}"
    if kind == "$":
        return repr(value)[1:]
    if isinstance(value, bytes):
        return kind + repr(value)[2:-1]
    return f"{kind}{value}"


class ProtocolError(Failure):
    """The server sent something that is not RESP."""


class _Incomplete(Exception):
    pass


class Parser:
    """An incremental RESP2/RESP3 parser. feed() bytes, then next() gives (raw bytes, R) or None."""

    def __init__(self):
        self.buffer = bytearray()
        self.start = 0
        self._wanted = 0

    def feed(self, data):
        if self.start > 1 << 20 or self.start == len(self.buffer):
            del self.buffer[: self.start]
            self.start = 0
        self.buffer += data

    def pending(self):
        return bytes(self.buffer[self.start :])

    def next(self):
        if len(self.buffer) - self.start < max(self._wanted, 1):
            return None
        try:
            value, end = self._value(self.start)
        except _Incomplete as short:
            # A long bulk string says how much is still missing: no need to parse again before.
            self._wanted = (short.args[0] - self.start) if short.args else 0
            return None
        self._wanted = 0
        raw = bytes(self.buffer[self.start : end])
        self.start = end
        return raw, value

    def _line(self, at):
        end = self.buffer.find(b"\r\n", at)
        if end < 0:
            raise _Incomplete()
        return bytes(self.buffer[at:end]), end + 2

    def _integer(self, line):
        if not re.fullmatch(rb"-?(0|[1-9][0-9]*)", line):
            raise ProtocolError(f"not a RESP integer: {line[:80]!r}")
        return int(line)

    def _value(self, at):
        kind = chr(self.buffer[at]) if at < len(self.buffer) else None
        if kind is None:
            raise _Incomplete()
        if kind not in "+-:$*_#,(=!~>%|":
            raise ProtocolError(f"not RESP: {bytes(self.buffer[at:at + 80])!r}")
        line, end = self._line(at + 1)
        if kind in "+-(,":
            return R(kind, line), end
        if kind == ":":
            return R(kind, self._integer(line)), end
        if kind == "_":
            if line:
                raise ProtocolError(f"a null with content: {line!r}")
            return R(kind, None), end
        if kind == "#":
            if line not in (b"t", b"f"):
                raise ProtocolError(f"not a boolean: {line!r}")
            return R(kind, line == b"t"), end
        if kind in "$=!":
            size = self._integer(line)
            if size == -1 and kind == "$":
                return R(kind, None), end
            if size < 0:
                raise ProtocolError(f"a negative length: {line!r}")
            if len(self.buffer) < end + size + 2:
                raise _Incomplete(end + size + 2)
            if self.buffer[end + size : end + size + 2] != b"\r\n":
                raise ProtocolError(f"no CRLF after a bulk string of {size} bytes")
            return R(kind, bytes(self.buffer[end : end + size])), end + size + 2
        size = self._integer(line)
        if size == -1 and kind == "*":
            return R(kind, None), end
        if size < 0:
            raise ProtocolError(f"a negative length: {line!r}")
        items = []
        for _ in range(size * 2 if kind in "%|" else size):
            item, end = self._value(end)
            items.append(item)
        if kind in "%|":
            items = list(zip(items[::2], items[1::2]))
        return R(kind, items), end


def ready(sock, timeout, reading=True, writing=False):
    """(readable, writable) within `timeout` seconds; poll, for select ends at descriptor 1023."""
    poll = select.poll()
    poll.register(sock, (select.POLLIN if reading else 0) | (select.POLLOUT if writing else 0))
    events = poll.poll(max(0, timeout) * 1000)
    mask = events[0][1] if events else 0
    broken = mask & (select.POLLHUP | select.POLLERR)
    return bool(mask & select.POLLIN or (broken and reading)), bool(
        mask & select.POLLOUT or (broken and writing)
    )


class Conn:
    """One connection. `where` is a Server, a (host, port) pair, or a Unix socket's path."""

    def __init__(self, where, resp=2, timeout=None, password=None, rcvbuf=None):
        self.timeout = (timeout or 10) * PATIENCE
        if isinstance(where, Server):
            where = where.address
        if isinstance(where, str):
            self.sock = socket.socket(socket.AF_UNIX)
        else:
            family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
            self.sock = socket.socket(family)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(self.timeout)
        self.sock.connect(where)
        if self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.parser = Parser()
        self.resp = resp
        if password is not None:
            check_equal(self.cmd("AUTH", password), OK, "AUTH on connecting")
        if resp == 3:
            self.hello = self.cmd("HELLO", 3)
            check(self.hello.kind == "%", f"HELLO 3 must answer with a map, not {show(self.hello)}")

    def send(self, data):
        self.sock.sendall(data)

    def write(self, *args):
        self.send(encode(*args))

    def read_raw(self, timeout=None):
        """The next reply: (its bytes, R). Closed or ReadTimeout when there is none."""
        deadline = time.monotonic() + (timeout * PATIENCE if timeout else self.timeout)
        while True:
            found = self.parser.next()
            if found:
                return found
            left = deadline - time.monotonic()
            if left <= 0 or not ready(self.sock, left)[0]:
                raise ReadTimeout(
                    f"no complete reply in time; so far {self.parser.pending()[:200]!r}"
                )
            self._receive()

    def _receive(self):
        try:
            data = self.sock.recv(1 << 20)
        except ConnectionError as gone:
            raise Closed(f"connection lost: {gone}") from None
        if not data:
            raise Closed(f"connection closed; unread {self.parser.pending()[:200]!r}")
        self.parser.feed(data)

    def read(self, timeout=None):
        return self.read_raw(timeout)[1]

    def cmd(self, *args, timeout=None):
        """Send one command and read its reply."""
        self.write(*args)
        return self.read(timeout)

    def pipeline(self, commands, cuts=None, rng=None):
        """Send all commands at once (or in random pieces) and read all their replies."""
        data = b"".join(encode(*c) for c in commands)
        return [r for _, r in self.exchange(data, len(commands), cuts=cuts, rng=rng)]

    def exchange(self, data, count, cuts=None, rng=None, pause=0.0):
        """Send `data` and read `count` replies, both at once so that neither side can block the other.

        `cuts` > 0 sends it in that many + 1 pieces, cut at random (rng) places; now and then a `pause`.
        Returns [(raw, R)]; raises Closed with what was read in its `.replies` if the server hangs up.
        """
        pieces = [data]
        if cuts and len(data) > 1:
            at = sorted(rng.sample(range(1, len(data)), min(cuts, len(data) - 1)))
            pieces = [data[i:j] for i, j in zip([0] + at, at + [len(data)])]
        replies = []
        view = memoryview(pieces.pop(0)) if pieces else None
        deadline = time.monotonic() + self.timeout
        self.sock.setblocking(False)
        try:
            while len(replies) < count or view:
                found = self.parser.next()
                if found:
                    replies.append(found)
                    continue
                left = deadline - time.monotonic()
                readable, writable = ready(self.sock, left, writing=bool(view))
                if not readable and not writable:
                    raise ReadTimeout(
                        f"{len(replies)} of {count} replies in time; "
                        f"then {self.parser.pending()[:200]!r}"
                    )
                if readable:
                    self._receive()
                    deadline = time.monotonic() + self.timeout
                if writable and view:
                    try:
                        sent = self.sock.send(view)
                    except BlockingIOError:
                        continue
                    except ConnectionError as gone:
                        # What the server said before it hung up is still there to be read.
                        view, pieces = None, []
                        if len(replies) >= count:
                            raise Closed(f"connection lost: {gone}") from None
                        continue
                    deadline = time.monotonic() + self.timeout
                    view = view[sent:] if sent < len(view) else None
                    if not view and pieces:
                        view = memoryview(pieces.pop(0))
                        if pause and rng.random() < 0.3:
                            time.sleep(pause)
        except Failure as failure:
            failure.replies = replies
            raise
        finally:
            self.sock.settimeout(self.timeout)
        return replies

    def is_closed(self, timeout=2.0):
        """True if the server has closed (or closes within `timeout`) and nothing is left to read."""
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not ready(self.sock, left)[0]:
                return False
            try:
                self._receive()
            except Closed:
                return True
            if self.parser.next():
                return False

    def drain(self, timeout=5.0):
        """Everything up to the server's close, as bytes; ReadTimeout if it stays open."""
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not ready(self.sock, left)[0]:
                raise ReadTimeout(f"not closed in time; so far {self.parser.pending()[:300]!r}")
            try:
                self._receive()
            except Closed:
                out = self.parser.pending()
                self.parser = Parser()
                return out

    def reset(self):
        """Close with a TCP RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def check(condition, message):
    if not condition:
        raise Failure(message)


def check_equal(got, want, what=""):
    if got != want:
        raise Failure(f"{what + ': ' if what else ''}got {show(got)}, want {show(want)}")


def check_match(got, pattern, what=""):
    text = got.value if isinstance(got, R) else got
    text = to_bytes(text) if text is not None else b"(null)"
    if not re.search(to_bytes(pattern), text, re.S):
        raise Failure(f"{what + ': ' if what else ''}{show(got)} does not match {pattern!r}")


def wait_for(condition, what, seconds=10.0, step=0.02):
    """Poll until condition() is true; Failure after `seconds`. what: a text, or a function of one."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            text = what() if callable(what) else what
            raise Failure(f"not in {seconds * PATIENCE:g} s: {text}")
        time.sleep(step)


def info(conn, *sections):
    """INFO as {field: text}."""
    reply = conn.cmd("INFO", *sections)
    check(reply.kind in "$=" and reply.value is not None, f"INFO answered {show(reply)}")
    out = {}
    for line in reply.text().decode().split("\r\n"):
        if line and not line.startswith("#"):
            name, _, value = line.partition(":")
            out[name] = value
    return out


def settled(conn, count):
    """Wait until exactly `count` clients are connected (earlier ones' closing may still be on its way)."""
    wait_for(
        lambda: int(info(conn, "clients")["connected_clients"]) == count,
        lambda: f"{count} clients are connected, but\n{conn.cmd('CLIENT', 'LIST').text().decode()}",
    )
    return count


_claims = collections.deque(maxlen=64)


def free_port():
    """A port below the ephemeral range (so that no outgoing connection takes it in between), and for a while
    nobody else's: while a server starts, a test in another process must not find the same one free."""
    dice = random.SystemRandom()
    while True:
        port = dice.randrange(11000, 31000)
        claim = socket.socket(socket.AF_UNIX)
        with socket.socket() as v4, socket.socket(socket.AF_INET6) as v6:
            try:
                claim.bind(f"\0gyre-test-port-{port}")
                v4.bind(("127.0.0.1", port))
                v6.bind(("::1", port))
            except OSError:
                claim.close()
                continue
        _claims.append(claim)
        return port


_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Filter(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_ushort),
        ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint),
    ]


class _Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(_Filter))]


def _forbid_io_uring():
    """A seccomp filter as containers have it: io_uring_setup (425 everywhere) fails with EPERM."""
    _die_with_parent()
    code = (_Filter * 4)(
        _Filter(0x20, 0, 0, 0),
        _Filter(0x15, 0, 1, 425),
        _Filter(0x06, 0, 0, 0x00050001),
        _Filter(0x06, 0, 0, 0x7FFF0000),
    )
    program = _Program(4, ctypes.cast(code, ctypes.POINTER(_Filter)))
    if _libc.prctl(38, 1, 0, 0, 0) or _libc.prctl(
        22, 2, ctypes.byref(program), 0, 0
    ):  # NO_NEW_PRIVS, SECCOMP
        os._exit(97)


class Server:
    """A running server. Make one with Server.redis(...) or Server.gyre(...).

    Keyword options become command line options: maxclients=10 -> `--maxclients 10`; a list gives one
    option with several words; underscores are dashes. `config` is the text of a configuration file,
    `args` are further raw words, `unix=True` listens on a Unix socket only, `forbid_uring=True` runs it where io_uring
    is forbidden, `wait=False` does not wait for an answer to PING.
    """

    def __init__(
        self,
        kind,
        program,
        options,
        config=None,
        args=(),
        unix=False,
        password=None,
        wait=True,
        env=None,
        port=None,
        forbid_uring=False,
    ):
        self.kind = kind
        self.dir = tempfile.mkdtemp(prefix=f"{kind}-test-")
        self.log_path = os.path.join(self.dir, "stderr.log")
        self.password = password or options.get("requirepass")
        self.process = None
        self.forbid_uring = forbid_uring
        self.seen_reports = 0
        self.ended = False  # True once a test or stop() has waited for its end
        self.env = dict(os.environ, **(env or {}))
        for _ in range(5):
            self.port = 0 if unix else (port or free_port())
            self.unix = os.path.join(self.dir, "s.sock") if unix else options.get("unixsocket")
            self.address = self.unix if unix else ("127.0.0.1", self.port)
            self.argv = self._command_line(program, dict(options), config, args, unix)
            self._start()
            if not wait:
                return
            try:
                self.wait_ready()
                return
            except Failure:
                taken = re.search(rb"Address already in use|in use", self.log())
                if not taken or port:
                    self.kill()
                    raise
        raise Failure("no free port found")

    def _command_line(self, program, options, config, args, unix):
        argv = [program]
        if config is not None:
            path = os.path.join(self.dir, "server.conf")
            Path(path).write_bytes(to_bytes(config))
            argv.append(path)
        options = {"port": self.port, "dir": self.dir, **options}
        if unix:
            options["unixsocket"] = self.unix
        for name, value in options.items():
            if value is None:
                continue
            words = value if isinstance(value, (list, tuple)) else [value]
            argv += ["--" + name.replace("_", "-")] + [str(w) for w in words]
        return argv + [str(a) for a in args]

    def _start(self):
        with open(self.log_path, "ab") as out:
            try:
                self.process = subprocess.Popen(
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    cwd=self.dir,
                    env=self.env,
                    preexec_fn=_forbid_io_uring if self.forbid_uring else _die_with_parent,
                )
            except OSError as missing:
                raise Failure(f"cannot start {self.argv[0]}: {missing}") from None

    @classmethod
    def redis(cls, **options):
        """The oracle: Debian's redis-server, without persistence."""
        special = {k: options.pop(k) for k in _SPECIAL if k in options}
        defaults = {"save": "", "appendonly": "no", "enable-debug-command": "yes"}
        return cls("redis", REDIS_SERVER, {**defaults, **options}, **special)

    @classmethod
    def gyre(cls, threads=1, io="uring", **options):
        """Gyre with `threads` workers on the given I/O backend (or the stand-in, which has neither)."""
        special = {k: options.pop(k) for k in _SPECIAL if k in options}
        if STANDIN:
            for name in ("uring_level",):
                options.pop(name, None)
        else:
            options = {"threads": threads, "io": io, **options}
        defaults = {"save": "", "appendonly": "no", "enable-debug-command": "yes"}
        return cls("gyre", GYRE_SERVER, {**defaults, **options}, **special)

    @property
    def pid(self):
        return self.process.pid

    def connect(self, resp=2, **kw):
        kw.setdefault("password", self.password)
        return Conn(self.address, resp=resp, **kw)

    def wait_ready(self, seconds=20):
        deadline = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failure(
                    f"{self.argv[0]} ended with status {self.process.returncode} at its start\n"
                    f"command: {' '.join(self.argv)}\n{self.log_tail()}"
                )
            try:
                with Conn(self.address, timeout=5) as conn:
                    reply = conn.cmd("PING")
                    if reply == PONG or reply.value.startswith(b"NOAUTH"):
                        return
            except (OSError, Closed):
                pass
            time.sleep(0.01)
        raise Failure(
            f"{self.argv[0]} does not answer PING\ncommand: {' '.join(self.argv)}\n{self.log_tail()}"
        )

    def log(self):
        data = b""
        for path in sorted({self.log_path, os.path.join(self.dir, "log")}):
            if os.path.exists(path):
                data += Path(path).read_bytes()
        return data

    def log_tail(self, lines=40):
        tail = self.log().splitlines()[-lines:]
        return "--- end of the log ---\n" + "\n".join(t.decode("utf-8", "replace") for t in tail)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def check_health(self):
        """Failure if the server has died or a sanitizer has spoken since the last check."""
        if not self.alive():
            raise Failure(
                f"the server died with status {self.process.returncode}\n{self.log_tail(80)}"
            )
        self._check_reports()

    def _check_reports(self):
        reports = list(SANITIZER.finditer(self.log()))
        if len(reports) > self.seen_reports:
            first = reports[self.seen_reports].start()
            self.seen_reports = len(reports)
            text = self.log()[max(0, first - 200) : first + 6000].decode("utf-8", "replace")
            raise Failure(f"a sanitizer's report in the server's log:\n{text}")

    def send_signal(self, number):
        os.kill(self.process.pid, number)

    def wait_exit(self, seconds=10):
        try:
            status = self.process.wait(seconds * PATIENCE)
            self.ended = True
            return status
        except subprocess.TimeoutExpired:
            return None

    def stop(self, number=signal.SIGTERM, status=0):
        """Stop in order. Failure if it was dead already, does not stop within 10 s, or not with `status`."""
        try:
            self.ended = True
            if not self.alive():
                raise Failure(
                    f"the server had died with status {self.process.returncode}\n{self.log_tail(80)}"
                )
            self.send_signal(number)
            if self.wait_exit() is None:
                self.send_signal(signal.SIGKILL)
                self.process.wait()
                raise Failure(
                    f"the server did not stop within {10 * PATIENCE:g} s of signal {number}\n"
                    + self.log_tail()
                )
            if self.process.returncode != status:
                raise Failure(
                    f"the server stopped with status {self.process.returncode}, not {status}\n"
                    + self.log_tail(80)
                )
            self._check_reports()
        finally:
            self.remove()

    def kill(self):
        if self.alive():
            self.send_signal(signal.SIGKILL)
            self.process.wait()
        self.remove()

    def remove(self):
        if not os.environ.get("GYRE_TEST_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)


_SPECIAL = ("config", "args", "unix", "password", "wait", "env", "port", "forbid_uring")
