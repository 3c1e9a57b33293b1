// SPDX-License-Identifier: BSD-3-Clause
//
// Three Socket.IO servers that find each other over the server: node socket_io.js PORT ADAPTER.
// The redis-adapter lives on PSUBSCRIBE, channels of rooms, and PUBLISH followed by PUBSUB NUMSUB
// in one pipeline, whose count says for how many replies to wait; the streams adapter on XADD and
// XREAD BLOCK.
'use strict';

const assert = require('assert');
const http = require('http');
const Redis = require('ioredis');
const { Server } = require('socket.io');
const { io: connectTo } = require('socket.io-client');
const { createAdapter } = require('@socket.io/redis-adapter');
const { createAdapter: createStreamsAdapter } = require('@socket.io/redis-streams-adapter');
const { port, args, until, within, run } = require('./program');

const closers = [];

function redis() {
  const client = new Redis({ host: '127.0.0.1', port });
  closers.push(() => client.disconnect());
  return client;
}

async function newAdapter() {
  if (args[0] === 'streams') return createStreamsAdapter(redis());
  const subscriber = redis();
  const adapter = createAdapter(redis(), subscriber, { requestsTimeout: 5000 });
  return adapter;
}

async function newServer() {
  const listener = http.createServer();
  const io = new Server(listener, { adapter: await newAdapter() });
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
  closers.push(() => new Promise((resolve) => io.close(resolve)));
  const address = `http://127.0.0.1:${listener.address().port}`;
  return { io, address };
}

function newClient(server) {
  const client = connectTo(server.address, { transports: ['websocket'], forceNew: true });
  client.heard = [];
  client.onAny((name, value) => client.heard.push([name, value]));
  closers.push(() => client.disconnect());
  return new Promise((resolve) => client.on('connect', () => resolve(client)));
}

async function rooms() {
  const servers = await Promise.all([newServer(), newServer(), newServer()]);
  for (const { io } of servers) {
    io.on('connection', (socket) => {
      socket.on('join', (room, done) => Promise.resolve(socket.join(room)).then(done));
      socket.on('ask', (done) => done('ignored'));
    });
    io.on('sum', (x, done) => done(x + 1));
  }
  await until('the servers know each other', async () => {
    const counts = await Promise.all(servers.map(({ io }) => io.of('/').adapter.serverCount()));
    return counts.every((count) => count === 3);
  });
  const clients = await within(5000, 'three clients', Promise.all(servers.map(newClient)));
  await Promise.all(clients.slice(1).map((client) => client.emitWithAck('join', 'room')));

  const one = servers[0].io;
  assert.strictEqual((await one.fetchSockets()).length, 3);
  assert.deepStrictEqual(
    (await one.in('room').fetchSockets()).map((s) => s.id).sort(),
    [clients[1].id, clients[2].id].sort(),
  );
  one.emit('all', 1);
  for (let n = 0; n < 50; n++) servers[1].io.to('room').emit('room', n);
  await until('everybody heard it', () =>
    clients.every((client) => client.heard.some(([name]) => name === 'all')),
  );
  await until('the room heard fifty', () =>
    clients
      .slice(1)
      .every((client) => client.heard.filter(([name]) => name === 'room').length === 50),
  );
  for (const client of clients.slice(1)) {
    assert.deepStrictEqual(
      client.heard.filter(([name]) => name === 'room').map((m) => m[1]),
      Array.from({ length: 50 }, (_, n) => n),
    );
  }
  assert.strictEqual(clients[0].heard.length, 1);

  clients.forEach((client, n) => client.on('question', (x, done) => done(x * 10 + n)));
  const answers = await within(
    5000,
    'answers to a broadcast',
    one.timeout(4000).emitWithAck('question', 4),
  );
  assert.deepStrictEqual(answers.sort(), [40, 41, 42]);
  const sums = await within(5000, 'answers of the servers', one.serverSideEmitWithAck('sum', 6));
  assert.deepStrictEqual(sums, [7, 7]);

  one.in('room').socketsLeave('room');
  await until('the room is empty', async () => (await one.in('room').fetchSockets()).length === 0);
  one.in(clients[2].id).disconnectSockets(true);
  await until('the third client is gone', () => !clients[2].connected);
  assert.strictEqual((await one.fetchSockets()).length, 2);
}

run({ rooms }, { close: () => Promise.all(closers.reverse().map((close) => close())) });
