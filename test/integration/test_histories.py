# SPDX-License-Identifier: BSD-3-Clause
"""Histories of many clients, checked: transactions, scripts, blocking commands and pub/sub under load.

test/histories (Go, with the porcupine checker) does the work, this starts it and checks what it leaves. GYRE_HISTORIES
names the compiled program; otherwise build/debug/test/gyre-histories-test is used, or it is compiled here.
GYRE_TEST_SCALE makes each run longer.
"""

import atexit
import os
import re
import shutil
import subprocess
import tempfile

from harness import PATIENCE, ROOT, SCALE, Failure, check, check_equal, settled
from runner import test
from test_order import check_no_leak, descriptors, every_shard_answers

SECONDS = 2 * SCALE
_compiled = {}


def go_program(name):
    """The compiled test/NAME: GYRE_NAME, what tools/test has built, or built here and now."""
    sources = ROOT / "test" / name
    newest = max(os.stat(source).st_mtime for source in sources.glob("*.go"))
    for path in (
        os.environ.get(f"GYRE_{name.upper()}"),
        ROOT / f"build/debug/test/gyre-{name}-test",
    ):
        if path and os.access(path, os.X_OK) and os.stat(path).st_mtime >= newest:
            return str(path)
    if name not in _compiled:
        if not shutil.which("go"):
            raise Failure(f"no gyre-{name}-test, and no go to compile it: run tools/test")
        folder = tempfile.mkdtemp(prefix=f"gyre-{name}-")
        atexit.register(shutil.rmtree, folder, True)
        subprocess.run(
            ["go", "build", "-o", f"{folder}/{name}", "."],
            cwd=sources,
            env={**os.environ, "CGO_ENABLED": "0"},
            check=True,
            timeout=300,
        )
        _compiled[name] = f"{folder}/{name}"
    return _compiled[name]


def run_histories(name, server, seconds=SECONDS, seed=1, sabotage=""):
    """Run one of its tests; returns (operations, violations, all its output)."""
    host, port = server.address
    try:
        done = subprocess.run(
            [go_program("histories"), name, host, str(port), str(seconds), str(seed), sabotage],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=(seconds * 2 + 90) * PATIENCE,
        )
    except subprocess.TimeoutExpired as late:
        text = (late.stdout or b"").decode()
        raise Failure(f"{name}, seed {seed}, did not end:\n{text[-3000:]}") from None
    text = done.stdout.decode("utf-8", "replace")
    found = re.search(r": (\d+) operations, (\d+) violations\n$", text)
    if not found:
        raise Failure(f"{name}, seed {seed}, ended with status {done.returncode}:\n{text[-3000:]}")
    return int(found.group(1)), int(found.group(2)), text


def expect_history(t, name, server, least):
    """No violation, enough done, and nothing left behind: clients, descriptors, a shard that waits."""
    conn = t.connect(server, timeout=20)
    every_shard_answers(conn)
    base = settled(conn, 1)
    fds = descriptors(server)
    seed = t.rng.randrange(1 << 30)
    operations, violations, text = run_histories(name, server, seed=seed)
    check_equal(violations, 0, f"{operations} operations, violations\n{text[:8000]}\n")
    least = least * min(1, SCALE) / PATIENCE / 10  # machines differ; something was done
    check(operations >= least, f"only {operations} operations in {SECONDS:g} s: {text}")
    check_no_leak(t, server, conn, base, fds)


MATRIX = dict(threads=(4, 1), io=("uring", "poll"), load=True, timeout=150)


@test("transactions, scripts, blocking pops and RENAMEs are linearizable", **MATRIX)
def random_rounds(t, threads, io):
    expect_history(t, "random", t.gyre(threads=threads, io=io), 4000)


@test("every key is a linearizable register under pipelines, MULTI and scripts", **MATRIX)
def registers(t, threads, io):
    expect_history(t, "registers", t.gyre(threads=threads, io=io), 6000)


@test("the bank's total is the same for every reader, however money moves", **MATRIX)
def bank(t, threads, io):
    expect_history(t, "bank", t.gyre(threads=threads, io=io), 4000)


@test("queues lose nothing and deliver nothing twice while clients are killed", **MATRIX)
def queues(t, threads, io):
    expect_history(t, "queues", t.gyre(threads=threads, io=io), 2000)


@test("subscribers see one order of all messages, none lost, late or before its data", **MATRIX)
def pubsub(t, threads, io):
    expect_history(t, "pubsub", t.gyre(threads=threads, io=io), 3000)


@test("nothing that a client has cached is older than what it could know", **MATRIX)
def tracking(t, threads, io):
    expect_history(t, "tracking", t.gyre(threads=threads, io=io), 3000)


@test("Celery's way to wait for a result never hangs", **MATRIX)
def celery(t, threads, io):
    expect_history(t, "celery", t.gyre(threads=threads, io=io), 500)


# Not "random": where everybody waits for somebody, so many units overlap that too many of its histories
# cannot be decided in time.
@test(
    "so it is while threads lose their cores where they meet",
    history=("registers", "bank", "queues", "pubsub", "tracking", "celery"),
    io=("uring", "poll"),
    load=True,
    timeout=150,
)
def jitter(t, history, io):
    # With a log on one of them: then there are votes, and replies that wait for them.
    options = dict(appendonly="yes" if io == "uring" else "no", appendfsync="always")
    expect_history(t, history, t.own_gyre(threads=4, io=io, env={"GYRE_JITTER": "20"}, **options), 300)
