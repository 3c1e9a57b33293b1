// SPDX-License-Identifier: BSD-3-Clause
//
// What the programs of this folder share. Each is `node NAME.js PORT [arguments]`: it runs its
// scenarios side by side against the server at that port, prints "fine" when all of them held, and
// else says which did not and ends with status 1. Nothing waits without a limit: a scenario that
// does not come to its end fails by name, and so does a condition that `until` waited for.
'use strict';

const patience = Number(process.env.GYRE_TEST_PATIENCE || 1);

exports.patience = patience;
exports.port = Number(process.argv[2]);
exports.args = process.argv.slice(3);

exports.sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// The promise's outcome, or an error that names what did not come.
exports.within = function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${what}: not within ${ms * patience} ms`)),
      ms * patience,
    );
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

// Waits until the condition, which may be asynchronous, returns something true, and returns that.
exports.until = async function until(what, condition, ms = 8000) {
  const end = Date.now() + ms * patience;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`in vain waited for: ${what}`);
    await exports.sleep(10);
  }
};

// A promise with its handles outside.
exports.deferred = function deferred() {
  const it = {};
  it.promise = new Promise((resolve, reject) => Object.assign(it, { resolve, reject }));
  return it;
};

// Runs the scenarios side by side; an array of groups of them one group after another.
exports.run = async function run(
  scenarios,
  { limit = 15000, close = async () => {}, tolerated = /^$/ } = {},
) {
  let failures = 0;
  let isClosing = false; // and then what is cut off may complain
  process.on('unhandledRejection', (error) => {
    if (!isClosing && !tolerated.test(error.message)) fail('unhandled', error);
  });
  function fail(name, error) {
    failures++;
    console.log(`${name}: ${(error && error.stack) || error}`);
  }
  async function runOne([name, scenario]) {
    const began = Date.now();
    try {
      await exports.within(limit, 'its end', scenario());
      if (process.env.GYRE_PROGRAM_TIMES) console.log(`${name}: ${Date.now() - began} ms`);
    } catch (error) {
      fail(name, error);
    }
  }
  const only = new RegExp(process.env.GYRE_PROGRAM_ONLY || '');
  for (const group of [].concat(scenarios)) {
    const chosen = Object.entries(group).filter(([name]) => only.test(name));
    await Promise.all(chosen.map(runOne));
  }
  isClosing = true;
  await exports.within(4000, 'closing', close()).catch((error) => fail('closing', error));
  console.log(failures ? `${failures} scenarios failed` : 'fine');
  process.exit(failures ? 1 : 0);
};
