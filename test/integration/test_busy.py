# SPDX-License-Identifier: BSD-3-Clause
"""While a script or function runs for longer than busy-reply-threshold: what everybody else is answered,
how it is ended, and that nobody loses anything by it."""
import contextlib
import random
import re
import signal
import threading
import time

from harness import OK, PATIENCE, Failure, check_equal, encode, info, settled, show
from runner import test
from test_persistence import Home

THRESHOLD = 30  # ms
BUSY = b"BUSY Redis is busy running a script."

# A script that stays on its key, and one that may go anywhere, so that all shards wait for it.
LOOPS = {
    "one key": "while true do redis.call('GET', KEYS[1]) end",
    "no calls": "while true do end",
    "all shards": "while true do redis.call('GET', 'k' .. ARGV[1]) end",
}
LIBRARY = """#!lua name=busy
redis.register_function('forever', function(keys) while true do redis.call('GET', keys[1]) end end)
redis.register_function('half_done', function(keys)
    redis.call('SET', keys[1], 'half')
    while redis.call('GET', keys[2]) ~= 'end' do end
    return 'done' end)
"""
# Runs until the clock says so: ARGV[1] is in milliseconds.
SPIN = """local t = redis.call('TIME') local till = t[1] * 1000 + t[2] / 1000 + ARGV[1]
    repeat t = redis.call('TIME') until t[1] * 1000 + t[2] / 1000 >= till """


@contextlib.contextmanager
def thresholds(*servers):
    """Scripts are slow early; afterwards they are not."""
    for server in servers:
        with server.connect() as conn:
            conn.cmd("CONFIG", "SET", "busy-reply-threshold", THRESHOLD)
    yield
    for server in servers:
        with server.connect() as conn:
            conn.cmd("CONFIG", "SET", "lua-time-limit", 5000)
            check_equal(conn.cmd("FUNCTION", "FLUSH").value, b"OK")


def wait_busy(t, conn, is_busy=True):
    t.wait_for(lambda: (conn.cmd("PING").value[:4] == b"BUSY") == is_busy, "BUSY", step=0.002)


def eval_args(script, key="a"):
    return ("EVAL", script, 1, key, 7)


class Play:
    """The same steps on one server or another; keeps the replies."""

    def __init__(self, t, server):
        self.t, self.server, self.conns, self.log = t, server, {}, []
        self.prober = t.connect(server)

    def conn(self, name):
        if name not in self.conns:
            self.conns[name] = self.t.connect(self.server)
        return self.conns[name]

    def __call__(self, name, *args):
        self.conn(name).write(*args)
        return self.read(name, args)

    def read(self, name, what="later"):
        raw, reply = self.conn(name).read_raw()
        raw = re.sub(rb"(duration_ms\r\n:)\d+", rb"\g<1>N", raw)
        self.log.append((name, what, raw))
        return reply

    def start(self, name, *args):
        self.conn(name).write(*args)
        wait_busy(self.t, self.prober)


def both(t, threads, io, steps, *args):
    """The steps on Redis and on Gyre: the same replies."""
    redis, gyre = t.redis(), t.gyre(threads=threads, io=io)
    logs = []
    with thresholds(redis, gyre):
        for server in (redis, gyre):
            play = Play(t, server)
            steps(play, *args)
            wait_busy(t, play.prober, False)
            logs.append(play.log)
    for want, got in zip(*logs):
        t.check(want == got, f"{got[0]}> {got[1]}\n Redis: {want[2]!r}\n Gyre:  {got[2]!r}")
    t.equal(len(logs[1]), len(logs[0]))


MATRIX = {"threads": (1, 4), "io": ("uring", "poll")}


def refusals(p, script):
    p("pre", "MULTI"), p("pre", "SET", "a", 1)
    p("watch", "WATCH", "a")
    p("sub", "SUBSCRIBE", "ch")
    p.start("e", *eval_args(script))
    for command in (
        "PING|GET a|SET b 1|MSET b 1 c 2|BLPOP l 1|NOSUCH|GET|SCRIPT NOPE|ECHO x|INFO|CLIENT LIST|CONFIG GET port|COMMAND|"
        "SUBSCRIBE x|PUBLISH ch x|SCRIPT HELP|SCRIPT EXISTS x|SCRIPT FLUSH|FUNCTION LIST|DEBUG SLEEP 0|FLUSHALL|"
        "EXEC|DISCARD|MULTI|SET b 1|PING|SHUTDOWN NOSAVE|EXEC|DISCARD|MULTI|DISCARD|MULTI|MULTI|WATCH x|EXEC|"
        "WATCH a b|UNWATCH|AUTH x|HELLO 9|RESET|FUNCTION STATS|FUNCTION KILL|SHUTDOWN|SHUTDOWN SAVE|SHUTDOWN BAD"
    ).split("|"):
        p("c", *command.split())
    p("pre", "GET", "a"), p("pre", "EXEC"), p("watch", "EXEC")
    p("sub", "PING"), p("sub", "UNSUBSCRIBE", "ch"), p("sub", "GET", "a")
    p("queued", "MULTI"), p("queued", "SCRIPT", "KILL")
    p.conn("pipe").send(b"".join(encode(*c.split()) for c in ("PING", "MULTI", "GET b", "EXEC", "SCRIPT EXISTS x")) + b"PING\r\n")
    for _ in range(6):
        p.read("pipe")
    p("quit", "QUIT")
    p("kill", "SCRIPT", "KILL")
    p.read("e")
    p("kill", "SCRIPT", "KILL"), p("kill", "FUNCTION", "KILL")
    p("queued", "EXEC"), p("pre", "EXEC"), p("c", "GET", "b"), p("sub", "UNSUBSCRIBE", "ch")


@test("everybody but the few is answered BUSY, word for word as Redis does", script=tuple(LOOPS), **MATRIX)
def refused(t, threads, io, script):
    both(t, threads, io, refusals, LOOPS[script])


def function_steps(p):
    p("c", "FUNCTION", "LOAD", LIBRARY)
    p.start("e", "FCALL", "forever", 1, "a", "x", "")
    for command in "PING|FUNCTION STATS|SCRIPT KILL|MULTI|PING|EXEC|FUNCTION LIST|FUNCTION KILL".split("|"):
        p("c", *command.split())
    p.read("e")
    p("c", "FUNCTION", "STATS"), p("c", "FUNCTION", "KILL")


@test("a function is shown by FUNCTION STATS and ended by FUNCTION KILL, as in Redis", **MATRIX)
def functions(t, threads, io):
    both(t, threads, io, function_steps)


def dirty_steps(p, is_function):
    p("c", "FUNCTION", "LOAD", LIBRARY)
    spin_ms = int(300 + 100 * PATIENCE)  # enough for what is asked meanwhile
    code = SPIN.replace("local t", "redis.call('SET', KEYS[1], 'half') local t", 1) + " return redis.call('GET', KEYS[1])"
    if is_function:
        p("c", "FUNCTION", "LOAD", "REPLACE", f"#!lua name=busy\nredis.register_function('f', function(KEYS, ARGV) {code} end)")
        p.start("e", "FCALL", "f", 1, "a", spin_ms)
    else:
        p.start("e", "EVAL", code, 1, "a", spin_ms)
    # All at once: a SHUTDOWN that comes when the script has ended is obeyed.
    commands = [command.split() for command in "SHUTDOWN|SCRIPT KILL|FUNCTION KILL|GET a|PING".split("|")]
    p.conn("c").send(b"".join(encode(*command) for command in commands))
    for command in commands:
        p.read("c", command)
    p.read("e")
    wait_busy(p.t, p.prober, False)
    p("c", "GET", "a"), p("c", "SCRIPT", "KILL")


@test("what has written cannot be killed, and ends by itself", function=(False, True), **MATRIX)
def unkillable(t, threads, io, function):
    both(t, threads, io, dirty_steps, function)


@contextlib.contextmanager
def kills(conn):
    """Kills whatever becomes slow."""
    is_over = threading.Event()

    def go_on():
        while not is_over.wait(0.01):
            conn.cmd("SCRIPT", "KILL")

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def pipeline_steps(p):
    pipe = [("SET", "n", 1), ("INCR", "n"), eval_args(LOOPS["one key"], "n"), ("PING",), ("INCR", "n"), ("MULTI",), ("INCR", "n"),
            eval_args(LOOPS["all shards"]), ("INCR", "n"), ("EXEC",), ("GET", "n")]
    p.conn("e").send(b"".join(encode(*c) for c in pipe))
    wait_busy(p.t, p.prober)
    p.conn("e").write("PING")
    p.conn("e").write("GET", "n")
    with kills(p.t.connect(p.server)):
        for _ in range(len(pipe) + 2):
            p.read("e")


@test("the replies of a pipeline with slow scripts in it come in order", **MATRIX)
def pipelines(t, threads, io):
    both(t, threads, io, pipeline_steps)


# Sent while the script runs and is not slow yet, each line on a connection of its own; what stands before ; is done before
# that. All of it needs the shard of `a`; * writes on others, too, and has begun there unless all shards stand still.
WAITING = (
    "GET a|SET a 2|MGET a b c d|* MSET a 2 b 2 c 2 d 2|* DEL a b c d|DBSIZE|RENAME a b|COPY b a|SINTER s a b c|BLPOP a 0|"
    "BLPOP {a}1 l2 l3 0|BLMOVE l a LEFT LEFT 0|EVAL return{KEYS[1]} 1 a|EVAL return{redis.call('GET',ARGV[1])} 0 b|LPUSH {a}1 x|"
    "KEYS *|* FLUSHALL|SORT a|PFCOUNT a b c d|XADD {a}2 * f v|XREAD BLOCK 0 STREAMS {a}2 s 0 0|SET a 3,SET {a}3 4,MGET a b,GET a|MGET b c a,MGET c a b|"
    "* SET a 3,MSET a 4 b 4,GET a|CLIENT REPLY OFF;SET a 5,MGET a b|MULTI,SET a 1,GET a;EXEC|* MULTI,MSET a 1 b 2 c 3 d 4,DBSIZE;EXEC|"
    "MULTI,MGET a b c d,GET a;EXEC|MULTI,RENAME a b,KEYS *;EXEC|* MULTI,EVAL return{1} 0,SET b 1,SET a 1;EXEC|"
    "MULTI,SET b 1,SELECT 1,SET a 1;EXEC"
).split("|")


def send(conn, commands):
    """Sends these, separated by commas; how many."""
    commands = [c.split() for c in re.split(r",(?![^(]*\))", commands) if c]
    conn.send(b"".join(encode(*c) for c in commands))
    return len(commands)


def replies_behind(t, server, script, lines):
    """What those who come shortly behind the script are answered, and their connections. None: the script was overtaken."""
    conns, got = [t.connect(server) for _ in lines], []
    before, then = zip(*((line if ";" in line else ";" + line).split(";") for line in lines))
    for conn, commands in zip(conns, before):
        count = send(conn, commands)
        got.append([conn.read_raw()[0] for _ in range(0 if "OFF" in commands else count)])
    with server.connect() as look:  # no reply says so
        t.wait_for(lambda: b"cmd=client|reply" in look.cmd("CLIENT", "LIST").value, "CLIENT REPLY OFF")
    own = t.connect(server)
    own.write(*eval_args(script))
    time.sleep(0.1)  # it has begun, and is not slow yet
    counts = [send(conn, commands) for conn, commands in zip(conns, then)]
    first = conns[0].read_raw()[0]
    is_behind = first.startswith(b"-BUSY")
    for i, conn in enumerate(conns if is_behind else ()):
        already = [first] if i == 0 else []
        got[i] += already + [conn.read_raw()[0] for _ in range(0 if "OFF" in before[i] else counts[i] - len(already))]
    killer = t.connect(server)
    wait_busy(t, killer)
    t.equal(killer.cmd("SCRIPT", "KILL").value, b"OK")
    t.check(b"killed" in own.read().value, "not killed")
    for conn in [own, killer] + ([] if is_behind else conns):
        conn.close()
    return (got, conns) if is_behind else None


def refused_counts(conn):
    """Refused calls by command; errors by code."""
    calls = {name: re.search(r"rejected_calls=(\d+)", line)[1] for name, line in info(conn, "commandstats").items()}
    return {name: n for name, n in calls.items() if n != "0" and name != "cmdstat_ping"}


def values(conn, *keys):
    return [reply.value for reply in conn.cmd("MGET", *keys).value]


@test("what came before the script was slow, and has not begun, is refused, too", script=tuple(LOOPS), log=(False, True), **MATRIX)
def waiting(t, script, log, threads, io):
    home = Home(t, appendonly="yes" if log else "no", appendfsync="always")
    home.run(threads=threads, io=io).close()
    lines = [line.lstrip("* ") for line in WAITING if line[0] != "*" or threads == 1 or script == "all shards"]
    logs = []
    for server in (t.redis(), home.server):
        control = t.connect(server)
        control.cmd("CONFIG", "SET", "busy-reply-threshold", 10 * THRESHOLD)
        for _ in range(10):
            settled(control, 1)
            control.cmd("FLUSHALL"), control.cmd("MSET", "a", 1, "b", 1), control.cmd("CONFIG", "RESETSTAT")
            got = replies_behind(t, server, LOOPS[script], lines)
            if got:
                break
        t.check(got, "the script is always overtaken")
        logs.append((got[0], refused_counts(control)))
        # Nothing of it was done, and everything goes on.
        t.equal((values(control, *"abcd"), control.cmd("DBSIZE").value), ([b"1", b"1", None, None], 2))
        for i, conn in enumerate(got[1]):
            conn.write("CLIENT", "REPLY", "ON")
            t.equal((lines[i], conn.read()), (lines[i], OK))
            t.equal(conn.cmd("MSET", *(x for k in "abcd" for x in (k, i))), OK)
            t.equal(values(conn, *"abcd"), [str(i).encode()] * 4)
        control.cmd("CONFIG", "SET", "busy-reply-threshold", 5000)
    for line, want, gyre in zip(lines, logs[0][0], logs[1][0]):
        t.equal((line, gyre), (line, want))
    t.equal(logs[1][1], logs[0][1])
    if log:
        t.equal(values(home.run(threads=threads, io=io), *"abcd"), [str(len(lines) - 1).encode()] * 4)


@test("however many wait for a slow script, everybody else is heard", threads=(2, 4), io=("uring", "poll"))
def crowd_waits(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    keys = [x for i in range(32) for x in (f"k{i}", i)]
    with thresholds(server):
        script, other = t.connect(server), t.connect(server)
        conns = [t.connect(server) for _ in range(500)]
        script.write(*eval_args(LOOPS["one key"]))
        for conn in conns:  # each begins on other shards, and stays under way
            conn.write("MSET", "a", 1, *keys)
        wait_busy(t, other)
        t.equal(t.connect(server).cmd("SCRIPT", "KILL").value, b"OK")
        t.check(b"killed by user" in script.read().value, "not killed")
        kinds = {conn.read().kind for conn in conns}
        t.check(kinds <= {"+", "-"}, f"{kinds}")
        wait_busy(t, other, False)
        t.equal(values(other, "k0", "k31"), [b"0", b"31"] if "+" in kinds else [None, None])


def other_steps(p):
    p("c", "CONFIG", "SET", "requirepass", "x")
    p("e", "AUTH", "x"), p("on", "AUTH", "x")
    p.prober.cmd("AUTH", "x")
    p.conn("off"), p("off", "AUTH", "x")
    p.conn("off").write("CLIENT", "REPLY", "OFF")
    p.start("e", *eval_args(LOOPS["no calls"]))
    p("u", "PING"), p("u", "SCRIPT", "KILL"), p("u", "AUTH", "no"), p("u", "AUTH", "x"), p("u", "PING")
    p("r3", "HELLO", 3, "AUTH", "x", "OOPS")
    p.conn("off").write("SCRIPT", "KILL")
    p.read("e")
    p.conn("off").write("CLIENT", "REPLY", "ON")
    p.read("off")
    # The one that runs the script reads no replies; one that is reset meanwhile does.
    p.conn("e").write("CLIENT", "REPLY", "SKIP")
    p.start("e", *eval_args(LOOPS["one key"]))
    p("off", "RESET"), p("off", "AUTH", "x"), p("off", "SCRIPT", "KILL")
    p("e", "GET", "a"), p("e", "CONFIG", "SET", "requirepass", "")


@test("logging in, and reading no replies, go together with it", **MATRIX)
def others(t, threads, io):
    both(t, threads, io, other_steps)


KILLED = [
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "while true do redis.pcall('GET', KEYS[1]) end",
    "local co = coroutine.wrap(function() while true do pcall(function() while true do end end) end end) "
    "while true do pcall(co) end",
    "xpcall(function() while true do end end, function() while true do end end) return 1",
]


@test("SCRIPT KILL ends any script that has not written, whatever it does about it", threads=(1, 4))
def killing(t, threads):
    server = t.gyre(threads=threads)
    with thresholds(server):
        for script in KILLED:
            conn, other = t.connect(server), t.connect(server)
            conn.write("EVAL", script, 1, "key0")
            wait_busy(t, other)
            t.equal(other.cmd("SCRIPT", "KILL").value, b"OK")
            got = conn.read()
            t.check(got.is_error() and b"Script killed by user" in got.value, f"{script}: {got!r}")
        t.equal(other.cmd("SCRIPT", "KILL").value[:7], b"NOTBUSY")


@test("SHUTDOWN NOSAVE stops a server whose script has written", **MATRIX)
def shutdown(t, threads, io):
    server = t.own_gyre(threads=threads, io=io)
    with server.connect() as conn:
        conn.cmd("CONFIG", "SET", "busy-reply-threshold", THRESHOLD)
    script, other = t.connect(server), t.connect(server)
    waiting = t.connect(server)
    waiting.cmd("MSET", "a", 1, "b", 2)
    script.write("EVAL", "redis.call('SET', KEYS[1], 1) while true do redis.call('INCR', ARGV[1]) end", 1, "a", "b")
    wait_busy(t, other)
    waiting.write("GET", "a")
    t.equal(other.cmd("SCRIPT", "KILL").value[:10], b"UNKILLABLE")
    t.equal(other.cmd("SHUTDOWN").value[:4], b"BUSY")
    other.write("SHUTDOWN", "NOSAVE")
    t.check(other.is_closed(), "the connection that asked stays open")
    t.equal(server.wait_exit(), 0)


@test("a signal ends a slow script that has not written", threads=(1, 4))
def terminated(t, threads):
    server = t.own_gyre(threads=threads)
    with server.connect() as conn:
        conn.cmd("CONFIG", "SET", "busy-reply-threshold", THRESHOLD)
    script, other = t.connect(server), t.connect(server)
    script.write(*eval_args(LOOPS["all shards"]))
    wait_busy(t, other)
    server.send_signal(signal.SIGTERM)
    t.equal(server.wait_exit(), 0)


@test(
    "a stop is held up by no script that holds up a snapshot",
    threads=(1, 4),
    job=("BGSAVE", "BGREWRITEAOF"),
    points=("", "3600 1"),
)
def terminated_amid_job(t, threads, job, points):
    half = "redis.call('SET', KEYS[1], 1) while true do end"
    for script, ways in ((LOOPS["no calls"], "T"), (half, "N"), (half, "TN")):
        home = Home(t, appendonly="yes", save=points, busy_reply_threshold=THRESHOLD)
        conn, other = home.run(threads), t.connect(home.server)
        conn.send(encode(job) + encode(*eval_args(script)))  # whose cut comes behind the script
        wait_busy(t, other)
        if "T" in ways:
            home.server.send_signal(signal.SIGTERM)
        if "N" in ways:
            time.sleep(0.05)
            other.write("SHUTDOWN", "NOSAVE")
        t.equal(home.server.wait_exit(), 0)


@test("who comes while a stop waits for a script is served, and may say SHUTDOWN NOSAVE", points=("", "3600 1"), **MATRIX)
def comes_late(t, threads, io, points):
    server = t.own_gyre(threads=threads, io=io, save=points, busy_reply_threshold=THRESHOLD)
    conn = t.connect(server)
    conn.write("EVAL", "redis.call('SET', KEYS[1], 1) while true do end", 1, "a")
    wait_busy(t, t.connect(server))
    server.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    late = t.connect(server)
    t.equal(late.cmd("GET", "b").value[: len(BUSY)], BUSY)
    late.write("SHUTDOWN", "NOSAVE")
    t.equal(server.wait_exit(), 0)


@test("a long pipeline around a slow script holds up nobody else, and nothing of it is lost", **MATRIX)
def long_pipeline(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    value = b"x" * 3_000_000
    with thresholds(server):
        for script in LOOPS.values():
            pipe, other = t.connect(server), t.connect(server)
            other.cmd("DEL", "n")
            commands = [("INCR", "n")] * 200 + [eval_args(script)] + [("INCR", "n"), ("SET", "m", 1)] * 20000
            commands += [("SET", "big", value), ("STRLEN", "big")]
            got = []
            sender = threading.Thread(target=lambda p=pipe, c=commands, g=got: g.extend(p.pipeline(c)))
            sender.start()
            wait_busy(t, other)
            fresh = [t.connect(server) for _ in range(50)]
            for conn in fresh:
                conn.write("GET", "n")
            for conn in fresh:
                t.equal(conn.read().value[:len(BUSY)], BUSY)
            t.equal(other.cmd("SCRIPT", "KILL").value, b"OK")
            sender.join(20)
            t.equal([r.value for r in got[:200]], list(range(1, 201)))
            t.check(b"killed by user" in got[200].value, show(got[200]))
            t.equal([r.value for r in got[201:40201:2]], list(range(201, 20201)))
            t.equal(got[-1].value, len(value))


@test("connections that go while a script is slow, its own too, are gone afterwards", **MATRIX)
def departures(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    control = t.connect(server)
    with thresholds(server):
        for script in LOOPS.values():
            for how in ("close", "reset"):
                for run in ([eval_args(script)], [("MULTI",), ("SET", "x", 1), eval_args(script), ("INCR", "done"), ("EXEC",)],
                            [("SET", f"k{i}", 1) for i in range(20)] + [eval_args(script), ("PING",)]):
                    own, idle, blocked, half = (server.connect() for _ in range(4))
                    blocked.write("BLPOP", "list", 0)
                    idle.cmd("WATCH", "x"), idle.cmd("SUBSCRIBE", "ch")
                    half.send(b"*2\r\n$3\r\nGET\r\n$10\r\nabc")
                    t.wait_for(lambda: info(control, "clients")["blocked_clients"] == "1", "BLPOP", step=0.002)
                    own.send(b"".join(encode(*c) for c in run))
                    wait_busy(t, control)
                    own.send(encode("GET", "x") * 100)
                    for conn in (own, idle, blocked, half):
                        getattr(conn, how)()
                    for _ in range(3):
                        with server.connect() as late:
                            t.equal(late.cmd("PING").value[:len(BUSY)], BUSY)
                    t.equal(control.cmd("SCRIPT", "KILL").value, b"OK")
                    wait_busy(t, control, False)
                    settled(control, 1)
                    t.equal(info(control, "clients")["blocked_clients"], "0")
                    control.cmd("RPUSH", "list", "e")
                    t.equal(control.cmd("LPOP", "list").value, b"e")
        t.equal(control.cmd("PUBLISH", "ch", "x").value, 0)


@test("a script that waited for the end of CLIENT PAUSE is answered for, too", threads=(1, 4))
def paused(t, threads):
    server = t.gyre(threads=threads)
    with thresholds(server):
        control, script = t.connect(server), t.connect(server)
        control.cmd("CLIENT", "PAUSE", 50, "WRITE")
        conns = [t.connect(server) for _ in range(20)]
        for conn in conns[:10]:
            conn.write("INCR", "n")
        script.write(*eval_args(LOOPS["one key"]))
        for conn in conns[10:]:
            conn.write("INCR", "n")
        wait_busy(t, control)
        for conn in conns[::3]:
            conn.close()
        t.equal(control.cmd("SCRIPT", "KILL").value, b"OK")
        t.check(b"killed by user" in script.read().value, "not killed")
        for i, conn in enumerate(conns):
            if i % 3:
                t.check(conn.read().kind in ":-", "no answer")


class Actor(threading.Thread):
    """Random commands, slow scripts among them, over connections that do not last; counts what was done."""

    def __init__(self, server, number, seed, end):
        super().__init__(daemon=True)
        self.server, self.rng, self.end = server, random.Random(seed), end
        self.key, self.sent, self.done, self.busy, self.trouble = f"n{number}", 0, 0, 0, None

    def run(self):
        try:
            while not self.end.is_set():
                with self.server.connect() as conn:
                    for _ in range(self.rng.randrange(1, 30)):
                        self.act(conn)
        except Exception as failure:  # shown by the test
            self.trouble = failure

    def act(self, conn):
        ms = self.rng.randrange(2, 25)
        script = SPIN + self.rng.choice(("return redis.call('GET', KEYS[1])", "return redis.call('GET', ARGV[2])"))
        run = ("EVAL", script, 1, self.key, ms, "n0")
        one = ("INCR", self.key)
        batch = self.rng.choice(([one], [one] * 20, [one, run, one], [("MULTI",), one, run, one, ("EXEC",)], [("SCRIPT", "KILL")],
                                 [one, ("MGET", "n0", "n1", "n2", "n3"), run, one], [("WATCH", "n1"), one, ("UNWATCH",)]))
        self.sent += sum(c is one for c in batch)
        replies = conn.pipeline(batch)
        for command, reply in zip(batch, replies):
            in_exec = command == ("EXEC",) and reply.kind == "*" and reply.value
            self.done += 2 if in_exec else command is one and reply.kind == ":"
            self.busy += reply.is_error() and reply.value.startswith(b"BUSY ")
            fine = not reply.is_error() or re.match(rb"BUSY|NOTBUSY|UNKILLABLE|EXECABORT|ERR Script killed", reply.value)
            if not fine:
                raise Failure(f"{command}: {show(reply)}")


@test("in a crowd with slow scripts every command is either done or answered BUSY", load=True, **MATRIX)
def crowd(t, threads, io):
    server = t.own_gyre(threads=threads, io=io)
    control = t.connect(server)
    control.cmd("CONFIG", "SET", "busy-reply-threshold", 5)
    end = threading.Event()
    actors = [Actor(server, i, t.rng.random(), end) for i in range(8)]
    for actor in actors:
        actor.start()

    def is_enough():
        return min(sum(a.done for a in actors), sum(a.busy for a in actors)) > 20 or any(a.trouble for a in actors)

    time.sleep(2 * t.scale)
    t.wait_for(is_enough, "enough is done, and enough refused", 20)
    end.set()
    for actor in actors:
        actor.join(30)
        t.check(not actor.is_alive() and not actor.trouble, f"{actor.trouble!r}")
    for actor in actors:
        t.equal(int(control.cmd("GET", actor.key).value or 0), actor.done, f"{actor.sent} sent")
    t.equal(info(control, "errorstats").get("errorstat_BUSY"), f"count={sum(a.busy for a in actors)}")
