# SPDX-License-Identifier: BSD-3-Clause
"""The comparisons of data types: compare types, bits, zset and memory-types. Method: README.md.

types         redis-benchmark's own tests, one after the other on empty or freshly filled keys
bits          bitmaps of 10 MB and sixteen dense HyperLogLogs, by gyre-load
zset          a sorted set of a million members, by gyre-load
memory-types  used_memory and RSS of a million of each thing, on servers of their own
"""
import csv
import re
import resource
import subprocess
import time

from fleet import (Failure, Fleet, GENERATOR_CORE, SERVER_CORE, ask, die_with_parent, generate,
                   info_field, machine_busy_seconds, measure_quietly, median_of, order_of_round,
                   pinned, print_table, ratio, say)

# ---- types -------------------------------------------------------------------------------------
# rate: requests per second of --seconds, about what Redis does at pipelines 16 and 1; so all servers
# do the same work. fill: what is sent beforehand, and how often ("ops": for each request measured one
# and a bit, so that a pop never finds its key empty). words: the command, where `-t` would fill too.

FAST = {16: 700_000, 1: 100_000}
LIST_OF_100K = {"fill": "RPUSH mylist __data__", "amount": 100_000}
TYPES = {
    "incr": {"rate": FAST, "fill": "SET counter:__seq__ 1", "amount": "keys"},
    "lpush": {"rate": FAST},
    "rpush": {"rate": FAST},
    "lpop": {"rate": FAST, "fill": "RPUSH mylist __data__", "amount": "ops"},
    "rpop": {"rate": FAST, "fill": "RPUSH mylist __data__", "amount": "ops"},
    "sadd": {"rate": FAST},
    "hset": {"rate": FAST},
    "spop": {"rate": FAST, "fill": "SADD myset element:__seq__", "amount": "ops"},
    "zadd": {"rate": {16: 300_000, 1: 80_000}},
    "zpopmin": {"rate": {16: 500_000, 1: 100_000},
                "fill": "ZADD myzset __seq__ element:__seq__", "amount": "ops"},
    "lrange_100": {"rate": {16: 80_000, 1: 50_000}, "words": "LRANGE mylist 0 99", **LIST_OF_100K},
    "lrange_300": {"rate": {16: 30_000, 1: 25_000}, "words": "LRANGE mylist 0 299", **LIST_OF_100K},
    "lrange_500": {"rate": {16: 18_000, 1: 15_000}, "words": "LRANGE mylist 0 499", **LIST_OF_100K},
    "lrange_600": {"rate": {16: 15_000, 1: 13_000}, "words": "LRANGE mylist 0 599", **LIST_OF_100K},
    "mset": {"rate": {16: 100_000, 1: 50_000}, "fill": "SET __nextkey__ __data__", "amount": "keys"},
}


def requests_of(options, test, pipeline):
    rates = TYPES[test]["rate"]
    return max(1000, int(options.seconds * rates[16 if pipeline >= 8 else 1]))


def settle(server):
    """Waits until what the last command has left behind (freeing, rehashing) is done with."""
    for _ in range(100):
        before, start = server.cpu_seconds(), time.monotonic()
        time.sleep(0.05)
        if server.cpu_seconds() - before <= 0.2 * (time.monotonic() - start):
            return


def prepare_type(options, server, test, requests):
    ask(server.port, "FLUSHALL")
    needs = TYPES[test]
    if "fill" in needs:
        amount = {"ops": requests + requests // 20 + 1000, "keys": options.keys}
        generate(options, server, GENERATOR_CORE, "--pipeline", 64, "--value", options.value,
                 "--ops", amount.get(needs["amount"], needs["amount"]), "--command", needs["fill"])
    settle(server)


def redis_benchmark(options, server, test, pipeline, requests):
    """Requests per second, as redis-benchmark counts them."""
    words = TYPES[test].get("words")
    command = [options.redis_benchmark, "-p", str(server.port), "-n", str(requests), "-P",
               str(pipeline), "-c", str(options.connections), "-r", str(options.keys), "-d",
               str(options.value), "--csv", *(words.split() if words else ["-t", test])]
    done = subprocess.run(pinned(command, GENERATOR_CORE), capture_output=True, text=True,
                          timeout=900, preexec_fn=die_with_parent)
    server.check_alive()
    rows = [row for row in csv.reader(done.stdout.splitlines()) if row and row[0] != "test"]
    if done.returncode or len(rows) != 1 or "rror" in done.stderr:
        raise Failure(f"{server.name}: {' '.join(command)}\n{done.stdout}{done.stderr}")
    return float(rows[0][1])


def children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_type(options, server, test, pipeline):
    requests = requests_of(options, test, pipeline)
    server.resume()
    try:
        prepare_type(options, server, test, requests)
        cpu, busy = server.cpu_seconds(), machine_busy_seconds()
        generator, start = children_seconds(), time.monotonic()
        rate = redis_benchmark(options, server, test, pipeline, requests)
        seconds = time.monotonic() - start
        cpu, busy = server.cpu_seconds() - cpu, machine_busy_seconds() - busy
        generator = children_seconds() - generator
    finally:
        server.pause()
    return {"server": server.name, "test": test, "pipeline": pipeline, "ops": requests,
            "ops_per_s": rate, "cpu_us": cpu * 1e6 / requests, "generator_cpu": generator / seconds,
            "others_cpu": max(0.0, busy - cpu - generator) / seconds}


def run_types(options):
    with Fleet(options) as fleet:
        for name in options.only:
            fleet.start(name, SERVER_CORE).pause()
        results = run_in_turn(options, fleet, options.tests, options.pipelines,
                              lambda *what: measure_type(options, *what))
    print_comparison(options, results)
    return results


# ---- bits and zset -----------------------------------------------------------------------------
# Data that stays, then commands that do not change its size; `pipelines` where it makes a difference.

BITMAP_BYTES = 10_000_000
HLLS = 16
HLL_KEYS = " ".join(f"hll:{i}" for i in range(HLLS))
BITS_FILL = [("SET bits:a __data__", 1, BITMAP_BYTES), ("SET bits:b __data__", 1, BITMAP_BYTES)]
BITS_FILL += [(f"PFADD hll:{i} {i}:__rand__ {i}:__rand__ {i}:__rand__", 20_000, 3)
              for i in range(HLLS)]
BITS = {
    "bitcount 10 MB": "BITCOUNT bits:a",
    "bitop and 10 MB": "BITOP AND bits:to bits:a bits:b",
    "bitop or 10 MB": "BITOP OR bits:to bits:a bits:b",
    "bitop xor 10 MB": "BITOP XOR bits:to bits:a bits:b",
    "bitop not 10 MB": "BITOP NOT bits:to bits:a",
    "bitpos 10 MB": "BITPOS bits:zero 1",
    "pfcount of 16": f"PFCOUNT {HLL_KEYS}",
    "pfmerge of 16": f"PFMERGE hll:to {HLL_KEYS}",
    "pfcount of 1": "PFCOUNT hll:0",
    "pfadd": "PFADD hll:0 e:__rand__",
}
BITS_FILL.append((f"SETBIT bits:zero {BITMAP_BYTES * 8 - 1} 1", 1, 3))

MEMBERS = 1_000_000  # ranks of __rank__ and a digit reach as far
ZSET_FILL = [("ZADD z __rand__ m:__seq__", MEMBERS, 3)]
ZSET = {
    "zadd, new score": "ZADD z __rand__ m:__rand__",
    "zincrby": "ZINCRBY z 1000 m:__rand__",
    "zscore": "ZSCORE z m:__rand__",
    "zrank": "ZRANK z m:__rand__",
    "zrange 10 by rank": "ZRANGE z __rank__0 __again__9",
    "zrange 10 by score": "ZRANGE z __rand__ +inf BYSCORE LIMIT 0 10",
    "zrevrange 10 by score": "ZREVRANGEBYSCORE z __rand__ -inf LIMIT 0 10",
    "zcount": "ZCOUNT z __rand__ +inf",
}


def measure_command(options, server, templates, test, pipeline):
    server.resume()
    try:
        cpu, busy = server.cpu_seconds(), machine_busy_seconds()
        line = generate(options, server, GENERATOR_CORE, "--pipeline", pipeline, "--connections",
                        options.connections, "--keys", MEMBERS, "--seconds", options.seconds,
                        "--command", templates[test])
        cpu, busy = server.cpu_seconds() - cpu, machine_busy_seconds() - busy
    finally:
        server.pause()
    ops, seconds, generator = (float(line[k]) for k in ("ops", "seconds", "generator_cpu"))
    if int(line["errors"]):
        raise Failure(f"{server.name}: {templates[test]} gets errors")
    return {"server": server.name, "test": test, "pipeline": pipeline, "ops": int(ops),
            "ops_per_s": float(line["ops_per_s"]), "cpu_us": cpu * 1e6 / ops,
            "generator_cpu": generator,
            "others_cpu": max(0.0, busy - cpu - generator * seconds) / seconds}


def run_filled(options, fill, templates, pipelines):
    with Fleet(options) as fleet:
        for name in options.only:
            server = fleet.start(name, SERVER_CORE)
            say(f"{name}: pid {server.pid}, port {server.port}; filling")
            for template, ops, value in fill:
                generate(options, server, GENERATOR_CORE, "--pipeline", min(64, ops), "--ops", ops,
                         "--connections", 1, "--value", value, "--keys", MEMBERS, "--command",
                         template)
            settle(server)
            server.pause()
        chosen = [t for t in templates if not options.match or re.search(options.match, t)]
        results = run_in_turn(options, fleet, chosen, pipelines,
                              lambda server, test, pipeline: measure_command(
                                  options, server, templates, test, pipeline))
    print_comparison(options, results)
    return results


def run_bits(options):
    return run_filled(options, BITS_FILL, BITS, [1])


def run_zset(options):
    return run_filled(options, ZSET_FILL, ZSET, options.pipelines)


# ---- What types, bits and zset share -------------------------------------------------------------

def run_in_turn(options, fleet, tests, pipelines, measure):
    results = []
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        for test in tests:
            for pipeline in pipelines:
                for server in order_of_round(fleet.servers, number):
                    result = measure_quietly(options, f"{test}, pipeline {pipeline}, {server.name}",
                                             lambda: measure(server, test, pipeline))
                    results.append({"round": number, **result})
    return results


COMPARISON_HEAD = ["test", "pipeline", "server", "ops/s", "CPU µs/op", "× redis ops/s",
                   "× redis CPU", "generator CPU", "others' CPU"]


def print_comparison(options, results):
    rows = []
    for test, pipeline in dict.fromkeys((r["test"], r["pipeline"]) for r in results):
        of = {name: [r for r in results if (r["test"], r["pipeline"], r["server"]) ==
                     (test, pipeline, name)] for name in options.only}
        for name, mine in of.items():
            rows.append([test, pipeline, name, f"{median_of(mine, 'ops_per_s'):,.0f}",
                         f"{median_of(mine, 'cpu_us'):,.3f}",
                         ratio(mine, of.get("redis", []), "ops_per_s"),
                         ratio(mine, of.get("redis", []), "cpu_us"),
                         f"{median_of(mine, 'generator_cpu') * 100:.0f} %",
                         f"{max(r['others_cpu'] for r in mine) * 100:.0f} %"])
    print_table(COMPARISON_HEAD, rows)


# ---- memory-types --------------------------------------------------------------------------------
# name: (commands, requests for each of --keys, elements for each request)

MEMORY = {
    "hashes of 5 fields": ("HSET user:__seq__ name n__rand__ mail m__rand__ age 42 city Paris "
                           "zip __rank__", 1, 1),
    "one list of 10 × keys": ("RPUSH list " + " ".join(["word:__rank__"] * 10), 1, 10),
    "one set": ("SADD set member:__seq__", 1, 1),
    "one set of integers": ("SADD integers 1__seq__", 1, 1),
    "one sorted set": ("ZADD zset __rand__ member:__seq__", 1, 1),
    "one hash": ("HSET hash field:__seq__ value:__rank__", 1, 1),
    "one stream": ("XADD stream * sensor __rank__ temperature __rank__", 1, 1),
    "sets of 5 members": ("SADD small:__seq__ one two three four __rank__", 1, 1),
    "sorted sets of 5": ("ZADD small:__seq__ 1 one 2 two 3 three 4 four 5 __rank__", 1, 1),
    "lists of 5 elements": ("RPUSH small:__seq__ one two three four __rank__", 1, 1),
}


def measure_memory_type(options, fleet, name, what):
    template, share, elements = MEMORY[what]
    server = fleet.start(name, SERVER_CORE)
    rss, used = server.settled_rss_bytes(), info_field(server.port, "memory", "used_memory")
    ops = options.keys * share
    line = generate(options, server, GENERATOR_CORE, "--pipeline", 64, "--ops", ops, "--keys",
                    MEMBERS, "--command", template)
    if int(line["errors"]):
        raise Failure(f"{name}: {template} gets errors")
    settle(server)
    rss = server.settled_rss_bytes() - rss
    used = info_field(server.port, "memory", "used_memory") - used
    fleet.stop(server)
    count = ops * elements
    say(f"  {what}, {name}: {used / count:.1f} bytes each (used_memory), {rss / count:.1f} (RSS)")
    return {"server": name, "test": what, "used": used, "rss": rss, "count": count,
            "used_each": used / count, "rss_each": rss / count}


def run_memory_types(options):
    chosen = [t for t in MEMORY if not options.match or re.search(options.match, t)]
    with Fleet(options) as fleet:
        results = [{"round": number, **measure_memory_type(options, fleet, name, what)}
                   for number in range(options.rounds) for what in chosen for name in options.only]
    rows = []
    for what in chosen:
        of = {name: [r for r in results if (r["test"], r["server"]) == (what, name)]
              for name in options.only}
        for name, mine in of.items():
            rows.append([what, f"{mine[0]['count']:,}", name,
                         f"{median_of(mine, 'used') / 2**20:.1f} MiB",
                         f"{median_of(mine, 'used_each'):.1f}",
                         ratio(mine, of.get("redis", []), "used"),
                         f"{median_of(mine, 'rss') / 2**20:.1f} MiB",
                         f"{median_of(mine, 'rss_each'):.1f}",
                         ratio(mine, of.get("redis", []), "rss")])
    print_table(["what", "elements", "server", "used_memory", "bytes each", "× redis", "RSS",
                 "bytes each", "× redis"], rows)
    return results
