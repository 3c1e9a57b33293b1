# SPDX-License-Identifier: BSD-3-Clause
"""The comparison of what makes Redis more than a hash table: compare sessions. Method: README.md.

scripts       EVAL and EVALSHA of one-key scripts
meetings      a script that is proven to stay on its KEYS beside one that is not, which makes all
              shards meet: what that costs at 1, 2 and 4 threads
transactions  MULTI, ten SETs of random keys, EXEC
pubsub        PUBLISH to a hundred subscribers; every message is counted, or the run fails
blocking      the way of an element from LPUSH to the client that waits in BRPOP

With one server thread, server and generator have a core each; with several nobody is pinned. Each
part has servers of its own, started when its turn comes and gone after it.
"""
import binascii
import hashlib
import signal
import statistics
import subprocess
import time

from datatypes import print_comparison, run_in_turn
from fleet import (Failure, Fleet, GENERATOR_CORE, SERVER_CORE, ask, die_with_parent, fill,
                   generate, generator_command, machine_busy_seconds, median_of, pinned,
                   print_table, ratio, say)

READ = "return redis.call('get',KEYS[1])"
WRITE = "return redis.call('incrby',KEYS[1],ARGV[1])"
UNDECLARED = "return redis.call('get',ARGV[1])"  # for all the server can know, any key


def digest(script):
    return hashlib.sha1(script.encode()).hexdigest()


# ---- Servers and single measurements -------------------------------------------------------------

class Cores:
    """Where the server and the generator run, and how many threads each has."""

    def __init__(self, threads, generator_threads=None, is_pinned=None):
        is_pinned = threads == 1 if is_pinned is None else is_pinned
        self.threads, self.generator_threads = threads, generator_threads or threads
        self.server = SERVER_CORE if is_pinned else None
        self.generator = GENERATOR_CORE if is_pinned else None
        self.name = "1 thread" if threads == 1 else f"{threads} threads"


def start_all(options, fleet, cores, arguments=()):
    for name in options.only:
        start(options, fleet, name, cores, arguments=arguments)


def start(options, fleet, name, cores, label=None, arguments=()):
    options.threads = cores.threads
    server = fleet.start(name, cores.server, label, arguments)
    say(f"{server.name}: pid {server.pid}, port {server.port}; {cores.name}")
    server.pause()
    return server


def fill_all(options, fleet, core, counters=False):
    """The keys that the tests draw from, and the scripts that they name by digest."""
    for server in fleet.servers:
        server.resume()
        fill(options, server, core, "--fill")
        if counters:
            generate(options, server, core, "--pipeline", 64, "--ops", options.keys, "--command",
                     "SET counter:__seq__ 1")
        for script in (READ, WRITE, UNDECLARED):
            if ask(server.port, "SCRIPT", "LOAD", script)[:1] != "$":
                raise Failure(f"{server.name} does not take the script {script}")
        server.pause()


class Meter:
    """A context in which the server runs; tells what it and the machine use from start to stop."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        self.server.resume()
        return self

    def __exit__(self, *_):
        self.server.pause()

    def start(self):
        self.cpu, self.busy = self.server.cpu_seconds(), machine_busy_seconds()
        self.seconds, self.own = time.monotonic(), time.process_time()

    def stop(self):
        self.cpu = self.server.cpu_seconds() - self.cpu
        self.busy = machine_busy_seconds() - self.busy
        self.seconds = time.monotonic() - self.seconds
        self.own = time.process_time() - self.own

    def result(self, test, pipeline, ops, seconds, generator_seconds):
        others = max(0.0, self.busy - self.cpu - self.own - generator_seconds)
        return {"server": self.server.name, "test": test, "pipeline": pipeline, "ops": ops,
                "ops_per_s": ops / seconds, "cpu_us": self.cpu * 1e6 / ops,
                "generator_cpu": generator_seconds / seconds, "others_cpu": others / self.seconds}


def measure_commands(options, server, cores, test, commands, pipeline, connections=None):
    """gyre-load with these commands in rotation; an operation is all of them once."""
    count = len(commands)
    arguments = ["--pipeline", pipeline * count, "--seconds", options.seconds, "--keys",
                 options.keys, "--value", options.value, "--threads",
                 cores.generator_threads, "--connections", connections or options.connections]
    for command in commands:
        arguments += ["--command", command]
    with Meter(server) as meter:
        meter.start()
        line = generate(options, server, cores.generator, *arguments)
        meter.stop()
    if int(line["errors"]) or int(line["nils"]):
        raise Failure(f"{server.name}: {commands} gets {line['errors']} errors and "
                      f"{line['nils']} nils")
    seconds = float(line["seconds"])
    return {**meter.result(test, pipeline, int(line["ops"]) // count, seconds,
                           float(line["generator_cpu"]) * seconds),
            "p50_us": float(line["p50_us"]), "p99_us": float(line["p99_us"])}


# ---- scripts -------------------------------------------------------------------------------------

SCRIPTS = {
    "eval, GET": f'EVAL "{READ}" 1 __key__',
    "evalsha, GET": f"EVALSHA {digest(READ)} 1 __key__",
    "eval, INCRBY": f'EVAL "{WRITE}" 1 counter:__rand__ 1',
    "evalsha, INCRBY": f"EVALSHA {digest(WRITE)} 1 counter:__rand__ 1",
}


def run_scripts(options):
    cores = Cores(1)
    with Fleet(options) as fleet:
        start_all(options, fleet, cores)
        fill_all(options, fleet, cores.generator, counters=True)
        results = run_in_turn(options, fleet, list(SCRIPTS), options.pipelines,
                              lambda server, test, pipeline: measure_commands(
                                  options, server, cores, test, [SCRIPTS[test]], pipeline))
    print_comparison(options, results)
    return results


# ---- meetings ------------------------------------------------------------------------------------
# Absolute figures: a round trip of one client tells what a meeting takes, fifty pipelining ones
# what it uses.

MEETING_THREADS = [1, 2, 4]
MEETING = {
    "proven": f"EVALSHA {digest(READ)} 1 __key__",
    "undeclared": f"EVALSHA {digest(UNDECLARED)} 0 __key__",
}
MEETING_HEAD = ["server", "script", "connections × pipeline", "scripts/s", "µs each", "CPU µs each",
                "p50 µs", "p99 µs", "µs more than proven", "CPU µs more", "others' CPU"]


def meeting_row(results, server, load, script):
    """`more` is the median over the rounds of what it takes more than the proven one beside it."""
    def of(script):
        return [r for r in results if (r["server"], r["load"], r["script"]) == (server, load, script)]

    def more(key):
        pairs = zip(of(script), of("proven"))
        return f"{statistics.median(a[key] - b[key] for a, b in pairs):.2f}"
    mine = of(script)
    return [server, script, load, f"{median_of(mine, 'ops_per_s'):,.0f}",
            f"{median_of(mine, 'wall_us'):.2f}", f"{median_of(mine, 'cpu_us'):.2f}",
            f"{median_of(mine, 'p50_us'):.1f}", f"{median_of(mine, 'p99_us'):.1f}",
            *(["", ""] if script == "proven" else [more("wall_us"), more("cpu_us")]),
            f"{max(r['others_cpu'] for r in mine) * 100:.0f} %"]


def start_for_meetings(options, fleet):
    """Returns where each server runs, by its name."""
    places = {}
    for threads in MEETING_THREADS if "gyre" in options.only else []:
        cores = Cores(threads, 1)
        places[start(options, fleet, "gyre", cores, f"gyre, {cores.name}").name] = cores
    if "redis" in options.only:
        places[start(options, fleet, "redis", Cores(1)).name] = Cores(1)
    return places


def run_meetings(options):
    loads = {"1 × 1": (1, 1), f"{options.connections} × 1": (options.connections, 1),
             f"{options.connections} × 16": (options.connections, 16)}
    tests = {f"{script}, {load}": (load, script) for load in loads for script in MEETING}
    with Fleet(options) as fleet:
        places = start_for_meetings(options, fleet)
        fill_all(options, fleet, None)

        def measure(server, test, _pipeline):
            load, script = tests[test]
            connections, pipeline = loads[load]
            result = measure_commands(options, server, places[server.name], test,
                                      [MEETING[script]], pipeline, connections)
            return {**result, "load": load, "script": script, "wall_us": 1e6 / result["ops_per_s"]}
        results = run_in_turn(options, fleet, list(tests), [1], measure)
    print_table(MEETING_HEAD, [meeting_row(results, server, load, script) for server in places
                               for load, script in tests.values()])
    return results


# ---- transactions --------------------------------------------------------------------------------

TRANSACTION = ["MULTI", *["SET __key__ __data__"] * 10, "EXEC"]


def run_transactions(options):
    cores = Cores(2)
    with Fleet(options) as fleet:
        start_all(options, fleet, cores)
        fill_all(options, fleet, cores.generator)
        results = run_in_turn(options, fleet, ["MULTI of 10 SETs, 2 threads"], options.pipelines,
                              lambda server, test, pipeline: measure_commands(
                                  options, server, cores, test, TRANSACTION, pipeline))
    print_comparison(options, results)
    return results


# ---- pubsub --------------------------------------------------------------------------------------

SUBSCRIBERS = 100
CHANNEL = "channel"
# The readers share the generator's core: a quick server gets far ahead of them.
UNLIMITED = ["--client-output-buffer-limit", "pubsub", "0", "0", "0"]


def measure_publish(options, server, cores, test, pipeline):
    """An operation is one PUBLISH, done with when its last message has been read."""
    readers_command = generator_command(options, server, cores.generator, "--idle", SUBSCRIBERS,
                                        "--subscribe", CHANNEL, "--value", options.value,
                                        "--seconds", options.seconds + 60)
    with Meter(server) as meter:
        with subprocess.Popen(readers_command, stdout=subprocess.PIPE, text=True,
                              preexec_fn=die_with_parent) as readers:
            try:
                if readers.stdout.readline().strip() != f"subscribed={SUBSCRIBERS}":
                    raise Failure(f"{server.name}: the subscribers could not subscribe")
                meter.start()
                line = generate(options, server, cores.generator, "--pipeline", pipeline,
                                "--seconds", options.seconds, "--value", options.value,
                                "--connections", options.connections, "--command",
                                f"PUBLISH {CHANNEL} __data__")
                readers.send_signal(signal.SIGTERM)
                read = dict(pair.split("=") for pair in readers.stdout.readline().split())
                meter.stop()
            finally:
                if readers.poll() is None:
                    readers.kill()
    ops = int(line["ops"])
    if int(line["errors"]) or not read or not int(read["least"]) == int(read["most"]) == ops:
        raise Failure(f"{server.name}: of {ops} messages the subscribers got {read or 'nothing'}, "
                      f"the publishers {line['errors']} errors")
    seconds = max(float(line["seconds"]), float(read["seconds"]))
    generators = float(line["generator_cpu"]) * float(line["seconds"]) + float(read["cpu_seconds"])
    return {**meter.result(test, pipeline, ops, seconds, generators),
            "messages": int(read["messages"]), "p50_us": float(line["p50_us"])}


def run_pubsub(options):
    results = []
    for cores in (Cores(1), Cores(2)):
        with Fleet(options) as fleet:
            start_all(options, fleet, cores, UNLIMITED)
            results += run_in_turn(options, fleet, [f"PUBLISH to {SUBSCRIBERS}, {cores.name}"],
                                   options.pipelines,
                                   lambda server, test, pipeline, cores=cores: measure_publish(
                                       options, server, cores, test, pipeline))
    print_comparison(options, results)
    return results


# ---- blocking ------------------------------------------------------------------------------------
# Gyre places a connection on the shard of the first key that it speaks of, and moves it to another
# shard once it has spoken of that one's keys alone for a while. `keep` prevents the latter.

HANDOVERS_PER_SECOND = 10_000  # of --seconds; the default makes it 20,000
UNREADY_MAX = 0.02             # of the checks; beyond, the waiter was too often not waiting yet
BLOCKING_HEAD = ["hand-over", "server", "p50 µs", "p99 µs", "× redis p50", "× redis p99",
                 "CPU µs each", "× redis CPU", "others' CPU"]


def key_on(shard, threads):
    """A key whose slot lies with that shard."""
    return next(key for key in (f"queue:{i}" for i in range(1000))
                if binascii.crc_hqx(key.encode(), 0) % 16384 * threads // 16384 == shard)


HERE, THERE = key_on(0, 2), key_on(1, 2)
# The list is HERE. Threads, whether all are pinned to one core (and the generator to the other), where
# the waiter's and the pusher's connections begin, and `keep`.
BLOCKING = {"1 thread": (1, True, HERE, HERE, False)}
for _name, _where in {"all on one shard": (HERE, HERE, False),
                      "from another shard, free to move": (THERE, THERE, False),
                      "waiter kept on another": (THERE, HERE, True),
                      "pusher kept on another": (HERE, THERE, True),
                      "both kept on another": (THERE, THERE, True)}.items():
    BLOCKING[f"2 threads, {_name}"] = (2, True, *_where)
    BLOCKING[f"2 threads, not pinned, {_name}"] = (2, False, *_where)


def measure_handover(options, server, test):
    threads, is_pinned, waiter, pusher, keep = BLOCKING[test]
    cores, ops = Cores(threads, is_pinned=is_pinned), max(100, int(options.seconds * HANDOVERS_PER_SECOND))
    command = pinned([options.tool("gyre-handover"), "--port", str(server.port), "--ops", str(ops),
                      "--key", HERE, "--waiter-at", waiter, "--pusher-at", pusher,
                      *(["--keep"] if keep else [])],
                     cores.generator)
    with Meter(server) as meter:
        meter.start()
        done = subprocess.run(command, capture_output=True, text=True, timeout=900,
                              preexec_fn=die_with_parent)
        meter.stop()
    server.check_alive()
    if done.returncode:
        raise Failure(f"{server.name}: {' '.join(command)}\n{done.stderr.strip()}")
    line = dict(pair.split("=") for pair in done.stdout.split())
    if int(line["unready"]) > UNREADY_MAX * int(line["checks"]):
        say(f"WARNING {server.name}: at {line['unready']} of {line['checks']} checks BRPOP was "
            "not waiting yet")
    seconds = float(line["seconds"])
    return {**meter.result(test, 1, ops, seconds, float(line["cpu_seconds"])),
            "p50_us": float(line["p50_us"]), "p99_us": float(line["p99_us"]),
            "unready": int(line["unready"])}


def run_blocking(options):
    results = []
    for threads, is_pinned in ((1, True), (2, True), (2, False)):
        with Fleet(options) as fleet:
            start_all(options, fleet, Cores(threads, is_pinned=is_pinned))
            tests = [t for t, what in BLOCKING.items() if what[:2] == (threads, is_pinned)]
            results += run_in_turn(options, fleet, tests, [1], lambda server, test, _pipeline:
                                   measure_handover(options, server, test))
    rows = []
    for test in BLOCKING:
        of = {name: [r for r in results if (r["test"], r["server"]) == (test, name)]
              for name in options.only}
        for name, mine in of.items():
            redis = of.get("redis", [])
            rows.append([test, name, f"{median_of(mine, 'p50_us'):.1f}",
                         f"{median_of(mine, 'p99_us'):.1f}", ratio(mine, redis, "p50_us"),
                         ratio(mine, redis, "p99_us"), f"{median_of(mine, 'cpu_us'):.1f}",
                         ratio(mine, redis, "cpu_us"),
                         f"{max(r['others_cpu'] for r in mine) * 100:.0f} %"])
    print_table(BLOCKING_HEAD, rows)
    return results


# ---- All of them ---------------------------------------------------------------------------------

SESSIONS = {"scripts": run_scripts, "meetings": run_meetings, "transactions": run_transactions,
            "pubsub": run_pubsub, "blocking": run_blocking}


def run_sessions(options):
    results = []
    for part in options.tests:
        print(f"\n### {part}\n", flush=True)
        results += [{"part": part, **result} for result in SESSIONS[part](options)]
        print(flush=True)
    return results
