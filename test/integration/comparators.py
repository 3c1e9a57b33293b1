# SPDX-License-Identifier: BSD-3-Clause
"""Which replies may differ, and how far: one comparator per command.

Every reply of Gyre must be redis-server's, byte for byte. For a command listed in COMPARATORS (by its
longest matching prefix of words) a comparator looks at the two replies when their bytes differ and returns
None if they mean the same, else the reason why not. An error reply is never excused here: both
sides must give the same error text.
"""

import re

from harness import show


def _both(*kinds):
    """Replies must have the same kind, and be one of `kinds`."""

    def wrap(function):
        def compare(args, want, got, seen):
            if (
                want.kind != got.kind
                or want.kind not in kinds
                or (want.value is None) != (got.value is None)
            ):
                return f"the kind of reply differs: want {show(want)}, got {show(got)}"
            if want.value is None:
                return None
            return function(args, want, got, seen)

        return compare

    return wrap


def near(tolerance):
    """Numbers (integers, or bulk strings that hold one) at most `tolerance` apart; negative ones exactly."""

    @_both(":", "$")
    def compare(args, want, got, seen):
        try:
            a, b = int(want.value), int(got.value)
        except ValueError:
            return "not a number"
        if (a < 0 or b < 0) and a != b:
            return "different negative answers"
        return None if abs(a - b) <= tolerance else f"more than {tolerance} apart"

    return compare


@_both(":")
def positive(args, want, got, seen):
    return None if got.value > 0 and want.value > 0 else "not both positive"


@_both("*", "~")
def unordered(args, want, got, seen):
    return (
        None
        if sorted(map(repr, want.value)) == sorted(map(repr, got.value))
        else "not the same elements"
    )


@_both("$")
def some_known_key(args, want, got, seen):
    return None if got.value in seen["words"] else "a key that nobody ever named"


@_both("*")
def time_of_day(args, want, got, seen):
    try:
        (s1, us1), (s2, us2) = ([int(x.value) for x in r.value] for r in (want, got))
    except (ValueError, TypeError):
        return "not two numbers"
    if [x.kind for x in got.value] != ["$", "$"]:
        return "not two bulk strings"
    if not 0 <= us2 < 1000000:
        return "microseconds out of range"
    return None if abs((s1 + us1 / 1e6) - (s2 + us2 / 1e6)) < 60 else "clocks differ"


def pairs(reply):
    """A map (RESP3) or a flat array (RESP2) as a list of pairs."""
    if reply.kind == "%":
        return list(reply.value)
    return list(zip(reply.value[::2], reply.value[1::2]))


@_both("*")
def scan_page(args, want, got, seen):
    """One page of a SCAN: cursors and pages are each server's own business; @scan compares whole iterations."""
    if [x.kind for x in got.value] != ["$", "*"]:
        return "not a cursor and an array"
    cursor, keys = (x.value for x in got.value)
    if not re.fullmatch(rb"0|[1-9][0-9]{0,19}", cursor):
        return "the cursor is not a number"
    if any(k.kind != "$" for k in keys):
        return "keys must be bulk strings"
    invented = [k.value for k in keys if k.value not in seen["words"]]
    return f"keys that nobody ever named: {invented[:3]}" if invented else None


@_both("*", "%")
def hello(args, want, got, seen):
    a, b = pairs(want), pairs(got)
    if [k for k, _ in a] != [k for k, _ in b]:
        return "other fields, or another order"
    for (key, x), (_, y) in zip(a, b):
        if x.kind != y.kind:
            return f"{show(key)} is of another kind"
        if key.value == b"version":
            if not re.fullmatch(rb"7\.[0-9]+\.[0-9]+", y.value):
                return "not a version 7"
        elif key.value != b"id" and x != y:
            return f"{show(key)} differs"
    return None


# Fields that Redis 7.2 and 7.4 added to CLIENT LIST and CLIENT INFO; the oracle is 7.0.
NEW_CLIENT_FIELDS = {"watch", "lib-name", "lib-ver"}
SAME_CLIENT_FIELDS = (
    "name",
    "flags",
    "db",
    "sub",
    "psub",
    "ssub",
    "multi",
    "cmd",
    "user",
    "redir",
    "resp",
)


def client_fields(line):
    out = {}
    for token in line.split(" "):
        name, equals, value = token.partition("=")
        if not equals or "=" in value:
            raise ValueError(f"not name=value: {token!r}")
        out[name] = value
    return out


def _client_line(a, b):
    names = [n for n in b if n not in NEW_CLIENT_FIELDS]
    if names != list(a):
        return f"fields {names}, want {list(a)}"
    for name in a:
        if name in SAME_CLIENT_FIELDS:
            if a[name] != b[name]:
                return f"{name}={b[name]}, want {name}={a[name]}"
        elif re.fullmatch(r"-?\d+", a[name]) and not re.fullmatch(r"-?\d+", b[name]):
            return f"{name}={b[name]} is not a number"
    return None


@_both("$", "=")
def client_lines(args, want, got, seen):
    """CLIENT LIST and INFO. Only clients with a name are compared: others are the harness's."""
    try:
        rows = [[client_fields(l) for l in r.text().decode().split("\n") if l] for r in (want, got)]
    except ValueError as odd:
        return str(odd)
    if got.text()[-1:] != want.text()[-1:]:
        return "only one of them ends in a newline"
    if args[1].upper() == b"INFO":
        return _client_line(rows[0][0], rows[1][0]) if len(rows[1]) == 1 else "not one line"
    named = [
        sorted((r for r in side if r["name"]), key=lambda r: (r["name"], r["db"])) for side in rows
    ]
    if len(named[0]) != len(named[1]):
        return f"{len(named[1])} named clients, want {len(named[0])}"
    for a, b in zip(*named):
        reason = _client_line(a, b)
        if reason:
            return reason
    return None


@_both("*", "%")
def config_pairs(args, want, got, seen):
    a, b = ({k.value: v for k, v in pairs(r)} for r in (want, got))
    missing = [k for k in a if k not in b]
    if missing:
        return f"parameters missing: {b' '.join(missing).decode()}"
    for name, value in a.items():
        if name not in PATH_PARAMETERS and b[name] != value:
            return f"{name.decode()} is {show(b[name])}, want {show(value)}"
    return None


PATH_PARAMETERS = {b"port", b"dir", b"logfile", b"pidfile", b"unixsocket"}


@_both("*")
def slowlog_entries(args, want, got, seen):
    if len(want.value) != len(got.value):
        return f"{len(got.value)} entries, want {len(want.value)}"
    for a, b in zip(want.value, got.value):
        if [x.kind for x in a.value] != [x.kind for x in b.value]:
            return "an entry has another shape"
        if a.value[3] != b.value[3] or a.value[5] != b.value[5]:
            return f"entry {show(b)}, want {show(a)}"
    return None


@_both("+", "$", "=")
def debug_object(args, want, got, seen):
    shape = re.compile(
        rb"Value at:\S+ refcount:(\d+) encoding:(\w+) serializedlength:(\d+) lru:(\d+) "
        rb"lru_seconds_idle:(\d+)(.*)",
        re.S,
    )
    a, b = shape.fullmatch(want.text()), shape.fullmatch(got.text())
    if not b:
        return "not the shape of DEBUG OBJECT"
    return None if a.group(2, 3, 6) == b.group(2, 3, 6) else "encoding or serializedlength differ"


@_both("*", "%")
def histogram(args, want, got, seen):
    def calls(reply):
        return {k.value: dict(pairs(v)) for k, v in pairs(reply)}

    a, b = calls(want), calls(got)
    if set(a) != set(b):
        return f"commands {sorted(b)}, want {sorted(a)}"
    for name in a:
        x, y = ({k.value: v for k, v in side[name].items()} for side in (a, b))
        if list(x) != list(y) or x[b"calls"] != y[b"calls"]:
            return f"{name.decode()} differs"
    return None


@_both("$", "=", "+")
def any_text(args, want, got, seen):
    return None if got.value else "empty"


@_both("*")
def help_text(args, want, got, seen):
    if any(x.kind != "+" for x in got.value):
        return "HELP must consist of simple strings"
    if got.value[0] != want.value[0]:
        return "the first line differs"
    return None if got.value[-2:] == want.value[-2:] else "the last two lines (HELP) differ"


@_both("*")
def names_include(args, want, got, seen):
    return (
        None
        if len(got.value) > 0 and all(x.kind == want.value[0].kind for x in got.value)
        else "no names"
    )


@_both("*", "%", "~")
def any_list(args, want, got, seen):
    return None


COMPARATORS = {
    ("TTL",): near(1),
    ("PTTL",): near(1500),
    ("EXPIRETIME",): near(1),
    ("PEXPIRETIME",): near(1500),
    ("KEYS",): unordered,
    ("RANDOMKEY",): some_known_key,
    ("SCAN",): scan_page,
    ("TIME",): time_of_day,
    ("HELLO",): hello,
    ("CLIENT", "ID"): positive,
    ("CLIENT", "INFO"): client_lines,
    ("CLIENT", "LIST"): client_lines,
    ("CONFIG", "GET"): config_pairs,
    ("SLOWLOG", "GET"): slowlog_entries,
    ("OBJECT", "IDLETIME"): near(1),
    ("DEBUG", "OBJECT"): debug_object,
    ("MEMORY", "USAGE"): positive,
    ("MEMORY", "DOCTOR"): any_text,
    ("MEMORY", "MALLOC-STATS"): any_text,
    ("MEMORY", "STATS"): any_list,
    ("LATENCY", "HISTOGRAM"): histogram,
    ("LATENCY", "DOCTOR"): any_text,
    ("LASTSAVE",): near(60),
    ("LOLWUT",): any_text,
    ("INFO",): any_text,
    ("COMMAND", "COUNT"): positive,
    ("COMMAND", "LIST"): names_include,
    ("COMMAND", "DOCS"): any_list,
    ("CLIENT", "HELP"): help_text,
    ("COMMAND", "HELP"): help_text,
    ("CONFIG", "HELP"): help_text,
    ("DEBUG", "HELP"): help_text,
    ("LATENCY", "HELP"): help_text,
    ("MEMORY", "HELP"): help_text,
    ("OBJECT", "HELP"): help_text,
    ("SLOWLOG", "HELP"): help_text,
}


def comparator(args):
    words = tuple(a.upper().decode("latin-1") for a in args[:2])
    return COMPARATORS.get(words) or COMPARATORS.get(words[:1])
