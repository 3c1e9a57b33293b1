# SPDX-License-Identifier: BSD-3-Clause
"""Real programs that live on transactions, blocking commands, scripts and pub/sub, end to end
(test/programs).

Each test runs one program, which runs its scenarios side by side and says "fine" in its last line.
The Python ones use Debian's packages (celery, rq, channels-redis) and what GYRE_VENV has (the
newest redis-py and rq); the npm packages of test/programs/package-lock.json are in
GYRE_NODE_MODULES (default build/programs/node_modules); Asynq's, in Go, is GYRE_ASYNQ. tools/test
makes all of them. To run one by hand:

    NODE_PATH=build/programs/node_modules node test/programs/bull.js 6379

where GYRE_PROGRAM_ONLY is a regular expression on the names of scenarios, and GYRE_PROGRAM_TIMES=1
shows what each took.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile

from harness import PATIENCE, ROOT, Failure
from runner import test

PROGRAMS = ROOT / "test" / "programs"
MODULES = os.environ.get("GYRE_NODE_MODULES", str(ROOT / "build" / "programs" / "node_modules"))
ASYNQ = os.environ.get("GYRE_ASYNQ", str(ROOT / "build/debug/test/gyre-asynq-test"))
PYTHON = "/usr/bin/python3"
THREADS = dict(threads=(1, 4))


def run_program(argv, seconds=40):
    """Runs a program in a group of its own, all of which is killed if it does not end."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            argv,
            cwd=PROGRAMS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env={**os.environ, "NODE_PATH": MODULES, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        how = None
        try:
            out = process.communicate(timeout=seconds * PATIENCE)[0].decode("utf-8", "replace")
        except subprocess.TimeoutExpired as late:
            out, how = (late.stdout or b"").decode("utf-8", "replace"), "did not end"
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)  # what it may have left behind, too
            except ProcessLookupError:
                pass
            process.wait()
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace")[-3000:]
    if how is None and process.returncode == 0 and out.endswith("fine\n"):
        return
    how = how or f"ended with {process.returncode}"
    raise Failure(f"{' '.join(map(str, argv[-4:]))} {how}:\n{out[-6000:]}\n{said}")


def run_node(server, name, *args):
    run_program(["node", "--no-warnings", name, str(server.port), *args])


def run_python(server, name, *args, python=PYTHON):
    run_program([python, "-W", "ignore", name, str(server.port), *args])


def venv_python():
    return os.path.join(os.environ.get("GYRE_VENV", ""), "bin", "python3")


# --- what must be there ------------------------------------------------------------------------


def needs_node():
    if not shutil.which("node"):
        return "there is no node"
    return None if os.path.isdir(MODULES) else f"{MODULES} is not there"


def needs_debian(*modules):
    def reason():
        missing = [it for it in modules if importlib.util.find_spec(it) is None]
        return f"Debian's {', '.join(missing)} is not installed" if missing else None

    return reason


def needs_asynq():
    return None if os.path.exists(ASYNQ) else f"{ASYNQ} is not there"


def needs_venv():
    return None if os.path.exists(venv_python()) else "GYRE_VENV is not set"


# --- the programs ------------------------------------------------------------------------------


@test(
    "BullMQ's own flow works",
    needs=needs_node,
    on=("bullmq5 ioredis", "bullmq ioredis", "bullmq ioredis6", "bullmq redis"),
    **THREADS,
)
def bullmq(t, on, threads):
    run_node(t.gyre(threads=threads), "bullmq.js", *on.split())


@test("Bull 4 works", needs=needs_node, **THREADS)
def bull(t, threads):
    run_node(t.gyre(threads=threads), "bull.js")


@test("ioredis works", needs=needs_node, package=("ioredis", "ioredis6"), **THREADS)
def ioredis(t, package, threads):
    run_node(t.gyre(threads=threads), "ioredis.js", package)


@test("node-redis works", needs=needs_node, resp=(2, 3), **THREADS)
def node_redis(t, resp, threads):
    run_node(t.gyre(threads=threads), "node_redis.js", str(resp))


@test(
    "Socket.IO's servers reach each other",
    needs=needs_node,
    adapter=("redis", "streams"),
    **THREADS,
)
def socket_io(t, adapter, threads):
    run_node(t.gyre(threads=threads), "socket_io.js", adapter)


@test("redlock and rate-limiter-flexible work", needs=needs_node, **THREADS)
def limits(t, threads):
    run_node(t.gyre(threads=threads), "limits.js")


@test(
    "Celery works: queues, priorities, results, groups, chords, retries",
    needs=needs_debian("celery"),
    **THREADS,
)
def celery(t, threads):
    run_python(t.gyre(threads=threads), "celery_program.py")


@test("Debian's RQ works", needs=needs_debian("rq"), **THREADS)
def rq(t, threads):
    run_python(t.gyre(threads=threads), "rq_program.py")


@test("the newest RQ works", needs=needs_venv, **THREADS)
def rq_new(t, threads):
    run_python(t.gyre(threads=threads), "rq_program.py", python=venv_python())


@test("both layers of channels_redis work", needs=needs_debian("channels_redis"), **THREADS)
def channels(t, threads):
    run_python(t.gyre(threads=threads), "channels_program.py")


@test("Asynq and go-redis work", needs=needs_asynq, **THREADS)
def asynq(t, threads):
    run_program([ASYNQ, str(t.gyre(threads=threads).port)])


@test("Debian's redis-py: locks, transactions, scripts, pub/sub", **THREADS)
def redis_py(t, threads):
    run_python(t.gyre(threads=threads), "redis_py.py", "2")


@test(
    "the newest redis-py: locks, transactions, scripts, pub/sub, caching",
    needs=needs_venv,
    resp=(2, 3),
    **THREADS,
)
def redis_py_new(t, resp, threads):
    run_python(t.gyre(threads=threads), "redis_py.py", str(resp), python=venv_python())
