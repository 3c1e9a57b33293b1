// SPDX-License-Identifier: BSD-3-Clause
//
// crash: what a dying server says. SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT (a failed assertion)
// write a report to the log: version, signal, stack trace, registers, the command that was being
// executed with its secrets left out, and a few figures; then the signal takes its usual course (a
// core file, the parent's exit status).
//
// With crash-log-enabled no, or once it is switched off, nothing is written.
#pragma once

struct engine;

// Installs the handlers; the calling thread gets a stack of its own for them. Once, before other
// threads start.
void crash_install(void);
// Whose figures and settings the report goes by when no command is being executed. It must stay
// until this is called with NULL. Does nothing before crash_install.
void crash_set_engine(const struct engine *engine);

// A thread's begin and end: it gets a stack of its own for the handlers, so that a stack overflow
// is reported, too. Threads without one are reported on their own stack.
void crash_thread_begin(void);
void crash_thread_end(void);

// What the thread executes from now on is told with crash_slot_set(ctx) of base/crash_slot.h: a
// struct ctx *, whose cmd, argv and argc may change meanwhile; NULL when it is over.
