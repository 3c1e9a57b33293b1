# SPDX-License-Identifier: BSD-3-Clause
"""Everything at once: a handful of connections send whatever there is, without waiting for answers -
commands on every type, transactions, blocking commands, subscriptions, tracking, scripts, pauses,
settings, snapshots - and come and go. Nothing is expected of any one reply: the server must live (and a
sanitizer keep silent), answer sense to who comes afterwards, stop in order, and find in its log what it
had in memory.

    GYRE_TEST_SCALE=100 test/integration/runner.py --seed random --filter test_everything
"""

import socket
import time

from generator import Generator
from generator_types import FAMILIES
from harness import OK, PONG, SCALE, Closed, Failure, encode, ready, settled
from runner import test
from test_persistence import Home
from test_redis_files import expect_state, state

CONNECTIONS = 14
SECONDS = max(2.0, 4.0 * SCALE)
LAST = 300  # requests that a failure shows
KEYS = "a b c key:1 key:2 key:3 {tag}1 num1 num2 text1 q1 q2 s1".split()
CHANNELS = ("c1", "c2", "__keyevent@0__:set", "__redis__:invalidate")
LIBRARY = "#!lua name=l\nredis.register_function('f', function(k) return redis.call('incr', k[1]) end)"
GROUP = ("XREADGROUP", "GROUP", "g", "c", "BLOCK", 3, "STREAMS")
POP_ELSEWHERE = (
    "redis.call('rpush', ARGV[1], 1) redis.call('publish', 'c1', 'x') return redis.call('lpop', ARGV[2])"
)
SELECTING = "redis.call('select', 1) return redis.call('incr', KEYS[1])"

# A word may be a string of several; K is some key, C some channel, and so on (see `fill_in`).
REQUESTS = """
MULTI | EXEC | EXEC | EXEC x | DISCARD | WATCH K | WATCH K K K | UNWATCH | MULTI ; EXEC
WATCH K ; MULTI ; PING ; EXEC | MULTI ; PUBLISH C m ; EXEC | MULTI ; SUBSCRIBE C ; CLIENT LIST ; EXEC
MULTI ; CLIENT LIST ; KEYS * ; EXEC | MULTI ; INFO ; UNSUBSCRIBE ; SET K 1 ; EXEC
SUBSCRIBE C | UNSUBSCRIBE | PSUBSCRIBE c* | PUNSUBSCRIBE | SSUBSCRIBE C | SUNSUBSCRIBE
PUBLISH C m | SPUBLISH C m | PUBSUB CHANNELS | PUBSUB NUMSUB C | PUBSUB NUMPAT
RESET | HELLO 2 | HELLO 3 | HELLO 3 | HELLO 3 | SELECT D | SELECT 0 | QUIT? | MONITOR
CLIENT TRACKING ON | CLIENT TRACKING ON BCAST | CLIENT TRACKING ON OPTIN | CLIENT TRACKING ON OPTOUT
CLIENT TRACKING ON NOLOOP | CLIENT TRACKING ON BCAST PREFIX k | CLIENT TRACKING OFF
CLIENT CACHING YES | CLIENT CACHING NO | CLIENT REPLY ON | CLIENT REPLY SKIP | CLIENT REPLY OFF
CLIENT LIST | CLIENT INFO | CLIENT NO-TOUCH on | CLIENT NO-TOUCH off | CLIENT SETNAME n
CLIENT KILL TYPE normal SKIPME yes? | CLIENT KILL TYPE pubsub SKIPME yes?
CLIENT PAUSE 5 WRITE? | CLIENT PAUSE 5 ALL? | CLIENT UNPAUSE | CLIENT UNBLOCK N TIMEOUT | CLIENT UNBLOCK N ERROR
BLPOP K K 0.003 | BRPOP K 0.003 | BLMOVE K K LEFT RIGHT 0.003 | BZPOPMIN K K 0.003 | BLMPOP 0.003 2 K K LEFT
XGROUP CREATE K g 0 MKSTREAM | XREAD BLOCK 3 STREAMS K K $ $ | XADD K * f v | XACK K g 0-1
XGROUP DESTROY K g | READGROUP K > | WAIT 0 3
EVAL SET 1 K v | EVAL GET 0 K | EVAL POP 0 K K | EVAL SELECT 1 K | SCRIPT LOAD 1 | SCRIPT FLUSH
EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
FUNCTION LOAD REPLACE LIBRARY | FCALL f 1 K | FUNCTION FLUSH | FUNCTION LIST
LPUSH K x y | ZADD K 1 x | FLUSHALL | FLUSHDB | SWAPDB 0 1 | MOVE K 1 | COPY K K REPLACE | RENAME K K
SORT K BY * GET * STORE K | PEXPIRE K N | MGET K K K | MSET K 1 K 2 | DEL K K K | DUMP K
OBJECT ENCODING K | KEYS * | SCAN 0 | DBSIZE | RANDOMKEY | SLOWLOG GET | COMMAND COUNT | DEBUG SLEEP 0.003?
CONFIG SET notify-keyspace-events KEA | CONFIG SET notify-keyspace-events KEAm | CONFIG RESETSTAT
CONFIG SET notify-keyspace-events Knx | CONFIG SET maxmemory 1? | CONFIG SET maxmemory 0 | CONFIG SET maxmemory 0
INFO everything | BGREWRITEAOF? | BGSAVE?
"""
SCRIPTS = {
    "SET": "return redis.call('set', KEYS[1], ARGV[1])",
    "GET": "return redis.call('get', ARGV[1])",
    "POP": POP_ELSEWHERE,
    "SELECT": SELECTING,
}
ODD = [it.strip() for it in REQUESTS.replace("\n", "|").split("|") if it.strip()]
SWITCHING = ["CONFIG SET appendonly yes?", "CONFIG SET appendonly no?"]


class Crowd:
    def __init__(self, t, server, switches_log):
        self.server, self.rng = server, t.rng
        self.odd = ODD + SWITCHING * switches_log
        families = t.rng.sample(FAMILIES, t.rng.choice((1, 2, len(FAMILIES))))
        self.generator = Generator(t.rng, families)
        self.socks, self.sent = [], []

    # --- requests --------------------------------------------------------------------------------

    def fill_in(self, word, words):
        rng = self.rng
        if words[:1] == ["EVAL"] and len(words) == 1:
            return SCRIPTS[word]
        made = {
            "K": lambda: rng.choice(KEYS),
            "C": lambda: rng.choice(CHANNELS),
            "D": lambda: rng.randrange(4),
            "N": lambda: rng.randrange(1, 30),
            "m": lambda: "m" * rng.randrange(300),
            "LIBRARY": lambda: LIBRARY,
        }.get(word)
        return made() if made else word

    def odd_requests(self):
        chosen = self.rng.choice(self.odd)
        if chosen.endswith("?"):  # rarely
            if self.rng.random() < 0.9:
                return [["PING"]]
            chosen = chosen[:-1]
        requests = []
        for request in chosen.split(" ; "):
            words = []
            for word in request.split():
                words += GROUP if word == "READGROUP" else [self.fill_in(word, words)]
            requests.append(words)
        return requests

    def requests(self):
        if self.rng.random() < 0.55:
            return self.odd_requests()
        return [self.generator.step().args]

    # --- connections -----------------------------------------------------------------------------

    def leave(self, sock):
        sock.close()
        self.socks.remove(sock)

    def send(self, sock, requests):
        try:
            sock.send(b"".join(encode(*it) for it in requests))
        except BlockingIOError:
            pass  # it has been sent too much already, or a part: nonsense, too
        except OSError:
            self.leave(sock)

    def read(self):
        for sock in list(self.socks):
            try:
                if not sock.recv(1 << 18):
                    self.leave(sock)
            except BlockingIOError:
                pass
            except OSError:
                self.leave(sock)

    def step(self):
        while len(self.socks) < CONNECTIONS:
            self.socks.append(socket.create_connection(self.server.address))
            self.socks[-1].setblocking(False)
        sock = self.rng.choice(self.socks)
        count = self.rng.choice((1, 1, 2, 5, 20))
        requests = [request for _ in range(count) for request in self.requests()]
        self.sent = [*self.sent[-LAST:], (self.socks.index(sock), requests)]
        self.send(sock, requests)
        self.read()
        if self.rng.random() < 0.004 and self.socks:
            self.leave(self.rng.choice(self.socks))

    def run(self, seconds):
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                for _ in range(100):
                    self.step()
                if not self.server.alive():
                    raise Failure(f"the server died\n{self.server.log_tail(80)}")
        except (Failure, OSError) as failure:
            last = "\n".join(map(repr, self.sent))
            raise Failure(f"{failure}\n{last}") from None
        for sock in list(self.socks):
            self.leave(sock)


def left_alone(t, server):
    """A connection, when the crowd has gone and killed what it could."""
    while True:
        conn = t.connect(server)
        try:
            t.equal(conn.cmd("CLIENT", "UNPAUSE"), OK)
            settled(conn, 1)
            return conn
        except (Closed, OSError):
            pass


def expect_sense(t, conn):
    """All of it has left no trace in what the server answers."""
    t.equal(conn.cmd("CONFIG", "SET", "maxmemory", 0, "notify-keyspace-events", ""), OK)
    for n in range(20):
        t.equal(conn.cmd("SET", f"after:{n}", n), OK)
    t.equal([it.value for it in conn.cmd("MGET", "after:1", "after:19").value], [b"1", b"19"])
    t.equal(conn.cmd("MULTI"), OK)
    conn.cmd("PING")
    t.equal(conn.cmd("EXEC").value, [PONG])
    for what in ("CHANNELS", "SHARDCHANNELS"):
        t.equal(conn.cmd("PUBSUB", what).value, [], what)
    t.equal(conn.cmd("PUBSUB", "NUMPAT").value, 0)


@test(
    "a crowd that says whatever there is leaves the server whole",
    load=True,
    threads=(1, 4),
    io=("uring", "poll"),
    log=("kept", "switched"),
)
def crowd(t, threads, io, log):
    env = {"GYRE_JITTER": "10"} if threads > 1 else {}
    is_kept = log == "kept"
    home = Home(t, io=io, appendonly="yes" if is_kept else "no", databases=4)
    home.run(threads=threads, env=env).close()
    Crowd(t, home.server, switches_log=not is_kept).run(SECONDS)
    conn = left_alone(t, home.server)
    expect_sense(t, conn)
    if not is_kept:
        return
    time.sleep(0.05)  # what was about to expire has
    wanted = state(conn)
    expect_state(t, wanted, state(home.run(threads=threads)))


@test("settings are replaced under commands whose own connections are told", threads=(4,))
def replaced(t, threads):
    server = t.own_gyre(threads=threads, notify_keyspace_events="KEAm")
    listeners = [t.connect(server) for _ in range(4)]
    for conn in listeners:
        conn.write("PSUBSCRIBE", "__key*")
    setter, reader = t.connect(server), t.connect(server)
    t.equal(reader.cmd("PING"), PONG)
    end = time.monotonic() + max(0.3, SCALE)
    while time.monotonic() < end:
        setter.send(b"".join(encode("CONFIG", "SET", "maxmemory", n) for n in (0, 1 << 40) * 10))
        reader.pipeline([("GET", f"missing:{n}") for n in range(200)])
        reader.pipeline([("SET", f"short-lived:{n}", n, "PX", 1) for n in range(50)])
        for conn in listeners:
            while ready(conn.sock, 0)[0]:
                conn.sock.recv(1 << 20)
        for _ in range(20):
            t.equal(setter.read(), OK)
