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

from harness import GYRE_SERVER, PATIENCE, SCALE, Failure, check, check_equal
from runner import test
from test_histories import go_program


def run_crash(t, *options, rounds=6):
    """Returns (operations, violations, all its output)."""
    seed = t.rng.randrange(1 << 30)
    rounds = max(2, round(rounds * SCALE))
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
    alone=True,
    timeout=150,
)
def outlives(t, policy):
    expect_no_loss(t, "-policy", policy)


@test("once CONFIG SET appendonly yes is done, nothing is lost either", alone=True, timeout=150)
def switched_on(t):
    expect_no_loss(t, "-toggles", "-without", "early stops")


@test(
    "the crash test catches what is lost or half there",
    kind=("lost", "torn", "cut"),
    alone=True,
    timeout=150,
)
def catches(t, kind):
    _, violations, text = run_crash(t, "-sabotage", kind, rounds=8)
    for line in re.findall(r"^seed \d+, in (/tmp/gyre-crash-\d+)$", text, re.M):
        subprocess.run(["rm", "-rf", line], check=True)
    check(violations != 0, f"sabotage {kind} went unnoticed:\n{text}")
