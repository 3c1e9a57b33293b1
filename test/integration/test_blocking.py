# SPDX-License-Identifier: BSD-3-Clause
"""Commands that wait: scenarios in a fixed order (cases_blocking.py), times, disconnects, and many at once."""

import random
import re
import threading
import time

import cases_blocking
from differences import excused
from differential import split_words
from harness import OK, PATIENCE, PONG, R, STANDIN, Conn, Failure, encode, info, ready, show
from runner import test

BACKENDS = dict(threads=(1, 2, 4), io=("uring", "poll"))
_MARK = re.compile(rb"\{(\w+)\}|<(id|rep|dump):(\w)(?::(\d+))?>")
MISTAKES = 5  # that are told at most
ROUNDS = 2  # in which the keys lie on other shards


def blocked(conn):
    return int(info(conn, "clients")["blocked_clients"])


def wait_blocked(t, control, count):
    t.wait_for(lambda: blocked(control) == count, f"{count} are blocked", seconds=3, step=0.001)


def parse(text):
    """[(name, is for Gyre alone, [line, …])]"""
    out = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("=="):
            out.append((line.strip("= "), "[gyre]" in line, []))
        else:
            out[-1][2].append(line)
    return out


class Play:
    """One scenario on one server."""

    def __init__(self, t, server, resp, suffix):
        self.t, self.server, self.resp, self.suffix = t, server, resp, suffix
        self.conns, self.ids = {}, {}
        self.control = server.connect()
        self.waiting = 0
        self.sent = {}  # by connection: commands whose replies have not come
        self.replies = []  # (line, bytes, reply, command)
        self.control.cmd("FLUSHALL")
        wait_blocked(t, self.control, 0)

    def conn(self, name):
        if name not in self.conns:
            self.conns[name] = self.server.connect(resp=self.resp)
            self.ids[name] = self.conns[name].cmd("CLIENT", "ID").value
        return self.conns[name]

    def word(self, word):
        return _MARK.sub(self._value, word)

    def _value(self, m):
        key, what, argument, count = m.groups()
        if key:
            return key + self.suffix
        if what == b"rep":
            return argument * int(count)
        if what == b"dump":
            return self.control.cmd("DUMP", argument + self.suffix).value
        return b"%d" % self.ids[argument.decode()]

    def send(self, name, text):
        texts = text.split(" ; ")
        commands = [[self.word(w) for w in split_words(c)] for c in texts]
        self.sent.setdefault(name, []).extend(texts)
        self.conn(name).send(b"".join(encode(*c) for c in commands))
        return len(commands)

    def run(self, lines):
        try:
            for line in lines:
                try:
                    self.step(line)
                except (Failure, OSError) as failure:
                    raise Failure(f"{self.server.kind}: {line}: {failure}") from None
        finally:
            for conn in self.conns.values():
                conn.close()
            wait_blocked(self.t, self.control, 0)
            self.control.close()
        return self.replies

    def step(self, line):
        if line.startswith("-->"):
            got, want = show(self.replies[-1][2]), line[3:].strip()
            want = want.replace("'s'", repr(b"s" + self.suffix)[1:])
            if got != want:
                raise Failure(f"got {got}, want {want}")
            return
        if line.startswith("blocked"):
            self.waiting = int(line.split()[1])
            wait_blocked(self.t, self.control, self.waiting)
            return
        name, kind, text = line[0], line[1], line[2:].strip()
        if kind == "?":
            before = blocked(self.control)
            self.send(name, text)
            wait_blocked(self.t, self.control, before + 1)
        elif kind == ">":
            for _ in range(self.send(name, text)):
                self.read(line, name)
        elif kind == "~":
            self.send(name, text)
        elif kind == "<":
            self.read(line, name)
        elif kind == "-":
            if self.conn(name).parser.pending() or ready(self.conn(name).sock, 0.003)[0]:
                raise Failure(f"a reply came: {show(self.conn(name).read())}")
        elif kind == "!":
            before = blocked(self.control)
            self.conns.pop(name).close()
            wait_blocked(self.t, self.control, before - int(text))
        else:
            raise ValueError(line)

    def read(self, line, name):
        raw, reply = self.conn(name).read_raw()
        if not text_of(line).startswith("HELLO"):
            sent = self.sent.get(name)
            self.replies.append((line, raw, reply, sent.pop(0) if sent else ""))


def text_of(line):
    return line[2:].strip()


SCENARIOS = parse(cases_blocking.SCENARIOS)


@test("everybody is served as by redis-server", resp=(2, 3), **BACKENDS)
def scenarios(t, threads, io, resp):
    redis, gyre = t.redis(), t.gyre(threads=threads, io=io)
    bad = []
    for name, is_gyre_only, lines in SCENARIOS:
        for number in range(ROUNDS):
            suffix = b":%d" % t.rng.randrange(1000)
            try:
                if is_gyre_only:
                    if not STANDIN and resp == 2:
                        Play(t, gyre, resp, suffix).run(lines)
                    continue
                want = Play(t, redis, resp, suffix).run(lines)
                got = Play(t, gyre, resp, suffix).run(lines)
            except Failure as failure:
                bad.append(f"{name!r}, keys with {suffix}: {failure}")
                break
            odd = [(w, g) for w, g in zip(want, got) if w[1] != g[1] and not excused(w[3], w[1], g[1])]
            if odd:
                (line, _, wanted, _), (_, _, came, _) = odd[0]
                bad.append(f"{name!r}: {line}: got {show(came)}, want {show(wanted)}")
                break
        if not gyre.alive() or len(bad) == MISTAKES:
            break
    if bad:
        raise Failure(f"{len(bad)} scenarios differ:\n  " + "\n  ".join(bad))


# ---- time

UPPER_MS = 300 * PATIENCE  # how late an answer may be on a machine that is busy


@test("a wait ends when its time is up, and not before", **BACKENDS)
def timeouts(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    for command, ms in (
        ("BLPOP {k} 0.001", 1),
        ("BRPOP {k} {j} 0.0101", 11),
        ("BLMOVE {k} {j} LEFT LEFT 0.02", 20),
        ("BLMPOP 0.03 2 {k} {j} LEFT", 30),
        ("BZPOPMIN {k} {j} .04", 40),
        ("BZMPOP 0.05 1 {j} MIN", 50),
        ("XREAD BLOCK 60 STREAMS {k} {j} $ $", 60),
        ("WAIT 1 70", 70),
    ):
        conn = t.connect(server)
        for tries in range(5):  # on a busy machine anything may be late, but not always
            words = command.format(k=t.rng.random(), j=t.rng.random()).split()
            began = time.monotonic()
            reply = conn.cmd(*words)
            took = (time.monotonic() - began) * 1000
            t.check(reply.value in (None, 0), f"{command} answered {show(reply)}")
            t.check(ms - 1 <= took, f"{command} took {took:.1f} ms")
            if took <= ms + UPPER_MS:
                break
        t.check(took <= ms + UPPER_MS, f"{command} took {took:.1f} ms")
        t.equal(conn.cmd("PING").value, b"PONG")


@test("many waits end each at its own time", **BACKENDS)
def many_timeouts(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    waits = []
    for i in range(100):
        conn, ms = t.connect(server), t.rng.randrange(30, 400)
        conn.write("BLPOP", f"key{i % 10}", f"other{i}", ms / 1000)
        waits.append((time.monotonic() + ms / 1000, conn, ms))
    lates = []
    for due, conn, ms in sorted(waits, key=lambda w: w[0]):
        t.check(conn.read().value is None, "a null array")
        late = (time.monotonic() - due) * 1000
        t.check(late >= -1 - ms / 1000, f"a wait of {ms} ms ended {-late:.1f} ms too early")
        lates.append(late)
    # A busy machine may hold some of them up, but not most.
    t.check(sorted(lates)[len(lates) // 2] <= UPPER_MS, f"waits ended too late by ms: {lates}")
    t.equal(blocked(t.connect(server)), 0)


@test("a timeout and a pause count from when they were said, not from before what took long ahead of them", **BACKENDS)
def late_times(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    conn = t.connect(server)
    sleep = ("DEBUG", "SLEEP", "0.1")
    for words in (("BLPOP", "none", "0.2"), ("CLIENT", "PAUSE", "200", "ALL"), ("SET", "k", "v", "PX", "200")):
        began = time.monotonic()
        conn.send(encode(*sleep) + encode(*words) + encode("GET", "k"))
        for _ in range(3):
            conn.read()
        t.wait_for(lambda: conn.cmd("EXISTS", "k").value == 0, "it expired", step=0.001)
        took = time.monotonic() - began
        t.check(took >= 0.298, f"{words}: {took * 1000:.0f} ms")


# ---- what others see


@test("CLIENT LIST and INFO show who waits", **BACKENDS)
def shown(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control = t.connect(server)
    conns = [t.connect(server) for _ in range(8)]
    ids = [c.cmd("CLIENT", "ID").value for c in conns]

    def flags():
        lines = control.cmd("CLIENT", "LIST", "ID", *ids).text().decode().splitlines()
        fields = [dict(f.partition("=")[::2] for f in line.split()) for line in lines]
        return sorted((int(f["id"]), f["flags"], f["cmd"]) for f in fields)

    for i, conn in enumerate(conns):
        conn.write("BLPOP", f"key{i}", 0)
        wait_blocked(t, control, i + 1)
    t.equal(flags(), [(i, "b", "blpop") for i in ids])
    for i in range(len(conns)):
        control.cmd("RPUSH", f"key{i}", "x")
    for conn in conns:
        conn.read()
    # A connection that moves to its keys' shard just now may show twice, or not at all.
    t.wait_for(lambda: flags() == [(i, "N", "blpop") for i in ids], "nobody waits")
    t.equal(blocked(control), 0)


# ---- many at once


@test("200 clients at one key are served in the order in which they came", **BACKENDS)
def long_queue(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control, conns = t.connect(server), [t.connect(server) for _ in range(200)]
    for i, conn in enumerate(conns):
        conn.write("BLPOP", "nothing", "queue", 0)
        wait_blocked(t, control, i + 1)
    for start in range(0, 200, 50):  # pipelined, in one command, in a transaction
        if start == 50:
            control.cmd("RPUSH", "queue", *range(50, 100))
        elif start == 100:
            pushes = [("RPUSH", "queue", i) for i in range(100, 150)]
            control.pipeline([("MULTI",), *pushes, ("EXEC",)])
        else:
            control.pipeline([("RPUSH", "queue", i) for i in range(start, start + 50)])
    for i, conn in enumerate(conns):
        t.equal(conn.read().value[1].value, b"%d" % i)
    t.equal(control.cmd("EXISTS", "queue").value, 0)


def race(t, server, rounds, disturb):
    """A client that waits for a moment, and an element that comes at the same moment: it is delivered or in
    the list, never both or neither."""
    waiting, pushing = t.connect(server), t.connect(server)
    pushing.cmd("PING")
    id = waiting.cmd("CLIENT", "ID").value
    outcomes = set()
    for i in range(rounds):
        keys = [f"race:{i}:{j}" for j in range(3)]
        waiting.write("BLPOP", *keys, disturb.seconds)
        disturb(pushing, id, keys[i % 3])
        reply, left = waiting.read(), pushing.cmd("LRANGE", keys[i % 3], 0, -1).value
        is_served = reply.value is not None and not reply.is_error()
        t.check(is_served != bool(left), f"round {i}: {show(reply)}, and {left} left")
        outcomes.add(is_served)
    return outcomes


class Late:
    """The push comes about when time is up."""

    seconds = 0.002

    def __init__(self, rng):
        self.rng = rng

    def __call__(self, conn, id, key):
        time.sleep(self.rng.uniform(0.0005, 0.003))
        conn.cmd("RPUSH", key, "x")


class Unblocked:
    """CLIENT UNBLOCK and the push come together."""

    seconds = 0

    def __init__(self, rng):
        self.rng = rng

    def __call__(self, conn, id, key):
        time.sleep(self.rng.uniform(0, 0.0005))
        both = [("CLIENT", "UNBLOCK", id), ("RPUSH", key, "x")]
        conn.pipeline(both if self.rng.random() < 0.5 else both[::-1])


@test("an element that comes when time is up is delivered or stays", alone=True, **BACKENDS)
def late_push(t, threads, io):
    outcomes = race(t, t.gyre(threads=threads, io=io), 250, Late(t.rng))
    t.check(STANDIN or outcomes == {True, False}, "both outcomes occur")


@test("an element that comes with CLIENT UNBLOCK is delivered or stays", alone=True, **BACKENDS)
def unblocked_push(t, threads, io):
    race(t, t.gyre(threads=threads, io=io), 250, Unblocked(t.rng))


@test(
    "thousands who wait on one shard are served at once by another",
    alone=True,
    threads=(2,),
    io=("uring", "poll"),
)
def crowd(t, threads, io):
    """More than there are entries in a ring's queue: the other's thread may do it all for one that sleeps."""
    server = t.gyre(threads=threads, io=io)
    control, waiting = t.connect(server), 2100
    conns = [t.connect(server) for _ in range(waiting)]
    for conn in conns:
        t.equal(conn.cmd("CLIENT", "SETNAME", "crowd"), OK)
    for i in range(3):  # the first time they are spread over the shards, then they have gone where the key was
        for conn in conns:
            conn.write("XREAD", "BLOCK", 0, "STREAMS", f"crowd:{i}", "$")
        wait_blocked(t, control, waiting)
        control.cmd("XADD", f"crowd:{i}", f"{i + 1}-1", "k", "v")
        want = conns[0].read()
        t.equal(want.value[0].value[1].value[0].value[0].value, b"%d-1" % (i + 1))
        for conn in conns[1:]:
            t.equal(conn.read(), want)


@test("who waits for two streams is served from one while another shard asks about the other", alone=True, **BACKENDS)
def asked_about_another(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control, other, pushing = t.connect(server), t.connect(server), t.connect(server)
    conns = [t.connect(server) for _ in range(40)]
    for i in range(12):
        busy, quiet = f"{{bar}}:{i}", f"{{foo}}:{i}"  # on two shards
        for conn in conns:
            conn.write("XREAD", "BLOCK", 0, "STREAMS", busy, quiet, "1000000-0", "0-0")
        wait_blocked(t, control, len(conns))
        count = 1500
        other.send(b"".join(encode("XADD", busy, f"{n + 1}-0", "k", "v") for n in range(count)))
        time.sleep(t.rng.uniform(0, 0.003))
        pushing.cmd("XADD", quiet, "1-0", "k", "v")
        for _ in range(count):
            other.read()
        wait_blocked(t, control, 0)
        for conn in conns:
            t.equal(conn.read().value[0].value[0].value, quiet.encode())


@test("nobody takes what was pushed for who waits for it to be moved to another shard", alone=True, threads=(4,), io=("uring", "poll"))
def not_taken(t, threads, io):
    """Those who push and who take are at home on other shards, so what they send waits in one inbox."""
    server = t.own_gyre(threads=threads, io=io, env={"GYRE_JITTER": "20"})
    control, waiting = t.connect(server), t.connect(server)
    conns = [t.connect(server) for _ in range(6)]
    for i, conn in enumerate(conns):
        conn.cmd("WATCH", f"home{i}")  # it does not move before it has had EXEC
    waiting.cmd("LLEN", "{foo}k")
    takes = ([("LPOP", "{foo}k")] * 4, [("MULTI",), ("LPOP", "{foo}k"), ("EXISTS", "{bar}none"), ("EXEC",)])
    for i in range(150):
        waiting.write("BLMOVE", "{foo}k", "{bar}k", "LEFT", "RIGHT", 0)
        wait_blocked(t, control, 1)
        t.rng.shuffle(conns)
        conns[0].write("RPUSH", "{foo}k", i)
        for conn in conns[1:]:
            conn.send(b"".join(encode(*words) for words in takes[i % 2]))
        conns[0].read()
        for conn in conns[1:]:
            replies = [conn.read() for _ in range(4)]
            taken = replies[3].value[:1] if i % 2 else replies
            t.check(all(r.value is None for r in taken), f"round {i}: {show(replies)}")
        t.equal(waiting.read(), R("$", b"%d" % i))


@test("every element is taken once, whoever waits where", alone=True, **BACKENDS)
def exactly_once(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    keys = [f"queue:{i}" for i in range(8)]
    taken, trouble, each = [], [], 150

    def consume(number):
        rng, mine = random.Random(f"{t.seed} {number}"), []
        try:
            with Conn(server) as conn:
                while True:
                    some = rng.sample(keys, len(keys)) + ["stop"]
                    how = rng.randrange(4)
                    if how == 0:
                        reply = conn.cmd("BLPOP", *some, 0)
                    elif how == 1:
                        reply = conn.cmd("BRPOP", *some, 0.005)
                    elif how == 2:
                        reply = conn.cmd("BLMPOP", 0, len(some), *some, "LEFT", "COUNT", 3)
                    else:
                        reply = conn.cmd("BLMOVE", some[0], f"done:{number}", "LEFT", "RIGHT", 0.01)
                        continue  # counted at the end
                    if reply.value is None:
                        continue
                    key, what = reply.value
                    if key.value == b"stop":
                        break
                    mine += [r.value for r in what.value] if what.kind == "*" else [what.value]
                mine += [r.value for r in conn.cmd("LRANGE", f"done:{number}", 0, -1).value]
        except Failure as failure:
            trouble.append(str(failure))
        taken.extend(mine)

    def produce(number):
        rng = random.Random(f"{t.seed} producer {number}")
        with Conn(server) as conn:
            for i in range(0, each, 5):
                conn.pipeline(
                    [("RPUSH", rng.choice(keys), f"{number}:{j}") for j in range(i, i + 5)]
                )

    consumers = [threading.Thread(target=consume, args=(n,)) for n in range(6)]
    producers = [threading.Thread(target=produce, args=(n,)) for n in range(4)]
    for thread in consumers + producers:
        thread.start()
    for thread in producers:
        thread.join()
    control = t.connect(server)
    t.wait_for(lambda: control.cmd("EXISTS", *keys).value == 0, "the queues are empty")
    control.cmd("RPUSH", "stop", *range(100))  # a BLMPOP takes three
    for thread in consumers:
        thread.join()
    t.equal(trouble, [])
    wanted = sorted(b"%d:%d" % (n, i) for n in range(4) for i in range(each))
    t.equal(len(taken), len(wanted))
    t.check(sorted(taken) == wanted, "each element once")


# What waits, what makes it ready, what is there then.
TAKERS = (
    (("BLPOP", "{k}", 0), ("RPUSH", "{k}", "m"), ("LLEN", "{k}")),
    (("BRPOP", "{other}", "{k}", 0), ("RPUSH", "{k}", "m"), ("LLEN", "{k}")),
    (("BLMOVE", "{k}", "{other}", "LEFT", "LEFT", 0), ("RPUSH", "{k}", "m"), ("LLEN", "{k}")),
    (("BLMPOP", 0, 2, "{k}", "{other}", "LEFT"), ("RPUSH", "{k}", "m"), ("LLEN", "{k}")),
    (("BZPOPMIN", "{other}", "{k}", 0), ("ZADD", "{k}", 1, "m"), ("ZCARD", "{k}")),
    (("BZMPOP", 0, 1, "{k}", "MIN"), ("ZADD", "{k}", 1, "m"), ("ZCARD", "{k}")),
)


def filled(words, names):
    return [w.format(**names) if isinstance(w, str) else w for w in words]


@test("who has hung up takes nothing from those who come later", **BACKENDS)
def hung_up(t, threads, io):
    """channels_redis gives up a receive by closing its connection, and nobody waits for that to be seen."""
    server = t.gyre(threads=threads, io=io)
    control, pusher = t.connect(server), t.connect(server)
    for i in range(36):
        names = dict(k=f"hung:{i}", other=f"other:{i}")
        take, push, count = (filled(words, names) for words in TAKERS[i % len(TAKERS)])
        conn = server.connect()
        conn.write(*take)
        wait_blocked(t, control, 1)
        conn.close()
        if i % 3 == 0:
            pusher.cmd(*push)
        elif i % 3 == 1:
            pusher.pipeline([("MULTI",), push, ("EXEC",)])
        else:
            pusher.cmd("EVAL", "return redis.call(unpack(ARGV))", 0, *push)
        wait_blocked(t, control, 0)
        t.equal(control.cmd(*count).value, 1, f"after {take}")


@test("who has hung up does not wait for ever, though much has come behind its command", **BACKENDS)
def hung_up_unread(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control, conn = t.connect(server), server.connect()
    conn.write("BLPOP", "much", 0)
    wait_blocked(t, control, 1)
    conn.sock.settimeout(20)
    conn.send(encode("PING") * 20000)  # more than is read ahead
    conn.close()
    t.wait_for(lambda: blocked(control) == 0, "nobody waits")
    conn = t.connect(server)
    conn.write("BLPOP", "much", 0)
    wait_blocked(t, control, 1)
    conn.send(encode("PING") * 20000)  # and who stays gets all of it
    control.cmd("RPUSH", "much", "m")
    t.equal(conn.read().value, [R("$", b"much"), R("$", b"m")])
    t.check(all(conn.read() == PONG for _ in range(20000)), "all are answered")


@test("CLIENT UNBLOCK and CLIENT KILL keep their place among what a connection sends", **BACKENDS)
def in_their_place(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control = t.connect(server)
    for i in range(45):
        key, conn = f"place:{i}", server.connect()
        for _ in range(40):
            conn.cmd("GET", f"home:{i % 4}")  # it moves there, be it far from the list
        id = conn.cmd("CLIENT", "ID").value
        conn.write("BLPOP", key, 0)
        wait_blocked(t, control, 1)
        unblock, push, kill = ("CLIENT", "UNBLOCK", id), ("RPUSH", key, "x"), ("CLIENT", "KILL", "ID", id)
        commands, replies, left = [
            ([unblock, push], [1, 1], 1),
            ([push, unblock], [1, 0], 0),
            ([kill, push], [1, 1], 1),
        ][i % 3]
        t.equal([r.value for r in control.pipeline(commands)], replies)
        t.equal(control.cmd("LLEN", key), R(":", left), str(commands))
        conn.close()


@test("what is pushed while a command is on its way to wait does not wait with it", **BACKENDS)
def pushed_meanwhile(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control, conn = t.connect(server), t.connect(server, resp=3)
    t.equal(control.cmd("CONFIG", "SET", "notify-keyspace-events", "KEA"), OK)
    patterns = ("__keyevent*:set", "__key*:set", "*:set", "*:s?t")  # more than stands in an operation
    for pattern in patterns:
        conn.cmd("PSUBSCRIBE", pattern)
    for i in range(40):
        conn.send(encode("SET", f"pushed:{i}", i) + encode("BLPOP", f"never:{i}", 0))
        t.equal(sorted(conn.read().kind for _ in range(5)), ["+", *">>>>"])
        wait_blocked(t, control, 1)
        control.cmd("RPUSH", f"never:{i}", "m")
        t.equal(conn.read().value[1].value, b"m")
    t.equal(control.cmd("CONFIG", "SET", "notify-keyspace-events", ""), OK)


@test("big arguments that must wait behind others arrive whole", threads=(4,), io=("uring", "poll"))
def big_arguments_wait(t, threads, io):
    """With somebody waiting on keys of several shards, RPUSH waits for what its connection sent before it."""
    server = t.gyre(threads=threads, io=io)
    waiter = t.connect(server)
    waiter.send(encode("BLPOP", *[f"nothing{i}" for i in range(20)], 0))
    t.wait_for(lambda: info(t.connect(server))["blocked_clients"] == "1", "it waits")
    before = b"".join(encode("SET", f"before{i}", i) for i in range(200))
    for number in range(30):
        big = b"x" * (40000 + number)
        conn = t.connect(server)
        data = before + encode("RPUSH", f"list{number}", "a", big, "b") + encode("PING")
        cut = len(data) - t.rng.choice((2000, 20000))
        conn.send(data[:cut])
        conn.send(data[cut:])
        for _ in range(200):
            t.equal(conn.read().value, b"OK")
        t.equal(conn.read().value, 3)
        t.equal(conn.read().value, b"PONG")
        t.equal(conn.cmd("LINDEX", f"list{number}", 1).value, big)
    waiter.send(encode("QUIT"))
