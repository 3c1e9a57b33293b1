# SPDX-License-Identifier: BSD-3-Clause
"""What a power cut may leave of a directory, by the trace of what was done to it (test/faults/faults.c).

    trace = Trace(disk.trace_path, before)   before: {path: bytes}, what lay there, safe, when it began
    trace.count                              the crash may come in front of any record: 0 .. count
    trace.write_state(i, rng, directory)     one of the directories that a crash there may leave
    trace.marks(i), trace.safe_marks(i)      what had been noted by then; before all that is not safe yet

What was synced is there. All else is there or not, each for itself, whatever came after it:

    bytes written or cut off   safe by a sync of the file that began later; else: as they should be, not
                               there, zeros, torn at a multiple of 512 bytes, or any of their sectors
    names made, changed, gone  safe by a sync of the directory that began later; else: done or not

A rename takes the name of a file, not its bytes. A sync that fails makes nothing safe, and what it
should have made safe no later sync does: the kernel tells of a lost page only once.
"""

import os
import struct

from faults import CLOSE, MAGIC, MARK

RECORD = struct.Struct("<IBBHIIQqQiI")
OPEN, CREATE, WRITE, SYNC, SYNC_DIR, RENAME, UNLINK, TRUNCATE, ALLOCATE, MKDIR = range(10)
BEGINS, ENDS, IS_NEW, IS_EMPTIED = 1, 2, 4, 8
SECTOR = 512


class Event:
    """Something that a power cut may undo."""

    def __init__(self, index, what, **fields):
        self.index, self.what = index, what
        self.safe_at = None  # the record with which it became safe
        self.is_lost = False  # a sync of it failed
        self.__dict__.update(fields)

    def is_safe(self, at):
        return self.safe_at is not None and self.safe_at < at


def parent_of(path):
    return os.path.dirname(path) or "."


class Trace:
    def __init__(self, path, before=None):
        self.names, self.files, self.mark_list = [], {}, []
        self.before = {}
        self.count = 0
        self._now, self._handles, self._syncs = {}, {}, {}
        for name, content in (before or {}).items():
            self.before[name] = self._now[name] = self._new_file(content)
        with open(path, "rb") as f:
            data = f.read()
        at = 0
        while at < len(data):
            magic, kind, flags, _, length, length2, handle, offset, size, error, _ = (
                RECORD.unpack_from(data, at)
            )
            assert magic == MAGIC, f"no record at {at}"
            at += RECORD.size
            name = data[at : at + length].decode()
            name2 = data[at + length : at + length + length2].decode()
            at += length + length2
            self._take(kind, flags, name, name2, handle, offset, data[at : at + size], error)
            at += size
            self.count += 1

    def _new_file(self, content=None):
        number = len(self.files)
        self.files[number] = [] if content is None else [Event(-1, "write", at=0, data=content)]
        if content is not None:
            self.files[number][0].safe_at = -1
        return number

    def _take(self, kind, flags, name, name2, handle, offset, data, error):
        i = self.count
        if kind in (OPEN, CREATE):
            if flags & IS_NEW:
                self._now[name] = self._new_file()
                self.names.append(Event(i, "create", path=name, file=self._now[name]))
            elif flags & IS_EMPTIED:
                self.files[self._now[name]].append(Event(i, "cut", at=0))
            self._handles[handle] = self._now.get(name)
        elif kind == CLOSE:
            self._handles.pop(handle, None)
        elif kind == WRITE:
            self.files[self._handles[handle]].append(Event(i, "write", at=offset, data=data))
        elif kind == TRUNCATE:
            self.files[self._handles[handle]].append(Event(i, "cut", at=offset))
        elif kind == RENAME:
            self._now[name2] = self._now.pop(name)
            self.names.append(Event(i, "rename", path=name2, old=name, file=self._now[name2]))
        elif kind == UNLINK:
            self.names.append(Event(i, "unlink", path=name, file=self._now.pop(name)))
        elif kind == MKDIR:
            self.names.append(Event(i, "mkdir", path=name))
        elif kind in (SYNC, SYNC_DIR):
            self._sync(kind, flags, name, handle, offset, error)
        elif kind == MARK:
            self.mark_list.append((i, offset))

    def _sync(self, kind, flags, name, handle, number, error):
        if flags & BEGINS:
            if kind == SYNC:
                events = self.files[self._handles[handle]]
            else:
                events = [e for e in self.names if parent_of(e.path) == name]
            self._syncs[handle, number] = [e for e in events if e.safe_at is None]
            return
        for event in self._syncs.pop((handle, number)):
            if error:
                event.is_lost = True
            elif event.safe_at is None and not event.is_lost:
                event.safe_at = self.count

    # --- what had happened

    def marks(self, at):
        return [number for i, number in self.mark_list if i < at]

    def unsafe_since(self, at, is_of_interest):
        """The record of the oldest write to a file of interest (by its name) that is not safe; or `at`."""
        names = {}
        for e in self.names:
            if e.index >= at:
                break
            names.pop(getattr(e, "old", None), None)
            if e.what == "unlink":
                names.pop(e.path, None)
            elif e.what != "mkdir":
                names[e.path] = e.file
        since = at
        for path, number in {**self.before, **names}.items():
            if not is_of_interest(path):
                continue
            for e in self.files[number]:
                if e.index < at and not e.is_safe(at):
                    since = min(since, e.index)
        return since

    # --- what may be left

    def state(self, at, rng):
        """One of the directories that a crash in front of record `at` may leave: {path: bytes or None (a folder)}."""
        chance = rng.choice((0.0, 1.0, 0.1, 0.5, 0.5, 0.9))
        is_whole = rng.random() < 0.3  # what is there is not torn
        names, folders = dict(self.before), set()
        for path in self.before:
            folders.add(parent_of(path))
        for e in self.names:
            if e.index >= at:
                break
            if not e.is_safe(at) and rng.random() >= chance:
                continue
            if e.what == "mkdir":
                folders.add(e.path)
            elif e.what == "unlink":
                names.pop(e.path, None)
            else:
                names[e.path] = e.file
                if e.what == "rename":
                    names.pop(e.old, None)
        out = {path: None for path in folders if path != "."}
        for path, number in names.items():
            if parent_of(path) == "." or parent_of(path) in folders:
                out[path] = self._content(self.files[number], at, rng, chance, is_whole)
        return out

    def _content(self, events, at, rng, chance, is_whole):
        content = bytearray()
        for e in events:
            if e.index >= at:
                break
            is_safe = e.is_safe(at)
            if not is_safe and rng.random() >= chance:
                continue
            if e.what == "cut":
                del content[e.at :]
                content.extend(bytes(e.at - len(content)))
                continue
            pieces = [(e.at, e.data)]
            if not is_safe and not is_whole:
                pieces = self._torn(e, rng)
            for offset, data in pieces:
                if len(content) < offset + len(data):
                    content.extend(bytes(offset + len(data) - len(content)))
                content[offset : offset + len(data)] = data
        return bytes(content)

    def _torn(self, e, rng):
        how = rng.choice(("whole", "zeros", "front", "front", "back", "sectors"))
        end = e.at + len(e.data)
        cuts = [e.at] + list(range((e.at // SECTOR + 1) * SECTOR, end, SECTOR)) + [end]
        if how == "whole":
            return [(e.at, e.data)]
        if how == "zeros":
            return [(e.at, bytes(len(e.data)))]
        cut = rng.choice(cuts)
        if how == "front":
            return [(e.at, e.data[: cut - e.at])]
        if how == "back":
            return [(cut, e.data[cut - e.at :])]
        return [
            (a, e.data[a - e.at : b - e.at]) for a, b in zip(cuts, cuts[1:]) if rng.random() < 0.5
        ]


def write_state(state, directory):
    for path, content in sorted(state.items(), key=lambda item: item[0]):
        where = os.path.join(directory, path)
        if content is None:
            os.makedirs(where, exist_ok=True)
            continue
        with open(where, "wb") as f:
            f.write(content)


def read_state(directory):
    out = {}
    for folder, _, files in os.walk(directory):
        for name in files:
            where = os.path.join(folder, name)
            with open(where, "rb") as f:
                out[os.path.relpath(where, directory)] = f.read()
    return out
