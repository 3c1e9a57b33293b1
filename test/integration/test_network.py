# SPDX-License-Identifier: BSD-3-Clause
"""Sockets: rude clients, many clients, broken clients, big values, protocol errors, addresses, limits."""

import os
import random
import re
import socket
import stat
import time

from differential import scan_all
from harness import (
    settled,
    PATIENCE,
    PONG,
    Closed,
    Failure,
    OK,
    R,
    Server,
    bulk,
    check,
    check_equal,
    encode,
    info,
    ready,
    show,
)
from runner import test

BOTH = dict(threads=(1, 4), io=("uring", "poll"))


def longest_ping(conn, seconds, command=("PING",)):
    """The longest time a command took during `seconds`, in seconds."""
    longest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        reply = conn.cmd(*command)
        check(not reply.is_error(), f"{command} answered {show(reply)}")
        longest = max(longest, time.monotonic() - began)
        time.sleep(0.001)
    return longest


def stuff(conn, data, most):
    """Send `data` again and again without reading, until the server takes no more (or `most` bytes)."""
    conn.sock.setblocking(False)
    sent, idle = 0, 0
    while sent < most and idle < 5:
        try:
            sent += conn.sock.send(data[sent % len(data) :] or data)
            idle = 0
        except BlockingIOError:
            idle += 1
            time.sleep(0.02)
        except ConnectionError:
            return sent, False
    conn.sock.settimeout(conn.timeout)
    return sent, True


@test("a client that sends and never reads holds back nobody else", alone=True, **BOTH)
def never_reads(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    quick = t.connect(server)
    keys = [f"big:{i}" for i in range(8)]
    for key in keys:
        t.equal(quick.cmd("SET", key, key.encode() * 2000), OK)
    request = b"".join(encode("GET", k) for k in keys)
    rude = [t.connect(server, rcvbuf=4096) for _ in range(4)]
    sent = []
    for conn in rude:
        count, alive = stuff(conn, request, 600 * 1000)
        t.check(alive, "a client without an output limit was closed")
        sent.append(count)
    longest = max(longest_ping(quick, 0.7), longest_ping(quick, 0.7, ("MGET", *keys)))
    t.check(longest < 2.5 * PATIENCE, f"another client waited {longest:.3f} s")
    fresh = t.connect(server)
    t.equal(fresh.cmd("SET", "k", "v"), OK, "a new client")
    # Now it reads: everything it asked for must come, in order.
    conn, count = rude[0], sent[0]
    rest = request * 2
    conn.send(rest[count % len(request) :][: len(request) - count % len(request)])
    total = -(-count // len(request))
    for i in range(total * len(keys)):
        key = keys[i % len(keys)]
        reply = conn.read()
        t.check(
            reply.value == key.encode() * 2000,
            f"reply {i} is not {key}'s value: {show(reply)[:100]}",
        )


@test("a client over client-output-buffer-limit is closed, others live on", **BOTH)
def output_limit(t, threads, io):
    server = t.own_gyre(
        threads=threads, io=io, client_output_buffer_limit=["normal", "1mb", "0", "0"]
    )
    conn = t.connect(server)
    t.equal(conn.cmd("SET", "big", b"x" * (3 << 20)), OK)
    rude = t.connect(server, rcvbuf=4096)
    rude.send(encode("GET", "big") * 20)
    t.wait_for(
        lambda: int(info(conn, "clients")["connected_clients"]) == 1, "the client is dropped", 10
    )
    t.equal(conn.cmd("PING"), PONG)
    t.equal(conn.cmd("STRLEN", "big"), R(":", 3 << 20))


@test(
    "ten thousand connections open and close in bursts",
    alone=True,
    timeout=120,
    threads=(1, 4),
    io=("uring", "poll"),
)
def bursts(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control = t.connect(server)
    base = settled(control, 1)
    before = int(info(control, "stats")["total_connections_received"])
    t.equal(control.cmd("CONFIG", "SET", "loglevel", "verbose"), OK)
    total, burst = int(10000 * max(1, t.scale)), 1000
    for number in range(total // burst):
        conns = []
        for i in range(burst):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(server.address)
            conns.append(sock)
        for i, sock in enumerate(conns):
            ready(sock, 10 * PATIENCE, reading=False, writing=True)
            kind = i % 5
            try:
                if kind == 0:
                    sock.send(b"PING\r\n")
                elif kind == 1:
                    sock.send(encode("SET", f"k{i}", "v") + encode("GET", f"k{i + 1}"))
                elif kind == 2:
                    sock.send(b"*2\r\n$3\r\nGE")
                elif kind == 3:
                    sock.send(encode("MGET", *(f"k{j}" for j in range(8))))
            except OSError as problem:
                raise Failure(f"connection {i} of burst {number}: {problem}") from None
        for i in range(0, burst, 5):
            try:
                pong = ready(conns[i], 10 * PATIENCE)[0] and conns[i].recv(100)
            except OSError as problem:
                pong = problem
            if pong != b"+PONG\r\n":
                port = b"127.0.0.1:%d:" % conns[i].getsockname()[1]
                lines = b"\n".join(line for line in server.log().split(b"\n") if port in line)
                raise Failure(f"PING {i} of burst {number} got {pong}; the log:\n{lines.decode()}")
        for i, sock in enumerate(conns):
            if (i + number) % 3 == 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        t.equal(control.cmd("PING"), PONG)

    t.equal(control.cmd("CONFIG", "SET", "loglevel", "notice"), OK)

    def others():
        return int(info(control, "clients")["connected_clients"]) - base

    try:
        t.wait_for(lambda: others() == 0, "all of them are gone", 20)
    except Failure:
        listed = control.cmd("CLIENT", "LIST").text().decode().count("\n")
        raise Failure(
            f"{others()} of {total} clients are still connected after 20 s; CLIENT LIST has {listed} lines"
        ) from None
    received = int(info(control, "stats")["total_connections_received"]) - before
    t.check(
        received >= total, f"total_connections_received rose by {received}, want at least {total}"
    )


@test("four thousand clients are served at once", alone=True, threads=(1, 4), io=("uring", "poll"))
def many_at_once(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    conns = [t.connect(server) for _ in range(4000)]
    for i, conn in enumerate(conns):
        conn.send(encode("SET", f"key:{i}", i) + encode("GET", f"key:{i}"))
    for i, conn in enumerate(conns):
        t.equal(conn.read(), OK)
        t.equal(conn.read(), bulk(str(i)), f"client {i}")
    t.equal(settled(conns[0], 4000), 4000)


@test("connections beyond maxclients get Redis's error", **BOTH)
def max_clients(t, threads, io):
    server = t.own_gyre(threads=threads, io=io, maxclients=10)
    conns = [t.connect(server)]
    settled(conns[0], 1)  # the connection that saw it start is forgotten
    conns += [t.connect(server) for _ in range(9)]
    for conn in conns:
        t.equal(conn.cmd("PING"), PONG)
    for request in (b"", encode("PING"), encode("GET", "k")):
        late = t.connect(server)
        try:
            late.send(request)
            t.equal(late.drain(), b"-ERR max number of clients reached\r\n")
        except OSError:
            pass  # our bytes met a closed socket: the answer may be lost with it
    late = t.connect(server)
    t.equal(late.drain(), b"-ERR max number of clients reached\r\n", "without sending anything")
    t.check(int(info(conns[0], "stats")["rejected_connections"]) >= 4, "rejected_connections")
    conns[3].close()

    def welcome():
        with server.connect() as conn:
            try:
                return conn.cmd("PING") == PONG
            except (Closed, OSError):
                return False

    t.wait_for(welcome, "a place became free")
    t.equal(conns[0].cmd("CONFIG", "SET", "maxclients", "30"), OK)
    more = [t.connect(server) for _ in range(10)]
    for conn in more:
        t.equal(conn.cmd("PING"), PONG, "after CONFIG SET maxclients 30")


GARBAGE = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
    "HTTP POST": b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET k v\r\n",
    "text": b"hello there\r\nhow are you?\r\n*oops\r\n",
    "a bad multibulk": b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$x\r\nPING\r\n",
    "control characters": b"\x01\x02\x03\x7f\xff\r\n*z\r\n",
    "quotes": b"SET 'a b' \"c\r\n",
    "a huge count": b"*2147483648\r\n",
    "a negative bulk": b"*1\r\n$-5\r\n",
    "no dollar": b"*1\r\nGET\r\n",
}


@test(
    "garbage on the port gets what redis-server says to it",
    garbage=tuple(GARBAGE),
    threads=(1, 4),
    io=("uring", "poll"),
)
def garbage(t, garbage, threads, io):
    server = t.gyre(threads=threads, io=io)
    answers = []
    for where in (t.redis(), server):
        conn = t.connect(where)
        conn.send(GARBAGE[garbage])
        answers.append(conn.drain())
    t.equal(answers[1], answers[0])
    t.equal(t.connect(server).cmd("EXISTS", "k"), R(":", 0), "nothing after the garbage was run")


@test("random garbage kills nobody", **BOTH)
def random_garbage(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    good = t.connect(server)
    alphabet = [
        b"*",
        b"$",
        b"\r\n",
        b"\n",
        b"\r",
        b"1",
        b"3",
        b"-1",
        b"SET",
        b"GET",
        b" ",
        b"'",
        b'"',
        b"\x00",
        b"\xff",
        b"k",
        b"99999999",
        b"\x16\x03\x01\x02\x00\x01",
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        b"*1\r\n",
        b"$0\r\n\r\n",
    ]
    for _ in range(int(300 * max(1, t.scale))):
        with server.connect() as conn:
            data = b"".join(t.rng.choice(alphabet) for _ in range(t.rng.randrange(1, 60)))
            if t.rng.random() < 0.3:
                data = bytes(t.rng.randrange(256) for _ in range(t.rng.randrange(1, 3000)))
            try:
                conn.send(data)
                if t.rng.random() < 0.5:
                    conn.sock.shutdown(socket.SHUT_WR)
                    conn.drain()
            except OSError:
                pass
    t.equal(good.cmd("PING"), PONG)
    t.wait_for(lambda: int(info(good, "clients")["connected_clients"]) <= 2, "the guests are gone")


@test(
    "half-open sockets: replies still come after the client's FIN, and it is forgotten then", **BOTH
)
def half_open(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control = t.connect(server)
    base = settled(control, 1)
    for batch in (1, 10, 500):
        conn = t.connect(server)
        conn.send(
            b"".join(encode("SET", f"k{i}", i) + encode("GET", f"k{i}") for i in range(batch))
        )
        conn.sock.shutdown(socket.SHUT_WR)
        data = conn.drain()
        t.equal(
            data,
            b"".join(b"+OK\r\n$%d\r\n%d\r\n" % (len(str(i)), i) for i in range(batch)),
            "replies after FIN",
        )
    silent = [t.connect(server) for _ in range(100)]  # connect and say nothing
    partial = [t.connect(server) for _ in range(100)]
    for conn in partial:
        conn.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10\r\nabc")
    t.equal(t.connect(server).cmd("SET", "other", "v"), OK)
    for conn in silent[::2] + partial[::2]:
        conn.reset()
    for conn in silent[1::2]:
        conn.sock.shutdown(socket.SHUT_WR)
        t.equal(conn.drain(), b"")
    for conn in partial[1::2]:
        conn.send(b"defghij\r\n")
        t.equal(conn.read(), OK, "the rest of a command that took its time")
        conn.close()
    for conn in silent[1::2]:
        conn.close()
    t.wait_for(
        lambda: int(info(control, "clients")["connected_clients"]) <= base + 2, "all are gone"
    )


# (what is sent, what the server says before it closes) for a client that has not authenticated yet
UNAUTHENTICATED = [
    (b"*11\r\n", b"-ERR Protocol error: unauthenticated multibulk length\r\n"),
    (b"*2\r\n$16385\r\n", b"-ERR Protocol error: unauthenticated bulk length\r\n"),
    (b"*2\r\n$4\r\nAUTH\r\n$100000\r\n", b"-ERR Protocol error: unauthenticated bulk length\r\n"),
]


@test("clients that have not authenticated may send little", **BOTH)
def unauthenticated_limits(t, threads, io):
    server = t.own_gyre(threads=threads, io=io, requirepass="secret")
    for data, want in UNAUTHENTICATED:
        conn = t.connect(server, password=None)
        conn.send(data)
        t.equal(conn.drain(), want, repr(data))
    conn = t.connect(server, password=None)
    conn.send(
        b"*10\r\n"
        + b"$4\r\nPING\r\n" * 10
        + b"*2\r\n$4\r\nAUTH\r\n$16384\r\n"
        + b"x" * 16384
        + b"\r\n"
    )
    t.match(conn.read(), b"^(NOAUTH|ERR wrong number)")
    t.match(conn.read(), b"^WRONGPASS")
    t.equal(conn.cmd("AUTH", "secret"), OK)
    t.equal(conn.cmd("SET", "k", b"v" * 100000), OK, "a long argument after AUTH")
    t.equal(conn.cmd("EXISTS", *["k"] * 100), R(":", 100), "many arguments after AUTH")


TOO_BIG = {
    "inline": (b"x" * (64 * 1024 + 1), b"-ERR Protocol error: too big inline request\r\n"),
    "inline in pieces": (
        b"SET k " + b"y" * (80 * 1024),
        b"-ERR Protocol error: too big inline request\r\n",
    ),
    "count": (
        b"*" + b"1" * (64 * 1024 + 1),
        b"-ERR Protocol error: too big mbulk count string\r\n",
    ),
    "bulk length": (
        b"*1\r\n$" + b"1" * (64 * 1024 + 1),
        b"-ERR Protocol error: too big bulk count string\r\n",
    ),
}


@test(
    "lines without an end are refused at 64 KB",
    what=tuple(TOO_BIG),
    threads=(1, 4),
    io=("uring", "poll"),
)
def too_big_lines(t, what, threads, io):
    data, want = TOO_BIG[what]
    for server in (t.redis(), t.gyre(threads=threads, io=io)):
        conn = t.connect(server)
        for at in range(0, len(data), 10000):
            try:
                conn.send(data[at : at + 10000])
            except OSError:
                break
            time.sleep(0.001)
        try:
            t.equal(conn.drain(), want, server.kind)
        except Closed:
            raise Failure(f"{server.kind}: closed without a word") from None


@test("a pipeline may be cut at every byte", threads=(1, 4), io=("uring", "poll"), resp=(2, 3))
def cut_everywhere(t, threads, io, resp):
    server = t.gyre(threads=threads, io=io)
    conn = t.connect(server, resp=resp)
    pipeline = [
        ("SET", "key:1", "some value"),
        ("GET", "key:1"),
        ("MSET", "a", "1", "b", "", "c", "\r\n"),
        ("MGET", "c", "b", "a", "z"),
        ("RENAME", "a", "d"),
        ("DEL", "d", "b"),
        ("GET", "nope"),
        ("ECHO", "*1\r\n$4\r\nPING\r\n"),
        ("nosuch",),
        ("INCR", "n"),
        ("DEL", "n"),
    ]
    data = b"".join(encode(*c) for c in pipeline) + b"\r\nPING\r\n*0\r\n"
    want = b"".join(raw for raw, _ in conn.exchange(data, 12))
    t.equal(want.count(b"\r\n") > 12, True)
    for at in range(1, len(data)):
        conn.send(data[:at])
        if at % 7 == 0:
            time.sleep(0.0005)
        got = b"".join(raw for raw, _ in conn.exchange(data[at:], 12))
        t.check(got == want, f"cut at byte {at}: got {got!r}, want {want!r}")
    for byte in data:
        conn.send(bytes([byte]))
    got = b"".join(conn.read_raw()[0] for _ in range(12))
    t.equal(got, want, "one byte at a time")


@test(
    "pipelines of any length are answered in full and in order",
    length=(1, 2, 100, 10000, 300000),
    threads=(1, 4),
    io=("uring", "poll"),
)
def long_pipelines(t, length, threads, io):
    conn = t.connect(t.gyre(threads=threads, io=io), timeout=30)
    data = b"".join(
        encode("SET", b"k%d" % (i % 5000), i) + encode("GET", b"k%d" % (i % 5000))
        for i in range(length)
    )
    replies = conn.exchange(data, 2 * length)
    for i in range(length):
        check(replies[2 * i][1] == OK, f"SET {i} answered {show(replies[2 * i][1])}")
        check_equal(replies[2 * i + 1][1], bulk(str(i)), f"GET {i}")


@test(
    "a value of 100 MB is set and got, and others stay quick",
    alone=True,
    threads=(1, 4),
    io=("uring", "poll"),
)
def huge_value(t, threads, io):
    server = t.own_gyre(threads=threads, io=io)
    conn = t.connect(server, timeout=60)
    quick = t.connect(server)
    block = random.Random(1).randbytes(1 << 20)
    value = b"".join(b"%08d" % i + block[8:] for i in range(100))
    began = time.monotonic()
    conn.send(b"*3\r\n$3\r\nSET\r\n$4\r\nhuge\r\n$%d\r\n" % len(value))
    for at in range(0, len(value), 10 << 20):
        conn.send(value[at : at + (10 << 20)])
        waited = longest_ping(quick, 0.02)
        t.check(waited < 2 * PATIENCE, f"a PING took {waited:.2f} s while the value arrived")
    conn.send(b"\r\n")
    t.equal(conn.read(), OK)
    t.equal(quick.cmd("STRLEN", "huge"), R(":", len(value)))
    t.check(conn.cmd("GET", "huge").value == value, "the value came back changed")
    t.check(
        time.monotonic() - began < 30 * PATIENCE, f"{time.monotonic() - began:.1f} s for 100 MB"
    )
    t.equal(quick.cmd("GETRANGE", "huge", 50 << 20, (50 << 20) + 7), bulk("00000050"))
    t.equal(quick.cmd("COPY", "huge", "huge2"), R(":", 1))
    t.equal(quick.cmd("UNLINK", "huge"), R(":", 1))
    t.equal(quick.cmd("STRLEN", "huge2"), R(":", len(value)))
    # A client that gives up half way leaves nothing.
    half = t.connect(server)
    half.send(b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$%d\r\n" % len(value) + value[: 20 << 20])
    half.close()
    t.equal(quick.cmd("EXISTS", "half"), R(":", 0))


@test("bulk strings end at proto-max-bulk-len", threads=(1, 4))
def bulk_limit(t, threads):
    server = t.own_gyre(threads=threads, proto_max_bulk_len="1mb")
    conn = t.connect(server)
    t.equal(conn.cmd("SET", "k", b"x" * (1 << 20)), OK)
    t.equal(
        conn.cmd("APPEND", "k", "y"),
        R("-", b"ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
    )
    t.equal(
        conn.cmd("SETRANGE", "k", 1 << 20, "y"),
        R("-", b"ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
    )
    t.equal(conn.cmd("STRLEN", "k"), R(":", 1 << 20))
    conn.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % ((1 << 20) + 1))
    t.equal(conn.drain(), b"-ERR Protocol error: invalid bulk length\r\n")


@test("one command may have a hundred thousand keys", threads=(1, 4), io=("uring", "poll"))
def many_arguments(t, threads, io):
    conn = t.connect(t.gyre(threads=threads, io=io), timeout=30)
    keys = [b"key:%d" % i for i in range(100000)]
    t.equal(conn.cmd("MSET", *(w for k in keys for w in (k, k))), OK)
    got = conn.cmd("MGET", *keys, "nope")
    t.check([v.value for v in got.value] == keys + [None], "MGET of 100,001 keys")
    t.equal(conn.cmd("EXISTS", *keys), R(":", len(keys)))
    t.equal(conn.cmd("DBSIZE"), R(":", len(keys)))
    t.check({k.value for k in conn.cmd("KEYS", "key:*").value} == set(keys), "KEYS")
    t.check(scan_all(conn, ("COUNT", "1000")) == set(keys), "a full SCAN")
    t.equal(conn.cmd("UNLINK", *keys[:50000]), R(":", 50000))
    t.equal(conn.cmd("DEL", *keys), R(":", 50000))


@test(
    "SCAN returns every key that stays, while others come, go and the table changes its size",
    **BOTH,
)
def scan_guarantee(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    conn, other = t.connect(server), t.connect(server)
    stay = {b"stay:%d" % i for i in range(3000)}
    conn.pipeline([("SET", k, "v") for k in stay])
    number = [0]

    def disturb(page):
        number[0] += 1
        if number[0] % 5:
            return
        n = number[0]
        phase = (n // 200) % 2
        other.pipeline(
            [
                ("DEL" if phase else "SET", f"come:{n % 1000}:{i}", *(() if phase else ("v",)))
                for i in range(60)
            ]
        )

    for count in ("1", "10", "100"):
        got = scan_all(conn, ("COUNT", count), disturb)
        t.check(
            stay <= got,
            f"COUNT {count}: missed {sorted(stay - got)[:5]} and {len(stay - got)} in all",
        )
        t.check(all(k.startswith((b"stay:", b"come:")) for k in got), "SCAN invented a key")
    other.pipeline([("DEL", f"come:{n}:{i}") for n in range(1000) for i in range(60)])
    conn.pipeline([("UNLINK", k) for k in sorted(stay)[1000:]])  # and while it shrinks
    t.check(set(sorted(stay)[:1000]) == scan_all(conn, ("COUNT", "7")), "after shrinking")


@test("a Unix socket works as TCP does", **BOTH)
def unix_socket(t, threads, io):
    server = t.own_gyre(threads=threads, io=io, unix=True, unixsocketperm="700")
    conn = t.connect(server)
    t.equal(conn.pipeline([("SET", f"k{i}", i) for i in range(100)]), [OK] * 100)
    t.equal(conn.cmd("MGET", *(f"k{i}" for i in range(100))).value[99], bulk("99"))
    t.equal(stat.S_IMODE(os.stat(server.address).st_mode), 0o700, "unixsocketperm")
    line = conn.cmd("CLIENT", "INFO").text()
    t.match(line, rb"addr=%s:0 laddr=%s:0 " % (server.address.encode(), server.address.encode()))
    t.equal(info(conn, "server")["tcp_port"], "0")
    path = server.address
    server.stop()
    t.check(not os.path.exists(path), "the socket's file is still there after the server's end")


@test("TCP and a Unix socket together", threads=(1, 4), io=("uring", "poll"))
def both_sockets(t, threads, io):
    path = f"/tmp/gyre-both-{os.getpid()}-{random.SystemRandom().randrange(1 << 30)}.sock"
    server = t.own_gyre(threads=threads, io=io, unixsocket=path)
    one, two = t.connect(server), t.connect(path)
    t.equal(one.cmd("SET", "k", "v"), OK)
    t.equal(two.cmd("GET", "k"), bulk("v"))


@test("IPv6 and several bind addresses", **BOTH)
def addresses(t, threads, io):
    server = t.own_gyre(threads=threads, io=io, bind=["127.0.0.1", "127.0.0.2", "::1"])
    for n, host in enumerate(("127.0.0.1", "127.0.0.2", "::1")):
        conn = t.connect((host, server.port))
        t.equal(conn.cmd("SET", f"k{n}", host), OK, host)
        t.equal(conn.cmd("EXISTS", "k0"), R(":", 1), host)
        shown = f"[{host}]" if ":" in host else host
        t.match(
            conn.cmd("CLIENT", "INFO").text(),
            rf"laddr={shown.replace('[', '.').replace(']', '.')}:{server.port} ",
        )
    try:
        t.connect(("127.0.0.3", server.port))
    except OSError:
        return
    raise Failure("127.0.0.3 was not asked for, and yet it answers")


@test("an optional bind address (-) that does not exist is passed over; a port in use is an error")
def bind_errors(t):
    server = t.own_gyre(bind=["127.0.0.1", "-192.0.2.77"])
    t.equal(t.connect(server).cmd("PING"), PONG)
    second = Server.gyre(wait=False, port=server.port)
    try:
        status = second.wait_exit()
        t.check(status not in (0, None), f"a server on a port in use ended with {status}")
        t.match(second.log(), rb"(?i)in use")
    finally:
        second.kill()


@test("requirepass from the command line", threads=(1, 4), resp=(2, 3))
def require_pass(t, threads, resp):
    server = t.own_gyre(threads=threads, requirepass="s3cret pass")
    conn = t.connect(server, password=None)
    no_auth = R("-", b"NOAUTH Authentication required.")
    for command in (
        ("GET", "k"),
        ("SET", "k", "v"),
        ("MGET", "a", "b"),
        ("PING",),
        ("SELECT", "0"),
        ("CONFIG", "GET", "*"),
        ("CLIENT", "LIST"),
        ("FLUSHALL",),
        ("INFO",),
        ("COMMAND",),
    ):
        t.equal(conn.cmd(*command), no_auth, command[0])
    wrong = R("-", b"WRONGPASS invalid username-password pair or user is disabled.")
    t.equal(conn.cmd("AUTH", "wrong"), wrong)
    t.equal(conn.cmd("AUTH", "nobody", "s3cret pass"), wrong)
    t.match(
        conn.cmd("HELLO", resp),
        rb"^NOAUTH HELLO must be called with the client already authenticated",
    )
    t.equal(conn.cmd("HELLO", resp, "AUTH", "default", "bad"), wrong)
    # Pipelined with its AUTH, everything after it is allowed; a failing AUTH answers once and in its place.
    t.equal(
        conn.pipeline(
            [
                ("GET", "k"),
                ("AUTH", "bad"),
                ("AUTH", "s3cret pass"),
                ("SET", "k", "v"),
                ("GET", "k"),
            ]
        ),
        [no_auth, wrong, OK, OK, bulk("v")],
    )
    again = t.connect(server, password=None)
    reply = again.cmd("HELLO", resp, "AUTH", "default", "s3cret pass", "SETNAME", "me")
    t.equal(reply.kind, "%" if resp == 3 else "*", "HELLO with AUTH")
    t.equal(again.cmd("CLIENT", "GETNAME"), bulk("me"))
    t.equal(again.cmd("RESET"), R("+", b"RESET"))
    t.equal(again.cmd("PING"), no_auth, "after RESET")


@test("timeout closes idle clients and no others", alone=True, **BOTH)
def idle_timeout(t, threads, io):
    server = t.own_gyre(threads=threads, io=io, timeout=1)
    idle, keyed, silent, busy = (t.connect(server) for _ in range(4))
    t.equal(idle.cmd("PING"), PONG)
    t.equal(keyed.cmd("SET", "k", "v"), OK)
    end = time.monotonic() + 4 * PATIENCE
    closed = set()
    while time.monotonic() < end and len(closed) < 3:
        t.equal(busy.cmd("GET", "k"), bulk("v"), "a client that is not idle")
        time.sleep(0.1)
        for name, conn in (("idle", idle), ("keyed", keyed), ("silent", silent)):
            if name not in closed and ready(conn.sock, 0)[0] and conn.is_closed(0.1):
                closed.add(name)
    t.equal(sorted(closed), ["idle", "keyed", "silent"], "closed")
    t.equal(busy.cmd("CONFIG", "SET", "timeout", "0"), OK)
    time.sleep(1.5)
    t.equal(busy.cmd("PING"), PONG, "after CONFIG SET timeout 0")


@test("who is served after a long wait is not idle", **BOTH)
def idle_after_wait(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control, conn = t.connect(server), t.connect(server)
    number = conn.cmd("CLIENT", "ID").value

    def idle_s():
        text = control.cmd("CLIENT", "LIST", "ID", number).text()
        return int(re.search(rb" idle=(\d+)", text)[1])

    conn.write("BLPOP", "q", 0)
    t.wait_for(lambda: idle_s() >= 2, "it waits")
    begin = time.monotonic()
    t.equal(control.cmd("RPUSH", "q", "x"), R(":", 1))
    conn.read()
    t.wait_for(lambda: idle_s() <= time.monotonic() - begin + 1, "it has just been served")


@test("MONITOR shows every client's commands in order", **BOTH)
def monitor(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    watcher, conn = t.connect(server), t.connect(server)
    t.equal(watcher.cmd("MONITOR"), OK)
    t.equal(
        conn.pipeline(
            [
                ("SET", "k", 'a"b\\\x00\r\n'),
                ("SELECT", 2),
                ("GET", "k"),
                ("MSET", "a", 1, "b", 2),
                ("nosuch", "x"),
                ("SELECT", 0),
            ]
        )[0],
        OK,
    )
    want = [
        rb'^(\d+\.\d{6}) \[0 127\.0\.0\.1:(\d+)\] "SET" "k" "a\\"b\\\\\\x00\\r\\n"$',
        rb'\[2 [0-9.:]+\] "SELECT" "2"$',
        rb'\[2 [0-9.:]+\] "GET" "k"$',
        rb'\[2 [0-9.:]+\] "MSET" "a" "1" "b" "2"$',
        rb'\[0 [0-9.:]+\] "SELECT" "0"$',
    ]
    for pattern in want:
        reply = watcher.read()
        t.equal(reply.kind, "+")
        t.match(reply, pattern)
    many = [("SET", f"k{i}", i) for i in range(500)]
    conn.pipeline(many)
    for _, key, value in many:
        t.match(watcher.read(), f'"SET" "{key}" "{value}"$')
    t.equal(conn.cmd("AUTH", "default", "topsecret").kind, "+")
    t.match(watcher.read(), r'"AUTH" "\(redacted\)" "\(redacted\)"$')
    t.equal(conn.cmd("HELLO", "2", "AUTH", "default", "topsecret").kind, "*")
    t.match(watcher.read(), r'"HELLO" "2" "AUTH" "\(redacted\)" "\(redacted\)"$')
    watcher.close()
    t.equal(conn.cmd("PING"), PONG)


@test("a client that has said nothing yet is in CLIENT LIST and can be killed", **BOTH)
def silent_client(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control, silent = t.connect(server), t.connect(server)
    address = "%s:%d" % silent.sock.getsockname()
    t.wait_for(
        lambda: f"addr={address} ".encode() in control.cmd("CLIENT", "LIST").text(),
        "the silent client appears in CLIENT LIST",
        3,
    )
    t.equal(control.cmd("CLIENT", "KILL", "ADDR", address), R(":", 1))
    t.equal(silent.drain(), b"")


@test("a client that moves to the shard of its key is in CLIENT LIST all the while, and can be killed", **BOTH)
def moving_client(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control = t.connect(server)
    for i in range(800):
        mover = t.connect(server)
        own = mover.cmd("CLIENT", "ID").value
        mover.cmd("GET", f"k{i}")  # the first key: it moves there
        if i % 2:
            lines = control.cmd("CLIENT", "LIST").text().decode().splitlines()
            t.equal(sum(line.startswith(f"id={own} ") for line in lines), 1)
        else:
            t.equal(control.cmd("CLIENT", "KILL", "ID", own), R(":", 1))
        mover.close()


@test("HELLO in a transaction holds for what is behind it, in the transaction and after it", **BOTH)
def hello_in_multi(t, threads, io):
    outcomes = []
    for server in (t.redis(), t.gyre(threads=threads, io=io)):
        conn = t.connect(server)
        for i in range(4):
            conn.cmd("HSET", f"h{i}", "field", "value")
        reads = [("HGETALL", f"h{i}") for i in range(4)]
        there = [("MULTI",), ("GET", "none"), ("HELLO", "3"), *reads, ("GET", "none"), ("EXEC",), *reads]
        back = [("MULTI",), *reads, ("HELLO", "2"), *reads, ("EXEC",), *reads]
        replies = conn.pipeline(there + back)
        replies[8].value[1] = replies[23].value[4] = None  # HELLO's own: versions, numbers
        outcomes.append(replies)
    t.equal(outcomes[1], outcomes[0])


@test("SELECT in a transaction holds though its shard stands still when it comes", **BOTH)
def select_in_multi(t, threads, io):
    """Then it is no plain list of commands, which have one database, but goes to its shard's inbox."""
    server = t.gyre(threads=threads, io=io)
    others, conn = [t.connect(server) for _ in range(4)], t.connect(server)
    renames = b"".join(encode("RENAME", f"none{i}", f"there{i}") for i in range(40))
    for i in range(100):
        for other in others:
            other.send(renames)
        words = [("MULTI",), ("SELECT", 1), ("INCR", "n"), ("SELECT", 0), ("EXEC",), ("EXISTS", "n")]
        replies = conn.pipeline(words)
        t.equal(replies[4].value[1].value, i + 1)
        t.equal(replies[5].value, 0)
        for other in others:
            for _ in range(40):
                other.read()
