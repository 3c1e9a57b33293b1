// SPDX-License-Identifier: BSD-3-Clause
#include "base/mem.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

Test(mem, what_is_taken_is_counted_until_it_is_given_back)
{
    static const size_t sizes[] = {0, 1, 15, 16, 100, 4096, 16384, 1000000, 100000000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t before = mem_used_bytes();
        void *p = mem_alloc(sizes[i]);
        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % 16 & -(sizes[i] >= 16), 0);
        cr_assert_geq(mem_usable_bytes(p), sizes[i]);
        cr_assert_eq(mem_used_bytes() - before, mem_usable_bytes(p));
        mem_free(p);
        cr_assert_eq(mem_used_bytes(), before);
    }
    mem_free(NULL);
}

Test(mem, calloc_and_aligned_memory_is_zero)
{
    for (size_t size = 1; size < 300000; size = size * 3 + 1) {
        unsigned char *p = mem_alloc(size);
        memset(p, 0xff, size);
        mem_free(p);
        p = mem_calloc(size);
        for (size_t i = 0; i < size; i++) cr_assert_eq(p[i], 0);
        mem_free(p);
        for (size_t align = 16; align <= 4096; align *= 4) {
            p = mem_alloc_aligned(size, align);
            cr_assert_eq((uintptr_t)p % align, 0);
            for (size_t i = 0; i < size; i++) cr_assert_eq(p[i], 0);
            mem_free(p);
        }
    }
}

Test(mem, realloc_keeps_the_bytes_and_the_count)
{
    size_t before = mem_used_bytes();
    char *p = NULL;
    for (size_t size = 1; size < 1000000; size = size * 2 + 3) {
        p = mem_realloc(p, size);
        cr_assert(size == 1 || p[0] == 'a');
        p[0] = 'a';
        cr_assert_eq(mem_used_bytes() - before, mem_usable_bytes(p));
    }
    p = mem_realloc(p, 10);
    cr_assert_eq(p[0], 'a');
    cr_assert_eq(mem_used_bytes() - before, mem_usable_bytes(p));
    mem_free(p);
    cr_assert_eq(mem_used_bytes(), before);
}

Test(mem, copies_of_text_end_with_nul)
{
    char *a = mem_strdup("hello"), *b = mem_strndup("hello", 3);
    cr_assert_str_eq(a, "hello");
    cr_assert_str_eq(b, "hel");
    mem_free(a);
    mem_free(b);
}

// The usable size of the next allocation can be told beforehand; keys are accounted by it.
Test(mem, good_bytes_hold_what_they_are_asked_for)
{
    for (size_t size = 1; size < 100000; size = size * 5 / 4 + 1) {
        cr_assert_geq(mem_good_bytes(size), size);
        cr_assert_geq(mem_good_bytes(size + 1), mem_good_bytes(size));
        cr_assert_leq(mem_good_bytes(size), size + size / 4 + 16);
    }
}

static void *free_it(void *p)
{
    mem_free(p);
    return NULL;
}

Test(mem, one_thread_may_free_what_another_took)
{
    size_t before = mem_used_bytes();
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        void *p = mem_alloc(100000);
        cr_assert_gt(mem_used_bytes(), before);
        pthread_create(&thread, NULL, free_it, p);
        pthread_join(thread, NULL);
        cr_assert_eq(mem_used_bytes(), before);
    }
}

Test(mem, resident_memory_follows_what_is_touched)
{
    size_t before = mem_resident_bytes(), size = 64 << 20;
    cr_assert_gt(before, 0);
    char *p = mem_alloc(size);
    memset(p, 1, size);
    cr_assert_geq(mem_resident_bytes(), before + size / 2);
    mem_free(p);
    mem_purge();
}

static void count_text(const char *text, void *arg)
{
    *(size_t *)arg += strlen(text);
}

Test(mem, the_allocator_tells_its_name_and_statistics)
{
    size_t len = 0;
    cr_assert_gt(strlen(mem_allocator_name()), 3);
    mem_print_stats(count_text, &len);
    cr_assert_gt(len, 0);
}
