# SPDX-License-Identifier: BSD-3-Clause
"""Can the tests fail? Servers that are wrong on purpose (badserver.py) must be caught, and the harness's own
parts must do what they say. A test that cannot fail is a defect."""

import random

import comparators
import differential
from badserver import BadServer
from differential import Case, Differ, cmd, parse_stream, shrink, split_words
from harness import Failure, NIL, Parser, ProtocolError, R, Server, bulk, check, encode
from runner import test
from test_histories import run_histories
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
    one, two = parse_stream("== first\nPING\nb> @sync\n~ GET k\n== second [step]\n@scan MATCH *\n")
    t.equal([s.kind for s in one.steps], ["cmd", "sync", "silent"])
    t.equal((two.tags, two.steps[0].args), (frozenset({"step"}), (b"MATCH", b"*")))


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


def array(*values):
    return R("*", [v if isinstance(v, R) else bulk(v) for v in values])


def entry(key, *words):
    return array(key, array(*words))


# command, redis-server's reply, one that means the same, one that does not
JUDGED = (
    ("SMEMBERS s", array("a", "b"), array("b", "a"), array("b", "b")),
    ("SUNION s t", R("~", [bulk("a"), bulk("b")]), R("~", [bulk("b"), bulk("a")]), array("b", "a")),
    ("HGETALL h", array("a", "1", "b", "2"), array("b", "2", "a", "1"), array("a", "2", "b", "1")),
    ("HVALS h", array("1", "1", "2"), array("2", "1", "1"), array("2", "2", "1")),
    ("SRANDMEMBER s 2", array("a", "b"), array("c", "a"), array("c", "c")),
    ("SRANDMEMBER s 2", array("a", "b"), array("c", "a"), array("a", "stranger")),
    ("SRANDMEMBER s -3", array("a", "b", "a"), array("c", "c", "c"), array("c", "c")),
    ("SRANDMEMBER s", bulk("a"), bulk("b"), bulk("stranger")),
    ("HRANDFIELD h 1 WITHVALUES", array("a", "1"), array("b", "7"), array("stranger", "1")),
    ("SPOP s 9", array("a", "b"), array("b", "a"), array("b", "c")),
    ("SSCAN s 0", array("0", array("a", "b")), array("0", array("b", "a")), array("0", array("b"))),
    (
        "HSCAN h 0",
        array("0", array("a", "1")),
        array("7", array("b", "1")),
        array("x", array("b", "1")),
    ),
    ("SORT s BY nosort", array("a", "b"), array("b", "a"), array("b", "c")),
    ("SORT s BY w_*", array("a", "b"), array("a", "b"), array("b", "a")),
    ("GEOSEARCH g BYRADIUS 1 m", array("a", "b"), array("b", "a"), array("a")),
    ("GEOSEARCH g BYRADIUS 1 m ASC", array("a", "b"), array("a", "b"), array("b", "a")),
    ("OBJECT ENCODING s", bulk("hashtable"), bulk("listpack"), bulk("intset")),
    ("OBJECT ENCODING z", bulk("skiplist"), bulk("skiplist"), bulk("listpack")),
    ("DUMP s", bulk("\x02" + "a" * 20), bulk("\x14" + "b" * 20), bulk("\x04" + "b" * 20)),
    ("XADD x * f v", bulk("1700000000000-0"), bulk("1700000000003-0"), bulk("1700000999999-0")),
    ("XADD x 5-* f v", bulk("5-1"), bulk("5-1"), bulk("5-2")),
    (
        "XRANGE x - +",
        array(entry("1700000000000-0", "f", "v")),
        array(entry("1700000000003-1", "f", "v")),
        array(entry("1700000000003-1", "f", "w")),
    ),
    (
        "XPENDING x g - + 1",
        array(array("1-1", "c", R(":", 5), R(":", 1))),
        array(array("1-1", "c", R(":", 9), R(":", 1))),
        array(array("1-1", "c", R(":", 5), R(":", 2))),
    ),
    (
        "XINFO CONSUMERS x g",
        array(array("name", "c", "pending", R(":", 2), "idle", R(":", 3))),
        array(array("name", "c", "pending", R(":", 2), "idle", R(":", 9), "inactive", R(":", 9))),
        array(array("name", "c", "pending", R(":", 1), "idle", R(":", 3))),
    ),
)


@test("comparators excuse what means the same, and nothing else")
def judged(t):
    for text, want, good, bad in JUDGED:
        args = [w.encode() for w in text.split()]
        seen = {"words": {b"a", b"b", b"c"}, "ask": None}
        compare = comparators.comparator(args)
        check(good == want or compare(args, want, good, seen) is None, f"{text}: {good} refused")
        check(compare(args, want, bad, seen), f"{text}: {bad} let through")


class Scripted:
    """A connection that answers from a list."""

    def __init__(self, *replies):
        self.replies = list(replies)

    def cmd(self, *args):
        return self.replies.pop(0) if self.replies else R("+", b"OK")


@test("@random finds an SPOP that takes another member than it says")
def random_found(t):
    def differs(answer, left):
        redis = Scripted(bulk("a"))
        gyre = Scripted(array("a", "b", "c"), answer, left)
        return differential.random_differs((b"SPOP", b"s"), redis, gyre)

    t.equal(differs(bulk("b"), array("c", "a")), None, "a proper SPOP")
    check(differs(bulk("b"), array("b", "c")), "b was said, a is gone")
    check(differs(bulk("b"), array("a", "b", "c")), "nothing is gone")
    check(differs(bulk("x"), array("a", "b")), "a member that was not there")
    check(differs(array("b"), array("a", "c")), "an array without a count")


@test("a [gyre] case is held to the replies written in it")
def gyre_cases(t):
    text = "== PING answers [gyre]\nPING\n--> +PONG\nECHO a\n--> {}\n"
    differ = Differ(t.redis(), t.redis(), 2, "step", t.rng)
    standin, differential.STANDIN = differential.STANDIN, False
    try:
        t.equal(differ.run_alone(parse_stream(text.format("'a'"))[0]), None)
        check(differ.run_alone(parse_stream(text.format("'b'"))[0]), "a wrong reply got through")
    finally:
        differential.STANDIN = standin
        differ.close()


SABOTAGES = tuple(
    f"{name} {sabotage}"
    for name, sabotages in {
        "random": "torn lost stale reorder",
        "registers": "lost stale reorder",
        "bank": "torn lost",
        "queues": "lost doubled moved",
        "pubsub": "lost doubled swapped late",
        "tracking": "lost",
        "celery": "lost",
    }.items()
    for sabotage in sabotages.split()
)


@test("the history tests catch what is torn, lost, stale, doubled or out of order", kind=SABOTAGES)
def histories(t, kind):
    name, sabotage = kind.split()
    redis = t.redis()
    _, violations, text = run_histories(
        name, redis, seconds=0.7, seed=t.rng.randrange(1 << 30), sabotage=sabotage
    )
    t.check(violations > 0, f"{kind}: nobody noticed\n{text}")
    t.match(text.encode(), rb"^seed \d+\nviolation: ")


@test(
    "the history tests find nothing wrong with redis-server",
    name=tuple(dict.fromkeys(k.split()[0] for k in SABOTAGES)),
)
def histories_of_redis(t, name):
    _, violations, text = run_histories(name, t.redis(), seconds=1, seed=t.rng.randrange(1 << 30))
    t.equal(violations, 0, text[:3000])
