# SPDX-License-Identifier: BSD-3-Clause
"""The server as a whole: start and stop, signals, configuration, INFO, expiry en masse, crash reports."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

from differences import INFO_WITHOUT_MEANING
from harness import (
    GYRE_SERVER,
    PATIENCE,
    PONG,
    STANDIN,
    Closed,
    Failure,
    OK,
    R,
    ReadTimeout,
    Server,
    bulk,
    encode,
    info,
    ready,
    wait_for,
)
from runner import test

BOTH = dict(threads=(1, 4), io=("uring", "poll"))


def gyre_only():
    return "only Gyre has it" if STANDIN else None


# ---- signals


@test(
    "SIGTERM and SIGINT stop the server in order",
    number=(signal.SIGTERM, signal.SIGINT),
    busy=(False, True),
    **BOTH,
)
def signals(t, number, busy, threads, io):
    server = t.own_gyre(threads=threads, io=io)
    conns = [t.connect(server) for _ in range(20)]
    for i, conn in enumerate(conns):
        t.equal(conn.cmd("SET", f"k{i}", "v"), OK)
        if busy:  # commands under way, some that meet and some unread
            conn.send(
                b"".join(
                    encode("RENAME", f"k{i}", f"k{(i * 7 + j) % 20}")
                    + encode("MGET", "k1", "k2", "k3")
                    for j in range(200)
                )
            )
    server.stop(number)  # checks that the status is 0
    for conn in conns:
        try:
            conn.drain()
        except Closed:
            pass


@test("at level verbose the log says who came, who went, and who was reset", io=("uring", "poll"), needs=gyre_only)
def verbose(t, io):
    server = t.own_gyre(io=io, loglevel="verbose")
    names = []
    for linger in (b"\0\0\0\0\0\0\0\0", b"\1\0\0\0\0\0\0\0"):
        conn = t.connect(server)
        t.equal(conn.cmd("PING"), PONG)
        names.append(conn.cmd("CLIENT", "INFO").text().decode().split("laddr")[0].strip())
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        conn.close()
    for name, end in zip(names, ("closed connection", "Connection reset by peer")):
        for what in ("accepted", end):
            line = f"Client {name}: {what}\n".encode()
            t.wait_for(lambda line=line: line in server.log(), line)


@test("a second signal while it stops changes nothing", threads=(4,), io=("uring", "poll"))
def two_signals(t, threads, io):
    server = t.own_gyre(threads=threads, io=io)
    server.send_signal(signal.SIGTERM)
    try:
        server.send_signal(signal.SIGTERM)
    except ProcessLookupError:
        pass
    t.equal(
        server.wait_exit() in (0,) if not STANDIN else server.wait_exit() in (0, 1), True, "status"
    )


@test("a broken pipe, SIGHUP and SIGPIPE do not stop it", **BOTH)
def ignored_signals(t, threads, io):
    server = t.own_gyre(threads=threads, io=io)
    server.send_signal(signal.SIGHUP)
    server.send_signal(signal.SIGPIPE)
    t.equal(t.connect(server).cmd("PING"), PONG)


@test(
    "SHUTDOWN in its forms ends it with status 0 and no reply",
    form=((), ("NOSAVE",), ("nosave", "NOW"), ("NOSAVE", "FORCE", "NOW")),
    threads=(1, 4),
)
def shutdown(t, form, threads):
    server = t.own_gyre(threads=threads)
    conn, other = t.connect(server), t.connect(server)
    t.equal(other.cmd("PING"), PONG)
    conn.write("SHUTDOWN", *form)
    t.equal(conn.drain(), b"")
    t.equal(server.wait_exit(), 0, "status")
    t.equal(other.drain(), b"")


# ---- the command line and the configuration file


def start_and_fail(t, *, config=None, args=(), status=True):
    """Start a server that must refuse; its log."""
    server = t.own(Server.gyre(config=config, args=args, wait=False))
    code = server.wait_exit(5)
    if code is None:
        server.kill()
        raise Failure(f"it started with {config!r} {args}\n" + server.log_tail())
    t.check(code != 0 if status else code == 0, f"status {code} with {config!r} {args}")
    return server.log().decode()


CONFIG = """
# A comment
maxclients 321
timeout   17
\tslowlog-max-len 99

save 3600 1
requirepass "a \\"quoted\\" pass\\x21"
loglevel verbose
client-output-buffer-limit normal 1mb 512kb 10
TCP-KEEPALIVE 60
maxmemory 100mb
maxmemory-policy allkeys-lru
# list-max-ziplist-size is an old name of list-max-listpack-size
hash-max-ziplist-entries 77
latency-tracking no
databases 7
"""


@test("a configuration file in redis.conf's language is read", **BOTH)
def config_file(t, threads, io):
    server = t.own_gyre(
        threads=threads, io=io, config=CONFIG, password='a "quoted" pass!', save=None
    )
    conn = t.connect(server)
    want = {
        "maxclients": "321",
        "timeout": "17",
        "slowlog-max-len": "99",
        "loglevel": "verbose",
        "tcp-keepalive": "60",
        "maxmemory": str(100 << 20),
        "maxmemory-policy": "allkeys-lru",
        "latency-tracking": "no",
        "databases": "7",
        "save": "3600 1",
    }
    for name, value in want.items():
        t.equal(conn.cmd("CONFIG", "GET", name).value, [bulk(name), bulk(value)], name)
    t.match(
        conn.cmd("CONFIG", "GET", "client-output-buffer-limit").value[1],
        "^normal 1048576 524288 10 ",
    )
    t.equal(conn.cmd("SELECT", 7), R("-", b"ERR DB index is out of range"))
    t.equal(conn.cmd("SELECT", 6), OK)
    conn.cmd("SELECT", 0)


@test("the command line comes after the file and wins", threads=(1, 4))
def command_line_wins(t, threads):
    server = t.own_gyre(threads=threads, config="maxclients 50\ntimeout 5\n", maxclients=60)
    conn = t.connect(server)
    t.equal(conn.cmd("CONFIG", "GET", "maxclients").value[1], bulk("60"))
    t.equal(conn.cmd("CONFIG", "GET", "timeout").value[1], bulk("5"))


@test("Debian's redis.conf loads (without its directories and daemon)", threads=(1, 4))
def debian_config(t, threads):
    text = Path("/etc/redis/redis.conf").read_text()
    text = re.sub(r"^(daemonize|logfile|dir|pidfile|port|supervised) .*$", "", text, flags=re.M)
    conn = t.connect(t.own_gyre(threads=threads, config=text))
    t.equal(conn.cmd("CONFIG", "GET", "tcp-keepalive").value[1], bulk("300"))
    t.equal(conn.cmd("SET", "k", "v"), OK)


FOREIGN = (
    "io-threads 4",
    "io-threads-do-reads yes",
    "rdbcompression yes",
    "repl-backlog-size 1mb",
    "activedefrag no",
    "jemalloc-bg-thread yes",
    "oom-score-adj no",
    "list-max-listpack-size -2",
    "active-defrag-cycle-min 1",
    "cluster-node-timeout 15000",
    "lua-time-limit 5000",
    "stop-writes-on-bgsave-error yes",
    "hz 10",
    "dynamic-hz yes",
    "repl-diskless-sync yes",
    "lazyfree-lazy-expire no",
    "zset-max-ziplist-value 64",
    "replica-serve-stale-data yes",
    "aof-rewrite-incremental-fsync yes",
    "always-show-logo no",
    "set-proc-title yes",
    "crash-log-enabled yes",
    "crash-memcheck-enabled yes",
    "tracking-table-max-keys 1000000",
    "supervised no",
    'proc-title-template "{title} {listen-addr}"',
    "socket-mark-id 0",
    "latency-monitor-threshold 0",
    'notify-keyspace-events ""',
)


@test("Redis directives that make no sense here are accepted")
def foreign_directives(t):
    conn = t.connect(t.own_gyre(config="\n".join(FOREIGN) + "\n"))
    t.equal(conn.cmd("PING"), PONG)


@test("each of them is mentioned in one log line", needs=gyre_only)
def foreign_logged(t):
    server = t.own_gyre(config="io-threads 4\njemalloc-bg-thread yes\n")
    for name in ("io-threads", "jemalloc-bg-thread"):
        lines = [line for line in server.log().decode().splitlines() if name in line]
        t.equal(len(lines), 1, f"lines about {name} in\n{server.log_tail()}\n")


# (configuration, number of the line at fault)
NONSENSE = {
    "an unknown directive": ("maxclients 10\nnosuchdirective yes\n", 2),
    "a bad number": ("\n\ntimeout abc\n", 3),
    "a number out of range": ("timeout -5\n", 1),
    "a bad choice": ("maxmemory-policy sometimes\n", 1),
    "a bad boolean": ("# a comment\ndaemonize perhaps\n", 2),
    "a missing value": ("maxclients\n", 1),
    "too many values": ("maxclients 1 2\n", 1),
    "unbalanced quotes": ('timeout 1\nrequirepass "abc\n', 2),
    "bad memory": ("maxmemory 10zb\n", 1),
    "a bad save": ("save 1\n", 1),
    "a bad output limit": ("client-output-buffer-limit normal 1\n", 1),
    "a port too big": ("tcp-backlog 511\nport 123456\n", 2),
}


@test("nonsense in the file is an error with the number of the line", what=tuple(NONSENSE))
def nonsense(t, what):
    config, line = NONSENSE[what]
    log = start_and_fail(t, config=config)
    t.check(re.search(rf"(line|:) ?{line}\b", log), f"no line {line} in\n{log}")
    at_fault = config.split("\n")[line - 1].split(" ")[0]
    t.check(at_fault in log, f"{at_fault} is not named in\n{log}")
    if not STANDIN:
        t.check("server.conf" in log, f"the file is not named in\n{log}")


@test(
    "nonsense on the command line is an error too",
    args=(
        ("--nosuchoption", "1"),
        ("--maxclients", "abc"),
        ("--io", "steam"),
        ("--threads", "0"),
        ("--threads", "abc"),
    ),
)
def nonsense_option(t, args):
    if STANDIN and args[0] in ("--io", "--threads"):
        t.skip("only Gyre has it")
    log = start_and_fail(t, args=args)
    t.check(args[0].strip("-") in log, f"{args[0]} is not named in\n{log}")


@test("a configuration file that is not there is an error")
def no_file(t):
    done = subprocess.run(
        [GYRE_SERVER, "/nonexistent/gyre.conf"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=20,
    )
    t.check(done.returncode != 0, "it started")
    t.match(done.stdout, rb"gyre\.conf|No such file")


@test("--version and --help answer and end", flag=("--version", "-v", "--help", "-h"))
def version(t, flag):
    done = subprocess.run(
        [GYRE_SERVER, flag], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20
    )
    t.equal(
        done.returncode in ((0,) if "v" in flag or not STANDIN else (0, 1)),
        True,
        f"status {done.returncode}",
    )
    t.match(done.stdout, rb"(?i)v=?\d+\.\d+|usage|--port")


@test("include reads another file", threads=(1,))
def include(t, threads):
    server = Server.gyre(threads=threads, config="timeout 3\n")
    extra = os.path.join(server.dir, "extra.conf")
    t.own(server)
    Path(extra).write_text("maxclients 44\n")
    conn = t.connect(t.own_gyre(threads=threads, config=f"timeout 3\ninclude {extra}\n"))
    t.equal(conn.cmd("CONFIG", "GET", "maxclients").value[1], bulk("44"))
    t.equal(conn.cmd("CONFIG", "GET", "timeout").value[1], bulk("3"))


@test("enable-debug-command guards DEBUG", value=("no", "local", "yes"), threads=(1, 4))
def debug_guard(t, value, threads):
    server = t.own_gyre(threads=threads, enable_debug_command=value)
    reply = t.connect(server).cmd("DEBUG", "SLEEP", "0")
    if value == "no":
        t.equal(reply.kind, "-")
        t.match(
            reply,
            rb"^ERR DEBUG command not allowed\. If the enable-debug-command option is set to \"local\"",
        )
    else:
        t.equal(reply, OK)


# ---- CONFIG SET and REWRITE


@test("CONFIG SET of several is all or nothing", **BOTH)
def config_set_atomic(t, threads, io):
    conn = t.connect(t.gyre(threads=threads, io=io))
    names = ("timeout", "slowlog-max-len", "maxmemory", "tcp-keepalive")
    before = conn.cmd("CONFIG", "GET", *names)
    for bad in (
        ("nosuch", "1"),
        ("maxmemory-policy", "bogus"),
        ("databases", "3"),
        ("timeout", "9"),
        ("maxclients", "abc"),
    ):
        reply = conn.cmd(
            "CONFIG",
            "SET",
            "timeout",
            "11",
            "slowlog-max-len",
            "12",
            "maxmemory",
            "1gb",
            *bad,
            "tcp-keepalive",
            "13",
        )
        t.equal(reply.kind, "-", f"CONFIG SET with {bad}")
        t.equal(
            sorted(map(str, conn.cmd("CONFIG", "GET", *names).value)),
            sorted(map(str, before.value)),
            f"after CONFIG SET with {bad}",
        )
    t.equal(
        conn.cmd(
            "CONFIG",
            "SET",
            "timeout",
            "11",
            "slowlog-max-len",
            "12",
            "maxmemory",
            "1gb",
            "tcp-keepalive",
            "13",
        ),
        OK,
    )
    got = [v.value for v in conn.cmd("CONFIG", "GET", *names).value]
    t.equal(
        dict(zip(got[::2], got[1::2])),
        {
            b"timeout": b"11",
            b"slowlog-max-len": b"12",
            b"maxmemory": b"1073741824",
            b"tcp-keepalive": b"13",
        },
    )
    t.equal(
        conn.cmd(
            "CONFIG",
            "SET",
            "timeout",
            "0",
            "slowlog-max-len",
            "128",
            "maxmemory",
            "0",
            "tcp-keepalive",
            "300",
        ),
        OK,
    )


REWRITE = """# My server, line one
maxclients 100

# why this timeout: because
timeout 30
include extra.conf
# the end
"""


@test(
    "CONFIG REWRITE keeps comments, order and blank lines, and what it writes loads again",
    threads=(1, 4),
)
def config_rewrite(t, threads):
    server = t.own_gyre(
        threads=threads,
        config=REWRITE.replace("include extra.conf\n", ""),
        save=None,
        appendonly=None,
    )
    conn = t.connect(server)
    t.equal(conn.cmd("CONFIG", "SET", "timeout", "77", "slowlog-max-len", "55"), OK)
    t.equal(conn.cmd("CONFIG", "SET", "requirepass", 'pass "with" \x01 quotes'), OK)
    t.equal(conn.cmd("CONFIG", "REWRITE"), OK)
    text = Path(server.dir, "server.conf").read_text()
    lines = text.splitlines()
    for wanted in (
        "# My server, line one",
        "# why this timeout: because",
        "# the end",
        "timeout 77",
        "slowlog-max-len 55",
        "maxclients 100",
    ):
        t.equal(lines.count(wanted), 1, f"{wanted!r} in\n{text}")
    t.equal(lines[0], "# My server, line one")
    t.check(
        lines.index("# why this timeout: because") + 1 == lines.index("timeout 77"),
        f"the line after its comment in\n{text}",
    )
    t.equal(conn.cmd("CONFIG", "REWRITE"), OK)
    t.equal(
        Path(server.dir, "server.conf").read_text().strip(),
        text.strip(),
        "a second REWRITE changed the file",
    )
    again = t.own_gyre(
        threads=threads, config=text, save=None, appendonly=None, password='pass "with" \x01 quotes'
    )
    conn = t.connect(again)
    t.equal(conn.cmd("CONFIG", "GET", "timeout").value[1], bulk("77"))
    t.equal(conn.cmd("CONFIG", "GET", "requirepass").value[1], bulk('pass "with" \x01 quotes'))


@test("CONFIG REWRITE without a file is an error")
def rewrite_without_file(t):
    conn = t.connect(t.gyre())
    t.equal(
        conn.cmd("CONFIG", "REWRITE"), R("-", b"ERR The server is running without a config file")
    )


# ---- INFO


@test(
    "INFO has every section and field of redis-server that has a meaning",
    what=("default", "everything"),
    threads=(1, 4),
)
def info_fields(t, what, threads):
    fields = []
    for server in (t.redis(), t.gyre(threads=threads)):
        conn = t.connect(server)
        conn.pipeline([("SET", "k", "v"), ("GET", "k"), ("NOSUCH",)])
        sections, name = {}, None
        for line in conn.cmd("INFO", what).text().decode().split("\r\n"):
            if line.startswith("# "):
                name = line[2:]
                sections[name] = []
            elif line:
                sections[name].append(line.partition(":")[0])
        fields.append(sections)
    want, got = fields
    t.check(
        list(n for n in got if n in want) == list(want),
        f"sections {list(got)}, want {list(want)} in this order",
    )
    problems = []
    for name, names in want.items():
        if name in ("Commandstats", "Latencystats", "Errorstats"):
            names = []  # depend on what was run
        missing = [n for n in names if n not in got[name] and n not in INFO_WITHOUT_MEANING]
        if missing:
            problems.append(f"# {name}: {' '.join(missing)}")
    t.check(not problems, "fields missing:\n" + "\n".join(problems))


@test("INFO of sections, alone and several; # Shards", needs=gyre_only, threads=(1, 4))
def info_sections(t, threads):
    conn = t.connect(t.gyre(threads=threads))
    t.match(conn.cmd("INFO", "server").text(), rb"^# Server\r\n")
    t.equal(
        re.findall(rb"^# (\w+)", conn.cmd("INFO", "clients", "stats").text(), re.M),
        [b"Clients", b"Stats"],
    )
    t.match(conn.cmd("INFO", "shards").text(), rb"^# Shards\r\n")
    text = conn.cmd("INFO").text()
    t.check(b"# Shards\r\n" in text, "no section Shards")
    t.match(info(conn)["gyre_version"], r"^\d+\.\d+")
    t.match(info(conn)["redis_version"], r"^7\.4\.")


@test("INFO counts commands, hits, errors and expired keys; RESETSTAT starts again", **BOTH)
def info_counts(t, threads, io):
    conn = t.connect(t.gyre(threads=threads, io=io))
    t.equal(conn.cmd("CONFIG", "RESETSTAT"), OK)
    keys = [f"k{i}" for i in range(20)]
    conn.pipeline(
        [("SET", k, "v") for k in keys]
        + [("GET", k) for k in keys]
        + [("GET", "no" + k) for k in keys]
        + [("MGET", *keys, "nope")]
    )
    conn.pipeline(
        [("NOSUCH",), ("INCR", "k1"), ("GET",), ("EXPIRE", "k2", "abc"), ("AUTH", "a", "b", "c")]
    )
    conn.pipeline([("SET", f"x{i}", "v", "PX", 1) for i in range(30)])
    stats = t.wait_for(
        lambda: (s := info(conn, "stats"))["expired_keys"] == "30" and s, "30 expired keys"
    )
    t.equal((stats["keyspace_hits"], stats["keyspace_misses"]), ("40", "21"), "hits and misses")
    t.check(int(stats["total_commands_processed"]) >= 95, stats["total_commands_processed"])
    t.equal(stats["total_error_replies"], "5")
    everything = info(conn, "everything")
    t.match(
        everything["cmdstat_set"],
        r"^calls=50,usec=\d+,usec_per_call=\d+\.\d+,rejected_calls=0,failed_calls=0$",
    )
    t.match(
        everything["cmdstat_get"],
        r"^calls=40,usec=\d+,usec_per_call=\d+\.\d+,rejected_calls=1,failed_calls=0$",
    )
    t.match(everything["cmdstat_incr"], r"^calls=1,.*,failed_calls=1$")
    t.match(everything["cmdstat_config|resetstat"], r"^calls=1,")
    t.equal(everything["errorstat_ERR"], "count=5")
    t.match(everything["db0"], r"^keys=20,expires=0,avg_ttl=0")
    t.equal(conn.cmd("CONFIG", "RESETSTAT"), OK)
    stats = info(conn, "stats")
    t.equal(
        (stats["keyspace_hits"], stats["expired_keys"], stats["total_error_replies"]),
        ("0", "0", "0"),
        "after RESETSTAT",
    )
    t.check("cmdstat_set" not in info(conn, "commandstats"), "cmdstat_set survived RESETSTAT")


@test("used_memory follows the data and comes back", **BOTH)
def memory(t, threads, io):
    conn = t.connect(t.gyre(threads=threads, io=io), timeout=20)

    def used():
        return int(info(conn, "memory")["used_memory"])

    empty = used()
    conn.pipeline([("SET", f"k{i}", b"x" * 1000) for i in range(20000)])
    full = used()
    t.check(full - empty > 20000 * 1000, f"20 MB of values raised used_memory by {full - empty}")
    t.check(full - empty < 20000 * 1500, f"20 MB of values raised used_memory by {full - empty}")
    usage = conn.cmd("MEMORY", "USAGE", "k1").value
    t.check(1000 <= usage <= 1500, f"MEMORY USAGE of a value of 1000 bytes is {usage}")
    t.equal(conn.cmd("FLUSHALL"), OK)
    t.wait_for(lambda: used() - empty < 2 << 20, f"used_memory back at about {empty}, not {used()}")


# ---- backends


@test("--io poll serves and says so", needs=gyre_only, threads=(1, 4))
def io_poll(t, threads):
    server = t.own_gyre(threads=threads, io="poll")
    t.equal(t.connect(server).cmd("SET", "k", "v"), OK)
    t.match(server.log(), rb"(?i)poll")


@test("--io auto starts, whatever the kernel allows", needs=gyre_only)
def io_auto(t):
    t.equal(t.connect(t.own_gyre(threads=2, io="auto")).cmd("PING"), PONG)


@test("every rung of the uring ladder serves", needs=gyre_only, level=(0, 1, 2, 3), threads=(1, 4))
def uring_ladder(t, level, threads):
    server = t.own_gyre(threads=threads, io="uring", uring_level=level)
    conns = [t.connect(server, resp=2 + i % 2) for i in range(30)]
    for i, conn in enumerate(conns):
        keys = [f"k{i}:{j}" for j in range(300)]
        replies = conn.pipeline(
            [("SET", k, k) for k in keys] + [("GET", k) for k in keys] + [("MGET", *keys)],
            cuts=20,
            rng=t.rng,
        )
        t.check([r.value for r in replies[300:600]] == [k.encode() for k in keys], "GETs")
        t.equal(len(replies[600].value), 300)
    big = t.rng.randbytes(20 << 20)
    t.equal(conns[0].cmd("SET", "big", big), OK)
    t.check(conns[1].cmd("GET", "big").value == big, "20 MB came back changed")
    for conn in conns[::2]:
        conn.reset()
    t.equal(conns[1].cmd("DBSIZE"), R(":", 30 * 300 + 1))
    t.wait_for(
        lambda: info(conns[1], "clients")["connected_clients"] == "15",
        "closed connections are noticed",
    )


@test("a server that may not use io_uring runs on poll and says why in one line", threads=(1, 4))
def no_uring(t, threads):
    server = t.own_gyre(threads=threads, io="auto", forbid_uring=True)
    conn = t.connect(server)
    t.equal(conn.cmd("SET", "k", "v"), OK)
    t.equal(conn.cmd("MGET", "k", "nope").value[0], bulk("v"))
    if not STANDIN:
        lines = [l for l in server.log().decode().splitlines() if "uring" in l]
        t.equal(len(lines), 1, f"lines about io_uring: {lines}\n")
        t.match(lines[0], r"(?i)poll")
        t.match(lines[0], r"(?i)not permitted|EPERM|denied|forbid")


@test(
    "an idle server uses almost no processor time", alone=True, threads=(4, 1), io=("uring", "poll")
)
def idle(t, threads, io):
    server = t.own_gyre(threads=threads, io=io)
    conns = [t.connect(server) for _ in range(200)]
    for i, conn in enumerate(conns):
        t.equal(conn.cmd("SET", f"k{i}", "v"), OK)

    def ticks():
        fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    time.sleep(0.3)
    before = ticks()
    time.sleep(2)
    share = (ticks() - before) / os.sysconf("SC_CLK_TCK") / 2
    t.check(share < 0.05, f"{share:.1%} of a core while idle")


# ---- expiry


def load(conn, how, count, base):
    """Give `count` keys a time to die in the second that starts at `base`; how long that took."""
    began = time.monotonic()
    batch = 20000
    for at in range(0, count, batch):
        if how == "pexpireat":
            data = b"".join(
                encode("PEXPIREAT", b"key:%d" % i, base + i % 1000) for i in range(at, at + batch)
            )
        else:
            data = b"".join(
                encode("SET", b"key:%d" % i, b"v", "PXAT", base + i % 1000)
                for i in range(at, at + batch)
            )
        conn.exchange(data, batch)
    return time.monotonic() - began


def watch_expiry(t, conn, last):
    """Until one key is left: the longest wait for a GET, and how long after `last`; None: not in time."""
    longest = 0.0
    while time.time() < last + 20 * PATIENCE:
        before = time.monotonic()
        t.equal(conn.cmd("GET", "stays"), bulk("v"))
        longest = max(longest, time.monotonic() - before)
        if conn.cmd("DBSIZE").value == 1:
            return longest, time.time() - last
        time.sleep(0.005)
    return longest, None


@test(
    "a million keys that expire in the same second are gone two seconds later",
    alone=True,
    timeout=180,
    how=("pexpireat 4 uring", "set 4 poll", "set 1 uring"),
)
def mass_expiry(t, how):
    how, threads, io = how.split(" ")
    threads = int(threads) if not STANDIN else 1
    count = max(20000, int(1000000 * min(1, t.scale)) // 20000 * 20000)
    server = t.own_gyre(threads=threads, io=io)
    conn, quick = t.connect(server, timeout=60), t.connect(server)
    t.equal(conn.cmd("SET", "stays", "v"), OK)
    estimate = (
        load(conn, how, min(count, 20000), int(time.time() * 1000) + 10000000) * count / 20000
    )
    longest, times = None, 1.5
    for _ in range(3):  # on a busy machine anything may be late, but not always
        # The last attempt leaves nothing behind, in the counts either. The common second must come after
        # the loading, but not long after it.
        t.equal(conn.cmd("FLUSHALL"), OK)
        t.equal(conn.cmd("SET", "stays", "v"), OK)
        t.equal(conn.cmd("CONFIG", "RESETSTAT"), OK)
        base = int((time.time() + estimate * times + 1) * 1000)
        if how == "pexpireat":
            t.equal(conn.cmd("DEBUG", "POPULATE", count, "key", 16), OK)
        spent = load(conn, how, count, base)
        if time.time() * 1000 >= base - 500:
            times += 2
            continue
        t.equal(conn.cmd("DBSIZE"), R(":", count + 1), f"before (loaded in {spent:.1f} s)")
        time.sleep(max(0, base / 1000 - time.time() - 0.5))
        longest, gone_at = watch_expiry(t, quick, base / 1000 + 1)
        if longest < 0.3 * PATIENCE or STANDIN:
            break
    if longest is None:
        raise Failure(
            f"{count} keys took {spent:.1f} s to load, when {estimate:.1f} s were expected"
        )
    t.check(gone_at is not None, f"{quick.cmd('DBSIZE').value} keys are still there 20 s later")
    # The promise is 2 s and a few ms; a noisy machine gets three times that and more, redis-server no limit at all.
    if not STANDIN:
        t.check(gone_at < 6 * PATIENCE, f"gone {gone_at:.1f} s after the last one's time")
        t.check(longest < 0.3 * PATIENCE, f"a GET waited {longest * 1000:.0f} ms meanwhile")
    t.check(int(info(conn, "stats")["expired_keys"]) == count, "expired_keys")


@test(
    "expiry stands still with DEBUG SET-ACTIVE-EXPIRE 0, yet no command sees an expired key", **BOTH
)
def lazy_expiry(t, threads, io):
    conn = t.connect(t.gyre(threads=threads, io=io))
    t.equal(conn.cmd("DEBUG", "SET-ACTIVE-EXPIRE", "0"), OK)
    try:
        conn.pipeline([("SET", f"k{i}", "v", "PX", 1) for i in range(100)])
        time.sleep(0.3)
        t.equal(conn.cmd("DBSIZE"), R(":", 100), "DBSIZE counts what nobody has looked at")
        t.equal(conn.cmd("GET", "k0"), R("$", None))
        t.equal(conn.cmd("DBSIZE"), R(":", 99))
        t.equal(conn.cmd("EXISTS", "k1", "k2"), R(":", 0))
        t.equal(conn.cmd("KEYS", "*"), R("*", []))
    finally:
        t.equal(conn.cmd("DEBUG", "SET-ACTIVE-EXPIRE", "1"), OK)
    t.wait_for(lambda: conn.cmd("DBSIZE").value == 0, "active expiry works again")


# ---- crashes, daemon


@test(
    "DEBUG SEGFAULT prints a stack trace, registers and the command, and no secrets",
    needs=lambda: (
        None
        if "asan" not in GYRE_SERVER.lower() and "tsan" not in GYRE_SERVER.lower()
        else "sanitizers take the signal"
    ),
    **BOTH,
)
def segfault(t, threads, io):
    server = t.own_gyre(threads=threads, io=io, requirepass="hunter2secret")
    conn = t.connect(server)
    t.equal(conn.cmd("SET", "k", "precious-value"), OK)
    conn.write("DEBUG", "SEGFAULT")
    try:
        conn.drain()
    except (Closed, ReadTimeout):
        pass
    status = server.wait_exit(20)
    t.check(status not in (0, None), f"status {status}")
    log = server.log()
    t.match(log, rb"(?i)signal: ?11|SIGSEGV|crashed by signal")
    t.match(log, rb"(?i)stack trace|backtrace")
    t.check(
        len(re.findall(rb"0x[0-9a-f]{4,}|\[0x", log)) >= 3,
        f"no addresses in\n{server.log_tail(60)}",
    )
    t.match(log, rb"(?i)rip[:= ]")
    t.match(log, rb"(?i)segfault", "the client's command")
    for secret in (b"hunter2secret", b"precious-value"):
        t.check(secret not in log, f"{secret} is in the log")


@test(
    "--daemonize detaches, --pidfile names it, and goes away with it",
    threads=(1, 4),
    io=("uring", "poll"),
)
def daemonize(t, threads, io):
    server = t.own(
        Server.gyre(
            threads=threads, io=io, daemonize="yes", pidfile="test.pid", logfile="log", wait=False
        )
    )
    t.equal(server.wait_exit(), 0, "the parent's status")
    pidfile = Path(server.dir, "test.pid")
    pid = None
    try:
        server.ended = False
        wait_for(
            lambda: pidfile.exists() and pidfile.read_text().strip().isdigit(),
            "the pidfile appears",
        )
        pid = int(pidfile.read_text())
        wait_for(lambda: answers(server), "it answers")
        conn = t.connect(server)
        t.equal(info(conn, "server")["process_id"], str(pid))
        t.equal(Path(f"/proc/{pid}/cwd").resolve(), Path(server.dir).resolve())
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        t.equal((int(fields[3]), int(fields[4])), (pid, 0), "session and terminal of a daemon")
        t.check(len(Path(server.dir, "log").read_bytes()) > 0, "the log file is empty")
        os.kill(pid, signal.SIGTERM)
        wait_for(
            lambda: not Path(f"/proc/{pid}").exists()
            or "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0],
            "it ends",
        )
        pid = None
        t.check(not pidfile.exists(), "the pidfile is still there")
    finally:
        server.ended = True
        if pid:
            os.kill(pid, signal.SIGKILL)


def answers(server):
    try:
        with server.connect(timeout=2) as conn:
            return conn.cmd("PING") == PONG
    except (OSError, Closed):
        return False


@test("--logfile and --loglevel", threads=(1,))
def log_file(t, threads):
    server = t.own_gyre(threads=threads, logfile="log", loglevel="notice")
    t.equal(t.connect(server).cmd("PING"), PONG)
    path = Path(server.dir, "log")
    t.check(path.stat().st_size > 0, "the log file is empty")
    t.match(path.read_bytes(), rb"(?i)ready|accept|listen")


# ---- latency and slow log across shards


@test("the slow log is one log over all shards, newest first", **BOTH)
def slowlog(t, threads, io):
    conn = t.connect(t.gyre(threads=threads, io=io))
    conn.pipeline([("CONFIG", "SET", "slowlog-log-slower-than", "0"), ("SLOWLOG", "RESET")])
    try:
        conn.cmd("EVAL", "redis.call('SELECT', 1) redis.call('INCR', KEYS[1])", 1, "k")
        conn.pipeline([("SET", f"k{i}", i) for i in range(30)])
        entries = conn.cmd("SLOWLOG", "GET", "100").value
        t.equal({e.value[4].value for e in entries[:33]}, {entries[0].value[4].value}, "whose they are")
        words = [[w.value for w in e.value[3].value] for e in entries]
        t.equal(
            words[:30],
            [[b"SET", b"k%d" % i, b"%d" % i] for i in reversed(range(30))],
            "the entries",
        )
        ids = [e.value[0].value for e in entries]
        t.equal(ids, sorted(ids, reverse=True), "ids fall")
        t.equal(len(set(ids)), len(ids), "ids are unique")
        for entry in entries:
            t.equal([x.kind for x in entry.value], [":", ":", ":", "*", "$", "$"])
            t.check(abs(entry.value[1].value - time.time()) < 60, "the time of an entry")
        conn.cmd("CONFIG", "SET", "slowlog-max-len", "5")
        conn.pipeline([("PING",)] * 20)
        t.equal(conn.cmd("SLOWLOG", "LEN"), R(":", 5), "slowlog-max-len over all shards")
    finally:
        conn.pipeline(
            [
                ("CONFIG", "SET", "slowlog-log-slower-than", "10000", "slowlog-max-len", "128"),
                ("SLOWLOG", "RESET"),
            ]
        )


@test("DEBUG SLEEP is seen by LATENCY and the slow log", **BOTH)
def latency(t, threads, io):
    conn = t.connect(t.gyre(threads=threads, io=io))
    conn.pipeline(
        [
            ("CONFIG", "SET", "latency-monitor-threshold", "50"),
            ("LATENCY", "RESET"),
            ("SLOWLOG", "RESET"),
        ]
    )
    try:
        t.equal(conn.cmd("DEBUG", "SLEEP", "0.12"), OK)
        latest = conn.cmd("LATENCY", "LATEST").value
        t.equal([e.value[0].value for e in latest], [b"command"])
        t.check(100 <= latest[0].value[2].value < 5000 * PATIENCE, f"{latest[0].value[2].value} ms")
        t.equal(len(conn.cmd("LATENCY", "HISTORY", "command").value), 1)
        t.match(
            conn.cmd("LATENCY", "GRAPH", "command").text(), rb"^command - high \d+ ms, low \d+ ms"
        )
        t.equal(conn.cmd("SLOWLOG", "GET", 1).value[0].value[3].value[1].value, b"SLEEP")
        t.equal(conn.cmd("LATENCY", "RESET", "command"), R(":", 1))
        t.equal(conn.cmd("LATENCY", "LATEST").value, [])
    finally:
        conn.pipeline(
            [
                ("CONFIG", "SET", "latency-monitor-threshold", "0"),
                ("LATENCY", "RESET"),
                ("SLOWLOG", "RESET"),
            ]
        )


@test("nothing is done of what a connection sent behind its own end", **BOTH)
def own_end(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control = t.connect(server)
    for i in range(20):
        conn = t.connect(server)
        kill = ("CLIENT", "KILL", "ID", conn.cmd("CLIENT", "ID").value, "SKIPME", "no")
        kills = [kill] if i % 2 else [("MULTI",), kill, ("EXEC",)]
        before, behind = [("SET", f"before{n}", i) for n in range(4)], [("SET", f"behind{n}", i) for n in range(8)]
        conn.send(b"".join(encode(*words) for words in before + kills + behind))
        for _ in before + kills:
            conn.read()
        t.check(conn.is_closed(), "more was answered")
    t.equal(control.cmd("EXISTS", *(f"before{n}" for n in range(4))).value, 4)
    t.equal(control.cmd("EXISTS", *(f"behind{n}" for n in range(8))).value, 0)


@test("CLIENT PAUSE holds every client on every shard, UNPAUSE frees them", **BOTH)
def pause(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control = t.connect(server)
    conns = [t.connect(server) for _ in range(12)]
    for i, conn in enumerate(conns):
        t.equal(conn.cmd("SET", f"k{i}", "old"), OK)
    t.equal(control.cmd("CLIENT", "PAUSE", "60000", "WRITE"), OK)
    for i, conn in enumerate(conns):
        t.equal(conn.cmd("GET", f"k{i}"), bulk("old"), "reads go on")
        conn.write("SET", f"k{i}", "new")
    time.sleep(0.2)
    t.equal(
        control.cmd("MGET", *(f"k{i}" for i in range(12))).value,
        [bulk("old")] * 12,
        "no write came through",
    )
    t.equal(control.cmd("CLIENT", "UNPAUSE"), OK)
    for conn in conns:
        t.equal(conn.read(), OK)
    t.equal(control.cmd("MGET", *(f"k{i}" for i in range(12))).value, [bulk("new")] * 12)
    began = time.monotonic()
    t.equal(control.cmd("CLIENT", "PAUSE", "300"), OK)
    for conn in conns:
        conn.write("GET", "k0")
    for conn in conns:
        t.equal(conn.read(), bulk("new"))
    t.check(time.monotonic() - began >= 0.29, "PAUSE ALL held nobody")


@test("what CLIENT PAUSE put off goes on in its order, before what comes afterwards", threads=(1,), io=("uring", "poll"))
def pause_order(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control = t.connect(server)
    conns = [t.connect(server) for _ in range(6)]
    for end in (("CLIENT", "UNPAUSE"), None):
        control.pipeline([("DEL", "q"), ("CLIENT", "PAUSE", 60000 if end else 200, "WRITE")])
        t.rng.shuffle(conns)
        for i, conn in enumerate(conns):
            conn.write("RPUSH", "q", i)
            control.cmd("PING")  # so it has been read
        if end:
            t.equal(control.cmd("EXISTS", "q"), R(":", 0))
            t.equal(control.cmd(*end), OK)
        control.cmd("RPUSH", "q", len(conns))
        t.equal([r.value for r in control.cmd("LRANGE", "q", 0, -1).value], [b"%d" % i for i in range(7)])
        t.equal([conn.read().value for conn in conns], [1, 2, 3, 4, 5, 6])


@test("CLIENT PAUSE WRITE puts off what is put into a transaction", **BOTH)
def pause_queued(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control, conn = t.connect(server), t.connect(server)
    t.equal(conn.cmd("MULTI"), OK)
    t.equal(control.cmd("CLIENT", "PAUSE", "60000", "WRITE"), OK)
    t.equal(conn.cmd("GET", "k").value, b"QUEUED")
    conn.write("SET", "k", 1)
    t.check(not ready(conn.sock, 0.02)[0], "it was queued")
    t.equal(control.cmd("CLIENT", "UNPAUSE"), OK)
    t.equal(conn.read().value, b"QUEUED")
    t.equal(conn.cmd("EXEC").value, [R("$", None), OK])


@test("CLIENT PAUSE puts off nothing that is refused", **BOTH)
def pause_refused(t, threads, io):
    server = t.own_gyre(threads=threads, io=io)  # nobody could end the pause
    control, conn, queueing, subscribed = (t.connect(server) for _ in range(4))
    queueing.cmd("MULTI")
    subscribed.cmd("SUBSCRIBE", "news")
    t.equal(control.cmd("CLIENT", "PAUSE", "6000000", "ALL"), OK)
    t.check(conn.cmd("NONSENSE").is_error() and conn.cmd("GET").is_error(), "no command")
    t.check(queueing.cmd("SET", "k").is_error() and queueing.cmd("SAVE").is_error(), "not to be queued")
    t.check(subscribed.cmd("GET", "k").is_error(), "not for subscribers")
    conn.write("PING")
    t.check(not ready(conn.sock, 0.02)[0], "it is not paused")


@test("what CLIENT PAUSE put off goes with its connection", **BOTH)
def pause_hang_up(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control = t.connect(server)
    clients = lambda: info(control)["connected_clients"]
    t.wait_for(lambda: clients() == "1", "nobody else is left")
    t.equal(control.cmd("CLIENT", "PAUSE", "60000", "WRITE"), OK)
    for i in range(8):
        conn = server.connect()
        conn.send(encode("GET", f"k{i}") + encode("INCR", f"k{i}") + encode("INCR", f"k{i}") * (i * 2000))
        t.equal(conn.read().value, None)
        conn.close()
    t.wait_for(lambda: clients() == "1", "they are gone")
    t.equal(control.cmd("CLIENT", "UNPAUSE"), OK)
    t.equal(control.cmd("EXISTS", *(f"k{i}" for i in range(8))).value, 0)


@test("nothing goes while clients are paused, but who reads does not find what has expired", **BOTH)
def pause_expiry(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control = t.connect(server)
    keys = [f"k{i}" for i in range(8)]
    dues = [("PEXPIRE", key, 200) for key in keys]
    for _ in range(20):  # until the pause comes before they are due, which on a busy machine it may not
        control.pipeline([("SET", key, 1) for key in keys])
        control.pipeline([*dues, ("CLIENT", "PAUSE", "60000", "WRITE")])
        if control.cmd("DBSIZE").value == len(keys):
            break
        t.equal(control.cmd("CLIENT", "UNPAUSE"), OK)
    t.wait_for(lambda: control.cmd("EXISTS", *keys).value == 0, "they have expired")
    time.sleep(0.05)
    t.equal(control.cmd("MGET", *keys).value, [R("$", None)] * len(keys))
    t.equal(control.cmd("DBSIZE").value, len(keys))
    t.equal(control.cmd("KEYS", "*").value, [])
    t.check(control.cmd("RANDOMKEY").value.decode() in keys, "as by Redis, which gives up in the end")
    watching = control.pipeline([("WATCH", *keys), ("MULTI",), ("PING",), ("EXEC",)])[-1]
    t.equal(watching.value, [PONG], "what had expired before does not count as changed")
    t.equal(control.cmd("CLIENT", "UNPAUSE"), OK)
    t.wait_for(lambda: control.cmd("DBSIZE").value == 0, "now they go")


@test("an error that ends a command's waiting is counted", **BOTH)
def waiting_errors(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control, conn = t.connect(server), t.connect(server)
    number = conn.cmd("CLIENT", "ID").value

    def wait(*words):
        conn.write(*words)
        t.wait_for(lambda: info(control)["blocked_clients"] == "1", "it waits")

    def check_counted(command, error):
        t.equal(conn.read().kind, "-")
        stats = control.cmd("INFO", "commandstats", "errorstats").value.decode()
        line = re.search(f"cmdstat_{command}:.*", stats)[0]
        t.check("calls=1," in line and "failed_calls=1" in line, line)
        t.check(f"errorstat_{error}:count=1" in stats, stats)

    wait("BLMOVE", "l", "m", "LEFT", "LEFT", 0)
    control.pipeline([("SET", "m", "v"), ("RPUSH", "l", "a")])
    check_counted("blmove", "WRONGTYPE")
    wait("BLPOP", "nothing", 0)
    control.cmd("CLIENT", "UNBLOCK", number, "ERROR")
    check_counted("blpop", "UNBLOCKED")


@test("a monitor does not get at keys", **BOTH)
def monitor_keys(t, threads, io):
    conn = t.connect(t.gyre(threads=threads, io=io))
    t.equal(conn.cmd("MONITOR"), OK)
    for words in (("GET", "a"), ("SET", "a", 1), ("PUBLISH", "c", "m"), ("EVAL", "return 1", 0)):
        t.equal(conn.cmd(*words), R("-", b"ERR Replica can't interact with the keyspace"))
    conn.close()
