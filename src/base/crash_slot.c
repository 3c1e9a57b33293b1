// SPDX-License-Identifier: BSD-3-Clause
#include "base/crash_slot.h"

#include <stddef.h>

_Thread_local const void *volatile crash_slot_thread;
void *volatile crash_slot_process;
