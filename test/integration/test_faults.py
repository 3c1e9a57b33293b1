# SPDX-License-Identifier: BSD-3-Clause
"""Disk trouble: the nth call of any kind fails, the disk is full, a snapshot cannot be written. And no memory.

In short: writes are refused with the cause, reads go on, INFO says so, nothing that was acknowledged is
lost, and when the disk is well again so is the server. A server without memory ends; then the next start has
all that was acknowledged. By hand, every call of every kind:

    GYRE_TEST_SCALE=100 test/integration/runner.py --filter test_faults
"""

import concurrent.futures
import errno
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from faults import Disk
from harness import (
    OK,
    PATIENCE,
    SCALE,
    STANDIN,
    Closed,
    Conn,
    Failure,
    R,
    ReadTimeout,
    Server,
    info,
)
from lanes import Lanes
from runner import test

FULL = "MISCONF Errors writing to the AOF file: No space left on device"
SNAPSHOT = (
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. "
    "Commands that may modify the data set are disabled, because this instance is configured to report "
    "errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check "
    "the Redis logs for details about the RDB error."
)
ERRORS = {"write": (errno.ENOSPC, errno.EIO), "create": (errno.ENOSPC, errno.EACCES)}
SIDE_BY_SIDE = 6
RETURNS_WITHIN = 8  # seconds, when the disk is well again: a rewrite is tried every five


def gyre_only():
    return "only Gyre has it" if STANDIN else None


# ---- one call fails


class Case:
    """A scripted life of a server in which one call, or all calls of a kind from one on, fail."""

    def __init__(self, t, seed, kind, nth, error, sticky, short, policy, threads):
        self.t, self.rng = t, random.Random(seed)
        self.disk = Disk(t)
        self.lanes = Lanes(self.rng, 3)
        self.options = dict(threads=threads, appendonly="yes", appendfsync=policy, wait=False)
        self.fault = (kind, nth, error, sticky, short)
        self.text = f"{kind} {nth}: {errno.errorcode.get(error)}" + " from then on" * bool(sticky)
        self.text += " after a short write" * bool(short) + f", {policy}, {threads} threads"
        self.waiting = {}  # by lane: (number, how many replies have not come)
        self.is_failing = False

    def run(self):
        kind = self._arm()
        try:
            self._live()
        except Exception as failure:
            if not isinstance(failure, Failure):
                raise
            if self.server.alive():
                self._kill()
            raise Failure(f"[{self.text}] {failure}\n{self.server.log_tail(25)}") from failure
        self.disk.remove()
        return self.disk.injected() if kind else self.disk.counts()

    def _arm(self):
        kind, nth, error, sticky, short = self.fault
        if kind:
            self.disk.fail(kind, nth, error, sticky, short)
            self.is_failing = True
        return kind

    def _live(self):
        self._act()
        if self.rng.random() < 0.5:
            self._stop()
        else:
            self._kill()
        self._heal()
        self._look_back()

    def _act(self):
        self._start()
        self._begin()
        self._writes(4)
        self._job("BGREWRITEAOF", "aof_rewrite_in_progress", "aof_last_bgrewrite_status")
        self._writes(4)
        self._job("BGSAVE", "rdb_bgsave_in_progress", "rdb_last_bgsave_status")
        self._writes(4)
        self._switch()
        self._writes(2)
        self._recover()

    def _look_back(self):
        """What a server has to say that starts when all is well."""
        self._start()
        self._judge()
        self._writes(2)
        self._kill()
        self._start()
        self._judge()
        self._stop()

    # --- the process

    def _start(self):
        self.server = self.disk.gyre(**self.options)
        if not self._answers():
            log = self.server.log().decode()
            strerror = os.strerror(self.fault[2])
            if not (self.disk.injected() and self.is_failing):
                raise Failure("it does not start on a disk that is well")
            if self.server.process.returncode != 1 or strerror not in log:
                raise Failure(
                    f"it ended with {self.server.process.returncode}; 1 and '{strerror}' wanted"
                )
            self.disk.heal()
            self.is_failing = False
            self.server.ended = True
            self.server = self.disk.gyre(**self.options)
            if not self._answers():
                raise Failure("it does not start after a start that failed")
        self.conns = {lane.name: self._connect() for lane in self.lanes.all}

    def _answers(self):
        deadline = time.monotonic() + 10 * PATIENCE
        while time.monotonic() < deadline:
            if self.server.process.poll() is not None:
                self.server.ended = True
                return False
            try:
                with Conn(self.server.address, timeout=5) as conn:
                    if conn.cmd("DBSIZE").kind == ":":
                        return True
            except (OSError, Failure):
                pass
            time.sleep(0.01)
        raise Failure("no answer after its start")

    def _connect(self):
        return Conn(self.server, timeout=5)

    def _kill(self):
        self.server.send_signal(signal.SIGKILL)
        self.server.wait_exit()

    def _stop(self):
        self.server.send_signal(signal.SIGTERM)
        if self.server.wait_exit() is None:
            raise Failure("it does not stop")
        status = self.server.process.returncode
        if status != 0 and not (status == 1 and self.is_failing and self.disk.injected()):
            raise Failure(f"it stopped with status {status}")

    # --- the load

    def _begin(self):
        """The first writes; the fault of the start is waited out, if it hits them."""
        deadline = time.monotonic() + RETURNS_WITHIN * PATIENCE
        for lane in self.lanes.all:
            conn = self.conns[lane.name]
            conn.write(*lane.first())
            while True:
                try:
                    reply = conn.read(0.3)
                    if reply == OK:
                        break
                    if not reply.value.startswith(b"MISCONF ") or not self.disk.injected():
                        raise Failure(f"the first write: {reply}")
                    time.sleep(0.1)
                    conn.write(*lane.first())
                except ReadTimeout:
                    pass
                self._heal()
                if time.monotonic() > deadline:
                    raise Failure("the first write is not taken when the disk is well")

    def _writes(self, rounds):
        for _ in range(rounds):
            for lane in self.lanes.all:
                if lane.name not in self.waiting:
                    n, commands = lane.next()
                    conn = self.conns[lane.name]
                    for command in commands:
                        conn.write(*command)
                    self.waiting[lane.name] = (lane, n, len(commands), [])
                self._collect(lane, 0.05)
        if self.disk.injected() and self.is_failing:
            self._look_at_trouble()

    def _collect(self, lane, seconds):
        """The replies that have come to what the lane waits for; True if all have."""
        _, n, count, replies = self.waiting[lane.name]
        conn = self.conns[lane.name]
        began = time.monotonic()
        while len(replies) < count:
            left = began + (seconds if self.disk.injected() else 5) * PATIENCE - time.monotonic()
            try:
                replies.append(conn.read(min(max(left, 0.001), 0.05)))
            except ReadTimeout:
                if left > 0:
                    continue
                if not self.disk.injected():
                    raise
                return False
        del self.waiting[lane.name]
        if not lane.note(n, replies):
            if not self.disk.injected():
                raise Failure(f"refused although nothing failed: {replies}")
            self._check_refusal(replies)
        return True

    def _check_refusal(self, replies):
        want = f"MISCONF Errors writing to the AOF file: {os.strerror(self.fault[2])}".encode()
        aborted = b"EXECABORT Transaction discarded because of previous errors."
        for reply in replies:
            text = reply.value.split(b" script: ")[0] if reply.is_error() else want
            if text not in (want, aborted):
                raise Failure(f"refused with {reply}")

    def _job(self, command, running, status):
        began = time.monotonic()
        with self._connect() as conn:
            reply = conn.cmd(command)
            if reply.is_error() and not self.disk.injected():
                raise Failure(f"{command}: {reply}")
            while True:
                fields = info(conn, "persistence")
                busy = fields[running] == "1" or fields["aof_rewrite_in_progress"] == "1"
                if not busy and time.monotonic() - began > 0.03:
                    break
                if time.monotonic() - began > 1 and self.disk.injected():
                    self._heal()
                if time.monotonic() - began > 15 * PATIENCE:
                    raise Failure(f"{command} does not end")
                time.sleep(0.01)
            if not self.disk.injected() and fields[status] != "ok":
                raise Failure(f"{command}: {fields[status]}")
        if self.disk.injected() and self.is_failing:
            self._look_at_trouble()

    def _switch(self):
        """The log is turned off, and on again: then everything is in it."""
        with self._connect() as conn:
            while self.waiting:  # an answer may depend on the log that is turned off
                self._recover()
            self._set(conn, "no")
            self._writes(1)
            self._wait(conn, lambda f: f["aof_rewrite_in_progress"] == "0", "a rewrite ends")
            before = int(info(conn, "persistence")["aof_rewrites"])
            self._set(conn, "yes")
            self._writes(1)
            self._wait(conn, lambda f: int(f["aof_rewrites"]) > before, "the log is turned on")

    def _wait(self, conn, condition, what):
        began = time.monotonic()
        while not condition(info(conn, "persistence")):
            if time.monotonic() - began > 1 and self.disk.injected():
                self._heal()
            if time.monotonic() - began > 20 * PATIENCE:
                raise Failure(f"not in time: {what}")
            time.sleep(0.01)

    def _set(self, conn, value):
        reply = conn.cmd("CONFIG", "SET", "appendonly", value)
        while reply.is_error() and b"rewrit" in reply.value.lower():
            time.sleep(0.02)
            reply = conn.cmd("CONFIG", "SET", "appendonly", value)
        if reply != OK:
            raise Failure(f"CONFIG SET appendonly {value}: {reply}")

    # --- trouble

    def _heal(self):
        self.disk.heal()
        self.is_failing = False

    def _look_at_trouble(self):
        """A call has failed. Reads go on; INFO agrees with what writers are told."""
        with self._connect() as conn:
            key = f"r:{self.lanes.all[0].name}:*"
            if len(conn.cmd("KEYS", key).value) != 1:
                raise Failure("a read does not find its key")
            before = info(conn, "persistence")["aof_last_write_status"]
            ping = conn.cmd("PING")
            after = info(conn, "persistence")["aof_last_write_status"]
            if before == after and (ping.is_error() != (after == "err")):
                raise Failure(f"PING is answered {ping}, but INFO says {after}")
        self._recover()

    def _recover(self):
        """The disk is well: all that was kept waiting is answered, and writes are taken."""
        self._heal()
        deadline = time.monotonic() + RETURNS_WITHIN * PATIENCE
        for lane in self.lanes.all:
            while lane.name in self.waiting or not self._one(lane):
                if lane.name in self.waiting:
                    self._collect(lane, 0.1)
                if time.monotonic() > deadline:
                    raise Failure(
                        f"writes are not taken {RETURNS_WITHIN} s after the disk is well; "
                        f"waiting: {list(self.waiting)}"
                    )

    def _one(self, lane):
        n, commands = lane.next("push")
        self.waiting[lane.name] = (lane, n, len(commands), [])
        self.conns[lane.name].write(*commands[0])
        if not self._collect(lane, 0.2):
            return False
        if n in lane.refused:
            time.sleep(0.05)
        return n in lane.acked

    def _judge(self):
        with self._connect() as conn:
            self.lanes.judge(self.lanes.look(conn), self.lanes.acked())


def side_by_side(cases, run, seconds):
    """Runs cases until time is up: which were done, and what failed."""
    deadline = time.monotonic() + max(seconds, seconds * SCALE) * PATIENCE
    done, failures = [], []

    def run_one(case):
        if time.monotonic() > deadline or len(failures) > 5:
            return
        try:
            run(case)
            done.append(case)
        except Failure as failure:
            failures.append(str(failure))

    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(run_one, cases))
    return done, failures


def faults_of(counts, rng):
    """Every call of a scenario, each with what may happen to it."""
    cases = []
    for kind, count in counts.items():
        for nth in range(count):
            for error in ERRORS.get(kind, (errno.EIO,)):
                cases.append((kind, nth, error, True, False))
                cases.append((kind, nth, error, False, False))
            if kind == "write":
                cases.append((kind, nth, errno.ENOSPC, True, True))
    rng.shuffle(cases)
    return cases


@test(
    "any one call to the disk fails: nothing is lost, nobody is lied to, and service returns",
    needs=gyre_only,
    load=True,
    timeout=300,
    threads=(2,),
    policy=("always", "everysec"),
)
def every_call_fails(t, threads, policy):
    healthy = (None, 0, 0, False, False)
    counts = Case(t, 1, *healthy, policy, threads).run()
    cases = faults_of(counts, t.rng)
    # One of each kind, and some more.
    kinds = {}
    for case in cases:
        kinds.setdefault((case[0], case[3]), case)
    chosen = list(kinds.values()) + [c for c in cases if c not in kinds.values()]
    chosen = chosen[: max(36, int(36 * SCALE))]
    done, failures = side_by_side(
        chosen, lambda case: Case(t, str(case) + str(t.seed), *case, policy, threads).run(), 40
    )
    if os.environ.get("GYRE_TEST_VERBOSE"):
        print(f"{len(done)} of {len(cases)} faults; calls: {counts}")
    t.check(not failures, f"{len(failures)} of {len(done)}:\n" + "\n\n".join(failures))
    t.check(len(done) >= 10, f"only {len(done)} cases in time")


@test(
    "a sync fails while many write to several shards at once: all are answered, and nothing is lost",
    needs=gyre_only,
    load=True,
    threads=(2, 4),
    policy=("always", "everysec"),
)
def sync_fails_under_load(t, threads, policy):
    disk = Disk(t)
    options = dict(threads=threads, appendonly="yes", appendfsync=policy)
    server = disk.gyre(**options)
    disk.delay_syncs(20000)
    lanes = Lanes(t.rng, 8)
    conns = [t.connect(server) for _ in lanes.all]
    lanes.begin(conns[0])
    for path in ("-0.log", "-1.log"):
        sent = []
        disk.fail("sync", 1 if policy == "always" else 0, errno.EIO, sticky=False, path=path)
        for _ in range(15):
            for lane, conn in zip(lanes.all, conns):
                n, commands = lane.next(t.rng.choice(("push", "multi", "script", "mset")))
                for command in commands:
                    conn.write(*command)
                sent.append((lane, conn, n, len(commands)))
            time.sleep(0.005)
        for lane, conn, n, count in sent:
            lane.note(n, [conn.read(RETURNS_WITHIN) for _ in range(count)])
        t.wait_for(
            lambda: lanes.all[0].do(conns[0], "push") and disk.injected(), "writes", RETURNS_WITHIN
        )
        t.wait_for(
            lambda: info(conns[0], "persistence")["aof_last_write_status"] == "ok"
            and all(lane.do(conn, "push") for lane, conn in zip(lanes.all, conns)),
            "all write again",
            RETURNS_WITHIN,
        )
    disk.heal()
    server.send_signal(signal.SIGKILL)
    server.wait_exit()
    conn = t.connect(disk.gyre(**options))
    lanes.judge(lanes.look(conn), lanes.acked())


# ---- out of memory


class Wrong(Failure):
    """What was answered, or is there, is not what must be; no matter what became of the process."""


class MemoryCase(Case):
    """A life in which the nth allocation from the beginning of a phase on fails. There the process ends, and
    the next start has all that was acknowledged, and nothing of the rest in part."""

    NEVER = 1 << 62

    def __init__(self, t, seed, phase, nth, policy, threads):
        super().__init__(t, seed, "memory", nth, errno.ENOMEM, False, False, policy, threads)
        self.phase = phase
        self.text = f"allocation {nth} from '{phase}' on fails, {policy}, {threads} threads"
        self.spans = {}  # allocations by phase
        self.now = None  # the phase, and how many there had been
        self.begun = set()  # lanes whose first write was acknowledged
        self.safe = None  # while the log is off, or not whole yet: what was acknowledged before
        self.has_died = self.was_killed = False

    def _arm(self):
        self.is_failing = True
        self.disk.fail("memory", self.NEVER, errno.ENOMEM)
        return "memory"

    def _reach(self, phase):
        if not self.is_failing:
            return
        count = self.disk.counts()["memory"]
        if self.now:
            self.spans[self.now[0]] = self.spans.get(self.now[0], 0) + count - self.now[1]
        self.now = (phase, count)
        if phase == self.phase and phase not in self.spans:
            self.disk.fail("memory", self.fault[1], errno.ENOMEM, sticky=False)

    def _live(self):
        cause = None
        try:
            self._reach("start")
            self._act()
            self._crash()
            self._reach("stop")
            self._stop()
            self._reach("end")
        except Wrong:
            raise
        except (Failure, OSError) as failure:
            cause = failure
        self.is_failing = False
        self.has_died = self._ended_of_it(cause)
        self._drain()
        if self.rng.random() < 0.3:
            self._start_in_vain()
        self.disk.fail("memory", self.NEVER, errno.ENOMEM)  # and none has failed
        self._look_back()

    def _ended_of_it(self, cause):
        """Whether an allocation has failed. cause: of all that went wrong."""
        if not self.disk.injected():
            if cause:
                raise Failure(f"no allocation has failed, but: {cause}")
            return False
        status, log = self.server.wait_exit(), self.server.log()
        if status == -signal.SIGKILL and self.was_killed:
            return True
        if status != -signal.SIGABRT or b"out of memory allocating" not in log or b"ASSERTION" in log:
            raise Failure(f"status {status}; SIGABRT and 'out of memory' wanted. {cause}")
        return True

    def _start_in_vain(self):
        """Memory is out again when it starts, or else it is killed when it has."""
        self.disk.fail("memory", self.rng.randrange(700), errno.ENOMEM, sticky=False)
        self.server = self.disk.gyre(**self.options)
        self.was_killed = self._answers()
        if self.was_killed:
            self._kill()
        self._ended_of_it(None if self.was_killed else Closed("it ended when it started"))

    # --- the process

    def _start(self):
        self.server = self.disk.gyre(**self.options)
        if not self._answers():
            raise Closed(f"it ended when it started, with {self.server.process.returncode}")
        self.conns = {lane.name: self._connect() for lane in self.lanes.all}

    def _crash(self):
        """A kill while writes are under way, and the start after it."""
        for lane in self.lanes.all:
            n, commands = lane.next()
            self.waiting[lane.name] = (lane, n, len(commands), [])
            for command in commands:
                self.conns[lane.name].write(*command)
        self._kill()
        if self.disk.injected():
            self.was_killed = True
            raise Closed("it was killed when it was about to end")
        self._drain()
        self._reach("recovery")
        self._start()
        self._judge()
        self._reach("load")

    # --- the load

    def _begin(self):
        self._reach("load")
        for lane in self.lanes.all:
            reply = self.conns[lane.name].cmd(*lane.first())
            if reply != OK:
                raise Wrong(f"the first write: {reply}")
            self.begun.add(lane.name)

    def _writes(self, rounds):
        if len(self.begun) < len(self.lanes.all):
            self._begin()
        super()._writes(rounds)

    def _collect(self, lane, seconds):
        try:
            return super()._collect(lane, seconds)
        except (Closed, ReadTimeout):
            raise
        except Failure as failure:
            raise Wrong(str(failure)) from None

    def _job(self, command, running, status):
        self._reach(command)
        super()._job(command, running, status)
        self._reach("load")

    def _switch(self):
        self._reach("switch")
        super()._switch()
        self.safe = None
        self._reach("load")

    def _set(self, conn, value):
        if value == "no":
            self.safe = self.lanes.acked()
        super()._set(conn, value)

    def _heal(self):
        """The base heals its disk at times; here the one call that fails is still to come."""

    def _look_at_trouble(self):
        """It is dying."""

    # --- what is there

    def _drain(self):
        """What was answered before the end counts as all that was acknowledged."""
        for lane, n, count, replies in list(self.waiting.values()):
            try:
                while len(replies) < count:
                    replies.append(self.conns[lane.name].read(0.1))
            except Failure:
                continue
            if not lane.note(n, replies):
                raise Wrong(f"refused: {replies}")
            del self.waiting[lane.name]

    def _judge(self):
        with self._connect() as conn:
            state = self.lanes.look(conn)
        promised = self.lanes.acked() if self.safe is None else self.safe
        has_begun = len(self.begun) == len(self.lanes.all)
        try:
            found = self.lanes.judge(state, promised, has_begun)
        except Failure as failure:
            raise Wrong(str(failure)) from None
        for i, lane in enumerate(self.lanes.all):
            if lane.name in self.begun and not state[4 * i + 3].value:
                raise Wrong(f"lane {lane.name}: its first write is lost")
            self._settle(lane, found[i])
        self.waiting, self.safe = {}, None

    def _settle(self, lane, found):
        """What was sent and not answered, or while the log was off, has happened or has not: so it stays."""
        for n, (kind, _) in enumerate(lane.ops):
            if n in lane.refused:
                continue
            if n in found:
                lane.acked.add(n)
            else:
                lane.acked.discard(n)
                lane.refused.add(n)
                lane.index -= kind == "rename"


def memory_faults(spans, rng, count):
    """Allocations of a life by chance: half of them all over it, half where little else happens."""
    phases = ("load", "BGREWRITEAOF", "load", "BGSAVE", "load", "recovery", "load", "switch")
    phases += ("load", "start", "load", "BGREWRITEAOF", "load", "recovery", "load", "stop")
    cases = []
    for i in range(count):
        phase = phases[i % len(phases)]
        span = sum(spans.values()) - spans["start"] if phase == "load" else spans[phase]
        cases.append((phase, rng.randrange(span)))
    return cases


@test(
    "an allocation fails anywhere: the process ends, nothing is lost, and the next start has it all",
    needs=gyre_only,
    load=True,
    timeout=120,
    threads=(2,),
    policy=("always", "everysec"),
)
def every_allocation_fails(t, threads, policy):
    memory = info(t.connect(t.gyre(threads=threads)), "memory")
    if memory["mem_allocator"] == "libc":
        t.skip("the server takes its memory from the system's allocator")
    healthy = MemoryCase(t, 1, None, 0, policy, threads)
    healthy.run()
    spans, died = healthy.spans, []
    t.check(all(spans.values()), f"allocations that are not seen: {spans}")

    def run(case):
        life = MemoryCase(t, str(case) + str(t.seed), *case, policy, threads)
        life.run()
        if life.has_died:
            died.append(case)

    cases = memory_faults(spans, t.rng, max(24, int(24 * SCALE)))
    done, failures = side_by_side(cases, run, 12)
    if os.environ.get("GYRE_TEST_VERBOSE"):
        print(f"{len(died)} of {len(done)} of {len(cases)} died; allocations: {spans}")
    t.check(not failures, f"{len(failures)} of {len(done)}:\n" + "\n\n".join(failures))
    t.check(len(died) >= 6, f"only {len(died)} of {len(done)} died")


@test(
    "a log that is turned off on a disk that fails holds up nobody, and is whole when it is turned on again",
    needs=gyre_only,
    threads=(1, 4),
    kind=("write", "sync", "rename"),
)
def turned_off_in_trouble(t, threads, kind):
    disk = Disk(t)
    options = dict(threads=threads, appendonly="yes", appendfsync="always")
    server = disk.gyre(**options)
    conn, other = t.connect(server), t.connect(server)
    t.equal(conn.cmd("SET", "before", 1), OK)
    disk.fail(kind, 0, errno.EIO)
    if kind == "rename":  # a rewrite cannot name its files
        conn.cmd("BGREWRITEAOF")
    other.write("SET", "waits", 1)
    t.wait_for(lambda: info(conn, "persistence")["aof_last_write_status"] == "err", "trouble")
    t.check(conn.cmd("SET", "refused", 1).is_error(), "refused")
    t.equal(conn.cmd("CONFIG", "SET", "appendonly", "no"), OK)
    t.equal(other.read(5), OK)
    t.wait_for(lambda: conn.cmd("SET", "while it is off", 1) == OK, "writes")
    disk.heal()
    t.equal(conn.cmd("CONFIG", "SET", "appendonly", "yes"), OK)
    before = int(info(conn, "persistence")["aof_rewrites"])
    t.wait_for(lambda: int(info(conn, "persistence")["aof_rewrites"]) > before, "a new base", 15)
    t.equal(conn.cmd("SET", "after", 1), OK)
    keys = sorted(conn.cmd("KEYS", "*").value)
    server.send_signal(signal.SIGKILL)
    server.wait_exit()
    conn = t.connect(disk.gyre(**options))
    t.equal(sorted(conn.cmd("KEYS", "*").value), keys)


@test("at a stop nobody is told of a write that is not safe yet", needs=gyre_only, threads=(2, 4))
def stop_tells_nothing(t, threads):
    """Also those who live on another shard than their key: theirs may have nothing to wait for."""
    disk = Disk(t)
    server = disk.gyre(threads=threads, appendonly="yes", appendfsync="always")
    conns = [t.connect(server) for _ in range(40)]
    for i, conn in enumerate(conns):
        t.equal(conn.cmd("SET", f"home:{i}", 1), OK)
    disk.delay_syncs(500_000)
    for i, conn in enumerate(conns):
        conn.write("SET", f"key:{i}", 1)
    time.sleep(0.05)
    server.send_signal(signal.SIGTERM)
    for conn in conns:
        try:
            t.check(conn.read(0.4) != OK, "told before it was synced")
        except (Closed, ReadTimeout):
            pass
    server.wait_exit()
    disk.delay_syncs(0)
    conn = t.connect(disk.gyre(threads=threads, appendonly="yes"))
    t.equal(conn.cmd("EXISTS", *(f"key:{i}" for i in range(40))).value, 40)


@test(
    "a server stops, or says why not, though its logs cannot be written to their end",
    needs=gyre_only,
    threads=(1, 4),
    points=("", "3600 1"),
)
def stops_with_full_disk(t, threads, points):
    disk = Disk(t)
    server = disk.gyre(threads=threads, appendonly="yes", appendfsync="always", save=points)
    conn, other = t.connect(server), t.connect(server)
    t.equal(conn.cmd("SET", "before", 1), OK)
    disk.fail("write", 0, errno.ENOSPC)
    other.write("SET", "waits", 1)
    status = lambda: info(conn, "persistence")
    t.wait_for(lambda: status()["aof_last_write_status"] == "err", "trouble")
    conn.cmd("BGREWRITEAOF")
    t.wait_for(lambda: status()["aof_rewrite_in_progress"] == "1", "it tries to mend that by a new base")
    time.sleep(0.2)
    stops_or_says_why(t, server, conn, points)
    disk.heal()
    conn = t.connect(disk.gyre(threads=threads, appendonly="yes"))
    t.equal(conn.cmd("GET", "before").value, b"1")


def stops_or_says_why(t, server, conn, points):
    server.send_signal(signal.SIGTERM)
    if points:
        t.wait_for(lambda: b"Errors trying to SHUTDOWN" in server.log(), "it goes on")
        t.equal(info(conn, "persistence")["loading"], "0")
        conn.write("SHUTDOWN", "NOSAVE")
    t.equal(server.wait_exit(), 0)


@test(
    "a server stops, or says why not, though no manifest can be written",
    needs=gyre_only,
    threads=(1, 4),
    points=("", "3600 1"),
)
def stops_without_manifest(t, threads, points):
    disk = Disk(t)
    server = disk.gyre(threads=threads, appendonly="yes", save=points)
    conn = t.connect(server)
    t.equal(conn.cmd("SET", "before", 1), OK)
    in_the_way = os.path.join(disk.root, "appendonlydir", "gyre.manifest.tmp")
    os.mkdir(in_the_way)
    conn.cmd("BGREWRITEAOF")
    status = lambda: info(conn, "persistence")["aof_last_write_status"]
    t.wait_for(lambda: status() == "err", "trouble")
    stops_or_says_why(t, server, conn, points)
    os.rmdir(in_the_way)
    conn = t.connect(disk.gyre(threads=threads, appendonly="yes"))
    t.equal(conn.cmd("GET", "before").value, b"1")


@test("a stop waits for the rewrite that mends a log", needs=gyre_only, threads=(1, 4))
def stop_waits_for_mending(t, threads):
    disk = Disk(t)
    server = disk.gyre(threads=threads, appendonly="yes", appendfsync="always", save="3600 1")
    conn, other = t.connect(server), t.connect(server)
    t.equal(conn.cmd("SET", "before", 1), OK)
    disk.fail("sync", 0, errno.EIO, sticky=False)
    other.write("SET", "waits", 1)
    status = lambda: info(conn, "persistence")
    t.wait_for(lambda: status()["aof_last_write_status"] == "err", "trouble")
    disk.delay_syncs(100_000)
    t.wait_for(lambda: status()["aof_rewrite_in_progress"] == "1", "it is being mended", 15)
    server.send_signal(signal.SIGTERM)
    t.equal(server.wait_exit(20), 0)
    t.check(b"Errors trying to SHUTDOWN" not in server.log(), server.log_tail(20))
    disk.delay_syncs(0)
    conn = t.connect(disk.gyre(threads=threads, appendonly="yes"))
    t.equal(conn.cmd("MGET", "before", "waits").value, [R("$", b"1")] * 2)


@test("a stop amid a rewrite keeps what was written since its cut", needs=gyre_only, threads=(1, 4))
def stop_amid_rewrite(t, threads):
    disk = Disk(t)
    server = disk.gyre(threads=threads, appendonly="yes", appendfsync="everysec")
    conn, other = t.connect(server), t.connect(server)
    disk.delay_syncs(400_000)
    conn.cmd("BGREWRITEAOF")
    try:
        while True:
            other.write("INCR", "since")
            other.read(0.2)
    except ReadTimeout:
        pass  # it waits until the manifest names the new log
    seen = int(conn.cmd("GET", "since").value)
    server.send_signal(signal.SIGTERM)
    t.equal(server.wait_exit(20), 0)
    disk.delay_syncs(0)
    conn = t.connect(disk.gyre(threads=threads, appendonly="yes"))
    t.equal(int(conn.cmd("GET", "since").value), seen)


# ---- a disk that is really full, or read-only


def root_only():
    if STANDIN:
        return "only Gyre has it"
    if os.geteuid() != 0 or not shutil.which("mount"):
        return "mounting takes root"
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(["mount", "-t", "tmpfs", "x", folder], capture_output=True).returncode:
            return "mounting is not allowed here"
        subprocess.run(["umount", folder], check=True)
    return None


class Mount:
    """A small file system in memory."""

    def __init__(self, t, size):
        self.path = tempfile.mkdtemp(prefix="gyre-test-mount-")
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "gyre-test", self.path]
        subprocess.run(command, check=True)
        self.t = t
        t.own(self)

    def own(self, server):
        self.t.own(server)
        self.t.owned.remove(self)  # it goes after all that uses it
        self.t.owned.append(self)
        return server

    def remount(self, how):
        subprocess.run(["mount", "-o", f"remount,{how}", self.path], check=True)

    # What a test context asks of all that it owns.

    ended = True

    def alive(self):
        return False

    def remove(self):
        if os.path.exists(self.path):
            subprocess.run(["umount", "-l", self.path], check=True)
            os.rmdir(self.path)

    kill = remove


@test(
    "a full disk: writes are refused, reads are not, and room brings writes back",
    needs=root_only,
    io=("uring", "poll"),
    policy=("always", "everysec"),
    timeout=60,
)
def full_disk(t, io, policy):
    mount = Mount(t, "12m")
    ballast = os.path.join(mount.path, "ballast")
    with open(ballast, "wb") as f:
        f.write(bytes(8 << 20))
    options = dict(threads=2, io=io, dir=mount.path, appendonly="yes", appendfsync=policy)
    server = mount.own(Server.gyre(**options))
    conns = [t.connect(server) for _ in range(4)]
    acked, waiting = {}, []
    for i in range(1000):
        conn = conns[i % 4]
        if conn in waiting:
            continue
        conn.write("SET", f"key:{i}", b"%06d" % i * 10000)
        try:
            reply = conn.read(1)
        except ReadTimeout:
            waiting.append(conn)
            acked[f"key:{i}"] = b"%06d" % i * 10000  # it will be
            continue
        if reply != OK:
            t.equal(reply.value.decode(), FULL)
            break
        acked[f"key:{i}"] = b"%06d" % i * 10000
    reader = t.connect(server)
    t.equal(info(reader, "persistence")["aof_last_write_status"], "err")
    t.equal(reader.cmd("GET", "key:0").value, acked["key:0"])
    t.equal(reader.cmd("PING").value.decode(), FULL)
    os.unlink(ballast)
    for conn in waiting:
        t.equal(conn.read(RETURNS_WITHIN), OK)
    t.wait_for(lambda: reader.cmd("SET", "after", "x") == OK, "writes again", RETURNS_WITHIN)
    t.wait_for(
        lambda: info(reader, "persistence")["aof_last_write_status"] == "ok", "INFO says so", 2
    )
    server.send_signal(signal.SIGKILL)
    server.wait_exit()
    reader = t.connect(mount.own(Server.gyre(**options)))
    missing = [k for k, v in acked.items() if reader.cmd("GET", k).value != v]
    t.equal(missing, [])
    t.equal(reader.cmd("GET", "after").value, b"x")


@test("a directory that cannot be written is a clear error, and no start", needs=root_only)
def read_only_directory(t):
    mount = Mount(t, "4m")
    mount.remount("ro")
    server = mount.own(Server.gyre(dir=mount.path, appendonly="yes", wait=False))
    t.equal(server.wait_exit(), 1)
    t.match(server.log(), rb"appendonlydir.*Read-only file system")
    mount.remount("rw")
    with open(os.path.join(mount.path, "appendonlydir"), "w") as f:
        f.write("in the way")
    server = mount.own(Server.gyre(dir=mount.path, appendonly="yes", wait=False))
    t.equal(server.wait_exit(), 1)
    t.match(server.log(), rb"appendonlydir.*Not a directory")
    os.unlink(os.path.join(mount.path, "appendonlydir"))
    server = mount.own(Server.gyre(dir=mount.path, appendonly="yes"))
    t.equal(t.connect(server).cmd("SET", "a", 1), OK)


# ---- snapshots that cannot be written


def snapshot_trouble(t, disk, server):
    """What a server says while its snapshots fail, and that it comes back."""
    conn = t.connect(server)
    function = "redis.register_function('f', function(k) return redis.call('SET', k[1], 1) end)"
    said = [conn.cmd("SET", "a", 1), conn.cmd("FUNCTION", "LOAD", "#!lua name=l\n" + function)]
    disk.fail("create write sync rename", 0, errno.ENOSPC)
    status = lambda: info(conn, "persistence")["rdb_last_bgsave_status"]  # noqa: E731
    conn.cmd("BGSAVE")
    t.wait_for(lambda: status() == "err", "the snapshot fails")
    commands = [
        ("SET", "a", 2),
        ("GET", "a"),
        ("PING",),
        ("DEL", "nothing"),
        ("FLUSHALL",),
        ("PUBLISH", "a", "b"),
        ("EVAL", "return redis.call('SET', KEYS[1], 1)", 1, "a"),
        ("EVAL", "return redis.pcall('SET', KEYS[1], 1)", 1, "a"),
        ("EVAL", "return redis.call('GET', KEYS[1])", 1, "a"),
        ("EVAL", "#!lua\nreturn 1", 0),
        ("EVAL", "#!lua flags=no-writes\nreturn 1", 0),
        ("FCALL", "f", 1, "a"),
        ("MULTI",),
        ("SET", "a", 2),
        ("EXEC",),
        ("CONFIG", "SET", "stop-writes-on-bgsave-error", "no"),
        ("SET", "a", 3),
        ("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"),
        ("SET", "a", 4),
        ("CONFIG", "SET", "save", ""),
        ("SET", "a", 5),
        ("CONFIG", "SET", "save", "3600 1"),
        ("SET", "a", 6),
        ("GET", "a"),
    ]
    said += [conn.cmd(*command) for command in commands]
    t.check(conn.cmd("SAVE").is_error(), "SAVE must fail")
    disk.heal()
    t.equal(conn.cmd("BGSAVE").kind, "+")
    t.wait_for(lambda: status() == "ok", "the snapshot succeeds")
    t.wait_for(lambda: info(conn, "persistence")["rdb_bgsave_in_progress"] == "0", "its end")
    said.append(conn.cmd("SET", "a", 7))
    return said


@test("while snapshots fail Gyre says what Redis says", needs=gyre_only, threads=(1, 2))
def snapshots_fail(t, threads):
    disk = Disk(t)
    ours = snapshot_trouble(t, disk, disk.gyre(threads=threads, save="3600 1"))
    disk = Disk(t)
    theirs = snapshot_trouble(t, disk, disk.redis(save="3600 1"))
    t.equal(theirs[2].value.decode(), SNAPSHOT)
    for mine, other in zip(ours, theirs):
        t.equal(mine, other)


# ---- snapshots under load


def transfer(address, stop, seed, failures):
    """Money goes from account to account, until `stop`; the sum is always the same."""
    rng = random.Random(seed)
    script = "redis.call('DECRBY', KEYS[1], ARGV[1]) redis.call('INCRBY', KEYS[2], ARGV[1])"
    try:
        with Conn(address) as conn:
            while not stop.is_set():
                batch = []
                for _ in range(16):
                    a, b = rng.sample(range(ACCOUNTS), 2)
                    n = rng.randrange(100)
                    if rng.random() < 0.5:
                        batch.append(("EVAL", script, 2, f"account:{a}", f"account:{b}", n))
                    else:
                        batch += [("MULTI",), ("DECRBY", f"account:{a}", n)]
                        batch += [("INCRBY", f"account:{b}", n), ("EXEC",)]
                for reply in conn.pipeline(batch):
                    if reply.is_error():
                        raise Failure(f"a transfer: {reply}")
    except Failure as failure:
        failures.append(failure)


def grow(address, stop, seed, failures):
    """Writes to big values, all over them: each write adds the same number to the list, the set and the hash."""
    i = 0
    try:
        with Conn(address) as conn:
            while not stop.is_set():
                batch = []
                for _ in range(10):
                    i += 1
                    batch += [("MULTI",), ("RPUSH", "{big}l", i), ("LPUSH", "{big}l", i)]
                    batch += [("SADD", "{big}s", -i), ("HSET", "{big}h", f"new:{i}", i)]
                    batch += [("ZADD", "{big}z", i * 7919 % 100000 + 0.5, f"new:{i}"), ("EXEC",)]
                conn.pipeline(batch)
    except Failure as failure:
        failures.append(failure)


ACCOUNTS, EACH, BIG = 20000, 1000, 100000


def fill_bank(conn):
    conn.pipeline([("SET", f"account:{i}", EACH) for i in range(ACCOUNTS)])


def fill_big(conn):
    for i in range(0, BIG, 1000):
        numbers = range(i, i + 1000)
        conn.pipeline(
            [
                ("RPUSH", "{big}l", *numbers),
                ("SADD", "{big}s", *numbers),
                ("HSET", "{big}h", *[x for n in numbers for x in (f"field:{n}", n)]),
                ("ZADD", "{big}z", *[x for n in numbers for x in (n, f"member:{n}")]),
            ]
        )


def check_bank(t, conn):
    balances = conn.pipeline([("GET", f"account:{i}") for i in range(ACCOUNTS)])
    t.equal(sum(int(r.value) for r in balances), ACCOUNTS * EACH, "the sum of all accounts")
    return sum(int(r.value) != EACH for r in balances)


def check_big(t, conn):
    """What was loaded is of one instant. Returns how many writes there had been."""
    commands = [("LLEN", "{big}l"), ("SCARD", "{big}s"), ("HLEN", "{big}h"), ("ZCARD", "{big}z")]
    lengths = [r.value for r in conn.pipeline(commands)]
    new = (lengths[0] - BIG) // 2
    t.equal(lengths, [BIG + 2 * new, BIG + new, BIG + new, BIG + new])
    if new:
        ends = conn.pipeline([("LINDEX", "{big}l", 0), ("LINDEX", "{big}l", -1)])
        t.equal([r.value for r in ends], [b"%d" % new] * 2)
        t.equal(conn.cmd("HGET", "{big}h", f"new:{new}").value, b"%d" % new)
    t.equal(conn.cmd("LINDEX", "{big}l", new + BIG // 2).value, b"%d" % (BIG // 2))
    return new


def storm(t, threads, fill, clients, check, rounds):
    """Snapshots while clients write; then each is loaded and checked."""
    server = t.own_gyre(threads=threads)
    conn = t.connect(server)
    fill(conn)
    stop, failures, copies = threading.Event(), [], []
    writers = [
        threading.Thread(target=function, args=(server, stop, i, failures))
        for i, function in enumerate(clients)
    ]
    for writer in writers:
        writer.start()
    try:
        for i in range(rounds):
            time.sleep(t.rng.random() * 0.05)
            t.equal(conn.cmd("BGSAVE").kind, "+")
            t.wait_for(
                lambda: info(conn, "persistence")["rdb_bgsave_in_progress"] == "0", "its end", 30
            )
            t.equal(info(conn, "persistence")["rdb_last_bgsave_status"], "ok")
            copies.append(f"copy{i}.rdb")
            shutil.copy(os.path.join(server.dir, "dump.rdb"), os.path.join(server.dir, copies[-1]))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    t.equal(failures, [])
    results = []
    for copy in copies:
        loader = Server.gyre(
            threads=t.rng.choice((1, 2, 4)), dir=server.dir, dbfilename=copy, unix=True
        )
        try:
            with Conn(loader) as reader:
                results.append(check(t, reader))
        finally:
            loader.kill()
    t.check(results[0] < results[-1], f"nothing was written meanwhile: {results}")


STORM = dict(needs=gyre_only, load=True, timeout=60, threads=(1, 4))


@test("snapshots in a storm of transfers: the bank's sum is right in each", **STORM)
def bank_storm(t, threads):
    storm(t, threads, fill_bank, [transfer] * 3, check_bank, rounds=8)


@test("snapshots while big values grow are of one instant", **STORM)
def big_storm(t, threads):
    storm(t, threads, fill_big, [grow], check_big, rounds=3)
