# SPDX-License-Identifier: BSD-3-Clause
"""Who is served what when several connections act in a fixed order, some of them waiting.

A scenario is a list of lines; all connections speak in turn:

    a? BLPOP {q} 0          sends it and goes on once the server counts one more blocked client;
                            several commands between semicolons are one write
    b> RPUSH {q} x          sends it and reads the reply
    a<                      reads a reply, which must come
    a-                      nothing has come
    a~ PING                 sends it and reads nothing
    a! 1                    closes the connection; 1 fewer is blocked afterwards (0: as many as before)
    blocked 2               so many clients are blocked

{q} is a key whose name differs from round to round, so that over the rounds the keys of a scenario lie
on one shard or on several. <id:a> is connection a's id, <rep:x:9> nine x,
<dump:q> what DUMP {q} answers. Each reply must be redis-server's,
byte for byte. A scenario with [gyre] runs on Gyre alone; there `-->` says what came last.
"""

SCENARIOS = """
== an element goes to the client that waits for it
a? BLPOP {q} 0
b> RPUSH {q} x
a<
b> EXISTS {q}
a> GET none

== each of the commands
a? BLPOP {q} 0
b> RPUSH {q} x y
a<
a? BRPOP {r} 0
b> RPUSH {r} x y
a<
a? BLMPOP 0 2 {s} {t} LEFT COUNT 3
b> RPUSH {t} 1 2 3 4
a<
a? BLMPOP 0 1 {u} RIGHT
b> RPUSH {u} 1 2 3 4
a<
a? BLMOVE {v} {w} LEFT RIGHT 0
b> RPUSH {v} 1 2
a<
a? BRPOPLPUSH {x} {w} 0
b> RPUSH {x} 3 4
a<
b> LRANGE {w} 0 -1
a? BZPOPMIN {z} 0
b> ZADD {z} 1 a 2.5 b
a<
a? BZPOPMAX {y} 0
b> ZADD {y} 1 a 2.5 b inf c
a<
a? BZMPOP 0 1 {o} MIN COUNT 2
b> ZADD {o} 1 a 2.5 b 3 c
a<
a? BZMPOP 0 1 {p} MAX
b> ZADD {p} 1 a 2.5 b 3 c
a<
a? XREAD BLOCK 0 STREAMS {m} $
b> XADD {m} 1-1 f v
a<
b> XGROUP CREATE {n} g $ MKSTREAM
a? XREADGROUP GROUP g c BLOCK 0 STREAMS {n} >
b> XADD {n} 1-1 f v
a<
b> XPENDING {n} g
blocked 0

== first come, first served
a? BLPOP {q} 0
c? BLPOP {q} 0
d? BRPOP {q} 0
b> RPUSH {q} 1
a<
c-
b> RPUSH {q} 2
c<
d-
b> RPUSH {q} 3 4
d<
b> LRANGE {q} 0 -1

== several are served by one push
a? BLPOP {q} 0
c? BLPOP {q} 0
d? BLPOP {q} 0
b> RPUSH {q} 1 2 3 4
a<
c<
d<
b> LRANGE {q} 0 -1

== who waited, was served and waits again is last
a? BLPOP {q} 0
c? BLPOP {q} 0
b> RPUSH {q} 1
a<
a? BLPOP {q} 0
b> RPUSH {q} 2
c<
a-
b> RPUSH {q} 3
a<

== the order of the keys matters only when there is something already
b> RPUSH {r} 1
b> RPUSH {s} 2
a> BLPOP {q} {s} {r} 0
a> BLPOP {q} {s} {r} 0
a? BLPOP {q} {s} {r} 0
b> MULTI
b> RPUSH {r} 3
b> RPUSH {q} 4
b> EXEC
a<
b> EXISTS {q} {r} {s}

== the key that was first made ready in a transaction is served
a? BLPOP {q} {r} {s} 0
b> MULTI
b> RPUSH {s} 1
b> RPUSH {r} 2
b> RPUSH {q} 3
b> EXEC
a<
b> EXISTS {q} {r} {s}

== a key named twice
a? BLPOP {q} {r} {q} 0
c? BLPOP {q} {q} 0
b> RPUSH {q} 1 2
a<
c<
b> RPUSH {r} 1
b> LLEN {r}

== what is pushed and taken within a transaction wakes nobody
a? BLPOP {q} {r} 0
b> MULTI
b> RPUSH {q} 1
b> DEL {q}
b> RPUSH {q} 2
b> LPOP {q}
b> EXEC
a-
b> MULTI
b> RPUSH {q} 1
b> DEL {q}
b> SET {q} 1
b> EXEC
a-
b> DEL {q}
b> MULTI
b> RPUSH {q} 1
b> DEL {q}
b> RPUSH {q} 2
b> EXEC
a<

== another type leaves the client waiting
a? BLPOP {q} 0
c? BZPOPMIN {q} 0
d? XREAD BLOCK 0 STREAMS {q} 0
b> SET {q} 1
b> DEL {q}
b> SADD {q} 1
b> DEL {q}
b> HSET {q} a 1
a-
b> DEL {q}
b> XADD {q} 1-1 a b
d<
b> DEL {q}
b> ZADD {q} 1 m
c<
a-
b> RPUSH {q} x
a<

== at once another type is an error
b> SET {q} 1
b> RPUSH {r} x
a> BLPOP {q} {r} 0
a> BLPOP {r} {q} 0
a> BZPOPMIN {q} 0
a> BLMPOP 0 1 {q} LEFT
a> BZMPOP 0 1 {q} MIN
a> BLMOVE {q} {r} LEFT LEFT 0
b> RPUSH {r} x
a> BLMOVE {r} {q} LEFT LEFT 0
b> LLEN {r}

== many keys
a? BLPOP {a} {b} {c} {d} {e} {f} {g} {h} {i} {j} {k} {l} {m} {n} {o} {p} {q} {r} {s} {t} {u} {v} {w} {x} {y} {z} {aa} {bb} {cc} {dd} {ee} {ff} {gg} {hh} {ii} {jj} 0
c? BRPOP {jj} {ii} {hh} {gg} {ff} {ee} {dd} {cc} {bb} {aa} {z} {y} {x} {w} {v} {u} {t} {s} {r} {q} {p} {o} {n} {m} {l} {k} {j} {i} {h} {g} {f} {e} {d} {c} {b} {a} 0
b> RPUSH {r} 1
a<
b> RPUSH {dd} 2
c<
b> RPUSH {a} 1
b> RPUSH {jj} 1
b> EXISTS {a} {jj}
blocked 0

== BLMOVE to a key of another type: an error, and the element stays
b> SET {r} 1
a? BLMOVE {q} {r} LEFT RIGHT 0
b> RPUSH {q} x
a<
b> LRANGE {q} 0 -1
a> PING

== BRPOPLPUSH to a key of another type does not hold up who waits behind it
b> SET {r} 1
a? BRPOPLPUSH {q} {r} 0
c? BLPOP {q} 0
b> RPUSH {q} x
a<
c<
b> EXISTS {q}

== a chain of three
a? BLMOVE {q} {r} LEFT RIGHT 0
c? BLMOVE {r} {s} LEFT RIGHT 0
d? BLPOP {s} 0
b> RPUSH {q} x
a<
c<
d<
b> EXISTS {q} {r} {s}

== a chain built from its end
d? BLPOP {s} 0
c? BRPOPLPUSH {r} {s} 0
a? BRPOPLPUSH {q} {r} 0
b> RPUSH {q} x y
a<
c<
d<
b> LRANGE {q} 0 -1

== a circle
a? BLMOVE {q} {r} LEFT RIGHT 0
c? BLMOVE {r} {q} LEFT RIGHT 0
b> RPUSH {q} x
a<
c<
b> LRANGE {q} 0 -1
b> EXISTS {r}

== who is behind in a chain sees its end, never its middle
a? BLMOVE {q} {r} LEFT LEFT 0
c? BLMOVE {r} {s} LEFT LEFT 0
b> RPUSH {q} x ; LPOP {r} ; LLEN {s}
a<
c<

== first all who wait for one key, then those for what they moved it to
a? BLMOVE {r} {s} RIGHT RIGHT 0
c? BRPOPLPUSH {q} {r} 0
d? BLMOVE {q} {s} RIGHT LEFT 0
e? BRPOP {s} 0
b> RPUSH {q} v5 v6
a<
c<
d<
e<
b> LRANGE {s} 0 -1

== the key that a transaction readied first serves first, whoever needs how many shards
a? BLMOVE {q} {r} LEFT LEFT 0
c? BLPOP {s} {q} 0
b> MULTI ; RPUSH {q} 1 2 ; RPUSH {s} 3 ; EXEC
a<
c<
b> LRANGE {q} 0 -1
b> LRANGE {s} 0 -1

== one who waits to move an element to the same key, then one to another
a? BLMOVE {q} {q} LEFT RIGHT 0
c? BLMOVE {q} {r} LEFT RIGHT 0
d? BLPOP {q} 0
b> RPUSH {q} 1 2 3
a<
c<
d<
b> LRANGE {q} 0 -1

== BRPOPLPUSH of a key to itself
a? BRPOPLPUSH {q} {q} 0
b> RPUSH {q} 1
a<
c? BRPOPLPUSH {r} {r} 0
d? BLPOP {r} 0
b> RPUSH {r} 1
c<
d<
a? BLMOVE {s} {s} LEFT RIGHT 0
b> RPUSH {s} 1 2 3
a<
b> LRANGE {s} 0 -1

== BLMOVE to a key that somebody waits for
a? BLPOP {r} 0
c? BLMOVE {q} {r} LEFT LEFT 0
b> RPUSH {q} 1 2
c<
a<
b> LRANGE {q} 0 -1

== BLMOVE at once wakes who waits for the destination
a? BLPOP {r} 0
b> RPUSH {q} 1
c> BLMOVE {q} {r} LEFT LEFT 0
a<
b> RPUSH {q} 2
a? BLPOP {r} 0
c> LMOVE {q} {r} LEFT LEFT
a<
b> RPUSH {q} 3
a? BLPOP {r} 0
c> RPOPLPUSH {q} {r}
a<

== several BLMOVEs from one list
a? BLMOVE {q} {r} LEFT RIGHT 0
c? BLMOVE {q} {s} LEFT RIGHT 0
d? BLMOVE {q} {t} LEFT RIGHT 0
b> RPUSH {q} 1 2 3 4
a<
c<
d<
b> LRANGE {r} 0 -1
b> LRANGE {s} 0 -1
b> LRANGE {t} 0 -1
b> LRANGE {q} 0 -1

== BLMPOP counts
a? BLMPOP 0 1 {q} LEFT COUNT 3
c? BLMPOP 0 1 {q} RIGHT COUNT 3
d? BLMPOP 0 1 {q} RIGHT COUNT 3
b> RPUSH {q} 1 2 3 4
a<
c<
d-
b> LPUSH {q} 5
d<

== BZMPOP counts
a? BZMPOP 0 2 {r} {q} MIN COUNT 2
c? BZMPOP 0 2 {q} {r} MAX COUNT 5
b> ZADD {q} 1 a 2 b 3 c
a<
c<
b> EXISTS {q}

== sorted sets: in order of arrival, each what it wants
a? BZPOPMIN {q} 0
c? BZPOPMAX {q} 0
d? BZPOPMIN {r} {q} 0
b> ZADD {q} 1 a 2 b 3 c 4 d
a<
c<
d<
b> ZRANGE {q} 0 -1 WITHSCORES

== push and pop: lists and sorted sets wait at one key
a? BLPOP {q} 0
c? BZPOPMIN {q} 0
b> ZADD {q} 1 x
c<
b> RPUSH {q} y
a<

== MULTI wakes when it is done
a? BLPOP {q} 0
b> MULTI
b> RPUSH {q} 1
b> RPUSH {q} 2
b> LPUSH {q} 0
b> EXEC
a<
b> LRANGE {q} 0 -1

== inside MULTI nothing waits, and others wait on
a? BLPOP {q} 0
b> MULTI
b> BLPOP {q} 0
b> RPUSH {q} 1
b> BLPOP {q} 0
b> BLMOVE {q} {r} LEFT LEFT 0
b> RPUSH {q} 2
b> EXEC
a<

== RENAME makes a key ready
a? BLPOP {q} 0
b> RPUSH {r} 1 2
b> RENAME {r} {q}
a<
b> LRANGE {q} 0 -1
a? BZPOPMIN {s} 0
b> ZADD {t} 1 a
b> RENAMENX {t} {s}
a<
a? XREAD BLOCK 0 STREAMS {u} 0
b> XADD {v} 5-1 a b
b> RENAME {v} {u}
a<

== COPY makes a key ready
a? BLPOP {q} 0
b> RPUSH {r} 1 2
b> COPY {r} {q}
a<
b> LRANGE {q} 0 -1
b> LRANGE {r} 0 -1

== SORT STORE makes a key ready
a? BLPOP {q} 0
b> RPUSH {r} 3 1 2
b> SORT {r} STORE {q}
a<
b> LRANGE {q} 0 -1

== stored sorted sets make a key ready
a? BZPOPMIN {q} 0
b> ZADD {r} 1 a 2 b
b> ZUNIONSTORE {q} 1 {r}
a<
a? BZPOPMAX {s} 0
b> ZRANGESTORE {s} {r} 0 -1
a<
a? BZPOPMAX {t} 0
b> GEOADD {t} 13 38 here
a<
a? BZPOPMIN {u} 0
b> ZINCRBY {u} 5 m
a<
a? BZPOPMIN {v} 0
b> GEOSEARCHSTORE {v} {w} FROMLONLAT 15 37 BYRADIUS 200 km
a-
b> GEOADD {w} 15 37 there
b> GEOSEARCHSTORE {v} {w} FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST
a<

== SWAPDB and MOVE make a key ready
a? BLPOP {q} 0
b> SELECT 9
b> RPUSH {q} moved
b> MOVE {q} 0
a<
a? BLPOP {q} 0
b> RPUSH {q} swapped
b> SWAPDB 0 9
a<
b> SELECT 0
b> DBSIZE
b> SELECT 9
b> DBSIZE

== who waits in one database does not wait in another
a> SELECT 3
a? BLPOP {q} 0
b> RPUSH {q} 0
a-
b> SELECT 3
b> RPUSH {q} 3
a<
b> DBSIZE
b> SELECT 0
b> DBSIZE

== FLUSHALL leaves clients waiting
a? BLPOP {q} 0
c? XREAD BLOCK 0 STREAMS {s} $
b> FLUSHALL
b> FLUSHDB
a-
b> RPUSH {q} x
a<
b> XADD {s} 1-1 a b
c<

== XREAD: everybody gets every entry
a? XREAD BLOCK 0 STREAMS {s} $
c? XREAD BLOCK 0 COUNT 1 STREAMS {s} 0
d? XREAD BLOCK 0 STREAMS {t} {s} 0 1-1
b> MULTI
b> XADD {s} 1-1 a b
b> XADD {s} 2-1 c d
b> EXEC
a<
c<
d<

== XREAD: $ is what was last when it was said
b> XADD {s} 5-1 a b
a? XREAD BLOCK 0 STREAMS {s} {t} $ 7-1
b> XADD {t} 7-1 c d
a-
b> XADD {s} 5-2 c d
a<
b> XSETID {s} 9-1
a? XREAD BLOCK 0 STREAMS {s} $
b> XADD {s} 9-2 e f
a<

== XREAD: a key named twice counts once
a? XREAD BLOCK 0 STREAMS {s} {s} 5 0
b> XADD {s} 1-1 a b
a-
b> XADD {s} 9-1 a b
a<

== XREAD: of several streams the first made ready
a? XREAD BLOCK 0 STREAMS {s} {t} 0 0
b> MULTI
b> XADD {t} 1-1 a b
b> XADD {s} 2-1 a b
b> EXEC
a<

== XREAD: a stream without entries does not serve
a? XREAD BLOCK 0 STREAMS {s} 0
b> XGROUP CREATE {s} g 0 MKSTREAM
a-
b> DEL {s}
a-
b> XADD {s} 1-1 a b
a<

== XREAD: the key becomes something else in between
a? XREAD BLOCK 0 STREAMS {s} 5
b> SET {s} 1
b> DEL {s}
b> XADD {s} 4-1 a b
a-
b> DEL {s}
b> XADD {s} 6-1 a b
a<

== XREADGROUP: one entry, one consumer, in order of arrival
b> XGROUP CREATE {s} g $ MKSTREAM
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
c? XREADGROUP GROUP g bob BLOCK 0 COUNT 1 STREAMS {s} >
d? XREADGROUP GROUP g carol BLOCK 0 STREAMS {s} >
b> XADD {s} 1-1 n 1
a<
c-
b> MULTI
b> XADD {s} 2-1 n 2
b> XADD {s} 3-1 n 3
b> XADD {s} 4-1 n 4
b> EXEC
c<
d<
b> XPENDING {s} g
b> XINFO GROUPS {s}

== XREADGROUP: two groups and a reader
b> XGROUP CREATE {s} g $ MKSTREAM
b> XGROUP CREATE {s} h $
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
c? XREADGROUP GROUP h bob BLOCK 0 STREAMS {s} >
d? XREAD BLOCK 0 STREAMS {s} $
b> XADD {s} 1-1 n 1
a<
c<
d<

== XREADGROUP: NOACK
b> XGROUP CREATE {s} g $ MKSTREAM
a? XREADGROUP GROUP g alice NOACK BLOCK 0 STREAMS {s} >
b> XADD {s} 1-1 n 1
a<
b> XPENDING {s} g

== XREADGROUP: two streams
b> XGROUP CREATE {s} g $ MKSTREAM
b> XGROUP CREATE {t} g $ MKSTREAM
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} {t} > >
b> XADD {t} 1-1 n 1
a<
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} {t} > >
b> XADD {s} 1-1 n 1
a<
b> XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} {t} > 0

== XREADGROUP: the group is destroyed
b> XGROUP CREATE {s} g $ MKSTREAM
b> XGROUP CREATE {s} h $
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
c? XREADGROUP GROUP h alice BLOCK 0 STREAMS {s} >
b> XGROUP DESTROY {s} g
a<
c-
b> XADD {s} 1-1 a b
c<

== XREADGROUP: what is beside the stream's entries is no change of the stream
b> XADD {s} 1-1 a b
c> WATCH {s}
b> XGROUP CREATE {s} g 0
b> XGROUP CREATECONSUMER {s} g bob
b> XREADGROUP GROUP g alice COUNT 1 STREAMS {s} >
b> XCLAIM {s} g bob 0 1-1 JUSTID
b> XAUTOCLAIM {s} g alice 0 0
b> XACK {s} g 1-1
b> XGROUP DELCONSUMER {s} g bob
b> XSETID {s} 5-5
b> XGROUP CREATE {s} h 0
b> XGROUP DESTROY {s} h
c> MULTI
c> XLEN {s}
c> EXEC
b> XADD {s} 6-1 a b
b> XREADGROUP GROUP g alice STREAMS {s} >
c> WATCH {s}
b> XGROUP SETID {s} g 0
c> MULTI
c> EXEC
c> WATCH {s}
b> XTRIM {s} MAXLEN 1
c> MULTI
c> EXEC
c> WATCH {t}
b> XGROUP CREATE {t} g 0 MKSTREAM
c> MULTI
c> EXEC

== XREADGROUP: the stream is deleted
b> XGROUP CREATE {s} g $ MKSTREAM
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
b> DEL {s}
a<
b> XGROUP CREATE {s} g $ MKSTREAM
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
b> SET {s} 1
a<
b> DEL {s}
b> XGROUP CREATE {s} g $ MKSTREAM
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
b> RENAME {s} {t}
a<
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {t} >
b> UNLINK {t}
a<
b> XGROUP CREATE {s} g $ MKSTREAM
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
b> FLUSHALL
a<
b> XGROUP CREATE {s} g $ MKSTREAM
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
b> FLUSHDB
a<
b> XGROUP CREATE {s} g $ MKSTREAM
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
b> SWAPDB 0 9
a<
b> FLUSHALL
b> XGROUP CREATE {s} g $ MKSTREAM
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
b> MOVE {s} 9
a<
blocked 0

== XREADGROUP: the stream expires
b> XGROUP CREATE {s} g $ MKSTREAM
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
b> PEXPIRE {s} 1
a<

== XREADGROUP: renamed over, without and with the group
b> XGROUP CREATE {s} g $ MKSTREAM
b> XADD {t} 1-1 a b
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
b> RENAME {t} {s}
a<
b> XGROUP CREATE {s} g $
b> XGROUP CREATE {t} g $ MKSTREAM
b> XADD {t} 1-1 a b
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
b> RENAME {t} {s}
a<

== XREADGROUP: deleted and made anew within a transaction
b> XGROUP CREATE {s} g $ MKSTREAM
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
b> MULTI
b> DEL {s}
b> XGROUP CREATE {s} g $ MKSTREAM
b> EXEC
a-
b> MULTI
b> DEL {s}
b> XGROUP CREATE {s} g $ MKSTREAM
b> XADD {s} 1-1 a b
b> EXEC
a<

== XREADGROUP: the consumer is deleted while it waits
b> XGROUP CREATE {s} g $ MKSTREAM
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
b> XGROUP DELCONSUMER {s} g alice
a-
b> XADD {s} 1-1 a b
a<
b> XPENDING {s} g

== what was added and deleted within a transaction is not served [gyre]
b> XGROUP CREATE {s} g $ MKSTREAM
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
c? XREAD BLOCK 0 STREAMS {s} $
b> MULTI
b> XADD {s} 1-1 a b
b> XDEL {s} 1-1
b> EXEC
--> ['1-1', :1]
a-
c-
b> XADD {s} 2-1 a b
a<
--> [['s', [['2-1', ['a', 'b']]]]]
c<
--> [['s', [['2-1', ['a', 'b']]]]]

== XGROUP SETID serves who waits for what is new by it [gyre]
b> XADD {s} 1-1 a b
b> XGROUP CREATE {s} g $
a? XREADGROUP GROUP g alice BLOCK 0 STREAMS {s} >
b> XGROUP SETID {s} g 0
a<
--> [['s', [['1-1', ['a', 'b']]]]]

== XREAD with + waits for the first entry [gyre]
a? XREAD BLOCK 0 STREAMS {s} +
b> XADD {s} 2-1 a b
a<
--> [['s', [['2-1', ['a', 'b']]]]]

== replies before a command that waits come first
a? SET {k} 1 ; GET {k} ; INCR {l} ; BLPOP {q} 0
a<
a<
a<
a-
b> GET {k}
b> RPUSH {q} x
a<

== what follows a command that waits waits too
a? BLPOP {q} 0 ; SET {k} 1 ; GET {k}
b> GET {k}
a-
b> RPUSH {q} x
a<
a<
a<
b> GET {k}

== commands sent while waiting
a? BLPOP {q} 0
a~ SET {k} 1
a~ GET {k}
b> GET {k}
a-
b> RPUSH {q} x
a<
a<
a<

== several that wait in one pipeline
a? BLPOP {q} 0 ; BLPOP {r} 0 ; BLMOVE {s} {t} LEFT LEFT 0 ; PING
b> RPUSH {r} 2
a-
b> RPUSH {q} 1
a<
a<
a-
b> RPUSH {s} 3
a<
a<
b> LRANGE {t} 0 -1

== a pipeline feeds itself
b> PING
a> RPUSH {q} 1 2
a> BLPOP {q} 0
a? BLPOP {q} 0 ; BLPOP {q} 0 ; PING
a<
b> RPUSH {q} 3
a<
a<

== one write wakes several clients, and the pipeline goes on
a? BLPOP {q} 0
c? BLPOP {r} 0
d? BZPOPMIN {s} 0
b~ RPUSH {q} 1 ; RPUSH {r} 2 ; ZADD {s} 3 m ; EXISTS {q} {r} {s} ; PING
b<
b<
b<
b<
b<
a<
c<
d<

== a big pipeline of pushes
a? BLPOP {q} 0
b~ RPUSH {q} 1 ; RPUSH {q} 2 ; LPOP {q} ; LPOP {q} ; RPUSH {q} 3 ; LRANGE {q} 0 -1
b<
b<
b<
b<
b<
b<
a<

== a pipeline finds what it pushed moved on
a? BLMOVE {q} {r} LEFT LEFT 0
c? BLPOP {r} 0
b~ RPUSH {q} 1 ; LLEN {q} ; LPOP {q} ; EXISTS {q} {r} ; RPUSH {q} 2 ; LLEN {q}
b<
b<
b<
b<
b<
b<
a<
c<
a? BLMOVE {s} {t} LEFT LEFT 0
b> RPUSH {s} 1
b> LLEN {s}
b> LRANGE {t} 0 -1
a<
a? BRPOPLPUSH {s} {u} 0
b> MULTI
b> RPUSH {s} 1
b> LLEN {s}
b> EXEC
b> LLEN {s}
b> LRANGE {u} 0 -1
a<

== big elements and empty ones
a? BLPOP {q} 0
b> RPUSH {q} <rep:x:300000>
a<
a? BLMOVE {q} {r} LEFT LEFT 0
b> RPUSH {q} <rep:y:70000>
a<
b> STRLEN {q}
b> LRANGE {r} 0 -1
a? BLPOP {q} 0
b> RPUSH {q} ""
a<
a? BLPOP {q} 0
b> RPUSH {q} 12345678901
a<
a? BLPOP <rep:k:70000> 0
b> RPUSH <rep:k:70000> x
a<

== CLIENT UNBLOCK
a? BLPOP {q} 0
b> CLIENT UNBLOCK <id:a>
a<
a? BLPOP {q} 0
b> CLIENT UNBLOCK <id:a> TIMEOUT
a<
a? BLPOP {q} 0
b> CLIENT UNBLOCK <id:a> ERROR
a<
b> CLIENT UNBLOCK <id:a>
a? BLMOVE {q} {r} LEFT LEFT 0
b> CLIENT UNBLOCK <id:a>
a<
a? XREAD BLOCK 0 STREAMS {s} $
b> CLIENT UNBLOCK <id:a> error
a<
a? BZPOPMIN {z} {y} 0
b> CLIENT UNBLOCK <id:a>
a<
a? WAIT 3 0
b> CLIENT UNBLOCK <id:a>
a<
a? WAIT 3 0
b> CLIENT UNBLOCK <id:a> ERROR
a<
b> RPUSH {q} x
a> BLPOP {q} 0
blocked 0

== who was unblocked does not take what comes later
a? BLPOP {q} 0
c? BLPOP {q} 0
b> CLIENT UNBLOCK <id:a>
a<
b> RPUSH {q} x
c<
a> EXISTS {q}

== CLIENT UNBLOCK within a pipeline
a? BLPOP {q} 0 ; GET none ; BLPOP {r} 0
b> CLIENT UNBLOCK <id:a>
a<
a<
blocked 1
b> RPUSH {q} 1
b> RPUSH {r} 2
a<

== CLIENT UNBLOCK and CLIENT KILL keep their place in a transaction
a? BLPOP {q} 0
b> MULTI ; RPUSH {q} x ; CLIENT UNBLOCK <id:a> ; EXEC
a<
b> LPOP {q}
a? BLPOP {q} 0
b> MULTI ; RPUSH {q} x ; CLIENT KILL ID <id:a> ; EXEC
blocked 0
b> LPOP {q}

== whoever disconnects takes nothing
a? BLPOP {q} 0
a! 1
b> RPUSH {q} x
b> LRANGE {q} 0 -1

== whoever disconnects leaves it to the next
a? BLPOP {q} 0
c? BLPOP {q} 0
a! 1
b> RPUSH {q} x
c<

== a link of a chain disconnects
a? BLMOVE {q} {r} LEFT RIGHT 0
c? BLMOVE {r} {s} LEFT RIGHT 0
d? BLPOP {s} 0
c! 1
b> RPUSH {q} x
a<
d-
b> LRANGE {r} 0 -1

== CLIENT KILL of who waits
a? BLPOP {q} 0
c? BLPOP {q} 0
b> CLIENT KILL ID <id:a>
blocked 1
b> RPUSH {q} x
c<

== RESET is not for who waits, but RESP3 may come and go
a> HELLO 3 ; HELLO 2
a? BLPOP {q} 0
b> RPUSH {q} x
a<
a> HELLO 3
a? BZPOPMIN {z} 0
b> ZADD {z} 1.5 x
a<
a? XREAD BLOCK 0 STREAMS {s} $
b> XADD {s} 1-1 a b
a<
a? BLPOP {q} 0
b> CLIENT UNBLOCK <id:a>
a<

== CLIENT REPLY
a~ CLIENT REPLY OFF
a? BLPOP {q} 0
b> RPUSH {q} x
blocked 0
a> CLIENT REPLY ON
a~ CLIENT REPLY SKIP
a? BLPOP {q} 0
b> RPUSH {q} x
blocked 0
a> PING

== WAIT
a? WAIT 1 0
c? WAIT 1 0 ; PING
a-
b> CLIENT UNBLOCK <id:c>
c<
c<
b> CLIENT UNBLOCK <id:a>
a<

== RESTORE makes a key ready
b> RPUSH {r} 1 2
a? BLPOP {q} 0
b> RESTORE {q} 0 <dump:r>
a<
b> LRANGE {q} 0 -1
a? XREAD BLOCK 0 STREAMS {s} 0
b> XADD {t} 1-1 a b
b> RESTORE {s} 0 <dump:t>
a<

== LPUSHX and LINSERT wake nobody without a list
a? BLPOP {q} 0
b> LPUSHX {q} x
b> RPUSHX {q} x
b> LINSERT {q} BEFORE a b
a-
b> LPUSH {q} 1 2
a<

== expired elements are not served
a? BLPOP {q} 0
b> MULTI
b> RPUSH {q} 1
b> PEXPIREAT {q} 1
b> EXEC
a-
b> RPUSH {q} 2
a<

== the client's own write after waiting
a? BLPOP {q} 0 ; RPUSH {q} mine ; LPOP {q}
b> RPUSH {q} x
a<
a<
a<

== WATCH sees who was served
c> WATCH {q}
a? BLPOP {q} 0
b> RPUSH {q} x
a<
c> MULTI
c> PING
c> EXEC
c> WATCH {r}
a? BLMOVE {q} {r} LEFT LEFT 0
b> RPUSH {q} x
a<
c> MULTI
c> PING
c> EXEC

== CLIENT PAUSE WRITE holds the push back
a? BLPOP {q} 0
b> CLIENT PAUSE 60000 WRITE
c~ RPUSH {q} x
b> EXISTS {q}
a-
b> CLIENT UNPAUSE
c<
a<

== CLIENT PAUSE WRITE holds back who would wait
b> CLIENT PAUSE 60000 WRITE
a~ BLPOP {q} 0
b> EXISTS {q}
a-
b> CLIENT UNPAUSE
c> RPUSH {q} x
a<

== CLIENT PAUSE WRITE holds back scripts, functions and PFCOUNT, unless they promise not to write
b> SCRIPT LOAD "return 1"
b> SCRIPT LOAD "#!lua flags=no-writes\\nreturn 2"
b> FUNCTION LOAD REPLACE "#!lua name=l\\nredis.register_function('w', function() return 1 end) redis.register_function{function_name='r', callback=function() return 2 end, flags={'no-writes'}}"
b> CLIENT PAUSE 60000 WRITE
a~ EVAL "return redis.call('set', KEYS[1], ARGV[1])" 1 {q} 1
c~ EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
d~ FCALL w 0
e~ PFCOUNT {r}
f~ EVAL "#!lua\\nreturn 1" 0
b> EXISTS {q}
b> EVAL "#!lua flags=no-writes\\nreturn 1" 0
b> EVAL_RO "return 1" 0
b> EVALSHA ae33f9227913b24d053a555637f98260b23bd3a3 0
b> EVALSHA_RO e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
b> FCALL R 0
b> FCALL_RO r 0
a-
c-
d-
e-
f-
b> CLIENT UNPAUSE
a<
c<
d<
e<
f<
b> CLIENT PAUSE 60000 WRITE
a~ EVALSHA f0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
c~ FCALL nosuch 0
d~ EVAL "#!lua flags=nonsense\\nreturn 1" 0
b> EXISTS {q}
a-
c-
d-
b> CLIENT UNPAUSE
a<
c<
d<

== CLIENT PAUSE WRITE holds back transactions with scripts that may write
b> FUNCTION LOAD REPLACE "#!lua name=l\\nredis.register_function('w', function() return 1 end) redis.register_function{function_name='r', callback=function() return 2 end, flags={'no-writes'}}"
a> MULTI
a> EVAL "return 1" 0
c> MULTI
c> EVAL "#!lua flags=no-writes\\nreturn 1" 0
c> FCALL r 0
d> MULTI
d> GET {q}
d> FCALL w 0
b> CLIENT PAUSE 60000 WRITE
a~ EXEC
d~ EXEC
c> EXEC
a-
d-
b> CLIENT UNPAUSE
a<
d<
b> FUNCTION FLUSH

== scripts make keys ready
a? BLPOP {q} {r} 0
b> EVAL "redis.call('rpush', KEYS[2], 'r') redis.call('rpush', KEYS[1], 'q') return 1" 2 {q} {r}
a<
b> EXISTS {q} {r}
a? BLPOP {s} 0
b> EVAL "redis.call('rpush', KEYS[1], 'r') redis.call('del', KEYS[1]) return 1" 1 {s}
a-
b> EVAL "redis.call('rpush', ARGV[1], 'undeclared')" 0 {s}
a<
"""
