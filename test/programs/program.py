# SPDX-License-Identifier: BSD-3-Clause
"""What the Python programs of this folder share: `python3 NAME.py PORT [arguments]` runs its
scenarios, prints "fine" if all held, and else says which did not and ends with status 1. See
program.js, its twin."""

import os
import re
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = float(os.environ.get("GYRE_TEST_PATIENCE", "1"))


def until(what, condition, seconds=8.0):
    """Waits until the condition returns something true, and returns that."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"in vain waited for: {what}")
        time.sleep(0.01)


def equal(got, want):
    if got != want:
        raise AssertionError(f"got {got!r}, want {want!r}")


def raises(kind, function, *args, **keywords):
    """The exception of that kind that the call raises; an AssertionError if it raises none."""
    try:
        got = function(*args, **keywords)
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised, but there was {got!r}")


def run_scenarios(*groups, limit=20.0):
    """Runs each group's functions side by side, each in a thread; True if all held."""
    failures = []

    def run_one(scenario):
        began = time.monotonic()
        try:
            scenario()
            if os.environ.get("GYRE_PROGRAM_TIMES"):
                print(f"{scenario.__name__}: {time.monotonic() - began:.2f} s", flush=True)
        except BaseException as error:
            failures.append(scenario)
            ours = [it for it in traceback.extract_tb(error.__traceback__) if HERE in it.filename]
            where = "".join(traceback.format_list(ours[1:]))
            print(f"{scenario.__name__}: {error!r}\n{where}", flush=True)

    only = os.environ.get("GYRE_PROGRAM_ONLY", "")
    for group in groups:
        group = [it for it in group if re.search(only, it.__name__)]
        threads = [threading.Thread(target=run_one, args=(it,), daemon=True) for it in group]
        for thread in threads:
            thread.start()
        end = time.monotonic() + limit * PATIENCE
        for thread, scenario in zip(threads, group):
            thread.join(max(0.0, end - time.monotonic()))
            if thread.is_alive():
                failures.append(scenario)
                frame = sys._current_frames().get(thread.ident)
                stack = "".join(traceback.format_stack(frame)) if frame else ""
                print(f"{scenario.__name__} did not end; it is here:\n{stack}", flush=True)
    return not failures


def end(is_fine):
    """Says how it went and ends, whatever threads there still are."""
    print("fine" if is_fine else "not fine", flush=True)
    os._exit(0 if is_fine else 1)
