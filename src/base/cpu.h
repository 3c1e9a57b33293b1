// SPDX-License-Identifier: BSD-3-Clause
//
// cpu: the one instruction that C has no name for.
#pragma once

// Says to the core that this is a spin loop.
static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}
