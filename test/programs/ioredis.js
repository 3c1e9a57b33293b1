// SPDX-License-Identifier: BSD-3-Clause
//
// ioredis as programs use it: node ioredis.js PORT PACKAGE. PACKAGE is ioredis (5, RESP2) or
// ioredis6 (RESP3). Un-awaited commands share a pipeline, defineCommand sends EVALSHA (EVAL first)
// without waiting in between, and duplicate() makes connections that block or subscribe.
'use strict';

const assert = require('assert');
const { port, args, sleep, until, within, run } = require('./program');
const Redis = require(args[0]);

const clients = [];

function connect(options) {
  const client = new Redis({ host: '127.0.0.1', port, ...options });
  client.on('error', (error) => console.log(`connection: ${error}`));
  clients.push(client);
  return client;
}

const redis = connect({ connectionName: 'shared' });

function duplicate() {
  const client = redis.duplicate();
  clients.push(client);
  return client;
}

async function pipelines() {
  const out = await redis
    .pipeline()
    .set('p:a', '1')
    .incr('p:a')
    .get('p:none')
    .lpush('p:a', 'x')
    .mget('p:a', 'p:b')
    .exec();
  assert.deepStrictEqual(
    out.map(([, value]) => value),
    ['OK', 2, null, undefined, ['2', null]],
  );
  assert.match(out[3][0].message, /^WRONGTYPE /);
  const many = await Promise.all(
    Array.from({ length: 500 }, (_, n) =>
      n % 2 ? redis.get(`p:n${n - 1}`) : redis.set(`p:n${n}`, n),
    ),
  );
  many.forEach((value, n) => assert.strictEqual(value, n % 2 ? String(n - 1) : 'OK'));
}

async function transactions() {
  assert.deepStrictEqual(
    await redis
      .multi()
      .set('t:a', '1')
      .incr('t:b')
      .sadd('t:c', 'x', 'y')
      .hset('t:d', 'f', 'v')
      .get('t:a')
      .exec(),
    [
      [null, 'OK'],
      [null, 1],
      [null, 2],
      [null, 1],
      [null, '1'],
    ],
  );
  const own = duplicate();
  assert.strictEqual(await own.multi({ pipeline: false }), 'OK');
  assert.strictEqual(await own.incr('t:b'), 'QUEUED');
  assert.strictEqual(await own.get('t:nope'), 'QUEUED');
  assert.deepStrictEqual(await own.exec(), [
    [null, 2],
    [null, null],
  ]);
  await own.multi({ pipeline: false });
  await own.set('t:a', 'never');
  assert.strictEqual(await own.discard(), 'OK');
  assert.strictEqual(await redis.get('t:a'), '1');
  await assert.rejects(redis.multi().set('t:a').exec(), /EXECABORT|wrong number/);

  await own.watch('t:a', 't:b');
  await redis.set('t:b', '10');
  assert.strictEqual(await own.multi().set('t:a', 'never').exec(), null);
  await own.watch('t:a', 't:b');
  await own.unwatch();
  await redis.set('t:b', '11');
  assert.deepStrictEqual(await own.multi().set('t:a', '2').exec(), [[null, 'OK']]);
  const inner = await redis.multi().lpush('t:a', 'x').set('t:e', '1').exec();
  assert.match(inner[0][0].message, /^WRONGTYPE/);
  assert.deepStrictEqual(inner[1], [null, 'OK']);
}

// Twenty workers add one to each of two counters under WATCH.
async function optimisticLocks() {
  await redis.mset('o:x', '0', 'o:y', '0');
  await Promise.all(
    Array.from({ length: 10 }, async () => {
      const own = duplicate();
      for (let n = 0; n < 5; n++) {
        for (;;) {
          await own.watch('o:x', 'o:y');
          const [x, y] = await own.mget('o:x', 'o:y');
          assert.strictEqual(x, y);
          if (
            await own
              .multi()
              .set('o:x', Number(x) + 1)
              .set('o:y', Number(y) + 1)
              .exec()
          )
            break;
        }
      }
    }),
  );
  assert.deepStrictEqual(await redis.mget('o:x', 'o:y'), ['50', '50']);
}

async function scripts() {
  const own = connect();
  own.defineCommand('bump', {
    numberOfKeys: 2,
    lua: 'redis.call("INCRBY", KEYS[1], ARGV[1]) return redis.call("INCRBY", KEYS[2], ARGV[1] * 2)',
  });
  own.defineCommand('undeclared', {
    numberOfKeys: 0,
    lua: `for i = 1, 5 do redis.call("INCR", ARGV[1] .. ":" .. i) end
      return redis.call("MGET", ARGV[1] .. ":1", ARGV[1] .. ":5")`,
  });
  // The first is an EVAL, the others EVALSHAs right behind it.
  assert.deepStrictEqual(
    await Promise.all([
      own.bump('s:a', 's:b', 1),
      own.bump('s:a', 's:b', 2),
      own.undeclared('s:u'),
    ]),
    [2, 6, ['1', '1']],
  );
  const piped = await own.pipeline().bump('s:a', 's:b', 1).get('s:a').undeclared('s:u').exec();
  assert.deepStrictEqual(piped, [
    [null, 8],
    [null, '4'],
    [null, ['2', '2']],
  ]);
  const inMulti = await own.multi().bump('s:a', 's:b', 1).undeclared('s:u').get('s:b').exec();
  assert.deepStrictEqual(inMulti, [
    [null, 10],
    [null, ['3', '3']],
    [null, '10'],
  ]);
  const sha = await redis.script('LOAD', 'return {KEYS[1], ARGV[1], 1.9, false, {1, 2}}');
  assert.deepStrictEqual(await redis.script('EXISTS', sha, '0'.repeat(40)), [1, 0]);
  assert.deepStrictEqual(await connect().evalsha(sha, 1, 'k', 'v'), ['k', 'v', 1, null, [1, 2]]);
  await assert.rejects(redis.evalsha('f'.repeat(40), 0), /^ReplyError: NOSCRIPT/);
  await assert.rejects(redis.eval('return redis.error_reply("MY own")', 0), /MY own/);
  const packed = await redis.evalBuffer('return cmsgpack.pack({1, "two", {x = 3}})', 0);
  assert.deepStrictEqual(require('msgpackr').unpack(packed), [1, 'two', { x: 3 }]);
  assert.strictEqual(
    await redis.eval('return cjson.encode({a = cjson.decode(ARGV[1])})', 0, '[1,"2",null]'),
    '{"a":[1,"2",null]}',
  );
}

async function pubSub() {
  const subscriber = duplicate();
  const got = [];
  subscriber.on('message', (channel, text) => got.push([channel, text]));
  subscriber.on('pmessage', (pattern, channel, text) => got.push([pattern, channel, text]));
  assert.strictEqual(await subscriber.subscribe('c:1', 'c:2'), 2);
  assert.strictEqual(await subscriber.psubscribe('c:*'), 3);
  assert.strictEqual(await redis.publish('c:1', 'a'), 2);
  assert.deepStrictEqual(await redis.pubsub('NUMSUB', 'c:1', 'c:2', 'c:3'), [
    'c:1',
    1,
    'c:2',
    1,
    'c:3',
    0,
  ]);
  assert.deepStrictEqual((await redis.pubsub('CHANNELS', 'c:*')).sort(), ['c:1', 'c:2']);
  await redis.multi().set('c:key', 'v').publish('c:2', 'from exec').exec();
  await redis.eval('redis.call("PUBLISH", "c:3", "from a script")', 0);
  for (let n = 0; n < 200; n++) redis.publish('c:2', n);
  await until('all messages', () => got.length === 2 + 2 + 1 + 400);
  assert.deepStrictEqual(got.slice(0, 5), [
    ['c:1', 'a'],
    ['c:*', 'c:1', 'a'],
    ['c:2', 'from exec'],
    ['c:*', 'c:2', 'from exec'],
    ['c:*', 'c:3', 'from a script'],
  ]);
  assert.deepStrictEqual(
    got
      .slice(5)
      .filter((m) => m.length === 2)
      .map((m) => Number(m[1])),
    Array.from({ length: 200 }, (_, n) => n),
  );
  assert.strictEqual(await subscriber.unsubscribe('c:1'), 2);
  assert.strictEqual(await redis.publish('c:1', 'b'), 1);
  await subscriber.punsubscribe('c:*');
  await subscriber.unsubscribe(); // which ioredis takes to end with a count of 0
  assert.strictEqual(await redis.publish('c:1', 'c'), 0);
  assert.strictEqual(await subscriber.get('c:key'), 'v'); // an ordinary connection again
}

async function blocking() {
  const [one, two] = [duplicate(), duplicate()];
  const popped = one.blpop('b:1', 'b:2', 'b:3', 5);
  const moved = two.blmove('b:from', 'b:to', 'LEFT', 'RIGHT', 5);
  await until(
    'both are blocked',
    async () => Number(/blocked_clients:(\d+)/.exec(await redis.info('clients'))[1]) >= 2,
  );
  await redis.rpush('b:3', 'x');
  await redis.rpush('b:from', 'y');
  assert.deepStrictEqual(await within(3000, 'BLPOP', popped), ['b:3', 'x']);
  assert.strictEqual(await within(3000, 'BLMOVE', moved), 'y');
  assert.deepStrictEqual(await redis.lrange('b:to', 0, -1), ['y']);
  assert.strictEqual(await one.brpop('b:1', 0.02), null);
  // Several on one connection, one after the other; what stood before them is answered at once.
  const first = one.set('b:flag', 'up');
  const pops = [1, 2, 3].map(() => one.bzpopmin('b:zset', 5));
  assert.strictEqual(await within(2000, 'the reply before a blocking command', first), 'OK');
  for (let n = 1; n <= 3; n++) await redis.zadd('b:zset', n, `m${n}`);
  assert.deepStrictEqual(
    (await within(3000, 'three BZPOPMIN', Promise.all(pops))).map((m) => m[1]),
    ['m1', 'm2', 'm3'],
  );
  const id = await one.client('ID');
  const read = one.xread('BLOCK', 5000, 'STREAMS', 'b:stream', '$');
  await until('XREAD is blocked', async () =>
    / flags=b .* cmd=xread /.test(await redis.client('LIST', 'ID', id)),
  );
  await redis.eval('return redis.call("XADD", KEYS[1], "1-1", "f", "v")', 1, 'b:stream');
  // RESP3's map comes as an object or as a list of pairs, by the package's version.
  assert.match(JSON.stringify(await within(3000, 'XREAD BLOCK', read)), /b:stream.*1-1.*"f","v"/);
}

async function streams() {
  await redis.xgroup('CREATE', 'x:s', 'g', '$', 'MKSTREAM');
  const reader = duplicate();
  const read = reader.xreadgroup(
    'GROUP',
    'g',
    'me',
    'COUNT',
    10,
    'BLOCK',
    5000,
    'STREAMS',
    'x:s',
    '>',
  );
  await sleep(20);
  await redis.multi().xadd('x:s', '*', 'n', '1').xadd('x:s', '*', 'n', '2').exec();
  const text = JSON.stringify(await within(3000, 'XREADGROUP BLOCK', read));
  assert.match(text, /"n","1".*"n","2"/);
  const pending = await redis.xpending('x:s', 'g');
  assert.strictEqual(pending[0], 2);
  assert.strictEqual(await redis.xack('x:s', 'g', pending[1], pending[2]), 2);
}

async function monitorAndScan() {
  await redis.mset(Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`m:${n}`, n])));
  const found = new Set();
  for await (const keys of redis.scanStream({ match: 'm:*', count: 50 }))
    keys.forEach((key) => found.add(key));
  assert.strictEqual(found.size, 300);
  const monitor = await redis.monitor();
  const seen = [];
  monitor.on('monitor', (time, words) => seen.push(words.join(' ')));
  await redis.multi().set('m:seen', 'x').exec();
  await redis.eval('return redis.call("GET", "m:seen")', 0);
  await until('MONITOR saw it all', () => seen.some((line) => /^get m:seen/i.test(line)));
  const lines = seen
    .filter((line) => /^(multi|exec|set m:seen|get m:seen|eval)/i.test(line))
    .map((line) => line.split(' ')[0].toLowerCase());
  assert.ok(
    lines.indexOf('multi') < lines.indexOf('set') && lines.indexOf('set') < lines.indexOf('exec'),
    lines.join(),
  );
  monitor.disconnect();
}

run(
  // Alone: ioredis stumbles when a command's line comes together with MONITOR's own OK.
  [
    { pipelines, transactions, optimisticLocks, scripts, pubSub, blocking, streams },
    { monitorAndScan },
  ],
  {
    close: async () => {
      assert.strictEqual(await connect().quit(), 'OK');
      clients.forEach((client) => client.disconnect());
    },
  },
);
