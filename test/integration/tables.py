# SPDX-License-Identifier: BSD-3-Clause
"""What cases.py and cases_types.py make their tables of: edge numbers, and ways to combine."""

import itertools

from differential import case

INTEGERS = (
    b"0",
    b"1",
    b"-1",
    b"-0",
    b"+1",
    b"01",
    b" 1",
    b"1 ",
    b"",
    b"a",
    b"1.0",
    b"1e3",
    b"0x10",
    b"1\x00",
    b"2147483647",
    b"2147483648",
    b"-2147483649",
    b"4294967296",
    b"9223372036854775806",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551615",
    b"18446744073709551616",
    b"99999999999999999999999",
    b"--1",
    b"-",
    b"+",
)
FLOATS = (
    b"0",
    b"-0",
    b"0.1",
    b"-0.1",
    b"1.5",
    b"3.0",
    b"1e3",
    b"1E3",
    b"1e+3",
    b"1e-3",
    b"5.0e-1",
    b".5",
    b"5.",
    b"0.30000000000000004",
    b"1e17",
    b"1e18",
    b"1e300",
    b"-1e300",
    b"1e308",
    b"1.7976931348623157e308",
    b"1e309",
    b"1e4000",
    b"1e4932",
    b"1e4933",
    b"1e-300",
    b"1e-4000",
    b"1e-5000",
    b"inf",
    b"-inf",
    b"nan",
    b"infinity",
    b"0x1p3",
    b"0xff",
    b" 1",
    b"1 ",
    b"1\x00",
    b"",
    b"abc",
    b"1e",
    b"e1",
    b"1.2.3",
    b"+1",
    b"+-1",
    b"1f",
    b"9007199254740993",
    b"9223372036854775807",
    b"18446744073709551616",
    b"123456789.123456789",
    b"0.00000000000000001",
    b"0.000000000000000001",
)


def words_of(options):
    """("LIMIT 0 1", "ASC") as separate words; an option may be bytes."""
    return [w for option in options for w in option.split()]


def combinations(options, most):
    """Every choice of up to `most` options, in every order."""
    for n in range(most + 1):
        yield from itertools.permutations(options, n)


def flat(lists):
    return [x for inner in lists for x in inner]


def by_chunk(name, commands, size=600, first=()):
    """Cases of at most `size` commands each; each begins with `first`, a command or a list of them."""
    commands = list(commands)
    setup = (
        list(first) if isinstance(first, list) and isinstance(first[0], (list, tuple)) else [first]
    )
    for i in range(0, len(commands), size):
        yield case(f"{name} ({i})", *(setup if first else ()), *commands[i : i + size])
