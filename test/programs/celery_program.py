# SPDX-License-Identifier: BSD-3-Clause
"""Celery end to end: celery_program.py PORT. Two workers (processes and threads) on several queues
with priorities; results, groups, chords, chains, retries, countdowns, remote control, events; then
kombu on its own.

The broker's BRPOP waits for every priority of every queue at once, each delivery and
acknowledgement is a MULTI over two keys, each result a MULTI with SETEX and PUBLISH, and .get()
subscribes without waiting for the answer.
"""

import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from program import PATIENCE, end, equal, raises, run_scenarios, until

PORT = sys.argv[1]
os.environ["PROGRAM_PORT"] = PORT

import celery_tasks as tasks  # noqa: E402
from celery import chain, chord, group  # noqa: E402
from kombu import Connection, Consumer, Exchange, Producer, Queue  # noqa: E402
from redis import Redis  # noqa: E402

LIMIT = 10 * PATIENCE
app = tasks.app


def start_worker(name, *options):
    log = tempfile.TemporaryFile()
    process = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "celery",
            "-A",
            "celery_tasks",
            "worker",
            "-n",
            f"{name}@here",
        ]
        + ["--without-mingle", "--loglevel", "WARNING", *options],
        cwd=os.path.dirname(os.path.abspath(__file__)),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, "C_FORCE_ROOT": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    return process, log


def children(pid):
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for one in found for child in one.read_text().split()]


# x86-64's numbers of what waits for one descriptor (read, write, sendto to recvmsg), for several in
# a list (poll, ppoll), and for some that cannot be seen from outside (select, epoll).
WAITS_FOR_ONE, WAITS_FOR_LIST, WAITS_UNSEEN = {0, 1, 44, 45, 46, 47}, {7, 271}, {23, 232, 270, 281}


def polled(pid, address, count):
    """The descriptors in a process's array of struct pollfd."""
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(address)
        return [fd for fd, _ in struct.iter_unpack("iI", memory.read(8 * count))]


def awaits_socket(pid):
    """Does this process's first thread wait for a socket (or nobody can tell)? Not: for a pipe, a
    lock, a child, or for its parent to ask how it ended."""
    try:
        number, *arguments = (int(it, 0) for it in Path(f"/proc/{pid}/syscall").read_text().split())
        fds = arguments[:1] if number in WAITS_FOR_ONE else []
        if number in WAITS_FOR_LIST:
            fds = polled(pid, *arguments[:2])
        return number in WAITS_UNSEEN or any(
            os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:") for fd in fds
        )
    except (OSError, ValueError):
        return Path(f"/proc/{pid}").exists()  # it runs: it may be trying again and again


def where_is(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        call = Path(f"/proc/{pid}/syscall").read_text().strip()
        fds = {fd.name: os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
        return f"{pid} {state}, call {call}, {fds}"
    except OSError as gone:
        return f"{pid} {gone}"


def stop_worker(process, log):
    """A warm shutdown, which acknowledges and closes in order; False if that did not work."""
    busy = []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(LIMIT)
    except subprocess.TimeoutExpired:
        busy = [where_is(pid) for pid in children(process.pid) if awaits_socket(pid)]
        written = os.fstat(log.fileno()).st_size
        process.send_signal(signal.SIGUSR1)  # it writes where it is
        end = time.monotonic() + LIMIT
        while os.fstat(log.fileno()).st_size == written and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(1)  # all of it
        process.kill()
        process.wait()
    log.seek(0)
    text = log.read().decode("utf-8", "replace")
    # On a busy machine this billiard may wait for its children's last words for ever, and they for its.
    is_stuck = process.returncode == -signal.SIGKILL and (
        "_flush_outqueue" in text or ("self._pool.join()" in text and not busy)
    )
    if (process.returncode and not is_stuck) or "redis.exceptions" in text or "CRITICAL" in text:
        print(f"a worker ended with {process.returncode}, waiting for sockets: {busy}\n{text[-4000:]}")
        return False
    return True


# --- tasks -------------------------------------------------------------------------------------


def results():
    got = [tasks.add.delay(n, n) for n in range(30)]
    equal([it.get(timeout=LIMIT) for it in got], [2 * n for n in range(30)])
    equal(tasks.multiply.delay(6, 7).get(timeout=LIMIT), 42)  # by its route: another queue
    equal(tasks.add.apply_async((1, 2), queue="slow").get(timeout=LIMIT), 3)  # the other worker
    failed = tasks.fail.delay("as told")
    equal(str(raises(ValueError, failed.get, timeout=LIMIT)), "as told")
    equal(failed.state, "FAILURE")
    forgotten = tasks.add.delay(1, 1)
    equal(forgotten.get(timeout=LIMIT), 2)
    forgotten.forget()
    equal(app.backend.client.exists(f"celery-task-meta-{forgotten.id}"), 0)


def groups_and_chords():
    equal(
        group(tasks.add.s(n, 1) for n in range(20)).apply_async().get(timeout=LIMIT),
        [n + 1 for n in range(20)],
    )
    equal(
        chord((tasks.add.s(n, n) for n in range(15)), tasks.total.s())
        .apply_async()
        .get(timeout=LIMIT),
        210,
    )
    equal(
        (tasks.add.s(1, 2) | tasks.multiply.s(4) | tasks.add.s(5)).apply_async().get(timeout=LIMIT),
        17,
    )
    mixed = chain(tasks.add.s(1, 1), group(tasks.add.s(n) for n in range(5)), tasks.total.s())
    equal(mixed.apply_async().get(timeout=LIMIT), 20)
    several = [
        chord([tasks.multiply.s(n, i) for i in range(4)], tasks.total.s()).apply_async()
        for n in range(6)
    ]
    equal([it.get(timeout=LIMIT) for it in several], [6 * n for n in range(6)])
    failing = chord([tasks.add.s(1, 1), tasks.fail.s("in a chord")], tasks.total.s()).apply_async()
    assert "in a chord" in str(raises(Exception, failing.get, timeout=LIMIT))


def retries_and_countdowns():
    flaky = [tasks.flaky.delay(2), tasks.flaky.delay(3)]
    began = time.time()
    later = tasks.now.apply_async(countdown=0.5)
    equal([it.get(timeout=LIMIT) for it in flaky], [2, 3])
    took = later.get(timeout=LIMIT) - began
    assert 0.45 <= took < 5 * PATIENCE, f"a countdown of 0.5 s took {took}"
    hopeless = tasks.flaky.delay(9)
    raises(Exception, hopeless.get, timeout=LIMIT)
    expired = tasks.add.apply_async((1, 1), expires=-1)
    until("an expired task is revoked", lambda: expired.state == "REVOKED")
    never = tasks.add.apply_async((1, 1), countdown=1000)
    never.revoke()
    until(
        "the workers know of it",
        lambda: never.id in str(app.control.inspect(timeout=1, limit=2).revoked()),
    )


def states():
    states_seen = []
    result = tasks.progressing.delay()
    result.get(timeout=LIMIT, on_message=lambda message: states_seen.append(message["status"]))
    assert states_seen[-1] == "SUCCESS" and "PROGRESS" in states_seen, states_seen


def priorities():
    # One worker with one thread: what waits is sorted by priority.
    client = app.backend.client
    for n in range(3):
        for priority in (9, 6, 3, 0):
            tasks.note.apply_async((f"{priority}",), queue="notes", priority=priority)
    app.control.add_consumer(
        "notes", destination=["threads@here"], reply=True, timeout=LIMIT, limit=1
    )
    until("twelve notes", lambda: client.llen("noted") == 12)
    app.control.cancel_consumer("notes", destination=["threads@here"])
    noted = [int(it) for it in client.lrange("noted", 0, -1)]
    equal(
        noted[:-1], sorted(noted)[:-1]
    )  # the first may have been prefetched before it all was there


def remote_control():
    until("both workers answer", lambda: len(app.control.ping(timeout=1, limit=2)) == 2)
    inspect = app.control.inspect(timeout=LIMIT, limit=2)
    equal(sorted(inspect.active_queues()), ["processes@here", "threads@here"])
    equal(
        app.control.inspect(timeout=LIMIT, limit=1, destination=["threads@here"]).ping(),
        {"threads@here": {"ok": "pong"}},
    )


def events():
    seen = []
    ready = threading.Event()

    def listen():
        with app.connection() as connection:
            receiver = app.events.Receiver(
                connection, handlers={"*": lambda event: seen.append(event["type"])}
            )
            ready.set()
            for _ in receiver.itercapture(limit=None, timeout=None, wakeup=True):
                pass

    threading.Thread(target=listen, daemon=True).start()
    ready.wait(LIMIT)
    until(
        "events of a task",
        lambda: tasks.add.delay(1, 1).get(timeout=LIMIT) == 2
        and {"task-received", "task-started", "task-succeeded"} <= set(seen),
    )


# --- kombu -------------------------------------------------------------------------------------


def kombu_priorities():
    with Connection(
        f"redis://127.0.0.1:{PORT}/2", transport_options={"queue_order_strategy": "priority"}
    ) as connection:
        queue = connection.SimpleQueue("simple")
        for n, priority in enumerate((9, 3, 0, 6, 0, 3)):
            queue.put({"n": n}, priority=priority)
        equal(queue.qsize(), 6)
        got = []
        for _ in range(6):
            message = queue.get(timeout=LIMIT)
            got.append(message.payload["n"])
            message.ack()
        equal(got, [2, 4, 1, 5, 3, 0])
        raises(queue.Empty, queue.get, timeout=0.1)
    equal(Redis(port=int(PORT), db=2).exists("unacked", "unacked_index"), 0)


def drained(connection, seconds):
    try:
        connection.drain_events(timeout=seconds)
    except OSError:
        pass  # its way to say that nothing came


def kombu_exchanges():
    watcher = Redis(port=int(PORT))
    with Connection(f"redis://127.0.0.1:{PORT}/3") as connection:
        topic, fanout = Exchange("news", type="topic"), Exchange("all", type="fanout")
        got = []
        queues = [
            Queue("sport", topic, routing_key="sport.#"),
            Queue("any", topic, routing_key="#"),
            Queue("everybody", fanout, auto_delete=True),
        ]

        def take(body, message):
            got.append((message.delivery_info["routing_key"], body))
            message.ack()

        with Consumer(connection, queues, callbacks=[take]):
            producer = Producer(connection)
            until(
                "the fanout is subscribed to",
                lambda: drained(connection, 0.05)
                or watcher.pubsub_channels("/3.*")
                or watcher.pubsub_numpat(),
            )
            # First the message that comes by itself: closing with a BRPOP under way, this kombu takes
            # that one's reply for another's.
            producer.publish("fire", exchange=fanout, routing_key="")
            until("a message to all", lambda: drained(connection, 0.5) or len(got) == 1)
            producer.publish("goal", exchange=topic, routing_key="sport.ball", declare=[topic])
            producer.publish("rain", exchange=topic, routing_key="weather")
            until("four messages", lambda: drained(connection, 0.5) or len(got) == 4)
        equal(sorted(body for _, body in got), ["fire", "goal", "goal", "rain"])


def kombu_restores():
    """Unacknowledged messages come back: when their consumer closes, when their time is up."""
    options = {"visibility_timeout": 1, "polling_interval": 0.1, "unacked_restore_limit": 10}
    with Connection(f"redis://127.0.0.1:{PORT}/4", transport_options=options) as one:
        queue = one.SimpleQueue("work")
        for n in range(3):
            queue.put(n)
        held = [queue.get(timeout=LIMIT) for _ in range(3)]
        held[0].ack()
        client = Redis(port=int(PORT), db=4)
        equal(
            (client.llen("work"), client.hlen("unacked"), client.zcard("unacked_index")), (0, 2, 2)
        )
        held[1].requeue()
        equal((client.llen("work"), client.hlen("unacked")), (1, 1))
        until(
            "the time of a message is up",
            lambda: client.zrangebyscore("unacked_index", 0, time.time() - 1.1),
        )
        with Connection(f"redis://127.0.0.1:{PORT}/4", transport_options=options) as two:
            two.default_channel.qos.restore_visible(num=10)
            equal((client.llen("work"), client.hlen("unacked")), (2, 0))
            again = two.SimpleQueue("work")
            equal(sorted(again.get(timeout=LIMIT).payload for _ in range(2)), [1, 2])
            two.default_channel.qos.restore_unacked_once()
        equal(client.llen("work"), 2)


def main():
    workers = [
        start_worker("processes", "-c", "2", "-Q", "default,math"),
        start_worker("threads", "-P", "threads", "-c", "1", "-Q", "slow"),
    ]
    try:
        is_fine = run_scenarios(
            [kombu_priorities, kombu_exchanges, kombu_restores],
            [results],
            [groups_and_chords],
            [retries_and_countdowns],
            [states],
            [priorities],
            [remote_control],
            [events],
        )
    finally:
        is_stopped = all([stop_worker(*worker) for worker in workers])
    end(is_fine and is_stopped)


main()
