# SPDX-License-Identifier: BSD-3-Clause
"""Random streams from a seed (runner.py --seed), shrunk to the shortest that still differs."""

import random

from differential import Case, Differ, reproduction, shrink
from generator import Generator
from harness import Failure
from runner import test

STREAMS = 20
LENGTH = 400


@test(
    "random streams get redis-server's replies",
    threads=(1, 2, 4),
    io=("uring", "poll"),
    resp=(2, 3),
    mode=("step", "pipeline"),
    timeout=180,
)
def random_streams(t, threads, io, resp, mode):
    redis, gyre = t.redis(), t.gyre(threads=threads, io=io)
    differ = Differ(redis, gyre, resp, mode, t.rng)
    for number in range(int(STREAMS * max(1, t.scale))):
        steps = Generator(t.rng).stream(LENGTH)
        found = differ.run(Case(f"random stream {number}", steps))
        if found:
            explain(t, differ, steps, found)
    differ.close()


def explain(t, differ, steps, found):
    """Shrink what failed and say how to see it again."""
    gyre = differ.gyre
    if not gyre.alive():
        raise Failure(f"the server died; the last commands:\n{found}\n{gyre.log_tail(60)}")

    def fails(shorter):
        # The cuts of a pipeline are random: a failure that depends on them gets a few chances.
        for seed in range(1 if differ.mode == "step" else 3):
            differ.rng = random.Random(seed)
            if differ.run(Case("shrinking", shorter)):
                return True
            if not gyre.alive():
                return True
        return False

    if not fails(steps):
        raise Failure(
            f"differed once and not again (seed {t.seed}, mode {differ.mode}, resp {differ.resp}):\n{found}"
        )
    small = shrink(steps, fails)
    again = differ.run(Case("shrunk", small)) or found
    raise Failure(
        f"seed {t.seed}, mode {differ.mode}, RESP{differ.resp}; shrunk from {len(steps)} to {len(small)} steps:\n"
        f"{again}\n  reproduction (for a file in streams/):\n== found by seed {t.seed}\n{reproduction(small)}"
    )
