# SPDX-License-Identifier: BSD-3-Clause
"""Can the tests fail? Servers that are wrong on purpose (badserver.py) must be caught, and the harness's own
parts must do what they say. A test that cannot fail is a defect."""

import random

import differential
from badserver import BadServer
from differential import Case, Differ, cmd, parse_stream, shrink, split_words
from harness import Failure, NIL, Parser, ProtocolError, R, Server, bulk, encode
from runner import test
from test_order import run_order


def parse(data):
    parser = Parser()
    parser.feed(data)
    found = parser.next()
    return found and found[1]


@test("the parser keeps every wire type apart")
def parser_types(t):
    samples = {
        b"+OK\r\n": R("+", b"OK"),
        b"$2\r\nOK\r\n": R("$", b"OK"),
        b"-ERR x\r\n": R("-", b"ERR x"),
        b":-5\r\n": R(":", -5),
        b"$-1\r\n": R("$", None),
        b"*-1\r\n": R("*", None),
        b"_\r\n": R("_", None),
        b"*0\r\n": R("*", []),
        b"#t\r\n": R("#", True),
        b",1.5\r\n": R(",", b"1.5"),
        b"(123\r\n": R("(", b"123"),
        b"=6\r\ntxt:ab\r\n": R("=", b"txt:ab"),
        b"~1\r\n:1\r\n": R("~", [R(":", 1)]),
        b"%1\r\n+a\r\n:1\r\n": R("%", [(R("+", b"a"), R(":", 1))]),
        b">1\r\n+x\r\n": R(">", [R("+", b"x")]),
        b"*2\r\n$0\r\n\r\n*1\r\n_\r\n": R("*", [R("$", b""), R("*", [R("_", None)])]),
    }
    for data, want in samples.items():
        t.equal(parse(data), want, repr(data))
        for cut in range(1, len(data)):
            parser = Parser()
            parser.feed(data[:cut])
            t.equal(parser.next(), None, f"{data[:cut]!r} is not complete")
            parser.feed(data[cut:])
            t.equal(parser.next(), (data, want), f"{data!r} cut at {cut}")
    t.equal(len({repr(v) for v in samples.values()}), len(samples), "different values")
    for bad in (b"hello\r\n", b":1x\r\n", b"$3\r\nabcde\r\n", b"$-2\r\n", b"#x\r\n", b"\r\n"):
        try:
            parse(bad)
        except ProtocolError:
            continue
        raise Failure(f"the parser took {bad!r}")


@test("streams are split into words as redis-cli does")
def words(t):
    t.equal(
        split_words(r"""SET "a\x00\"b" 'c d' "" {t}x <id:b>"""),
        [b"SET", b'a\x00"b', b"c d", b"", b"{t}x", b"<id:b>"],
    )
    one, two = parse_stream("== first\nPING\nb> @sync\n~ GET k\n== second [types]\n@scan MATCH *\n")
    t.equal([s.kind for s in one.steps], ["cmd", "sync", "silent"])
    t.equal((two.tags, two.steps[0].args), (frozenset({"types"}), (b"MATCH", b"*")))


LIES = {
    "a null of the wrong kind": lambda args, raw: b"*-1\r\n" if raw == b"$-1\r\n" else raw,
    "OK as a bulk string": lambda args, raw: (
        b"$2\r\nOK\r\n" if raw == b"+OK\r\n" and args[0] != b"FLUSHALL" else raw
    ),
    "an error text with another letter": lambda args, raw: raw.replace(
        b"not an integer", b"not a integer"
    ),
    "a value with a byte too much": lambda args, raw: (
        b"$12\r\nHello World!\r\n" if raw == b"$11\r\nHello World\r\n" else raw
    ),
    "a count off by one": lambda args, raw: (
        b":3\r\n" if raw == b":2\r\n" and args[0].upper() == b"DEL" else raw
    ),
    "TTL forgotten": lambda args, raw: (
        b":-1\r\n" if args[0].upper() == b"TTL" and raw > b":1" else raw
    ),
    "TTL ten seconds off": lambda args, raw: (
        b":%d\r\n" % (int(raw[1:]) - 10) if args[0].upper() == b"TTL" and raw > b":1" else raw
    ),
    "KEYS with one key twice": lambda args, raw: (
        raw
        if args[0].upper() != b"KEYS" or raw[:2] != b"*1"
        else b"*2\r\n" + raw.split(b"\r\n", 1)[1] * 2
    ),
    "SCAN that misses a key": lambda args, raw: (
        raw.replace(b"$2\r\nk7\r\n", b"$2\r\nk8\r\n") if args[0].upper() == b"SCAN" else raw
    ),
}
LIE_STREAM = """== everything a liar might touch
SET k "Hello World" EX 100
GET k
GET nope
TTL k
KEYS k
INCR k
MSET k1 1 k2 2 k7 7
DEL k1 k2
@scan
"""


@test(
    "the differential test catches a server that lies", lie=tuple(LIES), mode=("step", "pipeline")
)
def liar(t, lie, mode):
    redis = t.redis()
    behind = t.own(Server.redis())
    bad = BadServer([behind], lie=LIES[lie])
    try:
        differ = Differ(redis, bad, 2, mode, t.rng)
        found = differ.run(parse_stream(LIE_STREAM)[0], state=False)
        t.check(found, f"{lie}: nobody noticed")
        differ.close()
    finally:
        bad.stop()


@test("the state at the end is compared too")
def state(t):
    redis, behind = t.redis(), t.own(Server.redis())
    differ = Differ(redis, behind, 2, "step", t.rng)
    one = Case("a write behind the test's back", [cmd("SET", "k", "v")])
    t.equal(differ.run(one), None)
    intruder = t.connect(behind)
    original = differ._compare_state

    def later(case, history):
        intruder.cmd("PEXPIRE", "k", 5000000)
        return original(case, history)

    differ._compare_state = later
    t.check(differ.run(one), "a time to live on one side only went unnoticed")
    differ.close()


@test("a failing stream shrinks to its essence")
def shrinking(t):
    rng = random.Random(7)
    steps = [cmd("SET", f"k{rng.randrange(50)}", i) for i in range(300)]
    steps[40], steps[200] = cmd("FLUSHDB"), cmd("KEYS", "*")

    def fails(some):
        names = [s.args[0] for s in some]
        return b"FLUSHDB" in names and b"KEYS" in names[names.index(b"FLUSHDB") :]

    t.equal([s.args[0] for s in shrink(steps, fails)], [b"FLUSHDB", b"KEYS"])
    t.equal(differential.reproduction([cmd("SET", "a b", "\x00")]), 'SET "a b" "\\x00"')


@test(
    "the order tests catch a server that forgets the order rule",
    name=("flags", "mset", "rename", "copy"),
    alone=True,
)
def disorder(t, name):
    behind = [t.own(Server.redis()) for _ in range(3)]
    bad = BadServer(behind, delay=0.002)
    try:
        _, violations, text = run_order(name, bad, seconds=10)
        t.check(violations > 0, f"{name} found nothing wrong:\n{text}")
    finally:
        bad.stop()


def swap_now_and_then(args, raw):
    return b"$1\r\nX\r\n" if args[0] == b"GET" and random.random() < 0.001 else raw


@test("the cut pipelines catch a wrong reply", alone=True)
def wrong_reply(t):
    bad = BadServer([t.own(Server.redis())], lie=swap_now_and_then)
    try:
        t.check(run_order("cuts", bad, seconds=3)[1] > 0, "nothing noticed")
    finally:
        bad.stop()


@test("a dead server and a sanitizer's report are failures")
def dead(t):
    server = Server.redis()
    server.kill()
    try:
        server.stop()
    except Failure:
        pass
    else:
        raise Failure("stop() of a dead server did not fail")
    server = Server.redis()
    with open(server.log_path, "ab") as log:
        log.write(b"\n==1==ERROR: AddressSanitizer: heap-use-after-free\n")
    try:
        server.stop()
    except Failure as failure:
        t.match(str(failure), "sanitizer's report")
    else:
        raise Failure("a report in the log did not fail")


@test("a connection reads what it is told and gives up in time")
def reading(t):
    conn = t.connect(t.redis(), timeout=0.3)
    t.equal(
        conn.pipeline([("SET", "a", "1"), ("GET", "a"), ("GET", "b")], cuts=9, rng=t.rng),
        [R("+", b"OK"), bulk("1"), NIL],
    )
    for wrong in (lambda: conn.read(), lambda: conn.exchange(encode("PING"), 2)):
        try:
            wrong()
        except Failure:
            continue
        raise Failure("a read of what never comes did not fail")
