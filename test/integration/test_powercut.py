# SPDX-License-Identifier: BSD-3-Clause
"""Power cuts: a life of a server is recorded, call by call; then it is cut off at any of them, and what a
disk may have kept by then (powercut.py) is given to a new server, which must start, with what was promised:

    always     every write that was acknowledged
    everysec   every write that was acknowledged before the oldest write to a log that is not synced

and whole transactions, nothing that was not sent, and behind a gap in a log nothing (lanes.py). For
some, the recovery is recorded too, and cut off: the next one must find the same.

In the suite a sample by seed. By hand, with a few states for every point:

    GYRE_TEST_SCALE=30 test/integration/runner.py --filter test_powercut
"""

import concurrent.futures
import errno
import os
import random
import shutil
import signal
import tempfile
import time

from faults import Disk
from harness import PATIENCE, SCALE, STANDIN, Conn, Failure, Server, info
from lanes import Lanes
from powercut import Trace, read_state, write_state
from runner import test

LANES = 4
STATES = max(15, int(50 * SCALE))
SECONDS = 15 * max(1, SCALE)
SIDE_BY_SIDE = 4
BEGUN = 0xFFFFFFFF  # the mark for what Lanes.begin writes


def gyre_only():
    return "only Gyre has it" if STANDIN else None


class Life:
    """What is recorded: load all along, a rewrite, a snapshot, a crash, a stop in order."""

    def __init__(self, t, policy, threads):
        self.t, self.policy = t, policy
        self.rng = random.Random(t.rng.random())
        self.disk = Disk(t, traced=True)
        self.disk.record()
        # Long enough for others to go on meanwhile, and the same on every machine.
        self.disk.delay_syncs(1500, are_real=False)
        self.options = dict(threads=threads, appendonly="yes", appendfsync=policy)
        self.lanes = Lanes(self.rng, LANES)

    def run(self):
        self._start()
        with Conn(self.server) as conn:
            self.lanes.begin(conn)
        self.disk.mark(BEGUN)
        self._load(6)
        self._beside("BGREWRITEAOF")
        self._load(4)
        self._beside("BGSAVE")
        self.server.send_signal(signal.SIGKILL)
        self.server.wait_exit()
        self._start()
        self._load(4)
        self._beside("BGREWRITEAOF")
        self.server.send_signal(signal.SIGTERM)
        self.server.wait_exit()
        self._start()
        self._load(6)
        self.server.send_signal(signal.SIGKILL)
        self.server.wait_exit()
        return Trace(self.disk.trace_path)

    def run_through_failed_sync(self):
        """A sync of a log fails; what it was to make safe may be lost, whatever later syncs say."""
        self._start()
        with Conn(self.server) as conn:
            self.lanes.begin(conn)
        self.disk.mark(BEGUN)
        self._load(4)
        after = 2 if self.policy == "always" else 0
        self.disk.fail("sync", after, errno.EIO, sticky=False, path=".log")
        began = time.monotonic()
        while not self.disk.injected() and time.monotonic() - began < 5 * PATIENCE:
            self._load(1)
        self._load(6)
        while self.lanes.all[0].refused and time.monotonic() - began < 10 * PATIENCE:
            count = len(self.lanes.all[0].refused)
            time.sleep(0.05)
            self._load(1)
            if len(self.lanes.all[0].refused) == count:
                break
        self._load(6)
        self.server.send_signal(signal.SIGKILL)
        self.server.wait_exit()
        return Trace(self.disk.trace_path)

    def _start(self):
        self.server = self.disk.gyre(**self.options)
        self.conns = [Conn(self.server) for _ in self.lanes.all]

    def _load(self, rounds):
        """Every lane sends a few operations at once; then all replies are awaited."""
        for _ in range(rounds):
            sent = []
            for lane, conn in zip(self.lanes.all, self.conns):
                for _ in range(self.rng.choice((1, 1, 2, 4))):
                    n, commands = lane.next()
                    for command in commands:
                        conn.write(*command)
                    sent.append((lane, conn, n, len(commands)))
            for lane, conn, n, count in sent:
                if lane.note(n, [conn.read() for _ in range(count)]):
                    self.disk.mark(self.lanes.all.index(lane) << 32 | n)
                elif not self.disk.injected():
                    raise Failure(f"lane {lane.name}: {n} was refused")
            if self.policy == "everysec":
                time.sleep(0.06)

    def _beside(self, command):
        with Conn(self.server) as conn:
            reply = conn.cmd(command)
            if reply.is_error():
                raise Failure(f"{command}: {reply}")
            for _ in range(100):
                self._load(1)
                fields = info(conn, "persistence")
                if fields["aof_rewrite_in_progress"] == fields["rdb_bgsave_in_progress"] == "0":
                    return
        raise Failure(f"{command} does not end")


class Cut:
    """One power cut, and the start after it."""

    def __init__(self, life, trace, at, seed, first=None, policy=None):
        self.life, self.trace, self.at = life, trace, at
        self.policy = policy or life.policy  # that promises
        self.rng = random.Random(seed)
        self.what = f"cut in front of record {at} of {trace.count}, seed {seed!r}"
        self.first = first  # of a cut during recovery: what the one before found

    def run(self):
        """What is there after it, by lane. Failure keeps the directory."""
        folder = tempfile.mkdtemp(prefix="gyre-test-cut-")
        root = os.path.join(folder, "data")
        os.makedirs(root)
        try:
            state = self.trace.state(self.at, self.rng)
            write_state(state, root)
            shutil.copytree(root, os.path.join(folder, "before"))
            found = self._start_and_look(root)
            if self.first is None and self.rng.random() < 0.2:
                self._cut_recovery(state, found)
        except Failure as failure:
            raise Failure(f"[{self.what}; the directory before the start: {folder}/before] {failure}")
        shutil.rmtree(folder)
        return found

    def _promised(self):
        everything = self.trace.marks(self.at)
        if self.first is not None:
            return self.first
        if self.policy == "everysec":
            since = self.trace.unsafe_since(self.at, lambda path: path.endswith(".log"))
            everything = self.trace.marks(since)
        promised = [set() for _ in self.life.lanes.all]
        for number in everything:
            if number != BEGUN:
                promised[number >> 32].add(number & 0xFFFFFFFF)
        return promised, BEGUN in everything

    def _start_and_look(self, root, disk=None):
        options = dict(
            threads=self.rng.choice((1, 2, 4)),
            io="poll",
            appendonly="yes",
            appendfsync=self.life.policy,
            dir=root,
        )
        if disk:
            options["env"] = disk.env()
        server = Server.gyre(unix=True, **options)
        try:
            with Conn(server) as conn:
                state = self.life.lanes.look(conn)
            try:
                promised, has_begun = self._promised()
                return self.life.lanes.judge(state, promised, has_begun), has_begun
            except Failure as failure:
                raise Failure(f"{failure}\n{server.log_tail(15)}") from None
        finally:
            server.kill()

    def _cut_recovery(self, state, found):
        """The same again, recorded; then it is cut off at a few points."""
        disk = Disk(self.life.t, traced=True)
        try:
            write_state(state, disk.root)
            disk.record()
            disk.delay_syncs(0, are_real=False)
            self._start_and_look(disk.root, disk)
            trace = Trace(disk.trace_path, {k: v for k, v in state.items() if v is not None})
            for _ in range(4):
                at = self.rng.randrange(trace.count + 1)
                cut = Cut(self.life, trace, at, self.rng.random(), found)
                cut.what = f"{self.what}, recovered, and {cut.what}"
                cut.run()
        finally:
            disk.remove()


@test(
    "after a power cut at any moment the server starts and has what was promised",
    needs=gyre_only,
    load=True,
    timeout=200,
    threads=(2, 4),
    policy=("always", "everysec"),
)
def power_cut(t, threads, policy):
    life = Life(t, policy, threads)
    cut_everywhere(t, life, life.run(), STATES)


@test(
    "after a sync that failed, too, a power cut takes nothing that was promised",
    needs=gyre_only,
    load=True,
    timeout=120,
    threads=(2,),
    policy=("always", "everysec"),
)
def failed_sync(t, threads, policy):
    life = Life(t, policy, threads)
    trace = life.run_through_failed_sync()
    t.check(life.disk.injected(), "no sync has failed")
    cut_everywhere(t, life, trace, STATES)


def cut_everywhere(t, life, trace, count):
    points = [t.rng.randrange(trace.count + 1) for _ in range(count)]
    points[0] = trace.count
    deadline = time.monotonic() + SECONDS * PATIENCE
    failures, done = [], []

    def run(at):
        if time.monotonic() > deadline or len(failures) > 3:
            return
        try:
            Cut(life, trace, at, f"{t.seed} {len(done)} {at}").run()
            done.append(at)
        except Failure as failure:
            failures.append(str(failure))

    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(run, points))
    if os.environ.get("GYRE_TEST_VERBOSE"):
        print(f"{len(done)} cuts of {trace.count} records")
    t.check(not failures, f"{len(failures)} of {len(done)} cuts:\n" + "\n\n".join(failures))
    t.check(len(done) >= 5, f"only {len(done)} cuts in time")


@test("this test notices what a server that syncs nothing loses", needs=gyre_only, timeout=60)
def nothing_synced(t):
    life = Life(t, "no", 2)
    trace = life.run()
    noticed = 0
    for i in range(40):
        try:
            Cut(life, trace, t.rng.randrange(trace.count), str(i), policy="always").run()
        except Failure as failure:
            noticed += "promised, but not there" in str(failure)
        if noticed:
            return
    raise Failure("40 power cuts lost nothing that was not synced")
