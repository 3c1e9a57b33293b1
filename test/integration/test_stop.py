# SPDX-License-Identifier: BSD-3-Clause
"""Stops while everything is on its way: the server ends in order, and (what sanitizers see) nothing is left behind."""

import errno
import os
import signal
import socket
import time
from pathlib import Path

from faults import Disk
from harness import GYRE_SERVER, OK, PATIENCE, SCALE, STANDIN, Closed, Failure, Conn, R, ReadTimeout, Server, encode, free_port
from runner import test
from test_persistence import Home, field


@test("a stop amid writes over shards leaves each of them whole, and nothing behind", policy=("everysec", "no"))
def amid_writes(t, policy):
    """The logs are written to their end when nobody else turns: what they tell each other then must not be lost."""
    home = Home(t, appendonly="yes", appendfsync=policy)
    keys = [f"key:{i}" for i in range(12)]
    for _ in range(6):
        home.run(4)
        writers = [t.connect(home.server) for _ in range(8)]
        for number, writer in enumerate(writers):
            burst = [("MSET", *(x for key in keys for x in (key, f"{number}:{i}"))) for i in range(30)]
            writer.send(b"".join(encode(*words) for words in burst))
        time.sleep(t.rng.random() * 0.01)
        home.server.stop()
        for writer in writers:
            writer.close()
        values = home.run(4).cmd("MGET", *keys).value
        t.equal(len({item.value for item in values}), 1)


def anything(rng):
    """Some commands of one connection: of all that crosses shards, waits, or is told to others."""

    def key():
        return f"k{rng.randrange(30)}"

    def queue():
        return f"q{rng.randrange(6)}"

    def channel():
        return f"c{rng.randrange(4)}"

    return rng.choice(
        (
            lambda: [("MSET", *(x for _ in range(6) for x in (key(), "v")))],
            lambda: [("MULTI",), *(("INCR", "n" + key()) for _ in range(4)), ("EXEC",)],
            lambda: [("WATCH", key()), ("MULTI",), ("SET", key(), 1), ("GET", key()), ("EXEC",)],
            lambda: [("EVAL", "redis.call('incr', 'n' .. KEYS[1]) return redis.call('get', KEYS[1])", 1, key())],
            lambda: [("EVAL", "return redis.call('publish', KEYS[1], 'm')", 1, channel())],
            lambda: [("PUBLISH", channel(), "m" * rng.randrange(200))],
            lambda: [("SUBSCRIBE", channel())],
            lambda: [("HELLO", 3), ("CLIENT", "TRACKING", "ON", "BCAST")],
            lambda: [("MONITOR",)],
            lambda: [("LPUSH", queue(), "a", "b")],
            lambda: [("BLPOP", queue(), queue(), 0.05)],
            lambda: [("BLMOVE", queue(), queue(), "LEFT", "RIGHT", 0.05)],
            lambda: [("GET", key())] * 20,
            lambda: [("RENAME", key(), key())],
            lambda: [("SUNIONSTORE", "s1", "s2", "s3")],
            lambda: [("FLUSHALL",)],
            lambda: [("CLIENT", "LIST")],
            lambda: [("CLIENT", "KILL", "TYPE", "pubsub")],
            lambda: [("FUNCTION", "LOAD", "REPLACE", "#!lua name=l\nredis.register_function('f', function() end)")],
            lambda: [("BGREWRITEAOF",)],
            lambda: [("BGSAVE",)],
        )
    )()


@test("a stop amid everything leaves nothing behind", policy=("", "always", "everysec", "no"), io=("uring", "poll"))
def amid_everything(t, policy, io):
    log = {"appendonly": "yes", "appendfsync": policy} if policy else {}
    for _ in range(max(2, round(8 * SCALE))):
        home = Home(t, **log)
        home.run(t.rng.choice((1, 2, 3, 4)), io=io, notify_keyspace_events=t.rng.choice(("", "KEA")))
        clients = [t.connect(home.server) for _ in range(12)]
        for client in clients:
            client.sock.setblocking(False)
        end = time.monotonic() + t.rng.choice((0, 0.05, 0.3)) * PATIENCE
        while True:
            for client in clients:
                burst = [words for _ in range(t.rng.choice((1, 5, 30))) for words in anything(t.rng)]
                try:
                    client.sock.send(b"".join(encode(*words) for words in burst))
                    client.sock.recv(1 << 18)
                except OSError:
                    pass  # it is full, it waits, or it was killed
            if time.monotonic() >= end:
                break
        home.server.stop()
        for client in clients:
            client.close()


@test("a stop amid changes of the address ends", threads=(1, 4), points=("", "3600 1"))
def amid_moves(t, threads, points):
    """What changes it waits for the router, and what saves for the settings."""
    for _ in range(4):
        server = t.own_gyre(threads=threads, save=points, env={"GYRE_JITTER": "20"})
        movers = [t.connect(server) for _ in range(2)]
        ports = [server.port, free_port(), free_port()]
        for conn in movers:
            conn.send(b"".join(encode("CONFIG", "SET", "port", t.rng.choice(ports)) for _ in range(2000)))
        time.sleep(t.rng.random() * 0.1)
        server.stop()


def gyre_only():
    return "only Gyre has it" if STANDIN else None


@test("who comes while a stop waits for a snapshot is served, and may say SHUTDOWN NOSAVE", threads=(1, 4), needs=gyre_only)
def comes_late(t, threads):
    disk = Disk(t)
    server = disk.gyre(threads=threads, save="3600 1")
    t.connect(server).cmd("SET", "a", 1)
    disk.delay_syncs(round(1_500_000 * PATIENCE))
    server.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    late = t.connect(server)
    t.equal(late.cmd("GET", "a").value, b"1")
    t.check(late.cmd("INFO").text().find(b"rdb_bgsave_in_progress:1") > 0, "it does not wait for one")
    late.write("SHUTDOWN", "NOSAVE")
    t.equal(server.wait_exit(), 0)


@test("a stop keeps to no snapshot-rate-limit, nor does what it waits for", threads=(1, 4), job=("", "BGSAVE", "BGREWRITEAOF"), needs=gyre_only)
def unlimited(t, threads, job):
    home = Home(t, save="3600 1", snapshot_rate_limit=100_000)
    conn = home.run(threads, **({"appendonly": "yes"} if job == "BGREWRITEAOF" else {}))
    conn.pipeline([("DEBUG", "POPULATE", 20000, "key", 100), ("SET", "a", 1)])
    if job:
        conn.cmd(job)
        time.sleep(0.2)
    home.server.send_signal(signal.SIGTERM)
    t.equal(home.server.wait_exit(5), 0)
    t.equal(home.run(threads).cmd("GET", "a").value, b"1")


REFUSED = R("-", b"ERR Errors trying to SHUTDOWN. Check logs.")


def unsaveable(t, threads, points="3600 1"):
    """Its server refuses to stop."""
    home = Home(t, save=points)
    t.equal(home.run(threads, env={"GYRE_JITTER": "20"}).cmd("SET", "a", 1), OK)
    home.path("dump.rdb").mkdir()
    return home


@test("who asks for a stop while one is decided is told what is decided then, and no flag is kept", threads=(1, 4), points=("", "3600 1"))
def asked_again(t, threads, points):
    home = unsaveable(t, threads, points)
    for _ in range(20):
        askers = [t.connect(home.server) for _ in range(6)]
        for asker in askers:
            asker.write("SHUTDOWN", "SAVE")
            time.sleep(t.rng.choice((0, 0.001, 0.005)))
        for asker in askers:
            t.equal(asker.read(), REFUSED)
            asker.close()
        t.equal(t.connect(home.server).cmd("INCR", "a").kind, ":")
    home.path("dump.rdb").rmdir()
    home.server.stop()
    t.equal(home.path("dump.rdb").exists(), bool(points))  # no earlier SAVE counts


@test("many ask for stops that are refused, from many connections: each is answered", threads=(1, 4))
def storm(t, threads):
    home = unsaveable(t, threads)
    askers = [t.connect(home.server) for _ in range(8)]
    for asker in askers:
        asker.send(encode("SHUTDOWN") * 10)
    for asker in askers:
        t.equal([asker.read() for _ in range(10)], [REFUSED] * 10)
    home.path("dump.rdb").rmdir()
    home.server.stop()


@test("what is acknowledged while a stop saves is saved, or the server goes on", threads=(1, 4), needs=gyre_only)
def writes_amid_save(t, threads):
    disk = Disk(t)
    options = {"threads": threads, "save": "3600 1"}
    server = disk.gyre(**options)
    t.connect(server).cmd("DEBUG", "POPULATE", 5000, "key", 100)
    writers = [t.connect(server) for _ in range(4)]
    disk.delay_syncs(300_000)
    disk.fail("rename", 1, errno.ENOSPC)  # of a snapshot after the first
    acknowledged = 0
    for number in range(10**9):
        if number == 20:
            server.send_signal(signal.SIGTERM)
        try:
            writers[number % 4].write("RPUSH", f"list:{number % 7}", number)
            writers[number % 4].read()
            acknowledged += 1
        except (Failure, OSError):
            break
    t.equal(server.wait_exit(), 0)
    disk.heal()
    disk.delay_syncs(0)
    conn = t.connect(disk.gyre(**options))
    lengths = conn.pipeline([("LLEN", f"list:{i}") for i in range(7)])
    t.check(sum(reply.value for reply in lengths) >= acknowledged, f"{acknowledged} were acknowledged: {lengths}")


@test("while a stop saves, writes are held until it is refused, whatever CLIENT PAUSE does; reads are not", threads=(1, 4), needs=gyre_only)
def held(t, threads):
    disk = Disk(t)
    server = disk.gyre(threads=threads, save="3600 1")
    conn, script, exec_, blocked = (t.connect(server) for _ in range(4))
    conn.pipeline([("SET", "a", 1), ("SET", "soon", 1, "PX", 300), ("CLIENT", "PAUSE", 10000, "WRITE")])
    blocked.write("BLPOP", "list", 0)
    os.mkdir(os.path.join(disk.root, "dump.rdb"))
    disk.delay_syncs(round(1_500_000 * PATIENCE))
    server.send_signal(signal.SIGTERM)
    time.sleep(0.4 * PATIENCE)
    script.write("EVAL", "return redis.call('INCR', KEYS[1])", 1, "b")
    exec_.send(encode("MULTI") + encode("GET", "a") + encode("EVAL", "return redis.call('INCR', 'c')", 0) + encode("EXEC"))
    t.equal([exec_.read().value for _ in range(2)], [b"OK", b"QUEUED"])
    t.equal(conn.cmd("CLIENT", "UNPAUSE"), OK)
    t.equal(conn.cmd("GET", "a").value, b"1")
    t.equal(conn.cmd("GET", "soon").value, None)
    t.equal(conn.cmd("DBSIZE").value, 2)  # nothing expires
    conn.write("RPUSH", "list", "x")
    for waiting in (conn, script, exec_):
        try:
            while waiting.read(0.2).value == b"QUEUED":
                pass
            raise Failure("held, yet answered")
        except ReadTimeout:
            pass
    t.check(b"Errors trying to SHUTDOWN" not in server.log(), "the test is too slow")
    t.equal([conn.read().value, script.read().value], [1, 1])
    while (reply := exec_.read()).value == b"QUEUED":
        pass
    t.equal([item.value for item in reply.value], [b"1", 1])
    t.equal(blocked.read().value[1].value, b"x")
    t.check(b"Errors trying to SHUTDOWN" in server.log(), server.log_tail())
    t.wait_for(lambda: conn.cmd("DBSIZE").value == 3, "expiry goes on")
    os.rmdir(os.path.join(disk.root, "dump.rdb"))
    disk.delay_syncs(0)


NONE_TO_ABORT = R("-", b"ERR No shutdown in progress.")


@test("SHUTDOWN ABORT while a stop saves: who asked is told, writes go on", threads=(1, 4), needs=gyre_only)
def aborted_save(t, threads):
    disk = Disk(t)
    server = disk.gyre(threads=threads, save="3600 1")
    conn, asker, other, writer = (t.connect(server) for _ in range(4))
    t.equal([conn.cmd("SHUTDOWN", "ABORT"), conn.cmd("SET", "a", 1)], [NONE_TO_ABORT, OK])
    disk.delay_syncs(round(1_500_000 * PATIENCE))
    for _ in range(2):
        asker.send(encode("SHUTDOWN") + encode("INCR", "b"))
        time.sleep(0.2 * PATIENCE)
        other.write("SHUTDOWN", "SAVE")  # would be the next
        writer.write("INCR", "a")
        time.sleep(0.05)
        t.equal(conn.cmd("SHUTDOWN", "ABORT"), OK)
        t.equal([asker.read(0.5), other.read(0.5)], [REFUSED] * 2)
        t.equal([asker.read(0.5).kind, writer.read(0.5).kind], [":", ":"])
        t.equal(conn.cmd("SHUTDOWN", "ABORT"), NONE_TO_ABORT)
        t.check(b"SHUTDOWN ABORT" in server.log(), server.log_tail())
    disk.delay_syncs(0)
    server.stop()
    conn = t.connect(disk.gyre(threads=threads))
    t.equal([reply.value for reply in conn.cmd("MGET", "a", "b").value], [b"3", b"2"])


@test("SHUTDOWN ABORT while a stop waits for a script that has written, which goes on", threads=(1, 4))
def aborted_script(t, threads):
    server = t.own_gyre(threads=threads, save="3600 1", busy_reply_threshold=round(100 * PATIENCE))
    conn, asker = t.connect(server), t.connect(server)
    loop = "redis.call('SET', KEYS[1], 1) local e = ARGV[1] * 1e6 + redis.call('TIME')[1] * 1e6 + redis.call('TIME')[2] "
    loop += "while redis.call('TIME')[1] * 1e6 + redis.call('TIME')[2] < e do end return 5"
    conn.write("EVAL", loop, 1, "a", PATIENCE)
    asker.write("SHUTDOWN")
    time.sleep(0.3 * PATIENCE)
    server.send_signal(signal.SIGTERM)
    time.sleep(0.1 * PATIENCE)
    t.equal(t.connect(server).cmd("SHUTDOWN", "ABORT"), OK)
    t.equal(conn.read(), R(":", 5))
    t.check(asker.read().is_error(), "it goes on")
    t.equal(conn.cmd("INCR", "a"), R(":", 2))
    server.stop()


@test("requests to stop and SHUTDOWN ABORT from many connections: each is answered", threads=(1, 4))
def abort_storm(t, threads):
    home = unsaveable(t, threads)
    conns = [t.connect(home.server) for _ in range(8)]
    for conn in conns:
        asks = [t.rng.choice((("SHUTDOWN",), ("SHUTDOWN", "SAVE"), ("SHUTDOWN", "ABORT"), ("INCR", "a"))) for _ in range(50)]
        conn.send(b"".join(encode(*words) for words in asks))
    for conn in conns:
        for _ in range(50):
            reply = conn.read()
            t.check(reply in (REFUSED, NONE_TO_ABORT, OK) or reply.kind == ":", f"{reply}")
    home.path("dump.rdb").rmdir()
    home.server.stop()


@test("SHUTDOWN FORCE ends with status 0 though the data cannot be saved, as Redis does", how=((), ("SAVE",)))
def forced(t, how):
    for make in (t.own_gyre, lambda **options: t.own(Server.redis(**options))):
        home = Home(t, save="" if how else "3600 1")
        server = make(**home.options)
        conn = t.connect(server)
        conn.cmd("SET", "a", 1)
        home.path("dump.rdb").mkdir()
        conn.write("SHUTDOWN", *how, "FORCE")
        t.equal(conn.drain(), b"")
        t.equal(server.wait_exit(), 0)


@test(
    "what a signal does is told by shutdown-on-sigterm and shutdown-on-sigint",
    case=(("default", "", False, True), ("default", "3600 1", True, False), ("save", "", True, False),
          ("nosave", "3600 1", False, True), ("nosave now", "3600 1", False, True), ("now save", "", True, False),
          ("force", "3600 1", True, True), ("force save", "", True, True), ("force nosave", "3600 1", False, True)),
    name=("sigterm", "sigint"),
)
def told_by_settings(t, case, name):
    """case: the setting, save points, whether it saves then, and whether it stops when that cannot be."""
    flags, points, saves, stops = case
    number = getattr(signal, name.upper())
    for make in (t.own_gyre, lambda **options: t.own(Server.redis(**options))):
        for fails in (False, True):
            home = Home(t, save=points)
            server = make(**home.options)
            conn = t.connect(server)
            t.equal([conn.cmd("CONFIG", "SET", f"shutdown-on-{name}", flags), conn.cmd("SET", "a", 1)], [OK, OK])
            if fails:
                home.path("dump.rdb").mkdir()
            server.send_signal(number)
            if fails and not stops:
                t.wait_for(lambda: b"Errors trying to shut" in server.log().replace(b"SHUTDOWN", b"shut"), "a refusal")
                t.equal([conn.cmd("PING").kind, conn.cmd("CONFIG", "SET", "shutdown-on-sigterm", "nosave")], ["+", OK])
                server.send_signal(signal.SIGTERM)
            t.equal(server.wait_exit(), 0)
            if not fails:
                t.equal(home.path("dump.rdb").exists(), saves)


@test("SIGINT once more while a server stops ends it at once, with status 1", threads=(1, 4), first=("SIGINT", "SIGTERM"), needs=gyre_only)
def insisted(t, threads, first):
    # ThreadSanitizer's runtime keeps the signal from who waits for the logs.
    for kind in ("script", "snapshot") + (("log",) if "tsan" not in GYRE_SERVER.lower() else ()):
        disk = Disk(t)
        options = {"appendonly": "yes"} if kind == "log" else {"save": "3600 1"}
        server = disk.gyre(threads=threads, busy_reply_threshold=round(20 * PATIENCE), **options)
        conn = t.connect(server)
        conn.cmd("SET", "a", 1)
        if kind == "script":
            conn.write("EVAL", "redis.call('SET', KEYS[1], 1) while true do end", 1, "a")
            time.sleep(0.2 * PATIENCE)
        else:
            disk.delay_syncs(round(8_000_000 * PATIENCE))
            conn.write("INCR", "a")
        server.send_signal(getattr(signal, first))
        time.sleep(0.4 * PATIENCE)
        t.check(server.alive(), f"{kind}: it stopped too soon")
        server.send_signal(signal.SIGINT)
        t.equal(server.wait_exit(4), 1, kind)
        t.check(not list(Path(disk.root).glob("temp-*")), "a temporary file")
        server.ended = True


@test("one SIGINT after SHUTDOWN, and SIGTERM any number of times, end nothing at once", needs=gyre_only)
def not_insisted(t):
    for signals in (("SIGINT",), ("SIGTERM",) * 3, ("SIGINT", "SIGTERM")):
        disk = Disk(t)
        server = disk.gyre(threads=2, save="3600 1")
        conn = t.connect(server)
        conn.cmd("SET", "a", 1)
        disk.delay_syncs(round(600_000 * PATIENCE))
        conn.write("SHUTDOWN")
        for name in signals:
            time.sleep(0.1)
            server.send_signal(getattr(signal, name))
        t.equal(server.wait_exit(), 0)


def connected(where):
    try:
        return Conn(where)
    except OSError:
        return None


@test("a stop amid loading leaves no pid file and no socket, as Redis's", threads=(1, 4), how=("SIGTERM", "SIGINT", "SHUTDOWN", "SHUTDOWN SAVE"))
def amid_loading(t, threads, how):
    home = Home(t, save="3600 1")
    home.run(threads).cmd("DEBUG", "POPULATE", round(400_000 * min(1, SCALE)))
    home.server.stop()
    t.wait_for(lambda: stops_amid_loading(t, home, threads, how), "a stop before all is loaded")


def stops_amid_loading(t, home, threads, how):
    """False: it was too late."""
    dump = home.path("dump.rdb").read_bytes()
    files = home.path("pid"), home.path("sock")
    server = t.own_gyre(threads=threads, wait=False, pidfile=files[0], unixsocket=files[1], **home.options)
    conn = t.wait_for(lambda: connected(str(files[1])), "a socket", step=0.001)
    is_loading = conn.cmd("GET", "key:1").value[:7] == b"LOADING"
    t.check(all(file.exists() for file in files), "neither pid file nor socket")
    if how.startswith("SIG"):
        server.send_signal(getattr(signal, how))
    else:
        conn.write(*how.split())
    t.equal(server.wait_exit(), 0)
    conn.close()
    t.equal([file.exists() for file in files], [False, False])
    if b"Told to stop while loading" not in server.log():
        return False
    t.check(is_loading, "it was told to wait")
    t.check(dump == home.path("dump.rdb").read_bytes(), "another dump")
    return True


@test("a stop at the end of loading loses nothing that was acknowledged", threads=(1, 4))
def end_of_loading(t, threads):
    home = Home(t, save="3600 1")
    home.run(threads).cmd("DEBUG", "POPULATE", round(60_000 * min(1, SCALE)))
    home.server.stop()
    began = time.monotonic()
    home.run(threads)
    taken = time.monotonic() - began
    home.server.stop()
    for number in range(6):
        server = home.server = t.own_gyre(threads=threads, wait=False, env={"GYRE_JITTER": "20"}, **home.options)
        end, acknowledged, conn = time.monotonic() + taken * (0.6 + t.rng.random()), 0, None
        while time.monotonic() < end:
            try:
                conn = conn or Conn(server.address)
                acknowledged += conn.cmd("SET", f"{number}:{acknowledged}", 1) == OK
            except (Failure, OSError):
                conn = None
        server.send_signal(signal.SIGTERM)
        t.check(server.wait_exit() in (0, -signal.SIGTERM), "status")  # or it had not even begun
        keys = [f"{number}:{i}" for i in range(acknowledged)]
        t.equal(home.run(threads).cmd("EXISTS", "x", *keys).value, acknowledged)
        home.server.stop()


@test("a SHUTDOWN that is refused is not answered under CLIENT REPLY SKIP or OFF")
def unanswered(t):
    for make in (t.own_gyre, lambda **options: t.own(Server.redis(**options))):
        home = Home(t, save="3600 1")
        server = make(**home.options)
        conn = t.connect(server)
        conn.cmd("SET", "a", 1)
        home.path("dump.rdb").mkdir()
        conn.send(encode("CLIENT", "REPLY", "SKIP") + encode("SHUTDOWN") + encode("INCR", "a"))
        t.equal(conn.read(), R(":", 2))
        conn.send(encode("SHUTDOWN") + encode("CLIENT", "REPLY", "OFF") + encode("SHUTDOWN"))
        conn.send(encode("CLIENT", "REPLY", "ON") + encode("INCR", "a"))
        t.equal([conn.read() for _ in range(3)], [REFUSED, OK, R(":", 3)])
        t.check(b"errorstat_ERR:count=3" in conn.cmd("INFO", "errorstats").text(), "each counts")
        home.path("dump.rdb").rmdir()
        server.stop()


@test("who says SHUTDOWN and then nothing more is told if it is refused", threads=(1, 4))
def told_after_eof(t, threads):
    for make in (lambda **options: t.own_gyre(threads=threads, **options), lambda **options: t.own(Server.redis(**options))):
        home = Home(t, save="3600 1")
        server = make(**home.options)
        conn = t.connect(server)
        t.equal(conn.cmd("SET", "a", 1), OK)
        home.path("dump.rdb").mkdir()
        conn.send(encode("SHUTDOWN") + encode("GET", "a"))
        conn.sock.shutdown(socket.SHUT_WR)
        t.equal([conn.read(), conn.read()], [REFUSED, R("$", b"1")])
        t.check(conn.is_closed(), "it stays open")
        home.path("dump.rdb").rmdir()
        server.stop()


@test("who writes while a stop saves, and closes, has written when it is refused", threads=(1, 4), needs=gyre_only)
def closed_while_held(t, threads):
    """As with Redis, which reads it then."""
    disk = Disk(t)
    server = disk.gyre(threads=threads, save="3600 1")
    conn, writer = t.connect(server), t.connect(server)
    t.equal(conn.cmd("SET", "a", 1), OK)
    os.mkdir(os.path.join(disk.root, "dump.rdb"))
    disk.delay_syncs(round(1_000_000 * PATIENCE))
    server.send_signal(signal.SIGTERM)
    time.sleep(0.3 * PATIENCE)
    writer.send(encode("INCR", "a"))
    writer.close()
    time.sleep(0.1)
    t.check(b"Errors trying to SHUTDOWN" not in server.log(), "the test is too slow")
    t.wait_for(lambda: b"Errors trying to SHUTDOWN" in server.log(), "a refusal")
    t.wait_for(lambda: conn.cmd("GET", "a").value == b"2", "what was written")
    t.wait_for(lambda: len(conn.cmd("CLIENT", "LIST").text().splitlines()) == 1, "its end")
    disk.delay_syncs(0)
    os.rmdir(os.path.join(disk.root, "dump.rdb"))


@test("who waits for the end of a stop, or of CLIENT PAUSE, is not idle", threads=(1, 4))
def not_idle(t, threads):
    for make in (lambda **options: t.own_gyre(threads=threads, **options), lambda **options: t.own(Server.redis(**options))):
        conn = t.connect(make(timeout=1))
        conn.cmd("CLIENT", "PAUSE", 3500, "WRITE")
        t.equal(conn.cmd("SET", "a", 1), OK)
    if STANDIN:
        return
    disk = Disk(t)
    server = disk.gyre(threads=threads, save="3600 1", timeout=1)
    asker, writer = t.connect(server), t.connect(server)
    t.equal(asker.cmd("SET", "a", 1), OK)
    os.mkdir(os.path.join(disk.root, "dump.rdb"))
    disk.delay_syncs(3_500_000)
    asker.write("SHUTDOWN")
    time.sleep(0.3)
    writer.write("INCR", "a")
    t.equal([asker.read(), writer.read()], [REFUSED, R(":", 2)])
    disk.delay_syncs(0)
    os.rmdir(os.path.join(disk.root, "dump.rdb"))


@test("a SHUTDOWN or a SAVE that fails has no writes refused, as a BGSAVE that fails has", threads=(1, 4))
def no_trouble(t, threads):
    for make in (lambda **options: t.own_gyre(threads=threads, **options), lambda **options: t.own(Server.redis(**options))):
        home = Home(t, save="3600 1")
        server = make(**home.options)
        conn = t.connect(server)
        t.equal(conn.cmd("SET", "a", 1), OK)
        home.path("dump.rdb").mkdir()
        for words in (("SHUTDOWN",), ("SHUTDOWN", "SAVE"), ("SAVE",)):
            t.check(conn.cmd(*words).is_error(), "it succeeded")
            t.equal([conn.cmd("INCR", "a").kind, field(conn, "rdb_last_bgsave_status")], [":", "ok"])
        conn.cmd("BGSAVE")
        t.wait_for(lambda: field(conn, "rdb_last_bgsave_status") == "err", "a failure")
        for words in (("SHUTDOWN",), ("SAVE",), ("INCR", "a")):
            t.check(conn.cmd(*words).is_error(), "it succeeded")
        t.equal(field(conn, "rdb_last_bgsave_status"), "err")
        home.path("dump.rdb").rmdir()
        t.equal([conn.cmd("SAVE"), field(conn, "rdb_last_bgsave_status"), conn.cmd("INCR", "a").kind], [OK, "ok", ":"])
        server.stop()


@test("a stop waits until the log that was turned on is there", threads=(1, 4), delay=(0, 0.3), how=("SHUTDOWN", "SIGTERM"), needs=gyre_only)
def being_turned_on(t, threads, delay, how):
    """Redis refuses to stop meanwhile."""
    disk = Disk(t)
    server = disk.gyre(threads=threads)
    conn = t.connect(server)
    t.equal([conn.cmd("MSET", "a", 1, "b", 2), conn.cmd("CONFIG", "SET", "snapshot-rate-limit", 100_000)], [OK] * 2)
    conn.cmd("DEBUG", "POPULATE", 20000, "key", 100)
    t.equal([conn.cmd("CONFIG", "SET", "appendonly", "yes"), conn.cmd("SET", "c", 3)], [OK] * 2)
    time.sleep(delay)
    if how == "SIGTERM":
        server.send_signal(signal.SIGTERM)
    else:
        conn.write("SHUTDOWN")
    t.equal(server.wait_exit(), 0)
    conn = t.connect(disk.gyre(threads=threads, appendonly="yes"))
    t.equal([conn.cmd("DBSIZE").value, conn.cmd("GET", "c").value], [20003, b"3"])


@test("a stop is refused if the log that was turned on cannot be made", threads=(1, 4), needs=gyre_only)
def cannot_be_turned_on(t, threads):
    for end in (("SHUTDOWN", "FORCE"), ("SHUTDOWN", "NOSAVE"), ("CONFIG", "SET", "appendonly", "no")):
        home = Home(t)
        conn = home.run(threads)
        home.path("appendonlydir").touch()
        t.equal([conn.cmd("CONFIG", "SET", "appendonly", "yes"), conn.cmd("SET", "a", 1)], [OK] * 2)
        for _ in range(2):
            t.equal([conn.cmd("SHUTDOWN"), conn.cmd("INCR", "a").kind], [REFUSED, ":"])
        conn.write(*end)
        if end[0] == "CONFIG":
            t.equal(conn.read(), OK)
            conn.write("SHUTDOWN")
        t.equal(conn.drain(), b"")
        t.equal(home.server.wait_exit(), 0)


@test("a server that finds its port taken leaves the pid file and the socket of the one that has it", threads=(1, 4))
def taken(t, threads):
    for make, run in ((t.own_gyre, Server.gyre), (lambda threads, **options: t.own(Server.redis(**options)), lambda threads, **options: Server.redis(**options))):
        home = Home(t)
        files = {"pidfile": home.path("pid"), "unixsocket": home.path("sock")}
        server = make(threads=threads, **files, **home.options)
        t.wait_for(lambda: files["pidfile"].exists() and files["pidfile"].read_text().strip(), "a pid file")
        pid = files["pidfile"].read_text()
        other = run(threads=threads, port=server.port, wait=False, **files, **home.options)
        t.equal(other.wait_exit(), 1)
        other.kill()
        t.equal(files["pidfile"].read_text(), pid)
        t.equal(Conn(str(files["unixsocket"])).cmd("PING"), R("+", b"PONG"))
        server.stop()
        t.equal([file.exists() for file in files.values()], [False, False])


@test(
    "a signal, then SIGINT, while the logs are written to their end after SHUTDOWN end the server at once",
    threads=(1, 4),
    first=("SIGINT", "SIGTERM"),
    needs=lambda: gyre_only() or ("its runtime keeps the signal" if "tsan" in GYRE_SERVER.lower() else None),
)
def insisted_late(t, threads, first):
    disk = Disk(t)
    server = disk.gyre(threads=threads, appendonly="yes")
    conn = t.connect(server)
    conn.cmd("SET", "a", 1)
    disk.delay_syncs(round(8_000_000 * PATIENCE))
    conn.write("INCR", "a")
    time.sleep(0.1)
    t.connect(server).write("SHUTDOWN")
    time.sleep(0.4 * PATIENCE)
    server.send_signal(getattr(signal, first))
    time.sleep(0.2 * PATIENCE)
    t.check(server.alive(), "one is enough")
    server.send_signal(signal.SIGINT)
    t.equal(server.wait_exit(4), 1)
    server.ended = True


@test("a stop amid loading cannot be called off: who tries is told so", threads=(1, 4))
def not_called_off(t, threads):
    home = Home(t, save="3600 1")
    home.run(threads).cmd("DEBUG", "POPULATE", round(400_000 * min(1, SCALE)))
    home.server.stop()
    for _ in range(3):
        t.wait_for(lambda: is_not_called_off(t, home, threads), "a stop before all is loaded")


def is_not_called_off(t, home, threads):
    """False: all had just been loaded."""
    server = t.own_gyre(threads=threads, wait=False, unixsocket=home.path("sock"), **home.options)
    asker, other = (t.wait_for(lambda: connected(str(home.path("sock"))), "a socket", step=0.001) for _ in range(2))
    for conn in asker, other:
        conn.cmd("GET", "key:1")
    asker.write("SHUTDOWN")
    other.write("SHUTDOWN", "ABORT")
    try:
        is_called_off = other.read() == OK
    except Closed:
        is_called_off = False
    if is_called_off:
        t.equal(asker.read(), REFUSED)
        server.stop()
    else:
        t.equal(server.wait_exit(), 0)
    return b"Told to stop while loading" in server.log()
