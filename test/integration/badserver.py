# SPDX-License-Identifier: BSD-3-Clause
"""Servers that are wrong on purpose: they show that the tests can fail (test_selftest.py).

Disordered   a front for several redis-servers, keys spread over them by hash, that forgets the order rule:
             each part of a command travels by itself, with a delay of its own. MSET and MGET are not atomic,
             RENAME and COPY are several commands, a pipeline's commands overtake one another (their replies don't).
Liar         a front for one redis-server that passes every reply through `lie(command, raw reply)`.
"""

import asyncio
import multiprocessing
import os
import random
import time
import zlib

from harness import Conn, Parser, encode, free_port


async def read_reply(reader, parser):
    while True:
        found = parser.next()
        if found:
            return found
        data = await reader.read(1 << 16)
        if not data:
            raise ConnectionError
        parser.feed(data)


class Link:
    """One client's connection to one of the servers behind; replies come in the order asked."""

    def __init__(self, port, delay):
        self.port, self.delay, self.waiting, self.batch = port, delay, asyncio.Queue(), []

    async def open(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.wake = asyncio.Event()
        self.tasks = [asyncio.ensure_future(self._send()), asyncio.ensure_future(self._receive())]

    def ask(self, *args):
        future = asyncio.get_event_loop().create_future()
        self.batch.append((encode(*args), future))
        self.wake.set()
        return future

    async def _send(self):
        while True:
            await self.wake.wait()
            self.wake.clear()
            if self.delay:
                await asyncio.sleep(random.random() * self.delay)
            batch, self.batch = self.batch, []
            for data, future in batch:
                self.waiting.put_nowait(future)
                self.writer.write(data)

    async def _receive(self):
        parser = Parser()
        while True:
            future = await self.waiting.get()
            future.set_result(await read_reply(self.reader, parser))

    def close(self):
        for task in self.tasks:
            task.cancel()
        self.writer.close()


class Front:
    def __init__(self, ports, delay, lie=None, leak=False):
        self.ports, self.delay, self.lie, self.leak = ports, delay, lie, leak
        self.leaked = []

    async def serve(self, port):
        server = await asyncio.start_server(self._client, "127.0.0.1", port, limit=1 << 20)
        async with server:
            await server.serve_forever()

    async def _client(self, reader, writer):
        links = [Link(p, self.delay) for p in self.ports]
        for link in links:
            await link.open()
        replies = asyncio.Queue()
        out = asyncio.ensure_future(self._write(replies, writer))
        parser = Parser()
        try:
            while True:
                _, request = await read_reply(reader, parser)
                args = [w.value for w in request.value]
                replies.put_nowait((args, asyncio.ensure_future(self._execute(links, args))))
                await asyncio.sleep(0)
        except Exception:
            pass
        finally:
            out.cancel()
            if self.leak and random.random() < 0.2:
                self.leaked.append(links)
            else:
                for link in links:
                    link.close()
            writer.close()

    async def _write(self, replies, writer):
        while True:
            args, future = await replies.get()
            raw = await future
            writer.write(self.lie(args, raw) if self.lie else raw)

    async def _execute(self, links, args):
        def at(key):
            return links[zlib.crc32(key) % len(links)]

        name = args[0].upper()
        if name == b"MGET":
            parts = await asyncio.gather(*(at(k).ask("GET", k) for k in args[1:]))
            return b"*%d\r\n" % len(parts) + b"".join(raw for raw, _ in parts)
        if name == b"MSETNX":
            if len(links) > 1:
                counts = await asyncio.gather(*(at(k).ask("EXISTS", k) for k in args[1::2]))
                if any(r.value for _, r in counts):
                    return b":0\r\n"
                await asyncio.gather(
                    *(at(k).ask("SET", k, v) for k, v in zip(args[1::2], args[2::2]))
                )
                return b":1\r\n"
        elif name == b"MSET":
            await asyncio.gather(*(at(k).ask("SET", k, v) for k, v in zip(args[1::2], args[2::2])))
            return b"+OK\r\n"
        elif name in (b"DEL", b"UNLINK", b"EXISTS", b"TOUCH"):
            parts = await asyncio.gather(*(at(k).ask(name, k) for k in args[1:]))
            return b":%d\r\n" % sum(r.value for _, r in parts)
        elif name in (b"RENAME", b"RENAMENX", b"COPY") and len(links) > 1:
            return await self._move(at, name, *args[1:3])
        elif name == b"DBSIZE":
            parts = await asyncio.gather(*(link.ask(name) for link in links))
            return b":%d\r\n" % sum(r.value for _, r in parts)
        elif name == b"FLUSHALL":
            await asyncio.gather(*(link.ask(name) for link in links))
            return b"+OK\r\n"
        key = args[1] if len(args) > 1 and name in (b"SET", b"GET", b"INCR", b"GETRANGE") else b""
        return (await at(key).ask(*args))[0]

    async def _move(self, at, name, source, target):
        _, value = await at(source).ask("GET", source)
        if value.value is None:
            return b":0\r\n" if name == b"COPY" else b"-ERR no such key\r\n"
        if name == b"RENAMENX":
            if not (await at(target).ask("SETNX", target, value.value))[1].value:
                return b":0\r\n"
        else:
            await at(target).ask("SET", target, value.value)
        if name != b"COPY" and source != target:
            await at(source).ask("DEL", source)
        return b"+OK\r\n" if name == b"RENAME" else b":1\r\n"


class BadServer:
    """A Front in a process of its own, with the parts of harness.Server that tests use."""

    kind = "gyre"

    def __init__(self, behind, delay=0.0, lie=None, leak=False):
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        front = Front([s.port for s in behind], delay, lie, leak)
        self.process = multiprocessing.get_context("fork").Process(
            target=self._run, args=(front,), daemon=True
        )
        self.process.start()
        for _ in range(200):
            try:
                Conn(self.address, timeout=5).close()
                return
            except OSError:
                time.sleep(0.02)

    def _run(self, front):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # clients that vanish make asyncio talkative
        try:
            asyncio.run(front.serve(self.port))
        finally:
            os._exit(0)

    def connect(self, resp=2, **kw):
        return Conn(self.address, resp=resp, **kw)

    def alive(self):
        return self.process.is_alive()

    def stop(self):
        self.process.terminate()
        self.process.join()
