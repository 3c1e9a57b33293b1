# SPDX-License-Identifier: BSD-3-Clause
"""The jobs of rq_program.py, and (run as a program: rq_tasks.py PORT KIND QUEUE...) one of its
workers."""

import logging
import sys
import time


def add(x, y):
    return x + y


def fail(text):
    raise ValueError(text)


def flaky(key, good_from):
    """Fails until it has been tried `good_from` times."""
    from rq import get_current_job

    tries = get_current_job().connection.incr(key)
    if tries < good_from:
        raise ValueError(f"try {tries}")
    return tries


def note(key, value):
    from rq import get_current_job

    get_current_job().connection.rpush(key, value)


def one_at_a_time(key):
    """Says how many were inside at once."""
    from rq import get_current_job

    connection = get_current_job().connection
    inside = connection.incr(key)
    time.sleep(0.03)
    connection.decr(key)
    return inside


def sleep(seconds):
    time.sleep(seconds)


def run_worker():
    from redis import Redis
    from rq import Queue, SimpleWorker, Worker

    port, kind, *names = sys.argv[1:]
    connection = Redis(port=int(port), client_name=f"rq-{names[0]}")
    queues = [Queue(name, connection=connection) for name in names]
    worker = (Worker if kind == "forking" else SimpleWorker)(
        queues, connection=connection, name=f"{kind}-{'-'.join(names)}"
    )
    worker.work(with_scheduler=kind == "forking", logging_level=logging.WARNING)


if __name__ == "__main__":
    run_worker()
