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
        r"^HELLO\b",
        r"^-NOAUTH HELLO must be called .* otherwise the HELLO AUTH <user> <pass> option",
        r"^-NOAUTH HELLO must be called .* otherwise the HELLO <proto> AUTH <user> <pass> option",
        "7.2: the hint in the error names the protocol too",
    ),
]

# (command, what) -> reason, for COMMAND INFO; `what` is one of arity, flags, keys, acl, specs.
COMMAND_DIFFERENCES = {}

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
