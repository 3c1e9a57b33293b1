# SPDX-License-Identifier: BSD-3-Clause
"""The comparison of what durability costs: compare persistence. Method: README.md.

log        SET without a log and with one under each appendfsync: what it takes from each server
snapshot   BGSAVE of all keys under full write load: latency, throughput, memory, duration
loading    from the start of the process to PING answered, from an RDB file and from the log
stalls     ten values of a million elements, written to while a snapshot is made: the longest
           time that a client of small keys had to wait

Every server works in a directory of its own; all are on one disk and are removed at the end. A log
is measured without its automatic rewrites, and is rewritten, untimed, when it has become long. The
disk has nothing left to write from before (sync) when a measurement begins.
"""
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import time

from datatypes import settle
from fleet import (Failure, Fleet, GENERATOR_CORE, ask, die_with_parent, fill, generate,
                   generator_command, machine_busy_seconds, measure_quietly, median_of,
                   order_of_round, print_table, ratio, say)
from sessions import Meter

LEAD_S = 0.2             # of load before BGSAVE
SNAPSHOT_LIMIT_S = 400   # less than gyre-load's longest run
LOAD_LIMIT_S = 600
LOAD_RUN_S = 590
POLL_S = 0.02
CHILD_POLL_S = 0.5       # between looks at a child's memory: the more it has, the longer they take
LOG_KEYS_MAX = 1_000_000
LOG_BYTES_MAX = 1 << 30  # longer logs are rewritten between measurements
MIB = 2**20


# ---- Disk ----------------------------------------------------------------------------------------

def file_system_of(path):
    """Its type and where it is mounted."""
    best = ("", "?")
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _device, point, kind = line.split()[:3]
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1], best[0]


def sync_us(directory):
    """The median time of an append of 4 KiB and its fdatasync."""
    path, times = os.path.join(directory, "probe"), []
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    for _ in range(100):
        start = time.monotonic()
        os.write(fd, bytes(4096))
        os.fdatasync(fd)
        times.append(time.monotonic() - start)
    os.close(fd)
    os.unlink(path)
    return statistics.median(times) * 1e6


def check_disk(options, directory):
    kind, point = file_system_of(os.path.realpath(directory))
    if kind in ("tmpfs", "ramfs", "overlay"):
        raise Failure(f"{directory} is on {kind}, not on a disk: pass --dir")
    free, needed = shutil.disk_usage(directory).free, 10 * 2**30 + options.keys * 1200
    if free < needed:
        raise Failure(f"{directory} has {free / 2**30:.0f} GiB free, up to "
                      f"{needed / 2**30:.0f} are wanted: pass --dir or fewer --keys")
    print(f"Files in {directory} ({kind} on {point}); 4 KiB appended and synced in "
          f"{sync_us(directory):.0f} µs (median)\n", flush=True)


def bytes_under(directory):
    total = 0
    for path in pathlib.Path(directory).rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            pass  # removed meanwhile
    return total


# ---- Servers and load ----------------------------------------------------------------------------

class Link:
    """One connection that stays, for INFO while others load the server."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=120)
        self.reply = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reply.close()
        self.socket.close()

    def ask(self, words):
        self.socket.sendall(words.encode() + b"\r\n")
        return self.reply.readline().decode(errors="replace").strip()

    def info(self, section):
        length = int(self.ask(f"INFO {section}")[1:])
        text = self.reply.read(length + 2).decode(errors="replace")
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


class Load:
    """gyre-load in the background, until it is told to stop; a context manager."""

    def __init__(self, options, server, *arguments):
        self.server = server
        command = generator_command(options, server, GENERATOR_CORE, "--seconds", LOAD_RUN_S,
                                    *arguments)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, preexec_fn=die_with_parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def finish(self):
        """Ends it, and returns what it measured."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=60)
        self.server.check_alive()
        line = dict(pair.split("=", 1) for pair in out.split())
        if self.process.returncode or not line or int(line["errors"]):
            raise Failure(f"{self.server.name}: gyre-load: {err.strip() or out}")
        return {key: float(value) for key, value in line.items() if key != "test"}


def start_server(options, fleet, name, threads=1, arguments=(), label=None, **more):
    options.threads = threads
    label = label or name
    core = options.server_cores if threads == 1 else None
    server = fleet.start(name, core, label, ["--save", "", *arguments],
                         fleet.subdirectory(label.replace(", ", "-").replace(" ", "-")), **more)
    say(f"{label}: pid {server.pid}, port {server.port}")
    return server


def in_turn(options, fleet, what, measure):
    results = []
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        for server in order_of_round(fleet.servers, number):
            result = measure_quietly(options, f"{what} {server.name}", lambda: measure(server))
            results.append({"round": number, **result})
    return results


# ---- log -----------------------------------------------------------------------------------------

LOG_MODES = {"none": ["--appendonly", "no"]}
LOG_MODES |= {mode: ["--appendonly", "yes", "--appendfsync", mode, "--auto-aof-rewrite-percentage",
                     "0"] for mode in ("no", "everysec", "always")}
LOG_PIPELINE = 16
LOG_HEAD = ["appendfsync", "server", "ops/s", "CPU µs/op", "× redis ops/s", "× redis CPU",
            "of its own without log", "CPU of its own", "p50 µs", "p99.9 µs", "generator CPU",
            "others' CPU"]


def shorten_log(server):
    """BGREWRITEAOF, awaited, if the log is long; then the disk is given time."""
    if bytes_under(server.directory) < LOG_BYTES_MAX:
        return
    deadline = time.monotonic() + SNAPSHOT_LIMIT_S
    with Link(server) as link:
        if link.ask("BGREWRITEAOF")[:1] != "+":
            raise Failure(f"{server.name} does not begin to rewrite its log")
        while time.monotonic() < deadline:
            time.sleep(POLL_S)
            info = link.info("persistence")
            if info["aof_rewrite_in_progress"] == "0" and info["aof_rewrite_scheduled"] == "0" \
                    and bytes_under(server.directory) < LOG_BYTES_MAX:
                return
    raise Failure(f"{server.name}: rewriting the log did not make it shorter")


def measure_log(options, server, mode, keys):
    os.sync()
    with Meter(server) as meter:
        meter.start()
        line = generate(options, server, GENERATOR_CORE, "--test", "set", "--pipeline",
                        LOG_PIPELINE, "--connections", options.connections, "--keys", keys,
                        "--value", options.value, "--seconds", options.seconds)
        meter.stop()
        shorten_log(server)
    if int(line["errors"]):
        raise Failure(f"{server.name}: {line['errors']} error replies")
    seconds = float(line["seconds"])
    result = meter.result("set", LOG_PIPELINE, int(line["ops"]), seconds,
                          float(line["generator_cpu"]) * seconds)
    return {**result, "server": server.name.partition(",")[0], "mode": mode,
            **{key: float(line[key]) for key in ("p50_us", "p99_us", "p999_us", "max_us")}}


def log_row(results, mode, name):
    def of(mode, name):
        return [r for r in results if (r["mode"], r["server"]) == (mode, name)]
    mine, redis, plain = of(mode, name), of(mode, "redis"), of("none", name)
    return ["(no log)" if mode == "none" else mode, name,
            f"{median_of(mine, 'ops_per_s') / 1e3:,.1f} k", f"{median_of(mine, 'cpu_us'):.3f}",
            ratio(mine, redis, "ops_per_s"), ratio(mine, redis, "cpu_us"),
            ratio(mine, plain, "ops_per_s"), ratio(mine, plain, "cpu_us"),
            f"{median_of(mine, 'p50_us'):,.0f}", f"{median_of(mine, 'p999_us'):,.0f}",
            f"{median_of(mine, 'generator_cpu') * 100:.0f} %",
            f"{max(r['others_cpu'] for r in mine) * 100:.0f} %"]


def run_log(options, fleet):
    keys, modes = min(options.keys, LOG_KEYS_MAX), {}
    for mode, arguments in LOG_MODES.items():
        for name in options.only:
            server = start_server(options, fleet, name, 1, arguments, f"{name}, {mode}")
            generate(options, server, GENERATOR_CORE, "--fill", "--pipeline", 64, "--keys", keys,
                     "--value", options.value)
            modes[server] = mode
            server.pause()
    results = in_turn(options, fleet, f"set pipeline {LOG_PIPELINE}",
                      lambda server: measure_log(options, server, modes[server], keys))
    print_table(LOG_HEAD, [log_row(results, mode, name) for mode in LOG_MODES
                           for name in options.only])
    return results


# ---- Snapshots -----------------------------------------------------------------------------------

def field_bytes(path, names):
    total = 0
    for line in path.read_text().splitlines():
        if line.partition(":")[0] in names:
            total += int(line.split()[1]) * 1024
    return total


def child_bytes(server):
    """What the server's children have that it does not have."""
    proc, children = pathlib.Path("/proc"), 0
    for path in (proc / str(server.pid) / "task").glob("*/children"):
        for pid in path.read_text().split():
            try:
                children += field_bytes(proc / pid / "smaps_rollup",
                                        ("Private_Clean", "Private_Dirty"))
                children += field_bytes(proc / pid / "status", ("VmPTE",))
            except OSError:
                pass  # it has just ended
    return children


def snapshot(server):
    """BGSAVE and its end; returns how long it took and what memory it took."""
    path = pathlib.Path(server.directory) / "dump.rdb"
    path.unlink(missing_ok=True)
    before = peak = server.rss_bytes()
    children, child_peak, looked_at = 0, 0, 0
    with Link(server) as link:
        start = time.monotonic()
        answer = link.ask("BGSAVE")
        if answer != "+Background saving started":
            raise Failure(f"{server.name}: BGSAVE: {answer}")
        asked = time.monotonic() - start
        while True:
            info = link.info("persistence")
            if info["rdb_bgsave_in_progress"] == "0" and path.exists():
                break
            if info["rdb_last_bgsave_status"] != "ok" and info["rdb_bgsave_in_progress"] == "0":
                raise Failure(f"{server.name}: the snapshot failed:\n{server.log_tail()}")
            if time.monotonic() - start > SNAPSHOT_LIMIT_S:
                raise Failure(f"{server.name}: no snapshot in {SNAPSHOT_LIMIT_S} s")
            if time.monotonic() - looked_at > CHILD_POLL_S:
                children = child_bytes(server)
                child_peak, looked_at = max(child_peak, children), time.monotonic()
            peak = max(peak, server.rss_bytes() + children)
            time.sleep(POLL_S)
        seconds = time.monotonic() - start
    return {"seconds": seconds, "bgsave_us": asked * 1e6, "extra_bytes": peak - before,
            "child_bytes": child_peak, "file_bytes": path.stat().st_size,
            "cow_bytes": int(info["rdb_last_cow_size"])}


def no_snapshot(server, seconds):
    """Asks as often as snapshot() does, so that the difference is the snapshot alone."""
    end = time.monotonic() + seconds
    with Link(server) as link:
        while time.monotonic() < end:
            link.info("persistence")
            server.rss_bytes()
            time.sleep(POLL_S)


def under_load(options, server, loads, seconds=None):
    """The loads' figures, with a snapshot among them or, with `seconds`, without one; the
    snapshot's, and those of the server."""
    os.sync()
    with Meter(server) as meter:
        running = []
        try:
            meter.start()
            for arguments in loads:
                running.append(Load(options, server, *arguments))
            time.sleep(LEAD_S)
            taken = no_snapshot(server, seconds) if seconds else snapshot(server)
            lines = [load.finish() for load in running]
            meter.stop()
        finally:
            for load in running:
                load.__exit__()
        settle(server)
    line = lines[0]
    used = sum(one["generator_cpu"] * one["seconds"] for one in lines)
    return lines, taken, meter.result("", 0, int(line["ops"]), line["seconds"], used)


# ---- snapshot ------------------------------------------------------------------------------------

SNAPSHOT_HEAD = ["pipeline", "server", "snapshot", "ops/s", "of without", "p50 µs", "p99.9 µs",
                 "× without", "max ms", "CPU µs/op", "BGSAVE takes", "extra memory",
                 "of the data set", "file", "generator CPU", "others' CPU"]
LATENCIES = ("p50_us", "p99_us", "p999_us", "max_us")


def measure_snapshot(options, server, pipeline, data_bytes):
    load = ["--test", "set", "--pipeline", pipeline, "--connections", options.connections,
            "--keys", options.keys, "--value", options.value]
    server.resume()
    generate(options, server, GENERATOR_CORE, *load, "--seconds", options.seconds)
    lines, taken, figures = under_load(options, server, [load])
    seconds = max(options.seconds, taken["seconds"])
    plain_lines, _, plain = under_load(options, server, [load], seconds)
    result = {**figures, **taken, **{key: lines[0][key] for key in LATENCIES}, "pipeline": pipeline,
              "others_cpu": max(figures["others_cpu"], plain["others_cpu"]),
              "plain_ops_per_s": plain["ops_per_s"], "plain_cpu_us": plain["cpu_us"],
              "plain_generator_cpu": plain["generator_cpu"], "data_bytes": data_bytes,
              **{"plain_" + key: plain_lines[0][key] for key in LATENCIES}}
    result["kept"] = result["ops_per_s"] / result["plain_ops_per_s"]
    result["later"] = result["p999_us"] / result["plain_p999_us"]
    result["extra_share"] = result["extra_bytes"] / data_bytes
    return result


def snapshot_rows(results, pipeline, name):
    mine = [r for r in results if (r["pipeline"], r["server"]) == (pipeline, name)]

    def shared(prefix):
        return {"ops": f"{median_of(mine, prefix + 'ops_per_s') / 1e3:,.1f} k",
                "p50": f"{median_of(mine, prefix + 'p50_us'):,.0f}",
                "p999": f"{median_of(mine, prefix + 'p999_us'):,.0f}",
                "max": f"{max(r[prefix + 'max_us'] for r in mine) / 1e3:,.1f}",
                "cpu": f"{median_of(mine, prefix + 'cpu_us'):.3f}",
                "generator": f"{median_of(mine, prefix + 'generator_cpu') * 100:.0f} %"}
    plain, with_it = shared("plain_"), shared("")
    others = f"{max(r['others_cpu'] for r in mine) * 100:.0f} %"
    return [[pipeline, name, "no", plain["ops"], "", plain["p50"], plain["p999"], "", plain["max"],
             plain["cpu"], "", "", "", "", plain["generator"], others],
            [pipeline, name, "yes", with_it["ops"], f"{median_of(mine, 'kept') * 100:.0f} %",
             with_it["p50"], with_it["p999"], f"{median_of(mine, 'later'):.2f}", with_it["max"],
             with_it["cpu"], f"{median_of(mine, 'seconds'):.2f} s",
             f"{median_of(mine, 'extra_bytes') / MIB:,.1f} MiB",
             f"{median_of(mine, 'extra_share') * 100:.1f} %",
             f"{median_of(mine, 'file_bytes') / MIB:,.0f} MiB", with_it["generator"], others]]


def run_snapshot(options, fleet):
    data_bytes, results = {}, []
    for name in options.only:
        server = start_server(options, fleet, name)
        empty = server.settled_rss_bytes()
        fill(options, server, GENERATOR_CORE, "--fill")
        data_bytes[server] = server.settled_rss_bytes() - empty
        server.pause()
    for pipeline in options.pipelines:
        results += in_turn(options, fleet, f"snapshot, pipeline {pipeline}", lambda server:
                           measure_snapshot(options, server, pipeline, data_bytes[server]))
    print(f"{options.keys:,} keys; data set: " + ", ".join(
        f"{server.name} {size / MIB:,.0f} MiB of RSS" for server, size in data_bytes.items()) + "\n")
    print_table(SNAPSHOT_HEAD, [row for pipeline in options.pipelines for name in options.only
                                for row in snapshot_rows(results, pipeline, name)])
    return results


# ---- loading -------------------------------------------------------------------------------------

LOADING = {
    "RDB": ["--appendonly", "no"],
    "log": ["--appendonly", "yes", "--appendfsync", "no", "--aof-use-rdb-preamble", "no",
            "--auto-aof-rewrite-percentage", "0"],
}
LOADING_HEAD = ["from", "server", "seconds", "keys/s", "× redis speed", "CPU s", "RSS", "files",
                "others' CPU"]


def end_gently(fleet, server):
    """SHUTDOWN NOSAVE, so that the log is all in its file."""
    try:
        ask(server.port, "SHUTDOWN", "NOSAVE")
    except OSError:
        pass  # it had no time to say goodbye
    try:
        status = server.process.wait(timeout=60)
    except subprocess.TimeoutExpired as late:
        raise Failure(f"{server.name} does not end at SHUTDOWN:\n{server.log_tail()}") from late
    if status:
        raise Failure(f"{server.name}: status {status} at SHUTDOWN:\n{server.log_tail()}")
    fleet.stop(server)


def write_data(options, fleet, kind, name, threads, label):
    server = start_server(options, fleet, name, threads, LOADING[kind], label)
    fill(options, server, GENERATOR_CORE if threads == 1 else None, "--fill")
    if kind == "RDB":
        answer = ask(server.port, "SAVE", timeout=LOAD_LIMIT_S)
        if answer != "+OK":
            raise Failure(f"{label}: SAVE: {answer}")
    end_gently(fleet, server)


def read_once(directory):
    """So that all find their files in the page cache."""
    for path in pathlib.Path(directory).rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                while file.read(1 << 20):
                    pass


def measure_loading(options, fleet, kind, name, threads, label):
    os.sync()
    directory = fleet.subdirectory(label.replace(", ", "-").replace(" ", "-"))
    read_once(directory)
    files, busy, start = bytes_under(directory), machine_busy_seconds(), time.monotonic()
    server = start_server(options, fleet, name, threads, LOADING[kind], label,
                          limit_s=LOAD_LIMIT_S)
    seconds, cpu = time.monotonic() - start, server.cpu_seconds()
    busy = machine_busy_seconds() - busy
    rss, size = server.rss_bytes(), ask(server.port, "DBSIZE")
    if size != f":{options.keys}":
        raise Failure(f"{label}: DBSIZE after loading {options.keys} keys: {size}")
    end_gently(fleet, server)
    return {"server": label, "kind": kind, "seconds": seconds, "ops_per_s": options.keys / seconds,
            "cpu_s": cpu, "cpu_us": cpu * 1e6 / options.keys, "rss": rss, "files": files,
            "others_cpu": max(0.0, busy - cpu) / seconds}


def loading_row(results, kind, label):
    mine, redis = ([r for r in results if (r["kind"], r["place"]) == (kind, place)]
                   for place in (label, "redis"))
    return [kind, label, f"{median_of(mine, 'seconds'):.2f}",
            f"{median_of(mine, 'ops_per_s'):,.0f}", ratio(mine, redis, "ops_per_s"),
            f"{median_of(mine, 'cpu_s'):.2f}", f"{median_of(mine, 'rss') / MIB:,.0f} MiB",
            f"{median_of(mine, 'files') / MIB:,.0f} MiB",
            f"{max(r['others_cpu'] for r in mine) * 100:.0f} %"]


def run_loading(options, fleet):
    places = {"redis": ("redis", 1)} if "redis" in options.only else {}
    if "gyre" in options.only:
        places |= {"gyre, 1 thread": ("gyre", 1), "gyre, 2 threads": ("gyre", 2)}
    results = []
    for kind in LOADING:
        for place, (name, threads) in places.items():
            write_data(options, fleet, kind, name, threads, f"{place}, {kind}")
        for number in range(options.rounds):
            for place in order_of_round(list(places), number):
                name, threads = places[place]
                result = measure_quietly(options, f"loading, {place}", lambda: measure_loading(
                    options, fleet, kind, name, threads, f"{place}, {kind}"))
                results.append({"round": number, "place": place, **result})
        for place in places:
            shutil.rmtree(fleet.subdirectory(f"{place}, {kind}".replace(", ", "-").replace(
                " ", "-")))
    print_table(LOADING_HEAD, [loading_row(results, kind, place) for kind in LOADING
                               for place in places])
    return results


# ---- stalls --------------------------------------------------------------------------------------
# Two of each type. What fills them, once for each element, and what changes them without making
# them larger. Ranks have five digits, so these are members with seven zeros before.

BIG = {
    "list": ("RPUSH {} element:__seq__", ["LMOVE {0} {0} LEFT RIGHT"]),
    "hash": ("HSET {} field:__seq__ value:__seq__", ["HSET {} field:__rand__ other:__rand__"]),
    "set": ("SADD {} member:__seq__", ["SREM {} member:0000000__rank__",
                                       "SADD {} member:0000000__again__"]),
    "zset": ("ZADD {} __seq__ member:__seq__", ["ZINCRBY {} 1 member:__rand__"]),
    "stream": ("XADD {} * field value:__seq__", ["XADD {} MAXLEN ~ ELEMENTS * field __rand__"]),
}
ELEMENTS_MAX = 1_000_000
WRITERS = 4
PROBE = ["--connections", 1, "--pipeline", 1, "--keys", 100_000, "--command", "PING", "--command",
         "SET small:__rand__ __data__"]
STALLS_HEAD = ["server", "snapshot", "longest stall ms", "median of rounds ms", "p99.9 µs",
               "p50 µs", "writers' longest ms", "writes/s", "of without", "BGSAVE takes",
               "extra memory", "file", "others' CPU"]


def big_keys():
    return [(f"big:{kind}:{i}", kind) for kind in BIG for i in (1, 2)]


def fill_big(options, server, elements):
    for key, kind in big_keys():
        line = generate(options, server, GENERATOR_CORE, "--pipeline", 64, "--ops", elements,
                        "--command", BIG[kind][0].format(key))
        if int(line["errors"]):
            raise Failure(f"{server.name}: {key} gets errors")
    settle(server)


def measure_stalls(options, server, elements):
    writer = ["--connections", WRITERS, "--pipeline", 1, "--keys", elements]
    for key, kind in big_keys():
        for template in BIG[kind][1]:
            writer += ["--command", template.format(key).replace("ELEMENTS", str(elements))]
    (writes, probe), taken, figures = under_load(options, server, [writer, PROBE])
    (plain_writes, plain), _, _ = under_load(options, server, [writer, PROBE],
                                             max(options.seconds, taken["seconds"]))
    return {**figures, **taken, **{key: probe[key] for key in LATENCIES},
            "writer_max_us": writes["max_us"], "plain_ops_per_s": plain_writes["ops_per_s"],
            "plain_writer_max_us": plain_writes["max_us"],
            **{"plain_" + key: plain[key] for key in LATENCIES},
            "kept": writes["ops_per_s"] / plain_writes["ops_per_s"]}


def stall_row(results, name, prefix):
    mine = [r for r in results if r["server"] == name]
    row = [name, "no" if prefix else "yes", f"{max(r[prefix + 'max_us'] for r in mine) / 1e3:,.2f}",
           f"{median_of(mine, prefix + 'max_us') / 1e3:,.2f}",
           f"{median_of(mine, prefix + 'p999_us'):,.0f}",
           f"{median_of(mine, prefix + 'p50_us'):,.0f}",
           f"{max(r[prefix + 'writer_max_us'] for r in mine) / 1e3:,.2f}",
           f"{median_of(mine, prefix + 'ops_per_s'):,.0f}"]
    others = f"{max(r['others_cpu'] for r in mine) * 100:.0f} %"
    if prefix:
        return row + ["", "", "", "", others]
    return row + [f"{median_of(mine, 'kept') * 100:.0f} %", f"{median_of(mine, 'seconds'):.2f} s",
                  f"{median_of(mine, 'extra_bytes') / MIB:,.1f} MiB",
                  f"{median_of(mine, 'file_bytes') / MIB:,.0f} MiB", others]


def run_stalls(options, fleet):
    elements = min(ELEMENTS_MAX, max(1000, options.keys // 5))
    for name in options.only:
        server = start_server(options, fleet, name)
        fill_big(options, server, elements)
        server.pause()
    results = in_turn(options, fleet, "stalls", lambda server:
                      measure_stalls(options, server, elements))
    print(f"{len(big_keys())} values of {elements:,} elements each\n")
    print_table(STALLS_HEAD, [stall_row(results, name, prefix) for name in options.only
                              for prefix in ("plain_", "")])
    return results


# ---- All of them ---------------------------------------------------------------------------------

PERSISTENCE = {"log": run_log, "snapshot": run_snapshot, "loading": run_loading,
               "stalls": run_stalls}


def run_persistence(options):
    results = []
    for part in options.tests:
        print(f"\n### {part}\n", flush=True)
        with Fleet(options) as fleet:
            check_disk(options, fleet.directory)
            results += [{"part": part, **result} for result in PERSISTENCE[part](options, fleet)]
        print(flush=True)
    return results
