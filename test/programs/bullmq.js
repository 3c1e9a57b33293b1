// SPDX-License-Identifier: BSD-3-Clause
//
// BullMQ's own flow, end to end: node bullmq.js PORT PACKAGE CLIENT. PACKAGE is bullmq (6) or
// bullmq5, CLIENT is ioredis (5, RESP2), ioredis6 (RESP3) or redis (node-redis, RESP2). Its 64
// scripts build most of their keys from an argument or from what a hash holds, its workers sleep
// in BZPOPMIN beside pipelines of scripts, addBulk is EVALs within MULTI, and QueueEvents is XREAD
// BLOCK woken by a script.
'use strict';

const assert = require('assert');
const { port, args, patience, sleep, until, within, deferred, run } = require('./program');

const [packageName, clientName] = args;
const {
  Queue,
  Worker,
  QueueEvents,
  QueueEventsProducer,
  FlowProducer,
  DelayedError,
  UnrecoverableError,
  WaitingChildrenError,
} = require(packageName);

const LIMIT = 8000 * patience;
const closers = [];
const errors = [];

function newConnection() {
  if (clientName === 'redis') {
    const client = require('redis').createClient({ socket: { host: '127.0.0.1', port } });
    client.setMaxListeners(0);
    client.on('error', (error) => errors.push(error));
    return client;
  }
  const Redis = require(clientName);
  const client = new Redis({ host: '127.0.0.1', port, maxRetriesPerRequest: null });
  client.on('error', (error) => errors.push(error));
  closers.push(() => client.disconnect());
  return client;
}

const shared = newConnection();

function opened(it) {
  it.on('error', (error) => errors.push(error));
  it.setMaxListeners(0);
  closers.push(() => it.close());
  return it;
}

const newQueue = (name, options) => opened(new Queue(name, { connection: shared, ...options }));
const newEvents = async (name) => {
  // From the stream's beginning: XREAD at $ would miss what is added before it arrives.
  const events = opened(new QueueEvents(name, { connection: newConnection(), lastEventId: '0-0' }));
  await events.waitUntilReady();
  return events;
};
const newWorker = (name, process, options) =>
  opened(new Worker(name, process, { connection: newConnection(), drainDelay: 1, ...options }));

// Every job, added one by one and in bulk, is processed once, by one of two workers.
async function addAndProcess() {
  const queue = newQueue('plain');
  const events = await newEvents('plain');
  const seen = new Map();
  const process = async (job) => {
    seen.set(job.id, (seen.get(job.id) || 0) + 1);
    if (job.data.n % 7 === 0) await sleep(5);
    return { doubled: job.data.n * 2 };
  };
  newWorker('plain', process, { concurrency: 8 });
  newWorker('plain', process, { concurrency: 3 });
  const single = await Promise.all(Array.from({ length: 40 }, (_, n) => queue.add('job', { n })));
  const bulk = await queue.addBulk(
    Array.from({ length: 60 }, (_, n) => ({ name: 'bulk', data: { n: n + 40 } })),
  );
  const results = await Promise.all(
    [...single, ...bulk].map((job) => job.waitUntilFinished(events, LIMIT)),
  );
  assert.deepStrictEqual(
    results,
    Array.from({ length: 100 }, (_, n) => ({ doubled: 2 * n })),
  );
  assert.strictEqual(seen.size, 100);
  assert.ok(
    [...seen.values()].every((times) => times === 1),
    'a job was processed twice',
  );
  assert.strictEqual((await queue.getJobCounts('completed')).completed, 100);
  const counts = await queue.getJobCounts();
  assert.deepStrictEqual(
    [counts.active, counts.waiting, counts.failed, counts.delayed],
    [0, 0, 0, 0],
  );
  const job = await queue.getJob(single[3].id);
  assert.deepStrictEqual(
    [job.returnvalue, await job.getState(), job.attemptsMade],
    [{ doubled: 6 }, 'completed', 1],
  );
}

async function delayed() {
  const queue = newQueue('delayed');
  const ran = [];
  newWorker('delayed', async (job) => ran.push([job.name, Date.now() - job.timestamp]));
  await sleep(100); // the worker sleeps in its blocking pop: the delayed job's marker must wake it
  const unit = 400 * patience;
  await queue.add('late', {}, { delay: 2 * unit });
  await queue.add('soon', {}, { delay: unit });
  const never = await queue.add('never', {}, { delay: 1000000 });
  const promoted = await queue.add('promoted', {}, { delay: 1000000 });
  await promoted.promote();
  await until('three delayed jobs ran', () => ran.length === 3);
  const after = Object.fromEntries(ran);
  assert.ok(
    after.promoted < 9000 && after.soon >= unit && after.late >= 2 * unit,
    JSON.stringify(ran),
  );
  // (A worker that was not woken would look by itself after 5 s.)
  assert.ok(after.late < 2 * unit + 3500 * patience, JSON.stringify(ran));
  await never.changeDelay(50);
  await until('the job whose delay was changed ran', () => ran.length === 4);
  await until(
    'no job is left',
    async () => (await queue.getJobCountByTypes('delayed', 'active', 'wait')) === 0,
  );
}

async function retried() {
  const queue = newQueue('retried');
  const events = await newEvents('retried');
  const tries = {};
  newWorker(
    'retried',
    async (job) => {
      (tries[job.name] = tries[job.name] || []).push(Date.now());
      if (job.name === 'fatal') throw new UnrecoverableError('no use');
      if (job.name === 'hopeless' || job.attemptsMade < 2)
        throw new Error(`try ${job.attemptsMade}`);
      return job.attemptsMade;
    },
    { concurrency: 5 },
  );
  const fixed = await queue.add(
    'fixed',
    {},
    { attempts: 4, backoff: { type: 'fixed', delay: 60 } },
  );
  const exponential = await queue.add(
    'exponential',
    {},
    { attempts: 4, backoff: { type: 'exponential', delay: 50 } },
  );
  const atOnce = await queue.add('at once', {}, { attempts: 4 });
  const hopeless = await queue.add('hopeless', {}, { attempts: 3, backoff: 20 });
  const fatal = await queue.add('fatal', {}, { attempts: 3 });
  for (const job of [fixed, exponential, atOnce])
    assert.strictEqual(await job.waitUntilFinished(events, LIMIT), 2);
  await assert.rejects(hopeless.waitUntilFinished(events, LIMIT), /try 2/);
  await assert.rejects(fatal.waitUntilFinished(events, LIMIT), /no use/);
  assert.deepStrictEqual(
    [tries.fixed.length, tries.hopeless.length, tries.fatal.length],
    [3, 3, 1],
  );
  assert.ok(tries.fixed[2] - tries.fixed[0] >= 118, 'the fixed backoff was not kept');
  assert.ok(
    tries.exponential[2] - tries.exponential[0] >= 148,
    'the exponential backoff was not kept',
  );
  assert.strictEqual(await queue.getFailedCount(), 2);
  const failed = await queue.getJob(hopeless.id);
  assert.strictEqual(failed.failedReason, 'try 2');
  assert.strictEqual(failed.stacktrace.length, 3);
  tries.hopeless = [];
  await failed.retry();
  await until('the retried job failed again', () => tries.hopeless.length >= 1);
}

async function scheduled() {
  const queue = newQueue('scheduled');
  const ran = { every: [], cron: [], often: 0 };
  newWorker(
    'scheduled',
    async (job) => {
      if (job.name === 'often') ran.often++;
      else ran[job.name].push(Date.now());
    },
    { concurrency: 3 },
  );
  await queue.upsertJobScheduler('a', { every: 200, limit: 4 }, { name: 'every', data: { x: 1 } });
  await queue.upsertJobScheduler('b', { pattern: '* * * * * *' }, { name: 'cron' });
  await queue.upsertJobScheduler('c', { every: 150 }, { name: 'often' });
  assert.deepStrictEqual((await queue.getJobSchedulers()).map((s) => s.key).sort(), [
    'a',
    'b',
    'c',
  ]);
  assert.strictEqual(await queue.getJobSchedulersCount(), 3);
  assert.strictEqual(Number((await queue.getJobScheduler('a')).every), 200);
  await until(
    'the schedulers ran',
    () => ran.every.length >= 4 && ran.cron.length >= 1 && ran.often >= 3,
  );
  assert.strictEqual(await queue.removeJobScheduler('b'), true);
  assert.strictEqual(await queue.removeJobScheduler('c'), true);
  assert.strictEqual(await queue.removeJobScheduler('nope'), false);
  await until(
    'a removed scheduler leaves nothing behind',
    async () => (await queue.getDelayedCount()) === 0,
  );
  assert.strictEqual(ran.every.length, 4);
}

async function flows() {
  const queues = ['flow:top', 'flow:mid', 'flow:leaf'].map((name) =>
    newQueue(name.replace(':', '-')),
  );
  const flow = opened(new FlowProducer({ connection: newConnection() }));
  const events = await newEvents('flow-top');
  const order = [];
  newWorker(
    'flow-leaf',
    async (job) => {
      if (job.data.fails) throw new Error('a leaf fails');
      order.push(job.name);
      return job.data.n;
    },
    { concurrency: 4 },
  );
  const sum = async (job) => {
    const values = Object.values(await job.getChildrenValues());
    order.push(job.name);
    return values.reduce((a, b) => a + b, 0);
  };
  newWorker('flow-mid', sum, { concurrency: 2 });
  newWorker('flow-top', sum);
  const leaf = (n, opts) => ({ name: `leaf${n}`, queueName: 'flow-leaf', data: { n }, opts });
  const tree = (name) => ({
    name,
    queueName: 'flow-top',
    children: [
      { name: 'mid', queueName: 'flow-mid', children: [leaf(1), leaf(2), leaf(3)] },
      { name: 'mid', queueName: 'flow-mid', children: [leaf(10), leaf(20)] },
      leaf(100),
    ],
  });
  const [first, second] = [
    await flow.add(tree('first')),
    (await flow.addBulk([tree('second'), tree('third')]))[0],
  ];
  assert.strictEqual(await first.job.waitUntilFinished(events, LIMIT), 136);
  assert.strictEqual(await second.job.waitUntilFinished(events, LIMIT), 136);
  await until('the third tree is done', () => order.includes('third'));
  assert.strictEqual(order.indexOf('first') > order.indexOf('mid'), true);
  const got = await flow.getFlow({ id: first.job.id, queueName: 'flow-top' });
  assert.strictEqual(got.children.length, 3);
  const dependencies = await first.job.getDependencies();
  assert.strictEqual(Object.keys(dependencies.processed).length, 3);

  const failing = await flow.add({
    name: 'fails',
    queueName: 'flow-top',
    children: [
      {
        name: 'bad',
        queueName: 'flow-leaf',
        data: { fails: true },
        opts: { failParentOnFailure: true },
      },
      leaf(5),
    ],
  });
  await assert.rejects(failing.job.waitUntilFinished(events, LIMIT), /child .* failed|a leaf fails/);
  const ignoring = await flow.add({
    name: 'ignores',
    queueName: 'flow-top',
    children: [
      {
        name: 'bad',
        queueName: 'flow-leaf',
        data: { fails: true },
        opts: { ignoreDependencyOnFailure: true },
      },
      leaf(5),
    ],
  });
  assert.strictEqual(await ignoring.job.waitUntilFinished(events, LIMIT), 5);
  for (const queue of queues) assert.strictEqual(await queue.getWaitingChildrenCount(), 0);
}

// A job that adds children of its own while it runs and waits for them.
async function childrenAtRunTime() {
  const queue = newQueue('steps');
  const events = await newEvents('steps');
  const worker = newWorker(
    'steps',
    async (job, token) => {
      if (job.name === 'child') return job.data.n;
      if (job.data.step === undefined) {
        await job.updateData({ step: 1 });
        await job.moveToDelayed(Date.now() + 100, token);
        throw new DelayedError();
      }
      if (job.data.step === 1) {
        for (const n of [1, 2, 3]) {
          await queue.add(
            'child',
            { n },
            { parent: { id: job.id, queue: job.queueQualifiedName } },
          );
        }
        await job.updateData({ step: 2 });
        if (await job.moveToWaitingChildren(token)) throw new WaitingChildrenError();
      }
      return Object.values(await job.getChildrenValues()).reduce((a, b) => a + b, 0);
    },
    { concurrency: 2 },
  );
  await worker.waitUntilReady();
  const job = await queue.add('parent', {});
  assert.strictEqual(await job.waitUntilFinished(events, LIMIT), 6);
}

async function rateLimited() {
  const queue = newQueue('limited');
  const ran = [];
  newWorker('limited', async () => ran.push(Date.now()), {
    concurrency: 5,
    limiter: { max: 3, duration: 300 },
  });
  const began = Date.now();
  await queue.addBulk(Array.from({ length: 9 }, (_, n) => ({ name: 'job', data: { n } })));
  await until('nine limited jobs ran', () => ran.length === 9);
  assert.ok(ran[8] - began >= 590, `nine jobs, three in 300 ms, took ${ran[8] - began} ms`);
  await queue.setGlobalConcurrency(1);
  assert.strictEqual(await queue.getGlobalConcurrency(), 1);
}

async function paused() {
  const queue = newQueue('paused');
  const ran = [];
  const worker = newWorker('paused', async (job) => ran.push(job.data.n));
  await worker.waitUntilReady();
  await queue.pause();
  assert.strictEqual(await queue.isPaused(), true);
  await Promise.all([0, 1, 2, 3].map((n) => queue.add('job', { n })));
  await sleep(150);
  assert.deepStrictEqual(ran, []);
  assert.strictEqual(await queue.getJobCountByTypes('paused', 'wait'), 4); // as its version has it
  await queue.resume();
  await until('the jobs of a resumed queue ran', () => ran.length === 4);
  assert.deepStrictEqual(ran, [0, 1, 2, 3]);
  await worker.pause();
  await queue.add('job', { n: 4 });
  await sleep(50);
  assert.strictEqual(ran.length, 4);
  worker.resume();
  await until('the job of a resumed worker ran', () => ran.length === 5);
}

async function eventsOfAQueue() {
  const queue = newQueue('events');
  const events = await newEvents('events');
  const seen = [];
  for (const name of [
    'added',
    'waiting',
    'active',
    'progress',
    'completed',
    'failed',
    'removed',
    'paused',
    'resumed',
    'delayed',
    'custom',
  ]) {
    events.on(name, (what) => seen.push([name, what.jobId, what]));
  }
  newWorker('events', async (job) => {
    await job.updateProgress(40);
    await job.log('a line');
    if (job.data.fails) throw new Error('as told');
    return 'done';
  });
  const job = await queue.add('job', {});
  await job.waitUntilFinished(events, LIMIT);
  const names = () => seen.filter(([, id]) => id === job.id).map(([name]) => name);
  await until('all events of one job', () => names().includes('completed'));
  assert.deepStrictEqual(names(), ['added', 'waiting', 'active', 'progress', 'completed']);
  assert.strictEqual(seen.find(([name]) => name === 'completed')[2].returnvalue, 'done');
  assert.strictEqual((await queue.getJobLogs(job.id)).logs[0], 'a line');
  const failing = await queue.add('job', { fails: true });
  await assert.rejects(failing.waitUntilFinished(events, LIMIT), /as told/);
  await queue.pause();
  await queue.resume();
  await job.remove();
  const producer = opened(new QueueEventsProducer('events', { connection: shared }));
  await producer.publishEvent({ eventName: 'custom', jobId: 'mine', text: 'hello' });
  for (const name of ['failed', 'paused', 'resumed', 'removed', 'custom']) {
    await until(`the event ${name}`, () => seen.some(([n]) => n === name));
  }
  assert.strictEqual(await queue.getJob(job.id), undefined);
}

async function ordered() {
  const queue = newQueue('ordered');
  const ran = [];
  for (const [name, options] of [
    ['plain1', {}],
    ['low', { priority: 10 }],
    ['high', { priority: 1 }],
    ['middle', { priority: 5 }],
    ['raised', { priority: 100 }],
    ['plain2', {}],
    ['last in', { lifo: true }],
  ])
    await queue.add(name, {}, options);
  const raised = (await queue.getPrioritized()).find((job) => job.name === 'raised');
  await raised.changePriority({ priority: 2 });
  newWorker('ordered', async (job) => ran.push(job.name));
  await until('seven jobs ran', () => ran.length === 7);
  assert.deepStrictEqual(ran, ['last in', 'plain1', 'plain2', 'high', 'raised', 'middle', 'low']);
}

async function deduplicated() {
  const queue = newQueue('dedup');
  const first = await queue.add('job', { n: 1 }, { deduplication: { id: 'x' } });
  const second = await queue.add('job', { n: 2 }, { deduplication: { id: 'x' } });
  assert.strictEqual(first.id, second.id);
  const third = await queue.add('job', { n: 3 }, { jobId: 'mine' });
  const fourth = await queue.add('job', { n: 4 }, { jobId: 'mine' });
  assert.deepStrictEqual([third.id, fourth.id, await queue.getWaitingCount()], ['mine', 'mine', 2]);
  assert.strictEqual(await queue.getDeduplicationJobId('x'), first.id);
  const ran = [];
  newWorker('dedup', async (job) => ran.push(job.data.n), { removeOnComplete: { count: 0 } });
  await until('both ran', () => ran.length === 2);
  await until(
    'nothing is kept of them',
    async () => (await queue.getJobCountByTypes('completed', 'active', 'wait')) === 0,
  );
  const again = await queue.add('job', { n: 5 }, { deduplication: { id: 'x' } });
  assert.notStrictEqual(again.id, first.id);
}

// A worker dies with a job under its lock: another takes the job over when the lock has expired.
async function stalled() {
  const queue = newQueue('stalled');
  const hangs = deferred();
  const began = deferred();
  const dying = newWorker(
    'stalled',
    async () => {
      began.resolve();
      await hangs.promise;
    },
    { lockDuration: 400, skipStalledCheck: true, skipLockRenewal: true },
  );
  const job = await queue.add('job', {});
  await within(5000, 'the first worker took the job', began.promise);
  await dying.close(true);
  const events = await newEvents('stalled');
  const wasStalled = new Promise((resolve) => events.on('stalled', resolve));
  newWorker('stalled', async () => 'by the second', { stalledInterval: 200, maxStalledCount: 2 });
  assert.strictEqual(await job.waitUntilFinished(events, LIMIT), 'by the second');
  await within(2000, 'the event stalled', wasStalled);
  hangs.resolve();
}

async function administered() {
  const queue = newQueue('admin');
  await queue.addBulk(
    Array.from({ length: 30 }, (_, n) => ({
      name: 'job',
      data: { n },
      opts: n % 3 ? {} : { delay: 100000 },
    })),
  );
  assert.deepStrictEqual(
    (({ waiting, delayed: later }) => [waiting, later])(
      await queue.getJobCounts('waiting', 'delayed'),
    ),
    [20, 10],
  );
  assert.strictEqual((await queue.getJobs(['wait', 'delayed'], 0, 4)).length >= 5, true);
  assert.deepStrictEqual((await queue.getWaiting(0, 1)).length, 2);
  const [some] = await queue.getWaiting(0, 0);
  await some.remove();
  assert.strictEqual(await queue.getWaitingCount(), 19);
  await queue.drain();
  assert.deepStrictEqual([await queue.getWaitingCount(), await queue.getDelayedCount()], [0, 10]);
  await queue.drain(true);
  assert.strictEqual(await queue.getDelayedCount(), 0);
  let fails = true;
  newWorker(
    'admin',
    async () => {
      if (fails) throw new Error('not yet');
    },
    { concurrency: 5 },
  );
  await queue.addBulk(Array.from({ length: 12 }, (_, n) => ({ name: 'again', data: { n } })));
  await until('twelve jobs failed', async () => (await queue.getFailedCount()) === 12);
  fails = false;
  await queue.retryJobs({ count: 5 });
  await until('they completed when retried', async () => (await queue.getCompletedCount()) === 12);
  assert.strictEqual((await queue.clean(0, 5, 'completed')).length, 5);
  assert.strictEqual(await queue.getCompletedCount(), 7);
  const metrics = await queue.getMetrics('completed');
  assert.strictEqual(metrics.count, 0);
  await queue.pause();
  await queue.obliterate({ force: true });
  assert.deepStrictEqual(await shared.keys('bull:admin:*'), []);
}

async function workersAreListed() {
  const queue = newQueue('listed');
  const worker = newWorker('listed', async () => {}, { name: 'worker-1' });
  await worker.waitUntilReady();
  const others = await until('a worker is listed', async () => {
    const found = await queue.getWorkers();
    return found.length === 1 && found;
  });
  assert.match(others[0].name, /listed/);
  assert.ok(others[0].addr);
  await worker.close();
  await until('a closed worker is not', async () => (await queue.getWorkers()).length === 0);
}

async function nothingIsLost() {
  // 300 jobs, four workers, each of which is closed and replaced in the middle.
  const queue = newQueue('churn');
  const done = new Map();
  const process = async (job) => {
    await sleep(1);
    done.set(job.data.n, (done.get(job.data.n) || 0) + 1);
  };
  let workers = [1, 2, 3, 4].map(() => newWorker('churn', process, { concurrency: 4 }));
  for (let block = 0; block < 6; block++) {
    await queue.addBulk(
      Array.from({ length: 50 }, (_, n) => ({ name: 'job', data: { n: block * 50 + n } })),
    );
    const [oldest, ...rest] = workers;
    const closing = oldest.close();
    workers = [...rest, newWorker('churn', process, { concurrency: 4 })];
    await closing;
  }
  await until('300 jobs are done', () => done.size === 300);
  assert.ok(
    [...done.values()].every((times) => times === 1),
    'a job ran twice',
  );
  await until('the queue says so too', async () => (await queue.getCompletedCount()) === 300);
}

run(
  {
    addAndProcess,
    delayed,
    retried,
    scheduled,
    flows,
    childrenAtRunTime,
    rateLimited,
    paused,
    eventsOfAQueue,
    ordered,
    deduplicated,
    stalled,
    administered,
    workersAreListed,
    nothingIsLost,
  },
  {
    tolerated: /^Connection is closed/, // what a worker that is closed by force had under way
    close: async () => {
      await Promise.all(
        closers
          .slice()
          .reverse()
          .map((close) => Promise.resolve(close()).catch(() => {})),
      );
      assert.deepStrictEqual(
        errors.map(String).filter((e) => !/clos/i.test(e)),
        [],
      );
    },
  },
);
