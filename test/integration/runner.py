#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the integration tests: every function decorated with @test in test_*.py of this folder.

    @test("a sentence that says what holds", threads=(1, 4), io=("uring", "poll"), timeout=30)
    def any_name(t, threads, io):
        server = t.gyre(threads=threads, io=io)     # shared, emptied; t.own_gyre() for one of its own
        c = t.connect(server)
        t.equal(c.cmd("PING"), PONG)

Keyword arguments of @test with a tuple form a matrix: one test for each combination. Options: timeout
(seconds), load=True (busy all the time: run beside nothing but another such), alone=True (run with nothing
beside it: what looks at the clock), needs=callable that returns None or the reason to skip. Tests run in worker processes (--jobs); each keeps a few servers running and hands
them out again and again. A test's servers are examined after it: a crash or a sanitizer's report
fails the test. The last line is always `N passed, N failed`.
"""

import argparse
import collections
import importlib
import itertools
import multiprocessing
import os
import random
import re
import signal
import sys
import time
import traceback

DEBIAN_PYTHON = "/usr/bin/python3"
if (
    __name__ == "__main__"
    and os.path.exists(DEBIAN_PYTHON)
    and os.path.realpath(sys.executable) != os.path.realpath(DEBIAN_PYTHON)
):
    os.execv(DEBIAN_PYTHON, [DEBIAN_PYTHON] + sys.argv)  # the one that has Debian's redis-py

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if __name__ == "__main__":
    sys.modules["runner"] = sys.modules["__main__"]  # test modules import this very instance

from harness import (
    Conn,
    Failure,
    PATIENCE,
    SCALE,
    STANDIN,
    Server,
    check,
    check_equal,  # noqa: E402
    check_match,
    wait_for,
)

REGISTRY = []
IGNORED_BY_STANDIN = ("threads", "io", "uring_level")
MAX_SHARED_SERVERS = 4  # per worker: each costs threads and memory, starting one costs 50 ms


class Skip(Exception):
    pass


class TestTimeout(BaseException):
    """Not an Exception, so that no `except Exception` in a test swallows it."""


class Test:
    def __init__(self, module, sentence, function, params, timeout, stage, needs):
        self.module, self.sentence, self.function = module, sentence, function
        self.params, self.timeout, self.stage, self.needs = params, timeout, stage, needs
        words = " ".join(f"{k}={v}" for k, v in params.items())
        self.name = f"{module}: {sentence}" + (f" [{words}]" if words else "")


# What runs together, in this order.
ORDINARY, LOADS, ALONE = range(3)
LOAD_JOBS = 2  # each of them has several busy processes


def test(sentence, timeout=60, load=False, alone=False, needs=None, **matrix):
    """Register a test, once for each combination of the matrix."""
    stage = ALONE if alone else LOADS if load else ORDINARY

    def register(function):
        axes = dict(matrix)
        if STANDIN:
            axes = {k: (v[:1] if k in IGNORED_BY_STANDIN else v) for k, v in axes.items()}
        for values in itertools.product(*axes.values()):
            params = dict(zip(axes, values))
            REGISTRY.append(
                Test(function.__module__, sentence, function, params, timeout, stage, needs)
            )
        return function

    return register


class Pool:
    """The servers of one worker that tests share, least recently used last."""

    def __init__(self):
        self.servers = collections.OrderedDict()
        self.failures = []

    def get(self, make, key):
        server = self.servers.pop(key, None)
        if server is None:
            while len(self.servers) >= MAX_SHARED_SERVERS:
                self.stop(next(iter(self.servers)))
            server = make()
        self.servers[key] = server
        return server

    def stop(self, key):
        server = self.servers.pop(key)
        try:
            server.stop()
        except Failure as failure:
            self.failures.append(f"stopping the shared server {key}: {failure}")

    def drop(self, server):
        for key, value in list(self.servers.items()):
            if value is server:
                del self.servers[key]
        server.kill()

    def stop_all(self):
        for key in list(self.servers):
            self.stop(key)


class Context:
    """What a test is given: servers, connections, a seeded random generator, and checks."""

    equal = staticmethod(check_equal)
    match = staticmethod(check_match)
    check = staticmethod(check)
    wait_for = staticmethod(wait_for)
    scale = SCALE

    def __init__(self, pool, seed, name):
        self.pool, self.seed = pool, seed
        self.rng = random.Random(f"{seed} {name}")
        self.used, self.owned, self.conns = [], [], []

    def _shared(self, make, key):
        server = self.pool.get(make, key)
        if server not in self.used:
            self.used.append(server)
        with server.connect() as conn:
            conn.pipeline([("CLIENT", "UNPAUSE"), ("FLUSHALL",), ("CONFIG", "RESETSTAT")])
        return server

    def gyre(self, threads=1, io="uring", **options):
        """A shared, emptied Gyre. A test that changes its configuration must put it back."""
        key = ("gyre", threads, io, str(sorted(options.items())))
        return self._shared(lambda: Server.gyre(threads=threads, io=io, **options), key)

    def redis(self, **options):
        """The shared oracle, emptied."""
        return self._shared(
            lambda: Server.redis(**options), ("redis", str(sorted(options.items())))
        )

    def own_gyre(self, threads=1, io="uring", **options):
        """A Gyre of the test's own; stopped (and its exit checked) at the end unless the test does."""
        return self.own(Server.gyre(threads=threads, io=io, **options))

    def own(self, server):
        self.owned.append(server)
        return server

    def connect(self, server, resp=2, **options):
        conn = (
            server.connect(resp=resp, **options)
            if isinstance(server, Server)
            else Conn(server, resp=resp, **options)
        )
        self.conns.append(conn)
        return conn

    def skip(self, reason):
        raise Skip(reason)

    def finish(self, failed):
        """Close, stop and examine; returns the text of what was wrong, or None."""
        trouble = []
        for conn in self.conns:
            conn.close()
        for server in self.used:
            try:
                server.check_health()
                with server.connect(timeout=5) as conn:
                    check_equal(conn.cmd("PING").kind, "+", "PING after the test")
            except (Failure, OSError) as failure:
                trouble.append(str(failure))
                failed = True
            if failed:  # whatever state it is in, the next test gets a new one
                self.pool.drop(server)
        for server in self.owned:
            try:
                if server.alive():
                    server.check_health()
                    server.stop() if not failed else server.kill()
                elif not server.ended:
                    raise Failure(
                        f"the server died with status {server.process.returncode}\n"
                        + server.log_tail(80)
                    )
                server.remove()
            except Failure as failure:
                trouble.append(str(failure))
                server.kill()
        return "\n".join(trouble) or None


def run_one(item, pool, seed):
    """Run one test; returns (status, text)."""
    if item.needs:
        reason = item.needs()
        if reason:
            return "skip", reason
    context = Context(pool, seed, item.name)

    def too_late(*_):
        raise TestTimeout()

    signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, item.timeout * PATIENCE * max(1.0, SCALE))
    status, text = "ok", ""
    try:
        item.function(context, **item.params)
    except Skip as skip:
        status, text = "skip", str(skip)
    except TestTimeout:
        where = "".join(traceback.format_exc(limit=-6))
        status, text = "FAIL", f"longer than {item.timeout * PATIENCE:g} s\n{where}"
    except Failure as failure:
        frames = [f for f in traceback.extract_tb(failure.__traceback__) if "test_" in f.filename]
        at = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
        status, text = "FAIL", f"{failure}{at}"
    except Exception:
        status, text = "FAIL", traceback.format_exc(limit=-8)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        signal.setitimer(signal.ITIMER_REAL, 60 * PATIENCE)
        trouble = context.finish(status == "FAIL")
    except TestTimeout:
        trouble = "cleaning up after the test took too long"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if trouble:
        status, text = "FAIL", (text + "\n" if status == "FAIL" else "") + trouble
    return status, text


def worker(pipe, seed):
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pool = Pool()
    while True:
        index = pipe.recv()
        if index is None:
            pool.stop_all()
            pipe.send(("end", pool.failures))
            return
        began = time.monotonic()
        status, text = run_one(REGISTRY[index], pool, seed)
        pipe.send(("result", index, status, text, time.monotonic() - began))


class Workers:
    """Worker processes, each with one test at a time; one that hangs beyond its limit is replaced."""

    def __init__(self, count, seed, report):
        self.fork = multiprocessing.get_context("fork")
        self.count, self.seed, self.report = count, seed, report

    def _spawn(self):
        ours, theirs = self.fork.Pipe()
        process = self.fork.Process(target=worker, args=(theirs, self.seed))
        process.start()
        theirs.close()
        return {"process": process, "pipe": ours, "index": None, "deadline": None}

    def run(self, indices):
        todo = collections.deque(indices)
        workers = [self._spawn() for _ in range(min(self.count, len(todo)))]
        try:
            for w in workers:
                self._give(w, todo)
            while any(w["deadline"] for w in workers):
                ready = multiprocessing.connection.wait(
                    [w["pipe"] for w in workers if w["deadline"]], timeout=1
                )
                for i, w in enumerate(workers):
                    if w["pipe"] in ready:
                        try:
                            message = w["pipe"].recv()
                        except EOFError:
                            self._lost(workers, i, "the test's process died", todo)
                            continue
                        if message[0] == "result":
                            self.report(*message[1:])
                            self._give(w, todo)
                        else:
                            for failure in message[1]:
                                self.report(None, "FAIL", failure, 0.0)
                            w["deadline"] = None
                    elif w["deadline"] and time.monotonic() > w["deadline"]:
                        self._lost(workers, i, "hung beyond its time limit and was killed", todo)
        finally:
            for w in workers:
                if w["process"].is_alive() and w["deadline"]:
                    os.killpg(w["process"].pid, signal.SIGKILL)
                w["process"].join(10)

    def _give(self, w, todo):
        if todo:
            w["index"] = todo.popleft()
            limit = REGISTRY[w["index"]].timeout * PATIENCE * max(1.0, SCALE) + 90 * PATIENCE
            w["pipe"].send(w["index"])
        else:
            w["index"], limit = None, 120 * PATIENCE
            w["pipe"].send(None)
        w["deadline"] = time.monotonic() + limit

    def _lost(self, workers, i, why, todo):
        w = workers[i]
        if w["process"].is_alive():
            os.killpg(w["process"].pid, signal.SIGKILL)
        w["process"].join()
        self.report(w["index"], "FAIL", why, 0.0)
        workers[i] = self._spawn()
        self._give(workers[i], todo)


def discover():
    here = os.path.dirname(os.path.abspath(__file__))
    for name in sorted(os.listdir(here)):
        if name.startswith("test_") and name.endswith(".py"):
            importlib.import_module(name[:-3])
    # Tests that can share a server run next to one another.
    REGISTRY.sort(
        key=lambda t: (t.stage, t.module, str(t.params.get("io", "")), t.params.get("threads", 0))
    )


def main():
    parser = argparse.ArgumentParser(description="Gyre's integration tests")
    parser.add_argument(
        "--filter", action="append", default=[], help="regular expression on a test's name"
    )
    parser.add_argument(
        "--exclude", action="append", default=[], help="regular expression of tests to leave out"
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true")
    parser.add_argument(
        "--seed", default="1", help="for everything random (1; 'random': a new one, printed)"
    )
    parser.add_argument("--failures-only", action="store_true", help="print only tests that fail")
    args = parser.parse_args()
    seed = args.seed if args.seed != "random" else str(random.SystemRandom().randrange(1 << 32))
    discover()
    chosen = [
        i
        for i, t in enumerate(REGISTRY)
        if all(re.search(f, t.name) for f in args.filter)
        and not any(re.search(x, t.name) for x in args.exclude)
    ]
    if args.list:
        for i in chosen:
            print(REGISTRY[i].name)
        return 0
    print(f"{len(chosen)} tests, seed {seed}", flush=True)
    counts = collections.Counter()
    failed = []

    def report(index, status, text, seconds):
        counts[status] += 1
        name = REGISTRY[index].name if index is not None else "servers stop in order"
        if status == "FAIL":
            failed.append(name)
        if status != "FAIL" and args.failures_only:
            return
        extra = f" ({text})" if status == "skip" else ""
        print(f"{status:4} {name} {seconds:.2f} s{extra}", flush=True)
        if status == "FAIL":
            print("     " + text.replace("\n", "\n     "), flush=True)

    began = time.monotonic()
    try:
        jobs = {ORDINARY: args.jobs, LOADS: min(args.jobs, LOAD_JOBS), ALONE: 1}
        for stage in jobs:
            together = [i for i in chosen if REGISTRY[i].stage == stage]
            if together:
                Workers(jobs[stage], seed, report).run(together)
    except KeyboardInterrupt:
        print("interrupted")
        counts["FAIL"] += 1
    if failed:
        print(f"\nfailed (seed {seed}):")
        for name in failed:
            print(f"  {name}")
    if counts["skip"]:
        print(f"{counts['skip']} skipped")
    print(f"{time.monotonic() - began:.1f} s")
    print(f"{counts['ok']} passed, {counts['FAIL']} failed")
    return 1 if counts["FAIL"] or not chosen else 0


if __name__ == "__main__":
    import multiprocessing.connection

    sys.exit(main())
