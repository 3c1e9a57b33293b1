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


def same_multiset(a, b):
    return sorted(map(repr, a)) == sorted(map(repr, b))


@_both("*", "~")
def unordered(args, want, got, seen):
    return None if same_multiset(want.value, got.value) else "not the same elements"


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
    if a.group(2) in (b"raw", b"int", b"embstr"):
        same = a.group(2, 3, 6) == b.group(2, 3, 6)
        return None if same else "encoding or serializedlength differ"
    # Of collections the length depends on the encoding's details, and lists say more about theirs.
    return encodings_alike(a.group(2), b.group(2), None, args[2])


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


# ---- collections


@_both("*", "%")
def unordered_pairs(args, want, got, seen):
    """HGETALL: the same fields, each with its value."""
    if want.kind == "*" and len(got.value) % 2:
        return "an odd number of elements"
    return None if same_multiset(pairs(want), pairs(got)) else "not the same pairs"


def number_after(words, at):
    """The word as an integer, or None."""
    try:
        return int(words[at])
    except (IndexError, ValueError):
        return None


def elements(args, reply):
    """What a random command answered, as a list; pairs (WITHVALUES, WITHSCORES) as tuples."""
    with_pairs = len(args) > 3 and args[3].upper() in (b"WITHVALUES", b"WITHSCORES")
    if not with_pairs:
        return [x.value for x in reply.value]
    if all(x.kind == "*" for x in reply.value):
        return [tuple(y.value for y in x.value) for x in reply.value]
    return [(k.value, v.value) for k, v in pairs(reply)]


def unknown_words(found, seen):
    odd = [e for e in found if (e[0] if isinstance(e, tuple) else e) not in seen["words"]]
    return f"elements that nobody ever named: {odd[:3]}" if odd else None


@_both("*", "~", "$")
def random_elements(args, want, got, seen):
    """SRANDMEMBER, HRANDFIELD, ZRANDMEMBER, SPOP: as many, of the right shape, all of them known, and
    different from one another unless the count is negative; all of them if the count reaches that far.
    """
    if want.kind == "$":
        return unknown_words([got.value], seen)
    if [x.kind for x in want.value] != [x.kind for x in got.value]:
        return f"{len(got.value)} elements, want {len(want.value)}, or of other kinds"
    a, b = elements(args, want), elements(args, got)
    count = number_after(args, 2) or 0
    if count >= 0 and len(set(b)) != len(b):
        return "an element twice, though the count is positive"
    if count > len(a) and not same_multiset(a, b):
        return "the count is greater than the collection, but the elements differ"
    return unknown_words(b, seen)


@_both("*")
def collection_page(args, want, got, seen):
    """One page of SSCAN, HSCAN or ZSCAN; a whole collection on one page must be the same."""
    shape = ["$", "*"]
    if [x.kind for x in got.value] != shape or [x.kind for x in want.value] != shape:
        return "not a cursor and an array"
    (a_cursor, a), (b_cursor, b) = ([x.value for x in r.value] for r in (want, got))
    if not re.fullmatch(rb"0|[1-9][0-9]{0,19}", b_cursor):
        return "the cursor is not a number"
    is_set = args[0].upper() == b"SSCAN" or (a and len(a) % 2)
    if not is_set and len(b) % 2:
        return "an odd number of elements"
    found = (
        [x.value for x in b] if is_set else [(k.value, v.value) for k, v in zip(b[::2], b[1::2])]
    )
    whole = args[2] == b"0" and a_cursor == b"0" and b_cursor == b"0"
    if whole:
        known = (
            [x.value for x in a]
            if is_set
            else [(k.value, v.value) for k, v in zip(a[::2], a[1::2])]
        )
        return None if set(found) == set(known) else "not the same elements"
    return unknown_words(found, seen)


@_both("*")
def sorted_or_not(args, want, got, seen):
    """SORT … BY a pattern without an asterisk leaves the elements of a set in any order."""
    words = [w.upper() for w in args]
    by = args[words.index(b"BY", 2) + 1] if b"BY" in words[2:-1] else b"*"
    if b"*" in by:
        return "the elements, or their order"
    if b"LIMIT" in words:
        return None if len(want.value) == len(got.value) else "not as many elements"
    return None if same_multiset(want.value, got.value) else "not the same elements"


@_both("*")
def places(args, want, got, seen):
    """GEOSEARCH, GEORADIUS: without ASC or DESC in any order; with ANY any of those that match."""
    words = [w.upper() for w in args]
    if b"ANY" in words:
        return None if len(want.value) == len(got.value) else "not as many places"
    if b"ASC" in words or b"DESC" in words or b"COUNT" in words:
        return "the places, or their order"
    return None if same_multiset(want.value, got.value) else "not the same places"


# ---- encodings

# Redis 7.0's name -> the other name that Gyre, like 7.2 and later, may have for it. Whether the value is
# small enough for it is looked up (small_enough); when values change to it is tested in test_types.py.
NEWER_ENCODINGS = {b"hashtable": b"listpack", b"quicklist": b"listpack"}
QUICKLIST_NODE_BYTES = {-1: 4096, -2: 8192, -3: 16384, -4: 32768, -5: 65536}


def small_enough(ask, key):
    """None if a value may be a listpack under Gyre's present settings, else why not. `ask(*command)`."""

    def limit(name):
        reply = ask("CONFIG", "GET", name)
        if reply.is_error() or not reply.value:
            return None
        return int(pairs(reply)[0][1].value)

    kind = ask("TYPE", key).value
    if kind == b"set":
        members = [m.value for m in ask("SMEMBERS", key).value]
        most, longest = limit("set-max-listpack-entries"), limit("set-max-listpack-value")
        if most is not None and len(members) > most:
            return f"a listpack of {len(members)} members; set-max-listpack-entries is {most}"
        if longest is not None and any(len(m) > longest for m in members):
            return f"a listpack with a member of more than {longest} bytes"
        return None
    if kind == b"list":
        items = [m.value for m in ask("LRANGE", key, 0, -1).value]
        most = limit("list-max-listpack-size")
        if most > 0 and len(items) > most:
            return f"a listpack of {len(items)} elements; list-max-listpack-size is {most}"
        # Integers take fewer bytes than their digits; so only what is no number counts here.
        total = sum(len(i) for i in items if not re.fullmatch(rb"-?[0-9]+", i))
        most_bytes = QUICKLIST_NODE_BYTES.get(most, 8192)
        if len(items) > 1 and total > most_bytes:
            return f"a listpack of {total} bytes; list-max-listpack-size is {most}"
        return None
    return f"a {kind.decode()} as listpack"


def encodings_alike(want, got, ask, key, words=()):
    """None if two encodings' names mean the same. `ask` may be None; `words`: those of the case."""
    if want == got:
        return None
    # Redis's SORT turns a small sorted set into a big one.
    if (want, got) == (b"skiplist", b"listpack") and not {b"SORT", b"SORT_RO"}.isdisjoint(words):
        return None
    if NEWER_ENCODINGS.get(want) != got:
        return f"{got}, want {want}"
    return small_enough(ask, key) if ask else None


@_both("$")
def encoding(args, want, got, seen):
    ask = seen.get("ask")
    return encodings_alike(
        want.value, got.value, ask and (lambda *words: ask("gyre", *words)), args[2], seen["words"]
    )


# ---- DUMP

# The first byte of a payload, by the type of value that it begins.
RDB_TYPES = {
    "string": (0,),
    "list": (1, 10, 14, 18),
    "set": (2, 11, 20),
    "zset": (3, 5, 12, 17),
    "hash": (4, 9, 13, 16, 22, 23, 24, 25),
    "stream": (15, 19, 21),
}


@_both("$")
def dumped(args, want, got, seen):
    """Another encoding or compression is fair, if redis-server makes the same value of it."""
    if len(got.value) < 11:
        return "too short for a payload"
    types = [
        [t for t, codes in RDB_TYPES.items() if p[0] in codes] for p in (want.value, got.value)
    ]
    if types[0] != types[1]:
        return f"a payload of type {types[1]}, want {types[0]}"
    ask = seen.get("ask")
    if not ask:
        return None
    copy = b"restored:" + args[1]
    # A digest says whether there is a time to live, too.
    ttl = 0 if ask("redis", "TTL", args[1]).value < 0 else 1000000
    reply = ask("redis", "RESTORE", copy, ttl, got.value, "REPLACE")
    if reply.is_error():
        return f"redis-server cannot RESTORE it: {show(reply)}"
    digests = ask("redis", "DEBUG", "DIGEST-VALUE", args[1], copy).value
    ask("redis", "DEL", copy)
    return None if digests[0] == digests[1] else "redis-server RESTOREs another value"


# ---- streams

STREAM_TOLERANCE_MS = 5000
# Fields of XINFO that 7.2 added, or that are a matter of the layout alone.
NEW_STREAM_FIELDS = {b"inactive", b"active-time"}
LAYOUT_FIELDS = {b"radix-tree-nodes"}
# 7.4 counts more exactly after XDEL and XTRIM; [gyre] cases in streams/streams.txt say how.
LAG_FIELDS = {b"lag", b"entries-read"}
TIME_FIELDS = {b"idle", b"inactive", b"seen-time", b"active-time"}
_ID = re.compile(rb"([0-9]+)-([0-9]+)")


def _ids_alike(a, b):
    """Two ids that the servers made of their clocks: near each other, and near today."""
    x, y = _ID.fullmatch(a), _ID.fullmatch(b)
    if not x or not y:
        return False
    x, y = int(x.group(1)), int(y.group(1))
    return min(x, y) > 10**12 and abs(x - y) <= STREAM_TOLERANCE_MS


def _numbers_alike(a, b, is_time):
    if a == b:
        return True
    is_clock = min(a, b) > 10**12
    return (is_time or is_clock) and min(a, b) >= 0 and abs(a - b) <= STREAM_TOLERANCE_MS


def fields_of(reply):
    """[(name, value)] if the reply is a map or a flat array of names and values as XINFO's, else None."""
    if reply.kind == "%":
        return list(reply.value)
    is_flat = (
        reply.kind == "*"
        and reply.value
        and len(reply.value) % 2 == 0
        and all(k.kind == "$" and k.value and k.value[:1].islower() for k in reply.value[::2])
    )
    return pairs(reply) if is_flat else None


def _fields_alike(a, b):
    names = {k.value for k, _ in a}
    b = [(k, v) for k, v in b if k.value in names or k.value not in NEW_STREAM_FIELDS]
    if [k.value for k, _ in a] != [k.value for k, _ in b]:
        return f"fields {[k.value for k, _ in b]}, want {[k.value for k, _ in a]}"
    last = dict((k.value, v.value) for k, v in a).get(b"last-generated-id")
    # Ids that a clock made take more or fewer bytes, and so do nodes.
    layout = LAYOUT_FIELDS | ({b"radix-tree-keys"} if last and _ids_alike(last, last) else set())
    for (name, x), (_, y) in zip(a, b):
        if name.value in layout or name.value in LAG_FIELDS and {x.kind, y.kind} <= {":", "$", "_"}:
            continue
        if name.value == b"consumers" and x.kind == y.kind == ":" and y.value >= x.value:
            continue  # see _without_idle_consumers
        reason = alike(x, y, by_name=True, is_time=name.value in TIME_FIELDS)
        if reason:
            return f"{name.value.decode('latin-1')}: {reason}"
    return None


def _without_idle_consumers(want, got):
    """The consumers in `got` but for those that 7.0 does not know since they never got anything (7.2 makes
    every consumer that is named)."""

    def name_and_pending(consumer):
        fields = {k.value: v for k, v in fields_of(consumer) or []}
        if not fields.keys() & {b"seen-time", b"idle"}:
            return None
        return fields[b"name"], fields.get(b"pel-count", fields[b"pending"]).value

    found = [name_and_pending(c) for c in want + got]
    if None in found:
        return got
    names = {name for name, _ in found[: len(want)]}
    return [c for c, (name, n) in zip(got, found[len(want) :]) if name in names or n]


def alike(want, got, by_name=False, is_time=False):
    """None if two replies are the same but for what the clock put there. `by_name`: arrays may be names
    and values in turn (XINFO); `is_time`: this is a time, or an age."""
    if want == got:
        return None
    if want.kind != got.kind or want.value is None or got.value is None:
        return f"{show(got)}, want {show(want)}"
    if want.kind == ":":
        same = _numbers_alike(want.value, got.value, is_time)
        return None if same else f"{got.value}, want {want.value}"
    if isinstance(want.value, bytes):
        same = _ids_alike(want.value, got.value)
        return None if same else f"{show(got)}, want {show(want)}"
    if by_name and fields_of(want) and fields_of(got):
        return _fields_alike(fields_of(want), fields_of(got))
    a, b = want.value, got.value
    if want.kind == "%":
        a, b = ([x for pair in side for x in pair] for side in (a, b))
    if by_name and want.kind == "*":
        b = _without_idle_consumers(list(a), list(b))
    if len(a) != len(b):
        return f"{len(b)} elements, want {len(a)}"
    return next(filter(None, (alike(x, y, by_name, is_time) for x, y in zip(a, b))), None)


def stream_reply(args, want, got, seen):
    return alike(want, got)


def stream_info(args, want, got, seen):
    return alike(want, got, by_name=True)


@_both("*")
def pending(args, want, got, seen):
    """XPENDING: with a range, each entry's third element is how long ago it was delivered."""
    if len(args) == 3:
        return alike(want, got)
    if len(want.value) != len(got.value):
        return f"{len(got.value)} entries, want {len(want.value)}"
    for a, b in zip(want.value, got.value):
        if len(b.value) != 4 or b.value[2].kind != ":":
            return f"not an entry: {show(b)}"
        for i, (x, y) in enumerate(zip(a.value, b.value)):
            reason = alike(x, y, is_time=i == 2)
            if reason:
                return reason
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
    ("SCRIPT", "HELP"): help_text,
    ("FUNCTION", "HELP"): help_text,
    ("SLOWLOG", "HELP"): help_text,
    ("PUBSUB", "CHANNELS"): unordered,
    ("PUBSUB", "SHARDCHANNELS"): unordered,
    ("SMEMBERS",): unordered,
    ("SUNION",): unordered,
    ("SINTER",): unordered,
    ("SDIFF",): unordered,
    ("HKEYS",): unordered,
    ("HVALS",): unordered,
    ("HGETALL",): unordered_pairs,
    ("SRANDMEMBER",): random_elements,
    ("SPOP",): random_elements,
    ("HRANDFIELD",): random_elements,
    ("ZRANDMEMBER",): random_elements,
    ("SSCAN",): collection_page,
    ("HSCAN",): collection_page,
    ("ZSCAN",): collection_page,
    ("SORT",): sorted_or_not,
    ("SORT_RO",): sorted_or_not,
    ("GEOSEARCH",): places,
    ("GEORADIUS",): places,
    ("GEORADIUS_RO",): places,
    ("GEORADIUSBYMEMBER",): places,
    ("GEORADIUSBYMEMBER_RO",): places,
    ("OBJECT", "ENCODING"): encoding,
    ("DUMP",): dumped,
    ("XADD",): stream_reply,
    ("XRANGE",): stream_reply,
    ("XREVRANGE",): stream_reply,
    ("XREAD",): stream_reply,
    ("XREADGROUP",): stream_reply,
    ("XCLAIM",): stream_reply,
    ("XAUTOCLAIM",): stream_reply,
    ("XPENDING",): pending,
    ("XINFO", "STREAM"): stream_info,
    ("XINFO", "GROUPS"): stream_info,
    ("XINFO", "CONSUMERS"): stream_info,
    ("XINFO", "HELP"): help_text,
    ("XGROUP", "HELP"): help_text,
    ("PFDEBUG", "HELP"): help_text,
}


def comparator(args):
    words = tuple(a.upper().decode("latin-1") for a in args[:2])
    return COMPARATORS.get(words) or COMPARATORS.get(words[:1])
