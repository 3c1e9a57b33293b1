# SPDX-License-Identifier: BSD-3-Clause
"""RQ end to end: rq_program.py PORT. A worker that forks for every job and runs the scheduler, and
two that do not; results, retries, dependencies, schedules, cancelling, stopping, repeats; with RQ
2 and later groups, unique ids and rate limits too, whose scripts touch keys that nobody declared.

Every job is transactions of up to 18 commands over many keys, dependencies WATCH all their jobs,
the workers wait in BLPOP over several queues or BLMOVE on one, and hear commands by pub/sub. Runs
with Debian's RQ 1 and the newest.
"""

import os
import signal
import subprocess
import sys
import tempfile
from datetime import timedelta

from program import PATIENCE, end, equal, raises, run_scenarios, until

import rq
import rq_tasks as jobs
from redis import Redis
from rq import Queue, Retry, Worker, cancel_job
from rq.command import send_shutdown_command, send_stop_job_command
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry

PORT = int(sys.argv[1])
IS_NEW = int(rq.VERSION.split(".")[0]) >= 2
redis = Redis(port=PORT)
high, low, single = (Queue(name, connection=redis) for name in ("high", "low", "single"))


def start_worker(kind, *names):
    log = tempfile.TemporaryFile()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-B", jobs.__file__, str(PORT), kind, *names],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    return process, log


def stop_worker(process, log):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10 * PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    log.seek(0)
    text = log.read().decode("utf-8", "replace")
    if process.returncode != 0 or "redis.exceptions" in text:
        print(f"a worker ended with {process.returncode}:\n{text[-6000:]}")
        return False
    return True


def value(job):
    return (
        job.return_value()
        if hasattr(job, "return_value") and callable(job.return_value)
        else job.result
    )


def finished(*some, status="finished"):
    """The jobs' values once all of them have that status."""
    for job in some:
        until(f"{job.func_name}{job.args} is {status}", lambda: job.get_status() == status)
    return [value(job) for job in some]


def results():
    some = [single.enqueue(jobs.add, n, n) for n in range(20)] + [
        high.enqueue(jobs.add, n, n) for n in range(4)
    ]
    equal(finished(*some), [2 * n for n in range(20)] + [2 * n for n in range(4)])
    failed = single.enqueue(jobs.fail, "as told")
    finished(failed, status="failed")
    until(
        "it is in the registry", lambda: failed.id in FailedJobRegistry(queue=single).get_job_ids()
    )
    assert "as told" in str(failed.exc_info), failed.exc_info
    until(
        "so are the good ones", lambda: len(FinishedJobRegistry(queue=single).get_job_ids()) >= 20
    )
    some[0].delete()
    equal(redis.exists(f"rq:job:{some[0].id}"), 0)
    failed.requeue()
    finished(failed, status="failed")


def retries():
    good = single.enqueue(jobs.flaky, "tries", 3, retry=Retry(max=3))
    bad = single.enqueue(jobs.flaky, "more", 9, retry=Retry(max=2))
    equal(finished(good), [3])
    finished(bad, status="failed")
    equal(redis.get("more"), b"3")


def dependencies():
    first = [single.enqueue(jobs.add, n, 1) for n in range(4)]
    second = single.enqueue(jobs.add, 5, 5, depends_on=first)
    third = high.enqueue(jobs.note, "noted:dep", "third", depends_on=[second, first[0]])
    equal(finished(*first, second), [1, 2, 3, 4, 10])
    finished(third)
    equal(redis.lrange("noted:dep", 0, -1), [b"third"])
    failing = single.enqueue(jobs.fail, "a dependency")
    waiting = single.enqueue(jobs.add, 1, 1, depends_on=failing)
    finished(failing, status="failed")
    equal(waiting.get_status(), "deferred")
    cancel_job(waiting.id, connection=redis)
    equal(waiting.get_status(), "canceled")


def blocked():
    return [it["name"] for it in redis.client_list() if "b" in it["flags"]]


def order():
    """A worker takes from the first of its queues that has something."""
    worker = start_worker("simple", "first", "second")
    try:
        name = "simple-first-second"
        until("it waits", lambda: {name, "rq-first"} & set(blocked()))
        queues = [Queue(it, connection=redis) for it in ("second", "first")]
        with redis.pipeline() as pipe:  # so that all are there before the worker can take one
            for n, queue in enumerate(queues * 3):
                job = queue.create_job(jobs.note, ("noted:order", f"{queue.name}{n // 2}"))
                job.save(pipeline=pipe)
                queue.push_job_id(job.id, pipeline=pipe)
            pipe.execute()
        until("six notes", lambda: redis.llen("noted:order") == 6)
        # Who is blocked is given the key that was pushed to first; then the queues' order counts.
        wanted = [b"second0", b"first0", b"first1", b"first2", b"second1", b"second2"]
        equal(redis.lrange("noted:order", 0, -1), wanted)
        send_shutdown_command(redis, name)
        worker[0].wait(10 * PATIENCE)
    finally:
        assert stop_worker(*worker)


def schedules():
    soon = low.enqueue_in(timedelta(seconds=1), jobs.add, 20, 22)
    never = low.enqueue_in(timedelta(hours=1), jobs.add, 1, 1)
    registry = ScheduledJobRegistry(queue=low)
    equal(sorted(registry.get_job_ids()), sorted([soon.id, never.id]))
    equal(finished(soon), [42])
    never.cancel()
    equal(registry.get_job_ids(), [])


def stopped():
    job = high.enqueue(jobs.sleep, 60)
    until("it runs", lambda: job.get_status() == "started" and (job.refresh() or job.worker_name))
    send_stop_job_command(redis, job.id)
    until("it was stopped", lambda: job.get_status() in ("stopped", "failed"))


def workers_are_known():
    until("its workers are listed", lambda: len(Worker.all(connection=redis)) >= 2)
    until("one is on the queue", lambda: Worker.count(queue=single) == 1)
    until(
        "a client bears its name",
        lambda: "simple-single" in [it["name"] for it in redis.client_list()],
    )


def uniqueness_and_limits():
    if not IS_NEW:
        return
    from rq import RateLimit
    from rq.exceptions import DuplicateJobError
    from rq.group import Group

    kept = Queue("nobody", connection=redis)
    kept.enqueue(jobs.add, 1, 1, job_id="mine", unique=True)
    raises(DuplicateJobError, kept.enqueue, jobs.add, 1, 1, job_id="mine", unique=True)
    equal(kept.get_job_ids(), ["mine"])
    limited = [
        (single, high)[n % 2].enqueue(
            jobs.one_at_a_time, "inside", rate_limit=RateLimit("limit", 1)
        )
        for n in range(6)
    ]
    equal(finished(*limited), [1] * 6)
    group = Group.create(connection=redis)
    members = group.enqueue_many(
        single, [Queue.prepare_data(jobs.add, args=(n, 1)) for n in range(5)]
    )
    equal(finished(*members), [1, 2, 3, 4, 5])
    equal(len(Group.fetch(group.name, redis).get_jobs()), 5)
    latest = single.enqueue(jobs.add, 3, 4)
    equal(latest.latest_result(timeout=int(8 * PATIENCE)).return_value, 7)  # XREAD BLOCK


def main():
    workers = [start_worker("forking", "high", "low"), start_worker("simple", "single")]
    try:
        is_fine = run_scenarios(
            [
                results,
                retries,
                dependencies,
                order,
                schedules,
                workers_are_known,
                uniqueness_and_limits,
            ],
            [stopped],
        )
    finally:
        is_stopped = all([stop_worker(*worker) for worker in workers])
    until("no worker is left", lambda: not Worker.all(connection=redis))
    end(is_fine and is_stopped)


main()
