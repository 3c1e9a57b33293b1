# SPDX-License-Identifier: BSD-3-Clause
"""DUMP payloads made by hand, of every layout that Redis ever wrote (the formats: src/types/rdb.h,
src/ds/listpack.h, src/ds/ziplist.h, src/ds/intset.h)."""

import struct

VERSION = 10  # of Redis 7.0


def _table():
    out = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
        out.append(crc)
    return out


_CRC = _table()


def crc64(data):
    crc = 0
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def seal(body, version=VERSION):
    """The payload: type and value with a version and a good checksum behind them."""
    body = body + struct.pack("<H", version)
    return body + struct.pack("<Q", crc64(body))


def payload(kind, *parts, version=VERSION):
    return seal(bytes([kind]) + b"".join(parts), version)


def body_of(sealed):
    return sealed[:-10]


def length(n):
    if n < 1 << 6:
        return bytes([n])
    if n < 1 << 14:
        return bytes([0x40 | n >> 8, n & 0xFF])
    if n < 1 << 32:
        return b"\x80" + struct.pack(">I", n)
    return b"\x81" + struct.pack(">Q", n)


def string(data):
    if not isinstance(data, bytes):
        data = str(data).encode()
    return length(len(data)) + data


def strings(*data):
    return b"".join(string(d) for d in data)


def double(value):
    return struct.pack("<d", value)


def old_double(value):
    if value != value:
        return b"\xfd"
    if value in (float("inf"), float("-inf")):
        return b"\xfe" if value > 0 else b"\xff"
    text = repr(value).encode()
    return bytes([len(text)]) + text


def lzf_literal(data):
    """A string in LZF code that compresses nothing."""
    code = b""
    for at in range(0, len(data), 32):
        run = data[at : at + 32]
        code += bytes([len(run) - 1]) + run
    return b"\xc3" + length(len(code)) + length(len(data)) + code


def _backlen(n):
    out = [n & 127]  # the least significant, which stands last; all but the first byte are marked
    while n >> 7:
        n >>= 7
        out[-1] |= 128
        out.append(n & 127)
    return bytes(reversed(out))


def _listpack_item(item):
    if isinstance(item, int):
        if 0 <= item <= 127:
            return bytes([item])
        if -4096 <= item <= 4095:
            return struct.pack(">H", 0xC000 | item & 0x1FFF)
        for tag, size in ((0xF1, 2), (0xF2, 3), (0xF3, 4), (0xF4, 8)):
            if -(1 << 8 * size - 1) <= item < 1 << 8 * size - 1:
                return bytes([tag]) + item.to_bytes(size, "little", signed=True)
    if len(item) < 64:
        return bytes([0x80 | len(item)]) + item
    if len(item) < 4096:
        return struct.pack(">H", 0xE000 | len(item)) + item
    return b"\xf0" + struct.pack("<I", len(item)) + item


def listpack(*items, count=None, total=None, end=b"\xff"):
    inside = b""
    for item in items:
        encoded = _listpack_item(item)
        inside += encoded + _backlen(len(encoded))
    count = min(len(items), 65535) if count is None else count
    total = 6 + len(inside) + len(end) if total is None else total
    return struct.pack("<IH", total, count) + inside + end


def _ziplist_item(item):
    if isinstance(item, int):
        if 0 <= item <= 12:
            return bytes([0xF1 + item])
        for tag, size in ((0xFE, 1), (0xC0, 2), (0xF0, 3), (0xD0, 4), (0xE0, 8)):
            if -(1 << 8 * size - 1) <= item < 1 << 8 * size - 1:
                return bytes([tag]) + item.to_bytes(size, "little", signed=True)
    if len(item) < 64:
        return bytes([len(item)]) + item
    if len(item) < 16384:
        return struct.pack(">H", 0x4000 | len(item)) + item
    return b"\x80" + struct.pack(">I", len(item)) + item


def ziplist(*items, count=None, last=None, total=None, long_lengths=False):
    inside, previous, at = b"", 0, 10
    for item in items:
        at = 10 + len(inside)
        if previous < 254 and not long_lengths:
            entry = bytes([previous])
        else:
            entry = b"\xfe" + struct.pack("<I", previous)
        entry += _ziplist_item(item)
        inside += entry
        previous = len(entry)
    total = 11 + len(inside) if total is None else total
    last = at if last is None else last
    count = len(items) if count is None else count
    return struct.pack("<IIH", total, last, count) + inside + b"\xff"


def zipmap(*pairs, count=None, gap=0):
    def size(n):
        return bytes([n]) if n < 254 else b"\xfe" + struct.pack("<I", n)

    out = bytes([min(len(pairs), 254) if count is None else count])
    for field, value in pairs:
        out += size(len(field)) + field + size(len(value)) + bytes([gap]) + value + b"x" * gap
    return out + b"\xff"


def intset(*integers, width=None, count=None):
    if width is None:
        width = next(
            w for w in (2, 4, 8) if all(-(1 << 8 * w - 1) <= i < 1 << 8 * w - 1 for i in integers)
        )
    count = len(integers) if count is None else count
    return struct.pack("<II", width, count) + b"".join(
        i.to_bytes(width, "little", signed=True) for i in integers
    )
