# SPDX-License-Identifier: BSD-3-Clause
"""channels_redis, both layers: channels_program.py PORT. The core layer keeps a sorted set a
channel, moves messages aside by BZPOPMIN and puts them back by a script that is told no key at
all, and gives up a receive by closing its connection in the middle of BZPOPMIN; a group's send is
one script over all members. The other lives on pub/sub."""

import asyncio
import sys

from channels_redis.core import ChannelFull, RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from program import PATIENCE, end, equal, run_scenarios

HOSTS = [f"redis://127.0.0.1:{sys.argv[1]}"]
LIMIT = 8 * PATIENCE


def scenario(function):
    def run():
        asyncio.run(asyncio.wait_for(function(), 2 * LIMIT))

    run.__name__ = function.__name__
    return run


async def received(layer, channel):
    return await asyncio.wait_for(layer.receive(channel), LIMIT)


async def nothing(layer, channel, seconds=0.1):
    try:
        got = await asyncio.wait_for(layer.receive(channel), seconds)
    except asyncio.TimeoutError:
        return
    raise AssertionError(f"{channel} received {got!r}")


@scenario
async def core_channels():
    layer = RedisChannelLayer(
        hosts=HOSTS, prefix="core", capacity=20, channel_capacity={"tiny*": 2}
    )
    await layer.send("one", {"type": "t", "n": 1})
    await layer.send("one", {"type": "t", "n": 2})
    equal([(await received(layer, "one"))["n"] for _ in range(2)], [1, 2])
    waiting = asyncio.ensure_future(received(layer, "two"))
    await asyncio.sleep(0.05)
    await layer.send("two", {"type": "t", "n": 3})
    equal((await waiting)["n"], 3)
    await nothing(layer, "two")  # given up: its connection is closed while it is blocked
    await layer.send("two", {"type": "t", "n": 4})
    equal((await received(layer, "two"))["n"], 4)
    for n in range(2):
        await layer.send("tiny.x", {"type": "t", "n": n})
    try:
        await layer.send("tiny.x", {"type": "t", "n": 2})
        raise AssertionError("a full channel took a message")
    except ChannelFull:
        pass
    mine = await layer.new_channel()
    other = await layer.new_channel()
    await layer.send(other, {"type": "t", "n": 5})
    await layer.send(mine, {"type": "t", "n": 6})
    equal([(await received(layer, it))["n"] for it in (mine, other)], [6, 5])
    await layer.flush()
    await nothing(layer, "tiny.x")
    await layer.close_pools()


@scenario
async def core_groups():
    layers = [RedisChannelLayer(hosts=HOSTS, prefix="groups", capacity=100) for _ in range(3)]
    names = [await layers[n % 3].new_channel() for n in range(9)]
    for n, name in enumerate(names):
        await layers[n % 3].group_add("all", name)
        if n % 2:
            await layers[n % 3].group_add("odd", name)
    for i in range(5):
        await layers[i % 3].group_send("all", {"type": "t", "i": i})
    await layers[0].group_send("odd", {"type": "t", "i": 5})
    for n, name in enumerate(names):
        got = [(await received(layers[n % 3], name))["i"] for _ in range(6 if n % 2 else 5)]
        equal(got, [0, 1, 2, 3, 4, 5][: 6 if n % 2 else 5])
    await layers[0].group_discard("odd", names[1])
    await layers[2].group_send("odd", {"type": "t", "i": 6})
    await nothing(layers[1], names[1])
    equal((await received(layers[0], names[3]))["i"], 6)
    for layer in layers:
        await layer.close_pools()


@scenario
async def core_consumers():
    """No message is lost among consumers that give up again and again. One may come twice: a
    consumer that begins puts back what another has just taken."""
    layer = RedisChannelLayer(hosts=HOSTS, prefix="work", capacity=1000)
    taken = []
    is_over = False

    async def consume(n):
        mine = RedisChannelLayer(hosts=HOSTS, prefix="work", capacity=1000)
        while not is_over:
            try:
                taken.append((await asyncio.wait_for(mine.receive("jobs"), 0.5))["n"])
            except asyncio.TimeoutError:
                pass
        await mine.close_pools()

    consumers = [asyncio.ensure_future(consume(n)) for n in range(4)]
    for n in range(60):
        await layer.send("jobs", {"type": "t", "n": n})
        if n % 20 == 0:
            await asyncio.sleep(0.03)
    for _ in range(int(LIMIT * 50)):
        if len(set(taken)) >= 60:
            break
        await asyncio.sleep(0.02)
    is_over = True
    await asyncio.gather(*consumers)
    equal(sorted(set(taken)), list(range(60)))
    await layer.close_pools()


@scenario
async def pub_sub_layer():
    one, two = (RedisPubSubChannelLayer(hosts=HOSTS, prefix="pubsub") for _ in range(2))
    mine, other = await one.new_channel(), await two.new_channel()
    await one.send(other, {"type": "t", "n": 1})
    await two.send(mine, {"type": "t", "n": 2})
    equal([(await received(two, other))["n"], (await received(one, mine))["n"]], [1, 2])
    await one.group_add("all", mine)
    await two.group_add("all", other)
    await two.group_add("few", other)
    for i in range(20):
        await one.group_send("all", {"type": "t", "i": i})
    for layer, name in ((one, mine), (two, other)):
        equal([(await received(layer, name))["i"] for _ in range(20)], list(range(20)))
    await two.group_discard("all", other)
    await one.group_send("all", {"type": "t", "i": 20})
    await one.group_send("few", {"type": "t", "i": 21})
    equal((await received(one, mine))["i"], 20)
    equal((await received(two, other))["i"], 21)
    await one.flush()
    await two.flush()


end(run_scenarios([core_channels, core_groups, core_consumers, pub_sub_layer]))
