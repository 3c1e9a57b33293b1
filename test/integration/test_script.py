# SPDX-License-Identifier: BSD-3-Clause
"""Scripts and functions: what a differential stream cannot say. The sandbox against the published
escapes, memory and depth, several shards. (Slow ones: test_busy.py.)"""
from harness import STANDIN
from runner import test


def gyre_only():
    return "what Redis 7.0.15 does here is a crash" if STANDIN else None


def plain(reply):
    """A reply's value, down to the last element."""
    value = reply.value
    return [plain(r) for r in value] if isinstance(value, list) else value


def run(conn, script, *args):
    """EVAL without declared keys."""
    return conn.cmd("EVAL", script, 0, *args)


CRASHERS = [
    # CVE-2025-46817: a range that overflows an int.
    ("return {pcall(unpack, {1, 2, 3}, -2147483648, 2147483647)}", "too many results to unpack"),
    ("return {pcall(unpack, {1, 2, 3}, 0, 2147483647)}", "too many results to unpack"),
    ("return {pcall(unpack, {}, -2, 2147483646)}", "too many results to unpack"),
    ("return #{unpack({}, 2147483640, 2147483647)}", 0),
    # CVE-2024-31449: a count whose negative does not exist.
    ("return #bit.tohex(65535, -2147483648)", 8),
    ("return bit.tohex(65535, 2147483648)", b"0000FFFF"),
    ("return bit.tohex(65535, -4)", b"FFFF"),
    # CVE-2025-49844 and bytecode: the parser works while script code collects garbage; text only.
    ("""local n = 0
        local f = load(function()
            n = n + 1
            collectgarbage()
            local waste = {} for i = 1, 100 do waste[i] = ('x'):rep(i) .. n end
            if n > 50 then return nil end
            return n == 1 and 'return ' or '1 +' .. (n == 50 and ' 1' or ' ')
        end, ('name'):rep(100) .. tostring(n))
        return f and f() or 'nil'""", 50),
    ("return tostring(loadstring('\\27Lua'))", b"nil"),
    ("return tostring(loadstring(string.dump(function() return 1 end)))", b"nil"),
    ("local n = 0 return tostring(load(function() n = n + 1 return n == 1 and '\\27Lua' or nil end))", b"nil"),
    ("return {pcall(load, function() return (' '):rep(1000000) end)}", "chunk too long"),
    # CVE-2025-46819: long brackets.
    ("return tostring(loadstring('return [' .. ('='):rep(1000000) .. '['))", b"nil"),
    # CVE-2022-24736 and the like: odd errors.
    ("return {pcall(error, {})}", []),
    ("return {pcall(error)}", None),
    ("return tostring(pcall(coroutine.resume, coroutine.create(function() error({}) end)))", b"true"),
    # Patterns that recurse, nesting, and things that have no end.
    ("return {pcall(string.find, ('a'):rep(300000), ('a?'):rep(300000) .. 'b')}", "pattern too complex"),
    ("return #string.rep('', 2147483647)", 0),
    ("local t = {} for i = 1, 100000 do t = {t} end return {pcall(cjson.encode, t)}",
     "excessive nesting"),
    ("return {pcall(cjson.decode, ('['):rep(100000))}", "too many nested"),
    ("cjson.encode_max_depth(2147483647) local t = {} for i = 1, 100000 do t = {t} end "
     "return {pcall(cjson.encode, t)}", "excessive nesting"),
    ("cjson.decode_max_depth(2147483647) return {pcall(cjson.decode, ('['):rep(100000))}",
     "too many nested"),
    ("local function f(n) return n == 0 and 0 or 1 + f(n - 1) end return {pcall(f, 1000000)}",
     "stack overflow"),
    ("local t = setmetatable({}, {}) getmetatable(t).__index = t return {pcall(function() return t.x end)}",
     "loop in gettable"),
    ("local s = ('('):rep(300) return {pcall(loadstring, 'return ' .. s)}", None),
    ("local f = function(f, s) return f(f, (s:gsub('.', function() return f(f, s) end))) end "
     "return {pcall(f, f, 'x')}", "overflow"),
]

# CVE-2022-24735, CVE-2025-46818: what one script leaves for another.
LEAKS = [
    "x = 1", "_G.x = 1", "rawset(_G, 'x', 1)", "setmetatable(_G, {})", "getmetatable(_G).__index = 1",
    "redis.call = 1", "rawset(redis, 'call', 1)", "string.rep = 1", "table.insert(string, 1)",
    "table.insert(_G, 1)", "math.pi = 3", "cjson.encode = 1", "bit.band = 1", "struct.pack = 1",
    "cmsgpack.pack = 1", "coroutine.wrap = 1", "getmetatable('').__index = 1",
    "getmetatable('').__index.upper = 1", "rawset(getmetatable(''), '__index', 1)",
    "setmetatable(getmetatable(''), {})", "_G._G = 1", "KEYS = 1",
    "loadstring('x = 1')()", "load(function() return nil end, 'x') x = 1",
]

HIDDEN = ("print dofile loadfile require module setfenv getfenv newproxy io debug package "
          "__index").split()


@test("no script brings the server down by what the published advisories tried", threads=(1, 2), needs=gyre_only)
def crashers(t, threads):
    conn = t.connect(t.gyre(threads=threads))
    for script, want in CRASHERS:
        got = plain(run(conn, script))
        if isinstance(want, str):
            t.check(want.encode() in repr(got).encode(), f"{script}: {got!r}, not {want!r}")
        elif want is not None:
            value = [x for x in got if x is not None] if isinstance(got, list) else got
            t.check(value == want or want == [] and isinstance(got, list), f"{script}: {got!r}")
    t.equal(plain(run(conn, "return 1")), 1)


@test("what all scripts share can be written by none of them")
def leaks(t):
    conn = t.connect(t.gyre(threads=1))
    for script in LEAKS:
        got = run(conn, script)
        t.check(got.is_error() and b"readonly table" in got.value, f"{script}: {got!r}")
    for name in HIDDEN:
        got = run(conn, "return type(" + name + ")")
        t.check(got.is_error() and b"nonexistent global" in got.value, f"{name}: {got!r}")
    t.equal(plain(run(conn, "return ('x'):upper() .. tostring(redis.call('ECHO', 'y'))")), b"Xy")


@test("cjson's settings last as long as the script that changes them")
def cjson_settings(t):
    conn = t.connect(t.gyre(threads=1))
    sparse = "return {pcall(cjson.encode, {[1] = 1, [1000] = 2})}"
    t.check(b"sparse" in repr(plain(run(conn, sparse))).encode(), "sparse array")
    got = run(conn, "cjson.encode_sparse_array(true) return #cjson.encode({[1] = 1, [1000] = 2})")
    t.check(got.value > 10, f"encoded: {got!r}")
    t.check(b"sparse" in repr(plain(run(conn, sparse))).encode(), "sparse array again")


@test("a script that takes too much memory ends with an error, and the next one runs", alone=True)
def memory(t):
    conn = t.connect(t.own_gyre(threads=1))
    got = run(conn, "local s = ('x'):rep(1000) while true do s = s .. s end")
    t.check(got.is_error() and b"not enough memory" in got.value, f"{got!r}")
    t.equal(plain(run(conn, "return 1")), 1)
    used = int(next(line for line in conn.cmd("INFO", "memory").value.split(b"\r\n")
                    if line.startswith(b"used_memory_lua:")).split(b":")[1])
    t.check(used < 1 << 20, f"Lua keeps {used} bytes")


@test("EVALSHA right behind the first EVAL finds the script on any shard", threads=(1, 4))
def evalsha_behind_eval(t, threads):
    conn = t.connect(t.gyre(threads=threads))
    for i in range(200):
        script = f"return redis.call('SET', KEYS[1], {i})"
        sha = run(conn, "return redis.sha1hex(ARGV[1])", script).value
        conn.write("EVAL", script, 1, f"a{i}")
        conn.write("EVALSHA", sha, 1, f"b{i}")
        t.equal([conn.read().value, conn.read().value], [b"OK", b"OK"])


@test("SCRIPT FLUSH in a transaction keeps its place", threads=(1, 4))
def flush_in_exec(t, threads):
    conn = t.connect(t.gyre(threads=threads))
    for i in range(60):
        sha = conn.cmd("SCRIPT", "LOAD", f"return redis.call('INCR', KEYS[1]) -- {i}").value
        call = ("EVALSHA", sha, 1, f"key{i}")
        done = conn.pipeline([("MULTI",), call, ("SCRIPT", "FLUSH"), call, ("EXEC",)])[-1].value
        t.equal([reply.kind for reply in done], [":", "+", "-"])


@test("os.clock is all that there is of os, and goes on", needs=gyre_only)
def clock(t):
    conn = t.connect(t.gyre(threads=2))
    spend = "local t, n = os.clock(), 0 while os.clock() - t < 0.01 do n = n + 1 end return n"
    t.check(run(conn, spend).value > 10, "it measures time")
    t.equal(run(conn, "local n = '' for k in pairs(os) do n = n .. k end return n").value, b"clock")
    t.check(run(conn, "os.clock = 1").kind == "-", "it is protected")


@test("a script sees one whole database, and no one sees it half done", threads=(1, 2, 4))
def whole_database(t, threads):
    conn = t.connect(t.gyre(threads=threads))
    fill = "for i = 1, 50 do redis.call('SET', 'k' .. i, i) end return redis.call('DBSIZE')"
    t.equal(plain(run(conn, fill)), 50)
    t.equal(plain(run(conn, "return #redis.call('KEYS', '*')")), 50)
    walk = "local c, n = '0', 0 repeat local r = redis.call('SCAN', c, 'COUNT', 7) c = r[1] n = n + #r[2] until c == '0' return n"
    t.equal(plain(run(conn, walk)), 50)
    t.equal(plain(run(conn, "return redis.call('MGET', 'k1', 'k2', 'k50')")), [b"1", b"2", b"50"])
    t.equal(plain(run(conn, "redis.call('FLUSHALL') return redis.call('DBSIZE')")), 0)


@test("what only EVAL has brought is evicted, what was loaded stays", threads=(2,))
def eviction(t, threads):
    conn = t.connect(t.own_gyre(threads=threads))
    kept = conn.cmd("SCRIPT", "LOAD", "return 'kept'").value
    first = plain(run(conn, "return redis.sha1hex('return 1')"))
    conn.cmd("EVAL", "return 1", 0)
    for i in range(600):
        conn.cmd("EVAL", f"return {i} + 7", 0)
    t.equal(plain(conn.cmd("SCRIPT", "EXISTS", kept, first)), [1, 0])
    t.equal(conn.cmd("EVALSHA", kept, 0).value, b"kept")
    t.equal(conn.cmd("EVALSHA", first, 0).value[:8], b"NOSCRIPT")
