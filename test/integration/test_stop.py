# SPDX-License-Identifier: BSD-3-Clause
"""Stops while everything is on its way: the server ends in order, and (what sanitizers see) nothing is left behind."""

import signal
import time

from harness import OK, PATIENCE, SCALE, R, encode, free_port
from runner import test
from test_persistence import Home


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


@test("who comes while a stop waits for a snapshot is served, and may say SHUTDOWN NOSAVE", threads=(1, 4))
def comes_late(t, threads):
    server = t.own_gyre(threads=threads, save="3600 1", snapshot_rate_limit=20000)
    t.connect(server).pipeline([("DEBUG", "POPULATE", 20000, "key", 100), ("SET", "a", 1)])
    server.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    late = t.connect(server)
    t.equal(late.cmd("GET", "a").value, b"1")
    late.write("SHUTDOWN", "NOSAVE")
    t.equal(server.wait_exit(), 0)


REFUSED = R("-", b"ERR Errors trying to SHUTDOWN. Check logs.")


@test("who asks for a stop while one is decided is told what is decided then, and no flag is kept", threads=(1, 4), points=("", "3600 1"))
def asked_again(t, threads, points):
    home = Home(t, save=points, stop_writes_on_bgsave_error="no")
    conn = home.run(threads, env={"GYRE_JITTER": "20"})
    t.equal(conn.cmd("SET", "a", 1), OK)
    home.path("dump.rdb").mkdir()
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
    home = Home(t, save="3600 1", stop_writes_on_bgsave_error="no")
    t.equal(home.run(threads, env={"GYRE_JITTER": "20"}).cmd("SET", "a", 1), OK)
    home.path("dump.rdb").mkdir()
    askers = [t.connect(home.server) for _ in range(8)]
    for asker in askers:
        asker.send(encode("SHUTDOWN") * 10)
    for asker in askers:
        t.equal([asker.read() for _ in range(10)], [REFUSED] * 10)
    home.path("dump.rdb").rmdir()
    home.server.stop()
