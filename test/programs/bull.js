// SPDX-License-Identifier: BSD-3-Clause
//
// Bull 4 end to end: node bull.js PORT. With a concurrency of N it keeps N BRPOPLPUSH in flight on
// one connection; its 26 scripts build job keys from an argument and PUBLISH; bulk adds are EVALs
// within MULTI.
'use strict';

const assert = require('assert');
const Bull = require('bull');
const { port, patience, sleep, until, run } = require('./program');

const queues = [];

function newQueue(name, options) {
  const queue = new Bull(name, {
    redis: { host: '127.0.0.1', port },
    settings: { drainDelay: 1 },
    ...options,
  });
  queue.on('error', (error) => {
    if (!/clos/i.test(error.message)) console.log(`${name}: ${error.stack}`);
  });
  queues.push(queue);
  return queue;
}

async function addAndProcess() {
  const producer = newQueue('plain');
  const consumer = newQueue('plain');
  const seen = new Map();
  const process = async (job) => {
    seen.set(job.id, (seen.get(job.id) || 0) + 1);
    if (job.data.n % 5 === 0) await sleep(3);
    return job.data.n * 2;
  };
  consumer.process(10, process); // ten BRPOPLPUSH at once
  await consumer.isReady();
  const jobs = await Promise.all(Array.from({ length: 40 }, (_, n) => producer.add({ n })));
  jobs.push(
    ...(await producer.addBulk(Array.from({ length: 40 }, (_, n) => ({ data: { n: n + 40 } })))),
  );
  await until('eighty jobs are done', async () => (await producer.getCompletedCount()) === 80);
  const results = (await Promise.all(jobs.map((job) => producer.getJob(job.id)))).map(
    (job) => job.returnvalue,
  );
  assert.deepStrictEqual(
    results,
    Array.from({ length: 80 }, (_, n) => 2 * n),
  );
  assert.ok(
    seen.size === 80 && [...seen.values()].every((times) => times === 1),
    'a job ran twice',
  );
  const counts = await producer.getJobCounts();
  assert.deepStrictEqual(counts, {
    waiting: 0,
    active: 0,
    completed: 80,
    failed: 0,
    delayed: 0,
    paused: 0,
  });
}

async function delayed() {
  const queue = newQueue('delayed');
  const ran = [];
  queue.process(async (job) => ran.push([job.data.name, Date.now() - job.timestamp]));
  await queue.isReady();
  const unit = 400 * patience;
  await queue.add({ name: 'late' }, { delay: 2 * unit });
  await queue.add({ name: 'soon' }, { delay: unit });
  const promoted = await queue.add({ name: 'promoted' }, { delay: 1000000 });
  await promoted.promote();
  await until('three delayed jobs ran', () => ran.length === 3);
  const after = Object.fromEntries(ran);
  assert.ok(
    after.promoted < 9000 && after.soon >= unit && after.late >= 2 * unit,
    JSON.stringify(ran),
  );
  assert.ok(after.late < 2 * unit + 2500 * patience, JSON.stringify(ran));
}

async function retried() {
  const queue = newQueue('retried');
  const tries = { good: 0, bad: 0 };
  queue.process(2, async (job) => {
    tries[job.data.kind]++;
    if (job.data.kind === 'bad' || tries.good < 3) throw new Error(`try ${job.attemptsMade}`);
    return 'at last';
  });
  const good = await queue.add(
    { kind: 'good' },
    { attempts: 4, backoff: { type: 'exponential', delay: 30 } },
  );
  const bad = await queue.add({ kind: 'bad' }, { attempts: 2, backoff: 20 });
  assert.strictEqual(await good.finished(), 'at last');
  await assert.rejects(bad.finished(), /try 1/);
  assert.deepStrictEqual(tries, { good: 3, bad: 2 });
  const failed = await queue.getFailed();
  assert.strictEqual(failed.length, 1);
  await failed[0].retry();
  await until('a retried job ran again', () => tries.bad >= 3);
}

async function repeated() {
  const queue = newQueue('repeated');
  let ran = 0;
  queue.process(async () => ran++);
  await queue.add({}, { repeat: { every: 150, limit: 3 } });
  assert.strictEqual((await queue.getRepeatableJobs()).length, 1);
  await until('a repeated job ran three times', () => ran === 3);
  const cron = await queue.add({}, { repeat: { cron: '* * * * * *' } });
  await queue.removeRepeatableByKey(
    cron.opts.repeat.key || (await queue.getRepeatableJobs())[0].key,
  );
}

async function pausedAndPriorities() {
  const queue = newQueue('paused');
  const ran = [];
  await queue.isReady();
  await queue.pause();
  for (const [name, options] of [
    ['low', { priority: 9 }],
    ['high', { priority: 1 }],
    ['plain', {}],
    ['last in', { lifo: true }],
  ]) {
    await queue.add({ name }, options);
  }
  queue.process(async (job) => ran.push(job.data.name));
  await sleep(100);
  assert.deepStrictEqual([ran.length, await queue.getPausedCount()], [0, 4]);
  await queue.resume();
  await until('the jobs of a resumed queue ran', () => ran.length === 4);
  assert.deepStrictEqual(ran, ['last in', 'high', 'low', 'plain']);
}

async function limited() {
  const queue = newQueue('limited', { limiter: { max: 3, duration: 300 } });
  const ran = [];
  queue.process(async () => ran.push(Date.now()));
  const began = Date.now();
  await Promise.all(Array.from({ length: 7 }, (_, n) => queue.add({ n })));
  await until('seven limited jobs ran', () => ran.length === 7);
  assert.ok(ran[6] - began >= 590, `seven jobs, three in 300 ms, took ${ran[6] - began} ms`);
}

async function globalEvents() {
  const queue = newQueue('events');
  const other = newQueue('events');
  const seen = [];
  for (const name of [
    'active',
    'progress',
    'completed',
    'failed',
    'paused',
    'resumed',
    'drained',
  ]) {
    other.on(`global:${name}`, () => seen.push(name));
  }
  await other.isReady();
  queue.process(async (job) => {
    await job.progress(50);
    await job.log('a line');
    if (job.data.fails) throw new Error('as told');
  });
  const job = await queue.add({});
  await queue.add({ fails: true });
  await queue.pause();
  await queue.resume();
  // Not "waiting", the first: Bull does not say when it has subscribed.
  for (const name of [
    'active',
    'progress',
    'completed',
    'failed',
    'paused',
    'resumed',
  ]) {
    await until(`the event ${name}`, () => seen.includes(name));
  }
  assert.deepStrictEqual((await queue.getJobLogs(job.id)).logs, ['a line']);
  assert.strictEqual(await job.finished(), null);
}

async function administered() {
  const queue = newQueue('admin');
  await queue.addBulk(
    Array.from({ length: 20 }, (_, n) => ({ data: { n }, opts: n % 2 ? { delay: 100000 } : {} })),
  );
  assert.strictEqual((await queue.getWaiting()).length, 10);
  await (await queue.getWaiting())[0].remove();
  assert.strictEqual(await queue.getWaitingCount(), 9);
  assert.strictEqual((await queue.clean(0, 'delayed')).length, 10);
  await queue.removeJobs('*');
  assert.strictEqual(await queue.count(), 0);
  await queue.add({}, { jobId: 'mine' });
  await queue.add({}, { jobId: 'mine' });
  assert.strictEqual(await queue.count(), 1);
  const workers = await queue.getWorkers();
  assert.strictEqual(workers.length, 0);
  queue.process(async () => {});
  await until('the queue has a worker', async () => (await queue.getWorkers()).length === 1);
  await until('the job is done', async () => (await queue.getCompletedCount()) === 1);
  await queue.obliterate({ force: true });
  assert.deepStrictEqual(await queue.client.keys('bull:admin:*'), []);
}

run(
  {
    addAndProcess,
    delayed,
    retried,
    repeated,
    pausedAndPriorities,
    limited,
    globalEvents,
    administered,
  },
  { close: () => Promise.all(queues.map((queue) => queue.close())) },
);
