# SPDX-License-Identifier: BSD-3-Clause
"""What programs build on redis-py: redis_py.py PORT PROTOCOL. Locks, transactions, scripts,
pub/sub in threads, keyspace events, blocking commands, MONITOR, the asyncio twin, and, where
redis-py has it, client-side caching."""

import asyncio
import sys
import threading
import time

import redis
import redis.asyncio
from program import end, equal, raises, run_scenarios, until
from redis.exceptions import LockError, LockNotOwnedError, NoScriptError, WatchError

PORT, PROTOCOL = int(sys.argv[1]), int(sys.argv[2])
VERSION = tuple(int(it) for it in redis.__version__.split(".")[:2])
OPTIONS = {"protocol": PROTOCOL} if VERSION >= (5, 0) else {}


def connect(**options):
    return redis.Redis(port=PORT, decode_responses=True, **{**OPTIONS, **options})


def together(count, work):
    """Runs work(0) ... work(count - 1) in threads; raises what the first that failed raised."""
    errors = []

    def guarded(n):
        try:
            work(n)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


# --- locks and transactions --------------------------------------------------------------------


def locks():
    r = connect()
    inside = []

    def work(n):
        mine = connect()
        for _ in range(5):
            with mine.lock("lock:one", timeout=10, sleep=0.002, blocking_timeout=10):
                inside.append(n)
                value = int(mine.get("lock:n") or 0)
                time.sleep(0.001)
                mine.set("lock:n", value + 1)
                equal(inside, [n])
                inside.clear()

    together(6, work)
    equal(r.get("lock:n"), "30")
    lock = r.lock("lock:two", timeout=50)
    assert lock.acquire() and not r.lock("lock:two").acquire(blocking=False)
    assert lock.locked() and lock.owned() and 40 < r.ttl("lock:two") <= 50
    lock.extend(200)
    assert r.ttl("lock:two") > 200
    lock.reacquire()
    assert r.ttl("lock:two") <= 50
    r.set("lock:two", "somebody else's")
    raises(LockNotOwnedError, lock.extend, 1)
    raises(LockNotOwnedError, lock.release)
    raises(LockError, r.lock("lock:three").release)
    short = r.lock("lock:four", timeout=0.05)
    assert short.acquire()
    assert r.lock("lock:four", timeout=1, blocking_timeout=2, sleep=0.01).acquire()
    raises(LockNotOwnedError, short.release)


def transactions():
    r = connect()
    with r.pipeline() as pipe:
        out = (
            pipe.set("t:a", 1)
            .incr("t:b")
            .sadd("t:c", "x", "y")
            .hset("t:d", "f", "v")
            .get("t:a")
            .execute()
        )
    equal(out, [True, 1, 2, 1, "1"])
    with r.pipeline() as pipe:
        pipe.set("t:a", "text").incr("t:a").set("t:e", "still")
        equal(str(raises(redis.ResponseError, pipe.execute)).startswith("Command # 2"), True)
        equal(r.get("t:e"), "still")
        pipe.set("t:a", 5).incr("t:a").lpush("t:a", 1).get("t:a")
        out = pipe.execute(raise_on_error=False)
        equal([out[0], out[1], type(out[2]), out[3]], [True, 6, redis.ResponseError, "6"])
        pipe.execute_command("SET", "t:f")  # refused when queued
        pipe.set("t:f", "never")
        raises(redis.ResponseError, pipe.execute)
        equal(r.get("t:f"), None)
        pipe.watch("t:a", "t:b")
        r.set("t:b", 10)
        pipe.multi()
        pipe.set("t:a", "never")
        raises(WatchError, pipe.execute)
        r.set("t:gone", 1, px=500)  # long enough that WATCH finds it alive
        pipe.watch("t:gone")
        time.sleep(0.55)  # nobody looks: EXEC itself must see that it has expired
        pipe.multi()
        pipe.set("t:a", "never")
        raises(WatchError, pipe.execute)
        pipe.watch("t:a")
        pipe.unwatch()
        r.set("t:h", 1)
        equal(pipe.incr("t:a").execute(), [7])
    equal(r.get("t:a"), "7")


def transfers():
    """Transfers by WATCH, by MULTI and by a script: whoever looks sees the same total."""
    r = connect()
    names = [f"bank:{n}" for n in range(8)]
    r.mset({name: 100 for name in names})
    script = 'redis.call("DECRBY", ARGV[1], 1) redis.call("INCRBY", ARGV[2], 1)'
    total = (
        'local n = 0 for _, v in ipairs(redis.call("MGET", unpack(ARGV))) do n = n + v end return n'
    )

    def work(n):
        mine = connect()
        for i in range(12):
            one, two = names[(n + i) % 8], names[(n + 3 * i + 1) % 8]
            if one == two:
                continue
            kind = (n + i) % 4
            if kind == 0:

                def move(pipe):
                    values = [int(pipe.get(it)) for it in (one, two)]
                    pipe.multi()
                    pipe.mset({one: values[0] - 1, two: values[1] + 1})

                mine.transaction(move, one, two)
            elif kind == 1:
                mine.pipeline().decr(one).incr(two).execute()
            elif kind == 2:
                mine.eval(script, 0, one, two)
            else:
                equal(sum(map(int, mine.mget(names))), 800)
                halves = mine.pipeline().mget(names[:4]).mget(names[4:]).execute()
                equal(sum(map(int, halves[0] + halves[1])), 800)
                equal(mine.eval(total, 0, *names), 800)

    together(6, work)
    equal(sum(map(int, r.mget(names))), 800)


# --- scripts -----------------------------------------------------------------------------------


def scripts():
    r = connect()
    bump = r.register_script(
        'redis.call("INCRBY", KEYS[1], ARGV[1]) return redis.call("INCRBY", KEYS[2], ARGV[1] * 2)'
    )
    equal([bump(keys=["s:a", "s:b"], args=[1]), bump(keys=["s:a", "s:b"], args=[2])], [2, 6])
    pipe = r.pipeline()
    bump(keys=["s:a", "s:b"], args=[1], client=pipe)
    pipe.get("s:a")
    equal(pipe.execute(), [8, "4"])
    fresh = r.register_script("return {KEYS[1], ARGV[1], 3.9, false, {ok = 'fine'}, {1, {2}}}")
    equal(fresh(keys=["k"], args=["v"]), ["k", "v", 3, None, "fine", [1, [2]]])
    raises(NoScriptError, r.evalsha, "f" * 40, 0)
    r.set("s:text", "x")
    error = raises(redis.ResponseError, r.eval, 'return redis.call("INCR", ARGV[1])', 0, "s:text")
    assert "not an integer" in str(error), error
    equal(r.eval('local e = redis.pcall("INCR", "s:text") return e.err ~= nil', 0), 1)
    equal(
        r.eval(
            "return cjson.encode({cjson.decode(ARGV[1]).a, #cmsgpack.pack(1), bit.band(6, 3)})",
            0,
            '{"a":[1]}',
        ),
        "[[1],1,2]",
    )
    library = (
        '#!lua name=redispy\nredis.register_function("put", function(keys, args) '
        'return redis.call("SET", keys[1], args[1]) end)'
    )
    equal(r.function_load(library, replace=True), "redispy")
    equal(r.fcall("put", 1, "s:put", "v"), "OK")
    equal(r.get("s:put"), "v")
    r.function_delete("redispy")


# --- pub/sub -----------------------------------------------------------------------------------


def pub_sub():
    r = connect()
    got = []
    p = r.pubsub(ignore_subscribe_messages=True)
    p.subscribe(**{"c:1": lambda m: got.append(("c:1", m["data"]))})
    p.psubscribe(**{"c:*": lambda m: got.append((m["channel"], m["data"]))})
    thread = p.run_in_thread(sleep_time=0.01, daemon=True)
    until(
        "it has subscribed",
        lambda: r.pubsub_numsub("c:1") == [("c:1", 1)] and r.pubsub_numpat() >= 1,
    )
    equal([r.publish("c:1", "a"), r.publish("c:2", "b")], [2, 1])
    with r.pipeline() as pipe:
        pipe.set("c:key", "v").publish("c:2", "from exec").execute()
    r.eval('redis.call("PUBLISH", ARGV[1], "from a script")', 0, "c:3")
    for n in range(100):
        r.publish("c:4", n)
    until("all messages", lambda: len(got) == 105)
    equal(sorted(got[:2]), [("c:1", "a"), ("c:1", "a")])
    equal(got[2:5], [("c:2", "b"), ("c:2", "from exec"), ("c:3", "from a script")])
    equal(got[5:], [("c:4", str(n)) for n in range(100)])
    thread.stop()
    thread.join(5)
    until("it is gone", lambda: r.pubsub_numsub("c:1") == [("c:1", 0)])
    p = r.pubsub()
    p.subscribe("d:1", "d:2")
    p.unsubscribe("d:1")
    replies = [p.get_message(timeout=5) for _ in range(3)]  # acknowledged: nothing comes any more
    r.publish("d:1", "never")
    r.publish("d:2", "x")
    replies.append(p.get_message(timeout=5))
    equal(
        [(m["type"], m["channel"], m["data"]) for m in replies],
        [
            ("subscribe", "d:1", 1),
            ("subscribe", "d:2", 2),
            ("unsubscribe", "d:1", 1),
            ("message", "d:2", "x"),
        ],
    )
    p.close()


def keyspace_events():
    r = connect(db=3)
    r.config_set("notify-keyspace-events", "KEA")
    try:
        p = r.pubsub()
        p.psubscribe("__key*@3__:*")
        p.get_message(timeout=5)
        r.set("e:a", 1, px=20)
        r.pipeline().lpush("e:l", 1).rename("e:l", "e:m").delete("e:m").execute()
        r.eval('redis.call("HSET", "e:h", "f", "v")', 0)
        events = []

        def listen():
            message = p.get_message(timeout=0.05)
            if message and message["channel"].startswith("__keyspace"):
                events.append((message["channel"].split(":", 1)[1], message["data"]))
            return {("e:a", "expired"), ("e:h", "hset")} <= set(events)

        until("the key expires, and the script's event", listen)
        wanted = [
            ("e:a", "set"),
            ("e:a", "expire"),
            ("e:l", "lpush"),
            ("e:l", "rename_from"),
            ("e:m", "rename_to"),
            ("e:m", "del"),
            ("e:h", "hset"),
        ]
        equal([it for it in events if it != ("e:a", "expired")][: len(wanted)], wanted)
        p.close()
    finally:
        r.config_set("notify-keyspace-events", "")


# --- blocking ----------------------------------------------------------------------------------


def blocking():
    r = connect()
    got = []
    waiting = [
        lambda c: c.blpop(["b:1", "b:2"], 10),
        lambda c: c.brpoplpush("b:3", "b:4", 10),
        lambda c: c.blmove("b:4", "b:5", 10, "RIGHT", "LEFT"),
        lambda c: c.bzpopmin(["b:6", "b:7"], 10),
        lambda c: c.xread({"b:8": "$"}, block=10000),
    ]

    def wait(n):
        got.append((n, waiting[n](connect(client_name=f"blocked:{n}"))))

    threads = [threading.Thread(target=wait, args=(n,), daemon=True) for n in range(5)]
    for thread in threads:
        thread.start()
    until(
        "five are blocked",
        lambda: sum(
            it["name"].startswith("blocked:") and "b" in it["flags"] for it in r.client_list()
        )
        == 5,
    )
    r.pipeline().rpush("b:2", "x").rpush(
        "b:3", "y"
    ).execute()  # y goes on to b:4 and from there to b:5
    r.eval('redis.call("ZADD", "b:7", 1.5, "m") redis.call("XADD", "b:8", "1-1", "f", "v")', 0)
    until("all five have something", lambda: len(got) == 5)
    by = dict(got)
    equal(
        [tuple(by[0]), by[1], by[2], [str(it) for it in by[3]]],
        [("b:2", "x"), "y", "y", ["b:7", "m", "1.5"]],
    )
    assert "1-1" in str(by[4]), by[4]
    equal(r.lrange("b:5", 0, -1), ["y"])
    equal(r.exists("b:2", "b:3", "b:4", "b:7"), 0)
    began = time.monotonic()
    equal(r.blpop("b:none", 0.05), None)
    assert 0.04 <= time.monotonic() - began < 2
    other = connect(client_name="unblocked")
    client_id = other.client_id()
    thread = threading.Thread(target=lambda: got.append(other.blpop("b:never", 10)), daemon=True)
    thread.start()
    until("it can be unblocked", lambda: r.client_unblock(client_id))
    thread.join(5)
    equal(got[-1], None)


def one_consumer_each():
    """Many producers and consumers: every element goes to exactly one."""
    r = connect()
    taken = []

    def consume(_):
        mine = connect()
        while True:
            item = mine.blpop(["q:high", "q:low"], 10)
            if item is None or item[1] == "end":
                return
            taken.append(item[1])

    def produce(n):
        mine = connect()
        for i in range(40):
            if i % 3 == 0:
                mine.eval('redis.call("RPUSH", ARGV[1], ARGV[2])', 0, "q:low", f"{n}-{i}")
            elif i % 3 == 1:
                mine.pipeline().rpush("q:high", f"{n}-{i}").incr("q:n").execute()
            else:
                mine.rpush("q:low", f"{n}-{i}")

    consumers = [threading.Thread(target=consume, args=(n,)) for n in range(4)]
    for thread in consumers:
        thread.start()
    together(3, produce)
    until("all is taken", lambda: len(taken) >= 120)
    r.rpush("q:low", *["end"] * 4)
    for thread in consumers:
        thread.join(10)
    equal(sorted(taken), sorted(f"{n}-{i}" for n in range(3) for i in range(40)))
    equal(r.exists("q:high", "q:low"), 0)


def monitor():
    r, seen = connect(), []
    with r.monitor() as m:
        r.pipeline().set("m:a", 1).execute()
        r.eval('return redis.call("GET", "m:a")', 0)
        for command in m.listen():
            seen.append((command["command"].split(" ")[0].upper(), command["client_type"]))
            if command["client_type"] == "lua":
                break
    names = [name for name, _ in seen if name in ("MULTI", "SET", "EXEC", "EVAL", "GET")]
    equal(names, ["MULTI", "SET", "EXEC", "EVAL", "GET"])


# --- the others --------------------------------------------------------------------------------


def asynchronous():
    async def main():
        r = redis.asyncio.Redis(port=PORT, decode_responses=True, **OPTIONS)
        lock_held = []

        async def work(n):
            async with r.lock("a:lock", timeout=10, sleep=0.005):
                lock_held.append(n)
                await asyncio.sleep(0.002)
                equal(lock_held, [n])
                lock_held.clear()
            async with r.pipeline(transaction=True) as pipe:
                equal((await pipe.incr("a:n").set(f"a:{n}", n).get(f"a:{n}").execute())[2], str(n))

        await asyncio.gather(*(work(n) for n in range(10)))
        equal(await r.get("a:n"), "10")
        p = r.pubsub()
        await p.subscribe("a:c")
        popped = asyncio.ensure_future(r.blpop(["a:q"], 5))
        await p.get_message(timeout=5)
        equal(await r.publish("a:c", "hello"), 1)
        message = None
        while message is None:
            message = await p.get_message(ignore_subscribe_messages=True, timeout=1)
        equal(message["data"], "hello")
        await r.rpush("a:q", "x")
        equal(tuple(await popped), ("a:q", "x"))
        # One that is given up while it waits takes nothing with it.
        given_up = asyncio.ensure_future(r.blpop(["a:q"], 5))
        await asyncio.sleep(0.05)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        await asyncio.sleep(0.05)
        await r.rpush("a:q", "y")
        equal(await r.lrange("a:q", 0, -1), ["y"])
        await (r.aclose() if hasattr(r, "aclose") else r.close())

    asyncio.run(main())


def client_side_cache():
    if VERSION < (5, 3) or PROTOCOL != 3:
        return
    from redis.cache import CacheConfig

    server = tuple(int(it) for it in connect().info("server")["redis_version"].split(".")[:2])
    if server < (7, 4):  # redis-py refuses older ones
        raises(redis.ConnectionError, connect(cache_config=CacheConfig()).ping)
        return
    cached, writer = connect(cache_config=CacheConfig()), connect()
    writer.mset({"k:a": 1, "k:b": 1, "k:c": 1, "k:d": 1})
    changes = [
        ("k:a", lambda: writer.set("k:a", 2), "2"),
        ("k:b", lambda: writer.pipeline().incr("k:b").incr("k:c").execute(), "2"),
        ("k:c", lambda: writer.eval('return redis.call("INCR", ARGV[1])', 0, "k:c"), "3"),
        ("k:d", lambda: writer.pexpire("k:d", 30), None),
        ("k:a", lambda: writer.rename("k:a", "k:z"), None),
        ("k:b", lambda: writer.delete("k:b"), None),
    ]
    for key, change, wanted in changes:
        before = cached.get(key)
        hits = gets(writer)
        equal(cached.get(key), before)
        equal(gets(writer), hits)  # it came from memory
        change()
        until(f"the cache hears of the change of {key}", lambda: cached.get(key) == wanted)
    cached.close()


def gets(r):
    return r.info("commandstats").get("cmdstat_get", {}).get("calls", 0)


end(
    run_scenarios(
        [
            locks,
            transactions,
            transfers,
            scripts,
            pub_sub,
            blocking,
            one_consumer_each,
            asynchronous,
        ],
        [keyspace_events],
        [monitor],
        [client_side_cache],
    )
)
