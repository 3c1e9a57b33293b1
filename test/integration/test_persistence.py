# SPDX-License-Identifier: BSD-3-Clause
"""Snapshots, the append-only log and what is loaded at the start. Crashes: test_crash; trouble with the disk: test_faults."""

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from harness import GYRE_SERVER, OK, SCALE, R, ReadTimeout, Server, encode, info, show
from runner import test
from test_redis_files import expect_state, fill, state

THREADS = (1, 4)


class Home:
    """A data directory, and servers that run in it one after the other."""

    def __init__(self, t, **options):
        self.t = t
        self.root = tempfile.mkdtemp(prefix="gyre-test-")
        self.options = {"dir": self.root, **options}
        self.server = None

    def run(self, threads=1, **options):
        if self.server and self.server.alive():
            self.server.stop()
        self.server = self.t.own_gyre(threads=threads, **{**self.options, **options})
        return self.t.connect(self.server)

    def redis(self, **options):
        self.server = self.t.own(Server.redis(**{**self.options, **options}))
        return self.t.connect(self.server)

    def path(self, *names):
        return Path(self.root, *names)

    def refusal(self, threads=1, **options):
        """The log of a start that fails."""
        server = Server.gyre(threads=threads, wait=False, **{**self.options, **options})
        try:
            status = server.wait_exit()
            log = server.log().decode("utf-8", "replace")
            self.t.check(status == 1, f"it ended with {status}\n{log}")
            return log
        finally:
            server.kill()


def many(conn, count=2000):
    """Enough keys for every shard, and values big enough to be written piece by piece."""
    conn.pipeline([("SET", f"key:{i}", f"value {i}") for i in range(count)])
    conn.cmd("RPUSH", "big list", *range(5000))
    conn.cmd("SADD", "big set", *(f"member {i}" for i in range(3000)))
    conn.cmd("HSET", "big hash", *(x for i in range(2000) for x in (f"field {i}", i)))
    conn.cmd("ZADD", "big zset", *(x for i in range(2000) for x in (i / 3, f"member {i}")))
    conn.pipeline([("XADD", "big stream", "*", "f", i) for i in range(1000)])


def expect(t, log, *words):
    for word in words:
        t.check(word in log, f"'{word}' is not in the log:\n{log}")


def field(conn, name):
    return info(conn, "persistence")[name]


def snapshot(t, conn):
    before = int(field(conn, "rdb_saves"))
    t.equal(conn.cmd("BGSAVE"), R("+", b"Background saving started"))
    t.wait_for(lambda: int(field(conn, "rdb_saves")) > before, "the end of BGSAVE")
    t.equal(field(conn, "rdb_last_bgsave_status"), "ok")
    t.equal(field(conn, "rdb_changes_since_last_save"), "0")


def rewrite(t, conn):
    before = int(field(conn, "aof_rewrites"))
    t.equal(conn.cmd("BGREWRITEAOF").kind, "+")
    t.wait_for(lambda: int(field(conn, "aof_rewrites")) > before, "the end of a rewrite")


@test("SAVE and BGSAVE write what redis-server loads, of every type", threads=THREADS, how=("SAVE", "BGSAVE"))
def saved_for_redis(t, threads, how):
    home = Home(t)
    conn = home.run(threads)
    fill(conn, "here")
    many(conn)
    conn.cmd("SELECT", 0)
    if how == "SAVE":
        t.equal(conn.cmd("SAVE"), OK)
    else:
        snapshot(t, conn)
    want = state(conn)
    home.server.stop()
    expect_state(t, state(home.redis()), want)


@test("servers that share a directory do not write into each other's dump")
def shared_directory(t):
    home = Home(t)
    conns = [home.run()]
    home.server = None
    conns.append(home.run())
    for conn, word in zip(conns, ("one", "two")):
        conn.pipeline([("SET", f"{word}:{i}", "x" * 200) for i in range(20_000)])
    for _ in range(5):
        saves = [int(field(conn, "rdb_saves")) for conn in conns]
        for conn in conns:
            t.equal(conn.cmd("BGSAVE"), R("+", b"Background saving started"))
        for conn, before in zip(conns, saves):
            t.wait_for(lambda conn=conn, before=before: int(field(conn, "rdb_saves")) > before,
                       "the end of BGSAVE")
            t.equal(field(conn, "rdb_last_bgsave_status"), "ok")
        home.server = None
        loaded = home.redis(dbfilename="dump.rdb")
        t.equal(loaded.cmd("DBSIZE"), R(":", 20_000))
        home.server.stop()


@test("the append-only directory has one server at a time", threads=THREADS)
def held_directory(t, threads):
    home = Home(t, appendonly="yes")
    conn = home.run(threads)
    conn.cmd("SET", "key", "value")
    expect(t, home.refusal(threads), "in use by another server")
    late = t.own_gyre(threads=threads, dir=home.root, appendonly="no", save="")
    other = t.connect(late)
    other.cmd("CONFIG", "SET", "appendonly", "yes")
    t.wait_for(lambda: field(other, "aof_last_bgrewrite_status") == "err", "its failure")
    t.check("in use by another server" in late.log_tail(20), "it says why")
    late.kill()
    late.ended = True
    t.equal(conn.cmd("INCR", "number"), R(":", 1))
    home.server.kill()  # and what it held is free
    home.server.ended = True
    conn = home.run(threads)
    t.equal(conn.cmd("MGET", "key", "number"), R("*", [R("$", b"value"), R("$", b"1")]))


@test("what redis-server saved is loaded", threads=THREADS)
def saved_by_redis(t, threads):
    home = Home(t)
    conn = home.redis()
    fill(conn, "there")
    many(conn)
    conn.cmd("SELECT", 0)
    t.equal(conn.cmd("SAVE"), OK)
    want = state(conn)
    home.server.stop()
    conn = home.run(threads)
    expect_state(t, want, state(conn))
    t.equal(field(conn, "rdb_last_load_keys_loaded"), str(len(want[0])))


@test("a hash whose fields expire makes the snapshot one of Redis 7.4, and comes back", threads=THREADS)
def fields_that_expire(t, threads):
    home = Home(t)
    conn = home.run(threads)
    conn.cmd("HSET", "h", "a", 1, "b", 2)
    conn.cmd("HEXPIRE", "h", 1000, "FIELDS", 1, "a")
    at = conn.cmd("HPEXPIRETIME", "h", "FIELDS", 2, "a", "b")
    t.equal(conn.cmd("SAVE"), OK)
    t.equal(home.path("dump.rdb").read_bytes()[:9], b"REDIS0012")
    conn.cmd("DEL", "h")
    t.equal(conn.cmd("SAVE"), OK)
    t.equal(home.path("dump.rdb").read_bytes()[:9], b"REDIS0010")
    conn.cmd("HSET", "h", "a", 1, "b", 2)
    conn.cmd("HPEXPIREAT", "h", at.value[0].value, "FIELDS", 1, "a")
    t.equal(conn.cmd("SAVE"), OK)
    conn = home.run(threads)
    t.equal(conn.cmd("HPEXPIRETIME", "h", "FIELDS", 2, "a", "b"), at)


@test("the log brings everything back, on any number of threads", policy=("always", "everysec", "no"))
def logged(t, policy):
    home = Home(t, appendonly="yes", appendfsync=policy)
    conn = home.run(2)
    fill(conn, "first")
    many(conn)
    conn.cmd("SELECT", 0)
    for threads in (2, 4, 1, 3):
        want = state(conn)
        conn = home.run(threads)
        expect_state(t, want, state(conn))
        fill(conn, f"on {threads}")
        rewrite(t, conn)
        fill(conn, f"after the rewrite on {threads}")
        conn.cmd("SELECT", 0)
    want = state(conn)
    expect_state(t, want, state(home.run(2)))


@test("turning the log off ends the rewrite that runs, and turning it on begins another", threads=THREADS)
def switched_during_a_rewrite(t, threads):
    home = Home(t)
    conn = home.run(threads, appendonly="yes")
    many(conn)
    for i in range(6):
        off = ("CONFIG", "SET", "appendonly", "no")
        t.equal(conn.pipeline([("BGREWRITEAOF",), off])[1], OK)
        t.equal(field(conn, "aof_enabled"), "0")
        conn.cmd("SET", "not logged", i)
        if i % 2:
            t.wait_for(lambda: field(conn, "aof_rewrite_in_progress") == "0", "its end")
        t.equal(field(conn, "aof_last_bgrewrite_status"), "ok")
        before = int(field(conn, "aof_rewrites"))
        t.equal(conn.cmd("CONFIG", "SET", "appendonly", "yes"), OK)
        t.wait_for(lambda: int(field(conn, "aof_rewrites")) > before, "another base")
        conn.cmd("SET", "logged", i)
        want = state(conn)
        home.server.kill()
        home.server.ended = True
        conn = home.run(threads, appendonly="yes")
        expect_state(t, want, state(conn))


@test("the log can be turned on and off while the server runs", threads=THREADS)
def switched(t, threads):
    home = Home(t)
    conn = home.run(threads)
    fill(conn, "without a log")
    many(conn)
    conn.cmd("SELECT", 0)
    t.equal(conn.cmd("CONFIG", "SET", "appendonly", "yes"), OK)
    conn.cmd("SET", "at once", 1)
    t.wait_for(lambda: field(conn, "aof_rewrites") == "1", "the first base")
    fill(conn, "with a log")
    conn.cmd("SELECT", 0)
    want = state(conn)
    home.server.kill()
    home.server.ended = True
    conn = home.run(threads, appendonly="yes")
    expect_state(t, want, state(conn))
    t.equal(conn.cmd("CONFIG", "SET", "appendonly", "no"), OK)
    conn.cmd("SET", "not logged", 1)
    t.equal(conn.cmd("CONFIG", "SET", "appendonly", "yes"), OK)
    t.wait_for(lambda: field(conn, "aof_rewrites") != "0", "another base")
    want = state(conn)
    expect_state(t, want, state(home.run(threads, appendonly="yes")))


@test("with the log turned on and no log there, the snapshot is where it begins", threads=THREADS)
def log_from_snapshot(t, threads):
    home = Home(t)
    conn = home.run(threads)
    fill(conn, "in the snapshot")
    conn.cmd("SELECT", 0)
    conn.cmd("SAVE")
    want = state(conn)
    conn = home.run(threads, appendonly="yes")
    expect_state(t, want, state(conn))
    conn.cmd("SET", "in the log", 1)
    want = state(conn)
    home.path("dump.rdb").unlink()
    expect_state(t, want, state(home.run(threads, appendonly="yes")))


@test("a stop saves if there are save points, SHUTDOWN says otherwise", threads=THREADS)
def stops(t, threads):
    home = Home(t, save="3600 1")
    home.run(threads).cmd("SET", "k", 1)
    conn = home.run(threads)
    t.equal(conn.cmd("GET", "k"), R("$", b"1"))
    conn.cmd("SET", "k", 2)
    shutdown(home, conn, "NOSAVE")
    conn = home.run(threads)
    t.equal(conn.cmd("GET", "k"), R("$", b"1"))
    t.equal(conn.cmd("CONFIG", "SET", "save", ""), OK)
    conn.cmd("SET", "k", 3)
    home.server.stop()
    conn = home.run(threads, save="")
    t.equal(conn.cmd("GET", "k"), R("$", b"1"))
    conn.cmd("SET", "k", 4)
    shutdown(home, conn, "SAVE")
    t.equal(home.run(threads).cmd("GET", "k"), R("$", b"4"))


def shutdown(home, conn, how):
    conn.send(encode("SHUTDOWN", how))
    home.t.equal(home.server.wait_exit(), 0)
    home.server.ended = True


@test("a server that cannot save does not stop, unless it is told to go without", threads=THREADS)
def cannot_save(t, threads):
    home = Home(t, save="3600 1", stop_writes_on_bgsave_error="no")
    conn = home.run(threads)
    conn.cmd("SET", "k", 1)
    home.path("dump.rdb").mkdir()
    home.server.send_signal(15)
    t.wait_for(lambda: b"Errors trying to SHUTDOWN" in home.server.log(), "a refusal to stop")
    error = R("-", b"ERR Errors trying to SHUTDOWN. Check logs.")
    replies = conn.pipeline([("SET", "k", 2), ("SHUTDOWN",), ("INCR", "k")])
    t.equal(replies, [OK, error, R(":", 3)])
    t.equal(t.connect(home.server).cmd("SHUTDOWN", "SAVE"), error)
    conn.cmd("DECR", "k")
    home.path("dump.rdb").rmdir()
    home.server.stop()
    t.equal(home.run(threads).cmd("GET", "k"), R("$", b"2"))


@test("who writes to a giant during a snapshot is answered in order, and the snapshot is as it was", threads=THREADS)
def giants(t, threads):
    home = Home(t)
    conn = home.run(threads)
    for i in range(60):  # each more than may wait for the one that writes the file
        values = [t.rng.randbytes(100) for n in range(1000)]
        conn.cmd("HSET", "hash", *(x for n in range(1000) for x in (i * 1000 + n, values[n])))
        conn.cmd("RPUSH", "list", *values)
    want = state(conn)
    writers = [t.connect(home.server) for _ in range(6)]
    t.equal(conn.cmd("CONFIG", "SET", "snapshot-rate-limit", "4mb"), OK)
    conn.cmd("BGSAVE")
    t.wait_for(
        lambda: int(field(conn, "current_save_keys_total")), "the cut"
    )
    for i, writer in enumerate(writers):
        writer.send(b"".join(encode(*c) for c in self_checking(i)))
    t.equal(conn.cmd("PING"), R("+", b"PONG"))
    other = t.connect(home.server)
    t.equal(other.cmd("CLIENT", "PAUSE", 300, "WRITE"), OK)
    gone = writers.pop()
    gone.close()
    for i, writer in enumerate(writers):
        replies = [writer.read(10) for _ in self_checking(i)]
        t.equal(replies, [R(":", 1), R(":", 1), R("$", b"1"), R(":", 1), R(":", 0), OK, R("+", b"PONG")])
    t.wait_for(lambda: field(conn, "rdb_bgsave_in_progress") == "0", "its end", 20)
    t.equal(field(conn, "rdb_last_bgsave_status"), "ok")
    home.server.kill()
    home.server.ended = True
    expect_state(t, want, state(home.run(threads)))


def self_checking(i):
    """What a client sends in one go; the replies tell whether it was done in this order."""
    yield "HSET", "hash", f"new {i}", i
    yield "INCR", f"count {i}"
    yield "GET", f"count {i}"
    yield "HDEL", "hash", f"new {i}"
    yield "HEXISTS", "hash", f"new {i}"
    yield "LSET", "list", 7, "something else"
    yield ("PING",)


@test("a snapshot keeps to the rate that is set, and ends at once when the server stops", threads=THREADS)
def limited(t, threads):
    home = Home(t)
    conn = home.run(threads, snapshot_rate_limit="2mb")
    for i in range(48):
        conn.cmd("SET", f"key {i}", t.rng.randbytes(1 << 16))
    began = time.monotonic()
    conn.cmd("BGSAVE")
    t.wait_for(lambda: field(conn, "rdb_bgsave_in_progress") == "0", "its end", 20)
    took = time.monotonic() - began
    t.check(took >= 1.4, f"3 MiB at 2 MiB a second took {took:.2f} s")
    for _ in range(100):  # more than may wait for the writer: it stops in the midst of it
        conn.cmd("RPUSH", "list", *(t.rng.randbytes(64) for _ in range(1000)))
    t.equal(conn.cmd("CONFIG", "SET", "snapshot-rate-limit", "64kb"), OK)
    conn.cmd("BGSAVE")
    t.equal(field(conn, "rdb_bgsave_in_progress"), "1")
    home.server.stop()
    conn = home.run(threads)
    t.equal(conn.cmd("STRLEN", "key 7"), R(":", 1 << 16))
    t.equal(conn.cmd("DBSIZE"), R(":", 48))


@test("what was queued before writes were refused is refused with EXEC", threads=THREADS)
def queued_before(t, threads):
    home = Home(t, save="3600 1000000")
    conn, other = home.run(threads), t.connect(home.server)
    t.equal([conn.cmd("MULTI"), conn.cmd("SET", "k", 1)], [OK, R("+", b"QUEUED")])
    home.path("dump.rdb").mkdir()
    other.cmd("BGSAVE")
    t.wait_for(lambda: field(other, "rdb_last_bgsave_status") == "err", "a failure")
    reply = conn.cmd("EXEC").value
    t.check(reply.startswith(b"EXECABORT Transaction discarded because of: MISCONF Redis is"), reply)
    t.equal([conn.cmd("MULTI"), conn.cmd("GET", "k")], [OK, R("+", b"QUEUED")])
    t.equal(conn.cmd("EXEC").value, [R("$", None)])
    home.path("dump.rdb").rmdir()
    snapshot(t, other)
    t.equal(conn.cmd("SET", "k", 1), OK)


@test("who is served can have everything saved at once: no start is half over", threads=(8,))
def right_after_start(t, threads):
    home = Home(t)
    for _ in range(8):
        reply = home.run(threads).cmd("BGSAVE")
        t.equal(reply, R("+", b"Background saving started"))


@test("save points begin a snapshot by themselves", threads=THREADS)
def save_points(t, threads):
    home = Home(t, save="1 10")
    conn = home.run(threads)
    conn.pipeline([("SET", f"k{i}", i) for i in range(50)])
    t.wait_for(lambda: field(conn, "rdb_saves") == "1", "a snapshot")
    t.equal(field(conn, "rdb_changes_since_last_save"), "0")
    t.check(home.path("dump.rdb").exists(), "it is there")


@test("a log that has grown is rewritten by itself", threads=THREADS)
def grown(t, threads):
    home = Home(t, appendonly="yes", auto_aof_rewrite_percentage=100, auto_aof_rewrite_min_size="64kb")
    conn = home.run(threads)
    for _ in range(20):
        conn.pipeline([("SET", f"k{i}", "x" * 200) for i in range(100)])
    t.wait_for(lambda: int(field(conn, "aof_rewrites")) > 0, "a rewrite")

    def used():
        """400 kB were written, of which 20 kB are worth keeping."""
        return sum(p.stat().st_size for p in home.path("appendonlydir").glob("*"))

    t.wait_for(lambda: used() < 150_000, "short files")


@test("damaged files keep the server from starting, and are named", threads=THREADS)
def damaged(t, threads):
    home = Home(t)
    conn = home.run(threads)
    many(conn)
    conn.cmd("SAVE")
    home.server.stop()
    good = home.path("dump.rdb").read_bytes()
    for bad in (good[: len(good) // 2], good[:-20] + b"x" + good[-19:], b"REDIS9999" + good[9:], b"nothing"):
        home.path("dump.rdb").write_bytes(bad)
        expect(t, home.refusal(threads), "dump.rdb")
        t.equal(home.path("dump.rdb").read_bytes(), bad)
    home.path("dump.rdb").write_bytes(good)
    conn = home.run(threads, appendonly="yes")
    conn.pipeline([("SET", f"new {i}", i) for i in range(500)])
    home.server.stop()
    log = max(home.path("appendonlydir").glob("*.log"), key=lambda p: p.stat().st_size)
    whole = log.read_bytes()
    log.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    expect(t, home.refusal(threads, appendonly="yes"), log.name)
    log.unlink()
    expect(t, home.refusal(threads, appendonly="yes"), log.name)


@test("a torn tail is cut and said, or refused", threads=THREADS)
def torn(t, threads):
    home = Home(t, appendonly="yes")
    conn = home.run(threads)
    conn.pipeline([("SET", f"k{i}", i) for i in range(100)])
    home.server.kill()
    home.server.ended = True
    log = max(home.path("appendonlydir").glob("*.log"), key=lambda p: p.stat().st_size)
    with open(log, "ab") as f:
        f.write(b"the beginning of a frame")
    text = home.refusal(threads, aof_load_truncated="no")
    t.check(log.name in text and "aof-load-truncated" in text, text)
    conn = home.run(threads)
    t.equal(conn.cmd("DBSIZE"), R(":", 100))
    t.check(log.name in home.server.log().decode(), "the cut is in the log")


@test("while data are loaded clients are told so", threads=THREADS)
def loading(t, threads):
    home = Home(t)
    conn = home.run(threads)
    keys = int(600000 * min(1, SCALE))  # a sanitizer makes loading as long with less
    conn.cmd("DEBUG", "POPULATE", keys, "key", 100)
    conn.cmd("SAVE")
    home.server.stop()
    server = t.own(Server.gyre(threads=threads, wait=False, **home.options))
    seen = set()

    def is_ready():
        try:
            with server.connect(timeout=5) as c:
                reply = c.cmd("GET", "key:1")
                if reply.is_error():
                    seen.add(reply.value.split(b" ")[0])
                    text = info(c, "persistence")
                    if text["loading"] == "1":
                        seen.add("info")
                        int(text["loading_loaded_bytes"]), float(text["loading_loaded_perc"])
                return not reply.is_error()
        except OSError:
            return False

    t.wait_for(is_ready, "the end of loading")
    t.equal(seen - {"info"}, {b"LOADING"})
    with server.connect() as c:
        t.equal(c.cmd("DBSIZE"), R(":", keys))


@test("a password set while data are loaded is asked of who comes, then and afterwards", threads=THREADS)
def password_while_loading(t, threads):
    home = Home(t)
    conn = home.run(threads)
    conn.cmd("DEBUG", "POPULATE", int(600000 * min(1, SCALE)), "key", 100)
    conn.cmd("SAVE")
    home.server.stop()
    server = t.own(Server.gyre(threads=threads, wait=False, **home.options))
    setter = None
    while not setter:
        try:
            setter = t.connect(server)
        except ConnectionRefusedError:
            time.sleep(0.001)
    t.equal(setter.cmd("CONFIG", "SET", "requirepass", "secret"), OK)
    t.check(setter.cmd("GET", "key:1").is_error(), "it had loaded already")
    conn = t.connect(server)
    t.equal(conn.cmd("GET", "key:1").value[:6], b"NOAUTH")
    t.wait_for(lambda: not setter.cmd("GET", "key:1").is_error(), "the end of loading", 20)
    t.equal(conn.cmd("GET", "key:1").value[:6], b"NOAUTH")
    t.equal(conn.cmd("AUTH", "secret"), OK)
    t.equal(conn.cmd("CONFIG", "SET", "requirepass", ""), OK)


@test("a snapshot is of one instant while everything changes", threads=THREADS)
def one_instant(t, threads):
    """Pairs of keys on different shards that are always set to the same, and a flush in the midst."""
    home = Home(t)
    conn = home.run(threads)
    many(conn)
    names = [(f"{{a{i}}}x", f"{{b{i}}}y") for i in range(20)]
    for number in range(6):
        conn.cmd("DEBUG", "POPULATE", 20000, f"fill{number}", 50)
        conn.send(encode("BGSAVE"))
        for i in range(300):
            a, b = names[i % 20]
            conn.send(encode("MSET", a, f"{number}:{i}", b, f"{number}:{i}"))
            conn.send(encode("RPUSH", "big list", i))
            conn.send(encode("HSET", "big hash", "field 1", i))
            if i == 150 and number == 3:
                conn.send(encode("SWAPDB", 0, 1))
            if i == 200 and number == 4:
                conn.send(encode("FLUSHDB"))
        count = 1 + 300 * 3 + (number in (3, 4))
        replies = [conn.read() for _ in range(count)]
        t.check(not replies[0].is_error(), str(replies[0]))
        t.wait_for(lambda: field(conn, "rdb_bgsave_in_progress") == "0", "the end of it")
        t.equal(field(conn, "rdb_last_bgsave_status"), "ok")
        copy = loaded_copy(t, home)
        for db in (0, 1):
            copy.cmd("SELECT", db)
            for a, b in names:
                t.equal(copy.cmd("GET", a), copy.cmd("GET", b), f"snapshot {number}, {a} and {b}")


def loaded_copy(t, home):
    """A connection to a server that has loaded the snapshot."""
    root = tempfile.mkdtemp(prefix="gyre-test-")
    os.link(home.path("dump.rdb"), os.path.join(root, "dump.rdb"))
    server = t.own(Server.gyre(threads=2, dir=root))
    return t.connect(server)


@test("no reply to a write leaves before a slow script behind it lets the log be written", io=("uring", "poll"))
def told_before_a_script(t, io):
    """The replies before it are still on their way when it becomes slow, and those that end then are sent on."""
    endless = "while true do redis.call('GET', KEYS[1]) end"
    home = Home(t, appendonly="yes", appendfsync="always", busy_reply_threshold=30, io=io)
    control = home.run()
    control.cmd("SET", "big", b"x" * (8 << 20))
    conn = t.connect(home.server, rcvbuf=4096)
    conn.write("GET", "big")
    t.wait_for(lambda: b" cmd=get" in control.cmd("CLIENT", "LIST").value, "it is being sent")
    conn.send(encode("SET", "told", "v") + encode("EVAL", endless, 1, "told"))
    t.wait_for(lambda: show(control.cmd("PING")).startswith("-BUSY"), "the script is slow")
    t.equal(len(conn.read().value), 8 << 20)
    try:
        told = conn.read(timeout=0.2)
    except ReadTimeout:
        told = None
    home.server.kill()
    home.server.ended = True
    control = home.run()
    t.check(not told or control.cmd("EXISTS", "told").value, "it was told, and is gone")


# What lives for a millisecond, and what fails then.
FAILS_WHEN_EXPIRED = """
RPUSH list a; PEXPIRE list 1 => LSET list 0 x
SET string v PX 1 => RENAME string other
SET string v PX 1 => RENAMENX string other
XADD stream 1-1 f v; PEXPIRE stream 1 => XGROUP CREATE stream g $
XADD stream 1-1 f v; PEXPIRE stream 1 => XSETID stream 5-5
XADD stream 1-1 f v; XGROUP CREATE stream g 0; PEXPIRE stream 1 => XGROUP SETID stream g 0
XADD stream 1-1 f v; XGROUP CREATE stream g 0; PEXPIRE stream 1 => XREADGROUP GROUP g c STREAMS stream >
XADD stream 1-1 f v; XGROUP CREATE stream g 0; PEXPIRE stream 1 => XAUTOCLAIM stream g c 0 0
XADD stream 1-1 f v; XGROUP CREATE stream g 0; PEXPIRE stream 1 => XGROUP CREATECONSUMER stream g c
SET {s}wrong v; SADD {s}set m; PEXPIRE {s}set 1 => SUNIONSTORE {s}to {s}set {s}wrong
RPUSH list a; PEXPIRE list 1 => EVAL redis.call('LSET',KEYS[1],0,'x') 1 list
RPUSH list a; PEXPIRE list 1 => MULTI; LSET list 0 x; EXEC
"""


@test("what fails at a key that has just expired is not done again at the start", threads=THREADS)
def fails_when_expired(t, threads):
    home = Home(t, appendonly="yes")
    conn = home.run(threads)
    conn.cmd("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    for line in FAILS_WHEN_EXPIRED.strip().split("\n"):
        before, fails = ([c.split() for c in part.split(";")] for part in line.split("=>"))
        conn.pipeline(before)
        time.sleep(0.01)
        t.check(b"-" in show(conn.pipeline(fails)[-1]).encode(), f"{line} fails")
    conn.cmd("SET", "last", "v")
    want = state(conn)
    home.server.kill()
    home.server.ended = True
    expect_state(t, want, state(home.run(threads)))


@test("a transaction that writes by scripts alone is one unit in the logs", threads=(4,))
def transaction_of_scripts(t, threads):
    home = Home(t, appendonly="yes")
    conn = home.run(threads)
    script = ("EVAL", "return redis.call('SET', KEYS[1], ARGV[1])", 1)
    for i in range(20):
        conn.pipeline([("MULTI",), (*script, f"a:{i}", i), (*script, f"b:{i}", i), ("EXEC",)])
    home.server.kill()
    home.server.ended = True
    checker = Path(GYRE_SERVER).with_name("gyre-check")
    text = subprocess.run([checker, home.root], capture_output=True, text=True, timeout=60).stdout
    found = re.search(r"(\d+) transactions over several shards", text)
    t.check(found and int(found.group(1)) >= 8, text)


@test("a snapshot is written to the directory in which it began, whatever CONFIG SET dir says meanwhile", threads=THREADS)
def directory_changed(t, threads):
    """A stop that saves would be refused; one that comes afterwards saves where it is then."""
    home, there = Home(t, save="3600 1"), Home(t)
    conn = home.run(threads, snapshot_rate_limit=200_000, enable_protected_configs="yes")
    t.equal([conn.cmd("DEBUG", "POPULATE", 10000, "key", 50), conn.cmd("SET", "a", 1)], [OK] * 2)
    t.equal(conn.cmd("BGSAVE"), R("+", b"Background saving started"))
    t.wait_for(lambda: list(home.path().glob("temp-*")), "its beginning")
    t.equal(conn.cmd("CONFIG", "SET", "dir", there.root), OK)
    t.equal(field(conn, "rdb_bgsave_in_progress"), "1")
    t.wait_for(lambda: field(conn, "rdb_bgsave_in_progress") == "0", "its end")
    t.equal(field(conn, "rdb_last_bgsave_status"), "ok")
    t.equal([file.name for file in home.path().iterdir()], ["dump.rdb"])
    home.server.stop()
    t.equal([file.name for file in there.path().iterdir()], ["dump.rdb"])
