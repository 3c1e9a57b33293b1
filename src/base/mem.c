// SPDX-License-Identifier: BSD-3-Clause
#include "base/mem.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

#ifdef GYRE_SYSTEM_MALLOC
#include <malloc.h>
#define RAW_MALLOC(n)     malloc(n)
#define RAW_CALLOC(n)     calloc(1, n)
#define RAW_REALLOC(p, n) realloc(p, n)
#define RAW_ALIGNED(n, a) zeroed(aligned_alloc(a, ((n) + (a)-1) / (a) * (a)), n)
#define RAW_FREE(p)       free(p)
#define RAW_USABLE(p)     malloc_usable_size((void *)(p))
#define RAW_GOOD(n)       (((n) + 15) & ~(size_t)15)
#else
#include <mimalloc.h>
// mimalloc aligns what has up to 8 bytes to 8 only.
#define RAW_SIZE(n)       ((n) > 8 ? (n) : 16)
#define RAW_MALLOC(n)     mi_malloc(RAW_SIZE(n))
#define RAW_CALLOC(n)     mi_zalloc(RAW_SIZE(n))
#define RAW_REALLOC(p, n) mi_realloc(p, RAW_SIZE(n))
#define RAW_ALIGNED(n, a) mi_zalloc_aligned(n, a)
#define RAW_FREE(p)       mi_free(p)
#define RAW_USABLE(p)     mi_usable_size(p)
#define RAW_GOOD(n)       mi_good_size(RAW_SIZE(n))
#endif

// One counter a thread, on a list that only grows: threads are few and live as long as the process.
// A thread's counter stays on the list when it ends, since what it took may live on.
struct counter {
    _Atomic int64_t bytes; // written by its thread only; relaxed: a sum of the moment is enough
    struct counter *next;
} __attribute__((aligned(64)));

static _Atomic(struct counter *) counters;
static _Thread_local struct counter *own_counter;

static struct counter *counter_new(void)
{
    struct counter *c = aligned_alloc(64, sizeof *c);
    if (!c) abort();
    atomic_init(&c->bytes, 0);
    c->next = atomic_load_explicit(&counters, memory_order_relaxed);
    // Release: a reader that finds the counter finds it initialised.
    while (!atomic_compare_exchange_weak_explicit(&counters, &c->next, c, memory_order_release,
                                                  memory_order_relaxed))
        ;
    own_counter = c;
    return c;
}

static inline void count(int64_t bytes)
{
    struct counter *c = own_counter;
    if (UNLIKELY(!c)) c = counter_new();
    int64_t old = atomic_load_explicit(&c->bytes, memory_order_relaxed);
    atomic_store_explicit(&c->bytes, old + bytes, memory_order_relaxed);
}

static _Noreturn void out_of_memory(size_t size_bytes)
{
    fprintf(stderr, "gyre: out of memory allocating %zu bytes\n", size_bytes);
    abort();
}

static inline void *counted(void *p, size_t size_bytes)
{
    if (UNLIKELY(!p)) out_of_memory(size_bytes);
    count((int64_t)RAW_USABLE(p));
    return p;
}

#ifdef GYRE_SYSTEM_MALLOC
static void *zeroed(void *p, size_t size_bytes)
{
    return p ? memset(p, 0, size_bytes) : NULL;
}
#endif

void *mem_alloc(size_t size_bytes)
{
    return counted(RAW_MALLOC(size_bytes), size_bytes);
}

void *mem_calloc(size_t size_bytes)
{
    return counted(RAW_CALLOC(size_bytes), size_bytes);
}

void *mem_alloc_aligned(size_t size_bytes, size_t align)
{
    // Big plain allocations usually are aligned as it is, and mimalloc 2.0 takes a quarter more for
    // asking.
    void *plain = mem_calloc(size_bytes);
    if (((uintptr_t)plain & (align - 1)) == 0) return plain;
    mem_free(plain);
    return counted(RAW_ALIGNED(size_bytes, align), size_bytes);
}

void *mem_realloc(void *pointer, size_t size_bytes)
{
    if (pointer) {
        size_t had = RAW_USABLE(pointer);
        if (size_bytes <= had && size_bytes >= had / 2) return pointer;
        count(-(int64_t)had);
    }
    return counted(RAW_REALLOC(pointer, size_bytes), size_bytes);
}

void mem_free(void *pointer)
{
    if (!pointer) return;
    count(-(int64_t)RAW_USABLE(pointer));
    RAW_FREE(pointer);
}

char *mem_strndup(const char *text, size_t len)
{
    char *copy = mem_alloc(len + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

size_t mem_usable_bytes(const void *pointer)
{
    return RAW_USABLE(pointer);
}

size_t mem_good_bytes(size_t size_bytes)
{
    return RAW_GOOD(size_bytes);
}

size_t mem_used_bytes(void)
{
    int64_t sum = 0;
    // Acquire pairs with the release in counter_new.
    for (struct counter *c = atomic_load_explicit(&counters, memory_order_acquire); c; c = c->next)
        sum += atomic_load_explicit(&c->bytes, memory_order_relaxed);
    return sum > 0 ? (size_t)sum : 0;
}

size_t mem_resident_bytes(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    unsigned long pages = 0;
    if (n > 0) {
        text[n] = '\0';
        if (sscanf(text, "%*u %lu", &pages) != 1) pages = 0;
    }
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

void mem_return_at_once(void)
{
#ifndef GYRE_SYSTEM_MALLOC
    mi_option_set(mi_option_decommit_delay, 0);
#endif
}

void mem_purge(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    // The sanitizer's allocator has no such thing, and glibc's own, never used, crashes when asked.
#elif defined(GYRE_SYSTEM_MALLOC)
    malloc_trim(0);
#else
    mi_collect(true);
#endif
}

const char *mem_allocator_name(void)
{
#ifdef GYRE_SYSTEM_MALLOC
    return "libc";
#else
    static char name[32];
    int v = mi_version();
    snprintf(name, sizeof name, "mimalloc-%d.%d.%d", v / 100, v / 10 % 10, v % 10);
    return name;
#endif
}

void mem_print_stats(void (*line)(const char *text, void *arg), void *arg)
{
#ifdef GYRE_SYSTEM_MALLOC
    line("no statistics: this build uses the system's allocator\n", arg);
#else
    mi_stats_merge();
    mi_stats_print_out((mi_output_fun *)line, arg);
#endif
}
