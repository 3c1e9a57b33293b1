# SPDX-License-Identifier: BSD-3-Clause
"""Gyre takes over what redis-server left in its append-only directory, and leaves the files as they are."""

import os
import signal
import tempfile
import time
from pathlib import Path

from differential import dump_state, values_differ
from harness import OK, STANDIN, Failure, Server, encode, info
from runner import test

NAME = "appendonly.aof"
FUNCTIONS = "#!lua name=l\nredis.register_function('f', function(k, a) return a[1] end)"


def gyre_only():
    return "only Gyre has it" if STANDIN else None


# ---- what Redis writes


def fill(conn, mark):
    """Data of every type in three databases, by single commands, transactions and scripts."""
    commands = [
        ("SELECT", 0),
        ("SET", f"string {mark}", mark),
        ("SET", f"binary {mark}", bytes(range(256)) * 3),
        ("SET", f"resp {mark}", encode("SET", "inner", "value")),
        ("SET", f"volatile {mark}", "x", "EX", 5000),
        ("SET", f"short-lived {mark}", "x", "PX", 1),
        ("INCRBY", "counter", 7),
        ("INCRBYFLOAT", "float", "0.1"),
        ("RPUSH", f"list {mark}", *range(200), "x" * 100),
        ("LPOP", f"list {mark}", 3),
        ("SADD", f"set {mark}", *range(300), "word"),
        ("SPOP", f"set {mark}", 10),
        ("HSET", f"hash {mark}", *range(40)),
        ("HINCRBYFLOAT", f"hash {mark}", 2, 0.5),
        ("ZADD", f"zset {mark}", 1, "a", "-inf", "b", 0.1, "c"),
        ("ZPOPMIN", f"zset {mark}"),
        ("PFADD", "hll", *range(100)),
        ("GEOADD", "geo", 13.36, 38.11, f"place {mark}"),
        ("XADD", "stream", "*", "field", mark),
        ("XADD", "stream", "*", "field", "again"),
        ("XGROUP", "CREATE", "stream", f"group {mark}", 0),
        ("XREADGROUP", "GROUP", f"group {mark}", "alice", "COUNT", 1, "STREAMS", "stream", ">"),
        ("SETBIT", "bits", 1000, 1),
        ("EXPIRE", "bits", 7000),
        ("RENAME", f"zset {mark}", f"renamed {mark}"),
        ("EVAL", "redis.call('SET', KEYS[1], 1) redis.call('LPUSH', KEYS[2], 2)", 2, "s1", "s2"),
        ("SELECT", 3),
        ("SET", f"other {mark}", mark),
        ("MULTI",),
        ("INCR", "counter"),
        ("SELECT", 5),
        ("LPUSH", "list", mark),
        ("SELECT", 3),
        ("INCR", "counter"),
        ("EXEC",),
        ("COPY", f"other {mark}", "copied", "DB", 9, "REPLACE"),
        ("SELECT", 0),
        ("FUNCTION", "LOAD", "REPLACE", FUNCTIONS),
    ]
    for command, reply in zip(commands, conn.pipeline(commands)):
        if reply.is_error():
            raise Failure(f"{command}: {reply}")
    time.sleep(0.005)  # whatever reads the data after this, the short-lived key is over


def rewrite(t, conn):
    conn.cmd("BGREWRITEAOF")
    t.wait_for(
        lambda: not any(
            info(conn, "persistence")[field] == "1"
            for field in ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
        ),
        "the end of a rewrite",
    )
    t.equal(info(conn, "persistence")["aof_last_bgrewrite_status"], "ok")


def children(pid):
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_while_rewriting(t, server, conn):
    """A rewrite has begun a new incremental file and will never write its base."""
    t.equal(conn.cmd("CONFIG", "SET", "rdb-key-save-delay", 10000000), OK)
    conn.cmd("BGREWRITEAOF")
    t.wait_for(lambda: children(server.pid), "the rewriting child")
    fill(conn, "while rewriting")
    victims = [server.pid, *children(server.pid)]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)


class Left:
    """A directory that redis-server has written and left, and the data that was in it."""

    def __init__(self, t, root, ending="stop", rewrites=1, aof_name=NAME, **options):
        self.t, self.root, self.name = t, root, aof_name
        self.options = {"dir": root, "appendfilename": aof_name, **options}
        directory = options.get("appenddirname", "appendonlydir")
        self.directory = os.path.join(root, directory)
        server = t.own(Server.redis(appendonly="yes", **self.options))
        conn = t.connect(server)
        fill(conn, "before")
        for i in range(rewrites):
            rewrite(t, conn)
            fill(conn, f"after {i}")
        if ending == "kill":
            kill_while_rewriting(t, server, conn)
        self.data = state(conn) if ending == "stop" else None
        if ending == "stop":
            server.stop()
        else:
            server.wait_exit()
            server.kill()
            self.data = self.load(Server.redis(appendonly="yes", **self.options))

    def load(self, server):
        """The data that a server has when it has started."""
        self.t.own(server)
        conn = self.t.connect(server)
        data = state(conn)
        server.stop()
        return data

    def path(self, name):
        return Path(self.directory, name)

    def files(self):
        """Of Redis's files, the content and the time of the last change."""
        return {
            str(p): (p.read_bytes(), p.stat().st_mtime_ns)
            for p in Path(self.root).rglob("*")
            if p.is_file() and p.name.startswith(self.name)
        }

    def of_type(self, letter):
        """The names that the manifest has for this type of file, in order."""
        lines = self.path(self.name + ".manifest").read_text().splitlines()
        return [
            line.split(" seq ")[0].removeprefix("file ").strip('"')
            for line in lines
            if line.endswith(f"type {letter}")
        ]

    def to_single(self):
        """As Redis 6 would have left it: the base and what follows in one file, in `dir`."""
        names = self.of_type("b") + self.of_type("i")
        whole = b"".join(self.path(name).read_bytes() for name in names)
        for path in list(Path(self.directory).iterdir()):
            path.unlink()
        Path(self.directory).rmdir()
        Path(self.root, self.name).write_bytes(whole)

    def gyre(self, threads=1, **options):
        server = self.t.own_gyre(threads=threads, appendonly="yes", **{**self.options, **options})
        conn = self.t.connect(server)
        if options.get("wait", True) and info(conn, "persistence")["aof_enabled"] == "0":
            self.t.skip("no append-only log yet")
        return server, conn


def state(conn):
    """All values, the instants at which they expire, and the libraries of functions."""
    values = dump_state(conn)
    expires = {}
    for db, key in values:
        conn.cmd("SELECT", db)
        expires[db, key] = conn.cmd("PEXPIRETIME", key).value
    conn.cmd("SELECT", 0)
    functions = [x.value for x in conn.cmd("FUNCTION", "LIST", "WITHCODE").value]
    return values, expires, str(functions)


def expect_state(t, want, got):
    t.equal(sorted(got[0]), sorted(want[0]))
    for key, stored in want[0].items():
        difference = values_differ(stored, got[0][key])
        t.check(not difference, f"{key}: {difference}")
    t.equal(got[1], want[1])
    t.equal(got[2], want[2])


def expect_refusal(t, left, *words, **options):
    """Gyre does not start, and its log has these words."""
    skip_without_log(t)
    server = Server.gyre(appendonly="yes", wait=False, **{**left.options, **options})
    try:
        status = server.wait_exit()
        log = server.log().decode("utf-8", "replace")
        t.check(status not in (None, 0), f"it ended with {status}\n{log}")
        for word in words if not STANDIN else ():
            t.check(word in log, f"'{word}' is not in the log:\n{log}")
    finally:
        server.kill()


def skip_without_log(t):
    server = t.own_gyre(appendonly="yes")
    if info(t.connect(server), "persistence")["aof_enabled"] == "0":
        t.skip("no append-only log yet")
    server.stop()


# ---- every form of directory

FORMS = {
    "a base RDB": dict(),
    "a base of commands": dict(aof_use_rdb_preamble="no"),
    "no rewrite yet": dict(rewrites=0),
    "timestamps": dict(aof_timestamp_enabled="yes", aof_use_rdb_preamble="no"),
    "names with spaces": dict(aof_name="a b.aof", appenddirname="append only"),
    "history": dict(aof_disable_auto_gc="yes", rewrites=2),
    "several incremental files": dict(ending="kill"),
    "a single old file": dict(single=True, aof_use_rdb_preamble="no"),
    "a single old file that begins with an RDB": dict(single=True),
    "a single old file that Redis was about to move": dict(single=True, half=True),
}


def make(t, root, single=False, half=False, **options):
    left = Left(t, root, **options)
    if single:
        left.to_single()
    if half:
        os.mkdir(left.directory)
        left.path(left.name + ".manifest").write_text(f"file {left.name} seq 1 type b\n")
    return left


@test("Redis's append-only files are taken over and left as they are", form=tuple(FORMS))
def taken_over(t, form):
    with tempfile.TemporaryDirectory(prefix="gyre-test-") as root:
        left = make(t, root, **FORMS[form])
        if form == "history":
            t.equal(len(left.of_type("h")) >= 2, True)
        if form == "several incremental files":
            t.equal(len(left.of_type("i")), 2)
        before = left.files()
        server, conn = left.gyre(threads=2)
        expect_state(t, left.data, state(conn))
        t.equal(conn.cmd("SET", "written by Gyre", 1), OK)
        t.equal(conn.cmd("DEL", "float").value, 1)
        server.stop()
        if not STANDIN:
            t.equal(left.files(), before)
        server, conn = left.gyre(threads=3)
        t.equal(conn.cmd("GET", "written by Gyre").value, b"1")
        t.equal(conn.cmd("EXISTS", "float", "counter").value, 1)
        server.stop()
        if not STANDIN:
            t.equal(left.files(), before)
            redis = Server.redis(appendonly="yes", **left.options)
            expect_state(t, left.data, left.load(redis))


@test(
    "Gyre does not start if Redis has written to its files since they were taken over",
    needs=gyre_only,
)
def written_again(t):
    with tempfile.TemporaryDirectory(prefix="gyre-test-") as root:
        left = make(t, root)
        server, conn = left.gyre()
        t.equal(conn.cmd("SET", "written by Gyre", 1), OK)
        server.stop()
        redis = t.own(Server.redis(appendonly="yes", **left.options))
        t.equal(t.connect(redis).cmd("SET", "written by Redis", 1), OK)
        redis.stop()
        expect_refusal(t, left, left.name)


@test("Redis's files may be removed when they have been taken over", needs=gyre_only)
def removed(t):
    with tempfile.TemporaryDirectory(prefix="gyre-test-") as root:
        left = make(t, root)
        server, conn = left.gyre(threads=2)
        server.stop()
        for path in left.files():
            os.unlink(path)
        server, conn = left.gyre()
        expect_state(t, left.data, state(conn))
        server.stop()


# ---- ends that are missing, and damage


def cut(path, size):
    with open(path, "r+b") as file:
        file.truncate(size)


@test("a torn tail of Redis's last file is cut off and said")
def torn_tail(t):
    with tempfile.TemporaryDirectory(prefix="gyre-test-") as root:
        left = make(t, root, rewrites=0)
        path = left.path(left.of_type("i")[-1])
        whole = path.read_bytes()
        path.write_bytes(whole + encode("SET", "torn", "x" * 100)[:-30])
        expect_refusal(t, left, str(path.name), f"offset {len(whole)}", aof_load_truncated="no")
        before = left.files()
        server, conn = left.gyre()
        expect_state(t, left.data, state(conn))
        if not STANDIN:
            t.equal(left.files(), before)
            t.check(path.name.encode() in server.log(), "the log does not name the file")
        server.stop()


@test("of a transaction without its end in Redis's last file, nothing is loaded")
def torn_transaction(t):
    with tempfile.TemporaryDirectory(prefix="gyre-test-") as root:
        left = make(t, root, rewrites=0)
        with open(left.path(left.of_type("i")[-1]), "ab") as file:
            file.write(encode("SELECT", 0) + encode("SET", "before", 1))
            file.write(encode("MULTI") + encode("SET", "inside", 1) + encode("FLUSHALL"))
        server, conn = left.gyre()
        t.equal(conn.cmd("GET", "before").value, b"1")
        t.equal(conn.cmd("DEL", "inside").value, 0)
        conn.cmd("DEL", "before")
        expect_state(t, left.data, state(conn))
        server.stop()


def damage_missing(left):
    name = left.of_type("b")[0]
    left.path(name).unlink()
    return name, "missing"


def damage_manifest(left):
    path = left.path(left.name + ".manifest")
    path.write_text(path.read_text() + "file x seq 9 type q\n")
    return path.name, "type"


def damage_orphans(left):
    left.path(left.name + ".manifest").unlink()
    return ("manifest",)


def damage_middle_file(left):
    name = left.of_type("i")[0]
    cut(left.path(name), left.path(name).stat().st_size - 5)
    return name, "not the last"


def damage_command(left):
    path = left.path(left.of_type("i")[-1])
    text = path.read_bytes()
    at = text.index(b"*", len(text) // 2)
    path.write_bytes(text[:at] + b"?" + text[at + 1 :])
    return path.name, "offset"


def damage_length(left):
    path = left.path(left.of_type("i")[-1])
    text = path.read_bytes()
    path.write_bytes(text.replace(b"$6\r\nSELECT\r\n", b"$600000\r\nSELECT\r\n", 1))
    return path.name, "offset"


def damage_rdb(left):
    name = left.of_type("b")[0]
    cut(left.path(name), left.path(name).stat().st_size - 40)
    return (name,)


def damage_unknown_command(left):
    path = left.path(left.of_type("i")[-1])
    path.write_bytes(path.read_bytes() + encode("NO.SUCH", 1) + encode("SET", "a", 1))
    return path.name, "NO.SUCH"


DAMAGES = {
    "a file that is missing": damage_missing,
    "a manifest with an unknown type": damage_manifest,
    "files without their manifest": damage_orphans,
    "a file that is cut off, but not the last": damage_middle_file,
    "a wrong byte between commands": damage_command,
    "a wrong length": damage_length,
    "an RDB file that is cut off": damage_rdb,
    "an unknown command": damage_unknown_command,
}
# What Redis itself loads all the same, with less than there was.
LOADED_BY_REDIS = ("files without their manifest", "a wrong length")


@test("Redis's files with damage are not loaded", damage=tuple(DAMAGES))
def damaged(t, damage):
    if STANDIN and damage in LOADED_BY_REDIS:
        t.skip("redis-server loads it")
    with tempfile.TemporaryDirectory(prefix="gyre-test-") as root:
        left = make(t, root, ending="kill")
        words = DAMAGES[damage](left)
        before = left.files()
        expect_refusal(t, left, *words)
        if not STANDIN:
            t.equal(left.files(), before)
