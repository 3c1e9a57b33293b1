// SPDX-License-Identifier: BSD-3-Clause
//
// Assertions are for bugs, never for input. ASSERT stays on in release builds and belongs where it
// costs nothing measurable; ASSERT_SLOW is for walks and for the hottest paths, debug builds only.
#pragma once

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ASSERT(x)                                                                                  \
    do {                                                                                           \
        if (UNLIKELY(!(x))) assert_failed(#x, __FILE__, __LINE__);                                 \
    } while (0)

#ifdef NDEBUG
#define ASSERT_SLOW(x) ((void)sizeof(!(x)))
#else
#define ASSERT_SLOW(x) ASSERT(x)
#endif

// The struct that embeds `member` at `pointer`.
#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))

// Prints the failed condition to the log and aborts (the crash handler adds the stack).
_Noreturn void assert_failed(const char *condition, const char *file, int line);
