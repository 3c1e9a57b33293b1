# SPDX-License-Identifier: BSD-3-Clause
"""What every comparison stands on: the servers, the generator, medians and tables. See compare."""
import ctypes
import os
import pathlib
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SERVER_CORE, GENERATOR_CORE = "0", "1"
START_LIMIT_S = 20
QUIET_ENOUGH = 0.08  # of one core, used by others during a measurement
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Failure(Exception):
    """Something that ends the run with a message."""


# ---- Processes -----------------------------------------------------------------------------------

def die_with_parent():
    """In a child before exec: the kernel kills it when this script is gone."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def pinned(command, core):
    return ["taskset", "-c", core, *command] if core is not None else command


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, *words, timeout=120):
    """Sends one command on a connection of its own; returns the first line of the reply."""
    request = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as link:
        link.sendall(request.encode())
        with link.makefile("rb") as reply:
            return reply.readline().decode(errors="replace").strip()


def info_field(port, section, name):
    """A number from INFO."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as link:
        link.sendall(f"INFO {section}\r\n".encode())
        with link.makefile("rb") as reply:
            length = int(reply.readline()[1:])
            for line in reply.read(length).decode(errors="replace").splitlines():
                if line.startswith(name + ":"):
                    return int(line.split(":")[1])
    raise Failure(f"INFO {section} does not say {name}")


class Server:
    """A server process, stopped (SIGSTOP) except while it is being used."""

    def __init__(self, name, command, port, core, directory):
        self.name, self.port, self.directory = name, port, directory
        self.log_path = os.path.join(directory, f"{name}.log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(pinned(command, core), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, cwd=directory,
                                            preexec_fn=die_with_parent)
        self.pid = self.process.pid

    def wait_until_ready(self, limit_s=START_LIMIT_S):
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                if ask(self.port, "PING", timeout=1) == "+PONG":
                    return
            except OSError:
                pass
            time.sleep(0.005)
        raise Failure(f"{self.name} does not answer PING on port {self.port} after "
                      f"{limit_s} s; its output:\n{self.log_tail()}")

    def check_alive(self):
        if self.process.poll() is not None:
            raise Failure(f"{self.name} has ended (status {self.process.returncode}); "
                          f"its output:\n{self.log_tail()}")

    def log_tail(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")[-2000:]

    def pause(self):
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGSTOP)

    def resume(self):
        self.check_alive()
        os.kill(self.pid, signal.SIGCONT)
        ask(self.port, "PING")  # it is running again, and has done what its timers had missed

    def stop(self):
        """SIGKILL: nothing it holds is wanted, and a stopped process obeys no other signal."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def cpu_seconds(self):
        """All its threads', and that of children which have ended (Redis saves in one)."""
        text = pathlib.Path(f"/proc/{self.pid}/stat").read_text()
        fields = text.rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:15])) / TICKS_PER_SECOND

    def rss_bytes(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise Failure(f"{self.name}: no VmRSS")

    def settled_rss_bytes(self):
        """The RSS once it no longer moves: rehashing and freeing go on after the last command."""
        before = self.rss_bytes()
        for _ in range(20):
            time.sleep(0.5)
            now = self.rss_bytes()
            if abs(now - before) <= before // 1000:
                break
            before = now
        return now


class Fleet:
    """The servers under measurement and the directory they work in; a context manager."""

    def __init__(self, options):
        self.options, self.servers = options, []
        self.directory = tempfile.mkdtemp(prefix="gyre-compare.", dir=options.dir)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, name, core, label=None, arguments=(), directory=None, limit_s=START_LIMIT_S):
        """`label` tells apart servers of one name; a `directory` of its own is what keeps files."""
        port = free_port()
        command = self.options.command_of(name, port) + list(arguments)
        server = Server(label or name, command, port, core, directory or self.directory)
        self.servers.append(server)
        server.wait_until_ready(limit_s)
        return server

    def subdirectory(self, name):
        path = os.path.join(self.directory, name)
        os.makedirs(path, exist_ok=True)
        return path

    def stop(self, server):
        server.stop()
        self.servers.remove(server)


# ---- The generator -------------------------------------------------------------------------------

def generator_command(options, server, core, *arguments):
    command = [options.tool("gyre-load"), "--port", str(server.port), *map(str, arguments)]
    return pinned(command, core)


def generate(options, server, core, *arguments):
    """Runs gyre-load to its end and returns what it printed as a dictionary."""
    command = generator_command(options, server, core, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=900,
                          preexec_fn=die_with_parent)
    server.check_alive()
    if done.returncode != 0:
        raise Failure(f"{server.name}: {shlex.join(command)}\n{done.stderr.strip()}")
    if done.stderr:
        say(f"WARNING {server.name}: {done.stderr.strip()}")
    return dict(pair.split("=", 1) for pair in done.stdout.split())


def say(text):
    print(text, file=sys.stderr, flush=True)


def fill(options, server, core, *arguments):
    """Sets the keys, and makes sure that a server which can count them has them all."""
    generate(options, server, core, "--pipeline", 64, "--value", options.value,
             "--keys", options.keys, *arguments)
    if server.name != "floor":
        answer = ask(server.port, "DBSIZE")
        if answer != f":{options.keys}":
            say(f"WARNING {server.name}: DBSIZE after filling {options.keys} keys: {answer}")


# ---- Figures -------------------------------------------------------------------------------------

def machine_busy_seconds():
    """CPU time that the whole machine has used, what the hypervisor took away included."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


def measure_quietly(options, what, once):
    """Calls once(), again while others use the machine; returns the least disturbed result."""
    best = None
    for _ in range(options.attempts):
        result = once()
        say(f"  {what}: {result['ops_per_s'] / 1e3:,.1f} k/s, {result['cpu_us']:.3f} µs/op, "
            f"others used {result['others_cpu'] * 100:.0f} %")
        if best is None or result["others_cpu"] < best["others_cpu"]:
            best = result
        if best["others_cpu"] <= QUIET_ENOUGH:
            break
    return best


def order_of_round(items, number):
    """A B C, C B A, B C A, A C B ...: nobody is always the first, or behind the same one."""
    by = number // 2 % len(items)
    rotated = items[by:] + items[:by]
    return rotated[::-1] if number % 2 else rotated


def median_of(results, key):
    return statistics.median(r[key] for r in results)


def ratio(results, others, key):
    """The median over the rounds of results[key] / others[key]; '' without others."""
    base = {r["round"]: r[key] for r in others}
    ratios = [r[key] / base[r["round"]] for r in results if base.get(r["round"])]
    return f"{statistics.median(ratios):.2f}" if ratios else ""


def print_table(head, rows):
    table = [list(map(str, row)) for row in [head, *rows]]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    for number, row in enumerate(table):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
