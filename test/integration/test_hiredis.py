# SPDX-License-Identifier: BSD-3-Clause
"""A C program that uses hiredis (hiredis_client.c), over TCP and over a Unix socket.

GYRE_HIREDIS names the compiled program; otherwise build/debug/test/gyre-hiredis-test is used, or
hiredis_client.c is compiled here.
"""

import atexit
import os
import shutil
import subprocess
import tempfile

from harness import HERE, PATIENCE, ROOT, Failure, check_equal, settled
from runner import test

MATRIX = dict(threads=(1, 4), io=("uring", "poll"))
SOURCE = HERE / "hiredis_client.c"
_compiled = []


def client_program():
    for path in (os.environ.get("GYRE_HIREDIS"), ROOT / "build/debug/test/gyre-hiredis-test"):
        if (
            path
            and os.access(path, os.X_OK)
            and os.stat(path).st_mtime >= os.stat(SOURCE).st_mtime
        ):
            return str(path)
    if not _compiled:
        folder = tempfile.mkdtemp(prefix="gyre-hiredis-")
        atexit.register(shutil.rmtree, folder, True)
        subprocess.run(
            ["cc", "-std=gnu11", "-O2", "-o", f"{folder}/client", str(SOURCE), "-lhiredis"],
            check=True,
            timeout=120,
        )
        _compiled.append(f"{folder}/client")
    return _compiled[0]


def run_client(*address):
    try:
        done = subprocess.run(
            [client_program(), *map(str, address)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=40 * PATIENCE,
        )
    except subprocess.TimeoutExpired as late:
        raise Failure(f"hiredis over {address} did not end: {late.stdout!r}") from None
    text = done.stdout.decode("utf-8", "replace")
    check_equal((done.returncode, text[-2000:]), (0, "fine\n"), f"hiredis over {address}")


@test("hiredis over TCP: commands, pipelines, binary and big values, errors", **MATRIX)
def over_tcp(t, threads, io):
    server = t.gyre(threads=threads, io=io)
    run_client("tcp", "127.0.0.1", server.port)
    settled(t.connect(server), 1)


@test("hiredis over a Unix socket", **MATRIX)
def over_unix_socket(t, threads, io):
    server = t.own_gyre(threads=threads, io=io, unix=True)
    run_client("unix", server.unix)
    settled(t.connect(server), 1)
