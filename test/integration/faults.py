# SPDX-License-Identifier: BSD-3-Clause
"""A disk that fails and is watched: test/faults/faults.c, preloaded into a server.

    disk = Disk(t)                        a directory for the server's data, and the library's control
    server = disk.gyre(threads=2, appendonly="yes")
    disk.fail("write", 3, errno.ENOSPC)   the fourth write from now on fails, and so on until
    disk.heal()
    disk.counts()["sync"]                 calls so far ("memory": only those while fail("memory ...") is in force)
    disk.record() ... disk.mark(number)   the trace (powercut.py reads it)

GYRE_FAULTS names the compiled library; otherwise build/debug/test/gyre-faults.so is used, or faults.c is
compiled here.
"""

import atexit
import mmap
import os
import shutil
import struct
import subprocess
import tempfile

from harness import ROOT, STANDIN, Server

SOURCE = ROOT / "test/faults/faults.c"
KINDS = (
    "open",
    "create",
    "write",
    "sync",
    "sync_dir",
    "rename",
    "unlink",
    "truncate",
    "allocate",
    "mkdir",
    "memory",
)
_compiled = []


def library():
    for path in (os.environ.get("GYRE_FAULTS"), ROOT / "build/debug/test/gyre-faults.so"):
        if (
            path
            and os.access(path, os.R_OK)
            and os.stat(path).st_mtime >= os.stat(SOURCE).st_mtime
        ):
            return str(path)
    if not _compiled:
        folder = tempfile.mkdtemp(prefix="gyre-faults-")
        atexit.register(shutil.rmtree, folder, True)
        out = f"{folder}/gyre-faults.so"
        command = ["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-fPIC", "-shared", "-o", out, str(SOURCE)]
        subprocess.run(command + ["-lpthread"], check=True, timeout=120)
        _compiled.append(out)
    return _compiled[0]


class Disk:
    """A directory whose files the library stands in front of. t: the test's context; root: what is there."""

    CONTROL = struct.Struct("<IIIIIIqIII60sQ16Q")  # struct control

    def __init__(self, t, traced=False, root=None):
        self.t = t
        self.top = tempfile.mkdtemp(prefix="gyre-test-disk-")
        self.root = root or os.path.join(self.top, "data")
        os.makedirs(self.root, exist_ok=True)
        self.trace_path = os.path.join(self.top, "trace")
        self.trace = (
            os.open(self.trace_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if traced else None
        )
        with open(os.path.join(self.top, "control"), "w+b") as f:
            f.truncate(4096)
            self.map = mmap.mmap(f.fileno(), 4096)
        t.own(self)

    def env(self):
        env = {
            **os.environ,
            "LD_PRELOAD": library(),
            "GYRE_FAULTS_DIR": self.root,
            "GYRE_FAULTS_CONTROL": os.path.join(self.top, "control"),
        }
        if self.trace is not None:
            env["GYRE_FAULTS_TRACE"] = self.trace_path
        # The library comes before the sanitizer's runtime, which would refuse that.
        options = env.get("ASAN_OPTIONS", "")
        env["ASAN_OPTIONS"] = options + (":" if options else "") + "verify_asan_link_order=0"
        return env

    def gyre(self, threads=1, **options):
        """A server on this disk, with its files' calls in the C library's hands."""
        options = {"dir": self.root, "env": self.env(), "unix": True, **options}
        return self._own(Server.gyre(threads=threads, io="poll", **options))

    def redis(self, **options):
        return self._own(Server.redis(dir=self.root, env=self.env(), unix=True, **options))

    def _own(self, server):
        self.t.own(server)
        self.t.owned.remove(self)  # it goes after all that uses it
        self.t.owned.append(self)
        return server

    # What a test context asks of all that it owns.

    ended = True

    def alive(self):
        return False

    def remove(self):
        if not os.environ.get("GYRE_TEST_KEEP"):
            shutil.rmtree(self.top, ignore_errors=True)

    kill = remove

    # --- faults

    def _set(self, offset, form, *values):
        struct.pack_into("<" + form, self.map, offset, *values)

    def fail(self, kinds, after, error, sticky=True, short=False, path=""):
        """Let the calls of these kinds succeed `after` times; the next, or all from there on, fail."""
        mask = sum(1 << KINDS.index(kind) for kind in kinds.split())
        self._set(4, "I", 0)
        self._set(8, "IIIIq", mask, error, sticky, short, after)
        self._set(44, "60s", path.encode())
        self._set(104, "Q", 0)
        self._set(4, "I", 1)

    def heal(self):
        self._set(4, "I", 0)

    def injected(self):
        """How many calls have failed since fail()."""
        return struct.unpack_from("<Q", self.map, 104)[0]

    def counts(self):
        return dict(zip(KINDS, struct.unpack_from("<16Q", self.map, 112)))

    def delay_syncs(self, us, are_real=True):
        self._set(32, "II", not are_real, us)

    # --- the trace

    def record(self, is_on=True):
        self._set(40, "I", is_on)

    def mark(self, number):
        """Notes in the trace that this has happened."""
        os.write(self.trace, struct.pack("<IBBHIIQqQiI", MAGIC, MARK, 0, 0, 0, 0, 0, number, 0, 0, 0))


MAGIC, CLOSE, MARK = 0x52545947, 14, 15
assert STANDIN or Disk.CONTROL.size == 240
