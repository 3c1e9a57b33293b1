# SPDX-License-Identifier: BSD-3-Clause
"""The order rule (src/README.md, "The order rule") under load: order.c does the work, this starts it and checks what it leaves.

GYRE_TEST_SCALE makes each run longer. GYRE_ORDER names the compiled order.c; otherwise
build/debug/test/gyre-order-test is used, or order.c is compiled here.
"""

import atexit
import os
import random
import re
import shutil
import subprocess
import tempfile

from harness import settled, HERE, PATIENCE, ROOT, SCALE, Failure, R, check, check_equal, info
from runner import test

SECONDS = 2 * SCALE
_compiled = []


def order_program():
    for path in (os.environ.get("GYRE_ORDER"), ROOT / "build/debug/test/gyre-order-test"):
        if (
            path
            and os.access(path, os.X_OK)
            and os.stat(path).st_mtime >= os.stat(HERE / "order.c").st_mtime
        ):
            return str(path)
    if not _compiled:
        folder = tempfile.mkdtemp(prefix="gyre-order-")
        atexit.register(shutil.rmtree, folder, True)
        subprocess.run(
            ["cc", "-std=c11", "-O2", "-o", f"{folder}/order", str(HERE / "order.c"), "-lpthread"],
            check=True,
            timeout=120,
        )
        _compiled.append(f"{folder}/order")
    return _compiled[0]


def run_order(name, server, seconds=SECONDS, seed=1):
    """Run one of order.c's tests; returns (operations, violations, all its output)."""
    host, port = server.address
    done = subprocess.run(
        [order_program(), name, host, str(port), str(seconds), str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=(seconds * 4 + 60) * PATIENCE,
    )
    text = done.stdout.decode()
    found = re.search(r": (\d+) operations, (\d+) violations\n$", text)
    if not found:
        raise Failure(
            f"gyre-order-test {name} ended with status {done.returncode}:\n{text[-3000:]}"
        )
    return int(found.group(1)), int(found.group(2)), text


def expect_order(t, name, server, least):
    operations, violations, text = run_order(name, server, seed=t.rng.randrange(1 << 30))
    check_equal(violations, 0, f"{operations} operations, violations\n{text[:3000]}\n")
    least = least * min(1, SCALE) / PATIENCE / 10  # machines differ; something was done
    check(operations >= least, f"only {operations} operations in {SECONDS:g} s: is a shard stuck?")


MATRIX = dict(threads=(4, 2, 1), io=("uring", "poll"), load=True, timeout=120)


@test("who sees the flag finds the data, pipelined or not", **MATRIX)
def flags(t, threads, io):
    expect_order(t, "flags", t.gyre(threads=threads, io=io), 5000)


@test("MSET, MSETNX and DEL over shards are never seen half done", **MATRIX)
def mset(t, threads, io):
    expect_order(t, "mset", t.gyre(threads=threads, io=io), 2000)


@test("RENAME and RENAMENX across shards lose and duplicate nothing", **MATRIX)
def rename(t, threads, io):
    expect_order(t, "rename", t.gyre(threads=threads, io=io), 1000)


@test("COPY across shards takes its value at one instant", **MATRIX)
def copy(t, threads, io):
    expect_order(t, "copy", t.gyre(threads=threads, io=io), 1000)


@test("pipelines cut at random bytes return every reply in order", **MATRIX)
def cuts(t, threads, io):
    expect_order(t, "cuts", t.gyre(threads=threads, io=io), 5000)


@test(
    "SMOVE across shards loses and duplicates nothing, SUNION and SINTER take one instant", **MATRIX
)
def smove(t, threads, io):
    expect_order(t, "smove", t.gyre(threads=threads, io=io), 1000)


@test("LMOVE and RPOPLPUSH across shards lose and duplicate nothing", **MATRIX)
def lmove(t, threads, io):
    expect_order(t, "lmove", t.gyre(threads=threads, io=io), 1000)


@test("ZUNION, ZINTERCARD and PFCOUNT over shards take one instant", **MATRIX)
def gather(t, threads, io):
    expect_order(t, "gather", t.gyre(threads=threads, io=io), 1000)


@test("SORT BY and GET over shards take one instant", **MATRIX)
def sort(t, threads, io):
    expect_order(t, "sort", t.gyre(threads=threads, io=io), 1000)


def every_shard_answers(conn):
    """Touch keys of every slot range, by every kind of spanning command."""
    keys = [f"alive:{i}" for i in range(200)]
    replies = conn.pipeline([("SET", k, "v") for k in keys])
    check(
        all(r.value == b"OK" for r in replies),
        f"a SET failed: {[r for r in replies if r.value != b'OK'][:1]}",
    )
    check_equal(conn.cmd("EXISTS", *keys).value, len(keys), "EXISTS over all shards")
    for a, b in zip(keys, keys[1:]):
        check_equal(conn.cmd("RENAME", a, b).value, b"OK", "RENAME")
        check_equal(conn.cmd("COPY", b, a).value, 1, "COPY")
    check_equal(conn.cmd("DEL", *keys).value, len(keys), "DEL over all shards")


def check_no_leak(t, server, conn, base, fds):
    """Clients are gone, by CLIENT LIST and by INFO; so are their descriptors, and no shard is stuck."""

    def others():
        return int(info(conn, "clients")["connected_clients"])

    t.wait_for(lambda: others() == base, f"connected_clients back at {base}, not {others()}", 10)
    lines = conn.cmd("CLIENT", "LIST").text().decode().strip().split("\n")
    t.equal(len(lines), base, "lines of CLIENT LIST")
    if fds is not None:
        t.wait_for(
            lambda: descriptors(server) <= fds + 4,
            f"descriptors: {fds} before, {descriptors(server)} after",
            10,
        )
    every_shard_answers(conn)


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


@test("clients killed in the middle leave no leak and no stuck shard", **MATRIX)
def kill(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    conn = t.connect(server, timeout=20)
    every_shard_answers(conn)
    base = settled(conn, 1)
    fds = descriptors(server)
    expect_order(t, "kill", server, 500)
    check_no_leak(t, server, conn, base, fds)


@test(
    "killed clients leave no memory behind",
    threads=(4,),
    io=("uring", "poll"),
    load=True,
    timeout=120,
)
def kill_memory(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    conn = t.connect(server, timeout=20)

    def used():
        conn.cmd("FLUSHALL")
        conn.cmd("MEMORY", "PURGE")
        return int(info(conn, "memory")["used_memory"])

    run_order("kill", server, SECONDS / 2)
    before = used()
    run_order("kill", server, SECONDS)
    t.wait_for(
        lambda: used() < before + (8 << 20), f"used_memory: {before} before, {used()} after", 15
    )


@test(
    "CLIENT KILL of busy clients leaves no stuck shard",
    threads=(4,),
    io=("uring", "poll"),
    load=True,
)
def client_kill(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control = t.connect(server)
    base = settled(control, 1)
    rng = random.Random(t.rng.random())
    for _ in range(int(15 * t.scale) or 1):
        victims = []
        for _ in range(8):
            conn = t.connect(server)
            number = conn.cmd("CLIENT", "ID").value
            keys = [f"k{rng.randrange(100)}" for _ in range(6)]
            conn.send(b"".join(t_encode(keys, rng) for _ in range(60)))
            victims.append((number, conn))
        rng.shuffle(victims)
        for number, conn in victims:
            reply = control.cmd("CLIENT", "KILL", "ID", number)
            t.equal(reply.value, 1, "CLIENT KILL of a busy client")
        for _, conn in victims:
            try:
                conn.drain()
            except OSError:
                pass
            conn.close()
    check_no_leak(t, server, control, base, None)


@test(
    "CLIENT LIST, UNBLOCK and KILL in an EXEC that meets reach the connections of all shards",
    threads=(4, 1),
    io=("uring", "poll"),
)
def client_commands_in_a_meeting(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control = t.connect(server)

    def exec_meeting(*commands):
        # SCAN 0 stops all shards; KILL and its kin run while it does.
        replies = control.pipeline([("MULTI",), ("SCAN", 0), *commands, ("EXEC",)])
        return replies[-1].value[1:]

    others = [t.connect(server) for _ in range(12)]
    for i, conn in enumerate(others):
        conn.cmd("SET", f"key{i}", "v")  # the first key chooses the shard
    ids = [conn.cmd("CLIENT", "ID").value for conn in others]
    for i in (0, 1, 2, 3):
        others[i].write("BLPOP", f"list{i}", 0)
    t.wait_for(lambda: int(info(control, "clients")["blocked_clients"]) == 4, "four wait")
    listed, *unblocked = exec_meeting(
        ("CLIENT", "LIST"), *(("CLIENT", "UNBLOCK", n, "ERROR") for n in ids[:6])
    )
    seen = {int(n) for n in re.findall(r"^id=(\d+)", listed.text().decode(), re.M)}
    t.equal(seen, {control.cmd("CLIENT", "ID").value, *ids})
    t.equal([r.value for r in unblocked], [1, 1, 1, 1, 0, 0])
    for i in (0, 1, 2, 3):
        t.equal(others[i].read().text()[:9], b"UNBLOCKED", f"client {i}")
    killed = exec_meeting(*(("CLIENT", "KILL", "ID", n) for n in ids[::2]))
    t.equal([r.value for r in killed], [1] * len(ids[::2]))
    for i, conn in enumerate(others):
        if i % 2:
            t.equal(conn.cmd("GET", f"key{i}").text(), b"v", f"client {i}")
        else:
            t.check(conn.is_closed(), f"client {i} was killed and is not closed")
        conn.close()
    check_no_leak(t, server, control, 1, None)


def t_encode(keys, rng):
    from harness import encode

    a, b = rng.sample(keys, 2) if len(set(keys)) > 1 else (keys[0], keys[0])
    return rng.choice(
        (
            encode("MSET", *(w for k in keys for w in (k, "v"))),
            encode("MGET", *keys),
            encode("RENAME", a, b),
            encode("COPY", a, b, "REPLACE"),
            encode("DEL", *keys),
            encode("SET", a, "x" * 3000),
            encode("GET", a),
        )
    )


@test(
    "an EXEC that is refused ends the WATCH before it, though that is under way",
    threads=(2, 4),
    io=("uring", "poll"),
)
def refused_exec(t, threads, io):
    server = t.own_gyre(threads=threads, io=io)
    conn, other = t.connect(server), t.connect(server)
    for i in range(60):
        words = ("WATCH", f"ended{i}"), ("EXEC", "x"), ("WATCH", f"watched{i}")
        kinds = [reply.kind for reply in conn.pipeline(words)]
        t.equal(kinds, ["+", "-", "+"])
        other.cmd("SET", f"ended{i}", 1)
        t.equal(conn.pipeline([("MULTI",), ("PING",), ("EXEC",)])[-1].value, [R("+", b"PONG")])
