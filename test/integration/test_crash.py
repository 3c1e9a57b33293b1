# SPDX-License-Identifier: BSD-3-Clause
"""SIGKILL under load: everything that was acknowledged is there after the restart, and nothing else.

test/crash (Go) does the work: rounds of load, kill, restart with another number of threads, and comparing with what
each client knows. GYRE_CRASH names the compiled program (see test_histories.go_program). Here it runs for some
seconds; GYRE_TEST_SCALE makes it longer.
"""

import os
import re
import subprocess
from pathlib import Path

from differential import Differ, brief, dump_state, load_stream, stream_names, values_differ
from harness import GYRE_SERVER, PATIENCE, SCALE, STANDIN, Failure, check, check_equal, encode
from runner import test
from test_histories import go_program
from test_persistence import Home


def run_crash(t, *options, rounds=max(2, round(6 * SCALE))):
    """Returns (operations, violations, all its output)."""
    seed = t.rng.randrange(1 << 30)
    argv = [go_program("crash"), "-rounds", str(rounds), "-seed", str(seed), "-longest", "600ms"]
    checker = Path(GYRE_SERVER).with_name("gyre-check")
    if os.access(checker, os.X_OK):
        argv += ["-check", str(checker)]
    argv += [*options, str(GYRE_SERVER)]
    try:
        done = subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=(rounds * 5 + 60) * PATIENCE,
        )
    except subprocess.TimeoutExpired as late:
        text = (late.stdout or b"").decode("utf-8", "replace")
        raise Failure(f"{' '.join(argv)} did not end:\n{text[-3000:]}") from None
    text = done.stdout.decode("utf-8", "replace")
    found = re.search(r"^crash: (\d+) rounds, (\d+) operations, (\d+) violations$", text, re.M)
    if not found:
        raise Failure(f"{' '.join(argv)} ended with status {done.returncode}:\n{text[-3000:]}")
    return int(found.group(2)), int(found.group(3)), text


def expect_no_loss(t, *options):
    operations, violations, text = run_crash(t, *options)
    check_equal(violations, 0, f"{operations} operations, violations\n{text[:8000]}\n")
    check(operations >= 500 * min(1, SCALE) / PATIENCE, f"only {operations} operations: {text}")


@test(
    "what was acknowledged outlives SIGKILL, transactions whole, on any number of threads",
    policy=("always", "everysec,no"),
    load=True,
    timeout=150,
)
def outlives(t, policy):
    expect_no_loss(t, "-policy", policy)


@test("once CONFIG SET appendonly yes is done, nothing is lost either", load=True, timeout=150)
def switched_on(t):
    expect_no_loss(t, "-toggles", "-without", "early stops")


@test(
    "the crash test catches what is lost or half there",
    kind=("lost", "torn", "cut"),
    load=True,
    timeout=150,
)
def catches(t, kind):
    for _ in range(3):  # what is lost may be written anew before the kill
        _, violations, text = run_crash(t, "-sabotage", kind, rounds=8)
        for line in re.findall(r"^seed \d+, in (/tmp/gyre-crash-\d+)$", text, re.M):
            subprocess.run(["rm", "-rf", line], check=True)
        if violations:
            return
    raise Failure(f"sabotage {kind} went unnoticed:\n{text}")


# ---- one at a time


def crash(home):
    home.server.kill()
    home.server.ended = True


# What a setting decides that the restarted server does not have.
SET_BY_CONFIG = ("nodes end where Redis's end, by bytes", "The limit of the sparse form is a setting")


@test(
    "every stream's commands are logged so that they can be done again",
    stream=tuple(name for name in stream_names() if name != "blocking"),
    timeout=120,
    needs=lambda: "only Gyre has threads" if STANDIN else None,
)
def streams(t, stream):
    """All its cases are in the log that the restarted server reads; the data are those of the last."""
    home = Home(t, appendonly="yes", appendfsync="no")
    conn = home.run(4)
    differ = Differ(t.redis(), home.server, 2, "step", t.rng)
    for case in load_stream(stream):
        if case.name in SET_BY_CONFIG:
            continue
        run = differ.run_alone if "gyre" in case.tags else differ.run
        run(case)  # other tests judge the replies
    differ.close()
    before = dump_state(conn)
    crash(home)
    after = dump_state(home.run(t.rng.choice((1, 2, 4))))
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old and not new and 0 < old.ttl < 5000:
            continue
        check(old and new, f"{key}: {brief(old)}, and after the restart {brief(new)}")
        found = values_differ(old, new)
        check(not found, f"{key} after the restart: {found}")
        check((old.ttl < 0) == (new.ttl < 0), f"{key}: TTL {old.ttl}, after the restart {new.ttl}")


@test("a list that is turned in a transaction keeps its time to live in the log", threads=(4,))
def turned(t, threads):
    home = Home(t, appendonly="yes", appendfsync="no")
    conn = home.run(threads)
    conn.cmd("RPUSH", "list", "only one")
    conn.cmd("PEXPIRE", "list", 1000000)
    conn.cmd("SET", "hash", 1)
    script = "redis.call('LMOVE', 'list', 'list', 'RIGHT', 'LEFT') redis.call('SET', 'string', 1)"
    check_equal(conn.cmd("EVAL", script, 0).value, None, "EVAL")
    crash(home)
    conn = home.run(2)
    check_equal(conn.cmd("LRANGE", "list", 0, -1).value[0].value, b"only one", "the list")
    check(conn.cmd("PTTL", "list").value > 900000, "its time to live")


@test("half of a slow script is not in the log", threads=(1, 4), keys=("one shard", "all shards"))
def half(t, threads, keys):
    """While it runs others are answered -BUSY, and the log goes on without it."""
    home = Home(t, appendonly="yes", appendfsync="always")
    conn = home.run(threads, **{"busy-reply-threshold": 10})
    names = ["{k}%d" % i for i in range(4)] if keys == "one shard" else [f"k{i}" for i in range(4)]
    script = "redis.call('SET', KEYS[1], 1) redis.call('SET', KEYS[2], 1) while true do end"
    others = [t.connect(home.server) for _ in range(8)]
    conn.send(encode("EVAL", script, 4, *names))

    def is_busy():
        replies = [other.cmd("PING").value for other in others]
        return sum(reply.startswith(b"BUSY") for reply in replies) == len(others)

    t.wait_for(is_busy, "-BUSY")
    t.check(is_busy(), "still -BUSY")
    crash(home)
    conn = home.run(threads)
    check_equal(conn.cmd("EXISTS", *names).value, 0, "keys of half a script")
