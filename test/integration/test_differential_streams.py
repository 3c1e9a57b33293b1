# SPDX-License-Identifier: BSD-3-Clause
"""The hand-written streams (streams/*.txt) and the generated tables (cases.py), against redis-server."""

import cases
from differential import Differ, load_stream, run_cases, stream_names
from runner import test

MATRIX = dict(threads=(1, 2, 4), io=("uring", "poll"), resp=(2, 3), mode=("step", "pipeline"))


@test("every stream's replies are redis-server's", stream=stream_names(), timeout=120, **MATRIX)
def streams(t, stream, threads, io, resp, mode):
    differ = Differ(t.redis(), t.gyre(threads=threads, io=io), resp, mode, t.rng)
    try:
        if stream == "blocking":
            differ.hasten()
        run_cases(differ, load_stream(stream))
    finally:
        differ.close()


@test(
    "every option and edge value is treated as by redis-server",
    table=tuple(cases.TABLES),
    timeout=240,
    threads=(1, 4),
    io=("uring", "poll"),
    resp=(2, 3),
    mode=("pipeline",),
)
def tables(t, table, threads, io, resp, mode):
    differ = Differ(t.redis(), t.gyre(threads=threads, io=io), resp, mode, t.rng).hasten()
    try:
        run_cases(differ, cases.TABLES[table]())
    finally:
        differ.close()
