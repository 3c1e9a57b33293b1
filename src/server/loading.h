// SPDX-License-Identifier: BSD-3-Clause
//
// loading: the data are there before anything is served. Every worker loads its own shard on its
// own thread (store/recover.h) and takes turns meanwhile (worker_turn_inside), so that clients are
// told -LOADING and INFO answers. The last one to finish makes the files ready that the server goes
// on with; then all begin.
#pragma once
#include "server/persistence.h"

// Finds out what there is to load. False: it was logged why the server cannot start.
bool loading_open(struct persistence *p);
// The main thread, before anybody is let in: who has little to load tells nobody that it is
// loading. Waits for 50 ms at most.
void loading_await(struct persistence *p);
// Nobody is let go on any more, if not all have been yet. False: they have. Any thread.
bool loading_give_up(struct persistence *p);
// Every worker's thread, before its loop. It stays there if loading is given up. If the data cannot
// be loaded the process ends there.
void loading_run(struct worker *w);
