# SPDX-License-Identifier: BSD-3-Clause
"""Random streams from a seed (runner.py --seed), shrunk to the shortest that still differs."""

import random

from differential import Case, Differ, reproduction, shrink
from generator import Generator
from generator_types import LIMITS
from harness import Failure, show
from runner import test

STREAMS = 20
TYPE_STREAMS = 24
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


@test(
    "random streams of all types get redis-server's replies, whatever the thresholds",
    threads=(1, 4),
    io=("uring", "poll"),
    resp=(2, 3),
    mode=("step", "pipeline"),
    timeout=240,
)
def random_types(t, threads, io, resp, mode):
    redis, gyre = t.redis(), t.gyre(threads=threads, io=io)
    differ = Differ(redis, gyre, resp, mode, t.rng).hasten()
    defaults = {name: values[0] for name, values in LIMITS.items()}
    try:
        for number in range(int(TYPE_STREAMS * max(1, t.scale))):
            limits = {name: t.rng.choice(values) for name, values in LIMITS.items()}
            set_limits(differ, limits)
            steps = Generator.of_any_kind(t.rng).stream(LENGTH)
            found = differ.run(Case(f"random stream {number}", steps))
            if found:
                explain(t, differ, steps, found, limits)
    finally:
        if gyre.alive():
            set_limits(differ, defaults)
        differ.close()


def set_limits(differ, limits):
    for conn in differ.control:
        for name, value in limits.items():
            reply = conn.cmd("CONFIG", "SET", name, value)
            # set-max-listpack-* came with 7.2.
            if reply.is_error() and not name.startswith("set-max-listpack"):
                raise Failure(f"CONFIG SET {name} {value}: {show(reply)}")


def explain(t, differ, steps, found, limits=None):
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
    settings = "".join(f"CONFIG SET {name} {value}\n" for name, value in (limits or {}).items())
    raise Failure(
        f"seed {t.seed}, mode {differ.mode}, RESP{differ.resp}; shrunk from {len(steps)} to {len(small)} steps:\n"
        f"{again}\n  reproduction (for a file in streams/):\n== found by seed {t.seed}\n{settings}{reproduction(small)}"
    )
