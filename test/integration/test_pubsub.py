# SPDX-License-Identifier: BSD-3-Clause
"""Publish and subscribe, and keyspace notifications: what needs several connections at once, or many.

Replies one by one are compared with redis-server's in streams/pubsub.txt. Here: nothing lost and nothing
late under load, counts that are exact at once, slow subscribers, and every keyspace event of the data
types' own streams.
"""

import contextlib
import socket
import threading
import time

from differential import STANDIN, load_stream
from harness import PATIENCE, OK, PONG, Closed, Failure, R, bulk, encode, info, integer, show, to_bytes
from runner import test

BOTH = dict(threads=(1, 4), io=("uring", "poll"))
WIRES = dict(threads=(1, 4), resp=(2, 3))


def gyre_only():
    return "what redis-server 7.0 does not have" if STANDIN else None


def push(resp, *parts):
    """The push that consists of these."""
    values = [
        p if isinstance(p, R) else integer(p) if isinstance(p, int) else bulk(p) for p in parts
    ]
    return R(">" if resp == 3 else "*", values)


def reads(t, conn, *pushes):
    for one in pushes:
        t.equal(conn.read(), push(conn.resp, *one))


def silent(t, conn):
    """Nothing has been sent to this connection but what was read: the next thing to come is a PING's reply."""
    conn.write("PING", "silence")
    reply = conn.read()
    want = (bulk("silence"), R("*", [bulk("pong"), bulk("silence")]))
    t.check(reply in want, f"unexpected: {show(reply)}")


def subscribe(t, conn, *channels, word="SUBSCRIBE", count=0):
    """Subscribes and reads the acknowledgements; `count`: the subscriptions before."""
    conn.write(word, *channels)
    for i, channel in enumerate(channels):
        reads(t, conn, (word.lower(), channel, count + i + 1))


def numsub(conn, *channels):
    return [r.value for r in conn.cmd("PUBSUB", "NUMSUB", *channels).value[1::2]]


def spread(t, server, count, resp=2):
    """Connections that are at home on all shards: each speaks of another key first."""
    conns = [t.connect(server, resp=resp) for _ in range(count)]
    for i, conn in enumerate(conns):
        conn.cmd("GET", f"home:{i}")
    return conns


# ---- subscribing


def ask_behind(sleeper, conns, word, channel):
    """Asks for a channel, and goes on before anybody has an answer: a shard is busy with something else."""
    sleeper.write("DEBUG", "SLEEP", 0.1)
    time.sleep(0.02)
    for conn in conns:
        conn.write(word, channel)
    time.sleep(0.02)


@test("who asked for a channel before something was published there has it, acknowledged or not", **BOTH)
def asked_before(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    sleepers, conns = spread(t, server, 8), spread(t, server, 8)
    publisher = t.connect(server)
    for i, sleeper in enumerate(sleepers):
        channel = f"channel {i}"
        # Two come in meanwhile, with this as their first word. (One thread is as redis-server: those are late.)
        fresh = [t.connect(server) for _ in range(2 if threads > 1 else 0)]
        ask_behind(sleeper, conns + fresh, "SUBSCRIBE", channel)
        if i % 2:
            replies = publisher.pipeline([("MULTI",), ("PUBLISH", channel, "x"), ("EXEC",)])
            t.equal(replies[2], R("*", [integer(len(conns + fresh))]))
        else:
            t.equal(publisher.cmd("PUBLISH", channel, "x"), integer(len(conns + fresh)))
        for conn in conns:
            reads(t, conn, ("subscribe", channel, i + 1), ("message", channel, "x"))
        for conn in fresh:
            reads(t, conn, ("subscribe", channel, 1), ("message", channel, "x"))
            conn.close()
        t.equal(sleeper.read(), OK)
    shard_channels = spread(t, server, 8)
    ask_behind(sleepers[0], shard_channels, "SSUBSCRIBE", "shard")
    t.equal(publisher.cmd("SPUBLISH", "shard", "x"), integer(len(shard_channels)))


@test("what waits for others before it is published is published even if its sender has left", **BOTH)
def left_before(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    sleepers, conn = spread(t, server, 4), t.connect(server)
    subscribe(t, conn, "news")
    for sleeper in sleepers:
        sleeper.write("DEBUG", "SLEEP", 0.1)
        time.sleep(0.02)
        publisher = t.connect(server)
        publisher.write("PUBLISH", "news", "x")
        publisher.sock.shutdown(socket.SHUT_WR)
        reads(t, conn, ("message", "news", "x"))
        t.equal(publisher.read(), integer(1))
        publisher.close()


class Talker(threading.Thread):
    """Publishes one by one; `count` is what has been answered."""

    def __init__(self, conn):
        super().__init__(daemon=True)
        self.conn, self.count, self.is_over = conn, 0, False

    def run(self):
        with contextlib.suppress(Failure, OSError):  # the test sees that nothing is counted any more
            while not self.is_over:
                self.conn.cmd("PUBLISH", "nobody", "x")
                self.count += 1


@test("who publishes while others come is not left waiting when they have come", threads=(4,), io=("uring", "poll"))
def nobody_left(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    publishers = [Talker(conn) for conn in spread(t, server, 6)]
    for publisher in publishers:
        publisher.start()
    for _ in range(200):
        for _ in range(3):
            with server.connect() as conn:
                conn.cmd("PING")
        before = [p.count for p in publishers]
        t.wait_for(lambda: all(p.count > n + 1 for p, n in zip(publishers, before)), "every PUBLISH is answered", 5, step=0.001)
    for publisher in publishers:
        publisher.is_over = True
        publisher.join(5 * PATIENCE)


@test("a subscription counts at once, from every connection", **WIRES)
def counts_at_once(t, threads, resp):
    server = t.gyre(threads=threads)
    subscribers, others = spread(t, server, 8, resp), spread(t, server, 4)
    for i, conn in enumerate(subscribers):
        subscribe(t, conn, "counted")
        for other in others:
            t.equal(numsub(other, "counted"), [i + 1])
    for other in others:
        t.equal(other.cmd("PUBLISH", "counted", "x"), integer(8))
    for i, conn in enumerate(subscribers):
        reads(t, conn, *[("message", "counted", "x")] * len(others))
        conn.write("UNSUBSCRIBE", "counted")
        reads(t, conn, ("unsubscribe", "counted", 0))
        t.equal([numsub(o, "counted") for o in others], [[7 - i]] * 4)


@test("RESET and CLIENT KILL end subscriptions at once, QUIT and a lost connection soon", **WIRES)
def endings(t, threads, resp):
    server = t.gyre(threads=threads)
    control = t.connect(server)

    def ready(channel):
        conn = spread(t, server, 3, resp)[2]
        subscribe(t, conn, channel, channel + "2")
        subscribe(t, conn, channel + "*", word="PSUBSCRIBE", count=2)
        subscribe(t, conn, channel, word="SSUBSCRIBE")
        t.equal(numsub(control, channel, channel + "2"), [1, 1])
        return conn

    conn = ready("reset")
    t.equal(conn.cmd("RESET"), R("+", b"RESET"))
    t.equal(numsub(control, "reset", "reset2"), [0, 0])
    t.equal(control.cmd("PUBLISH", "reset", "x"), integer(0))
    t.equal(control.cmd("SPUBLISH", "reset", "x"), integer(0))
    t.equal(conn.cmd("PING"), PONG)
    conn = ready("kill")
    name = ":".join(map(str, conn.sock.getsockname()))
    t.equal(control.cmd("CLIENT", "KILL", "ADDR", name), integer(1))
    t.equal(control.cmd("PUBLISH", "kill", "x"), integer(0))
    t.equal(control.cmd("SPUBLISH", "kill", "x"), integer(0))
    t.check(conn.is_closed(), "killed, but not closed")
    for channel, end in (("quit", lambda c: c.cmd("QUIT")), ("close", lambda c: c.close())):
        end(ready(channel))
        t.wait_for(lambda: numsub(control, channel, channel + "2") == [0, 0], channel)
        t.equal(control.cmd("PUBLISH", channel, "x"), integer(0))
    t.wait_for(lambda: control.cmd("PUBSUB", "NUMPAT") == integer(0), "no pattern is left")


@test("what PUBLISH counted was read before RESET answers", threads=(2, 4))
def counted_before_reset(t, threads):
    server = t.gyre(threads=threads)
    counts, failures, stopping = {}, [], threading.Event()

    def publish(conn, channels):
        try:
            while not stopping.is_set():
                replies = conn.pipeline([("PUBLISH", c, "x") for c in channels * 10])
                for channel, reply in zip(channels * 10, replies):
                    counts[channel] = counts.get(channel, 0) + reply.value
        except (Failure, OSError) as failure:
            failures.append(failure)

    conns = spread(t, server, 8, 3)
    names = [f"ended{i}" for i in range(4)]
    publishing = [
        threading.Thread(target=publish, args=(conn, [f"{n}:{i}" for n in names]), daemon=True)
        for i, conn in enumerate(conns[:4])
    ]
    got = 0
    for one in publishing:
        one.start()
    end = time.monotonic() + 1.5 * t.scale
    while time.monotonic() < end or (got <= 100 and time.monotonic() < end + 20 * PATIENCE):
        for conn, name in zip(conns[4:], names):
            conn.send(encode("SUBSCRIBE", *(f"{name}:{i}" for i in range(4))))
        for conn in conns[4:]:  # one message of each, or an acknowledgement more
            for _ in range(8):
                got += conn.read().value[0].value == b"message"
        for conn in conns[4:]:
            conn.send(encode("RESET") + encode("HELLO", 3))
        for conn in conns[4:]:
            while (reply := conn.read()) != R("+", b"RESET"):
                got += reply.value[0].value == b"message"
            conn.read()
    stopping.set()
    for one in publishing:
        one.join(20 * PATIENCE)
    t.equal(failures, [])
    t.check(got > 100, f"{got} messages tell nothing")
    t.equal(sum(counts.values()), got)


@test("UNSUBSCRIBE without names ends all subscriptions of its kind", **WIRES)
def unsubscribe_all(t, threads, resp):
    server = t.gyre(threads=threads)
    conn, other = t.connect(server, resp=resp), t.connect(server)
    names = [f"all{i}" for i in range(300)]
    subscribe(t, conn, *names)
    subscribe(t, conn, "all1?", word="PSUBSCRIBE", count=300)
    conn.write("UNSUBSCRIBE")
    acks = [conn.read() for _ in names]
    t.equal({a.value[1].value.decode() for a in acks}, set(names))
    t.equal([a.value[2].value for a in acks], list(range(300, 0, -1)))
    t.equal(set(numsub(other, *names)), {0})
    t.equal(other.cmd("PUBLISH", "all10", "x"), integer(1))
    reads(t, conn, ("pmessage", "all1?", "all10", "x"))
    silent(t, conn)


@test("ten thousand channels of one connection", **WIRES)
def many_channels(t, threads, resp):
    server = t.gyre(threads=threads)
    conn, other = t.connect(server, resp=resp), t.connect(server)
    names = [f"many{i}" for i in range(10000)]
    subscribe(t, conn, *names)
    t.equal(set(numsub(other, *names)), {1})
    t.equal(len(other.cmd("PUBSUB", "CHANNELS", "many*").value), len(names))
    replies = other.pipeline([("PUBLISH", n, n) for n in names[::10]])
    t.equal(set(replies), {integer(1)})
    reads(t, conn, *[("message", n, n) for n in names[::10]])
    conn.close()
    t.wait_for(lambda: other.cmd("PUBSUB", "CHANNELS", "many*").value == [], "all are gone")


@test("a thousand subscribers get every message in order", timeout=90, **BOTH)
def thousand(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control = t.connect(server)
    conns = [t.connect(server) for _ in range(1000)]
    for conn in conns:
        conn.write("SUBSCRIBE", "crowd")
    for conn in conns:
        reads(t, conn, ("subscribe", "crowd", 1))
    for i in range(5):
        t.equal(control.cmd("PUBLISH", "crowd", i), integer(1000))
    want = [("message", "crowd", str(i)) for i in range(5)]
    for conn in conns:
        reads(t, conn, *want)
    t.equal(int(info(control, "clients").get("pubsub_clients", 1000)), 1000)


@test("a RESP2 connection is restricted from the next command of the same write on", threads=(1, 4))
def restricted_at_once(t, threads):
    server = t.gyre(threads=threads)
    for i in range(20):
        conn = t.connect(server)
        conn.send(
            encode("SET", f"r{i}", "v")
            + encode("SUBSCRIBE", "r")
            + encode("GET", f"r{i}")
            + encode("UNSUBSCRIBE", "r")
            + encode("GET", f"r{i}")
            + encode("PING")
        )
        t.equal(conn.read(), OK)
        reads(t, conn, ("subscribe", "r", 1))
        t.equal(conn.read().value[:23], b"ERR Can't execute 'get'")
        reads(t, conn, ("unsubscribe", "r", 0))
        t.equal([conn.read(), conn.read()], [bulk("v"), PONG])


@test("a RESP3 subscriber may do everything, publish to itself as well", threads=(1, 4))
def publishes_to_itself(t, threads):
    server = t.gyre(threads=threads)
    for conn in spread(t, server, 4, resp=3):
        subscribe(t, conn, "self")
        for i in range(50):
            conn.write("PUBLISH", "self", i)
            both = [conn.read(), conn.read()]
            t.check(
                integer(1) in both and push(3, "message", "self", str(i)) in both,
                f"a message to itself: {[show(r) for r in both]}",
            )
            t.equal(conn.cmd("SET", f"self{i}", i), OK)
        conn.write("UNSUBSCRIBE")
        reads(t, conn, ("unsubscribe", "self", 0))


@test("PUBLISH and PUBSUB in one pipeline see what is before them", threads=(1, 4))
def pipelined_numsub(t, threads):
    server = t.gyre(threads=threads)
    listeners = spread(t, server, 3)
    for conn in listeners:
        subscribe(t, conn, "io")
    for conn in spread(t, server, 4):
        replies = conn.pipeline(
            [
                ("SET", "k", "v"),
                ("PUBLISH", "io", "x"),
                ("PUBSUB", "NUMSUB", "io"),
                ("MGET", "k", "l", "m", "n"),
                ("PUBLISH", "io", "y"),
                ("PUBLISH", "none", "y"),
            ]
        )
        t.equal(replies[1], integer(3))
        t.equal(replies[2], R("*", [bulk("io"), integer(3)]))
        t.equal(replies[4:], [integer(3), integer(0)])
    for conn in listeners:
        reads(t, conn, *[("message", "io", m) for m in ("x", "y") * 4])


@test("a subscriber that reads back sees what was written before the message", threads=(2, 4))
def reads_back(t, threads):
    server = t.gyre(threads=threads)
    conn, reader, writer = t.connect(server), t.connect(server), t.connect(server)
    subscribe(t, conn, "told")
    for i in range(300):
        writer.send(encode("SET", f"told{i}", i) + encode("PUBLISH", "told", i))
        reads(t, conn, ("message", "told", str(i)))
        t.equal(reader.cmd("GET", f"told{i}"), bulk(i))
        writer.read(), writer.read()


# ---- under load


class Publisher(threading.Thread):
    """Publishes "number seq" to channels in turn, in pipelines, until it is stopped."""

    def __init__(self, conn, number, channels):
        super().__init__(daemon=True)
        self.conn, self.number, self.channels = conn, number, channels
        self.stopping, self.failure, self.sent = False, None, 0

    def run(self):
        try:
            while not self.stopping:
                batch = [
                    ("PUBLISH", self.channels[i % len(self.channels)], f"{self.number} {i}")
                    for i in range(self.sent, self.sent + 10)
                ]
                self.conn.pipeline(batch)
                self.sent += 10
                time.sleep(0.01)  # or those who listen, in Python too, could not keep pace
        except (Failure, OSError) as failure:
            self.failure = failure

    def end(self):
        self.stopping = True
        self.join(20 * PATIENCE)
        if self.failure:
            raise self.failure


def publishers(t, server, count, channels):
    threads = [Publisher(conn, i, channels) for i, conn in enumerate(spread(t, server, count))]
    for one in threads:
        one.start()
    return threads


def ending_all(all_publishers, failure=None):
    for one in all_publishers:
        try:
            one.end()
        except (Failure, OSError) as bad:
            failure = failure or bad
    if failure:
        raise failure


class Listener:
    """Judges what one connection reads: messages only while it is subscribed, and then every one."""

    def __init__(self, conn):
        self.conn, self.expected = conn, []
        self.channels, self.patterns, self.last, self.got = set(), set(), {}, 0

    def ask(self, word, *names):
        self.conn.write(word, *names)
        self.expected += [(word.lower(), n) for n in names]

    def step(self, timeout=None):
        """One push; True if it was an acknowledgement."""
        kind, *rest = [r.value for r in self.conn.read(timeout).value]
        if kind in (b"message", b"pmessage"):
            self._message(kind, rest)
            return False
        want = self.expected.pop(0)
        if (kind.decode(), rest[0].decode()) != want:
            raise Failure(f"acknowledged {kind, rest}, but asked for {want}")
        current = self.patterns if kind[:1] == b"p" else self.channels
        (current.discard if b"unsub" in kind else current.add)(rest[0])
        self.last = {k: v for k, v in self.last.items() if k[0] != rest[0]}
        if rest[1] != len(self.channels) + len(self.patterns):
            raise Failure(f"{kind} {rest}: with {self.channels} and {self.patterns}")
        return True

    def _message(self, kind, rest):
        name, channel, text = (rest[0], *rest[-2:])
        if name not in (self.channels if kind == b"message" else self.patterns):
            raise Failure(f"{kind} {rest} after its end, subscribed: {self.channels, self.patterns}")
        number, seq = map(int, text.split())
        # A channel gets every len(channels)-th of a publisher's messages, and so does the subscriber.
        key = (name, channel, number)
        before = self.last.get(key)
        if before is not None and seq != before + 10:
            raise Failure(f"{kind} {rest}: after number {before} of the same channel")
        self.last[key] = seq
        self.got += 1


@test(
    "messages arrive between the acknowledgements of SUBSCRIBE and UNSUBSCRIBE, all and no others",
    timeout=60,
    threads=(1, 2, 4),
    io=("uring", "poll"),
    resp=(2, 3),
)
def nothing_late(t, threads, io, resp):
    server = t.gyre(threads=threads, io=io)
    channels = [f"load{i}" for i in range(10)]
    listeners = [Listener(conn) for conn in spread(t, server, 4, resp)]
    crowd = publishers(t, server, 3, channels)
    failure = None
    try:
        end = time.monotonic() + 1.5 * t.scale
        while time.monotonic() < end:
            for one in listeners:
                for _ in range(t.rng.choice((1, 1, 2, 5))):
                    word = t.rng.choice(("SUBSCRIBE", "UNSUBSCRIBE"))
                    names = t.rng.sample(channels, t.rng.choice((1, 1, 3)))
                    if t.rng.random() < 0.3:
                        word, names = "P" + word, [t.rng.choice(("load*", "load[3-5]", "*7"))]
                    one.ask(word, *names)
            for one in listeners:
                while one.expected:
                    one.step()
        for one in listeners:
            one.ask("UNSUBSCRIBE", *channels)
            one.ask("PUNSUBSCRIBE", "load*", "load[3-5]", "*7")
            while one.expected:
                one.step()
            silent(t, one.conn)
    except (Failure, OSError) as bad:
        failure = bad
    ending_all(crowd, failure)
    t.check(all(one.got for one in listeners), "somebody got no message at all")
    t.equal(set(numsub(t.connect(server), *channels)), {0})


@test("all subscribers see one order", timeout=60, threads=(2, 4), io=("uring", "poll"))
def one_order(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    conns = spread(t, server, 6)
    for i, conn in enumerate(conns):
        subscribe(t, conn, "order*" if i % 2 else "order", word="PSUBSCRIBE" if i % 2 else "SUBSCRIBE")
    crowd = publishers(t, server, 3, ["order"])
    t.wait_for(lambda: all(p.sent > 500 or p.failure for p in crowd), "messages are sent", 20)
    ending_all(crowd)
    total = sum(p.sent for p in crowd)
    seen = [[conn.read().value[-1].value for _ in range(total)] for conn in conns]
    t.check(all(s == seen[0] for s in seen), "two subscribers saw different orders")


@test("subscribers that die in the middle of a burst disturb nobody", threads=(1, 4))
def dying(t, threads):
    server = t.gyre(threads=threads)
    survivor, control = t.connect(server), t.connect(server)
    subscribe(t, survivor, "dying")
    crowd = publishers(t, server, 2, ["dying"])
    for round_ in range(15):
        conns = spread(t, server, 10)
        for i, conn in enumerate(conns):
            conn.write("SUBSCRIBE", "dying", "dying2")
            conn.write("PSUBSCRIBE", "dying*")
            if i % 3 == 0:
                conn.reset()
            elif i % 3 == 1:
                conn.close()
            else:
                conn.write("UNSUBSCRIBE", "dying")
                conn.close()
    ending_all(crowd)
    for _ in range(sum(p.sent for p in crowd)):
        survivor.read()
    t.wait_for(lambda: numsub(control, "dying", "dying2") == [1, 0], "only the survivor is left")
    t.equal(control.cmd("PUBLISH", "dying", "x"), integer(1))


# ---- big messages, slow subscribers


@test("messages of a megabyte", **BOTH)
def megabytes(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    conns = spread(t, server, 8) + spread(t, server, 2, resp=3)
    publisher = t.connect(server)
    for i, conn in enumerate(conns):
        subscribe(t, conn, "m*" if i % 2 else "mega", word="PSUBSCRIBE" if i % 2 else "SUBSCRIBE")
    for i in range(4):
        t.equal(publisher.cmd("PUBLISH", "mega", bytes([65 + i]) * (1 << 20)), integer(10))
    for conn in conns:
        for i in range(4):
            last = conn.read().value[-1].value
            t.check(last == bytes([65 + i]) * (1 << 20), f"message {i} is not what was sent")


@test("a slow subscriber is cut at its limit, others are not harmed", **BOTH)
def slow(t, threads, io):
    server = t.own_gyre(
        threads=threads, io=io, client_output_buffer_limit=["pubsub", "4mb", "0", "0"]
    )
    control, publisher = t.connect(server), t.connect(server)
    good, bad = spread(t, server, 3), [t.connect(server, rcvbuf=4096) for _ in range(3)]
    normal = t.connect(server, rcvbuf=4096)  # not of this class: no limit
    t.equal(control.cmd("SET", "big", b"x" * (6 << 20)), OK)
    normal.send(encode("GET", "big") * 2)
    for conn in good + bad:
        subscribe(t, conn, "flood")
    # Long messages are shared by all who get them, short ones copied.
    for size, count, rounds in ((1000, 1000, 20), (100000, 10, 20)):
        for i in range(rounds):
            counts = publisher.pipeline([("PUBLISH", "flood", b"x" * size)] * count)
            t.check(all(c.value >= 3 for c in counts), "PUBLISH counts fewer than who read")
            for conn in good:
                for _ in range(count):
                    t.equal(len(conn.read().value[2].value), size)
    t.wait_for(lambda: numsub(control, "flood") == [3], "the slow ones are gone")
    if not STANDIN:
        t.equal(info(control, "stats")["client_output_buffer_limit_disconnections"], "3")
    for conn in bad:
        try:
            while True:
                conn.read(5)
        except Closed:
            pass
    t.equal(control.cmd("PUBLISH", "flood", "end"), integer(3))
    for conn in good:
        reads(t, conn, ("message", "flood", "end"))
    t.check(len(normal.read().value) == 6 << 20, "another class's client was cut")


@test("a transaction that floods slow subscribers does not fill the memory", **BOTH)
def burst(t, threads, io):
    server = t.own_gyre(
        threads=threads, io=io, client_output_buffer_limit=["pubsub", "1mb", "0", "0"]
    )
    control, bad = t.connect(server), [t.connect(server, rcvbuf=4096) for _ in range(20)]
    for conn in bad:
        subscribe(t, conn, "burst")
    publisher = t.connect(server)
    flood = [("PUBLISH", "burst", b"x" * 1500)] * 10000  # in one unit: nothing is sent before its end
    replies = publisher.pipeline([("MULTI",), *flood, ("EXEC",)])
    t.equal(len(replies[-1].value), len(flood))
    t.wait_for(lambda: numsub(control, "burst") == [0], "the slow ones are gone")
    peak = int(info(control, "memory")["used_memory_peak"])
    t.check(peak < 120 << 20, f"{peak} bytes were in use")


@test("a subscriber above the soft limit for too long is cut", threads=(1, 4))
def soft_limit(t, threads):
    server = t.own_gyre(
        threads=threads, client_output_buffer_limit=["pubsub", "0", "1mb", "1"]
    )
    control, bad = t.connect(server), t.connect(server, rcvbuf=4096)
    subscribe(t, bad, "soft")
    began = time.monotonic()
    while control.cmd("PUBLISH", "soft", b"x" * 100000).value:
        t.check(time.monotonic() < began + 15 * PATIENCE, "never cut")
        if time.monotonic() > began + 0.3:
            time.sleep(0.05)
    t.check(time.monotonic() > began + 0.9, "cut before the time was over")


@test("a subscriber is not idle", threads=(1, 4))
def not_idle(t, threads):
    server = t.own_gyre(threads=threads, timeout=1)
    control, conn, idle = t.connect(server), t.connect(server), t.connect(server)
    idle.cmd("PING")
    subscribe(t, conn, "idle")
    for _ in range(100):
        if idle.is_closed(0.01):
            break
        control.cmd("PING")
        time.sleep(0.03)
    else:
        raise Failure("an idle client is not closed")
    t.equal(control.cmd("PUBLISH", "idle", "x"), integer(1))
    reads(t, conn, ("message", "idle", "x"))


# ---- with others


@test("subscribing inside a transaction", **WIRES)
def in_multi(t, threads, resp):
    server = t.gyre(threads=threads)
    other = t.connect(server)
    for i, conn in enumerate(spread(t, server, 4, resp)):
        t.equal(conn.cmd("MULTI"), OK)
        for words in (
            ("SET", f"multi{i}", "v"),
            ("SUBSCRIBE", "multi", "multi2"),
            ("PSUBSCRIBE", "m*"),
            ("GET", f"multi{i}"),
            ("UNSUBSCRIBE", "multi2"),
        ):
            t.equal(conn.cmd(*words), R("+", b"QUEUED"))
        conn.write("EXEC")
        # An EXEC of five commands, two of whose answers are not one reply each.
        head = b"*5\r\n+OK\r\n"
        t.equal(conn.sock.recv(len(head)), head)
        reads(
            t,
            conn,
            ("subscribe", "multi", 1),
            ("subscribe", "multi2", 2),
            ("psubscribe", "m*", 3),
        )
        t.equal(conn.read(), bulk("v"))
        reads(t, conn, ("unsubscribe", "multi2", 2))
        t.equal(numsub(other, "multi", "multi2"), [i + 1, 0])
        t.equal(other.cmd("PUBLISH", "multi", "x"), integer(2 * (i + 1)))
        reads(t, conn, ("message", "multi", "x"), ("pmessage", "m*", "multi", "x"))


@test("publishing inside a transaction: receivers see the whole of it", **WIRES)
def publish_in_multi(t, threads, resp):
    server = t.gyre(threads=threads)
    listener, reader = t.connect(server, resp=resp), t.connect(server)
    subscribe(t, listener, "exec")
    for i, conn in enumerate(spread(t, server, 4)):
        keys = [f"exec{i}:{k}" for k in range(8)]
        replies = conn.pipeline(
            [("MULTI",)]
            + [("SET", k, i) for k in keys[:4]]
            + [("PUBLISH", "exec", i)]
            + [("SET", k, i) for k in keys[4:]]
            + [("EXEC",)]
        )
        t.equal(replies[-1].value, [OK] * 4 + [integer(1)] + [OK] * 4)
        reads(t, listener, ("message", "exec", str(i)))
        t.equal(reader.cmd("MGET", *keys).value, [bulk(i)] * 8)


@test("a blocked RESP3 connection gets its messages at once", threads=(1, 4))
def while_blocked(t, threads):
    server = t.gyre(threads=threads)
    other = t.connect(server)
    for i, conn in enumerate(spread(t, server, 4, resp=3)):
        subscribe(t, conn, "blocked")
        conn.write("BLPOP", f"blocked{i}", 0)
        t.wait_for(lambda: info(other, "clients")["blocked_clients"] == "1", "it blocks")
        other.cmd("PUBLISH", "blocked", i)
        reads(t, conn, ("message", "blocked", str(i)))
        other.cmd("RPUSH", f"blocked{i}", "v")
        t.equal(conn.read(), R("*", [bulk(f"blocked{i}"), bulk("v")]))
        conn.write("UNSUBSCRIBE")
        reads(t, conn, ("unsubscribe", "blocked", 0))


@test("INFO counts channels, patterns and subscribers", threads=(1, 4))
def in_info(t, threads):
    server = t.own_gyre(threads=threads)
    control, (one, two) = t.connect(server), spread(t, server, 2)
    subscribe(t, one, "a", "b")
    subscribe(t, two, "b", "c")
    subscribe(t, two, "x*", word="PSUBSCRIBE", count=2)
    subscribe(t, two, "s", word="SSUBSCRIBE")
    names = ["pubsub_channels", "pubsub_patterns"]
    names += [] if STANDIN else ["pubsubshard_channels", "pubsub_clients"]

    def figures():
        fields = info(control)
        return [int(fields[n]) for n in names]

    t.equal(figures(), [3, 1, 1, 2][: len(names)])
    two.cmd("RESET")
    t.equal(figures(), [2, 0, 0, 1][: len(names)])
    one.close()
    t.wait_for(lambda: figures() == [0] * len(names), "all are gone")


# ---- keyspace notifications


class Events:
    """A subscriber to all keyspace events of a server."""

    def __init__(self, t, server, flags="AKEmn"):
        self.control, self.conn = t.connect(server), t.connect(server)
        self.number = 0
        t.equal(self.control.cmd("CONFIG", "SET", "notify-keyspace-events", flags), OK)
        subscribe(t, self.conn, "__key*__:*", word="PSUBSCRIBE")
        subscribe(t, self.conn, "marker", count=1)

    def take(self):
        """The events since the last time, as (channel, message)."""
        self.number += 1
        self.control.cmd("PUBLISH", "marker", self.number)
        out = []
        while True:
            parts = [r.value for r in self.conn.read().value]
            if parts[0] == b"message":
                if parts[2] != b"%d" % self.number:
                    raise Failure(f"an unexpected marker {parts}")
                return out
            out.append((parts[2], parts[3]))

    def end(self):
        self.control.cmd("CONFIG", "SET", "notify-keyspace-events", "")


EVENTFUL = (
    "strings_set strings_number strings_range strings_multi strings_lcs lists sets hashes zsets streams geo "
    "bitmaps hyperloglog keys_basic keys_expire sort dump"
).split()


def event_texts(events):
    return [f"{c.decode('latin1')} {m.decode('latin1')}" for c, m in events]


def plain_cases(stream):
    """Cases that both servers answer alike, command by command."""
    for case in load_stream(stream):
        kinds = {s.kind for s in case.steps}
        if not case.tags & {"gyre"} and kinds <= {"cmd", "sleep", "sync"}:
            yield case


class Twin:
    """A case's connections to one server, and its events."""

    def __init__(self, t, server):
        self.t, self.server, self.events, self.conns = t, server, Events(t, server), {}

    def begin(self):
        for conn in self.conns.values():
            conn.close()
        self.conns = {}
        self.events.control.cmd("FLUSHALL")
        self.events.take()

    def cmd(self, step, words):
        if step.conn not in self.conns:
            self.conns[step.conn] = self.t.connect(self.server)
        self.conns[step.conn].cmd(*words)
        return event_texts(self.events.take())


def told_otherwise(words, want, got):
    """Is this a difference on purpose? XREAD looks twice for a key in Redis, and tells of both misses. The
    consumers that XREADGROUP and XAUTOCLAIM name are made at once, as since Redis 7.2."""
    name = words[0].upper()
    if name == b"XREAD":
        return sorted(want) == sorted(got * 2)
    made = [e for e in got if "createconsumer" in e]
    if name in (b"XREADGROUP", b"XAUTOCLAIM", b"XCLAIM"):
        return [e for e in got if e not in made] == [e for e in want if "createconsumer" not in e]
    return False


def skip_case(case):
    words = {a.upper() for s in case.steps for a in s.args[:2]}
    return words & {b"HELLO", b"CONFIG", b"QUIT", b"SHUTDOWN", b"CLIENT", b"SPOP"}


@test("every command tells of the same events as in redis-server", timeout=120, stream=EVENTFUL, threads=(1, 4))
def same_events(t, stream, threads):
    twins = Twin(t, t.redis()), Twin(t, t.gyre(threads=threads))
    problems = []
    try:
        for twin in twins:  # what expires is found by who looks, and by nobody else
            twin.events.control.cmd("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        for case in plain_cases(stream):
            if skip_case(case) or any(b"<" in a for s in case.steps for a in s.args):
                continue
            for twin in twins:
                twin.begin()
            for step in case.steps:
                if step.kind == "sleep":
                    time.sleep(step.number)
                if step.kind != "cmd":
                    continue
                want, got = (twin.cmd(step, step.args) for twin in twins)
                if threads > 1:  # parts of one command tell on their own shards
                    want, got = sorted(want), sorted(got)
                if want != got and not told_otherwise(step.args, want, got):
                    words = b" ".join(step.args)[:200]
                    problems.append(f"{case.name}: {words}\n    want {want}\n    got  {got}")
    finally:
        for twin in twins:
            twin.events.control.cmd("DEBUG", "SET-ACTIVE-EXPIRE", 1)
            twin.events.end()
    t.check(not problems, f"{len(problems)} differ:\n" + "\n".join(problems[:20]))


@test("keys that expire tell it, when found and when it is time", threads=(1, 4))
def expired_events(t, threads):
    server = t.gyre(threads=threads)
    events = Events(t, server)
    conn = t.connect(server)
    try:
        conn.cmd("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        conn.cmd("SET", "lazy", "v", "PX", 1)
        time.sleep(0.01)
        events.take()
        conn.cmd("GET", "lazy")
        want = [("__keyspace@0__:lazy", "expired"), ("__keyevent@0__:expired", "lazy")]
        miss = [("__keyspace@0__:lazy", "keymiss"), ("__keyevent@0__:keymiss", "lazy")]
        t.equal(events.take(), [(to_bytes(a), to_bytes(b)) for a, b in want + miss])
        conn.cmd("DEBUG", "SET-ACTIVE-EXPIRE", 1)
        keys = [f"active{i}" for i in range(20)]
        for key in keys:
            conn.cmd("SET", key, "v", "PX", 20)
        seen = set()

        def all_expired():
            seen.update(m.decode() for c, m in events.take() if c == b"__keyevent@0__:expired")
            return seen == set(keys)

        t.wait_for(all_expired, lambda: f"expired: {sorted(seen)}")
    finally:
        conn.cmd("DEBUG", "SET-ACTIVE-EXPIRE", 1)
        events.end()


@test("fields that expire tell it", threads=(1, 4), needs=gyre_only)
def field_events(t, threads):
    server = t.gyre(threads=threads)
    events = Events(t, server)
    conn = t.connect(server)

    def tells(key, *names):
        want = []
        for name in names:
            want += [(f"__keyspace@0__:{key}", name), (f"__keyevent@0__:{name}", key)]
        t.equal(event_texts(events.take()), [f"{a} {b}" for a, b in want])

    try:
        conn.cmd("HSET", "h", "f", "1", "g", "2", "i", "3")
        tells("h", "new", "hset")
        conn.cmd("HEXPIRE", "h", 100, "FIELDS", 1, "f")
        tells("h", "hexpire")
        conn.cmd("HPERSIST", "h", "FIELDS", 1, "f")
        tells("h", "hpersist")
        conn.cmd("HEXPIRE", "h", 0, "FIELDS", 1, "g")
        tells("h", "hdel")
        conn.cmd("HPEXPIRE", "h", 1, "FIELDS", 2, "f", "i")
        found = []

        def gone():
            found.extend(event_texts(events.take()))
            return "__keyevent@0__:del h" in found

        t.wait_for(gone, lambda: f"events: {found}")
        want = [f"__keyspace@0__:h {e}" for e in ("hexpire", "hexpired", "del")]
        t.equal([e for e in found if "keyspace" in e and not e.endswith("keymiss")], want)
    finally:
        events.end()


@test("only the classes and channels that are asked for are told", threads=(1, 4))
def classes(t, threads):
    server = t.gyre(threads=threads)
    events = Events(t, server)
    conn = t.connect(server)
    script = (  # a command and its events, each with the letter of its class
        (("SET", "s", "v"), (("n", "new"), ("$", "set"))),
        (("RPUSH", "l", "v"), (("n", "new"), ("l", "rpush"))),
        (("SADD", "t", "v"), (("n", "new"), ("s", "sadd"))),
        (("HSET", "h", "f", "v"), (("n", "new"), ("h", "hset"))),
        (("ZADD", "z", 1, "v"), (("n", "new"), ("z", "zadd"))),
        (("XADD", "x", "1-1", "f", "v"), (("n", "new"), ("t", "xadd"))),
        (("DEL", "s"), (("g", "del"),)),
        (("GET", "s"), (("m", "keymiss"),)),
    )
    try:
        for asked in ("$", "l", "s", "h", "z", "t", "g", "m", "n", "x", "e", "d", "A", "ln", "$mz"):
            letters = "g$lshzxet" if asked == "A" else asked
            for channels in ("K", "E", "KE", ""):
                conn.cmd("CONFIG", "SET", "notify-keyspace-events", channels + asked)
                conn.cmd("FLUSHALL")
                want = []
                for words, told in script:
                    conn.cmd(*words)
                    for letter, name in told:
                        if letter in letters and "K" in channels:
                            want.append(f"__keyspace@0__:{words[1]} {name}")
                        if letter in letters and "E" in channels:
                            want.append(f"__keyevent@0__:{name} {words[1]}")
                t.equal(event_texts(events.take()), want, channels + asked)
    finally:
        events.end()
