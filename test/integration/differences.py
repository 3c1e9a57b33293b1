# SPDX-License-Identifier: BSD-3-Clause
"""The documented differences between Gyre and Debian's redis-server 7.0.15: the only list of them.

A difference excuses a reply only where all of its patterns match: `command` on the command (first word
upper-case, words separated by one space), `redis` and `gyre` on the raw RESP of each reply. So a difference
cannot hide anything but what it describes. Each has its reason. Gyre follows Redis 7.4; where 7.4 itself
differs from the 7.0 oracle, the reason says "7.2:" or "7.4:".
"""

import re
from typing import NamedTuple


class Difference(NamedTuple):
    command: str
    redis: str
    gyre: str
    reason: str


DIFFERENCES = [
    Difference(
        r"^CLIENT SETINFO ",
        r"^-ERR unknown subcommand",
        r"^(\+OK|-ERR )",
        "7.2: CLIENT SETINFO is new; Gyre follows 7.4 (its own tests: test_clients.py)",
    ),
    Difference(
        r"(?i)^CLIENT SETINFO( \S+)?$",
        r"^-ERR unknown subcommand",
        r"^-ERR wrong number of arguments",
        "7.2: CLIENT SETINFO is new",
    ),
    Difference(
        r"(?i)^CLIENT NO-TOUCH",
        r"^-ERR unknown subcommand",
        r"^(\+OK|-ERR )",
        "7.2: CLIENT NO-TOUCH is new",
    ),
    Difference(
        r"(?i)^CLIENT KILL .*MAXAGE",
        r"^-ERR syntax error",
        r"^(:|-ERR )",
        "7.4: CLIENT KILL MAXAGE is new",
    ),
    Difference(
        r"^CONFIG SET loglevel ",
        r"one of the following: debug, verbose, notice, warning\r",
        r"one of the following: debug, verbose, notice, warning, nothing\r",
        "7.2: the log level `nothing` is new",
    ),
    Difference(
        r"(?i)^DEBUG (STRINGMATCH-LEN|DICT-RESIZING|PAUSE-CRON|REPLYBUFFER|SET-DISABLE-DENY-SCRIPTS)\b",
        r"^-ERR unknown subcommand",
        r"^(\+OK|:\d+)\r",
        "DEBUG subcommands that Debian's 7.0.15 does not know and that 7.2 or 7.4 does",
    ),
    Difference(
        r"^CONFIG SET set-max-listpack-(entries|value) ",
        r"^-ERR Unknown option",
        r"^(\+OK|-ERR )",
        "7.2: small sets are listpacks, with settings of their own",
    ),
    Difference(
        r"^HELLO\b",
        r"^-NOAUTH HELLO must be called .* otherwise the HELLO AUTH <user> <pass> option",
        r"^-NOAUTH HELLO must be called .* otherwise the HELLO <proto> AUTH <user> <pass> option",
        "7.2: the hint in the error names the protocol too",
    ),
    Difference(
        r"(?i)^XREAD(GROUP)?\b",
        r"^-ERR Unbalanced XREAD list of streams: for each stream key an ID or '\$' must be specified",
        r"^-ERR Unbalanced '(xread' .* an ID, '\+', or '\$'|xreadgroup' .* an ID or '>') must be specified",
        "7.2, 7.4: the error names the command, and the ids that it knows",
    ),
    Difference(
        r"(?i)^XREAD .*\+",
        r"^-ERR Invalid stream ID",
        r"^([*%]|\$-1|_\r)",
        "7.4: XREAD knows + as the last entry",
    ),
    Difference(
        r"(?i)^XREADGROUP .*\+",
        r"^-ERR Invalid stream ID",
        r"^-ERR The \+ ID is meaningless",
        "7.4: XREAD knows + as the last entry, and XREADGROUP says that it does not",
    ),
    Difference(
        r"(?i)^XADD .*-\*",
        r"^-ERR Elements are too large to be stored",
        r"^-ERR The ID specified in XADD is equal or smaller than the target stream top item",
        "7.0 answers another error's text when the sequence of an incomplete id is exhausted",
    ),
    Difference(
        r"(?i)^XGROUP CREATECONSUMER ",
        r"^:1\r",
        r"^:0\r",
        "7.2: XREADGROUP, XCLAIM and XAUTOCLAIM make the consumer that they name even if it gets nothing",
    ),
    Difference(
        r"(?i)^XREADGROUP .*BLOCK",
        r"^-(UNBLOCKED the stream key no longer exists"
        r"|NOGROUP the consumer group this client was blocked on no longer exists)\r",
        r"^-(NOGROUP No such key '.*' or consumer group '.*' in XREADGROUP with GROUP option|WRONGTYPE .*)\r",
        "7.2: who waits for a stream or group that goes is told what the command would answer then",
    ),
    Difference(
        r"""^EVAL "return os" 0$""",
        r"^-ERR user_script:1: Script attempted to access nonexistent global variable 'os'",
        r"^\*0\r",
        "7.4: scripts have os.clock",
    ),
    Difference(
        r"(?i)^B(L|R|Z)",
        r"^-ERR timeout is negative",
        r"^-ERR timeout is out of range",
        "7.2: a timeout that no clock reaches is out of range; 7.0 overflows and calls it negative",
    ),
    Difference(
        r"(?i)^WAIT \S+ 922337\d+",
        r"^:0\r",
        r"^-ERR timeout is out of range",
        "7.2: a timeout that no clock reaches is out of range; 7.0 overflows",
    ),
    Difference(
        r"(?i)^Z(REV)?RANK .",
        r"^-ERR wrong number of arguments for 'z(rev)?rank' command",
        r"^(-ERR syntax error|\*-1|_|\*2\r)",
        "7.2: ZRANK and ZREVRANK WITHSCORE are new, and with them what stands in the third place is an option",
    ),
]

# (command, what) -> reason, for COMMAND INFO; `what` is one of arity, flags, keys, acl, specs.
COMMAND_DIFFERENCES = {
    ("zrank", "arity"): "7.2: WITHSCORE",
    ("zrevrank", "arity"): "7.2: WITHSCORE",
}

# What redis-cli shows of a command's arguments, where 7.4's documentation has other words than 7.0's.
HINT_DIFFERENCES = {
    "hscan": "HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
    "zrank": "ZRANK key member [WITHSCORE]",
    "zrevrank": "ZREVRANK key member [WITHSCORE]",
    "pfmerge": "PFMERGE destkey [sourcekey [sourcekey ...]]",
    "geopos": "GEOPOS key [member [member ...]]",
    "geohash": "GEOHASH key [member [member ...]]",
    "xgroup": "XGROUP SETID key groupname id|$ [ENTRIESREAD entries-read]",
    "xclaim": "XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] "
    "[RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]",
    "xsetid": "XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
}

# Fields of INFO that redis-server 7.0 has and that have no meaning in Gyre.
INFO_WITHOUT_MEANING = {
    "gcc_version": "says how Redis was built",
    "monotonic_clock": "says how Redis was built",
    "multiplexing_api": "Redis's event loop; Gyre reports its own backend",
    "atomicvar_api": "says how Redis was built",
    "process_supervised": "Redis's own supervision modes",
    "redis_git_sha1": "says how Redis was built",
    "redis_git_dirty": "says how Redis was built",
    "redis_build_id": "says how Redis was built",
    "aof_rewrite_in_progress": "there is no fork to watch over",
}

# Parameters of CONFIG GET whose default value Gyre need not share, with the reason.
CONFIG_DIFFERENCES = {}


def excused(command, redis_raw, gyre_raw):
    """The Difference that explains two different replies, or None."""
    redis_text, gyre_text = redis_raw.decode("latin-1"), gyre_raw.decode("latin-1")
    for difference in DIFFERENCES:
        if (
            re.search(difference.command, command)
            and re.search(difference.redis, redis_text)
            and re.search(difference.gyre, gyre_text)
        ):
            return difference
    return None
