// SPDX-License-Identifier: BSD-3-Clause
//
// crash_slot: what a signal handler can find without being handed anything: per thread, what it is
// working on; per process, the crash handler's own state. Pointers only, whose meaning is the
// business of the layer that sets and reads them (server/crash.c). Setting one is a plain store:
// cheap enough for every run of commands.
#pragma once

extern _Thread_local const void *volatile crash_slot_thread;
extern void *volatile crash_slot_process; // set before other threads start

// What the calling thread is working on, or NULL. It must stay readable until it is set anew.
static inline void crash_slot_set(const void *work)
{
    crash_slot_thread = work; // volatile: a signal must find it in memory
}

static inline const void *crash_slot_get(void)
{
    return crash_slot_thread;
}
