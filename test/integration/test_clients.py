# SPDX-License-Identifier: BSD-3-Clause
"""Real clients (redis-cli, redis-benchmark, redis-py) and the handshakes of all others, byte for byte.

GYRE_VENV names a virtual environment with the newest redis-py (and hiredis) from PyPI; without it those
tests are skipped. Debian's redis-py is always there.
"""

import os
import re
import subprocess
import textwrap
import time

from harness import OK, PATIENCE, STANDIN, Failure, R, bulk, check, encode, ready
from runner import test

CLI, BENCHMARK = "/usr/bin/redis-cli", "/usr/bin/redis-benchmark"
MATRIX = dict(threads=(1, 4), io=("uring", "poll"))


def run(*argv, data=None, timeout=40, status=0):
    """Run a program; its output as text. Failure on another exit status."""
    try:
        done = subprocess.run(
            [str(a) for a in argv],
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout * PATIENCE,
        )
    except subprocess.TimeoutExpired as late:
        raise Failure(
            f"{' '.join(map(str, argv))} did not end; so far:\n{(late.stdout or b'')[-2000:]!r}"
        ) from None
    text = done.stdout.decode("utf-8", "replace")
    check(
        status is None or done.returncode == status,
        f"{' '.join(map(str, argv))} ended with {done.returncode}:\n{text[-3000:]}",
    )
    return text


def run_until(pattern, *argv, seconds=20):
    """Run a program that does not end by itself until it has printed this; its output as text."""
    process = subprocess.Popen(
        [str(a) for a in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, deadline = b"", time.monotonic() + seconds * PATIENCE
    while not re.search(pattern, out) and ready(process.stdout, deadline - time.monotonic())[0]:
        piece = os.read(process.stdout.fileno(), 1 << 16)
        if not piece:
            break
        out += piece
    process.terminate()
    return (out + process.communicate()[0]).decode()


@test("redis-cli: single commands, raw and RESP3", **MATRIX)
def cli_plain(t, threads, io):
    port = t.gyre(threads=threads, io=io).port
    t.equal(run(CLI, "-p", port, "SET", "k", "a b"), "OK\n")
    t.equal(run(CLI, "-p", port, "GET", "k"), "a b\n")
    t.equal(run(CLI, "-p", port, "--no-raw", "GET", "k"), '"a b"\n')
    t.equal(run(CLI, "-p", port, "--no-raw", "GET", "nope"), "(nil)\n")
    t.equal(run(CLI, "-p", port, "--no-raw", "MGET", "k", "nope"), '1) "a b"\n2) (nil)\n')
    t.equal(
        run(CLI, "-p", port, "--no-raw", "INCR", "k"),
        "(error) ERR value is not an integer or out of range\n",
    )
    t.equal(run(CLI, "-3", "-p", port, "--no-raw", "GET", "nope"), "(nil)\n")
    t.match(
        run(CLI, "-3", "-p", port, "--no-raw", "HELLO"),
        r'1# "server" => "redis"\n2# "version" => "7\.[\d.]+"\n3# "proto" => \(integer\) 3',
    )
    t.match(run(CLI, "-3", "-p", port, "INFO", "server"), r"^# Server\r?\nredis_version:7\.")
    t.equal(run(CLI, "-p", port, "-n", "5", "SET", "five", "v"), "OK\n")
    t.equal(run(CLI, "-p", port, "-n", "5", "DBSIZE"), "1\n")
    t.equal(run(CLI, "-p", port, "-x", "SET", "stdin", data=b"from stdin"), "OK\n")
    t.equal(run(CLI, "-p", port, "GET", "stdin"), "from stdin\n")
    t.equal(run(CLI, "-p", port, "-r", "3", "INCR", "n"), "1\n2\n3\n")
    t.equal(run(CLI, "-p", port, "--json", "-3", "MGET", "k", "nope"), '["a b",null]\n')
    t.equal(
        run(CLI, "-p", port, "-e", "GETT", "k", status=1).startswith("ERR unknown command"), True
    )


@test("redis-cli: its interactive loop, which starts with COMMAND DOCS", **MATRIX)
def cli_interactive(t, threads, io):
    port = t.gyre(threads=threads, io=io).port
    for flags in ((), ("-3",)):
        out = run(
            CLI,
            "-p",
            port,
            *flags,
            data=b"set k v\nget k\nselect 3\nget k\nhello 3\nhello 2\nget k\nhelp set\nping\nquit\n",
        )
        t.match(out, r"OK\nv\nOK\n")
        t.match(out, r"PONG\n")
        t.match(re.sub(r"\x1b\[[0-9;]*m", "", out), r"SET key value \[NX\|XX\] \[GET\]")


@test("redis-cli --pipe loads a file of commands", **MATRIX)
def cli_pipe(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    count = 30000
    data = (
        b"".join(encode("SET", f"key:{i}", f"value:{i}") for i in range(count))
        + b"SET inline yes\r\n"
        + encode("INCR", "inline")
    )
    out = run(CLI, "-p", server.port, "--pipe", data=data, status=1)
    t.match(out, rf"errors: 1, replies: {count + 2}\n")
    t.match(
        run(CLI, "-p", server.port, "--pipe", data=data[: data.index(b"SET inline")]),
        rf"errors: 0, replies: {count}\n",
    )
    t.equal(t.connect(server).cmd("DBSIZE"), R(":", count + 1))
    t.equal(t.connect(server).cmd("GET", f"key:{count - 1}"), bulk(f"value:{count - 1}"))


@test("redis-cli --bigkeys, --memkeys, --scan and --hotkeys", **MATRIX)
def cli_scans(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    conn = t.connect(server)
    conn.pipeline(
        [("SET", f"key:{i}", "v" * (i % 50 + 1)) for i in range(2000)]
        + [("SET", "biggest", "x" * 5000)]
    )
    out = run(CLI, "-p", server.port, "--bigkeys")
    t.match(out, r"Sampled 2001 keys in the keyspace!")
    t.match(out, r"Biggest string found .*biggest.* has 5000 bytes")
    t.match(run(CLI, "-p", server.port, "--memkeys"), r"Biggest string found .*biggest")
    t.equal(len(set(run(CLI, "-p", server.port, "--scan").split())), 2001)
    t.equal(
        sorted(set(run(CLI, "-p", server.port, "--scan", "--pattern", "key:199?").split())),
        [f"key:199{i}" for i in range(10)],
    )
    t.match(
        run(CLI, "-p", server.port, "--hotkeys", status=None),
        r"An LFU maxmemory policy is not selected",
    )


@test("redis-cli --latency and --stat run", load=True, **MATRIX)
def cli_monitors(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    out = run(CLI, "-p", server.port, "--latency", "--raw")
    t.match(out, r"^\d+ \d+ [\d.]+ \d+")
    head = rb"keys +mem +clients +blocked +requests +connections *"
    lines = head + rb"(\n0 +\S+ +\d+ +0 +\d+ \(\+\d+\) +\d+ *){3}"
    out = run_until(lines, "/usr/bin/stdbuf", "-oL", CLI, "-p", server.port, "--stat", "-i", "0.2")
    t.match(out, lines)


@test("redis-cli with a password", **MATRIX)
def cli_auth(t, threads, io):
    server = t.own_gyre(threads=threads, io=io, requirepass="secret")
    t.equal(run(CLI, "-p", server.port, "--no-auth-warning", "-a", "secret", "PING"), "PONG\n")
    t.equal(
        run(
            CLI,
            "-p",
            server.port,
            "--no-auth-warning",
            "-a",
            "secret",
            "--user",
            "default",
            "-3",
            "PING",
        ),
        "PONG\n",
    )
    t.match(
        run(CLI, "-p", server.port, "--no-auth-warning", "-a", "wrong", "PING", status=None),
        r"WRONGPASS.*NOAUTH|NOAUTH",
    )
    t.match(run(CLI, "-p", server.port, "PING", status=None), r"NOAUTH Authentication required")


@test(
    "redis-benchmark runs its tests",
    flags=((), ("-P", "16"), ("-3",), ("-3", "-P", "16")),
    **MATRIX,
)
def benchmark(t, flags, threads, io):
    server = t.gyre(threads=threads, io=io)
    out = run(
        BENCHMARK,
        "-p",
        server.port,
        "-q",
        "--csv",
        "-n",
        "20000",
        "-c",
        "20",
        "-r",
        "1000",
        "-t",
        "set,get,incr,mset,ping",
        *flags,
        timeout=60,
    )
    rows = dict(re.findall(r'^"([^"]+)","([\d.]+)"', out, re.M))
    t.equal(
        sorted(rows),
        ["GET", "INCR", "MSET (10 keys)", "PING_INLINE", "PING_MBULK", "SET"],
        f"rows of\n{out}",
    )
    t.check(all(float(v) > 0 for v in rows.values()), out)
    t.check("error" not in out.lower(), out)
    t.check(t.connect(server).cmd("DBSIZE").value > 900, "the keys are there")


@test("redis-benchmark over many threads and connections, and any command", **MATRIX)
def benchmark_more(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    run(
        BENCHMARK,
        "-p",
        server.port,
        "-q",
        "-n",
        "20000",
        "-c",
        "100",
        "--threads",
        "2",
        "-t",
        "set,get",
        "-P",
        "4",
    )
    out = run(
        BENCHMARK,
        "-p",
        server.port,
        "-q",
        "-n",
        "5000",
        "-r",
        "100",
        "mget",
        "a:__rand_int__",
        "b:__rand_int__",
        "c:__rand_int__",
    )
    t.match(out, r"requests per second")


# Run with any redis-py (its own interpreter): argv = port, protocol.
REDIS_PY = textwrap.dedent("""
    import sys, threading, redis
    port, protocol = int(sys.argv[1]), int(sys.argv[2])
    options = {"protocol": protocol} if protocol else {}
    if protocol and "." in redis.__version__ and int(redis.__version__.split(".")[0]) < 5:
        options = {}
    r = redis.Redis(port=port, client_name="tester", db=1, **options)
    assert r.ping() is True and r.flushall() is True
    assert r.set("k", "v") is True and r.get("k") == b"v"
    assert r.set("k", "w", nx=True) is None
    assert r.set("k", "w", get=True) == b"v"
    assert r.set("t", "v", ex=100) and 90 < r.ttl("t") <= 100 and 90000 < r.pttl("t") <= 100000
    assert r.get("nope") is None and r.ttl("nope") == -2 and r.ttl("k") == -1
    assert r.mset({"a": 1, "b": 2, "c": 3}) and r.mget("a", "b", "c", "nope") == [b"1", b"2", b"3", None]
    assert r.incr("n") == 1 and r.incrby("n", 10) == 11 and r.decr("n") == 10 and r.incrbyfloat("f", 1.5) == 1.5
    assert r.append("k", "x") == 2 and r.strlen("k") == 2 and r.getrange("k", 0, 0) == b"w" and r.setrange("k", 1, "yy") == 3
    assert r.exists("a", "b", "nope") == 2 and r.delete("a", "b", "nope") == 2 and r.unlink("c") == 1 and r.touch("k") == 1
    assert r.rename("k", "k2") and r.renamenx("k2", "t") is False and r.copy("k2", "k3") is True
    assert r.type("k2") == b"string" and r.type("nope") == b"none"
    assert sorted(r.keys("k*")) == [b"k2", b"k3"] and set(r.scan_iter(match="k*", count=1)) == {b"k2", b"k3"}
    assert r.expire("k2", 50) and r.persist("k2") and r.expireat("k2", 9999999999) and r.pexpire("k2", 10000000)
    assert r.getdel("k3") == b"wyy" and r.getex("k2", persist=True) == b"wyy" and r.getset("k2", "z") == b"wyy"
    assert r.dbsize() == 4, r.keys()
    assert r.client_getname() in (b"tester", "tester")
    assert any(c["name"] == "tester" and c["addr"] for c in r.client_list())
    assert r.client_id() > 0 and r.client_info()["name"] == "tester"
    assert r.info()["redis_version"].startswith("7.") and "keyspace_hits" in r.info("stats")
    assert r.info("keyspace")["db1"]["keys"] == 4
    assert r.config_get("maxclients")["maxclients"] and r.config_set("timeout", 0) and "databases" in r.config_get("*")
    assert r.command_count() > 50 and r.command()["get"]["arity"] == 2
    assert r.object("encoding", "n") in (b"int", "int") and len(r.time()) == 2
    assert r.slowlog_get() is not None and r.slowlog_len() >= 0 and r.memory_usage("k2") > 0
    assert r.echo("x") == b"x"
    for bad, text in ((("SET", "a"), "wrong number of arguments"), (("INCR", "k2"), "not an integer"), (("NOSUCH",), "unknown command")):
        try:
            r.execute_command(*bad)
            raise SystemExit("no error for %r" % (bad,))
        except redis.ResponseError as e:
            assert text in str(e), e
    with r.pipeline(transaction=False) as p:
        for i in range(3000):
            p.set("p%d" % i, i)
            p.get("p%d" % i)
        out = p.execute()
    assert out[1::2] == [b"%d" % i for i in range(3000)]
    assert r.swapdb(1, 2) and r.dbsize() == 0 and r.move("nope", 3) in (False, 0)

    def work(n):
        mine = redis.Redis(port=port, **options)
        for i in range(200):
            mine.set("w%d:%d" % (n, i), i)
            assert mine.get("w%d:%d" % (n, i)) == b"%d" % i
            mine.incr("shared")
    workers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    [w.start() for w in workers]
    [w.join() for w in workers]
    assert redis.Redis(port=port, **options).get("shared") == b"1600"
    assert r.flushall() is True and r.dbsize() == 0
    r.close()
    print("fine", redis.__version__)
""")

ASYNC_REDIS_PY = textwrap.dedent("""
    import asyncio, sys
    import redis.asyncio as redis
    port, protocol = int(sys.argv[1]), int(sys.argv[2])
    import redis as base
    options = {"protocol": protocol} if int(base.__version__.split(".")[0]) >= 5 else {}

    async def main():
        r = redis.Redis(port=port, db=2, client_name="async", **options)
        assert await r.ping()
        await asyncio.gather(*(r.set("k%d" % i, i) for i in range(80)))
        assert await asyncio.gather(*(r.get("k%d" % i) for i in range(80))) == [b"%d" % i for i in range(80)]
        async with r.pipeline(transaction=False) as p:
            out = await p.mset({"a": 1, "b": 2}).mget("a", "b", "c").delete("a", "b").execute()
        assert out == [True, [b"1", b"2", None], 2], out
        await (r.aclose() if hasattr(r, "aclose") else r.close())
        print("fine")
    asyncio.run(main())
""")


def venv_python():
    folder = os.environ.get("GYRE_VENV")
    return folder and os.path.join(folder, "bin", "python3")


def needs_venv():
    python = venv_python()
    return None if python and os.path.exists(python) else "GYRE_VENV is not set"


def run_python(python, script, *args):
    out = run(python, "-W", "ignore", "-c", script, *args, timeout=60)
    check(out.startswith("fine"), out)
    return out


@test("Debian's redis-py works", **MATRIX)
def redis_py(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    run_python("/usr/bin/python3", REDIS_PY, server.port, 0)
    run_python("/usr/bin/python3", ASYNC_REDIS_PY, server.port, 2)


@test("the newest redis-py works over RESP2 and RESP3", needs=needs_venv, protocol=(2, 3), **MATRIX)
def redis_py_new(t, protocol, threads, io):
    server = t.gyre(threads=threads, io=io)
    run_python(venv_python(), REDIS_PY, server.port, protocol)
    run_python(venv_python(), ASYNC_REDIS_PY, server.port, protocol)
    run_python(venv_python(), REDIS_PY, server.port, 0)  # its own default


@test("hiredis-py parses every reply of a pipeline", **MATRIX)
def hiredis_py(t, threads, io):
    import hiredis

    conn = t.connect(t.gyre(threads=threads, io=io))
    reader = hiredis.Reader()
    conn.send(
        encode("SET", "k", "v")
        + encode("GET", "k")
        + encode("GET", "nope")
        + encode("MGET", "k", "nope")
        + encode("INCR", "k")
        + encode("DBSIZE")
        + encode("CONFIG", "GET", "maxclients")
        + encode("COMMAND")
        + encode("PING")
    )
    got = []
    while len(got) < 9:
        reader.feed(conn.sock.recv(100000))
        while (item := reader.gets()) is not False:
            got.append(item)
    t.equal(got[:4] + [got[5], got[8]], [b"OK", b"v", None, [b"v", None], 1, b"PONG"])
    t.check(isinstance(got[4], hiredis.ReplyError), f"INCR gave {got[4]!r}")
    t.equal(got[6][0], b"maxclients")


# ---- handshakes: each command and what must come back, as a pattern on the raw bytes


def hello_bytes(proto):
    head = {2: rb"\*14\r\n", 3: rb"%7\r\n"}[proto]
    return (
        head
        + rb"\$6\r\nserver\r\n\$5\r\nredis\r\n\$7\r\nversion\r\n\$\d\r\n7\.\d+\.\d+\r\n\$5\r\nproto\r\n:%d\r\n"
        % proto
        + rb"\$2\r\nid\r\n:\d+\r\n\$4\r\nmode\r\n\$10\r\nstandalone\r\n\$4\r\nrole\r\n\$6\r\nmaster\r\n\$7\r\nmodules\r\n\*0\r\n"
    )


YES = rb"\+OK\r\n"
ERROR = rb"-[^\r\n]+\r\n"
ERR = rb"-ERR [^\r\n]+\r\n"
NEW = ERR if STANDIN else YES  # CLIENT SETINFO and NO-TOUCH came with 7.2
VERBATIM = rb"=\d+\r\ntxt:# Server\r\nredis_version:7\.[^$]*loading:0\r\n.*\r\n"
BULK_INFO = rb"\$\d+\r\n# Server\r\nredis_version:7\..*loading:0\r\n.*\r\n"
NULL = rb"_\r\n"
NIL = rb"\$-1\r\n"

# name: (needs a password, [(command, pattern), ...])
HANDSHAKES = {
    "redis-py 8": (
        False,
        [
            ("HELLO 3", hello_bytes(3)),
            ("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip", ERR),
            ("CLIENT SETNAME n", YES),
            ("CLIENT SETINFO LIB-NAME redis-py", NEW),
            ("CLIENT SETINFO LIB-VER 8.0.0", NEW),
            ("SELECT 2", YES),
        ],
    ),
    "redis-py 8 with a password": (
        True,
        [
            ("HELLO 3 AUTH default secret", hello_bytes(3)),
            ("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type external-fqdn", ERR),
            ("CLIENT SETINFO LIB-NAME redis-py(django_v6.1)", NEW),
            ("CLIENT SETINFO LIB-VER 8.0.0", NEW),
            ("SELECT 1", YES),
        ],
    ),
    "redis-py 5": (
        False,
        [
            ("CLIENT SETNAME n", YES),
            ("CLIENT SETINFO LIB-NAME redis-py", NEW),
            ("CLIENT SETINFO LIB-VER 5.2.1", NEW),
            ("SELECT 3", YES),
        ],
    ),
    "redis-py 5 with a password": (
        True,
        [
            ("AUTH default secret", YES),
            ("CLIENT SETINFO LIB-NAME redis-py", NEW),
            ("CLIENT SETINFO LIB-VER 5.2.1", NEW),
        ],
    ),
    "redis-py 4.3": (
        True,
        [
            ("AUTH secret", YES),
            ("CLIENT SETNAME n", YES),
            ("SELECT 4", YES),
            ("PING", rb"\+PONG\r\n"),
        ],
    ),
    "redis-py's fallback for old servers": (
        True,
        [
            ("AUTH a b c", rb"-ERR syntax error\r\n"),
            ("AUTH", rb"-ERR wrong number of arguments for 'auth' command\r\n"),
            ("AUTH secret", YES),
        ],
    ),
    "aioredis 1": (False, [("SELECT 5", YES), ("PING", rb"\+PONG\r\n")]),
    "ioredis 6": (
        True,
        [
            ("hello 3 AUTH default secret", hello_bytes(3)),
            ("select 6", YES),
            ("client setname x", YES),
            ("client SETINFO LIB-VER 6.0.0", NEW),
            ("client SETINFO LIB-NAME ioredis", NEW),
            ("info", VERBATIM),
        ],
    ),
    "BullMQ on ioredis": (
        False,
        [
            ("hello 3", hello_bytes(3)),
            ("info", VERBATIM),
            ("info", VERBATIM),
            ("client setname bull:cXVldWU=", YES),
        ],
    ),
    "node-redis 6": (
        True,
        [
            ("HELLO 3 AUTH default secret SETNAME app", hello_bytes(3)),
            ("SELECT 7", YES),
            ("CLIENT SETINFO LIB-VER 6.3.0", NEW),
            ("CLIENT SETINFO LIB-NAME node-redis", NEW),
            ("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type external-ip", ERR),
            ("CLIENT GETNAME", rb"\$3\r\napp\r\n"),
        ],
    ),
    "go-redis 9": (
        True,
        [
            ("HELLO 3 AUTH default secret SETNAME go", hello_bytes(3)),
            ("SELECT 8", YES),
            ("READONLY", ERROR),
            ("CLIENT SETNAME go2", YES),
            ("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip", ERR),
            ("CLIENT SETINFO LIB-NAME go-redis(,go1.22)", NEW),
            ("CLIENT SETINFO LIB-VER 9.22.0", NEW),
        ],
    ),
    "Jedis 8": (
        True,
        [
            ("HELLO 3 AUTH default secret", hello_bytes(3)),
            ("CLIENT SETNAME j", YES),
            ("CLIENT SETINFO lib-name jedis", NEW),
            ("CLIENT SETINFO lib-ver 8.0.0", NEW),
            ("SELECT 9", YES),
        ],
    ),
    "Lettuce 7": (
        True,
        [
            ("HELLO 3 AUTH default secret SETNAME l", hello_bytes(3)),
            ("SELECT 10", YES),
            ("CLIENT SETINFO lib-name Lettuce", NEW),
            ("CLIENT SETINFO lib-ver 7.0.0.RELEASE", NEW),
            ("CLIENT MAINT_NOTIFICATIONS on moving-endpoint-type internal-ip", ERR),
        ],
    ),
    "StackExchange.Redis 3": (
        True,
        [
            ("AUTH secret", YES),
            ("HELLO 3", hello_bytes(3)),
            ("CLIENT SETNAME se", YES),
            ("CLIENT SETINFO lib-name SE.Redis", NEW),
            ("CLIENT SETINFO lib-ver 3.0.0", NEW),
            ("CLIENT ID", rb":\d+\r\n"),
            ("CONFIG GET timeout", rb"%1\r\n\$7\r\ntimeout\r\n\$1\r\n0\r\n"),
            ("CONFIG GET replica-read-only", rb"%1\r\n\$17\r\nreplica-read-only\r\n\$3\r\nyes\r\n"),
            ("CONFIG GET databases", rb"%1\r\n\$9\r\ndatabases\r\n\$2\r\n16\r\n"),
            ("SENTINEL MASTERS", ERR),
            ("INFO replication", rb"=\d+\r\ntxt:# Replication\r\nrole:master\r\n.*\r\n"),
            ("INFO server", rb"=\d+\r\ntxt:# Server\r\nredis_version:.*\r\n"),
            ("CLUSTER NODES", ERROR),
            ("GET __Booksleeve_TieBreak", NULL),
            ("ECHO 0123456789abcdef", rb"\$16\r\n0123456789abcdef\r\n"),
        ],
    ),
    "redis-rb 4": (True, [("auth secret", YES), ("select 11", YES), ("get k", NIL)]),
    "redis-client (Sidekiq 7)": (
        True,
        [
            ("HELLO 3 AUTH default secret", hello_bytes(3)),
            ("SELECT 12", YES),
            ("CLIENT SETINFO LIB-NAME redis-client(sidekiq)", NEW),
            ("CLIENT SETINFO LIB-VER 0.26", NEW),
            ("CLIENT SETNAME s", YES),
            ("ROLE", rb"\*3\r\n\$6\r\nmaster\r\n:0\r\n\*0\r\n"),
        ],
    ),
    "memtier": (True, [("AUTH secret", YES), ("SELECT 1", YES), ("HELLO 2", hello_bytes(2))]),
    "redis-benchmark": (
        False,
        [
            ("CONFIG GET save", rb"\*2\r\n\$4\r\nsave\r\n\$\d+\r\n.*\r\n"),
            ("CONFIG GET appendonly", rb"\*2\r\n\$10\r\nappendonly\r\n\$2\r\nno\r\n"),
        ],
    ),
    "redis_exporter": (
        False,
        [
            ("CLIENT SETNAME redis_exporter", YES),
            ("CONFIG GET databases", rb"\*2\r\n\$9\r\ndatabases\r\n\$2\r\n16\r\n"),
            ("INFO ALL", BULK_INFO),
            ("LATENCY LATEST", rb"\*\d+\r\n.*"),
            ("SLOWLOG LEN", rb":\d+\r\n"),
            ("SLOWLOG GET 1", rb"\*[01]\r\n.*"),
            ("COMMAND INFO COMMANDLOG", rb"\*1\r\n\$-1\r\n"),
        ],
    ),
    "RedisInsight": (
        False,
        [
            ("INFO", BULK_INFO),
            ("HELLO", hello_bytes(2)),
            ("COMMAND INFO FT._LIST JSON.GET", rb"\*2\r\n\$-1\r\n\$-1\r\n"),
            ("DBSIZE", rb":0\r\n"),
            ("SCAN 0 MATCH * COUNT 500 TYPE string", rb"\*2\r\n\$\d+\r\n\d+\r\n\*0\r\n"),
            ("SENTINEL MASTERS", ERR),
            ("FT._LIST", ERR),
            ("TYPE k", rb"\+none\r\n"),
            ("TTL k", rb":-2\r\n"),
            ("MEMORY USAGE k SAMPLES 0", NIL),
        ],
    ),
    "Sentinel": (
        False,
        [
            ("CLIENT SETNAME sentinel-abcdef-cmd", YES),
            ("PING", rb"\+PONG\r\n"),
            ("INFO", BULK_INFO),
        ],
    ),
}


@test(
    "every client's handshake gets what the client needs",
    client=tuple(HANDSHAKES),
    how=("awaited", "pipelined", "cut"),
    threads=(1, 4),
    io=("uring", "poll"),
)
def handshakes(t, client, how, threads, io):
    password, exchange = HANDSHAKES[client]
    server = t.gyre(threads=threads, io=io, **({"requirepass": "secret"} if password else {}))
    if password:
        t.connect(server).cmd("FLUSHALL")
    conn = t.connect(server, password=None)
    commands = [tuple(line.split(" ")) for line, _ in exchange]
    if how == "awaited":
        replies = []
        for command in commands:
            conn.write(*command)
            replies.append(conn.read_raw())
    else:
        cuts = 0 if how == "pipelined" else 8
        replies = conn.exchange(
            b"".join(encode(*c) for c in commands), len(commands), cuts=cuts, rng=t.rng, pause=0.001
        )
    for (line, pattern), (raw, _) in zip(exchange, replies):
        t.check(re.fullmatch(pattern, raw, re.S), f"{line}: got {raw[:300]!r}, want {pattern!r}")
    t.equal(conn.cmd("PING").value, b"PONG", "the connection lives on")
    t.equal(conn.is_closed(0.01), False)


@test(
    "CLIENT SETINFO keeps the library's name and version",
    needs=lambda: "7.2's command" if STANDIN else None,
    resp=(2, 3),
    threads=(1, 4),
)
def setinfo(t, resp, threads):
    conn = t.connect(t.gyre(threads=threads), resp=resp)
    for attribute, value in (("LIB-NAME", "redis-py(django_v6.1)"), ("lib-ver", "1.2.3")):
        t.equal(conn.cmd("CLIENT", "SETINFO", attribute, value), OK)
    t.match(
        conn.cmd("CLIENT", "INFO").text(), r" lib-name=redis-py\(django_v6\.1\) lib-ver=1\.2\.3"
    )
    t.equal(
        conn.cmd("CLIENT", "SETINFO", "lib-name", "has space"),
        R("-", b"ERR lib-name cannot contain spaces, newlines or special characters."),
    )
    t.equal(
        conn.cmd("CLIENT", "SETINFO", "lib-ver", "new\nline"),
        R("-", b"ERR lib-ver cannot contain spaces, newlines or special characters."),
    )
    t.equal(conn.cmd("CLIENT", "SETINFO", "bogus", "x"), R("-", b"ERR Unrecognized option 'bogus'"))
    t.equal(
        conn.cmd("CLIENT", "SETINFO", "lib-name"),
        R("-", b"ERR wrong number of arguments for 'client|setinfo' command"),
    )
    t.equal(conn.cmd("CLIENT", "SETINFO", "lib-name", ""), OK)
    t.match(conn.cmd("CLIENT", "INFO").text(), r" lib-name= lib-ver=1\.2\.3")
    t.equal(conn.cmd("RESET"), R("+", b"RESET"))
    t.match(conn.cmd("CLIENT", "INFO").text(), r" lib-ver=1\.2\.3")


@test(
    "CLIENT NO-TOUCH leaves the time of the last access alone",
    needs=lambda: "7.2's command" if STANDIN else None,
    threads=(1, 4),
)
def no_touch(t, threads):
    conn = t.connect(t.gyre(threads=threads))
    t.equal(conn.cmd("CLIENT", "NO-TOUCH", "ON"), OK)
    t.equal(conn.cmd("CLIENT", "NO-TOUCH", "off"), OK)
    t.equal(conn.cmd("CLIENT", "NO-TOUCH", "maybe").kind, "-")
    t.equal(
        conn.cmd("CLIENT", "NO-TOUCH"),
        R("-", b"ERR wrong number of arguments for 'client|no-touch' command"),
    )


@test("CLIENT LIST's every token is name=value, as exporters demand", threads=(1, 4), resp=(2, 3))
def client_list_tokens(t, threads, resp):
    server = t.gyre(threads=threads)
    conns = [t.connect(server, resp=resp) for _ in range(5)]
    for i, conn in enumerate(conns):
        conn.cmd("CLIENT", "SETNAME", f"c{i}")
    text = conns[0].cmd("CLIENT", "LIST").text().decode()
    lines = text.rstrip("\n").split("\n")
    t.check(text.endswith("\n"), "no newline at its end")
    for line in lines:
        for token in line.split(" "):
            t.equal(token.count("="), 1, f"token {token!r} of {line!r}")
    t.equal(sorted(m for m in re.findall(r" name=(\S+)", text)), [f"c{i}" for i in range(5)])
    ids = re.findall(r"^id=(\d+) ", text, re.M)
    t.equal(len(set(ids)), len(lines), "ids are unique")


@test("INFO has what exporters and clients read", threads=(1, 4), resp=(2, 3))
def info_for_clients(t, threads, resp):
    conn = t.connect(t.gyre(threads=threads), resp=resp)
    conn.pipeline(
        [("SET", f"k{i}", i, "EX", 1000) if i % 2 else ("SET", f"k{i}", i) for i in range(10)]
        + [("INCR", "k1"), ("INCR", "nope", "x")]
    )
    reply = conn.cmd("INFO", "everything")
    t.equal(reply.kind, "=" if resp == 3 else "$")
    text = reply.text().decode()
    for section in (
        "Server",
        "Clients",
        "Memory",
        "Persistence",
        "Stats",
        "Replication",
        "CPU",
        "Modules",
        "Commandstats",
        "Errorstats",
        "Cluster",
        "Keyspace",
    ):
        t.check(f"# {section}\r\n" in text, f"no section {section}")
    for pattern in (
        r"^db0:keys=10,expires=5,avg_ttl=\d+\r$",
        r"^cmdstat_set:calls=10,usec=\d+,usec_per_call=[\d.]+,rejected_calls=0,failed_calls=0\r$",
        r"^cmdstat_incr:calls=1,usec=\d+,usec_per_call=[\d.]+,rejected_calls=1,failed_calls=0\r$",
        r"^errorstat_ERR:count=\d+\r$",
        r"^redis_version:7\.\d+\.\d+\r$",
        r"^run_id:[0-9a-f]{40}\r$",
        r"^role:master\r$",
        r"^loading:0\r$",
        r"^maxmemory_policy:noeviction\r$",
        r"^cluster_enabled:0\r$",
        r"^redis_mode:standalone\r$",
        r"^connected_slaves:0\r$",
        r"^process_id:\d+\r$",
        r"^tcp_port:\d+\r$",
    ):
        t.check(re.search(pattern, text, re.M), f"INFO has no line {pattern}")
    for line in text.split("\r\n"):
        t.check(
            line == "" or line.startswith("# ") or re.match(r"^[\w|.-]+:", line),
            f"an odd line: {line!r}",
        )
