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


# ---- RDB files (src/store/rdb_file.h)


def rdb_key(kind, key, *parts, expire_ms=None, expire_s=None, idle=None, freq=None):
    out = b""
    if expire_s is not None:
        out += b"\xfd" + struct.pack("<i", expire_s)
    if expire_ms is not None:
        out += b"\xfc" + struct.pack("<q", expire_ms)
    if idle is not None:
        out += b"\xf8" + length(idle)
    if freq is not None:
        out += b"\xf9" + bytes([freq])
    return out + bytes([kind]) + string(key) + b"".join(parts)


def rdb_aux(name, text):
    return b"\xfa" + string(name) + string(text)


def rdb_function(code):
    return b"\xf5" + string(code)


def rdb_db(number, keys=None, expiring=0):
    sizes = b"" if keys is None else b"\xfb" + length(keys) + length(expiring)
    return b"\xfe" + length(number) + sizes


def rdb_file(*items, version=VERSION, checksum=None):
    """A whole file; `checksum`: another one than the right one (0: none)."""
    body = b"REDIS%04d" % version + b"".join(items) + b"\xff"
    if version < 5:
        return body
    return body + struct.pack("<Q", crc64(body) if checksum is None else checksum)


def old_rdb_items(now_s):
    """Items of every layout that versions 6 to 9 of the format knew, one key each."""
    node = [b"x", 5, b"y" * 100, -70000]
    later = now_s + 100000
    return [
        rdb_db(0),
        rdb_key(0, "string", string("text")),
        rdb_key(0, "integers", b"\xc2" + struct.pack("<i", -70000), expire_s=later),
        rdb_key(0, "lzf", lzf_literal(b"z" * 100), expire_ms=later * 1000 + 5),
        rdb_key(1, "list", length(3), strings("a", "b", "c")),
        rdb_key(2, "set", length(2), strings("a", "17")),
        rdb_key(
            3,
            "old zset",
            length(3),
            string("m") + old_double(1.5),
            string("n") + old_double(float("inf")),
            string("o") + old_double(float("-inf")),
        ),
        rdb_key(4, "hash", length(2), strings("f", "v", "g", "w")),
        rdb_key(9, "zipmap", string(zipmap((b"f", b"v"), (b"long", b"w" * 60)))),
        rdb_key(10, "list ziplist", string(ziplist(*node))),
        rdb_key(11, "intset", string(intset(-3, 5, 70000))),
        rdb_key(12, "zset ziplist", string(ziplist(b"m", 1, b"n", b"2.5"))),
        rdb_key(13, "hash ziplist", string(ziplist(b"f", b"v", b"g", 12))),
        rdb_db(3, 2),
        rdb_key(14, "quicklist", length(2), string(ziplist(*node)), lzf_literal(ziplist(b"z"))),
        rdb_key(5, "zset", length(2), string("m") + double(-0.5), string("n") + double(2)),
    ]
