// SPDX-License-Identifier: BSD-3-Clause
//
// node-redis as programs use it: node node_redis.js PORT PROTOCOL. Commands of one tick share a
// write, multi() is one pipeline, duplicate() makes subscribers and blocking connections, and over
// RESP3 a client-side cache lives on CLIENT TRACKING's invalidations.
'use strict';

const assert = require('assert');
const {
  createClient,
  createClientPool,
  defineScript,
  WatchError,
  BasicClientSideCache,
} = require('redis');
const { port, args, sleep, until, within, run } = require('./program');

const RESP = Number(args[0]);
const clients = [];

const bump = defineScript({
  NUMBER_OF_KEYS: 2,
  SCRIPT:
    'redis.call("INCRBY", KEYS[1], ARGV[1]) return redis.call("INCRBY", KEYS[2], ARGV[1] * 2)',
  parseCommand(parser, a, b, by) {
    parser.pushKey(a);
    parser.pushKey(b);
    parser.push(String(by));
  },
  transformReply: Number,
});

async function connect(options) {
  const client = createClient({
    socket: { host: '127.0.0.1', port },
    RESP,
    unstableResp3: true,
    scripts: { bump },
    ...options,
  });
  client.on('error', (error) => {
    if (!/clos/i.test(error.message)) console.log(`connection: ${error}`);
  });
  await client.connect();
  clients.push(client);
  return client;
}

async function transactions() {
  const client = await connect();
  assert.deepStrictEqual(
    await client
      .multi()
      .set('t:a', '1')
      .incr('t:b')
      .sAdd('t:c', ['x', 'y'])
      .hSet('t:d', 'f', 'v')
      .hGetAll('t:d')
      .get('t:none')
      .exec(),
    ['OK', 1, 2, 1, Object.assign(Object.create(null), { f: 'v' }), null],
  );
  await client.watch(['t:a', 't:b']);
  await (await connect()).set('t:b', '5');
  await assert.rejects(client.multi().set('t:a', 'never').exec(), WatchError);
  assert.strictEqual(await client.get('t:a'), '1');
  const replies = await client
    .multi()
    .lPush('t:a', 'x')
    .set('t:e', '1')
    .exec()
    .catch((error) => error.replies);
  assert.match(replies[0].message, /^WRONGTYPE/);
  assert.strictEqual(await client.get('t:e'), '1');
  assert.deepStrictEqual(await client.multi().set('t:f', '2').get('t:f').execAsPipeline(), [
    'OK',
    '2',
  ]);
}

async function pooledOptimisticLocks() {
  const pool = createClientPool(
    { socket: { host: '127.0.0.1', port }, RESP },
    { minimum: 2, maximum: 6 },
  );
  await pool.connect();
  await pool.mSet({ 'o:x': '0', 'o:y': '0' });
  await Promise.all(
    Array.from({ length: 30 }, async () => {
      for (;;) {
        try {
          await pool.execute(async (client) => {
            await client.watch(['o:x', 'o:y']);
            const [x, y] = await client.mGet(['o:x', 'o:y']);
            assert.strictEqual(x, y);
            await client
              .multi()
              .set('o:x', String(Number(x) + 1))
              .set('o:y', String(Number(y) + 1))
              .exec();
          });
          return;
        } catch (error) {
          if (!(error instanceof WatchError)) throw error;
        }
      }
    }),
  );
  assert.deepStrictEqual(await pool.mGet(['o:x', 'o:y']), ['30', '30']);
  pool.destroy();
}

async function scripts() {
  const client = await connect();
  assert.deepStrictEqual(
    await Promise.all([client.bump('s:a', 's:b', 1), client.bump('s:a', 's:b', 2)]),
    [2, 6],
  );
  assert.deepStrictEqual(await client.multi().bump('s:a', 's:b', 1).get('s:a').exec(), [8, '4']);
  assert.deepStrictEqual(
    await client.eval('return {KEYS[1], ARGV[1], 3.7, false}', { keys: ['k'], arguments: ['v'] }),
    ['k', 'v', 3, null],
  );
  const setresp = 'redis.setresp(3) return {redis.call("HGETALL", KEYS[1]), {double = 1.5}, true}';
  await client.hSet('s:h', 'f', 'v');
  const reply = await client.eval(setresp, { keys: ['s:h'] });
  assert.strictEqual(
    JSON.stringify(reply),
    RESP === 3 ? '[{"f":"v"},1.5,true]' : '[["f","v"],"1.5",1]',
  );
  const library =
    '#!lua name=programs\nredis.register_function{function_name="read", flags={"no-writes"}, ' +
    'callback=function(keys) return redis.call("GET", keys[1]) end}';
  assert.strictEqual(await client.functionLoad(library, { REPLACE: true }), 'programs');
  assert.strictEqual(await client.fCallRo('read', { keys: ['s:a'] }), '4');
  assert.strictEqual(
    (await client.functionList()).some((it) => it.library_name === 'programs'),
    true,
  );
  await client.functionDelete('programs');
}

async function pubSub() {
  const client = await connect();
  const subscriber = client.duplicate();
  subscriber.on('error', () => {});
  await subscriber.connect();
  clients.push(subscriber);
  const got = [];
  await subscriber.subscribe(['c:1', 'c:2'], (text, channel) => got.push([channel, text]));
  await subscriber.pSubscribe('c:*', (text, channel) => got.push(['pattern', channel, text]));
  await subscriber.sSubscribe('c:shard', (text, channel) => got.push([channel, text]));
  assert.strictEqual(await client.publish('c:1', 'a'), 2);
  assert.strictEqual(await client.sPublish('c:shard', 'b'), 1);
  await client.multi().set('c:key', 'v').publish('c:2', 'from exec').exec();
  await until('five messages', () => got.length === 5);
  assert.deepStrictEqual(
    got.filter((m) => m[0] !== 'pattern'),
    [
      ['c:1', 'a'],
      ['c:shard', 'b'],
      ['c:2', 'from exec'],
    ],
  );
  assert.strictEqual({ ...(await client.pubSubNumSub(['c:1', 'c:none'])) }['c:1'], 1);
  assert.strictEqual((await client.pubSubNumPat()) >= 1, true);
  if (RESP === 3) assert.strictEqual(await subscriber.get('c:key'), 'v'); // still subscribed
  await subscriber.unsubscribe(['c:1', 'c:2']);
  await subscriber.pUnsubscribe('c:*');
  await subscriber.sUnsubscribe('c:shard');
  assert.strictEqual(await client.publish('c:1', 'late'), 0);
  assert.strictEqual(String(await subscriber.get('c:key')), 'v'); // an ordinary connection again
}

async function blocking() {
  const client = await connect();
  const other = client.duplicate();
  await other.connect();
  clients.push(other);
  const popped = other.blPop(['b:1', 'b:2'], 5);
  await sleep(30);
  await client.multi().rPush('b:2', ['x', 'y']).exec();
  assert.deepStrictEqual(
    { ...(await within(3000, 'BLPOP', popped)) },
    { key: 'b:2', element: 'x' },
  );
  assert.deepStrictEqual(
    { ...(await other.blmPop(1, ['b:1', 'b:2'], 'LEFT', { COUNT: 5 })) },
    { 0: 'b:2', 1: ['y'] },
  );
  assert.strictEqual(await other.brPop('b:1', 0.02), null);
  const zpopped = other.bzPopMax('b:z', 5);
  await sleep(30);
  await client.zAdd('b:z', [{ score: 1.5, value: 'm' }]);
  assert.deepStrictEqual(
    { ...(await within(3000, 'BZPOPMAX', zpopped)) },
    { key: 'b:z', value: 'm', score: 1.5 },
  );
  const id = String(await other.clientId());
  const read = other.xRead({ key: 'b:s', id: '$' }, { BLOCK: 5000 });
  await until('XREAD is blocked', async () =>
    / flags=b .* cmd=xread /.test(await client.sendCommand(['CLIENT', 'LIST', 'ID', id])),
  );
  await client.xAdd('b:s', '1-1', { f: 'v' });
  assert.match(JSON.stringify(await within(3000, 'XREAD BLOCK', read)), /b:s.*1-1.*"f".*"v"/);
}

// Reads are answered from memory until the server says that the key has changed, in whatever way.
async function clientSideCache() {
  if (RESP !== 3) return;
  const cache = new BasicClientSideCache({ ttl: 0, maxEntries: 100 });
  const cached = await connect({ clientSideCache: cache });
  const writer = await connect();
  await writer.mSet({ 'k:a': '1', 'k:b': '1', 'k:c': '1', 'k:d': '1' });
  const changes = [
    ['k:a', () => writer.set('k:a', '2'), '2'],
    ['k:b', () => writer.multi().incr('k:b').incr('k:c').exec(), '2'],
    ['k:c', () => writer.eval('return redis.call("INCR", ARGV[1])', { arguments: ['k:c'] }), '3'],
    ['k:d', () => writer.pExpire('k:d', 30), null],
    ['k:a', () => writer.rename('k:a', 'k:z'), null],
    ['k:b', () => writer.flushDb(), null],
  ];
  for (const [key, change, wanted] of changes) {
    const before = await cached.get(key);
    const hits = cache.stats().hitCount;
    assert.strictEqual(await cached.get(key), before);
    assert.strictEqual(cache.stats().hitCount, hits + 1, `GET ${key} came from memory`);
    await change();
    await until(
      `the cache heard of the change of ${key}`,
      async () => (await cached.get(key)) === wanted,
      3000,
    );
  }
}

async function iterators() {
  const client = await connect();
  await client.mSet(
    Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`i:${n}`, String(n)])),
  );
  const found = new Set();
  for await (const keys of client.scanIterator({ MATCH: 'i:*', COUNT: 30 }))
    [].concat(keys).forEach((key) => found.add(key));
  assert.strictEqual(found.size, 200);
  const values = await Promise.all([...found].map((key) => client.get(key)));
  assert.deepStrictEqual(
    values.map(Number).sort((a, b) => a - b),
    Array.from({ length: 200 }, (_, n) => n),
  );
}

run(
  [
    { transactions, pooledOptimisticLocks, scripts, pubSub, blocking, iterators },
    { clientSideCache },
  ],
  { close: async () => clients.forEach((client) => client.destroy()) },
);
