// SPDX-License-Identifier: BSD-3-Clause
//
// jitter: in builds with assertions a thread can be made to lose its core where threads meet, as it
// would on a busy machine, only much more often: GYRE_JITTER=20 in the environment has it happen 20
// times in a thousand, for up to JITTER_US_MAX. What depends on who comes first shows in seconds
// then.
#pragma once

#define JITTER_US_MAX 600

#ifdef NDEBUG
static inline void jitter(void) {}
#else
void jitter(void);
#endif
