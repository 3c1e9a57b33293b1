# SPDX-License-Identifier: BSD-3-Clause
"""What COMMAND says about each command, and the hints redis-cli makes of it, against redis-server."""

import re
import subprocess

from cases import ARITY
from comparators import pairs
from differences import COMMAND_DIFFERENCES, HINT_DIFFERENCES
from harness import check, check_equal, show
from runner import test

# Gyre has it as later versions of Redis do, but 7.0 does not know it.
NEWER = {"client|setinfo", "client|no-touch"}
NEWER |= {"hexpire", "hpexpire", "hexpireat", "hpexpireat", "httl", "hpttl", "hexpiretime"}
NEWER |= {"hpexpiretime", "hpersist", "hgetdel", "hgetex", "hsetex"}
WANTED = sorted(set(ARITY) | NEWER)
DATA_COMMANDS = [n for n in list(ARITY)[: list(ARITY).index("hello")] if "|" not in n]


def listed(conn):
    """The names of COMMAND LIST (which has subcommands as `a|b`)."""
    names = [n.value.decode() for n in conn.cmd("COMMAND", "LIST").value]
    check_equal(len(names), len(set(names)), "COMMAND LIST names a command twice")
    return set(names)


def describe(conn, names):
    """{name: {what: value}} from COMMAND INFO, in a form that compares."""
    out = {}
    for name, reply in zip(names, conn.cmd("COMMAND", "INFO", *names).value):
        out[name] = None if reply.value is None else _description(name, reply)
    return out


def _words(reply):
    return frozenset(w.value.decode() for w in reply.value)


def _description(name, reply):
    fields = reply.value
    check(len(fields) == 10, f"COMMAND INFO {name} has {len(fields)} fields, want 10")
    subcommands = {s.value[0].value.decode(): s for s in fields[9].value}
    for sub, text in subcommands.items():
        check(sub.startswith(name + "|"), f"{name} has a subcommand {sub}")
    return {
        "name": fields[0].value.decode(),
        "arity": fields[1].value,
        "flags": _words(fields[2]),
        "keys": tuple(f.value for f in fields[3:6]),
        "acl": _words(fields[6]),
        "specs": sorted(str(_spec(s)) for s in fields[8].value),
        "kinds": (fields[2].kind, fields[6].kind, fields[7].kind, fields[8].kind, fields[9].kind),
        "subcommands": {s: _description(s, r) for s, r in subcommands.items()},
    }


def _spec(reply):
    """A key specification: maps are compared without regard to order, flags as sets, notes not at all."""
    out = {}
    for key, value in pairs(reply):
        name = key.value.decode()
        if name == "flags":
            out[name] = sorted(_words(value))
        elif name != "notes":
            out[name] = _plain(value)
    return sorted(out.items())


def _plain(reply):
    if reply.kind == "%" or (
        reply.kind == "*"
        and reply.value
        and len(reply.value) % 2 == 0
        and all(k.kind in "$+" for k in reply.value[::2])
    ):
        return sorted((k.value.decode(), _plain(v)) for k, v in pairs(reply))
    return reply.value.decode() if isinstance(reply.value, bytes) else reply.value


def disagreements(name, want, got):
    for what in ("name", "arity", "flags", "keys", "acl", "specs", "kinds"):
        if want[what] != got[what] and (name, what) not in COMMAND_DIFFERENCES:
            yield f"{name}: {what} is {_sorted(got[what])}, want {_sorted(want[what])}"
    for sub, description in got["subcommands"].items():
        if sub in want["subcommands"]:
            yield from disagreements(sub, want["subcommands"][sub], description)


def _sorted(value):
    return sorted(value) if isinstance(value, frozenset) else value


@test("COMMAND INFO describes every command as redis-server does", threads=(1, 4), resp=(2, 3))
def command_info(t, threads, resp):
    redis, gyre = (t.connect(s, resp) for s in (t.redis(), t.gyre(threads=threads)))
    names = sorted(n for n in listed(gyre) if "|" not in n)
    t.check(len(names) > 60, f"COMMAND LIST knows only {len(names)} commands")
    want, got = describe(redis, names), describe(gyre, names)
    problems = [
        f"{n}: in COMMAND LIST, but COMMAND INFO does not know it" for n in names if got[n] is None
    ]
    for name in names:
        if got[name] and want[name]:
            problems += disagreements(name, want[name], got[name])
    t.check(not problems, f"{len(problems)} disagreements:\n" + "\n".join(problems[:60]))


@test("COMMAND INFO knows subcommands and any spelling", resp=(2, 3))
def command_info_subcommands(t, resp):
    redis, gyre = (t.connect(s, resp) for s in (t.redis(), t.gyre()))
    for name in ("config|get", "CONFIG|GET", "Get", "client|id", "object|encoding"):
        want, got = (
            _description(name.lower(), c.cmd("COMMAND", "INFO", name).value[0])
            for c in (redis, gyre)
        )
        problems = list(disagreements(name, want, got))
        t.check(not problems, "\n".join(problems))
    got = gyre.cmd("COMMAND", "INFO", "get", "nosuch", "set").value
    t.equal([r.value is None for r in got], [False, True, False], "null only for the unknown one")
    everything = gyre.cmd("COMMAND").value
    t.equal(len(everything), gyre.cmd("COMMAND", "COUNT").value, "COMMAND and COMMAND COUNT")
    t.equal(
        len(everything),
        len(gyre.cmd("COMMAND", "INFO").value),
        "COMMAND and COMMAND INFO without names",
    )


@test("every command of the issue exists")
def commands_exist(t):
    conn = t.connect(t.gyre())
    names = listed(conn)
    t.check(
        {n.split("|")[0] for n in names} <= names,
        "a subcommand without its container in COMMAND LIST",
    )
    import harness

    skipped = NEWER if harness.STANDIN else set()
    missing = [n for n in WANTED if n not in names and n not in skipped]
    t.check(not missing, f"not in COMMAND LIST: {' '.join(missing)}")


@test("COMMAND LIST filters by ACL category and by pattern")
def command_list_filters(t):
    redis, gyre = (t.connect(s) for s in (t.redis(), t.gyre()))
    known = listed(gyre)
    for category in (
        "string",
        "keyspace",
        "read",
        "write",
        "fast",
        "slow",
        "admin",
        "dangerous",
        "connection",
    ):
        want, got = (
            {
                n.value.decode()
                for n in c.cmd("COMMAND", "LIST", "FILTERBY", "ACLCAT", category).value
            }
            for c in (redis, gyre)
        )
        wrong = {
            n
            for n in want ^ got
            if n in known and n in listed(redis) and (n, "acl") not in COMMAND_DIFFERENCES
        }
        t.check(not wrong, f"category {category}: {sorted(wrong)} in one list only")
    for pattern in ("get*", "*x", "[gs]et", "GET", "client|*", "set?x"):
        got = {
            n.value.decode()
            for n in gyre.cmd("COMMAND", "LIST", "FILTERBY", "PATTERN", pattern).value
        }
        want = {
            n.value.decode()
            for n in redis.cmd("COMMAND", "LIST", "FILTERBY", "PATTERN", pattern).value
        }
        t.equal(
            sorted(got),
            sorted((want & known) | {n for n in got if n not in listed(redis)}),
            f"pattern {pattern}",
        )


@test("COMMAND DOCS has summary, since, group and complexity of every command", resp=(2, 3))
def command_docs(t, resp):
    redis, gyre = (t.connect(s, resp) for s in (t.redis(), t.gyre()))
    names = sorted(n for n in listed(gyre) if "|" not in n)
    reply = gyre.cmd("COMMAND", "DOCS")
    t.equal(reply.kind, "%" if resp == 3 else "*")
    docs = {k.value.decode(): {f.value.decode(): v for f, v in pairs(v)} for k, v in pairs(reply)}
    t.equal(sorted(docs), names, "the commands of COMMAND DOCS")
    oracle = {
        k.value.decode(): {f.value.decode(): v for f, v in pairs(v)}
        for k, v in pairs(redis.cmd("COMMAND", "DOCS"))
    }
    problems = []
    for name in names:
        missing = [f for f in ("summary", "since", "group") if f not in docs[name]]
        if missing:
            problems.append(f"{name}: no {', '.join(missing)}")
        elif name in oracle:
            problems += [
                f"{name}: {f} is {show(docs[name][f])}, want {show(oracle[name][f])}"
                for f in ("since", "group")
                if docs[name][f] != oracle[name][f]
            ]
            if ("arguments" in oracle[name]) != ("arguments" in docs[name]):
                problems.append(f"{name}: arguments only on one side")
    t.check(not problems, f"{len(problems)} disagreements:\n" + "\n".join(problems[:40]))
    one = gyre.cmd("COMMAND", "DOCS", "get", "nosuch", "SET")
    t.equal([k.value for k, _ in pairs(one)], [b"get", b"set"], "DOCS of some commands")


@test("redis-cli shows the same hints for the commands on data")
def cli_hints(t):
    shown = []
    for server in (t.redis(), t.gyre()):
        lines = "".join(f"help {n}\n" for n in DATA_COMMANDS)
        out = subprocess.run(
            ["/usr/bin/redis-cli", "-p", str(server.port)],
            input=lines.encode(),
            stdout=subprocess.PIPE,
            timeout=30,
        ).stdout.decode()
        shown.append(
            {
                m.group(1).split(" ")[0].lower(): m.group(1)
                for m in re.finditer(
                    r"^\s*([A-Z]+(?: [^\n]*)?)\n\s*summary:",
                    re.sub(r"\x1b\[[0-9;]*m", "", out),
                    re.M,
                )
            }
        )
    want, got = shown
    t.check(len(want) > 40, f"redis-cli explained only {len(want)} commands of redis-server")
    problems = [
        f"{n}\n    want {want[n]}\n    got  {got.get(n)}"
        for n in want
        if got.get(n, "").rstrip() not in (want[n].rstrip(), HINT_DIFFERENCES.get(n))
    ]
    t.check(not problems, "\n".join(problems))
