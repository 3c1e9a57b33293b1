// SPDX-License-Identifier: BSD-3-Clause
//
// mem: the one place where memory is taken, given back and counted. mimalloc stands behind it (the
// system's allocator in sanitizer builds). Out of memory ends the process here and nowhere else:
// what may be refused is refused earlier, by maxmemory.
//
// Accounting: every thread counts what it takes and gives, in usable bytes (the allocator's size
// class, so that used_memory is what is really occupied); mem_used_bytes adds the counters up. A
// thread that frees what another took has a negative counter; only the sum means something.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The returned memory is owned by the caller, aligned to 16, and never NULL.
void *mem_alloc(size_t size_bytes) __attribute__((malloc, returns_nonnull, alloc_size(1)));
void *mem_calloc(size_t size_bytes) __attribute__((malloc, returns_nonnull, alloc_size(1)));
void *mem_realloc(void *pointer, size_t size_bytes) __attribute__((returns_nonnull));
// As mem_calloc, aligned to `align` (a power of two).
void *mem_alloc_aligned(size_t size_bytes, size_t align) __attribute__((malloc, returns_nonnull));
// NULL is fine.
void mem_free(void *pointer);
char *mem_strndup(const char *text, size_t len) __attribute__((returns_nonnull));
char *mem_strdup(const char *text) __attribute__((returns_nonnull));

// Bytes that an allocation really occupies.
size_t mem_usable_bytes(const void *pointer);
// The usable size that an allocation of `size_bytes` would get; pure arithmetic.
size_t mem_good_bytes(size_t size_bytes);

// For a server's process: freed pages go back to the system at once rather than some time after,
// when the allocator happens to be used again. Once, at the start.
void mem_return_at_once(void);

// Bytes in use in the whole process, as counted above. Any thread.
size_t mem_used_bytes(void);
// Resident set of the process in bytes, from the kernel (/proc/self/statm). Any thread.
size_t mem_resident_bytes(void);
// Gives what the calling thread's allocator holds back to the system.
void mem_purge(void);
// "mimalloc-2.0.9" or "libc".
const char *mem_allocator_name(void);
// Prints the allocator's own statistics by calling `line(text, arg)` for each piece of text.
void mem_print_stats(void (*line)(const char *text, void *arg), void *arg);
