# SPDX-License-Identifier: BSD-3-Clause
"""Every command on data with every type of value, as each of its keys.

EXAMPLES has a complete command for each name, K, K2 and K3 being its keys: from it come the matrix of
wrong types and what needs one correct command of each kind. What belongs to one type only is in
cases_collections.py and cases_special.py.
"""

import itertools

import cases_collections
import cases_special
from tables import by_chunk

# One of each type, under the key that is its name; what makes it.
MAKE = {
    "string": ("SET", "K", "text"),
    "number": ("SET", "K", "12"),
    "list": ("RPUSH", "K", "a", "b", "c", "3", "a"),
    "set": ("SADD", "K", "a", "b", "c", "3"),
    "intset": ("SADD", "K", "1", "2", "3"),
    "zset": ("ZADD", "K", "1", "a", "2", "b", "3", "c", "3", "3"),
    "hash": ("HSET", "K", "a", "1", "b", "text", "c", "3"),
    "stream": ("XADD", "K", "1-1", "a", "1"),
    "hll": ("PFADD", "K", "a", "b", "c"),
    "geo": ("GEOADD", "K", "13.361389", "38.115556", "a", "15.087269", "37.502669", "b"),
}

EXAMPLES = """
LPUSH K a b
RPUSH K a b
LPUSHX K a
RPUSHX K a
LPOP K
LPOP K 2
RPOP K
RPOP K 2
LLEN K
LRANGE K 0 -1
LINDEX K 0
LSET K 0 x
LINSERT K BEFORE a x
LREM K 0 a
LTRIM K 0 1
LPOS K a
LMOVE K K2 LEFT RIGHT
RPOPLPUSH K K2
LMPOP 2 K K2 LEFT
BLPOP K K2 0.001
BRPOP K K2 0.001
BLMPOP 0.001 2 K K2 LEFT
BLMOVE K K2 LEFT RIGHT 0.001
BRPOPLPUSH K K2 0.001
HSET K a 1
HMSET K a 1 b 2
HSETNX K x 1
HGET K a
HMGET K a x
HGETALL K
HDEL K a
HLEN K
HSTRLEN K a
HEXISTS K a
HKEYS K
HVALS K
HINCRBY K a 1
HINCRBYFLOAT K a 1.5
HRANDFIELD K -1
HSCAN K 0
SADD K a x
SREM K a
SCARD K
SISMEMBER K a
SMISMEMBER K a x
SMEMBERS K
SPOP K 1000
SRANDMEMBER K -1
SMOVE K K2 a
SSCAN K 0
SINTER K K2
SINTERCARD 2 K K2
SINTERSTORE K3 K K2
SUNION K K2
SUNIONSTORE K3 K K2
SDIFF K K2
SDIFFSTORE K3 K K2
ZADD K 1 a
ZADD K INCR 1 a
ZINCRBY K 1 a
ZCARD K
ZCOUNT K -inf +inf
ZLEXCOUNT K - +
ZSCORE K a
ZMSCORE K a x
ZRANK K a
ZREVRANK K a
ZRANGE K 0 -1
ZRANGESTORE K3 K 0 -1
ZRANGEBYSCORE K 0 10
ZRANGEBYLEX K - +
ZREVRANGE K 0 -1
ZREVRANGEBYSCORE K 10 0
ZREVRANGEBYLEX K + -
ZREM K a
ZREMRANGEBYRANK K 0 0
ZREMRANGEBYSCORE K 0 1
ZREMRANGEBYLEX K - [a
ZPOPMIN K
ZPOPMAX K 2
ZMPOP 2 K K2 MIN
BZPOPMIN K K2 0.001
BZPOPMAX K K2 0.001
BZMPOP 0.001 2 K K2 MIN
ZRANDMEMBER K -1
ZSCAN K 0
ZUNION 2 K K2 WITHSCORES
ZUNIONSTORE K3 2 K K2
ZINTER 2 K K2 WITHSCORES
ZINTERSTORE K3 2 K K2
ZDIFF 2 K K2 WITHSCORES
ZDIFFSTORE K3 2 K K2
ZINTERCARD 2 K K2
SETBIT K 1 1
GETBIT K 1
BITCOUNT K
BITPOS K 1
BITOP AND K3 K K2
BITOP NOT K3 K
BITFIELD K GET u8 0
BITFIELD K SET u8 0 1
BITFIELD_RO K GET u8 0
PFADD K a
PFCOUNT K
PFCOUNT K K2
PFMERGE K K2
PFMERGE K3 K K2
PFDEBUG ENCODING K
PFDEBUG GETREG K
GEOADD K 13 38 a
GEOPOS K a
GEODIST K a b
GEOHASH K a
GEOSEARCH K FROMLONLAT 15 37 BYRADIUS 200 km ASC
GEOSEARCHSTORE K3 K FROMLONLAT 15 37 BYRADIUS 200 km ASC
GEORADIUS K 15 37 200 km ASC
GEORADIUS_RO K 15 37 200 km ASC
GEORADIUSBYMEMBER K a 200 km ASC
GEORADIUSBYMEMBER_RO K a 200 km ASC
GEORADIUS K 15 37 200 km STORE K3
XADD K 5-1 f v
XLEN K
XRANGE K - +
XREVRANGE K + -
XDEL K 1-1
XTRIM K MAXLEN 0
XREAD COUNT 2 STREAMS K 0
XREAD BLOCK 1 STREAMS K $
XGROUP CREATE K g 0
XGROUP CREATE K g 0 MKSTREAM
XGROUP SETID K g 0
XGROUP DESTROY K g
XGROUP CREATECONSUMER K g c
XGROUP DELCONSUMER K g c
XREADGROUP GROUP g c STREAMS K >
XREADGROUP GROUP g c BLOCK 1 STREAMS K >
XACK K g 1-1
XPENDING K g
XCLAIM K g c 0 1-1
XAUTOCLAIM K g c 0 0
XINFO STREAM K
XINFO GROUPS K
XINFO CONSUMERS K g
XSETID K 9-9
SORT K ALPHA
SORT K ALPHA STORE K3
SORT_RO K ALPHA
GET K
SET K v
APPEND K x
STRLEN K
INCR K
GETRANGE K 0 1
SETRANGE K 0 x
GETSET K v
GETDEL K
GETEX K
MGET K K2
LCS K K2
DEL K K2
UNLINK K
EXISTS K K2
TOUCH K K2
TYPE K
RENAME K K2
RENAMENX K K2
COPY K K2 REPLACE
MOVE K 1
EXPIRE K 1000
PERSIST K
OBJECT ENCODING K
DUMP K
DEBUG DIGEST-VALUE K
""".strip().split("\n")


def _named(words, keys):
    return [keys.get(w, w) for w in words]


def example(line, **keys):
    """The example's words with its keys' names put in."""
    return _named(line.split(), keys)


def made(kind, key):
    """The commands that make a value of this kind ("missing": none)."""
    return [_named(MAKE[kind], {"K": key})] if kind != "missing" else []


def _after(*keys):
    """Commands that show what has become of keys."""
    return [("TYPE", k) for k in keys]


def wrong_types():
    """Every command on every type, as its first key and as its second."""
    kinds = ["missing", *MAKE]
    for kind in kinds:
        out = []
        for line in EXAMPLES:
            out += [("DEL", "k", "other", "to"), *made(kind, "k")]
            out += [example(line, K="k", K2="other", K3="to"), *_after("k", "other", "to")]
        yield from by_chunk(f"every command on a {kind} key", out)
    for kind in kinds:
        out = []
        for line in (l for l in EXAMPLES if " K2" in l):
            for first in kinds:
                out += [("DEL", "k", "other", "to"), *made(first, "k"), *made(kind, "other")]
                out += [example(line, K="k", K2="other", K3="to"), *_after("k", "other", "to")]
        yield from by_chunk(f"every command with a {kind} as second key", out)
    out = []
    for line in (l for l in EXAMPLES if " K3" in l):
        for first, kind in itertools.product(kinds, kinds):
            out += [("DEL", "k", "other", "to"), *made(first, "k"), *made(kind, "to")]
            out += [example(line, K="k", K2="other", K3="to"), *_after("to")]
    yield from by_chunk("every command that stores, over every type", out)
    out = []
    for line in (l for l in EXAMPLES if " K2" in l or " K3" in l):
        for kind in MAKE:
            out += [
                ("DEL", "k"),
                *made(kind, "k"),
                example(line, K="k", K2="k", K3="k"),
                *_after("k"),
            ]
    yield from by_chunk("one key for all of a command's keys", out)


def keys_of_commands():
    out = [["COMMAND", "GETKEYS", *example(l, K="k", K2="other", K3="to")] for l in EXAMPLES]
    out += [
        ["COMMAND", "GETKEYSANDFLAGS", *example(l, K="k", K2="other", K3="to")] for l in EXAMPLES
    ]
    yield from by_chunk("COMMAND GETKEYS of every command", out)


TABLES = {
    "wrong types": wrong_types,
    "keys of commands": keys_of_commands,
    **cases_collections.TABLES,
    **cases_special.TABLES,
}
