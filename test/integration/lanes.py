# SPDX-License-Identifier: BSD-3-Clause
"""Writes whose traces tell what happened: after a crash the data say which operations are there.

A lane is a row of operations, numbered, all sent by one client in order:

    push     RPUSH {lane}l n                                     one shard
    multi    MULTI, RPUSH {lane}l n, RPUSH {other}x lane:n, EXEC  usually two
    script   the same in a script
    mset     MSET {lane}m n m1:lane n m2:lane n                  up to three
    rename   RENAME r:lane:i r:lane:i+1                          usually two

What must hold of any state that recovery makes (Lane.judge): every operation that is promised is there; a
transaction is there whole or not at all; what was refused, or never sent, is not; and in front of one
that is there nothing is missing of what the lane did before on that shard: a log loses its end,
nothing else, and what was built on that, also on other shards (the token). n has a tail of its own, of up to some 2000 bytes, so that records are of all sizes.
"""

from harness import OK, Closed, Failure, R

SCRIPT = "redis.call('RPUSH', KEYS[1], ARGV[1]) redis.call('RPUSH', KEYS[2], ARGV[2]) return 1"
KINDS = ("push", "push", "multi", "script", "mset", "rename")


def text_of(n):
    """What n is written as."""
    return f"{n}:" + "x" * (n * 7919 % 211 if n % 5 else n * 7919 % 2003)


class Lane:
    def __init__(self, name, others, rng):
        self.name, self.others, self.rng = name, others, rng
        self.ops = []  # by number: (kind, other lane or index)
        self.acked = set()
        self.refused = set()
        self.index = 0  # of the token that RENAME moves

    def first(self):
        """What must be there before anything else: the token."""
        return ("SET", f"r:{self.name}:0", "token")

    def next(self, kind=None):
        """The next operation: its number, commands, and what they answer if all is well (patterns of replies)."""
        n = len(self.ops)
        kind = kind or self.rng.choice(KINDS)
        other = self.rng.choice(self.others)
        text = text_of(n)
        push = ("RPUSH", f"{{{self.name}}}l", text)
        push2 = ("RPUSH", f"{{{other}}}x", f"{self.name}:{text}")
        if kind == "push":
            commands = [push]
        elif kind == "multi":
            commands = [("MULTI",), push, push2, ("EXEC",)]
        elif kind == "script":
            commands = [("EVAL", SCRIPT, 2, push[1], push2[1], push[2], push2[2])]
        elif kind == "mset":
            commands = [
                ("MSET", f"{{{self.name}}}m", text, f"m1:{self.name}", text, f"m2:{self.name}", text)
            ]
        else:
            other = self.index = self.index + 1
            commands = [("RENAME", f"r:{self.name}:{other - 1}", f"r:{self.name}:{other}")]
        self.ops.append((kind, other))
        return n, commands

    def note(self, n, replies):
        """What was answered to operation n: done, or refused. Anything else is a failure."""
        errors = [r for r in replies if isinstance(r, R) and r.is_error()]
        if not errors:
            self.acked.add(n)
            return True
        if not all(r.value.startswith((b"MISCONF ", b"EXECABORT ")) for r in errors):
            raise Failure(f"lane {self.name}, operation {n} {self.ops[n]}: {replies}")
        self.refused.add(n)
        if self.ops[n][0] == "rename":
            self.index -= 1
        return False

    def do(self, conn, kind=None):
        n, commands = self.next(kind)
        return self.note(n, conn.pipeline(commands))

    # --- what is there

    def queries(self):
        return [
            ("LRANGE", f"{{{self.name}}}l", 0, -1),
            ("LRANGE", f"{{{self.name}}}x", 0, -1),
            ("MGET", f"{{{self.name}}}m", f"m1:{self.name}", f"m2:{self.name}"),
            ("KEYS", f"r:{self.name}:*"),
        ]

    def _number(self, text, what):
        n = int(text.split(b":")[0])
        if n >= len(self.ops) or n in self.refused or text.decode() != text_of(n):
            raise Failure(f"{what}: {text[:60]!r} was never written")
        return n

    def judge(self, replies, partners, promised, has_begun=True):
        """Failure if what is there is not what may be. partners: what the x lists say of this lane: {n: in whose}.
        promised: numbers of operations that must be there. Returns those that are."""
        pushed, _, stamps, tokens = replies
        what = f"lane {self.name}"
        there = [self._number(item.value, what) for item in pushed.value]
        if there != sorted(set(there)):
            raise Failure(f"{what}: out of order, or twice: {there}")
        here = set(there)
        self._judge_order(there, here, what)
        for n in here | set(partners):
            kind, other = self.ops[n]
            want = [other] if kind in ("multi", "script") else []
            if n not in here or partners.get(n, []) != want:
                raise Failure(
                    f"{what}: operation {n} ({kind}) is there in part: its own list {n in here}, "
                    f"others {partners.get(n)} of {want}"
                )
        here |= self._judge_stamps([s.value for s in stamps.value], what)
        here |= self._judge_token([k.value for k in tokens.value], what, has_begun)
        missing = sorted(set(promised) - here)
        if missing:
            raise Failure(
                f"{what}: promised, but not there: {[(n, self.ops[n]) for n in missing[:10]]}; "
                f"there: {sorted(here)[-10:]}"
            )
        return here

    def _judge_order(self, there, here, what):
        last = max(there, default=-1)
        for n in range(last):
            if self.ops[n][0] in ("push", "multi", "script") and n not in self.refused:
                if n not in here:
                    raise Failure(
                        f"{what}: {n} {self.ops[n]} is missing, but {last} {self.ops[last]} is there"
                    )

    def _judge_stamps(self, stamps, what):
        if len(set(stamps)) != 1:
            raise Failure(f"{what}: MSET is there in part: {[s and s[:20] for s in stamps]}")
        if stamps[0] is None:
            return set()
        last = self._number(stamps[0], what)
        if self.ops[last][0] != "mset":
            raise Failure(f"{what}: no MSET {last} was sent")
        return {n for n in range(last + 1) if self.ops[n][0] == "mset"}

    def _judge_token(self, tokens, what, has_begun):
        if not tokens and not has_begun:
            return set()
        if len(tokens) != 1:
            raise Failure(f"{what}: RENAME lost or doubled its key: {tokens}")
        index = int(tokens[0].split(b":")[2])
        if index > self.index:
            raise Failure(f"{what}: {tokens} was never written")
        return {
            n
            for n, (kind, to) in enumerate(self.ops)
            if kind == "rename" and to <= index and n not in self.refused
        }


class Lanes:
    def __init__(self, rng, count=4):
        names = [f"{rng.randrange(1 << 20):x}" for _ in range(count)]
        self.all = [Lane(name, [o for o in names if o != name], rng) for name in names]

    def begin(self, conn):
        for lane in self.all:
            if conn.cmd(*lane.first()) != OK:
                raise Failure("the first write was refused")

    def look(self, conn):
        """What is there."""
        try:
            queries = [q for lane in self.all for q in lane.queries()] + [("DBSIZE",)]
            return conn.pipeline(queries)
        except Closed:
            raise Failure("the server died when it was asked for its data") from None

    def judge(self, state, promised, has_begun=True):
        """state: of look(). promised: by lane a set of numbers; has_begun: and what begin() wrote.
        Returns what is there, by lane."""
        per_lane = [state[i : i + 4] for i in range(0, len(state) - 1, 4)]
        partners = {lane.name: {} for lane in self.all}
        keys = 0
        for lane, (pushed, others, stamps, tokens) in zip(self.all, per_lane):
            for item in others.value:
                name, _, text = item.value.partition(b":")
                owner = next(x for x in self.all if x.name == name.decode())
                n = owner._number(text, f"{{{lane.name}}}x")
                partners[owner.name].setdefault(n, []).append(lane.name)
            keys += bool(pushed.value) + bool(others.value) + len(tokens.value)
            keys += sum(s.value is not None for s in stamps.value)
        if keys != state[-1].value:
            raise Failure(f"{state[-1].value} keys are there, of which {keys} are known")
        return [
            lane.judge(replies, partners[lane.name], must, has_begun)
            for lane, replies, must in zip(self.all, per_lane, promised)
        ]

    def acked(self):
        return [set(lane.acked) for lane in self.all]
