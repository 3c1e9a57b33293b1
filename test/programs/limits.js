// SPDX-License-Identifier: BSD-3-Clause
//
// Locks and limits: node limits.js PORT. redlock takes several resources by one script;
// rate-limiter-flexible counts by a script, or by MULTI.
'use strict';

const assert = require('assert');
const Redis = require('ioredis');
const { createClient } = require('redis');
const Redlock = require('redlock');
const { RateLimiterRedis } = require('rate-limiter-flexible');
const { port, patience, sleep, run } = require('./program');

const redis = new Redis({ host: '127.0.0.1', port, enableOfflineQueue: true });

async function oneAtATime() {
  const redlock = new Redlock([redis], { retryCount: 200, retryDelay: 10, retryJitter: 5 });
  let [inside, most, done] = [0, 0, 0];
  await Promise.all(
    Array.from({ length: 12 }, async (_, n) => {
      const lock = await redlock.lock(n % 2 ? ['l:a', 'l:b', 'l:c'] : ['l:c', 'l:d'], 5000);
      most = Math.max(most, ++inside);
      await sleep(5);
      inside--;
      done++;
      await lock.unlock();
    }),
  );
  assert.deepStrictEqual([most, done], [1, 12]);
  assert.strictEqual(await redis.exists('l:a', 'l:b', 'l:c', 'l:d'), 0);
}

async function expiredAndExtended() {
  const hasty = new Redlock([redis], { retryCount: 0 });
  const lock = await hasty.lock(['e:a', 'e:b'], 600 * patience);
  await assert.rejects(hasty.lock('e:b', 100), Redlock.LockError);
  const extended = await lock.extend(4000 * patience);
  await sleep(700 * patience);
  await assert.rejects(hasty.lock('e:a', 100), Redlock.LockError);
  await extended.unlock();
  const short = await hasty.lock('e:a', 400 * patience);
  await sleep(500 * patience);
  const next = await hasty.lock('e:a', 10000);
  await assert.rejects(short.unlock(), Redlock.LockError); // it is another's by now
  await next.unlock();
}

async function counted(client, options) {
  const limiter = new RateLimiterRedis({ storeClient: client, points: 5, duration: 3, ...options });
  const outcomes = await Promise.allSettled(
    Array.from({ length: 12 }, () => limiter.consume('user')),
  );
  assert.strictEqual(outcomes.filter((it) => it.status === 'fulfilled').length, 5);
  const rejected = outcomes.find((it) => it.status === 'rejected').reason;
  assert.ok(
    rejected.msBeforeNext > 0 && rejected.msBeforeNext <= 3000,
    String(rejected.msBeforeNext),
  );
  assert.strictEqual((await limiter.get('user')).consumedPoints, 12);
  await sleep(rejected.msBeforeNext + 30);
  assert.strictEqual((await limiter.consume('user')).remainingPoints, 4);
  assert.strictEqual((await limiter.penalty('user', 2)).consumedPoints, 3);
  assert.strictEqual((await limiter.reward('user', 1)).consumedPoints, 2);
  await limiter.block('user', 10);
  await assert.rejects(limiter.consume('user'), (it) => it.msBeforeNext > 9000);
  assert.strictEqual(await limiter.delete('user'), true);
  assert.strictEqual(await limiter.get('user'), null);
}

async function countedByNodeRedis() {
  const client = createClient({ socket: { host: '127.0.0.1', port } });
  await client.connect();
  await counted(client, { keyPrefix: 'n', useRedisPackage: true });
  client.destroy();
}

run(
  {
    oneAtATime,
    expiredAndExtended,
    countedByIoredis: () => counted(redis, { keyPrefix: 'i' }),
    blockedInMemory: () => counted(redis, { keyPrefix: 'm', inMemoryBlockOnConsumed: 1000 }),
    countedByNodeRedis,
  },
  { close: async () => redis.disconnect() },
);
